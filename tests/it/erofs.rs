//! erofs images against erofs-utils and, for root, the kernel.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Command, Output};

use osbuilder::digest::Digest;
use osbuilder::epoch::Epoch;
use osbuilder::image;
use osbuilder::recipe::{Compression, FileSystem, ImageOptions};
use osbuilder::store::directory;
use osbuilder::tree::{Content, Inode, Kind, Meta, NoContents, Tree, TreePath};

use crate::everything::{everything, pattern};
use crate::judge;
use crate::mounted::{self, Mount};

const EPOCH: u64 = 1_700_000_000;
const COMPRESSIONS: [Compression; 3] = [Compression::Lz4hc, Compression::Lz4, Compression::None];

fn options() -> ImageOptions {
    let file_system = FileSystem::Erofs;
    ImageOptions { file_system, alignment_mib: 1, dax_header: false, ..ImageOptions::KATA }
}

/// Everything, and contents that compress well, badly, and in part.
fn tree() -> Tree {
    let mut tree = everything();
    let text = b"all work and no play makes jack a dull boy\n".repeat(60_000);
    let mixed = [&text[..300_000], &pattern(300_000)[..], &text[..300_001]].concat();
    for (name, bytes) in [("text", text), ("mixed", mixed), ("copy", pattern(4099).repeat(2300))] {
        let kind = Kind::Regular(Content::Inline(bytes.into()));
        let inode = Inode { meta: Meta::root(0o644), kind };
        tree.insert(&TreePath::parse(name).unwrap(), inode).unwrap();
    }
    tree
}

fn plan(options: &ImageOptions) -> image::Plan {
    image::plan(&tree(), options, Epoch::new(EPOCH).unwrap()).unwrap()
}

fn write(options: &ImageOptions, path: &Path, threads: usize) -> image::Image {
    let file = fs_err::File::options()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let plan = plan(options);
    let written = image::write(&plan, &NoContents, &file, threads).unwrap();
    image::check(&plan, &written, &NoContents, &file, threads).unwrap();
    written
}

#[expect(clippy::disallowed_methods, reason = "the judges are programs")]
fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).output().unwrap()
}

/// The file system alone, cut out of the image.
fn cut_out(image: &image::Image, from: &Path, to: &Path) {
    let bytes = fs_err::read(from).unwrap();
    let start = usize::try_from(image.file_system_at).unwrap();
    fs_err::write(to, &bytes[start..]).unwrap();
}

#[test]
fn fsck_finds_nothing_to_complain_about_in_any_form() {
    if judge::is_missing(&["fsck.erofs"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (whole, part) = (folder.path().join("image"), folder.path().join("erofs"));
    for compression in COMPRESSIONS {
        for dax_header in [false, true] {
            let image = write(&ImageOptions { compression, dax_header, ..options() }, &whole, 2);
            cut_out(&image, &whole, &part);
            let extracted = folder.path().join(format!("{compression:?} {dax_header}"));
            let extract = format!("--extract={}", extracted.display());
            let output = run("fsck.erofs", &[&extract, "--preserve", part.to_str().unwrap()]);
            let text = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{compression:?} {dax_header} {text}");
            let threads = NonZeroUsize::MIN;
            let (found, _) = directory::read(&extracted, threads).unwrap();
            let (found, wanted) = (shapes(&found), shapes(plan(&options()).tree()));
            let differing = found.iter().zip(&wanted).find(|(found, wanted)| found != wanted);
            assert_eq!((differing, found.len()), (None, wanted.len()), "{compression:?}");
        }
    }
}

/// What fsck.erofs extracts of every file. What only root can make is compared for root alone.
fn shapes(tree: &Tree) -> Vec<String> {
    let is_root = rustix::process::geteuid().is_root();
    let shape = |(path, _, inode): (TreePath, _, &Inode)| {
        let meta = &inode.meta;
        let is_link = matches!(inode.kind, Kind::Symlink(_));
        // What a mode has beyond that, extracting loses.
        let mode = if is_root && !is_link { meta.mode & 0o777 } else { 0 };
        let owners = if is_root { (meta.uid, meta.gid) } else { (0, 0) };
        let kind = match &inode.kind {
            Kind::Directory(_) => "directory".to_owned(),
            Kind::Regular(content) => format!("file {} {}", content.size(), content.digest()),
            Kind::Symlink(target) => format!("link {}", osbuilder::tree::escape(target)),
            Kind::CharacterDevice(_) | Kind::BlockDevice(_) if !is_root => return None,
            Kind::CharacterDevice(device) => format!("character {device:?}"),
            Kind::BlockDevice(device) => format!("block {device:?}"),
            Kind::Fifo => "fifo".to_owned(),
            Kind::Socket => "socket".to_owned(),
        };
        Some(format!("{path} {kind} {owners:?} {mode:o}"))
    };
    tree.walk().filter_map(shape).collect()
}

#[test]
fn an_image_read_back_holds_the_same_tree_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    for compression in COMPRESSIONS {
        let image = write(&ImageOptions { compression, ..options() }, &path, 2);
        let bytes = fs_err::read(&path).unwrap();
        let disk = image::read(&bytes, 2).unwrap();
        assert_eq!(disk.file_system.tree().to_listing(), plan(&options()).tree().to_listing());
        assert_eq!(disk.file_system.stray_byte().unwrap(), None);
        assert_eq!(disk.file_system.summary().uuid, image.uuid);
        let (tree, contents) = disk.file_system.into_parts();
        for (path, _, inode) in tree.walk() {
            if let Kind::Regular(content) = &inode.kind {
                let mut reader = content.open(&*contents).unwrap();
                let (digest, size) = Digest::of_reader(&mut reader).unwrap();
                assert_eq!((digest, size), (content.digest(), content.size()), "{path}");
            }
        }
    }
}

#[test]
fn k7_what_nothing_leads_to_is_zero() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let image = write(&options(), &path, 2);
    let mut bytes = fs_err::read(&path).unwrap();
    let start = usize::try_from(image.file_system_at).unwrap();
    let end = start + usize::try_from(image.file_system_size).unwrap();
    assert!(bytes[512..start].iter().chain(&bytes[end..]).all(|byte| *byte == 0));
    // The nearest bad neighbour: one byte before the superblock.
    bytes[start + 5] = 1;
    let disk = image::read(&bytes, 2).unwrap();
    assert_eq!(disk.file_system.stray_byte().unwrap(), Some(5));
}

#[test]
fn same_bytes_for_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let digest = |threads| {
        write(&options(), &path, threads);
        Digest::of(&fs_err::read(&path).unwrap())
    };
    let one = digest(1);
    for threads in [2, 3, 8] {
        assert_eq!(digest(threads), one, "{threads}");
    }
}

#[test]
fn the_kernel_shows_every_file_as_the_tree_has_it() {
    let with = |compression: Compression, dax_header| ImageOptions {
        compression,
        dax_header,
        ..options()
    };
    if let Some((target, _)) = mounted::inside() {
        return mounted::compare(plan(&options()).tree(), &target);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    for compression in COMPRESSIONS {
        for dax_header in [false, true] {
            let image = write(&with(compression, dax_header), &path, 2);
            mounted::run_inside(&Mount {
                image: &path,
                at: image.file_system_at,
                kind: "erofs",
                test: "erofs::the_kernel_shows_every_file_as_the_tree_has_it",
                case: "any",
            });
        }
    }
}

/// What mkfs.erofs makes is read too: its compact indexes, its inline ends of files.
#[test]
fn images_of_erofs_utils_are_read() {
    if judge::is_missing(&["mkfs.erofs"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (source, image) = (folder.path().join("tree"), folder.path().join("image"));
    fs_err::create_dir_all(source.join("deep/er")).unwrap();
    let text = b"all work and no play makes jack a dull boy\n".repeat(30_000);
    let noisy = [&pattern(100_000)[..], &text].concat();
    for (name, bytes) in [("a", &text), ("deep/b", &noisy), ("deep/er/c", &b"small".to_vec())] {
        fs_err::write(source.join(name), bytes).unwrap();
    }
    for index in 0..500 {
        fs_err::write(source.join(format!("deep/file {index}")), pattern(index * 11)).unwrap();
    }
    let (image_text, source_text) = (image.to_str().unwrap(), source.to_str().unwrap());
    let forms: [&[&str]; 4] = [&[], &["-zlz4hc"], &["-zlz4hc", "-C65536"], &["-Enoinline_data"]];
    for more in forms {
        let output = run("mkfs.erofs", &[more, &[image_text, source_text]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let bytes = fs_err::read(&image).unwrap();
        // A partition around it, to be read as an image is.
        let disk = wrapped(&bytes);
        let read = image::read(&disk, 2).unwrap();
        let digest = |path: &str| {
            let inode = read.file_system.tree().get(&TreePath::parse(path).unwrap()).unwrap();
            match &inode.kind {
                Kind::Regular(content) => content.digest(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(digest("a"), Digest::of(&text), "{more:?}");
        assert_eq!(digest("deep/b"), Digest::of(&noisy), "{more:?}");
        assert_eq!(digest("deep/er/c"), Digest::of(b"small"), "{more:?}");
        assert_eq!(digest("deep/file 499"), Digest::of(&pattern(499 * 11)), "{more:?}");
    }
}

/// A disk with a file system of somebody else's in its partition.
fn wrapped(file_system: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let alignment_mib = (file_system.len() as u64 >> 20) + 2;
    let options = ImageOptions { alignment_mib, ..options() };
    let plan = image::plan(&Tree::default(), &options, Epoch::default()).unwrap();
    let file = fs_err::File::create(&path).unwrap();
    image::write(&plan, &NoContents, &file, 1).unwrap();
    let mut bytes = fs_err::read(&path).unwrap();
    bytes[1 << 20..][..file_system.len()].copy_from_slice(file_system);
    bytes
}

#[test]
fn a_content_is_kept_once_however_many_files_have_it() {
    let size = |copies: usize| {
        let mut tree = Tree::default();
        for copy in 0..copies {
            let kind = Kind::Regular(Content::Inline(pattern(500_000).into()));
            let inode = Inode { meta: Meta::root(0o644), kind };
            tree.insert(&TreePath::parse(format!("{copy}")).unwrap(), inode).unwrap();
        }
        let plan = image::plan(&tree, &options(), Epoch::default()).unwrap();
        let file = fs_err::File::from_parts(tempfile::tempfile().unwrap(), "image");
        let image = image::write(&plan, &NoContents, &file, 2).unwrap();
        image::check(&plan, &image, &NoContents, &file, 2).unwrap();
        image.file_system_size
    };
    assert!(size(20) < size(1) + 4096 * 8);
}

/// Kata's documents look for these bytes at this place.
#[test]
fn the_magic_number_stands_where_kata_looks_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let image = write(&options(), &path, 2);
    assert_eq!(fs_err::read(&path).unwrap()[0x10_0400..0x10_0404], [0xe2, 0xe1, 0xf5, 0xe0]);
    assert_eq!(image.size % (1 << 20), 0);
    assert!(image.size - image.file_system_at - image.file_system_size < 1 << 20);
}

/// Linux refuses a device of persistent memory that does not end with a section of its memory map.
#[test]
fn with_the_header_for_persistent_memory_the_size_is_even() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    for (alignment_mib, multiple) in [(1, 2 << 20), (2, 2 << 20), (3, 6 << 20), (8, 8 << 20)] {
        for dax_header in [true, false] {
            let verity = dax_header.then(osbuilder::recipe::Verity::default);
            let options = ImageOptions { alignment_mib, dax_header, verity, ..options() };
            let size = write(&options, &path, 2).size;
            let multiple = if dax_header { multiple } else { alignment_mib << 20 };
            assert_eq!(size % multiple, 0, "{alignment_mib} {dax_header}");
        }
    }
}

#[test]
fn k1_the_uuid_follows_from_what_was_declared() {
    let uuid = |options: &ImageOptions, epoch| {
        image::plan(&tree(), options, Epoch::new(epoch).unwrap()).unwrap().uuid()
    };
    let usual = uuid(&options(), EPOCH);
    assert_eq!(usual, uuid(&options(), EPOCH));
    assert_ne!(usual, uuid(&options(), EPOCH + 1));
    assert_ne!(usual, uuid(&ImageOptions { compression: Compression::Lz4hc, ..options() }, EPOCH));
}

/// The text is what a person can judge; the digest says that not a single byte moved.
#[test]
fn the_layout_of_a_small_image_is_pinned() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let mut tree = Tree::default();
    let mut put = |path: &str, kind| {
        let inode = Inode { meta: Meta::root(0o755), kind };
        tree.insert(&TreePath::parse(path).unwrap(), inode).unwrap();
    };
    put("etc", Kind::Directory(BTreeMap::new()));
    put("etc/hostname", Kind::Regular(Content::Inline(b"guest\n".as_slice().into())));
    put("sh", Kind::Symlink(b"bin/dash".as_slice().into()));
    put("large", Kind::Regular(Content::Inline(b"text, ".repeat(20_000).into())));
    put("noise", Kind::Regular(Content::Inline(pattern(10_000).into())));
    let plan = image::plan(&tree, &options(), Epoch::new(EPOCH).unwrap()).unwrap();
    let file = fs_err::File::create(&path).unwrap();
    image::write(&plan, &NoContents, &file, 1).unwrap();
    let bytes = fs_err::read(&path).unwrap();
    let dump = image::read(&bytes, 1).unwrap().file_system.dump().unwrap();
    insta::assert_snapshot!(format!("{dump}{}", Digest::of(&bytes)));
}
