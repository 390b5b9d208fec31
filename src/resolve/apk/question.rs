//! A recipe's question to Alpine's repositories, and the answer in the words of a lock.
//!
//! In: a recipe, and verified indexes or what the packages say of themselves; out: chosen packages, or
//! whether those of a lock do what is asked.

use super::world::{Candidate, Offer};
use super::{Request, choose, validate};
use crate::lock::{ChosenPackage, Identity, Lock, LockedPackage};
use crate::package::apk::index::{self, Index};
use crate::package::apk::info::Info;
use crate::package::apk::relation::{self, Relation};
use crate::recipe::Recipe;
use crate::resolve::{Error, Repository, asked, is_excluded};

/// Chooses the packages of a recipe.
pub(in crate::resolve) fn ask(
    recipe: &Recipe,
    repositories: &[Repository<'_>],
) -> Result<Vec<ChosenPackage>, Error> {
    let mut indexes = repositories.iter().map(read_index).collect::<Result<Vec<_>, _>>()?;
    indexes.iter_mut().for_each(|index| index.retain(|name| !is_excluded(recipe, name)));
    let offers: Vec<_> = repositories
        .iter()
        .zip(&indexes)
        .map(|(r, index)| Offer { name: &r.locked.suite, tag: r.tag, index })
        .collect();
    let asked = asked(recipe);
    let asked = relations(&asked)?;
    require_tags(&asked, &offers)?;
    let architecture = recipe.architecture.alpine_name();
    let request = Request { architecture, asked: &asked };
    let chosen = choose(&request, &offers)?;
    chosen.iter().map(|candidate| chosen_package(candidate, architecture)).collect()
}

fn read_index<'a>(repository: &Repository<'a>) -> Result<Index<'a>, Error> {
    let text = repository.texts.first().map_or(&[][..], Vec::as_slice);
    Index::parse(text).map_err(|source: index::Error| Error::index(repository, source))
}

fn relations<'a>(asked: &[&'a str]) -> Result<Vec<Relation<'a>>, Error> {
    let read =
        |word: &&'a str| relation::parse_tagged(word).map_err(|source| Error::Asked(source.into()));
    asked.iter().map(read).collect()
}

/// A tag that no repository has is a mistake: apk would not go on either.
fn require_tags(asked: &[Relation<'_>], offers: &[Offer<'_>]) -> Result<(), Error> {
    for relation in asked {
        let Some(tag) = relation.tag else { continue };
        if !offers.iter().any(|offer| offer.tag == Some(tag)) {
            return Err(Error::NoTag { asked: relation.to_string(), tag: tag.to_owned() });
        }
    }
    Ok(())
}

fn chosen_package(candidate: &Candidate<'_>, architecture: &str) -> Result<ChosenPackage, Error> {
    let info = candidate.info;
    let file = index::file_name(info.name, info.version.as_str());
    let stated = Some(info.architecture).filter(|stated| !stated.is_empty());
    Ok(ChosenPackage {
        name: info.name.parse()?,
        version: info.version.to_string(),
        architecture: stated.unwrap_or(architecture).to_owned(),
        repository: candidate.offer,
        path: format!("{architecture}/{file}"),
        size: info.size,
        identity: Identity::Part(info.identity.to_string()),
    })
}

/// Checks that the packages of a lock, each with its stanza, do what the recipe asks and hold each
/// other up.
pub(in crate::resolve) fn check(
    lock: &Lock,
    recipe: &Recipe,
    stanzas: &[&[u8]],
) -> Result<(), Error> {
    let read = lock.packages.iter().zip(stanzas).map(|(locked, text)| read_stanza(locked, text));
    let packages = read.collect::<Result<Vec<_>, _>>()?;
    let packages: Vec<_> = packages.iter().collect();
    let asked = asked(recipe);
    validate::check(&relations(&asked)?, &packages).map_err(|flaw| Error::Incomplete(flaw.into()))
}

/// Reads the stanza of a locked package, and checks that it is that package's.
fn read_stanza<'a>(locked: &LockedPackage, stanza: &'a [u8]) -> Result<Info<'a>, Error> {
    let info = std::str::from_utf8(stanza).ok().and_then(|stanza| Info::parse(stanza).ok());
    let is_meant = |info: &Info<'_>| {
        (info.name, info.version.as_str()) == (locked.name.as_str(), locked.version.as_str())
            && [locked.architecture.as_str(), ""].contains(&info.architecture)
    };
    info.filter(is_meant).ok_or_else(|| Error::Control { package: locked.name.clone() })
}
