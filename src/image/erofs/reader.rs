//! Reads a file system back into a tree, without mounting it and without trust.
//!
//! Comes in: any bytes. Goes out: the tree, and where its contents stand; or the first rule that
//! the bytes break. Time and memory are bounded by the size of the image: each directory has one
//! name, no byte of metadata belongs to two inodes, and two files share all their blocks or none.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::io::{self, Read};

use super::claims::Claims;
use super::content::ImageContents;
use super::directory;
use super::draft::decode_device;
use super::format::{BLOCK, BLOCK_SIZE, kinds};
use super::map::{FileMap, FileReader, Part};
use super::volume::{Found, Volume, place_of};
use crate::image::known::Hashing;
use crate::image::{Error, Window};
use crate::tree::{Content, Inode, InodeId, Kind, Meta, Tree, TreePath};

/// Contents together may be this many times as large as the file system: more than LZ4 can give.
const LARGEST: u64 = 260;
/// Links' targets are shorter.
const TARGET_MAX: u64 = BLOCK;

/// A file system that was read.
#[derive(Debug)]
pub struct FileSystem<'m> {
    /// Its files.
    pub tree: Tree,
    /// Their contents.
    pub contents: ImageContents<'m>,
    pub(super) claims: Claims,
    /// What was found, by slot: for [`FileSystem::dump`].
    pub(super) inodes: BTreeMap<u64, (Found, FileMap)>,
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
    let mut walk = Walk {
        volume: &volume,
        claims: Claims::default(),
        tree: Tree::default(),
        seen: BTreeMap::new(),
        shared: BTreeMap::new(),
        inodes: BTreeMap::new(),
        files: Vec::new(),
        pending: Vec::new(),
        bytes_left: volume.size().saturating_mul(LARGEST),
    };
    let offset = u64::try_from(super::format::SUPERBLOCK_OFFSET).unwrap_or_default();
    walk.claims.claim("superblock", offset, volume.superblock.length())?;
    walk.root()?;
    walk.check_links()?;
    let Walk { mut tree, claims, files, inodes, .. } = walk;
    let distinct = distinct(&files);
    let digests = hashing.digests(&distinct, |(map, _)| FileReader::new(&volume, map));
    let mut by_digest = BTreeMap::new();
    for ((map, ids), digest) in distinct.into_iter().zip(digests.map_err(damaged)?) {
        for id in ids {
            tree.inode_mut(id).kind = Kind::Regular(Content::Stored { digest, size: map.size });
        }
        by_digest.insert(digest, map.clone());
    }
    Ok(FileSystem { tree, contents: ImageContents { volume, files: by_digest }, claims, inodes })
}

/// Files that share all their blocks are hashed once.
fn distinct(files: &[(InodeId, FileMap)]) -> Vec<(&FileMap, Vec<InodeId>)> {
    let mut indexes: BTreeMap<(u64, u64, u64), usize> = BTreeMap::new();
    let mut distinct: Vec<(&FileMap, Vec<InodeId>)> = Vec::new();
    for (id, map) in files {
        let place = |part: Option<&Part>| part.map_or(0, |part| part.place);
        let key = (map.size, place(map.parts.first()), place(map.parts.last()));
        let index = *indexes.entry(key).or_insert(distinct.len());
        match distinct.get_mut(index) {
            Some((_, ids)) => ids.push(*id),
            None => distinct.push((map, vec![*id])),
        }
    }
    distinct
}

/// Tells damage that the decompressor met from a medium that failed.
fn damaged(source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::InvalidData => Error::broken("contents", "a cluster is damaged"),
        _ => Error::Read { source },
    }
}

/// What is known of an inode that was met.
struct Seen {
    id: InodeId,
    /// The links that it claims to have, and those that were found.
    promised: u32,
    found: u32,
    kind: u8,
}

/// A directory that is still to be read.
struct Pending {
    path: TreePath,
    slot: u64,
    parent: u64,
}

struct Walk<'v, 'm> {
    volume: &'v Volume<'m>,
    claims: Claims,
    tree: Tree,
    seen: BTreeMap<u64, Seen>,
    /// The maps whose blocks were claimed, by their first byte.
    shared: BTreeMap<u64, Vec<Part>>,
    inodes: BTreeMap<u64, (Found, FileMap)>,
    files: Vec<(InodeId, FileMap)>,
    pending: Vec<Pending>,
    bytes_left: u64,
}

impl Walk<'_, '_> {
    fn root(&mut self) -> Result<(), Error> {
        let slot = u64::from(self.volume.superblock.root);
        let found = self.volume.inode(slot, &mut self.claims)?;
        if found.inode.mode & 0xF000 != kinds::DIRECTORY {
            return Err(Error::broken(place_of(slot), "the root is no directory"));
        }
        let root = self.tree.root();
        self.tree.inode_mut(root).meta = meta(&found);
        self.meet_directory(TreePath::ROOT, slot, slot, found)?;
        while let Some(directory) = self.pending.pop() {
            self.directory(&directory)?;
        }
        Ok(())
    }

    /// Remembers a directory with the two links that it has by itself.
    fn meet_directory(
        &mut self,
        path: TreePath,
        slot: u64,
        parent: u64,
        found: Found,
    ) -> Result<(), Error> {
        let id = self.tree.root(); // directories are not linked to: the id is never asked for
        let kind = kinds::in_directory(kinds::DIRECTORY);
        let promised = found.inode.links;
        self.seen.insert(slot, Seen { id, promised, found: 2, kind });
        let map = self.map(&found)?;
        self.inodes.insert(slot, (found, map));
        self.pending.push(Pending { path, slot, parent });
        Ok(())
    }

    /// Where the bytes of an inode stand; its blocks are claimed, unless another file has the same.
    fn map(&mut self, found: &Found) -> Result<FileMap, Error> {
        let map = self.volume.map(found, &mut self.claims)?;
        let blocks: Vec<Part> =
            map.parts.iter().filter(|part| part.place.is_multiple_of(BLOCK)).copied().collect();
        let Some(first) = blocks.first() else { return Ok(map) };
        let place = place_of(found.slot);
        match self.shared.get(&first.place) {
            Some(same) if *same == blocks => return Ok(map),
            _ => {}
        }
        for part in &blocks {
            self.claims.claim(&place, part.place, part.stored)?;
        }
        let left = self.bytes_left.checked_sub(map.size);
        self.bytes_left =
            left.ok_or_else(|| Error::unsupported(place, "contents that dwarf the file system"))?;
        self.shared.insert(first.place, blocks);
        Ok(map)
    }

    fn directory(&mut self, directory: &Pending) -> Result<(), Error> {
        let Pending { path, slot, parent } = directory;
        let place = place_of(*slot);
        let bytes = self.directory_bytes(*slot)?;
        let mut last: &[u8] = b"";
        let mut dots = (false, false);
        for block in bytes.chunks(BLOCK_SIZE) {
            let entries = directory::decode(block).map_err(|rule| Error::broken(&place, rule))?;
            for entry in entries {
                if entry.name <= last {
                    return Err(Error::broken(&place, "blocks of names are out of order"));
                }
                last = entry.name;
                match entry.name {
                    b"." if entry.slot == *slot => dots.0 = true,
                    b".." if entry.slot == *parent => dots.1 = true,
                    b"." | b".." => {
                        return Err(Error::broken(&place, "`.` or `..` leads elsewhere"));
                    }
                    _ => self.entry(path, *slot, &entry)?,
                }
            }
        }
        if dots != (true, true) {
            return Err(Error::broken(&place, "`.` or `..` is missing"));
        }
        Ok(())
    }

    /// All blocks of names of a directory.
    fn directory_bytes(&self, slot: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        if let Some((_, map)) = self.inodes.get(&slot) {
            if map.parts.iter().any(|part| part.compressed) {
                return Err(Error::unsupported(place_of(slot), "a compressed directory"));
            }
            let mut reader = FileReader::new(self.volume, map);
            reader.read_to_end(&mut bytes).map_err(|source| Error::Read { source })?;
        }
        Ok(bytes)
    }

    fn entry(
        &mut self,
        directory: &TreePath,
        parent: u64,
        entry: &directory::Entry<'_>,
    ) -> Result<(), Error> {
        let place = place_of(parent);
        let broken = |rule| Error::broken(&place, rule);
        let path = directory.join(entry.name).map_err(|_| broken("a path is too long"))?;
        if let Some(seen) = self.seen.get_mut(&entry.slot) {
            if seen.kind == kinds::in_directory(kinds::DIRECTORY) {
                return Err(broken("a directory has two names"));
            }
            if seen.kind != entry.kind {
                return Err(broken("an entry and its inode differ in type"));
            }
            seen.found = seen.found.saturating_add(1);
            let id = seen.id;
            return self.tree.link_id(&path, id).map_err(|_| broken("a name cannot be entered"));
        }
        let found = self.volume.inode(entry.slot, &mut self.claims)?;
        let kind = kinds::in_directory(found.inode.mode);
        if kind != entry.kind {
            return Err(broken("an entry and its inode differ in type"));
        }
        if found.inode.mode & 0xF000 == kinds::DIRECTORY {
            if let Some(seen) = self.seen.get_mut(&parent) {
                seen.found = seen.found.saturating_add(1);
            }
            let inode = Inode { meta: meta(&found), kind: Kind::Directory(BTreeMap::new()) };
            self.insert(&path, inode)?;
            return self.meet_directory(path, entry.slot, parent, found);
        }
        self.file(&path, kind, found)
    }

    /// Enters what is no directory.
    fn file(&mut self, path: &TreePath, number: u8, found: Found) -> Result<(), Error> {
        let device = decode_device(found.inode.place);
        let mut map = FileMap::default();
        let kind = match found.inode.mode & 0xF000 {
            kinds::REGULAR => {
                map = self.map(&found)?;
                Kind::Regular(Content::empty())
            }
            kinds::SYMLINK => {
                map = self.map(&found)?;
                Kind::Symlink(self.target(found.slot, &map)?)
            }
            kinds::CHARACTER => Kind::CharacterDevice(device),
            kinds::BLOCK => Kind::BlockDevice(device),
            kinds::FIFO => Kind::Fifo,
            kinds::SOCKET => Kind::Socket,
            _ => return Err(Error::broken(place_of(found.slot), "its type does not exist")),
        };
        let is_regular = matches!(kind, Kind::Regular(_));
        let id = self.insert(path, Inode { meta: meta(&found), kind })?;
        if is_regular {
            self.files.push((id, map.clone()));
        }
        let promised = found.inode.links;
        self.seen.insert(found.slot, Seen { id, promised, found: 1, kind: number });
        self.inodes.insert(found.slot, (found, map));
        Ok(())
    }

    fn target(&self, slot: u64, map: &FileMap) -> Result<Box<[u8]>, Error> {
        let broken = || Error::broken(place_of(slot), "the target of a link is impossible");
        if !(1..TARGET_MAX).contains(&map.size) || map.parts.iter().any(|part| part.compressed) {
            return Err(broken());
        }
        let mut target = Vec::new();
        let mut reader = FileReader::new(self.volume, map);
        reader.read_to_end(&mut target).map_err(|source| Error::Read { source })?;
        if target.contains(&0) { Err(broken()) } else { Ok(target.into()) }
    }

    fn insert(&mut self, path: &TreePath, inode: Inode) -> Result<InodeId, Error> {
        let failed = |_| Error::broken(path.to_string(), "it cannot be entered");
        self.tree.insert(path, inode).map_err(failed)
    }

    /// The number of names must be the promised one; mkfs.erofs counts directories up to a limit.
    fn check_links(&self) -> Result<(), Error> {
        for (slot, seen) in &self.seen {
            let uncounted =
                seen.kind == kinds::in_directory(kinds::DIRECTORY) && seen.promised == 1;
            if seen.promised != seen.found && !uncounted {
                return Err(Error::broken(place_of(*slot), "its number of links is wrong"));
            }
        }
        Ok(())
    }
}

fn meta(found: &Found) -> Meta {
    let inode = &found.inode;
    Meta {
        mode: inode.mode & 0o7777,
        uid: inode.uid,
        gid: inode.gid,
        mtime: inode.mtime,
        xattrs: found.attributes.clone(),
    }
}
