//! The seccomp filter of scripts: which system calls pass, fail, are answered, or are shown to us.
//!
//! In: nothing; out: a program of classic BPF instructions as `seccomp(2)` takes it. It allows what
//! it does not name, because maintainer scripts are ordinary programs; what it names is the
//! kernel's attack surface that no maintainer script needs (the tests S2, S4, S5, S7, S10) and
//! what an ordinary user cannot do on disk. Capabilities and namespaces guard the same doors; the
//! filter is the second lock.
//!
//! Instructions and the layout of `struct seccomp_data`: `linux/filter.h`, `linux/seccomp.h`.

use libc::{c_long, sock_filter};

/// The architecture that calls must come from, as `linux/audit.h` numbers them.
#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const AUDIT_ARCH: u32 = 0xC000_00B7;
#[cfg(target_arch = "powerpc64")]
const AUDIT_ARCH: u32 = 0xC000_0015;
#[cfg(target_arch = "s390x")]
const AUDIT_ARCH: u32 = 0x8000_0016;

/// Calls with this bit are of the x32 ABI, under x86_64's architecture number.
#[cfg(target_arch = "x86_64")]
const X32_BIT: u32 = 0x4000_0000;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// Numbers that are the same on all architectures and newer than the headers in use.
const SYS_SETXATTRAT: c_long = 463;
const SYS_GETXATTRAT: c_long = 464;
const SYS_REMOVEXATTRAT: c_long = 466;
const SYS_OPEN_TREE_ATTR: c_long = 467;
const SYS_FILE_SETATTR: c_long = 469;

/// `kexec_file_load`, which some C libraries do not name.
const KEXEC_FILE_LOAD: c_long = if cfg!(target_arch = "x86_64") {
    320
} else if cfg!(target_arch = "aarch64") {
    294
} else if cfg!(target_arch = "powerpc64") {
    382
} else {
    381
};

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// It fails with this error.
    Fail(i32),
    /// It is answered with success and does nothing.
    Pretend,
    /// The supervisor answers it.
    Notify,
    /// It fails with `error` if argument `index` has any bit of `mask`; else it passes.
    FailOnBits { index: u32, mask: u32, error: i32 },
    /// It fails with `error` if the low half of argument `index` is one of `values`; else it
    /// passes.
    FailOnValues { index: u32, values: &'static [u32], error: i32 },
    /// It fails with `error` unless the low half of argument `index` is one of `values`.
    FailUnlessValues { index: u32, values: &'static [u32], error: i32 },
}

/// All flags of `clone(2)` that make a namespace, but `CLONE_NEWTIME`, which `clone` cannot take.
const NEW_NAMESPACES: u32 = 0x7E02_0000;
/// `TIOCSTI` and `TIOCLINUX` of `asm-generic/ioctls.h`: typing into somebody's terminal.
const TERMINAL_INPUT: &[u32] = &[0x5412, 0x541C];
/// `AF_UNIX`, `AF_INET` and `AF_INET6`, the latter two in a namespace without interfaces.
/// `AF_NETLINK` must fail as on a kernel without it: shadow's tools go on without audit then.
const SOCKET_FAMILIES: &[u32] = &[1, 2, 10];

/// The position of `clone`'s flags: s390x passes the stack first.
const CLONE_FLAGS: u32 = if cfg!(target_arch = "s390x") { 1 } else { 0 };

/// Calls that no maintainer script needs.
const FORBIDDEN: &[c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    KEXEC_FILE_LOAD,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_madvise,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
    SYS_OPEN_TREE_ATTR,
    SYS_FILE_SETATTR,
];

/// Forbidden calls that only some architectures have.
#[cfg(target_arch = "x86_64")]
const FORBIDDEN_HERE: &[c_long] =
    &[libc::SYS__sysctl, libc::SYS_ioperm, libc::SYS_iopl, libc::SYS_modify_ldt, libc::SYS_uselib];
#[cfg(target_arch = "aarch64")]
const FORBIDDEN_HERE: &[c_long] = &[];
#[cfg(target_arch = "powerpc64")]
const FORBIDDEN_HERE: &[c_long] =
    &[libc::SYS__sysctl, libc::SYS_subpage_prot, libc::SYS_umount, libc::SYS_uselib];
#[cfg(target_arch = "s390x")]
const FORBIDDEN_HERE: &[c_long] = &[libc::SYS__sysctl, libc::SYS_umount, libc::SYS_uselib];

/// Answered with success. Changing to another user cannot work where one user is mapped, and
/// writing through to the disk is a waste in a file system of memory.
const PRETENDED: &[c_long] = &[
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_sync,
    libc::SYS_syncfs,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    SYNC_FILE_RANGE,
];

/// POWER passes the flags second.
#[cfg(target_arch = "powerpc64")]
const SYNC_FILE_RANGE: c_long = libc::SYS_sync_file_range2;
#[cfg(not(target_arch = "powerpc64"))]
const SYNC_FILE_RANGE: c_long = libc::SYS_sync_file_range;

/// Answered by the supervisor: what sets or shows owners, devices and privileged attributes.
const NOTIFIED: &[c_long] = &[
    libc::SYS_newfstatat,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_mknodat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_getxattr,
    libc::SYS_lgetxattr,
    libc::SYS_fgetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
];

/// Notified calls that newer architectures lack.
#[cfg(not(target_arch = "aarch64"))]
const NOTIFIED_HERE: &[c_long] =
    &[libc::SYS_chown, libc::SYS_lchown, libc::SYS_mknod, libc::SYS_stat, libc::SYS_lstat];
#[cfg(target_arch = "aarch64")]
const NOTIFIED_HERE: &[c_long] = &[];

/// New forms of calls that the supervisor does not know: programs fall back to the old ones.
const UNKNOWN: &[c_long] = &[libc::SYS_clone3, SYS_SETXATTRAT, SYS_GETXATTRAT, SYS_REMOVEXATTRAT];

/// One call for all of `socket` and its kin, whose arguments lie in memory, where no filter sees
/// them. Programs use the single ones.
#[cfg(any(target_arch = "powerpc64", target_arch = "s390x"))]
const UNKNOWN_HERE: &[c_long] = &[libc::SYS_socketcall];
#[cfg(not(any(target_arch = "powerpc64", target_arch = "s390x")))]
const UNKNOWN_HERE: &[c_long] = &[];

fn rules() -> Vec<(c_long, Rule)> {
    let all = |calls: &'static [c_long], rule| calls.iter().map(move |&call| (call, rule));
    let mut rules: Vec<_> = all(NOTIFIED, Rule::Notify).collect();
    rules.extend(all(NOTIFIED_HERE, Rule::Notify));
    rules.extend(all(PRETENDED, Rule::Pretend));
    rules.extend(all(UNKNOWN, Rule::Fail(libc::ENOSYS)));
    rules.extend(all(UNKNOWN_HERE, Rule::Fail(libc::ENOSYS)));
    rules.extend(all(FORBIDDEN, Rule::Fail(libc::EPERM)));
    rules.extend(all(FORBIDDEN_HERE, Rule::Fail(libc::EPERM)));
    let error = libc::EPERM;
    let clone = Rule::FailOnBits { index: CLONE_FLAGS, mask: NEW_NAMESPACES, error };
    rules.push((libc::SYS_clone, clone));
    rules.push((libc::SYS_ioctl, Rule::FailOnValues { index: 1, values: TERMINAL_INPUT, error }));
    let error = libc::EAFNOSUPPORT;
    let socket = Rule::FailUnlessValues { index: 0, values: SOCKET_FAMILIES, error };
    rules.push((libc::SYS_socket, socket));
    rules
}

/// Returns the filter.
pub(super) fn program() -> Vec<sock_filter> {
    let mut code = vec![load(ARCHITECTURE), jump_if_equal(AUDIT_ARCH, 1, 0)];
    code.push(answer(libc::SECCOMP_RET_KILL_PROCESS));
    code.push(load(NUMBER));
    #[cfg(target_arch = "x86_64")]
    {
        code.push(jump(libc::BPF_JGE, X32_BIT, 0, 1));
        code.push(answer(libc::SECCOMP_RET_KILL_PROCESS));
    }
    for (call, rule) in rules() {
        let body = body(rule);
        let length = u8::try_from(body.len()).expect("a rule is a few instructions");
        let number = u32::try_from(call).expect("call numbers are small and positive");
        code.push(jump_if_equal(number, 0, length));
        code.extend(body);
    }
    code.push(answer(libc::SECCOMP_RET_ALLOW));
    code
}

/// The instructions of one rule; each way through them ends in an answer.
fn body(rule: Rule) -> Vec<sock_filter> {
    match rule {
        Rule::Fail(error) => vec![fail(error)],
        Rule::Pretend => vec![fail(0)],
        Rule::Notify => vec![answer(libc::SECCOMP_RET_USER_NOTIF)],
        Rule::FailOnBits { index, mask, error } => vec![
            load(argument(index)),
            jump(libc::BPF_JSET, mask, 0, 1),
            fail(error),
            answer(libc::SECCOMP_RET_ALLOW),
        ],
        Rule::FailOnValues { index, values, error } => {
            choose(index, values, fail(error), answer(libc::SECCOMP_RET_ALLOW))
        }
        Rule::FailUnlessValues { index, values, error } => {
            choose(index, values, answer(libc::SECCOMP_RET_ALLOW), fail(error))
        }
    }
}

/// `then` if the low half of an argument is among `values`, else `otherwise`.
///
/// Only the low half is compared, as the kernel does for these arguments: high bits that it
/// ignores must not carry a call past us (CVE-2019-7303).
fn choose(
    index: u32,
    values: &[u32],
    then: sock_filter,
    otherwise: sock_filter,
) -> Vec<sock_filter> {
    let mut code = vec![load(argument(index))];
    for &value in values {
        code.push(jump_if_equal(value, 0, 1));
        code.push(then);
    }
    code.push(otherwise);
    code
}

/// The offset of the low half of an argument.
const fn argument(index: u32) -> u32 {
    let low_half = if cfg!(target_endian = "big") { 4 } else { 0 };
    ARGUMENTS + 8 * index + low_half
}

const fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    #[expect(clippy::cast_possible_truncation, reason = "operation codes have eight bits")]
    let code = code as u16;
    sock_filter { code, jt, jf, k }
}

const fn load(offset: u32) -> sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset)
}

const fn jump(kind: u32, value: u32, then: u8, otherwise: u8) -> sock_filter {
    instruction(libc::BPF_JMP | kind | libc::BPF_K, then, otherwise, value)
}

const fn jump_if_equal(value: u32, then: u8, otherwise: u8) -> sock_filter {
    jump(libc::BPF_JEQ, value, then, otherwise)
}

const fn answer(action: u32) -> sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, action)
}

fn fail(error: i32) -> sock_filter {
    let error = u32::try_from(error).expect("error numbers are positive");
    answer(libc::SECCOMP_RET_ERRNO | error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program as the kernel would on one call.
    fn run(architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let mut data = Vec::new();
        data.extend(number.to_ne_bytes());
        data.extend(architecture.to_ne_bytes());
        data.extend(0u64.to_ne_bytes());
        arguments.iter().for_each(|argument| data.extend(argument.to_ne_bytes()));
        let code = program();
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let sock_filter { code: operation, jt, jf, k } = code[at];
            at += 1;
            match u32::from(operation) {
                c if c == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS => {
                    let from = k as usize;
                    accumulator = u32::from_ne_bytes(data[from..from + 4].try_into().unwrap());
                }
                c if c == libc::BPF_RET | libc::BPF_K => return k,
                c => {
                    let holds = match c & 0xF0 {
                        libc::BPF_JEQ => accumulator == k,
                        libc::BPF_JGE => accumulator >= k,
                        libc::BPF_JSET => accumulator & k != 0,
                        other => panic!("unknown operation {other:#x}"),
                    };
                    at += usize::from(if holds { jt } else { jf });
                }
            }
        }
    }

    fn here(call: c_long, arguments: [u64; 6]) -> u32 {
        run(AUDIT_ARCH, u32::try_from(call).unwrap(), arguments)
    }

    #[test]
    fn s10_calls_of_foreign_interfaces_kill() {
        assert_eq!(run(0x4000_0003, 1, [0; 6]), libc::SECCOMP_RET_KILL_PROCESS);
        #[cfg(target_arch = "x86_64")]
        assert_eq!(run(AUDIT_ARCH, X32_BIT | 1, [0; 6]), libc::SECCOMP_RET_KILL_PROCESS);
        assert_eq!(here(libc::SYS_write, [0; 6]), libc::SECCOMP_RET_ALLOW);
    }

    #[test]
    fn s10_forbidden_calls_fail_and_clone3_is_unknown() {
        for &call in FORBIDDEN.iter().chain(FORBIDDEN_HERE) {
            assert_eq!(here(call, [0; 6]), fail(libc::EPERM).k, "{call}");
        }
        for &call in UNKNOWN.iter().chain(UNKNOWN_HERE) {
            assert_eq!(here(call, [0; 6]), fail(libc::ENOSYS).k, "{call}");
        }
    }

    #[test]
    fn no_call_has_two_rules() {
        let mut calls: Vec<_> = rules().into_iter().map(|(call, _)| call).collect();
        let all = calls.len();
        calls.sort_unstable();
        calls.dedup();
        assert_eq!(calls.len(), all);
    }

    #[test]
    fn s10_clone_makes_processes_but_no_namespaces() {
        let flags = |bits: u64| {
            let mut arguments = [0; 6];
            arguments[CLONE_FLAGS as usize] = bits;
            here(libc::SYS_clone, arguments)
        };
        assert_eq!(flags(0x0120_0011), libc::SECCOMP_RET_ALLOW);
        for bit in [0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x4000_0000] {
            assert_eq!(flags(bit | 0x11), fail(libc::EPERM).k, "{bit:#x}");
        }
    }

    #[test]
    fn s7_terminal_input_fails_whatever_the_high_bits_are() {
        for request in [0x5412, 0x541C, 0xFFFF_FFFF_0000_5412, 0x1_0000_541C] {
            let answer = here(libc::SYS_ioctl, [0, request, 0, 0, 0, 0]);
            assert_eq!(answer, fail(libc::EPERM).k);
        }
        assert_eq!(here(libc::SYS_ioctl, [0, 0x5413, 0, 0, 0, 0]), libc::SECCOMP_RET_ALLOW);
    }

    #[test]
    fn s2_only_local_and_internet_sockets_can_be_made() {
        for family in [1, 2, 10] {
            assert_eq!(here(libc::SYS_socket, [family, 1, 0, 0, 0, 0]), libc::SECCOMP_RET_ALLOW);
        }
        for family in [16, 17, 38, 40] {
            let answer = here(libc::SYS_socket, [family, 3, 0, 0, 0, 0]);
            assert_eq!(answer, fail(libc::EAFNOSUPPORT).k, "{family}");
        }
    }

    #[test]
    fn the_program_fits_the_kernels_limit() {
        assert!(program().len() < 4096);
    }
}
