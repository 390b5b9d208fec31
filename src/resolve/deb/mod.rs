//! Choosing Debian packages as apt does, and as mmdebstrap asks apt to.
//!
//! Repositories and a request come in, the chosen packages go out, sorted by name. As there, the
//! essential packages are chosen first and by themselves, then the rest beside them: so what an
//! essential package prefers does not depend on what is asked for. Whatever comes out has been
//! checked by [`validate`], which does not know how it was found.
//!
//! Where apt would give up because of the order of its steps, this may still find an answer.

mod explain;
pub(super) mod question;
pub mod validate;
pub mod world;

use std::collections::{BTreeMap, BTreeSet};

use self::explain::Origin;
use self::validate::Flaw;
use self::world::{Candidate, Id, Offer, World};
use super::conflict::{Conflict, Sentence};
use super::solver::{self, Answer};
use crate::recipe::Variant;

/// What is to be installed.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Debian's name of the architecture: `amd64`.
    pub native: &'a str,
    /// Names of packages.
    pub asked: Vec<&'a str>,
    /// What is installed in any case.
    pub variant: Variant,
    /// Whether recommended packages come along where they can.
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
    let world = World::new(request.native, offers);
    let asked = find_asked(&world, &request.asked)?;
    let essential = roots(&world, Origin::Essential, |c| c.essential);
    let mut rest = BTreeMap::new();
    if request.variant == Variant::Required {
        rest.extend(roots(&world, Origin::Required, |c| c.required && !c.essential));
    }
    rest.extend(asked.iter().map(|id| (*id, Origin::Asked)));

    let mut chosen = choose_in_two_steps(&world, &essential, &rest)?;
    if request.recommends {
        chosen = add_recommended(&world, chosen);
    }
    let chosen: Vec<_> = chosen.iter().map(|id| *world.candidate(*id)).collect();
    let required: Vec<_> =
        essential.keys().chain(rest.keys()).map(|id| world.package(*id).name).collect();
    let packages: Vec<_> = chosen.iter().map(|candidate| candidate.package).collect();
    validate::check(request.native, &required, &packages).map_err(Failure::Unsound)?;
    Ok(chosen)
}

/// Finds what is asked for by name. A name that others provide is enough if only one does.
fn find_asked(world: &World<'_>, names: &[&str]) -> Result<BTreeSet<Id>, Failure> {
    let mut found = BTreeSet::new();
    let mut sentences = Vec::new();
    for name in names {
        let providers: BTreeSet<Id> = world.providers(name).collect();
        match (world.named(name), providers.len()) {
            (Some(id), _) => drop(found.insert(id)),
            (None, 1) => found.extend(providers),
            (None, 0) => {
                sentences.push(Sentence::plain(format!("{name}: no repository has it")));
            }
            (None, _) => {
                let by: Vec<_> = providers.iter().map(|id| world.package(*id).name).collect();
                let by = by.join(", ");
                let text = format!("{name} is provided by several packages: ask for one of {by}");
                sentences.push(Sentence::plain(text));
            }
        }
    }
    if sentences.is_empty() { Ok(found) } else { Err(Failure::Conflict(Conflict { sentences })) }
}

fn roots(
    world: &World<'_>,
    origin: Origin,
    belongs: impl Fn(&Candidate<'_>) -> bool,
) -> BTreeMap<Id, Origin> {
    world.ids().filter(|id| belongs(world.candidate(*id))).map(|id| (id, origin)).collect()
}

/// First the essential packages with what they need, then the rest beside that; all at once only
/// where that is impossible.
fn choose_in_two_steps(
    world: &World<'_>,
    essential: &BTreeMap<Id, Origin>,
    rest: &BTreeMap<Id, Origin>,
) -> Result<BTreeSet<Id>, Failure> {
    let solve = |required: &mut dyn Iterator<Item = Id>| {
        solver::solve(world, &required.collect::<Vec<_>>(), &[])
    };
    let first = match solve(&mut essential.keys().copied()) {
        Answer::Chosen(first) => first,
        Answer::Impossible => return Err(Failure::Conflict(explain::explain(world, essential))),
        Answer::TooHard => return Err(Failure::TooHard),
    };
    let second = solve(&mut first.iter().chain(rest.keys()).copied());
    let answer = match second {
        Answer::Impossible => solve(&mut essential.keys().chain(rest.keys()).copied()),
        answer => answer,
    };
    match answer {
        Answer::Chosen(chosen) => Ok(chosen),
        Answer::TooHard => Err(Failure::TooHard),
        Answer::Impossible => {
            let all = essential.iter().chain(rest).map(|(id, origin)| (*id, *origin)).collect();
            Err(Failure::Conflict(explain::explain(world, &all)))
        }
    }
}

/// Adds what the chosen packages recommend, and what that recommends, as far as it can be added
/// without removing anything. Of alternatives the first that fits.
fn add_recommended(world: &World<'_>, mut chosen: BTreeSet<Id>) -> BTreeSet<Id> {
    let mut tried = BTreeSet::new();
    loop {
        let wanted = wanted(world, &chosen, &tried);
        if wanted.is_empty() {
            return chosen;
        }
        tried.extend(wanted.iter().copied());
        let required: Vec<Id> = chosen.iter().copied().collect();
        if let Answer::Chosen(more) = solver::solve(world, &required, &wanted) {
            chosen.extend(more);
        }
    }
}

/// For each recommendation that nothing chosen meets, the first way that was not tried.
fn wanted(world: &World<'_>, chosen: &BTreeSet<Id>, tried: &BTreeSet<Id>) -> Vec<Id> {
    let mut wanted = Vec::new();
    for id in chosen {
        for alternatives in world.recommends(*id).unwrap_or_default() {
            let ways: Vec<Id> = alternatives.iter().flat_map(|r| world.satisfying(r)).collect();
            if !ways.iter().any(|way| chosen.contains(way) || wanted.contains(way)) {
                wanted.extend(ways.into_iter().find(|way| !tried.contains(way)));
            }
        }
    }
    wanted
}

#[cfg(test)]
mod tests;
