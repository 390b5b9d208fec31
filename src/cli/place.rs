//! Where outputs shall stand: whether something can be written there is found out before any work.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt as _;
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

/// Refuses outputs of which one would take the place of another.
pub(super) fn check_apart<'a>(paths: impl Iterator<Item = &'a Path>) -> Result<(), Failure> {
    let mut met = BTreeMap::new();
    for path in paths {
        // Whether a place is there at all is asked elsewhere.
        let Some(identity) = identity(path) else { continue };
        if let Some(other) = met.insert(identity, path) {
            let [one, two] = [other, path].map(Path::display);
            let text = format!("{one} and {two} are the same place: it cannot hold two outputs");
            return Err(Failure::new(Kind::Request, text));
        }
    }
    Ok(())
}

/// The folder's device and number, and the name in it: a path may be said in many ways.
fn identity(path: &Path) -> Option<(u64, u64, OsString)> {
    let name = path.file_name()?.to_owned();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = fs_err::metadata(folder.unwrap_or(Path::new("."))).ok()?;
    Some((folder.dev(), folder.ino(), name))
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
