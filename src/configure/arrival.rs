//! When each path gets onto the disk, where packages are laid out in steps between scripts.
//!
//! In: the tree, and the paths that each step brings for the first time. Out: the step of every path
//! that comes late. What is not among them is there from the beginning, and so is every directory
//! above such a path.

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::{Tree, TreePath};

/// The step of each path that is not there from the beginning.
pub(super) fn steps(
    tree: &Tree,
    brought: impl Iterator<Item = (usize, TreePath)>,
) -> BTreeMap<TreePath, usize> {
    let mut steps = BTreeMap::new();
    for (step, path) in brought {
        steps.entry(path).or_insert(step);
    }
    for (path, ..) in tree.walk() {
        let mut above = if steps.contains_key(&path) { None } else { path.parent() };
        while let Some(directory) = above.filter(|path| steps.remove(path).is_some()) {
            above = directory.parent();
        }
    }
    steps
}

/// The paths of each of so many steps, in their order.
pub(super) fn by_step(steps: &BTreeMap<TreePath, usize>, count: usize) -> Vec<BTreeSet<TreePath>> {
    let mut paths = vec![BTreeSet::new(); count];
    for (path, step) in steps {
        if let Some(of_step) = paths.get_mut(*step) {
            of_step.insert(path.clone());
        }
    }
    paths
}

/// The paths that are there from the beginning, in their order.
pub(super) fn ground(
    tree: &Tree,
    is_late: impl Fn(&TreePath) -> bool,
) -> impl Iterator<Item = TreePath> {
    tree.walk().map(|(path, ..)| path).filter(move |path| !is_late(path))
}
