//! Runs programs of a guest's tree where they reach nothing but that tree.
//!
//! In: a tree, laid out by the caller in a file system of memory that only the sandbox and the
//! caller can name; commands. Out: what the commands print, how they end, the tree they leave, and
//! a [`Record`] of the owners, devices and attributes that an ordinary user cannot make on disk.
//! Works alike for root and for users without subordinate ids: one user, the caller, is root
//! inside.
//!
//! ```text
//! Prepared ── caller writes the tree to directory() ──▶ enter() ──▶ Sandbox ── run()* ──▶ finish() ──▶ Left
//! ```
//!
//! User, mount, process, IPC, host-name, network and cgroup namespaces; a filter of system calls
//! (`filter`); few capabilities; limits. What must hold is what the probes in `tests` try. It never
//! falls back to anything weaker: where the kernel refuses, the error names the setting. What is
//! weaker has to be asked for, by name and as root: [`Walls::Chroot`].

mod acl;
mod advice;
mod blame;
mod board;
mod bound;
mod calls;
mod emulator;
mod file;
mod filter;
mod init;
pub mod inside;
mod kernel;
mod mounts;
mod own;
mod paths;
mod plain;
mod record;
mod request;
mod run;
mod step;
mod supervisor;

#[cfg(test)]
mod tests;

use std::ffi::CString;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType};
use rustix::process::{Pid, Resource, WaitOptions};

pub use bound::die_with_us;
pub use emulator::{Emulator, Machine};
pub use own::ThisProgram;
pub use record::{Marks, Node, Record};
pub use run::{Command, Status};
pub use step::Step;

use crate::tree::TreePath;
use board::Board;
use init::Plan;
use kernel::Fork;
use request::{Answer, Kind};
use supervisor::Supervisor;

/// What programs in a sandbox may use up.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of the tree, in memory.
    pub bytes: u64,
    /// Files of the tree.
    pub files: u64,
    /// Processes at one time. Not enforced for root before Linux 6.14.
    pub processes: u64,
    /// Bytes of one file.
    pub file_size: u64,
    /// Bytes of address space of one process.
    pub memory: u64,
    /// Bytes that one command may print.
    pub output: u64,
    /// How long one command may take.
    pub wall: Duration,
}

impl Default for Limits {
    /// Far beyond what packages of a distribution do, far below what troubles a host.
    fn default() -> Self {
        Self {
            bytes: 8 << 30,
            files: 2_000_000,
            processes: 4_000,
            file_size: 4 << 30,
            memory: 16 << 30,
            output: 16 << 20,
            wall: Duration::from_secs(600),
        }
    }
}

impl Limits {
    fn resources(&self) -> Vec<(Resource, u64)> {
        vec![
            (Resource::Core, 0),
            (Resource::Nofile, 4096),
            (Resource::Stack, 8 << 20),
            (Resource::Nproc, self.processes),
            (Resource::Fsize, self.file_size),
            (Resource::As, self.memory),
            (Resource::Cpu, self.wall.as_secs().max(1)),
        ]
    }
}

/// What stands between programs and the host.
#[derive(Debug, Clone, Copy)]
pub enum Walls<'a> {
    /// Namespaces of every kind.
    Namespaces,
    /// A plain chroot below this folder, which is empty and closed to others: programs see the
    /// host's processes and network. For root on hosts that forbid namespaces.
    Chroot(&'a Path),
}

/// Why something could not be run in a sandbox.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel or its configuration forbids a part of the sandbox.
    #[error("cannot {}{advice}", step.name())]
    Forbidden {
        /// What was refused.
        step: Step,
        /// What to change, if that can be told: begins with `: `, or is empty.
        advice: String,
        /// The kernel's reason.
        source: std::io::Error,
    },
    /// A plain chroot was asked for by an ordinary user.
    #[error("a plain chroot needs root")]
    NotRoot,
    /// An emulator was asked for in a plain chroot.
    #[error("programs of another processor cannot be run in a plain chroot")]
    EmulatorInChroot,
    /// Processes of the sandbox were killed from outside, or the kernel ran out of memory.
    #[error("the sandbox ended unexpectedly")]
    Gone,
    /// Speaking with the sandbox failed.
    #[error("cannot speak with the sandbox")]
    Control(#[source] std::io::Error),
    /// A thread could not be started.
    #[error("cannot start the thread that answers system calls")]
    Thread(#[source] std::io::Error),
    /// The host failed while a system call of a program was answered; the program may have gone on.
    #[error("a system call could not be answered")]
    Unanswered(#[source] std::io::Error),
    /// A path of the tree could not be opened to mark it.
    #[error("cannot open {path} in the laid-out tree")]
    Unmarkable {
        /// The path.
        path: TreePath,
        /// The kernel's reason.
        source: std::io::Error,
    },
    /// A file of the tree could not be read or written from outside.
    #[error("cannot read or write {path} in the sandbox")]
    File {
        /// The file.
        path: TreePath,
        /// The kernel's reason.
        source: std::io::Error,
    },
    /// This program could not be brought into the tree, to run a script there itself.
    #[error("cannot bring this program into the sandbox")]
    NotBrought(#[source] std::io::Error),
    /// A program could not be started: it is missing, or its interpreter is, or it is for another
    /// architecture.
    #[error("cannot execute {program}")]
    NotStarted {
        /// The program, escaped.
        program: String,
        /// The kernel's reason.
        source: std::io::Error,
    },
    /// A program ran for too long, and was killed with all it had started.
    #[error("{program} did not end within {} seconds", limit.as_secs())]
    TookTooLong {
        /// The program, escaped.
        program: String,
        /// The limit.
        limit: Duration,
    },
    /// A program printed too much, and was killed with all it had started.
    #[error("{program} printed more than {limit} bytes")]
    PrintedTooMuch {
        /// The program, escaped.
        program: String,
        /// The limit.
        limit: u64,
    },
}

impl Error {
    fn file(path: &TreePath) -> impl FnOnce(Errno) -> Self + use<> {
        let path = path.clone();
        move |errno| Self::File { path, source: errno.into() }
    }
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        Self::Control(errno.into())
    }
}

/// An empty file system of memory, to be filled with a tree.
///
/// Must be kept by the thread that made it: the kernel ends the sandbox with that thread.
#[derive(Debug)]
pub struct Prepared {
    inside: Inside,
    directory: OwnedFd,
    record: Record,
    limits: Limits,
    place: Option<plain::Place>,
}

/// A tree that is the root of its own small world.
#[derive(Debug)]
pub struct Sandbox {
    inside: Inside,
    directory: OwnedFd,
    supervisor: Supervisor,
    limits: Limits,
    place: Option<plain::Place>,
}

/// What is left when all commands have ended: the file system lives until this is dropped.
#[derive(Debug)]
pub struct Left {
    directory: OwnedFd,
    /// What the disk does not show.
    pub record: Record,
}

/// The first process of the sandbox, which dies with this value.
#[derive(Debug)]
struct Inside {
    process: Pid,
    control: OwnedFd,
    /// It ends the others itself, and must not be killed before that.
    is_plain: bool,
    /// The kernel ties the process to the thread that started it.
    not_send: PhantomData<*const ()>,
}

impl Prepared {
    /// Makes the namespaces and the file system. Programs of another processor run by `emulator`.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::Control`], [`Error::Gone`]; for a plain chroot
    /// [`Error::NotRoot`] and [`Error::EmulatorInChroot`].
    pub fn new(
        limits: Limits,
        walls: Walls<'_>,
        emulator: Option<&Emulator>,
    ) -> Result<Self, Error> {
        let place = match walls {
            Walls::Namespaces => None,
            Walls::Chroot(_) if emulator.is_some() => return Err(Error::EmulatorInChroot),
            Walls::Chroot(folder) => Some(plain::Place::make(folder)?),
        };
        let plan = Plan {
            plain: place.as_ref().map(|place| place.tree().to_owned()),
            ..plan(&limits, emulator)?
        };
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        let helper = match kernel::fork()? {
            Fork::Child => init::run(&plan, theirs.as_raw_fd()),
            Fork::Parent(helper) => helper,
        };
        drop(theirs);
        let first = expect(&ours, Kind::Process);
        wait_for(helper);
        let (answer, _) = first?;
        let process = Pid::from_raw(answer.value).ok_or(Error::Gone)?;
        let is_plain = place.is_some();
        let inside = Inside { process, control: ours, is_plain, not_send: PhantomData };
        request::send(inside.control.as_fd(), b"m", None)?;
        let (_, directory) = expect(&inside.control, Kind::Ready)?;
        let directory = directory.ok_or(Error::Gone)?;
        let record = if is_plain { Record::holding() } else { Record::default() };
        Ok(Self { inside, directory, record, limits, place })
    }

    /// The directory to lay the tree out in. It has a name for this process alone.
    pub fn directory(&self) -> PathBuf {
        path_of(&self.directory)
    }

    /// Says what a laid-out file has beyond what the disk can show: its owner, or what device it
    /// stands for.
    ///
    /// # Errors
    /// [`Error::Unmarkable`].
    pub fn mark(&mut self, path: &TreePath, marks: Marks) -> Result<(), Error> {
        let (inode, file) = inode_at(&self.directory, path)
            .map_err(|errno| Error::Unmarkable { path: path.clone(), source: errno.into() })?;
        *self.record.entry(inode) = marks;
        self.record.hold(inode, file);
        Ok(())
    }

    /// Makes the tree the root of everything that runs from now on.
    ///
    /// # Errors
    /// As [`Prepared::new`], and [`Error::Thread`].
    pub fn enter(self) -> Result<Sandbox, Error> {
        let Self { inside, directory, record, limits, place } = self;
        let mut shown = Vec::new();
        if let Some(place) = &place {
            place.put_dev_aside(&directory)?;
            shown = plain::path_shown(&directory)?;
        }
        request::send(inside.control.as_fd(), b"e", None)?;
        let (_, listener) = expect(&inside.control, Kind::Entered)?;
        let listener = listener.ok_or(Error::Gone)?;
        let copy = rustix::io::fcntl_dupfd_cloexec(&directory, 0)?;
        let supervisor = Supervisor::start(listener, copy, shown, record)?;
        Ok(Sandbox { inside, directory, supervisor, limits, place })
    }
}

impl Sandbox {
    /// The directory that is the root of the sandbox, as this process may name it. What is mounted
    /// inside (`/proc`, `/dev`) does not show.
    pub fn directory(&self) -> PathBuf {
        path_of(&self.directory)
    }

    /// Runs a command to its end, and ends whatever it has started. Gives `output` everything that
    /// it prints, as it comes.
    ///
    /// # Errors
    /// [`Error::NotStarted`], after which others can be run; all others end the sandbox. When this
    /// machine fails and not the program, that is never told as the program's end.
    pub fn run(
        &mut self,
        command: &Command<'_>,
        output: &mut dyn FnMut(&[u8]),
    ) -> Result<Status, Error> {
        let status = run::run(&self.inside, &self.limits, command, output)?;
        self.supervisor.check()?;
        Ok(status)
    }

    /// As [`Prepared::mark`], between two commands.
    ///
    /// # Errors
    /// [`Error::Unmarkable`].
    pub fn mark(&self, path: &TreePath, marks: Marks) -> Result<(), Error> {
        let (inode, file) = inode_at(&self.directory, path)
            .map_err(|errno| Error::Unmarkable { path: path.clone(), source: errno.into() })?;
        self.supervisor.change(|record| {
            *record.entry(inode) = marks;
            record.hold(inode, file);
        });
        Ok(())
    }

    /// Reads a regular file of the tree, empty if it is not there. Links are followed inside the
    /// tree only.
    ///
    /// # Errors
    /// [`Error::File`], also when it is no regular file or larger than 64 MiB.
    pub fn read_file(&self, path: &TreePath) -> Result<Vec<u8>, Error> {
        file::read(&self.directory, path).map_err(Error::file(path))
    }

    /// Puts a file of mode 0644 in the place of another one. Links on the way are followed inside
    /// the tree only; one at the end is replaced.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn replace_file(&self, path: &TreePath, bytes: &[u8]) -> Result<(), Error> {
        file::replace(&self.directory, path, bytes).map_err(Error::file(path))
    }

    /// Brings this very program into a folder of the tree, with all that it takes to run there.
    ///
    /// # Errors
    /// [`Error::NotBrought`].
    pub fn bring_this_program(&self, folder: &TreePath) -> Result<ThisProgram, Error> {
        own::bring(&self.directory, folder).map_err(Error::NotBrought)
    }

    /// Removes a file of the tree, if it is there. Links on the way are followed inside the tree only.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn remove_file(&self, path: &TreePath) -> Result<(), Error> {
        file::remove(&self.directory, path).map_err(Error::file(path))
    }

    /// Renames a file or directory of the tree. Links on the way are followed inside the tree only.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn rename(&self, from: &TreePath, to: &TreePath) -> Result<(), Error> {
        file::rename(&self.directory, from, to).map_err(Error::file(from))
    }

    /// Ends the sandbox; what it did to its tree can be read until the result is dropped.
    ///
    /// # Errors
    /// [`Error::Control`], of a plain chroot only.
    pub fn finish(self) -> Result<Left, Error> {
        let Self { inside, directory, supervisor, place, .. } = self;
        drop(inside);
        if let Some(place) = place {
            place.put_dev_back(&directory)?;
        }
        Ok(Left { directory, record: supervisor.finish() })
    }
}

impl Left {
    /// The directory with the tree.
    pub fn directory(&self) -> PathBuf {
        path_of(&self.directory)
    }

    /// The inode number of a path of the tree, as the record's key.
    ///
    /// # Errors
    /// [`Error::Unmarkable`].
    pub fn inode(&self, path: &TreePath) -> Result<u64, Error> {
        inode_at(&self.directory, path)
            .map(|(inode, _)| inode)
            .map_err(|errno| Error::Unmarkable { path: path.clone(), source: errno.into() })
    }
}

impl Inside {
    fn kill(&self) {
        if self.is_plain {
            // It kills all others and ends when nobody speaks with it any more.
            let _closed_already = rustix::net::shutdown(&self.control, Shutdown::Both);
            return;
        }
        // It is our child and was not waited for, so the number is its own; it may be dead.
        let _dead_already =
            rustix::process::kill_process(self.process, rustix::process::Signal::KILL);
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.kill();
        wait_for(self.process.as_raw_nonzero().get());
    }
}

fn plan(limits: &Limits, emulator: Option<&Emulator>) -> Result<Plan, Error> {
    let text = |text: String| CString::new(text).expect("numbers have no NUL");
    Ok(Plan {
        user: text(format!("0 {} 1", rustix::process::geteuid().as_raw())),
        group: text(format!("0 {} 1", rustix::process::getegid().as_raw())),
        size: text(limits.bytes.to_string()),
        inodes: text(limits.files.to_string()),
        processes: text(limits.processes.to_string()),
        resources: limits.resources(),
        emulator: emulator.cloned(),
        plain: None,
        filter: filter::program(),
        board: Board::new()?,
    })
}

/// Waits for an answer of the given kind.
fn expect(control: &OwnedFd, kind: Kind) -> Result<(Answer, Option<OwnedFd>), Error> {
    match request::receive_answer(control.as_fd())? {
        Some((answer, descriptor)) if answer.kind == kind => Ok((answer, descriptor)),
        Some((answer, _)) if answer.kind == Kind::Failed => Err(refusal(answer)),
        _ => Err(Error::Gone),
    }
}

fn refusal(answer: Answer) -> Error {
    let step = Step::from_number(answer.step).unwrap_or(Step::Control);
    let source = std::io::Error::from_raw_os_error(answer.value);
    Error::Forbidden { step, advice: advice::for_this_host(step, answer.value), source }
}

/// Waits for a child to end.
fn wait_for(process: i32) {
    let Some(process) = Pid::from_raw(process) else { return };
    while matches!(rustix::process::waitpid(Some(process), WaitOptions::empty()), Err(Errno::INTR))
    {
    }
}

fn path_of(directory: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()))
}

/// The number of a path's inode, and the file itself.
fn inode_at(directory: &OwnedFd, path: &TreePath) -> rustix::io::Result<(u64, OwnedFd)> {
    if path.is_root() {
        let copy = rustix::io::fcntl_dupfd_cloexec(directory, 0)?;
        return Ok((rustix::fs::fstat(directory)?.st_ino, copy));
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let file = rustix::fs::openat2(directory, path.as_bytes(), flags, Mode::empty(), resolve)?;
    Ok((rustix::fs::statat(&file, c"", AtFlags::EMPTY_PATH)?.st_ino, file))
}
