//! One source of a recipe: what it says, as it was written, and nothing that it does not say.
//!
//! Values are unchecked text, numbers and switches, each with its [`Origin`](super::Origin);
//! `complete` checks them after the layers were laid over each other.

use std::path::PathBuf;

use super::mistake::Given;

/// A value that a source may have given.
pub(super) type Maybe<T> = Option<Given<T>>;

/// What one source says.
#[derive(Debug, Clone, Default)]
pub(super) struct Layer {
    pub(super) distro: Maybe<String>,
    pub(super) version: Maybe<String>,
    pub(super) architecture: Maybe<String>,
    pub(super) init: Maybe<String>,
    pub(super) scripts: Maybe<String>,
    pub(super) epoch: Maybe<String>,
    pub(super) packages: PackageLayer,
    pub(super) sources: SourceLayer,
    pub(super) plain_chroot: Maybe<bool>,
    pub(super) agent: AgentLayer,
    pub(super) guest: GuestLayer,
    pub(super) image: ImageLayer,
    pub(super) initrd_compression: Maybe<String>,
    pub(super) extra_files: Vec<Given<FileAsked>>,
}

/// What to install.
#[derive(Debug, Clone, Default)]
pub(super) struct PackageLayer {
    pub(super) base: Vec<Given<String>>,
    pub(super) extra: Vec<Given<String>>,
    pub(super) exclude: Vec<Given<String>>,
    pub(super) recommends: Maybe<bool>,
    pub(super) variant: Maybe<String>,
}

/// Where from.
#[derive(Debug, Clone, Default)]
pub(super) struct SourceLayer {
    pub(super) mirrors: Vec<Given<String>>,
    /// In place of `mirrors` when the guest is an x86 (`REPO_URL_X86_64`).
    pub(super) mirrors_x86_64: Vec<Given<String>>,
    pub(super) repositories: Vec<Given<String>>,
    pub(super) keys: Vec<Given<PathBuf>>,
    pub(super) components: Vec<Given<String>>,
    pub(super) extra_suites: Vec<Given<String>>,
    pub(super) release_only: Maybe<bool>,
    pub(super) insecure: Maybe<bool>,
}

/// The agent.
#[derive(Debug, Clone, Default)]
pub(super) struct AgentLayer {
    pub(super) from: Maybe<AgentAsked>,
    pub(super) name: Maybe<String>,
    pub(super) version: Maybe<String>,
    pub(super) seccomp: Maybe<bool>,
    pub(super) policy: Maybe<bool>,
    pub(super) policy_file: Maybe<PathBuf>,
}

/// Where the agent is to come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AgentAsked {
    Binary(PathBuf),
    Tarball(PathBuf),
    Source(PathBuf),
    Probe,
    None,
}

/// What else makes a guest.
#[derive(Debug, Clone, Default)]
pub(super) struct GuestLayer {
    pub(super) confidential: Maybe<bool>,
    pub(super) prune: Maybe<bool>,
    pub(super) keep_database: Maybe<bool>,
    pub(super) check_init: Maybe<bool>,
    pub(super) kernel_modules: Maybe<PathBuf>,
    pub(super) hooks_tarball: Maybe<PathBuf>,
    pub(super) pause_tarball: Maybe<PathBuf>,
    pub(super) confidential_tarball: Maybe<PathBuf>,
    pub(super) osbuilder_version: Maybe<String>,
    pub(super) kata_repository: Maybe<String>,
    pub(super) distro_name: Maybe<String>,
}

/// How the image is laid out.
#[derive(Debug, Clone, Default)]
pub(super) struct ImageLayer {
    pub(super) file_system: Maybe<String>,
    pub(super) block_size: Maybe<u64>,
    pub(super) free_space_mib: Maybe<u64>,
    pub(super) alignment_mib: Maybe<u64>,
    pub(super) dax_header: Maybe<bool>,
    pub(super) journal: Maybe<bool>,
    pub(super) compression: Maybe<String>,
    pub(super) measured: Maybe<bool>,
    pub(super) variant: Maybe<String>,
    /// In hexadecimal digits.
    pub(super) salt: Maybe<String>,
    pub(super) verity_superblock: Maybe<bool>,
    pub(super) partition_table: Maybe<String>,
    pub(super) root_hash_key: Maybe<PathBuf>,
    pub(super) root_hash_certificate: Maybe<PathBuf>,
    pub(super) selinux: Maybe<bool>,
}

/// A file of the host and its place in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileAsked {
    pub(super) source: PathBuf,
    pub(super) destination: String,
}

impl Layer {
    /// Lays this layer over `lower`. A value hides the one below it; lists of what is *added*
    /// (packages, repositories, keys, suites, files) join, the lower ones first.
    pub(super) fn over(self, lower: Self) -> Self {
        Self {
            distro: self.distro.or(lower.distro),
            version: self.version.or(lower.version),
            architecture: self.architecture.or(lower.architecture),
            init: self.init.or(lower.init),
            scripts: self.scripts.or(lower.scripts),
            epoch: self.epoch.or(lower.epoch),
            packages: self.packages.over(lower.packages),
            sources: self.sources.over(lower.sources),
            plain_chroot: self.plain_chroot.or(lower.plain_chroot),
            agent: self.agent.over(lower.agent),
            guest: self.guest.over(lower.guest),
            image: self.image.over(lower.image),
            initrd_compression: self.initrd_compression.or(lower.initrd_compression),
            extra_files: joined(lower.extra_files, self.extra_files),
        }
    }
}

impl PackageLayer {
    fn over(self, lower: Self) -> Self {
        Self {
            base: first(self.base, lower.base),
            extra: joined(lower.extra, self.extra),
            exclude: joined(lower.exclude, self.exclude),
            recommends: self.recommends.or(lower.recommends),
            variant: self.variant.or(lower.variant),
        }
    }
}

impl SourceLayer {
    fn over(self, lower: Self) -> Self {
        // A mirror of a higher layer hides both kinds of the lower one.
        let own = !self.mirrors.is_empty();
        let lower_x86 = if own { Vec::new() } else { lower.mirrors_x86_64 };
        Self {
            mirrors: first(self.mirrors, lower.mirrors),
            mirrors_x86_64: first(self.mirrors_x86_64, lower_x86),
            repositories: joined(lower.repositories, self.repositories),
            keys: joined(lower.keys, self.keys),
            components: first(self.components, lower.components),
            extra_suites: joined(lower.extra_suites, self.extra_suites),
            release_only: self.release_only.or(lower.release_only),
            insecure: self.insecure.or(lower.insecure),
        }
    }
}

impl AgentLayer {
    fn over(self, lower: Self) -> Self {
        Self {
            from: self.from.or(lower.from),
            name: self.name.or(lower.name),
            version: self.version.or(lower.version),
            seccomp: self.seccomp.or(lower.seccomp),
            policy: self.policy.or(lower.policy),
            policy_file: self.policy_file.or(lower.policy_file),
        }
    }
}

impl GuestLayer {
    fn over(self, lower: Self) -> Self {
        Self {
            confidential: self.confidential.or(lower.confidential),
            prune: self.prune.or(lower.prune),
            keep_database: self.keep_database.or(lower.keep_database),
            check_init: self.check_init.or(lower.check_init),
            kernel_modules: self.kernel_modules.or(lower.kernel_modules),
            hooks_tarball: self.hooks_tarball.or(lower.hooks_tarball),
            pause_tarball: self.pause_tarball.or(lower.pause_tarball),
            confidential_tarball: self.confidential_tarball.or(lower.confidential_tarball),
            osbuilder_version: self.osbuilder_version.or(lower.osbuilder_version),
            kata_repository: self.kata_repository.or(lower.kata_repository),
            distro_name: self.distro_name.or(lower.distro_name),
        }
    }
}

impl ImageLayer {
    fn over(self, lower: Self) -> Self {
        Self {
            file_system: self.file_system.or(lower.file_system),
            block_size: self.block_size.or(lower.block_size),
            free_space_mib: self.free_space_mib.or(lower.free_space_mib),
            alignment_mib: self.alignment_mib.or(lower.alignment_mib),
            dax_header: self.dax_header.or(lower.dax_header),
            journal: self.journal.or(lower.journal),
            compression: self.compression.or(lower.compression),
            measured: self.measured.or(lower.measured),
            variant: self.variant.or(lower.variant),
            salt: self.salt.or(lower.salt),
            verity_superblock: self.verity_superblock.or(lower.verity_superblock),
            partition_table: self.partition_table.or(lower.partition_table),
            root_hash_key: self.root_hash_key.or(lower.root_hash_key),
            root_hash_certificate: self.root_hash_certificate.or(lower.root_hash_certificate),
            selinux: self.selinux.or(lower.selinux),
        }
    }
}

fn first<T>(upper: Vec<T>, lower: Vec<T>) -> Vec<T> {
    if upper.is_empty() { lower } else { upper }
}

fn joined<T>(mut lower: Vec<T>, upper: Vec<T>) -> Vec<T> {
    lower.extend(upper);
    lower
}
