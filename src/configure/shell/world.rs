//! The files that a script sees: the tree in memory, as a process whose root it is would see it.
//!
//! In: a tree, and where its contents are; out: the changed tree. Nothing outside the tree can be
//! named, because nothing else is there. `/dev/null` and its like need not be in the tree. Work is
//! bounded: each step and each byte that is copied counts.

use std::any::Any;
use std::collections::BTreeMap;
use std::io::{self, Read};

use super::{Stop, bytes_of, text_of};
use crate::epoch::Epoch;
use crate::tree::{Content, Contents, Inode, InodeId, Kind, Meta, Tree, TreePath};

/// No file is read or written that is larger, in bytes.
const LARGEST_FILE: u64 = 32 << 20;
/// Steps of one script; one stands for a command or sixty-four bytes.
const MOST_STEPS: u64 = 1_000_000;

/// Why a file operation fails, as a script is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::configure) enum Fault {
    Missing,
    Exists,
    NotADirectory,
    IsADirectory,
    NotEmpty,
    Invalid,
}

impl Fault {
    /// The words of the C library.
    pub(in crate::configure) const fn text(self) -> &'static str {
        match self {
            Self::Missing => "No such file or directory",
            Self::Exists => "File exists",
            Self::NotADirectory => "Not a directory",
            Self::IsADirectory => "Is a directory",
            Self::NotEmpty => "Directory not empty",
            Self::Invalid => "Invalid argument",
        }
    }
}

impl From<crate::tree::Error> for Fault {
    fn from(error: crate::tree::Error) -> Self {
        match error {
            crate::tree::Error::NotADirectory { .. } => Self::NotADirectory,
            crate::tree::Error::IsADirectory { .. } => Self::IsADirectory,
            crate::tree::Error::Missing { .. } => Self::Missing,
            _ => Self::Invalid,
        }
    }
}

impl From<crate::tree::BadPath> for Fault {
    fn from(_: crate::tree::BadPath) -> Self {
        Self::Invalid
    }
}

/// A tree, and what working on it takes.
pub(in crate::configure) struct World<'a> {
    pub(in crate::configure) tree: Tree,
    pub(in crate::configure) contents: &'a dyn Contents,
    pub(in crate::configure) epoch: Epoch,
    /// What was printed, line by line.
    pub(in crate::configure) printed: String,
    /// What commands keep from one call to the next, until the script ends.
    pub(in crate::configure) kept: Option<Box<dyn Any>>,
    steps: u64,
    /// Why a content could not be read, if that was so.
    failed: Option<io::Error>,
}

impl<'a> World<'a> {
    pub(in crate::configure) fn new(tree: Tree, contents: &'a dyn Contents, epoch: Epoch) -> Self {
        Self { tree, contents, epoch, printed: String::new(), kept: None, steps: 0, failed: None }
    }

    /// Begins a script: its work is counted from nothing.
    pub(in crate::configure) fn begin(&mut self) {
        self.steps = 0;
        self.printed.clear();
        self.kept = None;
    }

    /// Why a content could not be read since this was asked last. A script hears of it only as of some
    /// fault, and may go on: what it does from then on is worth nothing.
    pub(in crate::configure) const fn take_failure(&mut self) -> Option<io::Error> {
        self.failed.take()
    }

    fn fail(&mut self, error: io::Error) -> Fault {
        self.failed = Some(error);
        Fault::Invalid
    }

    /// Counts work.
    pub(in crate::configure) fn spend(&mut self, steps: usize) -> Result<(), Stop> {
        self.steps = self.steps.saturating_add(steps as u64);
        if self.steps > MOST_STEPS { Err(Stop::unknown("it does not end")) } else { Ok(()) }
    }

    /// The moment that every change is made.
    pub(in crate::configure) fn now(&self) -> i64 {
        self.epoch.clamp(i64::MAX)
    }

    /// Where a path leads, from a directory; the last name need not exist. `follow`: whether a link
    /// at the end is followed.
    pub(in crate::configure) fn resolve(
        &self,
        from: &TreePath,
        path: &str,
        follow: bool,
    ) -> Result<TreePath, Fault> {
        if path.is_empty() {
            return Err(Fault::Missing);
        }
        let mut here = if path.starts_with('/') { TreePath::ROOT } else { from.clone() };
        let names: Vec<&str> = path.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
        for (index, name) in names.iter().enumerate() {
            if !self.is_directory(&here) {
                return Err(match self.tree.get(&here) {
                    Some(_) => Fault::NotADirectory,
                    None => Fault::Missing,
                });
            }
            if *name == ".." {
                here = here.parent().unwrap_or_default();
                continue;
            }
            here = here.join(bytes_of(name))?;
            let is_last = index + 1 == names.len() && !path.ends_with('/');
            if !is_last || follow {
                here = self.tree.resolve(&here)?;
            }
        }
        Ok(here)
    }

    pub(in crate::configure) fn is_directory(&self, path: &TreePath) -> bool {
        matches!(self.tree.get(path), Some(Inode { kind: Kind::Directory(_), .. }))
    }

    /// Reads a file by its clean path.
    pub(in crate::configure) fn read(&mut self, path: &TreePath) -> Result<Vec<u8>, Fault> {
        self.read_at(path, 64)
    }

    /// As [`World::read`], for files of which little is looked at: they count for less.
    pub(in crate::configure) fn read_lightly(&mut self, path: &TreePath) -> Result<Vec<u8>, Fault> {
        self.read_at(path, 4096)
    }

    fn read_at(&mut self, path: &TreePath, bytes_of_a_step: u64) -> Result<Vec<u8>, Fault> {
        let content = match self.tree.get(path).map(|inode| &inode.kind) {
            Some(Kind::Regular(content)) => content,
            Some(Kind::Directory(_)) => return Err(Fault::IsADirectory),
            Some(Kind::CharacterDevice(_)) => return Ok(Vec::new()),
            Some(_) => return Err(Fault::Invalid),
            None => return Err(Fault::Missing),
        };
        let bytes = read(content, self.contents).map_err(|error| self.fail(error))?;
        if bytes.len() as u64 > LARGEST_FILE {
            return Err(Fault::Invalid);
        }
        self.steps = self.steps.saturating_add(bytes.len() as u64 / bytes_of_a_step);
        Ok(bytes)
    }

    /// Reads a text file by an absolute path, following links; nothing if there is none.
    pub(in crate::configure) fn text(&mut self, path: &str) -> Option<String> {
        let place = self.resolve(&TreePath::ROOT, path, true).ok()?;
        self.read(&place).ok().map(|bytes| text_of(&bytes))
    }

    /// Writes a whole file by an absolute path, following links. What is there keeps mode and owner;
    /// a new file gets `mode`. Directories above are made.
    pub(in crate::configure) fn put(
        &mut self,
        path: &str,
        mode: u16,
        text: &str,
    ) -> Result<TreePath, Fault> {
        if let Some((above, _)) = path.rsplit_once('/') {
            self.make_directories(above, 0o755)?;
        }
        let place = self.resolve(&TreePath::ROOT, path, true)?;
        let id = self.open(&place, mode, true)?;
        self.append(id, text)?;
        Ok(place)
    }

    /// Puts a new file in the place of whatever is at an absolute path. Directories above are made.
    pub(in crate::configure) fn replace(
        &mut self,
        path: &str,
        mode: u16,
        bytes: Vec<u8>,
    ) -> Result<(), Fault> {
        if let Some((above, _)) = path.rsplit_once('/') {
            self.make_directories(above, 0o755)?;
        }
        let place = self.resolve(&TreePath::ROOT, path, false)?;
        if self.tree.get(&place).is_some() {
            self.remove(&place)?;
        }
        self.steps = self.steps.saturating_add(bytes.len() as u64 / 4096);
        self.insert(&place, mode, Kind::Regular(Content::Inline(bytes.into())))
    }

    /// Makes a directory and all above it.
    pub(in crate::configure) fn make_directories(
        &mut self,
        path: &str,
        mode: u16,
    ) -> Result<TreePath, Fault> {
        let mut here = TreePath::ROOT;
        for name in path.split('/').filter(|name| !matches!(*name, "" | ".")) {
            if name == ".." {
                here = here.parent().unwrap_or_default();
                continue;
            }
            here = self.tree.resolve(&here.join(bytes_of(name))?)?;
            if self.tree.get(&here).is_none() {
                self.make_directory(&here, mode)?;
            } else if !self.is_directory(&here) {
                return Err(Fault::NotADirectory);
            }
        }
        Ok(here)
    }

    /// Makes one directory, whose parent is there.
    pub(in crate::configure) fn make_directory(
        &mut self,
        path: &TreePath,
        mode: u16,
    ) -> Result<(), Fault> {
        let above = path.parent().and_then(|above| self.tree.get(&above)).map(|above| &above.meta);
        let inherited = above.map_or(0, |above| above.mode & 0o2000);
        self.insert(path, mode | inherited, Kind::Directory(BTreeMap::new()))
    }

    /// Makes something new, with the owner of all that root makes.
    pub(in crate::configure) fn insert(
        &mut self,
        path: &TreePath,
        mode: u16,
        kind: Kind,
    ) -> Result<(), Fault> {
        if self.tree.get(path).is_some() {
            return Err(Fault::Exists);
        }
        let above = path.parent().ok_or(Fault::Exists)?;
        let above = self.tree.get(&above).map(|inode| &inode.meta).ok_or(Fault::Missing)?;
        let gid = if above.mode & 0o2000 == 0 { 0 } else { above.gid };
        let meta = Meta { gid, mtime: self.now(), ..Meta::root(mode) };
        self.tree.insert(path, Inode { meta, kind })?;
        self.touch_above(path);
        Ok(())
    }

    /// Opens a file for writing by its clean path; makes it if it is not there.
    pub(in crate::configure) fn open(
        &mut self,
        path: &TreePath,
        mode: u16,
        empty: bool,
    ) -> Result<InodeId, Fault> {
        if self.tree.get(path).is_none() {
            self.insert(path, mode, Kind::Regular(Content::empty()))?;
        }
        let now = self.now();
        let id = self.tree.lookup(path).ok_or(Fault::Missing)?;
        let inode = self.tree.inode_mut(id);
        match &mut inode.kind {
            Kind::Regular(content) if empty => {
                *content = Content::empty();
                inode.meta.mtime = now;
            }
            Kind::Directory(_) => return Err(Fault::IsADirectory),
            _ => {}
        }
        Ok(id)
    }

    /// Adds text to an open file. Into a device it goes nowhere.
    pub(in crate::configure) fn append(&mut self, id: InodeId, text: &str) -> Result<(), Fault> {
        let Kind::Regular(content) = &self.tree.inode(id).kind else { return Ok(()) };
        let mut bytes = read(content, self.contents).map_err(|error| self.fail(error))?;
        bytes.extend(bytes_of(text));
        if bytes.len() as u64 > LARGEST_FILE {
            return Err(Fault::Invalid);
        }
        self.steps = self.steps.saturating_add(bytes.len() as u64 / 64);
        let now = self.now();
        let inode = self.tree.inode_mut(id);
        inode.kind = Kind::Regular(Content::Inline(bytes.into()));
        inode.meta.mtime = now;
        Ok(())
    }

    /// Removes what is no directory, or an empty one.
    pub(in crate::configure) fn remove(&mut self, path: &TreePath) -> Result<(), Fault> {
        match self.tree.get(path).map(|inode| &inode.kind) {
            None => return Err(Fault::Missing),
            Some(Kind::Directory(entries)) if !entries.is_empty() => return Err(Fault::NotEmpty),
            Some(_) => {}
        }
        self.tree.remove(path);
        self.touch_above(path);
        Ok(())
    }

    /// Gives the directory of a path the time of a change.
    pub(in crate::configure) fn touch_above(&mut self, path: &TreePath) {
        let now = self.now();
        if let Some(above) = path.parent().and_then(|above| self.tree.get_mut(&above)) {
            above.meta.mtime = now;
        }
    }

    /// The names in a directory, in byte order.
    pub(in crate::configure) fn names(&self, path: &TreePath) -> Vec<String> {
        match self.tree.get(path) {
            Some(Inode { kind: Kind::Directory(entries), .. }) => {
                entries.keys().map(|name| text_of(name)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Renames anything; what was there goes. Directories only to names that are free.
    pub(in crate::configure) fn rename(
        &mut self,
        from: &TreePath,
        to: &TreePath,
    ) -> Result<(), Fault> {
        if from == to {
            return Ok(());
        }
        if !self.is_directory(from) {
            self.tree.rename(from, to)?;
        } else if to.starts_with(from) || self.tree.get(to).is_some() {
            return Err(Fault::Invalid);
        } else {
            let all: Vec<_> = self.below(from);
            let mut first: BTreeMap<InodeId, TreePath> = BTreeMap::new();
            for (tail, id, inode) in all {
                let place = to.join(tail.as_bytes())?;
                match first.get(&id) {
                    Some(other) => drop(self.tree.link(&place, &other.clone())?),
                    None => {
                        self.tree.insert(&place, inode)?;
                        first.insert(id, place);
                    }
                }
            }
            self.tree.remove(from);
        }
        self.touch_above(from);
        self.touch_above(to);
        Ok(())
    }

    /// A path and all below it, relative to it; directories empty, and before their entries.
    pub(in crate::configure) fn below(&self, top: &TreePath) -> Vec<(TreePath, InodeId, Inode)> {
        let mut all = Vec::new();
        let mut pending = vec![TreePath::ROOT];
        while let Some(tail) = pending.pop() {
            let Ok(path) = top.join(tail.as_bytes()) else { continue };
            let Some(id) = self.tree.lookup(&path) else { continue };
            let mut inode = self.tree.inode(id).clone();
            if let Kind::Directory(entries) = &mut inode.kind {
                let names = std::mem::take(entries);
                pending.extend(names.keys().rev().filter_map(|name| tail.join(name).ok()));
            }
            all.push((tail, id, inode));
        }
        all
    }
}

/// Reads a content, and one byte more than a file may have of one that is larger.
fn read(content: &Content, contents: &dyn Contents) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    content.open(contents)?.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
