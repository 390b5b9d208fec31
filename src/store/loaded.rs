//! The packs that a store has open, and which of them holds a content.
//!
//! A guest has a hundred packs and more, and each content is looked for many times: so there is one
//! index over all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::pack::Pack;
use super::reader::Slice;
use crate::checksum::Checksum;
use crate::digest::Digest;

/// Packs, each under its own key.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    packs: BTreeMap<Digest, Arc<Pack>>,
    /// For each content the pack that came last of those that hold it.
    holders: BTreeMap<Digest, Arc<Pack>>,
}

impl Loaded {
    /// Adds a pack, in the place of one with the same key.
    pub(super) fn add(&mut self, pack: Pack) {
        let pack = Arc::new(pack);
        self.holders.extend(pack.digests().map(|digest| (digest, Arc::clone(&pack))));
        self.packs.insert(pack.key, pack);
    }

    /// Whether a pack is there.
    pub(super) fn has(&self, key: &Digest) -> bool {
        self.packs.contains_key(key)
    }

    /// Forgets a pack. What others hold, too, is found in them.
    pub(super) fn remove(&mut self, key: &Digest) {
        let Some(removed) = self.packs.remove(key) else { return };
        self.holders.retain(|_, holder| holder.key != *key);
        for digest in removed.digests() {
            let other = self.packs.values().find(|pack| pack.find(&digest).is_some());
            self.holders.extend(other.map(|pack| (digest, Arc::clone(pack))));
        }
    }

    /// The key of the pack that has a content, where that is, and its checksum.
    pub(super) fn find(&self, digest: &Digest) -> Option<(Digest, Slice, Checksum)> {
        let pack = self.holders.get(digest)?;
        let (slice, checksum) = pack.find(digest)?;
        Some((pack.key, slice, checksum))
    }

    /// The checksum of a content.
    pub(super) fn checksum(&self, digest: &Digest) -> Option<Checksum> {
        self.holders.get(digest)?.checksum(digest)
    }
}
