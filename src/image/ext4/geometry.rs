//! What follows from the size of a file system alone: its groups, and what each must carry.
//!
//! ```text
//! group 0: [superblock][descriptors] block bitmaps, inode bitmaps, inode tables of all groups, data
//! group 1: [superblock][descriptors] data        (copies in groups 1 and powers of 3, 5, 7)
//! group 2: data …
//! ```
//!
//! `flex_bg` lets all tables stand together at the front. Specification:
//! <https://docs.kernel.org/filesystems/ext4/overview.html#layout>.

use super::format::{DESCRIPTOR_SIZE, INODE_SIZE};
use crate::image::blocks::Run;

/// Block numbers have 32 bits, since we do without the `64bit` feature.
pub(super) const BLOCKS_MAX: u64 = u32::MAX as u64;
/// A last group with fewer blocks than this beside its copies is left out, as mke2fs does.
const LAST_GROUP_MIN: u64 = 50;

/// The sizes and counts of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    /// Bytes of a block: 1024, 2048 or 4096.
    pub(super) block_size: u64,
    /// Blocks in all, with those before the first group.
    pub(super) blocks: u64,
    /// Number of groups.
    pub(super) groups: u64,
    /// Inodes of each group.
    pub(super) inodes_per_group: u64,
}

impl Geometry {
    /// Divides at most `blocks` blocks into groups, with `inodes` inodes or a few more. `None`
    /// when that many blocks cannot hold the tables of that many inodes.
    pub(super) fn new(block_size: u64, blocks: u64, inodes: u64) -> Option<Self> {
        let first = first_data_block(block_size);
        let per_group = 8 * block_size;
        let whole = Self { block_size, blocks, groups: 0, inodes_per_group: 0 };
        let groups = blocks.checked_sub(first)?.div_ceil(per_group);
        let mut fitted = Self { groups, ..whole };
        let last = groups.checked_sub(1)?;
        let fixed = if has_backup(last) { 1 + fitted.descriptor_blocks() } else { 0 };
        if last > 0 && fitted.group_length(last) < fixed + LAST_GROUP_MIN {
            fitted = Self { groups: last, blocks: first + last * per_group, ..whole };
        }
        // Whole blocks of the table, and whole bytes of the bitmap.
        let step = (block_size / INODE_SIZE as u64).max(8);
        let inodes_per_group = inodes.div_ceil(fitted.groups).next_multiple_of(step);
        (inodes_per_group <= per_group).then_some(Self { inodes_per_group, ..fitted })
    }

    /// The block after which groups begin: with blocks of 1024 bytes the superblock is block 1.
    pub(super) fn first_data_block(&self) -> u64 {
        first_data_block(self.block_size)
    }

    /// Blocks of every group but the last: one bitmap block has a bit for each.
    pub(super) fn blocks_per_group(&self) -> u64 {
        8 * self.block_size
    }

    /// The first block of a group.
    pub(super) fn group_start(&self, group: u64) -> u64 {
        self.first_data_block() + group * self.blocks_per_group()
    }

    /// Blocks of a group.
    pub(super) fn group_length(&self, group: u64) -> u64 {
        self.blocks_per_group().min(self.blocks - self.group_start(group))
    }

    /// Blocks of the table of descriptors.
    pub(super) fn descriptor_blocks(&self) -> u64 {
        (self.groups * DESCRIPTOR_SIZE as u64).div_ceil(self.block_size)
    }

    /// Blocks of one group's inode table.
    pub(super) fn table_blocks(&self) -> u64 {
        self.inodes_per_group * INODE_SIZE as u64 / self.block_size
    }

    /// Inodes in all.
    pub(super) fn inodes(&self) -> u64 {
        self.groups * self.inodes_per_group
    }

    /// The superblock and descriptors in a group, if it has them.
    pub(super) fn fixed(&self, group: u64) -> Option<Run> {
        let count = 1 + self.descriptor_blocks();
        has_backup(group).then(|| Run { start: self.group_start(group), count })
    }
}

fn first_data_block(block_size: u64) -> u64 {
    u64::from(block_size == 1024)
}

/// Whether a group carries a copy of the superblock under `sparse_super`.
pub(super) fn has_backup(group: u64) -> bool {
    let is_power = |base: u64| {
        let mut power = base;
        while power < group {
            power = power.saturating_mul(base);
        }
        power == group
    };
    group <= 1 || [3, 5, 7].into_iter().any(is_power)
}

/// Gives out blocks from front to back, around the copies of the superblock.
///
/// It knows no end: a plan that needs more blocks than there are says how many.
#[derive(Debug, Clone)]
pub(super) struct Cursor {
    geometry: Geometry,
    next: u64,
    /// Blocks passed over because a table did not fit before a copy of the superblock.
    pub(super) gaps: Vec<Run>,
}

impl Cursor {
    /// Begins at the start of the first group.
    pub(super) fn new(geometry: Geometry) -> Self {
        Self { geometry, next: geometry.first_data_block(), gaps: Vec::new() }
    }

    /// The first block that was not given out.
    pub(super) fn end(&self) -> u64 {
        self.next
    }

    /// Takes `count` blocks in as few runs as the copies allow.
    pub(super) fn take(&mut self, count: u64) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        let mut left = count;
        while left > 0 {
            self.skip_copies();
            let count = left.min(self.free_before_copy());
            runs.push(Run { start: self.next, count });
            self.next += count;
            left -= count;
        }
        runs
    }

    /// Takes one block.
    pub(super) fn take_one(&mut self) -> u64 {
        self.take_together(1)
    }

    /// Takes `count` blocks that are neighbours and returns the first. `count` must be less than
    /// the blocks of a group beside its copies.
    pub(super) fn take_together(&mut self, count: u64) -> u64 {
        self.skip_copies();
        let free = self.free_before_copy();
        if free < count {
            self.gaps.push(Run { start: self.next, count: free });
            self.next += free;
            self.skip_copies();
        }
        let start = self.next;
        self.next += count;
        start
    }

    fn skip_copies(&mut self) {
        let group = self.group();
        if let Some(fixed) = self.geometry.fixed(group)
            && self.next < fixed.start + fixed.count
        {
            self.next = fixed.start + fixed.count;
        }
    }

    fn group(&self) -> u64 {
        (self.next - self.geometry.first_data_block()) / self.geometry.blocks_per_group()
    }

    /// Blocks until the next copy of the superblock, seen from a block that is in none.
    fn free_before_copy(&self) -> u64 {
        let mut group = self.group() + 1;
        while !has_backup(group) {
            group += 1;
        }
        self.geometry.group_start(group) - self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_stand_in_powers_of_three_five_and_seven() {
        let groups: Vec<_> = (0..130).filter(|&group| has_backup(group)).collect();
        assert_eq!(groups, [0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125]);
    }

    #[test]
    fn sizes_are_those_of_mke2fs() {
        let geometry = Geometry::new(4096, 65_536, 16_384).unwrap();
        assert_eq!((geometry.groups, geometry.inodes_per_group), (2, 8192));
        assert_eq!((geometry.table_blocks(), geometry.descriptor_blocks()), (512, 1));
        let small = Geometry::new(1024, 8193 + 20, 100).unwrap();
        assert_eq!((small.groups, small.blocks), (1, 8193));
        assert_eq!(Geometry::new(4096, 1000, 32_769), None);
        assert_eq!(Geometry::new(1024, 1, 8), None);
    }

    #[test]
    fn blocks_are_given_out_around_the_copies() {
        let geometry = Geometry::new(1024, 100_000, 100).unwrap();
        let mut cursor = Cursor::new(geometry);
        assert_eq!(cursor.take_one(), 1 + 2);
        let runs = cursor.take(10_000);
        assert_eq!(runs[0], Run { start: 4, count: 8193 - 4 });
        assert_eq!(runs[1], Run { start: 8193 + 2, count: 10_000 - (8193 - 4) });
        let start = cursor.take_together(15_000);
        assert_eq!(start, geometry.group_start(3) + 2);
        assert_eq!(cursor.gaps.len(), 1);
    }
}
