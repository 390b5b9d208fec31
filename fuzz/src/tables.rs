//! Small measured disk images, of which fuzz targets change what stands around the file system: both
//! kinds of tables, the block for persistent memory, the superblock of the hash tree.
//!
//! Each ten bytes of a fuzzer are a change: two name a place in these structures, laid side by side,
//! and eight are put there. A table of UEFI gets right checksums afterwards, at every second length,
//! or no change would get beyond them.

use std::ops::Range;
use std::sync::Mutex;

use osbuilder::distro::Architecture;
use osbuilder::image;
use osbuilder::recipe::{FileSystem, ImageOptions, PartitionTable, Verity};

const SECTOR: usize = 512;
/// The sectors of a table of UEFI: at the beginning with the one that protects it, and at the end.
const GPT: usize = 34 * SECTOR;
const BACKUP: usize = 33 * SECTOR;
/// The bytes of its entries.
const ENTRIES: usize = 32 * SECTOR;

/// An image that is as it was made, but while somebody looks at it.
pub struct Tables {
    bytes: Mutex<Vec<u8>>,
    /// What may be changed.
    places: Vec<Range<usize>>,
    is_gpt: bool,
}

impl Tables {
    /// An image with an MBR before and behind the header for persistent memory.
    pub fn mbr() -> Self {
        let tables = |_| vec![0..SECTOR, 4096..8192, (2 << 20)..(2 << 20) + SECTOR];
        Self::new(PartitionTable::Mbr, tables)
    }

    /// An image with a table of UEFI.
    pub fn gpt() -> Self {
        let tables = |size| vec![0..GPT, 4096 * 8..4096 * 9, size - BACKUP..size];
        Self::new(PartitionTable::Gpt(Architecture::X86_64), tables)
    }

    fn new(table: PartitionTable, places: impl Fn(usize) -> Vec<Range<usize>>) -> Self {
        let is_gpt = table != PartitionTable::Mbr;
        let options = ImageOptions {
            file_system: FileSystem::Erofs,
            alignment_mib: 2,
            dax_header: !is_gpt,
            verity: Some(Verity { superblock: true, ..Verity::default() }),
            table,
            ..ImageOptions::KATA
        };
        let bytes = crate::image_of(&options);
        let parts = image::parts(&bytes).expect("what was made can be read");
        let superblock = parts.table.partitions().get(1).expect("it is measured").1.start;
        let superblock = usize::try_from(superblock).expect("it is small") * SECTOR;
        let mut places = places(bytes.len());
        places.push(superblock..superblock + SECTOR);
        Self { bytes: Mutex::new(bytes), places, is_gpt }
    }

    /// Reads the image with changes.
    pub fn look(&self, changes: &[u8]) {
        let mut bytes = self.bytes.lock().expect("a panic ends the process");
        let before: Vec<Vec<u8>> =
            self.places.iter().map(|at| bytes[at.clone()].to_vec()).collect();
        for change in changes.as_chunks::<10>().0 {
            let mut place = usize::from(u16::from_le_bytes([change[0], change[1]]));
            for range in &self.places {
                if place + 8 <= range.len() {
                    bytes[range.start + place..][..8].copy_from_slice(&change[2..]);
                }
                let Some(rest) = place.checked_sub(range.len()) else { break };
                place = rest;
            }
        }
        if self.is_gpt && changes.len() % 2 == 0 {
            seal(&mut bytes);
        }
        if let Ok(parts) = image::parts(&*bytes) {
            parts.verity_superblock().ok();
        }
        for (range, old) in self.places.iter().zip(before) {
            bytes[range.clone()].copy_from_slice(&old);
        }
    }
}

/// Makes the checksums of both copies right, where their entries are on the disk.
fn seal(bytes: &mut [u8]) {
    let last = bytes.len() - SECTOR;
    for at in [SECTOR, last] {
        let entries = u64::from_le_bytes(*bytes[at + 72..].first_chunk().expect("eight bytes"));
        let entries = usize::try_from(entries).ok().and_then(|sector| sector.checked_mul(SECTOR));
        let entries = entries.and_then(|start| bytes.get(start..start.checked_add(ENTRIES)?));
        if let Some(checksum) = entries.map(libdeflater::crc32) {
            bytes[at + 88..][..4].copy_from_slice(&checksum.to_le_bytes());
        }
        bytes[at + 16..][..4].fill(0);
        let own = libdeflater::crc32(&bytes[at..at + 92]);
        bytes[at + 16..][..4].copy_from_slice(&own.to_le_bytes());
    }
}
