//! The program from outside: what it prints, and the status it ends with.

use std::path::Path;
use std::process::{Command, Output};

fn osbuilder(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    osbuilder_in(folder.path(), arguments, &[])
}

/// Runs the program in a folder that is also its user's home, with these variables and no others.
pub(crate) fn osbuilder_in(
    folder: &Path,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> Output {
    #[expect(clippy::disallowed_methods, reason = "the program is what is tested")]
    let mut command = Command::new(env!("CARGO_BIN_EXE_osbuilder"));
    command.args(arguments).current_dir(folder).env_clear().env("HOME", folder);
    command.env("PATH", "/nowhere");
    command.envs(variables.iter().copied()).output().unwrap()
}

fn check(arguments: &[&str], status: i32, stdout: &str, stderr: &str) {
    let output = osbuilder(arguments);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {told}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), stdout, "{arguments:?}");
    assert!(told.contains(stderr), "{arguments:?}: {told}");
}

#[test]
fn the_distributions_are_listed_one_a_line() {
    check(
        &["distros", "--names"],
        0,
        "alma\nalpine\nazurelinux\ncentos\nclearlinux\ndebian\neuleros\nfedora\nopeneuler\nopensuse\nrocky\nubuntu\n",
        "",
    );
}

#[test]
fn without_an_agent_one_error_names_the_ways() {
    let output = osbuilder(&["image", "debian"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("--agent") && told.contains("probe"), "{told}");
    assert_eq!(told.lines().filter(|line| line.starts_with("error")).count(), 1, "{told}");
}

#[test]
fn without_a_verb_the_help_is_told_and_the_status_says_so() {
    check(&[], 2, "", "Usage: osbuilder");
}

#[test]
fn a_mistyped_option_or_distribution_is_a_request_that_makes_no_sense() {
    check(&["image", "--no-such-option"], 2, "", "--no-such-option");
    check(&["rootfs", "debain", "--rootfs-only"], 2, "", "debain");
}

#[test]
fn a_lock_that_is_demanded_and_absent_is_named() {
    let arguments = ["rootfs", "debian", "--rootfs-only", "--locked"];
    check(&arguments, 2, "", "osbuilder.lock");
}

#[test]
fn what_is_no_image_is_refused_by_inspect() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(file.path(), [7; 100_000]).unwrap();
    let output = osbuilder(&["inspect", file.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"");
}

#[test]
fn errors_are_data_when_json_is_asked_for() {
    let output = osbuilder(&["--json", "rootfs", "debain", "--rootfs-only"]);
    let last = String::from_utf8(output.stderr).unwrap();
    let value: serde_json::Value = serde_json::from_str(last.lines().last().unwrap()).unwrap();
    assert_eq!((&value["event"], &value["kind"]), (&"failure".into(), &"request".into()));
}

#[test]
fn k2_a_measured_image_comes_with_the_line_that_kata_s_tools_read() {
    let folder = tempfile::tempdir().unwrap();
    let rootfs = folder.path().join("tree");
    fs_err::create_dir_all(rootfs.join("etc")).unwrap();
    let image = folder.path().join("x.img");
    let measure = |variant: &str, more: &[&str]| {
        #[expect(clippy::disallowed_methods, reason = "the program is what is tested")]
        let output = Command::new(env!("CARGO_BIN_EXE_osbuilder"))
            .args(["--json", "image", "--epoch", "1700000000", "--rootfs"])
            .args([&rootfs, std::path::Path::new("--output"), &image])
            .args(more)
            .env_clear()
            .envs([("HOME", folder.path().to_str().unwrap()), ("BUILD_VARIANT", variant)])
            .envs([("MEASURED_ROOTFS", "yes"), ("SKIP_ROOTFS_CHECK", "yes")])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let line = folder.path().join(format!("root_hash_{variant}.txt"));
        let line = fs_err::read_to_string(line).unwrap();
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(told["verity"]["line"], line.trim_end());
        line
    };
    let line = measure("base", &[]);
    let parameters: osbuilder::image::verity::Parameters = line.parse().unwrap();
    assert_eq!(line, format!("{parameters}\n"));
    // 99 % of a disk proper of 126 MiB, less the MiB before the partition.
    assert_eq!(parameters.data_blocks, (124 - 1) << 8);
    let file = fs_err::File::open(&image).unwrap();
    osbuilder::image::read(&file, 1).unwrap().parts.verify(&parameters, 1).unwrap();
    // The file's name is empty behind the underscore when nothing is said; the bytes are the same.
    assert_eq!(measure("", &[]), line);
    assert!(measure("", &["--salt", "0bad"]).contains("salt=0bad,"));
    assert_ne!(measure("", &["--salt", "random"]), measure("", &["--salt", "random"]));
}

#[test]
fn a_machine_without_qemu_is_told_which_package_has_it_before_anything_is_fetched() {
    for (arch, package) in [
        ("x86_64", "qemu-system-x86"),
        ("aarch64", "qemu-system-arm"),
        ("ppc64le", "qemu-system-ppc"),
    ] {
        // Some file: whether it is an image is asked later.
        let output = osbuilder(&["boot", env!("CARGO_BIN_EXE_osbuilder"), "--arch", arch]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(4), "{told}");
        assert!(told.starts_with("error: the program qemu-system-"), "{told}");
        assert!(told.contains(&format!("hint: QEMU for {arch} is in Debian's package {package}")));
    }
}
