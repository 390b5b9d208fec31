//! Guests for both inits, as image and as initrd, made from the host's Debian mirror and started:
//! the agent answers. For another processor too, if one is named: then packages' scripts run by an
//! emulator, which takes minutes.

use std::path::Path;

use crate::peer;
use crate::{Outcome, say};

/// Form, init, further options of `osbuilder boot`.
const GUESTS: &[(&str, &str, &[&str])] = &[
    ("image", "systemd", &[]),
    ("image", "agent", &[]),
    ("image", "agent", &["--attach", "nvdimm"]),
    ("initrd", "agent", &[]),
    ("initrd", "systemd", &[]),
];

/// Likewise, of another processor.
const FOREIGN_GUESTS: &[(&str, &str, &[&str])] =
    &[("initrd", "agent", &[]), ("image", "systemd", &[])];

/// Runs the task for this machine's processor.
pub(crate) fn run() -> Outcome {
    in_folder(std::env::consts::ARCH, GUESTS)
}

/// Runs the task for another processor.
pub(crate) fn run_foreign(architecture: &str) -> Outcome {
    let mut program = peer::start("make");
    program.args(["program", &format!("ARCH={architecture}")]).current_dir(peer::checkout());
    peer::run(&mut program)?;
    in_folder(architecture, FOREIGN_GUESTS)
}

fn in_folder(architecture: &str, guests: &[(&str, &str, &[&str])]) -> Outcome {
    let work = std::env::temp_dir().join(format!("osbuilder-boot-{}", std::process::id()));
    fs_err::create_dir_all(&work)?;
    let outcome = boot_all(architecture, guests, &work);
    fs_err::remove_dir_all(&work)?;
    outcome
}

fn boot_all(architecture: &str, guests: &[(&str, &str, &[&str])], work: &Path) -> Outcome {
    let mirrors = peer::host_mirrors()?;
    for (form, init, options) in guests {
        let guest = work.join(format!("{form}-{init}"));
        let start = || {
            let mut command = peer::start(peer::osbuilder());
            command.args(["--cache".as_ref(), work.join("cache").as_os_str()]);
            command
        };
        if !guest.exists() {
            let mut command = start();
            command.args([form, "debian", "--arch", architecture, "--init", init]);
            command.args(["--agent", "probe", "--mirror", &mirrors.archive]);
            command.arg("--lock").arg(work.join(format!("{init}.lock"))).arg("--output");
            peer::run(command.arg(&guest))?;
        }
        let mut command = start();
        command.args(["boot", "--arch", architecture, "--timeout", "600"]).arg(&guest);
        peer::run(command.args(*options).args(["--mirror", &mirrors.archive]))?;
        say(&format!("boot {form} {init} {options:?}: the agent answered"));
    }
    Ok(())
}
