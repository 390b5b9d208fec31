//! Looks for bytes of an image that are of no table, header, partition or hash tree and not zero, and
//! for the traces of a header that was lost.
//!
//! In an image of ours there are none, and no code before its tables, so nobody can hide anything there.

use super::layout::PARTITION_AT;
use super::medium::first_filled;
use super::read::partitions;
use super::table::{Gpt, SECTOR, Table};
use super::{Error, Medium, Parts, nvdimm, verity};

/// Bytes of the first sector before its table: a program, for machines that start from a disk so.
const BOOT_CODE: u64 = 440;

impl Parts<'_> {
    /// Returns the offset of a byte of the file that nothing accounts for and that is not zero; `None`
    /// when there is none. `medium` is what the parts were read from.
    ///
    /// # Errors
    /// [`Error::Read`] when the medium fails; as [`Parts::verity_superblock`].
    pub fn stray_byte(&self, medium: &dyn Medium) -> Result<Option<u64>, Error> {
        let mut used = self.used()?;
        used.sort_unstable();
        used.push((self.size, self.size));
        let mut at = 0;
        for (start, end) in used {
            if let Some(found) = first_filled(medium, at, start)? {
                return Ok(Some(found));
            }
            at = at.max(end);
        }
        Ok(None)
    }

    /// Whether the first sector, or that of the disk behind the header for persistent memory, holds more
    /// than its table. Nobody runs that in a guest; some partitioning tools write it all the same.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn has_boot_code(&self, medium: &dyn Medium) -> Result<bool, Error> {
        let filled = |at: u64| first_filled(medium, at, at.saturating_add(BOOT_CODE));
        let inner = if self.dax_header { filled(nvdimm::HEADER)? } else { None };
        Ok(filled(0)?.or(inner).is_some())
    }

    /// Whether the disk proper begins where the header for persistent memory ends, with a table of its
    /// own, and the block is missing that makes it a header.
    pub fn has_lost_header(&self, medium: &dyn Medium) -> bool {
        let places = |from| partitions(medium, from, self.size).map(|(places, _)| places);
        let is_behind = self.file_system_at >= nvdimm::HEADER.saturating_add(PARTITION_AT);
        let same = |inner| places(0).is_ok_and(|outer| outer == inner);
        !self.dax_header && is_behind && places(nvdimm::HEADER).is_ok_and(same)
    }

    /// What the file's bytes are for, each stretch by its first byte and the one behind it.
    fn used(&self) -> Result<Vec<(u64, u64)>, Error> {
        let mut used = match self.table {
            Table::Mbr(_) => vec![(0, SECTOR)],
            Table::Gpt(_) => {
                let tail = Gpt::TAIL.saturating_mul(SECTOR);
                vec![(0, tail.saturating_add(SECTOR)), (self.size.saturating_sub(tail), self.size)]
            }
        };
        if self.dax_header {
            used.push((nvdimm::OFFSET, nvdimm::OFFSET.saturating_mul(2)));
            used.push((nvdimm::HEADER, nvdimm::HEADER.saturating_add(SECTOR)));
        }
        let places = self.table.partitions();
        let bytes = |sectors: u64| sectors.saturating_mul(SECTOR);
        let mut places: Vec<_> =
            places.iter().map(|(_, place)| (bytes(place.start), bytes(place.end()))).collect();
        if let (Some(_), Some((start, end))) = (&self.hashes, places.get_mut(1)) {
            let data = self.data.size().map_err(|source| Error::Read { source })?;
            let blocks = verity::tree_blocks(data / verity::BLOCK);
            let blocks = blocks.saturating_add(self.verity_superblock()?.is_some().into());
            *end = start.saturating_add(blocks.saturating_mul(verity::BLOCK)).min(*end);
        }
        used.extend(places);
        Ok(used)
    }
}
