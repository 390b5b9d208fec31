//! Directories on disk: a tree laid out in one, or read from one.
//!
//! Everything goes through descriptors and single names (`folder.rs`), so no symbolic link of a
//! package or of a racing process leads a write or a read out of the directory. New files are
//! created exclusively with private modes, get owner, attributes, mode and time by descriptor, and
//! stand in a directory of mode 0700 until all is there.
//!
//! What the disk cannot hold is kept beside the directory (`beside.rs`). Nothing here waits for
//! the disk: a rootfs directory is put in place by `OutputDirectory`, and a private one is read
//! back in the same run.

mod attributes;
mod beside;
mod give;
mod read;
mod write;

use std::num::NonZeroUsize;

pub(super) use beside::{is_beside, next_name, side_name};
pub use give::give;
pub use read::{DirectoryContents, read};
pub use write::write;

/// How a tree is laid out.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How many threads write files.
    pub threads: NonZeroUsize,
    /// What goes to the disk itself.
    pub holding: Holding,
}

/// What of a tree goes to the disk itself. The rest is kept beside the directory, and
/// [`read`] puts both together again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holding {
    /// Everything that the kernel lets us set: owners, device nodes, attributes. For root.
    All,
    /// No owners, no device nodes, no attributes but `user.*`, no set-id bits: those would give the
    /// rights of whoever builds to everybody. The owner may read every file and enter every
    /// directory. For ordinary users.
    Tame,
    /// As [`Holding::Tame`], but with set-id bits, so that scripts see and change the real ones.
    /// Only below a directory that nobody else can enter.
    TamePrivate,
}

impl Holding {
    /// [`Holding::All`] for root, [`Holding::Tame`] for everybody else.
    pub fn for_this_user() -> Self {
        if rustix::process::geteuid().is_root() { Self::All } else { Self::Tame }
    }

    /// The mode on the disk for a mode in the tree.
    const fn mode(self, mode: u16, is_directory: bool) -> u16 {
        let readable = mode | if is_directory { 0o700 } else { 0o400 };
        match self {
            Self::All => mode,
            Self::Tame => readable & !0o6000,
            Self::TamePrivate => readable,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::store::Error;
    use crate::store::ordinary_user::as_ordinary_user;
    use crate::tree::{Content, Device, Inode, Kind, Meta, NoContents, Tree, TreePath};

    const THREADS: NonZeroUsize = NonZeroUsize::new(3).unwrap();

    fn path(text: &str) -> TreePath {
        TreePath::parse(text).unwrap()
    }

    fn put(tree: &mut Tree, at: &str, mode: u16, (uid, gid): (u32, u32), kind: Kind) {
        let meta = Meta { mode, uid, gid, mtime: 1_000_000_000, xattrs: BTreeMap::new() };
        tree.insert(&path(at), Inode { meta, kind }).unwrap();
    }

    fn file(text: &str) -> Kind {
        Kind::Regular(Content::Inline(text.as_bytes().into()))
    }

    fn folder() -> Kind {
        Kind::Directory(BTreeMap::new())
    }

    /// Everything that a tree can hold and an ordinary user's disk can not.
    fn sample() -> Tree {
        let mut root = Meta::root(0o555);
        root.mtime = 900_000_000;
        let mut tree = Tree::new(root);
        put(&mut tree, "etc", 0o755, (0, 0), folder());
        put(&mut tree, "etc/shadow", 0o000, (0, 42), file("secret"));
        put(&mut tree, "etc/empty", 0o644, (0, 0), file(""));
        put(&mut tree, "closed", 0o000, (0, 0), folder());
        put(&mut tree, "closed/in", 0o2711, (7, 8), folder());
        put(&mut tree, "closed/in/su", 0o4755, (0, 0), file("#!"));
        put(&mut tree, "mail", 0o3777, (0, 8), folder());
        put(&mut tree, "null", 0o666, (0, 0), Kind::CharacterDevice(Device { major: 1, minor: 3 }));
        put(&mut tree, "loop", 0o660, (0, 6), Kind::BlockDevice(Device { major: 7, minor: 300 }));
        put(&mut tree, "pipe", 0o600, (5, 5), Kind::Fifo);
        put(&mut tree, "socket", 0o777, (5, 5), Kind::Socket);
        put(&mut tree, "link", 0o777, (3, 4), Kind::Symlink(b"../../etc/shadow".as_slice().into()));
        put(&mut tree, "a\x01\n\u{202e}b", 0o644, (0, 0), file("odd"));
        let ping = tree.lookup(&path("closed/in/su")).unwrap();
        let xattrs = &mut tree.inode_mut(ping).meta.xattrs;
        xattrs.insert(b"security.capability".to_vec(), capability());
        tree.link(&path("mail/su"), &path("closed/in/su")).unwrap();
        tree
    }

    /// `cap_net_raw=ep` as VFS_CAP_REVISION_2 (linux/capability.h).
    fn capability() -> Vec<u8> {
        let words = [0x0200_0001_u32, 1 << 13, 0, 0, 0];
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn lay_out(tree: &Tree, target: &Path, holding: Holding) -> Result<(), Error> {
        write(tree, &NoContents, target, Options { threads: THREADS, holding })
    }

    #[test]
    fn a_tree_laid_out_by_an_ordinary_user_is_read_back_the_same() {
        as_ordinary_user(|top| {
            for holding in [Holding::Tame, Holding::TamePrivate] {
                let target = top.join(format!("{holding:?}"));
                lay_out(&sample(), &target, holding).unwrap();
                let (back, contents) = read(&target, THREADS).unwrap();
                assert_eq!(back.to_listing(), sample().to_listing());
                assert_eq!(back.hard_links().len(), 1);
                let shadow = &back.get(&path("etc/shadow")).unwrap().kind;
                let Kind::Regular(content) = shadow else { panic!("{shadow:?}") };
                let mut text = String::new();
                content.open(&contents).unwrap().read_to_string(&mut text).unwrap();
                assert_eq!(text, "secret");
            }
        });
    }

    #[test]
    fn a_tree_laid_out_by_root_is_on_the_disk_itself() {
        if !rustix::process::geteuid().is_root() {
            return crate::testing::skip("chown(2) and mknod(2) need root");
        }
        let top = tempfile::tempdir().unwrap();
        let target = top.path().join("rootfs");
        lay_out(&sample(), &target, Holding::All).unwrap();
        fs_err::remove_file(top.path().join("rootfs.osbuilder-owners")).unwrap();
        let (back, _) = read(&target, THREADS).unwrap();
        assert_eq!(back.to_listing(), sample().to_listing());
    }

    #[test]
    fn s12_an_ordinary_user_gives_nobody_set_id_files() {
        use std::os::unix::fs::PermissionsExt;
        as_ordinary_user(|top| {
            let target = top.join("rootfs");
            lay_out(&sample(), &target, Holding::Tame).unwrap();
            let mode = fs_err::metadata(target.join("closed/in/su")).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o755);
        });
    }

    #[test]
    fn what_a_person_edits_by_hand_keeps_its_owner_and_the_rest_follows_the_disk() {
        as_ordinary_user(|top| {
            let target = top.join("rootfs");
            let mut tree = sample();
            put(&mut tree, "home", 0o755, (7, 7), folder());
            put(&mut tree, "home/gone", 0o644, (7, 7), file(""));
            put(&mut tree, "home/file", 0o644, (7, 7), file("old"));
            put(&mut tree, "home/other", 0o644, (7, 7), file(""));
            lay_out(&tree, &target, Holding::Tame).unwrap();
            fs_err::remove_file(target.join("home/gone")).unwrap();
            fs_err::write(target.join("home/file"), "new").unwrap();
            fs_err::remove_file(target.join("home/other")).unwrap();
            fs_err::create_dir(target.join("home/other")).unwrap();
            fs_err::write(target.join("home/added"), "").unwrap();
            fs_err::remove_file(target.join("mail/su")).unwrap();
            fs_err::write(target.join("closed/in/su"), "changed").unwrap();
            let (back, _) = read(&target, THREADS).unwrap();
            let owner =
                |at: &str| back.get(&path(at)).map(|inode| (inode.meta.uid, inode.meta.gid));
            assert_eq!(owner("home/gone"), None);
            assert_eq!(owner("home/file"), Some((7, 7)));
            assert_eq!(owner("home/other"), Some((0, 0)));
            assert_eq!(owner("home/added"), Some((0, 0)));
            assert_eq!(owner("null"), Some((0, 0)));
            let su = back.get(&path("closed/in/su")).unwrap();
            assert_eq!((su.meta.mode, su.meta.xattrs.len()), (0o4755, 0));
        });
    }

    #[test]
    fn a_directory_that_nobody_laid_out_belongs_to_root() {
        as_ordinary_user(|top| {
            fs_err::create_dir(top.join("rootfs")).unwrap();
            fs_err::write(top.join("rootfs/file"), "text").unwrap();
            let (tree, _) = read(&top.join("rootfs"), THREADS).unwrap();
            assert!(tree.walk().all(|(_, _, inode)| (inode.meta.uid, inode.meta.gid) == (0, 0)));
        });
    }

    #[test]
    fn c6_an_existing_target_or_a_link_in_its_place_is_refused() {
        let top = tempfile::tempdir().unwrap();
        fs_err::create_dir(top.path().join("outside")).unwrap();
        std::os::unix::fs::symlink("outside", top.path().join("rootfs")).unwrap();
        let refused = lay_out(&sample(), &top.path().join("rootfs"), Holding::Tame).unwrap_err();
        assert_eq!(refused.kind(), Some(std::io::ErrorKind::AlreadyExists));
        assert!(fs_err::read_dir(top.path().join("outside")).unwrap().next().is_none());
        lay_out(&sample(), &top.path().join("good"), Holding::Tame).unwrap();
    }

    #[test]
    fn c11_nothing_is_left_of_a_tree_whose_content_is_missing() {
        let top = tempfile::tempdir().unwrap();
        let mut tree = sample();
        let content = Content::Stored { digest: crate::digest::Digest::of(b"no"), size: 2 };
        put(&mut tree, "zzz", 0o644, (0, 0), Kind::Regular(content));
        let failed = lay_out(&tree, &top.path().join("rootfs"), Holding::Tame).unwrap_err();
        assert!(matches!(&failed, Error::Content { path, .. } if path.to_string() == "/zzz"));
        assert!(fs_err::read_dir(top.path()).unwrap().next().is_none());
    }

    #[test]
    fn s16_pipes_sockets_and_links_are_never_opened() {
        let top = tempfile::tempdir().unwrap();
        let canary = top.path().join("canary");
        fs_err::write(&canary, "host").unwrap();
        let mut tree = sample();
        let target = canary.as_os_str().as_encoded_bytes();
        put(&mut tree, "etc/os-release", 0o777, (0, 0), Kind::Symlink(target.into()));
        lay_out(&tree, &top.path().join("rootfs"), Holding::Tame).unwrap();
        let (back, _) = read(&top.path().join("rootfs"), THREADS).unwrap();
        assert_eq!(back.to_listing(), tree.to_listing());
        assert!(!back.to_listing().contains(&crate::digest::Digest::of(b"host").to_string()));
    }

    #[test]
    fn s16_a_directory_deeper_than_any_path_is_refused_and_a_deep_one_is_read() {
        let top = tempfile::tempdir().unwrap();
        for (depth, is_good) in [(300, true), (2_100, false)] {
            let target = top.path().join("rootfs");
            fs_err::create_dir(&target).unwrap();
            let mut here = super::super::folder::Folder::open(&target).unwrap();
            for _ in 0..depth {
                here = here.create_folder("d", 0o755).unwrap();
            }
            let answer = read(&target, THREADS);
            assert_eq!(answer.is_ok(), is_good, "{depth}");
            if let Err(error) = answer {
                assert!(matches!(error, Error::Path { .. }), "{error}");
            }
            let parent = super::super::folder::Folder::open(top.path()).unwrap();
            super::super::remove::remove(&parent, "rootfs".as_ref()).unwrap();
        }
    }

    #[test]
    fn s16_a_file_that_changes_after_it_was_read_does_not_end_well() {
        let top = tempfile::tempdir().unwrap();
        let target = top.path().join("rootfs");
        lay_out(&sample(), &target, Holding::Tame).unwrap();
        let (tree, contents) = read(&target, THREADS).unwrap();
        fs_err::write(target.join("closed/in/su"), "!#").unwrap();
        let su = &tree.get(&path("closed/in/su")).unwrap().kind;
        let Kind::Regular(content) = su else { panic!("{su:?}") };
        let read = content.open(&contents).and_then(|mut all| all.read_to_end(&mut Vec::new()));
        assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::InvalidData);
    }

    #[test]
    fn f19_a_process_that_masks_modes_lays_out_the_same() {
        as_ordinary_user(|top| {
            // The mask belongs to the process; the tests beside this one set modes explicitly.
            let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
            let written = lay_out(&sample(), &top.join("rootfs"), Holding::Tame);
            rustix::process::umask(before);
            written.unwrap();
            let (back, _) = read(&top.join("rootfs"), THREADS).unwrap();
            assert_eq!(back.to_listing(), sample().to_listing());
        });
    }
}
