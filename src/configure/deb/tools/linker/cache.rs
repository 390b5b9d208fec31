//! `/etc/ld.so.cache`: the file that the dynamic linker maps to find libraries by their names.
//!
//! In: libraries in the order in which they are found; out: the file in its format 1.1 alone, as
//! glibc 2.32 and later write it (`sysdeps/generic/dl-cache.h`): a head, an entry of 24 bytes for
//! each, the table of strings, and the extension that tells who made it. Numbers are in the order
//! of the guest's processor. Of strings that end alike only the longest is kept, sorted by their
//! ends, the last first.

use std::cmp::Ordering;
use std::collections::BTreeMap;

const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const HEAD: usize = 48;
const ENTRY: usize = 24;
const EXTENSION_MAGIC: u32 = 0xeaa4_2174;
/// The extension's section that tells who made the cache.
const GENERATOR: u32 = 0;

/// A library in the cache.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) path: String,
    pub(super) flags: u32,
}

/// The file; nothing if it were larger than its own numbers.
pub(super) fn write(entries: &[Entry], is_big_endian: bool, generator: &str) -> Option<Vec<u8>> {
    let start = HEAD.checked_add(entries.len().checked_mul(ENTRY)?)?;
    let (table, places) = strings(entries);
    let end = start.checked_add(table.len())?.checked_next_multiple_of(4)?;
    let number = |value: usize| -> Option<[u8; 4]> {
        let value = u32::try_from(value).ok()?;
        Some(if is_big_endian { value.to_be_bytes() } else { value.to_le_bytes() })
    };
    let mut bytes = MAGIC.to_vec();
    bytes.extend(number(entries.len())?);
    bytes.extend(number(table.len())?);
    bytes.extend([if is_big_endian { 3 } else { 2 }, 0, 0, 0]);
    bytes.extend(number(end)?);
    bytes.extend([0; 12]);
    for entry in entries {
        let place = |text: &str| number(start.checked_add(*places.get(text)?)?);
        bytes.extend(number(usize::try_from(entry.flags).ok()?)?);
        bytes.extend(place(&entry.name)?);
        bytes.extend(place(&entry.path)?);
        // No version of a kernel, no better processor.
        bytes.extend([0; 12]);
    }
    bytes.extend(table);
    bytes.resize(end, 0);
    let text = end.checked_add(24)?;
    for value in [usize::try_from(EXTENSION_MAGIC).ok()?, 1] {
        bytes.extend(number(value)?);
    }
    for value in [usize::try_from(GENERATOR).ok()?, 0, text, generator.len()] {
        bytes.extend(number(value)?);
    }
    bytes.extend(generator.as_bytes());
    Some(bytes)
}

/// The table of strings, and where each begins.
fn strings(entries: &[Entry]) -> (Vec<u8>, BTreeMap<&str, usize>) {
    let mut all: Vec<&str> =
        entries.iter().flat_map(|entry| [entry.name.as_str(), entry.path.as_str()]).collect();
    all.sort_by(|one, other| by_end(one, other));
    all.dedup();
    let (mut table, mut places) = (Vec::new(), BTreeMap::new());
    let mut last = "";
    for text in all {
        if !last.is_empty() && last.ends_with(text) {
            places.insert(text, table.len() - 1 - text.len());
            continue;
        }
        places.insert(text, table.len());
        table.extend(text.as_bytes());
        table.push(0);
        last = text;
    }
    (table, places)
}

/// By the last sign first, the greater first; of two that end alike the longer first.
fn by_end(one: &str, other: &str) -> Ordering {
    other.bytes().rev().cmp(one.bytes().rev())
}

/// What `ldconfig` says of itself, in its program.
pub(super) fn generator_in(program: &[u8]) -> Option<String> {
    const START: &[u8] = b"ldconfig (";
    let mut rest = program;
    loop {
        let at = rest.windows(START.len()).position(|window| window == START)?;
        rest = rest.get(at..)?;
        let text = rest.split(|&byte| byte == 0).next()?;
        let text = std::str::from_utf8(text.get(..text.len().min(200))?);
        if let Ok(text) = text
            && text.contains(") stable release version ")
        {
            return Some(text.to_owned());
        }
        rest = rest.get(START.len()..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, folder: &str) -> Entry {
        Entry { name: name.to_owned(), path: format!("{folder}/{name}"), flags: 0x303 }
    }

    #[test]
    fn strings_that_end_alike_are_kept_once_and_the_last_end_comes_first() {
        let entries =
            [entry("libz.so.1", "/lib"), entry("libb.so.2", "/lib"), entry("z.so.1", "/l")];
        let (table, places) = strings(&entries);
        assert_eq!(table, b"/lib/libb.so.2\0/lib/libz.so.1\0/l/z.so.1\0");
        assert_eq!(places.get("libz.so.1"), Some(&20));
        assert_eq!(places.get("z.so.1"), Some(&33));
    }

    #[test]
    fn head_entries_and_extension_lie_where_the_linker_looks_in_either_order_of_bytes() {
        let entries = [entry("libz.so.1", "/lib")];
        let bytes = write(&entries, false, "ldconfig (x) stable release version 2.36").unwrap();
        assert_eq!(&bytes[20..36], [1, 0, 0, 0, 15, 0, 0, 0, 2, 0, 0, 0, 88, 0, 0, 0]);
        assert_eq!(&bytes[48..60], [3, 3, 0, 0, 77, 0, 0, 0, 72, 0, 0, 0]);
        assert_eq!(&bytes[84..92], [b'.', b'1', 0, 0, 0x74, 0x21, 0xa4, 0xea]);
        let bytes = write(&entries, true, "ldconfig (x) stable release version 2.36").unwrap();
        assert_eq!(&bytes[20..36], [0, 0, 0, 1, 0, 0, 0, 15, 3, 0, 0, 0, 0, 0, 0, 88]);
    }

    #[test]
    fn the_program_s_own_words_are_found_among_others() {
        let program = b"\x7fELF ldconfig (no\0ldconfig (A 2.41-1) stable release version 2.41\0x";
        let expected = "ldconfig (A 2.41-1) stable release version 2.41";
        assert_eq!(generator_in(program).as_deref(), Some(expected));
        assert_eq!(generator_in(b"ldconfig (A"), None);
    }
}
