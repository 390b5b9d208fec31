//! Debian repositories of a few tiny packages, as maps from path to bytes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::key::{Key, Signing};

/// Files by path below the repository's root.
pub type Files = BTreeMap<String, Vec<u8>>;

/// A suite with one component, `main`, or a flat repository.
#[derive(Debug, Clone)]
pub struct Repository {
    /// Its suite; empty for a flat repository.
    pub suite: String,
    /// Its code name: the suite's name, but for archives that call a release's every pocket by the
    /// release's name, as Ubuntu does.
    pub codename: String,
    /// Debian's name of its architecture.
    pub architecture: String,
    /// When it was made, in seconds since 1970.
    pub date: u32,
    /// Its `Valid-Until`, in seconds since 1970.
    pub valid_until: Option<u32>,
    /// Whether indexes are also there under the names of their digests.
    pub by_hash: bool,
    /// Further lines of the release file.
    pub fields: String,
    /// Its packages.
    pub packages: Vec<Package>,
}

/// A package to be made.
#[derive(Debug, Clone)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Further control fields, whole lines: `Depends: a\n`.
    pub fields: String,
    /// Its files: path without leading slash, mode, content. One with a slash at the end is a
    /// directory.
    pub files: Vec<(String, u32, Vec<u8>)>,
    /// Its scripts: `postinst` and so on.
    pub scripts: Vec<(String, Vec<u8>)>,
}

impl Package {
    /// A package with one file of its own.
    pub fn new(name: &str, version: &str) -> Self {
        let file = (format!("usr/share/{name}/{version}"), 0o644, version.as_bytes().to_vec());
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            fields: String::new(),
            files: vec![file],
            scripts: Vec::new(),
        }
    }

    fn control(&self, architecture: &str) -> String {
        format!(
            "Package: {}\nVersion: {}\nArchitecture: {architecture}\n\
             Maintainer: Test <t@example>\nDescription: test\n{}",
            self.name, self.version, self.fields
        )
    }

    fn path(&self, architecture: &str) -> String {
        format!("pool/{0}_{1}_{architecture}.deb", self.name, self.version)
    }

    /// The archive (deb(5)).
    pub fn archive(&self, architecture: &str) -> Vec<u8> {
        let control = ("./control".to_owned(), 0o644, self.control(architecture).into_bytes());
        let script = |(name, text): &(String, Vec<u8>)| (format!("./{name}"), 0o755, text.clone());
        let members: Vec<_> =
            std::iter::once(control).chain(self.scripts.iter().map(script)).collect();
        let data: Vec<_> = self
            .files
            .iter()
            .map(|(path, mode, text)| (format!("./{path}"), *mode, text.clone()))
            .collect();
        let mut archive = b"!<arch>\n".to_vec();
        for (name, content) in [
            ("debian-binary", b"2.0\n".to_vec()),
            ("control.tar.gz", gzip(&tar(&members))),
            ("data.tar.gz", gzip(&tar(&data))),
        ] {
            let head = format!(
                "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n",
                0,
                0,
                0,
                "100644",
                content.len()
            );
            archive.extend(head.as_bytes());
            archive.extend(&content);
            if content.len() % 2 == 1 {
                archive.push(b'\n');
            }
        }
        archive
    }
}

impl Repository {
    /// An empty suite (flat, if `suite` is empty) for `amd64`, made at the second `date`.
    pub fn new(suite: &str, date: u32) -> Self {
        Self {
            suite: suite.to_owned(),
            codename: suite.to_owned(),
            architecture: "amd64".to_owned(),
            date,
            valid_until: None,
            by_hash: true,
            fields: String::new(),
            packages: Vec::new(),
        }
    }

    /// The same with another package.
    pub fn with(mut self, package: Package) -> Self {
        self.packages.push(package);
        self
    }

    /// The index of packages.
    pub fn packages_text(&self) -> String {
        let mut text = String::new();
        for package in &self.packages {
            let archive = package.archive(&self.architecture);
            writeln!(
                text,
                "{}Filename: {}\nSize: {}\nSHA256: {}\n",
                package.control(&self.architecture),
                package.path(&self.architecture),
                archive.len(),
                sha256(&archive),
            )
            .unwrap();
        }
        text
    }

    /// The release file over the given indexes (path below the suite, content).
    pub fn release_text(&self, indexes: &Files) -> String {
        let mut text = String::new();
        if !self.suite.is_empty() {
            let Self { suite, codename, architecture, .. } = self;
            write!(text, "Suite: {suite}\nCodename: {codename}\nComponents: main\n").unwrap();
            writeln!(text, "Architectures: {architecture}").unwrap();
        }
        writeln!(text, "Date: {}", rfc_2822(self.date)).unwrap();
        if let Some(until) = self.valid_until {
            writeln!(text, "Valid-Until: {}", rfc_2822(until)).unwrap();
        }
        if self.by_hash {
            text.push_str("Acquire-By-Hash: yes\n");
        }
        text.push_str(&self.fields);
        text.push_str("SHA256:\n");
        for (path, content) in indexes {
            writeln!(text, " {} {} {path}", sha256(content), content.len()).unwrap();
        }
        text
    }

    /// The indexes, by path below the suite: xz, gzip and plain.
    pub fn indexes(&self) -> Files {
        let folder = match self.suite.as_str() {
            "" => String::new(),
            _ => format!("main/binary-{}/", self.architecture),
        };
        let text = self.packages_text().into_bytes();
        Files::from([
            (format!("{folder}Packages.xz"), xz(&text)),
            (format!("{folder}Packages.gz"), gzip(&text)),
            (format!("{folder}Packages"), text),
        ])
    }

    /// All files: archives, indexes, release file in both frames.
    pub fn files(&self, key: &Key) -> Files {
        let indexes = self.indexes();
        let release = self.release_text(&indexes);
        let folder = self.folder();
        let mut files = self.archives();
        let signed = key.clearsign(&release, Signing::text(self.date));
        let detached = key.detached(release.as_bytes(), Signing::binary(self.date));
        files.insert(format!("{folder}InRelease"), signed.into_bytes());
        files.insert(format!("{folder}Release"), release.into_bytes());
        files.insert(format!("{folder}Release.gpg"), detached.into_bytes());
        for (path, content) in indexes {
            if self.by_hash {
                let parent = path.rsplit_once('/').map_or(String::new(), |(p, _)| format!("{p}/"));
                let name = format!("{folder}{parent}by-hash/SHA256/{}", sha256(&content));
                files.insert(name, content.clone());
            }
            files.insert(format!("{folder}{path}"), content);
        }
        files
    }

    /// The folder of the release file below the root, with a final slash unless empty.
    pub fn folder(&self) -> String {
        if self.suite.is_empty() { String::new() } else { format!("dists/{}/", self.suite) }
    }

    fn archives(&self) -> Files {
        let architecture = &self.architecture;
        let archive =
            |package: &Package| (package.path(architecture), package.archive(architecture));
        self.packages.iter().map(archive).collect()
    }
}

/// Writes `files` below `root`, for `file://` addresses.
#[expect(clippy::disallowed_methods, reason = "a test that cannot write stops here anyway")]
pub fn write(files: &Files, root: &Path) {
    for (path, content) in files {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

/// The SHA-256 of `bytes` in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn tar(members: &[(String, u32, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut folders = std::collections::BTreeSet::new();
    for (path, mode, content) in members {
        for (at, _) in path.match_indices('/').skip(1) {
            let folder = &path[..=at];
            if folders.insert(folder) {
                append(&mut builder, folder, (0o755, tar::EntryType::Directory), &[]);
            }
        }
        if !path.ends_with('/') {
            append(&mut builder, path, (*mode, tar::EntryType::Regular), content);
        }
    }
    builder.into_inner().unwrap()
}

fn append(
    builder: &mut tar::Builder<Vec<u8>>,
    path: &str,
    (mode, kind): (u32, tar::EntryType),
    content: &[u8],
) {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_entry_type(kind);
    header.set_size(u64::try_from(content.len()).unwrap());
    header.set_mtime(u64::from(crate::key::BORN));
    builder.append_data(&mut header, path, content).unwrap();
}

/// `Wed, 01 Jan 2020 00:00:00 UTC`.
pub fn rfc_2822(second: u32) -> String {
    let (days, rest) = (u64::from(second) / 86_400, second % 86_400);
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let (mut year, mut day) = (1970, days);
    while day >= if leap(year) { 366 } else { 365 } {
        day -= if leap(year) { 366 } else { 365 };
        year += 1;
    }
    let lengths = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while day >= lengths[month] {
        day -= lengths[month];
        month += 1;
    }
    let weekday =
        ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][usize::try_from(days % 7).unwrap()];
    let names =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (hour, minute) = (rest / 3_600, rest / 60 % 60);
    format!(
        "{weekday}, {:02} {} {year} {hour:02}:{minute:02}:{:02} UTC",
        day + 1,
        names[month],
        rest % 60
    )
}
