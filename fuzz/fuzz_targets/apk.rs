//! Any bytes as an Alpine package, and as the part of an index that lies in an archive.

#![no_main]

use std::io::Read;

use osbuilder::package::apk::archive::{Files, Head};

/// Contents are read this far: what is beyond passes through the same code.
const ENOUGH: u64 = 1 << 20;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let size = bytes.len() as u64;
    let mut rest = bytes;
    Head::read(&mut rest, size).ok();
    let Ok((_, mut files)) = Files::open(bytes, size) else { return };
    while let Ok(Some(_)) = files.next_file() {
        std::io::copy(&mut files.content().take(ENOUGH), &mut std::io::sink()).ok();
    }
    files.finish().ok();
});
