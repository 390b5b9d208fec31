//! The whole image: partition tables, the block for persistent memory, the file system and, in a
//! measured image, the hash tree over it. `layout` says where each stands.
//!
//! Size: the smallest multiple of the alignment whose file system holds the tree, keeps, as an ext4,
//! 3 % for root, and leaves [`FREE_ALWAYS`] plus the free space asked for to ordinary users. Kata's builder
//! formats disks that grow by 10 MiB until the free space exceeds the size of the tree, adds the
//! free space asked for and rounds up in the same way; so it leaves between 1 and some 10 MiB too.

use fs_err::File;
use fs_err::os::unix::fs::FileExt as _;

use super::known::{Hashing, Known};
use super::layout::{Identity, Layout, MIB};
use super::read::read_with;
use super::table::{Gpt, SECTOR, Table, halves};
use super::{Error, Medium, Window, erofs, ext4, nvdimm, uuid_of, verity, xfs};
use crate::digest::{Digest, Hasher};
use crate::epoch::Epoch;
use crate::recipe::{FileSystem, ImageOptions, PartitionTable};
use crate::tree::{Content, Contents, Inode, Kind, Meta, Tree, TreePath};

/// Free bytes that every image has.
const FREE_ALWAYS: u64 = MIB;

/// An image that can be written, whatever the medium. Of an ext4 or xfs every byte has its place; how large
/// an erofs becomes is known when its contents are compressed.
#[derive(Debug, Clone)]
pub struct Plan {
    tree: Tree,
    options: ImageOptions,
    origin: Digest,
    file_system: Planned,
}

#[derive(Debug, Clone)]
enum Planned {
    Ext4(Box<ext4::Plan>, Layout),
    Erofs(Box<erofs::Plan>),
    Xfs(Box<xfs::Plan>, Layout),
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
    let tree = prepare(tree, options, epoch);
    let origin = origin(&tree, options, epoch);
    let file_system = match options.file_system {
        FileSystem::Ext4 => plan_ext4(&tree, options, ext4::Identity::new(&origin, epoch))?,
        FileSystem::Erofs => {
            let options = erofs::Options {
                compression: options.compression,
                inline: !options.dax_header,
                uuid: uuid_of(&origin, "erofs uuid"),
                epoch,
            };
            Planned::Erofs(Box::new(erofs::Plan::new(&tree, &options)?))
        }
        FileSystem::Xfs => plan_xfs(&tree, options, uuid_of(&origin, "xfs uuid"))?,
    };
    let plan = Plan { tree, options: options.clone(), origin, file_system };
    if let Planned::Ext4(_, layout) | Planned::Xfs(_, layout) = &plan.file_system {
        if let Table::Mbr(table) = layout.table(0, &plan.identity(None)) {
            table.encode()?;
        }
        plan.verity(layout)?;
    }
    Ok(plan)
}

fn plan_ext4(
    tree: &Tree,
    options: &ImageOptions,
    identity: ext4::Identity,
) -> Result<Planned, Error> {
    let layout = |step| layout_of(options, step);
    let free = FREE_ALWAYS + options.free_space_mib * MIB;
    let ImageOptions { block_size, journal, .. } = *options;
    let ext4_options = ext4::Options { block_size, journal, free, identity };
    let (step, file_system) = ext4::plan(tree, &ext4_options, |step| layout(step).room())?;
    Ok(Planned::Ext4(Box::new(file_system), layout(step)))
}

fn plan_xfs(tree: &Tree, options: &ImageOptions, uuid: [u8; 16]) -> Result<Planned, Error> {
    let layout = |step| layout_of(options, step);
    let free = FREE_ALWAYS + options.free_space_mib * MIB;
    let (step, file_system) = xfs::plan(tree, uuid, free, |step| layout(step).room())?;
    Ok(Planned::Xfs(Box::new(file_system), layout(step)))
}

/// The sizes that a file may have, from the first on that has room for something behind the start.
fn layout_of(options: &ImageOptions, step: u64) -> Layout {
    let alignment = alignment(options);
    let start = Layout::new(0, options).start();
    let first = (start + MIB).next_multiple_of(alignment);
    let size = first.saturating_add(step.saturating_mul(alignment));
    Layout::new(size, options)
}

/// What the file's size is a multiple of, in bytes: what was asked for and, for persistent memory,
/// what the kernel asks for.
fn alignment(options: &ImageOptions) -> u64 {
    let wanted = options.alignment_mib * MIB;
    if !options.dax_header || wanted.is_multiple_of(nvdimm::ALIGNMENT) {
        return wanted;
    }
    // An odd number of MiB.
    2 * wanted
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
    if options.file_system != FileSystem::Ext4 && block_size != 4096 {
        return bad("block_size", block_size.into(), "with erofs and xfs it is 4096");
    }
    if options.dax_header && options.table != PartitionTable::Mbr {
        let rule = "with a GPT it is off: the disk and the persistent memory behind the header \
                    would each need the last sector for the table's second copy";
        return bad("dax_header", 1, rule);
    }
    if free_space_mib > 1 << 24 {
        return bad("free_space_mib", free_space_mib, "it is at most 16777216");
    }
    Ok(())
}

/// The tree as the image will hold it.
fn prepare(tree: &Tree, options: &ImageOptions, epoch: Epoch) -> Tree {
    let mut tree = tree.clone();
    add_machine_id(&mut tree);
    let ids: Vec<_> = tree.walk().map(|(_, id, _)| id).collect();
    for id in ids {
        let meta = &mut tree.inode_mut(id).meta;
        meta.mtime = epoch.clamp(meta.mtime);
        if options.file_system != FileSystem::Erofs {
            ext4::normalise(&mut meta.xattrs);
        }
    }
    if options.file_system == FileSystem::Ext4 {
        ext4::remove_spare(&mut tree);
    }
    tree
}

/// Makes an empty `/etc/machine-id` where `/etc` has none.
pub(crate) fn add_machine_id(tree: &mut Tree) {
    let machine_id = TreePath::parse("etc/machine-id").expect("a clean path");
    let etc = TreePath::parse("etc").expect("a clean path");
    if let Some(Inode { meta, kind: Kind::Directory(_) }) = tree.get(&etc)
        && tree.get(&machine_id).is_none()
    {
        let meta = Meta { mtime: meta.mtime, ..Meta::root(0o644) };
        let empty = Inode { meta, kind: Kind::Regular(Content::empty()) };
        tree.insert(&machine_id, empty).expect("the directory exists and the name is free");
    }
}

/// Makes the `lost+found` that an ext4 has, where the tree has none: whoever labels the files of an
/// image labels that one, too.
pub(crate) fn add_lost_and_found(tree: &mut Tree) {
    let path = TreePath::parse(ext4::LOST_AND_FOUND).expect("a clean name");
    if tree.get(&path).is_none() {
        let mtime = tree.inode(tree.root()).meta.mtime;
        let meta = Meta { mtime, ..Meta::root(0o700) };
        let inode = Inode { meta, kind: Kind::Directory(std::collections::BTreeMap::new()) };
        tree.insert(&path, inode).expect("the root is a directory and the name is free");
    }
}

/// The digest that every name in the image derives from. Of an ext4 or xfs the header is left out: the disk
/// behind it is the same with and without.
fn origin(tree: &Tree, options: &ImageOptions, epoch: Epoch) -> Digest {
    let mut hasher = Hasher::default();
    let ImageOptions { block_size, free_space_mib, alignment_mib, journal, .. } = options;
    let settings = [u64::from(*block_size), *free_space_mib, *alignment_mib, (*journal).into()];
    let kind = match options.file_system {
        FileSystem::Ext4 => "ext4".to_owned(),
        FileSystem::Xfs => "xfs".to_owned(),
        FileSystem::Erofs => format!("erofs {:?} {}", options.compression, options.dax_header),
    };
    hasher.update(format!("{kind} {settings:?} {}\n", epoch.seconds()).as_bytes());
    if let PartitionTable::Gpt(architecture) = options.table {
        hasher.update(format!("gpt {architecture}\n").as_bytes());
    }
    if let Some(verity) = &options.verity {
        hasher.update(format!("measured {} {:?}\n", verity.superblock, verity.salt).as_bytes());
    }
    hasher.update(tree.to_listing().as_bytes());
    hasher.finish()
}

impl Plan {
    /// The tree as the image holds it: times clamped, `/etc/machine-id` made.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The UUID of the file system.
    pub fn uuid(&self) -> [u8; 16] {
        match &self.file_system {
            Planned::Ext4(plan, _) => plan.uuid(),
            Planned::Erofs(plan) => plan.uuid(),
            Planned::Xfs(plan, _) => plan.uuid(),
        }
    }

    /// How the data of an image is measured, if it is to be.
    fn verity(&self, layout: &Layout) -> Result<Option<verity::Plan>, Error> {
        let room = layout.last_end() - layout.end();
        let plan = |verity| verity::Plan::new(verity, &self.origin, layout.room(), room);
        self.options.verity.as_ref().map(plan).transpose()
    }

    /// The smallest image that holds a file system of `size` bytes.
    fn layout_around(&self, size: u64) -> Layout {
        let (options, alignment) = (&self.options, alignment(&self.options));
        let start = Layout::new(0, options).start();
        let mut layout = Layout::new((start + size).next_multiple_of(alignment), options);
        while layout.room() < size {
            layout = Layout::new(layout.size + alignment, options);
        }
        layout
    }

    /// What the table calls the disk and its partitions: of a measured image with a GPT, the
    /// partitions are called by their root hash.
    fn identity(&self, root_hash: Option<&Digest>) -> Identity {
        let PartitionTable::Gpt(architecture) = self.options.table else {
            let text = format!("osbuilder disk signature {}", self.origin);
            let digest = Digest::of(text.as_bytes());
            let signature = digest.as_bytes().first_chunk().expect("a digest has 32 bytes");
            return Identity::Mbr(u32::from_le_bytes(*signature));
        };
        let uuid = |label| uuid_of(&self.origin, label);
        let usual = [uuid("root partition uuid"), uuid("verity partition uuid")];
        let partitions = root_hash.map_or(usual, halves);
        Identity::Gpt { architecture, disk: uuid("disk uuid"), partitions }
    }
}

/// Writes the image into `file` on up to `threads` threads; the bytes do not depend on their
/// number. What the file held before is lost. Nothing is synced: the caller decides when. A measured
/// image is read again for its hash tree, so `file` must be open for reading too. Nothing is hashed
/// on the way: that contents are what their digests say is shown by [`check`].
///
/// # Errors
/// [`Error::Write`]; [`Error::Read`]; [`Error::Content`] when a content cannot be read, or has
/// another size than the tree says.
pub fn write(
    plan: &Plan,
    contents: &dyn Contents,
    file: &File,
    threads: usize,
) -> Result<Image, Error> {
    let failed = |source| Error::Write { source };
    let start = Layout::new(0, &plan.options).start();
    file.set_len(0).map_err(failed)?;
    let (layout, size) = match &plan.file_system {
        Planned::Ext4(file_system, layout) => {
            file.set_len(layout.size).map_err(failed)?;
            file_system.write(contents, file, start, threads)?;
            (*layout, file_system.size())
        }
        Planned::Xfs(file_system, layout) => {
            file.set_len(layout.size).map_err(failed)?;
            file_system.write(contents, file, start, threads)?;
            (*layout, file_system.size())
        }
        Planned::Erofs(file_system) => {
            let size = file_system.write(contents, file, start, threads)?;
            let layout = plan.layout_around(size);
            file.set_len(layout.size).map_err(failed)?;
            (layout, size)
        }
    };
    let data = Window::new(file, start, layout.room());
    let measure = |verity: verity::Plan| verity.write(&data, file, layout.end(), threads);
    let verity = plan.verity(&layout)?.map(measure).transpose()?;
    let identity = plan.identity(verity.as_ref().map(|verity| &verity.root_hash));
    write_tables(&layout, &identity, file)?;
    let uuid = plan.uuid();
    Ok(Image { size: layout.size, file_system_at: start, file_system_size: size, uuid, verity })
}

/// Writes the table, and with the header for persistent memory both of them and the block.
fn write_tables(layout: &Layout, identity: &Identity, file: &File) -> Result<(), Error> {
    let put =
        |bytes: &[u8], at| file.write_all_at(bytes, at).map_err(|source| Error::Write { source });
    let table = |from| match layout.table(from, identity) {
        Table::Mbr(table) => put(&table.encode()?, from),
        Table::Gpt(table) => {
            let (first, backup) = table.encode();
            put(&first, from)?;
            put(&backup, layout.size - Gpt::TAIL * SECTOR)
        }
    };
    if layout.header > 0 {
        put(&nvdimm::info_block(), nvdimm::OFFSET)?;
        table(layout.header)?;
    }
    table(0)
}

/// Reads what [`write()`] wrote and compares it with the plan, and with the root hash that was told,
/// before it gets its final name. Contents are expected to be those of `contents`, whose checksums
/// count where it has them.
///
/// # Errors
/// As [`super::read()`] and [`super::Parts::verify`], and [`Error::Differs`].
pub fn check(
    plan: &Plan,
    written: &Image,
    contents: &dyn Contents,
    medium: &dyn Medium,
    threads: usize,
) -> Result<(), Error> {
    let known = &Known::of(&plan.tree, contents);
    let disk = read_with(medium, Hashing { threads, known })?;
    let identity = plan.identity(written.verity.as_ref().map(|verity| &verity.root_hash));
    let table = Layout::new(written.size, &plan.options).table(0, &identity);
    let facts = [
        (disk.parts.size == written.size, "the size of the image"),
        (disk.parts.file_system_at == written.file_system_at, "the place of the file system"),
        (written.verity.is_some() == plan.options.verity.is_some(), "the hash tree"),
        (disk.parts.hashes.is_some() == written.verity.is_some(), "the partition of the hash tree"),
        (disk.parts.table == table, "the partition table"),
        (disk.file_system.summary().uuid == plan.uuid(), "the UUID of the file system"),
    ];
    if let Some((_, what)) = facts.into_iter().find(|(same, _)| !same) {
        return Err(Error::Differs { difference: what.to_owned() });
    }
    if let Some(parameters) = &written.verity {
        disk.parts.verify(parameters, threads)?;
    }
    match disk.file_system.tree().first_difference(&plan.tree) {
        None => Ok(()),
        Some(difference) => Err(Error::Differs { difference }),
    }
}
