//! The tree as a value: links of both kinds, directories, and what resolving does.

use super::*;

fn path(text: &str) -> TreePath {
    TreePath::parse(text).unwrap()
}

fn directory() -> Inode {
    Inode { meta: Meta::root(0o755), kind: Kind::Directory(BTreeMap::new()) }
}

fn file(text: &str) -> Inode {
    let kind = Kind::Regular(Content::Inline(text.as_bytes().into()));
    Inode { meta: Meta::root(0o644), kind }
}

fn symlink(target: &str) -> Inode {
    Inode { meta: Meta::root(0o777), kind: Kind::Symlink(target.as_bytes().into()) }
}

fn merged_usr() -> Tree {
    let mut tree = Tree::default();
    tree.make_directories(&path("usr/bin"), &Meta::root(0o755)).unwrap();
    tree.insert(&path("bin"), symlink("usr/bin")).unwrap();
    tree.insert(&path("usr/bin/sh"), file("#!")).unwrap();
    tree
}

#[test]
fn a_walk_goes_down_in_byte_order() {
    let paths: Vec<_> = merged_usr().walk().map(|(path, ..)| path.to_string()).collect();
    assert_eq!(paths, ["/", "/bin", "/usr", "/usr/bin", "/usr/bin/sh"]);
}

#[test]
fn links_resolve_inside_the_tree_only() {
    let mut tree = merged_usr();
    tree.insert(&path("up"), symlink("../../../usr/./bin/")).unwrap();
    tree.insert(&path("absolute"), symlink("/bin/new")).unwrap();
    let cases = [
        ("bin/sh", "/usr/bin/sh"),
        ("up/sh", "/usr/bin/sh"),
        ("absolute", "/usr/bin/new"),
        ("nowhere/at/all", "/nowhere/at/all"),
    ];
    for (from, to) in cases {
        assert_eq!(tree.resolve(&path(from)).unwrap().to_string(), to);
    }
    assert_eq!(tree.resolve_parent(&path("up")).unwrap(), path("up"));
}

#[test]
fn circles_and_files_on_the_way_are_errors() {
    let mut tree = merged_usr();
    tree.insert(&path("a"), symlink("b")).unwrap();
    tree.insert(&path("b"), symlink("a")).unwrap();
    assert_eq!(tree.resolve(&path("a")), Err(Error::TooManyLinks { path: path("a") }));
    let through_a_file = tree.resolve(&path("bin/sh/x"));
    assert_eq!(through_a_file, Err(Error::NotADirectory { path: path("usr/bin/sh") }));
}

#[test]
fn directories_are_made_through_links_and_kept_when_inserted_again() {
    let mut tree = merged_usr();
    tree.make_directories(&path("bin/deep/er"), &Meta::root(0o700)).unwrap();
    assert!(tree.get(&path("usr/bin/deep/er")).is_some());
    tree.insert(&path("usr"), directory()).unwrap();
    assert!(tree.get(&path("usr/bin/sh")).is_some());
    let refused = tree.insert(&path("usr"), file(""));
    assert_eq!(refused, Err(Error::IsADirectory { path: path("usr") }));
}

#[test]
fn hard_links_are_counted_and_survive_removal_of_one_name() {
    let mut tree = merged_usr();
    let id = tree.link(&path("usr/bin/dash"), &path("usr/bin/sh")).unwrap();
    assert_eq!(tree.hard_links().into_iter().collect::<Vec<_>>(), [(id, 2)]);
    assert!(tree.remove(&path("usr/bin/sh")));
    assert!(tree.hard_links().is_empty());
    assert_eq!(tree.get(&path("usr/bin/dash")).unwrap().kind, file("#!").kind);
}

#[test]
fn renaming_replaces_a_file_but_never_a_directory() {
    let mut tree = merged_usr();
    tree.rename(&path("usr/bin/sh"), &path("usr/bin/sh.distrib")).unwrap();
    assert!(tree.get(&path("usr/bin/sh")).is_none());
    let refused = tree.rename(&path("usr/bin/sh.distrib"), &path("usr/bin"));
    assert_eq!(refused, Err(Error::IsADirectory { path: path("usr/bin") }));
}

#[test]
fn removing_the_root_empties_it() {
    let mut tree = merged_usr();
    tree.remove(&TreePath::ROOT);
    assert_eq!(tree.walk().count(), 1);
}
