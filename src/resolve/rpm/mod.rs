//! Choosing rpm packages as `dnf install` does in an empty root.
//!
//! Repositories and a request come in, the chosen packages go out, sorted by name. What is asked for
//! and what it requires is chosen first; then, if the recipe wants that, what is recommended, as far as
//! it goes with the rest. Whatever comes out has been checked by [`validate`], which does not know how
//! it was found.

mod clause;
mod explain;
mod modules;
pub(super) mod question;
mod reach;
pub mod validate;
pub mod world;

use std::collections::{BTreeSet, VecDeque};

use self::validate::Flaw;
use self::world::{Candidate, Offer, World};
use super::solver::{self, Answer, Id, Meter, Universe};

/// What is to be installed.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// rpm's name of the architecture: `x86_64`.
    pub architecture: &'a str,
    /// The names that are asked for.
    pub asked: &'a [&'a str],
    /// Whether what packages recommend is wanted, too.
    pub recommends: bool,
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
    let world = World::new(request.architecture, offers, request.asked);
    let mut chosen = match solver::solve(&world, &[world.root()], &[]) {
        Answer::Chosen(chosen) => needed(&world, &chosen),
        Answer::TooHard => return Err(Failure::TooHard),
        Answer::Impossible => return Err(Failure::Conflict(explain::explain(&world))),
    };
    if request.recommends {
        add_recommended(&world, &mut chosen);
    }
    let candidates: Vec<_> = chosen.iter().filter_map(|id| world.candidate(*id)).collect();
    let infos: Vec<_> = candidates.iter().map(|candidate| candidate.info).collect();
    validate::check(request.asked, &infos).map_err(Failure::Unsound)?;
    Ok(candidates)
}

/// Those of a choice that are needed. Where several of them meet a requirement, whoever is needed
/// anyway does, or else the most preferred.
fn needed(world: &World<'_>, chosen: &BTreeSet<Id>) -> BTreeSet<Id> {
    let meter = Meter::default();
    let mut needed = BTreeSet::from([world.root()]);
    let mut open = vec![world.root()];
    let mut undecided: VecDeque<Vec<Id>> = VecDeque::new();
    loop {
        while let Some(id) = open.pop() {
            let consequences = world.consequences(id, &meter).unwrap_or_default();
            for mut group in consequences.needs {
                group.retain(|id| chosen.contains(id));
                match group.as_slice() {
                    [one] => open.extend(needed.insert(*one).then_some(*one)),
                    _ => undecided.push_back(group),
                }
            }
        }
        let Some(group) = undecided.pop_front() else { break };
        if !group.iter().any(|id| needed.contains(id)) {
            open.extend(group.first().filter(|id| needed.insert(**id)));
        }
    }
    needed.remove(&world.root());
    needed
}

/// Adds what is recommended, and who asks to go with what is chosen, each with what it requires, as far
/// as all stays installable.
fn add_recommended(world: &World<'_>, chosen: &mut BTreeSet<Id>) {
    let mut tried: BTreeSet<Id> = BTreeSet::new();
    loop {
        let recommended = chosen.iter().flat_map(|id| world.recommended(*id, chosen));
        let supplementing = || world.supplementing(chosen).into_iter().map(|id| vec![id]);
        let untried = |group: Vec<Id>| group.into_iter().find(|id| !tried.contains(id));
        let next = recommended.into_iter().find_map(untried);
        let next = next.or_else(|| supplementing().find_map(untried));
        let Some(next) = next else { return };
        tried.insert(next);
        let required: Vec<Id> =
            [world.root(), next].into_iter().chain(chosen.iter().copied()).collect();
        if let Answer::Chosen(mut more) = solver::solve(world, &required, &[]) {
            more.remove(&world.root());
            *chosen = more;
        }
    }
}

#[cfg(test)]
mod tests;
