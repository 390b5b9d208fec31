//! A directory held open: every access goes through its descriptor, never through a path.
//!
//! A path is looked up anew by each call, and whoever can rename one of its directories or plant a
//! symbolic link decides where it leads. A descriptor stays what it was. Names given here are
//! single names; longer paths go down one name at a time with `O_NOFOLLOW` (open(2), openat(2)).
//! The path that a [`Folder`] carries is for messages only.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use fs_err::File;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::Error;
use crate::tree::TreePath;

/// What every open asks for: no link followed, nothing inherited by child processes.
const SAFE: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC);

/// A directory held open.
#[derive(Debug)]
pub(super) struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// Opens the directory at `path`, which a person gave: links in it are followed.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, path, flags, Mode::empty())
            .map_err(Error::disk("open the directory", path))?;
        Ok(Self { fd, path: path.into() })
    }

    /// The path, for messages.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of an entry, for messages.
    pub(super) fn path_of(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.path.join(name.as_ref())
    }

    /// Opens the directory `name` in this one.
    pub(super) fn folder(&self, name: impl AsRef<OsStr>) -> Result<Self, Error> {
        let name = name.as_ref();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | SAFE;
        rustix::fs::openat(&self.fd, name, flags, Mode::empty())
            .map(|fd| Self { fd, path: self.path_of(name) })
            .map_err(|error| self.not_opened(name, error))
    }

    /// Opens the directory at `path` below this one, through no symbolic link.
    pub(super) fn descend(&self, path: &TreePath) -> Result<Self, Error> {
        if path.is_root() {
            return self.again();
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | SAFE;
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let bytes = path.as_bytes();
        match rustix::fs::openat2(&self.fd, bytes, flags, Mode::empty(), inside) {
            Ok(fd) => Ok(Self { fd, path: self.path_of(OsStr::from_bytes(bytes)) }),
            // Before Linux 5.6, under a filter that does not know the call, or while something
            // is being renamed: one name at a time.
            Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN) => self.descend_by_names(path),
            Err(error) => Err(self.not_opened(OsStr::from_bytes(bytes), error)),
        }
    }

    fn descend_by_names(&self, path: &TreePath) -> Result<Self, Error> {
        let mut here = self.again()?;
        for name in path.names() {
            here = here.folder(OsStr::from_bytes(name))?;
        }
        Ok(here)
    }

    fn not_opened(&self, name: &OsStr, error: Errno) -> Error {
        let path = self.path_of(name);
        match error {
            Errno::LOOP | Errno::NOTDIR => Error::Planted { path, expected: "a directory" },
            error => Error::disk("open the directory", path)(error),
        }
    }

    /// Opens this directory once more.
    pub(super) fn again(&self) -> Result<Self, Error> {
        let fd = self.fd.try_clone().map_err(Error::disk("open the directory", &self.path))?;
        Ok(Self { fd, path: self.path.clone() })
    }

    /// Creates the directory `name` in this one; `AlreadyExists` when something is there.
    pub(super) fn create_folder(&self, name: impl AsRef<OsStr>, mode: u32) -> Result<Self, Error> {
        let name = name.as_ref();
        rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(mode))
            .map_err(Error::disk("create the directory", self.path_of(name)))?;
        self.folder(name)
    }

    /// Opens the regular file `name` for reading, and never waits for a pipe or a device.
    pub(super) fn file(&self, name: impl AsRef<OsStr>) -> Result<(File, Stat), Error> {
        let name = name.as_ref();
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | SAFE;
        let fd = match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Err(Errno::LOOP | Errno::NXIO) => Err(self.not_a_file(name)),
            answer => answer.map_err(Error::disk("open", self.path_of(name))),
        }?;
        let stat = rustix::fs::fstat(&fd).map_err(Error::disk("look at", self.path_of(name)))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(self.not_a_file(name));
        }
        Ok((File::from_parts(fd.into(), self.path_of(name)), stat))
    }

    fn not_a_file(&self, name: &OsStr) -> Error {
        Error::Planted { path: self.path_of(name), expected: "a regular file" }
    }

    /// As [`Folder::file`], but `None` when nothing has that name.
    pub(super) fn file_if_there(
        &self,
        name: impl AsRef<OsStr>,
    ) -> Result<Option<(File, Stat)>, Error> {
        match self.file(name) {
            Err(error) if error.kind() == Some(io::ErrorKind::NotFound) => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// Creates the regular file `name`, which must not exist, for reading and writing.
    pub(super) fn create_file(&self, name: impl AsRef<OsStr>, mode: u32) -> Result<File, Error> {
        let name = name.as_ref();
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | SAFE;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::from_raw_mode(mode))
            .map_err(Error::disk("create", self.path_of(name)))?;
        Ok(File::from_parts(fd.into(), self.path_of(name)))
    }

    /// What `name` is, following no link; `None` when nothing has that name.
    pub(super) fn stat(&self, name: impl AsRef<OsStr>) -> Result<Option<Stat>, Error> {
        let name = name.as_ref();
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(Error::disk("look at", self.path_of(name))(error)),
        }
    }

    /// What `name` is, or what a link of that name leads to; `None` when nothing is there, which is
    /// also where links in a circle and links through a file lead.
    pub(super) fn stat_followed(&self, name: impl AsRef<OsStr>) -> Result<Option<Stat>, Error> {
        let name = name.as_ref();
        match rustix::fs::statat(&self.fd, name, AtFlags::empty()) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(Error::disk("look at", self.path_of(name))(error)),
        }
    }

    /// Whether the link `name` says a path below `/proc`.
    pub(super) fn is_link_to_proc(&self, name: impl AsRef<OsStr>) -> Result<bool, Error> {
        let name = name.as_ref();
        rustix::fs::readlinkat(&self.fd, name, Vec::new())
            .map(|target| target.as_bytes().starts_with(b"/proc/"))
            .map_err(Error::disk("look at", self.path_of(name)))
    }

    /// What this directory itself is.
    pub(super) fn own_stat(&self) -> Result<Stat, Error> {
        rustix::fs::fstat(&self.fd).map_err(Error::disk("look at", &self.path))
    }

    /// The names in this directory without `.` and `..`, in byte order.
    pub(super) fn names(&self) -> Result<Vec<OsString>, Error> {
        let failed = || Error::disk("list", &self.path);
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsStr::from_bytes(name).to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Removes the name of something that is no directory; it may be gone already.
    pub(super) fn unlink(&self, name: impl AsRef<OsStr>) -> Result<(), Error> {
        let name = name.as_ref();
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(Error::disk("remove", self.path_of(name))(error)),
        }
    }

    /// Renames an entry of this directory to `new` in `target`, replacing what is there.
    pub(super) fn rename(
        &self,
        name: impl AsRef<OsStr>,
        target: &Self,
        new: impl AsRef<OsStr>,
    ) -> Result<(), Error> {
        let (name, new) = (name.as_ref(), new.as_ref());
        rustix::fs::renameat(&self.fd, name, &target.fd, new)
            .map_err(Error::disk("put in place", target.path_of(new)))
    }

    /// Waits until the entries of this directory are on the disk.
    pub(super) fn sync(&self) -> Result<(), Error> {
        rustix::fs::fsync(&self.fd).map_err(Error::disk("sync", &self.path))
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The paths of what is in a directory, in byte order.
///
/// # Errors
/// [`Error::Disk`].
pub fn paths_in(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let folder = Folder::open(path)?;
    Ok(folder.names()?.iter().map(|name| folder.path_of(name)).collect())
}

/// Splits a path that a person gave into the directory that holds it, held open, and its name.
pub(super) fn parent_of(path: &Path) -> Result<(Folder, OsString), Error> {
    let name = path.file_name().ok_or_else(|| Error::WillNotReplace {
        path: path.into(),
        reason: "the path does not end in a name",
    })?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    Ok((Folder::open(parent)?, name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c14_both_ways_down_refuse_links_and_find_directories() {
        let top = tempfile::tempdir().unwrap();
        let folder = Folder::open(top.path()).unwrap();
        let inner = folder.create_folder("a", 0o755).unwrap().create_folder("b", 0o755).unwrap();
        drop(inner.create_file("file", 0o644).unwrap());
        for (target, link) in [("a", "to-a"), ("/", "to-root"), ("..", "up")] {
            rustix::fs::symlinkat(target, &folder, link).unwrap();
        }
        let ways = [Folder::descend, Folder::descend_by_names];
        for descend in ways {
            let at = |text: &str| descend(&folder, &TreePath::parse(text).unwrap());
            assert_eq!(at("a/b").unwrap().names().unwrap(), ["file"]);
            assert_eq!(at("").unwrap().names().unwrap(), folder.names().unwrap());
            for bad in ["to-a/b", "to-a", "to-root", "up", "a/b/file"] {
                assert!(matches!(at(bad).unwrap_err(), Error::Planted { .. }), "{bad}");
            }
            assert_eq!(at("a/none").unwrap_err().kind(), Some(io::ErrorKind::NotFound));
        }
    }

    #[test]
    fn s16_pipes_and_links_are_not_opened_as_files() {
        let top = tempfile::tempdir().unwrap();
        let folder = Folder::open(top.path()).unwrap();
        let mode = Mode::from_raw_mode(0o600);
        for (name, kind) in [("pipe", FileType::Fifo), ("socket", FileType::Socket)] {
            rustix::fs::mknodat(&folder, name, kind, mode, 0).unwrap();
        }
        rustix::fs::symlinkat("/etc/passwd", &folder, "link").unwrap();
        drop(folder.create_folder("folder", 0o755).unwrap());
        for name in ["pipe", "socket", "link", "folder"] {
            assert!(matches!(folder.file(name).unwrap_err(), Error::Planted { .. }), "{name}");
        }
        drop(folder.create_file("file", 0o644).unwrap());
        folder.file("file").unwrap();
    }
}
