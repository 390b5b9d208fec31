//! Identities of packages and digests of files, as apk writes them: `Q1` and the SHA-1 in base64, or
//! `Q2` and the SHA-256.
//!
//! SHA-1 is computed with a check for the known ways of making two inputs with one digest: an input
//! that carries their traces is refused. Specification: apk-package(5), apk-v2(5).

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1_checked::Digest as _;

use crate::digest::Digest;

/// A digest as apk writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Checksum {
    /// `Q1…`: a SHA-1, or in version 3 the first 160 bits of a SHA-256.
    Sha1([u8; 20]),
    /// `Q2…`
    Sha256([u8; 32]),
}

impl Checksum {
    /// The SHA-1 of `bytes`.
    ///
    /// # Errors
    /// [`Forged`] for bytes that were made to share their digest with others.
    pub fn sha1(bytes: &[u8]) -> Result<Self, Forged> {
        let mut hasher = Sha1::default();
        hasher.update(bytes);
        hasher.finish().map(Self::Sha1)
    }

    /// The first 160 bits of a SHA-256, by which version 3 calls packages and files.
    pub const fn short(digest: [u8; 32]) -> Self {
        let (short, _) = digest.split_first_chunk().expect("twenty bytes are fewer than 32");
        Self::Sha1(*short)
    }

    /// Whether it is that of `bytes`, in either version's way.
    pub fn is_of(&self, bytes: &[u8]) -> bool {
        let digest = *Digest::of(bytes).as_bytes();
        let own = [Self::Sha256(digest), Self::short(digest)];
        own.contains(self) || Self::sha1(bytes).is_ok_and(|sha1| sha1 == *self)
    }

    /// The digest itself.
    pub const fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Sha1(bytes) => bytes,
            Self::Sha256(bytes) => bytes,
        }
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Sha1(_) => "Q1",
            Self::Sha256(_) => "Q2",
        };
        write!(f, "{kind}{}", STANDARD.encode(self.as_bytes()))
    }
}

/// Why a text is no checksum.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a checksum of the form Q1… or Q2…")]
pub struct BadChecksum(String);

impl FromStr for Checksum {
    type Err = BadChecksum;

    fn from_str(text: &str) -> Result<Self, BadChecksum> {
        let bad = || BadChecksum(text.chars().take(80).collect());
        let (kind, digits) = text.split_at_checked(2).ok_or_else(bad)?;
        let bytes = STANDARD.decode(digits).map_err(|_| bad())?;
        match kind {
            "Q1" => bytes.try_into().map(Self::Sha1).map_err(|_| bad()),
            "Q2" => bytes.try_into().map(Self::Sha256).map_err(|_| bad()),
            _ => Err(bad()),
        }
    }
}

/// Bytes carry the traces of a collision of SHA-1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes were made to share their SHA-1 with others")]
pub struct Forged;

/// Computes a SHA-1 piece by piece.
#[derive(Debug, Clone, Default)]
pub struct Sha1(sha1_checked::Sha1);

impl Sha1 {
    /// Adds a piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all pieces.
    ///
    /// # Errors
    /// [`Forged`] for bytes that were made to share their digest with others.
    pub fn finish(self) -> Result<[u8; 20], Forged> {
        let result = self.0.try_finalize();
        if result.has_collision() { Err(Forged) } else { Ok((*result.hash()).into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_read_as_they_are_written_and_nothing_else_is() {
        let text = "Q1EyN5AdpAOBJWKMR89pp/C66o+OE=";
        let checksum: Checksum = text.parse().unwrap();
        assert_eq!((checksum.to_string().as_str(), checksum.as_bytes().len()), (text, 20));
        let empty = Checksum::sha1(b"").unwrap().to_string();
        assert_eq!(empty, "Q12jmj7l5rSw0yVb/vlWAYkK/YBwk=");
        let longer = Checksum::Sha256([7; 32]).to_string();
        assert_eq!(longer.parse(), Ok(Checksum::Sha256([7; 32])));
        for bad in [
            "",
            "Q",
            "Q1",
            "Q1é",
            "Q3EyN5AdpAOBJWKMR89pp/C66o+OE=",
            "Q2EyN5AdpAOBJWKMR89pp/C66o+OE=",
            "Q1EyN5AdpAOBJWKMR89pp/C66o+OE",
            "Q1EyN5AdpAOBJWKMR89pp/C66o+OF=",
            "q1EyN5AdpAOBJWKMR89pp/C66o+OE=",
            "Q1EyN5AdpAOBJWKMR89pp/C66o+OE=\n",
        ] {
            assert!(bad.parse::<Checksum>().is_err(), "{bad:?}");
        }
    }
}
