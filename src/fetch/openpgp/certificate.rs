//! What a certificate says of its keys: which of them may sign, from when and until when.
//!
//! In: a pinned certificate, and the key that a signature names. Out: whether that key might sign then,
//! or why not. Per RFC 9580, section 10.1 (structure of a certificate): the newest valid self-signature
//! says when a key expires and what it may do; a subkey needs a binding signature, and one that signs
//! needs a back-signature inside it. Signatures by strangers on a certificate mean nothing here. Weak
//! hashes and weak keys count nowhere, not in bindings either; revocations are heeded whatever their hash.

use std::sync::OnceLock;

use pgp::composed::{SignedPublicKey, SignedPublicSubKey};
use pgp::packet::{RevocationCode, Signature, SignatureType, SubpacketData};
use pgp::types::{KeyDetails, Tag};

use super::policy::{created, moment, seconds};
use super::strength::{is_sha1, strong_hash, strong_key};
use crate::epoch::Epoch;

/// A certificate, and its primary key's word on itself: that is the same for all that the key has signed,
/// hundreds of packages perhaps, and is looked for once.
#[derive(Debug, Clone)]
pub(super) struct Certificate {
    pub(super) key: SignedPublicKey,
    /// The newest valid self-signature with a strong hash.
    strong: OnceLock<Option<Signature>>,
    /// The newest one with SHA-1.
    weak: OnceLock<Option<Signature>>,
}

impl From<SignedPublicKey> for Certificate {
    fn from(key: SignedPublicKey) -> Self {
        Self { key, strong: OnceLock::new(), weak: OnceLock::new() }
    }
}

impl Certificate {
    fn strong(&self) -> Option<&Signature> {
        let find = || self_signature(&self.key, strong_hash).cloned();
        self.strong.get_or_init(find).as_ref()
    }

    fn weak(&self) -> Option<&Signature> {
        let find = || self_signature(&self.key, is_sha1).cloned();
        self.weak.get_or_init(find).as_ref()
    }
}

/// A key of a certificate.
#[derive(Clone, Copy)]
pub(super) enum Key<'a> {
    /// The primary one.
    Primary,
    /// Another one.
    Subkey(&'a SignedPublicSubKey),
}

impl Key<'_> {
    /// Whether it made a signature over `content`.
    pub(super) fn made(
        self,
        signature: &Signature,
        content: &[u8],
        certificate: &Certificate,
    ) -> bool {
        match self {
            Self::Primary => signature.verify(&certificate.key.primary_key, content).is_ok(),
            Self::Subkey(subkey) => signature.verify(&subkey.key, content).is_ok(),
        }
    }
}

/// Finds the key of `certificate` that the signature names.
///
/// Joined certificates may hold a subkey several times: one whose binding holds is preferred.
pub(super) fn find_key<'a>(signature: &Signature, certificate: &'a Certificate) -> Option<Key<'a>> {
    if names(signature, &certificate.key.primary_key) {
        return Some(Key::Primary);
    }
    let mut named = certificate.key.public_subkeys.iter().filter(|sub| names(signature, &sub.key));
    let first = named.next()?;
    let made = created(signature).unwrap_or(0);
    let better = std::iter::once(first)
        .chain(named)
        .find(|subkey| usable(certificate, (Key::Subkey(subkey), false), made).is_ok());
    Some(Key::Subkey(better.unwrap_or(first)))
}

fn names(signature: &Signature, key: &impl KeyDetails) -> bool {
    let fingerprints = signature.issuer_fingerprint();
    if fingerprints.is_empty() {
        return signature.issuer_key_id().contains(&&key.legacy_key_id());
    }
    fingerprints.contains(&&key.fingerprint())
}

/// A key that may sign.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Usable {
    /// When it expires.
    pub(super) expires: Option<Epoch>,
    /// Whether it vouches for itself with a weak hash only.
    pub(super) weakly: bool,
}

/// Whether the key might sign data at the second `made`.
///
/// Of a primary key that counts by its pin, a weak self-signature is enough: that the key is the right
/// one the pin says, and not this signature, which can only take away here, by an end of its life or by
/// saying that it is not for signing. Whoever could forge it could do no more than undo that. It must be
/// there and valid, so that nobody can do so by leaving it out. Subkeys have no pin: what binds them must
/// be strong.
pub(super) fn usable(
    certificate: &Certificate,
    (key, by_pin): (Key<'_>, bool),
    made: u64,
) -> Result<Usable, String> {
    let primary = &certificate.key.primary_key;
    strong_key(primary.public_params())?;
    not_revoked(&certificate.key, made)?;
    let strong = certificate.strong();
    let weakly = strong.is_none();
    let weak = || {
        let may_be_weak = by_pin && matches!(key, Key::Primary);
        may_be_weak.then(|| certificate.weak()).flatten()
    };
    let own = strong.or_else(weak).ok_or("it has no valid signature by itself")?;
    let expires = in_force(primary, own, made)?;
    match key {
        Key::Primary if may_sign(own) == Some(false) => {
            Err("its primary key is not meant for signing".to_owned())
        }
        Key::Primary => Ok(Usable { expires, weakly }),
        Key::Subkey(subkey) => {
            strong_key(subkey.key.public_params())?;
            let binding = binding(&certificate.key, subkey, made)?;
            let subkey_expires = in_force(&subkey.key, binding, made)?;
            Ok(Usable { expires: super::earliest(expires, subkey_expires), weakly })
        }
    }
}

/// The newest valid signature of the primary key on itself or on one of its names, of those that `counts`
/// lets count.
fn self_signature(
    certificate: &SignedPublicKey,
    counts: fn(&Signature) -> bool,
) -> Option<&Signature> {
    let primary = &certificate.primary_key;
    let direct = certificate.details.direct_signatures.iter().filter(|signature| {
        signature.typ() == Some(SignatureType::Key) && signature.verify_key(primary).is_ok()
    });
    let on_names = certificate.details.users.iter().flat_map(|user| {
        let holds = move |signature: &&Signature| {
            signature.verify_certification(primary, Tag::UserId, &user.id).is_ok()
        };
        let own = user.signatures.iter().filter(|signature| names(signature, primary));
        let revoked = own
            .clone()
            .filter(|signature| signature.typ() == Some(SignatureType::CertRevocation))
            .any(|signature| holds(&signature));
        own.filter(move |signature| !revoked && is_certification(signature))
            .filter(move |signature| holds(signature))
    });
    direct.chain(on_names).filter(|signature| counts(signature)).max_by_key(|s| created(s))
}

fn is_certification(signature: &Signature) -> bool {
    matches!(
        signature.typ(),
        Some(
            SignatureType::CertGeneric
                | SignatureType::CertPersona
                | SignatureType::CertCasual
                | SignatureType::CertPositive
        )
    )
}

/// The newest valid binding of a subkey that lets it sign.
fn binding<'a>(
    certificate: &SignedPublicKey,
    subkey: &'a SignedPublicSubKey,
    made: u64,
) -> Result<&'a Signature, String> {
    let primary = &certificate.primary_key;
    let copies = certificate.public_subkeys.iter().filter(|s| s.key == subkey.key);
    let revoked = copies.flat_map(|copy| &copy.signatures).any(|signature| {
        signature.typ() == Some(SignatureType::SubkeyRevocation)
            && revokes_at(signature, made)
            && signature.verify_subkey_binding(primary, &subkey.key).is_ok()
    });
    if revoked {
        return Err("its signing subkey is revoked".to_owned());
    }
    let newest = subkey
        .signatures
        .iter()
        .filter(|signature| signature.typ() == Some(SignatureType::SubkeyBinding))
        .filter(|signature| strong_hash(signature))
        .filter(|signature| signature.verify_subkey_binding(primary, &subkey.key).is_ok())
        .max_by_key(|signature| created(signature))
        .ok_or("its subkey is not bound to it")?;
    if may_sign(newest) != Some(true) {
        return Err("its subkey is not meant for signing".to_owned());
    }
    let back = newest.embedded_signature().filter(|back| {
        back.typ() == Some(SignatureType::KeyBinding)
            && strong_hash(back)
            && back.verify_primary_key_binding(&subkey.key, primary).is_ok()
    });
    back.map(|_| newest).ok_or_else(|| "its subkey never signed back".to_owned())
}

fn not_revoked(certificate: &SignedPublicKey, made: u64) -> Result<(), String> {
    let primary = &certificate.primary_key;
    let revoked = certificate.details.revocation_signatures.iter().any(|signature| {
        signature.typ() == Some(SignatureType::KeyRevocation)
            && revokes_at(signature, made)
            && signature.verify_key(primary).is_ok()
    });
    if revoked { Err("it is revoked".to_owned()) } else { Ok(()) }
}

/// A key that was merely retired or replaced keeps its older signatures; any other revocation
/// (RFC 9580, section 5.2.3.31) means that they may be forged.
fn revokes_at(revocation: &Signature, made: u64) -> bool {
    let retired = matches!(
        revocation.revocation_reason_code(),
        Some(RevocationCode::KeySuperseded | RevocationCode::KeyRetired)
    );
    !retired || created(revocation).is_none_or(|since| since <= made)
}

/// Whether `key` existed and had not expired at the second `made`, by the word of `own`.
fn in_force(key: &impl KeyDetails, own: &Signature, made: u64) -> Result<Option<Epoch>, String> {
    let born = u64::from(key.created_at().as_secs());
    if made < born {
        return Err("it was made after the signature".to_owned());
    }
    let lifetime = own.key_expiration_time().map_or(0, seconds);
    if lifetime == 0 {
        return Ok(None);
    }
    let end = born.saturating_add(lifetime);
    if made >= end {
        return Err(format!("it expired at {}", moment(end)));
    }
    Ok(Epoch::new(end))
}

/// What the key flags say about signing; `None` if there are none.
fn may_sign(signature: &Signature) -> Option<bool> {
    signature.config()?.hashed_subpackets().find_map(|packet| match &packet.data {
        SubpacketData::KeyFlags(flags) => Some(flags.sign()),
        _ => None,
    })
}
