//! One inode as it stands on disk: 256 bytes, of which the last 96 hold small attributes.
//!
//! Specification: <https://docs.kernel.org/filesystems/ext4/inodes.html>. Times are seconds;
//! their fractions are zero.

use std::ops::{Range, RangeInclusive};

use super::checksum::Seed;
use super::format::{ATTRIBUTES_AT, EXTRA_SIZE, INODE_SIZE, field, halves, join, le16, le32, put};

/// Where the two halves of the checksum stand.
const CHECKSUM_LOW: usize = 0x7C;
const CHECKSUM_HIGH: usize = 0x82;
/// The earliest and the latest second that 34 bits can tell: 1901 to 2446.
pub(super) const TIMES: RangeInclusive<i64> = -0x8000_0000..=0x3_7FFF_FFFF;

/// An inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Inode {
    /// Type and permission bits.
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    /// Last modification. The writer gives the same time to the other three.
    pub(super) mtime: i64,
    pub(super) links: u16,
    /// Sectors of 512 bytes that the file takes, with the blocks of its map and attributes.
    pub(super) sectors: u64,
    pub(super) flags: u32,
    /// The map to blocks, the target of a short link, or a device number.
    pub(super) block: [u8; 60],
    pub(super) generation: u32,
    /// The block with further attributes, or 0.
    pub(super) attribute_block: u64,
    /// What stands in the inode behind its fixed part.
    pub(super) attributes: Vec<u8>,
}

impl Inode {
    /// The 256 bytes of inode `number`, checksum included.
    pub(super) fn encode(&self, number: u32, seed: Seed) -> [u8; INODE_SIZE] {
        let mut bytes = [0; INODE_SIZE];
        self.encode_first_part(&mut bytes);
        put(&mut bytes, 0x80, EXTRA_SIZE.to_le_bytes());
        let (time, extra) = split_time(self.mtime);
        for (at, extra_at) in [(0x08, 0x8C), (0x0C, 0x84), (0x10, 0x88), (0x90, 0x94)] {
            put(&mut bytes, at, time.to_le_bytes());
            put(&mut bytes, extra_at, extra.to_le_bytes());
        }
        bytes[ATTRIBUTES_AT..][..self.attributes.len()].copy_from_slice(&self.attributes);
        let checksum = seed.inode(number, self.generation).over(&bytes).to_le_bytes();
        put(&mut bytes, CHECKSUM_LOW, [checksum[0], checksum[1]]);
        put(&mut bytes, CHECKSUM_HIGH, [checksum[2], checksum[3]]);
        bytes
    }

    fn encode_first_part(&self, bytes: &mut [u8; INODE_SIZE]) {
        let [uid0, uid1, uid2, uid3] = self.uid.to_le_bytes();
        let [gid0, gid1, gid2, gid3] = self.gid.to_le_bytes();
        let (size_high, size) = halves(self.size);
        let (sectors_high, sectors) = halves(self.sectors);
        let [high0, high1, ..] = sectors_high.to_le_bytes();
        put(bytes, 0x00, self.mode.to_le_bytes());
        put(bytes, 0x02, [uid0, uid1]);
        put(bytes, 0x04, size.to_le_bytes());
        put(bytes, 0x18, [gid0, gid1]);
        put(bytes, 0x1A, self.links.to_le_bytes());
        put(bytes, 0x1C, sectors.to_le_bytes());
        put(bytes, 0x20, self.flags.to_le_bytes());
        put(bytes, 0x28, self.block);
        put(bytes, 0x64, self.generation.to_le_bytes());
        put(bytes, 0x68, halves(self.attribute_block).1.to_le_bytes());
        put(bytes, 0x6C, size_high.to_le_bytes());
        put(bytes, 0x74, [high0, high1]);
        put(bytes, 0x78, [uid2, uid3]);
        put(bytes, 0x7A, [gid2, gid3]);
    }

    /// Reads an inode of 128 bytes or more; `None` when a fixed field is missing.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let both = |high: u16, low: u16| u32::from(high) << 16 | u32::from(low);
        let extra = usize::from(le16(bytes, 0x80).unwrap_or_default());
        let attributes_at = extra.checked_add(128)?;
        let extra_time = if extra >= 12 { le32(bytes, 0x88)? } else { 0 };
        let attributes = bytes.get(attributes_at..).unwrap_or_default();
        Some(Self {
            mode: le16(bytes, 0x00)?,
            uid: both(le16(bytes, 0x78)?, le16(bytes, 0x02)?),
            gid: both(le16(bytes, 0x7A)?, le16(bytes, 0x18)?),
            size: join(le32(bytes, 0x6C)?, le32(bytes, 0x04)?),
            mtime: join_time(le32(bytes, 0x10)?, extra_time),
            links: le16(bytes, 0x1A)?,
            sectors: join(u32::from(le16(bytes, 0x74)?), le32(bytes, 0x1C)?),
            flags: le32(bytes, 0x20)?,
            block: field(bytes, 0x28)?,
            generation: le32(bytes, 0x64)?,
            attribute_block: join(u32::from(le16(bytes, 0x76)?), le32(bytes, 0x68)?),
            attributes: if bytes.len() > 128 { attributes.to_vec() } else { Vec::new() },
        })
    }

    /// Whether the checksum in `bytes` is that of inode `number`.
    pub(super) fn is_intact(bytes: &[u8], number: u32, seed: Seed) -> bool {
        let wide = le16(bytes, 0x80).is_some_and(|extra| extra >= 4);
        let (Some(generation), Some(low)) = (le32(bytes, 0x64), le16(bytes, CHECKSUM_LOW)) else {
            return false;
        };
        let mut copy = bytes.to_vec();
        let places = if wide { &[CHECKSUM_LOW, CHECKSUM_HIGH][..] } else { &[CHECKSUM_LOW] };
        for &at in places {
            copy.iter_mut().skip(at).take(2).for_each(|byte| *byte = 0);
        }
        let [a, b, c, d] = seed.inode(number, generation).over(&copy).to_le_bytes();
        let high_is_right = !wide || field(bytes, CHECKSUM_HIGH) == Some([c, d]);
        low.to_le_bytes() == [a, b] && high_is_right
    }

    /// Whether `bytes` are an inode that was never used: nothing but its checksum.
    pub(super) fn is_blank(bytes: &[u8], number: u32, seed: Seed) -> bool {
        is_zero_but(bytes, &[CHECKSUM_AT]) && Self::is_intact(bytes, number, seed)
    }

    /// Whether `bytes` are an inode that has nothing: no block, attribute or name, but perhaps times.
    pub(super) fn is_empty(bytes: &[u8]) -> bool {
        is_zero_but(bytes, &[TIMES_AT, CHECKSUM_AT, MORE_TIMES_AT])
    }
}

/// Where an inode has a checksum, times; and where it has how much more it is than the first format had, the rest
/// of its checksum, and more of its times.
const CHECKSUM_AT: Range<usize> = CHECKSUM_LOW..CHECKSUM_LOW + 2;
const TIMES_AT: Range<usize> = 0x08..0x14;
const MORE_TIMES_AT: Range<usize> = 0x80..0x98;

fn is_zero_but(bytes: &[u8], places: &[Range<usize>]) -> bool {
    let is_free = |at| places.iter().any(|place| place.contains(&at));
    bytes.iter().enumerate().all(|(at, byte)| *byte == 0 || is_free(at))
}

/// Splits a time that is in [`TIMES`] into its lower 32 bits and the two above, which extend a
/// signed number: 2038 is 1901 with the lowest extra bit set.
fn split_time(seconds: i64) -> (u32, u32) {
    let [a, b, c, d, ..] = seconds.to_le_bytes();
    let low = i32::from_le_bytes([a, b, c, d]);
    let above = seconds.wrapping_sub(i64::from(low)) >> 32 & 3;
    (u32::from_le_bytes([a, b, c, d]), u32::try_from(above).expect("two bits fit"))
}

/// Joins what [`split_time`] split; the fraction of the second is ignored.
fn join_time(low: u32, extra: u32) -> i64 {
    let above = i64::from(extra & 3) << 32;
    i64::from(i32::from_le_bytes(low.to_le_bytes())).wrapping_add(above)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the table in the kernel's documentation of inode timestamps.
    #[test]
    fn times_from_1901_to_2446_survive() {
        let cases = [
            (-0x8000_0000, 0),
            (-1, 0),
            (0, 0),
            (0x7FFF_FFFF, 0),
            (0x8000_0000, 1),
            (0x1_7FFF_FFFF, 1),
            (0x2_0000_0000, 2),
            (0x3_7FFF_FFFF, 3),
        ];
        for (seconds, extra) in cases {
            assert_eq!(split_time(seconds).1, extra, "{seconds}");
            let (low, extra) = split_time(seconds);
            assert_eq!(join_time(low, extra), seconds);
        }
    }

    #[test]
    fn an_inode_read_back_is_the_same_and_knows_its_number() {
        let inode = Inode {
            mode: 0o100_644,
            uid: u32::MAX,
            gid: 0x1_0000,
            size: 1 << 40,
            mtime: -5,
            links: 65_000,
            sectors: 1 << 33,
            flags: 0x8_0000,
            block: [9; 60],
            generation: 0,
            attribute_block: 77,
            attributes: vec![1; INODE_SIZE - ATTRIBUTES_AT],
        };
        let seed = Seed::of(&[1; 16]);
        let mut bytes = inode.encode(12, seed);
        assert_eq!(Inode::decode(&bytes).unwrap(), inode);
        assert!(Inode::is_intact(&bytes, 12, seed));
        assert!(!Inode::is_intact(&bytes, 13, seed));
        bytes[200] ^= 1;
        assert!(!Inode::is_intact(&bytes, 12, seed));
    }
}
