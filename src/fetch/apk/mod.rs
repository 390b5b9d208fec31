//! Repositories of Alpine's kind: a folder for each branch and component, in it one for each
//! architecture, in that a signed index and the packages.
//!
//! In: a recipe, and what the host's apk is configured for. Out: verified indexes, the places where
//! packages may be fetched, and which bytes the packages have that an index names. An index vouches
//! for a package by the digest of its control part alone, and that is SHA-1; so each package must also
//! be signed itself, by a key of its repository, before its bytes get into a lock. Specification:
//! apk-repositories(5), apk-v2(5).

mod host;
mod index;
mod keys;
mod pin;
mod source;
#[cfg(test)]
mod tests;
mod through;

use super::object;
use super::transport::Transport;
use super::url::Url;
use super::{Context, Error, Repository, Tagged, side_by_side};
use crate::epoch::Epoch;
use crate::lock::LockedRepository;
use crate::package::apk::index::newest_build;
use crate::recipe::Recipe;
use source::Source;

pub use index::Refusal;
pub(super) use pin::pin;

/// Whether bytes count as an index where no key is trusted: never.
pub(super) fn is_vouched_for(bytes: &[u8]) -> bool {
    index::Opened::read(bytes).ok();
    index::signers(bytes, &keys::Keyring::default(), true).is_ok()
}

/// Brings and verifies the indexes of all repositories of `recipe`.
pub(super) fn repositories(
    recipe: &Recipe,
    context: &Context<'_>,
) -> Result<Vec<Repository>, Error> {
    let transport = Transport::new(context.network);
    let sources = sources(recipe, context)?;
    let shelf = keys::Shelf::collect(recipe, context)?;
    side_by_side(&sources, context, |source| {
        let keyring = shelf.for_trust(&source.trust, (&transport, context))?;
        index::repository(&transport, source, &index::Judge::new(recipe, context, &keyring))
    })
}

/// Where the packages of each locked repository may be fetched, in the order of trying.
pub(super) fn places(
    repositories: &[LockedRepository],
    recipe: &Recipe,
    context: &Context<'_>,
) -> Result<Vec<Vec<Url>>, Error> {
    let sources = sources(recipe, context)?;
    let place = |known: &LockedRepository| match source_of(&sources, known) {
        Some(source) => Ok(source.places.clone()),
        None => {
            let root: Url = known.url.parse().map_err(Error::Url)?;
            Ok(vec![source::below(&root, &known.suite)])
        }
    };
    repositories.iter().map(place).collect()
}

/// Which of the locked repositories have a tag.
pub(super) fn tagged(
    repositories: &[LockedRepository],
    recipe: &Recipe,
    context: &Context<'_>,
) -> Result<Vec<Option<Tagged>>, Error> {
    let sources = sources(recipe, context)?;
    let tagged = |known: &LockedRepository| {
        let tag = source_of(&sources, known)?.tag.clone()?;
        Some(Tagged { tag, address: known.url.clone() })
    };
    Ok(repositories.iter().map(tagged).collect())
}

/// The newest moment at which a package of the first place that answers was built. It is for a message
/// only, so its signature does not matter.
pub(super) fn date_today(transport: &Transport, recipe: &Recipe, places: &[Url]) -> Option<Epoch> {
    places.iter().find_map(|place| {
        let urls = index::paths(recipe).map(|path| place.join(&path));
        let text = |url| object::text(transport, (url, true), index::MAX_PACKED).ok();
        let bytes = urls.iter().find_map(text)?;
        Epoch::new(newest_build(&index::Opened::read(&bytes).ok()?.text))
    })
}

fn sources(recipe: &Recipe, context: &Context<'_>) -> Result<Vec<Source>, Error> {
    let roots = context.host.map_or_else(Vec::new, |root| host::roots(root, recipe));
    source::sources(recipe, &roots)
}

fn source_of<'s>(sources: &'s [Source], known: &LockedRepository) -> Option<&'s Source> {
    sources
        .iter()
        .find(|source| source.root.to_string() == known.url && source.suite() == known.suite)
}
