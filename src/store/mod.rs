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

pub mod directory;
mod error;
mod folder;
mod object;
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
    rustix::fs::flock(&file, FlockOperation::LockShared)
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
