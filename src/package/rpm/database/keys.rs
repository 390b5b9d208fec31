//! Which indexes rpm's database has, and what leads to a package in each.
//!
//! In: a package that is installed; out: the keys of one index, each with the place that rpm keeps with
//! it. Specification: `dbiTags` and `tag2index` in rpm's `lib/rpmdb.c`.

use std::collections::BTreeSet;

use super::super::header::Type;
use super::super::relation::{Dependency, Operator};
use super::super::tag;
use super::{Installed, Transaction, is_sound};

/// An index.
#[derive(Debug)]
pub(super) struct Table {
    /// Its name, where it has one of its own.
    pub(super) name: &'static str,
    /// The tag in the headers of installed packages.
    pub(super) tag: u32,
    keys: Keys,
}

/// What an index's keys are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keys {
    /// The texts of the tag.
    Texts,
    /// As these, and of rich dependencies also the names that they are made of.
    Dependencies,
    /// As these, without what only installing needs.
    Requirements,
    /// The text of the tag; a package without one is of the group `Unknown`.
    Group,
    /// Each text once for a package.
    Once,
    /// The texts, and in place of their places the numbers of scripts that another tag has.
    Scripts(u32),
    /// The MD5 that the signature header states.
    Md5,
    /// The SHA-1 that the signature header states.
    Sha1,
    /// The transaction's number, as a little-endian machine keeps it.
    Transaction,
}

const fn table(name: &'static str, tag: u32, keys: Keys) -> Table {
    Table { name, tag, keys }
}

/// The indexes in the order in which rpm makes them.
pub(super) const TABLES: [Table; 18] = {
    const FILES: u32 = tag::FILE_TRIGGERS[3];
    const ALL_FILES: u32 = tag::TRANSACTION_FILE_TRIGGERS[3];
    [
        table("Name", tag::NAME, Keys::Texts),
        table("Basenames", tag::BASE_NAMES, Keys::Texts),
        table("Group", tag::GROUP, Keys::Group),
        table("Requirename", tag::REQUIRE_NAME, Keys::Requirements),
        table("Providename", tag::PROVIDE_NAME, Keys::Texts),
        table("Conflictname", tag::CONFLICT_NAME, Keys::Dependencies),
        table("Obsoletename", tag::OBSOLETE_NAME, Keys::Texts),
        table("Triggername", tag::TRIGGER_NAME, Keys::Once),
        table("Dirnames", tag::DIRECTORY_NAMES, Keys::Texts),
        table("Installtid", tag::installed::INSTALL_TID, Keys::Transaction),
        table("Sigmd5", tag::installed::SIGNATURE_MD5, Keys::Md5),
        table("Sha1header", tag::signature::SHA1_HEADER, Keys::Sha1),
        table("Filetriggername", tag::FILE_TRIGGER_NAME, Keys::Scripts(FILES)),
        table("Transfiletriggername", tag::TRANSACTION_FILE_TRIGGER_NAME, Keys::Scripts(ALL_FILES)),
        table("Recommendname", tag::RECOMMEND[0], Keys::Dependencies),
        table("Suggestname", tag::SUGGEST[0], Keys::Dependencies),
        table("Supplementname", tag::SUPPLEMENT[0], Keys::Dependencies),
        table("Enhancename", tag::ENHANCE[0], Keys::Dependencies),
    ]
};

impl Table {
    /// Whether its keys are text.
    pub(super) const fn is_text(&self) -> bool {
        !matches!(self.keys, Keys::Md5 | Keys::Transaction)
    }

    /// The keys that lead to a package, each with its place.
    pub(super) fn keys(
        &self,
        package: &Installed<'_>,
        transaction: Transaction,
    ) -> Vec<(u32, Vec<u8>)> {
        let Installed { header, signature, .. } = package;
        let texts = || (0..).zip(header.texts(self.tag));
        let one = |key: &[u8]| vec![(0, key.to_vec())];
        let owned = |(place, key): (u32, &[u8])| (place, key.to_vec());
        match self.keys {
            Keys::Transaction => one(&transaction.time.to_le_bytes()),
            Keys::Md5 => {
                let is_sound = is_sound(signature, (tag::signature::MD5, Type::Binary, 16));
                if is_sound { one(signature.binary(tag::signature::MD5)) } else { Vec::new() }
            }
            Keys::Sha1 => {
                let is_sound = is_sound(signature, (self.tag, Type::Text, 40));
                let stated = signature.text(self.tag).filter(|_| is_sound);
                stated.map(one).unwrap_or_default()
            }
            Keys::Group => one(header.text(self.tag).unwrap_or(b"Unknown")),
            Keys::Texts => texts().map(owned).collect(),
            Keys::Dependencies => texts().flat_map(with_names).collect(),
            Keys::Requirements => {
                let all = texts().zip(header.numbers(tag::REQUIRE_FLAGS));
                let kept = all.filter(|(_, flags)| !is_transient(*flags));
                kept.flat_map(|(text, _)| with_names(text)).collect()
            }
            Keys::Once => {
                let mut seen = BTreeSet::new();
                texts().filter(|(_, key)| seen.insert(*key)).map(owned).collect()
            }
            Keys::Scripts(numbers) => {
                let number = |number| u32::try_from(number).unwrap_or(u32::MAX);
                let numbers = header.numbers(numbers).map(number);
                numbers.zip(header.texts(self.tag)).map(owned).collect()
            }
        }
    }
}

/// Whether only installing needs it: rpm's own features, and what scripts need that run then; but not
/// what also scripts of removing need.
const fn is_transient(flags: u64) -> bool {
    const INSTALLING: u64 = 1 << 5 | 1 << 7 | 1 << 9 | 1 << 10 | 1 << 24 | 1 << 26;
    const REMOVING: u64 = 1 << 11 | 1 << 12;
    flags & INSTALLING != 0 && flags & REMOVING == 0
}

/// A dependency as a key, and behind it the names that it is made of if it is a rich one: those that
/// speak against it begin with `!`.
fn with_names((place, key): (u32, &[u8])) -> Vec<(u32, Vec<u8>)> {
    let mut keys = vec![(place, key.to_vec())];
    let text = std::str::from_utf8(key).ok().filter(|text| text.starts_with('('));
    let Some(Ok(rich)) = text.map(|text| Dependency::new(text, Operator::default(), "")) else {
        return keys;
    };
    let mut names = BTreeSet::new();
    collect(&rich, false, &mut names);
    keys.extend(names.into_iter().map(|(is_against, name)| {
        let sign: &[u8] = if is_against { b"!" } else { b"" };
        (place, [sign, name.as_bytes()].concat())
    }));
    keys
}

fn collect<'a>(rich: &Dependency<'a>, is_against: bool, names: &mut BTreeSet<(bool, &'a str)>) {
    match rich {
        Dependency::Plain(relation) if relation.name.starts_with("rpmlib(") => {}
        Dependency::Plain(relation) => drop(names.insert((is_against, relation.name))),
        Dependency::And(all) | Dependency::Or(all) => {
            all.iter().for_each(|one| collect(one, is_against, names));
        }
        Dependency::With(one, other) | Dependency::Without(one, other) => {
            collect(one, is_against, names);
            collect(other, is_against, names);
        }
        Dependency::If(one, condition, other) | Dependency::Unless(one, condition, other) => {
            collect(one, is_against, names);
            collect(condition, !is_against, names);
            if let Some(other) = other {
                collect(condition, is_against, names);
                collect(other, is_against, names);
            }
        }
    }
}
