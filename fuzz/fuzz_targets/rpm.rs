//! Any bytes as an rpm package: an error or contents, nothing else.
//!
//! Seeds are small packages whose payload is not compressed: behind a compressor's checksum no change
//! would get far.

#![no_main]

use osbuilder::package::rpm::archive::{Error, Head};
use osbuilder::package::rpm::{info, scripts};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    let Ok(head) = Head::read(&mut rest) else { return };
    if let Ok(record) = info::of_header(&head.header) {
        drop(info::parse(&record));
    }
    let (_, _) = (scripts::scripts(&head.header), head.signatures());
    if let Ok(files) = head.files() {
        let take = |_, content: &mut dyn std::io::Read| {
            std::io::copy(content, &mut std::io::sink()).map(drop).map_err(Error::Read)
        };
        drop(head.contents(rest, &files, take));
    }
});
