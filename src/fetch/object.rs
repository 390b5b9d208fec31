//! Brings one file of known digest into the store, and small texts into memory.
//!
//! In: an address and what the file must be. Out: an object in the store that is it. Failures that
//! may pass are tried again after a pause; bytes that are not the announced ones once more past
//! the caches on the way. Whether another mirror is asked then is the caller's business.

use std::cell::RefCell;
use std::io::{self, Read};
use std::time::Duration;

use sha2::{Digest as _, Sha512};

use super::transport::{self, Request, Transport};
use super::url::Url;
use crate::digest::Digest;
use crate::store::{self, Store};

/// What a file must be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub size: u64,
    /// At least one of the digests is there.
    pub sha256: Option<Digest>,
    pub sha512: Option<[u8; 64]>,
}

/// Why a file could not be brought from one address.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It did not come.
    #[error(transparent)]
    Transport(#[from] transport::Error),
    /// Something else came.
    #[error("{url} is not the file that is wanted: {found}")]
    Mismatch {
        /// Where from.
        url: Url,
        /// What is expected and what was found.
        found: String,
    },
    /// The store failed.
    #[error("cannot keep {url}")]
    Store {
        /// What was to be kept.
        url: Url,
        /// The cause.
        source: Box<store::Error>,
    },
}

impl Failure {
    fn may_pass(&self) -> bool {
        match self {
            Self::Transport(error) => error.is_transient(),
            Self::Mismatch { .. } => true,
            Self::Store { .. } => false,
        }
    }

    /// Whether a cache on the way may be to blame.
    fn blames_caches(&self) -> bool {
        use transport::Error::{Encoded, Length};
        let altered = matches!(self, Self::Transport(Encoded { .. } | Length { .. }));
        altered || matches!(self, Self::Mismatch { .. })
    }

    /// Whether the server has no such file, or another one: it is out of step with the index.
    pub(super) fn is_out_of_step(&self) -> bool {
        match self {
            Self::Transport(error) => {
                error.is_absent() || matches!(error, transport::Error::Length { .. })
            }
            Self::Mismatch { .. } => true,
            Self::Store { .. } => false,
        }
    }
}

/// Brings the file at `url` into the store and returns its SHA-256.
pub(super) fn bring(
    (transport, store): (&Transport, &Store),
    url: &Url,
    wanted: Wanted,
) -> Result<Digest, Failure> {
    persist((transport, url), |fresh| once(transport, store, (url, fresh), wanted))
}

/// What a file of unknown digest must be.
pub(super) trait Check {
    /// A reader of the same bytes that fails, at the beginning or at the end, if they are not what is
    /// wanted.
    fn check<'r>(&self, reader: Box<dyn Read + 'r>) -> io::Result<Box<dyn Read + 'r>>;
}

/// Brings a file of `size` bytes and unknown digest into the store, if `check` finds nothing wrong.
pub(super) fn bring_checked(
    (transport, store): (&Transport, &Store),
    url: &Url,
    size: u64,
    check: &dyn Check,
) -> Result<Digest, Failure> {
    persist((transport, url), |fresh| {
        let request = Request { url: url.clone(), size: Some(size), cap: size, fresh };
        let failed = RefCell::new(None);
        let download = Watched { inner: transport.open(request)?, failed: &failed };
        let kept = check.check(Box::new(download)).map_err(store::Error::Source);
        let kept = kept.and_then(|reader| store.insert(reader, None));
        kept.map(|(digest, _)| digest).map_err(|error| match failed.take() {
            Some(error) => Failure::Transport(error),
            None => translate(url, error),
        })
    })
}

/// Keeps a failure of the transfer apart from what those make of it who read through it: to a decoder,
/// a file that stops coming looks like a broken one.
struct Watched<'a, R> {
    inner: R,
    failed: &'a RefCell<Option<transport::Error>>,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| match error.downcast::<transport::Error>() {
            Ok(error) => {
                self.failed.replace(Some(error));
                io::ErrorKind::ConnectionAborted.into()
            }
            Err(other) => other,
        })
    }
}

/// Reads a text of at most `cap` bytes.
pub(super) fn text(
    transport: &Transport,
    (url, fresh): (&Url, bool),
    cap: u64,
) -> Result<Vec<u8>, transport::Error> {
    let result = persist((transport, url), |again| {
        let request = Request { url: url.clone(), size: None, cap, fresh: fresh || again };
        Ok(transport.open(request)?.into_bytes()?)
    });
    result.map_err(|failure| match failure {
        Failure::Transport(error) => error,
        other => unreachable!("reading a text does nothing but transfer: {other}"),
    })
}

/// Tries until it works, cannot work, or was tried often enough. No file of this machine becomes better
/// by waiting.
fn persist<T>(
    (transport, url): (&Transport, &Url),
    mut attempt: impl FnMut(bool) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let patience = transport.patience();
    let mut fresh = false;
    let mut pause = if url.file_path().is_some() { Duration::ZERO } else { patience.pause };
    for _ in 1..patience.attempts {
        match attempt(fresh) {
            Err(failure) if failure.may_pass() && !(fresh && failure.blames_caches()) => {
                fresh |= failure.blames_caches();
            }
            decided => return decided,
        }
        std::thread::sleep(pause);
        pause = pause.saturating_mul(2);
    }
    attempt(fresh)
}

fn once(
    transport: &Transport,
    store: &Store,
    (url, fresh): (&Url, bool),
    wanted: Wanted,
) -> Result<Digest, Failure> {
    let request = Request { url: url.clone(), size: Some(wanted.size), cap: wanted.size, fresh };
    let hashed = Hashed { inner: transport.open(request)?, sha512: Some(Sha512::new()), wanted };
    let expected = wanted.sha256.map(|digest| (digest, wanted.size));
    let kept = store.insert(hashed, expected).map_err(|error| translate(url, error))?;
    Ok(kept.0)
}

fn translate(url: &Url, error: store::Error) -> Failure {
    match error {
        store::Error::Mismatch { .. } => {
            Failure::Mismatch { url: url.clone(), found: error.to_string() }
        }
        store::Error::Source(source) => match source.downcast::<transport::Error>() {
            Ok(error) => Failure::Transport(error),
            Err(other) => Failure::Mismatch { url: url.clone(), found: other.to_string() },
        },
        source => Failure::Store { url: url.clone(), source: Box::new(source) },
    }
}

/// Whether an object that the store already has agrees with the second digest, if there is one.
pub(super) fn agrees(store: &Store, digest: &Digest, wanted: Wanted) -> bool {
    let Ok(object) = store.open_object(digest) else { return false };
    let mut hashed = Hashed { inner: object, sha512: Some(Sha512::new()), wanted };
    wanted.sha512.is_none() || io::copy(&mut hashed, &mut io::sink()).is_ok()
}

/// Computes the second digest on the way, and fails at the end if it differs.
struct Hashed<R> {
    inner: R,
    sha512: Option<Sha512>,
    wanted: Wanted,
}

/// What [`Hashed`] reports.
#[derive(Debug, thiserror::Error)]
#[error("its SHA-512 differs from the signed one")]
struct OtherDigest;

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let Some(expected) = self.wanted.sha512 else { return Ok(count) };
        if let Some(hasher) = self.sha512.as_mut().filter(|_| count > 0) {
            hasher.update(&buffer[..count]);
        } else if !buffer.is_empty() {
            let found = self.sha512.take().map(Sha512::finalize);
            if found.is_some_and(|found| found.as_slice() != expected) {
                return Err(io::Error::other(OtherDigest));
            }
        }
        Ok(count)
    }
}
