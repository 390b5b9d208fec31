//! `osbuilder` over repositories of rpm packages from the outside: the 129 packages of CBL-Mariner 2.0,
//! with metadata that a test signs, held against what dnf made of them and what rpm says of the result.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use osbuilder::store::directory;
use osbuilder::tree::{Inode, Kind};
use osbuilder_testkit::key::{BORN, Key, Signing};
use tempfile::TempDir;

use crate::judge;
use crate::program::osbuilder_in;

/// A place to build in, with a repository, keys and a recipe.
struct World {
    folder: TempDir,
}

/// What the program did.
#[derive(Debug)]
struct Outcome {
    status: Option<i32>,
    told: String,
}

impl World {
    /// The repository of Mariner's packages, its metadata signed by a key that `key.asc` has, as it has
    /// that of the packages.
    fn mariner(packages: &str) -> Option<Self> {
        let data = judge::data("rpm")?;
        let (folder, key) = (tempfile::tempdir().unwrap(), Key::default());
        let (from, to) = (data.join("mariner2-x86_64"), folder.path().join("repository"));
        fs_err::create_dir_all(to.join("repodata")).unwrap();
        for below in ["", "repodata"] {
            for entry in fs_err::read_dir(from.join(below)).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap();
                if path.is_file() {
                    fs_err::os::unix::fs::symlink(&path, to.join(below).join(name)).unwrap();
                }
            }
        }
        let world = Self { folder };
        let repomd = fs_err::read(world.path("repository/repodata/repomd.xml")).unwrap();
        world.write(
            "repository/repodata/repomd.xml.asc",
            &key.detached(&repomd, Signing::binary(BORN)),
        );
        world.write("metadata.asc", &key.armored_certificate());
        let packager = fs_err::read_to_string(data.join("keys/rpm-test.pub.asc")).unwrap();
        world.write("key.asc", &format!("{}{packager}", key.armored_certificate()));
        let recipe = format!(
            "distribution = \"azurelinux\"\nversion = \"2.0\"\narchitecture = \"x86_64\"\n\
             packages = {packages}\n\n[sources]\nmirrors = [\"file://{}\"]\n",
            world.path("repository").display()
        );
        world.write("recipe.toml", &recipe);
        Some(world)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs_err::write(self.path(name), text).unwrap();
    }

    fn build(&self, key: &str, further: &[&str]) -> Outcome {
        let fixed = ["rootfs", "--recipe", "recipe.toml", "--rootfs-only", "-o", "g", "--key", key];
        let output = osbuilder_in(self.folder.path(), &[&fixed[..], further].concat(), &[]);
        let told = [output.stdout, output.stderr].concat();
        Outcome { status: output.status.code(), told: String::from_utf8(told).unwrap() }
    }
}

const SMALL: &str = "[\"zlib\"]";

#[test]
fn m6_every_package_must_be_signed_by_a_key_that_may_vouch_for_it() {
    let Some(world) = World::mariner(SMALL) else { return };
    let refused = world.build("metadata.asc", &[]);
    assert_ne!(refused.status, Some(0), "{}", refused.told);
    assert!(refused.told.contains("nobody vouches for the package"), "{}", refused.told);
    assert!(!world.path("g").exists());
    let built = world.build("key.asc", &[]);
    assert_eq!(built.status, Some(0), "{}", built.told);
    fs_err::remove_dir_all(world.path("g")).unwrap();
    let warned = world.build("metadata.asc", &["--insecure"]);
    assert_eq!(warned.status, Some(0), "{}", warned.told);
    assert!(warned.told.contains("checks are switched off"), "{}", warned.told);
}

#[test]
fn m1_metadata_that_nobody_signed_is_refused() {
    let Some(world) = World::mariner(SMALL) else { return };
    let (signature, text) =
        ("repository/repodata/repomd.xml.asc", "repository/repodata/repomd.xml");
    let stranger =
        Key::default().detached(&fs_err::read(world.path(text)).unwrap(), Signing::binary(BORN));
    let good = fs_err::read_to_string(world.path(signature)).unwrap();
    for (bad, words) in [(None, "it is not signed"), (Some(stranger), "which is not trusted")] {
        match bad {
            None => fs_err::remove_file(world.path(signature)).unwrap(),
            Some(text) => world.write(signature, &text),
        }
        let refused = world.build("key.asc", &[]);
        assert_ne!(refused.status, Some(0), "{}", refused.told);
        assert!(refused.told.contains(words), "{}", refused.told);
    }
    world.write(signature, &good);
    assert_eq!(world.build("key.asc", &[]).status, Some(0));
}

/// Where dnf's own tree differs from ours, and why.
const EXPLAINED: [(&str, &str); 7] = [
    ("/dev/null", "rpm of the machine that ran dnf opened it, which made a file of it"),
    ("/etc/dnf", "dnf keeps the states of modules there"),
    (
        "/root/.rpmdb",
        "there that machine's rpm has its database; ours is where Mariner's rpm looks",
    ),
    ("/var/lib/dnf", "dnf's own history"),
    ("/var/lib/rpm", "rpm's database, which rpm itself judges"),
    ("/var/log/dnf", "dnf's own log"),
    ("/var/log/hawkey.log", "dnf's own log"),
];

#[test]
fn packages_become_what_dnf_made_of_them_and_rpm_finds_no_fault() {
    let all = "[\"core-packages-container\", \"e2fsprogs\"]";
    let (Some(world), Some(oracle)) = (World::mariner(all), judge::data("oracle")) else { return };
    let built = world.build("key.asc", &["--keep-database"]);
    assert_eq!(built.status, Some(0), "{}", built.told);
    assert!(!built.told.contains("did not run"), "{}", built.told);
    let (tree, _) = directory::read(&world.path("g"), NonZeroUsize::MIN).unwrap();
    let ours: BTreeMap<String, String> = tree
        .walk()
        .map(|(path, _, inode)| {
            (format!("/{}", String::from_utf8_lossy(path.as_bytes())), one_line(inode))
        })
        .filter(|(path, _)| path != "/")
        .collect();
    let text = fs_err::read_to_string(oracle.join("dnf-mariner2-x86_64.tsv")).unwrap();
    let theirs: BTreeMap<String, String> = text.lines().map(of_oracle).collect();
    let explained = |path: &str| EXPLAINED.iter().any(|(start, _)| path.starts_with(start));
    let paths: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let differing = paths.into_iter().filter(|path| ours.get(*path) != theirs.get(*path));
    let shown = |path: &String| (path.clone(), ours.get(path).cloned(), theirs.get(path).cloned());
    let unexplained: Vec<_> = differing.filter(|path| !explained(path)).map(shown).collect();
    assert!(unexplained.is_empty(), "{unexplained:#?}");
    assert!(theirs.len() > 7000, "{}", theirs.len());
    judged_by_rpm(&world, &oracle.join("dnf-mariner2-x86_64.pkgs"));
}

/// rpm reads our database, knows the packages that dnf installed, and finds nothing missing or changed
/// but times beyond the build's.
fn judged_by_rpm(world: &World, packages: &std::path::Path) {
    if judge::is_missing(&["rpm"]) {
        return;
    }
    let (root, home) = (world.path("g"), world.path("home"));
    let rpm = |query: &str| {
        // It fails when it finds something, and plug-ins of its own that the host lacks do not matter.
        let script = format!(
            "HOME='{}' rpm --root '{}' --define '_dbpath /var/lib/rpm' {query} 2>/dev/null || true",
            home.display(),
            root.display()
        );
        String::from_utf8(judge::run("sh", &["-c", &script])).unwrap()
    };
    let installed = rpm("-qa --qf '%{NAME}-%{EVR}.%{ARCH}\\n'");
    let mut installed: Vec<&str> = installed.lines().collect();
    installed.sort_unstable();
    let expected = fs_err::read_to_string(packages).unwrap();
    let mut expected: Vec<&str> = expected.lines().collect();
    expected.sort_unstable();
    assert_eq!(installed, expected);
    let verified = rpm("-Va --nomtime");
    let ghost = |line: &&str| !line.ends_with("/var/log/lastlog");
    let faults: Vec<&str> = verified.lines().filter(ghost).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn two_caches_give_the_same_database_and_the_same_lock() {
    let Some(world) = World::mariner(SMALL) else { return };
    assert_eq!(world.build("key.asc", &["--keep-database", "--cache", "a"]).status, Some(0));
    let digest = || fs_err::read(world.path("g/var/lib/rpm/rpmdb.sqlite")).unwrap();
    let (database, lock) = (digest(), fs_err::read(world.path("osbuilder.lock")).unwrap());
    fs_err::remove_dir_all(world.path("g")).unwrap();
    let again = world.build("key.asc", &["--keep-database", "--cache", "b", "--locked"]);
    assert_eq!(again.status, Some(0), "{}", again.told);
    assert_eq!(digest(), database);
    assert_eq!(fs_err::read(world.path("osbuilder.lock")).unwrap(), lock);
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

/// A line of the list that was made of dnf's tree.
fn of_oracle(line: &str) -> (String, String) {
    let fields: Vec<&str> = line.split('\t').collect();
    let [path, kind, mode, uid, gid, size, what] = fields[..] else { panic!("{line}") };
    let line = match kind {
        "l" => format!("l {uid}:{gid} {what}"),
        _ => format!("{kind} {mode} {uid}:{gid} {size} {what}"),
    };
    (path.to_owned(), line)
}
