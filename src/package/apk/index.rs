//! The index of one repository: what it offers.
//!
//! A verified, decompressed text comes in; records that borrow it go out, sorted by name, later
//! versions first. What could mean two things is refused. Where a package's file lies follows from
//! its name and version. Specification: apk-repositories(5), apk-package(5).

use super::info::{self, Info};
use crate::package::path;

/// The packages of one repository, sorted by name, later versions first.
#[derive(Debug, Clone, Default)]
pub struct Index<'a> {
    packages: Vec<Info<'a>>,
}

impl<'a> Index<'a> {
    /// Reads an index. A package that is described twice in the same words counts once.
    ///
    /// # Errors
    /// [`Error`] for a broken text, or an entry that cannot be trusted or understood.
    pub fn parse(text: &'a [u8]) -> Result<Self, Error> {
        let text = std::str::from_utf8(text).map_err(|_| Error::NotText)?;
        let mut packages = Vec::new();
        for stanza in text.split("\n\n").map(|stanza| stanza.trim_start_matches('\n')) {
            if !stanza.is_empty() {
                packages.push(read(stanza)?);
            }
        }
        packages.sort_by(|a: &Info<'_>, b: &Info<'_>| {
            a.name.cmp(b.name).then_with(|| b.version.cmp(&a.version))
        });
        check_repeated(&packages)?;
        packages.dedup_by(|second, first| same(first, second));
        Ok(Self { packages })
    }

    /// Leaves out all packages but those whose names are `wanted`.
    pub fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        self.packages.retain(|package| wanted(package.name));
    }

    /// The packages, sorted by name, later versions first.
    pub fn packages(&self) -> &[Info<'a>] {
        &self.packages
    }
}

/// The newest moment at which one of the packages of `text` was built, in seconds since 1970. A text
/// that is broken elsewhere is read as far as this goes.
pub fn newest_build(text: &[u8]) -> u64 {
    let lines = text.split(|byte| *byte == b'\n');
    let times = lines.filter_map(|line| std::str::from_utf8(line.strip_prefix(b"t:")?).ok());
    times.filter_map(|time| time.parse().ok()).max().unwrap_or(0)
}

fn read(stanza: &str) -> Result<Info<'_>, Error> {
    let info = Info::parse(stanza).map_err(Error::Stanza)?;
    // Names and versions are made of harmless characters; this says so once more.
    let plain = |text: &str| path::check(text).is_ok() && !text.contains(['/', '%']);
    if !plain(info.name) || !plain(info.version.as_str()) {
        return Err(Error::Path { name: info.name.to_owned() });
    }
    Ok(info)
}

fn same(a: &Info<'_>, b: &Info<'_>) -> bool {
    a.name == b.name && a.version.as_str() == b.version.as_str()
}

fn check_repeated(packages: &[Info<'_>]) -> Result<(), Error> {
    let differs = |pair: &&[Info<'_>]| match pair {
        [a, b] => same(a, b) && (a.identity != b.identity || a.size != b.size),
        _ => false,
    };
    match packages.windows(2).find(differs) {
        Some([a, _]) => {
            Err(Error::Twice { name: a.name.to_owned(), version: a.version.to_string() })
        }
        _ => Ok(()),
    }
}

/// Where the file of a package lies in its repository's folder for one architecture.
pub fn file_name(name: &str, version: &str) -> String {
    format!("{name}-{version}.apk")
}

/// Why an index is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not UTF-8.
    #[error("the index is not text")]
    NotText,
    /// An entry cannot be understood.
    #[error("an entry of the index cannot be understood")]
    Stanza(#[source] info::Error),
    /// A name or version could lead out of the repository.
    #[error("the file of {name} would not lie in the repository")]
    Path {
        /// Which package.
        name: String,
    },
    /// One name and version, two packages.
    #[error("{name} {version} is described twice and differently")]
    Twice {
        /// Its name.
        name: String,
        /// Its version.
        version: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stanza(name: &str, version: &str, identity: u8) -> String {
        let identity = crate::package::apk::checksum::Checksum::Sha1([identity; 20]);
        format!("C:{identity}\nP:{name}\nV:{version}\nS:1\nI:1\nt:{}\n\n", version.len())
    }

    #[test]
    fn packages_are_sorted_and_the_newest_build_is_found() {
        let text = [stanza("b", "1.0-r0", 1), stanza("a", "9", 2), stanza("a", "10", 3)].concat();
        let index = Index::parse(text.as_bytes()).unwrap();
        let found: Vec<_> = index.packages().iter().map(|p| (p.name, p.version.as_str())).collect();
        assert_eq!(found, [("a", "10"), ("a", "9"), ("b", "1.0-r0")]);
        assert_eq!(newest_build(text.as_bytes()), 6);
        assert!(Index::parse(b"").unwrap().packages().is_empty());
        assert_eq!(file_name("a", "1-r0"), "a-1-r0.apk");
    }

    #[test]
    fn r11_one_name_and_version_is_one_package() {
        let text = [stanza("a", "1", 1), stanza("a", "1", 1)].concat();
        assert_eq!(Index::parse(text.as_bytes()).unwrap().packages().len(), 1);
        let text = [stanza("a", "1", 1), stanza("a", "1", 2)].concat();
        let error = Index::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "a 1 is described twice and differently");
    }

    #[test]
    fn r11_names_and_versions_lead_nowhere_else() {
        for (name, version) in
            [("..", "1"), ("a/b", "1"), ("a", "../1"), ("a%2f", "1"), ("a\nb", "1")]
        {
            let text = stanza(name, version, 1);
            assert!(Index::parse(text.as_bytes()).is_err(), "{name} {version}");
        }
        assert!(Index::parse(&[0xff]).is_err());
    }
}
