//! apk's database: what stands in the files below `/lib/apk/db`, and the world file.
//!
//! Values come in, bytes go out that are what apk writes itself: the order of packages and fields, the
//! names of scripts. Where they are put is the caller's business. Specification: the files that
//! apk-tools 2.14 leaves; apk-package(5), apk-world(5).

use std::cmp::Ordering;
use std::fmt::Write as _;

use super::archive::Format;
use super::checksum::{Checksum, Forged, Sha1};
use super::info::Info;
use super::relation::Relation;
use super::scripts::ScriptKind;
use crate::tree::TreePath;

/// One package in the file `installed`.
#[derive(Debug, Clone)]
pub struct Installed<'a> {
    /// What is known of it.
    pub info: &'a Info<'a>,
    /// Its directories in the order of its archive, each with the files in it.
    pub directories: Vec<Directory>,
    /// How it was packed, on which the digests of its files depend.
    pub format: Format,
    /// The tag of the repository that it is from, if only that one has it.
    pub tag: Option<&'a str>,
}

/// A directory of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// Its path.
    pub path: TreePath,
    /// As the package has it.
    pub owned: Owned,
    /// What else of the package is in it, in the order of the archive.
    pub files: Vec<File>,
}

/// A file of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name in its directory.
    pub name: Vec<u8>,
    /// As the package has it.
    pub owned: Owned,
    /// The digest of its content or of a link's target; none for devices and pipes.
    pub checksum: Option<Checksum>,
}

/// Owner, mode and attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owned {
    /// Number of the user.
    pub uid: u32,
    /// Number of the group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u16,
    /// The digest of extended attributes, if there are any.
    pub attributes: Option<Checksum>,
}

impl Owned {
    /// Root's, with permissions `mode`.
    pub const fn root(mode: u16) -> Self {
        Self { uid: 0, gid: 0, mode, attributes: None }
    }
}

/// The digest of extended attributes, of which there is at least one, sorted by name: each name and
/// each value after its length.
///
/// # Errors
/// [`Forged`]
pub fn attributes<'a>(
    sorted: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<Checksum, Forged> {
    let mut hasher = Sha1::default();
    for text in sorted.flat_map(|(name, value)| [name, value]) {
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        hasher.update(&length.to_be_bytes());
        hasher.update(text);
    }
    hasher.finish().map(Checksum::Sha1)
}

/// The file `installed`: every package with its files.
pub fn installed(packages: &[Installed<'_>]) -> Vec<u8> {
    let mut sorted: Vec<_> = packages.iter().collect();
    sorted.sort_by(|a, b| display_order(a.info.name, b.info.name));
    let mut bytes = Vec::new();
    for package in sorted {
        bytes.extend(package.info.to_stanza().as_bytes());
        if let Some(tag) = package.tag {
            bytes.extend(format!("s:{tag}\n").as_bytes());
        }
        // apk does not open the archive of a package that installs nothing, and does not learn its format.
        if package.format == Format::Third && package.info.installed_size > 0 {
            bytes.extend(b"f:S\n");
        }
        package.directories.iter().for_each(|directory| push_directory(&mut bytes, directory));
        bytes.push(b'\n');
    }
    bytes
}

/// The order in which apk shows names: that of a dictionary, and small letters after capitals.
pub fn display_order(a: &str, b: &str) -> Ordering {
    let small = |name: &str| name.to_ascii_lowercase();
    small(a).cmp(&small(b)).then_with(|| a.cmp(b))
}

fn push_directory(bytes: &mut Vec<u8>, directory: &Directory) {
    push_name(bytes, b"F:", directory.path.as_bytes());
    push_owned(bytes, 'M', &directory.owned, 0o755);
    for file in &directory.files {
        push_name(bytes, b"R:", &file.name);
        push_owned(bytes, 'a', &file.owned, 0o644);
        if let Some(checksum) = file.checksum {
            bytes.extend(format!("Z:{checksum}\n").as_bytes());
        }
    }
}

fn push_name(bytes: &mut Vec<u8>, letter: &[u8], name: &[u8]) {
    bytes.extend([letter, name, b"\n"].concat());
}

/// Writes owner and mode, unless they are the usual ones.
fn push_owned(bytes: &mut Vec<u8>, letter: char, owned: &Owned, usual: u16) {
    if *owned == Owned::root(usual) {
        return;
    }
    let Owned { uid, gid, mode, attributes } = owned;
    bytes.extend(format!("{letter}:{uid}:{gid}:{mode:o}").as_bytes());
    if let Some(checksum) = attributes {
        bytes.extend(format!(":{checksum}").as_bytes());
    }
    bytes.push(b'\n');
}

/// The file `triggers`: a line for each package that watches directories, in the order of
/// installation.
pub fn triggers<'a>(packages: impl Iterator<Item = (&'a Checksum, &'a [String])>) -> String {
    let mut text = String::new();
    for (identity, patterns) in packages.filter(|(_, patterns)| !patterns.is_empty()) {
        writeln!(text, "{identity} {}", patterns.join(" ")).expect("a string takes all");
    }
    text
}

/// The world file: what was asked for, a line each.
pub fn world(asked: &[Relation<'_>]) -> String {
    let mut sorted: Vec<_> = asked.iter().collect();
    sorted.sort_by(|a, b| display_order(a.name, b.name));
    sorted.iter().map(|relation| format!("{relation}\n")).collect()
}

/// A script on its way into the archive of scripts.
#[derive(Debug, Clone, Copy)]
pub struct Script<'a> {
    /// Whose it is.
    pub info: &'a Info<'a>,
    /// Which one.
    pub kind: ScriptKind,
    /// Its text.
    pub bytes: &'a [u8],
}

/// The file `scripts.tar`: the scripts of all packages in the order of installation.
pub fn scripts<'a>(scripts: impl Iterator<Item = Script<'a>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for script in scripts {
        bytes.extend(header(&script));
        bytes.extend(script.bytes);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    }
    bytes.extend([0; 2 * BLOCK]);
    bytes
}

/// Bytes of a block of a tar archive.
const BLOCK: usize = 512;

/// A header as apk writes it: GNU's magic, no spaces, no prefix, a name that is cut where it ends.
fn header(script: &Script<'_>) -> [u8; BLOCK] {
    let Script { info, kind, bytes } = script;
    let name = format!("{}-{}.{}.{kind}", info.name, info.version, info.identity);
    let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let mut block = [0; BLOCK];
    let name = name.as_bytes();
    put(&mut block, 0, name.get(..name.len().min(99)).unwrap_or_default());
    put(&mut block, 100, b"0000755\x000000000\x000000000\0");
    put(&mut block, 124, format!("{size:012o}{:012o}        0", info.build_time).as_bytes());
    put(&mut block, 257, b"ustar  \0root");
    put(&mut block, 297, b"root");
    let sum = block.iter().fold(0_u32, |sum, byte| sum.saturating_add(u32::from(*byte)));
    put(&mut block, 148, format!("{sum:06o}\0").as_bytes());
    block
}

fn put(block: &mut [u8], at: usize, bytes: &[u8]) {
    for (to, from) in block.iter_mut().skip(at).zip(bytes) {
        *to = *from;
    }
}

/// Names, architectures, versions and origins of the packages in a file `installed`.
pub fn packages(bytes: &[u8]) -> impl Iterator<Item = [String; 4]> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let package = |stanza: &str| {
        let field = |letter| stanza.lines().find_map(|line| line.strip_prefix(letter));
        let owned = |letter| field(letter).unwrap_or_default().to_owned();
        field("P:").map(|name| [name.to_owned(), owned("A:"), owned("V:"), owned("o:")])
    };
    text.split("\n\n").filter_map(package).collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::apk::relation;
    use crate::package::tar;

    const STANZA: &str = "C:Q1EyN5AdpAOBJWKMR89pp/C66o+OE=\nP:b\nV:1.0-r0\nS:2\nI:3\nT:\nU:\nL:\n\
                          t:1699383189\n";

    fn file(name: &str, mode: u16) -> File {
        let owned = Owned::root(mode);
        File { name: name.into(), owned, checksum: Some(Checksum::Sha1([0; 20])) }
    }

    #[test]
    fn packages_are_written_with_their_files_and_only_unusual_owners() {
        let info = Info::parse(STANZA).unwrap();
        let capital = STANZA.replace("P:b", "P:B");
        let capital = Info::parse(&capital).unwrap();
        let directory = |path: &str, owned, files| Directory {
            path: TreePath::parse(path).unwrap(),
            owned,
            files,
        };
        let empty = file("pipe", 0o644);
        let odd = Owned { uid: 100, gid: 101, mode: 0o2755, attributes: None };
        let marked = Owned { attributes: Some(Checksum::Sha1([1; 20])), ..Owned::root(0o755) };
        let directories = vec![
            directory("", Owned::root(0o755), vec![File { checksum: None, ..empty }]),
            directory(
                "var/log",
                odd,
                vec![file("x", 0o755), File { owned: marked, ..file("y", 0) }],
            ),
        ];
        let packages = [
            Installed { info: &info, directories, format: Format::Second, tag: None },
            Installed {
                info: &capital,
                directories: Vec::new(),
                format: Format::Third,
                tag: Some("edge"),
            },
        ];
        let text = String::from_utf8(installed(&packages)).unwrap();
        let zero = Checksum::Sha1([0; 20]);
        let one = Checksum::Sha1([1; 20]);
        let files = format!(
            "F:\nR:pipe\nF:var/log\nM:100:101:2755\nR:x\na:0:0:755\nZ:{zero}\n\
             R:y\na:0:0:755:{one}\nZ:{zero}\n\n"
        );
        assert_eq!(text, format!("{}s:edge\nf:S\n\n{STANZA}{files}", capital.to_stanza()));
        let nothing = STANZA.replace("I:3", "I:0");
        let nothing = Info::parse(&nothing).unwrap();
        let [_, third] = packages;
        assert!(!installed(&[Installed { info: &nothing, ..third }]).ends_with(b"f:S\n\n"));
    }

    #[test]
    fn scripts_are_an_archive_that_names_each_by_its_package() {
        let info = Info::parse(STANZA).unwrap();
        let script = Script { info: &info, kind: ScriptKind::Trigger, bytes: b"#!/bin/sh\n" };
        let bytes = scripts([script].into_iter());
        assert_eq!(bytes.len(), 4 * 512);
        let mut archive = tar::Reader::new(&bytes[..]);
        let entry = archive.next_entry().unwrap().unwrap();
        let name = &b"b-1.0-r0.Q1EyN5AdpAOBJWKMR89pp/C66o+OE=.trigger"[..];
        assert_eq!(&*entry.words.path, name);
        assert_eq!((entry.meta.mode, entry.meta.mtime), (0o755, 1_699_383_189));
        assert_eq!((&*entry.words.user, &*entry.words.group), (&b"root"[..], &b"root"[..]));
        assert!(archive.next_entry().unwrap().is_none());
    }

    #[test]
    fn triggers_and_the_world_are_lines() {
        let info = Info::parse(STANZA).unwrap();
        let patterns = ["/bin".to_owned(), "/lib/modules/*".to_owned()];
        let lines = [(&info.identity, &patterns[..]), (&info.identity, &[])];
        let text = triggers(lines.into_iter());
        assert_eq!(text, format!("{} /bin /lib/modules/*\n", info.identity));
        let asked = relation::parse("openssh alpine-base !uclibc").unwrap();
        assert_eq!(world(&asked), "alpine-base\nopenssh\n!uclibc\n");
    }

    #[test]
    fn attributes_have_a_digest_of_their_own() {
        let one = [(&b"security.capability"[..], &b"\x01"[..])];
        let two = [(&b"security.capabilit"[..], &b"y\x01"[..])];
        let digest = |pairs: [(&'static [u8], &'static [u8]); 1]| attributes(pairs.into_iter());
        assert_ne!(digest(one).unwrap(), digest(two).unwrap());
    }
}
