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
fn a_bill_of_materials_names_all_that_the_guest_has_though_its_database_is_gone() {
    let world = world();
    let bills = ["--sbom", "guest.spdx.json", "--sbom", "guest.cdx.json"];
    let asked = [&["--agent", "agent", "--package", "tool"], &bills[..]].concat();
    build(&world, 0, &asked);
    assert!(!world.path("guest/var/lib/dpkg").exists());
    let spdx = world.text("guest.spdx.json");
    for words in ["pkg:deb/debian/tool@1?arch=", "\"kata-agent\"", "SPDX-2.3"] {
        assert!(spdx.contains(words), "{words}: {spdx}");
    }
    assert!(!spdx.contains("file:"), "{spdx}");
    let cyclonedx = world.text("guest.cdx.json");
    assert!(cyclonedx.contains("pkg:deb/debian/init@1?arch="), "{cyclonedx}");
    build(&world, 0, &asked);
    assert_eq!((world.text("guest.spdx.json"), world.text("guest.cdx.json")), (spdx, cyclonedx));
    let told = build(&world, 2, &["--agent", "agent", "--sbom", "guest.json"]);
    assert!(told.contains(".spdx.json"), "{told}");
    let packed = ["--rootfs", "guest", "-o", "guest.img", "--sbom", "image.spdx.json"];
    let outcome = world.run("image", &packed, &[]);
    assert_eq!(outcome.status, Some(2), "{}", outcome.told);
    assert!(outcome.told.contains("no database of packages"), "{}", outcome.told);
    assert!(!world.path("guest.img").exists() && !world.path("image.spdx.json").exists());
}

#[test]
fn two_outputs_for_one_place_are_refused_before_any_work() {
    let world = world();
    fs_err::create_dir(world.path("below")).unwrap();
    let cases: [(&str, &[&str]); 5] = [
        ("image", &["-o", "a.cdx.json", "--sbom", "a.cdx.json"]),
        ("image", &["-o", "a.cdx.json", "--sbom", "below/../a.cdx.json"]),
        ("rootfs", &["-o", "a.cdx.json", "--sbom", "./a.cdx.json"]),
        ("initrd", &["-o", "guest", "--lock", "a.spdx.json", "--sbom", "a.spdx.json"]),
        ("initrd", &["-o", "guest", "--lock", "below/../guest"]),
    ];
    for (verb, words) in cases {
        let fixed = ["debian", "--recipe", "recipe.toml", "--cache", "cache", "--agent", "agent"];
        let outcome = world.run(verb, &[&fixed[..], words].concat(), &[]);
        assert_eq!(outcome.status, Some(2), "{words:?}: {}", outcome.told);
        assert!(outcome.told.contains("are the same place"), "{words:?}: {}", outcome.told);
        assert!(!outcome.told.contains("indexes"), "{words:?}: {}", outcome.told);
    }
    let packed = ["--rootfs", "below", "-o", "a.cdx.json", "--sbom", "a.cdx.json"];
    assert_eq!(world.run("image", &packed, &[]).status, Some(2));
    for name in ["a.cdx.json", "a.spdx.json", "guest"] {
        assert!(!world.path(name).exists(), "{name}");
    }
}

/// All of these are the request's mistakes, and nothing is fetched for it.
#[test]
fn what_cannot_be_used_is_said_before_any_work() {
    let world = world();
    fs_err::write(world.path("garbage.tar.zst"), "no tarball").unwrap();
    fs_err::create_dir(world.path("taken")).unwrap();
    fs_err::write(world.path("taken/thesis"), "mine").unwrap();
    let cases: [(&str, &[&str], &str); 9] = [
        ("rootfs", &["--agent", "no-agent"], "no-agent"),
        ("rootfs", &["--agent", "garbage.tar.zst"], "garbage.tar.zst"),
        ("rootfs", &["--agent", "taken"], "taken"),
        ("rootfs", &["--agent", "agent", "--extra-file", "no-file:/etc/x"], "no-file"),
        ("rootfs", &["--agent", "agent", "-o", "taken"], "taken"),
        ("image", &["--agent", "agent", "-o", "no-folder/guest.img"], "no-folder"),
        ("image", &["--agent", "agent", "-o", "taken"], "taken"),
        ("initrd", &["--agent", "agent", "--lock", "no-folder/l.lock"], "no-folder"),
        ("initrd", &["--agent", "agent", "--sbom", "no-folder/a.spdx.json"], "no-folder"),
    ];
    for (verb, words, named) in cases {
        let fixed = ["debian", "--recipe", "recipe.toml", "--cache", "cache"];
        let outcome = world.run(verb, &[&fixed[..], words].concat(), &[]);
        assert_eq!(outcome.status, Some(2), "{words:?}: {}", outcome.told);
        assert!(outcome.told.contains(named), "{words:?}: {}", outcome.told);
        assert!(!outcome.told.contains("indexes"), "{words:?}: {}", outcome.told);
    }
    assert_eq!(world.text("taken/thesis"), "mine");
}

#[test]
fn data_that_cannot_be_written_are_an_error_and_a_reader_that_went_away_is_none() {
    let world = world();
    let tree = world.path("tree");
    fs_err::create_dir(&tree).unwrap();
    // More than a pipe holds.
    fs_err::write(tree.join("file"), vec![b'x'; 1 << 20]).unwrap();
    let print = format!("inspect {} file --cat", tree.display());
    for words in ["completions bash", "distros", "cache show", "man", &print] {
        let run = |tail: &str| {
            let script =
                format!("set -o pipefail; {} {words} {tail}", env!("CARGO_BIN_EXE_osbuilder"));
            #[expect(clippy::disallowed_methods, reason = "a shell's own redirections are tested")]
            let mut shell = std::process::Command::new("bash");
            let output = shell.args(["-c", &script]).env("HOME", world.folder()).output().unwrap();
            (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        let (status, told) = run(">/dev/full");
        assert_eq!(status, Some(4), "{words}: {told}");
        let lines = ["error: cannot write to standard output\n", "No space left"];
        assert!(lines.iter().all(|line| told.contains(line)), "{words}: {told}");
        let (status, told) = run("| true");
        assert_eq!(status, Some(0), "{words}: {told}");
        assert!(!told.contains("panicked"), "{words}: {told}");
    }
}

#[test]
fn what_is_no_guest_is_not_booted_and_no_kernel_is_fetched_for_it() {
    let folder = tempfile::tempdir().unwrap();
    for (name, words) in [("nothing", "nothing"), (".", "is no image")] {
        let output = osbuilder_in(folder.path(), &["boot", name, "--offline"], &[]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{name}: {told}");
        assert!(told.contains(words), "{name}: {told}");
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
    for line in run(0, &["--json", "distros", "--names"]).lines() {
        let distro: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(distro.as_object().unwrap().len(), 1, "{line}");
    }
    let locked = world.run("lock", &["debian", "--recipe", "recipe.toml", "--cache", "cache"], &[]);
    assert_eq!(locked.status, Some(0), "{}", locked.told);
    assert!(world.text("osbuilder.lock").contains("name = \"init\""));
    assert!(!world.path("debian_rootfs").exists());
    build(&world, 0, &["--agent", "agent"]);
    assert_eq!(run(0, &["--cache", "cache", "cache", "show"]), "cache\n");
    let shown = run(0, &["--json", "--cache", "cache", "cache", "show"]);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert!(shown["cache"] == "cache" && shown["bytes"].as_u64() > Some(0), "{shown}");
    assert!(run(0, &["--cache", "cache", "cache", "check"]).contains("are sound"));
    assert!(run(0, &["--cache", "cache", "cache", "shrink", "--days", "0"]).contains("removed"));
    let inspected = run(0, &["inspect", "guest"]);
    assert!(inspected.contains("/usr/share/init/1"), "{inspected}");
    assert!(run(0, &["inspect", "guest", "--files"]).contains("usr/share/init/1"));
    assert!(run(0, &["inspect", "guest", "/etc"]).contains("resolv.conf"));
}

#[test]
fn a_distribution_is_added_by_a_data_file_and_its_mistakes_are_shown_with_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config/osbuilder/distros");
    fs_err::create_dir_all(&path).unwrap();
    let text = "name = \"mine\"\ntitle = \"Mine\"\nfamily = \"rpm\"\ndefault_release = \"1\"\n\
                components = []\nmirrors = [{ url = \"https://m\" }]\n\
                packages = { base = [\"bash\"], systemd = [], seccomp = [] }\n\n[[releases]]\n\
                codename = \"1\"\nversion = \"1\"\narchitectures = [\"x86_64\"]\nmerged_usr = true\n\
                suites = [{ name = \"os\" }]\nkeys = [\"BC528686B50D79E339D3721CEB3E94ADBE1229CF\"]\n";
    let file = path.join("mine.toml");
    fs_err::write(&file, text).unwrap();
    let config = folder.path().join("config");
    let home = [("XDG_CONFIG_HOME", config.to_str().unwrap())];
    let run = |arguments: &[&str], variables: &[(&str, &str)]| {
        let output = osbuilder_in(folder.path(), arguments, variables);
        let told = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), told)
    };
    let (status, names, _) = run(&["distros", "--names"], &home);
    assert_eq!(status, Some(0));
    assert!(names.lines().any(|name| name == "mine"), "{names}");
    let named = ["--distro-dir", path.to_str().unwrap(), "distros"];
    assert!(run(&named, &[]).1.contains("mine: 1 (default)\n  x86_64   systemd  data only"));
    assert!(!run(&["distros", "--names"], &[]).1.contains("mine"));
    let file = file.to_str().unwrap();
    assert_eq!(run(&["distros", "--check", file], &[]).0, Some(0));
    fs_err::write(file, text.replace("bash", "ba sh").replace("\"1\"\ncomp", "\"2\"\ncomp"))
        .unwrap();
    for (arguments, variables) in
        [(&["distros", "--check", file][..], &[][..]), (&["lock", "mine"], &home)]
    {
        let (status, _, told) = run(arguments, variables);
        assert_eq!(status, Some(2), "{told}");
        assert!(told.contains("mine.toml:4:19: there is no release \"2\" below"), "{told}");
        assert!(told.contains("mine.toml:7:22: \"ba sh\" is not the name of a package"), "{told}");
    }
    assert_eq!(run(&["--distro-dir", "nowhere", "distros"], &[]).0, Some(2));
}
