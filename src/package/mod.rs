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

/// What may be asked for: the name of a package; of apk an entry of its world file, which may name what
/// packages provide, versions and a repository's tag: `cmd:bash`, `musl~1.2`, `chrony@edge`, `!openrc`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked(String);

impl Asked {
    /// Reads an entry of apk's world file.
    ///
    /// # Errors
    /// [`apk::relation::BadRelation`]
    pub fn in_world(text: &str) -> Result<Self, apk::relation::BadRelation> {
        apk::relation::parse_tagged(text).map(|_| Self(text.to_owned()))
    }

    /// As it was asked for.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name in it.
    pub fn name(&self) -> &str {
        let rest = self.0.strip_prefix('!').unwrap_or(&self.0);
        rest.split(['@', '<', '=', '>', '~']).next().unwrap_or_default()
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a package, which may be asked for in any family.
impl FromStr for Asked {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        text.parse::<PackageName>().map(|PackageName(name)| Self(name))
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

    #[test]
    fn what_is_asked_for_is_a_name_or_with_apk_an_entry_of_its_world_file() {
        for (text, name) in [
            ("bash", "bash"),
            ("cmd:bash", "cmd:bash"),
            ("chrony@edge", "chrony"),
            ("a@edge>=1.2", "a"),
            ("musl~1.2", "musl"),
            ("!openrc", "openrc"),
        ] {
            let asked = Asked::in_world(text).unwrap();
            assert_eq!((asked.as_str(), asked.name()), (text, name));
            assert_eq!(text.parse::<Asked>().is_ok(), text == "bash", "{text}");
        }
        for bad in ["", "!", "a b", "a@", "a\n", "a=x", "$a"] {
            assert!(Asked::in_world(bad).is_err(), "{bad:?}");
        }
    }
}
