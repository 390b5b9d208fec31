//! The top-level index of a repository: the text of `InRelease` or `Release`, already verified.
//!
//! In: the covered bytes. Out: names, dates and the files it vouches for, each with size and strong
//! digests. Format: <https://wiki.debian.org/DebianRepository/Format#A.22Release.22_files>.
//! MD5 and SHA-1 are passed over: a file that has nothing better is not vouched for.

use std::collections::{BTreeMap, BTreeSet};

use super::date;
use crate::digest::{self, Digest};
use crate::epoch::Epoch;
use crate::fetch::url::stays_below;

/// A release file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Release {
    pub suite: Option<String>,
    pub codename: Option<String>,
    pub components: Vec<String>,
    pub architectures: Vec<String>,
    /// When it was made.
    pub date: Epoch,
    /// After this moment it must not be used.
    pub valid_until: Option<Epoch>,
    /// Whether its indexes can be fetched under the name of their digest.
    pub by_hash: bool,
    /// The files it vouches for, by path below the suite.
    pub files: BTreeMap<String, Entry>,
    /// Files that it lists with weak digests only.
    pub weak_files: BTreeSet<String>,
    /// Whether packages for all architectures are in an index of their own, and only there.
    pub all_is_apart: bool,
    /// apt's priority of its packages: 500, unless it says that they are not automatic.
    pub pin: u16,
}

impl Release {
    /// Stands for a repository without a release file.
    pub(super) fn unknown() -> Self {
        Self {
            suite: None,
            codename: None,
            components: Vec::new(),
            architectures: Vec::new(),
            date: Epoch::default(),
            valid_until: None,
            by_hash: false,
            files: BTreeMap::new(),
            weak_files: BTreeSet::new(),
            all_is_apart: false,
            pin: 500,
        }
    }
}

impl Release {
    /// Whether a suite of this name is meant: by its suite, or by its code name. Where every pocket
    /// of a release has the release's code name (Ubuntu's `noble-updates` is `noble`), that name is
    /// the first pocket's alone.
    pub(super) fn is_called(&self, name: &str) -> bool {
        let suite = self.suite.as_deref();
        let is_pocket = suite
            .and_then(|suite| suite.strip_prefix(name))
            .is_some_and(|pocket| pocket.starts_with('-'));
        suite == Some(name) || self.codename.as_deref() == Some(name) && !is_pocket
    }
}

/// One file that a release vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Entry {
    /// Its size in bytes.
    pub size: u64,
    pub sha256: Option<Digest>,
    pub sha512: Option<[u8; 64]>,
}

/// Why a release file is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A line is neither a field nor its continuation.
    #[error("line {0} is not a field")]
    Line(usize),
    /// A field is there twice.
    #[error("the field {0} is there twice")]
    Twice(String),
    /// There is more than one paragraph.
    #[error("there is a second paragraph, at line {0}")]
    Paragraph(usize),
    /// A date is missing.
    #[error("it has no Date")]
    NoDate,
    /// A date cannot be read.
    #[error("its {field} is {value:?}, which is no date in UTC")]
    BadDate {
        /// `Date` or `Valid-Until`.
        field: &'static str,
        /// What stands there.
        value: String,
    },
    /// A line of a list of files is not `digest size path`.
    #[error("the entry {entry:?} of {field} is not a digest, a size and a path")]
    Entry {
        /// `SHA256` or `SHA512`.
        field: &'static str,
        /// The line.
        entry: String,
    },
    /// A path that leads out of the repository.
    #[error("the path {0:?} leads out of the repository")]
    Path(String),
    /// Two lists disagree about a file.
    #[error("two entries for {0:?} disagree")]
    Disagree(String),
}

/// Reads the text of a release file.
///
/// # Errors
/// The rule that is broken.
pub(super) fn parse(text: &str) -> Result<Release, Error> {
    let fields = fields(text)?;
    let words = |name: &str| -> Vec<String> {
        let value = fields.get(name).map(String::as_str).unwrap_or_default();
        value.split_ascii_whitespace().map(str::to_owned).collect()
    };
    let mut files = BTreeMap::new();
    for (field, set) in LISTS {
        for line in fields.get(&field.to_ascii_lowercase()).into_iter().flat_map(|v| v.lines()) {
            if !line.trim().is_empty() {
                add_entry(&mut files, field, (line, set))?;
            }
        }
    }
    let weak = ["md5sum", "sha1"].into_iter().filter_map(|name| fields.get(name));
    let weak_files = weak
        .flat_map(|list| list.lines().filter_map(|line| line.split_ascii_whitespace().nth(2)))
        .filter(|path| !files.contains_key(*path))
        .map(str::to_owned)
        .collect();
    let architectures = words("architectures");
    let says_yes = |name: &str| fields.get(name).is_some_and(|v| v.eq_ignore_ascii_case("yes"));
    let pin = match (says_yes("notautomatic"), says_yes("butautomaticupgrades")) {
        (false, _) => 500,
        (true, true) => 100,
        (true, false) => 1,
    };
    let both = fields.get("no-support-for-architecture-all").is_some_and(|v| v == "Packages");
    Ok(Release {
        pin,
        weak_files,
        all_is_apart: !both && architectures.iter().any(|name| name == "all"),
        suite: fields.get("suite").cloned(),
        codename: fields.get("codename").cloned(),
        components: words("components"),
        architectures,
        date: moment(&fields, "Date")?.ok_or(Error::NoDate)?,
        valid_until: moment(&fields, "Valid-Until")?,
        by_hash: says_yes("acquire-by-hash"),
        files,
    })
}

/// The single paragraph, by field name in lower case; continuation lines keep their line ends.
fn fields(text: &str) -> Result<BTreeMap<String, String>, Error> {
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    let mut current: Option<String> = None;
    let mut ended = false;
    for (number, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line)) {
        if line.trim().is_empty() {
            ended = true;
        } else if ended && !fields.is_empty() {
            return Err(Error::Paragraph(number));
        } else if line.starts_with([' ', '\t']) {
            let name = current.as_ref().ok_or(Error::Line(number))?;
            let value = fields.get_mut(name).expect("the current field is in the map");
            value.push('\n');
            value.push_str(line.trim());
        } else {
            let (name, value) = line.split_once(':').ok_or(Error::Line(number))?;
            let name = name.to_ascii_lowercase();
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
                return Err(Error::Line(number));
            }
            if fields.insert(name.clone(), value.trim().to_owned()).is_some() {
                return Err(Error::Twice(name));
            }
            current = Some(name);
        }
    }
    Ok(fields)
}

type Setter = fn(&mut Entry, &str) -> Option<bool>;

/// The lists that count. A setter answers whether the entry still agrees with what was known.
const LISTS: [(&str, Setter); 2] = [
    ("SHA256", |entry, digits| {
        let digest = digits.parse().ok()?;
        Some(*entry.sha256.get_or_insert(digest) == digest)
    }),
    ("SHA512", |entry, digits| {
        let mut digest = [0; 64];
        digest::parse_hex(digits, &mut digest)?;
        Some(*entry.sha512.get_or_insert(digest) == digest)
    }),
];

fn add_entry(
    files: &mut BTreeMap<String, Entry>,
    field: &'static str,
    (line, set): (&str, Setter),
) -> Result<(), Error> {
    let malformed = || Error::Entry { field, entry: line.chars().take(200).collect() };
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [digits, size, path] = words.as_slice() else { return Err(malformed()) };
    if !size.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(malformed());
    }
    let size = size.parse().map_err(|_| malformed())?;
    if !stays_below(path) {
        return Err(Error::Path((*path).to_owned()));
    }
    let known = files.entry((*path).to_owned()).or_insert(Entry { size, ..Entry::default() });
    let agrees = set(known, digits).ok_or_else(malformed)?;
    if agrees && known.size == size { Ok(()) } else { Err(Error::Disagree((*path).to_owned())) }
}

fn moment(fields: &BTreeMap<String, String>, name: &'static str) -> Result<Option<Epoch>, Error> {
    let Some(value) = fields.get(&name.to_ascii_lowercase()) else { return Ok(None) };
    let bad = || Error::BadDate { field: name, value: value.chars().take(80).collect() };
    date::parse(value).map(Some).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "Suite: stable\nCodename: trixie\nComponents: main contrib\n\
        Architectures: all amd64\nDate: Sat, 09 Aug 2025 09:16:30 UTC\nAcquire-By-Hash: yes\n";

    fn sha256(byte: char) -> String {
        byte.to_string().repeat(64)
    }

    #[test]
    fn names_dates_and_files_are_read() {
        let sums = format!("SHA256:\n {} 12 main/binary-amd64/Packages\n", sha256('a'));
        let text = format!("{HEAD}MD5Sum:\n {} 3 only-md5\n{sums}", "a".repeat(32));
        let release = parse(&text).unwrap();
        assert_eq!(release.suite.as_deref(), Some("stable"));
        assert_eq!(release.components, ["main", "contrib"]);
        assert_eq!(release.date.to_string(), "2025-08-09T09:16:30Z");
        assert!(release.by_hash && release.valid_until.is_none());
        assert_eq!(release.files.keys().collect::<Vec<_>>(), ["main/binary-amd64/Packages"]);
        assert_eq!(release.files["main/binary-amd64/Packages"].size, 12);
    }

    #[test]
    fn what_is_not_automatic_weighs_less() {
        let pin = |lines: &str| parse(&format!("{HEAD}{lines}")).unwrap().pin;
        assert_eq!(pin(""), 500);
        assert_eq!(pin("NotAutomatic: no\nButAutomaticUpgrades: yes\n"), 500);
        assert_eq!(pin("NotAutomatic: yes\nButAutomaticUpgrades: yes\n"), 100);
        assert_eq!(pin("NotAutomatic: yes\n"), 1);
    }

    #[test]
    fn r8_a_pocket_does_not_pass_for_its_release() {
        let called = |suite: &str, codename: &str, name: &str| {
            let text = HEAD.replace("stable", suite).replace("trixie", codename);
            parse(&text).unwrap().is_called(name)
        };
        assert!(called("stable", "trixie", "trixie") && called("stable", "trixie", "stable"));
        assert!(called("stable-updates", "trixie-updates", "trixie-updates"));
        assert!(
            called("noble", "noble", "noble") && called("noble-updates", "noble", "noble-updates")
        );
        assert!(!called("noble-updates", "noble", "noble"));
        assert!(!called("noble", "noble", "noble-updates"));
        assert!(!called("stable", "trixie", "bookworm"));
    }

    #[test]
    fn d4_a_release_without_a_proper_date_is_refused() {
        assert_eq!(parse("Suite: x\n"), Err(Error::NoDate));
        let bad = HEAD.replace("09 Aug", "31 Feb");
        assert!(matches!(parse(&bad), Err(Error::BadDate { field: "Date", .. })));
        let until = format!("{HEAD}Valid-Until: tomorrow\n");
        assert!(matches!(parse(&until), Err(Error::BadDate { field: "Valid-Until", .. })));
    }

    #[test]
    fn d6_malformed_or_contradicting_digests_are_refused() {
        let with = |lines: &str| parse(&format!("{HEAD}SHA256:\n{lines}")).map(|r| r.files.len());
        let (a, b) = (sha256('a'), sha256('b'));
        assert_eq!(with(&format!(" {a} 1 x\n {a} 1 x\n")), Ok(1));
        assert_eq!(with(&format!(" {a} 1 x\n {b} 1 x\n")), Err(Error::Disagree("x".into())));
        assert_eq!(with(&format!(" {a} 1 x\n {a} 2 x\n")), Err(Error::Disagree("x".into())));
        let long = "a".repeat(129);
        let two = format!(" {a} 1 x\nSHA512:\n {} 2 x\n", &long[..128]);
        assert_eq!(with(&two), Err(Error::Disagree("x".into())));
        for bad in [
            &a[1..],
            &format!("{a} -1 x"),
            &format!("{a} x"),
            &format!("{a} 99999999999999999999 x"),
        ] {
            assert!(matches!(with(&format!(" {bad}\n")), Err(Error::Entry { .. })), "{bad}");
        }
        let too_long = parse(&format!("{HEAD}SHA512:\n {long} 1 x\n"));
        assert!(matches!(too_long, Err(Error::Entry { field: "SHA512", .. })));
    }

    #[test]
    fn r11_paths_that_lead_out_are_refused() {
        for good in ["main/binary-amd64/Packages.xz", "Packages", "pool/a/a+b/a_1~2.deb", "a:b"] {
            assert!(stays_below(good), "{good}");
        }
        for bad in [
            "",
            "/etc/x",
            "../x",
            "a/../x",
            "a/./b",
            "a//b",
            "http://e/x",
            "a\nb",
            "%2e%2e/x",
            "a b",
            "a?b",
            "a#b",
            "a\\b",
            "é",
        ] {
            assert!(!stays_below(bad), "{bad:?}");
        }
        let text = format!("{HEAD}SHA256:\n {} 1 ../../x\n", sha256('a'));
        assert_eq!(parse(&text), Err(Error::Path("../../x".into())));
    }

    #[test]
    fn a_release_is_one_paragraph_and_no_field_is_repeated() {
        assert_eq!(parse(&format!("{HEAD}\nSuite: y\n")), Err(Error::Paragraph(8)));
        assert_eq!(parse(&format!("{HEAD}suite: y\n")), Err(Error::Twice("suite".into())));
        assert_eq!(parse(" x\n"), Err(Error::Line(1)));
        assert_eq!(parse("nonsense\n"), Err(Error::Line(1)));
    }
}
