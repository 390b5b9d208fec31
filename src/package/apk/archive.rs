//! Reads `.apk` files as a stream: first what the package says of itself, then the files one by one.
//! Those of version 3 are read in `archive3.rs`; the rest here is about version 2.
//!
//! In comes a reader of the whole file; nothing is written. Three parts follow each other: signatures,
//! control part, files. The identity of a package is the digest of its control part as it lies in the
//! file, and in there stands the digest of all bytes after it: no byte belongs to neither. Whether the
//! signature is good is for others to say. Stricter than apk where it would pass over something: a
//! path twice, an absolute path, a file whose directory is missing are refused.
//!
//! Format: apk-v2(5).

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;

use super::archive3;
use super::blocks;
use super::checksum::{Checksum, Forged};
use super::info::{self, PackageInfo};
use super::scripts::ScriptKind;
use super::segment::{self, Segment, Signature};
use crate::digest::{Digest, Hasher};
use crate::package::compression::{Compression, Decompressor, Limits};
use crate::package::tar;
use crate::tree::{TreePath, escape};

/// The version of a package's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Three compressed archives, one after the other.
    Second,
    /// Blocks of values and contents.
    Third,
}

/// What a package says of itself, before its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// The digest of the control part or of the values: which package this is.
    pub identity: Checksum,
    /// What `.PKGINFO` says.
    pub info: PackageInfo,
    /// Its scripts.
    pub scripts: Vec<(ScriptKind, Arc<[u8]>)>,
    /// How it was packed.
    pub format: Format,
}

/// A package up to its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// What it says of itself.
    pub control: Control,
    /// The signatures over the control part; none, if there are none.
    pub signatures: Vec<Signature>,
    /// The control part as it lies in the file: what signatures cover.
    pub signed: Vec<u8>,
    /// The digest of all bytes behind the control part.
    pub data_digest: Digest,
    /// What lies before the control part.
    before: Vec<u8>,
}

/// Plain bytes of a control part, or of a part with signatures. The largest of Alpine's have 100 KB.
const MAXIMUM_CONTROL: u64 = 8 << 20;
/// Plain bytes of the files of one package. The largest of Alpine have two GiB.
const MAXIMUM_FILES: u64 = 32 << 30;

impl Head {
    /// Reads the beginning of a package of `size` bytes; the reader then stands at its files.
    ///
    /// # Errors
    /// Each of [`Error`] that concerns signatures or control part.
    pub fn read(reader: &mut impl BufRead, size: u64) -> Result<Self, Error> {
        let first = segment::read(reader, MAXIMUM_CONTROL).map_err(Error::Segment)?;
        let (signatures, before, control) = match first.signatures().map_err(Error::Segment)? {
            None => (Vec::new(), Vec::new(), first),
            Some(signatures) => {
                let control = segment::read(reader, MAXIMUM_CONTROL).map_err(Error::Segment)?;
                (signatures, first.raw, control)
            }
        };
        let words = read_control(&control, size)?;
        let stated = words.info.data_digest.as_deref().ok_or(Error::NoDataDigest)?;
        let data_digest = stated.parse().map_err(|_| Error::NoDataDigest)?;
        Ok(Self { control: words, signatures, signed: control.raw, data_digest, before })
    }

    /// Whether it is the package that an index names so: by the SHA-1 of its control part, or in an
    /// index of version 3 by the SHA-256.
    pub fn is(&self, identity: &str) -> bool {
        let long = Checksum::Sha256(*Digest::of(&self.signed).as_bytes());
        [self.control.identity, long].iter().any(|own| own.to_string() == identity)
    }

    /// All bytes of the file up to its files.
    pub fn raw(&self) -> Vec<u8> {
        [self.before.as_slice(), &self.signed].concat()
    }
}

fn read_control(segment: &Segment, size: u64) -> Result<Control, Error> {
    let identity = Checksum::sha1(&segment.raw).map_err(Error::Forged)?;
    let mut archive = segment.archive();
    let (mut info, mut scripts) = (None, Vec::new());
    while let Some(entry) = archive.next_entry().map_err(Error::ControlArchive)? {
        let name = String::from_utf8_lossy(&entry.words.path).into_owned();
        let refuse = |rule| Error::ControlFile { name: escape(name.as_bytes()), rule };
        if segment::is_signature(&entry) {
            return Err(refuse("is a signature in the wrong place"));
        }
        if !name.starts_with('.') || !matches!(entry.kind, tar::EntryKind::Regular { .. }) {
            return Err(refuse("does not belong there"));
        }
        let mut bytes = Vec::new();
        archive.content().read_to_end(&mut bytes).map_err(Error::Read)?;
        match ScriptKind::of_member(&name) {
            None if name == ".PKGINFO" && info.is_some() => return Err(refuse("is there twice")),
            None if name == ".PKGINFO" => {
                let read = PackageInfo::parse(&bytes, identity, size);
                info = Some(read.map_err(Error::Info)?);
            }
            // Whatever else begins with a dot is for other versions of apk.
            None => {}
            Some(kind) if scripts.iter().any(|(known, _)| *known == kind) => {
                return Err(refuse("is there twice"));
            }
            Some(kind) => scripts.push((kind, bytes.into())),
        }
    }
    let info = info.ok_or(Error::NoInfo)?;
    scripts.sort_by_key(|(kind, _)| *kind);
    Ok(Control { identity, info, scripts, format: Format::Second })
}

/// A reader of a file whose first bytes were looked at.
pub type Start<R> = io::Chain<io::Cursor<Vec<u8>>, R>;

/// Looks at the first bytes of a package, and returns its format and a reader of all of it.
///
/// # Errors
/// [`Error::Read`]
pub fn look<R: BufRead>(mut inner: R) -> Result<(Format, Start<R>), Error> {
    let mut start = Vec::new();
    let length = u64::try_from(blocks::START.len()).unwrap_or(u64::MAX);
    (&mut inner).take(length).read_to_end(&mut start).map_err(Error::Read)?;
    let format = if start == blocks::START { Format::Third } else { Format::Second };
    Ok((format, io::Cursor::new(start).chain(inner)))
}

/// The files of a package.
#[derive(Debug)]
pub struct Files<R: Read> {
    packed: Packed<Start<BufReader<R>>>,
    paths: BTreeSet<TreePath>,
    directories: BTreeSet<TreePath>,
}

#[derive(Debug)]
enum Packed<R: BufRead> {
    Second { archive: Box<tar::Reader<Decompressor<Rest<R>>>>, data_digest: Digest },
    Third(Box<archive3::Files<R>>),
}

impl<R: BufRead> Packed<R> {
    fn open(inner: R, format: Format, size: u64) -> Result<(Control, Self), Error> {
        let mut inner = inner;
        if format == Format::Third {
            let (head, files) = archive3::Files::open(inner, size).map_err(Error::Third)?;
            return Ok((head.control, Self::Third(Box::new(files))));
        }
        let Head { control, data_digest, .. } = Head::read(&mut inner, size)?;
        let rest = Rest { inner, hasher: Hasher::default() };
        let limits = Limits::up_to(MAXIMUM_FILES);
        let plain = Decompressor::chained(rest, Compression::Gzip, limits).map_err(Error::Read)?;
        let archive = Box::new(tar::Reader::new(plain));
        Ok((control, Self::Second { archive, data_digest }))
    }

    fn next_entry(&mut self) -> Result<Option<tar::Entry>, Error> {
        match self {
            Self::Second { archive, .. } => archive.next_entry().map_err(Error::Files),
            Self::Third(files) => files.next_file().map_err(Error::Third),
        }
    }
}

impl<R: Read> Files<R> {
    /// Reads a package of `size` bytes up to its files.
    ///
    /// # Errors
    /// Each of [`Error`] that concerns what the package says of itself.
    pub fn open(reader: R, size: u64) -> Result<(Control, Self), Error> {
        let (format, inner) = look(BufReader::with_capacity(1 << 16, reader))?;
        let (control, packed) = Packed::open(inner, format, size)?;
        let directories = BTreeSet::from([TreePath::ROOT]);
        Ok((control, Self { packed, paths: BTreeSet::new(), directories }))
    }

    /// Returns the next file in the archive's order; `None` at the end. What apk does not install is
    /// skipped: names at the top that begin with a dot, and `.keep_…` files.
    ///
    /// # Errors
    /// [`Error::Files`], [`Error::File`], [`Error::Third`].
    pub fn next_file(&mut self) -> Result<Option<tar::Entry>, Error> {
        loop {
            let Some(entry) = self.packed.next_entry()? else { return Ok(None) };
            if self.admit(&entry)? {
                return Ok(Some(entry));
            }
        }
    }

    /// Whether a file is to be installed.
    fn admit(&mut self, entry: &tar::Entry) -> Result<bool, Error> {
        let tar::Entry { path, kind, words, .. } = entry;
        let refuse = |rule| Err(Error::File { path: path.clone(), rule });
        if words.path.starts_with(b".") && !words.path.starts_with(b"./") {
            return Ok(false);
        }
        if words.path.starts_with(b"/") {
            return refuse("is named from the root of the file system");
        }
        if words.path.iter().any(|byte| *byte < b' ' || *byte == 0x7f) {
            return refuse("has a control character in its name");
        }
        if let tar::EntryKind::Symlink(target) = kind
            && target.iter().any(|byte| *byte < b' ' || *byte == 0x7f)
        {
            return refuse("has a control character in its target");
        }
        if path.is_root() {
            return Ok(false);
        }
        if *kind == tar::EntryKind::Directory {
            return match self.directories.insert(path.clone()) {
                true if !self.paths.insert(path.clone()) => refuse("is there twice"),
                new => Ok(new),
            };
        }
        if path.name().is_some_and(|name| name.starts_with(b".keep_")) {
            return Ok(false);
        }
        if !path.parent().is_some_and(|parent| self.directories.contains(&parent)) {
            return refuse("lies in a directory that the package does not bring");
        }
        if self.paths.insert(path.clone()) { Ok(true) } else { refuse("is there twice") }
    }

    /// The content of the file that [`Files::next_file`] returned last.
    pub fn content(&mut self) -> Box<dyn Read + '_> {
        match &mut self.packed {
            Packed::Second { archive, .. } => Box::new(archive.content()),
            Packed::Third(files) => Box::new(files.content()),
        }
    }

    /// Checks that the files are what the package promises.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::OtherData`], [`Error::Third`].
    pub fn finish(self) -> Result<(), Error> {
        let (archive, expected) = match self.packed {
            Packed::Second { archive, data_digest } => (archive, data_digest),
            Packed::Third(files) => return files.finish().map(drop).map_err(Error::Third),
        };
        let rest = archive.into_inner().finish().map_err(Error::Read)?;
        let found = rest.hasher.finish();
        if found == expected { Ok(()) } else { Err(Error::OtherData { expected, found }) }
    }
}

/// All bytes after the control part, and their digest.
#[derive(Debug)]
struct Rest<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: BufRead> Read for Rest<R> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(output)?;
        self.hasher.update(output.get(..count).unwrap_or_default());
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Rest<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        // What is consumed was filled before, so that this reads nothing.
        if let Ok(buffer) = self.inner.fill_buf() {
            self.hasher.update(buffer.get(..amount).unwrap_or_default());
        }
        self.inner.consume(amount);
    }
}

/// Why a file is not a package that can be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be read, or not be decompressed.
    #[error("cannot read the package")]
    Read(#[source] io::Error),
    /// Signatures or control part are malformed.
    #[error("the package is broken")]
    Segment(#[source] segment::Error),
    /// The control part cannot be read.
    #[error("cannot read the control part of the package")]
    ControlArchive(#[source] tar::Error),
    /// The control part was made to share its digest with another one.
    #[error("the control part of the package is forged")]
    Forged(#[source] Forged),
    /// The control part holds what it must not.
    #[error("the control part of the package holds {name}, which {rule}")]
    ControlFile {
        /// Its name, escaped.
        name: String,
        /// The rule.
        rule: &'static str,
    },
    /// There is no `.PKGINFO`.
    #[error("the control part of the package has no .PKGINFO")]
    NoInfo,
    /// `.PKGINFO` cannot be understood.
    #[error("cannot understand the .PKGINFO of the package")]
    Info(#[source] info::Error),
    /// The control part does not vouch for the files.
    #[error("the package does not name the digest of its files")]
    NoDataDigest,
    /// The files are not those that the control part names.
    #[error("the files of the package are not its own: their digest is {found}, not {expected}")]
    OtherData {
        /// What the control part says.
        expected: Digest,
        /// What is there.
        found: Digest,
    },
    /// It is of version 3, and broken.
    #[error(transparent)]
    Third(archive3::Error),
    /// The archive of files cannot be read.
    #[error("cannot read the files of the package")]
    Files(#[source] tar::Error),
    /// A file that is not installed.
    #[error("{path} in the package {rule}")]
    File {
        /// The path.
        path: TreePath,
        /// The rule that it breaks, as the end of a sentence.
        rule: &'static str,
    },
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test may end with a panic")]
pub(crate) mod tests;
