//! A file of a package, of whatever family: what it is, and its line in a record of the store.
//!
//! ```text
//! f  path  type  mode  uid  gid  mtime  detail  sum  [xattr=hex …]
//! ```
//!
//! with tabs between fields, escaped and typed as in a listing of a tree. Reading answers `None` for
//! anything that writing does not produce: the caller then reads the archive again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::str::FromStr;

use crate::digest::parse_hex;
use crate::tree::{Content, Device, Meta, TreePath, escape, unescape};

/// What a file of a package is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FileKind {
    Directory,
    Regular(Content),
    /// Another name of a file that stands before in the same package.
    HardLink(TreePath),
    Symlink(Box<[u8]>),
    CharacterDevice(Device),
    BlockDevice(Device),
    Fifo,
}

/// Writes the line of a file. `sum` is what the family's database needs, or `-`.
pub(super) fn push_line(
    text: &mut String,
    (path, meta, kind): (&TreePath, &Meta, &FileKind),
    sum: &str,
) {
    let (letter, detail) = match kind {
        FileKind::Directory => ('d', "-".to_owned()),
        FileKind::Regular(content) => ('f', format!("{} {}", content.size(), content.digest())),
        FileKind::HardLink(target) => ('h', escape(target.as_bytes())),
        FileKind::Symlink(target) => ('l', escape(target)),
        FileKind::CharacterDevice(device) => ('c', format!("{} {}", device.major, device.minor)),
        FileKind::BlockDevice(device) => ('b', format!("{} {}", device.major, device.minor)),
        FileKind::Fifo => ('p', "-".to_owned()),
    };
    let Meta { mode, uid, gid, mtime, xattrs } = meta;
    let path = escape(path.as_bytes());
    let fixed = format!("f\t{path}\t{letter}\t{mode:o}\t{uid}\t{gid}\t{mtime}\t{detail}\t{sum}");
    text.push_str(&fixed);
    for (name, value) in xattrs {
        text.push('\t');
        text.push_str(&escape(name));
        text.push('=');
        value.iter().for_each(|byte| write!(text, "{byte:02x}").expect("a string takes all"));
    }
    text.push('\n');
}

/// Reads the fields of a line behind its letter; what stands as sum comes last.
pub(super) fn parse_line<'a>(
    fields: &mut impl Iterator<Item = &'a str>,
) -> Option<(TreePath, Meta, FileKind, &'a str)> {
    let path = TreePath::parse(unescape(fields.next()?)?).ok()?;
    let letter = fields.next()?;
    let mut meta = Meta {
        mode: u16::from_str_radix(fields.next()?, 8).ok()?,
        uid: number(fields.next()?)?,
        gid: number(fields.next()?)?,
        mtime: number(fields.next()?)?,
        xattrs: BTreeMap::new(),
    };
    let kind = parse_kind(letter, fields.next()?)?;
    let sum = fields.next()?;
    for field in fields {
        let (name, value) = field.rsplit_once('=')?;
        let mut bytes = vec![0; value.len() / 2];
        parse_hex(value, &mut bytes)?;
        meta.xattrs.insert(unescape(name)?, bytes);
    }
    Some((path, meta, kind, sum))
}

fn parse_kind(letter: &str, detail: &str) -> Option<FileKind> {
    let device = || {
        let (major, minor) = detail.split_once(' ')?;
        Some(Device { major: number(major)?, minor: number(minor)? })
    };
    Some(match letter {
        "d" => FileKind::Directory,
        "f" => {
            let (size, digest) = detail.split_once(' ')?;
            let digest = digest.parse().ok()?;
            FileKind::Regular(Content::Stored { digest, size: number(size)? })
        }
        "h" => FileKind::HardLink(TreePath::parse(unescape(detail)?).ok()?),
        "l" => FileKind::Symlink(unescape(detail)?.into()),
        "c" => FileKind::CharacterDevice(device()?),
        "b" => FileKind::BlockDevice(device()?),
        "p" => FileKind::Fifo,
        _ => return None,
    })
}

pub(super) fn number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}
