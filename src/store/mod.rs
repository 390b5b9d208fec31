//! The disk: a cache that any number of builds share, directories, and outputs.
//!
//! ```text
//! layout        "osbuilder-store 1\n": which layout this is
//! lock          flock(2): shared while a store is open, exclusive while something is removed
//! objects/      files named by their SHA-256 (`object.rs`)
//! packs/        many contents in one file (`pack.rs`)
//! records/KIND/ small texts (`record.rs`)
//! temporary/    files being written, where the file system cannot hold them without a name
//! damaged/      what was found to be damaged, kept for whoever wants to know why
//! ```
//!
//! Nothing in the cache is trusted because it is there: everything is verified when it is read, by its
//! digest or by the checksum in the index of its pack (but see [`Contents::open_unhashed`]), and what
//! is damaged is put aside and counts as absent. So a killed build or a power cut leaves nothing that
//! a later build believes, and nothing here has to wait for the disk. The cache is
//! private to one user: whoever else could write into it could plant records.
//!
//! Nothing here knows what time it is: ages are compared with moments that the caller gives.

mod check;
mod collect;
pub mod directory;
mod error;
mod folder;
mod loaded;
mod object;
mod open;
#[cfg(test)]
mod ordinary_user;
mod output;
mod pack;
mod reader;
mod record;
mod remove;
mod sparse;
mod temporary;

use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use fs_err::File;

pub use check::Checked;
pub use collect::{Collected, Keep, collect};
pub use error::Error;
pub use folder::paths_in;
pub use object::Object;
pub use output::{Output, OutputDirectory};
pub use pack::PackWriter;
pub use temporary::{TemporaryFolder, abandon_all};

use crate::checksum::Checksum;
use crate::digest::Digest;
use crate::tree::Contents;
use folder::Folder;
use loaded::Loaded;
use open::{check_layout, check_owner, is_writable, lease, make_private, open_root, own_folder};
use pack::Pack;
use reader::{Verifying, is_damage};
use temporary::Temporary;

/// A cache on disk, open. Cheap to clone; threads may share it.
#[derive(Debug, Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    root: Folder,
    objects: Folder,
    packs: Folder,
    records: Folder,
    damaged: Folder,
    temporary: Arc<Folder>,
    is_writable: bool,
    loaded: RwLock<Loaded>,
    /// Held, shared, for as long as anybody uses the store: nothing is removed meanwhile.
    _lease: File,
}

impl Store {
    /// Opens the cache at `root`, and makes it if there is none.
    ///
    /// A cache that cannot be written is read; then keeping something new is an error.
    ///
    /// # Errors
    /// [`Error::ForeignCache`], [`Error::OpenCache`], [`Error::Layout`], [`Error::Planted`];
    /// [`Error::Disk`] also when the file system lacks locks.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let root = open_root(root)?;
        let is_writable = is_writable(&root)?;
        if is_writable && root.names()?.is_empty() {
            make_private(&root)?;
        }
        check_owner(&root)?;
        let lease = lease(&root, is_writable)?;
        check_layout(&root, is_writable)?;
        let part =
            |name: &str| if is_writable { own_folder(&root, name) } else { root.folder(name) };
        let shared = Shared {
            objects: part("objects")?,
            packs: part("packs")?,
            records: part("records")?,
            damaged: part("damaged")?,
            temporary: Arc::new(part("temporary")?),
            is_writable,
            loaded: RwLock::default(),
            _lease: lease,
            root,
        };
        if is_writable {
            for kind in ["object-", "pack-", "record-"] {
                temporary::reap(&shared.temporary, OsStr::new(kind))?;
            }
        }
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The folder of the cache.
    pub fn root(&self) -> &Path {
        self.shared.root.path()
    }

    /// Makes a folder for this run alone, which only its user may enter. What killed runs left of
    /// this kind is removed.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::Disk`].
    pub fn temporary_folder(&self, prefix: &str) -> Result<TemporaryFolder, Error> {
        if !self.shared.is_writable {
            return Err(Error::ReadOnly { path: self.root().into() });
        }
        temporary::reap(&self.shared.temporary, OsStr::new(prefix))?;
        TemporaryFolder::create_in(&self.shared.temporary, OsStr::new(prefix))
    }

    fn temporary(&self, prefix: &str) -> Result<Temporary, Error> {
        if !self.shared.is_writable {
            return Err(Error::ReadOnly { path: self.root().into() });
        }
        Temporary::create(&self.shared.temporary, OsStr::new(prefix), 0o600)
    }

    fn register(&self, pack: Pack) {
        self.shared.loaded.write().unwrap_or_else(PoisonError::into_inner).add(pack);
    }

    fn is_registered(&self, key: &Digest) -> bool {
        self.shared.loaded.read().unwrap_or_else(PoisonError::into_inner).has(key)
    }

    /// Moves something damaged out of the way. In a cache that cannot be written it stays, and
    /// is found to be damaged each time.
    fn put_aside(&self, folder: &Folder, name: &str) -> Result<(), Error> {
        if !self.shared.is_writable {
            return Ok(());
        }
        match folder.rename(name, &self.shared.damaged, name) {
            Err(error) if error.kind() == Some(io::ErrorKind::NotFound) => Ok(()),
            answer => answer,
        }
    }

    fn put_pack_aside(&self, key: &Digest) {
        self.shared.loaded.write().unwrap_or_else(PoisonError::into_inner).remove(key);
        // The damage itself is reported; that it could not be moved away adds nothing.
        drop(self.put_aside(&self.shared.packs, &key.to_string()));
    }

    fn find_in_packs(&self, digest: &Digest) -> Option<(Digest, reader::Slice, Checksum)> {
        self.shared.loaded.read().unwrap_or_else(PoisonError::into_inner).find(digest)
    }
}

impl Contents for Store {
    fn open(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send + '_>> {
        let Some((key, slice, checksum)) = self.find_in_packs(digest) else {
            return Ok(Box::new(self.open_object(digest)?));
        };
        let opened = slice.open_summed(digest, checksum);
        if opened.as_ref().is_err_and(is_damage) {
            self.put_pack_aside(&key);
        }
        Ok(Box::new(FromPack { store: self, key, reader: opened? }))
    }

    fn open_unhashed(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send + '_>> {
        match self.find_in_packs(digest) {
            None => self.open(digest),
            Some((key, slice, _)) => {
                Ok(Box::new(FromPack { store: self, key, reader: slice.open_unhashed() }))
            }
        }
    }

    fn checksum(&self, digest: &Digest) -> Option<Checksum> {
        self.shared.loaded.read().unwrap_or_else(PoisonError::into_inner).checksum(digest)
    }
}

/// A content of a pack being read; damage puts the pack aside.
struct FromPack<'a> {
    store: &'a Store,
    key: Digest,
    reader: Verifying,
}

impl Read for FromPack<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let answer = self.reader.read(buffer);
        if answer.as_ref().is_err_and(is_damage) {
            self.store.put_pack_aside(&self.key);
        }
        answer
    }
}

fn unknown(digest: &Digest) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no content with digest {digest} is kept"))
}

/// Lets the time of modification say when something was last of use, which is what cleaning up
/// goes by; `atime` says nothing on most machines.
fn note_use(file: &File) {
    use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
    let at = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    let times = Timestamps { last_access: at(UTIME_OMIT), last_modification: at(UTIME_NOW) };
    // A cache that cannot be written does not need the note.
    let _ = rustix::fs::futimens(file, &times);
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "several builds means several processes")]
mod tests {
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    /// One build, over and over, until it is killed: the process that the test below starts.
    /// Run by hand it does nothing, as its folder holds no cache.
    #[test]
    #[ignore = "a part of f8_builds_that_are_killed_share_a_cache_with_each_other"]
    fn f8_one_build() {
        let root = Path::new("f8-cache");
        let end = Instant::now() + Duration::from_secs(20);
        while root.is_dir() && Instant::now() < end {
            let store = Store::open(root).unwrap();
            for number in 0..20_u32 {
                let bytes = number.to_le_bytes().repeat(10_000);
                let (digest, size) = store.insert(bytes.as_slice(), None).unwrap();
                store.insert(bytes.as_slice(), Some((digest, size))).unwrap();
                assert!(store.object(&digest).unwrap().is_some());
            }
            let key = Digest::of(b"pack");
            if !store.load_pack(&key).unwrap() {
                let pack = store.new_pack().unwrap();
                for number in 0..100_u32 {
                    pack.add_bytes(&number.to_le_bytes()).unwrap();
                }
                pack.finish(&key).unwrap();
                store.put_record("tree", &key, b"text").unwrap();
            }
            let mut bytes = Vec::new();
            let digest = Digest::of(&7_u32.to_le_bytes());
            Contents::open(&store, &digest).unwrap().read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes, 7_u32.to_le_bytes());
            let record = store.record("tree", &key).unwrap();
            assert!(record.is_none_or(|text| text == b"text"));
        }
    }

    fn start_build(folder: &Path) -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "store::tests::f8_one_build"])
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap()
    }

    #[test]
    fn f8_builds_that_are_killed_share_a_cache_with_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("f8-cache");
        fs_err::create_dir(&root).unwrap();
        let mut builds: Vec<_> = (0..3).map(|_| start_build(folder.path())).collect();
        let everything = Keep { used_since: None, at_most: Some(0) };
        let end = Instant::now() + Duration::from_secs(3);
        for round in 0_u64.. {
            std::thread::sleep(Duration::from_millis(round * 7 % 90));
            let number = usize::try_from(round).unwrap() % builds.len();
            let build = &mut builds[number];
            assert!(build.try_wait().unwrap().is_none(), "a build failed by itself");
            build.kill().unwrap();
            build.wait().unwrap();
            match collect(&root, &everything) {
                Ok(_) | Err(Error::Busy { .. } | Error::Layout { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            if Instant::now() > end {
                break;
            }
            builds[number] = start_build(folder.path());
        }
        for build in &mut builds {
            // The one that was killed last is gone already.
            drop(build.kill());
            build.wait().unwrap();
        }
        let store = Store::open(&root).unwrap();
        assert!(store.check().unwrap().damaged.is_empty());
        assert!(store.shared.temporary.names().unwrap().is_empty());
        drop(store);
        collect(&root, &everything).unwrap();
    }
}
