//! OpenPGP keys, good and flawed, and what they sign.

use pgp::composed::{
    ArmorOptions, CleartextSignedMessage, DetachedSignature, KeyType, SignedKeyDetails,
    SignedPublicKey, SignedPublicSubKey,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{
    KeyFlags, PubKeyInner, PublicKey, PublicSubkey, RevocationCode, SecretKey, SecretSubkey,
    Signature, SignatureConfig, SignatureType, Subpacket, SubpacketData, UserId,
};
use pgp::ser::Serialize as _;
use pgp::types::{
    Duration, EcdsaPublicParams, KeyDetails, KeyVersion, Password, PublicParams, SignedUser,
    SigningKey, Tag, Timestamp,
};

/// 2020-01-01: when keys are born unless asked otherwise.
pub const BORN: u32 = 1_577_836_800;

/// How a key is made. The default is a good one.
#[derive(Debug, Clone)]
pub struct Options {
    /// The kind of all its keys.
    pub kind: KeyType,
    /// The version of all its keys, and of what they sign: 4 or 6.
    pub version: KeyVersion,
    /// When it is made, in seconds since 1970.
    pub born: u32,
    /// How many seconds it lives; without end if zero.
    pub lifetime: u32,
    /// Hash of its signatures on itself.
    pub hash: HashAlgorithm,
    /// Why, and when, it is revoked.
    pub revoked: Option<(RevocationCode, u32)>,
    /// Its signing subkey.
    pub subkey: Subkey,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kind: KeyType::Ed25519Legacy,
            version: KeyVersion::V4,
            born: BORN,
            lifetime: 0,
            hash: HashAlgorithm::Sha256,
            revoked: None,
            subkey: Subkey::None,
        }
    }
}

/// What about a subkey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subkey {
    /// There is none: the primary key signs.
    None,
    /// A good one.
    Bound,
    /// One that never signed back.
    WithoutBackSignature,
    /// One that is not meant for signing.
    NotForSigning,
    /// One that the primary key never bound: the binding is by itself.
    BoundByItself,
    /// One that was bound, and revoked as compromised.
    Revoked,
}

/// A private key with its certificate.
#[derive(Debug)]
pub struct Key {
    primary: SecretKey,
    subkey: Option<SecretSubkey>,
    certificate: SignedPublicKey,
}

/// How something is signed. The default is good.
#[derive(Debug, Clone, Copy)]
pub struct Signing {
    /// When, in seconds since 1970.
    pub at: u32,
    /// How many seconds the signature lives; without end if zero.
    pub lifetime: u32,
    /// With which hash.
    pub hash: HashAlgorithm,
    /// The class: text for clear-signed messages.
    pub class: SignatureType,
}

impl Signing {
    /// A text signature with SHA-256, made at the second `at`.
    pub const fn text(at: u32) -> Self {
        Self { at, lifetime: 0, hash: HashAlgorithm::Sha256, class: SignatureType::Text }
    }

    /// A binary signature with SHA-256, made at the second `at`.
    pub const fn binary(at: u32) -> Self {
        Self { at, lifetime: 0, hash: HashAlgorithm::Sha256, class: SignatureType::Binary }
    }
}

impl Default for Key {
    fn default() -> Self {
        Self::new(&Options::default())
    }
}

impl Key {
    /// Makes a key.
    pub fn new(options: &Options) -> Self {
        let (public, primary) = primary(options);
        let identity =
            UserId::from_str(pgp::types::PacketHeaderVersion::New, "Test <t@example>").unwrap();
        let certification = certify(options, &primary, &public, &identity);
        let users = vec![SignedUser::new(identity, vec![certification])];
        let revocations = revocation(options, &primary, &public);
        let details = SignedKeyDetails::new(revocations, Vec::new(), users, Vec::new());
        let (subkey, bound) = match options.subkey {
            Subkey::None => (None, Vec::new()),
            kind => {
                let (secret, bound) = bind(options, kind, (&primary, &public));
                (Some(secret), vec![bound])
            }
        };
        Self { primary, subkey, certificate: SignedPublicKey::new(public, details, bound) }
    }

    /// The primary key's fingerprint, in upper case.
    pub fn fingerprint(&self) -> String {
        format!("{:X}", self.primary.fingerprint())
    }

    /// The certificate in binary.
    pub fn certificate(&self) -> Vec<u8> {
        self.certificate.to_bytes().unwrap()
    }

    /// The certificate in armour.
    pub fn armored_certificate(&self) -> String {
        self.certificate.to_armored_string(ArmorOptions::default()).unwrap()
    }

    /// A clear-signed message, as `InRelease` is.
    pub fn clearsign(&self, text: &str, signing: Signing) -> String {
        clearsign(text, &[(self, signing)])
    }

    /// An armoured detached signature, as `Release.gpg` is.
    pub fn detached(&self, content: &[u8], signing: Signing) -> String {
        let signature = DetachedSignature::new(self.sign(content, signing));
        signature.to_armored_string(ArmorOptions::default()).unwrap()
    }

    /// A signature packet over `content`, by the subkey if there is one.
    pub fn sign(&self, content: &[u8], signing: Signing) -> Signature {
        match &self.subkey {
            Some(subkey) => sign_with(subkey, content, signing),
            None => sign_with(&self.primary, content, signing),
        }
    }
}

/// A clear-signed message with several signatures, in the given order.
pub fn clearsign(text: &str, by: &[(&Key, Signing)]) -> String {
    let signed = text.trim_end_matches('\n');
    let message = CleartextSignedMessage::new_many(signed, |normalized| {
        Ok(by.iter().map(|(key, signing)| key.sign(normalized.as_bytes(), *signing)).collect())
    });
    message.unwrap().to_armored_string(ArmorOptions::default()).unwrap()
}

fn primary(options: &Options) -> (PublicKey, SecretKey) {
    let (public, secret) = options.kind.generate(rand::thread_rng()).unwrap();
    let algorithm = options.kind.to_alg();
    let born = Timestamp::from_secs(options.born);
    let inner = PubKeyInner::new(options.version, algorithm, born, None, public).unwrap();
    let public = PublicKey::from_inner(inner).unwrap();
    (public.clone(), SecretKey::new(public, secret).unwrap())
}

fn config(
    key: &impl SigningKey,
    class: SignatureType,
    hash: HashAlgorithm,
    at: u32,
) -> SignatureConfig {
    let mut config = match key.version() {
        KeyVersion::V6 => {
            SignatureConfig::v6(rand::thread_rng(), class, key.algorithm(), hash).unwrap()
        }
        _ => SignatureConfig::v4(class, key.algorithm(), hash),
    };
    config.hashed_subpackets = vec![
        subpacket(SubpacketData::SignatureCreationTime(Timestamp::from_secs(at))),
        subpacket(SubpacketData::IssuerFingerprint(key.fingerprint())),
    ];
    config
}

fn subpacket(data: SubpacketData) -> Subpacket {
    Subpacket::regular(data).unwrap()
}

fn flags(sign: bool) -> SubpacketData {
    let mut flags = KeyFlags::default();
    flags.set_certify(!sign);
    flags.set_sign(sign);
    SubpacketData::KeyFlags(flags)
}

fn seconds(seconds: u32) -> Duration {
    Duration::try_from(std::time::Duration::from_secs(u64::from(seconds))).unwrap()
}

fn certify(options: &Options, key: &SecretKey, public: &PublicKey, id: &UserId) -> Signature {
    let mut config = config(key, SignatureType::CertPositive, options.hash, options.born);
    config.hashed_subpackets.push(subpacket(flags(true)));
    if options.lifetime > 0 {
        let lifetime = SubpacketData::KeyExpirationTime(seconds(options.lifetime));
        config.hashed_subpackets.push(subpacket(lifetime));
    }
    config.sign_certification(key, public, &Password::empty(), Tag::UserId, id).unwrap()
}

fn revocation(options: &Options, key: &SecretKey, public: &PublicKey) -> Vec<Signature> {
    let revoked = options.revoked.iter().map(|(reason, at)| {
        let mut config = config(key, SignatureType::KeyRevocation, HashAlgorithm::Sha256, *at);
        let reason = SubpacketData::RevocationReason(*reason, Vec::new().into());
        config.hashed_subpackets.push(subpacket(reason));
        config.sign_key(key, &Password::empty(), public).unwrap()
    });
    revoked.collect()
}

fn bind(
    options: &Options,
    kind: Subkey,
    (primary, public): (&SecretKey, &PublicKey),
) -> (SecretSubkey, SignedPublicSubKey) {
    let (parameters, secret) = options.kind.generate(rand::thread_rng()).unwrap();
    let born = Timestamp::from_secs(options.born);
    let algorithm = options.kind.to_alg();
    let inner = PubKeyInner::new(options.version, algorithm, born, None, parameters).unwrap();
    let sub_public = PublicSubkey::from_inner(inner).unwrap();
    let sub_secret = SecretSubkey::new(sub_public.clone(), secret).unwrap();
    let password = Password::empty();
    let back = config(&sub_secret, SignatureType::KeyBinding, options.hash, options.born)
        .sign_primary_key_binding(&sub_secret, &sub_public, &password, public)
        .unwrap();
    let mut binding = config(primary, SignatureType::SubkeyBinding, options.hash, options.born);
    binding.hashed_subpackets.push(subpacket(flags(kind != Subkey::NotForSigning)));
    if kind != Subkey::WithoutBackSignature {
        let embedded = SubpacketData::EmbeddedSignature(Box::new(back));
        binding.hashed_subpackets.push(subpacket(embedded));
    }
    let bound = match kind {
        Subkey::BoundByItself => {
            binding.sign_subkey_binding(&sub_secret, public, &password, &sub_public)
        }
        _ => binding.sign_subkey_binding(primary, public, &password, &sub_public),
    };
    let mut signatures = vec![bound.unwrap()];
    if kind == Subkey::Revoked {
        let at = options.born + 1;
        let mut config = config(primary, SignatureType::SubkeyRevocation, options.hash, at);
        let reason =
            SubpacketData::RevocationReason(RevocationCode::KeyCompromised, Vec::new().into());
        config.hashed_subpackets.push(subpacket(reason));
        let revoked = config.sign_subkey_binding(primary, public, &password, &sub_public);
        signatures.push(revoked.unwrap());
    }
    (sub_secret, SignedPublicSubKey { key: sub_public, signatures })
}

fn sign_with(key: &impl SigningKey, content: &[u8], signing: Signing) -> Signature {
    // Larger curves take no smaller hash than themselves.
    let hash = match key.public_params() {
        PublicParams::ECDSA(EcdsaPublicParams::P384 { .. } | EcdsaPublicParams::P521 { .. }) => {
            HashAlgorithm::Sha512
        }
        _ => signing.hash,
    };
    let mut config = config(key, signing.class, hash, signing.at);
    if signing.lifetime > 0 {
        let lifetime = SubpacketData::SignatureExpirationTime(seconds(signing.lifetime));
        config.hashed_subpackets.push(subpacket(lifetime));
    }
    config.sign(key, &Password::empty(), content).unwrap()
}
