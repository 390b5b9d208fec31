//! Good keys and signatures count; each flaw makes one that does not.

use std::collections::BTreeSet;

use osbuilder_testkit::key::{BORN, Key, Options, Signing, Subkey};
use pgp::composed::KeyType;
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::RevocationCode;

use super::super::{Error, Framing, Signers, certificate, verify};
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
    keyring.add(include_bytes!("../../../distro/keys/ubuntu/archive-2018.asc")).unwrap();
    let (_, certificate) = keyring.iter().next().unwrap();
    let found = usable(certificate, (certificate::Key::Primary, false), u64::from(NOW));
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
        assert!(matches!(attempt(options, by_pin), Err(Error::NobodyTrusted(_))), "{options:?}");
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
        let found = usable(certificate, (certificate::Key::Primary, true), u64::from(made));
        assert_eq!(found.as_ref().ok().map(|usable| usable.weakly), expected, "{file} {found:?}");
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
        self::keyring(&[&key]).iter().next().map(|(_, certificate)| &certificate.key).unwrap(),
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
    let check =
        |signatures: &[Signature]| verify(b"text", signatures, Framing::Cleartext, (&trusted, now));
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
