//! A reader that fails at its end unless all bytes together have the digest that was promised.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use std::io::{self, Read};

use crate::digest::{Digest, Hasher};

/// Reads what it is made of, and checks it.
pub(super) struct Verified<R> {
    bytes: R,
    /// Gone once the end was seen.
    hasher: Option<Hasher>,
    expected: Digest,
}

impl<R: Read> Verified<R> {
    pub(super) fn new(bytes: R, expected: Digest) -> Self {
        Self { bytes, hasher: Some(Hasher::default()), expected }
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(buffer)?;
        if count > 0 {
            if let Some(hasher) = &mut self.hasher {
                hasher.update(buffer.get(..count).unwrap_or_default());
            }
        } else if !buffer.is_empty()
            && let Some(hasher) = self.hasher.take()
            && hasher.finish() != self.expected
        {
            let text = format!("the image changed: no longer the content {}", self.expected);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(count)
    }
}
