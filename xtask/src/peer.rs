//! The reference tools that tasks run beside osbuilder, and the host's own Debian mirrors.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// What Kata's guests of Debian are made of where systemd is the init.
pub(crate) const SYSTEMD: &[&str] = &[
    "chrony",
    "coreutils",
    "cryptsetup-bin",
    "dbus",
    "e2fsprogs",
    "init",
    "iptables",
    "kmod",
    "libseccomp2",
    "systemd",
];

/// Where the host gets Debian from, as its apt configuration says: archive and security roots.
#[derive(Debug)]
pub(crate) struct Mirrors {
    /// Root of the archive.
    pub(crate) archive: String,
    /// Root of the security archive.
    pub(crate) security: String,
}

/// Reads the host's Debian mirrors from its apt configuration.
///
/// # Errors
/// When the host has no Debian archive and security archive configured.
pub(crate) fn host_mirrors() -> Result<Mirrors, Box<dyn std::error::Error>> {
    let output = start("apt-get")
        .args(["indextargets", "--format", "$(REPO_URI)\t$(ORIGIN)\t$(LABEL)"])
        .stderr(Stdio::inherit())
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let find = |label: &str| {
        let wanted = format!("\tDebian\t{label}");
        let line = text.lines().find(|line| line.ends_with(&wanted));
        line.and_then(|line| line.split('\t').next())
            .map(|url| url.trim_end_matches('/').to_owned())
            .ok_or_else(|| format!("the host's apt has no archive labelled {label:?}"))
    };
    Ok(Mirrors { archive: find("Debian")?, security: find("Debian-Security")? })
}

impl Mirrors {
    /// The lines of `sources.list` for a release with its updates and security suites.
    pub(crate) fn sources(&self, codename: &str) -> [String; 3] {
        [
            format!("deb {} {codename} main", self.archive),
            format!("deb {} {codename}-updates main", self.archive),
            format!("deb {} {codename}-security main", self.security),
        ]
    }
}

/// Runs a command with its output going to ours.
///
/// # Errors
/// When it cannot be started or reports failure.
pub(crate) fn run(command: &mut Command) -> Result<(), Box<dyn std::error::Error>> {
    let status: ExitStatus = command.status().map_err(|e| format!("{command:?}: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} ended with {status}").into()) }
}

/// A command to be run, with nothing on its standard input.
#[expect(clippy::disallowed_methods, reason = "tasks exist to start programs")]
pub(crate) fn start(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    let xtask = std::env::current_exe().expect("the kernel knows our path");
    xtask.ancestors().nth(2).expect("xtask lies in target/PROFILE/").to_owned()
}

/// Builds the program and what lies beside it, as `make program` with these variables does.
///
/// # Errors
/// When it cannot be built.
pub(crate) fn build_program(variables: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let mut make = start("make");
    make.arg("program").args(variables).current_dir(checkout());
    run(make.env("CARGO_TARGET_DIR", target()))
}

/// The osbuilder program that cargo builds for release.
pub(crate) fn osbuilder() -> PathBuf {
    target().join("release").join("osbuilder")
}

/// The bundled stand-in for the agent, beside the program.
pub(crate) fn probe() -> PathBuf {
    osbuilder().with_file_name(format!("guest-probe-{}", std::env::consts::ARCH))
}

/// The root of the checkout.
pub(crate) fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the checkout")
}
