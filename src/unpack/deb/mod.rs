//! Lays Debian packages out as `dpkg --unpack` of all of them does in an empty root.
//!
//! In: verified archives; out: the tree with `/var/lib/dpkg`, and what configuring takes.
//!
//! One difference to dpkg is wanted: configuration files have their final names at once, and the
//! database has their digests, because there is no older version to protect. dpkg itself goes on
//! from there without complaint.

mod database;
mod load;
mod merge;
mod record;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::sync::Arc;

pub use database::status;
pub use merge::{Diversion, Settings, StatOverride};

use super::file::FileKind;
use super::{Error, Installed, Unpacked, load_all};
use crate::distro::Architecture;
use crate::epoch::Epoch;
use crate::event::Listener;
use crate::lock::LockedPackage;
use crate::package::PackageName;
use crate::package::deb::database::{Md5, database_name};
use crate::package::deb::relation;
use crate::package::deb::scripts::{Conffile, ScriptKind, Triggers};
use crate::package::deb::stanza::Stanza;
use crate::recipe::Recipe;
use crate::store::Store;
use crate::tree::{Inode, Kind, Meta, Tree, TreePath};
use load::Deb;

/// What configuring a package takes.
#[derive(Debug, Clone)]
pub struct Package {
    /// Its name.
    pub name: PackageName,
    /// Its version, in dpkg's notation.
    pub version: String,
    /// Its architecture: `amd64`, `all`.
    pub architecture: String,
    /// How the database names it: `bash`, or `libc6:amd64` for `Multi-Arch: same`. Also the base
    /// of its files in `/var/lib/dpkg/info`.
    pub database_name: String,
    /// Every field of its control file: `Depends`, `Pre-Depends`, `Essential` …
    pub control: Stanza,
    /// Its scripts as they are in the package.
    pub scripts: BTreeMap<ScriptKind, Arc<[u8]>>,
    /// Its configuration files.
    pub conffiles: Vec<Conffile>,
    /// The configuration files with their digests, as the database names them; none for one that
    /// is only to be removed.
    pub conffile_digests: Vec<(TreePath, Option<Md5>)>,
    /// What it is interested in and what it activates.
    pub triggers: Triggers,
    /// What its `.list` holds, in the archive's order: which file triggers it activates.
    pub paths: Vec<TreePath>,
}

impl Package {
    /// Whether the distribution calls it essential.
    pub fn is_essential(&self) -> bool {
        self.control.is_yes("Essential")
    }
}

/// Debian packages whose archives were read, in the order of the lock.
#[derive(Debug)]
pub struct Opened {
    debs: Vec<Deb>,
}

impl Opened {
    /// Reads archives, each given with a way to open it.
    pub(super) fn open<R: Read>(
        archives: &[(&LockedPackage, impl Fn() -> io::Result<R> + Sync)],
        store: &Store,
        listener: Listener<'_>,
    ) -> Result<Self, Error> {
        let load = |locked: &LockedPackage, open: &_| load::load(locked, open, store);
        Ok(Self { debs: load_all(archives, load, listener)? })
    }

    /// The `control` file of each package.
    pub(super) fn controls(&self) -> Vec<&[u8]> {
        let debs = self.debs.iter();
        debs.map(|deb| deb.control.member("control").unwrap_or_default()).collect()
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

/// Lays packages out: see [`super::unpack`]. They come in the order in which they were laid out:
/// essential ones first, then those that others need before they are unpacked, then the rest, each
/// group sorted by name. Configuration files already have their final names.
pub(super) fn unpack(opened: Opened, recipe: &Recipe, epoch: Epoch) -> Result<Unpacked, Error> {
    let settings = Settings { epoch, ..Settings::default() };
    let ground = Ground {
        architecture: recipe.architecture,
        merged_usr: recipe.release.merged_usr,
        settings: &settings,
    };
    let LaidOut { tree, packages } = lay_out(opened, &ground)?;
    Ok(Unpacked { tree, packages: Installed::Deb(packages) })
}

/// What packages are laid out on.
struct Ground<'a> {
    architecture: Architecture,
    /// Whether `/bin` and its like lead into `/usr`.
    merged_usr: bool,
    settings: &'a Settings,
}

/// The tree with its database, and what configuring takes.
#[derive(Debug, Clone)]
struct LaidOut {
    tree: Tree,
    packages: Vec<Package>,
}

fn lay_out(opened: Opened, ground: &Ground<'_>) -> Result<LaidOut, Error> {
    let Ground { architecture, settings, .. } = *ground;
    let Opened { mut debs } = opened;
    sort(&mut debs);
    let start = skeleton(&debs, ground)?;
    let merged = merge::merge(start, &debs, settings)?;
    let packages = debs.iter().zip(merged.paths).map(|(deb, paths)| package(deb, paths));
    let packages = packages.collect::<Result<Vec<_>, _>>()?;
    let mut tree = merged.tree;
    database::write(&mut tree, &debs, &packages, architecture, settings.epoch)?;
    Ok(LaidOut { tree, packages })
}

/// Sorts packages into the order of laying them out, which decides in what order the database
/// names those that are interested in a trigger: close to what apt does, and always the same.
fn sort(debs: &mut [Deb]) {
    let early: BTreeSet<String> =
        debs.iter().flat_map(|deb| pre_depended(&deb.control.stanza)).collect();
    debs.sort_by_cached_key(|deb| {
        let stanza = &deb.control.stanza;
        let field = |name| stanza.get(name).unwrap_or_default().to_owned();
        let group = match () {
            () if stanza.is_yes("Essential") => 0,
            () if early.contains(&field("Package")) => 1,
            () => 2,
        };
        (group, field("Package"), field("Architecture"))
    });
}

/// The names in a package's `Pre-Depends`.
fn pre_depended(stanza: &Stanza) -> Vec<String> {
    let groups = relation::parse(stanza.get("Pre-Depends").unwrap_or_default());
    let relations = groups.unwrap_or_default().into_iter().flatten();
    relations.map(|relation| relation.name.to_owned()).collect()
}

/// The tree before the first package: an empty root, and the links of a merged `/usr` unless a
/// package brings them.
fn skeleton(debs: &[Deb], ground: &Ground<'_>) -> Result<Tree, Error> {
    let mtime = ground.settings.epoch.clamp(i64::MAX);
    let roots = debs.iter().flat_map(|deb| &deb.files).find(|file| file.path.is_root());
    let plain = Meta { mtime, ..Meta::root(0o755) };
    let mut tree = Tree::new(roots.map_or(plain, |file| file.meta.clone()));
    for name in ["bin", "lib", "lib32", "lib64", "libo32", "libx32", "sbin"] {
        let path = TreePath::parse(name)?;
        let always = ["bin", "lib", "sbin"].contains(&name);
        if ground.merged_usr && (always || is_used(debs, &path)) && !is_link(debs, &path) {
            let meta = Meta { mtime, ..Meta::root(0o777) };
            let kind = Kind::Symlink(format!("usr/{name}").into_bytes().into());
            tree.insert(&path, Inode { meta, kind })?;
        }
    }
    Ok(tree)
}

fn is_used(debs: &[Deb], directory: &TreePath) -> bool {
    debs.iter().flat_map(|deb| &deb.files).any(|file| file.path.starts_with(directory))
}

fn is_link(debs: &[Deb], path: &TreePath) -> bool {
    let mut files = debs.iter().flat_map(|deb| &deb.files);
    files.any(|file| file.path == *path && matches!(file.kind, FileKind::Symlink(_)))
}

fn package(deb: &Deb, paths: Vec<TreePath>) -> Result<Package, Error> {
    let control = &deb.control;
    let field = |name| control.stanza.get(name).unwrap_or_default().to_owned();
    let name: PackageName = field("Package").parse().map_err(Error::Name)?;
    Ok(Package {
        name,
        version: field("Version"),
        architecture: field("Architecture"),
        database_name: database_name(&control.stanza),
        control: control.stanza.clone(),
        scripts: control.scripts(),
        conffiles: control.conffiles.clone(),
        conffile_digests: deb.conffiles(),
        triggers: control.triggers.clone(),
        paths,
    })
}
