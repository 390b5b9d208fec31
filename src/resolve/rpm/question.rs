//! A recipe's question to repositories of rpm packages, and the answer in the words of a lock.
//!
//! In: a recipe, and verified records of packages or what the packages say of themselves; out: chosen
//! packages, or whether those of a lock do what is asked.

use std::collections::BTreeSet;

use super::world::{Candidate, Offer};
use super::{Request, choose, modules, reach, validate};
use crate::lock::{ChosenPackage, Identity, Lock, LockedPackage};
use crate::package::rpm::header::Header;
use crate::package::rpm::info::{self, Info};
use crate::package::rpm::modules::{self as rpm_modules, Stream};
use crate::package::rpm::tag;
use crate::package::rpm::version::Version;
use crate::recipe::Recipe;
use crate::resolve::{Error, Repository, asked, is_excluded};

/// Chooses the packages of a recipe.
pub(in crate::resolve) fn ask(
    recipe: &Recipe,
    repositories: &[Repository<'_>],
) -> Result<Vec<ChosenPackage>, Error> {
    let lists = read_lists(recipe, repositories)?;
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

/// The files that packages require and that nobody is known to have. Lists of packages name only some of
/// their files; which have these a longer list says.
pub(in crate::resolve) fn files_wanted(
    recipe: &Recipe,
    repositories: &[Repository<'_>],
) -> Result<Vec<String>, Error> {
    let lists = read_lists(recipe, repositories)?;
    let packages = || lists.iter().flatten();
    let known: BTreeSet<&str> = packages()
        .flat_map(|info| {
            let provided = info.provides.iter().map(|relation| relation.name);
            info.files.iter().copied().chain(provided)
        })
        .collect();
    let mut wanted = BTreeSet::new();
    for requirement in packages().flat_map(|info| &info.requires) {
        requirement.each(&mut |relation| {
            if relation.name.starts_with('/') && !known.contains(relation.name) {
                wanted.insert(relation.name.to_owned());
            }
        });
    }
    let asked = asked(recipe).into_iter().filter(|name| name.starts_with('/'));
    wanted.extend(asked.filter(|name| !known.contains(name)).map(str::to_owned));
    Ok(wanted.into_iter().collect())
}

/// The packages of all repositories that may be taken and matter for what is asked for: none that
/// release or recipe exclude, and none of modules that nobody chose.
fn read_lists<'a>(
    recipe: &Recipe,
    repositories: &[Repository<'a>],
) -> Result<Vec<Vec<Info<'a>>>, Error> {
    let texts = repositories.iter().map(text_of).collect::<Result<Vec<_>, _>>()?;
    let records = reach::reachable(&texts, &asked(recipe), recipe.packages.recommends);
    let lists = repositories.iter().zip(&records);
    let lists = lists.map(|(repository, records)| read_list(repository, records));
    let mut lists = lists.collect::<Result<Vec<_>, _>>()?;
    let streams = repositories.iter().flat_map(|repository| {
        let text = repository.texts.get(1).map(|bytes| std::str::from_utf8(bytes));
        modules_of(text)
    });
    let streams: Vec<_> = streams.collect();
    for list in &mut lists {
        let by_release = |name| recipe.release.exclude.iter().any(|excluded| excluded == name);
        list.retain(|info| !by_release(info.name) && !is_excluded(recipe, info.name));
    }
    modules::hide(&mut lists, &streams, &recipe.release.streams)
        .map_err(|error| Error::Asked(error.into()))?;
    Ok(lists)
}

fn modules_of<'a>(text: Option<Result<&'a str, std::str::Utf8Error>>) -> Vec<Stream<'a>> {
    // The text was made from a text.
    text.and_then(Result::ok).map(rpm_modules::parse).unwrap_or_default()
}

fn text_of<'a>(repository: &Repository<'a>) -> Result<&'a str, Error> {
    let bytes = repository.texts.first().map_or(&[][..], Vec::as_slice);
    std::str::from_utf8(bytes).map_err(|error| Error::index(repository, error))
}

fn read_list<'a>(repository: &Repository<'_>, records: &[&'a str]) -> Result<Vec<Info<'a>>, Error> {
    let mut infos = Vec::new();
    for record in records {
        infos.extend(info::parse(record).map_err(|source| Error::index(repository, source))?);
    }
    check_repeated(&infos).map_err(|source| Error::index(repository, source))?;
    Ok(infos)
}

/// One name, version and architecture must be one package: whoever serves two chooses for us.
fn check_repeated(infos: &[Info<'_>]) -> Result<(), Repeated> {
    fn identity<'a>(info: &Info<'a>) -> (&'a str, Version<'a>, &'a str) {
        (info.name, info.version, info.architecture)
    }
    let mut sorted: Vec<&Info<'_>> = infos.iter().collect();
    sorted.sort_by_key(|info| identity(info));
    let mut pairs = sorted.iter().zip(sorted.iter().skip(1));
    match pairs.find(|(a, b)| identity(a) == identity(b) && a.digest != b.digest) {
        Some((info, _)) => Err(Repeated(format!("{} {}", info.name, info.version))),
        None => Ok(()),
    }
}

/// Two packages that are one.
#[derive(Debug, thiserror::Error)]
#[error("the package {0} stands there twice, with different contents")]
struct Repeated(String);

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
    let asked = asked(recipe);
    validate::check(&asked, &packages)
        .and_then(|()| validate::check_needed(&asked, &packages, recipe.packages.recommends))
        .map_err(|flaw| Error::Incomplete(flaw.into()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn r11_one_version_with_two_contents_is_refused_and_one_that_stands_twice_is_not() {
        let (one, other) = (Digest::of(b"1"), Digest::of(b"2"));
        let line = |name: &str, version: &str, digest| {
            format!("N\t{name}\tnoarch\t0\t{version}\t1\t7\t{digest}\t9\tp.rpm\n")
        };
        for (second, is_good) in [
            (line("a", "1", one), true),
            (line("a", "1", other), false),
            (line("a", "1.0", other), true),
            (line("b", "1", other), true),
        ] {
            let text = [line("a", "1", one), line("aa", "1", one), second].concat();
            let checked = check_repeated(&info::parse(&text).unwrap());
            assert_eq!(checked.is_ok(), is_good, "{text}");
        }
    }
}
