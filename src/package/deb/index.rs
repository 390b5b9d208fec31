//! The `Packages` files of one repository: what it offers.
//!
//! Verified, decompressed texts come in; short records go out that borrow them, sorted by name.
//! Relations stay text until somebody asks, because a build looks at a few hundred packages of
//! sixty thousand. What could lead outside the repository, or mean two things, is refused here.
//!
//! Specification: <https://wiki.debian.org/DebianRepository/Format>, deb-control(5).

use super::control::{self, Stanza};
use super::version::{BadVersion, Version};
use crate::digest::{self, Digest};
use crate::package::path::{self, BadPath};
use crate::package::{BadName, PackageName};

/// The packages of one repository, sorted by name and architecture, later versions first.
#[derive(Debug, Clone, Default)]
pub struct Index<'a> {
    packages: Vec<Package<'a>>,
}

/// One package, as its repository describes it.
///
/// Fields of relations are unread text; empty, if the field is missing.
#[derive(Debug, Clone)]
pub struct Package<'a> {
    /// Its name, well-formed.
    pub name: &'a str,
    /// Its version.
    pub version: Version<'a>,
    /// `amd64`, `all`.
    pub architecture: &'a str,
    /// The name of the source package that it was built from.
    pub source: &'a str,
    /// Whether it satisfies others across architectures.
    pub multi_arch: MultiArch,
    /// Whether every system needs it.
    pub essential: bool,
    /// How important it is.
    pub priority: Priority,
    /// What must be configured before it is unpacked.
    pub pre_depends: &'a str,
    /// What must be there for it to work.
    pub depends: &'a str,
    /// What is there on all but unusual systems.
    pub recommends: &'a str,
    /// What must not be there beside it.
    pub conflicts: &'a str,
    /// What stops working when it is there.
    pub breaks: &'a str,
    /// Whose files it may overwrite.
    pub replaces: &'a str,
    /// What it is besides itself.
    pub provides: &'a str,
    /// Its file below the repository's root, checked by [`path::check`].
    pub path: &'a str,
    /// Bytes of the file.
    pub size: u64,
    /// SHA-256 of the file.
    pub digest: Digest,
}

/// The field `Multi-Arch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MultiArch {
    /// Satisfies packages of its own architecture.
    #[default]
    No,
    /// As `No`, and can be installed for several architectures at once.
    Same,
    /// Satisfies packages of every architecture.
    Foreign,
    /// As `No`, and as `Foreign` for those who ask with `:any`.
    Allowed,
}

/// The field `Priority`, most important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Priority {
    /// The system does not work without it.
    Required,
    /// Any Unix has it.
    Important,
    /// A small system without a graphical interface has it.
    Standard,
    /// The rest.
    #[default]
    Optional,
    /// The rest, in old archives.
    Extra,
}

impl<'a> Index<'a> {
    /// Reads the `Packages` files of one repository.
    ///
    /// A package that is described twice with the same file counts once.
    ///
    /// # Errors
    /// [`Error`] for a broken text, or an entry that cannot be trusted or understood.
    pub fn parse(texts: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, Error> {
        let mut packages = Vec::new();
        for stanza in texts.into_iter().flat_map(control::stanzas) {
            packages.push(read_package(&stanza?)?);
        }
        packages.sort_by(|a: &Package<'_>, b| {
            let place = |p: &Package<'a>| (p.name, p.architecture);
            place(a)
                .cmp(&place(b))
                .then_with(|| b.version.cmp(&a.version))
                .then_with(|| (a.digest, a.path).cmp(&(b.digest, b.path)))
        });
        refuse_contradictions(&packages)?;
        packages.dedup_by(|b, a| same_version(a, b));
        Ok(Self { packages })
    }

    /// Leaves out all packages but those whose names are `wanted`.
    pub fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        self.packages.retain(|package| wanted(package.name));
    }

    /// Returns all packages.
    pub fn packages(&self) -> &[Package<'a>] {
        &self.packages
    }

    /// Returns the packages of one name, in all architectures and versions.
    pub fn named(&self, name: &str) -> &[Package<'a>] {
        let start = self.packages.partition_point(|p| p.name < name);
        let end = self.packages.partition_point(|p| p.name <= name);
        self.packages.get(start..end).unwrap_or_default()
    }
}

/// One name, version and architecture must be one file: else a repository could choose for whom
/// it serves which.
fn refuse_contradictions(packages: &[Package<'_>]) -> Result<(), Error> {
    for pair in packages.windows(2) {
        if let [a, b] = pair
            && same_version(a, b)
            && (a.digest, a.size) != (b.digest, b.size)
        {
            return Err(Error::Contradiction {
                package: a.name.to_owned(),
                version: a.version.to_string(),
                architecture: a.architecture.to_owned(),
            });
        }
    }
    Ok(())
}

fn same_version(a: &Package<'_>, b: &Package<'_>) -> bool {
    (a.name, a.architecture, a.version) == (b.name, b.architecture, b.version)
}

impl<'a> Package<'a> {
    /// Reads the `control` file of a package whose file is known from elsewhere: path, size and
    /// digest.
    ///
    /// # Errors
    /// As [`Index::parse`].
    pub fn of_control(control: &'a [u8], file: (&'a str, u64, Digest)) -> Result<Self, Error> {
        let stanza = control::single(control)?;
        describe(&Fields::of(&stanza), stanza.line(), file)
    }
}

fn read_package<'a>(stanza: &Stanza<'a>) -> Result<Package<'a>, Error> {
    let fields = Fields::of(stanza);
    let name = fields.package.ok_or(Error::Nameless { line: stanza.line() })?;
    let missing = |field| Error::Missing { package: name.to_owned(), field };
    let path = path::check(fields.filename.ok_or_else(|| missing("Filename"))?)
        .map_err(|source| Error::Path { package: name.to_owned(), source })?;
    let size = fields.size.ok_or_else(|| missing("Size"))?;
    let size = read_size(size).ok_or_else(|| unknown(name, "Size", size))?;
    let digest = fields.sha256.ok_or_else(|| Error::WeakDigest { package: name.to_owned() })?;
    let digest = digest.parse().map_err(|_: digest::ParseError| unknown(name, "SHA256", digest))?;
    describe(&fields, stanza.line(), (path, size, digest))
}

fn unknown(package: &str, field: &'static str, value: &str) -> Error {
    let value = value.chars().take(80).collect();
    Error::Unknown { package: package.to_owned(), field, value }
}

/// Reads all but the file, which is given.
fn describe<'a>(
    fields: &Fields<'a>,
    line: usize,
    (path, size, digest): (&'a str, u64, Digest),
) -> Result<Package<'a>, Error> {
    let name = fields.package.ok_or(Error::Nameless { line })?;
    if !PackageName::is_well_formed(name) {
        name.parse::<PackageName>().map_err(|source| Error::Name { line, source })?;
    }
    let missing = |field| Error::Missing { package: name.to_owned(), field };
    let version = Version::parse(fields.version.ok_or_else(|| missing("Version"))?)
        .map_err(|source| Error::Version { package: name.to_owned(), source })?;
    let architecture = fields.architecture.ok_or_else(|| missing("Architecture"))?;
    let well_formed = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    if architecture.is_empty() || !architecture.bytes().all(well_formed) {
        return Err(unknown(name, "Architecture", architecture));
    }
    let source = fields.source.unwrap_or(name);
    Ok(Package {
        name,
        version,
        architecture,
        source: source.split_ascii_whitespace().next().unwrap_or(name),
        multi_arch: read_multi_arch(fields.multi_arch)
            .ok_or_else(|| unknown(name, "Multi-Arch", fields.multi_arch))?,
        essential: fields.essential.eq_ignore_ascii_case("yes"),
        priority: read_priority(fields.priority),
        pre_depends: fields.pre_depends,
        depends: fields.depends,
        recommends: fields.recommends,
        conflicts: fields.conflicts,
        breaks: fields.breaks,
        replaces: fields.replaces,
        provides: fields.provides,
        path,
        size,
        digest,
    })
}

/// The values that are of interest, found in one pass over a stanza.
#[derive(Default)]
struct Fields<'a> {
    package: Option<&'a str>,
    version: Option<&'a str>,
    architecture: Option<&'a str>,
    filename: Option<&'a str>,
    size: Option<&'a str>,
    sha256: Option<&'a str>,
    source: Option<&'a str>,
    multi_arch: &'a str,
    essential: &'a str,
    priority: &'a str,
    pre_depends: &'a str,
    depends: &'a str,
    recommends: &'a str,
    conflicts: &'a str,
    breaks: &'a str,
    replaces: &'a str,
    provides: &'a str,
}

impl<'a> Fields<'a> {
    fn of(stanza: &Stanza<'a>) -> Self {
        let mut found = Self::default();
        for (name, value) in stanza.fields() {
            found.take(name, value);
        }
        found
    }

    fn take(&mut self, name: &str, value: &'a str) {
        let is = |field: &str| name.eq_ignore_ascii_case(field);
        match name.len() {
            4 if is("Size") => self.size = Some(value),
            6 if is("Breaks") => self.breaks = value,
            6 if is("SHA256") => self.sha256 = Some(value),
            6 if is("Source") => self.source = Some(value),
            7 if is("Package") => self.package = Some(value),
            7 if is("Version") => self.version = Some(value),
            7 if is("Depends") => self.depends = value,
            8 if is("Filename") => self.filename = Some(value),
            8 if is("Priority") => self.priority = value,
            8 if is("Provides") => self.provides = value,
            8 if is("Replaces") => self.replaces = value,
            9 if is("Conflicts") => self.conflicts = value,
            9 if is("Essential") => self.essential = value,
            10 if is("Multi-Arch") => self.multi_arch = value,
            10 if is("Recommends") => self.recommends = value,
            11 if is("Pre-Depends") => self.pre_depends = value,
            12 if is("Architecture") => self.architecture = Some(value),
            _ => {}
        }
    }
}

fn read_multi_arch(value: &str) -> Option<MultiArch> {
    match value {
        "" | "no" => Some(MultiArch::No),
        "same" => Some(MultiArch::Same),
        "foreign" => Some(MultiArch::Foreign),
        "allowed" => Some(MultiArch::Allowed),
        _ => None,
    }
}

/// A word that is not known, or none, is taken for `optional`, as dpkg takes it.
fn read_priority(value: &str) -> Priority {
    match value {
        "required" => Priority::Required,
        "important" => Priority::Important,
        "standard" => Priority::Standard,
        "extra" => Priority::Extra,
        _ => Priority::Optional,
    }
}

/// A size in bytes, below 2^62 so that sums of a few do not overflow.
fn read_size(value: &str) -> Option<u64> {
    let digits = value.bytes().all(|b| b.is_ascii_digit());
    let size = if digits { value.parse().ok() } else { None };
    size.filter(|size: &u64| *size < 1 << 62)
}

/// Why the index of a repository was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is not made of stanzas.
    #[error("the index of packages cannot be read")]
    Control(#[from] control::Error),
    /// An entry does not say which package it is about.
    #[error("the entry in line {line} of the index names no package")]
    Nameless {
        /// The entry's first line.
        line: usize,
    },
    /// An entry has a name that no package can have.
    #[error("the entry in line {line} of the index has a name that cannot be used")]
    Name {
        /// The entry's first line.
        line: usize,
        /// Which rule is broken.
        source: BadName,
    },
    /// An entry has a version that dpkg would refuse.
    #[error("the index gives package {package} a version that cannot be used")]
    Version {
        /// The package.
        package: String,
        /// Which rule is broken.
        source: BadVersion,
    },
    /// An entry lacks something that is needed to install the package.
    #[error("the index gives package {package} no field {field}")]
    Missing {
        /// The package.
        package: String,
        /// What is missing.
        field: &'static str,
    },
    /// A field has a value without a meaning.
    #[error("the index gives package {package} the field {field} with the unknown value {value:?}")]
    Unknown {
        /// The package.
        package: String,
        /// The field.
        field: &'static str,
        /// Its value, shortened.
        value: String,
    },
    /// A file lies outside the repository.
    #[error("the index gives package {package} a file that is not in the repository")]
    Path {
        /// The package.
        package: String,
        /// Which rule is broken.
        source: BadPath,
    },
    /// MD5 and SHA-1 prove nothing.
    #[error("the index vouches for package {package} without SHA-256")]
    WeakDigest {
        /// The package.
        package: String,
    },
    /// One version of a package, two files.
    #[error("the index names two different files as {package} {version} for {architecture}")]
    Contradiction {
        /// The package.
        package: String,
        /// Its version.
        version: String,
        /// Its architecture.
        architecture: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    /// An entry with all that is needed, where `changes` replace or add fields, or remove one by
    /// an empty value.
    fn entry(changes: &[(&str, &str)]) -> String {
        let plain = [
            ("Package", "a"),
            ("Version", "1"),
            ("Architecture", "all"),
            ("Filename", "pool/a.deb"),
            ("Size", "7"),
            ("SHA256", DIGEST),
        ];
        let kept = plain.iter().filter(|(name, _)| !changes.iter().any(|(n, _)| n == name));
        let set = changes.iter().filter(|(_, value)| !value.is_empty());
        let lines = kept.chain(set).map(|(name, value)| format!("{name}: {value}\n"));
        lines.collect::<String>() + "\n"
    }

    fn refusal(text: &str) -> Error {
        Index::parse([text.as_bytes()]).unwrap_err()
    }

    #[test]
    fn an_entry_becomes_a_record() {
        let text = entry(&[
            ("Package", "libc6"),
            ("Version", "2.36-9"),
            ("Architecture", "amd64"),
            ("Source", "glibc (2.36)"),
            ("Multi-Arch", "same"),
            ("Essential", "yes"),
            ("Priority", "required"),
            ("Depends", "libgcc-s1,\n libcrypt1 (>= 1)"),
            ("Provides", "libc"),
        ]);
        let index = Index::parse([text.as_bytes()]).unwrap();
        let [package] = index.packages() else { panic!("{index:?}") };
        assert_eq!(
            (package.name, package.source, package.architecture),
            ("libc6", "glibc", "amd64")
        );
        assert_eq!(package.version.to_string(), "2.36-9");
        assert_eq!((package.multi_arch, package.essential), (MultiArch::Same, true));
        assert_eq!((package.priority, package.size), (Priority::Required, 7));
        assert_eq!((package.depends, package.provides), ("libgcc-s1,\n libcrypt1 (>= 1)", "libc"));
        assert_eq!((package.path, package.digest), ("pool/a.deb", Digest::of(b"")));
    }

    #[test]
    fn packages_are_found_by_name_later_versions_first_whatever_the_order_of_the_texts() {
        let one = entry(&[("Package", "b")]) + &entry(&[]);
        let two = entry(&[("Version", "2"), ("Filename", "./pool/a2.deb")]);
        for texts in [[one.as_bytes(), two.as_bytes()], [two.as_bytes(), one.as_bytes()]] {
            let index = Index::parse(texts).unwrap();
            let found: Vec<_> =
                index.named("a").iter().map(|p| (p.version.as_str(), p.path)).collect();
            assert_eq!(found, [("2", "pool/a2.deb"), ("1", "pool/a.deb")]);
            assert_eq!(index.named("b").len(), 1);
            assert!(index.named("c").is_empty());
        }
    }

    #[test]
    fn a_control_file_is_read_like_an_entry_and_its_file_is_taken_from_elsewhere() {
        let control = b"Package: a\nVersion: 1\nArchitecture: all\nDepends: b\nFilename: ../x\n";
        let package = Package::of_control(control, ("pool/a", 7, Digest::of(b""))).unwrap();
        assert_eq!((package.name, package.depends, package.path), ("a", "b", "pool/a"));
        let two = [control.as_slice(), b"\nPackage: b\n"].concat();
        let error = Package::of_control(&two, ("pool/a", 7, Digest::of(b""))).unwrap_err();
        assert!(matches!(error, Error::Control(_)), "{error}");
    }

    #[test]
    fn what_is_needed_must_be_there_and_mean_something() {
        let cases = [
            (("Package", ""), "names no package"),
            (("Package", "../a"), "a name that cannot be used"),
            (("Version", ""), "no field Version"),
            (("Version", "x"), "a version that cannot be used"),
            (("Architecture", ""), "no field Architecture"),
            (("Architecture", "../x"), "unknown value"),
            (("Filename", ""), "no field Filename"),
            (("Size", ""), "no field Size"),
            (("Size", "-1"), "unknown value"),
            (("Size", "4611686018427387904"), "unknown value"),
            (("Multi-Arch", "maybe"), "unknown value"),
            (("SHA256", "00"), "unknown value"),
        ];
        for (change, expected) in cases {
            let message = refusal(&entry(&[change])).to_string();
            assert!(message.contains(expected), "{change:?}: {message}");
        }
    }

    #[test]
    fn r11_files_outside_the_repository_are_refused() {
        for path in ["../../x", "http://e/x", "%2e%2e/x", "/x", "a//b"] {
            let error = refusal(&entry(&[("Filename", path)]));
            assert!(matches!(error, Error::Path { .. }), "{path}: {error}");
        }
        let error = refusal(&entry(&[("Filename", "a\x01b")]));
        assert!(matches!(error, Error::Control(_)), "{error}");
        assert!(Index::parse([entry(&[("Filename", "pool/..x/a")]).as_bytes()]).is_ok());
    }

    #[test]
    fn r11_one_version_with_two_files_is_refused_and_one_file_named_twice_is_not() {
        let twice = entry(&[]) + &entry(&[("Filename", "pool/b.deb")]);
        assert_eq!(Index::parse([twice.as_bytes()]).unwrap().packages().len(), 1);
        let changes: [&[(&str, &str)]; 3] = [
            &[("SHA256", &DIGEST.replace('e', "f"))],
            &[("Size", "8")],
            &[("Version", "1-0"), ("SHA256", &DIGEST.replace('e', "f"))],
        ];
        for change in changes {
            let (one, two) = (entry(&[]), entry(change));
            let error = Index::parse([one.as_bytes(), two.as_bytes()]).unwrap_err();
            assert!(matches!(error, Error::Contradiction { .. }), "{change:?}: {error}");
        }
        let other = entry(&[]) + &entry(&[("Architecture", "amd64"), ("Size", "8")]);
        assert_eq!(Index::parse([other.as_bytes()]).unwrap().packages().len(), 2);
    }

    #[test]
    fn d6_weak_digests_alone_are_refused() {
        let weak = [
            ("SHA256", ""),
            ("MD5sum", "d41d8cd98f00b204e9800998ecf8427e"),
            ("SHA1", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        ];
        let error = refusal(&entry(&weak));
        assert_eq!(error.to_string(), "the index vouches for package a without SHA-256");
        assert!(Index::parse([entry(&weak[1..]).as_bytes()]).is_ok());
    }
}
