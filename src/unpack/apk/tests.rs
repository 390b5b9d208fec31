//! Packages made in memory, laid out over each other.

use std::collections::BTreeMap;
use std::io::Cursor;

use super::*;
use crate::digest::Digest;
use crate::event::nobody;
use crate::package::apk::archive::tests::Apk as Builder;
use crate::package::tar::tests::{Builder as Tar, Member, chain};
use crate::recipe::{self, Options, Request, Surroundings};
use crate::tree::{Content, Kind, Tree};

/// A recipe that asks for packages, and nothing else.
fn recipe(asked: &[&str]) -> Recipe {
    let options = Options { distro: Some("alpine".into()), ..Options::default() };
    let host = Some(crate::distro::Architecture::X86_64);
    let surroundings = Surroundings { host, without_agent: true, ..Surroundings::default() };
    let environment = BTreeMap::new();
    let request = Request {
        file: None,
        environment: &environment,
        options: &options,
        surroundings: &surroundings,
    };
    let mut recipe = recipe::read(request).unwrap().recipe;
    recipe.packages.base = asked.iter().map(|name| name.parse().unwrap()).collect();
    recipe.packages.extra.clear();
    recipe
}

fn lay_out(apks: &[Builder]) -> Result<(Tree, Packages), Error> {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("cache")).unwrap();
    let bytes: Vec<Vec<u8>> = apks.iter().map(Builder::bytes).collect();
    let locked: Vec<LockedPackage> =
        apks.iter().zip(&bytes).map(|(apk, bytes)| lock(apk, bytes)).collect();
    // Once from the archives, once from what the cache kept of them.
    let open = || {
        let archives = locked.iter().zip(&bytes);
        let archives: Vec<_> =
            archives.map(|(package, bytes)| (package, move || Ok(Cursor::new(bytes)))).collect();
        Opened::open((&archives, &[]), &store, &nobody)
    };
    let first = open()?;
    let again = open()?;
    assert_eq!(first.apks, again.apks);
    let asked: Vec<&str> = locked.iter().map(|package| package.name.as_str()).collect();
    let epoch = Epoch::new(1_600_000_000).unwrap();
    let Unpacked { tree, packages } = unpack(again, &recipe(&asked), epoch)?;
    let Installed::Apk(packages) = packages else { panic!("an Alpine recipe") };
    Ok((tree, packages))
}

fn lock(apk: &Builder, bytes: &[u8]) -> LockedPackage {
    let name = apk.info.lines().next().unwrap().strip_prefix("pkgname = ").unwrap();
    LockedPackage {
        name: name.parse().unwrap(),
        version: "1.0-r0".to_owned(),
        architecture: "x86_64".to_owned(),
        repository: 0,
        path: "x".to_owned(),
        size: u64::try_from(bytes.len()).unwrap(),
        digest: Digest::of(bytes),
    }
}

#[track_caller]
fn refusal(apks: &[Builder]) -> String {
    chain(&lay_out(apks).unwrap_err())
}

fn at(path: &str) -> TreePath {
    TreePath::parse(path).unwrap()
}

fn text(tree: &Tree, path: &str) -> String {
    match &tree.get(&at(path)).unwrap().kind {
        Kind::Regular(Content::Inline(bytes)) => String::from_utf8(bytes.to_vec()).unwrap(),
        Kind::Symlink(target) => String::from_utf8(target.to_vec()).unwrap(),
        other => panic!("{path} is {other:?}"),
    }
}

/// The digest of what stands in a file that a package brought.
fn digest(tree: &Tree, path: &str) -> Digest {
    match &tree.get(&at(path)).unwrap().kind {
        Kind::Regular(Content::Stored { digest, .. }) => *digest,
        other => panic!("{path} is {other:?}"),
    }
}

fn one(name: &str, fields: &str, content: &[u8]) -> Builder {
    Builder::new(name, fields).data(|data| data.directory("etc").file("etc/x", content))
}

#[test]
fn packages_bring_files_a_database_and_what_apk_itself_makes() {
    let apk = Builder::new("one", "triggers = /usr/*\n")
        .script(".post-install", "#!/bin/sh\n")
        .script(".trigger", "#!/bin/sh\n:\n")
        .data(|data| data.directory("usr").file("usr/one", b"1").symlink("usr/uno", "one"));
    let (tree, packages) = lay_out(&[apk]).unwrap();
    assert_eq!(text(&tree, "etc/apk/world"), "one\n");
    assert_eq!(text(&tree, "etc/apk/arch"), "x86_64\n");
    let repositories = text(&tree, "etc/apk/repositories");
    assert!(repositories.starts_with("https://dl-cdn.alpinelinux.org/alpine/v"), "{repositories}");
    let installed = text(&tree, "lib/apk/db/installed");
    let files = "F:usr\nR:one\nZ:Q1NWoZK3kTsExUV00Ywo1G5jlUKKs=\nR:uno\na:0:0:";
    assert!(installed.contains(&files[..files.len() - 6]), "{installed}");
    assert!(text(&tree, "lib/apk/db/triggers").ends_with(" /usr/*\n"));
    assert!(text(&tree, "lib/apk/db/scripts.tar").contains(".post-install"));
    assert_eq!(packages.as_slice().len(), 1);
    assert_eq!(packages.installed().unwrap(), installed.as_bytes());
    let mode = |path: &str| tree.get(&at(path)).unwrap().meta.mode;
    assert_eq!((mode("tmp"), mode("proc"), mode("lib/apk/db/lock")), (0o1777, 0o555, 0o600));
    assert!(matches!(tree.get(&at("dev/null")).unwrap().kind, Kind::CharacterDevice(_)));
}

#[test]
fn one_file_of_two_packages_needs_a_reason() {
    let (a, b) = (one("a", "", b"a"), one("b", "", b"b"));
    let error = refusal(&[a.clone(), b.clone()]);
    assert_eq!(error, "/etc/x is both in a and in b, and neither replaces the other");
    let of_a = digest(&lay_out(&[one("a", "", b"a")]).unwrap().0, "etc/x");
    let wins = |a_fields: &str, b_fields: &str| {
        let (tree, packages) =
            lay_out(&[one("a", a_fields, b"a"), one("b", b_fields, b"b")]).unwrap();
        // Each file has one owner.
        let owners = packages.as_slice().iter().flat_map(|package| &package.entries);
        assert_eq!(owners.filter(|entry| entry.place == at("etc/x")).count(), 1);
        digest(&tree, "etc/x") == of_a
    };
    assert!(!wins("", "replaces = a\n"));
    assert!(wins("replaces = b\n", ""));
    assert!(!wins("", "replaces = a>0\n"));
    assert!(wins("replaces = b\nreplaces_priority = 2\n", "replaces = a\nreplaces_priority = 1\n"));
    assert!(!wins(
        "replaces = b\nreplaces_priority = 1\n",
        "replaces = a\nreplaces_priority = 2\n"
    ));
    assert!(!wins("origin = x\n", "origin = x\n"));
    let other = refusal(&[a, one("b", "replaces = a<1\n", b"b")]);
    assert!(other.contains("neither replaces"), "{other}");
}

#[test]
fn c14_no_path_leads_out_of_the_tree_through_links_of_another_package() {
    let link = Builder::new("a", "").data(|data| data.symlink("lib64", "/usr/lib64"));
    let up = Builder::new("b", "").data(|data| data.symlink("up", "../../../.."));
    let through = Builder::new("c", "").data(|data| {
        data.directory("lib64").file("lib64/x", b"").directory("up").file("up/y", b"")
    });
    let (tree, _) = lay_out(&[link, up, through]).unwrap();
    for path in ["usr/lib64/x", "y"] {
        assert!(tree.get(&at(path)).is_some(), "{path}");
    }
}

#[test]
fn c12_a_link_is_replaced_and_never_written_through_and_no_name_is_special() {
    let long = format!("../../{}", "t".repeat(90));
    let links = |data: Tar| data.directory("d").symlink("d/f", "/tmp/out").symlink("d/l", &long);
    let link = Builder::new("a", "").data(links);
    let names = ["d/f", "d/.apk.0123456789", "d/.apk.f", "d/.osbuilder-tmp", "d/f.apk-new"];
    let files = |data: Tar| {
        names.into_iter().fold(data.directory("d"), |data, name| data.file(name, b"content"))
    };
    let file = Builder::new("b", "replaces = a\n").data(files);
    let (tree, _) = lay_out(&[link.clone(), file.clone()]).unwrap();
    for name in names {
        assert_eq!(digest(&tree, name), Digest::of(b"content"), "{name}");
    }
    assert!(tree.get(&at("tmp/out")).is_none());
    assert_eq!(text(&tree, "d/l"), long);
    // Without the permission to replace it, the link stays alone; and in one package both are too many.
    let claim = Builder { info: file.info.replace("replaces = a\n", ""), ..file };
    assert!(refusal(&[link, claim]).contains("neither replaces the other"));
    let both = Builder::new("c", "").data(|data| data.symlink("f", "/tmp/out").file("f", b""));
    assert!(refusal(&[both]).contains("is there twice"));
}

#[test]
fn a_file_and_a_directory_cannot_be_one() {
    let file = Builder::new("a", "").data(|data| data.file("x", b""));
    let directory = Builder::new("b", "").data(|data| data.directory("x"));
    assert_eq!(refusal(&[file.clone(), directory.clone()]), "the directory /x is a file of a");
    let later = Builder::new("c", "").data(|data| data.file("x", b""));
    assert_eq!(refusal(&[directory, later]), "/x of c is a directory of another package");
}

#[test]
fn a2_an_archive_of_another_package_is_refused() {
    let apk = one("a", "", b"");
    for (from, to, field) in [
        ("pkgname = a", "pkgname = b", "pkgname"),
        ("pkgver = 1.0-r0", "pkgver = 1.0-r1", "pkgver"),
        ("arch = x86_64", "arch = aarch64", "arch"),
    ] {
        let other = Builder { info: apk.info.replace(from, to), ..apk.clone() };
        let bytes = other.bytes();
        let locked = lock(&apk, &bytes);
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("cache")).unwrap();
        let archives = [(&locked, || Ok(Cursor::new(&bytes)))];
        let error = Opened::open((&archives, &[]), &store, &nobody).unwrap_err();
        let found = matches!(error, Error::OtherPackage { field: found, .. } if found == field);
        assert!(found, "{error}");
    }
    let noarch = Builder { info: apk.info.replace("arch = x86_64", "arch = noarch"), ..apk };
    let (tree, _) = lay_out(&[noarch]).unwrap();
    assert!(text(&tree, "lib/apk/db/installed").contains("\nA:x86_64\n"));
}

#[test]
fn what_is_needed_is_installed_first() {
    let order = |apks: &[Builder]| {
        let (_, packages) = lay_out(apks).unwrap();
        let names = packages.as_slice().iter().map(|package| package.name.to_string());
        names.collect::<Vec<_>>().join(" ")
    };
    let apk = Builder::new;
    assert_eq!(order(&[apk("a", "depend = b\n"), apk("b", "depend = c\n"), apk("c", "")]), "c b a");
    assert_eq!(order(&[apk("a", "depend = v\n"), apk("b", "provides = v=1\n")]), "b a");
}

#[test]
fn hard_links_devices_and_bits_are_laid_out() {
    let device = Member { device: (1, 3), mode: 0o666, ..Member::new("null", b'3') };
    let set = Member { mode: 0o4755, content: b"x", ..Member::new("su", b'0') };
    let make = |data: Tar| data.file("a", b"1").hard_link("b", "a").add(&device).add(&set);
    let (tree, packages) = lay_out(&[Builder::new("a", "").data(make)]).unwrap();
    assert_eq!(tree.lookup(&at("a")), tree.lookup(&at("b")));
    assert_eq!(tree.get(&at("su")).unwrap().meta.mode, 0o4755);
    let sums: Vec<_> = packages.as_slice()[0].entries.iter().map(|e| e.checksum).collect();
    assert_eq!(sums[0], sums[1]);
    assert!(text(&tree, "lib/apk/db/installed").contains("R:su\na:0:0:4755\n"));
    let dangling = Builder::new("a", "").data(|data| data.hard_link("b", "a"));
    assert!(refusal(&[dangling]).contains("does not stand before it"));
}
