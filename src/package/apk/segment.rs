//! The parts of which packages and indexes are made: gzip members one after the other, each a piece
//! of a tar archive, the first of them signatures over what follows.
//!
//! A reader comes in that stands at a member; the member's bytes and plain bytes go out, and the
//! reader stands behind it. Memory is bounded whatever the file says. A part holds signatures alone
//! or none at all. Verifying is the business of whoever has the keys.
//!
//! Format: apk-v2(5), abuild-sign(1); RFC 1952 for the members.

use std::io::{self, BufRead, Read};

use super::blocks;
use crate::package::compression::{self, Compression, Decompressor, Limits};
use crate::package::tar;

/// One gzip member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its bytes, which a signature may cover.
    pub raw: Vec<u8>,
    /// Its plain bytes: a piece of a tar archive, often without an end.
    pub plain: Vec<u8>,
}

/// A signature that stands before what it covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The digest that was signed.
    pub algorithm: Algorithm,
    /// The name of the key's file. A name and nothing else: it is compared, never opened.
    pub key: String,
    /// RSA, PKCS#1 v1.5.
    pub bytes: Vec<u8>,
}

/// The digest under a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// `.SIGN.RSA.`: SHA-1.
    Sha1,
    /// `.SIGN.RSA256.`: SHA-256.
    Sha256,
    /// `.SIGN.RSA512.`: SHA-512.
    Sha512,
}

impl Algorithm {
    /// The name of its digest.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA-1",
            Self::Sha256 => "SHA-256",
            Self::Sha512 => "SHA-512",
        }
    }
}

/// What stands before the names of signatures.
const SIGNATURE: &[u8] = b".SIGN.";
/// The longest name of a key. Alpine's have 50 letters.
const LONGEST_KEY: usize = 120;
/// A signature of RSA with 16,384 bits has so many bytes.
const LONGEST_SIGNATURE: u64 = 2048;

/// Reads the gzip member at which `inner` stands, at most `limit` plain bytes of it.
///
/// # Errors
/// [`Error::Read`] for what is no complete member, or too long.
pub fn read(inner: &mut impl BufRead, limit: u64) -> Result<Segment, Error> {
    // A reader may give fewer bytes; then the mark is no gzip and refused as such.
    if begins_with(inner, blocks::START).map_err(Error::Read)? {
        return Err(Error::Version3);
    }
    let mut noting = Noting { inner, taken: Vec::new() };
    let mut plain = Vec::new();
    Decompressor::leading(&mut noting, Compression::Gzip, Limits::up_to(limit))
        .and_then(|mut member| member.read_to_end(&mut plain))
        .map_err(Error::Read)?;
    Ok(Segment { raw: noting.taken, plain })
}

/// Whether the next bytes are these. An interruption is none of the reader's.
fn begins_with(inner: &mut impl BufRead, start: &[u8]) -> io::Result<bool> {
    loop {
        match inner.fill_buf() {
            Ok(bytes) => return Ok(bytes.starts_with(start)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

impl Segment {
    /// Its tar entries, as if the archive ended here.
    pub fn archive(&self) -> tar::Reader<impl Read> {
        tar::Reader::new(self.plain.chain(&END[..]))
    }

    /// The signatures that it consists of; none if it is something else.
    ///
    /// # Errors
    /// [`Error`] for a part that mixes signatures with anything else, and for malformed ones.
    pub fn signatures(&self) -> Result<Option<Vec<Signature>>, Error> {
        let mut archive = self.archive();
        let mut signatures = Vec::new();
        while let Some(entry) = archive.next_entry().map_err(Error::Archive)? {
            let is_signature = is_signature(&entry);
            match entry.kind {
                tar::EntryKind::Regular { size } if is_signature && size <= LONGEST_SIGNATURE => {
                    signatures.push(signature(&entry, archive.content())?);
                }
                _ if is_signature => return Err(Error::Signature),
                _ if signatures.is_empty() => return Ok(None),
                _ => return Err(Error::Mixed),
            }
        }
        if signatures.is_empty() { Err(Error::Empty) } else { Ok(Some(signatures)) }
    }
}

/// The end of a tar archive.
const END: [u8; 1024] = [0; 1024];

/// Whether an entry of an archive is named like a signature.
pub fn is_signature(entry: &tar::Entry) -> bool {
    entry.words.path.starts_with(SIGNATURE)
}

fn signature(entry: &tar::Entry, mut content: impl Read) -> Result<Signature, Error> {
    let name = entry.words.path.strip_prefix(SIGNATURE).and_then(|n| std::str::from_utf8(n).ok());
    let (kind, key) = name.and_then(|name| name.split_once('.')).ok_or(Error::Signature)?;
    let algorithm = match kind {
        "RSA" => Algorithm::Sha1,
        "RSA256" => Algorithm::Sha256,
        "RSA512" => Algorithm::Sha512,
        _ => return Err(Error::Unknown { kind: kind.chars().take(20).collect() }),
    };
    if !is_key_name(key) {
        return Err(Error::KeyName { name: key.chars().take(80).collect() });
    }
    let mut bytes = Vec::new();
    content.read_to_end(&mut bytes).map_err(Error::Read)?;
    Ok(Signature { algorithm, key: key.to_owned(), bytes })
}

/// Whether `name` can be that of a key's file: no path, nothing that a terminal would obey.
pub fn is_key_name(name: &str) -> bool {
    let belongs = |byte: u8| byte.is_ascii_alphanumeric() || b"@._+-".contains(&byte);
    !name.is_empty()
        && name.len() <= LONGEST_KEY
        && !name.starts_with('.')
        && name.bytes().all(belongs)
}

/// Keeps every byte that is taken from a reader.
struct Noting<'a, R> {
    inner: &'a mut R,
    taken: Vec<u8>,
}

impl<R: BufRead> Read for Noting<'_, R> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(output)?;
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Noting<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        // What is consumed was filled before, so that this reads nothing.
        if let Ok(buffer) = self.inner.fill_buf() {
            self.taken.extend_from_slice(buffer.get(..amount).unwrap_or_default());
        }
        self.inner.consume(amount);
    }
}

/// Why a part of a package or index is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be read, or not be decompressed.
    #[error("cannot read a part of the file")]
    Read(#[source] io::Error),
    /// It is a file of apk's version 3.
    #[error("it is in the format of apk 3, which cannot stand here")]
    Version3,
    /// It is no piece of a tar archive.
    #[error("cannot understand a part of the file")]
    Archive(#[source] tar::Error),
    /// It holds nothing.
    #[error("a part of the file is empty")]
    Empty,
    /// It holds signatures and something else.
    #[error("something stands beside the signatures")]
    Mixed,
    /// A signature is no plain file, or too long.
    #[error("a signature is malformed")]
    Signature,
    /// A signature of a kind that is not known.
    #[error("a signature of the kind {kind:?} is not supported")]
    Unknown {
        /// Its kind.
        kind: String,
    },
    /// The name of a key that no key has.
    #[error("a signature names the key {name:?}, which is not the name of a file")]
    KeyName {
        /// The name.
        name: String,
    },
}

impl Error {
    /// Whether there are more plain bytes than were allowed.
    pub fn is_too_long(&self) -> bool {
        let Self::Read(error) = self else { return false };
        matches!(compression::Error::of(error), Some(compression::Error::TooLarge { .. }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::compression::tests::compress;
    use crate::package::tar::tests::Builder;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        compress(Compression::Gzip, plain)
    }

    fn signed_by(names: &[&str]) -> Result<Option<Vec<Signature>>, Error> {
        let add = |tar: Builder, name: &&str| tar.file(name, b"sig");
        let plain = names.iter().fold(Builder::default(), add).cut();
        Segment { raw: Vec::new(), plain }.signatures()
    }

    #[test]
    fn a_member_is_read_to_its_end_and_no_further() {
        let (one, two) = (gzip(b"one"), gzip(b"two"));
        let both = [one.clone(), two.clone()].concat();
        let mut rest = &both[..];
        assert_eq!(read(&mut rest, 9).unwrap(), Segment { raw: one, plain: b"one".into() });
        assert_eq!(read(&mut rest, 9).unwrap(), Segment { raw: two, plain: b"two".into() });
        assert!(matches!(read(&mut rest, 9), Err(Error::Read(_))));
        let zeros = gzip(&[0; 100]);
        assert!(read(&mut &zeros[..], 99).is_err_and(|error| error.is_too_long()));
        assert!(read(&mut &b"\x1f\x8b"[..], 99).is_err_and(|error| !error.is_too_long()));
        assert!(read(&mut &zeros[..], 100).is_ok());
        for begin in [&b"ADB.pckg"[..], b"ADBd", b"ADBc\x02\x01"] {
            assert!(matches!(read(&mut &begin[..], 9), Err(Error::Version3)));
        }
    }

    #[test]
    fn a1_signatures_name_a_key_and_stand_alone() {
        let found = signed_by(&[".SIGN.RSA.a@b-1.rsa.pub", ".SIGN.RSA256.c"]).unwrap().unwrap();
        let shown: Vec<_> = found.iter().map(|s| (s.algorithm.name(), s.key.as_str())).collect();
        assert_eq!(shown, [("SHA-1", "a@b-1.rsa.pub"), ("SHA-256", "c")]);
        assert_eq!(signed_by(&[".PKGINFO"]).unwrap(), None);
        assert!(matches!(signed_by(&[]), Err(Error::Empty)));
        assert!(matches!(signed_by(&[".SIGN.RSA.k", "x"]), Err(Error::Mixed)));
        assert!(matches!(signed_by(&[".SIGN.DSA.k"]), Err(Error::Unknown { .. })));
        for bad in ["../../k", "a/b", "", ".k", "a\u{1b}b", &"k".repeat(121)] {
            let name = format!(".SIGN.RSA256.{bad}");
            let read = signed_by(&[&name[..name.len().min(99)]]);
            let good = bad.len() > 120;
            assert!(read.is_err() || good, "{bad:?}");
        }
    }
}
