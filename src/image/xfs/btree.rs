//! The short B+trees of a group: free space by place and by size, inodes, inodes that are free.
//!
//! Blocks within a group have numbers of 32 bits here. A tree of ours is one leaf or, for inodes, a
//! root with leaves; trees of others may be deeper.
//!
//! Specification: Linux, `fs/xfs/libxfs/xfs_format.h` (`struct xfs_btree_block`).

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use super::format::{BLOCK, NULL, be16, be32, be64, field, is_sealed, narrow, put, seal, wide};

/// Where records, keys and pointers begin.
const BODY_AT: usize = 56;
const CHECKSUM_AT: usize = 52;
/// Room for records, or for keys and pointers.
const BODY: usize = BLOCK - BODY_AT;

/// What a block of a tree knows of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) magic: [u8; 4],
    /// By the first sector of the block in the file system.
    pub(super) sector: u64,
    pub(super) group: u32,
    pub(super) uuid: [u8; 16],
}

/// A block of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// 0 for leaves.
    pub(super) level: u16,
    /// The neighbours of the same level, by their block within the group.
    pub(super) left: u32,
    pub(super) right: u32,
    pub(super) count: u16,
    /// Records of a leaf, or keys and then pointers.
    body: Vec<u8>,
}

/// How many records of `size` bytes a leaf holds.
pub(super) const fn leaf_capacity(size: usize) -> usize {
    match size {
        8 => BODY / 8,
        _ => BODY / 16,
    }
}

/// A root holds as many keys and pointers of four bytes each.
const ROOT_CAPACITY: usize = BODY / 8;

impl Node {
    /// A leaf with these records.
    pub(super) fn leaf<const N: usize>(records: &[[u8; N]], (left, right): (u32, u32)) -> Self {
        let count = narrow(wide(records.len()));
        Self { level: 0, left, right, count, body: records.concat() }
    }

    /// A root over leaves, each with the first inode in it and its block.
    pub(super) fn root(children: &[(u32, u32)]) -> Self {
        let keys = children.iter().flat_map(|(key, _)| key.to_be_bytes());
        let mut body: Vec<u8> = keys.collect();
        body.resize(ROOT_CAPACITY.saturating_mul(4), 0);
        body.extend(children.iter().flat_map(|(_, block)| block.to_be_bytes()));
        let count = narrow(wide(children.len()));
        Self { level: 1, left: NULL, right: NULL, count, body }
    }

    /// The bytes of the block.
    pub(super) fn encode(&self, place: &Place) -> Vec<u8> {
        let mut bytes = vec![0; BLOCK];
        put(&mut bytes, 0, place.magic);
        put(&mut bytes, 4, self.level.to_be_bytes());
        put(&mut bytes, 6, self.count.to_be_bytes());
        put(&mut bytes, 8, self.left.to_be_bytes());
        put(&mut bytes, 12, self.right.to_be_bytes());
        put(&mut bytes, 16, place.sector.to_be_bytes());
        put(&mut bytes, 32, place.uuid);
        put(&mut bytes, 48, place.group.to_be_bytes());
        let room = bytes.get_mut(BODY_AT..).and_then(|rest| rest.get_mut(..self.body.len()));
        room.expect("planning fills no node beyond its room").copy_from_slice(&self.body);
        seal(&mut bytes, CHECKSUM_AT);
        bytes
    }

    /// Reads a block that should stand at `place`; or the rule that it breaks.
    pub(super) fn decode(bytes: &[u8], place: &Place) -> Result<Self, &'static str> {
        const CUT: &str = "a block of a tree is cut off";
        if field(bytes, 0) != Some(place.magic) {
            return Err("a block of a tree has a wrong magic number");
        }
        if !is_sealed(bytes, CHECKSUM_AT) {
            return Err("a block of a tree has a wrong checksum");
        }
        let is_here = be64(bytes, 16) == Some(place.sector)
            && field(bytes, 32) == Some(place.uuid)
            && be32(bytes, 48) == Some(place.group);
        if !is_here {
            return Err("a block of a tree belongs to another");
        }
        Ok(Self {
            level: be16(bytes, 4).ok_or(CUT)?,
            count: be16(bytes, 6).ok_or(CUT)?,
            left: be32(bytes, 8).ok_or(CUT)?,
            right: be32(bytes, 12).ok_or(CUT)?,
            body: bytes.get(BODY_AT..).ok_or(CUT)?.to_vec(),
        })
    }

    /// The records of a leaf; or the rule that is broken.
    pub(super) fn records<const N: usize>(&self) -> Result<Vec<[u8; N]>, &'static str> {
        let (all, _) = self.body.as_chunks::<N>();
        let records = all.get(..usize::from(self.count));
        Ok(records.ok_or("a leaf of a tree has too many records")?.to_vec())
    }

    /// The blocks below, of a node whose keys have `key_size` bytes; or the rule that is broken.
    pub(super) fn children(&self, key_size: usize) -> Result<Vec<u32>, &'static str> {
        let capacity = BODY.checked_div(key_size.saturating_add(4)).unwrap_or_default();
        let (all, _) =
            self.body.get(capacity.saturating_mul(key_size)..).unwrap_or_default().as_chunks::<4>();
        let count = usize::from(self.count);
        if count > capacity || count == 0 {
            return Err("a node of a tree has an impossible number of children");
        }
        Ok(all.iter().take(count).map(|bytes| u32::from_be_bytes(*bytes)).collect())
    }
}

/// Cuts `records` into the fewest leaves, all about equally full.
pub(super) fn leaves<T>(records: &[T], capacity: usize) -> Vec<&[T]> {
    let count = records.len().div_ceil(capacity).max(1);
    let (mut rest, mut cut) = (records, Vec::new());
    for left in (1..=count).rev() {
        let (head, tail) = rest.split_at(rest.len().div_ceil(left));
        cut.push(head);
        rest = tail;
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { magic: *b"IAB3", sector: 24, group: 1, uuid: [7; 16] };

    #[test]
    fn a_leaf_and_a_root_read_back_are_the_same_and_know_their_place() {
        let leaf = Node::leaf(&[[1; 16], [2; 16]], (NULL, 9));
        let bytes = leaf.encode(&PLACE);
        let read = Node::decode(&bytes, &PLACE).unwrap();
        assert_eq!(read.records::<16>().unwrap(), [[1; 16], [2; 16]]);
        assert_eq!((read.left, read.right, read.level), (NULL, 9, 0));
        assert!(Node::decode(&bytes, &Place { sector: 32, ..PLACE }).is_err());
        let root = Node::root(&[(96, 100), (9000, 101)]).encode(&PLACE);
        let read = Node::decode(&root, &PLACE).unwrap();
        assert_eq!(read.children(4).unwrap(), [100, 101]);
    }

    #[test]
    fn leaves_are_about_equally_full() {
        let records: Vec<u32> = (0..253).collect();
        let lengths: Vec<_> = leaves(&records, 252).iter().map(|leaf| leaf.len()).collect();
        assert_eq!(lengths, [127, 126]);
        assert_eq!(leaves::<u32>(&[], 252).len(), 1);
        assert_eq!(leaves(records.get(..252).unwrap(), 252).len(), 1);
    }
}
