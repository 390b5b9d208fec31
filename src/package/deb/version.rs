//! Debian version numbers: `[epoch:]upstream[-revision]`, and dpkg's order on them.
//!
//! A text comes in, a checked [`Version`] that borrows it goes out. What `dpkg --validate-version`
//! accepts without a warning is accepted, except for white space around it and a sign before the
//! epoch. Digits are compared as text, so that no number is too long.
//!
//! Specification: deb-version(7), Debian Policy 5.6.12, and the behaviour of `dpkg
//! --compare-versions`, with which `tests/it/deb_versions.rs` compares.

use std::cmp::Ordering;
use std::fmt;

/// A well-formed version.
///
/// Two versions are equal when dpkg says so: `1.0`, `0:1.0` and `1.0-0` are.
#[derive(Clone, Copy)]
pub struct Version<'a> {
    text: &'a str,
    epoch: u32,
    upstream: &'a str,
    revision: Option<&'a str>,
}

impl<'a> Version<'a> {
    /// Reads a version.
    ///
    /// # Errors
    /// [`BadVersion`] with the rule that is broken.
    pub fn parse(text: &'a str) -> Result<Self, BadVersion> {
        let bad = |rule| BadVersion { text: text.chars().take(80).collect(), rule };
        let (epoch, rest) = match text.split_once(':') {
            Some((epoch, rest)) => (parse_epoch(epoch).map_err(bad)?, rest),
            None => (0, text),
        };
        let (upstream, revision) = match rest.rsplit_once('-') {
            Some((upstream, revision)) => (upstream, Some(revision)),
            None => (rest, None),
        };
        check_upstream(upstream).map_err(bad)?;
        revision.map_or(Ok(()), check_revision).map_err(bad)?;
        Ok(Self { text, epoch, upstream, revision })
    }

    /// The whole text, as it was written.
    pub const fn as_str(&self) -> &'a str {
        self.text
    }

    /// The number before the colon; 0 if there is none.
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The part that the program's authors chose.
    pub const fn upstream(&self) -> &'a str {
        self.upstream
    }

    /// The part after the last hyphen. None for a native package, which equals `0`.
    pub const fn revision(&self) -> Option<&'a str> {
        self.revision
    }
}

/// The greatest epoch that dpkg reads.
const MAX_EPOCH: u32 = 0x7fff_ffff;

fn parse_epoch(text: &str) -> Result<u32, &'static str> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err("its epoch is not a number");
    }
    let epoch = text.parse().ok().filter(|epoch| *epoch <= MAX_EPOCH);
    epoch.ok_or("its epoch is greater than 2147483647")
}

fn check_upstream(text: &str) -> Result<(), &'static str> {
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("its upstream part does not start with a digit");
    }
    if text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-+~:".contains(&b)) {
        Ok(())
    } else {
        Err("its upstream part holds a character other than letters, digits and `. - + ~ :`")
    }
}

fn check_revision(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        Err("its revision is empty")
    } else if text.bytes().all(|b| b.is_ascii_alphanumeric() || b".+~".contains(&b)) {
        Ok(())
    } else {
        Err("its revision holds a character other than letters, digits and `. + ~`")
    }
}

impl Ord for Version<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let revision = |v: &Self| v.revision.unwrap_or_default();
        self.epoch
            .cmp(&other.epoch)
            .then_with(|| compare(self.upstream.as_bytes(), other.upstream.as_bytes()))
            .then_with(|| compare(revision(self).as_bytes(), revision(other).as_bytes()))
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
        f.write_str(self.text)
    }
}

impl fmt::Debug for Version<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({})", self.text)
    }
}

/// Compares two upstream parts or two revisions: in turn a run of other characters by
/// [`compare_words`], then a run of digits by value, until both are at their end.
fn compare(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while !(a.is_empty() && b.is_empty()) {
        let (word_a, rest_a) = split(a, |byte| !byte.is_ascii_digit());
        let (word_b, rest_b) = split(b, |byte| !byte.is_ascii_digit());
        let (number_a, rest_a) = split(rest_a, u8::is_ascii_digit);
        let (number_b, rest_b) = split(rest_b, u8::is_ascii_digit);
        let order = compare_words(word_a, word_b).then_with(|| compare_numbers(number_a, number_b));
        if order.is_ne() {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    Ordering::Equal
}

fn split(bytes: &[u8], belongs: impl Fn(&u8) -> bool) -> (&[u8], &[u8]) {
    bytes.split_at(bytes.iter().position(|byte| !belongs(byte)).unwrap_or(bytes.len()))
}

/// A tilde sorts before the end, the end before letters, letters before all else.
fn compare_words(a: &[u8], b: &[u8]) -> Ordering {
    let rank = |byte: Option<&u8>| match byte {
        Some(b'~') => (0, 0),
        None => (1, 0),
        Some(byte) if byte.is_ascii_alphabetic() => (2, *byte),
        Some(byte) => (3, *byte),
    };
    let unlike = (0..a.len().max(b.len())).map(|at| rank(a.get(at)).cmp(&rank(b.get(at))));
    unlike.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

fn compare_numbers(a: &[u8], b: &[u8]) -> Ordering {
    let (_, a) = split(a, |byte| *byte == b'0');
    let (_, b) = split(b, |byte| *byte == b'0');
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// Why a text is not a Debian version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a Debian version: {rule}")]
pub struct BadVersion {
    text: String,
    rule: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version<'_> {
        Version::parse(text).unwrap()
    }

    fn check(a: &str, expected: Ordering, b: &str) {
        assert_eq!(version(a).cmp(&version(b)), expected, "{a} and {b}");
        assert_eq!(version(b).cmp(&version(a)), expected.reverse(), "{b} and {a}");
    }

    /// Each line in rising order; what stands together is equal.
    #[test]
    fn versions_are_ordered_as_dpkg_orders_them() {
        let rising: [&[&[&str]]; 12] = [
            &[&["0"], &["1.0-1"], &["2.0-2"], &["10.0"]],
            &[&["2.2~rc-4"], &["2.2-1"]],
            &[&["1.0000-1", "1.0-1", "0:1.0-1", "1.00-01", "00:1.0-1"], &["1.0-2"]],
            &[&["1.0", "1.0-0", "1.0-00"], &["1.0-0.1"], &["1.0-1"]],
            &[&["0~~"], &["0~~a"], &["0~"], &["0", "00"], &["0a"], &["0aa"], &["0b"], &["0+"]],
            &[&["1.2.3"], &["1.2.3-1"], &["1.2.3+dfsg"], &["1.2.3.1"], &["1.2.4~"]],
            &[&["1.1-20080316-1"], &["1.1-20080727-1"]],
            &[&["99:0"], &["100:0~"]],
            &[&["9:9"], &["2147483647:0"]],
            &[&["1a"], &["1a1"], &["1aa"]],
            &[&["1.0-1"], &["1.0-1+b1"], &["1.0-1.1"]],
            &[&["1A"], &["1Z"], &["1a"], &["1+"], &["1."]],
        ];
        for line in rising {
            for (at, group) in line.iter().enumerate() {
                for (a, b) in group.iter().flat_map(|a| group.iter().map(move |b| (a, b))) {
                    check(a, Ordering::Equal, b);
                }
                let later = line.iter().skip(at + 1).flat_map(|group| group.iter());
                for (a, b) in later.flat_map(|b| group.iter().map(move |a| (a, b))) {
                    check(a, Ordering::Less, b);
                }
            }
        }
    }

    #[test]
    fn a_version_is_taken_apart_at_the_first_colon_and_the_last_hyphen() {
        let parts = |v: Version<'static>| (v.epoch(), v.upstream(), v.revision());
        assert_eq!(parts(version("1:2:3-4-5")), (1, "2:3-4", Some("5")));
        assert_eq!(parts(version("2024.1")), (0, "2024.1", None));
        assert_eq!(version("0:1.0").as_str(), "0:1.0");
    }

    #[test]
    fn what_dpkg_refuses_or_warns_about_is_refused() {
        let cases = [
            "",
            " 1",
            "1 ",
            "a1",
            "1:",
            ":1",
            "-1",
            "1-",
            "1.0-",
            "1-1-",
            "1:1-1:1",
            "0:",
            "x:1",
            "-1:1",
            "+1:1",
            "2147483648:1",
            "1 0",
            "1_0",
            "1.0-1_2",
            "1/2",
            "1-é",
            "1:-1",
            "1\0",
            "1\n",
            "1--",
        ];
        for text in cases {
            assert!(Version::parse(text).is_err(), "{text:?}");
        }
        for text in ["1:1:1", "2147483647:1", "1~", "1.0-a", "1.0-~", "0"] {
            assert!(Version::parse(text).is_ok(), "{text:?}");
        }
        let error = Version::parse("18446744073709551617:1").unwrap_err().to_string();
        assert_eq!(
            error,
            "\"18446744073709551617:1\" is not a Debian version: its epoch is greater than \
             2147483647"
        );
    }

    #[test]
    fn r12_a_million_digits_are_compared_by_value() {
        let nines = "9".repeat(1_000_000);
        let more = format!("1{}", "0".repeat(1_000_000));
        let padded = format!("{}{nines}", "0".repeat(1_000_000));
        check(&nines, Ordering::Less, &more);
        check(&padded, Ordering::Equal, &nines);
        let tildes = |count| format!("1{}", "~".repeat(count));
        check(&tildes(1_000_001), Ordering::Less, &tildes(1_000_000));
        assert!(Version::parse(&format!("{nines}:1")).is_err());
    }

    proptest::proptest! {
        #[test]
        fn r12_any_three_versions_are_in_one_order(
            texts in proptest::array::uniform3("([0-2]:)?[0-2][0-1a+.~-]{0,4}(-[01a+.~]{1,3})?"),
        ) {
            let mut three: Vec<_> = texts.iter().filter_map(|t| Version::parse(t).ok()).collect();
            three.sort();
            for (at, a) in three.iter().enumerate() {
                for b in three.iter().skip(at) {
                    proptest::prop_assert!(a.cmp(b).is_le() && b.cmp(a).is_ge(), "{} {}", a, b);
                    proptest::prop_assert_eq!(a == b, a.cmp(b).is_eq());
                }
            }
        }
    }
}
