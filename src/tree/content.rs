//! The content of regular files, by reference: bytes that are at hand, or the digest of bytes that
//! somebody else opens.

use std::io::{self, Read};
use std::sync::Arc;

use crate::checksum::Checksum;
use crate::digest::Digest;

/// The content of a regular file, by reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The bytes themselves, for what osbuilder writes: small.
    Inline(Arc<[u8]>),
    /// Bytes that a [`Contents`] can open.
    Stored {
        /// The digest of the bytes.
        digest: Digest,
        /// How many bytes.
        size: u64,
    },
}

impl Content {
    /// An empty file.
    pub fn empty() -> Self {
        Self::Inline(Arc::from([]))
    }

    /// The size in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Stored { size, .. } => *size,
        }
    }

    /// The digest of the bytes.
    pub fn digest(&self) -> Digest {
        match self {
            Self::Inline(bytes) => Digest::of(bytes),
            Self::Stored { digest, .. } => *digest,
        }
    }

    /// The checksum of the bytes, as far as `contents` knows it.
    pub fn checksum(&self, contents: &dyn Contents) -> Option<Checksum> {
        match self {
            Self::Inline(bytes) => Some(Checksum::of(bytes)),
            Self::Stored { digest, .. } => contents.checksum(digest),
        }
    }

    /// Opens the bytes for reading.
    ///
    /// # Errors
    /// Whatever `contents` reports for a stored content.
    pub fn open<'a>(&'a self, contents: &'a dyn Contents) -> io::Result<Box<dyn Read + Send + 'a>> {
        match self {
            Self::Inline(bytes) => Ok(Box::new(&bytes[..])),
            Self::Stored { digest, .. } => contents.open(digest),
        }
    }

    /// As [`Self::open`], without hashing: see [`Contents::open_unhashed`].
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_unhashed<'a>(
        &'a self,
        contents: &'a dyn Contents,
    ) -> io::Result<Box<dyn Read + Send + 'a>> {
        match self {
            Self::Inline(bytes) => Ok(Box::new(&bytes[..])),
            Self::Stored { digest, .. } => contents.open_unhashed(digest),
        }
    }
}

/// Where stored contents come from.
pub trait Contents: Sync {
    /// Opens the bytes with this digest. The reader fails, rather than ends well, when the bytes
    /// turn out not to have it.
    ///
    /// # Errors
    /// `NotFound` when the digest is unknown; whatever the medium reports.
    fn open(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send + '_>>;

    /// As [`Self::open`], but the bytes may be other ones of the same number. For who hashes what
    /// becomes of them and compares: hashing twice finds nothing more.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn open_unhashed(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send + '_>> {
        self.open(digest)
    }

    /// The checksum of the bytes with this digest, where both were taken of them together.
    fn checksum(&self, _digest: &Digest) -> Option<Checksum> {
        None
    }
}

/// A [`Contents`] without anything in it, for trees whose contents are all inline.
#[derive(Debug)]
pub struct NoContents;

impl Contents for NoContents {
    fn open(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send + '_>> {
        Err(io::Error::new(io::ErrorKind::NotFound, format!("no content with digest {digest}")))
    }
}

/// Several [`Contents`], asked in turn.
#[derive(Clone, Copy)]
pub struct Layered<'a>(pub &'a [&'a dyn Contents]);

impl std::fmt::Debug for Layered<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Layered({} contents)", self.0.len())
    }
}

type Opened<'a> = io::Result<Box<dyn Read + Send + 'a>>;

impl<'a> Layered<'a> {
    /// What the first says that knows the digest.
    fn first(&self, digest: &Digest, open: impl Fn(&'a dyn Contents) -> Opened<'a>) -> Opened<'a> {
        let mut outcome: Opened<'a> = NoContents.open(digest);
        for contents in self.0 {
            match outcome {
                Err(error) if error.kind() == io::ErrorKind::NotFound => outcome = open(*contents),
                found => return found,
            }
        }
        outcome
    }
}

impl Contents for Layered<'_> {
    fn open(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send + '_>> {
        self.first(digest, |contents| contents.open(digest))
    }

    fn open_unhashed(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send + '_>> {
        self.first(digest, |contents| contents.open_unhashed(digest))
    }

    fn checksum(&self, digest: &Digest) -> Option<Checksum> {
        self.0.iter().find_map(|contents| contents.checksum(digest))
    }
}
