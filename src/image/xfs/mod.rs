//! xfs, version 5: written by our own hand, the same bytes everywhere, and read back without
//! mounting.
//!
//! What is made: four groups, checksums, types in directories, a tree of free inodes, times beyond
//! 2038, an empty log; no shared blocks, since a guest cannot map these from persistent memory; blocks
//! of 4096 bytes, inodes of 512. The UUID follows from the tree; every time is the tree's.
//! `mkfs.xfs -p` would lose attributes, hard links and times.
//!
//! ```text
//! Tree ──draft──▶ Draft ──plan──▶ Plan ──writer──▶ bytes ──reader──▶ Tree
//!        inodes           places, numbers   ▲
//!                                           contents
//! ```
//!
//! Specification: the "XFS Algorithms & Data Structures" of xfs-documentation and Linux,
//! `fs/xfs/libxfs`; judged by `xfs_repair -n` and the kernel.

mod attribute_reader;
mod attributes;
mod btree;
mod census;
mod directory;
mod draft;
mod dump;
mod format;
mod geometry;
mod group;
mod inode;
mod log;
mod names;
mod plan;
mod reader;
mod stray;
mod superblock;
#[cfg(test)]
mod tests;
mod volume;
mod writer;

pub use dump::Summary;
pub use reader::FileSystem;

pub(crate) use plan::Plan;
pub(in crate::image) use reader::read;

use draft::Draft;
use format::BLOCK_SIZE;

use crate::image::Error;
use crate::tree::Tree;

/// Plans the smallest file system that holds `tree` and leaves `free` bytes, among the sizes that
/// `size` gives for 0, 1, 2 … in rising order, in bytes. Returns which it was.
///
/// # Errors
/// [`Error::CannotHold`], [`Error::TooLarge`].
pub(crate) fn plan(
    tree: &Tree,
    uuid: [u8; 16],
    free: u64,
    size: impl Fn(u64) -> u64,
) -> Result<(u64, Plan), Error> {
    let draft = Draft::new(tree)?;
    let mut needed = geometry::BLOCKS_MIN;
    let mut step = 0;
    loop {
        check_size(needed)?;
        step = crate::image::layout::first_step(step, |step| size(step) / BLOCK_SIZE >= needed);
        let blocks = size(step) / BLOCK_SIZE;
        check_size(blocks)?;
        match Plan::new(&draft, uuid, blocks)? {
            Some(plan) => match plan.shortage(free) {
                0 => return Ok((step, plan)),
                missing => needed = blocks + missing,
            },
            None => needed = blocks + 1,
        }
    }
}

fn check_size(blocks: u64) -> Result<(), Error> {
    if blocks <= geometry::BLOCKS_MAX {
        return Ok(());
    }
    let rule = format!("{blocks} blocks, and {} is the limit", geometry::BLOCKS_MAX);
    Err(Error::TooLarge { format: "xfs", rule })
}
