//! Mirrors that lie: each test gives the bad input and its nearest good neighbour.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use osbuilder_testkit::key::{Key, Signing};
use osbuilder_testkit::repository::{Files, Package, Repository, sha256, write};
use osbuilder_testkit::server::{Reply, Server, answer};

use super::world::{DAY, NOW, World, lock, message, suite};

/// A server whose files change between days.
fn days(days: Vec<Files>) -> (Server, Arc<AtomicUsize>) {
    let today = Arc::new(AtomicUsize::new(0));
    let shown = Arc::clone(&today);
    let server =
        Server::start(move |request| answer(&days[shown.load(Ordering::Relaxed)], request));
    (server, today)
}

#[test]
fn r1_a_swapped_package_is_refused_and_the_real_one_passes() {
    let key = Key::default();
    let repository = suite("1", NOW);
    let mut files = repository.files(&key);
    let server = Server::with_files(files.clone());
    let world = World::new(&key, &[&server.url()]);
    let lock = lock(&world.indexes().unwrap(), &repository);
    files.get_mut("pool/a_1_amd64.deb").unwrap()[70] ^= 1;
    let evil = Server::with_files(files);
    let mut bad = World::new(&key, &[&evil.url()]);
    bad.recipe.sources.mirrors = vec![evil.url()];
    let mut elsewhere = lock.clone();
    elsewhere.repositories[0].url = format!("{}/", evil.url());
    let error = message(&bad.packages(&elsewhere).unwrap_err());
    assert!(error.contains("no mirror has a 1") && error.contains("digest"), "{error}");
    assert!(!bad.store.contains(&lock.packages[0].digest).unwrap());
    assert_eq!(world.packages(&lock).unwrap().iter().len(), 1);
}

#[test]
fn r1_a_package_changed_inside_the_cache_is_never_used() {
    let key = Key::default();
    let repository = suite("1", NOW);
    let server = Server::with_files(repository.files(&key));
    let world = World::new(&key, &[&server.url()]);
    let lock = lock(&world.indexes().unwrap(), &repository);
    let packages = world.packages(&lock).unwrap();
    let read = || {
        let (_, archive) = packages.iter().next().unwrap();
        let mut bytes = Vec::new();
        archive.open().and_then(|mut reader| reader.read_to_end(&mut bytes)).map(|_| bytes)
    };
    assert_eq!(read().unwrap(), repository.packages[0].archive("amd64"));
    let object = world.store.object_path(&lock.packages[0].digest);
    let mut bytes = fs_err::read(&object).unwrap();
    bytes[70] ^= 1;
    fs_err::remove_file(&object).unwrap();
    fs_err::write(&object, bytes).unwrap();
    assert!(read().is_err());
    // It was put aside, so the next build fetches it again.
    assert_eq!(world.packages(&lock).unwrap().iter().len(), 1);
    assert!(read().is_ok());
    // What the cache has does not arrive: twice it was fetched, the third time it is there.
    assert_eq!(world.packages(&lock).unwrap().iter().len(), 1);
    assert_eq!(world.arrived.lock().unwrap().len(), 2);
}

#[test]
fn r2_an_older_state_is_refused_with_a_lock_and_otherwise_the_newer_one_is_kept() {
    let key = Key::default();
    let older = suite("1", NOW - DAY).files(&key);
    let newer = suite("2", NOW).files(&key);
    let (server, today) = days(vec![newer, older.clone()]);
    let mut world = World::new(&key, &[&server.url()]);
    let indexes = world.indexes().unwrap();
    today.store(1, Ordering::Relaxed);
    assert!(world.index_text().contains("Version: 2"));
    assert!(world.warnings.lock().unwrap()[0].contains("older state"));
    world.lock = Some(lock(&indexes, &suite("2", NOW)));
    world.refused("somebody serves an old state");

    // A fresh cache knows it from the lock alone.
    let mut fresh = World::new(&key, &[&server.url()]);
    fresh.lock = world.lock.clone();
    fresh.refused("somebody serves an old state");
    // Without lock and memory, the older state cannot be told from the newest.
    assert!(World::new(&key, &[&server.url()]).index_text().contains("Version: 1"));
}

#[test]
fn r3_expired_and_too_old_states_are_refused() {
    let key = Key::default();
    let mut repository = suite("1", NOW);
    repository.valid_until = Some(NOW + 7 * DAY);
    let server = Server::with_files(repository.files(&key));
    let mut world = World::new(&key, &[&server.url()]);
    world.now = NOW + 7 * DAY;
    assert!(world.indexes().is_ok());
    world.now = NOW + 8 * DAY;
    world.refused("it expired at 2023-11-21T22:13:20Z");

    let server = Server::with_files(suite("1", NOW).files(&key));
    let mut world = World::new(&key, &[&server.url()]);
    world.now = NOW + 8 * DAY;
    assert!(world.indexes().is_ok());
    world.max_age = Some(Duration::from_secs(u64::from(8 * DAY)));
    assert!(world.indexes().is_ok());
    world.max_age = Some(Duration::from_secs(u64::from(8 * DAY - 1)));
    world.refused("longer ago than is allowed");
}

#[test]
fn r4_an_endless_release_file_is_cut_at_the_cap() {
    let key = Key::default();
    let server = Server::start(|_| Reply::head(200, &[]).flood(0, 100_000_000));
    World::new(&key, &[&server.url()]).refused("sends more than 10000000 bytes");
}

#[test]
fn r4_an_endless_index_is_cut_at_its_signed_size() {
    let key = Key::default();
    let files = suite("1", NOW).files(&key);
    let server = Server::start(move |request| {
        if request.path().contains("Packages") || request.path().contains("by-hash") {
            Reply::head(200, &[]).flood(b'P', 100_000_000)
        } else {
            answer(&files, request)
        }
    });
    World::new(&key, &[&server.url()]).refused("sends more than");
}

#[test]
fn r5_a_trickle_fails_over_and_a_world_of_trickles_is_refused() {
    let key = Key::default();
    let trickle = || {
        Server::start(|_| {
            (0..200).fold(Reply::head(200, &[]), |reply, _| {
                reply.send(b"-").wait(Duration::from_millis(20))
            })
        })
    };
    let (slow, slower) = (trickle(), trickle());
    let good = Server::with_files(suite("1", NOW).files(&key));
    let world = World::new(&key, &[&slow.url(), &good.url()]);
    assert!(world.index_text().contains("Version: 1"));
    World::new(&key, &[&slow.url(), &slower.url()]).refused("bytes a second");
    let silent = Server::start(|_| Reply::default().wait(Duration::from_secs(2)));
    World::new(&key, &[&silent.url()]).refused("cannot fetch");
}

#[test]
fn r7_indexes_of_one_day_under_the_release_of_another_are_refused_and_the_cache_stays() {
    let key = Key::default();
    let first = Repository { by_hash: false, ..suite("1", NOW) }.files(&key);
    let second = Repository { by_hash: false, ..suite("2", NOW + DAY) }.files(&key);
    let mut mixed = first.clone();
    mixed.insert("dists/test/InRelease".into(), second["dists/test/InRelease"].clone());
    let (server, today) = days(vec![first, mixed, second]);
    let mut world = World::new(&key, &[&server.url()]);
    assert!(world.index_text().contains("Version: 1"));
    today.store(1, Ordering::Relaxed);
    world.now = NOW + DAY;
    world.refused("no mirror serves");
    world.offline = true;
    assert!(world.index_text().contains("Version: 1"));
    world.offline = false;
    today.store(2, Ordering::Relaxed);
    assert!(world.index_text().contains("Version: 2"));
}

#[test]
fn r8_another_suite_component_or_architecture_is_refused() {
    let key = Key::default();
    let mut files = suite("1", NOW).files(&key);
    let other = Repository::new("elder", NOW).files(&key);
    let server = Server::with_files(files.clone());
    let mut world = World::new(&key, &[&server.url()]);
    assert!(world.indexes().is_ok());
    world.recipe.sources.components = vec!["contrib".into()];
    world.refused("it has no component \"contrib\"");
    world.recipe.sources.components.clear();
    world.recipe.architecture = crate::distro::Architecture::S390x;
    world.refused("it has no architecture \"s390x\"");
    files.insert("dists/test/InRelease".into(), other["dists/elder/InRelease"].clone());
    let server = Server::with_files(files);
    let world = World::new(&key, &[&server.url()]);
    world.refused("it is the suite \"elder/elder\", and \"test\" was asked for");
}

#[test]
fn r9_the_key_of_one_repository_does_not_vouch_for_another() {
    let (distribution, users) = (Key::default(), Key::default());
    let server = Server::with_files(suite("1", NOW).files(&distribution));
    let extra = Repository::new("extra", NOW).with(Package::new("b", "1"));
    let mut files = extra.files(&distribution);
    let mut world = World::new(&distribution, &[&server.url()]);
    let root = world.path("extra");
    write(&files, &root);
    let key_file = world.path("users.asc");
    fs_err::write(&key_file, users.armored_certificate()).unwrap();
    world.recipe.sources.keys = vec![key_file];
    world.recipe.sources.repositories = vec![format!("file://{} extra main", root.display())];
    world.refused("is not trusted");
    files = extra.files(&users);
    write(&files, &root);
    assert_eq!(world.indexes().unwrap().repositories().len(), 2);

    // Nor does the user's key vouch for the distribution, as long as its own mirrors are used.
    let forged = Server::with_files(suite("1", NOW).files(&users));
    world.recipe.distro.mirrors[0].url = forged.url();
    world.refused("is not trusted");
    world.recipe.sources.mirrors = vec![forged.url()];
    assert!(world.indexes().is_ok());
}

#[test]
fn r10_there_is_no_way_down_to_unsigned() {
    let key = Key::default();
    let mut files = suite("1", NOW).files(&key);
    let stranger = Key::default();
    let evil = suite("6.6", NOW).files(&stranger);
    files.remove("dists/test/InRelease");
    let detached = Server::with_files(files.clone());
    assert!(World::new(&key, &[&detached.url()]).index_text().contains("Version: 1"));
    files.remove("dists/test/Release.gpg");
    let unsigned = Server::with_files(files.clone());
    World::new(&key, &[&unsigned.url()]).refused("is not signed");
    // A bad InRelease does not lead to a good-looking Release.
    let mut both = suite("1", NOW).files(&key);
    both.insert("dists/test/InRelease".into(), evil["dists/test/InRelease"].clone());
    let both = Server::with_files(both);
    World::new(&key, &[&both.url()]).refused("is not trusted");
    // Switched off, it is loud.
    let mut world = World::new(&key, &[&unsigned.url()]);
    world.recipe.sources.insecure = true;
    let indexes = world.indexes().unwrap();
    assert!(indexes.repositories()[0].locked().signed_by.is_empty());
    assert!(world.warnings.lock().unwrap()[0].contains("checks are switched off"));
}

#[test]
fn c3_a_second_bad_mirror_is_judged_like_the_first() {
    let (key, stranger) = (Key::default(), Key::default());
    let bad = Server::with_files(suite("6.6", NOW).files(&stranger));
    let mut changed = suite("1", NOW).files(&key);
    let text = String::from_utf8(changed["dists/test/InRelease"].clone()).unwrap();
    let text = text.replace("Components: main", "Components: main evil");
    changed.insert("dists/test/InRelease".into(), text.into_bytes());
    let worse = Server::with_files(changed);
    World::new(&key, &[&bad.url(), &worse.url()]).refused("is false: the text was changed");
    let good = Server::with_files(suite("1", NOW).files(&key));
    assert!(World::new(&key, &[&bad.url(), &worse.url(), &good.url()]).indexes().is_ok());
}

#[test]
fn d1_the_parsed_text_is_the_hashed_text() {
    let key = Key::default();
    let good = suite("1", NOW).files(&key);
    let signed = String::from_utf8(good["dists/test/InRelease"].clone()).unwrap();
    let with = |text: String| {
        let mut files = good.clone();
        files.insert("dists/test/InRelease".into(), text.into_bytes());
        let server = Server::with_files(files);
        World::new(&key, &[&server.url()]).indexes().map(|i| i.repositories()[0].locked().digest)
    };
    let digest = with(signed.clone()).unwrap();
    // Line ends and blanks before them are outside the signature, and outside what is parsed.
    assert_eq!(with(signed.replace('\n', "\r\n")).unwrap(), digest);
    assert_eq!(with(signed.replace("Suite: test\n", "Suite: test \t\n")).unwrap(), digest);
    assert!(with(format!("Suite: evil\n\n{signed}")).is_err());
    assert!(with(format!("{signed}Suite: evil\n")).is_err());
    assert!(with(signed.replace("Suite: test", "Suite: test\n\nSuite: evil")).is_err());
}

#[test]
fn d4_dates_decide_and_a_pinned_snapshot_outlives_its_expiry() {
    let key = Key::default();
    let server = Server::with_files(suite("1", NOW + DAY / 2).files(&key));
    let mut world = World::new(&key, &[&server.url()]);
    world.refused("in the future");
    world.now = NOW + DAY / 2;
    assert!(world.indexes().is_ok());

    let mut repository = suite("1", NOW);
    repository.valid_until = Some(NOW + DAY);
    let server = Server::with_files(repository.files(&key));
    let mut world = World::new(&key, &[&server.url()]);
    let lock = lock(&world.indexes().unwrap(), &repository);
    world.now = NOW + 30 * DAY;
    world.refused("it expired");
    world.lock = Some(lock);
    assert!(world.indexes().is_ok());
}

#[test]
fn d5_a_mirror_in_motion_is_asked_twice_by_name_and_never_mixed() {
    let key = Key::default();
    let check = |by_hash: bool| {
        let old = Repository { by_hash, ..suite("1", NOW) }.files(&key);
        let new = Repository { by_hash, ..suite("2", NOW + 5) }.files(&key);
        let server = Server::start(move |request| {
            // The mirror swaps everything right after the first release file went out.
            let first = request.path().ends_with("InRelease") && request.repeat == 0;
            let hashed = request.path().contains("by-hash") && old.contains_key(request.path());
            answer(if first || hashed { &old } else { &new }, request)
        });
        let world = World::new(&key, &[&server.url()]);
        let text = world.index_text();
        let asked = server.requests().iter().filter(|r| r.path().ends_with("InRelease")).count();
        (text.contains("Version: 1"), text.contains("Version: 2"), asked)
    };
    assert_eq!(check(true), (true, false, 1));
    assert_eq!(check(false), (false, true, 2));
}

#[test]
fn d6_weak_digests_do_not_suffice_and_all_strong_ones_must_agree() {
    let key = Key::default();
    let repository = Repository { by_hash: false, ..suite("1", NOW) };
    let with = |change: &dyn Fn(String) -> String| {
        let mut files = repository.files(&key);
        let release = change(repository.release_text(&repository.indexes()));
        let signed = key.clearsign(&release, Signing::text(NOW));
        files.insert("dists/test/InRelease".into(), signed.into_bytes());
        let server = Server::with_files(files);
        World::new(&key, &[&server.url()]).indexes().map_err(|error| message(&error))
    };
    assert!(with(&|text| text).is_ok());
    let weak = with(&|text| {
        let lines = text.lines().map(|line| match line.strip_prefix(' ') {
            Some(entry) => format!(" {}\n", &entry[32..]),
            None => format!("{}\n", line.replace("SHA256", "MD5Sum")),
        });
        lines.collect()
    });
    assert!(weak.unwrap_err().contains("with MD5 or SHA-1 only"));
    let size = repository.indexes()["main/binary-amd64/Packages.xz"].len();
    let sha512 = |byte: &str| {
        format!("SHA512:\n {} {size} main/binary-amd64/Packages.xz\n", byte.repeat(128))
    };
    assert!(
        with(&|text| text + &sha512("a"))
            .unwrap_err()
            .contains("SHA-512 differs from the signed one")
    );
}

#[test]
fn r11_an_index_with_a_path_that_leads_out_is_refused_by_the_lock_too() {
    let key = Key::default();
    let repository = suite("1", NOW);
    let server = Server::with_files(repository.files(&key));
    let world = World::new(&key, &[&server.url()]);
    let good = lock(&world.indexes().unwrap(), &repository);
    for path in ["../../x", "/etc/passwd", "http://e/x", "a\nb", "%2e%2e/x"] {
        let mut bad = good.clone();
        bad.packages[0].path = path.to_owned();
        let error = message(&world.packages(&bad).unwrap_err());
        assert_eq!(error, "the lock names an impossible place for a", "{path}");
    }
    assert!(world.packages(&good).is_ok());
}

#[test]
fn r6_what_nobody_signed_never_reaches_the_index() {
    let key = Key::default();
    let repository = suite("1", NOW);
    let mut files = repository.files(&key);
    let evil = [repository.packages_text().as_bytes(), b"Package: evil\n\n"].concat();
    let name = format!("dists/test/main/binary-amd64/by-hash/SHA256/{}", sha256(&evil));
    files.insert(name, evil.clone());
    for content in files.iter_mut().filter(|(path, _)| path.contains("Packages")) {
        content.1.clone_from(&evil);
    }
    let server = Server::with_files(files);
    // By the signed digest the real index is found in spite of it.
    assert!(!World::new(&key, &[&server.url()]).index_text().contains("evil"));
}

#[test]
fn unsigned_folders_need_the_explicit_flag() {
    let key = Key::default();
    let server = Server::with_files(suite("1", NOW).files(&key));
    let mut world = World::new(&key, &[&server.url()]);
    let flat = Repository::new("", NOW).with(Package::new("b", "1"));
    let mut files = flat.files(&key);
    files.retain(|path, _| !path.contains("Release"));
    let root = world.path("flat");
    write(&files, &root);
    world.recipe.sources.repositories = vec![format!("file://{}/", root.display())];
    world.refused("no mirror serves");
    world.recipe.sources.insecure = true;
    let indexes = world.indexes().unwrap();
    let last = &indexes.repositories()[1];
    assert!(last.locked().signed_by.is_empty() && last.texts()[0].starts_with(b"Package: b"));
    assert_eq!(last.locked().suite, "./");
    assert_eq!(indexes.repositories()[0].locked().signed_by, [key.fingerprint()]);
}
