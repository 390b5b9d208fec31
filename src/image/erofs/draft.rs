//! The first half of planning: every inode with its number, its attributes and what it consists of.
//! Where things stand follows from how contents compress, so it is not known yet.

use std::collections::BTreeMap;

use super::attributes::{Attributes, Shared};
use super::format::{BLOCK, NAME_MAX, kinds};
use crate::digest::Digest;
use crate::image::Error;
use crate::tree::{Content, Device, Inode, InodeId, Kind, Tree, TreePath};

/// A file of the image.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Type and permission bits.
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: i64,
    pub(super) links: u32,
    pub(super) body: Body,
    /// What stands behind the inode for its attributes.
    pub(super) attributes: Vec<u8>,
}

/// What a file consists of.
#[derive(Debug, Clone)]
pub(super) enum Body {
    /// Names in order, `.` and `..` among them, with the index of the node that each leads to.
    Directory(Vec<(Box<[u8]>, usize)>),
    /// The index of its content.
    Content(usize),
    Symlink(Box<[u8]>),
    /// The number as it is written.
    Device(u32),
    Nothing,
}

/// A content, however many files have it.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) content: Content,
    /// The first file that has it, for messages.
    pub(super) path: TreePath,
    /// How many files have it.
    pub(super) files: u64,
    /// The longest attributes of these files, in bytes.
    pub(super) attributes: u64,
}

/// All files of an image, in the order of walking: the root is first.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) nodes: Vec<Node>,
    pub(super) contents: Vec<Stored>,
    pub(super) shared: Shared,
}

impl Draft {
    /// Numbers every file of `tree`.
    ///
    /// # Errors
    /// [`Error::CannotHold`] naming the first file that the format has no room for.
    pub(super) fn new(tree: &Tree) -> Result<Self, Error> {
        let mut indexes: BTreeMap<InodeId, usize> = BTreeMap::new();
        let mut firsts = Vec::new();
        for (path, id, inode) in tree.walk() {
            if let std::collections::btree_map::Entry::Vacant(vacant) = indexes.entry(id) {
                vacant.insert(firsts.len());
                firsts.push((path, id, inode));
            }
        }
        let shared = Shared::collect(firsts.iter().map(|(.., inode)| &inode.meta.xattrs));
        let mut drafter = Drafter {
            tree,
            indexes,
            names: tree.hard_links(),
            shared: &shared,
            by_digest: BTreeMap::new(),
            contents: Vec::new(),
            parents: BTreeMap::new(),
        };
        let nodes = firsts.into_iter().map(|(path, id, inode)| drafter.node(&path, id, inode));
        let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
        if u32::try_from(nodes.len()).is_err() {
            let rule = "2^32 files at most".to_owned();
            return Err(Error::TooLarge { format: "erofs", rule });
        }
        Ok(Self { nodes, contents: drafter.contents, shared })
    }
}

struct Drafter<'t> {
    tree: &'t Tree,
    indexes: BTreeMap<InodeId, usize>,
    names: BTreeMap<InodeId, u32>,
    shared: &'t Shared,
    by_digest: BTreeMap<Digest, usize>,
    contents: Vec<Stored>,
    /// The parent of each directory that was met.
    parents: BTreeMap<InodeId, usize>,
}

impl Drafter<'_> {
    fn node(&mut self, path: &TreePath, id: InodeId, inode: &Inode) -> Result<Node, Error> {
        let attributes = self.attributes(path, &inode.meta.xattrs)?;
        let (kind, body) = match &inode.kind {
            Kind::Directory(entries) => (kinds::DIRECTORY, self.directory(path, id, entries)?),
            Kind::Regular(content) => {
                (kinds::REGULAR, self.content(path, content, attributes.len() as u64)?)
            }
            Kind::Symlink(target) => (kinds::SYMLINK, symlink(path, target)?),
            Kind::CharacterDevice(device) => (kinds::CHARACTER, device_body(path, *device)?),
            Kind::BlockDevice(device) => (kinds::BLOCK, device_body(path, *device)?),
            Kind::Fifo => (kinds::FIFO, Body::Nothing),
            Kind::Socket => (kinds::SOCKET, Body::Nothing),
        };
        let links = match &inode.kind {
            Kind::Directory(entries) => {
                let is_directory =
                    |id: &&InodeId| matches!(self.tree.inode(**id).kind, Kind::Directory(_));
                let below = entries.values().filter(is_directory).count();
                u32::try_from(below).unwrap_or(u32::MAX).saturating_add(2)
            }
            _ => self.names.get(&id).copied().unwrap_or(1),
        };
        let meta = &inode.meta;
        let mode = kind | (meta.mode & 0o7777);
        let (uid, gid, mtime) = (meta.uid, meta.gid, meta.mtime);
        Ok(Node { mode, uid, gid, mtime, links, body, attributes })
    }

    fn attributes(&self, path: &TreePath, attributes: &Attributes) -> Result<Vec<u8>, Error> {
        self.shared.body(attributes).map_err(|rule| refuse(path, rule))
    }

    fn directory(
        &mut self,
        path: &TreePath,
        id: InodeId,
        entries: &BTreeMap<Box<[u8]>, InodeId>,
    ) -> Result<Body, Error> {
        let own = self.indexes[&id];
        let parent = self.parents.get(&id).copied().unwrap_or(own);
        let dots: [(&[u8], usize); 2] = [(b".", own), (b"..", parent)];
        let mut names: Vec<(Box<[u8]>, usize)> =
            dots.into_iter().map(|(name, index)| (name.into(), index)).collect();
        for (name, child) in entries {
            if name.len() > NAME_MAX {
                return Err(refuse(path, "a name has at most 255 bytes"));
            }
            if matches!(self.tree.inode(*child).kind, Kind::Directory(_)) {
                self.parents.insert(*child, own);
            }
            names.push((name.clone(), self.indexes[child]));
        }
        names.sort_unstable();
        Ok(Body::Directory(names))
    }

    fn content(
        &mut self,
        path: &TreePath,
        content: &Content,
        attributes: u64,
    ) -> Result<Body, Error> {
        if content.size().div_ceil(BLOCK) > u64::from(u32::MAX) {
            return Err(refuse(path, "a file has less than 2^32 blocks"));
        }
        let next = self.contents.len();
        let index = *self.by_digest.entry(content.digest()).or_insert(next);
        if index == next {
            let (content, path) = (content.clone(), path.clone());
            self.contents.push(Stored { content, path, files: 0, attributes: 0 });
        }
        let stored = &mut self.contents[index];
        stored.files += 1;
        stored.attributes = stored.attributes.max(attributes);
        Ok(Body::Content(index))
    }
}

fn symlink(path: &TreePath, target: &[u8]) -> Result<Body, Error> {
    if target.is_empty() || target.len() as u64 >= BLOCK || target.contains(&0) {
        return Err(refuse(path, "a link's target has 1 to 4095 bytes and no NUL"));
    }
    Ok(Body::Symlink(target.into()))
}

/// The number as kernels write it: the minor's low byte, the major, the rest of the minor.
fn device_body(path: &TreePath, device: Device) -> Result<Body, Error> {
    let Device { major, minor } = device;
    if major > 0xFFF || minor > 0xF_FFFF {
        let rule = format!("the device {major}:{minor} is beyond 4095:1048575");
        return Err(refuse(path, rule));
    }
    Ok(Body::Device(minor & 0xFF | major << 8 | (minor & !0xFF) << 12))
}

/// Reads what [`device_body`] wrote.
pub(super) fn decode_device(number: u32) -> Device {
    Device { major: number >> 8 & 0xFFF, minor: number & 0xFF | number >> 12 & 0xF_FF00 }
}

fn refuse(path: &TreePath, rule: impl Into<String>) -> Error {
    Error::CannotHold { path: path.clone(), format: "erofs", rule: rule.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Meta;

    fn one(kind: Kind, name: &str) -> Tree {
        let mut tree = Tree::default();
        let inode = Inode { meta: Meta::root(0o755), kind };
        tree.insert(&TreePath::parse(name).unwrap(), inode).unwrap();
        tree
    }

    #[test]
    fn f20_what_erofs_cannot_hold_is_refused_by_name() {
        let link = |length: usize| one(Kind::Symlink(vec![b'a'; length].into()), "f");
        let device = |major, minor| one(Kind::BlockDevice(Device { major, minor }), "f");
        let sized = |blocks: u64| {
            let digest = Digest::of(b"");
            one(Kind::Regular(Content::Stored { digest, size: blocks * 4096 }), "f")
        };
        let with = |size: usize| {
            let mut tree = one(Kind::Fifo, "f");
            let inode = tree.get_mut(&TreePath::parse("f").unwrap()).unwrap();
            inode.meta.xattrs.insert(b"user.a".to_vec(), vec![0; size]);
            tree
        };
        let cases = [
            (link(4095), link(4096), "a link's target has 1 to 4095 bytes"),
            (link(1), link(0), "a link's target has 1 to 4095 bytes"),
            (device(4095, 1_048_575), device(4096, 0), "beyond 4095:1048575"),
            (device(0, 0), device(0, 1_048_576), "beyond 4095:1048575"),
            (sized(0xFFFF_FFFF), sized(0x1_0000_0000), "less than 2^32 blocks"),
            (with(65_535), with(65_536), "exceeds 65535 bytes"),
        ];
        for (good, bad, rule) in cases {
            Draft::new(&good).unwrap();
            let error = Draft::new(&bad).unwrap_err();
            assert!(matches!(&error, Error::CannotHold { format: "erofs", .. }));
            assert!(error.to_string().contains(rule), "{error}");
        }
    }

    #[test]
    fn names_are_in_order_with_the_dots_among_them() {
        let mut tree = one(Kind::Directory(BTreeMap::new()), "-dash");
        let inode = Inode { meta: Meta::root(0o755), kind: Kind::Fifo };
        for name in [".hidden", "a", "-dash/x"] {
            tree.insert(&TreePath::parse(name).unwrap(), inode.clone()).unwrap();
        }
        let draft = Draft::new(&tree).unwrap();
        let names = |index: usize| match &draft.nodes[index].body {
            Body::Directory(names) => names
                .iter()
                .map(|(name, index)| (String::from_utf8_lossy(name).into_owned(), *index))
                .collect::<Vec<_>>(),
            _ => Vec::new(),
        };
        let owned = |names: &[(&str, usize)]| -> Vec<(String, usize)> {
            names.iter().map(|(name, index)| ((*name).to_owned(), *index)).collect()
        };
        let dash = names(0).iter().find(|(name, _)| name == "-dash").unwrap().1;
        let order: Vec<_> = names(0).into_iter().map(|(name, _)| name).collect();
        assert_eq!(order, ["-dash", ".", "..", ".hidden", "a"]);
        assert_eq!(names(dash)[..2], owned(&[(".", dash), ("..", 0)])[..]);
        assert_eq!(draft.nodes[0].links, 3);
    }

    #[test]
    fn device_numbers_come_back() {
        for (major, minor) in [(1, 3), (0, 0), (255, 255), (259, 70_000), (4095, 0xF_FFFF)] {
            let device = Device { major, minor };
            let Body::Device(number) = device_body(&TreePath::ROOT, device).unwrap() else {
                panic!("a device is a number");
            };
            assert_eq!(decode_device(number), device);
        }
    }
}
