//! A package's file: lead, signature header, header, payload.
//!
//! In: the bytes of a file; out: its headers, and then the contents of its files, streaming. The lead
//! says nothing that counts. The signature header is signed by nobody, so nothing of it counts but its
//! signatures, which are for others to verify; digests of it that can be checked must be right. The
//! header names the digest of the payload as it is compressed, and that is compared at the end.
//! Specification: rpm's documentation of the package format, versions 3, 4 and 6.

use std::io::{self, BufRead, Read};

use super::files::{self, File};
use super::header::{self, Header};
use super::payload::{self, Payload};
use super::tag;
use crate::digest::{Digest, Hasher};
use crate::package::compression::{Compression, Decompressor, Limits};

const LEAD: usize = 96;
const MAGIC: [u8; 4] = [0xed, 0xab, 0xee, 0xdb];
/// The largest plain payload that is taken.
const MOST_PAYLOAD: u64 = 64 << 30;

/// What stands before the payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The header that nobody signed.
    pub signature: Header,
    /// The header that was signed.
    pub header: Header,
}

impl Head {
    /// Reads it; `reader` then stands before the payload.
    ///
    /// # Errors
    /// [`Error`]
    pub fn read(reader: &mut impl Read) -> Result<Self, Error> {
        let mut lead = [0; LEAD];
        reader.read_exact(&mut lead).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Error::NoPackage,
            _ => Error::Read(error),
        })?;
        let [a, b, c, d, major, _, high, low, ..] = lead;
        if [a, b, c, d] != MAGIC {
            return Err(Error::NoPackage);
        }
        if !(3..=4).contains(&major) {
            return Err(Error::Format { major });
        }
        if [high, low] != [0, 0] {
            return Err(Error::Source);
        }
        let signature = Header::read(reader, tag::HEADER_SIGNATURES).map_err(Error::Signature)?;
        let padding = signature.as_bytes().len().wrapping_neg() & 7;
        let mut rest = [0; 8];
        let rest = rest.get_mut(..padding).unwrap_or_default();
        reader.read_exact(rest).map_err(Error::Read)?;
        let header = Header::read(reader, tag::HEADER_IMMUTABLE).map_err(Error::Header)?;
        let head = Self { signature, header };
        head.check_digest()?;
        Ok(head)
    }

    /// The digest of the header must be the stated one, if one is stated.
    fn check_digest(&self) -> Result<(), Error> {
        let Some(stated) = self.signature.word(tag::signature::SHA256_HEADER) else {
            return Ok(());
        };
        let found = Digest::of(self.header.as_bytes());
        match stated.parse::<Digest>() {
            Ok(stated) if stated == found => Ok(()),
            _ => Err(Error::OtherHeader),
        }
    }

    /// The signatures over the header, as OpenPGP packets.
    ///
    /// # Errors
    /// [`Error::Encoding`] for one that is not Base64.
    pub fn signatures(&self) -> Result<Vec<Vec<u8>>, Error> {
        use base64::Engine as _;
        let mut all = Vec::new();
        for text in self.signature.texts(tag::signature::OPENPGP) {
            let bytes = base64::engine::general_purpose::STANDARD.decode(text);
            all.push(bytes.map_err(|_| Error::Encoding)?);
        }
        for tag in [tag::signature::RSA_HEADER, tag::signature::DSA_HEADER] {
            let bytes = self.signature.binary(tag);
            if !bytes.is_empty() && !all.iter().any(|known| known == bytes) {
                all.push(bytes.to_vec());
            }
        }
        Ok(all)
    }

    /// The files that it lists.
    ///
    /// # Errors
    /// [`Error::Files`]
    pub fn files(&self) -> Result<Vec<File>, Error> {
        files::files(&self.header).map_err(Error::Files)
    }

    fn compression(&self) -> Result<Compression, Error> {
        let format = self.header.word(tag::PAYLOAD_FORMAT).unwrap_or("cpio");
        if format != "cpio" {
            return Err(Error::Unsupported { what: "format", name: format.to_owned() });
        }
        match self.header.word(tag::PAYLOAD_COMPRESSOR).unwrap_or("gzip") {
            "gzip" => Ok(Compression::Gzip),
            "xz" => Ok(Compression::Xz),
            "zstd" => Ok(Compression::Zstd),
            "bzip2" => Ok(Compression::Bzip2),
            name => Err(Error::Unsupported { what: "compression", name: name.to_owned() }),
        }
    }

    fn payload_digest(&self) -> Result<Option<Digest>, Error> {
        let Some(stated) = self.header.word(tag::PAYLOAD_DIGEST) else { return Ok(None) };
        match self.header.number(tag::PAYLOAD_DIGEST_ALGORITHM) {
            None | Some(8) => stated.parse().map(Some).map_err(|_| Error::OtherPayload),
            Some(_) => Ok(None),
        }
    }

    /// Reads the payload behind this: each content goes to `take` with the number of its file.
    ///
    /// # Errors
    /// [`Error`], or what `take` returns.
    pub fn contents<R: BufRead, E: From<Error>>(
        &self,
        reader: R,
        files: &[File],
        mut take: impl FnMut(usize, &mut dyn Read) -> Result<(), E>,
    ) -> Result<(), E> {
        let expected = self.payload_digest()?;
        let hashed = Hashed { inner: reader, hasher: Hasher::default() };
        let mut packed = io::BufReader::with_capacity(1 << 16, hashed);
        // An empty payload is sometimes not even compressed.
        let compression = match is_plain(&mut packed).map_err(Error::Read)? {
            true => Compression::None,
            false => self.compression()?,
        };
        let plain = Decompressor::new(packed, compression, Limits::up_to(MOST_PAYLOAD));
        let mut payload = Payload::new(plain.map_err(Error::Read)?, files);
        while let Some(number) = payload.next_file().map_err(Error::Payload)? {
            if payload.left() > 0 || matches!(files.get(number), Some(file) if is_empty(file)) {
                take(number, &mut payload.content())?;
            }
        }
        let plain = payload.finish().map_err(Error::Payload)?;
        let packed = plain.finish().map_err(Error::Read)?;
        let found = packed.into_inner().hasher.finish();
        match expected {
            Some(expected) if expected != found => Err(Error::OtherPayload.into()),
            _ => Ok(()),
        }
    }
}

/// Whether a payload begins as it does when it is not compressed.
fn is_plain(payload: &mut impl BufRead) -> io::Result<bool> {
    loop {
        match payload.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            start => return Ok(start?.starts_with(b"07070")),
        }
    }
}

fn is_empty(file: &File) -> bool {
    matches!(file.kind, files::Kind::Regular { size: 0, .. })
}

struct Hashed<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(output)?;
        self.hasher.update(output.get(..count).unwrap_or_default());
        Ok(count)
    }
}

/// Why a file is not a package that can be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes cannot be had.
    #[error("the package cannot be read")]
    Read(#[source] io::Error),
    /// It does not begin as packages do.
    #[error("it is not an rpm package")]
    NoPackage,
    /// It is of another version of the format.
    #[error("packages of format {major} are not supported")]
    Format {
        /// The version.
        major: u8,
    },
    /// It is a source package.
    #[error("it is a source package")]
    Source,
    /// The first header is broken.
    #[error("its signatures are broken")]
    Signature(#[source] header::Error),
    /// The second header is broken.
    #[error("its header is broken")]
    Header(#[source] header::Error),
    /// A stated digest is not that of the header.
    #[error("its header is not the one whose digest stands before it")]
    OtherHeader,
    /// The stated digest is not that of the payload.
    #[error("its payload is not the one whose digest its header names")]
    OtherPayload,
    /// A signature is not Base64.
    #[error("one of its signatures is not Base64")]
    Encoding,
    /// Its files cannot be understood.
    #[error("its list of files is broken")]
    Files(#[source] files::Error),
    /// Its payload cannot be understood.
    #[error("its payload is broken")]
    Payload(#[source] payload::Error),
    /// Its payload is of a kind that is unknown.
    #[error("the {what} {name:?} of its payload is not supported")]
    Unsupported {
        /// `format` or `compression`.
        what: &'static str,
        /// Which.
        name: String,
    },
}

#[cfg(test)]
pub(crate) mod builder;
#[cfg(test)]
mod tests;
