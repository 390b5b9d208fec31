//! Versions of rpm packages: epoch, version and release, and their order.
//!
//! In: a text such as `1:2.34-5.el9`, or its parts as indexes and headers hold them; out: values with
//! a total order. Numbers of any length are compared without being computed, so that no version is
//! too long. Specification: rpm-version(7), and rpm's own vectors, which a test goes through.

use std::cmp::Ordering;
use std::fmt;

/// A version. Equal ones may be written differently: `1.0` and `1.00`.
#[derive(Debug, Clone, Copy)]
pub struct Version<'a> {
    /// The epoch's digits; empty for the epoch 0.
    pub epoch: &'a str,
    /// The version proper.
    pub version: &'a str,
    /// The release; packages always have one, relations need not.
    pub release: Option<&'a str>,
}

/// Why a text is not a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a version (printable, no blank, an epoch of digits)")]
pub struct BadVersion(String);

impl<'a> Version<'a> {
    /// Reads `[EPOCH:]VERSION[-RELEASE]`.
    ///
    /// # Errors
    /// [`BadVersion`] for an empty text, for what is not printable ASCII, and for an epoch that is no
    /// number.
    pub fn parse(text: &'a str) -> Result<Self, BadVersion> {
        let bad = || BadVersion(text.chars().take(80).collect());
        let (epoch, rest) = text.split_once(':').unwrap_or(("", text));
        let (version, release) = match rest.rsplit_once('-') {
            Some((version, release)) => (version, Some(release)),
            None => (rest, None),
        };
        let parsed = Self { epoch: without_zeros(epoch), version, release };
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
        let is_sound = printable && !version.is_empty() && is_number(epoch);
        if is_sound { Ok(parsed) } else { Err(bad()) }
    }

    /// Puts a package's version together from its parts.
    ///
    /// # Errors
    /// As [`Version::parse`]; also for a blank or a hyphen within a part.
    pub fn of_parts(
        epoch: &'a str,
        version: &'a str,
        release: &'a str,
    ) -> Result<Self, BadVersion> {
        let whole = |text: &str| {
            let good = |byte: u8| byte.is_ascii_graphic() && byte != b'-' && byte != b':';
            !text.is_empty() && text.bytes().all(good)
        };
        if whole(version) && whole(release) && is_number(epoch) {
            return Ok(Self { epoch: without_zeros(epoch), version, release: Some(release) });
        }
        Err(BadVersion(format!("{epoch}:{version}-{release}").chars().take(80).collect()))
    }

    /// Compares as rpm does where one of both may lack a release: then releases do not count.
    pub fn compare(&self, other: &Self) -> Ordering {
        let by_epoch = numbers(self.epoch, other.epoch);
        let by_version = by_epoch.then_with(|| segments(self.version, other.version));
        by_version.then_with(|| match (self.release, other.release) {
            (Some(own), Some(other)) => segments(own, other),
            _ => Ordering::Equal,
        })
    }
}

/// Whether a text is an epoch: digits or nothing.
fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn without_zeros(digits: &str) -> &str {
    digits.trim_start_matches('0')
}

/// Compares numbers by their digits.
fn numbers(one: &str, other: &str) -> Ordering {
    let (one, other) = (without_zeros(one), without_zeros(other));
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

/// Compares two versions or two releases: segments of digits and of letters in turn. A tilde sorts
/// before the end, a caret after it and before anything else.
pub fn segments(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one, other);
    loop {
        one = skip_separators(one);
        other = skip_separators(other);
        match (one.strip_prefix('~'), other.strip_prefix('~')) {
            (Some(rest), Some(others)) => {
                (one, other) = (rest, others);
                continue;
            }
            (Some(_), None) => return Ordering::Less,
            (None, Some(_)) => return Ordering::Greater,
            (None, None) => {}
        }
        match (one.strip_prefix('^'), other.strip_prefix('^')) {
            (Some(rest), Some(others)) => {
                (one, other) = (rest, others);
                continue;
            }
            (Some(_), None) if other.is_empty() => return Ordering::Greater,
            (Some(_), None) => return Ordering::Less,
            (None, Some(_)) if one.is_empty() => return Ordering::Less,
            (None, Some(_)) => return Ordering::Greater,
            (None, None) => {}
        }
        if one.is_empty() || other.is_empty() {
            return one.len().cmp(&other.len());
        }
        let by_segment = next_segments(&mut one, &mut other);
        if by_segment != Ordering::Equal {
            return by_segment;
        }
    }
}

/// Takes a segment off both, of the kind with which the first begins, and compares them. Digits are
/// later than letters.
fn next_segments(one: &mut &str, other: &mut &str) -> Ordering {
    let is_number = one.starts_with(|letter: char| letter.is_ascii_digit());
    let kind = |letter: char| match is_number {
        true => letter.is_ascii_digit(),
        false => letter.is_ascii_alphabetic(),
    };
    let (first, rest) = split(one, kind);
    let (second, others) = split(other, kind);
    (*one, *other) = (rest, others);
    match (second.is_empty(), is_number) {
        (true, true) => Ordering::Greater,
        (true, false) => Ordering::Less,
        (false, true) => numbers(first, second),
        (false, false) => first.cmp(second),
    }
}

fn split(text: &str, kind: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|letter| !kind(letter)).unwrap_or(text.len()))
}

fn skip_separators(text: &str) -> &str {
    text.trim_start_matches(|letter: char| {
        !letter.is_ascii_alphanumeric() && !"~^".contains(letter)
    })
}

impl PartialEq for Version<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version<'_> {}

impl PartialOrd for Version<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version<'_> {
    /// A total order: one without a release comes before all with one.
    fn cmp(&self, other: &Self) -> Ordering {
        self.compare(other).then_with(|| self.release.is_some().cmp(&other.release.is_some()))
    }
}

impl fmt::Display for Version<'_> {
    /// As relations write it, without an epoch of 0.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.epoch.is_empty() {
            write!(f, "{}:", self.epoch)?;
        }
        f.write_str(self.version)?;
        self.release.map_or(Ok(()), |release| write!(f, "-{release}"))
    }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test may end with a panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn versions_sort_as_rpm_sorts_its_own_vectors() {
        let Some(folder) = crate::testing::data("conformance/rpm-tests") else { return };
        let table = fs_err::read_to_string(folder.join("rpmvercmp.tsv")).unwrap();
        let mut count = 0;
        for line in table.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let fields: Vec<_> = line.split('\t').collect();
            let expected = match fields[2] {
                "-1" => Ordering::Less,
                "0" => Ordering::Equal,
                "1" => Ordering::Greater,
                _ => continue,
            };
            assert_eq!(segments(fields[0], fields[1]), expected, "{line}");
            count += 1;
        }
        assert!(count > 50, "{count} vectors");
    }

    #[test]
    fn epochs_come_first_and_releases_count_where_both_have_one() {
        let parse = |text| Version::parse(text).unwrap();
        for (one, other, expected) in [
            ("1:1", "2", Ordering::Greater),
            ("0:1-1", "1-1", Ordering::Equal),
            ("1-1", "1-2", Ordering::Less),
            ("1", "1-2", Ordering::Equal),
            ("1~rc1-1", "1-1", Ordering::Less),
            ("1^git1-1", "1-1", Ordering::Greater),
            ("1^git1", "1.1", Ordering::Less),
            ("99999999999999999999999:1", "99999999999999999999998:9", Ordering::Greater),
        ] {
            assert_eq!(parse(one).compare(&parse(other)), expected, "{one} {other}");
            assert_eq!(parse(other).compare(&parse(one)), expected.reverse(), "{other} {one}");
        }
        assert_eq!(parse("01:2-3").to_string(), "1:2-3");
        for bad in ["", "a:1", "1 2", ":", "1:", "-1", "é"] {
            assert!(Version::parse(bad).is_err(), "{bad}");
        }
        assert!(
            Version::of_parts("", "1-2", "3").is_err() && Version::of_parts("1", "1", "2").is_ok()
        );
    }

    proptest! {
        #[test]
        fn r12_any_three_versions_are_in_one_order(
            a in "[0-9a-zA-Z~^._+]{1,12}", b in "[0-9a-zA-Z~^._+]{1,12}", c in "[0-9a-zA-Z~^._+]{1,12}",
        ) {
            prop_assert_eq!(segments(&a, &b), segments(&b, &a).reverse());
            if segments(&a, &b) != Ordering::Greater && segments(&b, &c) != Ordering::Greater {
                prop_assert_ne!(segments(&a, &c), Ordering::Greater);
            }
        }
    }

    #[test]
    fn r12_a_version_of_a_million_digits_is_compared_at_once() {
        let long = "9".repeat(1_000_000);
        let longer = format!("{long}9");
        assert_eq!(segments(&long, &longer), Ordering::Less);
        let tildes = "~".repeat(1_000_000);
        assert_eq!(segments(&tildes, &format!("{tildes}1")), Ordering::Less);
    }
}
