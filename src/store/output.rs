//! Outputs: written aside in the folder where they will stand, and put there in one step.
//!
//! A crash, a full disk or a signal leaves the old output or none (rename(2), fsync(2)). The file
//! has no name until it is complete where the file system can do that, else a name beginning with
//! `.<name>.osbuilder-`; what a killed build left under such names the next one removes.
//!
//! What may be replaced: a file by a file; a directory by a directory only if osbuilder or Kata's
//! scripts have made it, which is known by the listing beside it, or by Kata's summary in it
//! (`var/lib/osbuilder/osbuilder.yaml`), or if it is empty. A directory that holds the one the
//! program runs in is never replaced, nor is a link to a directory, nor a device.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err::File;
use rustix::fs::{FileType, FlockOperation, RenameFlags};
use rustix::io::Errno;

use super::Error;
use super::directory::{is_beside, next_name, side_name};
use super::folder::{Folder, parent_of};
use super::temporary::{Registration, Temporary, random_name, reap};
use crate::tree::TreePath;

/// Kata's summary, which stands in every rootfs that its scripts or we have provisioned.
const SUMMARY: &str = "var/lib/osbuilder";
/// The names inside the private directory in which a rootfs directory is built.
const ROOT: &str = "root";
const REPLACED: &str = "replaced";

/// A file on its way to its final name. Dropped without [`Output::commit`], nothing is left.
#[derive(Debug)]
pub struct Output {
    temporary: Temporary,
    folder: Arc<Folder>,
    name: OsString,
}

impl Output {
    /// Begins the file that will be at `path`, whose folder must exist.
    ///
    /// # Errors
    /// [`Error::WillNotReplace`] when something other than a file is there, [`Error::Disk`].
    pub fn create(path: &Path) -> Result<Self, Error> {
        let (folder, name) = parent_of(path)?;
        let folder = Arc::new(folder);
        let kind = folder.stat(&name)?.map(|stat| FileType::from_raw_mode(stat.st_mode));
        if !matches!(kind, None | Some(FileType::RegularFile | FileType::Symlink)) {
            let reason = "it is not a regular file";
            return Err(Error::WillNotReplace { path: path.into(), reason });
        }
        let prefix = temporary_prefix(&name);
        reap(&folder, &prefix)?;
        let temporary = Temporary::create(&folder, &prefix, 0o644)?;
        Ok(Self { temporary, folder, name })
    }

    /// The file, empty at first, open for reading and writing.
    pub const fn file(&self) -> &File {
        self.temporary.file()
    }

    /// Waits until the file is on the disk and gives it its name, in place of what had it.
    ///
    /// # Errors
    /// [`Error::Disk`]; then nothing has changed, and nothing is left. Only when the very last
    /// step fails, syncing the folder, is the new file in place.
    pub fn commit(self) -> Result<(), Error> {
        let path = self.folder.path_of(&self.name);
        self.temporary.file().sync_all().map_err(Error::disk("sync", path))?;
        drop(self.temporary.publish(&self.folder, &self.name)?);
        self.folder.sync()
    }
}

fn temporary_prefix(name: &OsStr) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(".osbuilder-");
    prefix
}

/// A rootfs directory on its way to its final name. Dropped without [`OutputDirectory::commit`],
/// nothing is left.
#[derive(Debug)]
pub struct OutputDirectory {
    parent: Arc<Folder>,
    name: OsString,
    /// Removes the private directory, while `work` still holds its lock.
    _registration: Registration,
    /// The private directory beside the target in which all is built.
    work: Folder,
}

impl OutputDirectory {
    /// Begins the directory that will be at `path`, whose folder must exist.
    ///
    /// # Errors
    /// [`Error::WillNotReplace`], [`Error::Disk`].
    pub fn create(path: &Path) -> Result<Self, Error> {
        let (parent, name) = parent_of(path)?;
        let parent = Arc::new(parent);
        check_replaceable(&parent, &name)?;
        let prefix = temporary_prefix(&name);
        reap(&parent, &prefix)?;
        let work_name = random_name(&prefix)?;
        let registration = Registration::new(&parent, &work_name);
        let work = parent.create_folder(&work_name, 0o700)?;
        rustix::fs::flock(&work, FlockOperation::NonBlockingLockExclusive)
            .map_err(Error::disk("lock", work.path()))?;
        Ok(Self { parent, name, _registration: registration, work })
    }

    /// Where to lay the tree out, with [`super::directory::write`]: in a folder that nobody else
    /// can enter.
    pub fn path(&self) -> PathBuf {
        self.work.path_of(ROOT)
    }

    /// Puts the directory and its listing in place, and removes what was there before.
    ///
    /// # Errors
    /// [`Error::WillNotReplace`], when meanwhile something else has come to be there;
    /// [`Error::Disk`].
    pub fn commit(self) -> Result<(), Error> {
        check_replaceable(&self.parent, &self.name)?;
        let listing = side_name(OsStr::new(ROOT));
        self.sync()?;
        self.work.rename(&listing, &self.parent, next_name(&self.name))?;
        if let Err(error) = self.swap() {
            self.parent.unlink(next_name(&self.name))?;
            return Err(error);
        }
        self.parent.rename(next_name(&self.name), &self.parent, side_name(&self.name))?;
        self.parent.sync()
        // Dropping the registration removes the private directory with the old content.
    }

    /// Waits until everything on the file system is on the disk: one call for thousands of files.
    fn sync(&self) -> Result<(), Error> {
        rustix::fs::syncfs(&self.work).map_err(Error::disk("sync", self.work.path()))
    }

    /// Exchanges old and new in one step, or where the file system cannot, in two.
    fn swap(&self) -> Result<(), Error> {
        let failed = || Error::disk("put in place", self.parent.path_of(&self.name));
        let rename =
            |flags| rustix::fs::renameat_with(&self.work, ROOT, &self.parent, &self.name, flags);
        match rename(RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => match rename(RenameFlags::EXCHANGE) {
                Err(Errno::INVAL | Errno::NOSYS) => self.swap_in_two_steps(),
                answer => answer.map_err(failed()),
            },
            Err(Errno::INVAL | Errno::NOSYS) => self.swap_in_two_steps(),
            answer => answer.map_err(failed()),
        }
    }

    fn swap_in_two_steps(&self) -> Result<(), Error> {
        match self.parent.rename(&self.name, &self.work, REPLACED) {
            Err(error) if error.kind() == Some(io::ErrorKind::NotFound) => {}
            answer => answer?,
        }
        self.work.rename(ROOT, &self.parent, &self.name)
    }
}

/// See the head of this file for the rule.
fn check_replaceable(parent: &Folder, name: &OsStr) -> Result<(), Error> {
    let refuse = |reason| Err(Error::WillNotReplace { path: parent.path_of(name), reason });
    let Some(stat) = parent.stat(name)? else { return Ok(()) };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return refuse("it is not a directory");
    }
    let folder = parent.folder(name)?;
    if is_above_here(&folder)? {
        return refuse("it holds the folder that the program runs in");
    }
    if folder.names()?.is_empty() || is_beside(parent, name) || holds_a_summary(&folder) {
        return Ok(());
    }
    refuse("it is neither empty nor a rootfs made by osbuilder; remove it, or choose another place")
}

/// Whether the current folder is `folder` or in it.
fn is_above_here(folder: &Folder) -> Result<bool, Error> {
    let wanted = folder.own_stat()?;
    let mut here = Folder::open(Path::new("."))?;
    loop {
        let stat = here.own_stat()?;
        if (stat.st_dev, stat.st_ino) == (wanted.st_dev, wanted.st_ino) {
            return Ok(true);
        }
        let above = here.folder("..")?;
        let next = above.own_stat()?;
        if (next.st_dev, next.st_ino) == (stat.st_dev, stat.st_ino) {
            return Ok(false);
        }
        here = above;
    }
}

fn holds_a_summary(folder: &Folder) -> bool {
    let path = TreePath::parse(SUMMARY).expect("a clean path");
    folder.descend(&path).and_then(|folder| folder.file("osbuilder.yaml")).is_ok()
}
