//! Probes: what a hostile maintainer script would try, one test for each numbered
//! threat.
//!
//! The program that runs in the sandbox is this test binary itself, laid out with its libraries in
//! an otherwise empty tree; [`inside`] is its way in. Run by root, the whole suite runs once more
//! as an ordinary user.

#![expect(unsafe_code, reason = "probes are raw system calls")]

mod exhaustion;
mod probes;
mod terminal;

use std::collections::BTreeSet;
use std::ffi::CString;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::Instant;

use probes::{outcome, say, write_to};

use super::*;
use crate::tree::Device;

/// The name of [`inside`] for the test harness.
const INSIDE: &str = "sandbox::tests::inside";

/// Lays out a tree with this binary as `/probe`, and what it needs.
fn prepared(limits: Limits) -> Prepared {
    prepared_within(limits, Walls::Namespaces)
}

fn prepared_within(limits: Limits, walls: Walls<'_>) -> Prepared {
    let prepared = Prepared::new(limits, walls, None).unwrap();
    let root = prepared.directory();
    for directory in ["proc", "dev", "tmp", "etc"] {
        fs_err::create_dir(root.join(directory)).unwrap();
    }
    fs_err::copy("/proc/self/exe", root.join("probe")).unwrap();
    for library in libraries() {
        let place = root.join(library.trim_start_matches('/'));
        fs_err::create_dir_all(place.parent().unwrap()).unwrap();
        fs_err::copy(&library, place).unwrap();
    }
    // The interpreter's path is fixed in the binary and may be a link on this host.
    for (link, target) in [("lib64", "usr/lib64"), ("lib", "usr/lib")] {
        if !root.join(link).exists() {
            symlink(target, root.join(link)).unwrap();
        }
    }
    let loader = Path::new("/lib64/ld-linux-x86-64.so.2");
    if loader.exists() && !root.join("lib64/ld-linux-x86-64.so.2").exists() {
        fs_err::create_dir_all(root.join("usr/lib64")).unwrap();
        fs_err::copy(loader, root.join("usr/lib64/ld-linux-x86-64.so.2")).unwrap();
    }
    prepared
}

/// The libraries that this process has mapped.
fn libraries() -> BTreeSet<String> {
    let maps = fs_err::read_to_string("/proc/self/maps").unwrap();
    let paths = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    paths.filter(|path| path.contains(".so")).map(str::to_owned).collect()
}

/// Runs a probe and returns how it ended and what it printed.
fn probe_in(sandbox: &mut Sandbox, name: &str) -> Result<(Status, String), Error> {
    let variable = format!("PROBE={name}");
    let command = Command {
        arguments: vec![
            b"/probe",
            b"--ignored",
            b"--exact",
            INSIDE.as_bytes(),
            b"--nocapture",
            b"--quiet",
        ],
        environment: vec![variable.as_bytes(), b"RUST_TEST_THREADS=1"],
        input: None,
    };
    let mut printed = Vec::new();
    let status = sandbox.run(&command, &mut |bytes| printed.extend_from_slice(bytes))?;
    Ok((status, String::from_utf8_lossy(&printed).into_owned()))
}

/// Runs one probe in a sandbox of its own; returns the lines after `= `.
fn probe(name: &str) -> Vec<String> {
    let mut sandbox = prepared(Limits::default()).enter().unwrap();
    let (status, printed) = probe_in(&mut sandbox, name).unwrap();
    assert!(status.is_success(), "{status}: {printed}");
    answers(&printed)
}

fn answers(printed: &str) -> Vec<String> {
    printed.lines().filter_map(|line| line.strip_prefix("= ")).map(str::to_owned).collect()
}

/// What runs in the sandbox.
#[test]
#[ignore = "run by the other tests, in a sandbox"]
fn inside() {
    #[expect(clippy::disallowed_methods, reason = "says which probe is asked for")]
    let name = std::env::var("PROBE").unwrap_or_default();
    match name.as_str() {
        "files" => probes::files(),
        "network" => probes::network(),
        "processes" => probes::processes(),
        "controls" => probes::controls(),
        "descriptors" => probes::descriptors(),
        "kernel" => probes::kernel(),
        "owners" => probes::owners(),
        "bomb" => probes::bomb(),
        "sleep" => std::thread::sleep(Duration::from_secs(1_000_000)),
        "fill" => probes::fill(),
        "print" => loop {
            say("x".repeat(60_000));
        },
        "daemon" => probes::daemon(),
        "hoard" => exhaustion::hoard(),
        "deaf" => exhaustion::deaf(),
        "sparse" => exhaustion::sparse(),
        "groups" => exhaustion::groups(),
        "terminal" => terminal::type_into_it(),
        other => panic!("no probe {other}"),
    }
}

#[test]
fn s1_nothing_but_the_tree_is_mounted_and_no_way_leads_out() {
    let lines = probe("files");
    let mounts: Vec<_> = lines.iter().filter(|line| line.starts_with("mount ")).collect();
    for mount in &mounts {
        let place = mount.split(' ').nth(1).unwrap();
        assert!(place == "/" || place.starts_with("/proc") || place.starts_with("/dev"), "{mount}");
    }
    let rest: Vec<_> = lines.iter().skip(mounts.len()).map(String::as_str).collect();
    assert_eq!(rest, ["EPERM", "EPERM", "true"]);
}

#[test]
fn s2_s3_no_network_and_no_socket_of_the_host_is_reachable() {
    use std::os::linux::net::SocketAddrExt as _;
    let name = format!("osbuilder-canary-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let listener = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    listener.set_nonblocking(true).unwrap();
    let prepared = prepared(Limits::default());
    fs_err::write(prepared.directory().join("etc/canary"), &name).unwrap();
    let mut sandbox = prepared.enter().unwrap();
    let (_, printed) = probe_in(&mut sandbox, "network").unwrap();
    let unreachable = ["ENETUNREACH"; 3];
    let unknown = ["EAFNOSUPPORT"; 4];
    let expected: Vec<_> = unreachable.into_iter().chain(unknown).chain(["ECONNREFUSED"]).collect();
    assert_eq!(answers(&printed), expected);
    assert!(listener.accept().is_err());
    std::os::unix::net::UnixStream::connect_addr(&address).expect("outside it can be reached");
}

#[test]
fn s5_no_process_of_the_host_is_visible_and_none_can_be_traced() {
    assert_eq!(probe("processes")[..5], ["true", "EPERM", "EPERM", "EPERM", "EPERM"]);
    for answer in &probe("processes")[5..] {
        assert!(["EACCES", "EPERM", "EROFS"].contains(&answer.as_str()), "{answer}");
    }
}

#[test]
fn s6_controls_of_the_kernel_cannot_be_written_and_its_secrets_are_covered() {
    let answers = probe("controls");
    // The cover of sysrq-trigger is the null device, which takes anything and does nothing.
    for answer in &answers[1..5] {
        assert!(["EROFS", "EACCES", "ENOENT"].contains(&answer.as_str()), "{answer}");
    }
    assert_eq!(answers[5..], ["0"; 4]);
}

#[test]
fn s8_c25_nothing_is_inherited() {
    let _secret = fs_err::File::open("/proc/self/status").unwrap();
    let answers = probe("descriptors");
    let numbers = &answers[0];
    assert!(numbers.starts_with("[0, 1, 2"), "{numbers}");
    assert!(numbers.split(',').count() <= 4, "{numbers}");
    assert_eq!(answers[1..3], ["PROBE RUST_TEST_THREADS", "/"]);
    assert_eq!(
        answers[3..8],
        [
            "Umask: 0022",
            // Rust's own start ignores SIGPIPE (signal 13).
            "SigBlk: 0000000000000000",
            "SigIgn: 0000000000001000",
            "CapBnd: 00000000800000fb",
            "NoNewPrivs: 1",
        ]
    );
    assert_eq!(answers[8..10], ["/dev/null", "true"]);
    assert_eq!(answers[10], "ENOENT");
    assert_ne!(answers[11], "ok");
}

#[test]
fn s4_s7_s9_s10_calls_that_no_script_needs_fail() {
    let answers = probe("kernel");
    let (allowed, rest) = answers.split_at(15);
    assert!(allowed.iter().all(|answer| answer == "EPERM"), "{allowed:?}");
    assert_eq!(rest, ["EPERM", "ENOSYS", "EPERM", "killed"]);
}

#[test]
fn s11_s12_owners_devices_and_capabilities_are_answered_and_recorded() {
    owners_are_recorded(prepared(Limits::default()));
}

fn owners_are_recorded(mut prepared: Prepared) {
    fs_err::write(prepared.directory().join("etc/given"), b"").unwrap();
    let given = TreePath::parse("etc/given").unwrap();
    prepared.mark(&given, Marks { uid: 5, gid: 6, ..Marks::default() }).unwrap();
    let mut sandbox = prepared.enter().unwrap();
    let (_, printed) = probe_in(&mut sandbox, "owners").unwrap();
    let expected = ["0:42", "42", "5:6", "ok", "60640", "0", "ok", "ok", "100755"];
    assert_eq!(answers(&printed), expected);
    let left = sandbox.finish().unwrap();
    let marks = |path: &str| {
        let inode = left.inode(&TreePath::parse(path).unwrap()).unwrap();
        left.record.get(inode).cloned().unwrap_or_default()
    };
    assert_eq!((marks("etc/shadow").uid, marks("etc/shadow").gid), (0, 42));
    assert_eq!(marks("tmp/sda").node, Some(Node::Block(Device { major: 8, minor: 0 })));
    assert_eq!(marks("probe").xattrs[&b"security.capability"[..]].len(), 20);
    assert_eq!(fs_err::read(left.directory().join("etc/shadow")).unwrap(), b"new");
}

#[test]
fn s12_the_tree_honours_neither_set_uid_nor_devices() {
    let prepared = prepared(Limits::default());
    let flags = rustix::fs::statvfs(prepared.directory()).unwrap().f_flag;
    let expected = rustix::fs::StatVfsMountFlags::NOSUID | rustix::fs::StatVfsMountFlags::NODEV;
    assert!(flags.contains(expected), "{flags:?}");
}

#[test]
fn s13_a_program_that_does_not_end_is_ended_with_all_it_started() {
    let limits = Limits { wall: Duration::from_secs(2), processes: 400, ..Limits::default() };
    for name in ["sleep", "bomb"] {
        let mut sandbox = prepared(limits).enter().unwrap();
        let begin = Instant::now();
        let error = probe_in(&mut sandbox, name).unwrap_err();
        assert!(matches!(error, Error::TookTooLong { .. }), "{error}");
        drop(sandbox);
        assert!(begin.elapsed() < Duration::from_secs(15));
    }
}

#[test]
fn s14_files_and_output_are_stopped_at_their_caps() {
    let limits = Limits { bytes: 512 << 20, files: 2000, output: 1 << 20, ..Limits::default() };
    let mut sandbox = prepared(limits).enter().unwrap();
    let (_, printed) = probe_in(&mut sandbox, "fill").unwrap();
    assert_eq!(answers(&printed), ["no storage space", "true"]);
    let error = probe_in(&mut sandbox, "print").unwrap_err();
    assert!(matches!(error, Error::PrintedTooMuch { .. }), "{error}");
}

#[test]
fn s15_what_a_script_leaves_running_is_gone_before_the_next_step() {
    let mut sandbox = prepared(Limits::default()).enter().unwrap();
    let (status, _) = probe_in(&mut sandbox, "daemon").unwrap();
    assert!(status.is_success());
    let file = sandbox.directory().join("tmp/alive");
    let before = fs_err::read(&file).unwrap_or_default();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(fs_err::read(&file).unwrap_or_default(), before);
}

#[test]
fn s18_a_plain_chroot_is_for_root_only_and_records_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let walls = Walls::Chroot(folder.path());
    if !rustix::process::geteuid().is_root() {
        let refused = Prepared::new(Limits::default(), walls, None);
        assert!(matches!(refused, Err(Error::NotRoot)), "{refused:?}");
        return;
    }
    let prepared = prepared_within(Limits::default(), walls);
    fs_err::write(prepared.directory().join("dev/own"), "the tree's own").unwrap();
    owners_are_recorded(prepared);
    let tree = folder.path().join("tree");
    assert_eq!(fs_err::read_dir(tree.join("dev")).unwrap().count(), 1);
    assert!(folder.path().join("used-dev/null").exists());
}

#[test]
fn s18_a_plain_chroot_ends_what_a_script_started() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { wall: Duration::from_secs(2), ..Limits::default() };
    let mut sandbox = prepared_within(limits, Walls::Chroot(folder.path())).enter().unwrap();
    let (status, _) = probe_in(&mut sandbox, "daemon").unwrap();
    assert!(status.is_success());
    let file = sandbox.directory().join("tmp/alive");
    let before = fs_err::read(&file).unwrap_or_default();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(fs_err::read(&file).unwrap_or_default(), before);
    let begin = Instant::now();
    let error = probe_in(&mut sandbox, "sleep").unwrap_err();
    assert!(matches!(error, Error::TookTooLong { .. }), "{error}");
    drop(sandbox);
    assert!(begin.elapsed() < Duration::from_secs(15));
}

#[test]
fn c26_a_tree_whose_proc_or_dev_is_a_link_is_refused() {
    for (name, step) in [("proc", Step::ProcPlace), ("dev", Step::DevPlace)] {
        let prepared = prepared(Limits::default());
        let place = prepared.directory().join(name);
        fs_err::remove_dir(&place).unwrap();
        symlink("/etc", &place).unwrap();
        let error = prepared.enter().unwrap_err();
        assert!(matches!(error, Error::Forbidden { step: at, .. } if at == step), "{error}");
    }
}

#[test]
fn s19_a_missing_program_is_named_and_the_next_one_still_runs() {
    let mut sandbox = prepared(Limits::default()).enter().unwrap();
    let command = Command { arguments: vec![b"/no/such\x1b"], environment: vec![], input: None };
    let error = sandbox.run(&command, &mut |_| {}).unwrap_err();
    assert_eq!(error.to_string(), "cannot execute /no/such\\x1b");
    assert!(probe_in(&mut sandbox, "files").unwrap().0.is_success());
}

#[test]
fn f4_a_process_that_cannot_be_made_ready_is_no_program_that_failed() {
    let mut sandbox = prepared(Limits::default()).enter().unwrap();
    let command =
        Command { arguments: vec![b"/probe"], environment: vec![], input: Some(b"/no/such") };
    let error = sandbox.run(&command, &mut |_| {}).unwrap_err();
    assert!(matches!(error, Error::Forbidden { step: Step::Program, .. }), "{error}");
    assert!(probe_in(&mut sandbox, "files").unwrap().0.is_success());
}

/// Holds a sandbox with a sleeping program until killed.
#[test]
#[ignore = "run by the next test, which kills it"]
fn holder() {
    let mut sandbox = prepared(Limits::default()).enter().unwrap();
    say(sandbox.inside.process.as_raw_nonzero());
    let _never = probe_in(&mut sandbox, "sleep");
}

#[test]
fn f2_killing_the_builder_ends_everything_in_the_sandbox() {
    use std::io::{BufRead as _, BufReader};
    #[expect(clippy::disallowed_methods, reason = "the sandbox's tests start processes")]
    let mut command = std::process::Command::new("/proc/self/exe");
    command.args(["--ignored", "--exact", "sandbox::tests::holder", "--nocapture", "--quiet"]);
    let mut builder = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(builder.stdout.take().unwrap()).lines();
    let line = lines.map_while(Result::ok).find(|line| line.starts_with("= ")).unwrap();
    let first = format!("/proc/{}", line.trim_start_matches("= "));
    assert!(Path::new(&first).exists());
    builder.kill().unwrap();
    builder.wait().unwrap();
    let begin = Instant::now();
    while Path::new(&first).exists() {
        assert!(begin.elapsed() < Duration::from_secs(5), "{first} lives on");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs this suite once more without privileges and without subordinate ids.
#[test]
fn the_probes_hold_for_an_ordinary_user_too() {
    use std::os::unix::process::CommandExt as _;
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs_err::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let copy = folder.path().join("tests");
    fs_err::copy("/proc/self/exe", &copy).unwrap();
    fs_err::set_permissions(&copy, PermissionsExt::from_mode(0o755)).unwrap();
    #[expect(clippy::disallowed_methods, reason = "the sandbox's tests start processes")]
    let mut command = std::process::Command::new(&copy);
    command
        .args(["sandbox::tests::", "configure::deb::tests::", "--test-threads=2"])
        .uid(65534)
        .gid(65534);
    let output = command.current_dir(folder.path()).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && printed.contains("s1_nothing"), "{printed}");
}
