//! Writes a drafted file system: contents first, as they are packed, then what leads to them.
//!
//! ```text
//! superblock │ contents │ blocks of directories and links │ shared attributes │ inodes
//! ```
//!
//! Inodes come last because only then it is known where everything is. The root's is the first of
//! them: its number must be small.

use fs_err::File;

use super::data::{self, Manner, Placed};
use super::directory::{self, Entry};
use super::draft::{Body, Draft, Node};
use super::format::{
    BLOCK, BLOCK_SIZE, INDEX, INDEX_HEADER, Inode, SLOT, SUPERBLOCK_OFFSET, Superblock,
    incompatible, kinds, layout,
};
use super::place::Places;
use super::{attributes, compress, index};
use crate::epoch::Epoch;
use crate::image::Error;
use crate::image::sparse::SparseWriter;
use crate::tree::{Contents, Tree};

/// Bytes of an inode in its long form.
pub(super) const LONGEST_INODE: u64 = 64;

/// A file system of which everything is known but how well its contents can be packed.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    draft: Draft,
    manner: Manner,
    uuid: [u8; 16],
    /// The time of inodes that have none of their own.
    time: u64,
}

impl Plan {
    /// Drafts a file system with the files of `tree`.
    ///
    /// # Errors
    /// [`Error::CannotHold`], [`Error::TooLarge`].
    pub(crate) fn new(tree: &Tree, options: &super::Options) -> Result<Self, Error> {
        Ok(Self {
            draft: Draft::new(tree)?,
            manner: Manner { compression: options.compression, inline: options.inline },
            uuid: options.uuid,
            time: Epoch::seconds(options.epoch),
        })
    }

    /// The UUID.
    pub(crate) fn uuid(&self) -> [u8; 16] {
        self.uuid
    }

    /// Writes the file system into `file` from byte `base` on; what it does not write must read as
    /// zero. Returns its size in bytes.
    ///
    /// # Errors
    /// [`Error::Content`], [`Error::Write`], [`Error::TooLarge`].
    pub(crate) fn write(
        &self,
        contents: &dyn Contents,
        file: &File,
        base: u64,
        threads: usize,
    ) -> Result<u64, Error> {
        let writer = SparseWriter::new(file, base);
        let stored = &self.draft.contents;
        let (placed, block) = data::write(stored, contents, self.manner, writer, threads)?;
        let metadata = Metadata::lay_out(self, &placed, block);
        let blocks = u32::try_from(metadata.end()).map_err(|_| {
            let rule = "it has less than 2^32 blocks".to_owned();
            Error::TooLarge { format: "erofs", rule }
        })?;
        let mut writer = SparseWriter::new(file, base);
        let mut put = |offset, bytes: &[u8]| {
            writer.put(offset, bytes).map_err(|source| Error::Write { source })
        };
        put(SUPERBLOCK_OFFSET as u64, &metadata.superblock(blocks).encode())?;
        put(block * BLOCK, &metadata.bytes())?;
        writer.flush().map_err(|source| Error::Write { source })?;
        Ok(u64::from(blocks) * BLOCK)
    }
}

/// Everything but contents.
struct Metadata<'p> {
    plan: &'p Plan,
    placed: &'p [Placed],
    /// The first block.
    start: u64,
    /// The inodes, their places among each other, and the first of their own blocks.
    files: Vec<Placing>,
    places: Places,
    /// Blocks of directories and links, then of shared attributes.
    own_blocks: u64,
    shared_blocks: u64,
}

/// An inode and where it goes.
struct Placing {
    inode: Inode,
    place: u64,
    /// The first block of a directory or link that does not stand behind its inode.
    block: u64,
    /// How many bytes of those stand behind it.
    tail: u64,
}

impl<'p> Metadata<'p> {
    fn lay_out(plan: &'p Plan, placed: &'p [Placed], start: u64) -> Self {
        let shared = plan.draft.shared.bytes.len() as u64;
        let mut metadata = Self {
            plan,
            placed,
            start,
            files: Vec::new(),
            places: Places::default(),
            own_blocks: 0,
            shared_blocks: shared.div_ceil(BLOCK),
        };
        for (number, node) in (1..).zip(&plan.draft.nodes) {
            let placing = metadata.place(number, node);
            metadata.files.push(placing);
        }
        metadata
    }

    /// Where shared attributes begin, where inodes begin, and the block behind everything.
    fn shared_at(&self) -> u64 {
        self.start + self.own_blocks
    }

    fn inodes_at(&self) -> u64 {
        self.shared_at() + self.shared_blocks
    }

    fn end(&self) -> u64 {
        self.inodes_at() + self.places.blocks()
    }

    fn superblock(&self, blocks: u32) -> Superblock {
        let compressed = self.placed.iter().any(|placed| !placed.extents.is_empty());
        let features = incompatible::ZERO_PADDING | incompatible::COMPRESSION;
        let narrow = |block: u64| u32::try_from(block).expect("it is before the last block");
        let shared = if self.shared_blocks > 0 { self.shared_at() } else { 0 };
        Superblock {
            incompatible: if compressed { features } else { 0 },
            root: 0,
            inodes: self.files.len() as u64,
            time: self.plan.time,
            blocks,
            meta_block: narrow(self.inodes_at()),
            attribute_block: narrow(shared),
            uuid: self.plan.uuid,
            cluster_blocks: compress::CLUSTER_BLOCKS,
        }
    }

    fn place(&mut self, number: u32, node: &Node) -> Placing {
        let mut inode = Inode {
            layout: layout::PLAIN,
            attribute_count: attributes::count(node.attributes.len()),
            mode: node.mode,
            links: node.links,
            size: 0,
            place: 0,
            number,
            uid: node.uid,
            gid: node.gid,
            mtime: node.mtime,
        };
        let (mut block, mut tail) = (0, 0);
        match &node.body {
            Body::Content(content) => return self.place_content(inode, node, *content),
            Body::Directory(names) => {
                inode.size = directory::size(names.iter().map(|(name, _)| &name[..]));
            }
            Body::Symlink(target) => inode.size = target.len() as u64,
            Body::Device(device) => inode.place = *device,
            Body::Nothing => {}
        }
        let head = inode.length(self.plan.time) + node.attributes.len() as u64;
        let rest = inode.size % BLOCK;
        if rest > 0 && head + rest <= BLOCK {
            inode.layout = layout::INLINE;
            tail = rest;
        }
        let blocks = (inode.size - tail).div_ceil(BLOCK);
        if blocks > 0 {
            block = self.start + self.own_blocks;
            inode.place = u32::try_from(block).unwrap_or(u32::MAX);
            self.own_blocks += blocks;
        }
        Placing { inode, place: self.places.take(head + tail), block, tail }
    }

    fn place_content(&mut self, mut inode: Inode, node: &Node, content: usize) -> Placing {
        let placed = &self.placed[content];
        inode.size = self.plan.draft.contents[content].content.size();
        let head = inode.length(self.plan.time) + node.attributes.len() as u64;
        let behind = if placed.extents.is_empty() {
            inode.place = if placed.blocks > 0 { placed.block } else { 0 };
            placed.tail.len() as u64
        } else {
            inode.place = placed.blocks;
            inode.layout = layout::COMPRESSED;
            let indexes = inode.size.div_ceil(BLOCK) * INDEX as u64;
            head.next_multiple_of(8) - head + INDEX_HEADER + indexes
        };
        if !placed.tail.is_empty() {
            inode.layout = layout::INLINE;
        }
        Placing { inode, place: self.places.take(head + behind), block: 0, tail: 0 }
    }

    /// All of it, from its first block on.
    fn bytes(&self) -> Vec<u8> {
        let blocks = usize::try_from(self.end() - self.start).expect("metadata fits into memory");
        let mut bytes = vec![0; blocks * BLOCK_SIZE];
        let at = |block: u64| {
            usize::try_from((block - self.start) * BLOCK).expect("metadata fits into memory")
        };
        let shared = &self.plan.draft.shared.bytes;
        bytes[at(self.shared_at())..][..shared.len()].copy_from_slice(shared);
        for (file, node) in self.files.iter().zip(&self.plan.draft.nodes) {
            let body = self.body(node);
            let tail = usize::try_from(file.tail).expect("a tail is shorter than a block");
            let (blocks, behind) = body.split_at(body.len() - tail);
            let mut head = file.inode.encode(self.plan.time);
            head.extend(&node.attributes);
            match &node.body {
                Body::Content(content) => self.end_of_content(*content, &mut head),
                _ if !blocks.is_empty() => {
                    bytes[at(file.block)..][..blocks.len()].copy_from_slice(blocks);
                    head.extend(behind);
                }
                _ => head.extend(behind),
            }
            let place = usize::try_from(file.place).expect("metadata fits into memory");
            bytes[at(self.inodes_at()) + place..][..head.len()].copy_from_slice(&head);
        }
        bytes
    }

    /// The bytes of a directory or link.
    fn body(&self, node: &Node) -> Vec<u8> {
        match &node.body {
            Body::Directory(names) => {
                let mut entries = Vec::new();
                for (name, index) in names {
                    let slot = self.files[*index].place / SLOT;
                    let kind = kinds::in_directory(self.plan.draft.nodes[*index].mode);
                    entries.push(Entry { name, slot, kind });
                }
                directory::encode(&entries)
            }
            Body::Symlink(target) => target.to_vec(),
            _ => Vec::new(),
        }
    }

    /// What stands behind the inode of a file: the end of its content, or the indexes of its
    /// extents.
    fn end_of_content(&self, content: usize, head: &mut Vec<u8>) {
        let placed = &self.placed[content];
        head.extend(&placed.tail);
        if !placed.extents.is_empty() {
            head.resize(head.len().next_multiple_of(8), 0);
            head.extend(index::encode(&placed.extents, placed.block));
        }
    }
}
