//! Mirrors of rpm packages that lie: each test gives the bad input and its nearest good neighbour.

use osbuilder_testkit::key::{Key, Signing};
use osbuilder_testkit::repository::Files;
use osbuilder_testkit::server::Server;

use crate::digest::Digest;
use crate::distro::Suite;
use crate::fetch::world::{DAY, NOW, World, mirror, usual};

const FOLDER: &str = "r";

/// A distribution that `key` signs.
fn world(key: &Key, mirrors: &[&str]) -> World {
    let mut recipe = usual("azurelinux");
    recipe.distro.key_addresses.clear();
    recipe.distro.mirrors = mirrors.iter().map(|url| mirror(url)).collect();
    recipe.release.keys = vec![key.fingerprint()];
    recipe.release.suites =
        vec![Suite { name: FOLDER.into(), security: false, metalink: None, architectures: vec![] }];
    World::with(recipe, ("etc/pki/rpm-gpg/KEY", &key.certificate()))
}

fn primary(version: &str) -> Vec<u8> {
    let text = format!(
        "<metadata><package type='rpm'><name>a</name><arch>noarch</arch>\
         <version epoch='0' ver='{version}' rel='1'/><location href='a.rpm'/></package></metadata>"
    );
    text.into_bytes()
}

/// `repomd.xml` for a list of packages, with what is put in place of the true `open-size`.
fn repomd(primary: &[u8], revision: u32, open_size: Option<usize>) -> Vec<u8> {
    let (size, digest) = (primary.len(), Digest::of(primary));
    let open_size = open_size.unwrap_or(size);
    let text = format!(
        "<?xml version='1.0'?><repomd><revision>{revision}</revision><data type='primary'>\
         <checksum type='sha256'>{digest}</checksum><open-checksum type='sha256'>{digest}\
         </open-checksum><location href='repodata/primary.xml'/><timestamp>{revision}</timestamp>\
         <size>{size}</size><open-size>{open_size}</open-size></data></repomd>"
    );
    text.into_bytes()
}

fn files(primary: &[u8], repomd: &[u8], key: &Key) -> Files {
    let name = |file: &str| format!("{FOLDER}/repodata/{file}");
    let signature = key.detached(repomd, Signing::binary(NOW - DAY));
    Files::from([
        (name("primary.xml"), primary.to_vec()),
        (name("repomd.xml"), repomd.to_vec()),
        (name("repomd.xml.asc"), signature.into_bytes()),
    ])
}

fn good(version: &str, revision: u32, key: &Key) -> Files {
    let primary = primary(version);
    files(&primary, &repomd(&primary, revision, None), key)
}

#[test]
fn signed_metadata_becomes_records_and_the_cache_has_them_afterwards() {
    let key = Key::default();
    let server = Server::with_files(good("1", NOW - DAY, &key));
    let mut world = world(&key, &[&server.url()]);
    assert!(world.index_text().starts_with("N\ta\tnoarch\t0\t1\t1\t"));
    world.offline = true;
    assert!(world.index_text().starts_with("N\ta\t"));
    let indexes = world.indexes().unwrap();
    let locked = indexes.repositories()[0].locked();
    assert_eq!((locked.suite.as_str(), locked.date.seconds()), (FOLDER, u64::from(NOW - DAY)));
    assert_eq!(locked.signed_by, [key.fingerprint()]);
}

#[test]
fn m1_r9_only_a_pinned_key_counts_and_no_signature_is_none() {
    let (key, stranger) = (Key::default(), Key::default());
    let server = Server::with_files(good("1", NOW - DAY, &stranger));
    world(&key, &[&server.url()]).refused("which is not trusted");
    let mut unsigned = good("1", NOW - DAY, &key);
    unsigned.remove("r/repodata/repomd.xml.asc");
    let server = Server::with_files(unsigned);
    world(&key, &[&server.url()]).refused("it is not signed");
    let mut careless = world(&key, &[&server.url()]);
    careless.recipe.sources.insecure = true;
    assert!(careless.index_text().starts_with("N\ta\t"));
    let warnings = careless.warnings.lock().unwrap().join("\n");
    assert!(warnings.contains("checks are switched off"), "{warnings}");
}

#[test]
fn m3_r2_an_older_state_is_not_believed_after_a_newer_one() {
    let key = Key::default();
    let new = Server::with_files(good("2", NOW - DAY, &key));
    let mut world = world(&key, &[&new.url()]);
    assert!(world.index_text().contains("\t2\t1\t"));
    let old = Server::with_files(good("1", NOW - 2 * DAY, &key));
    world.recipe.sources.mirrors = vec![old.url()];
    // The cache is used, and somebody is told.
    assert!(world.index_text().contains("\t2\t1\t"));
    assert!(world.warnings.lock().unwrap().join("").contains("serve an older state"));
}

#[test]
fn m4_sizes_and_digests_are_all_compared() {
    let key = Key::default();
    let primary = primary("1");
    let size = primary.len();
    for (open_size, words) in
        [(Some(size - 1), "list of packages"), (Some(size + 1), "another number")]
    {
        let server =
            Server::with_files(files(&primary, &repomd(&primary, NOW - DAY, open_size), &key));
        world(&key, &[&server.url()]).refused(words);
    }
    let weak = String::from_utf8(repomd(&primary, NOW - DAY, None)).unwrap();
    let weak = weak.replace("<checksum type='sha256'", "<checksum type='sha'");
    let server = Server::with_files(files(&primary, weak.as_bytes(), &key));
    world(&key, &[&server.url()]).refused("without a SHA-256 or a size");
    let mut swapped = good("1", NOW - DAY, &key);
    swapped.insert("r/repodata/primary.xml".into(), self::primary("2"));
    let server = Server::with_files(swapped);
    world(&key, &[&server.url()]).refused("is not the file that is wanted");
}
