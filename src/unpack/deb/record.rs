//! The record of a package as text, and back.
//!
//! Reading answers `None` for anything that writing does not produce: the caller then reads the
//! archive again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::str::FromStr;

use super::load::{Deb, File, FileKind};
use crate::digest::parse_hex;
use crate::package::deb::archive::{Control, Member};
use crate::package::deb::database::Md5;
use crate::tree::{Content, Device, Meta, TreePath, escape, unescape};

const HEADER: &str = "osbuilder-deb 1";

impl Deb {
    /// Writes the record.
    pub(super) fn to_record(&self) -> String {
        let mut text = format!("{HEADER}\n");
        for Member { name, mode, mtime, bytes } in &self.control.members {
            let line = format!("c\t{name}\t{mode:o}\t{mtime}\t{}\n", escape(bytes));
            text.push_str(&line);
        }
        for file in &self.files {
            push_file(&mut text, file);
        }
        text
    }

    /// Reads a record.
    pub(super) fn from_record(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut lines = text.strip_suffix('\n')?.split('\n');
        if lines.next()? != HEADER {
            return None;
        }
        let (mut members, mut files) = (Vec::new(), Vec::new());
        for line in lines {
            let mut fields = line.split('\t');
            match fields.next()? {
                "c" => members.push(parse_member(&mut fields)?),
                "f" => files.push(parse_file(&mut fields)?),
                _ => return None,
            }
        }
        Some(Self { control: Control::new(members).ok()?, files })
    }
}

fn push_file(text: &mut String, file: &File) {
    let (letter, detail) = match &file.kind {
        FileKind::Directory => ('d', "-".to_owned()),
        FileKind::Regular(content) => ('f', format!("{} {}", content.size(), content.digest())),
        FileKind::HardLink(target) => ('h', escape(target.as_bytes())),
        FileKind::Symlink(target) => ('l', escape(target)),
        FileKind::CharacterDevice(device) => ('c', format!("{} {}", device.major, device.minor)),
        FileKind::BlockDevice(device) => ('b', format!("{} {}", device.major, device.minor)),
        FileKind::Fifo => ('p', "-".to_owned()),
    };
    let Meta { mode, uid, gid, mtime, xattrs } = &file.meta;
    let path = escape(file.path.as_bytes());
    let md5 = file.md5.map_or_else(|| "-".to_owned(), |md5| md5.to_string());
    let fixed = format!("f\t{path}\t{letter}\t{mode:o}\t{uid}\t{gid}\t{mtime}\t{detail}\t{md5}");
    text.push_str(&fixed);
    for (name, value) in xattrs {
        text.push('\t');
        text.push_str(&escape(name));
        text.push('=');
        value.iter().for_each(|byte| write!(text, "{byte:02x}").expect("a string takes all"));
    }
    text.push('\n');
}

fn parse_member<'a>(fields: &mut impl Iterator<Item = &'a str>) -> Option<Member> {
    let name = fields.next()?.to_owned();
    let mode = u16::from_str_radix(fields.next()?, 8).ok()?;
    let mtime = number(fields.next()?)?;
    let bytes = unescape(fields.next()?)?.into();
    Some(Member { name, mode, mtime, bytes })
}

fn parse_file<'a>(fields: &mut impl Iterator<Item = &'a str>) -> Option<File> {
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
    let md5 = match fields.next()? {
        "-" => None,
        text => {
            let mut md5 = [0; 16];
            parse_hex(text, &mut md5)?;
            Some(Md5(md5))
        }
    };
    for field in fields {
        let (name, value) = field.rsplit_once('=')?;
        let mut bytes = vec![0; value.len() / 2];
        parse_hex(value, &mut bytes)?;
        meta.xattrs.insert(unescape(name)?, bytes);
    }
    Some(File { path, meta, kind, md5 })
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

fn number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}
