//! Packages made in memory, laid out over each other: what hostile ones try, and what good ones may.

use std::io::Cursor;

use osbuilder_testkit::rpm::{File as Listed, Package as Rpm, entry};
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::digest::Digest;
use crate::distro::Architecture;
use crate::event::nobody;
use crate::recipe::{Options, Request, Surroundings};

/// A store in a folder of its own.
struct World {
    _folder: TempDir,
    store: Store,
    recipe: Recipe,
}

impl World {
    fn new() -> Self {
        Self::of("azurelinux")
    }

    fn of(distribution: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("cache")).unwrap();
        let options = Options { distro: Some(distribution.into()), ..Options::default() };
        let host = Some(Architecture::X86_64);
        let surroundings = Surroundings { host, without_agent: true, ..Surroundings::default() };
        let environment = std::collections::BTreeMap::new();
        let request = Request {
            file: None,
            environment: &environment,
            options: &options,
            surroundings: &surroundings,
        };
        Self { _folder: folder, store, recipe: crate::recipe::read(request).unwrap().recipe }
    }

    /// Lays out archives, which a lock names as these packages.
    fn lay_out(&self, packages: &[(&Rpm, Vec<u8>)]) -> Result<Tree, Error> {
        let locked: Vec<_> = packages.iter().map(|(rpm, bytes)| lock(rpm, bytes)).collect();
        let archives: Vec<_> = locked
            .iter()
            .zip(packages)
            .map(|(locked, (_, bytes))| (locked, || Ok(Cursor::new(bytes.clone()))))
            .collect();
        let opened = Opened::open(&archives, &self.store, &nobody)?;
        Ok(unpack(opened, &self.recipe, Epoch::default())?.tree)
    }

    fn unpack(&self, packages: &[Rpm]) -> Result<Tree, Error> {
        let all: Vec<_> = packages.iter().map(|rpm| (rpm, rpm.archive(None))).collect();
        self.lay_out(&all)
    }

    #[track_caller]
    fn refused(&self, packages: &[(&Rpm, Vec<u8>)], words: &str) {
        let error = self.lay_out(packages).unwrap_err();
        let mut message = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            message.push_str(&format!(": {error}"));
            cause = error.source();
        }
        assert!(message.contains(words), "{message}");
    }
}

/// The entry of a lock for a package.
fn lock(rpm: &Rpm, bytes: &[u8]) -> LockedPackage {
    LockedPackage {
        name: rpm.name.parse().unwrap(),
        version: format!("{}-1", rpm.version),
        architecture: "noarch".into(),
        repository: 0,
        path: rpm.place(),
        size: u64::try_from(bytes.len()).unwrap(),
        digest: Digest::of(bytes),
    }
}

fn at(path: &str) -> TreePath {
    TreePath::parse(path).unwrap()
}

fn is_regular(tree: &Tree, path: &str) -> bool {
    matches!(tree.get(&at(path)).map(|inode| &inode.kind), Some(Kind::Regular(_)))
}

/// The rows of rpm's database, as SQLite reads them.
fn database(tree: &Tree) -> Vec<Vec<u8>> {
    let path = at("var/lib/rpm/rpmdb.sqlite");
    let Kind::Regular(Content::Inline(bytes)) = &tree.get(&path).unwrap().kind else {
        panic!("a database is inline")
    };
    let mut connection = Connection::open_in_memory().unwrap();
    let mut plain = bytes.to_vec();
    plain[18..20].fill(1);
    connection.deserialize_read_exact("main", &*plain, plain.len(), true).unwrap();
    let mut rows = connection.prepare("SELECT blob FROM Packages ORDER BY hnum").unwrap();
    let rows = rows.query_map([], |row| row.get(0)).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

#[test]
fn c9_what_nobody_signed_does_not_reach_the_database() {
    let plain = Rpm::new("a", "1");
    let rows = |unsigned: Vec<osbuilder_testkit::rpm::Entry>| {
        let rpm = Rpm { unsigned, ..plain.clone() };
        database(&World::new().unpack(&[rpm]).unwrap())
    };
    let without = rows(Vec::new());
    assert_eq!(without.len(), 1);
    for (tag, kind, count, bytes) in [
        (1_024, 6, 1, b"evil\0".to_vec()),
        (4_242, 7, 4, b"evil".to_vec()),
        (1_000, 6, 1, b"ten\0".to_vec()),
        (1_000, 4, 2, vec![0; 8]),
        (1_004, 7, 4, b"evil".to_vec()),
        (1_004, 6, 1, b"evil\0".to_vec()),
        (269, 8, 2, b"a\0b\0".to_vec()),
        (269, 6, 1, b"not forty digits\0".to_vec()),
    ] {
        assert_eq!(rows(vec![(tag, kind, count, bytes)]), without, "{tag} {kind} {count}");
    }
    // What is of the right kind is taken over, as rpm does.
    assert_ne!(rows(vec![(1_004, 7, 16, vec![7; 16])]), without);
}

#[test]
fn c10_c14_a_path_through_links_of_another_package_stays_in_the_root() {
    let link = |path: &str, target: &str| Rpm::new("a", "1").with(vec![Listed::link(path, target)]);
    let file = |path: &str| Rpm::new("b", "1").with(vec![Listed::regular(path, b"x")]);
    for (first, second, place) in [
        // The parent itself, and an ancestor two levels up.
        (link("/usr/x", "/tmp/out"), file("/usr/x/f"), "tmp/out/f"),
        (link("/usr/x", "../../../../tmp/out"), file("/usr/x/y/z/f"), "tmp/out/y/z/f"),
        (link("/usr/x", "/proc/self/cwd"), file("/usr/x/f"), "proc/self/cwd/f"),
    ] {
        let needing = Rpm { requires: vec!["a".into()], ..second };
        let tree = World::new().unpack(&[first, needing]).unwrap();
        assert!(is_regular(&tree, place), "{place}");
    }
    let straight = World::new().unpack(&[file("/usr/x/y/z/f")]).unwrap();
    assert!(is_regular(&straight, "usr/x/y/z/f"));
    let (to, back) = (link("/x", "y"), Rpm::new("c", "1").with(vec![Listed::link("/y", "x")]));
    let needing = Rpm { requires: vec!["a".into(), "c".into()], ..file("/x/f") };
    assert!(World::new().unpack(&[to, back, needing]).is_err());
}

#[test]
fn c11_a_broken_last_byte_leaves_no_file_of_the_package() {
    let world = World::new();
    let (good, bad) = (Rpm::new("a", "1"), Rpm::new("b", "1"));
    let mut payload = bad.payload();
    let last = payload.len() - 1;
    payload[last] ^= 1;
    let broken = bad.archive_with(&payload, None);
    world.refused(&[(&good, good.archive(None)), (&bad, broken.clone())], "payload is not the one");
    // Nor does the store keep anything of it that a later build would take.
    world.refused(&[(&bad, broken)], "payload is not the one");
    let tree = world.unpack(&[good, bad]).unwrap();
    assert!(is_regular(&tree, "usr/share/a") && is_regular(&tree, "usr/share/b"));
}

#[test]
fn c16_payloads_hold_what_the_header_lists_and_nothing_else() {
    let rpm = Rpm::new("a", "1");
    let last = || entry(b"TRAILER!!!", 0, b"");
    let file = |name: &str, content: &[u8]| {
        let mut bytes = entry(name.as_bytes(), 0o100_644, content);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    };
    let attempt = |payload: Vec<u8>, words: &str| {
        World::new().refused(&[(&rpm, rpm.archive_with(&payload, None))], words);
    };
    attempt([file("./../etc/passwd", b"1"), last()].concat(), "a name that cannot be");
    attempt([file("a/../../b", b"1"), last()].concat(), "a name that cannot be");
    attempt([file("/etc/passwd", b"1"), last()].concat(), "does not list");
    attempt([file("./usr/share/a", b"1"), file("./etc/passwd", b"x"), last()].concat(), "not list");
    attempt([file("./usr/share/a", b"2"), last()].concat(), "usr/share/a");
    attempt([file("./usr/share/a", b"22"), last()].concat(), "usr/share/a");
    let link = [entry(b"./usr/share/a", 0o120_777, b"/etc/passwd"), vec![0], last()].concat();
    attempt(link, "usr/share/a");
    // Where a file goes is the header's word alone; the payload may lead with a slash or a dot.
    let good = [file("/usr/share/a", b"1"), last()].concat();
    let Err(error) = World::new().lay_out(&[(&rpm, rpm.archive_with(&good, None))]) else {
        panic!("the digest of the payload is another one")
    };
    assert!(
        std::error::Error::source(&error).unwrap().to_string().contains("payload is not the one")
    );
    assert!(World::new().unpack(std::slice::from_ref(&rpm)).is_ok());
}

#[test]
fn c16_paths_of_a_header_never_lead_out() {
    for (path, is_good) in [
        ("/usr/../../etc/passwd", false),
        ("relative", false),
        ("/usr/./x", true),
        ("/usr/share/..", false),
        ("/usr/share/...", true),
    ] {
        let rpm = Rpm::new("a", "1").with(vec![Listed::regular(path, b"x")]);
        let outcome = World::new().unpack(&[rpm]);
        assert_eq!(outcome.is_ok(), is_good, "{path}: {:?}", outcome.err());
    }
}

#[test]
fn c22_names_that_a_shell_would_run_are_just_names() {
    for name in ["$(touch x)", "-rf", "a\nb", "`id`", "%{lua:x}", "\u{1b}[2J"] {
        let path = format!("/usr/share/{name}");
        let tree =
            World::new().unpack(&[Rpm::new("a", "1").with(vec![Listed::regular(&path, b"x")])]);
        assert!(is_regular(&tree.unwrap(), &path), "{name:?}");
    }
}

#[test]
fn r8_a_file_that_holds_another_package_is_refused() {
    let (a, b) = (Rpm::new("a", "1"), Rpm::new("b", "1"));
    let older = Rpm::new("a", "0.9");
    World::new().refused(&[(&a, b.archive(None))], "b");
    World::new().refused(&[(&a, older.archive(None))], "0.9");
    assert!(World::new().lay_out(&[(&a, a.archive(None))]).is_ok());
}

#[test]
fn m6_m7_a_package_cut_anywhere_or_changed_in_its_header_is_refused() {
    let rpm = Rpm::new("a", "1");
    let good = rpm.archive(None);
    for end in (0..good.len()).step_by(7) {
        assert!(World::new().lay_out(&[(&rpm, good[..end].to_vec())]).is_err(), "{end}");
    }
    let start = good.len() - rpm.payload().len() - rpm.header().len();
    for at in (start..good.len() - rpm.payload().len()).step_by(5) {
        let mut bad = good.clone();
        bad[at] ^= 0x20;
        assert!(World::new().lay_out(&[(&rpm, bad)]).is_err(), "{at}");
    }
    assert!(World::new().lay_out(&[(&rpm, good)]).is_ok());
}

#[test]
fn the_database_is_kept_as_the_distribution_s_own_rpm_keeps_it() {
    let packages = [Rpm::new("a", "1")];
    for (distribution, there, absent) in [
        ("azurelinux", &["var/lib/rpm/rpmdb.sqlite"][..], "usr/lib/sysimage/rpm"),
        (
            "opensuse",
            &["usr/lib/sysimage/rpm/Packages.db", "usr/lib/sysimage/rpm/Index.db"],
            "var/lib/rpm",
        ),
    ] {
        let tree = World::of(distribution).unpack(&packages).unwrap();
        assert!(there.iter().all(|path| is_regular(&tree, path)), "{distribution}");
        assert!(tree.get(&at(absent)).is_none(), "{distribution}");
    }
}

#[test]
fn a_database_that_the_distribution_s_own_rpm_cannot_read_is_told_of() {
    for (distribution, format, keep, is_told) in [
        ("centos", DatabaseFormat::Bdb, true, 1),
        ("centos", DatabaseFormat::Bdb, false, 0),
        ("centos", DatabaseFormat::Sqlite, true, 0),
        ("opensuse", DatabaseFormat::Ndb, true, 0),
    ] {
        let mut recipe = World::of(distribution).recipe;
        (recipe.release.database_format, recipe.guest.keep_database) = (format, keep);
        let told = std::sync::Mutex::new(0);
        tell_of_database(&recipe, &|_| *told.lock().unwrap() += 1);
        assert_eq!(told.into_inner().unwrap(), is_told, "{distribution} {format:?} {keep}");
    }
}
