//! What Kata's image builder guarantees of free space, alignment, file systems and partition
//! tables: each test is named after one guarantee, and holds images to tools that we did not write.

use std::collections::BTreeMap;
use std::path::Path;

use osbuilder::epoch::Epoch;
use osbuilder::image;
use osbuilder::recipe::{Compression, FileSystem, ImageOptions, Verity};
use osbuilder::tree::{Inode, Kind, Meta, NoContents, Tree, TreePath};

use crate::everything::everything;
use crate::judge;
use crate::program::osbuilder_in;

const MIB: u64 = 1 << 20;

const FILE_SYSTEMS: [FileSystem; 3] = [FileSystem::Ext4, FileSystem::Xfs, FileSystem::Erofs];

fn options(file_system: FileSystem) -> ImageOptions {
    ImageOptions { file_system, alignment_mib: 2, dax_header: false, ..ImageOptions::KATA }
}

/// Writes an image and reads it back.
fn write(tree: &Tree, options: &ImageOptions, path: &Path) -> image::Image {
    let plan = image::plan(tree, options, Epoch::new(1_700_000_000).unwrap()).unwrap();
    let mut how = fs_err::File::options();
    let file = how.create(true).truncate(true).read(true).write(true).open(path).unwrap();
    let image = image::write(&plan, &NoContents, &file, 2).unwrap();
    image::check(&plan, &image, &NoContents, &file, 2).unwrap();
    image
}

/// The file system alone, cut out of an image.
fn cut_out(image: &image::Image, path: &Path) -> Vec<u8> {
    let bytes = fs_err::read(path).unwrap();
    let start = usize::try_from(image.file_system_at).unwrap();
    bytes[start..][..usize::try_from(image.file_system_size).unwrap()].to_vec()
}

/// The number behind a word in what a tool prints.
fn number(text: &str, word: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(word));
    line.unwrap_or_else(|| panic!("no {word} in {text}")).trim().parse().unwrap()
}

/// What an ordinary user may fill, as the file system's own tool says.
fn free(file_system: FileSystem, part: &Path) -> u64 {
    let part = part.to_str().unwrap();
    let told = |tool, arguments: &[&str]| String::from_utf8(judge::run(tool, arguments)).unwrap();
    if file_system == FileSystem::Ext4 {
        let text = told("dumpe2fs", &["-h", part]);
        let blocks = number(&text, "Free blocks:") - number(&text, "Reserved block count:");
        return blocks * number(&text, "Block size:");
    }
    let text = told("xfs_db", &["-r", "-f", "-c", "sb 0", "-c", "print fdblocks", part]);
    number(&text, "fdblocks =") * 4096
}

#[test]
fn root_free_space_is_free_in_ext4_and_xfs() {
    if judge::is_without("dumpe2fs", "-V") || judge::is_without("xfs_db", "-V") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (path, part) = (folder.path().join("image"), folder.path().join("part"));
    for (file_system, block_size) in
        [(FileSystem::Ext4, 1024), (FileSystem::Ext4, 4096), (FileSystem::Xfs, 4096)]
    {
        for free_space_mib in [0, 3, 100] {
            let options = ImageOptions { free_space_mib, block_size, ..options(file_system) };
            let image = write(&everything(), &options, &path);
            fs_err::write(&part, cut_out(&image, &path)).unwrap();
            let (found, wanted) = (free(file_system, &part), (free_space_mib + 1) * MIB);
            let what = format!("{file_system:?} {block_size} {free_space_mib}: {found}");
            assert!(found >= wanted, "{what}");
            // xfs has a smallest size.
            if file_system == FileSystem::Ext4 || free_space_mib == 100 {
                assert!(found < wanted + options.alignment_mib * MIB, "{what}");
            }
        }
    }
}

/// A folder with a tree that can start, for the program.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs_err::create_dir_all(folder.path().join("tree/etc")).unwrap();
    folder
}

/// Makes an image as Kata's variables say; its size, and what was told.
fn made(folder: &Path, variables: &[(&str, &str)]) -> (u64, String) {
    let arguments =
        ["image", "--rootfs", "tree", "--any-tree", "--epoch", "1700000000", "-o", "out"];
    let output = osbuilder_in(folder, &arguments, variables);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{variables:?}: {told}");
    (fs_err::metadata(folder.join("out")).unwrap().len(), told)
}

#[test]
fn root_free_space_is_ignored_for_erofs_with_a_warning() {
    let folder = folder();
    let (size, told) = made(folder.path(), &[("FS_TYPE", "erofs")]);
    assert!(!told.contains("free space"), "{told}");
    let variables = [("FS_TYPE", "erofs"), ("ROOT_FREE_SPACE", "100")];
    let (with, told) = made(folder.path(), &variables);
    assert_eq!(with, size);
    assert!(told.contains("warning: ROOT_FREE_SPACE: an erofs has no free space"), "{told}");
}

#[test]
fn erofs_is_rounded_to_a_mebibyte_and_the_others_to_128() {
    let folder = folder();
    for (file_system, header, alignment, mebibytes) in [
        ("ext4", "yes", "", 128),
        ("xfs", "no", "", 128),
        ("erofs", "yes", "", 4),
        ("erofs", "no", "", 2),
        ("erofs", "no", "5", 5),
        ("ext4", "no", "16", 16),
    ] {
        let skip = if header == "yes" { "no" } else { "yes" };
        let variables = [
            ("FS_TYPE", file_system),
            ("SKIP_DAX_HEADER", skip),
            ("IMAGE_SIZE_ALIGNMENT_MB", alignment),
        ];
        assert_eq!(made(folder.path(), &variables).0, mebibytes * MIB, "{variables:?}");
    }
}

#[test]
fn names_at_the_top_that_begin_with_a_dot_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    for file_system in FILE_SYSTEMS {
        let image = write(&everything(), &options(file_system), &path);
        let bytes = cut_out(&image, &path);
        let part = folder.path().join("part");
        fs_err::write(&part, &bytes).unwrap();
        let part = part.to_str().unwrap();
        // The kernel sees them too, where it can be asked: everything is compared there.
        let (tool, arguments, size): (_, &[&str], _) = match file_system {
            FileSystem::Ext4 => ("debugfs", &["-R", "stat /.d/file", part], "Size: 9\n"),
            FileSystem::Erofs => ("dump.erofs", &["--path=/.d/file", part], "Size: 9 "),
            FileSystem::Xfs => (
                "xfs_db",
                &["-r", "-f", "-c", "path /.d/file", "-c", "print core.size", part],
                "core.size = 9\n",
            ),
        };
        if !judge::is_without(tool, "-V") {
            let told = judge::run(tool, arguments);
            let told = String::from_utf8_lossy(&told);
            assert!(told.contains(size), "{file_system:?}: {told}");
        }
    }
}

/// A file that is mapped from persistent memory has to begin on a page; nobody maps a directory.
#[test]
fn an_erofs_with_the_header_for_persistent_memory_has_no_file_inline() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    for compression in [Compression::None, Compression::Lz4, Compression::Lz4hc] {
        let inline = |dax_header| {
            let options = ImageOptions { dax_header, compression, ..options(FileSystem::Erofs) };
            write(&everything(), &options, &path);
            let bytes = fs_err::read(&path).unwrap();
            let dump = image::read(&bytes, 1).unwrap().file_system.dump().unwrap();
            let files = dump.lines().filter(|line| line.contains(": mode 10"));
            files.filter(|line| line.contains(" bytes, inline")).count()
        };
        assert_eq!(inline(true), 0, "{compression:?}");
        assert!(inline(false) > 0, "{compression:?}");
    }
}

#[test]
fn the_table_is_kata_s_without_boot_code() {
    if judge::is_missing(&["sfdisk"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let mut tree = Tree::default();
    let kind = Kind::Directory(BTreeMap::new());
    tree.insert(&TreePath::parse("etc").unwrap(), Inode { meta: Meta::root(0o755), kind }).unwrap();
    // Kata's disk of 254 MiB, and one whose 99 % are no round number.
    for (alignment_mib, measured, partitions) in [
        (254, false, &["start=2048,size=518144,type=83"][..]),
        (254, true, &["start=2048,size=512000,type=83,bootable", "start=514048,size=6144,type=83"]),
        (130, true, &["start=2048,size=260096,type=83,bootable", "start=262144,size=4096,type=83"]),
    ] {
        let verity = measured.then(Verity::default);
        let options = ImageOptions { alignment_mib, verity, ..options(FileSystem::Ext4) };
        write(&tree, &options, &path);
        let start = &fs_err::read(&path).unwrap()[..512];
        assert!(start[..440].iter().all(|byte| *byte == 0), "no boot code");
        assert_ne!(start[440..444], [0; 4], "a signature");
        let active = if measured { 0x80 } else { 0 };
        assert_eq!((start[446], start[462], start[450]), (active, 0, 0x83));
        let dumped = judge::run("sfdisk", &["--dump", path.to_str().unwrap()]);
        let dumped = String::from_utf8(dumped).unwrap();
        let lines = dumped.lines().filter_map(|line| line.split_once(" : ")).map(|(_, line)| line);
        let found: Vec<String> = lines.map(|line| line.replace(' ', "")).collect();
        assert_eq!(found, partitions, "{dumped}");
    }
}
