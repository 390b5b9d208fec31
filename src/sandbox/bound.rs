//! Programs of the host that must not outlive us, such as a virtual machine.

#![expect(unsafe_code, reason = "only the child itself can bind its life to ours")]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// Makes the program that `command` will start end, by `SIGKILL`, with the thread that starts it,
/// however that thread ends.
pub fn die_with_us(command: &mut Command) {
    let us = Pid::from_raw(i32::try_from(std::process::id()).unwrap_or_default());
    let bind = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // We may have ended before the line above.
        if getppid() == us { Ok(()) } else { Err(io::ErrorKind::NotConnected.into()) }
    };
    // SAFETY: between fork and exec this makes two system calls and builds errors that need no
    // memory.
    unsafe { command.pre_exec(bind) };
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "this is about a program of the host")]
    fn a_program_ends_with_the_thread_that_started_it() {
        let start = || {
            let mut command = Command::new("sleep");
            command.arg("60");
            die_with_us(&mut command);
            command.spawn()
        };
        let started = std::thread::spawn(start).join().unwrap();
        let status = started.unwrap().wait().unwrap();
        assert_eq!(status.signal(), Some(9));
    }
}
