//! Packages made in memory, for tests: unsigned, not compressed, with the lists that every package has.

#![expect(clippy::arithmetic_side_effects, reason = "a test may end with a panic")]

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;
use crate::package::rpm::tag;

/// A file of a package.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    path: String,
    mode: u16,
    content: Vec<u8>,
    owner: (String, String),
    flags: u32,
    color: u32,
    link: u32,
    capabilities: String,
}

impl Made {
    /// With type and permissions as in stat(2); the content of a link is its target.
    pub(crate) fn new(path: &str, mode: u16, content: &str) -> Self {
        Self {
            path: path.to_owned(),
            mode,
            content: content.into(),
            owner: ("root".to_owned(), "root".to_owned()),
            flags: 0,
            color: 0,
            link: 0,
            capabilities: String::new(),
        }
    }

    /// Owned by somebody else.
    pub(crate) fn owned_by(mut self, user: &str, group: &str) -> Self {
        self.owner = (user.to_owned(), group.to_owned());
        self
    }

    /// With rpm's bits of what it is for.
    pub(crate) fn flags(mut self, flags: u32) -> Self {
        self.flags = flags;
        self
    }

    /// 1 for a program of 32 bits, 2 for one of 64.
    pub(crate) fn color(mut self, color: u32) -> Self {
        self.color = color;
        self
    }

    /// One of several names of a file; only the last of them has the content.
    pub(crate) fn link(mut self, inode: u32) -> Self {
        self.link = inode;
        self
    }

    /// With capabilities.
    pub(crate) fn capabilities(mut self, text: &str) -> Self {
        self.capabilities = text.to_owned();
        self
    }

    fn is_regular(&self) -> bool {
        self.mode & 0o170_000 == 0o100_000
    }

    fn split(&self) -> (&str, &str) {
        let at = self.path.rfind('/').unwrap() + 1;
        self.path.split_at(at)
    }
}

/// A tag, and what stands there of each file.
type Listing<'a, T> = (u32, &'a dyn Fn(&Made) -> T);

/// A package.
#[derive(Debug, Clone)]
pub(crate) struct Builder {
    pub(crate) name: String,
    files: Vec<Made>,
    values: BTreeMap<u32, (u32, u32, Vec<u8>)>,
}

impl Builder {
    /// Version 1-1 for any processor, without files.
    pub(crate) fn new(name: &str) -> Self {
        let mut builder =
            Self { name: name.to_owned(), files: Vec::new(), values: BTreeMap::new() };
        let texts = [
            (tag::NAME, name),
            (tag::VERSION, "1"),
            (tag::RELEASE, "1"),
            (tag::ARCHITECTURE, "noarch"),
        ];
        for (tag, text) in texts {
            builder.text(tag, text);
        }
        builder.texts(tag::PROVIDE_NAME, &[name]);
        builder.texts(tag::PROVIDE_VERSION, &["1-1"]);
        builder.words(tag::PROVIDE_FLAGS, &[8]);
        builder
    }

    /// With a file.
    pub(crate) fn with(mut self, file: Made) -> Self {
        self.files.push(file);
        self
    }

    /// With a directory.
    pub(crate) fn directory(self, path: &str, mode: u16) -> Self {
        self.with(Made::new(path, 0o040_000 | mode, ""))
    }

    /// With a regular file that everybody may read.
    pub(crate) fn file(self, path: &str, content: &str) -> Self {
        self.with(Made::new(path, 0o100_644, content))
    }

    /// With a symbolic link.
    pub(crate) fn symlink(self, path: &str, target: &str) -> Self {
        self.with(Made::new(path, 0o120_777, target))
    }

    /// Requiring packages.
    pub(crate) fn requiring(mut self, names: &[&str]) -> Self {
        self.texts(tag::REQUIRE_NAME, names);
        self.texts(tag::REQUIRE_VERSION, &vec![""; names.len()]);
        self.words(tag::REQUIRE_FLAGS, &vec![0; names.len()]);
        self
    }

    /// With one text in the header.
    pub(crate) fn text(&mut self, tag: u32, text: &str) {
        self.values.insert(tag, (6, 1, [text.as_bytes(), b"\0"].concat()));
    }

    /// With texts in the header.
    pub(crate) fn texts(&mut self, tag: u32, texts: &[&str]) {
        let bytes = texts.iter().flat_map(|text| [text.as_bytes(), b"\0"].concat()).collect();
        self.values.insert(tag, (8, u32::try_from(texts.len()).unwrap(), bytes));
    }

    /// With numbers in the header.
    pub(crate) fn words(&mut self, tag: u32, words: &[u32]) {
        let bytes = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        self.values.insert(tag, (4, u32::try_from(words.len()).unwrap(), bytes));
    }

    /// The package's bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut whole = self.clone();
        if !self.files.is_empty() {
            whole.list_files();
        }
        let mut lead = vec![0xed, 0xab, 0xee, 0xdb, 3];
        lead.resize(96, 0);
        let mut signature = header(62, &BTreeMap::new());
        signature.resize(signature.len().next_multiple_of(8), 0);
        [lead, signature, header(63, &whole.values), self.payload()].concat()
    }

    fn list_files(&mut self) {
        let files = self.files.clone();
        let folders: BTreeSet<&str> = files.iter().map(|file| file.split().0).collect();
        let place = |file: &Made| folders.iter().position(|at| *at == file.split().0).unwrap();
        let digest = |file: &Made| match file.is_regular() {
            true => Digest::of(&file.content).to_string(),
            false => String::new(),
        };
        let is_link = |file: &Made| file.mode & 0o170_000 == 0o120_000;
        let target = |file: &Made| String::from_utf8(file.content.clone()).unwrap();
        let number = |value: usize| u32::try_from(value).unwrap();
        let texts: [Listing<'_, String>; 6] = [
            (tag::BASE_NAMES, &|file| file.split().1.to_owned()),
            (tag::FILE_DIGESTS, &digest),
            (tag::FILE_LINKS, &|file| if is_link(file) { target(file) } else { String::new() }),
            (tag::FILE_USERS, &|file| file.owner.0.clone()),
            (tag::FILE_GROUPS, &|file| file.owner.1.clone()),
            (tag::FILE_CAPABILITIES, &|file| file.capabilities.clone()),
        ];
        for (tag, of) in texts {
            let texts: Vec<String> = files.iter().map(of).collect();
            self.texts(tag, &texts.iter().map(String::as_str).collect::<Vec<_>>());
        }
        self.texts(tag::DIRECTORY_NAMES, &folders.iter().copied().collect::<Vec<_>>());
        let words: [Listing<'_, u32>; 8] = [
            (tag::DIRECTORY_INDEXES, &|file| number(place(file))),
            (tag::FILE_SIZES, &|file| number(file.content.len())),
            (tag::FILE_MODES, &|file| file.mode.into()),
            (tag::FILE_MTIMES, &|_| 1_500_000_000),
            (tag::FILE_FLAGS, &|file| file.flags),
            (tag::FILE_COLORS, &|file| file.color),
            (tag::FILE_DEVICES, &|file| u32::from(file.link > 0)),
            (tag::FILE_INODES, &|file| file.link),
        ];
        for (tag, of) in words {
            self.words(tag, &files.iter().map(of).collect::<Vec<_>>());
        }
        self.words(tag::FILE_DIGEST_ALGORITHM, &[8]);
    }

    fn payload(&self) -> Vec<u8> {
        let mut archive = Vec::new();
        for (at, file) in self.files.iter().enumerate().filter(|(_, file)| file.flags & 1 << 6 == 0)
        {
            let follows = |other: &Made| file.link > 0 && other.link == file.link;
            let is_last = !self.files.get(at + 1..).unwrap().iter().any(follows);
            archive.extend(entry(&file.path, if is_last { &file.content } else { b"" }));
        }
        archive.extend(entry("TRAILER!!!", b""));
        archive
    }
}

/// A header whose region spans all of its values.
fn header(region: u32, values: &BTreeMap<u32, (u32, u32, Vec<u8>)>) -> Vec<u8> {
    let (mut table, mut data) = (Vec::new(), Vec::new());
    for (tag, (kind, count, bytes)) in values {
        if *kind == 4 {
            data.resize(data.len().next_multiple_of(4), 0);
        }
        let offset = u32::try_from(data.len()).unwrap();
        [*tag, *kind, offset, *count].iter().for_each(|field| table.extend(field.to_be_bytes()));
        data.extend(bytes);
    }
    let count = u32::try_from(values.len() + 1).unwrap();
    let first = [region, 7, u32::try_from(data.len()).unwrap(), 16];
    let spans = (count * 16).cast_signed().wrapping_neg().cast_unsigned();
    data.extend([region, 7, spans, 16].iter().flat_map(|field| field.to_be_bytes()));
    let mut bytes = vec![0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];
    bytes.extend(count.to_be_bytes());
    bytes.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
    bytes.extend(first.iter().flat_map(|field| field.to_be_bytes()));
    [bytes, table, data].concat()
}

/// An entry of a cpio archive.
fn entry(path: &str, content: &[u8]) -> Vec<u8> {
    let name = if path.starts_with('/') { format!(".{path}") } else { path.to_owned() };
    let mut bytes = b"070701".to_vec();
    for number in 0..13 {
        let value = match number {
            6 => content.len(),
            11 => name.len() + 1,
            _ => 0,
        };
        bytes.extend(format!("{value:08x}").bytes());
    }
    bytes.extend(name.bytes().chain([0]));
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}
