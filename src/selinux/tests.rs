//! Labels of small trees, by small policies.

use super::{ATTRIBUTE, Error, label};
use crate::tree::{Content, Inode, Kind, Meta, NoContents, Tree, TreePath};

fn put(tree: &mut Tree, path: &str, kind: Kind) {
    let path = TreePath::parse(path).unwrap();
    tree.make_directories(&path.parent().unwrap(), &Meta::root(0o755)).unwrap();
    tree.insert(&path, Inode { meta: Meta::root(0o644), kind }).unwrap();
}

fn file(tree: &mut Tree, path: &str, text: &str) {
    put(tree, path, Kind::Regular(Content::Inline(text.as_bytes().into())));
}

/// A tree with a policy.
fn tree(contexts: &str) -> Tree {
    let mut tree = Tree::default();
    file(
        &mut tree,
        "etc/selinux/config",
        "# SELINUXTYPE=no\nSELINUX=permissive\nSELINUXTYPE=tiny\n",
    );
    file(&mut tree, "etc/selinux/tiny/contexts/files/file_contexts", contexts);
    file(&mut tree, "usr/bin/a", "");
    file(&mut tree, "usr/bin/a.b", "");
    put(&mut tree, "bin", Kind::Symlink(b"usr/bin".as_slice().into()));
    tree
}

fn of(tree: &Tree, path: &str) -> Option<String> {
    let inode = tree.get(&TreePath::parse(path).unwrap()).unwrap();
    let value = inode.meta.xattrs.get(ATTRIBUTE)?;
    Some(String::from_utf8(value.strip_suffix(b"\0").unwrap().to_vec()).unwrap())
}

#[test]
fn the_last_entry_wins_and_one_without_signs_counts_more() {
    let contexts = "/.*\t\tall\n/usr/bin/a\t--\texact\n/usr/bin/.*\tbin\n\n# no entry\n\
                    /usr/bin/a\\.b  plain\n/usr/bin -d folder\n/bin -l link\n/etc(/.*)? <<none>>\n";
    let labelled = label(tree(contexts), &NoContents).unwrap();
    assert!(labelled.contradictions.is_empty());
    let cases = [
        ("", Some("all")),
        ("usr", Some("all")),
        ("usr/bin", Some("folder")),
        ("usr/bin/a", Some("exact")),
        ("usr/bin/a.b", Some("plain")),
        ("bin", Some("link")),
        ("etc/selinux/config", None),
    ];
    for (path, expected) in cases {
        assert_eq!(of(&labelled.tree, path).as_deref(), expected, "{path}");
    }
    let again = label(labelled.tree.clone(), &NoContents).unwrap().tree;
    assert_eq!(again.to_listing(), labelled.tree.to_listing());
}

/// Of the same path twice in one file; of a file that counts more anyway there is nothing to tell.
#[test]
fn what_versions_of_libselinux_label_differently_is_told() {
    let told = |contexts: &str, local: &str| {
        let mut tree = tree(contexts);
        file(&mut tree, "etc/selinux/tiny/contexts/files/file_contexts.local", local);
        let labelled = label(tree, &NoContents).unwrap();
        let paths: Vec<_> = labelled.by_version.iter().map(ToString::to_string).collect();
        (of(&labelled.tree, "usr/bin/a"), paths)
    };
    let before = "/usr/bin/a -- one\n/usr/bin/a two\n";
    assert_eq!(told(before, ""), (Some("two".into()), vec!["/usr/bin/a".to_owned()]));
    assert_eq!(told(before, "/usr/bin/a own\n"), (Some("own".into()), Vec::new()));
    for same in ["/usr/bin/a two\n/usr/bin/a -- one\n", "/usr/bin/a -- one\n/usr/bin/a one\n"] {
        assert_eq!(told(same, ""), (Some("one".into()), Vec::new()));
    }
    assert_eq!(told("/usr/bin/a -d one\n/usr/bin/a two\n", "").1, Vec::<String>::new());
}

#[test]
fn the_administrator_s_entries_and_substitutions_count() {
    let mut tree = tree("/.* all\n/opt/x/.* x\n/srv/.* srv\n");
    let files = "etc/selinux/tiny/contexts/files/file_contexts";
    file(&mut tree, &format!("{files}.local"), "/usr/bin/a own\n");
    file(&mut tree, &format!("{files}.homedirs"), "/home/[^/]+ home\n");
    file(&mut tree, &format!("{files}.subs"), "/usr/bin /opt/x\nmalformed\n");
    file(&mut tree, &format!("{files}.subs_dist"), "/opt /srv\n");
    file(&mut tree, "home/me/x", "");
    let labelled = label(tree, &NoContents).unwrap().tree;
    assert_eq!(of(&labelled, "home/me").as_deref(), Some("home"));
    assert_eq!(of(&labelled, "usr/bin/a").as_deref(), Some("srv"));
    assert_eq!(of(&labelled, "bin").as_deref(), Some("all"));
}

#[test]
fn two_names_of_a_file_with_two_labels_are_named() {
    let mut tree = tree("/.* all\n/usr/bin/z z\n");
    let (name, other) = (TreePath::parse("usr/bin/z").unwrap(), "usr/bin/a");
    tree.link(&name, &TreePath::parse(other).unwrap()).unwrap();
    let labelled = label(tree, &NoContents).unwrap();
    assert_eq!(labelled.contradictions, [name]);
    assert_eq!(of(&labelled.tree, "usr/bin/z").as_deref(), Some("all"));
}

#[test]
fn a_tree_without_a_policy_and_a_policy_with_mistakes_are_refused_by_file_and_line() {
    let why = |tree: Tree| {
        let error = label(tree, &NoContents).unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string);
        format!("{error}: {}", source.unwrap_or_default())
    };
    let mut none = Tree::default();
    assert!(why(none.clone()).starts_with("there is no /etc/selinux/config in the tree: install"));
    file(&mut none, "etc/selinux/config", "SELINUXTYPE=tiny\n");
    assert!(why(none.clone()).contains("/etc/selinux/tiny/contexts/files/file_contexts"));
    for name in ["", "..", "a/b", "a b"] {
        file(&mut none, "etc/selinux/config", &format!("SELINUXTYPE={name}\n"));
        assert!(matches!(label(none.clone(), &NoContents), Err(Error::NoType { .. })), "{name}");
    }
    let cases = [
        ("/.* all\n/x\n", "line 2: an entry has a pattern"),
        ("/x -q label\n", "line 1: \"-q\" is not one of"),
        ("/x(y label\n", "line 1: the pattern \"/x(y\" is not understood"),
        ("/x(?!y) label\n", "is not understood"),
    ];
    for (contexts, expected) in cases {
        let said = why(tree(contexts));
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn a_policy_takes_no_more_memory_than_real_ones_need() {
    let many = |count: usize| label(tree(&"/x.* l\n".repeat(count)), &NoContents);
    assert!(many(30_000).is_ok());
    let refused = many(30_001).unwrap_err();
    assert!(matches!(refused, Error::Line { line: 30_001, source: super::BadEntry::Many, .. }));
    let large = |count| label(tree(&format!("/(usr/[^/]*){{{count}}} l\n")), &NoContents);
    assert!(large(50).is_ok());
    assert!(matches!(large(50_000), Err(Error::Line { .. } | Error::Pattern(_))));
}
