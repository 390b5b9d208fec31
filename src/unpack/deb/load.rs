//! One package as its archive holds it, its contents in the store.
//!
//! In comes the archive, out comes a [`Deb`] and, in the store, a pack with the contents of its
//! files and a record of everything else, both under the archive's digest. The next build reads the
//! record and decompresses nothing. The record is a text of lines with tabs between fields:
//!
//! ```text
//! osbuilder-deb 1
//! c  name  mode  mtime  bytes                            a file of the control part
//! f  path  type  mode  uid  gid  mtime  detail  md5 or -  [xattr=hex …]
//! ```
//!
//! in the order of the archive, escaped and typed as in a listing of a tree.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use md5::{Digest as _, Md5 as Hasher};

use crate::digest::Digest;
use crate::lock::LockedPackage;
use crate::package::deb::archive::{self, Archive, Control};
use crate::package::deb::database::Md5;
use crate::package::deb::scripts::Conffile;
use crate::package::tar;
use crate::store::Store;
use crate::tree::{Content, Meta, TreePath};
use crate::unpack::Error;
use crate::unpack::file::FileKind;

/// The kind of the store's records of packages. Its number grows with each change of their form.
const RECORD: &str = "deb-1";

/// One package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Deb {
    pub(super) control: Control,
    /// In the archive's order.
    pub(super) files: Vec<File>,
}

/// One file of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) path: TreePath,
    pub(super) meta: Meta,
    pub(super) kind: FileKind,
    /// Of regular files that dpkg's database needs it for.
    pub(super) md5: Option<Md5>,
}

/// Returns the package from the store, or reads it from `archive` and keeps it there.
pub(super) fn load<R: Read>(
    locked: &LockedPackage,
    archive: impl FnOnce() -> io::Result<R>,
    store: &Store,
) -> Result<Deb, Error> {
    if let Some(deb) = from_store(locked, store)? {
        return Ok(deb);
    }
    let broken = |source: archive::Error| Error::Package {
        package: locked.name.clone(),
        source: source.into(),
    };
    let reader = archive().map_err(|source| broken(archive::Error::Read(source)))?;
    let pack = store.new_pack()?;
    let deb =
        read(reader, locked, |content| pack.add(content)).map_err(|failure| match failure {
            Failure::Package(error) => broken(error),
            Failure::Store(error) => Error::Store(error),
            Failure::DanglingHardLink(path) => {
                Error::DanglingHardLink { archive: locked.name.to_string(), path }
            }
        })?;
    check_identity(&deb.control, locked)?;
    pack.finish(&locked.digest)?;
    store.put_record(RECORD, &locked.digest, deb.to_record().as_bytes())?;
    Ok(deb)
}

/// What earlier builds kept. A record that cannot be read counts as absent.
fn from_store(locked: &LockedPackage, store: &Store) -> Result<Option<Deb>, Error> {
    let Some(record) = store.record(RECORD, &locked.digest)? else { return Ok(None) };
    if !store.load_pack(&locked.digest)? {
        return Ok(None);
    }
    let deb = Deb::from_record(&record);
    Ok(deb.filter(|deb| check_identity(&deb.control, locked).is_ok()))
}

/// The opened package must be the one that the index promised.
fn check_identity(control: &Control, locked: &LockedPackage) -> Result<(), Error> {
    for (field, expected) in [
        ("Package", locked.name.as_str()),
        ("Version", &locked.version),
        ("Architecture", &locked.architecture),
    ] {
        let found = control.stanza.require(field);
        let found = found.map_err(|source| Error::Package {
            package: locked.name.clone(),
            source: archive::Error::from(source).into(),
        })?;
        if found != expected {
            return Err(Error::OtherPackage {
                package: locked.name.clone(),
                field,
                found: found.to_owned(),
                expected: expected.to_owned(),
            });
        }
    }
    Ok(())
}

enum Failure {
    Package(archive::Error),
    Store(crate::store::Error),
    DanglingHardLink(TreePath),
}

impl From<archive::Error> for Failure {
    fn from(error: archive::Error) -> Self {
        Self::Package(error)
    }
}

/// Reads an archive, giving each content to `keep`.
fn read<R: Read>(
    reader: R,
    locked: &LockedPackage,
    keep: impl Fn(&mut dyn Read) -> Result<(Digest, u64), crate::store::Error>,
) -> Result<Deb, Failure> {
    let mut archive = Archive::open(reader, locked.size)?;
    let hashed = Hashed::of(&archive.control);
    let mut files = Vec::new();
    let mut linkable = BTreeSet::new();
    while let Some(tar::Entry { path, meta, kind, .. }) = archive.next_file()? {
        let mut md5 = None;
        let kind = match kind {
            tar::EntryKind::Directory => FileKind::Directory,
            tar::EntryKind::Regular { .. } => {
                let mut content =
                    Tee { inner: archive.content(), hasher: hashed.wants(&path).then(Hasher::new) };
                let (digest, size) = keep(&mut content).map_err(|error| match error {
                    crate::store::Error::Source(source) => archive::Error::Read(source).into(),
                    error => Failure::Store(error),
                })?;
                md5 = content.hasher.map(|hasher| Md5(hasher.finalize().into()));
                FileKind::Regular(Content::Stored { digest, size })
            }
            tar::EntryKind::HardLink(target) if linkable.contains(&target) => {
                FileKind::HardLink(target)
            }
            tar::EntryKind::HardLink(_) => return Err(Failure::DanglingHardLink(path)),
            tar::EntryKind::Symlink(target) => FileKind::Symlink(target),
            tar::EntryKind::CharacterDevice(device) => FileKind::CharacterDevice(device),
            tar::EntryKind::BlockDevice(device) => FileKind::BlockDevice(device),
            tar::EntryKind::Fifo => FileKind::Fifo,
        };
        if kind != FileKind::Directory {
            linkable.insert(path.clone());
        }
        files.push(File { path, meta, kind, md5 });
    }
    let control = archive.finish()?;
    Ok(Deb { control, files })
}

/// Of which files dpkg keeps an MD5 digest: configuration files, and all files of a package that
/// does not bring the digests itself.
struct Hashed {
    all: bool,
    conffiles: BTreeSet<TreePath>,
}

impl Hashed {
    fn of(control: &Control) -> Self {
        let conffiles = control.conffiles.iter().map(|conffile| conffile.path.clone()).collect();
        Self { all: control.member("md5sums").is_none(), conffiles }
    }

    fn wants(&self, path: &TreePath) -> bool {
        self.all || self.conffiles.contains(path)
    }
}

struct Tee<R> {
    inner: R,
    hasher: Option<Hasher>,
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(output)?;
        if let (Some(hasher), Some(read)) = (&mut self.hasher, output.get(..count)) {
            hasher.update(read);
        }
        Ok(count)
    }
}

impl Deb {
    /// Its configuration files in the order of their list, with the digests of those that the
    /// archive holds and without one for those that are to be removed.
    pub(super) fn conffiles(&self) -> Vec<(TreePath, Option<Md5>)> {
        let known: BTreeMap<_, _> = self.files.iter().map(|file| (&file.path, file.md5)).collect();
        let digest = |conffile: &Conffile| {
            let md5 = known.get(&conffile.path).copied().flatten();
            let named = md5.is_some() || conffile.remove_on_upgrade;
            named.then(|| (conffile.path.clone(), md5))
        };
        self.control.conffiles.iter().filter_map(digest).collect()
    }
}
