//! Files that lie in runs of blocks, as in ext4 and xfs: where their bytes stand, and a reader of them.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use std::io::{self, Read};

use super::medium::first_filled;
use super::{Error, Medium as _, Window};

/// Neighbouring blocks of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Run {
    /// The first block.
    pub(super) start: u64,
    /// How many.
    pub(super) count: u64,
}

impl Run {
    /// The first block behind it.
    pub(super) const fn end(&self) -> u64 {
        self.start.saturating_add(self.count)
    }
}

/// Blocks of a file: those of `run`, from block `logical` of the file on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) logical: u64,
    pub(super) run: Run,
    /// Blocks that were never written read as zero.
    pub(super) written: bool,
}

/// Where the bytes of a file stand.
#[derive(Debug, Clone)]
pub(super) struct FileMap {
    pub(super) size: u64,
    /// Sorted, without overlap; what lies between reads as zero.
    pub(super) extents: Vec<Extent>,
}

/// A medium of blocks of one size, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blocks<'m> {
    pub(super) medium: Window<'m>,
    pub(super) block_size: u64,
}

impl Blocks<'_> {
    /// The offset of the first byte that is not zero among `length` from `offset` on, in bytes.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub(super) fn first_not_zero(&self, offset: u64, length: u64) -> Result<Option<u64>, Error> {
        first_filled(&self.medium, offset, offset.saturating_add(length))
    }
}

/// Reads a file from front to back.
pub(super) struct FileReader<'a> {
    blocks: Blocks<'a>,
    file: &'a FileMap,
    at: u64,
    /// The first extent that does not end before `at`.
    next: usize,
}

impl<'a> FileReader<'a> {
    pub(super) fn new(blocks: Blocks<'a>, file: &'a FileMap) -> Self {
        Self { blocks, file, at: 0, next: 0 }
    }

    /// How many bytes from `at` on are of one kind, and where on the medium they stand; `None` for
    /// zeros.
    fn stretch(&mut self) -> (u64, Option<u64>) {
        let size = self.blocks.block_size;
        let left = self.file.size.saturating_sub(self.at);
        while let Some(extent) = self.file.extents.get(self.next) {
            let start = extent.logical.saturating_mul(size);
            let end = start.saturating_add(extent.run.count.saturating_mul(size));
            if end <= self.at {
                self.next = self.next.saturating_add(1);
                continue;
            }
            let Some(into) = self.at.checked_sub(start) else {
                return (left.min(start.saturating_sub(self.at)), None);
            };
            let place = extent.run.start.saturating_mul(size).saturating_add(into);
            let length = left.min(end.saturating_sub(self.at));
            return (length, extent.written.then_some(place));
        }
        (left, None)
    }
}

impl Read for FileReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (length, place) = self.stretch();
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(buffer.len());
        let Some(part) = buffer.get_mut(..length) else { return Ok(0) };
        match place {
            _ if part.is_empty() => return Ok(0),
            Some(place) => self.blocks.medium.read_at(place, part)?,
            None => part.fill(0),
        }
        self.at = self.at.saturating_add(u64::try_from(length).map_err(io::Error::other)?);
        Ok(length)
    }
}
