//! The command line as a layer.
//!
//! [`Options`] is what `cli` fills in: plain values, unchecked. What an option is called is known
//! here only for messages.

use std::path::{Path, PathBuf};

use super::layer::{
    AgentAsked, AgentLayer, FileAsked, GuestLayer, ImageLayer, Layer, Maybe, PackageLayer,
    SourceLayer,
};
use super::mistake::{Given, Mistakes, Origin};

/// What was said on the command line about the recipe. Everything may be left out.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `DISTRO`.
    pub distro: Option<String>,
    /// `--version`.
    pub version: Option<String>,
    /// `--arch`.
    pub architecture: Option<String>,
    /// `--package`: further packages.
    pub packages: Vec<String>,
    /// `--exclude`: packages that are never installed.
    pub exclude: Vec<String>,
    /// `--extra-file SRC:DEST`.
    pub extra_files: Vec<String>,
    /// `--mirror`.
    pub mirrors: Vec<String>,
    /// `--repository`.
    pub repositories: Vec<String>,
    /// `--key`.
    pub keys: Vec<PathBuf>,
    /// `--suite`: further suites.
    pub suites: Vec<String>,
    /// `--component`.
    pub components: Vec<String>,
    /// `--insecure`.
    pub insecure: Option<bool>,
    /// `--plain-chroot`.
    pub plain_chroot: Option<bool>,
    /// `--agent`: a path, or `probe`.
    pub agent: Option<String>,
    /// `--agent-version`: for the summary file.
    pub agent_version: Option<String>,
    /// `--init`: `systemd` or `agent`.
    pub init: Option<String>,
    /// `--scripts`: `any`, `programs` or `built-in`.
    pub scripts: Option<String>,
    /// `--epoch`.
    pub epoch: Option<String>,
    /// `--rootfs-only`: packages and nothing of Kata.
    pub rootfs_only: bool,
    /// Not `--any-tree`.
    pub check_init: Option<bool>,
    /// `--prune`.
    pub prune: Option<bool>,
    /// `--keep-database`.
    pub keep_database: Option<bool>,
    /// `--osbuilder-version`: for the summary file.
    pub osbuilder_version: Option<String>,
    /// `--compression` of an initrd.
    pub initrd_compression: Option<String>,
    /// `--file-system`.
    pub file_system: Option<String>,
    /// `--free-space`, in MiB.
    pub free_space_mib: Option<u64>,
    /// `--compression`.
    pub compression: Option<String>,
    /// `--measured`.
    pub measured: Option<bool>,
    /// `--variant`.
    pub variant: Option<String>,
    /// `--salt`, in hexadecimal digits.
    pub salt: Option<String>,
    /// `--verity-superblock`.
    pub verity_superblock: Option<bool>,
    /// `--partition-table`.
    pub partition_table: Option<String>,
    /// `--root-hash-key`.
    pub root_hash_key: Option<PathBuf>,
    /// `--root-hash-certificate`.
    pub root_hash_certificate: Option<PathBuf>,
    /// `--selinux`.
    pub selinux: Option<bool>,
}

/// The ends of names of tarballs that Kata's packaging makes.
const TARBALL: [&str; 2] = [".tar.zst", ".tzst"];

/// Reads the command line.
pub(super) fn read(options: &Options, mistakes: &mut Mistakes) -> Layer {
    Layer {
        distro: text("DISTRO", options.distro.as_ref()),
        version: text("--version", options.version.as_ref()),
        architecture: text("--arch", options.architecture.as_ref()),
        init: text("--init", options.init.as_ref()),
        scripts: text("--scripts", options.scripts.as_ref()),
        epoch: text("--epoch", options.epoch.as_ref()),
        packages: PackageLayer {
            extra: texts("--package", &options.packages),
            exclude: texts("--exclude", &options.exclude),
            ..PackageLayer::default()
        },
        sources: SourceLayer {
            mirrors: texts("--mirror", &options.mirrors),
            repositories: texts("--repository", &options.repositories),
            keys: texts("--key", &options.keys),
            components: texts("--component", &options.components),
            extra_suites: texts("--suite", &options.suites),
            insecure: given("--insecure", options.insecure),
            ..SourceLayer::default()
        },
        plain_chroot: given("--plain-chroot", options.plain_chroot),
        agent: AgentLayer {
            from: agent(options),
            version: text("--agent-version", options.agent_version.as_ref()),
            ..AgentLayer::default()
        },
        guest: GuestLayer {
            check_init: given("--any-tree", options.check_init),
            prune: given("--prune", options.prune),
            keep_database: given("--keep-database", options.keep_database),
            osbuilder_version: text("--osbuilder-version", options.osbuilder_version.as_ref()),
            ..GuestLayer::default()
        },
        image: ImageLayer {
            file_system: text("--file-system", options.file_system.as_ref()),
            free_space_mib: given("--free-space", options.free_space_mib),
            compression: text("--compression", options.compression.as_ref()),
            measured: given("--measured", options.measured),
            variant: text("--variant", options.variant.as_ref()),
            salt: text("--salt", options.salt.as_ref()),
            verity_superblock: given("--verity-superblock", options.verity_superblock),
            partition_table: text("--partition-table", options.partition_table.as_ref()),
            selinux: given("--selinux", options.selinux),
            root_hash_key: given("--root-hash-key", options.root_hash_key.clone()),
            root_hash_certificate: given(
                "--root-hash-certificate",
                options.root_hash_certificate.clone(),
            ),
            ..ImageLayer::default()
        },
        initrd_compression: text("--compression", options.initrd_compression.as_ref()),
        extra_files: (options.extra_files.iter())
            .filter_map(|text| extra_file(text, mistakes))
            .collect(),
    }
}

/// A tarball is told by its name: nothing is read here.
pub(super) fn agent_path(path: &Path) -> AgentAsked {
    let name = path.to_string_lossy();
    if TARBALL.iter().any(|end| name.ends_with(end)) {
        AgentAsked::Tarball(path.to_owned())
    } else {
        AgentAsked::Binary(path.to_owned())
    }
}

fn agent(options: &Options) -> Maybe<AgentAsked> {
    if options.rootfs_only {
        return given("--rootfs-only", Some(AgentAsked::None));
    }
    let asked = match options.agent.as_deref()? {
        "probe" => AgentAsked::Probe,
        path => agent_path(Path::new(path)),
    };
    given("--agent", Some(asked))
}

fn extra_file(text: &str, mistakes: &mut Mistakes) -> Option<Given<FileAsked>> {
    let origin = Origin::Option("--extra-file");
    match text.rsplit_once(':') {
        Some((source, destination)) if !source.is_empty() && !destination.is_empty() => {
            let asked = FileAsked { source: source.into(), destination: destination.to_owned() };
            Some(Given::new(asked, origin))
        }
        _ => {
            mistakes.add(&origin, format!("{text:?} is not of the form SRC:DEST"));
            None
        }
    }
}

fn given<T>(name: &'static str, value: Option<T>) -> Maybe<T> {
    value.map(|value| Given::new(value, Origin::Option(name)))
}

fn text(name: &'static str, value: Option<&String>) -> Maybe<String> {
    given(name, value.cloned())
}

fn texts<T: Clone>(name: &'static str, values: &[T]) -> Vec<Given<T>> {
    values.iter().map(|value| Given::new(value.clone(), Origin::Option(name))).collect()
}
