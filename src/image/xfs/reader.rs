//! Reads a file system back into a tree, without mounting it and without trust.
//!
//! Comes in: any bytes. Goes out: the tree, and where its contents stand; or the first rule that the
//! bytes break. The log is not replayed (an image that needs it is refused). Time and memory are
//! bounded by the size of the image: each block belongs to one file, each directory has one name,
//! and holes are limited.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use super::census::{Claims, Free};
use super::draft::{decode_device, mode_of};
use super::format::{BLOCK_SIZE, INDEX_AT, PAYLOAD, TARGET_MAX, be32, field, kinds, magic};
use super::inode::{Format, Inode as DiskInode};
use super::names::{Names, read_local};
use super::volume::{Volume, inode_place};
use super::{attribute_reader, format::BLOCK};
use crate::image::blocks::FileMap;
use crate::image::known::Hashing;
use crate::image::{BlockContents, Error, Window};
use crate::tree::{Content, Inode, InodeId, Kind, Meta, Tree, TreePath};

/// Files together may be this many times as large as the file system: holes cost no space, but
/// whoever reads them pays.
const HOLES: u64 = 4;

/// A file system that was read.
#[derive(Debug)]
pub struct FileSystem<'m> {
    /// Its files.
    pub tree: Tree,
    /// Their contents.
    pub contents: BlockContents<'m>,
    pub(super) volume: Volume<'m>,
    pub(super) free: Free,
    /// The numbers of the inodes in use.
    pub(super) inodes: Vec<u64>,
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
    let (volume, claims, free) = Volume::open(medium)?;
    let size = volume.geometry().blocks.saturating_mul(BLOCK_SIZE);
    let mut walk = Walk {
        volume: &volume,
        claims,
        tree: Tree::default(),
        seen: BTreeMap::new(),
        files: Vec::new(),
        pending: Vec::new(),
        bytes_left: size.saturating_mul(HOLES),
    };
    walk.special()?;
    walk.root()?;
    walk.check_links()?;
    volume.check_all_claimed(&walk.claims)?;
    let Walk { mut tree, files, seen, .. } = walk;
    if seen.len() != volume.used_inodes() {
        return Err(Error::broken("inodes", "some are in use, and no name leads to them"));
    }
    let inodes = seen.into_keys().collect();
    let contents = BlockContents::hash(volume.blocks(), files, &mut tree, hashing)?;
    Ok(FileSystem { tree, contents, volume, free, inodes })
}

/// What is known of an inode that was met.
struct Seen {
    id: InodeId,
    /// The links that it claims to have, and those that were found.
    promised: u32,
    found: u32,
    is_directory: bool,
}

/// A directory that is still to be read.
struct Pending {
    path: TreePath,
    number: u64,
    parent: u64,
    inode: DiskInode,
}

struct Walk<'v, 'm> {
    volume: &'v Volume<'m>,
    claims: Claims,
    tree: Tree,
    seen: BTreeMap<u64, Seen>,
    files: Vec<(InodeId, FileMap)>,
    pending: Vec<Pending>,
    bytes_left: u64,
}

/// A rule that a structure breaks, or an error of its own: what blocks of attributes may answer.
enum Refusal {
    Rule(&'static str),
    Error(Error),
}

impl From<&'static str> for Refusal {
    fn from(rule: &'static str) -> Self {
        Self::Rule(rule)
    }
}

impl Walk<'_, '_> {
    /// The two inodes of a real-time device that is not there: empty files.
    fn special(&mut self) -> Result<(), Error> {
        let [_, bitmap, summary] = self.volume.superblock.roots;
        for number in [bitmap, summary] {
            let inode = self.volume.inode(number)?;
            if inode.mode & 0xF000 != kinds::REGULAR || inode.blocks != 0 || inode.links != 1 {
                let rule = "it is not the empty file that a real-time device would use";
                return Err(Error::broken(inode_place(number), rule));
            }
            let id = self.tree.root(); // no name leads to it: the id is never asked for
            let seen = Seen { id, promised: 1, found: 1, is_directory: true };
            self.seen.insert(number, seen);
        }
        Ok(())
    }

    fn root(&mut self) -> Result<(), Error> {
        let [number, ..] = self.volume.superblock.roots;
        let inode = self.volume.inode(number)?;
        if inode.mode & 0xF000 != kinds::DIRECTORY || self.seen.contains_key(&number) {
            return Err(Error::broken(inode_place(number), "the root is no directory"));
        }
        let meta = self.meta(number, &inode)?;
        let root = self.tree.root();
        self.tree.inode_mut(root).meta = meta;
        self.meet_directory(TreePath::ROOT, number, number, inode);
        while let Some(directory) = self.pending.pop() {
            self.directory(&directory)?;
        }
        Ok(())
    }

    /// Remembers a directory with the two links that it has by itself.
    fn meet_directory(&mut self, path: TreePath, number: u64, parent: u64, inode: DiskInode) {
        let id = self.tree.root(); // directories are not linked to: the id is never asked for
        let seen = Seen { id, promised: inode.links, found: 2, is_directory: true };
        self.seen.insert(number, seen);
        self.pending.push(Pending { path, number, parent, inode });
    }

    fn directory(&mut self, directory: &Pending) -> Result<(), Error> {
        let Pending { path, number, parent, inode } = directory;
        let broken = |rule| Error::broken(inode_place(*number), rule);
        let names = match inode.data.format {
            Format::Local => {
                let size = usize::try_from(inode.size).unwrap_or(usize::MAX);
                let bytes = inode.data.bytes.get(..size);
                read_local(bytes.ok_or_else(|| broken("its size exceeds its room"))?)
                    .map_err(broken)?
            }
            _ => self.directory_blocks(*number, inode)?,
        };
        let own_is_right = names.own.is_none_or(|own| own == *number);
        if names.parent != Some(*parent) || !own_is_right {
            return Err(broken("`.` or `..` leads elsewhere"));
        }
        for (name, inode, kind) in &names.entries {
            self.entry(path, *number, (name, *inode, *kind))?;
        }
        Ok(())
    }

    fn directory_blocks(&mut self, number: u64, inode: &DiskInode) -> Result<Names, Error> {
        let broken = |rule| Error::broken(inode_place(number), rule);
        let mut names = Names::default();
        let mut size = 0_u64;
        for extent in self.volume.extents(number, &inode.data, &mut self.claims)? {
            if !extent.written {
                return Err(broken("a directory has a hole"));
            }
            for into in 0..extent.run.count {
                let logical = extent.logical.saturating_add(into);
                let block = self.volume.stamped(extent.run.start.saturating_add(into), number)?;
                names.add(logical, &block).map_err(broken)?;
                if logical < INDEX_AT {
                    size = logical.saturating_add(1).saturating_mul(BLOCK_SIZE);
                }
            }
        }
        if size != inode.size || names.own.is_none() {
            return Err(broken("a directory's size is not that of its blocks, or `.` is missing"));
        }
        if names.is_indexed() { Ok(names) } else { Err(broken("its index and its names differ")) }
    }

    fn entry(
        &mut self,
        directory: &TreePath,
        parent: u64,
        (name, number, kind): (&[u8], u64, u8),
    ) -> Result<(), Error> {
        let broken = |rule| Error::broken(inode_place(parent), rule);
        if name.is_empty() || name.iter().any(|byte| matches!(byte, 0 | b'/')) {
            return Err(broken("a name is empty or contains a slash or NUL"));
        }
        if matches!(name, b"." | b"..") {
            return Err(broken("`.` or `..` stands among the names"));
        }
        let path = directory.join(name).map_err(|_| broken("a path is too long"))?;
        if self.tree.lookup(&path).is_some() {
            return Err(broken("a name stands there twice"));
        }
        let differ = "an entry and its inode differ in type";
        if let Some(seen) = self.seen.get_mut(&number) {
            if seen.is_directory {
                return Err(broken("a directory has two names"));
            }
            seen.found = seen.found.saturating_add(1);
            let id = seen.id;
            if kinds::in_directory(mode_of(&self.tree.inode(id).kind)) != kind {
                return Err(broken(differ));
            }
            return self.tree.link_id(&path, id).map_err(|_| broken("a name cannot be entered"));
        }
        let inode = self.volume.inode(number)?;
        if kinds::in_directory(inode.mode) != kind {
            return Err(broken(differ));
        }
        if inode.mode & 0xF000 == kinds::DIRECTORY {
            return self.subdirectory(path, number, parent, inode);
        }
        let (kind, file) = self.kind(number, &inode)?;
        let meta = self.meta(number, &inode)?;
        let id = self.insert(&path, Inode { meta, kind })?;
        self.files.extend(file.map(|file| (id, file)));
        let seen = Seen { id, promised: inode.links, found: 1, is_directory: false };
        self.seen.insert(number, seen);
        Ok(())
    }

    fn subdirectory(
        &mut self,
        path: TreePath,
        number: u64,
        parent: u64,
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

    fn kind(&mut self, number: u64, inode: &DiskInode) -> Result<(Kind, Option<FileMap>), Error> {
        let place = || inode_place(number);
        let device = || {
            let number = Volume::device(&inode.data);
            number.map(decode_device).ok_or_else(|| Error::broken(place(), "it is no device"))
        };
        Ok(match inode.mode & 0xF000 {
            kinds::REGULAR => {
                let extents = self.volume.extents(number, &inode.data, &mut self.claims)?;
                let left = self.bytes_left.checked_sub(inode.size);
                self.bytes_left = left.ok_or_else(|| {
                    Error::unsupported(place(), "holes that dwarf the file system")
                })?;
                let file = FileMap { size: inode.size, extents };
                (Kind::Regular(Content::empty()), Some(file))
            }
            kinds::SYMLINK => (Kind::Symlink(self.target(number, inode)?), None),
            kinds::CHARACTER => (Kind::CharacterDevice(device()?), None),
            kinds::BLOCK => (Kind::BlockDevice(device()?), None),
            kinds::FIFO => (Kind::Fifo, None),
            kinds::SOCKET => (Kind::Socket, None),
            _ => return Err(Error::broken(place(), "its type does not exist")),
        })
    }

    fn target(&mut self, number: u64, inode: &DiskInode) -> Result<Box<[u8]>, Error> {
        let broken = |rule| Error::broken(inode_place(number), rule);
        let length = usize::try_from(inode.size).ok().filter(|&length| length <= TARGET_MAX);
        let length = length.ok_or_else(|| broken("a link is too long"))?;
        let target = if inode.data.format == Format::Local {
            inode.data.bytes.get(..length).map(<[u8]>::to_vec)
        } else {
            let extents = self.volume.extents(number, &inode.data, &mut self.claims)?;
            let block = Volume::at(&extents, 0).filter(|_| extents.len() == 1);
            let block = block.ok_or_else(|| broken("the target of a link is not one block"))?;
            let bytes = self.volume.stamped(block, number)?;
            let is_right = field(&bytes, 0) == Some(magic::LINK)
                && be32(&bytes, 4) == Some(0)
                && be32(&bytes, 8).map(u64::from) == Some(inode.size);
            let payload = bytes.get(BLOCK.saturating_sub(PAYLOAD)..).filter(|_| is_right);
            payload.and_then(|payload| payload.get(..length)).map(<[u8]>::to_vec)
        };
        let target = target.filter(|target| !target.is_empty() && !target.contains(&0));
        Ok(target.ok_or_else(|| broken("the target of a link has an impossible length"))?.into())
    }

    fn meta(&mut self, number: u64, inode: &DiskInode) -> Result<Meta, Error> {
        let broken = |rule| Error::broken(inode_place(number), rule);
        let xattrs = match &inode.attributes {
            None => BTreeMap::new(),
            Some(fork) if fork.format == Format::Local => {
                attribute_reader::read_local(&fork.bytes).map_err(broken)?
            }
            Some(fork) if fork.format == Format::Extents && fork.extents == 0 => BTreeMap::new(),
            Some(fork) => {
                let extents = self.volume.extents(number, fork, &mut self.claims)?;
                let mut block = |logical: u64| {
                    let place = Volume::at(&extents, logical).ok_or("an attribute has a hole")?;
                    self.volume.stamped(place, number).map_err(Refusal::Error)
                };
                attribute_reader::read_blocks(&mut block).map_err(|refusal| match refusal {
                    Refusal::Rule(rule) => broken(rule),
                    Refusal::Error(error) => error,
                })?
            }
        };
        let mode = inode.mode & 0o7777;
        Ok(Meta { mode, uid: inode.uid, gid: inode.gid, mtime: inode.mtime, xattrs })
    }

    fn check_links(&self) -> Result<(), Error> {
        let wrong = self.seen.iter().find(|(_, seen)| seen.promised != seen.found);
        match wrong {
            None => Ok(()),
            Some((number, _)) => {
                Err(Error::broken(inode_place(*number), "its number of links is wrong"))
            }
        }
    }
}
