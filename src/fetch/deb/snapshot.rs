//! One repository at one moment: its release file, verified and fresh.
//!
//! In: a mirror, or what the cache kept. Out: a [`Snapshot`], which proves that a trusted key signed
//! it (or that the user switched checks off), that it is of the suite that was asked for, and that
//! it is neither expired, from the future, nor older than what was seen before.
//!
//! `InRelease` is asked for first; `Release` with `Release.gpg` only where there is no `InRelease`,
//! and verified just the same. Each mirror is judged anew.

use super::release::{self, Release};
use super::source::{Layout, Source};
use crate::digest::Digest;
use crate::epoch::Epoch;
use crate::event::Event;
use crate::fetch::clearsign;
use crate::fetch::freshness::{self, Stale, State};
use crate::fetch::object;
use crate::fetch::openpgp::{self, Fingerprint, Framing, Keyring, Signers};
use crate::fetch::transport::{self, Transport};
use crate::fetch::url::Url;
use crate::fetch::{Context, Error, repository};

/// A release file that may be believed.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub release: Release,
    /// Digest of the covered text.
    pub digest: Digest,
    /// Who signed; empty when checks were switched off and failed.
    pub signed_by: Vec<Fingerprint>,
    frame: Frame,
}

/// The bytes as they came, so that the cache can be verified again.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Frame {
    InRelease(Vec<u8>),
    Detached {
        release: Vec<u8>,
        signature: Vec<u8>,
    },
    Unsigned(Vec<u8>),
    /// There is not even a release file.
    None,
}

/// Why a release file is not believed.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It did not come.
    #[error(transparent)]
    Transport(#[from] transport::Error),
    /// There is a release file and no signature.
    #[error("its release file is not signed")]
    Unsigned,
    /// No key that may vouch for it is at hand.
    #[error("there is no key at hand that may vouch for it")]
    NoKey,
    /// The frame around text and signature is wrong.
    #[error("its signed text is broken: {0}")]
    Frame(#[from] clearsign::Error),
    /// The signature does not count.
    #[error(transparent)]
    Signature(#[from] openpgp::Error),
    /// The text is wrong.
    #[error("its release file is broken: {0}")]
    Release(#[from] release::Error),
    /// Not UTF-8.
    #[error("its release file is not text")]
    NotText,
    /// Another suite.
    #[error("it is the suite {found:?}, and {asked:?} was asked for")]
    WrongSuite {
        /// What the recipe asks for.
        asked: String,
        /// What the release file says.
        found: String,
    },
    /// The suite lacks a component or architecture.
    #[error("it has no {what} {name:?}")]
    NotListed {
        /// `component` or `architecture`.
        what: &'static str,
        /// Which.
        name: String,
    },
    /// Its age speaks against it.
    #[error(transparent)]
    Stale(#[from] Stale),
    /// It does not vouch for an index.
    #[error("it vouches for no {0}")]
    NoIndex(String),
    /// It vouches for an index with weak digests only.
    #[error("it vouches for {0} with MD5 or SHA-1 only")]
    Weak(String),
    /// An index could not be brought.
    #[error(transparent)]
    Object(#[from] object::Failure),
    /// An index cannot be unpacked.
    #[error("the index {path} is broken: {reason}")]
    Index {
        /// Its path below the suite.
        path: String,
        /// What is wrong.
        reason: String,
    },
}

repository::refuse!(Refusal);

/// As in apt (`MaxReleaseFileSize`); real ones are below one megabyte.
pub(super) const MAX_RELEASE: u64 = 10_000_000;
const MAX_SIGNATURE: u64 = 1_000_000;

impl Snapshot {
    /// Fetches the release file of `source` from one mirror and judges it.
    pub(super) fn fetch(
        transport: &Transport,
        (source, mirror): (&Source, &Url),
        (keyring, judge): (&Keyring, &Judge<'_>),
        fresh: bool,
    ) -> Result<Self, Refusal> {
        let folder = source.folder();
        let get = |name: &str, cap: u64| {
            object::text(transport, (&mirror.join(&format!("{folder}{name}")), fresh), cap)
        };
        let frame = match get("InRelease", MAX_RELEASE) {
            Ok(bytes) => Frame::InRelease(bytes),
            Err(error) if error.is_absent() => {
                let release = get("Release", MAX_RELEASE)?;
                match get("Release.gpg", MAX_SIGNATURE) {
                    Ok(signature) => Frame::Detached { release, signature },
                    Err(error) if error.is_absent() && judge.insecure => Frame::Unsigned(release),
                    Err(error) if error.is_absent() => return Err(Refusal::Unsigned),
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) => return Err(error.into()),
        };
        Self::believe(frame, source, keyring, judge)
    }

    /// What the cache kept of `source`, judged anew; `None` if nothing is kept or it does not hold.
    pub(super) fn cached(
        source: &Source,
        keyring: &Keyring,
        judge: &Judge<'_>,
    ) -> Result<Option<Result<Self, Refusal>>, Error> {
        let record = judge.context.store.record(RECORD, &key(source)).map_err(Error::Store)?;
        let frame = record.as_deref().and_then(Frame::decode);
        Ok(frame.map(|frame| Self::believe(frame, source, keyring, judge)))
    }

    /// Remembers this snapshot, and that nothing older will do from now on.
    pub(super) fn remember(&self, source: &Source, context: &Context<'_>) -> Result<(), Error> {
        if self.frame == Frame::None {
            return Ok(());
        }
        let store = context.store;
        store.put_record(RECORD, &key(source), &self.frame.encode()).map_err(Error::Store)?;
        freshness::remember(&self.state(source), context)
    }

    /// Stands for a repository without a release file: nobody signed it, nobody knows its date.
    pub(super) fn without_release(index: &[u8]) -> Self {
        let release = Release::unknown();
        Self { release, digest: Digest::of(index), signed_by: Vec::new(), frame: Frame::None }
    }

    /// What counts for its age.
    fn state(&self, source: &Source) -> State {
        State {
            root: source.root.to_string(),
            suite: source.suite(),
            digest: self.digest,
            date: self.release.date,
            valid_until: self.release.valid_until,
            signed_by: self.signed_by.iter().map(ToString::to_string).collect(),
        }
    }

    fn believe(
        frame: Frame,
        source: &Source,
        keyring: &Keyring,
        judge: &Judge<'_>,
    ) -> Result<Self, Refusal> {
        let (text, signers) = match frame.verify(keyring, judge.context.now) {
            Ok((text, signers)) => (text, Some(signers)),
            Err(refusal) if judge.insecure => {
                let text = frame.covered()?;
                let warning = format!("{}: {refusal}; checks are switched off", source.name());
                (judge.context.listener)(Event::warning(warning));
                (text, None)
            }
            Err(refusal) => return Err(refusal),
        };
        if let Some(expiry) = signers.as_ref().and_then(|signers| signers.earliest_expiry) {
            judge.warn_of_expiry(source, expiry);
        }
        let release = release::parse(&text)?;
        let signed_by = signers.map_or_else(Vec::new, |signers| signers.fingerprints);
        let snapshot = Self { release, digest: Digest::of(text.as_bytes()), signed_by, frame };
        judge.check(&snapshot, source)?;
        Ok(snapshot)
    }
}

impl Frame {
    /// The covered text, once its signature was found good.
    fn verify(&self, keyring: &Keyring, now: Epoch) -> Result<(String, Signers), Refusal> {
        match self {
            Self::Unsigned(_) | Self::None => Err(Refusal::Unsigned),
            _ if keyring.is_empty() => Err(Refusal::NoKey),
            Self::InRelease(bytes) => {
                let message = clearsign::message(bytes)?;
                let signatures = openpgp::read_signatures(&message.signatures)?;
                // Line ends are made CRLF by the verifier, as text signatures ask.
                let text = message.text;
                let trusted = (keyring, now);
                let signers =
                    openpgp::verify(text.as_bytes(), &signatures, Framing::Cleartext, trusted)?;
                Ok((text, signers))
            }
            Self::Detached { release, signature } => {
                let signatures = openpgp::read_signatures(&clearsign::detached(signature)?)?;
                let trusted = (keyring, now);
                let signers = openpgp::verify(release, &signatures, Framing::Detached, trusted)?;
                Ok((plain(release)?, signers))
            }
        }
    }

    /// The text without any check of its signature.
    fn covered(&self) -> Result<String, Refusal> {
        match self {
            Self::InRelease(bytes) => Ok(clearsign::message(bytes)?.text),
            Self::Detached { release, .. } | Self::Unsigned(release) => plain(release),
            Self::None => Ok(String::new()),
        }
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Self::InRelease(bytes) => [b"inrelease\n", bytes.as_slice()].concat(),
            Self::Unsigned(bytes) => [b"unsigned\n", bytes.as_slice()].concat(),
            Self::None => Vec::new(),
            Self::Detached { release, signature } => {
                let head = format!("detached {}\n", release.len());
                [head.as_bytes(), release, signature].concat()
            }
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let (head, rest) = (bytes.get(..end)?, bytes.get(end.checked_add(1)?..)?);
        match std::str::from_utf8(head).ok()?.split_once(' ') {
            None if head == b"inrelease" => Some(Self::InRelease(rest.to_vec())),
            None if head == b"unsigned" => Some(Self::Unsigned(rest.to_vec())),
            Some(("detached", length)) => {
                let (release, signature) = rest.split_at_checked(length.parse().ok()?)?;
                Some(Self::Detached { release: release.to_vec(), signature: signature.to_vec() })
            }
            _ => None,
        }
    }
}

fn plain(bytes: &[u8]) -> Result<String, Refusal> {
    let text = std::str::from_utf8(bytes).map_err(|_| Refusal::NotText)?;
    if text.contains('\0') { Err(Refusal::NotText) } else { Ok(text.to_owned()) }
}

const RECORD: &str = "release";

fn key(source: &Source) -> Digest {
    freshness::key(&source.root.to_string(), &source.suite(), "")
}

/// The rules of identity and freshness.
#[derive(Clone, Copy)]
pub(super) struct Judge<'a> {
    pub context: &'a Context<'a>,
    pub architecture: &'a str,
    pub insecure: bool,
}

impl Judge<'_> {
    fn check(&self, snapshot: &Snapshot, source: &Source) -> Result<(), Refusal> {
        self.is_what_was_asked(&snapshot.release, source)?;
        Ok(freshness::check(&snapshot.state(source), self.context)?)
    }

    fn is_what_was_asked(&self, release: &Release, source: &Source) -> Result<(), Refusal> {
        let Layout::Suite { suite, components } = &source.layout else { return Ok(()) };
        if !release.is_called(suite) {
            let names = [release.codename.as_deref(), release.suite.as_deref()];
            let found = names.into_iter().flatten().collect::<Vec<_>>().join("/");
            return Err(Refusal::WrongSuite { asked: suite.clone(), found });
        }
        for component in components {
            // Security archives write `updates/main` for `main`.
            let listed = |name: &String| name.rsplit('/').next() == Some(component);
            if !release.components.iter().any(listed) {
                let name = component.clone();
                return Err(Refusal::NotListed { what: "component", name });
            }
        }
        if !release.architectures.iter().any(|name| name == self.architecture) {
            let name = self.architecture.to_owned();
            return Err(Refusal::NotListed { what: "architecture", name });
        }
        Ok(())
    }

    fn warn_of_expiry(&self, source: &Source, expiry: Epoch) {
        const SOON: u64 = 30 * 86_400;
        if expiry.seconds() < self.context.now.seconds().saturating_add(SOON) {
            let text = format!("a key that signs {} expires at {expiry}", source.name());
            (self.context.listener)(Event::warning(text));
        }
    }
}
