//! rpm's database of installed packages, as its own rpm keeps it: in SQLite, or in SUSE's ndb.
//!
//! In: the packages in the order of installing; out: the files of the database, by name. It has each
//! package's header, with what rpm adds when it installs, and indexes (`keys.rs`) that lead from the
//! values of one tag to the packages that have them. Of the signature header only known tags of the
//! right type get in. Everything is written in one fixed order, so the same packages give the same
//! bytes. Specification: rpm's `lib/rpmdb.c`, and of each form what its file says.

mod index;
mod keys;
mod ndb;
pub mod read;
mod sqlite;
#[cfg(test)]
mod tests;

use super::header::{Extra, Header, Type};
use super::tag;
use keys::TABLES;

/// How a database is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// In SQLite: `rpmdb.sqlite`.
    Sqlite,
    /// As SUSE does: `Packages.db` and `Index.db`.
    Ndb,
}

/// A package to be registered.
#[derive(Debug, Clone, Copy)]
pub struct Installed<'a> {
    /// The header that nobody signed.
    pub signature: &'a Header,
    /// The header that was signed.
    pub header: &'a Header,
    /// What became of each file, by rpm's numbers: 0 as usual, 1 replaced, 4 of another colour.
    pub states: &'a [u8],
}

/// What all packages of one transaction have in common.
#[derive(Debug, Clone, Copy)]
pub struct Transaction {
    /// When it was, in seconds since 1970; also its number.
    pub time: u32,
    /// Which colours of files the machine takes: 1 for 32 bits, 2 for 64, 3 for both.
    pub color: u32,
}

/// Tags of the signature header that are taken over, as rpm does: the tag there, its type and number of
/// values, its tag here. Of texts the number is that of their letters; 0 stands for any.
const TAKEN: [(u32, Type, usize, u32); 10] = [
    (tag::signature::SIZE, Type::Word, 1, tag::installed::SIGNATURE_SIZE),
    (tag::signature::PGP, Type::Binary, 0, tag::installed::SIGNATURE_PGP),
    (tag::signature::MD5, Type::Binary, 16, tag::installed::SIGNATURE_MD5),
    (tag::signature::GPG, Type::Binary, 0, tag::installed::SIGNATURE_GPG),
    (tag::signature::PAYLOAD_SIZE, Type::Word, 1, tag::installed::ARCHIVE_SIZE),
    (tag::signature::DSA_HEADER, Type::Binary, 0, tag::signature::DSA_HEADER),
    (tag::signature::RSA_HEADER, Type::Binary, 0, tag::signature::RSA_HEADER),
    (tag::signature::SHA1_HEADER, Type::Text, 40, tag::signature::SHA1_HEADER),
    (tag::signature::SHA256_HEADER, Type::Text, 64, tag::signature::SHA256_HEADER),
    (tag::signature::OPENPGP, Type::Texts, 0, tag::signature::OPENPGP),
];

/// Why there is no database.
#[derive(Debug, thiserror::Error)]
#[error("the database of the packages cannot be written")]
pub struct Error(#[from] rusqlite::Error);

/// Writes the database: its files, by name.
///
/// # Errors
/// [`Error`] when memory does not suffice.
pub fn database(
    packages: &[Installed<'_>],
    transaction: Transaction,
    format: Format,
) -> Result<Vec<(&'static str, Vec<u8>)>, Error> {
    let headers: Vec<_> = packages.iter().map(|package| blob(package, transaction)).collect();
    let rows = |table: &keys::Table| {
        let numbered = (1_u32..).zip(packages);
        let of = |(number, package)| {
            let keys = table.keys(package, transaction).into_iter();
            keys.map(move |(place, key)| Row { key, number, place })
        };
        numbered.flat_map(of).collect::<Vec<_>>()
    };
    let tables: Vec<_> = TABLES.iter().map(|table| (table, rows(table))).collect();
    Ok(match format {
        Format::Sqlite => vec![("rpmdb.sqlite", sqlite::database(&headers, &tables)?)],
        Format::Ndb => {
            let (packages, generation) = ndb::packages(&headers);
            let index = index::index(&tables, generation);
            vec![("Packages.db", packages), ("Index.db", index)]
        }
    })
}

/// A way from a tag's value to a package.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    key: Vec<u8>,
    /// The package's, from 1.
    number: u32,
    /// The value's place among those of the tag.
    place: u32,
}

/// The header as the database holds it.
fn blob(package: &Installed<'_>, Transaction { time, color }: Transaction) -> Vec<u8> {
    let mut extra = Extra::default();
    for (from, kind, count, to) in TAKEN {
        if is_sound(package.signature, (from, kind, count)) && !package.header.has(to) {
            extra.copy(package.signature, from, to);
        }
    }
    extra.words(tag::installed::INSTALL_TIME, &[time]);
    extra.bytes(tag::installed::FILE_STATES, package.states);
    extra.words(tag::installed::INSTALL_COLOR, &[color]);
    extra.words(tag::installed::INSTALL_TID, &[time]);
    extra.behind(package.header)
}

/// Whether the signature header has a value of the right kind and length: nobody signed it.
fn is_sound(signature: &Header, (tag, kind, count): (u32, Type, usize)) -> bool {
    let Some((found, number)) = signature.kind(tag) else { return false };
    let number = match kind {
        Type::Text => signature.text(tag).map_or(0, <[u8]>::len),
        _ => number,
    };
    found == kind && (count == 0 || count == number)
}
