//! The partition table of a PC disk (MBR), with one or two Linux partitions.
//!
//! Places and values are those that Kata's runtimes expect: type 0x83, and the boot flag only in
//! measured images, where it means nothing. The boot code
//! is zero: nothing ever boots from this table, and libparted's stub has no meaning in a guest. The
//! signature comes from the content. Specification: UEFI 2.10, section 5.2.1.

use super::{Partition, SECTOR, check};
use crate::image::Error;

const SIGNATURE_AT: usize = 440;
const ENTRIES_AT: usize = 446;
const ENTRY: usize = 16;
const LINUX: u8 = 0x83;
const ACTIVE: u8 = 0x80;
/// The type by which a table of UEFI protects itself from who knows this one only.
const PROTECTIVE: u8 = 0xEE;
const MAGIC: [u8; 2] = [0x55, 0xAA];
/// Addresses by cylinder, head and sector are computed with this shape, and stop at its end.
const HEADS: u64 = 255;
const SECTORS: u64 = 63;
const CYLINDERS: u64 = 1024;

/// A table as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mbr {
    /// The disk's signature.
    pub signature: u32,
    /// The primary partitions in use, by number from 1 on.
    pub partitions: Vec<(usize, Partition)>,
    /// The number of the partition that is marked as the one to boot from.
    pub active: Option<usize>,
}

/// Whether a sector holds the table that stands before one of UEFI: a first entry of its type.
pub(super) fn is_protective(bytes: &[u8; 512]) -> bool {
    bytes.get(ENTRIES_AT + 4) == Some(&PROTECTIVE)
}

/// The 512 bytes of the table that protects one of UEFI on a disk of so many sectors.
pub(super) fn protective(sectors: u64) -> [u8; 512] {
    let mut bytes = [0; 512];
    let count = u32::try_from(sectors.saturating_sub(1)).unwrap_or(u32::MAX);
    let start = 1_u32.to_le_bytes();
    let [a, b, c] = by_cylinder(1);
    // UEFI has its own value for what cannot be said.
    let [d, e, f] = match sectors.saturating_sub(1) {
        last if last < HEADS * SECTORS * CYLINDERS => by_cylinder(last),
        _ => [0xFF; 3],
    };
    let entry = [&[0, a, b, c, PROTECTIVE, d, e, f], &start[..], &count.to_le_bytes()].concat();
    let end = ENTRIES_AT + ENTRY;
    bytes[ENTRIES_AT..end].copy_from_slice(&entry);
    bytes[510..].copy_from_slice(&MAGIC);
    bytes
}

impl Mbr {
    /// The 512 bytes of a table with these partitions.
    ///
    /// # Errors
    /// [`Error::TooLarge`] when the sectors have no 32-bit numbers (2 TiB).
    pub(in crate::image) fn encode(&self) -> Result<[u8; 512], Error> {
        let mut bytes = [0; 512];
        bytes[SIGNATURE_AT..][..4].copy_from_slice(&self.signature.to_le_bytes());
        for (number, Partition { start, count }) in &self.partitions {
            let entry = &mut bytes[ENTRIES_AT + (number - 1) * ENTRY..][..ENTRY];
            entry[0] = if self.active == Some(*number) { ACTIVE } else { 0 };
            let last = start.saturating_add(*count).saturating_sub(1);
            let rule = || "a disk has less than 2 TiB".to_owned();
            let both = u32::try_from(*start).ok().zip(u32::try_from(*count).ok());
            let both = both.filter(|_| last < u64::from(u32::MAX));
            let (first, sectors) =
                both.ok_or_else(|| Error::TooLarge { format: "a partition table", rule: rule() })?;
            entry[1..4].copy_from_slice(&by_cylinder(*start));
            entry[4] = LINUX;
            entry[5..8].copy_from_slice(&by_cylinder(last));
            entry[8..12].copy_from_slice(&first.to_le_bytes());
            entry[12..].copy_from_slice(&sectors.to_le_bytes());
        }
        bytes[510..].copy_from_slice(&MAGIC);
        Ok(bytes)
    }

    /// Reads a table and checks that its partitions lie on a disk of `size` bytes and apart.
    ///
    /// # Errors
    /// [`Error::Broken`], [`Error::Unsupported`] for a type other than Linux.
    pub(super) fn decode(bytes: &[u8; 512], size: u64) -> Result<Self, Error> {
        let place = "partition table";
        if !bytes.ends_with(&MAGIC) {
            return Err(Error::broken(place, "it does not end with 55 AA"));
        }
        let (mut partitions, mut active) = (Vec::new(), None);
        let entries = bytes.iter().as_slice().get(ENTRIES_AT..510).unwrap_or_default();
        for (number, entry) in (1..).zip(entries.as_chunks::<ENTRY>().0) {
            let [.., a, b, c, d, e, f, g, h] = *entry;
            let partition = Partition {
                start: u32::from_le_bytes([a, b, c, d]).into(),
                count: u32::from_le_bytes([e, f, g, h]).into(),
            };
            if entry[0] == ACTIVE {
                active = active.or(Some(number));
            }
            match entry[4] {
                0 => continue,
                LINUX => partitions.push((number, partition)),
                other => {
                    let place = format!("{place}, entry {number}");
                    return Err(Error::unsupported(place, format!("the type {other:#04x}")));
                }
            }
        }
        check(&partitions, 1, size / SECTOR)?;
        let [a, b, c, d] = [440, 441, 442, 443].map(|at| bytes[at]);
        Ok(Self { signature: u32::from_le_bytes([a, b, c, d]), partitions, active })
    }
}

/// The old way of addressing: head, sector (from 1) with the upper cylinder bits, cylinder.
fn by_cylinder(sector: u64) -> [u8; 3] {
    let cylinder = sector / (HEADS * SECTORS);
    if cylinder >= CYLINDERS {
        return [0xFE, 0xFF, 0xFF];
    }
    let low = |value: u64| value.to_le_bytes()[0];
    let head = sector / SECTORS % HEADS;
    let [cylinder_low, cylinder_high, ..] = cylinder.to_le_bytes();
    [low(head), low(sector % SECTORS + 1) | cylinder_high << 6, cylinder_low]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 128 << 20;

    fn table() -> Mbr {
        let partition = Partition::between(1 << 20, SIZE);
        Mbr { signature: 0x1234_5678, partitions: vec![(1, partition)], active: None }
    }

    #[test]
    fn the_entry_equals_that_of_parted() {
        // parted 3.5: mklabel msdos, mkpart primary 1MiB 100%, on a disk of 128 MiB.
        let bytes = table().encode().unwrap();
        let entry = [0, 32, 33, 0, 0x83, 81, 1, 16, 0, 8, 0, 0, 0, 248, 3, 0];
        assert_eq!(bytes[446..462], entry);
        assert_eq!(Mbr::decode(&bytes, SIZE).unwrap(), table());
        assert_eq!(by_cylinder(u64::from(u32::MAX)), [0xFE, 0xFF, 0xFF]);
    }

    #[test]
    fn tables_that_lead_elsewhere_are_refused() {
        let good = table().encode().unwrap();
        for (at, value) in [(510, 0), (450, 0xEE), (461, 0xFF), (454, 1)] {
            let mut bad = good;
            bad[at] = value;
            if at == 454 {
                bad[454..458].copy_from_slice(&0_u32.to_le_bytes());
            }
            assert!(Mbr::decode(&bad, SIZE).is_err(), "{value} at {at}");
        }
        let mut twice = table();
        twice.partitions.push((2, twice.partitions[0].1));
        assert!(Mbr::decode(&twice.encode().unwrap(), SIZE).is_err());
    }

    #[test]
    fn f20_a_disk_of_two_tebibytes_is_refused() {
        let of = |end| {
            let partitions = vec![(1, Partition::between(1 << 20, end))];
            Mbr { signature: 1, partitions, active: None }.encode()
        };
        assert!(of((1 << 41) - 512).is_ok());
        let error = of(1 << 41).unwrap_err().to_string();
        assert!(error.contains("less than 2 TiB"), "{error}");
    }
}
