//! The metadata of one repository: `repomd.xml`, verified and fresh, and the list of packages.
//!
//! In: a source, and the keys that may vouch for it. Out: a [`Repository`] whose text are the records
//! of its packages (see `package::rpm::info`). Places are asked in turn, each judged anew; all is of
//! one state or nothing is. What was believed is remembered, as the bytes that came, so that the cache
//! can be verified again; records are kept under the digest of the list that they were made from.

use std::collections::BTreeSet;
use std::io;

use super::frame::{Frame, Vouched};
use super::source::Source;
use super::{lists, metalink};
use crate::digest::Digest;
use crate::distro::Signed;
use crate::epoch::Epoch;
use crate::event::Event;
use crate::fetch::clearsign;
use crate::fetch::freshness::{self, Stale, State};
use crate::fetch::object;
use crate::fetch::openpgp::{self, Fingerprint, Keyring, Signers};
use crate::fetch::repository::Believed;
use crate::fetch::transport::{self, Transport};
use crate::fetch::url::Url;
use crate::fetch::{Context, Error, Repository, repository};
use crate::lock::LockedRepository;
use crate::package::rpm::repomd::Repomd;
use crate::package::rpm::{filelists, modules, xml};
use crate::recipe::Recipe;

/// Where a repository's metadata begins.
pub(super) const REPOMD: &str = "repodata/repomd.xml";
/// Bytes of `repomd.xml`; real ones have some thousand.
pub(super) const MAX_REPOMD: u64 = 10_000_000;
const MAX_SIGNATURE: u64 = 1_000_000;

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
    let places = match judge.context.offline {
        true => Vec::new(),
        false => metalink::places(transport, source, linked.as_ref()),
    };
    let linked = linked.map(|linked| linked.digest);
    repository::read(&Reader { transport, source, judge, linked }, &places)
}

/// Adds to a repository that was read which packages have the `wanted` files.
pub(super) fn with_files(
    transport: &Transport,
    (source, judge): (&Source, &Judge<'_>),
    repository: &mut Repository,
    wanted: &BTreeSet<&str>,
) -> Result<(), Error> {
    let reader = Reader { transport, source, judge, linked: None };
    if let Some(records) = repository.texts.first_mut()
        && let Ok(text) = std::str::from_utf8(records)
    {
        *records = reader.with_files(text, wanted, &source.places)?.into_bytes();
    }
    Ok(())
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
    /// Who of them vouches for itself with SHA-1.
    weakly: Vec<Fingerprint>,
}

/// A snapshot with the records that its lists became.
struct Lists {
    snapshot: Snapshot,
    packages: Vec<u8>,
    modules: Option<Vec<u8>>,
}

impl repository::Reader for Reader<'_> {
    type State = Lists;
    type Refusal = Refusal;

    fn name(&self) -> String {
        self.source.name()
    }

    fn context(&self) -> &Context<'_> {
        self.judge.context
    }

    /// Metadata and lists as one place has them. A place in motion is asked twice.
    fn at_place(&self, place: &Url) -> Result<Lists, Refusal> {
        match self.lists(Some(place), self.fetch(place, false)?) {
            Err(Refusal::Object(failure)) if failure.is_out_of_step() => {
                self.lists(Some(place), self.fetch(place, true)?)
            }
            lists => lists,
        }
    }

    fn cached(&self) -> Result<Option<Believed<Self>>, Error> {
        let complete = |snapshot: Result<_, _>| self.lists(None, snapshot?);
        Ok(self.kept()?.map(complete))
    }

    fn remember(&self, Lists { snapshot, .. }: &Lists) -> Result<(), Error> {
        self.tell_of(snapshot);
        let context = self.judge.context;
        let bytes = snapshot.frame.encode();
        context.store.put_record(RECORD, &self.key(), &bytes).map_err(Error::Store)?;
        match self.state(snapshot) {
            Ok(state) => freshness::remember(&state, context),
            Err(_) => Ok(()),
        }
    }

    fn finished(&self, Lists { snapshot, packages, modules }: Lists) -> Repository {
        let locked = LockedRepository {
            url: self.source.root.to_string(),
            suite: self.source.suite(),
            components: Vec::new(),
            digest: Digest::of(&snapshot.frame.repomd),
            date: Epoch::new(snapshot.repomd.moment()).unwrap_or_default(),
            signed_by: snapshot.signed_by.iter().map(ToString::to_string).collect(),
        };
        let texts = std::iter::once(packages).chain(modules).collect();
        Repository { locked, texts, pin: 500, tag: None }
    }
}

impl Reader<'_> {
    fn fetch(&self, place: &Url, fresh: bool) -> Result<Snapshot, Refusal> {
        let url = place.join(REPOMD);
        let repomd = object::text(self.transport, (&url, fresh), MAX_REPOMD)?;
        let vouched = match self.linked {
            Some(expected) if expected != Digest::of(&repomd) => return Err(Refusal::OtherState),
            Some(_) => Vouched::Link,
            None if self.source.is_vouched_by_transport(place) => Vouched::Transport,
            None => Vouched::Not,
        };
        let beside = place.join(&format!("{REPOMD}.asc"));
        let signature = match object::text(self.transport, (&beside, fresh), MAX_SIGNATURE) {
            Ok(signature) => Some(signature),
            Err(error) if error.is_absent() => None,
            Err(error) => return Err(error.into()),
        };
        self.believe(Frame { repomd, signature, vouched })
    }

    fn believe(&self, frame: Frame) -> Result<Snapshot, Refusal> {
        let signers = match frame.verify(self.judge.keyring, self.judge.context.now) {
            Ok(signers) => signers,
            Err(refusal) if self.judge.insecure => {
                let warning = format!("{}: {refusal}; checks are switched off", self.source.name());
                (self.judge.context.listener)(Event::warning(warning));
                Signers::default()
            }
            Err(refusal) => return Err(refusal),
        };
        let repomd = Repomd::parse(&frame.repomd).map_err(Refusal::Repomd)?;
        let (signed_by, weakly) = (signers.fingerprints, signers.weakly);
        let snapshot = Snapshot { frame, repomd, signed_by, weakly };
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

    /// What the cache kept of the metadata, judged anew.
    fn kept(&self) -> Result<Option<Result<Snapshot, Refusal>>, Error> {
        let record = self.judge.context.store.record(RECORD, &self.key()).map_err(Error::Store)?;
        let frame = record.as_deref().and_then(Frame::decode);
        // What was enough then need not be now.
        let is_enough = |vouched| match vouched {
            Vouched::Transport if self.source.signed != Signed::Packages => Vouched::Not,
            vouched => vouched,
        };
        Ok(frame.map(|f| self.believe(Frame { vouched: is_enough(f.vouched), ..f })))
    }

    /// The lists that metadata names, from the cache or from a place.
    fn lists(&self, place: Option<&Url>, snapshot: Snapshot) -> Result<Lists, Refusal> {
        let (from, store) = (self.from(place), self.judge.context.store);
        let packages = lists::packages(from, &snapshot.repomd, store)?;
        let modules = lists::modules(from, &snapshot.repomd, store)?;
        Ok(Lists { snapshot, packages, modules })
    }

    /// The records of packages, with those of the `wanted` files that they have.
    fn with_files(
        &self,
        records: &str,
        wanted: &BTreeSet<&str>,
        places: &[Url],
    ) -> Result<String, Error> {
        let source_name = || self.source.name();
        let refused = |source: Refusal| Error::CachedIndex {
            source_name: source_name(),
            source: source.into(),
        };
        let what = || Error::NotCached { what: format!("the index of {}", source_name()) };
        let snapshot = self.kept()?.ok_or_else(what)?.map_err(refused)?;
        let find = |place| {
            lists::files(self.from(place), &snapshot.repomd, wanted, self.judge.context.store)
        };
        let mut last = find(None);
        for place in places {
            match last {
                Ok(_) => break,
                Err(_) if self.judge.context.offline => break,
                Err(_) => last = find(Some(place)),
            }
        }
        last.map(|files| filelists::add(records, &files)).map_err(refused)
    }

    fn from<'s>(&'s self, place: Option<&'s Url>) -> lists::From<'s> {
        place.map(|place| (self.transport, place))
    }

    /// Says aloud where trust comes from when it is not from a good signature over the metadata.
    fn tell_of(&self, snapshot: &Snapshot) {
        let (name, tell) = (self.source.name(), self.judge.context.listener);
        for key in &snapshot.weakly {
            tell(Event::warning(format!(
                "{name}: its key {key} vouches for itself with SHA-1, which is weak; it counts because it \
                 is pinned"
            )));
        }
        if snapshot.signed_by.is_empty() && snapshot.frame.vouched == Vouched::Transport {
            tell(Event::note(format!(
                "{name}: its metadata bears no signature and is believed for where it came from; each \
                 package must be signed"
            )));
        }
    }

    fn key(&self) -> Digest {
        freshness::key(&self.source.root.to_string(), &self.source.suite(), "")
    }
}

/// The kind of the store's records of metadata.
const RECORD: &str = "repomd";
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
    #[error("one of its lists cannot be read")]
    Read(#[source] io::Error),
    /// A list is not in the cache, and nothing may be fetched.
    #[error("one of its lists is not in the cache")]
    NotKept,
    /// The list of packages, or of files, is broken.
    #[error("its list of packages is broken")]
    Xml(#[source] xml::Error),
    /// The description of modules is broken.
    #[error("its description of modules is broken")]
    Modules(#[source] modules::Error),
    /// A list is another one.
    #[error("the list {path} is broken: {reason}")]
    List {
        /// Its place.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A package that nobody signed, or a broken one.
    #[error("the package is broken")]
    Package(#[source] crate::package::rpm::archive::Error),
}

repository::refuse!(Refusal);
