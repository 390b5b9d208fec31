//! Reads an image or an initrd back and says what it is, without mounting anything.
//!
//! In: a file. Out: a [`Report`] that is plain data, the tree, and the contents of its files: with
//! them, listing and printing are a few lines for a caller. [`contract`] says what a guest lacks.
//! Everything that is read here may be hostile: it is checked by the readers of `image`.

mod compare;
mod contents;
mod contract;
mod extension;
mod leaks;
mod listing;
mod misfits;
mod packages;
mod runtime;
mod verdict;

use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use compare::{Aspect, Difference, inventory, trees};
pub use contents::FileContents;
pub use contract::{Guest as Contract, Lack, Severity, contract};
pub use extension::{extension, is_extension};
pub use leaks::leaks;
pub use listing::{Line, lines};
pub use packages::{Manager, NO_ARCHITECTURE, Package, packages, packages_of};
pub use runtime::{BadRuntime, DropIn, Hypervisor, Runtime};
pub use verdict::{Claim, Finding, Measurement, Verdict, verify};

use crate::digest::Digest;
use crate::image::table::{Entry, Table, uuid_text};
use crate::image::{self, Medium, Parts, Stream, initrd};
use crate::package::rpm::database::read::BadDatabase;
use crate::recipe::{Init, InitrdCompression};
use crate::tree::{Contents, Kind, Tree, TreePath, escape};

/// Where Kata's tools look for how a guest was made.
const SUMMARY: &str = "var/lib/osbuilder/osbuilder.yaml";

/// A guest that was read.
#[derive(Debug)]
pub struct Guest<'m> {
    /// What it is.
    pub report: Report,
    /// Its files. Extended attributes are those that the form can hold.
    pub tree: Tree,
    /// The contents of its files.
    pub contents: FileContents<'m>,
}

/// What a file with a guest is, as data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Bytes of the file.
    pub size: u64,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// What is particular to its form.
    #[serde(flatten)]
    pub form: Form,
    /// Paths in it, the root directory among them.
    pub paths: u64,
    /// Bytes in its regular files, counting each file once.
    pub content: u64,
    /// Which program is the first process, as far as the tree tells.
    #[serde(serialize_with = "init_name")]
    pub init: Option<Init>,
    /// What a guest needs and this one lacks; of an extension, what is wrong with its manifest.
    pub lacks: Vec<Lack>,
}

/// The forms of a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "form", rename_all = "kebab-case")]
pub enum Form {
    /// A disk image.
    Image {
        /// The block that makes it persistent memory for a hypervisor; its place in bytes.
        nvdimm_block: Option<u64>,
        /// The partition table: `mbr`, `gpt`.
        partition_table: &'static str,
        /// The disk's signature: eight hexadecimal digits, in a GPT a UUID.
        disk_signature: String,
        /// The partitions of the file as a disk.
        partitions: Vec<Partition>,
        /// What is in the first of them.
        file_system: Box<FileSystem>,
        /// The hash tree in the second of them, if there is one.
        hash_tree: Option<HashTree>,
    },
    /// An initrd: archives, packed or not.
    Initrd {
        /// How what it begins with is compressed.
        compression: InitrdCompression,
    },
}

/// A dm-verity tree, as far as it tells of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HashTree {
    /// Where its partition begins in the file, in bytes.
    pub offset: u64,
    /// Whether a superblock precedes it; without one, salt and root hash must be known.
    pub superblock: bool,
    /// The salt in that superblock.
    pub salt: Option<String>,
}

/// A stretch of the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Partition {
    /// Its number, from one.
    pub number: usize,
    /// Its first sector of 512 bytes.
    pub start: u64,
    /// How many sectors it has.
    pub sectors: u64,
    /// What only a GPT says of it.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub discoverable: Option<Discoverable>,
}

/// What a GPT says of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Discoverable {
    /// What it is for, and the guest's processor: `root-x86-64`, `root-x86-64-verity`.
    pub purpose: String,
    /// Its UUID.
    pub uuid: String,
    /// Its name; what is not printable is escaped.
    pub name: String,
    /// Whether it is marked as read-only.
    pub read_only: bool,
}

/// A file system, as its superblock describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileSystem {
    /// `ext4`, `erofs`, `xfs`.
    pub kind: &'static str,
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// Its UUID as people write it.
    pub uuid: String,
    /// Bytes of a block.
    pub block_size: u64,
    /// Blocks in all.
    pub blocks: u64,
    /// Blocks that no file takes.
    pub free_blocks: u64,
    /// Whether there is a journal.
    pub journal: bool,
    /// Whether contents are compressed.
    pub compressed: bool,
    /// When it was made, in seconds since 1970.
    pub time: u64,
}

/// Reads the guest in `medium`, on up to `threads` threads.
///
/// # Errors
/// [`image::Error`]: the medium failed, the guest is broken, or of a kind that is not known.
pub fn read(medium: &dyn Medium, threads: NonZeroUsize) -> Result<Guest<'_>, image::Error> {
    Ok(read_with(medium, threads, |_| Ok(()))?.0)
}

/// As [`read`]; `look` sees the file system of an image, and what it found is returned.
pub(super) fn read_with<T>(
    medium: &dyn Medium,
    threads: NonZeroUsize,
    look: impl Fn(&image::FileSystem<'_>) -> Result<T, image::Error>,
) -> Result<(Guest<'_>, Option<T>), image::Error> {
    let failed = |source| image::Error::Read { source };
    let size = medium.size().map_err(failed)?;
    let (digest, _) = Digest::of_reader(Stream::new(medium)).map_err(failed)?;
    let mut begin = [0; 6];
    let known = begin.len().min(usize::try_from(size).unwrap_or(usize::MAX));
    medium.read_at(0, begin.get_mut(..known).unwrap_or_default()).map_err(failed)?;
    let ((form, tree, contents), found) = match initrd::is_initrd(&begin) {
        true => (read_initrd(medium, &begin)?, None),
        false => {
            let disk = image::read(medium, threads.get())?;
            let found = look(&disk.file_system)?;
            (image_parts(disk)?, Some(found))
        }
    };
    let init = contract::init_of(&tree);
    let (paths, content) = totals(&tree);
    let meant = init.unwrap_or(Init::Systemd);
    let lacks = match is_extension(&tree) {
        true => extension(&tree, &contents).map_err(failed)?,
        false => contract(&tree, Contract { init: meant, agent_name: None, has_policy: false }),
    };
    let report = Report { size, digest, form, paths, content, init, lacks };
    Ok((Guest { report, tree, contents }, found))
}

type Opened<'m> = (Form, Tree, FileContents<'m>);

fn read_initrd<'m>(medium: &'m dyn Medium, begin: &[u8]) -> Result<Opened<'m>, image::Error> {
    let mut order = Vec::new();
    let tree = initrd::read(Stream::new(medium), &mut |data| {
        let found = initrd::digest_only(data)?;
        order.push(found.0);
        Ok(found)
    })?;
    let compression = initrd::compression(begin).unwrap_or(InitrdCompression::None);
    let form = Form::Initrd { compression };
    Ok((form, tree, FileContents::of_initrd(medium, order)))
}

fn image_parts(disk: image::Disk<'_>) -> Result<Opened<'_>, image::Error> {
    let summary = disk.file_system.summary();
    let hash_tree = hash_tree(&disk.parts)?;
    let form = Form::Image {
        hash_tree,
        nvdimm_block: disk.parts.dax_header.then_some(image::nvdimm::OFFSET),
        partition_table: disk.parts.table.name(),
        disk_signature: disk.parts.table.identity(),
        partitions: partitions(&disk.parts.table),
        file_system: Box::new(FileSystem {
            kind: summary.kind,
            offset: disk.parts.file_system_at,
            uuid: uuid_text(&summary.uuid),
            block_size: summary.block_size,
            blocks: summary.blocks,
            free_blocks: summary.free_blocks,
            journal: summary.journal,
            compressed: summary.compressed,
            time: summary.time,
        }),
    };
    let (tree, contents) = disk.file_system.into_parts();
    Ok((form, tree, FileContents::of_image(contents)))
}

fn partitions(table: &Table) -> Vec<Partition> {
    let discoverable = |entry: &Entry| Discoverable {
        purpose: entry.role.usual_name(entry.architecture),
        uuid: uuid_text(&entry.uuid),
        name: escape(entry.name.as_bytes()),
        read_only: entry.is_read_only(),
    };
    let of = |number: usize| match table {
        Table::Mbr(_) => None,
        Table::Gpt(table) => table.entries.get(number.checked_sub(1)?).map(discoverable),
    };
    let all = table.partitions().into_iter().map(|(number, partition)| Partition {
        number,
        start: partition.start,
        sectors: partition.count,
        discoverable: of(number),
    });
    all.collect()
}

fn hash_tree(parts: &Parts<'_>) -> Result<Option<HashTree>, image::Error> {
    let superblock = parts.verity_superblock()?;
    let salt = superblock.as_ref().map(|superblock| superblock.salt_text());
    Ok(parts.table.partitions().get(1).map(|(_, partition)| HashTree {
        offset: partition.start.saturating_mul(image::table::SECTOR),
        superblock: superblock.is_some(),
        salt,
    }))
}

fn init_name<S: serde::Serializer>(init: &Option<Init>, to: S) -> Result<S::Ok, S::Error> {
    let name = init.map(|init| match init {
        Init::Systemd => "systemd",
        Init::OpenRc => "openrc",
        Init::Agent => "agent",
        Init::None => "none",
    });
    name.serialize(to)
}

/// How many paths there are, and how many bytes in files.
fn totals(tree: &Tree) -> (u64, u64) {
    let mut met = std::collections::BTreeSet::new();
    let (mut paths, mut content) = (0_u64, 0_u64);
    for (_, id, inode) in tree.walk() {
        paths = paths.saturating_add(1);
        if let (true, Kind::Regular(bytes)) = (met.insert(id), &inode.kind) {
            content = content.saturating_add(bytes.size());
        }
    }
    (paths, content)
}

impl Guest<'_> {
    /// As the function of this name.
    ///
    /// # Errors
    /// [`Error`].
    pub fn print(&self, path: &TreePath, output: &mut dyn Write) -> Result<(), Error> {
        print(&self.tree, &self.contents, path, output)
    }

    /// The file that says how the guest was made, if there is one.
    ///
    /// # Errors
    /// [`Error::Content`].
    pub fn summary(&self) -> Result<Option<String>, Error> {
        let path = TreePath::parse(SUMMARY).expect("the path is clean");
        let mut bytes = Vec::new();
        match self.print(&path, &mut bytes) {
            Ok(()) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(Error::NoFile { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Copies the file of `tree` at `path` to `output`, following links inside the tree.
///
/// # Errors
/// [`Error`].
pub fn print(
    tree: &Tree,
    contents: &dyn Contents,
    path: &TreePath,
    output: &mut dyn Write,
) -> Result<(), Error> {
    let missing = || Error::NoFile { path: path.clone() };
    let place = tree.resolve(path).map_err(|_| missing())?;
    let inode = tree.get(&place).ok_or_else(missing)?;
    let Kind::Regular(content) = &inode.kind else { return Err(missing()) };
    let failed = |source| Error::Content { path: path.clone(), source };
    let mut reader = content.open(contents).map_err(failed)?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = match reader.read(&mut buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            answer => answer.map_err(failed)?,
        };
        let part = buffer.get(..count).filter(|part| !part.is_empty());
        let Some(part) = part else { return Ok(()) };
        output.write_all(part).map_err(|source| Error::Output { source })?;
    }
}

/// Opens a file to be read as a guest.
///
/// # Errors
/// [`Error::Open`].
pub fn open(path: &Path) -> Result<fs_err::File, Error> {
    fs_err::File::open(path).map_err(|source| Error::Open { path: path.to_owned(), source })
}

/// Why something of a guest could not be shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not a guest that could be read.
    #[error("cannot read {} as an image or initrd", path.display())]
    Guest {
        /// The file.
        path: PathBuf,
        /// Why.
        source: image::Error,
    },
    /// There is no regular file of this name.
    #[error("{path} is not a file of the guest")]
    NoFile {
        /// The name.
        path: TreePath,
    },
    /// The content of a file could not be read.
    #[error("cannot read {path}")]
    Content {
        /// The file.
        path: TreePath,
        /// Why.
        source: io::Error,
    },
    /// A database of packages is broken, or in a form that is not read.
    #[error("cannot read which packages are in {path}")]
    Packages {
        /// The database.
        path: TreePath,
        /// Why.
        source: BadDatabase,
    },
    /// A database of packages is larger than those are that are read.
    #[error("{path} has more than 256 MiB, too much for a database of packages")]
    TooLarge {
        /// The database.
        path: TreePath,
    },
    /// A database of packages does not have all of them.
    #[error("{path} holds changes that are not in the database of packages yet")]
    Log {
        /// Where the changes are.
        path: TreePath,
    },
    /// Whoever was to get the bytes did not take them.
    #[error("cannot write the file's content")]
    Output {
        /// Why.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epoch::Epoch;
    use crate::recipe::ImageOptions;
    use crate::tree::{Content, Inode, Meta, NoContents};

    fn tree() -> Tree {
        let mut tree = Tree::default();
        let files =
            [("usr/lib/systemd/systemd", "ELF"), (SUMMARY, "---\nosbuilder:\n"), ("b", "ELF")];
        for (path, text) in files {
            let path = TreePath::parse(path).unwrap();
            tree.make_directories(&path.parent().unwrap(), &Meta::root(0o755)).unwrap();
            let kind = Kind::Regular(Content::Inline(text.as_bytes().into()));
            tree.insert(&path, Inode { meta: Meta::root(0o755), kind }).unwrap();
        }
        let sbin = TreePath::parse("sbin").unwrap();
        tree.make_directories(&sbin, &Meta::root(0o755)).unwrap();
        let kind = Kind::Symlink(b"../lib/../usr/lib/systemd/systemd".as_slice().into());
        let inode = Inode { meta: Meta::root(0o777), kind };
        tree.insert(&sbin.join("init").unwrap(), inode).unwrap();
        tree
    }

    fn initrd_of(tree: &Tree) -> Vec<u8> {
        let mut bytes = Vec::new();
        let how = (InitrdCompression::Gzip, NonZeroUsize::MIN);
        initrd::write(tree, &NoContents, Epoch::default(), how, &mut bytes).unwrap();
        bytes
    }

    fn image_of(tree: &Tree) -> Vec<u8> {
        let options = ImageOptions { alignment_mib: 2, ..ImageOptions::KATA };
        let plan = image::plan(tree, &options, Epoch::default()).unwrap();
        let file = fs_err::File::from_parts(tempfile::tempfile().unwrap(), "image");
        let written = image::write(&plan, &NoContents, &file, 1).unwrap();
        let mut bytes = vec![0; usize::try_from(written.size).unwrap()];
        Medium::read_at(&file, 0, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn both_forms_show_the_same_guest() {
        for bytes in [initrd_of(&tree()), image_of(&tree())] {
            let guest = read(&bytes, NonZeroUsize::MIN).unwrap();
            assert_eq!(guest.report.digest, Digest::of(&bytes));
            assert_eq!(
                (guest.report.init, guest.report.size),
                (Some(Init::Systemd), bytes.len() as u64)
            );
            assert_eq!(guest.summary().unwrap().unwrap(), "---\nosbuilder:\n");
            let mut printed = Vec::new();
            guest.print(&TreePath::parse("sbin/init").unwrap(), &mut printed).unwrap();
            assert_eq!(printed, b"ELF");
            let nowhere = guest.print(&TreePath::parse("sbin").unwrap(), &mut printed);
            assert_eq!(nowhere.unwrap_err().to_string(), "/sbin is not a file of the guest");
        }
    }

    #[test]
    fn the_report_is_plain_data() {
        let bytes = image_of(&tree());
        let report = read(&bytes, NonZeroUsize::MIN).unwrap().report;
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["form"], "image");
        assert_eq!(json["nvdimm_block"], 4096);
        assert_eq!(
            (&json["partition_table"], &json["partitions"][0]["uuid"]),
            (&"mbr".into(), &serde_json::Value::Null)
        );
        assert_eq!(json["partitions"][0]["start"], 6144);
        assert_eq!(json["file_system"]["offset"], 3 << 20);
        assert_eq!(json["init"], "systemd");
        let bytes = initrd_of(&tree());
        let report = read(&bytes, NonZeroUsize::MIN).unwrap().report;
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!((&json["form"], &json["compression"]), (&"initrd".into(), &"gzip".into()));
    }

    #[test]
    fn what_is_no_guest_is_said_to_be_none() {
        let nothing = [Vec::new(), vec![0; 100], vec![0; 4 << 20], b"070701".to_vec()];
        for bytes in nothing {
            let error = read(&bytes, NonZeroUsize::MIN).unwrap_err();
            assert!(matches!(error, image::Error::Broken { .. }), "{error:?}");
        }
    }

    #[test]
    fn a_uuid_has_its_dashes() {
        let bytes: [u8; 16] = std::array::from_fn(|index| u8::try_from(index).unwrap());
        assert_eq!(uuid_text(&bytes), "00010203-0405-0607-0809-0a0b0c0d0e0f");
    }
}
