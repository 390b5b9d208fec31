//! The packages and keys that rpm and libzypp test themselves with: who vouches for which.

use crate::epoch::Epoch;
use crate::fetch::openpgp::Keyring;
use crate::fetch::rpm::index::Refusal;
use crate::fetch::rpm::signature;
use crate::package::rpm::archive::Head;

/// 2026-01-01: after all of them were made.
const LATE: u64 = 1_767_225_600;

/// Whether the keys in a file vouch for a package.
fn judged(package: &str, key: &str) -> Option<Result<usize, Refusal>> {
    let data = crate::testing::data("conformance")?;
    let mut keyring = Keyring::default();
    let text = fs_err::read(data.join(key)).unwrap();
    if keyring.add(&text).is_err() {
        return Some(Err(Refusal::NoKey));
    }
    let bytes = fs_err::read(data.join(package)).unwrap();
    let judge = |bytes: &[u8]| {
        let head = Head::read(&mut &*bytes).map_err(Refusal::Package)?;
        let signers = signature::signers(&head, &keyring, Epoch::new(LATE).unwrap())?;
        Ok(signers.fingerprints.len())
    };
    Some(judge(&bytes))
}

/// The package of rpm's own tests with this ending of its name, and one of its keys.
fn of_rpm(ending: &str, key: &str) -> Option<Result<usize, Refusal>> {
    let package = format!("rpm-tests/data/RPMS/hello-2.0-1.x86_64{ending}.rpm");
    judged(&package, &format!("rpm-tests/data/keys/{key}"))
}

#[test]
fn m6_rpm_s_own_packages_are_vouched_for_by_who_signed_them_and_nobody_else() {
    for (ending, key, expected) in [
        ("-signed", "rpm.org-rsa-2048-test.pub", true),
        ("-signed", "rpm.org-rsa-2048-test.pgp", true),
        ("-signed", "rpm.org-ed25519-test.pub", false),
        ("-signed", "rpm.org-nistp256-test.pub", false),
        ("-signed", "alice.asc", false),
        ("-v3-signed", "rpm.org-rsa-2048-test.pub", true),
        // One signature is of a kind that nobody here knows, the other one counts.
        ("-signed-mldsa87", "rpm.org-rsa-2048-test.pub", true),
        ("", "rpm.org-rsa-2048-test.pub", false),
    ] {
        let Some(found) = of_rpm(ending, key) else { return };
        assert_eq!(found.is_ok(), expected, "{ending} {key}: {found:?}");
    }
}

#[test]
fn c8_rpm_s_own_hostile_keys_vouch_for_nothing_more_than_the_good_ones() {
    for (ending, key, expected) in [
        // A signing subkey, without which the package is a stranger's.
        ("-signed-with-subkey", "alice.asc", true),
        ("-signed-with-subkey", "alice-revoked-subkey.asc", false),
        ("-signed-with-subkey", "alice-expired-subkey.asc", false),
        ("-signed-with-new-subkey", "rpm.org-rsa-2048-add-subkey.asc", true),
        ("-signed-with-new-subkey", "rpm.org-rsa-2048-test.pub", false),
        // Subkeys that nobody bound, or bound falsely, do not lame the primary key beside them.
        ("-signed", "CVE-2021-3521-badbind.asc", true),
        ("-signed", "CVE-2021-3521-nosubsig.asc", true),
        ("-signed", "CVE-2021-3521-nosubsig-last.asc", true),
        ("-signed-with-new-subkey", "CVE-2021-3521-badbind.asc", false),
        ("-signed-with-subkey", "CVE-2021-3521-nosubsig.asc", false),
        ("-signed-with-subkey", "different-creation-times.asc", false),
        ("-signed", "keyidcollision1.pub", false),
        ("-signed", "keyidcollision2.pub", false),
        ("-signed", "rpm.org-v6-ed25519-test.asc", false),
        ("-signed", "rpm.org-v6-rsa4k-test.asc", false),
    ] {
        let Some(found) = of_rpm(ending, key) else { return };
        assert_eq!(found.is_ok(), expected, "{ending} {key}: {found:?}");
    }
}

#[test]
fn m6_libzypp_s_broken_packages_are_refused_signed_or_not() {
    let key = "libzypp/RpmPkgSigCheck/signed.key";
    for (name, expected) in [
        ("signed", true),
        // The header is good, and so is its signature; the payload is found out when it is read.
        ("signed_broken", true),
        ("signed_broken_header", false),
        ("unsigned", false),
        ("unsigned_broken", false),
        ("unsigned_broken_header", false),
        ("no", false),
    ] {
        let package = format!("libzypp/RpmPkgSigCheck/{name}.rpm");
        let Some(found) = judged(&package, key) else { return };
        assert_eq!(found.is_ok(), expected, "{name}: {found:?}");
    }
}

#[test]
fn m6_a_package_that_was_tampered_with_is_not_what_its_builder_signed() {
    let key = "../rpm/keys/RPM-GPG-KEY-AlmaLinux-9";
    let good = "../rpm/el9-aarch64/libacl-2.3.1-3.el9.aarch64.rpm";
    let Some(found) = judged(good, key) else { return };
    assert!(found.is_ok(), "{found:?}");
    for (kind, expected) in [
        ("flip-header", false),
        ("flip-sig", false),
        // These are found out by their digests.
        ("flip-payload", true),
        ("truncated", true),
    ] {
        let package = format!("../tampered/libacl-2.3.1-3.el9.aarch64.{kind}.rpm");
        let found = judged(&package, key).unwrap();
        assert_eq!(found.is_ok(), expected, "{kind}: {found:?}");
    }
}
