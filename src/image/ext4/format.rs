//! The structures of ext4 as they stand on disk: superblock, group descriptor, inode.
//!
//! Each is a plain struct with `encode` and `decode`, so that writer and reader cannot disagree
//! about a place. Specification: <https://docs.kernel.org/filesystems/ext4/>; field names are the
//! kernel's without their prefix. Nothing here judges values; that is the reader's work.

use super::checksum::Seed;
use crate::image::crc32c::crc32c;
pub(super) use crate::image::fields::{field, le16, le32, put};
pub(super) use crate::image::kinds;

/// Bytes of the superblock.
pub(super) const SUPERBLOCK_SIZE: usize = 1024;
/// Where the first superblock stands, whatever the size of a block.
pub(super) const SUPERBLOCK_OFFSET: u64 = 1024;
/// Bytes of an inode in our file systems: room for times beyond 2038 and small attributes.
pub(super) const INODE_SIZE: usize = 256;
/// Bytes of an inode's second part that have a fixed meaning.
pub(super) const EXTRA_SIZE: u16 = 32;
/// Where attributes begin within an inode of ours.
pub(super) const ATTRIBUTES_AT: usize = 160;
/// Bytes of a group descriptor without the `64bit` feature.
pub(super) const DESCRIPTOR_SIZE: usize = 32;
/// The number of the root directory's inode.
pub(super) const ROOT_INODE: u32 = 2;
/// The inode of blocks that a disk cannot hold anything in: never of an image, but some makers give it
/// times.
pub(super) const BAD_BLOCKS_INODE: u32 = 1;
/// The inode that holds what is reserved for more descriptors, where a file system may grow.
pub(super) const RESIZE_INODE: u32 = 7;
/// Which of the block numbers of an inode without extents leads to those that lead to others.
pub(super) const DOUBLY_INDIRECT: usize = 13;
/// The number of the journal's inode.
pub(super) const JOURNAL_INODE: u32 = 8;
/// The first inode that is not reserved: by custom that of `lost+found`.
pub(super) const FIRST_INODE: u32 = 11;
/// More hard links than this no file may have.
pub(super) const LINK_MAX: u32 = 65_000;
/// The checksum's place in the superblock, its last field.
const SUPERBLOCK_CHECKSUM_AT: usize = 1020;
const MAGIC: u16 = 0xEF53;

/// Features that an old kernel may ignore.
pub(super) mod compatible {
    pub(in super::super) const HAS_JOURNAL: u32 = 0x4;
    pub(in super::super) const EXT_ATTR: u32 = 0x8;
    pub(in super::super) const RESIZE_INODE: u32 = 0x10;
    pub(in super::super) const DIR_INDEX: u32 = 0x20;
}

/// Features that whoever reads must know.
pub(super) mod incompatible {
    pub(in super::super) const FILETYPE: u32 = 0x2;
    pub(in super::super) const EXTENTS: u32 = 0x40;
    pub(in super::super) const BITS_64: u32 = 0x80;
    pub(in super::super) const FLEX_BG: u32 = 0x200;
    pub(in super::super) const CSUM_SEED: u32 = 0x2000;
    pub(in super::super) const LARGE_DIR: u32 = 0x4000;
}

/// Features that whoever writes must know.
pub(super) mod read_only {
    pub(in super::super) const SPARSE_SUPER: u32 = 0x1;
    pub(in super::super) const LARGE_FILE: u32 = 0x2;
    pub(in super::super) const HUGE_FILE: u32 = 0x8;
    pub(in super::super) const DIR_NLINK: u32 = 0x20;
    pub(in super::super) const EXTRA_ISIZE: u32 = 0x40;
    pub(in super::super) const METADATA_CSUM: u32 = 0x400;
}

/// Flags of an inode.
pub(super) mod flags {
    pub(in super::super) const INDEX: u32 = 0x1000;
    pub(in super::super) const EXTENTS: u32 = 0x8_0000;
}

/// Splits into the upper and the lower 32 bits.
pub(super) const fn halves(value: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = value.to_be_bytes();
    (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
}

/// Joins what [`halves`] split.
pub(super) const fn join(high: u32, low: u32) -> u64 {
    let ([a, b, c, d], [e, f, g, h]) = (high.to_be_bytes(), low.to_be_bytes());
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// The superblock, as far as it is not constant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Superblock {
    pub(super) inodes_count: u32,
    pub(super) blocks_count: u64,
    pub(super) reserved_blocks: u64,
    pub(super) free_blocks: u64,
    pub(super) free_inodes: u32,
    pub(super) first_data_block: u32,
    /// The size of a block is 1024 shifted left by this.
    pub(super) log_block_size: u32,
    pub(super) blocks_per_group: u32,
    pub(super) inodes_per_group: u32,
    /// Seconds since 1970; stands for the times of making, writing and checking.
    pub(super) time: u64,
    pub(super) inode_size: u16,
    /// Which group this copy stands in.
    pub(super) group: u16,
    pub(super) compatible: u32,
    pub(super) incompatible: u32,
    pub(super) read_only: u32,
    pub(super) uuid: [u8; 16],
    /// Blocks kept free behind each table of descriptors, for a file system that may grow.
    pub(super) reserved_descriptors: u16,
    pub(super) hash_seed: [u32; 4],
    pub(super) descriptor_size: u16,
    /// The journal's block map and size, repeated for repairs; zero without a journal.
    pub(super) journal: [u32; 17],
    pub(super) log_groups_per_flex: u8,
    /// The seed of checksums, when it is stored and not derived.
    pub(super) checksum_seed: u32,
}

impl Superblock {
    /// The bytes of this copy, checksum included.
    pub(super) fn encode(&self) -> [u8; SUPERBLOCK_SIZE] {
        let mut bytes = [0; SUPERBLOCK_SIZE];
        self.encode_numbers(&mut bytes);
        self.encode_policy(&mut bytes);
        let checksum = crc32c(u32::MAX, &bytes[..SUPERBLOCK_CHECKSUM_AT]);
        put(&mut bytes, SUPERBLOCK_CHECKSUM_AT, checksum.to_le_bytes());
        bytes
    }

    fn encode_numbers(&self, bytes: &mut [u8]) {
        let (blocks_high, blocks) = halves(self.blocks_count);
        let (reserved_high, reserved) = halves(self.reserved_blocks);
        let (free_high, free) = halves(self.free_blocks);
        let numbers = [
            (0x00, self.inodes_count),
            (0x04, blocks),
            (0x08, reserved),
            (0x0C, free),
            (0x10, self.free_inodes),
            (0x14, self.first_data_block),
            (0x18, self.log_block_size),
            (0x1C, self.log_block_size), // clusters are blocks
            (0x20, self.blocks_per_group),
            (0x24, self.blocks_per_group),
            (0x28, self.inodes_per_group),
            (0x5C, self.compatible),
            (0x60, self.incompatible),
            (0x64, self.read_only),
            (0x150, blocks_high),
            (0x154, reserved_high),
            (0x158, free_high),
        ];
        numbers.into_iter().for_each(|(at, value)| put(bytes, at, value.to_le_bytes()));
        put(bytes, 0x58, self.inode_size.to_le_bytes());
        put(bytes, 0x5A, self.group.to_le_bytes());
        put(bytes, 0x68, self.uuid);
        put(bytes, 0xCE, self.reserved_descriptors.to_le_bytes());
        for (index, word) in self.hash_seed.into_iter().enumerate() {
            put(bytes, 0xEC + 4 * index, word.to_le_bytes());
        }
        put(bytes, 0xFE, self.descriptor_size.to_le_bytes());
        for (index, word) in self.journal.into_iter().enumerate() {
            put(bytes, 0x10C + 4 * index, word.to_le_bytes());
        }
        bytes[0x174] = self.log_groups_per_flex;
        put(bytes, 0x270, self.checksum_seed.to_le_bytes());
    }

    fn encode_policy(&self, bytes: &mut [u8]) {
        put(bytes, 0x38, MAGIC.to_le_bytes());
        put(bytes, 0x36, u16::MAX.to_le_bytes()); // never check because of mounts
        put(bytes, 0x3A, 1_u16.to_le_bytes()); // cleanly unmounted
        put(bytes, 0x3C, 1_u16.to_le_bytes()); // on errors: continue; Kata mounts with its own
        put(bytes, 0x4C, 1_u32.to_le_bytes()); // revision with features
        put(bytes, 0x54, FIRST_INODE.to_le_bytes());
        if self.compatible & compatible::HAS_JOURNAL != 0 {
            put(bytes, 0xE0, JOURNAL_INODE.to_le_bytes());
            bytes[0xFD] = 1; // the journal's map is repeated here
        }
        bytes[0xFC] = 1; // half MD4
        // Mount with user_xattr, acl and data=ordered. Kata's runtime asks for the last: a file
        // system without a journal refuses that unless it is its own default.
        put(bytes, 0x100, 0x4C_u32.to_le_bytes());
        let (high, low) = halves(self.time);
        for (at, high_at) in [(0x30, 0x274), (0x40, 0x277), (0x108, 0x276)] {
            put(bytes, at, low.to_le_bytes());
            bytes[high_at] = high.to_le_bytes()[0];
        }
        put(bytes, 0x15C, EXTRA_SIZE.to_le_bytes());
        put(bytes, 0x15E, EXTRA_SIZE.to_le_bytes());
        put(bytes, 0x160, 2_u32.to_le_bytes()); // names hash as unsigned bytes
        bytes[0x175] = 1; // checksums are CRC-32C
    }

    /// Reads a superblock; `None` when the magic number is not there or bytes are missing.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let word = |at| le32(bytes, at);
        if le16(bytes, 0x38)? != MAGIC {
            return None;
        }
        let mut hash_seed = [0; 4];
        for (index, seed) in hash_seed.iter_mut().enumerate() {
            *seed = word(0xEC + 4 * index)?;
        }
        let mut journal = [0; 17];
        for (index, entry) in journal.iter_mut().enumerate() {
            *entry = word(0x10C + 4 * index)?;
        }
        let revised = word(0x4C)? > 0;
        let wide = word(0x60)? & incompatible::BITS_64 != 0;
        let high = |at| if wide { word(at) } else { Some(0) };
        Some(Self {
            inodes_count: word(0x00)?,
            blocks_count: join(high(0x150)?, word(0x04)?),
            reserved_blocks: join(high(0x154)?, word(0x08)?),
            free_blocks: join(high(0x158)?, word(0x0C)?),
            free_inodes: word(0x10)?,
            first_data_block: word(0x14)?,
            log_block_size: word(0x18)?,
            blocks_per_group: word(0x20)?,
            inodes_per_group: word(0x28)?,
            time: join(u32::from(field::<1>(bytes, 0x276)?[0]), word(0x108)?),
            inode_size: if revised { le16(bytes, 0x58)? } else { 128 },
            group: le16(bytes, 0x5A)?,
            compatible: word(0x5C)?,
            incompatible: word(0x60)?,
            read_only: word(0x64)?,
            uuid: field(bytes, 0x68)?,
            reserved_descriptors: le16(bytes, 0xCE)?,
            hash_seed,
            descriptor_size: le16(bytes, 0xFE)?,
            journal,
            log_groups_per_flex: field::<1>(bytes, 0x174)?[0],
            checksum_seed: word(0x270)?,
        })
    }

    /// Whether the checksum in `bytes` is right.
    pub(super) fn is_intact(bytes: &[u8]) -> bool {
        let body = bytes.get(..SUPERBLOCK_CHECKSUM_AT).unwrap_or_default();
        le32(bytes, SUPERBLOCK_CHECKSUM_AT) == Some(crc32c(u32::MAX, body))
    }

    /// Whether metadata carries checksums.
    pub(super) fn has_checksums(&self) -> bool {
        self.read_only & read_only::METADATA_CSUM != 0
    }

    /// The seed of the file system's checksums.
    pub(super) fn seed(&self) -> Seed {
        if self.incompatible & incompatible::CSUM_SEED != 0 {
            Seed(self.checksum_seed)
        } else {
            Seed::of(&self.uuid)
        }
    }
}

/// A group's descriptor: where its tables stand and how much of it is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Descriptor {
    pub(super) block_bitmap: u64,
    pub(super) inode_bitmap: u64,
    pub(super) inode_table: u64,
    pub(super) free_blocks: u32,
    pub(super) free_inodes: u32,
    pub(super) directories: u32,
    pub(super) unused_inodes: u32,
    pub(super) block_bitmap_checksum: u32,
    pub(super) inode_bitmap_checksum: u32,
}

impl Descriptor {
    /// The 32 bytes of the descriptor of `group`, checksum included. Numbers fit: block numbers
    /// are below 2^32 and a group counts at most 32,768 of anything.
    pub(super) fn encode(&self, group: u32, seed: Seed) -> [u8; DESCRIPTOR_SIZE] {
        let mut bytes = [0; DESCRIPTOR_SIZE];
        put(&mut bytes, 0x00, halves(self.block_bitmap).1.to_le_bytes());
        put(&mut bytes, 0x04, halves(self.inode_bitmap).1.to_le_bytes());
        put(&mut bytes, 0x08, halves(self.inode_table).1.to_le_bytes());
        let low = |value: u32| [value.to_le_bytes()[0], value.to_le_bytes()[1]];
        put(&mut bytes, 0x0C, low(self.free_blocks));
        put(&mut bytes, 0x0E, low(self.free_inodes));
        put(&mut bytes, 0x10, low(self.directories));
        put(&mut bytes, 0x12, 4_u16.to_le_bytes()); // the unused part of the table is zeroed
        put(&mut bytes, 0x18, low(self.block_bitmap_checksum));
        put(&mut bytes, 0x1A, low(self.inode_bitmap_checksum));
        put(&mut bytes, 0x1C, low(self.unused_inodes));
        let checksum = Self::checksum(&bytes, group, seed);
        put(&mut bytes, 0x1E, checksum.to_le_bytes());
        bytes
    }

    /// The checksum that belongs into `bytes`, of 32 or more bytes.
    fn checksum(bytes: &[u8], group: u32, seed: Seed) -> u16 {
        let crc = crc32c(seed.0, &group.to_le_bytes());
        let crc = crc32c(crc, bytes.get(..0x1E).unwrap_or_default());
        let crc = crc32c(crc, &[0, 0]);
        let [low, next, ..] = crc32c(crc, bytes.get(0x20..).unwrap_or_default()).to_le_bytes();
        u16::from_le_bytes([low, next])
    }

    /// Reads a descriptor; its upper halves when it has 64 bytes.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let high32 = |at| if bytes.len() >= 64 { le32(bytes, at) } else { Some(0) };
        let high16 = |at| if bytes.len() >= 64 { le16(bytes, at) } else { Some(0) };
        let both = |high: u16, low: u16| u32::from(high) << 16 | u32::from(low);
        Some(Self {
            block_bitmap: join(high32(0x20)?, le32(bytes, 0x00)?),
            inode_bitmap: join(high32(0x24)?, le32(bytes, 0x04)?),
            inode_table: join(high32(0x28)?, le32(bytes, 0x08)?),
            free_blocks: both(high16(0x2C)?, le16(bytes, 0x0C)?),
            free_inodes: both(high16(0x2E)?, le16(bytes, 0x0E)?),
            directories: both(high16(0x30)?, le16(bytes, 0x10)?),
            unused_inodes: both(high16(0x32)?, le16(bytes, 0x1C)?),
            block_bitmap_checksum: both(high16(0x38)?, le16(bytes, 0x18)?),
            inode_bitmap_checksum: both(high16(0x3A)?, le16(bytes, 0x1A)?),
        })
    }

    /// Whether the checksum in `bytes` is that of the descriptor of `group`.
    pub(super) fn is_intact(bytes: &[u8], group: u32, seed: Seed) -> bool {
        le16(bytes, 0x1E) == Some(Self::checksum(bytes, group, seed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_read_back_is_the_same_and_knows_its_group() {
        let descriptor = Descriptor {
            block_bitmap: 0xFFFF_FFF0,
            inode_bitmap: 2,
            inode_table: 3,
            free_blocks: 32_768,
            free_inodes: 5,
            directories: 6,
            unused_inodes: 7,
            block_bitmap_checksum: 8,
            inode_bitmap_checksum: 9,
        };
        let seed = Seed::of(&[7; 16]);
        let bytes = descriptor.encode(3, seed);
        assert_eq!(Descriptor::decode(&bytes), Some(descriptor));
        assert!(Descriptor::is_intact(&bytes, 3, seed));
        assert!(!Descriptor::is_intact(&bytes, 4, seed));
    }

    #[test]
    fn halves_join_again() {
        for value in [0, 1, u64::from(u32::MAX), 1 << 32, u64::MAX] {
            let (high, low) = halves(value);
            assert_eq!(join(high, low), value);
        }
    }
}
