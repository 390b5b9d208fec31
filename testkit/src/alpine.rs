//! Alpine repositories of a few tiny packages, and RSA keys that sign them.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::LazyLock;

use rand::SeedableRng as _;
use rsa::pkcs1::EncodeRsaPublicKey as _;
use rsa::pkcs8::{EncodePublicKey as _, LineEnding};
use rsa::{Pkcs1v15Sign, RsaPrivateKey};
use sha1::Digest as _;
use sha2::Digest as _;

use crate::repository::{Files, sha256};

/// The digest under a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// `.SIGN.RSA.`
    Sha1,
    /// `.SIGN.RSA256.`
    Sha256,
    /// `.SIGN.RSA512.`
    Sha512,
}

/// A private key and the name of its file.
#[derive(Debug, Clone)]
pub struct Key {
    /// What signatures call it.
    pub name: String,
    private: RsaPrivateKey,
}

fn generated(seed: u64, bits: usize) -> RsaPrivateKey {
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    RsaPrivateKey::new(&mut random, bits).unwrap()
}

static TRUSTED: LazyLock<RsaPrivateKey> = LazyLock::new(|| generated(1, 2048));
static STRANGER: LazyLock<RsaPrivateKey> = LazyLock::new(|| generated(2, 2048));
static SHORT: LazyLock<RsaPrivateKey> = LazyLock::new(|| generated(3, 1024));

impl Key {
    /// The key that tests trust.
    pub fn trusted() -> Self {
        Self { name: "test-1.rsa.pub".to_owned(), private: TRUSTED.clone() }
    }

    /// Another one.
    pub fn stranger() -> Self {
        Self { name: "stranger-1.rsa.pub".to_owned(), private: STRANGER.clone() }
    }

    /// One that is too short to be believed.
    pub fn short() -> Self {
        Self { name: "short-1.rsa.pub".to_owned(), private: SHORT.clone() }
    }

    /// The same under another name.
    pub fn called(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// Its public half, as a key file has it.
    pub fn public(&self) -> Vec<u8> {
        let public = self.private.to_public_key();
        public.to_public_key_pem(LineEnding::LF).unwrap().into_bytes()
    }

    /// The SHA-512 of its numbers, by which version 3 calls it.
    pub(crate) fn id(&self) -> Vec<u8> {
        let public = self.private.to_public_key();
        sha2::Sha512::digest(public.to_pkcs1_der().unwrap().as_bytes()).to_vec()
    }

    /// A signature over the SHA-512 of a message.
    pub(crate) fn sign_sha512(&self, message: &[u8]) -> Vec<u8> {
        self.sign(Algorithm::Sha512, message).content
    }

    /// The part of a file that stands before what it signs.
    pub fn signature(&self, algorithm: Algorithm, signed: &[u8]) -> Vec<u8> {
        gzip(&cut(&[self.sign(algorithm, signed)]))
    }

    fn sign(&self, algorithm: Algorithm, signed: &[u8]) -> Entry {
        let (kind, prefix, digest): (_, &[u8], Vec<u8>) = match algorithm {
            Algorithm::Sha1 => ("RSA", SHA1, sha1::Sha1::digest(signed).to_vec()),
            Algorithm::Sha256 => ("RSA256", SHA256, sha2::Sha256::digest(signed).to_vec()),
            Algorithm::Sha512 => ("RSA512", SHA512, sha2::Sha512::digest(signed).to_vec()),
        };
        let scheme = Pkcs1v15Sign { hash_len: Some(digest.len()), prefix: prefix.into() };
        let bytes = self.private.sign(scheme, &digest).unwrap();
        Entry::file(&format!(".SIGN.{kind}.{}", self.name), 0o644, &bytes)
    }
}

const SHA1: &[u8] = b"\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14";
const SHA256: &[u8] =
    b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20";
const SHA512: &[u8] =
    b"\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40";

/// Something in a package.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its path, without leading or trailing slash.
    pub path: String,
    /// Its permissions.
    pub mode: u32,
    /// What it is.
    pub kind: tar::EntryType,
    /// The content of a file, the target of a link.
    pub content: Vec<u8>,
    /// Owner and group.
    pub owner: (String, String),
}

impl Entry {
    /// A file.
    pub fn file(path: &str, mode: u32, content: &[u8]) -> Self {
        Self::new(path, mode, (tar::EntryType::Regular, content))
    }

    /// A directory.
    pub fn directory(path: &str) -> Self {
        Self::new(path, 0o755, (tar::EntryType::Directory, b""))
    }

    /// A symbolic link.
    pub fn symlink(path: &str, target: &str) -> Self {
        Self::new(path, 0o777, (tar::EntryType::Symlink, target.as_bytes()))
    }

    /// Another name of a file.
    pub fn hard_link(path: &str, target: &str) -> Self {
        Self::new(path, 0o644, (tar::EntryType::Link, target.as_bytes()))
    }

    /// Something of any kind.
    pub fn new(path: &str, mode: u32, (kind, content): (tar::EntryType, &[u8])) -> Self {
        let owner = ("root".to_owned(), "root".to_owned());
        Self { path: path.to_owned(), mode, kind, content: content.to_vec(), owner }
    }

    /// The same, owned by somebody else.
    pub fn owned_by(mut self, user: &str, group: &str) -> Self {
        self.owner = (user.to_owned(), group.to_owned());
        self
    }
}

/// A package to be made.
#[derive(Debug, Clone)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// For which processor it is, in Alpine's words.
    pub architecture: String,
    /// Further lines of `.PKGINFO`: `depend = a\n`.
    pub fields: String,
    /// Its files, in their order.
    pub files: Vec<Entry>,
    /// Its scripts: `.post-install` and so on.
    pub scripts: Vec<(String, String)>,
    /// When it was built, in seconds since 1970.
    pub built: u32,
}

impl Package {
    /// A package with one file of its own.
    pub fn new(name: &str, version: &str) -> Self {
        let mut package = Self::empty(name, version);
        for directory in ["usr", "usr/share", &format!("usr/share/{name}")] {
            package.files.push(Entry::directory(directory));
        }
        let path = format!("usr/share/{name}/{version}");
        package.files.push(Entry::file(&path, 0o644, version.as_bytes()));
        package
    }

    /// A package without files.
    pub fn empty(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: "x86_64".to_owned(),
            fields: String::new(),
            files: Vec::new(),
            scripts: Vec::new(),
            built: crate::key::BORN,
        }
    }

    /// The same with further lines of `.PKGINFO`.
    pub fn fields(mut self, lines: &str) -> Self {
        self.fields.push_str(lines);
        self
    }

    /// The same for another processor.
    pub fn architecture(mut self, architecture: &str) -> Self {
        architecture.clone_into(&mut self.architecture);
        self
    }

    /// The same with another file or directory.
    pub fn with(mut self, entry: Entry) -> Self {
        self.files.push(entry);
        self
    }

    /// The same with a script.
    pub fn script(mut self, name: &str, text: &str) -> Self {
        self.scripts.push((name.to_owned(), text.to_owned()));
        self
    }

    fn size(&self) -> usize {
        self.files.iter().map(|file| file.content.len()).sum()
    }

    /// Control part and files.
    pub fn parts(&self) -> [Vec<u8>; 2] {
        let mut plain = cut_with_sums(&self.files);
        plain.extend([0; 1024]);
        let data = gzip(&plain);
        let mut info = format!("pkgname = {}\npkgver = {}\n", self.name, self.version);
        let (built, size, arch) = (self.built, self.size(), &self.architecture);
        write!(info, "arch = {arch}\nsize = {size}\nbuilddate = {built}\n{}", self.fields).unwrap();
        writeln!(info, "datahash = {}", sha256(&data)).unwrap();
        let mut control = vec![Entry::file(".PKGINFO", 0o644, info.as_bytes())];
        let script = |(name, text): &(String, String)| Entry::file(name, 0o755, text.as_bytes());
        control.extend(self.scripts.iter().map(script));
        [gzip(&cut(&control)), data]
    }

    /// The archive, signed (apk-v2(5)).
    pub fn archive(&self, key: &Key, algorithm: Algorithm) -> Vec<u8> {
        let [control, data] = self.parts();
        [key.signature(algorithm, &control), control, data].concat()
    }

    /// What the index says of an archive of it.
    pub fn stanza(&self, archive: &[u8]) -> String {
        let [control, _] = self.parts();
        let identity = base64(&sha1::Sha1::digest(&control));
        let Self { name, version, architecture, .. } = self;
        let mut text = format!("C:Q1{identity}\nP:{name}\nV:{version}\nA:{architecture}\n");
        write!(text, "S:{}\nI:{}\nT:\nt:{}\n", archive.len(), self.size(), self.built).unwrap();
        for (field, letter) in [("depend", 'D'), ("provides", 'p'), ("install_if", 'i')] {
            let head = format!("{field} = ");
            let words: Vec<_> =
                self.fields.lines().filter_map(|line| line.strip_prefix(&head)).collect();
            if !words.is_empty() {
                writeln!(text, "{letter}:{}", words.join(" ")).unwrap();
            }
        }
        text.push('\n');
        text
    }

    /// The name of its file.
    pub fn file_name(&self) -> String {
        format!("{}-{}.apk", self.name, self.version)
    }
}

/// The files of a repository for `x86_64`, below the folder of its branch and component; all signed by
/// `key`.
pub fn repository(folder: &str, packages: &[Package], key: &Key, algorithm: Algorithm) -> Files {
    repository_for("x86_64", folder, packages, (key, algorithm))
}

/// The same for another processor, whose packages they become.
pub fn repository_for(
    architecture: &str,
    folder: &str,
    packages: &[Package],
    (key, algorithm): (&Key, Algorithm),
) -> Files {
    let mut files = Files::new();
    let mut text = String::new();
    for package in packages {
        let package = package.clone().architecture(architecture);
        let archive = package.archive(key, algorithm);
        text.push_str(&package.stanza(&archive));
        files.insert(format!("{folder}/{architecture}/{}", package.file_name()), archive);
    }
    let name = format!("{folder}/{architecture}/APKINDEX.tar.gz");
    files.insert(name, index(&text, &[(key, algorithm)]));
    files
}

/// A signed index of a text.
pub fn index(text: &str, keys: &[(&Key, Algorithm)]) -> Vec<u8> {
    let entries = ["DESCRIPTION", "APKINDEX"].map(|name| {
        Entry::file(name, 0o644, if name == "APKINDEX" { text.as_bytes() } else { b"test" })
    });
    let mut plain = cut(&entries);
    plain.extend([0; 1024]);
    let signed = gzip(&plain);
    let signatures: Vec<_> =
        keys.iter().map(|(key, algorithm)| key.sign(*algorithm, &signed)).collect();
    let first = if signatures.is_empty() { Vec::new() } else { gzip(&cut(&signatures)) };
    [first, signed].concat()
}

/// Some bytes as one gzip member.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A tar archive of files without its end: the digest of each stands before it, without which apk installs
/// none.
fn cut_with_sums(entries: &[Entry]) -> Vec<u8> {
    let with_sum = |entry: &Entry| {
        let has_sum = matches!(entry.kind, tar::EntryType::Regular | tar::EntryType::Symlink);
        let sum = has_sum.then(|| extended(&sha1::Sha1::digest(&entry.content)));
        cut(&sum.into_iter().chain([entry.clone()]).collect::<Vec<_>>())
    };
    entries.iter().flat_map(with_sum).collect()
}

/// What stands before an entry to say its digest (apk-v2(5), pax(1)).
fn extended(sum: &[u8]) -> Entry {
    let hex = sum.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    let record = format!(" APK-TOOLS.checksum.SHA1={hex}\n");
    // The length counts its own two digits.
    let record = format!("{}{record}", record.len() + 2);
    Entry::new("PaxHeaders/x", 0o644, (tar::EntryType::XHeader, record.as_bytes()))
}

/// A tar archive without its end.
fn cut(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        let is_file = matches!(entry.kind, tar::EntryType::Regular | tar::EntryType::XHeader);
        let content = if is_file { entry.content.as_slice() } else { &[] };
        let mut header = tar::Header::new_ustar();
        let slash = if entry.kind == tar::EntryType::Directory { "/" } else { "" };
        // Whatever the path says: some tests want it that way.
        let path = format!("{}{slash}", entry.path);
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_mode(entry.mode);
        header.set_entry_type(entry.kind);
        if matches!(entry.kind, tar::EntryType::Symlink | tar::EntryType::Link) {
            header.set_link_name_literal(&entry.content).unwrap();
        }
        header.set_username(&entry.owner.0).unwrap();
        header.set_groupname(&entry.owner.1).unwrap();
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(u64::try_from(content.len()).unwrap());
        header.set_mtime(u64::from(crate::key::BORN));
        header.set_cksum();
        bytes.extend(header.as_bytes());
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let number =
            [0, 1, 2].iter().fold(0, |n, at| n << 8 | usize::from(*group.get(*at).unwrap_or(&0)));
        for at in 0..4 {
            let letter = LETTERS[number >> (18 - 6 * at) & 63];
            text.push(if at <= group.len() { char::from(letter) } else { '=' });
        }
    }
    text
}
