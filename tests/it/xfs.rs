//! xfs images against xfsprogs and, for root, the kernel.

use std::collections::BTreeMap;
use std::path::Path;

use osbuilder::digest::Digest;
use osbuilder::epoch::Epoch;
use osbuilder::image::{self, Error};
use osbuilder::recipe::{FileSystem, ImageOptions, Verity};
use osbuilder::tree::{Content, Inode, Kind, Meta, NoContents, Tree, TreePath};

use crate::everything::{everything, pattern};
use crate::judge;
use crate::mounted::{self, Mount};

const EPOCH: u64 = 1_700_000_000;

fn options() -> ImageOptions {
    let file_system = FileSystem::Xfs;
    ImageOptions { file_system, alignment_mib: 2, dax_header: false, ..ImageOptions::KATA }
}

fn put(tree: &mut Tree, path: &str, meta: Meta, kind: Kind) {
    tree.insert(&TreePath::parse(path).unwrap(), Inode { meta, kind }).unwrap();
}

fn file(bytes: &[u8]) -> Kind {
    Kind::Regular(Content::Inline(bytes.into()))
}

/// Everything, and what has forms of its own in xfs: directories in one block and with an index of
/// two levels, attributes in blocks, more inodes than one leaf of their tree leads to.
fn tree() -> Tree {
    let mut tree = everything();
    for (directory, count) in [("one block", 60), ("one index", 400), ("two levels", 12_000)] {
        put(&mut tree, directory, Meta::root(0o755), Kind::Directory(BTreeMap::new()));
        for index in 0..count {
            put(&mut tree, &format!("{directory}/{index:x}"), Meta::root(0o644), Kind::Fifo);
        }
    }
    let with = |sizes: &[(&str, usize)]| {
        let mut meta = Meta::root(0o644);
        let attributes =
            sizes.iter().map(|(name, size)| (name.as_bytes().to_vec(), vec![9; *size]));
        meta.xattrs.extend(attributes);
        meta
    };
    let remote = [("user.remote", 20_000), ("trusted.leaf", 1000), ("security.selinux", 30)];
    put(&mut tree, "remote", with(&remote), file(b"x"));
    put(&mut tree, "leaf", with(&[("user.a", 300), ("user.b", 200)]), file(b"y"));
    let target = |length| Kind::Symlink(vec![b't'; length].into());
    put(&mut tree, "link336", Meta::root(0o777), target(336));
    put(&mut tree, "link337", Meta::root(0o777), target(337));
    put(&mut tree, "labelled", with(&[("security.selinux", 40)]), target(290));
    put(&mut tree, "labelled far", with(&[("security.selinux", 40)]), target(291));
    tree
}

fn plan(options: &ImageOptions) -> image::Plan {
    image::plan(&tree(), options, Epoch::new(EPOCH).unwrap()).unwrap()
}

fn write(plan: &image::Plan, path: &Path, threads: usize) -> image::Image {
    let mut options = fs_err::File::options();
    let file = options.create(true).truncate(true).read(true).write(true).open(path).unwrap();
    let written = image::write(plan, &NoContents, &file, threads).unwrap();
    image::check(plan, &written, &NoContents, &file, threads).unwrap();
    written
}

/// `xfs_repair -n` on the file system alone, cut out of the image.
fn repair(image: &image::Image, path: &Path) {
    let part = path.with_extension("part");
    let bytes = fs_err::read(path).unwrap();
    let start = usize::try_from(image.file_system_at).unwrap();
    let end = start + usize::try_from(image.file_system_size).unwrap();
    fs_err::write(&part, &bytes[start..end]).unwrap();
    judge::run("xfs_repair", &["-n", "-f", part.to_str().unwrap()]);
}

#[test]
fn xfs_repair_finds_nothing_to_complain_about() {
    if judge::is_missing(&["xfs_repair"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    for (free_space_mib, dax_header) in [(0, false), (300, true)] {
        let options = ImageOptions { free_space_mib, dax_header, ..options() };
        let image = write(&plan(&options), &path, 2);
        repair(&image, &path);
    }
    let empty = image::plan(&Tree::default(), &options(), Epoch::default()).unwrap();
    repair(&write(&empty, &path, 1), &path);
}

/// So many inodes that their table does not fit into the first group, and its tree has two levels.
#[test]
fn inodes_may_fill_a_group_and_go_on_in_the_next() {
    if judge::is_missing(&["xfs_repair"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let mut tree = Tree::default();
    for directory in 0..40 {
        put(
            &mut tree,
            &format!("{directory}"),
            Meta::root(0o755),
            Kind::Directory(BTreeMap::new()),
        );
        for index in 0..1200 {
            put(&mut tree, &format!("{directory}/{index}"), Meta::root(0o644), Kind::Fifo);
        }
    }
    let plan = image::plan(&tree, &options(), Epoch::default()).unwrap();
    repair(&write(&plan, &path, 2), &path);
}

#[test]
fn an_image_read_back_holds_the_same_tree_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let image = write(&plan(&options()), &path, 2);
    let mut bytes = fs_err::read(&path).unwrap();
    let disk = image::read(&bytes, 2).unwrap();
    assert_eq!(disk.file_system.summary().uuid, image.uuid);
    assert_eq!(disk.file_system.stray_byte().unwrap(), None);
    let (tree, contents) = disk.file_system.into_parts();
    assert_eq!(tree.to_listing(), plan(&options()).tree().to_listing());
    for (path, _, inode) in tree.walk() {
        if let Kind::Regular(content) = &inode.kind {
            let found = Digest::of_reader(&mut content.open(&*contents).unwrap()).unwrap();
            assert_eq!(found, (content.digest(), content.size()), "{path}");
        }
    }
    drop(contents);
    // The nearest bad neighbour: one byte in the last free block.
    let end = usize::try_from(image.file_system_at + image.file_system_size).unwrap();
    bytes[end - 1] = 1;
    let disk = image::read(&bytes, 2).unwrap();
    assert_eq!(disk.file_system.stray_byte().unwrap(), Some(image.file_system_size - 1));
}

#[test]
fn same_bytes_for_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let digest = |threads| {
        write(&plan(&options()), &path, threads);
        Digest::of(&fs_err::read(&path).unwrap())
    };
    let one = digest(1);
    assert_eq!([digest(2), digest(8)], [one, one]);
}

#[test]
fn the_kernel_shows_every_file_as_the_tree_has_it() {
    if let Some((target, _)) = mounted::inside() {
        return mounted::compare(plan(&options()).tree(), &target);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let image = write(&plan(&options()), &path, 2);
    mounted::run_inside(&Mount {
        image: &path,
        at: image.file_system_at,
        kind: "xfs",
        test: "xfs::the_kernel_shows_every_file_as_the_tree_has_it",
        case: "any",
    });
}

/// What mkfs.xfs makes is read too: its sparse chunks of inodes, its files from a list.
#[test]
fn images_of_xfsprogs_are_read() {
    if judge::is_missing(&["mkfs.xfs"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (source, list, part) =
        (folder.path().join("file"), folder.path().join("list"), folder.path().join("part"));
    fs_err::write(&source, pattern(300_000)).unwrap();
    let mut text = "/\n0 0\nd--755 0 0\n".to_owned();
    for index in 0..500 {
        text.push_str(&format!("file{index} ---644 7 8 {}\n", source.display()));
    }
    text.push_str("deep d--700 0 0\nlink l--777 0 0 target\n$\n$\n");
    fs_err::write(&list, text).unwrap();
    let forms: [&[&str]; 2] =
        [&["-i", "sparse=1"], &["-i", "sparse=0", "-m", "finobt=0,inobtcount=0,bigtime=0"]];
    for form in forms {
        fs_err::File::create(&part).unwrap().set_len(400 << 20).unwrap();
        let usual = ["-q", "-m", "reflink=0", "-p", list.to_str().unwrap()];
        judge::run("mkfs.xfs", &[&usual, form, &["-f", part.to_str().unwrap()]].concat());
        let disk = wrapped(&fs_err::read(&part).unwrap());
        let read = image::read(&disk, 2).unwrap();
        let get =
            |path: &str| read.file_system.tree().get(&TreePath::parse(path).unwrap()).cloned();
        let Some(Inode { kind: Kind::Regular(content), meta }) = get("file499") else {
            panic!("it is a file")
        };
        assert_eq!(content.digest(), Digest::of(&pattern(300_000)));
        assert_eq!((meta.uid, meta.gid, meta.mode), (7, 8, 0o644));
        assert_eq!(get("deep/link").unwrap().kind, Kind::Symlink(b"target".as_slice().into()));
    }
}

/// A disk with a file system of somebody else's in its partition.
fn wrapped(file_system: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let alignment_mib = (file_system.len() as u64 >> 20) + 2;
    let options = ImageOptions { alignment_mib, ..options() };
    write(&image::plan(&Tree::default(), &options, Epoch::default()).unwrap(), &path, 1);
    let mut bytes = fs_err::read(&path).unwrap();
    bytes[1 << 20..][..file_system.len()].copy_from_slice(file_system);
    bytes
}

#[test]
fn a_measured_xfs_is_measured_all_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let options = ImageOptions { verity: Some(Verity::default()), ..options() };
    let image = write(&plan(&options), &path, 2);
    let parameters = image.verity.unwrap();
    assert_eq!(parameters.data_blocks * 4096 % (1 << 20), 0);
    assert!(parameters.data_blocks * 4096 >= image.file_system_size);
}

#[test]
fn k1_the_uuid_follows_from_what_was_declared() {
    let uuid = |tree: &Tree, epoch| {
        image::plan(tree, &options(), Epoch::new(epoch).unwrap()).unwrap().uuid()
    };
    let (tree, mut other) = (everything(), everything());
    other.remove(&TreePath::parse("ping6").unwrap());
    assert_eq!(uuid(&tree, EPOCH), uuid(&tree, EPOCH));
    assert_ne!(uuid(&tree, EPOCH), uuid(&other, EPOCH));
    assert_ne!(uuid(&tree, EPOCH), uuid(&tree, EPOCH + 1));
}

/// Kata's guests map files from persistent memory, which shared blocks forbid.
#[test]
fn blocks_of_other_sizes_and_shared_blocks_are_refused() {
    let options = ImageOptions { block_size: 1024, ..options() };
    let error = image::plan(&Tree::default(), &options, Epoch::default()).unwrap_err();
    assert!(matches!(error, Error::BadOption { option: "block_size", value: 1024, .. }));
    if judge::is_missing(&["mkfs.xfs"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let part = folder.path().join("part");
    fs_err::File::create(&part).unwrap().set_len(400 << 20).unwrap();
    judge::run("mkfs.xfs", &["-q", "-m", "reflink=1", part.to_str().unwrap()]);
    let error = image::read(&wrapped(&fs_err::read(&part).unwrap()), 1).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
}

/// The text is what a person can judge; the digest says that not a single byte moved.
#[test]
fn the_layout_of_a_small_image_is_pinned() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let mut tree = Tree::default();
    put(&mut tree, "etc", Meta::root(0o755), Kind::Directory(BTreeMap::new()));
    put(&mut tree, "etc/hostname", Meta::root(0o644), file(b"guest\n"));
    put(&mut tree, "sh", Meta::root(0o777), Kind::Symlink(b"bin/dash".as_slice().into()));
    put(&mut tree, "large", Meta::root(0o644), file(&pattern(10_000)));
    let plan = image::plan(&tree, &options(), Epoch::new(EPOCH).unwrap()).unwrap();
    write(&plan, &path, 1);
    let bytes = fs_err::read(&path).unwrap();
    let dump = image::read(&bytes, 1).unwrap().file_system.dump().unwrap();
    insta::assert_snapshot!(format!("{dump}{}", Digest::of(&bytes)));
}
