//! Any text as the file contexts of an SELinux policy, behind a zero byte as its substitutions: an
//! error or labels, nothing else.

#![no_main]

use std::sync::LazyLock;

use osbuilder::selinux;
use osbuilder::tree::{Content, Inode, Kind, Meta, NoContents, Tree, TreePath};

const POLICY: &str = "etc/selinux/x/contexts/files/file_contexts";

static TREE: LazyLock<Tree> = LazyLock::new(|| {
    let mut tree = Tree::default();
    put(&mut tree, "etc/selinux/config", b"SELINUXTYPE=x\n");
    for path in ["usr/bin/tool", "usr/lib64/x.so.1", "dev/null", "tmp/a", "var/log/b (c)", "é"] {
        put(&mut tree, path, b"");
    }
    tree
});

fn put(tree: &mut Tree, path: &str, bytes: &[u8]) {
    let path = TreePath::parse(path).expect("a clean path");
    let parent = path.parent().expect("it is not the root");
    tree.make_directories(&parent, &Meta::root(0o755)).expect("no file is in the way");
    let kind = Kind::Regular(Content::Inline(bytes.into()));
    tree.insert(&path, Inode { meta: Meta::root(0o644), kind }).expect("the directory exists");
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut tree = TREE.clone();
    for (suffix, text) in ["", ".subs", ".subs_dist"].into_iter().zip(bytes.split(|b| *b == 0)) {
        put(&mut tree, &format!("{POLICY}{suffix}"), text);
    }
    let paths = tree.walk().count();
    if let Ok(labelled) = selinux::label(tree, &NoContents) {
        assert_eq!(labelled.tree.walk().count(), paths, "labels are all that changes");
    }
});
