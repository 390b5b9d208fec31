//! The answer of the solver on disk: `osbuilder.lock`.
//!
//! Goals: complete (exact version, place, size and digest of every package), readable, stable in
//! order so that diffs are small, the same value gives the same bytes, checkable against a recipe
//! without network or solving.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::epoch::Epoch;
use crate::package::PackageName;
use crate::package::path::{self, BadPath};

/// The version of the format that is written, and the only one that is read.
pub const FORMAT: u32 = 1;

/// A resolved recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Version of this format: 1.
    pub format: u32,
    /// The distribution's name.
    pub distribution: String,
    /// The release's code name or number.
    pub release: String,
    /// The kernel's name of the architecture.
    pub architecture: String,
    /// Digest of all that the solver was asked: another recipe is not this lock's.
    pub request: Digest,
    /// The newest date signed by a repository: the build's epoch unless the recipe gives one.
    pub epoch: Epoch,
    /// Whether scripts run in a plain chroot in place of the sandbox. Not written unless so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plain_chroot: bool,
    /// Who runs the scripts. Not written unless one of both alone does. Whoever follows the lock does
    /// the same, whatever the host could do.
    #[serde(default, skip_serializing_if = "Runner::is_either")]
    pub scripts: Runner,
    /// The snapshot of each repository, in the order of priority.
    #[serde(rename = "repository")]
    pub repositories: Vec<LockedRepository>,
    /// The packages, sorted by name and architecture.
    #[serde(rename = "package")]
    pub packages: Vec<LockedPackage>,
}

/// Who runs the scripts of packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Runner {
    /// osbuilder's own handlers if they understand every script of these packages, else the guest's
    /// programs: the packages decide, not the host.
    #[default]
    Either,
    /// The guest's programs.
    Programs,
    /// osbuilder's own handlers; scripts that they do not understand are left out, and listed.
    BuiltIn,
}

impl Runner {
    /// Whether the packages decide.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
    const fn is_either(&self) -> bool {
        matches!(self, Self::Either)
    }
}

/// One repository at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedRepository {
    /// Its root, without the mirror's choice: the distribution's own address or the user's.
    pub url: String,
    /// Suite or path of the index below the root.
    pub suite: String,
    /// Components used.
    pub components: Vec<String>,
    /// Digest of the signed part of its top-level index.
    pub digest: Digest,
    /// When it was made, as it says itself.
    pub date: Epoch,
    /// Fingerprints of the keys whose signatures were good, in hexadecimal; empty when checks were
    /// switched off.
    pub signed_by: Vec<String>,
}

/// One package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPackage {
    /// Its name.
    pub name: PackageName,
    /// Its exact version, in the family's notation.
    pub version: String,
    /// Its architecture, in the family's notation (`amd64`, `all`).
    pub architecture: String,
    /// Index into [`Lock::repositories`].
    pub repository: usize,
    /// Its file below the repository's root.
    pub path: String,
    /// Bytes of the file.
    pub size: u64,
    /// SHA-256 of the file.
    pub digest: Digest,
}

/// A lock whose packages were chosen, before it is known of each which bytes its file has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The lock, still without packages.
    pub head: Lock,
    /// The packages.
    pub packages: Vec<ChosenPackage>,
}

/// A package, as its repository's index describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChosenPackage {
    /// Its name.
    pub name: PackageName,
    /// Its exact version, in the family's notation.
    pub version: String,
    /// Its architecture, in the family's notation (`amd64`, `all`).
    pub architecture: String,
    /// Index into [`Lock::repositories`].
    pub repository: usize,
    /// Its file below the repository's root.
    pub path: String,
    /// Bytes of the file.
    pub size: u64,
    /// What the index says of the file.
    pub identity: Identity,
}

/// By what an index vouches for a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// By the digest of its whole file.
    File(Digest),
    /// By a part of it that vouches for the rest, in the family's notation: `Q1…`.
    Part(String),
}

impl Choice {
    /// Completes the lock by the digest of each package's file.
    ///
    /// # Errors
    /// Whatever `digest` returns.
    pub fn complete<E>(
        self,
        mut digest: impl FnMut(&ChosenPackage) -> Result<Digest, E>,
    ) -> Result<Lock, E> {
        let Self { head, packages } = self;
        let complete = |chosen: ChosenPackage| {
            let digest = digest(&chosen)?;
            let ChosenPackage { name, version, architecture, repository, path, size, .. } = chosen;
            Ok(LockedPackage { name, version, architecture, repository, path, size, digest })
        };
        let mut packages = packages.into_iter().map(complete).collect::<Result<Vec<_>, E>>()?;
        packages.sort_by(|a, b| (&a.name, &a.architecture).cmp(&(&b.name, &b.architecture)));
        Ok(Lock { packages, ..head })
    }
}

impl Lock {
    /// Reads a lock.
    ///
    /// # Errors
    /// [`Error`] for another format, unknown keys, and values that no build writes.
    pub fn parse(text: &str) -> Result<Self, Error> {
        /// What all formats have in common.
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let head: Head = toml::from_str(text).map_err(Error::Syntax)?;
        if head.format != FORMAT {
            return Err(Error::Format { found: head.format });
        }
        let lock: Self = toml::from_str(text).map_err(Error::Syntax)?;
        lock.check()?;
        Ok(lock)
    }

    /// Checks what the types do not.
    fn check(&self) -> Result<(), Error> {
        let place = |package: &LockedPackage| (package.name.clone(), package.architecture.clone());
        if let Some(pair) = self.packages.windows(2).find(|pair| match pair {
            [a, b] => place(a) >= place(b),
            _ => false,
        }) {
            let package = pair.last().expect("a window of two has a last one").name.clone();
            return Err(Error::Order { package });
        }
        self.packages.iter().try_for_each(|package| self.check_package(package))
    }

    fn check_package(&self, package: &LockedPackage) -> Result<(), Error> {
        let name = || package.name.clone();
        if package.repository >= self.repositories.len() {
            return Err(Error::Repository { package: name(), number: package.repository });
        }
        let words = [&package.version, &package.architecture];
        if words.iter().any(|word| word.is_empty() || !word.bytes().all(|b| b.is_ascii_graphic())) {
            return Err(Error::Word { package: name() });
        }
        let checked = path::check(&package.path);
        checked.map_err(|source| Error::Path { package: name(), source })?;
        Ok(())
    }
}

impl std::fmt::Display for Lock {
    /// The text of the file: the same value gives the same bytes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("# Written by osbuilder, which follows it; not meant to be edited.\n")?;
        f.write_str(&toml::to_string(self).map_err(|_| std::fmt::Error)?)
    }
}

/// Why a text is not a lock.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not TOML, or a key is missing, unknown or of the wrong type.
    #[error("the lock cannot be read")]
    Syntax(#[source] toml::de::Error),
    /// It was written by another version of the program.
    #[error(
        "the lock has format {found}, and this osbuilder reads format {FORMAT}: make a new lock, or \
         use the osbuilder that wrote it"
    )]
    Format {
        /// Its format.
        found: u32,
    },
    /// Packages are not sorted by name and architecture, or one is there twice.
    #[error("the package {package} is out of order in the lock, or there twice")]
    Order {
        /// The package.
        package: PackageName,
    },
    /// A package is from a repository that the lock does not have.
    #[error("the lock takes {package} from repository {number}, which it does not have")]
    Repository {
        /// The package.
        package: PackageName,
        /// The number, from 0.
        number: usize,
    },
    /// A package's version or architecture is empty, or holds more than printable ASCII.
    #[error("the lock gives {package} a version or architecture that cannot be")]
    Word {
        /// The package.
        package: PackageName,
    },
    /// A package's file lies outside its repository.
    #[error("the lock gives {package} a file that is not in a repository")]
    Path {
        /// The package.
        package: PackageName,
        /// Which rule is broken.
        source: BadPath,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, path: &str) -> LockedPackage {
        LockedPackage {
            name: name.parse().unwrap(),
            version: "1:2.0-3".to_owned(),
            architecture: "amd64".to_owned(),
            repository: 0,
            path: path.to_owned(),
            size: 42,
            digest: Digest::of(name.as_bytes()),
        }
    }

    fn lock() -> Lock {
        let repository = LockedRepository {
            url: "http://ftp.debian.org/debian".to_owned(),
            suite: "trixie".to_owned(),
            components: vec!["main".to_owned()],
            digest: Digest::of(b"release"),
            date: Epoch::new(1_700_000_000).unwrap(),
            signed_by: vec!["4D64FEC119C2029067D6E791F8D2585B8783D481".to_owned()],
        };
        Lock {
            format: FORMAT,
            distribution: "debian".to_owned(),
            release: "trixie".to_owned(),
            architecture: "x86_64".to_owned(),
            request: Digest::of(b"request"),
            plain_chroot: false,
            scripts: Runner::Either,
            epoch: Epoch::new(1_700_000_000).unwrap(),
            repositories: vec![repository],
            packages: vec![package("a", "pool/a.deb"), package("b", "pool/b.deb")],
        }
    }

    #[test]
    fn a_lock_is_read_as_it_was_written() {
        let empty = Lock { packages: Vec::new(), repositories: Vec::new(), ..lock() };
        for lock in [lock(), empty] {
            let text = lock.to_string();
            assert_eq!(Lock::parse(&text).unwrap(), lock);
            assert_eq!(Lock::parse(&text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn the_text_is_short_and_readable() {
        let mut small = lock();
        small.packages.truncate(1);
        insta::assert_snapshot!(small, @r#"
        # Written by osbuilder, which follows it; not meant to be edited.
        format = 1
        distribution = "debian"
        release = "trixie"
        architecture = "x86_64"
        request = "1f58b9145b24d108d7ac38887338b3ea3229833b9c1e418250343f907bfd1047"
        epoch = 1700000000

        [[repository]]
        url = "http://ftp.debian.org/debian"
        suite = "trixie"
        components = ["main"]
        digest = "a4d451ec23463726f72c43d64c710968f6b602cd653b4de8adee1b556240a829"
        date = 1700000000
        signed_by = ["4D64FEC119C2029067D6E791F8D2585B8783D481"]

        [[package]]
        name = "a"
        version = "1:2.0-3"
        architecture = "amd64"
        repository = 0
        path = "pool/a.deb"
        size = 42
        digest = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
        "#);
    }

    #[test]
    fn another_format_is_named_before_anything_else_is_read() {
        let error = Lock::parse("format = 2\nnew = 1\n").unwrap_err().to_string();
        assert!(error.starts_with("the lock has format 2, and this osbuilder reads format 1"));
        assert!(matches!(Lock::parse("").unwrap_err(), Error::Syntax(_)));
    }

    #[test]
    fn unknown_keys_are_refused_wherever_they_stand() {
        let text = lock().to_string();
        for at in ["format = 1", "url = ", "size = 42"] {
            let changed = text.replacen(at, &format!("other = 1\n{at}"), 1);
            assert!(matches!(Lock::parse(&changed).unwrap_err(), Error::Syntax(_)), "{at}");
        }
    }

    #[test]
    fn packages_are_sorted_and_there_once() {
        for (first, second, good) in [("a", "b", true), ("b", "a", false), ("a", "a", false)] {
            let mut lock = lock();
            lock.packages = vec![package(first, "x"), package(second, "y")];
            let read = Lock::parse(&lock.to_string());
            assert_eq!(read.is_ok(), good, "{first} {second}");
        }
    }

    #[test]
    fn r11_a_lock_leads_nowhere_else() {
        for (path, good) in [
            ("pool/a..b", true),
            ("../a", false),
            ("http://e/a", false),
            ("a/%2e%2e/b", false),
            ("a\nb", false),
        ] {
            let mut lock = lock();
            lock.packages = vec![package("a", path)];
            let read = Lock::parse(&lock.to_string());
            assert_eq!(read.is_ok(), good, "{path:?}");
        }
        let mut stray = lock();
        stray.packages.first_mut().unwrap().repository = 1;
        let error = Lock::parse(&stray.to_string()).unwrap_err();
        assert!(matches!(error, Error::Repository { number: 1, .. }), "{error}");
        stray = lock();
        stray.packages.first_mut().unwrap().version = "1\n2".to_owned();
        assert!(matches!(Lock::parse(&stray.to_string()).unwrap_err(), Error::Word { .. }));
    }
}
