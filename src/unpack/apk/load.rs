//! One package as its archive holds it, its contents in the store.
//!
//! In comes the archive, out comes an [`Apk`] and, in the store, a pack with the contents of its files
//! and a record of everything else, both under the archive's digest. The next build reads the record
//! and decompresses nothing. The record is a text of lines with tabs between fields:
//!
//! ```text
//! osbuilder-apk 1
//! 3                                          it is of version 3
//! i  identity  stanza                        what the package says of itself
//! t  pattern                                 a directory that its trigger watches
//! s  kind  bytes                             a script
//! o  user  group                             whose the files are that follow
//! f  …                                       a file: see `unpack/file.rs`
//! ```

use std::collections::BTreeMap;
use std::io::{self, Read};

use crate::digest::Digest;
use crate::lock::LockedPackage;
use crate::package::apk::archive::{self, Control, Files, Format};
use crate::package::apk::checksum::{Checksum, Sha1};
use crate::package::apk::info::{Info, PackageInfo};
use crate::package::apk::scripts::ScriptKind;
use crate::package::tar;
use crate::store::Store;
use crate::tree::{Content, Meta, TreePath, escape, unescape};
use crate::unpack::Error;
use crate::unpack::file::{self, FileKind};

/// The kind of the store's records of packages. Its number grows with each change of their form.
const RECORD: &str = "apk-1";
const HEADER: &str = "osbuilder-apk 1";

/// One package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Apk {
    pub(super) control: Control,
    /// In the archive's order.
    pub(super) files: Vec<File>,
}

/// One file of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) path: TreePath,
    /// Owners as numbers, which count only where the names are unknown.
    pub(super) meta: Meta,
    pub(super) user: Box<[u8]>,
    pub(super) group: Box<[u8]>,
    pub(super) kind: FileKind,
    /// Of contents and of links' targets.
    pub(super) checksum: Option<Checksum>,
}

/// Returns the package from the store, or reads it from `archive` and keeps it there.
pub(super) fn load<R: Read>(
    locked: &LockedPackage,
    archive: impl FnOnce() -> io::Result<R>,
    store: &Store,
) -> Result<Apk, Error> {
    if let Some(apk) = from_store(locked, store)? {
        return Ok(apk);
    }
    let broken = |source: archive::Error| broken(locked, source);
    let reader = archive().map_err(|source| broken(archive::Error::Read(source)))?;
    let pack = store.new_pack()?;
    let mut apk = read(reader, locked, |content| pack.add(content))?;
    name_architecture(&mut apk.control.info, locked);
    check_identity(&apk.control, locked)?;
    pack.finish(&locked.digest)?;
    store.put_record(RECORD, &locked.digest, apk.to_record().as_bytes())?;
    Ok(apk)
}

fn broken(locked: &LockedPackage, source: archive::Error) -> Error {
    Error::Package { package: locked.name.clone(), source: source.into() }
}

/// What earlier builds kept. A record that cannot be read counts as absent.
fn from_store(locked: &LockedPackage, store: &Store) -> Result<Option<Apk>, Error> {
    let Some(record) = store.record(RECORD, &locked.digest)? else { return Ok(None) };
    if !store.load_pack(&locked.digest)? {
        return Ok(None);
    }
    let apk = Apk::from_record(&record);
    Ok(apk.filter(|apk| check_identity(&apk.control, locked).is_ok()))
}

/// A package for all architectures is known under that of the repository, as its index has it and as
/// apk's own database will.
fn name_architecture(info: &mut PackageInfo, locked: &LockedPackage) {
    let own = format!("\nA:{}\n", locked.architecture);
    info.stanza = info.stanza.replacen("\nA:noarch\n", &own, 1);
}

/// The opened package must be the one that the index promised.
fn check_identity(control: &Control, locked: &LockedPackage) -> Result<(), Error> {
    let info = Info::parse(&control.info.stanza)
        .map_err(|source| broken(locked, archive::Error::Info(source)))?;
    let stated =
        if info.architecture.is_empty() { &locked.architecture } else { info.architecture };
    for (field, expected, found) in [
        ("pkgname", locked.name.as_str(), info.name),
        ("pkgver", &locked.version, info.version.as_str()),
        ("arch", &locked.architecture, stated),
    ] {
        if found != expected {
            return Err(Error::OtherPackage {
                package: locked.name.clone(),
                field,
                found: found.to_owned(),
                expected: expected.to_owned(),
            });
        }
    }
    Ok(())
}

/// Reads an archive, giving each content to `keep`.
fn read<R: Read>(
    reader: R,
    locked: &LockedPackage,
    keep: impl Fn(&mut dyn Read) -> Result<(Digest, u64), crate::store::Error>,
) -> Result<Apk, Error> {
    let broken = |source| broken(locked, source);
    let (mut control, mut archive) = Files::open(reader, locked.size).map_err(broken)?;
    let mut files: Vec<File> = Vec::new();
    let mut linkable: BTreeMap<TreePath, Option<Checksum>> = BTreeMap::new();
    while let Some(entry) = archive.next_file().map_err(broken)? {
        let tar::Entry { path, meta, kind, words } = entry;
        let is_third = control.format == Format::Third;
        let (kind, checksum) = match kind {
            tar::EntryKind::Directory => (FileKind::Directory, None),
            tar::EntryKind::Regular { .. } => {
                let hasher = (!is_third).then(Sha1::default);
                let mut content = Tee { inner: archive.content(), hasher };
                let (digest, size) = keep(&mut content).map_err(|error| match error {
                    crate::store::Error::Source(source) => broken(archive::Error::Read(source)),
                    error => Error::Store(error),
                })?;
                let sum = match content.hasher {
                    Some(hasher) => hasher.finish().map(Checksum::Sha1),
                    None => Ok(Checksum::short(*digest.as_bytes())),
                };
                let sum = sum.map_err(|source| broken(archive::Error::Forged(source)))?;
                (FileKind::Regular(Content::Stored { digest, size }), Some(sum))
            }
            tar::EntryKind::HardLink(target) => match linkable.get(&target) {
                Some(sum) => (FileKind::HardLink(target), *sum),
                None => {
                    let archive = locked.name.to_string();
                    return Err(Error::DanglingHardLink { archive, path });
                }
            },
            tar::EntryKind::Symlink(target) => {
                let sum = match is_third {
                    true => Ok(Checksum::short(*Digest::of(&target).as_bytes())),
                    false => Checksum::sha1(&target),
                };
                let sum = sum.map_err(|source| broken(archive::Error::Forged(source)))?;
                (FileKind::Symlink(target), Some(sum))
            }
            tar::EntryKind::CharacterDevice(device) => (FileKind::CharacterDevice(device), None),
            tar::EntryKind::BlockDevice(device) => (FileKind::BlockDevice(device), None),
            tar::EntryKind::Fifo => (FileKind::Fifo, None),
        };
        if !is_stated(words.sha1.as_deref(), checksum) {
            return Err(Error::FileDigest { package: locked.name.clone(), path });
        }
        if kind != FileKind::Directory {
            linkable.insert(path.clone(), checksum);
        }
        files.push(File { path, meta, user: words.user, group: words.group, kind, checksum });
    }
    archive.finish().map_err(broken)?;
    // It was compared, and nobody asks for it again.
    control.info.data_digest = None;
    Ok(Apk { control, files })
}

/// Whether a digest that the archive names is that of the file.
fn is_stated(stated: Option<&[u8]>, found: Option<Checksum>) -> bool {
    let (Some(stated), Some(Checksum::Sha1(found))) = (stated, found) else { return true };
    let mut bytes = [0; 20];
    let text = std::str::from_utf8(stated).unwrap_or_default();
    crate::digest::parse_hex(text, &mut bytes).is_some() && bytes == found
}

struct Tee<R> {
    inner: R,
    hasher: Option<Sha1>,
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(output)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(output.get(..count).unwrap_or_default());
        }
        Ok(count)
    }
}

impl Apk {
    /// Writes the record.
    fn to_record(&self) -> String {
        let Control { identity, info, scripts, format } = &self.control;
        let version = if *format == Format::Third { "3\n" } else { "" };
        let stanza = escape(info.stanza.as_bytes());
        let mut text = format!("{HEADER}\n{version}i\t{identity}\t{stanza}\n");
        for pattern in &info.triggers {
            text.push_str(&format!("t\t{}\n", escape(pattern.as_bytes())));
        }
        for (kind, bytes) in scripts {
            text.push_str(&format!("s\t{kind}\t{}\n", escape(bytes)));
        }
        let mut owner: Option<(&[u8], &[u8])> = None;
        for file in &self.files {
            if owner != Some((&file.user, &file.group)) {
                owner = Some((&file.user, &file.group));
                text.push_str(&format!("o\t{}\t{}\n", escape(&file.user), escape(&file.group)));
            }
            let sum = file.checksum.map_or_else(|| "-".to_owned(), |sum| sum.to_string());
            file::push_line(&mut text, (&file.path, &file.meta, &file.kind), &sum);
        }
        text
    }

    /// Reads a record.
    fn from_record(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut lines = text.strip_suffix('\n')?.split('\n');
        if lines.next()? != HEADER {
            return None;
        }
        let (mut identity, mut scripts, mut files) = (None, Vec::new(), Vec::new());
        let mut info =
            PackageInfo { stanza: String::new(), data_digest: None, triggers: Vec::new() };
        let mut format = Format::Second;
        let mut owner = (Box::default(), Box::default());
        let word = |text: &str| unescape(text).map(Vec::into_boxed_slice);
        for line in lines {
            let mut fields = line.split('\t');
            match fields.next()? {
                "3" => format = Format::Third,
                "i" => {
                    identity = Some(fields.next()?.parse().ok()?);
                    info.stanza = String::from_utf8(unescape(fields.next()?)?).ok()?;
                }
                "t" => info.triggers.push(String::from_utf8(unescape(fields.next()?)?).ok()?),
                "s" => {
                    let kind = fields.next()?;
                    let kind = ScriptKind::ALL.into_iter().find(|known| known.name() == kind)?;
                    scripts.push((kind, unescape(fields.next()?)?.into()));
                }
                "o" => owner = (word(fields.next()?)?, word(fields.next()?)?),
                "f" => files.push(parse_file(&mut fields, &owner)?),
                _ => return None,
            }
        }
        Some(Self { control: Control { identity: identity?, info, scripts, format }, files })
    }
}

fn parse_file<'a>(
    fields: &mut impl Iterator<Item = &'a str>,
    (user, group): &(Box<[u8]>, Box<[u8]>),
) -> Option<File> {
    let (path, meta, kind, sum) = file::parse_line(fields)?;
    let checksum = if sum == "-" { None } else { Some(sum.parse().ok()?) };
    Some(File { path, meta, user: user.clone(), group: group.clone(), kind, checksum })
}
