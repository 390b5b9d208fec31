//! Which lock a build follows, and where it writes a new one.
//!
//! `--lock FILE` is followed if it exists, and must then fit the recipe. Without it, the
//! `osbuilder.lock` beside the output is followed if it fits, else written anew: two builds into
//! one folder may have different recipes. `--locked` wants a lock that exists and fits.

use std::path::{Path, PathBuf};

use osbuilder::event::Event;
use osbuilder::lock::Lock;
use osbuilder::recipe::Recipe;

use super::arguments::BuildArguments;
use super::{Failure, Kind, Session};

/// The name of a lock.
pub(super) const FILE_NAME: &str = "osbuilder.lock";

/// The lock that belongs to an output.
pub(super) fn beside(output: &Path) -> PathBuf {
    output.parent().unwrap_or(Path::new("")).join(FILE_NAME)
}

/// Reads the lock that a build is to follow. `None`: there is none, packages must be chosen.
pub(super) fn read(
    path: &Path,
    arguments: &BuildArguments,
    recipe: &Recipe,
    session: &Session,
) -> Result<Option<Lock>, Failure> {
    let is_demanded = arguments.lock.is_some() || arguments.locked;
    let text = match fs_err::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !arguments.locked => {
            return Ok(None);
        }
        Err(error) => {
            let failure = Failure::new(Kind::Request, error);
            return Err(failure.hint("`osbuilder lock` writes a lock"));
        }
    };
    let found = Lock::parse(&text).map_err(|error| error.to_string()).and_then(|lock| {
        let fits = osbuilder::resolve::check_lock(&lock, recipe);
        fits.map(|()| lock).map_err(|error| error.to_string())
    });
    match found {
        Ok(lock) => {
            let text =
                format!("following {}; `osbuilder lock` chooses packages anew", path.display());
            session.hear(&Event::note(text));
            Ok(Some(lock))
        }
        Err(reason) if is_demanded => {
            let failure = Failure::new(Kind::Request, format!("{}: {reason}", path.display()));
            Err(failure.hint("`osbuilder lock` writes a lock for this recipe"))
        }
        Err(reason) => {
            let text = format!("{}: {reason}; choosing packages anew", path.display());
            session.hear(&Event::note(text));
            Ok(None)
        }
    }
}

/// Writes a lock, at once and whole.
pub(super) fn write(lock: &Lock, path: &Path, session: &Session) -> Result<(), Failure> {
    session.write(&lock.to_string(), path)
}
