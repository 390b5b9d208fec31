//! The numbers of xfs, version 5, and the fields that all its structures are made of: big-endian,
//! checked by CRC-32C.
//!
//! Specification: the "XFS Algorithms & Data Structures" of xfs-documentation
//! (<https://www.kernel.org/pub/linux/utils/fs/xfs/docs/xfs_filesystem_structure.pdf>) and Linux,
//! `fs/xfs/libxfs/xfs_format.h`, `xfs_da_format.h`.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use crate::image::crc32c::crc32c;
pub(super) use crate::image::fields::{be16, be32, be64, byte, field, put};
pub(super) use crate::image::kinds;

/// Bytes of a block, of a sector, of an inode.
pub(super) const BLOCK: usize = 4096;
pub(super) const BLOCK_SIZE: u64 = 4096;
pub(super) const SECTOR: usize = 512;
pub(super) const INODE_SIZE: usize = 512;
/// Sectors of a block, by which metadata knows its own place.
pub(super) const SECTORS_PER_BLOCK: u64 = 8;
pub(super) const INODES_PER_BLOCK: u64 = 8;
/// Inodes are made in chunks of this many, with a bit for each.
pub(super) const CHUNK_INODES: u64 = 64;
pub(super) const CHUNK_BLOCKS: u64 = 8;
/// Where the data fork begins in an inode, and the bytes that both forks share.
pub(super) const FORKS_AT: usize = 176;
pub(super) const FORKS_SIZE: usize = INODE_SIZE - FORKS_AT;
/// The longest run that one extent can tell, in blocks.
pub(super) const EXTENT_MAX: u64 = (1 << 21) - 1;
/// No block, no inode of a group.
pub(super) const NULL: u32 = u32::MAX;
/// Blocks of a directory from these on hold its index and the free space of its blocks.
pub(super) const INDEX_AT: u64 = 1 << 23;
pub(super) const FREE_AT: u64 = 1 << 24;
/// A link's target is at most this long, in bytes.
pub(super) const TARGET_MAX: usize = 1024;
/// Bytes of a block behind the header of a link's target or of an attribute's value.
pub(super) const PAYLOAD: usize = BLOCK - 56;

/// What a structure begins with.
pub(super) mod magic {
    pub(in super::super) const SUPERBLOCK: [u8; 4] = *b"XFSB";
    pub(in super::super) const FREE_SPACE: [u8; 4] = *b"XAGF";
    pub(in super::super) const INODES: [u8; 4] = *b"XAGI";
    pub(in super::super) const FREE_LIST: [u8; 4] = *b"XAFL";
    pub(in super::super) const BY_BLOCK: [u8; 4] = *b"AB3B";
    pub(in super::super) const BY_COUNT: [u8; 4] = *b"AB3C";
    pub(in super::super) const INODE_TREE: [u8; 4] = *b"IAB3";
    pub(in super::super) const FREE_INODE_TREE: [u8; 4] = *b"FIB3";
    pub(in super::super) const INODE: [u8; 2] = *b"IN";
    pub(in super::super) const DIRECTORY_BLOCK: [u8; 4] = *b"XDB3";
    pub(in super::super) const DIRECTORY_DATA: [u8; 4] = *b"XDD3";
    pub(in super::super) const DIRECTORY_FREE: [u8; 4] = *b"XDF3";
    pub(in super::super) const LINK: [u8; 4] = *b"XSLM";
    pub(in super::super) const VALUE: [u8; 4] = *b"XARM";
    pub(in super::super) const LEAF_ALONE: [u8; 2] = [0x3D, 0xF1];
    pub(in super::super) const LEAF: [u8; 2] = [0x3D, 0xFF];
    pub(in super::super) const NODE: [u8; 2] = [0x3E, 0xBE];
    pub(in super::super) const ATTRIBUTE_LEAF: [u8; 2] = [0x3B, 0xEE];
}

/// Narrows a number that is known to be small.
pub(super) fn narrow<T: TryFrom<u64>>(value: u64) -> T {
    let narrowed = T::try_from(value).ok();
    narrowed.expect("planning refuses what exceeds its field")
}

/// Lengths and places in memory as numbers of the format.
pub(super) fn wide(value: usize) -> u64 {
    u64::try_from(value).expect("no memory is larger than 2^64 bytes")
}

/// The checksum of `bytes`, with the four bytes of the checksum at `at` taken as zero.
fn checksum(bytes: &[u8], at: usize) -> Option<u32> {
    let (head, rest) = bytes.split_at_checked(at)?;
    let tail = rest.get(4..)?;
    Some(!crc32c(crc32c(crc32c(u32::MAX, head), &[0; 4]), tail))
}

/// Puts the checksum of all of `bytes` at `at`.
pub(super) fn seal(bytes: &mut [u8], at: usize) {
    let checksum = checksum(bytes, at).expect("a structure of ours is long enough");
    put(bytes, at, checksum.to_le_bytes());
}

/// Whether the checksum at `at` is right. A fuzzer would get no further, so there it always is.
pub(super) fn is_sealed(bytes: &[u8], at: usize) -> bool {
    cfg!(fuzzing)
        || checksum(bytes, at).is_some_and(|right| field(bytes, at) == Some(right.to_le_bytes()))
}

/// Where blocks of directories, attributes and links keep what they know of themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) checksum_at: usize,
    sector_at: usize,
    uuid_at: usize,
    owner_at: usize,
}

impl Header {
    /// The header of a block, by its magic number.
    pub(super) fn of(block: &[u8]) -> Option<Self> {
        match field::<4>(block, 0)? {
            magic::DIRECTORY_BLOCK | magic::DIRECTORY_DATA | magic::DIRECTORY_FREE => {
                return Some(Self { checksum_at: 4, sector_at: 8, uuid_at: 24, owner_at: 40 });
            }
            magic::LINK | magic::VALUE => {
                return Some(Self { checksum_at: 12, sector_at: 40, uuid_at: 16, owner_at: 32 });
            }
            _ => {}
        }
        match field::<2>(block, 8)? {
            magic::LEAF_ALONE | magic::LEAF | magic::NODE | magic::ATTRIBUTE_LEAF => {
                Some(Self { checksum_at: 12, sector_at: 16, uuid_at: 32, owner_at: 48 })
            }
            _ => None,
        }
    }
}

/// Tells a block of a directory, a link or an attribute where it stands and whose it is.
pub(super) fn stamp(block: &mut [u8], sector: u64, owner: u64, uuid: [u8; 16]) {
    let header = Header::of(block).expect("blocks of ours have a magic number");
    put(block, header.sector_at, sector.to_be_bytes());
    put(block, header.uuid_at, uuid);
    put(block, header.owner_at, owner.to_be_bytes());
    seal(block, header.checksum_at);
}

/// Whether [`stamp`] could have made the block so; or the rule that it breaks.
pub(super) fn check_stamp(
    block: &[u8],
    sector: u64,
    owner: u64,
    uuid: [u8; 16],
) -> Result<(), &'static str> {
    let header = Header::of(block).ok_or("a block has an unknown magic number")?;
    if !is_sealed(block, header.checksum_at) {
        return Err("a block has a wrong checksum");
    }
    let is_here = be64(block, header.sector_at) == Some(sector)
        && field(block, header.uuid_at) == Some(uuid)
        && be64(block, header.owner_at) == Some(owner);
    if is_here { Ok(()) } else { Err("a block belongs to something else") }
}

/// The hash by which directories and attributes are sorted.
pub(super) fn hash(name: &[u8]) -> u32 {
    let (fours, rest) = name.as_chunks::<4>();
    let mut hash = 0_u32;
    for &[a, b, c, d] in fours {
        let word = u32::from(a) << 21 ^ u32::from(b) << 14 ^ u32::from(c) << 7 ^ u32::from(d);
        hash = word ^ hash.rotate_left(28);
    }
    match *rest {
        [a, b, c] => u32::from(a) << 14 ^ u32::from(b) << 7 ^ u32::from(c) ^ hash.rotate_left(21),
        [a, b] => u32::from(a) << 7 ^ u32::from(b) ^ hash.rotate_left(14),
        [a] => u32::from(a) ^ hash.rotate_left(7),
        _ => hash,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hash_as_mkfs_hashes_them() {
        // From `xfs_db -c 'hash NAME'`.
        let cases = [(".", 0x2e), ("passwd", 0x1e7c_f862), ("configuration", 0x7168_5bcb)];
        for (name, expected) in cases {
            assert_eq!(hash(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn a_changed_byte_breaks_the_seal() {
        let mut bytes = vec![7; 100];
        seal(&mut bytes, 12);
        assert!(is_sealed(&bytes, 12));
        *bytes.get_mut(40).unwrap() ^= 1;
        assert!(!is_sealed(&bytes, 12));
        assert!(!is_sealed(bytes.get(..14).unwrap(), 12));
    }
}
