//! Probes: what a hostile maintainer script would try, one test for each numbered
//! threat.
//!
//! The program that runs in the sandbox is this test binary itself, laid out with its libraries in
//! an otherwise empty tree; [`inside`] is its way in. Run by root, the whole suite runs once more
//! as an ordinary user.

#![expect(unsafe_code, reason = "probes are raw system calls")]

mod exhaustion;
mod terminal;

use std::collections::BTreeSet;
use std::ffi::CString;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::Instant;

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

/// The error of a raw call, or `ok`.
fn outcome(result: i64) -> String {
    if result >= 0 {
        return "ok".into();
    };
    let error = std::io::Error::last_os_error();
    Errno::from_io_error(&error).map_or_else(
        || error.to_string(),
        |errno| {
            let name = format!("{errno:?}");
            match errno {
                Errno::PERM => "EPERM".into(),
                Errno::NOSYS => "ENOSYS".into(),
                Errno::ROFS => "EROFS".into(),
                Errno::ACCESS => "EACCES".into(),
                Errno::NOENT => "ENOENT".into(),
                Errno::NXIO => "ENXIO".into(),
                Errno::AFNOSUPPORT => "EAFNOSUPPORT".into(),
                // The internet protocols differ in how they say that there is no interface.
                Errno::NETUNREACH | Errno::ADDRNOTAVAIL => "ENETUNREACH".into(),
                Errno::CONNREFUSED => "ECONNREFUSED".into(),
                _ => name,
            }
        },
    )
}

fn raw(number: libc::c_long, arguments: [i64; 5]) -> String {
    let [a, b, c, d, e] = arguments;
    // SAFETY: the probes pass null pointers and small numbers, which the kernel refuses or ignores.
    outcome(unsafe { libc::syscall(number, a, b, c, d, e) })
}

fn write_to(path: &str) -> String {
    let opened = rustix::fs::open(path, OFlags::WRONLY, Mode::empty());
    match opened.and_then(|file| rustix::io::write(&file, b"b")) {
        Ok(_) => "ok".into(),
        Err(errno) => named(errno.raw_os_error()),
    }
}

fn named(error: i32) -> String {
    // SAFETY: sets this thread's own error number.
    unsafe { *libc::__errno_location() = error };
    outcome(-1)
}

#[expect(clippy::print_stdout, reason = "the probe's only way to answer")]
fn say(text: impl std::fmt::Display) {
    println!("= {text}");
}

/// What runs in the sandbox.
#[test]
#[ignore = "run by the other tests, in a sandbox"]
fn inside() {
    #[expect(clippy::disallowed_methods, reason = "says which probe is asked for")]
    let name = std::env::var("PROBE").unwrap_or_default();
    match name.as_str() {
        "files" => inside_files(),
        "network" => inside_network(),
        "processes" => inside_processes(),
        "controls" => inside_controls(),
        "descriptors" => inside_descriptors(),
        "kernel" => inside_kernel(),
        "owners" => inside_owners(),
        "bomb" => inside_bomb(),
        "sleep" => std::thread::sleep(Duration::from_secs(1_000_000)),
        "fill" => inside_fill(),
        "print" => loop {
            say("x".repeat(60_000));
        },
        "daemon" => inside_daemon(),
        "hoard" => exhaustion::hoard(),
        "deaf" => exhaustion::deaf(),
        "sparse" => exhaustion::sparse(),
        "groups" => exhaustion::groups(),
        "terminal" => terminal::type_into_it(),
        other => panic!("no probe {other}"),
    }
}

fn inside_files() {
    for line in fs_err::read_to_string("/proc/self/mountinfo").unwrap().lines() {
        let fields: Vec<_> = line.split(' ').collect();
        say(format!("mount {} {}", fields[4], line.rsplit(' ').nth(2).unwrap()));
    }
    let canary = c"/canary";
    // SAFETY: a path that ends in NUL.
    say(outcome(i64::from(unsafe { libc::chroot(canary.as_ptr()) })));
    say(raw(libc::SYS_open_by_handle_at, [libc::AT_FDCWD.into(), 0, 0, 0, 0]));
    let above = fs_err::read_dir("/../../..").unwrap().count();
    say(above == fs_err::read_dir("/").unwrap().count());
}

fn inside_network() {
    for address in ["192.0.2.1:80", "127.0.0.1:9", "[2001:db8::1]:80"] {
        let address = address.parse().unwrap();
        let error = std::net::TcpStream::connect_timeout(&address, Duration::from_secs(2));
        say(named(error.unwrap_err().raw_os_error().unwrap_or(0)));
    }
    for family in [libc::AF_VSOCK, libc::AF_NETLINK, libc::AF_PACKET, libc::AF_ALG] {
        // SAFETY: takes no pointers.
        say(outcome(i64::from(unsafe { libc::socket(family, libc::SOCK_DGRAM, 0) })));
    }
    use std::os::linux::net::SocketAddrExt as _;
    let name = fs_err::read("/etc/canary").unwrap();
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
    let error = std::os::unix::net::UnixStream::connect_addr(&address).unwrap_err();
    say(named(error.raw_os_error().unwrap()));
}

fn inside_processes() {
    let numbers = fs_err::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<i64>().ok());
    say(format!("{:?}", numbers.collect::<Vec<_>>().len() <= 2));
    say(raw(libc::SYS_ptrace, [libc::PTRACE_ATTACH.into(), 1, 0, 0, 0]));
    say(raw(libc::SYS_process_vm_readv, [1, 0, 0, 0, 0]));
    say(raw(libc::SYS_pidfd_getfd, [0, 0, 0, 0, 0]));
    say(raw(libc::SYS_kcmp, [1, 1, 0, 0, 0]));
    say(write_to("/proc/1/mem"));
    let root = rustix::fs::readlink("/proc/1/root", Vec::new()).unwrap_err();
    say(named(root.raw_os_error()));
}

fn inside_controls() {
    for path in [
        "/proc/sysrq-trigger",
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/modprobe",
        "/proc/self/oom_score_adj",
        "/sys/kernel/uevent_helper",
    ] {
        say(write_to(path));
    }
    for path in ["/proc/kcore", "/proc/keys", "/proc/kmsg", "/proc/timer_list"] {
        say(fs_err::read(path).map_or(0, |bytes| bytes.len()));
    }
}

fn inside_descriptors() {
    let mut numbers: Vec<i32> = fs_err::read_dir("/proc/self/fd")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap())
        .collect();
    numbers.sort_unstable();
    // One more is the directory being read.
    say(format!("{numbers:?}"));
    let mut names: Vec<_> = std::env::vars().map(|(name, _)| name).collect();
    names.sort();
    say(names.join(" "));
    say(std::env::current_dir().unwrap().display());
    let status = fs_err::read_to_string("/proc/self/status").unwrap();
    for line in status.lines().filter(|line| {
        ["SigIgn", "SigBlk", "Umask", "NoNewPrivs", "CapBnd"]
            .iter()
            .any(|key| line.starts_with(key))
    }) {
        say(line.replace('\t', " "));
    }
    say(fs_err::read_link("/proc/self/fd/0").unwrap().display());
    // SAFETY: takes no pointers.
    say(unsafe { libc::getsid(0) == libc::getpid() });
    say(write_to("/dev/tty"));
    say(write_to("/proc/1/exe"));
}

fn inside_kernel() {
    let calls = [
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_mount,
        libc::SYS_fsopen,
        libc::SYS_bpf,
        libc::SYS_io_uring_setup,
        libc::SYS_userfaultfd,
        libc::SYS_perf_event_open,
        libc::SYS_init_module,
        libc::SYS_kexec_load,
        libc::SYS_reboot,
        libc::SYS_clock_settime,
        libc::SYS_swapon,
        libc::SYS_setns,
    ];
    for call in calls {
        say(raw(call, [0; 5]));
    }
    say(raw(libc::SYS_unshare, [libc::CLONE_NEWUSER.into(), 0, 0, 0, 0]));
    say(raw(libc::SYS_clone3, [0; 5]));
    say(raw(libc::SYS_ioctl, [0, 0x5412, 0, 0, 0]));
    // A call of the 32-bit interface kills whoever makes it.
    // SAFETY: the child does nothing but make one call and exit.
    let child = unsafe { libc::fork() };
    if child == 0 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the old gate with number 20 is `getpid`; only the result register changes.
        unsafe {
            std::arch::asm!("int 0x80", inlateout("eax") 20 => _);
        }
        kernel::leave(0);
    }
    let mut status = 0;
    // SAFETY: `status` is valid for writing.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    say(if status == 0 { "alive" } else { "killed" });
}

fn inside_owners() {
    let path = "/etc/shadow";
    fs_err::write(path, b"secret").unwrap();
    std::os::unix::fs::chown(path, Some(0), Some(42)).unwrap();
    let status = fs_err::metadata(path).unwrap();
    say(format!("{}:{}", status.uid(), status.gid()));
    // As shadow's tools do: the new file gets the owner that the old one shows.
    fs_err::write("/etc/shadow+", b"new").unwrap();
    std::os::unix::fs::chown("/etc/shadow+", Some(status.uid()), Some(status.gid())).unwrap();
    fs_err::rename("/etc/shadow+", path).unwrap();
    say(fs_err::metadata(path).unwrap().gid());
    let given = fs_err::metadata("/etc/given").unwrap();
    say(format!("{}:{}", given.uid(), given.gid()));
    let node = CString::new("/tmp/sda").unwrap();
    // SAFETY: a path that ends in NUL.
    let made = unsafe { libc::mknod(node.as_ptr(), libc::S_IFBLK | 0o660, libc::makedev(8, 0)) };
    say(outcome(made.into()));
    say(format!("{:o}", fs_err::metadata("/tmp/sda").unwrap().mode()));
    say(fs_err::read("/tmp/sda").unwrap().len());
    let value = [1u8, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    // SAFETY: texts that end in NUL, and a value with its length.
    let set = unsafe {
        let (path, name) = (c"/probe".as_ptr(), c"security.capability".as_ptr());
        libc::setxattr(path, name, value.as_ptr().cast(), value.len(), 0)
    };
    say(outcome(set.into()));
    // SAFETY: takes no pointers.
    say(outcome(unsafe { libc::setuid(33) }.into()));
    fs_err::write("/tmp/set-uid", b"").unwrap();
    fs_err::set_permissions("/tmp/set-uid", PermissionsExt::from_mode(0o4755)).unwrap();
    std::os::unix::fs::chown("/tmp/set-uid", Some(7), None).unwrap();
    say(format!("{:o}", fs_err::metadata("/tmp/set-uid").unwrap().mode()));
}

fn inside_bomb() {
    for _ in 0..20 {
        // SAFETY: parent and child both go on with the same loop.
        if unsafe { libc::fork() } < 0 {
            break;
        }
    }
    loop {
        std::thread::sleep(Duration::from_secs(1000));
    }
}

fn inside_fill() {
    use std::io::Write as _;
    let mut file = fs_err::File::create("/tmp/big").unwrap();
    let error = loop {
        if let Err(error) = file.write_all(&[1; 1 << 16]) {
            break error;
        }
    };
    say(error.kind());
    let files = (0..).find(|number| fs_err::write(format!("/tmp/{number}"), b"").is_err());
    say(files.unwrap() < 2000);
}

fn inside_daemon() {
    // SAFETY: the child only writes and sleeps.
    if unsafe { libc::fork() } == 0 {
        for number in 0.. {
            fs_err::write("/tmp/alive", format!("{number}")).unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
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
