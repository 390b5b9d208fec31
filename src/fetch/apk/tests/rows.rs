//! Mirrors that are slow, invent, mix or withhold, and a cache that changes: a test for each kind,
//! with the nearest good neighbour.

use std::time::Duration;

use osbuilder_testkit::alpine::{Algorithm, Key, Package, index, repository};
use osbuilder_testkit::alpine3;
use osbuilder_testkit::key::BORN;
use osbuilder_testkit::server::{Reply, Server, answer};

use super::{FILE, FOLDER, INDEX, files, message, mirror, package, pin, world};
use crate::fetch::world::DAY;

const THIRD: &str = "v1/main/x86_64/Packages.adb";

/// The text of an index that is right for the only package.
fn honest() -> String {
    package().stanza(&package().archive(&Key::trusted(), Algorithm::Sha1))
}

fn serving(name: &str, bytes: Vec<u8>) -> Server {
    let mut files = files(&[package()]);
    files.insert(name.to_owned(), bytes);
    Server::with_files(files)
}

#[test]
fn r1_a_package_changed_inside_the_cache_is_fetched_again() {
    let server = Server::with_files(files(&[package()]));
    let mut world = world(&[&server.url()]);
    let lock = pin(&world).unwrap();
    let object = world.store.object_path(&lock.packages[0].digest);
    let mut bytes = fs_err::read(&object).unwrap();
    let last = bytes.len() - 20;
    bytes[last] ^= 1;
    fs_err::remove_file(&object).unwrap();
    fs_err::write(&object, bytes).unwrap();
    world.offline = true;
    let error = message(&pin(&world).unwrap_err());
    assert!(error.contains("must be in the cache"), "{error}");
    world.offline = false;
    assert_eq!(pin(&world).unwrap(), lock);
    world.offline = true;
    assert_eq!(pin(&world).unwrap(), lock);
}

#[test]
fn r5_a_trickle_fails_over_and_a_world_of_trickles_is_refused() {
    let trickle = |what: &'static str| {
        let files = files(&[package()]);
        Server::start(move |request| match request.path().ends_with(what) {
            true => {
                let path = if what == ".apk" { FILE } else { INDEX };
                let bytes = files[path].chunks(1).take(200);
                bytes.fold(Reply::head(200, &[]), |reply, byte| {
                    reply.send(byte).wait(Duration::from_millis(20))
                })
            }
            false => answer(&files, request),
        })
    };
    let good = Server::with_files(files(&[package()]));
    for what in ["APKINDEX.tar.gz", ".apk"] {
        let (slow, slower) = (trickle(what), trickle(what));
        assert!(pin(&world(&[&slow.url(), &good.url()])).is_ok(), "{what}");
        let error = pin(&world(&[&slow.url(), &slower.url()])).unwrap_err();
        assert!(!error.is_out_of_step(), "{what}: {error:?}");
        assert!(message(&error).contains("bytes a second"), "{what}: {}", message(&error));
    }
    let silent = Server::start(|_| Reply::default().wait(Duration::from_secs(2)));
    world(&[&silent.url()]).refused("no mirror serves");
}

#[test]
fn r6_dependencies_come_from_what_was_signed() {
    let key = Key::trusted();
    let signed = [(&key, Algorithm::Sha1)];
    let evil = honest().replace("\n\n", "\nD:evil\n\n");
    let good = index(&honest(), &signed);
    let signature = &good[..good.len() - index(&honest(), &[]).len()];
    for (bytes, reason) in [
        (index(&evil, &[]), "it is not signed"),
        ([signature, &index(&evil, &[])].concat(), "the signature of test-1.rsa.pub is wrong"),
        ([&good[..], &index(&evil, &[])].concat(), "the signature of test-1.rsa.pub is wrong"),
    ] {
        let server = serving(INDEX, bytes);
        world(&[&server.url()]).refused(reason);
    }
    // What the repository's own key says of a package counts.
    for text in [honest(), evil] {
        let server = serving(INDEX, index(&text, &signed));
        assert_eq!(world(&[&server.url()]).index_text(), text);
    }
}

#[test]
fn r7_packages_of_one_day_under_the_index_of_another_are_refused_and_the_cache_stays() {
    let day = |built| files(&[Package { built, ..package() }]);
    let (first, second) = (day(BORN), day(BORN + DAY));
    let mut mixed = second.clone();
    mixed.insert(FILE.to_owned(), first[FILE].clone());
    let before = Server::with_files(first);
    let mut world = world(&[&before.url()]);
    let lock = pin(&world).unwrap();
    let root = world.recipe.distro.mirrors.clone();
    drop(before);
    let between = Server::with_files(mixed);
    // What the lock calls the repository stays; who serves it does not.
    world.recipe.distro.mirrors.push(mirror(&between.url()));
    let error = pin(&world).unwrap_err();
    assert!(error.is_out_of_step(), "{error:?}");
    let error = message(&error);
    assert!(error.contains("no mirror has a 1-r0"), "{error}");
    // The first day is still whole.
    world.offline = true;
    assert_eq!(world.packages(&lock).unwrap().iter().len(), 1);
    world.offline = false;
    let after = Server::with_files(second);
    world.recipe.distro.mirrors = root;
    world.recipe.distro.mirrors.push(mirror(&after.url()));
    assert_ne!(pin(&world).unwrap().packages[0].digest, lock.packages[0].digest);
}

#[test]
fn r10_there_is_no_way_down_to_unsigned() {
    let unsigned = index(&honest(), &[]);
    let bad = || serving(INDEX, unsigned.clone());
    let (one, two) = (bad(), bad());
    let good = Server::with_files(files(&[package()]));
    // Each mirror is judged anew.
    world(&[&one.url(), &two.url()]).refused("it is not signed");
    assert!(pin(&world(&[&one.url(), &good.url()])).is_ok());
    // Nor does the other format lead down: not when this one is absent, and not when it is bad.
    let listed = [(&package(), package().third_identity(), 1)];
    let third = |key: Option<&Key>| alpine3::index(&listed, key);
    let mut without = files(&[package()]);
    without.remove(INDEX);
    without.insert(THIRD.to_owned(), third(None));
    let server = Server::with_files(without.clone());
    world(&[&server.url()]).refused("it is not signed");
    without.insert(THIRD.to_owned(), third(Some(&Key::trusted())));
    let server = Server::with_files(without.clone());
    assert!(world(&[&server.url()]).indexes().is_ok());
    without.insert(INDEX.to_owned(), unsigned.clone());
    let server = Server::with_files(without);
    world(&[&server.url()]).refused("it is not signed");
    // A page of a network that wants to be paid is no index.
    let page = Server::start(|_| Reply::ok(b"<!DOCTYPE html><html><body>pay first</body></html>"));
    let strange = world(&[&page.url()]);
    assert!(strange.indexes().is_err());
    // Switched off, it is loud, and nobody is said to have signed.
    let mut careless = world(&[&one.url()]);
    careless.recipe.sources.insecure = true;
    let indexes = careless.indexes().unwrap();
    assert!(indexes.repositories()[0].locked().signed_by.is_empty());
    assert!(careless.warnings.lock().unwrap()[0].contains("checks are switched off"));
}

#[test]
fn a3_the_newest_package_is_the_age_of_an_index_and_an_equal_one_passes() {
    let both = |built| [package(), Package { built, ..Package::new("b", "1-r0") }];
    let newer = Server::with_files(files(&both(BORN + DAY)));
    let mut world = world(&[&newer.url()]);
    let lock = pin(&world).unwrap();
    assert_eq!(lock.repositories[0].date.seconds(), u64::from(BORN + DAY));
    world.lock = Some(lock.clone());
    assert_eq!(pin(&world).unwrap(), lock);
    assert!(world.warnings.lock().unwrap().is_empty());
    drop(newer);
    // Without its newest package it is an older one, also where each package is as new as before.
    let fewer = repository(FOLDER, &[package()], &Key::trusted(), Algorithm::Sha256);
    let older = Server::with_files(fewer);
    world.recipe.distro.mirrors.push(mirror(&older.url()));
    world.refused("somebody serves an old state");
    world.lock = None;
    assert!(world.index_text().contains("P:b\n"));
    assert!(world.warnings.lock().unwrap()[0].contains("older state"));
}
