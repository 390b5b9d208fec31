//! Alpine mirrors that lie: each test gives the bad input and its nearest good neighbour.

mod branches;
mod rows;
mod third;

use osbuilder_testkit::alpine::{Algorithm, Key, Package, gzip, index, repository};
use osbuilder_testkit::key::BORN;
use osbuilder_testkit::repository::{Files, write};
use osbuilder_testkit::server::{Reply, Server};

use crate::digest::Digest;
use crate::distro::Suite;
use crate::fetch::Error;
use crate::fetch::world::{DAY, World, message, mirror, usual};
use crate::lock::{Choice, ChosenPackage, Identity, Lock};
use crate::package::apk::index::Index;
use crate::testing;

const FOLDER: &str = "v1/main";
const INDEX: &str = "v1/main/x86_64/APKINDEX.tar.gz";
const FILE: &str = "v1/main/x86_64/a-1-r0.apk";

/// A distribution that the trusted key signs.
fn world(mirrors: &[&str]) -> World {
    let key = Key::trusted();
    let mut recipe = usual("alpine");
    recipe.distro.key_addresses.clear();
    recipe.distro.components = vec!["main".to_owned()];
    recipe.distro.mirrors = mirrors.iter().map(|url| mirror(url)).collect();
    recipe.release.keys = vec![format!("x86_64 {} {}", key.name, Digest::of(&key.public()))];
    recipe.release.suites = vec![Suite { name: "v1".into(), ..Suite::default() }];
    World::with(recipe, (&format!("etc/apk/keys/{}", key.name), &key.public()))
}

fn package() -> Package {
    Package::new("a", "1-r0")
}

fn files(packages: &[Package]) -> Files {
    repository(FOLDER, packages, &Key::trusted(), Algorithm::Sha1)
}

/// Everything that the indexes name is chosen, and brought.
fn pin(world: &World) -> Result<Lock, Error> {
    pin_some(world, |_| true)
}

fn pin_some(world: &World, wanted: impl Fn(&str) -> bool) -> Result<Lock, Error> {
    let indexes = world.indexes()?;
    let mut packages = Vec::new();
    for (repository, at) in indexes.repositories().iter().zip(0..) {
        let index = Index::parse(&repository.texts()[0]).unwrap();
        let wanted = index.packages().iter().filter(|info| wanted(info.name));
        packages.extend(wanted.map(|info| ChosenPackage {
            name: info.name.parse().unwrap(),
            version: info.version.to_string(),
            architecture: "x86_64".into(),
            repository: at,
            path: format!("x86_64/{}-{}.apk", info.name, info.version),
            size: info.size,
            identity: Identity::Part(info.identity.to_string()),
        }));
    }
    let head = Lock {
        format: 1,
        distribution: "alpine".into(),
        release: "v1".into(),
        architecture: "x86_64".into(),
        request: Digest::of(b""),
        plain_chroot: false,
        scripts: crate::lock::Runner::Either,
        epoch: crate::epoch::Epoch::default(),
        repositories: indexes.repositories().iter().map(|r| r.locked().clone()).collect(),
        packages: Vec::new(),
    };
    let choice = Choice { head, packages };
    world.with_context(|context| crate::fetch::pin(choice, &world.recipe, context))
}

#[track_caller]
fn not_pinned(files: Files, reason: &str) -> World {
    let server = Server::with_files(files);
    let world = world(&[&server.url()]);
    let message = message(&pin(&world).unwrap_err());
    assert!(message.contains(reason), "{message}");
    world
}

/// The same files with another package.
fn swapped(archive: Vec<u8>) -> Files {
    let mut files = files(&[package()]);
    files.insert(FILE.to_owned(), archive);
    files
}

#[test]
fn a_signed_index_and_a_signed_package_give_a_lock() {
    for algorithm in [Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha512] {
        let files = repository(FOLDER, &[package()], &Key::trusted(), algorithm);
        let server = Server::with_files(files.clone());
        let mut world = world(&[&server.url()]);
        let lock = pin(&world).unwrap();
        assert_eq!(lock.packages[0].digest, Digest::of(&files[FILE]));
        let repository = &lock.repositories[0];
        assert_eq!((repository.suite.as_str(), repository.date.seconds()), (FOLDER, BORN.into()));
        assert!(repository.signed_by[0].starts_with("test-1.rsa.pub "));
        // The package came once; from then on the cache has both.
        assert_eq!(world.packages(&lock).unwrap().iter().len(), 1);
        assert!(world.arrived.lock().unwrap().is_empty());
        world.offline = true;
        assert_eq!(pin(&world).unwrap(), lock);
        let asked = server.requests().iter().filter(|r| r.path().ends_with(".apk")).count();
        assert_eq!(asked, 1);
    }
}

#[test]
fn a1_only_the_pinned_key_counts_whatever_a_signature_is_called() {
    let (trusted, stranger) = (Key::trusted(), Key::stranger());
    let text = package().stanza(&package().archive(&trusted, Algorithm::Sha1));
    let refused = |keys: &[(&Key, Algorithm)], reason: &str| {
        let files = Files::from([(INDEX.to_owned(), index(&text, keys))]);
        let server = Server::with_files(files);
        world(&[&server.url()]).refused(reason);
    };
    let sha1 = Algorithm::Sha1;
    refused(&[], "it is not signed");
    refused(&[(&stranger, sha1)], "has signed it, but stranger-1.rsa.pub");
    let pretender = stranger.clone().called(&trusted.name);
    refused(&[(&pretender, sha1)], "the signature of test-1.rsa.pub is wrong");
    refused(&[(&trusted, sha1), (&pretender, sha1)], "the signature of test-1.rsa.pub is wrong");
    for name in ["../../../tmp/evil.rsa.pub", "x/test-1.rsa.pub"] {
        refused(&[(&trusted.clone().called(name), sha1)], "broken");
    }
    // The right key under another name is another key; and one among strangers is enough.
    refused(&[(&trusted.clone().called("other.rsa.pub"), sha1)], "but other.rsa.pub");
    let both = index(&text, &[(&stranger, sha1), (&trusted, sha1)]);
    let server = Server::with_files(Files::from([(INDEX.to_owned(), both)]));
    assert_eq!(world(&[&server.url()]).index_text(), text);
}

#[test]
fn a1_a_key_with_the_right_name_and_another_content_is_no_key() {
    let stranger = Key::stranger().called("test-1.rsa.pub");
    let files = repository(FOLDER, &[package()], &stranger, Algorithm::Sha1);
    let server = Server::with_files(files);
    let world = world(&[&server.url()]);
    fs_err::write(world.path("host/etc/apk/keys/test-1.rsa.pub"), stranger.public()).unwrap();
    world.refused("no key at hand");
}

#[test]
fn a1_sha1_is_enough_only_where_a_distribution_signs_with_nothing_else() {
    let server = Server::with_files(files(&[package()]));
    let mut strict = world(&[&server.url()]);
    strict.recipe.distro.sha1_signatures = false;
    strict.refused("test-1.rsa.pub has signed nothing but a SHA-1");
    let both = [Algorithm::Sha1, Algorithm::Sha256].map(|algorithm| {
        let files = repository(FOLDER, &[package()], &Key::trusted(), algorithm);
        let server = Server::with_files(files);
        let mut world = world(&[&server.url()]);
        world.recipe.distro.sha1_signatures = algorithm == Algorithm::Sha1;
        pin(&world).is_ok()
    });
    assert_eq!(both, [true, true]);
}

#[test]
fn r9_short_keys_are_no_keys() {
    let server = Server::with_files(files(&[package()]));
    let mut world = world(&[&server.url()]);
    world.recipe.sources.mirrors = vec![server.url()];
    let file = world.path("short-1.rsa.pub");
    fs_err::write(&file, Key::short().public()).unwrap();
    world.recipe.sources.keys = vec![file];
    world.refused("is not a public RSA key of at least 2048 bits");
}

#[test]
fn r1_a_swapped_package_is_refused_and_the_cache_keeps_nothing_of_it() {
    let sha1 = Algorithm::Sha1;
    let good = package().archive(&Key::trusted(), sha1);
    let mut flipped = good.clone();
    let last = flipped.len() - 20;
    flipped[last] ^= 1;
    let world = not_pinned(swapped(flipped.clone()), "the files of the package are not its own");
    assert!(!world.store.contains(&Digest::of(&flipped)).unwrap());
    let mut cut = good.clone();
    cut.truncate(good.len() - 1);
    not_pinned(swapped(cut), "no mirror has a 1-r0");
    // Another package with a good signature, as long as the right one.
    let other = Package::new("a", "2-r0").archive(&Key::trusted(), sha1);
    if other.len() == good.len() {
        not_pinned(swapped(other), "another package than the index names");
    }
}

#[test]
fn a2_a_package_needs_a_signature_of_its_own_and_the_files_that_it_names() {
    let resigned = |key: &Key| {
        let archive = package().archive(key, Algorithm::Sha1);
        let mut files = Files::from([(FILE.to_owned(), archive.clone())]);
        let text = package().stanza(&archive);
        files.insert(INDEX.to_owned(), index(&text, &[(&Key::trusted(), Algorithm::Sha1)]));
        files
    };
    not_pinned(resigned(&Key::stranger()), "has signed it, but stranger-1.rsa.pub");
    let pretender = Key::stranger().called("test-1.rsa.pub");
    not_pinned(resigned(&pretender), "the signature of test-1.rsa.pub is wrong");

    let bare = package().parts().concat();
    let mut files = Files::from([(FILE.to_owned(), bare.clone())]);
    let text = package().stanza(&bare);
    files.insert(INDEX.to_owned(), index(&text, &[(&Key::trusted(), Algorithm::Sha1)]));
    not_pinned(files.clone(), "it is not signed");
    let server = Server::with_files(files);
    let mut careless = world(&[&server.url()]);
    careless.recipe.sources.insecure = true;
    assert_eq!(pin(&careless).unwrap().packages[0].digest, Digest::of(&bare));
    assert!(careless.warnings.lock().unwrap()[0].contains("checks are switched off"));

    let [control, _] = package().parts();
    let [_, data] = Package::new("b", "9-r0").parts();
    let key = Key::trusted();
    let mixed = [key.signature(Algorithm::Sha1, &control), control, data].concat();
    let mut files = Files::from([(FILE.to_owned(), mixed.clone())]);
    let text = package().stanza(&mixed);
    files.insert(INDEX.to_owned(), index(&text, &[(&key, Algorithm::Sha1)]));
    not_pinned(files, "the files of the package are not its own");
}

#[test]
fn a4_bytes_before_between_and_behind_the_signed_ones_are_refused() {
    let key = Key::trusted();
    let text = package().stanza(&package().archive(&key, Algorithm::Sha1));
    let good = index(&text, &[(&key, Algorithm::Sha1)]);
    let behind = [good.clone(), gzip(b"")].concat();
    let before = [index("", &[]), good.clone()].concat();
    let unsigned_part = gzip(&[0; 512]);
    for (bytes, reason) in [
        (behind, "the signature of test-1.rsa.pub is wrong"),
        (before, "it is not signed"),
        ([unsigned_part, good.clone()].concat(), "broken"),
        (good[..good.len() - 9].to_vec(), "the signature of test-1.rsa.pub is wrong"),
    ] {
        let server = Server::with_files(Files::from([(INDEX.to_owned(), bytes)]));
        world(&[&server.url()]).refused(reason);
    }
    let server = Server::with_files(Files::from([(INDEX.to_owned(), good)]));
    assert_eq!(world(&[&server.url()]).index_text(), text);
}

#[test]
fn a4_a_second_list_is_refused_even_if_it_is_signed() {
    let key = Key::trusted();
    let twice = [index("", &[]), index("", &[])].concat();
    let signed = [key.signature(Algorithm::Sha1, &twice), twice].concat();
    let server = Server::with_files(Files::from([(INDEX.to_owned(), signed)]));
    let error = message(&world(&[&server.url()]).indexes().unwrap_err());
    assert!(error.contains("it holds two APKINDEX") || error.contains("after the end"), "{error}");
}

#[test]
fn r2_an_older_state_is_refused_with_a_lock_and_otherwise_the_newer_one_is_kept() {
    let state = |version: &str, built| files(&[Package { built, ..Package::new("a", version) }]);
    let (newer, older) = (state("2-r0", BORN + DAY), state("1-r0", BORN));
    let good = Server::with_files(newer);
    let evil = Server::with_files(older);
    let mut world = world(&[&good.url()]);
    let lock = pin(&world).unwrap();
    // What the lock calls the repository stays; who serves it does not.
    let root = world.recipe.distro.mirrors.clone();
    world.recipe.distro.mirrors.push(mirror(&evil.url()));
    drop(good);
    assert!(world.index_text().contains("V:2-r0"));
    assert!(world.warnings.lock().unwrap()[0].contains("older state"));
    world.lock = Some(lock.clone());
    world.refused("somebody serves an old state");
    let mut fresh = super::tests::world(&[]);
    fresh.recipe.distro.mirrors = root;
    fresh.recipe.distro.mirrors.push(mirror(&evil.url()));
    fresh.lock = Some(lock);
    fresh.refused("somebody serves an old state");
}

#[test]
fn r3_a_state_from_the_future_and_one_past_the_limit_are_refused() {
    let server = Server::with_files(files(&[package()]));
    let mut world = world(&[&server.url()]);
    world.now = BORN - 2 * DAY;
    world.refused("is the clock right?");
    world.now = BORN + 8 * DAY;
    assert!(world.indexes().is_ok());
    world.max_age = Some(std::time::Duration::from_secs(u64::from(8 * DAY - 1)));
    world.refused("longer ago than is allowed");
}

#[test]
fn r4_endless_indexes_are_cut_packed_and_plain() {
    let server = Server::start(|_| Reply::head(200, &[]).flood(0, 100_000_000));
    world(&[&server.url()]).refused("sends more than 10000000 bytes");
    // What is signed is cut, too, though later: a package with a long description.
    let listing = |mebibytes: usize| {
        let lines: String = (0..mebibytes << 13).map(|n| format!("{n:0>128}")).collect();
        let text = package().stanza(b"").replace("T:\n", &format!("T:{lines}\n"));
        index(&text, &[(&Key::trusted(), Algorithm::Sha1)])
    };
    let serve = |bytes| Server::with_files(Files::from([(INDEX.to_owned(), bytes)]));
    let (long, short) = (serve(listing(65)), serve(listing(2)));
    world(&[&long.url()]).refused("expands to more than 67108864 bytes");
    assert!(world(&[&short.url()]).index_text().len() > 2 << 20);
}

#[test]
fn r9_nothing_is_taken_from_other_repositories_under_a_name_of_this_one() {
    let server = Server::with_files(files(&[package()]));
    let mut world = world(&[&server.url()]);
    for bad in ["../up", "v1/../../x"] {
        world.recipe.sources.extra_suites = vec![bad.to_owned()];
        world.refused("a part of it leads elsewhere");
    }
    world.recipe.sources.extra_suites.clear();
    let mut lock = pin(&world).unwrap();
    lock.packages[0].path = "../../secret.apk".to_owned();
    assert!(world.packages(&lock).is_err());
}

#[test]
fn a_mirror_without_the_package_is_passed_over() {
    let all = files(&[package()]);
    let mut without = all.clone();
    without.remove(FILE);
    let (poor, rich) = (Server::with_files(without), Server::with_files(all));
    assert!(pin(&world(&[&poor.url(), &rich.url()])).is_ok());
    let error = pin(&world(&[&poor.url()])).unwrap_err();
    assert!(error.is_out_of_step(), "{error:?}");
}

#[test]
fn r9_users_repositories_need_users_keys() {
    let key = Key::stranger();
    let files = repository("own", &[Package::new("mine", "1-r0")], &key, Algorithm::Sha256);
    let folder = tempfile::tempdir().unwrap();
    write(&files, folder.path());
    let server = Server::with_files(super::tests::files(&[package()]));
    let mut world = world(&[&server.url()]);
    let address = format!("file://{}/own", folder.path().display());
    world.recipe.sources.repositories = vec![format!("@mine {address}")];
    world.refused("no key at hand");
    let file = world.path("stranger-1.rsa.pub");
    fs_err::write(&file, key.public()).unwrap();
    world.recipe.sources.keys = vec![file.clone()];
    let indexes = world.indexes().unwrap();
    assert_eq!(indexes.repositories()[1].tag(), Some("mine"));
    assert_eq!(pin(&world).unwrap().packages.len(), 2);
    world.recipe.sources.keys.clear();
    world.recipe.sources.repositories = vec![format!("[signed-by={}] {address}", file.display())];
    assert_eq!(pin(&world).unwrap().packages.len(), 2);
    // The user's key says nothing of the distribution.
    world.recipe.sources.keys = vec![file];
    let evil = repository(FOLDER, &[package()], &key, Algorithm::Sha256);
    let server = Server::with_files(evil);
    world.recipe.distro.mirrors = vec![mirror(&server.url())];
    world.refused("has signed it, but stranger-1.rsa.pub");
}

#[test]
fn a_folder_of_this_machine_with_an_index_is_a_whole_mirror() {
    let folder = tempfile::tempdir().unwrap();
    write(&repository("x", &[package()], &Key::trusted(), Algorithm::Sha1), folder.path());
    let mut world = world(&["http://127.0.0.1:1"]);
    world.recipe.sources.mirrors = vec![format!("file://{}/x", folder.path().display())];
    let lock = pin(&world).unwrap();
    assert_eq!((lock.repositories.len(), lock.repositories[0].suite.as_str()), (1, "./"));
}

#[test]
fn a2_tampered_real_packages_never_get_into_a_lock() {
    let (Some(tampered), Some(genuine)) =
        (testing::data("tampered"), testing::data("alpine/genuine-3.19.1/x86_64"))
    else {
        return;
    };
    let name = "zlib-1.3.1-r0.apk";
    let index = fs_err::read(genuine.join("APKINDEX.tar.gz")).unwrap();
    let lock = |bytes: Vec<u8>| {
        let file = format!("{FOLDER}/x86_64/{name}");
        let server =
            Server::with_files(Files::from([(INDEX.to_owned(), index.clone()), (file, bytes)]));
        let mut world = world(&[&server.url()]);
        world.now = 1_750_000_000;
        world.recipe.release.keys = usual("alpine").release.keys;
        pin_some(&world, |name| name == "zlib")
    };
    assert!(lock(fs_err::read(genuine.join(name)).unwrap()).is_ok());
    let files = fs_err::read_dir(tampered).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|end| end == "apk"));
    let passed: Vec<_> = files
        .map(|path| (lock(fs_err::read(&path).unwrap()).is_ok(), path))
        .inspect(|(_, path)| assert!(path.is_file()))
        .collect();
    assert_eq!(passed.len(), 11);
    assert!(passed.iter().all(|(is_ok, _)| !is_ok), "{passed:?}");
}

#[test]
fn r8_the_genuine_index_of_another_branch_is_refused() {
    let Some(folder) = testing::data("alpine/apkindex/3.16/x86_64") else { return };
    let bytes = fs_err::read(folder.join("APKINDEX.tar.gz")).unwrap();
    for (branch, is_good) in [("v3.16", true), ("v3.19", false)] {
        let index = format!("{branch}/main/x86_64/APKINDEX.tar.gz");
        let server = Server::with_files(Files::from([(index, bytes.clone())]));
        let mut world = world(&[&server.url()]);
        world.now = 1_750_000_000;
        world.recipe.release.keys = usual("alpine").release.keys;
        world.recipe.release.suites[0].name = branch.to_owned();
        match is_good {
            true => assert!(world.indexes().is_ok()),
            false => drop(world.refused("it is the index of v3.16")),
        }
    }
}
