//! Trees of rpm packages against what dnf has made of the same packages once, path by path, and before a
//! real rpm.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::Path;

use osbuilder::store::directory;
use osbuilder::tree::{Inode, Kind};

use crate::judge;

/// Where dnf's own trees differ from ours, and why.
const EXPLAINED: [(&str, &str); 9] = [
    ("/dev/null", "rpm of the machine that ran dnf opened it, which made a file of it"),
    ("/etc/dnf", "dnf keeps the states of modules there"),
    (
        "/root/.rpmdb",
        "there that machine's rpm has its database; ours is where the guest's rpm looks",
    ),
    (
        "/var/cache/ldconfig/aux-cache",
        "it holds numbers and times of files on the disk of the moment",
    ),
    ("/var/lib/dnf", "dnf's own history"),
    ("/var/lib/rpm", "rpm's database, which rpm itself judges"),
    ("/var/log/dnf", "dnf's own log"),
    ("/var/log/hawkey.log", "dnf's own log"),
    ("/var/cache/dnf", "dnf's own cache"),
];

/// Compares a tree with a list that was made of dnf's, which has more than `least` paths. `explained`
/// are further paths that may differ.
pub(crate) fn compare(tree: &Path, (list, least): (&Path, usize), explained: &[&str]) {
    let (tree, _) = directory::read(tree, NonZeroUsize::MIN).unwrap();
    let path = |path: &[u8]| format!("/{}", String::from_utf8_lossy(path));
    let paths = tree.walk().map(|(at, _, inode)| (path(at.as_bytes()), one_line(inode)));
    let ours: BTreeMap<String, String> = paths.filter(|(path, _)| path != "/").collect();
    let text = fs_err::read_to_string(list).unwrap();
    let theirs: BTreeMap<String, String> = text.lines().map(of_oracle).collect();
    let may_differ = |path: &str| {
        EXPLAINED.iter().any(|(start, _)| path.starts_with(start)) || explained.contains(&path)
    };
    let paths: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let differing = paths.into_iter().filter(|path| ours.get(*path) != theirs.get(*path));
    let shown = |path: &String| (path.clone(), ours.get(path).cloned(), theirs.get(path).cloned());
    let unexplained: Vec<_> = differing.filter(|path| !may_differ(path)).map(shown).collect();
    assert!(unexplained.is_empty(), "{unexplained:#?}");
    assert!(theirs.len() > least, "{}", theirs.len());
}

/// rpm reads the tree's database, knows the packages of a list, which are those that dnf installed, and
/// finds nothing missing or changed but times beyond the build's, and paths that scripts have changed.
pub(crate) fn judged_by_rpm(tree: &Path, packages: &Path, changed: &[&str]) {
    if judge::is_missing(&["rpm"]) {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let rpm = |query: &str| {
        // It fails when it finds something, and plug-ins of its own that the host lacks do not matter.
        let script = format!(
            "HOME='{}' rpm --root '{}' --define '_dbpath /var/lib/rpm' {query} 2>/dev/null || true",
            home.path().display(),
            tree.display()
        );
        String::from_utf8(judge::run("sh", &["-c", &script])).unwrap()
    };
    let installed = rpm("-qa --qf '%{NAME}-%{EVR}.%{ARCH}\\n'");
    let installed: BTreeSet<&str> = installed.lines().collect();
    let expected = fs_err::read_to_string(packages).unwrap();
    // dnf has also put the keys of the packages into its database.
    let expected: BTreeSet<&str> =
        expected.lines().filter(|line| !line.starts_with("gpg-pubkey")).collect();
    assert_eq!(installed, expected);
    let verified = rpm("-Va --nomtime");
    let is_known = |line: &&str| changed.iter().any(|path| line.ends_with(path));
    let faults: Vec<&str> = verified.lines().filter(|line| !is_known(line)).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

/// What is compared of a path: kind, mode, owners, size, and content or target.
fn one_line(inode: &Inode) -> String {
    let meta = &inode.meta;
    let (kind, size, what) = match &inode.kind {
        Kind::Directory(_) => ("d", 0, String::new()),
        Kind::Regular(content) => ("f", content.size(), content.digest().to_string()),
        Kind::Symlink(target) => {
            let target = String::from_utf8(target.to_vec()).unwrap();
            return format!("l {}:{} {target}", meta.uid, meta.gid);
        }
        _ => ("s", 0, String::new()),
    };
    format!("{kind} {:o} {}:{} {size} {what}", meta.mode, meta.uid, meta.gid)
}

/// A line of a list that was made of dnf's tree.
fn of_oracle(line: &str) -> (String, String) {
    let fields: Vec<&str> = line.split('\t').collect();
    let [path, kind, mode, uid, gid, size, what] = fields[..] else { panic!("{line}") };
    let line = match kind {
        "l" => format!("l {uid}:{gid} {what}"),
        _ => format!("{kind} {mode} {uid}:{gid} {size} {what}"),
    };
    (path.to_owned(), line)
}
