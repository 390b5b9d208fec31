//! Reads an image: its tables, its header, its file system, and the hash tree over it.

use super::known::{Hashing, Known};
use super::layout::PARTITION_AT;
use super::table::{Partition, SECTOR, Table};
use super::{Error, FileSystem, Medium, Window, file_system, nvdimm, verity};

/// The parts of an image, by its tables.
#[derive(Debug, Clone)]
pub struct Parts<'m> {
    /// Bytes of the file.
    pub size: u64,
    /// Whether the header for persistent memory stands before the disk proper.
    pub dax_header: bool,
    /// The partition table of the file as a disk.
    pub table: Table,
    /// Where the file system begins, in bytes.
    pub file_system_at: u64,
    /// Partition 1.
    pub data: Window<'m>,
    /// Partition 2 of a measured image: the hash tree over all of partition 1.
    pub hashes: Option<Window<'m>>,
}

/// An image that was read.
#[derive(Debug)]
pub struct Disk<'m> {
    /// Its parts.
    pub parts: Parts<'m>,
    /// The file system in partition 1.
    pub file_system: FileSystem<'m>,
}

/// Reads an image back, hashing contents on up to `threads` threads. Trusts nothing.
///
/// # Errors
/// [`Error::Read`] when the medium fails, [`Error::Broken`] with the first rule that does not hold,
/// [`Error::Unsupported`] for what Kata's images do not have.
pub fn read(medium: &dyn Medium, threads: usize) -> Result<Disk<'_>, Error> {
    read_with(medium, Hashing { threads, known: &Known::default() })
}

/// As [`read`], hashing contents as `hashing` says.
pub(super) fn read_with<'m>(
    medium: &'m dyn Medium,
    hashing: Hashing<'_>,
) -> Result<Disk<'m>, Error> {
    let parts = parts(medium)?;
    let file_system = file_system::read(parts.data, hashing)?;
    Ok(Disk { parts, file_system })
}

/// Reads the tables and the header of an image, and nothing else.
///
/// # Errors
/// As [`read`].
pub fn parts(medium: &dyn Medium) -> Result<Parts<'_>, Error> {
    let failed = |source| Error::Read { source };
    let size = medium.size().map_err(failed)?;
    if size < 2 * PARTITION_AT {
        return Err(Error::broken("image", "it is too small for a partition"));
    }
    let mut block = [0; nvdimm::SIZE];
    medium.read_at(nvdimm::OFFSET, &mut block).map_err(failed)?;
    let dax_header = nvdimm::is_info_block(&block);
    if dax_header && block != nvdimm::info_block() {
        return Err(Error::broken("NVDIMM info block", "it is not the one of Kata's images"));
    }
    let (places, table) = partitions(medium, 0, size)?;
    if dax_header && matches!(table, Table::Gpt(_)) {
        return Err(Error::unsupported("NVDIMM info block", "a GPT around it"));
    }
    if dax_header && partitions(medium, nvdimm::HEADER, size)?.0 != places {
        return Err(Error::broken("partition tables", "they point to different places"));
    }
    let window = |&(start, end): &(u64, u64)| Window::new(medium, start, end - start);
    let (data, hashes, file_system_at) = match places.as_slice() {
        [data] => (window(data), None, data.0),
        [data, hashes] => (window(data), Some(window(hashes)), data.0),
        _ => return Err(Error::unsupported("partition table", "more than two partitions")),
    };
    Ok(Parts { size, dax_header, table, file_system_at, data, hashes })
}

/// The partitions in the table at byte `from`, each by its first byte and the one behind it, and the
/// table.
pub(super) fn partitions(
    medium: &dyn Medium,
    from: u64,
    size: u64,
) -> Result<(Vec<(u64, u64)>, Table), Error> {
    let table = Table::read(&Window::new(medium, from, size.saturating_sub(from)))?;
    let found = table.partitions();
    if found.is_empty() || !found.iter().map(|(number, _)| *number).eq(1..=found.len()) {
        return Err(Error::broken("partition table", "partitions are not numbered from 1 on"));
    }
    let bytes = |sectors: u64| from.saturating_add(sectors.saturating_mul(SECTOR));
    let place =
        |(_, partition): &(usize, Partition)| (bytes(partition.start), bytes(partition.end()));
    Ok((found.iter().map(place).collect(), table))
}

impl Parts<'_> {
    /// Hashes partition 1 again, on up to `threads` threads, and compares with the hash tree in
    /// partition 2 and with the root hash.
    ///
    /// # Errors
    /// [`Error::Broken`], naming the first block that differs, and for an image without a hash
    /// tree or parameters that leave a part of the partition unchecked; else as
    /// [`verity::verify`].
    pub fn verify(&self, parameters: &verity::Parameters, threads: usize) -> Result<(), Error> {
        let place = "dm-verity";
        let hashes = self.hashes.as_ref();
        let hashes = hashes.ok_or_else(|| Error::broken(place, "there is no second partition"))?;
        let failed = |source| Error::Read { source };
        let covered = parameters.data_blocks.checked_mul(u64::from(parameters.data_block_size));
        if covered != Some(self.data.size().map_err(failed)?) {
            return Err(Error::broken(place, "the parameters do not cover all of partition 1"));
        }
        if let Table::Gpt(table) = &self.table
            && !table.is_of(&parameters.root_hash)
        {
            let rule = "the partitions' UUIDs are not the two halves of the root hash";
            return Err(Error::broken(place, rule));
        }
        let tree = match self.verity_superblock()? {
            Some(_) => hashes.part(verity::BLOCK),
            None => *hashes,
        };
        verity::verify(&self.data, &tree, parameters, threads)
    }

    /// The superblock before the hash tree, if there is one.
    ///
    /// # Errors
    /// As [`verity::Superblock::decode`], and [`Error::Read`].
    pub fn verity_superblock(&self) -> Result<Option<verity::Superblock>, Error> {
        let Some(hashes) = &self.hashes else { return Ok(None) };
        let mut bytes = [0; SECTOR as usize];
        if hashes.size().map_err(|source| Error::Read { source })? < SECTOR {
            return Ok(None);
        }
        hashes.read_at(0, &mut bytes).map_err(|source| Error::Read { source })?;
        verity::Superblock::decode(&bytes)
    }
}
