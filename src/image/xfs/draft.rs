//! The first half of planning: which inodes there are and what each consists of, before anything
//! has a place.

use std::collections::BTreeMap;

use super::attributes;
use super::format::{FORKS_SIZE, TARGET_MAX, kinds};
use super::inode::{ATTRIBUTE_EXTENTS_ROOM, TIMES};
use crate::image::Error;
use crate::tree::{Content, Device, Inode, InodeId, Kind, Meta, Tree, TreePath};

/// Links of a file at most; the kernel counts no further.
const LINKS_MAX: u32 = i32::MAX.cast_unsigned();
/// The two inodes of a real-time device, which every file system has behind the root.
pub(super) const SPECIAL: usize = 2;

/// A file system whose inodes are known by their index.
#[derive(Debug)]
pub(super) struct Draft<'t> {
    /// The root first, then the special inodes, then all others in the order of walking.
    pub(super) nodes: Vec<Node<'t>>,
}

/// A file.
#[derive(Debug)]
pub(super) struct Node<'t> {
    pub(super) path: TreePath,
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: i64,
    pub(super) links: u32,
    pub(super) body: Body<'t>,
    pub(super) attributes: attributes::Form,
}

/// What a file consists of.
#[derive(Debug)]
pub(super) enum Body<'t> {
    /// The directory above, and the names: each with its inode and its type.
    Directory(usize, Vec<(&'t [u8], usize, u8)>),
    Content(&'t Content),
    Link(&'t [u8]),
    /// A device, or something else that has only a name: then it is zero.
    Device(u32),
    /// One of the special inodes, with its flags.
    Special(u16),
}

impl Node<'_> {
    /// Bytes of the inode that the data may take.
    pub(super) fn room(&self) -> usize {
        match &self.attributes {
            attributes::Form::None => FORKS_SIZE,
            attributes::Form::Local(bytes) => FORKS_SIZE - bytes.len().next_multiple_of(8),
            attributes::Form::Blocks(_) => FORKS_SIZE - ATTRIBUTE_EXTENTS_ROOM,
        }
    }
}

impl<'t> Draft<'t> {
    /// Numbers the files of `tree`.
    ///
    /// # Errors
    /// [`Error::CannotHold`], naming the first file that xfs has no room for.
    pub(super) fn new(tree: &'t Tree) -> Result<Self, Error> {
        let mut indexes = BTreeMap::new();
        for (_, id, _) in tree.walk() {
            let next = if indexes.is_empty() { 0 } else { indexes.len() + SPECIAL };
            indexes.entry(id).or_insert(next);
        }
        let drafter =
            Drafter { tree, parents: parents(tree, &indexes), indexes, names: tree.hard_links() };
        let time = tree.inode(tree.root()).meta.mtime;
        let mut nodes = Vec::new();
        for (path, id, inode) in tree.walk() {
            let index = drafter.indexes[&id];
            if index >= nodes.len() {
                nodes.push(drafter.node(path, index, id, inode)?);
            }
            if index == 0 {
                nodes.extend([special(4, time), special(0, time)]);
            }
        }
        Ok(Self { nodes })
    }
}

fn special<'t>(flags: u16, mtime: i64) -> Node<'t> {
    let (path, mode, attributes) = (TreePath::ROOT, kinds::REGULAR, attributes::Form::None);
    Node { path, mode, uid: 0, gid: 0, mtime, links: 1, body: Body::Special(flags), attributes }
}

/// The directory above each directory.
fn parents(tree: &Tree, indexes: &BTreeMap<InodeId, usize>) -> BTreeMap<usize, usize> {
    let mut parents = BTreeMap::from([(0, 0)]);
    for (_, id, inode) in tree.walk() {
        if let Kind::Directory(entries) = &inode.kind {
            parents.extend(entries.values().map(|child| (indexes[child], indexes[&id])));
        }
    }
    parents
}

struct Drafter<'t> {
    tree: &'t Tree,
    indexes: BTreeMap<InodeId, usize>,
    parents: BTreeMap<usize, usize>,
    names: BTreeMap<InodeId, u32>,
}

impl<'t> Drafter<'t> {
    fn node(
        &self,
        path: TreePath,
        index: usize,
        id: InodeId,
        inode: &'t Inode,
    ) -> Result<Node<'t>, Error> {
        let Meta { mode, uid, gid, mtime, xattrs } = &inode.meta;
        if !TIMES.contains(mtime) {
            let rule = format!("the time {mtime} is outside the years 1901 to 2486");
            return Err(refuse(&path, rule));
        }
        let (kind, body) = self.body(&path, index, inode)?;
        let links = match &body {
            Body::Directory(_, names) => {
                let directory = kinds::in_directory(kinds::DIRECTORY);
                let below = names.iter().filter(|(_, _, kind)| *kind == directory).count();
                u32::try_from(below + 2).unwrap_or(u32::MAX)
            }
            _ => self.names.get(&id).copied().unwrap_or(1),
        };
        if links > LINKS_MAX {
            return Err(refuse(&path, format!("it has more than {LINKS_MAX} links")));
        }
        let attributes = attributes::build(xattrs).map_err(|rule| refuse(&path, rule))?;
        let (uid, gid, mtime) = (*uid, *gid, *mtime);
        Ok(Node { path, mode: kind | (mode & 0o7777), uid, gid, mtime, links, body, attributes })
    }

    fn body(
        &self,
        path: &TreePath,
        index: usize,
        inode: &'t Inode,
    ) -> Result<(u16, Body<'t>), Error> {
        Ok(match &inode.kind {
            Kind::Directory(entries) => {
                let names = entries.iter().map(|(name, child)| {
                    let kind = kinds::in_directory(mode_of(&self.tree.inode(*child).kind));
                    (&name[..], self.indexes[child], kind)
                });
                let names = names.collect();
                (kinds::DIRECTORY, Body::Directory(self.parents[&index], names))
            }
            Kind::Regular(content) => (kinds::REGULAR, Body::Content(content)),
            Kind::Symlink(target) => {
                if target.is_empty() || target.len() > TARGET_MAX || target.contains(&0) {
                    let rule = format!("a link's target has 1 to {TARGET_MAX} bytes and no NUL");
                    return Err(refuse(path, rule));
                }
                (kinds::SYMLINK, Body::Link(target))
            }
            Kind::CharacterDevice(device) => (kinds::CHARACTER, device_body(path, *device)?),
            Kind::BlockDevice(device) => (kinds::BLOCK, device_body(path, *device)?),
            Kind::Fifo => (kinds::FIFO, Body::Device(0)),
            Kind::Socket => (kinds::SOCKET, Body::Device(0)),
        })
    }
}

/// The type of a file, as its mode has it.
pub(super) fn mode_of(kind: &Kind) -> u16 {
    match kind {
        Kind::Directory(_) => kinds::DIRECTORY,
        Kind::Regular(_) => kinds::REGULAR,
        Kind::Symlink(_) => kinds::SYMLINK,
        Kind::CharacterDevice(_) => kinds::CHARACTER,
        Kind::BlockDevice(_) => kinds::BLOCK,
        Kind::Fifo => kinds::FIFO,
        Kind::Socket => kinds::SOCKET,
    }
}

/// There is room for larger major numbers, of which Linux drops the upper bits when it reads them
/// (`xfs_to_linux_dev_t`).
fn device_body<'t>(path: &TreePath, device: Device) -> Result<Body<'t>, Error> {
    let Device { major, minor } = device;
    if major > 0x1FF || minor > 0x3_FFFF {
        let rule = format!("the device {major}:{minor} is beyond 511:262143");
        return Err(refuse(path, rule));
    }
    Ok(Body::Device(major << 18 | minor))
}

/// Reads what [`device_body`] made.
pub(super) fn decode_device(number: u32) -> Device {
    Device { major: number >> 18, minor: number & 0x3_FFFF }
}

pub(super) fn refuse(path: &TreePath, rule: impl Into<String>) -> Error {
    Error::CannotHold { path: path.clone(), format: "xfs", rule: rule.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(kind: Kind) -> Tree {
        let mut tree = Tree::default();
        let meta = Meta::root(0o644);
        tree.insert(&TreePath::parse("file").unwrap(), Inode { meta, kind }).unwrap();
        tree
    }

    fn dated(mtime: i64) -> Tree {
        let mut tree = one(Kind::Fifo);
        tree.get_mut(&TreePath::parse("file").unwrap()).unwrap().meta.mtime = mtime;
        tree
    }

    /// The good neighbour, the bad input, the rule that is named.
    #[test]
    fn f20_what_xfs_cannot_hold_is_refused_by_name() {
        let link = |length: usize| one(Kind::Symlink(vec![b'a'; length].into()));
        let device = |major, minor| one(Kind::BlockDevice(Device { major, minor }));
        let cases = [
            (dated(*TIMES.end()), dated(TIMES.end() + 1), "outside the years 1901 to 2486"),
            (dated(*TIMES.start()), dated(TIMES.start() - 1), "outside the years 1901 to 2486"),
            (device(511, 262_143), device(512, 0), "beyond 511:262143"),
            (device(0, 262_143), device(0, 262_144), "beyond 511:262143"),
            (link(1024), link(1025), "a link's target has 1 to 1024 bytes"),
            (link(1), link(0), "a link's target has 1 to 1024 bytes"),
        ];
        for (good, bad, rule) in cases {
            Draft::new(&good).unwrap();
            let error = Draft::new(&bad).unwrap_err();
            assert!(matches!(&error, Error::CannotHold { format: "xfs", .. }));
            assert!(error.to_string().contains(rule), "{error}");
        }
    }

    #[test]
    fn the_root_and_the_special_inodes_come_first() {
        let tree = one(Kind::Fifo);
        let draft = Draft::new(&tree).unwrap();
        let Body::Directory(0, names) = &draft.nodes[0].body else { panic!("the root") };
        assert_eq!(names[..], [(&b"file"[..], 3, 5)]);
        assert!(matches!(draft.nodes[1].body, Body::Special(4)));
        assert_eq!(draft.nodes[3].path.to_string(), "/file");
    }
}
