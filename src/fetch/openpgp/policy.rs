//! The rules by which a signature counts; rPGP answers only whether the numbers fit.
//!
//! In: a signature, the signed bytes, pinned certificates, the time. Out: what the signature is worth.
//! Here is what the signature says of itself, per RFC 9580, sections 5.2.3 (subpackets) and 5.2.4 (what
//! is hashed); what its key's certificate says is in `certificate.rs`, what is too weak in `strength.rs`.

use pgp::packet::{Signature, SubpacketData};

use super::certificate::{Usable, find_key, usable};
use super::strength::strong_hash;
use super::{Fingerprint, Keyring};
use crate::epoch::Epoch;

/// What one signature is worth.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It counts.
    Good {
        /// The primary key that vouches.
        by: Fingerprint,
        /// When the key that made it expires.
        expires: Option<Epoch>,
        /// Whether that key vouches for itself with a weak hash only.
        weakly: bool,
    },
    /// It names a trusted key that did not make it.
    False {
        /// The primary key it names.
        by: Fingerprint,
    },
    /// It does not count.
    DoesNotCount {
        /// Why, for people.
        reason: String,
    },
}

/// Judges one signature over `content`.
pub(super) fn judge(
    signature: &Signature,
    content: &[u8],
    trusted: &Keyring,
    now: Epoch,
) -> Verdict {
    let made = match check_packet(signature, now) {
        Ok(made) => made,
        Err(reason) => return Verdict::DoesNotCount { reason },
    };
    for (fingerprint, certificate) in trusted.iter() {
        let Some(key) = find_key(signature, certificate) else { continue };
        let verdict = match usable(certificate, (key, trusted.counts_by_pin()), made) {
            Err(reason) => Verdict::DoesNotCount { reason: format!("key {fingerprint}: {reason}") },
            Ok(Usable { expires, weakly }) if key.made(signature, content, certificate) => {
                Verdict::Good { by: fingerprint.clone(), expires, weakly }
            }
            Ok(_) => Verdict::False { by: fingerprint.clone() },
        };
        return verdict;
    }
    Verdict::DoesNotCount { reason: format!("made by {}, which is not trusted", issuer(signature)) }
}

/// Rules that need no key: hash, times. Returns when the signature was made.
fn check_packet(signature: &Signature, now: Epoch) -> Result<u64, String> {
    if !strong_hash(signature) {
        let name = signature.hash_alg().map_or_else(|| "unknown".to_owned(), |h| h.to_string());
        return Err(format!("made with the hash {name}, which is too weak"));
    }
    if has_unknown_critical(signature) {
        return Err("it carries a critical condition that is not understood".to_owned());
    }
    let made = created(signature).ok_or("it does not say when it was made")?;
    if made > now.seconds().saturating_add(MAX_FUTURE_SECONDS) {
        return Err(format!("made in the future, at {}", moment(made)));
    }
    let lifetime = signature.signature_expiration_time().map_or(0, seconds);
    if lifetime > 0 && made.saturating_add(lifetime) <= now.seconds() {
        return Err(format!("expired at {}", moment(made.saturating_add(lifetime))));
    }
    Ok(made)
}

/// Clocks of a signer and a builder may differ by this much, as in apt (`Max-FutureTime`).
pub(in crate::fetch) const MAX_FUTURE_SECONDS: u64 = 10;

fn has_unknown_critical(signature: &Signature) -> bool {
    let critical = |packet: &&pgp::packet::Subpacket| packet.is_critical;
    signature.config().is_some_and(|config| {
        config.hashed_subpackets().filter(critical).any(|packet| {
            matches!(
                packet.data,
                SubpacketData::Experimental(..)
                    | SubpacketData::Other(..)
                    | SubpacketData::Notation(..)
            )
        })
    })
}

/// When a signature was made, if it says so.
pub(super) fn created(signature: &Signature) -> Option<u64> {
    signature.created().map(|at| u64::from(at.as_secs()))
}

pub(super) fn seconds(duration: pgp::types::Duration) -> u64 {
    std::time::Duration::from(duration).as_secs()
}

/// A second as people read it.
pub(super) fn moment(second: u64) -> String {
    Epoch::new(second).map_or_else(|| second.to_string(), |epoch| epoch.to_string())
}

fn issuer(signature: &Signature) -> String {
    let fingerprint = signature.issuer_fingerprint().first().map(|f| format!("key {f:X}"));
    let id = || signature.issuer_key_id().first().map(|id| format!("key {id:?}"));
    fingerprint.or_else(id).unwrap_or_else(|| "an unnamed key".to_owned())
}

#[cfg(test)]
mod tests;
