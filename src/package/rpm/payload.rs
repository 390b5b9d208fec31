//! The payload of a package: the contents of its files, in a cpio archive.
//!
//! In: the plain bytes of the payload, and the files that the header lists; out: one content after the
//! other, each with the number of its file. Entries are either those of the "new ASCII" cpio format or,
//! in packages with files beyond four gigabytes, `07070X` with nothing but a file's number. An entry
//! that the header does not list, or lists otherwise, is refused, as is a file without an entry.
//! Several names of one file follow each other; only the last of them has the content.
//! Specification: cpio(5), and rpm's documentation of the payload.

use std::collections::BTreeMap;
use std::io::{self, Read};

use super::files::{File, Kind};
use crate::tree::TreePath;

const PLAIN: [&[u8; 6]; 2] = [b"070701", b"070702"];
const STRIPPED: &[u8; 6] = b"07070X";
const LAST: &[u8] = b"TRAILER!!!";
/// Bytes of the fixed fields behind the magic.
const FIELDS: usize = 104;

/// A payload being read.
#[derive(Debug)]
pub struct Payload<'a, R> {
    inner: R,
    files: &'a [File],
    numbers: BTreeMap<&'a TreePath, usize>,
    seen: Vec<bool>,
    /// Bytes of the content that were not read yet.
    left: u64,
    /// Bytes since the archive's beginning, modulo four.
    phase: u64,
}

impl<'a, R: Read> Payload<'a, R> {
    /// Prepares to read the contents of `files`.
    pub fn new(inner: R, files: &'a [File]) -> Self {
        let numbers = files.iter().enumerate().map(|(number, file)| (&file.path, number)).collect();
        Self { inner, files, numbers, seen: vec![false; files.len()], left: 0, phase: 0 }
    }

    /// Goes on to the next file and returns its number. What was not read of the content before is
    /// passed over.
    ///
    /// # Errors
    /// [`Error`]
    pub fn next_file(&mut self) -> Result<Option<usize>, Error> {
        self.pass_over(self.left)?;
        self.left = 0;
        self.align()?;
        let mut magic = [0; 6];
        self.take(&mut magic)?;
        let (number, size) = match &magic {
            STRIPPED => self.stripped()?,
            magic if PLAIN.contains(&magic) => match self.named()? {
                Some(found) => found,
                None => return self.end(),
            },
            _ => return Err(Error::Magic),
        };
        let file = self.files.get(number).ok_or(Error::Unlisted)?;
        match self.seen.get_mut(number) {
            Some(seen) if !*seen => *seen = true,
            _ => return Err(Error::Repeated { path: file.path.clone() }),
        }
        self.left = size;
        Ok(Some(number))
    }

    /// The bytes of the content that are left.
    pub const fn left(&self) -> u64 {
        self.left
    }

    /// A reader of the file's content.
    pub fn content(&mut self) -> impl Read + '_ {
        Content(self)
    }

    /// Ends well if nothing is missing, and returns the reader below.
    ///
    /// # Errors
    /// [`Error::Missing`] for a regular file without an entry.
    pub fn finish(self) -> Result<R, Error> {
        let mut missing = self.files.iter().zip(&self.seen).filter(|(file, seen)| {
            !**seen && !file.is_ghost() && matches!(file.kind, Kind::Regular { .. })
        });
        match missing.next() {
            Some((file, _)) => Err(Error::Missing { path: file.path.clone() }),
            None => Ok(self.inner),
        }
    }

    fn end(&self) -> Result<Option<usize>, Error> {
        Ok(None)
    }

    /// An entry of nothing but a number; everything else is in the header.
    fn stripped(&mut self) -> Result<(usize, u64), Error> {
        let mut digits = [0; 8];
        self.take(&mut digits)?;
        let number = usize::try_from(hexadecimal(&digits)?).unwrap_or(usize::MAX);
        self.align()?;
        let file = self.files.get(number).ok_or(Error::Unlisted)?;
        let size = match &file.kind {
            Kind::Regular { size, .. } if self.has_content(number) => *size,
            _ => 0,
        };
        Ok((number, size))
    }

    /// Whether a file is the last name of its content.
    fn has_content(&self, number: usize) -> bool {
        let Some(file) = self.files.get(number) else { return false };
        let later = self.files.get(number.saturating_add(1)..).unwrap_or_default();
        file.link == (0, 0)
            || !later.iter().any(|other| other.link == file.link && !other.is_ghost())
    }

    /// An entry with a name; none, if it is the last one.
    fn named(&mut self) -> Result<Option<(usize, u64)>, Error> {
        let mut fields = [0; FIELDS];
        self.take(&mut fields)?;
        let field = |number: usize| {
            let at = number.saturating_mul(8);
            hexadecimal(fields.get(at..at.saturating_add(8)).unwrap_or_default())
        };
        let (size, length) = (field(6)?, field(11)?);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length == 0 || length > 4096 {
            return Err(Error::Name);
        }
        let mut name = vec![0; length];
        self.take(&mut name)?;
        self.align()?;
        let name = name.strip_suffix(b"\0").ok_or(Error::Name)?;
        if name == LAST {
            return Ok(None);
        }
        let path = TreePath::parse(name).map_err(|_| Error::Name)?;
        let number = self.numbers.get(&path).copied().ok_or(Error::Unlisted)?;
        Ok(Some((number, size)))
    }

    fn take(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        self.inner.read_exact(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Error::Truncated,
            _ => Error::Read(error),
        })?;
        self.count(buffer.len());
        Ok(())
    }

    fn count(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(0);
        self.phase = self.phase.wrapping_add(bytes) & 3;
    }

    fn align(&mut self) -> Result<(), Error> {
        self.pass_over(self.phase.wrapping_neg() & 3)
    }

    fn pass_over(&mut self, bytes: u64) -> Result<(), Error> {
        let passed = io::copy(&mut self.inner.by_ref().take(bytes), &mut io::sink());
        let passed = passed.map_err(Error::Read)?;
        self.phase = self.phase.wrapping_add(passed) & 3;
        if passed == bytes { Ok(()) } else { Err(Error::Truncated) }
    }
}

/// What is left of a content.
struct Content<'p, 'a, R>(&'p mut Payload<'a, R>);

impl<R: Read> Read for Content<'_, '_, R> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        let Content(payload) = self;
        let room = usize::try_from(payload.left).unwrap_or(usize::MAX).min(output.len());
        let Some(output) = output.get_mut(..room).filter(|output| !output.is_empty()) else {
            return Ok(0);
        };
        let count = payload.inner.read(output)?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, Error::Truncated));
        }
        payload.count(count);
        payload.left = payload.left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
        Ok(count)
    }
}

fn hexadecimal(digits: &[u8]) -> Result<u64, Error> {
    let all = digits.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(digits).ok().filter(|_| all);
    text.and_then(|text| u64::from_str_radix(text, 16).ok()).ok_or(Error::Number)
}

/// Why a payload cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes cannot be had.
    #[error("the payload cannot be read")]
    Read(#[source] io::Error),
    /// It ends early.
    #[error("the payload ends early")]
    Truncated,
    /// An entry does not begin as entries do.
    #[error("an entry of the payload does not begin where it should")]
    Magic,
    /// A number is none.
    #[error("an entry of the payload has a field that is no number")]
    Number,
    /// A name cannot be.
    #[error("an entry of the payload has a name that cannot be")]
    Name,
    /// The header does not list it.
    #[error("the payload holds a file that the header does not list")]
    Unlisted,
    /// It stands there twice.
    #[error("{path} stands in the payload twice")]
    Repeated {
        /// Which.
        path: TreePath,
    },
    /// It is not there.
    #[error("{path} is not in the payload")]
    Missing {
        /// Which.
        path: TreePath,
    },
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test may end with a panic"
)]
mod tests {
    use super::*;

    fn file(path: &str, size: u64, link: u64) -> File {
        File {
            path: TreePath::parse(path).unwrap(),
            kind: Kind::Regular { size, digest: Box::default() },
            mode: 0o644,
            mtime: 0,
            user: Box::default(),
            group: Box::default(),
            flags: 0,
            color: 0,
            capabilities: Box::default(),
            link: (u64::from(link > 0), link),
        }
    }

    fn entry(name: &str, content: &[u8]) -> Vec<u8> {
        let mut bytes = b"070701".to_vec();
        for number in 0..13 {
            let value = match number {
                6 => content.len(),
                11 => name.len() + 1,
                _ => 0,
            };
            bytes.extend(format!("{value:08x}").bytes());
        }
        bytes.extend(name.bytes().chain([0]));
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn read(bytes: &[u8], files: &[File]) -> Result<Vec<(usize, Vec<u8>)>, Error> {
        let mut payload = Payload::new(crate::testing::Stuttering::new(bytes), files);
        let mut found = Vec::new();
        while let Some(number) = payload.next_file()? {
            let mut content = Vec::new();
            payload.content().read_to_end(&mut content).map_err(Error::Read)?;
            found.push((number, content));
        }
        payload.finish()?;
        Ok(found)
    }

    #[test]
    fn contents_come_with_the_numbers_of_their_files() {
        let files = [file("a", 3, 0), file("usr/b", 5, 0)];
        let bytes = [entry("./usr/b", b"hello"), entry("/a", b"abc"), entry("TRAILER!!!", b"")];
        let found = read(&bytes.concat(), &files).unwrap();
        assert_eq!(found, [(1, b"hello".to_vec()), (0, b"abc".to_vec())]);
    }

    #[test]
    fn stripped_entries_take_all_but_the_content_from_the_header() {
        let files = [file("a", 3, 7), file("b", 3, 7), file("c", 1, 0)];
        let mut bytes = Vec::new();
        for (number, content) in [("00000000", ""), ("00000001", "abc"), ("00000002", "x")] {
            bytes.extend(b"07070X");
            bytes.extend(number.bytes());
            bytes.extend([0; 2]);
            bytes.extend(content.bytes());
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes.extend(entry("TRAILER!!!", b""));
        let found = read(&bytes, &files).unwrap();
        assert_eq!(found, [(0, vec![]), (1, b"abc".to_vec()), (2, b"x".to_vec())]);
    }

    #[test]
    fn c16_what_the_header_does_not_list_is_refused() {
        let files = [file("a", 1, 0)];
        let last = entry("TRAILER!!!", b"");
        let good = [entry("a", b"x"), last.clone()].concat();
        assert!(read(&good, &files).is_ok());
        for (bytes, words) in [
            ([entry("../a", b"x"), last.clone()].concat(), "a name that cannot be"),
            ([entry("b", b"x"), last.clone()].concat(), "does not list"),
            ([entry("a", b"x"), entry("a", b"y"), last.clone()].concat(), "twice"),
            (last.clone(), "/a is not in the payload"),
            (good[..40].to_vec(), "ends early"),
            (good[..good.len() - 8].to_vec(), "ends early"),
            (b"070707".to_vec(), "does not begin"),
        ] {
            let error = read(&bytes, &files).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        let mut long = entry("a", b"x");
        long[94..102].copy_from_slice(b"ffffffff");
        assert!(matches!(read(&long, &files), Err(Error::Name)));
        long[94..102].copy_from_slice(b"00000000");
        assert!(matches!(read(&long, &files), Err(Error::Name)));
        long[94..102].copy_from_slice(b"-0000002");
        assert!(matches!(read(&long, &files), Err(Error::Number)));
    }
}
