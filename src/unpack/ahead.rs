//! Archives that are read as soon as they arrive, while others are still on their way.
//!
//! The network is slow and processors have nothing else to do meanwhile. What was read is in the
//! store, where [`super::open`] finds it; what was not, it reads itself. So nothing depends on how
//! far this gets, and it reports nothing: what is wrong with an archive is said there.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::{apk, deb, rpm};
use crate::distro::Family;
use crate::fetch::Archive;
use crate::lock::LockedPackage;
use crate::recipe::Recipe;
use crate::store::Store;

/// Reads ahead, as many archives at once as there are processors.
#[derive(Debug)]
pub struct Ahead<'a> {
    family: Family,
    store: &'a Store,
    /// How many more archives may be read right now: decompressors take much memory.
    free: AtomicUsize,
}

impl<'a> Ahead<'a> {
    /// Reads packages of a recipe's distribution into `store`.
    pub fn new(recipe: &Recipe, store: &'a Store) -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Self { family: recipe.distro.family, store, free: AtomicUsize::new(processors) }
    }

    /// Reads an archive, unless enough others are being read.
    pub fn open(&self, package: &LockedPackage, archive: Archive<'_>) {
        let take = |free: usize| free.checked_sub(1);
        if self.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_err() {
            return;
        }
        match self.family {
            Family::Deb => deb::open_ahead(package, || archive.open(), self.store),
            Family::Apk => apk::open_ahead(package, || archive.open(), self.store),
            Family::Rpm => rpm::open_ahead(package, || archive.open(), self.store),
        }
        self.free.fetch_add(1, Ordering::Release);
    }
}
