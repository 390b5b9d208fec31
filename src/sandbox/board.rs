//! What a new process leaves to its parent when it cannot become a program.
//!
//! In: why; out: the same, in the parent. It lies in memory that both see, so that saying it cannot
//! fail: a pipe could, and the end of a process that was never a script would look like a script's.

#![expect(unsafe_code, reason = "memory is shared between processes")]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::{Errno, Result};

/// Memory that survives a fork as one and the same. One process writes, then ends; then the other
/// reads.
#[derive(Debug)]
pub(super) struct Board(NonNull<AtomicU64>);

/// Why a process did not become a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotBegun {
    /// Its descriptors, limits or directory could not be set.
    Prepared(Errno),
    /// The program could not be executed.
    Executed(Errno),
}

/// Stands beside the error of [`NotBegun::Prepared`] and of [`NotBegun::Executed`].
const PREPARED: u64 = 1 << 32;
const EXECUTED: u64 = 2 << 32;

impl Board {
    /// An empty one.
    pub(super) fn new() -> Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let place = unsafe {
            libc::mmap(std::ptr::null_mut(), size_of::<AtomicU64>(), protection, flags, -1, 0)
        };
        if place == libc::MAP_FAILED {
            return Err(Errno::NOMEM);
        }
        NonNull::new(place.cast()).map(Self).ok_or(Errno::NOMEM)
    }

    fn number(&self) -> &AtomicU64 {
        // SAFETY: the mapping is aligned to a page, holds zeros at first, which are a valid number,
        // and lives as long as `self`.
        unsafe { self.0.as_ref() }
    }

    /// Leaves why.
    pub(super) fn leave(&self, why: NotBegun) {
        let (kind, errno) = match why {
            NotBegun::Prepared(errno) => (PREPARED, errno),
            NotBegun::Executed(errno) => (EXECUTED, errno),
        };
        self.number()
            .store(kind | u64::from(errno.raw_os_error().unsigned_abs()), Ordering::SeqCst);
    }

    /// Takes what was left, if anything was.
    pub(super) fn take(&self) -> Option<NotBegun> {
        let number = self.number().swap(0, Ordering::SeqCst);
        let errno = || i32::try_from(number % PREPARED).ok().map(Errno::from_raw_os_error);
        match number - number % PREPARED {
            PREPARED => errno().map(NotBegun::Prepared),
            EXECUTED => errno().map(NotBegun::Executed),
            _ => None,
        }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, whole, and nothing borrows it any more.
        unsafe { libc::munmap(self.0.as_ptr().cast(), size_of::<AtomicU64>()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_is_taken_once() {
        let board = Board::new().unwrap();
        assert_eq!(board.take(), None);
        for why in [NotBegun::Prepared(Errno::MFILE), NotBegun::Executed(Errno::NOENT)] {
            board.leave(why);
            assert_eq!([board.take(), board.take()], [Some(why), None]);
        }
    }
}
