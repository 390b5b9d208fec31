//! What was typed. The sentences here are the help, the man page and the completions.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::sbom::Wanted;

/// Build guest images for Kata Containers: no root, no container, the same bytes everywhere
#[derive(Debug, Parser)]
#[command(name = "osbuilder", version, max_term_width = 100)]
#[command(
    after_help = "Exit status: 0 done; 1 the build or a check failed; 2 the request makes no \
    sense; 3 network or signature trouble; 4 the host forbids what the build needs; 128+N ended \
    by signal N."
)]
pub(super) struct Arguments {
    /// Report progress, results and errors as JSON, one object a line
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Show the output of maintainer scripts
    #[arg(long, short, global = true)]
    pub(super) verbose: bool,
    /// Folder for downloaded packages and finished trees [default: the user's cache folder]
    #[arg(long, global = true, value_name = "DIR", env = "OSBUILDER_CACHE")]
    pub(super) cache: Option<PathBuf>,
    /// Folder with data files of further distributions [default: osbuilder/distros in the user's
    /// configuration folder]
    #[arg(long, global = true, value_name = "DIR", env = "OSBUILDER_DISTROS")]
    pub(super) distro_dir: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Make a root file system: a directory with the guest's files
    Rootfs(RootfsArguments),
    /// Make a disk image
    Image(ImageArguments),
    /// Make an initrd: a compressed cpio archive
    Initrd(InitrdArguments),
    /// Make what a recipe says
    Build(RecipeArguments),
    /// Choose packages and write the lock, without building
    Lock(BuildArguments),
    /// Start an image or initrd in a virtual machine and ask the agent how it is
    Boot(BootArguments),
    /// List the distributions that can be built, and how far each was tried
    Distros(DistrosArguments),
    /// Show what an image, an initrd or a rootfs directory is made of, without mounting it
    Inspect(InspectArguments),
    /// Say whether an image or initrd is intact, fit for Kata, and measured as claimed
    Verify(VerifyArguments),
    /// Say what differs between two images, initrds, rootfs directories or locks
    Diff(DiffArguments),
    /// Check or shrink the cache
    Cache(CacheArguments),
    /// Write completions for a shell to standard output
    Completions(CompletionsArguments),
    /// Write manual pages
    Man(ManArguments),
}

/// The options that all forms share.
#[derive(Debug, Args, Clone, Default)]
pub(super) struct BuildArguments {
    /// Distribution, as `osbuilder distros` lists them [default: debian]
    pub(super) distro: Option<String>,
    /// Release: a code name, a number, or a name such as `stable`
    #[arg(long, value_name = "VERSION", help_heading = "Guest")]
    pub(super) version: Option<String>,
    /// Processor architecture [default: this machine's]
    #[arg(long, value_name = "ARCH", help_heading = "Guest")]
    pub(super) arch: Option<String>,
    /// Install this package too (repeatable); with Alpine any entry of apk's world file, such as
    /// `chrony@edge` or `musl~1.2`
    #[arg(long, value_name = "NAME", help_heading = "Guest")]
    pub(super) package: Vec<String>,
    /// Never install this package, nor what needs it (repeatable)
    #[arg(long, value_name = "NAME", help_heading = "Guest")]
    pub(super) exclude: Vec<String>,
    /// Put a file or folder of the host into the guest (repeatable)
    #[arg(long, value_name = "SRC:DEST", help_heading = "Guest")]
    pub(super) extra_file: Vec<String>,
    /// The agent: a ready binary, a `.tar.zst` tarball, or `probe` for the bundled stand-in, which
    /// boots and answers health checks but runs no containers
    #[arg(long, value_name = "PATH|probe", help_heading = "Guest")]
    pub(super) agent: Option<String>,
    /// The guest's first process [default: systemd; of Alpine: agent]
    #[arg(long, value_enum, help_heading = "Guest")]
    pub(super) init: Option<InitName>,
    /// Who runs the packages' scripts [default: any]
    #[arg(long, value_enum, help_heading = "Guest")]
    pub(super) scripts: Option<ScriptsName>,
    /// Version of the agent, for the summary file
    #[arg(long, value_name = "VERSION", help_heading = "Guest")]
    pub(super) agent_version: Option<String>,
    /// Version of osbuilder, for the summary file
    #[arg(long, value_name = "VERSION", help_heading = "Guest")]
    pub(super) osbuilder_version: Option<String>,
    /// Packages only: no agent, nothing of Kata
    #[arg(long, help_heading = "Guest")]
    pub(super) rootfs_only: bool,
    /// Accept a tree that could not start as a Kata guest
    #[arg(long, help_heading = "Guest")]
    pub(super) any_tree: bool,
    /// Remove systemd units that a guest does not need
    #[arg(long, help_heading = "Guest")]
    pub(super) prune: bool,
    /// Keep the package database, which Kata's own builder removes
    #[arg(long, help_heading = "Guest")]
    pub(super) keep_database: bool,
    /// Root of the distribution's archive, instead of the built-in ones (repeatable; http, https
    /// or file)
    #[arg(long, value_name = "URL", help_heading = "Sources")]
    pub(super) mirror: Vec<String>,
    /// A further repository: `URL` of a flat one, or `URL SUITE COMPONENT…` (repeatable)
    #[arg(long, value_name = "URL", help_heading = "Sources")]
    pub(super) repository: Vec<String>,
    /// A suite beside the release's own, such as `trixie-backports` (repeatable)
    #[arg(long, value_name = "NAME", help_heading = "Sources")]
    pub(super) suite: Vec<String>,
    /// A component of the archive, in place of the distribution's default (repeatable)
    #[arg(long, value_name = "NAME", help_heading = "Sources")]
    pub(super) component: Vec<String>,
    /// A file with keys that may sign mirrors and further repositories (repeatable)
    #[arg(long, value_name = "FILE", help_heading = "Sources")]
    pub(super) key: Vec<PathBuf>,
    /// Accept repositories without a good signature. Recorded in the lock
    #[arg(long, help_heading = "Sources")]
    pub(super) insecure: bool,
    /// Run maintainer scripts in a plain chroot, as root, where the host forbids namespaces. They see
    /// this machine's processes and network. Recorded in the lock and the summary
    #[arg(long, help_heading = "Scripts")]
    pub(super) plain_chroot: bool,
    /// A recipe file; options given here win over it
    #[arg(long, value_name = "FILE", help_heading = "Sameness")]
    pub(super) recipe: Option<PathBuf>,
    /// Lock file to follow [default: osbuilder.lock beside the output, written by each build]
    #[arg(long, value_name = "FILE", help_heading = "Sameness")]
    pub(super) lock: Option<PathBuf>,
    /// Fail unless the lock exists and fits the recipe
    #[arg(long, help_heading = "Sameness")]
    pub(super) locked: bool,
    /// Use the cache alone, no network
    #[arg(long, help_heading = "Sameness")]
    pub(super) offline: bool,
    /// Latest time stamp in the output, in seconds since 1970 [default: SOURCE_DATE_EPOCH, or the
    /// newest date that the repositories sign]
    #[arg(long, value_name = "SECONDS", help_heading = "Sameness")]
    pub(super) epoch: Option<String>,
    /// Where the result goes
    #[arg(long, short, value_name = "PATH", help_heading = "Output")]
    pub(super) output: Option<PathBuf>,
    /// Write a bill of materials: FILE ends in .spdx.json (SPDX 2.3) or .cdx.json (CycloneDX 1.6)
    /// (repeatable)
    #[arg(long, value_name = "FILE", value_parser = Wanted::parse, help_heading = "Output")]
    pub(super) sbom: Vec<Wanted>,
}

/// First processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum InitName {
    /// systemd starts the agent
    Systemd,
    /// OpenRC starts the agent (Alpine)
    Openrc,
    /// The agent itself
    Agent,
    /// Whatever packages and added files bring; nothing is put in that starts the agent
    None,
}

/// Who runs scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ScriptsName {
    /// Built-in handlers if they understand every script, else the guest's programs, by an emulator
    /// if need be; where there is none, handlers all the same
    Any,
    /// The guest's programs in the sandbox, or nobody
    Programs,
    /// osbuilder's own handlers; what they cannot run is listed
    BuiltIn,
}

/// `osbuilder rootfs`.
#[derive(Debug, Args)]
pub(super) struct RootfsArguments {
    #[command(flatten)]
    pub(super) build: BuildArguments,
    /// Install no packages: the directory named by --output is there and gets Kata's parts
    #[arg(long, conflicts_with_all = ["distro", "package", "rootfs_only"], requires = "output")]
    pub(super) provision_only: bool,
}

/// `osbuilder image`.
#[derive(Debug, Args)]
pub(super) struct ImageArguments {
    #[command(flatten)]
    pub(super) build: BuildArguments,
    /// Make the image of this directory instead of building a tree
    #[arg(long, value_name = "DIR", conflicts_with_all = ["distro", "package"])]
    pub(super) rootfs: Option<PathBuf>,
    /// Refuse what a kernel with this configuration (a `.config`) could not read
    #[arg(long, value_name = "FILE")]
    pub(super) kernel_config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) look: ImageLook,
}

/// What an image looks like.
#[derive(Debug, Args, Clone, Default)]
pub(super) struct ImageLook {
    /// File system: ext4, erofs, xfs [default: ext4]
    #[arg(long, value_name = "NAME", help_heading = "Image")]
    pub(super) file_system: Option<String>,
    /// Free space to add, in MiB
    #[arg(long, value_name = "MIB", help_heading = "Image")]
    pub(super) free_space: Option<u64>,
    /// Compression of an erofs: lz4, lz4hc (smaller, slower), none [default: lz4]
    #[arg(long, value_name = "NAME", help_heading = "Image")]
    pub(super) compression: Option<String>,
    /// Add a dm-verity hash tree in a second partition, and write root_hash_VARIANT.txt beside the
    /// image
    #[arg(long, help_heading = "Image")]
    pub(super) measured: bool,
    /// The label in that file's name [default: none]
    #[arg(long, value_name = "NAME", help_heading = "Image")]
    pub(super) variant: Option<String>,
    /// What each block is hashed with: hexadecimal digits, or `random` [default: follows from the
    /// content and the epoch]
    #[arg(long, value_name = "HEX|random", help_heading = "Image")]
    pub(super) salt: Option<String>,
    /// Put a superblock before the hash tree. Kata's runtime expects none
    #[arg(long, help_heading = "Image")]
    pub(super) verity_superblock: bool,
    /// Partition table: mbr, or gpt with discoverable partitions and without the NVDIMM header
    /// [default: mbr, and Kata's images have no other]
    #[arg(long, value_name = "NAME", help_heading = "Image")]
    pub(super) partition_table: Option<String>,
    /// Sign the root hash with this RSA key (PEM, not encrypted), and write root_hash_VARIANT.p7s
    /// beside root_hash_VARIANT.txt
    #[arg(long, value_name = "FILE", requires = "root_hash_certificate", help_heading = "Image")]
    pub(super) root_hash_key: Option<PathBuf>,
    /// The certificate of that key (PEM)
    #[arg(long, value_name = "FILE", requires = "root_hash_key", help_heading = "Image")]
    pub(super) root_hash_certificate: Option<PathBuf>,
    /// Give each file the label that the SELinux policy in the tree has for it
    #[arg(long, help_heading = "Image")]
    pub(super) selinux: bool,
}

/// `osbuilder initrd`.
#[derive(Debug, Args)]
pub(super) struct InitrdArguments {
    #[command(flatten)]
    pub(super) build: BuildArguments,
    /// Make the initrd of this directory instead of building a tree
    #[arg(long, value_name = "DIR", conflicts_with_all = ["distro", "package"])]
    pub(super) rootfs: Option<PathBuf>,
    /// Compression: gzip, zstd, lz4, xz, none [default: gzip, and Kata's kernels read no other]
    #[arg(long, value_name = "NAME")]
    pub(super) compression: Option<String>,
    /// Refuse what a kernel with this configuration (a `.config`) could not read
    #[arg(long, value_name = "FILE")]
    pub(super) kernel_config: Option<PathBuf>,
}

/// `osbuilder build`.
#[derive(Debug, Args)]
pub(super) struct RecipeArguments {
    /// The recipe
    pub(super) recipe: PathBuf,
    /// What to make of it
    #[arg(long, value_enum, default_value_t = Form::Image)]
    pub(super) form: Form,
    /// Lock file to follow [default: osbuilder.lock beside the output, written by each build]
    #[arg(long, value_name = "FILE")]
    pub(super) lock: Option<PathBuf>,
    /// Fail unless the lock exists and fits the recipe
    #[arg(long)]
    pub(super) locked: bool,
    /// Use the cache alone, no network
    #[arg(long)]
    pub(super) offline: bool,
    /// Where the result goes
    #[arg(long, short, value_name = "PATH")]
    pub(super) output: Option<PathBuf>,
    /// Write a bill of materials: FILE ends in .spdx.json (SPDX 2.3) or .cdx.json (CycloneDX 1.6)
    /// (repeatable)
    #[arg(long, value_name = "FILE", value_parser = Wanted::parse)]
    pub(super) sbom: Vec<Wanted>,
}

/// What a build can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// A directory
    Rootfs,
    /// A disk image
    Image,
    /// An initrd
    Initrd,
}

/// `osbuilder boot`.
#[derive(Debug, Args)]
pub(super) struct BootArguments {
    /// An image or initrd
    pub(super) file: PathBuf,
    /// A kernel to start instead of the distribution's own
    #[arg(long, value_name = "FILE")]
    pub(super) kernel: Option<PathBuf>,
    /// Folder with that kernel's modules (`/lib/modules/VERSION`), if it has any
    #[arg(long, value_name = "DIR", requires = "kernel")]
    pub(super) modules: Option<PathBuf>,
    /// How the image is attached
    #[arg(long, value_enum, default_value_t = Attach::Block)]
    pub(super) attach: Attach,
    /// Have the guest's kernel check a measured image with the first line of this file:
    /// root_hash_VARIANT.txt
    #[arg(long, value_name = "FILE")]
    pub(super) params_file: Option<PathBuf>,
    /// Memory of the virtual machine in MiB
    #[arg(long, value_name = "MIB", default_value_t = 2048)]
    pub(super) memory: u32,
    /// Give up after this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 180)]
    pub(super) timeout: u64,
    /// Do not try hardware virtualization
    #[arg(long)]
    pub(super) emulate: bool,
    /// Architecture of the guest [default: this machine's]
    #[arg(long, value_name = "ARCH")]
    pub(super) arch: Option<String>,
    /// Root of the archive that the kernel comes from (repeatable)
    #[arg(long, value_name = "URL")]
    pub(super) mirror: Vec<String>,
    /// Use the cache alone, no network
    #[arg(long)]
    pub(super) offline: bool,
}

/// How an image reaches the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Attach {
    /// A virtio block device
    Block,
    /// Persistent memory, with the NVDIMM header
    Nvdimm,
}

/// `osbuilder distros`.
#[derive(Debug, Args)]
pub(super) struct DistrosArguments {
    /// Names only, one a line
    #[arg(long)]
    pub(super) names: bool,
    /// Say what is wrong with a data file of a distribution, by line and column
    #[arg(long, value_name = "FILE", conflicts_with = "names")]
    pub(super) check: Option<PathBuf>,
    /// Print the data file of a distribution that is compiled in: a copy of it in the folder of data
    /// files, with a newer release added, takes its place
    #[arg(long, value_name = "DISTRO", conflicts_with_all = ["names", "check"])]
    pub(super) show: Option<String>,
}

/// `osbuilder inspect`.
#[derive(Debug, Args)]
pub(super) struct InspectArguments {
    /// An image, an initrd or a rootfs directory
    pub(super) file: PathBuf,
    /// A path inside it: a directory is listed with all that is below it, a file is written to
    /// standard output
    pub(super) path: Option<String>,
    /// List PATH, or everything, with type, mode, owner, size and SELinux label; with --json also
    /// with time, digest and attributes
    #[arg(long, alias = "files", conflicts_with = "cat")]
    pub(super) ls: bool,
    /// Write the file PATH to standard output, and nothing else
    #[arg(long, requires = "path")]
    pub(super) cat: bool,
    /// List the installed packages, each with architecture and version
    #[arg(long, conflicts_with_all = ["path", "ls", "cat"])]
    pub(super) packages: bool,
}

/// `osbuilder verify`.
#[derive(Debug, Args)]
pub(super) struct VerifyArguments {
    /// An image or an initrd
    pub(super) file: PathBuf,
    /// The root hash that its hash tree must lead to
    #[arg(long, value_name = "HEX", conflicts_with = "params_file")]
    pub(super) root_hash: Option<String>,
    /// The salt of that tree, unless its superblock says it
    #[arg(long, value_name = "HEX", requires = "root_hash")]
    pub(super) salt: Option<String>,
    /// A file whose first line has root hash, salt and sizes: root_hash_VARIANT.txt
    #[arg(long, value_name = "FILE")]
    pub(super) params_file: Option<PathBuf>,
    /// The certificate (PEM) whose key must have signed the root hash
    #[arg(long, value_name = "FILE")]
    pub(super) root_hash_certificate: Option<PathBuf>,
    /// That signature [default: root_hash_VARIANT.p7s beside the --params-file]
    #[arg(long, value_name = "FILE", requires = "root_hash_certificate")]
    pub(super) root_hash_signature: Option<PathBuf>,
    /// The configuration.toml of Kata's runtime: it, and config.d beside it, must fit the image
    #[arg(long, value_name = "FILE")]
    pub(super) runtime_config: Option<PathBuf>,
    /// Put the verified parameters into that configuration instead
    #[arg(long, requires = "runtime_config")]
    pub(super) rewrite: bool,
    /// Do not ask whether it could start as a guest
    #[arg(long)]
    pub(super) any_tree: bool,
}

/// `osbuilder diff`.
#[derive(Debug, Args)]
pub(super) struct DiffArguments {
    /// An image, an initrd, a rootfs directory or an osbuilder.lock
    pub(super) first: PathBuf,
    /// Another one
    pub(super) second: PathBuf,
}

/// `osbuilder cache`.
#[derive(Debug, Args)]
pub(super) struct CacheArguments {
    #[command(subcommand)]
    pub(super) action: CacheAction,
}

/// What to do with the cache.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(super) enum CacheAction {
    /// Say where it is and how large
    Show,
    /// Read everything and remove what is damaged
    Check,
    /// Remove what has not been used for some days
    Shrink {
        /// Keep what was used in the last DAYS days
        #[arg(long, value_name = "DAYS", default_value_t = 30)]
        days: u64,
    },
}

/// `osbuilder completions`.
#[derive(Debug, Args)]
pub(super) struct CompletionsArguments {
    /// The shell
    pub(super) shell: clap_complete::Shell,
}

/// `osbuilder man`.
#[derive(Debug, Args)]
pub(super) struct ManArguments {
    /// Folder for the pages; without it, the main page goes to standard output
    pub(super) folder: Option<PathBuf>,
}
