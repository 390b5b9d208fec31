//! The first attempt: handlers of ours run every script, or none.
//!
//! In: the tree and its packages; out: the configured tree, or nothing if a script came to something
//! that handlers do not understand. Both are remembered under the digest of what decides them, so
//! that an attempt is made once. It begins no process and asks for no sandbox.

use super::foreign::Runner;
use super::went_on::WentOn;
use super::{
    BY_HANDLERS, Bench, Configuration, Configured, Error, find, keep, key, not_run, recall,
};
use crate::epoch::Epoch;
use crate::event::{Event, Listener};
use crate::sandbox::Walls;
use crate::store::Store;
use crate::tree::Tree;

/// The kind of record that says why handlers cannot do it.
const RECORD: &str = "not-understood";

/// Runs all scripts by handlers, or finds the result of an earlier time.
///
/// # Errors
/// Those of the cache. Whatever else goes wrong is left to programs.
pub(super) fn by_handlers(
    tree: &Tree,
    configuration: &dyn Configuration,
    epoch: Epoch,
    store: &Store,
    listener: Listener<'_>,
) -> Result<Option<Configured>, Error> {
    let key = key(tree, configuration, epoch, BY_HANDLERS);
    // The same key has what handlers make where scripts may be left out.
    if recall(store, &key)?.is_some_and(|(found, _)| not_run::is_whole(&found.tree)) {
        return find(store, &key, listener);
    }
    if let Some(why) = store.record(RECORD, &key.digest)? {
        tell(&String::from_utf8_lossy(&why), listener);
        return Ok(None);
    }
    let runner = Runner::BuiltIn(String::new());
    let pack = store.new_pack()?;
    let walls = Walls::Namespaces;
    let (runner, went_on) = (&runner, &WentOn::default());
    let bench = Bench { store, pack: &pack, walls, runner, whole: true, went_on, epoch, listener };
    match configuration.run(tree.clone(), &bench) {
        Ok(tree) => {
            listener(Event::note("osbuilder's own handlers have run all scripts"));
            keep(tree, key, (store, pack), went_on).map(Some)
        }
        Err(error @ (Error::Store(_) | Error::Listing(_) | Error::Content { .. })) => Err(error),
        Err(why) => {
            let why = why.to_string();
            store.put_record(RECORD, &key.digest, why.as_bytes())?;
            tell(&why, listener);
            Ok(None)
        }
    }
}

fn tell(why: &str, listener: Listener<'_>) {
    listener(Event::note(format!("{why}; so the guest's own programs run all scripts")));
}
