//! Directories: blocks that each begin with their entries and end with their names.
//!
//! ```text
//! slot (8), place of the name (2), type (1), 0 (1) │ … │ name │ name │ …
//! ```
//!
//! All names of a directory are in order, `.` and `..` among them. How many entries a block has
//! follows from where its first name stands; the last name ends with the block or with a NUL.
//! Specification: Linux, `fs/erofs/erofs_fs.h` (`erofs_dirent`), `fs/erofs/dir.c`.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use super::format::{BLOCK_SIZE, ENTRY, NAME_MAX, field, le16, le64};

/// A name and what it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry<'n> {
    pub(super) name: &'n [u8],
    pub(super) slot: u64,
    /// See [`super::format::kinds::in_directory`].
    pub(super) kind: u8,
}

/// How many bytes a directory with these names, in order, has.
pub(super) fn size<'n>(names: impl Iterator<Item = &'n [u8]>) -> u64 {
    let (mut blocks, mut used) = (0_u64, 0_usize);
    for name in names {
        let length = ENTRY.saturating_add(name.len());
        if used.saturating_add(length) > BLOCK_SIZE {
            blocks = blocks.saturating_add(1);
            used = 0;
        }
        used = used.saturating_add(length);
    }
    blocks.saturating_mul(super::format::BLOCK).saturating_add(u64::try_from(used).unwrap_or(0))
}

/// The bytes of a directory with these entries, in order.
pub(super) fn encode(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = entries;
    while !rest.is_empty() {
        let mut used = 0_usize;
        let fits = |entry: &&Entry<'_>| {
            used = used.saturating_add(ENTRY).saturating_add(entry.name.len());
            used <= BLOCK_SIZE
        };
        let count = rest.iter().take_while(fits).count();
        let (block, behind) = rest.split_at(count);
        bytes.resize(bytes.len().next_multiple_of(BLOCK_SIZE), 0);
        encode_block(block, &mut bytes);
        rest = behind;
    }
    bytes
}

fn encode_block(entries: &[Entry<'_>], bytes: &mut Vec<u8>) {
    let mut place = entries.len().saturating_mul(ENTRY);
    for entry in entries {
        bytes.extend(entry.slot.to_le_bytes());
        bytes.extend(u16::try_from(place).unwrap_or(u16::MAX).to_le_bytes());
        bytes.extend([entry.kind, 0]);
        place = place.saturating_add(entry.name.len());
    }
    entries.iter().for_each(|entry| bytes.extend(entry.name));
}

/// Reads a block of a directory, or what there is of its last one.
///
/// # Errors
/// The rule that it breaks.
pub(super) fn decode(block: &[u8]) -> Result<Vec<Entry<'_>>, &'static str> {
    let cut = "a block of names is cut off";
    let first = usize::from(le16(block, 8).ok_or(cut)?);
    if first < ENTRY || !first.is_multiple_of(ENTRY) || first > block.len() {
        return Err("the first name of a block stands at an impossible place");
    }
    let count = first.checked_div(ENTRY).unwrap_or_default();
    let mut entries: Vec<Entry<'_>> = Vec::new();
    for number in 0..count {
        let head = block.get(number.saturating_mul(ENTRY)..).ok_or(cut)?;
        let start = usize::from(le16(head, 8).ok_or(cut)?);
        let is_last = number.saturating_add(1) == count;
        let next = head.get(ENTRY..).and_then(|next| le16(next, 8)).map(usize::from);
        let end = next.filter(|_| !is_last).unwrap_or(block.len());
        let name = block.get(start..end).ok_or("names of a block are out of order")?;
        let name = match is_last {
            true => name.split(|byte| *byte == 0).next().unwrap_or_default(),
            false => name,
        };
        if name.is_empty() || name.len() > NAME_MAX || start < first {
            return Err("a name is empty, too long, or stands among entries");
        }
        if name.iter().any(|byte| matches!(byte, 0 | b'/')) {
            return Err("a name contains a slash or NUL");
        }
        if entries.last().is_some_and(|last| last.name >= name) {
            return Err("names are out of order, or one stands there twice");
        }
        let [kind] = field(head, 10).ok_or(cut)?;
        entries.push(Entry { name, slot: le64(head, 0).ok_or(cut)?, kind });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: u64) -> Vec<String> {
        (0..count).map(|number| format!("a name of a file {number:06}")).collect()
    }

    #[test]
    fn directories_come_back_from_their_blocks() {
        for count in [1, 2, 105, 106, 107, 5000] {
            let names = names(count);
            let entry = |(slot, name): (u64, &String)| (slot, name.clone());
            let owned: Vec<_> = (7..).zip(&names).map(entry).collect();
            let entries: Vec<_> = owned
                .iter()
                .map(|(slot, name)| Entry { name: name.as_bytes(), slot: *slot, kind: 1 })
                .collect();
            let bytes = encode(&entries);
            let expected = size(names.iter().map(String::as_bytes));
            assert_eq!(u64::try_from(bytes.len()), Ok(expected), "{count}");
            let found: Vec<_> =
                bytes.chunks(BLOCK_SIZE).flat_map(|block| decode(block).unwrap()).collect();
            assert_eq!(found, entries);
        }
    }

    #[test]
    fn a_block_may_be_full_to_the_last_byte() {
        let long = [b'a'; 255];
        let mut all: Vec<Vec<u8>> = (0..15_u8)
            .map(|number| [&[b'a'.saturating_add(number)], &long[1..]].concat())
            .collect();
        all.push(vec![b'z'; 4096 - 15 * 267 - 12]);
        let entries: Vec<_> = all.iter().map(|name| Entry { name, slot: 1, kind: 1 }).collect();
        let bytes = encode(&entries);
        assert_eq!(bytes.len(), 4096);
        assert_eq!(decode(&bytes).unwrap(), entries);
    }

    #[test]
    fn c20_places_of_names_that_lie_are_refused() {
        let names = names(3);
        let entries: Vec<_> =
            names.iter().map(|name| Entry { name: name.as_bytes(), slot: 1, kind: 1 }).collect();
        let good = encode(&entries);
        decode(&good).unwrap();
        // The first place, the second, the third.
        let bad =
            [(8, 0), (8, 0xFFFF), (8, 37), (8, 24), (20, 0xFFFF), (20, 0), (20, 36), (32, 40)];
        for (at, value) in bad {
            let mut bytes = good.clone();
            bytes.get_mut(at..at + 2).unwrap().copy_from_slice(&u16::to_le_bytes(value));
            assert!(decode(&bytes).is_err(), "{value} at {at}");
        }
        assert!(decode(&[]).is_err());
        let twice: Vec<_> = entries.iter().take(1).cycle().take(2).copied().collect();
        assert!(decode(&encode(&twice)).is_err());
    }
}
