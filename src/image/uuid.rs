//! UUIDs that follow from what an image is made of.
//!
//! Specification: RFC 9562, version 8: made in a way of our own.

use crate::digest::Digest;

/// The UUID that `label` has in an image made of what `origin` is the digest of.
pub(crate) fn uuid_of(origin: &Digest, label: &str) -> [u8; 16] {
    let digest = Digest::of(format!("osbuilder {label} {origin}").as_bytes());
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = *digest.as_bytes();
    [a, b, c, d, e, f, g & 0x0F | 0x80, h, i & 0x3F | 0x80, j, k, l, m, n, o, p]
}
