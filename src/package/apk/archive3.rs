//! Reads `.apk` files of version 3 as a stream: first what the package says of itself and who signed
//! that, then the files one by one.
//!
//! In comes a reader of the whole file; nothing is written. The values in its first block name every
//! file with owner, mode and digest; contents follow in the same order, each under its number. So no
//! byte is without a digest, and a content that is not the promised one fails when its end is read.
//!
//! Format: apk-v3(5); the numbers of fields are apk-tools' own.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};

use super::adb::{self, Adb, List, Value};
use super::archive::{Control, Format};
use super::blocks::{self, Blocks, Schema, Signed};
use super::checksum::Checksum;
use super::info::PackageInfo;
use super::schema;
use crate::digest::{Digest, Hasher};
use crate::package::tar::{Entry, EntryKind, Words};
use crate::tree::{BadPath, Device, Meta, TreePath};

/// Bytes of a package's values. The largest of Alpine's list 30,000 files.
const MAXIMUM_VALUES: u64 = 64 << 20;
/// Plain bytes of a package.
const MAXIMUM: u64 = 32 << 30;
/// Who owns what belongs to nobody that is known.
const NOBODY: u32 = 65_534;

/// A package up to its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// What it says of itself.
    pub control: Control,
    /// Its values, and the signatures over them.
    pub signed: Signed,
    /// The identities by which an index may name it.
    identities: Vec<Checksum>,
}

impl Head {
    /// Whether it is the package that an index names so.
    pub fn is(&self, identity: &str) -> bool {
        self.identities.iter().any(|own| own.to_string() == identity)
    }
}

/// A file that will come, and what its content must be.
#[derive(Debug)]
struct Promised {
    entry: Entry,
    /// Number of its directory and its own in there; none, if there is no content.
    place: Option<[u32; 2]>,
    digest: Option<Digest>,
}

/// The files of a package.
#[derive(Debug)]
pub struct Files<R> {
    blocks: Blocks<R>,
    promised: std::vec::IntoIter<Promised>,
    /// The content that is being read; none, once it was read whole.
    content: Option<(Hasher, Digest)>,
}

impl<R: BufRead> Files<R> {
    /// Reads a package of `size` bytes up to its files.
    ///
    /// # Errors
    /// [`Error`]
    pub fn open(inner: R, size: u64) -> Result<(Head, Self), Error> {
        let (signed, blocks) = Blocks::open(inner, Schema::Package, (MAXIMUM_VALUES, MAXIMUM))
            .map_err(Error::Blocks)?;
        let adb = Adb::new(&signed.values)?;
        let root = adb.root().list()?;
        let digest = *Digest::of(&signed.values).as_bytes();
        let identity = Checksum::short(digest);
        let words = schema::package(&root, identity, size).map_err(Error::Words)?;
        let promised = promised(&root, words.built)?;
        let own = [Checksum::Sha256(digest), identity];
        let identities = own.into_iter().chain(words.stated).collect();
        let info =
            PackageInfo { stanza: words.stanza, data_digest: None, triggers: words.triggers };
        let control = Control { identity, info, scripts: words.scripts, format: Format::Third };
        let head = Head { control, identities, signed };
        Ok((head, Self { blocks, promised: promised.into_iter(), content: None }))
    }

    /// Returns the next file or directory; `None` at the end.
    ///
    /// # Errors
    /// [`Error`]
    pub fn next_file(&mut self) -> Result<Option<Entry>, Error> {
        io::copy(&mut self.content(), &mut io::sink()).map_err(Error::Read)?;
        let Some(Promised { entry, place, digest }) = self.promised.next() else {
            return Ok(None);
        };
        let other = || Error::OtherFile { path: entry.path.clone() };
        if let Some(digest) = digest {
            self.content = Some((Hasher::default(), digest));
        }
        if let (Some(place), EntryKind::Regular { size }) = (place, &entry.kind) {
            let found = self.blocks.next_data().map_err(Error::Blocks)?;
            if found != size.checked_add(8) {
                return Err(other());
            }
            let mut number = [0; 8];
            self.blocks.read_exact(&mut number).map_err(Error::Read)?;
            if number.as_slice() != place.map(u32::to_le_bytes).concat() {
                return Err(other());
            }
        }
        Ok(Some(entry))
    }

    /// The content of the file that [`Files::next_file`] returned last.
    pub const fn content(&mut self) -> impl Read {
        Content(self)
    }

    /// Checks that the package ends with its last file, and returns the reader below.
    ///
    /// # Errors
    /// [`Error`]
    pub fn finish(mut self) -> Result<R, Error> {
        while self.next_file()?.is_some() {}
        self.blocks.finish().map_err(Error::Blocks)
    }
}

/// Fails at its end if it was another one than promised.
struct Content<'f, R>(&'f mut Files<R>);

impl<R: BufRead> Read for Content<'_, R> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        let Some((hasher, _)) = &mut self.0.content else { return Ok(0) };
        let count = self.0.blocks.read(output)?;
        hasher.update(output.get(..count).unwrap_or_default());
        if count == 0
            && !output.is_empty()
            && let Some((hasher, expected)) = self.0.content.take()
        {
            let found = hasher.finish();
            if found != expected {
                return Err(io::Error::other(OtherContent { expected, found }));
            }
        }
        Ok(count)
    }
}

/// A content is not the one that the package names.
#[derive(Debug, thiserror::Error)]
#[error("the digest of a file is {found}, not {expected}")]
struct OtherContent {
    expected: Digest,
    found: Digest,
}

/// All files that a package names, in its order.
fn promised(root: &List<'_>, built: u64) -> Result<Vec<Promised>, Error> {
    let mut all = Vec::new();
    for (directory, at) in root.get(2).list()?.iter().zip(1_u32..) {
        let directory = directory.list()?;
        let folder = directory.get(1).bytes()?;
        if !folder.is_empty() {
            let (words, meta) = owned(directory.get(2), (folder, built))?;
            let path = path(folder)?;
            let entry = Entry { path, meta, kind: EntryKind::Directory, words };
            all.push(Promised { entry, place: None, digest: None });
        }
        for (file, number) in directory.get(3).list()?.iter().zip(1_u32..) {
            all.push(promise(&file.list()?, folder, [at, number])?);
        }
    }
    Ok(all)
}

fn promise(file: &List<'_>, folder: &[u8], place: [u32; 2]) -> Result<Promised, Error> {
    let name = file.get(1).bytes()?;
    let spelt = match folder {
        [] => name.to_vec(),
        folder => [folder, b"/", name].concat(),
    };
    let path = path(&spelt)?;
    let refuse = |rule| Error::File { path: path.clone(), rule };
    if name.is_empty() || name.contains(&b'/') {
        return Err(refuse("has no name of its own"));
    }
    let (words, meta) = owned(file.get(2), (&spelt, file.get(4).number()?))?;
    let size = file.get(3).number()?;
    let kind = kind(file.get(6).bytes()?, size).ok_or_else(|| refuse("is of no known kind"))??;
    let digest = match (&kind, file.get(5).bytes()?) {
        (EntryKind::Regular { .. }, digest) => {
            let digest = <[u8; 32]>::try_from(digest);
            Some(Digest::from_bytes(digest.map_err(|_| refuse("has no SHA-256"))?))
        }
        _ => None,
    };
    let place = digest.filter(|_| size > 0).map(|_| place);
    Ok(Promised { entry: Entry { path, meta, kind, words }, place, digest })
}

fn path(bytes: &[u8]) -> Result<TreePath, Error> {
    TreePath::parse(bytes).map_err(Error::Path)
}

/// What a file is, from its target: none for what is not known.
fn kind(target: &[u8], size: u64) -> Option<Result<EntryKind, Error>> {
    let [low, high, target @ ..] = target else {
        return target.is_empty().then_some(Ok(EntryKind::Regular { size }));
    };
    let device = || {
        let number = u64::from_le_bytes(target.try_into().ok()?);
        // The C library's: twelve bits of the one, eight of the other, then the rest of both.
        let major = (number >> 8 & 0xfff) | (number >> 32 & 0xffff_f000);
        let minor = (number & 0xff) | (number >> 12 & 0xffff_ff00);
        Some(Device { major: u32::try_from(major).ok()?, minor: u32::try_from(minor).ok()? })
    };
    match u16::from_le_bytes([*low, *high]) {
        0o020_000 => device().map(|device| Ok(EntryKind::CharacterDevice(device))),
        0o060_000 => device().map(|device| Ok(EntryKind::BlockDevice(device))),
        0o010_000 => Some(Ok(EntryKind::Fifo)),
        0o120_000 if !target.is_empty() => Some(Ok(EntryKind::Symlink(target.into()))),
        0o100_000 if !target.is_empty() => Some(path(target).map(EntryKind::HardLink)),
        _ => None,
    }
}

/// Owner, mode and attributes.
fn owned(value: Value<'_>, (spelt, time): (&[u8], u64)) -> Result<(Words, Meta), Error> {
    let fields = value.list()?;
    let refuse = |rule| match path(spelt) {
        Ok(path) => Error::File { path, rule },
        Err(error) => error,
    };
    let mode = u16::try_from(fields.get(1).number()?).ok().filter(|mode| *mode < 0o10_000);
    let mode = mode.filter(|_| !value.is_none()).ok_or_else(|| refuse("has no permissions"))?;
    let mut xattrs = BTreeMap::new();
    for pair in fields.get(4).list()?.iter() {
        let pair = pair.bytes()?;
        let end = pair.iter().position(|byte| *byte == 0);
        let (name, value) = end.and_then(|end| pair.split_at_checked(end)).unwrap_or_default();
        let value = value.get(1..).unwrap_or_default().to_vec();
        if name.is_empty() || xattrs.insert(name.to_vec(), value).is_some() {
            return Err(refuse("has a malformed attribute"));
        }
    }
    let mtime = i64::try_from(time).map_err(|_| refuse("has an impossible time"))?;
    let (user, group) = (fields.get(2).bytes()?, fields.get(3).bytes()?);
    let number = |name: &[u8]| if name == b"root" { 0 } else { NOBODY };
    let (uid, gid) = (number(user), number(group));
    let words =
        Words { path: spelt.into(), user: user.into(), group: group.into(), ..Words::default() };
    Ok((words, Meta { mode, uid, gid, mtime, xattrs }))
}

/// Why a file is not a package of version 3 that can be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A content could not be read, or is not the promised one.
    #[error("cannot read the package")]
    Read(#[source] io::Error),
    /// Its blocks cannot be read.
    #[error("the package is broken")]
    Blocks(#[source] blocks::Error),
    /// Its values cannot be read.
    #[error("the package is broken")]
    Values(#[from] adb::Error),
    /// What it says of itself cannot be understood.
    #[error("cannot understand what the package says of itself")]
    Words(#[source] schema::Error),
    /// A path that no file can have.
    #[error("a file of the package has an impossible name")]
    Path(#[source] BadPath),
    /// A file that is not as it must be.
    #[error("{path} in the package {rule}")]
    File {
        /// The path.
        path: TreePath,
        /// The rule that it breaks, as the end of a sentence.
        rule: &'static str,
    },
    /// Not the content that stands next in the values.
    #[error("the package holds another file where {path} should be")]
    OtherFile {
        /// Whose content should be there.
        path: TreePath,
    },
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test may end with a panic")]
mod tests {
    use osbuilder_testkit::alpine::{Entry as Made, Key, Package};
    use osbuilder_testkit::alpine3::deflated;

    use super::*;
    use crate::package::apk::archive::{self, Files as Either};
    use crate::package::apk::scripts::ScriptKind;
    use crate::package::tar::tests::chain;
    use crate::testing::Stuttering;

    fn sample() -> Package {
        Package::new("one", "1.0-r0")
            .fields("depend = two>=1 !three so:x\nprovides = cmd:one=1.0-r0\ntriggers = /usr/*\n")
            .script(".post-install", "#!/bin/sh\n")
            .with(Made::file("usr/share/one/own", 0o640, b"content").owned_by("svc", "root"))
            .with(Made::file("usr/share/one/void", 0o644, b""))
            .with(Made::symlink("usr/share/one/link", "own"))
    }

    /// What is in a package: paths and contents.
    fn read(bytes: impl Read) -> Result<(Control, Vec<(String, String)>), archive::Error> {
        let (control, mut files) = Either::open(bytes, 99)?;
        let mut all = Vec::new();
        while let Some(entry) = files.next_file()? {
            let mut text = String::new();
            files.content().read_to_string(&mut text).map_err(archive::Error::Read)?;
            all.push((entry.path.to_string(), text));
        }
        files.finish()?;
        Ok((control, all))
    }

    fn refused(bytes: &[u8], reason: &str) {
        let message = chain(&read(bytes).unwrap_err());
        assert!(message.contains(reason), "{message}");
    }

    #[test]
    fn a_package_of_version_3_says_the_same_as_one_of_version_2() {
        let plain = sample().third(Some(&Key::trusted()));
        for bytes in [plain.clone(), deflated(&plain)] {
            let (control, files) = read(Stuttering::new(&bytes[..])).unwrap();
            assert_eq!(control.format, Format::Third);
            for line in ["P:one", "V:1.0-r0", "S:99", "D:two>=1 !three so:x", "p:cmd:one=1.0-r0"] {
                assert!(control.info.stanza.contains(&format!("{line}\n")), "{line}");
            }
            assert_eq!(control.info.triggers, ["/usr/*"]);
            assert_eq!(control.scripts, [(ScriptKind::PostInstall, b"#!/bin/sh\n"[..].into())]);
            let shown: Vec<_> = files.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
            assert_eq!(
                shown,
                [
                    ("/usr", ""),
                    ("/usr/share", ""),
                    ("/usr/share/one", ""),
                    ("/usr/share/one/1.0-r0", "1.0-r0"),
                    ("/usr/share/one/own", "content"),
                    ("/usr/share/one/void", ""),
                    ("/usr/share/one/link", ""),
                ]
            );
        }
    }

    #[test]
    fn an_index_may_name_a_package_by_any_of_its_digests() {
        let bytes = sample().third(None);
        let (head, _) = Files::open(&bytes[..], 1).unwrap();
        let digest = *Digest::of(&head.signed.values).as_bytes();
        assert!(head.is(&Checksum::Sha256(digest).to_string()));
        assert!(head.is(&Checksum::short(digest).to_string()));
        assert!(!head.is(&Checksum::short([0; 32]).to_string()));
        assert_eq!(head.control.identity, Checksum::short(digest));
    }

    #[test]
    fn a2_a_content_that_is_not_the_promised_one_is_refused() {
        let good = sample().third(None);
        assert!(read(&good[..]).is_ok());
        let at = good.windows(7).rposition(|window| window == b"content").unwrap();
        let mut bad = good.clone();
        bad[at] ^= 1;
        refused(&bad, "the digest of a file is");
        // The number of the file before its content.
        let mut bad = good.clone();
        bad[at - 4] = 9;
        refused(&bad, "another file where /usr/share/one/own should be");
        // The content once more, of which nobody speaks.
        refused(&[&good[..], &good[good.len() - 24..]].concat(), "contents of no file");
    }

    #[test]
    fn c7_a_package_cut_anywhere_is_refused() {
        let good = sample().third(Some(&Key::trusted()));
        for end in 0..good.len() {
            assert!(read(&good[..end]).is_err(), "cut at {end} of {}", good.len());
        }
    }

    #[test]
    fn a5_names_that_lead_elsewhere_or_hide_something_are_refused() {
        for (path, reason) in [
            ("usr/share/one/a\nF:etc", "control character"),
            ("usr/share/one/..", "impossible name"),
            ("usr/share/one/", "no name of its own"),
        ] {
            refused(&sample().with(Made::file(path, 0o644, b"")).third(None), reason);
        }
        refused(&sample().with(Made::directory("../up")).third(None), "impossible name");
        refused(&sample().with(Made::symlink("usr/share/one/x", "a\nb")).third(None), "control");
        refused(&sample().with(Made::file("usr/share/one/own", 0o644, b"")).third(None), "twice");
        let stanza = sample().fields("depend = a\u{1b}b\n");
        refused(&stanza.third(None), "cannot understand what the package says");
    }
}
