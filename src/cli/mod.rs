//! The room that talks to a person: arguments in, the library called, results told.
//!
//! One file a verb. Data goes to standard output, everything else to standard error. The library
//! never prints, never reads the environment or the clock; all of that is here.

mod arguments;
mod boot;
mod build;
mod cache;
mod catalogue;
mod completions;
mod diff;
mod distros;
mod environment;
mod failure;
mod inspect;
mod locking;
mod man;
mod place;
mod report;
mod request;
mod sbom;
mod show;
mod signals;
mod site;
mod size;
mod verify;

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::thread;

use clap::Parser;
use osbuilder::distro::Architecture;
use osbuilder::event::Event;
use osbuilder::store::{Output, Store};
use rustix::fs::{Gid, Uid};

use arguments::{Arguments, Verb};
use environment::Environment;
use failure::{Failure, Kind};
use show::{Manner, Show};

/// What every verb has at hand.
struct Session {
    show: Show,
    environment: Environment,
    cache: PathBuf,
    /// The folder with further distributions, if one is named.
    distro_dir: Option<PathBuf>,
    json: bool,
    /// Where the program lies.
    folder: Option<PathBuf>,
    /// Why data could not be written.
    lost: OnceLock<io::Error>,
}

impl Session {
    /// Hears an event of the library.
    fn hear(&self, event: &Event) {
        self.show.hear(event);
    }

    /// Writes a line of data.
    fn print(&self, line: &str) {
        self.print_bytes(format!("{line}\n").as_bytes());
    }

    /// Writes data; says whether that went well. What cannot be written is an error in the end: a
    /// build goes on, and a reader that has gone away has what it wanted.
    fn print_bytes(&self, bytes: &[u8]) -> bool {
        let mut output = io::stdout().lock();
        let Err(error) = output.write_all(bytes).and_then(|()| output.flush()) else { return true };
        if error.kind() != io::ErrorKind::BrokenPipe {
            // The first one says why.
            self.lost.get_or_init(|| error);
        }
        false
    }

    /// The bundled stand-in for the agent on a processor: it stands beside the program, or in the
    /// folder where an installation puts it.
    fn probe(&self, architecture: Architecture) -> Option<PathBuf> {
        let folder = self.folder.as_ref()?;
        let name = format!("guest-probe-{architecture}");
        let places = [folder.join(&name), folder.join("../libexec/osbuilder").join(&name)];
        places.into_iter().find(|path| path.is_file())
    }

    /// As many threads as there are processors.
    fn threads(&self) -> NonZeroUsize {
        thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
    }

    /// Writes a small file, at once and whole.
    fn write(&self, text: &str, path: &Path) -> Result<(), Failure> {
        let output = Output::create(path).map_err(place::refused)?;
        let mut file = output.file();
        file.write_all(text.as_bytes()).map_err(|error| Failure::new(Kind::Host, error))?;
        self.give_to_caller(file)?;
        output.commit().map_err(|error| Failure::new(Kind::Host, error))
    }

    /// Under sudo, makes a file that root wrote the caller's.
    fn give_to_caller(&self, file: impl AsFd) -> Result<(), Failure> {
        let Some((uid, gid)) = self.environment.caller() else { return Ok(()) };
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        rustix::fs::fchown(file, Some(uid), Some(gid))
            .map_err(|error| Failure::new(Kind::Host, std::io::Error::from(error)))
    }

    fn store(&self) -> Result<Store, Failure> {
        Store::open(&self.cache).map_err(|error| {
            Failure::new(Kind::Host, error).hint("--cache DIR names another folder")
        })
    }
}

/// Data did not reach standard output.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output")]
struct Lost(#[source] io::Error);

/// Runs the program and returns its exit status.
pub(super) fn run() -> ExitCode {
    if let Some(outcome) = osbuilder::lua::run(std::env::args_os()) {
        return of_script(outcome);
    }
    if let Some(outcome) = osbuilder::sysusers::run(std::env::args_os()) {
        return of_script(outcome);
    }
    let arguments = Arguments::parse();
    let environment = Environment::read();
    let manner = Manner::choose(arguments.json);
    let session = Session {
        show: Show::new(manner, arguments.verbose),
        cache: arguments.cache.clone().unwrap_or_else(|| environment.cache()),
        distro_dir: arguments.distro_dir.clone(),
        json: arguments.json,
        folder: std::env::current_exe().ok().and_then(|path| Some(path.parent()?.to_owned())),
        environment,
        lost: OnceLock::new(),
    };
    let outcome = signals::watch()
        .map_err(|error| Failure::new(Kind::Host, error))
        .and_then(|()| perform(arguments.verb, &session));
    session.show.finish();
    let outcome = outcome.and_then(|status| match session.lost.into_inner() {
        Some(error) => Err(Failure::new(Kind::Host, Lost(error))),
        None => Ok(status),
    });
    outcome.unwrap_or_else(|failure| failure.tell(manner))
}

/// The end of a script of a package, which this program was started for inside a sandbox. What it
/// tells goes to whoever builds, as every script's output does.
fn of_script(outcome: Result<(), impl std::fmt::Display>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    let _gone = writeln!(io::stderr().lock(), "{error}");
    ExitCode::FAILURE
}

fn perform(verb: Verb, session: &Session) -> Result<ExitCode, Failure> {
    match verb {
        Verb::Rootfs(arguments) => build::rootfs(&arguments, session),
        Verb::Image(arguments) => build::image(&arguments, session),
        Verb::Initrd(arguments) => build::initrd(&arguments, session),
        Verb::Build(arguments) => build::recipe(&arguments, session),
        Verb::Lock(arguments) => build::lock(&arguments, session),
        Verb::Boot(arguments) => boot::run(&arguments, session),
        Verb::Cache(arguments) => cache::run(arguments.action, session),
        Verb::Completions(arguments) => completions::run(&arguments, session),
        Verb::Distros(arguments) => distros::run(&arguments, session),
        Verb::Diff(arguments) => diff::run(&arguments, session),
        Verb::Inspect(arguments) => inspect::run(&arguments, session),
        Verb::Man(arguments) => man::run(&arguments, session),
        Verb::Verify(arguments) => verify::run(&arguments, session),
    }
}

/// Opens a guest. That there is no such file is a mistake of whoever asks.
fn open(path: &Path) -> Result<fs_err::File, Failure> {
    use osbuilder::inspect::Error;
    osbuilder::inspect::open(path).map_err(|error| match &error {
        Error::Open { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            Failure::new(Kind::Request, error)
        }
        _ => failed(error),
    })
}

/// Why a file is no guest that can be read.
fn no_guest(path: &Path) -> impl Fn(osbuilder::image::Error) -> Failure {
    move |source| failed(osbuilder::inspect::Error::Guest { path: path.to_owned(), source })
}

/// A failure of what was to be done.
fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure::new(Kind::Failed, error)
}
