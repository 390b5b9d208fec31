//! The metadata of one repository: `repomd.xml`, verified and fresh, and the list of packages.
//!
//! In: a source, and the keys that may vouch for it. Out: a [`Repository`] whose text are the records
//! of its packages (see `package::rpm::info`). Places are asked in turn, each judged anew; all is of
//! one state or nothing is. What was believed is remembered, as the bytes that came, so that the cache
//! can be verified again; records are kept under the digest of the list that they were made from.

use std::io::{self, BufReader, Read};

use super::metalink;
use super::source::Source;
use crate::digest::{Digest, Hasher};
use crate::epoch::Epoch;
use crate::event::Event;
use crate::fetch::clearsign;
use crate::fetch::freshness::{self, Stale, State};
use crate::fetch::object::{self, Wanted};
use crate::fetch::openpgp::{self, Fingerprint, Framing, Keyring};
use crate::fetch::repository::{Believed, Refuse};
use crate::fetch::transport::{self, Transport};
use crate::fetch::url::Url;
use crate::fetch::{Context, Error, Repository, repository};
use crate::lock::LockedRepository;
use crate::package::compression::{Compression, Decompressor, Limits};
use crate::package::rpm::repomd::{DataFile, Repomd};
use crate::package::rpm::{primary, xml};
use crate::recipe::Recipe;

/// Where a repository's metadata begins.
pub(super) const REPOMD: &str = "repodata/repomd.xml";
/// Bytes of `repomd.xml`; real ones have some thousand.
pub(super) const MAX_REPOMD: u64 = 10_000_000;
const MAX_SIGNATURE: u64 = 1_000_000;
/// Plain bytes of a list of packages; the largest have two hundred million.
const MAX_PRIMARY: u64 = 2 << 30;

/// The rules under which metadata is believed.
pub(super) struct Judge<'a> {
    context: &'a Context<'a>,
    keyring: &'a Keyring,
    insecure: bool,
}

impl<'a> Judge<'a> {
    pub(super) fn new(recipe: &Recipe, context: &'a Context<'a>, keyring: &'a Keyring) -> Self {
        Self { context, keyring, insecure: recipe.sources.insecure }
    }
}

/// Reads one repository.
pub(super) fn repository(
    transport: &Transport,
    source: &Source,
    judge: &Judge<'_>,
) -> Result<Repository, Error> {
    let linked = match judge.context.offline {
        true => None,
        false => metalink::bring(transport, source),
    };
    let mirrors = linked.iter().flat_map(|linked| &linked.mirrors).cloned();
    let places: Vec<Url> = source.places.iter().cloned().chain(mirrors).collect();
    let linked = linked.map(|linked| linked.digest);
    repository::read(&Reader { transport, source, judge, linked }, &places)
}

struct Reader<'a> {
    transport: &'a Transport,
    source: &'a Source,
    judge: &'a Judge<'a>,
    /// The digest of `repomd.xml` that a metalink names.
    linked: Option<Digest>,
}

/// Metadata that may be believed.
struct Snapshot {
    frame: Frame,
    repomd: Repomd,
    signed_by: Vec<Fingerprint>,
}

/// `repomd.xml` as it came, with what vouches for it.
struct Frame {
    repomd: Vec<u8>,
    /// Its detached signature.
    signature: Option<Vec<u8>>,
    /// Whether a metalink that came by TLS names its digest.
    is_linked: bool,
}

impl Frame {
    /// Who signed, before anything that was signed is looked at.
    fn verify(&self, keyring: &Keyring, now: Epoch) -> Result<Vec<Fingerprint>, Refusal> {
        match &self.signature {
            None if self.is_linked => Ok(Vec::new()),
            None => Err(Refusal::Unsigned),
            Some(_) if keyring.is_empty() => Err(Refusal::NoKey),
            Some(signature) => {
                let packets = clearsign::detached(signature).map_err(Refusal::Frame)?;
                let signatures = openpgp::read_signatures(&packets)?;
                let trusted = (keyring, now);
                let signers =
                    openpgp::verify(&self.repomd, &signatures, Framing::Detached, trusted)?;
                Ok(signers.fingerprints)
            }
        }
    }

    fn encode(&self) -> Vec<u8> {
        let signature = self.signature.as_deref().unwrap_or_default();
        let head = format!("{} {}\n", u8::from(self.is_linked), self.repomd.len());
        [head.as_bytes(), &self.repomd, signature].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let (head, rest) = (bytes.get(..end)?, bytes.get(end.checked_add(1)?..)?);
        let (linked, length) = std::str::from_utf8(head).ok()?.split_once(' ')?;
        let (repomd, signature) = rest.split_at_checked(length.parse().ok()?)?;
        let signature = Some(signature.to_vec()).filter(|signature| !signature.is_empty());
        Some(Self { repomd: repomd.to_vec(), signature, is_linked: linked == "1" })
    }
}

impl repository::Reader for Reader<'_> {
    type State = (Snapshot, Vec<u8>);
    type Refusal = Refusal;

    fn name(&self) -> String {
        self.source.name()
    }

    fn context(&self) -> &Context<'_> {
        self.judge.context
    }

    /// Metadata and packages as one place has them. A place in motion is asked twice.
    fn at_place(&self, place: &Url) -> Result<Self::State, Refusal> {
        let snapshot = self.fetch(place, false)?;
        match self.packages(Some(place), &snapshot) {
            Err(Refusal::Object(failure)) if failure.is_out_of_step() => {
                let again = self.fetch(place, true)?;
                let text = self.packages(Some(place), &again)?;
                Ok((again, text))
            }
            text => Ok((snapshot, text?)),
        }
    }

    fn cached(&self) -> Result<Option<Believed<Self>>, Error> {
        let record = self.judge.context.store.record(RECORD, &self.key()).map_err(Error::Store)?;
        let complete = |frame| {
            let snapshot = self.believe(frame)?;
            let text = self.packages(None, &snapshot)?;
            Ok((snapshot, text))
        };
        Ok(record.as_deref().and_then(Frame::decode).map(complete))
    }

    fn remember(&self, (snapshot, _): &Self::State) -> Result<(), Error> {
        let context = self.judge.context;
        let bytes = snapshot.frame.encode();
        context.store.put_record(RECORD, &self.key(), &bytes).map_err(Error::Store)?;
        match self.state(snapshot) {
            Ok(state) => freshness::remember(&state, context),
            Err(_) => Ok(()),
        }
    }

    fn finished(&self, (snapshot, text): Self::State) -> Repository {
        let locked = LockedRepository {
            url: self.source.root.to_string(),
            suite: self.source.suite(),
            components: Vec::new(),
            digest: Digest::of(&snapshot.frame.repomd),
            date: Epoch::new(snapshot.repomd.moment()).unwrap_or_default(),
            signed_by: snapshot.signed_by.iter().map(ToString::to_string).collect(),
        };
        Repository { locked, texts: vec![text], pin: 500, tag: None }
    }
}

impl Reader<'_> {
    fn fetch(&self, place: &Url, fresh: bool) -> Result<Snapshot, Refusal> {
        let url = place.join(REPOMD);
        let repomd = object::text(self.transport, (&url, fresh), MAX_REPOMD)?;
        let is_linked = match self.linked {
            Some(expected) if expected != Digest::of(&repomd) => return Err(Refusal::OtherState),
            linked => linked.is_some(),
        };
        let beside = place.join(&format!("{REPOMD}.asc"));
        let signature = match object::text(self.transport, (&beside, fresh), MAX_SIGNATURE) {
            Ok(signature) => Some(signature),
            Err(error) if error.is_absent() => None,
            Err(error) => return Err(error.into()),
        };
        self.believe(Frame { repomd, signature, is_linked })
    }

    fn believe(&self, frame: Frame) -> Result<Snapshot, Refusal> {
        let signed_by = match frame.verify(self.judge.keyring, self.judge.context.now) {
            Ok(signers) => signers,
            Err(refusal) if self.judge.insecure => {
                let warning = format!("{}: {refusal}; checks are switched off", self.source.name());
                (self.judge.context.listener)(Event::warning(warning));
                Vec::new()
            }
            Err(refusal) => return Err(refusal),
        };
        let repomd = Repomd::parse(&frame.repomd).map_err(Refusal::Repomd)?;
        let snapshot = Snapshot { frame, repomd, signed_by };
        freshness::check(&self.state(&snapshot)?, self.judge.context)?;
        Ok(snapshot)
    }

    fn state(&self, snapshot: &Snapshot) -> Result<State, Refusal> {
        Ok(State {
            root: self.source.root.to_string(),
            suite: self.source.suite(),
            digest: Digest::of(&snapshot.frame.repomd),
            date: Epoch::new(snapshot.repomd.moment()).ok_or(Refusal::Date)?,
            valid_until: None,
            signed_by: snapshot.signed_by.iter().map(ToString::to_string).collect(),
        })
    }

    /// The records of all packages: from the cache, else from the list of packages, which is fetched if
    /// there is somewhere to fetch it.
    fn packages(&self, from: Option<&Url>, snapshot: &Snapshot) -> Result<Vec<u8>, Refusal> {
        let file = snapshot.repomd.file("primary").ok_or(Refusal::NoPrimary)?;
        let (Some(digest), Some(size)) = (file.digest, file.size) else {
            return Err(Refusal::Weak(file.path.clone()));
        };
        let store = self.judge.context.store;
        if let Ok(Some(records)) = store.record(RECORDS, &digest) {
            return Ok(records);
        }
        // Reading it here means that a damaged one is put aside and fetched again.
        if !matches!(store.object(&digest), Ok(Some(_))) {
            let place = from.ok_or(Refusal::NoPrimary)?;
            let wanted = Wanted { size, sha256: Some(digest), sha512: None };
            object::bring((self.transport, store), &place.join(&file.path), wanted)?;
        }
        let object = store.open_object(&digest).map_err(Refusal::Read)?;
        let records = read_packages(object, file)?.into_bytes();
        // A cache that cannot be written costs time and nothing else.
        drop(store.put_record(RECORDS, &digest, &records));
        Ok(records)
    }

    fn key(&self) -> Digest {
        freshness::key(&self.source.root.to_string(), &self.source.suite(), "")
    }
}

/// The kind of the store's records of metadata.
const RECORD: &str = "repomd";
/// The kind of the store's records of packages' records. Its number grows with each change of their form.
const RECORDS: &str = "rpm-packages-1";

/// Unpacks the list of packages under the caps that its entry names, and makes records of it.
fn read_packages(packed: impl Read, file: &DataFile) -> Result<String, Refusal> {
    let broken = |reason: &str| Refusal::Primary { path: file.path.clone(), reason: reason.into() };
    let cap = file.open_size.unwrap_or(MAX_PRIMARY).min(MAX_PRIMARY);
    let format = Compression::of_name(&file.path);
    let packed = BufReader::with_capacity(1 << 16, packed);
    let plain = Decompressor::chained(packed, format, Limits::up_to(cap)).map_err(Refusal::Read)?;
    let mut plain = Counted { inner: plain, hasher: Hasher::default(), count: 0 };
    let records = primary::read(BufReader::with_capacity(1 << 16, &mut plain));
    let records = records.map_err(Refusal::Xml)?;
    io::copy(&mut plain, &mut io::sink()).map_err(Refusal::Read)?;
    if file.open_size.is_some_and(|size| size != plain.count) {
        return Err(broken("it unpacks to another number of bytes than is signed"));
    }
    let found = plain.hasher.finish();
    match file.open_digest {
        Some(expected) if expected != found => {
            Err(broken("what it unpacks to is not what is signed"))
        }
        _ => Ok(records),
    }
}

struct Counted<R> {
    inner: R,
    hasher: Hasher,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(output)?;
        self.hasher.update(output.get(..count).unwrap_or_default());
        self.count = self.count.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        Ok(count)
    }
}

/// Why metadata, or a package, is not believed.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It did not come.
    #[error(transparent)]
    Transport(#[from] transport::Error),
    /// Nothing vouches for it.
    #[error("it is not signed")]
    Unsigned,
    /// No key that may vouch for it is at hand.
    #[error("there is no key at hand that may vouch for it")]
    NoKey,
    /// It is not the state that the metalink names.
    #[error("its repomd.xml is not the one whose digest the metalink names")]
    OtherState,
    /// The frame around the signature is wrong.
    #[error("its signature is broken")]
    Frame(#[source] clearsign::Error),
    /// The signature does not count.
    #[error(transparent)]
    Signature(#[from] openpgp::Error),
    /// Its first file is broken.
    #[error("its repomd.xml is broken")]
    Repomd(#[source] xml::Error),
    /// It was made at a moment that cannot be.
    #[error("it was made at an impossible moment")]
    Date,
    /// Its age speaks against it.
    #[error(transparent)]
    Stale(#[from] Stale),
    /// It has no list of packages.
    #[error("it has no list of packages")]
    NoPrimary,
    /// It vouches for a file with weak digests only, or without a size.
    #[error("it vouches for {0} without a SHA-256 or a size")]
    Weak(String),
    /// A file could not be brought.
    #[error(transparent)]
    Object(#[from] object::Failure),
    /// A file cannot be unpacked.
    #[error("its list of packages cannot be read")]
    Read(#[source] io::Error),
    /// The list of packages is broken.
    #[error("its list of packages is broken")]
    Xml(#[source] xml::Error),
    /// The list of packages is another one.
    #[error("the list of packages {path} is broken: {reason}")]
    Primary {
        /// Its place.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A package that nobody signed, or a broken one.
    #[error("the package is broken")]
    Package(#[source] crate::package::rpm::archive::Error),
}

impl Refuse for Refusal {
    fn is_rollback(&self) -> bool {
        matches!(self, Self::Stale(Stale::Rollback { .. }))
    }

    fn object(self) -> Result<object::Failure, Self> {
        match self {
            Self::Object(failure) => Ok(failure),
            other => Err(other),
        }
    }
}
