//! A tree that uses everything that a file system has: what every format must hold.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use osbuilder::tree::{Content, Device, Inode, Kind, Meta, Tree, TreePath};

/// A tree that uses everything that a file system has.
pub(crate) fn everything() -> Tree {
    static TREE: LazyLock<Tree> = LazyLock::new(make_everything);
    TREE.clone()
}

fn make_everything() -> Tree {
    let mut tree = Tree::default();
    let mut put = |path: &str, meta: Meta, kind| {
        tree.insert(&TreePath::parse(path).unwrap(), Inode { meta, kind }).unwrap();
    };
    let root = |mode| Meta { mtime: 1_600_000_000, ..Meta::root(mode) };
    let file = |bytes: &[u8]| Kind::Regular(Content::Inline(bytes.into()));
    let directory = || Kind::Directory(BTreeMap::new());
    put("etc", root(0o755), directory());
    put("etc/passwd", root(0o644), file(b"root:x:0:0::/root:/bin/sh\n"));
    put("etc/shadow", Meta { uid: 70_000, gid: 4_000_000_000, ..root(0o640) }, file(b"x"));
    put("etc/empty", Meta { mtime: -86_400, ..root(0o4755) }, file(b""));
    put("etc/later", Meta { mtime: 9_000_000_000, ..root(0o644) }, file(b"from 2255"));
    put("bin", root(0o777), Kind::Symlink(b"usr/bin".as_slice().into()));
    put("link59", root(0o777), Kind::Symlink([b'a'; 59].as_slice().into()));
    put("link60", root(0o777), Kind::Symlink([b'b'; 60].as_slice().into()));
    put("link1000", root(0o777), Kind::Symlink([b'c'; 1000].as_slice().into()));
    // At the top, where Kata's builder leaves such names out.
    put(".hidden", root(0o644), file(b"seen"));
    put(".d", root(0o700), directory());
    put(".d/file", root(0o600), file(b"seen, too"));
    put("dev", root(0o755), directory());
    let device = |major, minor| Device { major, minor };
    put("dev/null", root(0o666), Kind::CharacterDevice(device(1, 3)));
    put("dev/large", root(0o660), Kind::BlockDevice(device(259, 70_000)));
    put("dev/pipe", root(0o600), Kind::Fifo);
    put("dev/socket", root(0o600), Kind::Socket);
    let mut capable = root(0o755);
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    capable.xattrs.insert(b"security.capability".to_vec(), capability.to_vec());
    capable.xattrs.insert(b"user.large".to_vec(), vec![b'v'; 700]);
    capable.xattrs.insert(b"user.empty".to_vec(), Vec::new());
    capable.xattrs.insert(b"user.b".to_vec(), b"value".to_vec());
    put("ping", capable, file(&[7; 5000]));
    let mut listed = root(0o770);
    listed.xattrs.insert(b"system.posix_acl_access".to_vec(), access_list());
    listed.xattrs.insert(b"system.posix_acl_default".to_vec(), access_list());
    put("listed", listed, directory());
    put("many", root(0o755), directory());
    for index in 0..3000 {
        put(&format!("many/a name of some length {index:05}"), root(0o644), file(b""));
    }
    put("big", root(0o644), file(&pattern(4099).repeat(2300)));
    put("zeros", root(0o644), file(&vec![0; 3 << 20]));
    put("sparse", root(0o644), file(&[vec![0; 70_000], pattern(100), vec![0; 70_000]].concat()));
    for index in 0..300 {
        put(&format!("etc/file{index}"), root(0o600), file(&pattern(index * 37)));
    }
    let path = |text: &str| TreePath::parse(text).unwrap();
    tree.link(&path("etc/passwd-"), &path("etc/passwd")).unwrap();
    tree.link(&path("ping6"), &path("ping")).unwrap();
    tree
}

pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0_u32..).flat_map(|word| word.wrapping_mul(2_654_435_761).to_be_bytes()).take(length).collect()
}

fn access_list() -> Vec<u8> {
    let entries =
        [(1, 7, u32::MAX), (2, 5, 1000), (4, 5, u32::MAX), (16, 5, u32::MAX), (32, 0, u32::MAX)];
    let mut value = vec![2, 0, 0, 0];
    for (tag, permissions, id) in entries {
        value.extend([tag, 0, permissions, 0]);
        value.extend(u32::to_le_bytes(id));
    }
    value
}
