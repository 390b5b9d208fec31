//! Looks for bytes that nothing leads to and that are not zero: free blocks, what is left of a
//! file's last block, inodes that are not in use.
//!
//! In an image of ours there are none, so nobody can hide anything there, and the same files give
//! the same bytes.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use super::format::{BAD_BLOCKS_INODE, JOURNAL_INODE, RESIZE_INODE, SUPERBLOCK_OFFSET, le32};
use super::inode::Inode;
use super::reader::FileSystem;
use crate::image::Error;
use crate::image::blocks::Run;
use crate::image::fields::first_not_zero;

impl FileSystem<'_> {
    /// Returns the offset, within the file system, of a byte that no file, table or superblock
    /// accounts for and that is not zero; `None` when there is none.
    ///
    /// # Errors
    /// [`Error::Read`] when the medium fails.
    pub fn stray_byte(&self) -> Result<Option<u64>, Error> {
        let volume = &self.volume;
        let blocks = volume.blocks();
        let bytes = |block: u64| block.saturating_mul(volume.block_size());
        let free = self.unclaimed().map(|run| (bytes(run.start), bytes(run.count)));
        let before = std::iter::once((0, SUPERBLOCK_OFFSET));
        let slack = volume.head_slack().chain(self.contents.slack());
        for (start, length) in before.chain(free).chain(slack) {
            if let Some(found) = blocks.first_not_zero(start, length)? {
                return Ok(Some(found));
            }
        }
        match self.stray_in_reserved()? {
            None => self.stray_in_inodes(),
            found => Ok(found),
        }
    }

    /// Blocks that nothing leads to. The first one may hold the superblock, or be before its block.
    fn unclaimed(&self) -> impl Iterator<Item = Run> {
        let mut block = 1;
        std::iter::from_fn(move || {
            let end = self.volume.superblock.blocks_count;
            let start = (block..end).find(|&block| !self.claims.has(block))?;
            block = (start..end).find(|&block| self.claims.has(block)).unwrap_or(end);
            Some(Run { start, count: block.saturating_sub(start) })
        })
    }

    /// Blocks reserved for more descriptors hold nothing, but those of the first group, and the block that
    /// leads to these, the numbers of reserved blocks.
    fn stray_in_reserved(&self) -> Result<Option<u64>, Error> {
        let volume = &self.volume;
        let runs: Vec<Run> = volume.reserved_runs().collect();
        let is_reserved = |block| runs.iter().any(|run| (run.start..run.end()).contains(&block));
        let first = runs.first().into_iter().flat_map(|run| run.start..run.end());
        for block in first.chain(self.leading) {
            let bytes = volume.block("reserved descriptors", block)?;
            let numbers = bytes.chunks_exact(4).map(|bytes| le32(bytes, 0).unwrap_or_default());
            let stray = (0_u64..)
                .zip(numbers)
                .find(|&(_, number)| number != 0 && !is_reserved(number.into()));
            if let Some((index, _)) = stray {
                let place = block.saturating_mul(volume.block_size());
                return Ok(Some(place.saturating_add(index.saturating_mul(4))));
            }
        }
        let bytes = |block: u64| block.saturating_mul(volume.block_size());
        for run in runs.iter().skip(1) {
            if let Some(found) =
                volume.blocks().first_not_zero(bytes(run.start), bytes(run.count))?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn stray_in_inodes(&self) -> Result<Option<u64>, Error> {
        let volume = &self.volume;
        for number in 1..=volume.superblock.inodes_count {
            if self.is_in_use(number) {
                continue;
            }
            let bytes = volume.inode_bytes(number)?;
            let is_clean = match number {
                BAD_BLOCKS_INODE => Inode::is_empty(&bytes),
                _ => volume.seed.is_some_and(|seed| Inode::is_blank(&bytes, number, seed)),
            };
            if let Some(within) = first_not_zero(&bytes)
                && !is_clean
            {
                let within = u64::try_from(within).unwrap_or(u64::MAX);
                return Ok(Some(volume.inode_offset(number)?.saturating_add(within)));
            }
        }
        Ok(None)
    }

    fn is_in_use(&self, number: u32) -> bool {
        match number {
            JOURNAL_INODE => self.volume.has_journal(),
            RESIZE_INODE => self.volume.grows(),
            _ => self.inodes.contains(&number),
        }
    }
}
