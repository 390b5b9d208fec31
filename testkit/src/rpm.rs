//! rpm packages, good and hostile, and the metadata of a repository of them.
//!
//! What is not said is as rpmbuild would make it: version 4 of the format, digests of header, payload and
//! files, a payload that is not compressed. Tags by their numbers are those of rpm's `rpmtag.h`.

use std::fmt::Write as _;

use base64::Engine as _;
use pgp::composed::DetachedSignature;
use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::packet::{Signature, SignatureVersion};
use pgp::ser::Serialize as _;
use sha2::{Digest as _, Sha256};

use crate::key::{Key, Signing};
use crate::repository::Files;

/// A package to be made.
#[derive(Debug, Clone)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version; the release is 1.
    pub version: String,
    /// What it requires, without conditions.
    pub requires: Vec<String>,
    /// Its files, in the order of their paths.
    pub files: Vec<File>,
    /// The program and text of the script that runs after installing.
    pub script: Option<(String, String)>,
    /// Further entries of the header that nobody signs: tag, type, count, bytes.
    pub unsigned: Vec<Entry>,
}

/// An entry of a header: tag, type, number of values, bytes.
pub type Entry = (u32, u32, u32, Vec<u8>);

/// A file of a package.
#[derive(Debug, Clone)]
pub struct File {
    /// Its path, with the slash at its beginning.
    pub path: Vec<u8>,
    /// Type and permissions, as in stat(2).
    pub mode: u16,
    /// Its content, or a link's target.
    pub content: Vec<u8>,
}

impl File {
    /// A regular file.
    pub fn regular(path: &str, content: &[u8]) -> Self {
        Self { path: path.into(), mode: 0o100_644, content: content.to_vec() }
    }

    /// A symbolic link.
    pub fn link(path: &str, target: &str) -> Self {
        Self { path: path.into(), mode: 0o120_777, content: target.into() }
    }

    /// A directory.
    pub fn directory(path: &str) -> Self {
        Self { path: path.into(), mode: 0o040_755, content: Vec::new() }
    }
}

impl Package {
    /// A package with one file of its own.
    pub fn new(name: &str, version: &str) -> Self {
        let file = File::regular(&format!("/usr/share/{name}"), version.as_bytes());
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            requires: Vec::new(),
            files: vec![file],
            script: None,
            unsigned: Vec::new(),
        }
    }

    /// The same with other files.
    pub fn with(self, files: Vec<File>) -> Self {
        Self { files, ..self }
    }

    /// The file of the package, signed by a key or by nobody.
    pub fn archive(&self, key: Option<&Key>) -> Vec<u8> {
        self.archive_with(&self.payload(), key)
    }

    /// The same with another payload than the one that its header describes.
    pub fn archive_with(&self, payload: &[u8], key: Option<&Key>) -> Vec<u8> {
        let header = self.header();
        let mut signature = vec![text(273, &hexadecimal(&header))];
        if let Some(key) = key {
            let packet = key.sign(&header, Signing::binary(crate::key::BORN));
            signature.push(signature_entry(packet));
        }
        signature.extend(self.unsigned.iter().cloned());
        let mut bytes = vec![0xed, 0xab, 0xee, 0xdb, 3, 0];
        bytes.resize(96, 0);
        bytes.extend(table(62, signature));
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        [bytes, header, payload.to_vec()].concat()
    }

    /// The header that is signed.
    pub fn header(&self) -> Vec<u8> {
        let numbers = |tag, numbers: Vec<u32>| {
            let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
            (tag, 4, length(&numbers), bytes)
        };
        let mut entries = vec![
            text(1000, &self.name),
            text(1001, &self.version),
            text(1002, "1"),
            numbers(1006, vec![1_600_000_000]),
            text(1022, "noarch"),
            text(1044, &format!("{}-{}-1.src.rpm", self.name, self.version)),
            texts(1047, [self.name.as_bytes()]),
            numbers(1112, vec![8]),
            texts(1113, [format!("{}-1", self.version).as_bytes()]),
            text(1124, "cpio"),
            texts(5092, [hexadecimal(&self.payload()).as_bytes()]),
            numbers(5093, vec![8]),
        ];
        if !self.requires.is_empty() {
            entries.push(texts(1049, self.requires.iter().map(String::as_bytes)));
            entries.push(texts(1050, self.requires.iter().map(|_| &b""[..])));
            entries.push(numbers(1048, vec![0; self.requires.len()]));
        }
        if let Some((program, body)) = &self.script {
            entries.extend([text(1024, body), text(1086, program)]);
        }
        if !self.files.is_empty() {
            entries.extend(self.lists());
        }
        table(63, entries)
    }

    /// The lists of a header that describe files.
    fn lists(&self) -> Vec<Entry> {
        let files = || self.files.iter();
        let numbers = |tag, of: &dyn Fn(usize, &File) -> u32| {
            let bytes = files().enumerate().flat_map(|(at, file)| of(at, file).to_be_bytes());
            (tag, 4, length(&self.files), bytes.collect())
        };
        let split = |file: &File| {
            let end = file.path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
            (file.path[..end].to_vec(), file.path[end..].to_vec())
        };
        let each = |tag, of: &dyn Fn(&File) -> Vec<u8>| {
            let values: Vec<Vec<u8>> = files().map(of).collect();
            texts(tag, values.iter().map(Vec::as_slice))
        };
        let target = |file: &File| match file.mode & 0o170_000 {
            0o120_000 => file.content.clone(),
            _ => Vec::new(),
        };
        let digest = |file: &File| match file.mode & 0o170_000 {
            0o100_000 => hexadecimal(&file.content).into_bytes(),
            _ => Vec::new(),
        };
        let modes = files().flat_map(|file| file.mode.to_be_bytes()).collect();
        vec![
            numbers(1028, &|_, file| length(&file.content)),
            (1030, 3, length(&self.files), modes),
            numbers(1034, &|_, _| 1_600_000_000),
            each(1035, &digest),
            each(1036, &target),
            numbers(1037, &|_, _| 0),
            each(1039, &|_| b"root".to_vec()),
            each(1040, &|_| b"root".to_vec()),
            numbers(1095, &|_, _| 1),
            numbers(1096, &|at, _| u32::try_from(at + 1).unwrap()),
            numbers(1116, &|at, _| u32::try_from(at).unwrap()),
            each(1117, &|file| split(file).1),
            each(1118, &|file| split(file).0),
            numbers(5011, &|_, _| 8).truncated(),
        ]
    }

    /// The payload: a cpio archive.
    pub fn payload(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for file in &self.files {
            let name = [b".", file.path.as_slice()].concat();
            bytes.extend(entry(&name, u32::from(file.mode), &file.content));
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes.extend(entry(b"TRAILER!!!", 0, b""));
        bytes
    }

    /// Its file's name in a repository.
    pub fn place(&self) -> String {
        format!("{}-{}-1.noarch.rpm", self.name, self.version)
    }

    /// Its part of `primary.xml`, for a file with these bytes.
    fn primary(&self, archive: &[u8]) -> String {
        let Self { name, version, .. } = self;
        let requires = self.requires.iter().fold(String::new(), |mut all, name| {
            write!(all, "<rpm:entry name='{name}'/>").unwrap();
            all
        });
        format!(
            "<package type='rpm'><name>{name}</name><arch>noarch</arch><version epoch='0' ver='{version}' \
             rel='1'/><checksum type='sha256' pkgid='YES'>{}</checksum><time build='1600000000'/>\
             <size package='{}'/><location href='{}'/><format><rpm:provides><rpm:entry name='{name}' \
             flags='EQ' epoch='0' ver='{version}' rel='1'/></rpm:provides><rpm:requires>{requires}\
             </rpm:requires></format></package>",
            hexadecimal(archive),
            archive.len(),
            self.place()
        )
    }
}

/// Where a header has a signature: RSA's in one place, all others of version 4 in another; of version 6
/// in the list that came with version 6 of the format.
fn signature_entry(signature: Signature) -> Entry {
    let (version, algorithm) = (signature.version(), signature.config().unwrap().pub_alg);
    let packet = DetachedSignature::new(signature).to_bytes().unwrap();
    match (version, algorithm) {
        (SignatureVersion::V6, _) => {
            let encoded = base64::engine::general_purpose::STANDARD.encode(packet);
            texts(278, [encoded.as_bytes()])
        }
        (_, PublicKeyAlgorithm::RSA) => (268, 7, length(&packet), packet),
        _ => (267, 7, length(&packet), packet),
    }
}

trait Truncated {
    /// The entry with its first value alone.
    fn truncated(self) -> Self;
}

impl Truncated for Entry {
    fn truncated(mut self) -> Self {
        self.2 = 1;
        self.3.truncate(4);
        self
    }
}

/// A repository below `folder`, made at a moment, whose metadata and packages a key signs.
pub fn repository(folder: &str, packages: &[Package], key: &Key, at: u32) -> Files {
    let mut files = Files::new();
    let mut primary = String::from("<metadata xmlns:rpm='r'>");
    for package in packages {
        let archive = package.archive(Some(key));
        primary.push_str(&package.primary(&archive));
        files.insert(format!("{folder}/{}", package.place()), archive);
    }
    primary.push_str("</metadata>");
    let (size, digest) = (primary.len(), hexadecimal(primary.as_bytes()));
    let repomd = format!(
        "<?xml version='1.0'?><repomd><revision>{at}</revision><data type='primary'>\
         <checksum type='sha256'>{digest}</checksum><open-checksum type='sha256'>{digest}\
         </open-checksum><location href='repodata/primary.xml'/><timestamp>{at}</timestamp>\
         <size>{size}</size><open-size>{size}</open-size></data></repomd>"
    );
    let signature = key.detached(repomd.as_bytes(), Signing::binary(at));
    files.insert(format!("{folder}/repodata/primary.xml"), primary.into_bytes());
    files.insert(format!("{folder}/repodata/repomd.xml"), repomd.into_bytes());
    files.insert(format!("{folder}/repodata/repomd.xml.asc"), signature.into_bytes());
    files
}

fn text(tag: u32, text: &str) -> Entry {
    (tag, 6, 1, [text.as_bytes(), b"\0"].concat())
}

fn texts<'t>(tag: u32, texts: impl IntoIterator<Item = &'t [u8]>) -> Entry {
    let all: Vec<Vec<u8>> = texts.into_iter().map(|text| [text, b"\0"].concat()).collect();
    (tag, 8, length(&all), all.concat())
}

/// A header with its region.
fn table(region: u32, mut entries: Vec<Entry>) -> Vec<u8> {
    entries.sort_by_key(|(tag, ..)| *tag);
    let (mut index, mut data) = (Vec::new(), Vec::new());
    for (tag, kind, count, bytes) in &entries {
        let size: usize = match kind {
            3 => 2,
            4 => 4,
            5 => 8,
            _ => 1,
        };
        data.resize(data.len().next_multiple_of(size), 0);
        for field in [*tag, *kind, length(&data), *count] {
            index.extend(field.to_be_bytes());
        }
        data.extend(bytes);
    }
    let count = length(&entries) + 1;
    let first = [region, 7, length(&data), 16].map(u32::to_be_bytes).concat();
    let trailer = [region, 7, (count * 16).wrapping_neg(), 16].map(u32::to_be_bytes).concat();
    data.extend(trailer);
    let head = [&[0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0][..], &count.to_be_bytes()].concat();
    [head, length(&data).to_be_bytes().to_vec(), first, index, data].concat()
}

/// An entry of a cpio archive.
pub fn entry(name: &[u8], mode: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = b"070701".to_vec();
    for number in 0..13 {
        let value = match number {
            1 => mode,
            4 => 1,
            6 => length(content),
            11 => length(name) + 1,
            _ => 0,
        };
        bytes.extend(format!("{value:08x}").bytes());
    }
    bytes.extend(name.iter().chain(&[0]));
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(content);
    bytes
}

fn length<T>(values: &[T]) -> u32 {
    u32::try_from(values.len()).unwrap()
}

fn hexadecimal(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
