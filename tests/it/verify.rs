//! `osbuilder verify`, `diff` and `inspect` from outside, on images of every form.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A folder with a tree that could be a guest, and what is made of it.
struct Shop {
    folder: TempDir,
}

impl Shop {
    fn new() -> Self {
        let shop = Self { folder: tempfile::tempdir().unwrap() };
        let programs =
            ["sbin/init", "usr/sbin/iptables", "usr/sbin/modprobe", "usr/sbin/mkfs.ext4"];
        for program in programs {
            shop.put(program, "#!/bin/sh\n");
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            fs_err::set_permissions(shop.path("tree").join(program), mode).unwrap();
        }
        for name in ["dev", "proc", "sys", "run", "tmp"] {
            fs_err::create_dir_all(shop.path("tree").join(name)).unwrap();
        }
        shop.put("etc/resolv.conf", "");
        shop
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.path("tree").join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    #[expect(clippy::disallowed_methods, reason = "the program is what is tested")]
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_osbuilder"));
        command.args(arguments).current_dir(self.folder.path()).env_clear();
        command.env("HOME", self.folder.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn image(&self, name: &str, more: &[&str]) {
        let usual = ["image", "--rootfs", "tree", "--epoch", "1700000000", "--init", "agent"];
        let output = self.run(&[&usual, &["--output", name][..], more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs the program, which must end with this status, and returns what it prints.
    fn told(&self, arguments: &[&str], status: i32) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap() + &error
    }

    fn flip(&self, name: &str, at: u64) {
        let path = self.path(name);
        let mut bytes = fs_err::read(&path).unwrap();
        bytes[usize::try_from(at).unwrap()] ^= 1;
        fs_err::write(path, bytes).unwrap();
    }
}

const MEASURED: &[&str] = &["--measured", "--variant", "base"];

#[test]
fn k2_a_measured_image_is_verified_by_the_line_that_came_with_it() {
    let shop = Shop::new();
    for form in ["ext4", "erofs"] {
        shop.image("x.img", &[MEASURED, &["--file-system", form]].concat());
        let by_line = ["verify", "x.img", "--params-file", "root_hash_base.txt"];
        assert!(shop.told(&by_line, 0).contains("measurement: verified: root_hash="));
        let unchecked = shop.told(&["verify", "x.img"], 0);
        assert!(unchecked.contains("warning: there is a hash tree"), "{unchecked}");
        assert!(
            unchecked.ends_with("\ngood, but not measured against a root hash\n"),
            "{unchecked}"
        );
        let measured = |more: &[&str]| {
            let told = shop.told(&[&["--json", "verify", "x.img"], more].concat(), 0);
            let value: serde_json::Value = serde_json::from_str(&told).unwrap();
            assert_eq!(value["good"], true);
            value["measured_against_root_hash"].clone()
        };
        assert_eq!(measured(&[]), false);
        assert_eq!(measured(&by_line[2..]), true);
        let line = fs_err::read_to_string(shop.path("root_hash_base.txt")).unwrap();
        let value = |key: &str| {
            let rest = line.split(key).nth(1).unwrap();
            rest.split([',', '\n']).next().unwrap().to_owned()
        };
        let (root, salt) = (value("root_hash="), value("salt="));
        shop.told(&["verify", "x.img", "--root-hash", &root, "--salt", &salt], 0);
        shop.told(&["verify", "x.img", "--root-hash", &root], 1);
        let other = "0".repeat(64);
        shop.told(&["verify", "x.img", "--root-hash", &other, "--salt", &salt], 1);
        // A bit in the slack at the end of the partition: nothing but the tree covers it.
        shop.flip("x.img", (3 << 20) + 7);
        let bad = shop.told(&by_line, 1);
        assert!(bad.contains("measurement: WRONG") && bad.contains("data block 0"), "{bad}");
    }
}

#[test]
fn k4_a_runtime_that_would_not_check_is_told_and_can_be_set_right() {
    let shop = Shop::new();
    shop.image("x.img", MEASURED);
    let text = "# mine\n[hypervisor.qemu]\nimage = \"x.img\"\nkernel_verity_params = \"\"\n";
    fs_err::write(shop.path("configuration.toml"), text).unwrap();
    let with = ["verify", "x.img", "--params-file", "root_hash_base.txt", "--runtime-config"];
    let with = [&with[..], &["configuration.toml"]].concat();
    let told = shop.told(&with, 1);
    assert!(told.contains("bad: the runtime (qemu) would not check this measured image"), "{told}");
    let told = shop.told(&[&with[..], &["--rewrite"]].concat(), 0);
    assert!(
        told.contains("configuration.toml: root_hash=") && told.ends_with("\ngood\n"),
        "{told}"
    );
    let rewritten = fs_err::read_to_string(shop.path("configuration.toml")).unwrap();
    assert!(rewritten.starts_with("# mine\n") && rewritten.contains("params = \"root_hash="));
    shop.told(&with, 0);
    fs_err::write(shop.path("configuration.toml"), rewritten.replace("salt=", "salt=00")).unwrap();
    assert!(shop.told(&with, 1).contains("are not this image's"));
    shop.image("plain.img", &[]);
    let plain = ["verify", "plain.img", "--runtime-config", "configuration.toml"];
    assert!(shop.told(&plain, 1).contains("a hash tree that is not there"));
    fs_err::write(
        shop.path("configuration.toml"),
        text.replace("image", "rootfs_type=\"xfs\"\nimage"),
    )
    .unwrap();
    assert!(shop.told(&plain, 1).contains("expects xfs, and this is ext4"));
}

#[test]
fn k4_a_runtime_s_configuration_is_judged_as_it_would_be_before_it_is_written() {
    let shop = Shop::new();
    shop.image("x.img", MEASURED);
    let path = shop.path("configuration.toml");
    let text = "[hypervisor.qemu]\nimage = \"x.img\"\nkernel_verity_params = \"\"\n";
    let with = ["verify", "x.img", "--runtime-config", "configuration.toml", "--rewrite"];
    let by_line = [&with[..], &["--params-file", "root_hash_base.txt"]].concat();
    let refused = |text: &str, arguments: &[&str], status: i32, why: &str| {
        fs_err::write(&path, text).unwrap();
        let told = shop.told(arguments, status);
        assert!(told.contains(why) && !told.contains("\nwritten: "), "{told}");
        assert_eq!(fs_err::read_to_string(&path).unwrap(), text);
    };
    let other = text.replace("image", "rootfs_type = \"erofs\"\nimage");
    refused(&other, &by_line, 1, "bad: the runtime (qemu) expects erofs, and this is ext4");
    refused(text, &with, 2, "only parameters that were verified are written");
    let zeros = "0".repeat(64);
    let wrong = [&with[..], &["--root-hash", &zeros, "--salt", "00"]].concat();
    refused(text, &wrong, 1, "the configuration was left as it was");
    shop.told(&by_line, 0);
    assert_ne!(fs_err::read_to_string(&path).unwrap(), text);
    shop.image("super.img", &["--measured", "--variant", "super", "--verity-superblock"]);
    refused(
        text,
        &["verify", "super.img", "--runtime-config", "configuration.toml", "--rewrite"],
        2,
        "only",
    );
    shop.put("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    shop.image("x.img", MEASURED);
    refused(text, &by_line, 1, "bad: /etc/machine-id holds a machine's identity");
}

#[test]
fn k4_a_rewritten_configuration_keeps_its_links_its_mode_and_its_owner() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
    let shop = Shop::new();
    shop.image("x.img", MEASURED);
    let (link, target) = (shop.path("configuration.toml"), shop.path("configuration-qemu.toml"));
    fs_err::write(&target, "[hypervisor.qemu]\nkernel_verity_params = \"\"\n").unwrap();
    std::os::unix::fs::symlink("configuration-qemu.toml", &link).unwrap();
    fs_err::set_permissions(&target, PermissionsExt::from_mode(0o600)).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&target, Some(1234), Some(4321)).unwrap();
    }
    let before = fs_err::metadata(&target).unwrap();
    let with = ["verify", "x.img", "--runtime-config", "configuration.toml", "--rewrite"];
    shop.told(&[&with[..], &["--params-file", "root_hash_base.txt"]].concat(), 0);
    let after = fs_err::metadata(&target).unwrap();
    assert!(link.is_symlink() && after.len() > before.len());
    let kept = |meta: &std::fs::Metadata| (meta.mode(), meta.uid(), meta.gid());
    assert_eq!(kept(&after), kept(&before));
}

#[test]
fn k4_what_replaces_parts_of_a_configuration_counts_too() {
    let shop = Shop::new();
    shop.image("x.img", MEASURED);
    let table = "[hypervisor.qemu]\nimage = \"x\"\n";
    let text = |line: &str| format!("{table}kernel_verity_params = \"{line}\"\n");
    fs_err::write(shop.path("configuration.toml"), text("")).unwrap();
    let verify = |more: &[&str], status| {
        let with = ["verify", "x.img", "--params-file", "root_hash_base.txt", "--runtime-config"];
        shop.told(&[&with[..], &["configuration.toml"], more].concat(), status)
    };
    verify(&[], 1);
    let good = fs_err::read_to_string(shop.path("root_hash_base.txt")).unwrap();
    fs_err::create_dir(shop.path("config.d")).unwrap();
    fs_err::write(shop.path("config.d/50-image.toml"), text(good.trim())).unwrap();
    verify(&[], 0);
    // The later file counts, also against what would be written into the configuration.
    let other = good.trim().replacen("data_block_size=4096", "data_block_size=512", 1);
    fs_err::write(shop.path("config.d/60-old.toml"), text(&other)).unwrap();
    let told = verify(&["--rewrite"], 1);
    assert!(told.contains("the configuration was left as it was"), "{told}");
    fs_err::write(shop.path("config.d/60-old.toml"), "[hypervisor").unwrap();
    let told = verify(&[], 2);
    assert!(told.contains("config.d/60-old.toml"), "{told}");
}

#[test]
fn k4_a_configuration_whose_owner_cannot_be_kept_is_named_and_stays() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt as _;
    if !rustix::process::geteuid().is_root() {
        // An ordinary user has no files of somebody else's.
        return;
    }
    let shop = Shop::new();
    shop.image("x.img", MEASURED);
    let path = shop.path("configuration.toml");
    fs_err::write(&path, "[hypervisor.qemu]\nkernel_verity_params = \"\"\n").unwrap();
    let before = fs_err::read(&path).unwrap();
    fs_err::set_permissions(shop.folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let with = ["verify", "x.img", "--runtime-config", "configuration.toml", "--rewrite"];
    let by_line = ["--params-file", "root_hash_base.txt"];
    let mut command = shop.command(&[&with[..], &by_line].concat());
    let output = match command.uid(1234).gid(1234).output() {
        // The program may lie where only root can go.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return,
        output => output.unwrap(),
    };
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{told}");
    assert!(told.contains("configuration.toml the owner of the file that it replaces"), "{told}");
    assert_eq!(fs_err::read(&path).unwrap(), before);
}

#[test]
fn k4_a_hash_tree_behind_a_superblock_is_none_for_kata_s_runtime() {
    let shop = Shop::new();
    let asked = ["--measured", "--variant", "super", "--verity-superblock"];
    let built = ["image", "--rootfs", "tree", "--init", "agent", "-o", "super.img"];
    let told = shop.told(&[&built[..], &asked].concat(), 0);
    assert!(told.contains("--verity-superblock: Kata's runtime expects no superblock"), "{told}");
    let by_line = |name: &str| {
        let text = "[hypervisor.qemu]\nkernel_verity_params = \"";
        let line = fs_err::read_to_string(shop.path(&format!("root_hash_{name}.txt"))).unwrap();
        fs_err::write(shop.path("c.toml"), format!("{text}{}\"\n", line.trim())).unwrap();
        vec!["--params-file".to_owned(), format!("root_hash_{name}.txt")]
    };
    let verify = |name: &str, more: &[&str], status| {
        let (file, line) = (format!("{name}.img"), by_line(name));
        shop.told(&[&["verify", &file, &line[0], &line[1]], more].concat(), status)
    };
    let told = verify("super", &[], 0);
    assert!(told.contains("warning: Kata's runtime cannot have this hash tree checked"), "{told}");
    let told = verify("super", &["--runtime-config", "c.toml"], 1);
    assert!(told.contains("bad: the runtime (qemu) would take the superblock"), "{told}");
    shop.image("plain.img", &["--measured", "--variant", "plain"]);
    let told = verify("plain", &["--runtime-config", "c.toml"], 0);
    assert!(!told.contains("warning"), "{told}");
}

#[test]
fn k4_what_a_runtime_would_start_is_what_the_file_is() {
    let shop = Shop::new();
    shop.image("img", &[]);
    shop.image("gpt", &["--partition-table", "gpt"]);
    shop.told(&["initrd", "--rootfs", "tree", "--init", "agent", "--output", "initrd"], 0);
    let line = format!(
        "root_hash={},salt=00,data_blocks=1,data_block_size=4096,hash_block_size=4096",
        "0".repeat(64)
    );
    let measured = format!("initrd = \"x\"\nkernel_verity_params = {line:?}");
    let cases = [
        ("initrd", "initrd = \"x\"", None),
        ("initrd", "", None),
        (
            "initrd",
            "image = \"x\"",
            Some("bad: the runtime (qemu) starts an image, and this is an initrd"),
        ),
        (
            "initrd",
            &measured,
            Some("bad: the runtime (qemu) would check a hash tree, and an initrd has none"),
        ),
        (
            "initrd",
            "image = \"x\"\ninitrd = \"x\"",
            Some("bad: the runtime (qemu) refuses to have both"),
        ),
        ("img", "image = \"x\"\ninitrd = \"\"\ndisable_image_nvdimm = false", None),
        ("img", "", None),
        (
            "img",
            "initrd = \"x\"",
            Some("bad: the runtime (qemu) starts an initrd, and this is an image"),
        ),
        (
            "img",
            "image = \"x\"\ninitrd = \"x\"",
            Some("bad: the runtime (qemu) refuses to have both"),
        ),
        ("gpt", "disable_image_nvdimm = true", None),
        (
            "gpt",
            "disable_image_nvdimm = false",
            Some("warning: the runtime (qemu) attaches images as persistent"),
        ),
    ];
    for (file, text, says) in cases {
        fs_err::write(shop.path("c.toml"), format!("[hypervisor.qemu]\n{text}\n")).unwrap();
        let status = i32::from(says.is_some_and(|says| says.starts_with("bad")));
        let told = shop.told(&["verify", file, "--runtime-config", "c.toml"], status);
        assert_eq!(told.contains("the runtime (qemu)"), says.is_some(), "{file} {text}: {told}");
        assert!(told.contains(says.unwrap_or_default()), "{file} {text}: {told}");
    }
}

#[test]
fn k3_bytes_that_belong_to_nothing_and_a_lost_header_are_told() {
    let shop = Shop::new();
    for (name, more) in [("mbr", MEASURED), ("gpt", &["--partition-table", "gpt"])] {
        shop.image(name, more);
        assert!(!shop.told(&["verify", name], 0).contains("is of no table"), "{name}");
        shop.flip(name, 400 << 10);
        let told = shop.told(&["verify", name], 0);
        assert!(told.contains("warning: byte 409600 is of no table, header or part"), "{told}");
        shop.flip(name, 400 << 10);
        let last = fs_err::metadata(shop.path(name)).unwrap().len() - (32 << 10);
        shop.flip(name, last);
        let told = shop.told(&["verify", name], 0);
        assert!(told.contains(&format!("warning: byte {last} is of no table")), "{told}");
    }
    shop.image("mbr", MEASURED);
    for place in [0, (2 << 20) + 439] {
        assert!(!shop.told(&["verify", "mbr"], 0).contains("boot code"), "{place}");
        shop.flip("mbr", place);
        assert!(
            shop.told(&["verify", "mbr"], 0).contains("warning: there is boot code"),
            "{place}"
        );
        shop.flip("mbr", place);
    }
    let path = shop.path("mbr");
    let mut bytes = fs_err::read(&path).unwrap();
    bytes[4096..8192].fill(0);
    fs_err::write(&path, bytes).unwrap();
    let told = shop.told(&["verify", "mbr"], 1);
    assert!(told.contains("bad: the NVDIMM header is lost"), "{told}");
}

#[test]
fn k7_what_stands_in_free_blocks_is_told() {
    let shop = Shop::new();
    shop.image("img", &[]);
    let told = shop.told(&["--json", "inspect", "img"], 0);
    let value: serde_json::Value = serde_json::from_str(&told).unwrap();
    let system = &value["file_system"];
    assert!(!shop.told(&["verify", "img"], 0).contains("belongs to"));
    let number = |name: &str| system[name].as_u64().unwrap();
    let last = number("blocks") * number("block_size") - 1;
    shop.flip("img", number("offset") + last);
    let told = shop.told(&["verify", "img"], 0);
    assert!(told.contains(&format!("warning: byte {last} of the ext4 belongs to no")), "{told}");
}

#[test]
fn an_extension_of_guests_gets_no_header_and_needs_no_init() {
    let shop = Shop::new();
    fs_err::remove_dir_all(shop.path("tree")).unwrap();
    shop.put("etc/kata-extensions/components.toml", "schema_version = 1\n[paths]\na = \"etc/a\"\n");
    shop.put("etc/a", "{}");
    shop.image("x.img", &["--file-system", "erofs", "--measured"]);
    let value = |name: &str| -> serde_json::Value {
        serde_json::from_str(&shop.told(&["--json", "inspect", name], 0)).unwrap()
    };
    let extension = value("x.img");
    assert_eq!(extension["nvdimm_block"], serde_json::Value::Null);
    assert_eq!(extension["lacks"], serde_json::json!([]));
    fs_err::write(shop.path("asked.toml"), "[image]\ndax-header = true\n").unwrap();
    shop.image("asked.img", &["--recipe", "asked.toml"]);
    assert_eq!(value("asked.img")["nvdimm_block"], 4096);
    fs_err::remove_dir_all(shop.path("tree/etc/kata-extensions")).unwrap();
    shop.image("none.img", &["--any-tree"]);
    let none = value("none.img");
    assert_eq!(none["nvdimm_block"], 4096);
    assert_ne!(none["lacks"], serde_json::json!([]));
    let refused = ["image", "--rootfs", "tree", "--init", "agent", "-o", "refused.img"];
    assert!(shop.told(&refused, 1).contains("cannot start as a Kata guest"));
}

#[test]
fn a_file_that_is_broken_or_not_there_is_named_and_told_apart_by_the_status() {
    let shop = Shop::new();
    fs_err::write(shop.path("broken.img"), "no guest").unwrap();
    fs_err::write(shop.path("broken.lock"), "no lock").unwrap();
    let verbs: [&[&str]; 3] = [&["inspect"], &["verify"], &["diff", "tree"]];
    for verb in verbs {
        for (name, status) in [("broken.img", 1), ("nowhere.img", 2)] {
            let told = shop.told(&[verb, &[name]].concat(), status);
            assert!(told.contains(name), "{verb:?}: {told}");
        }
    }
    for (name, status) in [("broken.lock", 1), ("nowhere.lock", 2)] {
        let told = shop.told(&["diff", name, name], status);
        assert!(told.contains(name), "{told}");
    }
}

#[test]
fn k5_what_a_host_left_in_a_guest_and_what_it_lacks_is_told() {
    let shop = Shop::new();
    shop.image("good.img", &[]);
    assert!(shop.told(&["verify", "good.img"], 0).ends_with("good\n"));
    shop.put("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    shop.put("etc/resolv.conf", "nameserver 192.0.2.1\n");
    shop.image("bad.img", &[]);
    let told = shop.told(&["verify", "bad.img"], 1);
    assert!(told.contains("bad: /etc/machine-id holds a machine's identity"), "{told}");
    assert!(told.contains("bad: /etc/resolv.conf holds a host's resolver"), "{told}");
    fs_err::remove_dir(shop.path("tree/proc")).unwrap();
    shop.image("none.img", &["--any-tree"]);
    assert!(shop.told(&["verify", "none.img"], 1).contains("there is no directory /proc"));
}

#[test]
fn inspect_shows_files_of_every_form_and_says_what_it_is_as_data() {
    let shop = Shop::new();
    shop.put("etc/greeting", "hello\n");
    shop.image("ext4", &[]);
    shop.image("erofs", &["--file-system", "erofs", "--measured"]);
    let initrd = ["initrd", "--rootfs", "tree", "--init", "agent", "--output", "initrd"];
    shop.told(&initrd, 0);
    for (file, form) in [("ext4", "image"), ("erofs", "image"), ("initrd", "initrd")] {
        assert_eq!(shop.told(&["inspect", file, "/etc/greeting"], 0), "hello\n");
        assert!(shop.told(&["inspect", file, "/etc"], 0).contains("/etc/greeting"));
        let told = shop.told(&["--json", "inspect", file], 0);
        let value: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert_eq!(value["form"], form);
        if form == "image" {
            assert_eq!(value["file_system"]["kind"], file);
            assert_eq!(value["hash_tree"].is_object(), file == "erofs");
        }
    }
}

#[test]
fn k10_two_guests_are_compared_by_file_whatever_their_forms() {
    let shop = Shop::new();
    shop.put("etc/changed", "one");
    shop.image("first", &[]);
    shop.image("other-form", &["--file-system", "erofs"]);
    assert_eq!(shop.told(&["diff", "first", "first"], 0), "");
    let told = shop.told(&["diff", "first", "other-form"], 1);
    assert!(told.contains("part: file system: ext4, uuid "), "{told}");
    assert!(told.lines().all(|line| line.starts_with("part: ")), "{told}");
    shop.put("etc/changed", "two");
    shop.put("etc/new", "");
    shop.image("second", &[]);
    let told = shop.told(&["diff", "first", "second"], 1);
    assert!(told.contains("kind: /etc/new: absent -> file"), "{told}");
    assert!(told.contains("content: /etc/changed: 3 bytes, sha256 "), "{told}");
    let told = shop.told(&["--json", "diff", "second", "tree"], 1);
    for line in told.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        // An image has a machine-id, and no time after the epoch.
        let known = value["aspect"] == "time" || value["subject"] == "/etc/machine-id";
        assert!(known || value["aspect"] == "owner", "{line}");
    }
}

#[test]
fn a_lock_is_compared_with_a_lock() {
    let shop = Shop::new();
    let lock = |path: &Path, version: &str| {
        let text = format!(
            "format = 1\ndistribution = \"debian\"\nrelease = \"trixie\"\narchitecture = \"x86_64\"\n\
             request = \"{0}\"\nepoch = 1\n\n[[repository]]\nurl = \"https://example.org/debian\"\n\
             suite = \"trixie\"\ncomponents = [\"main\"]\ndigest = \"{0}\"\ndate = 1\nsigned_by = []\n\n\
             [[package]]\nname = \"dash\"\nversion = \"{version}\"\narchitecture = \"amd64\"\n\
             repository = 0\npath = \"pool/d.deb\"\nsize = 1\ndigest = \"{0}\"\n",
            "0".repeat(64)
        );
        fs_err::write(path, text).unwrap();
    };
    lock(&shop.path("a.lock"), "1");
    lock(&shop.path("b.lock"), "2");
    assert_eq!(shop.told(&["diff", "a.lock", "a.lock"], 0), "");
    assert_eq!(shop.told(&["diff", "a.lock", "b.lock"], 1), "package: dash:amd64: 1 -> 2\n");
    assert!(shop.told(&["diff", "a.lock", "tree"], 2).contains("a lock only"));
}
