//! The second half of planning: a place for every byte.
//!
//! Blocks are given out from front to back: superblock and descriptors, bitmaps, inode tables,
//! then directories, long links and attributes, then the contents of files in the order of
//! walking. The one routine [`Plan::new`] both counts and places, so a size that was computed is
//! the size that is written.

use super::draft::{Body, Draft, Node};
use super::extents::Map;
use super::format::{Descriptor, Superblock, compatible, flags, incompatible, le32, read_only};
use super::geometry::{BLOCKS_MAX, Cursor, Geometry};
use super::inode::Inode;
use super::{Identity, Options};
use crate::image::Error;
use crate::image::blocks::Run;

/// One inode for this many bytes, as mke2fs gives: enough for whoever uses the free space.
const BYTES_PER_INODE: u64 = 16_384;
/// Free inodes that are always there.
const SPARE_INODES: u64 = 8;
/// Blocks of a hundred that only root may use, as Kata's builder asks of mkfs.
const RESERVED_PERCENT: u64 = 3;

/// A file system whose every byte has a place.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(super) geometry: Geometry,
    pub(super) identity: Identity,
    pub(super) journal: bool,
    pub(super) nodes: Vec<Placed>,
    /// First block of the bitmaps and of the inode tables, by group.
    pub(super) block_bitmaps: Vec<u64>,
    pub(super) inode_bitmaps: Vec<u64>,
    pub(super) inode_tables: Vec<u64>,
    /// The first block behind everything, and free blocks before it.
    end: u64,
    gaps: Vec<Run>,
}

/// A file of the image and the blocks it takes.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) node: Node,
    pub(super) runs: Vec<Run>,
    /// The map, when the file has blocks or could have.
    pub(super) map: Option<Map>,
    pub(super) attribute_block: u64,
}

impl Plan {
    /// Places everything in `blocks` blocks or, when those do not suffice, beyond them: then
    /// [`Plan::shortage`] says how many are missing.
    ///
    /// `None` when so few blocks cannot even hold the tables of inodes.
    pub(super) fn new(draft: &Draft, options: &Options, blocks: u64) -> Option<Self> {
        let block_size = u64::from(options.block_size);
        let inodes = (draft.last_inode() + SPARE_INODES).max(blocks * block_size / BYTES_PER_INODE);
        let geometry = Geometry::new(block_size, blocks, inodes)?;
        let mut cursor = Cursor::new(geometry);
        let mut one_each = || (0..geometry.groups).map(|_| cursor.take_one()).collect();
        let (block_bitmaps, inode_bitmaps) = (one_each(), one_each());
        let table = |_| cursor.take_together(geometry.table_blocks());
        let inode_tables = (0..geometry.groups).map(table).collect();
        let nodes = place(draft, options, &mut cursor);
        Some(Self {
            geometry,
            identity: options.identity.clone(),
            journal: options.journal,
            nodes,
            block_bitmaps,
            inode_bitmaps,
            inode_tables,
            end: cursor.end(),
            gaps: cursor.gaps,
        })
    }

    /// The bytes that the file system takes; the last of them may be beyond the last group.
    pub(crate) fn size(&self) -> u64 {
        self.geometry.blocks * self.geometry.block_size
    }

    /// How many more blocks it takes at least to hold everything and leave `free` bytes to
    /// ordinary users; 0 when it fits.
    pub(super) fn shortage(&self, free: u64) -> u64 {
        let wanted = free.div_ceil(self.geometry.block_size) + self.reserved_blocks();
        let beyond = self.end.saturating_sub(self.geometry.blocks);
        beyond + wanted.saturating_sub(self.free_blocks())
    }

    /// Blocks that only root may use.
    pub(super) fn reserved_blocks(&self) -> u64 {
        self.geometry.blocks * RESERVED_PERCENT / 100
    }

    /// Blocks that nothing takes.
    pub(super) fn free_blocks(&self) -> u64 {
        (0..self.geometry.groups).map(|group| self.free_in_group(group)).sum()
    }

    /// The UUID.
    pub(crate) fn uuid(&self) -> [u8; 16] {
        self.identity.uuid
    }

    /// Inodes that nothing takes.
    pub(super) fn free_inodes(&self) -> u64 {
        self.geometry.inodes() - self.used_inodes()
    }

    /// Inodes up to the last one in use; the reserved ones count as used.
    pub(super) fn used_inodes(&self) -> u64 {
        self.nodes.last().map_or(0, |placed| placed.node.number.into())
    }

    /// The runs of used blocks within a group.
    fn used_in_group(&self, group: u64) -> Vec<Run> {
        let start = self.geometry.group_start(group);
        let end = start + self.geometry.group_length(group);
        let mut used = vec![Run { start, count: self.end.clamp(start, end) - start }];
        used.extend(self.geometry.fixed(group).filter(|_| self.end <= start));
        used
    }

    /// The runs within a group that were passed over.
    fn gaps_in_group(&self, group: u64) -> impl Iterator<Item = Run> {
        let start = self.geometry.group_start(group);
        let end = start + self.geometry.group_length(group);
        self.gaps.iter().filter_map(move |gap| {
            let (from, to) = (gap.start.max(start), (gap.start + gap.count).min(end));
            (from < to).then(|| Run { start: from, count: to - from })
        })
    }

    pub(super) fn free_in_group(&self, group: u64) -> u64 {
        let used: u64 = self.used_in_group(group).iter().map(|run| run.count).sum();
        let gaps: u64 = self.gaps_in_group(group).map(|run| run.count).sum();
        (self.geometry.group_length(group) + gaps).saturating_sub(used)
    }

    /// The bitmap of the blocks of a group; bits beyond its end are set.
    pub(super) fn block_bitmap(&self, group: u64) -> Vec<u8> {
        let mut bitmap = vec![0; to_usize(self.geometry.block_size)];
        let start = self.geometry.group_start(group);
        for run in self.used_in_group(group) {
            mark(&mut bitmap, run.start - start, run.count, true);
        }
        for run in self.gaps_in_group(group) {
            mark(&mut bitmap, run.start - start, run.count, false);
        }
        let length = self.geometry.group_length(group);
        mark(&mut bitmap, length, self.geometry.blocks_per_group() - length, true);
        bitmap
    }

    /// Inodes in use within a group, all of them before the free ones.
    pub(super) fn used_in_table(&self, group: u64) -> u64 {
        let before = group * self.geometry.inodes_per_group;
        self.used_inodes().saturating_sub(before).min(self.geometry.inodes_per_group)
    }

    /// The bitmap of the inodes of a group; bits beyond its end are set.
    pub(super) fn inode_bitmap(&self, group: u64) -> Vec<u8> {
        let mut bitmap = vec![0; to_usize(self.geometry.block_size)];
        let per_group = self.geometry.inodes_per_group;
        mark(&mut bitmap, 0, self.used_in_table(group), true);
        mark(&mut bitmap, per_group, 8 * self.geometry.block_size - per_group, true);
        bitmap
    }

    /// The files whose inodes stand in the table of a group.
    pub(super) fn nodes_in_group(&self, group: u64) -> &[Placed] {
        let first = group * self.geometry.inodes_per_group + 1;
        let behind = first + self.geometry.inodes_per_group;
        let index =
            |number| self.nodes.partition_point(|placed| u64::from(placed.node.number) < number);
        &self.nodes[index(first)..index(behind)]
    }

    /// The table of descriptors.
    pub(super) fn descriptors(&self) -> Vec<u8> {
        let seed = self.identity.seed();
        let bytes = (0..self.geometry.groups).flat_map(|group| {
            let number = to_u32(group);
            self.descriptor(group).encode(number, seed)
        });
        bytes.collect()
    }

    fn descriptor(&self, group: u64) -> Descriptor {
        let (seed, index) = (self.identity.seed(), to_usize(group));
        let used = self.used_in_table(group);
        let free_inodes = to_u32(self.geometry.inodes_per_group - used);
        let inodes = self.inode_bitmap(group);
        let low = |checksum: u32| checksum & 0xFFFF;
        Descriptor {
            block_bitmap: self.block_bitmaps[index],
            inode_bitmap: self.inode_bitmaps[index],
            inode_table: self.inode_tables[index],
            free_blocks: to_u32(self.free_in_group(group)),
            free_inodes,
            directories: to_u32(self.directories_in_group(group)),
            unused_inodes: free_inodes,
            block_bitmap_checksum: low(seed.over(&self.block_bitmap(group))),
            inode_bitmap_checksum: low(
                seed.over(&inodes[..to_usize(self.geometry.inodes_per_group / 8)])
            ),
        }
    }

    fn directories_in_group(&self, group: u64) -> u64 {
        let nodes = self.nodes_in_group(group).iter();
        nodes.filter(|placed| placed.is_directory()).count() as u64
    }

    /// The superblock as it stands in `group`.
    pub(super) fn superblock(&self, group: u64) -> Superblock {
        let geometry = &self.geometry;
        let journal = if self.journal { compatible::HAS_JOURNAL } else { 0 };
        Superblock {
            inodes_count: to_u32(geometry.inodes()),
            blocks_count: geometry.blocks,
            reserved_blocks: self.reserved_blocks(),
            free_blocks: self.free_blocks(),
            free_inodes: to_u32(self.free_inodes()),
            first_data_block: to_u32(geometry.first_data_block()),
            log_block_size: geometry.block_size.trailing_zeros() - 10,
            blocks_per_group: to_u32(geometry.blocks_per_group()),
            inodes_per_group: to_u32(geometry.inodes_per_group),
            time: self.identity.epoch.seconds(),
            inode_size: 256,
            group: u16::try_from(group).unwrap_or(u16::MAX),
            compatible: compatible::EXT_ATTR | compatible::DIR_INDEX | journal,
            incompatible: incompatible::FILETYPE | incompatible::EXTENTS | incompatible::FLEX_BG,
            read_only: read_only::SPARSE_SUPER
                | read_only::LARGE_FILE
                | read_only::HUGE_FILE
                | read_only::DIR_NLINK
                | read_only::EXTRA_ISIZE
                | read_only::METADATA_CSUM,
            uuid: self.identity.uuid,
            reserved_descriptors: 0,
            hash_seed: self.identity.hash_seed,
            descriptor_size: 0,
            journal: self.journal_copy(),
            log_groups_per_flex: log_groups_per_flex(geometry.groups),
            checksum_seed: 0,
        }
    }

    /// The journal's map and size as the superblock repeats them.
    fn journal_copy(&self) -> [u32; 17] {
        let mut copy = [0; 17];
        let journal =
            self.nodes.iter().find(|placed| matches!(placed.node.body, Body::Journal(..)));
        if let Some(placed) = journal {
            let inode = placed.inode(self.geometry.block_size);
            for (index, word) in copy.iter_mut().take(15).enumerate() {
                *word = le32(&inode.block, 4 * index).expect("fifteen words are sixty bytes");
            }
            (copy[15], copy[16]) = super::format::halves(inode.size);
        }
        copy
    }
}

impl Placed {
    pub(super) fn is_directory(&self) -> bool {
        self.node.mode & 0xF000 == super::format::kinds::DIRECTORY
    }

    /// The inode on disk.
    pub(super) fn inode(&self, block_size: u64) -> Inode {
        let node = &self.node;
        let nodes = self.map.as_ref().map_or(0, |map| map.nodes.len() as u64);
        let own = self.runs.iter().map(|run| run.count).sum::<u64>();
        let blocks = own + nodes + u64::from(self.attribute_block != 0);
        let size = node.body.size(block_size);
        let indexed = self.is_directory() && size > block_size;
        let index = if indexed { flags::INDEX } else { 0 };
        let (block, extents) = match (&self.map, &node.body) {
            (Some(map), _) => (map.root, flags::EXTENTS),
            (None, Body::InInode(block, _)) => (*block, 0),
            (None, _) => ([0; 60], 0),
        };
        Inode {
            mode: node.mode,
            uid: node.uid,
            gid: node.gid,
            size,
            mtime: node.mtime,
            links: node.links,
            sectors: blocks * (block_size / 512),
            flags: index | extents,
            block,
            generation: 0,
            attribute_block: self.attribute_block,
            attributes: node.attributes.in_inode.clone(),
        }
    }
}

/// Gives every file its blocks: first what directories are read for, then contents.
fn place(draft: &Draft, options: &Options, cursor: &mut Cursor) -> Vec<Placed> {
    let block_size = u64::from(options.block_size);
    let mut placed: Vec<_> = draft
        .nodes
        .iter()
        .map(|node| Placed { node: node.clone(), runs: Vec::new(), map: None, attribute_block: 0 })
        .collect();
    for file in &mut placed {
        if file.node.attributes.block.is_some() {
            file.attribute_block = cursor.take_one();
        }
        if matches!(file.node.body, Body::Bytes(_)) {
            file.take_blocks(block_size, options, cursor);
        }
    }
    for file in &mut placed {
        if matches!(file.node.body, Body::Content(_) | Body::Journal(..)) {
            file.take_blocks(block_size, options, cursor);
        }
    }
    placed
}

impl Placed {
    fn take_blocks(&mut self, block_size: u64, options: &Options, cursor: &mut Cursor) {
        self.runs = cursor.take(self.node.body.blocks(block_size));
        let seed = options.identity.seed().inode(self.node.number, 0);
        let map = Map::build(&self.runs, to_usize(block_size), seed, || cursor.take_one());
        self.map = Some(map);
    }
}

/// Sixteen groups, as mke2fs chooses, or as many as make all tables belong together.
fn log_groups_per_flex(groups: u64) -> u8 {
    let log = groups.next_power_of_two().trailing_zeros().max(4);
    u8::try_from(log).expect("a logarithm is small")
}

/// Sets or clears `count` bits from bit `first` on.
fn mark(bitmap: &mut [u8], first: u64, count: u64, set: bool) {
    for bit in to_usize(first)..to_usize(first + count) {
        let mask = 1 << (bit % 8);
        if set { bitmap[bit / 8] |= mask } else { bitmap[bit / 8] &= !mask }
    }
}

pub(super) fn to_usize(value: u64) -> usize {
    usize::try_from(value).expect("places within a block or a group fit")
}

/// Counts and block numbers stay below [`BLOCKS_MAX`], which [`check_size`] has seen to.
pub(super) fn to_u32(value: u64) -> u32 {
    u32::try_from(value).expect("a file system of 2^32 blocks or more was refused")
}

/// Refuses a size whose block numbers have more than 32 bits.
pub(super) fn check_size(blocks: u64) -> Result<(), Error> {
    if blocks > BLOCKS_MAX {
        let rule = format!("{blocks} blocks, and {BLOCKS_MAX} is the limit");
        return Err(Error::TooLarge { format: "ext4", rule });
    }
    Ok(())
}
