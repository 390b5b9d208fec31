//! What follows from the size of a file system alone: its groups, its log, and how blocks and
//! inodes are numbered.
//!
//! Within this room a block has its plain number, counted from the first. On disk the number of a
//! block is that of its group, shifted by as many bits as blocks within a group need, and its number
//! in the group; an inode's number has three more bits.
//!
//! ```text
//! each group: headers, roots of four trees, free list; then in group 2 the log; then all the rest
//! ```

use super::format::{BLOCK_SIZE, CHUNK_BLOCKS, EXTENT_MAX, INODES_PER_BLOCK};
use crate::image::blocks::Run;

/// As many groups as mkfs.xfs makes of all but the smallest and largest disks.
pub(super) const GROUPS: u64 = 4;
/// Blocks of a group at least: what mkfs.xfs refuses to go below.
const GROUP_MIN: u64 = (16 << 20) / BLOCK_SIZE;
/// Blocks of a group at most: then the numbers of inodes have 32 bits.
const GROUP_MAX: u64 = 1 << 27;
/// The smallest file system, in blocks.
pub(super) const BLOCKS_MIN: u64 = GROUPS * GROUP_MIN;
/// The largest, in blocks.
pub(super) const BLOCKS_MAX: u64 = GROUPS * GROUP_MAX;
/// Blocks of the log: what mkfs.xfs takes for the least that is sensible, and more than the kernel
/// insists on for any size up to the largest. Nothing is ever written to it.
pub(super) const LOG_BLOCKS: u64 = (10 << 20) / BLOCK_SIZE;
/// The group with the log.
pub(super) const LOG_GROUP: u64 = 2;
/// Places within a group, in blocks.
pub(super) const BY_BLOCK_AT: u64 = 1;
pub(super) const BY_COUNT_AT: u64 = 2;
pub(super) const INODE_TREE_AT: u64 = 3;
pub(super) const FREE_INODE_TREE_AT: u64 = 4;
pub(super) const FREE_LIST_AT: u64 = 5;
/// Blocks that trees of free space may take without asking: two levels of two trees.
pub(super) const FREE_LIST_COUNT: u64 = 4;
/// What every group begins with.
const FIXED_BLOCKS: u64 = FREE_LIST_AT + FREE_LIST_COUNT;
/// Chunks of inodes begin at multiples of this many blocks. xfs_repair expects the root's chunk at
/// the first such place of the first group.
pub(super) const CHUNK_ALIGNMENT: u64 = 4;

/// The groups of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    /// Blocks in all.
    pub(super) blocks: u64,
    /// Blocks of each group but the last.
    pub(super) group_blocks: u64,
    pub(super) groups: u64,
}

impl Geometry {
    /// Divides `blocks` blocks into groups; `None` when they are too few or too many.
    pub(super) fn new(blocks: u64) -> Option<Self> {
        let fits = (BLOCKS_MIN..=BLOCKS_MAX).contains(&blocks);
        fits.then(|| Self { blocks, group_blocks: blocks.div_ceil(GROUPS), groups: GROUPS })
    }

    /// Bits that the number of a block within its group has.
    pub(super) fn group_bits(&self) -> u32 {
        self.group_blocks.saturating_sub(1).checked_ilog2().map_or(0, |log| log.saturating_add(1))
    }

    pub(super) fn group_start(&self, group: u64) -> u64 {
        self.group_blocks.saturating_mul(group)
    }

    pub(super) fn group_length(&self, group: u64) -> u64 {
        self.group_blocks.min(self.blocks.saturating_sub(self.group_start(group)))
    }

    /// The group of a block, and its number there.
    pub(super) fn in_group(&self, block: u64) -> (u64, u64) {
        let group = block.checked_div(self.group_blocks).unwrap_or_default();
        (group, block.saturating_sub(self.group_start(group)))
    }

    /// The number of a block on disk.
    pub(super) fn to_disk(self, block: u64) -> u64 {
        let (group, within) = self.in_group(block);
        group << self.group_bits() | within
    }

    /// The block that has this number on disk; `None` when there is none.
    pub(super) fn on_disk(self, number: u64) -> Option<u64> {
        let bits = self.group_bits();
        let group = number.checked_shr(bits)?;
        let within = number ^ group.checked_shl(bits)?;
        let is_there = group < self.groups && within < self.group_length(group);
        is_there.then(|| self.group_start(group).saturating_add(within))
    }

    /// The number of the inode that stands `index`th in a block.
    pub(super) fn inode_number(&self, block: u64, index: u64) -> u64 {
        self.to_disk(block) * INODES_PER_BLOCK + index
    }

    /// The blocks at the beginning of a group that are never given out.
    pub(super) fn fixed(&self, group: u64) -> Run {
        let log = if group == LOG_GROUP { LOG_BLOCKS } else { 0 };
        Run { start: self.group_start(group), count: FIXED_BLOCKS + log }
    }

    pub(super) fn log(&self) -> Run {
        Run { start: self.group_start(LOG_GROUP) + FIXED_BLOCKS, count: LOG_BLOCKS }
    }
}

/// Gives out blocks from front to back, around what is fixed.
///
/// It knows no end: a plan that needs more blocks than there are says how many.
#[derive(Debug, Clone)]
pub(super) struct Cursor {
    geometry: Geometry,
    next: u64,
    /// Blocks passed over.
    pub(super) gaps: Vec<Run>,
}

impl Cursor {
    pub(super) fn new(geometry: Geometry) -> Self {
        Self { geometry, next: 0, gaps: Vec::new() }
    }

    /// The first block that was not given out.
    pub(super) fn end(&self) -> u64 {
        self.next
    }

    /// Takes `count` blocks in as few runs as the format allows.
    pub(super) fn take(&mut self, count: u64) -> Vec<Run> {
        let (mut runs, mut left) = (Vec::new(), count);
        while left > 0 {
            let count = left.min(self.free_in_group()).min(EXTENT_MAX);
            runs.push(Run { start: self.next, count });
            self.next += count;
            left -= count;
        }
        runs
    }

    /// Blocks until the end of the group, seen from one that is not fixed: goes to such a one.
    pub(super) fn free_in_group(&mut self) -> u64 {
        loop {
            let (group, _) = self.geometry.in_group(self.next);
            if group >= self.geometry.groups {
                return u64::MAX - self.next;
            }
            self.next = self.next.max(self.geometry.fixed(group).end());
            let end = self.geometry.group_start(group) + self.geometry.group_length(group);
            if self.next < end {
                return end - self.next;
            }
            self.next = self.geometry.group_start(group + 1);
        }
    }

    /// The group of the next block; beyond the last, there is room for everything.
    pub(super) fn group(&mut self) -> u64 {
        self.free_in_group();
        self.geometry.in_group(self.next).0.min(self.geometry.groups)
    }

    /// Goes to where a chunk of inodes may begin.
    pub(super) fn align(&mut self) {
        loop {
            let room = self.free_in_group();
            let (_, within) = self.geometry.in_group(self.next);
            let skipped = (within.next_multiple_of(CHUNK_ALIGNMENT) - within).min(room);
            if skipped == 0 {
                return;
            }
            self.gaps.push(Run { start: self.next, count: skipped });
            self.next += skipped;
        }
    }

    /// Passes over the rest of this group.
    pub(super) fn leave_group(&mut self) {
        let count = self.free_in_group();
        self.gaps.push(Run { start: self.next, count });
        self.next += count;
    }

    /// Takes the blocks of `count` chunks of inodes, which are there together.
    pub(super) fn take_chunks(&mut self, count: u64) -> Run {
        let run = Run { start: self.next, count: count * CHUNK_BLOCKS };
        self.next = run.end();
        run
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_on_disk_come_back_and_others_are_refused() {
        let geometry = Geometry::new(102_400).unwrap();
        assert_eq!((geometry.group_blocks, geometry.group_bits()), (25_600, 15));
        assert_eq!(geometry.to_disk(25_600 + 5), 1 << 15 | 5);
        for block in [0, 1, 25_599, 25_600, 102_399] {
            assert_eq!(geometry.on_disk(geometry.to_disk(block)), Some(block));
        }
        for number in [25_600, 4 << 15, u64::MAX] {
            assert_eq!(geometry.on_disk(number), None, "{number}");
        }
        // The root of every mkfs.xfs without sparse inodes.
        assert_eq!(geometry.inode_number(12, 0), 96);
    }

    #[test]
    fn sizes_beyond_the_format_or_sense_are_refused() {
        assert!(Geometry::new(BLOCKS_MIN - 1).is_none());
        assert!(Geometry::new(BLOCKS_MAX + 1).is_none());
        let largest = Geometry::new(BLOCKS_MAX).unwrap();
        assert!(largest.inode_number(BLOCKS_MAX - 1, 7) <= u32::MAX.into());
    }

    #[test]
    fn blocks_are_given_out_around_headers_and_log() {
        let geometry = Geometry::new(BLOCKS_MIN).unwrap();
        let mut cursor = Cursor::new(geometry);
        let runs = cursor.take(3 * 4096);
        let starts: Vec<_> = runs.iter().map(|run| run.start).collect();
        assert_eq!(starts, [9, 4096 + 9, 8192 + 9 + 2560, 12_288 + 9]);
        assert_eq!(runs.iter().map(|run| run.count).sum::<u64>(), 3 * 4096);
    }
}
