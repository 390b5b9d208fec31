//! Why a request cannot be met, in words that a person can act on.
//!
//! In: a world whose request has no answer; out: sentences. First the smallest part of the request is
//! looked for that has no answer either; then, along what each package requires, the thing that nobody
//! has, or two packages that exclude each other.

use std::collections::BTreeSet;

use super::world::World;
use crate::package::rpm::relation::{Dependency, Relation};
use crate::resolve::conflict::{Conflict, Sentence};
use crate::resolve::solver::{self, Answer, Consequences, Id, Meter, Universe};

/// How long a chain of needs is followed.
const DEEPEST: usize = 8;

/// Explains.
pub(super) fn explain(world: &World<'_>) -> Conflict {
    let core = smallest(world);
    let mut sentences: Vec<Sentence> =
        core.iter().filter_map(|group| why_not(world, group, &mut Vec::new())).collect();
    if sentences.is_empty() {
        sentences = exclusions(world, &core);
    }
    if sentences.is_empty() {
        let words: Vec<_> = core.iter().map(|need| need.text.as_str()).collect();
        let text = format!("{} cannot be installed together", words.join(", "));
        sentences.push(Sentence::plain(text));
    }
    Conflict { sentences }
}

/// Something that is needed, in words, and the groups that it means.
#[derive(Clone)]
struct Need {
    text: String,
    groups: Vec<Vec<Id>>,
    /// What nobody has, if that is the case.
    missing: Option<String>,
}

impl Need {
    fn asked(world: &World<'_>, name: &str) -> Self {
        let found = world.asked_for(name);
        let missing = found.is_empty().then(|| format!("no repository has {name}"));
        Self { text: name.to_owned(), groups: vec![found], missing }
    }

    fn of(world: &World<'_>, owner: &str, dependency: &Dependency<'_>) -> Self {
        let groups = super::clause::needs(world, dependency);
        let missing = groups.iter().any(Vec::is_empty).then(|| nobody(world, dependency));
        Self { text: format!("{owner} needs {dependency}"), groups, missing }
    }
}

/// Why nobody meets a dependency.
fn nobody(world: &World<'_>, dependency: &Dependency<'_>) -> String {
    let lacking = |relation: &&&Relation<'_>| world.meeting(relation).is_empty();
    let relations = dependency.relations();
    let Some(relation) = relations.iter().find(lacking) else {
        return format!("no package alone is {dependency}");
    };
    let there: BTreeSet<String> =
        world.providers(relation.name).iter().map(|(_, provided)| provided.to_string()).collect();
    match there.is_empty() {
        true => format!("no repository has {}", relation.name),
        false => {
            let there: Vec<_> = there.into_iter().collect();
            format!("there is only {}", there.join(", "))
        }
    }
}

/// A world with another request.
struct Asking<'w, 'a> {
    world: &'w World<'a>,
    needs: &'w [Need],
}

impl Universe for Asking<'_, '_> {
    fn consequences(&self, id: Id, meter: &Meter) -> Option<Consequences> {
        if id != self.world.root() {
            return self.world.consequences(id, meter);
        }
        let needs: Vec<_> = self.needs.iter().flat_map(|need| need.groups.clone()).collect();
        let possible = !needs.iter().any(Vec::is_empty);
        possible.then_some(Consequences { needs, refuses: Vec::new() })
    }

    fn name(&self, id: Id) -> &str {
        self.world.name(id)
    }
}

fn is_impossible(world: &World<'_>, needs: &[Need]) -> bool {
    solver::solve(&Asking { world, needs }, &[world.root()], &[]) == Answer::Impossible
}

/// The smallest part of the request that cannot be met: everything that nobody has, or else each thing is
/// left out in turn.
fn smallest(world: &World<'_>) -> Vec<Need> {
    let mut core: Vec<Need> = world.asked().iter().map(|name| Need::asked(world, name)).collect();
    if core.iter().any(|need| need.missing.is_some()) {
        core.retain(|need| need.missing.is_some());
        return core;
    }
    let mut at = 0;
    while at < core.len() {
        let mut fewer = core.clone();
        fewer.remove(at);
        match is_impossible(world, &fewer) {
            true => core = fewer,
            false => at = at.saturating_add(1),
        }
    }
    core
}

/// Says why something cannot be had by itself; none if it can.
fn why_not(world: &World<'_>, need: &Need, chain: &mut Vec<Id>) -> Option<Sentence> {
    if let Some(missing) = &need.missing {
        let because = vec![Sentence::plain(missing.clone())];
        return Some(Sentence { text: need.text.clone(), because });
    }
    let first = need.groups.first().and_then(|group| group.first()).copied()?;
    if chain.len() >= DEEPEST || chain.contains(&first) {
        return None;
    }
    if !is_impossible(world, std::slice::from_ref(need)) {
        return None;
    }
    let info = world.candidate(first)?.info;
    let owner = format!("{} {}", info.name, info.version);
    chain.push(first);
    let needs: Vec<_> = info.requires.iter().map(|one| Need::of(world, &owner, one)).collect();
    let because: Vec<_> =
        needs.iter().filter_map(|need| why_not(world, need, chain)).take(3).collect();
    chain.pop();
    let mut because = if because.is_empty() { exclusions(world, &needs) } else { because };
    if because.is_empty() {
        because.push(Sentence::plain(format!("what {owner} needs cannot be had all together")));
    }
    Some(Sentence { text: need.text.clone(), because })
}

/// Pairs among what all of `needs` lead to without a choice, that exclude each other.
fn exclusions(world: &World<'_>, needs: &[Need]) -> Vec<Sentence> {
    let meter = Meter::default();
    let mut forced: Vec<Id> = Vec::new();
    let mut pending: Vec<Vec<Id>> = needs.iter().flat_map(|need| need.groups.clone()).collect();
    while let Some(group) = pending.pop() {
        if let [only] = group.as_slice()
            && !forced.contains(only)
        {
            forced.push(*only);
            pending.extend(world.consequences(*only, &meter).unwrap_or_default().needs);
        }
    }
    let named = |id: &Id| {
        let candidate = world.candidate(*id);
        candidate.map_or_else(String::new, |one| format!("{} {}", one.info.name, one.info.version))
    };
    let mut sentences = Vec::new();
    for one in &forced {
        let refused = world.consequences(*one, &meter).unwrap_or_default().refuses;
        if let Some(other) = forced.iter().find(|other| refused.contains(other)) {
            sentences.push(Sentence::plain(format!("{} excludes {}", named(one), named(other))));
        }
    }
    sentences.truncate(4);
    sentences
}
