//! Dependencies in the words of the solver: groups of which one is needed, and what is refused.
//!
//! In: a dependency; out: groups, all of which must be met, in each the most preferred first. A rich
//! dependency becomes several groups, as libsolv makes clauses of it: `a or (b and c)` is "`a` or `b`"
//! and "`a` or `c`". What stands in a group and is not a package gets an id of its own, an [`Extra`],
//! whose choice has consequences like that of a package: `a if b` is "nothing that is `b`, or `a`".

use super::world::World;
use crate::package::rpm::relation::Dependency;
use crate::resolve::solver::{Consequences, Id};

/// What stands for a part of a rich dependency.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Extra {
    /// Groups of which one is needed each.
    pub(super) needs: Vec<Vec<Id>>,
    /// What must not be chosen as well.
    pub(super) refuses: Vec<Id>,
}

/// The groups that a dependency means. One that is empty cannot be met.
pub(super) fn needs(world: &World<'_>, dependency: &Dependency<'_>) -> Vec<Vec<Id>> {
    match dependency {
        Dependency::Plain(_) | Dependency::With(..) | Dependency::Without(..) => {
            let mut group = packages(world, dependency);
            world.sort(&mut group);
            vec![group]
        }
        Dependency::And(all) => all.iter().flat_map(|one| needs(world, one)).collect(),
        Dependency::Or(all) => either(world, all.iter().map(|one| needs(world, one)).collect()),
        Dependency::If(then, condition, otherwise) => {
            let absent = vec![not(world, condition)];
            let mut groups = either(world, vec![absent, needs(world, then)]);
            if let Some(otherwise) = otherwise {
                let ways = vec![needs(world, condition), needs(world, otherwise)];
                groups.extend(either(world, ways));
            }
            groups
        }
        Dependency::Unless(then, condition, otherwise) => {
            let mut absent = needs(world, then);
            absent.push(not(world, condition));
            let Some(otherwise) = otherwise else { return absent };
            let mut present = needs(world, otherwise);
            present.extend(needs(world, condition));
            let either = [absent, present].map(|needs| Extra { needs, refuses: Vec::new() });
            vec![either.into_iter().map(|extra| world.extra(extra)).collect()]
        }
    }
}

/// More groups than these are not made of one dependency.
const MOST: usize = 64;

/// The groups of which each must be met for one of some dependencies to be met, each given by its own
/// groups: every way to take one group of each. In which order they stand does not matter.
fn either(world: &World<'_>, ways: Vec<Vec<Vec<Id>>>) -> Vec<Vec<Id>> {
    let count = ways.iter().fold(1_usize, |count, way| count.saturating_mul(way.len()));
    let ways = match count <= MOST {
        true => ways,
        false => ways.into_iter().map(|way| vec![as_choice(world, way)]).collect(),
    };
    let mut groups: Vec<Vec<Id>> = vec![Vec::new()];
    for way in ways {
        let longer = |group: &Vec<Id>| -> Vec<Vec<Id>> {
            way.iter().map(|further| [group.as_slice(), further].concat()).collect()
        };
        groups = groups.iter().flat_map(longer).collect();
    }
    groups.into_iter().map(|group| sorted(world, group)).collect()
}

/// A group in the order of preference: where nothing need be there, nothing is best.
fn sorted(world: &World<'_>, group: Vec<Id>) -> Vec<Id> {
    let is_package = |id: &Id| world.candidate(*id).is_some();
    let (mut packages, mut others): (Vec<Id>, Vec<Id>) = group.into_iter().partition(is_package);
    world.sort(&mut packages);
    others.extend(packages);
    others
}

/// The members of a group of which each alone meets a dependency that is given by its groups.
fn as_choice(world: &World<'_>, mut groups: Vec<Vec<Id>>) -> Vec<Id> {
    match groups.len() {
        1 => groups.pop().unwrap_or_default(),
        _ if groups.iter().any(Vec::is_empty) => Vec::new(),
        _ => vec![world.extra(Extra { needs: groups, refuses: Vec::new() })],
    }
}

/// The members of a group of which each alone sees to it that a dependency is not met.
fn not(world: &World<'_>, dependency: &Dependency<'_>) -> Vec<Id> {
    let nothing = |refuses| world.extra(Extra { needs: Vec::new(), refuses });
    match dependency {
        Dependency::Plain(relation) => vec![nothing(world.meeting(relation))],
        Dependency::With(..) | Dependency::Without(..) => {
            vec![nothing(packages(world, dependency))]
        }
        Dependency::And(all) => all.iter().flat_map(|one| not(world, one)).collect(),
        Dependency::Or(all) => {
            let needs = all.iter().map(|one| not(world, one)).collect();
            vec![world.extra(Extra { needs, refuses: Vec::new() })]
        }
        // Met unless the condition holds and the rest does not.
        Dependency::If(then, condition, otherwise) => {
            let mut broken = needs(world, condition);
            broken.push(not(world, then));
            let mut ways = vec![world.extra(Extra { needs: broken, refuses: Vec::new() })];
            if let Some(otherwise) = otherwise {
                let needs = vec![not(world, condition), not(world, otherwise)];
                ways.push(world.extra(Extra { needs, refuses: Vec::new() }));
            }
            ways
        }
        Dependency::Unless(then, condition, otherwise) => {
            let present = as_choice(world, needs(world, condition));
            let absent = not(world, condition);
            let first = [not(world, then), present].concat();
            let second = match otherwise {
                Some(otherwise) => [not(world, otherwise), absent].concat(),
                None => return first,
            };
            vec![world.extra(Extra { needs: vec![first, second], refuses: Vec::new() })]
        }
    }
}

/// The packages that meet a dependency by themselves.
pub(super) fn packages(world: &World<'_>, dependency: &Dependency<'_>) -> Vec<Id> {
    match dependency {
        Dependency::Plain(relation) => world.meeting(relation),
        Dependency::Or(all) => all.iter().flat_map(|one| packages(world, one)).collect(),
        Dependency::With(one, other) => {
            let (mut found, others) = (packages(world, one), packages(world, other));
            found.retain(|id| others.contains(id));
            found
        }
        Dependency::Without(one, other) => {
            let (mut found, others) = (packages(world, one), packages(world, other));
            found.retain(|id| !others.contains(id));
            found
        }
        // No package can meet these by itself (rpm-dependencies(7) forbids it).
        Dependency::And(_) | Dependency::If(..) | Dependency::Unless(..) => Vec::new(),
    }
}

/// Adds what a conflict of `owner` means, who never is in conflict with itself.
pub(super) fn refuse(
    world: &World<'_>,
    conflict: &Dependency<'_>,
    owner: Id,
    consequences: &mut Consequences,
) {
    match conflict {
        Dependency::Plain(_) | Dependency::With(..) | Dependency::Without(..) => {
            let refused = packages(world, conflict);
            consequences.refuses.extend(refused.into_iter().filter(|id| *id != owner));
        }
        Dependency::Or(all) => all.iter().for_each(|one| refuse(world, one, owner, consequences)),
        rich => consequences.needs.push(not(world, rich)),
    }
}
