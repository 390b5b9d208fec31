//! Extended attributes: in the inode where there is room, else in one block of their own.
//!
//! Names begin with a prefix that is stored as a number; access control lists change their form.
//! Specification: <https://docs.kernel.org/filesystems/ext4/attributes.html>.

use std::collections::BTreeMap;

use super::acl;
use super::checksum::Seed;
use super::format::{ATTRIBUTES_AT, INODE_SIZE, field, le16, le32, put};
use crate::image::crc32c::crc32c;

/// Marks attributes in an inode and in a block.
const MAGIC: u32 = 0xEA02_0000;
/// Bytes of an entry before its name, and of the header of a block.
const ENTRY_HEADER: usize = 16;
const BLOCK_HEADER: usize = 32;
/// Bytes for entries and values in an inode: what is left behind the magic number.
const IN_INODE: usize = INODE_SIZE - ATTRIBUTES_AT - 4;
/// Entries end with a zero word.
const END: usize = 4;

/// The prefixes by number. The two lists have no rest of a name.
const PREFIXES: [(u8, &[u8]); 6] = [
    (2, b"system.posix_acl_access"),
    (3, b"system.posix_acl_default"),
    (1, b"user."),
    (4, b"trusted."),
    (6, b"security."),
    (7, b"system."),
];

/// An attribute as it stands on disk. The order is the one that blocks are sorted by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Attribute {
    prefix: u8,
    length: usize,
    rest: Vec<u8>,
    value: Vec<u8>,
}

impl Attribute {
    fn new(name: &[u8], value: &[u8]) -> Result<Self, String> {
        let text = crate::tree::escape(name);
        let known = PREFIXES.iter().find(|(number, prefix)| {
            if *number == 2 || *number == 3 { name == *prefix } else { name.starts_with(prefix) }
        });
        let (prefix, rest) = known
            .map(|(number, prefix)| (*number, name[prefix.len()..].to_vec()))
            .ok_or_else(|| format!("the attribute {text} is in no namespace that ext4 knows"))?;
        if rest.len() > 255 || (rest.is_empty() && !matches!(prefix, 2 | 3)) {
            return Err(format!("the name of the attribute {text} has 0 or more than 255 bytes"));
        }
        let value = match prefix {
            2 | 3 => acl::to_disk(value).ok_or_else(|| format!("{text} is malformed"))?,
            _ => value.to_vec(),
        };
        Ok(Self { prefix, length: rest.len(), rest, value })
    }

    fn entry_size(&self) -> usize {
        (ENTRY_HEADER + self.rest.len()).next_multiple_of(4)
    }

    fn value_size(&self) -> usize {
        self.value.len().next_multiple_of(4)
    }

    /// The hash by which the kernel tells whether two blocks hold the same.
    fn hash(&self) -> u32 {
        let name =
            self.rest.iter().fold(0_u32, |hash, &byte| hash.rotate_left(5) ^ u32::from(byte));
        self.value.chunks(4).fold(name, |hash, chunk| {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            hash.rotate_left(16) ^ u32::from_le_bytes(word)
        })
    }
}

/// Attributes of one file, distributed over the two places.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Attributes {
    /// What stands in the inode, from [`ATTRIBUTES_AT`] on; empty when there is nothing.
    pub(super) in_inode: Vec<u8>,
    /// The block without its checksum, which depends on its place.
    pub(super) block: Option<Vec<u8>>,
}

impl Attributes {
    /// Distributes attributes: in the order of their kind and name each goes to the inode if it
    /// fits there, else to the block.
    ///
    /// # Errors
    /// A sentence naming the attribute and the limit.
    pub(super) fn build(
        attributes: &BTreeMap<Vec<u8>, Vec<u8>>,
        block_size: usize,
    ) -> Result<Self, String> {
        let (mut inner, mut outer) = (Vec::new(), Vec::new());
        let (mut inner_room, mut outer_room) = (IN_INODE - END, block_size - BLOCK_HEADER - END);
        let parsed = attributes.iter().map(|(name, value)| Attribute::new(name, value));
        let mut sorted = parsed.collect::<Result<Vec<_>, _>>()?;
        sorted.sort();
        for attribute in sorted {
            let size = attribute.entry_size() + attribute.value_size();
            if size <= inner_room {
                inner_room -= size;
                inner.push(attribute);
            } else if size <= outer_room {
                outer_room -= size;
                outer.push(attribute);
            } else {
                let rule = "its attributes take more than the inode and one block of";
                return Err(format!("{rule} {block_size} bytes"));
            }
        }
        let in_inode = if inner.is_empty() { Vec::new() } else { inode_part(&inner) };
        Ok(Self { in_inode, block: (!outer.is_empty()).then(|| block(&outer, block_size)) })
    }
}

fn inode_part(attributes: &[Attribute]) -> Vec<u8> {
    let mut bytes = vec![0; 4 + IN_INODE];
    put(&mut bytes, 0, MAGIC.to_le_bytes());
    fill(&mut bytes[4..], 0, attributes, |_| 0);
    bytes
}

fn block(attributes: &[Attribute], block_size: usize) -> Vec<u8> {
    let mut bytes = vec![0; block_size];
    put(&mut bytes, 0, MAGIC.to_le_bytes());
    put(&mut bytes, 4, 1_u32.to_le_bytes()); // files that share this block
    put(&mut bytes, 8, 1_u32.to_le_bytes()); // blocks
    let sum = |hash: u32, attribute: &Attribute| hash.rotate_left(16) ^ attribute.hash();
    put(&mut bytes, 12, attributes.iter().fold(0, sum).to_le_bytes());
    fill(&mut bytes, BLOCK_HEADER, attributes, Attribute::hash);
    bytes
}

/// Writes entries from `start` on and their values from the end backwards.
fn fill(bytes: &mut [u8], start: usize, attributes: &[Attribute], hash: fn(&Attribute) -> u32) {
    let (mut at, mut value_at) = (start, bytes.len());
    for attribute in attributes {
        value_at -= attribute.value_size();
        let size = u32::try_from(attribute.value.len()).expect("values fit into a block");
        let place = if attribute.value.is_empty() { 0 } else { value_at };
        let offset = u16::try_from(place).expect("blocks are at most 4096 bytes");
        bytes[at] = u8::try_from(attribute.rest.len()).expect("names are at most 255 bytes");
        bytes[at + 1] = attribute.prefix;
        put(bytes, at + 2, offset.to_le_bytes());
        put(bytes, at + 8, size.to_le_bytes());
        put(bytes, at + 12, hash(attribute).to_le_bytes());
        bytes[at + ENTRY_HEADER..][..attribute.rest.len()].copy_from_slice(&attribute.rest);
        bytes[value_at..][..attribute.value.len()].copy_from_slice(&attribute.value);
        at += attribute.entry_size();
    }
}

/// The checksum of an attribute block that stands at block number `place`.
fn checksum(block: &[u8], place: u64, seed: Seed) -> u32 {
    let crc = crc32c(seed.0, &place.to_le_bytes());
    let crc = crc32c(crc, block.get(..16).unwrap_or_default());
    let crc = crc32c(crc, &[0; 4]);
    crc32c(crc, block.get(20..).unwrap_or_default())
}

/// Writes the checksum into a block of ours.
pub(super) fn seal(block: &mut [u8], place: u64, seed: Seed) {
    let checksum = checksum(block, place, seed);
    put(block, 16, checksum.to_le_bytes());
}

/// Whether the checksum of an attribute block is right.
pub(super) fn is_intact(block: &[u8], place: u64, seed: Seed) -> bool {
    le32(block, 16) == Some(checksum(block, place, seed))
}

/// Reads the attributes behind the fixed part of an inode; nothing when the magic is not there.
///
/// # Errors
/// The rule that an entry breaks.
pub(super) fn decode_inode(bytes: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, &'static str> {
    if le32(bytes, 0) != Some(MAGIC) {
        return Ok(BTreeMap::new());
    }
    decode(bytes.get(4..).unwrap_or_default(), 0)
}

/// Reads the attributes of a block.
///
/// # Errors
/// The rule that the header or an entry breaks.
pub(super) fn decode_block(bytes: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, &'static str> {
    if le32(bytes, 0) != Some(MAGIC) || le32(bytes, 8) != Some(1) {
        return Err("an attribute block has no magic number");
    }
    decode(bytes, BLOCK_HEADER)
}

fn decode(bytes: &[u8], start: usize) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, &'static str> {
    const SHORT: &str = "an attribute is cut off";
    let mut found = BTreeMap::new();
    let mut rest = bytes.get(start..).ok_or(SHORT)?;
    while le32(rest, 0).ok_or(SHORT)? != 0 {
        let [name_length, prefix] = field(rest, 0).ok_or(SHORT)?;
        let name_end = ENTRY_HEADER.saturating_add(usize::from(name_length));
        let name = full_name(prefix, rest.get(ENTRY_HEADER..name_end).ok_or(SHORT)?);
        let name = name.ok_or("an attribute is in an unknown namespace")?;
        if le32(rest, 4) != Some(0) {
            return Err("an attribute's value stands in an inode of its own");
        }
        let at = usize::from(le16(rest, 2).ok_or(SHORT)?);
        let size = le32(rest, 8).and_then(|size| usize::try_from(size).ok()).ok_or(SHORT)?;
        let end = at.checked_add(size).ok_or(SHORT)?;
        let value = if size == 0 { &[] } else { bytes.get(at..end).ok_or(SHORT)? };
        let value = match prefix {
            2 | 3 => acl::from_disk(value).ok_or("an access control list is malformed")?,
            _ => value.to_vec(),
        };
        if found.insert(name, value).is_some() {
            return Err("an attribute stands there twice");
        }
        rest = rest.get(name_end.next_multiple_of(4)..).ok_or(SHORT)?;
    }
    Ok(found)
}

fn full_name(prefix: u8, rest: &[u8]) -> Option<Vec<u8>> {
    let (_, start) = PREFIXES.iter().find(|(number, _)| *number == prefix)?;
    let is_list = matches!(prefix, 2 | 3);
    (is_list == rest.is_empty() && !rest.contains(&0)).then(|| [start, rest].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[(&str, usize)]) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let pair = |&(name, size): &(&str, usize)| (name.as_bytes().to_vec(), vec![7; size]);
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn small_attributes_stand_in_the_inode_and_large_ones_in_a_block() {
        let all = set(&[("security.capability", 20), ("user.large", 900), ("user.b", 1)]);
        let built = Attributes::build(&all, 1024).unwrap();
        let mut found = decode_inode(&built.in_inode).unwrap();
        assert_eq!(found, set(&[("security.capability", 20), ("user.b", 1)]));
        let mut block = built.block.unwrap();
        seal(&mut block, 9, Seed(3));
        assert!(is_intact(&block, 9, Seed(3)));
        assert!(!is_intact(&block, 8, Seed(3)));
        found.extend(decode_block(&block).unwrap());
        assert_eq!(found, all);
    }

    #[test]
    fn f20_what_no_place_can_hold_is_refused_by_name() {
        // 32 bytes of header, 16 + 4 of entry, 4 of end.
        assert!(Attributes::build(&set(&[("user.big", 1024 - 56)]), 1024).is_ok());
        let cases = [
            (set(&[("user.big", 1024 - 55)]), "more than the inode and one block of 1024 bytes"),
            (set(&[("btrfs.label", 1)]), "btrfs.label is in no namespace"),
            (set(&[("user.", 1)]), "user. has 0 or more than 255 bytes"),
            (set(&[("system.posix_acl_access", 3)]), "system.posix_acl_access is malformed"),
        ];
        for (attributes, rule) in cases {
            let error = Attributes::build(&attributes, 1024).unwrap_err();
            assert!(error.contains(rule), "{error}");
        }
    }

    #[test]
    fn c19_values_beyond_the_block_are_refused() {
        let good = Attributes::build(&set(&[("user.large", 500)]), 1024).unwrap().block.unwrap();
        assert_eq!(decode_block(&good).unwrap().len(), 1);
        for (at, value) in [(2, 0), (8, 2), (33, 99), (34, 1000), (36, 1), (40, u16::MAX)] {
            let mut bad = good.clone();
            put(&mut bad, at, value.to_le_bytes());
            assert!(decode_block(&bad).is_err(), "{value} at {at}");
        }
    }
}
