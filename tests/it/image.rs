//! `osbuilder image` and `initrd` of directories that are there already.

use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use osbuilder::store::directory;

use crate::judge;
use crate::program::osbuilder_in;

/// A directory that can start: the agent is its init.
fn guest(root: &Path) {
    for folder in ["dev", "proc", "sys", "run", "tmp", "sbin", "etc"] {
        fs_err::create_dir_all(root.join(folder)).unwrap();
    }
    program(&root.join("sbin/init"));
}

fn program(path: &Path) {
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, "a program").unwrap();
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Makes an image of `rootfs` below `folder`; returns the status and what was said.
fn pack(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let fixed = ["--rootfs", "rootfs", "-o", "out", "--epoch", "1700000000"];
    let (verb, rest) = arguments.split_first().unwrap();
    let output = osbuilder_in(folder, &[&[*verb], &fixed[..], rest].concat(), variables);
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_tree_that_cannot_start_is_refused_with_all_that_it_lacks() {
    let folder = tempfile::tempdir().unwrap();
    guest(&folder.path().join("rootfs"));
    for verb in ["image", "initrd"] {
        let (status, told) = pack(folder.path(), &[verb, "--init", "systemd"], &[]);
        assert_eq!(status, Some(1), "{told}");
        for lack in [
            "program /usr/lib/systemd/systemd",
            "file /usr/lib/systemd/system/tmp.mount",
            "file /usr/lib/systemd/system/kata-agent.service",
            "file /usr/lib/systemd/system/kata-containers.target",
            "program /usr/bin/kata-agent",
        ] {
            assert!(told.contains(&format!("\n  there is no {lack}")), "{told}");
        }
        assert!(!folder.path().join("out").exists());
    }
}

#[test]
fn what_only_some_containers_need_is_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    guest(&folder.path().join("rootfs"));
    let (status, told) = pack(folder.path(), &["initrd", "--init", "agent"], &[]);
    assert_eq!(status, Some(0), "{told}");
    assert!(told.contains("warning: as a Kata guest: there is no program /usr/sbin/iptables"));
    let (status, _) = pack(folder.path(), &["initrd"], &[("AGENT_INIT", "yes")]);
    assert_eq!(status, Some(0));
    fs_err::remove_dir(folder.path().join("rootfs/proc")).unwrap();
    let (status, told) = pack(folder.path(), &["initrd", "--init", "agent"], &[]);
    assert_eq!(status, Some(1));
    assert!(told.contains("there is no directory /proc"), "{told}");
}

#[test]
fn a_policy_that_was_asked_for_and_is_not_there_is_fatal() {
    let folder = tempfile::tempdir().unwrap();
    guest(&folder.path().join("rootfs"));
    let variables = [("AGENT_INIT", "yes"), ("AGENT_POLICY", "yes")];
    let (status, told) = pack(folder.path(), &["initrd"], &variables);
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("there is no file /etc/kata-opa/default-policy.rego"), "{told}");
}

#[test]
fn what_is_no_guest_is_packed_where_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    fs_err::create_dir_all(folder.path().join("rootfs/etc/kata-extensions")).unwrap();
    let (status, told) = pack(folder.path(), &["initrd"], &[]);
    assert_eq!(status, Some(1), "{told}");
    let (status, told) = pack(folder.path(), &["initrd"], &[("SKIP_ROOTFS_CHECK", "yes")]);
    assert_eq!(status, Some(0), "{told}");
    let (status, told) = pack(folder.path(), &["initrd", "--any-tree"], &[]);
    assert_eq!(status, Some(0), "{told}");
}

/// Kata's initrd builder makes `/init` in the folder itself, and its image builder prunes it.
#[test]
fn the_folder_that_is_packed_stays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("rootfs");
    guest(&root);
    std::os::unix::fs::symlink("../lib/systemd/systemd", root.join("sbin/other")).unwrap();
    let listing = || {
        let (tree, _) = directory::read(&root, NonZeroUsize::MIN).unwrap();
        tree.to_listing()
    };
    let before = listing();
    for (verb, has_init) in [("initrd", true), ("image", false)] {
        let (status, told) = pack(folder.path(), &[verb, "--init", "agent"], &[]);
        assert_eq!(status, Some(0), "{told}");
        let asked = osbuilder_in(folder.path(), &["inspect", "out", "--ls", "init"], &[]);
        assert_eq!(asked.status.success(), has_init, "{verb}");
        assert_eq!(listing(), before, "{verb}");
        fs_err::remove_file(folder.path().join("out")).unwrap();
    }
    let names = fs_err::read_dir(folder.path()).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().starts_with("rootfs.")), "{names:?}");
}

#[test]
fn nvidia_s_init_is_taken_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("rootfs");
    guest(&root);
    fs_err::remove_file(root.join("sbin/init")).unwrap();
    program(&root.join("bin/NVRC-x86_64-unknown-linux-musl"));
    std::os::unix::fs::symlink("/bin/NVRC-x86_64-unknown-linux-musl", root.join("sbin/init"))
        .unwrap();
    let (status, told) = pack(folder.path(), &["initrd"], &[]);
    assert_eq!(status, Some(0), "{told}");
}

#[test]
fn files_of_every_form_are_listed_and_printed() {
    let folder = tempfile::tempdir().unwrap();
    guest(&folder.path().join("rootfs"));
    let mut forms: Vec<Vec<&str>> = Vec::new();
    for compression in ["gzip", "zstd", "lz4", "xz", "none"] {
        forms.push(vec!["initrd", "--compression", compression]);
    }
    for file_system in ["ext4", "erofs", "xfs"] {
        for more in [&[][..], &["--measured"], &["--measured", "--partition-table", "gpt"]] {
            forms.push([&["image", "--file-system", file_system], more].concat());
        }
    }
    for form in forms {
        let (status, told) = pack(folder.path(), &[&form[..], &["--init", "agent"]].concat(), &[]);
        assert_eq!(status, Some(0), "{form:?}: {told}");
        let asked = |arguments: &[&str]| {
            let asked = [&["inspect", "out"], arguments].concat();
            let output = osbuilder_in(folder.path(), &asked, &[]);
            (output.status.code(), String::from_utf8(output.stdout).unwrap())
        };
        assert_eq!(asked(&["sbin/init", "--cat"]), (Some(0), "a program".to_owned()), "{form:?}");
        let (status, told) = asked(&["sbin", "--ls"]);
        assert_eq!((status, told.lines().count()), (Some(0), 2), "{form:?}: {told}");
        assert!(told.contains("9 /sbin/init"), "{form:?}: {told}");
        assert_eq!(asked(&["sbin/absent", "--cat"]), (Some(1), String::new()), "{form:?}");
    }
}

#[test]
fn s17_the_summary_file_of_an_image_does_not_steer_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    guest(&folder.path().join("rootfs"));
    let summary = folder.path().join("rootfs/var/lib/osbuilder");
    fs_err::create_dir_all(&summary).unwrap();
    let text = "osbuilder:\n  version: \"\x1b]0;owned\x07\"\n";
    fs_err::write(summary.join("osbuilder.yaml"), text).unwrap();
    let (status, told) = pack(folder.path(), &["initrd", "--init", "agent"], &[]);
    assert_eq!(status, Some(0), "{told}");
    for asked in [&["inspect", "out"][..], &["inspect", "out", "--json"]] {
        let shown = String::from_utf8(osbuilder_in(folder.path(), asked, &[]).stdout).unwrap();
        assert!(shown.contains("owned") && !shown.contains(['\x1b', '\x07']), "{shown}");
    }
}

#[test]
fn an_initrd_is_packed_as_asked_and_what_the_kernel_does_not_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    guest(&folder.path().join("rootfs"));
    for compression in ["zstd", "lz4", "xz", "none"] {
        let arguments = ["initrd", "--init", "agent", "--compression", compression];
        let (status, told) = pack(folder.path(), &arguments, &[]);
        assert_eq!(status, Some(0), "{told}");
        let warned = told.contains("Kata's kernels read initrds packed with gzip only");
        assert_eq!(warned, compression != "none", "{told}");
        let listed = osbuilder_in(folder.path(), &["inspect", "out"], &[]);
        let text = String::from_utf8(listed.stdout).unwrap();
        assert!(text.contains(&format!("initrd, compression {compression}")), "{text}");
        let (out, named) = (folder.path().join("out"), folder.path().join(compression));
        let judge = match compression {
            "zstd" => Some(("zstd", "zst")),
            "lz4" => Some(("lz4", "lz4")),
            "xz" => Some(("xz", "xz")),
            _ => None,
        };
        let named = named.with_extension(judge.map_or("cpio", |(_, suffix)| suffix));
        fs_err::rename(&out, &named).unwrap();
        if let Some((tool, _)) = judge.filter(|(tool, _)| !judge::is_missing(&[*tool])) {
            judge::run(tool, &["-t", named.to_str().unwrap()]);
        }
    }
    let config = "CONFIG_BLK_DEV_INITRD=y\nCONFIG_RD_GZIP=y\n# CONFIG_RD_ZSTD is not set\n";
    fs_err::write(folder.path().join("config"), config).unwrap();
    let asked = |compression: &str| {
        let how = ["--compression", compression, "--kernel-config", "config"];
        pack(folder.path(), &[&["initrd", "--init", "agent"], &how[..]].concat(), &[])
    };
    assert_eq!(asked("gzip").0, Some(0));
    fs_err::remove_file(folder.path().join("out")).unwrap();
    let (status, told) = asked("zstd");
    assert_ne!(status, Some(0));
    assert!(told.contains("CONFIG_RD_ZSTD is not set"), "{told}");
    assert!(!folder.path().join("out").exists());
}

/// As Kata builds them: erofs, measured, without the header for persistent memory and without init.
#[test]
fn an_extension_is_measured_and_its_manifest_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("rootfs");
    program(&root.join("usr/bin/tool"));
    let manifest = root.join("etc/kata-extensions/components.toml");
    fs_err::create_dir_all(manifest.parent().unwrap()).unwrap();
    let write = |path: &str| {
        let text = format!("schema_version = 1\n[[process]]\nid = \"tool\"\npath = {path:?}\n");
        fs_err::write(&manifest, text).unwrap();
    };
    let variables = [
        ("FS_TYPE", "erofs"),
        ("MEASURED_ROOTFS", "yes"),
        ("SKIP_DAX_HEADER", "yes"),
        ("SKIP_ROOTFS_CHECK", "yes"),
        ("BUILD_VARIANT", "tool"),
    ];
    write("usr/bin/other");
    let (status, told) = pack(folder.path(), &["image"], &variables);
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("/usr/bin/other, where nothing is"), "{told}");
    assert!(!folder.path().join("out").exists());
    write("usr/bin/tool");
    let (status, told) = pack(folder.path(), &["image"], &variables);
    assert_eq!(status, Some(0), "{told}");
    let verified =
        osbuilder_in(folder.path(), &["verify", "out", "--params-file", "root_hash_tool.txt"], &[]);
    let text = String::from_utf8(verified.stdout).unwrap();
    assert_eq!(verified.status.code(), Some(0), "{text}");
    assert!(text.contains("measurement: verified"), "{text}");
}

/// A package may bring a manifest: that alone must not undo the check of what is to be a guest.
#[test]
fn what_is_taken_for_an_extension_is_told_and_with_an_agent_it_is_a_guest() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("rootfs");
    program(&root.join("usr/bin/tool"));
    fs_err::create_dir_all(root.join("etc/kata-extensions")).unwrap();
    fs_err::write(root.join("etc/kata-extensions/components.toml"), "schema_version = 1\n")
        .unwrap();
    let note = "note: the tree has a manifest of components: it is taken for an extension";
    let has_header = || {
        let asked = osbuilder_in(folder.path(), &["--json", "inspect", "out"], &[]);
        let value: serde_json::Value = serde_json::from_slice(&asked.stdout).unwrap();
        !value["nvdimm_block"].is_null()
    };
    let (status, told) = pack(folder.path(), &["image"], &[]);
    assert_eq!(status, Some(0), "{told}");
    assert!(told.contains(note) && !has_header(), "{told}");
    let with_agent = ["image", "--init", "agent", "--agent", "probe"];
    let (status, told) = pack(folder.path(), &with_agent, &[]);
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("there is no directory /proc") && !told.contains(note), "{told}");
    guest(&root);
    let (status, told) = pack(folder.path(), &with_agent, &[]);
    assert_eq!(status, Some(0), "{told}");
    assert!(has_header() && !told.contains(note), "{told}");
}
