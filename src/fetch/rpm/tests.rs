//! Mirrors of rpm packages that lie: each test gives the bad input and its nearest good neighbour.

use osbuilder_testkit::key::{Key, Signing};
use osbuilder_testkit::repository::Files;
use osbuilder_testkit::server::Server;

use crate::digest::Digest;
use crate::distro::{Signed, Suite};
use crate::fetch::world::{DAY, NOW, World, mirror, usual};

mod genuine;
mod rows;

const FOLDER: &str = "r";

/// A distribution that `key` signs.
fn world(key: &Key, mirrors: &[&str]) -> World {
    let mut recipe = usual("azurelinux");
    recipe.distro.key_addresses.clear();
    recipe.distro.mirrors = mirrors.iter().map(|url| mirror(url)).collect();
    recipe.release.keys = vec![key.fingerprint()];
    recipe.release.suites = vec![Suite { name: FOLDER.into(), ..Suite::default() }];
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

#[test]
fn m1_unsigned_metadata_counts_for_its_transport_only_where_just_packages_are_signed() {
    let key = Key::default();
    let mut unsigned = good("1", NOW - DAY, &key);
    unsigned.remove("r/repodata/repomd.xml.asc");
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in &unsigned {
        let path = folder.path().join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, bytes).unwrap();
    }
    let local = format!("file://{}", folder.path().display());
    // A folder of this machine, of a distribution that signs packages only.
    let mut good = world(&key, &[&local]);
    good.recipe.distro.signed = Signed::Packages;
    assert!(good.index_text().starts_with("N\ta\t"));
    assert!(good.indexes().unwrap().repositories()[0].locked().signed_by.is_empty());
    // What the cache believed for that reason is not believed for another one.
    good.offline = true;
    assert!(good.index_text().starts_with("N\ta\t"));
    good.recipe.distro.signed = Signed::Metadata;
    good.refused("it is not signed");
    // The same from a distribution that signs its metadata, and by a transport that proves nothing.
    world(&key, &[&local]).refused("it is not signed");
    let server = Server::with_files(unsigned);
    let mut plain = world(&key, &[&server.url()]);
    plain.recipe.distro.signed = Signed::Packages;
    plain.refused("it is not signed");
    // A signature that is there is held to, whatever the distribution says.
    let stranger = Server::with_files(self::good("1", NOW - DAY, &Key::default()));
    let mut wrong = world(&key, &[&stranger.url()]);
    wrong.recipe.distro.signed = Signed::Packages;
    wrong.refused("which is not trusted");
}

#[test]
fn only_the_release_is_read_where_updates_are_not_wanted() {
    let key = Key::default();
    let mut files = good("1", NOW - DAY, &key);
    files.extend(good("2", NOW - DAY, &key).into_iter().map(|(n, b)| (n.replacen('r', "u", 1), b)));
    let server = Server::with_files(files);
    let mut world = world(&key, &[&server.url()]);
    let updates = Suite { name: "u".into(), updates: true, ..Suite::default() };
    world.recipe.release.suites.push(updates);
    assert_eq!(world.indexes().unwrap().repositories().len(), 2);
    world.recipe.sources.release_only = true;
    assert_eq!(world.indexes().unwrap().repositories().len(), 1);
}

#[test]
fn a_mirror_that_is_one_repository_itself_has_no_others() {
    let key = Key::default();
    let folder = tempfile::tempdir().unwrap();
    osbuilder_testkit::repository::write(&good("1", NOW - DAY, &key), folder.path());
    let mut world = world(&key, &[]);
    world.recipe.sources.mirrors = vec![format!("file://{}/{FOLDER}", folder.path().display())];
    assert_eq!(world.indexes().unwrap().repositories().len(), 1);
    world.recipe.sources.extra_suites = vec!["more".to_owned()];
    world.refused("the mirror is one repository itself");
}

/// `repomd.xml` with more lists.
fn repomd_with(primary: &[u8], lists: &[(&str, &[u8])]) -> Vec<u8> {
    let mut text = String::from_utf8(repomd(primary, NOW - DAY, None)).unwrap();
    for (kind, bytes) in lists {
        let (digest, size) = (Digest::of(bytes), bytes.len());
        let entry = format!(
            "<data type='{kind}'><checksum type='sha256'>{digest}</checksum>\
             <location href='repodata/{kind}'/><size>{size}</size></data></repomd>"
        );
        text = text.replace("</repomd>", &entry);
    }
    text.into_bytes()
}

#[test]
fn modules_are_read_with_the_packages_and_files_only_when_they_are_asked_for() {
    let key = Key::default();
    let package = Digest::of(b"package");
    let primary = format!(
        "<metadata><package type='rpm'><name>a</name><arch>noarch</arch>\
         <version epoch='0' ver='1' rel='1'/><checksum type='sha256' pkgid='YES'>{package}</checksum>\
         <location href='a.rpm'/></package></metadata>"
    );
    let modules = b"document: modulemd-defaults\nversion: 1\ndata: {module: m, stream: s}\n";
    let filelists = format!(
        "<filelists><package pkgid='{package}' name='a' arch='noarch'><file>/usr/share/x</file>\
         <file>/usr/share/y</file></package></filelists>"
    );
    let lists = [("modules", &modules[..]), ("filelists", filelists.as_bytes())];
    let mut all = files(primary.as_bytes(), &repomd_with(primary.as_bytes(), &lists), &key);
    all.extend(lists.map(|(kind, bytes)| (format!("r/repodata/{kind}"), bytes.to_vec())));
    let (without, with) = (all.clone(), all);
    let without = without.into_iter().filter(|(name, _)| !name.ends_with("filelists")).collect();
    // Nobody asks for files, and it does not matter that they are not there.
    let server = Server::with_files(without);
    let lacking = world(&key, &[&server.url()]);
    assert_eq!(lacking.indexes().unwrap().repositories()[0].texts()[1], b"D\tm\ts\n");
    let server = Server::with_files(with);
    let mut world = world(&key, &[&server.url()]);
    let indexes = world.indexes().unwrap();
    assert!(!world.index_text().contains("/usr/share"));
    let wanted = ["/usr/share/x".to_owned()];
    let found = |world: &World| {
        let indexes = world.with_context(|context| {
            crate::fetch::with_files(indexes.clone(), &wanted, &world.recipe, context)
        });
        let indexes = indexes.unwrap();
        String::from_utf8(indexes.repositories()[0].texts()[0].clone()).unwrap()
    };
    assert!(found(&world).ends_with("\nF\t/usr/share/x\n"));
    world.offline = true;
    assert!(found(&world).ends_with("\nF\t/usr/share/x\n"));
}

#[test]
fn m4_a_list_beside_the_packages_is_held_to_its_digest_too() {
    let key = Key::default();
    let primary = primary("1");
    let good: &[u8] = b"document: modulemd-defaults\nversion: 1\ndata: {module: m, stream: s}\n";
    let mut all = files(&primary, &repomd_with(&primary, &[("modules", good)]), &key);
    all.insert("r/repodata/modules".into(), good.to_ascii_uppercase());
    let server = Server::with_files(all);
    world(&key, &[&server.url()]).refused("is not the file that is wanted");
    let weak = String::from_utf8(repomd_with(&primary, &[("modules", good)])).unwrap();
    let (head, tail) = weak.split_once("<data type='modules'>").unwrap();
    let weak = format!("{head}<data type='modules'>{}", tail.replace("'sha256'", "'sha'"));
    let mut all = files(&primary, weak.as_bytes(), &key);
    all.insert("r/repodata/modules".into(), good.to_vec());
    let server = Server::with_files(all);
    world(&key, &[&server.url()]).refused("without a SHA-256 or a size");
}
