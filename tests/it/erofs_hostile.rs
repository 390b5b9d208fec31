//! The erofs reader on images that are broken by hand or at random: an error or a tree, never a
//! panic, never a hang. The superblock's checksum is switched off first.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use osbuilder::epoch::Epoch;
use osbuilder::image::{self, Error};
use osbuilder::recipe::{Compression, FileSystem, ImageOptions};
use osbuilder::tree::{Content, Device, Inode, Kind, Meta, NoContents, Tree, TreePath};
use proptest::prelude::*;

pub(crate) const OPTIONS: ImageOptions = ImageOptions {
    file_system: FileSystem::Erofs,
    alignment_mib: 1,
    dax_header: false,
    ..ImageOptions::KATA
};
/// Where the file system begins, and where in it the switch for the checksum stands.
const START: usize = 1 << 20;
const FEATURES: usize = START + 1024 + 8;
const CHECKSUM: u8 = 0x1;

fn insert(tree: &mut Tree, path: &str, kind: Kind) {
    let meta = Meta::root(0o755);
    tree.insert(&TreePath::parse(path).unwrap(), Inode { meta, kind }).unwrap();
}

fn file(bytes: &[u8]) -> Kind {
    Kind::Regular(Content::Inline(bytes.into()))
}

/// Text that compresses, and no byte of which looks like metadata.
fn text(length: usize) -> Vec<u8> {
    (0..length).map(|at| b'A' + u8::try_from(at / 7 % 23).unwrap()).collect()
}

pub(crate) fn small() -> Tree {
    let mut tree = Tree::default();
    insert(&mut tree, "a", file(&text(50_000)));
    insert(&mut tree, "b", file(&text(3000)));
    insert(&mut tree, "d", Kind::Directory(BTreeMap::new()));
    insert(&mut tree, "d/e", Kind::Directory(BTreeMap::new()));
    insert(&mut tree, "d/e/f", file(&text(10)));
    insert(&mut tree, "link", Kind::Symlink([b'l'; 100].as_slice().into()));
    for name in ["a", "b"] {
        let inode = tree.get_mut(&TreePath::parse(name).unwrap()).unwrap();
        inode.meta.xattrs.insert(b"user.same".to_vec(), b"value".to_vec());
        inode.meta.xattrs.insert(format!("user.{name}").into_bytes(), b"own".to_vec());
    }
    tree
}

pub(crate) fn bytes_of(tree: &Tree, options: &ImageOptions) -> (image::Image, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let plan = image::plan(tree, options, Epoch::new(1_700_000_000).unwrap()).unwrap();
    let file = fs_err::File::create(&path).unwrap();
    let image = image::write(&plan, &NoContents, &file, 2).unwrap();
    (image, fs_err::read(path).unwrap())
}

pub(crate) fn without_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[FEATURES] &= !CHECKSUM;
    bytes
}

pub(crate) fn word(bytes: &[u8], at: usize) -> usize {
    let word: [u8; 4] = bytes[at..at + 4].try_into().unwrap();
    usize::try_from(u32::from_le_bytes(word)).unwrap()
}

/// The slots of all inodes by the names in the dump, and where they stand.
pub(crate) fn inode(bytes: &[u8], path: &str) -> usize {
    let meta = START + word(bytes, START + 1024 + 40) * 4096;
    let mut at = meta;
    for name in path.split('/') {
        // Every directory here is inline: its entries stand behind an inode of 64 bytes.
        let block = at + if bytes[at] & 1 == 1 { 64 } else { 32 };
        let size = word(bytes, at + 8);
        let count = usize::from(bytes[block + 8]) / 12;
        let place = |number: usize| match number == count {
            true => size,
            false => usize::from(bytes[block + number * 12 + 8]),
        };
        let found = (0..count).find(|&number| {
            &bytes[block + place(number)..block + place(number + 1)] == name.as_bytes()
        });
        at = meta + word(bytes, block + found.unwrap() * 12) * 32;
    }
    at
}

fn put(place: impl Fn(&[u8]) -> usize, value: &[u8]) -> impl Fn(&mut Vec<u8>) {
    move |bytes| {
        let at = place(bytes);
        bytes[at..at + value.len()].copy_from_slice(value);
    }
}

#[track_caller]
fn check(change: impl Fn(&mut Vec<u8>), rule: &str) {
    let mut bytes = without_checksum(bytes_of(&small(), &OPTIONS).1);
    image::read(&bytes, 1).unwrap();
    change(&mut bytes);
    let error = image::read(&bytes, 1).unwrap_err();
    assert!(matches!(error, Error::Broken { .. } | Error::Unsupported { .. }), "{error:?}");
    assert!(error.to_string().contains(rule), "{error}");
}

#[test]
fn c20_names_and_directories_that_lie_are_refused() {
    let root = |bytes: &[u8]| START + word(bytes, START + 1024 + 40) * 4096;
    let first = |bytes: &[u8]| root(bytes) + 64;
    check(put(|bytes| first(bytes) + 8, &[0xFF, 0xFF]), "an impossible place");
    check(put(|bytes| first(bytes) + 8, &[0, 0]), "an impossible place");
    check(put(|bytes| first(bytes) + 20, &[1, 0]), "out of order");
    check(put(|bytes| first(bytes) + 20, &[0xFF, 0xFF]), "out of order");
    // `/d/e` leads to `/d`, `..` of `/d` elsewhere.
    let circle = |bytes: &mut Vec<u8>| {
        let (outer, inner) = (inode(bytes, "d"), inode(bytes, "d/e"));
        let slot = (outer - root(bytes)) / 32;
        let entries = inner + 64;
        bytes[entries + 24..entries + 28]
            .copy_from_slice(&u32::try_from(slot).unwrap().to_le_bytes());
        bytes[entries + 34] = 2;
    };
    check(circle, "a directory has two names");
    check(put(|bytes| inode(bytes, "d") + 64 + 12, &[9]), "leads elsewhere");
    check(put(|bytes| inode(bytes, "d/e") + 64 + 34, &[2]), "differ in type");
    check(put(|bytes| inode(bytes, "d/e") + 64 + 24, &[0xFF; 4]), "outside the file system");
    check(put(|bytes| inode(bytes, "d/e") + 64 + 36 + 3, b"/"), "a slash or NUL");
}

#[test]
fn c20_extents_that_overlap_or_lie_are_refused() {
    // The index of `/a` begins behind inode (64), attributes (12 + 4 + 8) and a header (16).
    let index = |bytes: &[u8]| (inode(bytes, "a") + 64 + 24).next_multiple_of(8) + 16;
    check(put(index, &[2]), "an extent is empty");
    check(put(index, &[3]), "a type that nothing here makes");
    check(put(|bytes| index(bytes) + 2, &[0, 0x10]), "");
    check(put(|bytes| index(bytes) + 4, &[0xFF, 0xFF, 0xFF]), "outside the file system");
    check(put(|bytes| index(bytes) + 4, &[0]), "something else uses");
    check(put(|bytes| index(bytes) - 16 + 4, &[8]), "another compressor");
    check(put(|bytes| index(bytes) - 16 + 6, &[1]), "another compressor");
    check(put(|bytes| index(bytes) + 12, &[9]), "larger than the superblock says");
    check(put(|bytes| inode(bytes, "a") + 8 + 4, &[1]), "outside the file system");
    let damaged = |bytes: &mut Vec<u8>| {
        let block = START + word(bytes, index(bytes) + 4) * 4096;
        bytes[block..block + 4096].fill(0);
    };
    check(damaged, "a cluster is damaged");
}

#[test]
fn c20_inodes_and_attributes_that_lie_are_refused() {
    check(put(|bytes| inode(bytes, "b") + 44, &[2]), "number of links");
    check(put(|bytes| inode(bytes, "b") + 44, &[0]), "it has no links");
    check(put(|bytes| inode(bytes, "b"), &[0x09]), "another way");
    check(put(|bytes| inode(bytes, "b") + 1, &[1]), "a format of inodes");
    check(put(|bytes| inode(bytes, "b") + 2, &[0xFF, 0xFF]), "");
    check(put(|bytes| inode(bytes, "b") + 64 + 4, &[9]), "");
    check(put(|bytes| inode(bytes, "b") + 64 + 12, &[0xFF, 0xFF, 0xFF]), "outside the file system");
    check(put(|bytes| inode(bytes, "b") + 64 + 17, &[9]), "name is unknown");
    check(put(|bytes| inode(bytes, "link") + 8, &[0, 0x20]), "");
    let superblock = START + 1024;
    check(put(|_| superblock, &[0]), "");
    check(put(|_| superblock + 12, &[9]), "blocks of other sizes");
    check(put(|_| superblock + 36, &[0; 4]), "ends before the file system");
    check(put(|_| superblock + 36, &[0xFF; 4]), "ends before the file system");
    check(put(|_| superblock + 80, &[0xFF]), "a feature");
    check(put(|_| superblock + 84, &[2]), "other compressors");
}

#[test]
fn a_changed_byte_in_the_superblock_is_found_by_its_checksum() {
    let (_, good) = bytes_of(&small(), &OPTIONS);
    for place in [14, 24, 40, 60, 3000] {
        let mut bad = good.clone();
        bad[START + 1024 + place] ^= 1;
        let error = image::read(&bad, 1).unwrap_err().to_string();
        assert!(error.ends_with("its checksum is wrong"), "{error}");
    }
}

/// Numbers that depend on nothing but the round: a failing one can be run again.
fn scramble(seed: u64) -> u64 {
    let mut value = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    value = (value ^ value >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ value >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ value >> 31
}

#[test]
fn c20_thousands_of_damaged_images_end_in_a_tree_or_an_error() {
    let (image, good) = bytes_of(&small(), &OPTIONS);
    let good = without_checksum(good);
    let end = START + usize::try_from(image.file_system_size).unwrap();
    let meta = START + word(&good, START + 1024 + 40) * 4096;
    let targets: Vec<usize> = (START + 1024..START + 1200).chain(meta..end).collect();
    let started = Instant::now();
    let (mut trees, mut errors) = (0, 0);
    for round in 0..4000 {
        let mut bad = good.clone();
        for hit in 0..1 + scramble(round) % 4 {
            let number = scramble(round << 8 | hit);
            let target = targets[usize::try_from(number % targets.len() as u64).unwrap()];
            bad[target] =
                [0, 1, 0xFF, number.to_le_bytes()[6]][usize::from(number.to_le_bytes()[5] % 4)];
        }
        match image::read(&bad, 1) {
            Ok(_) => trees += 1,
            Err(_) => errors += 1,
        }
    }
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    assert!(trees > 100 && errors > 500, "{trees} trees, {errors} errors");
}

#[test]
fn c20_an_image_cut_anywhere_is_refused() {
    let (image, good) = bytes_of(&small(), &OPTIONS);
    let end = usize::try_from(image.file_system_at + image.file_system_size).unwrap();
    for length in (0..end).step_by(10_007) {
        assert!(image::read(&good[..length].to_vec(), 1).is_err(), "{length}");
    }
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        4 => (0_usize..60_000, any::<u64>()).prop_map(|(size, seed)| {
            // Half of the contents are noise, half repeat themselves.
            let noise = |at: usize| scramble(seed ^ at as u64).to_le_bytes()[0];
            let step = if seed % 2 == 0 { 1 } else { 900 };
            file(&(0..size).map(|at| noise(at / step)).collect::<Vec<_>>())
        }),
        3 => Just(Kind::Directory(BTreeMap::new())),
        1 => prop::collection::vec(1_u8.., 1..200).prop_map(|target| Kind::Symlink(target.into())),
        1 => (0_u32..4096, 0_u32..1 << 20)
            .prop_map(|(major, minor)| Kind::CharacterDevice(Device { major, minor })),
        1 => Just(Kind::Fifo),
        1 => Just(Kind::Socket),
    ]
}

fn metas() -> impl Strategy<Value = Meta> {
    let xattrs = prop::collection::btree_map(
        "(user|trusted|security)\\.[a-c]{1,2}".prop_map(String::into_bytes),
        prop::collection::vec(0_u8..2, 0..3),
        0..4,
    );
    let times = prop_oneof![Just(1_700_000_000_i64), i64::MIN..=1_700_000_000];
    (0_u16..0o10000, any::<u32>(), any::<u32>(), times, xattrs)
        .prop_map(|(mode, uid, gid, mtime, xattrs)| Meta { mode, uid, gid, mtime, xattrs })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_comes_back_from_its_image(
        files in prop::collection::vec((prop::collection::vec("[!-.a-c]{1,2}", 1..5), metas(), kinds()), 0..60),
        links in prop::collection::vec((any::<prop::sample::Index>(), "[d-f]{1,3}"), 0..5),
        compression in prop::sample::select(vec![Compression::None, Compression::Lz4, Compression::Lz4hc]),
        dax_header: bool,
    ) {
        let mut tree = Tree::default();
        let mut names = Vec::new();
        for (path, meta, kind) in files {
            let Ok(path) = TreePath::parse(path.join("/")) else { continue };
            let is_directory = matches!(kind, Kind::Directory(_));
            if tree.insert(&path, Inode { meta, kind }).is_ok() && !is_directory {
                names.push(path);
            }
        }
        for (index, name) in links {
            if !names.is_empty() {
                let target = &names[index.index(names.len())];
                // A later file may have replaced a directory of the target: then there is no link.
                if tree.link(&TreePath::parse(name).unwrap(), target).is_err() { continue; }
            }
        }
        let options = ImageOptions { compression, dax_header, ..OPTIONS };
        let plan = image::plan(&tree, &options, Epoch::new(1_700_000_000).unwrap()).unwrap();
        let (written, bytes) = bytes_of(&tree, &options);
        image::check(&plan, &written, &NoContents, &bytes, 2).unwrap();
        let disk = image::read(&bytes, 1).unwrap();
        prop_assert_eq!(disk.file_system.tree(), &tree);
        prop_assert_eq!(disk.file_system.stray_byte().unwrap(), None);
    }
}
