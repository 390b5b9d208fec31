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
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_osbuilder"));
        command.args(arguments).current_dir(self.folder.path()).env_clear();
        command.env("HOME", self.folder.path()).output().unwrap()
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
    shop.told(&[&with[..], &["--rewrite"]].concat(), 0);
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
