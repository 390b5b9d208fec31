//! A file system in memory: the hub that every stage hands to the next.
//!
//! A [`Tree`] knows paths, owners, modes, times, extended attributes, hard links and device nodes.
//! The content of files is by reference ([`Content`]), so a whole distribution takes a few
//! megabytes. Owners live here and not on the host's disk: that is why no root is needed.
//!
//! This room never touches the disk. Directories on disk become trees in `store`, and trees
//! become directories there too.

mod listing;
mod overlay;
mod path;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

pub use listing::ParseError as ListingError;
pub use path::{BadPath, NAME_MAX, PATH_MAX, TreePath, escape, unescape};

use crate::digest::Digest;

/// The number of an inode within one tree. Two paths with the same id are hard links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InodeId(usize);

/// A file system in memory. Always has a root directory; walks in byte order of names.
#[derive(Debug, Clone)]
pub struct Tree {
    /// Inodes to which no name leads any more stay: a tree lives for one build, and ids stay valid.
    inodes: Vec<Inode>,
}

/// One file of any kind, whatever names lead to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inode {
    /// Owner, mode, time, attributes.
    pub meta: Meta,
    /// What it is, with what belongs to that.
    pub kind: Kind,
}

/// What every kind of file has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits with set-uid, set-gid and sticky: at most `0o7777`.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last modification, in whole seconds since 1970.
    pub mtime: i64,
    /// Extended attributes by full name (`security.capability`).
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Meta {
    /// Owned by root, modified in 1970, no attributes.
    pub const fn root(mode: u16) -> Self {
        Self { mode, uid: 0, gid: 0, mtime: 0, xattrs: BTreeMap::new() }
    }
}

/// The kinds of file that Linux knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A directory, its entries sorted by name.
    Directory(BTreeMap<Box<[u8]>, InodeId>),
    /// A regular file.
    Regular(Content),
    /// A symbolic link and its target, as it is written.
    Symlink(Box<[u8]>),
    /// A character device.
    CharacterDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
}

/// The number of a device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Major number: the driver.
    pub major: u32,
    /// Minor number: the instance.
    pub minor: u32,
}

/// The content of a regular file, by reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The bytes themselves, for what osbuilder writes: small.
    Inline(Arc<[u8]>),
    /// Bytes that a [`Contents`] can open.
    Stored {
        /// The digest of the bytes.
        digest: Digest,
        /// How many bytes.
        size: u64,
    },
}

impl Content {
    /// An empty file.
    pub fn empty() -> Self {
        Self::Inline(Arc::from([]))
    }

    /// The size in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Stored { size, .. } => *size,
        }
    }

    /// The digest of the bytes.
    pub fn digest(&self) -> Digest {
        match self {
            Self::Inline(bytes) => Digest::of(bytes),
            Self::Stored { digest, .. } => *digest,
        }
    }

    /// Opens the bytes for reading.
    ///
    /// # Errors
    /// Whatever `contents` reports for a stored content.
    pub fn open<'a>(&'a self, contents: &'a dyn Contents) -> io::Result<Box<dyn Read + Send + 'a>> {
        match self {
            Self::Inline(bytes) => Ok(Box::new(&bytes[..])),
            Self::Stored { digest, .. } => contents.open(digest),
        }
    }
}

/// Where stored contents come from.
pub trait Contents: Sync {
    /// Opens the bytes with this digest. The reader fails, rather than ends well, when the bytes
    /// turn out not to have it.
    ///
    /// # Errors
    /// `NotFound` when the digest is unknown; whatever the medium reports.
    fn open(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send + '_>>;
}

/// A [`Contents`] without anything in it, for trees whose contents are all inline.
#[derive(Debug)]
pub struct NoContents;

impl Contents for NoContents {
    fn open(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send + '_>> {
        Err(io::Error::new(io::ErrorKind::NotFound, format!("no content with digest {digest}")))
    }
}

/// Several [`Contents`], asked in turn.
#[derive(Clone, Copy)]
pub struct Layered<'a>(pub &'a [&'a dyn Contents]);

impl std::fmt::Debug for Layered<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Layered({} contents)", self.0.len())
    }
}

impl Contents for Layered<'_> {
    fn open(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send + '_>> {
        let mut outcome = NoContents.open(digest);
        for contents in self.0 {
            match outcome {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    outcome = contents.open(digest);
                }
                found => return found,
            }
        }
        outcome
    }
}

/// Why a tree could not be changed as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A path leads through something that is no directory.
    #[error("{path} is not a directory")]
    NotADirectory {
        /// The path of the obstacle.
        path: TreePath,
    },
    /// A path leads nowhere.
    #[error("{path} does not exist in the tree")]
    Missing {
        /// The missing path.
        path: TreePath,
    },
    /// A directory would be replaced by, or linked as, something that is none.
    #[error("{path} is a directory")]
    IsADirectory {
        /// The directory.
        path: TreePath,
    },
    /// Symbolic links lead round in a circle, or through more than forty links.
    #[error("too many symbolic links on the way to {path}")]
    TooManyLinks {
        /// The path that was to be resolved.
        path: TreePath,
    },
    /// A path is not clean.
    #[error(transparent)]
    BadPath(#[from] BadPath),
}

/// As the kernel: more symbolic links than this on one path are taken for a circle.
const MAXIMUM_LINKS: usize = 40;

impl Default for Tree {
    fn default() -> Self {
        Self::new(Meta::root(0o755))
    }
}

impl Tree {
    /// A tree with nothing but a root directory.
    pub fn new(root: Meta) -> Self {
        let root = Inode { meta: root, kind: Kind::Directory(BTreeMap::new()) };
        Self { inodes: vec![root] }
    }

    /// The id of the root directory.
    pub const fn root(&self) -> InodeId {
        InodeId(0)
    }

    /// Returns an inode by its id.
    ///
    /// # Panics
    /// When the id is from another tree.
    pub fn inode(&self, id: InodeId) -> &Inode {
        self.inodes.get(id.0).expect("ids come from this tree")
    }

    /// Returns an inode by its id, to change it. To change entries of directories, use
    /// [`Tree::insert`], [`Tree::link`] and [`Tree::remove`].
    ///
    /// # Panics
    /// As [`Tree::inode`].
    pub fn inode_mut(&mut self, id: InodeId) -> &mut Inode {
        self.inodes.get_mut(id.0).expect("ids come from this tree")
    }

    /// Returns the inode at `path`, following no symbolic link.
    pub fn lookup(&self, path: &TreePath) -> Option<InodeId> {
        path.names().try_fold(self.root(), |id, name| self.entry(id, name))
    }

    /// Returns the inode at `path`, following no symbolic link.
    pub fn get(&self, path: &TreePath) -> Option<&Inode> {
        self.lookup(path).map(|id| self.inode(id))
    }

    /// Returns the inode at `path` to change it, following no symbolic link.
    pub fn get_mut(&mut self, path: &TreePath) -> Option<&mut Inode> {
        self.lookup(path).map(|id| self.inode_mut(id))
    }

    fn entry(&self, directory: InodeId, name: &[u8]) -> Option<InodeId> {
        match &self.inode(directory).kind {
            Kind::Directory(entries) => entries.get(name).copied(),
            _ => None,
        }
    }

    /// Follows every symbolic link in `path` but the last one, inside this tree as a process
    /// whose root it is would, and returns the path without links.
    ///
    /// Names that do not exist are kept as they are; so a path to be created can be resolved.
    ///
    /// # Errors
    /// [`Error::TooManyLinks`], [`Error::NotADirectory`], [`Error::BadPath`].
    pub fn resolve_parent(&self, path: &TreePath) -> Result<TreePath, Error> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
            return Ok(TreePath::ROOT);
        };
        Ok(self.resolve(&parent)?.join(name)?)
    }

    /// Follows every symbolic link in `path`, the last one too; else as
    /// [`Tree::resolve_parent`].
    ///
    /// # Errors
    /// [`Error::TooManyLinks`], [`Error::NotADirectory`], [`Error::BadPath`].
    pub fn resolve(&self, path: &TreePath) -> Result<TreePath, Error> {
        let mut pending: Vec<Vec<u8>> = path.names().map(<[u8]>::to_vec).collect();
        pending.reverse();
        let mut clean: Vec<Vec<u8>> = Vec::new();
        let mut links = 0;
        while let Some(name) = pending.pop() {
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    clean.pop();
                    continue;
                }
                _ => clean.push(name),
            }
            let here = TreePath::parse(clean.join(&b'/'))?;
            match self.get(&here).map(|inode| &inode.kind) {
                Some(Kind::Symlink(target)) => {
                    links += 1;
                    if links > MAXIMUM_LINKS {
                        return Err(Error::TooManyLinks { path: path.clone() });
                    }
                    clean.pop();
                    if target.starts_with(b"/") {
                        clean.clear();
                    }
                    pending.extend(target.rsplit(|&byte| byte == b'/').map(<[u8]>::to_vec));
                }
                Some(Kind::Directory(_)) | None => {}
                Some(_) if pending.iter().all(|rest| rest.is_empty()) => {}
                Some(_) => return Err(Error::NotADirectory { path: here }),
            }
        }
        Ok(TreePath::parse(clean.join(&b'/'))?)
    }

    /// Puts an inode at `path`, whose parent directory must exist; follows no symbolic link.
    ///
    /// What was there before is replaced, but a directory only by a directory: then its entries
    /// stay and only `meta` changes (`inode.kind` must then be an empty directory).
    ///
    /// # Errors
    /// [`Error::Missing`] or [`Error::NotADirectory`] for the parent, [`Error::IsADirectory`].
    pub fn insert(&mut self, path: &TreePath, inode: Inode) -> Result<InodeId, Error> {
        if let Some(id) = self.lookup(path)
            && matches!(self.inode(id).kind, Kind::Directory(_))
        {
            if !matches!(inode.kind, Kind::Directory(_)) {
                return Err(Error::IsADirectory { path: path.clone() });
            }
            self.inode_mut(id).meta = inode.meta;
            return Ok(id);
        }
        let id = InodeId(self.inodes.len());
        self.inodes.push(inode);
        self.enter(path, id)?;
        Ok(id)
    }

    /// Makes `path` another name of `target` (a hard link); follows no symbolic link.
    ///
    /// # Errors
    /// [`Error::Missing`] for the target or the parent of `path`, [`Error::IsADirectory`] when
    /// either is a directory.
    pub fn link(&mut self, path: &TreePath, target: &TreePath) -> Result<InodeId, Error> {
        let id = self.lookup(target).ok_or_else(|| Error::Missing { path: target.clone() })?;
        if matches!(self.inode(id).kind, Kind::Directory(_)) {
            return Err(Error::IsADirectory { path: target.clone() });
        }
        self.link_inode(path, id)?;
        Ok(id)
    }

    /// Makes `path` another name of an inode of this tree that is no directory, also when no name
    /// leads to it any more; else as [`Tree::link`].
    ///
    /// # Errors
    /// As [`Tree::link`].
    ///
    /// # Panics
    /// As [`Tree::inode`].
    pub fn link_inode(&mut self, path: &TreePath, id: InodeId) -> Result<(), Error> {
        for id in [Some(id), self.lookup(path)] {
            if id.is_some_and(|id| matches!(self.inode(id).kind, Kind::Directory(_))) {
                return Err(Error::IsADirectory { path: path.clone() });
            }
        }
        self.enter(path, id)
    }

    /// Makes `path` another name of the file `id`, which must not be a directory.
    ///
    /// # Errors
    /// [`Error::Missing`] or [`Error::NotADirectory`] for the parent of `path`,
    /// [`Error::IsADirectory`] when `id` or what is at `path` is a directory.
    pub fn link_id(&mut self, path: &TreePath, id: InodeId) -> Result<(), Error> {
        let is_directory = |id| matches!(self.inode(id).kind, Kind::Directory(_));
        if is_directory(id) || self.lookup(path).is_some_and(is_directory) {
            return Err(Error::IsADirectory { path: path.clone() });
        }
        self.enter(path, id)
    }

    /// Makes `path` and every missing directory above it, with `meta`; existing ones stay as they
    /// are. Follows symbolic links inside the tree, as `mkdir -p` does.
    ///
    /// # Errors
    /// As [`Tree::resolve`].
    pub fn make_directories(&mut self, path: &TreePath, meta: &Meta) -> Result<InodeId, Error> {
        let clean = self.resolve(path)?;
        let mut here = TreePath::ROOT;
        for name in clean.names() {
            here = here.join(name)?;
            match self.get(&here).map(|inode| &inode.kind) {
                Some(Kind::Directory(_)) => {}
                Some(_) => return Err(Error::NotADirectory { path: here }),
                None => {
                    let kind = Kind::Directory(BTreeMap::new());
                    self.insert(&here, Inode { meta: meta.clone(), kind })?;
                }
            }
        }
        self.lookup(&clean).ok_or(Error::Missing { path: clean })
    }

    /// Removes `path` and, if it is a directory, all below it. Returns whether it was there.
    /// The root itself stays and is emptied.
    pub fn remove(&mut self, path: &TreePath) -> bool {
        match (path.parent(), path.name()) {
            (Some(parent), Some(name)) => {
                self.entries_mut(&parent).is_some_and(|entries| entries.remove(name).is_some())
            }
            _ => {
                self.inode_mut(self.root()).kind = Kind::Directory(BTreeMap::new());
                true
            }
        }
    }

    /// Renames the file at `from`, which must not be a directory, to `to`, replacing a file there;
    /// follows no symbolic link.
    ///
    /// # Errors
    /// [`Error::Missing`] for `from` or the parent of `to`, [`Error::IsADirectory`] when either is
    /// a directory.
    pub fn rename(&mut self, from: &TreePath, to: &TreePath) -> Result<(), Error> {
        if from != to {
            self.link(to, from)?;
            self.remove(from);
        }
        Ok(())
    }

    /// Returns every path with its inode, directories before their entries, entries in byte order.
    /// The root comes first.
    pub fn walk(&self) -> Walk<'_> {
        Walk { tree: self, pending: vec![(TreePath::ROOT, self.root())] }
    }

    /// Returns how many names lead to each inode that is no directory and has more than one.
    pub fn hard_links(&self) -> BTreeMap<InodeId, u32> {
        let mut names: BTreeMap<InodeId, u32> = BTreeMap::new();
        for (_, id, inode) in self.walk() {
            if !matches!(inode.kind, Kind::Directory(_)) {
                *names.entry(id).or_default() += 1;
            }
        }
        names.retain(|_, count| *count > 1);
        names
    }

    fn entries_mut(&mut self, path: &TreePath) -> Option<&mut BTreeMap<Box<[u8]>, InodeId>> {
        match &mut self.get_mut(path)?.kind {
            Kind::Directory(entries) => Some(entries),
            _ => None,
        }
    }

    /// Makes the name `path` lead to `id`. The parent must be a directory.
    fn enter(&mut self, path: &TreePath, id: InodeId) -> Result<(), Error> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
            return Err(Error::IsADirectory { path: path.clone() });
        };
        if self.lookup(&parent).is_none() {
            return Err(Error::Missing { path: parent });
        }
        match self.entries_mut(&parent) {
            Some(entries) => entries.insert(name.into(), id),
            None => return Err(Error::NotADirectory { path: parent }),
        };
        Ok(())
    }
}

/// Trees are equal when the same paths lead to equal files and the same paths are hard links of
/// each other; the numbers of inodes do not matter. Contents are compared by digest.
impl PartialEq for Tree {
    fn eq(&self, other: &Self) -> bool {
        self.to_listing() == other.to_listing()
    }
}

impl Eq for Tree {}

/// An iterator over a tree; see [`Tree::walk`].
#[derive(Debug)]
pub struct Walk<'a> {
    tree: &'a Tree,
    pending: Vec<(TreePath, InodeId)>,
}

impl<'a> Iterator for Walk<'a> {
    type Item = (TreePath, InodeId, &'a Inode);

    fn next(&mut self) -> Option<Self::Item> {
        let (path, id) = self.pending.pop()?;
        let inode = self.tree.inode(id);
        if let Kind::Directory(entries) = &inode.kind {
            for (name, &child) in entries.iter().rev() {
                let below = path.join(name).expect("names in a tree are clean");
                self.pending.push((below, child));
            }
        }
        Some((path, id, inode))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::parse(text).unwrap()
    }

    fn directory() -> Inode {
        Inode { meta: Meta::root(0o755), kind: Kind::Directory(BTreeMap::new()) }
    }

    fn file(text: &str) -> Inode {
        let kind = Kind::Regular(Content::Inline(text.as_bytes().into()));
        Inode { meta: Meta::root(0o644), kind }
    }

    fn symlink(target: &str) -> Inode {
        Inode { meta: Meta::root(0o777), kind: Kind::Symlink(target.as_bytes().into()) }
    }

    fn merged_usr() -> Tree {
        let mut tree = Tree::default();
        tree.make_directories(&path("usr/bin"), &Meta::root(0o755)).unwrap();
        tree.insert(&path("bin"), symlink("usr/bin")).unwrap();
        tree.insert(&path("usr/bin/sh"), file("#!")).unwrap();
        tree
    }

    #[test]
    fn a_walk_goes_down_in_byte_order() {
        let paths: Vec<_> = merged_usr().walk().map(|(path, ..)| path.to_string()).collect();
        assert_eq!(paths, ["/", "/bin", "/usr", "/usr/bin", "/usr/bin/sh"]);
    }

    #[test]
    fn links_resolve_inside_the_tree_only() {
        let mut tree = merged_usr();
        tree.insert(&path("up"), symlink("../../../usr/./bin/")).unwrap();
        tree.insert(&path("absolute"), symlink("/bin/new")).unwrap();
        let cases = [
            ("bin/sh", "/usr/bin/sh"),
            ("up/sh", "/usr/bin/sh"),
            ("absolute", "/usr/bin/new"),
            ("nowhere/at/all", "/nowhere/at/all"),
        ];
        for (from, to) in cases {
            assert_eq!(tree.resolve(&path(from)).unwrap().to_string(), to);
        }
        assert_eq!(tree.resolve_parent(&path("up")).unwrap(), path("up"));
    }

    #[test]
    fn circles_and_files_on_the_way_are_errors() {
        let mut tree = merged_usr();
        tree.insert(&path("a"), symlink("b")).unwrap();
        tree.insert(&path("b"), symlink("a")).unwrap();
        assert_eq!(tree.resolve(&path("a")), Err(Error::TooManyLinks { path: path("a") }));
        let through_a_file = tree.resolve(&path("bin/sh/x"));
        assert_eq!(through_a_file, Err(Error::NotADirectory { path: path("usr/bin/sh") }));
    }

    #[test]
    fn directories_are_made_through_links_and_kept_when_inserted_again() {
        let mut tree = merged_usr();
        tree.make_directories(&path("bin/deep/er"), &Meta::root(0o700)).unwrap();
        assert!(tree.get(&path("usr/bin/deep/er")).is_some());
        tree.insert(&path("usr"), directory()).unwrap();
        assert!(tree.get(&path("usr/bin/sh")).is_some());
        let refused = tree.insert(&path("usr"), file(""));
        assert_eq!(refused, Err(Error::IsADirectory { path: path("usr") }));
    }

    #[test]
    fn hard_links_are_counted_and_survive_removal_of_one_name() {
        let mut tree = merged_usr();
        let id = tree.link(&path("usr/bin/dash"), &path("usr/bin/sh")).unwrap();
        assert_eq!(tree.hard_links().into_iter().collect::<Vec<_>>(), [(id, 2)]);
        assert!(tree.remove(&path("usr/bin/sh")));
        assert!(tree.hard_links().is_empty());
        assert_eq!(tree.get(&path("usr/bin/dash")).unwrap().kind, file("#!").kind);
    }

    #[test]
    fn renaming_replaces_a_file_but_never_a_directory() {
        let mut tree = merged_usr();
        tree.rename(&path("usr/bin/sh"), &path("usr/bin/sh.distrib")).unwrap();
        assert!(tree.get(&path("usr/bin/sh")).is_none());
        let refused = tree.rename(&path("usr/bin/sh.distrib"), &path("usr/bin"));
        assert_eq!(refused, Err(Error::IsADirectory { path: path("usr/bin") }));
    }

    #[test]
    fn removing_the_root_empties_it() {
        let mut tree = merged_usr();
        tree.remove(&TreePath::ROOT);
        assert_eq!(tree.walk().count(), 1);
    }
}
