//! Certificates (public keys with their signatures), found by the fingerprint of the primary key.
//!
//! In: key files, armoured or binary, of any origin. Out: the certificates asked for by pinned
//! fingerprint. A keyring trusts nothing: it is a shelf, and copies of one certificate from
//! several places are joined, so that a revocation known to any of them counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Cursor;
use std::str::FromStr;

use pgp::armor::Dearmor;
use pgp::composed::{Deserializable, SignedPublicKey};
use pgp::types::KeyDetails;

use super::Error;
use super::certificate::Certificate;

/// The full fingerprint of a primary key: 40 (version 4) or 64 (version 6) hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The fingerprint of `key`.
    pub(super) fn of(key: &impl KeyDetails) -> Self {
        Self(format!("{:X}", key.fingerprint()))
    }
}

impl FromStr for Fingerprint {
    type Err = Error;

    /// Accepts either case, and blanks between groups as people write them.
    fn from_str(text: &str) -> Result<Self, Error> {
        let digits: String = text.chars().filter(|c| *c != ' ').collect();
        let hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if hexadecimal && matches!(digits.len(), 40 | 64) {
            Ok(Self(digits.to_ascii_uppercase()))
        } else {
            Err(Error::BadFingerprint(text.chars().take(80).collect()))
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Certificates by the fingerprint of their primary key.
#[derive(Debug, Clone, Default)]
pub(in crate::fetch) struct Keyring {
    certificates: BTreeMap<Fingerprint, Certificate>,
    /// Whether its primary keys count by their pins, so that they need not vouch for themselves well.
    by_pin: bool,
}

impl Keyring {
    /// Adds every certificate in `bytes`, a key file in armour or in binary, and returns their
    /// fingerprints.
    ///
    /// # Errors
    /// [`Error::BrokenKeys`] if the file holds no certificate that can be read. Certificates that
    /// are merely unsupported are passed over: a host's keyring may hold anything.
    pub(in crate::fetch) fn add(&mut self, bytes: &[u8]) -> Result<Vec<Fingerprint>, Error> {
        let mut added = Vec::new();
        let mut failure = None;
        for block in blocks(bytes)? {
            for certificate in SignedPublicKey::from_bytes_many(Cursor::new(block))
                .map_err(|error| Error::BrokenKeys(error.to_string()))?
            {
                match certificate {
                    Ok(certificate) => added.push(self.join(certificate)),
                    Err(error) => failure = Some(error.to_string()),
                }
            }
        }
        if added.is_empty() {
            let reason = failure.unwrap_or_else(|| "it holds no public key".to_owned());
            return Err(Error::BrokenKeys(reason));
        }
        Ok(added)
    }

    /// Returns those certificates whose fingerprints are in `pins`.
    pub(in crate::fetch) fn pinned(&self, pins: &BTreeSet<Fingerprint>) -> Self {
        let kept = self.certificates.iter().filter(|(fingerprint, _)| pins.contains(*fingerprint));
        Self { certificates: kept.map(|(f, c)| (f.clone(), c.clone())).collect(), by_pin: false }
    }

    /// The same, with primary keys that count by their pins: what they say of themselves need not be
    /// strong. Whoever asks for this says aloud where it made a difference.
    pub(in crate::fetch) fn by_pin(self) -> Self {
        Self { by_pin: true, ..self }
    }

    pub(super) const fn counts_by_pin(&self) -> bool {
        self.by_pin
    }

    /// Whether there is no certificate.
    pub(in crate::fetch) fn is_empty(&self) -> bool {
        self.certificates.is_empty()
    }

    /// All certificates, by fingerprint.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Fingerprint, &Certificate)> {
        self.certificates.iter()
    }

    fn join(&mut self, certificate: SignedPublicKey) -> Fingerprint {
        let fingerprint = Fingerprint::of(&certificate.primary_key);
        match self.certificates.get_mut(&fingerprint) {
            None => drop(self.certificates.insert(fingerprint.clone(), certificate.into())),
            Some(known) if known.key == certificate => {}
            Some(known) => {
                let mut joined = known.key.clone();
                let details = certificate.details;
                joined.details.revocation_signatures.extend(details.revocation_signatures);
                joined.details.direct_signatures.extend(details.direct_signatures);
                joined.details.users.extend(details.users);
                joined.public_subkeys.extend(certificate.public_subkeys);
                *known = joined.into();
            }
        }
        fingerprint
    }
}

const ARMOR_BEGIN: &[u8] = b"-----BEGIN PGP PUBLIC KEY BLOCK-----";

/// Splits a key file into binary blocks: itself, or each of its armoured parts.
fn blocks(bytes: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    let starts: Vec<usize> = bytes
        .windows(ARMOR_BEGIN.len())
        .enumerate()
        .filter_map(|(at, window)| (window == ARMOR_BEGIN).then_some(at))
        .collect();
    if starts.is_empty() {
        return Ok(vec![bytes.to_vec()]);
    }
    starts.iter().map(|&start| dearmor(&bytes[start..])).collect()
}

fn dearmor(armored: &[u8]) -> Result<Vec<u8>, Error> {
    let mut binary = Vec::new();
    std::io::copy(&mut Dearmor::new(Cursor::new(armored)), &mut binary)
        .map_err(|error| Error::BrokenKeys(error.to_string()))?;
    Ok(binary)
}
