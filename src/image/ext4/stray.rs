//! Looks for bytes that nothing leads to and that are not zero: free blocks, what is left of a
//! file's last block, inodes that are not in use.
//!
//! In an image of ours there are none, so nobody can hide anything there, and the same files give
//! the same bytes.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use super::format::JOURNAL_INODE;
use super::reader::FileSystem;
use crate::image::Error;

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
        let size = u64::from(volume.superblock.inode_size);
        for number in 1..=volume.superblock.inodes_count {
            if number != JOURNAL_INODE && !self.inodes.contains(&number) {
                let place = volume.inode_offset(number)?;
                if let Some(found) = volume.blocks().first_not_zero(place, size)? {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }
}
