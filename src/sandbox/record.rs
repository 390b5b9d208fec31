//! What an ordinary user cannot make on disk, kept in memory: owners, devices, attributes.
//!
//! The key is the inode's number. The file system under the sandbox is one tmpfs of its own, which
//! never uses a number twice; so an entry whose file is gone does no harm.

use std::collections::BTreeMap;

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
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    marks: BTreeMap<u64, Marks>,
}

impl Record {
    /// The marks of an inode, if it has any.
    pub fn get(&self, inode: u64) -> Option<&Marks> {
        self.marks.get(&inode)
    }

    /// The marks of an inode, to be changed; a new entry is owned by root.
    pub fn entry(&mut self, inode: u64) -> &mut Marks {
        self.marks.entry(inode).or_default()
    }
}
