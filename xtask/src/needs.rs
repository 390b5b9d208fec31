//! What a task needs of the host, asked for before it begins and named when it is not there.

use std::path::Path;
use std::process::Stdio;

use crate::peer;

/// Something without which a task cannot run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Need {
    /// A program: its name, and the Debian package that has it.
    Tool(&'static str, &'static str),
    /// To be root.
    Root,
    /// User namespaces, in which scripts run.
    Sandbox,
    /// strace may stop processes.
    Tracing,
    /// Root may mount, in a namespace of its own.
    Mounts,
    /// So many MiB where temporary files go.
    Room(u64),
}

/// Finds out which needs are not met: each as the rest of a sentence.
pub(crate) fn missing(needs: &[Need]) -> Vec<String> {
    needs.iter().filter_map(|need| refusal(*need)).collect()
}

fn refusal(need: Need) -> Option<String> {
    let (works, refused) = match need {
        Need::Tool(name, package) => {
            (is_there(name), format!("{name} is missing (package {package})"))
        }
        Need::Root => (
            rustix::process::geteuid().is_root(),
            "root is needed, to become somebody else or to run the peer".to_owned(),
        ),
        Need::Sandbox => (
            succeeds(
                "unshare",
                &["--user", "--map-root-user", "--mount", "--pid", "--fork", "true"],
            ),
            "this host forbids user namespaces, in which scripts run".to_owned(),
        ),
        Need::Tracing => (
            succeeds("strace", &["-o", "/dev/null", "true"]),
            "this host forbids strace to stop processes (ptrace)".to_owned(),
        ),
        Need::Mounts => (
            succeeds("unshare", &["--mount", "mount", "-t", "tmpfs", "none", "/tmp"]),
            "root may not mount here, which the peer does".to_owned(),
        ),
        Need::Room(mib) => {
            let folder = std::env::temp_dir();
            let free = rustix::fs::statvfs(&folder).map_or(u64::MAX, |s| s.f_bavail * s.f_frsize);
            let place = folder.display();
            (free >> 20 >= mib, format!("{place} has {} MiB, {mib} are needed", free >> 20))
        }
    };
    (!works).then_some(refused)
}

#[expect(clippy::disallowed_methods, reason = "the search path is where programs are looked for")]
fn is_there(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([Path::new("/usr/sbin").to_owned()]);
    name.starts_with('/') && Path::new(name).exists()
        || folders.into_iter().any(|folder| folder.join(name).is_file())
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let mut command = peer::start(program);
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
