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
        let mut part = self.part(paths);
        let mut fresh = Vec::new();
        for (path, id) in part.directories {
            if path.is_root() || disk.make_directory(&path)? {
                fresh.push((path, id));
            }
        }
        part.directories = fresh;
        self.write_files(disk, &part.files)?;
        for (first, path) in &part.links {
            disk.link(first, path)?;
        }
        for (path, id) in part.directories.iter().rev() {
            disk.finish(path, self.tree.inode(*id))?;
        }
        for (path, id) in part.directories.iter().chain(&part.files) {
            let stat = disk.stat(path)?;
            baseline.inodes.insert(stat.st_ino, (*id, changed(&stat)));
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
            disk.finish(path, inode)?;
            let stat = disk.stat(path)?;
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

    /// Writes files of all kinds, many at once.
    fn write_files(&self, disk: &Disk, files: &[(TreePath, InodeId)]) -> Result<(), Error> {
        let write = |(path, id): &(TreePath, InodeId)| {
            disk.write(path, self.tree.inode(*id), self.contents)
        };
        crew::try_map(self.threads, files, write).map(drop)
    }
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

    fn write(&self, path: &TreePath, inode: &Inode, contents: &dyn Contents) -> Result<(), Error> {
        let place = self.place(path)?;
        let Place { folder, name } = &place;
        let made = match &inode.kind {
            Kind::Directory(_) => return Ok(()),
            Kind::Regular(content) => {
                return self.write_file(path, &inode.meta, content.open(contents), &place);
            }
            Kind::Symlink(target) => {
                clearing(&place, || rustix::fs::symlinkat(&target[..], folder, *name))
            }
            // A placeholder: the record knows what it stands for.
            Kind::CharacterDevice(_) | Kind::BlockDevice(_) => create(&place).map(drop),
            Kind::Fifo | Kind::Socket => {
                let kind = if inode.kind == Kind::Fifo { FileType::Fifo } else { FileType::Socket };
                let mode = Mode::from_raw_mode(0o600);
                clearing(&place, || rustix::fs::mknodat(folder, *name, kind, mode, 0))
            }
        };
        made.map_err(self.failed("make", path))?;
        self.finish(path, inode)
    }

    fn write_file(
        &self,
        path: &TreePath,
        meta: &Meta,
        reader: std::io::Result<impl std::io::Read>,
        place: &Place<'_>,
    ) -> Result<(), Error> {
        let file = create(place).map_err(self.failed("create", path))?;
        let mut file = fs_err::File::from_parts(file.into(), self.path.join("…"));
        let copied = reader.and_then(|mut reader| std::io::copy(&mut reader, &mut file));
        copied.map_err(|source| Error::Disk { doing: "write", path: path.clone(), source })?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(meta.mode.into()))
            .map_err(self.failed("set the mode of", path))?;
        rustix::fs::futimens(&file, &times(meta.mtime))
            .map_err(self.failed("set the time of", path))
    }

    /// Sets mode and time of anything but a regular file.
    fn finish(&self, path: &TreePath, inode: &Inode) -> Result<(), Error> {
        if !matches!(inode.kind, Kind::Symlink(_)) {
            self.set_mode(path, inode.meta.mode.into())?;
        }
        self.set_times(path, &times(inode.meta.mtime))
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
