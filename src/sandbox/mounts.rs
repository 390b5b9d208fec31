//! What a script sees: the tree as root, a fresh `/proc`, a small `/dev`, nothing else.
//!
//! Runs in the new namespaces, before any program of the tree. Every mount point is opened below
//! the tree's root without following links, and mounted on by descriptor: a tree whose `/proc` or
//! `/dev` leads elsewhere is refused (CVE-2025-52881 and its kin). Nothing here allocates; see
//! `mount(2)`, `fsopen(2)`, `move_mount(2)`, `open_tree(2)`, `pivot_root(2)`.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
    mount_change, move_mount, open_tree, unmount,
};

use super::emulator::{self, Emulator};
use super::step::{At, Failure, Step};

/// Device nodes that are shown. None gives access to a thing of the host.
const DEVICES: [&CStr; 5] = [c"null", c"zero", c"full", c"random", c"urandom"];
/// Links in `/dev`, as in every Linux system.
pub(super) const DEVICE_LINKS: [(&CStr, &CStr); 4] = [
    (c"/proc/self/fd", c"fd"),
    (c"/proc/self/fd/0", c"stdin"),
    (c"/proc/self/fd/1", c"stdout"),
    (c"/proc/self/fd/2", c"stderr"),
];
/// Files of `/proc` that tell of the host, or act on it.
const MASKED_FILES: [&CStr; 7] =
    [c"kcore", c"keys", c"key-users", c"kmsg", c"sysrq-trigger", c"timer_list", c"sched_debug"];
/// Directories of `/proc` likewise.
const MASKED_DIRECTORIES: [&CStr; 2] = [c"acpi", c"scsi"];

/// The tree's own file system.
#[derive(Debug)]
pub(super) struct Root {
    /// The mount that becomes `/`.
    pub(super) mount: OwnedFd,
    /// The same file system without what is mounted in it: for writing the tree and reading it.
    pub(super) bare: OwnedFd,
    /// The formats of programs that this namespace's kernel knows besides its own.
    formats: Option<OwnedFd>,
}

/// Detaches us from the host's mounts and makes an empty file system for the tree.
pub(super) fn make_root(
    size: &CStr,
    inodes: &CStr,
    emulator: Option<&Emulator>,
) -> Result<Root, Failure> {
    let everything = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change(c"/", everything).at(Step::Propagation)?;
    let options = [(c"size", size), (c"nr_inodes", inodes), (c"mode", c"0755")];
    let mount = file_system(c"tmpfs", &options, MountAttrFlags::empty()).at(Step::Memory)?;
    // A place to hang it up. Any directory does: it is covered in our own namespace only.
    let place = if rustix::fs::access(c"/tmp", rustix::fs::Access::EXISTS).is_ok() {
        c"/tmp"
    } else {
        c"/proc"
    };
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(&mount, c"", CWD, place, flags).at(Step::Memory)?;
    let bare = copy_of_mount(mount.as_fd()).at(Step::Memory)?;
    let formats = emulator.map(emulator::register).transpose().at(Step::Emulator)?;
    Ok(Root { mount, bare, formats })
}

/// Mounts `/proc` and `/dev`, makes the tree the root and lets go of the host's.
pub(super) fn enter(root: &Root, processes: &CStr) -> Result<(), Failure> {
    let here = root.mount.as_fd();
    let proc = directory_below(here, c"proc").at(Step::ProcPlace)?;
    let dev = directory_below(here, c"dev").at(Step::DevPlace)?;
    let devices = open_devices()?;
    mount_dev(dev.as_fd(), here, &devices)?;
    mount_proc(proc.as_fd(), here, devices[0].as_fd(), processes)?;
    if let Some(formats) = &root.formats {
        // Where it usually is. What is registered there lives as long as it is mounted.
        let proc = directory_below(here, c"proc").at(Step::Emulator)?;
        let flags = path_only() | OFlags::DIRECTORY;
        let place = openat2(&proc, c"sys/fs/binfmt_misc", flags, Mode::empty(), below());
        attach(formats.as_fd(), place.at(Step::Emulator)?.as_fd()).at(Step::Emulator)?;
    }
    rustix::process::fchdir(here).at(Step::Pivot)?;
    rustix::process::pivot_root(c".", c".").at(Step::Pivot)?;
    unmount(c".", UnmountFlags::DETACH).at(Step::Pivot)?;
    rustix::process::chdir(c"/").at(Step::Pivot)
}

fn mount_proc(
    place: BorrowedFd<'_>,
    root: BorrowedFd<'_>,
    null: BorrowedFd<'_>,
    processes: &CStr,
) -> Result<(), Failure> {
    let proc = file_system(c"proc", &[], MountAttrFlags::MOUNT_ATTR_RDONLY).at(Step::Proc)?;
    limit_processes(processes);
    attach(proc.as_fd(), place).at(Step::Proc)?;
    let proc = directory_below(root, c"proc").at(Step::Proc)?;
    for name in MASKED_FILES {
        if let Ok(target) = openat2(&proc, name, path_only(), Mode::empty(), below()) {
            let mask = copy_of_mount(null).at(Step::Mask)?;
            attach(mask.as_fd(), target.as_fd()).at(Step::Mask)?;
        }
    }
    for name in MASKED_DIRECTORIES {
        if let Ok(target) = directory_below(proc.as_fd(), name) {
            let empty = file_system(c"tmpfs", &[], MountAttrFlags::MOUNT_ATTR_RDONLY);
            attach(empty.at(Step::Mask)?.as_fd(), target.as_fd()).at(Step::Mask)?;
        }
    }
    Ok(())
}

/// Since Linux 6.14 every process namespace has its own highest process number: a limit that
/// also holds where the caller is root. Older kernels refuse, and other limits remain.
fn limit_processes(highest: &CStr) {
    let Ok(proc) = file_system(c"proc", &[], MountAttrFlags::empty()) else { return };
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    if let Ok(file) = rustix::fs::openat(&proc, c"sys/kernel/pid_max", flags, Mode::empty()) {
        // A refusal is as good as a kernel that does not know the setting.
        let _refused = rustix::io::write(&file, highest.to_bytes());
    }
}

/// Opens the host's harmless devices, to be copied as mounts.
fn open_devices() -> Result<[OwnedFd; DEVICES.len()], Failure> {
    let directory = path_only() | OFlags::DIRECTORY;
    let dev = rustix::fs::open(c"/dev", directory, Mode::empty()).at(Step::Devices)?;
    let open = |name| openat2(&dev, name, path_only(), Mode::empty(), below()).at(Step::Devices);
    let [null, zero, full, random, urandom] = DEVICES;
    Ok([open(null)?, open(zero)?, open(full)?, open(random)?, open(urandom)?])
}

fn mount_dev(
    place: BorrowedFd<'_>,
    root: BorrowedFd<'_>,
    devices: &[OwnedFd; DEVICES.len()],
) -> Result<(), Failure> {
    let options = [(c"size", c"1m"), (c"nr_inodes", c"1000"), (c"mode", c"0755")];
    let tmpfs = file_system(c"tmpfs", &options, MountAttrFlags::empty()).at(Step::Dev)?;
    attach(tmpfs.as_fd(), place).at(Step::Dev)?;
    let dev = directory_below(root, c"dev").at(Step::Dev)?;
    for (name, device) in DEVICES.iter().zip(devices) {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDONLY | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o666);
        let target = openat2(&dev, *name, flags, mode, below()).at(Step::Dev)?;
        let mount = copy_of_mount(device.as_fd()).at(Step::Devices)?;
        attach(mount.as_fd(), target.as_fd()).at(Step::Dev)?;
    }
    for (target, name) in DEVICE_LINKS {
        rustix::fs::symlinkat(target, &dev, name).at(Step::Dev)?;
    }
    rustix::fs::mkdirat(&dev, c"shm", Mode::from_raw_mode(0o1777)).at(Step::Dev)?;
    rustix::fs::mkdirat(&dev, c"pts", Mode::from_raw_mode(0o755)).at(Step::Dev)
}

/// Makes a file system that is mounted nowhere yet.
pub(super) fn file_system(
    kind: &CStr,
    options: &[(&CStr, &CStr)],
    attributes: MountAttrFlags,
) -> rustix::io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (name, value) in options {
        fsconfig_set_string(context.as_fd(), *name, *value)?;
    }
    fsconfig_create(context.as_fd())?;
    let fixed = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, fixed | attributes)
}

/// Copies the mount of what a descriptor names, without what is mounted inside it.
fn copy_of_mount(of: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(of, c"", flags | OpenTreeFlags::AT_EMPTY_PATH)
}

fn attach(mount: BorrowedFd<'_>, place: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let both = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, c"", place, c"", both)
}

/// Opens a directory right below another one, following no link.
pub(super) fn directory_below(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<OwnedFd> {
    openat2(parent, name, path_only() | OFlags::DIRECTORY, Mode::empty(), below())
}

pub(super) const fn path_only() -> OFlags {
    OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC)
}

const fn below() -> ResolveFlags {
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS)
}
