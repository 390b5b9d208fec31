//! erofs: written by our own hand, the same bytes everywhere, and read back without mounting.
//!
//! What is made: contents in clusters of LZ4, or as they are, each once however many files have it;
//! attributes that files share, once; the end of a file behind its inode unless whole blocks are
//! wanted. The UUID follows from the tree; every time is the tree's or the epoch.
//!
//! ```text
//! Tree ──draft──▶ Plan ──data──▶ contents on disk ──writer──▶ inodes behind them ──reader──▶ Tree
//! ```
//!
//! Specification: <https://erofs.docs.kernel.org/en/latest/ondisk/index.html> and Linux,
//! `fs/erofs`; judged by `fsck.erofs` and the kernel.

mod attributes;
mod claims;
mod compress;
mod content;
mod data;
mod directory;
mod draft;
mod dump;
mod format;
mod index;
mod map;
mod place;
mod reader;
mod volume;
mod writer;

pub use content::ImageContents;
pub use dump::Summary;
pub use reader::FileSystem;

pub(in crate::image) use reader::read;
pub(crate) use writer::Plan;

use crate::epoch::Epoch;
use crate::recipe::Compression;

/// How a file system is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// How contents are compressed.
    pub(crate) compression: Compression,
    /// Whether the end of a file may stand behind its inode. A guest that maps files from
    /// persistent memory wants whole blocks.
    pub(crate) inline: bool,
    /// Its UUID.
    pub(crate) uuid: [u8; 16],
    /// The time of what has none of its own.
    pub(crate) epoch: Epoch,
}
