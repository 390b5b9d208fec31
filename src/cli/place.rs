//! Where outputs shall stand: whether something can be written there is found out before any work.

use std::io;
use std::path::Path;

use osbuilder::store::{Error, Output, OutputDirectory};

use super::{Failure, Kind};

/// Refuses a place where no file can be put.
pub(super) fn check(path: &Path) -> Result<(), Failure> {
    Output::create(path).map(drop).map_err(refused)
}

/// Refuses a place where no rootfs directory can be put.
pub(super) fn check_directory(path: &Path) -> Result<(), Failure> {
    OutputDirectory::create(path).map(drop).map_err(refused)
}

/// A place that is not there, or is taken, was asked for by mistake; all else is the host's doing.
pub(super) fn refused(error: Error) -> Failure {
    use io::ErrorKind::{NotADirectory, NotFound};
    let is_lost = matches!(error.kind(), Some(NotFound | NotADirectory));
    let kind = match error {
        Error::WillNotReplace { .. } => Kind::Request,
        _ if is_lost => Kind::Request,
        _ => Kind::Host,
    };
    let failure = Failure::new(kind, error);
    if is_lost { failure.hint("outputs are put into folders that exist") } else { failure }
}
