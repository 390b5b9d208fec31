//! The whole image: partition tables, the block for persistent memory, and the file system.
//!
//! ```text
//!        without DAX header                 with DAX header
//! 0      partition table                    partition table of the file as a disk
//! 4096                                      NVDIMM info block
//! 1 MiB  file system                        zero
//! 2 MiB                                     partition table of the file as persistent memory
//! 3 MiB                                     file system
//! ```
//!
//! Size: the smallest multiple of the alignment whose file system holds the tree, keeps 3 % for
//! root, and leaves [`FREE_ALWAYS`] plus the free space asked for to ordinary users. Kata's builder
//! formats disks that grow by 10 MiB until the free space exceeds the size of the tree, adds the
//! free space asked for and rounds up in the same way; so it leaves between 1 and some 10 MiB too.
//!
//! Places are those of Kata's `image_builder.sh` and `nsdax`.

use fs_err::File;
use fs_err::os::unix::fs::FileExt as _;

use super::table::{Partition, Table};
use super::{Error, Medium, Window, ext4, nvdimm};
use crate::digest::{Digest, Hasher};
use crate::epoch::Epoch;
use crate::recipe::{FileSystem, ImageOptions};
use crate::tree::{Content, Contents, Inode, Kind, Meta, Tree, TreePath};

const MIB: u64 = 1 << 20;
/// Where the partition begins on the disk proper.
const PARTITION_AT: u64 = MIB;
/// Free bytes that every image has.
const FREE_ALWAYS: u64 = MIB;

/// An image whose every byte has a place. Nothing is written yet.
#[derive(Debug, Clone)]
pub struct Plan {
    tree: Tree,
    size: u64,
    /// Bytes before the disk proper: 2 MiB with the DAX header.
    header: u64,
    signature: u32,
    file_system: ext4::Plan,
}

/// What was written: facts for the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Bytes of the file.
    pub size: u64,
    /// Where the file system begins, in bytes.
    pub file_system_at: u64,
    /// Bytes of the file system.
    pub file_system_size: u64,
    /// Free bytes in it, including those kept for root.
    pub free: u64,
    /// Free inodes in it.
    pub free_inodes: u64,
    /// Its UUID.
    pub uuid: [u8; 16],
}

/// Gives every file of `tree` its place in an image. Times later than `epoch` become `epoch`; an
/// empty `/etc/machine-id` is made where `/etc` has none.
///
/// # Errors
/// [`Error::BadOption`]; [`Error::CannotHold`], naming the first file that does not fit into the
/// format; [`Error::TooLarge`].
pub fn plan(tree: &Tree, options: &ImageOptions, epoch: Epoch) -> Result<Plan, Error> {
    check_options(options)?;
    let tree = prepare(tree, epoch);
    let origin = origin(&tree, options, epoch);
    let header = if options.dax_header { nvdimm::HEADER } else { 0 };
    let start = header + PARTITION_AT;
    let alignment = options.alignment_mib * MIB;
    // The first size has room for at least something behind the start.
    let disk_size = |step: u64| {
        let first = (start + MIB).next_multiple_of(alignment);
        first.saturating_add(step.saturating_mul(alignment))
    };
    let FileSystem::Ext4 = options.file_system;
    let ext4_options = ext4::Options {
        block_size: options.block_size,
        journal: options.journal,
        free: FREE_ALWAYS + options.free_space_mib * MIB,
        identity: ext4::Identity::new(&origin, epoch),
    };
    let (step, file_system) = ext4::plan(&tree, &ext4_options, |step| disk_size(step) - start)?;
    let size = disk_size(step);
    Partition::between(PARTITION_AT, size)?;
    let signature = Digest::of(format!("osbuilder disk signature {origin}").as_bytes());
    let signature = u32::from_le_bytes(*signature.as_bytes().first_chunk().expect("32 bytes"));
    Ok(Plan { tree, size, header, signature, file_system })
}

fn check_options(options: &ImageOptions) -> Result<(), Error> {
    let bad = |option, value, rule| Err(Error::BadOption { option, value, rule });
    let ImageOptions { block_size, free_space_mib, alignment_mib, .. } = *options;
    if ![1024, 2048, 4096].contains(&block_size) {
        return bad("block_size", block_size.into(), "it is 1024, 2048 or 4096");
    }
    if !(1..=1 << 20).contains(&alignment_mib) {
        return bad("alignment_mib", alignment_mib, "it is 1 to 1048576");
    }
    if free_space_mib > 1 << 24 {
        return bad("free_space_mib", free_space_mib, "it is at most 16777216");
    }
    Ok(())
}

/// The tree as the image will hold it.
fn prepare(tree: &Tree, epoch: Epoch) -> Tree {
    let mut tree = tree.clone();
    let machine_id = TreePath::parse("etc/machine-id").expect("a clean path");
    let etc = TreePath::parse("etc").expect("a clean path");
    if let Some(Inode { meta, kind: Kind::Directory(_) }) = tree.get(&etc)
        && tree.get(&machine_id).is_none()
    {
        let meta = Meta { mtime: meta.mtime, ..Meta::root(0o644) };
        let empty = Inode { meta, kind: Kind::Regular(Content::empty()) };
        tree.insert(&machine_id, empty).expect("the directory exists and the name is free");
    }
    let ids: Vec<_> = tree.walk().map(|(_, id, _)| id).collect();
    for id in ids {
        let meta = &mut tree.inode_mut(id).meta;
        meta.mtime = epoch.clamp(meta.mtime);
        ext4::normalise(&mut meta.xattrs);
    }
    ext4::remove_spare(&mut tree);
    tree
}

/// The digest that every name in the image derives from. The header is left out: the disk behind
/// it is the same with and without.
fn origin(tree: &Tree, options: &ImageOptions, epoch: Epoch) -> Digest {
    let mut hasher = Hasher::default();
    let ImageOptions { block_size, free_space_mib, alignment_mib, journal, .. } = options;
    let settings = [u64::from(*block_size), *free_space_mib, *alignment_mib, (*journal).into()];
    hasher.update(format!("ext4 {settings:?} {}\n", epoch.seconds()).as_bytes());
    hasher.update(tree.to_listing().as_bytes());
    hasher.finish()
}

impl Plan {
    /// Bytes of the file to be written.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The tree as the image holds it: times clamped, `/etc/machine-id` made.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    fn start(&self) -> u64 {
        self.header + PARTITION_AT
    }

    /// A table that shows the file system from a disk that begins at byte `from` of the file.
    fn table(&self, from: u64) -> Result<[u8; 512], Error> {
        let partition = Partition::between(self.start() - from, self.size - from)?;
        Ok(Table { signature: self.signature, partitions: vec![(1, partition)] }.encode())
    }

    /// What will be written.
    pub fn facts(&self) -> Image {
        Image {
            size: self.size,
            file_system_at: self.start(),
            file_system_size: self.file_system.size(),
            free: self.file_system.free_bytes(),
            free_inodes: self.file_system.free_inodes(),
            uuid: self.file_system.uuid(),
        }
    }
}

/// Writes the image into `file` on up to `threads` threads; the bytes do not depend on their
/// number. What the file held before is lost. Nothing is synced: the caller decides when.
///
/// # Errors
/// [`Error::Write`]; [`Error::Content`] when a content cannot be read, or is not what its digest or
/// size promise.
pub fn write(
    plan: &Plan,
    contents: &dyn Contents,
    file: &File,
    threads: usize,
) -> Result<Image, Error> {
    let failed = |source| Error::Write { source };
    file.set_len(0).and_then(|()| file.set_len(plan.size)).map_err(failed)?;
    file.write_all_at(&plan.table(0)?, 0).map_err(failed)?;
    if plan.header > 0 {
        file.write_all_at(&nvdimm::info_block(), nvdimm::OFFSET).map_err(failed)?;
        file.write_all_at(&plan.table(plan.header)?, plan.header).map_err(failed)?;
    }
    plan.file_system.write(contents, file, plan.start(), threads)?;
    Ok(plan.facts())
}

/// An image that was read.
#[derive(Debug)]
pub struct Disk<'m> {
    /// Bytes of the file.
    pub size: u64,
    /// Whether the header for persistent memory stands before the disk proper.
    pub dax_header: bool,
    /// The partition table of the file as a disk.
    pub table: Table,
    /// Where the file system begins, in bytes.
    pub file_system_at: u64,
    /// The file system in partition 1.
    pub file_system: ext4::FileSystem<'m>,
}

/// Reads an image back, hashing contents on up to `threads` threads. Trusts nothing.
///
/// # Errors
/// [`Error::Read`] when the medium fails, [`Error::Broken`] with the first rule that does not hold,
/// [`Error::Unsupported`] for what Kata's images do not have.
pub fn read(medium: &dyn Medium, threads: usize) -> Result<Disk<'_>, Error> {
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
    let (start, table) = first_partition(medium, 0, size)?;
    if dax_header {
        let (second, _) = first_partition(medium, nvdimm::HEADER, size)?;
        if second != start {
            return Err(Error::broken("partition tables", "they point to different places"));
        }
    }
    let window = Window::new(medium, start.0, start.1 - start.0);
    let file_system = ext4::read(window, threads)?;
    Ok(Disk { size, dax_header, table, file_system_at: start.0, file_system })
}

/// The first and the last byte but one of partition 1 in the table at byte `from`, and the table.
fn first_partition(
    medium: &dyn Medium,
    from: u64,
    size: u64,
) -> Result<((u64, u64), Table), Error> {
    let mut sector = [0; 512];
    medium.read_at(from, &mut sector).map_err(|source| Error::Read { source })?;
    let table = Table::decode(&sector, size.saturating_sub(from))?;
    let Some((1, partition)) = table.partitions.first().copied() else {
        return Err(Error::broken("partition table", "there is no partition 1"));
    };
    let bytes = |sectors: u32| u64::from(sectors) * super::table::SECTOR;
    let start = from + bytes(partition.start);
    Ok(((start, start + bytes(partition.count)), table))
}

/// Reads what [`write()`] wrote and compares it with the plan, before it gets its final name.
///
/// # Errors
/// As [`read`], and [`Error::Differs`].
pub fn check(plan: &Plan, medium: &dyn Medium, threads: usize) -> Result<(), Error> {
    let disk = read(medium, threads)?;
    let facts = [
        (disk.size == plan.size, "the size of the image"),
        (disk.file_system_at == plan.start(), "the place of the file system"),
        (disk.table.signature == plan.signature, "the signature of the disk"),
        (disk.file_system.summary().uuid == plan.file_system.uuid(), "the UUID of the file system"),
    ];
    if let Some((_, what)) = facts.into_iter().find(|(same, _)| !same) {
        return Err(Error::Differs { difference: what.to_owned() });
    }
    let (found, wanted) = (disk.file_system.tree.to_listing(), plan.tree.to_listing());
    if found == wanted {
        return Ok(());
    }
    let mut lines = found.lines().zip(wanted.lines());
    let line = lines.find(|(found, wanted)| found != wanted);
    let difference = line.map_or_else(
        || "files are missing at the end, or too many".to_owned(),
        |(found, wanted)| format!("{found:?} instead of {wanted:?}"),
    );
    Err(Error::Differs { difference })
}
