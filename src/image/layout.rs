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
//! With a GPT the last MiB is not of the disk proper: the table's second copy stands at its end.
//!
//! Places are those of Kata's `image_builder.sh` and `nsdax`.

use super::nvdimm;
use super::table::{Entry, Gpt, Mbr, Partition, Role, SECTOR, Table};
use crate::distro::Architecture;
use crate::recipe::{ImageOptions, PartitionTable};

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
    /// Bytes behind the disk proper: 1 MiB with a GPT.
    pub(super) footer: u64,
    pub(super) measured: bool,
}

/// What a table calls the disk and its partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Identity {
    /// The signature in an MBR.
    Mbr(u32),
    /// The UUIDs in a GPT: of the disk, and of partitions.
    Gpt { architecture: Architecture, disk: [u8; 16], partitions: [[u8; 16]; 2] },
}

impl Layout {
    pub(super) fn new(size: u64, options: &ImageOptions) -> Self {
        let header = if options.dax_header { nvdimm::HEADER } else { 0 };
        let footer = match options.table {
            PartitionTable::Mbr => 0,
            PartitionTable::Gpt(_) => MIB,
        };
        Self { size, header, footer, measured: options.verity.is_some() }
    }

    /// Where the file system begins.
    pub(super) fn start(&self) -> u64 {
        self.header + PARTITION_AT
    }

    /// Where partition 1 ends and, in a measured image, partition 2 begins.
    pub(super) fn end(&self) -> u64 {
        if self.measured {
            let inner = self.last_end().saturating_sub(self.header) / MIB;
            self.header + inner * DATA_PERCENT / 100 * MIB
        } else {
            self.last_end()
        }
    }

    /// Where the last partition ends.
    pub(super) fn last_end(&self) -> u64 {
        self.size.saturating_sub(self.footer)
    }

    /// Bytes of partition 1; none when the file is too small for one.
    pub(super) fn room(&self) -> u64 {
        self.end().saturating_sub(self.start())
    }

    /// The table that shows the partitions from a disk that begins at byte `from` of the file.
    pub(super) fn table(&self, from: u64, identity: &Identity) -> Table {
        let between = |start, end| Partition::between(start - from, end - from);
        let data = between(self.start(), self.end());
        let hashes = self.measured.then(|| between(self.end(), self.last_end()));
        match *identity {
            Identity::Mbr(signature) => {
                let partitions = [Some((1, data)), hashes.map(|hashes| (2, hashes))];
                let partitions = partitions.into_iter().flatten().collect();
                // Kata's builder marks the data of measured images as active.
                let active = self.measured.then_some(1);
                Table::Mbr(Mbr { signature, partitions, active })
            }
            Identity::Gpt { architecture, disk, partitions: [first, second] } => {
                let entry = |role, uuid, place| Entry::new(role, architecture, uuid, place);
                let tree = hashes.map(|hashes| entry(Role::Verity, second, hashes));
                let entries = [Some(entry(Role::Root, first, data)), tree];
                let entries = entries.into_iter().flatten().collect();
                Table::Gpt(Gpt { disk, sectors: (self.size - from) / SECTOR, entries })
            }
        }
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
    use crate::recipe::Verity;

    fn measured(size: u64) -> Layout {
        let options = ImageOptions { verity: Some(Verity::default()), ..ImageOptions::KATA };
        Layout::new(size, &options)
    }

    #[test]
    fn the_boundary_is_that_of_kata_s_builder_and_the_same_in_both_tables() {
        // Kata's 256 MiB with the header: the disk proper has 254 MiB, 99 % of it are 251.
        let layout = measured(256 * MIB);
        assert_eq!((layout.start(), layout.end()), (3 * MIB, 253 * MIB));
        let table = |from| layout.table(from, &Identity::Mbr(1)).partitions();
        let [(1, data), (2, hashes)] = table(0)[..] else { panic!("two partitions") };
        assert_eq!((data.start, data.count), (6144, 512_000));
        assert_eq!((hashes.start, hashes.count), (518_144, 6144));
        for (outer, inner) in table(0).iter().zip(table(2 * MIB)) {
            assert_eq!(outer.1.start, inner.1.start + 4096);
            assert_eq!(outer.1.count, inner.1.count);
        }
        let Table::Mbr(mbr) = layout.table(0, &Identity::Mbr(1)) else { panic!("an MBR") };
        let bytes = mbr.encode().unwrap();
        assert_eq!((bytes[446], bytes[462]), (0x80, 0), "the data's partition is the active one");
        // Without the header its disk of 254 MiB is all.
        let plain = ImageOptions { dax_header: false, ..ImageOptions::KATA };
        let layout =
            Layout::new(254 * MIB, &ImageOptions { verity: Some(Verity::default()), ..plain });
        let table = layout.table(0, &Identity::Mbr(1)).partitions();
        let [(1, data), (2, hashes)] = table[..] else { panic!("two partitions") };
        assert_eq!((data.start, hashes.start, hashes.count), (2048, 514_048, 6144));
        // Where Kata's two computations would disagree: 99 % of 100 and of 102 MiB.
        assert_eq!(measured(102 * MIB).end(), 101 * MIB);
    }

    #[test]
    fn a_gpt_keeps_the_last_mebibyte_for_its_second_copy() {
        let table = PartitionTable::Gpt(Architecture::X86_64);
        let plain = ImageOptions { dax_header: false, table, ..ImageOptions::KATA };
        let layout = Layout::new(128 * MIB, &plain);
        assert_eq!((layout.start(), layout.end(), layout.last_end()), (MIB, 127 * MIB, 127 * MIB));
        let measured = ImageOptions { verity: Some(Verity::default()), ..plain };
        let layout = Layout::new(128 * MIB, &measured);
        // 99 % of 127 MiB.
        assert_eq!((layout.end(), layout.last_end()), (125 * MIB, 127 * MIB));
        const { assert!(MIB >= Gpt::TAIL * SECTOR) };
    }
}
