//! The ext4 reader on images that are broken by hand or at random: an error or a tree, never a
//! panic, never a hang. Checksums are switched off first, or nothing would get beyond them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use osbuilder::epoch::Epoch;
use osbuilder::image::{self, Error};
use osbuilder::recipe::ImageOptions;
use osbuilder::tree::{Content, Device, Inode, Kind, Meta, NoContents, Tree, TreePath};
use proptest::prelude::*;

pub(crate) const OPTIONS: ImageOptions =
    ImageOptions { block_size: 1024, alignment_mib: 1, dax_header: false, ..ImageOptions::KATA };
/// Where the file system begins, and where in it the switches for checksums stand.
const START: usize = 1 << 20;
const READ_ONLY_FEATURES: usize = START + 1024 + 0x64;
const METADATA_CSUM: u8 = 0x4;

fn insert(tree: &mut Tree, path: &str, kind: Kind) {
    let meta = Meta::root(0o755);
    tree.insert(&TreePath::parse(path).unwrap(), Inode { meta, kind }).unwrap();
}

fn file(size: usize) -> Kind {
    Kind::Regular(Content::Inline(vec![b'x'; size].into()))
}

/// Inodes: 12 `/a`, 13 `/b`, 14 `/d`, 15 `/d/e`, 16 `/d/e/f`, 17 `/link`.
pub(crate) fn small() -> Tree {
    let mut tree = Tree::default();
    insert(&mut tree, "a", file(3000));
    insert(&mut tree, "b", file(3000));
    insert(&mut tree, "d", Kind::Directory(BTreeMap::new()));
    insert(&mut tree, "d/e", Kind::Directory(BTreeMap::new()));
    insert(&mut tree, "d/e/f", file(10));
    insert(&mut tree, "link", Kind::Symlink([b'l'; 100].as_slice().into()));
    let a = tree.get_mut(&TreePath::parse("a").unwrap()).unwrap();
    a.meta.xattrs.insert(b"user.large".to_vec(), vec![7; 300]);
    tree
}

pub(crate) fn bytes_of(tree: &Tree, options: &ImageOptions) -> Vec<u8> {
    written(tree, options).1
}

fn written(tree: &Tree, options: &ImageOptions) -> (image::Image, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let plan = image::plan(tree, options, Epoch::new(1_700_000_000).unwrap()).unwrap();
    let file = fs_err::File::create(&path).unwrap();
    let image = image::write(&plan, &NoContents, &file, 2).unwrap();
    (image, fs_err::read(path).unwrap())
}

pub(crate) fn without_checksums(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[READ_ONLY_FEATURES + 1] &= !METADATA_CSUM;
    bytes
}

/// The offset of an inode in the image: the descriptors follow the superblock.
pub(crate) fn inode(bytes: &[u8], number: usize) -> usize {
    let at = START + 2048 + 8;
    let table = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    START + usize::try_from(table).unwrap() * 1024 + (number - 1) * 256
}

fn set(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// A change that puts `value` at a place that depends on the image.
fn put(place: impl Fn(&[u8]) -> usize, value: &[u8]) -> impl Fn(&mut Vec<u8>) {
    move |bytes| {
        let at = place(bytes);
        set(bytes, at, value);
    }
}

#[track_caller]
fn check(change: impl Fn(&mut Vec<u8>), rule: &str) {
    let mut bytes = without_checksums(bytes_of(&small(), &OPTIONS));
    image::read(&bytes, 1).unwrap();
    change(&mut bytes);
    let error = image::read(&bytes, 1).unwrap_err();
    assert!(matches!(error, Error::Broken { .. } | Error::Unsupported { .. }), "{error:?}");
    assert!(error.to_string().contains(rule), "{error}");
}

/// The block map begins 0x28 bytes into an inode: header of 12 bytes, then extents.
pub(crate) const MAP: usize = 0x28;

#[test]
fn c19_extent_trees_that_lie_are_refused() {
    let map = |bytes: &[u8]| inode(bytes, 12) + MAP;
    check(put(|bytes| map(bytes) + 6, &[255, 255]), "deeper than five levels");
    check(put(|bytes| map(bytes) + 2, &[5, 0]), "more extents than it has room for");
    check(put(|bytes| map(bytes), &[0, 0]), "no magic number");
    check(put(|bytes| map(bytes) + 12 + 8, &[255, 255, 255, 0]), "outside the file system");
    check(put(|bytes| map(bytes) + 12 + 4, &[0, 0]), "overlap or are out of order");
    let twice = |bytes: &mut Vec<u8>| {
        let at = map(bytes);
        let first = bytes[at + 12..at + 24].to_vec();
        set(bytes, at + 24, &first);
        set(bytes, at + 2, &[2, 0]);
    };
    check(twice, "overlap or are out of order");
    let shared = |bytes: &mut Vec<u8>| {
        let (from, to) = (map(bytes), inode(bytes, 13) + MAP);
        let all = bytes[from..from + 60].to_vec();
        set(bytes, to, &all);
    };
    check(shared, "a block that something else uses");
}

#[test]
fn c19_a_node_that_points_to_itself_is_refused() {
    let circle = |bytes: &mut Vec<u8>| {
        let at = inode(bytes, 12) + MAP;
        let block: [u8; 4] = bytes[at + 20..at + 24].try_into().unwrap();
        let node =
            [&[0x0A, 0xF3, 1, 0, 4, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &block, &[0; 4]].concat();
        set(bytes, at, &node);
        let place = START + usize::try_from(u32::from_le_bytes(block)).unwrap() * 1024;
        set(bytes, place, &node);
    };
    check(circle, "wrong level");
}

#[test]
fn c19_directories_that_lead_round_in_circles_are_refused() {
    let first_block = |bytes: &[u8], number| {
        let at = inode(bytes, number) + MAP + 20;
        START
            + usize::try_from(u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())).unwrap()
                * 1024
    };
    // `/d/e` begins with `.`, `..`, `f`: let `f` lead to `/d`.
    let to_f = |bytes: &[u8]| first_block(bytes, 15) + 24;
    check(put(to_f, &[14, 0, 0, 0]), "a directory has two names");
    check(put(|bytes| first_block(bytes, 15) + 12, &[2]), "`.` or `..` leads elsewhere");
    check(put(|bytes| first_block(bytes, 15) + 4, &[0, 0]), "impossible length");
    check(put(|bytes| first_block(bytes, 15) + 32, b"/"), "contains a slash or NUL");
    check(put(|bytes| first_block(bytes, 15) + 24, &[255, 255]), "there is no such inode");
    check(put(|bytes| first_block(bytes, 15) + 31, &[2]), "differ in type");
}

#[test]
fn c19_sizes_that_nobody_could_read_are_refused() {
    check(put(|bytes| inode(bytes, 12) + 0x6C, &[0, 1, 0, 0]), "holes that dwarf");
    check(put(|bytes| inode(bytes, 14) + 4, &[0, 8]), "size is not that of its blocks");
    check(put(|bytes| inode(bytes, 17) + 4, &[0, 8]), "an impossible length");
    check(put(|bytes| inode(bytes, 12) + 0x1A, &[2]), "number of links");
    let superblock = START + 1024;
    check(put(|_| superblock + 0x38, &[0]), "no magic number");
    check(put(|_| superblock + 0x18, &[9]), "blocks of more than 4096 bytes");
    check(put(|_| superblock + 0x60, &[0xFF]), "incompatible features");
    check(put(|_| superblock + 0x20, &[1, 0, 0, 0]), "impossible");
    check(put(|_| superblock + 0x04, &[0xFF; 4]), "ends before the file system");
}

#[test]
fn a_changed_byte_in_metadata_is_found_by_its_checksum() {
    let good = bytes_of(&small(), &OPTIONS);
    image::read(&good, 1).unwrap();
    let places = [START + 1024 + 0x30, START + 2048 + 12, inode(&good, 12) + 0x10];
    for place in places {
        let mut bad = good.clone();
        bad[place] ^= 1;
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
fn c19_thousands_of_damaged_images_end_in_a_tree_or_an_error() {
    let good = without_checksums(bytes_of(&small(), &OPTIONS));
    // What is not zero, not content and not a bitmap is metadata that is read: damage that.
    let targets: Vec<usize> = (0..good.len())
        .filter(|at| ![0, 0xFF, b'x'].contains(&good[*at]))
        .flat_map(|at| [at, at + 1])
        .filter(|at| *at < good.len())
        .collect();
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
fn c19_an_image_cut_anywhere_is_refused() {
    let good = bytes_of(&small(), &OPTIONS);
    for length in (0..good.len()).step_by(10_007) {
        assert!(image::read(&good[..length].to_vec(), 1).is_err(), "{length}");
    }
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        4 => (0_usize..20_000).prop_map(file),
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
        "(user|trusted|security)\\.[a-z]{1,20}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..120),
        0..4,
    );
    (0_u16..0o10000, any::<u32>(), any::<u32>(), -0x8000_0000_i64..=1_700_000_000, xattrs)
        .prop_map(|(mode, uid, gid, mtime, xattrs)| Meta { mode, uid, gid, mtime, xattrs })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_comes_back_from_its_image(
        files in prop::collection::vec((prop::collection::vec("[a-c]{1,2}", 1..5), metas(), kinds()), 0..60),
        links in prop::collection::vec((any::<prop::sample::Index>(), "[d-f]{1,3}"), 0..5),
        block_size in prop::sample::select(vec![1024, 2048, 4096]),
        dax_header: bool,
    ) {
        let mut tree = Tree::default();
        let mut names = Vec::new();
        for (path, meta, kind) in files {
            let path = TreePath::parse(path.join("/")).unwrap();
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
        let options = ImageOptions { block_size, dax_header, ..OPTIONS };
        let plan = image::plan(&tree, &options, Epoch::new(1_700_000_000).unwrap()).unwrap();
        let (written, bytes) = written(&tree, &options);
        image::check(&plan, &written, &NoContents, &bytes, 2).unwrap();
        let disk = image::read(&bytes, 1).unwrap();
        prop_assert_eq!(disk.file_system.tree(), &tree);
        prop_assert_eq!(disk.file_system.stray_byte().unwrap(), None);
    }
}
