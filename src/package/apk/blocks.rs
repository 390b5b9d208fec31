//! Files of apk's version 3, packages and indexes: compressed or not, a row of blocks. The first
//! holds values, then come signatures over them, then the contents of files.
//!
//! A reader of the file comes in; blocks go out, one after the other, none larger than allowed. What
//! apk would pass over is refused: bytes between blocks that are no zeros, bytes behind the last one,
//! blocks out of order. Verifying is the business of whoever has the keys.
//!
//! Format: apk-v3(5), "Blocks"; apk-mkpkg(8) for compression.

use std::io::{self, BufRead, Read};

use sha2::{Digest as _, Sha512};

use crate::package::compression::{Compression, Decompressor, Limits};

/// How such files begin, whatever compresses them.
pub const START: &[u8] = b"ADB";
/// The longest signature with what stands before it.
const LONGEST_SIGNATURE: u64 = 2048;
/// More signatures than any file needs.
const MOST_SIGNATURES: usize = 16;
/// Blocks begin at multiples of this.
const ALIGNMENT: u64 = 8;
/// Zeros before a block.
const MOST_PADDING: usize = 8;

/// What a file is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    /// An index of packages.
    Index,
    /// A package.
    Package,
}

impl Schema {
    const fn bytes(self) -> [u8; 4] {
        match self {
            Self::Index => *b"indx",
            Self::Package => *b"pckg",
        }
    }
}

/// The values of a file, and who signed them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// What the file is about, which signatures cover too.
    pub schema: Schema,
    /// The bytes of its values.
    pub values: Vec<u8>,
    /// Signatures over them.
    pub signatures: Vec<Signature>,
}

/// A signature over values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Version, digest and key, as they stand before the signature and are covered by it.
    head: [u8; 18],
    /// RSA, PKCS#1 v1.5.
    pub bytes: Vec<u8>,
}

impl Signature {
    /// The first bytes of the SHA-512 of the public key.
    pub fn key(&self) -> &[u8] {
        self.head.get(2..).unwrap_or_default()
    }

    /// Whether it is of the only kind that is known: over SHA-512.
    pub fn is_known(&self) -> bool {
        self.head.starts_with(&[0, 4])
    }
}

impl Signed {
    /// The bytes that a signature is over.
    pub fn message(&self, signature: &Signature) -> Vec<u8> {
        let digest = Sha512::digest(&self.values);
        [&self.schema.bytes(), &signature.head[..], &digest[..]].concat()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Values,
    Signature,
    Data,
}

#[derive(Debug, Clone, Copy)]
struct Header {
    kind: Kind,
    /// Bytes behind the header.
    size: u64,
    padding: u64,
}

/// The blocks of a file behind its values and signatures.
#[derive(Debug)]
pub struct Blocks<R> {
    plain: Decompressor<R>,
    next: Option<Header>,
    /// Unread bytes of the block that is being read.
    left: u64,
    padding: u64,
}

impl<R: BufRead> Blocks<R> {
    /// Reads a file of at most `values` bytes of values and `limit` bytes in all up to its data.
    ///
    /// # Errors
    /// [`Error`]
    pub fn open(
        inner: R,
        schema: Schema,
        (values, limit): (u64, u64),
    ) -> Result<(Signed, Self), Error> {
        let plain = begin(inner, limit)?;
        let mut blocks = Self { plain, next: None, left: 0, padding: 0 };
        if blocks.array()? != schema.bytes() {
            return Err(Error::Broken("it is about something else"));
        }
        let first = blocks.header()?.filter(|header| header.kind == Kind::Values);
        let first = first.ok_or(Error::Broken("its values are missing"))?;
        let values = blocks.whole(first, values)?;
        let mut signatures = Vec::new();
        loop {
            blocks.next = blocks.header()?;
            let Some(header) = blocks.next.filter(|next| next.kind == Kind::Signature) else {
                break;
            };
            let bytes = blocks.whole(header, LONGEST_SIGNATURE)?;
            let (head, bytes) = bytes.split_first_chunk().ok_or(Error::Signature)?;
            if bytes.is_empty() || signatures.len() == MOST_SIGNATURES {
                return Err(Error::Signature);
            }
            signatures.push(Signature { head: *head, bytes: bytes.to_vec() });
        }
        Ok((Signed { schema, values, signatures }, blocks))
    }

    /// Goes to the next block of data, once the last one was read whole, and returns its size in bytes;
    /// `None` at the end of the file.
    ///
    /// # Errors
    /// [`Error`]
    pub fn next_data(&mut self) -> Result<Option<u64>, Error> {
        let next = match self.next.take() {
            Some(header) => Some(header),
            None => {
                self.leave()?;
                self.header()?
            }
        };
        let Some(Header { kind, size, padding }) = next else { return Ok(None) };
        if kind != Kind::Data {
            return Err(Error::Broken("a block is out of order"));
        }
        (self.left, self.padding) = (size, padding);
        Ok(Some(size))
    }

    /// Checks that nothing follows, and returns the reader below.
    ///
    /// # Errors
    /// [`Error`]
    pub fn finish(mut self) -> Result<R, Error> {
        match self.next_data()? {
            None => self.plain.finish().map_err(Error::Read),
            Some(_) => Err(Error::Broken("there are contents of no file")),
        }
    }

    /// A block's bytes, and the reader behind it.
    fn whole(&mut self, header: Header, limit: u64) -> Result<Vec<u8>, Error> {
        if header.size > limit {
            return Err(Error::Broken("a block is too long"));
        }
        (self.left, self.padding) = (header.size, header.padding);
        // As long as it says, so that nothing is copied while it grows; what never comes takes no memory.
        let mut bytes = Vec::with_capacity(usize::try_from(header.size).unwrap_or_default());
        self.read_to_end(&mut bytes).map_err(Error::Read)?;
        self.leave()?;
        Ok(bytes)
    }

    /// Goes behind the block that was read.
    fn leave(&mut self) -> Result<(), Error> {
        if self.left > 0 {
            return Err(Error::Broken("a block was not read whole"));
        }
        let mut zeros = [0; MOST_PADDING];
        let padding = usize::try_from(std::mem::take(&mut self.padding)).unwrap_or_default();
        let zeros = zeros.get_mut(..padding).unwrap_or_default();
        self.plain.read_exact(zeros).map_err(Error::Read)?;
        match zeros.iter().all(|byte| *byte == 0) {
            true => Ok(()),
            false => Err(Error::Broken("something stands between its blocks")),
        }
    }

    /// The header of the next block; none at the end.
    fn header(&mut self) -> Result<Option<Header>, Error> {
        let mut word = Vec::new();
        (&mut self.plain).take(4).read_to_end(&mut word).map_err(Error::Read)?;
        if word.is_empty() {
            return Ok(None);
        }
        let word = word.try_into().map_err(|_| Error::Broken("it ends in the middle"))?;
        let word = u32::from_le_bytes(word);
        let (kind, low) = (word >> 30, word & 0x3fff_ffff);
        let (kind, raw, header) = match kind {
            3 => {
                let reserved: [u8; 4] = self.array()?;
                if reserved != [0; 4] {
                    return Err(Error::Broken("a block is of a later version"));
                }
                (low, u64::from_le_bytes(self.array()?), 16)
            }
            kind => (kind, u64::from(low), 4),
        };
        let kind = match kind {
            0 => Kind::Values,
            1 => Kind::Signature,
            2 => Kind::Data,
            _ => return Err(Error::Broken("a block is of an unknown kind")),
        };
        let size = raw.checked_sub(header).ok_or(Error::Broken("a block has no length"))?;
        let padding = raw.checked_next_multiple_of(ALIGNMENT).and_then(|end| end.checked_sub(raw));
        let padding = padding.ok_or(Error::Broken("a block is too long"))?;
        Ok(Some(Header { kind, size, padding }))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.plain.read_exact(&mut bytes).map_err(Error::Read)?;
        Ok(bytes)
    }
}

/// The bytes of the block that is being read.
impl<R: BufRead> Read for Blocks<R> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(output.len());
        let Some(output) = output.get_mut(..most).filter(|output| !output.is_empty()) else {
            return Ok(0);
        };
        let count = self.plain.read(output)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left = self.left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
        Ok(count)
    }
}

/// The plain bytes of a file behind its mark, of which there are at most `limit`.
fn begin<R: BufRead>(mut inner: R, limit: u64) -> Result<Decompressor<R>, Error> {
    let mut mark = [0; 4];
    inner.read_exact(&mut mark).map_err(Error::Read)?;
    let compression = match &mark {
        b"ADB." => Compression::None,
        b"ADBd" => Compression::Deflate,
        b"ADBc" => {
            let mut kind = [0; 2];
            inner.read_exact(&mut kind).map_err(Error::Read)?;
            match kind {
                [0, _] => Compression::None,
                [1, _] => Compression::Deflate,
                [2, _] => Compression::Zstd,
                _ => return Err(Error::Compression),
            }
        }
        _ => return Err(Error::Compression),
    };
    let plain = Decompressor::new(inner, compression, Limits::up_to(limit));
    let mut plain = plain.map_err(Error::Read)?;
    if mark != *b"ADB." {
        plain.read_exact(&mut mark).map_err(Error::Read)?;
    }
    if mark == *b"ADB." { Ok(plain) } else { Err(Error::Broken("it has no mark")) }
}

/// Why a file of version 3 is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be read, or not be decompressed.
    #[error("cannot read a file of apk's version 3")]
    Read(#[source] io::Error),
    /// It breaks a rule of the format.
    #[error("the file of apk's version 3 is broken: {0}")]
    Broken(&'static str),
    /// It is compressed in a way that is not known.
    #[error("the file of apk's version 3 is compressed in a way that is not supported")]
    Compression,
    /// A signature is too short or too long, or there are too many.
    #[error("a signature of the file of apk's version 3 is malformed")]
    Signature,
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test may end with a panic")]
mod tests {
    use super::*;
    use crate::package::compression::tests::compress;

    /// A block with its padding.
    fn block(kind: u32, content: &[u8]) -> Vec<u8> {
        let size = u32::try_from(content.len()).unwrap().saturating_add(4);
        let mut bytes = [&(kind << 30 | size).to_le_bytes(), content].concat();
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    /// The same with the long header.
    fn long_block(kind: u32, content: &[u8]) -> Vec<u8> {
        let size = u64::try_from(content.len()).unwrap().saturating_add(16);
        let mut bytes =
            [&(3 << 30 | kind).to_le_bytes(), &[0; 4][..], &size.to_le_bytes(), content].concat();
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    /// A signature of the known kind, which nobody made.
    fn signature() -> Vec<u8> {
        block(1, &[&[0, 4][..], &[7; 16], b"sig"].concat())
    }

    fn file(blocks: &[Vec<u8>]) -> Vec<u8> {
        [b"ADB.pckg".to_vec(), blocks.concat()].concat()
    }

    fn contents(bytes: &[u8]) -> Result<(Signed, Vec<String>), Error> {
        let (signed, mut blocks) = Blocks::open(bytes, Schema::Package, (100, 10_000))?;
        let mut contents = Vec::new();
        while blocks.next_data()?.is_some() {
            let mut text = String::new();
            blocks.read_to_string(&mut text).map_err(Error::Read)?;
            contents.push(text);
        }
        blocks.finish()?;
        Ok((signed, contents))
    }

    #[test]
    fn values_signatures_and_data_are_read_however_they_are_compressed() {
        let blocks = [block(0, b"values"), signature(), block(2, b"one"), long_block(2, b"two")];
        let plain = file(&blocks);
        let deflated = compress(Compression::Deflate, &plain);
        let frame = compress(Compression::Zstd, &plain);
        for bytes in [
            plain.clone(),
            [&b"ADBc\0\0"[..], &plain].concat(),
            [&b"ADBd"[..], &deflated].concat(),
            [&b"ADBc\x01\x09"[..], &deflated].concat(),
            [&b"ADBc\x02\x03"[..], &frame].concat(),
        ] {
            let (signed, contents) = contents(&bytes).unwrap();
            assert_eq!((signed.values.as_slice(), signed.signatures.len()), (&b"values"[..], 1));
            assert_eq!(contents, ["one", "two"]);
        }
        let (signed, none) = contents(&file(&[block(0, b"values")])).unwrap();
        assert!(signed.signatures.is_empty() && none.is_empty());
    }

    #[test]
    fn a4_no_byte_stands_outside_of_the_blocks_and_their_order_is_fixed() {
        let (values, data) = (block(0, b"values"), block(2, b"one"));
        let mut padded = block(0, b"value");
        padded.extend(block(2, b"x"));
        let good = file(&[values.clone(), data.clone()]);
        assert!(contents(&good).is_ok());
        let mut dirty = good.clone();
        *dirty.last_mut().unwrap() = 1;
        for (bytes, reason) in [
            (dirty, "between its blocks"),
            ([&good[..], b"more"].concat(), "out of order"),
            ([&good[..], b"m"].concat(), "ends in the middle"),
            (file(&[values.clone(), values.clone()]), "out of order"),
            (file(&[values.clone(), data.clone(), signature()]), "out of order"),
            (file(std::slice::from_ref(&data)), "values are missing"),
            (file(&[]), "values are missing"),
            (file(&[block(0, &[0; 101])]), "too long"),
            (file(&[vec![3, 0, 0, 0]]), "no length"),
            (b"ADB.indx".to_vec(), "something else"),
            (b"ADBx".to_vec(), "not supported"),
            (b"ADBc\x03\0".to_vec(), "not supported"),
            (file(&[values.clone(), block(1, b"short")]), "malformed"),
            (file(&[&[values.clone()][..], &vec![signature(); 17]].concat()), "malformed"),
        ] {
            let message = contents(&bytes).unwrap_err().to_string();
            assert!(message.contains(reason), "{message} for {reason}");
        }
        for end in 0..good.len() {
            let whole = end == 8 + values.len();
            assert_eq!(contents(&good[..end]).is_ok(), whole, "cut at {end}");
        }
    }

    #[test]
    fn a_signature_covers_what_the_file_is_about_and_how_it_was_made() {
        let read = |bytes: &[u8], schema| Blocks::open(bytes, schema, (100, 1000)).unwrap().0;
        let package = read(&file(&[block(0, b"values"), signature()]), Schema::Package);
        let index = [&b"ADB.indx"[..], &block(0, b"values"), &signature()].concat();
        let index = read(&index, Schema::Index);
        assert_eq!(package.signatures, index.signatures);
        let signature = &package.signatures[0];
        assert!(signature.is_known());
        assert_eq!((signature.key(), signature.bytes.as_slice()), (&[7; 16][..], &b"sig"[..]));
        assert_ne!(package.message(signature), index.message(signature));
        assert_eq!(package.message(signature).len(), 4 + 18 + 64);
    }
}
