//! The container of a `.deb`: an ar archive with few, short, plain names.
//!
//! In comes a reader and the size of the file; out come its members in order. Long names, symbol
//! tables and everything else that ar can do are refused. Format: ar(5), deb(5).

use std::io::{self, Read};

use super::{Error, compression_of};
use crate::package::compression::Compression;

const MAGIC: &[u8; 8] = b"!<arch>\n";
/// Bytes of a member's header.
const HEADER: usize = 60;
/// deb(5): the format version is a short line, to which lines may be added.
const MAXIMUM_VERSION: u64 = 4096;
/// The members that have a meaning, without extension.
const KNOWN: [&str; 3] = ["debian-binary", "control.tar", "data.tar"];

/// A container, read up to the beginning of a header or of a content.
#[derive(Debug)]
pub(super) struct Container<R> {
    inner: R,
    /// Bytes of the file that have not been read.
    left: u64,
    /// Bytes of the current member that have not been read, and whether a byte fills it up.
    content: u64,
    padded: bool,
    /// Entries of [`KNOWN`] that were met.
    met: Vec<&'static str>,
}

struct Header {
    name: String,
    size: u64,
}

impl<R: Read> Container<R> {
    pub(super) fn open(reader: R, size: u64) -> Result<Self, Error> {
        let mut container =
            Self { inner: reader, left: size, content: 0, padded: false, met: Vec::new() };
        let mut magic = [0; 8];
        container.read_exact(&mut magic)?;
        if magic.starts_with(b"0.9") {
            return Err(Error::Unsupported { what: "the format of before 1995".to_owned() });
        }
        if &magic == MAGIC { Ok(container) } else { Err(broken("it is no ar archive")) }
    }

    /// Reads the first member, which says which format follows.
    pub(super) fn read_format_version(&mut self) -> Result<(), Error> {
        let header = self.next_header()?.ok_or(broken("it is empty"))?;
        if header.name != "debian-binary" {
            return Err(broken("its first member is not debian-binary"));
        }
        if header.size > MAXIMUM_VERSION {
            return Err(broken("its member debian-binary is too long"));
        }
        let mut version = Vec::new();
        Content { container: &mut *self }.read_to_end(&mut version).map_err(Error::Read)?;
        let line = version.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let ended = version.len() > line.len();
        match line.strip_prefix(b"2.") {
            Some(minor) if ended && !minor.is_empty() && minor.iter().all(u8::is_ascii_digit) => {
                Ok(())
            }
            _ if ended && line.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.') => {
                let version = String::from_utf8_lossy(line);
                Err(Error::Unsupported { what: format!("its format version is {version}") })
            }
            _ => Err(broken("its member debian-binary holds no version")),
        }
    }

    /// Goes on to the member `name` with any extension, over members whose names begin with `_`.
    pub(super) fn seek(mut self, name: &'static str) -> Result<(Self, Compression), Error> {
        loop {
            let Some(header) = self.next_header()? else {
                return Err(broken("it ends before its control and data members"));
            };
            if let Some(extension) = header.name.strip_prefix(name) {
                let compression = compression_of(extension)?;
                return Ok((self, compression));
            }
            if !header.name.starts_with('_') {
                return Err(broken("its members are not in the order that deb(5) demands"));
            }
            self.skip_content()?;
        }
    }

    /// Reads to the end of the file. What follows the files has no meaning, but must be members.
    pub(super) fn check_rest(mut self) -> Result<(), Error> {
        while self.next_header()?.is_some() {
            self.skip_content()?;
        }
        Ok(())
    }

    /// The content of the current member, as a reader that gives the container back.
    pub(super) const fn into_content(self) -> Content<Self> {
        Content { container: self }
    }

    fn next_header(&mut self) -> Result<Option<Header>, Error> {
        self.skip_padding()?;
        if self.left == 0 {
            return Ok(None);
        }
        let mut bytes = [0; HEADER];
        self.read_exact(&mut bytes)?;
        let header = parse_header(&bytes).ok_or(broken("a member's header is malformed"))?;
        if header.size > self.left {
            return Err(broken("a member is longer than the file"));
        }
        let known = KNOWN.into_iter().find(|known| header.name.starts_with(known));
        if let Some(known) = known {
            if self.met.contains(&known) {
                return Err(broken("a member stands in it twice"));
            }
            self.met.push(known);
        }
        self.content = header.size;
        self.padded = header.size & 1 == 1;
        Ok(Some(header))
    }

    fn skip_padding(&mut self) -> Result<(), Error> {
        if std::mem::take(&mut self.padded) {
            let mut byte = [0];
            self.read_exact(&mut byte)?;
            if byte != *b"\n" {
                return Err(broken("a member of odd length is not padded"));
            }
        }
        Ok(())
    }

    fn skip_content(&mut self) -> Result<(), Error> {
        io::copy(&mut Content { container: self }, &mut io::sink()).map_err(Error::Read)?;
        Ok(())
    }

    fn read_exact(&mut self, output: &mut [u8]) -> Result<(), Error> {
        let size = u64::try_from(output.len()).unwrap_or(u64::MAX);
        self.left = self.left.checked_sub(size).ok_or(broken("it ends early"))?;
        self.inner.read_exact(output).map_err(Error::Read)
    }

    fn read_content(&mut self, output: &mut [u8]) -> io::Result<usize> {
        let size = output.len().min(usize::try_from(self.content).unwrap_or(usize::MAX));
        let output = output.get_mut(..size).unwrap_or_default();
        if output.is_empty() {
            return Ok(0);
        }
        let count = self.inner.read(output)?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is cut short"));
        }
        let read = u64::try_from(count).unwrap_or(u64::MAX);
        self.content = self.content.saturating_sub(read);
        self.left = self.left.saturating_sub(read);
        Ok(count)
    }
}

const fn broken(rule: &'static str) -> Error {
    Error::Broken { rule }
}

/// Name, then fields that nobody needs, size and an end mark.
fn parse_header(bytes: &[u8; HEADER]) -> Option<Header> {
    let (name, rest) = bytes.split_at_checked(16)?;
    let (_, rest) = rest.split_at_checked(32)?;
    let (size, mark) = rest.split_at_checked(10)?;
    let name = name.trim_ascii_end();
    let name = name.strip_suffix(b"/").unwrap_or(name);
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
    if mark != b"`\n" || name.is_empty() || !name.iter().all(plain) {
        return None;
    }
    let name = std::str::from_utf8(name).ok()?.to_owned();
    Some(Header { name, size: decimal(size.trim_ascii_end())? })
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.checked_sub(b'0').filter(|&digit| digit < 10)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// The content of one member.
#[derive(Debug)]
pub(super) struct Content<C> {
    container: C,
}

impl<R: Read> Content<Container<R>> {
    /// Gives the container back. The content must have been read to its end.
    pub(super) fn finish(self) -> Result<Container<R>, Error> {
        if self.container.content > 0 {
            return Err(broken("bytes follow the end of a compressed member"));
        }
        Ok(self.container)
    }
}

impl<R: Read> Read for Content<Container<R>> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        self.container.read_content(output)
    }
}

impl<R: Read> Read for Content<&mut Container<R>> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        self.container.read_content(output)
    }
}
