//! Guests of AlmaLinux 9 for aarch64, made from real packages whose scripts run by an emulator, and
//! started as image and as initrd on an emulated machine, with Debian's kernel.

use std::path::Path;

use crate::boot::{osbuilder, starter};
use crate::needs::{self, Need};
use crate::parity_rpm::ALMA_PACKAGES;
use crate::peer::Mirrors;
use crate::{Outcome, check, medium, peer, say};

const ARCHITECTURE: &str = "aarch64";
/// What the stand-in agent is compiled for.
const TARGET: &str = "aarch64-unknown-linux-musl";

const NEEDS: &[Need] = &[
    Need::Tool("qemu-system-aarch64", "qemu-system-arm"),
    Need::Tool("qemu-aarch64-static", "qemu-user-static"),
];

/// Builds and starts them below `work`.
pub(crate) fn run(work: &Path, mirrors: &Mirrors) -> Outcome {
    let Some(data) = medium::data("rpm")? else { return Ok(()) };
    let missing = missing();
    if !missing.is_empty() {
        return if check::is_ci() { Err(missing.into()) } else { skip(&missing) };
    }
    let mut program = peer::start("make");
    program.args(["program", &format!("ARCH={ARCHITECTURE}")]).current_dir(peer::checkout());
    peer::run(&mut program)?;
    let recipe = work.join("alma.toml");
    fs_err::write(&recipe, self::recipe(&data))?;
    for form in ["image", "initrd"] {
        let guest = work.join(format!("{form}-alma"));
        let mut command = osbuilder(work);
        command.args([form, "--agent", "probe", "--init", "agent", "--recipe"]).arg(&recipe);
        for key in ["RPM-GPG-KEY-AlmaLinux-9", "rpm-test.pub.asc"] {
            command.arg("--key").arg(data.join("keys").join(key));
        }
        command.arg("--lock").arg(work.join("alma.lock")).arg("--output");
        peer::run(command.arg(&guest))?;
        peer::run(&mut starter(&guest, (ARCHITECTURE, &[]), (work, mirrors)))?;
        say(&format!("boot {form} of AlmaLinux 9 for {ARCHITECTURE}: the agent answered"));
    }
    Ok(())
}

/// What the host lacks, in words.
fn missing() -> String {
    let mut missing = needs::missing(NEEDS);
    // Rust's library for that processor comes with rustup or not at all: no package brings one.
    let mut library = peer::start("rustup");
    if peer::run(library.args(["--quiet", "target", "add", TARGET])).is_err() {
        missing.push(format!("rustup brings no library for {TARGET}"));
    }
    missing.join("; ")
}

fn recipe(data: &Path) -> String {
    format!(
        "distribution = \"alma\"\nversion = \"9\"\narchitecture = \"{ARCHITECTURE}\"\n\
         packages = {ALMA_PACKAGES:?}\nsources.mirrors = [\"file://{}\"]\n",
        data.join("el9-aarch64").display()
    )
}

fn skip(reason: &str) -> Outcome {
    say(&format!("boot of AlmaLinux 9: SKIPPED: {reason}"));
    Ok(())
}
