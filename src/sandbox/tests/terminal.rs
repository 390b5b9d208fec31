//! A script that would type into the terminal from which the build was started (CVE-2017-5226).

use std::process::{Command as Program, Stdio};

use super::*;

/// As the kernel numbers it on most architectures, and with bits that it ignores.
const REQUESTS: [i64; 2] = [0x5412, 0x7FFF_FFFF_0000_5412];

/// Types into everything that is open, and looks for a terminal to open.
pub(super) fn type_into_it() {
    for descriptor in 0..3 {
        for request in REQUESTS {
            say(type_letter(descriptor, request));
        }
    }
    say(write_to("/dev/tty"));
    say(fs_err::read_dir("/dev/pts").unwrap().count());
    say(rustix::termios::tcgetpgrp(std::io::stdin()).is_err());
}

fn type_letter(descriptor: i64, request: i64) -> String {
    let letter = b'x';
    // SAFETY: the argument is a byte that is only read.
    outcome(unsafe { libc::syscall(libc::SYS_ioctl, descriptor, request, &raw const letter) })
}

/// How many bytes wait on our own terminal to be read.
fn waiting() -> u64 {
    rustix::io::ioctl_fionread(std::io::stdin()).unwrap()
}

/// The builder, on a terminal. Run by hand elsewhere it does nothing.
#[test]
#[ignore = "a part of s7_a_script_cannot_type_into_the_terminal_of_the_build"]
fn on_a_terminal() {
    if !rustix::termios::isatty(std::io::stdin()) {
        return;
    }
    // Letter by letter, and not shown: what is typed can be read at once.
    let mut manner = rustix::termios::tcgetattr(std::io::stdin()).unwrap();
    let line_by_line = rustix::termios::LocalModes::ICANON | rustix::termios::LocalModes::ECHO;
    manner.local_modes.remove(line_by_line);
    let now = rustix::termios::OptionalActions::Now;
    rustix::termios::tcsetattr(std::io::stdin(), now, &manner).unwrap();
    probe("terminal").into_iter().for_each(say);
    say(format!("waiting {}", waiting()));
    // The nearest good neighbour: we may type, if this kernel still lets anybody, and it is seen.
    let typed = type_letter(0, REQUESTS[0]);
    say(format!("seen {}", typed != "ok" || waiting() > 0));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a terminal is made by another program")]
fn s7_a_script_cannot_type_into_the_terminal_of_the_build() {
    let own = std::env::current_exe().unwrap();
    let name = "sandbox::tests::terminal::on_a_terminal";
    let line = format!("{} --ignored --exact {name} --nocapture --quiet", own.display());
    let mut command = Program::new("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = started else {
        return crate::testing::skip("script, of util-linux or bsdutils, is not installed");
    };
    let keyboard = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    drop(keyboard);
    let printed = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    assert!(output.status.success(), "{printed}");
    let expected = [&["EPERM"; 6][..], &["ENOENT", "0", "true", "waiting 0", "seen true"]].concat();
    assert_eq!(answers(&printed), expected, "{printed}");
}
