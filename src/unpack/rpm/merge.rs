//! Lays packages over each other in one tree, as rpm does on a disk.
//!
//! In come packages in the order of installing them; out come the tree, what each package brings, and
//! what became of each of its files. Everything happens in memory, so that a conflict is found before
//! anything is written. rpm's rules (`lib/transaction.c`, `lib/fprint.c`, `lib/fsm.c`):
//!
//! - a path leads through symbolic links, but never out of the tree;
//! - what two packages have at one place is decided in `fate.rs`;
//! - a ghost is owned and not brought;
//! - a directory behind a link is used where it is.
//!
//! Links of all packages count from the beginning, as where rpm looks for conflicts. On a disk it takes a
//! script that makes them before the first package comes, and distributions whose packages use a link
//! that another one brings, such as `/lib64`, have that script.

use std::collections::{BTreeMap, BTreeSet};

use super::fate::{self, Fate};
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
    /// For each package, what became of each of its files.
    pub(super) fates: Vec<Vec<Fate>>,
}

/// Lays packages out in their order.
pub(super) fn merge(rpms: &[&(PackageName, Rpm)], mtime: i64) -> Result<Merged, Error> {
    let tree = Tree::new(Meta { mtime, ..Meta::root(0o755) });
    let brought = BTreeSet::new();
    let mut merge = Merge { tree, rpms, mtime, brought, entries: Vec::new() };
    merge.lead_links()?;
    let place = |file: &File| Ok(merge.tree.resolve_parent(&file.path)?);
    let places = rpms.iter().map(|(_, rpm)| rpm.files.iter().map(place).collect());
    let places: Vec<Vec<TreePath>> = places.collect::<Result<_, Error>>()?;
    let fates = fate::decide(rpms, &places)?;
    for (number, ((_, rpm), (places, fates))) in
        rpms.iter().zip(places.into_iter().zip(&fates)).enumerate()
    {
        merge.entries.push(Vec::new());
        let mut links = BTreeMap::new();
        let files = rpm.files.iter().zip(places).zip(fates).enumerate();
        for (at, ((file, place), fate)) in files.filter(|(_, ((file, _), _))| !file.is_ghost()) {
            merge.place((number, at), file, (place, *fate), &mut links)?;
        }
    }
    Ok(Merged { tree: merge.tree, entries: merge.entries, fates })
}

struct Merge<'a> {
    tree: Tree,
    rpms: &'a [&'a (PackageName, Rpm)],
    mtime: i64,
    /// What is there because of a package that has it.
    brought: BTreeSet<TreePath>,
    entries: Vec<Vec<Entry>>,
}

/// The files of one package that have several names.
type Links = BTreeMap<(u64, u64), InodeId>;

impl Merge<'_> {
    /// Makes the symbolic links of all packages, those first that others may lead through.
    fn lead_links(&mut self) -> Result<(), Error> {
        let files = self.rpms.iter().flat_map(|(_, rpm)| &rpm.files);
        let is_link =
            |file: &&File| matches!(file.kind, files::Kind::Symlink(_)) && !file.is_ghost();
        let mut links: Vec<&File> = files.filter(is_link).collect();
        links.sort_by_key(|file| file.path.names().count());
        for file in links {
            let place = self.tree.resolve_parent(&file.path)?;
            if self.tree.get(&place).is_none()
                && let files::Kind::Symlink(target) = &file.kind
            {
                self.make_parents(&place)?;
                let meta = Meta { mtime: file.mtime, ..Meta::root(0o777) };
                self.tree.insert(&place, Inode { meta, kind: Kind::Symlink(target.clone()) })?;
            }
        }
        Ok(())
    }

    fn place(
        &mut self,
        (number, at): (usize, usize),
        file: &File,
        (place, fate): (TreePath, Fate),
        links: &mut Links,
    ) -> Result<(), Error> {
        let place = match (fate, &file.kind) {
            (Fate::OtherColor, _) => return Ok(()),
            (_, files::Kind::Directory) => self.place_directory((number, fate), file, place)?,
            (Fate::Same, _) => place,
            (Fate::Written, _) => {
                self.put((number, at), file, &place, links)?;
                place
            }
        };
        self.note(number, file, place);
        Ok(())
    }

    fn name(&self, number: usize) -> &PackageName {
        let (name, _) = self.rpms.get(number).expect("numbers are those of packages");
        name
    }

    fn note(&mut self, number: usize, file: &File, place: TreePath) {
        let is_new = self.brought.insert(place.clone());
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
        (number, fate): (usize, Fate),
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
            Some(Kind::Directory(_)) if fate == Fate::Same => {}
            Some(Kind::Directory(_)) => {
                if let Some(inode) = self.tree.get_mut(&place) {
                    inode.meta = meta;
                }
            }
            Some(_) => {
                let owner = self.name(number).to_string();
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

    /// Puts a file that is no directory at its place.
    fn put(
        &mut self,
        (number, at): (usize, usize),
        file: &File,
        place: &TreePath,
        links: &mut Links,
    ) -> Result<(), Error> {
        if matches!(self.tree.get(place).map(|inode| &inode.kind), Some(Kind::Directory(_))) {
            let package = self.name(number).to_string();
            return Err(Error::FileOverDirectory { path: file.path.clone(), package });
        }
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

#[cfg(test)]
mod tests;
