//! What each shown system call is answered, and what is recorded of it.
//!
//! `chown` and its kin, device nodes and privileged attributes are recorded and reported as done;
//! `stat` and its kin show what was recorded, so that a program which copies the owner of the old
//! `/etc/shadow` to the new one does the same here as as root. Everything else goes on to the
//! kernel untouched. Argument order: `syscalls(2)` and the page of each call.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::paths::{self, Named};
use super::record::{Node, Record};
use super::{acl, blame, kernel};
use crate::tree::Device;

/// The answer to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    /// The kernel carries it out.
    Continue,
    /// It returns this.
    Value(i64),
    /// It fails.
    Error(Errno),
}

/// The state behind the answers.
#[derive(Debug)]
pub(super) struct Calls<'a> {
    /// The tree's root without mounts inside.
    pub(super) tree: &'a OwnedFd,
    /// The device number of its file system.
    pub(super) device: u64,
    /// What `/proc` shows before the paths of the tree: nothing in a mount namespace.
    pub(super) shown: &'a [u8],
    /// What was recorded so far.
    pub(super) record: &'a mut Record,
}

/// A call with its arguments.
struct Call<'a> {
    process: i32,
    arguments: [u64; 6],
    /// Whether the process still waits; see [`Call::check`].
    still_waits: &'a dyn Fn() -> bool,
}

/// Which owner arguments mean "leave as it is".
const UNCHANGED: u32 = u32::MAX;
/// The longest value of an attribute, of linux/limits.h.
const LONGEST_VALUE: usize = 65_536;

impl Calls<'_> {
    /// Answers one call.
    pub(super) fn answer(
        &mut self,
        call: &libc::seccomp_notif,
        still_waits: impl Fn() -> bool,
    ) -> Reply {
        let Ok(process) = i32::try_from(call.pid) else { return Reply::Continue };
        let arguments = call.data.args;
        let number = libc::c_long::from(call.data.nr);
        let call = Call { process, arguments, still_waits: &still_waits };
        let reply = match number {
            libc::SYS_newfstatat => self.status(&call, &call.at(0, 1, 3), 2),
            libc::SYS_fstat => self.status(&call, &call.descriptor(0), 1),
            libc::SYS_statx => self.extended_status(&call),
            libc::SYS_fchown => self.change_owner(&call, &call.descriptor(0), [1, 2]),
            libc::SYS_fchownat => self.change_owner(&call, &call.at(0, 1, 4), [2, 3]),
            libc::SYS_mknodat => self.make_node(&call, call.integer(0), [1, 2, 3]),
            _ => self.answer_attributes(number, &call),
        };
        reply.unwrap_or_else(Reply::Error)
    }

    fn answer_attributes(&mut self, number: libc::c_long, call: &Call<'_>) -> Answer {
        match number {
            libc::SYS_setxattr => self.set_attribute(call, &call.path(0, true)),
            libc::SYS_lsetxattr => self.set_attribute(call, &call.path(0, false)),
            libc::SYS_fsetxattr => self.set_attribute(call, &call.descriptor(0)),
            libc::SYS_getxattr => self.get_attribute(call, &call.path(0, true)),
            libc::SYS_lgetxattr => self.get_attribute(call, &call.path(0, false)),
            libc::SYS_fgetxattr => self.get_attribute(call, &call.descriptor(0)),
            libc::SYS_removexattr => self.remove_attribute(call, &call.path(0, true)),
            libc::SYS_lremovexattr => self.remove_attribute(call, &call.path(0, false)),
            libc::SYS_fremovexattr => self.remove_attribute(call, &call.descriptor(0)),
            _ => self.answer_old(number, call),
        }
    }

    /// Calls that newer architectures no longer have.
    #[cfg(not(target_arch = "aarch64"))]
    fn answer_old(&mut self, number: libc::c_long, call: &Call<'_>) -> Answer {
        match number {
            libc::SYS_stat => self.status(call, &call.path(0, true), 1),
            libc::SYS_lstat => self.status(call, &call.path(0, false), 1),
            libc::SYS_chown => self.change_owner(call, &call.path(0, true), [1, 2]),
            libc::SYS_lchown => self.change_owner(call, &call.path(0, false), [1, 2]),
            libc::SYS_mknod => self.make_node(call, libc::AT_FDCWD, [0, 1, 2]),
            _ => Ok(Reply::Continue),
        }
    }

    #[cfg(target_arch = "aarch64")]
    fn answer_old(&mut self, _: libc::c_long, _: &Call<'_>) -> Answer {
        Ok(Reply::Continue)
    }

    /// Opens what a call names, if it is in the tree. `None`: it is elsewhere, or cannot be found,
    /// and the kernel shall say so.
    fn find(&self, call: &Call<'_>, place: &Place) -> rustix::io::Result<Option<Found>> {
        let path = match place.path {
            Some(address) => call.text(address, 4096)?,
            None => Vec::new(),
        };
        if path.is_empty() && !place.empty_allowed {
            return Ok(None);
        }
        let (process, directory, follow) = (call.process, place.directory, place.follow);
        let named = Named { process, directory, path: &path, follow, shown: self.shown };
        let file = match paths::open(self.tree.as_fd(), named) {
            Err(errno) if blame::is_the_host_s(errno) => return Err(errno),
            Err(_) => return Ok(None),
            Ok(file) => file,
        };
        let status = kernel::status(file.as_fd())?;
        Ok((status.st_dev == self.device).then_some(Found { file, status }))
    }

    fn status(&self, call: &Call<'_>, place: &Place, buffer: usize) -> Answer {
        let Some(Found { mut status, .. }) = self.find(call, place)? else {
            return Ok(Reply::Continue);
        };
        let Some(marks) = self.record.get(status.st_ino) else { return Ok(Reply::Continue) };
        (status.st_uid, status.st_gid) = (marks.uid, marks.gid);
        if let Some(node) = marks.node {
            let (kind, device) = in_kernels_words(node);
            status.st_mode = status.st_mode & 0o7777 | kind;
            status.st_rdev = libc::makedev(device.major, device.minor);
        }
        call.write(buffer, kernel::bytes_of(&status))?;
        Ok(Reply::Value(0))
    }

    fn extended_status(&self, call: &Call<'_>) -> Answer {
        let Some(found) = self.find(call, &call.at(0, 1, 2))? else { return Ok(Reply::Continue) };
        let Some(marks) = self.record.get(found.status.st_ino) else {
            return Ok(Reply::Continue);
        };
        let mut status = kernel::extended_status(found.file.as_fd(), call.word(3))?;
        (status.stx_uid, status.stx_gid) = (marks.uid, marks.gid);
        if let Some(node) = marks.node {
            let (kind, device) = in_kernels_words(node);
            let kind = u16::try_from(kind).map_err(|_| Errno::INVAL)?;
            status.stx_mode = status.stx_mode & 0o7777 | kind;
            (status.stx_rdev_major, status.stx_rdev_minor) = (device.major, device.minor);
        }
        call.write(4, kernel::bytes_of(&status))?;
        Ok(Reply::Value(0))
    }

    fn change_owner(&mut self, call: &Call<'_>, place: &Place, ids: [usize; 2]) -> Answer {
        let [uid, gid] = ids.map(|index| call.word(index));
        let to_root = [uid, gid].iter().all(|id| matches!(*id, 0 | UNCHANGED));
        let Some(found) = self.find(call, place)? else {
            // Outside of the tree (`/dev/null`) nothing is kept, and nothing need fail.
            return Ok(if to_root || !place.is_descriptor() {
                Reply::Continue
            } else {
                Reply::Value(0)
            });
        };
        if to_root && self.record.get(found.status.st_ino).is_none() {
            return Ok(Reply::Continue);
        }
        call.check()?;
        found.lose_privileges()?;
        let marks = self.record.entry(found.status.st_ino);
        marks.xattrs.remove(&b"security.capability"[..]);
        if uid != UNCHANGED {
            marks.uid = uid;
        }
        if gid != UNCHANGED {
            marks.gid = gid;
        }
        self.record.hold(found.status.st_ino, found.file);
        Ok(Reply::Value(0))
    }

    /// Makes a placeholder for a device; other nodes are made by the kernel.
    fn make_node(&mut self, call: &Call<'_>, directory: i32, at: [usize; 3]) -> Answer {
        let [path, mode, device] = at;
        let mode = call.word(mode);
        let number = call.argument(device);
        let device = Device { major: libc::major(number), minor: libc::minor(number) };
        let node = match mode & libc::S_IFMT {
            libc::S_IFCHR => Node::Character(device),
            libc::S_IFBLK => Node::Block(device),
            _ => return Ok(Reply::Continue),
        };
        let path = call.text(call.argument(path), 4096)?;
        let (process, shown) = (call.process, self.shown);
        let named = Named { process, directory, path: &path, follow: false, shown };
        let (parent, name) = paths::open_parent(self.tree.as_fd(), named)?;
        let mode = mode & 0o7777 & !call.umask()?;
        call.check()?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o600))?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
        let inode = rustix::fs::fstat(&file)?.st_ino;
        self.record.entry(inode).node = Some(node);
        self.record.hold(inode, file);
        Ok(Reply::Value(0))
    }

    fn set_attribute(&mut self, call: &Call<'_>, place: &Place) -> Answer {
        let name = call.text(call.argument(1), 256)?;
        let size = usize::try_from(call.argument(3)).map_err(|_| Errno::TOOBIG)?;
        if size > LONGEST_VALUE {
            return Err(Errno::TOOBIG);
        }
        let value = call.bytes(call.argument(2), size)?;
        let Some(found) = self.find(call, place)? else { return Ok(Reply::Continue) };
        let inode = found.status.st_ino;
        let list = name.starts_with(b"system.posix_acl_");
        if !(is_privileged(&name) || list && acl::names_others(&value)) {
            if list && self.record.get(inode).is_some() {
                self.record.entry(inode).xattrs.remove(&name);
            }
            return Ok(Reply::Continue);
        }
        let exists = self.record.get(inode).is_some_and(|marks| marks.xattrs.contains_key(&name));
        match i32::try_from(call.word(4)) {
            Ok(libc::XATTR_CREATE) if exists => return Err(Errno::EXIST),
            Ok(libc::XATTR_REPLACE) if !exists => return Err(Errno::NODATA),
            _ => {}
        }
        call.check()?;
        if name == b"system.posix_acl_access"
            && let Some(bits) = acl::group_bits(&value)
        {
            found.set_group_bits(bits)?;
        }
        self.record.entry(inode).xattrs.insert(name, value);
        self.record.hold(inode, found.file);
        Ok(Reply::Value(0))
    }

    fn get_attribute(&mut self, call: &Call<'_>, place: &Place) -> Answer {
        let name = call.text(call.argument(1), 256)?;
        let Some(found) = self.find(call, place)? else { return Ok(Reply::Continue) };
        let Some(value) =
            self.record.get(found.status.st_ino).and_then(|marks| marks.xattrs.get(&name))
        else {
            return Ok(Reply::Continue);
        };
        let room = usize::try_from(call.argument(3)).unwrap_or(usize::MAX);
        if room != 0 && room < value.len() {
            return Err(Errno::RANGE);
        }
        if room != 0 {
            call.write(2, value)?;
        }
        Ok(Reply::Value(i64::try_from(value.len()).map_err(|_| Errno::TOOBIG)?))
    }

    fn remove_attribute(&mut self, call: &Call<'_>, place: &Place) -> Answer {
        let name = call.text(call.argument(1), 256)?;
        let Some(found) = self.find(call, place)? else { return Ok(Reply::Continue) };
        let inode = found.status.st_ino;
        let recorded = self.record.get(inode).is_some_and(|marks| marks.xattrs.contains_key(&name));
        if !recorded {
            return Ok(Reply::Continue);
        }
        call.check()?;
        self.record.entry(inode).xattrs.remove(&name);
        Ok(Reply::Value(0))
    }
}

/// Whether only a privileged process may set an attribute, wherever its user namespace is.
fn is_privileged(name: &[u8]) -> bool {
    name.starts_with(b"security.") || name.starts_with(b"trusted.")
}

fn in_kernels_words(node: Node) -> (u32, Device) {
    match node {
        Node::Character(device) => (libc::S_IFCHR, device),
        Node::Block(device) => (libc::S_IFBLK, device),
    }
}

type Answer = Result<Reply, Errno>;

/// Where a call's file is: a directory descriptor, the address of a path, how to read them.
struct Place {
    directory: i32,
    path: Option<u64>,
    follow: bool,
    empty_allowed: bool,
}

impl Place {
    const fn is_descriptor(&self) -> bool {
        self.path.is_none()
    }
}

/// A file of the tree.
struct Found {
    file: OwnedFd,
    status: libc::stat,
}

impl Found {
    /// A change of owner takes set-uid and set-gid from files that are not directories; see
    /// `chown(2)`.
    fn lose_privileges(&self) -> rustix::io::Result<()> {
        let mode = self.status.st_mode;
        let group_too = if mode & libc::S_IXGRP == 0 { 0 } else { libc::S_ISGID };
        let lost = mode & (libc::S_ISUID | group_too);
        if mode & libc::S_IFMT != libc::S_IFREG || lost == 0 {
            return Ok(());
        }
        self.set_mode(mode & 0o7777 & !lost)
    }

    fn set_group_bits(&self, bits: u16) -> rustix::io::Result<()> {
        self.set_mode(self.status.st_mode & 0o7707 | u32::from(bits) << 3)
    }

    fn set_mode(&self, mode: u32) -> rustix::io::Result<()> {
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        rustix::fs::chmod(path, Mode::from_raw_mode(mode))
    }
}

impl Call<'_> {
    fn argument(&self, index: usize) -> u64 {
        self.arguments.get(index).copied().unwrap_or_default()
    }

    /// The low half of an argument, which is all that the kernel reads of an `int`.
    #[expect(clippy::cast_possible_truncation, reason = "the kernel ignores the high half")]
    fn word(&self, index: usize) -> u32 {
        self.argument(index) as u32
    }

    fn integer(&self, index: usize) -> i32 {
        self.word(index).cast_signed()
    }

    /// Fails if the process is gone: then its number may be another's, and what was read of it is
    /// not the caller's. Called between reading and acting.
    fn check(&self) -> rustix::io::Result<()> {
        if (self.still_waits)() { Ok(()) } else { Err(Errno::SRCH) }
    }

    /// Writes to where an argument points.
    fn write(&self, index: usize, bytes: &[u8]) -> rustix::io::Result<()> {
        self.check()?;
        kernel::write_memory(self.process, self.argument(index), bytes)
    }

    fn descriptor(&self, index: usize) -> Place {
        let directory = self.integer(index);
        Place { directory, path: None, follow: true, empty_allowed: true }
    }

    fn path(&self, index: usize, follow: bool) -> Place {
        let (directory, path) = (libc::AT_FDCWD, Some(self.argument(index)));
        Place { directory, path, follow, empty_allowed: false }
    }

    fn at(&self, directory: usize, path: usize, flags: usize) -> Place {
        let flags = self.integer(flags);
        let empty_allowed = flags & libc::AT_EMPTY_PATH != 0;
        let directory = self.integer(directory);
        // Since Linux 6.11 a null pointer is an empty path.
        let path = Some(self.argument(path)).filter(|&address| address != 0 || !empty_allowed);
        let follow = flags & libc::AT_SYMLINK_NOFOLLOW == 0;
        Place { directory, path, follow, empty_allowed }
    }

    /// Reads a text that ends in NUL, of at most `longest` bytes.
    fn text(&self, address: u64, longest: usize) -> rustix::io::Result<Vec<u8>> {
        let mut text = Vec::new();
        while text.len() < longest {
            // Never across a page: the next one may not be there.
            let from = address.checked_add(text.len() as u64).ok_or(Errno::FAULT)?;
            let in_page = usize::try_from(4096 - from % 4096).unwrap_or(4096);
            let mut buffer = [0; 256];
            let (chunk, _) = buffer.split_at_mut(in_page.min(256));
            let count = kernel::read_memory(self.process, from, chunk)?;
            let read = chunk.get(..count).filter(|read| !read.is_empty()).ok_or(Errno::FAULT)?;
            let mut parts = read.split(|&byte| byte == 0);
            text.extend_from_slice(parts.next().unwrap_or_default());
            if parts.next().is_some() {
                return Ok(text);
            }
        }
        Err(Errno::NAMETOOLONG)
    }

    fn bytes(&self, address: u64, size: usize) -> rustix::io::Result<Vec<u8>> {
        let mut bytes = vec![0; size];
        if size > 0 && kernel::read_memory(self.process, address, &mut bytes)? != size {
            return Err(Errno::FAULT);
        }
        Ok(bytes)
    }

    /// The process's mask of permissions, from the `Umask` line of its status.
    fn umask(&self) -> rustix::io::Result<u32> {
        let path = format!("/proc/{}/status", self.process);
        let text = fs_err::read_to_string(path);
        let text = text.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Umask:"));
        let digits = line.ok_or(Errno::SRCH)?.trim();
        u32::from_str_radix(digits, 8).map_err(|_| Errno::SRCH)
    }
}
