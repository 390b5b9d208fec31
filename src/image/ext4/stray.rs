//! Looks for bytes that nothing leads to and that are not zero: free blocks, what is left of a
//! file's last block, inodes that are not in use.
//!
//! In an image of ours there are none, so nobody can hide anything there, and the same files give
//! the same bytes.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use super::format::{BAD_BLOCKS_INODE, JOURNAL_INODE, RESIZE_INODE};
use super::inode::Inode;
use super::reader::FileSystem;
use crate::image::Error;
use crate::image::fields::first_not_zero;

impl FileSystem<'_> {
    /// Returns the offset, within the file system, of a byte that no file, table or superblock
    /// accounts for and that is not zero; `None` when there is none.
    ///
    /// # Errors
    /// [`Error::Read`] when the medium fails.
    pub fn stray_byte(&self) -> Result<Option<u64>, Error> {
        let volume = &self.volume;
        let (size, blocks) = (volume.block_size(), volume.blocks());
        if let Some(found) = blocks.first_not_zero(0, 1024)? {
            return Ok(Some(found));
        }
        for block in 0..volume.superblock.blocks_count {
            if !self.claims.has(block) {
                let found = blocks.first_not_zero(block.saturating_mul(size), size)?;
                if found.is_some() && block > 0 {
                    return Ok(found);
                }
            }
        }
        for (start, length) in self.contents.slack() {
            if let Some(found) = blocks.first_not_zero(start, length)? {
                return Ok(Some(found));
            }
        }
        self.stray_in_inodes()
    }

    fn stray_in_inodes(&self) -> Result<Option<u64>, Error> {
        let volume = &self.volume;
        let growth = if volume.grows() { RESIZE_INODE } else { JOURNAL_INODE };
        let special = [BAD_BLOCKS_INODE, growth, JOURNAL_INODE];
        for number in 1..=volume.superblock.inodes_count {
            if special.contains(&number) || self.inodes.contains(&number) {
                continue;
            }
            let bytes = volume.inode_bytes(number)?;
            let is_blank = || volume.seed.is_some_and(|seed| Inode::is_blank(&bytes, number, seed));
            if let Some(within) = first_not_zero(&bytes)
                && !is_blank()
            {
                let within = u64::try_from(within).unwrap_or(u64::MAX);
                return Ok(Some(volume.inode_offset(number)?.saturating_add(within)));
            }
        }
        Ok(None)
    }
}
