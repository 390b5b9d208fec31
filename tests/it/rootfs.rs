//! `osbuilder rootfs` over archives of tiny packages, made and signed by the test, from the outside.

use std::path::PathBuf;

use osbuilder_testkit::key::Key;
use osbuilder_testkit::repository::{Package, Repository, write};
use tempfile::TempDir;

use crate::program::osbuilder_in;

/// When the archives were made.
pub(crate) const MADE: u32 = 1_700_000_000;

/// An archive, whoever signs it, and a place to build in.
pub(crate) struct World {
    folder: TempDir,
}

/// What the program did.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: Option<i32>,
    pub(crate) told: String,
}

impl World {
    pub(crate) fn new(suites: &[Repository]) -> Self {
        let (folder, key) = (tempfile::tempdir().unwrap(), Key::default());
        for suite in suites {
            write(&suite.files(&key), &folder.path().join("archive"));
        }
        fs_err::write(folder.path().join("key.asc"), key.armored_certificate()).unwrap();
        fs_err::write(folder.path().join("agent"), "a program").unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        fs_err::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Builds from the archive, and from nothing else.
    pub(crate) fn run(
        &self,
        verb: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Outcome {
        let mirror = format!("file://{}", self.path("archive").display());
        let fixed = ["--mirror", &mirror, "--key", "key.asc", "--arch", "x86_64"];
        let all = [&[verb], &fixed[..], arguments].concat();
        let output = osbuilder_in(self.folder.path(), &all, variables);
        let told = [output.stdout, output.stderr].concat();
        Outcome { status: output.status.code(), told: String::from_utf8(told).unwrap() }
    }
}

/// A suite of an archive that calls every pocket by the release's name.
pub(crate) fn pocket(suite: &str, packages: &[(&str, &str)]) -> Repository {
    let empty = Repository::new(suite, MADE);
    let codename = suite.split('-').next().unwrap().to_owned();
    packages.iter().fold(Repository { codename, ..empty }, |suite, (name, version)| {
        suite.with(Package::new(name, version))
    })
}

/// An essential package with the places on which the sandbox mounts.
fn places(name: &str, version: &str) -> Package {
    let mut package = Package::new(name, version);
    package.fields = "Essential: yes\n".to_owned();
    for path in ["dev/", "proc/"] {
        package.files.push((path.to_owned(), 0o755, Vec::new()));
    }
    package
}

/// A package with an init, so that there is something to start.
pub(crate) fn init(version: &str) -> Package {
    let mut package = places("init", version);
    for path in ["usr/lib/systemd/systemd", "usr/sbin/init"] {
        package.files.push((path.to_owned(), 0o755, b"a program".to_vec()));
    }
    package
}

/// What Kata wants of Ubuntu's release 26.04, some of it newer in the other pockets.
fn ubuntu() -> [Repository; 3] {
    let release = ["chrony", "cryptsetup-bin", "dbus", "e2fsprogs", "iptables", "libseccomp2"];
    let release = release.map(|name| (name, "1"));
    [
        pocket("resolute", &release).with(init("1")),
        pocket("resolute-updates", &[("dbus", "1.1"), ("chrony", "1.1")]),
        pocket("resolute-security", &[("chrony", "1.2")]),
    ]
}

#[test]
fn ubuntu_s_pockets_are_one_release_and_its_newest_versions_are_installed() {
    let world = World::new(&ubuntu());
    let built = world.run("rootfs", &["ubuntu", "--agent", "agent", "-o", "guest"], &[]);
    assert_eq!(built.status, Some(0), "{}", built.told);
    for file in ["chrony/1.2", "dbus/1.1", "e2fsprogs/1", "libseccomp2/1"] {
        assert!(world.path("guest/usr/share").join(file).is_file(), "{file}");
    }
    for file in ["usr/bin/kata-agent", "usr/lib/systemd/system/kata-agent.service"] {
        assert!(world.path("guest").join(file).is_file(), "{file}");
    }
    let lock = world.text("osbuilder.lock");
    for pocket in ["resolute", "resolute-updates", "resolute-security"] {
        assert!(lock.contains(&format!("suite = \"{pocket}\"")), "{lock}");
    }
    assert!(lock.contains("http://archive.ubuntu.com/ubuntu"), "{lock}");
    let summary = world.text("guest/var/lib/osbuilder/osbuilder.yaml");
    assert!(summary.contains("name: \"ubuntu\"") && summary.contains("version: \"resolute\""));
}

#[test]
fn r8_a_pocket_of_ubuntu_under_the_name_of_the_release_is_refused() {
    let world = World::new(&ubuntu());
    let (from, to) = (world.path("archive/dists/resolute-updates"), "archive/dists/resolute");
    fs_err::copy(from.join("InRelease"), world.path(to).join("InRelease")).unwrap();
    let refused = world.run("rootfs", &["ubuntu", "--agent", "agent", "-o", "guest"], &[]);
    assert_eq!(refused.status, Some(3), "{}", refused.told);
    assert!(refused.told.contains("\"resolute\" was asked for"), "{}", refused.told);
    assert!(!world.path("guest").exists());
}

#[test]
#[expect(clippy::print_stderr, reason = "a skip must be seen")]
fn what_is_built_under_sudo_belongs_to_its_caller() {
    use std::os::unix::fs::MetadataExt as _;
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: only root can give files away");
    }
    let world = World::new(&ubuntu());
    let sudo = [("SUDO_UID", "4321"), ("SUDO_GID", "8765")];
    let common = ["ubuntu", "--agent", "agent", "--any-tree", "--cache", "cache", "-o"];
    for (verb, output) in [("rootfs", "guest"), ("initrd", "initrd"), ("rootfs", "guest")] {
        let built = world.run(verb, &[&common[..], &[output]].concat(), &sudo);
        assert_eq!(built.status, Some(0), "{}", built.told);
    }
    for path in [
        "initrd",
        "osbuilder.lock",
        "guest",
        "guest.osbuilder-owners",
        "guest/usr/sbin/init",
        "guest/etc/resolv.conf",
        "guest/var/tmp",
    ] {
        let status = fs_err::symlink_metadata(world.path(path)).unwrap();
        assert_eq!((status.uid(), status.gid()), (4321, 8765), "{path}");
    }
    // And packing it gives what it gives anybody: files of root.
    let flags = ["--rootfs", "guest", "--any-tree", "--cache", "cache", "-o", "again"];
    let packed = world.run("initrd", &flags, &sudo);
    assert_eq!(packed.status, Some(0), "{}", packed.told);
    let listed = osbuilder_in(world.folder.path(), &["inspect", "again", "--files"], &[]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("usr/sbin/init") && !listed.contains("4321"), "{listed}");
}

/// A package and one that it needs, for a recipe that asks for the first.
fn needy() -> World {
    let mut needy = Package::new("needy", "1");
    needy.fields = "Depends: needed\n".to_owned();
    let suite = Repository::new("trixie", MADE).with(needy).with(places("needed", "1"));
    let world = World::new(&[suite]);
    let recipe =
        "packages = [\"needy\"]\nvariant = \"essential\"\n[sources]\nrelease-only = true\n";
    fs_err::write(world.path("recipe.toml"), recipe).unwrap();
    world
}

#[test]
fn a_lock_that_its_packages_do_not_bear_out_is_refused_before_anything_is_laid_out() {
    let world = needy();
    let arguments = ["--recipe", "recipe.toml", "--rootfs-only", "-o", "guest"];
    let built = world.run("rootfs", &arguments, &[]);
    assert_eq!(built.status, Some(0), "{}", built.told);
    let lock = world.text("osbuilder.lock");
    let (head, tail) = lock.split_once("[[package]]\nname = \"needed\"").unwrap();
    let rest = tail.find("[[package]]").map_or("", |at| &tail[at..]);
    fs_err::write(world.path("osbuilder.lock"), format!("{head}{rest}")).unwrap();
    fs_err::remove_dir_all(world.path("guest")).unwrap();
    let refused = world.run("rootfs", &arguments, &[]);
    assert_eq!(refused.status, Some(1), "{}", refused.told);
    assert!(refused.told.contains("error: the lock cannot be followed"), "{}", refused.told);
    assert!(refused.told.contains("needy 1 needs needed"), "{}", refused.told);
    assert!(!world.path("guest").exists());
}

#[test]
fn a_lock_whose_tree_is_known_is_not_unpacked_again_unless_the_cache_lost_a_part() {
    let world = needy();
    let build = |output: &str| {
        let recipe = ["--recipe", "recipe.toml", "--rootfs-only", "-o", output];
        let built = world.run("rootfs", &recipe, &[]);
        assert_eq!(built.status, Some(0), "{}", built.told);
        (built.told.contains("unpack:"), world.text(&format!("{output}/usr/share/needy/1")))
    };
    let first = build("first");
    assert!(first.0);
    assert_eq!(build("second"), (false, first.1.clone()));
    let packs = world.path(".cache/osbuilder/packs");
    for pack in fs_err::read_dir(packs).unwrap() {
        fs_err::remove_file(pack.unwrap().path()).unwrap();
    }
    assert_eq!(build("third"), first);
}
