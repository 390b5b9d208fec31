//! What an ordinary user cannot make on disk, kept in memory: owners, devices, attributes.
//!
//! The key is the inode's number. The file system under the sandbox is one tmpfs of its own, which
//! never uses a number twice; so an entry whose file is gone does no harm. On disk, for a plain
//! chroot, numbers are used again: there every recorded file is held open, so that it keeps its own.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use crate::tree::Device;

/// What a file has beyond what the disk says of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Marks {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// The device that a placeholder stands for.
    pub node: Option<Node>,
    /// Extended attributes that only privileged processes may set, or that name other users.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// A character device.
    Character(Device),
    /// A block device.
    Block(Device),
}

/// The marks of all files that have any, by inode number.
#[derive(Debug, Default)]
pub struct Record {
    marks: BTreeMap<u64, Marks>,
    /// The recorded files, where that keeps their numbers from being used again.
    held: Option<BTreeMap<u64, OwnedFd>>,
}

impl Record {
    /// A record for a file system that uses the numbers of removed files again.
    pub(super) fn holding() -> Self {
        Self { held: Some(BTreeMap::new()), ..Self::default() }
    }

    /// Takes note of the file that an entry is about.
    pub(super) fn hold(&mut self, inode: u64, file: OwnedFd) {
        if let Some(held) = &mut self.held {
            held.entry(inode).or_insert(file);
        }
    }

    /// The marks of an inode, if it has any.
    pub fn get(&self, inode: u64) -> Option<&Marks> {
        self.marks.get(&inode)
    }

    /// The marks of an inode, to be changed; a new entry is owned by root.
    pub fn entry(&mut self, inode: u64) -> &mut Marks {
        self.marks.entry(inode).or_default()
    }
}
