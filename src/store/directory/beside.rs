//! What the disk cannot hold of a tree, kept beside the directory in `<directory>.osbuilder-owners`.
//!
//! ```text
//! osbuilder-owners 1 modes=tame attributes=user devices=no inode=1234
//! …the whole tree, as `Tree::to_listing` writes it…
//! ```
//!
//! The first line says what the disk does hold, and which directory this is about: while a
//! directory is being replaced, `<directory>.osbuilder-owners.next` belongs to the new one, and
//! whichever of the two names the inode of the directory counts. A directory that was copied
//! together with its listing has another inode; then the listing without `.next` counts.
//!
//! How the two are put together ([`Beside::merge`]): what exists, and its content, comes from the
//! disk. Owners come from the disk when they differ from whoever owns the directory, else from the
//! listing; a file that is not in it belongs to root. Modes come from the listing as long as the
//! disk has the mode that was written for it.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::mem::discriminant;
use std::sync::Arc;

use rustix::fs::Stat;

use super::Holding;
use super::attributes::Scope;
use crate::store::Error;
use crate::store::folder::Folder;
use crate::store::temporary::Temporary;
use crate::tree::{Inode, InodeId, Kind, Meta, Tree, TreePath};

const HEAD: &str = "osbuilder-owners 1";
const SUFFIX: &str = ".osbuilder-owners";

/// The name of the listing of the directory `name`, beside it.
pub(crate) fn side_name(name: &OsStr) -> OsString {
    let mut side = name.to_owned();
    side.push(SUFFIX);
    side
}

/// The listing of a directory that is about to replace another.
pub(crate) fn next_name(name: &OsStr) -> OsString {
    let mut side = side_name(name);
    side.push(".next");
    side
}

/// A listing, and what the disk holds without it.
#[derive(Debug)]
pub(super) struct Beside {
    pub(super) tree: Tree,
    pub(super) held: Held,
}

/// What of a tree went to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) modes: Holding,
    pub(super) attributes: Scope,
    pub(super) devices: bool,
}

impl Held {
    fn to_text(self) -> String {
        let modes = match self.modes {
            Holding::All => "all",
            Holding::Tame => "tame",
            Holding::TamePrivate => "private",
        };
        let attributes = match self.attributes {
            Scope::Everything => "all",
            Scope::User => "user",
            Scope::Nothing => "none",
        };
        let devices = if self.devices { "yes" } else { "no" };
        format!("modes={modes} attributes={attributes} devices={devices}")
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let modes = match words.next()? {
            "modes=all" => Holding::All,
            "modes=tame" => Holding::Tame,
            "modes=private" => Holding::TamePrivate,
            _ => return None,
        };
        let attributes = match words.next()? {
            "attributes=all" => Scope::Everything,
            "attributes=user" => Scope::User,
            "attributes=none" => Scope::Nothing,
            _ => return None,
        };
        let devices = match words.next()? {
            "devices=yes" => true,
            "devices=no" => false,
            _ => return None,
        };
        Some(Self { modes, attributes, devices })
    }
}

/// Writes the listing of the directory `name` in `parent`, whose inode is `inode`.
pub(super) fn write(
    parent: &Arc<Folder>,
    name: &OsStr,
    inode: u64,
    beside: (&Tree, Held),
) -> Result<(), Error> {
    let (tree, held) = beside;
    let text = format!("{HEAD} {} inode={inode}\n{}", held.to_text(), tree.to_listing());
    let side = side_name(name);
    let temporary = Temporary::create(parent, &side, 0o644)?;
    let path = parent.path_of(&side);
    temporary.file().write_all(text.as_bytes()).map_err(Error::disk("write", path))?;
    drop(temporary.publish(parent, &side)?);
    Ok(())
}

/// Whether the directory `name` in `parent` has a listing: then osbuilder has made it.
pub(crate) fn is_beside(parent: &Folder, name: &OsStr) -> bool {
    let is_listing = |name: OsString| matches!(parse(parent, &name), Ok(Some(_)));
    is_listing(side_name(name)) || is_listing(next_name(name))
}

/// Reads the listing of the directory `name` in `parent`, whose inode is `inode`.
pub(super) fn load(parent: &Folder, name: &OsStr, inode: u64) -> Result<Option<Beside>, Error> {
    if let Ok(Some((beside, Some(about)))) = parse(parent, &next_name(name))
        && about == inode
    {
        return Ok(Some(beside));
    }
    Ok(parse(parent, &side_name(name))?.map(|(beside, _)| beside))
}

fn parse(parent: &Folder, side: &OsStr) -> Result<Option<(Beside, Option<u64>)>, Error> {
    let Some((mut file, _)) = parent.file_if_there(side)? else { return Ok(None) };
    let path = parent.path_of(side);
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(Error::disk("read", &path))?;
    let Some((held, inode, listing)) = split(&text) else {
        return Err(Error::ListingVersion { path });
    };
    let tree = Tree::from_listing(listing).map_err(|source| Error::Listing { path, source })?;
    Ok(Some((Beside { tree, held }, inode)))
}

fn split(text: &str) -> Option<(Held, Option<u64>, &str)> {
    let (head, listing) = text.split_once('\n')?;
    let (held, inode) = head.strip_prefix(HEAD)?.strip_prefix(' ')?.rsplit_once(" inode=")?;
    Some((Held::parse(held)?, inode.parse().ok(), listing))
}

impl Beside {
    /// Adds to `tree`, as it was read from a disk whose top directory is `top`, what the listing
    /// knows better.
    pub(super) fn merge(&self, tree: &mut Tree, top: &Stat) {
        let mut done: BTreeSet<InodeId> = BTreeSet::new();
        let paths: Vec<_> = tree.walk().map(|(path, id, _)| (path, id)).collect();
        for (path, id) in &paths {
            let Some(listed) = self.tree.get(path) else { continue };
            let inode = tree.inode_mut(*id);
            if discriminant(&listed.kind) == discriminant(&inode.kind) && done.insert(*id) {
                self.merge_inode(inode, listed, top);
            }
        }
        for (_, id) in paths {
            if !done.contains(&id) {
                own(&mut tree.inode_mut(id).meta, &Meta::root(0), top);
            }
        }
        if !self.held.devices {
            self.restore_devices(tree);
        }
    }

    fn merge_inode(&self, inode: &mut Inode, listed: &Inode, top: &Stat) {
        own(&mut inode.meta, &listed.meta, top);
        let is_directory = matches!(inode.kind, Kind::Directory(_));
        let is_link = matches!(inode.kind, Kind::Symlink(_));
        if is_link || inode.meta.mode == self.held.modes.mode(listed.meta.mode, is_directory) {
            inode.meta.mode = listed.meta.mode;
        }
        // As the kernel does, a changed file loses its capabilities, and labels with them.
        if is_same_content(&inode.kind, &listed.kind) {
            let has_attributes = matches!(inode.kind, Kind::Regular(_) | Kind::Directory(_));
            for (name, value) in &listed.meta.xattrs {
                if !(has_attributes && self.held.attributes.holds(name)) {
                    inode.meta.xattrs.insert(name.clone(), value.clone());
                }
            }
        }
    }

    /// Device nodes that are not on the disk stand where they stood, unless their directory is
    /// gone or something else has taken their place.
    fn restore_devices(&self, tree: &mut Tree) {
        for (path, _, inode) in self.tree.walk() {
            let is_device = matches!(inode.kind, Kind::CharacterDevice(_) | Kind::BlockDevice(_));
            if is_device && tree.get(&path).is_none() && is_in_a_directory(tree, &path) {
                tree.insert(&path, inode.clone()).expect("the directory is there");
            }
        }
    }
}

fn is_in_a_directory(tree: &Tree, path: &TreePath) -> bool {
    let parent = path.parent().and_then(|parent| tree.get(&parent));
    parent.is_some_and(|inode| matches!(inode.kind, Kind::Directory(_)))
}

fn is_same_content(one: &Kind, other: &Kind) -> bool {
    match (one, other) {
        (Kind::Regular(one), Kind::Regular(other)) => one.digest() == other.digest(),
        _ => true,
    }
}

/// Gives a file the owner `known`, where the disk says no more than that whoever owns the
/// directory made it.
///
/// An ordinary user can give files to nobody, so neither owner nor group of theirs mean anything.
/// Root can, so for root each counts for itself.
pub(super) fn own(meta: &mut Meta, known: &Meta, top: &Stat) {
    if meta.uid != top.st_uid {
        return;
    }
    if top.st_uid != 0 || meta.gid == top.st_gid {
        meta.gid = known.gid;
    }
    meta.uid = known.uid;
}
