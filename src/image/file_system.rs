//! The file system in an image, whichever it is: told by its magic number and read back.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use super::known::Hashing;
use super::{Error, Medium, Window, erofs, ext4, xfs};
use crate::tree::{Contents, Tree};

/// A file system that was read.
#[derive(Debug)]
pub enum FileSystem<'m> {
    /// ext4.
    Ext4(Box<ext4::FileSystem<'m>>),
    /// erofs.
    Erofs(Box<erofs::FileSystem<'m>>),
    /// xfs.
    Xfs(Box<xfs::FileSystem<'m>>),
}

/// What a superblock says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// `ext4`, `erofs`, `xfs`.
    pub kind: &'static str,
    /// The UUID.
    pub uuid: [u8; 16],
    /// Bytes of a block.
    pub block_size: u64,
    /// Blocks in all.
    pub blocks: u64,
    /// Blocks that no file takes.
    pub free_blocks: u64,
    /// Whether there is a journal.
    pub journal: bool,
    /// Whether contents are compressed.
    pub compressed: bool,
    /// When it was made, in seconds since 1970; of an xfs, when its root was changed.
    pub time: u64,
}

/// Which file system is in `medium`, by its magic number: `ext4`, `erofs`, `xfs`.
///
/// # Errors
/// [`Error::Read`] when the medium fails, [`Error::Broken`] when it is none of them.
pub fn kind(medium: &Window<'_>) -> Result<&'static str, Error> {
    let mut begin = [0; 2048];
    let size = medium.size().map_err(|source| Error::Read { source })?;
    if size >= 2048 {
        medium.read_at(0, &mut begin).map_err(|source| Error::Read { source })?;
    }
    let has = |at: usize, magic: &[u8]| begin.get(at..).is_some_and(|rest| rest.starts_with(magic));
    match () {
        () if has(1024, &[0xE2, 0xE1, 0xF5, 0xE0]) => Ok("erofs"),
        () if has(1080, &[0x53, 0xEF]) => Ok("ext4"),
        () if has(0, b"XFSB") => Ok("xfs"),
        () => Err(Error::broken("partition 1", "it holds none of Kata's file systems")),
    }
}

/// Reads the file system in `medium`, hashing contents on up to `threads` threads.
///
/// # Errors
/// [`Error::Read`] when the medium fails, [`Error::Broken`] with the first rule that does not hold,
/// [`Error::Unsupported`] for what is none of Kata's file systems.
pub(super) fn read<'m>(medium: Window<'m>, hashing: Hashing<'_>) -> Result<FileSystem<'m>, Error> {
    match kind(&medium) {
        Ok("erofs") => Ok(FileSystem::Erofs(Box::new(erofs::read(medium, hashing)?))),
        Ok("xfs") => Ok(FileSystem::Xfs(Box::new(xfs::read(medium, hashing)?))),
        Err(error @ Error::Read { .. }) => Err(error),
        // What is none at all, its reader says with the rule that is broken.
        _ => Ok(FileSystem::Ext4(Box::new(ext4::read(medium, hashing)?))),
    }
}

impl<'m> FileSystem<'m> {
    /// Its files.
    pub fn tree(&self) -> &Tree {
        match self {
            Self::Ext4(system) => &system.tree,
            Self::Erofs(system) => &system.tree,
            Self::Xfs(system) => &system.tree,
        }
    }

    /// Its files, and their contents.
    pub fn into_parts(self) -> (Tree, Box<dyn Contents + 'm>) {
        match self {
            Self::Ext4(system) => (system.tree, Box::new(system.contents)),
            Self::Erofs(system) => (system.tree, Box::new(system.contents)),
            Self::Xfs(system) => (system.tree, Box::new(system.contents)),
        }
    }

    /// What the superblock says.
    pub fn summary(&self) -> Summary {
        match self {
            Self::Ext4(system) => {
                let found = system.summary();
                Summary {
                    kind: "ext4",
                    uuid: found.uuid,
                    block_size: found.block_size,
                    blocks: found.blocks,
                    free_blocks: found.free_blocks,
                    journal: found.journal,
                    compressed: false,
                    time: found.time,
                }
            }
            Self::Erofs(system) => {
                let found = system.summary();
                Summary {
                    kind: "erofs",
                    uuid: found.uuid,
                    block_size: 4096,
                    blocks: found.blocks,
                    free_blocks: 0,
                    journal: false,
                    compressed: found.compressed,
                    time: found.time,
                }
            }
            Self::Xfs(system) => {
                let found = system.summary();
                let root = system.tree.inode(system.tree.root());
                Summary {
                    kind: "xfs",
                    uuid: found.uuid,
                    block_size: 4096,
                    blocks: found.blocks,
                    free_blocks: found.free_blocks,
                    journal: true,
                    compressed: false,
                    time: u64::try_from(root.meta.mtime).unwrap_or_default(),
                }
            }
        }
    }

    /// Its counts, each inode with the blocks it takes, and its files, as text.
    ///
    /// # Errors
    /// [`Error::Read`] when the medium fails.
    pub fn dump(&self) -> Result<String, Error> {
        match self {
            Self::Ext4(system) => system.dump(),
            Self::Erofs(system) => Ok(system.dump()),
            Self::Xfs(system) => system.dump(),
        }
    }

    /// Returns the offset, within the file system, of a byte that nothing leads to and that is not
    /// zero; `None` when there is none.
    ///
    /// # Errors
    /// [`Error::Read`] when the medium fails.
    pub fn stray_byte(&self) -> Result<Option<u64>, Error> {
        match self {
            Self::Ext4(system) => system.stray_byte(),
            Self::Erofs(system) => system.stray_byte(),
            Self::Xfs(system) => system.stray_byte(),
        }
    }
}
