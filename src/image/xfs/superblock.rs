//! The superblock, one sector at the start of each group.
//!
//! Specification: Linux, `fs/xfs/libxfs/xfs_format.h` (`struct xfs_dsb`).

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use super::format::{SECTOR, be16, be32, be64, byte, field, is_sealed, magic, narrow, put, seal};
use super::geometry::{CHUNK_ALIGNMENT, Geometry, LOG_BLOCKS};

const CHECKSUM_AT: usize = 224;

/// Version 5 with links of 32 bits, aligned inodes, version 2 of log and directories, unwritten
/// extents, further features; attributes.
const VERSION: u16 = 0xB4A5 | 0x10;
/// Attributes of version 2, lazy counters, project ids of 32 bits, checksums.
const FEATURES_2: u32 = 0x18A;

/// Features that whoever writes must know.
pub(super) mod read_only {
    pub(in super::super) const FREE_INODE_TREE: u32 = 0x1;
    pub(in super::super) const INODE_TREE_COUNTS: u32 = 0x8;
}

/// Features that whoever reads must know.
pub(super) mod incompatible {
    pub(in super::super) const TYPES: u32 = 0x1;
    pub(in super::super) const SPARSE_INODES: u32 = 0x2;
    pub(in super::super) const BIG_TIMES: u32 = 0x8;
}

/// The superblock, as far as it is not constant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Superblock {
    pub(super) geometry: Geometry,
    pub(super) uuid: [u8; 16],
    /// The first block of the log, as on disk.
    pub(super) log_start: u64,
    pub(super) log_blocks: u64,
    /// The root, and the two inodes of a real-time device that is not there.
    pub(super) roots: [u64; 3],
    pub(super) inodes: u64,
    pub(super) free_inodes: u64,
    pub(super) free_blocks: u64,
    pub(super) read_only: u32,
    pub(super) incompatible: u32,
}

/// What [`Superblock::decode`] says of a sector.
#[derive(Debug)]
pub(super) enum Refusal {
    Broken(&'static str),
    Unsupported(&'static str),
}

impl Superblock {
    /// The bytes of each copy.
    pub(super) fn encode(&self) -> [u8; SECTOR] {
        let mut bytes = [0; SECTOR];
        let Geometry { blocks, group_blocks, groups } = self.geometry;
        let [root, bitmap, summary] = self.roots;
        put(&mut bytes, 0, magic::SUPERBLOCK);
        put(&mut bytes, 4, 4096_u32.to_be_bytes());
        let longs = [
            (8, blocks),
            (48, self.log_start),
            (56, root),
            (64, bitmap),
            (72, summary),
            (128, self.inodes),
            (136, self.free_inodes),
            (144, self.free_blocks),
        ];
        longs.into_iter().for_each(|(at, value)| put(&mut bytes, at, value.to_be_bytes()));
        put(&mut bytes, 32, self.uuid);
        let words = [
            (80, 1), // blocks of a real-time extent
            (84, narrow(group_blocks)),
            (88, narrow(groups)),
            (96, narrow(LOG_BLOCKS)),
            (180, narrow(CHUNK_ALIGNMENT)),
            (196, 1), // the log is not striped
            (200, FEATURES_2),
            (204, FEATURES_2),
            (212, self.read_only),
            (216, self.incompatible),
        ];
        words
            .into_iter()
            .for_each(|(at, value): (_, u32)| put(&mut bytes, at, value.to_be_bytes()));
        for (at, value) in [(100, VERSION), (102, 512), (104, 512), (106, 8)] {
            put(&mut bytes, at, value.to_be_bytes());
        }
        // Logarithms of block, sector, inode, inodes of a block, blocks of a group; then the percent
        // of space that inodes may take.
        let bits = narrow(self.geometry.group_bits().into());
        put(&mut bytes, 120, [12, 9, 9, 3, bits, 0, 0, 25]);
        seal(&mut bytes, CHECKSUM_AT);
        bytes
    }

    /// Reads a superblock.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        if field(bytes, 0) != Some(magic::SUPERBLOCK) {
            return Err(Refusal::Broken("it has no magic number"));
        }
        if be16(bytes, 100).unwrap_or_default() & 0xF != 5 {
            return Err(Refusal::Unsupported("a version other than 5"));
        }
        if !is_sealed(bytes, CHECKSUM_AT) {
            return Err(Refusal::Broken("its checksum is wrong"));
        }
        let found = Self::fields(bytes).ok_or(Refusal::Broken("it is cut off"))?;
        found.check_features(bytes)?;
        found.check_sizes(bytes)?;
        Ok(found)
    }

    fn fields(bytes: &[u8]) -> Option<Self> {
        let long = |at| be64(bytes, at);
        Some(Self {
            geometry: Geometry {
                blocks: long(8)?,
                group_blocks: be32(bytes, 84)?.into(),
                groups: be32(bytes, 88)?.into(),
            },
            uuid: field(bytes, 32)?,
            log_start: long(48)?,
            log_blocks: be32(bytes, 96)?.into(),
            roots: [long(56)?, long(64)?, long(72)?],
            inodes: long(128)?,
            free_inodes: long(136)?,
            free_blocks: long(144)?,
            read_only: be32(bytes, 212)?,
            incompatible: be32(bytes, 216)?,
        })
    }

    fn check_features(&self, bytes: &[u8]) -> Result<(), Refusal> {
        let known = read_only::FREE_INODE_TREE | read_only::INODE_TREE_COUNTS;
        if self.read_only & !known != 0 {
            return Err(Refusal::Unsupported("shared blocks, or another feature of writers"));
        }
        let known = incompatible::TYPES | incompatible::SPARSE_INODES | incompatible::BIG_TIMES;
        if self.incompatible & !known != 0 {
            return Err(Refusal::Unsupported("a feature of readers that is not known"));
        }
        if self.incompatible & incompatible::TYPES == 0 {
            return Err(Refusal::Unsupported("directories without types"));
        }
        if be32(bytes, 220) != Some(0) {
            return Err(Refusal::Unsupported("a feature of the log"));
        }
        Ok(())
    }

    fn check_sizes(&self, bytes: &[u8]) -> Result<(), Refusal> {
        let usual = be32(bytes, 4) == Some(4096)
            && be16(bytes, 102) == Some(512)
            && be16(bytes, 104) == Some(512)
            && byte(bytes, 192) == Some(0);
        if !usual {
            return Err(Refusal::Unsupported("other sizes of blocks, sectors or inodes"));
        }
        if be64(bytes, 24) != Some(0) || self.log_start == 0 {
            return Err(Refusal::Unsupported("a device for the log or for real-time files"));
        }
        let Geometry { blocks, group_blocks, groups } = self.geometry;
        let fits = (64..=1 << 28).contains(&group_blocks)
            && blocks.div_ceil(group_blocks) == groups
            && self.geometry.group_length(groups.saturating_sub(1)) >= 16
            && byte(bytes, 124).map(u32::from) == Some(self.geometry.group_bits());
        if fits { Ok(()) } else { Err(Refusal::Broken("the sizes of its groups do not fit")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_superblock_read_back_is_the_same_and_others_are_refused() {
        let superblock = Superblock {
            geometry: Geometry::new(102_400).unwrap(),
            uuid: [7; 16],
            log_start: 65_545,
            log_blocks: LOG_BLOCKS,
            roots: [96, 97, 98],
            inodes: 128,
            free_inodes: 3,
            free_blocks: 4,
            read_only: read_only::FREE_INODE_TREE,
            incompatible: incompatible::TYPES | incompatible::BIG_TIMES,
        };
        let bytes = superblock.encode();
        assert_eq!(Superblock::decode(&bytes).unwrap(), superblock);
        let with = |at: usize, value: u8| {
            let mut bytes = bytes;
            *bytes.get_mut(at).unwrap() = value;
            seal(&mut bytes, CHECKSUM_AT);
            Superblock::decode(&bytes)
        };
        assert!(matches!(with(0, b'x'), Err(Refusal::Broken(_))));
        assert!(matches!(with(101, 0xB4), Err(Refusal::Unsupported(_))));
        assert!(matches!(with(215, 0x5), Err(Refusal::Unsupported(_))));
        assert!(matches!(with(219, 0x29), Err(Refusal::Unsupported(_))));
        assert!(matches!(with(91, 3), Err(Refusal::Broken(_))));
        let mut damaged = bytes;
        damaged[40] ^= 1;
        assert!(matches!(Superblock::decode(&damaged), Err(Refusal::Broken(_))));
    }
}
