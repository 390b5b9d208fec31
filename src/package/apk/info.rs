//! What is known of a package: one stanza of an index or of the database, a letter and a value a
//! line; and the same facts in a package's own `.PKGINFO`.
//!
//! ```text
//! C:Q1EyN5AdpAOBJWKMR89pp/C66o+OE=
//! P:musl
//! V:1.2.4_git20230717-r4
//! …
//! ```
//!
//! A stanza comes in, an [`Info`] that borrows it goes out, and can be written again as apk does it in
//! its database. A `.PKGINFO` becomes a stanza first, so that there is one reader. Specification:
//! apk-package(5), apk-v2(5).

use std::fmt::Write as _;

use super::checksum::{BadChecksum, Checksum};
use super::relation::{self, BadRelation, Relation};
use super::version::{BadVersion, Version};
use crate::package::PackageName;

/// What is known of a package. Fields that are missing are empty or 0.
#[derive(Debug, Clone)]
pub struct Info<'a> {
    /// Its identity (`C`).
    pub identity: Checksum,
    /// Its name, well-formed (`P`).
    pub name: &'a str,
    /// Its version (`V`).
    pub version: Version<'a>,
    /// Its architecture: `x86_64`, `noarch` (`A`).
    pub architecture: &'a str,
    /// Bytes of its file (`S`).
    pub size: u64,
    /// Bytes of its files once installed (`I`). Without any, apk does not even look for its file.
    pub installed_size: u64,
    /// A line on what it is (`T`).
    pub description: &'a str,
    /// Its home page (`U`).
    pub url: &'a str,
    /// Its licence (`L`).
    pub license: &'a str,
    /// The source package that it was built from (`o`).
    pub origin: &'a str,
    /// Who takes care of it (`m`).
    pub maintainer: &'a str,
    /// When it was built, in seconds since 1970 (`t`).
    pub build_time: u64,
    /// The commit that it was built from (`c`).
    pub commit: &'a str,
    /// How much it is preferred among those that provide a name without a version (`k`).
    pub provider_priority: u64,
    /// What it needs or refuses (`D`).
    pub depends: Vec<Relation<'a>>,
    /// What it is besides itself (`p`).
    pub provides: Vec<Relation<'a>>,
    /// When all of this is there, it comes along (`i`).
    pub install_if: Vec<Relation<'a>>,
    /// Whose files it may overwrite (`r`).
    pub replaces: Vec<Relation<'a>>,
    /// Whose file wins among packages that replace each other (`q`).
    pub replaces_priority: u64,
    /// Whether it uses what this program does not know, so that it cannot be installed.
    pub unsupported: bool,
}

/// The letters that stand once in a stanza and mean something here; others are passed over.
const LETTERS: &str = "CPVASITULomtckDpirq";

impl<'a> Info<'a> {
    /// Reads a stanza.
    ///
    /// # Errors
    /// [`Error`] for a broken line, a repeated or missing field, or a value that cannot be.
    pub fn parse(stanza: &'a str) -> Result<Self, Error> {
        let fields = Fields::split(stanza)?;
        let name = fields.require('P')?;
        if !PackageName::is_well_formed(name) {
            return Err(Error::Name { name: shortened(name) });
        }
        let wrong = |source| Error::Version { name: name.to_owned(), source };
        let relations = |letter| {
            let wrong = |source| Error::Relation { name: name.to_owned(), source };
            relation::parse(fields.text(letter)).map_err(wrong)
        };
        let identity = fields.require('C')?.parse();
        Ok(Self {
            identity: identity
                .map_err(|source| Error::Identity { name: name.to_owned(), source })?,
            name,
            version: Version::parse(fields.require('V')?).map_err(wrong)?,
            architecture: fields.text('A'),
            size: fields.number('S')?,
            installed_size: fields.number('I')?,
            description: fields.text('T'),
            url: fields.text('U'),
            license: fields.text('L'),
            origin: fields.text('o'),
            maintainer: fields.text('m'),
            build_time: fields.number('t')?,
            commit: fields.text('c'),
            provider_priority: fields.number('k')?,
            depends: relations('D')?,
            provides: relations('p')?,
            install_if: relations('i')?,
            replaces: relations('r')?,
            replaces_priority: fields.number('q')?,
            unsupported: fields.unsupported,
        })
    }

    /// Writes the stanza as it stands in the database, without the files that follow there.
    pub fn to_stanza(&self) -> String {
        let mut text = format!("C:{}\nP:{}\nV:{}\n", self.identity, self.name, self.version);
        push_if(&mut text, 'A', self.architecture);
        push(&mut text, 'S', &self.size.to_string());
        push(&mut text, 'I', &self.installed_size.to_string());
        push(&mut text, 'T', self.description);
        push(&mut text, 'U', self.url);
        push(&mut text, 'L', self.license);
        push_if(&mut text, 'o', self.origin);
        push_if(&mut text, 'm', self.maintainer);
        push_number(&mut text, 't', self.build_time);
        push_if(&mut text, 'c', self.commit);
        push_number(&mut text, 'k', self.provider_priority);
        push_relations(&mut text, 'D', &self.depends);
        push_relations(&mut text, 'p', &self.provides);
        push_relations(&mut text, 'i', &self.install_if);
        push_relations(&mut text, 'r', &self.replaces);
        push_number(&mut text, 'q', self.replaces_priority);
        text
    }
}

fn push(text: &mut String, letter: char, value: &str) {
    writeln!(text, "{letter}:{value}").expect("a string takes all");
}

fn push_if(text: &mut String, letter: char, value: &str) {
    if !value.is_empty() {
        push(text, letter, value);
    }
}

fn push_number(text: &mut String, letter: char, value: u64) {
    if value != 0 {
        push(text, letter, &value.to_string());
    }
}

fn push_relations(text: &mut String, letter: char, relations: &[Relation<'_>]) {
    let words: Vec<_> = relations.iter().map(ToString::to_string).collect();
    push_if(text, letter, &words.join(" "));
}

/// The lines of a stanza.
struct Fields<'a> {
    lines: Vec<(char, &'a str)>,
    unsupported: bool,
}

impl<'a> Fields<'a> {
    fn split(stanza: &'a str) -> Result<Self, Error> {
        let mut fields = Self { lines: Vec::with_capacity(16), unsupported: false };
        for line in stanza.lines() {
            let (letter, value) = line.split_once(':').ok_or_else(|| broken(line))?;
            let mut letters = letter.chars();
            let (Some(letter), None) = (letters.next(), letters.next()) else {
                return Err(broken(line));
            };
            if !letter.is_ascii_alphabetic() || value.contains(is_control) {
                return Err(broken(line));
            }
            if !LETTERS.contains(letter) {
                // apk's own rule: a capital letter is something that must be understood.
                fields.unsupported |= letter.is_ascii_uppercase();
                continue;
            }
            if fields.lines.iter().any(|(known, _)| *known == letter) {
                return Err(Error::Repeated { letter });
            }
            fields.lines.push((letter, value));
        }
        Ok(fields)
    }

    fn text(&self, letter: char) -> &'a str {
        self.lines.iter().find(|(known, _)| *known == letter).map_or("", |(_, value)| value)
    }

    fn require(&self, letter: char) -> Result<&'a str, Error> {
        match self.text(letter) {
            "" => Err(Error::Missing { letter }),
            text => Ok(text),
        }
    }

    fn number(&self, letter: char) -> Result<u64, Error> {
        let text = self.text(letter);
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        match text {
            "" => Ok(0),
            _ if digits => text.parse().map_err(|_| Error::Number { letter }),
            _ => Err(Error::Number { letter }),
        }
    }
}

/// What would break a line, or fool a terminal.
pub(super) fn is_control(character: char) -> bool {
    character.is_control()
}

fn broken(line: &str) -> Error {
    Error::Line { line: shortened(line) }
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

/// What a `.PKGINFO` says: a stanza, and what no index holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageInfo {
    /// The stanza as it would stand in the database.
    pub stanza: String,
    /// SHA-256 of the compressed files, in hexadecimal.
    pub data_digest: Option<String>,
    /// The directories that its trigger wants to hear of.
    pub triggers: Vec<String>,
}

/// The lines of a `.PKGINFO` and their letters. Those of relations may stand several times.
const NAMES: [(&str, char); 17] = [
    ("pkgname", 'P'),
    ("pkgver", 'V'),
    ("arch", 'A'),
    ("size", 'I'),
    ("pkgdesc", 'T'),
    ("url", 'U'),
    ("license", 'L'),
    ("origin", 'o'),
    ("maintainer", 'm'),
    ("builddate", 't'),
    ("commit", 'c'),
    ("provider_priority", 'k'),
    ("depend", 'D'),
    ("provides", 'p'),
    ("install_if", 'i'),
    ("replaces", 'r'),
    ("replaces_priority", 'q'),
];

/// Letters whose lines are joined; of others, only one line may stand there.
const JOINED: &str = "Dpir";

impl PackageInfo {
    /// Reads a `.PKGINFO`. The identity and the size of the package are not in it.
    ///
    /// # Errors
    /// [`Error`] for what is not UTF-8, a repeated field, or a value with a control character.
    pub fn parse(bytes: &[u8], identity: Checksum, size: u64) -> Result<Self, Error> {
        let text = std::str::from_utf8(bytes).map_err(|_| Error::NotText)?;
        let mut values: Vec<(char, String)> = Vec::new();
        let mut info = Self { stanza: String::new(), data_digest: None, triggers: Vec::new() };
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, value)) = line.split_once(" = ") else { continue };
            if value.contains(is_control) {
                return Err(broken(line));
            }
            match NAMES.iter().find(|(known, _)| *known == name) {
                Some((_, letter)) => add(&mut values, *letter, value)?,
                None => info.note(name, value)?,
            }
        }
        values.push(('C', identity.to_string()));
        values.push(('S', size.to_string()));
        let lines = values.iter().map(|(letter, value)| format!("{letter}:{value}\n"));
        let raw: String = lines.collect();
        info.stanza = Info::parse(&raw)?.to_stanza();
        Ok(info)
    }

    /// Notes a line that no stanza holds.
    fn note(&mut self, name: &str, value: &str) -> Result<(), Error> {
        match name {
            "datahash" if self.data_digest.is_some() => Err(Error::TwoDataDigests),
            "datahash" => {
                self.data_digest = Some(value.to_owned());
                Ok(())
            }
            "triggers" => {
                self.triggers.extend(value.split_ascii_whitespace().map(str::to_owned));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn add(values: &mut Vec<(char, String)>, letter: char, value: &str) -> Result<(), Error> {
    match values.iter_mut().find(|(known, _)| *known == letter) {
        None => values.push((letter, value.to_owned())),
        Some((_, joined)) if JOINED.contains(letter) => {
            joined.push(' ');
            joined.push_str(value);
        }
        Some(_) => return Err(Error::Repeated { letter }),
    }
    Ok(())
}

/// Why a stanza or a `.PKGINFO` cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not UTF-8.
    #[error("it is not text")]
    NotText,
    /// A line is no letter, colon and value, or holds a control character.
    #[error("the line {line:?} is not a field")]
    Line {
        /// The line.
        line: String,
    },
    /// A field stands there twice.
    #[error("the field {letter} is there twice")]
    Repeated {
        /// Its letter.
        letter: char,
    },
    /// A field is missing.
    #[error("the field {letter} is missing")]
    Missing {
        /// Its letter.
        letter: char,
    },
    /// A field is not a number.
    #[error("the field {letter} is not a number")]
    Number {
        /// Its letter.
        letter: char,
    },
    /// A name that no package can have.
    #[error("{name:?} is not the name of a package")]
    Name {
        /// What stands there.
        name: String,
    },
    /// The digest of the files is named twice.
    #[error("the digest of its files is there twice")]
    TwoDataDigests,
    /// A version that is none.
    #[error("the version of {name} cannot be read")]
    Version {
        /// Whose.
        name: String,
        /// Why.
        source: BadVersion,
    },
    /// An identity that is none.
    #[error("the identity of {name} cannot be read")]
    Identity {
        /// Whose.
        name: String,
        /// Why.
        source: BadChecksum,
    },
    /// A relation that is none.
    #[error("a relation of {name} cannot be read")]
    Relation {
        /// Whose.
        name: String,
        /// Why.
        source: BadRelation,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: &str = "Q1EyN5AdpAOBJWKMR89pp/C66o+OE=";

    const STANZA: &str = "C:Q1EyN5AdpAOBJWKMR89pp/C66o+OE=\nP:busybox\nV:1.36.1-r15\nA:x86_64\n\
        S:509012\nI:946176\nT:Size optimized toolbox\nU:https://busybox.net/\nL:GPL-2.0-only\n\
        o:busybox\nm:Sören Tempel <s@example.com>\nt:1699383189\n\
        c:d1b6f274f29076967826e0ecf6ebcaa5d360272f\nD:so:libc.musl-x86_64.so.1\n\
        p:cmd:busybox=1.36.1-r15\nr:busybox-initscripts\n";

    #[test]
    fn a_stanza_is_written_as_it_was_read() {
        let info = Info::parse(STANZA).unwrap();
        assert_eq!((info.name, info.size, info.unsupported), ("busybox", 509_012, false));
        assert_eq!(info.to_stanza(), STANZA);
        let short = "C:Q1EyN5AdpAOBJWKMR89pp/C66o+OE=\nP:a\nV:1\nS:1\nI:1\nT:\nU:\nL:\n";
        assert_eq!(Info::parse(short).unwrap().to_stanza(), short);
    }

    #[test]
    fn pkginfo_says_the_same_and_some_more() {
        let text = "# Generated by abuild\npkgname = busybox\npkgver = 1.36.1-r15\n\
            pkgdesc = Size optimized toolbox\nurl = https://busybox.net/\n\
            builddate = 1699383189\npackager = B <b@example.com>\nsize = 946176\narch = x86_64\n\
            origin = busybox\ncommit = d1b6f274f29076967826e0ecf6ebcaa5d360272f\n\
            maintainer = Sören Tempel <s@example.com>\nlicense = GPL-2.0-only\n\
            replaces = busybox-initscripts\ntriggers = /bin /lib/modules/*\n\
            provides = cmd:busybox=1.36.1-r15\ndepend = so:libc.musl-x86_64.so.1\ndatahash = 38\n";
        let identity = IDENTITY.parse().unwrap();
        let info = PackageInfo::parse(text.as_bytes(), identity, 509_012).unwrap();
        assert_eq!(info.stanza, STANZA);
        assert_eq!(info.data_digest.as_deref(), Some("38"));
        assert_eq!(info.triggers, ["/bin", "/lib/modules/*"]);
        let more = format!("{text}depend = a\ndepend = !b<1\n");
        let info = PackageInfo::parse(more.as_bytes(), identity, 1).unwrap();
        assert!(info.stanza.contains("\nD:so:libc.musl-x86_64.so.1 a !b<1\n"));
    }

    #[test]
    fn a_capital_letter_that_is_unknown_makes_a_package_unusable_and_a_small_one_does_not() {
        let unsupported = |line: &str| Info::parse(&format!("{STANZA}{line}")).unwrap().unsupported;
        assert!(unsupported("X:1\n") && !unsupported("x:1\n"));
    }

    #[test]
    fn a5_control_characters_and_broken_lines_are_refused() {
        for bad in ["no field\n", "PP:x\n", ":x\n", "x:a\u{1}b\n", "x:\u{1b}[31m\n", "\n", "é:1\n"]
        {
            let stanza = format!("{STANZA}{bad}");
            assert!(matches!(Info::parse(&stanza), Err(Error::Line { .. })), "{bad:?}");
        }
        let changed = |from: &str, to: &str| Info::parse(&STANZA.replace(from, to)).map(|_| ());
        assert!(matches!(changed("P:busybox", "P:../x"), Err(Error::Name { .. })));
        assert!(matches!(changed("V:1.36.1-r15", "V:x"), Err(Error::Version { .. })));
        assert!(matches!(changed("S:509012", "S:-1"), Err(Error::Number { letter: 'S' })));
        let huge = changed("S:509012", "S:99999999999999999999");
        assert!(matches!(huge, Err(Error::Number { letter: 'S' })));
        assert!(matches!(changed("C:Q1", "C:Q9"), Err(Error::Identity { .. })));
        assert!(matches!(changed("D:so:libc", "D:so:$libc"), Err(Error::Relation { .. })));
        assert!(matches!(changed("P:busybox\n", ""), Err(Error::Missing { letter: 'P' })));
        let twice = format!("{STANZA}P:other\n");
        assert!(matches!(Info::parse(&twice), Err(Error::Repeated { letter: 'P' })));
        let hostile = "pkgname = a\npkgver = 1\npkgdesc = a\rb\n";
        let refused = PackageInfo::parse(hostile.as_bytes(), IDENTITY.parse().unwrap(), 1);
        assert!(matches!(refused, Err(Error::Line { .. })));
        let twice = "pkgname = a\npkgname = b\npkgver = 1\n";
        let refused = PackageInfo::parse(twice.as_bytes(), IDENTITY.parse().unwrap(), 1);
        assert!(matches!(refused, Err(Error::Repeated { letter: 'P' })));
    }
}
