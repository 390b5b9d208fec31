//! SHA-256 digests: the names of everything that must not change unnoticed.
//!
//! Other digests exist only where a format demands them (MD5 in dpkg's database, SHA-1 in
//! Alpine's index) and live in that format's room.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::buffer::with_buffer;

/// A SHA-256 digest (FIPS 180-4), 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Returns the digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Returns the digest of everything that `reader` yields, and how many bytes that was.
    ///
    /// # Errors
    /// Whatever the reader reports.
    pub fn of_reader(reader: impl Read) -> io::Result<(Self, u64)> {
        let mut hasher = Hasher::default();
        let size = read_all(reader, |bytes| hasher.update(bytes))?;
        Ok((hasher.finish(), size))
    }

    /// Creates a digest from its 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Hands everything that `reader` yields to `take`, part by part; returns how many bytes that was.
///
/// # Errors
/// Whatever the reader reports.
pub(crate) fn read_all(mut reader: impl Read, mut take: impl FnMut(&[u8])) -> io::Result<u64> {
    let mut size = 0_u64;
    with_buffer(|buffer| {
        loop {
            let count = match reader.read(buffer) {
                Ok(0) => return Ok(size),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                count => count?,
            };
            take(buffer.get(..count).unwrap_or_default());
            size = size.saturating_add(count as u64);
        }
    })
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A listing shows thousands: one call each, not one for every byte.
        const DIGITS: [u8; 16] = *b"0123456789abcdef";
        let mut text = String::with_capacity(2 * self.0.len());
        for byte in self.0 {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        f.write_str(&text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// Why a text is not a SHA-256 digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a SHA-256 digest (64 hexadecimal digits)")]
pub struct ParseError(String);

impl FromStr for Digest {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut bytes = [0; 32];
        parse_hex(text, &mut bytes).ok_or_else(|| ParseError(text.chars().take(80).collect()))?;
        Ok(Self(bytes))
    }
}

/// Fills `out` from exactly twice as many hexadecimal digits, in either case.
///
/// Returns `None` when the length or a digit is wrong.
pub fn parse_hex(text: &str, out: &mut [u8]) -> Option<()> {
    if !text.is_ascii() || Some(text.len()) != out.len().checked_mul(2) {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    Some(())
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Computes a digest from bytes as they are written.
#[derive(Default, Clone)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Adds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the digest of all that was added.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_digest_of_nothing_is_the_published_one() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert_eq!(EMPTY.parse::<Digest>().unwrap(), Digest::of(b""));
    }

    #[test]
    fn a_digest_of_another_length_or_alphabet_is_refused() {
        for text in ["", "e3", &EMPTY[1..], &EMPTY.replace('e', "g"), &"é".repeat(32)] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }

    #[test]
    fn reading_and_hashing_at_once_agree() {
        for length in [0, 3, 65_535, 65_536, 65_537, 200_005] {
            let bytes = vec![7; length];
            let expected = (Digest::of(&bytes), length as u64);
            assert_eq!(Digest::of_reader(&bytes[..]).unwrap(), expected, "{length}");
        }
    }
}
