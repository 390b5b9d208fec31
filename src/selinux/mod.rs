//! SELinux labels, computed from the policy that lies in the tree: no SELinux host, no chroot, no
//! program of the guest.
//!
//! Comes in: a tree with `/etc/selinux/config` and the file contexts of the policy that it names. Goes
//! out: the same tree, each file with the label that `setfiles` would give it, as the attribute
//! `security.selinux`; files for which the policy says `<<none>>`, or nothing, have none.
//!
//! Specifications: selinux_config(5), selabel_file(5), file_contexts(5), and for the order in which
//! entries count `label_file.c` of libselinux. That order is the same in all releases up to 3.7 and
//! from 3.9 on but for one case, for which [`Labelled::by_version`] tells. (3.8 lets a path without
//! signs of the administrator's count less than the policy's, which was mended.) Judged by
//! `matchpathcon`.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

mod contexts;
mod entry;
mod substitutions;

use std::collections::BTreeMap;
use std::io::{self, Read as _};

use contexts::FileContexts;
pub use entry::BadEntry;
use substitutions::Substitutions;

use crate::tree::{Contents, InodeId, Kind, Tree, TreePath};

/// The attribute with a label. Its value ends with a zero byte, as libselinux writes it.
const ATTRIBUTE: &[u8] = b"security.selinux";
/// Where the name of the policy is.
const CONFIG: &str = "etc/selinux/config";
/// A policy's file contexts have half a megabyte.
const MOST: u64 = 64 << 20;

/// Why a tree cannot be labelled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No policy is named in the tree, or the one named is not there.
    #[error("there is no {path} in the tree: install the packages of an SELinux policy")]
    NoPolicy {
        /// The file.
        path: TreePath,
    },
    /// The configuration names no policy.
    #[error("{path} has no line SELINUXTYPE=NAME, with the name of a folder beside it")]
    NoType {
        /// The file.
        path: TreePath,
    },
    /// A file of the policy cannot be read.
    #[error("cannot read {path}")]
    Content {
        /// The file.
        path: TreePath,
        /// Why.
        source: io::Error,
    },
    /// A line of the policy's file contexts is not understood.
    #[error("{path}, line {line}")]
    Line {
        /// The file.
        path: TreePath,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        source: BadEntry,
    },
    /// An entry of the policy takes too much memory.
    #[error("the policy's file contexts cannot be used")]
    Pattern(#[source] BadEntry),
}

/// A tree that was labelled.
#[derive(Debug)]
pub struct Labelled {
    /// The tree.
    pub tree: Tree,
    /// Names of files of which another name, met before, has another label: the first one's counts.
    pub contradictions: Vec<TreePath>,
    /// Files that libselinux from 3.9 on labels by another entry than before; they have the label of
    /// before.
    pub by_version: Vec<TreePath>,
}

/// Gives each file of `tree` its label, in place of the one that it had.
///
/// # Errors
/// [`Error`].
pub fn label(mut tree: Tree, contents: &dyn Contents) -> Result<Labelled, Error> {
    let policy = Policy::read(&tree, contents)?;
    let mut labels: BTreeMap<InodeId, Option<String>> = BTreeMap::new();
    let (mut contradictions, mut by_version) = (Vec::new(), Vec::new());
    for (path, id, inode) in tree.walk() {
        let full = [b"/", path.as_bytes()].concat();
        let full = policy.substitutions.apply(&full);
        let kind = letter(&inode.kind);
        let label = policy.contexts.label(&full, kind).map_err(Error::Pattern)?;
        if policy.contexts.differs_by_version(&full, kind) {
            by_version.push(path.clone());
        }
        let label = label.map(str::to_owned);
        match labels.get(&id) {
            Some(first) if *first != label => contradictions.push(path),
            Some(_) => {}
            None => drop(labels.insert(id, label)),
        }
    }
    for (id, label) in labels {
        let attributes = &mut tree.inode_mut(id).meta.xattrs;
        attributes.remove(ATTRIBUTE);
        if let Some(label) = label {
            attributes.insert(ATTRIBUTE.to_vec(), [label.as_bytes(), b"\0"].concat());
        }
    }
    Ok(Labelled { tree, contradictions, by_version })
}

/// The letter by which file contexts call a kind of file.
const fn letter(kind: &Kind) -> u8 {
    match kind {
        Kind::Directory(_) => b'd',
        Kind::Regular(_) => b'-',
        Kind::Symlink(_) => b'l',
        Kind::CharacterDevice(_) => b'c',
        Kind::BlockDevice(_) => b'b',
        Kind::Fifo => b'p',
        Kind::Socket => b's',
    }
}

/// What a policy says of files.
struct Policy {
    contexts: FileContexts,
    substitutions: Substitutions,
}

impl Policy {
    fn read(tree: &Tree, contents: &dyn Contents) -> Result<Self, Error> {
        let parse = |path: &str| TreePath::parse(path).expect("a clean path");
        let config = parse(CONFIG);
        let text = text(tree, contents, &config)?;
        let text = text.ok_or_else(|| Error::NoPolicy { path: config.clone() })?;
        let name = policy_name(&text).ok_or(Error::NoType { path: config })?;
        let base = format!("etc/selinux/{name}/contexts/files/file_contexts");
        let missing = || Error::NoPolicy { path: parse(&base) };
        let mut contexts = FileContexts::default();
        // Later entries win, so those of the administrator come last.
        for suffix in ["", ".homedirs", ".local"] {
            let path = parse(&format!("{base}{suffix}"));
            match self::text(tree, contents, &path)? {
                Some(text) => contexts.add(&text).map_err(|(line, source)| Error::Line {
                    path: path.clone(),
                    line,
                    source,
                })?,
                None if suffix.is_empty() => return Err(missing()),
                None => {}
            }
        }
        let optional = |suffix: &str| {
            let path = parse(&format!("{base}{suffix}"));
            self::text(tree, contents, &path).map(Option::unwrap_or_default)
        };
        let substitutions = Substitutions::new(&optional(".subs")?, &optional(".subs_dist")?);
        Ok(Self { contexts, substitutions })
    }
}

/// The value of `SELINUXTYPE`, which must be the name of a folder.
fn policy_name(config: &str) -> Option<&str> {
    let mut values = config.lines().filter_map(|line| line.trim().strip_prefix("SELINUXTYPE="));
    let name = values.next_back()?.trim();
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let is_plain = name.bytes().all(is_name) && !matches!(name, "" | "." | "..");
    is_plain.then_some(name)
}

/// The text of a file, following links; `None` where there is none.
fn text(tree: &Tree, contents: &dyn Contents, path: &TreePath) -> Result<Option<String>, Error> {
    let found = tree.resolve(path).ok().and_then(|place| tree.get(&place));
    let Some(Kind::Regular(content)) = found.map(|inode| &inode.kind) else { return Ok(None) };
    let mut bytes = Vec::new();
    let read = content.open(contents).and_then(|file| file.take(MOST).read_to_end(&mut bytes));
    read.map_err(|source| Error::Content { path: path.clone(), source })?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests;
