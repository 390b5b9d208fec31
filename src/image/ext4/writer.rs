//! Writes a planned file system: every piece to its place, on as many threads as wanted.
//!
//! A piece is a copy of the superblock, a table, or what a file consists of.

use std::io;

use fs_err::File;

use super::attributes;
use super::draft::Body;
use super::format::SUPERBLOCK_OFFSET;
use super::plan::{Placed, Plan, to_u32};
use crate::image::Error;
use crate::image::blocks::Run;
use crate::image::pieces::{self, write_failed};
use crate::image::sparse::SparseWriter;
use crate::tree::{Content, Contents, TreePath};

/// Something to be written at the block where it begins.
struct Piece<'p> {
    plan: &'p Plan,
    block: u64,
    bytes: u64,
    source: Source<'p>,
}

enum Source<'p> {
    /// The superblock of a group, with the descriptors behind it.
    Fixed(u64),
    BlockBitmap(u64),
    InodeBitmap(u64),
    /// The inodes of a group.
    InodeTable(u64),
    /// A node of a map.
    Bytes(&'p [u8]),
    /// A block of attributes, without its checksum.
    Attributes(&'p [u8]),
    /// A body in memory.
    Body(&'p [Run], &'p [u8]),
    /// The content of a file.
    Content(&'p [Run], &'p Content, &'p TreePath),
}

impl Plan {
    /// Writes the file system into `file` from byte `base` on. What it does not write must read
    /// as zero.
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
        let geometry = &self.geometry;
        let size = geometry.block_size;
        let mut pieces = Vec::new();
        for group in 0..geometry.groups {
            if let Some(Run { start, count }) = geometry.fixed(group) {
                let source = Source::Fixed(group);
                pieces.push(Piece { plan: self, block: start, bytes: count * size, source });
            }
        }
        let tables = self.block_bitmaps.iter().zip(&self.inode_bitmaps).zip(&self.inode_tables);
        for (group, ((&blocks, &inodes), &table)) in (0..).zip(tables) {
            let table_size = geometry.table_blocks() * size;
            let tables = [
                (blocks, size, Source::BlockBitmap(group)),
                (inodes, size, Source::InodeBitmap(group)),
                (table, table_size, Source::InodeTable(group)),
            ];
            let piece = |(block, bytes, source)| Piece { plan: self, block, bytes, source };
            pieces.extend(tables.map(piece));
        }
        for placed in &self.nodes {
            self.file_pieces(placed, &mut pieces);
        }
        pieces.sort_by_key(|piece| piece.block);
        pieces
    }

    fn file_pieces<'p>(&'p self, placed: &'p Placed, pieces: &mut Vec<Piece<'p>>) {
        let size = self.geometry.block_size;
        let node = &placed.node;
        for (block, bytes) in placed.map.iter().flat_map(|map| &map.nodes) {
            let source = Source::Bytes(bytes);
            pieces.push(Piece { plan: self, block: *block, bytes: size, source });
        }
        if let Some(bytes) = &node.attributes.block {
            let source = Source::Attributes(bytes);
            let block = placed.attribute_block;
            pieces.push(Piece { plan: self, block, bytes: size, source });
        }
        let Some(first) = placed.runs.first() else {
            self.empty_content(placed, pieces);
            return;
        };
        let (block, bytes) = (first.start, node.body.size(size));
        let source = match &node.body {
            Body::InInode(..) => return,
            Body::Bytes(bytes) | Body::Journal(bytes, _) => Source::Body(&placed.runs, bytes),
            Body::Content(content) => Source::Content(&placed.runs, content, &node.path),
        };
        pieces.push(Piece { plan: self, block, bytes, source });
    }

    /// A stored content of no bytes is opened all the same: it must exist and be empty.
    fn empty_content<'p>(&'p self, placed: &'p Placed, pieces: &mut Vec<Piece<'p>>) {
        if let Body::Content(content) = &placed.node.body {
            let block = self.geometry.first_data_block();
            let source = Source::Content(&[], content, &placed.node.path);
            pieces.push(Piece { plan: self, block, bytes: 0, source });
        }
    }

    /// The first superblock stands at byte 1024 whatever the size of a block; copies stand at the
    /// start of theirs.
    fn write_fixed(&self, group: u64, writer: &mut SparseWriter<'_>) -> io::Result<()> {
        let start = self.geometry.group_start(group) * self.geometry.block_size;
        let place = if group == 0 { SUPERBLOCK_OFFSET } else { start };
        writer.put(place, &self.superblock(group).encode())?;
        writer.put(start + self.geometry.block_size, &self.descriptors())
    }

    /// The inodes of a group up to the last one in use; the rest stays zero.
    fn inode_table(&self, group: u64) -> Vec<u8> {
        let mut table = vec![0; super::plan::to_usize(self.used_in_table(group) * 256)];
        let first = to_u32(group * self.geometry.inodes_per_group + 1);
        let seed = self.identity.seed();
        for placed in self.nodes_in_group(group) {
            let number = placed.node.number;
            let at = super::plan::to_usize(u64::from(number - first) * 256);
            let inode = placed.inode(self.geometry.block_size).encode(number, seed);
            table[at..at + 256].copy_from_slice(&inode);
        }
        table
    }
}

impl pieces::Piece for Piece<'_> {
    fn size(&self) -> u64 {
        self.bytes
    }

    fn write(&self, contents: &dyn Contents, writer: &mut SparseWriter<'_>) -> Result<(), Error> {
        let plan = self.plan;
        let size = plan.geometry.block_size;
        let offset = self.block * size;
        let bytes = match self.source {
            Source::Content(runs, content, path) => {
                let stretches = runs.iter().map(|run| (run.start * size, run.count * size));
                return pieces::copy(writer, contents, (content, path), stretches);
            }
            Source::Body(runs, bytes) => return put_runs(writer, runs, size, bytes),
            Source::Bytes(bytes) => bytes.to_vec(),
            Source::Fixed(group) => return plan.write_fixed(group, writer).map_err(write_failed),
            Source::BlockBitmap(group) => plan.block_bitmap(group),
            Source::InodeBitmap(group) => plan.inode_bitmap(group),
            Source::InodeTable(group) => plan.inode_table(group),
            Source::Attributes(block) => {
                let mut block = block.to_vec();
                attributes::seal(&mut block, self.block, plan.identity.seed());
                block
            }
        };
        writer.put(offset, &bytes).map_err(write_failed)
    }
}

fn put_runs(
    writer: &mut SparseWriter<'_>,
    runs: &[Run],
    block_size: u64,
    bytes: &[u8],
) -> Result<(), Error> {
    let mut rest = bytes;
    for run in runs {
        let room = super::plan::to_usize(run.count * block_size).min(rest.len());
        let (head, tail) = rest.split_at(room);
        writer.put(run.start * block_size, head).map_err(write_failed)?;
        rest = tail;
    }
    Ok(())
}
