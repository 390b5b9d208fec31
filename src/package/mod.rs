//! The words of packages: names, versions, relations, indexes, archives, databases.
//!
//! One folder a family, each with the same files. Everything here is a function of values: no
//! network, no disk, no clock.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

pub mod apk;
pub mod compression;
pub mod deb;
pub mod path;
pub mod rpm;
pub mod tar;

use std::fmt;
use std::str::FromStr;

/// The name of a package in any family: `libc6`, `bash`, `libstdc++6`.
///
/// One to 255 ASCII letters, digits and `+ - . _`, of which the first is a letter, digit or `_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct PackageName(String);

impl PackageName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `text` could be a name.
    pub fn is_well_formed(text: &str) -> bool {
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
        let rest = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-._".contains(&b));
        first && rest && text.len() <= 255
    }
}

impl fmt::Display for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not the name of a package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the name of a package (letters, digits and `+ - . _`)")]
pub struct BadName(String);

impl FromStr for PackageName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        if Self::is_well_formed(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadName(text.chars().take(80).collect()))
        }
    }
}

impl<'de> serde::Deserialize<'de> for PackageName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_all_families_are_accepted_and_nothing_that_could_be_a_path_or_an_option() {
        for good in ["libc6", "libstdc++6", "NetworkManager", "0ad", "py3.12-x_y", "_x"] {
            assert_eq!(good.parse::<PackageName>().unwrap().as_str(), good);
        }
        for bad in ["", "-rf", ".", "..", "a/b", "a b", "a\n", "é", "+a", &"a".repeat(256)] {
            assert!(bad.parse::<PackageName>().is_err(), "{bad}");
        }
    }
}
