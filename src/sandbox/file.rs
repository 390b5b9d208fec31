//! Reads and replaces single files of the tree between two commands, from outside.
//!
//! The tree belongs to programs that may be hostile: every path is resolved inside it
//! (`openat2(2)`, `RESOLVE_IN_ROOT`), and nothing but a regular file is read.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, openat, openat2, renameat};
use rustix::io::{Errno, Result};

use crate::tree::TreePath;

/// No file that we read here is larger.
const LARGEST: u64 = 64 << 20;
/// The name of a file that is being written.
const UNFINISHED: &str = ".osbuilder-unfinished";

const INSIDE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

pub(super) fn read(root: &OwnedFd, path: &TreePath) -> Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match openat2(root, path.as_bytes(), flags, Mode::empty(), INSIDE) {
        Err(Errno::NOENT) => return Ok(Vec::new()),
        other => other?,
    };
    let status = rustix::fs::fstat(&file)?;
    let size = u64::try_from(status.st_size).map_err(|_| Errno::FBIG)?;
    if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile || size > LARGEST {
        return Err(Errno::FBIG);
    }
    let mut bytes = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        match rustix::io::read(&file, &mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(count) => bytes.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Opens the directory that holds a path, and returns the path's last name.
fn open_parent<'a>(root: &OwnedFd, path: &'a TreePath) -> Result<(OwnedFd, &'a [u8])> {
    let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
        return Err(Errno::ISDIR);
    };
    let parent = if parent.is_root() { b"." } else { parent.as_bytes() };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok((openat2(root, parent, flags, Mode::empty(), INSIDE)?, name))
}

pub(super) fn rename(root: &OwnedFd, from: &TreePath, to: &TreePath) -> Result<()> {
    let (from, old) = open_parent(root, from)?;
    let (to, new) = open_parent(root, to)?;
    renameat(&from, old, &to, new)
}

/// Copies an open file of this host to a path where nothing is, as a program.
pub(super) fn copy(root: &OwnedFd, path: &TreePath, from: impl std::os::fd::AsFd) -> Result<()> {
    let (folder, name) = open_parent(root, path)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = openat(&folder, name, flags, Mode::from_raw_mode(0o755))?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o755))?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match rustix::io::read(&from, &mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => write_all(&file, buffer.get(..count).unwrap_or_default())?,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Removes a file, if it is there.
pub(super) fn remove(root: &OwnedFd, path: &TreePath) -> Result<()> {
    let (folder, name) = open_parent(root, path)?;
    match rustix::fs::unlinkat(&folder, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

pub(super) fn replace(root: &OwnedFd, path: &TreePath, bytes: &[u8]) -> Result<()> {
    let (folder, name) = open_parent(root, path)?;
    // A leftover of ours cannot be there; one that a script made is a reason to stop.
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = openat(&folder, UNFINISHED, flags, Mode::from_raw_mode(0o644))?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o644))?;
    write_all(&file, bytes)?;
    renameat(&folder, UNFINISHED, &folder, name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::parse(text).unwrap()
    }

    #[test]
    fn s16_links_lead_inside_the_tree_only_and_pipes_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs_err::write(outside.path().join("status"), b"host").unwrap();
        symlink(outside.path(), folder.path().join("dpkg")).unwrap();
        let root: OwnedFd = fs_err::File::open(folder.path()).unwrap().into_parts().0.into();
        assert_eq!(read(&root, &path("dpkg/status")), Ok(Vec::new()));
        assert_eq!(replace(&root, &path("dpkg/status"), b"x"), Err(Errno::NOENT));
        assert_eq!(fs_err::read(outside.path().join("status")).unwrap(), b"host");
        rustix::fs::mknodat(&root, "pipe", FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        assert_eq!(read(&root, &path("pipe")), Err(Errno::FBIG));
        replace(&root, &path("pipe"), b"text").unwrap();
        assert_eq!(read(&root, &path("pipe")), Ok(b"text".to_vec()));
    }
}
