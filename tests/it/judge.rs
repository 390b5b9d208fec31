//! The tools that judge us: whether they are here, and what a test does when they are not.
//!
//! A missing tool is a visible skip, and an error where `CI` is set: there it must be installed.

use std::process::{Command, Stdio};

/// Whether one of `tools` cannot be started. Says so; fails in CI.
pub(crate) fn is_missing(tools: &[&str]) -> bool {
    let starts = |tool: &&str| {
        let mut command = Command::new(*tool);
        command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    };
    match tools.iter().find(|tool| !starts(tool)) {
        Some(tool) => skip(&format!("{tool} is not installed")),
        None => false,
    }
}

/// Says why a test is skipped, and returns true; fails in CI.
#[expect(clippy::print_stderr, reason = "a skip must be seen")]
#[expect(clippy::disallowed_methods, reason = "CI is known by its environment")]
pub(crate) fn skip(reason: &str) -> bool {
    assert!(std::env::var_os("CI").is_none(), "in CI nothing is skipped: {reason}");
    eprintln!("skipped: {reason}");
    true
}
