//! Whether a text was signed by a key that we trust: our policy over rPGP's mathematics.
//!
//! In: the signed bytes, signature packets, certificates whose primary fingerprints are pinned, the
//! time. Out: who signed, or why nobody counts. A signature counts if it was made by the pinned
//! primary key or by a subkey that this key has bound for signing and that signed back, while the
//! key was neither expired nor revoked, with SHA-256 or better and a key of today's strength. One
//! good signature suffices; one that names a pinned key and is false spoils the whole text.
//!
//! Signatures of another class than the one asked for never count: the cleartext framework is
//! defined for text signatures only (RFC 9580, section 7), a detached one may be binary or text.

mod certificate;
mod keyring;
mod policy;
mod strength;

use pgp::packet::{Packet, PacketParser, Signature, SignatureType};

use crate::epoch::Epoch;

pub use keyring::Fingerprint;
pub(in crate::fetch) use keyring::Keyring;
pub(in crate::fetch) use policy::MAX_FUTURE_SECONDS;
use policy::Verdict;

/// How the signature travels, which decides the classes that are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::fetch) enum Framing {
    /// Inside a clear-signed message: text signatures only.
    Cleartext,
    /// In a file of its own: binary or text signatures.
    Detached,
}

/// Who signed, when at least one signature is good.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::fetch) struct Signers {
    /// Primary fingerprints whose signatures are good, sorted.
    pub fingerprints: Vec<Fingerprint>,
    /// The earliest moment at which one of the signing keys expires.
    pub earliest_expiry: Option<Epoch>,
    /// Those of them that count by their pins alone: they vouch for themselves with SHA-1.
    pub weakly: Vec<Fingerprint>,
}

/// Why a text is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The packets cannot be read.
    #[error("the signature is broken: {0}")]
    Broken(String),
    /// Something other than signatures is among the signatures.
    #[error("the signature holds something that is not a signature")]
    NotASignature,
    /// A signature claims a trusted key, and is false.
    #[error("the signature of the trusted key {0} is false: the text was changed")]
    False(Fingerprint),
    /// No signature counts. One reason for each signature.
    #[error("no signature of a trusted key ({})", .0.join("; "))]
    NobodyTrusted(Vec<String>),
    /// A file with keys cannot be read.
    #[error("the key material is broken: {0}")]
    BrokenKeys(String),
    /// A text is not a fingerprint.
    #[error("{0:?} is not a full key fingerprint (40 or 64 hexadecimal digits)")]
    BadFingerprint(String),
}

/// Reads signature packets. Signatures of unknown versions are kept, and later never count.
///
/// # Errors
/// Any other packet is refused, as is a stream that ends within one.
pub(in crate::fetch) fn read_signatures(bytes: &[u8]) -> Result<Vec<Signature>, Error> {
    let mut signatures = Vec::new();
    for packet in PacketParser::new(bytes) {
        match packet {
            Ok(Packet::Signature(signature)) => signatures.push(signature),
            Ok(_) => return Err(Error::NotASignature),
            Err(error) => return Err(Error::Broken(error.to_string())),
        }
    }
    if signatures.is_empty() {
        return Err(Error::Broken("there is no signature in it".to_owned()));
    }
    Ok(signatures)
}

/// Decides whether `content` is signed by one of the certificates in `trusted`, as of `now`.
///
/// # Errors
/// See [`Error`]: nobody trusted signed, or a trusted signature is false.
pub(in crate::fetch) fn verify(
    content: &[u8],
    signatures: &[Signature],
    framing: Framing,
    (trusted, now): (&Keyring, Epoch),
) -> Result<Signers, Error> {
    let mut signers =
        Signers { fingerprints: Vec::new(), earliest_expiry: None, weakly: Vec::new() };
    let mut reasons = Vec::new();
    for signature in signatures {
        if !class_accepted(signature, framing) {
            reasons.push("a signature of a class or version that does not count here".to_owned());
            continue;
        }
        match policy::judge(signature, content, trusted, now) {
            Verdict::Good { by, expires, weakly } => {
                signers.weakly.extend(weakly.then(|| by.clone()));
                signers.fingerprints.push(by);
                signers.earliest_expiry = earliest(signers.earliest_expiry, expires);
            }
            Verdict::False { by } => return Err(Error::False(by)),
            Verdict::DoesNotCount { reason } => reasons.push(reason),
        }
    }
    if signers.fingerprints.is_empty() {
        return Err(Error::NobodyTrusted(reasons));
    }
    signers.fingerprints.sort();
    signers.fingerprints.dedup();
    Ok(signers)
}

fn class_accepted(signature: &Signature, framing: Framing) -> bool {
    match signature.typ() {
        Some(SignatureType::Text) => true,
        Some(SignatureType::Binary) => framing == Framing::Detached,
        _ => false,
    }
}

fn earliest(a: Option<Epoch>, b: Option<Epoch>) -> Option<Epoch> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
