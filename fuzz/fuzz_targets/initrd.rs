//! Any bytes as an initrd, packed or not: an error or a tree, nothing else.
//!
//! Seeds come from `osbuilder initrd`, and from `gzip -dc` of one: behind a compressor's checksum
//! no change would get far.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let read = osbuilder::image::initrd::read(bytes, &mut osbuilder::image::initrd::digest_only);
    if let Ok(tree) = read {
        assert!(tree.walk().count() >= 1, "a tree has a root");
    }
});
