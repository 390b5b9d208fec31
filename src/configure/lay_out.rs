//! A tree out of memory onto the sandbox's file system, all of it or a part.
//!
//! In: a tree, and paths of it in their order; out: files on disk, and a [`Baseline`] by which is
//! seen later what scripts have changed. Owners, devices and attributes go to the sandbox's record.
//! The second part is laid out after scripts have run over the first: whatever they put in the way
//! of a file is replaced, as dpkg and rpm do, and nothing leads out of the tree.

use std::collections::BTreeMap;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use super::Error;
use super::disk::{Disk, Place};
use crate::crew;
use crate::sandbox::{self, Marks, Node};
use crate::tree::{Contents, Inode, InodeId, Kind, Meta, Tree, TreePath};

/// So many files of a directory are written by one thread in one go.
const BATCH: usize = 64;
/// Fewer files than this are written sooner than a thread is started.
const WORTH_A_THREAD: usize = 32;

/// What was laid out: each inode on disk, and when it was finished.
#[derive(Debug, Default)]
pub(super) struct Baseline {
    inodes: BTreeMap<u64, (InodeId, Changed)>,
}

/// The time of an inode's last change, in seconds and nanoseconds.
pub(super) type Changed = (i64, i64);

/// When an inode was last changed.
pub(super) fn changed(stat: &Stat) -> Changed {
    #[expect(clippy::useless_conversion, reason = "its type differs between architectures")]
    (i64::from(stat.st_ctime), i64::try_from(stat.st_ctime_nsec).unwrap_or(0))
}

impl Baseline {
    /// What was laid out as the inode with this number.
    pub(super) fn get(&self, inode: u64) -> Option<(InodeId, Changed)> {
        self.inodes.get(&inode).copied()
    }
}

/// Tells the sandbox what the disk cannot hold of a path.
pub(super) type Mark<'a> = &'a mut dyn FnMut(&TreePath, Marks) -> Result<(), sandbox::Error>;

/// What is laid out, from where, by how many threads.
pub(super) struct Layout<'a> {
    pub(super) tree: &'a Tree,
    pub(super) contents: &'a dyn Contents,
    pub(super) threads: usize,
}

/// The paths of one part, by what has to be done for them.
#[derive(Default)]
struct Part {
    directories: Vec<(TreePath, InodeId)>,
    files: Vec<(TreePath, InodeId)>,
    /// Further names of files: the first name, the other one.
    links: Vec<(TreePath, TreePath)>,
}

impl Layout<'_> {
    /// Writes paths, which come in their order; their parents are among them, or are there already.
    pub(super) fn write(
        &self,
        disk: &Disk,
        paths: impl Iterator<Item = TreePath>,
        baseline: &mut Baseline,
        mark: Mark<'_>,
    ) -> Result<(), Error> {
        let Part { directories, mut files, links } = self.part(paths);
        let mut fresh = Vec::new();
        for (path, id) in directories {
            if path.is_root() || disk.make_directory(&path)? {
                fresh.push((path, id));
            }
        }
        files.sort_by(|(one, _), (two, _)| folder_of(one).cmp(folder_of(two)));
        let mut seen = self.write_files(disk, &files)?;
        for (first, path) in &links {
            disk.link(first, path)?;
            let stat = disk.stat(first)?;
            seen.extend(self.tree.lookup(first).map(|id| (id, stat)));
        }
        for (path, id) in fresh.iter().rev() {
            seen.push((*id, disk.finish(path, self.tree.inode(*id))?));
        }
        for (id, stat) in seen {
            baseline.inodes.insert(stat.st_ino, (id, changed(&stat)));
        }
        for (path, id) in fresh.iter().chain(&files) {
            if let Some(marks) = marks(self.tree.inode(*id)) {
                mark(path, marks)?;
            }
        }
        Ok(())
    }

    /// Gives directories that were there before what the tree says of them, as rpm does once a package
    /// brings them. Those below others come after these.
    pub(super) fn take_over(
        &self,
        disk: &Disk,
        directories: &[TreePath],
        baseline: &mut Baseline,
        mark: Mark<'_>,
    ) -> Result<(), Error> {
        for path in directories.iter().rev() {
            let Some(id) = self.tree.lookup(path) else { continue };
            let inode = self.tree.inode(id);
            let stat = disk.finish(path, inode)?;
            let known = baseline.inodes.insert(stat.st_ino, (id, changed(&stat)));
            let marks = marks(inode);
            if known.is_none() || marks.is_some() {
                mark(path, marks.unwrap_or_default())?;
            }
        }
        Ok(())
    }

    fn part(&self, paths: impl Iterator<Item = TreePath>) -> Part {
        let mut part = Part::default();
        let mut first_names: BTreeMap<InodeId, TreePath> = BTreeMap::new();
        for path in paths {
            let Some(id) = self.tree.lookup(&path) else { continue };
            if matches!(self.tree.inode(id).kind, Kind::Directory(_)) {
                part.directories.push((path, id));
            } else if let Some(first) = first_names.get(&id) {
                part.links.push((first.clone(), path));
            } else {
                first_names.insert(id, path.clone());
                part.files.push((path, id));
            }
        }
        part
    }

    /// Writes files of all kinds, many at once, those of a directory together; returns what the
    /// kernel says of each.
    fn write_files(
        &self,
        disk: &Disk,
        files: &[(TreePath, InodeId)],
    ) -> Result<Vec<(InodeId, Stat)>, Error> {
        let by_folder = files.chunk_by(|(one, _), (two, _)| folder_of(one) == folder_of(two));
        let batches: Vec<_> = by_folder.flat_map(|files| files.chunks(BATCH)).collect();
        let threads = if files.len() < WORTH_A_THREAD { 1 } else { self.threads };
        let seen = crew::try_map(threads, &batches, |batch| self.write_batch(disk, batch))?;
        Ok(seen.into_iter().flatten().collect())
    }

    /// Writes files of one directory.
    fn write_batch(
        &self,
        disk: &Disk,
        files: &[(TreePath, InodeId)],
    ) -> Result<Vec<(InodeId, Stat)>, Error> {
        let Some((first, _)) = files.first() else { return Ok(Vec::new()) };
        let mut place = disk.place(first)?;
        let mut seen = Vec::with_capacity(files.len());
        for (path, id) in files {
            place.name = path.name().unwrap_or(b".");
            seen.push((*id, disk.write(path, self.tree.inode(*id), self.contents, &place)?));
        }
        Ok(seen)
    }
}

/// The bytes of the directory that holds a path.
fn folder_of(path: &TreePath) -> &[u8] {
    let bytes = path.as_bytes();
    let end = bytes.len().saturating_sub(path.name().map_or(0, <[u8]>::len));
    bytes.get(..end).unwrap_or_default()
}

/// What the disk cannot hold of an inode.
fn marks(inode: &Inode) -> Option<Marks> {
    let Meta { uid, gid, xattrs, .. } = &inode.meta;
    let node = match inode.kind {
        Kind::CharacterDevice(device) => Some(Node::Character(device)),
        Kind::BlockDevice(device) => Some(Node::Block(device)),
        _ => None,
    };
    let marks = Marks { uid: *uid, gid: *gid, node, xattrs: xattrs.clone() };
    (marks != Marks::default()).then_some(marks)
}

impl Disk {
    /// Makes a directory; returns whether it was not there.
    fn make_directory(&self, path: &TreePath) -> Result<bool, Error> {
        let Place { folder, name } = self.place(path)?;
        match rustix::fs::mkdirat(&folder, name, Mode::from_raw_mode(0o700)) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(errno) => Err(self.failed("make the directory", path)(errno)),
        }
    }

    fn link(&self, first: &TreePath, path: &TreePath) -> Result<(), Error> {
        let (from, to) = (self.place(first)?, self.place(path)?);
        let link =
            || rustix::fs::linkat(&from.folder, from.name, &to.folder, to.name, AtFlags::empty());
        clearing(&to, link).map_err(self.failed("link", path))
    }

    /// Writes anything but a directory; returns what the kernel says of it then.
    fn write(
        &self,
        path: &TreePath,
        inode: &Inode,
        contents: &dyn Contents,
        place: &Place<'_>,
    ) -> Result<Stat, Error> {
        let Place { folder, name } = place;
        let made = match &inode.kind {
            Kind::Regular(content) => {
                return self.write_file(path, &inode.meta, content.open(contents), place);
            }
            Kind::Symlink(target) => {
                clearing(place, || rustix::fs::symlinkat(&target[..], folder, *name))
            }
            // A placeholder: the record knows what it stands for.
            Kind::CharacterDevice(_) | Kind::BlockDevice(_) => create(place).map(drop),
            Kind::Fifo | Kind::Socket => {
                let kind = if inode.kind == Kind::Fifo { FileType::Fifo } else { FileType::Socket };
                let mode = Mode::from_raw_mode(0o600);
                clearing(place, || rustix::fs::mknodat(folder, *name, kind, mode, 0))
            }
            Kind::Directory(_) => Ok(()),
        };
        made.map_err(self.failed("make", path))?;
        self.finish_at(path, inode, place)
    }

    fn write_file(
        &self,
        path: &TreePath,
        meta: &Meta,
        reader: std::io::Result<impl std::io::Read>,
        place: &Place<'_>,
    ) -> Result<Stat, Error> {
        let file = create(place).map_err(self.failed("create", path))?;
        let mut file = fs_err::File::from_parts(file.into(), self.path.join("…"));
        let copied = reader.and_then(|mut reader| std::io::copy(&mut reader, &mut file));
        copied.map_err(|source| Error::Disk { doing: "write", path: path.clone(), source })?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(meta.mode.into()))
            .map_err(self.failed("set the mode of", path))?;
        rustix::fs::futimens(&file, &times(meta.mtime))
            .map_err(self.failed("set the time of", path))?;
        rustix::fs::fstat(&file).map_err(self.failed("look at", path))
    }

    /// Sets mode and time of anything but a regular file; returns what the kernel says of it then.
    fn finish(&self, path: &TreePath, inode: &Inode) -> Result<Stat, Error> {
        self.finish_at(path, inode, &self.place(path)?)
    }

    fn finish_at(&self, path: &TreePath, inode: &Inode, place: &Place<'_>) -> Result<Stat, Error> {
        let Place { folder, name } = place;
        if !matches!(inode.kind, Kind::Symlink(_)) {
            let mode = Mode::from_raw_mode(inode.meta.mode.into());
            rustix::fs::chmodat(folder, *name, mode, AtFlags::empty())
                .map_err(self.failed("set the mode of", path))?;
        }
        let no_link = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(folder, *name, &times(inode.meta.mtime), no_link)
            .map_err(self.failed("set the time of", path))?;
        rustix::fs::statat(folder, *name, no_link).map_err(self.failed("look at", path))
    }
}

/// Creates a regular file in the place of whatever is there.
fn create(place: &Place<'_>) -> rustix::io::Result<std::os::fd::OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    clearing(place, || {
        rustix::fs::openat(&place.folder, place.name, flags, Mode::from_raw_mode(0o600))
    })
}

/// Makes something; if a file is in its way, removes that first.
fn clearing<T>(
    place: &Place<'_>,
    make: impl Fn() -> rustix::io::Result<T>,
) -> rustix::io::Result<T> {
    match make() {
        Err(Errno::EXIST) => {
            rustix::fs::unlinkat(&place.folder, place.name, AtFlags::empty())?;
            make()
        }
        other => other,
    }
}

const fn times(mtime: i64) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT as _ },
        last_modification: Timespec { tv_sec: mtime, tv_nsec: 0 },
    }
}
