//! Any bytes as a compressed stream of the kind that their beginning says: an error, or no more
//! plain bytes than was allowed.

#![no_main]

use std::io::Read;

use osbuilder::package::compression::{Compression, Decompressor, Limits};

const MOST: u64 = 1 << 20;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let limits = Limits::up_to(MOST);
    let Ok(mut plain) = Decompressor::new(bytes, Compression::of_start(bytes), limits) else {
        return;
    };
    let mut text = Vec::new();
    let outcome = plain.read_to_end(&mut text);
    assert!(text.len() as u64 <= MOST, "the limit holds");
    if outcome.is_ok() {
        plain.finish().ok();
    }
});
