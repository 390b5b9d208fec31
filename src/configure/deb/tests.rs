//! Packages made for tests, and whole runs over a tiny tree with the host's perl in it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use super::*;
use crate::configure::foreign::{self, Runner};
use crate::configure::{Place, configure_in};
use crate::distro::Architecture;
use crate::epoch::Epoch;
use crate::package::deb::scripts::Triggers;
use crate::package::deb::stanza::Stanza;
use crate::recipe::Scripts;
use crate::store::Store;
use crate::tree::{Content, Device, Inode, Kind, Meta};
use crate::unpack::{Installed, Unpacked};

/// A package without files or scripts; `fields` are lines of its control file.
pub(super) fn package(name: &str, fields: &str) -> Package {
    let text = format!("Package: {name}\nVersion: 1\nArchitecture: all\n{fields}\n");
    Package {
        name: name.parse().unwrap(),
        version: "1".into(),
        architecture: "all".into(),
        database_name: name.into(),
        control: Stanza::parse(text.trim_end().as_bytes()).unwrap(),
        scripts: BTreeMap::new(),
        conffiles: Vec::new(),
        conffile_digests: Vec::new(),
        triggers: Triggers::default(),
        paths: Vec::new(),
    }
}

/// A package with scripts, each a program for perl.
fn scripted(name: &str, fields: &str, scripts: &[(ScriptKind, &str)]) -> Package {
    let mut package = package(name, fields);
    for (kind, text) in scripts {
        let text = format!("#!/usr/bin/perl\nuse strict;\n{text}\n");
        package.scripts.insert(*kind, text.into_bytes().into());
    }
    package
}

fn path(text: &str) -> TreePath {
    TreePath::parse(text).unwrap()
}

fn put(tree: &mut Tree, place: &str, mode: u16, bytes: &[u8]) {
    let parent = path(place).parent().unwrap();
    tree.make_directories(&parent, &Meta::root(0o755)).unwrap();
    let kind = Kind::Regular(Content::Inline(bytes.into()));
    tree.insert(&path(place), Inode { meta: Meta::root(mode), kind }).unwrap();
}

/// A tree with perl and the scripts of `packages`; none where the host has no such perl.
fn unpacked(packages: Vec<Package>) -> Option<Unpacked> {
    let mut tree = Tree::default();
    for directory in ["proc", "dev", "tmp", "run", "etc", "usr/sbin", "var/lib/dpkg/triggers"] {
        tree.make_directories(&path(directory), &Meta::root(0o755)).unwrap();
    }
    let library = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let files = ["libc.so.6", "libm.so.6", "libcrypt.so.1"].map(|name| format!("{library}/{name}"));
    let loader = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"];
    let loader = loader.into_iter().find(|loader| Path::new(loader).exists())?;
    for file in files.iter().map(String::as_str).chain([loader, "/usr/bin/perl"]) {
        put(&mut tree, file, 0o755, &fs_err::read(file).ok()?);
    }
    put(&mut tree, "var/lib/dpkg/triggers/Unincorp", 0o644, b"");
    put(&mut tree, "etc/untouched", 0o640, b"as it was");
    // `use strict` is all that the scripts load.
    put(&mut tree, "etc/perl/strict.pm", 0o644, b"package strict; 1;");
    for package in &packages {
        for (kind, bytes) in &package.scripts {
            let place = format!("var/lib/dpkg/info/{}.{}", package.database_name, kind.name());
            put(&mut tree, &place, 0o755, bytes);
        }
    }
    Some(Unpacked { tree, packages: Installed::Deb(packages) })
}

/// Configures packages; returns the tree and the events, or nothing where the host has no perl.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn run(store: &Store, packages: Vec<Package>) -> Option<(Result<Tree, Error>, Vec<Event>)> {
    let Some(unpacked) = unpacked(packages) else {
        eprintln!("skipped: this host has no perl where Debian has it");
        return None;
    };
    let architecture = Architecture::host().unwrap();
    let events = Mutex::new(Vec::new());
    let listener = |event| events.lock().unwrap().push(event);
    let epoch = Epoch::new(1_000_000_000).unwrap();
    let result = configure_in(place(architecture), unpacked, epoch, store, &listener);
    Some((result.map(|configured| configured.tree), events.into_inner().unwrap()))
}

fn place(architecture: Architecture) -> Place {
    Place { architecture, scripts: Scripts::Programs, plain_chroot: false }
}

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    (folder, store)
}

fn content(tree: &Tree, store: &Store, place: &str) -> String {
    let Kind::Regular(content) = &tree.get(&path(place)).unwrap().kind else { panic!("{place}") };
    let mut text = String::new();
    std::io::Read::read_to_string(&mut content.open(store).unwrap(), &mut text).unwrap();
    text
}

fn printed(events: &[Event]) -> Vec<String> {
    let line = |event: &Event| match event {
        Event::ScriptOutput { package, script, line } => Some(format!("{package} {script} {line}")),
        _ => None,
    };
    events.iter().filter_map(line).collect()
}

const SHOW: &str = "$| = 1; print \"@ARGV|$ENV{DPKG_MAINTSCRIPT_PACKAGE}|$0\\n\";";

#[test]
fn scripts_run_in_order_with_dpkgs_arguments_and_only_once() {
    let (_folder, store) = store();
    let packages = || {
        let mut bin = scripted("bin", "Essential: yes", &[(ScriptKind::Postinst, SHOW)]);
        bin.triggers = Triggers::parse(b"interest-noawait cache\ninterest other\n").unwrap();
        let asks = format!(
            "{SHOW} open(F, '>', '/var/lib/dpkg/triggers/Unincorp'); print F \"other -\\n\"; close F;"
        );
        let scripts = [(ScriptKind::Preinst, SHOW), (ScriptKind::Postinst, asks.as_str())];
        let mut app = scripted("app", "Depends: bin", &scripts);
        app.triggers = Triggers::parse(b"activate-noawait cache\n").unwrap();
        vec![app, bin]
    };
    let Some((tree, events)) = run(&store, packages()) else { return };
    let tree = tree.unwrap();
    let expected = [
        "bin postinst configure |bin|/var/lib/dpkg/info/bin.postinst",
        "app preinst install|app|/var/lib/dpkg/tmp.ci/preinst",
        "app postinst configure |app|/var/lib/dpkg/info/app.postinst",
        "bin postinst triggered cache other|bin|/var/lib/dpkg/info/bin.postinst",
    ];
    assert_eq!(printed(&events), expected);
    let status = content(&tree, &store, "var/lib/dpkg/status");
    assert_eq!(status.matches("Status: install ok installed").count(), 2);
    let (again, events) = run(&store, packages()).unwrap();
    assert_eq!(again.unwrap(), tree);
    assert_eq!(printed(&events), [""; 0]);
}

#[test]
fn what_scripts_change_is_read_back_with_owners_and_without_later_times() {
    let (_folder, store) = store();
    let text = "
        mkdir '/var/lib/app', 02750; chmod 02750, '/var/lib/app'; chown 7, 8, '/var/lib/app';
        open(F, '>', '/var/lib/app/data'); print F 'x'; close F;
        my @s = stat '/var/lib/app'; die 'owner not shown' if $s[4] != 7;
        open(F, '>', '/tmp/gone'); close F;
        symlink '/etc/untouched', '/etc/link';
        die 'no policy' if ! -x '/usr/sbin/policy-rc.d';";
    let Some((tree, _)) = run(&store, vec![scripted("app", "", &[(ScriptKind::Postinst, text)])])
    else {
        return;
    };
    let tree = tree.unwrap();
    let meta = |place: &str| tree.get(&path(place)).unwrap().meta.clone();
    let folder = meta("var/lib/app");
    assert_eq!((folder.uid, folder.gid, folder.mode, folder.mtime), (7, 8, 0o2750, 1_000_000_000));
    assert_eq!((meta("var/lib/app/data").uid, meta("var/lib/app/data").gid), (0, 8));
    assert_eq!((meta("etc/untouched").mode, meta("etc/untouched").mtime), (0o640, 0));
    assert_eq!(content(&tree, &store, "etc/untouched"), "as it was");
    for gone in ["tmp/gone", "usr/sbin/policy-rc.d", "var/lib/dpkg/tmp.ci.app"] {
        assert!(tree.get(&path(gone)).is_none(), "{gone}");
    }
    let null = Kind::CharacterDevice(Device { major: 1, minor: 3 });
    assert_eq!(tree.get(&path("dev/null")).unwrap().kind, null);
}

#[test]
fn s16_hostile_leftovers_are_described_and_never_followed() {
    let (_folder, store) = store();
    let text = "
        symlink '/etc/shadow', '/etc/os-release';
        mkdir '/etc/closed'; open(F, '>', '/etc/closed/inside'); close F;
        chmod 0, '/etc/closed/inside', '/etc/closed';
        open(F, '>', \"/etc/odd \\x01\\n\\xff\"); close F;
        link '/etc/untouched', '/etc/second';";
    let Some((tree, _)) = run(&store, vec![scripted("app", "", &[(ScriptKind::Postinst, text)])])
    else {
        return;
    };
    let tree = tree.unwrap();
    let kind = |place: &[u8]| tree.get(&TreePath::parse(place).unwrap()).unwrap().kind.clone();
    assert_eq!(kind(b"etc/os-release"), Kind::Symlink((*b"/etc/shadow").into()));
    assert_eq!(tree.get(&path("etc/closed")).unwrap().meta.mode, 0);
    assert!(matches!(kind(b"etc/closed/inside"), Kind::Regular(content) if content.size() == 0));
    assert!(matches!(kind(b"etc/odd \x01\n\xff"), Kind::Regular(_)));
    assert_eq!(tree.lookup(&path("etc/second")), tree.lookup(&path("etc/untouched")));
}

#[test]
fn s16_a_path_deeper_than_any_tree_is_refused_without_overflow() {
    let (_folder, store) = store();
    let text = "chdir '/tmp'; for (1..3000) { mkdir 'dd'; chdir 'dd'; }";
    let Some((tree, _)) = run(&store, vec![scripted("app", "", &[(ScriptKind::Postinst, text)])])
    else {
        return;
    };
    assert!(matches!(tree, Err(Error::BadPath(_))));
}

#[test]
fn s16_a_link_that_a_script_plants_under_later_files_leads_nowhere_outside() {
    let (_folder, store) = store();
    let outside = tempfile::tempdir().unwrap();
    let text = format!("symlink '{}', '/usr/late' or die;", outside.path().display());
    let first = scripted("first", "Essential: yes", &[(ScriptKind::Postinst, &text)]);
    let mut second = package("second", "");
    second.paths = vec![path("usr/late"), path("usr/late/file")];
    let Some(mut unpacked) = unpacked(vec![first, second]) else { return };
    put(&mut unpacked.tree, "usr/late/file", 0o644, b"text");
    let epoch = Epoch::default();
    let architecture = Architecture::host().unwrap();
    let result = configure_in(place(architecture), unpacked, epoch, &store, &crate::event::nobody);
    assert!(matches!(result, Err(Error::Disk { .. })), "{result:?}");
    assert_eq!(fs_err::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn s17_a_failing_script_is_named_with_its_last_lines_escaped() {
    let (_folder, store) = store();
    let text = "$| = 1; print \"one\\n\\e]52;c;x\\x07\\n\"; print \"\\r over\"; exit 3;";
    let Some((result, events)) =
        run(&store, vec![scripted("bad", "", &[(ScriptKind::Postinst, text)])])
    else {
        return;
    };
    let message = result.unwrap_err().to_string();
    let expected = "the postinst script of bad failed with exit status 3\n  \
                    one\n  \\x1b]52;c;x\\x07\n  \\x0d over";
    assert_eq!(message, expected);
    assert!(printed(&events).iter().all(|line| !line.contains('\u{1b}')));
}

/// A program for ARM of 64 bits: prints `on ARM` and ends with success. A64 instructions after one
/// segment that holds the whole file (elf(5)).
fn arm_program() -> Vec<u8> {
    const BASE: u64 = 0x1_0000;
    let code: [u32; 8] = [
        0xd280_0020, // mov x0, #1
        0x1000_00e1, // adr x1, message
        0xd280_00e2, // mov x2, #7
        0xd280_0808, // mov x8, #64 (write)
        0xd400_0001, // svc #0
        0xd280_0000, // mov x0, #0
        0xd280_0ba8, // mov x8, #93 (exit)
        0xd400_0001, // svc #0
    ];
    let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend([2, 0, 183, 0, 1, 0, 0, 0]);
    for word in [BASE + 120, 64, 0] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    for word in [0, BASE, BASE, 160, 160, 0x1000] {
        bytes.extend(word.to_le_bytes());
    }
    code.iter().for_each(|instruction| bytes.extend(instruction.to_le_bytes()));
    bytes.extend(b"on ARM\n\0");
    bytes
}

#[test]
fn s19_scripts_of_another_processor_run_by_an_emulator_in_the_same_sandbox() {
    match foreign::runner(Architecture::Aarch64).unwrap() {
        Runner::BuiltIn(why) => return crate::testing::skip(&why),
        Runner::Kernel | Runner::Emulator(_) => {}
    }
    let (_folder, store) = store();
    let mut app = package("app", "");
    app.scripts.insert(ScriptKind::Postinst, arm_program().into());
    let Some(unpacked) = unpacked(vec![app]) else { return };
    let events = Mutex::new(Vec::new());
    let listener = |event| events.lock().unwrap().push(event);
    let arm = Architecture::Aarch64;
    configure_in(place(arm), unpacked, Epoch::default(), &store, &listener).unwrap();
    assert_eq!(printed(&events.into_inner().unwrap()), ["app postinst on ARM"]);
}
