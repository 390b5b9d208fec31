//! Any bytes as a tar archive: an error or entries, whose contents are no longer than they say.

#![no_main]

use std::io::Read;

use osbuilder::package::tar;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut archive = tar::Reader::new(bytes);
    let mut sum = 0;
    while let Ok(Some(_)) = archive.next_entry() {
        let mut content = Vec::new();
        archive.content().read_to_end(&mut content).ok();
        sum += content.len();
        assert!(sum <= bytes.len(), "contents cannot be more than the archive");
    }
});
