//! Choosing rpm packages as `dnf install` does in an empty root.
//!
//! Repositories and a request come in, the chosen packages go out, sorted by name. What is asked for
//! and what it requires is chosen first; then, if the recipe wants that, what is recommended, as far as
//! it goes with the rest. Whatever comes out has been checked by [`validate`], which does not know how
//! it was found.

mod clause;
mod explain;
mod modules;
mod preference;
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
    let mut world = World::new(request.architecture, offers, request.asked);
    let mut chosen = settle(&mut world)?;
    if request.recommends {
        add_recommended(&mut world, &mut chosen);
    }
    let candidates: Vec<_> = chosen.iter().filter_map(|id| world.candidate(*id)).collect();
    let infos: Vec<_> = candidates.iter().map(|candidate| candidate.info).collect();
    validate::check(request.asked, &infos).map_err(Failure::Unsound)?;
    Ok(candidates)
}

/// How often a choice is made once more, because the last one shows that others are preferable.
const ROUNDS: usize = 16;

/// Chooses what is asked for and what it requires. Which packages are preferred depends on what else is
/// chosen: on what that likes, and on whether it brings along another one that would have done.
fn settle(world: &mut World<'_>) -> Result<BTreeSet<Id>, Failure> {
    let root = BTreeSet::from([world.root()]);
    let mut chosen = search(world)?;
    for _ in 0..ROUNDS {
        let (needed, decisions) = closure(world, &root, &chosen);
        let is_settled = !world.like_as(&needed) && !world.exchange(&decisions, &needed);
        let Some(better) = (!is_settled).then(|| search(world).ok()).flatten() else { break };
        chosen = better;
    }
    let (mut needed, _) = closure(world, &root, &chosen);
    needed.retain(|id| world.candidate(*id).is_some());
    Ok(needed)
}

/// Chooses what is asked for and what it requires, and perhaps more.
fn search(world: &World<'_>) -> Result<BTreeSet<Id>, Failure> {
    match solver::solve(world, &[world.root()], &[]) {
        Answer::Chosen(chosen) => Ok(chosen),
        Answer::TooHard => Err(Failure::TooHard),
        Answer::Impossible => Err(Failure::Conflict(explain::explain(world))),
    }
}

/// A group of which one must be taken, and which one was.
type Decision = (Vec<Id>, Id);

/// Those of a choice that `wanted` ones need, and these, with the decisions that were made. Where several
/// of them meet a requirement, whoever is needed anyway does, or else the most preferred.
fn closure(
    world: &World<'_>,
    wanted: &BTreeSet<Id>,
    chosen: &BTreeSet<Id>,
) -> (BTreeSet<Id>, Vec<Decision>) {
    let meter = Meter::default();
    let mut needed = wanted.clone();
    let mut open: Vec<Id> = wanted.iter().copied().collect();
    let mut undecided: VecDeque<Vec<Id>> = VecDeque::new();
    let mut decisions = Vec::new();
    loop {
        while let Some(id) = open.pop() {
            for group in world.consequences(id, &meter).unwrap_or_default().needs {
                let mut there = group.iter().filter(|id| chosen.contains(id));
                match (there.next(), there.next()) {
                    (Some(one), None) => open.extend(needed.insert(*one).then_some(*one)),
                    _ => undecided.push_back(group),
                }
            }
        }
        let Some(group) = undecided.pop_front() else { break };
        let taken = group.iter().copied().find(|id| chosen.contains(id));
        if let Some(taken) = taken.filter(|_| !group.iter().any(|id| needed.contains(id))) {
            needed.insert(taken);
            open.push(taken);
            decisions.push((group, taken));
        }
    }
    (needed, decisions)
}

/// Adds who asks to go with what is chosen, and what is recommended, each with what it requires, as far
/// as all stays installable; and so on, until nothing is added.
fn add_recommended(world: &mut World<'_>, chosen: &mut BTreeSet<Id>) {
    let mut refused: BTreeSet<Id> = BTreeSet::new();
    loop {
        world.like_as(chosen);
        let wishes = Wishes::of(world, chosen, &refused);
        if wishes.best.is_empty() {
            return;
        }
        for group in wishes.groups {
            let is_open = |id: &Id| wishes.best.contains(id) && !refused.contains(id);
            let Some(next) = group.iter().copied().find(is_open) else { continue };
            if group.iter().any(|id| chosen.contains(id)) {
                continue;
            }
            let wanted: BTreeSet<Id> =
                [world.root(), next].into_iter().chain(chosen.iter().copied()).collect();
            let required: Vec<Id> = wanted.iter().copied().collect();
            match solver::solve(world, &required, &[]) {
                Answer::Chosen(more) => {
                    let (mut needed, _) = closure(world, &wanted, &more);
                    needed.retain(|id| world.candidate(*id).is_some());
                    *chosen = needed;
                }
                _ => refused.extend([next]),
            }
        }
    }
}

/// What goes with a choice.
struct Wishes {
    /// Groups of which one is wished for each: those first who ask for it themselves.
    groups: Vec<Vec<Id>>,
    /// The latest versions of all of them that can be had.
    best: BTreeSet<Id>,
}

impl Wishes {
    fn of(world: &World<'_>, chosen: &BTreeSet<Id>, refused: &BTreeSet<Id>) -> Self {
        let is_open = |id: &Id| !chosen.contains(id) && !refused.contains(id);
        let mut going: Vec<Id> = world.supplementing(chosen);
        going.retain(|id| is_open(id));
        world.sort(&mut going);
        let mut groups: Vec<Vec<Id>> = going.into_iter().map(|id| vec![id]).collect();
        for group in chosen.iter().flat_map(|id| world.recommended(*id, chosen)) {
            groups.push(group.into_iter().filter(|id| is_open(id)).collect());
        }
        let mut all: Vec<Id> = groups.iter().flatten().copied().collect();
        all.sort_unstable();
        all.dedup();
        let best = preference::best(world, &all).into_iter().collect();
        Self { groups, best }
    }
}

#[cfg(test)]
mod tests;
