//! The index of one repository: brought, verified, fresh, unpacked under a cap.
//!
//! In: a source, and the keys that may vouch for it. Out: a [`Repository`] with the text of its index.
//! Places are asked in turn, each judged anew; what was believed is remembered, as the bytes that came,
//! so that the cache can be verified again. The signature covers every byte behind it, and is checked
//! before any of them is looked at. An index bears no date: its newest package counts. Nor does it
//! name its branch, and one key signs them all; but Alpine's describe the commit that they were made at,
//! and where that tells of another release than the folder does, the index is refused.
//!
//! Where a repository has no index of version 2, that of version 3 is asked for. Its text is brought into
//! the words of version 2 here, once its signature was checked.
//!
//! What nobody vouched for yet costs little memory, whatever it says: of version 2 no more is unpacked
//! than signatures take, of version 3, whose signatures lie behind what they cover, a few times what
//! the largest index has.

use std::borrow::Cow;
use std::io::{self, Read};

use super::keys::Keyring;
use super::source::Source;
use crate::digest::Digest;
use crate::epoch::Epoch;
use crate::event::Event;
use crate::fetch::freshness::{self, Stale, State};
use crate::fetch::object;
use crate::fetch::repository::{Believed, Refuse};
use crate::fetch::transport::{self, Transport};
use crate::fetch::url::Url;
use crate::fetch::{Context, Error, Repository, repository};
use crate::lock::LockedRepository;
use crate::package::apk::adb::Adb;
use crate::package::apk::blocks::{self, Blocks, Schema, Signed};
use crate::package::apk::index::newest_build;
use crate::package::apk::schema;
use crate::package::apk::segment::{self, Signature};
use crate::package::compression::{Compression, Decompressor, Limits};
use crate::package::tar;
use crate::recipe::Recipe;

/// Packed bytes of an index. The largest of Alpine's have three million.
pub(super) const MAX_PACKED: u64 = 10_000_000;
/// Plain bytes of an index. The largest of Alpine's have ten million.
const MAX_INDEX: u64 = 64 << 20;
/// Plain bytes of an index of version 3, which are there before its signatures are.
const MAX_THIRD: u64 = 16 << 20;
/// Plain bytes of the signatures.
const MAX_SIGNATURES: u64 = 1 << 16;

/// Where the index lies in a repository: the usual one, and that of version 3.
pub(super) fn paths(recipe: &Recipe) -> [String; 2] {
    ["APKINDEX.tar.gz", "Packages.adb"]
        .map(|name| format!("{}/{name}", recipe.architecture.alpine_name()))
}

/// The rules under which an index is believed.
pub(super) struct Judge<'a> {
    context: &'a Context<'a>,
    keyring: &'a Keyring,
    paths: [String; 2],
    insecure: bool,
    /// Whether signatures over SHA-1 are enough.
    weak: bool,
}

impl<'a> Judge<'a> {
    pub(super) fn new(recipe: &Recipe, context: &'a Context<'a>, keyring: &'a Keyring) -> Self {
        let (insecure, weak) = (recipe.sources.insecure, recipe.distro.sha1_signatures);
        Self { context, keyring, paths: paths(recipe), insecure, weak }
    }
}

/// Reads one repository.
pub(super) fn repository(
    transport: &Transport,
    source: &Source,
    judge: &Judge<'_>,
) -> Result<Repository, Error> {
    repository::read(&Reader { transport, source, judge }, &source.places)
}

struct Reader<'a> {
    transport: &'a Transport,
    source: &'a Source,
    judge: &'a Judge<'a>,
}

impl repository::Reader for Reader<'_> {
    type State = Snapshot;
    type Refusal = Refusal;

    fn name(&self) -> String {
        self.source.name()
    }

    fn context(&self) -> &Context<'_> {
        self.judge.context
    }

    fn at_place(&self, place: &Url) -> Result<Snapshot, Refusal> {
        let [usual, third] = self.judge.paths.each_ref().map(|path| place.join(path));
        match self.at(&usual) {
            Err(Refusal::Transport(absent)) if absent.is_absent() => match self.at(&third) {
                Err(Refusal::Transport(error)) if error.is_absent() => Err(absent.into()),
                outcome => outcome,
            },
            outcome => outcome,
        }
    }

    fn cached(&self) -> Result<Option<Believed<Self>>, Error> {
        let record = self.judge.context.store.record(RECORD, &self.key()).map_err(Error::Store)?;
        Ok(record.map(|bytes| self.believe(bytes)))
    }

    fn remember(&self, snapshot: &Snapshot) -> Result<(), Error> {
        let context = self.judge.context;
        context.store.put_record(RECORD, &self.key(), &snapshot.bytes).map_err(Error::Store)?;
        freshness::remember(&self.state(snapshot), context)
    }

    fn finished(&self, snapshot: Snapshot) -> Repository {
        let locked = LockedRepository {
            url: self.source.root.to_string(),
            suite: self.source.suite(),
            components: Vec::new(),
            digest: snapshot.digest,
            date: snapshot.date,
            signed_by: snapshot.signed_by,
        };
        let tag = self.source.tag.clone();
        Repository { locked, texts: vec![snapshot.text], pin: 500, tag }
    }
}

impl Reader<'_> {
    fn at(&self, url: &Url) -> Result<Snapshot, Refusal> {
        let bytes = object::text(self.transport, (url, false), MAX_PACKED)?;
        match self.believe(bytes) {
            // A cache on the way may be to blame, once.
            Err(refusal) if !matches!(refusal, Refusal::NoKey { .. } | Refusal::NoKeys) => {
                self.believe(object::text(self.transport, (url, true), MAX_PACKED)?)
            }
            outcome => outcome,
        }
    }

    fn believe(&self, bytes: Vec<u8>) -> Result<Snapshot, Refusal> {
        let signed_by = match self.signers(&bytes) {
            Ok(signers) => signers,
            Err(refusal) if self.judge.insecure => {
                let warning = format!("{}: {refusal}; checks are switched off", self.source.name());
                (self.judge.context.listener)(Event::warning(warning));
                Vec::new()
            }
            Err(refusal) => return Err(refusal),
        };
        let Opened { signed, text, description } = Opened::read(&bytes)?;
        if let Some(branch) = &self.source.branch
            && let Some(found) = other_release(branch, &description)
        {
            return Err(Refusal::Branch { found });
        }
        let digest = Digest::of(&signed);
        let date = Epoch::new(newest_build(&text)).ok_or(Refusal::Date)?;
        let snapshot = Snapshot { bytes: Vec::new(), text, digest, date, signed_by };
        freshness::check(&self.state(&snapshot), self.judge.context)?;
        Ok(Snapshot { bytes, ..snapshot })
    }

    /// Who signed, before anything that was signed is looked at.
    fn signers(&self, bytes: &[u8]) -> Result<Vec<String>, Refusal> {
        if self.judge.keyring.is_empty() {
            return Err(Refusal::NoKeys);
        }
        signers(bytes, self.judge.keyring, self.judge.weak)
    }

    fn state(&self, snapshot: &Snapshot) -> State {
        State {
            root: self.source.root.to_string(),
            suite: self.source.suite(),
            digest: snapshot.digest,
            date: snapshot.date,
            valid_until: None,
            // The same key counts, whatever it signed by and in.
            signed_by: snapshot.signed_by.iter().map(|signer| key_of(signer)).collect(),
        }
    }

    fn key(&self) -> Digest {
        let suite = format!("{} {}", self.source.suite(), self.judge.paths[0]);
        freshness::key(&self.source.root.to_string(), &suite, "")
    }
}

/// Which keys of a keyring signed an index.
pub(super) fn signers(bytes: &[u8], keyring: &Keyring, weak: bool) -> Result<Vec<String>, Refusal> {
    if bytes.starts_with(blocks::START) {
        return keyring.verify_values(&third(bytes)?);
    }
    let (signatures, signed) = split(bytes)?;
    keyring.verify(&signatures, signed, weak)
}

/// The key in the words that the lock records, without the digest that it signed.
fn key_of(signer: &str) -> String {
    signer.rsplit_once(' ').map_or(signer, |(key, _)| key).to_owned()
}

/// The release that a description such as `v3.16.3-13-g4d933a1fa3` tells of, or that of a medium such
/// as `3.19.1`, if it is another one than that of the branch.
fn other_release(branch: &str, description: &[u8]) -> Option<String> {
    let release = |text: &str| {
        let text = text.trim_end();
        let (major, rest) = text.strip_prefix('v').unwrap_or(text).split_once('.')?;
        let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
        let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        (are_digits(major) && are_digits(&minor)).then(|| format!("v{major}.{minor}"))
    };
    let found = release(std::str::from_utf8(description).ok()?)?;
    (found != release(branch)?).then_some(found)
}

/// The kind of the store's records of indexes.
const RECORD: &str = "apkindex";

/// An index that may be believed.
struct Snapshot {
    /// As it came.
    bytes: Vec<u8>,
    text: Vec<u8>,
    digest: Digest,
    date: Epoch,
    signed_by: Vec<String>,
}

/// The signatures before an index, and every byte behind them.
fn split(bytes: &[u8]) -> Result<(Vec<Signature>, &[u8]), Refusal> {
    let mut rest = bytes;
    let signatures = match segment::read(&mut rest, MAX_SIGNATURES) {
        Ok(first) => first.signatures().map_err(Refusal::Segment)?,
        Err(error) if error.is_too_long() => None,
        Err(error) => return Err(Refusal::Segment(error)),
    };
    match signatures {
        Some(signatures) => Ok((signatures, rest)),
        None => Ok((Vec::new(), bytes)),
    }
}

/// The values of an index of version 3, and the signatures over them.
fn third(bytes: &[u8]) -> Result<Signed, Refusal> {
    let limits = (MAX_THIRD, MAX_THIRD);
    let (signed, blocks) = Blocks::open(bytes, Schema::Index, limits).map_err(Refusal::Blocks)?;
    blocks.finish().map_err(Refusal::Blocks)?;
    Ok(signed)
}

/// An index that was read, believed or not.
pub(super) struct Opened<'b> {
    /// The bytes that signatures cover.
    pub signed: Cow<'b, [u8]>,
    /// The list of packages.
    pub text: Vec<u8>,
    /// What it says of itself in one line.
    pub description: Vec<u8>,
}

impl<'b> Opened<'b> {
    /// Reads an index without asking who signed it.
    pub(super) fn read(bytes: &'b [u8]) -> Result<Self, Refusal> {
        if bytes.starts_with(blocks::START) {
            let Signed { values, .. } = third(bytes)?;
            let adb = Adb::new(&values).map_err(|error| Refusal::Words(error.into()))?;
            let text = schema::index(adb.root()).map_err(Refusal::Words)?.into_bytes();
            let description = adb.root().list().and_then(|root| root.get(1).bytes());
            let description = description.map_err(|error| Refusal::Words(error.into()))?.to_vec();
            return Ok(Self { signed: Cow::Owned(values), text, description });
        }
        let (_, signed) = split(bytes)?;
        let limits = Limits::up_to(MAX_INDEX);
        let plain = Decompressor::chained(signed, Compression::Gzip, limits);
        let mut archive = tar::Reader::new(plain.map_err(Refusal::Read)?);
        let (mut text, mut description) = (None, Vec::new());
        while let Some(entry) = archive.next_entry().map_err(Refusal::Archive)? {
            if segment::is_signature(&entry) {
                return Err(Refusal::Misplaced);
            }
            let is_list = match &*entry.words.path {
                b"APKINDEX" => true,
                b"DESCRIPTION" => false,
                _ => continue,
            };
            let mut bytes = Vec::new();
            archive.content().read_to_end(&mut bytes).map_err(Refusal::Read)?;
            if !is_list {
                description = bytes;
            } else if text.replace(bytes).is_some() {
                return Err(Refusal::Twice);
            }
        }
        archive.into_inner().finish().map_err(Refusal::Read)?;
        let text = text.ok_or(Refusal::NoIndex)?;
        Ok(Self { signed: Cow::Borrowed(signed), text, description })
    }
}

/// Why an index, or a package, is not believed.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It did not come.
    #[error(transparent)]
    Transport(#[from] transport::Error),
    /// Nobody signed it.
    #[error("it is not signed")]
    Unsigned,
    /// No key that may vouch for it is at hand.
    #[error("there is no key at hand that may vouch for it")]
    NoKeys,
    /// Only strangers signed it.
    #[error("no key that may vouch for it has signed it, but {}", names.join(", "))]
    NoKey {
        /// The names of their keys.
        names: Vec<String>,
    },
    /// A signature is not that of the key that it names.
    #[error("the signature of {key} is wrong")]
    BadSignature {
        /// The name of the key.
        key: String,
    },
    /// A good signature, but over a digest that can be forged.
    #[error("{key} has signed nothing but a SHA-1")]
    Weak {
        /// The name of the key.
        key: String,
    },
    /// Its parts are malformed.
    #[error("it is broken")]
    Segment(#[source] segment::Error),
    /// It is of version 3, and malformed.
    #[error("it is broken")]
    Blocks(#[source] blocks::Error),
    /// It is of version 3, and its words cannot be understood.
    #[error("it cannot be understood")]
    Words(#[source] schema::Error),
    /// It is no archive.
    #[error("it is not an archive")]
    Archive(#[source] tar::Error),
    /// It cannot be decompressed.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    /// A signature stands behind what it would cover.
    #[error("a signature stands behind the index")]
    Misplaced,
    /// It is of another branch.
    #[error("it is the index of {found}")]
    Branch {
        /// Of which.
        found: String,
    },
    /// It holds no list of packages.
    #[error("it holds no APKINDEX")]
    NoIndex,
    /// It holds two lists of packages.
    #[error("it holds two APKINDEX")]
    Twice,
    /// A package was built at a moment that cannot be.
    #[error("it names an impossible moment")]
    Date,
    /// Its age speaks against it.
    #[error(transparent)]
    Stale(#[from] Stale),
}

impl Refuse for Refusal {
    fn is_rollback(&self) -> bool {
        matches!(self, Self::Stale(Stale::Rollback { .. }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r8_an_index_that_tells_of_another_release_is_found_out() {
        for (branch, description, expected) in [
            ("v3.19", "v3.19.1-27-gabcdef0", None),
            ("v3.19", "v3.16.3-13-g4d933a1fa3", Some("v3.16")),
            ("v3.1", "v3.19.1", Some("v3.19")),
            ("v3.19", "v20231219-7-gabcdef0", None),
            ("v3.19", "3.19.1\n", None),
            ("v3.20", "3.19.1", Some("v3.19")),
            ("v3.20", "rebuilt from 3.19.1", None),
            ("v3.19", "", None),
            ("v3.19", "v.19", None),
            ("edge", "v3.19.1-27-gabcdef0", None),
        ] {
            let found = other_release(branch, description.as_bytes());
            assert_eq!(found.as_deref(), expected, "{branch} {description}");
        }
    }
}
