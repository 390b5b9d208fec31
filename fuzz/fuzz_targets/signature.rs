//! Any bytes as what stands before a package's header, its lead and its signatures: nobody vouches for a
//! package where no key is trusted.

#![no_main]

use osbuilder::package::rpm::archive::Head;

/// The smallest header: the region that is signed, and the name `a`.
const HEADER: [&[u8]; 5] = [
    b"\x8e\xad\xe8\x01\0\0\0\0\0\0\0\x02\0\0\0\x12",
    b"\0\0\0\x3f\0\0\0\x07\0\0\0\0\0\0\0\x10",
    b"\0\0\x03\xe8\0\0\0\x06\0\0\0\x10\0\0\0\x01",
    b"\0\0\0\x3f\0\0\0\x07\xff\xff\xff\xe0\0\0\0\x10",
    b"a\0",
];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // A seed is a whole package: its own header, or ours behind whatever there is.
    let ours = [bytes, &HEADER.concat()].concat();
    for bytes in [bytes, &ours] {
        let Ok(head) = Head::read(&mut &bytes[..]) else { continue };
        for packet in head.signatures().unwrap_or_default() {
            assert!(!osbuilder::fetch::is_vouched_for(&packet), "no key is trusted");
        }
    }
});
