//! Reads extended attributes, in an inode or in blocks, that somebody else may have written.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use super::attributes::{ENTRIES_AT, IN_LEAF, LISTS, PREFIXES, TRUSTED, VALUE_MAX};
use super::format::{BLOCK, PAYLOAD, be16, be32, byte, field, hash, magic, wide};

const CUT: &str = "its attributes are cut off";

/// Attributes by their full names.
pub(super) type Attributes = BTreeMap<Vec<u8>, Vec<u8>>;

/// The reverse of what the writer does to it.
fn list_from_disk(disk: &[u8]) -> Option<Vec<u8>> {
    let mut value = 2_u32.to_le_bytes().to_vec();
    let (entries, []) = disk.get(4..)?.as_chunks::<12>() else { return None };
    if be32(disk, 0).and_then(|count| usize::try_from(count).ok()) != Some(entries.len()) {
        return None;
    }
    for entry in entries {
        value.extend(u16::try_from(be32(entry, 0)?).ok()?.to_le_bytes());
        value.extend(be16(entry, 8)?.to_le_bytes());
        value.extend(be32(entry, 4)?.to_le_bytes());
    }
    Some(value)
}

fn enter(
    found: &mut Attributes,
    name: &[u8],
    flags: u8,
    value: Vec<u8>,
) -> Result<(), &'static str> {
    let list = LISTS.iter().find(|(_, own)| flags == TRUSTED && *own == name);
    let (name, value) = match list {
        Some((full, _)) => {
            let value = list_from_disk(&value).ok_or("an access control list is malformed")?;
            (full.to_vec(), value)
        }
        None => {
            let prefix = PREFIXES.iter().find(|(_, flag)| *flag == flags);
            let (prefix, _) = prefix.ok_or("an attribute is of no known kind")?;
            ([prefix, name].concat(), value)
        }
    };
    match found.insert(name, value) {
        None => Ok(()),
        Some(_) => Err("an attribute stands there twice"),
    }
}

/// Reads attributes in an inode; or the rule that they break.
pub(super) fn read_local(bytes: &[u8]) -> Result<Attributes, &'static str> {
    let size = usize::from(be16(bytes, 0).ok_or(CUT)?);
    let mut rest = bytes.get(4..size).ok_or(CUT)?;
    let mut found = Attributes::new();
    for _ in 0..byte(bytes, 2).ok_or(CUT)? {
        let name_length = usize::from(byte(rest, 0).ok_or(CUT)?);
        let value_length = usize::from(byte(rest, 1).ok_or(CUT)?);
        let flags = byte(rest, 2).ok_or(CUT)?;
        let (name, behind) = rest.get(3..).ok_or(CUT)?.split_at_checked(name_length).ok_or(CUT)?;
        let (value, behind) = behind.split_at_checked(value_length).ok_or(CUT)?;
        enter(&mut found, name, flags, value.to_vec())?;
        rest = behind;
    }
    if rest.is_empty() { Ok(found) } else { Err("its attributes have bytes behind them") }
}

/// Reads attributes in blocks; `block` gives the block at a place of the fork.
pub(super) fn read_blocks<E: From<&'static str>>(
    block: &mut dyn FnMut(u64) -> Result<Vec<u8>, E>,
) -> Result<Attributes, E> {
    let leaf = block(0)?;
    if field(&leaf, 8) != Some(magic::ATTRIBUTE_LEAF) {
        return Err("its attributes are not in one leaf".into());
    }
    let mut found = Attributes::new();
    let (entries, _) = leaf.get(ENTRIES_AT..).ok_or(CUT)?.as_chunks::<8>();
    let count = usize::from(be16(&leaf, 56).ok_or(CUT)?);
    for entry in entries.get(..count).ok_or(CUT)? {
        let flags = byte(entry, 6).ok_or(CUT)?;
        let at = usize::from(be16(entry, 4).ok_or(CUT)?);
        let rest = leaf.get(at..).ok_or(CUT)?;
        let is_in_leaf = flags & IN_LEAF != 0;
        let (length_at, name_at) = if is_in_leaf { (2, 3) } else { (8, 9) };
        let length = usize::from(byte(rest, length_at).ok_or(CUT)?);
        let (name, behind) = rest.get(name_at..).ok_or(CUT)?.split_at_checked(length).ok_or(CUT)?;
        if be32(entry, 0) != Some(hash(name)) {
            return Err("an attribute has a wrong hash".into());
        }
        let value = if is_in_leaf {
            behind.get(..usize::from(be16(rest, 0).ok_or(CUT)?)).ok_or(CUT)?.to_vec()
        } else {
            read_value(be32(rest, 0).ok_or(CUT)?, be32(rest, 4).ok_or(CUT)?, block)?
        };
        enter(&mut found, name, flags & !IN_LEAF, value)?;
    }
    Ok(found)
}

fn read_value<E: From<&'static str>>(
    first: u32,
    length: u32,
    block: &mut dyn FnMut(u64) -> Result<Vec<u8>, E>,
) -> Result<Vec<u8>, E> {
    let length = usize::try_from(length).ok().filter(|&length| length <= VALUE_MAX);
    let length = length.ok_or("the value of an attribute is too long")?;
    let (mut value, mut at) = (Vec::new(), u64::from(first));
    while value.len() < length {
        let bytes = block(at)?;
        let count = length.saturating_sub(value.len()).min(PAYLOAD);
        let is_next = field(&bytes, 0) == Some(magic::VALUE)
            && be32(&bytes, 4).map(u64::from) == Some(wide(value.len()))
            && be32(&bytes, 8).map(u64::from) == Some(wide(count));
        if !is_next {
            return Err("the value of an attribute is in wrong blocks".into());
        }
        let payload = bytes.get(BLOCK.saturating_sub(PAYLOAD)..).ok_or(CUT)?;
        value.extend_from_slice(payload.get(..count).ok_or(CUT)?);
        at = at.saturating_add(1);
    }
    Ok(value)
}
