//! What is kept of a configured tree, and what is not.

use super::{Configured, find, keep};
use crate::digest::Digest;
use crate::event::nobody;
use crate::store::Store;
use crate::tree::{Content, Inode, Kind, Meta, Tree, TreePath};

#[test]
fn a_tree_in_which_a_script_failed_is_used_once_and_not_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let key = Digest::of(b"the same packages");
    let made = |text: &str, lasts| {
        let mut tree = Tree::default();
        let kind = Kind::Regular(Content::Inline(text.as_bytes().into()));
        let path = TreePath::parse("state").unwrap();
        tree.insert(&path, Inode { meta: Meta::root(0o644), kind }).unwrap();
        let pack = store.new_pack().unwrap();
        let Configured { tree, .. } = keep(tree, key, (&store, pack), lasts).unwrap();
        let Some(Inode { kind: Kind::Regular(content), .. }) = tree.get(&path) else { panic!() };
        std::io::read_to_string(content.open(&store).unwrap()).unwrap()
    };
    assert_eq!(made("half", false), "half");
    assert!(find(&store, &key, &nobody).unwrap().is_none());
    assert_eq!(made("whole", true), "whole");
    assert!(find(&store, &key, &nobody).unwrap().is_some());
}
