//! Removing from the cache what has not been of use for a while, or what is too much.
//!
//! Only while nobody has the cache open: builds hold the shared lock of `mod.rs` from their first
//! look into the cache to their end, so what a build has found stays there until it is done.

use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, Stat};
use rustix::io::Errno;

use super::folder::Folder;
use super::open::{check_owner, is_known_layout, lock_file};
use super::{Error, remove};

/// What is to stay in a cache.
#[derive(Debug, Clone, Copy, Default)]
pub struct Keep {
    /// What was of use at this moment or later; without it, whatever its age.
    pub used_since: Option<SystemTime>,
    /// No more than this many bytes, those last used; without it, whatever its size.
    pub at_most: Option<u64>,
}

/// What has been removed, and what is left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Files removed.
    pub removed: u64,
    /// Their size in bytes.
    pub removed_bytes: u64,
    /// Files left.
    pub kept: u64,
    /// Their size in bytes.
    pub kept_bytes: u64,
}

/// Removes from the cache at `root` all but what `keep` says, and everything that was found to be
/// damaged.
///
/// # Errors
/// [`Error::Busy`] while a build uses the cache; [`Error::Layout`], [`Error::ForeignCache`],
/// [`Error::OpenCache`], [`Error::Disk`].
pub fn collect(root: &Path, keep: &Keep) -> Result<Collected, Error> {
    let root = Folder::open(root)?;
    check_owner(&root)?;
    if !is_known_layout(&root)? {
        return Err(Error::Layout { path: root.path().into(), found: String::new() });
    }
    let lock = lock_file(&root, true)?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Err(Error::Busy { path: root.path().into() }),
        answer => answer.map_err(Error::disk("lock", root.path_of("lock")))?,
    }
    for name in ["damaged", "temporary"] {
        remove::empty(&root.folder(name)?)?;
    }
    let folders = folders(&root)?;
    let mut entries = entries(&folders)?;
    entries.sort_by(|one, other| other.used.cmp(&one.used).then(one.name.cmp(&other.name)));
    let (mut collected, mut is_full) = (Collected::default(), false);
    for entry in &entries {
        let total = collected.kept_bytes.saturating_add(entry.size);
        let is_old = keep.used_since.is_some_and(|since| entry.used < since);
        is_full |= keep.at_most.is_some_and(|limit| total > limit);
        if is_old || is_full {
            remove::remove(entry.folder, &entry.name)?;
            collected.removed = collected.removed.saturating_add(1);
            collected.removed_bytes = collected.removed_bytes.saturating_add(entry.size);
        } else {
            collected.kept = collected.kept.saturating_add(1);
            collected.kept_bytes = total;
        }
    }
    Ok(collected)
}

/// Something that may be removed.
struct Entry<'a> {
    folder: &'a Folder,
    name: OsString,
    used: SystemTime,
    size: u64,
}

/// The folders whose entries may be removed one by one.
fn folders(root: &Folder) -> Result<Vec<Folder>, Error> {
    let records = root.folder("records")?;
    let mut folders = vec![root.folder("objects")?, root.folder("packs")?];
    for kind in records.names()? {
        folders.push(records.folder(kind)?);
    }
    Ok(folders)
}

fn entries(folders: &[Folder]) -> Result<Vec<Entry<'_>>, Error> {
    let mut entries = Vec::new();
    for folder in folders {
        for name in folder.names()? {
            if let Some(stat) = folder.stat(&name)? {
                let size = u64::try_from(stat.st_size).unwrap_or_default();
                entries.push(Entry { folder, name, used: last_use(&stat), size });
            }
        }
    }
    Ok(entries)
}

/// When something was last of use: see `note_use`. Before 1970 counts as 1970.
fn last_use(stat: &Stat) -> SystemTime {
    let since_1970 = Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or_default());
    SystemTime::UNIX_EPOCH.checked_add(since_1970).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::store::Store;

    /// A cache with objects of 10, 20 and 30 bytes, last used at 100, 200 and 300 seconds.
    fn cache() -> (tempfile::TempDir, [Digest; 3]) {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let digests = [1, 2, 3].map(|number: u8| {
            let bytes = vec![number; usize::from(number) * 10];
            let (digest, _) = store.insert(bytes.as_slice(), None).unwrap();
            let used = at(u64::from(number) * 100);
            let file =
                fs_err::File::options().write(true).open(store.object_path(&digest)).unwrap();
            file.set_modified(used).unwrap();
            digest
        });
        (root, digests)
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn the_oldest_go_first_by_age_and_by_size() {
        let cases = [
            (Keep::default(), (0, 3)),
            (Keep { used_since: Some(at(200)), at_most: None }, (1, 2)),
            (Keep { used_since: None, at_most: Some(50) }, (1, 2)),
            (Keep { used_since: None, at_most: Some(49) }, (2, 1)),
            (Keep { used_since: Some(at(301)), at_most: None }, (3, 0)),
        ];
        for (keep, (removed, kept)) in cases {
            let (root, digests) = cache();
            let collected = collect(root.path(), &keep).unwrap();
            assert_eq!((collected.removed, collected.kept), (removed, kept), "{keep:?}");
            let store = Store::open(root.path()).unwrap();
            let there = digests.iter().rev().take_while(|digest| store.contains(digest).unwrap());
            assert_eq!(u64::try_from(there.count()).unwrap(), kept, "{keep:?}");
        }
    }

    #[test]
    fn f8_nothing_is_removed_while_a_build_has_the_cache_open() {
        let (root, digests) = cache();
        let none = Keep { used_since: None, at_most: Some(0) };
        let store = Store::open(root.path()).unwrap();
        let second = store.clone();
        drop(store);
        assert!(matches!(collect(root.path(), &none).unwrap_err(), Error::Busy { .. }));
        assert!(second.contains(&digests[0]).unwrap());
        drop(second);
        assert_eq!(collect(root.path(), &none).unwrap().removed, 3);
    }

    #[test]
    fn a_folder_that_is_no_cache_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        fs_err::create_dir(root.path().join("objects")).unwrap();
        fs_err::write(root.path().join("objects/mine"), "").unwrap();
        let refused = collect(root.path(), &Keep { used_since: None, at_most: Some(0) });
        assert!(matches!(refused.unwrap_err(), Error::Layout { .. }));
        assert!(root.path().join("objects/mine").exists());
    }
}
