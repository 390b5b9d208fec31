//! Where the parts of an image's file stand.
//!
//! ```text
//!        without DAX header                 with DAX header
//! 0      partition table                    partition table of the file as a disk
//! 4096                                      NVDIMM info block
//! 1 MiB  partition 1                        zero
//! 2 MiB                                     partition table of the file as persistent memory
//! 3 MiB                                     partition 1
//! ```
//!
//! Partition 1 holds the file system and reaches to the end, or, in a measured image, to 99 % of
//! the disk proper in whole MiB; what is behind is partition 2, with the hash tree. The disk proper
//! is the file without the header, so both tables agree on the boundary, which is computed once.
//!
//! Places are those of Kata's `image_builder.sh` and `nsdax`.

use super::Error;
use super::nvdimm;
use super::table::{Partition, Table};

pub(super) const MIB: u64 = 1 << 20;
/// Where partition 1 begins on the disk proper.
pub(super) const PARTITION_AT: u64 = MIB;
/// Partition 1 of a measured disk ends at this many hundredths of it.
const DATA_PERCENT: u64 = 99;

/// Where the parts of a file of `size` bytes stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) size: u64,
    /// Bytes before the disk proper: 2 MiB with the DAX header.
    pub(super) header: u64,
    pub(super) measured: bool,
}

impl Layout {
    pub(super) fn new(size: u64, dax_header: bool, measured: bool) -> Self {
        let header = if dax_header { nvdimm::HEADER } else { 0 };
        Self { size, header, measured }
    }

    /// Where the file system begins.
    pub(super) fn start(&self) -> u64 {
        self.header + PARTITION_AT
    }

    /// Where partition 1 ends and, in a measured image, partition 2 begins.
    pub(super) fn end(&self) -> u64 {
        if self.measured {
            let inner = (self.size - self.header) / MIB;
            self.header + inner * DATA_PERCENT / 100 * MIB
        } else {
            self.size
        }
    }

    /// Bytes of partition 1; none when the file is too small for one.
    pub(super) fn room(&self) -> u64 {
        self.end().saturating_sub(self.start())
    }

    /// The table that shows the partitions from a disk that begins at byte `from` of the file.
    ///
    /// # Errors
    /// [`Error::TooLarge`].
    pub(super) fn table(&self, from: u64, signature: u32) -> Result<[u8; 512], Error> {
        let data = Partition::between(self.start() - from, self.end() - from)?;
        let mut partitions = vec![(1, data)];
        if self.measured {
            partitions.push((2, Partition::between(self.end() - from, self.size - from)?));
        }
        // Kata's builder marks the data of measured images as active.
        let active = self.measured.then_some(1);
        Ok(Table { signature, partitions, active }.encode())
    }
}

/// The first step from `from` on that is enough, found by doubling and halving.
pub(super) fn first_step(from: u64, enough: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut stride) = (from, 1);
    while !enough(low + stride) {
        low += stride;
        stride *= 2;
    }
    let mut high = low + stride;
    if enough(low) {
        return low;
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if enough(middle) { high = middle } else { low = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boundary_is_that_of_kata_s_builder_and_the_same_in_both_tables() {
        // Kata's 256 MiB with the header: the disk proper has 254 MiB, 99 % of it are 251.
        let layout = Layout::new(256 * MIB, true, true);
        assert_eq!((layout.start(), layout.end()), (3 * MIB, 253 * MIB));
        let table = |from| {
            let size = layout.size - from;
            Table::decode(&layout.table(from, 1).unwrap(), size).unwrap().partitions
        };
        let [(1, data), (2, hashes)] = table(0)[..] else { panic!("two partitions") };
        assert_eq!((data.start, data.count), (6144, 512_000));
        assert_eq!((hashes.start, hashes.count), (518_144, 6144));
        for (outer, inner) in table(0).iter().zip(table(2 * MIB)) {
            assert_eq!(outer.1.start, inner.1.start + 4096);
            assert_eq!(outer.1.count, inner.1.count);
        }
        // Where Kata's two computations would disagree: 99 % of 100 and of 102 MiB.
        assert_eq!(Layout::new(102 * MIB, true, true).end(), 101 * MIB);
    }
}
