//! The packages of a lock, brought into the store and verified.
//!
//! In: a lock, and the recipe's mirrors. Out: [`Packages`], which proves that each archive's bytes
//! are those of the lock. A few are fetched at a time; what the cache has is not fetched. Where a
//! mirror no longer has what the lock names, the error says how old both sides are.

use std::sync::atomic::{AtomicU64, Ordering};

use super::object::{self, Failure, Wanted};
use super::transport::Transport;
use super::url::{Url, stays_below};
use super::{Context, Error, Today, apk, deb, rpm};
use crate::crew;
use crate::distro::Family;
use crate::event::{Event, Stage, Unit};
use crate::lock::{Lock, LockedPackage};
use crate::recipe::Recipe;
use crate::store::{Object, Store};

/// Archives in the store, one for each package of a lock, in its order.
#[derive(Debug)]
pub struct Packages {
    store: Store,
    packages: Vec<LockedPackage>,
    /// For each repository of the lock.
    tagged: Vec<Option<Tagged>>,
}

/// A repository of Alpine's kind that is only for those who name its tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tagged {
    /// The tag, without the sign before it.
    pub tag: String,
    /// Its address, as the lock has it.
    pub address: String,
}

impl Packages {
    /// The packages with their archives.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&LockedPackage, Archive<'_>)> {
        self.packages.iter().map(|locked| (locked, Archive { store: &self.store, locked }))
    }

    /// For each repository of the lock whether it is only for those who name its tag.
    pub fn tagged(&self) -> &[Option<Tagged>] {
        &self.tagged
    }
}

/// One archive that can be read.
#[derive(Debug, Clone, Copy)]
pub struct Archive<'a> {
    store: &'a Store,
    locked: &'a LockedPackage,
}

impl Archive<'_> {
    /// Opens the archive. The reader fails rather than yield bytes that are not the lock's.
    ///
    /// # Errors
    /// The store lost the archive, or the disk fails.
    pub fn open(&self) -> std::io::Result<Object> {
        self.store.open_object(&self.locked.digest)
    }
}

/// Who hears of each package that was fetched.
pub type Arrived<'a> = &'a (dyn Fn(&LockedPackage, Archive<'_>) + Sync);

/// How many archives are fetched at once. More makes mirrors angry and nothing faster.
pub(super) const AT_ONCE: usize = 6;

/// See [`super::packages`].
pub(super) fn packages(
    lock: &Lock,
    recipe: &Recipe,
    context: &Context<'_>,
    arrived: Arrived<'_>,
) -> Result<Packages, Error> {
    let wanted = missing(lock, context)?;
    if !wanted.is_empty() {
        if context.offline {
            let names: Vec<_> =
                wanted.iter().take(5).map(|package| package.name.as_str()).collect();
            let what = format!("{} packages ({} …)", wanted.len(), names.join(", "));
            return Err(Error::NotCached { what });
        }
        download(lock, recipe, context, (&wanted, arrived))?;
    }
    if recipe.distro.family == Family::Rpm {
        rpm::check_signatures(lock, recipe, context)?;
    }
    let tagged = match recipe.distro.family {
        Family::Apk => apk::tagged(&lock.repositories, recipe, context)?,
        Family::Deb | Family::Rpm => Vec::new(),
    };
    Ok(Packages { store: context.store.clone(), packages: lock.packages.clone(), tagged })
}

fn missing<'a>(lock: &'a Lock, context: &Context<'_>) -> Result<Vec<&'a LockedPackage>, Error> {
    let mut wanted = Vec::new();
    for package in &lock.packages {
        if !stays_below(&package.path) || lock.repositories.get(package.repository).is_none() {
            return Err(Error::BadLock { package: package.name.clone() });
        }
        if !context.store.contains(&package.digest).map_err(Error::Store)? {
            wanted.push(package);
        }
    }
    Ok(wanted)
}

/// One download after the other, several at once, until all are done or one cannot be had.
fn download(
    lock: &Lock,
    recipe: &Recipe,
    context: &Context<'_>,
    (wanted, arrived): (&[&LockedPackage], Arrived<'_>),
) -> Result<(), Error> {
    let transport = Transport::new(context.network);
    let places = match recipe.distro.family {
        Family::Deb => deb::places(&lock.repositories, recipe, context)?,
        Family::Apk => apk::places(&lock.repositories, recipe, context)?,
        Family::Rpm => rpm::places(&lock.repositories, recipe, context)?,
    };
    let work = Work { transport: &transport, context, lock, places: &places, recipe, arrived };
    let progress = Progress::new(wanted.iter().map(|package| package.size));
    crew::try_map(AT_ONCE, wanted, |package| {
        work.bring(package)?;
        progress.add(package.size, context);
        Ok(())
    })
    .map(drop)
}

struct Work<'a> {
    transport: &'a Transport,
    context: &'a Context<'a>,
    lock: &'a Lock,
    /// Where the packages of each repository of the lock may be fetched.
    places: &'a [Vec<Url>],
    recipe: &'a Recipe,
    arrived: Arrived<'a>,
}

impl Work<'_> {
    fn bring(&self, package: &LockedPackage) -> Result<(), Error> {
        let mirrors = &self.places[package.repository];
        let wanted = Wanted { size: package.size, sha256: Some(package.digest), sha512: None };
        let mut attempts = Vec::new();
        for mirror in mirrors {
            let url = mirror.join(&package.path);
            match object::bring((self.transport, self.context.store), &url, wanted) {
                Ok(_) => {
                    let store = &self.context.store;
                    (self.arrived)(package, Archive { store, locked: package });
                    return Ok(());
                }
                Err(Failure::Store { source, .. }) => {
                    let what = format!("{} {}", package.name, package.version);
                    return Err(Error::Keep { what, source });
                }
                Err(failure) => attempts.push((url, failure)),
            }
        }
        let locked = &self.lock.repositories[package.repository];
        let today = match self.recipe.distro.family {
            Family::Deb => deb::date_today(self.transport, &locked.suite, mirrors),
            Family::Apk => apk::date_today(self.transport, self.recipe, mirrors),
            Family::Rpm => rpm::date_today(self.transport, mirrors),
        };
        Err(Error::Package {
            name: package.name.clone(),
            version: package.version.clone(),
            locked: locked.date,
            today: Today(today),
            attempts: super::PackageAttempts(attempts),
        })
    }
}

/// Tells how many bytes of packages are there.
pub(super) struct Progress {
    done: AtomicU64,
    total: u64,
}

impl Progress {
    pub(super) fn new(sizes: impl Iterator<Item = u64>) -> Self {
        Self { done: AtomicU64::new(0), total: sizes.fold(0_u64, u64::saturating_add) }
    }

    pub(super) fn add(&self, bytes: u64, context: &Context<'_>) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let (stage, unit) = (Stage::Fetch, Unit::Bytes);
        (context.listener)(Event::Progress { stage, done, total: Some(self.total), unit });
    }
}
