//! What a repository or a header says of a package: identity, place, relations, files.
//!
//! In: a record, a text of lines with tabs between fields, which is short and quickly read where the
//! XML of a repository is neither; out: an [`Info`] that borrows from it. A [`Draft`] writes records.
//!
//! ```text
//! N  name  architecture  epoch  version  release  size  digest  built  place
//! P  name [operator version]        provides; in the same way R (requires), C (conflicts),
//!                                   O (obsoletes), W (recommends),
//!                                   S (supplements), G (suggests)
//! F  path                           a file
//! ```

use std::fmt::Write as _;

use super::header::Header;
use super::relation::{self, Dependency, Operator, Relation};
use super::tag;
use super::version::{BadVersion, Version};
use crate::digest::Digest;
use crate::package::PackageName;
use crate::tree::escape;

/// A package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its architecture: `x86_64`, `noarch`.
    pub architecture: &'a str,
    /// Its version.
    pub version: Version<'a>,
    /// Bytes of its file; 0, if a header says this.
    pub size: u64,
    /// The file's digest, if an index says this.
    pub digest: Option<Digest>,
    /// When it was built, in seconds since 1970.
    pub built: u64,
    /// Its file below the repository's root.
    pub place: &'a str,
    /// What it provides.
    pub provides: Vec<Relation<'a>>,
    /// What it requires.
    pub requires: Vec<Dependency<'a>>,
    /// With what it cannot be installed.
    pub conflicts: Vec<Dependency<'a>>,
    /// What it makes superfluous.
    pub obsoletes: Vec<Relation<'a>>,
    /// What it recommends.
    pub recommends: Vec<Dependency<'a>>,
    /// With what it asks to be installed, too.
    pub supplements: Vec<Dependency<'a>>,
    /// What it would rather have than something else that does as well.
    pub suggests: Vec<Dependency<'a>>,
    /// Its files, or those that a repository lists first.
    pub files: Vec<&'a str>,
    /// Whether it has relations that cannot be understood, so that it cannot be installed.
    pub unsupported: bool,
}

/// The kinds of relations, with their letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// What it provides.
    Provides,
    /// What it requires.
    Requires,
    /// With what it conflicts.
    Conflicts,
    /// What it makes superfluous.
    Obsoletes,
    /// What it recommends.
    Recommends,
    /// With what it asks to be installed, too.
    Supplements,
    /// What it would rather have than something else.
    Suggests,
}

impl Sort {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Provides, "P"),
        (Self::Requires, "R"),
        (Self::Conflicts, "C"),
        (Self::Obsoletes, "O"),
        (Self::Recommends, "W"),
        (Self::Supplements, "S"),
        (Self::Suggests, "G"),
    ];

    const fn letter(self) -> &'static str {
        match self {
            Self::Provides => "P",
            Self::Requires => "R",
            Self::Conflicts => "C",
            Self::Obsoletes => "O",
            Self::Recommends => "W",
            Self::Supplements => "S",
            Self::Suggests => "G",
        }
    }
}

/// A record being written.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    text: String,
}

/// Identity and place of a package, for the first line of its record.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// Its name.
    pub name: String,
    /// Its architecture.
    pub architecture: String,
    /// Its epoch, mostly `0`.
    pub epoch: String,
    /// Its version.
    pub version: String,
    /// Its release.
    pub release: String,
    /// Bytes of its file.
    pub size: u64,
    /// The SHA-256 of its file, if that is known.
    pub digest: Option<Digest>,
    /// When it was built.
    pub built: u64,
    /// Its file below the repository's root.
    pub place: String,
}

impl Draft {
    /// Begins the record of a package.
    pub fn begin(&mut self, identity: &Identity) {
        let Identity { name, architecture, epoch, version, release, size, digest, built, place } =
            identity;
        let digest = digest.map(|digest| digest.to_string()).unwrap_or_default();
        let words = [name, architecture, epoch, version, release].map(|word| clean(word));
        let line =
            format!("N\t{}\t{size}\t{digest}\t{built}\t{}\n", words.join("\t"), clean(place));
        self.text.push_str(&line);
    }

    /// Adds a relation. `operator` is a word such as `EQ`, or empty.
    pub fn relation(&mut self, sort: Sort, name: &str, operator: &str, version: &str) {
        let (letter, name) = (sort.letter(), clean(name));
        let written = match operator.is_empty() || version.is_empty() {
            true => writeln!(self.text, "{letter}\t{name}"),
            false => writeln!(self.text, "{letter}\t{name}\t{operator}\t{}", clean(version)),
        };
        written.expect("a string takes all");
    }

    /// Adds a file.
    pub fn file(&mut self, path: &str) {
        writeln!(self.text, "F\t{}", clean(path)).expect("a string takes all");
    }

    /// Takes over what another draft has, and leaves it empty.
    pub fn append(&mut self, other: &mut Self) {
        self.text.push_str(&other.text);
        other.clear();
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.text.clear();
    }

    /// The records.
    pub fn into_text(self) -> String {
        self.text
    }
}

/// A word without what would break a line; the result is then no name, which reading finds out.
fn clean(word: &str) -> std::borrow::Cow<'_, str> {
    let is_plain = word.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_control());
    match !is_plain && word.chars().any(char::is_control) {
        true => escape(word.as_bytes()).into(),
        false => word.into(),
    }
}

/// The record of a package by its header, without size, digest and place.
///
/// # Errors
/// [`Error::Missing`] without a name, version, release or architecture.
pub fn of_header(header: &Header) -> Result<String, Error> {
    let word = |tag, what| match header.word(tag) {
        Some(word) => Ok(word.to_owned()),
        None => Err(Error::Missing(what)),
    };
    let identity = Identity {
        name: word(tag::NAME, "its name")?,
        architecture: word(tag::ARCHITECTURE, "its architecture")?,
        epoch: header.number(tag::EPOCH).unwrap_or(0).to_string(),
        version: word(tag::VERSION, "its version")?,
        release: word(tag::RELEASE, "its release")?,
        built: header.number(tag::BUILD_TIME).unwrap_or(0),
        ..Identity::default()
    };
    let mut draft = Draft::default();
    draft.begin(&identity);
    let [recommend, recommended_version, recommend_flags] = tag::RECOMMEND;
    let [supplement, supplemented_version, supplement_flags] = tag::SUPPLEMENT;
    let [suggest, suggested_version, suggest_flags] = tag::SUGGEST;
    for (sort, name, version, flags) in [
        (Sort::Provides, tag::PROVIDE_NAME, tag::PROVIDE_VERSION, tag::PROVIDE_FLAGS),
        (Sort::Requires, tag::REQUIRE_NAME, tag::REQUIRE_VERSION, tag::REQUIRE_FLAGS),
        (Sort::Conflicts, tag::CONFLICT_NAME, tag::CONFLICT_VERSION, tag::CONFLICT_FLAGS),
        (Sort::Obsoletes, tag::OBSOLETE_NAME, tag::OBSOLETE_VERSION, tag::OBSOLETE_FLAGS),
        (Sort::Recommends, recommend, recommended_version, recommend_flags),
        (Sort::Supplements, supplement, supplemented_version, supplement_flags),
        (Sort::Suggests, suggest, suggested_version, suggest_flags),
    ] {
        let (mut versions, mut flags) = (header.texts(version), header.numbers(flags));
        for name in header.texts(name) {
            let version = String::from_utf8_lossy(versions.next().unwrap_or_default());
            let flags = u32::try_from(flags.next().unwrap_or(0)).unwrap_or(0);
            let operator = word_of(Operator::of_flags(flags));
            draft.relation(sort, &String::from_utf8_lossy(name), operator, &version);
        }
    }
    let folders: Vec<&[u8]> = header.texts(tag::DIRECTORY_NAMES).collect();
    let folder = header.numbers(tag::DIRECTORY_INDEXES);
    for (name, folder) in header.texts(tag::BASE_NAMES).zip(folder) {
        let folder = usize::try_from(folder).ok().and_then(|at| folders.get(at));
        let path = [folder.copied().unwrap_or_default(), name].concat();
        draft.file(&String::from_utf8_lossy(&path));
    }
    Ok(draft.into_text())
}

fn word_of(operator: Operator) -> &'static str {
    match operator.symbol() {
        "=" => "EQ",
        "<" => "LT",
        ">" => "GT",
        "<=" => "LE",
        ">=" => "GE",
        _ => "",
    }
}

/// Reads records, one after the other.
///
/// # Errors
/// [`Error`] for what [`Draft`] does not write, and for a package that cannot be named.
pub fn parse(text: &str) -> Result<Vec<Info<'_>>, Error> {
    let mut infos: Vec<Info<'_>> = Vec::new();
    for line in text.lines() {
        let mut fields = line.split('\t');
        let letter = fields.next().unwrap_or_default();
        if letter == "N" {
            infos.push(first_line(&mut fields)?);
            continue;
        }
        let info = infos.last_mut().ok_or(Error::Line)?;
        let name = fields.next().ok_or(Error::Line)?;
        if letter == "F" {
            info.files.push(name);
            continue;
        }
        let operator = fields.next().map(|word| Operator::of_word(word).ok_or(Error::Line));
        let operator = operator.transpose()?.unwrap_or_default();
        let version = fields.next().unwrap_or_default();
        let sort = Sort::ALL.iter().find(|(_, known)| *known == letter).ok_or(Error::Line)?.0;
        if let Err(_unreadable) = info.add(sort, name, (operator, version)) {
            // What cannot be understood is no help, and no obstacle if it is only offered.
            let offered = [Sort::Provides, Sort::Recommends, Sort::Supplements, Sort::Suggests];
            info.unsupported |= !offered.contains(&sort);
        }
    }
    Ok(infos)
}

impl<'a> Info<'a> {
    fn add(
        &mut self,
        sort: Sort,
        name: &'a str,
        (operator, version): (Operator, &'a str),
    ) -> Result<(), relation::Error> {
        match sort {
            Sort::Provides => self.provides.push(Relation::new(name, operator, version)?),
            Sort::Obsoletes => self.obsoletes.push(Relation::new(name, operator, version)?),
            Sort::Requires => match relation::feature(name) {
                Some(true) => {}
                Some(false) => self.unsupported = true,
                None => self.requires.push(Dependency::new(name, operator, version)?),
            },
            Sort::Conflicts => self.conflicts.push(Dependency::new(name, operator, version)?),
            Sort::Recommends => self.recommends.push(Dependency::new(name, operator, version)?),
            Sort::Supplements => self.supplements.push(Dependency::new(name, operator, version)?),
            Sort::Suggests => self.suggests.push(Dependency::new(name, operator, version)?),
        }
        Ok(())
    }
}

fn first_line<'a>(fields: &mut dyn Iterator<Item = &'a str>) -> Result<Info<'a>, Error> {
    let mut next = || fields.next().ok_or(Error::Line);
    let (name, architecture) = (next()?, next()?);
    let (epoch, version, release) = (next()?, next()?, next()?);
    let (size, digest, built, place) = (next()?, next()?, next()?, next()?);
    if !PackageName::is_well_formed(name) {
        return Err(Error::Name { name: name.chars().take(80).collect() });
    }
    let version = Version::of_parts(epoch, version, release)
        .map_err(|source| Error::Version { name: name.to_owned(), source })?;
    Ok(Info {
        name,
        architecture,
        version,
        size: size.parse().map_err(|_| Error::Line)?,
        digest: match digest {
            "" => None,
            digest => Some(digest.parse().map_err(|_| Error::Line)?),
        },
        built: built.parse().map_err(|_| Error::Line)?,
        place,
        provides: Vec::new(),
        requires: Vec::new(),
        conflicts: Vec::new(),
        obsoletes: Vec::new(),
        recommends: Vec::new(),
        supplements: Vec::new(),
        suggests: Vec::new(),
        files: Vec::new(),
        unsupported: false,
    })
}

/// Why a record cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A line is none.
    #[error("a record of a package is broken")]
    Line,
    /// A package has a name that none can have.
    #[error("{name:?} is not the name of a package")]
    Name {
        /// What stands there.
        name: String,
    },
    /// A package has a version that is none.
    #[error("the version of {name} cannot be read")]
    Version {
        /// Whose.
        name: String,
        /// Why.
        source: BadVersion,
    },
    /// A header lacks something.
    #[error("{0} is missing in the header")]
    Missing(&'static str),
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test may end with a panic")]
mod tests {
    use super::*;

    #[test]
    fn what_is_drafted_is_read_and_what_nobody_understands_makes_unusable() {
        let mut draft = Draft::default();
        draft.begin(&Identity {
            name: "bash".into(),
            architecture: "x86_64".into(),
            epoch: "0".into(),
            version: "5.1".into(),
            release: "1".into(),
            size: 7,
            digest: Some(Digest::of(b"")),
            built: 9,
            place: "b/bash.rpm".into(),
        });
        draft.relation(Sort::Provides, "bash", "EQ", "0:5.1-1");
        draft.relation(Sort::Requires, "(a if b)", "", "");
        draft.relation(Sort::Requires, "rpmlib(FileDigests)", "LE", "4.6.0-1");
        draft.file("/usr/bin/bash");
        let good = draft.clone().into_text();
        let info = &parse(&good).unwrap()[0];
        assert_eq!((info.name, info.size, info.place), ("bash", 7, "b/bash.rpm"));
        assert_eq!(info.provides[0].to_string(), "bash = 5.1-1");
        assert_eq!((info.requires.len(), info.files.len(), info.unsupported), (1, 1, false));
        for (sort, name, expected) in [
            (Sort::Requires, "rpmlib(TimeTravel)", true),
            (Sort::Requires, "(a if", true),
            (Sort::Conflicts, "(a if", true),
            (Sort::Recommends, "(a if", false),
            (Sort::Provides, "a\nN\tx", false),
        ] {
            let mut more = draft.clone();
            more.relation(sort, name, "", "");
            let text = more.into_text();
            assert_eq!(parse(&text).unwrap()[0].unsupported, expected, "{name}");
        }
        for bad in ["P\ta", "N\ta", "N\t../a\tx\t0\t1\t1\t0\t\t0\tp", &good.replace("EQ", "XX")] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
