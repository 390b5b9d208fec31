//! Files that do not exist yet: written aside, then put in place in one step.
//!
//! Where the file system can (`O_TMPFILE`, open(2)), such a file has no name at all until it is
//! published, so a killed build leaves nothing. Elsewhere it has a random name and its owner holds
//! an flock(2) on it: [`reap`] removes those whose owner is dead, and only those. Nothing here
//! waits for the disk; whoever needs that syncs the file before it is published.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fs_err::File;
use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::folder::Folder;
use super::{Error, remove};

/// A file on its way to its name. Dropped without being published, it is gone.
#[derive(Debug)]
pub(super) struct Temporary {
    file: File,
    /// Its name while it has one.
    name: Option<Registration>,
    folder: Arc<Folder>,
    prefix: OsString,
}

impl Temporary {
    /// Creates an empty file that will be published on the file system of `folder`. If it needs a
    /// name meanwhile, that is `prefix` and a random number in `folder`.
    pub(super) fn create(folder: &Arc<Folder>, prefix: &OsStr, mode: u32) -> Result<Self, Error> {
        if let Some(file) = unnamed(folder, mode)? {
            let (folder, prefix) = (Arc::clone(folder), prefix.to_owned());
            return Ok(Self { file, name: None, folder, prefix });
        }
        Self::create_named(folder, prefix, mode)
    }

    /// As [`Temporary::create`], with a name from the start.
    pub(super) fn create_named(
        folder: &Arc<Folder>,
        prefix: &OsStr,
        mode: u32,
    ) -> Result<Self, Error> {
        loop {
            let name = random_name(prefix)?;
            let make = || folder.create_file(&name, mode);
            let (registration, file) = Registration::create(folder, &name, make)?;
            if locked_and_still_there(&file, folder)? {
                let (folder, prefix) = (Arc::clone(folder), prefix.to_owned());
                return Ok(Self { file, name: Some(registration), folder, prefix });
            }
        }
    }

    /// Lets errors of the file name the path that it will have.
    pub(super) fn shown_as(mut self, path: &Path) -> Self {
        self.file = File::from_parts(self.file.into_file(), path);
        self
    }

    /// The file itself, open for reading and writing.
    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    /// Gives the file the name `name` in `target`, replacing what had it.
    pub(super) fn publish(mut self, target: &Folder, name: &OsStr) -> Result<File, Error> {
        if self.name.is_none() {
            match self.link(target, name) {
                Ok(()) => return self.finish(),
                Err(Errno::EXIST) => {}
                Err(error) => return Err(Error::disk("put in place", target.path_of(name))(error)),
            }
            let temporary = random_name(&self.prefix)?;
            let make = || {
                let path = self.folder.path_of(&temporary);
                self.link(&self.folder, &temporary).map_err(Error::disk("create", path))
            };
            let (registration, ()) = Registration::create(&self.folder, &temporary, make)?;
            self.name = Some(registration);
        }
        if let Some(registration) = &self.name {
            without_interruption(|| self.folder.rename(&registration.name, target, name))?;
            registration.forget();
        }
        self.finish()
    }

    /// Links a file without a name to one. `AT_EMPTY_PATH` would need a capability, so this goes
    /// through `/proc`, as open(2) advises.
    fn link(&self, target: &Folder, name: &OsStr) -> Result<(), Errno> {
        rustix::fs::linkat(CWD, magic_path(&self.file), target, name, AtFlags::SYMLINK_FOLLOW)
    }

    fn finish(self) -> Result<File, Error> {
        self.file.try_clone().map_err(Error::disk("open", self.folder.path()))
    }
}

/// A folder of this run alone, which only its user may enter. Dropped, it is gone with all in it.
#[derive(Debug)]
pub struct TemporaryFolder {
    registration: Registration,
    /// Holds the lock that says "my owner lives".
    folder: Folder,
}

impl TemporaryFolder {
    /// Makes a folder in `parent`, named `prefix` and a random number. What killed runs left there
    /// under such names is removed.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn create(parent: &Path, prefix: &str) -> Result<Self, Error> {
        let parent = Arc::new(Folder::open(parent)?);
        reap(&parent, OsStr::new(prefix))?;
        Self::create_in(&parent, OsStr::new(prefix))
    }

    pub(super) fn create_in(parent: &Arc<Folder>, prefix: &OsStr) -> Result<Self, Error> {
        loop {
            let name = random_name(prefix)?;
            let make = || parent.create_folder(&name, 0o700);
            let (registration, folder) = Registration::create(parent, &name, make)?;
            if locked_and_still_there(&folder, parent)? {
                return Ok(Self { registration, folder });
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(super) const fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Removes the folder now. What cannot be removed stays: there is nobody to tell.
    pub fn remove(&self) {
        self.registration.remove();
    }
}

impl AsFd for TemporaryFolder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }
}

/// The path under which the kernel shows an open file.
fn magic_path(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// Creates a file without a name, or `None` where that or naming it later is impossible.
fn unnamed(folder: &Folder, mode: u32) -> Result<Option<File>, Error> {
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    match rustix::fs::openat(folder, ".", flags, Mode::from_raw_mode(mode)) {
        Ok(fd) => {
            let file = File::from_parts(fd.into(), folder.path());
            let visible = rustix::fs::stat(magic_path(&file)).is_ok();
            // Not seen by anybody yet; but on its way to its name it may need another for a moment.
            let locked = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
            Ok((visible && locked).then_some(file))
        }
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL | Errno::NOSYS) => {
            Ok(None)
        }
        Err(error) => Err(Error::disk("create a file in", folder.path())(error)),
    }
}

/// Takes the lock that says "my owner lives", unless somebody reaped the file in between.
fn locked_and_still_there(file: &impl AsFd, folder: &Folder) -> Result<bool, Error> {
    let failed = || Error::disk("lock a file in", folder.path());
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Ok(false),
        answer => answer.map_err(failed())?,
    }
    Ok(rustix::fs::fstat(file).map_err(failed())?.st_nlink > 0)
}

/// Removes the temporary files and directories in `folder` whose name begins with `prefix` and
/// whose owner is dead. What belongs to somebody else is left alone.
pub(super) fn reap(folder: &Folder, prefix: &OsStr) -> Result<(), Error> {
    for name in folder.names()? {
        if is_temporary(&name, prefix) {
            let lock = lock_of_orphan(folder, &name)?;
            if lock.is_some() {
                remove::remove(folder, &name)?;
            }
        }
    }
    Ok(())
}

fn is_temporary(name: &OsStr, prefix: &OsStr) -> bool {
    let random = name.as_bytes().strip_prefix(prefix.as_bytes());
    random.is_some_and(|digits| digits.len() == 16 && digits.iter().all(u8::is_ascii_hexdigit))
}

/// Takes the lock of a file or directory, if we own it and nobody holds that.
fn lock_of_orphan(folder: &Folder, name: &OsStr) -> Result<Option<OwnedFd>, Error> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(fd) = rustix::fs::openat(folder, name, flags, Mode::empty()) else { return Ok(None) };
    let stat = rustix::fs::fstat(&fd).map_err(Error::disk("look at", folder.path_of(name)))?;
    let ours = stat.st_uid == rustix::process::geteuid().as_raw();
    let locked = ours && rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive).is_ok();
    Ok(locked.then_some(fd))
}

/// A name that nobody guesses: `prefix` and 16 hexadecimal digits.
pub(super) fn random_name(prefix: &OsStr) -> Result<OsString, Error> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(Error::disk("read random numbers for a name like", prefix))?;
    let mut name = prefix.to_owned();
    name.push(format!("{:016x}", u64::from_ne_bytes(bytes)));
    Ok(name)
}

/// What has a temporary name in this process, for [`abandon_all`]. Nothing gets such a name, and
/// nothing is put in place, but by whoever holds the lock: so an end of the program comes before
/// or after that, never in between.
static REGISTERED: Mutex<BTreeMap<u64, (Arc<Folder>, OsString)>> = Mutex::new(BTreeMap::new());
static NEXT: AtomicU64 = AtomicU64::new(0);

type Registered = MutexGuard<'static, BTreeMap<u64, (Arc<Folder>, OsString)>>;

fn registered() -> Registered {
    REGISTERED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The note that something with this name is to be removed unless it is put in place.
/// Dropping it removes the thing.
#[derive(Debug)]
pub(super) struct Registration {
    number: u64,
    pub(super) name: OsString,
}

impl Registration {
    /// Makes a thing in `folder` and notes its name.
    pub(super) fn create<T>(
        folder: &Arc<Folder>,
        name: &OsStr,
        make: impl FnOnce() -> Result<T, Error>,
    ) -> Result<(Self, T), Error> {
        let mut all = registered();
        // The name is nobody else's, so what is there after a failure is a half-made thing of ours.
        let made = make().inspect_err(|_| drop(remove::remove(folder, name)))?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        all.insert(number, (Arc::clone(folder), name.to_owned()));
        Ok((Self { number, name: name.to_owned() }, made))
    }

    /// The thing has got its final name.
    pub(super) fn forget(&self) {
        drop(self.take());
    }

    /// Removes the thing now. It stays noted until it is gone, so that an end of the program meanwhile
    /// does not leave half of it.
    pub(super) fn remove(&self) {
        let noted = registered().get(&self.number).cloned();
        if let Some((folder, name)) = noted {
            // Nobody is left to tell; the next run removes what could not be removed now.
            drop(remove::remove(&folder, &name));
            self.forget();
        }
    }

    fn take(&self) -> Option<(Arc<Folder>, OsString)> {
        registered().remove(&self.number)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Takes several steps that [`abandon_all`] finds all done or not begun. Nothing temporary may be
/// made or dropped meanwhile.
pub(super) fn without_interruption<T>(steps: impl FnOnce() -> T) -> T {
    let _all = registered();
    steps()
}

/// Removes every unfinished output and temporary file of this process, for a program that is
/// about to end because it was told to. To be called from a thread, not from a signal handler.
///
/// A thread that then wants to make something temporary, or to put something in place, waits for
/// the end of the program.
pub fn abandon_all() {
    let mut all = registered();
    for (folder, name) in std::mem::take(&mut *all).into_values() {
        remove_for_good(&folder, &name);
    }
    std::mem::forget(all);
}

/// How often the removal of a folder is begun anew, and the pause before that.
const ATTEMPTS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(5);

/// Removes something that another thread may be removing, too: each then meets names that are gone,
/// and begins anew. What the disk refuses it would refuse again.
fn remove_for_good(folder: &Folder, name: &OsStr) {
    for _ in 0..ATTEMPTS {
        match remove::remove(folder, name) {
            Err(error) if is_of_two_removals(&error) => std::thread::sleep(PAUSE),
            _ => return,
        }
    }
}

/// Whether a removal may have failed for another one at the same time.
fn is_of_two_removals(error: &Error) -> bool {
    use io::ErrorKind::{DirectoryNotEmpty, NotADirectory, NotFound};
    matches!(error.kind(), Some(NotFound | NotADirectory | DirectoryNotEmpty))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn f2_only_files_whose_owner_is_dead_are_reaped() {
        let top = tempfile::tempdir().unwrap();
        let folder = Arc::new(Folder::open(top.path()).unwrap());
        let prefix = OsStr::new("pack-");
        fs_err::write(top.path().join("pack-0123456789abcdef"), "left by a killed build").unwrap();
        let living = Temporary::create_named(&folder, prefix, 0o600).unwrap();
        reap(&folder, prefix).unwrap();
        let name = living.name.as_ref().unwrap().name.clone();
        assert_eq!(folder.names().unwrap(), [name]);
        drop(living);
        assert!(folder.names().unwrap().is_empty());
    }

    #[test]
    fn f2_a_temporary_folder_goes_with_its_owner_and_the_dead_ones_go_first() {
        let top = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(top.path().join("boot-0123456789abcdef/in")).unwrap();
        let one = TemporaryFolder::create(top.path(), "boot-").unwrap();
        let two = TemporaryFolder::create(top.path(), "boot-").unwrap();
        fs_err::write(one.path().join("file"), "").unwrap();
        let count = || fs_err::read_dir(top.path()).unwrap().count();
        assert_eq!(count(), 2);
        drop(one);
        assert_eq!(count(), 1);
        two.remove();
        assert_eq!(count(), 0);
    }

    #[test]
    fn only_what_two_removals_do_to_each_other_is_tried_again() {
        let is_again = |errno: Errno| is_of_two_removals(&Error::disk("remove", "x")(errno));
        for errno in [Errno::NOENT, Errno::NOTDIR, Errno::NOTEMPTY] {
            assert!(is_again(errno), "{errno}");
        }
        for errno in [Errno::ACCESS, Errno::ROFS, Errno::IO, Errno::PERM] {
            assert!(!is_again(errno), "{errno}");
        }
    }

    #[test]
    fn with_and_without_a_name_files_are_published_over_old_ones() {
        let top = tempfile::tempdir().unwrap();
        let folder = Arc::new(Folder::open(top.path()).unwrap());
        let prefix = OsStr::new("pack-");
        for create in [Temporary::create, Temporary::create_named] {
            for text in ["one", "two"] {
                let temporary = create(&folder, prefix, 0o600).unwrap();
                temporary.file().write_all(text.as_bytes()).unwrap();
                drop(temporary.publish(&folder, OsStr::new("final")).unwrap());
                assert_eq!(folder.names().unwrap(), ["final"]);
                assert_eq!(fs_err::read(top.path().join("final")).unwrap(), text.as_bytes());
            }
        }
    }
}
