//! What a recipe means: exact packages, chosen from verified indexes.
//!
//! A recipe and the indexes of its repositories come in, a lock goes out, or a [`Conflict`] that a
//! person can act on. The same packages in the same repositories give the same lock, in whatever
//! order the indexes list them. Nothing is fetched here, and no clock limits the search.

mod conflict;
pub mod deb;

use serde::Serialize;

pub use self::conflict::{Conflict, Sentence};
use self::deb::world::{Candidate, Offer};
use self::deb::{Failure, Request};
use crate::digest::Digest;
use crate::distro::Family;
use crate::fetch::Indexes;
use crate::lock::{FORMAT, Lock, LockedPackage, LockedRepository};
use crate::package::deb::index::{self, Index};
use crate::package::{BadName, PackageName};
use crate::recipe::{Recipe, Variant};

/// One repository as the search sees it.
#[derive(Debug, Clone, Copy)]
pub struct Repository<'a> {
    /// What the lock records of it.
    pub locked: &'a LockedRepository,
    /// Its package indexes.
    pub texts: &'a [Vec<u8>],
    /// apt's priority of its packages.
    pub pin: u16,
}

/// Chooses the packages of a recipe from verified indexes.
///
/// # Errors
/// [`Error`] for a request that cannot be met, or an index that cannot be trusted.
pub fn resolve(recipe: &Recipe, indexes: &Indexes) -> Result<Lock, Error> {
    let repositories: Vec<_> = indexes
        .repositories()
        .iter()
        .map(|r| Repository { locked: r.locked(), texts: r.texts(), pin: r.pin() })
        .collect();
    resolve_from(recipe, &repositories)
}

/// As [`resolve`], from plain values, the most preferred repository first.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_from(recipe: &Recipe, repositories: &[Repository<'_>]) -> Result<Lock, Error> {
    let packages = match recipe.distro.family {
        Family::Deb => resolve_deb(recipe, repositories)?,
    };
    Ok(Lock {
        format: FORMAT,
        distribution: recipe.distro.name.clone(),
        release: recipe.release.codename.clone(),
        architecture: recipe.architecture.kernel_name().to_owned(),
        request: request_digest(recipe),
        epoch: repositories.iter().map(|r| r.locked.date).max().unwrap_or_default(),
        repositories: repositories.iter().map(|r| r.locked.clone()).collect(),
        packages,
    })
}

fn resolve_deb(
    recipe: &Recipe,
    repositories: &[Repository<'_>],
) -> Result<Vec<LockedPackage>, Error> {
    let indexes = repositories.iter().map(read_index).collect::<Result<Vec<_>, _>>()?;
    let base = base_suite(recipe, repositories);
    let offers: Vec<_> = repositories
        .iter()
        .zip(&indexes)
        .map(|(r, index)| Offer {
            name: &r.locked.suite,
            index,
            pin: r.pin,
            base: base.is_none_or(|suite| r.locked.suite == suite),
        })
        .collect();
    let request = Request {
        native: recipe.architecture.debian_name(),
        asked: asked(recipe),
        variant: recipe.packages.variant,
        recommends: recipe.packages.recommends,
    };
    let chosen = deb::choose(&request, &offers).map_err(|failure| match failure {
        Failure::Conflict(conflict) => Error::Conflict(conflict),
        Failure::TooHard => Error::TooHard,
        Failure::Unsound(flaw) => Error::Unsound(flaw),
    })?;
    chosen.iter().map(lock_package).collect()
}

fn read_index<'a>(repository: &Repository<'a>) -> Result<Index<'a>, Error> {
    Index::parse(repository.texts.iter().map(Vec::as_slice))
        .map_err(|source| Error::Index { suite: repository.locked.suite.clone(), source })
}

/// The suite whose word counts for what is essential and required: the release pocket. None, if it
/// is not among the repositories: then each one's counts.
fn base_suite<'r>(recipe: &'r Recipe, repositories: &[Repository<'_>]) -> Option<&'r str> {
    let suite = recipe.release.suites.first().map(|suite| suite.name.as_str())?;
    repositories.iter().any(|r| r.locked.suite == suite).then_some(suite)
}

fn asked(recipe: &Recipe) -> Vec<&str> {
    let packages = &recipe.packages;
    let mut asked: Vec<_> =
        packages.base.iter().chain(&packages.extra).map(PackageName::as_str).collect();
    asked.sort_unstable();
    asked.dedup();
    asked
}

fn lock_package(candidate: &Candidate<'_>) -> Result<LockedPackage, Error> {
    let package = candidate.package;
    Ok(LockedPackage {
        name: package.name.parse()?,
        version: package.version.to_string(),
        architecture: package.architecture.to_owned(),
        repository: candidate.offer,
        path: package.path.to_owned(),
        size: package.size,
        digest: package.digest,
    })
}

/// Returns the digest of all in a recipe that bears on the choice of packages.
///
/// Mirrors are not part of it: whatever serves them, the packages are the same.
pub fn request_digest(recipe: &Recipe) -> Digest {
    /// Serialized as JSON, in which no value can be taken for another.
    #[derive(Serialize)]
    struct Asked<'a> {
        format: u32,
        distribution: &'a str,
        release: &'a str,
        suites: Vec<&'a str>,
        architecture: &'a str,
        packages: Vec<&'a str>,
        variant: &'a str,
        recommends: bool,
        components: &'a [String],
        repositories: &'a [String],
        insecure: bool,
    }
    let sources = &recipe.sources;
    let pockets = if sources.release_only { 1 } else { usize::MAX };
    let own = recipe.release.suites.iter().take(pockets).map(|suite| suite.name.as_str());
    let asked = Asked {
        format: 1,
        distribution: &recipe.distro.name,
        release: &recipe.release.codename,
        suites: own.chain(sources.extra_suites.iter().map(String::as_str)).collect(),
        architecture: recipe.architecture.kernel_name(),
        packages: asked(recipe),
        variant: match recipe.packages.variant {
            Variant::Essential => "essential",
            Variant::Required => "required",
        },
        recommends: recipe.packages.recommends,
        components: match sources.components.as_slice() {
            [] => &recipe.distro.components,
            components => components,
        },
        repositories: &sources.repositories,
        insecure: sources.insecure,
    };
    Digest::of(&serde_json::to_vec(&asked).expect("strings, numbers and lists are valid JSON"))
}

/// Checks that a lock answers a recipe: the same question, so that its answer can be used.
///
/// # Errors
/// [`Error::OtherRecipe`] with the first thing that differs.
pub fn check_lock(lock: &Lock, recipe: &Recipe) -> Result<(), Error> {
    let differs = |what, locked: &str, asked: &str| {
        let (locked, asked) = (locked.to_owned(), asked.to_owned());
        if locked == asked { Ok(()) } else { Err(Error::OtherRecipe { what, locked, asked }) }
    };
    differs("distribution", &lock.distribution, &recipe.distro.name)?;
    differs("release", &lock.release, &recipe.release.codename)?;
    differs("architecture", &lock.architecture, recipe.architecture.kernel_name())?;
    differs("request", &lock.request.to_string(), &request_digest(recipe).to_string())
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No choice of packages does what was asked.
    #[error("{0}")]
    Conflict(Conflict),
    /// An index says what cannot be trusted or understood.
    #[error("the repository {suite} cannot be used")]
    Index {
        /// The repository's suite.
        suite: String,
        /// What is wrong.
        source: index::Error,
    },
    /// The search was given up.
    #[error("neither a choice of packages nor a contradiction was found within the limit of work")]
    TooHard,
    /// The answer breaks a rule.
    #[error("the packages that were chosen do not fit together, which is a mistake of osbuilder")]
    Unsound(#[source] deb::validate::Flaw),
    /// A package has a name that no package can have.
    #[error("a chosen package cannot be named")]
    Name(#[from] BadName),
    /// The lock answers another question.
    #[error("the lock is for another recipe: its {what} is {locked}, the recipe's is {asked}")]
    OtherRecipe {
        /// What differs.
        what: &'static str,
        /// In the lock.
        locked: String,
        /// In the recipe.
        asked: String,
    },
}
