//! Processor architectures: the kernel's names and the families' names for the same machines.

use std::fmt;
use std::str::FromStr;

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

    /// The one that this program was built for, if guests can have it. Rust calls both byte orders
    /// of POWER `powerpc64`; Kata knows the little one only.
    pub fn host() -> Option<Self> {
        match std::env::consts::ARCH {
            "powerpc64" if cfg!(target_endian = "little") => Some(Self::Ppc64le),
            "powerpc64" => None,
            name => name.parse().ok(),
        }
    }

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

impl Architecture {
    /// Alpine's name, which is the kernel's.
    pub const fn alpine_name(self) -> &'static str {
        self.kernel_name()
    }
}

impl Architecture {
    /// rpm's name, which is the kernel's.
    pub const fn rpm_name(self) -> &'static str {
        self.kernel_name()
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

impl<'de> serde::Deserialize<'de> for Architecture {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Architecture {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Architecture".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let names = Self::ALL.map(Self::kernel_name);
        schemars::json_schema!({"type": "string", "enum": names})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_and_debian_s_names_are_the_same_machine() {
        for (text, expected) in [
            ("x86_64", Architecture::X86_64),
            ("amd64", Architecture::X86_64),
            ("arm64", Architecture::Aarch64),
            ("ppc64el", Architecture::Ppc64le),
            ("s390x", Architecture::S390x),
        ] {
            assert_eq!(text.parse(), Ok(expected));
        }
        assert!("riscv64".parse::<Architecture>().is_err());
    }
}
