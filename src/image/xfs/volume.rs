//! An xfs file system that somebody else may have written: its superblock, the headers and trees of
//! its groups, inodes and maps, each checked before it is believed.
//!
//! Every block that metadata leads to is claimed once; a second claim is an error. That is what
//! bounds the work on a hostile image, whatever circles its pointers make. When all is claimed, no
//! block may be left over.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use super::census::{Claims, Free};
use super::format::{
    BLOCK, BLOCK_SIZE, CHUNK_INODES, INODE_SIZE, INODES_PER_BLOCK, SECTOR, SECTORS_PER_BLOCK,
    check_stamp, field, wide,
};
use super::geometry::Geometry;
use super::inode::{Fork, Format, Inode};
use super::superblock::{Refusal, Superblock};
use crate::image::ahead::Ahead;
use crate::image::blocks::{Blocks, Extent};
use crate::image::{Error, Medium as _, Window};

/// A file system on a medium.
#[derive(Debug)]
pub(super) struct Volume<'m> {
    medium: Window<'m>,
    metadata: Ahead<'m>,
    pub(super) superblock: Superblock,
    /// Which inodes of each chunk were made and which are in use, a bit for each, by where the chunk
    /// begins, counted in inodes.
    pub(super) chunks: BTreeMap<u64, (u64, u64)>,
}

impl<'m> Volume<'m> {
    /// Reads and checks superblock, groups and log; claims what they take.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Broken`], [`Error::Unsupported`].
    pub(super) fn open(medium: Window<'m>) -> Result<(Self, Claims, Free), Error> {
        let size = medium.size().map_err(read_failed)?;
        if size < wide(BLOCK) {
            return Err(Error::broken("superblock", "the medium ends before it"));
        }
        let mut bytes = [0; SECTOR];
        medium.read_at(0, &mut bytes).map_err(read_failed)?;
        let superblock = Superblock::decode(&bytes).map_err(|refusal| match refusal {
            Refusal::Broken(rule) => Error::broken("superblock", rule),
            Refusal::Unsupported(feature) => Error::unsupported("superblock", feature),
        })?;
        let blocks = superblock.geometry.blocks;
        if blocks.checked_mul(BLOCK_SIZE).is_none_or(|end| end > size) {
            return Err(Error::broken("superblock", "the medium ends before the file system"));
        }
        let mut claims = Claims::new(blocks)?;
        let metadata = Ahead::new(medium);
        let mut volume = Self { medium, metadata, superblock, chunks: BTreeMap::new() };
        volume.claim_log(&mut claims)?;
        let mut free = Free::default();
        for group in 0..volume.superblock.geometry.groups {
            volume.read_group(group, &mut claims, &mut free)?;
        }
        volume.check_counts(&free)?;
        Ok((volume, claims, free))
    }

    /// Where the bytes of files stand.
    pub(super) const fn blocks(&self) -> Blocks<'m> {
        Blocks { medium: self.medium, block_size: BLOCK_SIZE }
    }

    /// The address by which blocks know their place.
    pub(super) fn sector(block: u64) -> u64 {
        block.saturating_mul(SECTORS_PER_BLOCK)
    }

    /// How many inodes are in use.
    pub(super) fn used_inodes(&self) -> usize {
        let ones = self.chunks.values().map(|(_, used)| used.count_ones());
        ones.filter_map(|count| usize::try_from(count).ok()).sum()
    }

    /// The inodes that are in no use: their numbers, and where they stand in bytes.
    pub(super) fn free_inodes(&self) -> impl Iterator<Item = (u64, u64)> {
        let geometry = self.superblock.geometry;
        self.chunks.iter().flat_map(move |(first, (made, used))| {
            let is_free =
                move |index: &u32| (made & !used).checked_shr(*index).unwrap_or_default() & 1 == 1;
            (0..64_u32).filter(is_free).map(move |index| {
                let place = first.saturating_add(index.into());
                let (block, within) = (place / INODES_PER_BLOCK, place % INODES_PER_BLOCK);
                let number = geometry.inode_number(block, within);
                (number, place.saturating_mul(wide(INODE_SIZE)))
            })
        })
    }

    /// Reads a block.
    pub(super) fn block(&self, place: &str, number: u64) -> Result<Vec<u8>, Error> {
        if number >= self.superblock.geometry.blocks {
            return Err(Error::broken(place, "it points outside the file system"));
        }
        let mut bytes = vec![0; BLOCK];
        self.read_at(number.saturating_mul(BLOCK_SIZE), &mut bytes)?;
        Ok(bytes)
    }

    /// Reads a block of a directory, a link or an attribute of inode `owner`.
    pub(super) fn stamped(&self, block: u64, owner: u64) -> Result<Vec<u8>, Error> {
        let place = inode_place(owner);
        let bytes = self.block(&place, block)?;
        check_stamp(&bytes, Self::sector(block), owner, self.superblock.uuid)
            .map_err(|rule| Error::broken(place, rule))?;
        Ok(bytes)
    }

    /// Reads bytes at an offset of the file system.
    pub(super) fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<(), Error> {
        self.metadata.read_at(offset, bytes).map_err(read_failed)
    }

    /// Where an inode that is in use stands, in bytes.
    pub(super) fn inode_offset(&self, number: u64) -> Result<u64, Error> {
        let missing = || Error::broken(inode_place(number), "there is no such inode in use");
        let (block, within) = (number / INODES_PER_BLOCK, number % INODES_PER_BLOCK);
        let block = self.superblock.geometry.on_disk(block).ok_or_else(missing)?;
        let index = block.saturating_mul(INODES_PER_BLOCK).saturating_add(within);
        let (first, (_, used)) = self.chunks.range(..=index).next_back().ok_or_else(missing)?;
        let bit = index.saturating_sub(*first);
        let shifted = u32::try_from(bit).ok().and_then(|bit| used.checked_shr(bit));
        if bit >= CHUNK_INODES || shifted.unwrap_or_default() & 1 == 0 {
            return Err(missing());
        }
        Ok(index.saturating_mul(wide(INODE_SIZE)))
    }

    /// Reads an inode that is in use.
    ///
    /// # Errors
    /// [`Error::Broken`], [`Error::Read`].
    pub(super) fn inode(&self, number: u64) -> Result<Inode, Error> {
        let mut bytes = [0; INODE_SIZE];
        self.read_at(self.inode_offset(number)?, &mut bytes)?;
        let decoded = Inode::decode(&bytes, number, self.superblock.uuid);
        let inode = decoded.map_err(|rule| Error::broken(inode_place(number), rule))?;
        if inode.links == 0 {
            return Err(Error::broken(inode_place(number), "it is in use, but has no links"));
        }
        Ok(inode)
    }

    /// The extents of a fork, sorted, whose blocks it claims.
    ///
    /// # Errors
    /// [`Error::Broken`]; [`Error::Unsupported`] for extents that a tree leads to.
    pub(super) fn extents(
        &self,
        number: u64,
        fork: &Fork,
        claims: &mut Claims,
    ) -> Result<Vec<Extent>, Error> {
        let broken = |rule| Error::broken(inode_place(number), rule);
        if fork.format == Format::Tree {
            let feature = "more pieces of a file than an inode lists";
            return Err(Error::unsupported(inode_place(number), feature));
        }
        if fork.format != Format::Extents {
            return Err(broken("it has no blocks"));
        }
        let (all, _) = fork.bytes.as_chunks::<16>();
        let count = usize::try_from(fork.extents).unwrap_or(usize::MAX);
        let all = all.get(..count).ok_or_else(|| broken("it has more extents than room"))?;
        let (mut extents, mut next) = (Vec::new(), 0);
        for bytes in all {
            let extent = Extent::decode(*bytes, &self.superblock.geometry);
            let extent = extent.ok_or_else(|| broken("an extent leads nowhere"))?;
            if extent.logical < next {
                return Err(broken("its extents overlap"));
            }
            next = extent.logical.saturating_add(extent.run.count);
            claims.claim(&inode_place(number), extent.run)?;
            extents.push(extent);
        }
        Ok(extents)
    }

    /// The block that stands at `logical` in a fork.
    pub(super) fn at(extents: &[Extent], logical: u64) -> Option<u64> {
        extents.iter().find_map(|extent| {
            let into = logical.checked_sub(extent.logical)?;
            (into < extent.run.count && extent.written)
                .then(|| extent.run.start.saturating_add(into))
        })
    }

    /// The number of a device.
    pub(super) fn device(fork: &Fork) -> Option<u32> {
        field(&fork.bytes, 0).map(u32::from_be_bytes).filter(|_| fork.format == Format::Device)
    }

    pub(super) fn geometry(&self) -> &Geometry {
        &self.superblock.geometry
    }
}

pub(super) fn inode_place(number: u64) -> String {
    format!("inode {number}")
}

fn read_failed(source: std::io::Error) -> Error {
    Error::Read { source }
}
