//! XXH3 checksums of 128 bits: whether bytes that were checked once are still the same.
//!
//! They take a tenth of the time of a digest, and find every accident: a flipped bit, a block in
//! the wrong place. They find no forgery: whoever wants to makes other bytes of the same checksum.
//! So nothing is named by one, and nothing that came from elsewhere is believed for it; it is kept
//! beside the digest that was taken of the same bytes.
//!
//! Specification: <https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md>.

use std::fmt;
use std::io::{self, Read};

use twox_hash::xxhash3_128::Hasher;

use crate::digest::read_all;

/// A checksum (XXH3, 128 bits, seed 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Checksum(u128);

impl Checksum {
    /// Bytes of a checksum.
    pub const SIZE: usize = 16;

    /// Returns the checksum of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Hasher::oneshot(bytes))
    }

    /// Returns the checksum of everything that `reader` yields, and how many bytes that was.
    ///
    /// # Errors
    /// Whatever the reader reports.
    pub fn of_reader(reader: impl Read) -> io::Result<(Self, u64)> {
        let mut summer = Summer::default();
        let size = read_all(reader, |bytes| summer.update(bytes))?;
        Ok((summer.finish(), size))
    }

    /// Creates a checksum from its bytes, the highest first.
    pub const fn from_bytes(bytes: [u8; Self::SIZE]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// Returns its bytes, the highest first.
    pub const fn to_bytes(self) -> [u8; Self::SIZE] {
        self.0.to_be_bytes()
    }
}

/// Computes a checksum from bytes as they come.
#[derive(Default)]
pub struct Summer(Hasher);

impl Summer {
    /// Adds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    /// Returns the checksum of all that was added.
    pub fn finish(&self) -> Checksum {
        Checksum(self.0.finish_128())
    }
}

impl fmt::Debug for Summer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Summer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_nothing_is_the_published_one() {
        let nothing = Checksum::of(b"");
        assert_eq!(nothing.0, 0x99aa_06d3_0147_98d8_6001_c324_468d_497f);
        assert_eq!(Checksum::from_bytes(nothing.to_bytes()), nothing);
    }

    #[test]
    fn bytes_that_come_in_parts_have_the_checksum_of_the_whole() {
        for size in [0, 1, 16, 17, 240, 241, 8 << 10, 300_000] {
            let bytes: Vec<u8> = (0..size).map(|at: usize| at.to_le_bytes()[0]).collect();
            let found = Checksum::of_reader(bytes.as_slice()).unwrap();
            assert_eq!(found, (Checksum::of(&bytes), bytes.len() as u64), "{size}");
        }
    }
}
