//! Any bytes as a Debian package: an error or its files, nothing else.

#![no_main]

use std::io::Read;

use osbuilder::package::deb::archive::Archive;

/// Contents are read this far: what is beyond passes through the same code.
const ENOUGH: u64 = 1 << 20;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(mut package) = Archive::open(bytes, bytes.len() as u64) else { return };
    while let Ok(Some(_)) = package.next_file() {
        std::io::copy(&mut package.content().take(ENOUGH), &mut std::io::sink()).ok();
    }
    package.finish().ok();
});
