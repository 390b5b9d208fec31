//! Reads `.deb` files as a stream: first the control part as a value, then the files one by one.
//!
//! In comes a reader of the whole file, whose digest somebody else has verified; nothing is written.
//! Memory is bounded whatever the file says. Stricter than dpkg where the two halves of a toolchain
//! could disagree: a member twice, members in another order, a path twice, or anything after the
//! end of a compressed stream is refused. The format of before 1995 is refused as unsupported.
//!
//! Format: deb(5), deb-control(5); ar(5) for the container.

mod ar;
mod control;

use std::collections::BTreeSet;
use std::io::{self, BufReader, Read};

use super::{scripts, stanza};
use crate::package::compression::{Compression, Decompressor, Limits};
use crate::package::tar;
use crate::tree::TreePath;

pub use control::{Control, Member};

/// A package whose control part has been read.
#[derive(Debug)]
pub struct Archive<R: Read> {
    /// Everything in the control part.
    pub control: Control,
    files: tar::Reader<Compressed<R>>,
    paths: BTreeSet<TreePath>,
    directories: BTreeSet<TreePath>,
}

type Compressed<R> = Decompressor<BufReader<ar::Content<ar::Container<R>>>>;

/// Why a file is not a package that can be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be read.
    #[error("cannot read the package")]
    Read(#[source] io::Error),
    /// The container breaks a rule.
    #[error("the package is broken: {rule}")]
    Broken {
        /// What is wrong.
        rule: &'static str,
    },
    /// A valid package of a kind that is not supported.
    #[error("the package is not supported: {what}")]
    Unsupported {
        /// Of what kind.
        what: String,
    },
    /// The archive of control files cannot be read.
    #[error("cannot read the control part of the package")]
    ControlArchive(#[source] tar::Error),
    /// A control file that dpkg's database could not hold.
    #[error("the control part of the package holds {name}, which {rule}")]
    ControlFile {
        /// Its name, escaped.
        name: String,
        /// The rule.
        rule: &'static str,
    },
    /// The control file is no stanza, or lacks a field.
    #[error("cannot understand the control file of the package")]
    Stanza(#[from] stanza::Error),
    /// Triggers or conffiles cannot be understood.
    #[error("cannot understand the control part of the package")]
    Words(#[from] scripts::Error),
    /// The archive of files cannot be read.
    #[error("cannot read the files of the package")]
    Files(#[source] tar::Error),
    /// A path stands in the archive twice.
    #[error("{path} is in the package twice")]
    Duplicate {
        /// The path.
        path: TreePath,
    },
    /// A path that dpkg's lists of files, which go by lines, could not hold.
    #[error("{path} has a line break in its name, which dpkg cannot record")]
    LineBreak {
        /// The path.
        path: TreePath,
    },
}

/// Plain bytes of the files of one package. The largest packages of Debian have four GiB.
const MAXIMUM_FILES: u64 = 32 << 30;

impl<R: Read> Archive<R> {
    /// Reads the beginning of a package of `size` bytes, up to its files.
    ///
    /// # Errors
    /// Each of [`Error`] that concerns the container or the control part.
    pub fn open(reader: R, size: u64) -> Result<Self, Error> {
        let mut container = ar::Container::open(reader, size)?;
        container.read_format_version()?;
        let (container, compression) = container.seek("control.tar")?;
        let (control, container) = control::read(container, compression)?;
        let (container, compression) = container.seek("data.tar")?;
        let content = BufReader::with_capacity(1 << 16, container.into_content());
        let limits = Limits::up_to(MAXIMUM_FILES);
        let plain = Decompressor::new(content, compression, limits).map_err(Error::Read)?;
        let files = tar::Reader::new(plain);
        Ok(Self { control, files, paths: BTreeSet::new(), directories: BTreeSet::new() })
    }

    /// Returns the next file in the archive's order; `None` at the end. A directory that stands in
    /// the archive again is skipped.
    ///
    /// # Errors
    /// [`Error::Files`], [`Error::Duplicate`], [`Error::LineBreak`].
    pub fn next_file(&mut self) -> Result<Option<tar::Entry>, Error> {
        loop {
            let Some(entry) = self.files.next_entry().map_err(Error::Files)? else {
                return Ok(None);
            };
            let path = &entry.path;
            if path.as_bytes().contains(&b'\n') {
                return Err(Error::LineBreak { path: path.clone() });
            }
            let is_directory = entry.kind == tar::EntryKind::Directory;
            let repeated = is_directory && self.directories.contains(path);
            if repeated {
                continue;
            }
            if !self.paths.insert(path.clone()) {
                return Err(Error::Duplicate { path: path.clone() });
            }
            if is_directory {
                self.directories.insert(path.clone());
            }
            return Ok(Some(entry));
        }
    }

    /// The content of the file that [`Archive::next_file`] returned last.
    pub const fn content(&mut self) -> impl Read {
        self.files.content()
    }

    /// Checks what follows the files, and returns the control part.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Broken`].
    pub fn finish(self) -> Result<Control, Error> {
        let content = self.files.into_inner().finish().map_err(Error::Read)?;
        content.into_inner().finish()?.check_rest()?;
        Ok(self.control)
    }
}

/// What the extension of a member of the container says.
fn compression_of(extension: &str) -> Result<Compression, Error> {
    match extension {
        "" => Ok(Compression::None),
        ".gz" => Ok(Compression::Gzip),
        ".xz" => Ok(Compression::Xz),
        ".zst" => Ok(Compression::Zstd),
        ".bz2" => Ok(Compression::Bzip2),
        _ => Err(Error::Unsupported { what: format!("a member compressed as {extension:?}") }),
    }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test may end with a panic")]
pub(crate) mod tests;
