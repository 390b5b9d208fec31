//! Opening the cache: what is looked at before anything in it is used.
//!
//! The folder must belong to this user or to root, nobody else may write into it, its parts must
//! be directories and files and not links, and its layout must be the one we know. Locks must
//! work: a file system without them is an error here, not a damaged cache later.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use fs_err::File;
use rustix::fs::{FlockOperation, Mode, StatVfsMountFlags};
use rustix::io::Errno;

use super::Error;
use super::folder::Folder;
use super::temporary::Temporary;

/// Which folders there are, and what names in them mean. Packs carry a version of their own.
const LAYOUT: &str = "osbuilder-store 1\n";

pub(super) fn open_root(root: &Path) -> Result<Folder, Error> {
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

pub(super) fn is_writable(root: &Folder) -> Result<bool, Error> {
    let system = rustix::fs::fstatvfs(root).map_err(Error::disk("look at", root.path()))?;
    let access =
        rustix::fs::accessat(root, ".", rustix::fs::Access::WRITE_OK, rustix::fs::AtFlags::EACCESS);
    Ok(access.is_ok() && !system.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// Takes the rights of others away from an empty folder of our own.
pub(super) fn make_private(root: &Folder) -> Result<(), Error> {
    match rustix::fs::fchmod(root, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::PERM) => Ok(()), // a foreign folder is refused in a moment
        Err(error) => Err(Error::disk("make private", root.path())(error)),
    }
}

/// Refuses a folder in which somebody else than this user and root may plant something.
pub(super) fn check_owner(folder: &Folder) -> Result<(), Error> {
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
pub(super) fn own_folder(parent: &Folder, name: &str) -> Result<Folder, Error> {
    let folder = match parent.create_folder(name, 0o700) {
        Err(error) if error.kind() == Some(io::ErrorKind::AlreadyExists) => parent.folder(name),
        answer => answer,
    }?;
    check_owner(&folder)?;
    Ok(folder)
}

/// Takes the shared lock that keeps everything in place while the store is open.
pub(super) fn lease(root: &Folder, is_writable: bool) -> Result<File, Error> {
    let file = lock_file(root, is_writable)?;
    rustix::io::retry_on_intr(|| rustix::fs::flock(&file, FlockOperation::LockShared))
        .map_err(Error::disk("lock", root.path_of("lock")))?;
    Ok(file)
}

pub(super) fn lock_file(root: &Folder, is_writable: bool) -> Result<File, Error> {
    if is_writable && root.stat("lock")?.is_none() {
        match root.create_file("lock", 0o600) {
            Err(error) if error.kind() == Some(io::ErrorKind::AlreadyExists) => {}
            answer => return answer,
        }
    }
    Ok(root.file("lock")?.0)
}

/// Reads which layout this is; writes it into a folder that holds nothing yet.
pub(super) fn check_layout(root: &Folder, is_writable: bool) -> Result<(), Error> {
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
pub(super) fn is_known_layout(root: &Folder) -> Result<bool, Error> {
    let Some((file, _)) = root.file_if_there("layout")? else { return Ok(false) };
    let path = root.path_of("layout");
    let mut found = Vec::new();
    file.take(80).read_to_end(&mut found).map_err(Error::disk("read", &path))?;
    let found = String::from_utf8_lossy(&found).into_owned();
    if found == LAYOUT { Ok(true) } else { Err(Error::Layout { path, found }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::store::Store;
    use crate::store::ordinary_user::as_ordinary_user;

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
            return crate::testing::skip("only root can give a folder to another user");
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
}
