//! The genuine packages of an installation medium, held against what apk itself made of them, and
//! scripts that run in the tree made of them.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use osbuilder::store::directory;
use osbuilder_testkit::alpine::{Algorithm, Entry, Key, Package, repository};
use osbuilder_testkit::repository::write;

use super::{World, one_line};
use crate::judge;

/// A folder with the genuine packages, and a recipe for some of them and some of `own`.
fn genuine(own: &[Package], asked: &str) -> Option<World> {
    let medium = judge::data("alpine/genuine-3.19.1")?;
    let world = World::new(&[]);
    let files = repository("own", own, &Key::trusted(), Algorithm::Sha1);
    write(&files, world.folder.path());
    let (medium, folder) = (medium.display(), world.folder.path().display());
    let recipe = format!(
        "distribution = \"alpine\"\nversion = \"3.19\"\narchitecture = \"x86_64\"\n\
         packages = {asked}\nguest.keep-database = true\n[sources]\nmirrors = [\"file://{medium}\"]\n\
         repositories = [\"[signed-by={folder}/test-1.rsa.pub] file://{folder}/own\"]\n"
    );
    fs_err::write(world.path("recipe.toml"), recipe).unwrap();
    Some(world)
}

#[test]
fn scripts_run_in_apk_s_order_with_apk_s_arguments_and_users_that_they_make_own_files() {
    let note = |what: &str| format!("#!/bin/sh\necho \"{what} $*\" >> /etc/order\n");
    let first = Package::new("first", "1-r0")
        .fields("depend = busybox\n")
        .script(".pre-install", &note("first pre"))
        .script(".post-install", &note("first post"));
    let second = Package::new("second", "2-r0")
        .fields("depend = first\ntriggers = /usr/share/*\n")
        .script(".pre-install", &format!("{}addgroup -S svc\nadduser -S -G svc svc\n", note("pre")))
        .script(".post-install", &format!("{}[ -f /usr/share/second/2-r0 ]\n", note("second post")))
        .script(".trigger", &note("trigger"))
        .with(Entry::file("usr/share/second/own", 0o640, b"x").owned_by("svc", "svc"));
    let Some(world) = genuine(&[first, second], "[\"alpine-baselayout\", \"second\"]") else {
        return;
    };
    let built = world.run(&["rootfs", "--recipe", "recipe.toml", "--rootfs-only", "-o", "g"], &[]);
    assert_eq!(built.status, Some(0), "{}", built.told);
    let told = world.text("g/etc/order");
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[..4], ["first pre 1-r0", "first post 1-r0", "pre 2-r0", "second post 2-r0"]);
    let watched: BTreeSet<&str> = lines[4].split(' ').skip(1).collect();
    assert!(lines[4].starts_with("trigger /"), "{told}");
    assert!(watched.contains("/usr/share/first") && watched.contains("/usr/share/second"));
    assert!(!watched.contains("/usr/share"), "{told}");
    assert_eq!(lines.len(), 5, "{told}");
    let (tree, _) = directory::read(&world.path("g"), NonZeroUsize::MIN).unwrap();
    let own = tree.get(&"usr/share/second/own".parse().unwrap()).unwrap();
    assert!(own.meta.uid >= 100 && own.meta.gid >= 100, "{own:?}");
    let line = format!("R:own\na:{}:{}:640\n", own.meta.uid, own.meta.gid);
    assert!(world.text("g/lib/apk/db/installed").contains(&line));
    for link in ["bin/ls", "sbin/init"] {
        let target = fs_err::read_link(world.path("g").join(link)).unwrap();
        assert_eq!(target.to_str(), Some("/bin/busybox"), "{link}");
    }
}

#[test]
fn r8_a_medium_of_another_release_is_refused_and_has_no_branches() {
    let Some(world) = genuine(&[], "[\"alpine-base\"]") else { return };
    for (further, reason) in [
        (&["--version", "3.20"][..], "it is the index of v3.19"),
        (&["--suite", "edge"], "the mirror is a medium, which has no branches"),
        (&["--key", "none.rsa.pub"], "cannot read a key file"),
    ] {
        let fixed = ["rootfs", "--recipe", "recipe.toml", "--rootfs-only", "-o", "g"];
        let refused = world.run(&[&fixed[..], further].concat(), &[]);
        assert!(refused.told.contains(reason), "{further:?}: {}", refused.told);
        assert!(!world.path("g").exists(), "{further:?}");
    }
}

#[test]
fn a_script_that_fails_ends_the_build_and_is_named() {
    let bad = Package::new("bad", "1-r0")
        .fields("depend = busybox\n")
        .script(".post-install", "#!/bin/sh\necho no luck >&2\nexit 3\n");
    let Some(world) = genuine(&[bad], "[\"alpine-baselayout\", \"bad\"]") else { return };
    let built = world.run(&["rootfs", "--recipe", "recipe.toml", "--rootfs-only", "-o", "g"], &[]);
    assert_ne!(built.status, Some(0), "{}", built.told);
    assert!(built.told.contains("post-install script of bad"), "{}", built.told);
    assert!(built.told.contains("no luck") && !world.path("g").exists(), "{}", built.told);
}

/// Where apk's own tree of the genuine packages differs from ours, and why.
const EXPLAINED: [(&str, &str); 4] = [
    ("/etc/apk/keys/", "whoever ran apk put the keys of other processors there beforehand"),
    ("/etc/apk/repositories", "whoever ran apk left none; ours names the branch"),
    ("/etc/shadow", "it holds the day on which passwords were set; ours is that of the epoch"),
    ("/lib/apk/db/installed", "apk 2.14 tells of a package without files behind the next one"),
];

#[test]
fn genuine_packages_become_what_apk_made_of_them() {
    let asked = "[\"alpine-base\", \"chrony\", \"e2fsprogs\", \"libseccomp\", \"openssh\"]";
    let Some(world) = genuine(&[], asked) else { return };
    let Some(oracle) = judge::data("oracle") else { return };
    let built = world.run(&["rootfs", "--recipe", "recipe.toml", "--rootfs-only", "-o", "g"], &[]);
    assert_eq!(built.status, Some(0), "{}", built.told);
    let (tree, _) = directory::read(&world.path("g"), NonZeroUsize::MIN).unwrap();
    let ours: BTreeMap<String, String> = tree
        .walk()
        .map(|(path, _, inode)| (path.to_string(), one_line(inode)))
        .filter(|(path, _)| path != "/")
        .collect();
    let text = fs_err::read_to_string(oracle.join("apk-3.19.1-x86_64.tsv")).unwrap();
    let theirs: BTreeMap<String, String> = text.lines().map(of_oracle).collect();
    let paths: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let differing: Vec<&String> =
        paths.into_iter().filter(|path| ours.get(*path) != theirs.get(*path)).collect();
    let explained = |path: &str| EXPLAINED.iter().any(|(start, _)| path.starts_with(start));
    let unexplained: Vec<_> = differing.iter().filter(|path| !explained(path)).collect();
    let shown = |path: &String| (path.clone(), ours.get(path).cloned(), theirs.get(path).cloned());
    let unexplained: Vec<_> = unexplained.into_iter().map(|path| shown(path)).collect();
    assert!(unexplained.is_empty(), "{unexplained:#?}");
    assert!(theirs.len() > 900, "{}", theirs.len());
    // Each explanation is still needed.
    for (start, _) in EXPLAINED {
        assert!(differing.iter().any(|path| path.starts_with(start)), "{start}");
    }
}

/// A line of the list that was made of apk's tree.
fn of_oracle(line: &str) -> (String, String) {
    let fields: Vec<&str> = line.split('\t').collect();
    let [path, kind, mode, uid, gid, size, what] = fields[..] else { panic!("{line}") };
    let line = match kind {
        "l" => format!("l {uid}:{gid} {what}"),
        _ => format!("{kind} {mode} {uid}:{gid} {size} {what}"),
    };
    (path.to_owned(), line)
}
