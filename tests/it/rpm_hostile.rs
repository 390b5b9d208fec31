//! Scripts of rpm packages that reach for the host: made in memory, built by the program.

use std::path::Path;

use osbuilder_testkit::key::{BORN, Key};
use osbuilder_testkit::rpm::{self, Package};

use crate::program::osbuilder_in;

/// Builds a guest of the package `a` with this script, in a folder.
fn build(folder: &Path, program: &str, script: &str) -> (Option<i32>, String) {
    let key = Key::default();
    let script = Some((program.to_owned(), script.to_owned()));
    let package = Package { script, ..Package::new("a", "1") };
    for (name, bytes) in rpm::repository("r", &[package], &key, BORN) {
        let path = folder.join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, bytes).unwrap();
    }
    fs_err::write(folder.join("key.asc"), key.armored_certificate()).unwrap();
    let recipe = format!(
        "distribution = \"azurelinux\"\nversion = \"2.0\"\narchitecture = \"x86_64\"\n\
         packages = [\"a\"]\n\n[sources]\nmirrors = [\"file://{}\"]\nkeys = [\"key.asc\"]\n",
        folder.join("r").display()
    );
    fs_err::write(folder.join("recipe.toml"), recipe).unwrap();
    let build = ["rootfs", "--recipe", "recipe.toml", "--rootfs-only", "-o", "g"];
    let output = osbuilder_in(folder, &build, &[]);
    let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code(), told)
}

#[test]
fn s19_a_lua_script_touches_nothing_but_the_tree() {
    let folder = tempfile::tempdir().unwrap();
    let canary = folder.path().join("canary");
    let script = format!(
        "os.execute('touch {0}')
         local file = io.open('{0}', 'w') if file then file:close() end
         assert(io.open('{1}') == nil, 'the host can be read')
         assert(posix.mkdir('/inside') == 0)",
        canary.display(),
        folder.path().join("key.asc").display()
    );
    let (status, told) = build(folder.path(), "<lua>", &script);
    assert_eq!(status, Some(0), "{told}");
    assert!(!canary.exists() && !told.contains("can be read"), "{told}");
    assert!(folder.path().join("g/inside").is_dir(), "{told}");
}

#[test]
fn s19_a_program_that_only_the_host_has_is_not_run_and_its_script_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let canary = folder.path().join("canary");
    let script = format!("touch {}", canary.display());
    let (_, told) = build(folder.path(), "/usr/bin/env", &script);
    assert!(Path::new("/usr/bin/env").exists() && !canary.exists());
    assert!(told.contains("cannot run the %post script of a"), "{told}");
}
