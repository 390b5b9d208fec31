//! Whose failure an error is: the host's, or what a script asked for.
//!
//! A script may hear that a file is missing or that something is forbidden, and act on it. That this
//! machine is short of descriptors or memory, or cannot read its disk, is nothing for it to hear: it
//! might go on, and leave a tree that is subtly wrong. Such an error ends the build.

use rustix::io::Errno;

/// What only the state of the host explains: no path, no argument and no right of a script does.
const HOST_S: [Errno; 5] = [Errno::IO, Errno::STALE, Errno::MFILE, Errno::NFILE, Errno::NOMEM];

/// Whether an error is the host's.
pub(super) fn is_the_host_s(errno: Errno) -> bool {
    HOST_S.contains(&errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_script_asked_for_is_its_own() {
        for errno in [Errno::MFILE, Errno::IO, Errno::NOMEM] {
            assert!(is_the_host_s(errno), "{errno}");
        }
        for errno in [Errno::NOENT, Errno::ACCESS, Errno::PERM, Errno::NOSPC, Errno::NOEXEC] {
            assert!(!is_the_host_s(errno), "{errno}");
        }
    }
}
