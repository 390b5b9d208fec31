//! Reading kept bytes: the reader fails rather than ends well when they are not what they should be.

use std::io::{self, Read};
use std::sync::Arc;

use fs_err::File;
use fs_err::os::unix::fs::FileExt;

use crate::checksum::{Checksum, Summer};
use crate::digest::{Digest, Hasher};

/// Contents up to this size are verified before their first byte is handed out. Larger ones are
/// verified as they are read, so that memory stays small.
const AT_ONCE: u64 = 1 << 20;

/// A part of a file, read at its own place: any number of readers share one descriptor.
#[derive(Debug, Clone)]
pub(super) struct Slice {
    pub(super) file: Arc<File>,
    pub(super) offset: u64,
    pub(super) size: u64,
}

impl Slice {
    /// Reads the whole slice into memory.
    pub(super) fn to_vec(&self) -> io::Result<Vec<u8>> {
        let size = usize::try_from(self.size).map_err(io::Error::other)?;
        let mut bytes = vec![0; size];
        self.file.read_exact_at(&mut bytes, self.offset)?;
        Ok(bytes)
    }

    /// Opens the slice for reading, expecting `digest`.
    pub(super) fn open(self, digest: &Digest) -> io::Result<Verifying> {
        self.verifying(*digest, None)
    }

    /// Opens the slice for reading, expecting the `checksum` that was taken together with `digest`.
    pub(super) fn open_summed(self, digest: &Digest, checksum: Checksum) -> io::Result<Verifying> {
        self.verifying(*digest, Some(checksum))
    }

    fn verifying(self, digest: Digest, checksum: Option<Checksum>) -> io::Result<Verifying> {
        if self.size > AT_ONCE {
            let check = Some(Box::new(Check::new(digest, checksum)));
            return Ok(Verifying::Streamed(Streamed { left: self.size, slice: self, check }));
        }
        let bytes = self.to_vec()?;
        let right = match checksum {
            Some(checksum) => Checksum::of(&bytes) == checksum,
            None => Digest::of(&bytes) == digest,
        };
        if right { Ok(Verifying::Whole(io::Cursor::new(bytes))) } else { Err(damaged(&digest)) }
    }

    /// Opens the slice for reading, whatever its digest is. That it is shorter than it should be is
    /// found out all the same.
    pub(super) fn open_unhashed(self) -> Verifying {
        Verifying::Streamed(Streamed { left: self.size, slice: self, check: None })
    }
}

/// A reader that never yields the end of bytes with the wrong digest, if it knows the right one.
#[derive(Debug)]
pub(super) enum Verifying {
    /// Verified already.
    Whole(io::Cursor<Vec<u8>>),
    /// Verified when the last byte is read, before it is handed out.
    Streamed(Streamed),
}

impl Read for Verifying {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Whole(cursor) => cursor.read(buffer),
            Self::Streamed(streamed) => streamed.read(buffer),
        }
    }
}

/// See [`Verifying::Streamed`].
#[derive(Debug)]
pub(super) struct Streamed {
    slice: Slice,
    left: u64,
    check: Option<Box<Check>>,
}

/// What bytes are verified by, as they come.
#[derive(Debug)]
struct Check {
    digest: Digest,
    sum: Sum,
}

#[derive(Debug)]
enum Sum {
    /// The digest itself.
    Digest(Hasher),
    /// The checksum that stands beside it.
    Checksum(Box<Summer>, Checksum),
}

impl Check {
    fn new(digest: Digest, checksum: Option<Checksum>) -> Self {
        let sum = match checksum {
            Some(checksum) => Sum::Checksum(Box::default(), checksum),
            None => Sum::Digest(Hasher::default()),
        };
        Self { digest, sum }
    }

    fn update(&mut self, bytes: &[u8]) {
        match &mut self.sum {
            Sum::Digest(hasher) => hasher.update(bytes),
            Sum::Checksum(summer, _) => summer.update(bytes),
        }
    }

    /// Fails unless the bytes were the right ones.
    fn finish(&self) -> io::Result<()> {
        let right = match &self.sum {
            Sum::Digest(hasher) => hasher.clone().finish() == self.digest,
            Sum::Checksum(summer, expected) => summer.finish() == *expected,
        };
        if right { Ok(()) } else { Err(damaged(&self.digest)) }
    }
}

impl Streamed {
    /// Verifies the bytes that were read; `left` come after them.
    fn verify(&mut self, bytes: &[u8], left: u64) -> io::Result<()> {
        let Some(check) = &mut self.check else { return Ok(()) };
        check.update(bytes);
        if left == 0 { check.finish() } else { Ok(()) }
    }
}

impl Read for Streamed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let Some(buffer) = buffer.get_mut(..room).filter(|room| !room.is_empty()) else {
            return Ok(0);
        };
        let place = self.slice.offset.saturating_add(self.slice.size.saturating_sub(self.left));
        let count = loop {
            match self.slice.file.read_at(buffer, place) {
                // Not every buffer above us asks again.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        if count == 0 {
            let text = "the kept bytes are fewer than they were";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let left = self.left.saturating_sub(count as u64);
        self.verify(buffer.get(..count).unwrap_or_default(), left)?;
        self.left = left;
        Ok(count)
    }
}

/// What readers report for bytes that are not what they should be.
pub(super) fn damaged(digest: &Digest) -> io::Error {
    let text = format!("the kept bytes do not have the digest {digest} any more");
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Whether a reader failed because of the bytes, not because of the medium.
pub(super) fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(bytes: &[u8]) -> Slice {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), [b"head", bytes, b"tail"].concat()).unwrap();
        let file = Arc::new(File::open(file.path()).unwrap());
        Slice { file, offset: 4, size: bytes.len() as u64 }
    }

    #[test]
    fn f6_the_last_byte_of_changed_contents_never_comes() {
        for size in [0, 1, 100, AT_ONCE, AT_ONCE + 1, 3 * AT_ONCE + 5] {
            let bytes = vec![7; usize::try_from(size).unwrap()];
            let (good, other) = (Digest::of(&bytes), Digest::of(b"other"));
            let mut all = Vec::new();
            slice(&bytes).open(&good).unwrap().read_to_end(&mut all).unwrap();
            assert_eq!(all, bytes);
            let sum = Checksum::of(&bytes);
            slice(&bytes).open_summed(&good, sum).unwrap().read_to_end(&mut all).unwrap();
            assert_eq!(all, [&bytes[..], &bytes].concat());
            let mut exactly = vec![0; bytes.len()];
            let wrong = Checksum::of(b"other");
            let opened = [slice(&bytes).open(&other), slice(&bytes).open_summed(&good, wrong)];
            for opened in opened {
                let read = opened.and_then(|mut r| r.read_exact(&mut exactly));
                assert!(is_damage(&read.unwrap_err()), "{size}");
            }
        }
    }

    #[test]
    fn f6_a_file_cut_short_is_damage() {
        let mut cut = slice(&vec![7; 2 << 20]);
        cut.size += 5_000;
        let read = cut.open(&Digest::of(b"")).and_then(|mut r| r.read_to_end(&mut Vec::new()));
        assert!(is_damage(&read.unwrap_err()));
    }
}
