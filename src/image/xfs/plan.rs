//! The second half of planning: a place for every byte.
//!
//! Blocks are given out from front to back: headers, chunks of inodes, then directories, long links
//! and attributes, then the contents of files in the order of walking. The one routine [`Plan::new`]
//! both counts and places, so a size that was computed is the size that is written.

use super::attributes;
use super::btree::{leaf_capacity, leaves};
use super::directory::{self, Entry};
use super::draft::{Body, Draft, Node, refuse};
use super::format::{
    BLOCK, BLOCK_SIZE, CHUNK_BLOCKS, CHUNK_INODES, INODES_PER_BLOCK, PAYLOAD, magic, narrow, put,
    wide,
};
use super::geometry::{Cursor, FREE_LIST_COUNT, GROUPS, Geometry};
use super::inode::{Fork, Format, Inode};
use crate::image::Error;
use crate::image::blocks::Extent;
use crate::image::blocks::Run;
use crate::tree::{Content, TreePath};

/// Blocks of each group that the kernel keeps back from everybody.
const SET_ASIDE: u64 = 8;
/// Bytes of an inode's extent.
const EXTENT_SIZE: usize = 16;

/// A file system whose every byte has a place.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(super) geometry: Geometry,
    pub(super) uuid: [u8; 16],
    pub(super) tables: Vec<Table>,
    pub(super) files: Vec<Placed>,
    /// The first block behind everything, and free blocks before it.
    end: u64,
    gaps: Vec<Run>,
}

/// The chunks of inodes in a group.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) group: u64,
    pub(super) run: Run,
    /// The leaves of the tree that leads to them, when there is more than its root.
    pub(super) leaves: Vec<u64>,
}

/// A file of the image.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) number: u64,
    pub(super) inode: Inode,
    /// Blocks of metadata, without what their place decides.
    pub(super) blocks: Vec<(u64, Vec<u8>)>,
    pub(super) content: Option<Placing>,
}

/// Where a content goes, and whose it is.
#[derive(Debug, Clone)]
pub(super) struct Placing {
    pub(super) runs: Vec<Run>,
    pub(super) content: Content,
    pub(super) path: TreePath,
}

impl Plan {
    /// Places everything in `blocks` blocks or, when those do not suffice, beyond them: then
    /// [`Plan::shortage`] says how many are missing. `None` when not even the inodes fit.
    ///
    /// # Errors
    /// [`Error::CannotHold`].
    pub(super) fn new(
        draft: &Draft<'_>,
        uuid: [u8; 16],
        blocks: u64,
    ) -> Result<Option<Self>, Error> {
        let Some(geometry) = Geometry::new(blocks) else { return Ok(None) };
        let mut cursor = Cursor::new(geometry);
        let chunks = wide(draft.nodes.len()).div_ceil(CHUNK_INODES);
        let Some(tables) = place_chunks(&mut cursor, chunks) else { return Ok(None) };
        let mut plan = Self { geometry, uuid, tables, files: Vec::new(), end: 0, gaps: Vec::new() };
        let numbers = plan.numbers();
        for (node, number) in draft.nodes.iter().zip(&numbers) {
            let placed = plan.place_metadata(node, *number, &numbers, &mut cursor)?;
            plan.files.push(placed);
        }
        for (node, placed) in draft.nodes.iter().zip(&mut plan.files) {
            place_content(node, placed, &geometry, &mut cursor)?;
        }
        plan.end = cursor.end();
        plan.gaps = cursor.gaps;
        Ok(Some(plan))
    }

    /// The bytes that the file system takes.
    pub(crate) fn size(&self) -> u64 {
        self.geometry.blocks * BLOCK_SIZE
    }

    /// The UUID.
    pub(crate) fn uuid(&self) -> [u8; 16] {
        self.uuid
    }

    /// The numbers of all inodes that there is room for, in order.
    fn numbers(&self) -> Vec<u64> {
        let blocks = self.tables.iter().flat_map(|table| table.run.start..table.run.end());
        let inodes = blocks.flat_map(|block| (0..INODES_PER_BLOCK).map(move |at| (block, at)));
        inodes.map(|(block, at)| self.geometry.inode_number(block, at)).collect()
    }

    /// How many more blocks it takes at least to hold everything and leave `free` bytes; 0 when it
    /// fits.
    pub(super) fn shortage(&self, free: u64) -> u64 {
        let wanted = free.div_ceil(BLOCK_SIZE) + SET_ASIDE * GROUPS;
        let beyond = self.end.saturating_sub(self.geometry.blocks);
        beyond + wanted.saturating_sub(self.free_blocks())
    }

    /// Blocks that nothing takes, and those that are ready for the trees of free space.
    pub(super) fn free_blocks(&self) -> u64 {
        let free = |group| self.free_runs(group).iter().map(|run| run.count).sum::<u64>();
        (0..GROUPS).map(|group| free(group) + FREE_LIST_COUNT).sum()
    }

    /// The stretches of a group that nothing takes, from front to back.
    pub(super) fn free_runs(&self, group: u64) -> Vec<Run> {
        let start = self.geometry.group_start(group);
        let end = start + self.geometry.group_length(group);
        let mut runs: Vec<Run> = self
            .gaps
            .iter()
            .copied()
            .filter(|gap| gap.start >= start && gap.end() <= end)
            .collect();
        let rest = self.end.max(self.geometry.fixed(group).end());
        if rest < end {
            runs.push(Run { start: rest, count: end - rest });
        }
        runs
    }

    /// Inodes of a group, and how many of them are free.
    pub(super) fn inodes(&self, group: u64) -> (u64, u64) {
        let blocks = self.tables.iter().filter(|table| table.group == group);
        let count = blocks.map(|table| table.run.count * INODES_PER_BLOCK).sum();
        let is_last = self.tables.last().is_some_and(|table| table.group == group);
        (count, if is_last { self.free_inodes() } else { 0 })
    }

    /// Inodes in all.
    pub(super) fn all_inodes(&self) -> u64 {
        self.tables.iter().map(|table| table.run.count * INODES_PER_BLOCK).sum()
    }

    /// Inodes that no file takes: the last ones.
    pub(super) fn free_inodes(&self) -> u64 {
        self.all_inodes() - wide(self.files.len())
    }

    fn place_metadata(
        &self,
        node: &Node<'_>,
        number: u64,
        numbers: &[u64],
        cursor: &mut Cursor,
    ) -> Result<Placed, Error> {
        let mut placer = Placer { geometry: &self.geometry, cursor, blocks: Vec::new() };
        let (data, size, flags) = placer.data(node, number, numbers)?;
        let attributes = placer.attributes(node)?;
        let blocks = placer.blocks;
        let Node { mode, uid, gid, links, mtime, .. } = *node;
        let count = wide(blocks.len());
        let inode =
            Inode { mode, uid, gid, links, mtime, size, blocks: count, flags, data, attributes };
        Ok(Placed { number, inode, blocks, content: None })
    }
}

/// Gives places to what a file has beside its content.
struct Placer<'a> {
    geometry: &'a Geometry,
    cursor: &'a mut Cursor,
    blocks: Vec<(u64, Vec<u8>)>,
}

impl Placer<'_> {
    /// The fork of data, with the size and flags of the inode.
    fn data(
        &mut self,
        node: &Node<'_>,
        number: u64,
        numbers: &[u64],
    ) -> Result<(Fork, u64, u16), Error> {
        let local = |bytes: Vec<u8>| Fork { format: Format::Local, bytes, extents: 0 };
        let none = || Fork { format: Format::Extents, bytes: Vec::new(), extents: 0 };
        Ok(match &node.body {
            Body::Directory(parent, names) => {
                let entry = |&(name, child, kind): &(_, usize, _)| Entry {
                    name,
                    inode: numbers[child],
                    kind,
                };
                let entries: Vec<_> = names.iter().map(entry).collect();
                match directory::build(number, numbers[*parent], &entries, node.room()) {
                    None => {
                        let rule = "it holds more names than two levels of index reach";
                        return Err(refuse(&node.path, rule));
                    }
                    Some(directory::Form::Local(bytes)) => {
                        let size = wide(bytes.len());
                        (local(bytes), size, 0)
                    }
                    Some(directory::Form::Blocks(blocks, count)) => {
                        (self.put(node, node.room(), blocks)?, count * BLOCK_SIZE, 0)
                    }
                }
            }
            Body::Content(content) => (none(), content.size(), 0),
            Body::Link(target) if target.len() <= node.room() => {
                (local(target.to_vec()), wide(target.len()), 0)
            }
            Body::Link(target) => {
                let blocks = vec![(0, link_block(target))];
                (self.put(node, node.room(), blocks)?, wide(target.len()), 0)
            }
            Body::Device(number) => {
                let bytes = number.to_be_bytes().to_vec();
                (Fork { format: Format::Device, bytes, extents: 0 }, 0, 0)
            }
            Body::Special(flags) => (none(), 0, *flags),
        })
    }

    fn attributes(&mut self, node: &Node<'_>) -> Result<Option<Fork>, Error> {
        Ok(match &node.attributes {
            attributes::Form::None => None,
            attributes::Form::Local(bytes) => {
                Some(Fork { format: Format::Local, bytes: bytes.clone(), extents: 0 })
            }
            attributes::Form::Blocks(blocks) => {
                let blocks = (0..).zip(blocks.iter().cloned()).collect();
                Some(self.put(node, super::inode::ATTRIBUTE_EXTENTS_ROOM, blocks)?)
            }
        })
    }

    /// Gives blocks of a file, by their places in it, places on the file system.
    fn put(
        &mut self,
        node: &Node<'_>,
        room: usize,
        blocks: Vec<(u64, Vec<u8>)>,
    ) -> Result<Fork, Error> {
        let runs = self.cursor.take(wide(blocks.len()));
        let places = runs.iter().flat_map(|run| run.start..run.end());
        let mut extents: Vec<Extent> = Vec::new();
        for ((logical, bytes), place) in blocks.into_iter().zip(places) {
            match extents.last_mut() {
                Some(last)
                    if last.logical + last.run.count == logical && last.run.end() == place =>
                {
                    last.run.count += 1;
                }
                _ => {
                    let run = Run { start: place, count: 1 };
                    extents.push(Extent { logical, run, written: true });
                }
            }
            self.blocks.push((place, bytes));
        }
        fork(node, room, &extents, self.geometry)
    }
}

fn place_content(
    node: &Node<'_>,
    placed: &mut Placed,
    geometry: &Geometry,
    cursor: &mut Cursor,
) -> Result<(), Error> {
    let Body::Content(content) = node.body else { return Ok(()) };
    let count = content.size().div_ceil(BLOCK_SIZE);
    let runs = cursor.take(count);
    let (mut logical, mut extents) = (0, Vec::new());
    for run in &runs {
        extents.push(Extent { logical, run: *run, written: true });
        logical += run.count;
    }
    placed.inode.data = fork(node, node.room(), &extents, geometry)?;
    placed.inode.blocks += count;
    placed.content = Some(Placing { runs, content: content.clone(), path: node.path.clone() });
    Ok(())
}

fn fork(
    node: &Node<'_>,
    room: usize,
    extents: &[Extent],
    geometry: &Geometry,
) -> Result<Fork, Error> {
    if extents.len() * EXTENT_SIZE > room {
        let rule = format!("it would stand in {} pieces, more than an inode lists", extents.len());
        return Err(refuse(&node.path, rule));
    }
    let bytes = extents.iter().flat_map(|extent| extent.encode(geometry)).collect();
    Ok(Fork { format: Format::Extents, bytes, extents: narrow(wide(extents.len())) })
}

fn link_block(target: &[u8]) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    put(&mut block, 0, magic::LINK);
    put(&mut block, 8, narrow::<u32>(wide(target.len())).to_be_bytes());
    block[BLOCK - PAYLOAD..][..target.len()].copy_from_slice(target);
    block
}

/// Records of a leaf of the tree of inodes.
pub(super) const CHUNKS_PER_LEAF: usize = leaf_capacity(16);

/// Gives places to chunks of inodes, and behind them to the leaves that lead to them. `None` when
/// they do not all fit.
fn place_chunks(cursor: &mut Cursor, count: u64) -> Option<Vec<Table>> {
    let (mut tables, mut left) = (Vec::new(), count);
    let leaf = wide(CHUNKS_PER_LEAF);
    while left > 0 {
        cursor.align();
        let (room, group) = (cursor.free_in_group(), cursor.group());
        if group >= GROUPS {
            return None;
        }
        // Eight blocks for each, and less than one more for each leaf.
        let fits = (room * leaf / (leaf * CHUNK_BLOCKS + 1)).saturating_sub(1);
        let here = left.min(fits).min(leaf * leaf);
        if here > 0 {
            let run = cursor.take_chunks(here);
            let needed = if here > leaf { here.div_ceil(leaf) } else { 0 };
            let runs = cursor.take(needed);
            let leaves = runs.iter().flat_map(|run| run.start..run.end()).collect();
            tables.push(Table { group, run, leaves });
            left -= here;
        }
        if left > 0 && cursor.group() == group {
            cursor.leave_group();
        }
    }
    Some(tables)
}

/// The chunks of a table, as many to each leaf.
pub(super) fn chunk_leaves<T>(records: &[T]) -> Vec<&[T]> {
    leaves(records, CHUNKS_PER_LEAF)
}
