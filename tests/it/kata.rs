//! Kata's entry points: the Makefile and the three scripts, with a stand-in for the program that
//! writes down how it was called. What the program itself does is tested elsewhere.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Says its arguments to `calls`, answers `distros --names`, and makes what `--output` names.
const STAND_IN: &str = r#"#!/bin/sh
echo "$*" >> "$CALLS"
case "$1" in
    distros) printf 'debian\nubuntu\n' ;;
esac
verb="$1"
while [ $# -gt 1 ]; do
    if [ "$1" = --output ]; then
        if [ "$verb" = rootfs ]; then mkdir -p "$2"; else echo made > "$2"; fi
    fi
    shift
done
"#;

/// A place for outputs, and the stand-in.
struct Workshop {
    folder: TempDir,
}

/// What a command did.
struct Outcome {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Workshop {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("osbuilder");
        fs_err::write(&program, STAND_IN).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs_err::set_permissions(&program, mode).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Runs a command in the project's folder with these variables and no others.
    #[expect(clippy::disallowed_methods, reason = "Kata's interface is made of processes")]
    fn run(&self, program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Outcome {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(project())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("OSBUILDER", self.path("osbuilder"))
            .env("CALLS", self.path("calls"))
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Outcome {
            status: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    fn make(&self, arguments: &[&str]) -> Outcome {
        let folder = self.folder.path().display();
        let rootfs = format!("ROOTFS_BUILD_DEST={folder}");
        let images = format!("IMAGES_BUILD_DEST={folder}");
        self.run("make", &[&[rootfs.as_str(), &images], arguments].concat(), &[])
    }

    /// How the program was called since the last time that this was asked.
    fn calls(&self) -> Vec<String> {
        let calls = fs_err::read_to_string(self.path("calls")).unwrap_or_default();
        fs_err::write(self.path("calls"), "").unwrap();
        calls.lines().map(|line| line.replace(&self.text(""), "")).collect()
    }
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

const ROOTFS: &str = "rootfs-builder/rootfs.sh";
const IMAGE: &str = "image-builder/image_builder.sh";
const INITRD: &str = "initrd-builder/initrd_builder.sh";

#[test]
fn the_scripts_exit_as_kata_s_do_when_asked_for_nothing_or_nonsense() {
    let shop = Workshop::new();
    let cases: [(&str, &[&str], i32, &str); 12] = [
        (ROOTFS, &[], 0, "Usage: rootfs.sh"),
        (ROOTFS, &["-h"], 0, "Usage: rootfs.sh"),
        (ROOTFS, &["-x"], 1, "ERROR: found an invalid option"),
        (ROOTFS, &["-t", "plan9"], 1, "ERROR: unknown distribution: plan9"),
        (ROOTFS, &["-d"], 1, "ERROR: neither a distribution nor a directory is given"),
        (IMAGE, &[], 1, "Usage: image_builder.sh"),
        (IMAGE, &["-h"], 0, "Usage: image_builder.sh"),
        (IMAGE, &["/nowhere"], 1, "Invalid rootfs"),
        (INITRD, &[], 0, "Usage: initrd_builder.sh"),
        (INITRD, &["-h"], 0, "Usage: initrd_builder.sh"),
        (INITRD, &["-x"], 1, "Usage: initrd_builder.sh"),
        (INITRD, &["/nowhere"], 1, "ERROR: /nowhere is not a directory"),
    ];
    for (script, arguments, status, words) in cases {
        let outcome = shop.run(&format!("./{script}"), arguments, &[]);
        let said = outcome.stdout + &outcome.stderr;
        assert_eq!(outcome.status, Some(status), "{script} {arguments:?}: {said}");
        assert!(said.contains(words), "{script} {arguments:?}: {said}");
    }
}

#[test]
fn rootfs_sh_translates_its_options_and_leaves_variables_to_the_program() {
    let shop = Workshop::new();
    let rootfs = shop.text("out");
    /// Options, variables, and what osbuilder is called with.
    type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str);
    let cases: [Case<'_>; 4] = [
        (
            &["-a", "4.1", "-d", "-o", "1-abc", "-r", &rootfs, "debian"],
            &[("ROOTFS_DIR", "/elsewhere")],
            "rootfs --output out --agent-version 4.1 --prune --osbuilder-version 1-abc debian",
        ),
        (&["ubuntu"], &[("ROOTFS_DIR", &rootfs)], "rootfs --output out ubuntu"),
        (
            &["-r", &rootfs, "debian"],
            &[("AGENT", "probe"), ("AGENT_INIT", "yes")],
            "rootfs --output out --agent probe debian",
        ),
        (&["-r", &rootfs], &[], "rootfs --output out --provision-only"),
    ];
    for (arguments, variables, call) in cases {
        let outcome = shop.run(&format!("./{ROOTFS}"), arguments, variables);
        assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
        assert_eq!(shop.calls(), [call]);
    }
    let listed = shop.run(&format!("./{ROOTFS}"), &["-l"], &[]);
    assert_eq!((listed.status, listed.stdout.as_str()), (Some(0), "debian\nubuntu\n"));
    let shown = shop.run(&format!("./{ROOTFS}"), &["-t", "debian"], &[]);
    assert_eq!(shown.stdout, "INIT_PROCESS:\t\tsystemd\nARCH_EXCLUDE_LIST:\t\t\n");
}

#[test]
fn the_image_and_initrd_scripts_translate_their_options() {
    let shop = Workshop::new();
    let rootfs = shop.text("tree");
    fs_err::create_dir(&rootfs).unwrap();
    let out = shop.text("x.img");
    let run = |script: &str, arguments: &[&str], variables: &[(&str, &str)]| {
        let outcome = shop.run(&format!("./{script}"), arguments, variables);
        assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
        shop.calls().join("\n")
    };
    let flags = ["-o", &out, "-r", "100", "-f", "ext4", &rootfs];
    let call = "image --rootfs tree --output x.img --free-space 100 --file-system ext4";
    assert_eq!(run(IMAGE, &flags, &[]), call);
    let plain = "image --rootfs tree --output x.img";
    assert_eq!(run(IMAGE, &[&rootfs], &[("IMAGE", &out)]), plain);
    assert_eq!(run(IMAGE, &["-x", &rootfs], &[("IMAGE", &out)]), plain);
    let initrd = "initrd --rootfs tree --output x.img";
    assert_eq!(run(INITRD, &["-o", &out, &rootfs], &[]), initrd);
    assert_eq!(run(INITRD, &[&rootfs], &[("INITRD_IMAGE", &out)]), initrd);
}

#[test]
fn make_uses_kata_s_names_and_does_nothing_twice() {
    let shop = Workshop::new();
    let all = shop.make(&["AGENT=probe", "VERSION_COMMIT=v"]);
    assert_eq!(all.status, Some(0), "{}", all.stderr);
    let rootfs = "rootfs --output debian_rootfs --osbuilder-version v --agent probe debian";
    assert_eq!(
        shop.calls(),
        [
            rootfs,
            "image --rootfs debian_rootfs --output kata-containers.img",
            "initrd --rootfs debian_rootfs --output kata-containers-initrd.img",
        ]
    );
    assert_eq!(fs_err::read(shop.path(".debian_rootfs.done")).unwrap(), b"");
    for goal in ["all", "rootfs", "image", "initrd"] {
        assert_eq!(shop.make(&["AGENT=probe", "VERSION_COMMIT=v", goal]).status, Some(0));
        assert!(shop.calls().is_empty(), "{goal} was made again");
    }
    shop.make(&["AGENT=probe", "VERSION_COMMIT=v", "SELINUX=yes", "image"]);
    assert_eq!(shop.calls(), ["image --rootfs debian_rootfs --output kata-containers.img"]);
    // A tree for systemd is no tree for the agent as init.
    shop.make(&["AGENT=probe", "VERSION_COMMIT=v", "AGENT_INIT=yes", "initrd"]);
    assert_eq!(shop.calls()[0], rootfs);
    shop.make(&["clean"]);
    for gone in ["debian_rootfs", ".debian_rootfs.done", "kata-containers.img"] {
        assert!(!shop.path(gone).exists(), "{gone}");
    }
}

#[test]
fn make_serves_each_distribution_by_name() {
    let shop = Workshop::new();
    let outcome =
        shop.make(&["VERSION_COMMIT=v", "image-ubuntu", "initrd-ubuntu", "rootfs-debian"]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    assert_eq!(
        shop.calls(),
        [
            "rootfs --output ubuntu_rootfs --osbuilder-version v ubuntu",
            "image --rootfs ubuntu_rootfs --output kata-containers-image-ubuntu.img",
            "initrd --rootfs ubuntu_rootfs --output kata-containers-initrd-ubuntu.img",
            "rootfs --output debian_rootfs --osbuilder-version v debian",
        ]
    );
    let pruned = shop.make(&["VERSION_COMMIT=v", "PRUNE=yes", "DISTRO=ubuntu", "rootfs"]);
    assert_eq!(pruned.status, Some(0), "{}", pruned.stderr);
    assert_eq!(
        shop.calls(),
        ["rootfs --output ubuntu_rootfs --osbuilder-version v --prune ubuntu"]
    );
}

#[test]
fn make_s_small_targets_answer() {
    let shop = Workshop::new();
    assert_eq!(shop.make(&["list-distros"]).stdout, "debian\nubuntu\n");
    assert_eq!(shop.make(&["print-DISTRO"]).stdout, "debian\n");
    assert_eq!(shop.make(&["print-DISTRO", "DISTRO=ubuntu"]).stdout, "ubuntu\n");
    let dracut = shop.make(&["rootfs", "BUILD_METHOD=dracut"]);
    assert_eq!(dracut.status, Some(2));
    assert!(dracut.stderr.contains("BUILD_METHOD=dracut is not supported"), "{}", dracut.stderr);
}

#[test]
fn make_s_variables_have_kata_s_defaults() {
    let shop = Workshop::new();
    let here = project().display();
    let cases: [(&str, &str); 13] = [
        ("BUILD_METHOD", "distro"),
        ("AGENT_INIT", "no"),
        ("ROOTFS_BUILD_DEST", &format!("{here}")),
        ("IMAGES_BUILD_DEST", &format!("{here}")),
        ("ROOTFS_MARKER_SUFFIX", "_rootfs.done"),
        ("TARGET_ROOTFS", &format!("{here}/debian_rootfs")),
        ("TARGET_ROOTFS_MARKER", &format!("{here}/.debian_rootfs.done")),
        ("TARGET_IMAGE", &format!("{here}/kata-containers.img")),
        ("TARGET_INITRD", &format!("{here}/kata-containers-initrd.img")),
        ("VERSION_FILE", "./VERSION"),
        ("OSBUILDER_USE_CHRONIC", ""),
        ("KATADIR", "/usr/libexec/kata-containers"),
        ("OSBUILDER_DIR", "/usr/libexec/kata-containers/osbuilder"),
    ];
    let goals: Vec<String> = cases.iter().map(|(name, _)| format!("print-{name}")).collect();
    let goals: Vec<&str> = goals.iter().map(String::as_str).collect();
    let printed = shop.run("make", &goals, &[]).stdout;
    let printed: Vec<&str> = printed.lines().collect();
    for ((name, expected), found) in cases.iter().zip(printed) {
        assert_eq!(*expected, found, "{name}");
    }
    // DISTRO and AGENT_INIT are taken from the environment, folders from the command line only.
    let variables = [("DISTRO", "ubuntu"), ("AGENT_INIT", "yes"), ("ROOTFS_BUILD_DEST", "/x")];
    let printed = shop.run("make", &["print-TARGET_ROOTFS", "print-AGENT_INIT"], &variables);
    assert_eq!(printed.stdout, format!("{here}/ubuntu_rootfs\nyes\n"));
    let version = shop.path("VERSION");
    fs_err::write(&version, "# a comment\n4.1.0\nmore\n").unwrap();
    let file = format!("VERSION_FILE={}", version.display());
    assert_eq!(shop.run("make", &["print-VERSION", &file], &[]).stdout, "4.1.0\n");
    let none = ["print-VERSION", "VERSION_FILE=/nowhere"];
    assert_eq!(shop.run("make", &none, &[]).stdout, "unknown\n");
}

#[test]
fn an_installed_copy_works_without_the_sources() {
    let shop = Workshop::new();
    let root = shop.text("root");
    let installed = shop.make(&["install-scripts", &format!("DESTDIR={root}")]);
    assert_eq!(installed.status, Some(0), "{}", installed.stderr);
    let script = format!("{root}/usr/libexec/kata-containers/osbuilder/{ROOTFS}");
    let listed = shop.run(&script, &["-l"], &[("OSBUILDER", "")]);
    assert_eq!((listed.status, listed.stdout.as_str()), (Some(0), "debian\nubuntu\n"));
}

#[test]
fn a_plug_in_of_kata_s_is_named_and_not_silently_left_out() {
    let shop = Workshop::new();
    let root = shop.text("root");
    shop.make(&["install-scripts", &format!("DESTDIR={root}")]);
    let folder = format!("{root}/usr/libexec/kata-containers/osbuilder/rootfs-builder");
    let script = format!("{folder}/rootfs.sh");
    for name in ["debian", "mine"] {
        fs_err::create_dir(format!("{folder}/{name}")).unwrap();
        fs_err::write(format!("{folder}/{name}/config.sh"), "OS_NAME=x\n").unwrap();
    }
    let own = shop.run(&script, &["-r", &shop.text("out"), "mine"], &[]);
    assert_eq!(own.status, Some(1));
    assert!(own.stderr.contains("mine/config.sh is not read"), "{}", own.stderr);
    assert!(own.stderr.contains("recipes/README.md"), "{}", own.stderr);
    let known = shop.run(&script, &["-r", &shop.text("out"), "debian"], &[]);
    assert_eq!(known.status, Some(0), "{}", known.stderr);
    assert!(known.stdout.contains("WARNING") && known.stdout.contains("debian/config.sh"));
}

#[test]
fn a_failing_build_fails_make_and_leaves_no_marker() {
    let shop = Workshop::new();
    fs_err::write(shop.path("osbuilder"), "#!/bin/sh\nexit 3\n").unwrap();
    assert_eq!(shop.make(&["rootfs"]).status, Some(2));
    assert!(!shop.path(".debian_rootfs.done").exists());
    let rootfs = shop.text("out");
    let outcome = shop.run(&format!("./{ROOTFS}"), &["-r", &rootfs, "debian"], &[]);
    assert_eq!(outcome.status, Some(3));
}
