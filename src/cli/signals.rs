//! Ctrl-C, SIGTERM and SIGHUP: leave nothing half done, and say so by the exit status.
//!
//! Outputs are complete or absent at any moment, and sandboxes and virtual machines end with the
//! program, so there is little to do: take temporary names away and go.

use std::io;
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Listens for SIGINT, SIGTERM and SIGHUP for as long as the program runs.
///
/// # Errors
/// When the kernel refuses to install the handlers or to start a thread.
pub(super) fn watch() -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let wait = move || {
        if let Some(signal) = signals.forever().next() {
            leave(signal);
        }
    };
    thread::Builder::new().spawn(wait).map(drop)
}

#[expect(clippy::exit, reason = "a signal ends the program wherever its threads are")]
fn leave(signal: i32) {
    osbuilder::store::abandon_all();
    say_if_somebody_reads("interrupted: nothing half done is left behind\n");
    std::process::exit(128 + signal);
}

/// Writes to standard error, unless that would have to wait: another thread may hold its lock, and
/// wait for a reader that never reads.
fn say_if_somebody_reads(line: &str) {
    let stderr = io::stderr();
    let mut waits = [PollFd::new(&stderr, PollFlags::OUT)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    if poll(&mut waits, Some(&now)) == Ok(1) && waits[0].revents().contains(PollFlags::OUT) {
        let _gone = rustix::io::write(stderr, line.as_bytes());
    }
}
