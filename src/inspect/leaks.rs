//! What a guest may have of the machine that built it: names, addresses, keys, leftovers.
//!
//! None of it belongs into an image that others run: it differs from build to build, and it may be
//! secret. The list joins what osbuilder keeps out with what Kata's packaging rejects.

use crate::tree::{Kind, Tree, TreePath};

/// Files that are there with something in them only if a builder left it.
const FILES: &[(&str, &str)] = &[
    (".dockerenv", "the leftover of a container"),
    ("etc/hostname", "a host's name"),
    ("etc/machine-id", "a machine's identity"),
    ("etc/mtab", "a host's mounts"),
    ("etc/resolv.conf", "a host's resolver"),
    ("root/.bash_history", "somebody's commands"),
    ("var/lib/dbus/machine-id", "a machine's identity"),
    ("var/lib/systemd/random-seed", "a random seed that all guests would share"),
];
/// Directories that others mount something on.
const MOUNT_POINTS: &[&str] = &["proc", "sys"];
/// Where host keys of SSH stand, and how their names begin.
const KEYS: (&str, &[u8]) = ("etc/ssh", b"ssh_host_");

/// What of a host is in `tree`, a sentence each, without a full stop.
pub fn leaks(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for (path, what) in FILES {
        if is_filled(tree, path) {
            found.push(format!("/{path} holds {what}"));
        }
    }
    for name in MOUNT_POINTS {
        let path = TreePath::parse(name).expect("the path is clean");
        if let Some(Kind::Directory(entries)) = tree.get(&path).map(|inode| &inode.kind)
            && !entries.is_empty()
        {
            found.push(format!("/{name} is not empty: it is a host's"));
        }
    }
    let folder = TreePath::parse(KEYS.0).expect("the path is clean");
    if let Some(Kind::Directory(entries)) = tree.get(&folder).map(|inode| &inode.kind)
        && entries.keys().any(|name| name.starts_with(KEYS.1))
    {
        found.push(format!("/{} holds a host's keys, which all guests would share", KEYS.0));
    }
    found
}

fn is_filled(tree: &Tree, path: &str) -> bool {
    let path = TreePath::parse(path).expect("the path is clean");
    match tree.get(&path).map(|inode| &inode.kind) {
        Some(Kind::Regular(content)) => content.size() > 0 || path.name() == Some(b".dockerenv"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Content, Inode, Meta};

    fn with(path: &str, text: &str) -> Tree {
        let mut tree = Tree::default();
        let path = TreePath::parse(path).unwrap();
        tree.make_directories(&path.parent().unwrap(), &Meta::root(0o755)).unwrap();
        let kind = Kind::Regular(Content::Inline(text.as_bytes().into()));
        tree.insert(&path, Inode { meta: Meta::root(0o644), kind }).unwrap();
        tree
    }

    #[test]
    fn k5_what_a_builder_leaves_is_named_and_empty_files_are_not() {
        for (path, _) in FILES {
            let found = leaks(&with(path, "builder"));
            assert_eq!(found.len(), 1, "{path}");
            assert!(found[0].starts_with(&format!("/{path} holds ")), "{found:?}");
            let empty = leaks(&with(path, ""));
            assert_eq!(empty.is_empty(), *path != ".dockerenv", "{path}");
        }
        assert_eq!(leaks(&with("proc/cpuinfo", "")).len(), 1);
        assert_eq!(leaks(&with("etc/ssh/ssh_host_rsa_key", "x")).len(), 1);
        assert!(leaks(&with("etc/ssh/sshd_config", "x")).is_empty());
        let mut linked = Tree::default();
        linked.make_directories(&TreePath::parse("etc").unwrap(), &Meta::root(0o755)).unwrap();
        let kind = Kind::Symlink(b"../proc/self/mounts".as_slice().into());
        let inode = Inode { meta: Meta::root(0o777), kind };
        linked.insert(&TreePath::parse("etc/mtab").unwrap(), inode).unwrap();
        assert!(leaks(&linked).is_empty());
    }
}
