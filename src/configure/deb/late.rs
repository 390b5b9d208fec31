//! Which paths wait for the second phase: those that only its packages have.
//!
//! In: the tree and the order of its packages; out: paths. Scripts of the first phase do not see
//! them, as in any bootstrap.

use std::collections::BTreeSet;

use super::database;
use super::order::Order;
use crate::configure::Error;
use crate::tree::{Inode, Kind, Tree, TreePath};
use crate::unpack::deb::Package;

/// Finds them. Whatever is not among them has its directories not among them either.
pub(super) fn paths(
    tree: &Tree,
    packages: &[Package],
    order: &Order,
) -> Result<BTreeSet<TreePath>, Error> {
    let (first, second) = order.sequence.split_at(order.first_phase);
    let paths = |indexes: &[usize]| -> Result<BTreeSet<TreePath>, Error> {
        let chosen = indexes.iter().filter_map(|&index| packages.get(index));
        let all = chosen.flat_map(|package| &package.paths);
        all.map(|path| Ok(tree.resolve_parent(path)?)).collect()
    };
    let mut late: BTreeSet<_> = paths(second)?.difference(&paths(first)?).cloned().collect();
    let second = second.iter().filter_map(|&index| packages.get(index));
    let prefixes: BTreeSet<_> =
        second.map(|package| format!("{}.", package.database_name).into_bytes()).collect();
    if let Some(Inode { kind: Kind::Directory(entries), .. }) = tree.get(&database("info")?) {
        let is_late = |name: &[u8]| {
            let end = name.iter().rposition(|&byte| byte == b'.');
            end.is_some_and(|end| prefixes.contains(name.get(..=end).unwrap_or_default()))
        };
        for name in entries.keys().filter(|name| is_late(name)) {
            late.insert(database("info")?.join(name)?);
        }
    }
    keep_ways(tree, &mut late);
    Ok(late)
}

/// What is early needs its directories early, whoever brings them.
fn keep_ways(tree: &Tree, late: &mut BTreeSet<TreePath>) {
    for (path, ..) in tree.walk() {
        let mut above = if late.contains(&path) { None } else { path.parent() };
        while let Some(directory) = above.filter(|directory| late.remove(directory)) {
            above = directory.parent();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configure::deb::order::order;
    use crate::configure::deb::tests::package;
    use crate::tree::{Content, Meta};

    fn path(text: &str) -> TreePath {
        TreePath::parse(text).unwrap()
    }

    #[test]
    fn only_the_second_phase_waits_and_never_a_directory_on_the_way_to_what_does_not() {
        let mut packages = [package("app", ""), package("base", "Essential: yes")];
        let mut tree = Tree::default();
        let files = ["usr/bin/app", "usr/sbin/policy-rc.d", "etc/base"];
        for file in files {
            tree.make_directories(&path(file).parent().unwrap(), &Meta::root(0o755)).unwrap();
            let inode = Inode { meta: Meta::root(0o755), kind: Kind::Regular(Content::empty()) };
            tree.insert(&path(file), inode).unwrap();
        }
        packages[0].paths = ["usr", "usr/bin", "usr/bin/app", "usr/sbin"].map(path).into();
        packages[1].paths = ["etc", "etc/base"].map(path).into();
        let late = paths(&tree, &packages, &order(&packages).unwrap()).unwrap();
        assert_eq!(late, ["usr/bin", "usr/bin/app"].map(path).into());
    }
}
