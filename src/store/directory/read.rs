//! A directory on disk → a tree.
//!
//! The directory may be hostile: its scripts have run. So the walk is a loop and not a recursion,
//! links are never followed, pipes and devices are never opened, and a file that changes while it
//! is read is an error.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use fs_err::File;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use super::attributes::{self, Attributes};
use super::beside;
use crate::checksum::{Checksum, Summer};
use crate::crew;
use crate::digest::{Digest, Hasher, read_all};
use crate::store::Error;
use crate::store::folder::{Folder, parent_of};
use crate::store::reader::Slice;
use crate::tree::{Content, Contents, Device, Inode, Kind, Meta, Tree, TreePath};

/// A unit of work ends after this many files or bytes.
const UNIT_FILES: usize = 32;
const UNIT_BYTES: u64 = 4 << 20;

/// Reads a directory, and what is kept beside it, into a tree.
///
/// # Errors
/// [`Error::Path`] for names and depths that no tree can hold, [`Error::MountPoint`],
/// [`Error::Changed`], [`Error::Listing`], [`Error::ListingVersion`], [`Error::Disk`].
pub fn read(directory: &Path, threads: NonZeroUsize) -> Result<(Tree, DirectoryContents), Error> {
    let top = Folder::open(directory)?;
    let own = top.own_stat()?;
    let found = walk(&top)?;
    let units = units(&found);
    let hashed = crew::try_map(threads.get(), &units, |unit| hash(&top, unit))?;
    let mut digests: BTreeMap<TreePath, Hashed> = hashed.into_iter().flatten().collect();
    let mut by_digest = BTreeMap::new();
    for (path, hashed) in &digests {
        by_digest.entry(hashed.digest).or_insert_with(|| (path.clone(), hashed.checksum));
    }
    let mut tree = build(found, &mut digests)?;
    merge(directory, &own, &mut tree)?;
    Ok((tree, DirectoryContents { top, by_digest }))
}

/// Something found in the directory.
struct Found {
    path: TreePath,
    stat: Stat,
    /// Of a symbolic link.
    target: Box<[u8]>,
    /// Of a directory; those of files are read with their content.
    attributes: Attributes,
}

fn walk(top: &Folder) -> Result<Vec<Found>, Error> {
    let mut found = Vec::new();
    let mut pending = vec![TreePath::ROOT];
    while let Some(path) = pending.pop() {
        let folder = open_directory(top, &path)?;
        if !path.is_root() {
            refuse_mount_point(&folder)?;
        }
        for name in folder.names()? {
            let below = path
                .join(name.as_bytes())
                .map_err(|source| Error::Path { directory: top.path().into(), source })?;
            let Some(entry) = look(&folder, &name, below)? else { continue };
            if kind_of(&entry.stat) == FileType::Directory {
                pending.push(entry.path);
            } else {
                found.push(entry);
            }
        }
        found.push(directory_found(&folder, path)?);
    }
    // Directories come right before what is in them, whatever the order in which the disk has them.
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

fn directory_found(folder: &Folder, path: TreePath) -> Result<Found, Error> {
    let attributes =
        attributes::read(folder).map_err(Error::disk("read the attributes of", folder.path()))?;
    Ok(Found { path, stat: folder.own_stat()?, target: Box::default(), attributes })
}

fn look(folder: &Folder, name: &OsStr, path: TreePath) -> Result<Option<Found>, Error> {
    let Some(stat) = folder.stat(name)? else { return Ok(None) };
    let target = if kind_of(&stat) == FileType::Symlink {
        let target = rustix::fs::readlinkat(folder, name, Vec::new())
            .map_err(Error::disk("read the link", folder.path_of(name)))?;
        target.into_bytes().into()
    } else {
        Box::default()
    };
    Ok(Some(Found { path, stat, target, attributes: Attributes::new() }))
}

/// Opens a directory below `top`. One of ours that we may not enter is opened to us for a moment.
fn open_directory(top: &Folder, path: &TreePath) -> Result<Folder, Error> {
    match top.descend(path) {
        Err(error) if is_denied(&error) => {
            let parent = top.descend(&path.parent().unwrap_or(TreePath::ROOT))?;
            let name = OsStr::from_bytes(path.name().unwrap_or(b"."));
            with_mode(&parent, name, 0o700, || parent.folder(name))?
        }
        answer => answer,
    }
}

fn is_denied(error: &Error) -> bool {
    error.kind() == Some(io::ErrorKind::PermissionDenied)
}

/// Runs `open` while `name` has the rights `extra`, without following a link.
fn with_mode<T>(
    folder: &Folder,
    name: &OsStr,
    extra: u32,
    open: impl FnOnce() -> T,
) -> Result<T, Error> {
    let failed = || Error::disk("open", folder.path_of(name));
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(folder, name, flags, Mode::empty()).map_err(failed())?;
    let mode = rustix::fs::fstat(&fd).map_err(failed())?.st_mode & 0o7777;
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let set = |mode| rustix::fs::chmodat(CWD, &path, Mode::from_raw_mode(mode), AtFlags::empty());
    set(mode | extra).map_err(|_| Error::disk("open", folder.path_of(name))(Errno::ACCESS))?;
    let opened = open();
    set(mode).map_err(failed())?;
    Ok(opened)
}

/// What is mounted in a directory is not part of it.
fn refuse_mount_point(folder: &Folder) -> Result<(), Error> {
    let answer = rustix::fs::statx(folder, "", AtFlags::EMPTY_PATH, StatxFlags::empty());
    let is_root =
        answer.is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT));
    if is_root { Err(Error::MountPoint { path: folder.path().into() }) } else { Ok(()) }
}

fn kind_of(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Some files of one directory, to be hashed.
struct Unit<'a> {
    directory: TreePath,
    files: Vec<&'a Found>,
}

/// Every file once, whatever number of names it has.
fn units(found: &[Found]) -> Vec<Unit<'_>> {
    let mut units: BTreeMap<TreePath, Vec<&Found>> = BTreeMap::new();
    let mut seen = BTreeMap::new();
    for file in found.iter().filter(|file| kind_of(&file.stat) == FileType::RegularFile) {
        let is_first = file.stat.st_nlink < 2
            || seen.insert((file.stat.st_dev, file.stat.st_ino), ()).is_none();
        if is_first {
            units.entry(file.path.parent().unwrap_or_default()).or_default().push(file);
        }
    }
    units.into_iter().flat_map(|(directory, files)| split(&directory, &files)).collect()
}

fn split<'a>(directory: &TreePath, files: &[&'a Found]) -> Vec<Unit<'a>> {
    let mut units = Vec::new();
    let (mut unit, mut bytes) = (Vec::new(), 0_u64);
    for file in files {
        unit.push(*file);
        bytes = bytes.saturating_add(size_of(&file.stat));
        if unit.len() >= UNIT_FILES || bytes >= UNIT_BYTES {
            units.push(Unit { directory: directory.clone(), files: std::mem::take(&mut unit) });
            bytes = 0;
        }
    }
    if !unit.is_empty() {
        units.push(Unit { directory: directory.clone(), files: unit });
    }
    units
}

fn size_of(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or_default()
}

/// What reading a file has told.
struct Hashed {
    digest: Digest,
    checksum: Checksum,
    size: u64,
    attributes: Attributes,
}

fn hash(top: &Folder, unit: &Unit<'_>) -> Result<Vec<(TreePath, Hashed)>, Error> {
    let folder = open_directory(top, &unit.directory)?;
    let hash = |file: &&Found| Ok((file.path.clone(), hash_file(&folder, file)?));
    unit.files.iter().map(hash).collect()
}

fn hash_file(folder: &Folder, found: &Found) -> Result<Hashed, Error> {
    let name = OsStr::from_bytes(found.path.name().unwrap_or_default());
    let (mut file, stat) = open_file(folder, name)?;
    let failed = |error: io::Error| Error::disk("read", folder.path_of(name))(error);
    let (mut hasher, mut summer) = (Hasher::default(), Summer::default());
    let take = |bytes: &[u8]| {
        hasher.update(bytes);
        summer.update(bytes);
    };
    let size = read_all(&mut file, take).map_err(failed)?;
    let attributes = attributes::read(&file).map_err(|errno| failed(errno.into()))?;
    let after = rustix::fs::fstat(&file).map_err(|errno| failed(errno.into()))?;
    let key =
        |stat: &Stat| (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
    if key(&stat) != key(&found.stat) || key(&after) != key(&stat) || size != size_of(&stat) {
        return Err(Error::Changed { path: folder.path_of(name) });
    }
    Ok(Hashed { digest: hasher.finish(), checksum: summer.finish(), size, attributes })
}

fn open_file(folder: &Folder, name: &OsStr) -> Result<(File, Stat), Error> {
    match folder.file(name) {
        Err(error) if is_denied(&error) => with_mode(folder, name, 0o400, || folder.file(name))?,
        answer => answer,
    }
}

fn build(found: Vec<Found>, hashed: &mut BTreeMap<TreePath, Hashed>) -> Result<Tree, Error> {
    let mut tree = Tree::default();
    let mut first_names: BTreeMap<(u64, u64), TreePath> = BTreeMap::new();
    for found in found {
        let Found { path, stat, target, attributes } = found;
        let kind = kind_of(&stat);
        if kind != FileType::Directory && stat.st_nlink > 1 {
            if let Some(first) = first_names.get(&(stat.st_dev, stat.st_ino)) {
                tree.link(&path, first).expect("a tree takes what a disk holds");
                continue;
            }
            first_names.insert((stat.st_dev, stat.st_ino), path.clone());
        }
        let mut meta = meta_of(&stat, attributes);
        let kind = match kind {
            FileType::RegularFile => {
                let Some(Hashed { digest, size, attributes, .. }) = hashed.remove(&path) else {
                    return Err(Error::Changed { path: path.to_string().into() });
                };
                meta.xattrs = attributes;
                Kind::Regular(Content::Stored { digest, size })
            }
            FileType::Directory => Kind::Directory(BTreeMap::new()),
            FileType::Symlink => Kind::Symlink(target),
            FileType::CharacterDevice => Kind::CharacterDevice(device_of(&stat)),
            FileType::BlockDevice => Kind::BlockDevice(device_of(&stat)),
            FileType::Fifo => Kind::Fifo,
            FileType::Socket | FileType::Unknown => Kind::Socket,
        };
        if path.is_root() {
            let root = tree.root();
            tree.inode_mut(root).meta = meta;
        } else {
            tree.insert(&path, Inode { meta, kind }).expect("a tree takes what a disk holds");
        }
    }
    Ok(tree)
}

fn meta_of(stat: &Stat, xattrs: Attributes) -> Meta {
    let mode = u16::try_from(stat.st_mode & 0o7777).unwrap_or_default();
    Meta { mode, uid: stat.st_uid, gid: stat.st_gid, mtime: stat.st_mtime, xattrs }
}

fn device_of(stat: &Stat) -> Device {
    let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    Device { major, minor }
}

/// Adds what is kept beside the directory. Without that, what an ordinary user has made is root's.
fn merge(directory: &Path, own: &Stat, tree: &mut Tree) -> Result<(), Error> {
    let path = fs_err::canonicalize(directory).map_err(Error::disk("find", directory))?;
    let beside = match parent_of(&path) {
        Ok((parent, name)) => beside::load(&parent, &name, own.st_ino)?,
        Err(_) => None,
    };
    if let Some(beside) = beside {
        beside.merge(tree, own);
    } else if own.st_uid != 0 {
        let ids: Vec<_> = tree.walk().map(|(_, id, _)| id).collect();
        ids.into_iter()
            .for_each(|id| beside::own(&mut tree.inode_mut(id).meta, &Meta::root(0), own));
    }
    Ok(())
}

/// The contents of a directory that was read, to be read once more. A file that has changed since
/// makes its reader fail.
#[derive(Debug)]
pub struct DirectoryContents {
    top: Folder,
    by_digest: BTreeMap<Digest, (TreePath, Checksum)>,
}

impl DirectoryContents {
    fn slice(&self, digest: &Digest) -> io::Result<Slice> {
        let known = self.by_digest.get(digest);
        let (path, _) = known.ok_or_else(|| crate::store::unknown(digest))?;
        let opened =
            open_directory(&self.top, &path.parent().unwrap_or_default()).and_then(|folder| {
                open_file(&folder, OsStr::from_bytes(path.name().unwrap_or_default()))
            });
        let (file, stat) = opened.map_err(io::Error::other)?;
        Ok(Slice { file: Arc::new(file), offset: 0, size: size_of(&stat) })
    }
}

impl Contents for DirectoryContents {
    fn open(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(self.slice(digest)?.open(digest)?))
    }

    fn open_unhashed(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(self.slice(digest)?.open_unhashed()))
    }

    fn checksum(&self, digest: &Digest) -> Option<Checksum> {
        self.by_digest.get(digest).map(|(_, checksum)| *checksum)
    }
}
