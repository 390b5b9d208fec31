//! The first half of planning: every inode with its number, its attributes and, where it is not
//! the content of a file, its bytes. Nothing has a place yet, so this is made once whatever the
//! size of the file system.
//!
//! Numbers follow the order of walking: 2 is the root, 11 is `lost+found`, then one by one.

use std::collections::BTreeMap;

use super::attributes::Attributes;
use super::checksum::Seed;
use super::directory::{Entry, Frame};
use super::format::{FIRST_INODE, JOURNAL_INODE, LINK_MAX, ROOT_INODE, kinds};
use super::geometry::BLOCKS_MAX;
use super::inode::TIMES;
use super::{Identity, journal};
use crate::image::Error;
use crate::tree::{Content, Device, Inode, InodeId, Kind, Meta, Tree, TreePath};

/// What e2fsck moves files to that no directory holds; made unless the tree has its own.
pub(crate) const LOST_AND_FOUND: &[u8] = b"lost+found";

/// A file of the image, without a place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Its first path, for messages.
    pub(super) path: TreePath,
    pub(super) number: u32,
    /// Type and permission bits.
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: i64,
    pub(super) links: u16,
    pub(super) body: Body,
    pub(super) attributes: Attributes,
}

/// What a file consists of.
#[derive(Debug, Clone)]
pub(super) enum Body {
    /// Nothing but the 60 bytes in the inode: devices, pipes, sockets, and links, whose length is
    /// the second field.
    InInode([u8; 60], u64),
    /// The blocks of a directory, or the target of a long link.
    Bytes(Vec<u8>),
    /// The content of a file.
    Content(Content),
    /// The journal's first block; as many zero blocks follow as make the length in blocks.
    Journal(Vec<u8>, u64),
}

impl Body {
    /// The size of the file in bytes.
    pub(super) fn size(&self, block_size: u64) -> u64 {
        match self {
            Self::InInode(_, size) => *size,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Content(content) => content.size(),
            Self::Journal(_, blocks) => *blocks * block_size,
        }
    }

    /// The blocks it takes.
    pub(super) fn blocks(&self, block_size: u64) -> u64 {
        match self {
            Self::InInode(..) => 0,
            _ => self.size(block_size).div_ceil(block_size),
        }
    }
}

/// All files of an image, by number.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) nodes: Vec<Node>,
}

impl Draft {
    /// Numbers and encodes every file of `tree`.
    ///
    /// # Errors
    /// [`Error::CannotHold`] naming the first file that ext4 has no room for.
    pub(super) fn new(tree: &Tree, block_size: u32, identity: &Identity) -> Result<Self, Error> {
        let drafter = Drafter::new(tree, block_size, identity)?;
        let mut nodes = BTreeMap::new();
        for (path, id, inode) in tree.walk() {
            let number = drafter.numbers[&id];
            if let std::collections::btree_map::Entry::Vacant(place) = nodes.entry(number) {
                place.insert(drafter.node(path, id, inode)?);
            }
        }
        if drafter.makes_lost_and_found() {
            nodes.insert(FIRST_INODE, drafter.lost_and_found());
        }
        Ok(Self { nodes: nodes.into_values().collect() })
    }

    /// Adds an empty journal of a length that suits a file system of `blocks` blocks.
    pub(super) fn add_journal(&mut self, blocks: u64, block_size: u32, identity: &Identity) {
        self.nodes.retain(|node| node.number != JOURNAL_INODE);
        let length = journal::length(blocks);
        let first = journal::superblock(block_size, length, identity.uuid);
        let at = self.nodes.partition_point(|node| node.number < JOURNAL_INODE);
        let node = Node {
            path: TreePath::ROOT,
            number: JOURNAL_INODE,
            mode: kinds::REGULAR | 0o600,
            uid: 0,
            gid: 0,
            mtime: self.nodes[0].mtime,
            links: 1,
            body: Body::Journal(first, length),
            attributes: Attributes::default(),
        };
        self.nodes.insert(at, node);
    }

    /// The highest number in use.
    pub(super) fn last_inode(&self) -> u64 {
        self.nodes.last().map_or(FIRST_INODE, |node| node.number).max(FIRST_INODE).into()
    }
}

struct Drafter<'t> {
    tree: &'t Tree,
    block_size: u32,
    identity: &'t Identity,
    numbers: BTreeMap<InodeId, u32>,
    parents: BTreeMap<InodeId, u32>,
    names: BTreeMap<InodeId, u32>,
}

impl<'t> Drafter<'t> {
    fn new(tree: &'t Tree, block_size: u32, identity: &'t Identity) -> Result<Self, Error> {
        let names = tree.hard_links();
        let (mut numbers, mut parents) = (BTreeMap::new(), BTreeMap::new());
        numbers.insert(tree.root(), ROOT_INODE);
        parents.insert(tree.root(), ROOT_INODE);
        let mut next = FIRST_INODE + 1;
        for (path, id, inode) in tree.walk() {
            let free = if is_lost_and_found(&path) { FIRST_INODE } else { next };
            let number = *numbers.entry(id).or_insert(free);
            if number == next {
                next = next.checked_add(1).ok_or_else(|| refuse(&path, "2^32 inodes at most"))?;
            }
            for (_, &child, _) in children(tree, inode) {
                parents.insert(child, number);
            }
        }
        Ok(Self { tree, block_size, identity, numbers, parents, names })
    }

    fn makes_lost_and_found(&self) -> bool {
        let root = self.tree.inode(self.tree.root());
        !children(self.tree, root).any(|(name, ..)| name == LOST_AND_FOUND)
    }

    fn node(&self, path: TreePath, id: InodeId, inode: &Inode) -> Result<Node, Error> {
        let number = self.numbers[&id];
        let Meta { mode, uid, gid, mtime, xattrs } = &inode.meta;
        if !TIMES.contains(mtime) {
            return Err(refuse(
                &path,
                format!("the time {mtime} is outside the years 1901 to 2446"),
            ));
        }
        let block_size = usize::try_from(self.block_size).expect("blocks are small");
        let attributes =
            Attributes::build(xattrs, block_size).map_err(|rule| refuse(&path, rule))?;
        if is_lost_and_found(&path) && !matches!(inode.kind, Kind::Directory(_)) {
            return Err(refuse(&path, "this name must be a directory"));
        }
        let (kind, body) = self.body(&path, number, id, inode)?;
        Ok(Node {
            number,
            mode: kind | (mode & 0o7777),
            uid: *uid,
            gid: *gid,
            mtime: *mtime,
            links: self.links(&path, id, inode)?,
            body,
            attributes,
            path,
        })
    }

    fn body(
        &self,
        path: &TreePath,
        number: u32,
        id: InodeId,
        inode: &Inode,
    ) -> Result<(u16, Body), Error> {
        let none = Body::InInode([0; 60], 0);
        Ok(match &inode.kind {
            Kind::Directory(_) => {
                let blocks = self.directory(number, self.parents[&id], inode);
                let rule = "it holds more names than two levels of index reach";
                (kinds::DIRECTORY, Body::Bytes(blocks.ok_or_else(|| refuse(path, rule))?))
            }
            Kind::Regular(content) => {
                if content.size().div_ceil(self.block_size.into()) > BLOCKS_MAX {
                    return Err(refuse(path, "a file has less than 2^32 blocks"));
                }
                (kinds::REGULAR, Body::Content(content.clone()))
            }
            Kind::Symlink(target) => (kinds::SYMLINK, self.link(path, target)?),
            Kind::CharacterDevice(device) => (kinds::CHARACTER, device_body(path, *device)?),
            Kind::BlockDevice(device) => (kinds::BLOCK, device_body(path, *device)?),
            Kind::Fifo => (kinds::FIFO, none),
            Kind::Socket => (kinds::SOCKET, none),
        })
    }

    fn directory(&self, number: u32, parent: u32, inode: &Inode) -> Option<Vec<u8>> {
        let entry = |(name, child, kind)| Entry { name, inode: self.numbers[child], kind };
        let mut entries: Vec<_> = children(self.tree, inode).map(entry).collect();
        if number == ROOT_INODE && self.makes_lost_and_found() {
            let kind = kinds::in_directory(kinds::DIRECTORY);
            entries.push(Entry { name: LOST_AND_FOUND, inode: FIRST_INODE, kind });
            entries.sort_by_key(|entry| entry.name);
        }
        self.frame(number).build(number, parent, &entries)
    }

    fn frame(&self, number: u32) -> Frame {
        let block_size = usize::try_from(self.block_size).expect("blocks are small");
        let seed = Seed::of(&self.identity.uuid).inode(number, 0);
        Frame { block_size, seed, hash_seed: self.identity.hash_seed }
    }

    /// A target of less than 60 bytes stands in the inode, with a NUL behind it.
    fn link(&self, path: &TreePath, target: &[u8]) -> Result<Body, Error> {
        let limit = self.block_size.min(4096);
        if target.is_empty() || target.len() as u64 >= u64::from(limit) || target.contains(&0) {
            let rule = format!("a link's target has 1 to {} bytes and no NUL", limit - 1);
            return Err(refuse(path, rule));
        }
        let mut block = [0; 60];
        Ok(if target.len() < block.len() {
            block[..target.len()].copy_from_slice(target);
            Body::InInode(block, target.len() as u64)
        } else {
            Body::Bytes(target.to_vec())
        })
    }

    /// A directory counts `.`, its name, and the `..` of each below it; from 65000 on the count
    /// is 1, which means that nobody counted.
    fn links(&self, path: &TreePath, id: InodeId, inode: &Inode) -> Result<u16, Error> {
        let count = if matches!(inode.kind, Kind::Directory(_)) {
            let directory = kinds::in_directory(kinds::DIRECTORY);
            let below = children(self.tree, inode).filter(|child| child.2 == directory).count();
            let made = usize::from(path.is_root() && self.makes_lost_and_found());
            let count = u32::try_from(below + made + 2).unwrap_or(u32::MAX);
            if count > LINK_MAX { 1 } else { count }
        } else {
            self.names.get(&id).copied().unwrap_or(1)
        };
        if count > LINK_MAX {
            return Err(refuse(path, format!("it has {count} names, and {LINK_MAX} is the limit")));
        }
        Ok(u16::try_from(count).expect("the limit is below 65536"))
    }

    fn lost_and_found(&self) -> Node {
        let body = self.frame(FIRST_INODE).build(FIRST_INODE, ROOT_INODE, &[]);
        Node {
            path: TreePath::parse(LOST_AND_FOUND).expect("a clean name"),
            number: FIRST_INODE,
            mode: kinds::DIRECTORY | 0o700,
            uid: 0,
            gid: 0,
            mtime: self.tree.inode(self.tree.root()).meta.mtime,
            links: 2,
            body: Body::Bytes(body.expect("an empty directory fits")),
            attributes: Attributes::default(),
        }
    }
}

fn is_lost_and_found(path: &TreePath) -> bool {
    path.as_bytes() == LOST_AND_FOUND
}

/// The names in a directory with their inodes and types; none for other files.
fn children<'t>(
    tree: &'t Tree,
    inode: &'t Inode,
) -> impl Iterator<Item = (&'t [u8], &'t InodeId, u8)> {
    let entries = match &inode.kind {
        Kind::Directory(entries) => Some(entries.iter()),
        _ => None,
    };
    entries.into_iter().flatten().map(|(name, id)| {
        let mode = match tree.inode(*id).kind {
            Kind::Directory(_) => kinds::DIRECTORY,
            Kind::Regular(_) => kinds::REGULAR,
            Kind::Symlink(_) => kinds::SYMLINK,
            Kind::CharacterDevice(_) => kinds::CHARACTER,
            Kind::BlockDevice(_) => kinds::BLOCK,
            Kind::Fifo => kinds::FIFO,
            Kind::Socket => kinds::SOCKET,
        };
        (&name[..], id, kinds::in_directory(mode))
    })
}

/// Small numbers stand in the first word as they did on old systems, others in the second.
fn device_body(path: &TreePath, device: Device) -> Result<Body, Error> {
    let Device { major, minor } = device;
    if major > 0xFFF || minor > 0xF_FFFF {
        let rule = format!("the device {major}:{minor} is beyond 4095:1048575");
        return Err(refuse(path, rule));
    }
    let words = if major < 256 && minor < 256 {
        [major << 8 | minor, 0]
    } else {
        [0, minor & 0xFF | major << 8 | (minor & !0xFF) << 12]
    };
    let mut block = [0; 60];
    block[..4].copy_from_slice(&words[0].to_le_bytes());
    block[4..8].copy_from_slice(&words[1].to_le_bytes());
    Ok(Body::InInode(block, 0))
}

/// Reads what [`device_body`] wrote.
pub(super) fn decode_device(first: u32, second: u32) -> Device {
    if first != 0 {
        Device { major: first >> 8 & 0xFF, minor: first & 0xFF }
    } else {
        Device { major: second >> 8 & 0xFFF, minor: second & 0xFF | second >> 12 & 0xF_FF00 }
    }
}

fn refuse(path: &TreePath, rule: impl Into<String>) -> Error {
    Error::CannotHold { path: path.clone(), format: "ext4", rule: rule.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epoch::Epoch;

    fn draft(tree: &Tree) -> Result<Draft, Error> {
        let identity = Identity::new(&crate::digest::Digest::of(b""), Epoch::default());
        Draft::new(tree, 1024, &identity)
    }

    fn insert(tree: &mut Tree, path: &str, kind: Kind) -> InodeId {
        let meta = Meta::root(0o755);
        tree.insert(&TreePath::parse(path).unwrap(), Inode { meta, kind }).unwrap()
    }

    fn one(kind: Kind) -> Tree {
        let mut tree = Tree::default();
        insert(&mut tree, "file", kind);
        tree
    }

    fn dated(mtime: i64) -> Tree {
        let mut tree = Tree::default();
        let id = insert(&mut tree, "file", Kind::Fifo);
        tree.inode_mut(id).meta.mtime = mtime;
        tree
    }

    fn linked(names: u32) -> Tree {
        let mut tree = Tree::default();
        let id = insert(&mut tree, "file", Kind::Fifo);
        for name in 1..names {
            tree.link_id(&TreePath::parse(format!("{name}")).unwrap(), id).unwrap();
        }
        tree
    }

    fn sized(size: u64) -> Tree {
        let digest = crate::digest::Digest::of(b"");
        one(Kind::Regular(Content::Stored { digest, size }))
    }

    fn device(major: u32, minor: u32) -> Tree {
        one(Kind::BlockDevice(Device { major, minor }))
    }

    /// The good neighbour, the bad input, the rule that is named.
    #[test]
    fn f20_what_ext4_cannot_hold_is_refused_by_name() {
        let link = |length: usize| one(Kind::Symlink(vec![b'a'; length].into()));
        let cases = [
            (linked(65_000), linked(65_001), "it has 65001 names, and 65000 is the limit"),
            (dated(0x3_7FFF_FFFF), dated(0x3_8000_0000), "outside the years 1901 to 2446"),
            (dated(-0x8000_0000), dated(-0x8000_0001), "outside the years 1901 to 2446"),
            (device(4095, 1_048_575), device(4096, 0), "beyond 4095:1048575"),
            (device(4095, 0), device(0, 1_048_576), "beyond 4095:1048575"),
            (link(1023), link(1024), "a link's target has 1 to 1023 bytes and no NUL"),
            (link(1), link(0), "a link's target has 1 to 1023 bytes and no NUL"),
            (sized(0xFFFF_FFFF << 10), sized((0xFFFF_FFFF << 10) + 1), "less than 2^32 blocks"),
        ];
        for (good, bad, rule) in cases {
            draft(&good).unwrap();
            let error = draft(&bad).unwrap_err();
            assert!(matches!(&error, Error::CannotHold { format: "ext4", .. }));
            assert!(error.to_string().contains(rule), "{error}");
        }
    }

    #[test]
    fn directories_stop_counting_where_files_are_refused() {
        let mut tree = Tree::default();
        for name in 0..64_997 {
            insert(&mut tree, &name.to_string(), Kind::Directory(BTreeMap::new()));
        }
        // Two of its own, and lost+found.
        assert_eq!(draft(&tree).unwrap().nodes[0].links, 65_000);
        insert(&mut tree, "one more", Kind::Directory(BTreeMap::new()));
        assert_eq!(draft(&tree).unwrap().nodes[0].links, 1);
    }

    #[test]
    fn numbers_follow_the_walk_and_lost_and_found_is_always_eleven() {
        let mut tree = one(Kind::Fifo);
        insert(&mut tree, "another", Kind::Socket);
        let numbers = |tree: &Tree| -> Vec<_> {
            let nodes = draft(tree).unwrap().nodes.into_iter();
            nodes.map(|node| (node.number, node.path.to_string())).collect()
        };
        let expected = [(2, "/"), (11, "/lost+found"), (12, "/another"), (13, "/file")];
        let expected = expected.map(|(number, path)| (number, path.to_owned()));
        assert_eq!(numbers(&tree), expected);
        insert(&mut tree, "lost+found", Kind::Directory(BTreeMap::new()));
        assert_eq!(numbers(&tree), expected);
        assert!(draft(&one(Kind::Fifo)).is_ok());
        let mut odd = Tree::default();
        insert(&mut odd, "lost+found", Kind::Fifo);
        assert!(draft(&odd).unwrap_err().to_string().contains("must be a directory"));
    }

    #[test]
    fn device_numbers_come_back() {
        for (major, minor) in
            [(1, 3), (0, 0), (255, 255), (8, 256), (259, 70_000), (4095, 0xF_FFFF)]
        {
            let device = Device { major, minor };
            let Body::InInode(block, 0) = device_body(&TreePath::ROOT, device).unwrap() else {
                panic!("a device has no blocks");
            };
            let word = |at: usize| u32::from_le_bytes(block[at..at + 4].try_into().unwrap());
            assert_eq!(decode_device(word(0), word(4)), device);
        }
    }
}
