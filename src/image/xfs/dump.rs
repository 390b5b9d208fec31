//! A file system as text: its counts, its groups, and each inode with the blocks it takes.
//!
//! For people who look at an image, and for tests, which compare this text and not bytes. It is made
//! from what stands in the image, not from what was planned.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use std::fmt::Write as _;

use super::format::BLOCK_SIZE;
use super::inode::{Fork, Format};
use super::reader::FileSystem;
use crate::image::Error;
use crate::image::blocks::Extent;

/// The counts of a file system, as its superblock gives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Its UUID.
    pub uuid: [u8; 16],
    /// Blocks of 4096 bytes in all.
    pub blocks: u64,
    /// Blocks that no file takes.
    pub free_blocks: u64,
    /// Inodes that there are.
    pub inodes: u64,
    /// Inodes that no file takes.
    pub free_inodes: u64,
}

impl FileSystem<'_> {
    /// The counts in the superblock.
    pub fn summary(&self) -> Summary {
        let superblock = &self.volume.superblock;
        Summary {
            uuid: superblock.uuid,
            blocks: superblock.geometry.blocks,
            free_blocks: superblock.free_blocks,
            inodes: superblock.inodes,
            free_inodes: superblock.free_inodes,
        }
    }

    /// Everything as text; see the head of this file.
    ///
    /// # Errors
    /// [`Error::Read`] when the medium fails.
    pub fn dump(&self) -> Result<String, Error> {
        let Summary { blocks, free_blocks, inodes, free_inodes, .. } = self.summary();
        let mut text = format!(
            "{blocks} blocks of {BLOCK_SIZE} bytes, {free_blocks} free; {inodes} inodes, \
             {free_inodes} free; {} groups, log of {} blocks\n",
            self.volume.geometry().groups,
            self.volume.superblock.log_blocks
        );
        for number in &self.inodes {
            let inode = self.volume.inode(*number)?;
            write!(
                text,
                "inode {number}: mode {:o}, {} links, {} bytes, {} blocks",
                inode.mode, inode.links, inode.size, inode.blocks
            )
            .expect("a string takes all");
            self.describe(&mut text, "", &inode.data);
            if let Some(fork) = &inode.attributes {
                self.describe(&mut text, " attributes", fork);
            }
            text.push('\n');
        }
        text.push_str(&self.tree.to_listing());
        Ok(text)
    }

    fn describe(&self, text: &mut String, what: &str, fork: &Fork) {
        let geometry = self.volume.geometry();
        let (all, _) = fork.bytes.as_chunks::<16>();
        let count = usize::try_from(fork.extents).unwrap_or_default();
        match fork.format {
            Format::Local => text.push_str(&format!(",{what} inside")),
            Format::Extents => {
                let extents = all.iter().take(count);
                for Extent { logical, run, .. } in
                    extents.filter_map(|bytes| Extent::decode(*bytes, geometry))
                {
                    let last = run.end().saturating_sub(1);
                    text.push_str(&format!(",{what} {logical}: {}-{last}", run.start));
                }
            }
            Format::Device | Format::Tree => {}
        }
    }
}
