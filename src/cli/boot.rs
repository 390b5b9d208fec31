//! `osbuilder boot`: starts an image or initrd and asks its agent.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use osbuilder::boot::{self, Accelerator, Attachment, Kernel, Outcome, Request};
use osbuilder::distro::Architecture;
use osbuilder::event::{Event, Stage};
use osbuilder::tree::Tree;

use super::arguments::{Attach, BootArguments, BuildArguments};
use super::request;
use super::site::Site;
use super::verify::read_parameters;
use super::{Failure, Kind, Session};

/// Boots, tells how it went, and says the same by the exit status.
pub(super) fn run(arguments: &BootArguments, session: &Session) -> Result<ExitCode, Failure> {
    // Before a kernel is fetched for it.
    match fs_err::metadata(&arguments.file) {
        Ok(found) if found.is_file() => {}
        Ok(_) => {
            let text = format!("{} is no image and no initrd", arguments.file.display());
            return Err(Failure::new(Kind::Request, text));
        }
        Err(error) => return Err(Failure::new(Kind::Request, error)),
    }
    let architecture = architecture(arguments)?;
    let qemu = qemu(architecture, session)?;
    let outcome = match &arguments.kernel {
        Some(vmlinuz) => {
            let modules = arguments.modules.as_deref();
            let kernel = Kernel::File { vmlinuz, modules };
            start(arguments, kernel, (architecture, &qemu), session)?
        }
        None => {
            let reading = request::read_plain(&for_kernel(arguments, architecture), session)?;
            let site = Site::open(reading, session)?;
            let tree = kernel_package(arguments, &site)?;
            let kernel = Kernel::Package { tree: &tree, contents: &site.store };
            start(arguments, kernel, (architecture, &qemu), session)?
        }
    };
    tell(&outcome, session);
    Ok(if outcome.answered { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn architecture(arguments: &BootArguments) -> Result<Architecture, Failure> {
    match (arguments.arch.as_deref(), Architecture::host()) {
        (None, Some(host)) => Ok(host),
        (name, _) => (name.unwrap_or(std::env::consts::ARCH).parse())
            .map_err(|error| Failure::new(Kind::Request, error)),
    }
}

/// The program that emulates machines of a processor. It is looked for before anything is
/// downloaded.
fn qemu(architecture: Architecture, session: &Session) -> Result<PathBuf, Failure> {
    let (name, package) = match architecture {
        Architecture::X86_64 => ("qemu-system-x86_64", "qemu-system-x86"),
        Architecture::Aarch64 => ("qemu-system-aarch64", "qemu-system-arm"),
        Architecture::Ppc64le => ("qemu-system-ppc64", "qemu-system-ppc"),
        Architecture::S390x => ("qemu-system-s390x", "qemu-system-misc"),
    };
    session.environment.program(name).ok_or_else(|| {
        Failure::new(Kind::Host, format!("the program {name} is not installed"))
            .hint(format!("QEMU for {architecture} is in Debian's package {package}"))
    })
}

/// A recipe with nothing but Debian's kernel for virtual machines.
fn for_kernel(arguments: &BootArguments, architecture: Architecture) -> BuildArguments {
    let package = match architecture {
        Architecture::X86_64 => "linux-image-cloud-amd64",
        Architecture::Aarch64 => "linux-image-cloud-arm64",
        Architecture::Ppc64le => "linux-image-powerpc64le",
        Architecture::S390x => "linux-image-s390x",
    };
    BuildArguments {
        distro: Some("debian".to_owned()),
        arch: Some(architecture.kernel_name().to_owned()),
        package: vec![package.to_owned()],
        mirror: arguments.mirror.clone(),
        rootfs_only: true,
        ..BuildArguments::default()
    }
}

/// The kernel, from the archive or the cache.
fn kernel_package(arguments: &BootArguments, site: &Site<'_>) -> Result<Tree, Failure> {
    osbuilder::kernel(site.recipe(), &site.workshop(arguments.offline)).map_err(|error| {
        Failure::from(error).hint("--kernel FILE names a kernel, and nothing is downloaded")
    })
}

fn start(
    arguments: &BootArguments,
    kernel: Kernel<'_>,
    (architecture, qemu): (Architecture, &Path),
    session: &Session,
) -> Result<Outcome, Failure> {
    let work = session.environment.temporary();
    let loader = session.probe(architecture);
    let verity = arguments.params_file.as_deref().map(read_parameters).transpose()?;
    let request = Request {
        guest: &arguments.file,
        kernel,
        loader: loader.as_deref(),
        architecture,
        verity: verity.as_ref(),
        attachment: match arguments.attach {
            Attach::Block => Attachment::Block,
            Attach::Nvdimm => Attachment::Nvdimm,
        },
        qemu,
        accelerator: arguments.emulate.then_some(Accelerator::Emulation),
        memory_mib: arguments.memory,
        time_limit: Duration::from_secs(arguments.timeout),
        work: &work,
    };
    let listener = |event| session.hear(&event);
    session.hear(&Event::StageStarted { stage: Stage::Boot });
    boot::boot(&request, &listener).map_err(|error| match error {
        boot::Error::NoMachine { .. } | boot::Error::Attachment { .. } => {
            Failure::new(Kind::Request, error)
        }
        boot::Error::NoLoader => Failure::new(Kind::Host, error)
            .hint(format!("`make program ARCH={architecture}` builds it")),
        error => Failure::new(Kind::Host, error),
    })
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
