//! Looks for bytes that nothing leads to and that are not zero: free blocks, what is left of a
//! file's last block, inodes that are not in use.
//!
//! In an image of ours there are none, so nobody can hide anything there, and the same files give
//! the same bytes.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use super::format::JOURNAL_INODE;
use super::reader::FileSystem;
use super::volume::Volume;
use crate::image::Error;
use crate::image::blocks::FileMap;
use crate::image::fields::first_not_zero;

impl FileSystem<'_> {
    /// Returns the offset, within the file system, of a byte that no file, table or superblock
    /// accounts for and that is not zero; `None` when there is none.
    ///
    /// # Errors
    /// [`Error::Read`] when the medium fails.
    pub fn stray_byte(&self) -> Result<Option<u64>, Error> {
        let volume = &self.contents.volume;
        let size = volume.block_size();
        if let Some(found) = nonzero(volume, 0, 1024)? {
            return Ok(Some(found));
        }
        for block in 0..volume.superblock.blocks_count {
            if !self.claims.has(block) {
                let found = nonzero(volume, block.saturating_mul(size), size)?;
                if found.is_some() && block > 0 {
                    return Ok(found);
                }
            }
        }
        for file in self.contents.files.values() {
            if let Some((start, length)) = slack(file, size)
                && let Some(found) = nonzero(volume, start, length)?
            {
                return Ok(Some(found));
            }
        }
        self.stray_in_inodes()
    }

    fn stray_in_inodes(&self) -> Result<Option<u64>, Error> {
        let volume = &self.contents.volume;
        let size = u64::from(volume.superblock.inode_size);
        for number in 1..=volume.superblock.inodes_count {
            if number != JOURNAL_INODE && !self.inodes.contains(&number) {
                let place = volume.inode_offset(number)?;
                if let Some(found) = nonzero(volume, place, size)? {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }
}

/// The part of a file's last block that the file does not fill: offset and length.
fn slack(file: &FileMap, block_size: u64) -> Option<(u64, u64)> {
    let last = file.extents.last()?;
    let end = last.logical.saturating_add(last.run.count).saturating_mul(block_size);
    let length = end.saturating_sub(file.size);
    let behind = last.run.start.saturating_add(last.run.count).saturating_mul(block_size);
    (length > 0).then(|| (behind.saturating_sub(length), length))
}

/// The offset of the first byte that is not zero among `length` from `offset` on.
fn nonzero(volume: &Volume<'_>, offset: u64, length: u64) -> Result<Option<u64>, Error> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    volume.read_at(offset, &mut bytes)?;
    let found = first_not_zero(&bytes).map(|at| u64::try_from(at).unwrap_or(u64::MAX));
    Ok(found.map(|at| offset.saturating_add(at)))
}
