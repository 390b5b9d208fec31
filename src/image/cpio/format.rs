//! The header of one `newc` entry, and what the format can hold.
//!
//! A header is 110 bytes: the magic `070701` and thirteen numbers of eight hexadecimal digits.
//! The name follows with a final NUL, then the data; header with name, and data, are each padded
//! with NULs to a multiple of four bytes. The name `TRAILER!!!` ends an archive.
//!
//! Specification: Linux, `Documentation/driver-api/early-userspace/buffer-format.rst`, and its
//! reader `init/initramfs.c`; `cpio(5)` of libarchive.

use std::fmt;

/// The first six bytes of every entry.
pub(super) const MAGIC: &[u8; 6] = b"070701";
/// The first six bytes of an entry with a checksum, which the kernel takes as well.
pub(super) const MAGIC_WITH_CHECKSUM: &[u8; 6] = b"070702";
/// The length of a header in bytes, without the name.
pub(super) const HEADER_LENGTH: usize = 110;
/// The name of the entry that ends an archive.
pub(super) const TRAILER: &[u8] = b"TRAILER!!!";
/// What names, link targets and data are padded to, in bytes.
pub(super) const ALIGNMENT: u64 = 4;
/// The longest name or link target, in bytes without the final NUL: `PATH_MAX` of the kernel,
/// which skips longer ones without a word.
pub(super) const NAME_LIMIT: usize = 4095;
/// The largest major number of a device: the kernel keeps twelve bits.
pub(super) const MAJOR_LIMIT: u32 = (1 << 12) - 1;
/// The largest minor number of a device: the kernel keeps twenty bits.
pub(super) const MINOR_LIMIT: u32 = (1 << 20) - 1;

/// The bits of a mode that say what kind of file it is; see `inode(7)`.
pub(super) mod kind {
    pub(in super::super) const MASK: u32 = 0o170_000;
    pub(in super::super) const SOCKET: u32 = 0o140_000;
    pub(in super::super) const SYMLINK: u32 = 0o120_000;
    pub(in super::super) const REGULAR: u32 = 0o100_000;
    pub(in super::super) const BLOCK: u32 = 0o060_000;
    pub(in super::super) const DIRECTORY: u32 = 0o040_000;
    pub(in super::super) const CHARACTER: u32 = 0o020_000;
    pub(in super::super) const FIFO: u32 = 0o010_000;
}

/// The numbers of a header, by the names that the specification gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Header {
    pub(super) ino: u32,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) nlink: u32,
    pub(super) mtime: u32,
    pub(super) filesize: u32,
    pub(super) devmajor: u32,
    pub(super) devminor: u32,
    pub(super) rdevmajor: u32,
    pub(super) rdevminor: u32,
    /// The length of the name with its NUL.
    pub(super) namesize: u32,
}

impl Header {
    /// Writes the header as its 110 bytes.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let numbers = [
            self.ino,
            self.mode,
            self.uid,
            self.gid,
            self.nlink,
            self.mtime,
            self.filesize,
            self.devmajor,
            self.devminor,
            self.rdevmajor,
            self.rdevminor,
            self.namesize,
            0, // the checksum, which this magic does not use
        ];
        let mut bytes = MAGIC.to_vec();
        numbers.iter().for_each(|number| bytes.extend(format!("{number:08X}").bytes()));
        bytes
    }

    /// Reads a header. Returns what is wrong with it otherwise.
    pub(super) fn parse(bytes: &[u8; HEADER_LENGTH]) -> Result<Self, &'static str> {
        let Some((MAGIC | MAGIC_WITH_CHECKSUM, digits)) = bytes.split_first_chunk() else {
            return Err("does not begin with the magic 070701");
        };
        let mut numbers = digits.chunks_exact(8).map(number);
        let mut next = || numbers.next().flatten().ok_or("has a number that is not hexadecimal");
        let header = Self {
            ino: next()?,
            mode: next()?,
            uid: next()?,
            gid: next()?,
            nlink: next()?,
            mtime: next()?,
            filesize: next()?,
            devmajor: next()?,
            devminor: next()?,
            rdevmajor: next()?,
            rdevminor: next()?,
            namesize: next()?,
        };
        next().map(|_checksum| header)
    }
}

fn number(digits: &[u8]) -> Option<u32> {
    let hexadecimal = digits.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(digits).ok().filter(|_| hexadecimal)?;
    u32::from_str_radix(text, 16).ok()
}

/// How many NULs follow `length` bytes.
pub(super) const fn padding(length: u64) -> u64 {
    length.wrapping_neg() % ALIGNMENT
}

/// What a `newc` archive, or the kernel that reads it, cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// File sizes are 32-bit numbers.
    Size,
    /// Times are seconds since 1970 in 32 bits: from 1970 to February 2106.
    Time,
    /// Names and link targets have between 1 and 4095 bytes.
    Name,
    /// Majors have 12 bits, minors 20.
    Device,
    /// Inode and link numbers are 32-bit numbers.
    Inodes,
    /// No file of the root directory can have the name that ends an archive.
    Trailer,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Size => "a file must be smaller than 4 GiB",
            Self::Time => "a time must lie between 1970 and February 2106",
            Self::Name => "a name or link target must have between 1 and 4095 bytes",
            Self::Device => "a device's major number must be below 4096, its minor below 1048576",
            Self::Inodes => "there must be fewer than 2^32 files",
            Self::Trailer => "the name TRAILER!!! in the root directory ends an archive",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_read_back_is_the_same() {
        let header = Header { ino: 1, mode: 0o100_755, namesize: u32::MAX, ..Header::default() };
        let bytes: [u8; HEADER_LENGTH] = header.to_bytes().try_into().unwrap();
        assert_eq!(bytes.split_at(22).0, b"07070100000001000081ED");
        assert_eq!(Header::parse(&bytes), Ok(header));
    }

    #[test]
    fn signs_and_blanks_are_no_digits() {
        let good: [u8; HEADER_LENGTH] = Header::default().to_bytes().try_into().unwrap();
        for (place, letter) in [(0, b'1'), (6, b'+'), (20, b' '), (109, b'g')] {
            let mut bad = good;
            bad[place] = letter;
            assert!(Header::parse(&bad).is_err(), "{place}");
        }
    }

    #[test]
    fn padding_fills_up_to_four() {
        assert_eq!([0, 1, 2, 3, 4, u64::MAX].map(padding), [0, 3, 2, 1, 0, 1]);
    }
}
