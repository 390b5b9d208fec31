//! A file system on a medium: inodes, their attributes and their maps, each checked as it is read.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use super::attributes::{self, Attributes};
use super::claims::Claims;
use super::format::{
    BLOCK, INDEX, INDEX_HEADER, Inode, Refusal, SLOT, SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE,
    Superblock, field, incompatible, layout, le16,
};
use super::index::{self, Mapped};
use super::map::{FileMap, Part};
use crate::image::ahead::Ahead;
use crate::image::{Error, Medium, Window};

/// A part that is decompressed at once has at most this many bytes.
const PART_MAX: u64 = 16 << 20;
/// LZ4 makes at most this many bytes of one.
const RATIO_MAX: u64 = 256;

/// A file system whose superblock was read.
#[derive(Debug)]
pub(super) struct Volume<'m> {
    pub(super) medium: Window<'m>,
    metadata: Ahead<'m>,
    pub(super) superblock: Superblock,
}

/// An inode, and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) slot: u64,
    pub(super) inode: Inode,
    /// Where its attributes end, in bytes of the file system.
    end: u64,
    pub(super) attributes: Attributes,
}

impl<'m> Volume<'m> {
    /// Reads and checks the superblock.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Broken`], [`Error::Unsupported`].
    pub(super) fn open(medium: Window<'m>) -> Result<Self, Error> {
        let size = medium.size().map_err(read_failed)?;
        if size < BLOCK {
            return Err(Error::broken("superblock", "the medium ends before it"));
        }
        let mut bytes = [0; SUPERBLOCK_SIZE];
        let offset = u64::try_from(SUPERBLOCK_OFFSET).unwrap_or_default();
        medium.read_at(offset, &mut bytes).map_err(read_failed)?;
        let superblock =
            Superblock::decode(&bytes).map_err(|refusal| refuse("superblock", refusal))?;
        let blocks = u64::from(superblock.blocks);
        if blocks == 0 || blocks.saturating_mul(BLOCK) > size {
            return Err(Error::broken("superblock", "the medium ends before the file system"));
        }
        Ok(Self { medium, metadata: Ahead::new(medium), superblock })
    }

    /// Bytes of the file system.
    pub(super) fn size(&self) -> u64 {
        u64::from(self.superblock.blocks).saturating_mul(BLOCK)
    }

    /// Reads bytes that must be inside.
    fn bytes(&self, place: &str, offset: u64, length: u64) -> Result<Vec<u8>, Error> {
        let end = offset.checked_add(length).filter(|end| *end <= self.size());
        let length = end.and_then(|_| usize::try_from(length).ok());
        let outside = || Error::broken(place, "it points outside the file system");
        let mut bytes = vec![0; length.ok_or_else(outside)?];
        self.metadata.read_at(offset, &mut bytes).map_err(read_failed)?;
        Ok(bytes)
    }

    /// Reads an inode and its attributes, and claims their bytes.
    ///
    /// # Errors
    /// [`Error::Broken`], [`Error::Unsupported`], [`Error::Read`].
    pub(super) fn inode(&self, slot: u64, claims: &mut Claims) -> Result<Found, Error> {
        let place = place_of(slot);
        let start = u64::from(self.superblock.meta_block).saturating_mul(BLOCK);
        let start = slot.checked_mul(SLOT).and_then(|offset| start.checked_add(offset));
        let start = start.ok_or_else(|| Error::broken(&place, "there is no such inode"))?;
        let there = self.size().saturating_sub(start).min(64);
        let bytes = self.bytes(&place, start, there)?;
        let (inode, length) = Inode::decode(&bytes, self.superblock.time)
            .map_err(|refusal| refuse(&place, refusal))?;
        if inode.links == 0 {
            return Err(Error::broken(&place, "a name leads to it, but it has no links"));
        }
        let body = attributes::length(inode.attribute_count);
        let end = start.saturating_add(length).saturating_add(body);
        claims.claim(&place, start, length.saturating_add(body))?;
        let bytes = self.bytes(&place, end.saturating_sub(body), body)?;
        let attributes = self.attributes(&place, &bytes)?;
        Ok(Found { slot, inode, end, attributes })
    }

    fn attributes(&self, place: &str, body: &[u8]) -> Result<Attributes, Error> {
        let broken = |rule| Error::broken(place, rule);
        let attributes::Body { shared, mut own } = attributes::decode(body).map_err(broken)?;
        let table = u64::from(self.superblock.attribute_block).saturating_mul(BLOCK);
        for number in shared {
            let offset = table.saturating_add(u64::from(number).saturating_mul(4));
            let head = self.bytes(place, offset, 4)?;
            let length = attributes::entry_length(field(&head, 0).unwrap_or_default());
            let length = u64::try_from(length).unwrap_or(u64::MAX);
            let entry = self.bytes(place, offset, length)?;
            let (name, value, _) = attributes::decode_entry(&entry).map_err(broken)?;
            if own.insert(name, value).is_some() {
                return Err(broken("an attribute stands there twice"));
            }
        }
        Ok(own)
    }

    /// Where the bytes of a file, directory or link stand. What stands behind its inode is claimed;
    /// blocks are the caller's to claim.
    ///
    /// # Errors
    /// [`Error::Broken`] with the rule that it breaks, [`Error::Unsupported`], [`Error::Read`].
    pub(super) fn map(&self, found: &Found, claims: &mut Claims) -> Result<FileMap, Error> {
        let Found { slot, inode, end, .. } = found;
        let place = place_of(*slot);
        let size = inode.size;
        match inode.layout {
            layout::PLAIN => self.flat(&place, inode, size),
            layout::INLINE => {
                let tail = size.checked_rem(BLOCK).unwrap_or_default();
                let mut map = self.flat(&place, inode, size.saturating_sub(tail))?;
                let crosses =
                    |end: &u64| end / BLOCK != end.saturating_add(tail).saturating_sub(1) / BLOCK;
                if tail > 0 && crosses(end) {
                    return Err(Error::broken(place, "what is behind it crosses a block"));
                }
                self.check(&place, *end, tail)?;
                claims.claim(&place, *end, tail)?;
                map.parts.push(Part { length: tail, place: *end, stored: tail, compressed: false });
                map.parts.retain(|part| part.length > 0);
                Ok(FileMap { size, ..map })
            }
            layout::COMPRESSED | layout::COMPACT => self.compressed(&place, found, claims),
            _ => Err(Error::unsupported(place, "data in chunks, or in another way")),
        }
    }

    fn check(&self, place: &str, start: u64, length: u64) -> Result<(), Error> {
        let end = start.checked_add(length);
        if end.is_none_or(|end| end > self.size()) {
            return Err(Error::broken(place, "it points outside the file system"));
        }
        Ok(())
    }

    fn flat(&self, place: &str, inode: &Inode, size: u64) -> Result<FileMap, Error> {
        if size == 0 {
            return Ok(FileMap::default());
        }
        let start = u64::from(inode.place).saturating_mul(BLOCK);
        let stored = size.checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX);
        self.check(place, start, stored)?;
        let part = Part { length: size, place: start, stored, compressed: false };
        Ok(FileMap { size, parts: vec![part] })
    }

    fn compressed(
        &self,
        place: &str,
        found: &Found,
        claims: &mut Claims,
    ) -> Result<FileMap, Error> {
        let broken = |rule| Error::broken(place, rule);
        let needed = incompatible::ZERO_PADDING;
        if self.superblock.incompatible & needed != needed {
            return Err(Error::unsupported(place, "compression without zeros before it"));
        }
        let size = found.inode.size;
        let header_at = found.end.next_multiple_of(8);
        let is_compact = found.inode.layout == layout::COMPACT;
        let header = self.bytes(place, header_at, 8)?;
        let flags = le16(&header, 4).unwrap_or_default();
        let [algorithm, bits] = field(&header, 6).unwrap_or_default();
        if flags & !7 != 0 || (algorithm & 0xF, bits) != (0, 0) {
            return Err(Error::unsupported(place, "another compressor, or packed ends of files"));
        }
        let count = size.div_ceil(BLOCK);
        let (start, length) = if is_compact {
            // No index takes more than four bytes; what is there may be less.
            let start = header_at.saturating_add(8);
            let most = count.saturating_mul(4).saturating_add(32);
            (start, most.min(self.size().saturating_sub(start)))
        } else {
            let index = u64::try_from(INDEX).unwrap_or_default();
            (header_at.saturating_add(INDEX_HEADER), count.saturating_mul(index))
        };
        let bytes = self.bytes(place, start, length)?;
        let indexes = if is_compact {
            let aligned = usize::try_from(start.checked_rem(32).unwrap_or_default());
            let count = usize::try_from(count).map_err(|_| broken("it is too large"))?;
            index::decode_compact(&bytes, count, aligned.unwrap_or_default(), flags)
        } else {
            index::decode(&bytes)
        };
        let indexes = indexes.map_err(broken)?;
        let own = if is_compact { 8 } else { INDEX_HEADER.saturating_add(length) };
        claims.claim(place, header_at, own)?;
        let extents = index::extents(&indexes, size).map_err(broken)?;
        let parts = extents.iter().map(|extent| self.part(place, extent));
        Ok(FileMap { size, parts: parts.collect::<Result<_, _>>()? })
    }

    fn part(&self, place: &str, extent: &Mapped) -> Result<Part, Error> {
        let start = u64::from(extent.block).saturating_mul(BLOCK);
        let stored = u64::from(extent.blocks).saturating_mul(BLOCK);
        if extent.length > PART_MAX || extent.length > stored.saturating_mul(RATIO_MAX) {
            return Err(Error::broken(place, "an extent holds more than its blocks can give"));
        }
        if extent.blocks > u32::from(self.superblock.cluster_blocks) {
            return Err(Error::broken(place, "a cluster is larger than the superblock says"));
        }
        self.check(place, start, stored)?;
        let Mapped { length, compressed, .. } = *extent;
        Ok(Part { length, place: start, stored, compressed })
    }
}

/// How messages call an inode.
pub(super) fn place_of(slot: u64) -> String {
    format!("inode at slot {slot}")
}

fn refuse(place: &str, refusal: Refusal) -> Error {
    match refusal {
        Refusal::Broken(rule) => Error::broken(place, rule),
        Refusal::Unsupported(feature) => Error::unsupported(place, feature),
    }
}

pub(super) fn read_failed(source: std::io::Error) -> Error {
    Error::Read { source }
}
