//! Reads tar archives as a stream of entries whose paths are clean.
//!
//! In comes a reader of plain bytes; out come entries one by one, the content of each read before
//! the next is asked for. Known: old (v7), ustar and GNU headers, GNU long names and links, PAX
//! headers of one entry, numbers in octal and in base 256. A size in a PAX header always wins.
//!
//! Where two readers could disagree, the archive is refused: malformed or repeated PAX records,
//! names given twice, lengths on entries without content, anything but zeros after the end. Sparse
//! files, ACLs and multi-volume archives are valid but unsupported. Nothing is written to disk.
//!
//! Format: POSIX.1-2024 `pax`, "ustar Interchange Format" and "pax Header Block"; GNU tar's manual,
//! "Basic Tar Format".

mod header;
mod pax;

use std::io::{self, Read};

use crate::tree::{BadPath, Device, Meta, TreePath, escape};

use header::{BLOCK, Format, Header};

/// One file of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place; the root itself for `./`.
    pub path: TreePath,
    /// Owner, mode, time, attributes.
    pub meta: Meta,
    /// What it is.
    pub kind: EntryKind,
    /// What only some families ask for.
    pub words: Words,
}

/// What an archive says of an entry in its own words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Words {
    /// The path as it is spelt.
    pub path: Box<[u8]>,
    /// The name of the owner; empty, if there is none.
    pub user: Box<[u8]>,
    /// The name of the group; empty, if there is none.
    pub group: Box<[u8]>,
    /// The SHA-1 of the content or of a link's target in hexadecimal, as apk's archives carry it.
    pub sha1: Option<Box<[u8]>>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A regular file with so many bytes of content.
    Regular {
        /// The size in bytes.
        size: u64,
    },
    /// Another name of a file that should have stood before.
    HardLink(TreePath),
    /// A symbolic link, its target as written.
    Symlink(Box<[u8]>),
    /// A character device.
    CharacterDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
}

/// Why an archive is not read further.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes could not be read, or not be decompressed.
    #[error("cannot read entry {entry} of the tar archive")]
    Read {
        /// Counted from 1.
        entry: u64,
        /// What the reader reported.
        source: io::Error,
    },
    /// A rule of the format is broken.
    #[error("entry {entry} of the tar archive{name} {rule}")]
    Broken {
        /// Counted from 1.
        entry: u64,
        /// Its name, if known, with a space before it.
        name: String,
        /// The rule, as the end of a sentence.
        rule: &'static str,
    },
    /// A path is not clean.
    #[error("entry {entry} of the tar archive has a bad path")]
    BadPath {
        /// Counted from 1.
        entry: u64,
        /// Which rule it breaks.
        source: BadPath,
    },
    /// A valid feature that is not supported.
    #[error("entry {entry} of the tar archive{name} uses {feature}, which is not supported")]
    Unsupported {
        /// Counted from 1.
        entry: u64,
        /// Its name, if known, with a space before it.
        name: String,
        /// The feature.
        feature: &'static str,
    },
}

/// More entries than any package or root file system has; a bound on the memory of whoever
/// collects them.
const MAXIMUM_ENTRIES: u64 = 2_000_000;
/// A size beyond this can only be an attempt to overflow a sum: 2^62 bytes.
const MAXIMUM_SIZE: u64 = 1 << 62;
/// Longest GNU name or link target that is read: [`crate::tree::PATH_MAX`] and some.
const MAXIMUM_LONG_NAME: u64 = 8192;
/// Longest PAX header that is read, which also bounds extended attributes.
const MAXIMUM_PAX: u64 = 1 << 20;

/// A reader of tar archives.
#[derive(Debug)]
pub struct Reader<R> {
    inner: R,
    /// Entries begun so far.
    entry: u64,
    /// Content of the current entry that is not read yet, and the zeros that fill its last block.
    content: u64,
    padding: u64,
}

/// What extended headers say about the entry that follows them.
#[derive(Debug, Default)]
struct Extension {
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    pax: Option<pax::Records>,
}

impl<R: Read> Reader<R> {
    /// Prepares to read an archive from its beginning.
    pub const fn new(inner: R) -> Self {
        Self { inner, entry: 0, content: 0, padding: 0 }
    }

    /// Returns the reader below, as far as it was read.
    pub fn into_inner(self) -> R {
        self.inner
    }

    /// Returns the next entry; `None` at the end, when the reader was read to its own end too.
    /// Content of the entry before that was not read is skipped.
    ///
    /// # Errors
    /// Each of [`Error`]; after one, further calls are meaningless.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        let mut extension = Extension::default();
        self.entry = self.entry.saturating_add(1);
        if self.entry > MAXIMUM_ENTRIES {
            return Err(self.broken(&[], "is one too many: 2000000 are allowed"));
        }
        loop {
            self.skip_content()?;
            let Some(header) = self.read_header()? else {
                return self.check_finished(&extension).map(|()| None);
            };
            match header.type_flag() {
                b'L' => {
                    let name = self.read_long(&header)?;
                    self.set_once(&mut extension.long_name, name)?;
                }
                b'K' => {
                    let name = self.read_long(&header)?;
                    self.set_once(&mut extension.long_link, name)?;
                }
                b'x' => {
                    let bytes = self.read_extension(&header, MAXIMUM_PAX)?;
                    let records = pax::parse(&bytes).map_err(|e| self.refuse(&[], e))?;
                    self.set_once(&mut extension.pax, records)?;
                }
                b'g' => {
                    let bytes = self.read_extension(&header, MAXIMUM_PAX)?;
                    pax::check_global(&bytes).map_err(|e| self.refuse(&[], e))?;
                }
                _ => return self.finish_entry(&header, extension).map(Some),
            }
        }
    }

    /// The content of the current entry, or what is left of it; empty for all but regular files.
    ///
    /// Ends early only with an error.
    pub const fn content(&mut self) -> ContentReader<'_, R> {
        ContentReader { archive: self }
    }

    /// Reads a header block, or the end of the archive.
    fn read_header(&mut self) -> Result<Option<Header>, Error> {
        let Some(block) = self.read_block()? else {
            return Err(self.broken(&[], "is missing: the archive has no end mark"));
        };
        if block.iter().all(|&byte| byte == 0) {
            return self.read_to_end().map(|()| None);
        }
        let header = Header::new(block);
        if header.checksum_is_right() {
            Ok(Some(header))
        } else {
            Err(self.broken(&header.name(), "has a wrong header checksum"))
        }
    }

    /// Reads a block of 512 bytes; `None` when nothing at all is left.
    fn read_block(&mut self) -> Result<Option<[u8; BLOCK]>, Error> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.inner.read(rest) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(self.broken(&[], "ends in the middle of a block")),
                Ok(count) => filled = filled.saturating_add(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::Read { entry: self.entry, source }),
            }
        }
        Ok(Some(block))
    }

    /// After the first block of zeros, only zeros may follow.
    fn read_to_end(&mut self) -> Result<(), Error> {
        while let Some(block) = self.read_block()? {
            if block.iter().any(|&byte| byte != 0) {
                return Err(self.broken(&[], "stands after the end of the archive"));
            }
        }
        Ok(())
    }

    /// Extended headers belong to an entry.
    fn check_finished(&self, extension: &Extension) -> Result<(), Error> {
        if extension.any() {
            return Err(self.broken(&[], "is missing after its extended header"));
        }
        Ok(())
    }

    fn skip_content(&mut self) -> Result<(), Error> {
        let entry = self.entry;
        let read = |source| Error::Read { entry, source };
        io::copy(&mut self.content(), &mut io::sink()).map_err(read)?;
        let mut padding = [0; BLOCK];
        let size = usize::try_from(self.padding).unwrap_or_default();
        let padding = padding.get_mut(..size).unwrap_or_default();
        self.inner.read_exact(padding).map_err(read)?;
        self.padding = 0;
        Ok(())
    }

    fn begin_content(&mut self, size: u64) {
        self.content = size;
        self.padding = size.wrapping_neg() & (header::BLOCK_SIZE.saturating_sub(1));
    }

    /// Reads what an extended header holds, at most `limit` bytes.
    fn read_extension(&mut self, header: &Header, limit: u64) -> Result<Vec<u8>, Error> {
        let size = header.size().map_err(|rule| self.broken(&header.name(), rule))?;
        if size > limit {
            return Err(self.broken(&header.name(), "has an extended header that is too long"));
        }
        self.begin_content(size);
        let mut bytes = Vec::new();
        let entry = self.entry;
        let read = self.content().read_to_end(&mut bytes);
        read.map_err(|source| Error::Read { entry, source })?;
        Ok(bytes)
    }

    /// Reads a GNU long name: bytes up to a NUL, and nothing but NULs after it.
    fn read_long(&mut self, header: &Header) -> Result<Vec<u8>, Error> {
        let mut bytes = self.read_extension(header, MAXIMUM_LONG_NAME)?;
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        if bytes.iter().skip(end).any(|&byte| byte != 0) || end == 0 {
            return Err(self.broken(&[], "has a malformed long name"));
        }
        bytes.truncate(end);
        Ok(bytes)
    }

    fn set_once<T>(&self, place: &mut Option<T>, value: T) -> Result<(), Error> {
        match place.replace(value) {
            None => Ok(()),
            Some(_) => Err(self.broken(&[], "has the same extended header twice")),
        }
    }

    fn finish_entry(&mut self, header: &Header, extension: Extension) -> Result<Entry, Error> {
        let Extension { long_name, long_link, pax } = extension;
        let pax = pax.unwrap_or_default();
        if (long_name.is_some() && pax.path.is_some())
            || (long_link.is_some() && pax.link_path.is_some())
        {
            return Err(self.broken(&header.name(), "has two long names"));
        }
        let name = pax.path.or(long_name).unwrap_or_else(|| header.name());
        let target = pax.link_path.or(long_link).unwrap_or_else(|| header.link_name());
        let header_size = header.size().map_err(|rule| self.broken(&name, rule))?;
        let size = pax.size.unwrap_or(header_size);
        let meta = Meta {
            mode: header.mode().map_err(|rule| self.broken(&name, rule))?,
            uid: pax
                .uid
                .map_or_else(|| header.uid(), Ok)
                .map_err(|rule| self.broken(&name, rule))?,
            gid: pax
                .gid
                .map_or_else(|| header.gid(), Ok)
                .map_err(|rule| self.broken(&name, rule))?,
            mtime: pax
                .mtime
                .map_or_else(|| header.mtime(), Ok)
                .map_err(|rule| self.broken(&name, rule))?,
            xattrs: pax.xattrs,
        };
        let words = Words {
            path: name.as_slice().into(),
            user: pax.user.map_or_else(|| header.user(), Vec::into_boxed_slice),
            group: pax.group.map_or_else(|| header.group(), Vec::into_boxed_slice),
            sha1: pax.sha1.map(Vec::into_boxed_slice),
        };
        let kind = self.kind(header, &name, &target, size)?;
        if matches!(kind, EntryKind::HardLink(_)) && pax.size.is_some_and(|size| size > 0) {
            return Err(self.broken(&name, "is a hard link with content"));
        }
        let path = self.path(&name)?;
        if path.is_root() && kind != EntryKind::Directory {
            return Err(self.broken(&name, "is the root but no directory"));
        }
        Ok(Entry { path, meta, kind, words })
    }

    fn kind(
        &mut self,
        header: &Header,
        name: &[u8],
        target: &[u8],
        size: u64,
    ) -> Result<EntryKind, Error> {
        let device = || header.device().map_err(|rule| self.broken(name, rule));
        let kind = match header.type_flag() {
            b'0' | b'7' | 0 if name.ends_with(b"/") => EntryKind::Directory,
            b'0' | b'7' | 0 => {
                self.begin_content(size);
                return Ok(EntryKind::Regular { size });
            }
            // Old archives repeat the size of the target; GNU tar knows that no content follows.
            b'1' => return self.path(target).map(EntryKind::HardLink),
            b'2' if target.is_empty() => return Err(self.broken(name, "is a link to nothing")),
            b'2' if target.contains(&0) || target.len() > crate::tree::PATH_MAX => {
                return Err(self.broken(name, "is a link to an impossible path"));
            }
            b'2' => EntryKind::Symlink(target.into()),
            b'3' => EntryKind::CharacterDevice(device()?),
            b'4' => EntryKind::BlockDevice(device()?),
            b'5' => EntryKind::Directory,
            b'6' => EntryKind::Fifo,
            b'S' => return Err(self.unsupported(name, "a sparse file")),
            b'M' | b'V' | b'D' => return Err(self.unsupported(name, "GNU dump records")),
            _ if header.format() == Format::Old => {
                return Err(self.broken(name, "has an unknown type"));
            }
            _ => return Err(self.unsupported(name, "an unknown type of entry")),
        };
        if size > 0 {
            return Err(self.broken(name, "has content but is no regular file"));
        }
        Ok(kind)
    }

    fn path(&self, bytes: &[u8]) -> Result<TreePath, Error> {
        if bytes.is_empty() {
            return Err(self.broken(&[], "has no name"));
        }
        TreePath::parse(bytes).map_err(|source| Error::BadPath { entry: self.entry, source })
    }

    fn broken(&self, name: &[u8], rule: &'static str) -> Error {
        Error::Broken { entry: self.entry, name: quoted(name), rule }
    }

    fn unsupported(&self, name: &[u8], feature: &'static str) -> Error {
        Error::Unsupported { entry: self.entry, name: quoted(name), feature }
    }

    fn refuse(&self, name: &[u8], refusal: pax::Refusal) -> Error {
        match refusal {
            pax::Refusal::Broken(rule) => self.broken(name, rule),
            pax::Refusal::Unsupported(feature) => self.unsupported(name, feature),
        }
    }
}

impl Extension {
    const fn any(&self) -> bool {
        self.long_name.is_some() || self.long_link.is_some() || self.pax.is_some()
    }
}

/// A name for an error message: escaped, short, and with a space before it unless empty.
fn quoted(name: &[u8]) -> String {
    if name.is_empty() {
        return String::new();
    }
    format!(" ({})", escape(name.get(..name.len().min(200)).unwrap_or_default()))
}

/// The content of one entry; see [`Reader::content`].
#[derive(Debug)]
pub struct ContentReader<'a, R> {
    archive: &'a mut Reader<R>,
}

impl<R: Read> Read for ContentReader<'_, R> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.archive.content).unwrap_or(usize::MAX);
        let size = output.len().min(left);
        let output = output.get_mut(..size).unwrap_or_default();
        if output.is_empty() {
            return Ok(0);
        }
        let count = self.archive.inner.read(output)?;
        if count == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the tar archive ends in the middle of a file",
            ));
        }
        let read = u64::try_from(count).unwrap_or(u64::MAX);
        self.archive.content = self.archive.content.saturating_sub(read);
        Ok(count)
    }
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test may end with a panic"
)]
pub(crate) mod tests;
