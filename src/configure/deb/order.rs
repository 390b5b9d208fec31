//! The order in which packages are configured: dependencies first, as dpkg and apt would.
//!
//! In: the packages; out: a permutation of them, and where the first phase ends. Two phases, as a
//! distribution is bootstrapped: the essential packages with all they need, then the rest. Users
//! and groups get their numbers in this order, so in the second phase it is exactly dpkg's: its
//! queue starts in the order of its hash table, a package waits at the end of the queue until its
//! dependencies are configured, and a circle is broken at a package without `postinst`.
//! See dpkg's `src/main/configure.c`, `src/main/packages.c` and `lib/dpkg/pkg-hash.c`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::configure::Error;
use crate::package::deb::relation;
use crate::package::deb::scripts::ScriptKind;
use crate::unpack::deb::Package;

/// The order, as indexes into the packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    /// Every package once.
    pub(super) sequence: Vec<usize>,
    /// How many of them are essential, or needed by essential ones: the first phase.
    pub(super) first_phase: usize,
}

/// Finds the order.
pub(super) fn order(packages: &[Package]) -> Result<Order, Error> {
    let needs = Needs::new(packages)?;
    let essential = packages.iter().enumerate().filter(|(_, package)| package.is_essential());
    let first = needs.closure(essential.map(|(index, _)| index));
    let mut queue = Queue { packages, needs: &needs, done: BTreeSet::new(), sequence: Vec::new() };
    queue.configure(first.iter().copied().collect());
    let first_phase = queue.sequence.len();
    let early = needs.closure(needs.pre.iter().copied());
    queue.configure(early.difference(&first).copied().collect());
    let mut rest: Vec<_> =
        (0..packages.len()).filter(|index| !queue.done.contains(index)).collect();
    rest.sort_by_key(|&index| packages.get(index).map(|package| bin(package.name.as_str())));
    queue.configure(rest.into());
    Ok(Order { sequence: queue.sequence, first_phase })
}

/// The place of a name in dpkg's hash table: FNV-1a of 32 bits, modulo the number of its bins.
fn bin(name: &str) -> u32 {
    const BINS: u32 = 65_521;
    let mix = |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619);
    name.bytes().fold(2_166_136_261, mix) % BINS
}

/// Who needs whom: indexes into the packages.
struct Needs {
    /// Each package's dependencies: groups of packages, one of which is enough; the first one is
    /// preferred.
    all: BTreeMap<usize, Vec<Vec<usize>>>,
    /// The preferred pre-dependencies, of packages that are not essential.
    pre: BTreeSet<usize>,
}

impl Needs {
    fn new(packages: &[Package]) -> Result<Self, Error> {
        let providers = providers(packages)?;
        let mut needs = Self { all: BTreeMap::new(), pre: BTreeSet::new() };
        for (index, package) in packages.iter().enumerate() {
            let mut all = groups(package, "Pre-Depends", &providers, packages)?;
            if !package.is_essential() {
                needs.pre.extend(all.iter().filter_map(|group| group.first()));
            }
            all.extend(groups(package, "Depends", &providers, packages)?);
            all.retain(|group| !group.is_empty() && !group.contains(&index));
            needs.all.insert(index, all);
        }
        Ok(needs)
    }

    fn of(&self, index: usize) -> impl Iterator<Item = &Vec<usize>> {
        self.all.get(&index).into_iter().flatten()
    }

    /// The given packages and all that they need.
    fn closure(&self, from: impl Iterator<Item = usize>) -> BTreeSet<usize> {
        let mut pending: Vec<_> = from.collect();
        let mut reached = BTreeSet::new();
        while let Some(index) = pending.pop() {
            if reached.insert(index) {
                pending.extend(self.of(index).filter_map(|group| group.first()));
            }
        }
        reached
    }
}

/// Which packages go by a name, their own first.
fn providers(packages: &[Package]) -> Result<BTreeMap<String, Vec<usize>>, Error> {
    let mut providers: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, package) in packages.iter().enumerate() {
        providers.entry(package.name.to_string()).or_default().push(index);
    }
    for (index, package) in packages.iter().enumerate() {
        let text = package.control.get("Provides").unwrap_or_default();
        for provided in relation::parse_provides(text).map_err(Error::relation(package))? {
            providers.entry(provided.name.to_owned()).or_default().push(index);
        }
    }
    Ok(providers)
}

/// The groups of a field: those alternatives that are there, in order. The solver has proven
/// versions and architectures.
fn groups(
    package: &Package,
    field: &str,
    providers: &BTreeMap<String, Vec<usize>>,
    packages: &[Package],
) -> Result<Vec<Vec<usize>>, Error> {
    let text = package.control.get(field).unwrap_or_default();
    let groups = relation::parse(text).map_err(Error::relation(package))?;
    let same = |index: usize| {
        packages.get(index).is_some_and(|other| other.architecture == package.architecture)
    };
    let candidates = |name: &str| {
        let mut all = providers.get(name).cloned().unwrap_or_default();
        all.sort_by_key(|&index| !same(index));
        all
    };
    let present = |group: Vec<relation::Relation<'_>>| {
        group.iter().flat_map(|alternative| candidates(alternative.name)).collect()
    };
    Ok(groups.into_iter().map(present).collect())
}

/// dpkg's queue.
struct Queue<'a> {
    packages: &'a [Package],
    needs: &'a Needs,
    done: BTreeSet<usize>,
    sequence: Vec<usize>,
}

impl Queue<'_> {
    /// Configures all of `waiting`, whose dependencies are among themselves or done.
    fn configure(&mut self, mut waiting: VecDeque<usize>) {
        let mut deferred = 0;
        while let Some(index) = waiting.pop_front() {
            let ready = self
                .needs
                .of(index)
                .all(|group| group.iter().any(|candidate| self.done.contains(candidate)));
            if ready {
                self.take(index);
                deferred = 0;
            } else if deferred > waiting.len() {
                waiting.push_front(index);
                let broken = self.break_a_circle(&waiting);
                waiting.retain(|&other| other != broken);
                self.take(broken);
                deferred = 0;
            } else {
                waiting.push_back(index);
                deferred += 1;
            }
        }
    }

    fn take(&mut self, index: usize) {
        self.done.insert(index);
        self.sequence.push(index);
    }

    /// Chooses a package that waits for nothing but a circle that it is part of; one without
    /// `postinst` if there is one, for it does not notice.
    fn break_a_circle(&self, waiting: &VecDeque<usize>) -> usize {
        let open = |index: usize| -> BTreeSet<usize> {
            self.needs.closure(std::iter::once(index)).difference(&self.done).copied().collect()
        };
        let circles = waiting
            .iter()
            .copied()
            .filter(|&index| open(index).into_iter().all(|other| open(other).contains(&index)));
        let silent = |&index: &usize| {
            self.packages
                .get(index)
                .is_some_and(|package| !package.scripts.contains_key(&ScriptKind::Postinst))
        };
        let circles: Vec<_> = circles.collect();
        let chosen = circles.iter().copied().find(silent).or_else(|| circles.first().copied());
        chosen.or_else(|| waiting.front().copied()).expect("somebody waits")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configure::deb::tests::package;

    fn names(packages: &[Package]) -> Vec<&str> {
        let order = order(packages).unwrap();
        order.sequence.into_iter().map(|index| packages[index].name.as_str()).collect()
    }

    #[test]
    fn dependencies_come_first_and_essential_packages_before_all() {
        let packages = [
            package("app", "Depends: lib | other"),
            package("base", "Essential: yes\nPre-Depends: c"),
            package("c", ""),
            package("lib", "Depends: virtual"),
            package("real", "Provides: virtual"),
        ];
        assert_eq!(names(&packages), ["c", "base", "real", "lib", "app"]);
        assert_eq!(order(&packages).unwrap().first_phase, 2);
    }

    #[test]
    fn what_others_need_before_unpacking_is_configured_early() {
        let packages = [
            package("init", "Pre-Depends: zz"),
            package("aa", ""),
            package("zz", "Depends: y"),
            package("y", ""),
        ];
        assert_eq!(names(&packages)[..2], ["y", "zz"]);
    }

    #[test]
    fn any_alternative_that_is_configured_is_enough() {
        let packages = [
            package("adduser", "Depends: zlib"),
            package("bus", "Depends: adduser | sysusers"),
            package("systemd", "Essential: yes\nProvides: sysusers"),
            package("zlib", ""),
        ];
        let order = names(&packages);
        let place = |name| order.iter().position(|other| *other == name);
        assert!(place("bus") < place("adduser"), "{order:?}");
    }

    #[test]
    fn a_circle_is_broken_at_the_package_without_a_script() {
        let mut packages = [
            package("libc", "Essential: yes\nDepends: libgcc"),
            package("libgcc", "Depends: libc"),
        ];
        packages[0].scripts.insert(ScriptKind::Postinst, (*b"#!/bin/sh\n").into());
        assert_eq!(names(&packages), ["libgcc", "libc"]);
        packages.reverse();
        assert_eq!(names(&packages), ["libgcc", "libc"]);
    }

    #[test]
    fn independent_packages_come_in_the_order_of_dpkgs_hash_table() {
        let in_dpkgs_log = ["libexpat1", "libkeyutils1", "libip6tc2", "libtirpc-common"];
        let mut packages: Vec<_> = in_dpkgs_log.iter().map(|name| package(name, "")).collect();
        packages.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(names(&packages), in_dpkgs_log);
    }
}
