//! What is asked for: a recipe file, options and Kata's environment variables, as one value.
//!
//! Everything after this room sees a [`Recipe`] only: names are well formed, the distribution
//! exists, defaults are filled in. Each source is read into a layer of the same shape, which
//! remembers where each value was written; the layers are laid over each other (defaults, file,
//! environment, options) and the result is checked once. So every mistake, wherever it was made, is
//! found by the same rule and they are shown together. This room reads no file, no clock and no
//! environment: it gets their contents.

mod complete;
mod environment;
mod file;
mod kernel;
mod layer;
mod mistake;
mod options;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use environment::Destinations;
pub use file::schema;
pub use kernel::KernelConfiguration;
pub use mistake::{Mistake, Mistakes, Origin};
pub use options::Options;

use crate::distro::{Architecture, Catalogue, Distro, Release};
use crate::epoch::Epoch;
use crate::event::Event;
use crate::package::{Asked, PackageName};
use crate::tree::TreePath;

/// Everything that a recipe is made from.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The recipe file, if there is one.
    pub file: Option<RecipeFile<'a>>,
    /// The environment, as far as it is text.
    pub environment: &'a BTreeMap<String, String>,
    /// The command line.
    pub options: &'a Options,
    /// What else decides.
    pub surroundings: &'a Surroundings,
}

/// A recipe file that was read from disk.
#[derive(Debug, Clone, Copy)]
pub struct RecipeFile<'a> {
    /// Its path, for messages; relative paths in the file start from its directory.
    pub path: &'a Path,
    /// What it says.
    pub text: &'a str,
}

/// What the machine and the verb contribute to a recipe.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The distributions that there are.
    pub distros: Catalogue,
    /// The processor of this machine: the guest's, unless another one is named.
    pub host: Option<Architecture>,
    /// The agent's source folder beside us in Kata's tree, if there is one.
    pub agent_source: Option<PathBuf>,
    /// The verb makes no guest (it locks, or takes a ready tree), so that it needs no agent.
    pub without_agent: bool,
}

/// What came out of a [`Request`].
#[derive(Debug, Clone)]
pub struct Reading {
    /// The recipe.
    pub recipe: Recipe,
    /// Where Kata's variables want the outputs.
    pub destinations: Destinations,
    /// Notes and warnings: variables that have no effect, what one choice implies.
    pub remarks: Vec<Event>,
}

/// Reads a recipe from all its sources: the file over the defaults, the environment over the file,
/// the options over the environment.
///
/// # Errors
/// Every mistake that was found, each with the place where it was made.
pub fn read(request: Request<'_>) -> Result<Reading, Mistakes> {
    let mut mistakes = Mistakes::default();
    let environment = environment::read(request.environment, &mut mistakes);
    let mut layer = options::read(request.options, &mut mistakes).over(environment.layer);
    if let Some(file) = request.file {
        layer = layer.over(file::read(file, &mut mistakes));
    }
    let mut remarks = environment.remarks;
    let recipe = complete::complete(layer, request.surroundings, &mut mistakes, &mut remarks);
    match recipe {
        Some(recipe) if mistakes.is_empty() => {
            Ok(Reading { recipe, destinations: environment.destinations, remarks })
        }
        _ => Err(mistakes),
    }
}

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
    /// Who runs the packages' scripts.
    pub scripts: Scripts,
    /// Packages to install; their dependencies come along.
    pub packages: PackageSet,
    /// Where packages come from.
    pub sources: Sources,
    /// Whether scripts of packages run in a plain chroot, as root, in place of the sandbox. Loud,
    /// and recorded in the lock and the summary.
    pub plain_chroot: bool,
    /// Files of the host to put into the guest.
    pub extra_files: Vec<ExtraFile>,
    /// The agent.
    pub agent: Agent,
    /// What else makes a tree a Kata guest.
    pub guest: Guest,
    /// How the image is laid out.
    pub image: ImageOptions,
    /// Whether somebody asked for the NVDIMM header in so many words (`SKIP_DAX_HEADER=no`).
    pub dax_header_asked: bool,
    /// How an initrd is compressed.
    pub initrd_compression: InitrdCompression,
    /// The latest time stamp in the output. `None`: the newest date that the repositories sign,
    /// so that a lock alone determines every byte.
    pub epoch: Option<Epoch>,
}

/// Which packages are asked for.
#[derive(Debug, Clone, Default)]
pub struct PackageSet {
    /// The list that makes a guest: the distribution's default for the init, unless given.
    pub base: Vec<Asked>,
    /// What a user adds.
    pub extra: Vec<Asked>,
    /// What is never installed: not by the list either, nor because another package needs it.
    pub exclude: Vec<PackageName>,
    /// Whether recommended packages are installed too. Off by default.
    pub recommends: bool,
    /// Which part of the distribution is installed whether asked for or not.
    pub variant: Variant,
}

impl PackageSet {
    /// All that is asked for and not excluded, sorted, each once.
    pub fn asked(&self) -> Vec<&str> {
        let is_excluded = |asked: &&Asked| self.exclude.iter().any(|e| e.as_str() == asked.name());
        let base = self.base.iter().filter(|asked| !is_excluded(asked));
        let mut asked: Vec<_> = base.chain(&self.extra).map(Asked::as_str).collect();
        asked.sort_unstable();
        asked.dedup();
        asked
    }
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
    /// busybox's init and OpenRC start the agent as a service, in Alpine (`AGENT_INIT=no`).
    OpenRc,
    /// The agent itself (`AGENT_INIT=yes`).
    Agent,
    /// Whatever packages and added files bring: nothing is put in that starts the agent.
    None,
}

/// Who runs the packages' scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scripts {
    /// osbuilder's own handlers if they understand every script, else the guest's own programs in the
    /// sandbox, by an emulator where that is needed; where no emulator is, handlers all the same.
    Any,
    /// The guest's own programs, or nobody.
    Programs,
    /// osbuilder's own handlers: the same on every host, also where no sandbox can be had.
    BuiltIn,
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
    /// Keep the package database, and the rest of `/var/lib` and `/var/cache`, which Kata removes.
    /// Logs go in any case.
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
    /// Name of the distribution for the summary file, if not its own (`OS_NAME`).
    pub distro_name: Option<String>,
    /// Whether a tree that could not start as a guest is refused (`SKIP_ROOTFS_CHECK=no`).
    pub check_init: bool,
}

/// Which policy the agent starts with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Policy {
    /// Everything is allowed.
    AllowAll,
    /// A Rego file of the host (`AGENT_POLICY_FILE`).
    File(PathBuf),
}

/// How an image is laid out: the variables of Kata's `image_builder.sh`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageOptions {
    /// The file system (`FS_TYPE`).
    pub file_system: FileSystem,
    /// File-system block size in bytes (`BLOCK_SIZE`): 1024, 2048 or 4096.
    pub block_size: u32,
    /// MiB of free space to add (`ROOT_FREE_SPACE`).
    pub free_space_mib: u64,
    /// The file's size is rounded up to a multiple of this many MiB (`IMAGE_SIZE_ALIGNMENT_MB`);
    /// with the NVDIMM header to a multiple of 2 MiB too.
    pub alignment_mib: u64,
    /// Whether the NVDIMM header precedes the disk (`SKIP_DAX_HEADER=no`).
    pub dax_header: bool,
    /// Whether ext4 gets a journal. Kata's roots are read-only: off.
    pub journal: bool,
    /// How an erofs compresses contents; the others do not.
    pub compression: Compression,
    /// A hash tree in a second partition (`MEASURED_ROOTFS`), if there is to be one.
    pub verity: Option<Verity>,
    /// The partition table.
    pub table: PartitionTable,
    /// Whether each file gets the SELinux label that the policy in the tree has for it (`SELINUX`).
    pub selinux: bool,
}

impl ImageOptions {
    /// What Kata's builder does when it is asked for nothing else.
    pub const KATA: Self = Self {
        file_system: FileSystem::Ext4,
        block_size: 4096,
        free_space_mib: 0,
        alignment_mib: 128,
        dax_header: true,
        journal: false,
        compression: Compression::Lz4,
        verity: None,
        table: PartitionTable::Mbr,
        selinux: false,
    };
}

/// Partition tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionTable {
    /// That of a PC disk: what Kata's runtime and kernels are made for.
    Mbr,
    /// That of UEFI, whose types of partitions name the guest's processor. It cannot stand with the
    /// NVDIMM header.
    Gpt(Architecture),
}

/// How an image is measured.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verity {
    /// What each block is hashed with, at most 256 bytes. `None`: it follows from the content and
    /// the epoch.
    pub salt: Option<Vec<u8>>,
    /// Whether a superblock precedes the hash tree. Kata's runtime expects none.
    pub superblock: bool,
    /// The label in the name of the file with the root hash (`BUILD_VARIANT`), perhaps empty.
    pub variant: String,
    /// With what the root hash is signed, if it is to be.
    pub signature: Option<RootHashKey>,
}

/// With what a root hash is signed: files of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootHashKey {
    /// An RSA key as PEM, not encrypted.
    pub key: PathBuf,
    /// Its certificate as PEM.
    pub certificate: PathBuf,
}

/// File systems for images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    /// ext4.
    Ext4,
    /// erofs: read-only, compressed.
    Erofs,
    /// xfs.
    Xfs,
}

/// How an initrd is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum InitrdCompression {
    /// gzip: what Kata's kernels read.
    Gzip,
    /// Zstandard.
    Zstd,
    /// LZ4, in its legacy frame.
    Lz4,
    /// xz.
    Xz,
    /// Not at all: every kernel reads it.
    None,
}

impl InitrdCompression {
    /// As recipes and people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::Xz => "xz",
            Self::None => "none",
        }
    }
}

/// How an erofs compresses contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// LZ4, quickly.
    Lz4,
    /// LZ4, well.
    Lz4hc,
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// Reads a recipe on an x86 machine without an agent's source folder.
    pub(super) fn request(
        file: Option<&str>,
        variables: &[(&str, &str)],
        options: &Options,
    ) -> Result<Reading, String> {
        let host = Some(Architecture::X86_64);
        let path = Path::new("guests/web.toml");
        read(Request {
            file: file.map(|text| RecipeFile { path, text }),
            environment: &environment(variables),
            options,
            surroundings: &Surroundings { host, ..Surroundings::default() },
        })
        .map_err(|mistakes| mistakes.to_string())
    }

    fn probe() -> Options {
        Options { agent: Some("probe".to_owned()), ..Options::default() }
    }

    #[test]
    fn nothing_but_an_agent_is_debian_stable_with_kata_s_defaults() {
        let recipe = request(None, &[], &probe()).unwrap().recipe;
        assert_eq!(
            (recipe.distro.name.as_str(), recipe.release.version.as_str()),
            ("debian", "13")
        );
        assert_eq!((recipe.architecture, recipe.init), (Architecture::X86_64, Init::Systemd));
        assert_eq!(recipe.packages.variant, Variant::Required);
        let base: Vec<_> = recipe.packages.base.iter().map(Asked::as_str).collect();
        let expected =
            ["chrony", "cryptsetup-bin", "dbus", "e2fsprogs", "init", "iptables", "kmod"];
        assert_eq!(base, [&expected[..], &["libseccomp2", "systemd"]].concat());
        assert_eq!(recipe.image, ImageOptions::KATA);
        assert_eq!(recipe.guest.agent_name, "kata-agent");
        assert!(recipe.guest.seccomp && recipe.guest.check_init && !recipe.guest.prune);
        assert_eq!(recipe.epoch, None);
    }

    #[test]
    fn options_win_over_the_environment_and_that_over_the_file_over_the_default() {
        let file = "version = \"11\"\ninit = \"agent\"\nagent.probe = true\n\
                    extra-packages = [\"bash\"]\nimage.block-size = 1024";
        let variables = [("OS_VERSION", "12"), ("EXTRA_PKGS", "curl"), ("BLOCK_SIZE", "2048")];
        let options = Options {
            version: Some("sid".to_owned()),
            packages: vec!["vim".to_owned()],
            ..Options::default()
        };
        let codename = |file, variables: &[_], options: &Options| {
            let recipe = request(file, variables, options).unwrap().recipe;
            recipe.release.codename
        };
        assert_eq!(codename(Some(file), &[], &Options::default()), "bullseye");
        assert_eq!(codename(Some(file), &variables, &Options::default()), "bookworm");
        assert_eq!(codename(Some(file), &variables, &options), "sid");
        let recipe = request(Some(file), &variables, &options).unwrap().recipe;
        let extra: Vec<_> = recipe.packages.extra.iter().map(Asked::as_str).collect();
        assert_eq!(extra, ["bash", "curl", "vim"]);
        assert_eq!((recipe.init, recipe.image.block_size), (Init::Agent, 2048));
    }

    #[test]
    fn a_guest_without_an_agent_is_one_error_that_names_the_ways() {
        let message = request(None, &[], &Options::default()).unwrap_err();
        assert_eq!(message.lines().count(), 1);
        for way in ["no agent is given", "AGENT_SOURCE_BIN", "AGENT_TARBALL", "--agent probe"] {
            assert!(message.contains(way), "{message}");
        }
    }

    #[test]
    fn the_agent_s_ways_in_order_of_preference() {
        let agent = |variables: &[_], option: Option<&str>| {
            let options = Options { agent: option.map(ToOwned::to_owned), ..Options::default() };
            request(None, variables, &options).map(|reading| reading.recipe.agent)
        };
        let binary = [("AGENT_SOURCE_BIN", "/x/agent")];
        let tarball = [("AGENT_TARBALL", "/x/agent.tar.zst")];
        assert_eq!(agent(&binary, None), Ok(Agent::Binary("/x/agent".into())));
        assert_eq!(agent(&tarball, None), Ok(Agent::Tarball("/x/agent.tar.zst".into())));
        assert_eq!(agent(&binary, Some("probe")), Ok(Agent::Probe));
        assert_eq!(agent(&[], Some("a.tar.zst")), Ok(Agent::Tarball("a.tar.zst".into())));
        assert_eq!(agent(&[], Some("./a")), Ok(Agent::Binary("./a".into())));
        assert_eq!(agent(&[("ROOTFS_ONLY", "yes")], None), Ok(Agent::None));
        let both = agent(&[binary[0], tarball[0]], None).unwrap_err();
        assert!(both.starts_with("AGENT_TARBALL: AGENT_SOURCE_BIN is set as well"), "{both}");
    }

    #[test]
    fn a_source_folder_and_a_verb_without_a_guest_are_told_apart_from_no_agent() {
        let surroundings = Surroundings {
            host: Some(Architecture::X86_64),
            agent_source: Some("/kata/src/agent".into()),
            ..Surroundings::default()
        };
        let ask = |surroundings: &Surroundings| {
            let (environment, options) = (BTreeMap::new(), Options::default());
            read(Request { file: None, environment: &environment, options: &options, surroundings })
        };
        let message = ask(&surroundings).unwrap_err().to_string();
        assert!(message.contains("/kata/src/agent is not supported yet"), "{message}");
        let locking = Surroundings { without_agent: true, ..surroundings };
        assert_eq!(ask(&locking).unwrap().recipe.agent, Agent::None);
    }

    #[test]
    fn mistakes_of_all_sources_are_shown_together() {
        let file = "distribution = \"debain\"\ninit = \"sytemd\"\n\
                    [sources]\nmirrors = [\"ftp://x\", \"https://ok/debian/\"]\n";
        let options = Options {
            agent: Some("probe".to_owned()),
            packages: vec!["a b".into()],
            ..Options::default()
        };
        let message = request(Some(file), &[("BLOCK_SIZE", "512"), ("ARCH", "arm")], &options);
        let expected = [
            "guests/web.toml:1:16: the distribution \"debain\" is unknown (did you mean \"debian\"?); known are alma, alpine, azurelinux, centos, clearlinux, debian, euleros, fedora, openeuler, opensuse, rocky, ubuntu",
            "guests/web.toml:2:8: \"sytemd\" is not systemd or openrc or agent or none (did you mean \"systemd\"?)",
            "guests/web.toml:4:12: \"ftp://x\" is not an address of the form http://, https:// or file://",
            "ARCH: the architecture \"arm\" is not one of x86_64, aarch64, ppc64le, s390x",
            "BLOCK_SIZE: a block of 512 bytes is not 1024, 2048 or 4096",
            "--package: \"a b\" is not the name of a package (letters, digits and `+ - . _`)",
        ];
        assert_eq!(message.unwrap_err().lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn components_are_refused_where_an_archive_has_none_unless_a_variable_names_them() {
        let options = Options { components: vec!["universe".into()], ..probe() };
        let ask = |distribution: &str, options: &Options, variables: &[_]| {
            let file = format!("distribution = {distribution:?}\n");
            request(Some(&file), variables, options)
        };
        assert!(ask("ubuntu", &options, &[]).is_ok());
        let message = ask("fedora", &options, &[]).unwrap_err();
        assert_eq!(message, "--component: an archive of Fedora has no components");
        assert!(ask("fedora", &probe(), &[("REPO_COMPONENTS", "main")]).is_ok());
    }

    #[test]
    fn k4_what_only_a_measured_image_has_is_asked_for_with_measured() {
        let salt = Options { salt: Some("00".into()), ..probe() };
        let variant = Options { variant: Some("base".into()), ..probe() };
        let superblock = Options { verity_superblock: Some(true), ..probe() };
        let measured = "[image]\nmeasured = true\n";
        for (name, options) in
            [("--salt", salt), ("--variant", variant), ("--verity-superblock", superblock)]
        {
            let expected =
                format!("{name}: only a measured image has a hash tree that this is for");
            assert_eq!(request(None, &[], &options).unwrap_err(), expected);
            assert!(request(None, &[("MEASURED_ROOTFS", "yes")], &options).is_ok(), "{name}");
            assert!(request(Some(measured), &[], &options).is_ok(), "{name}");
        }
        let file = measured.replace("true", "false") + "salt = \"00\"\nverity-superblock = false\n";
        let message = request(Some(&file), &[], &probe()).unwrap_err();
        assert!(message.starts_with("guests/web.toml:3:8: only a measured image"), "{message}");
        // Kata gives this one to images of every sort.
        assert!(request(None, &[("BUILD_VARIANT", "base")], &probe()).is_ok());
    }

    #[test]
    fn a_release_that_was_never_made_for_the_processor_is_refused() {
        let options = Options {
            version: Some("11".to_owned()),
            architecture: Some("s390x".to_owned()),
            ..probe()
        };
        let message = request(None, &[], &options).unwrap_err();
        assert_eq!(message, "--arch: Debian bullseye has no s390x archive");
        assert!(request(None, &[], &Options { version: Some("12".to_owned()), ..options }).is_ok());
    }

    #[test]
    fn a_file_goes_below_a_destination_with_a_final_slash() {
        let asked = |text: &str| {
            let options = Options { extra_files: vec![text.to_owned()], ..probe() };
            request(None, &[], &options).map(|r| r.recipe.extra_files[0].destination.to_string())
        };
        assert_eq!(asked("a/motd:/etc/motd"), Ok("/etc/motd".to_owned()));
        assert_eq!(asked("a/motd:/etc/"), Ok("/etc/motd".to_owned()));
        assert!(asked("a/motd").unwrap_err().contains("is not of the form SRC:DEST"));
        assert!(asked("a:/etc/../../b").unwrap_err().contains("contains `..`"));
    }

    #[test]
    fn confidential_components_make_a_guest_confidential_and_say_so() {
        let tarball = ("COCO_GUEST_COMPONENTS_TARBALL", "/x/coco.tar.zst");
        let reading = request(None, &[tarball], &probe()).unwrap();
        assert!(reading.recipe.guest.confidential);
        let notes = format!("{:?}", reading.remarks);
        assert!(notes.contains("the guest is confidential, because of this tarball"), "{notes}");
        let wanted = [tarball, ("CONFIDENTIAL_GUEST", "yes")];
        assert!(request(None, &wanted, &probe()).unwrap().remarks.is_empty());
        assert!(!request(None, &[], &probe()).unwrap().recipe.guest.confidential);
    }
}
