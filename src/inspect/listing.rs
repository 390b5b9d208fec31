//! The files of a guest as lines, as `ls -lR` would show them, for people and programs.

use serde::Serialize;

use crate::digest::Digest;
use crate::tree::{Inode, Kind, Tree, TreePath, escape};

/// One path of a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The path with a leading slash; what is not printable is escaped.
    pub path: String,
    /// One of `directory`, `file`, `link`, `character-device`, `block-device`, `pipe`, `socket`.
    pub kind: &'static str,
    /// Permission bits in octal, four digits.
    pub mode: String,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Bytes of a file; zero for everything else.
    pub size: u64,
    /// Seconds since 1970.
    pub mtime: i64,
    /// Where a link leads, or the number of a device.
    pub target: Option<String>,
    /// The SHA-256 of a file's content.
    pub digest: Option<Digest>,
    /// The SELinux label.
    pub label: Option<String>,
    /// The names of extended attributes.
    pub attributes: Vec<String>,
}

/// The attribute with the SELinux label, which ends with a zero byte.
const LABEL: &[u8] = b"security.selinux";

/// Returns `below` and everything below it; nothing if it is not there.
pub fn lines(tree: &Tree, below: &TreePath) -> Vec<Line> {
    let below = tree.resolve(below).unwrap_or_else(|_| below.clone());
    let found = tree.walk().filter(|(path, ..)| path.starts_with(&below));
    found.map(|(path, _, inode)| line(&path, inode)).collect()
}

fn line(path: &TreePath, inode: &Inode) -> Line {
    let number = |device: &crate::tree::Device| Some(format!("{}:{}", device.major, device.minor));
    let (kind, size, target) = match &inode.kind {
        Kind::Directory(_) => ("directory", 0, None),
        Kind::Regular(content) => ("file", content.size(), None),
        Kind::Symlink(target) => ("link", 0, Some(escape(target))),
        Kind::CharacterDevice(device) => ("character-device", 0, number(device)),
        Kind::BlockDevice(device) => ("block-device", 0, number(device)),
        Kind::Fifo => ("pipe", 0, None),
        Kind::Socket => ("socket", 0, None),
    };
    let digest = match &inode.kind {
        Kind::Regular(content) => Some(content.digest()),
        _ => None,
    };
    let meta = &inode.meta;
    let label = meta.xattrs.get(LABEL).map(|label| label.strip_suffix(b"\0").unwrap_or(label));
    Line {
        path: path.to_string(),
        kind,
        mode: format!("{:04o}", meta.mode),
        uid: meta.uid,
        gid: meta.gid,
        size,
        mtime: meta.mtime,
        target,
        digest,
        label: label.map(escape),
        attributes: meta.xattrs.keys().map(|name| escape(name)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Meta;

    #[test]
    fn s17_a_line_never_holds_what_could_steer_a_terminal() {
        let mut tree = Tree::default();
        let mut meta = Meta::root(0o4755);
        meta.xattrs.insert(b"user.\x07".to_vec(), Vec::new());
        let kind = Kind::Symlink(b"\x1b[2J".as_slice().into());
        tree.insert(&TreePath::parse("a\x1b").unwrap(), Inode { meta, kind }).unwrap();
        let found = lines(&tree, &TreePath::ROOT);
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].path, "/a\\x1b");
        assert_eq!(found[1].target.as_deref(), Some("\\x1b[2J"));
        assert_eq!(found[1].attributes, ["user.\\x07"]);
        assert_eq!(found[1].mode, "4755");
        assert!(lines(&tree, &TreePath::parse("b").unwrap()).is_empty());
    }
}
