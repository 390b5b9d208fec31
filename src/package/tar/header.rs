//! One header block of a tar archive: fields at fixed places, numbers in two notations.
//!
//! In come 512 bytes, out come values or the rule that a field breaks. Layout: POSIX.1-2024
//! "ustar Interchange Format"; base 256 and the GNU magic: GNU tar's manual, "Basic Tar Format".

use std::ops::Range;

use super::MAXIMUM_SIZE;
use crate::tree::Device;

/// Bytes of a block: headers and contents come in multiples of it.
pub(super) const BLOCK: usize = 512;
/// The same as a size.
pub(super) const BLOCK_SIZE: u64 = 512;

const NAME: Range<usize> = 0..100;
const MODE: Range<usize> = 100..108;
const UID: Range<usize> = 108..116;
const GID: Range<usize> = 116..124;
const SIZE: Range<usize> = 124..136;
const MTIME: Range<usize> = 136..148;
const CHECKSUM: Range<usize> = 148..156;
const TYPE_FLAG: usize = 156;
const LINK_NAME: Range<usize> = 157..257;
const MAGIC: Range<usize> = 257..265;
const USER: Range<usize> = 265..297;
const GROUP: Range<usize> = 297..329;
const MAJOR: Range<usize> = 329..337;
const MINOR: Range<usize> = 337..345;
const PREFIX: Range<usize> = 345..500;

/// Which of the three kinds of header it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Unix version 7: no magic, no device numbers, no prefix.
    Old,
    /// POSIX.
    Ustar,
    /// GNU: as POSIX, but other fields in place of the prefix.
    Gnu,
}

/// A header block.
#[derive(Debug)]
pub(super) struct Header {
    block: [u8; BLOCK],
}

impl Header {
    pub(super) const fn new(block: [u8; BLOCK]) -> Self {
        Self { block }
    }

    fn field(&self, range: Range<usize>) -> &[u8] {
        self.block.get(range).expect("fields lie inside the block")
    }

    /// A text field: up to the first NUL, or all of it.
    fn text(&self, range: Range<usize>) -> &[u8] {
        self.field(range).split(|&byte| byte == 0).next().unwrap_or_default()
    }

    pub(super) fn format(&self) -> Format {
        match self.field(MAGIC) {
            b"ustar\x0000" => Format::Ustar,
            b"ustar  \0" => Format::Gnu,
            _ => Format::Old,
        }
    }

    pub(super) fn type_flag(&self) -> u8 {
        self.block.get(TYPE_FLAG).copied().unwrap_or_default()
    }

    /// The sum of all bytes, those of the checksum itself taken as blanks.
    pub(super) fn checksum_is_right(&self) -> bool {
        let sum = (0..).zip(&self.block).fold(0_u64, |sum, (index, &byte)| {
            sum.saturating_add(if CHECKSUM.contains(&index) { 32 } else { u64::from(byte) })
        });
        octal(self.field(CHECKSUM)) == Some(sum)
    }

    pub(super) fn name(&self) -> Vec<u8> {
        let name = self.text(NAME);
        match (self.format(), self.text(PREFIX)) {
            (Format::Ustar, prefix) if !prefix.is_empty() => [prefix, b"/", name].concat(),
            _ => name.to_vec(),
        }
    }

    pub(super) fn link_name(&self) -> Vec<u8> {
        self.text(LINK_NAME).to_vec()
    }

    /// The owner's name, which old archives do not have.
    pub(super) fn user(&self) -> Box<[u8]> {
        if self.format() == Format::Old { Box::default() } else { self.text(USER).into() }
    }

    /// The group's name, which old archives do not have.
    pub(super) fn group(&self) -> Box<[u8]> {
        if self.format() == Format::Old { Box::default() } else { self.text(GROUP).into() }
    }

    pub(super) fn size(&self) -> Result<u64, &'static str> {
        let size = number(self.field(SIZE)).and_then(|size| u64::try_from(size).ok());
        size.filter(|&size| size < MAXIMUM_SIZE).ok_or("has a malformed size")
    }

    /// Permission bits. Some archivers put the type of the file above them.
    pub(super) fn mode(&self) -> Result<u16, &'static str> {
        let mode = number_or_zero(self.field(MODE)).filter(|mode| (0..=0o177_777).contains(mode));
        let mode = mode.and_then(|mode| u16::try_from(mode & 0o7777).ok());
        mode.ok_or("has a malformed mode")
    }

    pub(super) fn uid(&self) -> Result<u32, &'static str> {
        narrow(self.field(UID)).ok_or("has a malformed owner")
    }

    pub(super) fn gid(&self) -> Result<u32, &'static str> {
        narrow(self.field(GID)).ok_or("has a malformed group")
    }

    pub(super) fn mtime(&self) -> Result<i64, &'static str> {
        number_or_zero(self.field(MTIME)).ok_or("has a malformed time")
    }

    pub(super) fn device(&self) -> Result<Device, &'static str> {
        if self.format() == Format::Old {
            return Err("is a device without numbers");
        }
        let number = |range| narrow(self.field(range)).ok_or("has malformed device numbers");
        Ok(Device { major: number(MAJOR)?, minor: number(MINOR)? })
    }
}

fn narrow(field: &[u8]) -> Option<u32> {
    number_or_zero(field).and_then(|value| u32::try_from(value).ok())
}

/// A number in either notation; a field without any digit is 0.
fn number_or_zero(field: &[u8]) -> Option<i64> {
    if field.iter().all(|byte| matches!(byte, 0 | b' ')) { Some(0) } else { number(field) }
}

/// A number: in base 256 if its first bit is set (the second bit is the sign), else in octal.
fn number(field: &[u8]) -> Option<i64> {
    match field.split_first() {
        Some((first @ (0x80 | 0xff), rest)) => base_256(*first == 0xff, rest),
        _ => octal(field).and_then(|value| i64::try_from(value).ok()),
    }
}

/// Two's complement, most significant byte first, of a number that fits in 64 bits.
fn base_256(negative: bool, bytes: &[u8]) -> Option<i64> {
    let start = if negative { -1_i64 } else { 0 };
    bytes
        .iter()
        .try_fold(start, |value, &byte| value.checked_mul(256)?.checked_add(i64::from(byte)))
}

/// Octal digits between blanks, ended by a NUL, a blank or the field's end.
fn octal(field: &[u8]) -> Option<u64> {
    let text = field.split(|&byte| byte == 0).next()?.trim_ascii();
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.checked_sub(b'0').filter(|&digit| digit < 8)?;
        value.checked_mul(8)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256_and_nothing_else() {
        let cases: [(&[u8], Option<i64>); 12] = [
            (b"0000644\0", Some(0o644)),
            (b"   444 \0", Some(0o444)),
            (b"77777777", Some(0o77_777_777)),
            (b"\x80\0\0\0\0\0\x01\x02", Some(258)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX)),
            (b"\x80\0\0\x80\0\0\0\0\0\0\0", None),
            (b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"", None),
            (b"        ", None),
            (b"0000648\0", None),
            (b"-000644\0", None),
        ];
        for (field, value) in cases {
            assert_eq!(number(field), value, "{field:?}");
        }
    }
}
