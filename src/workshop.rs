//! What is the same for all stages: the store, the network, who listens; and the files of the host
//! that a recipe names, read into the values that the pure stages take.

use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fs_err::File;

use crate::configure::{self, Configured};
use crate::distro::Architecture;
use crate::epoch::Epoch;
use crate::event::{Cost, Event, Listener, Stage};
use crate::fetch::{self, Network};
use crate::lock::Lock;
use crate::provision::{self, Summary};
use crate::recipe::{self, Recipe};
use crate::store::{self, Store, directory};
use crate::tree::{Content, Contents, Inode, Kind, Meta, Tree};
use crate::{image, resolve, selinux, unpack};

/// Everything that stages share.
#[derive(Clone, Copy)]
pub struct Workshop<'a> {
    /// The cache.
    pub store: &'a Store,
    /// Proxies and time limits.
    pub network: &'a Network,
    /// Use the cache alone.
    pub offline: bool,
    /// The wall clock, for the expiry of signatures and indexes only.
    pub now: Epoch,
    /// The lock that a build follows: nothing older than its snapshots is accepted.
    pub followed: Option<&'a Lock>,
    /// How many threads work. No output depends on it.
    pub threads: NonZeroUsize,
    /// Whose outputs shall be, if not the writing user's: user and group.
    pub owner: Option<(u32, u32)>,
    /// Where the bundled probe for the guest's processor is.
    pub probe: Option<&'a Path>,
    /// Who hears of progress and warnings.
    pub listener: Listener<'a>,
}

impl std::fmt::Debug for Workshop<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workshop").field("offline", &self.offline).finish_non_exhaustive()
    }
}

/// A tree on its way to become an output, with the moment that limits its times.
#[derive(Debug, Clone)]
pub struct Guest {
    /// The files. Their contents are in the store.
    pub tree: Tree,
    /// No time in an output is later.
    pub epoch: Epoch,
    /// Whether its packages have scripts, and osbuilder's own handlers ran them.
    pub by_handlers: bool,
}

impl Guest {
    /// Packages as they were configured.
    pub(crate) fn new(configured: Configured, epoch: Epoch) -> Self {
        let Configured { tree, key } = configured;
        Self { tree, epoch, by_handlers: key.by_handlers }
    }
}

impl<'a> Workshop<'a> {
    /// Runs a stage and tells the listener when it begins and ends.
    ///
    /// # Errors
    /// What the stage returns.
    pub fn stage<T, E>(&self, stage: Stage, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        (self.listener)(Event::StageStarted { stage });
        let (began, processor) = (Instant::now(), processor_time());
        let result = work()?;
        let processor = processor_time().saturating_sub(processor);
        let took = Cost { wall: began.elapsed(), processor };
        (self.listener)(Event::StageFinished { stage, took });
        Ok(result)
    }

    /// What fetching needs to know.
    pub(crate) fn fetching(&self) -> fetch::Context<'a> {
        fetch::Context {
            store: self.store,
            listener: self.listener,
            now: self.now,
            offline: self.offline,
            network: self.network,
            host: Some(Path::new("/")),
            max_age: None,
            lock: self.followed,
        }
    }

    /// Reads everything that provisioning takes from the host's disk.
    pub(crate) fn host_files(&self, recipe: &Recipe) -> Result<HostFiles, Error> {
        let guest = &recipe.guest;
        Ok(HostFiles {
            agent: self.agent(recipe)?,
            policy: match &guest.policy {
                None => None,
                Some(recipe::Policy::AllowAll) => Some(provision::Policy::AllowAll),
                Some(recipe::Policy::File(path)) => Some(provision::Policy::File {
                    name: file_name(path)?,
                    content: self.keep(path)?,
                }),
            },
            modules: match &guest.kernel_modules {
                None => None,
                Some(path) => Some((file_name(path)?, self.keep_directory(path)?)),
            },
            hooks: self.layer(guest.hooks_tarball.as_deref())?,
            pause: self.layer(guest.pause_tarball.as_deref())?,
            confidential_components: self.layer(guest.confidential_tarball.as_deref())?,
            extra_files: self.extra_files(&recipe.extra_files)?,
            summary: Summary::of(recipe),
            store: self.store.clone(),
        })
    }

    fn agent(&self, recipe: &Recipe) -> Result<Option<provision::Agent>, Error> {
        Ok(match &recipe.agent {
            recipe::Agent::None => None,
            recipe::Agent::Binary(path) => Some(provision::Agent::Binary(self.keep(path)?)),
            recipe::Agent::Tarball(path) => self.layer(Some(path))?.map(provision::Agent::Layer),
            recipe::Agent::Probe => {
                let path =
                    self.probe.ok_or(Error::NoProbe { architecture: recipe.architecture })?;
                Some(provision::Agent::Binary(self.keep(path)?))
            }
        })
    }

    /// Puts a file of the host into the store.
    fn keep(&self, path: &Path) -> Result<Content, Error> {
        let file = File::open(path).map_err(|source| Error::Input { source })?;
        let (digest, size) = self.store.insert(file, None).map_err(|error| match error {
            store::Error::Source(source) => Error::Input { source },
            error => Error::Store(error),
        })?;
        Ok(Content::Stored { digest, size })
    }

    /// Puts a directory of the host into the store.
    fn keep_directory(&self, path: &Path) -> Result<Tree, Error> {
        let (tree, contents) = directory::read(path, self.threads).map_err(Error::Store)?;
        for (_, _, inode) in tree.walk() {
            if let Kind::Regular(Content::Stored { digest, size }) = &inode.kind {
                let reader = contents.open(digest).map_err(|source| Error::Input { source })?;
                self.store.insert(reader, Some((*digest, *size))).map_err(Error::Store)?;
            }
        }
        Ok(tree)
    }

    fn layer(&self, tarball: Option<&Path>) -> Result<Option<Tree>, Error> {
        let Some(path) = tarball else { return Ok(None) };
        let file = File::open(path).map_err(|source| Error::Input { source })?;
        let tree = unpack::tarball(file, self.store);
        tree.map(Some).map_err(|source| Error::Tarball { path: path.to_owned(), source })
    }

    fn extra_files(&self, files: &[recipe::ExtraFile]) -> Result<Vec<provision::ExtraFile>, Error> {
        let read = |file: &recipe::ExtraFile| {
            let destination = file.destination.clone();
            Ok(provision::ExtraFile { destination, what: self.extra(&file.source)? })
        };
        files.iter().map(read).collect()
    }

    fn extra(&self, source: &Path) -> Result<provision::Extra, Error> {
        use std::os::unix::fs::PermissionsExt;
        let meta = fs_err::metadata(source).map_err(|source| Error::Input { source })?;
        if meta.is_dir() {
            return Ok(provision::Extra::Directory(self.keep_directory(source)?));
        }
        let mode = if meta.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 };
        let kind = Kind::Regular(self.keep(source)?);
        Ok(provision::Extra::File(Inode { meta: Meta::root(mode), kind }))
    }
}

/// How long all threads of this process have run.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

fn file_name(path: &Path) -> Result<String, Error> {
    let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    name.ok_or_else(|| Error::Unnamed { path: path.to_owned() })
}

/// The files of the host that a recipe names, in the store: what provisioning borrows.
pub struct HostFiles {
    agent: Option<provision::Agent>,
    policy: Option<provision::Policy>,
    modules: Option<(String, Tree)>,
    hooks: Option<Tree>,
    pause: Option<Tree>,
    confidential_components: Option<Tree>,
    extra_files: Vec<provision::ExtraFile>,
    summary: Summary,
    store: Store,
}

impl std::fmt::Debug for HostFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostFiles").finish_non_exhaustive()
    }
}

impl HostFiles {
    /// Provisions a guest that was installed from packages.
    pub(crate) fn provision(&self, guest: Guest, recipe: &Recipe) -> Result<Guest, Error> {
        let inputs = self.borrow(recipe, &guest, &self.store);
        let tree = provision::provision(guest.tree, &inputs).map_err(Error::Provision)?;
        Ok(Guest { tree, ..guest })
    }

    /// Provisions a tree that was made by hand, whose contents are elsewhere.
    pub(crate) fn provision_bare(
        &self,
        guest: Guest,
        contents: &dyn Contents,
        recipe: &Recipe,
    ) -> Result<Guest, Error> {
        let borrowed = self.borrow(recipe, &guest, contents);
        let inputs = provision::Inputs { without_packages: true, ..borrowed };
        let tree = provision::provision(guest.tree, &inputs).map_err(Error::Provision)?;
        Ok(Guest { tree, ..guest })
    }

    fn borrow<'a>(
        &'a self,
        recipe: &'a Recipe,
        installed: &Guest,
        contents: &'a dyn Contents,
    ) -> provision::Inputs<'a> {
        let guest = &recipe.guest;
        provision::Inputs {
            agent: self.agent.as_ref(),
            agent_name: &guest.agent_name,
            init: recipe.init,
            policy: self.policy.as_ref(),
            confidential: guest.confidential,
            prune: guest.prune,
            keep_database: guest.keep_database,
            check_init: guest.check_init,
            without_packages: false,
            modules: self.modules.as_ref().map(|(name, tree)| (name.as_str(), tree)),
            hooks: self.hooks.as_ref(),
            pause: self.pause.as_ref(),
            confidential_components: self.confidential_components.as_ref(),
            extra_files: &self.extra_files,
            summary: &self.summary,
            by_handlers: installed.by_handlers,
            epoch: installed.epoch,
            contents,
        }
    }
}

/// Why a build failed: the stage, and as its source what the stage says.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Repositories' indexes cannot be had.
    #[error("cannot get the repositories' indexes")]
    Indexes(#[source] fetch::Error),
    /// No set of packages does what the recipe asks.
    #[error("cannot choose packages")]
    Resolve(#[source] Box<resolve::Error>),
    /// Packages cannot be had.
    #[error("cannot fetch packages")]
    Packages(#[source] fetch::Error),
    /// Packages cannot be laid out.
    #[error("cannot unpack packages")]
    Unpack(#[source] unpack::Error),
    /// The packages contradict the lock that names them.
    #[error("the lock cannot be followed")]
    Lock(#[source] Box<resolve::Error>),
    /// Scripts failed, or cannot be run.
    #[error("cannot configure packages")]
    Configure(#[source] configure::Error),
    /// The tree cannot be made a guest.
    #[error("cannot make the tree a guest")]
    Provision(#[source] provision::Error),
    /// The image or initrd cannot be laid out or written.
    #[error("cannot write {}", path.display())]
    Image {
        /// The output.
        path: PathBuf,
        /// Why.
        source: image::Error,
    },
    /// What was written does not read back as it should.
    #[error("{} was written, but does not read back as it should; it did not get its name", path.display())]
    Check {
        /// The output.
        path: PathBuf,
        /// Why.
        source: image::Error,
    },
    /// The disk on which an output shall stand is full.
    #[error("{} needs up to {needed} bytes of room, and {free} are free there", path.display())]
    Full {
        /// The output.
        path: PathBuf,
        /// Bytes of all files, before any compression.
        needed: u64,
        /// Bytes.
        free: u64,
        /// What could not be written.
        source: Box<Self>,
    },
    /// An output met a limit that is not the disk's end.
    #[error("cannot write {}: {reason}", path.display())]
    Limit {
        /// The output.
        path: PathBuf,
        /// Which limit.
        reason: &'static str,
        /// What could not be written.
        source: Box<Self>,
    },
    /// The tree would not come up as a guest.
    #[error("the tree cannot start as a Kata guest{}", listed(lacks))]
    NoGuest {
        /// Everything without which it does not come up, each a sentence.
        lacks: Vec<String>,
    },
    /// The tree would not be taken for an extension of a guest.
    #[error("the tree cannot be an extension of Kata guests{}", listed(lacks))]
    NoExtension {
        /// What is wrong with its manifest, each a sentence.
        lacks: Vec<String>,
    },
    /// An output cannot be put in place, or the cache cannot be used.
    #[error("cannot use the disk")]
    Store(#[source] store::Error),
    /// A file that the recipe names cannot be read.
    #[error("cannot read a file that the recipe names")]
    Input {
        /// Which, and why.
        source: io::Error,
    },
    /// The SELinux policy in the tree cannot be used, or there is none.
    #[error("cannot label the files for SELinux")]
    Labels(#[source] selinux::Error),
    /// A root hash cannot be signed with what the recipe names.
    #[error("cannot sign the root hash with {}", path.display())]
    Signer {
        /// The key.
        path: PathBuf,
        /// Why.
        source: Box<image::verity::BadSigner>,
    },
    /// A tarball that the recipe names cannot be unpacked.
    #[error("cannot unpack {}", path.display())]
    Tarball {
        /// The tarball.
        path: PathBuf,
        /// Why.
        source: unpack::Error,
    },
    /// A path ends in no name.
    #[error("{} has no file name", path.display())]
    Unnamed {
        /// The path.
        path: PathBuf,
    },
    /// The probe was asked for and is not there.
    #[error("the bundled guest-probe for {architecture} is not installed beside osbuilder")]
    NoProbe {
        /// The guest's processor.
        architecture: Architecture,
    },
}

/// Each sentence on a line of its own.
fn listed(sentences: &[String]) -> String {
    sentences.iter().map(|sentence| format!("\n  {sentence}")).collect()
}
