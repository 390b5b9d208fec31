//! An ext4 file system that somebody else may have written: its superblock, descriptors, inodes
//! and maps, each checked before it is believed.
//!
//! Every block that metadata leads to is claimed once; a second claim is an error. That is what
//! bounds the work on a hostile image, whatever circles its pointers make.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use super::checksum::Seed;
use super::extents::{self, LENGTH_MAX, Node};
use super::format::{
    Descriptor, SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE, Superblock, compatible, flags, incompatible,
    read_only,
};
use super::geometry::has_backup;
use super::inode::Inode;
use crate::image::ahead::Ahead;
use crate::image::blocks::{Blocks, Extent, Run};
use crate::image::{Error, Medium as _, Window};

/// Features that this reader understands.
const KNOWN: u32 = incompatible::FILETYPE
    | incompatible::EXTENTS
    | incompatible::BITS_64
    | incompatible::FLEX_BG
    | incompatible::CSUM_SEED
    | incompatible::LARGE_DIR;
/// Features that this reader cannot do without.
const NEEDED: u32 = incompatible::FILETYPE | incompatible::EXTENTS;
/// Clusters of blocks change the meaning of bitmaps.
const BIGALLOC: u32 = 0x200;

/// A file system on a medium.
#[derive(Debug)]
pub(super) struct Volume<'m> {
    blocks: Blocks<'m>,
    metadata: Ahead<'m>,
    pub(super) superblock: Superblock,
    pub(super) descriptors: Vec<Descriptor>,
    /// The seed of checksums, when there are checksums.
    pub(super) seed: Option<Seed>,
}

impl<'m> Volume<'m> {
    /// Reads and checks superblock and descriptors.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Broken`], [`Error::Unsupported`].
    pub(super) fn open(medium: Window<'m>) -> Result<Self, Error> {
        let mut bytes = [0; SUPERBLOCK_SIZE];
        let size = medium.size().map_err(read_failed)?;
        if size < SUPERBLOCK_OFFSET.saturating_mul(2) {
            return Err(Error::broken("superblock", "the medium ends before it"));
        }
        medium.read_at(SUPERBLOCK_OFFSET, &mut bytes).map_err(read_failed)?;
        let superblock = Superblock::decode(&bytes)
            .ok_or_else(|| Error::broken("superblock", "it has no magic number"))?;
        check_features(&superblock)?;
        if superblock.has_checksums() && !Superblock::is_intact(&bytes) {
            return Err(Error::broken("superblock", "its checksum is wrong"));
        }
        check_sizes(&superblock, size)?;
        let block_size = 1024_u64.checked_shl(superblock.log_block_size).unwrap_or_default();
        let seed = superblock.has_checksums().then(|| superblock.seed());
        let blocks = Blocks { medium, block_size };
        let metadata = Ahead::new(medium);
        let mut volume = Self { blocks, metadata, superblock, descriptors: Vec::new(), seed };
        volume.descriptors = volume.read_descriptors()?;
        Ok(volume)
    }

    /// Where the bytes of files stand.
    pub(super) const fn blocks(&self) -> Blocks<'m> {
        self.blocks
    }

    /// Bytes of a block.
    pub(super) const fn block_size(&self) -> u64 {
        self.blocks.block_size
    }

    fn groups(&self) -> u64 {
        let superblock = &self.superblock;
        let blocks = superblock.blocks_count.saturating_sub(superblock.first_data_block.into());
        blocks.div_ceil(u64::from(superblock.blocks_per_group).max(1))
    }

    fn read_descriptors(&self) -> Result<Vec<Descriptor>, Error> {
        let size = self.descriptor_size();
        let bytes = self.groups().saturating_mul(size);
        let run = self.descriptor_run();
        self.check_run("table of descriptors", run)?;
        let start = run.start.saturating_mul(self.block_size());
        let mut table = vec![0; to_usize(bytes)?];
        self.blocks.medium.read_at(start, &mut table).map_err(read_failed)?;
        let mut descriptors = Vec::new();
        for (group, bytes) in (0..).zip(table.chunks_exact(to_usize(size)?)) {
            let place = || format!("descriptor of group {group}");
            if self.seed.is_some_and(|seed| !Descriptor::is_intact(bytes, group, seed)) {
                return Err(Error::broken(place(), "its checksum is wrong"));
            }
            let descriptor =
                Descriptor::decode(bytes).ok_or_else(|| Error::broken(place(), "it is cut off"))?;
            for run in self.tables(&descriptor) {
                self.check_run(&place(), run)?;
            }
            descriptors.push(descriptor);
        }
        Ok(descriptors)
    }

    fn descriptor_size(&self) -> u64 {
        let wide = self.superblock.incompatible & incompatible::BITS_64 != 0;
        if wide { u64::from(self.superblock.descriptor_size) } else { 32 }
    }

    /// The blocks of the first table of descriptors.
    fn descriptor_run(&self) -> Run {
        let bytes = self.groups().saturating_mul(self.descriptor_size());
        let start = u64::from(self.superblock.first_data_block).saturating_add(1);
        Run { start, count: bytes.div_ceil(self.block_size()) }
    }

    /// Whether there is a journal.
    pub(super) const fn has_journal(&self) -> bool {
        self.superblock.compatible & compatible::HAS_JOURNAL != 0
    }

    /// Whether an inode of its own holds what is reserved for more descriptors.
    pub(super) const fn grows(&self) -> bool {
        self.superblock.compatible & compatible::RESIZE_INODE != 0
    }

    /// The groups that have a superblock and a table of descriptors.
    fn groups_with_superblock(&self) -> impl Iterator<Item = u64> {
        let sparse = self.superblock.read_only & read_only::SPARSE_SUPER != 0;
        (0..self.groups()).filter(move |&group| !sparse || has_backup(group))
    }

    /// The superblock of a group and all that follows it: descriptors, and what is reserved for more.
    fn head(&self, group: u64) -> Run {
        let before = group.saturating_mul(self.superblock.blocks_per_group.into());
        let start = before.saturating_add(self.superblock.first_data_block.into());
        let count = self.descriptor_run().count.saturating_add(self.reserved()).saturating_add(1);
        Run { start, count }
    }

    fn reserved(&self) -> u64 {
        if self.grows() { self.superblock.reserved_descriptors.into() } else { 0 }
    }

    /// What is left of the blocks of each superblock and each table of descriptors: offset and length,
    /// in bytes.
    pub(super) fn head_slack(&self) -> impl Iterator<Item = (u64, u64)> {
        let bytes = |block: u64| block.saturating_mul(self.block_size());
        let descriptors = self.groups().saturating_mul(self.descriptor_size());
        let within =
            SUPERBLOCK_OFFSET.saturating_sub(bytes(self.superblock.first_data_block.into()));
        self.groups_with_superblock().flat_map(move |group| {
            let head = self.head(group);
            let table = bytes(head.start.saturating_add(1));
            let superblock = bytes(head.start).saturating_add(if group == 0 { within } else { 0 });
            let superblock_end = superblock.saturating_add(SUPERBLOCK_OFFSET);
            let table_end = table.saturating_add(descriptors);
            let end = table.saturating_add(bytes(self.descriptor_run().count));
            [(superblock_end, table), (table_end, end)]
                .map(|(start, end)| (start, end.saturating_sub(start)))
        })
    }

    /// What is reserved for more descriptors, group by group.
    pub(super) fn reserved_runs(&self) -> impl Iterator<Item = Run> {
        let count = self.reserved();
        self.groups_with_superblock().map(move |group| {
            let head = self.head(group);
            Run { start: head.end().saturating_sub(count), count }
        })
    }

    /// Both bitmaps and the inode table of a group.
    fn tables(&self, descriptor: &Descriptor) -> [Run; 3] {
        let superblock = &self.superblock;
        let bytes =
            u64::from(superblock.inodes_per_group).saturating_mul(superblock.inode_size.into());
        [
            Run { start: descriptor.block_bitmap, count: 1 },
            Run { start: descriptor.inode_bitmap, count: 1 },
            Run { start: descriptor.inode_table, count: bytes.div_ceil(self.block_size()) },
        ]
    }

    /// Claims superblock, descriptors, bitmaps and inode tables.
    pub(super) fn claim_tables(&self, claims: &mut Claims) -> Result<(), Error> {
        for group in self.groups_with_superblock() {
            claims.claim("superblock", self.head(group))?;
        }
        for (group, descriptor) in self.descriptors.iter().enumerate() {
            for run in self.tables(descriptor) {
                claims.claim(&format!("tables of group {group}"), run)?;
            }
        }
        Ok(())
    }

    /// Refuses blocks that are not on the file system.
    fn check_run(&self, place: &str, run: Run) -> Result<(), Error> {
        let end = run.start.checked_add(run.count);
        let inside = end.is_some_and(|end| end <= self.superblock.blocks_count);
        if !inside || run.start < self.superblock.first_data_block.into() || run.start == 0 {
            return Err(Error::broken(place, "it points outside the file system"));
        }
        Ok(())
    }

    /// Reads a block.
    pub(super) fn block(&self, place: &str, number: u64) -> Result<Vec<u8>, Error> {
        self.check_run(place, Run { start: number, count: 1 })?;
        let mut bytes = vec![0; to_usize(self.block_size())?];
        self.read_at(number.saturating_mul(self.block_size()), &mut bytes)?;
        Ok(bytes)
    }

    /// Reads bytes at an offset of the file system.
    pub(super) fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<(), Error> {
        self.metadata.read_at(offset, bytes).map_err(read_failed)
    }

    /// Reads an inode that is in use.
    ///
    /// # Errors
    /// [`Error::Broken`] for a number that does not exist, a wrong checksum, an inode without
    /// links; [`Error::Read`].
    pub(super) fn inode(&self, number: u32) -> Result<Inode, Error> {
        let place = inode_place(number);
        let broken = |rule| Error::broken(&place, rule);
        let bytes = self.inode_bytes(number)?;
        if self.seed.is_some_and(|seed| !Inode::is_intact(&bytes, number, seed)) {
            return Err(broken("its checksum is wrong"));
        }
        let inode = Inode::decode(&bytes).ok_or_else(|| broken("it is cut off"))?;
        if inode.links == 0 {
            return Err(broken("a name leads to it, but it has no links"));
        }
        Ok(inode)
    }

    /// The bytes of an inode, in use or not.
    ///
    /// # Errors
    /// As [`Self::inode_offset`]; [`Error::Read`].
    pub(super) fn inode_bytes(&self, number: u32) -> Result<Vec<u8>, Error> {
        let offset = self.inode_offset(number)?;
        let mut bytes = vec![0; usize::from(self.superblock.inode_size)];
        self.read_at(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// Where an inode stands, in bytes.
    ///
    /// # Errors
    /// [`Error::Broken`] for a number that does not exist.
    pub(super) fn inode_offset(&self, number: u32) -> Result<u64, Error> {
        let missing = || Error::broken(inode_place(number), "there is no such inode");
        let index = number.checked_sub(1).ok_or_else(missing)?;
        let per_group = self.superblock.inodes_per_group;
        let group = index.checked_div(per_group).ok_or_else(missing)?;
        let group = usize::try_from(group).map_err(|_| missing())?;
        let descriptor = self.descriptors.get(group).ok_or_else(missing)?;
        let size = u64::from(self.superblock.inode_size);
        let within = index.checked_rem(per_group).ok_or_else(missing)?;
        let within = u64::from(within).saturating_mul(size);
        Ok(descriptor.inode_table.saturating_mul(self.block_size()).saturating_add(within))
    }

    /// The checksum seed of an inode, when there are checksums.
    pub(super) fn inode_seed(&self, number: u32, inode: &Inode) -> Option<Seed> {
        self.seed.map(|seed| seed.inode(number, inode.generation))
    }

    /// Reads the map of a file and claims every block of it.
    ///
    /// # Errors
    /// [`Error::Broken`] with the rule that the tree breaks; [`Error::Unsupported`] for the maps of
    /// ext2; [`Error::Read`].
    pub(super) fn map(
        &self,
        number: u32,
        inode: &Inode,
        claims: &mut Claims,
    ) -> Result<Vec<Extent>, Error> {
        let place = inode_place(number);
        if inode.flags & flags::EXTENTS == 0 {
            return Err(Error::unsupported(place, "blocks that are not mapped by extents"));
        }
        let broken = |rule| Error::broken(&place, rule);
        let root = Node::decode(&inode.block).map_err(broken)?;
        let mut found: Vec<Extent> = Vec::new();
        let mut behind = 0;
        let mut pending = vec![root];
        while let Some(mut node) = pending.pop() {
            if node.depth == 0 {
                for entry in &node.entries {
                    let extent = leaf(entry);
                    if extent.logical < behind || extent.run.count == 0 {
                        return Err(broken("its extents overlap or are out of order"));
                    }
                    behind = extent.logical.saturating_add(extent.run.count);
                    self.check_run(&place, extent.run)?;
                    claims.claim(&place, extent.run)?;
                    found.push(extent);
                }
                continue;
            }
            if node.entries.is_empty() {
                continue;
            }
            // The first entry is next; the rest waits its turn.
            let entry = node.entries.remove(0);
            let depth = node.depth;
            if u64::from(entry.logical) < behind {
                return Err(broken("its extents overlap or are out of order"));
            }
            pending.push(node);
            claims.claim(&place, Run { start: entry.start, count: 1 })?;
            let block = self.block(&place, entry.start)?;
            let below = Node::decode(&block).map_err(broken)?;
            let seed = self.inode_seed(number, inode);
            if seed.is_some_and(|seed| !extents::is_intact(&block, seed)) {
                return Err(broken("a node of its extents has a wrong checksum"));
            }
            if Some(below.depth) != depth.checked_sub(1) || below.entries.is_empty() {
                return Err(broken("a node of its extents is at the wrong level or empty"));
            }
            pending.push(below);
        }
        Ok(found)
    }
}

fn leaf(entry: &extents::Entry) -> Extent {
    let length = u64::from(entry.length);
    let written = length <= LENGTH_MAX;
    let count = if written { length } else { length.saturating_sub(LENGTH_MAX) };
    Extent { logical: entry.logical.into(), run: Run { start: entry.start, count }, written }
}

/// How messages call an inode.
pub(super) fn inode_place(number: u32) -> String {
    format!("inode {number}")
}

fn check_features(superblock: &Superblock) -> Result<(), Error> {
    let unknown = superblock.incompatible & !KNOWN;
    let missing = NEEDED & !superblock.incompatible;
    if unknown != 0 || superblock.read_only & BIGALLOC != 0 {
        let feature = format!("incompatible features {unknown:#x} or clusters");
        return Err(Error::unsupported("superblock", feature));
    }
    if missing != 0 {
        let feature = format!("the lack of features {missing:#x}");
        return Err(Error::unsupported("superblock", feature));
    }
    if superblock.log_block_size > 2 {
        return Err(Error::unsupported("superblock", "blocks of more than 4096 bytes"));
    }
    Ok(())
}

fn check_sizes(superblock: &Superblock, size: u64) -> Result<(), Error> {
    let block_size = 1024_u32.checked_shl(superblock.log_block_size).unwrap_or(1024);
    let bits = block_size.saturating_mul(8);
    let inode_size = superblock.inode_size;
    let wide = superblock.incompatible & incompatible::BITS_64 != 0;
    let first = u32::from(block_size == 1024);
    let bytes = superblock.blocks_count.checked_mul(block_size.into());
    let groups = superblock
        .blocks_count
        .saturating_sub(first.into())
        .div_ceil(u64::from(superblock.blocks_per_group.max(1)));
    let inodes = groups.checked_mul(superblock.inodes_per_group.into());
    let rules = [
        (bytes.is_some_and(|bytes| bytes <= size), "the medium ends before the file system"),
        (superblock.first_data_block == first, "the first block is the wrong one"),
        (superblock.blocks_count > first.into(), "it has no blocks"),
        ((256..=bits).contains(&superblock.blocks_per_group), "groups have an impossible size"),
        ((1..=bits).contains(&superblock.inodes_per_group), "groups have impossibly many inodes"),
        (inodes == Some(superblock.inodes_count.into()), "the number of inodes is wrong"),
        (
            inode_size.is_power_of_two()
                && inode_size >= 128
                && u32::from(inode_size) <= block_size,
            "inodes have an impossible size",
        ),
        (
            !wide || (64..=1024).contains(&superblock.descriptor_size),
            "descriptors have an impossible size",
        ),
    ];
    match rules.into_iter().find(|(holds, _)| !holds) {
        Some((_, rule)) => Err(Error::broken("superblock", rule)),
        None => Ok(()),
    }
}

fn read_failed(source: std::io::Error) -> Error {
    Error::Read { source }
}

fn to_usize(value: u64) -> Result<usize, Error> {
    usize::try_from(value).map_err(|_| Error::unsupported("superblock", "this size"))
}

/// Which blocks something leads to. Each may be claimed once.
#[derive(Debug, Clone)]
pub(super) struct Claims {
    words: Vec<u64>,
}

impl Claims {
    /// Nothing is claimed yet.
    pub(super) fn new(volume: &Volume<'_>) -> Result<Self, Error> {
        Ok(Self { words: vec![0; to_usize(volume.superblock.blocks_count.div_ceil(64))?] })
    }

    /// Claims the blocks of `run` for `place`.
    ///
    /// # Errors
    /// [`Error::Broken`] when one of them is taken or does not exist.
    pub(super) fn claim(&mut self, place: &str, run: Run) -> Result<(), Error> {
        let end = run.start.saturating_add(run.count);
        for block in run.start..end {
            let word = usize::try_from(block / 64).ok().and_then(|index| self.words.get_mut(index));
            let word =
                word.ok_or_else(|| Error::broken(place, "it points outside the file system"))?;
            let mask = 1_u64 << (block % 64);
            if *word & mask != 0 {
                return Err(Error::broken(place, "it uses a block that something else uses"));
            }
            *word |= mask;
        }
        Ok(())
    }

    /// Whether something leads to `block`.
    pub(super) fn has(&self, block: u64) -> bool {
        let word = usize::try_from(block / 64).ok().and_then(|index| self.words.get(index));
        word.is_some_and(|word| word >> (block % 64) & 1 == 1)
    }
}
