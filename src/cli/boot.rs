//! `osbuilder boot`: starts an image or initrd and asks its agent.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use osbuilder::boot::{self, Accelerator, Attachment, Kernel, Outcome, Request};
use osbuilder::distro::Architecture;
use osbuilder::event::{Event, Stage};
use osbuilder::store::Store;
use osbuilder::tree::Tree;

use super::arguments::{Attach, BootArguments, BuildArguments};
use super::request;
use super::{Failure, Kind, Session};

/// Boots, tells how it went, and says the same by the exit status.
pub(super) fn run(arguments: &BootArguments, session: &Session) -> Result<ExitCode, Failure> {
    let store = session.store()?;
    let architecture = architecture(arguments)?;
    let outcome = match &arguments.kernel {
        Some(vmlinuz) => {
            let modules = arguments.modules.as_deref();
            start(arguments, Kernel::File { vmlinuz, modules }, architecture, session)?
        }
        None => {
            let tree = kernel_package(arguments, architecture, &store, session)?;
            let kernel = Kernel::Package { tree: &tree, contents: &store };
            start(arguments, kernel, architecture, session)?
        }
    };
    tell(&outcome, session);
    Ok(if outcome.answered { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn architecture(arguments: &BootArguments) -> Result<Architecture, Failure> {
    let name = arguments.arch.as_deref().unwrap_or(std::env::consts::ARCH);
    name.parse().map_err(|error| Failure::new(Kind::Request, error))
}

/// Debian's kernel for virtual machines, from the archive or the cache.
fn kernel_package(
    arguments: &BootArguments,
    architecture: Architecture,
    store: &Store,
    session: &Session,
) -> Result<Tree, Failure> {
    let package = match architecture {
        Architecture::X86_64 => "linux-image-cloud-amd64",
        Architecture::Aarch64 => "linux-image-cloud-arm64",
        Architecture::Ppc64le => "linux-image-powerpc64le",
        Architecture::S390x => "linux-image-s390x",
    };
    let build = BuildArguments {
        distro: Some("debian".to_owned()),
        arch: Some(architecture.kernel_name().to_owned()),
        package: vec![package.to_owned()],
        mirror: arguments.mirror.clone(),
        rootfs_only: true,
        ..BuildArguments::default()
    };
    let reading = request::read_plain(&build, session)?;
    let listener = |event| session.hear(&event);
    let network = session.environment.network();
    let workshop = session.workshop(store, &network, arguments.offline, &listener);
    osbuilder::kernel(&reading.recipe, &workshop).map_err(|error| {
        Failure::from(error).hint("--kernel FILE names a kernel, and nothing is downloaded")
    })
}

fn start(
    arguments: &BootArguments,
    kernel: Kernel<'_>,
    architecture: Architecture,
    session: &Session,
) -> Result<Outcome, Failure> {
    let work = session.environment.temporary();
    let qemu = PathBuf::from(format!("qemu-system-{}", qemu_name(architecture)));
    let request = Request {
        guest: &arguments.file,
        kernel,
        loader: session.probe.as_deref(),
        attachment: match arguments.attach {
            Attach::Block => Attachment::Block,
            Attach::Nvdimm => Attachment::Nvdimm,
        },
        qemu: &qemu,
        accelerator: arguments.emulate.then_some(Accelerator::Emulation),
        memory_mib: arguments.memory,
        time_limit: Duration::from_secs(arguments.timeout),
        work: &work,
    };
    let listener = |event| session.hear(&event);
    session.hear(&Event::StageStarted { stage: Stage::Boot });
    boot::boot(&request, &listener).map_err(|error| {
        Failure::new(Kind::Host, error).hint("QEMU is in Debian's package qemu-system-x86")
    })
}

const fn qemu_name(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::Ppc64le => "ppc64",
        other => other.kernel_name(),
    }
}

fn tell(outcome: &Outcome, session: &Session) {
    session.show.finish();
    if session.json {
        let text = serde_json::to_string(outcome).expect("an outcome has string keys");
        return session.print(&text);
    }
    let seconds = outcome.took.as_secs_f64();
    if outcome.answered {
        let version = outcome.agent_version.as_deref().unwrap_or("of an unknown version");
        return session.print(&format!("the agent ({version}) answered after {seconds:.1} s"));
    }
    outcome.transcript.iter().for_each(|line| super::show::say(line));
    let reason = outcome.reason.as_deref().unwrap_or("no reason is known");
    session.print(&format!("the agent did not answer within {seconds:.1} s: {reason}"));
}
