//! The reader on images that are broken by hand or at random, with their checksums set right again:
//! an error or a tree, never a panic, never a hang.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::format::{BLOCK, Header, INODE_SIZE, SECTOR, be16, field, magic, seal};
use super::{FileSystem, Plan, plan, read};
use crate::image::known::{Hashing, Known};
use crate::image::{Error, Window};
use crate::tree::{Content, Inode, Kind, Meta, NoContents, Tree, TreePath};

const SIZE: u64 = 65 << 20;
/// The inodes of the root, of `/a`, and of `/d`.
const ROOT: usize = 96;
const FILE: usize = 99;
const DIRECTORY: usize = 100;

fn put(tree: &mut Tree, path: &str, kind: Kind) {
    let meta = Meta::root(0o755);
    tree.insert(&TreePath::parse(path).unwrap(), Inode { meta, kind }).unwrap();
}

fn file(bytes: &[u8]) -> Kind {
    Kind::Regular(Content::Inline(bytes.into()))
}

fn tree() -> Tree {
    let mut tree = Tree::default();
    put(&mut tree, "a", file(&[b'a'; 9000]));
    put(&mut tree, "d", Kind::Directory(BTreeMap::new()));
    put(&mut tree, "d/e", Kind::Directory(BTreeMap::new()));
    put(&mut tree, "d/e/f", file(b"text"));
    put(&mut tree, "link", Kind::Symlink([b'l'; 500].as_slice().into()));
    put(&mut tree, "many", Kind::Directory(BTreeMap::new()));
    for index in 0..1000 {
        put(&mut tree, &format!("many/{index}"), Kind::Fifo);
    }
    let inode = tree.get_mut(&TreePath::parse("a").unwrap()).unwrap();
    inode.meta.xattrs.insert(b"user.large".to_vec(), vec![7; 6000]);
    inode.meta.xattrs.insert(b"user.small".to_vec(), vec![7; 300]);
    tree
}

fn planned() -> Plan {
    plan(&tree(), [7; 16], 0, |step| SIZE + (step << 20)).unwrap().1
}

fn image() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let file = fs_err::File::create(&path).unwrap();
    file.set_len(SIZE).unwrap();
    planned().write(&NoContents, &file, 0, 1).unwrap();
    fs_err::read(&path).unwrap()
}

fn read_from(bytes: &Vec<u8>, size: u64) -> Result<FileSystem<'_>, Error> {
    read(Window::new(bytes, 0, size), Hashing { threads: 1, known: &Known::default() })
}

fn outcome(bytes: &Vec<u8>) -> Result<Tree, Error> {
    read_from(bytes, SIZE).map(|system| system.tree)
}

/// Sets the checksums of a block of metadata right.
fn reseal(block: &mut [u8]) {
    if let Some(header) = Header::of(block) {
        return seal(block, header.checksum_at);
    }
    match field::<4>(block, 0).unwrap() {
        magic::SUPERBLOCK => {
            for (sector, at) in block.chunks_mut(SECTOR).zip([224, 216, 312, 32]) {
                seal(sector, at);
            }
        }
        magic::BY_BLOCK | magic::BY_COUNT | magic::INODE_TREE | magic::FREE_INODE_TREE => {
            seal(block, 52);
        }
        _ if be16(block, 0) == Some(0x494E) => {
            block.chunks_mut(INODE_SIZE).for_each(|inode| seal(inode, 100));
        }
        _ => {}
    }
}

/// Where metadata stands, block by block.
fn metadata() -> Vec<usize> {
    let plan = planned();
    let groups = (0..4).flat_map(|group| {
        let start = plan.geometry.group_start(group);
        start..start + 5
    });
    let inodes = plan.tables.iter().flat_map(|table| table.run.start..table.run.end());
    let blocks = plan.files.iter().flat_map(|placed| placed.blocks.iter().map(|(at, _)| *at));
    let all = groups.chain(inodes).chain(blocks);
    all.map(|block| usize::try_from(block).unwrap() * BLOCK).collect()
}

/// A stream of numbers that is the same in every run.
fn scramble(value: u64) -> usize {
    let mixed = (value + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    usize::try_from((mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 20).unwrap()
}

#[test]
fn hundreds_of_damaged_images_end_in_a_tree_or_an_error() {
    let mut bytes = image();
    let good = outcome(&bytes).unwrap();
    assert_eq!(good.to_listing(), tree().to_listing());
    let places = metadata();
    let (started, mut trees, mut errors) = (Instant::now(), 0, 0);
    for run in 0..500 {
        // Blocks of inodes are many; groups come first.
        let from = if run % 2 == 0 { 20 } else { places.len() };
        let start = places[scramble(run) % from];
        let kept = bytes[start..start + BLOCK].to_vec();
        for change in 0..1 + run % 3 {
            // Most of a block is often unused: its beginning matters more.
            let room = if run % 2 == 0 { 300 } else { BLOCK };
            let at = start + scramble(run << 8 | change) % room;
            bytes[at] = scramble(run << 9 | change).to_le_bytes()[1];
        }
        reseal(&mut bytes[start..start + BLOCK]);
        match outcome(&bytes) {
            Ok(_) => trees += 1,
            Err(Error::Broken { .. } | Error::Unsupported { .. }) => errors += 1,
            Err(other) => panic!("{other}"),
        }
        bytes[start..start + BLOCK].copy_from_slice(&kept);
    }
    assert!(started.elapsed() < Duration::from_secs(120), "{:?}", started.elapsed());
    assert!(trees > 50 && errors > 80, "{trees} trees, {errors} errors");
}

#[test]
fn k7_a_changed_byte_of_metadata_is_found_by_its_checksum_or_as_a_stray_one() {
    let mut bytes = image();
    for (index, start) in metadata().into_iter().enumerate() {
        let at = start + 60 + scramble(index as u64) % 100;
        bytes[at] ^= 1;
        // Inodes that are free have no part in the tree: what hides there is stray.
        match read_from(&bytes, SIZE) {
            Ok(system) => assert!(system.stray_byte().unwrap().is_some(), "{at}"),
            Err(error) => assert!(matches!(error, Error::Broken { .. }), "{at} {error}"),
        }
        bytes[at] ^= 1;
    }
}

#[track_caller]
fn check(bytes: &mut Vec<u8>, changes: &[(usize, &[u8])], rule: &str) {
    let mut kept = Vec::new();
    for (at, value) in changes {
        let start = at / BLOCK * BLOCK;
        kept.push((start, bytes[start..start + BLOCK].to_vec()));
        bytes[*at..at + value.len()].copy_from_slice(value);
        reseal(&mut bytes[start..start + BLOCK]);
    }
    let error = outcome(bytes).unwrap_err();
    assert!(matches!(error, Error::Broken { .. } | Error::Unsupported { .. }), "{error:?}");
    assert!(error.to_string().contains(rule), "{error}");
    for (start, block) in kept.into_iter().rev() {
        bytes[start..start + BLOCK].copy_from_slice(&block);
    }
}

/// Rules that hold in every good image, each broken once.
#[test]
fn what_lies_is_refused_by_the_rule_that_it_breaks() {
    let mut bytes = image();
    let inode = |number: usize| number * INODE_SIZE;
    let fork = |number: usize| inode(number) + 176;
    // Directories: `/d/e` leads to `/d`; an inode that is free; one that is not there.
    let child = fork(DIRECTORY) + 6 + 3 + 1 + 1;
    check(&mut bytes, &[(child, &[0, 0, 0, 100])], "a directory has two names");
    check(&mut bytes, &[(child, &[0, 0, 0xFF, 0xFF])], "no such inode in use");
    check(&mut bytes, &[(child, &[0xFF; 4])], "no such inode in use");
    check(&mut bytes, &[(child, &[0, 0, 0, 96])], "a directory has two names");
    check(&mut bytes, &[(fork(DIRECTORY) + 2, &[0, 0, 0, 101])], "leads elsewhere");
    check(&mut bytes, &[(fork(DIRECTORY) + 9, b"/")], "contains a slash");
    check(&mut bytes, &[(fork(DIRECTORY) + 10, &[1])], "differ in type");
    // The root's two first names become the same.
    check(&mut bytes, &[(fork(ROOT) + 6 + 12, b"a")], "a name stands there twice");
    // Inodes: links, size, another's number.
    check(&mut bytes, &[(inode(FILE) + 16, &[0, 0, 0, 2])], "its number of links is wrong");
    check(&mut bytes, &[(inode(FILE) + 16, &[0, 0, 0, 0])], "has no links");
    check(&mut bytes, &[(inode(FILE) + 152, &[0; 8])], "no inode, or another");
    check(&mut bytes, &[(inode(FILE) + 56, &[0x7F; 8])], "holes that dwarf");
    check(&mut bytes, &[(inode(FILE) + 82, &[60])], "do not fit");
    // Extents: more than there is room for, onto the superblock, overlapping.
    check(&mut bytes, &[(inode(FILE) + 76, &[0, 0, 1, 0])], "more extents than room");
    check(&mut bytes, &[(fork(FILE), &[0; 16])], "leads nowhere");
    let onto = (1_u128 << 64 | 3).to_be_bytes();
    check(&mut bytes, &[(fork(FILE), &onto)], "leads nowhere");
    check(&mut bytes, &[(fork(FILE), &3_u128.to_be_bytes())], "belong to something else");
    check(&mut bytes, &[(inode(FILE) + 5, &[3])], "more pieces of a file");
    // Groups: trees that lead out or in circles, wrong counts.
    check(&mut bytes, &[(SECTOR + 16, &[0xFF; 4])], "leads out of its group");
    check(&mut bytes, &[(SECTOR + 16, &[0, 0, 0, 2])], "wrong magic number");
    check(&mut bytes, &[(SECTOR + 28, &[0, 0, 0, 0])], "impossible number of levels");
    check(&mut bytes, &[(SECTOR + 28, &[0, 0, 0, 2])], "of another level");
    check(&mut bytes, &[(SECTOR + 52, &[0, 0, 0, 1])], "counts it wrongly");
    check(&mut bytes, &[(2 * SECTOR + 16, &[0, 0, 0, 1])], "counts them wrongly");
    check(&mut bytes, &[(BLOCK + 56, &[0; 8])], "its two trees differ");
    check(&mut bytes, &[(144, &[0; 8])], "it counts free blocks wrongly");
    check(&mut bytes, &[(3 * SECTOR + 36, &[0; 4])], "belong to something else");
}

#[test]
fn an_image_cut_anywhere_is_refused() {
    let bytes = image();
    for size in [0, 1, 511, 4095, 4096, SIZE / 2, SIZE - 4096] {
        assert!(read_from(&bytes, size).is_err(), "{size}");
    }
}
