//! ext4 images against e2fsprogs, the partitioning tools and, for root, the kernel.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::LazyLock;

use osbuilder::digest::Digest;
use osbuilder::epoch::Epoch;
use osbuilder::image;
use osbuilder::recipe::ImageOptions;
use osbuilder::tree::{Content, Device, Inode, Kind, Meta, NoContents, Tree, TreePath};

const EPOCH: u64 = 1_700_000_000;

fn options() -> ImageOptions {
    ImageOptions { alignment_mib: 2, ..ImageOptions::KATA }
}

/// A tree that uses everything the format has.
fn everything() -> Tree {
    static TREE: LazyLock<Tree> = LazyLock::new(make_everything);
    TREE.clone()
}

fn make_everything() -> Tree {
    let mut tree = Tree::default();
    let mut put = |path: &str, meta: Meta, kind| {
        tree.insert(&TreePath::parse(path).unwrap(), Inode { meta, kind }).unwrap();
    };
    let root = |mode| Meta { mtime: 1_600_000_000, ..Meta::root(mode) };
    let file = |bytes: &[u8]| Kind::Regular(Content::Inline(bytes.into()));
    let directory = || Kind::Directory(BTreeMap::new());
    put("etc", root(0o755), directory());
    put("etc/passwd", root(0o644), file(b"root:x:0:0::/root:/bin/sh\n"));
    put("etc/shadow", Meta { uid: 70_000, gid: 4_000_000_000, ..root(0o640) }, file(b"x"));
    put("etc/empty", Meta { mtime: -86_400, ..root(0o4755) }, file(b""));
    put("etc/later", Meta { mtime: 9_000_000_000, ..root(0o644) }, file(b"from 2255"));
    put("bin", root(0o777), Kind::Symlink(b"usr/bin".as_slice().into()));
    put("link59", root(0o777), Kind::Symlink([b'a'; 59].as_slice().into()));
    put("link60", root(0o777), Kind::Symlink([b'b'; 60].as_slice().into()));
    put("link1000", root(0o777), Kind::Symlink([b'c'; 1000].as_slice().into()));
    put("dev", root(0o755), directory());
    let device = |major, minor| Device { major, minor };
    put("dev/null", root(0o666), Kind::CharacterDevice(device(1, 3)));
    put("dev/large", root(0o660), Kind::BlockDevice(device(259, 70_000)));
    put("dev/pipe", root(0o600), Kind::Fifo);
    put("dev/socket", root(0o600), Kind::Socket);
    let mut capable = root(0o755);
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    capable.xattrs.insert(b"security.capability".to_vec(), capability.to_vec());
    capable.xattrs.insert(b"user.large".to_vec(), vec![b'v'; 700]);
    capable.xattrs.insert(b"user.empty".to_vec(), Vec::new());
    capable.xattrs.insert(b"user.b".to_vec(), b"value".to_vec());
    put("ping", capable, file(&[7; 5000]));
    let mut listed = root(0o770);
    listed.xattrs.insert(b"system.posix_acl_access".to_vec(), access_list());
    listed.xattrs.insert(b"system.posix_acl_default".to_vec(), access_list());
    put("listed", listed, directory());
    put("many", root(0o755), directory());
    for index in 0..3000 {
        put(&format!("many/a name of some length {index:05}"), root(0o644), file(b""));
    }
    put("big", root(0o644), file(&pattern(4099).repeat(2300)));
    put("zeros", root(0o644), file(&vec![0; 3 << 20]));
    put("sparse", root(0o644), file(&[vec![0; 70_000], pattern(100), vec![0; 70_000]].concat()));
    for index in 0..300 {
        put(&format!("etc/file{index}"), root(0o600), file(&pattern(index * 37)));
    }
    let path = |text: &str| TreePath::parse(text).unwrap();
    tree.link(&path("etc/passwd-"), &path("etc/passwd")).unwrap();
    tree.link(&path("ping6"), &path("ping")).unwrap();
    tree
}

fn pattern(length: usize) -> Vec<u8> {
    (0_u32..).flat_map(|word| word.wrapping_mul(2_654_435_761).to_be_bytes()).take(length).collect()
}

fn access_list() -> Vec<u8> {
    let entries =
        [(1, 7, u32::MAX), (2, 5, 1000), (4, 5, u32::MAX), (16, 5, u32::MAX), (32, 0, u32::MAX)];
    let mut value = vec![2, 0, 0, 0];
    for (tag, permissions, id) in entries {
        value.extend([tag, 0, permissions, 0]);
        value.extend(u32::to_le_bytes(id));
    }
    value
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
        image::check(&plan, &written, &file, 2).unwrap();
        assert_eq!(image::read(&file, 1).unwrap().dax_header, dax_header);
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

/// The listing of what the kernel shows below `root`, in the form of a tree's listing.
fn listing_by_kernel(tree: &Tree, root: &Path) -> Vec<String> {
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
    let mut lines = Vec::new();
    for (path, ..) in tree.walk() {
        let place = root.join(Path::new(std::ffi::OsStr::from_bytes(path.as_bytes())));
        let found = fs_err::symlink_metadata(&place).unwrap();
        let kind = found.file_type();
        let device = |rdev| format!("{}:{}", rustix::fs::major(rdev), rustix::fs::minor(rdev));
        let detail = if kind.is_file() {
            let bytes = fs_err::read(&place).unwrap();
            format!("f {} {}", bytes.len(), Digest::of(&bytes))
        } else if kind.is_symlink() {
            let target = fs_err::read_link(&place).unwrap();
            format!("l {}", osbuilder::tree::escape(target.as_os_str().as_bytes()))
        } else if kind.is_dir() {
            "d".to_owned()
        } else if kind.is_char_device() {
            format!("c {}", device(found.rdev()))
        } else if kind.is_block_device() {
            format!("b {}", device(found.rdev()))
        } else {
            if kind.is_fifo() { "p".to_owned() } else { "s".to_owned() }
        };
        let MetadataInfo { mode, uid, gid, mtime, links } = (&found).into();
        let links = if kind.is_dir() { 0 } else { links };
        let attributes = attributes_by_kernel(&place);
        lines.push(format!("{path} {mode:o} {uid} {gid} {mtime} {links} {detail} {attributes:?}"));
    }
    lines
}

struct MetadataInfo {
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: i64,
    links: u64,
}

impl From<&std::fs::Metadata> for MetadataInfo {
    fn from(found: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        Self {
            mode: found.mode() & 0o7777,
            uid: found.uid(),
            gid: found.gid(),
            mtime: found.mtime(),
            links: found.nlink(),
        }
    }
}

fn attributes_by_kernel(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 65_536];
    let length = rustix::fs::llistxattr(path, &mut names).unwrap();
    let mut found = BTreeMap::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 65_536];
        let length = rustix::fs::lgetxattr(path, name, &mut value).unwrap();
        found.insert(name.to_vec(), value[..length].to_vec());
    }
    found
}

/// The same listing, from the tree itself.
fn listing_by_tree(tree: &Tree) -> Vec<String> {
    let names = tree.hard_links();
    let line = |(path, id, inode): (TreePath, _, &Inode)| {
        let Meta { mode, uid, gid, mtime, xattrs } = &inode.meta;
        let detail = match &inode.kind {
            Kind::Directory(_) => "d".to_owned(),
            Kind::Regular(content) => format!("f {} {}", content.size(), content.digest()),
            Kind::Symlink(target) => format!("l {}", osbuilder::tree::escape(target)),
            Kind::CharacterDevice(device) => format!("c {}:{}", device.major, device.minor),
            Kind::BlockDevice(device) => format!("b {}:{}", device.major, device.minor),
            Kind::Fifo => "p".to_owned(),
            Kind::Socket => "s".to_owned(),
        };
        let is_directory = matches!(inode.kind, Kind::Directory(_));
        let links = if is_directory { 0 } else { names.get(&id).copied().unwrap_or(1) };
        format!("{path} {mode:o} {uid} {gid} {mtime} {links} {detail} {xattrs:?}")
    };
    tree.walk().map(line).collect()
}

/// What tells the test below that it runs inside: where the image is mounted, and its block size.
const MOUNTED: &str = "OSBUILDER_TEST_MOUNTED";
const BLOCK_SIZE: &str = "OSBUILDER_TEST_BLOCK_SIZE";

#[expect(clippy::disallowed_methods, reason = "CI says what may be skipped, a test runs itself")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Runs this test once more in a mount namespace of its own, where `image` is mounted: whatever
/// happens to it, no mount is left behind. A kernel that cannot be asked is a visible skip; in CI,
/// as root and with loop devices, it is an error.
fn compare_inside(image: &Path, at: u64, target: &Path, block_size: u32) {
    let script = r#"mount -o loop,ro,offset="$1" -t ext4 "$2" "$3" || exit 77
        exec "$4" --exact ext4::the_kernel_shows_every_file_as_the_tree_has_it --nocapture"#;
    let this = std::env::current_exe().unwrap();
    #[expect(clippy::disallowed_methods, reason = "the judges are programs")]
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"])
        .args([at.to_string().as_ref(), image.as_os_str(), target.as_os_str(), this.as_os_str()])
        .env(MOUNTED, target)
        .env(BLOCK_SIZE, block_size.to_string())
        .output()
        .unwrap();
    let reason = String::from_utf8_lossy(&output.stderr).into_owned();
    let able = rustix::process::geteuid().is_root() && Path::new("/dev/loop-control").exists();
    if output.status.success() {
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("1 passed"), "{text}");
    } else if able && (variable("CI").is_some() || output.status.code() != Some(77)) {
        panic!("{reason}");
    } else {
        let mut stderr = std::io::stderr();
        std::io::Write::write_fmt(&mut stderr, format_args!("skipped: {reason}\n")).unwrap();
    }
}

#[test]
fn the_kernel_shows_every_file_as_the_tree_has_it() {
    let plan = |block_size| {
        let options = ImageOptions { block_size, ..options() };
        image::plan(&everything(), &options, Epoch::new(EPOCH).unwrap()).unwrap()
    };
    if let Some((target, block_size)) = variable(MOUNTED).zip(variable(BLOCK_SIZE)) {
        let (plan, target) = (plan(block_size.parse().unwrap()), Path::new(&target));
        let wanted = listing_by_tree(plan.tree());
        let found = listing_by_kernel(plan.tree(), target);
        for (found, wanted) in found.iter().zip(&wanted) {
            assert_eq!(found, wanted);
        }
        assert_eq!(fs_err::read_dir(target.join("many")).unwrap().count(), 3000);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (path, target) = (folder.path().join("image"), folder.path().join("mounted"));
    fs_err::create_dir(&target).unwrap();
    for block_size in [1024, 2048, 4096] {
        let image = write(&everything(), &ImageOptions { block_size, ..options() }, &path, 2);
        compare_inside(&path, image.file_system_at, &target, block_size);
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
    let id = disk.file_system.tree.get(&TreePath::parse("etc/machine-id").unwrap()).unwrap();
    assert!(matches!(&id.kind, Kind::Regular(content) if content.size() == 0));
}

#[test]
fn k1_names_and_seeds_follow_from_what_was_declared() {
    let plan_of = |tree: &Tree, epoch| {
        image::plan(tree, &options(), Epoch::new(epoch).unwrap()).unwrap().facts().uuid
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
