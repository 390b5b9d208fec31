//! `osbuilder` over repositories of rpm packages from the outside: the 129 packages of CBL-Mariner 2.0,
//! with metadata that a test signs, held against what dnf made of them and what rpm says of the result.

use std::path::PathBuf;

use osbuilder_testkit::key::{BORN, Key, Signing};
use tempfile::TempDir;

use crate::judge;
use crate::oracle;
use crate::program::osbuilder_in;

/// A place to build in, with a repository, keys and a recipe.
struct World {
    folder: TempDir,
}

/// What the program did.
#[derive(Debug)]
struct Outcome {
    status: Option<i32>,
    told: String,
}

impl World {
    /// The repository of Mariner's packages, its metadata signed by a key that `key.asc` has, as it has
    /// that of the packages.
    fn mariner(packages: &str) -> Option<Self> {
        let data = judge::data("rpm")?;
        let (folder, key) = (tempfile::tempdir().unwrap(), Key::default());
        let (from, to) = (data.join("mariner2-x86_64"), folder.path().join("repository"));
        fs_err::create_dir_all(to.join("repodata")).unwrap();
        for below in ["", "repodata"] {
            for entry in fs_err::read_dir(from.join(below)).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap();
                if path.is_file() {
                    fs_err::os::unix::fs::symlink(&path, to.join(below).join(name)).unwrap();
                }
            }
        }
        let world = Self { folder };
        let repomd = fs_err::read(world.path("repository/repodata/repomd.xml")).unwrap();
        world.write(
            "repository/repodata/repomd.xml.asc",
            &key.detached(&repomd, Signing::binary(BORN)),
        );
        world.write("metadata.asc", &key.armored_certificate());
        let packager = fs_err::read_to_string(data.join("keys/rpm-test.pub.asc")).unwrap();
        world.write("key.asc", &format!("{}{packager}", key.armored_certificate()));
        let recipe = format!(
            "distribution = \"azurelinux\"\nversion = \"2.0\"\narchitecture = \"x86_64\"\n\
             packages = {packages}\n\n[sources]\nmirrors = [\"file://{}\"]\n",
            world.path("repository").display()
        );
        world.write("recipe.toml", &recipe);
        Some(world)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs_err::write(self.path(name), text).unwrap();
    }

    fn build(&self, key: &str, further: &[&str]) -> Outcome {
        let fixed = ["rootfs", "--recipe", "recipe.toml", "--rootfs-only", "-o", "g", "--key", key];
        let output = osbuilder_in(self.folder.path(), &[&fixed[..], further].concat(), &[]);
        let told = [output.stdout, output.stderr].concat();
        Outcome { status: output.status.code(), told: String::from_utf8(told).unwrap() }
    }
}

const SMALL: &str = "[\"zlib\"]";

#[test]
fn m6_every_package_must_be_signed_by_a_key_that_may_vouch_for_it() {
    let Some(world) = World::mariner(SMALL) else { return };
    let refused = world.build("metadata.asc", &[]);
    assert_ne!(refused.status, Some(0), "{}", refused.told);
    assert!(refused.told.contains("nobody vouches for the package"), "{}", refused.told);
    assert!(!world.path("g").exists());
    let built = world.build("key.asc", &[]);
    assert_eq!(built.status, Some(0), "{}", built.told);
    fs_err::remove_dir_all(world.path("g")).unwrap();
    let warned = world.build("metadata.asc", &["--insecure"]);
    assert_eq!(warned.status, Some(0), "{}", warned.told);
    assert!(warned.told.contains("checks are switched off"), "{}", warned.told);
}

#[test]
fn m1_metadata_that_nobody_signed_is_refused() {
    let Some(world) = World::mariner(SMALL) else { return };
    let (signature, text) =
        ("repository/repodata/repomd.xml.asc", "repository/repodata/repomd.xml");
    let stranger =
        Key::default().detached(&fs_err::read(world.path(text)).unwrap(), Signing::binary(BORN));
    let good = fs_err::read_to_string(world.path(signature)).unwrap();
    for (bad, words) in [(None, "it is not signed"), (Some(stranger), "which is not trusted")] {
        match bad {
            None => fs_err::remove_file(world.path(signature)).unwrap(),
            Some(text) => world.write(signature, &text),
        }
        let refused = world.build("key.asc", &[]);
        assert_ne!(refused.status, Some(0), "{}", refused.told);
        assert!(refused.told.contains(words), "{}", refused.told);
    }
    world.write(signature, &good);
    assert_eq!(world.build("key.asc", &[]).status, Some(0));
}

#[test]
fn packages_become_what_dnf_made_of_them_and_rpm_finds_no_fault() {
    let all = "[\"core-packages-container\", \"e2fsprogs\"]";
    let (Some(world), Some(oracle)) = (World::mariner(all), judge::data("oracle")) else { return };
    let built = world.build("key.asc", &["--keep-database"]);
    assert_eq!(built.status, Some(0), "{}", built.told);
    assert!(!built.told.contains("did not run"), "{}", built.told);
    let theirs = oracle.join("dnf-mariner2-x86_64.tsv");
    oracle::compare(&world.path("g"), (&theirs, 7000), &[]);
    let packages = oracle.join("dnf-mariner2-x86_64.pkgs");
    // A script has made it, with other permissions than its package lists.
    oracle::judged_by_rpm(&world.path("g"), &packages, &["/var/log/lastlog"]);
}

#[test]
fn two_caches_give_the_same_database_and_the_same_lock() {
    let Some(world) = World::mariner(SMALL) else { return };
    assert_eq!(world.build("key.asc", &["--keep-database", "--cache", "a"]).status, Some(0));
    let digest = || fs_err::read(world.path("g/var/lib/rpm/rpmdb.sqlite")).unwrap();
    let (database, lock) = (digest(), fs_err::read(world.path("osbuilder.lock")).unwrap());
    fs_err::remove_dir_all(world.path("g")).unwrap();
    let again = world.build("key.asc", &["--keep-database", "--cache", "b", "--locked"]);
    assert_eq!(again.status, Some(0), "{}", again.told);
    assert_eq!(digest(), database);
    assert_eq!(fs_err::read(world.path("osbuilder.lock")).unwrap(), lock);
}
