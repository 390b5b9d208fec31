//! Every check, one after the other: what `make test` and CI run.
//!
//! A judge that is missing is named and skipped; where `CI` is set, it is an error.

use std::time::Instant;

use crate::peer;
use crate::{Outcome, boot, faults, kill, parity, repro, say};

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
    step("program", || {
        peer::run(peer::start("make").arg("program").current_dir(peer::checkout()))
    })?;
    step("kill", kill::run)?;
    step("faults", || faults::run(false))?;
    needs_root("repro", repro::run)?;
    needs_root("parity", || parity::run(&[]))?;
    step("boot", boot::run)
}

fn step(name: &str, work: impl FnOnce() -> Outcome) -> Outcome {
    say(&format!("== {name}"));
    let began = Instant::now();
    work().map_err(|error| format!("{name}: {error}"))?;
    say(&format!("== {name}: passed in {:.0} s", began.elapsed().as_secs_f64()));
    Ok(())
}

fn needs_root(name: &str, work: impl FnOnce() -> Outcome) -> Outcome {
    if rustix::process::geteuid().is_root() {
        return step(name, work);
    }
    let reason =
        format!("{name}: SKIPPED, it needs root to become somebody else or to run the peer");
    if is_ci() {
        return Err(reason.into());
    }
    say(&format!("== {reason}"));
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "CI says by a variable that nothing may be skipped")]
fn is_ci() -> bool {
    std::env::var_os("CI").is_some()
}

fn cargo(arguments: &[&str], variables: &[(&str, &str)]) -> Outcome {
    let mut command = peer::start("cargo");
    command.args(arguments).envs(variables.iter().copied()).current_dir(peer::checkout());
    peer::run(&mut command)
}
