//! The tree in the making, with the few moves that provisioning is made of.
//!
//! Paths are followed through the tree's own links, so `lib/systemd` and `usr/lib/systemd` are the
//! same where `/usr` is merged. What is made here belongs to root and has the epoch's time.

use std::collections::BTreeMap;
use std::io::Read as _;

use super::Error;
use crate::epoch::Epoch;
use crate::tree::{self, Content, Contents, Device, Inode, Kind, Meta, Tree, TreePath};

/// Configuration files that are edited are small; this keeps a hostile one from filling memory.
const LARGEST_TEXT: u64 = 1 << 20;

/// A tree that is being edited.
pub(super) struct Editor<'a> {
    pub(super) tree: Tree,
    pub(super) epoch: Epoch,
    pub(super) contents: &'a dyn Contents,
}

impl Editor<'_> {
    /// Metadata of something that is made here.
    pub(super) fn meta(&self, mode: u16) -> Meta {
        Meta { mtime: self.epoch.clamp(i64::MAX), ..Meta::root(mode) }
    }

    /// The path without links on the way; the last name is kept as it is.
    pub(super) fn place(&self, path: &str) -> Result<TreePath, Error> {
        Ok(self.tree.resolve_parent(&clean(path)?)?)
    }

    /// Whether something is there, following links on the way and at the end.
    pub(super) fn exists(&self, path: &str) -> bool {
        let resolved = clean(path).ok().and_then(|path| self.tree.resolve(&path).ok());
        resolved.is_some_and(|path| self.tree.get(&path).is_some())
    }

    /// What is there, following links on the way but not at the end.
    pub(super) fn get(&self, path: &str) -> Result<Option<&Inode>, Error> {
        let path = self.place(path)?;
        Ok(self.tree.get(&path))
    }

    /// Makes a directory and those above it, unless they exist.
    pub(super) fn directory(&mut self, path: &str, mode: u16) -> Result<(), Error> {
        let path = clean(path)?;
        if let Some(parent) = path.parent() {
            let meta = self.meta(0o755);
            self.tree.make_directories(&parent, &meta)?;
        }
        let meta = self.meta(mode);
        self.tree.make_directories(&path, &meta)?;
        Ok(())
    }

    /// Puts something at `path` in place of what is there, and makes the directories above it.
    pub(super) fn put(&mut self, path: &str, mode: u16, kind: Kind) -> Result<(), Error> {
        let meta = self.meta(mode);
        self.put_inode(&clean(path)?, Inode { meta, kind })
    }

    /// As [`Editor::put`], with the metadata as given.
    pub(super) fn put_inode(&mut self, path: &TreePath, inode: Inode) -> Result<(), Error> {
        if let Some(parent) = path.parent() {
            let meta = self.meta(0o755);
            self.tree.make_directories(&parent, &meta)?;
        }
        let path = self.tree.resolve_parent(path)?;
        self.tree.insert(&path, inode)?;
        Ok(())
    }

    /// Writes a file of root's.
    pub(super) fn file(&mut self, path: &str, mode: u16, text: &str) -> Result<(), Error> {
        let content = Content::Inline(text.as_bytes().into());
        self.put(path, mode, Kind::Regular(content))
    }

    /// Makes a symbolic link.
    pub(super) fn symlink(&mut self, path: &str, target: &str) -> Result<(), Error> {
        self.put(path, 0o777, Kind::Symlink(target.as_bytes().into()))
    }

    /// Makes a character device, unless something is there.
    pub(super) fn device(&mut self, path: &str, mode: u16, device: Device) -> Result<(), Error> {
        if self.get(path)?.is_some() {
            return Ok(());
        }
        self.put(path, mode, Kind::CharacterDevice(device))
    }

    /// Removes what is there with all below it, following links on the way only.
    pub(super) fn remove(&mut self, path: &str) -> Result<(), Error> {
        let path = self.place(path)?;
        self.tree.remove(&path);
        Ok(())
    }

    /// Removes what is there with all below it and makes a symbolic link in its place.
    pub(super) fn replace_with_link(&mut self, path: &str, target: &str) -> Result<(), Error> {
        self.remove(path)?;
        self.symlink(path, target)
    }

    /// Reads a regular file as text, following links; `None` when there is none.
    pub(super) fn text(&self, path: &str) -> Result<Option<String>, Error> {
        let path = self.tree.resolve(&clean(path)?)?;
        let Some(Kind::Regular(content)) = self.tree.get(&path).map(|inode| &inode.kind) else {
            return Ok(None);
        };
        let failed = |source| Error::Unreadable { path: path.clone(), source };
        let mut text = String::new();
        let reader = content.open(self.contents).map_err(failed)?;
        reader.take(LARGEST_TEXT).read_to_string(&mut text).map_err(failed)?;
        Ok(Some(text))
    }

    /// Changes the text of a regular file, if it is there; owner and mode stay. A file whose text
    /// stays the same is not touched.
    pub(super) fn edit(
        &mut self,
        path: &str,
        change: impl FnOnce(&str) -> String,
    ) -> Result<(), Error> {
        let Some(old) = self.text(path)? else { return Ok(()) };
        let new = change(&old);
        if new == old {
            return Ok(());
        }
        let path = self.tree.resolve(&clean(path)?)?;
        // A new inode: other names of the old one are other files to whoever edits this one.
        let mut meta = self.tree.get(&path).expect("its text was just read").meta.clone();
        meta.mtime = self.epoch.clamp(i64::MAX);
        let kind = Kind::Regular(Content::Inline(new.as_bytes().into()));
        self.tree.insert(&path, Inode { meta, kind })?;
        Ok(())
    }

    /// Names in a directory, following links to it; none when it is no directory.
    pub(super) fn names(&self, path: &str) -> Result<Vec<Vec<u8>>, Error> {
        let path = self.tree.resolve(&clean(path)?)?;
        let inode = self.tree.get(&path);
        Ok(match inode.map(|inode| &inode.kind) {
            Some(Kind::Directory(entries)) => entries.keys().map(|name| name.to_vec()).collect(),
            _ => Vec::new(),
        })
    }
}

/// A layer of the host's: nothing of its owners, times and labels may enter a guest.
pub(super) fn made_anonymous(mut layer: Tree, epoch: Epoch) -> Tree {
    let ids: Vec<_> = layer.walk().map(|(_, id, _)| id).collect();
    for id in ids {
        anonymize(&mut layer.inode_mut(id).meta, epoch);
    }
    layer
}

/// As [`made_anonymous`], for one file.
pub(super) fn anonymize(meta: &mut Meta, epoch: Epoch) {
    (meta.uid, meta.gid, meta.xattrs) = (0, 0, BTreeMap::new());
    meta.mtime = epoch.clamp(i64::MAX);
}

fn clean(path: &str) -> Result<TreePath, Error> {
    Ok(TreePath::parse(path).map_err(tree::Error::from)?)
}
