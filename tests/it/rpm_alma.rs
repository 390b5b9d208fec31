//! AlmaLinux 9 for aarch64 from genuine packages: 15 of 22 as AlmaLinux signed them. Their metadata bears
//! no signature, as AlmaLinux's own. Held against what dnf chose and made of them, and before a real rpm;
//! their scripts run by an emulator.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::judge;
use crate::oracle;
use crate::program::osbuilder_in;

/// The names of all that dnf installed but keys.
fn packages(list: &str) -> Vec<String> {
    let names = list.lines().filter(|line| !line.starts_with("gpg-pubkey"));
    let name = |line: &str| {
        let mut parts = line.rsplitn(3, '-').skip(2);
        parts.next().unwrap().to_owned()
    };
    names.map(name).collect()
}

#[test]
fn genuine_packages_of_alma_become_what_dnf_made_of_them_and_each_must_be_signed() {
    let (Some(data), Some(answers)) = (judge::data("rpm"), judge::data("oracle")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let list = fs_err::read_to_string(answers.join("dnf-el9-aarch64.pkgs")).unwrap();
    let recipe = format!(
        "distribution = \"alma\"\nversion = \"9\"\narchitecture = \"aarch64\"\npackages = {:?}\n\n\
         [sources]\nmirrors = [\"file://{}\"]\n",
        ["almalinux-release", "bash", "basesystem", "coreutils-single", "glibc-minimal-langpack"],
        data.join("el9-aarch64").canonicalize().unwrap().display()
    );
    fs_err::write(folder.path().join("recipe.toml"), recipe).unwrap();
    let keys =
        ["RPM-GPG-KEY-AlmaLinux-9", "rpm-test.pub.asc"].map(|name| data.join("keys").join(name));
    let run = |verb: &[&str], keys: &[PathBuf]| {
        let keys = keys.iter().flat_map(|path| ["--key", path.to_str().unwrap()]);
        let arguments: Vec<&str> =
            verb.iter().copied().chain(["--recipe", "recipe.toml"]).chain(keys).collect();
        let output = osbuilder_in(folder.path(), &arguments, &[]);
        let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), told)
    };
    let (status, told) = run(&["lock"], &[]);
    assert_eq!(status, Some(0), "{told}");
    assert!(told.contains("its metadata bears no signature"), "{told}");
    let lock = fs_err::read_to_string(folder.path().join("osbuilder.lock")).unwrap();
    let field = |line: &str, name: &str| {
        line.strip_prefix(&format!("{name} = \"")).map(|rest| rest.trim_end_matches('"').to_owned())
    };
    let all = |name| lock.lines().filter_map(|line| field(line, name)).collect::<Vec<_>>();
    let ours: BTreeSet<String> = all("name").into_iter().collect();
    let theirs: BTreeSet<String> = packages(&list).into_iter().collect();
    assert_eq!(ours, theirs);
    // Seven packages are signed by another key than AlmaLinux's.
    let build = ["rootfs", "--rootfs-only", "-o", "g"];
    let (status, told) = run(&build, &keys[..1]);
    assert_ne!(status, Some(0), "{told}");
    assert!(told.contains("nobody vouches for the package"), "{told}");
    if judge::is_missing(&["qemu-aarch64-static"]) {
        return;
    }
    let (status, told) = run(&[&build[..], &["--keep-database"]].concat(), &keys);
    assert_eq!(status, Some(0), "{told}");
    assert!(!told.contains("did not run"), "{told}");
    let tree = folder.path().join("g");
    // `/lib64` is a link that one package brings and others before it put files behind.
    oracle::compare(&tree, (&answers.join("dnf-el9-aarch64.tsv"), 4000), &[]);
    oracle::judged_by_rpm(&tree, &answers.join("dnf-el9-aarch64.pkgs"), &[]);
}
