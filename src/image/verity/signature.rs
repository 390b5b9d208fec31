//! A signature over a root hash, for kernels that take no other hash than a signed one.
//!
//! Comes in: an RSA key and its certificate, as PEM. Goes out: a detached PKCS#7 signature as DER,
//! over the hexadecimal digits of the root hash, without a line's end: what `veritysetup open
//! --root-hash-signature` hands to the kernel (`CONFIG_DM_VERITY_VERIFY_ROOTHASH_SIG`), and what the
//! kernel checks with a certificate of its keyrings (`drivers/md/dm-verity-verify-sig.c`). There are
//! no signed attributes, so no time, and no certificate in it: key and root hash alone make the
//! bytes. The same as `openssl smime -sign -binary -noattr -nocerts -outform der`.
//!
//! Specifications: RFC 5652 (SignedData), RFC 8017, section 8.2 (PKCS#1 v1.5), with SHA-256.

use cms::cert::IssuerAndSerialNumber;
use cms::content_info::{CmsVersion, ContentInfo};
use cms::signed_data::{
    EncapsulatedContentInfo, SignedData, SignerIdentifier, SignerInfo, SignerInfos,
};
use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::pkcs8::{DecodePrivateKey as _, DecodePublicKey as _};
use rsa::traits::PublicKeyParts as _;
use rsa::{Pkcs1v15Sign, RsaPrivateKey, RsaPublicKey};
use x509_cert::Certificate;
use x509_cert::der::asn1::{Any, ObjectIdentifier, OctetString, SetOfVec};
use x509_cert::der::{Decode as _, Encode as _, pem};
use x509_cert::spki::AlgorithmIdentifierOwned;

use crate::digest::Digest;

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
/// What stands before a SHA-256 in a signed block (RFC 8017, section 9.2, note 1).
const PREFIX: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];
/// Shorter keys are within reach of an attacker.
const SHORTEST_KEY: usize = 2048;

/// Why a key and a certificate cannot sign.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadSigner {
    /// It needs a passphrase, and nobody is asked for one.
    #[error(
        "the key is encrypted; give it without a passphrase (`openssl pkey` makes such a copy)"
    )]
    Encrypted,
    /// It is no private key.
    #[error("the key is no private key in PEM (`BEGIN PRIVATE KEY` or `BEGIN RSA PRIVATE KEY`)")]
    NoKey,
    /// It is a key of another kind, or broken.
    #[error("the key is no RSA key that can be read")]
    NotRsa(#[source] rsa::pkcs8::Error),
    /// It is too short.
    #[error("the key has {bits} bits, and at least {SHORTEST_KEY} are needed")]
    Short {
        /// How many it has.
        bits: usize,
    },
    /// It is no certificate.
    #[error("the certificate is none in PEM (`BEGIN CERTIFICATE`)")]
    NoCertificate,
    /// It is broken.
    #[error("the certificate cannot be read")]
    Certificate(#[source] x509_cert::der::Error),
    /// Its key is of another kind, or broken.
    #[error("the certificate is for no RSA key")]
    CertificateNotRsa(#[source] rsa::pkcs8::spki::Error),
    /// Whoever trusts the certificate would not believe the key.
    #[error("the key is not the one of the certificate")]
    Mismatch,
}

/// Why a signature proves nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadSignature {
    /// It is no PKCS#7 signature as DER.
    #[error("the signature is not PKCS#7 in DER")]
    Malformed(#[source] x509_cert::der::Error),
    /// It uses something that is not known here.
    #[error("the signature is not supported: {0}")]
    Unsupported(&'static str),
    /// Another certificate's key made it.
    #[error("the signature is by another certificate")]
    OtherCertificate,
    /// It is over something else, or forged.
    #[error("the signature is not over this root hash")]
    Wrong,
}

/// A certificate, whose key may have signed.
#[derive(Debug, Clone)]
pub struct Signatory {
    certificate: Certificate,
    public: RsaPublicKey,
}

/// A key and its certificate, found to belong together.
pub struct Signer {
    key: RsaPrivateKey,
    signatory: Signatory,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("signatory", &self.signatory).finish_non_exhaustive()
    }
}

impl Signatory {
    /// Reads a certificate, the first one in a text.
    ///
    /// # Errors
    /// [`BadSigner`].
    pub fn parse(text: &str) -> Result<Self, BadSigner> {
        let block = block(text, "CERTIFICATE").ok_or(BadSigner::NoCertificate)?;
        // Not `from_pem`: it reads on and on where the base64 ends in the middle of a length.
        let decoded = pem::decode_vec(block.as_bytes()).map_err(|error| error.into());
        let certificate = decoded.and_then(|(_, der)| Certificate::from_der(&der));
        let certificate = certificate.map_err(BadSigner::Certificate)?;
        let info = &certificate.tbs_certificate.subject_public_key_info;
        let info = info.to_der().map_err(BadSigner::Certificate)?;
        let public =
            RsaPublicKey::from_public_key_der(&info).map_err(BadSigner::CertificateNotRsa)?;
        Ok(Self { certificate, public })
    }

    /// Whom the certificate is for, and its serial number.
    pub fn name(&self) -> String {
        let certificate = &self.certificate.tbs_certificate;
        format!("{}, serial number {}", certificate.subject, certificate.serial_number)
    }

    fn identifier(&self) -> SignerIdentifier {
        SignerIdentifier::IssuerAndSerialNumber(IssuerAndSerialNumber {
            issuer: self.certificate.tbs_certificate.issuer.clone(),
            serial_number: self.certificate.tbs_certificate.serial_number.clone(),
        })
    }

    /// Checks that `signature` is one over `root_hash`, by this certificate's key. Whether the
    /// certificate is to be trusted is the caller's to know, and whether it has expired nobody asks:
    /// no more does the kernel.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(&self, signature: &[u8], root_hash: &Digest) -> Result<(), BadSignature> {
        let malformed = BadSignature::Malformed;
        let content = ContentInfo::from_der(signature).map_err(malformed)?;
        if content.content_type != SIGNED_DATA {
            return Err(BadSignature::Unsupported("it is not SignedData"));
        }
        let data: SignedData = content.content.decode_as().map_err(malformed)?;
        if data.encap_content_info.econtent_type != DATA
            || data.encap_content_info.econtent.is_some()
        {
            return Err(BadSignature::Unsupported("it is not detached"));
        }
        let [signer] = data.signer_infos.0.as_slice() else {
            return Err(BadSignature::Unsupported("it has not one signer"));
        };
        if signer.signed_attrs.is_some() {
            return Err(BadSignature::Unsupported("it has signed attributes"));
        }
        let algorithm = signer.signature_algorithm.oid;
        if signer.digest_alg.oid != SHA256 || ![RSA, RSA_WITH_SHA256].contains(&algorithm) {
            return Err(BadSignature::Unsupported("it is not RSA with SHA-256"));
        }
        if signer.sid != self.identifier() {
            return Err(BadSignature::OtherCertificate);
        }
        let digest = Digest::of(root_hash.to_string().as_bytes());
        let verified = self.public.verify(scheme(), digest.as_bytes(), signer.signature.as_bytes());
        verified.map_err(|_| BadSignature::Wrong)
    }
}

impl Signer {
    /// Reads a key and its certificate.
    ///
    /// # Errors
    /// [`BadSigner`].
    pub fn parse(key: &str, certificate: &str) -> Result<Self, BadSigner> {
        let signatory = Signatory::parse(certificate)?;
        let key = read_key(key)?;
        let bits = key.n().bits();
        if bits < SHORTEST_KEY {
            return Err(BadSigner::Short { bits });
        }
        if key.to_public_key() != signatory.public {
            return Err(BadSigner::Mismatch);
        }
        Ok(Self { key, signatory })
    }

    /// The signature over `root_hash`, the same bytes each time.
    pub fn sign(&self, root_hash: &Digest) -> Vec<u8> {
        let digest = Digest::of(root_hash.to_string().as_bytes());
        let signed = self.key.sign(scheme(), digest.as_bytes());
        let signature = signed.expect("a key of 2048 bits has room for a digest");
        let encoded = self.encode(signature).expect("a few short fields can be encoded");
        let checked = self.signatory.verify(&encoded, root_hash);
        checked.expect("the key is the certificate's");
        encoded
    }

    fn encode(&self, signature: Vec<u8>) -> Result<Vec<u8>, x509_cert::der::Error> {
        let algorithm = |oid| AlgorithmIdentifierOwned { oid, parameters: Some(Any::null()) };
        let signer = SignerInfo {
            version: CmsVersion::V1,
            sid: self.signatory.identifier(),
            digest_alg: algorithm(SHA256),
            signed_attrs: None,
            signature_algorithm: algorithm(RSA),
            signature: OctetString::new(signature)?,
            unsigned_attrs: None,
        };
        let data = SignedData {
            version: CmsVersion::V1,
            digest_algorithms: SetOfVec::try_from(vec![algorithm(SHA256)])?,
            encap_content_info: EncapsulatedContentInfo { econtent_type: DATA, econtent: None },
            certificates: None,
            crls: None,
            signer_infos: SignerInfos(SetOfVec::try_from(vec![signer])?),
        };
        let content = Any::encode_from(&data)?;
        ContentInfo { content_type: SIGNED_DATA, content }.to_der()
    }
}

fn scheme() -> Pkcs1v15Sign {
    Pkcs1v15Sign { hash_len: Some(32), prefix: PREFIX.into() }
}

fn read_key(text: &str) -> Result<RsaPrivateKey, BadSigner> {
    let is_encrypted =
        block(text, "ENCRYPTED PRIVATE KEY").is_some() || text.contains("Proc-Type: 4,ENCRYPTED");
    if is_encrypted {
        return Err(BadSigner::Encrypted);
    }
    if let Some(block) = block(text, "PRIVATE KEY") {
        return RsaPrivateKey::from_pkcs8_pem(block).map_err(BadSigner::NotRsa);
    }
    let block = block(text, "RSA PRIVATE KEY").ok_or(BadSigner::NoKey)?;
    RsaPrivateKey::from_pkcs1_pem(block).map_err(|error| BadSigner::NotRsa(error.into()))
}

/// The first block with this label; texts may have others, and words between them.
fn block<'t>(text: &'t str, label: &str) -> Option<&'t str> {
    let end = format!("-----END {label}-----");
    let (_, rest) = text.split_at_checked(text.find(&format!("-----BEGIN {label}-----"))?)?;
    let (block, _) = rest.split_at_checked(rest.find(&end)?.checked_add(end.len())?)?;
    Some(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_ends_in_the_middle_of_a_length_is_refused_at_once() {
        for cut in ["MIIB", "MA==", "MIID", ""] {
            let text = format!("-----BEGIN CERTIFICATE-----\n{cut}\n-----END CERTIFICATE-----\n");
            assert!(matches!(Signatory::parse(&text), Err(BadSigner::Certificate(_))), "{cut}");
        }
    }

    #[test]
    fn what_is_no_key_or_no_signature_is_said_to_be_none() {
        let none = |text: &str| read_key(text).unwrap_err().to_string();
        assert!(none("").contains("no private key in PEM"));
        assert!(none("-----BEGIN PRIVATE KEY-----").contains("no private key in PEM"));
        let block = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        assert!(none(&block("ENCRYPTED PRIVATE KEY")).contains("the key is encrypted"));
        let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n";
        assert!(none(old).contains("the key is encrypted"));
        assert!(none(&block("PRIVATE KEY")).contains("no RSA key"));
        assert!(none(&block("RSA PRIVATE KEY")).contains("no RSA key"));
        let certificate = |text: &str| Signatory::parse(text).unwrap_err().to_string();
        assert!(certificate("").contains("none in PEM"));
        assert!(certificate(&block("CERTIFICATE")).contains("cannot be read"));
    }
}
