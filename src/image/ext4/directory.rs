//! The blocks of a directory: names in order of bytes when they fit into one block, else a tree
//! by hash, as the kernel makes it.
//!
//! ```text
//! block 0        `.`, `..`, index: hash → block
//! blocks 1..     further index blocks, when one is too small
//! last blocks    names, in the order of their hash
//! ```
//!
//! Every block ends with a checksum that poses as an empty name. Specification:
//! <https://docs.kernel.org/filesystems/ext4/directory.html>.

use super::checksum::Seed;
use super::format::{field, kinds, le16, le32, put};
use super::hash::half_md4;
use crate::image::crc32c::crc32c;

/// Bytes before the name of an entry.
const ENTRY_HEADER: usize = 8;
/// Bytes of the checksum at the end of a block of names.
const TAIL: usize = 12;
/// What stands in place of a type in that tail.
const TAIL_TYPE: u8 = 0xDE;
/// Bytes before the index in the first block and in a further one.
const ROOT_INDEX_AT: usize = 32;
const NODE_INDEX_AT: usize = 8;
const INDEX_ENTRY: usize = 8;
const INDEX_TAIL: usize = 8;

/// A name in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// The name, 1 to 255 bytes.
    pub(super) name: &'a [u8],
    /// The inode it leads to.
    pub(super) inode: u32,
    /// The inode's type, as directories number it.
    pub(super) kind: u8,
}

/// What all blocks of a directory depend on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    /// Bytes of a block.
    pub(super) block_size: usize,
    /// The checksum seed of the directory's inode.
    pub(super) seed: Seed,
    /// The seed of the hash of names.
    pub(super) hash_seed: [u32; 4],
}

impl Frame {
    /// The bytes of a directory with `entries` in any order, beside `.` and `..`; several blocks
    /// mean that it is indexed. `None` when there are more names than two levels of index reach.
    pub(super) fn build(&self, this: u32, parent: u32, entries: &[Entry<'_>]) -> Option<Vec<u8>> {
        let directory = kinds::in_directory(kinds::DIRECTORY);
        let mut all = vec![
            Entry { name: b".", inode: this, kind: directory },
            Entry { name: b"..", inode: parent, kind: directory },
        ];
        let dots = all.clone();
        all.extend_from_slice(entries);
        if all.iter().map(entry_size).sum::<usize>() <= self.room() {
            return Some(self.names(&all));
        }
        self.indexed(&dots, entries)
    }

    /// Bytes for names in a block.
    fn room(&self) -> usize {
        self.block_size - TAIL
    }

    /// A block of names; the last one stretches to the tail.
    fn names(&self, entries: &[Entry<'_>]) -> Vec<u8> {
        let mut block = vec![0; self.block_size];
        let mut at = 0;
        for (index, entry) in entries.iter().enumerate() {
            let last = index + 1 == entries.len();
            let length = if last { self.room() - at } else { entry_size(entry) };
            put_entry(&mut block[at..], entry, length);
            at += length;
        }
        let checksum = self.seed.over(&block[..at]);
        put(&mut block, at + 4, 12_u16.to_le_bytes());
        block[at + 7] = TAIL_TYPE;
        put(&mut block, at + 8, checksum.to_le_bytes());
        block
    }

    fn indexed(&self, dots: &[Entry<'_>], entries: &[Entry<'_>]) -> Option<Vec<u8>> {
        let (hashes, leaves) = self.leaves(entries);
        let in_root = (self.block_size - ROOT_INDEX_AT - INDEX_TAIL) / INDEX_ENTRY;
        let in_node = (self.block_size - NODE_INDEX_AT - INDEX_TAIL) / INDEX_ENTRY;
        let nodes = if hashes.len() > in_root { hashes.len().div_ceil(in_node) } else { 0 };
        if nodes > in_root {
            return None;
        }
        let first_leaf = u32::try_from(1 + nodes).ok()?;
        let mut index: Vec<(u32, u32)> = hashes.into_iter().zip(first_leaf..).collect();
        let mut middle = Vec::new();
        if nodes > 0 {
            for part in index.chunks(in_node) {
                middle.extend(self.index_node(part, in_node));
            }
            index = index.chunks(in_node).map(|part| part[0].0).zip(1..).collect();
        }
        let mut blocks = self.index_root(dots, &index, in_root, nodes > 0);
        blocks.extend(middle);
        blocks.extend(leaves);
        Some(blocks)
    }

    /// The blocks of names in the order of their hash, with the hash by which each is found.
    fn leaves(&self, entries: &[Entry<'_>]) -> (Vec<u32>, Vec<u8>) {
        let place = |entry: &Entry<'_>| half_md4(entry.name, self.hash_seed);
        let mut sorted: Vec<_> = entries.iter().map(|entry| (place(entry), *entry)).collect();
        sorted.sort_by_key(|&(place, entry)| (place, entry.name));
        let (mut hashes, mut blocks) = (Vec::new(), Vec::new());
        let (mut start, mut used) = (0, 0);
        for index in 0..sorted.len() {
            used += entry_size(&sorted[index].1);
            let next = sorted.get(index + 1);
            let full = next.is_none_or(|(_, next)| used + entry_size(next) > self.room());
            if full {
                let names: Vec<_> = sorted[start..=index].iter().map(|(_, entry)| *entry).collect();
                let hash = sorted[start].0.0;
                // Set when names of one hash go on from the block before.
                let goes_on = start > 0 && sorted[start - 1].0.0 == hash;
                hashes.push(hash | u32::from(goes_on));
                blocks.extend(self.names(&names));
                (start, used) = (index + 1, 0);
            }
        }
        (hashes, blocks)
    }

    fn index_root(
        &self,
        dots: &[Entry<'_>],
        index: &[(u32, u32)],
        limit: usize,
        deep: bool,
    ) -> Vec<u8> {
        let mut block = vec![0; self.block_size];
        put_entry(&mut block, &dots[0], 12);
        put_entry(&mut block[12..], &dots[1], self.block_size - 12);
        block[0x1C] = 1; // half MD4
        block[0x1D] = 8; // bytes of this description
        block[0x1E] = u8::from(deep); // levels between here and the names
        self.put_index(&mut block, ROOT_INDEX_AT, index, limit);
        block
    }

    fn index_node(&self, index: &[(u32, u32)], limit: usize) -> Vec<u8> {
        let mut block = vec![0; self.block_size];
        let whole = u16::try_from(self.block_size).expect("blocks are at most 4096 bytes");
        put(&mut block, 4, whole.to_le_bytes());
        self.put_index(&mut block, NODE_INDEX_AT, index, limit);
        block
    }

    /// Writes an index; the first hash is implied, its place holds the limit and the count.
    fn put_index(&self, block: &mut [u8], at: usize, index: &[(u32, u32)], limit: usize) {
        let number = |count: usize| u16::try_from(count).expect("an index holds few entries");
        for (slot, (hash, leaf)) in index.iter().enumerate() {
            put(block, at + slot * INDEX_ENTRY, hash.to_le_bytes());
            put(block, at + slot * INDEX_ENTRY + 4, leaf.to_le_bytes());
        }
        put(block, at, number(limit).to_le_bytes());
        put(block, at + 2, number(index.len()).to_le_bytes());
        let tail = at + limit * INDEX_ENTRY;
        let checksum = crc32c(self.seed.over(&block[..at + index.len() * INDEX_ENTRY]), &[0; 8]);
        put(block, tail + 4, checksum.to_le_bytes());
    }
}

fn entry_size(entry: &Entry<'_>) -> usize {
    (ENTRY_HEADER + entry.name.len()).next_multiple_of(4)
}

fn put_entry(bytes: &mut [u8], entry: &Entry<'_>, length: usize) {
    let length = u16::try_from(length).expect("an entry is shorter than a block");
    put(bytes, 0, entry.inode.to_le_bytes());
    put(bytes, 4, length.to_le_bytes());
    bytes[6] = u8::try_from(entry.name.len()).expect("names are at most 255 bytes long");
    bytes[7] = entry.kind;
    bytes[ENTRY_HEADER..][..entry.name.len()].copy_from_slice(entry.name);
}

/// Reads the names in one block of a directory, `.` and `..` too. Blocks of an index read as
/// empty.
///
/// # Errors
/// The rule that an entry breaks.
pub(super) fn decode(block: &[u8]) -> Result<Vec<Entry<'_>>, &'static str> {
    const SHORT: &str = "a directory entry is cut off";
    let mut entries = Vec::new();
    let mut rest = block;
    while !rest.is_empty() {
        let inode = le32(rest, 0).ok_or(SHORT)?;
        let length = usize::from(le16(rest, 4).ok_or(SHORT)?);
        let [name_length, kind] = field(rest, 6).ok_or(SHORT)?;
        let name_end = ENTRY_HEADER.saturating_add(usize::from(name_length));
        if length < name_end || length % 4 != 0 {
            return Err("a directory entry has an impossible length");
        }
        let (entry, tail) = rest.split_at_checked(length).ok_or(SHORT)?;
        let name = entry.get(ENTRY_HEADER..name_end).ok_or(SHORT)?;
        if inode != 0 {
            entries.push(Entry { name, inode, kind });
        }
        rest = tail;
    }
    Ok(entries)
}

/// Whether the checksum of a block of a directory is right: that of names, or that of an index.
pub(super) fn is_intact(block: &[u8], seed: Seed) -> bool {
    let tail_at = block.len().saturating_sub(TAIL);
    let tail = block.get(tail_at..).unwrap_or_default();
    if tail.starts_with(&[0, 0, 0, 0, 12, 0, 0, TAIL_TYPE]) {
        let body = block.get(..tail_at).unwrap_or_default();
        return le32(tail, 8) == Some(seed.over(body));
    }
    // A further index block is one empty entry as long as the block (a length that 64 KiB
    // blocks cannot write); the first has two entries.
    let whole = le16(block, 4).is_some_and(|length| usize::from(length) == block.len());
    let at = if whole { NODE_INDEX_AT } else { ROOT_INDEX_AT };
    index_is_intact(block, at, seed).unwrap_or(false)
}

fn index_is_intact(block: &[u8], at: usize, seed: Seed) -> Option<bool> {
    let limit = usize::from(le16(block, at)?);
    let count = usize::from(le16(block, at.checked_add(2)?)?);
    let tail = at.checked_add(limit.checked_mul(INDEX_ENTRY)?)?;
    let body = block.get(..at.checked_add(count.checked_mul(INDEX_ENTRY)?)?)?;
    let checksum = crc32c(crc32c(seed.over(body), block.get(tail..tail.checked_add(4)?)?), &[0; 4]);
    Some(count <= limit && le32(block, tail.checked_add(4)?)? == checksum)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Frame = Frame { block_size: 1024, seed: Seed(5), hash_seed: [1, 2, 3, 4] };

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|index| format!("a-name-of-some-length-{index:06}")).collect()
    }

    fn entries(names: &[String]) -> Vec<Entry<'_>> {
        let entry = |(index, name)| Entry { name, inode: index, kind: 1 };
        (20..).zip(names.iter().map(String::as_bytes)).map(entry).collect()
    }

    #[test]
    fn every_name_comes_back_whatever_the_depth() {
        for (count, blocks) in
            [(0, 1), (27, 1), (28, 2), (29, 3), (3000, 1 + 108), (4000, 1 + 2 + 143)]
        {
            let names = names(count);
            let bytes = FRAME.build(11, 2, &entries(&names)).unwrap();
            assert_eq!(bytes.len() / 1024, blocks, "{count} names");
            let mut found = Vec::new();
            for block in bytes.chunks(1024) {
                assert!(is_intact(block, FRAME.seed));
                assert!(!is_intact(block, Seed(6)));
                found.extend(decode(block).unwrap());
            }
            found.sort_by_key(|entry| entry.inode);
            assert_eq!(found.len(), count + 2);
            assert_eq!((found[0].name, found[0].inode), (&b".."[..], 2));
            assert_eq!(found[2..], entries(&names));
        }
    }

    #[test]
    fn f20_more_names_than_the_index_reaches_are_refused() {
        // The smallest blocks make it soon: 59 indexes of 62 blocks of one name.
        let frame = Frame { block_size: 512, ..FRAME };
        let names: Vec<_> = (0..59 * 62 + 1).map(|index| format!("{index:0250}")).collect();
        assert!(frame.build(11, 2, &entries(&names[..names.len() - 1])).is_some());
        assert!(frame.build(11, 2, &entries(&names)).is_none());
    }

    #[test]
    fn c19_entries_that_lie_about_their_length_are_refused() {
        let good = FRAME.build(11, 2, &entries(&names(3))).unwrap();
        assert_eq!(decode(&good).unwrap().len(), 5);
        for (at, value) in [(4, 0), (4, 10), (4, 8), (4, 13), (4, 1028), (6, 255), (16, 2000)] {
            let mut bad = good.clone();
            put(&mut bad, at, u16::try_from(value).unwrap().to_le_bytes());
            assert!(decode(&bad).is_err(), "{value} at {at}");
        }
        assert!(decode(&good[..1020]).is_err());
    }
}
