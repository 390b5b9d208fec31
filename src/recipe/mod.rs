//! What is asked for: a recipe file, options and Kata's environment variables, as one value.
//!
//! Everything after this room sees a [`Recipe`] only: names are well formed, the distribution
//! exists, defaults are filled in.

use std::path::PathBuf;

use crate::distro::{Architecture, Distro, Release};
use crate::epoch::Epoch;
use crate::package::PackageName;
use crate::tree::TreePath;

/// A complete request for a guest.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// The distribution.
    pub distro: Distro,
    /// One of its releases.
    pub release: Release,
    /// The guest's processor.
    pub architecture: Architecture,
    /// Which program is the guest's first process.
    pub init: Init,
    /// Packages to install; their dependencies come along.
    pub packages: PackageSet,
    /// Where packages come from.
    pub sources: Sources,
    /// Files of the host to put into the guest.
    pub extra_files: Vec<ExtraFile>,
    /// The agent.
    pub agent: Agent,
    /// What else makes a tree a Kata guest.
    pub guest: Guest,
    /// How the image is laid out.
    pub image: ImageOptions,
    /// The latest time stamp in the output. `None`: the newest date that the repositories sign,
    /// so that a lock alone determines every byte.
    pub epoch: Option<Epoch>,
}

/// Which packages are asked for.
#[derive(Debug, Clone, Default)]
pub struct PackageSet {
    /// The list that makes a guest: the distribution's default for the init, unless given.
    pub base: Vec<PackageName>,
    /// What a user adds.
    pub extra: Vec<PackageName>,
    /// Whether recommended packages are installed too. Off by default.
    pub recommends: bool,
    /// Which part of the distribution is installed whether asked for or not.
    pub variant: Variant,
}

/// Which packages are installed whether asked for or not; named as in mmdebstrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Variant {
    /// Those marked essential.
    Essential,
    /// Essential ones and those of priority `required`: what Kata's own builder installs.
    #[default]
    Required,
}

/// Where packages come from, beyond what the distribution's data file says.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Roots of the distribution, tried in order in place of the built-in mirrors.
    /// `http`, `https` or `file` URLs.
    pub mirrors: Vec<String>,
    /// Further repositories.
    pub repositories: Vec<String>,
    /// Files with keys that the user trusts for the further repositories and for mirrors.
    pub keys: Vec<PathBuf>,
    /// Components of the archive: `main`, `universe`. Empty: the distribution's default.
    pub components: Vec<String>,
    /// Suites such as `trixie-backports` beside those of the data file.
    pub extra_suites: Vec<String>,
    /// Release pocket only, without updates and security, as the original did.
    pub release_only: bool,
    /// Accept repositories whose signature is missing or wrong. Loud, and recorded in the lock.
    pub insecure: bool,
}

/// The guest's first process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Init {
    /// systemd starts the agent as a service (`AGENT_INIT=no`).
    Systemd,
    /// The agent itself (`AGENT_INIT=yes`).
    Agent,
}

/// A file of the host that goes into the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraFile {
    /// File or directory on the host.
    pub source: PathBuf,
    /// Its place in the guest.
    pub destination: TreePath,
}

/// Where the agent comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Agent {
    /// A ready binary (`AGENT_SOURCE_BIN`); its units are supplied.
    Binary(PathBuf),
    /// A zstd tarball that is unpacked over the tree (`AGENT_TARBALL`).
    Tarball(PathBuf),
    /// The bundled stand-in: boots and answers health checks, runs no containers.
    Probe,
    /// No agent at all (`ROOTFS_ONLY=yes`): packages only, no provisioning.
    None,
}

/// What makes a tree a Kata guest; the variables of Kata's `rootfs.sh`.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is one of Kata's independent switches")]
pub struct Guest {
    /// File name of the agent below `/usr/bin` (`AGENT_BIN`).
    pub agent_name: String,
    /// libseccomp for the agent (`SECCOMP`).
    pub seccomp: bool,
    /// A policy is installed (`AGENT_POLICY`): the Rego file, or the built-in allow-all.
    pub policy: Option<Policy>,
    /// Sizing of `/run` for confidential guests (`CONFIDENTIAL_GUEST`).
    pub confidential: bool,
    /// Remove units that a guest does not need (`-d`).
    pub prune: bool,
    /// Keep the package database, logs and caches that Kata removes.
    pub keep_database: bool,
    /// A folder copied into `/lib/modules` (`KERNEL_MODULES_DIR`).
    pub kernel_modules: Option<PathBuf>,
    /// zstd tarballs unpacked over the tree, in this order: guest hooks, pause image, confidential
    /// components.
    pub hooks_tarball: Option<PathBuf>,
    /// `PAUSE_IMAGE_TARBALL`.
    pub pause_tarball: Option<PathBuf>,
    /// `COCO_GUEST_COMPONENTS_TARBALL`; implies `confidential`.
    pub confidential_tarball: Option<PathBuf>,
    /// Version string for the summary file (`-o`).
    pub osbuilder_version: Option<String>,
    /// Agent version for the summary file.
    pub agent_version: Option<String>,
    /// Repository of the agent for the summary file (`KATA_REPO`).
    pub kata_repository: String,
}

/// Which policy the agent starts with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Policy {
    /// Everything is allowed.
    AllowAll,
    /// A Rego file of the host (`AGENT_POLICY_FILE`).
    File(PathBuf),
}

/// How an image is laid out; compat-surface of Kata's `image_builder.sh`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageOptions {
    /// The file system (`FS_TYPE`).
    pub file_system: FileSystem,
    /// File-system block size in bytes (`BLOCK_SIZE`): 1024, 2048 or 4096.
    pub block_size: u32,
    /// MiB of free space to add (`ROOT_FREE_SPACE`).
    pub free_space_mib: u64,
    /// The file's size is rounded up to a multiple of this many MiB (`IMAGE_SIZE_ALIGNMENT_MB`).
    pub alignment_mib: u64,
    /// Whether the NVDIMM header precedes the disk (`SKIP_DAX_HEADER=no`).
    pub dax_header: bool,
    /// Whether ext4 gets a journal. Kata's roots are read-only: off.
    pub journal: bool,
}

/// File systems for images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    /// ext4.
    Ext4,
}
