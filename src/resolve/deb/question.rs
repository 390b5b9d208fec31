//! A recipe's question to repositories of Debian's kind, and the answer in the words of a lock.
//!
//! In: a recipe, and verified indexes or the packages' own `control` files; out: chosen packages, or
//! whether those of a lock do what is asked.

use super::world::{Candidate, Offer};
use super::{Request, choose, validate};
use crate::lock::{ChosenPackage, Identity, Lock, LockedPackage};
use crate::package::deb::index::{self, Index, Package};
use crate::recipe::Recipe;
use crate::resolve::{Error, Repository, asked, is_excluded};

/// Chooses the packages of a recipe.
pub(in crate::resolve) fn ask(
    recipe: &Recipe,
    repositories: &[Repository<'_>],
) -> Result<Vec<ChosenPackage>, Error> {
    let mut indexes = repositories.iter().map(read_index).collect::<Result<Vec<_>, _>>()?;
    indexes.iter_mut().for_each(|index| index.retain(|name| !is_excluded(recipe, name)));
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
    let chosen = choose(&request, &offers)?;
    chosen.iter().map(chosen_deb).collect()
}

fn read_index<'a>(repository: &Repository<'a>) -> Result<Index<'a>, Error> {
    Index::parse(repository.texts.iter().map(Vec::as_slice))
        .map_err(|source: index::Error| Error::index(repository, source))
}

/// The suite whose word counts for what is essential and required: the release pocket. None, if it
/// is not among the repositories: then each one's counts.
fn base_suite<'r>(recipe: &'r Recipe, repositories: &[Repository<'_>]) -> Option<&'r str> {
    let suite = recipe.release.suites.first().map(|suite| suite.name.as_str())?;
    repositories.iter().any(|r| r.locked.suite == suite).then_some(suite)
}

fn chosen_deb(candidate: &Candidate<'_>) -> Result<ChosenPackage, Error> {
    let package = candidate.package;
    Ok(ChosenPackage {
        name: package.name.parse()?,
        version: package.version.to_string(),
        architecture: package.architecture.to_owned(),
        repository: candidate.offer,
        path: package.path.to_owned(),
        size: package.size,
        identity: Identity::File(package.digest),
    })
}

/// Checks that the packages of a lock, which say of themselves what their `control` files say, do what
/// the recipe asks and hold each other up.
pub(in crate::resolve) fn check(
    lock: &Lock,
    recipe: &Recipe,
    controls: &[&[u8]],
) -> Result<(), Error> {
    let read = lock.packages.iter().zip(controls).map(|(locked, text)| read_control(locked, text));
    let packages = read.collect::<Result<Vec<_>, _>>()?;
    let packages: Vec<_> = packages.iter().collect();
    let native = recipe.architecture.debian_name();
    validate::check_asked(native, &asked(recipe), &packages)
        .and_then(|()| validate::check(native, &[], &packages))
        .map_err(|flaw| Error::Incomplete(flaw.into()))
}

/// Reads the `control` file of a locked package, and checks that it is that package's.
fn read_control<'a>(locked: &LockedPackage, control: &'a [u8]) -> Result<Package<'a>, Error> {
    let package = Package::of_control(control, ("", locked.size, locked.digest)).ok();
    let is_meant = |p: &Package<'_>| {
        (p.name, p.version.as_str()) == (locked.name.as_str(), locked.version.as_str())
            && p.architecture == locked.architecture
    };
    package.filter(is_meant).ok_or_else(|| Error::Control { package: locked.name.clone() })
}
