//! Brings indexes and packages, verified: the only room that talks to the network.
//!
//! In: a recipe (and, for packages, its lock). Out: [`Indexes`] and [`Packages`], types that nobody
//! else can make: holding one proves that a chain from a pinned key to every byte was checked. The
//! clock, the proxies and the host's configuration are handed in; nothing is read from the
//! environment. How a repository is read is its family's business (`deb/`); how bytes travel, how old
//! a repository may be and what is kept is the same for all.

mod addresses;
mod anything;
mod apk;
#[cfg(test)]
mod attacks;
mod clearsign;
mod deb;
mod download;
#[cfg(test)]
mod faults;
mod forward;
mod freshness;
mod keys;
mod object;
mod openpgp;
mod packages;
mod proxy;
mod repository;
mod rpm;
mod transport;
mod url;
#[cfg(test)]
mod world;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::crew;
use crate::distro::Family;
use crate::epoch::Epoch;
use crate::event::{Event, Listener, Stage, Unit};
use crate::lock::{Choice, Identity, Lock, LockedRepository};
use crate::package::PackageName;
use crate::recipe::Recipe;
use crate::store::{self, Store};

pub use anything::is_vouched_for;
pub use apk::Refusal as ApkRefusal;
pub use clearsign::Error as FrameError;
pub use deb::{Refusal as DebRefusal, ReleaseError};
pub use freshness::Stale;
pub use object::Failure;
pub use openpgp::{Error as SignatureError, Fingerprint};
pub use packages::{Archive, Arrived, Packages, Tagged};
pub use proxy::Proxies;
pub use rpm::Refusal as RpmRefusal;
pub use transport::{Error as TransportError, Network, Patience};
pub use url::{Error as UrlError, Scheme, Url};

/// What fetching needs to know about this machine and this run.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Where verified files are kept, and what was seen of each repository.
    pub store: &'a Store,
    /// Who hears of progress and warnings.
    pub listener: Listener<'a>,
    /// The wall clock, for expiry only.
    pub now: Epoch,
    /// Use the store alone.
    pub offline: bool,
    /// Proxies and time limits.
    pub network: &'a Network,
    /// The root below which the host's apt configuration and keyrings are looked up (`/`); `None`
    /// to look at nothing of the host.
    pub host: Option<&'a Path>,
    /// The oldest release file that is accepted, beside what it says itself.
    pub max_age: Option<Duration>,
    /// The lock that is followed: nothing older than its snapshots is accepted, and exactly its
    /// snapshots are accepted even when they have expired.
    pub lock: Option<&'a Lock>,
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Context");
        shown.field("now", &self.now).field("offline", &self.offline).finish_non_exhaustive()
    }
}

/// The verified indexes of all repositories of a recipe, in the order of priority.
#[derive(Debug, Clone)]
pub struct Indexes {
    repositories: Vec<Repository>,
}

impl Indexes {
    /// The repositories, the distribution's own first.
    pub fn repositories(&self) -> &[Repository] {
        &self.repositories
    }
}

/// One repository at one moment.
#[derive(Debug, Clone)]
pub struct Repository {
    locked: LockedRepository,
    texts: Vec<Vec<u8>>,
    pin: u16,
    tag: Option<String>,
}

impl Repository {
    /// What the lock records of it.
    pub const fn locked(&self) -> &LockedRepository {
        &self.locked
    }

    /// The texts of its indexes: of `Packages` files one a component, of Alpine's the one that it has.
    pub fn texts(&self) -> &[Vec<u8>] {
        &self.texts
    }

    /// apt's priority of its packages, from its release file: 500, 100 for backports, 1 for what
    /// is never installed unasked (apt_preferences(5)).
    pub const fn pin(&self) -> u16 {
        self.pin
    }

    /// The tag that must be asked for to use it (apk-repositories(5)); none for the usual ones.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }
}

/// Brings and verifies the indexes of all repositories of `recipe`.
///
/// # Errors
/// See [`Error`]; nothing of a repository is remembered unless all of it was verified.
pub fn indexes(recipe: &Recipe, context: &Context<'_>) -> Result<Indexes, Error> {
    let repositories = match recipe.distro.family {
        Family::Deb => deb::repositories(recipe, context)?,
        Family::Apk => apk::repositories(recipe, context)?,
        Family::Rpm => rpm::repositories(recipe, context)?,
    };
    Ok(Indexes { repositories })
}

/// Adds to indexes which packages have some files, where a family's indexes leave most files out. Nothing
/// changes where they do not.
///
/// # Errors
/// See [`Error`].
pub fn with_files(
    mut indexes: Indexes,
    files: &[String],
    recipe: &Recipe,
    context: &Context<'_>,
) -> Result<Indexes, Error> {
    if recipe.distro.family == Family::Rpm {
        let wanted = files.iter().map(String::as_str).collect();
        rpm::with_files(&mut indexes.repositories, &wanted, recipe, context)?;
    }
    Ok(indexes)
}

/// Reads repositories side by side, and keeps their order.
fn side_by_side<S: Sync>(
    sources: &[S],
    context: &Context<'_>,
    read: impl Fn(&S) -> Result<Repository, Error> + Sync,
) -> Result<Vec<Repository>, Error> {
    let total = u64::try_from(sources.len()).ok();
    let done = AtomicU64::new(0);
    let one = |source: &S| {
        let repository = read(source)?;
        let done = done.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let (stage, unit) = (Stage::Indexes, Unit::Files);
        (context.listener)(Event::Progress { stage, done, total, unit });
        Ok(repository)
    };
    crew::try_map(sources.len(), sources, one)
}

/// Completes a choice of packages: a lock names every byte of them. Where indexes vouch for whole files
/// nothing is fetched; where they vouch for a part that vouches for the rest, each package is brought
/// and verified.
///
/// # Errors
/// See [`Error`]. What arrived before the failure stays in the store, verified.
pub fn pin(choice: Choice, recipe: &Recipe, context: &Context<'_>) -> Result<Lock, Error> {
    match recipe.distro.family {
        Family::Deb | Family::Rpm => choice.complete(|package| match package.identity {
            Identity::File(digest) => Ok(digest),
            Identity::Part(_) => Err(Error::BadLock { package: package.name.clone() }),
        }),
        Family::Apk => apk::pin(choice, recipe, context),
    }
}

/// Brings and verifies the packages of `lock`; what the store has is not fetched. Each package that
/// was fetched is told to `arrived` on the thread that fetched it, while others are on their way.
///
/// # Errors
/// See [`Error`]. What arrived before the failure stays in the store, verified.
pub fn packages(
    lock: &Lock,
    recipe: &Recipe,
    context: &Context<'_>,
    arrived: Arrived<'_>,
) -> Result<Packages, Error> {
    packages::packages(lock, recipe, context, arrived)
}

/// Why a family's index is not believed: [`DebRefusal`], [`ApkRefusal`], [`RpmRefusal`].
pub type Refusal = Box<dyn std::error::Error + Send + Sync>;

/// What each mirror said about an index.
#[derive(Debug)]
pub struct Attempts(Vec<(Url, Refusal)>);

impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        list(f, self.0.iter().map(|(url, refusal)| (url, chain(refusal.as_ref()))))
    }
}

/// What each mirror said about a package.
#[derive(Debug)]
pub struct PackageAttempts(Vec<(Url, Failure)>);

impl fmt::Display for PackageAttempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        list(f, self.0.iter().map(|(url, failure)| (url, chain(failure))))
    }
}

/// The date that a mirror's index bears now, if one answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Today(Option<Epoch>);

impl fmt::Display for Today {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |date| write!(f, ", and now there is one of {date}"))
    }
}

fn list<'a>(
    f: &mut fmt::Formatter<'_>,
    attempts: impl Iterator<Item = (&'a Url, String)>,
) -> fmt::Result {
    for (at, (url, reason)) in attempts.enumerate() {
        let between = if at == 0 { "" } else { "; " };
        // Most reasons name the address themselves.
        let address = url.to_string();
        match reason.contains(&address) {
            true => write!(f, "{between}{reason}")?,
            false => write!(f, "{between}{address}: {reason}")?,
        }
    }
    Ok(())
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Why indexes or packages cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No mirror serves a repository in a state that can be believed.
    #[error("no mirror serves {source_name} ({attempts})")]
    Unavailable {
        /// Address and suite.
        source_name: String,
        /// What each mirror said.
        attempts: Attempts,
    },
    /// What the cache has of a repository cannot be believed now.
    #[error("the cached index of {source_name} cannot be used")]
    CachedIndex {
        /// Address and suite.
        source_name: String,
        /// Why.
        source: Refusal,
    },
    /// Something is not in the cache, and nothing may be fetched.
    #[error("{what} must be in the cache when working offline")]
    NotCached {
        /// What.
        what: String,
    },
    /// A package cannot be had.
    #[error(
        "no mirror has {name} {version} as the index of {locked} promised it{today} ({attempts})"
    )]
    Package {
        /// Its name.
        name: PackageName,
        /// Its version.
        version: String,
        /// Date of the snapshot that names it.
        locked: Epoch,
        /// Date of the mirror's index now.
        today: Today,
        /// What each mirror said.
        attempts: PackageAttempts,
    },
    /// Nobody who may has signed a package.
    #[error("nobody vouches for the package {name} {version}")]
    PackageSignature {
        /// Its name.
        name: PackageName,
        /// Its version.
        version: String,
        /// Why.
        source: Refusal,
    },
    /// A package of the lock has an impossible place.
    #[error("the lock names an impossible place for {package}")]
    BadLock {
        /// Its name.
        package: PackageName,
    },
    /// A text of the recipe is not a repository.
    #[error("{text:?} is not a repository: {rule}")]
    Repository {
        /// What stands there.
        text: String,
        /// What is wrong with it.
        rule: &'static str,
    },
    /// The distribution is not published for this architecture.
    #[error("{distro} has no mirror for {architecture}")]
    NoPlace {
        /// The distribution.
        distro: String,
        /// The architecture.
        architecture: String,
    },
    /// An address is malformed.
    #[error(transparent)]
    Url(url::Error),
    /// A pinned fingerprint is malformed.
    #[error("a pinned key of the distribution is malformed")]
    Pin(#[source] SignatureError),
    /// A pinned key of Alpine's kind is malformed.
    #[error("the pinned key {text:?} is not an architecture, the name of a file and its SHA-256")]
    KeyPin {
        /// What stands there.
        text: String,
    },
    /// A key file holds no RSA key that could be used.
    #[error("{} is not a public RSA key of at least 2048 bits in PEM", path.display())]
    RsaKeyFile {
        /// Which.
        path: PathBuf,
    },
    /// A key file cannot be read.
    #[error("cannot read a key file")]
    KeyFile(#[source] std::io::Error),
    /// A key file holds no keys.
    #[error("cannot use the key file {}", path.display())]
    KeyFileContent {
        /// Which.
        path: PathBuf,
        /// Why.
        source: SignatureError,
    },
    /// The keys in this program are damaged.
    #[error("the compiled-in keys are damaged")]
    CompiledInKeys(#[source] SignatureError),
    /// The cache failed.
    #[error("the cache failed")]
    Store(#[source] store::Error),
    /// Something that was fetched could not be kept.
    #[error("cannot keep {what}")]
    Keep {
        /// What.
        what: String,
        /// Why.
        source: Box<store::Error>,
    },
}

impl Error {
    /// Whether index and pool are out of step, so that resolving once more with a fresh index may
    /// help.
    pub fn is_out_of_step(&self) -> bool {
        match self {
            Self::Package { attempts, .. } => attempts.0.iter().any(|(_, f)| f.is_out_of_step()),
            _ => false,
        }
    }
}
