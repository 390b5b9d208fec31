//! A library's own name, as the linker reads it from the file; see elf(5).
//!
//! In: the bytes of a file, which may be anything; out: what it is. Only what names a library is
//! read: the table of segments, the dynamic one and its strings.

/// The processor of a guest, as `ldconfig` and libraries tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Machine {
    /// The folder of its libraries.
    pub(super) triplet: &'static str,
    /// What the cache says of its libraries.
    pub(super) flags: u32,
    pub(super) is_big_endian: bool,
    /// `e_machine`
    number: u16,
}

impl Machine {
    /// By Debian's name.
    pub(super) fn of_debian(name: &str) -> Option<Self> {
        let (triplet, flags, number) = match name {
            "amd64" => ("x86_64-linux-gnu", 0x0303, 62),
            "arm64" => ("aarch64-linux-gnu", 0x0a03, 183),
            "ppc64el" => ("powerpc64le-linux-gnu", 0x0503, 21),
            "s390x" => ("s390x-linux-gnu", 0x0403, 22),
            _ => return None,
        };
        Some(Self { triplet, flags, is_big_endian: name == "s390x", number })
    }

    /// What its libraries say.
    pub(super) const fn kind(self) -> Kind {
        Kind { is_64: true, is_big_endian: self.is_big_endian, machine: self.number }
    }
}

/// For which processor a library is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    is_64: bool,
    is_big_endian: bool,
    machine: u16,
}

/// What a file is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Library {
    /// Something else.
    Not,
    /// A library, perhaps with a name of its own.
    Of { own_name: Option<Vec<u8>>, kind: Kind },
    /// It begins as a library does.
    Broken,
}

const DYNAMIC_OBJECT: u64 = 3;
const LOAD: u64 = 1;
const DYNAMIC: u64 = 2;
const STRINGS: u64 = 5;
const OWN_NAME: u64 = 14;

/// Reads a file.
pub(super) fn read(bytes: &[u8]) -> Library {
    if !bytes.starts_with(b"\x7fELF") {
        return Library::Not;
    }
    let file = File { bytes, is_big_endian: bytes.get(5) == Some(&2) };
    let (Some(kind), Some(object)) = (file.kind(), file.number(16, 2)) else {
        return Library::Broken;
    };
    if object != DYNAMIC_OBJECT {
        return Library::Not;
    }
    if !kind.is_64 {
        return Library::Of { own_name: None, kind };
    }
    match file.own_name() {
        Some(own_name) => Library::Of { own_name, kind },
        None => Library::Broken,
    }
}

struct File<'a> {
    bytes: &'a [u8],
    is_big_endian: bool,
}

/// A segment: what it is, and where its bytes are in the file and in memory.
struct Segment {
    kind: u64,
    offset: u64,
    address: u64,
    size: u64,
}

impl File<'_> {
    fn number(&self, at: u64, size: u64) -> Option<u64> {
        let (start, end) =
            (usize::try_from(at).ok()?, usize::try_from(at.checked_add(size)?).ok()?);
        let bytes = self.bytes.get(start..end)?;
        let add = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(match self.is_big_endian {
            true => bytes.iter().fold(0, add),
            false => bytes.iter().rev().fold(0, add),
        })
    }

    fn kind(&self) -> Option<Kind> {
        let machine = u16::try_from(self.number(18, 2)?).ok()?;
        let is_64 = *self.bytes.get(4)? == 2;
        Some(Kind { is_64, is_big_endian: self.is_big_endian, machine })
    }

    fn segments(&self) -> Option<Vec<Segment>> {
        let (table, size, count) = (self.number(32, 8)?, self.number(54, 2)?, self.number(56, 2)?);
        let segment = |index: u64| {
            let at = table.checked_add(index.checked_mul(size)?)?;
            Some(Segment {
                kind: self.number(at, 4)?,
                offset: self.number(at.checked_add(8)?, 8)?,
                address: self.number(at.checked_add(16)?, 8)?,
                size: self.number(at.checked_add(32)?, 8)?,
            })
        };
        (0..count).map(segment).collect()
    }

    /// The name that the library gives itself, if it does; nothing if it is broken.
    fn own_name(&self) -> Option<Option<Vec<u8>>> {
        let segments = self.segments()?;
        let dynamic = segments.iter().find(|segment| segment.kind == DYNAMIC)?;
        let (mut strings, mut name) = (None, None);
        for index in 0..dynamic.size / 16 {
            let at = dynamic.offset.checked_add(index.checked_mul(16)?)?;
            let value = self.number(at.checked_add(8)?, 8)?;
            match self.number(at, 8)? {
                0 => break,
                STRINGS => strings = Some(value),
                OWN_NAME => name = Some(value),
                _ => {}
            }
        }
        let Some(name) = name else { return Some(None) };
        let address = strings?;
        let holds = |segment: &&Segment| {
            let within = address.checked_sub(segment.address);
            segment.kind == LOAD && within.is_some_and(|within| within < segment.size)
        };
        let segment = segments.iter().find(holds)?;
        let start = segment.offset.checked_add(address.checked_sub(segment.address)?)?;
        let start = usize::try_from(start.checked_add(name)?).ok()?;
        let rest = self.bytes.get(start..)?;
        let end = rest.iter().position(|&byte| byte == 0)?;
        Some(Some(rest.get(..end)?.to_vec()))
    }
}

#[cfg(test)]
pub(in crate::configure::deb::tools) mod tests {
    use super::*;

    /// A library for ARM of 64 bits, all of which is one segment; its strings follow the table.
    pub(in crate::configure::deb::tools) fn library(own_name: &str) -> Vec<u8> {
        let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        bytes.extend([3, 0, 183, 0, 1, 0, 0, 0]);
        for word in [0_u64, 64, 0] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend([0, 0, 0, 0, 64, 0, 56, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
        let strings: u64 = 64 + 2 * 56 + 48;
        let end = strings + own_name.len() as u64 + 2;
        for (kind, offset, size) in [(LOAD, 0, end), (DYNAMIC, 64 + 2 * 56, 48)] {
            bytes.extend(
                [kind, offset, 0x1000 + offset, 0, size, size, 8]
                    .iter()
                    .flat_map(|word| word.to_le_bytes()),
            );
        }
        for word in [STRINGS, 0x1000 + strings, OWN_NAME, 1, 0, 0] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.push(0);
        bytes.extend(own_name.as_bytes());
        bytes.push(0);
        bytes
    }

    #[test]
    fn a_library_tells_its_name_and_whatever_is_cut_off_is_broken_or_none() {
        let bytes = library("libz.so.1");
        let kind = Machine::of_debian("arm64").unwrap().kind();
        let expected = Library::Of { own_name: Some(b"libz.so.1".to_vec()), kind };
        assert_eq!(read(&bytes), expected);
        for end in 0..bytes.len() {
            assert_ne!(read(&bytes[..end]), expected, "{end}");
        }
        assert_eq!(read(b"INPUT ( /lib/libc.so.6 )"), Library::Not);
    }
}
