//! Writes a planned file system: headers and trees of each group, the log, chunks of inodes, and
//! what files consist of.

use fs_err::File;

use super::btree::{Node, Place};
use super::format::{
    BLOCK, BLOCK_SIZE, CHUNK_INODES, INODE_SIZE, INODES_PER_BLOCK, NULL, SECTORS_PER_BLOCK, magic,
    narrow, stamp, wide,
};
use super::geometry::{
    BY_BLOCK_AT, BY_COUNT_AT, FREE_INODE_TREE_AT, FREE_LIST_AT, FREE_LIST_COUNT, INODE_TREE_AT,
    LOG_BLOCKS,
};
use super::group::{FreeList, FreeSpace, Inodes, Root};
use super::inode::Inode;
use super::log;
use super::plan::{Placed, Placing, Plan, Table, chunk_leaves};
use super::superblock::{Superblock, incompatible, read_only};
use crate::image::Error;
use crate::image::blocks::Run;
use crate::image::pieces::{self, write_failed};
use crate::image::sparse::SparseWriter;
use crate::tree::Contents;

/// Something to be written at the block where it begins.
struct Piece<'p> {
    plan: &'p Plan,
    block: u64,
    bytes: u64,
    source: Source<'p>,
}

enum Source<'p> {
    /// Headers of a group and the roots of its trees.
    Group(u64),
    Log,
    /// A block of inodes; the first of them by its index.
    Inodes(u64),
    /// The leaves that lead to chunks of inodes.
    Leaf(&'p Table, usize),
    /// A block of metadata of a file.
    Metadata(&'p Placed, &'p [u8]),
    Content(&'p Placing),
}

impl Plan {
    /// Writes the file system into `file` from byte `base` on. What it does not write must read as
    /// zero.
    ///
    /// # Errors
    /// [`Error::Write`]; [`Error::Content`] with the first file, in the order of writing, whose
    /// content could not be read or has another size than the tree says.
    pub(crate) fn write(
        &self,
        contents: &dyn Contents,
        file: &File,
        base: u64,
        threads: usize,
    ) -> Result<(), Error> {
        pieces::write(&self.pieces(), contents, (file, base), threads)
    }

    /// Everything that is to be written, in the order of places.
    fn pieces(&self) -> Vec<Piece<'_>> {
        let groups = (0..self.geometry.groups)
            .map(|group| (self.geometry.group_start(group), 5 * BLOCK_SIZE, Source::Group(group)));
        let mut all: Vec<(u64, u64, Source<'_>)> = groups.collect();
        all.push((self.geometry.log().start, BLOCK_SIZE, Source::Log));
        let mut first = 0;
        for table in &self.tables {
            for block in table.run.start..table.run.end() {
                all.push((block, BLOCK_SIZE, Source::Inodes(first)));
                first += INODES_PER_BLOCK;
            }
            let leaves = table.leaves.iter().enumerate();
            all.extend(leaves.map(|(at, block)| (*block, BLOCK_SIZE, Source::Leaf(table, at))));
        }
        for placed in &self.files {
            let blocks = placed.blocks.iter();
            all.extend(
                blocks.map(|(at, bytes)| (*at, BLOCK_SIZE, Source::Metadata(placed, bytes))),
            );
            // A stored content of no bytes is opened all the same: it must exist and be empty.
            all.extend(placed.content.iter().map(|placing| {
                let start = placing.runs.first().map_or(0, |run| run.start);
                (start, placing.content.size(), Source::Content(placing))
            }));
        }
        all.sort_by_key(|(block, ..)| *block);
        let piece = |(block, bytes, source)| Piece { plan: self, block, bytes, source };
        all.into_iter().map(piece).collect()
    }

    /// The number of a block within its group, as group headers have it.
    fn within(&self, block: u64) -> u32 {
        narrow(self.geometry.in_group(block).1)
    }

    fn place(&self, magic: [u8; 4], block: u64) -> Place {
        let group = narrow(self.geometry.in_group(block).0);
        Place { magic, sector: block * SECTORS_PER_BLOCK, group, uuid: self.uuid }
    }

    fn superblock(&self) -> Superblock {
        let number = |index: u64| self.geometry.inode_number(self.tables[0].run.start, index);
        Superblock {
            geometry: self.geometry,
            uuid: self.uuid,
            log_start: self.geometry.to_disk(self.geometry.log().start),
            log_blocks: LOG_BLOCKS,
            roots: [number(0), number(1), number(2)],
            inodes: self.all_inodes(),
            free_inodes: self.free_inodes(),
            free_blocks: self.free_blocks(),
            read_only: read_only::FREE_INODE_TREE,
            incompatible: incompatible::TYPES | incompatible::BIG_TIMES,
        }
    }

    /// The headers of a group and the roots of its trees.
    fn group(&self, group: u64) -> Vec<u8> {
        let start = self.geometry.group_start(group);
        let mut bytes = self.headers(group);
        bytes.resize(BLOCK, 0);
        let mut free: Vec<Run> = self.free_runs(group);
        let tree = |magic, at: u64, node: Node| node.encode(&self.place(magic, start + at));
        bytes.extend(tree(magic::BY_BLOCK, BY_BLOCK_AT, self.free_leaf(&free)));
        free.sort_by_key(|run| (run.count, run.start));
        bytes.extend(tree(magic::BY_COUNT, BY_COUNT_AT, self.free_leaf(&free)));
        bytes.extend(tree(magic::INODE_TREE, INODE_TREE_AT, self.inode_root(group)));
        let free_chunks: Vec<_> =
            self.chunks(group).into_iter().filter(|chunk| chunk[4..8] != [0; 4]).collect();
        let leaf = Node::leaf(&free_chunks, (NULL, NULL));
        bytes.extend(tree(magic::FREE_INODE_TREE, FREE_INODE_TREE_AT, leaf));
        bytes
    }

    fn headers(&self, group: u64) -> Vec<u8> {
        let (uuid, index) = (self.uuid, narrow(group));
        let length = narrow(self.geometry.group_length(group));
        let runs = self.free_runs(group);
        let root = |block: u64| Root { block: narrow(block), levels: 1 };
        let space = FreeSpace {
            group: index,
            length,
            by_block: root(BY_BLOCK_AT),
            by_count: root(BY_COUNT_AT),
            list: (0, narrow(FREE_LIST_COUNT - 1), narrow(FREE_LIST_COUNT)),
            free: narrow(runs.iter().map(|run| run.count).sum()),
            longest: narrow(runs.iter().map(|run| run.count).max().unwrap_or_default()),
            tree_blocks: 0,
            uuid,
        };
        let (count, free) = self.inodes(group);
        let table = self.tables.iter().find(|table| table.group == group);
        let levels = if table.is_some_and(|table| !table.leaves.is_empty()) { 2 } else { 1 };
        let inodes = Inodes {
            group: index,
            length,
            count: narrow(count),
            free: narrow(free),
            tree: Root { levels, ..root(INODE_TREE_AT) },
            free_tree: root(FREE_INODE_TREE_AT),
            newest: self.chunks(group).last().map_or(NULL, first_inode),
            uuid,
        };
        let blocks = (FREE_LIST_AT..FREE_LIST_AT + FREE_LIST_COUNT).map(narrow).collect();
        let list = FreeList { group: index, blocks, uuid };
        [self.superblock().encode(), space.encode(), inodes.encode(), list.encode()].concat()
    }

    fn free_leaf(&self, runs: &[Run]) -> Node {
        let record = |run: &Run| {
            let (start, count) = (self.within(run.start), narrow::<u32>(run.count));
            (u64::from(start) << 32 | u64::from(count)).to_be_bytes()
        };
        Node::leaf(&runs.iter().map(record).collect::<Vec<_>>(), (NULL, NULL))
    }

    /// The records of a group's chunks: first inode, number and bits of those that are free.
    fn chunks(&self, group: u64) -> Vec<[u8; 16]> {
        let mut left = wide(self.files.len());
        let mut records = Vec::new();
        for table in &self.tables {
            let count = table.run.count * INODES_PER_BLOCK;
            let used = left.min(count);
            left -= used;
            if table.group != group {
                continue;
            }
            for index in 0..count / CHUNK_INODES {
                let first = u64::from(self.within(table.run.start)) * INODES_PER_BLOCK
                    + index * CHUNK_INODES;
                let here = used.saturating_sub(index * CHUNK_INODES).min(CHUNK_INODES);
                let free = u64::MAX.checked_shl(narrow(here)).unwrap_or_default();
                let head = u128::from(first) << 96 | u128::from(CHUNK_INODES - here) << 64;
                records.push((head | u128::from(free)).to_be_bytes());
            }
        }
        records
    }

    fn inode_root(&self, group: u64) -> Node {
        let chunks = self.chunks(group);
        let table = self.tables.iter().find(|table| table.group == group);
        match table.filter(|table| !table.leaves.is_empty()) {
            None => Node::leaf(&chunks, (NULL, NULL)),
            Some(table) => {
                let leaves = chunk_leaves(&chunks);
                let below = leaves.iter().zip(&table.leaves);
                let child = |(leaf, block): (&&[[u8; 16]], &u64)| {
                    (first_inode(&leaf[0]), self.within(*block))
                };
                Node::root(&below.map(child).collect::<Vec<_>>())
            }
        }
    }

    fn inode_leaf(&self, table: &Table, at: usize) -> Vec<u8> {
        let chunks = self.chunks(table.group);
        let neighbour = |at: Option<usize>| {
            at.and_then(|at| table.leaves.get(at)).map_or(NULL, |block| self.within(*block))
        };
        let sides = (neighbour(at.checked_sub(1)), neighbour(Some(at + 1)));
        let place = self.place(magic::INODE_TREE, table.leaves[at]);
        Node::leaf(chunk_leaves(&chunks)[at], sides).encode(&place)
    }

    fn inode_block(&self, block: u64, first: u64) -> Vec<u8> {
        let inode = |index: u64| -> [u8; INODE_SIZE] {
            let number = self.geometry.inode_number(block, index);
            match self.files.get(narrow::<usize>(first + index)) {
                Some(placed) => placed.inode.encode(number, self.uuid),
                None => Inode::free(number, self.uuid),
            }
        };
        (0..INODES_PER_BLOCK).flat_map(inode).collect()
    }
}

/// The first inode of a chunk, by its record.
fn first_inode(record: &[u8; 16]) -> u32 {
    u32::from_be_bytes(*record.first_chunk().expect("a record has 16 bytes"))
}

impl pieces::Piece for Piece<'_> {
    fn size(&self) -> u64 {
        self.bytes
    }

    fn write(&self, contents: &dyn Contents, writer: &mut SparseWriter<'_>) -> Result<(), Error> {
        let plan = self.plan;
        let bytes = match self.source {
            Source::Content(Placing { runs, content, path }) => {
                let stretch = |run: &Run| (run.start * BLOCK_SIZE, run.count * BLOCK_SIZE);
                let stretches = runs.iter().map(stretch);
                return pieces::copy(writer, contents, (content, path), stretches);
            }
            Source::Group(group) => plan.group(group),
            Source::Log => log::encode(plan.uuid).to_vec(),
            Source::Inodes(first) => plan.inode_block(self.block, first),
            Source::Leaf(table, at) => plan.inode_leaf(table, at),
            Source::Metadata(placed, bytes) => {
                let mut bytes = bytes.to_vec();
                stamp(&mut bytes, self.block * SECTORS_PER_BLOCK, placed.number, plan.uuid);
                bytes
            }
        };
        writer.put(self.block * BLOCK_SIZE, &bytes).map_err(write_failed)
    }
}
