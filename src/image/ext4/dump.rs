//! A file system as text: its counts, its groups, and each inode with the blocks it takes.
//!
//! For people who look at an image, and for tests, which compare this text and not bytes. It is
//! made from what stands in the image, not from what was planned.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use std::fmt::Write as _;

use super::format::{JOURNAL_INODE, flags};
use super::reader::FileSystem;
use super::volume::Claims;
use crate::image::Error;
use crate::image::blocks::Extent;

/// The counts of a file system, as its superblock gives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Its UUID.
    pub uuid: [u8; 16],
    /// Bytes of a block.
    pub block_size: u64,
    /// Blocks in all.
    pub blocks: u64,
    /// Blocks that no file takes.
    pub free_blocks: u64,
    /// Blocks that only root may use.
    pub reserved_blocks: u64,
    /// Inodes in all.
    pub inodes: u32,
    /// Inodes that no file takes.
    pub free_inodes: u32,
    /// Whether there is a journal.
    pub journal: bool,
    /// Whether metadata carries checksums.
    pub checksums: bool,
    /// When it was made, in seconds since 1970.
    pub time: u64,
}

impl FileSystem<'_> {
    /// The counts in the superblock.
    pub fn summary(&self) -> Summary {
        let volume = &self.volume;
        let superblock = &volume.superblock;
        Summary {
            uuid: superblock.uuid,
            block_size: volume.block_size(),
            blocks: superblock.blocks_count,
            free_blocks: superblock.free_blocks,
            reserved_blocks: superblock.reserved_blocks,
            inodes: superblock.inodes_count,
            free_inodes: superblock.free_inodes,
            journal: self.volume.has_journal(),
            checksums: superblock.has_checksums(),
            time: superblock.time,
        }
    }

    /// Everything as text; see the head of this file.
    ///
    /// # Errors
    /// [`Error::Read`] when the medium fails.
    pub fn dump(&self) -> Result<String, Error> {
        let mut text = String::new();
        let Summary { uuid: _, block_size, blocks, free_blocks, reserved_blocks, .. } =
            self.summary();
        let Summary { inodes, free_inodes, journal, checksums, time, .. } = self.summary();
        let push = |text: &mut String, line: std::fmt::Arguments<'_>| {
            writeln!(text, "{line}").expect("a string takes all");
        };
        push(
            &mut text,
            format_args!(
                "{blocks} blocks of {block_size} bytes, {free_blocks} free, \
                 {reserved_blocks} reserved; {inodes} inodes, {free_inodes} free; \
                 journal {journal}, checksums {checksums}, time {time}"
            ),
        );
        for (group, descriptor) in self.volume.descriptors.iter().enumerate() {
            push(
                &mut text,
                format_args!(
                    "group {group}: bitmaps {} {}, inodes {}; free {} blocks, {} inodes; \
                     {} directories",
                    descriptor.block_bitmap,
                    descriptor.inode_bitmap,
                    descriptor.inode_table,
                    descriptor.free_blocks,
                    descriptor.free_inodes,
                    descriptor.directories,
                ),
            );
        }
        for number in self.inodes.iter().copied().chain(journal.then_some(JOURNAL_INODE)) {
            let line = self.inode_line(number)?;
            push(&mut text, format_args!("{line}"));
        }
        text.push_str(&self.tree.to_listing());
        Ok(text)
    }

    fn inode_line(&self, number: u32) -> Result<String, Error> {
        let volume = &self.volume;
        let inode = volume.inode(number)?;
        let mut line = format!(
            "inode {number}: mode {:o}, {} links, {} bytes, {} sectors",
            inode.mode, inode.links, inode.size, inode.sectors
        );
        if inode.flags & flags::INDEX != 0 {
            line.push_str(", indexed");
        }
        if inode.attribute_block != 0 {
            write!(line, ", attributes {}", inode.attribute_block).expect("a string takes all");
        }
        if inode.flags & flags::EXTENTS != 0 {
            for Extent { run, .. } in volume.map(number, &inode, &mut Claims::new(volume)?)? {
                let last = run.start.saturating_add(run.count).saturating_sub(1);
                write!(line, ", {}-{last}", run.start).expect("a string takes all");
            }
        }
        Ok(line)
    }
}
