//! What the kernel shows of an image that it has mounted, against the tree that the image was made of.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use osbuilder::digest::Digest;
use osbuilder::tree::{Inode, Kind, Meta, Tree, TreePath};

use crate::judge;

/// The listing of what the kernel shows below `root`, in the form of a tree's listing.
fn listing_by_kernel(tree: &Tree, root: &Path) -> Vec<String> {
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
    let mut lines = Vec::new();
    for (path, ..) in tree.walk() {
        let place = root.join(Path::new(std::ffi::OsStr::from_bytes(path.as_bytes())));
        let found = fs_err::symlink_metadata(&place).unwrap();
        let kind = found.file_type();
        let device = |rdev| format!("{}:{}", rustix::fs::major(rdev), rustix::fs::minor(rdev));
        let detail = if kind.is_file() {
            let bytes = fs_err::read(&place).unwrap();
            format!("f {} {}", bytes.len(), Digest::of(&bytes))
        } else if kind.is_symlink() {
            let target = fs_err::read_link(&place).unwrap();
            format!("l {}", osbuilder::tree::escape(target.as_os_str().as_bytes()))
        } else if kind.is_dir() {
            "d".to_owned()
        } else if kind.is_char_device() {
            format!("c {}", device(found.rdev()))
        } else if kind.is_block_device() {
            format!("b {}", device(found.rdev()))
        } else {
            if kind.is_fifo() { "p".to_owned() } else { "s".to_owned() }
        };
        let MetadataInfo { mode, uid, gid, mtime, links } = (&found).into();
        let links = if kind.is_dir() { 0 } else { links };
        let attributes = attributes_by_kernel(&place);
        lines.push(format!("{path} {mode:o} {uid} {gid} {mtime} {links} {detail} {attributes:?}"));
    }
    lines
}

struct MetadataInfo {
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: i64,
    links: u64,
}

impl From<&std::fs::Metadata> for MetadataInfo {
    fn from(found: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        Self {
            mode: found.mode() & 0o7777,
            uid: found.uid(),
            gid: found.gid(),
            mtime: found.mtime(),
            links: found.nlink(),
        }
    }
}

fn attributes_by_kernel(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 65_536];
    let length = rustix::fs::llistxattr(path, &mut names).unwrap();
    let mut found = BTreeMap::new();
    // xfs shows lists of access to root a second time, as it keeps them.
    let is_own = |name: &&[u8]| !name.is_empty() && !name.starts_with(b"trusted.SGI_ACL_");
    for name in names[..length].split(|byte| *byte == 0).filter(is_own) {
        let mut value = vec![0; 65_536];
        let length = rustix::fs::lgetxattr(path, name, &mut value).unwrap();
        found.insert(name.to_vec(), value[..length].to_vec());
    }
    found
}

/// The same listing, from the tree itself.
fn listing_by_tree(tree: &Tree) -> Vec<String> {
    let names = tree.hard_links();
    let line = |(path, id, inode): (TreePath, _, &Inode)| {
        let Meta { mode, uid, gid, mtime, xattrs } = &inode.meta;
        let detail = match &inode.kind {
            Kind::Directory(_) => "d".to_owned(),
            Kind::Regular(content) => format!("f {} {}", content.size(), content.digest()),
            Kind::Symlink(target) => format!("l {}", osbuilder::tree::escape(target)),
            Kind::CharacterDevice(device) => format!("c {}:{}", device.major, device.minor),
            Kind::BlockDevice(device) => format!("b {}:{}", device.major, device.minor),
            Kind::Fifo => "p".to_owned(),
            Kind::Socket => "s".to_owned(),
        };
        let is_directory = matches!(inode.kind, Kind::Directory(_));
        let links = if is_directory { 0 } else { names.get(&id).copied().unwrap_or(1) };
        format!("{path} {mode:o} {uid} {gid} {mtime} {links} {detail} {xattrs:?}")
    };
    tree.walk().map(line).collect()
}

/// What tells a test that it runs inside: where the image is mounted, and which case it is.
const MOUNTED: &str = "OSBUILDER_TEST_MOUNTED";
const CASE: &str = "OSBUILDER_TEST_CASE";

#[expect(clippy::disallowed_methods, reason = "CI says what may be skipped, a test runs itself")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Where the image is mounted, and which case this is, when the test runs inside.
pub(crate) fn inside() -> Option<(PathBuf, String)> {
    Some((PathBuf::from(variable(MOUNTED)?), variable(CASE)?))
}

/// A file system in a file, and the test that looks into it.
pub(crate) struct Mount<'a> {
    pub(crate) image: &'a Path,
    /// Where it begins, in bytes.
    pub(crate) at: u64,
    /// What the kernel calls it.
    pub(crate) kind: &'a str,
    /// The full name of the test to run inside.
    pub(crate) test: &'a str,
    pub(crate) case: &'a str,
}

/// Runs a test once more in a mount namespace of its own, where an image is mounted: whatever
/// happens to it, no mount is left behind. A kernel that cannot be asked is a visible skip; in CI,
/// as root and with loop devices, it is an error.
pub(crate) fn run_inside(mount: &Mount<'_>) {
    let script = r#"mount -o "$1" -t "$2" "$3" "$4" || exit 77
        exec "$5" --exact "$6" --nocapture"#;
    let more = match mount.kind {
        // As Kata's collector of data mounts it.
        "ext4" => ",noload",
        // Images of the same tree have the same UUID, and xfs mounts no UUID twice.
        "xfs" => ",nouuid",
        _ => "",
    };
    let options = format!("loop,ro,offset={}{more}", mount.at);
    let this = std::env::current_exe().unwrap();
    let target = tempfile::tempdir().unwrap();
    #[expect(clippy::disallowed_methods, reason = "the judges are programs")]
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"])
        .args([&options, mount.kind])
        .args([mount.image, target.path(), &this])
        .arg(mount.test)
        .env(MOUNTED, target.path())
        .env(CASE, mount.case)
        .output()
        .unwrap();
    let reason = String::from_utf8_lossy(&output.stderr).into_owned();
    let able = rustix::process::geteuid().is_root() && Path::new("/dev/loop-control").exists();
    if output.status.success() {
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("1 passed"), "{text}");
    } else if able && (variable("CI").is_some() || output.status.code() != Some(77)) {
        panic!("{reason}");
    } else {
        judge::skip(&format!("the kernel does not mount {}: {reason}", mount.kind));
    }
}

/// Compares what is mounted with what the tree says.
pub(crate) fn compare(tree: &Tree, target: &Path) {
    let (wanted, found) = (listing_by_tree(tree), listing_by_kernel(tree, target));
    for (found, wanted) in found.iter().zip(&wanted) {
        assert_eq!(found, wanted);
    }
    let names: Vec<String> = tree.walk().map(|(path, ..)| path.to_string()).collect();
    let strangers = below(target, target).into_iter().filter(|name| !names.contains(name));
    // An ext4 has one that is not the tree's.
    let strangers: Vec<String> = strangers.filter(|name| name != "/lost+found").collect();
    assert!(strangers.is_empty(), "{strangers:?}");
}

/// The names of all that lies in a folder, as a tree would have them.
fn below(folder: &Path, root: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs_err::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.path().strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
        names.push(TreePath::parse(name).unwrap().to_string());
        if entry.file_type().unwrap().is_dir() {
            names.extend(below(&entry.path(), root));
        }
    }
    names
}
