//! A stand-in for the Kata agent, for tests and first tries: answers health checks, runs nothing.
//!
//! Started as a service it only answers. As the first process of a guest it mounts what an init
//! must and waits for orphans too. As the first process of an initrd that has a folder
//! `/boot-init` it loads the modules in there and makes way for the guest's own init (`loader`).

mod init;
mod loader;
mod verity;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use guest_probe::health::{self, Health};
use guest_probe::{AGENT_PORT, LISTENING};
use vsock::{VMADDR_CID_ANY, VsockListener, VsockStream};

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "-probe");
/// The version of the agent's protocol, as Kata's own agent answers it.
const PROTOCOL: &str = "0.0.1";
/// How often, and how far apart, listening is tried: a driver may still be on its way.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);
const ABOUT: &str = "a stand-in for the Kata agent, for tests and first tries: \
                     it answers health checks and runs no containers";

fn main() -> ExitCode {
    let is_first = rustix::process::getpid() == rustix::process::Pid::INIT;
    if !is_first && std::env::args_os().len() > 1 {
        say(&format!("{VERSION}, {ABOUT}"));
        return ExitCode::SUCCESS;
    }
    let ended = match is_first {
        true if loader::is_wanted() => loader::run(),
        true => init::run(listen_and_serve),
        false => listen_and_serve(),
    };
    if let Err(error) = ended {
        say(&failure(&*error));
    }
    if is_first {
        init::power_off();
    }
    ExitCode::FAILURE
}

/// Answers health checks for ever.
fn listen_and_serve() -> Result<(), Box<dyn Error>> {
    let listener = listen()?;
    say(&format!("{VERSION}, {ABOUT}"));
    say(LISTENING);
    loop {
        let (stream, _) = listener.accept()?;
        // Where there can be no thread, one client waits for the other.
        let stream = Arc::new(stream);
        let shared = Arc::clone(&stream);
        if thread::Builder::new().spawn(move || serve(&shared)).is_err() {
            serve(&stream);
        }
    }
}

fn listen() -> io::Result<VsockListener> {
    let mut tries = 1;
    loop {
        match VsockListener::bind_with_cid_port(VMADDR_CID_ANY, AGENT_PORT) {
            Err(_) if tries < TRIES => thread::sleep(PAUSE),
            result => return result,
        }
        tries += 1;
    }
}

fn serve(stream: &VsockStream) {
    let own = Health {
        is_serving: true,
        agent_version: VERSION.to_owned(),
        protocol_version: PROTOCOL.to_owned(),
    };
    if let Err(error) = health::serve(&mut &*stream, &own) {
        say(&failure(&error));
    }
}

/// The error and its causes in one line.
fn failure(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Writes a line to the console or the journal. There is nobody to tell when that fails.
fn say(text: &str) {
    let mut line = format!("guest-probe: {text}\n");
    if rustix::process::getpid() == rustix::process::Pid::INIT {
        line.insert(0, '\r');
    }
    drop(io::stdout().write_all(line.as_bytes()));
}
