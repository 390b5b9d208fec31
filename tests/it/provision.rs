//! What Kata's variables put into a guest, and who reads its summary: from outside, over tiny archives.
//! Each test is named after what it guarantees; what follows for the tree has `src/provision/tests.rs`.

use std::path::Path;

use osbuilder_testkit::repository::Package;
use tar::{EntryType, Header};

use crate::judge;
use crate::mounted::{self, Mount};
use crate::program::osbuilder_in;
use crate::rootfs::{World, init, pocket};

const RECIPE: &str =
    "packages = [\"init\", \"tool\"]\nvariant = \"essential\"\n[sources]\nrelease-only = true\n";
const SUMMARY: &str = "var/lib/osbuilder/osbuilder.yaml";

/// Files of the host by the variables that name them, and what a guest has of each.
const GIVEN: [(&str, &str, &str, &str); 6] = [
    ("AGENT_TARBALL", "agent.tar", "usr/bin/my-agent", "agent"),
    ("GUEST_HOOKS_TARBALL", "hooks.tar", "usr/share/oci/hooks/prestart/hook", "hook"),
    ("PAUSE_IMAGE_TARBALL", "pause.tar", "pause_bundle/config.json", "pause"),
    ("COCO_GUEST_COMPONENTS_TARBALL", "coco.tar", "usr/local/bin/aa", "attestation"),
    ("KERNEL_MODULES_DIR", "some/6.12-kata", "lib/modules/6.12-kata/modules.dep", "modules"),
    ("AGENT_POLICY_FILE", "some/strict.rego", "etc/kata-opa/strict.rego", "package x\n"),
];

/// An archive with an init and a package with a script that handlers understand; and the files.
fn world() -> World {
    let mut tool = Package::new("tool", "1");
    tool.scripts
        .push(("postinst".to_owned(), b"#!/bin/sh\nset -e\n: > /usr/share/made\n".to_vec()));
    let world = World::new(&[pocket("trixie", &[]).with(init("1")).with(tool)]);
    fs_err::write(world.path("recipe.toml"), RECIPE).unwrap();
    for (_, file, in_guest, text) in GIVEN {
        let path = world.path(file);
        if file.ends_with(".tar") {
            fs_err::write(path, tarball(in_guest, text)).unwrap();
            continue;
        }
        let path = if file.ends_with(".rego") { path } else { path.join("modules.dep") };
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }
    world
}

fn tarball(path: &str, text: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o755);
    header.set_size(text.len() as u64);
    tar.append_data(&mut header, path, text.as_bytes()).unwrap();
    tar.into_inner().unwrap()
}

/// Builds with Kata's variables for all the files, `other` in place of one of them.
fn build(world: &World, verb: &str, other: Option<(&str, &str)>) -> (Option<i32>, String) {
    let named = GIVEN.map(|(variable, file, ..)| match other {
        Some((changed, file)) if changed == variable => (variable, file),
        _ => (variable, file),
    });
    let more = [("AGENT_POLICY", "yes"), ("AGENT_BIN", "my-agent"), ("OSBUILDER_VERSION", "7")];
    let arguments = ["debian", "--recipe", "recipe.toml", "--any-tree", "-o", verb];
    let outcome = world.run(verb, &arguments, &[&named[..], &more].concat());
    (outcome.status, outcome.told)
}

#[test]
fn kata_s_variables_bring_files_of_the_host_into_a_guest() {
    let world = world();
    let (status, told) = build(&world, "rootfs", None);
    assert_eq!(status, Some(0), "{told}");
    for (variable, _, in_guest, text) in GIVEN {
        assert_eq!(world.text(&format!("rootfs/{in_guest}")), text, "{variable}");
    }
    let default = world.path("rootfs/etc/kata-opa/default-policy.rego");
    assert_eq!(fs_err::read_link(default).unwrap(), Path::new("strict.rego"));
    // Those of the confidential components make the guest a confidential one, in which /run is larger.
    assert!(world.text("rootfs/etc/fstab").contains("/run tmpfs nodev,nosuid,size=50%"));
    let summary = world.text(&format!("rootfs/{SUMMARY}"));
    for line in [
        "osbuilder:\n  url: ",
        "  version: \"7\"\n",
        "  name: \"my-agent\"\n",
        "\nscripts-ran-by: \"built-in handlers\"\n",
    ] {
        assert!(summary.contains(line), "{line} in {summary}");
    }
    // From the cache, nothing else is said.
    fs_err::remove_dir_all(world.path("rootfs")).unwrap();
    assert_eq!(build(&world, "rootfs", None).0, Some(0));
    assert_eq!(world.text(&format!("rootfs/{SUMMARY}")), summary);
}

#[test]
fn a_file_that_is_absent_or_no_tarball_is_named_and_nothing_is_built() {
    let world = world();
    fs_err::write(world.path("garbage"), [7; 2000]).unwrap();
    for (variable, file, ..) in GIVEN {
        let wrong = if file.ends_with(".tar") { &["absent", "garbage"][..] } else { &["absent"] };
        for wrong in wrong {
            let (status, told) = build(&world, "rootfs", Some((variable, wrong)));
            assert_ne!(status, Some(0), "{variable}={wrong}");
            let error = told.lines().filter(|line| line.contains(wrong));
            assert!(error.count() > 0, "{variable}={wrong}: {told}");
            assert!(!world.path("rootfs").exists(), "{variable}={wrong}");
        }
    }
}

/// Kata's `kata-collect-data.sh` wants one partition, mounts it without replaying a journal and reads
/// this one path; of an initrd it lets cpio extract the path from what gzip decompresses.
#[test]
fn the_summary_is_where_kata_s_collector_of_data_reads_it() {
    const THIS: &str = "provision::the_summary_is_where_kata_s_collector_of_data_reads_it";
    if let Some((target, text)) = mounted::inside() {
        return assert_eq!(fs_err::read_to_string(target.join(SUMMARY)).unwrap(), text);
    }
    let world = world();
    for verb in ["rootfs", "image", "initrd"] {
        let (status, told) = build(&world, verb, None);
        assert_eq!(status, Some(0), "{told}");
    }
    let text = world.text(&format!("rootfs/{SUMMARY}"));
    for form in ["image", "initrd"] {
        let output = osbuilder_in(world.folder(), &["inspect", form, SUMMARY, "--cat"], &[]);
        assert_eq!(String::from_utf8(output.stdout).unwrap(), text, "{form}");
    }
    let image = world.path("image");
    let bytes = fs_err::read(&image).unwrap();
    let disk = osbuilder::image::read(&bytes, 1).unwrap();
    assert_eq!(disk.parts.table.partitions().len(), 1);
    mounted::run_inside(&Mount {
        image: &image,
        at: disk.parts.file_system_at,
        kind: "ext4",
        test: THIS,
        case: &text,
    });
    if judge::is_missing(&["cpio", "gzip"]) {
        return;
    }
    let script = format!(
        "mkdir tree && cd tree && gzip -dc ../initrd | cpio --quiet --extract --make-directories \
         --no-absolute-filenames {SUMMARY}"
    );
    let folder = world.folder().to_str().unwrap();
    judge::run("env", &["-C", folder, "sh", "-c", &script]);
    assert_eq!(world.text(&format!("tree/{SUMMARY}")), text);
    assert_eq!(fs_err::read_dir(world.path("tree")).unwrap().count(), 1, "nothing else came");
}
