//! Packages and indexes of apk's version 3 (apk-v3(5)), made of the same descriptions as those of
//! version 2.

use std::io::Write as _;

use sha2::Digest as _;

use crate::alpine::{Entry, Key, Package};
use crate::repository::Files;

/// Values that are being written.
#[derive(Debug, Clone)]
struct Values(Vec<u8>);

const NONE: u32 = 0;

impl Values {
    fn new() -> Self {
        Self(vec![0; 8])
    }

    fn place(&mut self, kind: u32, parts: &[&[u8]]) -> u32 {
        let place = u32::try_from(self.0.len()).unwrap();
        parts.iter().for_each(|part| self.0.extend(*part));
        kind << 28 | place
    }

    fn align(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn number(&mut self, number: u64) -> u32 {
        match u32::try_from(number) {
            Ok(small) if small < 1 << 28 => 1 << 28 | small,
            Ok(number) => {
                self.align();
                self.place(2, &[&number.to_le_bytes()])
            }
            Err(_) => {
                self.align();
                self.place(3, &[&number.to_le_bytes()])
            }
        }
    }

    fn bytes(&mut self, bytes: &[u8]) -> u32 {
        match (u8::try_from(bytes.len()), u16::try_from(bytes.len())) {
            _ if bytes.is_empty() => NONE,
            (Ok(length), _) => self.place(8, &[&[length], bytes]),
            (_, Ok(length)) => self.place(9, &[&length.to_le_bytes(), bytes]),
            _ => {
                let length = u32::try_from(bytes.len()).unwrap();
                self.place(10, &[&length.to_le_bytes(), bytes])
            }
        }
    }

    fn list(&mut self, kind: u32, slots: &[u32]) -> u32 {
        let used = slots.iter().rposition(|slot| *slot != NONE).map_or(0, |last| last + 1);
        if used == 0 {
            return NONE;
        }
        self.align();
        let length = u32::try_from(used + 1).unwrap();
        let words = [&[length], &slots[..used]].concat();
        let words: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
        self.place(kind, &[&words])
    }

    fn array(&mut self, slots: &[u32]) -> u32 {
        self.list(13, slots)
    }

    fn object(&mut self, slots: &[u32]) -> u32 {
        self.list(14, slots)
    }

    fn finish(mut self, root: u32) -> Vec<u8> {
        self.0[4..8].copy_from_slice(&root.to_le_bytes());
        self.0
    }

    /// Relations such as `a>=1 !b`.
    fn relations(&mut self, words: &str) -> u32 {
        let all: Vec<u32> =
            words.split_ascii_whitespace().map(|word| self.relation(word)).collect();
        self.array(&all)
    }

    fn relation(&mut self, word: &str) -> u32 {
        let (refuses, word) = word.strip_prefix('!').map_or((0, word), |word| (16, word));
        let (name, rest) = word.split_at(word.find(['<', '=', '>', '~']).unwrap_or(word.len()));
        let (operator, version) = rest.split_at(rest.find(|c| !"<=>~".contains(c)).unwrap_or(0));
        let bit = |sign: char, bit: u64| if operator.contains(sign) { bit } else { 0 };
        let bits = bit('=', 1) | bit('<', 2) | bit('>', 4) | bit('~', 9) | refuses;
        let (name, version) = (self.bytes(name.as_bytes()), self.bytes(version.as_bytes()));
        let bits = if bits < 2 { NONE } else { self.number(bits) };
        self.object(&[name, version, bits])
    }

    fn owned(&mut self, entry: &Entry) -> u32 {
        let (user, group) = &entry.owner;
        let mode = self.number(entry.mode.into());
        let (user, group) = (self.bytes(user.as_bytes()), self.bytes(group.as_bytes()));
        self.object(&[mode, user, group])
    }

    fn file(&mut self, entry: &Entry) -> u32 {
        let name = entry.path.rsplit('/').next().unwrap();
        let name = self.bytes(name.as_bytes());
        let owned = self.owned(entry);
        let time = self.number(crate::key::BORN.into());
        let kind: u16 = match entry.kind {
            tar::EntryType::Symlink => 0o120_000,
            tar::EntryType::Link => 0o100_000,
            _ => {
                let size = self.number(u64::try_from(entry.content.len()).unwrap());
                let digest = self.bytes(&sha2::Sha256::digest(&entry.content));
                return self.object(&[name, owned, size, time, digest]);
            }
        };
        let target = self.bytes(&[&kind.to_le_bytes(), entry.content.as_slice()].concat());
        let digest = match entry.kind {
            tar::EntryType::Link => self.bytes(&[0; 32]),
            _ => NONE,
        };
        self.object(&[name, owned, NONE, time, digest, target])
    }
}

/// The directory that something lies in.
fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl Package {
    fn lines(&self, field: &str) -> String {
        let head = format!("{field} = ");
        let words = self.fields.lines().filter_map(|line| line.strip_prefix(&head));
        words.collect::<Vec<_>>().join(" ")
    }

    fn described(&self, values: &mut Values, (identity, size): (&[u8], u64)) -> u32 {
        let installed: usize = self.files.iter().map(|file| file.content.len()).sum();
        let mut slots = [NONE; 18];
        slots[0] = values.bytes(self.name.as_bytes());
        slots[1] = values.bytes(self.version.as_bytes());
        slots[2] = values.bytes(identity);
        slots[4] = values.bytes(self.architecture.as_bytes());
        slots[10] = values.number(self.built.into());
        slots[11] = values.number(u64::try_from(installed).unwrap());
        slots[12] = if size == 0 { NONE } else { values.number(size) };
        for (slot, field) in
            [(14, "depend"), (15, "provides"), (16, "replaces"), (17, "install_if")]
        {
            slots[slot] = values.relations(&self.lines(field));
        }
        values.object(&slots)
    }

    /// The values of the package in version 3.
    fn values(&self) -> Vec<u8> {
        let mut values = Values::new();
        let info = self.described(&mut values, (b"", 0));
        let mut folders = vec![Entry::directory("")];
        folders.extend(
            self.files.iter().filter(|file| file.kind == tar::EntryType::Directory).cloned(),
        );
        let paths: Vec<u32> =
            folders.iter().map(|directory| self.directory(directory, &mut values)).collect();
        let paths = values.array(&paths);
        let kinds = ["trigger", "pre-install", "post-install"];
        let scripts = kinds.map(|kind| {
            let mut scripts = self.scripts.iter();
            let script = scripts.find(|(name, _)| name.strip_prefix('.') == Some(kind));
            script.map_or(NONE, |(_, text)| values.bytes(text.as_bytes()))
        });
        let scripts = values.object(&scripts);
        let triggers = self.lines("triggers");
        let triggers: Vec<u32> = triggers
            .split_ascii_whitespace()
            .map(|pattern| values.bytes(pattern.as_bytes()))
            .collect();
        let triggers = values.array(&triggers);
        let root = values.object(&[info, paths, scripts, triggers]);
        values.finish(root)
    }

    fn directory(&self, directory: &Entry, values: &mut Values) -> u32 {
        let files: Vec<u32> = self.in_folder(&directory.path).map(|f| values.file(f)).collect();
        let name = values.bytes(directory.path.as_bytes());
        let (owned, files) = (values.owned(directory), values.array(&files));
        values.object(&[name, owned, files])
    }

    fn in_folder<'p>(&'p self, path: &'p str) -> impl Iterator<Item = &'p Entry> {
        let files = self.files.iter().filter(|file| file.kind != tar::EntryType::Directory);
        files.filter(move |file| folder(&file.path) == path)
    }

    /// The package in version 3, not compressed; unsigned without a key.
    pub fn third(&self, key: Option<&Key>) -> Vec<u8> {
        let mut blocks = signed(*b"pckg", &self.values(), key);
        let mut folders = vec![""];
        let directories = self.files.iter().filter(|file| file.kind == tar::EntryType::Directory);
        folders.extend(directories.map(|file| file.path.as_str()));
        for (folder, at) in folders.into_iter().zip(1_u32..) {
            for (file, number) in self.in_folder(folder).zip(1_u32..) {
                if file.kind == tar::EntryType::Regular && !file.content.is_empty() {
                    let place = [at, number].map(u32::to_le_bytes).concat();
                    blocks.extend(block(2, &[&place, file.content.as_slice()].concat()));
                }
            }
        }
        blocks
    }

    /// By what an index of version 3 names the package.
    pub fn third_identity(&self) -> Vec<u8> {
        sha2::Sha256::digest(self.values()).to_vec()
    }
}

/// The values of a file and the signature over them, behind the file's mark.
fn signed(schema: [u8; 4], values: &[u8], key: Option<&Key>) -> Vec<u8> {
    let mut bytes = [&b"ADB."[..], &schema].concat();
    bytes.extend(block(0, values));
    if let Some(key) = key {
        let head = [&[0, 4], &key.id()[..16]].concat();
        let digest = sha2::Sha512::digest(values);
        let signature = key.sign_sha512(&[&schema[..], &head, &digest[..]].concat());
        bytes.extend(block(1, &[head, signature].concat()));
    }
    bytes
}

fn block(kind: u32, content: &[u8]) -> Vec<u8> {
    let size = u32::try_from(content.len() + 4).unwrap();
    let mut bytes = [&(kind << 30 | size).to_le_bytes(), content].concat();
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

/// An index of version 3 of packages, each with its identity and the size of its file.
pub fn index(packages: &[(&Package, Vec<u8>, u64)], key: Option<&Key>) -> Vec<u8> {
    let mut values = Values::new();
    let described = |(package, identity, size): &(&Package, Vec<u8>, u64), values: &mut Values| {
        package.described(values, (identity, *size))
    };
    let all: Vec<u32> = packages.iter().map(|package| described(package, &mut values)).collect();
    let (title, all) = (values.bytes(b"test"), values.array(&all));
    let root = values.object(&[title, all]);
    signed(*b"indx", &values.finish(root), key)
}

/// The files of a repository of version 3 for `x86_64` in a folder; all signed by `key`, and deflated.
pub fn repository(folder: &str, packages: &[Package], key: &Key) -> Files {
    let mut files = Files::new();
    let mut listed = Vec::new();
    for package in packages {
        let archive = deflated(&package.third(Some(key)));
        let size = u64::try_from(archive.len()).unwrap();
        listed.push((package, package.third_identity(), size));
        files.insert(format!("{folder}/x86_64/{}", package.file_name()), archive);
    }
    files.insert(format!("{folder}/x86_64/Packages.adb"), deflated(&index(&listed, Some(key))));
    files
}

/// The same file, deflated.
pub fn deflated(bytes: &[u8]) -> Vec<u8> {
    let fast = flate2::Compression::fast();
    let mut encoder = flate2::write::DeflateEncoder::new(b"ADBd".to_vec(), fast);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
