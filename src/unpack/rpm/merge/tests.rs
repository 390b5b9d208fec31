//! What packages have at one path, and how it is decided: packages made in memory.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test may end with a panic"
)]

use std::collections::BTreeMap;
use std::io::Cursor;

use super::super::*;
use crate::digest::Digest;
use crate::event::nobody;
use crate::package::rpm::archive::builder::{Builder, Made};
use crate::package::tar::tests::chain;
use crate::recipe::{self, Options, Request, Surroundings};

fn recipe() -> Recipe {
    let options = Options { distro: Some("azurelinux".into()), ..Options::default() };
    let host = Some(crate::distro::Architecture::X86_64);
    let surroundings = Surroundings { host, without_agent: true, ..Surroundings::default() };
    let environment = BTreeMap::new();
    let request = Request {
        file: None,
        environment: &environment,
        options: &options,
        surroundings: &surroundings,
    };
    recipe::read(request).unwrap().recipe
}

/// A store in a folder of its own, and what was laid out with it.
struct World {
    _folder: tempfile::TempDir,
    store: Store,
    tree: Tree,
    packages: Vec<Package>,
}

/// Lays packages out, of which each needs the one before.
fn lay_out(rpms: &[Builder]) -> Result<World, Error> {
    let mut rpms = rpms.to_vec();
    for at in 1..rpms.len() {
        let before = rpms[at - 1].name.clone();
        rpms[at] = rpms[at].clone().requiring(&[&before]);
    }
    lay_out_freely(&rpms)
}

/// Lays packages out in an order that is theirs.
fn lay_out_freely(rpms: &[Builder]) -> Result<World, Error> {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("cache")).unwrap();
    let bytes: Vec<Vec<u8>> = rpms.iter().map(Builder::bytes).collect();
    let locked: Vec<LockedPackage> =
        rpms.iter().zip(&bytes).map(|(rpm, bytes)| lock(&rpm.name, bytes)).collect();
    // Once from the archives, once from what the cache kept of them.
    let open = || {
        let archives = locked.iter().zip(&bytes);
        let archives: Vec<_> =
            archives.map(|(package, bytes)| (package, move || Ok(Cursor::new(bytes)))).collect();
        Opened::open(&archives, &store, &nobody)
    };
    let first = open()?;
    let again = open()?;
    assert_eq!(first.rpms, again.rpms);
    let epoch = Epoch::new(1_600_000_000).unwrap();
    let Unpacked { tree, packages } = unpack(again, &recipe(), epoch)?;
    let Installed::Rpm(Packages(packages)) = packages else { panic!("a recipe for rpm") };
    Ok(World { _folder: folder, store, tree, packages })
}

fn lock(name: &str, bytes: &[u8]) -> LockedPackage {
    LockedPackage {
        name: name.parse().unwrap(),
        version: "1-1".to_owned(),
        architecture: "noarch".to_owned(),
        repository: 0,
        path: "x".to_owned(),
        size: u64::try_from(bytes.len()).unwrap(),
        digest: Digest::of(bytes),
    }
}

#[track_caller]
fn refusal(rpms: &[Builder]) -> String {
    chain(&lay_out(rpms).err().unwrap())
}

impl World {
    #[track_caller]
    fn text(&self, path: &str) -> String {
        let Kind::Regular(content) = &self.inode(path).kind else { panic!("{path}") };
        let mut text = String::new();
        content.open(&self.store).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    #[track_caller]
    fn inode(&self, path: &str) -> &Inode {
        self.tree.get(&path.parse().unwrap()).unwrap()
    }

    /// Whether each path of a package counts as installed.
    fn there(&self, package: usize) -> Vec<bool> {
        self.packages.get(package).unwrap().listed.iter().map(|listed| listed.is_there).collect()
    }
}

const GHOST: u32 = 1 << 6;
const PROGRAM: u16 = 0o100_755;

fn program(content: &str, color: u32) -> Made {
    Made::new("/usr/bin/program", PROGRAM, content).color(color)
}

#[test]
fn what_two_packages_have_alike_is_there_once_and_both_own_it() {
    let package =
        |name| Builder::new(name).directory("/usr/share/a", 0o750).file("/usr/share/a/b", "b");
    let world = lay_out(&[package("one"), package("two")]).unwrap();
    assert_eq!(world.inode("/usr/share/a").meta.mode, 0o750);
    assert_eq!(world.text("/usr/share/a/b"), "b");
    let new =
        |package: &Package| package.entries.iter().map(|entry| entry.is_new).collect::<Vec<_>>();
    let all: Vec<_> = world.packages.iter().map(new).collect();
    assert_eq!(all, [[true, true], [false, false]]);
    assert!(world.inode("/var/lib/rpm/rpmdb.sqlite").meta.mode == 0o644);
}

#[test]
fn what_two_packages_have_otherwise_is_refused_before_anything_is_laid_out() {
    let base = || Made::new("/srv/a", 0o100_644, "a");
    let ok =
        |other: Made| lay_out(&[Builder::new("one").with(base()), Builder::new("two").with(other)]);
    assert!(ok(base()).is_ok());
    assert!(ok(base().flags(1)).is_ok());
    for other in [
        Made::new("/srv/a", 0o100_644, "b"),
        Made::new("/srv/a", 0o100_600, "a"),
        Made::new("/srv/a", 0o120_777, "a"),
        Made::new("/srv/a", 0o040_755, ""),
        base().owned_by("bin", "root"),
        base().owned_by("root", "bin"),
    ] {
        let error = ok(other.clone()).err().unwrap();
        let said = "/srv/a is not the same in one and two";
        assert!(chain(&error).contains(said), "{other:?} {}", chain(&error));
    }
    let directories = |modes: [u16; 2]| {
        lay_out(&[
            Builder::new("one").directory("/srv/d", modes[0]),
            Builder::new("two").directory("/srv/d", modes[1]),
        ])
    };
    assert!(directories([0o755, 0o755]).is_ok());
    assert!(directories([0o755, 0o700]).is_err());
}

#[test]
fn a_package_is_at_odds_with_itself_where_a_link_leads_back() {
    let package = |content| {
        Builder::new("one")
            .directory("/a", 0o755)
            .file("/a/x", "x")
            .symlink("/b", "a")
            .file("/b/x", content)
    };
    assert!(lay_out(&[package("x")]).is_ok());
    assert!(refusal(&[package("y")]).contains("/b/x is not the same in one and one"));
}

#[test]
fn a_ghost_is_at_odds_with_nobody_and_gives_way() {
    let ghost = |name| Builder::new(name).with(Made::new("/etc/x", 0o100_600, "").flags(GHOST));
    let real = |name| Builder::new(name).file("/etc/x", "real");
    for rpms in [[ghost("a"), real("b")], [real("a"), ghost("b")]] {
        let world = lay_out(&rpms).unwrap();
        assert_eq!(world.text("/etc/x"), "real");
        assert_eq!([world.there(0), world.there(1)].concat(), [true, true]);
    }
    let alone = lay_out(&[ghost("a")]).unwrap();
    assert!(alone.tree.get(&"/etc/x".parse().unwrap()).is_none());
}

#[test]
fn of_programs_of_two_colors_that_of_64_bits_stays_whichever_comes_first() {
    let package = |name, content, color| Builder::new(name).with(program(content, color));
    for (first, second, there) in [(1, 2, [false, true]), (2, 1, [true, false])] {
        let text = |color| if color == 1 { "32" } else { "64" };
        let rpms = [package("a", text(first), first), package("b", text(second), second)];
        let world = lay_out(&rpms).unwrap();
        assert_eq!(world.text("/usr/bin/program"), "64");
        assert_eq!([world.there(0), world.there(1)].concat(), there);
    }
    // A third one that is as the one that gave way gives way, too.
    let rpms = [package("a", "64", 2), package("b", "32", 1), package("c", "32", 1)];
    assert_eq!(lay_out(&rpms).unwrap().there(2), [false]);
    for color in [0, 1, 2] {
        assert!(lay_out(&[package("a", "x", color), package("b", "y", color)]).is_err(), "{color}");
        assert!(lay_out(&[package("a", "x", color), package("b", "y", 0)]).is_err(), "{color}");
    }
}

#[test]
fn a_link_of_a_later_package_leads_files_of_an_earlier_one() {
    let library = |name| Builder::new(name).file("/lib64/libc.so.6", "libc");
    let base = |name: &str| {
        Builder::new(name)
            .directory("/usr", 0o755)
            .directory("/usr/lib64", 0o555)
            .symlink("/lib64", "usr/lib64")
    };
    for rpms in [[library("a"), base("b")], [base("a"), library("b")]] {
        let world = lay_out(&rpms).unwrap();
        assert_eq!(world.text("/usr/lib64/libc.so.6"), "libc");
        assert_eq!(world.inode("/usr/lib64").meta.mode, 0o555);
        assert!(matches!(&world.inode("/lib64").kind, Kind::Symlink(to) if **to == *b"usr/lib64"));
    }
    let directory = Builder::new("c").directory("/lib64", 0o555);
    assert!(refusal(&[base("a"), directory]).contains("/lib64 is not the same in a and c"));
}

#[test]
fn a_file_where_others_have_files_below_is_refused() {
    let below = || Builder::new("one").file("/srv/a/b", "b");
    assert!(lay_out(&[below(), Builder::new("two").file("/srv/ab", "")]).is_ok());
    let said = refusal(&[below(), Builder::new("two").file("/srv/a", "")]);
    assert!(said.contains("/srv/a of two is a directory of another package"), "{said}");
    let over = refusal(&[Builder::new("a").file("/srv/a", ""), below()]);
    assert!(over.contains("/srv/a is not a directory"), "{over}");
}

#[test]
fn several_names_of_a_file_are_one_and_only_the_last_has_the_content() {
    let name = |path: &str| Made::new(path, PROGRAM, "content").link(7);
    let one = Builder::new("one").with(name("/bin/a")).with(name("/bin/b")).with(name("/opt/c"));
    let world = lay_out(&[one]).unwrap();
    let ids = ["/bin/a", "/bin/b", "/opt/c"].map(|path| world.tree.lookup(&path.parse().unwrap()));
    assert!(ids[0].is_some() && ids.iter().all(|id| *id == ids[0]));
    assert_eq!(world.text("/bin/a"), "content");
}

#[test]
fn names_of_one_file_that_gave_way_do_not_keep_the_content_from_others() {
    let name = |path: &str, color| Made::new(path, PROGRAM, "32").link(7).color(color);
    let old = Builder::new("a").with(name("/bin/a", 1)).with(name("/bin/program", 1));
    let new = Builder::new("b").with(Made::new("/bin/program", PROGRAM, "64").color(2));
    let world = lay_out(&[old, new]).unwrap();
    assert_eq!((world.text("/bin/a"), world.text("/bin/program")), ("32".into(), "64".into()));
    assert_eq!(world.there(0), [true, false]);
}

#[test]
fn capabilities_become_attributes_and_those_that_are_none_are_refused() {
    let package = |text: &str| {
        Builder::new("one").with(Made::new("/bin/ping", PROGRAM, "x").capabilities(text))
    };
    let world = lay_out(&[package("cap_net_raw=ep")]).unwrap();
    assert!(world.inode("/bin/ping").meta.xattrs.contains_key(&b"security.capability"[..]));
    assert!(refusal(&[package("cap_nonsense=ep")]).contains("one"));
}

#[test]
fn a_package_that_is_not_the_locked_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("cache")).unwrap();
    let bytes = Builder::new("one").file("/a", "a").bytes();
    let open = |locked: &LockedPackage| {
        let archives = [(locked, || Ok(Cursor::new(&bytes)))];
        Opened::open(&archives, &store, &nobody).map(drop)
    };
    for (wrong, field) in [
        (LockedPackage { version: "2-1".into(), ..lock("one", &bytes) }, "version"),
        (LockedPackage { architecture: "x86_64".into(), ..lock("one", &bytes) }, "architecture"),
        (lock("two", &bytes), "name"),
    ] {
        let error = open(&wrong).unwrap_err();
        assert!(matches!(error, Error::OtherPackage { field: f, .. } if f == field), "{error}");
    }
    open(&lock("one", &bytes)).unwrap();
}

#[test]
fn what_a_package_needs_is_installed_before_it() {
    let world = lay_out_freely(&[
        Builder::new("a").file("/a", "").requiring(&["z"]),
        Builder::new("z").file("/z", ""),
    ]);
    let names: Vec<String> =
        world.unwrap().packages.iter().map(|package| package.name.to_string()).collect();
    assert_eq!(names, ["z", "a"]);
}
