//! Looks for bytes that nothing leads to and that are not zero: free blocks, what is left of a file's
//! last block, inodes that are not in use, sectors between headers and trees, the log
//! behind its one record.
//!
//! In an image of ours there are none, so nobody can hide anything there, and the same files give
//! the same bytes.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use super::format::{BLOCK_SIZE, INODE_SIZE, SECTOR, wide};
use super::inode::Inode;
use super::reader::FileSystem;
use crate::image::Error;

impl FileSystem<'_> {
    /// Returns the offset, within the file system, of a byte that no file, table or header accounts
    /// for and that is not zero; `None` when there is none.
    ///
    /// # Errors
    /// [`Error::Read`] when the medium fails.
    pub fn stray_byte(&self) -> Result<Option<u64>, Error> {
        let volume = &self.volume;
        let geometry = volume.geometry();
        let headers = wide(SECTOR).saturating_mul(4);
        let groups = (0..geometry.groups).map(|group| {
            let start = geometry.group_start(group).saturating_mul(BLOCK_SIZE);
            (start.saturating_add(headers), BLOCK_SIZE.saturating_sub(headers))
        });
        let bytes = |block: u64| block.saturating_mul(BLOCK_SIZE);
        let free = self.free.runs.iter().map(|run| (bytes(run.start), bytes(run.count)));
        let slack = self.contents.slack();
        let log = geometry.on_disk(volume.superblock.log_start).map(|start| {
            let record = wide(SECTOR).saturating_mul(2);
            let length = bytes(volume.superblock.log_blocks).saturating_sub(record);
            (bytes(start).saturating_add(record), length)
        });
        for (offset, length) in groups.chain(free).chain(slack).chain(log) {
            if let Some(found) = volume.blocks().first_not_zero(offset, length)? {
                return Ok(Some(found));
            }
        }
        self.stray_in_inodes()
    }

    /// A free inode knows its number and nothing else.
    fn stray_in_inodes(&self) -> Result<Option<u64>, Error> {
        let volume = &self.volume;
        for (number, offset) in volume.free_inodes() {
            let mut found = [0; INODE_SIZE];
            volume.read_at(offset, &mut found)?;
            let free = Inode::free(number, volume.superblock.uuid);
            let mut places = (offset..).zip(found.iter().zip(&free));
            if let Some((place, _)) = places.find(|(_, (found, free))| found != free) {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }
}
