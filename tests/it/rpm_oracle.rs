//! The choice of rpm packages from the whole metadata of CentOS Stream 9, held against what a real dnf
//! once chose from it.

use std::collections::BTreeSet;

use crate::judge;
use crate::program::osbuilder_in;

/// Requests that are no names of packages, which dnf takes on its command line and recipes do not.
const OTHERS: [(&str, &str); 3] = [
    ("11", "glibc.i686: a guest has packages of its own architecture only"),
    ("16", "(systemd: no name"),
    ("18", "libc.so.6()(64bit): a recipe names packages"),
];

#[test]
fn packages_are_chosen_from_a_whole_distribution_as_dnf_did() {
    let (Some(data), Some(oracle)) =
        (judge::data("rpm/cs9-baseos-metadata"), judge::data("oracle/cs9"))
    else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut compared = 0;
    for entry in fs_err::read_dir(&oracle).unwrap() {
        let path = entry.unwrap().path();
        let number = path.file_stem().unwrap().to_str().unwrap();
        if path.extension().is_none_or(|extension| extension != "args")
            || OTHERS.iter().any(|(other, _)| *other == number)
        {
            continue;
        }
        let asked = fs_err::read_to_string(&path).unwrap();
        let asked: Vec<&str> = asked.split_ascii_whitespace().collect();
        let recipe = format!(
            "distribution = \"azurelinux\"\nversion = \"2.0\"\narchitecture = \"x86_64\"\n\
             packages = {asked:?}\n\n[sources]\ninsecure = true\nmirrors = [\"file://{}\"]\n",
            data.canonicalize().unwrap().display()
        );
        fs_err::write(folder.path().join("recipe.toml"), recipe).unwrap();
        let lock = format!("{number}.lock");
        let verb = ["lock", "--recipe", "recipe.toml", "--lock", &lock];
        let output = osbuilder_in(folder.path(), &verb, &[]);
        let theirs = fs_err::read_to_string(path.with_extension("pkgs")).unwrap();
        let theirs: BTreeSet<String> = theirs.lines().map(str::to_owned).collect();
        if !output.status.success() {
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(theirs.is_empty() && told.contains("cannot be installed"), "{asked:?}: {told}");
        } else {
            let lock = fs_err::read_to_string(folder.path().join(lock)).unwrap();
            let lock = osbuilder::lock::Lock::parse(&lock).unwrap();
            let named = |package: &osbuilder::lock::LockedPackage| {
                format!("{}.{}-{}", package.name, package.architecture, package.version)
            };
            let ours: BTreeSet<String> = lock.packages.iter().map(named).collect();
            assert_eq!(ours, theirs, "{asked:?}");
        }
        compared += 1;
    }
    assert_eq!(compared, 7);
}
