//! Unpacks a tarball (agent, guest hooks, pause image, confidential components) into a tree.
//!
//! In comes a reader of a plain, gzip, xz, zstd or bzip2 tarball, told apart by its first bytes; out
//! comes a tree of its own, contents in the store. Merging it into a guest is the caller's work.
//! Links are data: nothing is looked up through them outside the tree.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read};

use super::Error;
use crate::digest::{Digest, Hasher};
use crate::package::compression::{Compression, Decompressor, Limits};
use crate::package::tar::{self, Entry, EntryKind};
use crate::store::{self, PackWriter, Store};
use crate::tree::{Content, Inode, Kind, Meta, Tree};

/// Plain bytes of one tarball. The largest that Kata makes has about one GiB.
const MAXIMUM_TARBALL: u64 = 8 << 30;
/// Bytes that tell how a tarball is compressed.
const START: u64 = 6;

/// Reads a tarball to its end.
///
/// A path may stand in it again only as the same directory. Parents that are missing are root's.
///
/// # Errors
/// [`Error::Tarball`], [`Error::ReadTarball`], [`Error::Duplicate`], [`Error::DanglingHardLink`],
/// [`Error::Tree`] when something stands below a file, [`Error::Store`].
pub fn tarball(reader: impl Read, store: &Store) -> Result<Tree, Error> {
    let mut hashing = Hashing { inner: reader, hasher: Hasher::default() };
    // A pipe may give fewer bytes at first than tell the compressions apart.
    let mut start = Vec::new();
    hashing.by_ref().take(START).read_to_end(&mut start).map_err(Error::ReadTarball)?;
    let compression = Compression::of_start(&start);
    let buffered = BufReader::with_capacity(1 << 16, io::Cursor::new(start).chain(hashing));
    let limits = Limits::up_to(MAXIMUM_TARBALL);
    let plain = Decompressor::new(buffered, compression, limits).map_err(Error::ReadTarball)?;
    let mut archive = tar::Reader::new(plain);
    let pack = store.new_pack()?;
    let mut tree = Tree::default();
    while let Some(entry) = archive.next_entry().map_err(Error::Tarball)? {
        add(&mut tree, &mut archive, entry, &pack)?;
    }
    let rest = archive.into_inner().finish().map_err(Error::ReadTarball)?;
    pack.finish(&rest.into_inner().into_inner().1.hasher.finish())?;
    Ok(tree)
}

fn add(
    tree: &mut Tree,
    archive: &mut tar::Reader<impl Read>,
    entry: Entry,
    pack: &PackWriter,
) -> Result<(), Error> {
    let Entry { path, meta, kind, .. } = entry;
    let place = tree.resolve_parent(&path)?;
    let present = tree.get(&place).map(|inode| matches!(inode.kind, Kind::Directory(_)));
    if present == Some(kind != EntryKind::Directory) || present == Some(false) {
        return Err(Error::Duplicate { path });
    }
    if let Some(parent) = place.parent() {
        tree.make_directories(&parent, &Meta::root(0o755))?;
    }
    let kind = match kind {
        EntryKind::HardLink(target) => {
            let target = tree.resolve_parent(&target)?;
            let present = tree.get(&target).map(|inode| &inode.kind);
            if matches!(present, None | Some(Kind::Directory(_))) {
                return Err(Error::DanglingHardLink { archive: "the tarball".to_owned(), path });
            }
            tree.link(&place, &target)?;
            return Ok(());
        }
        EntryKind::Regular { .. } => Kind::Regular(keep(pack, archive)?),
        EntryKind::Directory => Kind::Directory(BTreeMap::new()),
        EntryKind::Symlink(target) => Kind::Symlink(target),
        EntryKind::CharacterDevice(device) => Kind::CharacterDevice(device),
        EntryKind::BlockDevice(device) => Kind::BlockDevice(device),
        EntryKind::Fifo => Kind::Fifo,
    };
    if place.is_root() {
        tree.inode_mut(tree.root()).meta = meta;
    } else {
        tree.insert(&place, Inode { meta, kind })?;
    }
    Ok(())
}

fn keep(pack: &PackWriter, archive: &mut tar::Reader<impl Read>) -> Result<Content, Error> {
    let kept = pack.add(archive.content());
    let (digest, size): (Digest, u64) = kept.map_err(|error| match error {
        store::Error::Source(source) => Error::ReadTarball(source),
        error => Error::Store(error),
    })?;
    Ok(Content::Stored { digest, size })
}

/// Computes the digest of the tarball while it is read: the key of its pack.
struct Hashing<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(output)?;
        self.hasher.update(output.get(..count).unwrap_or_default());
        Ok(count)
    }
}
