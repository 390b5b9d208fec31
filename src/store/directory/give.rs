//! A directory with a tree in it becomes somebody else's: under sudo, the caller's.
//!
//! In: the tree that was written, where, a user and a group. Only root can do this, and only below a
//! directory that nobody else can enter: names are followed as they were written.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Gid, Uid};
use rustix::io::Errno;

use super::beside::side_name;
use crate::store::Error;
use crate::tree::Tree;

/// Gives every file of `tree`, as it lies at `target`, and what is kept beside it, to a user and a
/// group. Links themselves are given, and not what they lead to.
///
/// # Errors
/// [`Error::Disk`].
pub fn give(tree: &Tree, target: &Path, (user, group): (u32, u32)) -> Result<(), Error> {
    let change = |path: &Path| {
        let (user, group) = (Some(Uid::from_raw(user)), Some(Gid::from_raw(group)));
        match rustix::fs::chownat(CWD, path, user, group, AtFlags::SYMLINK_NOFOLLOW) {
            // Device nodes are beside the directory only.
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(Error::disk("give away", path)(errno)),
        }
    };
    for (path, ..) in tree.walk() {
        change(&target.join(OsStr::from_bytes(path.as_bytes())))?;
    }
    let name = target.file_name().unwrap_or_default();
    change(&target.with_file_name(side_name(name)))
}
