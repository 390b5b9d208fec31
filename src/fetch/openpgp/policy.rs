//! The rules by which a signature counts; rPGP answers only whether the numbers fit.
//!
//! Per RFC 9580, sections 5.2.3 (subpackets), 5.2.4 (what is hashed) and 10.1 (structure of a
//! certificate): the newest valid self-signature says when a key expires and what it may do; a
//! subkey needs a binding signature, and one that signs needs a back-signature inside it.
//! Signatures by strangers on a certificate mean nothing here. Weak hashes and weak keys count
//! nowhere, not in bindings either; revocations are heeded whatever their hash.

use pgp::composed::{SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{RevocationCode, Signature, SignatureType, SubpacketData};
use pgp::types::{EcdsaPublicParams, KeyDetails, PublicParams, Tag};
use rsa_bits::bits;

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

/// RSA below this was given up by NIST SP 800-131A at the end of 2013.
const MIN_RSA_BITS: usize = 2048;

/// A key of a certificate.
#[derive(Clone, Copy)]
enum Key<'a> {
    Primary,
    Subkey(&'a SignedPublicSubKey),
}

impl Key<'_> {
    fn made(self, signature: &Signature, content: &[u8], certificate: &SignedPublicKey) -> bool {
        match self {
            Self::Primary => signature.verify(&certificate.primary_key, content).is_ok(),
            Self::Subkey(subkey) => signature.verify(&subkey.key, content).is_ok(),
        }
    }
}

/// Finds the key of `certificate` that the signature names.
///
/// Joined certificates may hold a subkey several times: one whose binding holds is preferred.
fn find_key<'a>(signature: &Signature, certificate: &'a SignedPublicKey) -> Option<Key<'a>> {
    if names(signature, &certificate.primary_key) {
        return Some(Key::Primary);
    }
    let mut named = certificate.public_subkeys.iter().filter(|sub| names(signature, &sub.key));
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
struct Usable {
    /// When it expires.
    expires: Option<Epoch>,
    /// Whether it vouches for itself with a weak hash only.
    weakly: bool,
}

/// Whether the key might sign data at the second `made`.
///
/// Of a primary key that counts by its pin, a weak self-signature is enough: that the key is the right
/// one the pin says, and not this signature, which can only take away here, by an end of its life or by
/// saying that it is not for signing. Whoever could forge it could do no more than undo that. It must be
/// there and valid, so that nobody can do so by leaving it out. Subkeys have no pin: what binds them must
/// be strong.
fn usable(
    certificate: &SignedPublicKey,
    (key, by_pin): (Key<'_>, bool),
    made: u64,
) -> Result<Usable, String> {
    let primary = &certificate.primary_key;
    strong_key(primary.public_params())?;
    not_revoked(certificate, made)?;
    let strong = self_signature(certificate, strong_hash);
    let weakly = strong.is_none();
    let weak = || {
        let may_be_weak = by_pin && matches!(key, Key::Primary);
        may_be_weak.then(|| self_signature(certificate, is_sha1)).flatten()
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
            let binding = binding(certificate, subkey, made)?;
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

fn strong_hash(signature: &Signature) -> bool {
    matches!(
        signature.hash_alg(),
        Some(
            HashAlgorithm::Sha256
                | HashAlgorithm::Sha384
                | HashAlgorithm::Sha512
                | HashAlgorithm::Sha3_256
                | HashAlgorithm::Sha3_512
        )
    )
}

fn is_sha1(signature: &Signature) -> bool {
    signature.hash_alg() == Some(HashAlgorithm::Sha1)
}

fn strong_key(parameters: &PublicParams) -> Result<(), String> {
    match parameters {
        PublicParams::RSA(rsa) => match bits(rsa) {
            few if few < MIN_RSA_BITS => Err(format!("its RSA key of {few} bits is too short")),
            _ => Ok(()),
        },
        PublicParams::EdDSALegacy(_) | PublicParams::Ed25519(_) | PublicParams::Ed448(_) => Ok(()),
        PublicParams::ECDSA(
            EcdsaPublicParams::P256 { .. }
            | EcdsaPublicParams::P384 { .. }
            | EcdsaPublicParams::P521 { .. },
        ) => Ok(()),
        _ => Err("its kind of key is not accepted".to_owned()),
    }
}

/// The size of an RSA key, read off its public number as OpenPGP writes it.
mod rsa_bits {
    use pgp::ser::Serialize;
    use pgp::types::RsaPublicParams;

    /// The two octets before the number say its length in bits (RFC 9580, section 3.2).
    pub(super) fn bits(parameters: &RsaPublicParams) -> usize {
        match parameters.to_bytes().ok().as_deref() {
            Some([high, low, ..]) => usize::from(u16::from_be_bytes([*high, *low])),
            _ => 0,
        }
    }
}

fn created(signature: &Signature) -> Option<u64> {
    signature.created().map(|at| u64::from(at.as_secs()))
}

fn seconds(duration: pgp::types::Duration) -> u64 {
    std::time::Duration::from(duration).as_secs()
}

fn moment(second: u64) -> String {
    Epoch::new(second).map_or_else(|| second.to_string(), |epoch| epoch.to_string())
}

fn issuer(signature: &Signature) -> String {
    let fingerprint = signature.issuer_fingerprint().first().map(|f| format!("key {f:X}"));
    let id = || signature.issuer_key_id().first().map(|id| format!("key {id:?}"));
    fingerprint.or_else(id).unwrap_or_else(|| "an unnamed key".to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use osbuilder_testkit::key::{BORN, Key, Options, Signing, Subkey};
    use pgp::composed::KeyType;

    use super::super::{Error, Framing, Signers, verify};
    use super::*;

    const NOW: u32 = 1_700_000_000;

    fn keyring(keys: &[&Key]) -> Keyring {
        let mut keyring = Keyring::default();
        for key in keys {
            keyring.add(&key.certificate()).unwrap();
        }
        keyring
    }

    fn attempt(key: &Key, signing: Signing, framing: Framing) -> Result<Signers, Error> {
        let now = Epoch::new(u64::from(NOW)).unwrap();
        let signatures = [key.sign(b"text", signing)];
        verify(b"text", &signatures, framing, (&keyring(&[key]), now))
    }

    #[track_caller]
    fn accepted(options: &Options) {
        let key = Key::new(options);
        let signers = attempt(&key, Signing::text(NOW), Framing::Cleartext).unwrap();
        assert_eq!(signers.fingerprints, [key.fingerprint().parse().unwrap()]);
    }

    #[track_caller]
    fn refused(options: &Options, reason: &str) {
        signing_refused(&Key::new(options), Signing::text(NOW), reason);
    }

    #[track_caller]
    fn signing_refused(key: &Key, signing: Signing, reason: &str) {
        let error = attempt(key, signing, Framing::Cleartext).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }

    #[test]
    fn r9_expired_keys_do_not_count_and_living_ones_do() {
        accepted(&Options { lifetime: NOW - BORN + 1, ..Options::default() });
        refused(&Options { lifetime: NOW - BORN, ..Options::default() }, "expired at 2023-11-14");
        refused(&Options { born: NOW + 1, ..Options::default() }, "made after the signature");
    }

    #[test]
    fn ubuntu_s_real_key_may_sign_and_does_not_expire() {
        let mut keyring = Keyring::default();
        keyring.add(include_bytes!("../../distro/keys/ubuntu/archive-2018.asc")).unwrap();
        let (_, certificate) = keyring.iter().next().unwrap();
        let found = usable(certificate, (super::Key::Primary, false), u64::from(NOW));
        assert_eq!(found, Ok(Usable { expires: None, weakly: false }));
    }

    #[test]
    fn r9_a_pinned_key_that_vouches_for_itself_with_sha_1_counts_and_that_is_said() {
        let now = Epoch::new(u64::from(NOW)).unwrap();
        let attempt = |options: &Options, by_pin| {
            let key = Key::new(options);
            let keyring = keyring(&[&key]);
            let keyring = if by_pin { keyring.by_pin() } else { keyring };
            let signatures = [key.sign(b"text", Signing::text(NOW))];
            verify(b"text", &signatures, Framing::Detached, (&keyring, now))
        };
        let (kind, hash) = (KeyType::Rsa(2048), HashAlgorithm::Sha1);
        let weak = Options { kind, hash, ..Options::default() };
        let signers = attempt(&weak, true).unwrap();
        assert_eq!((signers.fingerprints.len(), signers.weakly.len()), (1, 1));
        let strong = attempt(&Options { hash: HashAlgorithm::Sha256, ..weak.clone() }, true);
        assert!(strong.unwrap().weakly.is_empty());
        // What it says against the key counts, too; and it vouches for nothing but that key.
        let expired = Options { lifetime: NOW - BORN, ..weak.clone() };
        let revoked = Options { revoked: Some((RevocationCode::NoReason, NOW)), ..weak.clone() };
        let subkey = Options { subkey: Subkey::Bound, ..weak.clone() };
        let short = Options { kind: KeyType::Rsa(1024), ..weak.clone() };
        for (options, by_pin) in
            [(&weak, false), (&expired, true), (&revoked, true), (&subkey, true), (&short, true)]
        {
            assert!(
                matches!(attempt(options, by_pin), Err(Error::NobodyTrusted(_))),
                "{options:?}"
            );
        }
    }

    #[test]
    fn r9_the_real_keys_of_distributions_may_sign_and_some_only_by_their_pins() {
        let Some(data) = crate::testing::data("../keys") else { return };
        for (file, made, expected) in [
            ("azure-linux/MICROSOFT-METADATA-GPG-KEY", NOW, Some(true)),
            ("azure-linux/MICROSOFT-RPM-GPG-KEY", NOW, Some(false)),
            ("centos/RPM-GPG-KEY-CentOS-7", NOW, Some(true)),
            ("centos/RPM-GPG-KEY-CentOS-Official-SHA256", NOW, Some(false)),
            ("fedora/RPM-GPG-KEY-fedora-42-primary", 1_710_000_000, Some(false)),
            ("opensuse/RPM-GPG-KEY-openSUSE-2022", NOW, Some(true)),
            ("suse/RPM-GPG-KEY-SuSE-SLE-Main-2023", NOW, Some(true)),
            ("rocky/RPM-GPG-KEY-Rocky-9", NOW, Some(false)),
            ("alma/RPM-GPG-KEY-AlmaLinux-9", NOW, Some(false)),
            ("openeuler/RPM-GPG-KEY-openEuler", NOW, Some(false)),
            // It expired in 2021, and says so itself.
            ("euleros.asc", NOW, None),
            ("euleros.asc", 1_600_000_000, Some(true)),
        ] {
            let mut keyring = Keyring::default();
            keyring.add(&fs_err::read(data.join(file)).unwrap()).unwrap();
            let (_, certificate) = keyring.iter().next().unwrap();
            let found = usable(certificate, (super::Key::Primary, true), u64::from(made));
            assert_eq!(
                found.as_ref().ok().map(|usable| usable.weakly),
                expected,
                "{file} {found:?}"
            );
        }
    }

    #[test]
    fn r9_revoked_keys_do_not_count_unless_retired_later() {
        let revoked = |reason, at| Options { revoked: Some((reason, at)), ..Options::default() };
        refused(&revoked(RevocationCode::KeyCompromised, NOW + 100), "is revoked");
        refused(&revoked(RevocationCode::NoReason, NOW + 100), "is revoked");
        refused(&revoked(RevocationCode::KeyRetired, NOW - 1), "is revoked");
        accepted(&revoked(RevocationCode::KeyRetired, NOW + 100));
    }

    #[test]
    fn r9_a_revocation_that_any_copy_knows_counts() {
        let key = Key::new(&Options {
            revoked: Some((RevocationCode::KeyCompromised, BORN)),
            ..Options::default()
        });
        let mut keyring = Keyring::default();
        let mut innocent = pgp::composed::SignedPublicKey::clone(
            self::keyring(&[&key]).iter().next().map(|(_, certificate)| certificate).unwrap(),
        );
        innocent.details.revocation_signatures.clear();
        let bytes = pgp::ser::Serialize::to_bytes(&innocent).unwrap();
        keyring.add(&bytes).unwrap();
        let now = Epoch::new(u64::from(NOW)).unwrap();
        let signatures = [key.sign(b"text", Signing::text(NOW))];
        assert!(verify(b"text", &signatures, Framing::Cleartext, (&keyring, now)).is_ok());
        keyring.add(&key.certificate()).unwrap();
        assert!(verify(b"text", &signatures, Framing::Cleartext, (&keyring, now)).is_err());
    }

    #[test]
    fn r9_weak_keys_and_weak_hashes_do_not_count() {
        refused(&Options { kind: KeyType::Rsa(1024), ..Options::default() }, "1024 bits");
        accepted(&Options { kind: KeyType::Rsa(2048), ..Options::default() });
        let p256 = pgp::crypto::ecc_curve::ECCCurve::P256;
        accepted(&Options { kind: KeyType::ECDSA(p256), ..Options::default() });
        let k256 = pgp::crypto::ecc_curve::ECCCurve::Secp256k1;
        refused(&Options { kind: KeyType::ECDSA(k256), ..Options::default() }, "kind of key");
        let sha1 = HashAlgorithm::Sha1;
        let rsa = Options { kind: KeyType::Rsa(2048), ..Options::default() };
        refused(&Options { hash: sha1, ..rsa.clone() }, "no valid signature by itself");
        let key = Key::new(&rsa);
        signing_refused(&key, Signing { hash: sha1, ..Signing::text(NOW) }, "SHA1");
    }

    #[test]
    fn r9_signatures_of_the_future_and_expired_ones_do_not_count() {
        let key = Key::default();
        signing_refused(&key, Signing::text(NOW + 3_600), "in the future");
        let brief = Signing { lifetime: 10, ..Signing::text(NOW - 10) };
        signing_refused(&key, brief, "expired");
        let living = Signing { lifetime: 11, ..Signing::text(NOW - 10) };
        assert!(attempt(&key, living, Framing::Cleartext).is_ok());
    }

    #[test]
    fn c8_a_subkey_counts_only_when_bound_both_ways_and_meant_for_signing() {
        let with = |subkey| Options { subkey, ..Options::default() };
        accepted(&with(Subkey::Bound));
        refused(&with(Subkey::BoundByItself), "not bound");
        refused(&with(Subkey::WithoutBackSignature), "never signed back");
        refused(&with(Subkey::NotForSigning), "not meant for signing");
        refused(&with(Subkey::Revoked), "subkey is revoked");
    }

    #[test]
    fn d2_only_text_signatures_count_in_clear_signed_messages() {
        let key = Key::default();
        let binary = Signing::binary(NOW);
        signing_refused(&key, binary, "class");
        assert!(attempt(&key, binary, Framing::Detached).is_ok());
        assert!(attempt(&key, Signing::text(NOW), Framing::Detached).is_ok());
    }

    #[test]
    fn d2_unknown_signatures_never_become_good_ones() {
        let now = Epoch::new(u64::from(NOW)).unwrap();
        let key = Key::default();
        // A signature packet of version 9, then one of an unknown algorithm.
        let strange =
            [&[0xc2, 3, 9, 0, 0][..], &[0xc2, 12, 4, 1, 99, 8, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
        let Ok(mut signatures) = super::super::read_signatures(&strange) else {
            return; // refused as a whole: stricter still
        };
        let trusted = (&keyring(&[&key]), now);
        assert!(verify(b"text", &signatures, Framing::Cleartext, trusted).is_err());
        signatures.push(key.sign(b"text", Signing::text(NOW)));
        assert!(verify(b"text", &signatures, Framing::Cleartext, trusted).is_ok());
    }

    #[test]
    fn one_good_signature_suffices_and_one_false_one_spoils() {
        let now = Epoch::new(u64::from(NOW)).unwrap();
        let (ours, stranger) = (Key::default(), Key::default());
        let signed = |key: &Key, text: &[u8]| key.sign(text, Signing::text(NOW));
        let trusted = keyring(&[&ours]);
        let check = |signatures: &[Signature]| {
            verify(b"text", signatures, Framing::Cleartext, (&trusted, now))
        };
        assert!(check(&[signed(&stranger, b"text"), signed(&ours, b"text")]).is_ok());
        assert!(matches!(check(&[signed(&stranger, b"text")]), Err(Error::NobodyTrusted(_))));
        let spoilt = check(&[signed(&ours, b"text"), signed(&ours, b"other")]);
        assert!(matches!(spoilt, Err(Error::False(_))));
    }

    #[test]
    fn a_keyring_hands_out_pinned_certificates_only() {
        let (a, b) = (Key::default(), Key::default());
        let mut keyring = Keyring::default();
        let both = format!("{}\n{}", a.armored_certificate(), b.armored_certificate());
        assert_eq!(keyring.add(both.as_bytes()).unwrap().len(), 2);
        let pin: Fingerprint = a.fingerprint().to_lowercase().parse().unwrap();
        let pinned = keyring.pinned(&BTreeSet::from([pin.clone()]));
        assert_eq!(pinned.iter().map(|(fingerprint, _)| fingerprint).collect::<Vec<_>>(), [&pin]);
        assert!(Keyring::default().add(b"not a key").is_err());
        assert!("871920D1991BC93C".parse::<Fingerprint>().is_err());
    }
}
