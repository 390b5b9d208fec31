//! Lays packages over each other in one tree, as rpm does on a disk.
//!
//! In come packages in the order of installing them; out come the tree, what each package brings, and
//! what became of each of its files. Everything happens in memory, so that a conflict is found before
//! anything is written. rpm's rules (`lib/transaction.c`, `lib/fsm.c`):
//!
//! - a directory that is there gets the permissions of the last package that has it; one behind a link
//!   is used where it is;
//! - a path leads through symbolic links that are there, but never out of the tree;
//! - a file of two packages is one if type and content agree; anything else is a conflict;
//! - a ghost is owned and not brought.

use std::collections::BTreeMap;

use super::load::Rpm;
use super::{Entry, Error};
use crate::package::PackageName;
use crate::package::rpm::capability;
use crate::package::rpm::files::{self, File};
use crate::tree::{Inode, InodeId, Kind, Meta, Tree, TreePath};

/// All packages in one tree.
pub(super) struct Merged {
    pub(super) tree: Tree,
    /// For each package, what it brings, in the order of its header.
    pub(super) entries: Vec<Vec<Entry>>,
    /// For each package, what became of each of its files, by rpm's numbers.
    pub(super) states: Vec<Vec<u8>>,
}

/// Lays packages out in their order.
pub(super) fn merge(rpms: &[&(PackageName, Rpm)], mtime: i64) -> Result<Merged, Error> {
    let tree = Tree::new(Meta { mtime, ..Meta::root(0o755) });
    let mut merge = Merge { tree, rpms, mtime, owners: BTreeMap::new(), entries: Vec::new() };
    let mut states = Vec::new();
    for (number, (_, rpm)) in rpms.iter().enumerate() {
        merge.entries.push(Vec::new());
        let mut links = BTreeMap::new();
        for (at, file) in rpm.files.iter().enumerate().filter(|(_, file)| !file.is_ghost()) {
            merge.place((number, at), file, &mut links)?;
        }
        // Whether a file is there, was skipped for its colour, or is a ghost: here all is as usual.
        states.push(vec![0; rpm.files.len()]);
    }
    Ok(Merged { tree: merge.tree, entries: merge.entries, states })
}

struct Merge<'a> {
    tree: Tree,
    rpms: &'a [&'a (PackageName, Rpm)],
    mtime: i64,
    /// Whose file is at a place that is no directory: the package's number and the file's.
    owners: BTreeMap<TreePath, (usize, usize)>,
    entries: Vec<Vec<Entry>>,
}

/// The files of one package that have several names.
type Links = BTreeMap<(u64, u64), InodeId>;

impl Merge<'_> {
    fn place(
        &mut self,
        (number, at): (usize, usize),
        file: &File,
        links: &mut Links,
    ) -> Result<(), Error> {
        let place = self.tree.resolve_parent(&file.path)?;
        if file.kind == files::Kind::Directory {
            let is_new = self.tree.get(&place).is_none();
            let place = self.place_directory(number, file, place)?;
            self.note(number, file, (place, is_new));
            return Ok(());
        }
        if matches!(self.tree.get(&place).map(|inode| &inode.kind), Some(Kind::Directory(_))) {
            let package = self.name(number).to_string();
            return Err(Error::FileOverDirectory { path: file.path.clone(), package });
        }
        if let Some(owner) = self.owners.get(&place).copied() {
            self.check_same((number, at), owner, file)?;
        }
        self.put((number, at), file, &place, links)?;
        self.owners.insert(place.clone(), (number, at));
        self.note(number, file, (place, true));
        Ok(())
    }

    fn name(&self, number: usize) -> &PackageName {
        let (name, _) = self.rpms.get(number).expect("numbers are those of packages");
        name
    }

    fn note(&mut self, number: usize, file: &File, (place, is_new): (TreePath, bool)) {
        if let Some(entries) = self.entries.get_mut(number) {
            entries.push(Entry {
                place,
                is_directory: file.kind == files::Kind::Directory,
                is_new,
                user: file.user.clone(),
                group: file.group.clone(),
                mode: file.mode,
            });
        }
    }

    /// Makes a directory, or gives one that is there what this package says of it. Returns where it is.
    fn place_directory(
        &mut self,
        number: usize,
        file: &File,
        place: TreePath,
    ) -> Result<TreePath, Error> {
        let meta = Meta { mtime: file.mtime, ..Meta::root(file.mode) };
        let place = match self.tree.get(&place).map(|inode| &inode.kind) {
            Some(Kind::Symlink(_)) => self.tree.resolve(&place)?,
            _ => place,
        };
        match self.tree.get(&place).map(|inode| &inode.kind) {
            None => {
                self.make_parents(&place)?;
                let kind = Kind::Directory(BTreeMap::new());
                self.tree.insert(&place, Inode { meta, kind })?;
            }
            Some(Kind::Directory(_)) => {
                if let Some(inode) = self.tree.get_mut(&place) {
                    inode.meta = meta;
                }
            }
            Some(_) => {
                let owner = self.owners.get(&place).map_or(number, |(owner, _)| *owner);
                let owner = self.name(owner).to_string();
                return Err(Error::DirectoryOverFile { path: file.path.clone(), owner });
            }
        }
        Ok(place)
    }

    fn make_parents(&mut self, place: &TreePath) -> Result<(), Error> {
        if let Some(parent) = place.parent() {
            let meta = Meta { mtime: self.mtime, ..Meta::root(0o755) };
            self.tree.make_directories(&parent, &meta)?;
        }
        Ok(())
    }

    /// A file of two packages must be the same in both.
    fn check_same(
        &self,
        (number, at): (usize, usize),
        (owner, other): (usize, usize),
        file: &File,
    ) -> Result<(), Error> {
        let of = |number: usize| self.rpms.get(number).map(|(_, rpm)| rpm);
        let (Some(new), Some(old)) = (of(number), of(owner)) else { return Ok(()) };
        let same = match (&file.kind, old.files.get(other).map(|file| &file.kind)) {
            (files::Kind::Regular { .. }, Some(files::Kind::Regular { .. })) => {
                new.content(at) == old.content(other)
            }
            (kind, Some(known)) => kind == known,
            (_, None) => true,
        };
        if same {
            return Ok(());
        }
        Err(Error::Conflict {
            path: file.path.clone(),
            first: self.name(owner).to_string(),
            second: self.name(number).to_string(),
        })
    }

    /// Puts a file that is no directory at its place.
    fn put(
        &mut self,
        (number, at): (usize, usize),
        file: &File,
        place: &TreePath,
        links: &mut Links,
    ) -> Result<(), Error> {
        self.make_parents(place)?;
        let kind = match &file.kind {
            files::Kind::Regular { .. } => {
                let first = links.get(&file.link).filter(|_| file.link != (0, 0));
                if let Some(first) = first {
                    return Ok(self.tree.link_id(place, *first)?);
                }
                let (_, rpm) = self.rpms.get(number).expect("numbers are those of packages");
                let content = rpm.content(at).cloned();
                Kind::Regular(content.ok_or_else(|| self.without_content(number, file))?)
            }
            files::Kind::Symlink(target) => Kind::Symlink(target.clone()),
            files::Kind::CharacterDevice(device) => Kind::CharacterDevice(*device),
            files::Kind::BlockDevice(device) => Kind::BlockDevice(*device),
            files::Kind::Fifo => Kind::Fifo,
            files::Kind::Directory => Kind::Directory(BTreeMap::new()),
        };
        let meta = self.meta(number, file)?;
        let is_regular = matches!(kind, Kind::Regular(_));
        let id = self.tree.insert(place, Inode { meta, kind })?;
        if is_regular {
            links.insert(file.link, id);
        }
        Ok(())
    }

    fn without_content(&self, number: usize, file: &File) -> Error {
        Error::FileDigest { package: self.name(number).clone(), path: file.path.clone() }
    }

    fn meta(&self, number: usize, file: &File) -> Result<Meta, Error> {
        let mode = if matches!(file.kind, files::Kind::Symlink(_)) { 0o777 } else { file.mode };
        let mut meta = Meta { mtime: file.mtime, ..Meta::root(mode) };
        if !file.capabilities.is_empty() {
            let text = String::from_utf8_lossy(&file.capabilities);
            let value = capability::attribute(&text).map_err(|source| Error::Package {
                package: self.name(number).clone(),
                source: source.into(),
            })?;
            meta.xattrs.insert(b"security.capability".to_vec(), value);
        }
        Ok(meta)
    }
}
