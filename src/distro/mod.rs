//! Distributions: one small data file each, compiled in or from a folder of the user's.
//!
//! A file says where a distribution lives, which keys it signs with, which suites a release has
//! and what a guest needs from it. It never says how: that is the family's business. `file.rs` reads
//! and checks one, `catalogue.rs` holds them all, `verified.rs` says how far each was tried.

mod architecture;
mod catalogue;
mod file;
mod verified;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

pub use architecture::{Architecture, UnknownArchitecture};
pub use catalogue::{Catalogue, Error};
pub use file::{DataFile, Flaw, Flaws, read};
pub use verified::{Cell, How, Init, cells};

use crate::meant::{did_you_mean, nearest};

/// One distribution, as its data file says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Distro {
    /// Its name on the command line: `debian`.
    pub name: String,
    /// Its name for people: `Debian`.
    pub title: String,
    /// Other names: `suse` for `opensuse`.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// How it packages.
    pub family: Family,
    /// The release that is built when none is named.
    pub default_release: String,
    /// Places of the archive, tried in order.
    pub mirrors: Vec<Mirror>,
    /// Components used unless the recipe names others: `main`.
    pub components: Vec<String>,
    /// Addresses where it publishes its keys. What comes from there counts only if its
    /// fingerprint is among [`Release::keys`].
    #[serde(default)]
    pub key_addresses: Vec<String>,
    /// Whether signatures over SHA-1 are enough, because there are no others.
    #[serde(default)]
    pub sha1_signatures: bool,
    /// In rpm's family: what of it bears signatures.
    #[serde(default)]
    pub signed: Signed,
    /// The guest's first process when the recipe names none.
    #[serde(default)]
    pub init: FirstProcess,
    /// The releases, the newest stable one first.
    pub releases: Vec<Release>,
    /// What a guest is made of when the recipe names no packages.
    pub packages: GuestPackages,
}

/// How a distribution packages its software.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Family {
    /// dpkg and apt.
    Deb,
    /// apk.
    Apk,
    /// rpm, and repositories with `repomd.xml`.
    Rpm,
}

/// Which program starts a guest of a distribution when nobody says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum FirstProcess {
    /// systemd.
    #[default]
    Systemd,
    /// The agent itself.
    Agent,
}

/// What of a distribution with rpm packages bears signatures, and so where trust in its metadata comes
/// from. Whatever it is: where `repomd.xml.asc` or a metalink with TLS is, that is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Signed {
    /// Metadata and packages: metadata that nobody vouches for is refused.
    #[default]
    Metadata,
    /// Packages only. Metadata that nobody vouches for counts where it came by TLS from one of the
    /// mirrors that are named here or by the user, or lies in the local file system.
    Packages,
    /// Nothing: a build needs the user's word for it.
    Nothing,
}

/// How rpm keeps its database of installed packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum DatabaseFormat {
    /// SQLite.
    #[default]
    Sqlite,
    /// ndb, SUSE's.
    Ndb,
    /// Berkeley DB, up to rpm 4.15.
    Bdb,
}

/// One place of a distribution's archive.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Mirror {
    /// The root's URL, without a final slash.
    pub url: String,
    /// The security archive's root, if it is another one.
    pub security: Option<String>,
    /// The architectures it holds; all, if empty.
    #[serde(default)]
    pub architectures: Vec<Architecture>,
}

/// One release of a distribution.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Release {
    /// Code name, as in the archive: `trixie`.
    pub codename: String,
    /// Number: `13`.
    pub version: String,
    /// Other names: `stable`.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Where it lies, when that is not where the other releases do: in an archive of old ones.
    #[serde(default)]
    pub mirrors: Vec<Mirror>,
    /// Suites in order of priority, the first being the release pocket itself.
    pub suites: Vec<Suite>,
    /// The architectures that its mirrors hold today.
    pub architectures: Vec<Architecture>,
    /// The keys that may sign its suites: full fingerprints (hexadecimal, upper case) of primary
    /// OpenPGP keys; or, in Alpine's family, an architecture, the name of a key's file and the SHA-256
    /// of the file.
    pub keys: Vec<String>,
    /// In rpm's family: where the database of packages is, if not in `var/lib/rpm`.
    #[serde(default)]
    pub database: Option<String>,
    /// In rpm's family: how that database is kept.
    #[serde(default)]
    pub database_format: DatabaseFormat,
    /// In rpm's family: streams of modules that are wanted besides those that the repositories declare
    /// as default: `nodejs:18`.
    #[serde(default)]
    pub streams: Vec<String>,
    /// In rpm's family: names of packages that are never taken from its repositories.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Whether `/bin`, `/sbin` and `/lib` are links into `/usr`.
    pub merged_usr: bool,
}

/// One suite of a release.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Suite {
    /// Its path below `dists/`: `trixie-updates`; in Alpine's family below the root: `v3.24`; in
    /// rpm's also below the root, with variables: `prod/base/$basearch`.
    pub name: String,
    /// In rpm's family: where a list of its mirrors with the digest of its metadata can be had.
    #[serde(default)]
    pub metalink: Option<String>,
    /// In rpm's family: where a plain list of its mirrors can be had. They serve what is vouched for
    /// elsewhere, and vouch for nothing.
    #[serde(default)]
    pub mirrorlist: Option<String>,
    /// In rpm's family: whether it holds what came after the release only, so that it is left out when
    /// just the release is wanted.
    #[serde(default)]
    pub updates: bool,
    /// Whether it lives in the security archive.
    #[serde(default)]
    pub security: bool,
    /// The architectures it covers, when those are fewer than the release's; else empty.
    #[serde(default)]
    pub architectures: Vec<Architecture>,
}

/// What a guest is made of.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct GuestPackages {
    /// In every guest.
    pub base: Vec<String>,
    /// Where systemd is the init.
    pub systemd: Vec<String>,
    /// Where the agent filters system calls.
    pub seccomp: Vec<String>,
    /// Where files have SELinux labels: what brings the policy.
    #[serde(default)]
    pub selinux: Vec<String>,
    /// In every guest of one architecture.
    #[serde(default)]
    pub architecture: BTreeMap<Architecture, Vec<String>>,
}

/// What a guest has that takes packages of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traits {
    /// systemd is the init.
    pub systemd: bool,
    /// The agent filters system calls.
    pub seccomp: bool,
    /// Files have SELinux labels.
    pub selinux: bool,
}

impl Distro {
    /// Returns the release with this code name, number or alias: `trixie`, `13`, `stable`.
    ///
    /// # Errors
    /// [`Error::UnknownRelease`], with the nearest name and the list of all.
    pub fn release(&self, name: &str) -> Result<&Release, Error> {
        self.releases.iter().find(|release| release.is_called(name)).ok_or_else(|| {
            let known = |release: &Release| format!("{} ({})", release.codename, release.version);
            let names = self.releases.iter().flat_map(Release::names);
            Error::UnknownRelease {
                distro: self.title.clone(),
                release: name.to_owned(),
                meant: nearest(name, names).map(ToOwned::to_owned),
                known: self.releases.iter().map(known).collect::<Vec<_>>().join(", "),
            }
        })
    }

    /// The mirrors that hold `architecture` of a release, in the order in which they are tried.
    pub fn mirrors_for<'d>(
        &'d self,
        release: &'d Release,
        architecture: Architecture,
    ) -> impl Iterator<Item = &'d Mirror> {
        let mirrors = if release.mirrors.is_empty() { &self.mirrors } else { &release.mirrors };
        mirrors.iter().filter(move |mirror| covers(&mirror.architectures, architecture))
    }
}

impl Release {
    /// Whether `name` is its code name, number or alias.
    pub fn is_called(&self, name: &str) -> bool {
        self.names().any(|known| known.eq_ignore_ascii_case(name))
    }

    /// The suites that cover `architecture`, in order of priority.
    pub fn suites_for(&self, architecture: Architecture) -> impl Iterator<Item = &Suite> {
        self.suites.iter().filter(move |suite| covers(&suite.architectures, architecture))
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        [&self.codename, &self.version].into_iter().chain(&self.aliases).map(String::as_str)
    }
}

impl GuestPackages {
    /// The names for one kind of guest: what every guest has, what its processor needs, and what its
    /// traits take. Sorted.
    pub fn names(&self, architecture: Architecture, traits: Traits) -> Vec<&str> {
        let for_machine = self.architecture.get(&architecture).map_or(&[][..], Vec::as_slice);
        let mut names: Vec<&str> = (self.base.iter())
            .chain(for_machine)
            .chain(traits.systemd.then_some(&self.systemd).into_iter().flatten())
            .chain(traits.seccomp.then_some(&self.seccomp).into_iter().flatten())
            .chain(traits.selinux.then_some(&self.selinux).into_iter().flatten())
            .map(String::as_str)
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

fn covers(architectures: &[Architecture], wanted: Architecture) -> bool {
    architectures.is_empty() || architectures.contains(&wanted)
}

#[cfg(test)]
mod tests;
