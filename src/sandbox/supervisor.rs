//! The thread that answers the system calls which the filter shows to us.
//!
//! One thread is enough: scripts run one after another, and an answer takes microseconds. It ends
//! when the last process of the sandbox is gone, which closes the listener's other side; see
//! `seccomp_unotify(2)`.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::calls::{Calls, Reply};
use super::{Error, Record, blame, kernel};

/// The thread and what it will return.
#[derive(Debug)]
pub(super) struct Supervisor {
    thread: JoinHandle<()>,
    shared: Arc<Mutex<Shared>>,
}

/// What the thread writes down.
#[derive(Debug)]
struct Shared {
    record: Record,
    /// Why a call could not be answered as it should, if that was the host's failure.
    trouble: Option<Errno>,
}

impl Supervisor {
    /// Starts answering. `tree` is the tree's root without mounts inside, `shown` what `/proc` shows
    /// before its paths.
    pub(super) fn start(
        listener: OwnedFd,
        tree: OwnedFd,
        shown: Vec<u8>,
        record: Record,
    ) -> Result<Self, Error> {
        let device = rustix::fs::fstat(&tree)?.st_dev;
        let shared = Arc::new(Mutex::new(Shared { record, trouble: None }));
        let written = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("system calls".into())
            .spawn(move || {
                let place = Tree { root: &tree, device, shown: &shown };
                answer_all(&listener, &place, &written);
            })
            .map_err(Error::Thread)?;
        Ok(Self { thread, shared })
    }

    /// Changes the record between two commands.
    pub(super) fn change(&self, change: impl FnOnce(&mut Record)) {
        change(&mut lock(&self.shared).record);
    }

    /// Whether every call so far was answered.
    ///
    /// # Errors
    /// [`Error::Unanswered`]: the programs were told of a failure that was not theirs.
    pub(super) fn check(&self) -> Result<(), Error> {
        lock(&self.shared).trouble.map_or(Ok(()), |errno| Err(Error::Unanswered(errno.into())))
    }

    /// Waits for the end, which comes when all processes are gone, and returns the record.
    pub(super) fn finish(self) -> Record {
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
        std::mem::take(&mut lock(&self.shared).record)
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where the files are that calls name.
struct Tree<'a> {
    root: &'a OwnedFd,
    device: u64,
    shown: &'a [u8],
}

fn answer_all(listener: &OwnedFd, place: &Tree<'_>, shared: &Mutex<Shared>) {
    kernel::wake_synchronously(listener.as_fd());
    loop {
        let mut waits = [PollFd::new(listener, PollFlags::IN)];
        match poll(&mut waits, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return lock(shared).trouble = Some(errno),
        }
        let [wait] = waits;
        if !wait.revents().contains(PollFlags::IN) {
            if wait.revents().intersects(PollFlags::HUP | PollFlags::ERR) {
                return;
            }
            continue;
        }
        let call = match kernel::receive_notification(listener.as_fd()) {
            Ok(Some(call)) => call,
            Ok(None) => continue,
            Err(errno) => return lock(shared).trouble = Some(errno),
        };
        let still_waits = || kernel::still_waits(listener.as_fd(), call.id);
        let mut shared = lock(shared);
        let Tree { root: tree, device, shown } = *place;
        let record = &mut shared.record;
        let reply = Calls { tree, device, shown, record }.answer(&call, still_waits);
        if let Reply::Error(errno) = reply
            && blame::is_the_host_s(errno)
        {
            shared.trouble = Some(errno);
        }
        drop(shared);
        let (val, error, flags) = match reply {
            #[expect(clippy::cast_possible_truncation, reason = "the flag is 1")]
            Reply::Continue => (0, 0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
            Reply::Value(value) => (value, 0, 0),
            Reply::Error(errno) => (0, -errno.raw_os_error(), 0),
        };
        let answer = libc::seccomp_notif_resp { id: call.id, val, error, flags };
        kernel::answer_notification(listener.as_fd(), &answer);
    }
}
