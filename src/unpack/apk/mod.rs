//! Lays Alpine packages out as apk's installing of all of them does in an empty root, without scripts.
//!
//! In: verified archives; out: the tree with `/lib/apk/db`, and what configuring takes, in the order of
//! installing. Owners that packages know by name keep the numbers of the archives here: who has which
//! number is known only while scripts run.

mod database;
mod load;
mod merge;
#[cfg(test)]
mod tests;

use std::io::{self, Read};
use std::sync::Arc;

use super::{Error, Installed, Unpacked, load_all};
use crate::epoch::Epoch;
use crate::event::Listener;
use crate::fetch::Tagged;
use crate::lock::LockedPackage;
use crate::package::PackageName;
use crate::package::apk::archive::{self, Format};
use crate::package::apk::checksum::Checksum;
use crate::package::apk::info::Info;
use crate::package::apk::order::order;
use crate::package::apk::relation;
use crate::package::apk::scripts::ScriptKind;
use crate::recipe::Recipe;
use crate::store::Store;
use crate::tree::{Meta, TreePath};
use load::Apk;

/// Packages in the order of installing them.
#[derive(Debug, Clone)]
pub struct Packages(Vec<Package>);

/// What configuring a package takes.
#[derive(Debug, Clone)]
pub struct Package {
    /// Its name.
    pub name: PackageName,
    /// Its version.
    pub version: String,
    /// Its identity.
    pub identity: Checksum,
    /// What it says of itself, as the database has it.
    pub stanza: String,
    /// How it was packed.
    pub format: Format,
    /// The tag of the repository that it is from, if only that one has it.
    pub tag: Option<String>,
    /// Its scripts.
    pub scripts: Vec<(ScriptKind, Arc<[u8]>)>,
    /// The directories that its trigger watches.
    pub triggers: Vec<String>,
    /// What it owns, in the order of its archive.
    pub entries: Vec<Entry>,
}

/// A file or directory of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path, as the archive spells it.
    pub path: TreePath,
    /// Where that leads in the tree.
    pub place: TreePath,
    /// Whether it is a directory, which others may own too.
    pub is_directory: bool,
    /// Whether nobody brought it before: neither another package nor apk itself.
    pub is_new: bool,
    /// The owner's name.
    pub user: Box<[u8]>,
    /// The group's name.
    pub group: Box<[u8]>,
    /// Owner, mode and time; the numbers of the owner are those of the archive until names are looked
    /// up.
    pub meta: Meta,
    /// The digest of its content or of a link's target.
    pub checksum: Option<Checksum>,
    /// The digest of its extended attributes, if it has any.
    pub attributes: Option<Checksum>,
}

impl Packages {
    /// The packages.
    pub fn as_slice(&self) -> &[Package] {
        &self.0
    }

    /// The packages, to be changed.
    pub fn as_mut_slice(&mut self) -> &mut [Package] {
        &mut self.0
    }

    /// The file `installed` of the database, as the entries are owned now.
    ///
    /// # Errors
    /// [`Error::Package`] for a package that does not describe itself as it did before.
    pub fn installed(&self) -> Result<Vec<u8>, Error> {
        let infos = self.0.iter().map(Package::info).collect::<Result<Vec<_>, _>>()?;
        Ok(database::installed(&self.0, &infos.iter().collect::<Vec<_>>()))
    }
}

impl Package {
    fn info(&self) -> Result<Info<'_>, Error> {
        read_stanza(&self.stanza, &self.name)
    }
}

fn read_stanza<'a>(stanza: &'a str, name: &PackageName) -> Result<Info<'a>, Error> {
    Info::parse(stanza).map_err(|source| {
        let source = archive::Error::Info(source).into();
        Error::Package { package: name.clone(), source }
    })
}

/// Alpine packages whose archives were read, in the order of the lock.
#[derive(Debug)]
pub struct Opened {
    apks: Vec<(PackageName, Apk)>,
    /// For each of them the tag of its repository.
    tags: Vec<Option<String>>,
    /// The repositories that have tags.
    tagged: Vec<Tagged>,
}

impl Opened {
    /// Reads archives, each given with a way to open it. `tagged` are the repositories of their lock.
    pub(super) fn open<R: Read>(
        (archives, tagged): (
            &[(&LockedPackage, impl Fn() -> io::Result<R> + Sync)],
            &[Option<Tagged>],
        ),
        store: &Store,
        listener: Listener<'_>,
    ) -> Result<Self, Error> {
        let load = |locked: &LockedPackage, open: &_| {
            Ok((locked.name.clone(), load::load(locked, open, store)?))
        };
        let repository = |locked: &LockedPackage| tagged.get(locked.repository)?.as_ref();
        let tag = |(locked, _): &(&LockedPackage, _)| Some(repository(locked)?.tag.clone());
        Ok(Self {
            apks: load_all(archives, load, listener)?,
            tags: archives.iter().map(tag).collect(),
            tagged: tagged.iter().flatten().cloned().collect(),
        })
    }

    /// The stanza of each package.
    pub(super) fn stanzas(&self) -> Vec<&[u8]> {
        self.apks.iter().map(|(_, apk)| apk.control.info.stanza.as_bytes()).collect()
    }
}

/// Reads one archive into the store, where [`Opened::open`] will find it, or find the same error.
pub(super) fn open_ahead<R: Read>(
    package: &LockedPackage,
    archive: impl FnOnce() -> io::Result<R>,
    store: &Store,
) {
    drop(load::load(package, archive, store));
}

/// Lays packages out: see [`super::unpack`].
pub(super) fn unpack(opened: Opened, recipe: &Recipe, epoch: Epoch) -> Result<Unpacked, Error> {
    let Opened { apks, tags, tagged } = opened;
    let read = |(name, apk): &'_ (PackageName, Apk)| {
        read_stanza(&apk.control.info.stanza, name).map(|_| ())
    };
    apks.iter().try_for_each(read)?;
    let infos: Vec<Info<'_>> =
        apks.iter().filter_map(|(_, apk)| Info::parse(&apk.control.info.stanza).ok()).collect();
    let words = recipe.packages.asked();
    let asked: Vec<_> = words.iter().filter_map(|word| relation::parse_tagged(word).ok()).collect();
    let sequence = order(&infos.iter().collect::<Vec<_>>(), &asked);
    let infos: Vec<&Info<'_>> = sequence.iter().filter_map(|index| infos.get(*index)).collect();
    let apks: Vec<(&(PackageName, Apk), &Option<String>)> =
        sequence.iter().filter_map(|index| Some((apks.get(*index)?, tags.get(*index)?))).collect();
    let mtime = epoch.clamp(i64::MAX);
    let archives: Vec<&Apk> = apks.iter().map(|((_, apk), _)| apk).collect();
    let merged = merge::merge(database::skeleton(mtime)?, &archives, &infos)?;
    let packages: Vec<Package> = apks
        .iter()
        .zip(&infos)
        .zip(merged.entries)
        .map(|((((name, apk), tag), info), entries)| Package {
            name: name.clone(),
            version: info.version.to_string(),
            identity: apk.control.identity,
            stanza: apk.control.info.stanza.clone(),
            format: apk.control.format,
            tag: (*tag).clone(),
            scripts: apk.control.scripts.clone(),
            triggers: apk.control.info.triggers.clone(),
            entries,
        })
        .collect();
    let mut tree = merged.tree;
    database::write(&mut tree, (&packages, &infos), (recipe, &tagged), mtime)?;
    Ok(Unpacked { tree, packages: Installed::Apk(Packages(packages)) })
}
