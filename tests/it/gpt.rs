//! Images with the partition table of UEFI, against `sfdisk` and `parted`.

use std::path::Path;

use osbuilder::distro::Architecture;
use osbuilder::epoch::Epoch;
use osbuilder::image::{self, Image};
use osbuilder::recipe::{FileSystem, ImageOptions, PartitionTable, Verity};
use osbuilder::tree::{Content, Inode, Kind, Meta, NoContents, Tree, TreePath};

use crate::judge;
use crate::program::osbuilder_in;

fn tree() -> Tree {
    let mut tree = Tree::default();
    let words = (0..200_000_u32).map(|word| word.wrapping_mul(2_654_435_761));
    let bytes: Vec<u8> = words.flat_map(u32::to_be_bytes).collect();
    let kind = Kind::Regular(Content::Inline(bytes.into()));
    let inode = Inode { meta: Meta::root(0o644), kind };
    tree.insert(&TreePath::parse("a").unwrap(), inode).unwrap();
    tree
}

fn options(file_system: FileSystem, measured: bool, architecture: Architecture) -> ImageOptions {
    ImageOptions {
        file_system,
        alignment_mib: 2,
        dax_header: false,
        verity: measured.then(Verity::default),
        table: PartitionTable::Gpt(architecture),
        ..ImageOptions::KATA
    }
}

fn write(options: &ImageOptions, path: &Path, threads: usize) -> Image {
    let mut open = fs_err::File::options();
    let file = open.create(true).truncate(true).read(true).write(true).open(path).unwrap();
    let plan = image::plan(&tree(), options, Epoch::new(1_700_000_000).unwrap()).unwrap();
    let image = image::write(&plan, &NoContents, &file, threads).unwrap();
    image::check(&plan, &image, &NoContents, &file, threads).unwrap();
    image
}

const FORMS: [(FileSystem, bool, Architecture); 6] = [
    (FileSystem::Ext4, false, Architecture::X86_64),
    (FileSystem::Ext4, true, Architecture::Aarch64),
    (FileSystem::Erofs, false, Architecture::Ppc64le),
    (FileSystem::Erofs, true, Architecture::S390x),
    (FileSystem::Xfs, false, Architecture::X86_64),
    (FileSystem::Xfs, true, Architecture::X86_64),
];

#[test]
fn sfdisk_and_parted_read_what_we_wrote() {
    if judge::is_missing(&["sfdisk", "parted"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let name = path.to_str().unwrap();
    for (file_system, measured, architecture) in FORMS {
        let image = write(&options(file_system, measured, architecture), &path, 2);
        let told = String::from_utf8(judge::run("sfdisk", &["--verify", name])).unwrap();
        assert!(told.contains("No errors detected"), "{told}");
        let json: serde_json::Value =
            serde_json::from_slice(&judge::run("sfdisk", &["-J", name])).unwrap();
        let table = &json["partitiontable"];
        assert_eq!((&table["label"], &table["firstlba"]), (&"gpt".into(), &34.into()));
        assert_eq!(table["lastlba"], image.size / 512 - 34);
        let parts = table["partitions"].as_array().unwrap();
        assert_eq!(parts.len(), 1 + usize::from(measured));
        let report = inspected(folder.path());
        assert_eq!(table["id"].as_str().unwrap().to_lowercase(), report["disk_signature"]);
        for (part, ours) in parts.iter().zip(report["partitions"].as_array().unwrap()) {
            let of = |key: &str| part[key].as_str().unwrap_or_default().to_lowercase();
            assert_eq!((of("uuid"), of("name")), (text(&ours["uuid"]), text(&ours["name"])));
            assert_eq!(of("attrs"), "guid:60");
            assert_eq!((&part["start"], &part["size"]), (&ours["start"], &ours["sectors"]));
        }
        let types = [
            (Architecture::X86_64, "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"),
            (Architecture::Aarch64, "b921b045-1df0-41c3-af44-4c6f280d3fae"),
            (Architecture::Ppc64le, "c31c45e6-3f39-412e-80fb-4809c4980599"),
            (Architecture::S390x, "5eead9a9-fe09-4a1e-a1d7-520d00531306"),
        ];
        let (_, expected) = types.into_iter().find(|(it, _)| *it == architecture).unwrap();
        assert_eq!(text(&parts[0]["type"]), expected);
        let printed = judge::run("parted", &["-s", "-m", name, "unit", "s", "print"]);
        let printed = String::from_utf8(printed).unwrap();
        assert!(printed.lines().any(|line| line.contains(":gpt:")), "{printed}");
        assert_eq!(printed.lines().count(), 2 + parts.len(), "{printed}");
    }
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().unwrap().to_lowercase()
}

fn inspected(folder: &Path) -> serde_json::Value {
    let output = osbuilder_in(folder, &["inspect", "image", "--json"], &[]);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn k1_a_measured_gpt_is_the_same_on_any_number_of_threads_and_says_its_root_hash() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    for (file_system, measured, architecture) in FORMS {
        let options = options(file_system, measured, architecture);
        let image = write(&options, &path, 1);
        let bytes = fs_err::read(&path).unwrap();
        assert_eq!(write(&options, &path, 5), image);
        assert!(fs_err::read(&path).unwrap() == bytes, "{file_system:?}");
        let Some(verity) = &image.verity else { continue };
        let parts = inspected(folder.path())["partitions"].clone();
        let uuids = [text(&parts[0]["uuid"]), text(&parts[1]["uuid"])];
        assert_eq!(uuids.concat().replace('-', ""), verity.root_hash.to_string());
    }
}

#[test]
fn k2_a_flipped_bit_of_a_measured_gpt_is_noticed_in_data_hashes_and_table() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let image = write(&options(FileSystem::Ext4, true, Architecture::X86_64), &path, 2);
    let verity = image.verity.unwrap();
    let good = fs_err::read(&path).unwrap();
    let verify =
        |bytes: &Vec<u8>| image::read(bytes, 2).and_then(|disk| disk.parts.verify(&verity, 2));
    verify(&good).unwrap();
    let boundary = usize::try_from(image.file_system_at + verity.data_blocks * 4096).unwrap();
    let end = good.len();
    for at in [450, 512, 700, 1030, 1 << 20, boundary - 1, boundary, end - 16384, end - 512] {
        let mut bad = good.clone();
        bad[at] ^= 4;
        assert!(verify(&bad).is_err(), "{at}");
    }
    let other = write(&options(FileSystem::Erofs, true, Architecture::X86_64), &path, 2);
    let error = verify(&fs_err::read(&path).unwrap()).unwrap_err().to_string();
    assert!(error.contains("do not cover"), "{error}");
    let mut lie = other.verity.unwrap();
    lie.root_hash = verity.root_hash;
    let bytes = fs_err::read(&path).unwrap();
    let error = image::read(&bytes, 2).unwrap().parts.verify(&lie, 2).unwrap_err().to_string();
    assert!(error.contains("not the two halves of the root hash"), "{error}");
}

#[test]
fn k7_nothing_stands_between_the_parts_of_a_gpt() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    for (file_system, measured, architecture) in FORMS {
        write(&options(file_system, measured, architecture), &path, 2);
        let bytes = fs_err::read(&path).unwrap();
        let disk = image::read(&bytes, 2).unwrap();
        assert_eq!(disk.file_system.stray_byte().unwrap(), None);
        let parts = disk.parts.table.partitions();
        let last = usize::try_from(parts.last().unwrap().1.end() * 512).unwrap();
        assert!(bytes[34 * 512..1 << 20].iter().all(|byte| *byte == 0));
        assert!(bytes[last..bytes.len() - 33 * 512].iter().all(|byte| *byte == 0));
    }
}

/// A directory that could start: the agent is its init.
fn guest(root: &Path) {
    for folder in ["dev", "proc", "sys", "run", "tmp", "sbin", "etc"] {
        fs_err::create_dir_all(root.join(folder)).unwrap();
    }
    fs_err::write(root.join("sbin/init"), "a program").unwrap();
    let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    fs_err::set_permissions(root.join("sbin/init"), mode).unwrap();
}

#[test]
fn the_program_writes_verifies_and_compares_it_and_warns() {
    let folder = tempfile::tempdir().unwrap();
    guest(&folder.path().join("rootfs"));
    let run = |arguments: &[&str], variables: &[(&str, &str)]| {
        let output = osbuilder_in(folder.path(), arguments, variables);
        let told = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(told).unwrap())
    };
    let image = ["image", "--rootfs", "rootfs", "--init", "agent", "--epoch", "1700000000"];
    let measured = ["--measured", "--partition-table"];
    let (status, told) = run(&[&image[..], &measured, &["gpt", "-o", "gpt"]].concat(), &[]);
    assert_eq!(status, Some(0), "{told}");
    assert!(told.contains("--partition-table: Kata's images have an MBR"), "{told}");
    let (status, told) = run(&["verify", "gpt", "--params-file", "root_hash_.txt"], &[]);
    assert_eq!(status, Some(0), "{told}");
    assert!(told.contains("measurement: verified"), "{told}");
    assert!(told.contains("warning: Kata's images have an MBR"), "{told}");
    let (_, told) = run(&["inspect", "gpt"], &[]);
    assert!(told.contains("root-x86-64-verity, uuid"), "{told}");
    let (status, _) = run(&[&image[..], &measured, &["mbr", "-o", "mbr"]].concat(), &[]);
    assert_eq!(status, Some(0));
    let (status, told) = run(&["diff", "mbr", "gpt"], &[]);
    assert_eq!(status, Some(1));
    assert!(told.contains("part: partition table: mbr -> gpt"), "{told}");
    assert!(told.contains("part: partition 1 is: absent -> root-x86-64, uuid"), "{told}");
    let refused = [&image[..], &["--partition-table", "gpt", "-o", "none"]].concat();
    let (status, told) = run(&refused, &[("SKIP_DAX_HEADER", "no")]);
    assert_eq!(status, Some(2), "{told}");
    assert!(told.contains("the NVDIMM header cannot stand with a GPT"), "{told}");
    fs_err::write(folder.path().join("config"), "CONFIG_EXT4_FS=y\n").unwrap();
    let (status, told) = run(&[&refused[..], &["--kernel-config", "config"]].concat(), &[]);
    assert_eq!(status, Some(2), "{told}");
    assert!(told.contains("CONFIG_EFI_PARTITION is not set"), "{told}");
    assert!(!folder.path().join("none").exists());
}
