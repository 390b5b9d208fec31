//! One file of a tree: what every kind of file has, and what its own kind adds.

use std::collections::BTreeMap;

use super::{Content, InodeId};

/// One file of any kind, whatever names lead to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inode {
    /// Owner, mode, time, attributes.
    pub meta: Meta,
    /// What it is, with what belongs to that.
    pub kind: Kind,
}

/// What every kind of file has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits with set-uid, set-gid and sticky: at most `0o7777`.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last modification, in whole seconds since 1970.
    pub mtime: i64,
    /// Extended attributes by full name (`security.capability`).
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Meta {
    /// Owned by root, modified in 1970, no attributes.
    pub const fn root(mode: u16) -> Self {
        Self { mode, uid: 0, gid: 0, mtime: 0, xattrs: BTreeMap::new() }
    }
}

/// The kinds of file that Linux knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A directory, its entries sorted by name.
    Directory(BTreeMap<Box<[u8]>, InodeId>),
    /// A regular file.
    Regular(Content),
    /// A symbolic link and its target, as it is written.
    Symlink(Box<[u8]>),
    /// A character device.
    CharacterDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
}

/// The number of a device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Major number: the driver.
    pub major: u32,
    /// Minor number: the instance.
    pub minor: u32,
}
