//! ext4 images against e2fsprogs, the partitioning tools and, for root, the kernel.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use osbuilder::digest::Digest;
use osbuilder::epoch::Epoch;
use osbuilder::image;
use osbuilder::recipe::ImageOptions;
use osbuilder::tree::{Content, Inode, Kind, Meta, NoContents, Tree, TreePath};

use crate::everything::{everything, pattern};
use crate::mounted::{self, Mount};

const EPOCH: u64 = 1_700_000_000;

fn options() -> ImageOptions {
    ImageOptions { alignment_mib: 2, ..ImageOptions::KATA }
}

fn write(tree: &Tree, options: &ImageOptions, path: &Path, threads: usize) -> image::Image {
    let plan = image::plan(tree, options, Epoch::new(EPOCH).unwrap()).unwrap();
    let file = fs_err::File::create(path).unwrap();
    image::write(&plan, &NoContents, &file, threads).unwrap()
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
fn e2fsck_finds_nothing_to_complain_about() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, part) = (folder.path().join("image"), folder.path().join("ext4"));
    for block_size in [1024, 2048, 4096] {
        for journal in [false, true] {
            let options = ImageOptions { block_size, journal, ..options() };
            let image = write(&everything(), &options, &whole, 2);
            cut_out(&image, &whole, &part);
            let output = run("e2fsck", &["-fn", part.to_str().unwrap()]);
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{block_size} {journal} {text}");
            assert!(!text.contains("IGNORED") && !text.contains("Fix"), "{text}");
        }
    }
}

#[test]
fn an_image_read_back_holds_the_same_tree() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    for (block_size, dax_header, journal) in
        [(1024, true, false), (2048, false, true), (4096, true, true)]
    {
        let options = ImageOptions { block_size, dax_header, journal, ..options() };
        let plan = image::plan(&everything(), &options, Epoch::new(EPOCH).unwrap()).unwrap();
        let file = fs_err::File::options()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        let written = image::write(&plan, &NoContents, &file, 2).unwrap();
        image::check(&plan, &written, &NoContents, &file, 2).unwrap();
        assert_eq!(image::read(&file, 1).unwrap().parts.dax_header, dax_header);
    }
}

#[test]
fn same_bytes_for_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let digest = |threads| {
        write(&everything(), &options(), &path, threads);
        Digest::of(&fs_err::read(&path).unwrap())
    };
    let one = digest(1);
    assert_eq!([digest(2), digest(8)], [one, one]);
}

#[test]
fn the_kernel_shows_every_file_as_the_tree_has_it() {
    let plan = |block_size| {
        let options = ImageOptions { block_size, ..options() };
        image::plan(&everything(), &options, Epoch::new(EPOCH).unwrap()).unwrap()
    };
    if let Some((target, block_size)) = mounted::inside() {
        return mounted::compare(plan(block_size.parse().unwrap()).tree(), &target);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    for block_size in [1024, 2048, 4096] {
        let image = write(&everything(), &ImageOptions { block_size, ..options() }, &path, 2);
        mounted::run_inside(&Mount {
            image: &path,
            at: image.file_system_at,
            kind: "ext4",
            test: "ext4::the_kernel_shows_every_file_as_the_tree_has_it",
            case: &block_size.to_string(),
        });
    }
}

#[test]
fn partitioning_tools_agree_on_both_tables() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, inner) = (folder.path().join("image"), folder.path().join("inner"));
    let options = ImageOptions { alignment_mib: 128, ..options() };
    let image = write(&Tree::default(), &options, &whole, 1);
    assert_eq!(image.size, 128 << 20);
    let bytes = fs_err::read(&whole).unwrap();
    fs_err::write(&inner, &bytes[2 << 20..]).unwrap();
    for (path, range) in [(&whole, "6144s:262143s:256000s"), (&inner, "2048s:258047s:256000s")] {
        let path = path.to_str().unwrap();
        let verified = run("sfdisk", &["--verify", path]);
        let text = String::from_utf8_lossy(&verified.stdout);
        assert!(text.contains("No errors detected"), "{text}");
        let printed = run("parted", &["-ms", path, "unit", "s", "print"]);
        let text = String::from_utf8_lossy(&printed.stdout);
        assert!(text.contains(&format!("\n1:{range}:ext")), "{text}");
    }
    assert_eq!(&bytes[4096..4112], b"NVDIMM_PFN_INFO\0");
    assert_eq!(bytes[8184..8192], 0x685b_032b_e394_3830_u64.to_le_bytes());
}

#[test]
fn k7_what_nothing_leads_to_is_zero() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    for (block_size, journal) in [(1024, false), (4096, true)] {
        let options = ImageOptions { block_size, journal, ..options() };
        let image = write(&everything(), &options, &path, 2);
        let mut bytes = fs_err::read(&path).unwrap();
        let start = usize::try_from(image.file_system_at).unwrap();
        let end = start + usize::try_from(image.file_system_size).unwrap();
        let gaps = [512..4096, 8192..2 << 20, (2 << 20) + 512..start, end..bytes.len()];
        assert!(gaps.into_iter().all(|gap| bytes[gap].iter().all(|byte| *byte == 0)));
        assert_eq!(image::read(&bytes, 2).unwrap().file_system.stray_byte().unwrap(), None);
        // The nearest bad neighbour: one byte in the last free block.
        bytes[end - 1] = 1;
        let disk = image::read(&bytes, 2).unwrap();
        assert_eq!(disk.file_system.stray_byte().unwrap(), Some(image.file_system_size - 1));
    }
}

#[test]
fn k5_nothing_of_the_host_is_in_the_image() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let mut tree = Tree::default();
    tree.make_directories(&TreePath::parse("etc").unwrap(), &Meta::root(0o755)).unwrap();
    write(&tree, &options(), &path, 2);
    let bytes = fs_err::read(&path).unwrap();
    let uname = rustix::system::uname();
    let canaries = [uname.nodename().to_bytes(), folder.path().to_str().unwrap().as_bytes()];
    for canary in canaries.iter().filter(|canary| canary.len() > 3) {
        assert!(!bytes.windows(canary.len()).any(|window| window == *canary));
    }
    let disk = image::read(&bytes, 1).unwrap();
    let id = disk.file_system.tree().get(&TreePath::parse("etc/machine-id").unwrap()).unwrap();
    assert!(matches!(&id.kind, Kind::Regular(content) if content.size() == 0));
}

#[test]
fn k1_names_and_seeds_follow_from_what_was_declared() {
    let plan_of = |tree: &Tree, epoch| {
        image::plan(tree, &options(), Epoch::new(epoch).unwrap()).unwrap().uuid()
    };
    let (tree, mut other) = (everything(), everything());
    other.remove(&TreePath::parse("ping6").unwrap());
    assert_eq!(plan_of(&tree, EPOCH), plan_of(&tree, EPOCH));
    assert_ne!(plan_of(&tree, EPOCH), plan_of(&other, EPOCH));
    assert_ne!(plan_of(&tree, EPOCH), plan_of(&tree, EPOCH + 1));
}

#[test]
fn the_file_of_an_image_takes_no_more_room_than_its_content() {
    use std::os::unix::fs::MetadataExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    write(&everything(), &ImageOptions { alignment_mib: 512, ..options() }, &path, 2);
    let found = fs_err::metadata(&path).unwrap();
    assert_eq!(found.len(), 512 << 20);
    assert!(found.blocks() * 512 < 20 << 20, "{}", found.blocks() * 512);
}

/// A disk with a file system of somebody else's in its partition.
fn wrapped(file_system: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let alignment_mib = (file_system.len() as u64 >> 20) + 2;
    let options = ImageOptions { alignment_mib, dax_header: false, ..options() };
    let image = write(&Tree::default(), &options, &path, 1);
    let mut bytes = fs_err::read(&path).unwrap();
    let start = usize::try_from(image.file_system_at).unwrap();
    bytes[start..][..file_system.len()].copy_from_slice(file_system);
    bytes
}

/// What `mke2fs` writes belongs to something, whatever it was told to write; what `debugfs` deletes
/// belongs to nothing any more.
#[test]
fn images_of_e2fsprogs_are_read_and_what_was_deleted_in_them_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let (files, path) = (folder.path().join("files"), folder.path().join("ext4"));
    fs_err::create_dir_all(files.join("folder")).unwrap();
    fs_err::write(files.join("folder/secret"), pattern(100_000)).unwrap();
    fs_err::write(files.join("kept"), "text").unwrap();
    let (files, path) = (files.to_str().unwrap(), path.to_str().unwrap());
    for features in ["", "^resize_inode", "^has_journal", "^metadata_csum", "^64bit", "^flex_bg"] {
        for block_size in ["1024", "4096"] {
            let options = ["-Fqt", "ext4", "-b", block_size, "-O", features, "-d", files, path];
            assert!(run("mke2fs", &[&options[..], &["24M"]].concat()).status.success());
            let read = |wanted: bool| {
                let bytes = wrapped(&fs_err::read(path).unwrap());
                let disk = image::read(&bytes, 1).unwrap();
                let found = disk.file_system.stray_byte().unwrap();
                assert_eq!(found.is_some(), wanted, "{features} {block_size} {found:?}");
                disk.file_system.tree().to_listing().contains("secret")
            };
            assert!(read(false));
            let delete = ["-w", "-R", "rm /folder/secret", path];
            assert!(run("debugfs", &delete).status.success());
            assert!(!read(true));
        }
    }
}

/// Inodes that nobody reads hide nothing: of blocks that are bad, and of a journal where there is none.
#[test]
fn k7_what_stands_in_special_inodes_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, part) = (folder.path().join("image"), folder.path().join("ext4"));
    let image = write(&everything(), &ImageOptions { journal: false, ..options() }, &whole, 2);
    for inode in ["<1>", "<7>", "<8>", "<9>"] {
        cut_out(&image, &whole, &part);
        let part = part.to_str().unwrap();
        let set = format!("sif {inode} block[3] 0x41414141");
        assert!(run("debugfs", &["-w", "-R", &set, part]).status.success());
        let bytes = wrapped(&fs_err::read(part).unwrap());
        let disk = image::read(&bytes, 1).unwrap();
        assert!(disk.file_system.stray_byte().unwrap().is_some(), "{inode}");
    }
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
    put("large", Kind::Regular(Content::Inline(pattern(10_000).into())));
    for index in 0..50 {
        put(&format!("etc/a rather long name of a file {index}"), Kind::Fifo);
    }
    let options = ImageOptions { block_size: 1024, alignment_mib: 1, ..options() };
    write(&tree, &options, &path, 1);
    let bytes = fs_err::read(&path).unwrap();
    let dump = image::read(&bytes, 1).unwrap().file_system.dump().unwrap();
    let text: Vec<_> = dump
        .lines()
        .filter(|line| !line.contains("long name") && !line.contains("mode 10755"))
        .collect();
    insta::assert_snapshot!(format!("{}\n{}", text.join("\n"), Digest::of(&bytes)));
}
