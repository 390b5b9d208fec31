//! `osbuilder` over Alpine repositories from the outside: tiny packages that a test makes and signs.

mod genuine;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use osbuilder::store::directory;
use osbuilder::tree::{Inode, Kind};
use osbuilder_testkit::alpine::{Algorithm, Entry, Key, Package, repository, repository_for};
use osbuilder_testkit::alpine3;
use osbuilder_testkit::repository::{Files, write};
use tempfile::TempDir;

use crate::judge;
use crate::program::osbuilder_in;

/// A place to build in, with an archive, a key, an agent.
struct World {
    folder: TempDir,
    architecture: &'static str,
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

    /// The same for another processor.
    fn of(architecture: &'static str, packages: &[Package]) -> Self {
        let key = Key::trusted();
        let world = Self::made(packages, |folder, packages| {
            repository_for(architecture, folder, packages, (&key, Algorithm::Sha256))
        });
        Self { architecture, ..world }
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
        Self { folder, architecture: "x86_64" }
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
        let fixed = ["alpine", "--arch", self.architecture];
        let fixed = [&fixed[..], &["--agent", "agent", "--key", "test-1.rsa.pub"]].concat();
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
fn every_processor_gets_a_directory_an_initrd_and_an_image() {
    for architecture in ["x86_64", "aarch64", "ppc64le", "s390x"] {
        let world = World::of(architecture, &katas());
        world.builds("rootfs", "guest", &["--keep-database"]);
        assert_eq!(world.text("guest/etc/apk/arch"), format!("{architecture}\n"));
        assert!(
            world.text("guest/lib/apk/db/installed").contains(&format!("\nA:{architecture}\n"))
        );
        assert_eq!(world.text("guest/sbin/init"), "a program");
        for form in ["initrd", "image"] {
            world.builds(form, form, &["--locked", "--offline"]);
            let read = world.run(&["inspect", form], &[]);
            assert_eq!(read.status, Some(0), "{}", read.told);
        }
        // The packages of another processor do not count.
        let other = if architecture == "s390x" { "aarch64" } else { "s390x" };
        let stranger = World { architecture: other, ..world };
        assert_eq!(stranger.build("rootfs", "other", &[]).status, Some(3));
    }
}

#[test]
fn scripts_that_nothing_can_run_are_named_and_packages_without_any_need_nothing() {
    let mut packages = katas();
    World::of("aarch64", &packages).builds("rootfs", "guest", &["--scripts", "built-in"]);
    packages[0] = packages[0].clone().script(".post-install", "#!/bin/sh\nexit 0\n");
    let world = World::of("aarch64", &packages);
    let refused = world.build("rootfs", "guest", &["--scripts", "built-in"]);
    assert_ne!(refused.status, Some(0), "{}", refused.told);
    assert!(refused.told.contains("the scripts of these packages have to run: bash"));
    assert!(!world.path("guest").exists());
}

/// Runs Kata's `rootfs.sh` in front of the program that is tested.
fn through_kata_s_script(world: &World, variables: &[(&str, &str)]) -> Outcome {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/rootfs-builder/rootfs.sh");
    #[expect(clippy::disallowed_methods, reason = "Kata's interface is made of processes")]
    let output = std::process::Command::new(script)
        .args(["-r", "guest", "alpine"])
        .current_dir(world.folder.path())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", world.folder.path())
        .env("OSBUILDER", env!("CARGO_BIN_EXE_osbuilder"))
        .env("AGENT_SOURCE_BIN", world.path("agent"))
        .env("ARCH", "x86_64")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let told = [output.stdout, output.stderr].concat();
    Outcome { status: output.status.code(), told: String::from_utf8(told).unwrap() }
}

#[test]
fn a6_what_nobody_trusted_signed_is_refused_through_kata_s_interface_too() {
    // The original asked apk to let anything pass.
    let world = World::new(&katas());
    let mirror = format!("file://{}", world.path("archive").display());
    let refused = through_kata_s_script(&world, &[("REPO_URL", &mirror)]);
    assert_ne!(refused.status, Some(0), "{}", refused.told);
    assert!(
        refused.told.contains("no key that may vouch for it has signed it"),
        "{}",
        refused.told
    );
    assert!(!world.path("guest").exists() && !world.path("osbuilder.lock").exists());

    // What Alpine's own keys signed passes, without a word about keys.
    let Some(medium) = judge::data("alpine/genuine-3.19.1") else { return };
    let mirror = format!("file://{}", medium.display());
    fs_err::write(world.path("recipe.toml"), "packages = [\"alpine-base\"]\n").unwrap();
    let variables = [("REPO_URL", &*mirror), ("OS_VERSION", "3.19"), ("SECCOMP", "no")];
    let arguments = ["rootfs", "alpine", "--arch", "x86_64", "--recipe", "recipe.toml"];
    let further = ["--agent", "agent", "-o", "guest"];
    let built = world.run(&[&arguments[..], &further].concat(), &variables);
    assert_eq!(built.status, Some(0), "{}", built.told);

    // Switching checks off has a name, is loud, and stands in the lock.
    let mirror = format!("file://{}", world.path("archive").display());
    let arguments = ["rootfs", "alpine", "--arch", "x86_64", "--agent", "agent", "--insecure"];
    let further = ["-o", "careless", "--lock", "careless.lock"];
    let built = world.run(&[&arguments[..], &further].concat(), &[("REPO_URL", &mirror)]);
    assert_eq!(built.status, Some(0), "{}", built.told);
    assert!(built.told.contains("checks are switched off"), "{}", built.told);
    assert!(
        world.text("careless.lock").contains("signed_by = []"),
        "{}",
        world.text("careless.lock")
    );
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
fn without_an_init_of_ours_the_packages_own_stays() {
    let own = Entry::file("sbin/init", 0o755, b"an init of its own");
    let with = World::new(&[&katas()[..4], &[places("alpine-base").with(own)]].concat());
    with.builds("rootfs", "guest", &["--init", "none"]);
    assert_eq!(with.text("guest/sbin/init"), "an init of its own");
    assert_eq!(with.text("guest/usr/bin/kata-agent"), "a program");
    assert!(!with.path("guest/etc/runlevels").exists() && !with.path("guest/etc/systemd").exists());
    for verb in ["initrd", "image"] {
        with.builds(verb, verb, &["--init", "none"]);
    }
    let without = World::new(&[&katas()[..4], &[places("alpine-base")]].concat());
    let refused = without.build("rootfs", "guest", &["--init", "none"]);
    assert_eq!(refused.status, Some(1), "{}", refused.told);
    assert!(refused.told.contains("add a package or a file that is one"), "{}", refused.told);
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
fn a_tag_leads_to_its_repository_and_stands_where_apk_looks_for_it() {
    let key = Key::trusted();
    let world = World::new(&[&katas()[..], &[Package::new("helper", "1-r0")]].concat());
    let own = Package::new("own", "3-r0").fields("depend = helper>=2\n");
    let edge = [own, Package::new("helper", "2-r0"), Package::new("musl", "9-r0")];
    write(&repository("edge", &edge, &key, Algorithm::Sha256), world.folder.path());
    let address = format!("file://{}", world.path("edge").display());
    let file = world.path(&key.name);
    let tagged = format!("@edge [signed-by={}] {address}", file.display());
    let repository = ["--repository", &tagged];
    let asked = |words: &[&'static str]| -> Vec<&str> {
        let words = words.iter().flat_map(|word| ["--package", *word]);
        repository.iter().copied().chain(words).collect()
    };
    world.builds("rootfs", "guest", &asked(&["own@edge", "musl~1"]));
    let database = world.text("guest/lib/apk/db/installed");
    let stanza = |name: &str| {
        let mut stanzas = database.split("\n\n");
        stanzas.find(|stanza| stanza.contains(&format!("\nP:{name}\n"))).unwrap()
    };
    // What a tagged package needs comes from there, too; whatever nobody asked for does not.
    for (name, version, tag) in [("own", "3", true), ("helper", "2", true), ("musl", "1", false)] {
        assert!(stanza(name).contains(&format!("\nV:{version}-r0\n")), "{database}");
        assert_eq!(stanza(name).contains("\ns:edge\n"), tag, "{database}");
    }
    let wanted = world.text("guest/etc/apk/world");
    assert!(wanted.contains("\nown@edge\n") && wanted.contains("\nmusl~1\n"), "{wanted}");
    let places = world.text("guest/etc/apk/repositories");
    assert!(places.ends_with(&format!("/v3.24/community\n@edge {address}\n")), "{places}");
    world.builds("rootfs", "again", &[&asked(&["own@edge", "musl~1"])[..], &["--locked"]].concat());

    for (word, status, reason) in [
        ("own", 2, "no repository has own"),
        ("own@other", 2, "no repository has the tag other: a repository \"@other URL\" would"),
        ("musl>9", 2, "musl is there as 1-r0"),
        ("mu$sl", 2, "not a relation"),
    ] {
        let refused = world.build("rootfs", "none", &asked(&[word]));
        assert_eq!(refused.status, Some(status), "{word}: {}", refused.told);
        assert!(refused.told.contains(reason), "{word}: {}", refused.told);
    }
    let elsewhere = world.run(&["rootfs", "debian", "--rootfs-only", "--package", "bash@x"], &[]);
    assert!(elsewhere.told.contains("is not the name of a package"), "{}", elsewhere.told);
}

#[test]
fn what_is_excluded_is_not_in_the_world_either() {
    let world = World::new(&katas());
    world.builds("rootfs", "guest", &["--exclude", "bash"]);
    assert_eq!(world.text("guest/etc/apk/world"), "alpine-base\nip6tables\niptables\nlibseccomp\n");
    assert!(!world.text("guest/lib/apk/db/installed").contains("P:bash\n"));
}

#[test]
fn a_release_that_is_newer_than_the_program_takes_a_line_of_a_data_file() {
    let world = World::new(&[]);
    let files = repository("v3.25/main", &katas(), &Key::trusted(), Algorithm::Sha256);
    write(&files, &world.folder.path().join("archive"));
    let unknown = world.build("rootfs", "guest", &["--version", "3.25"]);
    assert_eq!(unknown.status, Some(2), "{}", unknown.told);
    assert!(unknown.told.contains("`osbuilder distros --show` begins a data file"));
    let shown = world.run(&["distros", "--show", "alpine"], &[]).told;
    let start = shown.find("[[releases]]").unwrap();
    let end = start + shown[start..].find("\n[[releases]]\n").unwrap();
    let newer = shown[start..end].replace("3.24", "3.25").replace("\"stable\"", "\"newest\"");
    let newer = newer.replace("latest-stable", "newest-stable");
    let text = [&shown[..start], &newer, "\n", &shown[start..]].concat();
    fs_err::create_dir(world.path("distros")).unwrap();
    fs_err::write(world.path("distros/alpine.toml"), text).unwrap();
    let further =
        ["--distro-dir", "distros", "--version", "newest-stable", "--recipe", "main.toml"];
    fs_err::write(world.path("main.toml"), "sources.components = [\"main\"]\n").unwrap();
    world.builds("rootfs", "guest", &further);
    assert!(world.text("guest/etc/apk/repositories").ends_with("/v3.25/main\n"));
    let unknown = world.run(&["distros", "--show", "alpin"], &[]);
    assert_eq!(unknown.status, Some(2), "{}", unknown.told);
    assert!(unknown.told.contains("did you mean \"alpine\"?"), "{}", unknown.told);
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
