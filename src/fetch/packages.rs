//! The packages of a lock, brought into the store and verified.
//!
//! In: a lock, and the recipe's mirrors. Out: [`Packages`], which proves that each archive's bytes
//! are those of the lock. A few are fetched at a time; what the cache has is not fetched. Where a
//! mirror no longer has what the lock names, the error says how old both sides are.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::object::{self, Failure, Wanted};
use super::release::{self, stays_below};
use super::snapshot::MAX_RELEASE;
use super::source::{self, Source};
use super::transport::Transport;
use super::url::Url;
use super::{Context, Error, Today, clearsign, host};
use crate::epoch::Epoch;
use crate::event::{Event, Stage, Unit};
use crate::lock::{Lock, LockedPackage};
use crate::recipe::Recipe;
use crate::store::{Object, Store};

/// Archives in the store, one for each package of a lock, in its order.
#[derive(Debug)]
pub struct Packages {
    store: Store,
    packages: Vec<LockedPackage>,
}

impl Packages {
    /// The packages with their archives.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&LockedPackage, Archive<'_>)> {
        self.packages.iter().map(|locked| (locked, Archive { store: &self.store, locked }))
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

/// How many archives are fetched at once. More makes mirrors angry and nothing faster.
const AT_ONCE: usize = 6;

/// See [`super::packages`].
pub(super) fn packages(
    lock: &Lock,
    recipe: &Recipe,
    context: &Context<'_>,
) -> Result<Packages, Error> {
    let wanted = missing(lock, context)?;
    if !wanted.is_empty() {
        if context.offline {
            let names: Vec<_> =
                wanted.iter().take(5).map(|package| package.name.as_str()).collect();
            let what = format!("{} packages ({} …)", wanted.len(), names.join(", "));
            return Err(Error::NotCached { what });
        }
        download(lock, recipe, context, &wanted)?;
    }
    Ok(Packages { store: context.store.clone(), packages: lock.packages.clone() })
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
    wanted: &[&LockedPackage],
) -> Result<(), Error> {
    let transport = Transport::new(context.network);
    let entries = context.host.map_or_else(Vec::new, host::read);
    let sources = source::sources(recipe, &entries)?;
    let places: Vec<Place> = lock
        .repositories
        .iter()
        .map(|known| Place::of(known, &sources))
        .collect::<Result<_, _>>()?;
    let work = Work { transport: &transport, context, lock, places: &places };
    let progress = Progress::new(wanted);
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(wanted.len()) {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(package) = wanted.get(at) else { break };
                    match work.bring(package) {
                        Ok(()) => progress.add(package.size, context),
                        Err(error) => {
                            failed.store(true, Ordering::Relaxed);
                            failures.lock().expect("no thread panics here").push((at, error));
                        }
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().expect("no thread panics here");
    failures.sort_by_key(|(at, _)| *at);
    failures.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
}

/// Where the packages of one locked repository may be fetched.
struct Place {
    mirrors: Vec<Url>,
}

impl Place {
    fn of(known: &crate::lock::LockedRepository, sources: &[Source]) -> Result<Self, Error> {
        let same = |source: &&Source| source.root.to_string() == known.url;
        let mirrors = match sources.iter().find(same) {
            Some(source) => source.mirrors.clone(),
            None => vec![known.url.parse().map_err(Error::Url)?],
        };
        Ok(Self { mirrors })
    }
}

struct Work<'a> {
    transport: &'a Transport,
    context: &'a Context<'a>,
    lock: &'a Lock,
    places: &'a [Place],
}

impl Work<'_> {
    fn bring(&self, package: &LockedPackage) -> Result<(), Error> {
        let place = &self.places[package.repository];
        let wanted = Wanted { size: package.size, sha256: Some(package.digest), sha512: None };
        let mut attempts = Vec::new();
        for mirror in &place.mirrors {
            let url = mirror.join(&package.path);
            match object::bring((self.transport, self.context.store), &url, wanted) {
                Ok(_) => return Ok(()),
                Err(Failure::Store { source, .. }) => {
                    let what = format!("{} {}", package.name, package.version);
                    return Err(Error::Keep { what, source });
                }
                Err(failure) => attempts.push((url, failure)),
            }
        }
        let locked = &self.lock.repositories[package.repository];
        Err(Error::Package {
            name: package.name.clone(),
            version: package.version.clone(),
            locked: locked.date,
            today: Today(self.date_today(&locked.suite, &place.mirrors)),
            attempts: super::PackageAttempts(attempts),
        })
    }

    /// What the first mirror that answers gives as the date of its index. It is for the message
    /// only, so its signature does not matter.
    fn date_today(&self, suite: &str, mirrors: &[Url]) -> Option<Epoch> {
        let name = match suite.strip_prefix("./").unwrap_or(suite) {
            flat if flat.is_empty() || flat.ends_with('/') => format!("{flat}InRelease"),
            suite => format!("dists/{suite}/InRelease"),
        };
        mirrors.iter().find_map(|mirror| {
            let url = mirror.join(&name);
            let bytes = object::text(self.transport, (&url, true), MAX_RELEASE).ok()?;
            Some(release::parse(&clearsign::message(&bytes).ok()?.text).ok()?.date)
        })
    }
}

struct Progress {
    done: AtomicU64,
    total: u64,
}

impl Progress {
    fn new(wanted: &[&LockedPackage]) -> Self {
        let total = wanted.iter().fold(0_u64, |sum, package| sum.saturating_add(package.size));
        Self { done: AtomicU64::new(0), total }
    }

    fn add(&self, bytes: u64, context: &Context<'_>) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let (stage, unit) = (Stage::Fetch, Unit::Bytes);
        (context.listener)(Event::Progress { stage, done, total: Some(self.total), unit });
    }
}
