//! The attacks that all families share, against repositories of rpm packages.

use std::time::Duration;

use osbuilder_testkit::key::Options;
use osbuilder_testkit::repository::Files;
use osbuilder_testkit::rpm::{self, Package};
use osbuilder_testkit::server::{Reply, Server, answer};

use pgp::composed::KeyType;
use pgp::crypto::ecc_curve::ECCCurve;
use pgp::crypto::hash::HashAlgorithm;
use pgp::types::KeyVersion;

use super::*;
use crate::fetch::world::message;
use crate::lock::{Lock, LockedPackage};

/// A repository of the package `a` in one version, of a day.
fn day(version: &str, days_ago: u32, key: &Key) -> Files {
    rpm::repository(FOLDER, &[Package::new("a", version)], key, NOW - days_ago * DAY)
}

/// A lock of the package `a` as the repository has it now.
fn lock(world: &World, version: &str, archive: &[u8]) -> Lock {
    let indexes = world.indexes().unwrap();
    let locked = LockedPackage {
        name: "a".parse().unwrap(),
        version: format!("{version}-1"),
        architecture: "noarch".into(),
        repository: 0,
        path: format!("a-{version}-1.noarch.rpm"),
        size: u64::try_from(archive.len()).unwrap(),
        digest: Digest::of(archive),
    };
    Lock {
        format: 1,
        distribution: "azurelinux".into(),
        release: "test".into(),
        architecture: "x86_64".into(),
        request: Digest::of(b""),
        plain_chroot: false,
        scripts: crate::lock::Runner::Either,
        epoch: crate::epoch::Epoch::default(),
        repositories: indexes.repositories().iter().map(|r| r.locked().clone()).collect(),
        packages: vec![locked],
    }
}

const PLACE: &str = "r/a-1-1.noarch.rpm";

#[test]
fn r1_a_swapped_package_is_refused_and_the_real_one_passes() {
    let key = Key::default();
    let good = day("1", 1, &key);
    let archive = good[PLACE].clone();
    let mut swapped = good.clone();
    let mut bytes = archive.clone();
    *bytes.last_mut().unwrap() ^= 1;
    swapped.insert(PLACE.into(), bytes);
    let (liar, server) = (Server::with_files(swapped), Server::with_files(good));
    let mut world = self::world(&key, &[&server.url()]);
    let lock = lock(&world, "1", &archive);
    world.recipe.sources.mirrors = vec![liar.url()];
    let error = message(&world.packages(&lock).unwrap_err());
    assert!(error.contains("is not the file that is wanted"), "{error}");
    assert!(world.arrived.lock().unwrap().is_empty());
    assert!(world.store.object(&Digest::of(&archive)).unwrap().is_none());
    world.recipe.sources.mirrors.clear();
    assert!(world.packages(&lock).is_ok());
    // Changed inside the cache it is found out, and fetched again.
    let object = world.store.object_path(&Digest::of(&archive));
    let mut bytes = fs_err::read(&object).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs_err::remove_file(&object).unwrap();
    fs_err::write(&object, bytes).unwrap();
    assert!(world.store.object(&Digest::of(&archive)).unwrap().is_none());
    assert!(world.packages(&lock).is_ok());
    assert!(world.store.object(&Digest::of(&archive)).unwrap().is_some());
}

#[test]
fn r2_an_older_state_is_refused_with_a_lock_and_otherwise_the_newer_one_is_kept() {
    let key = Key::default();
    let new = Server::with_files(day("2", 1, &key));
    let mut world = world(&key, &[&new.url()]);
    let lock = lock(&world, "2", b"");
    let old = Server::with_files(day("1", 2, &key));
    world.recipe.sources.mirrors = vec![old.url()];
    assert!(world.index_text().contains("\t2\t1\t"));
    world.lock = Some(lock.clone());
    world.refused("an old state");
    // A cache that never saw the newer state learns of it from the lock.
    let mut fresh = self::world(&key, &[&new.url()]);
    fresh.recipe.sources.mirrors = vec![old.url()];
    fresh.lock = Some(lock);
    fresh.refused("an old state");
    fresh.lock = None;
    assert!(fresh.index_text().contains("\t1\t1\t"));
}

#[test]
fn r3_a_state_from_the_future_and_one_past_the_limit_are_refused() {
    let key = Key::default();
    let server = Server::with_files(day("1", 10, &key));
    let mut world = world(&key, &[&server.url()]);
    world.max_age = Some(std::time::Duration::from_secs(u64::from(9 * DAY)));
    world.refused("longer ago than is allowed");
    world.max_age = Some(std::time::Duration::from_secs(u64::from(11 * DAY)));
    assert!(world.index_text().starts_with("N\ta\t"));
    // Signed yesterday, and it says that it was made tomorrow.
    let primary = primary("1");
    let tomorrow = files(&primary, &repomd(&primary, NOW + DAY, None), &key);
    let server = Server::with_files(tomorrow);
    self::world(&key, &[&server.url()]).refused("is the clock right");
}

#[test]
fn r4_endless_metadata_is_cut_at_its_cap() {
    let key = Key::default();
    for endless in ["repomd.xml", "repomd.xml.asc", "primary.xml"] {
        let files = day("1", 1, &key);
        let server = Server::start(move |request| match request.path().ends_with(endless) {
            true => Reply::head(200, &[]).flood(b'<', 100_000_000),
            false => answer(&files, request),
        });
        world(&key, &[&server.url()]).refused("sends more than");
    }
    let server = Server::with_files(day("1", 1, &key));
    assert!(world(&key, &[&server.url()]).index_text().starts_with("N\ta\t"));
}

#[test]
fn r7_lists_of_one_day_under_the_metadata_of_another_are_refused_and_the_cache_stays() {
    let key = Key::default();
    let (old, new) = (day("1", 2, &key), day("2", 1, &key));
    let server = Server::with_files(old.clone());
    let mut world = world(&key, &[&server.url()]);
    assert!(world.index_text().contains("\t1\t1\t"));
    let mut mixed = new.clone();
    mixed.insert("r/repodata/primary.xml".into(), old["r/repodata/primary.xml"].clone());
    let server = Server::with_files(mixed);
    world.recipe.sources.mirrors = vec![server.url()];
    world.refused("is not the file that is wanted");
    world.offline = true;
    assert!(world.index_text().contains("\t1\t1\t"));
    world.offline = false;
    let server = Server::with_files(new);
    world.recipe.sources.mirrors = vec![server.url()];
    assert!(world.index_text().contains("\t2\t1\t"));
}

#[test]
fn r10_there_is_no_way_down_to_unsigned() {
    let key = Key::default();
    let mut unsigned = day("1", 1, &key);
    unsigned.remove("r/repodata/repomd.xml.asc");
    let stranger = Server::with_files(day("1", 1, &Key::default()));
    let (bare, good) = (Server::with_files(unsigned), Server::with_files(day("1", 1, &key)));
    world(&key, &[&bare.url()]).refused("it is not signed");
    // A second bad place is judged like the first, and a good one behind them counts.
    world(&key, &[&stranger.url(), &bare.url()]).refused("it is not signed");
    world(&key, &[&bare.url(), &stranger.url()]).refused("which is not trusted");
    let world = world(&key, &[&stranger.url(), &bare.url(), &good.url()]);
    assert!(world.index_text().starts_with("N\ta\t"));
}

#[test]
fn m1_a_metalink_that_did_not_come_by_tls_vouches_for_nothing() {
    let key = Key::default();
    let mut unsigned = day("1", 1, &key);
    unsigned.remove("r/repodata/repomd.xml.asc");
    let digest = Digest::of(&unsigned["r/repodata/repomd.xml"]);
    let link = format!(
        "<metalink><files><file name='repomd.xml'><verification><hash type='sha256'>{digest}</hash>\
         </verification><resources/></file></files></metalink>"
    );
    unsigned.insert("metalink".into(), link.into_bytes());
    let server = Server::with_files(unsigned.clone());
    let mut world = world(&key, &[&server.url()]);
    world.recipe.release.suites[0].metalink = Some(format!("{}/metalink", server.url()));
    world.refused("it is not signed");
    // With a signature the same place is good.
    unsigned.extend(day("1", 1, &key));
    let server = Server::with_files(unsigned);
    world.recipe.distro.mirrors = vec![mirror(&server.url())];
    assert!(world.index_text().starts_with("N\ta\t"));
}

/// What comes of a package `a` in a repository that a key signs, who need not have signed the package.
fn offered(archive: &[u8], key: &Key) -> Result<(), String> {
    let mut files = day("1", 1, key);
    let text = String::from_utf8(files["r/repodata/primary.xml"].clone()).unwrap();
    let (old, new) = (Digest::of(&files[PLACE]), Digest::of(archive));
    let size = files[PLACE].len();
    let text = text.replace(&old.to_string(), &new.to_string());
    let text = text.replace(&format!("'{size}'"), &format!("'{}'", archive.len()));
    files.extend(self::files(text.as_bytes(), &repomd(text.as_bytes(), NOW - DAY, None), key));
    files.insert(PLACE.into(), archive.to_vec());
    let server = Server::with_files(files);
    let world = self::world(key, &[&server.url()]);
    let outcome = world.packages(&lock(&world, "1", archive));
    outcome.map(|_| ()).map_err(|error| message(&error))
}

#[test]
fn m6_header_signatures_count_and_digests_alone_do_not() {
    let (key, stranger) = (Key::default(), Key::default());
    let package = Package::new("a", "1");
    for bad in [package.archive(None), package.archive(Some(&stranger))] {
        let refused = offered(&bad, &key).unwrap_err();
        assert!(refused.contains("nobody vouches"), "{refused}");
    }
    assert_eq!(offered(&package.archive(Some(&key)), &key), Ok(()));
}

#[test]
fn m6_keys_of_every_kind_that_rpm_has_vouch_for_packages_and_strangers_of_that_kind_do_not() {
    let package = Package::new("a", "1");
    for (kind, version) in [
        (KeyType::Rsa(2048), KeyVersion::V4),
        (KeyType::Ed25519Legacy, KeyVersion::V4),
        (KeyType::ECDSA(ECCCurve::P256), KeyVersion::V4),
        (KeyType::ECDSA(ECCCurve::P384), KeyVersion::V4),
        (KeyType::ECDSA(ECCCurve::P521), KeyVersion::V4),
        (KeyType::Ed25519, KeyVersion::V6),
        (KeyType::ECDSA(ECCCurve::P256), KeyVersion::V6),
    ] {
        // Larger curves take no smaller hash than themselves.
        let hash = HashAlgorithm::Sha512;
        let make =
            || Key::new(&Options { kind: kind.clone(), version, hash, ..Options::default() });
        let (key, stranger) = (make(), make());
        let outcome = offered(&package.archive(Some(&key)), &key);
        assert_eq!(outcome, Ok(()), "{kind:?} {version:?}");
        let refused = offered(&package.archive(Some(&stranger)), &key).unwrap_err();
        assert!(refused.contains("nobody vouches"), "{kind:?} {version:?}: {refused}");
    }
}

#[test]
fn r5_a_trickle_fails_over_and_a_world_of_trickles_is_refused() {
    let key = Key::default();
    let good = day("1", 1, &key);
    let archive = good[PLACE].clone();
    let trickle = |what: &'static str| {
        let files = good.clone();
        Server::start(move |request| match request.path().ends_with(what) {
            true => {
                let bytes = files[request.path().trim_start_matches('/')].chunks(1).take(200);
                bytes.fold(Reply::head(200, &[]), |reply, byte| {
                    reply.send(byte).wait(Duration::from_millis(20))
                })
            }
            false => answer(&files, request),
        })
    };
    let fast = Server::with_files(good.clone());
    for what in ["repomd.xml", "primary.xml", ".rpm"] {
        let (slow, slower) = (trickle(what), trickle(what));
        let good = world(&key, &[&slow.url(), &fast.url()]);
        let lock = lock(&good, "1", &archive);
        assert!(good.packages(&lock).is_ok(), "{what}");
        let bad = world(&key, &[&slow.url(), &slower.url()]);
        let error = match what {
            ".rpm" => bad.packages(&lock).map(|_| ()).unwrap_err(),
            _ => bad.indexes().map(|_| ()).unwrap_err(),
        };
        assert!(message(&error).contains("bytes a second"), "{what}: {}", message(&error));
    }
}
