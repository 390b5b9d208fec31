//! Any bytes as a database of rpm's: an error or packages, never more than the bytes could hold.

#![no_main]

use osbuilder::package::rpm::database::read::read;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(packages) = read(bytes) else { return };
    let words: usize = packages.iter().map(|package| package.name.len()).sum();
    assert!(words <= bytes.len().saturating_mul(4), "names are somewhere in the bytes");
});
