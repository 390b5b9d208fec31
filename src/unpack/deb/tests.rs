//! Packages made in memory, laid out over each other.

use std::collections::BTreeMap;
use std::io::Cursor;

use tempfile::TempDir;

use super::*;
use crate::digest::Digest;
use crate::event::nobody;
use crate::package::compression::{Compression, tests::compress};
use crate::package::deb::archive;
use crate::package::deb::archive::tests::Deb as Builder;
use crate::package::deb::database::State;
use crate::package::tar::tests::{Builder as Tar, chain};
use crate::testing::Stuttering;
use crate::unpack::tarball;

/// A store in a folder of its own.
struct World {
    _folder: TempDir,
    store: Store,
    settings: Settings,
    merged_usr: bool,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("cache")).unwrap();
        Self { _folder: folder, store, settings: Settings::default(), merged_usr: false }
    }

    fn merged_usr() -> Self {
        Self { merged_usr: true, ..Self::new() }
    }

    fn unpack(&self, debs: Vec<Builder>) -> Result<LaidOut, Error> {
        let debs: Vec<_> = debs.into_iter().map(Builder::bytes).collect();
        let archives: BTreeMap<_, _> =
            debs.into_iter().map(|bytes| (Digest::of(&bytes), bytes)).collect();
        let locked: Vec<_> = archives.values().map(|bytes| lock(bytes)).collect();
        self.lay_out(&locked, &|package| Ok(&archives[&package.digest]))
    }

    fn lay_out<R: AsRef<[u8]>>(
        &self,
        locked: &[LockedPackage],
        open: &(dyn Fn(&LockedPackage) -> io::Result<R> + Sync),
    ) -> Result<LaidOut, Error> {
        let archives: Vec<_> =
            locked.iter().map(|package| (package, || open(package).map(Cursor::new))).collect();
        let ground = Ground {
            architecture: Architecture::X86_64,
            merged_usr: self.merged_usr,
            settings: &self.settings,
        };
        lay_out(Opened::open(&archives, &self.store, &nobody)?, &ground)
    }

    fn refusal(&self, debs: Vec<Builder>) -> String {
        chain(&self.unpack(debs).unwrap_err())
    }

    fn text(&self, tree: &Tree, path: &str) -> String {
        let Kind::Regular(content) = &tree.get(&at(path)).unwrap().kind else { panic!("{path}") };
        let mut text = String::new();
        content.open(&self.store).unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

fn at(path: &str) -> TreePath {
    TreePath::parse(path).unwrap()
}

/// The entry of a lock for a package as the tests make them.
fn lock(bytes: &[u8]) -> LockedPackage {
    let archive = archive::Archive::open(bytes, bytes.len() as u64).unwrap();
    let field = |name| archive.control.stanza.get(name).unwrap().to_owned();
    LockedPackage {
        name: field("Package").parse().unwrap(),
        version: field("Version"),
        architecture: field("Architecture"),
        repository: 0,
        path: "pool".to_owned(),
        size: bytes.len() as u64,
        digest: Digest::of(bytes),
    }
}

fn deb(name: &str, fields: &str, data: impl FnOnce(Tar) -> Tar) -> Builder {
    Builder::new(name, fields).data(data)
}

/// The paths of a tree that are not the database's.
fn paths(tree: &Tree) -> Vec<String> {
    let paths = tree.walk().map(|(path, ..)| path.to_string());
    paths.filter(|path| !path.starts_with("/var")).collect()
}

#[test]
fn packages_share_directories_and_bring_a_database() {
    let world = World::new();
    let one = deb("one", "Essential: yes\n", |data| {
        data.directory("./etc").file("./etc/one", b"1\n").hard_link("./etc/uno", "./etc/one")
    });
    let one = one
        .member("conffiles", "/etc/one\n")
        .member("postinst", "#!/bin/sh\n")
        .member("triggers", "interest-noawait /usr/share/man\ninterest ldconfig\n");
    let two = deb("two", "", |data| data.directory("./etc").symlink("./etc/two", "one"));
    let two = two.member("md5sums", "");
    let LaidOut { tree, packages } = world.unpack(vec![two, one]).unwrap();
    assert_eq!(paths(&tree), ["/", "/etc", "/etc/one", "/etc/two", "/etc/uno"]);
    assert_eq!(tree.lookup(&at("etc/one")), tree.lookup(&at("etc/uno")));
    let names: Vec<_> = packages.iter().map(|package| package.name.as_str()).collect();
    assert_eq!(names, ["one", "two"]);
    assert_eq!(packages[0].scripts.keys().collect::<Vec<_>>(), [&ScriptKind::Postinst]);
    let text = |path: &str| world.text(&tree, &format!("var/lib/dpkg/{path}"));
    assert_eq!(text("info/one.list"), "/.\n/etc\n/etc/one\n/etc/uno\n");
    assert_eq!(text("info/one.md5sums"), "b026324c6904b2a9cb4b88d6d61c81d1  etc/one\n");
    assert_eq!(text("info/two.md5sums"), "");
    assert_eq!(text("triggers/File"), "/usr/share/man one/noawait\n");
    assert_eq!(text("triggers/ldconfig"), "one\n");
    assert_eq!(text("arch"), "amd64\n");
    let unpacked = text("status");
    assert!(unpacked.starts_with("Package: one\nEssential: yes\nStatus: install ok unpacked\n"));
    assert!(unpacked.contains("Conffiles:\n /etc/one b026324c6904b2a9cb4b88d6d61c81d1\n"));
    let installed = status(&packages, State::Installed);
    assert_eq!(installed, unpacked.replace("ok unpacked", "ok installed"));
}

#[test]
fn a_second_build_reads_no_archive_and_gives_the_same() {
    let world = World::new();
    let bytes = deb("one", "", |data| {
        data.directory("./dev")
            .pax(&[("SCHILY.xattr.security.capability", b"\x01\0\xff")])
            .file("./dev/\x07ping\\", b"content")
            .hard_link("./dev/pong", "./dev/\x07ping\\")
            .symlink("./dev/l", "a\tb")
            .add(&crate::package::tar::tests::Member {
                device: (1, 3),
                ..crate::package::tar::tests::Member::new("./dev/null", b'3')
            })
    })
    .member("postinst", "#!/bin/sh\necho \\\t\u{fc}\n")
    .bytes();
    let locked = [lock(&bytes)];
    let first = world.lay_out(&locked, &|_| Ok(&bytes[..])).unwrap();
    let nothing = |_: &LockedPackage| Err::<&[u8], _>(io::Error::other("must not be opened"));
    let second = world.lay_out(&locked, &nothing).unwrap();
    assert_eq!(first.tree, second.tree);
    assert_eq!(first.packages[0].scripts, second.packages[0].scripts);
    let xattrs = &second.tree.get(&at("dev/pong")).unwrap().meta.xattrs;
    assert_eq!(xattrs[&b"security.capability"[..]], b"\x01\0\xff");
    world.store.put_record("deb-1", &locked[0].digest, b"osbuilder-deb 1\nf\t/x\n").unwrap();
    assert!(world.lay_out(&locked, &nothing).is_err());
    assert_eq!(world.lay_out(&locked, &|_| Ok(&bytes[..])).unwrap().tree, first.tree);
}

#[test]
fn r8_an_archive_that_holds_another_package_is_refused() {
    let world = World::new();
    let bytes = deb("bar", "", |data| data).bytes();
    let mut locked = lock(&bytes);
    locked.name = "foo".parse().unwrap();
    let refusal = world.lay_out(&[locked.clone()], &|_| Ok(&bytes[..])).unwrap_err().to_string();
    let text = r#"the archive of foo holds another package: its Package is "bar", not "foo""#;
    assert_eq!(refusal, text);
    locked.name = "bar".parse().unwrap();
    locked.version = "0.9".to_owned();
    assert!(world.lay_out(&[locked], &|_| Ok(&bytes[..])).is_err());
}

#[test]
fn files_of_two_packages_go_to_the_one_that_replaces_the_other() {
    let world = World::new();
    let make = |fields: [&str; 2]| {
        let file = |text: &'static [u8]| move |data: Tar| data.file("./f", text);
        vec![deb("one", fields[0], file(b"1")), deb("two", fields[1], file(b"2"))]
    };
    for (fields, winner) in [
        (["", "Replaces: one\n"], "2"),
        (["Replaces: two (<< 2)\n", ""], "1"),
        (["", "Replaces: x, one (= 1.0)\n"], "2"),
        (["", "Conflicts: zero\nReplaces: zero, one\n"], "2"),
    ] {
        let LaidOut { tree, .. } = world.unpack(make(fields)).unwrap();
        assert_eq!(world.text(&tree, "f"), winner);
        let list = |name| world.text(&tree, &format!("var/lib/dpkg/info/{name}.list"));
        let (one, two) = if winner == "1" { ("/.\n/f\n", "/.\n") } else { ("/.\n", "/.\n/f\n") };
        assert_eq!((&*list("one"), &*list("two")), (one, two));
    }
    for fields in [["", ""], ["", "Replaces: one (<< 1.0)\n"], ["Conflicts: three\n", ""]] {
        let text = "/f is both in one and in two, and neither replaces the other";
        assert_eq!(world.refusal(make(fields)), text);
    }
}

#[test]
fn files_meet_where_their_paths_lead_on_a_merged_usr() {
    let world = World::merged_usr();
    let one = || deb("one", "", |data| data.directory("./bin").file("./bin/x", b"1"));
    let two = |name: &'static str| {
        deb("two", "", move |data| data.directory("./usr").directory("./usr/bin").file(name, b""))
    };
    let LaidOut { tree, packages } = world.unpack(vec![one(), two("./usr/bin/y")]).unwrap();
    let expected = ["/", "/bin", "/lib", "/sbin", "/usr", "/usr/bin", "/usr/bin/x", "/usr/bin/y"];
    assert_eq!(paths(&tree), expected);
    assert_eq!(packages[0].paths[1..], [at("bin"), at("bin/x")]);
    let conflict = world.refusal(vec![one(), two("./usr/bin/x")]);
    assert_eq!(conflict, "/usr/bin/x is both in one and in two, and neither replaces the other");
    let base = deb("base", "Essential: yes\n", |data| data.symlink("./bin", "usr/bin"));
    assert!(world.unpack(vec![base, one()]).is_ok());
}

#[test]
fn directories_stay_and_files_never_take_their_place() {
    let world = World::new();
    let directory = || deb("one", "", |data| data.directory("./d").file("./d/f", b""));
    let link = deb("two", "", |data| data.symlink("./d", "elsewhere"));
    let tree = world.unpack(vec![directory(), link]).unwrap().tree;
    assert_eq!(paths(&tree), ["/", "/d", "/d/f"]);
    let file = || deb("two", "", |data| data.file("./d", b""));
    assert_eq!(
        world.refusal(vec![directory(), file()]),
        "/d of two is a directory of another package"
    );
    let late = deb("zz", "", |data| data.directory("./d"));
    assert_eq!(world.refusal(vec![file(), late]), "the directory /d is a file of two");
    let links = || ["a", "b"].map(|name| deb(name, "", |data| data.symlink("./l", "d")));
    assert!(world.unpack(links().into()).is_err());
    let with_target = [links().into(), vec![deb("0", "", |data| data.directory("./d"))]].concat();
    assert!(world.unpack(with_target).is_ok());
}

#[test]
fn instances_for_several_architectures_share_equal_files_only() {
    let world = World::new();
    let instance = |architecture: &str, text: &[u8]| {
        let control =
            format!("Package: lib\nVersion: 1.0\nArchitecture: {architecture}\nMulti-Arch: same\n");
        let control = Tar::default().file("./control", control.as_bytes());
        let deb = deb("lib", "", |data| data.file("./doc", text));
        Builder { control, ..deb }
    };
    let tree = world.unpack(vec![instance("amd64", b"x"), instance("arm64", b"x")]).unwrap().tree;
    for name in ["lib:amd64", "lib:arm64"] {
        assert_eq!(world.text(&tree, &format!("var/lib/dpkg/info/{name}.list")), "/.\n/doc\n");
    }
    let refusal = world.refusal(vec![instance("amd64", b"x"), instance("arm64", b"y")]);
    assert_eq!(refusal, "/doc differs between the architectures of lib");
}

#[test]
fn diversions_and_overrides_known_before_are_followed() {
    let mut world = World::new();
    world.settings.diversions =
        vec![Diversion { from: at("sh"), to: at("sh.orig"), package: Some("one".to_owned()) }];
    world.settings.overrides = vec![StatOverride { path: at("sh"), uid: 0, gid: 42, mode: 0o4755 }];
    let make = |name| deb(name, "", move |data| data.file("./sh", name.as_bytes()));
    let tree = world.unpack(vec![make("one"), make("two")]).unwrap().tree;
    assert_eq!(world.text(&tree, "sh"), "one");
    assert_eq!(world.text(&tree, "sh.orig"), "two");
    let meta = &tree.get(&at("sh")).unwrap().meta;
    assert_eq!((meta.uid, meta.gid, meta.mode), (0, 42, 0o4755));
    assert_eq!(world.text(&tree, "var/lib/dpkg/info/two.list"), "/.\n/sh\n");
}

#[test]
fn c6_files_below_another_packages_link_land_inside_the_root() {
    let world = World::new();
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().to_str().unwrap();
    for target in [target.to_owned(), format!("../../../../../../..{target}")] {
        let link = deb("one", "", |data| data.directory("./usr").symlink("./usr/x", &target));
        let file = deb("two", "", |data| data.directory("./usr").file("./usr/x/f", b"evil"));
        let tree = world.unpack(vec![link, file]).unwrap().tree;
        let inside = format!("{}/f", outside.path().display());
        assert_eq!(world.text(&tree, &inside), "evil");
        assert!(fs_err::read_dir(outside.path()).unwrap().next().is_none());
    }
    let good =
        deb("two", "", |data| data.directory("./usr").directory("./usr/x").file("./usr/x/f", b""));
    let tree = world.unpack(vec![good]).unwrap().tree;
    assert_eq!(paths(&tree), ["/", "/usr", "/usr/x", "/usr/x/f"]);
}

#[test]
fn c14_directories_devices_and_modes_through_a_link_stay_inside_the_root() {
    let world = World::new();
    let link = deb("one", "", |data| data.symlink("./x", "/tmp/out"));
    let rest = deb("two", "", |data| {
        data.directory("./x")
            .add(&crate::package::tar::tests::Member {
                device: (8, 0),
                ..crate::package::tar::tests::Member::new("./x/sda", b'4')
            })
            .directory("./x/deep")
            .pax(&[("SCHILY.xattr.user.a", b"b")])
            .file("./x/deep/f", b"")
    });
    let tree = world.unpack(vec![link, rest]).unwrap().tree;
    let expected =
        ["/", "/tmp", "/tmp/out", "/tmp/out/deep", "/tmp/out/deep/f", "/tmp/out/sda", "/x"];
    assert_eq!(paths(&tree), expected);
    let circle = deb("one", "", |data| data.symlink("./x", "x"));
    let file = deb("two", "", |data| data.file("./x/f", b""));
    let text =
        "the files of the packages do not fit together: too many symbolic links on the way to /x";
    assert_eq!(world.refusal(vec![circle, file]), text);
}

#[test]
fn c18_hard_links_lead_to_earlier_files_of_the_same_archive() {
    let world = World::new();
    let other = deb("one", "", |data| data.file("./shadow", b"secret"));
    let link = |target: &'static str| {
        deb("two", "", move |data| {
            data.directory("./d").hard_link("./l", target).file("./late", b"")
        })
    };
    for target in ["./shadow", "./late", "./d"] {
        let text = "/l in two is a hard link to a file that does not stand before it";
        assert_eq!(world.refusal(vec![other.clone(), link(target)]), text);
    }
    let good = deb("two", "", |data| data.file("./f", b"").hard_link("./l", "./f"));
    assert_eq!(paths(&world.unpack(vec![other, good]).unwrap().tree).len(), 4);
}

#[test]
fn c7_directories_without_any_permission_leave_nothing_behind() {
    let world = World::new();
    let deb = || {
        let hostile = crate::package::tar::tests::Member::new("./locked", b'5');
        let hostile = crate::package::tar::tests::Member { mode: 0, ..hostile };
        deb("one", "", |data| data.add(&hostile).file("./locked/f", b"x"))
    };
    let files = || walk_count(world.store.root());
    world.unpack(vec![deb()]).unwrap();
    let before = files();
    for _ in 0..100 {
        world.unpack(vec![deb()]).unwrap();
    }
    assert_eq!(files(), before);
}

fn walk_count(folder: &std::path::Path) -> usize {
    let entries = fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { 1 + walk_count(&path) } else { 1 }).sum()
}

#[test]
fn c11_a_broken_last_byte_leaves_no_file_of_the_package() {
    let world = World::new();
    let mut bytes = deb("one", "", |data| data.file("./f", b"x")).bytes();
    let good = lock(&bytes);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let kept = |world: &World| world.store.load_pack(&good.digest).unwrap();
    assert!(world.lay_out(std::slice::from_ref(&good), &|_| Ok(&bytes[..])).is_err());
    assert!(!kept(&world));
    bytes[last] ^= 1;
    assert!(world.lay_out(std::slice::from_ref(&good), &|_| Ok(&bytes[..])).is_ok());
    assert!(kept(&world));
}

#[test]
fn tarballs_of_every_compression_become_trees() {
    let world = World::new();
    let plain = Tar::default()
        .directory("./usr")
        .directory("./usr/bin")
        .file("./usr/bin/agent", b"agent")
        .hard_link("./usr/bin/other", "./usr/bin/agent")
        .symlink("./sbin", "usr/bin")
        .directory("./usr/bin")
        .file("./sbin/late", b"late")
        .finish();
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd, Compression::Xz] {
        let packed = compress(compression, &plain);
        let tree = tarball(&packed[..], &world.store).unwrap();
        let slowly = tarball(Stuttering::new(&packed[..]), &world.store).unwrap();
        assert_eq!(slowly, tree, "{compression} byte by byte (F5)");
        let expected =
            ["/", "/sbin", "/usr", "/usr/bin", "/usr/bin/agent", "/usr/bin/late", "/usr/bin/other"];
        assert_eq!(paths(&tree), expected);
        assert_eq!(world.text(&tree, "usr/bin/other"), "agent");
        for end in [0, packed.len() / 2, packed.len() - 513 % packed.len()] {
            assert!(tarball(&packed[..end], &world.store).is_err(), "{compression} cut at {end}");
        }
    }
}

#[test]
fn c18_paths_that_stand_twice_in_a_tarball_are_refused() {
    let world = World::new();
    let refusal = |tar: Tar| chain(&tarball(&tar.finish()[..], &world.store).unwrap_err());
    let start = || Tar::default().symlink("d", "elsewhere").file("f", b"");
    assert_eq!(refusal(start().directory("d")), "/d is in the tarball twice");
    assert_eq!(refusal(start().file("./f", b"")), "/f is in the tarball twice");
    assert_eq!(refusal(start().directory("e").symlink("e", "f")), "/e is in the tarball twice");
    let below = "the files of the packages do not fit together: /f is not a directory";
    assert_eq!(refusal(start().file("f/below", b"")), below);
    let link = "/l in the tarball is a hard link to a file that does not stand before it";
    assert_eq!(refusal(start().hard_link("l", "late")), link);
    assert!(tarball(&start().directory("e").finish()[..], &world.store).is_ok());
}

/// Archives that attack unpackers, and what becomes of them. `None`: they are read, and stay inside.
#[test]
fn c18_collected_malicious_archives_stay_inside_or_are_refused() {
    let Some(folder) = test_data("malicious") else { return };
    let world = World::new();
    let broken = "cannot unpack the tarball: entry 1 of the tar archive";
    let cases = [
        ("bad_name.tar", None),
        ("escape.tar", Some("/escape is in the tarball twice".to_owned())),
        (
            "test_compat_tar_hardlink_1.tar",
            Some(
                "cannot unpack the tarball: entry 3 of the tar archive is missing: \
                the archive has no end mark"
                    .to_owned(),
            ),
        ),
        (
            "test_read_format_tar_invalid_pax_size.tar",
            Some(format!("{broken} has a malformed PAX header")),
        ),
        (
            "test_read_format_tar_timestamp_overflow.tar",
            Some(format!("{broken} (tmp/f.txt) has a malformed size")),
        ),
    ];
    for (name, refusal) in cases {
        let file = fs_err::File::open(folder.join(name)).unwrap();
        let read = tarball(file, &world.store);
        assert_eq!(read.as_ref().err().map(|error| chain(error)), refusal, "{name}");
        if let Ok(tree) = read {
            assert!(tree.walk().count() > 1, "{name}");
        }
    }
}

/// A folder of the shared test data; `None`, visibly, where it is absent.
#[expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "where test data is, and whether it must be there, is said by the environment"
)]
fn test_data(name: &str) -> Option<std::path::PathBuf> {
    let root = std::env::var_os("OSBUILDER_TEST_DATA").map(std::path::PathBuf::from);
    let default = || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let folder = root.unwrap_or_else(default).join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(std::env::var_os("CI").is_none(), "{} is missing", folder.display());
    eprintln!("skipped: no test data in {}", folder.display());
    None
}
