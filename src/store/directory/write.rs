//! A tree → a directory on disk.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use fs_err::File;
use rustix::fd::AsFd;
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid,
};
use rustix::io::Errno;

use super::attributes::{self, Scope};
use super::beside::{self, Held};
use super::{Holding, Options};
use crate::buffer::with_buffer;
use crate::crew;
use crate::store::Error;
use crate::store::folder::{Folder, parent_of};
use crate::store::remove::remove;
use crate::tree::{Content, Contents, Device, InodeId, Kind, Meta, Tree, TreePath};

/// A unit of work ends after this many files or bytes, so that no thread is left with all of them.
const UNIT_FILES: usize = 32;
const UNIT_BYTES: u64 = 4 << 20;

/// Lays `tree` out in the directory `target`, which must not exist yet, and what the disk cannot
/// hold in `<target>.osbuilder-owners` beside it. When it fails, nothing is left at `target`.
///
/// # Errors
/// [`Error::Disk`], [`Error::Content`] when a content cannot be read or is damaged.
pub fn write(
    tree: &Tree,
    contents: &dyn Contents,
    target: &Path,
    options: Options,
) -> Result<(), Error> {
    let (parent, name) = parent_of(target)?;
    let parent = Arc::new(parent);
    let top = parent.create_folder(&name, 0o700)?;
    let writer = Writer::new(tree, contents, top, options.holding);
    let written = writer.write(options).and_then(|()| {
        let inode = writer.top.own_stat()?.st_ino;
        beside::write(&parent, &name, inode, (tree, writer.held()))?;
        writer.finish_directory(&TreePath::ROOT, tree.root())
    });
    if written.is_err() {
        // The first failure is the one to tell.
        drop(remove(&parent, &name));
    }
    written
}

/// What all threads look at.
struct Writer<'a> {
    tree: &'a Tree,
    contents: &'a dyn Contents,
    top: Folder,
    holding: Holding,
    held: Mutex<Held>,
}

/// Some files of one directory.
struct Unit {
    directory: TreePath,
    files: Vec<(Box<[u8]>, InodeId)>,
}

/// What is to be created, in order: directories, then files, then further names of files.
#[derive(Default)]
struct Steps {
    directories: Vec<(TreePath, InodeId)>,
    units: Vec<Unit>,
    links: Vec<(TreePath, TreePath)>,
}

impl<'a> Writer<'a> {
    fn new(tree: &'a Tree, contents: &'a dyn Contents, top: Folder, holding: Holding) -> Self {
        let devices = holding == Holding::All;
        let held = Held { modes: holding, attributes: Scope::of(holding), devices };
        Self { tree, contents, top, holding, held: Mutex::new(held) }
    }

    fn held(&self) -> Held {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything but the finish of the top directory, which stays private until the end.
    fn write(&self, options: Options) -> Result<(), Error> {
        attributes::forget_inherited(&self.top)
            .map_err(Error::disk("change the attributes of", self.top.path()))?;
        let steps = Steps::of(self.tree);
        for (path, _) in &steps.directories {
            self.create_directory(path)?;
        }
        crew::try_map(options.threads.get(), &steps.units, |unit| self.create_files(unit))?;
        for (path, first) in &steps.links {
            self.create_link(path, first)?;
        }
        // Children first: a finished directory may be one that cannot be entered or written.
        for (path, id) in steps.directories.iter().rev() {
            self.finish_directory(path, *id)?;
        }
        Ok(())
    }

    fn create_directory(&self, path: &TreePath) -> Result<(), Error> {
        let (folder, name) = self.place(path)?;
        drop(folder.create_folder(OsStr::from_bytes(name), 0o700)?);
        Ok(())
    }

    /// The directory that holds `path`, opened, and the last name.
    fn place<'p>(&self, path: &'p TreePath) -> Result<(Folder, &'p [u8]), Error> {
        let parent = path.parent().unwrap_or(TreePath::ROOT);
        Ok((self.top.descend(&parent)?, path.name().unwrap_or_default()))
    }

    fn create_files(&self, unit: &Unit) -> Result<(), Error> {
        let folder = self.top.descend(&unit.directory)?;
        unit.files.iter().try_for_each(|(name, id)| self.create_file(&folder, name, *id))
    }

    fn create_file(&self, folder: &Folder, name: &[u8], id: InodeId) -> Result<(), Error> {
        let inode = self.tree.inode(id);
        let name = OsStr::from_bytes(name);
        match &inode.kind {
            Kind::Directory(_) => Ok(()),
            Kind::Regular(content) => {
                let file = folder.create_file(name, 0o600)?;
                self.fill(&file, content, folder, name)?;
                self.finish(&file, &inode.meta, false).map_err(Error::disk("finish", file.path()))
            }
            Kind::Symlink(target) => {
                let failed = || Error::disk("create the link", folder.path_of(name));
                rustix::fs::symlinkat(&target[..], folder, name).map_err(failed())?;
                self.finish_by_name(folder, name, &inode.meta).map_err(failed())
            }
            Kind::Fifo => self.create_node(folder, name, (FileType::Fifo, 0), &inode.meta),
            Kind::Socket => self.create_node(folder, name, (FileType::Socket, 0), &inode.meta),
            Kind::CharacterDevice(device) => {
                let node = (FileType::CharacterDevice, number(*device));
                self.create_device(folder, name, node, &inode.meta)
            }
            Kind::BlockDevice(device) => {
                let node = (FileType::BlockDevice, number(*device));
                self.create_device(folder, name, node, &inode.meta)
            }
        }
    }

    fn fill(
        &self,
        file: &File,
        content: &Content,
        folder: &Folder,
        name: &OsStr,
    ) -> Result<(), Error> {
        let unreadable = |source| {
            let path = folder.path_of(name);
            let inside = path.strip_prefix(self.top.path()).unwrap_or(&path);
            let path = TreePath::parse(inside.as_os_str().as_bytes()).unwrap_or_default();
            Error::Content { path, source }
        };
        if let Content::Inline(bytes) = content {
            let mut file = file;
            return file.write_all(bytes).map_err(Error::disk("write", file.path()));
        }
        let mut reader = content.open(self.contents).map_err(unreadable)?;
        match copy(&mut reader, file).map_err(unreadable)? {
            Ok(size) if size == content.size() => Ok(()),
            Ok(_) => Err(unreadable(io::ErrorKind::InvalidData.into())),
            Err(error) => Err(Error::disk("write", file.path())(error)),
        }
    }

    /// Owner, attributes, mode and time, in the order in which none undoes another: changing the
    /// owner clears set-id bits and capabilities (chown(2)), and attributes need a writable mode.
    fn finish(&self, file: &impl AsFd, meta: &Meta, is_directory: bool) -> Result<(), Errno> {
        if self.holding == Holding::All {
            give(file, meta)?;
        }
        if !meta.xattrs.is_empty() {
            let scope = attributes::write(file, &meta.xattrs, Scope::of(self.holding))?;
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            held.attributes = held.attributes.min(scope);
        }
        let mode = self.holding.mode(meta.mode, is_directory);
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode.into()))?;
        rustix::fs::futimens(file, &times(meta))
    }

    /// As [`Writer::finish`], for what cannot be opened.
    fn finish_by_name(&self, folder: &Folder, name: &OsStr, meta: &Meta) -> Result<(), Errno> {
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        if self.holding == Holding::All {
            let (uid, gid) = owner(meta);
            accept_refusal(rustix::fs::chownat(folder, name, Some(uid), Some(gid), nofollow))?;
        }
        rustix::fs::utimensat(folder, name, &times(meta), nofollow)
    }

    fn create_device(
        &self,
        folder: &Folder,
        name: &OsStr,
        node: (FileType, u64),
        meta: &Meta,
    ) -> Result<(), Error> {
        if self.holding != Holding::All {
            return Ok(());
        }
        match self.create_node(folder, name, node, meta) {
            Err(error) if error.kind() == Some(io::ErrorKind::PermissionDenied) => {
                self.held.lock().unwrap_or_else(PoisonError::into_inner).devices = false;
                Ok(())
            }
            answer => answer,
        }
    }

    fn create_node(
        &self,
        folder: &Folder,
        name: &OsStr,
        (kind, number): (FileType, u64),
        meta: &Meta,
    ) -> Result<(), Error> {
        let failed = || Error::disk("create the special file", folder.path_of(name));
        rustix::fs::mknodat(folder, name, kind, Mode::from_raw_mode(0o600), number)
            .map_err(failed())?;
        self.finish_by_name(folder, name, meta).map_err(failed())?;
        let mode = Mode::from_raw_mode(self.holding.mode(meta.mode, false).into());
        set_mode(folder, name, mode).map_err(failed())
    }

    fn create_link(&self, path: &TreePath, first: &TreePath) -> Result<(), Error> {
        let (old, old_name) = self.place(first)?;
        let (new, new_name) = self.place(path)?;
        if old.stat(OsStr::from_bytes(old_name))?.is_none() {
            return Ok(()); // a device node that the disk does not hold
        }
        rustix::fs::linkat(&old, old_name, &new, new_name, AtFlags::empty())
            .map_err(Error::disk("link", new.path_of(OsStr::from_bytes(new_name))))
    }

    fn finish_directory(&self, path: &TreePath, id: InodeId) -> Result<(), Error> {
        let folder = self.top.descend(path)?;
        self.finish(&folder, &self.tree.inode(id).meta, true)
            .map_err(Error::disk("finish the directory", folder.path()))
    }
}

impl Steps {
    fn of(tree: &Tree) -> Self {
        let mut steps = Self::default();
        let linked = tree.hard_links();
        let mut first_names: BTreeMap<InodeId, TreePath> = BTreeMap::new();
        for (path, id, inode) in tree.walk() {
            let Kind::Directory(entries) = &inode.kind else { continue };
            let mut unit = UnitInProgress::default();
            for (name, &child) in entries {
                if matches!(tree.inode(child).kind, Kind::Directory(_)) {
                    continue;
                }
                if linked.contains_key(&child) {
                    let here = path.join(name).expect("names in a tree are clean");
                    if let Some(first) = first_names.get(&child) {
                        steps.links.push((here, first.clone()));
                        continue;
                    }
                    first_names.insert(child, here);
                }
                unit.push(name.clone(), child, &tree.inode(child).kind);
                if unit.is_full() {
                    steps.units.push(unit.take(&path));
                }
            }
            if !unit.files.is_empty() {
                steps.units.push(unit.take(&path));
            }
            if !path.is_root() {
                steps.directories.push((path, id));
            }
        }
        steps
    }
}

#[derive(Default)]
struct UnitInProgress {
    files: Vec<(Box<[u8]>, InodeId)>,
    bytes: u64,
}

impl UnitInProgress {
    fn push(&mut self, name: Box<[u8]>, id: InodeId, kind: &Kind) {
        self.files.push((name, id));
        if let Kind::Regular(content) = kind {
            self.bytes = self.bytes.saturating_add(content.size());
        }
    }

    const fn is_full(&self) -> bool {
        self.files.len() >= UNIT_FILES || self.bytes >= UNIT_BYTES
    }

    fn take(&mut self, directory: &TreePath) -> Unit {
        self.bytes = 0;
        Unit { directory: directory.clone(), files: std::mem::take(&mut self.files) }
    }
}

/// Copies to the end. The outer error is the reader's, the inner one the disk's.
fn copy(reader: &mut dyn Read, mut file: &File) -> io::Result<io::Result<u64>> {
    let mut size = 0_u64;
    with_buffer(|buffer| {
        loop {
            let chunk = match reader.read(buffer) {
                Ok(0) => return Ok(Ok(size)),
                Ok(count) => buffer.get(..count).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            size = size.saturating_add(chunk.len() as u64);
            if let Err(error) = file.write_all(chunk) {
                return Ok(Err(error));
            }
        }
    })
}

/// Gives a file its owner, unless it has that: asking costs less.
fn give(file: &impl AsFd, meta: &Meta) -> Result<(), Errno> {
    let stat = rustix::fs::fstat(file)?;
    if (stat.st_uid, stat.st_gid) == (meta.uid, meta.gid) {
        return Ok(());
    }
    accept_refusal(rustix::fs::fchown(file, Some(owner(meta).0), Some(owner(meta).1)))
}

/// Root of a user namespace may not give files to users outside it; the listing keeps those.
fn accept_refusal(answer: Result<(), Errno>) -> Result<(), Errno> {
    match answer {
        Err(Errno::PERM | Errno::INVAL) => Ok(()),
        answer => answer,
    }
}

/// Sets the mode of something that cannot be opened, without following a link.
fn set_mode(folder: &Folder, name: &OsStr, mode: Mode) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(folder, name, flags, Mode::empty())?;
    rustix::fs::chmodat(CWD, format!("/proc/self/fd/{}", fd.as_raw_fd()), mode, AtFlags::empty())
}

fn owner(meta: &Meta) -> (Uid, Gid) {
    (Uid::from_raw(meta.uid), Gid::from_raw(meta.gid))
}

const fn times(meta: &Meta) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: meta.mtime, tv_nsec: 0 },
    }
}

fn number(device: Device) -> u64 {
    rustix::fs::makedev(device.major, device.minor)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::tree::{Inode, NoContents};

    /// While a tree is laid out, somebody swaps one of its directories for a link that leads out.
    #[test]
    fn c10_a_racer_that_swaps_directories_and_links_leads_nothing_out() {
        let top = tempfile::tempdir().unwrap();
        let outside = top.path().join("outside");
        fs_err::create_dir(&outside).unwrap();
        let mut tree = Tree::default();
        let at = |text: &str| TreePath::parse(text).unwrap();
        for number in 0..60 {
            let inner = at(&format!("usr/inner/{}", number % 3));
            tree.make_directories(&inner, &Meta::root(0o755)).unwrap();
            let kind = Kind::Regular(Content::Inline(b"text".as_slice().into()));
            let file = inner.join(number.to_string()).unwrap();
            tree.insert(&file, Inode { meta: Meta::root(0o4755), kind }).unwrap();
        }
        let (target, done) = (top.path().join("target"), AtomicBool::new(false));
        let (mut written, mut swaps) = (0, 0_u32);
        std::thread::scope(|scope| {
            let racer = scope.spawn(|| {
                let (inner, aside) = (target.join("usr/inner"), target.join("usr/aside"));
                let mut swaps = 0;
                while !done.load(Ordering::Relaxed) {
                    if fs_err::rename(&inner, &aside).is_ok() {
                        drop(std::os::unix::fs::symlink(&outside, &inner));
                        drop(fs_err::remove_file(&inner));
                        drop(fs_err::rename(&aside, &inner));
                        swaps += 1;
                    }
                }
                swaps
            });
            let options =
                Options { threads: NonZeroUsize::new(2).unwrap(), holding: Holding::Tame };
            let parent = Folder::open(top.path()).unwrap();
            for _ in 0..60 {
                written += u32::from(write(&tree, &NoContents, &target, options).is_ok());
                drop(remove(&parent, OsStr::new("target")));
            }
            done.store(true, Ordering::Relaxed);
            swaps = racer.join().unwrap();
        });
        assert!(fs_err::read_dir(&outside).unwrap().next().is_none());
        assert!(swaps > 0, "the racer never met the writer, {written} trees were written");
        let options = Options { threads: NonZeroUsize::MIN, holding: Holding::Tame };
        write(&tree, &NoContents, &top.path().join("good"), options).unwrap();
    }
}
