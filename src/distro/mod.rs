//! Distributions: one small data file each, compiled in.
//!
//! A file says where a distribution lives, which keys it signs with, which suites a release has
//! and what a guest needs from it. It never says how: that is the family's business.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

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
    /// The releases.
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
}

/// One place of a distribution's archive.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// The root's URL, without a final slash.
    pub url: String,
    /// The security archive's root, if it is another one.
    pub security: Option<String>,
    /// Kernel names of the architectures it holds; all, if empty.
    #[serde(default)]
    pub architectures: Vec<String>,
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
    /// Kernel names of the architectures it was published for.
    pub architectures: Vec<String>,
    /// Full fingerprints (hexadecimal, upper case) of the primary keys that may sign its suites.
    pub keys: Vec<String>,
    /// Whether `/bin`, `/sbin` and `/lib` are links into `/usr`.
    pub merged_usr: bool,
}

/// One suite of a release.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// Its path below `dists/`: `trixie-updates`.
    pub name: String,
    /// Whether it lives in the security archive.
    #[serde(default)]
    pub security: bool,
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
}

/// A processor architecture, by the kernel's name for it (`uname -m`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Architecture {
    /// 64-bit x86, `x86_64`; Debian's `amd64`.
    X86_64,
    /// 64-bit ARM, `aarch64`; Debian's `arm64`.
    Aarch64,
    /// 64-bit POWER, little-endian, `ppc64le`; Debian's `ppc64el`.
    Ppc64le,
    /// IBM Z, `s390x`.
    S390x,
}

impl Architecture {
    /// All of them, in the order in which tables show them.
    pub const ALL: [Self; 4] = [Self::X86_64, Self::Aarch64, Self::Ppc64le, Self::S390x];

    /// The kernel's name: `x86_64`.
    pub const fn kernel_name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
            Self::Ppc64le => "ppc64le",
            Self::S390x => "s390x",
        }
    }

    /// Debian's name: `amd64`.
    pub const fn debian_name(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
            Self::Ppc64le => "ppc64el",
            Self::S390x => "s390x",
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kernel_name())
    }
}

/// Why a text is not an architecture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the architecture {0:?} is not one of x86_64, aarch64, ppc64le, s390x")]
pub struct UnknownArchitecture(String);

impl FromStr for Architecture {
    type Err = UnknownArchitecture;

    /// Accepts the kernel's and Debian's names.
    fn from_str(text: &str) -> Result<Self, UnknownArchitecture> {
        let named = |a: &Self| text == a.kernel_name() || text == a.debian_name();
        Self::ALL.into_iter().find(named).ok_or_else(|| UnknownArchitecture(text.to_owned()))
    }
}
