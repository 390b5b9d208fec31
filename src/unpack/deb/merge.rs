//! Lays packages over each other in one tree, as dpkg does on a disk.
//!
//! In come packages in the order of unpacking, diversions and overrides of owners and modes; out
//! come the tree and, for each package, which of its files are its own. Everything happens in
//! memory, so that a conflict is found before anything is written. dpkg's rules (its
//! `archives.c`, and the Debian Policy 7.6) are followed in this:
//!
//! - an existing directory stays as it is, also where a package brings a link in its place;
//! - a path leads through symbolic links that are there, but never out of the tree;
//! - a file of two packages goes to the one that replaces the other; packages of one name for
//!   several architectures may share equal files; anything else is a conflict.
//!
//! Stricter than dpkg: files meet where their paths lead, so `/bin/x` and `/usr/bin/x` conflict on
//! a merged `/usr`.

use std::collections::{BTreeMap, BTreeSet};

use super::load::{Deb, File};
use crate::epoch::Epoch;
use crate::package::deb::relation;
use crate::package::deb::stanza::Stanza;
use crate::package::deb::version::Version;
use crate::tree::{Inode, Kind, Meta, Tree, TreePath};
use crate::unpack::Error;
use crate::unpack::file::FileKind;

/// A file of all packages but one that is put elsewhere; dpkg-divert(1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diversion {
    /// The path in the packages.
    pub from: TreePath,
    /// Where it is put instead.
    pub to: TreePath,
    /// The package whose file keeps its place; none for a local diversion.
    pub package: Option<String>,
}

/// Owner and mode of a path, whatever the packages say; dpkg-statoverride(1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatOverride {
    /// The path.
    pub path: TreePath,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its permission bits.
    pub mode: u16,
}

/// What is known before the first package is laid out.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The latest moment: the time of files that no package brings.
    pub epoch: Epoch,
    /// Diversions in force.
    pub diversions: Vec<Diversion>,
    /// Overrides in force.
    pub overrides: Vec<StatOverride>,
}

/// All packages in one tree.
#[derive(Debug)]
pub(super) struct Merged {
    pub(super) tree: Tree,
    /// For each package, the paths it owns, as its archive spells them and in its order.
    pub(super) paths: Vec<Vec<TreePath>>,
}

/// Lays `debs` out over `tree`, in their order.
pub(super) fn merge(tree: Tree, debs: &[Deb], settings: &Settings) -> Result<Merged, Error> {
    let lost = debs.iter().map(|_| BTreeSet::new()).collect();
    let mut merge = Merge { tree, debs, settings, owners: BTreeMap::new(), lost };
    for (number, deb) in debs.iter().enumerate() {
        for file in &deb.files {
            merge.place(Owner { number, deb, file })?;
        }
    }
    let Merge { tree, lost, .. } = merge;
    let own = |(deb, lost): (&Deb, BTreeSet<&TreePath>)| {
        let paths = deb.files.iter().map(|file| &file.path);
        paths.filter(|path| !lost.contains(path)).cloned().collect()
    };
    Ok(Merged { tree, paths: debs.iter().zip(lost).map(own).collect() })
}

struct Merge<'a> {
    tree: Tree,
    debs: &'a [Deb],
    settings: &'a Settings,
    /// Who put the file at a place (without links in its path) that is no directory.
    owners: BTreeMap<TreePath, Owner<'a>>,
    /// For each package, the files that others replaced.
    lost: Vec<BTreeSet<&'a TreePath>>,
}

/// A file, and whose it is.
#[derive(Clone, Copy)]
struct Owner<'a> {
    number: usize,
    deb: &'a Deb,
    file: &'a File,
}

impl Owner<'_> {
    fn name(&self) -> &str {
        self.deb.control.stanza.get("Package").unwrap_or_default()
    }
}

/// Who wins a place that two packages want.
enum Winner {
    New,
    Old,
    /// Both: their files are equal.
    Shared,
}

impl<'a> Merge<'a> {
    fn place(&mut self, new: Owner<'a>) -> Result<(), Error> {
        let wanted = self.diverted(&new.file.path, new.name());
        let place = self.tree.resolve_parent(&wanted)?;
        if new.file.kind == FileKind::Directory {
            return self.place_directory(new.file, &place);
        }
        if self.is_same_directory(&place, &new.file.kind) {
            return Ok(());
        }
        match self.contest(new, &place)? {
            Winner::Shared => Ok(()),
            Winner::Old => {
                self.lose(new);
                Ok(())
            }
            Winner::New => {
                if let Some(old) = self.owners.insert(place.clone(), new)
                    && old.number != new.number
                {
                    self.lose(old);
                }
                self.put(new, &place)
            }
        }
    }

    fn lose(&mut self, loser: Owner<'a>) {
        if let Some(lost) = self.lost.get_mut(loser.number) {
            lost.insert(&loser.file.path);
        }
    }

    /// Where a package's path leads after diversions.
    fn diverted(&self, path: &TreePath, package: &str) -> TreePath {
        let applies = |d: &&Diversion| d.from == *path && d.package.as_deref() != Some(package);
        let diversion = self.settings.diversions.iter().find(applies);
        diversion.map_or(path, |diversion| &diversion.to).clone()
    }

    /// An existing directory stays, also behind a link; the first package's owner and mode count.
    fn place_directory(&mut self, file: &File, place: &TreePath) -> Result<(), Error> {
        let meta = self.overridden(file);
        if place.is_root() {
            return Ok(());
        }
        match self.tree.get(place).map(|inode| &inode.kind) {
            None => {
                self.make_parent(place)?;
                let kind = Kind::Directory(BTreeMap::new());
                self.tree.insert(place, Inode { meta, kind })?;
            }
            Some(Kind::Directory(_)) => {}
            Some(Kind::Symlink(_)) => {
                self.tree.make_directories(place, &meta)?;
            }
            Some(_) => return Err(self.not_a_directory(file, place)),
        }
        Ok(())
    }

    fn not_a_directory(&self, file: &File, place: &TreePath) -> Error {
        let owner = self.owners.get(place).map(|owner| owner.name().to_owned());
        Error::DirectoryOverFile { path: file.path.clone(), owner: owner.unwrap_or_default() }
    }

    /// Whether a directory is already where a package has a link, or the same link to one.
    fn is_same_directory(&self, place: &TreePath, kind: &FileKind) -> bool {
        let FileKind::Symlink(target) = kind else { return false };
        match self.tree.get(place).map(|inode| &inode.kind) {
            Some(Kind::Directory(_)) => true,
            Some(Kind::Symlink(present)) if present == target => {
                let end = self.tree.resolve(place).ok();
                let end = end.and_then(|end| self.tree.get(&end));
                end.is_some_and(|inode| matches!(inode.kind, Kind::Directory(_)))
            }
            _ => false,
        }
    }

    /// Decides whose file a place gets.
    fn contest(&self, new: Owner<'_>, place: &TreePath) -> Result<Winner, Error> {
        if matches!(self.tree.get(place).map(|inode| &inode.kind), Some(Kind::Directory(_))) {
            let package = new.name().to_owned();
            return Err(Error::FileOverDirectory { path: new.file.path.clone(), package });
        }
        let Some(old) = self.owners.get(place) else { return Ok(Winner::New) };
        let (old_control, new_control) = (&old.deb.control.stanza, &new.deb.control.stanza);
        if old.number != new.number && are_instances(old_control, new_control) {
            return if self.is_equal(*old, new) {
                Ok(Winner::Shared)
            } else {
                let package = new.name().to_owned();
                Err(Error::SharedFileDiffers { path: new.file.path.clone(), package })
            };
        }
        if replaces(new_control, old_control) {
            Ok(Winner::New)
        } else if replaces(old_control, new_control) {
            Ok(Winner::Old)
        } else {
            Err(Error::Conflict {
                path: new.file.path.clone(),
                first: old.name().to_owned(),
                second: new.name().to_owned(),
            })
        }
    }

    /// Whether two packages' files are the same, hard links followed inside each package.
    fn is_equal(&self, old: Owner<'_>, new: Owner<'_>) -> bool {
        let kind = |owner: Owner<'_>| match &owner.file.kind {
            FileKind::HardLink(target) => {
                let deb = self.debs.get(owner.number);
                let file = deb.and_then(|deb| deb.files.iter().find(|file| file.path == *target));
                file.map(|file| file.kind.clone())
            }
            kind => Some(kind.clone()),
        };
        kind(old) == kind(new)
    }

    /// Puts a file that is no directory at its place.
    fn put(&mut self, new: Owner<'_>, place: &TreePath) -> Result<(), Error> {
        self.make_parent(place)?;
        let kind = match &new.file.kind {
            FileKind::HardLink(target) => {
                let target = self.tree.resolve_parent(&self.diverted(target, new.name()))?;
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
        let meta = self.overridden(new.file);
        self.tree.insert(place, Inode { meta, kind })?;
        Ok(())
    }

    /// Packages list their directories; for one that does not, they are root's.
    fn make_parent(&mut self, place: &TreePath) -> Result<(), Error> {
        if let Some(parent) = place.parent() {
            self.tree.make_directories(&parent, &Meta::root(0o755))?;
        }
        Ok(())
    }

    fn overridden(&self, file: &File) -> Meta {
        let mut meta = file.meta.clone();
        if let Some(known) = self.settings.overrides.iter().find(|o| o.path == file.path) {
            (meta.uid, meta.gid, meta.mode) = (known.uid, known.gid, known.mode);
        }
        meta
    }
}

/// Whether two packages are the same one for two architectures, made to be installed together.
fn are_instances(one: &Stanza, other: &Stanza) -> bool {
    let same = |field| one.get(field) == other.get(field);
    one.get("Multi-Arch") == Some("same")
        && same("Multi-Arch")
        && same("Package")
        && same("Version")
}

/// Whether `one` says that it replaces files of `other`. Only real names count here.
fn replaces(one: &Stanza, other: &Stanza) -> bool {
    let relations = relation::parse_plain(one.get("Replaces").unwrap_or_default());
    let version = other.get("Version").and_then(|version| Version::parse(version).ok());
    let (Ok(relations), Some(version)) = (relations, version) else { return false };
    let name = other.get("Package");
    relations.iter().any(|relation| Some(relation.name) == name && relation.allows(version))
}
