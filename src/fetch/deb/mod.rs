//! Repositories of Debian's kind: suites with a signed release file, and flat folders.
//!
//! In: a recipe, and what the host's apt is configured for. Out: verified indexes, and the places
//! where packages may be fetched. Format: <https://wiki.debian.org/DebianRepository/Format>.

mod date;
mod host;
mod index;
mod release;
mod snapshot;
mod source;

use super::clearsign;
use super::keys::Shelf;
use super::object;
use super::transport::Transport;
use super::url::Url;
use super::{Context, Error, Repository, side_by_side};
use crate::epoch::Epoch;
use crate::lock::LockedRepository;
use crate::recipe::Recipe;

pub use release::Error as ReleaseError;
pub use snapshot::Refusal;

/// Whether a text can be read as a release file.
pub(super) fn is_release(text: &str) -> bool {
    release::parse(text).is_ok()
}

/// Brings and verifies the indexes of all repositories of `recipe`.
pub(super) fn repositories(
    recipe: &Recipe,
    context: &Context<'_>,
) -> Result<Vec<Repository>, Error> {
    let transport = Transport::new(context.network);
    let sources = sources(recipe, context)?;
    let shelf = Shelf::collect(recipe, context)?;
    let judge = snapshot::Judge {
        context,
        architecture: recipe.architecture.debian_name(),
        insecure: recipe.sources.insecure,
    };
    side_by_side(&sources, context, |source| {
        let keyring = shelf.for_trust(&source.trust, (&transport, context))?;
        index::repository(&transport, source, (&keyring, &judge))
    })
}

/// Where the packages of each locked repository may be fetched, in the order of trying.
pub(super) fn places(
    repositories: &[LockedRepository],
    recipe: &Recipe,
    context: &Context<'_>,
) -> Result<Vec<Vec<Url>>, Error> {
    let sources = sources(recipe, context)?;
    let place = |known: &LockedRepository| match sources
        .iter()
        .find(|source| source.root.to_string() == known.url)
    {
        Some(source) => Ok(source.mirrors.clone()),
        None => Ok(vec![known.url.parse().map_err(Error::Url)?]),
    };
    repositories.iter().map(place).collect()
}

/// What the first mirror that answers gives as the date of its index. It is for a message only, so
/// its signature does not matter.
pub(super) fn date_today(transport: &Transport, suite: &str, mirrors: &[Url]) -> Option<Epoch> {
    let name = match suite.strip_prefix("./").unwrap_or(suite) {
        flat if flat.is_empty() || flat.ends_with('/') => format!("{flat}InRelease"),
        suite => format!("dists/{suite}/InRelease"),
    };
    mirrors.iter().find_map(|mirror| {
        let url = mirror.join(&name);
        let bytes = object::text(transport, (&url, true), snapshot::MAX_RELEASE).ok()?;
        Some(release::parse(&clearsign::message(&bytes).ok()?.text).ok()?.date)
    })
}

fn sources(recipe: &Recipe, context: &Context<'_>) -> Result<Vec<source::Source>, Error> {
    let entries = context.host.map_or_else(Vec::new, host::read);
    source::sources(recipe, &entries)
}
