//! System calls that `rustix` does not offer safely: each is one small function here.
//!
//! Everything in this file may run between `fork` and `execve` of a program with threads, so
//! nothing here allocates, locks or panics.

#![expect(unsafe_code, reason = "processes are made and filtered by raw system calls")]

use std::ffi::CStr;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::{Errno, Result};

/// Which side of a fork this is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fork {
    /// The new process.
    Child,
    /// The old one, and the new one's number.
    Parent(i32),
}

/// Turns the result of a raw call into an error or a number.
fn check(result: libc::c_long) -> Result<libc::c_long> {
    if result >= 0 {
        return Ok(result);
    }
    // SAFETY: the address of this thread's own `errno` is always valid.
    Err(Errno::from_raw_os_error(unsafe { *libc::__errno_location() }))
}

/// Forks with all signals blocked in the child, so that no handler of ours runs there.
pub(super) fn fork() -> Result<Fork> {
    let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: both sets are valid for writing, and `sigfillset` initializes the first.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
    }
    // SAFETY: the child only calls functions of this file and of `rustix`, none of which
    // allocates or locks, until it executes a program or exits.
    let result = check(libc::c_long::from(unsafe { libc::fork() }));
    if !matches!(result, Ok(0)) {
        // SAFETY: `before` was filled by the call above.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    }
    result.map(side)
}

/// Makes a child of our own parent. Only for processes with one thread.
pub(super) fn fork_sibling() -> Result<Fork> {
    let flags = libc::c_long::from(libc::CLONE_PARENT | libc::SIGCHLD);
    let (first, second) = if cfg!(target_arch = "s390x") { (0, flags) } else { (flags, 0) };
    // SAFETY: no memory is shared and the stack stays: this is a fork without its handlers.
    check(unsafe { libc::syscall(libc::SYS_clone, first, second, 0, 0, 0) }).map(side)
}

/// How much stack a process gets between its making and its program, where it makes system calls only.
const SMALL_STACK: usize = 128 << 10;
/// What lies below that stack and can neither be read nor written: as large as the largest page of
/// any processor, so that it is made of whole pages everywhere.
const GUARD: usize = 64 << 10;
/// The status of a process that did not become a program.
const NOT_BEGUN: i32 = 127;

/// Memory for the stack of processes on their way to a program. It lies in the memory of the
/// process that makes them: without the guard at its lower end, a stack that overflows would be
/// written over whatever lies below.
#[derive(Debug)]
pub(super) struct Stack(*mut libc::c_void);

impl Stack {
    /// Maps it. It is never unmapped: who has it lives as long as the sandbox.
    pub(super) fn new() -> Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let place = unsafe {
            libc::mmap(std::ptr::null_mut(), GUARD + SMALL_STACK, protection, flags, -1, 0)
        };
        if place == libc::MAP_FAILED {
            return Err(Errno::NOMEM);
        }
        // SAFETY: the lower end of the new mapping, which nobody uses yet.
        check(libc::c_long::from(unsafe { libc::mprotect(place, GUARD, libc::PROT_NONE) }))?;
        Ok(Self(place))
    }
}

/// Makes a child that runs `work`, which becomes a program; if it returns, the child ends. We go on when
/// either has happened: until then the child shares our memory, so that none has to be copied, however
/// much there is. Only for processes with one thread.
///
/// `work` must neither panic nor allocate: the child has our heap and its locks, and what it leaves
/// there when it becomes a program or is killed, half done or never to be freed, is left to us.
pub(super) fn spawn<W: FnMut()>(stack: &mut Stack, work: &mut W) -> Result<i32> {
    extern "C" fn begin<W: FnMut()>(work: *mut libc::c_void) -> libc::c_int {
        // SAFETY: it is the `work` below; its owner waits and does not touch it meanwhile.
        let work = unsafe { &mut *work.cast::<W>() };
        work();
        leave(NOT_BEGUN)
    }
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack is ours alone, and grows down from its end; this process stands still until the
    // child has left this memory, so that the two never run in it at the same time.
    let number = unsafe {
        let top = stack.0.byte_add(GUARD + SMALL_STACK);
        libc::clone(begin::<W>, top, flags, std::ptr::from_mut(work).cast())
    };
    check(libc::c_long::from(number))?;
    Ok(number)
}

fn side(number: libc::c_long) -> Fork {
    match i32::try_from(number) {
        Ok(0) | Err(_) => Fork::Child,
        Ok(number) => Fork::Parent(number),
    }
}

/// Moves this process into namespaces of its own, of every kind but time.
pub(super) fn unshare_all() -> Result<()> {
    let flags = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWCGROUP;
    // SAFETY: takes no pointers; the process has one thread.
    check(libc::c_long::from(unsafe { libc::unshare(flags) })).map(drop)
}

/// Gives every signal its default action and unblocks all.
pub(super) fn reset_signals() {
    // The kernel's own structure, all zeros: the default action, no flags, an empty mask. The C
    // library's function would leave out the two signals that it keeps for itself.
    let default = [0_u64; 4];
    for signal in 1..=64 {
        let (action, before) = (default.as_ptr(), std::ptr::null::<u64>());
        // SAFETY: `default` is as long as the kernel's structure; impossible signals fail without
        // effect.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, action, before, 8) };
    }
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initializes the set before it is read.
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
    }
}

/// Blocks SIGCHLD and returns a descriptor that becomes readable when a child ends.
pub(super) fn child_signals() -> Result<RawFd> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is initialized before it is read, and its size is that of the C library.
    let result = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD);
        libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
        libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    check(libc::c_long::from(result))?;
    Ok(result)
}

/// Closes every descriptor from `first` on.
pub(super) fn close_from(first: RawFd) -> Result<()> {
    // SAFETY: takes no pointers. Owners of these descriptors exist only as a copy of the parent's
    // memory that nothing here uses.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) }).map(drop)
}

/// Lets every descriptor from `first` on be closed by `execve`.
pub(super) fn close_on_exec_from(first: RawFd) -> Result<()> {
    let flags = libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: takes no pointers, and closes nothing yet.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, flags) })
        .map(drop)
}

/// Makes `to` a copy of `from` that survives `execve`; they may be equal.
pub(super) fn copy_descriptor(from: RawFd, to: RawFd) -> Result<()> {
    // SAFETY: takes no pointers; numbers that are not open fail.
    unsafe {
        if from == to {
            return check(libc::c_long::from(libc::fcntl(from, libc::F_SETFD, 0))).map(drop);
        }
        check(libc::c_long::from(libc::dup2(from, to))).map(drop)
    }
}

/// Borrows a descriptor by its number.
pub(super) const fn borrow<'a>(number: RawFd) -> BorrowedFd<'a> {
    // SAFETY: the callers know `number` to be open for as long as they use it: the child set its
    // few descriptors up itself.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// Keeps only the capabilities of `kept` (a bit each), as far as this process has them.
pub(super) fn limit_capabilities(kept: u64) -> Result<()> {
    for capability in 0..64_u32 {
        if kept >> capability & 1 == 0 {
            // SAFETY: takes no pointers; unknown capabilities fail without effect.
            unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        }
    }
    #[expect(clippy::cast_possible_truncation, reason = "the kernel takes two halves")]
    let halves = [kept as u32, (kept >> 32) as u32];
    // `struct __user_cap_header_struct` and two `struct __user_cap_data_struct`
    // (effective, permitted, inheritable), of linux/capability.h, version 3.
    let header: [u32; 2] = [0x2008_0522, 0];
    let mut data = [0_u32; 6];
    // SAFETY: both arrays have the layout that the kernel reads and writes.
    check(unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), data.as_mut_ptr()) })?;
    let (low, high) = (halves[0] & data[1], halves[1] & data[4]);
    let data: [u32; 6] = [low, low, 0, high, high, 0];
    // SAFETY: both arrays have the layout that the kernel reads.
    check(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) }).map(drop)
}

/// Installs a filter for this process and its children, and returns its listener.
pub(super) fn install_filter(program: &[libc::sock_filter]) -> Result<RawFd> {
    let Ok(len) = u16::try_from(program.len()) else { return Err(Errno::INVAL) };
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    let install = |flags: libc::c_ulong| {
        // SAFETY: `program` describes a slice that lives through the call, and is only read.
        check(unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                flags,
                &raw const program,
            )
        })
    };
    let listener = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // Kernels before 5.19 do not know how to wait without being disturbed by signals.
    let number = match install(listener | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) {
        Err(Errno::INVAL) => install(listener)?,
        other => other?,
    };
    RawFd::try_from(number).map_err(|_| Errno::BADF)
}

/// Replaces this process by a program. Returns only when that failed.
///
/// `arguments` and `environment` end in a null pointer.
pub(super) fn execute(
    program: &CStr,
    arguments: &[*const libc::c_char],
    environment: &[*const libc::c_char],
) -> Errno {
    if arguments.last().is_none_or(|last| !last.is_null())
        || environment.last().is_none_or(|last| !last.is_null())
    {
        return Errno::INVAL;
    }
    // SAFETY: both arrays end in a null pointer, as was just checked; their other elements point
    // to texts that end in NUL (`request::Parsed` made them so).
    let result =
        unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    check(libc::c_long::from(result)).err().unwrap_or(Errno::INVAL)
}

/// Ends this process at once.
pub(super) fn leave(status: i32) -> ! {
    // SAFETY: never returns and runs no destructors, which is what a forked child needs.
    unsafe { libc::_exit(status) }
}

/// Kills every process in this process namespace but ourselves, who must be its init.
pub(super) fn kill_all_others() {
    // SAFETY: takes no pointers.
    unsafe { libc::kill(-1, libc::SIGKILL) };
}

/// Takes over a descriptor that a call has just returned.
pub(super) fn own(number: RawFd) -> OwnedFd {
    // SAFETY: the callers pass numbers that the kernel has just given to nobody else.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// Receives a notification. `None` when the caller was killed meanwhile.
pub(super) fn receive_notification(
    listener: BorrowedFd<'_>,
) -> Result<Option<libc::seccomp_notif>> {
    use std::os::fd::AsRawFd;
    // SAFETY: all zeros is a valid value of this plain structure, and what the kernel demands.
    let mut notification: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the request's argument is this structure, valid for writing.
    let result = unsafe {
        libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut notification)
    };
    match check(libc::c_long::from(result)) {
        Ok(_) => Ok(Some(notification)),
        Err(Errno::NOENT | Errno::INTR) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Asks for the waiting call to be woken on the processor that answers it (Linux 6.6).
pub(super) fn wake_synchronously(listener: BorrowedFd<'_>) {
    use std::os::fd::AsRawFd;
    const SYNC_WAKE_UP: libc::c_ulong = 1;
    // SAFETY: the argument is a number; kernels that do not know the request fail without effect.
    unsafe {
        libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS, SYNC_WAKE_UP);
    }
}

/// Whether the process that made the call `id` still waits: what was read of it was its own.
pub(super) fn still_waits(listener: BorrowedFd<'_>, id: u64) -> bool {
    use std::os::fd::AsRawFd;
    // SAFETY: the request's argument is a number in memory, only read.
    unsafe {
        libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const id) == 0
    }
}

/// Answers a notification. That its process is gone is no error.
pub(super) fn answer_notification(listener: BorrowedFd<'_>, answer: &libc::seccomp_notif_resp) {
    use std::os::fd::AsRawFd;
    // SAFETY: the request's argument is this structure, which the kernel only reads.
    unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_SEND,
            std::ptr::from_ref(answer),
        );
    }
}

/// Copies memory of another process; returns how many bytes were readable.
pub(super) fn read_memory(process: i32, address: u64, into: &mut [u8]) -> Result<usize> {
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let remote = libc::iovec { iov_base: remote_address(address)?, iov_len: into.len() };
    // SAFETY: the local vector is `into` itself; the remote one is checked by the kernel.
    let count =
        unsafe { libc::process_vm_readv(process, &raw const local, 1, &raw const remote, 1, 0) };
    Ok(usize::try_from(check(count as libc::c_long)?).unwrap_or(0))
}

/// Copies bytes into another process, all or an error.
pub(super) fn write_memory(process: i32, address: u64, bytes: &[u8]) -> Result<()> {
    let local = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let remote = libc::iovec { iov_base: remote_address(address)?, iov_len: bytes.len() };
    // SAFETY: the local vector is `bytes`, which this call only reads; the kernel checks the
    // remote one.
    let count =
        unsafe { libc::process_vm_writev(process, &raw const local, 1, &raw const remote, 1, 0) };
    if usize::try_from(check(count as libc::c_long)?) == Ok(bytes.len()) {
        Ok(())
    } else {
        Err(Errno::FAULT)
    }
}

fn remote_address(address: u64) -> Result<*mut libc::c_void> {
    Ok(usize::try_from(address).map_err(|_| Errno::FAULT)? as *mut libc::c_void)
}

/// Shows a plain structure of the C library as bytes.
pub(super) fn bytes_of<T: Plain>(value: &T) -> &[u8] {
    // SAFETY: `Plain` types are `repr(C)` structures of integers; every byte of `value` was
    // initialized, because it began as zeros.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast::<u8>(), size_of::<T>()) }
}

/// Structures of the C library that consist of integers alone.
pub(super) trait Plain {}
impl Plain for libc::stat {}
impl Plain for libc::statx {}

/// The status of what an `O_PATH` descriptor names, as the kernel's `struct stat`.
pub(super) fn status(of: BorrowedFd<'_>) -> Result<libc::stat> {
    use std::os::fd::AsRawFd;
    // SAFETY: all zeros is a valid value of this plain structure.
    let mut status: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the path is an empty text; `status` is valid for writing.
    let result = unsafe {
        libc::fstatat(of.as_raw_fd(), c"".as_ptr(), &raw mut status, libc::AT_EMPTY_PATH)
    };
    check(libc::c_long::from(result)).map(|_| status)
}

/// As [`status`], in the form of `statx(2)`.
pub(super) fn extended_status(of: BorrowedFd<'_>, mask: u32) -> Result<libc::statx> {
    use std::os::fd::AsRawFd;
    // SAFETY: all zeros is a valid value of this plain structure.
    let mut status: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: the path is an empty text; `status` is valid for writing.
    let result = unsafe {
        libc::statx(of.as_raw_fd(), c"".as_ptr(), libc::AT_EMPTY_PATH, mask, &raw mut status)
    };
    check(libc::c_long::from(result)).map(|_| status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_can_be_written_right_below_a_stack() {
        let stack = Stack::new().unwrap();
        let (guard, bottom) = (stack.0.addr(), stack.0.addr() + GUARD);
        let maps = fs_err::read_to_string("/proc/self/maps").unwrap();
        let rights = |address: usize| {
            maps.lines().find_map(|line| {
                let (range, rest) = line.split_once(' ')?;
                let (from, to) = range.split_once('-')?;
                let [from, to] = [from, to].map(|end| usize::from_str_radix(end, 16).unwrap());
                (from..to).contains(&address).then(|| &rest[..4])
            })
        };
        for address in [guard, bottom - 1] {
            assert_eq!(rights(address), Some("---p"));
        }
        for address in [bottom, bottom + SMALL_STACK - 1] {
            assert_eq!(rights(address), Some("rw-p"));
        }
    }
}
