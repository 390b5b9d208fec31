//! Superblock, inodes, indexes of compressed files: their bytes, and what they can hold.
//!
//! All numbers are little-endian. Specification: Linux, `fs/erofs/erofs_fs.h`, and
//! <https://erofs.docs.kernel.org/en/latest/ondisk/index.html>.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use crate::image::crc32c::crc32c;
pub(super) use crate::image::fields::{field, le16, le32, le64};
pub(super) use crate::image::kinds;

/// Bytes of a block; there is no other size here.
pub(super) const BLOCK: u64 = 4096;
/// [`BLOCK`] as a length.
pub(super) const BLOCK_SIZE: usize = 4096;
const BLOCK_BITS: u8 = 12;
/// Inodes are numbered by where they stand, in slots of this many bytes.
pub(super) const SLOT: u64 = 32;
/// Where the superblock stands; its checksum covers the rest of the first block.
pub(super) const SUPERBLOCK_OFFSET: usize = 1024;
pub(super) const SUPERBLOCK_SIZE: usize = BLOCK_SIZE - SUPERBLOCK_OFFSET;
const MAGIC: u32 = 0xE0F5_E1E2;
/// The longest name in a directory.
pub(super) const NAME_MAX: usize = 255;
/// Bytes of a directory's entry, without its name.
pub(super) const ENTRY: usize = 12;
/// Bytes from the (aligned) end of inode and attributes to the first index of a compressed file.
pub(super) const INDEX_HEADER: u64 = 16;
/// Bytes of an index.
pub(super) const INDEX: usize = 8;

/// Features that an old reader may ignore.
mod compatible {
    pub(super) const CHECKSUM: u32 = 0x1;
    pub(super) const MTIME: u32 = 0x2;
}

/// Features that every reader must know.
pub(super) mod incompatible {
    /// Compressed data ends where its blocks end, zeros come first.
    pub(in super::super) const ZERO_PADDING: u32 = 0x1;
    /// Settings of compressors follow the superblock, and a compressed cluster may have several
    /// blocks.
    pub(in super::super) const COMPRESSION: u32 = 0x2;
}

/// How a file's data is laid out.
pub(super) mod layout {
    pub(in super::super) const PLAIN: u16 = 0;
    pub(in super::super) const COMPRESSED: u16 = 1;
    pub(in super::super) const INLINE: u16 = 2;
    pub(in super::super) const COMPACT: u16 = 3;
}

/// What an index of a compressed file says of the 4096 bytes that it stands for.
pub(super) mod cluster {
    /// An extent that is not compressed begins here.
    pub(in super::super) const PLAIN: u16 = 0;
    /// A compressed extent begins here.
    pub(in super::super) const HEAD: u16 = 1;
    /// An extent that began earlier goes on.
    pub(in super::super) const NONHEAD: u16 = 2;
    /// The flag of a count of blocks, in place of a distance.
    pub(in super::super) const BLOCK_COUNT: u16 = 1 << 11;
    /// The flag, per file, that such counts are there.
    pub(in super::super) const BIG: u16 = 0x2;
    /// The flag, per file, that compact indexes may take two bytes.
    pub(in super::super) const TWO_BYTES: u16 = 0x1;
}

/// What stands at byte 1024.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Superblock {
    pub(super) incompatible: u32,
    /// The root directory's slot.
    pub(super) root: u16,
    pub(super) inodes: u64,
    /// The time of inodes that have none of their own.
    pub(super) time: u64,
    pub(super) blocks: u32,
    /// Where slots are counted from.
    pub(super) meta_block: u32,
    /// Where shared attributes are counted from.
    pub(super) attribute_block: u32,
    pub(super) uuid: [u8; 16],
    /// Blocks of the largest compressed cluster; 0 without compression.
    pub(super) cluster_blocks: u16,
}

impl Superblock {
    /// Its bytes, and those of the compressor's settings behind it.
    pub(super) fn length(&self) -> u64 {
        if self.incompatible & incompatible::COMPRESSION == 0 { 128 } else { 144 }
    }

    /// The rest of the first block, from byte 1024 on.
    pub(super) fn encode(&self) -> Vec<u8> {
        let compressed = self.incompatible & incompatible::COMPRESSION != 0;
        let mut bytes = Vec::new();
        bytes.extend(MAGIC.to_le_bytes());
        bytes.extend([0; 4]); // the checksum
        bytes.extend((compatible::CHECKSUM | compatible::MTIME).to_le_bytes());
        bytes.extend([BLOCK_BITS, 0]);
        bytes.extend(self.root.to_le_bytes());
        bytes.extend(self.inodes.to_le_bytes());
        bytes.extend(self.time.to_le_bytes());
        bytes.extend([0; 4]); // nanoseconds
        bytes.extend(self.blocks.to_le_bytes());
        bytes.extend(self.meta_block.to_le_bytes());
        bytes.extend(self.attribute_block.to_le_bytes());
        bytes.extend(self.uuid);
        bytes.extend([0; 16]); // the name of the volume
        bytes.extend(self.incompatible.to_le_bytes());
        bytes.extend(u16::from(compressed).to_le_bytes()); // LZ4 is the first of the algorithms
        bytes.resize(128, 0);
        if compressed {
            bytes.extend(14_u16.to_le_bytes());
            bytes.extend(0_u16.to_le_bytes()); // the usual window of 64 KiB
            bytes.extend(self.cluster_blocks.to_le_bytes());
        }
        bytes.resize(SUPERBLOCK_SIZE, 0);
        let checksum = crc32c(u32::MAX, &bytes);
        if let Some(place) = bytes.get_mut(4..8) {
            place.copy_from_slice(&checksum.to_le_bytes());
        }
        bytes
    }

    /// Reads it; says what is wrong with it otherwise, and whether it is broken or not supported.
    pub(super) fn decode(bytes: &[u8; SUPERBLOCK_SIZE]) -> Result<Self, Refusal> {
        let cut = Refusal::Broken("it is cut off");
        let word = |at| le32(bytes, at).ok_or(cut);
        if word(0)? != MAGIC {
            return Err(Refusal::Broken("it has no magic number"));
        }
        if word(8)? & compatible::CHECKSUM != 0 {
            let mut blank = *bytes;
            blank.iter_mut().skip(4).take(4).for_each(|byte| *byte = 0);
            if crc32c(u32::MAX, &blank) != word(4)? {
                return Err(Refusal::Broken("its checksum is wrong"));
            }
        }
        let incompatible = word(80)?;
        if incompatible & !(incompatible::ZERO_PADDING | incompatible::COMPRESSION) != 0 {
            return Err(Refusal::Unsupported("a feature that nothing here makes"));
        }
        if bytes.get(12) != Some(&BLOCK_BITS) {
            return Err(Refusal::Unsupported("blocks of other sizes than 4096 bytes"));
        }
        if (bytes.get(13), bytes.get(90)) != (Some(&0), Some(&0)) {
            return Err(Refusal::Unsupported("a longer superblock, or larger directories' blocks"));
        }
        let compressed = incompatible & incompatible::COMPRESSION != 0;
        if compressed && le16(bytes, 84) != Some(1) {
            return Err(Refusal::Unsupported("other compressors than LZ4"));
        }
        Ok(Self {
            incompatible,
            root: le16(bytes, 14).ok_or(cut)?,
            inodes: le64(bytes, 16).ok_or(cut)?,
            time: le64(bytes, 24).ok_or(cut)?,
            blocks: word(36)?,
            meta_block: word(40)?,
            attribute_block: word(44)?,
            uuid: field(bytes, 48).ok_or(cut)?,
            cluster_blocks: if compressed { le16(bytes, 132).ok_or(cut)?.max(1) } else { 1 },
        })
    }
}

/// Why bytes were not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Broken(&'static str),
    Unsupported(&'static str),
}

/// An inode, without what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Inode {
    /// One of [`layout`].
    pub(super) layout: u16,
    /// The count in which the length of its attributes is written.
    pub(super) attribute_count: u16,
    pub(super) mode: u16,
    pub(super) links: u32,
    pub(super) size: u64,
    /// A block, a count of blocks, or a device, as the kind of file wants it.
    pub(super) place: u32,
    pub(super) number: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: i64,
}

impl Inode {
    /// Whether the short form holds all of it, in a file system of this time.
    fn is_short(&self, time: u64) -> bool {
        let small = |value: u32| u16::try_from(value).is_ok();
        small(self.uid)
            && small(self.gid)
            && small(self.links)
            && u32::try_from(self.size).is_ok()
            && u64::try_from(self.mtime) == Ok(time)
    }

    /// Its length in bytes.
    pub(super) fn length(&self, time: u64) -> u64 {
        if self.is_short(time) { 32 } else { 64 }
    }

    /// Its bytes, in the shortest form.
    pub(super) fn encode(&self, time: u64) -> Vec<u8> {
        let short = |value: u32| u16::try_from(value).unwrap_or(u16::MAX).to_le_bytes();
        let is_short = self.is_short(time);
        let format = self.layout << 1 | u16::from(!is_short);
        let mut bytes = Vec::new();
        bytes.extend(format.to_le_bytes());
        bytes.extend(self.attribute_count.to_le_bytes());
        bytes.extend(self.mode.to_le_bytes());
        if is_short {
            bytes.extend(short(self.links));
            bytes.extend(u32::try_from(self.size).unwrap_or(u32::MAX).to_le_bytes());
            bytes.extend([0; 4]);
            bytes.extend(self.place.to_le_bytes());
            bytes.extend(self.number.to_le_bytes());
            bytes.extend(short(self.uid));
            bytes.extend(short(self.gid));
            bytes.extend([0; 4]);
        } else {
            bytes.extend([0; 2]);
            bytes.extend(self.size.to_le_bytes());
            bytes.extend(self.place.to_le_bytes());
            bytes.extend(self.number.to_le_bytes());
            bytes.extend(self.uid.to_le_bytes());
            bytes.extend(self.gid.to_le_bytes());
            bytes.extend(self.mtime.to_le_bytes());
            bytes.extend([0; 4]);
            bytes.extend(self.links.to_le_bytes());
            bytes.extend([0; 16]);
        }
        bytes
    }

    /// Reads an inode and says how long it is; `bytes` are 64, or fewer at the end of the medium.
    pub(super) fn decode(bytes: &[u8], time: u64) -> Result<(Self, u64), Refusal> {
        let cut = Refusal::Broken("it is cut off");
        let half = |at| le16(bytes, at).ok_or(cut);
        let word = |at| le32(bytes, at).ok_or(cut);
        let format = half(0)?;
        if format >> 4 != 0 {
            return Err(Refusal::Unsupported("a format of inodes"));
        }
        let common = Self {
            layout: format >> 1 & 7,
            attribute_count: half(2)?,
            mode: half(4)?,
            links: 0,
            size: 0,
            place: word(16)?,
            number: word(20)?,
            uid: 0,
            gid: 0,
            mtime: 0,
        };
        if format & 1 == 0 {
            let inode = Self {
                links: half(6)?.into(),
                size: word(8)?.into(),
                uid: half(24)?.into(),
                gid: half(26)?.into(),
                mtime: i64::try_from(time)
                    .map_err(|_| Refusal::Broken("its time is impossible"))?,
                ..common
            };
            return Ok((inode, 32));
        }
        let inode = Self {
            links: word(44)?,
            size: le64(bytes, 8).ok_or(cut)?,
            uid: word(24)?,
            gid: word(28)?,
            mtime: field(bytes, 32).map(i64::from_le_bytes).ok_or(cut)?,
            ..common
        };
        Ok((inode, 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inode() -> Inode {
        Inode {
            layout: layout::INLINE,
            attribute_count: 3,
            mode: kinds::REGULAR | 0o644,
            links: 2,
            size: 77,
            place: 5,
            number: 9,
            uid: 1,
            gid: 2,
            mtime: 1000,
        }
    }

    #[test]
    fn inodes_take_the_short_form_only_where_nothing_is_lost() {
        let long = [
            Inode { uid: 65_536, ..inode() },
            Inode { gid: 65_536, ..inode() },
            Inode { links: 65_536, ..inode() },
            Inode { size: 1 << 32, ..inode() },
            Inode { mtime: 999, ..inode() },
            Inode { mtime: -1, ..inode() },
        ];
        assert_eq!(inode().encode(1000).len(), 32);
        for inode in long.into_iter().chain([inode()]) {
            let bytes = inode.encode(1000);
            assert_eq!(u64::try_from(bytes.len()), Ok(inode.length(1000)));
            assert_eq!(Inode::decode(&bytes, 1000), Ok((inode.clone(), inode.length(1000))));
        }
    }

    #[test]
    fn a_superblock_comes_back_and_every_change_is_noticed() {
        let superblock = Superblock {
            incompatible: incompatible::ZERO_PADDING | incompatible::COMPRESSION,
            root: 7,
            inodes: 3,
            time: 1_700_000_000,
            blocks: 99,
            meta_block: 90,
            attribute_block: 89,
            uuid: [5; 16],
            cluster_blocks: 16,
        };
        let bytes: [u8; SUPERBLOCK_SIZE] = superblock.encode().try_into().unwrap();
        assert_eq!(Superblock::decode(&bytes), Ok(superblock));
        for at in [0, 12, 40, 81, 3000] {
            let mut bad = bytes;
            *bad.get_mut(at).unwrap() ^= 0x40;
            assert!(Superblock::decode(&bad).is_err(), "{at}");
        }
    }
}
