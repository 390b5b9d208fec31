//! Lays packages over each other in one tree, as apk does on a disk.
//!
//! In come packages in the order of installing them; out come the tree and, for each package, which of
//! its files are its own. Everything happens in memory, so that a conflict is found before anything is
//! written. apk's rules (apk-package(5): `origin`, `replaces`, `replaces-priority`):
//!
//! - an existing directory stays, also behind a link;
//! - a path leads through symbolic links that are there, but never out of the tree;
//! - a file of two packages goes to the later one if both were built from one source, else to the one
//!   that replaces the other, and if both do, to the one with the higher priority; anything else is a
//!   conflict.

use std::collections::BTreeMap;

use super::load::{Apk, File};
use super::{Entry, Error};
use crate::package::apk::checksum::Checksum;
use crate::package::apk::database;
use crate::package::apk::info::Info;
use crate::tree::{Inode, Kind, Meta, Tree, TreePath};
use crate::unpack::file::FileKind;

/// All packages in one tree.
pub(super) struct Merged {
    pub(super) tree: Tree,
    /// For each package, what it owns, in the order of its archive.
    pub(super) entries: Vec<Vec<Entry>>,
}

/// Lays packages out over `tree`, in their order.
pub(super) fn merge(tree: Tree, apks: &[&Apk], infos: &[&Info<'_>]) -> Result<Merged, Error> {
    let entries = apks.iter().map(|_| Vec::new()).collect();
    let mut merge = Merge { tree, infos, owners: BTreeMap::new(), entries };
    for (number, apk) in apks.iter().enumerate() {
        for file in &apk.files {
            merge.place(number, file)?;
        }
    }
    let Merge { tree, owners, mut entries, .. } = merge;
    for (number, own) in entries.iter_mut().enumerate() {
        own.retain(|entry| entry.is_directory || owners.get(&entry.place) == Some(&number));
    }
    Ok(Merged { tree, entries })
}

struct Merge<'a> {
    tree: Tree,
    infos: &'a [&'a Info<'a>],
    /// Who put the file at a place that is no directory.
    owners: BTreeMap<TreePath, usize>,
    entries: Vec<Vec<Entry>>,
}

impl Merge<'_> {
    fn place(&mut self, number: usize, file: &File) -> Result<(), Error> {
        let place = self.tree.resolve_parent(&file.path)?;
        if file.kind == FileKind::Directory {
            let is_new = self.tree.get(&place).is_none();
            let place = self.place_directory(number, file, place)?;
            return self.note(number, file, (place, is_new));
        }
        if matches!(self.tree.get(&place).map(|inode| &inode.kind), Some(Kind::Directory(_))) {
            let package = self.name(number);
            return Err(Error::FileOverDirectory { path: file.path.clone(), package });
        }
        if let Some(owner) = self.owners.get(&place)
            && !self.may_take(number, *owner, file)?
        {
            return Ok(());
        }
        self.put(file, &place)?;
        self.owners.insert(place.clone(), number);
        self.note(number, file, (place, true))
    }

    fn name(&self, number: usize) -> String {
        self.infos.get(number).map_or_else(String::new, |info| info.name.to_owned())
    }

    /// Notes that a package brings a file.
    fn note(
        &mut self,
        number: usize,
        file: &File,
        (place, is_new): (TreePath, bool),
    ) -> Result<(), Error> {
        let attributes = match attributes(&file.meta) {
            Ok(attributes) => attributes,
            Err(source) => {
                let package = self.name(number).parse().map_err(Error::Name)?;
                return Err(Error::Package { package, source: source.into() });
            }
        };
        if let Some(entries) = self.entries.get_mut(number) {
            entries.push(Entry {
                path: file.path.clone(),
                place,
                is_directory: file.kind == FileKind::Directory,
                is_new,
                user: file.user.clone(),
                group: file.group.clone(),
                meta: file.meta.clone(),
                checksum: file.checksum,
                attributes,
            });
        }
        Ok(())
    }

    /// An existing directory stays, also behind a link. Returns where it is.
    fn place_directory(
        &mut self,
        number: usize,
        file: &File,
        place: TreePath,
    ) -> Result<TreePath, Error> {
        match self.tree.get(&place).map(|inode| &inode.kind) {
            None => {
                if let Some(parent) = place.parent() {
                    let usual = Meta { mtime: file.meta.mtime, ..Meta::root(0o755) };
                    self.tree.make_directories(&parent, &usual)?;
                }
                let kind = Kind::Directory(BTreeMap::new());
                self.tree.insert(&place, Inode { meta: file.meta.clone(), kind })?;
                Ok(place)
            }
            Some(Kind::Directory(_)) => Ok(place),
            Some(Kind::Symlink(_)) => {
                self.tree.make_directories(&place, &file.meta)?;
                Ok(self.tree.resolve(&place)?)
            }
            Some(_) => {
                let owner = self.owners.get(&place).map(|owner| self.name(*owner));
                let owner = owner.unwrap_or_else(|| self.name(number));
                Err(Error::DirectoryOverFile { path: file.path.clone(), owner })
            }
        }
    }

    /// Whether a package may have the file of another one.
    fn may_take(&self, new: usize, old: usize, file: &File) -> Result<bool, Error> {
        let (Some(new), Some(old)) = (self.infos.get(new), self.infos.get(old)) else {
            return Ok(true);
        };
        if new.name == old.name || (!new.origin.is_empty() && new.origin == old.origin) {
            return Ok(true);
        }
        match (replaces(old, new), replaces(new, old)) {
            (Some(theirs), own) if own.is_none_or(|own| theirs > own) => Ok(false),
            (_, Some(_)) => Ok(true),
            (_, None) => Err(Error::Conflict {
                path: file.path.clone(),
                first: old.name.to_owned(),
                second: new.name.to_owned(),
            }),
        }
    }

    /// Puts a file that is no directory at its place.
    fn put(&mut self, file: &File, place: &TreePath) -> Result<(), Error> {
        if let Some(parent) = place.parent() {
            self.tree.make_directories(&parent, &Meta::root(0o755))?;
        }
        let kind = match &file.kind {
            FileKind::HardLink(target) => {
                let target = self.tree.resolve_parent(target)?;
                self.tree.link(place, &target)?;
                return Ok(());
            }
            FileKind::Regular(content) => Kind::Regular(content.clone()),
            FileKind::Symlink(target) => Kind::Symlink(target.clone()),
            FileKind::CharacterDevice(device) => Kind::CharacterDevice(*device),
            FileKind::BlockDevice(device) => Kind::BlockDevice(*device),
            FileKind::Fifo => Kind::Fifo,
            FileKind::Directory => Kind::Directory(BTreeMap::new()),
        };
        self.tree.insert(place, Inode { meta: file.meta.clone(), kind })?;
        Ok(())
    }
}

fn attributes(meta: &Meta) -> Result<Option<Checksum>, crate::package::apk::checksum::Forged> {
    if meta.xattrs.is_empty() {
        return Ok(None);
    }
    database::attributes(meta.xattrs.iter().map(|(name, value)| (&name[..], &value[..]))).map(Some)
}

/// With which priority `one` says that it replaces files of `other`; none if it does not.
fn replaces(one: &Info<'_>, other: &Info<'_>) -> Option<u64> {
    let meant = one.replaces.iter().any(|relation| {
        relation.name == other.name && relation.allows(Some(other.version), Some(other.identity))
    });
    meant.then_some(one.replaces_priority)
}
