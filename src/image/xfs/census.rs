//! Counts a file system that somebody else may have written: headers, trees and log are read, and
//! what they take, and what they say is free, is claimed.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use super::btree::{Node, Place};
use super::format::{INODES_PER_BLOCK, SECTOR, be16, be32, be64, magic};
use super::group::{FreeList, FreeSpace, Inodes, Root};
use super::log;
use super::superblock::{Superblock, incompatible, read_only};
use super::volume::Volume;
use crate::image::Error;
use crate::image::blocks::Run;

/// No tree is deeper than this.
const LEVELS_MAX: u32 = 9;

/// Which blocks belong to something.
#[derive(Debug)]
pub(super) struct Claims {
    taken: Vec<bool>,
    count: u64,
}

impl Claims {
    pub(super) fn new(blocks: u64) -> Result<Self, Error> {
        let count = usize::try_from(blocks).map_err(|_| too_large())?;
        Ok(Self { taken: vec![false; count], count: 0 })
    }

    /// Claims blocks for `place`.
    ///
    /// # Errors
    /// [`Error::Broken`] for blocks that are not there or belong to something else.
    pub(super) fn claim(&mut self, place: &str, run: Run) -> Result<(), Error> {
        let range = usize::try_from(run.start).ok().zip(usize::try_from(run.end()).ok());
        let taken = range.and_then(|(start, end)| self.taken.get_mut(start..end));
        let taken = taken.ok_or_else(|| Error::broken(place, "blocks outside the file system"))?;
        if taken.iter().any(|taken| *taken) {
            return Err(Error::broken(place, "blocks that belong to something else"));
        }
        taken.fill(true);
        self.count = self.count.saturating_add(run.count);
        Ok(())
    }
}

fn too_large() -> Error {
    Error::unsupported("superblock", "more blocks than fit into memory")
}

/// What is free, as the groups say.
#[derive(Debug, Default)]
pub(super) struct Free {
    pub(super) runs: Vec<Run>,
}

impl Volume<'_> {
    pub(super) fn claim_log(&self, claims: &mut Claims) -> Result<(), Error> {
        let start = self.superblock.geometry.on_disk(self.superblock.log_start);
        let start = start.ok_or_else(|| Error::broken("log", "it is not on the file system"))?;
        claims.claim("log", Run { start, count: self.superblock.log_blocks })?;
        let begin = self.block("log", start)?;
        if !log::is_clean(&begin) {
            return Err(Error::unsupported("log", "one that was written to since it was made"));
        }
        Ok(())
    }

    pub(super) fn read_group(
        &mut self,
        group: u64,
        claims: &mut Claims,
        free: &mut Free,
    ) -> Result<(), Error> {
        let place = format!("group {group}");
        let broken = |rule| Error::broken(&place, rule);
        let start = self.superblock.geometry.group_start(group);
        claims.claim(&place, Run { start, count: 1 })?;
        let block = self.block(&place, start)?;
        let sector = |index: usize| {
            let at = index.saturating_mul(SECTOR);
            block.get(at..).and_then(|rest| rest.first_chunk::<SECTOR>()).copied()
        };
        let (copy, space) = (sector(0), sector(1).as_ref().and_then(|s| FreeSpace::decode(s)));
        let space = space.ok_or_else(|| broken("its header of free space is damaged"))?;
        let inodes = sector(2).as_ref().and_then(|sector| Inodes::decode(sector));
        let inodes = inodes.ok_or_else(|| broken("its header of inodes is damaged"))?;
        let list = sector(3).as_ref().and_then(|sector| FreeList::decode(sector, space.list));
        let list = list.ok_or_else(|| broken("its list of free blocks is damaged"))?;
        let copy = copy.and_then(|copy| Superblock::decode(&copy).ok());
        if copy.is_none_or(|copy| copy.geometry != self.superblock.geometry) {
            return Err(broken("its copy of the superblock is damaged or another's"));
        }
        let here = (Some(self.superblock.uuid), Some(group), Some(self.length(group)));
        let says = |uuid, group: u32, length: u32| {
            (Some(uuid), Some(u64::from(group)), Some(u64::from(length))) == here
        };
        if !says(space.uuid, space.group, space.length)
            || !says(inodes.uuid, inodes.group, inodes.length)
            || !says(list.uuid, list.group, space.length)
        {
            return Err(broken("a header belongs to another group"));
        }
        for block in &list.blocks {
            let start = start.saturating_add((*block).into());
            claims.claim(&place, Run { start, count: 1 })?;
            free.runs.push(Run { start, count: 1 });
        }
        self.read_free_space(group, &space, claims, free)?;
        self.read_inodes(group, &inodes, claims)
    }

    fn length(&self, group: u64) -> u64 {
        self.superblock.geometry.group_length(group)
    }

    /// The leaves of a tree, from left to right.
    fn leaves(
        &self,
        group: u64,
        magic: [u8; 4],
        root: Root,
        claims: &mut Claims,
    ) -> Result<Vec<Node>, Error> {
        let name = String::from_utf8_lossy(&magic).into_owned();
        let place = format!("tree {name} of group {group}");
        let broken = |rule| Error::broken(&place, rule);
        let start = self.superblock.geometry.group_start(group);
        let number = u32::try_from(group).map_err(|_| broken("it is in no group"))?;
        if root.levels == 0 || root.levels > LEVELS_MAX {
            return Err(broken("it has an impossible number of levels"));
        }
        let mut row = vec![root.block];
        for level in (0..root.levels).rev() {
            let mut nodes = Vec::new();
            for within in &row {
                let block = start.saturating_add((*within).into());
                if u64::from(*within) >= self.length(group) {
                    return Err(broken("it leads out of its group"));
                }
                claims.claim(&place, Run { start: block, count: 1 })?;
                let uuid = self.superblock.uuid;
                let here = Place { magic, sector: Self::sector(block), group: number, uuid };
                let node = Node::decode(&self.block(&place, block)?, &here).map_err(broken)?;
                if u32::from(node.level) != level {
                    return Err(broken("a block of it is of another level"));
                }
                nodes.push(node);
            }
            if level == 0 {
                return Ok(nodes);
            }
            let key_size =
                if magic == magic::INODE_TREE || magic == magic::FREE_INODE_TREE { 4 } else { 8 };
            row.clear();
            for node in nodes {
                row.extend(node.children(key_size).map_err(broken)?);
            }
        }
        Err(broken("it has no leaves"))
    }

    fn read_free_space(
        &self,
        group: u64,
        space: &FreeSpace,
        claims: &mut Claims,
        free: &mut Free,
    ) -> Result<(), Error> {
        let broken = |rule| Error::broken(format!("free space of group {group}"), rule);
        let start = self.superblock.geometry.group_start(group);
        let mut trees = Vec::new();
        for (magic, root) in [(magic::BY_BLOCK, space.by_block), (magic::BY_COUNT, space.by_count)]
        {
            let mut runs = Vec::new();
            for leaf in self.leaves(group, magic, root, claims)? {
                for record in leaf.records::<8>().map_err(broken)? {
                    let within = be32(&record, 0).unwrap_or_default();
                    let count = be32(&record, 4).unwrap_or_default().into();
                    let start = start.saturating_add(within.into());
                    runs.push(Run { start, count });
                }
            }
            runs.sort_unstable();
            trees.push(runs);
        }
        let [by_block, by_count] = trees.as_slice() else { return Ok(()) };
        if by_block != by_count {
            return Err(broken("its two trees differ"));
        }
        let total: u64 = by_block.iter().map(|run| run.count).sum();
        let longest = by_block.iter().map(|run| run.count).max().unwrap_or_default();
        if total != u64::from(space.free) || longest != u64::from(space.longest) {
            return Err(broken("its header counts it wrongly"));
        }
        for run in by_block {
            if run.end() > start.saturating_add(self.length(group)) {
                return Err(broken("it reaches out of its group"));
            }
            claims.claim("free space", *run)?;
        }
        free.runs.extend(by_block);
        Ok(())
    }

    fn read_inodes(
        &mut self,
        group: u64,
        inodes: &Inodes,
        claims: &mut Claims,
    ) -> Result<(), Error> {
        let place = format!("inodes of group {group}");
        let broken = |rule| Error::broken(&place, rule);
        let (mut count, mut free) = (0_u64, 0_u64);
        for leaf in self.leaves(group, magic::INODE_TREE, inodes.tree, claims)? {
            for record in leaf.records::<16>().map_err(broken)? {
                let (made, used) = self.read_chunk(group, &record, &place, claims)?;
                count = count.saturating_add(made.into());
                free = free.saturating_add(u64::from(made.saturating_sub(used)));
            }
        }
        if (count, free) != (inodes.count.into(), inodes.free.into()) {
            return Err(broken("its header counts them wrongly"));
        }
        if self.superblock.read_only & read_only::FREE_INODE_TREE != 0 {
            self.leaves(group, magic::FREE_INODE_TREE, inodes.free_tree, claims)?;
        }
        Ok(())
    }

    /// Takes in a chunk of inodes: how many of them were made, and how many are in use.
    fn read_chunk(
        &mut self,
        group: u64,
        record: &[u8; 16],
        place: &str,
        claims: &mut Claims,
    ) -> Result<(u32, u32), Error> {
        let broken = |rule| Error::broken(place, rule);
        let first = u64::from(be32(record, 0).unwrap_or_default());
        let free = be64(record, 8).unwrap_or_default();
        let sparse = self.superblock.incompatible & incompatible::SPARSE_INODES != 0;
        let holes = if sparse { be16(record, 4).unwrap_or_default() } else { 0 };
        if !first.is_multiple_of(INODES_PER_BLOCK) {
            return Err(broken("a chunk begins within a block"));
        }
        let start = self.superblock.geometry.group_start(group);
        let start = start.saturating_add(first / INODES_PER_BLOCK);
        let mut made = 0_u64;
        // Each bit of the holes stands for four inodes, half a block.
        for index in 0..8_u64 {
            let bits = u32::try_from(index).unwrap_or_default().saturating_mul(2);
            match holes.checked_shr(bits).unwrap_or_default() & 3 {
                0 => {
                    let start = start.saturating_add(index);
                    if self.superblock.geometry.in_group(start).0 != group {
                        return Err(broken("a chunk reaches out of its group"));
                    }
                    claims.claim(place, Run { start, count: 1 })?;
                    let bits = u32::try_from(index).unwrap_or_default().saturating_mul(8);
                    made |= 0xFF_u64.checked_shl(bits).unwrap_or_default();
                }
                3 => {}
                _ => return Err(broken("a chunk has half a block of inodes")),
            }
        }
        let used = made & !free;
        self.chunks.insert(start.saturating_mul(INODES_PER_BLOCK), (made, used));
        Ok((made.count_ones(), used.count_ones()))
    }

    pub(super) fn check_counts(&self, free: &Free) -> Result<(), Error> {
        let used: u64 = self.chunks.values().map(|(_, used)| u64::from(used.count_ones())).sum();
        let blocks = free.runs.iter().fold(0_u64, |sum, run| sum.saturating_add(run.count));
        let superblock = &self.superblock;
        if superblock.inodes.checked_sub(superblock.free_inodes) != Some(used) {
            return Err(Error::broken("superblock", "it counts inodes wrongly"));
        }
        if superblock.free_blocks != blocks {
            return Err(Error::broken("superblock", "it counts free blocks wrongly"));
        }
        Ok(())
    }

    /// Every block must belong to something, when everything was claimed.
    pub(super) fn check_all_claimed(&self, claims: &Claims) -> Result<(), Error> {
        if claims.count == self.superblock.geometry.blocks {
            return Ok(());
        }
        Err(Error::broken("free space", "blocks belong neither to it nor to a file"))
    }
}
