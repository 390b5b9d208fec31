//! The age of a repository's state: neither from the future, nor expired, nor older than what is
//! known.
//!
//! In: what an index says of itself, the clock, the lock that is followed, what the cache remembers.
//! Out: nothing, or why it cannot be used. The rules are the same for all families. A state that
//! the lock names by its digest is accepted at any age.

use super::{Context, Error, openpgp};
use crate::digest::Digest;
use crate::epoch::Epoch;
use crate::lock::LockedRepository;

/// One state of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    /// The repository's root, as the lock names it.
    pub root: String,
    /// Its suite or folder.
    pub suite: String,
    /// Of the signed part of its top-level index.
    pub digest: Digest,
    /// When it was made.
    pub date: Epoch,
    /// After this moment it must not be used, if it says so.
    pub valid_until: Option<Epoch>,
    /// The names of the keys that signed it.
    pub signed_by: Vec<String>,
}

/// Why a state is too old, or too new.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stale {
    /// Made in the future.
    #[error("it was made at {date}, and the clock of this machine says {now}: is the clock right?")]
    Future {
        /// Its date.
        date: Epoch,
        /// The build's clock.
        now: Epoch,
    },
    /// Past its `Valid-Until`.
    #[error("it expired at {until} (the clock says {now})")]
    Expired {
        /// Its `Valid-Until`.
        until: Epoch,
        /// The build's clock.
        now: Epoch,
    },
    /// Older than the user's limit.
    #[error("it was made at {date}, longer ago than is allowed")]
    TooOld {
        /// Its date.
        date: Epoch,
    },
    /// Older than what was seen before, or than the lock.
    #[error("it was made at {date}, and one of {floor} is known: somebody serves an old state")]
    Rollback {
        /// Its date.
        date: Epoch,
        /// The newest date known.
        floor: Epoch,
    },
}

/// The kind of the store's records of the newest date seen.
const FLOOR: &str = "floor";

/// Under what the store remembers something of a repository, as one of its keys signed it.
pub(super) fn key(root: &str, suite: &str, signer: &str) -> Digest {
    Digest::of(format!("{root}\n{suite}\n{signer}").as_bytes())
}

/// Judges a state.
pub(super) fn check(state: &State, context: &Context<'_>) -> Result<(), Stale> {
    let (date, now) = (state.date, context.now);
    if date.seconds() > now.seconds().saturating_add(openpgp::MAX_FUTURE_SECONDS) {
        return Err(Stale::Future { date, now });
    }
    let locked = locked(state, context);
    if locked.is_some_and(|repository| repository.digest == state.digest) {
        return Ok(());
    }
    match state.valid_until {
        Some(until) if until < now => return Err(Stale::Expired { until, now }),
        _ => {}
    }
    let age = now.seconds().saturating_sub(date.seconds());
    if context.max_age.is_some_and(|limit| age > limit.as_secs()) {
        return Err(Stale::TooOld { date });
    }
    let floor = locked.map(|repository| repository.date).into_iter().chain(known(state, context));
    match floor.max() {
        Some(floor) if date < floor => Err(Stale::Rollback { date, floor }),
        _ => Ok(()),
    }
}

/// Remembers that nothing older will do from now on.
pub(super) fn remember(state: &State, context: &Context<'_>) -> Result<(), Error> {
    let date = state.date.seconds().to_string();
    for signer in &state.signed_by {
        let key = key(&state.root, &state.suite, signer);
        context.store.put_record(FLOOR, &key, date.as_bytes()).map_err(Error::Store)?;
    }
    Ok(())
}

/// The newest date that the cache remembers.
fn known(state: &State, context: &Context<'_>) -> Option<Epoch> {
    let dates = state.signed_by.iter().filter_map(|signer| {
        let key = key(&state.root, &state.suite, signer);
        let record = context.store.record(FLOOR, &key).ok().flatten()?;
        std::str::from_utf8(&record).ok()?.parse::<Epoch>().ok()
    });
    dates.max()
}

/// What the lock that is followed says of the repository.
fn locked<'a>(state: &State, context: &Context<'a>) -> Option<&'a LockedRepository> {
    let mut repositories = context.lock?.repositories.iter();
    repositories.find(|known| known.url == state.root && known.suite == state.suite)
}
