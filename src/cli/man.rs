//! `osbuilder man`: the manual pages, made from the definition of the command line.

use std::process::ExitCode;

use clap::CommandFactory;

use super::arguments::{Arguments, ManArguments};
use super::{Failure, Session, failed};

/// Writes all pages into a folder, or the main page to standard output.
pub(super) fn run(arguments: &ManArguments, session: &Session) -> Result<ExitCode, Failure> {
    let command = Arguments::command();
    if let Some(folder) = &arguments.folder {
        let made = fs_err::create_dir_all(folder);
        made.and_then(|()| clap_mangen::generate_to(command, folder)).map_err(failed)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page).map_err(failed)?;
    session.print_bytes(&page);
    Ok(ExitCode::SUCCESS)
}
