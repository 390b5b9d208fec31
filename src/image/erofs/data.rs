//! Packs the contents of all files, on as many threads as wanted, and writes them one after the
//! other, in the order of the files.
//!
//! ```text
//! contents ──read in order──▶ pieces ──packed on any thread──▶ put in order again ──▶ file
//! ```
//!
//! Reading and writing are quick and happen under a lock each; packing takes the time. A thread that
//! is far ahead waits, so memory holds a few pieces. Where a content goes depends on how well the
//! ones before it were packed, and on nothing else.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::{Condvar, Mutex, MutexGuard};

use super::compress::{self, Extent, PIECE, Packed};
use super::draft::Stored;
use super::format::{BLOCK, BLOCK_SIZE};
use crate::crew;
use crate::image::Error;
use crate::image::sparse::SparseWriter;
use crate::recipe::Compression;
use crate::tree::Contents;

/// The first block behind the superblock.
const FIRST: u64 = 1;
/// How many pieces may wait for an earlier one.
const AHEAD: u64 = 64;
const LOCKED: &str = "no thread panics with the lock";

/// Where a content went.
#[derive(Debug, Clone, Default)]
pub(super) struct Placed {
    /// Its first block.
    pub(super) block: u32,
    pub(super) blocks: u32,
    /// How it is compressed; empty when it is not.
    pub(super) extents: Vec<Extent>,
    /// The end of it, when that will stand behind the inode.
    pub(super) tail: Vec<u8>,
}

/// What is done with contents.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    pub(super) compression: Compression,
    /// Whether the end of a file may stand behind its inode. What is mapped into a guest's memory as
    /// it stands on a disk needs whole blocks.
    pub(super) inline: bool,
}

/// A piece of a content.
struct Piece {
    sequence: u64,
    content: usize,
    bytes: Vec<u8>,
    is_last: bool,
}

/// Writes all contents, behind the superblock. Returns where they went, and the block behind them.
///
/// # Errors
/// [`Error::Content`], [`Error::Write`], [`Error::TooLarge`].
pub(super) fn write(
    stored: &[Stored],
    contents: &dyn Contents,
    manner: Manner,
    writer: SparseWriter<'_>,
    threads: usize,
) -> Result<(Vec<Placed>, u64), Error> {
    let source = Mutex::new(Source { stored, contents, reader: None, next: 0, sequence: 0 });
    let sink = Mutex::new(Sink {
        stored,
        manner,
        writer,
        block: FIRST,
        placed: vec![Placed::default(); stored.len()],
        sequence: 0,
        waiting: BTreeMap::new(),
        failure: None,
    });
    let moved = Condvar::new();
    let work = || {
        loop {
            let piece = source.lock().expect(LOCKED).next();
            let packed = match piece {
                None => return,
                Some(Err(error)) => Err(error),
                Some(Ok(piece)) => {
                    let packed = compress::pack(&piece.bytes, manner.compression);
                    Ok((Piece { bytes: Vec::new(), ..piece }, packed))
                }
            };
            let mut sink = sink.lock().expect(LOCKED);
            if let Ok((piece, _)) = &packed {
                sink = wait(sink, &moved, piece.sequence);
            }
            let goes_on = sink.accept(packed);
            drop(sink);
            moved.notify_all();
            if !goes_on {
                source.lock().expect(LOCKED).stop();
                return;
            }
        }
    };
    crew::share(threads.min(stored.len()), work);
    sink.into_inner().expect("no thread panicked with the lock").finish()
}

/// Waits until not too many pieces are ahead of what was written.
fn wait<'s, 'a>(
    sink: MutexGuard<'s, Sink<'a>>,
    moved: &Condvar,
    sequence: u64,
) -> MutexGuard<'s, Sink<'a>> {
    let is_ahead = |sink: &mut Sink<'a>| sink.failure.is_none() && sequence > sink.sequence + AHEAD;
    moved.wait_while(sink, is_ahead).expect(LOCKED)
}

/// Cuts contents into pieces, in order.
struct Source<'a> {
    stored: &'a [Stored],
    contents: &'a dyn Contents,
    /// The content that is being read, and how much of it is left.
    reader: Option<(Box<dyn Read + Send + 'a>, u64)>,
    next: usize,
    sequence: u64,
}

impl<'a> Source<'a> {
    fn stop(&mut self) {
        self.next = self.stored.len();
        self.reader = None;
    }

    fn next(&mut self) -> Option<Result<Piece, Error>> {
        let stored = self.stored.get(self.next)?;
        let piece = self.read(stored);
        if piece.is_err() {
            self.stop();
        }
        let failed = |source| Error::Content { path: stored.path.clone(), source };
        Some(piece.map_err(failed))
    }

    fn read(&mut self, stored: &'a Stored) -> io::Result<Piece> {
        let (mut reader, left) = match self.reader.take() {
            Some(reader) => reader,
            None => (stored.content.open_unhashed(self.contents)?, stored.content.size()),
        };
        let length = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        let mut bytes = vec![0; length];
        reader.read_exact(&mut bytes)?;
        let left = left - length as u64;
        let (content, sequence) = (self.next, self.sequence);
        self.sequence += 1;
        if left > 0 {
            self.reader = Some((reader, left));
        } else {
            // The end must be seen: there may be more.
            if reader.take(1).read_to_end(&mut Vec::new())? > 0 {
                let text = "there are more bytes than the tree says";
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            self.next += 1;
        }
        Ok(Piece { sequence, content, bytes, is_last: left == 0 })
    }
}

/// Puts pieces in order and writes them.
struct Sink<'a> {
    stored: &'a [Stored],
    manner: Manner,
    writer: SparseWriter<'a>,
    /// The next free block.
    block: u64,
    placed: Vec<Placed>,
    /// The piece that is next.
    sequence: u64,
    waiting: BTreeMap<u64, (Piece, Packed)>,
    failure: Option<Error>,
}

impl Sink<'_> {
    /// Takes a piece; returns whether there is any use in going on.
    fn accept(&mut self, packed: Result<(Piece, Packed), Error>) -> bool {
        match packed {
            Ok((piece, packed)) => drop(self.waiting.insert(piece.sequence, (piece, packed))),
            Err(error) => drop(self.failure.get_or_insert(error)),
        }
        while self.failure.is_none()
            && let Some((piece, packed)) = self.waiting.remove(&self.sequence)
        {
            self.sequence += 1;
            if let Err(error) = self.put(&piece, packed) {
                self.failure = Some(error);
            }
        }
        self.failure.is_none()
    }

    fn put(&mut self, piece: &Piece, mut packed: Packed) -> Result<(), Error> {
        let too_large =
            |_| Error::TooLarge { format: "erofs", rule: "it has less than 2^32 blocks".into() };
        let placed = &mut self.placed[piece.content];
        if placed.blocks == 0 {
            placed.block = u32::try_from(self.block).map_err(too_large)?;
        }
        let is_plain = |extents: &[Extent]| extents.iter().all(|extent| !extent.compressed);
        let plain = is_plain(&placed.extents) && is_plain(&packed.extents);
        if piece.is_last && plain && self.manner.inline {
            placed.tail = packed.take_tail(&self.stored[piece.content]);
        }
        let bytes = &packed.bytes;
        self.writer.put(self.block * BLOCK, bytes).map_err(|source| Error::Write { source })?;
        let blocks = u32::try_from(bytes.len() / BLOCK_SIZE).expect("a piece is small");
        self.block += u64::from(blocks);
        placed.blocks = placed.blocks.saturating_add(blocks);
        placed.extents.append(&mut packed.extents);
        if piece.is_last && plain {
            placed.extents = Vec::new();
        }
        u32::try_from(self.block).map(drop).map_err(too_large)
    }

    fn finish(mut self) -> Result<(Vec<Placed>, u64), Error> {
        if let Some(error) = self.failure {
            return Err(error);
        }
        self.writer.flush().map_err(|source| Error::Write { source })?;
        Ok((self.placed, self.block))
    }
}

impl Packed {
    /// Takes the last block away when it is not full and has room behind the inodes of all files
    /// with this content, without taking more room there than it does here.
    fn take_tail(&mut self, stored: &Stored) -> Vec<u8> {
        let tail = self.extents.last().map_or(0, |extent| u64::from(extent.length));
        let inode = super::writer::LONGEST_INODE + stored.attributes;
        if tail == 0 || tail == BLOCK || inode + tail > BLOCK || tail * stored.files > BLOCK {
            return Vec::new();
        }
        self.extents.pop();
        let mut block = self.bytes.split_off(self.bytes.len() - BLOCK_SIZE);
        block.truncate(usize::try_from(tail).expect("a tail is shorter than a block"));
        block
    }
}
