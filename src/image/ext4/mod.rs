//! ext4: written by our own hand, the same bytes everywhere, and read back without mounting.
//!
//! What is made: extents, `filetype`, `sparse_super`, `flex_bg`, `metadata_csum`, 256-byte inodes,
//! directories by hash, no journal unless asked for, no `64bit`, no `resize_inode`. The UUID and the
//! seed of names' hashes follow from the tree; every time is the tree's or the epoch.
//!
//! ```text
//! Tree ──draft──▶ Draft ──plan──▶ Plan ──writer──▶ bytes ──reader──▶ Tree
//!        numbers,          places            ▲
//!        bytes of metadata                   contents
//! ```
//!
//! Specification: <https://docs.kernel.org/filesystems/ext4/>; judged by `e2fsck -fn` and the kernel.

mod acl;
mod attributes;
mod checksum;
mod directory;
mod draft;
mod dump;
mod extents;
mod format;
mod geometry;
mod hash;
mod inode;
mod journal;
mod plan;
mod reader;
mod stray;
mod volume;
mod writer;

pub use dump::Summary;
pub use reader::FileSystem;

pub(crate) use draft::LOST_AND_FOUND;
pub(crate) use plan::Plan;
pub(in crate::image) use reader::read;

use std::collections::BTreeMap;

use checksum::Seed;
use draft::Draft;

use crate::digest::Digest;
use crate::epoch::Epoch;
use crate::image::layout::first_step;
use crate::image::{Error, uuid_of};
use crate::tree::{Inode, Kind, Meta, Tree, TreePath};

/// What makes one file system differ from another with the same files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Its UUID.
    pub(crate) uuid: [u8; 16],
    hash_seed: [u32; 4],
    epoch: Epoch,
}

impl Identity {
    /// Derives everything from a digest of what the file system is made of.
    pub(crate) fn new(origin: &Digest, epoch: Epoch) -> Self {
        let seed = Digest::of(format!("osbuilder ext4 hash seed {origin}").as_bytes());
        let seed: [u8; 16] = *seed.as_bytes().first_chunk().expect("a digest has 32 bytes");
        let word =
            |at: usize| u32::from_le_bytes([seed[at], seed[at + 1], seed[at + 2], seed[at + 3]]);
        Self {
            uuid: uuid_of(origin, "ext4 uuid"),
            hash_seed: [word(0), word(4), word(8), word(12)],
            epoch,
        }
    }

    fn seed(&self) -> Seed {
        Seed::of(&self.uuid)
    }
}

/// Removes a `lost+found` as every new file system has it: the writer makes it, the reader and
/// whoever compares do not want it.
pub(crate) fn remove_spare(tree: &mut Tree) {
    let path = TreePath::parse(LOST_AND_FOUND).expect("a clean name");
    if let Some(Inode { meta, kind: Kind::Directory(entries) }) = tree.get(&path)
        && entries.is_empty()
        && *meta == (Meta { mtime: meta.mtime, ..Meta::root(0o700) })
    {
        tree.remove(&path);
    }
}

/// Gives access control lists the form in which they will be read back: ids of entries that name
/// nobody are not kept. What is malformed stays, to be refused by name.
pub(crate) fn normalise(attributes: &mut BTreeMap<Vec<u8>, Vec<u8>>) {
    for name in [&b"system.posix_acl_access"[..], b"system.posix_acl_default"] {
        if let Some(value) = attributes.get_mut(name)
            && let Some(same) = acl::to_disk(value).and_then(|disk| acl::from_disk(&disk))
        {
            *value = same;
        }
    }
}

/// How a file system is made.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Bytes of a block: 1024, 2048 or 4096.
    pub(crate) block_size: u32,
    /// Whether it gets a journal.
    pub(crate) journal: bool,
    /// Bytes that ordinary users find free.
    pub(crate) free: u64,
    /// What it derives its names from.
    pub(crate) identity: Identity,
}

/// Plans the smallest file system that holds `tree` and leaves the free space asked for, among the
/// sizes that `size` gives for 0, 1, 2 … in rising order, in bytes. Returns which it was.
///
/// # Errors
/// [`Error::CannotHold`], [`Error::TooLarge`].
pub(crate) fn plan(
    tree: &Tree,
    options: &Options,
    size: impl Fn(u64) -> u64,
) -> Result<(u64, Plan), Error> {
    let block_size = u64::from(options.block_size);
    let mut draft = Draft::new(tree, options.block_size, &options.identity)?;
    let mut needed: u64 = draft.nodes.iter().map(|node| node.body.blocks(block_size)).sum();
    let mut step = 0;
    loop {
        plan::check_size(needed)?;
        step = first_step(step, |step| size(step) / block_size >= needed);
        let blocks = size(step) / block_size;
        plan::check_size(blocks)?;
        if options.journal {
            draft.add_journal(blocks, options.block_size, &options.identity);
        }
        match Plan::new(&draft, options, blocks) {
            Some(plan) => match plan.shortage(options.free) {
                0 => return Ok((step, plan)),
                missing => needed = blocks + missing,
            },
            None => needed = blocks + 1,
        }
    }
}
