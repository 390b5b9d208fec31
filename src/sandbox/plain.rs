//! A plain chroot in place of namespaces, for hosts that forbid those and where root asks for it.
//!
//! The filter of system calls, the record, the capabilities and the limits are the same. What is
//! missing: programs see the host's processes and network, there is no `/proc`, the tree lies on
//! disk, and only a well-behaved program is ended with certainty. That is why it is never chosen by
//! itself. The first half of this file runs in the child and does not allocate; the second half is
//! the parent's.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, makedev, openat};
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions};

use super::mounts::{DEVICE_LINKS, directory_below, path_only};
use super::step::{At, Failure, Step};
use super::{Error, advice};

/// Names and minor numbers (the major number is 1) of the devices that programs expect: see the
/// kernel's `admin-guide/devices.txt`.
const DEVICES: [(&CStr, u32); 5] =
    [(c"null", 3), (c"zero", 5), (c"full", 7), (c"random", 8), (c"urandom", 9)];

/// What the child holds of a plain chroot.
#[derive(Debug)]
pub(super) struct Plain {
    /// The directory that becomes `/`.
    pub(super) tree: OwnedFd,
    /// The host's `/proc`, by which we find what is left to be ended.
    pub(super) proc: OwnedFd,
}

/// The file of `/proc` that lists the caller's children: proc(5).
const CHILDREN: &CStr = c"thread-self/children";

/// Opens the directory, and becomes the process that orphans fall to.
pub(super) fn open(path: &CStr) -> Result<Plain, Failure> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).at(Step::Init)?;
    let flags = path_only() | OFlags::DIRECTORY;
    let tree = openat(CWD, path, flags, Mode::empty()).at(Step::Root)?;
    let proc = openat(CWD, c"/proc", flags, Mode::empty()).at(Step::Children)?;
    let read = OFlags::RDONLY | OFlags::CLOEXEC;
    openat(&proc, CHILDREN, read, Mode::empty()).at(Step::Children)?;
    Ok(Plain { tree, proc })
}

/// Makes the devices and the directory the root.
pub(super) fn enter(tree: BorrowedFd<'_>) -> Result<(), Failure> {
    let dev = directory_below(tree, c"dev").at(Step::DevPlace)?;
    let mode = Mode::from_raw_mode(0o666);
    for (name, minor) in DEVICES {
        let device = makedev(1, minor);
        rustix::fs::mknodat(&dev, name, FileType::CharacterDevice, mode, device).at(Step::Nodes)?;
        rustix::fs::chmodat(&dev, name, mode, AtFlags::empty()).at(Step::Nodes)?;
    }
    // A file system may be mounted so that its devices are dead.
    openat(&dev, c"null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).at(Step::Nodes)?;
    for (target, name) in DEVICE_LINKS {
        rustix::fs::symlinkat(target, &dev, name).at(Step::Nodes)?;
    }
    rustix::fs::mkdirat(&dev, c"shm", Mode::from_raw_mode(0o1777)).at(Step::Nodes)?;
    rustix::fs::mkdirat(&dev, c"pts", Mode::from_raw_mode(0o755)).at(Step::Nodes)?;
    rustix::process::fchdir(tree).at(Step::Root)?;
    rustix::process::chroot(c".").at(Step::Root)?;
    rustix::process::chdir(c"/").at(Step::Root)
}

/// How often is looked for what is left: far more often than processes take to die.
const ROUNDS: u32 = 10_000;

/// Kills everything that descends from us. Orphans become our children, and are found next time.
pub(super) fn end_all_others(proc: BorrowedFd<'_>) {
    for _ in 0..ROUNDS {
        let mut buffer = [0; 4096];
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let listed = openat(proc, CHILDREN, flags, Mode::empty())
            .and_then(|file| rustix::io::read(&file, &mut buffer))
            .unwrap_or(0);
        kill_all(buffer.get(..listed).unwrap_or_default());
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
        let pause = rustix::fs::Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
        // Woken early, we look again early.
        let _rest = rustix::thread::nanosleep(&pause);
    }
}

/// Kills the processes of a list. A number without a blank behind it was cut off.
fn kill_all(list: &[u8]) {
    let mut number: i32 = 0;
    for &byte in list {
        if byte.is_ascii_digit() {
            number = number.saturating_mul(10).saturating_add(i32::from(byte - b'0'));
            continue;
        }
        if let Some(process) = Pid::from_raw(number) {
            // It may be gone already, but was not waited for: nobody else has its number.
            let _gone = rustix::process::kill_process(process, Signal::KILL);
        }
        number = 0;
    }
}

/// The parent's side: a folder with the tree in it, and with the tree's own `/dev` aside.
#[derive(Debug)]
pub(super) struct Place {
    folder: OwnedFd,
    tree: CString,
}

/// The directory that holds the tree.
const TREE: &CStr = c"tree";
/// Where the tree's `/dev` waits while programs see another one, and where that ends up.
const OWN_DEV: &CStr = c"own-dev";
const USED_DEV: &CStr = c"used-dev";

impl Place {
    /// Prepares an empty folder that nobody else may enter.
    pub(super) fn make(folder: &Path) -> Result<Self, Error> {
        if !rustix::process::geteuid().is_root() {
            return Err(Error::NotRoot);
        }
        raise_descriptors();
        let path = fs_err::canonicalize(folder).map_err(Error::Control)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(&path, flags, Mode::empty())?;
        rustix::fs::mkdirat(&folder, TREE, Mode::from_raw_mode(0o755))?;
        let tree = [path.as_os_str().as_bytes(), b"/tree"].concat();
        let tree = CString::new(tree).map_err(|_| Error::from(Errno::INVAL))?;
        Ok(Self { folder, tree })
    }

    /// The path of the tree's directory.
    pub(super) fn tree(&self) -> &CStr {
        &self.tree
    }

    /// Puts an empty directory in the place of the tree's `/dev`.
    pub(super) fn put_dev_aside(&self, tree: &OwnedFd) -> Result<(), Error> {
        let dev = rustix::fs::statat(tree, c"dev", AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(dev.st_mode) != FileType::Directory {
            let (step, errno) = (Step::DevPlace, Errno::NOTDIR);
            let advice = advice::for_this_host(step, errno.raw_os_error());
            return Err(Error::Forbidden { step, advice, source: errno.into() });
        }
        rustix::fs::renameat(tree, c"dev", &self.folder, OWN_DEV)?;
        Ok(rustix::fs::mkdirat(tree, c"dev", Mode::from_raw_mode(0o755))?)
    }

    /// Puts it back, when every program has ended.
    pub(super) fn put_dev_back(&self, tree: &OwnedFd) -> Result<(), Error> {
        rustix::fs::renameat(tree, c"dev", &self.folder, USED_DEV)?;
        Ok(rustix::fs::renameat(&self.folder, OWN_DEV, tree, c"dev")?)
    }
}

/// Recorded files are held open on disk; see `record`. What is not granted is missed later, by name.
fn raise_descriptors() {
    let Rlimit { maximum, .. } = rustix::process::getrlimit(Resource::Nofile);
    let limit = Rlimit { current: maximum, maximum };
    let _granted = rustix::process::setrlimit(Resource::Nofile, limit);
}

/// The path that `/proc` shows for the tree's directory: programs in it show paths below that.
pub(super) fn path_shown(tree: &OwnedFd) -> rustix::io::Result<Vec<u8>> {
    use std::os::fd::AsRawFd;
    let link = format!("/proc/self/fd/{}", tree.as_fd().as_raw_fd());
    Ok(rustix::fs::readlinkat(CWD, link, Vec::new())?.into_bytes())
}
