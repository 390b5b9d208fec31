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
//! Nothing in the cache is trusted because it is there: everything is verified when it is read,
//! and what is damaged is put aside and counts as absent. So a killed build or a power cut leaves
//! nothing that a later build believes, and nothing here has to wait for the disk. The cache is
//! private to one user: whoever else could write into it could plant records.
//!
//! Nothing here knows what time it is: ages are compared with moments that the caller gives.

mod check;
mod collect;
pub mod directory;
mod error;
mod folder;
mod object;
#[cfg(test)]
mod ordinary_user;
mod output;
mod pack;
mod reader;
mod record;
mod remove;
mod temporary;

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use fs_err::File;
use rustix::fs::{FlockOperation, Mode, StatVfsMountFlags};
use rustix::io::Errno;

pub use check::Checked;
pub use collect::{Collected, Keep, collect};
pub use error::Error;
pub use object::Object;
pub use output::{Output, OutputDirectory};
pub use pack::PackWriter;
pub use temporary::abandon_all;

use crate::digest::Digest;
use crate::tree::Contents;
use folder::Folder;
use pack::Pack;
use reader::{Verifying, is_damage};
use temporary::Temporary;

const LAYOUT: &str = "osbuilder-store 1\n";

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
    loaded: RwLock<Vec<Arc<Pack>>>,
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

    fn temporary(&self, prefix: &str) -> Result<Temporary, Error> {
        if !self.shared.is_writable {
            return Err(Error::ReadOnly { path: self.root().into() });
        }
        Temporary::create(&self.shared.temporary, OsStr::new(prefix), 0o600)
    }

    fn register(&self, pack: Pack) {
        let mut loaded = self.shared.loaded.write().unwrap_or_else(PoisonError::into_inner);
        loaded.retain(|other| other.key != pack.key);
        loaded.push(Arc::new(pack));
    }

    fn is_registered(&self, key: &Digest) -> bool {
        let loaded = self.shared.loaded.read().unwrap_or_else(PoisonError::into_inner);
        loaded.iter().any(|pack| pack.key == *key)
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
        let mut loaded = self.shared.loaded.write().unwrap_or_else(PoisonError::into_inner);
        loaded.retain(|pack| pack.key != *key);
        // The damage itself is reported; that it could not be moved away adds nothing.
        drop(self.put_aside(&self.shared.packs, &key.to_string()));
    }

    fn find_in_packs(&self, digest: &Digest) -> Option<(Digest, reader::Slice)> {
        let loaded = self.shared.loaded.read().unwrap_or_else(PoisonError::into_inner);
        loaded.iter().rev().find_map(|pack| Some((pack.key, pack.find(digest)?)))
    }
}

impl Contents for Store {
    fn open(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send + '_>> {
        let Some((key, slice)) = self.find_in_packs(digest) else {
            return Ok(Box::new(self.open_object(digest)?));
        };
        let opened = slice.open(digest);
        if opened.as_ref().is_err_and(is_damage) {
            self.put_pack_aside(&key);
        }
        Ok(Box::new(FromPack { store: self, key, reader: opened? }))
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

fn open_root(root: &Path) -> Result<Folder, Error> {
    match fs_err::symlink_metadata(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)
            .map_err(Error::disk("create the directory", root))?,
        _ => {}
    }
    Folder::open(root)
}

fn is_writable(root: &Folder) -> Result<bool, Error> {
    let system = rustix::fs::fstatvfs(root).map_err(Error::disk("look at", root.path()))?;
    let access =
        rustix::fs::accessat(root, ".", rustix::fs::Access::WRITE_OK, rustix::fs::AtFlags::EACCESS);
    Ok(access.is_ok() && !system.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// Takes the rights of others away from an empty folder of our own.
fn make_private(root: &Folder) -> Result<(), Error> {
    match rustix::fs::fchmod(root, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::PERM) => Ok(()), // a foreign folder is refused in a moment
        Err(error) => Err(Error::disk("make private", root.path())(error)),
    }
}

/// Refuses a folder in which somebody else than this user and root may plant something.
fn check_owner(folder: &Folder) -> Result<(), Error> {
    let stat = folder.own_stat()?;
    let user = rustix::process::geteuid().as_raw();
    let path = folder.path().to_owned();
    if stat.st_uid != user && stat.st_uid != 0 {
        return Err(Error::ForeignCache { path, owner: stat.st_uid, user });
    }
    if stat.st_mode & 0o022 != 0 {
        return Err(Error::OpenCache { path, mode: stat.st_mode & 0o7777 });
    }
    Ok(())
}

/// Opens a directory of the cache, and makes it if there is none.
fn own_folder(parent: &Folder, name: &str) -> Result<Folder, Error> {
    let folder = match parent.create_folder(name, 0o700) {
        Err(error) if error.kind() == Some(io::ErrorKind::AlreadyExists) => parent.folder(name),
        answer => answer,
    }?;
    check_owner(&folder)?;
    Ok(folder)
}

/// Takes the shared lock that keeps everything in place while the store is open.
fn lease(root: &Folder, is_writable: bool) -> Result<File, Error> {
    let file = lock_file(root, is_writable)?;
    rustix::io::retry_on_intr(|| rustix::fs::flock(&file, FlockOperation::LockShared))
        .map_err(Error::disk("lock", root.path_of("lock")))?;
    Ok(file)
}

fn lock_file(root: &Folder, is_writable: bool) -> Result<File, Error> {
    if is_writable && root.stat("lock")?.is_none() {
        match root.create_file("lock", 0o600) {
            Err(error) if error.kind() == Some(io::ErrorKind::AlreadyExists) => {}
            answer => return answer,
        }
    }
    Ok(root.file("lock")?.0)
}

/// Reads which layout this is; writes it into a folder that holds nothing yet.
fn check_layout(root: &Folder, is_writable: bool) -> Result<(), Error> {
    if is_known_layout(root)? {
        return Ok(());
    }
    let is_ours = |name: &OsString| name == "lock" || name.as_bytes().starts_with(b"layout");
    let is_new = root.names()?.iter().all(is_ours);
    // Another build may have written the layout, and more, since we looked.
    if is_known_layout(root)? {
        return Ok(());
    }
    if !is_writable || !is_new {
        return Err(Error::Layout { path: root.path().into(), found: String::new() });
    }
    let folder = Arc::new(root.again()?);
    let temporary = Temporary::create(&folder, OsStr::new("layout-"), 0o600)?;
    let path = root.path_of("layout");
    temporary.file().write_all(LAYOUT.as_bytes()).map_err(Error::disk("write", path))?;
    drop(temporary.publish(root, OsStr::new("layout"))?);
    Ok(())
}

/// Whether the layout is written and is ours; an error when it is another.
fn is_known_layout(root: &Folder) -> Result<bool, Error> {
    let Some((file, _)) = root.file_if_there("layout")? else { return Ok(false) };
    let path = root.path_of("layout");
    let mut found = Vec::new();
    file.take(80).read_to_end(&mut found).map_err(Error::disk("read", &path))?;
    let found = String::from_utf8_lossy(&found).into_owned();
    if found == LAYOUT { Ok(true) } else { Err(Error::Layout { path, found }) }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "several builds means several processes")]
mod tests {
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use super::ordinary_user::as_ordinary_user;
    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        use std::os::unix::fs::PermissionsExt;
        fs_err::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    #[test]
    fn f9_a_link_planted_in_the_cache_is_refused() {
        for name in ["objects", "packs", "records", "temporary", "damaged", "lock", "layout"] {
            let root = tempfile::tempdir().unwrap();
            let elsewhere = tempfile::tempdir().unwrap();
            drop(Store::open(root.path()).unwrap());
            let path = root.path().join(name);
            let moved = elsewhere.path().join(name);
            fs_err::rename(&path, &moved).unwrap();
            std::os::unix::fs::symlink(&moved, &path).unwrap();
            let refused = Store::open(root.path()).unwrap_err();
            assert!(matches!(refused, Error::Planted { .. }), "{name}: {refused}");
            fs_err::remove_file(&path).unwrap();
            fs_err::rename(&moved, &path).unwrap();
            Store::open(root.path()).unwrap();
        }
    }

    #[test]
    fn f9_a_link_planted_as_an_object_is_not_read() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let digest = Digest::of(b"abc");
        let secret = root.path().join("secret");
        fs_err::write(&secret, "abc").unwrap();
        std::os::unix::fs::symlink(&secret, store.object_path(&digest)).unwrap();
        assert!(matches!(store.object(&digest).unwrap_err(), Error::Planted { .. }));
        store.insert(&b"abc"[..], None).unwrap();
        assert!(store.object(&digest).unwrap().is_some());
        assert!(!store.object_path(&digest).is_symlink());
    }

    #[test]
    fn f9_a_cache_into_which_others_may_write_is_refused() {
        let root = tempfile::tempdir().unwrap();
        drop(Store::open(root.path()).unwrap());
        for mode in [0o702, 0o720, 0o777] {
            set_mode(root.path(), mode);
            assert!(matches!(Store::open(root.path()).unwrap_err(), Error::OpenCache { .. }));
        }
        set_mode(root.path(), 0o755);
        drop(Store::open(root.path()).unwrap());
        set_mode(&root.path().join("records"), 0o777);
        assert!(matches!(Store::open(root.path()).unwrap_err(), Error::OpenCache { .. }));
    }

    #[test]
    fn f9_a_cache_of_another_user_is_refused_and_that_of_root_is_not() {
        if !rustix::process::geteuid().is_root() {
            return; // there is no other user to be
        }
        as_ordinary_user(|theirs| drop(Store::open(theirs).unwrap()));
        let root = tempfile::tempdir().unwrap();
        drop(Store::open(root.path()).unwrap());
        std::os::unix::fs::chown(root.path(), Some(4321), None).unwrap();
        assert!(matches!(Store::open(root.path()).unwrap_err(), Error::ForeignCache { .. }));
    }

    #[test]
    fn f9_a_cache_that_cannot_be_written_is_read() {
        as_ordinary_user(|root| {
            let store = Store::open(root).unwrap();
            let (digest, _) = store.insert(&b"abc"[..], None).unwrap();
            store.put_record("tree", &digest, b"text").unwrap();
            drop(store);
            set_mode(root, 0o500);
            let store = Store::open(root).unwrap();
            assert!(store.object(&digest).unwrap().is_some());
            assert_eq!(store.record("tree", &digest).unwrap().unwrap(), b"text");
            assert!(matches!(store.insert(&b""[..], None).unwrap_err(), Error::ReadOnly { .. }));
            set_mode(root, 0o700);
        });
    }

    #[test]
    fn a_folder_of_another_layout_is_refused_and_left_alone() {
        let root = tempfile::tempdir().unwrap();
        fs_err::write(root.path().join("thesis.tex"), "").unwrap();
        assert!(matches!(Store::open(root.path()).unwrap_err(), Error::Layout { .. }));
        fs_err::write(root.path().join("layout"), "osbuilder-store 99\n").unwrap();
        let refused = Store::open(root.path()).unwrap_err();
        assert!(matches!(refused, Error::Layout { found, .. } if found.contains("99")));
    }

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
        assert_eq!(store.check().unwrap().damaged, [std::path::PathBuf::new(); 0]);
        assert!(store.shared.temporary.names().unwrap().is_empty());
        drop(store);
        collect(&root, &everything).unwrap();
    }
}
