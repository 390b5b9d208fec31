//! Alpine version numbers and apk's order on them: `1.2.3b_rc1~0a1b2c-r4`.
//!
//! A text comes in, a checked [`Version`] that borrows it goes out. Numbers are compared as text, so
//! that none is too long.
//!
//! A version is a number; more numbers, each after a dot; one lower-case letter; suffixes, each after
//! an underscore and perhaps with a number; a commit's hexadecimal digits after a tilde; a build
//! number after `-r`. Two versions are compared part by part. Where one has a part of another kind
//! than the other, or none at all, a suffix of a release to come (`_alpha`, `_beta`, `_pre`, `_rc`)
//! makes its version the older one, and otherwise the newer one is the one whose part comes first in
//! this list, the end being last of all.
//!
//! Specification: apk-package(5); held to apk-tools' own test data by `tests/it/apk_versions.rs`.

use std::cmp::Ordering;
use std::fmt;

/// A well-formed version.
#[derive(Clone, Copy)]
pub struct Version<'a>(&'a str);

/// One part of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part<'a> {
    /// The number that it starts with.
    First(&'a str),
    /// A number after a dot.
    Number(&'a str),
    Letter(u8),
    Suffix(Suffix),
    SuffixNumber(&'a str),
    Commit(&'a str),
    Build(&'a str),
    End,
}

/// What a suffix says, from the earliest to the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Suffix {
    Alpha,
    Beta,
    Pre,
    Rc,
    Cvs,
    Svn,
    Git,
    Hg,
    P,
}

impl Suffix {
    const ALL: [(&'static str, Self); 9] = [
        ("alpha", Self::Alpha),
        ("beta", Self::Beta),
        ("pre", Self::Pre),
        ("rc", Self::Rc),
        ("cvs", Self::Cvs),
        ("svn", Self::Svn),
        ("git", Self::Git),
        ("hg", Self::Hg),
        ("p", Self::P),
    ];

    /// Whether the release is still to come.
    fn is_early(self) -> bool {
        self <= Self::Rc
    }
}

impl Part<'_> {
    /// Its place in the order of a version's parts.
    const fn kind(&self) -> u8 {
        match self {
            Self::First(_) => 0,
            Self::Number(_) => 1,
            Self::Letter(_) => 2,
            Self::Suffix(_) => 3,
            Self::SuffixNumber(_) => 4,
            Self::Commit(_) => 5,
            Self::Build(_) => 6,
            Self::End => 7,
        }
    }

    fn is_early(&self) -> bool {
        matches!(self, Self::Suffix(suffix) if suffix.is_early())
    }

    /// Compares two parts, of one kind or not.
    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::First(a), Self::First(b))
            | (Self::SuffixNumber(a), Self::SuffixNumber(b))
            | (Self::Build(a), Self::Build(b)) => compare_numbers(a, b),
            (Self::Number(a), Self::Number(b)) if a.starts_with('0') || b.starts_with('0') => {
                a.cmp(b)
            }
            (Self::Number(a), Self::Number(b)) => compare_numbers(a, b),
            (Self::Letter(a), Self::Letter(b)) => a.cmp(b),
            (Self::Suffix(a), Self::Suffix(b)) => a.cmp(b),
            (Self::Commit(a), Self::Commit(b)) => a.cmp(b),
            _ if self.is_early() => Ordering::Less,
            _ if other.is_early() => Ordering::Greater,
            _ => other.kind().cmp(&self.kind()),
        }
    }
}

/// Compares two runs of digits by value.
fn compare_numbers(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

impl<'a> Version<'a> {
    /// Reads a version.
    ///
    /// # Errors
    /// [`BadVersion`] with the rule that is broken.
    pub fn parse(text: &'a str) -> Result<Self, BadVersion> {
        let bad = |rule| BadVersion { text: text.chars().take(80).collect(), rule };
        let mut parts = Parts::new(text);
        loop {
            match parts.next_part().map_err(bad)? {
                Part::End => return Ok(Self(text)),
                _ => continue,
            }
        }
    }

    /// The text, as it was written.
    pub const fn as_str(&self) -> &'a str {
        self.0
    }

    /// Whether this version begins with all parts of `start`.
    pub fn starts_with(&self, start: Version<'_>) -> bool {
        let (mut own, mut wanted) = (Parts::new(self.0), Parts::new(start.0));
        loop {
            match (own.expect_part(), wanted.expect_part()) {
                (_, Part::End) => return true,
                (a, b) if a.kind() != b.kind() || a.compare(&b).is_ne() => return false,
                _ => {}
            }
        }
    }
}

impl Ord for Version<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let (mut a, mut b) = (Parts::new(self.0), Parts::new(other.0));
        loop {
            let (part_a, part_b) = (a.expect_part(), b.expect_part());
            let order = part_a.compare(&part_b);
            if order.is_ne() || part_a == Part::End {
                return order;
            }
        }
    }
}

impl PartialOrd for Version<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version<'_> {}

impl fmt::Display for Version<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for Version<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({})", self.0)
    }
}

/// Takes a text apart.
struct Parts<'a> {
    rest: &'a str,
    /// The kind of the part before; none at the beginning.
    before: Option<u8>,
}

impl<'a> Parts<'a> {
    const fn new(text: &'a str) -> Self {
        Self { rest: text, before: None }
    }

    /// The next part of a text that was checked.
    fn expect_part(&mut self) -> Part<'a> {
        self.next_part().expect("a version was checked when it was read")
    }

    /// The next part; [`Part::End`] at the end.
    fn next_part(&mut self) -> Result<Part<'a>, &'static str> {
        let part = match self.before {
            None => Part::First(self.digits("it does not start with a digit")?),
            Some(before) => self.after(before)?,
        };
        self.before = Some(part.kind());
        Ok(part)
    }

    fn after(&mut self, before: u8) -> Result<Part<'a>, &'static str> {
        let Some(first) = self.rest.bytes().next() else { return Ok(Part::End) };
        match first {
            b'0'..=b'9' if before == 3 => {
                self.digits("a number is missing").map(Part::SuffixNumber)
            }
            b'.' if before <= 1 => {
                self.skip(1);
                self.digits("a dot is not followed by a number").map(Part::Number)
            }
            b'a'..=b'z' if before <= 1 => {
                self.skip(1);
                Ok(Part::Letter(first))
            }
            b'_' if before <= 4 => {
                self.skip(1);
                let word = self.take(|byte| byte.is_ascii_lowercase());
                let known = Suffix::ALL.iter().find(|(name, _)| *name == word);
                known.map(|(_, suffix)| Part::Suffix(*suffix)).ok_or("it has an unknown suffix")
            }
            b'~' if before <= 4 => {
                self.skip(1);
                let digits = self.take(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
                if digits.is_empty() {
                    Err("its commit is empty")
                } else {
                    Ok(Part::Commit(digits))
                }
            }
            b'-' if before <= 5 && self.rest.starts_with("-r") => {
                self.skip(2);
                self.digits("its build is not a number").map(Part::Build)
            }
            _ => Err("it has a part in the wrong place, or a character that belongs to none"),
        }
    }

    fn digits(&mut self, otherwise: &'static str) -> Result<&'a str, &'static str> {
        let digits = self.take(|byte| byte.is_ascii_digit());
        if digits.is_empty() { Err(otherwise) } else { Ok(digits) }
    }

    fn take(&mut self, belongs: impl Fn(u8) -> bool) -> &'a str {
        let end = self.rest.bytes().position(|byte| !belongs(byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }
}

/// Why a text is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a version: {rule}")]
pub struct BadVersion {
    text: String,
    rule: &'static str,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn version(text: &str) -> Version<'_> {
        Version::parse(text).unwrap()
    }

    #[test]
    fn versions_are_compared_part_by_part() {
        let ascending = [
            "0.1_alpha",
            "0.1_alpha2",
            "0.1_beta",
            "0.1_rc1",
            "0.1_rc1-r1",
            "0.1",
            "0.1-r1",
            "0.1-r10",
            "0.1~0abc",
            "0.1_git20240101",
            "0.1_p1",
            "0.1a",
            "0.1.0",
            "0.1.01",
            "0.1.1",
            "0.2",
            "0.10",
            "1",
        ];
        for (low, a) in ascending.iter().enumerate() {
            for (high, b) in ascending.iter().enumerate() {
                assert_eq!(version(a).cmp(&version(b)), low.cmp(&high), "{a} {b}");
            }
        }
    }

    #[test]
    fn a_version_starts_with_its_first_parts_and_not_with_half_a_number() {
        for start in ["3", "3.6", "3.6.9", "3.6.9_pre1", "3.6.9_pre1-r2"] {
            assert!(version("3.6.9_pre1-r2").starts_with(version(start)), "{start}");
        }
        for other in ["3.60", "3.6.9_p1", "3.6.9_pre", "3.6.9_pre1-r20", "3.6.8"] {
            let starts = version("3.6.9_pre1-r2").starts_with(version(other));
            assert_eq!(starts, other == "3.6.9_pre", "{other}");
        }
    }

    #[test]
    fn r12_numbers_of_any_length_are_compared_without_overflow() {
        let long = "9".repeat(1_000_000);
        let longer = format!("1{}", "0".repeat(1_000_000));
        assert!(version(&long) < version(&longer));
        assert!(version(&format!("1.{long}")) < version(&format!("1.{longer}")));
        assert_eq!(version("18446744073709551616"), version("018446744073709551616"));
        for bad in ["1\0", "1~", "~1", "1é", "1 ", "-r1", "1-r", "1_", "1_foo", "1.", "1A", "1ab"]
        {
            assert!(Version::parse(bad).is_err(), "{bad}");
        }
    }

    const PATTERN: &str =
        "[0-2]{1,2}(\\.[0-2]{1,2}){0,2}[ab]?(_(alpha|rc|p|git)[01]?){0,2}(-r[01])?";

    proptest! {
        #[test]
        fn r12_the_order_is_total(a in PATTERN, b in PATTERN, c in PATTERN) {
            let (a, b, c) = (version(&a), version(&b), version(&c));
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert!(a > b || b > c || a <= c);
        }
    }
}
