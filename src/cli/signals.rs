//! Ctrl-C and SIGTERM: leave nothing half done, and say so by the exit status.
//!
//! Outputs are complete or absent at any moment, and sandboxes and virtual machines end with the
//! program, so there is little to do: take temporary names away and go.

use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Listens for SIGINT, SIGTERM and SIGHUP for as long as the program runs.
///
/// # Errors
/// When the kernel refuses to install the handlers.
pub(super) fn watch() -> std::io::Result<()> {
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
    super::show::say("interrupted: nothing half done is left behind");
    std::process::exit(128 + signal);
}
