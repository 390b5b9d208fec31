//! A file system in memory: the hub that every stage hands to the next.
//!
//! A [`Tree`] knows paths, owners, modes, times, extended attributes, hard links and device nodes.
//! The content of files is by reference ([`Content`]), so a whole distribution takes a few
//! megabytes. Owners live here and not on the host's disk: that is why no root is needed.
//!
//! This room never touches the disk. Directories on disk become trees in `store`, and trees
//! become directories there too.

mod content;
mod inode;
mod listing;
mod overlay;
mod path;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use content::{Content, Contents, Layered, NoContents};
pub use inode::{Device, Inode, Kind, Meta};
pub use listing::ParseError as ListingError;
pub use path::{BadPath, NAME_MAX, PATH_MAX, TreePath, escape, unescape};

/// The number of an inode within one tree. Two paths with the same id are hard links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InodeId(usize);

/// A file system in memory. Always has a root directory; walks in byte order of names.
#[derive(Debug, Clone)]
pub struct Tree {
    /// Inodes to which no name leads any more stay: a tree lives for one build, and ids stay valid.
    inodes: Vec<Inode>,
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
        let place = if path.is_root() { None } else { Some(self.place(path)?) };
        let there = place.map_or(Some(self.root()), |(parent, name)| self.entry(parent, name));
        if let Some(id) = there
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
        if let Some(place) = place {
            self.put(place, id);
        }
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
        if path.is_root() {
            return Err(Error::IsADirectory { path: path.clone() });
        }
        let place = self.place(path)?;
        self.put(place, id);
        Ok(())
    }

    /// The directory that holds `path`, and the name in it: what is there need not exist.
    fn place<'p>(&self, path: &'p TreePath) -> Result<(InodeId, &'p [u8]), Error> {
        let above = || path.parent().unwrap_or(TreePath::ROOT);
        let (mut directory, mut name) = (self.root(), &[][..]);
        for next in path.names() {
            if !name.is_empty() {
                let found = self.entry(directory, name);
                directory = found.ok_or_else(|| Error::Missing { path: above() })?;
            }
            name = next;
        }
        match self.inode(directory).kind {
            Kind::Directory(_) => Ok((directory, name)),
            _ => Err(Error::NotADirectory { path: above() }),
        }
    }

    fn put(&mut self, (directory, name): (InodeId, &[u8]), id: InodeId) {
        if let Kind::Directory(entries) = &mut self.inode_mut(directory).kind {
            entries.insert(name.into(), id);
        }
    }
}

/// Trees are equal when the same paths lead to equal files and the same paths are hard links of
/// each other; the numbers of inodes do not matter. Contents are compared by digest.
impl PartialEq for Tree {
    fn eq(&self, other: &Self) -> bool {
        self.first_difference(other).is_none()
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
