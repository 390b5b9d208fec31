//! Lays packages out: archives in, one tree with the package manager's database out.
//!
//! What comes out is what the distribution's own tool leaves in an empty root before any script has
//! run, in memory; the contents of files are in the store. Running scripts is `configure`'s work.
//! How packages lie over each other is their family's business (`deb/`). Archives are read in
//! parallel and only once for each cache; the rest is arithmetic on values.

mod ahead;
pub mod apk;
pub mod deb;
mod file;
pub mod rpm;
mod tarball;

use std::io;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

pub use ahead::Ahead;
pub use tarball::tarball;

use crate::crew;
use crate::distro::Family;
use crate::epoch::Epoch;
use crate::event::{Event, Listener, Stage, Unit};
use crate::fetch::Packages;
use crate::lock::LockedPackage;
use crate::package::tar;
use crate::package::{BadName, PackageName};
use crate::recipe::Recipe;
use crate::store::{self, Store};
use crate::tree::{self, BadPath, Tree, TreePath};

/// All packages laid out over each other, none configured.
#[derive(Debug, Clone)]
pub struct Unpacked {
    /// Every file, and the package manager's database.
    pub tree: Tree,
    /// What configuring the packages takes.
    pub packages: Installed,
}

/// Packages that were laid out, in the words of their family.
#[derive(Debug, Clone)]
pub enum Installed {
    /// Debian packages, each in the state `install ok unpacked`.
    Deb(Vec<deb::Package>),
    /// Alpine packages, in the order of installing them.
    Apk(apk::Packages),
    /// rpm packages, in the order of installing them.
    Rpm(rpm::Packages),
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
        source: Box<dyn std::error::Error + Send + Sync>,
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
    /// Two packages have something at one path, and it is not the same.
    #[error(
        "{path} is not the same in {first} and {second}, so that they cannot be installed together"
    )]
    FileConflict {
        /// The path.
        path: TreePath,
        /// The package that comes first.
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
    /// A digest that a package names for a file is not that of the file.
    #[error("{path} in {package} is not the file whose digest the package names")]
    FileDigest {
        /// The package.
        package: PackageName,
        /// The file.
        path: TreePath,
    },
    /// The package manager's database cannot be written.
    #[error("cannot write the database of the packages")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
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
pub enum Opened {
    /// Debian packages.
    Deb(deb::Opened),
    /// Alpine packages.
    Apk(apk::Opened),
    /// rpm packages.
    Rpm(rpm::Opened),
}

impl Opened {
    /// What each package says of itself, in the order of the lock: its `control` file,
    /// its stanza, or its header.
    pub fn controls(&self) -> Vec<&[u8]> {
        match self {
            Self::Deb(opened) => opened.controls(),
            Self::Apk(opened) => opened.stanzas(),
            Self::Rpm(opened) => opened.headers(),
        }
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
pub fn open(
    packages: &Packages,
    recipe: &Recipe,
    store: &Store,
    listener: Listener<'_>,
) -> Result<Opened, Error> {
    let archives: Vec<_> =
        packages.iter().map(|(locked, archive)| (locked, move || archive.open())).collect();
    match recipe.distro.family {
        Family::Deb => deb::Opened::open(&archives, store, listener).map(Opened::Deb),
        Family::Apk => {
            let tagged = packages.tagged();
            apk::Opened::open((&archives, tagged), store, listener).map(Opened::Apk)
        }
        Family::Rpm => {
            rpm::tell_of_database(recipe, listener);
            rpm::Opened::open(&archives, store, listener).map(Opened::Rpm)
        }
    }
}

/// Lays packages out. `epoch` is the time of what no package brings.
///
/// # Errors
/// Each of [`Error`] that concerns what packages have in common.
pub fn unpack(opened: Opened, recipe: &Recipe, epoch: Epoch) -> Result<Unpacked, Error> {
    match opened {
        Opened::Deb(opened) => deb::unpack(opened, recipe, epoch),
        Opened::Apk(opened) => apk::unpack(opened, recipe, epoch),
        Opened::Rpm(opened) => rpm::unpack(opened, recipe, epoch),
    }
}

/// Reads archives with `load`, each given with a way to open it: as many at once as there are
/// processors, the largest first. The packages come in the order of the archives.
fn load_all<O: Sync, P: Send>(
    archives: &[(&LockedPackage, O)],
    load: impl Fn(&LockedPackage, &O) -> Result<P, Error> + Sync,
    listener: Listener<'_>,
) -> Result<Vec<P>, Error> {
    let mut order: Vec<_> = archives.iter().enumerate().collect();
    order.sort_by_key(|(_, (locked, _))| std::cmp::Reverse(locked.size));
    let done = AtomicUsize::new(0);
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let mut loaded = crew::try_map(threads, &order, |(place, (locked, open))| {
        let package = load(locked, open)?;
        listener(progress(done.fetch_add(1, Ordering::Relaxed).saturating_add(1), order.len()));
        Ok::<_, Error>((*place, package))
    })?;
    loaded.sort_unstable_by_key(|(place, _)| *place);
    Ok(loaded.into_iter().map(|(_, package)| package).collect())
}

fn progress(done: usize, total: usize) -> Event {
    let total = Some(total as u64);
    Event::Progress { stage: Stage::Unpack, done: done as u64, total, unit: Unit::Packages }
}
