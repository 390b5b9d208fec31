//! One inode as it stands on disk: 512 bytes, of which the last 336 hold two forks, for data and for
//! attributes.
//!
//! Specification: Linux, `fs/xfs/libxfs/xfs_format.h` (`struct xfs_dinode`). Times are seconds; their
//! fractions are zero.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use super::format::{
    EXTENT_MAX, FORKS_AT, FORKS_SIZE, INODE_SIZE, NULL, be16, be32, be64, byte, field, is_sealed,
    magic, narrow, put, seal, wide,
};
use super::geometry::Geometry;
use crate::image::blocks::{Extent, Run};

const CHECKSUM_AT: usize = 100;
/// The time is one number of nanoseconds since 1901, and not two of 32 bits.
const BIG_TIME: u64 = 0x8;
const NANOSECONDS: u64 = 1_000_000_000;
/// The earliest and the latest second: 1901 to 2486.
pub(super) const TIMES: std::ops::RangeInclusive<i64> = -0x8000_0000..=16_299_260_425;

/// What a fork holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// The number of a device.
    Device,
    /// The bytes themselves.
    Local,
    /// Where its blocks stand.
    Extents,
    /// Where the tree stands that says where its blocks stand.
    Tree,
}

impl Format {
    const fn number(self) -> u8 {
        match self {
            Self::Device => 0,
            Self::Local => 1,
            Self::Extents => 2,
            Self::Tree => 3,
        }
    }

    fn of(number: u8) -> Option<Self> {
        [Self::Device, Self::Local, Self::Extents, Self::Tree]
            .into_iter()
            .find(|format| format.number() == number)
    }
}

/// A fork as it stands in the inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fork {
    pub(super) format: Format,
    pub(super) bytes: Vec<u8>,
    /// Extents, where it has some.
    pub(super) extents: u32,
}

/// An inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Inode {
    /// Type and permission bits.
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) links: u32,
    /// Last modification. The writer gives the same time to the other three.
    pub(super) mtime: i64,
    pub(super) size: u64,
    /// Blocks of both forks.
    pub(super) blocks: u64,
    /// Flags of the first kind.
    pub(super) flags: u16,
    pub(super) data: Fork,
    pub(super) attributes: Option<Fork>,
}

impl Inode {
    /// What stands where an inode is free.
    pub(super) fn free(number: u64, uuid: [u8; 16]) -> [u8; INODE_SIZE] {
        let mut bytes = begin(number, uuid);
        seal(&mut bytes, CHECKSUM_AT);
        bytes
    }

    /// The 512 bytes of inode `number`.
    pub(super) fn encode(&self, number: u64, uuid: [u8; 16]) -> [u8; INODE_SIZE] {
        let mut bytes = begin(number, uuid);
        put(&mut bytes, 2, self.mode.to_be_bytes());
        put(&mut bytes, 5, [self.data.format.number()]);
        for (at, word) in [(8, self.uid), (12, self.gid), (16, self.links), (76, self.data.extents)]
        {
            put(&mut bytes, at, word.to_be_bytes());
        }
        for at in [32, 40, 48, 144] {
            put(&mut bytes, at, time_to_disk(self.mtime).to_be_bytes());
        }
        put(&mut bytes, 56, self.size.to_be_bytes());
        put(&mut bytes, 64, self.blocks.to_be_bytes());
        put(&mut bytes, 83, [Format::Extents.number()]);
        put(&mut bytes, 90, self.flags.to_be_bytes());
        put(&mut bytes, 104, 1_u64.to_be_bytes()); // times it was changed
        put(&mut bytes, 120, BIG_TIME.to_be_bytes());
        put_slice(&mut bytes, FORKS_AT, &self.data.bytes);
        if let Some(fork) = &self.attributes {
            let offset = self.attribute_offset(fork);
            put(&mut bytes, 80, narrow::<u16>(fork.extents.into()).to_be_bytes());
            put(&mut bytes, 82, [narrow(wide(offset) / 8), fork.format.number()]);
            put_slice(&mut bytes, FORKS_AT.saturating_add(offset), &fork.bytes);
        }
        seal(&mut bytes, CHECKSUM_AT);
        bytes
    }

    /// Where the fork of attributes begins among the forks.
    fn attribute_offset(&self, fork: &Fork) -> usize {
        match (self.data.format, fork.format) {
            (Format::Device, _) => 8,
            (_, Format::Local) => FORKS_SIZE.saturating_sub(fork.bytes.len().next_multiple_of(8)),
            _ => FORKS_SIZE - ATTRIBUTE_EXTENTS_ROOM,
        }
    }

    /// Reads inode `number`, which is in use; or the rule that it breaks.
    pub(super) fn decode(bytes: &[u8], number: u64, uuid: [u8; 16]) -> Result<Self, &'static str> {
        if !is_sealed(bytes, CHECKSUM_AT) {
            return Err("its checksum is wrong");
        }
        let is_here = field(bytes, 0) == Some(magic::INODE)
            && byte(bytes, 4) == Some(3)
            && be64(bytes, 152) == Some(number)
            && field(bytes, 160) == Some(uuid);
        if !is_here {
            return Err("it is no inode, or another");
        }
        Self::fields(bytes).ok_or("its forks do not fit into it")
    }

    fn fields(bytes: &[u8]) -> Option<Self> {
        let time = be64(bytes, 40)?;
        let mtime = match be64(bytes, 120)? & BIG_TIME {
            0 => i64::from(i32::from_be_bytes(field(bytes, 40)?)),
            _ => time_from_disk(time),
        };
        let (data, attributes) = forks(bytes)?;
        Some(Self {
            mode: be16(bytes, 2)?,
            uid: be32(bytes, 8)?,
            gid: be32(bytes, 12)?,
            links: be32(bytes, 16)?,
            mtime,
            size: be64(bytes, 56)?,
            blocks: be64(bytes, 64)?,
            flags: be16(bytes, 90)?,
            data,
            attributes,
        })
    }
}

/// Bytes for the fork of attributes where these stand in blocks: three extents.
pub(super) const ATTRIBUTE_EXTENTS_ROOM: usize = 48;

fn forks(bytes: &[u8]) -> Option<(Fork, Option<Fork>)> {
    let offset = usize::from(byte(bytes, 82)?).checked_mul(8)?;
    let all = bytes.get(FORKS_AT..INODE_SIZE)?;
    let (data, attributes) = match offset {
        0 => (all, None),
        _ => all.split_at_checked(offset).map(|(data, rest)| (data, Some(rest)))?,
    };
    let data = Fork {
        format: Format::of(byte(bytes, 5)?)?,
        bytes: data.to_vec(),
        extents: be32(bytes, 76)?,
    };
    let attributes = match attributes {
        None => None,
        Some(rest) => Some(Fork {
            format: Format::of(byte(bytes, 83)?)?,
            bytes: rest.to_vec(),
            extents: be16(bytes, 80)?.into(),
        }),
    };
    Some((data, attributes))
}

/// What used and free inodes have in common.
fn begin(number: u64, uuid: [u8; 16]) -> [u8; INODE_SIZE] {
    let mut bytes = [0; INODE_SIZE];
    put(&mut bytes, 0, magic::INODE);
    put(&mut bytes, 4, [3]);
    put(&mut bytes, 96, NULL.to_be_bytes());
    put(&mut bytes, 152, number.to_be_bytes());
    put(&mut bytes, 160, uuid);
    bytes
}

fn put_slice(bytes: &mut [u8], at: usize, value: &[u8]) {
    let room = bytes.get_mut(at..).and_then(|rest| rest.get_mut(..value.len()));
    room.expect("planning puts into blocks what does not fit").copy_from_slice(value);
}

fn time_to_disk(seconds: i64) -> u64 {
    let since = u64::try_from(seconds.saturating_sub(*TIMES.start()));
    since.expect("planning refuses earlier times").saturating_mul(NANOSECONDS)
}

fn time_from_disk(time: u64) -> i64 {
    let seconds = i64::try_from(time / NANOSECONDS).unwrap_or(i64::MAX);
    seconds.saturating_add(*TIMES.start())
}

impl Extent {
    /// The 16 bytes of an extent of written blocks.
    pub(super) fn encode(&self, geometry: &Geometry) -> [u8; 16] {
        let start = geometry.to_disk(self.run.start);
        let number = u128::from(self.logical) << 73
            | u128::from(start) << 21
            | u128::from(self.run.count.min(EXTENT_MAX));
        number.to_be_bytes()
    }

    /// Reads an extent; `None` when its blocks are not on the file system.
    pub(super) fn decode(bytes: [u8; 16], geometry: &Geometry) -> Option<Self> {
        let number = u128::from_be_bytes(bytes);
        let part = |shift: u32, bits: u32| {
            let mask = 1_u128.checked_shl(bits)?.checked_sub(1)?;
            u64::try_from(number.checked_shr(shift)? & mask).ok()
        };
        let (logical, count) = (part(73, 54)?, part(0, 21)?);
        let start = geometry.on_disk(part(21, 52)?)?;
        let (group, within) = geometry.in_group(start);
        let fits = count > 0 && within.checked_add(count)? <= geometry.group_length(group);
        let written = part(127, 1)? == 0;
        fits.then_some(Self { logical, run: Run { start, count }, written })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inode_read_back_is_the_same() {
        let local =
            |bytes: &[u8]| Fork { format: Format::Local, bytes: bytes.to_vec(), extents: 0 };
        let inode = Inode {
            mode: 0o120_777,
            uid: 70_000,
            gid: u32::MAX,
            links: 3,
            mtime: 1_700_000_000,
            size: 328,
            blocks: 0,
            flags: 0,
            data: local(&[b'a'; 328]),
            attributes: Some(local(&[1; 8])),
        };
        let bytes = inode.encode(96, [7; 16]);
        assert_eq!(Inode::decode(&bytes, 96, [7; 16]), Ok(inode));
        assert!(Inode::decode(&bytes, 97, [7; 16]).is_err());
    }

    #[test]
    fn times_and_extents_come_back() {
        for seconds in [*TIMES.start(), -1, 0, 1_700_000_000, 1 << 32, *TIMES.end()] {
            assert_eq!(time_from_disk(time_to_disk(seconds)), seconds);
        }
        let geometry = Geometry::new(102_400).unwrap();
        let run = Run { start: 30_000, count: 77 };
        let extent = Extent { logical: 1 << 24, run, written: true };
        assert_eq!(Extent::decode(extent.encode(&geometry), &geometry), Some(extent));
        let beyond = Extent { run: Run { start: 25_599, count: 2 }, ..extent };
        assert_eq!(Extent::decode(beyond.encode(&geometry), &geometry), None);
    }
}
