//! `osbuilder completions`: what a shell needs to complete the command line.

use std::process::ExitCode;

use clap::CommandFactory;

use super::arguments::{Arguments, CompletionsArguments};
use super::{Failure, Session};

/// Writes the completions of one shell to standard output.
pub(super) fn run(
    arguments: &CompletionsArguments,
    session: &Session,
) -> Result<ExitCode, Failure> {
    let mut command = Arguments::command();
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "osbuilder", &mut text);
    session.print_bytes(&text);
    Ok(ExitCode::SUCCESS)
}
