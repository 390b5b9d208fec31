//! `osbuilder completions`: what a shell needs to complete the command line.

use std::io;
use std::process::ExitCode;

use clap::CommandFactory;

use super::Failure;
use super::arguments::{Arguments, CompletionsArguments};

/// Writes the completions of one shell to standard output.
pub(super) fn run(arguments: &CompletionsArguments) -> Result<ExitCode, Failure> {
    let mut command = Arguments::command();
    clap_complete::generate(arguments.shell, &mut command, "osbuilder", &mut io::stdout().lock());
    Ok(ExitCode::SUCCESS)
}
