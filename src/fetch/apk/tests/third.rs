//! The same lies in the formats of version 3.

use osbuilder_testkit::alpine::{Key, Package};
use osbuilder_testkit::alpine3::{deflated, index, repository};
use osbuilder_testkit::key::BORN;
use osbuilder_testkit::repository::Files;
use osbuilder_testkit::server::Server;

use super::{FILE, FOLDER, files, message, not_pinned, package, pin, world};
use crate::digest::Digest;
use crate::fetch::world::{DAY, mirror};

const INDEX: &str = "v1/main/x86_64/Packages.adb";

fn third(packages: &[Package]) -> Files {
    repository(FOLDER, packages, &Key::trusted())
}

/// A repository whose index is right for this archive.
fn around(archive: &[u8]) -> Files {
    let size = u64::try_from(archive.len()).unwrap();
    let index = index(&[(&package(), package().third_identity(), size)], Some(&Key::trusted()));
    Files::from([(INDEX.to_owned(), index), (FILE.to_owned(), archive.to_vec())])
}

#[test]
fn an_index_and_packages_of_version_3_give_a_lock() {
    let all = third(&[package(), Package::new("b", "2-r0").fields("depend = a>0\n")]);
    let server = Server::with_files(all.clone());
    let mut world = world(&[&server.url()]);
    assert!(world.index_text().contains("P:b\nV:2-r0\nA:x86_64\n"));
    assert!(world.index_text().contains("D:a>0\n"));
    let lock = pin(&world).unwrap();
    assert_eq!(lock.packages[0].digest, Digest::of(&all[FILE]));
    assert_eq!(lock.repositories[0].date.seconds(), u64::from(BORN));
    assert!(lock.repositories[0].signed_by[0].ends_with(" SHA-512"));
    world.offline = true;
    assert_eq!(pin(&world).unwrap(), lock);
    // Indexes of version 3 may name packages of either version, and need not be compressed.
    let plain = package().third(Some(&Key::trusted()));
    for archive in [plain.clone(), deflated(&plain)] {
        let server = Server::with_files(around(&archive));
        assert!(pin(&super::world(&[&server.url()])).is_ok());
    }
}

#[test]
fn a1_an_index_of_version_3_needs_the_pinned_key() {
    let listed = [(&package(), package().third_identity(), 1)];
    for (key, reason) in [(None, "it is not signed"), (Some(Key::stranger()), "has signed it, but")]
    {
        let index = index(&listed, key.as_ref());
        let server = Server::with_files(Files::from([(INDEX.to_owned(), index)]));
        world(&[&server.url()]).refused(reason);
    }
    let good = index(&listed, Some(&Key::trusted()));
    let signature = good.len() - 20;
    for (at, reason) in [(60, "the signature of test-1.rsa.pub is wrong"), (signature, "is wrong")]
    {
        let mut bad = good.clone();
        bad[at] ^= 1;
        let server = Server::with_files(Files::from([(INDEX.to_owned(), bad)]));
        world(&[&server.url()]).refused(reason);
    }
    // A package is no index, whoever signed it.
    let package = package().third(Some(&Key::trusted()));
    let server = Server::with_files(Files::from([(INDEX.to_owned(), package)]));
    world(&[&server.url()]).refused("broken");
}

#[test]
fn a2_a_package_of_version_3_is_signed_itself_and_holds_what_it_names() {
    not_pinned(around(&package().third(None)), "it is not signed");
    not_pinned(around(&package().third(Some(&Key::stranger()))), "has signed it, but");
    let other = Package::new("a", "9-r0").third(Some(&Key::trusted()));
    not_pinned(around(&other), "another package than the index names");
    let mut flipped = package().third(Some(&Key::trusted()));
    let at = flipped.windows(4).rposition(|window| window == b"1-r0").unwrap();
    flipped[at] ^= 1;
    let world = not_pinned(around(&flipped), "the digest of a file is");
    assert!(!world.store.contains(&Digest::of(&flipped)).unwrap());
    let packed = deflated(&flipped);
    let world = not_pinned(around(&packed), "the digest of a file is");
    assert!(!world.store.contains(&Digest::of(&packed)).unwrap());
}

#[test]
fn r2_no_format_of_an_index_leads_back_to_an_older_state() {
    let at = |built| [Package { built, ..package() }];
    let newer = Server::with_files(files(&at(BORN + DAY)));
    let mut world = world(&[&newer.url()]);
    let lock = pin(&world).unwrap();
    drop(newer);
    let older = Server::with_files(third(&at(BORN)));
    world.recipe.distro.mirrors.push(mirror(&older.url()));
    assert!(world.index_text().contains(&format!("t:{}\n", BORN + DAY)));
    world.lock = Some(lock);
    world.refused("somebody serves an old state");
    let error = message(&world.indexes().unwrap_err());
    assert!(error.contains("v1/main"), "{error}");
}

#[test]
fn r11_an_index_of_version_3_names_files_as_usual() {
    let mut all = third(&[package()]);
    let both = [all.clone(), files(&[package()])];
    // The index of version 2 is asked for first.
    all.extend(both[1].clone());
    let server = Server::with_files(all);
    assert!(world(&[&server.url()]).index_text().contains("C:Q1"));
    let server = Server::with_files(both[0].clone());
    assert!(world(&[&server.url()]).index_text().contains("C:Q2"));
}
