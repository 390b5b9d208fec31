//! One repository, from the first of its places that serves a state which can be believed, or from the
//! cache.
//!
//! In: how a family reads one place, the cache, and what it finds (a [`Reader`]). Out: the repository.
//! Places are asked in turn, each judged anew. Offline the cache alone counts. It also counts where
//! every place fails and one of them serves an older state than the cache has, unless a lock is
//! followed, which says itself what it wants.

use super::object::Failure;
use super::url::Url;
use super::{Attempts, Context, Error, Repository};
use crate::event::Event;

/// A state, or why it is not believed.
pub(super) type Believed<R> = Result<<R as Reader>::State, <R as Reader>::Refusal>;

/// How a family reads one repository.
pub(super) trait Reader {
    /// The index and all that belongs to it, verified.
    type State;
    /// Why a place, or the cache, is not believed.
    type Refusal: Refuse;

    /// Address and suite, for messages.
    fn name(&self) -> String;
    fn context(&self) -> &Context<'_>;
    fn at_place(&self, place: &Url) -> Result<Self::State, Self::Refusal>;
    /// What the cache kept, judged anew; `None` if nothing is kept.
    fn cached(&self) -> Result<Option<Believed<Self>>, Error>;
    fn remember(&self, state: &Self::State) -> Result<(), Error>;
    fn finished(&self, state: Self::State) -> Repository;
}

/// What of a family's refusals decides about the next step.
pub(super) trait Refuse: Into<super::Refusal> {
    /// Whether the place serves an older state than one that is known.
    fn is_rollback(&self) -> bool;
    /// What went wrong with a file on its way into the store, if it was that.
    fn object(self) -> Result<Failure, Self> {
        Err(self)
    }
}

/// For a family whose refusals have the variants `Stale` and `Object` for these.
macro_rules! refuse {
    ($refusal:ty) => {
        impl $crate::fetch::repository::Refuse for $refusal {
            fn is_rollback(&self) -> bool {
                matches!(self, Self::Stale($crate::fetch::freshness::Stale::Rollback { .. }))
            }

            fn object(self) -> Result<$crate::fetch::object::Failure, Self> {
                match self {
                    Self::Object(failure) => Ok(failure),
                    other => Err(other),
                }
            }
        }
    };
}
pub(super) use refuse;

/// Reads one repository.
pub(super) fn read(reader: &impl Reader, places: &[Url]) -> Result<Repository, Error> {
    if reader.context().offline { offline(reader) } else { online(reader, places) }
}

fn online(reader: &impl Reader, places: &[Url]) -> Result<Repository, Error> {
    let mut attempts = Vec::new();
    let mut is_rolled_back = false;
    for place in places {
        match reader.at_place(place) {
            Ok(state) => {
                reader.remember(&state)?;
                return Ok(reader.finished(state));
            }
            Err(refusal) => {
                is_rolled_back |= refusal.is_rollback();
                attempts.push((place.clone(), of_place(refusal)?));
            }
        }
    }
    if is_rolled_back
        && reader.context().lock.is_none()
        && let Some(Ok(kept)) = reader.cached()?
    {
        let name = reader.name();
        (reader.context().listener)(Event::warning(format!(
            "{name}: the mirrors serve an older state than the cache has; the cache is used"
        )));
        return Ok(reader.finished(kept));
    }
    Err(Error::Unavailable { source_name: reader.name(), attempts: Attempts(attempts) })
}

/// A refusal as the place's own fault; an error where this machine is at fault.
fn of_place(refusal: impl Refuse) -> Result<super::Refusal, Error> {
    match refusal.object() {
        Ok(Failure::Store { url, source }) => Err(Error::Keep { what: url.to_string(), source }),
        Ok(failure) => Ok(failure.into()),
        Err(other) => Ok(other.into()),
    }
}

fn offline(reader: &impl Reader) -> Result<Repository, Error> {
    let source_name = reader.name();
    match reader.cached()? {
        None => Err(Error::NotCached { what: format!("the index of {source_name}") }),
        Some(Err(refusal)) => Err(Error::CachedIndex { source_name, source: refusal.into() }),
        Some(Ok(state)) => Ok(reader.finished(state)),
    }
}
