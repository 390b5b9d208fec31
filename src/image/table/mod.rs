//! Partition tables: that of a PC disk (MBR), which Kata's images have, and that of UEFI (GPT).
//!
//! Comes in: where partitions stand. Goes out: the bytes of the table, and back. Both readers trust
//! nothing, and know the partitions of guests only: one with a file system, and perhaps one with
//! the hash tree over it.

mod gpt;
mod mbr;
#[cfg(test)]
mod tests;

pub(super) use gpt::halves;
pub use gpt::{Entry, Gpt, Role, uuid_text};
pub use mbr::Mbr;

use super::{Error, Medium};

/// Bytes of a sector, the unit of all numbers in the tables.
pub const SECTOR: u64 = 512;

/// A stretch of a disk, in sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// The first sector.
    pub start: u64,
    /// How many, never none.
    pub count: u64,
}

/// A table as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Table {
    /// Of a PC disk.
    Mbr(Mbr),
    /// Of UEFI.
    Gpt(Gpt),
}

impl Partition {
    /// The partition from byte `start` to byte `end`, both at whole sectors.
    pub(super) const fn between(start: u64, end: u64) -> Self {
        Self { start: start / SECTOR, count: end.saturating_sub(start) / SECTOR }
    }

    /// The first sector behind it.
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.count)
    }
}

impl Table {
    /// Reads the table of the disk that `medium` is, and checks that its partitions lie on it and
    /// apart.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Broken`], [`Error::Unsupported`] for partitions that no guest has.
    pub(super) fn read(medium: &dyn Medium) -> Result<Self, Error> {
        let failed = |source| Error::Read { source };
        let size = medium.size().map_err(failed)?;
        let mut sector = [0; 512];
        medium.read_at(0, &mut sector).map_err(failed)?;
        if mbr::is_protective(&sector) {
            return Gpt::read(medium, &sector).map(Self::Gpt);
        }
        Mbr::decode(&sector, size).map(Self::Mbr)
    }

    /// As recipes and people call it: `mbr`, `gpt`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Mbr(_) => "mbr",
            Self::Gpt(_) => "gpt",
        }
    }

    /// What tells the disk from others: eight hexadecimal digits, or a UUID.
    pub fn identity(&self) -> String {
        match self {
            Self::Mbr(table) => format!("{:08x}", table.signature),
            Self::Gpt(table) => uuid_text(&table.disk),
        }
    }

    /// The partitions in use, by number from 1 on.
    pub fn partitions(&self) -> Vec<(usize, Partition)> {
        match self {
            Self::Mbr(table) => table.partitions.clone(),
            Self::Gpt(table) => {
                (1..).zip(table.entries.iter().map(|entry| entry.partition)).collect()
            }
        }
    }
}

/// Whether these partitions lie in the sectors from `first` up to `end`, and apart.
fn check(partitions: &[(usize, Partition)], first: u64, end: u64) -> Result<(), Error> {
    let mut sorted = partitions.to_vec();
    sorted.sort_unstable_by_key(|(_, partition)| partition.start);
    let mut behind = first;
    for (number, partition) in sorted {
        let place = format!("partition {number}");
        if partition.start < behind || partition.count == 0 {
            return Err(Error::broken(place, "it is empty or overlaps with another or the table"));
        }
        if partition.end() > end {
            return Err(Error::broken(place, "it ends beyond the disk"));
        }
        behind = partition.end();
    }
    Ok(())
}
