//! Every check, one after the other: what `make test` and CI run.
//!
//! A check for which the host lacks something is named and skipped; where `CI` is set, that is an
//! error: a check that vanishes there would never be missed.

use std::time::Instant;

use crate::needs::{self, Need};
use crate::peer;
use crate::{Outcome, boot, faults, handlers, kill, parity, repro, say, solver};

/// Runs all checks, cheap ones first.
pub(crate) fn run() -> Outcome {
    step("format", || cargo(&["fmt", "--all", "--check"], &[]))?;
    step("tests", || cargo(&["test", "--workspace", "--locked"], &[]))?;
    step("lints", || {
        let lint = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
        cargo(&lint, &[])
    })?;
    step("documentation", || {
        cargo(&["doc", "--workspace", "--no-deps", "--locked"], &[("RUSTDOCFLAGS", "-D warnings")])
    })?;
    step("program", || peer::build_program(&[]))?;
    step_with("kill", PACKING, kill::run)?;
    step_with("faults", TRACING, || faults::run(&[]))?;
    step_with("repro", BECOMING, repro::run)?;
    step_with("parity", PEER, || parity::run(&[]))?;
    step_with("solver", CHOOSING, || solver::run(&[]))?;
    step_with("handlers", ALONE, || handlers::run(&[]))?;
    step_with("emulated handlers", EMULATED, || handlers::run(&["emulated"]))?;
    step_with("boot", MACHINE, boot::run)
}

/// Tiny archives are made by Debian's and rpm's own tools, and their scripts run.
const PACKING: &[Need] = &[
    Need::Tool("dpkg-deb", "dpkg"),
    Need::Tool("dpkg-scanpackages", "dpkg-dev"),
    Need::Tool("/bin/busybox", "busybox-static"),
    Need::Tool("rpmbuild", "rpm"),
    Need::Tool("createrepo_c", "createrepo-c"),
    Need::Sandbox,
    Need::Room(500),
];
const TRACING: &[Need] = &[
    Need::Tool("dpkg-deb", "dpkg"),
    Need::Tool("dpkg-scanpackages", "dpkg-dev"),
    Need::Tool("/bin/busybox", "busybox-static"),
    Need::Tool("rpmbuild", "rpm"),
    Need::Tool("createrepo_c", "createrepo-c"),
    Need::Tool("strace", "strace"),
    Need::Sandbox,
    Need::Tracing,
    Need::Room(500),
];
const BECOMING: &[Need] = &[
    Need::Tool("setpriv", "util-linux"),
    Need::Tool("taskset", "util-linux"),
    Need::Tool("faketime", "faketime"),
    Need::Tool("rpmbuild", "rpm"),
    Need::Tool("createrepo_c", "createrepo-c"),
    Need::Tool("/bin/busybox", "busybox-static"),
    Need::Root,
    Need::Sandbox,
    Need::Room(4000),
];
const PEER: &[Need] = &[
    Need::Tool("mmdebstrap", "mmdebstrap"),
    Need::Tool("qemu-ppc64le-static", "qemu-user-static"),
    Need::Tool("apt-get", "apt"),
    Need::Tool("dnf", "dnf"),
    Need::Tool("zypper", "zypper"),
    Need::Tool("rpmbuild", "rpm"),
    Need::Tool("createrepo_c", "createrepo-c"),
    Need::Tool("/bin/busybox", "busybox-static"),
    Need::Root,
    Need::Sandbox,
    Need::Mounts,
    Need::Room(3000),
];
const CHOOSING: &[Need] =
    &[Need::Tool("dnf", "dnf"), Need::Tool("zypper", "zypper"), Need::Root, Need::Room(500)];
const ALONE: &[Need] = &[Need::Tool("apt-get", "apt"), Need::Root, Need::Sandbox, Need::Room(3000)];
const EMULATED: &[Need] = &[
    Need::Tool("apt-get", "apt"),
    Need::Tool("qemu-s390x-static", "qemu-user-static"),
    Need::Root,
    Need::Sandbox,
    Need::Room(3000),
];
const MACHINE: &[Need] = &[Need::Tool("apt-get", "apt"), Need::Sandbox, Need::Room(4000)];

/// A step that needs something of the host.
fn step_with(name: &str, needs: &[Need], work: impl FnOnce() -> Outcome) -> Outcome {
    let missing = needs::missing(needs);
    if missing.is_empty() {
        return step(name, work);
    }
    let reasons = missing.join("; ");
    if is_ci() {
        return Err(format!("{name}: {reasons}").into());
    }
    say(&format!("== {name}: SKIPPED: {reasons}"));
    Ok(())
}

fn step(name: &str, work: impl FnOnce() -> Outcome) -> Outcome {
    say(&format!("== {name}"));
    let began = Instant::now();
    work().map_err(|error| format!("{name}: {error}"))?;
    say(&format!("== {name}: passed in {:.0} s", began.elapsed().as_secs_f64()));
    Ok(())
}

/// Whether nothing may be skipped.
#[expect(clippy::disallowed_methods, reason = "CI says by a variable that nothing may be skipped")]
pub(crate) fn is_ci() -> bool {
    std::env::var_os("CI").is_some()
}

fn cargo(arguments: &[&str], variables: &[(&str, &str)]) -> Outcome {
    let mut command = peer::start("cargo");
    command.args(arguments).envs(variables.iter().copied()).current_dir(peer::checkout());
    peer::run(&mut command)
}
