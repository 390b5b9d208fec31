//! One package as its archive holds it, its contents in the store.
//!
//! In comes the archive, out comes an [`Rpm`] and, in the store, a pack with the contents of its files
//! and a record of everything else, both under the archive's digest. The next build reads the record
//! and decompresses nothing. The record holds both headers as they are:
//!
//! ```text
//! "osbuilder-rpm 1"  bytes of the signature header  bytes of the header  newline
//! signature header  header
//! file's number  digest  size  newline                       for each file with a content
//! ```

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read};

use crate::digest::Digest;
use crate::lock::LockedPackage;
use crate::package::rpm::archive::{self, Head};
use crate::package::rpm::files::{self, File};
use crate::package::rpm::header::Header;
use crate::package::rpm::{info, tag};
use crate::store::Store;
use crate::tree::Content;
use crate::unpack::Error;

/// The kind of the store's records of packages. Its number grows with each change of their form.
const RECORD: &str = "rpm-1";
const HEADER: &str = "osbuilder-rpm 1";

/// One package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rpm {
    pub(super) head: Head,
    /// In the header's order.
    pub(super) files: Vec<File>,
    /// The contents by the numbers of their files. Of several names of one file only one is here.
    pub(super) contents: BTreeMap<usize, Content>,
}

/// Returns the package from the store, or reads it from `archive` and keeps it there.
pub(super) fn load<R: Read>(
    locked: &LockedPackage,
    archive: impl FnOnce() -> io::Result<R>,
    store: &Store,
) -> Result<Rpm, Error> {
    if let Some(rpm) = from_store(locked, store)? {
        return Ok(rpm);
    }
    let reader = archive().map_err(|source| broken(locked, archive::Error::Read(source)))?;
    let pack = store.new_pack()?;
    let rpm = read(reader, locked, |content| pack.add(content))?;
    check_identity(&rpm.head, locked)?;
    pack.finish(&locked.digest)?;
    store.put_record(RECORD, &locked.digest, &rpm.to_record())?;
    Ok(rpm)
}

fn broken(locked: &LockedPackage, source: archive::Error) -> Error {
    Error::Package { package: locked.name.clone(), source: source.into() }
}

/// What earlier builds kept. A record that cannot be read counts as absent.
fn from_store(locked: &LockedPackage, store: &Store) -> Result<Option<Rpm>, Error> {
    let Some(record) = store.record(RECORD, &locked.digest)? else { return Ok(None) };
    if !store.load_pack(&locked.digest)? {
        return Ok(None);
    }
    let rpm = Rpm::from_record(&record);
    Ok(rpm.filter(|rpm| check_identity(&rpm.head, locked).is_ok()))
}

/// The opened package must be the one that the index promised.
fn check_identity(head: &Head, locked: &LockedPackage) -> Result<(), Error> {
    let failed = |source: info::Error| Error::Package {
        package: locked.name.clone(),
        source: source.into(),
    };
    let record = info::of_header(&head.header).map_err(failed)?;
    let infos = info::parse(&record).map_err(failed)?;
    let Some(info) = infos.first() else { return Ok(()) };
    for (field, expected, found) in [
        ("name", locked.name.as_str(), info.name.to_owned()),
        ("version", &locked.version, info.version.to_string()),
        ("architecture", &locked.architecture, info.architecture.to_owned()),
    ] {
        if found != expected {
            return Err(Error::OtherPackage {
                package: locked.name.clone(),
                field,
                found,
                expected: expected.to_owned(),
            });
        }
    }
    Ok(())
}

/// What reading contents can fail with.
enum Failure {
    Archive(archive::Error),
    Other(Error),
}

impl From<archive::Error> for Failure {
    fn from(error: archive::Error) -> Self {
        Self::Archive(error)
    }
}

/// Reads an archive, giving each content to `keep`.
fn read(
    reader: impl Read,
    locked: &LockedPackage,
    keep: impl Fn(&mut dyn Read) -> Result<(Digest, u64), crate::store::Error>,
) -> Result<Rpm, Error> {
    let mut reader = BufReader::with_capacity(1 << 16, reader);
    let head = Head::read(&mut reader).map_err(|source| broken(locked, source))?;
    let files = head.files().map_err(|source| broken(locked, source))?;
    let with_sha256 = files::has_sha256(&head.header);
    let mut contents = BTreeMap::new();
    let take = |number: usize, content: &mut dyn Read| -> Result<(), Failure> {
        let (digest, size) = keep(content).map_err(|error| match error {
            crate::store::Error::Source(source) => Failure::Archive(archive::Error::Read(source)),
            error => Failure::Other(Error::Store(error)),
        })?;
        let Some(file) = files.get(number) else { return Ok(()) };
        if !is_stated(file, (digest, size), with_sha256) {
            let (package, path) = (locked.name.clone(), file.path.clone());
            return Err(Failure::Other(Error::FileDigest { package, path }));
        }
        contents.insert(number, Content::Stored { digest, size });
        Ok(())
    };
    head.contents(reader, &files, take).map_err(|failure| match failure {
        Failure::Archive(source) => broken(locked, source),
        Failure::Other(error) => error,
    })?;
    Ok(Rpm { head, files, contents })
}

/// Whether a content is what the header says. Digests of other kinds are not compared: the header names
/// one of the whole payload, too.
fn is_stated(file: &File, (digest, size): (Digest, u64), with_sha256: bool) -> bool {
    let files::Kind::Regular { size: stated, digest: hexadecimal } = &file.kind else {
        // The contents of links are their targets, which the header has as well.
        return true;
    };
    let text = digest.to_string();
    let same = !with_sha256 || hexadecimal.is_empty() || **hexadecimal == *text.as_bytes();
    *stated == size && same
}

impl Rpm {
    /// The content of a regular file, by whichever of its names it came.
    pub(super) fn content(&self, number: usize) -> Option<&Content> {
        if let Some(content) = self.contents.get(&number) {
            return Some(content);
        }
        let own = self.files.get(number).filter(|file| file.link != (0, 0))?.link;
        let mut others = self.contents.iter();
        let other =
            others.find(|(other, _)| self.files.get(**other).is_some_and(|file| file.link == own));
        other.map(|(_, content)| content)
    }

    /// Writes the record.
    fn to_record(&self) -> Vec<u8> {
        let (signature, header) = (self.head.signature.as_bytes(), self.head.header.as_bytes());
        let first = format!("{HEADER} {} {}\n", signature.len(), header.len());
        let mut record = [first.as_bytes(), signature, header].concat();
        for (number, content) in &self.contents {
            let line = format!("{number} {} {}\n", content.digest(), content.size());
            record.extend(line.bytes());
        }
        record
    }

    /// Reads a record.
    fn from_record(bytes: &[u8]) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let first = std::str::from_utf8(bytes.get(..end)?).ok()?;
        let mut words = first.strip_prefix(HEADER)?.split_ascii_whitespace();
        let (signature, header) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let (signature, rest) = bytes.get(end + 1..)?.split_at_checked(signature)?;
        let (header, rest) = rest.split_at_checked(header)?;
        let head = Head {
            signature: Header::parse(signature.to_vec(), tag::HEADER_SIGNATURES).ok()?,
            header: Header::parse(header.to_vec(), tag::HEADER_IMMUTABLE).ok()?,
        };
        let mut contents = BTreeMap::new();
        for line in std::str::from_utf8(rest).ok()?.lines() {
            let mut words = line.split(' ');
            let number = words.next()?.parse().ok()?;
            let (digest, size) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            contents.insert(number, Content::Stored { digest, size });
        }
        let files = head.files().ok()?;
        Some(Self { head, files, contents })
    }
}
