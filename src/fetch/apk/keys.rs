//! Alpine's keys: RSA keys in files whose names are part of the signatures.
//!
//! Where key material comes from, in this order: files the user names, the host's key folders, what is
//! compiled in, the distribution's published addresses over https. It counts only if the name and the
//! SHA-256 of its file are pinned for the architecture, or because the user named the file; where it
//! comes from proves nothing. Out: the keys that may vouch for one source, and whether they did.
//!
//! Signatures of version 3 name a key by the SHA-512 of its numbers instead.
//!
//! Specification: apk-keys(5), apk-v3(5); PKCS#1 v1.5 (RFC 8017, section 8.2.2).

use std::path::{Path, PathBuf};

use rsa::pkcs1::EncodeRsaPublicKey as _;
use rsa::pkcs8::DecodePublicKey as _;
use rsa::traits::PublicKeyParts as _;
use rsa::{Pkcs1v15Sign, RsaPublicKey};
use sha2::{Digest as _, Sha512};

use super::index::Refusal;
use crate::digest::Digest;
use crate::distro::Architecture;
use crate::fetch::transport::{Request, Transport};
use crate::fetch::url::{Scheme, Url};
use crate::fetch::{Context, Error};
use crate::package::apk::blocks::{self, Signed};
use crate::package::apk::checksum::Sha1;
use crate::package::apk::segment::{Algorithm, Signature};
use crate::recipe::Recipe;

/// A key of the folder of Alpine's keys, with its name.
macro_rules! key {
    ($id:literal) => {
        (
            concat!("alpine-devel@lists.alpinelinux.org-", $id, ".rsa.pub"),
            include_bytes!(concat!(
                "../../distro/keys/alpine/alpine-devel@lists.alpinelinux.org-",
                $id,
                ".rsa.pub"
            )),
        )
    };
}

/// Alpine's keys for the architectures that are known here, as Debian's package
/// alpine-chroot-install 0.14.0-1 holds them.
pub(super) const COMPILED_IN: [(&str, &[u8]); 9] = [
    key!("4a6a0840"),
    key!("5261cecb"),
    key!("6165ee59"),
    key!("58199dcc"),
    key!("616ae350"),
    key!("58cbb476"),
    key!("616abc23"),
    key!("58e4f17d"),
    key!("616ac3bc"),
];

/// Where apk keeps keys, below the host's root.
const HOST_FOLDERS: [&str; 2] = ["etc/apk/keys", "usr/share/apk/keys"];
/// A key file has less than two kilobytes.
const MAX_KEY_FILE: u64 = 1 << 16;
/// Shorter keys are within reach of an attacker.
const SHORTEST_KEY_BITS: usize = 2048;

/// A key that may vouch for an architecture's repositories: its file's name and digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pin {
    pub architecture: Architecture,
    pub name: String,
    pub digest: Digest,
}

impl Pin {
    /// Reads `x86_64 NAME SHA256`, as data files have it.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let malformed = || Error::KeyPin { text: text.to_owned() };
        let mut words = text.split(' ');
        let (Some(architecture), Some(name), Some(digest), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(malformed());
        };
        let architecture = architecture.parse().map_err(|_| malformed())?;
        let digest = digest.parse().map_err(|_| malformed())?;
        Ok(Self { architecture, name: name.to_owned(), digest })
    }
}

/// Whose signatures count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trust {
    /// The keys pinned in the distribution's data file, and the user's if the user also chose the
    /// mirrors.
    Distribution { pins: Vec<Pin>, and_the_users: bool },
    /// Any key in the user's files.
    Users,
    /// The key in this file alone.
    File(PathBuf),
}

/// One key.
#[derive(Debug, Clone)]
pub(super) struct Key {
    name: String,
    digest: Digest,
    public: RsaPublicKey,
    /// The SHA-512 of its numbers, whose beginning signatures of version 3 name.
    id: Vec<u8>,
}

impl Key {
    fn read(name: &str, bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let public = RsaPublicKey::from_public_key_pem(text).ok()?;
        let long_enough = public.n().bits() >= SHORTEST_KEY_BITS;
        let id = Sha512::digest(public.to_pkcs1_der().ok()?.as_bytes()).to_vec();
        let (name, digest) = (name.to_owned(), Digest::of(bytes));
        long_enough.then_some(Self { name, digest, public, id })
    }

    fn of_file(path: &Path) -> Result<Self, Error> {
        let bytes = fs_err::read(path).map_err(Error::KeyFile)?;
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        Self::read(name, &bytes).ok_or_else(|| Error::RsaKeyFile { path: path.to_owned() })
    }
}

/// The keys that may vouch for one source.
#[derive(Debug, Clone, Default)]
pub(super) struct Keyring(Vec<Key>);

/// All key material at hand, before anybody is trusted.
pub(super) struct Shelf<'a> {
    all: Vec<Key>,
    users: Vec<Key>,
    addresses: &'a [String],
}

impl<'a> Shelf<'a> {
    /// Collects what needs no network.
    pub(super) fn collect(recipe: &'a Recipe, context: &Context<'_>) -> Result<Self, Error> {
        let users = recipe.sources.keys.iter().map(|path| Key::of_file(path));
        let users = users.collect::<Result<Vec<_>, _>>()?;
        let mut all = users.clone();
        // Whatever else lies in the host's folders is the host's business.
        all.extend(host_files(context.host).iter().filter_map(|file| Key::of_file(file).ok()));
        all.extend(COMPILED_IN.iter().filter_map(|(name, bytes)| Key::read(name, bytes)));
        Ok(Self { all, users, addresses: &recipe.distro.key_addresses })
    }

    /// The keys that may vouch for a source with this trust.
    pub(super) fn for_trust(
        &self,
        trust: &Trust,
        (transport, context): (&Transport, &Context<'_>),
    ) -> Result<Keyring, Error> {
        let (pins, and_the_users) = match trust {
            Trust::Users => return Ok(Keyring(self.users.clone())),
            Trust::File(path) => return Ok(Keyring(vec![Key::of_file(path)?])),
            Trust::Distribution { pins, and_the_users } => (pins, *and_the_users),
        };
        let mut keys: Vec<Key> = if and_the_users { self.users.clone() } else { Vec::new() };
        for pin in pins {
            let mut known = self.all.iter().filter(|key| is_pinned(key, pin)).cloned();
            let key = known
                .next()
                .or_else(|| (!context.offline).then(|| self.download(transport, pin)).flatten());
            keys.extend(key);
        }
        Ok(Keyring(keys))
    }

    /// Asks the published addresses. A key that cannot be had there is simply missing later.
    fn download(&self, transport: &Transport, pin: &Pin) -> Option<Key> {
        let urls = self.addresses.iter().filter_map(|address| address.parse::<Url>().ok());
        urls.filter(|url| url.scheme() != Scheme::Http).find_map(|url| {
            let url = url.join(&pin.name);
            let request = Request { url, size: None, cap: MAX_KEY_FILE, fresh: false };
            let bytes = transport.open(request).and_then(|download| download.into_bytes()).ok()?;
            Key::read(&pin.name, &bytes).filter(|key| is_pinned(key, pin))
        })
    }
}

fn is_pinned(key: &Key, pin: &Pin) -> bool {
    key.name == pin.name && key.digest == pin.digest
}

/// The key files of the host, also those that its folders keep apart for each architecture.
fn host_files(root: Option<&Path>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> =
        root.into_iter().flat_map(|root| HOST_FOLDERS.map(|folder| root.join(folder))).collect();
    let mut depth = 0;
    while !folders.is_empty() && depth < 2 {
        let mut below = Vec::new();
        for entry in folders.iter().filter_map(|folder| fs_err::read_dir(folder).ok()).flatten() {
            let Ok(entry) = entry else { continue };
            let path = entry.path();
            let small = |meta: std::fs::Metadata| meta.is_file() && meta.len() <= MAX_KEY_FILE;
            match path.extension().is_some_and(|extension| extension == "pub") {
                true if fs_err::metadata(&path).is_ok_and(small) => files.push(path),
                false if path.is_dir() => below.push(path),
                _ => {}
            }
        }
        folders = below;
        depth += 1;
    }
    files.sort();
    files
}

impl Keyring {
    /// Whether no key is at hand.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Who of the keyring signed `bytes`, in the words that the lock records. A signature that bears
    /// the name of a key of the keyring must be that key's; others do not matter.
    ///
    /// `weak` says that SHA-1 is enough, as it has to be where a distribution signs with nothing else.
    pub(super) fn verify(
        &self,
        signatures: &[Signature],
        bytes: &[u8],
        weak: bool,
    ) -> Result<Vec<String>, Refusal> {
        if signatures.is_empty() {
            return Err(Refusal::Unsigned);
        }
        let mut signers = Vec::new();
        let mut refusal = None;
        for signature in signatures {
            let Some(key) = self.0.iter().find(|key| key.name == signature.key) else { continue };
            if !is_good(key, signature, bytes) {
                return Err(Refusal::BadSignature { key: key.name.clone() });
            }
            if signature.algorithm == Algorithm::Sha1 && !weak {
                refusal = Some(Refusal::Weak { key: key.name.clone() });
                continue;
            }
            signers.push(format!("{} {} {}", key.name, key.digest, signature.algorithm.name()));
        }
        let names = || signatures.iter().map(|signature| signature.key.clone()).collect();
        match refusal {
            _ if !signers.is_empty() => Ok(signers),
            Some(refusal) => Err(refusal),
            None => Err(Refusal::NoKey { names: names() }),
        }
    }

    /// Who of the keyring signed the values of a file of version 3. Otherwise as [`Keyring::verify`].
    pub(super) fn verify_values(&self, signed: &Signed) -> Result<Vec<String>, Refusal> {
        if signed.signatures.is_empty() {
            return Err(Refusal::Unsigned);
        }
        let mut signers = Vec::new();
        for signature in signed.signatures.iter().filter(|signature| signature.is_known()) {
            let named = |key: &&Key| key.id.starts_with(signature.key());
            let Some(key) = self.0.iter().find(named) else { continue };
            let message = signed.message(signature);
            if !is_signed(key, (Algorithm::Sha512, &message), &signature.bytes) {
                return Err(Refusal::BadSignature { key: key.name.clone() });
            }
            signers.push(format!("{} {} {}", key.name, key.digest, Algorithm::Sha512.name()));
        }
        match signers.is_empty() {
            true => Err(Refusal::NoKey { names: signed.signatures.iter().map(shown).collect() }),
            false => Ok(signers),
        }
    }
}

/// The beginning of a key's digest, which is all that a signature says of it.
fn shown(signature: &blocks::Signature) -> String {
    signature.key().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_good(key: &Key, signature: &Signature, bytes: &[u8]) -> bool {
    is_signed(key, (signature.algorithm, bytes), &signature.bytes)
}

/// Whether `signature` is the key's over the digest of `bytes`.
fn is_signed(key: &Key, (algorithm, bytes): (Algorithm, &[u8]), signature: &[u8]) -> bool {
    let (prefix, digest): (&[u8], Vec<u8>) = match algorithm {
        Algorithm::Sha1 => {
            let mut hasher = Sha1::default();
            hasher.update(bytes);
            let Ok(digest) = hasher.finish() else { return false };
            (&SHA1, digest.to_vec())
        }
        Algorithm::Sha256 => (&SHA256, Digest::of(bytes).as_bytes().to_vec()),
        Algorithm::Sha512 => (&SHA512, Sha512::digest(bytes).to_vec()),
    };
    let scheme = Pkcs1v15Sign { hash_len: Some(digest.len()), prefix: prefix.into() };
    key.public.verify(scheme, &digest, signature).is_ok()
}

/// The beginnings of the signed blocks, up to the digests (RFC 8017, section 9.2, note 1).
const SHA1: [u8; 15] =
    [0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14];
const SHA256: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];
const SHA512: [u8; 19] = [
    0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03, 0x05,
    0x00, 0x04, 0x40,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distro::{Catalogue, Family};

    #[test]
    fn every_pinned_key_comes_with_the_program_and_nothing_else_does() {
        let catalogue = Catalogue::default();
        let apk = catalogue.all().iter().filter(|distro| distro.family == Family::Apk);
        let keys = apk.flat_map(|distro| &distro.releases).flat_map(|release| &release.keys);
        let pins: Vec<_> = keys.map(|text| Pin::parse(text).unwrap()).collect();
        let brought: Vec<_> =
            COMPILED_IN.iter().map(|(name, bytes)| Key::read(name, bytes).unwrap()).collect();
        for key in &brought {
            assert!(pins.iter().any(|pin| is_pinned(key, pin)), "{}", key.name);
        }
        for pin in &pins {
            assert!(brought.iter().any(|key| is_pinned(key, pin)), "{}", pin.name);
        }
    }

    #[test]
    fn a_pin_is_an_architecture_a_name_and_a_digest() {
        let digest = Digest::of(b"");
        let pin = Pin::parse(&format!("x86_64 a.rsa.pub {digest}")).unwrap();
        let expected = Pin { architecture: Architecture::X86_64, name: "a.rsa.pub".into(), digest };
        assert_eq!(pin, expected);
        for bad in ["", "x86_64 a", "x86_64 a 12", "sparc a e3", "x86_64  a e3"] {
            assert!(Pin::parse(bad).is_err(), "{bad}");
        }
        assert!(Pin::parse(&format!("x86_64 a {digest} more")).is_err());
    }
}
