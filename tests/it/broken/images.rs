//! File systems that lie. Checksums are off in ext4 and erofs, as in an image of somebody who wants
//! to be believed; those of xfs are made right after each change.

use osbuilder::epoch::Epoch;
use osbuilder::image;
use osbuilder::recipe::{FileSystem, ImageOptions};
use osbuilder::tree::NoContents;

use super::{Case, Form, inspected, put, set};
use crate::{erofs_hostile as erofs, ext4_hostile as ext4};

/// Where a file system begins in an image without header.
const START: usize = 1 << 20;
const SUPERBLOCK: usize = START + 1024;

pub(super) const EXT4: Form = Form {
    name: "ext4",
    suffix: ".img.zst",
    good: Some(|| ext4::without_checksums(ext4::bytes_of(&ext4::small(), &ext4::OPTIONS))),
    read: inspected,
    ask: &["inspect"],
    cases: EXT4_CASES,
};

/// The block map of `/a`.
fn map(bytes: &[u8]) -> usize {
    ext4::inode(bytes, 12) + ext4::MAP
}

/// The first block of names of a directory that has one.
fn names(bytes: &[u8], number: usize) -> usize {
    let at = ext4::inode(bytes, number) + ext4::MAP + 20;
    START + ext4_word(bytes, at) * 1024
}

/// The name `a` of a file in the root directory.
fn name_a(bytes: &[u8]) -> usize {
    let start = names(bytes, 2);
    let entry = bytes[start..].windows(3).position(|entry| entry == [1, 1, b'a']);
    start + entry.unwrap() + 2
}

fn ext4_word(bytes: &[u8], at: usize) -> usize {
    usize::try_from(u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())).unwrap()
}

const EXT4_CASES: &[Case] = &[
    ("no-magic", |b| set(b, SUPERBLOCK + 0x38, &[0]), "superblock: it has no magic number"),
    (
        "promised-checksum-is-wrong",
        |b| {
            b[SUPERBLOCK + 0x65] |= 4;
            b[SUPERBLOCK + 0x78] ^= 1;
        },
        "its checksum is wrong",
    ),
    ("features-nobody-knows", |b| set(b, SUPERBLOCK + 0x60, &[0xFF]), "incompatible features"),
    ("blocks-of-half-a-megabyte", |b| set(b, SUPERBLOCK + 0x18, &[9]), "more than 4096 bytes"),
    ("larger-than-the-disk", |b| set(b, SUPERBLOCK + 4, &[0xFF; 4]), "ends before the file system"),
    ("groups-of-one-block", |b| set(b, SUPERBLOCK + 0x20, &[1, 0, 0, 0]), "an impossible size"),
    ("cut-in-the-middle", |b| b.truncate(2 * START), "it ends beyond the disk"),
    ("c19-depth-65535", |b| put(b, |b| map(b) + 6, &[255, 255]), "deeper than five levels"),
    (
        "c19-more-extents-than-room",
        |b| put(b, |b| map(b) + 2, &[5, 0]),
        "more extents than it has room",
    ),
    (
        "c19-extent-outside",
        |b| put(b, |b| map(b) + 20, &[255, 255, 255]),
        "outside the file system",
    ),
    (
        "c19-extents-overlap",
        |b| {
            let at = map(b);
            b.copy_within(at + 12..at + 24, at + 24);
            set(b, at + 2, &[2, 0]);
        },
        "overlap or are out of order",
    ),
    (
        "c19-index-points-to-itself",
        |b| {
            let at = map(b);
            let block: [u8; 4] = b[at + 20..at + 24].try_into().unwrap();
            let head = [0x0A, 0xF3, 1, 0, 4, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            let node = [&head[..], &block, &[0; 4]].concat();
            set(b, at, &node);
            let own = START + usize::try_from(u32::from_le_bytes(block)).unwrap() * 1024;
            set(b, own, &node);
        },
        "wrong level",
    ),
    (
        "c19-two-files-share-a-block",
        |b| {
            let (from, to) = (map(b), ext4::inode(b, 13) + ext4::MAP);
            b.copy_within(from..from + 60, to);
        },
        "a block that something else uses",
    ),
    ("c19-file-of-1-tib-of-holes", |b| put(b, |b| map(b) + 0x44, &[0, 1]), "holes that dwarf"),
    ("directory-leads-to-its-parent", |b| put(b, |b| names(b, 15) + 24, &[14]), "has two names"),
    ("c21-name-with-a-slash", |b| put(b, |b| names(b, 15) + 32, b"/"), "contains a slash or NUL"),
    ("c21-name-stands-twice", |b| put(b, name_a, b"b"), "stands there twice"),
    ("entry-and-inode-differ", |b| put(b, |b| names(b, 15) + 31, &[2]), "differ in type"),
    ("entry-of-no-inode", |b| put(b, |b| names(b, 15) + 24, &[255, 255]), "there is no such inode"),
    ("entry-of-length-zero", |b| put(b, |b| names(b, 15) + 4, &[0, 0]), "impossible length"),
    ("link-count-of-two", |b| put(b, |b| map(b) - 0x28 + 0x1A, &[2]), "number of links is wrong"),
    ("target-of-no-length", |b| put(b, |b| ext4::inode(b, 17) + 4, &[0]), "an impossible length"),
];

pub(super) const EROFS: Form = Form {
    name: "erofs",
    suffix: ".img.zst",
    good: Some(|| erofs::without_checksum(erofs::bytes_of(&erofs::small(), &erofs::OPTIONS).1)),
    read: inspected,
    ask: &["inspect"],
    cases: EROFS_CASES,
};

/// The names of the root directory.
fn root_names(bytes: &[u8]) -> usize {
    START + erofs::word(bytes, SUPERBLOCK + 40) * 4096 + 64
}

/// The index of the compressed `/a`, behind its inode, attributes and a header.
fn index(bytes: &[u8]) -> usize {
    (erofs::inode(bytes, "a") + 64 + 24).next_multiple_of(8) + 16
}

const EROFS_CASES: &[Case] = &[
    ("no-magic", |b| set(b, SUPERBLOCK, &[0]), "magic"),
    (
        "promised-checksum-is-wrong",
        |b| {
            b[SUPERBLOCK + 8] |= 1;
            b[SUPERBLOCK + 64] ^= 1;
        },
        "its checksum is wrong",
    ),
    ("features-nobody-knows", |b| set(b, SUPERBLOCK + 80, &[0xFF]), "a feature"),
    ("compressors-nobody-knows", |b| set(b, SUPERBLOCK + 84, &[2]), "other compressors"),
    ("blocks-of-512-bytes", |b| set(b, SUPERBLOCK + 12, &[9]), "blocks of other sizes"),
    ("larger-than-the-disk", |b| set(b, SUPERBLOCK + 36, &[255; 4]), "ends before the file system"),
    ("cut-at-its-beginning", |b| b.truncate(START + 4096), "too small for a partition"),
    ("c20-nameoff-65535", |b| put(b, |b| root_names(b) + 8, &[255, 255]), "an impossible place"),
    ("c20-nameoff-0", |b| put(b, |b| root_names(b) + 8, &[0, 0]), "an impossible place"),
    ("c20-nameoff-falling", |b| put(b, |b| root_names(b) + 20, &[1, 0]), "out of order"),
    (
        "c20-directory-circle",
        |b| {
            let (outer, inner) = (erofs::inode(b, "d"), erofs::inode(b, "d/e"));
            let slot = u32::try_from((outer - (root_names(b) - 64)) / 32).unwrap();
            set(b, inner + 64 + 24, &slot.to_le_bytes());
            set(b, inner + 64 + 34, &[2]);
        },
        "a directory has two names",
    ),
    ("c20-extents-overlap", |b| put(b, |b| index(b) + 4, &[0]), "something else uses"),
    (
        "c20-extent-outside",
        |b| put(b, |b| index(b) + 4, &[255, 255, 255]),
        "outside the file system",
    ),
    ("c20-extent-empty", |b| put(b, index, &[2]), "an extent is empty"),
    (
        "cluster-of-zeros",
        |b| {
            let block = START + erofs::word(b, index(b) + 4) * 4096;
            b[block..block + 4096].fill(0);
        },
        "a cluster is damaged",
    ),
    ("c21-name-with-a-slash", |b| put(b, |b| erofs::inode(b, "d/e") + 103, b"/"), "a slash or NUL"),
    ("link-count-of-zero", |b| put(b, |b| erofs::inode(b, "b") + 44, &[0]), "it has no links"),
    ("attribute-of-no-kind", |b| put(b, |b| erofs::inode(b, "b") + 81, &[9]), "name is unknown"),
    (
        "file-larger-than-the-disk",
        |b| put(b, |b| erofs::inode(b, "a") + 12, &[1]),
        "outside the file",
    ),
];

pub(super) const XFS: Form = Form {
    name: "xfs",
    suffix: ".img.zst",
    good: Some(xfs),
    read: inspected,
    ask: &["inspect"],
    cases: XFS_CASES,
};

fn xfs() -> Vec<u8> {
    let options = ImageOptions { file_system: FileSystem::Xfs, ..ext4::OPTIONS };
    let options = ImageOptions { block_size: 4096, ..options };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let plan = image::plan(&ext4::small(), &options, Epoch::default()).unwrap();
    let file = fs_err::File::create(&path).unwrap();
    image::write(&plan, &NoContents, &file, 1).unwrap();
    fs_err::read(path).unwrap()
}

/// Puts bytes into the superblock or into a header of the first group, each in a sector of its own,
/// and makes the checksum of that sector right; its place is known.
fn sealed(bytes: &mut [u8], (sector, checksum): (usize, usize), at: usize, value: &[u8]) {
    let start = START + sector * 512;
    set(bytes, start + at, value);
    set(bytes, start + checksum, &[0; 4]);
    let sum = crc32c(&bytes[start..start + 512]);
    set(bytes, start + checksum, &sum.to_le_bytes());
}

/// The checksum of Castagnoli (RFC 3720, appendix B.4), bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0x82F6_3B78 * (sum & 1)))
    };
    !bytes.iter().fold(u32::MAX, step)
}

const SB: (usize, usize) = (0, 224);
const AGF: (usize, usize) = (1, 216);
const AGI: (usize, usize) = (2, 312);

const XFS_CASES: &[Case] = &[
    ("no-magic", |b| set(b, START, &[0]), "magic"),
    ("checksum-is-wrong", |b| b[START + 32] ^= 1, "checksum"),
    ("blocks-of-512-bytes", |b| sealed(b, SB, 4, &512_u32.to_be_bytes()), "superblock"),
    ("larger-than-the-disk", |b| sealed(b, SB, 8, &(1_u64 << 40).to_be_bytes()), "superblock"),
    ("shared-blocks", |b| sealed(b, SB, 212, &15_u32.to_be_bytes()), "superblock"),
    ("features-nobody-knows", |b| sealed(b, SB, 216, &[0xFF]), "superblock"),
    ("four-billion-groups", |b| sealed(b, SB, 88, &[0xFF; 4]), "superblock"),
    ("groups-of-no-block", |b| sealed(b, SB, 84, &[0; 4]), "superblock"),
    ("root-is-no-inode", |b| sealed(b, SB, 56, &[0x7F; 8]), "inode"),
    ("free-blocks-counted-wrongly", |b| sealed(b, SB, 144, &[0; 8]), "counts free blocks wrongly"),
    ("free-list-outside", |b| sealed(b, AGF, 16, &[0xFF; 4]), "leads out of its group"),
    ("tree-of-another-kind", |b| sealed(b, AGF, 16, &[0, 0, 0, 2]), "wrong magic number"),
    ("c19-tree-of-no-level", |b| sealed(b, AGF, 28, &[0; 4]), "impossible number of levels"),
    ("inodes-counted-wrongly", |b| sealed(b, AGI, 16, &[0, 0, 0, 1]), "counts them wrongly"),
    ("cut-in-the-middle", |b| b.truncate(2 * START), "it ends beyond the disk"),
];
