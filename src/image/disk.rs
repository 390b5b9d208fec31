//! The whole image: partition tables, the block for persistent memory, the file system and, in a
//! measured image, the hash tree over it. `layout` says where each stands.
//!
//! Size: the smallest multiple of the alignment whose file system holds the tree, keeps 3 % for
//! root, and leaves [`FREE_ALWAYS`] plus the free space asked for to ordinary users. Kata's builder
//! formats disks that grow by 10 MiB until the free space exceeds the size of the tree, adds the
//! free space asked for and rounds up in the same way; so it leaves between 1 and some 10 MiB too.

use fs_err::File;
use fs_err::os::unix::fs::FileExt as _;

use super::layout::{Layout, MIB, PARTITION_AT};
use super::table::{Partition, SECTOR, Table};
use super::{Error, Medium, Window, ext4, nvdimm, verity};
use crate::digest::{Digest, Hasher};
use crate::epoch::Epoch;
use crate::recipe::{FileSystem, ImageOptions};
use crate::tree::{Content, Contents, Inode, Kind, Meta, Tree, TreePath};

/// Free bytes that every image has.
const FREE_ALWAYS: u64 = MIB;

/// An image whose every byte has a place. Nothing is written yet.
#[derive(Debug, Clone)]
pub struct Plan {
    tree: Tree,
    layout: Layout,
    signature: u32,
    file_system: ext4::Plan,
    verity: Option<verity::Plan>,
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
    /// What a kernel needs to check the file system, in a measured image.
    pub verity: Option<verity::Parameters>,
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
    let alignment = options.alignment_mib * MIB;
    let layout = |step: u64| {
        let header = Layout::new(0, options.dax_header, false).start();
        // The first size has room for at least something behind the start.
        let first = (header + MIB).next_multiple_of(alignment);
        let size = first.saturating_add(step.saturating_mul(alignment));
        Layout::new(size, options.dax_header, options.verity.is_some())
    };
    let FileSystem::Ext4 = options.file_system;
    let ext4_options = ext4::Options {
        block_size: options.block_size,
        journal: options.journal,
        free: FREE_ALWAYS + options.free_space_mib * MIB,
        identity: ext4::Identity::new(&origin, epoch),
    };
    let (step, file_system) = ext4::plan(&tree, &ext4_options, |step| layout(step).room())?;
    let layout = layout(step);
    let signature = Digest::of(format!("osbuilder disk signature {origin}").as_bytes());
    let signature = u32::from_le_bytes(*signature.as_bytes().first_chunk().expect("32 bytes"));
    layout.table(0, signature)?;
    let verity = match &options.verity {
        Some(verity) => {
            let room = layout.size - layout.end();
            Some(verity::Plan::new(verity, &origin, layout.room(), room)?)
        }
        None => None,
    };
    Ok(Plan { tree, layout, signature, file_system, verity })
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
    if let Some(verity) = &options.verity {
        hasher.update(format!("measured {} {:?}\n", verity.superblock, verity.salt).as_bytes());
    }
    hasher.update(tree.to_listing().as_bytes());
    hasher.finish()
}

impl Plan {
    /// Bytes of the file to be written.
    pub fn size(&self) -> u64 {
        self.layout.size
    }

    /// The tree as the image holds it: times clamped, `/etc/machine-id` made.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// What will be written; the root hash of a measured image is not known before.
    pub fn facts(&self) -> Image {
        Image {
            size: self.layout.size,
            file_system_at: self.layout.start(),
            file_system_size: self.file_system.size(),
            free: self.file_system.free_bytes(),
            free_inodes: self.file_system.free_inodes(),
            uuid: self.file_system.uuid(),
            verity: None,
        }
    }
}

/// Writes the image into `file` on up to `threads` threads; the bytes do not depend on their
/// number. What the file held before is lost. Nothing is synced: the caller decides when. A measured
/// image is read again for its hash tree, so `file` must be open for reading too.
///
/// # Errors
/// [`Error::Write`]; [`Error::Read`]; [`Error::Content`] when a content cannot be read, or is not what its digest or
/// size promise.
pub fn write(
    plan: &Plan,
    contents: &dyn Contents,
    file: &File,
    threads: usize,
) -> Result<Image, Error> {
    let failed = |source| Error::Write { source };
    let layout = &plan.layout;
    file.set_len(0).and_then(|()| file.set_len(layout.size)).map_err(failed)?;
    let table = |from| layout.table(from, plan.signature);
    file.write_all_at(&table(0)?, 0).map_err(failed)?;
    if layout.header > 0 {
        file.write_all_at(&nvdimm::info_block(), nvdimm::OFFSET).map_err(failed)?;
        file.write_all_at(&table(layout.header)?, layout.header).map_err(failed)?;
    }
    plan.file_system.write(contents, file, layout.start(), threads)?;
    let data = Window::new(file, layout.start(), layout.room());
    let measure = |verity: &verity::Plan| verity.write(&data, file, layout.end(), threads);
    let verity = plan.verity.as_ref().map(measure).transpose()?;
    Ok(Image { verity, ..plan.facts() })
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
    /// Partition 1.
    pub data: Window<'m>,
    /// Partition 2 of a measured image: the hash tree over all of partition 1.
    pub hashes: Option<Window<'m>>,
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
    let (parts, table) = partitions(medium, 0, size)?;
    if dax_header && partitions(medium, nvdimm::HEADER, size)?.0 != parts {
        return Err(Error::broken("partition tables", "they point to different places"));
    }
    let window = |&(start, end): &(u64, u64)| Window::new(medium, start, end - start);
    let (data, hashes, file_system_at) = match parts.as_slice() {
        [data] => (window(data), None, data.0),
        [data, hashes] => (window(data), Some(window(hashes)), data.0),
        _ => return Err(Error::unsupported("partition table", "more than two partitions")),
    };
    let file_system = ext4::read(data, threads)?;
    Ok(Disk { size, dax_header, table, file_system_at, data, hashes, file_system })
}

/// The partitions in the table at byte `from`, each by its first byte and the one behind it, and the
/// table.
fn partitions(
    medium: &dyn Medium,
    from: u64,
    size: u64,
) -> Result<(Vec<(u64, u64)>, Table), Error> {
    let mut sector = [0; 512];
    medium.read_at(from, &mut sector).map_err(|source| Error::Read { source })?;
    let table = Table::decode(&sector, size.saturating_sub(from))?;
    if !table.partitions.iter().map(|(number, _)| *number).eq(1..=table.partitions.len())
        || table.partitions.is_empty()
    {
        return Err(Error::broken("partition table", "partitions are not numbered from 1 on"));
    }
    let bytes = |sectors: u32| u64::from(sectors) * SECTOR;
    let place = |(_, Partition { start, count }): &(usize, Partition)| {
        let start = from + bytes(*start);
        (start, start + bytes(*count))
    };
    Ok((table.partitions.iter().map(place).collect(), table))
}

impl Disk<'_> {
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

/// Reads what [`write()`] wrote and compares it with the plan, and with the root hash that was told,
/// before it gets its final name.
///
/// # Errors
/// As [`read`] and [`Disk::verify`], and [`Error::Differs`].
pub fn check(
    plan: &Plan,
    written: &Image,
    medium: &dyn Medium,
    threads: usize,
) -> Result<(), Error> {
    let disk = read(medium, threads)?;
    let facts = [
        (disk.size == plan.layout.size, "the size of the image"),
        (disk.file_system_at == plan.layout.start(), "the place of the file system"),
        (written.verity.is_some() == plan.verity.is_some(), "the hash tree"),
        (disk.hashes.is_some() == plan.verity.is_some(), "the partition of the hash tree"),
        (disk.table.signature == plan.signature, "the signature of the disk"),
        (disk.file_system.summary().uuid == plan.file_system.uuid(), "the UUID of the file system"),
    ];
    if let Some((_, what)) = facts.into_iter().find(|(same, _)| !same) {
        return Err(Error::Differs { difference: what.to_owned() });
    }
    if let Some(parameters) = &written.verity {
        disk.verify(parameters, threads)?;
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
