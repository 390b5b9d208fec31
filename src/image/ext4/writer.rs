//! Writes a planned file system: every piece to its place, on as many threads as wanted.
//!
//! A piece is a copy of the superblock, a table, or what a file consists of. Pieces are sorted by
//! place and dealt out in batches of neighbours, so each thread writes long stretches. The bytes
//! do not depend on the number of threads, because every place was known before.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use fs_err::File;

use super::attributes;
use super::draft::Body;
use super::extents::Run;
use super::format::SUPERBLOCK_OFFSET;
use super::plan::{Placed, Plan, to_u32};
use crate::crew;
use crate::image::Error;
use crate::image::sparse::SparseWriter;
use crate::tree::{Content, Contents, TreePath};

/// A batch ends with the piece that fills it to this many bytes.
const BATCH: u64 = 4 << 20;

/// Something to be written at the block where it begins.
struct Piece<'p> {
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
        let pieces = self.pieces();
        let batches = batches(&pieces);
        let next = AtomicUsize::new(0);
        let failed: Mutex<Option<(usize, Error)>> = Mutex::new(None);
        let work = || {
            let mut writer = SparseWriter::new(file, base);
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(batch) = batches.get(index) else { return };
                if let Err(error) = self.write_batch(batch, contents, &mut writer) {
                    next.store(batches.len(), Ordering::Relaxed);
                    let mut failed = failed.lock().expect("no thread panics with the lock");
                    if failed.as_ref().is_none_or(|(earlier, _)| index < *earlier) {
                        *failed = Some((index, error));
                    }
                    return;
                }
            }
        };
        crew::share(threads.min(batches.len()), work);
        let failed = failed.into_inner().expect("no thread panicked with the lock");
        failed.map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Everything that is to be written, in the order of places.
    fn pieces(&self) -> Vec<Piece<'_>> {
        let geometry = &self.geometry;
        let size = geometry.block_size;
        let mut pieces = Vec::new();
        for group in 0..geometry.groups {
            if let Some(Run { start, count }) = geometry.fixed(group) {
                pieces.push(Piece {
                    block: start,
                    bytes: count * size,
                    source: Source::Fixed(group),
                });
            }
        }
        let tables = self.block_bitmaps.iter().zip(&self.inode_bitmaps).zip(&self.inode_tables);
        for (group, ((&blocks, &inodes), &table)) in (0..).zip(tables) {
            pieces.push(Piece { block: blocks, bytes: size, source: Source::BlockBitmap(group) });
            pieces.push(Piece { block: inodes, bytes: size, source: Source::InodeBitmap(group) });
            let bytes = geometry.table_blocks() * size;
            pieces.push(Piece { block: table, bytes, source: Source::InodeTable(group) });
        }
        for placed in &self.nodes {
            self.file_pieces(placed, &mut pieces);
        }
        pieces.sort_by_key(|piece| piece.block);
        pieces
    }

    fn file_pieces<'p>(&self, placed: &'p Placed, pieces: &mut Vec<Piece<'p>>) {
        let size = self.geometry.block_size;
        let node = &placed.node;
        for (block, bytes) in placed.map.iter().flat_map(|map| &map.nodes) {
            pieces.push(Piece { block: *block, bytes: size, source: Source::Bytes(bytes) });
        }
        if let Some(bytes) = &node.attributes.block {
            let source = Source::Attributes(bytes);
            pieces.push(Piece { block: placed.attribute_block, bytes: size, source });
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
        pieces.push(Piece { block, bytes, source });
    }

    /// A stored content of no bytes is opened all the same: it must exist and be empty.
    fn empty_content<'p>(&self, placed: &'p Placed, pieces: &mut Vec<Piece<'p>>) {
        if let Body::Content(content) = &placed.node.body {
            let block = self.geometry.first_data_block();
            let source = Source::Content(&[], content, &placed.node.path);
            pieces.push(Piece { block, bytes: 0, source });
        }
    }

    fn write_batch(
        &self,
        batch: &[Piece<'_>],
        contents: &dyn Contents,
        writer: &mut SparseWriter<'_>,
    ) -> Result<(), Error> {
        for piece in batch {
            self.write_piece(piece, contents, writer)?;
        }
        writer.flush().map_err(write_failed)
    }

    fn write_piece(
        &self,
        piece: &Piece<'_>,
        contents: &dyn Contents,
        writer: &mut SparseWriter<'_>,
    ) -> Result<(), Error> {
        let size = self.geometry.block_size;
        let offset = piece.block * size;
        let bytes = match piece.source {
            Source::Content(runs, content, path) => {
                return copy(writer, contents, content, &Target { runs, size, path });
            }
            Source::Body(runs, bytes) => return put_runs(writer, runs, size, bytes),
            Source::Bytes(bytes) => bytes.to_vec(),
            Source::Fixed(group) => return self.write_fixed(group, writer).map_err(write_failed),
            Source::BlockBitmap(group) => self.block_bitmap(group),
            Source::InodeBitmap(group) => self.inode_bitmap(group),
            Source::InodeTable(group) => self.inode_table(group),
            Source::Attributes(block) => {
                let mut block = block.to_vec();
                attributes::seal(&mut block, piece.block, self.identity.seed());
                block
            }
        };
        writer.put(offset, &bytes).map_err(write_failed)
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

/// Cuts the pieces into batches of neighbours.
fn batches<'a, 'p>(pieces: &'a [Piece<'p>]) -> Vec<&'a [Piece<'p>]> {
    let (mut batches, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (index, piece) in pieces.iter().enumerate() {
        bytes += piece.bytes;
        if bytes >= BATCH || index + 1 == pieces.len() {
            batches.push(&pieces[start..=index]);
            (start, bytes) = (index + 1, 0);
        }
    }
    batches
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

/// Where a content goes, and whose it is.
struct Target<'p> {
    runs: &'p [Run],
    size: u64,
    path: &'p TreePath,
}

/// Copies a content to its blocks. Reads to the very end, because only there a reader can say that
/// the bytes were not the promised ones.
fn copy(
    writer: &mut SparseWriter<'_>,
    contents: &dyn Contents,
    content: &Content,
    target: &Target<'_>,
) -> Result<(), Error> {
    let failed = |source| Error::Content { path: target.path.clone(), source };
    let mut reader = content.open(contents).map_err(failed)?;
    let mut left = content.size();
    for run in target.runs {
        let count = left.min(run.count * target.size);
        let copied = writer.copy(run.start * target.size, &mut reader, count);
        copied.map_err(write_failed)?.map_err(failed)?;
        left -= count;
    }
    match io::copy(&mut io::Read::take(reader, 1), &mut io::sink()).map_err(failed)? {
        0 => Ok(()),
        _ => Err(failed(io::Error::new(io::ErrorKind::InvalidData, "longer than the tree says"))),
    }
}

fn write_failed(source: io::Error) -> Error {
    Error::Write { source }
}
