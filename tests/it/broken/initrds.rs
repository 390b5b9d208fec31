//! Archives and compressed streams that lie.

use std::num::NonZeroUsize;

use osbuilder::epoch::Epoch;
use osbuilder::image::initrd;
use osbuilder::recipe::InitrdCompression;
use osbuilder::tree::{Content, Inode, Kind, Meta, NoContents, Tree, TreePath};

use super::{Case, Form, inspected, set};

fn made(compression: InitrdCompression) -> Vec<u8> {
    let mut tree = Tree::default();
    let mut put = |path: &str, kind| {
        let inode = Inode { meta: Meta::root(0o755), kind };
        tree.insert(&TreePath::parse(path).unwrap(), inode).unwrap();
    };
    let text: Vec<u8> = (0..3000_u32).flat_map(|number| (number / 5).to_le_bytes()).collect();
    put("dir", Kind::Directory(Default::default()));
    put("dir/file1", Kind::Regular(Content::Inline(text.into())));
    put("dir/file2", Kind::Regular(Content::Inline(b"short".as_slice().into())));
    put("link", Kind::Symlink(b"nowhere".as_slice().into()));
    let mut bytes = Vec::new();
    let how = (compression, NonZeroUsize::MIN);
    initrd::write(&tree, &NoContents, Epoch::default(), how, &mut bytes).unwrap();
    bytes
}

/// Where bytes stand first.
fn find(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes.windows(wanted.len()).position(|window| window == wanted).unwrap()
}

/// The header of an entry.
fn header(bytes: &[u8], name: &str) -> usize {
    find(bytes, format!("{name}\0").as_bytes()) - 110
}

/// Gives an entry another name, which is as long.
fn rename(bytes: &mut [u8], name: &str, other: &str) {
    assert_eq!(name.len(), other.len());
    let at = header(bytes, name) + 110;
    set(bytes, at, other.as_bytes());
}

/// Puts a number into the header of an entry.
fn number(bytes: &mut [u8], name: &str, at: usize, digits: &str) {
    let at = header(bytes, name) + at;
    set(bytes, at, digits.as_bytes());
}

const MODE: usize = 14;
const SIZE: usize = 54;
const NAME_SIZE: usize = 94;

pub(super) const PLAIN: Form = Form {
    name: "initrd",
    suffix: ".cpio.zst",
    good: Some(|| made(InitrdCompression::None)),
    read: inspected,
    ask: &["inspect"],
    cases: &[
        ("empty", Vec::clear, "is broken"),
        ("no-magic", |b| set(b, 0, b"070703"), "magic"),
        ("magic-of-an-older-cpio", |b| set(b, 0, b"070707"), "older than newc"),
        ("number-with-a-sign", |b| number(b, "dir", MODE, "-0000001"), "not hexadecimal"),
        ("kind-nobody-knows", |b| number(b, "dir", MODE, "0000F1ED"), "no kind of file"),
        ("directory-with-data", |b| number(b, "dir", SIZE, "00000004"), "has data but is neither"),
        ("c16-namesize-0", |b| number(b, "dir", NAME_SIZE, "00000000"), "a name of no byte"),
        ("c16-namesize-4294967295", |b| number(b, "dir", NAME_SIZE, "FFFFFFFF"), "more than 4095"),
        ("c16-filesize-4294967295", |b| number(b, "dir/file2", SIZE, "FFFFFFFF"), "is cut short"),
        ("c16-name-leads-up", |b| rename(b, "dir/file1", "../escape"), "contains `..`"),
        ("c16-name-leads-up-in-the-middle", |b| rename(b, "dir/file1", "a/../../b"), "`..`"),
        ("c16-absolute-name-leads-up", |b| rename(b, "dir/file1", "/../file1"), "contains `..`"),
        ("c16-file-through-a-link-to-nowhere", through_link, "where nothing can be"),
        (
            "name-without-an-end",
            |b| {
                let at = header(b, "dir") + 113;
                b[at] = b'x';
            },
            "final NUL",
        ),
        (
            "directory-becomes-a-link",
            |b| number(b, "dir", MODE, "0000A1ED"),
            "a link target of no byte",
        ),
        (
            "link-without-a-target",
            |b| number(b, "link", SIZE, "00000000"),
            "a link target of no byte",
        ),
        (
            "target-with-a-nul",
            |b| {
                let at = find(b, b"nowhere");
                b[at + 2] = 0;
            },
            "NUL in its link",
        ),
        ("cut-in-a-file", |b| b.truncate(5000), "is cut short"),
        (
            "no-trailer",
            |b| {
                let at = header(b, "TRAILER!!!");
                b.truncate(at);
            },
            "is cut short",
        ),
        (
            "something-behind-the-trailer",
            |b| b.extend(*b"BZh91AY"),
            "a compression that is none of",
        ),
    ],
};

/// The link comes before the file that is to go through it.
fn through_link(bytes: &mut Vec<u8>) {
    number(bytes, "dir", MODE, "0000A1FF");
    number(bytes, "dir", SIZE, "00000004");
    let behind = (header(bytes, "dir") + 114).next_multiple_of(4);
    bytes.splice(behind..behind, *b"/out");
}

/// Things that may be wrong with each compression.
const fn packed(name: &'static str, good: fn() -> Vec<u8>, cases: &'static [Case]) -> Form {
    let (suffix, ask) = (".initrd.zst", &["inspect"]);
    Form { name, suffix, good: Some(good), read: inspected, ask, cases }
}

fn cut(bytes: &mut Vec<u8>) {
    bytes.truncate(bytes.len() / 2);
}

fn damage(bytes: &mut [u8]) {
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8].fill(0xFF);
}

const DAMAGED: &str = "is damaged or cut short";

pub(super) const GZIP: Form = packed(
    "initrd-gzip",
    || made(InitrdCompression::Gzip),
    &[
        ("cut-in-the-middle", cut, "cut short"),
        ("damaged-in-the-middle", |b| damage(b), DAMAGED),
        ("method-nobody-knows", |b| b[2] = 7, DAMAGED),
        (
            "c24-checksum-is-wrong",
            |b| {
                let at = b.len() - 8;
                b[at] ^= 1;
            },
            DAMAGED,
        ),
        (
            "c24-length-is-wrong",
            |b| {
                let at = b.len() - 4;
                b[at] ^= 1;
            },
            DAMAGED,
        ),
        ("c24-garbage-behind-the-end", |b| b.extend(*b"BZh91AY"), "a compression that is none of"),
        ("c24-second-member-is-cut", |b| b.extend([0x1f, 0x8b, 8]), DAMAGED),
    ],
);

pub(super) const ZSTD: Form = packed(
    "initrd-zstd",
    || made(InitrdCompression::Zstd),
    &[
        ("cut-in-the-middle", cut, "cut short"),
        ("damaged-in-the-middle", |b| damage(b), DAMAGED),
        (
            "c24-window-of-2-gib",
            // A frame without content size and checksum, its window, and an empty last block.
            |b| *b = [&b[..4], &[0, 0xA8, 1, 0, 0]].concat(),
            DAMAGED,
        ),
        ("c24-garbage-behind-the-end", |b| b.extend(*b"BZh91AY"), "a compression that is none of"),
    ],
);

pub(super) const LZ4: Form = packed(
    "initrd-lz4",
    || made(InitrdCompression::Lz4),
    &[
        ("cut-in-the-middle", cut, "cut short"),
        ("damaged-in-the-middle", |b| damage(b), DAMAGED),
        ("c24-block-of-4-gib", |b| set(b, 4, &[0xFF, 0xFF, 0xFF, 0x7F]), DAMAGED),
        ("block-of-no-byte", |b| set(b, 4, &[0; 4]), DAMAGED),
    ],
);

pub(super) const XZ: Form = packed(
    "initrd-xz",
    || made(InitrdCompression::Xz),
    &[
        ("cut-in-the-middle", cut, "cut short"),
        ("damaged-in-the-middle", |b| damage(b), DAMAGED),
        ("c24-checksum-of-the-header", |b| b[8] ^= 1, DAMAGED),
        ("c24-dictionary-of-4-gib", |b| dictionary(b), DAMAGED),
        ("c24-garbage-behind-the-end", |b| b.extend(*b"BZh91AY"), "a compression that is none of"),
    ],
);

/// The size of the dictionary stands behind the number of the filter and the size of its one option;
/// the header of a block ends with its checksum.
fn dictionary(bytes: &mut [u8]) {
    let end = 12 + (usize::from(bytes[12]) + 1) * 4;
    let option = 12 + find(&bytes[12..end], &[0x21, 1]) + 2;
    bytes[option] = 40;
    let sum = libdeflater::crc32(&bytes[12..end - 4]);
    set(bytes, end - 4, &sum.to_le_bytes());
}
