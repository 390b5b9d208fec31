//! Any text up to a zero byte as a certificate, and any bytes behind it as a signature over a root
//! hash: an error or a signature that fits, nothing else.
//!
//! Seeds are certificates of openssl with a signature behind them.

#![no_main]

use osbuilder::digest::Digest;
use osbuilder::image::verity::Signatory;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let certificate = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let Ok(signatory) = Signatory::parse(&certificate) else { return };
    assert!(signatory.name().contains("serial number"));
    let signature = parts.next().unwrap_or_default();
    signatory.verify(signature, &Digest::of(b"root")).ok();
});
