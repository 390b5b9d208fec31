//! A recipe's question to repositories of rpm packages, and the answer in the words of a lock.
//!
//! In: a recipe, and verified records of packages or what the packages say of themselves; out: chosen
//! packages, or whether those of a lock do what is asked.

use super::world::{Candidate, Offer};
use super::{Request, choose, validate};
use crate::lock::{ChosenPackage, Identity, Lock, LockedPackage};
use crate::package::rpm::header::Header;
use crate::package::rpm::info::{self, Info};
use crate::package::rpm::tag;
use crate::recipe::Recipe;
use crate::resolve::{Error, Repository, asked};

/// Chooses the packages of a recipe.
pub(in crate::resolve) fn ask(
    recipe: &Recipe,
    repositories: &[Repository<'_>],
) -> Result<Vec<ChosenPackage>, Error> {
    let lists = repositories.iter().map(read_list).collect::<Result<Vec<_>, _>>()?;
    let offers: Vec<_> = repositories
        .iter()
        .zip(&lists)
        .map(|(repository, packages)| Offer { name: &repository.locked.suite, packages })
        .collect();
    let asked = asked(recipe);
    let architecture = recipe.architecture.rpm_name();
    let request = Request { architecture, asked: &asked, recommends: recipe.packages.recommends };
    let chosen = choose(&request, &offers)?;
    let place = |candidate: &Candidate<'_>| {
        let repository = repositories.get(candidate.offer);
        chosen_package(candidate, repository.expect("a candidate is from one of the offers"))
    };
    chosen.iter().map(place).collect()
}

fn read_list<'a>(repository: &Repository<'a>) -> Result<Vec<Info<'a>>, Error> {
    let bytes = repository.texts.first().map_or(&[][..], Vec::as_slice);
    let text = std::str::from_utf8(bytes).map_err(|error| Error::index(repository, error))?;
    info::parse(text).map_err(|source| Error::index(repository, source))
}

fn chosen_package(
    candidate: &Candidate<'_>,
    repository: &Repository<'_>,
) -> Result<ChosenPackage, Error> {
    let info = candidate.info;
    let weak = || Error::index(repository, Weak(info.name.to_owned()));
    Ok(ChosenPackage {
        name: info.name.parse()?,
        version: info.version.to_string(),
        architecture: info.architecture.to_owned(),
        repository: candidate.offer,
        path: info.place.to_owned(),
        size: info.size,
        identity: Identity::File(info.digest.ok_or_else(weak)?),
    })
}

/// A package whose digest nobody can trust.
#[derive(Debug, thiserror::Error)]
#[error("the package {0} has no SHA-256 there")]
struct Weak(String);

/// Checks that the packages of a lock, each with its header, do what the recipe asks and hold each
/// other up.
pub(in crate::resolve) fn check(
    lock: &Lock,
    recipe: &Recipe,
    headers: &[&[u8]],
) -> Result<(), Error> {
    let read = lock.packages.iter().zip(headers).map(|(locked, bytes)| record(locked, bytes));
    let records = read.collect::<Result<Vec<_>, _>>()?;
    let read = lock.packages.iter().zip(&records).map(|(locked, text)| read_record(locked, text));
    let packages = read.collect::<Result<Vec<_>, _>>()?;
    let packages: Vec<_> = packages.iter().collect();
    validate::check(&asked(recipe), &packages).map_err(|flaw| Error::Incomplete(flaw.into()))
}

fn record(locked: &LockedPackage, header: &[u8]) -> Result<String, Error> {
    let header = Header::parse(header.to_vec(), tag::HEADER_IMMUTABLE).ok();
    let record = header.and_then(|header| info::of_header(&header).ok());
    record.ok_or_else(|| Error::Control { package: locked.name.clone() })
}

/// Reads what a locked package says of itself, and checks that it is that package.
fn read_record<'a>(locked: &LockedPackage, text: &'a str) -> Result<Info<'a>, Error> {
    let info = info::parse(text).ok().and_then(|mut infos| infos.pop());
    let is_meant = |info: &Info<'_>| {
        let version = info.version.to_string();
        (info.name, version, info.architecture)
            == (locked.name.as_str(), locked.version.clone(), locked.architecture.as_str())
    };
    info.filter(is_meant).ok_or_else(|| Error::Control { package: locked.name.clone() })
}
