//! What stands around a file system: partition tables, the block for persistent memory, the hash tree.

use osbuilder::distro::Architecture;
use osbuilder::epoch::Epoch;
use osbuilder::image::{self, Medium as _};
use osbuilder::inspect::{self, Claim};
use osbuilder::recipe::{FileSystem, ImageOptions, PartitionTable, Verity};
use osbuilder::tree::{Content, Inode, Kind, Meta, NoContents, Tree, TreePath};

use super::{Case, Form, inspected, put, set};

const MIB: usize = 1 << 20;
const SALT: [u8; 32] = [0xA5; 32];

/// An image of one file, small enough to be looked at.
fn made(options: &ImageOptions) -> Vec<u8> {
    let mut tree = Tree::default();
    let kind = Kind::Regular(Content::Inline([b'x'; 20_000].as_slice().into()));
    let inode = Inode { meta: Meta::root(0o644), kind };
    tree.insert(&TreePath::parse("file").unwrap(), inode).unwrap();
    let plan = image::plan(&tree, options, Epoch::default()).unwrap();
    let file = fs_err::File::from_parts(tempfile::tempfile().unwrap(), "image");
    let written = image::write(&plan, &NoContents, &file, 1).unwrap();
    let mut bytes = vec![0; usize::try_from(written.size).unwrap()];
    file.read_at(0, &mut bytes).unwrap();
    bytes
}

const PLAIN: ImageOptions = ImageOptions {
    file_system: FileSystem::Erofs,
    alignment_mib: 2,
    dax_header: false,
    ..ImageOptions::KATA
};

fn measured(superblock: bool) -> Vec<u8> {
    let salt = Some(SALT.to_vec());
    made(&ImageOptions { verity: Some(Verity { superblock, salt, ..Verity::default() }), ..PLAIN })
}

const fn form(name: &'static str, good: fn() -> Vec<u8>, cases: &'static [Case]) -> Form {
    let (suffix, ask) = (".img.zst", &["inspect"]);
    Form { name, suffix, good: Some(good), read: inspected, ask, cases }
}

pub(super) const MBR: Form = form(
    "mbr",
    || measured(false),
    &[
        ("no-signature", |b| set(b, 510, &[0, 0]), "it does not end with 55 AA"),
        ("type-of-windows", |b| set(b, 450, &[7]), "entry 1: the type 0x07"),
        (
            "partition-before-the-disk",
            |b| set(b, 454, &[0; 4]),
            "overlaps with another or the table",
        ),
        ("partition-of-no-sector", |b| set(b, 458, &[0; 4]), "it is empty or overlaps"),
        ("partition-beyond-the-disk", |b| set(b, 474, &[255; 4]), "it ends beyond the disk"),
        ("partitions-overlap", |b| set(b, 470, &[1, 8, 0, 0]), "overlaps with another"),
        ("second-without-first", |b| set(b, 446, &[0; 16]), "not numbered from 1 on"),
        (
            "four-partitions",
            |b| {
                for (entry, start) in [(2_usize, 1_u8), (3, 2)] {
                    let at = 446 + entry * 16;
                    set(b, at, &[0, 0, 0, 0, 0x83, 0, 0, 0, start, 0, 0, 0, 1, 0, 0, 0]);
                }
            },
            "more than two partitions",
        ),
        ("too-small-for-a-partition", |b| b.truncate(MIB), "too small for a partition"),
        ("cut-before-its-end", |b| b.truncate(b.len() - 512), "it ends beyond the disk"),
    ],
);

pub(super) const GPT: Form = form(
    "gpt",
    || made(&ImageOptions { table: PartitionTable::Gpt(Architecture::X86_64), ..PLAIN }),
    &[
        ("no-magic", |b| both(b, 512, b"X"), "does not begin with \"EFI PART\""),
        (
            "checksum-of-the-header",
            |b| set(b, 512 + 56, &[0; 4]),
            "GPT header: its checksum is wrong",
        ),
        (
            "checksum-of-the-entries",
            |b| set(b, 1024 + 56, b"Z"),
            "checksum of its entries is wrong",
        ),
        ("header-of-four-gigabytes", |b| both(b, 512 + 12, &[255; 4]), "size of the header"),
        ("entries-of-four-gigabytes", |b| both(b, 512 + 84, &[255; 4]), "other than 128 entries"),
        ("four-billion-entries", |b| both(b, 512 + 80, &[255; 4]), "other than 128 entries"),
        (
            "entries-beyond-the-disk",
            |b| {
                set(b, 512 + 72, &(1_u64 << 62).to_le_bytes());
                seal(b, 512);
            },
            "its entries lie outside of the disk",
        ),
        ("header-for-another-place", |b| both(b, 512 + 24, &[7]), "for another place"),
        ("partitions-where-the-table-is", |b| both(b, 512 + 40, &[3]), "where the table is"),
        ("type-nobody-knows", |b| both(b, 1024, &[7]), "the type"),
        ("partition-ends-before-it-begins", |b| both(b, 1024 + 40, &[5, 0]), "before it begins"),
        ("partition-beyond-the-disk", |b| both(b, 1024 + 45, &[1]), "it ends beyond the disk"),
        ("name-behind-its-end", |b| both(b, 1024 + 127, &[1]), "goes on behind its end"),
        ("k7-bytes-behind-the-header", |b| set(b, 700, &[1]), "something where it has nothing"),
        (
            "copies-differ",
            |b| {
                let last = b.len() - 512;
                b[last + 56] ^= 1;
                seal(b, last);
            },
            "does not say what the first says",
        ),
        ("copy-is-missing", |b| b.truncate(b.len() - 512), "protects it on this disk"),
        ("protected-by-another-mbr", |b| set(b, 446, &[0x80]), "not the one that protects it"),
    ],
);

/// Changes both copies of a table, whose checksums are right again afterwards.
fn both(bytes: &mut [u8], at: usize, value: &[u8]) {
    let end = bytes.len();
    let copy = if at < 1024 { end - 1024 + at } else { end - 512 - 16384 + at - 1024 };
    for at in [at, copy] {
        set(bytes, at, value);
    }
    for at in [512, end - 512] {
        seal(bytes, at);
    }
}

/// Makes the checksums of the header at a place right.
fn seal(bytes: &mut [u8], at: usize) {
    let entries = u64::from_le_bytes(*bytes[at + 72..].first_chunk().unwrap());
    let entries = usize::try_from(entries).unwrap().saturating_mul(512);
    if let Some(entries) = bytes.get(entries..entries.saturating_add(16384)) {
        let sum = libdeflater::crc32(entries);
        set(bytes, at + 88, &sum.to_le_bytes());
    }
    set(bytes, at + 16, &[0; 4]);
    let sum = libdeflater::crc32(&bytes[at..at + 92]);
    set(bytes, at + 16, &sum.to_le_bytes());
}

pub(super) const NVDIMM: Form = form(
    "nvdimm",
    || made(&ImageOptions { dax_header: true, ..PLAIN }),
    &[
        ("checksum-is-wrong", |b| b[8191] ^= 1, "it is not the one of Kata's images"),
        ("data-begins-elsewhere", |b| set(b, 4096 + 0x38, &[0, 0, 0x40]), "not the one of Kata's"),
        (
            "tables-disagree",
            |b| set(b, 2 * MIB + 458, &[0, 1, 0, 0]),
            "they point to different places",
        ),
        ("no-second-table", |b| set(b, 2 * MIB, &[0; 512]), "it does not end with 55 AA"),
    ],
);

pub(super) const VERITY: Form = form(
    "verity-superblock",
    || measured(true),
    &[
        ("version-2", |b| put(b, |b| hashes(b) + 8, &[2]), "a version, hash type or algorithm"),
        ("hash-type-of-chrome-os", |b| put(b, |b| hashes(b) + 12, &[0]), "a version, hash type"),
        ("algorithm-md5", |b| put(b, |b| hashes(b) + 32, b"md5\0\0\0"), "a version, hash type"),
        ("blocks-of-1024-bytes", |b| put(b, |b| hashes(b) + 64, &[0, 4]), "blocks of other sizes"),
        (
            "hash-blocks-of-no-byte",
            |b| put(b, |b| hashes(b) + 68, &[0, 0]),
            "blocks of other sizes",
        ),
        ("salt-of-65535-bytes", |b| put(b, |b| hashes(b) + 80, &[255; 2]), "its salt is too long"),
        ("salt-of-257-bytes", |b| put(b, |b| hashes(b) + 80, &[1, 1]), "its salt is too long"),
    ],
);

/// Where the second partition begins.
fn hashes(bytes: &[u8]) -> usize {
    let sector = u32::from_le_bytes(*bytes[470..].first_chunk().unwrap());
    usize::try_from(sector).unwrap() * 512
}

/// Judged by the root hash of the good one, which its superblock and data lead to.
pub(super) const MEASURED: Form = Form {
    name: "verity",
    suffix: ".img.zst",
    good: Some(|| measured(false)),
    read: verified,
    ask: &[],
    cases: &[
        ("k2-bit-flipped-in-data", |b| b[MIB + 7] ^= 1, "block"),
        (
            "k2-bit-flipped-in-unused-data",
            |b| {
                let at = hashes(b) - 1;
                b[at] ^= 1;
            },
            "block",
        ),
        (
            "k2-bit-flipped-in-hashes",
            |b| {
                let at = hashes(b);
                b[at] ^= 1;
            },
            "block",
        ),
        (
            "k4-no-hashes",
            |b| {
                let at = hashes(b);
                b[at..].fill(0);
            },
            "block",
        ),
        ("k4-no-second-partition", |b| set(b, 462, &[0; 16]), "there is no second partition"),
        (
            "k4-second-partition-begins-later",
            |b| {
                let at = u32::from_le_bytes(*b[458..].first_chunk().unwrap()) - 8;
                set(b, 458, &at.to_le_bytes());
            },
            "do not cover all of partition 1",
        ),
    ],
};

fn verified(bytes: &[u8]) -> Option<String> {
    let good = MEASURED.load("good");
    let data = good[MIB..hashes(&good)].to_vec();
    let (parameters, _) = image::verity::measure(&data, &SALT, 1).unwrap();
    let manner = (false, std::num::NonZeroUsize::MIN);
    match inspect::verify(&bytes.to_vec(), &Claim::Parameters(parameters), manner) {
        Ok(verdict) if verdict.is_good() => None,
        Ok(verdict) => Some(verdict.findings[0].what.clone()),
        Err(error) => Some(error.to_string()),
    }
}
