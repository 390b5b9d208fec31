//! `osbuilder man`: the manual pages, made from the definition of the command line.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::CommandFactory;

use super::arguments::{Arguments, ManArguments};
use super::{Failure, Kind};

/// Writes all pages into a folder, or the main page to standard output.
pub(super) fn run(arguments: &ManArguments) -> Result<ExitCode, Failure> {
    let command = Arguments::command();
    let written = match &arguments.folder {
        Some(folder) => {
            fs_err::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(command, folder))
        }
        None => main_page(command),
    };
    written.map(|()| ExitCode::SUCCESS).map_err(|error| Failure::new(Kind::Failed, error))
}

fn main_page(command: clap::Command) -> io::Result<()> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    io::stdout().lock().write_all(&page)
}
