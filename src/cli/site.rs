//! What a verb builds with, once its recipe is read: the cache, the network, the stand-in agent for
//! the guest's processor, and who hears of progress.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use osbuilder::Workshop;
use osbuilder::event::Event;
use osbuilder::fetch::Network;
use osbuilder::recipe::{Reading, Recipe};
use osbuilder::store::Store;

use super::{Failure, Session};

/// A place to build in.
pub(super) struct Site<'s> {
    began: Instant,
    pub(super) session: &'s Session,
    pub(super) reading: Reading,
    pub(super) store: Store,
    network: Network,
    probe: Option<PathBuf>,
    hear: Box<dyn Fn(Event) + Sync + 's>,
}

impl<'s> Site<'s> {
    /// Opens the cache and finds the probe.
    pub(super) fn open(reading: Reading, session: &'s Session) -> Result<Self, Failure> {
        let began = Instant::now();
        let probe = session.probe(reading.recipe.architecture);
        let (store, network) = (session.store()?, session.environment.network());
        let hear = Box::new(|event| session.hear(&event));
        Ok(Self { began, session, reading, store, network, probe, hear })
    }

    pub(super) fn recipe(&self) -> &Recipe {
        &self.reading.recipe
    }

    /// What the library's stages share.
    pub(super) fn workshop(&self, offline: bool) -> Workshop<'_> {
        Workshop {
            store: &self.store,
            network: &self.network,
            offline,
            now: self.session.environment.now,
            followed: None,
            threads: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            owner: self.session.environment.caller(),
            probe: self.probe.as_deref(),
            listener: &*self.hear,
        }
    }

    /// How long this has taken so far.
    pub(super) fn took(&self) -> Duration {
        self.began.elapsed()
    }
}
