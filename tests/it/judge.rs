//! The tools that judge us: whether they are here, and what a test does when they are not.
//!
//! A missing tool is a visible skip, and an error where `CI` is set: there it must be installed.

use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::{Command, Output};

/// Whether one of `tools` cannot be started. Says so; fails in CI.
pub(crate) fn is_missing(tools: &[&str]) -> bool {
    let starts = |tool: &&str| match start(tool, &["--version"]) {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => panic!("{tool}: {error}"),
    };
    match tools.iter().find(|tool| !starts(tool)) {
        Some(tool) => skip(&format!("{tool} is not installed")),
        None => false,
    }
}

/// Whether a tool cannot be started that tells its version by another option. Says so; fails in CI.
pub(crate) fn is_without(tool: &str, option: &str) -> bool {
    start(tool, &[option]).is_err() && skip(&format!("{tool} is not installed"))
}

/// Says why a test is skipped, and returns true; fails in CI. What `eprintln` says, the test harness keeps
/// to itself unless the test fails.
#[expect(clippy::disallowed_methods, reason = "CI is known by its environment")]
pub(crate) fn skip(reason: &str) -> bool {
    assert!(std::env::var_os("CI").is_none(), "in CI nothing is skipped: {reason}");
    let _gone = writeln!(std::io::stderr(), "skipped: {reason}");
    true
}

/// Runs a tool that must succeed, in the plain locale, and returns what it prints.
pub(crate) fn run(tool: &str, arguments: &[&str]) -> Vec<u8> {
    let output = start(tool, arguments).unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {arguments:?}: {error}");
    output.stdout
}

#[expect(clippy::disallowed_methods, reason = "the judges are programs")]
fn start(tool: &str, arguments: &[&str]) -> std::io::Result<Output> {
    Command::new(tool).args(arguments).env("LC_ALL", "C").output()
}

/// Returns a folder of the collected test data; says so and fails in CI where it is absent.
#[expect(clippy::disallowed_methods, reason = "the place of test data comes from the environment")]
pub(crate) fn data(folder: &str) -> Option<PathBuf> {
    let given = std::env::var_os("OSBUILDER_TEST_DATA").map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let path = given.unwrap_or(beside).join(folder);
    let absent = !path.is_dir() && skip(&format!("no test data at {}", path.display()));
    if absent { None } else { Some(path) }
}
