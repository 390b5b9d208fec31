//! Outputs: written aside in the folder where they will stand, and put there in one step.
//!
//! A crash, a full disk or a signal leaves the old output or none (rename(2), fsync(2)). The file
//! has no name until it is complete where the file system can do that, else a name beginning with
//! `.<name>.osbuilder-`; what a killed build left under such names the next one removes.
//!
//! What may be replaced: by a file a file, or a link to a file or to nothing; a directory by a
//! directory only if osbuilder or Kata's scripts have made it, which is known by the listing beside
//! it, or by Kata's summary in it (`var/lib/osbuilder/osbuilder.yaml`), or if it is empty. A
//! directory that holds the one the program runs in is never replaced, nor is a device, nor a link
//! to a directory or a device.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err::File;
use rustix::fs::{FileType, RenameFlags, Stat};
use rustix::io::Errno;

use super::Error;
use super::directory::{is_beside, next_name, side_name};
use super::folder::{Folder, parent_of};
use super::sparse::SparseReader;
use super::temporary::{Temporary, TemporaryFolder, reap, without_interruption};
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
        check_is_file(&folder, &name, path)?;
        let prefix = temporary_prefix(&name);
        reap(&folder, &prefix)?;
        let temporary = Temporary::create(&folder, &prefix, 0o644)?.shown_as(path);
        Ok(Self { temporary, folder, name })
    }

    /// The file, empty at first, open for reading and writing.
    pub const fn file(&self) -> &File {
        self.temporary.file()
    }

    /// Reads what was written, from its first byte, whatever else reads or writes beside.
    pub fn read(&self) -> SparseReader<'_> {
        SparseReader::new(self.file())
    }

    /// Waits until what was written is on the disk. Called early, and beside other work, it leaves
    /// little to wait for to [`Output::commit`].
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn sync(&self) -> Result<(), Error> {
        let path = self.folder.path_of(&self.name);
        self.temporary.file().sync_all().map_err(Error::disk("sync", path))
    }

    /// Waits until the file is on the disk and gives it its name, in place of what had it.
    ///
    /// # Errors
    /// [`Error::Disk`]; then nothing has changed, and nothing is left. Only when the very last
    /// step fails, syncing the folder, is the new file in place.
    pub fn commit(self) -> Result<(), Error> {
        self.sync()?;
        drop(self.temporary.publish(&self.folder, &self.name)?);
        self.folder.sync()
    }
}

/// Refuses what no file may replace. A link is replaced itself, and only where nothing or a file is
/// behind it; not where it leads to what a process has open (`/dev/stdout`), even if that is a file.
fn check_is_file(folder: &Folder, name: &OsStr, path: &Path) -> Result<(), Error> {
    let refuse = |reason| Err(Error::WillNotReplace { path: path.into(), reason });
    let kind = |stat: Option<Stat>| stat.map(|stat| FileType::from_raw_mode(stat.st_mode));
    match kind(folder.stat(name)?) {
        None | Some(FileType::RegularFile) => Ok(()),
        Some(FileType::Symlink) if folder.is_link_to_proc(name)? => {
            refuse("it is a link to what a process has open")
        }
        Some(FileType::Symlink) => match kind(folder.stat_followed(name)?) {
            None | Some(FileType::RegularFile) => Ok(()),
            Some(_) => refuse("it is a link to what is not a regular file"),
        },
        Some(_) => refuse("it is not a regular file"),
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
    /// The private directory beside the target in which all is built.
    work: TemporaryFolder,
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
        let work = TemporaryFolder::create_in(&parent, &prefix)?;
        Ok(Self { parent, name, work })
    }

    /// Where to lay the tree out, with [`super::directory::write`]: in a folder that nobody else
    /// can enter.
    pub fn path(&self) -> PathBuf {
        self.work.folder().path_of(ROOT)
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
        without_interruption(|| {
            self.work.folder().rename(&listing, &self.parent, next_name(&self.name))?;
            if let Err(error) = self.swap() {
                self.parent.unlink(next_name(&self.name))?;
                return Err(error);
            }
            self.parent.rename(next_name(&self.name), &self.parent, side_name(&self.name))
        })?;
        self.parent.sync()
        // Dropping the private directory removes it with the old content.
    }

    /// Waits until everything on the file system is on the disk: one call for thousands of files.
    fn sync(&self) -> Result<(), Error> {
        rustix::fs::syncfs(self.work.folder()).map_err(Error::disk("sync", self.work.path()))
    }

    /// Exchanges old and new in one step, or where the file system cannot, in two.
    fn swap(&self) -> Result<(), Error> {
        let failed = || Error::disk("put in place", self.parent.path_of(&self.name));
        let work = self.work.folder();
        let rename = |flags| rustix::fs::renameat_with(work, ROOT, &self.parent, &self.name, flags);
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
        let work = self.work.folder();
        match self.parent.rename(&self.name, work, REPLACED) {
            Err(error) if error.kind() == Some(io::ErrorKind::NotFound) => {}
            answer => answer?,
        }
        work.rename(ROOT, &self.parent, &self.name)
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

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a small disk needs a process of its own")]
mod tests {
    use std::io::Write;
    use std::num::NonZeroUsize;
    use std::process::Command;

    use super::*;
    use crate::store::directory::{self, Holding, Options};
    use crate::testing::skip;
    use crate::tree::{Content, Inode, Kind, Meta, NoContents, Tree};

    fn names(folder: &Path) -> Vec<OsString> {
        Folder::open(folder).unwrap().names().unwrap()
    }

    fn tree(text: &str) -> Tree {
        let kind = Kind::Regular(Content::Inline(text.as_bytes().into()));
        let mut tree = Tree::default();
        tree.insert(&TreePath::parse("file").unwrap(), Inode { meta: Meta::root(0o644), kind })
            .unwrap();
        tree
    }

    fn lay_out(output: &OutputDirectory, text: &str) {
        let options = Options { threads: NonZeroUsize::MIN, holding: Holding::Tame };
        directory::write(&tree(text), &NoContents, &output.path(), options).unwrap();
    }

    #[test]
    fn f1_an_output_is_the_old_one_until_it_is_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        for old in ["", "old"] {
            let output = Output::create(&path).unwrap();
            output.file().write_all(b"half").unwrap();
            drop(output);
            assert_eq!(fs_err::read(&path).unwrap_or_default(), old.as_bytes());
            let output = Output::create(&path).unwrap();
            output.file().write_all(b"old").unwrap();
            output.commit().unwrap();
            assert_eq!(fs_err::read(&path).unwrap(), b"old");
            assert_eq!(names(folder.path()), ["image"]);
        }
    }

    #[test]
    fn f1_what_a_killed_build_left_is_removed_by_the_next_and_what_a_living_one_has_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        let dead = ".image.osbuilder-0123456789abcdef";
        let not_ours = [".image.osbuilder-backup", ".other.osbuilder-0123456789abcdef"];
        fs_err::create_dir_all(folder.path().join(dead).join("root/etc")).unwrap();
        not_ours.iter().for_each(|name| fs_err::write(folder.path().join(name), "").unwrap());
        let living = OutputDirectory::create(&path).unwrap();
        Output::create(&path).unwrap();
        let living_name = living.work.path().file_name().unwrap();
        let mut expected: Vec<OsString> = not_ours.iter().map(OsString::from).collect();
        expected.push(living_name.to_owned());
        expected.sort();
        assert_eq!(names(folder.path()), expected);
    }

    #[test]
    fn only_files_are_replaced_by_files_and_links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        let refused = || matches!(Output::create(&path), Err(Error::WillNotReplace { .. }));
        fs_err::create_dir(&path).unwrap();
        assert!(refused());
        fs_err::remove_dir(&path).unwrap();
        let target = folder.path().join("target");
        fs_err::write(&target, "kept").unwrap();
        // The last two lead to nothing, too: in a circle, and through a file.
        for good in ["target", "nowhere", "image", "target/in"] {
            std::os::unix::fs::symlink(good, &path).unwrap();
            Output::create(&path).unwrap().commit().unwrap();
            assert_eq!(fs_err::read(&target).unwrap(), b"kept");
            assert!(!path.is_symlink() && !folder.path().join("nowhere").exists());
            fs_err::remove_file(&path).unwrap();
        }
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, 0o600.into(), 0).unwrap();
        let open = fs_err::File::open(&target).unwrap();
        let of_a_process = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&open));
        for bad in ["pipe", ".", "/dev/null", &of_a_process] {
            std::os::unix::fs::symlink(bad, &path).unwrap();
            assert!(refused() && path.is_symlink(), "{bad}");
            fs_err::remove_file(&path).unwrap();
        }
        for bad in ["/", "..", "/proc/self/fd/0/x"] {
            Output::create(Path::new(bad)).unwrap_err();
        }
        assert!(matches!(Output::create(&pipe).unwrap_err(), Error::WillNotReplace { .. }));
    }

    #[test]
    fn a_rootfs_replaces_a_rootfs_and_its_listing_in_one_step() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rootfs");
        for text in ["one", "two", "three"] {
            let output = OutputDirectory::create(&path).unwrap();
            lay_out(&output, text);
            output.commit().unwrap();
            assert_eq!(names(folder.path()), ["rootfs", "rootfs.osbuilder-owners"]);
            let (read, _) = directory::read(&path, NonZeroUsize::MIN).unwrap();
            assert_eq!(read.to_listing(), tree(text).to_listing());
        }
        drop(OutputDirectory::create(&path).unwrap());
        let abandoned = OutputDirectory::create(&path).unwrap();
        lay_out(&abandoned, "four");
        drop(abandoned);
        assert_eq!(names(folder.path()), ["rootfs", "rootfs.osbuilder-owners"]);
        assert_eq!(fs_err::read(path.join("file")).unwrap(), b"three");
    }

    #[test]
    fn f1_between_two_rootfs_directories_each_has_its_own_listing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rootfs");
        let listed = |name: &str| {
            let mut tree = tree("same");
            let root = tree.root();
            tree.inode_mut(root).meta.gid = u32::try_from(name.len()).unwrap();
            let options = Options { threads: NonZeroUsize::MIN, holding: Holding::Tame };
            directory::write(&tree, &NoContents, &folder.path().join(name), options).unwrap();
        };
        listed("rootfs");
        listed("newrootfs");
        let group = || {
            let (tree, _) = directory::read(&path, NonZeroUsize::MIN).unwrap();
            tree.inode(tree.root()).meta.gid
        };
        let next = folder.path().join("rootfs.osbuilder-owners.next");
        fs_err::rename(folder.path().join("newrootfs.osbuilder-owners"), next).unwrap();
        assert_eq!(group(), 6);
        fs_err::rename(&path, folder.path().join("old")).unwrap();
        fs_err::rename(folder.path().join("newrootfs"), &path).unwrap();
        assert_eq!(group(), 9);
    }

    #[test]
    fn a_folder_that_nobody_knows_to_be_a_rootfs_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("thesis");
        fs_err::create_dir(&path).unwrap();
        drop(OutputDirectory::create(&path).unwrap());
        let early = OutputDirectory::create(&path).unwrap();
        lay_out(&early, "early");
        fs_err::write(path.join("chapter"), "1").unwrap();
        assert!(matches!(early.commit().unwrap_err(), Error::WillNotReplace { .. }));
        let refused = |path: &Path| OutputDirectory::create(path).unwrap_err().to_string();
        assert!(refused(&path).contains("neither empty nor a rootfs"));
        assert_eq!(names(folder.path()), ["thesis"]);
        fs_err::create_dir_all(path.join(SUMMARY)).unwrap();
        fs_err::write(path.join(SUMMARY).join("osbuilder.yaml"), "").unwrap();
        drop(OutputDirectory::create(&path).unwrap());
        let here = std::env::current_dir().unwrap();
        assert!(refused(&here).contains("runs in"));
        std::os::unix::fs::symlink("thesis", folder.path().join("link")).unwrap();
        assert!(refused(&folder.path().join("link")).contains("not a directory"));
        assert!(refused(Path::new("/")).contains("does not end in a name"));
    }

    /// What a signal makes a program do; it would take the files of all tests beside this one.
    #[test]
    #[ignore = "a part of f18_an_interrupted_program_leaves_nothing"]
    fn f18_in_a_process_of_its_own() {
        if !Path::new("f18-alone").exists() {
            return;
        }
        let shared = Arc::new(Folder::open(Path::new(".")).unwrap());
        let rootfs = OutputDirectory::create(Path::new("rootfs")).unwrap();
        lay_out(&rootfs, "half");
        let file = Output::create(Path::new("image")).unwrap();
        let named = Temporary::create_named(&shared, OsStr::new("named-"), 0o600).unwrap();
        assert_eq!(names(Path::new(".")).len(), 3);
        // One that is just being removed, which takes its time.
        let large = crate::store::TemporaryFolder::create(Path::new("."), "large-").unwrap();
        let folders = (0..2000).map(|number| large.path().join(number.to_string()).join("in"));
        folders.for_each(|folder| fs_err::create_dir_all(folder).unwrap());
        std::thread::spawn(move || drop(large));
        std::thread::sleep(std::time::Duration::from_millis(5));
        crate::store::abandon_all();
        let left = names(Path::new("."));
        // Whatever goes on beside waits for the end of the program, also dropping these.
        std::mem::forget((rootfs, file, named));
        assert_eq!(left, ["f18-alone"]);
    }

    #[test]
    fn f18_an_interrupted_program_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join("f18-alone"), "").unwrap();
        let answer = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "store::output::tests::f18_in_a_process_of_its_own"])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&answer.stdout).into_owned();
        assert!(answer.status.success() && text.contains("1 passed"), "{text}");
    }

    /// Fills the small disk that the test below mounts. Run by hand it does nothing.
    #[test]
    #[ignore = "a part of f3_a_full_disk_leaves_the_old_output"]
    fn f3_on_a_small_disk() {
        if !Path::new("f3-small-disk").exists() {
            return;
        }
        let path = Path::new("image");
        let mut full = 0;
        for step in 1..=40_usize {
            let output = Output::create(path).unwrap();
            let bytes = vec![1; step << 16];
            let written = output.file().write_all(&bytes).map_err(|error| error.kind());
            match written {
                Ok(()) => output.commit().unwrap(),
                Err(kind) => {
                    assert_eq!(kind, io::ErrorKind::StorageFull);
                    full += 1;
                }
            }
            let length = fs_err::metadata(path).unwrap().len();
            assert_eq!(length % (1 << 16), 0);
            assert_eq!(names(Path::new(".")), ["f3-small-disk", "image"]);
        }
        assert!(full > 10);
    }

    #[test]
    fn f3_a_full_disk_leaves_the_old_output() {
        let folder = tempfile::tempdir().unwrap();
        let script = "mount -t tmpfs -o size=1m small \"$0\" && cd \"$0\" && : > f3-small-disk && exec \"$@\"";
        let answer = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
            .arg(folder.path())
            .arg(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "store::output::tests::f3_on_a_small_disk"])
            .output();
        let Ok(answer) = answer else { return skip("unshare is not there") };
        let text = String::from_utf8_lossy(&answer.stdout).into_owned();
        let problem = String::from_utf8_lossy(&answer.stderr).into_owned();
        if problem.contains("unshare failed") || problem.contains("mount:") {
            return skip(&problem);
        }
        assert!(text.contains("1 passed"), "{text}{problem}");
    }
}
