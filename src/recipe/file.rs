//! A recipe file: TOML (<https://toml.io/en/v1.0.0>) to a layer, and the JSON schema of it.
//!
//! The types below are both: what `serde` reads and what `schemars` describes. A document is first
//! compared with that schema: unknown keys and values of a wrong type are noted, with line and
//! column, and taken out; what is left cannot fail to be read. Whether a name or number makes sense
//! is checked later, for all sources alike. Relative paths start from the file's directory.

use std::ops::Range;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Schema;
use toml::Spanned;

use super::RecipeFile;
use super::layer::{
    AgentAsked, AgentLayer, FileAsked, GuestLayer, ImageLayer, Layer, Maybe, PackageLayer,
    SourceLayer,
};
use super::mistake::{Given, Mistakes, Origin};
use crate::document;

type Text = Option<Spanned<String>>;
type Texts = Vec<Spanned<String>>;
type Switch = Option<Spanned<bool>>;
type Number = Option<Spanned<u64>>;

/// A guest for Kata Containers, as osbuilder builds it. Everything may be left out.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(title = "osbuilder recipe")]
struct Document {
    /// The distribution: `debian` (the default), `ubuntu`; see `osbuilder distros`.
    #[schemars(with = "String")]
    distribution: Text,
    /// Its release, by code name, number or alias. Default: the newest stable one.
    #[schemars(with = "String")]
    version: Text,
    /// The guest's processor: `x86_64`, `aarch64`, `ppc64le`, `s390x`. Default: this machine's.
    #[schemars(with = "String")]
    architecture: Text,
    /// The first process: `systemd` (the default), `openrc` in Alpine, `agent` (the default there), or
    /// `none`: whatever packages and added files bring.
    #[schemars(with = "String")]
    init: Text,
    /// Who runs the packages' scripts: `programs` (the guest's own ones, which another processor's
    /// need an emulator for), `built-in` (osbuilder's own handlers), or `any` (the default: handlers
    /// if they understand every script, else programs).
    #[schemars(with = "String")]
    scripts: Text,
    /// The latest time stamp in the output, in seconds since 1970. Default: the newest date that
    /// the repositories sign.
    #[schemars(with = "u64")]
    epoch: Number,
    /// In place of the distribution's list for guests. Dependencies come along. For Alpine any entries
    /// of apk's world file: `chrony@edge`, `musl~1.2`, `cmd:bash`, `!openrc`.
    #[schemars(with = "Vec<String>")]
    packages: Texts,
    /// Packages beside that list.
    #[schemars(with = "Vec<String>")]
    extra_packages: Texts,
    /// Packages that are never installed: what needs one of them cannot be installed either.
    #[schemars(with = "Vec<String>")]
    exclude: Texts,
    /// Whether recommended packages are installed too. Default: no.
    #[schemars(with = "bool")]
    recommends: Switch,
    /// What is installed whether asked for or not: `required` (the default) or `essential`.
    #[schemars(with = "String")]
    variant: Text,
    /// Where packages come from.
    sources: SourcesTable,
    /// Run scripts of packages in a plain chroot, as root, on hosts that forbid namespaces. They see
    /// the processes and the network of this machine. Recorded in lock and summary. Default: no.
    #[schemars(with = "bool")]
    plain_chroot: Switch,
    /// The agent.
    agent: AgentTable,
    /// What else makes a tree a guest.
    guest: GuestTable,
    /// How the image is laid out.
    image: ImageTable,
    /// How an initrd is packed.
    initrd: InitrdTable,
    /// Files of this machine to put into the guest.
    files: Vec<FileTable>,
}

/// Where packages come from.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(inline)]
struct SourcesTable {
    /// Roots of the distribution, tried in order in place of the built-in mirrors: `http://`,
    /// `https://` or `file://`.
    #[schemars(with = "Vec<String>")]
    mirrors: Texts,
    /// Further repositories: the address of a flat one, or address, suite and components separated
    /// by blanks. For Alpine an address, perhaps after a tag: `@edge https://…/edge/main`.
    #[schemars(with = "Vec<String>")]
    repositories: Texts,
    /// Files with keys that are trusted for mirrors and further repositories.
    #[schemars(with = "Vec<String>")]
    keys: Texts,
    /// Components of the archive. Default: the distribution's.
    #[schemars(with = "Vec<String>")]
    components: Texts,
    /// Suites beside the release's own: `trixie-backports`.
    #[schemars(with = "Vec<String>")]
    extra_suites: Texts,
    /// The release as it was published, without updates and security fixes. Default: no.
    #[schemars(with = "bool")]
    release_only: Switch,
    /// Accept repositories whose signature is missing or wrong. Recorded in the lock. Default: no.
    #[schemars(with = "bool")]
    insecure: Switch,
}

/// The agent: one of `binary`, `tarball`, `source`, `probe`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(inline)]
struct AgentTable {
    /// A ready binary. Its units are supplied.
    #[schemars(with = "String")]
    binary: Text,
    /// A zstd tarball that is unpacked over the tree.
    #[schemars(with = "String")]
    tarball: Text,
    /// The agent's source folder.
    #[schemars(with = "String")]
    source: Text,
    /// The bundled stand-in, which boots and answers health checks but runs no containers.
    #[schemars(with = "bool")]
    probe: Switch,
    /// Its file name below `/usr/bin`. Default: `kata-agent`.
    #[schemars(with = "String")]
    name: Text,
    /// Its version, for the summary file.
    #[schemars(with = "String")]
    version: Text,
    /// Whether it filters system calls, and needs libseccomp. Default: yes.
    #[schemars(with = "bool")]
    seccomp: Switch,
}

/// What else makes a tree a guest.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(inline)]
struct GuestTable {
    /// `none` (the default), `allow-all`, or the path of a Rego file.
    #[schemars(with = "String")]
    policy: Text,
    /// `/run` is sized for confidential guests. Default: only with `confidential-tarball`.
    #[schemars(with = "bool")]
    confidential: Switch,
    /// Remove units that a guest does not need. Default: no.
    #[schemars(with = "bool")]
    prune: Switch,
    /// Keep the package database, and the rest of `/var/lib` and `/var/cache`. Default: no.
    #[schemars(with = "bool")]
    keep_database: Switch,
    /// Refuse a tree that has no init. Default: yes.
    #[schemars(with = "bool")]
    check_init: Switch,
    /// A folder that is copied into `/lib/modules`, named after a kernel release.
    #[schemars(with = "String")]
    kernel_modules: Text,
    /// A zstd tarball with guest hooks.
    #[schemars(with = "String")]
    hooks_tarball: Text,
    /// A zstd tarball with the pause image.
    #[schemars(with = "String")]
    pause_tarball: Text,
    /// A zstd tarball with components for confidential guests.
    #[schemars(with = "String")]
    confidential_tarball: Text,
    /// Version of osbuilder for the summary file.
    #[schemars(with = "String")]
    osbuilder_version: Text,
    /// Repository of the agent for the summary file.
    #[schemars(with = "String")]
    kata_repository: Text,
    /// Name of the distribution for the summary file, if not its own.
    #[schemars(with = "String")]
    distribution_name: Text,
}

/// How an initrd is packed.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(inline)]
struct InitrdTable {
    /// `gzip` (the default, and what Kata's kernels read), `zstd`, `lz4`, `xz` or `none`.
    #[schemars(with = "String")]
    compression: Text,
}

/// How the image is laid out.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(inline)]
struct ImageTable {
    /// The file system: `ext4` (the default), `erofs` or `xfs`.
    #[schemars(with = "String")]
    file_system: Text,
    /// Bytes of a block: 1024, 2048 or 4096 (the default).
    #[schemars(with = "u64")]
    block_size: Number,
    /// MiB of free space to add. Default: 0.
    #[schemars(with = "u64")]
    free_space_mib: Number,
    /// The image's size is rounded up to a multiple of so many MiB. Default: 128, with erofs 1. With
    /// the NVDIMM header always a multiple of two MiB.
    #[schemars(with = "u64")]
    alignment_mib: Number,
    /// Whether the NVDIMM header precedes the disk. Default: yes, with a GPT no.
    #[schemars(with = "bool")]
    dax_header: Switch,
    /// Whether an ext4 gets a journal. Default: no.
    #[schemars(with = "bool")]
    journal: Switch,
    /// How an erofs compresses contents: `lz4` (the default), `lz4hc` (smaller, slower) or `none`.
    #[schemars(with = "String")]
    compression: Text,
    /// Whether a dm-verity hash tree follows in a second partition. Default: no.
    #[schemars(with = "bool")]
    measured: Switch,
    /// The label in the name of the file with the root hash, `root_hash_VARIANT.txt`. Default: none.
    #[schemars(with = "String")]
    variant: Text,
    /// What each block is hashed with, in hexadecimal digits. Default: follows from the content and
    /// the epoch.
    #[schemars(with = "String")]
    salt: Text,
    /// Whether a superblock precedes the hash tree; Kata's runtime expects none. Default: no.
    #[schemars(with = "bool")]
    verity_superblock: Switch,
    /// The partition table: `mbr` (the default), or `gpt` with discoverable partitions.
    #[schemars(with = "String")]
    partition_table: Text,
    /// The key that signs the root hash: a file with an RSA key as PEM, not encrypted. Default: the
    /// root hash is not signed.
    #[schemars(with = "String")]
    root_hash_key: Text,
    /// The certificate of that key: a file as PEM.
    #[schemars(with = "String")]
    root_hash_certificate: Text,
    /// Whether each file gets the label that the SELinux policy in the tree has for it. Default: no.
    #[schemars(with = "bool")]
    selinux: Switch,
}

/// A file or directory of this machine and its place in the guest.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(inline)]
struct FileTable {
    /// Where it is now.
    #[schemars(with = "String")]
    source: Text,
    /// Where it goes; with a final slash, into that directory under its own name.
    #[schemars(with = "String")]
    destination: Text,
}

/// The JSON schema (draft 2020-12) of recipe files.
pub fn schema() -> Schema {
    schemars::schema_for!(Document).to_value()
}

/// Reads a recipe file.
pub(super) fn read(file: RecipeFile<'_>, mistakes: &mut Mistakes) -> Layer {
    let mut reader = Reader { file, mistakes };
    let (table, slips) = document::read(file.text, &schema());
    slips.iter().for_each(|slip| reader.note(&slip.span, &slip.message));
    match Document::deserialize(toml::de::Deserializer::from(table)) {
        Ok(document) => reader.layer(document),
        Err(error) => {
            // Beyond the schema there are only numbers too large for 64 bits.
            reader.note(&error.span().unwrap_or_default(), error.message());
            Layer::default()
        }
    }
}

struct Reader<'a> {
    file: RecipeFile<'a>,
    mistakes: &'a mut Mistakes,
}

impl Reader<'_> {
    fn layer(&mut self, document: Document) -> Layer {
        Layer {
            agent: self.agent(document.agent, document.guest.policy.clone()),
            distro: self.maybe(document.distribution),
            version: self.maybe(document.version),
            architecture: self.maybe(document.architecture),
            init: self.maybe(document.init),
            scripts: self.maybe(document.scripts),
            epoch: self.maybe(document.epoch).map(|g| Given::new(g.value.to_string(), g.origin)),
            packages: PackageLayer {
                base: self.list(document.packages),
                extra: self.list(document.extra_packages),
                exclude: self.list(document.exclude),
                recommends: self.maybe(document.recommends),
                variant: self.maybe(document.variant),
            },
            sources: self.sources(document.sources),
            plain_chroot: self.maybe(document.plain_chroot),
            guest: self.guest(document.guest),
            image: self.image(document.image),
            initrd_compression: self.maybe(document.initrd.compression),
            extra_files: document.files.into_iter().filter_map(|f| self.extra_file(f)).collect(),
        }
    }

    fn sources(&self, table: SourcesTable) -> SourceLayer {
        let keys = table.keys.into_iter().filter_map(|key| self.path(Some(key)));
        SourceLayer {
            mirrors: self.list(table.mirrors),
            mirrors_x86_64: Vec::new(),
            repositories: self.list(table.repositories),
            keys: keys.collect(),
            components: self.list(table.components),
            extra_suites: self.list(table.extra_suites),
            release_only: self.maybe(table.release_only),
            insecure: self.maybe(table.insecure),
        }
    }

    fn agent(&mut self, table: AgentTable, policy: Text) -> AgentLayer {
        let probe = self.maybe(table.probe).filter(|given| given.value);
        let asked = [
            self.path(table.binary).map(|g| Given::new(AgentAsked::Binary(g.value), g.origin)),
            self.path(table.tarball).map(|g| Given::new(AgentAsked::Tarball(g.value), g.origin)),
            self.path(table.source).map(|g| Given::new(AgentAsked::Source(g.value), g.origin)),
            probe.map(|g| Given::new(AgentAsked::Probe, g.origin)),
        ];
        let mut asked = asked.into_iter().flatten();
        let from = asked.next();
        for further in asked {
            self.mistakes.add(&further.origin, "another agent is given above or below");
        }
        let policy = policy.filter(|policy| !policy.get_ref().is_empty());
        let wanted = policy.clone().map(|policy| {
            let wanted = policy.get_ref() != "none";
            Given::new(wanted, self.origin(&policy.span()))
        });
        let file = policy.filter(|p| !matches!(p.get_ref().as_str(), "none" | "allow-all"));
        AgentLayer {
            from,
            name: self.maybe(table.name),
            version: self.maybe(table.version),
            seccomp: self.maybe(table.seccomp),
            policy: wanted,
            policy_file: self.path(file),
        }
    }

    fn guest(&self, table: GuestTable) -> GuestLayer {
        GuestLayer {
            confidential: self.maybe(table.confidential),
            prune: self.maybe(table.prune),
            keep_database: self.maybe(table.keep_database),
            check_init: self.maybe(table.check_init),
            kernel_modules: self.path(table.kernel_modules),
            hooks_tarball: self.path(table.hooks_tarball),
            pause_tarball: self.path(table.pause_tarball),
            confidential_tarball: self.path(table.confidential_tarball),
            osbuilder_version: self.maybe(table.osbuilder_version),
            kata_repository: self.maybe(table.kata_repository),
            distro_name: self.maybe(table.distribution_name),
        }
    }

    fn image(&self, table: ImageTable) -> ImageLayer {
        ImageLayer {
            file_system: self.maybe(table.file_system),
            block_size: self.maybe(table.block_size),
            free_space_mib: self.maybe(table.free_space_mib),
            alignment_mib: self.maybe(table.alignment_mib),
            dax_header: self.maybe(table.dax_header),
            journal: self.maybe(table.journal),
            compression: self.maybe(table.compression),
            measured: self.maybe(table.measured),
            variant: self.maybe(table.variant),
            salt: self.maybe(table.salt),
            verity_superblock: self.maybe(table.verity_superblock),
            partition_table: self.maybe(table.partition_table),
            root_hash_key: self.path(table.root_hash_key),
            root_hash_certificate: self.path(table.root_hash_certificate),
            selinux: self.maybe(table.selinux),
        }
    }

    fn extra_file(&mut self, table: FileTable) -> Option<Given<FileAsked>> {
        let origin = table.source.as_ref().or(table.destination.as_ref()).map(Spanned::span);
        match (self.path(table.source), table.destination) {
            (Some(source), Some(destination)) => Some(Given::new(
                FileAsked { source: source.value, destination: destination.into_inner() },
                source.origin,
            )),
            _ => {
                self.note(&origin.unwrap_or_default(), "a file needs `source` and `destination`");
                None
            }
        }
    }

    fn maybe<T>(&self, value: Option<Spanned<T>>) -> Maybe<T> {
        value.map(|value| {
            let origin = self.origin(&value.span());
            Given::new(value.into_inner(), origin)
        })
    }

    fn list(&self, values: Texts) -> Vec<Given<String>> {
        values.into_iter().filter_map(|value| self.maybe(Some(value))).collect()
    }

    fn path(&self, value: Text) -> Maybe<PathBuf> {
        let directory = self.file.path.parent().unwrap_or(Path::new(""));
        self.maybe(value).map(|given| Given::new(directory.join(given.value), given.origin))
    }

    fn note(&mut self, span: &Range<usize>, message: &str) {
        let origin = self.origin(span);
        self.mistakes.add(&origin, message);
    }

    fn origin(&self, span: &Range<usize>) -> Origin {
        let (line, column) = document::position(self.file.text, span.start);
        Origin::File { path: self.file.path.to_owned(), line, column }
    }
}

#[cfg(test)]
mod tests;
