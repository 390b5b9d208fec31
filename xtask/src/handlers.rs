//! Debian's trees made by the built-in handlers against those that packages' own programs make in the
//! sandbox: same packages, same release, this processor.
//!
//! `tests/parity/handlers.toml` lists what may differ and why; any other difference fails the task.

use crate::parity::{self, CASES, Case};
use crate::{Outcome, peer, say};

/// Runs the named cases, or all.
pub(crate) fn run(names: &[&str]) -> Outcome {
    let known = parity::known("handlers.toml")?;
    let mirrors = peer::host_mirrors()?;
    let work = std::env::temp_dir().join(format!("osbuilder-handlers-{}", std::process::id()));
    fs_err::create_dir_all(&work)?;
    let wanted = |case: &&Case| names.is_empty() || names.contains(&case.name);
    let mut failed = Vec::new();
    for case in CASES.iter().filter(wanted) {
        let tree = |who| parity::our_tree(case, &mirrors, &work, &["--scripts", who]);
        let (handlers, programs) = (tree("built-in")?, tree("programs")?);
        let unexplained = parity::compare(case.name, (&handlers, &programs), &known);
        say(&format!("handlers {}: {} unexplained differences", case.name, unexplained.len()));
        unexplained.iter().for_each(|line| say(&format!("  {line}")));
        if !unexplained.is_empty() {
            failed.push(case.name);
        }
    }
    fs_err::remove_dir_all(&work)?;
    if failed.is_empty() { Ok(()) } else { Err(format!("differ: {}", failed.join(", ")).into()) }
}
