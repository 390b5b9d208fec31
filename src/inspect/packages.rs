//! Which packages a tree has, by the databases of dpkg, apk and rpm, whoever wrote them.

use std::collections::BTreeMap;
use std::io::Read;

use super::Error;
use crate::lock::Lock;
use crate::package::apk::database as apk;
use crate::package::deb::control;
use crate::package::rpm::database::read as rpm;
use crate::tree::{Contents, Kind, Tree, TreePath, escape};

/// Where dpkg keeps what is installed.
pub(super) const DPKG_STATUS: &str = "var/lib/dpkg/status";
/// Where apk does, before version 3 and since.
const APK: [&str; 2] = ["lib/apk/db/installed", "usr/lib/apk/db/installed"];
/// Where rpm does: folders, and the files of SQLite, ndb and Berkeley DB.
const RPM_FOLDERS: [&str; 3] = ["usr/lib/sysimage/rpm", "var/lib/rpm", "usr/share/rpm"];
const RPM_FILES: [&str; 3] = ["rpmdb.sqlite", "Packages.db", "Packages"];
/// What SQLite has not yet taken into the database.
const LOG: &str = "rpmdb.sqlite-wal";
/// The largest database that is read: those of whole desktops have half of it.
const MOST: u64 = 256 << 20;

/// The architecture of keys, which rpm keeps like packages.
pub const NO_ARCHITECTURE: &str = "(none)";

/// Whose database a package stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// That of Debian's family.
    Dpkg,
    /// Alpine's.
    Apk,
    /// That of rpm's family.
    Rpm,
}

/// A package that is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Whose database says so.
    pub manager: Manager,
    /// Its name.
    pub name: String,
    /// Its architecture, in the family's notation, or [`NO_ARCHITECTURE`].
    pub architecture: String,
    /// Its version, in the family's notation.
    pub version: String,
    /// What it was built from, as the database has it: `glibc (2.36-9)`, `dbus-1.12-5.src.rpm`.
    pub source: Option<String>,
}

/// The versions of packages, by name and architecture; none, if the tree has kept no database.
///
/// # Errors
/// As [`packages`].
pub fn packages_of(
    tree: &Tree,
    contents: &dyn Contents,
) -> Result<BTreeMap<String, String>, Error> {
    let mut found = BTreeMap::new();
    for Package { name, architecture, version, .. } in packages(tree, contents)? {
        let subject = escape(format!("{name}:{architecture}").as_bytes());
        // Of kernels and keys there are several.
        let versions: &mut String = found.entry(subject).or_default();
        let comma = if versions.is_empty() { "" } else { ", " };
        versions.push_str(comma);
        versions.push_str(&escape(version.as_bytes()));
    }
    Ok(found)
}

/// All packages, in the order of the databases; none, if the tree has kept none.
///
/// # Errors
/// [`Error::Content`], [`Error::Packages`], [`Error::TooLarge`], [`Error::Log`].
pub fn packages(tree: &Tree, contents: &dyn Contents) -> Result<Vec<Package>, Error> {
    let mut found = Vec::new();
    let mut put = |manager, name: &str, architecture: &str, version: &str, source: Option<&str>| {
        let [name, architecture, version] = [name, architecture, version].map(str::to_owned);
        found.push(Package {
            manager,
            name,
            architecture,
            version,
            source: source.map(str::to_owned),
        });
    };
    if let Some((_, bytes)) = file(tree, contents, DPKG_STATUS)? {
        for stanza in control::stanzas(&bytes).flatten().filter(has_files) {
            let field = |name| stanza.get(name).unwrap_or_default();
            let [name, architecture, version] = ["Package", "Architecture", "Version"].map(field);
            put(Manager::Dpkg, name, architecture, version, stanza.get("Source"));
        }
    }
    for path in APK {
        if let Some((_, bytes)) = file(tree, contents, path)? {
            for [name, architecture, version, origin] in apk::packages(&bytes) {
                let origin = Some(origin.as_str()).filter(|origin| !origin.is_empty());
                put(Manager::Apk, &name, &architecture, &version, origin);
            }
            break;
        }
    }
    for package in rpm_packages(tree, contents)? {
        let architecture = package.architecture.as_deref().unwrap_or(NO_ARCHITECTURE);
        put(Manager::Rpm, &package.name, architecture, &package.version, package.source.as_deref());
    }
    Ok(found)
}

/// Whether a package of dpkg's has files in the tree: what was removed is still known for its
/// configuration, or for what was wanted of it; what is only unpacked is there all the same.
fn has_files(stanza: &control::Stanza<'_>) -> bool {
    let state = stanza.get("Status").and_then(|status| status.split_whitespace().last());
    !matches!(state, Some("config-files" | "not-installed"))
}

/// The packages in the first of rpm's databases that is there.
fn rpm_packages(tree: &Tree, contents: &dyn Contents) -> Result<Vec<rpm::Package>, Error> {
    for folder in RPM_FOLDERS {
        for name in RPM_FILES {
            let Some((path, bytes)) = file(tree, contents, &format!("{folder}/{name}"))? else {
                continue;
            };
            let log = file(tree, contents, &format!("{folder}/{LOG}"))?;
            if let Some((path, _)) = log.filter(|(_, log)| !log.is_empty()) {
                return Err(Error::Log { path });
            }
            return rpm::read(&bytes).map_err(|source| Error::Packages { path, source });
        }
    }
    Ok(Vec::new())
}

/// The content of a file, if it is there.
fn file(
    tree: &Tree,
    contents: &dyn Contents,
    path: &str,
) -> Result<Option<(TreePath, Vec<u8>)>, Error> {
    let path = TreePath::parse(path).expect("the path is clean");
    let Ok(place) = tree.resolve(&path) else { return Ok(None) };
    let Some(Kind::Regular(content)) = tree.get(&place).map(|inode| &inode.kind) else {
        return Ok(None);
    };
    if content.size() > MOST {
        return Err(Error::TooLarge { path });
    }
    let mut bytes = Vec::new();
    let reader = content.open(contents);
    let read = reader.and_then(|reader| reader.take(MOST).read_to_end(&mut bytes));
    read.map_err(|source| Error::Content { path: path.clone(), source })?;
    Ok(Some((path, bytes)))
}

impl Lock {
    /// The versions of its packages, by name and architecture.
    pub fn versions(&self) -> BTreeMap<String, String> {
        let one = |package: &crate::lock::LockedPackage| {
            (format!("{}:{}", package.name, package.architecture), package.version.clone())
        };
        self.packages.iter().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::rpm::database::{Format, Transaction, database};
    use crate::testing::tree;
    use crate::tree::NoContents;

    fn packages(files: &[(&str, &[u8])]) -> Result<Vec<String>, Error> {
        let found = packages_of(&tree(files), &NoContents)?;
        Ok(found.iter().map(|(name, version)| format!("{name} {version}")).collect())
    }

    /// A database in ndb without a package.
    fn empty() -> Vec<u8> {
        let transaction = Transaction { time: 1, color: 3 };
        database(&[], transaction, Format::Ndb).unwrap().swap_remove(0).1
    }

    #[test]
    fn packages_are_read_from_each_family_s_database() {
        let status: &[u8] = b"Package: dash\nStatus: install ok installed\nArchitecture: amd64\n\
                              Version: 0.5-1\n\nPackage: x\nArchitecture: all\nVersion: 2\n";
        let installed: &[u8] = b"C:Q1\nP:musl\nV:1.2.4-r2\nA:x86_64\nF:lib\nR:x\n\n\
                                 C:Q1\nP:zlib\nV:1.3-r1\nA:x86_64\n\n";
        let apk = ["musl:x86_64 1.2.4-r2", "zlib:x86_64 1.3-r1"];
        assert_eq!(packages(&[(DPKG_STATUS, status)]).unwrap(), ["dash:amd64 0.5-1", "x:all 2"]);
        assert_eq!(packages(&[(APK[0], installed)]).unwrap(), apk);
        assert_eq!(packages(&[(APK[1], installed)]).unwrap(), apk);
        assert!(packages(&[("var/lib/rpm/Packages.db", &empty())]).unwrap().is_empty());
        assert!(packages(&[("etc/passwd", b"")]).unwrap().is_empty());
    }

    #[test]
    fn what_dpkg_has_removed_is_no_package_and_what_it_has_unpacked_is_one() {
        let stanza = |name: &str, status: &str| {
            format!("Package: {name}\nStatus: {status}\nArchitecture: all\nVersion: 1\n\n")
        };
        let status = [
            stanza("gone", "deinstall ok config-files"),
            stanza("here", "hold ok installed"),
            "Package: never\nStatus: purge ok not-installed\n\n".to_owned(),
            stanza("waits", "install ok triggers-awaited"),
            stanza("without-script", "install ok unpacked"),
        ];
        let found = packages(&[(DPKG_STATUS, status.concat().as_bytes())]).unwrap();
        assert_eq!(found, ["here:all 1", "waits:all 1", "without-script:all 1"]);
    }

    #[test]
    fn a_database_that_cannot_be_read_is_an_error_that_names_it() {
        let bad = packages(&[("var/lib/rpm/Packages", b"text")]).unwrap_err();
        assert_eq!(bad.to_string(), "cannot read which packages are in /var/lib/rpm/Packages");
        let ndb = empty();
        let log = [
            ("var/lib/rpm/rpmdb.sqlite", ndb.as_slice()),
            ("var/lib/rpm/rpmdb.sqlite-wal", b"more"),
        ];
        let words = packages(&log).unwrap_err().to_string();
        assert!(words.contains("/var/lib/rpm/rpmdb.sqlite-wal"), "{words}");
        let empty = [
            ("var/lib/rpm/rpmdb.sqlite", ndb.as_slice()),
            ("var/lib/rpm/rpmdb.sqlite-wal", &[][..]),
        ];
        assert!(packages(&empty).is_ok());
    }
}
