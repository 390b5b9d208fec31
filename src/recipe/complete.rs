//! From a layer to a recipe: names are checked, the distribution is found, defaults filled in.
//!
//! Each step notes its mistakes and goes on, so that one run finds all of them.

use std::path::{Path, PathBuf};

use super::layer::{
    AgentAsked, AgentLayer, FileAsked, GuestLayer, ImageLayer, Layer, Maybe, PackageLayer,
    SourceLayer,
};
use super::mistake::{Given, Mistakes, Origin};
use super::{
    Agent, Compression, ExtraFile, FileSystem, Guest, ImageOptions, Init, InitrdCompression,
    PackageSet, PartitionTable, Policy, Recipe, RootHashKey, Scripts, Sources, Surroundings,
    Variant, Verity,
};
use crate::digest::parse_hex;
use crate::distro::{Architecture, Distro, Family, FirstProcess, Release};
use crate::epoch::Epoch;
use crate::event::Event;
use crate::meant::{did_you_mean, nearest};
use crate::package::{Asked, BadName, PackageName};
use crate::tree::TreePath;

/// Has every architecture of Kata's matrix, updates and a security archive.
const DEFAULT_DISTRO: &str = "debian";

const DEFAULT_AGENT_NAME: &str = "kata-agent";

const DEFAULT_REPOSITORY: &str = "github.com/kata-containers/kata-containers";

/// A dm-verity superblock has room for no more bytes.
const LONGEST_SALT: usize = 256;

/// More MiB than this (one TiB) is a slip of the finger.
const MOST_MIB: u64 = 1 << 20;

const WAYS: &str = "give a ready binary (--agent PATH, or AGENT_SOURCE_BIN), a tarball \
     (--agent FILE.tar.zst, or AGENT_TARBALL), or --agent probe (AGENT=probe for make): the bundled \
     stand-in, which boots and answers health checks but runs no containers";

/// Completes a layer, or returns `None` after noting why not.
pub(super) fn complete(
    layer: Layer,
    surroundings: &Surroundings,
    mistakes: &mut Mistakes,
    remarks: &mut Vec<Event>,
) -> Option<Recipe> {
    let mut completer = Completer { mistakes, remarks };
    let place = completer.place(&layer, surroundings);
    let init = completer.init(layer.init, place.as_ref().map(|(distro, ..)| *distro));
    let scripts = completer.scripts(layer.scripts);
    let epoch = layer.epoch.and_then(|given| completer.parsed::<Epoch>(&given));
    let agent = completer.agent(layer.agent.from.as_ref(), surroundings);
    let guest = completer.guest(layer.guest, layer.agent);
    let initrd_compression = completer.initrd_compression(layer.initrd_compression);
    let extra_files =
        layer.extra_files.into_iter().filter_map(|f| completer.extra_file(f)).collect();
    let architecture = place.as_ref().map(|(_, _, architecture)| *architecture);
    let image = completer.image(layer.image, architecture);
    let sources = completer.sources(layer.sources, architecture);
    let family = place.as_ref().map(|(distro, ..)| distro.family);
    let packages = completer.packages(layer.packages, family);
    let plain_chroot = layer.plain_chroot.is_some_and(|given| given.value);
    let ((distro, release, architecture), guest, mut packages) = (place?, guest?, packages?);
    if packages.base.is_empty() {
        packages.base = default_packages(distro, architecture, init, guest.seccomp);
    }
    Some(Recipe {
        distro: distro.clone(),
        release: release.clone(),
        architecture,
        init,
        scripts,
        packages,
        sources,
        plain_chroot,
        extra_files,
        agent: agent?,
        guest,
        image: image?,
        initrd_compression: initrd_compression?,
        epoch,
    })
}

struct Completer<'a> {
    mistakes: &'a mut Mistakes,
    remarks: &'a mut Vec<Event>,
}

type Place<'s> = (&'s Distro, &'s Release, Architecture);

impl Completer<'_> {
    /// Which distribution, release and architecture, if they exist together.
    fn place<'s>(&mut self, layer: &Layer, surroundings: &'s Surroundings) -> Option<Place<'s>> {
        let architecture = match &layer.architecture {
            Some(given) => self.parsed::<Architecture>(given),
            None => surroundings.host.or_else(|| {
                let message = "this machine's processor is no guest's; name one of x86_64, \
                               aarch64, ppc64le, s390x with --arch";
                self.mistakes.add(&Origin::Nowhere, message);
                None
            }),
        };
        let (name, origin) = worded(&layer.distro, DEFAULT_DISTRO);
        let distro = self.mistakes.check(origin, surroundings.distros.find(name))?;
        let (version, origin) = worded(&layer.version, &distro.default_release);
        let release = self.mistakes.check(origin, distro.release(version))?;
        let architecture = architecture?;
        if !release.architectures.contains(&architecture) {
            let origin = layer.architecture.as_ref().map_or(&Origin::Nowhere, |g| &g.origin);
            let (title, codename) = (&distro.title, &release.codename);
            self.mistakes.add(origin, format!("{title} {codename} has no {architecture} archive"));
            return None;
        }
        Some((distro, release, architecture))
    }

    /// What the recipe says, else what the distribution's guests usually start with.
    fn init(&mut self, given: Maybe<String>, distro: Option<&Distro>) -> Init {
        let choices = [
            ("systemd", Init::Systemd),
            ("openrc", Init::OpenRc),
            ("agent", Init::Agent),
            ("none", Init::None),
        ];
        let usual = match distro.map(|distro| distro.init) {
            Some(FirstProcess::Agent) => Init::Agent,
            Some(FirstProcess::Systemd) | None => Init::Systemd,
        };
        let Some(given) = given else { return usual };
        let init = self.one_of(&given, &choices).unwrap_or(usual);
        let Some(distro) = distro else { return init };
        let services = match distro.family {
            Family::Apk => Init::OpenRc,
            Family::Deb | Family::Rpm => Init::Systemd,
        };
        match (init, services) {
            // Kata's variable says only that it is not the agent.
            (Init::Systemd, Init::OpenRc) if matches!(given.origin, Origin::Variable(_)) => {
                services
            }
            (Init::Systemd, Init::OpenRc) => {
                let message =
                    format!("{} has no systemd; openrc or agent can be its init", distro.title);
                self.mistakes.add(&given.origin, message);
                init
            }
            (Init::OpenRc, Init::Systemd) => {
                let message =
                    format!("{} has no openrc; systemd or agent can be its init", distro.title);
                self.mistakes.add(&given.origin, message);
                init
            }
            _ => init,
        }
    }

    fn scripts(&mut self, given: Maybe<String>) -> Scripts {
        let choices = [
            ("any", Scripts::Any),
            ("programs", Scripts::Programs),
            ("built-in", Scripts::BuiltIn),
        ];
        given.and_then(|given| self.one_of(&given, &choices)).unwrap_or(Scripts::Any)
    }

    fn packages(&mut self, layer: PackageLayer, family: Option<Family>) -> Option<PackageSet> {
        let choices = [("required", Variant::Required), ("essential", Variant::Essential)];
        let variant = layer.variant.map(|given| self.one_of(&given, &choices));
        let extra = self.asked(&layer.extra, family);
        for given in &layer.exclude {
            if extra.iter().any(|asked| asked.name() == given.value) {
                let message = format!("{} is asked for and excluded", given.value);
                self.mistakes.add(&given.origin, message);
            }
        }
        Some(PackageSet {
            base: self.asked(&layer.base, family),
            extra,
            exclude: self.names(&layer.exclude),
            recommends: layer.recommends.is_some_and(|given| given.value),
            variant: variant.unwrap_or(Some(Variant::default()))?,
        })
    }

    /// What is asked for, sorted, each once. apk alone takes more than names; where the distribution
    /// is unknown, that is mistake enough.
    fn asked(&mut self, given: &[Given<String>], family: Option<Family>) -> Vec<Asked> {
        let mut all = Vec::new();
        for Given { value, origin } in given {
            let asked = value.parse().map_err(|error: BadName| error.to_string());
            let asked = asked.or_else(|message| match family {
                Some(Family::Deb | Family::Rpm) => Err(message),
                Some(Family::Apk) => Asked::in_world(value).map_err(|error| error.to_string()),
                None => Asked::in_world(value).map_err(|_| message),
            });
            match asked {
                Ok(asked) => all.push(asked),
                Err(message) => self.mistakes.add(origin, message),
            }
        }
        all.sort();
        all.dedup();
        all
    }

    /// The names, sorted, each once.
    fn names(&mut self, given: &[Given<String>]) -> Vec<PackageName> {
        let mut names: Vec<_> = given.iter().filter_map(|given| self.parsed(given)).collect();
        names.sort();
        names.dedup();
        names
    }

    fn sources(&mut self, layer: SourceLayer, architecture: Option<Architecture>) -> Sources {
        let x86 = architecture == Some(Architecture::X86_64) && !layer.mirrors_x86_64.is_empty();
        let mirrors = if x86 { layer.mirrors_x86_64 } else { layer.mirrors };
        Sources {
            mirrors: self.all(mirrors, check_url),
            repositories: self.all(layer.repositories, check_repository),
            keys: layer.keys.into_iter().map(|given| given.value).collect(),
            components: self.all(layer.components, check_archive_path),
            extra_suites: self.all(layer.extra_suites, check_archive_path),
            release_only: layer.release_only.is_some_and(|given| given.value),
            insecure: layer.insecure.is_some_and(|given| given.value),
        }
    }

    fn agent(&mut self, from: Option<&Given<AgentAsked>>, around: &Surroundings) -> Option<Agent> {
        let not_built = |folder: &Path| {
            let folder = folder.display();
            format!(
                "building the agent from its source folder {folder} is not supported yet; {WAYS}"
            )
        };
        let (origin, message) = match (from.map(|given| &given.value), &around.agent_source) {
            (Some(AgentAsked::Binary(path)), _) => return Some(Agent::Binary(path.clone())),
            (Some(AgentAsked::Tarball(path)), _) => return Some(Agent::Tarball(path.clone())),
            (Some(AgentAsked::Probe), _) => return Some(Agent::Probe),
            (Some(AgentAsked::None), _) => return Some(Agent::None),
            (None, _) if around.without_agent => return Some(Agent::None),
            (Some(AgentAsked::Source(folder)), _) => (from.map(|g| &g.origin), not_built(folder)),
            (None, Some(folder)) => (None, not_built(folder)),
            (None, None) => (None, format!("no agent is given; {WAYS}")),
        };
        self.mistakes.add(origin.unwrap_or(&Origin::Nowhere), message);
        None
    }

    fn guest(&mut self, layer: GuestLayer, agent: AgentLayer) -> Option<Guest> {
        let name = agent.name.unwrap_or_else(|| nowhere(DEFAULT_AGENT_NAME.to_owned()));
        let clean = TreePath::parse(&name.value).is_ok_and(|path| path.names().count() == 1)
            && !name.value.contains('/');
        if !clean {
            self.mistakes.add(&name.origin, format!("{:?} is not a file name", name.value));
            return None;
        }
        Some(Guest {
            agent_name: name.value,
            seccomp: agent.seccomp.is_none_or(|given| given.value),
            policy: self.policy(agent.policy, agent.policy_file)?,
            confidential: self
                .confidential(layer.confidential, layer.confidential_tarball.as_ref()),
            prune: layer.prune.is_some_and(|given| given.value),
            keep_database: layer.keep_database.is_some_and(|given| given.value),
            kernel_modules: layer.kernel_modules.map(|given| given.value),
            hooks_tarball: layer.hooks_tarball.map(|given| given.value),
            pause_tarball: layer.pause_tarball.map(|given| given.value),
            confidential_tarball: layer.confidential_tarball.map(|given| given.value),
            osbuilder_version: layer.osbuilder_version.map(|given| given.value),
            agent_version: agent.version.map(|given| given.value),
            kata_repository: layer
                .kata_repository
                .map_or_else(|| DEFAULT_REPOSITORY.to_owned(), |given| given.value),
            distro_name: layer.distro_name.map(|given| given.value),
            check_init: layer.check_init.is_none_or(|given| given.value),
        })
    }

    fn policy(&mut self, wanted: Maybe<bool>, file: Maybe<PathBuf>) -> Option<Option<Policy>> {
        match (wanted.is_some_and(|given| given.value), file) {
            (false, Some(file)) => {
                let text = format!("{}no policy is wanted, so this file is not used", file.origin);
                self.remarks.push(Event::warning(text));
                Some(None)
            }
            (false, None) => Some(None),
            (true, None) => Some(Some(Policy::AllowAll)),
            (true, Some(file)) if file.value.file_name().is_none() => {
                let message = format!("{} is not a file", file.value.display());
                self.mistakes.add(&file.origin, message);
                None
            }
            (true, Some(file)) => Some(Some(Policy::File(file.value))),
        }
    }

    fn confidential(&mut self, wanted: Maybe<bool>, tarball: Option<&Given<PathBuf>>) -> bool {
        let wanted = wanted.is_some_and(|given| given.value);
        if let Some(tarball) = tarball
            && !wanted
        {
            let text =
                format!("{}the guest is confidential, because of this tarball", tarball.origin);
            self.remarks.push(Event::note(text));
        }
        wanted || tarball.is_some()
    }

    fn image(
        &mut self,
        layer: ImageLayer,
        architecture: Option<Architecture>,
    ) -> Option<ImageOptions> {
        let file_system = match layer.file_system {
            Some(given) => self.file_system(&given),
            None => Some(FileSystem::Ext4),
        };
        let block_size = layer.block_size.unwrap_or_else(|| nowhere(4096));
        let is_erofs = file_system == Some(FileSystem::Erofs);
        // The memory of a guest grows in steps of 128 MiB. Kata's builder never rounds erofs up; what
        // persistent memory needs, the image sees to.
        let usual = if is_erofs { 1 } else { 128 };
        let alignment = layer.alignment_mib.unwrap_or_else(|| nowhere(usual));
        let compression = self.compression(layer.compression, is_erofs);
        let free_space = layer.free_space_mib.unwrap_or_else(|| nowhere(0));
        match file_system {
            Some(FileSystem::Erofs) => {
                self.check_blocks("erofs", &block_size);
                self.check_erofs(&free_space, layer.journal.as_ref());
            }
            Some(FileSystem::Xfs) => self.check_blocks("xfs", &block_size),
            Some(FileSystem::Ext4) | None => {}
        }
        if !matches!(block_size.value, 1024 | 2048 | 4096) {
            let message =
                format!("a block of {} bytes is not 1024, 2048 or 4096", block_size.value);
            self.mistakes.add(&block_size.origin, message);
        }
        if !(1..=MOST_MIB).contains(&alignment.value) {
            let message = format!("{} MiB is not from 1 to {MOST_MIB} MiB", alignment.value);
            self.mistakes.add(&alignment.origin, message);
        }
        if free_space.value > MOST_MIB {
            let message = format!("{} MiB is more than {MOST_MIB} MiB", free_space.value);
            self.mistakes.add(&free_space.origin, message);
        }
        let table = self.table(layer.partition_table, architecture, layer.dax_header.as_ref());
        let usual = table.is_none_or(|table| table == PartitionTable::Mbr);
        let signature = self.root_hash_key(
            layer.measured.as_ref(),
            layer.root_hash_key,
            layer.root_hash_certificate,
        )?;
        let verity =
            self.verity(layer.measured, layer.variant, layer.salt, layer.verity_superblock);
        let verity = verity.map(|verity| verity.map(|verity| Verity { signature, ..verity }));
        Some(ImageOptions {
            file_system: file_system?,
            block_size: u32::try_from(block_size.value).ok()?,
            free_space_mib: free_space.value,
            alignment_mib: alignment.value,
            dax_header: layer.dax_header.map_or(usual, |given| given.value),
            journal: layer.journal.is_some_and(|given| given.value),
            compression: compression?,
            verity: verity?,
            table: table?,
            selinux: layer.selinux.is_some_and(|given| given.value),
        })
    }

    /// Only one of the two disks that the NVDIMM header makes of an image could have its GPT's second
    /// copy in the last sector.
    fn table(
        &mut self,
        given: Maybe<String>,
        architecture: Option<Architecture>,
        dax_header: Option<&Given<bool>>,
    ) -> Option<PartitionTable> {
        let Some(given) = given else { return Some(PartitionTable::Mbr) };
        if !self.one_of(&given, &[("mbr", false), ("gpt", true)])? {
            return Some(PartitionTable::Mbr);
        }
        if let Some(header) = dax_header.filter(|header| header.value) {
            let message = "the NVDIMM header cannot stand with a GPT: two disks would each need the \
                           last sector for their table's second copy";
            self.mistakes.add(&header.origin, message);
        }
        let text = format!(
            "{}Kata's images have an MBR, and no NVDIMM header stands with a GPT: the runtime must \
             attach this one as a block device, to a kernel with CONFIG_EFI_PARTITION",
            given.origin
        );
        self.remarks.push(Event::warning(text));
        architecture.map(PartitionTable::Gpt)
    }

    /// A label alone asks for nothing: Kata gives one to every image.
    fn verity(
        &mut self,
        measured: Maybe<bool>,
        variant: Maybe<String>,
        salt: Maybe<String>,
        superblock: Maybe<bool>,
    ) -> Option<Option<Verity>> {
        let variant = variant.unwrap_or_else(|| nowhere(String::new()));
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !variant.value.bytes().all(is_plain) {
            let message =
                format!("{:?} is not made of letters, digits, `.`, `_`, `-`", variant.value);
            self.mistakes.add(&variant.origin, message);
        }
        let salt = match salt {
            Some(given) => Some(self.mistakes.check(&given.origin, parse_salt(&given.value))?),
            None => None,
        };
        let verity = Verity {
            salt,
            superblock: superblock.is_some_and(|given| given.value),
            variant: variant.value,
            signature: None,
        };
        Some(measured.is_some_and(|given| given.value).then_some(verity))
    }

    /// Key and certificate come together, and there must be a root hash to sign.
    fn root_hash_key(
        &mut self,
        measured: Option<&Given<bool>>,
        key: Maybe<PathBuf>,
        certificate: Maybe<PathBuf>,
    ) -> Option<Option<RootHashKey>> {
        let (key, certificate) = match (key, certificate) {
            (None, None) => return Some(None),
            (Some(key), Some(certificate)) => (key, certificate),
            (Some(one), None) | (None, Some(one)) => {
                let message = "a root hash is signed with a key and its certificate: give both";
                self.mistakes.add(&one.origin, message);
                return None;
            }
        };
        if !measured.is_some_and(|given| given.value) {
            let message = "only a measured image has a root hash to sign";
            self.mistakes.add(&key.origin, message);
            return None;
        }
        Some(Some(RootHashKey { key: key.value, certificate: certificate.value }))
    }

    fn file_system(&mut self, given: &Given<String>) -> Option<FileSystem> {
        let choices =
            [("ext4", FileSystem::Ext4), ("erofs", FileSystem::Erofs), ("xfs", FileSystem::Xfs)];
        self.one_of(given, &choices)
    }

    fn compression(&mut self, given: Maybe<String>, is_erofs: bool) -> Option<Compression> {
        let choices =
            [("lz4", Compression::Lz4), ("lz4hc", Compression::Lz4hc), ("none", Compression::None)];
        let Some(given) = given else { return Some(Compression::Lz4) };
        if !is_erofs {
            self.mistakes.add(&given.origin, "only an erofs is compressed");
        }
        self.one_of(&given, &choices)
    }

    /// Whatever is not Kata's own choice is taken with a word: its kernels are built for nothing else.
    fn initrd_compression(&mut self, given: Maybe<String>) -> Option<InitrdCompression> {
        let Some(given) = given else { return Some(InitrdCompression::Gzip) };
        let choices = [
            ("gzip", InitrdCompression::Gzip),
            ("zstd", InitrdCompression::Zstd),
            ("lz4", InitrdCompression::Lz4),
            ("xz", InitrdCompression::Xz),
            ("none", InitrdCompression::None),
        ];
        let compression = self.one_of(&given, &choices)?;
        if !matches!(compression, InitrdCompression::Gzip | InitrdCompression::None) {
            let text = format!(
                "{}Kata's kernels read initrds packed with gzip only, and not {}",
                given.origin, given.value
            );
            self.remarks.push(Event::warning(text));
        }
        Some(compression)
    }

    /// erofs and xfs are made with one size of blocks.
    fn check_blocks(&mut self, file_system: &str, block_size: &Given<u64>) {
        if block_size.value != 4096 {
            let message = format!("a block of {} bytes: {file_system} has 4096", block_size.value);
            self.mistakes.add(&block_size.origin, message);
        }
    }

    /// What an erofs cannot have: a journal. Free space is passed over, as Kata's builder does, but
    /// not without a word.
    fn check_erofs(&mut self, free_space: &Given<u64>, journal: Option<&Given<bool>>) {
        if let Some(given) = journal.filter(|given| given.value) {
            self.mistakes.add(&given.origin, "an erofs has no journal: it is never written");
        }
        if free_space.value > 0 {
            let text =
                format!("{}an erofs has no free space: it is never written", free_space.origin);
            self.remarks.push(Event::warning(text));
        }
    }

    fn extra_file(&mut self, given: Given<FileAsked>) -> Option<ExtraFile> {
        let path = TreePath::parse(&given.value.destination);
        let mut destination = self.mistakes.check(&given.origin, path)?;
        if given.value.destination.ends_with('/')
            && let Some(name) = given.value.source.file_name()
        {
            let below = destination.join(name.as_encoded_bytes());
            destination = self.mistakes.check(&given.origin, below)?;
        }
        Some(ExtraFile { source: given.value.source, destination })
    }

    fn parsed<T: std::str::FromStr>(&mut self, given: &Given<String>) -> Option<T>
    where
        T::Err: std::fmt::Display,
    {
        self.mistakes.check(&given.origin, given.value.parse())
    }

    fn one_of<T: Copy>(&mut self, given: &Given<String>, choices: &[(&str, T)]) -> Option<T> {
        let found = choices.iter().find(|(name, _)| *name == given.value);
        found.map(|(_, value)| *value).or_else(|| {
            let names = || choices.iter().map(|(name, _)| *name);
            let meant = did_you_mean(nearest(&given.value, names()));
            let names: Vec<_> = names().collect();
            let message = format!("{:?} is not {}{meant}", given.value, names.join(" or "));
            self.mistakes.add(&given.origin, message);
            None
        })
    }

    fn all(
        &mut self,
        given: Vec<Given<String>>,
        check: fn(&str) -> Result<(), String>,
    ) -> Vec<String> {
        let mut good = Vec::new();
        for given in given {
            if self.mistakes.check(&given.origin, check(&given.value)).is_some() {
                good.push(given.value.trim_end_matches('/').to_owned());
            }
        }
        good
    }
}

fn default_packages(
    distro: &Distro,
    architecture: Architecture,
    init: Init,
    seccomp: bool,
) -> Vec<Asked> {
    let names = distro.packages.names(architecture, init == Init::Systemd, seccomp);
    names.iter().map(|name| name.parse().expect("a test reads every data file")).collect()
}

fn nowhere<T>(value: T) -> Given<T> {
    Given::new(value, Origin::Nowhere)
}

fn worded<'a>(given: &'a Maybe<String>, default: &'a str) -> (&'a str, &'a Origin) {
    given.as_ref().map_or((default, &Origin::Nowhere), |given| (&given.value, &given.origin))
}

fn parse_salt(text: &str) -> Result<Vec<u8>, String> {
    let mut salt = vec![0; text.len() / 2];
    let parsed = parse_hex(text, &mut salt).filter(|()| salt.len() <= LONGEST_SALT);
    let rule = "is not at most 256 bytes as hexadecimal digits";
    parsed.map(|()| salt).ok_or_else(|| format!("{text:?} {rule}"))
}

fn check_url(text: &str) -> Result<(), String> {
    let rest = ["http://", "https://", "file://"].iter().find_map(|s| text.strip_prefix(s));
    let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
    match rest {
        Some(rest) if !rest.trim_end_matches('/').is_empty() && printable => Ok(()),
        _ => Err(format!("{text:?} is not an address of the form http://, https:// or file://")),
    }
}

/// A flat repository is an address; any other one an address, a suite and components.
fn check_repository(text: &str) -> Result<(), String> {
    let mut words = text.split(' ').peekable();
    // The tag of a repository of Alpine's kind.
    if let Some(tag) = words.next_if(|word| word.starts_with('@')) {
        check_archive_path(tag.trim_start_matches('@'))?;
    }
    // Whose signature counts, as in the lists of apt.
    words.next_if(|word| word.starts_with("[signed-by=/") && word.ends_with(']'));
    check_url(words.next().unwrap_or_default())?;
    words.try_for_each(check_archive_path)
}

/// Names of suites and components become parts of addresses.
fn check_archive_path(text: &str) -> Result<(), String> {
    let letters = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._/+-~".contains(&b));
    let clean = text.split('/').all(|name| !matches!(name, "" | "." | ".."));
    if letters && clean {
        Ok(())
    } else {
        Err(format!("{text:?} is not the name of a suite or component"))
    }
}
