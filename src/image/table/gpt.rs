//! The partition table of UEFI (GPT), with the partitions of a guest: its root, and perhaps the
//! hash tree over it, each of the type that says so and names the processor.
//!
//! ```text
//! sector 0         table that keeps others away (a PC's, with one entry over the whole disk)
//! sector 1         header ─┐ CRC over itself and over the entries
//! sectors 2 to 33  128 entries of 128 bytes
//! 1 MiB            partitions
//! last 33 sectors  the entries again, and a header that points to itself and to the first
//! ```
//!
//! The UUIDs of the partitions of a measured image are the two halves of its root hash, so that who
//! knows the hash finds them; all others follow from the content. Partitions are marked as
//! read-only.
//!
//! Specifications: UEFI 2.10, section 5.3, and, for types, UUIDs and the mark, the Discoverable
//! Partitions Specification of the UAPI group
//! (<https://uapi-group.org/specifications/specs/discoverable_partitions_specification/>). Judged by
//! `sfdisk` and `parted`.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use super::{Partition, SECTOR, check, mbr};
use crate::digest::Digest;
use crate::distro::Architecture;
use crate::image::{Error, Medium};

const MAGIC: &[u8; 8] = b"EFI PART";
const REVISION: u32 = 0x0001_0000;
const HEADER: usize = 92;
/// Where the header keeps its own checksum, which is computed with zero in its place.
const CHECKSUM_AT: usize = 16;
const ENTRIES: u32 = 128;
const ENTRY: usize = 128;
/// Sectors of all entries.
const ENTRY_SECTORS: u64 = 32;
/// The first sector that partitions may have.
const FIRST_USABLE: u64 = 2 + ENTRY_SECTORS;
/// What the end of the disk keeps: entries and header.
const BACKUP: u64 = ENTRY_SECTORS + 1;
/// Nobody writes to the partition: bit 60 of its attributes.
const READ_ONLY: u64 = 1 << 60;
/// UTF-16 units of a name.
const NAME: usize = 36;

/// What a partition is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The root file system.
    Root,
    /// The hash tree over it.
    Verity,
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is for.
    pub role: Role,
    /// The processor of the guest.
    pub architecture: Architecture,
    /// Its UUID, in the order in which it is written as text.
    pub uuid: [u8; 16],
    /// Where it is.
    pub partition: Partition,
    /// Its attributes.
    pub attributes: u64,
    /// Its name.
    pub name: String,
}

/// A table as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpt {
    /// The UUID of the disk, in the order in which it is written as text.
    pub disk: [u8; 16],
    /// Sectors of the disk.
    pub sectors: u64,
    /// Its partitions, numbered from 1 on.
    pub entries: Vec<Entry>,
}

/// Each processor with its name in names of partitions, and the types of root and of hash tree.
const TYPES: [(Architecture, &str, u128, u128); 4] = [
    (
        Architecture::X86_64,
        "x86-64",
        0x4f68bce3_e8cd_4db1_96e7_fbcaf984b709,
        0x2c7357ed_ebd2_46d9_aec1_23d437ec2bf5,
    ),
    (
        Architecture::Aarch64,
        "arm64",
        0xb921b045_1df0_41c3_af44_4c6f280d3fae,
        0xdf3300ce_d69f_4c92_978c_9bfb0f38d820,
    ),
    (
        Architecture::Ppc64le,
        "ppc64-le",
        0xc31c45e6_3f39_412e_80fb_4809c4980599,
        0x906bd944_4589_4aae_a4e4_dd983917446a,
    ),
    (
        Architecture::S390x,
        "s390x",
        0x5eead9a9_fe09_4a1e_a1d7_520d00531306,
        0xb325bfbe_c7be_4ab8_8357_139e652d2f6b,
    ),
];

impl Role {
    /// The type of the partition, in the order in which it is written as text.
    pub fn type_id(self, architecture: Architecture) -> [u8; 16] {
        let (_, _, root, verity) = types(architecture);
        match self {
            Self::Root => root.to_be_bytes(),
            Self::Verity => verity.to_be_bytes(),
        }
    }

    /// The usual name of the partition: `root-x86-64`, `root-x86-64-verity`.
    pub fn usual_name(self, architecture: Architecture) -> String {
        let (_, name, ..) = types(architecture);
        match self {
            Self::Root => format!("root-{name}"),
            Self::Verity => format!("root-{name}-verity"),
        }
    }

    fn of(type_id: [u8; 16]) -> Option<(Self, Architecture)> {
        let both = TYPES.into_iter().flat_map(|(architecture, ..)| {
            [(Self::Root, architecture), (Self::Verity, architecture)]
        });
        both.into_iter().find(|(role, architecture)| role.type_id(*architecture) == type_id)
    }
}

fn types(architecture: Architecture) -> (Architecture, &'static str, u128, u128) {
    let found = TYPES.into_iter().find(|(known, ..)| *known == architecture);
    found.expect("every processor has its types")
}

/// The halves of a root hash: the UUIDs of a measured root and of its hash tree.
pub(in crate::image) fn halves(root_hash: &Digest) -> [[u8; 16]; 2] {
    let (halves, _) = root_hash.as_bytes().as_chunks::<16>();
    let [root, tree] = halves else { unreachable!("a digest has 32 bytes") };
    [*root, *tree]
}

impl Entry {
    /// A partition of a guest as it is written: read-only, with its usual name.
    pub(in crate::image) fn new(
        role: Role,
        architecture: Architecture,
        uuid: [u8; 16],
        partition: Partition,
    ) -> Self {
        let name = role.usual_name(architecture);
        Self { role, architecture, uuid, partition, attributes: READ_ONLY, name }
    }

    /// Whether nobody writes to it.
    pub const fn is_read_only(&self) -> bool {
        self.attributes & READ_ONLY != 0
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(mixed(self.role.type_id(self.architecture)));
        bytes.extend(mixed(self.uuid));
        bytes.extend(self.partition.start.to_le_bytes());
        bytes.extend(self.partition.end().saturating_sub(1).to_le_bytes());
        bytes.extend(self.attributes.to_le_bytes());
        self.name.encode_utf16().take(NAME).for_each(|unit| bytes.extend(unit.to_le_bytes()));
        bytes.resize(ENTRY, 0);
        bytes
    }

    /// Reads an entry; `None` when it is not in use.
    fn decode(number: usize, bytes: &[u8; ENTRY]) -> Result<Option<Self>, Error> {
        let place = || format!("partition {number}");
        let type_id = id_at(bytes, 0);
        if type_id == [0; 16] {
            let rule = "it is not in use and not empty";
            let is_empty = bytes.iter().all(|byte| *byte == 0);
            return if is_empty { Ok(None) } else { Err(Error::broken(place(), rule)) };
        }
        let unknown = || Error::unsupported(place(), format!("the type {}", uuid_text(&type_id)));
        let (role, architecture) = Role::of(type_id).ok_or_else(unknown)?;
        let (start, last) = (long_at(bytes, 32), long_at(bytes, 40));
        let count = last.checked_sub(start).and_then(|count| count.checked_add(1));
        let count = count.ok_or_else(|| Error::broken(place(), "it ends before it begins"))?;
        let (units, _) = bytes.get(56..).unwrap_or_default().as_chunks::<2>();
        let units: Vec<u16> = units.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
        let end = units.iter().position(|unit| *unit == 0).unwrap_or(units.len());
        if units.iter().skip(end).any(|unit| *unit != 0) {
            return Err(Error::broken(place(), "its name goes on behind its end"));
        }
        let name = String::from_utf16_lossy(units.get(..end).unwrap_or_default());
        let (uuid, attributes) = (id_at(bytes, 16), long_at(bytes, 48));
        let partition = Partition { start, count };
        Ok(Some(Self { role, architecture, uuid, partition, attributes, name }))
    }
}

impl Gpt {
    /// Sectors at the end of a disk that no partition may have.
    pub(in crate::image) const TAIL: u64 = BACKUP;

    /// What stands at the beginning of the disk, and what stands at its end.
    pub(in crate::image) fn encode(&self) -> (Vec<u8>, Vec<u8>) {
        let mut entries: Vec<u8> = self.entries.iter().flat_map(Entry::encode).collect();
        let all = usize::try_from(ENTRY_SECTORS.saturating_mul(SECTOR)).expect("16384 fits");
        entries.resize(all, 0);
        let last = self.sectors.saturating_sub(1);
        let mut first = mbr::protective(self.sectors).to_vec();
        first.extend(self.header((1, last), 2, &entries));
        first.extend(&entries);
        let behind = self.sectors.saturating_sub(BACKUP);
        let backup = self.header((last, 1), behind, &entries);
        (first, [entries, backup].concat())
    }

    /// The sector of a header that stands at the first of these places and points to the other.
    fn header(&self, (own, other): (u64, u64), entries_at: u64, entries: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(MAGIC);
        bytes.extend(REVISION.to_le_bytes());
        bytes.extend(u32::try_from(HEADER).expect("92 fits").to_le_bytes());
        bytes.extend([0; 8]);
        let last_usable = self.sectors.saturating_sub(BACKUP).saturating_sub(1);
        for place in [own, other, FIRST_USABLE, last_usable] {
            bytes.extend(place.to_le_bytes());
        }
        bytes.extend(mixed(self.disk));
        bytes.extend(entries_at.to_le_bytes());
        bytes.extend(ENTRIES.to_le_bytes());
        bytes.extend(u32::try_from(ENTRY).expect("128 fits").to_le_bytes());
        bytes.extend(libdeflater::crc32(entries).to_le_bytes());
        let checksum = libdeflater::crc32(&bytes).to_le_bytes();
        bytes.splice(CHECKSUM_AT..CHECKSUM_AT.saturating_add(4), checksum);
        bytes.resize(usize::try_from(SECTOR).expect("512 fits"), 0);
        bytes
    }

    /// Reads both copies of the table of a disk whose first sector is `first`; they must say the
    /// same.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Broken`], [`Error::Unsupported`] for types of partitions that no
    /// guest has, and for entries of other sizes.
    pub(super) fn read(medium: &dyn Medium, first: &[u8; 512]) -> Result<Self, Error> {
        let failed = |source| Error::Read { source };
        let sectors = medium.size().map_err(failed)? / SECTOR;
        if sectors <= FIRST_USABLE.saturating_add(BACKUP) {
            return Err(Error::broken("GPT", "the disk is too small for it"));
        }
        if *first != mbr::protective(sectors) {
            let rule = "the MBR before it is not the one that protects it on this disk";
            return Err(Error::broken("GPT", rule));
        }
        let last = sectors.saturating_sub(1);
        let read = |place, own, other| Copy::read(medium, place, (own, other));
        let primary = read("GPT header", 1, last)?;
        let backup = read("GPT backup header", last, 1)?;
        let disk = primary.disk;
        if (backup.disk, &backup.usable, &backup.entries)
            != (disk, &primary.usable, &primary.entries)
        {
            return Err(Error::broken("GPT backup header", "it does not say what the first says"));
        }
        let (begin, end) = (primary.usable.start, primary.usable.end);
        if primary.entries_end > begin || end > backup.entries_at {
            return Err(Error::broken("GPT header", "partitions may lie where the table is"));
        }
        let entries = entries(&primary.entries)?;
        let places = (1..).zip(entries.iter().map(|entry| entry.partition)).collect::<Vec<_>>();
        check(&places, begin, end)?;
        Ok(Self { disk, sectors, entries })
    }

    /// Whether the UUIDs of the partitions are the halves of this root hash.
    pub fn is_of(&self, root_hash: &Digest) -> bool {
        let uuids = self.entries.iter().map(|entry| entry.uuid);
        uuids.eq(halves(root_hash))
    }
}

/// The partitions in the bytes of entries: a root, and perhaps its hash tree, and nothing else.
fn entries(bytes: &[u8]) -> Result<Vec<Entry>, Error> {
    let (all, _) = bytes.as_chunks::<ENTRY>();
    let mut found = Vec::new();
    for (number, bytes) in (1_usize..).zip(all) {
        let Some(entry) = Entry::decode(number, bytes)? else { continue };
        if found.len().checked_add(1) != Some(number) {
            return Err(Error::broken("GPT", "partitions are not numbered from 1 on"));
        }
        found.push(entry);
    }
    let places = |entry: &Entry| (entry.role, entry.architecture);
    match found.as_slice() {
        [root] if root.role == Role::Root => Ok(found),
        [root, tree]
            if root.role == Role::Root && places(tree) == (Role::Verity, root.architecture) =>
        {
            Ok(found)
        }
        _ => Err(Error::unsupported("GPT", "partitions other than a root and its hash tree")),
    }
}

/// One of the two copies.
struct Copy {
    disk: [u8; 16],
    /// Sectors for partitions.
    usable: std::ops::Range<u64>,
    entries_at: u64,
    entries_end: u64,
    entries: Vec<u8>,
}

impl Copy {
    /// Reads the header in the sector `own`, which must name `other` as the place of the other one,
    /// and its entries.
    fn read(medium: &dyn Medium, place: &str, (own, other): (u64, u64)) -> Result<Self, Error> {
        let failed = |source| Error::Read { source };
        let broken = |rule| Error::broken(place, rule);
        let mut sector = [0; 512];
        medium.read_at(own.saturating_mul(SECTOR), &mut sector).map_err(failed)?;
        let (header, rest) = sector.split_at(HEADER);
        if !header.starts_with(MAGIC) {
            return Err(broken("it does not begin with \"EFI PART\""));
        }
        if (word_at(header, 8), word_at(header, 12)) != (REVISION, 92) {
            return Err(Error::unsupported(place, "another revision or size of the header"));
        }
        let mut blank = header.to_vec();
        blank.splice(CHECKSUM_AT..CHECKSUM_AT.saturating_add(4), [0; 4]);
        if libdeflater::crc32(&blank) != word_at(header, CHECKSUM_AT) {
            return Err(broken("its checksum is wrong"));
        }
        if word_at(header, 20) != 0 || rest.iter().any(|byte| *byte != 0) {
            return Err(broken("there is something where it has nothing"));
        }
        if (long_at(header, 24), long_at(header, 32)) != (own, other) {
            return Err(broken("it is for another place or another size of the disk"));
        }
        if (word_at(header, 80), word_at(header, 84)) != (ENTRIES, 128) {
            return Err(Error::unsupported(place, "other than 128 entries of 128 bytes"));
        }
        let entries_at = long_at(header, 72);
        let entries_end = entries_at.saturating_add(ENTRY_SECTORS);
        let last = own.max(other);
        if entries_at < 2 || entries_end > last {
            return Err(broken("its entries lie outside of the disk"));
        }
        let mut entries = vec![0; ENTRY.saturating_mul(128)];
        medium.read_at(entries_at.saturating_mul(SECTOR), &mut entries).map_err(failed)?;
        if libdeflater::crc32(&entries) != word_at(header, 88) {
            return Err(broken("the checksum of its entries is wrong"));
        }
        let usable = long_at(header, 40)..long_at(header, 48).saturating_add(1);
        Ok(Self { disk: id_at(header, 56), usable, entries_at, entries_end, entries })
    }
}

/// A UUID as it is on the disk, from the order of its text and back: the first three of its five
/// parts are numbers, with their lowest byte first.
const fn mixed(bytes: [u8; 16]) -> [u8; 16] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
    [d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p]
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let found = bytes.get(at..).and_then(<[u8]>::first_chunk);
    *found.expect("headers and entries have a fixed size")
}

fn id_at(bytes: &[u8], at: usize) -> [u8; 16] {
    mixed(array_at(bytes, at))
}

fn long_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

fn word_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

/// A UUID with its dashes (RFC 9562).
pub fn uuid_text(bytes: &[u8; 16]) -> String {
    let mut text = String::new();
    for (index, byte) in bytes.iter().enumerate() {
        let dash = if matches!(index, 4 | 6 | 8 | 10) { "-" } else { "" };
        text.push_str(&format!("{dash}{byte:02x}"));
    }
    text
}
