//! Starts an image or an initrd in a virtual machine and asks its agent how it is.
//!
//! In: a guest, a kernel, a program that emulates machines. Out: whether the agent answered, how
//! long that took, and what the guest wrote to its console. Nothing of the host is changed, no
//! privilege is needed: without hardware virtualization the processor is emulated, and the vsock
//! device is a thread of this process (`vsock`). Where `/dev/kvm` is there but does not run a
//! kernel, which some hosts do, that is noticed and said.

mod console;
mod kernel;
mod machine;
mod module;
#[cfg(test)]
mod tests;
mod vsock;

use std::ffi::OsString;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use guest_probe::health::{self, Health};
use guest_probe::{AGENT_PORT, LISTENING};

pub use kernel::Kernel;

use crate::distro::Architecture;
use crate::event::{Event, Listener};
use crate::image::initrd::is_initrd;
use crate::image::verity::Parameters;
use crate::store::{self, TemporaryFolder};
use console::Console;
use machine::{Board, Image, Machine, Running};
use vsock::Vsock;

/// What to boot, and how.
#[derive(Debug)]
pub struct Request<'a> {
    /// The image or initrd.
    pub guest: &'a Path,
    /// The kernel.
    pub kernel: Kernel<'a>,
    /// The static program of `guest-probe`, which loads the modules of a kernel that has some.
    pub loader: Option<&'a Path>,
    /// The guest's processor.
    pub architecture: Architecture,
    /// How an image is attached.
    pub attachment: Attachment,
    /// What the guest's kernel checks a measured image with; `None` leaves it unchecked.
    pub verity: Option<&'a Parameters>,
    /// The program: `qemu-system-x86_64`, to be looked for as the shell would, or a path.
    pub qemu: &'a Path,
    /// The accelerator; `None` tries hardware virtualization first.
    pub accelerator: Option<Accelerator>,
    /// The guest's memory in MiB.
    pub memory_mib: u32,
    /// How long the agent may take until it answers.
    pub time_limit: Duration,
    /// A folder in which a temporary one can be made.
    pub work: &'a Path,
}

/// How an image is attached to the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attachment {
    /// As a disk: `/dev/vda`.
    Block,
    /// As memory that is a disk: `/dev/pmem0`. The image needs its NVDIMM header.
    Nvdimm,
}

/// Who executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accelerator {
    /// The processor itself, by `/dev/kvm`.
    Kvm,
    /// QEMU.
    Emulation,
}

/// How a boot went.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Outcome {
    /// Whether the agent answered, and that it serves.
    pub answered: bool,
    /// From the start of the machine to the answer, or to giving up.
    #[serde(serialize_with = "as_seconds")]
    pub took: Duration,
    /// What the agent says of its version.
    pub agent_version: Option<String>,
    /// Who executed the guest.
    pub accelerator: Accelerator,
    /// Why the agent did not answer, as a sentence.
    pub reason: Option<String>,
    /// The end of the console, line by line, with control characters escaped; after it, what QEMU
    /// complained of.
    pub transcript: Vec<String>,
}

/// Until the agent said that it listens, or for this long, nobody knocks at its door.
const QUIET_TIME: Duration = Duration::from_secs(20);
/// How long an agent that was reached may take to answer, and how long a knock may take.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// How far apart the machine is looked at.
const PAUSE: Duration = Duration::from_millis(50);
/// A machine whose console is silent for this long does not run at all.
const SILENCE: Duration = Duration::from_secs(10);
/// How much of what QEMU complains of is shown, in bytes.
const COMPLAINTS: u64 = 64 << 10;
const KVM: &str = "/dev/kvm";
const SOCKET: &str = "vsock";
const FOLDER_PREFIX: &str = "osbuilder-boot-";

/// Boots `request.guest` and asks its agent.
///
/// That the agent does not answer is no error but an [`Outcome`].
///
/// # Errors
/// [`Error`] when the machine could not be made.
pub fn boot(request: &Request<'_>, listener: Listener<'_>) -> Result<Outcome, Error> {
    let folder = TemporaryFolder::create(request.work, FOLDER_PREFIX)?;
    let machine = prepare(request, folder.path())?;
    let first = || first_accelerator(request.architecture, listener);
    let wanted = request.accelerator.unwrap_or_else(first);
    let trial = run(request, &folder, &machine(wanted))?;
    if !trial.is_dead || wanted != Accelerator::Kvm || request.accelerator.is_some() {
        return Ok(trial.outcome);
    }
    let complaint = trial.outcome.transcript.last().map_or("no reason given", String::as_str);
    listener(Event::warning(format!(
        "{KVM} is there but does not run this kernel ({complaint}), so the processor is emulated"
    )));
    Ok(run(request, &folder, &machine(Accelerator::Emulation))?.outcome)
}

/// Hardware virtualization where it seems to be there, else emulation, saying so.
fn first_accelerator(architecture: Architecture, listener: Listener<'_>) -> Accelerator {
    if Architecture::host() != Some(architecture) {
        return Accelerator::Emulation;
    }
    match fs_err::OpenOptions::new().read(true).write(true).open(KVM) {
        Ok(_) => Accelerator::Kvm,
        Err(error) => {
            listener(Event::note(format!("the processor is emulated: {error}")));
            Accelerator::Emulation
        }
    }
}

/// Makes everything of the machine but the choice of accelerator.
fn prepare(
    request: &Request<'_>,
    folder: &Path,
) -> Result<impl Fn(Accelerator) -> Machine + use<>, Error> {
    let board = Board::of(request.architecture)
        .ok_or(Error::NoMachine { architecture: request.architecture })?;
    if !board.takes(request.attachment) {
        return Err(Error::Attachment { architecture: request.architecture });
    }
    let guest = std::path::absolute(request.guest);
    let guest = guest.map_err(|source| Error::Guest { path: request.guest.into(), source })?;
    let failed = |source| Error::Guest { path: guest.clone(), source };
    let mut begin = Vec::new();
    let file = fs_err::File::open(&guest).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    file.take(6).read_to_end(&mut begin).map_err(failed)?;
    let is_initrd = is_initrd(&begin);
    let image = if is_initrd { None } else { Some(image(&guest, size, request.verity)?) };
    let modules = request.kernel.modules(&needed(image.as_ref()))?;
    let mut parameters = Vec::new();
    let mut initrd = is_initrd.then(|| guest.clone());
    if !modules.is_empty() {
        let path = request.loader.ok_or(Error::NoLoader)?;
        let loader =
            fs_err::read(path).map_err(|source| Error::Loader { source: source.into() })?;
        let bytes = kernel::loader_initrd(&loader, &modules)?;
        initrd = Some(join(initrd.as_deref(), &bytes, folder)?);
        parameters.push(kernel::LOADER_PARAMETER.to_owned());
    }
    let kernel = request.kernel.file(folder)?;
    let kernel = std::path::absolute(&kernel)
        .map_err(|source| Error::Kernel { path: kernel.display().to_string(), source })?;
    let (memory_mib, attachment) = (request.memory_mib, request.attachment);
    Ok(move |accelerator| Machine {
        board,
        accelerator,
        memory_mib,
        kernel: kernel.clone(),
        initrd: initrd.clone(),
        image: image.clone(),
        attachment,
        parameters: parameters.clone(),
        socket: OsString::from(SOCKET),
    })
}

/// What the machine must know of an image. A root hash for an image without a hash tree is refused:
/// nothing would be checked.
fn image(path: &Path, size: u64, verity: Option<&Parameters>) -> Result<Image, Error> {
    let failed = |source| Error::Image { path: path.to_owned(), source };
    let file = fs_err::File::open(path)
        .map_err(|source| Error::Guest { path: path.to_owned(), source })?;
    let parts = crate::image::parts(&file).map_err(failed)?;
    if verity.is_some() && parts.hashes.is_none() {
        return Err(Error::NotMeasured { path: path.to_owned() });
    }
    let root_type = crate::image::kind(&parts.data).map_err(failed)?;
    Ok(Image { path: path.to_owned(), size, root_type, verity: verity.cloned() })
}

/// The kernel modules for an image: its file system, and what checks it.
fn needed(image: Option<&Image>) -> Vec<&'static str> {
    let Some(image) = image else { return Vec::new() };
    let mut names = vec![image.root_type];
    if image.verity.is_some() {
        names.extend(["sha256_generic", "dm_mod", "dm_verity"]);
    }
    names
}

/// Writes the guest's initrd, if there is one, and the loader's after it.
fn join(guest: Option<&Path>, loader: &[u8], folder: &Path) -> Result<PathBuf, Error> {
    let path = folder.join("initrd");
    let write = || {
        let mut file = fs_err::File::create(&path)?;
        if let Some(guest) = guest {
            let size = io::copy(&mut fs_err::File::open(guest)?, &mut file)?;
            // An archive begins at a multiple of four bytes.
            let fill = usize::try_from(size.wrapping_neg() % 4).expect("two bits fit");
            io::Write::write_all(&mut file, [0; 3].get(..fill).expect("three are enough"))?;
        }
        io::Write::write_all(&mut file, loader)
    };
    write().map_err(|source: io::Error| Error::Loader { source: source.into() })?;
    Ok(path)
}

/// How one machine went.
struct Trial {
    outcome: Outcome,
    /// Whether the machine never came to life: QEMU ended, or the console stayed silent.
    is_dead: bool,
}

fn run(request: &Request<'_>, folder: &TemporaryFolder, machine: &Machine) -> Result<Trial, Error> {
    drop(fs_err::remove_file(folder.path().join(SOCKET)));
    let mut vsock = Vsock::listen(&socket_in(folder)).map_err(|source| Error::Vsock { source })?;
    let began = Instant::now();
    let failed = |source| Error::Qemu { path: request.qemu.to_owned(), source };
    let errors = errors_in(folder).map_err(failed)?;
    let started = Running::start(request.qemu, machine, folder.path(), &errors);
    let (mut running, output) = started.map_err(failed)?;
    let console = Console::read(output).map_err(failed)?;
    let mut watch = Watch {
        folder,
        running: &mut running,
        console: &console,
        vsock: &mut vsock,
        began,
        is_dead_when_silent: machine.accelerator == Accelerator::Kvm,
        limit: request.time_limit,
    };
    let ending = watch.wait().map_err(failed)?;
    let took = began.elapsed();
    drop((running, vsock));
    let mut transcript = console.finish();
    transcript.extend(console::lines(&complaints(errors).map_err(failed)?));
    let (health, reason) = match &ending {
        Ending::Answered(health) if health.is_serving => (Some(health), None),
        Ending::Answered(health) => (Some(health), Some("the agent says that it does not serve")),
        Ending::Dead => (None, Some("the machine did not start")),
        Ending::Ended => (None, Some("the machine ended before the agent answered")),
        Ending::TimeOut => (None, Some("the agent did not answer in time")),
    };
    let outcome = Outcome {
        answered: health.is_some_and(|health| health.is_serving),
        took,
        agent_version: health.map(|health| crate::tree::escape(health.agent_version.as_bytes())),
        accelerator: machine.accelerator,
        reason: reason.map(str::to_owned),
        transcript,
    };
    Ok(Trial { outcome, is_dead: matches!(ending, Ending::Dead) })
}

/// The socket's path, short enough for the operating system wherever the folder is.
fn socket_in(folder: &TemporaryFolder) -> PathBuf {
    format!("/proc/self/fd/{}/{SOCKET}", folder.as_fd().as_raw_fd()).into()
}

/// Makes the file that QEMU's errors go to.
fn errors_in(folder: &TemporaryFolder) -> io::Result<fs_err::File> {
    let mut options = fs_err::OpenOptions::new();
    options.read(true).append(true).create(true).open(folder.path().join("qemu.errors"))
}

/// What QEMU wrote to its file of errors.
fn complaints(mut errors: fs_err::File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    errors.seek(io::SeekFrom::Start(0))?;
    errors.take(COMPLAINTS).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A machine that is being watched.
struct Watch<'a> {
    folder: &'a TemporaryFolder,
    running: &'a mut Running,
    console: &'a Console,
    vsock: &'a mut Vsock,
    began: Instant,
    is_dead_when_silent: bool,
    limit: Duration,
}

/// What watching came to.
enum Ending {
    Answered(Health),
    /// Nothing ever ran.
    Dead,
    /// The machine was switched off, or QEMU failed.
    Ended,
    TimeOut,
}

impl Watch<'_> {
    /// Waits until the agent answers, the machine ends, or the time is over.
    fn wait(&mut self) -> io::Result<Ending> {
        let deadline = self.began.checked_add(self.limit);
        loop {
            let age = self.began.elapsed();
            let is_silent = self.console.is_silent();
            if !is_silent {
                // QEMU has read everything: from here on, however we end, nothing stays.
                self.folder.remove();
            }
            if self.running.ended()?.is_some() {
                let is_silent = self.console.stayed_silent();
                return Ok(if is_silent { Ending::Dead } else { Ending::Ended });
            }
            if is_silent && self.is_dead_when_silent && age > SILENCE {
                return Ok(Ending::Dead);
            }
            if age > self.limit {
                return Ok(Ending::TimeOut);
            }
            if self.console.contains(LISTENING) || age > QUIET_TIME {
                let answer_by = Instant::now() + ANSWER_TIME;
                let until = deadline.map_or(answer_by, |deadline| deadline.min(answer_by));
                if let Some(health) = self.ask(until) {
                    return Ok(Ending::Answered(health));
                }
            }
            thread::sleep(PAUSE);
        }
    }

    /// Asks once; `None` if there was no answer, which may only mean: not yet.
    fn ask(&mut self, until: Instant) -> Option<Health> {
        let mut stream = self.vsock.connect(AGENT_PORT, until).ok()?;
        health::ask(&mut stream).ok()
    }
}

fn as_seconds<S: serde::Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(took.as_secs_f64())
}

/// Why no machine could be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no machine for this processor.
    #[error(
        "guests for {architecture} cannot be started: QEMU's machine for it has no vsock device that needs no privilege"
    )]
    NoMachine {
        /// The guest's processor.
        architecture: Architecture,
    },
    /// A machine that cannot take the image so.
    #[error("machines for {architecture} take an image as a disk, and not as NVDIMM")]
    Attachment {
        /// The guest's processor.
        architecture: Architecture,
    },
    /// An image that is none, or of a kind that is not known.
    #[error("cannot boot {}", path.display())]
    Image {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: crate::image::Error,
    },
    /// A root hash is given for an image without a hash tree.
    #[error("{} has no hash tree that could be checked", path.display())]
    NotMeasured {
        /// Its file.
        path: PathBuf,
    },
    /// The image or initrd could not be read.
    #[error("cannot read the guest {}", path.display())]
    Guest {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel or one of its modules could not be read.
    #[error("cannot read the kernel: {path}")]
    Kernel {
        /// Which file of it.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A kernel's package holds no kernel.
    #[error("the kernel's package has no /boot/vmlinuz")]
    NoKernel,
    /// A module is not what it should be.
    #[error("the kernel module {name} {rule}")]
    Module {
        /// Its name.
        name: String,
        /// What is wrong with it.
        rule: &'static str,
    },
    /// The kernel needs modules and there is nothing to load them.
    #[error(
        "this kernel has its drivers in modules, and the program guest-probe, which loads them, is not there"
    )]
    NoLoader,
    /// The initrd that loads modules could not be made.
    #[error("cannot make the initrd that loads the kernel's modules")]
    Loader {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The vsock device could not be made.
    #[error("cannot make the vsock device")]
    Vsock {
        /// Why.
        source: io::Error,
    },
    /// QEMU could not be started or watched.
    #[error("cannot run {}", path.display())]
    Qemu {
        /// The program.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No temporary folder could be made.
    #[error("cannot make a temporary folder for the machine")]
    Work(#[from] store::Error),
}
