//! A tree out of memory onto the sandbox's file system, and back.
//!
//! In: a tree, or a directory that scripts have changed; out: the directory, or the changed tree.
//! What scripts left alone is recognized by its inode number and the time of its last change,
//! which only the kernel sets, and is not read again. What they left is hostile until proven plain:
//! no link is followed, no pipe opened, nothing recursed into; see threats S16.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT,
};
use rustix::io::Errno;

use super::Error;
use crate::epoch::Epoch;
use crate::sandbox::{Left, Marks, Node, Prepared};
use crate::store::PackWriter;
use crate::tree::{Content, Contents, Inode, InodeId, Kind, Meta, Tree, TreePath};

/// What was laid out: each inode on disk, and when it was finished.
#[derive(Debug, Default)]
pub(super) struct Baseline {
    inodes: BTreeMap<u64, (InodeId, Changed)>,
}

/// The time of an inode's last change, in seconds and nanoseconds.
type Changed = (i64, i64);

fn changed(stat: &Stat) -> Changed {
    #[expect(clippy::useless_conversion, reason = "its type differs between architectures")]
    (i64::from(stat.st_ctime), i64::try_from(stat.st_ctime_nsec).unwrap_or(0))
}

/// Writes `tree` into the directory of `prepared`, on `threads` threads.
pub(super) fn lay_out(
    tree: &Tree,
    contents: &dyn Contents,
    prepared: &mut Prepared,
    threads: usize,
) -> Result<Baseline, Error> {
    let top = prepared.directory();
    let disk = Disk { top: open_top(&top)?, path: top };
    let mut files = Vec::new();
    let mut first_names: BTreeMap<InodeId, TreePath> = BTreeMap::new();
    let mut links = Vec::new();
    let mut directories = Vec::new();
    for (path, id, inode) in tree.walk() {
        if matches!(inode.kind, Kind::Directory(_)) {
            if !path.is_root() {
                disk.make_directory(&path)?;
            }
            directories.push((path, id));
        } else if let Some(first) = first_names.get(&id) {
            links.push((first.clone(), path));
        } else {
            first_names.insert(id, path.clone());
            files.push((path, id));
        }
    }
    disk.write_all(tree, contents, &files, threads)?;
    for (first, path) in &links {
        rustix::fs::linkat(&disk.top, name_of(first), &disk.top, name_of(path), AtFlags::empty())
            .map_err(disk.failed("link", path))?;
    }
    for (path, id) in directories.iter().rev() {
        disk.finish(path, tree.inode(*id))?;
    }
    let mut baseline = Baseline::default();
    for (path, id) in directories.iter().chain(&files) {
        let stat = disk.stat(path)?;
        baseline.inodes.insert(stat.st_ino, (*id, changed(&stat)));
        if let Some(marks) = marks(tree.inode(*id)) {
            prepared.mark(path, marks)?;
        }
    }
    Ok(baseline)
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

/// Names below the top, which is never empty for the system calls.
fn name_of(path: &TreePath) -> &[u8] {
    if path.is_root() { b"." } else { path.as_bytes() }
}

fn open_top(path: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(|errno| Error::Disk {
        doing: "open",
        path: TreePath::ROOT,
        source: errno.into(),
    })
}

/// A fresh directory that nobody else uses: no link can stand where the tree has a directory.
struct Disk {
    top: OwnedFd,
    path: PathBuf,
}

impl Disk {
    fn failed(&self, doing: &'static str, path: &TreePath) -> impl FnOnce(Errno) -> Error + use<> {
        let path = path.clone();
        move |errno| Error::Disk { doing, path, source: errno.into() }
    }

    fn make_directory(&self, path: &TreePath) -> Result<(), Error> {
        rustix::fs::mkdirat(&self.top, name_of(path), Mode::from_raw_mode(0o700))
            .map_err(self.failed("make the directory", path))
    }

    fn stat(&self, path: &TreePath) -> Result<Stat, Error> {
        rustix::fs::statat(&self.top, name_of(path), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(self.failed("look at", path))
    }

    /// Writes files of all kinds, many at once.
    fn write_all(
        &self,
        tree: &Tree,
        contents: &dyn Contents,
        files: &[(TreePath, InodeId)],
        threads: usize,
    ) -> Result<(), Error> {
        let next = AtomicUsize::new(0);
        let failure = Mutex::new(None);
        let work = || {
            while let Some((path, id)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(error) = self.write(path, tree.inode(*id), contents) {
                    next.store(files.len(), Ordering::Relaxed);
                    failure.lock().expect("no thread panics with the lock").get_or_insert(error);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..threads.max(1) {
                scope.spawn(work);
            }
            work();
        });
        failure.into_inner().expect("no thread panics with the lock").map_or(Ok(()), Err)
    }

    fn write(&self, path: &TreePath, inode: &Inode, contents: &dyn Contents) -> Result<(), Error> {
        let name = name_of(path);
        match &inode.kind {
            Kind::Directory(_) => return Ok(()),
            Kind::Regular(content) => return self.write_file(path, inode, content, contents),
            Kind::Symlink(target) => rustix::fs::symlinkat(&target[..], &self.top, name)
                .map_err(self.failed("make the link", path))?,
            Kind::CharacterDevice(_) | Kind::BlockDevice(_) => {
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
                rustix::fs::openat(&self.top, name, flags, Mode::from_raw_mode(0o600))
                    .map_err(self.failed("make a placeholder for the device", path))?;
            }
            Kind::Fifo | Kind::Socket => {
                let kind = if inode.kind == Kind::Fifo { FileType::Fifo } else { FileType::Socket };
                rustix::fs::mknodat(&self.top, name, kind, Mode::from_raw_mode(0o600), 0)
                    .map_err(self.failed("make", path))?;
            }
        }
        self.finish(path, inode)
    }

    fn write_file(
        &self,
        path: &TreePath,
        inode: &Inode,
        content: &Content,
        contents: &dyn Contents,
    ) -> Result<(), Error> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.top, name_of(path), flags, Mode::from_raw_mode(0o600))
            .map_err(self.failed("create", path))?;
        let mut file = fs_err::File::from_parts(file.into(), self.path.join("…"));
        let failed = |source| Error::Disk { doing: "write", path: path.clone(), source };
        let mut reader = content.open(contents).map_err(failed)?;
        let failed = |source| Error::Disk { doing: "write", path: path.clone(), source };
        std::io::copy(&mut reader, &mut file).map_err(failed)?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(inode.meta.mode.into()))
            .map_err(self.failed("set the mode of", path))?;
        rustix::fs::futimens(&file, &times(inode.meta.mtime))
            .map_err(self.failed("set the time of", path))
    }

    /// Sets mode and time of anything but a regular file.
    fn finish(&self, path: &TreePath, inode: &Inode) -> Result<(), Error> {
        let name = name_of(path);
        if !matches!(inode.kind, Kind::Symlink(_)) {
            let mode = Mode::from_raw_mode(inode.meta.mode.into());
            rustix::fs::chmodat(&self.top, name, mode, AtFlags::empty())
                .map_err(self.failed("set the mode of", path))?;
        }
        let times = times(inode.meta.mtime);
        rustix::fs::utimensat(&self.top, name, &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(self.failed("set the time of", path))
    }
}

const fn times(mtime: i64) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT as _ },
        last_modification: Timespec { tv_sec: mtime, tv_nsec: 0 },
    }
}

/// What reading back takes.
pub(super) struct Reader<'a> {
    pub(super) left: &'a Left,
    pub(super) baseline: &'a Baseline,
    /// The tree that was laid out.
    pub(super) before: &'a Tree,
    pub(super) epoch: Epoch,
    /// Where changed contents go.
    pub(super) pack: &'a PackWriter,
}

impl Reader<'_> {
    /// Reads the directory.
    pub(super) fn read(&self) -> Result<Tree, Error> {
        let path = self.left.directory();
        let disk = Disk { top: open_top(&path)?, path };
        let root = self.inode(&disk, &TreePath::ROOT, &disk.stat(&TreePath::ROOT)?, None)?;
        let mut tree = Tree::new(root.meta);
        let mut pending = vec![TreePath::ROOT];
        let mut first_names: BTreeMap<u64, TreePath> = BTreeMap::new();
        while let Some(directory) = pending.pop() {
            let group = tree.get(&directory).and_then(|inode| inherited_group(&inode.meta));
            for name in disk.names(&directory)? {
                let path = directory.join(&name)?;
                let stat = disk.stat(&path)?;
                if let Some(first) = first_names.get(&stat.st_ino) {
                    tree.link(&path, first)?;
                    continue;
                }
                let inode = self.inode(&disk, &path, &stat, group)?;
                if matches!(inode.kind, Kind::Directory(_)) {
                    pending.push(path.clone());
                } else if stat.st_nlink > 1 {
                    first_names.insert(stat.st_ino, path.clone());
                }
                tree.insert(&path, inode)?;
            }
        }
        Ok(tree)
    }

    fn inode(
        &self,
        disk: &Disk,
        path: &TreePath,
        stat: &Stat,
        group: Option<u32>,
    ) -> Result<Inode, Error> {
        let known = self.baseline.inodes.get(&stat.st_ino);
        let marks = self.left.record.get(stat.st_ino);
        let before = known.map(|(id, _)| self.before.inode(*id));
        let untouched = known.is_some_and(|(_, at)| *at == changed(stat));
        let kind = match (marks.and_then(|marks| marks.node), before) {
            (Some(Node::Character(device)), _) => Kind::CharacterDevice(device),
            (Some(Node::Block(device)), _) => Kind::BlockDevice(device),
            (None, Some(before)) if untouched && is_leaf(before) => before.kind.clone(),
            (None, _) => self.kind(disk, path, stat)?,
        };
        let default =
            Marks { gid: group.filter(|_| known.is_none()).unwrap_or(0), ..Marks::default() };
        let Marks { uid, gid, xattrs, .. } = marks.unwrap_or(&default).clone();
        let mode = match kind {
            Kind::Symlink(_) => 0o777,
            #[expect(clippy::cast_possible_truncation, reason = "twelve bits are left")]
            _ => (stat.st_mode & 0o7777) as u16,
        };
        let mtime = self.epoch.clamp(stat.st_mtime);
        Ok(Inode { meta: Meta { mode, uid, gid, mtime, xattrs }, kind })
    }

    fn kind(&self, disk: &Disk, path: &TreePath, stat: &Stat) -> Result<Kind, Error> {
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Kind::Directory(BTreeMap::new()),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(&disk.top, name_of(path), Vec::new())
                    .map_err(disk.failed("read the link", path))?;
                Kind::Symlink(target.into_bytes().into())
            }
            FileType::Fifo => Kind::Fifo,
            FileType::Socket => Kind::Socket,
            FileType::RegularFile => self.content(disk, path)?,
            _ => return Err(Error::UnknownKind { path: path.clone() }),
        })
    }

    fn content(&self, disk: &Disk, path: &TreePath) -> Result<Kind, Error> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(&disk.top, name_of(path), flags, Mode::empty());
        let file = match open() {
            Err(Errno::ACCESS) => {
                disk.make_readable(path, 0o400)?;
                open()
            }
            other => other,
        };
        let file = file.map_err(disk.failed("open", path))?;
        let file = fs_err::File::from_parts(file.into(), disk.path.join("…"));
        let (digest, size) = self.pack.add(file)?;
        Ok(Kind::Regular(Content::Stored { digest, size }))
    }
}

impl Disk {
    /// The names in a directory, in no order.
    fn names(&self, path: &TreePath) -> Result<Vec<Vec<u8>>, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(&self.top, name_of(path), flags, Mode::empty());
        let mode = self.stat(path)?.st_mode & 0o7777;
        if mode & 0o500 != 0o500 {
            self.make_readable(path, 0o700)?;
        }
        let directory = open().map_err(self.failed("open the directory", path))?;
        let mut names = Vec::new();
        for entry in Dir::new(directory).map_err(self.failed("list", path))? {
            let entry = entry.map_err(self.failed("list", path))?;
            let name = std::ffi::OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                names.push(name.as_bytes().to_vec());
            }
        }
        Ok(names)
    }

    /// Lets us read what its mode forbids even to its owner. The file system is about to vanish, and
    /// the mode was read before.
    fn make_readable(&self, path: &TreePath, mode: u32) -> Result<(), Error> {
        rustix::fs::chmodat(&self.top, name_of(path), Mode::from_raw_mode(mode), AtFlags::empty())
            .map_err(self.failed("make readable", path))
    }
}

/// Whether an inode's kind can be taken over as it is: a directory's entries cannot.
fn is_leaf(inode: &Inode) -> bool {
    !matches!(inode.kind, Kind::Directory(_))
}

/// The group that new files in a directory get: its own, if it has the set-gid bit.
fn inherited_group(meta: &Meta) -> Option<u32> {
    (meta.mode & 0o2000 != 0).then_some(meta.gid)
}
