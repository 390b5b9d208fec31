//! In which order packages are installed: what others need comes before them.
//!
//! In: headers; out: their numbers in the order of installing. A package comes after all that it
//! requires, except where packages require each other in a circle: within a circle only what their
//! scripts require counts, and if that is a circle too, names decide. The same packages give the same
//! order, however they are listed.

use std::collections::{BTreeMap, BTreeSet};

use super::header::Header;
use super::info::Info;
use super::relation::{Dependency, Relation};
use super::tag;

/// rpm's bits for requirements of scripts that run during installing.
const FOR_SCRIPTS: u64 = 1 << 6 | 1 << 7 | 1 << 9 | 1 << 10;

/// Who needs whom.
struct Graph {
    /// For each package all that it requires, itself excluded.
    all: Vec<BTreeSet<usize>>,
    /// For each package what its scripts require.
    early: Vec<BTreeSet<usize>>,
}

/// The packages, each header with what it says, in the order of installing.
pub fn order(packages: &[(&Header, &Info<'_>)]) -> Vec<usize> {
    let mut by_name: Vec<usize> = (0..packages.len()).collect();
    by_name.sort_by_key(|number| packages.get(*number).map(|(_, i)| (i.name, i.architecture)));
    let graph = Graph::new(packages);
    let mut rank = vec![0; packages.len()];
    for (place, number) in by_name.iter().enumerate() {
        if let Some(rank) = rank.get_mut(*number) {
            *rank = place;
        }
    }
    let sorted = |needs: &BTreeSet<usize>| -> Vec<usize> {
        let mut needs: Vec<usize> = needs.iter().copied().collect();
        needs.sort_by_key(|number| rank.get(*number));
        needs
    };
    let mut order = Vec::new();
    for circle in
        circles(&by_name, |number| sorted(graph.all.get(number).unwrap_or(&BTreeSet::new())))
    {
        let members: BTreeSet<usize> = circle.iter().copied().collect();
        let mut names: Vec<usize> = circle;
        names.sort_by_key(|number| rank.get(*number));
        let within = |number: usize| {
            let early = graph.early.get(number).map(&sorted).unwrap_or_default();
            early.into_iter().filter(|need| members.contains(need)).collect()
        };
        order.extend(circles(&names, within).into_iter().flatten());
    }
    order
}

impl Graph {
    fn new(packages: &[(&Header, &Info<'_>)]) -> Self {
        let mut names: BTreeMap<&str, Vec<(usize, Option<Relation<'_>>)>> = BTreeMap::new();
        for (number, (_, info)) in packages.iter().enumerate() {
            for provided in &info.provides {
                names.entry(provided.name).or_default().push((number, Some(*provided)));
            }
            for file in &info.files {
                names.entry(file).or_default().push((number, None));
            }
        }
        let providers = |relation: &Relation<'_>| -> Vec<usize> {
            let known = names.get(relation.name).map_or(&[][..], Vec::as_slice);
            let meant = known.iter().filter(|(_, provided)| {
                provided.as_ref().is_none_or(|provided| relation.overlaps(provided))
            });
            meant.map(|(number, _)| *number).collect()
        };
        let mut graph = Self { all: Vec::new(), early: Vec::new() };
        for (number, (header, info)) in packages.iter().enumerate() {
            let needs = |dependencies: &mut dyn Iterator<Item = &Dependency<'_>>| {
                let relations = dependencies.flat_map(|dependency| dependency.relations());
                let needs = relations.flat_map(&providers);
                needs.filter(|need| *need != number).collect::<BTreeSet<_>>()
            };
            let early = early(header);
            let is_early = |dependency: &&Dependency<'_>| match dependency {
                Dependency::Plain(relation) => early.contains(relation.name.as_bytes()),
                _ => false,
            };
            graph.all.push(needs(&mut info.requires.iter()));
            graph.early.push(needs(&mut info.requires.iter().filter(is_early)));
        }
        graph
    }
}

/// The names that a package's scripts require.
fn early(header: &Header) -> BTreeSet<&[u8]> {
    let flags = header.numbers(tag::REQUIRE_FLAGS);
    let names = header.texts(tag::REQUIRE_NAME).zip(flags);
    names.filter(|(_, flags)| flags & FOR_SCRIPTS != 0).map(|(name, _)| name).collect()
}

/// The strongly connected parts of a graph, what is needed first (Tarjan's algorithm, without
/// recursion, because chains may be long).
fn circles(nodes: &[usize], needs: impl Fn(usize) -> Vec<usize>) -> Vec<Vec<usize>> {
    let mut found: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    let (mut stack, mut on_stack): (Vec<usize>, BTreeSet<usize>) = (Vec::new(), BTreeSet::new());
    let mut circles = Vec::new();
    for start in nodes {
        if found.contains_key(start) {
            continue;
        }
        let mut work: Vec<(usize, Vec<usize>)> = Vec::new();
        let mut enter = Some(*start);
        loop {
            if let Some(node) = enter.take() {
                let index = found.len();
                found.insert(node, (index, index));
                stack.push(node);
                on_stack.insert(node);
                let mut rest = needs(node);
                rest.reverse();
                work.push((node, rest));
            }
            let Some((node, rest)) = work.last_mut() else { break };
            let node = *node;
            if let Some(next) = rest.pop() {
                match found.get(&next).copied() {
                    None => enter = Some(next),
                    Some((index, _)) if on_stack.contains(&next) => lower(&mut found, node, index),
                    Some(_) => {}
                }
                continue;
            }
            work.pop();
            let (index, low) = found.get(&node).copied().unwrap_or_default();
            if let Some((above, _)) = work.last() {
                lower(&mut found, *above, low);
            }
            if index == low {
                let from = stack.iter().rposition(|member| *member == node).unwrap_or(0);
                let circle = stack.split_off(from);
                circle.iter().for_each(|member| _ = on_stack.remove(member));
                circles.push(circle);
            }
        }
    }
    circles
}

fn lower(found: &mut BTreeMap<usize, (usize, usize)>, node: usize, to: usize) {
    if let Some((_, low)) = found.get_mut(&node) {
        *low = (*low).min(to);
    }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test may end with a panic")]
mod tests {
    use super::*;

    #[test]
    fn circles_come_after_what_they_need_and_chains_may_be_long() {
        let edges: BTreeMap<usize, Vec<usize>> =
            [(0, vec![1]), (1, vec![2, 3]), (2, vec![1]), (3, vec![])].into();
        let found = circles(&[0, 1, 2, 3], |node| edges[&node].clone());
        assert_eq!(found, [vec![3], vec![1, 2], vec![0]]);
        let chain: Vec<usize> = (0..100_000).collect();
        let found = circles(&chain, |node| if node < 99_999 { vec![node + 1] } else { vec![] });
        assert_eq!((found.len(), &found[0]), (100_000, &vec![99_999]));
    }
}
