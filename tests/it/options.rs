//! What each verb and each option of a build does, from the outside, over tiny archives.

use osbuilder_testkit::repository::{Package, Repository};

use crate::program::osbuilder_in;
use crate::rootfs::{MADE, World, init, pocket};

const RECIPE: &str =
    "packages = [\"init\"]\nvariant = \"essential\"\n[sources]\nrelease-only = true\n";

/// An archive with an init, two versions of a tool, and backports.
fn world() -> World {
    let mut fresh = Package::new("needs-fresh", "2");
    fresh.fields = "Depends: tool (>= 2)\n".to_owned();
    let backports = pocket("trixie-backports", &[("tool", "2"), ("fresh", "2")]).with(fresh);
    let fields = "NotAutomatic: yes\nButAutomaticUpgrades: yes\n".to_owned();
    let world = World::new(&[
        pocket("trixie", &[("tool", "1")]).with(init("1")),
        Repository { fields, codename: "trixie-backports".to_owned(), ..backports },
        Repository::new("", MADE).with(Package::new("flat", "1")),
    ]);
    fs_err::write(world.path("recipe.toml"), RECIPE).unwrap();
    fs_err::write(world.path("motd"), "welcome\n").unwrap();
    world
}

#[track_caller]
fn build(world: &World, status: i32, arguments: &[&str]) -> String {
    let fixed = ["debian", "--recipe", "recipe.toml", "--cache", "cache", "-o", "guest"];
    let outcome = world.run("rootfs", &[&fixed[..], arguments].concat(), &[]);
    assert_eq!(outcome.status, Some(status), "{arguments:?}: {}", outcome.told);
    outcome.told
}

#[test]
fn each_option_of_a_build_has_its_effect() {
    let world = world();
    let flat = format!("file://{}", world.path("archive").display());
    let table = build(
        &world,
        0,
        &[
            "--version",
            "13",
            "--package",
            "tool",
            "--package",
            "flat",
            "--repository",
            &flat,
            "--extra-file",
            "motd:/etc/motd",
            "--agent",
            "agent",
            "--agent-version",
            "4.1",
            "--osbuilder-version",
            "1-x",
            "--init",
            "systemd",
            "--keep-database",
            "--prune",
            "--epoch",
            "1600000000",
            "--lock",
            "other.lock",
        ],
    );
    let there =
        ["usr/share/tool/1", "usr/share/flat/1", "var/lib/dpkg/status", "usr/bin/kata-agent"];
    for path in there {
        assert!(world.path("guest").join(path).is_file(), "{path}");
    }
    assert_eq!(world.text("guest/etc/motd"), "welcome\n");
    let summary = world.text("guest/var/lib/osbuilder/osbuilder.yaml");
    for words in ["\"4.1\"", "\"1-x\"", "- \"tool\"", "2020-09-13T12:26:40.", "version: \"trixie\""]
    {
        assert!(summary.contains(words), "{words}: {summary}");
    }
    assert!(world.path("other.lock").exists() && !world.path("osbuilder.lock").exists());
    for words in ["output", "sha256", "packages", "seconds", "configure"] {
        assert!(table.contains(words), "{words}: {table}");
    }
}

#[test]
fn a_lock_is_followed_without_a_network_and_drift_is_refused() {
    let world = world();
    build(&world, 0, &["--agent", "agent"]);
    let lock = world.text("osbuilder.lock");
    fs_err::remove_dir_all(world.path("archive")).unwrap();
    build(&world, 0, &["--agent", "agent", "--locked", "--offline"]);
    assert_eq!(world.text("osbuilder.lock"), lock);
    let drift = ["--agent", "agent", "--locked", "--offline", "--package", "tool"];
    let told = build(&world, 2, &drift);
    assert!(told.contains("the lock is for another recipe"), "{told}");
    assert_eq!(world.text("osbuilder.lock"), lock);
}

#[test]
fn backports_are_asked_for_by_suite_and_replace_nothing_of_the_release() {
    let world = world();
    let without = build(&world, 2, &["--rootfs-only", "--package", "fresh"]);
    assert!(without.contains("fresh"), "{without}");
    let backports = ["--rootfs-only", "--suite", "trixie-backports", "--package"];
    build(&world, 0, &[&backports[..], &["tool"]].concat());
    assert!(world.path("guest/usr/share/tool/1").is_file(), "the release's own comes first");
    build(&world, 0, &[&backports[..], &["fresh"]].concat());
    assert!(world.path("guest/usr/share/fresh/2").is_file());
    assert!(world.text("osbuilder.lock").contains("suite = \"trixie-backports\""));
    // As with apt, what the release itself has is not replaced on behalf of another package.
    let told = build(&world, 2, &[&backports[..], &["needs-fresh"]].concat());
    assert!(told.contains("needs-fresh 2 needs tool (>= 2)"), "{told}");
}

#[test]
fn a_component_that_the_archive_has_not_is_refused_by_name() {
    let world = world();
    build(&world, 0, &["--rootfs-only", "--component", "main"]);
    let told = build(&world, 3, &["--rootfs-only", "--component", "contrib"]);
    assert!(told.contains("contrib"), "{told}");
}

#[test]
fn the_small_verbs_answer() {
    let world = world();
    let run = |status: i32, arguments: &[&str]| {
        let output = osbuilder_in(world.folder(), arguments, &[]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {told}");
        String::from_utf8(output.stdout).unwrap()
    };
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(run(0, &["completions", shell]).contains("osbuilder"), "{shell}");
    }
    assert!(run(0, &["man"]).contains(".TH osbuilder 1"));
    run(0, &["man", "."]);
    assert!(world.path("osbuilder-rootfs.1").is_file());
    for line in run(0, &["--json", "distros"]).lines() {
        let distro: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(distro["name"].is_string() && distro["releases"].is_array(), "{line}");
    }
    let locked = world.run("lock", &["debian", "--recipe", "recipe.toml", "--cache", "cache"], &[]);
    assert_eq!(locked.status, Some(0), "{}", locked.told);
    assert!(world.text("osbuilder.lock").contains("name = \"init\""));
    assert!(!world.path("debian_rootfs").exists());
    build(&world, 0, &["--agent", "agent"]);
    assert!(run(0, &["--cache", "cache", "cache", "show"]).contains("cache"));
    assert!(run(0, &["--cache", "cache", "cache", "check"]).contains("are sound"));
    assert!(run(0, &["--cache", "cache", "cache", "shrink", "--days", "0"]).contains("removed"));
    let inspected = run(0, &["inspect", "guest"]);
    assert!(inspected.contains("/usr/share/init/1"), "{inspected}");
    assert!(run(0, &["inspect", "guest", "--files"]).contains("usr/share/init/1"));
    assert!(run(0, &["inspect", "guest", "/etc"]).contains("resolv.conf"));
}
