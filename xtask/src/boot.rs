//! Guests for both inits, as image and as initrd, made from the host's Debian mirror and started:
//! the agent answers. And an image without an agent in it does not.

use std::path::Path;

use crate::peer::{self, Mirrors};
use crate::{Outcome, say};

/// Form, init, further options of `osbuilder boot`.
const GUESTS: &[(&str, &str, &[&str])] = &[
    ("image", "systemd", &[]),
    ("image", "agent", &[]),
    ("image", "agent", &["--attach", "nvdimm"]),
    ("initrd", "agent", &[]),
    ("initrd", "systemd", &[]),
];

/// Runs the task.
pub(crate) fn run() -> Outcome {
    let work = std::env::temp_dir().join(format!("osbuilder-boot-{}", std::process::id()));
    fs_err::create_dir_all(&work)?;
    let outcome = boot_all(&work);
    fs_err::remove_dir_all(&work)?;
    outcome
}

fn boot_all(work: &Path) -> Outcome {
    let mirrors = peer::host_mirrors()?;
    for (form, init, options) in GUESTS {
        let guest = work.join(format!("{form}-{init}"));
        if !guest.exists() {
            build(form, init, &guest, &mirrors, work)?;
        }
        boot(&guest, options, &mirrors, work)?;
        say(&format!("boot {form} {init} {options:?}: the agent answered"));
    }
    Ok(())
}

fn build(form: &str, init: &str, guest: &Path, mirrors: &Mirrors, work: &Path) -> Outcome {
    let mut command = peer::start(peer::osbuilder());
    command.args([form, "debian", "--init", init, "--agent", "probe"]);
    command.args(["--mirror", &mirrors.archive, "--cache"]).arg(work.join("cache"));
    command.arg("--lock").arg(work.join(format!("{init}.lock"))).arg("--output").arg(guest);
    peer::run(&mut command)
}

fn boot(guest: &Path, options: &[&str], mirrors: &Mirrors, work: &Path) -> Outcome {
    let mut command = peer::start(peer::osbuilder());
    command.arg("boot").arg(guest).args(options).args(["--mirror", &mirrors.archive]);
    peer::run(command.arg("--cache").arg(work.join("cache")))
}
