//! Remembers which configured tree a lock leads to, so that nothing is unpacked to find it again.
//!
//! The cache knows a configured tree by the digest of the unpacked one. To know that digest all
//! packages must be laid over each other; this record leads from the lock there at once. Besides
//! what the user asked for, the code that unpacks and configures is part of the key.

use crate::configure::{self, Configured};
use crate::digest::{Digest, Hasher};
use crate::epoch::Epoch;
use crate::event::Listener;
use crate::lock::Lock;
use crate::recipe::{Recipe, Scripts};
use crate::store::Store;

/// The kind of record that leads to a configured tree.
const RECORD: &str = "installed";

/// The digest of all that decides what is installed.
pub(crate) fn key(lock: &Lock, recipe: &Recipe, epoch: Epoch) -> Digest {
    let mut hasher = Hasher::default();
    hasher.update(env!("OSBUILDER_INSTALLING_CODE").as_bytes());
    let Lock { request, distribution, release, architecture, packages, .. } = lock;
    let merged = recipe.release.merged_usr;
    let epoch = epoch.seconds();
    let head = format!("\n{distribution} {release} {architecture} {merged} {epoch}\n{request}\n");
    hasher.update(head.as_bytes());
    match recipe.scripts {
        Scripts::Any => {}
        Scripts::Programs => hasher.update(b"programs\n"),
        Scripts::BuiltIn => hasher.update(b"built-in handlers\n"),
    }
    for package in packages {
        let (name, version) = (&package.name, &package.version);
        let (architecture, digest) = (&package.architecture, &package.digest);
        // Of Alpine's packages the database names the repository, if it has a tag.
        let repository = package.repository;
        let line = format!("{name} {version} {architecture} {digest} {repository}\n");
        hasher.update(line.as_bytes());
    }
    hasher.finish()
}

/// Finds the configured tree of a lock, if the cache still has all of it.
///
/// # Errors
/// As the cache.
pub(crate) fn find(
    lock: &Lock,
    key: &Digest,
    store: &Store,
    listener: Listener<'_>,
) -> Result<Option<Configured>, configure::Error> {
    let record = store.record(RECORD, key)?;
    let text = record.and_then(|bytes| String::from_utf8(bytes).ok());
    let Some(configured) = text.and_then(|text| text.parse().ok()) else { return Ok(None) };
    for package in &lock.packages {
        if !store.load_pack(&package.digest)? {
            return Ok(None);
        }
    }
    configure::find(store, &configured, listener)
}

/// Remembers where a tree is found.
///
/// # Errors
/// As the cache.
pub(crate) fn remember(
    store: &Store,
    key: &Digest,
    configured: Configured,
) -> Result<Configured, configure::Error> {
    store.put_record(RECORD, key, configured.key.to_string().as_bytes())?;
    Ok(configured)
}
