//! Peers that run programs of another processor, without a change to the host.
//!
//! In: a command; out: it has run as root of a user namespace, in which the kernel starts such programs
//! by Debian's static emulator. Users and groups have the same numbers inside, so what it writes has its
//! owners; devices it cannot make.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::Outcome;
use crate::peer;

/// What waits inside until numbers are mapped, registers the emulator, and becomes the command.
const INSIDE: &str = r#"
read -r go
exec sh -ec '
    mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
    cat > /proc/sys/fs/binfmt_misc/register << END
:aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:/usr/bin/qemu-aarch64-static:F
END
    exec "$@" < /dev/null' "$@"
"#;

/// Runs `command` where programs of aarch64 run, too.
///
/// # Errors
/// When it cannot be started or reports failure, or the kernel has no such namespaces.
pub(crate) fn run(command: &Command) -> Outcome {
    let mut outer = peer::start("unshare");
    outer.args(["--user", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", INSIDE]);
    outer.args(["sh", "sh"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        outer.env(name, value.unwrap_or_default());
    }
    let mut child = outer.stdin(Stdio::piped()).spawn()?;
    let process = format!("/proc/{}", child.id());
    let own = fs_err::read_link("/proc/self/ns/user")?;
    while fs_err::read_link(format!("{process}/ns/user")).is_ok_and(|theirs| theirs == own) {
        sleep(Duration::from_millis(10));
    }
    for map in ["uid_map", "gid_map"] {
        fs_err::write(format!("{process}/{map}"), "0 0 65536")?;
    }
    child.stdin.take().ok_or("the command reads nothing")?.write_all(b"go\n")?;
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} ended with {status}").into()) }
}
