//! The record of a package as text, and back.
//!
//! Reading answers `None` for anything that writing does not produce: the caller then reads the
//! archive again.

use super::load::{Deb, File};
use crate::digest::parse_hex;
use crate::package::deb::archive::{Control, Member};
use crate::package::deb::database::Md5;
use crate::tree::{escape, unescape};
use crate::unpack::file::{self, number};

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
            let sum = file.md5.map_or_else(|| "-".to_owned(), |md5| md5.to_string());
            file::push_line(&mut text, (&file.path, &file.meta, &file.kind), &sum);
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

fn parse_member<'a>(fields: &mut impl Iterator<Item = &'a str>) -> Option<Member> {
    let name = fields.next()?.to_owned();
    let mode = u16::from_str_radix(fields.next()?, 8).ok()?;
    let mtime = number(fields.next()?)?;
    let bytes = unescape(fields.next()?)?.into();
    Some(Member { name, mode, mtime, bytes })
}

fn parse_file<'a>(fields: &mut impl Iterator<Item = &'a str>) -> Option<File> {
    let (path, meta, kind, sum) = file::parse_line(fields)?;
    let md5 = match sum {
        "-" => None,
        text => {
            let mut md5 = [0; 16];
            parse_hex(text, &mut md5)?;
            Some(Md5(md5))
        }
    };
    Some(File { path, meta, kind, md5 })
}
