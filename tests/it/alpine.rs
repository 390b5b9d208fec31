//! `osbuilder` over Alpine repositories from the outside: tiny packages that a test makes and signs,
//! and the genuine ones of an installation medium, held against what apk itself made of them.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use osbuilder::store::directory;
use osbuilder::tree::{Inode, Kind};
use osbuilder_testkit::alpine::{Algorithm, Entry, Key, Package, repository};
use osbuilder_testkit::alpine3;
use osbuilder_testkit::repository::{Files, write};
use tempfile::TempDir;

use crate::judge;
use crate::program::osbuilder_in;

/// A place to build in, with an archive, a key, an agent.
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
    /// An archive of the latest stable branch.
    fn new(packages: &[Package]) -> Self {
        let key = Key::trusted();
        Self::made(packages, |folder, packages| {
            repository(folder, packages, &key, Algorithm::Sha256)
        })
    }

    /// The same in the formats of version 3.
    fn third(packages: &[Package]) -> Self {
        Self::made(packages, |folder, packages| {
            alpine3::repository(folder, packages, &Key::trusted())
        })
    }

    fn made(packages: &[Package], make: impl Fn(&str, &[Package]) -> Files) -> Self {
        let (folder, key) = (tempfile::tempdir().unwrap(), Key::trusted());
        for (component, packages) in [("main", packages), ("community", &[])] {
            let files = make(&format!("v3.24/{component}"), packages);
            write(&files, &folder.path().join("archive"));
        }
        fs_err::write(folder.path().join(&key.name), key.public()).unwrap();
        fs_err::write(folder.path().join("agent"), "a program").unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs_err::read_to_string(self.path(name)).unwrap()
    }

    fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Outcome {
        let output = osbuilder_in(self.folder.path(), arguments, variables);
        let told = [output.stdout, output.stderr].concat();
        Outcome { status: output.status.code(), told: String::from_utf8(told).unwrap() }
    }

    /// Builds from the archive, and from nothing else.
    fn build(&self, verb: &str, output: &str, further: &[&str]) -> Outcome {
        let mirror = format!("file://{}", self.path("archive").display());
        let fixed = ["alpine", "--arch", "x86_64", "--agent", "agent", "--key", "test-1.rsa.pub"];
        let all = [&[verb, "--output", output, "--mirror", &mirror], &fixed[..], further].concat();
        self.run(&all, &[])
    }

    #[track_caller]
    fn builds(&self, verb: &str, output: &str, further: &[&str]) -> String {
        let built = self.build(verb, output, further);
        assert_eq!(built.status, Some(0), "{}", built.told);
        built.told
    }
}

/// A package with the places that every system has.
fn places(name: &str) -> Package {
    let folders = ["bin", "dev", "etc", "lib", "proc", "run", "sbin", "sys", "tmp", "var"];
    folders.iter().fold(Package::empty(name, "1-r0"), |package, folder| {
        package.with(Entry::directory(folder))
    })
}

/// Kata's list, and nothing in it.
fn katas() -> Vec<Package> {
    let plain = ["bash", "ip6tables", "iptables", "libseccomp"];
    let plain = plain.map(|name| Package::new(name, "1-r0"));
    let base = places("alpine-base").fields("depend = so:libc.so=1\n");
    let libc = Package::new("musl", "1-r0").fields("provides = so:libc.so=1\n");
    [&plain[..], &[base, libc]].concat()
}

#[test]
fn the_default_is_kata_s_list_with_the_agent_as_first_process() {
    let world = World::new(&katas());
    world.builds("rootfs", "guest", &[]);
    assert_eq!(world.text("guest/sbin/init"), "a program");
    for name in ["bash", "ip6tables", "iptables", "libseccomp", "musl"] {
        assert_eq!(world.text(&format!("guest/usr/share/{name}/1-r0")), "1-r0");
    }
    assert!(world.text("guest/lib/apk/db/installed").contains("P:musl\nV:1-r0\n"));
    let asked = "alpine-base\nbash\nip6tables\niptables\nlibseccomp\n";
    assert_eq!(world.text("guest/etc/apk/world"), asked);
    let summary = world.text("guest/var/lib/osbuilder/osbuilder.yaml");
    assert!(summary.contains("name: \"alpine\"") && summary.contains("version: \"v3.24\""));
    let lock = world.text("osbuilder.lock");
    assert!(lock.contains("suite = \"v3.24/main\"") && lock.contains("SHA-256"), "{lock}");

    let without = World::new(&katas());
    let mirror = format!("file://{}", without.path("archive").display());
    let variables = [("SECCOMP", "no"), ("REPO_URL", &mirror), ("AGENT_SOURCE_BIN", "agent")];
    let arguments = ["rootfs", "alpine", "--arch", "x86_64", "--key", "test-1.rsa.pub"];
    let built = without.run(&[&arguments[..], &["-o", "guest"]].concat(), &variables);
    assert_eq!(built.status, Some(0), "{}", built.told);
    assert!(!without.path("guest/usr/share/libseccomp").exists());
}

#[test]
fn packages_of_version_3_become_the_same_guest() {
    let mut packages = katas();
    let script = "#!/bin/sh\nexit 0\n";
    packages[0] = packages[0].clone().script(".post-deinstall", script);
    let owned = Entry::file("usr/share/bash/own", 0o4755, b"x");
    packages[0] = packages[0].clone().with(owned).with(Entry::symlink("usr/share/bash/l", "own"));
    let [two, three] = [World::new(&packages), World::third(&packages)];
    let tree = |world: &World| {
        let built = ["--rootfs-only", "--keep-database", "--epoch", "1700000000"];
        world.builds("rootfs", "guest", &built);
        let (tree, _) = directory::read(&world.path("guest"), NonZeroUsize::MIN).unwrap();
        tree.walk()
            .filter(|(path, ..)| !path.to_string().starts_with("/lib/apk/db/"))
            .map(|(path, _, inode)| format!("{path} {}", one_line(inode)))
            .collect::<Vec<_>>()
    };
    assert_eq!(tree(&two), tree(&three));
    let database = three.text("guest/lib/apk/db/installed");
    assert!(database.contains("P:bash\nV:1-r0\n") && database.contains("\nf:S\n"));
    three.builds("rootfs", "again", &["--locked", "--offline"]);
}

#[test]
fn openrc_starts_the_agent_where_the_agent_is_not_the_init() {
    let service = Entry::file("etc/init.d/devfs", 0o755, b"#!/sbin/openrc-run\n");
    let program = |path: &str| Entry::file(path, 0o755, b"a program");
    let base = places("alpine-base")
        .with(Entry::directory("etc/init.d"))
        .with(service)
        .with(program("bin/busybox"))
        .with(program("sbin/openrc"))
        .with(Entry::symlink("sbin/init", "/bin/busybox"));
    let packages = [&katas()[..4], &[base]].concat();
    let world = World::new(&packages);
    world.builds("rootfs", "guest", &["--init", "openrc"]);
    assert_eq!(world.text("guest/usr/bin/kata-agent"), "a program");
    let link = |name: &str| fs_err::read_link(world.path(name)).unwrap();
    for (level, service) in [("sysinit", "devfs"), ("default", "kata-agent")] {
        let place = format!("guest/etc/runlevels/{level}/{service}");
        assert_eq!(link(&place).to_str(), Some(&*format!("/etc/init.d/{service}")));
    }
    assert!(!world.path("guest/etc/runlevels/sysinit/cgroups").exists());
    assert!(world.text("guest/etc/inittab").contains("::wait:/sbin/openrc default"));
    assert_eq!(link("guest/sbin/init").to_str(), Some("/bin/busybox"));
    // Kata's variable says only that the agent is not the init.
    let mirror = format!("file://{}", world.path("archive").display());
    let variables = [("AGENT_INIT", "no"), ("REPO_URL", &mirror), ("AGENT_SOURCE_BIN", "agent")];
    let arguments = ["rootfs", "alpine", "--arch", "x86_64", "--key", "test-1.rsa.pub"];
    let built = world.run(&[&arguments[..], &["-o", "other"]].concat(), &variables);
    assert_eq!(built.status, Some(0), "{}", built.told);
    assert_eq!(world.text("guest/etc/inittab"), world.text("other/etc/inittab"));
    let packed =
        world.run(&["initrd", "--rootfs", "other", "-o", "initrd"], &[("AGENT_INIT", "no")]);
    assert_eq!(packed.status, Some(0), "{}", packed.told);
}

#[test]
fn a_guest_of_alpine_has_no_systemd() {
    let world = World::new(&katas());
    let refused = world.build("rootfs", "guest", &["--init", "systemd"]);
    assert_eq!(refused.status, Some(2), "{}", refused.told);
    assert!(refused.told.contains("Alpine Linux has no systemd"), "{}", refused.told);
}

#[test]
fn the_same_lock_gives_the_same_bytes_also_without_a_network_and_from_an_empty_cache() {
    let world = World::new(&katas());
    let digest = |name: &str| fs_err::read(world.path(name)).unwrap();
    world.builds("initrd", "first", &[]);
    let lock = world.text("osbuilder.lock");
    world.builds("initrd", "again", &["--locked", "--offline"]);
    world.builds("initrd", "anew", &["--locked", "--cache", "another"]);
    assert_eq!(digest("first"), digest("again"));
    assert_eq!(digest("first"), digest("anew"));
    assert_eq!(world.text("osbuilder.lock"), lock);
    let refused = world.build("initrd", "none", &["--offline", "--cache", "empty"]);
    assert_eq!(refused.status, Some(3), "{}", refused.told);
    assert!(refused.told.contains("must be in the cache"), "{}", refused.told);
}

#[test]
fn r1_a_package_that_changed_after_the_lock_is_refused() {
    let world = World::new(&katas());
    world.builds("rootfs", "guest", &[]);
    let file = world.path("archive/v3.24/main/x86_64/musl-1-r0.apk");
    let mut bytes = fs_err::read(&file).unwrap();
    let last = bytes.len() - 12;
    bytes[last] ^= 1;
    fs_err::write(&file, bytes).unwrap();
    let refused = world.build("rootfs", "other", &["--locked", "--cache", "empty"]);
    assert_eq!(refused.status, Some(3), "{}", refused.told);
    assert!(refused.told.contains("musl"), "{}", refused.told);
    assert!(!world.path("other").exists());
}

#[test]
fn what_cannot_be_installed_is_explained() {
    let mut packages = katas();
    packages[0] = packages[0].clone().fields("depend = readline>8\n");
    packages.push(Package::new("readline", "7-r0"));
    let refused = World::new(&packages).build("rootfs", "guest", &[]);
    assert_eq!(refused.status, Some(2), "{}", refused.told);
    assert!(refused.told.contains("readline>8"), "{}", refused.told);
}

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

/// What is compared of a path: kind, mode, owners, size, and content, target or device.
fn one_line(inode: &Inode) -> String {
    let meta = &inode.meta;
    let (kind, size, what) = match &inode.kind {
        Kind::Directory(_) => ("d", 0, String::new()),
        Kind::Regular(content) => ("f", content.size(), content.digest().to_string()),
        Kind::Symlink(target) => {
            let target = String::from_utf8(target.to_vec()).unwrap();
            return format!("l {}:{} {target}", meta.uid, meta.gid);
        }
        Kind::CharacterDevice(device) | Kind::BlockDevice(device) => {
            ("s", 0, format!("{}:{}", device.major, device.minor))
        }
        Kind::Fifo | Kind::Socket => ("s", 0, String::new()),
    };
    format!("{kind} {:o} {}:{} {size} {what}", meta.mode, meta.uid, meta.gid)
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
