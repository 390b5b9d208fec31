//! Lays packages out: archives in, one tree with the package manager's database out.
//!
//! What comes out is what `dpkg --unpack` of all packages leaves in an empty root, in memory; the
//! contents of files are in the store. No script has run: that is `configure`'s work. Archives are
//! read in parallel and only once for each cache; the rest is arithmetic on values.
//!
//! One difference to dpkg is wanted: configuration files have their final names at once, and the
//! database has their digests, because there is no older version to protect. dpkg itself goes on
//! from there without complaint.

mod database;
mod deb;
mod merge;
mod tarball;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

pub use database::status;
pub use merge::{Diversion, Settings, StatOverride};
pub use tarball::tarball;

use crate::distro::Architecture;
use crate::event::{Event, Listener, Stage, Unit};
use crate::fetch::Packages;
use crate::lock::LockedPackage;
use crate::package::deb::archive;
use crate::package::deb::database::{Md5, database_name};
use crate::package::deb::relation;
use crate::package::deb::scripts::{Conffile, ScriptKind, Triggers};
use crate::package::deb::stanza::Stanza;
use crate::package::tar;
use crate::package::{BadName, PackageName};
use crate::recipe::Recipe;
use crate::store::{self, Store};
use crate::tree::{self, BadPath, Inode, Kind, Meta, Tree, TreePath};
use deb::Deb;

/// All packages laid out over each other, none configured.
#[derive(Debug, Clone)]
pub struct Unpacked {
    /// Every file, and `/var/lib/dpkg` with each package in the state `install ok unpacked`.
    /// Configuration files already have their final names.
    pub tree: Tree,
    /// The packages, in the order in which they were laid out: essential ones first, then those
    /// that others need before they are unpacked, then the rest, each group sorted by name.
    pub packages: Vec<Package>,
}

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

/// Why packages cannot be laid out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An archive is broken, unsupported, or cannot be read.
    #[error("cannot unpack {package}")]
    Package {
        /// Which package.
        package: PackageName,
        /// Why.
        source: archive::Error,
    },
    /// An archive holds another package than its index says.
    #[error(
        "the archive of {package} holds another package: its {field} is {found:?}, not {expected:?}"
    )]
    OtherPackage {
        /// Which package was expected.
        package: PackageName,
        /// The field that differs.
        field: &'static str,
        /// What stands in the archive.
        found: String,
        /// What the index says.
        expected: String,
    },
    /// A package's name is none.
    #[error("a package has an impossible name")]
    Name(#[source] BadName),
    /// A hard link to something that does not stand before it in the same archive.
    #[error("{path} in {archive} is a hard link to a file that does not stand before it")]
    DanglingHardLink {
        /// Which package, or that it is the tarball.
        archive: String,
        /// The link.
        path: TreePath,
    },
    /// Two packages have the same file, and neither says that it replaces the other.
    #[error("{path} is both in {first} and in {second}, and neither replaces the other")]
    Conflict {
        /// The file.
        path: TreePath,
        /// The package that came first.
        first: String,
        /// The other one.
        second: String,
    },
    /// Two instances of a package for two architectures share a file that differs.
    #[error("{path} differs between the architectures of {package}")]
    SharedFileDiffers {
        /// The file.
        path: TreePath,
        /// The package.
        package: String,
    },
    /// A file stands where a directory of another package is.
    #[error("{path} of {package} is a directory of another package")]
    FileOverDirectory {
        /// The file.
        path: TreePath,
        /// Whose it is.
        package: String,
    },
    /// A directory stands where a file of another package is.
    #[error("the directory {path} is a file of {owner}")]
    DirectoryOverFile {
        /// The directory.
        path: TreePath,
        /// Whose the file is.
        owner: String,
    },
    /// A tarball cannot be read.
    #[error("cannot unpack the tarball")]
    Tarball(#[source] tar::Error),
    /// A tarball cannot be decompressed or read.
    #[error("cannot read the tarball")]
    ReadTarball(#[source] io::Error),
    /// A tarball has a path twice, in a way that two readers would understand differently.
    #[error("{path} is in the tarball twice")]
    Duplicate {
        /// The path.
        path: TreePath,
    },
    /// A path leads where nothing can be.
    #[error("the files of the packages do not fit together")]
    Tree(#[from] tree::Error),
    /// The cache failed.
    #[error("cannot keep the files of the packages")]
    Store(#[from] store::Error),
}

impl From<BadPath> for Error {
    fn from(error: BadPath) -> Self {
        Self::Tree(error.into())
    }
}

/// Packages whose archives were read: their contents are in the store, nothing is laid out yet.
#[derive(Debug)]
pub struct Opened {
    /// In the order of the lock.
    debs: Vec<Deb>,
}

impl Opened {
    /// The `control` file of each package, in the order of the lock.
    pub fn controls(&self) -> impl Iterator<Item = &[u8]> {
        self.debs.iter().map(|deb| deb.control.member("control").unwrap_or_default())
    }
}

/// Reads the archives of all packages of a lock.
///
/// Each archive is read at most once for each store; its contents are kept there as a pack, and
/// what else is in it as a record, both under the archive's digest.
///
/// # Errors
/// [`Error::Package`], [`Error::OtherPackage`], [`Error::DanglingHardLink`], [`Error::Store`].
/// Nothing was written then but whole packages, to the store.
pub fn open(packages: &Packages, store: &Store, listener: Listener<'_>) -> Result<Opened, Error> {
    let archives: Vec<_> =
        packages.iter().map(|(locked, archive)| (locked, move || archive.open())).collect();
    open_all(&archives, store, listener)
}

/// Lays packages out.
///
/// # Errors
/// Each of [`Error`] that concerns what packages have in common.
pub fn unpack(opened: Opened, recipe: &Recipe, settings: &Settings) -> Result<Unpacked, Error> {
    let ground = Ground {
        architecture: recipe.architecture,
        merged_usr: recipe.release.merged_usr,
        settings,
    };
    lay_out(opened, &ground)
}

/// What packages are laid out on.
struct Ground<'a> {
    architecture: Architecture,
    /// Whether `/bin` and its like lead into `/usr`.
    merged_usr: bool,
    settings: &'a Settings,
}

fn lay_out(opened: Opened, ground: &Ground<'_>) -> Result<Unpacked, Error> {
    let Ground { architecture, settings, .. } = *ground;
    let Opened { mut debs } = opened;
    sort(&mut debs);
    let start = skeleton(&debs, ground)?;
    let merged = merge::merge(start, &debs, settings)?;
    let packages = debs.iter().zip(merged.paths).map(|(deb, paths)| package(deb, paths));
    let packages = packages.collect::<Result<Vec<_>, _>>()?;
    let mut tree = merged.tree;
    database::write(&mut tree, &debs, &packages, architecture, settings.epoch)?;
    Ok(Unpacked { tree, packages })
}

/// Reads archives, each given with a way to open it: as many at once as there are processors, the
/// largest first.
fn open_all<R: Read>(
    archives: &[(&LockedPackage, impl Fn() -> io::Result<R> + Sync)],
    store: &Store,
    listener: Listener<'_>,
) -> Result<Opened, Error> {
    let mut order: Vec<_> = archives.iter().enumerate().collect();
    order.sort_by_key(|(_, (locked, _))| std::cmp::Reverse(locked.size));
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let loaded = Mutex::new(Ok(Vec::new()));
    let work = || {
        while let Some((place, (locked, open))) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let deb = deb::load(locked, open, store).map(|deb| (*place, deb));
            if !collect(&loaded, deb) {
                return;
            }
            listener(progress(done.fetch_add(1, Ordering::Relaxed).saturating_add(1), order.len()));
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(order.len());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let mut loaded = loaded.into_inner().unwrap_or_else(PoisonError::into_inner)?;
    loaded.sort_unstable_by_key(|(place, _)| *place);
    Ok(Opened { debs: loaded.into_iter().map(|(_, deb)| deb).collect() })
}

/// A package and its place in the lock.
type Placed = (usize, Deb);

/// Adds a result to those of other threads; says whether going on makes sense.
fn collect(loaded: &Mutex<Result<Vec<Placed>, Error>>, deb: Result<Placed, Error>) -> bool {
    let mut loaded = loaded.lock().unwrap_or_else(PoisonError::into_inner);
    match (&mut *loaded, deb) {
        (Ok(debs), Ok(deb)) => debs.push(deb),
        (Ok(_), Err(error)) => *loaded = Err(error),
        (Err(_), _) => {}
    }
    loaded.is_ok()
}

fn progress(done: usize, total: usize) -> Event {
    let total = Some(total as u64);
    Event::Progress { stage: Stage::Unpack, done: done as u64, total, unit: Unit::Packages }
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
    files.any(|file| file.path == *path && matches!(file.kind, deb::FileKind::Symlink(_)))
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
