//! Which of several packages that do equally well is taken.
//!
//! In: packages that meet a dependency, and what the rest of a choice would rather have; out: the same
//! packages, the most preferred first. A later version comes before an earlier one, and a package before
//! one that it obsoletes; then who is recommended or asks to go along, then who is suggested; then who
//! is not behind the others in a version that several provide; then who has no later version at all;
//! then the first by name. A package with the very name of what is needed has no precedence.
//! Specification: libsolv's `policy.c`, which dnf and zypper share.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::clause;
use super::world::World;
use crate::package::rpm::relation::{Dependency, Operator, Relation};
use crate::package::rpm::version::Version;
use crate::resolve::solver::Id;

/// What the packages of a choice would rather have than something else that does as well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Liked {
    /// What they recommend, and who asks to go with them.
    recommended: BTreeSet<Id>,
    /// What they suggest.
    suggested: BTreeSet<Id>,
}

impl Liked {
    /// What chosen packages like.
    pub(super) fn by(world: &World<'_>, chosen: &BTreeSet<Id>) -> Self {
        let mut liked = Self::default();
        for info in chosen.iter().filter_map(|id| world.candidate(*id)).map(|one| one.info) {
            for recommended in &info.recommends {
                add(world, recommended, chosen, &mut liked.recommended);
            }
            for suggested in &info.suggests {
                add(world, suggested, chosen, &mut liked.suggested);
            }
        }
        liked.recommended.extend(world.going_with(chosen));
        liked
    }

    /// Adds what others like; tells whether that is anything new.
    pub(super) fn extend(&mut self, others: Self) -> bool {
        let count = |liked: &Self| (liked.recommended.len(), liked.suggested.len());
        let before = count(self);
        self.recommended.extend(others.recommended);
        self.suggested.extend(others.suggested);
        count(self) != before
    }
}

/// Adds the packages that a weak dependency means; those under a condition only if it holds.
fn add(
    world: &World<'_>,
    dependency: &Dependency<'_>,
    chosen: &BTreeSet<Id>,
    liked: &mut BTreeSet<Id>,
) {
    let branch = match dependency {
        Dependency::And(all) => {
            return all.iter().for_each(|one| add(world, one, chosen, liked));
        }
        Dependency::If(then, condition, otherwise) => {
            if world.holds(condition, chosen) {
                Some(then)
            } else {
                otherwise.as_ref()
            }
        }
        Dependency::Unless(then, condition, otherwise) => {
            if world.holds(condition, chosen) {
                otherwise.as_ref()
            } else {
                Some(then)
            }
        }
        plain => return liked.extend(clause::packages(world, plain)),
    };
    if let Some(branch) = branch {
        add(world, branch, chosen, liked);
    }
}

/// Groups with more packages are not sorted once more for each that cannot be had.
const MOST: usize = 32;

/// Sorts packages that do equally well, each once, the most preferred first: whoever comes next would be
/// the first, were those before it not there.
pub(super) fn sort(world: &World<'_>, liked: &Liked, group: &mut Vec<Id>) {
    // By name, later versions first.
    group.sort_unstable();
    group.dedup();
    let mut rest = std::mem::take(group);
    while rest.len() > 1 {
        let mut best = best(world, &rest);
        rank(world, liked, &mut best);
        if rest.len() == best.len() || rest.len() > MOST {
            rest.retain(|id| !best.contains(id));
        } else {
            best.truncate(1);
            rest.retain(|id| Some(id) != best.first());
        }
        group.append(&mut best);
    }
    group.append(&mut rest);
}

/// Of packages that are sorted by name, later versions first, the latest of each name, without those
/// that another one obsoletes.
pub(super) fn best(world: &World<'_>, packages: &[Id]) -> Vec<Id> {
    let mut latest = packages.to_vec();
    latest.dedup_by_key(|id| world.package_name(*id));
    let displaced = |id: &Id| latest.iter().any(|other| displaces(world, *other, *id));
    latest.iter().filter(|id| !displaced(id)).copied().collect()
}

/// Sorts packages of different names.
fn rank(world: &World<'_>, liked: &Liked, packages: &mut [Id]) {
    let behind = behind(world, packages);
    packages.sort_by_cached_key(|id| {
        (
            !liked.recommended.contains(id),
            !liked.suggested.contains(id),
            behind.get(id).copied().unwrap_or_default(),
            world.is_outdated(*id),
            *id,
        )
    });
}

/// Whether one package obsoletes another and not the other way round.
fn displaces(world: &World<'_>, one: Id, other: Id) -> bool {
    if one == other {
        return false;
    }
    let obsoletes = |one: Id, other: Id| {
        let pair = (world.candidate(one), world.candidate(other));
        let (Some(one), Some(other)) = (pair.0.map(|one| one.info), pair.1.map(|one| one.info))
        else {
            return false;
        };
        let meant = |relation: &Relation<'_>| {
            relation.name == other.name && relation.allows(&other.version)
        };
        one.name != other.name && one.obsoletes.iter().any(meant)
    };
    obsoletes(one, other) && !obsoletes(other, one)
}

/// A version in which something is provided, or below which.
struct Provided<'a> {
    version: Version<'a>,
    is_below: bool,
    by: Id,
}

impl Provided<'_> {
    /// Later versions first.
    fn compare(&self, other: &Self) -> Ordering {
        let by_version = other.version.compare(&self.version);
        by_version.then(self.is_below.cmp(&other.is_below))
    }
}

/// By how many versions each package is behind others, over all that several of them provide.
fn behind(world: &World<'_>, packages: &[Id]) -> BTreeMap<Id, usize> {
    let mut offers: BTreeMap<&str, Vec<Provided<'_>>> = BTreeMap::new();
    for (by, candidate) in packages.iter().filter_map(|id| Some((*id, world.candidate(*id)?))) {
        for provided in &candidate.info.provides {
            let Some((operator, version)) = provided.condition else { continue };
            let is_below = operator.symbol() == "<";
            if is_below || is_comparable(operator, &version) {
                offers.entry(provided.name).or_default().push(Provided { version, is_below, by });
            }
        }
    }
    let mut behind: BTreeMap<Id, usize> = BTreeMap::new();
    for mut offered in offers.into_values().filter(|offered| offered.len() > 1) {
        offered.sort_by(Provided::compare);
        let mut steps = 0_usize;
        let mut before: Option<&Provided<'_>> = None;
        for provided in &offered {
            let is_worse = |before: &&Provided<'_>| {
                before.by != provided.by && before.compare(provided) == Ordering::Less
            };
            steps = steps.saturating_add(usize::from(before.filter(is_worse).is_some()));
            let sum = behind.entry(provided.by).or_default();
            *sum = sum.saturating_add(steps);
            before = Some(provided);
        }
    }
    behind
}

/// Whether a version says which of two is later: a hash that is provided as a version does not.
fn is_comparable(operator: Operator, version: &Version<'_>) -> bool {
    let text = version.to_string();
    let is_hash =
        text.len() >= 4 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    match operator.symbol() {
        "=" => !is_hash,
        "<=" => true,
        _ => false,
    }
}
