//! What probes do inside: each says what it found, a line for each answer.

use super::*;

/// The error of a raw call, or `ok`.
pub(super) fn outcome(result: i64) -> String {
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

pub(super) fn raw(number: libc::c_long, arguments: [i64; 5]) -> String {
    let [a, b, c, d, e] = arguments;
    // SAFETY: the probes pass null pointers and small numbers, which the kernel refuses or ignores.
    outcome(unsafe { libc::syscall(number, a, b, c, d, e) })
}

pub(super) fn write_to(path: &str) -> String {
    let opened = rustix::fs::open(path, OFlags::WRONLY, Mode::empty());
    match opened.and_then(|file| rustix::io::write(&file, b"b")) {
        Ok(_) => "ok".into(),
        Err(errno) => named(errno.raw_os_error()),
    }
}

pub(super) fn named(error: i32) -> String {
    // SAFETY: sets this thread's own error number.
    unsafe { *libc::__errno_location() = error };
    outcome(-1)
}

#[expect(clippy::print_stdout, reason = "the probe's only way to answer")]
pub(super) fn say(text: impl std::fmt::Display) {
    println!("= {text}");
}
pub(super) fn files() {
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

pub(super) fn network() {
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

pub(super) fn processes() {
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

pub(super) fn controls() {
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

pub(super) fn descriptors() {
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

pub(super) fn kernel() {
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

pub(super) fn owners() {
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

pub(super) fn bomb() {
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

pub(super) fn fill() {
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

pub(super) fn daemon() {
    // SAFETY: the child only writes and sleeps.
    if unsafe { libc::fork() } == 0 {
        for number in 0.. {
            fs_err::write("/tmp/alive", format!("{number}")).unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
