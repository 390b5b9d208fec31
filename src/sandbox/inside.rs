//! What this program does with processes when it is itself inside a sandbox, as the interpreter of a
//! script.
//!
//! In: words of programs; out: how they ended. It has one thread there, and nothing of it runs outside
//! of a sandbox.

#![expect(unsafe_code, reason = "the environment of the only thread is changed")]

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Command;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::kernel::{self, Fork};

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself, with this status.
    Exited(i32),
    /// By this signal.
    Killed(i32),
}

/// Makes a second process: none in it, its number in the first.
///
/// # Errors
/// The kernel's.
pub fn fork() -> Result<Option<i32>, Errno> {
    match kernel::fork()? {
        Fork::Child => {
            kernel::reset_signals();
            Ok(None)
        }
        Fork::Parent(process) => Ok(Some(process)),
    }
}

/// Becomes another program; returns only why that failed.
pub fn become_program(words: &[Vec<u8>]) -> Errno {
    errno_of(&command(words).exec())
}

/// Runs a program to its end.
///
/// # Errors
/// Why it cannot be started.
pub fn run_program(words: &[Vec<u8>]) -> Result<End, Errno> {
    let status = command(words).status().map_err(|error| errno_of(&error))?;
    let code = status.code().map(End::Exited);
    Ok(code.unwrap_or_else(|| End::Killed(status.signal().unwrap_or(0))))
}

#[expect(
    clippy::disallowed_methods,
    reason = "scripts start programs, and this is one's interpreter"
)]
fn command(words: &[Vec<u8>]) -> Command {
    let mut words = words.iter().map(|word| OsStr::from_bytes(word));
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    command
}

fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::INVAL)
}

/// Lets a descriptor lead nowhere.
///
/// # Errors
/// The kernel's.
pub fn redirect_to_null(number: i32) -> Result<(), Errno> {
    let null = rustix::fs::open(c"/dev/null", OFlags::WRONLY, Mode::empty())?;
    kernel::copy_descriptor(null.as_raw_fd(), number)
}

/// Every variable of the environment.
pub fn environment() -> BTreeMap<Vec<u8>, Vec<u8>> {
    let variables = std::env::vars_os();
    variables.map(|(name, value)| (name.into_vec(), value.into_vec())).collect()
}

/// Sets a variable, or takes it away.
///
/// # Errors
/// `EINVAL` for a name or a value that cannot be.
pub fn set_variable(name: &[u8], value: Option<&[u8]>) -> Result<(), Errno> {
    let is_name = !name.is_empty() && !name.contains(&b'=') && !name.contains(&0);
    if !is_name || value.is_some_and(|value| value.contains(&0)) {
        return Err(Errno::INVAL);
    }
    let name = OsString::from_vec(name.to_vec());
    match value {
        // SAFETY: a script's interpreter has one thread, and nobody else reads the environment.
        Some(value) => unsafe { std::env::set_var(name, OsStr::from_bytes(value)) },
        // SAFETY: as above.
        None => unsafe { std::env::remove_var(name) },
    }
    Ok(())
}
