//! Which algorithms and sizes are strong enough to vouch for anything.
//!
//! In: a signature or the numbers of a public key; out: whether it counts. The same for all families:
//! SHA-2 and SHA-3 from 256 bits, RSA from 2048, EdDSA, and ECDSA on NIST's curves.

use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::Signature;
use pgp::types::{EcdsaPublicParams, PublicParams};
use rsa_bits::bits;

/// RSA below this was given up by NIST SP 800-131A at the end of 2013.
const MIN_RSA_BITS: usize = 2048;

/// Whether what was hashed cannot be forged with today's means.
pub(super) fn strong_hash(signature: &Signature) -> bool {
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

/// Whether it was made with SHA-1.
pub(super) fn is_sha1(signature: &Signature) -> bool {
    signature.hash_alg() == Some(HashAlgorithm::Sha1)
}

/// Whether a key is of a kind and size that nobody can break.
pub(super) fn strong_key(parameters: &PublicParams) -> Result<(), String> {
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
