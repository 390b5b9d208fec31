//! A tree as text and back: one line a path, fields separated by tabs.
//!
//! ```text
//! path  type  mode  uid  gid  mtime  detail  [xattr=hex …]
//! /usr/bin/sh  l  0777  0  0  1700000000  dash
//! /etc/passwd  f  0644  0  0  1700000000  1234 <sha-256>
//! /dev/null    c  0666  0  0  0           1:3
//! /usr/bin/[   h  …                       /usr/bin/test
//! ```
//!
//! Types are `d f l c b p s`, and `h` for a further name of a file that stood before. Paths and
//! link targets are escaped as [`escape`] does. The same tree gives the same bytes: this is what
//! is kept of a configured tree, what lies beside a rootfs directory, and what tests compare.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{BadPath, Content, Device, Error, Inode, Kind, Meta, Tree, TreePath, escape, unescape};

impl Tree {
    /// Writes the tree as text, a line for each path, in the order of [`Tree::walk`].
    pub fn to_listing(&self) -> String {
        /// About what a line takes, so that the text need not move while it grows.
        const LINE: usize = 160;
        let mut text = String::with_capacity(self.inodes.len().saturating_mul(LINE));
        self.lines().for_each(|line| line.push(&mut text));
        text
    }

    /// The first lines in which the listings of two trees differ, in words; `None` for equal trees.
    pub fn first_difference(&self, other: &Self) -> Option<String> {
        let (mut own, mut others) = (self.lines(), other.lines());
        loop {
            match (own.next(), others.next()) {
                (None, None) => return None,
                (Some(one), Some(two)) if one.says_the_same(&two) => {}
                (Some(one), Some(two)) => {
                    return Some(format!("{:?} instead of {:?}", one.text(), two.text()));
                }
                (Some(one), None) => return Some(format!("{:?} is too much", one.text())),
                (None, Some(two)) => return Some(format!("{:?} is missing", two.text())),
            }
        }
    }

    fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        // By their number: an inode that has one was met under this path.
        let mut first_names: Vec<Option<TreePath>> = vec![None; self.inodes.len()];
        self.walk().map(move |(path, id, inode)| {
            let first = first_names.get_mut(id.0).expect("ids come from this tree");
            let line = Line { first: first.clone(), path: path.clone(), inode };
            if !matches!(inode.kind, Kind::Directory(_)) && first.is_none() {
                *first = Some(path);
            }
            line
        })
    }

    /// Reads what [`Tree::to_listing`] wrote. Contents become [`Content::Stored`].
    ///
    /// # Errors
    /// [`ParseError`] with the number of the first bad line.
    pub fn from_listing(text: &str) -> Result<Self, ParseError> {
        let mut tree = Self::default();
        for (index, line) in text.lines().enumerate() {
            let number = index.saturating_add(1);
            tree.read_line(line).map_err(|reason| ParseError { line: number, reason })?;
        }
        Ok(tree)
    }

    fn read_line(&mut self, line: &str) -> Result<(), Reason> {
        let mut fields = line.split('\t');
        let mut next = || fields.next().ok_or(Reason::MissingField);
        let path = TreePath::parse(unescape(next()?).ok_or(Reason::BadEscape)?)?;
        let kind = next()?;
        let mut meta = Meta {
            mode: u16::from_str_radix(next()?, 8).map_err(|_| Reason::BadNumber)?,
            uid: number(next()?)?,
            gid: number(next()?)?,
            mtime: number(next()?)?,
            xattrs: BTreeMap::new(),
        };
        let detail = next()?;
        for field in fields {
            let (name, value) = field.rsplit_once('=').ok_or(Reason::MissingField)?;
            let name = unescape(name).ok_or(Reason::BadEscape)?;
            meta.xattrs.insert(name, from_hex(value).ok_or(Reason::BadNumber)?);
        }
        if kind == "h" {
            let target = TreePath::parse(unescape(detail).ok_or(Reason::BadEscape)?)?;
            self.link(&path, &target)?;
        } else if path.is_root() && kind == "d" {
            self.inode_mut(self.root()).meta = meta;
        } else {
            self.insert(&path, Inode { meta, kind: parse_kind(kind, detail)? })?;
        }
        Ok(())
    }
}

/// What a line of a listing says.
struct Line<'t> {
    path: TreePath,
    inode: &'t Inode,
    /// The path under which the file stood before.
    first: Option<TreePath>,
}

impl Line<'_> {
    /// Whether the texts are equal, found without them.
    fn says_the_same(&self, other: &Self) -> bool {
        let same_kind = || match (&self.inode.kind, &other.inode.kind) {
            (Kind::Directory(_), Kind::Directory(_)) => true,
            (Kind::Regular(one), Kind::Regular(two)) => {
                one.size() == two.size() && one.digest() == two.digest()
            }
            (one, two) => one == two,
        };
        self.path == other.path
            && self.inode.meta == other.inode.meta
            && self.first == other.first
            && (self.first.is_some() || same_kind())
    }

    fn text(&self) -> String {
        let mut text = String::new();
        self.push(&mut text);
        text.pop();
        text
    }

    fn push(&self, text: &mut String) {
        push_line(text, &self.path, self.inode, self.first.as_ref());
    }
}

fn push_line(text: &mut String, path: &TreePath, inode: &Inode, earlier: Option<&TreePath>) {
    let (letter, detail) = match (earlier, &inode.kind) {
        (Some(first), _) => ('h', first.to_string()),
        (None, Kind::Directory(_)) => ('d', "-".to_owned()),
        (None, Kind::Regular(content)) => ('f', format!("{} {}", content.size(), content.digest())),
        (None, Kind::Symlink(target)) => ('l', escape(target)),
        (None, Kind::CharacterDevice(device)) => ('c', device_text(*device)),
        (None, Kind::BlockDevice(device)) => ('b', device_text(*device)),
        (None, Kind::Fifo) => ('p', "-".to_owned()),
        (None, Kind::Socket) => ('s', "-".to_owned()),
    };
    let Meta { mode, uid, gid, mtime, xattrs } = &inode.meta;
    write!(text, "{path}\t{letter}\t{mode:04o}\t{uid}\t{gid}\t{mtime}\t{detail}")
        .expect("a string takes all");
    for (name, value) in xattrs {
        text.push('\t');
        text.push_str(&escape(name));
        text.push('=');
        value.iter().for_each(|byte| write!(text, "{byte:02x}").expect("a string takes all"));
    }
    text.push('\n');
}

fn device_text(device: Device) -> String {
    format!("{}:{}", device.major, device.minor)
}

fn parse_kind(letter: &str, detail: &str) -> Result<Kind, Reason> {
    Ok(match letter {
        "d" => Kind::Directory(BTreeMap::new()),
        "f" => {
            let (size, digest) = detail.split_once(' ').ok_or(Reason::MissingField)?;
            let digest = digest.parse().map_err(|_| Reason::BadNumber)?;
            Kind::Regular(Content::Stored { digest, size: number(size)? })
        }
        "l" => Kind::Symlink(unescape(detail).ok_or(Reason::BadEscape)?.into()),
        "c" => Kind::CharacterDevice(parse_device(detail)?),
        "b" => Kind::BlockDevice(parse_device(detail)?),
        "p" => Kind::Fifo,
        "s" => Kind::Socket,
        _ => return Err(Reason::UnknownType),
    })
}

fn parse_device(text: &str) -> Result<Device, Reason> {
    let (major, minor) = text.split_once(':').ok_or(Reason::MissingField)?;
    Ok(Device { major: number(major)?, minor: number(minor)? })
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, Reason> {
    text.parse().map_err(|_| Reason::BadNumber)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let mut bytes = vec![0; text.len() / 2];
    crate::digest::parse_hex(text, &mut bytes)?;
    Some(bytes)
}

/// Why a text is not the listing of a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the listing: {reason}")]
pub struct ParseError {
    line: usize,
    reason: Reason,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Reason {
    #[error("a field is missing")]
    MissingField,
    #[error("a number or digest is malformed")]
    BadNumber,
    #[error("an escape is malformed")]
    BadEscape,
    #[error("the type is not one of d f l c b p s h")]
    UnknownType,
    #[error(transparent)]
    BadPath(#[from] BadPath),
    #[error(transparent)]
    Tree(#[from] Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Tree {
        let mut tree = Tree::default();
        let mut put = |path: &str, mode, kind| {
            let mut meta = Meta::root(mode);
            meta.gid = 42;
            meta.mtime = -1;
            meta.xattrs.insert(b"user.a=b".to_vec(), vec![0, 255]);
            tree.insert(&TreePath::parse(path).unwrap(), Inode { meta, kind }).unwrap();
        };
        put("dev", 0o755, Kind::Directory(BTreeMap::new()));
        put("dev/null", 0o666, Kind::CharacterDevice(Device { major: 1, minor: 3 }));
        put("dev/sda", 0o660, Kind::BlockDevice(Device { major: 8, minor: 0 }));
        put("a\tb\\", 0o4755, Kind::Regular(Content::Inline(b"abc".as_slice().into())));
        put("link", 0o777, Kind::Symlink(b"\xff/\n".as_slice().into()));
        put("pipe", 0o600, Kind::Fifo);
        put("socket", 0o600, Kind::Socket);
        tree.link(&TreePath::parse("z").unwrap(), &TreePath::parse("a\tb\\").unwrap()).unwrap();
        tree
    }

    #[test]
    fn a_listing_read_back_is_the_same_tree() {
        let tree = sample();
        let back = Tree::from_listing(&tree.to_listing()).unwrap();
        assert_eq!(back, tree);
        assert_eq!(back.hard_links().len(), 1);
    }

    #[test]
    fn trees_differ_where_their_listings_do() {
        let one = sample();
        let changed = |change: &dyn Fn(&mut Tree)| {
            let mut tree = sample();
            change(&mut tree);
            tree
        };
        let path = |text: &str| TreePath::parse(text).unwrap();
        let (null, file) = (path("dev/null"), path("a\tb\\"));
        let edits: [&dyn Fn(&mut Tree); 6] = [
            &|tree| tree.get_mut(&null).unwrap().meta.mode = 0o600,
            &|tree| tree.get_mut(&null).unwrap().kind = Kind::Fifo,
            &|tree| tree.get_mut(&file).unwrap().kind = Kind::Regular(Content::empty()),
            &|tree| assert!(tree.remove(&path("z"))),
            &|tree| assert!(tree.remove(&path("dev/sda"))),
            &|tree| {
                let copy = tree.get(&file).unwrap().clone();
                assert!(tree.remove(&path("z")));
                tree.insert(&path("z"), copy).unwrap();
            },
        ];
        assert_eq!(one.first_difference(&sample()), None);
        for (number, edit) in edits.into_iter().enumerate() {
            let other = changed(edit);
            assert_ne!(one.to_listing(), other.to_listing(), "edit {number}");
            assert!(one.first_difference(&other).is_some(), "edit {number}");
            assert!(other.first_difference(&one).is_some(), "edit {number}");
        }
    }

    #[test]
    fn a_bad_line_is_named() {
        let good = sample().to_listing();
        for (from, to) in [("\tp\t", "\tq\t"), ("1:3", "1"), ("0666", "9"), ("\\x0a", "\\x0")] {
            let error = Tree::from_listing(&good.replacen(from, to, 1)).unwrap_err();
            assert!(error.to_string().starts_with("line "), "{error}");
        }
    }
}
