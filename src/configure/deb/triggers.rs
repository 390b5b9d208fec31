//! Which packages must run `postinst triggered`, and for which triggers.
//!
//! In: what packages declare, in which order they were configured, what scripts asked for with
//! `dpkg-trigger`; out: a list of names for each package. A package that is not configured yet
//! hears nothing: its `postinst configure` does all that a trigger would. See deb-triggers(5) and
//! dpkg's `doc/triggers.txt`.

use std::collections::{BTreeMap, BTreeSet};

use super::order::Order;
use crate::unpack::deb::Package;

/// Triggers that are pending: by index of the package.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pending(BTreeMap<usize, BTreeSet<String>>);

impl Pending {
    /// What the packages' own declarations and files activate.
    ///
    /// Files were unpacked in two phases: those of the second activate triggers of packages
    /// that were configured in the first.
    pub(super) fn declared(packages: &[Package], order: &Order) -> Self {
        let place: BTreeMap<usize, usize> =
            order.sequence.iter().enumerate().map(|(place, &index)| (index, place)).collect();
        let mut pending = Self::default();
        for (index, interested) in packages.iter().enumerate() {
            for trigger in &interested.triggers.interests {
                let file = trigger.file();
                let activates = |(other, package): (usize, &Package)| {
                    let declares = package.triggers.activations.iter();
                    let explicit =
                        declares.clone().any(|activation| activation.name == trigger.name);
                    let files = file.as_ref().is_some_and(|file| {
                        package.paths.iter().any(|path| path.starts_with(file))
                    });
                    let across = place.get(&index) < Some(&order.first_phase)
                        && place.get(&other) >= Some(&order.first_phase);
                    explicit && place.get(&other) > place.get(&index) || files && across
                };
                if packages.iter().enumerate().any(activates) {
                    pending.add(index, &trigger.name);
                }
            }
        }
        pending
    }

    /// Adds what scripts have asked for: the lines of `triggers/Unincorp`, each a name and who
    /// waits. `configured` are those packages that hear it.
    pub(super) fn asked(&mut self, text: &str, packages: &[Package], configured: &BTreeSet<usize>) {
        for name in text.lines().filter_map(|line| line.split_whitespace().next()) {
            for &index in configured {
                let interests = packages.get(index).map(|package| &package.triggers.interests);
                if interests.is_some_and(|all| all.iter().any(|trigger| trigger.name == name)) {
                    self.add(index, name);
                }
            }
        }
    }

    fn add(&mut self, index: usize, name: &str) {
        self.0.entry(index).or_default().insert(name.to_owned());
    }

    /// Takes the package that comes first in `sequence`, with its triggers.
    pub(super) fn take(&mut self, sequence: &[usize]) -> Option<(usize, Vec<String>)> {
        let index = sequence.iter().copied().find(|index| self.0.contains_key(index))?;
        let names = self.0.remove(&index)?;
        Some((index, names.into_iter().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configure::deb::order::order;
    use crate::configure::deb::tests::package;
    use crate::package::deb::scripts::Triggers;
    use crate::tree::TreePath;

    fn world() -> Vec<Package> {
        let mut interested = package("libc-bin", "Essential: yes");
        interested.triggers = Triggers::parse(b"interest-noawait ldconfig\n").unwrap();
        let mut files = package("man", "Essential: yes");
        files.triggers = Triggers::parse(b"interest /usr/share/man\n").unwrap();
        let mut activating = package("zlib", "");
        activating.triggers = Triggers::parse(b"activate-noawait ldconfig\n").unwrap();
        activating.paths = vec![TreePath::parse("usr/share/man/z").unwrap()];
        vec![interested, files, activating]
    }

    #[test]
    fn declarations_and_files_activate_what_was_configured_before() {
        let packages = world();
        let order = order(&packages).unwrap();
        let mut pending = Pending::declared(&packages, &order);
        let mut taken = Vec::new();
        while let Some((index, names)) = pending.take(&order.sequence) {
            taken.push((packages[index].name.to_string(), names.join(" ")));
        }
        let expected = [("libc-bin", "ldconfig"), ("man", "/usr/share/man")];
        assert_eq!(taken, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }

    #[test]
    fn scripts_are_heard_by_configured_packages_only() {
        let packages = world();
        let mut pending = Pending::default();
        pending.asked("ldconfig -\nunknown x\n", &packages, &BTreeSet::new());
        assert_eq!(pending, Pending::default());
        pending.asked("ldconfig -\n", &packages, &BTreeSet::from([0]));
        assert_eq!(pending.take(&[1, 0]), Some((0, vec!["ldconfig".to_owned()])));
    }
}
