//! The headers of a group, a sector each: free space, inodes, and the list of blocks kept ready for
//! its trees.
//!
//! Specification: Linux, `fs/xfs/libxfs/xfs_format.h` (`struct xfs_agf`, `xfs_agi`, `xfs_agfl`).

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use super::format::{NULL, SECTOR, be32, field, is_sealed, magic, put, seal};

const FREE_SPACE_CHECKSUM_AT: usize = 216;
const INODES_CHECKSUM_AT: usize = 312;
const FREE_LIST_CHECKSUM_AT: usize = 32;
/// Where the list of blocks begins, and how many it holds.
const LIST_AT: usize = 36;
pub(super) const LIST_CAPACITY: u32 = 119;

/// The root of a tree and its levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Root {
    pub(super) block: u32,
    pub(super) levels: u32,
}

/// What a group has of free space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FreeSpace {
    pub(super) group: u32,
    pub(super) length: u32,
    pub(super) by_block: Root,
    pub(super) by_count: Root,
    /// The list of ready blocks: its first and last slot, and how many are in use.
    pub(super) list: (u32, u32, u32),
    pub(super) free: u32,
    pub(super) longest: u32,
    /// Blocks of both trees beside their roots.
    pub(super) tree_blocks: u32,
    pub(super) uuid: [u8; 16],
}

fn put_words(bytes: &mut [u8], words: &[(usize, u32)]) {
    for (at, value) in words {
        put(bytes, *at, value.to_be_bytes());
    }
}

impl FreeSpace {
    pub(super) fn encode(&self) -> [u8; SECTOR] {
        let mut bytes = [0; SECTOR];
        put(&mut bytes, 0, magic::FREE_SPACE);
        let (first, last, count) = self.list;
        put_words(
            &mut bytes,
            &[
                (4, 1),
                (8, self.group),
                (12, self.length),
                (16, self.by_block.block),
                (20, self.by_count.block),
                (28, self.by_block.levels),
                (32, self.by_count.levels),
                (40, first),
                (44, last),
                (48, count),
                (52, self.free),
                (56, self.longest),
                (60, self.tree_blocks),
            ],
        );
        put(&mut bytes, 64, self.uuid);
        seal(&mut bytes, FREE_SPACE_CHECKSUM_AT);
        bytes
    }

    /// Reads the sector; `None` when magic number, version or checksum are wrong.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let word = |at| be32(bytes, at);
        let is_right = field(bytes, 0) == Some(magic::FREE_SPACE)
            && word(4) == Some(1)
            && is_sealed(bytes, FREE_SPACE_CHECKSUM_AT);
        if !is_right {
            return None;
        }
        Some(Self {
            group: word(8)?,
            length: word(12)?,
            by_block: Root { block: word(16)?, levels: word(28)? },
            by_count: Root { block: word(20)?, levels: word(32)? },
            list: (word(40)?, word(44)?, word(48)?),
            free: word(52)?,
            longest: word(56)?,
            tree_blocks: word(60)?,
            uuid: field(bytes, 64)?,
        })
    }
}

/// What a group has of inodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Inodes {
    pub(super) group: u32,
    pub(super) length: u32,
    pub(super) count: u32,
    pub(super) free: u32,
    pub(super) tree: Root,
    pub(super) free_tree: Root,
    /// The chunk that was made last, or [`NULL`].
    pub(super) newest: u32,
    pub(super) uuid: [u8; 16],
}

impl Inodes {
    pub(super) fn encode(&self) -> [u8; SECTOR] {
        let mut bytes = [0; SECTOR];
        put(&mut bytes, 0, magic::INODES);
        put_words(
            &mut bytes,
            &[
                (4, 1),
                (8, self.group),
                (12, self.length),
                (16, self.count),
                (20, self.tree.block),
                (24, self.tree.levels),
                (28, self.free),
                (32, self.newest),
                (36, NULL),
                (328, self.free_tree.block),
                (332, self.free_tree.levels),
            ],
        );
        // No inode was unlinked while it was open.
        put(&mut bytes, 40, [0xFF; 256]);
        put(&mut bytes, 296, self.uuid);
        seal(&mut bytes, INODES_CHECKSUM_AT);
        bytes
    }

    /// Reads the sector; `None` when magic number, version or checksum are wrong, or inodes wait to
    /// be removed.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let word = |at| be32(bytes, at);
        let is_right = field(bytes, 0) == Some(magic::INODES)
            && word(4) == Some(1)
            && field(bytes, 40) == Some([0xFF; 256])
            && is_sealed(bytes, INODES_CHECKSUM_AT);
        if !is_right {
            return None;
        }
        Some(Self {
            group: word(8)?,
            length: word(12)?,
            count: word(16)?,
            free: word(28)?,
            tree: Root { block: word(20)?, levels: word(24)? },
            free_tree: Root { block: word(328)?, levels: word(332)? },
            newest: word(32)?,
            uuid: field(bytes, 296)?,
        })
    }
}

/// The list of blocks that are kept ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FreeList {
    pub(super) group: u32,
    /// From the first slot on.
    pub(super) blocks: Vec<u32>,
    pub(super) uuid: [u8; 16],
}

impl FreeList {
    pub(super) fn encode(&self) -> [u8; SECTOR] {
        let mut bytes = [0xFF; SECTOR];
        put(&mut bytes, 0, magic::FREE_LIST);
        put(&mut bytes, 4, self.group.to_be_bytes());
        put(&mut bytes, 8, self.uuid);
        put(&mut bytes, 24, [0; 12]);
        for (slot, block) in self.blocks.iter().enumerate() {
            let at = slot.saturating_mul(4).saturating_add(LIST_AT);
            put(&mut bytes, at, block.to_be_bytes());
        }
        seal(&mut bytes, FREE_LIST_CHECKSUM_AT);
        bytes
    }

    /// Reads the sector, as the list's header in [`FreeSpace`] says; `None` when something is wrong.
    pub(super) fn decode(bytes: &[u8], (first, _, count): (u32, u32, u32)) -> Option<Self> {
        let is_right = field(bytes, 0) == Some(magic::FREE_LIST)
            && is_sealed(bytes, FREE_LIST_CHECKSUM_AT)
            && first < LIST_CAPACITY
            && count <= LIST_CAPACITY;
        if !is_right {
            return None;
        }
        let slot = |index: u32| {
            let slot = first.checked_add(index)?.checked_rem(LIST_CAPACITY)?;
            be32(bytes, usize::try_from(slot).ok()?.checked_mul(4)?.checked_add(LIST_AT)?)
        };
        let blocks = (0..count).map(slot).collect::<Option<_>>()?;
        Some(Self { group: be32(bytes, 4)?, blocks, uuid: field(bytes, 8)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_read_back_are_the_same_and_damage_is_noticed() {
        let root = |block| Root { block, levels: 1 };
        let space = FreeSpace {
            group: 1,
            length: 2,
            by_block: root(3),
            by_count: root(4),
            list: (0, 3, 4),
            free: 5,
            longest: 6,
            tree_blocks: 0,
            uuid: [7; 16],
        };
        let (count, free, newest) = (64, 3, 96);
        let (tree, free_tree) = (root(3), root(4));
        let inodes =
            Inodes { group: 1, length: 2, count, free, tree, free_tree, newest, uuid: [7; 16] };
        let list = FreeList { group: 1, blocks: vec![5, 6, 7, 8], uuid: [7; 16] };
        assert_eq!(FreeSpace::decode(&space.encode()), Some(space.clone()));
        assert_eq!(Inodes::decode(&inodes.encode()), Some(inodes.clone()));
        assert_eq!(FreeList::decode(&list.encode(), space.list), Some(list.clone()));
        let damaged = |mut bytes: [u8; SECTOR]| {
            bytes[20] ^= 1;
            bytes
        };
        assert_eq!(FreeSpace::decode(&damaged(space.encode())), None);
        assert_eq!(Inodes::decode(&damaged(inodes.encode())), None);
        assert_eq!(FreeList::decode(&damaged(list.encode()), space.list), None);
    }
}
