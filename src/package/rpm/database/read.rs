//! Databases of installed packages that others wrote: SQLite, ndb, and Berkeley DB.
//!
//! In: the bytes of the file that holds the headers, `rpmdb.sqlite`, `Packages.db` or `Packages`; out:
//! the packages. Which form it is, its first bytes say. The file may be hostile: every place in it is
//! checked, and each of its pages or blocks counts at most once, so that neither memory nor time is
//! more than the file is long. Specification: of each form what its file says.

mod bdb;
mod ndb;
mod sqlite;
#[cfg(test)]
mod tests;

use super::super::header::{self, Header};
use super::super::tag;

/// A package in a database.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its architecture; keys are kept like packages, and have none.
    pub architecture: Option<String>,
    /// Epoch, version and release: `1:2.34-5.el9`.
    pub version: String,
    /// The file of the source package that it was built from.
    pub source: Option<String>,
}

/// The packages of a database, in the order of the file.
///
/// # Errors
/// [`BadDatabase`]
pub fn read(bytes: &[u8]) -> Result<Vec<Package>, BadDatabase> {
    let headers = match bytes {
        _ if bytes.starts_with(sqlite::MAGIC) => sqlite::headers(bytes)?,
        _ if bytes.starts_with(ndb::MAGIC) => ndb::headers(bytes)?,
        _ => bdb::headers(bytes)?,
    };
    headers.iter().map(|header| package(header)).collect()
}

/// What the header of an installed package says.
fn package(bytes: &[u8]) -> Result<Package, BadDatabase> {
    let header = Header::parse_installed(bytes)?;
    let word = |tag| header.text(tag).map(|text| String::from_utf8_lossy(text).into_owned());
    let must = |tag| word(tag).ok_or(BadDatabase::Nameless);
    let epoch = header.number(tag::EPOCH).filter(|epoch| *epoch > 0);
    let epoch = epoch.map(|epoch| format!("{epoch}:")).unwrap_or_default();
    Ok(Package {
        name: must(tag::NAME)?,
        architecture: word(tag::ARCHITECTURE),
        version: format!("{epoch}{}-{}", must(tag::VERSION)?, must(tag::RELEASE)?),
        source: word(tag::SOURCE_RPM),
    })
}

/// Why packages cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadDatabase {
    /// It is none of the three.
    #[error("it is no database of rpm's that is known")]
    Unknown,
    /// It breaks a rule of its form.
    #[error("in the {form} database {rule}")]
    Broken {
        /// The form.
        form: &'static str,
        /// Which rule.
        rule: &'static str,
    },
    /// It is sound, but has something that is not read.
    #[error("the {form} database has {what}, which is not read")]
    Unsupported {
        /// The form.
        form: &'static str,
        /// What it has.
        what: &'static str,
    },
    /// The header of a package is broken.
    #[error("the header of a package in the database is broken")]
    Header(#[from] header::Error),
    /// A package has no name, version or release.
    #[error("a package in the database has no name, version or release")]
    Nameless,
}

/// A little-endian number at a place.
fn little(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    usize::try_from(u32::from_le_bytes(*bytes)).ok()
}
