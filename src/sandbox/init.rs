//! The child's side: into the namespaces, then the first process of the sandbox, until we let go.
//!
//! In: a [`Plan`] made before the fork; out: answers on the control socket. Nothing here allocates,
//! locks or panics, because it runs in a copy of a process with threads. The first process starts
//! one program at a time, reaps whatever is left behind, and ends everything when that program
//! ends. When the socket closes, because we are done or were killed, it ends, and the kernel ends
//! all others with it.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, Signal, WaitOptions};

use super::board::{Board, NotBegun};
use super::emulator::Emulator;
use super::kernel::{self, Fork, Stack};
use super::mounts::{self, Root};
use super::plain::{self, Plain};
use super::request::{self, Answer, Files, Kind, Parsed};
use super::step::{At, Failure, Step};

/// Where the control socket is after the inherited descriptors are closed.
const CONTROL: RawFd = 3;
/// Where the host's `/proc` is, in a plain chroot.
const PROC: RawFd = 4;

/// CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID and SETFCAP of linux/capability.h:
/// what root does to files. All are for the one user of the namespace only.
const CAPABILITIES: u64 = 0b1111_1011 | 1 << 31;

/// All that the child needs, made before the fork.
#[derive(Debug)]
pub(super) struct Plan {
    /// The line of `uid_map`.
    pub(super) user: CString,
    /// The line of `gid_map`.
    pub(super) group: CString,
    /// `size=` of the tree's file system.
    pub(super) size: CString,
    /// `nr_inodes=` likewise.
    pub(super) inodes: CString,
    /// The highest process number.
    pub(super) processes: CString,
    /// Limits for each program.
    pub(super) resources: Vec<(Resource, u64)>,
    /// What runs programs of another processor.
    pub(super) emulator: Option<Emulator>,
    /// The directory of a plain chroot, which takes the place of all namespaces.
    pub(super) plain: Option<CString>,
    /// The filter of system calls.
    pub(super) filter: Vec<libc::sock_filter>,
    /// Where a process says why it did not become a program.
    pub(super) board: Board,
}

/// Runs the child of the fork: makes the namespaces and in them the first process.
pub(super) fn run(plan: &Plan, control: RawFd) -> ! {
    kernel::reset_signals();
    let result = found(plan, control);
    let socket = kernel::borrow(CONTROL);
    match result {
        Ok(Fork::Parent(process)) => {
            let sent = request::send_answer(socket, Answer::new(Kind::Process, process), None);
            kernel::leave(i32::from(sent.is_err()));
        }
        Ok(Fork::Child) => match first_process(plan, socket) {
            Err(failure) => report(socket, failure),
        },
        Err(failure) => report(socket, failure),
    }
}

/// The answer that a step failed.
pub(super) const fn failed(Failure { step, errno }: Failure) -> Answer {
    Answer { kind: Kind::Failed, step: step as u8, value: errno.raw_os_error() }
}

fn report(socket: BorrowedFd<'_>, failure: Failure) -> ! {
    let sent = request::send_answer(socket, failed(failure), None);
    kernel::leave(if sent.is_ok() { 1 } else { 2 });
}

/// Sheds what was inherited, makes the namespaces, becomes root in them and forks.
fn found(plan: &Plan, control: RawFd) -> Result<Fork, Failure> {
    let null = open_null().at(Step::Descriptors)?;
    kernel::copy_descriptor(control, CONTROL).at(Step::Descriptors)?;
    // The descriptor of `null` may be CONTROL's old number only if control was lost: it was open.
    for number in 0..CONTROL {
        kernel::copy_descriptor(null, number).at(Step::Descriptors)?;
    }
    kernel::close_from(CONTROL + 1).at(Step::Descriptors)?;
    // A session of its own: no terminal reaches it, nor does it reach one.
    rustix::process::setsid().at(Step::Descriptors)?;
    if plan.plain.is_none() {
        kernel::unshare_all().at(Step::Namespaces)?;
        write_file(c"/proc/self/setgroups", c"deny").at(Step::Mapping)?;
        write_file(c"/proc/self/uid_map", &plan.user).at(Step::Mapping)?;
        write_file(c"/proc/self/gid_map", &plan.group).at(Step::Mapping)?;
    }
    kernel::fork_sibling().at(Step::Init)
}

/// Opens the null device with a number that is not one of the first four.
fn open_null() -> rustix::io::Result<RawFd> {
    let null = rustix::fs::open(c"/dev/null", OFlags::RDWR, Mode::empty())?;
    let high = rustix::io::fcntl_dupfd_cloexec(&null, CONTROL + 1)?;
    let number = high.as_raw_fd();
    std::mem::forget(high);
    Ok(number)
}

fn write_file(path: &CStr, text: &CStr) -> rustix::io::Result<()> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::retry_on_intr(|| rustix::io::write(&file, text.to_bytes())).map(drop)
}

/// The first process: makes the root, waits until it is filled, enters it, then obeys.
///
/// It begins when its number has arrived: whatever it has to say must come after that, and on a
/// busy host it may run long before the process that sends the number.
fn first_process(plan: &Plan, socket: BorrowedFd<'_>) -> Result<Infallible, Failure> {
    if plan.plain.is_none() {
        // In a plain chroot it has to see to all others itself before it ends.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).at(Step::Init)?;
    }
    wait_for_word(socket)?;
    rustix::process::setsid().at(Step::Init)?;
    let place = match &plan.plain {
        Some(directory) => Place::Plain(plain::open(directory)?),
        None => Place::Own(mounts::make_root(&plan.size, &plan.inodes, plan.emulator.as_ref())?),
    };
    let ready = Answer::new(Kind::Ready, 0);
    request::send_answer(socket, ready, Some(place.bare())).at(Step::Control)?;
    wait_for_word(socket)?;
    let listener = enter(plan, place)?;
    let entered = Answer::new(Kind::Entered, 0);
    request::send_answer(socket, entered, Some(listener.as_fd())).at(Step::Control)?;
    drop(listener);
    obey(plan, socket)
}

/// Waits until we are told to go on; ends when nobody is there to tell it.
fn wait_for_word(socket: BorrowedFd<'_>) -> Result<(), Failure> {
    if request::receive(socket, &mut [0]).at(Step::Control)?.0 == 0 {
        kernel::leave(0);
    }
    Ok(())
}

/// Where the tree is.
enum Place {
    Own(Root),
    Plain(Plain),
}

impl Place {
    fn bare(&self) -> BorrowedFd<'_> {
        match self {
            Self::Own(root) => root.bare.as_fd(),
            Self::Plain(plain) => plain.tree.as_fd(),
        }
    }
}

/// Goes into the tree and locks the door: after this nothing of the host can be opened.
fn enter(plan: &Plan, place: Place) -> Result<OwnedFd, Failure> {
    let mut first_to_close = CONTROL + 1;
    match place {
        Place::Own(root) => {
            mounts::enter(&root, &plan.processes)?;
            drop(root);
            rustix::system::sethostname(b"localhost").at(Step::Name)?;
        }
        Place::Plain(Plain { tree, proc }) => {
            plain::enter(tree.as_fd())?;
            kernel::copy_descriptor(proc.as_raw_fd(), PROC).at(Step::Descriptors)?;
            // Whether the number was its own already or somebody's, it is kept from here on.
            std::mem::forget((tree, proc));
            first_to_close = PROC + 1;
        }
    }
    let null = open_null().at(Step::Descriptors)?;
    for number in 0..CONTROL {
        kernel::copy_descriptor(null, number).at(Step::Descriptors)?;
    }
    rustix::process::umask(Mode::from_raw_mode(0o022));
    kernel::limit_capabilities(CAPABILITIES).at(Step::Capabilities)?;
    rustix::thread::set_no_new_privs(true).at(Step::Capabilities)?;
    let hidden = rustix::process::DumpableBehavior::NotDumpable;
    rustix::process::set_dumpable_behavior(hidden).at(Step::Capabilities)?;
    kernel::close_from(first_to_close).at(Step::Descriptors)?;
    let listener = kernel::install_filter(&plan.filter).at(Step::Filter)?;
    Ok(kernel::own(listener))
}

/// Starts programs as asked, and reaps, until the socket closes.
fn obey(plan: &Plan, socket: BorrowedFd<'_>) -> Result<Infallible, Failure> {
    let signals = kernel::child_signals().at(Step::Control)?;
    let mut buffer = [0; request::LONGEST];
    let mut stack = Stack::new().at(Step::Init)?;
    let mut leader = None;
    loop {
        let mut waits = [
            PollFd::from_borrowed_fd(socket, PollFlags::IN),
            PollFd::from_borrowed_fd(kernel::borrow(signals), PollFlags::IN),
        ];
        match poll(&mut waits, None) {
            Err(Errno::INTR) => continue,
            other => other.at(Step::Control)?,
        };
        let [asked, ended] = waits.map(|wait| !wait.revents().is_empty());
        if asked {
            let (count, output) = request::receive(socket, &mut buffer).at(Step::Control)?;
            let Some(asked) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
                end_all_others(plan);
                kernel::leave(0)
            };
            leader = Some(start(plan, asked, output, &mut stack)?);
        }
        if ended {
            let mut record = [0; 128];
            // Signals of one kind are merged: what counts is who can be waited for.
            let _merged = rustix::io::read(kernel::borrow(signals), &mut record);
            leader = reap(plan, leader, socket)?;
        }
    }
}

/// Ends every process but this one, and waits until it is gone.
fn end_all_others(plan: &Plan) {
    if plan.plain.is_some() {
        return plain::end_all_others(kernel::borrow(PROC));
    }
    kernel::kill_all_others();
    while matches!(rustix::process::wait(WaitOptions::empty()), Ok(_) | Err(Errno::INTR)) {}
}

/// Waits for whoever has ended. When it was the leader, ends all others and tells its status, or why
/// it never began.
fn reap(plan: &Plan, leader: Option<i32>, socket: BorrowedFd<'_>) -> Result<Option<i32>, Failure> {
    while let Ok(Some((process, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if Some(process.as_raw_nonzero().get()) != leader {
            continue;
        }
        end_all_others(plan);
        let answer = match plan.board.take() {
            None => Answer::new(Kind::Ended, status.as_raw()),
            Some(NotBegun::Executed(errno)) => Answer::new(Kind::NotStarted, errno.raw_os_error()),
            Some(NotBegun::Prepared(errno)) => failed(Failure { step: Step::Program, errno }),
        };
        request::send_answer(socket, answer, None).at(Step::Control)?;
        return Ok(None);
    }
    Ok(leader)
}

/// Starts a process that becomes a program, or says on the board why not; returns its number.
fn start(
    plan: &Plan,
    asked: &[u8],
    output: Option<OwnedFd>,
    stack: &mut Stack,
) -> Result<i32, Failure> {
    let (Some((parsed, files)), Some(output)) = (Parsed::new(asked), output) else {
        return Err(Failure { step: Step::Control, errno: Errno::PROTO });
    };
    let mut work = || plan.board.leave(become_program(plan, &parsed, &files, output.as_raw_fd()));
    kernel::spawn(stack, &mut work).at(Step::Init)
}

/// Sets limits and descriptors and executes; returns only why that failed.
///
/// Everything beyond the first three descriptors is closed on execution: all of ours are opened
/// so, and nothing was inherited.
fn become_program(plan: &Plan, parsed: &Parsed, files: &Files<'_>, output: RawFd) -> NotBegun {
    let prepared = rustix::process::setsid().and_then(|_| {
        for number in [1, 2] {
            kernel::copy_descriptor(output, number)?;
        }
        for &(resource, most) in &plan.resources {
            // A host that allows less is obeyed: raising its limit would be refused.
            let ceiling = rustix::process::getrlimit(resource).maximum;
            let most = ceiling.map_or(most, |ceiling| ceiling.min(most));
            let limit = Rlimit { current: Some(most), maximum: Some(most) };
            rustix::process::setrlimit(resource, limit)?;
        }
        rustix::process::chdir(c"/")?;
        let Some(input) = files.input else { return Ok(()) };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let input = rustix::fs::open(input, flags, Mode::empty())?;
        kernel::copy_descriptor(input.as_raw_fd(), 0)
    });
    kernel::reset_signals();
    if let Err(errno) = prepared.and_then(|()| kernel::close_on_exec_from(CONTROL)) {
        return NotBegun::Prepared(errno);
    }
    let errno = kernel::execute(files.program, &parsed.arguments, &parsed.environment);
    NotBegun::Executed(errno)
}
