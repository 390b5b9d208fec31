//! What differs between two guests: by package, by file, and by what stands around them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Form, Report};
use crate::tree::{Device, Inode, Kind, Tree, TreePath, escape};

/// One thing that differs; `None` where it is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// In what respect.
    pub aspect: Aspect,
    /// Which path, package or part.
    pub subject: String,
    /// What it is in the first guest.
    pub first: Option<String>,
    /// What it is in the second.
    pub second: Option<String>,
}

/// In what respect two guests differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aspect {
    /// A part of the image around the files.
    Part,
    /// A package's version.
    Package,
    /// A path is in one only, or the kind of file.
    Kind,
    /// The content of a file, the target of a link, the number of a device.
    Content,
    /// Permission bits.
    Mode,
    /// Owner and group.
    Owner,
    /// The time of modification.
    Time,
    /// Extended attributes.
    Attributes,
    /// Which paths are names of the same file.
    Links,
}

/// What differs between two trees, in the order of paths.
pub fn trees(first: &Tree, second: &Tree) -> Vec<Difference> {
    let (first, second) = (Side::new(first), Side::new(second));
    let mut paths: Vec<&TreePath> = first.files.keys().chain(second.files.keys()).collect();
    paths.sort();
    paths.dedup();
    let mut found = Vec::new();
    for path in paths {
        let subject = path.to_string();
        match (first.files.get(path), second.files.get(path)) {
            (Some(one), Some(two)) => file(&subject, one, two, &mut found),
            (one, two) => found.push(Difference {
                aspect: Aspect::Kind,
                subject,
                first: one.map(|file| kind(&file.inode.kind).to_owned()),
                second: two.map(|file| kind(&file.inode.kind).to_owned()),
            }),
        }
    }
    found
}

/// The files of a tree by path, each with the first of its names.
struct Side<'t> {
    files: BTreeMap<TreePath, File<'t>>,
}

struct File<'t> {
    inode: &'t Inode,
    name: TreePath,
}

impl<'t> Side<'t> {
    fn new(tree: &'t Tree) -> Self {
        let mut names = BTreeMap::new();
        let mut files = BTreeMap::new();
        for (path, id, inode) in tree.walk() {
            let name: &TreePath = names.entry(id).or_insert_with(|| path.clone());
            files.insert(path, File { inode, name: name.clone() });
        }
        Self { files }
    }
}

fn file(subject: &str, one: &File<'_>, two: &File<'_>, found: &mut Vec<Difference>) {
    let mut push = |aspect, first: String, second: String| {
        if first != second {
            let (first, second) = (Some(first), Some(second));
            found.push(Difference { aspect, subject: subject.to_owned(), first, second });
        }
    };
    let (a, b) = (one.inode, two.inode);
    push(Aspect::Kind, kind(&a.kind).to_owned(), kind(&b.kind).to_owned());
    if kind(&a.kind) == kind(&b.kind) {
        push(Aspect::Content, content(&a.kind), content(&b.kind));
    }
    push(Aspect::Mode, format!("{:04o}", a.meta.mode), format!("{:04o}", b.meta.mode));
    let owner = |inode: &Inode| format!("{}:{}", inode.meta.uid, inode.meta.gid);
    push(Aspect::Owner, owner(a), owner(b));
    push(Aspect::Time, a.meta.mtime.to_string(), b.meta.mtime.to_string());
    push(Aspect::Attributes, attributes(a), attributes(b));
    push(Aspect::Links, one.name.to_string(), two.name.to_string());
}

fn kind(kind: &Kind) -> &'static str {
    match kind {
        Kind::Directory(_) => "directory",
        Kind::Regular(_) => "file",
        Kind::Symlink(_) => "link",
        Kind::CharacterDevice(_) => "character device",
        Kind::BlockDevice(_) => "block device",
        Kind::Fifo => "pipe",
        Kind::Socket => "socket",
    }
}

fn content(kind: &Kind) -> String {
    let number = |device: &Device| format!("{}:{}", device.major, device.minor);
    match kind {
        Kind::Regular(content) => format!("{} bytes, sha256 {}", content.size(), content.digest()),
        Kind::Symlink(target) => escape(target),
        Kind::CharacterDevice(device) | Kind::BlockDevice(device) => number(device),
        Kind::Directory(_) | Kind::Fifo | Kind::Socket => String::new(),
    }
}

fn attributes(inode: &Inode) -> String {
    let pairs = inode.meta.xattrs.iter();
    let pairs: Vec<_> =
        pairs.map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
    pairs.join(" ")
}

/// The parts of a guest around its files, by name.
pub fn inventory(report: &Report) -> BTreeMap<String, String> {
    let mut parts = BTreeMap::new();
    let mut put = |name: &str, value: String| drop(parts.insert(name.to_owned(), value));
    match &report.form {
        Form::Initrd { compression } => {
            put("form", format!("initrd, compression {}", compression.name()));
        }
        Form::Image {
            nvdimm_block,
            partition_table,
            disk_signature,
            partitions,
            file_system,
            hash_tree,
        } => {
            put("form", "disk image".to_owned());
            put("partition table", (*partition_table).to_owned());
            put("disk signature", disk_signature.clone());
            put("nvdimm block", nvdimm_block.map_or("none".to_owned(), |at| format!("at {at}")));
            for part in partitions {
                let text = format!("sectors {} and {} more", part.start, part.sectors);
                put(&format!("partition {}", part.number), text);
                let Some(gpt) = &part.discoverable else { continue };
                let mark = if gpt.read_only { ", read-only" } else { "" };
                let text = format!("{}, uuid {}, name {}{mark}", gpt.purpose, gpt.uuid, gpt.name);
                put(&format!("partition {} is", part.number), text);
            }
            put("file system", format!("{}, uuid {}", file_system.kind, file_system.uuid));
            let sizes = format!("{} of {} bytes", file_system.blocks, file_system.block_size);
            put("file system blocks", sizes);
            put("file system time", file_system.time.to_string());
            let tree = hash_tree.as_ref().map(|tree| format!("at {}", tree.offset));
            put("hash tree", tree.unwrap_or("none".to_owned()));
        }
    }
    put("size", report.size.to_string());
    parts
}

impl Difference {
    /// What differs between two lists of values by name.
    pub fn between(
        aspect: Aspect,
        first: &BTreeMap<String, String>,
        second: &BTreeMap<String, String>,
    ) -> Vec<Self> {
        let mut names: Vec<&String> = first.keys().chain(second.keys()).collect();
        names.sort();
        names.dedup();
        let differs = |name: &&&String| first.get(**name) != second.get(**name);
        let difference = |name: &String| Self {
            aspect,
            subject: name.clone(),
            first: first.get(name).cloned(),
            second: second.get(name).cloned(),
        };
        names.iter().filter(differs).map(|name| difference(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Content, Meta};

    fn put(tree: &mut Tree, path: &str, meta: Meta, text: &str) {
        let path = TreePath::parse(path).unwrap();
        tree.make_directories(&path.parent().unwrap(), &Meta::root(0o755)).unwrap();
        let kind = Kind::Regular(Content::Inline(text.as_bytes().into()));
        tree.insert(&path, Inode { meta, kind }).unwrap();
    }

    fn tree() -> Tree {
        let mut tree = Tree::default();
        put(&mut tree, "etc/passwd", Meta::root(0o644), "root");
        put(&mut tree, "b", Meta::root(0o755), "x");
        tree
    }

    #[test]
    fn k10_each_change_is_named_exactly() {
        assert_eq!(trees(&tree(), &tree()), []);
        type Change = fn(&mut Tree);
        let cases: [(Aspect, &str, Change); 6] = [
            (Aspect::Mode, "/b", |tree| {
                tree.get_mut(&TreePath::parse("b").unwrap()).unwrap().meta.mode = 0o4755;
            }),
            (Aspect::Owner, "/b", |tree| {
                tree.get_mut(&TreePath::parse("b").unwrap()).unwrap().meta.uid = 7;
            }),
            (Aspect::Time, "/b", |tree| {
                tree.get_mut(&TreePath::parse("b").unwrap()).unwrap().meta.mtime = 7;
            }),
            (Aspect::Attributes, "/b", |tree| {
                let meta = &mut tree.get_mut(&TreePath::parse("b").unwrap()).unwrap().meta;
                meta.xattrs.insert(b"user.x".to_vec(), b"y".to_vec());
            }),
            (Aspect::Content, "/b", |tree| put(tree, "b", Meta::root(0o755), "y")),
            (Aspect::Kind, "/etc/passwd", |tree| {
                tree.remove(&TreePath::parse("etc/passwd").unwrap());
            }),
        ];
        for (aspect, subject, change) in cases {
            let mut other = tree();
            change(&mut other);
            let found = trees(&tree(), &other);
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!((found[0].aspect, found[0].subject.as_str()), (aspect, subject));
            assert_ne!(found[0].first, found[0].second);
        }
    }

    #[test]
    fn a_package_that_is_in_one_only_is_named() {
        let versions = |names: &[&str]| -> BTreeMap<String, String> {
            names.iter().map(|name| ((*name).to_owned(), "1".to_owned())).collect()
        };
        let (first, second) = (versions(&["a:all", "x:all"]), versions(&["a:all"]));
        let found = Difference::between(Aspect::Package, &first, &second);
        assert_eq!((found.len(), found[0].subject.as_str()), (1, "x:all"));
        assert_eq!(found[0].second, None);
    }
}
