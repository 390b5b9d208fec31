//! Removing a directory and all below it, however deep, whatever its modes.
//!
//! Packages may hold directories of mode 0000, which an ordinary user cannot enter, and trees
//! deeper than any path may be long (CVE-2025-6297). So this never builds a path and never nests:
//! a directory that is not empty is first moved up to the top of the one being removed. At most
//! three descriptors are open at a time, and no symbolic link is followed.

use std::ffi::OsStr;
use std::os::fd::AsRawFd;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::Error;
use super::folder::Folder;
use super::temporary::random_name;

/// How often a directory is emptied into which a thread that is to end still writes.
const PATIENCE: u32 = 100;

/// Removes `name` in `folder`, whatever it is; it may be gone already.
pub(super) fn remove(folder: &Folder, name: &OsStr) -> Result<(), Error> {
    if !is_directory(folder, name)? {
        return folder.unlink(name);
    }
    if remove_empty(folder, name)? {
        return Ok(());
    }
    make_accessible(folder, name)?;
    let below = folder.folder(name)?;
    for _ in 0..PATIENCE {
        empty(&below)?;
        if remove_empty(folder, name)? {
            break;
        }
    }
    Ok(())
}

/// Removes all that is in `top`.
pub(super) fn empty(top: &Folder) -> Result<(), Error> {
    loop {
        let names = top.names()?;
        if names.is_empty() {
            return Ok(());
        }
        for name in names {
            flatten(top, &name)?;
        }
    }
}

/// Removes one entry of `top`. If it is a directory, its subdirectories move up into `top`.
fn flatten(top: &Folder, name: &OsStr) -> Result<(), Error> {
    if !is_directory(top, name)? {
        return top.unlink(name);
    }
    if remove_empty(top, name)? {
        return Ok(());
    }
    make_accessible(top, name)?;
    let below = top.folder(name)?;
    for entry in below.names()? {
        if !is_directory(&below, &entry)? {
            below.unlink(&entry)?;
        } else if !remove_empty(&below, &entry)? {
            // Moving a directory rewrites its `..`, for which it must be writable.
            make_accessible(&below, &entry)?;
            below.rename(&entry, top, random_name(OsStr::new(""))?)?;
        }
    }
    remove_empty(top, name)?;
    Ok(())
}

fn is_directory(folder: &Folder, name: &OsStr) -> Result<bool, Error> {
    let stat = folder.stat(name)?;
    Ok(stat.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory))
}

/// Removes an empty directory; says whether it is gone.
fn remove_empty(folder: &Folder, name: &OsStr) -> Result<bool, Error> {
    match rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(error) => Err(Error::disk("remove", folder.path_of(name))(error)),
    }
}

/// Gives the owner of a directory every right on it, without following a link.
///
/// An `O_PATH` descriptor needs no right on the directory itself; the kernel's name for it in
/// `/proc` leads to that very directory.
fn make_accessible(folder: &Folder, name: &OsStr) -> Result<(), Error> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let failed = || Error::disk("make accessible", folder.path_of(name));
    let fd = rustix::fs::openat(folder, name, flags, Mode::empty()).map_err(failed())?;
    let mode = rustix::fs::fstat(&fd).map_err(failed())?.st_mode;
    if mode & 0o700 == 0o700 {
        return Ok(());
    }
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(0o700), AtFlags::empty()).map_err(failed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c7_hostile_modes_do_not_defeat_cleaning_up() {
        let top = tempfile::tempdir().unwrap();
        let folder = Folder::open(top.path()).unwrap();
        for mode in [0o000, 0o100, 0o755] {
            let tree = folder.create_folder("tree", 0o755).unwrap();
            let closed = tree.create_folder("closed", 0o755).unwrap();
            let inner = closed.create_folder("inner", 0o755).unwrap();
            drop(inner.create_file("file", 0).unwrap());
            for folder in [&inner, &closed] {
                rustix::fs::fchmod(folder, Mode::from_raw_mode(mode)).unwrap();
            }
            remove(&folder, OsStr::new("tree")).unwrap();
            assert_eq!(folder.names().unwrap(), [""; 0], "{mode:o}");
        }
    }

    #[test]
    fn c7_a_tree_deeper_than_any_path_is_removed_and_links_are_not_followed() {
        let top = tempfile::tempdir().unwrap();
        let folder = Folder::open(top.path()).unwrap();
        let outside = folder.create_folder("outside", 0o755).unwrap();
        drop(outside.create_file("kept", 0o644).unwrap());
        let mut here = folder.create_folder("tree", 0o755).unwrap();
        rustix::fs::symlinkat("../outside", &here, "link").unwrap();
        for _ in 0..2_500 {
            here = here.create_folder("d", 0o755).unwrap();
        }
        remove(&folder, OsStr::new("tree")).unwrap();
        assert_eq!(folder.names().unwrap(), ["outside"]);
        assert_eq!(outside.names().unwrap(), ["kept"]);
    }
}
