//! Finds the file that a system call of a script names, from outside.
//!
//! In: the process, a directory descriptor and a path as the call has them; out: an `O_PATH`
//! descriptor of the file. Whatever a script writes into its memory or does to its links
//! meanwhile, the result lies in the tree: resolution starts at the tree's root and cannot leave it
//! (`openat2(2)`, `RESOLVE_IN_ROOT`). What is mounted over the tree is not seen, and not found.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::{Errno, Result};

/// What a call names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named<'a> {
    /// Number of the process, in our process namespace.
    pub(super) process: i32,
    /// The call's directory descriptor, or `AT_FDCWD`.
    pub(super) directory: i32,
    /// The path, as it was in the process's memory.
    pub(super) path: &'a [u8],
    /// Whether a link at the end is followed.
    pub(super) follow: bool,
    /// What `/proc` shows before the paths of the tree.
    pub(super) shown: &'a [u8],
}

/// Opens what a call names. An empty path is the directory descriptor itself.
pub(super) fn open(root: BorrowedFd<'_>, named: Named<'_>) -> Result<OwnedFd> {
    if named.path.is_empty() {
        return open_descriptor(named.process, named.directory);
    }
    if named.follow
        && let Some(descriptor) = descriptor_path(named.path)
    {
        return open_descriptor(named.process, descriptor);
    }
    let flags = if named.follow { OFlags::empty() } else { OFlags::NOFOLLOW };
    let path = absolute(named)?;
    openat2(root, path, flags | OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), inside())
}

/// Opens the directory of a file to be made, and returns the file's name.
pub(super) fn open_parent<'a>(
    root: BorrowedFd<'_>,
    named: Named<'a>,
) -> Result<(OwnedFd, &'a [u8])> {
    let split = named.path.iter().rposition(|&byte| byte == b'/');
    let (parent, name) = match split {
        Some(at) => (named.path.get(..=at), named.path.get(at.saturating_add(1)..)),
        None => (Some(&b"."[..]), Some(named.path)),
    };
    let (Some(parent), Some(name)) = (parent, name) else { return Err(Errno::INVAL) };
    if matches!(name, b"" | b"." | b"..") {
        return Err(Errno::EXIST);
    }
    let path = absolute(Named { path: parent, ..named })?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok((openat2(root, path, flags, Mode::empty(), inside())?, name))
}

const fn inside() -> ResolveFlags {
    ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS)
}

/// The path from the tree's root: relative ones begin where the process or its descriptor is.
fn absolute(named: Named<'_>) -> Result<Vec<u8>> {
    if named.path.starts_with(b"/") {
        return Ok(named.path.to_vec());
    }
    let link = link_to(named.process, named.directory);
    // The kernel shows paths of another mount namespace from that namespace's root, and those of a
    // plain chroot from ours.
    let path = rustix::fs::readlinkat(CWD, link, Vec::new())?.into_bytes();
    let mut path = path.strip_prefix(named.shown).ok_or(Errno::NOENT)?.to_vec();
    if !path.is_empty() && !path.starts_with(b"/") || path.is_empty() && named.shown.is_empty() {
        return Err(Errno::NOENT);
    }
    path.push(b'/');
    path.extend_from_slice(named.path);
    Ok(path)
}

fn open_descriptor(process: i32, descriptor: i32) -> Result<OwnedFd> {
    let link = link_to(process, descriptor);
    rustix::fs::open(link, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

fn link_to(process: i32, descriptor: i32) -> String {
    if descriptor == libc::AT_FDCWD {
        format!("/proc/{process}/cwd")
    } else {
        format!("/proc/{process}/fd/{descriptor}")
    }
}

/// Reads `/proc/self/fd/7`, with which programs name what they hold open.
fn descriptor_path(path: &[u8]) -> Option<i32> {
    let prefixes: [&[u8]; 3] = [b"/proc/self/fd/", b"/proc/thread-self/fd/", b"/dev/fd/"];
    let digits = prefixes.iter().find_map(|prefix| path.strip_prefix(*prefix))?;
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|&number: &i32| number >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_descriptor_paths_are_read_as_descriptors() {
        let cases: [(&[u8], Option<i32>); 6] = [
            (b"/proc/self/fd/7", Some(7)),
            (b"/dev/fd/0", Some(0)),
            (b"/proc/self/fd/7/x", None),
            (b"/proc/self/fd/-1", None),
            (b"/proc/1/fd/3", None),
            (b"proc/self/fd/3", None),
        ];
        for (path, expected) in cases {
            assert_eq!(descriptor_path(path), expected);
        }
    }
}
