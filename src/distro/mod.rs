//! Distributions: one small data file each, compiled in.
//!
//! A file says where a distribution lives, which keys it signs with, which suites a release has
//! and what a guest needs from it. It never says how: that is the family's business.

mod architecture;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize;

pub use architecture::{Architecture, UnknownArchitecture};

/// One distribution, as its data file says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
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
    /// The guest's first process when the recipe names none.
    #[serde(default)]
    pub init: FirstProcess,
    /// The releases, the newest stable one first.
    pub releases: Vec<Release>,
    /// What a guest is made of when the recipe names no packages.
    pub packages: GuestPackages,
}

/// How a distribution packages its software.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// dpkg and apt.
    Deb,
    /// apk.
    Apk,
    /// rpm, and repositories with `repomd.xml`.
    Rpm,
}

/// Which program starts a guest of a distribution when nobody says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FirstProcess {
    /// systemd.
    #[default]
    Systemd,
    /// The agent itself.
    Agent,
}

/// One place of a distribution's archive.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
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
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Code name, as in the archive: `trixie`.
    pub codename: String,
    /// Number: `13`.
    pub version: String,
    /// Other names: `stable`.
    #[serde(default)]
    pub aliases: Vec<String>,
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
    /// Whether `/bin`, `/sbin` and `/lib` are links into `/usr`.
    pub merged_usr: bool,
}

/// One suite of a release.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// Its path below `dists/`: `trixie-updates`; in Alpine's family below the root: `v3.24`; in
    /// rpm's also below the root, with variables: `prod/base/$basearch`.
    pub name: String,
    /// In rpm's family: where a list of its mirrors with the digest of its metadata can be had.
    #[serde(default)]
    pub metalink: Option<String>,
    /// Whether it lives in the security archive.
    #[serde(default)]
    pub security: bool,
    /// The architectures it covers, when those are fewer than the release's; else empty.
    #[serde(default)]
    pub architectures: Vec<Architecture>,
}

/// What a guest is made of.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuestPackages {
    /// In every guest.
    pub base: Vec<String>,
    /// Where systemd is the init.
    pub systemd: Vec<String>,
    /// Where the agent filters system calls.
    pub seccomp: Vec<String>,
    /// In every guest of one architecture.
    #[serde(default)]
    pub architecture: BTreeMap<Architecture, Vec<String>>,
}

/// The data files. Adding a distribution is adding a file and its name here.
const FILES: [&str; 4] = [
    include_str!("alpine.toml"),
    include_str!("azurelinux.toml"),
    include_str!("debian.toml"),
    include_str!("ubuntu.toml"),
];

/// Why there is no such distribution or release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No distribution has this name.
    #[error("the distribution {name:?} is unknown{}; known are {known}", did_you_mean(meant.as_deref()))]
    UnknownDistribution {
        /// The name that was asked for.
        name: String,
        /// The most similar known name, if one is near.
        meant: Option<String>,
        /// All names, separated by commas.
        known: String,
    },
    /// The distribution has no release of this name or number.
    #[error("{distro} has no release {release:?}{}; known are {known}", did_you_mean(meant.as_deref()))]
    UnknownRelease {
        /// The distribution's name for people.
        distro: String,
        /// The release that was asked for.
        release: String,
        /// The most similar known name, if one is near.
        meant: Option<String>,
        /// All releases, separated by commas.
        known: String,
    },
}

impl Distro {
    /// Every distribution that is compiled in, sorted by name.
    pub fn all() -> &'static [Self] {
        static ALL: OnceLock<Vec<Distro>> = OnceLock::new();
        ALL.get_or_init(|| {
            let parse = |text| toml::from_str(text).expect("a test reads every data file");
            FILES.into_iter().map(parse).collect()
        })
    }

    /// Returns the distribution with this name or alias.
    ///
    /// # Errors
    /// [`Error::UnknownDistribution`], with the nearest name and the list of all.
    pub fn find(name: &str) -> Result<&'static Self, Error> {
        let named =
            |distro: &&Self| distro.name == name || distro.aliases.iter().any(|a| a == name);
        Self::all().iter().find(named).ok_or_else(|| {
            let names = || Self::all().iter().map(|distro| distro.name.as_str());
            Error::UnknownDistribution {
                name: name.to_owned(),
                meant: nearest(name, names()).map(ToOwned::to_owned),
                known: names().collect::<Vec<_>>().join(", "),
            }
        })
    }

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

    /// The mirrors that hold `architecture`, in the order in which they are tried.
    pub fn mirrors_for(&self, architecture: Architecture) -> impl Iterator<Item = &Mirror> {
        let holds = move |mirror: &&Mirror| covers(&mirror.architectures, architecture);
        self.mirrors.iter().filter(holds)
    }
}

impl Release {
    /// Whether `name` is its code name, number or alias.
    pub fn is_called(&self, name: &str) -> bool {
        self.names().any(|known| known == name)
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
    /// The names for one kind of guest: what every guest has, what its processor needs, and what
    /// systemd and the agent's filter of system calls need where they are wanted. Sorted.
    pub fn names(&self, architecture: Architecture, systemd: bool, seccomp: bool) -> Vec<&str> {
        let for_machine = self.architecture.get(&architecture).map_or(&[][..], Vec::as_slice);
        let mut names: Vec<&str> = (self.base.iter())
            .chain(for_machine)
            .chain(systemd.then_some(&self.systemd).into_iter().flatten())
            .chain(seccomp.then_some(&self.seccomp).into_iter().flatten())
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

/// Returns the candidate that `name` is most likely a slip of the finger for.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    /// From tries: at 0.8 one wrong letter in a word of five counts, another word does not.
    const SIMILAR: f64 = 0.8;
    candidates
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// Words the answer of [`nearest`] for the middle of a sentence.
pub(crate) fn did_you_mean(meant: Option<&str>) -> String {
    meant.map_or_else(String::new, |meant| format!(" (did you mean {meant:?}?)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_is_found_by_its_name_and_a_slip_is_answered_with_the_right_one() {
        for name in ["alpine", "azurelinux", "debian", "ubuntu"] {
            assert_eq!(Distro::find(name).unwrap().name, name);
        }
        let message = Distro::find("debain").unwrap_err().to_string();
        let expected = "the distribution \"debain\" is unknown (did you mean \"debian\"?); \
                        known are alpine, azurelinux, debian, ubuntu";
        assert_eq!(message, expected);
        assert!(!Distro::find("x").unwrap_err().to_string().contains("did you mean"));
    }

    #[test]
    fn a_release_is_found_by_code_name_number_and_alias() {
        let cases = [
            ("debian", "trixie", "trixie"),
            ("debian", "13", "trixie"),
            ("debian", "stable", "trixie"),
            ("debian", "12", "bookworm"),
            ("debian", "oldstable", "bookworm"),
            ("debian", "11", "bullseye"),
            ("debian", "testing", "forky"),
            ("debian", "unstable", "sid"),
            ("alpine", "latest-stable", "v3.24"),
            ("alpine", "3.18", "v3.18"),
            ("alpine", "edge", "edge"),
            ("azurelinux", "3.0", "3.0"),
            ("cbl-mariner", "2", "2.0"),
            ("ubuntu", "24.04", "noble"),
            ("ubuntu", "resolute", "resolute"),
        ];
        for (distro, name, codename) in cases {
            assert_eq!(Distro::find(distro).unwrap().release(name).unwrap().codename, codename);
        }
        let debian = Distro::find("debian").unwrap();
        let message = debian.release("trixi").unwrap_err().to_string();
        assert!(message.starts_with("Debian has no release \"trixi\" (did you mean \"trixie\"?)"));
        assert!(debian.release("10.11").is_err());
    }

    #[test]
    fn every_data_file_is_complete_and_its_names_are_unambiguous() {
        for distro in Distro::all() {
            assert!(distro.release(&distro.default_release).is_ok(), "{}", distro.name);
            let mut seen = std::collections::BTreeSet::new();
            for release in &distro.releases {
                assert!(release.names().all(|name| seen.insert(name)), "{}", release.codename);
                assert!(!release.keys.is_empty() && !release.suites[0].security);
                for &architecture in &release.architectures {
                    assert!(distro.mirrors_for(architecture).count() > 0);
                    assert!(release.suites_for(architecture).count() > 0);
                }
            }
            let names = distro.packages.names(Architecture::X86_64, true, true);
            assert!(names.iter().all(|name| name.parse::<crate::package::PackageName>().is_ok()));
        }
        assert!(Distro::all().is_sorted_by(|a, b| a.name < b.name));
    }

    #[test]
    fn keys_are_pinned_by_the_whole_fingerprint_of_a_version_4_key() {
        let with_openpgp = Distro::all().iter().filter(|distro| distro.family != Family::Apk);
        for release in with_openpgp.flat_map(|distro| &distro.releases) {
            for key in &release.keys {
                let digits = |b: u8| b.is_ascii_digit() || (b'A'..=b'F').contains(&b);
                assert!(key.len() == 40 && key.bytes().all(digits), "{key}");
            }
        }
    }

    #[test]
    fn suites_and_mirrors_are_those_of_the_architecture() {
        let debian = Distro::find("debian").unwrap();
        let suites = |release: &str, architecture| -> Vec<&str> {
            let release = debian.release(release).unwrap();
            release.suites_for(architecture).map(|suite| suite.name.as_str()).collect()
        };
        assert_eq!(
            suites("12", Architecture::X86_64),
            ["bookworm", "bookworm-updates", "bookworm-security"]
        );
        assert_eq!(suites("12", Architecture::S390x), ["bookworm", "bookworm-updates"]);
        let ubuntu = Distro::find("ubuntu").unwrap();
        let ports: Vec<_> = ubuntu.mirrors_for(Architecture::Aarch64).map(|m| &m.url).collect();
        assert_eq!(ports, ["http://ports.ubuntu.com/ubuntu-ports"]);
    }

    #[test]
    fn kata_s_package_list_depends_on_init_seccomp_and_the_guest_s_processor() {
        let packages = &Distro::find("ubuntu").unwrap().packages;
        let base = ["chrony", "cryptsetup-bin", "dbus", "e2fsprogs", "iptables"];
        assert_eq!(packages.names(Architecture::X86_64, false, false), base);
        let systemd = packages.names(Architecture::X86_64, true, true);
        assert!(systemd.contains(&"init") && systemd.contains(&"libseccomp2"));
        assert!(packages.names(Architecture::S390x, false, false).contains(&"libcurl4"));
    }
}
