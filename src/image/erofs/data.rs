//! Packs the contents of all files, on as many threads as wanted, and writes them one after the
//! other, in the order of the files.
//!
//! ```text
//! contents ──dealt out in order──▶ batches ──packed on any thread──▶ put in order again ──▶ file
//! ```
//!
//! A batch is a piece of a large content, which is read in its turn, or many small contents, which
//! the thread that packs them reads. Writing is quick and happens under a lock. A thread that is far
//! ahead waits, so memory holds a few batches. Where a content goes depends on how well the
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
/// How many batches may wait for an earlier one.
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

/// What a thread does at a time: many small contents, or a piece of a large one.
struct Batch<'a> {
    sequence: u64,
    work: Work<'a>,
}

enum Work<'a> {
    /// Contents that nobody has read yet, the first of them with this number.
    Contents(usize, &'a [Stored]),
    /// The next piece of a content, read in its turn.
    Piece(Piece),
}

/// A piece of a content.
struct Piece {
    content: usize,
    bytes: Vec<u8>,
    is_last: bool,
}

/// A piece, packed.
struct Filled {
    content: usize,
    packed: Packed,
    is_last: bool,
}

/// Writes all contents, behind the superblock. Returns where they went, and the block behind them.
///
/// # Errors
/// [`Error::Content`] with the first content, in order, that could not be read; [`Error::Write`],
/// [`Error::TooLarge`].
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
            let Some(batch) = source.lock().expect(LOCKED).next() else { return };
            let (sequence, filled) = match batch {
                Ok(batch) => (batch.sequence, batch.pack(contents, manner.compression)),
                Err((sequence, error)) => (sequence, Err(error)),
            };
            let mut sink = wait(sink.lock().expect(LOCKED), &moved, sequence);
            let goes_on = sink.accept(sequence, filled);
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

/// Waits until not too many batches are ahead of what was written.
fn wait<'s, 'a>(
    sink: MutexGuard<'s, Sink<'a>>,
    moved: &Condvar,
    sequence: u64,
) -> MutexGuard<'s, Sink<'a>> {
    let is_ahead = |sink: &mut Sink<'a>| sink.failure.is_none() && sequence > sink.sequence + AHEAD;
    moved.wait_while(sink, is_ahead).expect(LOCKED)
}

/// Deals out contents, in order.
struct Source<'a> {
    stored: &'a [Stored],
    contents: &'a dyn Contents,
    /// The large content that is being read, and how much of it is left.
    reader: Option<(Box<dyn Read + Send + 'a>, u64)>,
    next: usize,
    sequence: u64,
}

impl<'a> Source<'a> {
    fn stop(&mut self) {
        self.next = self.stored.len();
        self.reader = None;
    }

    /// The next batch; or why there is none, with the number that it would have had.
    fn next(&mut self) -> Option<Result<Batch<'a>, (u64, Error)>> {
        let stored = self.stored.get(self.next)?;
        let sequence = self.sequence;
        self.sequence += 1;
        if stored.content.size() <= PIECE as u64 {
            return Some(Ok(Batch { sequence, work: self.small() }));
        }
        let piece = self.read(stored);
        if piece.is_err() {
            self.stop();
        }
        let work = piece.map(Work::Piece);
        let failed = |source| (sequence, failed(stored, source));
        Some(work.map(|work| Batch { sequence, work }).map_err(failed))
    }

    /// Small contents that are about a piece together.
    fn small(&mut self) -> Work<'a> {
        let (first, mut room) = (self.next, PIECE as u64);
        while let Some(left) =
            self.stored.get(self.next).and_then(|next| room.checked_sub(next.content.size()))
        {
            room = left;
            self.next += 1;
        }
        Work::Contents(first, &self.stored[first..self.next])
    }

    /// Reads the next piece of a large content.
    fn read(&mut self, stored: &'a Stored) -> io::Result<Piece> {
        let (mut reader, left) = match self.reader.take() {
            Some(reader) => reader,
            None => (stored.content.open_unhashed(self.contents)?, stored.content.size()),
        };
        let content = self.next;
        let length = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        let left = left - length as u64;
        let bytes = read_part(&mut *reader, length, left == 0)?;
        if left > 0 {
            self.reader = Some((reader, left));
        } else {
            self.next += 1;
        }
        Ok(Piece { content, bytes, is_last: left == 0 })
    }
}

impl Batch<'_> {
    fn pack(self, contents: &dyn Contents, compression: Compression) -> Result<Vec<Filled>, Error> {
        let pack = |Piece { content, bytes, is_last }| {
            let packed = compress::pack(&bytes, compression);
            Filled { content, packed, is_last }
        };
        match self.work {
            Work::Piece(piece) => Ok(vec![pack(piece)]),
            Work::Contents(first, stored) => {
                let whole = |(content, stored)| {
                    let bytes = read_whole(stored, contents);
                    let bytes = bytes.map_err(|source| failed(stored, source))?;
                    Ok(pack(Piece { content, bytes, is_last: true }))
                };
                (first..).zip(stored).map(whole).collect()
            }
        }
    }
}

fn read_whole(stored: &Stored, contents: &dyn Contents) -> io::Result<Vec<u8>> {
    let length = usize::try_from(stored.content.size()).map_err(io::Error::other)?;
    read_part(&mut *stored.content.open_unhashed(contents)?, length, true)
}

/// Reads `length` bytes, and where these are the last ones sees the end: there may be more.
fn read_part(reader: &mut dyn Read, length: usize, is_last: bool) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes)?;
    if is_last && reader.take(1).read_to_end(&mut Vec::new())? > 0 {
        let text = "there are more bytes than the tree says";
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(bytes)
}

fn failed(stored: &Stored, source: io::Error) -> Error {
    Error::Content { path: stored.path.clone(), source }
}

/// Puts pieces in order and writes them.
struct Sink<'a> {
    stored: &'a [Stored],
    manner: Manner,
    writer: SparseWriter<'a>,
    /// The next free block.
    block: u64,
    placed: Vec<Placed>,
    /// The batch that is next.
    sequence: u64,
    waiting: BTreeMap<u64, Vec<Filled>>,
    /// What went wrong in the first batch in which something did.
    failure: Option<(u64, Error)>,
}

impl Sink<'_> {
    /// Takes a batch; returns whether there is any use in going on.
    fn accept(&mut self, sequence: u64, filled: Result<Vec<Filled>, Error>) -> bool {
        match filled {
            Ok(filled) => drop(self.waiting.insert(sequence, filled)),
            Err(error) => self.fail(sequence, error),
        }
        while self.failure.is_none()
            && let Some(filled) = self.waiting.remove(&self.sequence)
        {
            let put = filled.into_iter().try_for_each(|filled| self.put(filled));
            if let Err(error) = put {
                self.fail(self.sequence, error);
            }
            self.sequence += 1;
        }
        self.failure.is_none()
    }

    fn fail(&mut self, sequence: u64, error: Error) {
        if self.failure.as_ref().is_none_or(|(first, _)| sequence < *first) {
            self.failure = Some((sequence, error));
        }
    }

    fn put(&mut self, filled: Filled) -> Result<(), Error> {
        let Filled { content, mut packed, is_last } = filled;
        let too_large =
            |_| Error::TooLarge { format: "erofs", rule: "it has less than 2^32 blocks".into() };
        let placed = &mut self.placed[content];
        if placed.blocks == 0 {
            placed.block = u32::try_from(self.block).map_err(too_large)?;
        }
        let is_plain = |extents: &[Extent]| extents.iter().all(|extent| !extent.compressed);
        let plain = is_plain(&placed.extents) && is_plain(&packed.extents);
        if is_last && plain && self.manner.inline {
            placed.tail = packed.take_tail(&self.stored[content]);
        }
        let bytes = &packed.bytes;
        self.writer.put(self.block * BLOCK, bytes).map_err(|source| Error::Write { source })?;
        let blocks = u32::try_from(bytes.len() / BLOCK_SIZE).expect("a piece is small");
        self.block += u64::from(blocks);
        placed.blocks = placed.blocks.saturating_add(blocks);
        placed.extents.append(&mut packed.extents);
        if is_last && plain {
            placed.extents = Vec::new();
        }
        u32::try_from(self.block).map(drop).map_err(too_large)
    }

    fn finish(mut self) -> Result<(Vec<Placed>, u64), Error> {
        if let Some((_, error)) = self.failure {
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
