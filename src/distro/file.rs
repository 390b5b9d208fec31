//! One data file: TOML to a [`Distro`], with everything that is wrong in it by line and column.
//!
//! The fields of [`Distro`] are the format. A file is first held to their types, then to what must hold
//! between them: names are unambiguous, each architecture has a mirror and a suite, keys are whole
//! fingerprints, and what only one family knows is not said in another.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{DatabaseFormat, Distro, Family, Mirror, Release, Signed, Suite};
use crate::document;
use crate::package::PackageName;

/// A data file that was read from disk.
#[derive(Debug, Clone, Copy)]
pub struct DataFile<'a> {
    /// Its path, for messages.
    pub path: &'a Path,
    /// What it says.
    pub text: &'a str,
}

/// One thing that is wrong with a data file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flaw {
    /// The file.
    pub path: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1, counted in characters.
    pub column: usize,
    /// What is wrong, in a sentence without a full stop.
    pub message: String,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, column, message } = self;
        write!(f, "{}:{line}:{column}: {message}", path.display())
    }
}

/// Everything that is wrong with data files; never empty when it is an error.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Flaws(Vec<Flaw>);

impl Flaws {
    pub(super) fn add(&mut self, file: DataFile<'_>, offset: usize, message: String) {
        let (line, column) = document::position(file.text, offset);
        let flaw = Flaw { path: file.path.to_owned(), line, column, message };
        if !self.0.contains(&flaw) {
            self.0.push(flaw);
        }
    }

    pub(super) fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The flaws, in the order of the files' lines.
    pub fn iter(&self) -> impl Iterator<Item = &Flaw> {
        let mut sorted: Vec<&Flaw> = self.0.iter().collect();
        sorted.sort();
        sorted.into_iter()
    }
}

impl fmt::Display for Flaws {
    /// A line for each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Flaws {}

/// Reads a data file and checks it.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read(file: DataFile<'_>) -> Result<Distro, Flaws> {
    let mut flaws = Flaws::default();
    let (table, slips) = document::read(file.text, &schemars::schema_for!(Distro).to_value());
    for slip in slips {
        flaws.add(file, slip.span.start, slip.message);
    }
    let places = DeTable::parse_recoverable(file.text).0;
    match Distro::deserialize(toml::de::Deserializer::from(table)) {
        Ok(distro) => {
            let mut check = Check { distro: &distro, found: Vec::new() };
            check.distro();
            for (place, message) in check.found {
                flaws.add(file, span_of(&places, &place).start, message);
            }
            if flaws.is_empty() { Ok(distro) } else { Err(flaws) }
        }
        Err(error) => {
            // What was taken out is missing now; that was said already.
            if flaws.is_empty() {
                let offset = error.span().unwrap_or_default().start;
                flaws.add(file, offset, error.message().to_owned());
            }
            Err(flaws)
        }
    }
}

/// Where a value stands: names of keys and numbers of items, from the outside in.
type Place = Vec<String>;

/// The bytes of the value at a place, or of what is nearest to it on the way there.
fn span_of(table: &Spanned<DeTable<'_>>, place: &[String]) -> Range<usize> {
    let mut span = table.span();
    let Some((first, rest)) = place.split_first() else { return span };
    let mut value = table.get_ref().get(first.as_str());
    let mut rest = rest.iter();
    while let Some(found) = value {
        span = found.span();
        let Some(step) = rest.next() else { break };
        value = match found.get_ref() {
            DeValue::Table(table) => table.get(step.as_str()),
            DeValue::Array(items) => step.parse().ok().and_then(|at: usize| items.get(at)),
            _ => None,
        };
    }
    span
}

struct Check<'d> {
    distro: &'d Distro,
    found: Vec<(Place, String)>,
}

impl Check<'_> {
    fn note(&mut self, place: &[&str], message: impl Into<String>) {
        self.found.push((place.iter().map(ToString::to_string).collect(), message.into()));
    }

    fn distro(&mut self) {
        let distro = self.distro;
        for (number, name) in std::iter::once(&distro.name).chain(&distro.aliases).enumerate() {
            let clean = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            if name.is_empty() || !name.bytes().all(clean) {
                let at = number.wrapping_sub(1).to_string();
                let place: &[&str] = if number == 0 { &["name"] } else { &["aliases", &at] };
                self.note(place, format!("{name:?} is not a word of small letters and digits"));
            }
        }
        if distro.release(&distro.default_release).is_err() {
            let message = format!("there is no release {:?} below", distro.default_release);
            self.note(&["default_release"], message);
        }
        if distro.family != Family::Rpm && distro.signed != Signed::Metadata {
            self.note(&["signed"], "only the family \"rpm\" has this key");
        }
        for (number, address) in distro.key_addresses.iter().enumerate() {
            self.https(&["key_addresses", &number.to_string()], address);
        }
        self.mirrors(&[], &distro.mirrors);
        self.packages();
        let mut seen = Vec::new();
        for (number, release) in distro.releases.iter().enumerate() {
            let number = number.to_string();
            for name in release.names() {
                if seen.contains(&name) && name != "rolling" {
                    let message = format!("{name:?} is the name of another release, too");
                    self.note(&["releases", &number], message);
                }
            }
            let own: Vec<&str> = release.names().collect();
            seen.extend(own);
            self.release(&number, release);
        }
    }

    fn mirrors(&mut self, before: &[&str], mirrors: &[Mirror]) {
        for (number, mirror) in mirrors.iter().enumerate() {
            let number = number.to_string();
            let addresses = [("url", Some(&mirror.url)), ("security", mirror.security.as_ref())];
            for (key, address) in addresses {
                let known = ["https://", "http://", "file:///"];
                let Some(address) = address else { continue };
                if !known.iter().any(|scheme| address.starts_with(scheme)) {
                    let place = [before, &["mirrors", &number, key]].concat();
                    let message = format!("{address:?} is no address of https, http or file");
                    self.note(&place, message);
                }
            }
        }
    }

    fn https(&mut self, place: &[&str], address: &str) {
        if !address.starts_with("https://") {
            self.note(place, format!("{address:?} is no address of https, and so proves nothing"));
        }
    }

    fn packages(&mut self) {
        let packages = &self.distro.packages;
        let lists = [
            ("base", &packages.base),
            ("systemd", &packages.systemd),
            ("seccomp", &packages.seccomp),
            ("selinux", &packages.selinux),
        ];
        for (key, names) in lists {
            for (number, name) in names.iter().enumerate() {
                if let Err(error) = name.parse::<PackageName>() {
                    self.note(&["packages", key, &number.to_string()], error.to_string());
                }
            }
        }
        for (architecture, names) in &packages.architecture {
            for name in names {
                if let Err(error) = name.parse::<PackageName>() {
                    let architecture = architecture.kernel_name();
                    self.note(&["packages", "architecture", architecture], error.to_string());
                }
            }
        }
    }

    fn release(&mut self, number: &str, release: &Release) {
        let distro = self.distro;
        self.mirrors(&["releases", number], &release.mirrors);
        self.keys(number, release);
        for (at, architecture) in release.architectures.iter().enumerate() {
            let at = at.to_string();
            let place = ["releases", number, "architectures", &at];
            if distro.mirrors_for(release, *architecture).next().is_none() {
                self.note(&place, format!("no mirror holds {architecture}"));
            }
            if release.suites_for(*architecture).next().is_none() {
                self.note(&place, format!("no suite covers {architecture}"));
            }
        }
        if release.suites.first().is_none_or(|suite| suite.security || suite.updates) {
            self.note(
                &["releases", number, "suites"],
                "the first suite must be the release itself",
            );
        }
        for (at, suite) in release.suites.iter().enumerate() {
            self.suite(&["releases", number, "suites", &at.to_string()], suite);
        }
        if distro.family != Family::Rpm {
            let only = [
                ("database", release.database.is_some()),
                ("database_format", release.database_format != DatabaseFormat::Sqlite),
                ("streams", !release.streams.is_empty()),
                ("exclude", !release.exclude.is_empty()),
            ];
            for (key, _) in only.into_iter().filter(|(_, is_said)| *is_said) {
                self.note(&["releases", number, key], "only the family \"rpm\" has this key");
            }
        }
        for (at, stream) in release.streams.iter().enumerate() {
            if stream.split(':').filter(|part| !part.is_empty()).count() != 2 {
                let message = format!("{stream:?} is not the name of a module and its stream");
                self.note(&["releases", number, "streams", &at.to_string()], message);
            }
        }
    }

    fn keys(&mut self, number: &str, release: &Release) {
        if release.keys.is_empty() && self.distro.signed != Signed::Nothing {
            self.note(
                &["releases", number, "keys"],
                "no key is pinned, so nothing can be believed",
            );
        }
        for (at, key) in release.keys.iter().enumerate() {
            let digits = |text: &str, length: &[usize], is_digit: fn(u8) -> bool| {
                length.contains(&text.len()) && text.bytes().all(is_digit)
            };
            let small = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
            let large = |b: u8| b.is_ascii_digit() || (b'A'..=b'F').contains(&b);
            let (holds, rule) = match self.distro.family {
                Family::Deb | Family::Rpm => (
                    digits(key, &[40, 64], large),
                    "a whole fingerprint: 40 or 64 digits, hexadecimal, in capitals",
                ),
                Family::Apk => {
                    let words: Vec<&str> = key.split(' ').collect();
                    let whole =
                        matches!(words.as_slice(), [_, _, digest] if digits(digest, &[64], small));
                    (whole, "an architecture, the name of a key's file and its SHA-256")
                }
            };
            if !holds {
                let message = format!("{key:?} is not {rule}");
                self.note(&["releases", number, "keys", &at.to_string()], message);
            }
        }
    }

    fn suite(&mut self, place: &[&str], suite: &Suite) {
        let at = |key| [place, &[key]].concat();
        let leads_away =
            suite.name.starts_with('/') || suite.name.split('/').any(|part| part == "..");
        if suite.name.is_empty() || leads_away {
            let message = format!("{:?} is not a place below a mirror", suite.name);
            self.note(&at("name"), message);
        }
        let lists = [("metalink", &suite.metalink), ("mirrorlist", &suite.mirrorlist)];
        for (key, address) in lists {
            let Some(address) = address else { continue };
            self.https(&at(key), address);
            self.variables(&at(key), address);
        }
        if self.distro.family == Family::Rpm {
            self.variables(&at("name"), &suite.name);
        } else if suite.metalink.is_some() || suite.mirrorlist.is_some() || suite.updates {
            self.note(
                place,
                "only the family \"rpm\" has the keys metalink, mirrorlist and updates",
            );
        }
    }

    /// Each `$` must begin a variable that is known.
    fn variables(&mut self, place: &[&str], text: &str) {
        for rest in text.split('$').skip(1) {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let name = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
            if !["arch", "basearch", "releasever"].contains(&name) {
                let known = "$arch, $basearch and $releasever";
                self.note(place, format!("the variable ${name} is unknown; there are {known}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Catalogue;
    use super::*;

    fn flaws(text: &str) -> Vec<String> {
        let file = DataFile { path: Path::new("x.toml"), text };
        let flaws = read(file).err().unwrap_or_default();
        flaws.iter().map(|flaw| flaw.to_string().replacen("x.toml:", "", 1)).collect()
    }

    const GOOD: &str = "\
name = \"mine\"
title = \"Mine\"
family = \"rpm\"
default_release = \"1\"
components = []
mirrors = [{ url = \"https://m\" }]
packages = { base = [\"bash\"], systemd = [], seccomp = [] }

[[releases]]
codename = \"1\"
version = \"1\"
architectures = [\"x86_64\"]
merged_usr = true
suites = [{ name = \"os/$basearch\" }]
keys = [\"BC528686B50D79E339D3721CEB3E94ADBE1229CF\"]
";

    #[test]
    fn every_data_file_that_is_compiled_in_holds_to_the_rules() {
        for file in Catalogue::files() {
            assert_eq!(read(file).err().map(|flaws| flaws.to_string()), None);
        }
    }

    #[test]
    fn all_mistakes_are_shown_at_once_with_line_and_column() {
        assert_eq!(flaws(GOOD), Vec::<String>::new());
        let bad = GOOD
            .replace("\"https://m\"", "\"ftp://m\"")
            .replace("\"1\"\ncomp", "\"2\"\ncomp")
            .replace("[\"bash\"]", "[\"bash\", \"../x\"]")
            .replace("$basearch", "$arc")
            .replace("BC52", "BC5");
        let expected = [
            "4:19: there is no release \"2\" below",
            "6:20: \"ftp://m\" is no address of https, http or file",
            "7:30: ",
            "14:20: the variable $arc is unknown; there are $arch, $basearch and $releasever",
            "15:9: \"BC58686B50D79E339D3721CEB3E94ADBE1229CF\" is not a whole fingerprint",
        ];
        let found = flaws(&bad);
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{found} {expected}");
        }
    }

    #[test]
    fn unknown_keys_wrong_types_and_missing_keys_are_shown_together() {
        let bad = GOOD
            .replace("title = \"Mine\"", "titel = \"Mine\"")
            .replace("family = \"rpm\"", "family = \"rmp\"")
            .replace("merged_usr = true", "merged_usr = 1");
        let expected = [
            "1:1: the key \"title\" is missing",
            "2:1: the key \"titel\" is unknown (did you mean \"title\"?)",
            "3:10: \"rmp\" is not one of deb, apk, rpm",
            "13:14: expected true or false, found a number",
        ];
        assert_eq!(flaws(&bad), expected);
        assert!(flaws("name = ")[0].starts_with("1:"));
        assert!(!flaws("").is_empty());
    }

    #[test]
    fn what_proves_nothing_and_what_another_family_says_is_no_part_of_a_file() {
        for (from, to, words) in [
            ("os/$basearch\"", "os\", metalink = \"http://l\"", "proves nothing"),
            ("os/$basearch", "../os", "not a place below"),
            ("[\"BC528686B50D79E339D3721CEB3E94ADBE1229CF\"]", "[]", "no key is pinned"),
            ("family = \"rpm\"", "family = \"deb\"\nsigned = \"packages\"", "only the family"),
            ("merged_usr", "streams = [\"perl\"]\nmerged_usr", "not the name of a module"),
            ("[\"x86_64\"]", "[\"x86_64\", \"vax\"]", "is not one of x86_64"),
            ("os/$basearch\"", "os\", architectures = [\"s390x\"]", "no suite covers x86_64"),
        ] {
            let found = flaws(&GOOD.replace(from, to));
            assert!(found.iter().any(|flaw| flaw.contains(words)), "{words}: {found:?}");
        }
    }

    #[test]
    fn a_file_adds_a_distribution_or_takes_the_place_of_one_and_takes_no_other_s_name() {
        let with = |text: &str| {
            let file = DataFile { path: Path::new("x.toml"), text };
            Catalogue::default().with(&[file])
        };
        let count = Catalogue::default().all().len();
        let more = with(GOOD).unwrap();
        assert_eq!(
            (more.all().len(), more.find("mine").unwrap().title.as_str()),
            (count + 1, "Mine")
        );
        let own = with(&GOOD.replace("\"mine\"", "\"fedora\"")).unwrap();
        assert_eq!((own.all().len(), own.find("fedora").unwrap().title.as_str()), (count, "Mine"));
        let taken = with(&GOOD.replace("title", "aliases = [\"suse\"]\ntitle")).unwrap_err();
        assert_eq!(taken.to_string(), "x.toml:1:1: \"suse\" is a name of openSUSE, too");
    }
}
