//! dm-verity against cryptsetup: the same trees, and images that it can verify.

use std::path::{Path, PathBuf};
use std::process::Command;

use osbuilder::epoch::Epoch;
use osbuilder::image::verity::{self, Parameters};
use osbuilder::image::{self, Image};
use osbuilder::recipe::{FileSystem, ImageOptions, Verity};
use osbuilder::tree::{Content, Inode, Kind, Meta, NoContents, Tree, TreePath};
use tempfile::TempDir;

use crate::judge;

const TOOL: &[&str] = &["veritysetup"];

/// Files that nobody would compress or skip.
fn tree() -> Tree {
    let mut tree = Tree::default();
    for name in ["a", "b"] {
        let words = (0..200_000_u32).map(|word| word.wrapping_mul(2_654_435_761));
        let bytes: Vec<u8> = words.flat_map(u32::to_be_bytes).collect();
        let kind = Kind::Regular(Content::Inline(bytes.into()));
        let inode = Inode { meta: Meta::root(0o644), kind };
        tree.insert(&TreePath::parse(name).unwrap(), inode).unwrap();
    }
    tree
}

fn options(verity: Verity) -> ImageOptions {
    ImageOptions { alignment_mib: 2, verity: Some(verity), ..ImageOptions::KATA }
}

/// A measured image on disk, and its partitions as files.
struct Measured {
    folder: TempDir,
    image: Image,
}

impl Measured {
    fn new(verity: Verity, threads: usize) -> Self {
        Self::of(FileSystem::Ext4, verity, threads)
    }

    fn of(file_system: FileSystem, verity: Verity, threads: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = fs_err::File::options()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(folder.path().join("image"))
            .unwrap();
        let epoch = Epoch::new(1_700_000_000).unwrap();
        let plan =
            image::plan(&tree(), &ImageOptions { file_system, ..options(verity) }, epoch).unwrap();
        let image = image::write(&plan, &NoContents, &file, threads).unwrap();
        image::check(&plan, &image, &NoContents, &file, threads).unwrap();
        Self { folder, image }
    }

    fn bytes(&self) -> Vec<u8> {
        fs_err::read(self.folder.path().join("image")).unwrap()
    }

    fn parameters(&self) -> &Parameters {
        self.image.verity.as_ref().unwrap()
    }

    /// Where data and hashes begin and end in the file.
    fn places(&self) -> [usize; 3] {
        let start = usize::try_from(self.image.file_system_at).unwrap();
        let data = usize::try_from(self.parameters().data_blocks * 4096).unwrap();
        [start, start + data, usize::try_from(self.image.size).unwrap()]
    }

    /// Bytes of a tree of two levels.
    fn tree_size(&self) -> usize {
        let blocks = self.parameters().data_blocks;
        assert!((129..=128 * 128).contains(&blocks));
        usize::try_from((blocks.div_ceil(128) + 1) * 4096).unwrap()
    }

    /// Writes the two partitions of an image to files of their own.
    fn cut(&self, bytes: &[u8]) -> (PathBuf, PathBuf) {
        let [start, boundary, end] = self.places();
        let paths = (self.folder.path().join("data"), self.folder.path().join("hashes"));
        fs_err::write(&paths.0, &bytes[start..boundary]).unwrap();
        fs_err::write(&paths.1, &bytes[boundary..end]).unwrap();
        paths
    }

    /// Whether cryptsetup takes the image for what the parameters say.
    fn passes(&self, bytes: &[u8], more: &[&str]) -> bool {
        let (data, hashes) = self.cut(bytes);
        let parameters = self.parameters();
        let mut command = tool("verify", &data, &hashes);
        command.arg(parameters.root_hash.to_string()).args(more);
        command.output().unwrap().status.success()
    }

    fn without_superblock(&self) -> Vec<String> {
        let Parameters { salt, data_blocks, .. } = self.parameters();
        described(salt, *data_blocks)
    }
}

/// The options that describe a tree without superblock.
fn described(salt: &[u8], data_blocks: u64) -> Vec<String> {
    let salt: String = salt.iter().map(|byte| format!("{byte:02x}")).collect();
    let plain = ["--no-superblock", "--hash=sha256", "--data-block-size=4096"].map(str::to_owned);
    let rest = [
        "--hash-block-size=4096".to_owned(),
        format!("--salt={salt}"),
        format!("--data-blocks={data_blocks}"),
    ];
    [plain, rest].concat()
}

#[expect(clippy::disallowed_methods, reason = "the judges are programs")]
fn tool(verb: &str, data: &Path, hashes: &Path) -> Command {
    let mut command = Command::new("veritysetup");
    command.arg(verb).arg(data).arg(hashes).env("LC_ALL", "C");
    command
}

#[test]
fn k2_a_flipped_bit_anywhere_makes_cryptsetup_and_us_refuse_the_image() {
    if judge::is_missing(TOOL) {
        return;
    }
    let measured = Measured::new(Verity::default(), 2);
    let more = measured.without_superblock();
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    let good = measured.bytes();
    assert!(measured.passes(&good, &more));
    let [start, boundary, _] = measured.places();
    let tree = boundary..boundary + measured.tree_size();
    for place in [start, start + 1024 + 77, start + 500_000, boundary - 1, tree.start, tree.end] {
        let mut bad = good.clone();
        bad[place] ^= 4;
        let ours =
            image::read(&bad, 1).and_then(|disk| disk.parts.verify(measured.parameters(), 2));
        let counts = place < tree.end;
        assert_eq!(ours.is_err(), counts, "{place}");
        assert_eq!(!measured.passes(&bad, &more), counts, "{place}");
    }
}

#[test]
fn k3_trees_of_every_awkward_size_equal_cryptsetup_s() {
    if judge::is_missing(TOOL) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (data, hashes) = (folder.path().join("data"), folder.path().join("hashes"));
    let salt = [0xA5; 32];
    let square = 128 * 128;
    for (blocks, zero) in
        [(1, false), (2, true), (128, false), (129, true), (square - 1, true), (square + 1, false)]
    {
        let mut bytes = vec![0; blocks * 4096];
        if !zero {
            bytes.iter_mut().step_by(511).for_each(|byte| *byte = 7);
        }
        fs_err::write(&data, &bytes).unwrap();
        drop(fs_err::remove_file(&hashes));
        fs_err::write(&hashes, b"").unwrap();
        let mut command = tool("format", &data, &hashes);
        let output = command.args(described(&salt, blocks as u64)).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{blocks}: {error}");
        let printed = String::from_utf8(output.stdout).unwrap();
        let root = printed.lines().find_map(|line| line.strip_prefix("Root hash:")).unwrap();
        let (parameters, tree) = verity::measure(&bytes, &salt, 2).unwrap();
        assert_eq!(parameters.root_hash.to_string(), root.trim(), "{blocks}");
        assert_eq!(fs_err::read(&hashes).unwrap(), tree, "{blocks}");
        verity::verify(&bytes, &tree, &parameters, 2).unwrap();
    }
    assert!(verity::measure(&Vec::new(), &salt, 1).is_err());
}

#[test]
fn with_a_superblock_cryptsetup_needs_to_be_told_the_root_hash_only() {
    if judge::is_missing(TOOL) {
        return;
    }
    let salt = Some(vec![1, 2, 3]);
    let verity = Verity { superblock: true, salt, ..Verity::default() };
    for file_system in [FileSystem::Erofs, FileSystem::Xfs] {
        let measured = Measured::of(file_system, verity.clone(), 2);
        assert!(measured.passes(&measured.bytes(), &[]), "{file_system:?}");
    }
    let measured = Measured::new(verity, 2);
    assert!(measured.passes(&measured.bytes(), &[]));
    let bytes = measured.bytes();
    let disk = image::read(&bytes, 1).unwrap();
    let superblock = disk.parts.verity_superblock().unwrap().unwrap();
    assert_eq!(superblock.salt, [1, 2, 3]);
    assert_eq!(superblock.data_blocks, measured.parameters().data_blocks);
}

#[test]
fn k1_the_same_inputs_give_the_same_root_hash_and_other_inputs_another() {
    let root = |verity, threads| Measured::new(verity, threads).parameters().root_hash;
    let usual = root(Verity::default(), 1);
    assert_eq!(usual, root(Verity::default(), 5));
    let salted = Verity { salt: Some(vec![0; 32]), ..Verity::default() };
    assert_ne!(usual, root(salted, 1));
    let labelled = Verity { variant: "base".to_owned(), ..Verity::default() };
    assert_eq!(usual, root(labelled, 1), "a label changes no byte");
}

#[test]
fn k4_parameters_that_leave_data_unchecked_are_refused() {
    let measured = Measured::new(Verity::default(), 2);
    let bytes = measured.bytes();
    let disk = image::read(&bytes, 1).unwrap();
    disk.parts.verify(measured.parameters(), 1).unwrap();
    let less = Parameters { data_blocks: 1, ..measured.parameters().clone() };
    let error = disk.parts.verify(&less, 1).unwrap_err().to_string();
    assert!(error.contains("do not cover all of partition 1"), "{error}");
    let plain = image::plan(&tree(), &ImageOptions::KATA, Epoch::default()).unwrap();
    let file = fs_err::File::from_parts(tempfile::tempfile().unwrap(), "image");
    image::write(&plain, &NoContents, &file, 2).unwrap();
    let disk = image::read(&file, 2).unwrap();
    let error = disk.parts.verify(measured.parameters(), 1).unwrap_err().to_string();
    assert!(error.contains("there is no second partition"), "{error}");
}

#[test]
fn k7_behind_the_hash_tree_everything_is_zero() {
    let measured = Measured::new(Verity::default(), 2);
    let bytes = measured.bytes();
    let [_, boundary, end] = measured.places();
    let behind = boundary + measured.tree_size();
    assert!(bytes[behind - 4096..behind].iter().any(|byte| *byte != 0));
    assert!(bytes[behind..end].iter().all(|byte| *byte == 0));
}
