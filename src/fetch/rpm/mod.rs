//! Repositories of rpm packages: a folder with `repodata/repomd.xml`, and the packages.
//!
//! In: a recipe. Out: verified indexes, and the places where packages may be fetched. `repomd.xml` is
//! believed if a key of the distribution signed it, or if a metalink that came by TLS names its digest;
//! it names the digests of all other files. Each package must be signed itself, too, by a key that may
//! vouch for its repository. Specification: createrepo_c's own, RFC 5854 (metalinks).

mod frame;
mod index;
mod lists;
mod metalink;
mod signature;
mod source;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use super::keys::Shelf;
use super::object;
use super::transport::Transport;
use super::url::Url;
use super::{Context, Error, Repository, side_by_side};
use crate::epoch::Epoch;
use crate::lock::LockedRepository;
use crate::package::rpm::repomd::Repomd;
use crate::recipe::Recipe;
use source::Source;

pub use index::Refusal;
pub(super) use signature::check_signatures;

/// Brings and verifies the indexes of all repositories of `recipe`.
pub(super) fn repositories(
    recipe: &Recipe,
    context: &Context<'_>,
) -> Result<Vec<Repository>, Error> {
    let transport = Transport::new(context.network);
    let sources = source::sources(recipe)?;
    let shelf = Shelf::collect(recipe, context)?;
    side_by_side(&sources, context, |source| {
        let keyring = shelf.for_trust(&source.trust, (&transport, context))?.by_pin();
        index::repository(&transport, source, &index::Judge::new(recipe, context, &keyring))
    })
}

/// Adds to repositories that were read which packages have the `wanted` files: of those that lists of
/// packages leave out.
pub(super) fn with_files(
    repositories: &mut [Repository],
    wanted: &BTreeSet<&str>,
    recipe: &Recipe,
    context: &Context<'_>,
) -> Result<(), Error> {
    let transport = Transport::new(context.network);
    let sources = source::sources(recipe)?;
    let shelf = Shelf::collect(recipe, context)?;
    for repository in repositories {
        let Some(source) = source_of(&sources, &repository.locked) else { continue };
        let keyring = shelf.for_trust(&source.trust, (&transport, context))?.by_pin();
        let judge = index::Judge::new(recipe, context, &keyring);
        index::with_files(&transport, (source, &judge), repository, wanted)?;
    }
    Ok(())
}

/// Where the packages of each locked repository may be fetched, in the order of trying.
pub(super) fn places(
    repositories: &[LockedRepository],
    recipe: &Recipe,
    context: &Context<'_>,
) -> Result<Vec<Vec<Url>>, Error> {
    let sources = source::sources(recipe)?;
    let transport = Transport::new(context.network);
    let place = |known: &LockedRepository| match source_of(&sources, known) {
        Some(source) => Ok(metalink::with_mirrors(&transport, source)),
        None => {
            let root: Url = known.url.parse().map_err(Error::Url)?;
            Ok(vec![source::below(&root, &known.suite)])
        }
    };
    repositories.iter().map(place).collect()
}

/// When the metadata of the first place that answers was made. It is for a message only, so its
/// signature does not matter.
pub(super) fn date_today(transport: &Transport, places: &[Url]) -> Option<Epoch> {
    places.iter().find_map(|place| {
        let url = place.join(index::REPOMD);
        let bytes = object::text(transport, (&url, true), index::MAX_REPOMD).ok()?;
        Epoch::new(Repomd::parse(&bytes).ok()?.moment())
    })
}

fn source_of<'s>(sources: &'s [Source], known: &LockedRepository) -> Option<&'s Source> {
    sources
        .iter()
        .find(|source| source.root.to_string() == known.url && source.suite() == known.suite)
}
