//! The tree that scripts have left, from the sandbox's file system into memory.
//!
//! In: the directory, what was laid out in it, the record of what the disk does not show; out: a
//! tree, changed contents in the store. What scripts left alone is recognized by its inode number
//! and the time of its last change, which only the kernel sets, with its size and time of
//! modification, and is not read again. What they left is hostile until proven plain: it may be a
//! link to a file of the host, a pipe that nobody writes to, or directories of any depth. So no
//! link is followed, no pipe opened, and nothing read by functions that call themselves.

use std::collections::BTreeMap;

use rustix::fs::{FileType, OFlags, Stat};
use rustix::io::Errno;

use super::Error;
use super::disk::Disk;
use super::lay_out::{Baseline, changed};
use crate::epoch::Epoch;
use crate::sandbox::{Left, Marks, Node};
use crate::store::PackWriter;
use crate::tree::{Content, Inode, Kind, Meta, Tree, TreePath};

/// What reading back takes.
pub(super) struct Reader<'a> {
    pub(super) left: &'a Left,
    pub(super) baseline: &'a Baseline,
    /// The tree that was laid out.
    pub(super) before: &'a Tree,
    pub(super) epoch: Epoch,
    /// Where changed contents go.
    pub(super) pack: &'a PackWriter,
}

impl Reader<'_> {
    /// Reads the directory.
    pub(super) fn read(&self) -> Result<Tree, Error> {
        let disk = Disk::open(&self.left.directory())?;
        let stat = disk.stat(&TreePath::ROOT)?;
        let root = self.inode(&disk, &TreePath::ROOT, &stat, None)?;
        let mut tree = Tree::new(root.meta);
        let mut pending = vec![(TreePath::ROOT, stat.st_mode)];
        let mut first_names: BTreeMap<u64, TreePath> = BTreeMap::new();
        while let Some((directory, mode)) = pending.pop() {
            let group = tree.get(&directory).and_then(|inode| inherited_group(&inode.meta));
            for (path, stat) in disk.folder(&directory, mode)?.list()? {
                if let Some(first) = first_names.get(&stat.st_ino) {
                    tree.link(&path, first)?;
                    continue;
                }
                let inode = self.inode(&disk, &path, &stat, group)?;
                if matches!(inode.kind, Kind::Directory(_)) {
                    pending.push((path.clone(), stat.st_mode));
                } else if stat.st_nlink > 1 {
                    first_names.insert(stat.st_ino, path.clone());
                }
                tree.insert(&path, inode)?;
            }
        }
        Ok(tree)
    }

    fn inode(
        &self,
        disk: &Disk,
        path: &TreePath,
        stat: &Stat,
        group: Option<u32>,
    ) -> Result<Inode, Error> {
        let known = self.baseline.get(stat.st_ino);
        let marks = self.left.record.get(stat.st_ino);
        let before = known.map(|(id, _)| self.before.inode(id));
        let untouched = known.is_some_and(|(_, at)| at == changed(stat))
            && before.is_some_and(|before| looks_the_same(before, stat));
        let kind = match (marks.and_then(|marks| marks.node), before) {
            (Some(Node::Character(device)), _) => Kind::CharacterDevice(device),
            (Some(Node::Block(device)), _) => Kind::BlockDevice(device),
            (None, Some(before)) if untouched && is_leaf(before) => before.kind.clone(),
            (None, _) => self.kind(disk, path, stat)?,
        };
        let default =
            Marks { gid: group.filter(|_| known.is_none()).unwrap_or(0), ..Marks::default() };
        let Marks { uid, gid, xattrs, .. } = marks.unwrap_or(&default).clone();
        let mode = match kind {
            Kind::Symlink(_) => 0o777,
            _ => (stat.st_mode & 0o7777) as u16,
        };
        let mtime = self.epoch.clamp(stat.st_mtime);
        Ok(Inode { meta: Meta { mode, uid, gid, mtime, xattrs }, kind })
    }

    fn kind(&self, disk: &Disk, path: &TreePath, stat: &Stat) -> Result<Kind, Error> {
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Kind::Directory(BTreeMap::new()),
            FileType::Symlink => {
                let place = disk.place(path)?;
                let target = rustix::fs::readlinkat(&place.folder, place.name, Vec::new())
                    .map_err(disk.failed("read the link", path))?;
                Kind::Symlink(target.into_bytes().into())
            }
            FileType::Fifo => Kind::Fifo,
            FileType::Socket => Kind::Socket,
            FileType::RegularFile => self.content(disk, path)?,
            _ => return Err(Error::UnknownKind { path: path.clone() }),
        })
    }

    fn content(&self, disk: &Disk, path: &TreePath) -> Result<Kind, Error> {
        let open = || disk.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK, 0);
        let file = match open() {
            Err(Errno::ACCESS) => {
                disk.set_mode(path, 0o400)?;
                open()
            }
            other => other,
        };
        let file = file.map_err(disk.failed("open", path))?;
        let file = fs_err::File::from_parts(file.into(), disk.path.join("…"));
        let (digest, size) = self.pack.add(file)?;
        Ok(Kind::Regular(Content::Stored { digest, size }))
    }
}

/// Whether a file has the size and the time that it was laid out with. Kernels before 6.13 count the
/// time of a change in steps of some milliseconds, in which a script can do a lot; what it writes has
/// another time of modification all the same.
fn looks_the_same(before: &Inode, stat: &Stat) -> bool {
    let same_size = match &before.kind {
        Kind::Regular(content) => {
            u64::try_from(stat.st_size).is_ok_and(|size| size == content.size())
        }
        _ => true,
    };
    same_size && stat.st_mtime == before.meta.mtime && stat.st_mtime_nsec == 0
}

/// Whether an inode's kind can be taken over as it is: a directory's entries cannot.
fn is_leaf(inode: &Inode) -> bool {
    !matches!(inode.kind, Kind::Directory(_))
}

/// The group that new files in a directory get: its own, if it has the set-gid bit.
fn inherited_group(meta: &Meta) -> Option<u32> {
    (meta.mode & 0o2000 != 0).then_some(meta.gid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_written_to_in_the_moment_of_its_making_is_noticed() {
        let meta = Meta { mtime: 1_700_000_000, ..Meta::root(0o644) };
        let before = Inode { meta, kind: Kind::Regular(Content::Inline(b"three"[..].into())) };
        let file = tempfile::NamedTempFile::new().unwrap();
        let at = |seconds, nanoseconds| {
            use rustix::fs::{Timespec, Timestamps};
            let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
            let times = Timestamps { last_access: time, last_modification: time };
            rustix::fs::futimens(&file, &times).unwrap();
            rustix::fs::fstat(&file).unwrap()
        };
        for (text, seconds, nanoseconds, expected) in [
            ("three", 1_700_000_000, 0, true),
            ("seven", 1_700_000_001, 0, false),
            ("seven", 1_700_000_000, 1, false),
            ("three and more", 1_700_000_000, 0, false),
        ] {
            fs_err::write(file.path(), text).unwrap();
            assert_eq!(looks_the_same(&before, &at(seconds, nanoseconds)), expected, "{text}");
        }
    }
}
