//! The sandbox's file system, as seen from outside: made, looked at and listed by path.
//!
//! Programs inside may be hostile and may have put links anywhere. So every path is resolved from
//! the tree's root and cannot leave it (`openat2(2)`, `RESOLVE_IN_ROOT`), and the last name is
//! never followed.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::Error;
use crate::tree::TreePath;

/// A directory with a tree.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) top: OwnedFd,
    pub(super) path: PathBuf,
}

/// The directory that holds a path, held open, and the path's last name there.
pub(super) struct Place<'a> {
    pub(super) folder: OwnedFd,
    pub(super) name: &'a [u8],
}

/// A path below the top: never empty, as system calls want it.
pub(super) fn name_of(path: &TreePath) -> &[u8] {
    if path.is_root() { b"." } else { path.as_bytes() }
}

impl Disk {
    /// Opens the directory at `path`.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(|errno| {
            Error::Disk { doing: "open", path: TreePath::ROOT, source: errno.into() }
        })?;
        Ok(Self { top, path: path.to_owned() })
    }

    pub(super) fn failed(
        &self,
        doing: &'static str,
        path: &TreePath,
    ) -> impl FnOnce(Errno) -> Error + use<> {
        let path = path.clone();
        move |errno| Error::Disk { doing, path, source: errno.into() }
    }

    /// Opens what is at `path`, following no link at the end.
    pub(super) fn open_at(
        &self,
        path: &TreePath,
        flags: OFlags,
        mode: u32,
    ) -> rustix::io::Result<OwnedFd> {
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat2(&self.top, name_of(path), flags, Mode::from_raw_mode(mode), inside)
    }

    /// Opens the directory that holds `path`.
    pub(super) fn place<'a>(&self, path: &'a TreePath) -> Result<Place<'a>, Error> {
        let parent = path.parent().unwrap_or_default();
        let folder = self
            .open_at(&parent, OFlags::PATH | OFlags::DIRECTORY, 0)
            .map_err(self.failed("open the directory", &parent))?;
        Ok(Place { folder, name: path.name().unwrap_or(b".") })
    }

    pub(super) fn stat(&self, path: &TreePath) -> Result<Stat, Error> {
        let Place { folder, name } = self.place(path)?;
        rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(self.failed("look at", path))
    }

    /// Whether a directory is there.
    pub(super) fn has_directory(&self, path: &TreePath) -> bool {
        self.stat(path).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_dir())
    }

    /// Sets permissions. Must not be used on links, which have none.
    pub(super) fn set_mode(&self, path: &TreePath, mode: u32) -> Result<(), Error> {
        let Place { folder, name } = self.place(path)?;
        rustix::fs::chmodat(&folder, name, Mode::from_raw_mode(mode), AtFlags::empty())
            .map_err(self.failed("set the mode of", path))
    }

    /// Opens a directory of which the mode is known, to list it. One that its mode closes to us is
    /// opened to us first: the file system is about to vanish.
    pub(super) fn folder(&self, path: &TreePath, mode: u32) -> Result<Folder<'_>, Error> {
        if mode & 0o500 != 0o500 {
            self.set_mode(path, 0o700)?;
        }
        let opened = self
            .open_at(path, OFlags::RDONLY | OFlags::DIRECTORY, 0)
            .map_err(self.failed("open the directory", path))?;
        let entries = Dir::new(opened).map_err(self.failed("list", path))?;
        Ok(Folder { disk: self, path: path.clone(), entries })
    }
}

/// An open directory.
pub(super) struct Folder<'a> {
    disk: &'a Disk,
    path: TreePath,
    entries: Dir,
}

impl Folder<'_> {
    /// What is in it, in no order: each path, and what the kernel says of it.
    pub(super) fn list(mut self) -> Result<Vec<(TreePath, Stat)>, Error> {
        let failed = |path: &TreePath| self.disk.failed("list", path);
        let mut names = Vec::new();
        for entry in self.entries.by_ref() {
            let entry = entry.map_err(failed(&self.path))?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                names.push(name.to_owned());
            }
        }
        let folder = self.entries.fd().map_err(failed(&self.path))?;
        let look = |name: CString| {
            let path = self.path.join(name.to_bytes())?;
            let stat = rustix::fs::statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(self.disk.failed("look at", &path))?;
            Ok((path, stat))
        };
        names.into_iter().map(look).collect()
    }
}
