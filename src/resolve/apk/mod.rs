//! Choosing Alpine packages as `apk add` does in an empty root.
//!
//! Repositories and a request come in, the chosen packages go out in the order of installing them.
//! What is asked for and what it needs is chosen first; then what comes along by itself when all that
//! it waits for is there (`install_if`), as far as it can. Whatever comes out has been checked by
//! [`validate`], which does not know how it was found.
//!
//! Where apk gives up because an early choice turns out wrong, this may still find an answer. What it
//! does not do is to change a system that is there: a guest is made from nothing.

mod explain;
pub(super) mod question;
pub mod validate;
pub mod world;

use std::collections::{BTreeSet, VecDeque};

use self::validate::Flaw;
use self::world::{Candidate, Offer, World};
use super::solver::{self, Answer, Id};
use crate::package::apk::order;
use crate::package::apk::relation::Relation;

/// What is to be installed.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Alpine's name of the architecture: `x86_64`.
    pub architecture: &'a str,
    /// What the world file will say.
    pub asked: &'a [Relation<'a>],
}

/// Why nothing was chosen.
pub type Failure = super::Failure<Flaw>;

/// Chooses packages from the offers, the most preferred of which is first.
///
/// # Errors
/// [`Failure`]
pub fn choose<'a>(
    request: &Request<'a>,
    offers: &[Offer<'a>],
) -> Result<Vec<Candidate<'a>>, Failure> {
    let mut world = World::new(request.architecture, offers, request.asked);
    let mut chosen = choose_supported(&mut world)?;
    add_coming_along(&world, &mut chosen);
    let candidates: Vec<_> = chosen.iter().map(|id| *world.candidate(*id)).collect();
    let infos: Vec<_> = candidates.iter().map(|candidate| candidate.info).collect();
    validate::check(request.asked, &infos).map_err(Failure::Unsound)?;
    let order = order::order(&infos, request.asked);
    Ok(order.into_iter().filter_map(|index| candidates.get(index).copied()).collect())
}

/// Chooses, until nothing is chosen merely because it happens to go by a name.
fn choose_supported(world: &mut World<'_>) -> Result<BTreeSet<Id>, Failure> {
    loop {
        let root = world.root();
        let mut chosen = match solver::solve(world, &[root], &[]) {
            Answer::Chosen(chosen) => chosen,
            Answer::TooHard => return Err(Failure::TooHard),
            Answer::Impossible => return Err(Failure::Conflict(explain::explain(world))),
        };
        chosen.remove(&root);
        let unsupported = unsupported(world, &chosen);
        if unsupported.is_empty() {
            return Ok(needed(world, &chosen));
        }
        for (name, id) in unsupported {
            world.ban(name, id);
        }
    }
}

/// Those of a choice that are needed. Where several of them meet a relation, whoever is needed anyway
/// does, or else the most preferred.
fn needed(world: &World<'_>, chosen: &BTreeSet<Id>) -> BTreeSet<Id> {
    let mut needed = BTreeSet::from([world.root()]);
    let mut open = vec![world.root()];
    let mut undecided: VecDeque<Vec<Id>> = VecDeque::new();
    loop {
        while let Some(id) = open.pop() {
            let needs = world.relations(id).iter().filter(|relation| !relation.refuses);
            for relation in needs {
                let mut meeting = world.satisfying(relation);
                meeting.retain(|id| chosen.contains(id));
                match meeting.as_slice() {
                    [one] => open.extend(needed.insert(*one).then_some(*one)),
                    _ => undecided.push_back(meeting),
                }
            }
        }
        let Some(meeting) = undecided.pop_front() else { break };
        if !meeting.iter().any(|id| needed.contains(id)) {
            open.extend(meeting.first().filter(|id| needed.insert(**id)));
        }
    }
    needed.remove(&world.root());
    needed
}

/// Those that were chosen for a name that they give no version, without a priority and without being
/// asked for by their own names; each with that name.
fn unsupported<'a>(world: &World<'a>, chosen: &BTreeSet<Id>) -> Vec<(&'a str, Id)> {
    let needs = || {
        let all = chosen.iter().copied().chain([world.root()]);
        all.flat_map(|id| world.relations(id)).filter(|relation| !relation.refuses)
    };
    let mut supported: BTreeSet<Id> = BTreeSet::new();
    for relation in needs() {
        let providers = world.providers(relation.name).iter();
        let good = providers.filter(|p| world.speaks_for_itself(relation.name, p));
        supported.extend(good.map(|provider| provider.by));
    }
    let mut unsupported = Vec::new();
    for relation in needs() {
        let providers = world.providers(relation.name).iter();
        let bad = providers.filter(|p| chosen.contains(&p.by) && !supported.contains(&p.by));
        unsupported.extend(bad.map(|provider| (relation.name, provider.by)));
    }
    unsupported
}

/// Adds what comes along by itself, and what that needs, as far as it can be added.
fn add_coming_along(world: &World<'_>, chosen: &mut BTreeSet<Id>) {
    let mut tried: BTreeSet<Id> = BTreeSet::new();
    let mut along = vec![world.root()];
    loop {
        let comes =
            |id: &Id| !chosen.contains(id) && !tried.contains(id) && world.comes_along(*id, chosen);
        let Some(next) = world.ids().find(comes) else { return };
        tried.insert(next);
        along.push(next);
        match beside(world, chosen, &along).or_else(|| in_place(world, chosen, &along)) {
            Some(more) => *chosen = more,
            None => _ = along.pop(),
        }
    }
}

/// What is there if somebody, the last of those who come along, comes beside all that is chosen.
fn beside(world: &World<'_>, chosen: &BTreeSet<Id>, along: &[Id]) -> Option<BTreeSet<Id>> {
    let required: Vec<Id> = chosen.iter().chain(along).copied().collect();
    supported(world, solver::solve(world, &required, &[]), along)
}

/// What is there if those who come along, the last of them anew, bring others that go by the names of
/// some that were chosen.
fn in_place(world: &World<'_>, chosen: &BTreeSet<Id>, along: &[Id]) -> Option<BTreeSet<Id>> {
    let more = supported(world, solver::solve(world, along, &[]), along)?;
    let goes_by = |name| {
        let mut providers = world.providers(name).iter();
        let is_new = |by: &Id| more.contains(by) && !chosen.contains(by);
        providers.any(|p| is_new(&p.by) && world.info(p.by).name != name)
    };
    let stays = chosen.iter().all(|old| more.contains(old) || goes_by(world.info(*old).name));
    let mut later = along.iter().filter(|id| **id != world.root());
    (stays && later.all(|id| world.comes_along(*id, &more))).then_some(more)
}

/// An answer without the root, if nothing in it was chosen merely for a name: those who come along were
/// not.
fn supported(world: &World<'_>, answer: Answer, along: &[Id]) -> Option<BTreeSet<Id>> {
    let Answer::Chosen(mut chosen) = answer else { return None };
    chosen.remove(&world.root());
    let bad = unsupported(world, &chosen);
    bad.iter().all(|(_, id)| along.contains(id)).then_some(chosen)
}

#[cfg(test)]
mod tests;
