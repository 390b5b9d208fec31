//! rpm's database of installed packages, in SQLite.
//!
//! In: the packages in the order of installing; out: the bytes of `rpmdb.sqlite`. The table `Packages`
//! has each package's header, with what rpm adds when it installs; of the others each leads from the
//! values of one tag to the packages that have them. Of the signature header only known tags of the
//! right type get in. Everything is written in one fixed order, so the same packages give the same
//! bytes. Specification: rpm's `lib/backend/sqlite.c` and `lib/rpmdb.c`.

use std::collections::BTreeSet;

use rusqlite::types::Value;
use rusqlite::{Connection, params};

use super::header::{Extra, Header, Type};
use super::tag;

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

/// What a table's keys are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keys {
    Texts,
    /// Requirements, without those that only installing needs.
    Requirements,
    /// Each text once for a package.
    Once,
    Bytes,
    /// The transaction's number, as a little-endian machine keeps it.
    Transaction,
}

/// Tables, tags and keys, in the order in which rpm makes them.
const TABLES: [(&str, u32, Keys); 18] = [
    ("Name", tag::NAME, Keys::Texts),
    ("Basenames", tag::BASE_NAMES, Keys::Texts),
    ("Group", tag::GROUP, Keys::Texts),
    ("Requirename", tag::REQUIRE_NAME, Keys::Requirements),
    ("Providename", tag::PROVIDE_NAME, Keys::Texts),
    ("Conflictname", tag::CONFLICT_NAME, Keys::Texts),
    ("Obsoletename", tag::OBSOLETE_NAME, Keys::Texts),
    ("Triggername", tag::TRIGGER_NAME, Keys::Once),
    ("Dirnames", tag::DIRECTORY_NAMES, Keys::Texts),
    ("Installtid", tag::installed::INSTALL_TID, Keys::Transaction),
    ("Sigmd5", tag::signature::MD5, Keys::Bytes),
    ("Sha1header", tag::signature::SHA1_HEADER, Keys::Texts),
    ("Filetriggername", tag::FILE_TRIGGER_NAME, Keys::Once),
    ("Transfiletriggername", tag::TRANSACTION_FILE_TRIGGER_NAME, Keys::Once),
    ("Recommendname", tag::RECOMMEND[0], Keys::Texts),
    ("Suggestname", tag::SUGGEST[0], Keys::Texts),
    ("Supplementname", tag::SUPPLEMENT[0], Keys::Texts),
    ("Enhancename", tag::ENHANCE[0], Keys::Texts),
];

/// Tables whose rows are never looked for by package.
const WITHOUT_PACKAGE_INDEX: [&str; 5] = ["Name", "Group", "Installtid", "Sigmd5", "Sha1header"];

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

/// Writes the database.
///
/// # Errors
/// [`Error`] when memory does not suffice.
pub fn database(packages: &[Installed<'_>], transaction: Transaction) -> Result<Vec<u8>, Error> {
    let connection = Connection::open_in_memory()?;
    connection.execute_batch("PRAGMA page_size = 4096; BEGIN")?;
    make_tables(&connection)?;
    let mut insert = connection.prepare("INSERT INTO 'Packages' VALUES (?, ?)")?;
    for (number, package) in (1_i64..).zip(packages) {
        insert.execute(params![number, blob(package, transaction)])?;
    }
    drop(insert);
    for (table, tag, keys) in TABLES {
        let mut insert = connection.prepare(&format!("INSERT INTO '{table}' VALUES (?, ?, ?)"))?;
        for (number, package) in (1_i64..).zip(packages) {
            for (place, key) in self::keys(package, transaction, (tag, keys)) {
                insert.execute(params![key, number, place])?;
            }
        }
    }
    connection.execute_batch("COMMIT")?;
    let mut bytes = connection.serialize("main")?.to_vec();
    // Written and read with a write-ahead log, as rpm has it (SQLite's file format, section 1.3).
    if let Some(versions) = bytes.get_mut(18..20) {
        versions.fill(2);
    }
    Ok(bytes)
}

fn make_tables(connection: &Connection) -> Result<(), Error> {
    let mut sql = String::from(
        "CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT,blob BLOB NOT NULL);",
    );
    for (table, _, keys) in TABLES {
        let kind = if matches!(keys, Keys::Bytes | Keys::Transaction) { "BLOB" } else { "TEXT" };
        sql.push_str(&format!(
            "CREATE TABLE '{table}' (key '{kind}' NOT NULL, hnum INTEGER NOT NULL, \
             idx INTEGER NOT NULL, FOREIGN KEY (hnum) REFERENCES 'Packages'(hnum));"
        ));
        if kind == "TEXT" {
            let index = format!("CREATE INDEX '{table}_key_idx' ON '{table}'(key ASC);");
            sql.push_str(&index);
        }
        if !WITHOUT_PACKAGE_INDEX.contains(&table) {
            let index = format!("CREATE INDEX '{table}_hnum_idx' ON '{table}'(hnum ASC);");
            sql.push_str(&index);
        }
    }
    Ok(connection.execute_batch(&sql)?)
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

/// The keys of a table that lead to a package, each with its place among the tag's values.
fn keys(
    package: &Installed<'_>,
    transaction: Transaction,
    (tag, keys): (u32, Keys),
) -> Vec<(i64, Value)> {
    let text = |bytes: &[u8]| Value::Text(String::from_utf8_lossy(bytes).into_owned());
    match keys {
        Keys::Transaction => vec![(0, Value::Blob(transaction.time.to_le_bytes().to_vec()))],
        Keys::Bytes => {
            let is_sound = is_sound(package.signature, (tag, Type::Binary, 16));
            let found = is_sound.then(|| (0, Value::Blob(package.signature.binary(tag).to_vec())));
            found.into_iter().collect()
        }
        Keys::Texts if tag == tag::signature::SHA1_HEADER => {
            let is_sound = is_sound(package.signature, (tag, Type::Text, 40));
            let stated = package.signature.text(tag).filter(|_| is_sound);
            stated.map(|stated| (0, text(stated))).into_iter().collect()
        }
        Keys::Texts if tag == tag::GROUP => {
            package.header.text(tag).map(|group| (0, text(group))).into_iter().collect()
        }
        Keys::Texts => (0..).zip(package.header.texts(tag).map(text)).collect(),
        Keys::Once => {
            let mut seen = BTreeSet::new();
            let texts = (0..).zip(package.header.texts(tag));
            texts.filter(|(_, key)| seen.insert(*key)).map(|(at, key)| (at, text(key))).collect()
        }
        Keys::Requirements => {
            let flags = package.header.numbers(tag::REQUIRE_FLAGS);
            let all = (0..).zip(package.header.texts(tag)).zip(flags);
            let kept = all.filter(|(_, flags)| !is_transient(*flags));
            kept.map(|((at, key), _)| (at, text(key))).collect()
        }
    }
}

/// Whether only installing needs it: rpm's own features, and what scripts need that run then; but not
/// what also scripts of removing need.
const fn is_transient(flags: u64) -> bool {
    const INSTALLING: u64 = 1 << 5 | 1 << 7 | 1 << 9 | 1 << 10 | 1 << 24 | 1 << 26;
    const REMOVING: u64 = 1 << 11 | 1 << 12;
    flags & INSTALLING != 0 && flags & REMOVING == 0
}
