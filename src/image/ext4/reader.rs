//! Reads a file system back into a tree, without mounting it and without trust.
//!
//! Comes in: any bytes. Goes out: the tree, and where its contents stand; or the first rule that
//! the bytes break. The journal is not replayed (an image that needs it is refused), deleted files
//! are not looked for. Time and memory are bounded by the size of the image: each block belongs to
//! one file, each directory has one name, and holes are limited.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};

use super::directory;
use super::draft::decode_device;
use super::format::{DOUBLY_INDIRECT, JOURNAL_INODE, RESIZE_INODE, ROOT_INODE, flags, kinds, le32};
use super::inode::Inode as DiskInode;
use super::volume::{Claims, Volume, inode_place};
use super::{attributes, checksum};
use crate::image::blocks::{Extent, FileMap, Run};
use crate::image::known::Hashing;
use crate::image::{BlockContents, Error, Window};
use crate::tree::{Content, Inode, InodeId, Kind, Meta, Tree, TreePath};

/// Files together may be this many times as large as the file system: holes cost no space, but
/// whoever reads them pays.
const HOLES: u64 = 4;

/// A file system that was read.
#[derive(Debug)]
pub struct FileSystem<'m> {
    /// Its files. A `lost+found` as every new file system has it is left out.
    pub tree: Tree,
    /// Their contents.
    pub contents: BlockContents<'m>,
    pub(super) volume: Volume<'m>,
    pub(super) claims: Claims,
    /// The numbers of the inodes in use, but for the journal's.
    pub(super) inodes: BTreeSet<u32>,
    /// The block that leads to those reserved for more descriptors.
    pub(super) leading: Option<u64>,
}

/// Reads the file system in `medium`, hashing contents as `hashing` says.
///
/// # Errors
/// [`Error::Read`] when the medium fails, [`Error::Broken`] with the first rule that does not hold,
/// [`Error::Unsupported`] for features that are not known.
pub(in crate::image) fn read<'m>(
    medium: Window<'m>,
    hashing: Hashing<'_>,
) -> Result<FileSystem<'m>, Error> {
    let volume = Volume::open(medium)?;
    let mut claims = Claims::new(&volume)?;
    volume.claim_tables(&mut claims)?;
    let size = volume.superblock.blocks_count.saturating_mul(volume.block_size());
    let mut walk = Walk {
        volume: &volume,
        claims,
        tree: Tree::default(),
        seen: BTreeMap::new(),
        files: Vec::new(),
        pending: Vec::new(),
        bytes_left: size.saturating_mul(HOLES),
    };
    walk.journal()?;
    let leading = walk.reserved_descriptors()?;
    walk.root()?;
    walk.check_links()?;
    let Walk { mut tree, claims, files, seen, .. } = walk;
    let inodes = seen.into_keys().collect();
    super::remove_spare(&mut tree);
    let contents = BlockContents::hash(volume.blocks(), files, &mut tree, hashing)?;
    Ok(FileSystem { tree, contents, volume, claims, inodes, leading })
}

/// What is known of an inode that was met.
struct Seen {
    id: InodeId,
    /// The links that it claims to have, and those that were found.
    promised: u16,
    found: u32,
    is_directory: bool,
}

/// A directory that is still to be read.
struct Pending {
    path: TreePath,
    number: u32,
    parent: u32,
    inode: DiskInode,
}

struct Walk<'v, 'm> {
    volume: &'v Volume<'m>,
    claims: Claims,
    tree: Tree,
    seen: BTreeMap<u32, Seen>,
    files: Vec<(InodeId, FileMap)>,
    pending: Vec<Pending>,
    bytes_left: u64,
}

impl Walk<'_, '_> {
    fn journal(&mut self) -> Result<(), Error> {
        if self.volume.has_journal() {
            let inode = self.volume.inode(JOURNAL_INODE)?;
            self.volume.map(JOURNAL_INODE, &inode, &mut self.claims)?;
        }
        Ok(())
    }

    /// The inode that holds what is reserved for more descriptors has one block of its own: the doubly
    /// indirect one, whose entries are reserved blocks. Returns it.
    fn reserved_descriptors(&mut self) -> Result<Option<u64>, Error> {
        if !self.volume.grows() {
            return Ok(None);
        }
        let inode = self.volume.inode(RESIZE_INODE)?;
        let start = le32(&inode.block, 4 * DOUBLY_INDIRECT).unwrap_or_default().into();
        if start == 0 {
            return Ok(None);
        }
        self.claims.claim(&inode_place(RESIZE_INODE), Run { start, count: 1 })?;
        Ok(Some(start))
    }

    fn root(&mut self) -> Result<(), Error> {
        let inode = self.volume.inode(ROOT_INODE)?;
        if inode.mode & 0xF000 != kinds::DIRECTORY {
            return Err(Error::broken(inode_place(ROOT_INODE), "the root is no directory"));
        }
        let meta = self.meta(ROOT_INODE, &inode)?;
        let root = self.tree.root();
        self.tree.inode_mut(root).meta = meta;
        self.meet_directory(TreePath::ROOT, ROOT_INODE, ROOT_INODE, inode);
        while let Some(directory) = self.pending.pop() {
            self.directory(&directory)?;
        }
        Ok(())
    }

    /// Remembers a directory with the two links that it has by itself.
    fn meet_directory(&mut self, path: TreePath, number: u32, parent: u32, inode: DiskInode) {
        let id = self.tree.root(); // directories are not linked to: the id is never asked for
        let seen = Seen { id, promised: inode.links, found: 2, is_directory: true };
        self.seen.insert(number, seen);
        self.pending.push(Pending { path, number, parent, inode });
    }

    fn directory(&mut self, directory: &Pending) -> Result<(), Error> {
        let Pending { path, number, parent, inode } = directory;
        let place = inode_place(*number);
        let extents = self.volume.map(*number, inode, &mut self.claims)?;
        let blocks = self.directory_blocks(&place, inode, &extents)?;
        let seed = self.volume.inode_seed(*number, inode);
        let mut dots = (false, false);
        for block_number in blocks {
            let block = self.volume.block(&place, block_number)?;
            let is_intact = |seed: checksum::Seed| directory::is_intact(&block, seed);
            if seed.is_some_and(|seed| !is_intact(seed)) {
                return Err(Error::broken(&place, "a block of names has a wrong checksum"));
            }
            for entry in directory::decode(&block).map_err(|rule| Error::broken(&place, rule))? {
                match entry.name {
                    b"." if entry.inode == *number && !dots.0 => dots.0 = true,
                    b".." if entry.inode == *parent && !dots.1 => dots.1 = true,
                    b"." | b".." => {
                        return Err(Error::broken(&place, "`.` or `..` leads elsewhere"));
                    }
                    _ => self.entry(path, *number, &entry)?,
                }
            }
        }
        if dots != (true, true) {
            return Err(Error::broken(&place, "`.` or `..` is missing"));
        }
        Ok(())
    }

    /// The blocks of a directory, which has no holes.
    fn directory_blocks(
        &self,
        place: &str,
        inode: &DiskInode,
        extents: &[Extent],
    ) -> Result<Vec<u64>, Error> {
        let mut blocks = Vec::new();
        for extent in extents {
            let next = u64::try_from(blocks.len()).unwrap_or(u64::MAX);
            if extent.logical != next || !extent.written {
                return Err(Error::broken(place, "a directory has a hole"));
            }
            let end = extent.run.start.saturating_add(extent.run.count);
            blocks.extend(extent.run.start..end);
        }
        let count = u64::try_from(blocks.len()).unwrap_or(u64::MAX);
        if count.checked_mul(self.volume.block_size()) != Some(inode.size) {
            return Err(Error::broken(place, "a directory's size is not that of its blocks"));
        }
        Ok(blocks)
    }

    fn entry(
        &mut self,
        directory: &TreePath,
        parent: u32,
        entry: &directory::Entry<'_>,
    ) -> Result<(), Error> {
        let place = inode_place(parent);
        let broken = |rule| Error::broken(&place, rule);
        if entry.name.is_empty() || entry.name.iter().any(|byte| matches!(byte, 0 | b'/')) {
            return Err(broken("a name is empty or contains a slash or NUL"));
        }
        let path = directory.join(entry.name).map_err(|_| broken("a path is too long"))?;
        if self.tree.lookup(&path).is_some() {
            return Err(broken("a name stands there twice"));
        }
        if let Some(seen) = self.seen.get_mut(&entry.inode) {
            if seen.is_directory {
                return Err(broken("a directory has two names"));
            }
            seen.found = seen.found.saturating_add(1);
            let id = seen.id;
            return self.link(&path, id, entry.kind, &place);
        }
        let inode = self.volume.inode(entry.inode)?;
        if kinds::in_directory(inode.mode) != entry.kind {
            return Err(broken("an entry and its inode differ in type"));
        }
        if inode.mode & 0xF000 == kinds::DIRECTORY {
            return self.subdirectory(path, entry.inode, parent, inode);
        }
        let (kind, file) = self.kind(entry.inode, &inode)?;
        let meta = self.meta(entry.inode, &inode)?;
        let id = self.insert(&path, Inode { meta, kind })?;
        self.files.extend(file.map(|file| (id, file)));
        let seen = Seen { id, promised: inode.links, found: 1, is_directory: false };
        self.seen.insert(entry.inode, seen);
        Ok(())
    }

    /// A further name of a file.
    fn link(&mut self, path: &TreePath, id: InodeId, kind: u8, place: &str) -> Result<(), Error> {
        if kind_number(&self.tree.inode(id).kind) != kind {
            return Err(Error::broken(place, "an entry and its inode differ in type"));
        }
        self.tree.link_id(path, id).map_err(|_| Error::broken(place, "a name cannot be entered"))
    }

    fn subdirectory(
        &mut self,
        path: TreePath,
        number: u32,
        parent: u32,
        inode: DiskInode,
    ) -> Result<(), Error> {
        if let Some(seen) = self.seen.get_mut(&parent) {
            seen.found = seen.found.saturating_add(1);
        }
        let kind = Kind::Directory(BTreeMap::new());
        let meta = self.meta(number, &inode)?;
        self.insert(&path, Inode { meta, kind })?;
        self.meet_directory(path, number, parent, inode);
        Ok(())
    }

    fn insert(&mut self, path: &TreePath, inode: Inode) -> Result<InodeId, Error> {
        let failed = |_| Error::broken(path.to_string(), "it cannot be entered");
        self.tree.insert(path, inode).map_err(failed)
    }

    fn kind(&mut self, number: u32, inode: &DiskInode) -> Result<(Kind, Option<FileMap>), Error> {
        let device = || {
            let word = |at| le32(&inode.block, at).unwrap_or_default();
            decode_device(word(0), word(4))
        };
        Ok(match inode.mode & 0xF000 {
            kinds::REGULAR => {
                let extents = self.volume.map(number, inode, &mut self.claims)?;
                let left = self.bytes_left.checked_sub(inode.size);
                self.bytes_left = left.ok_or_else(|| {
                    Error::unsupported(inode_place(number), "holes that dwarf the file system")
                })?;
                let file = FileMap { size: inode.size, extents };
                (Kind::Regular(Content::empty()), Some(file))
            }
            kinds::SYMLINK => (Kind::Symlink(self.target(number, inode)?), None),
            kinds::CHARACTER => (Kind::CharacterDevice(device()), None),
            kinds::BLOCK => (Kind::BlockDevice(device()), None),
            kinds::FIFO => (Kind::Fifo, None),
            kinds::SOCKET => (Kind::Socket, None),
            _ => return Err(Error::broken(inode_place(number), "its type does not exist")),
        })
    }

    fn target(&mut self, number: u32, inode: &DiskInode) -> Result<Box<[u8]>, Error> {
        let broken = |rule| Error::broken(inode_place(number), rule);
        let length = usize::try_from(inode.size).map_err(|_| broken("a link is too long"))?;
        let target = if inode.flags & flags::EXTENTS == 0 {
            inode.block.get(..length).map(<[u8]>::to_vec)
        } else {
            let extents = self.volume.map(number, inode, &mut self.claims)?;
            let [Extent { logical: 0, run: Run { start, count: 1 }, written: true }] = extents[..]
            else {
                return Err(broken("the target of a link is not one block"));
            };
            let mut block = self.volume.block(&inode_place(number), start)?;
            block.get(length..).map(<[u8]>::len).map(|_| {
                block.truncate(length);
                block
            })
        };
        let target = target.filter(|target| !target.is_empty() && !target.contains(&0));
        Ok(target.ok_or_else(|| broken("the target of a link has an impossible length"))?.into())
    }

    fn meta(&mut self, number: u32, inode: &DiskInode) -> Result<Meta, Error> {
        let place = inode_place(number);
        let broken = |rule| Error::broken(&place, rule);
        let mut xattrs = attributes::decode_inode(&inode.attributes).map_err(broken)?;
        if inode.attribute_block != 0 {
            // Several files may share such a block: it is claimed by the first.
            let at = inode.attribute_block;
            let block = self.volume.block(&place, at)?;
            if self.volume.seed.is_some_and(|seed| !attributes::is_intact(&block, at, seed)) {
                return Err(broken("its attributes have a wrong checksum"));
            }
            if le32(&block, 4) == Some(1) {
                self.claims.claim(&place, Run { start: at, count: 1 })?;
            }
            for (name, value) in attributes::decode_block(&block).map_err(broken)? {
                if xattrs.insert(name, value).is_some() {
                    return Err(broken("an attribute stands there twice"));
                }
            }
        }
        let mode = inode.mode & 0o7777;
        Ok(Meta { mode, uid: inode.uid, gid: inode.gid, mtime: inode.mtime, xattrs })
    }

    /// The number of names must be the promised one, but directories may stop counting at 1.
    fn check_links(&self) -> Result<(), Error> {
        for (number, seen) in &self.seen {
            let uncounted = seen.is_directory && seen.promised == 1;
            if u32::from(seen.promised) != seen.found && !uncounted {
                return Err(Error::broken(inode_place(*number), "its number of links is wrong"));
            }
        }
        Ok(())
    }
}

fn kind_number(kind: &Kind) -> u8 {
    kinds::in_directory(match kind {
        Kind::Directory(_) => kinds::DIRECTORY,
        Kind::Regular(_) => kinds::REGULAR,
        Kind::Symlink(_) => kinds::SYMLINK,
        Kind::CharacterDevice(_) => kinds::CHARACTER,
        Kind::BlockDevice(_) => kinds::BLOCK,
        Kind::Fifo => kinds::FIFO,
        Kind::Socket => kinds::SOCKET,
    })
}
