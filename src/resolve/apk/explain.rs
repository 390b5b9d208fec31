//! Why a request cannot be met, in words that a person can act on.
//!
//! In: a world whose request has no answer; out: sentences. First the smallest part of the request is
//! looked for that has no answer either; then, along what each package needs, the thing that nobody
//! has, or two packages that exclude each other.

use std::collections::BTreeSet;

use super::super::conflict::{Conflict, Sentence};
use super::world::World;
use crate::package::apk::relation::Relation;
use crate::resolve::solver::{self, Answer, Consequences, Id, Meter, Universe};

/// How long a chain of needs is followed.
const DEEPEST: usize = 8;

/// Explains.
pub(super) fn explain(world: &World<'_>) -> Conflict {
    let core = smallest(world);
    let mut sentences: Vec<_> = core
        .iter()
        .filter(|relation| !relation.refuses)
        .filter_map(|relation| why_not(world, relation, "", &mut Vec::new()))
        .collect();
    if sentences.is_empty() {
        sentences = exclusions(world, &core);
    }
    if sentences.is_empty() {
        let words: Vec<_> = core.iter().map(ToString::to_string).collect();
        let text = format!("{} cannot be installed together", words.join(", "));
        sentences.push(Sentence::plain(text));
    }
    Conflict { sentences }
}

/// A world with another request.
struct Asking<'w, 'a> {
    world: &'w World<'a>,
    asked: Vec<Relation<'a>>,
}

impl Universe for Asking<'_, '_> {
    fn consequences(&self, id: Id, meter: &Meter) -> Option<Consequences> {
        if id != self.world.root() {
            return self.world.consequences(id, meter);
        }
        let mut consequences = Consequences::default();
        for relation in &self.asked {
            let found = self.world.satisfying(relation);
            match (relation.refuses, found.is_empty()) {
                (true, _) => consequences.refuses.extend(found),
                (false, true) => return None,
                (false, false) => consequences.needs.push(found),
            }
        }
        Some(consequences)
    }

    fn name(&self, id: Id) -> &str {
        self.world.name(id)
    }
}

fn is_impossible(world: &World<'_>, asked: Vec<Relation<'_>>) -> bool {
    let asking = Asking { world, asked };
    solver::solve(&asking, &[world.root()], &[]) == Answer::Impossible
}

/// The smallest part of the request that cannot be met: each thing is left out in turn.
fn smallest<'a>(world: &World<'a>) -> Vec<Relation<'a>> {
    let mut core = world.asked().to_vec();
    let mut at = 0;
    while at < core.len() {
        let mut fewer = core.clone();
        fewer.remove(at);
        if is_impossible(world, fewer.clone()) {
            core = fewer;
        } else {
            at = at.saturating_add(1);
        }
    }
    core
}

/// Says why a relation cannot be met by itself; none if it can. `owner` needs it; nobody, if it was
/// asked for.
fn why_not<'a>(
    world: &World<'a>,
    relation: &Relation<'a>,
    owner: &str,
    chain: &mut Vec<&'a str>,
) -> Option<Sentence> {
    let head =
        if owner.is_empty() { relation.to_string() } else { format!("{owner} needs {relation}") };
    let candidates = world.satisfying(relation);
    let Some(first) = candidates.first() else {
        return Some(Sentence { text: head, because: vec![nobody(world, relation)] });
    };
    if chain.len() >= DEEPEST || chain.contains(&relation.name) {
        return None;
    }
    if !is_impossible(world, vec![*relation]) {
        return None;
    }
    chain.push(relation.name);
    let info = world.info(*first);
    let named = format!("{} {}", info.name, info.version);
    let needs = info.depends.iter().filter(|need| !need.refuses);
    let because: Vec<_> =
        needs.filter_map(|need| why_not(world, need, &named, chain)).take(3).collect();
    chain.pop();
    let because = match because.is_empty() {
        true => exclusions(world, &info.depends),
        false => because,
    };
    Some(Sentence { text: head, because })
}

/// Why nobody meets a relation.
fn nobody(world: &World<'_>, relation: &Relation<'_>) -> Sentence {
    let providers = world.providers(relation.name);
    let mut known: Vec<_> = providers.iter().map(|p| world.info(p.by)).collect();
    known.dedup_by_key(|info| info.name);
    let names: BTreeSet<_> = known.iter().map(|info| info.name).collect();
    let names: Vec<_> = names.into_iter().collect();
    let text = match known.as_slice() {
        [] => format!("no repository has {}", relation.name),
        _ if providers.iter().any(|provider| world.is_meant(relation, provider)) => {
            let by = names.join(", ");
            format!("{} is provided by {by}, of which one must be asked for", relation.name)
        }
        _ => {
            let version = |p: &super::world::Provider<'_>| {
                p.version.map_or_else(|| "no version".to_owned(), |version| version.to_string())
            };
            let versions: Vec<_> = providers.iter().map(version).collect();
            format!("{} is there as {}", relation.name, versions.join(", "))
        }
    };
    Sentence::plain(text)
}

/// Pairs among what all of `relations` lead to without a choice, that exclude each other.
fn exclusions<'a>(world: &World<'a>, relations: &[Relation<'a>]) -> Vec<Sentence> {
    let mut forced: Vec<Id> = Vec::new();
    let mut pending: Vec<Relation<'a>> = relations.to_vec();
    while let Some(relation) = pending.pop() {
        if let (false, [only]) = (relation.refuses, world.satisfying(&relation).as_slice())
            && !forced.contains(only)
        {
            forced.push(*only);
            pending.extend(world.info(*only).depends.iter().copied());
        }
    }
    let meter = Meter::default();
    let refused = |id: &Id| world.consequences(*id, &meter).unwrap_or_default().refuses;
    let mut sentences = Vec::new();
    for (at, one) in forced.iter().enumerate() {
        let refused = refused(one);
        let others = forced
            .iter()
            .enumerate()
            .filter(|(place, other)| *place != at && refused.contains(other));
        for (_, other) in others.take(1) {
            let named = |id: &Id| format!("{} {}", world.info(*id).name, world.info(*id).version);
            sentences.push(Sentence::plain(format!("{} excludes {}", named(one), named(other))));
        }
    }
    sentences.extend(refused_by_request(world, relations, &forced));
    sentences.truncate(4);
    sentences
}

/// What is needed and was asked not to be there.
fn refused_by_request<'a>(
    world: &World<'a>,
    relations: &[Relation<'a>],
    forced: &[Id],
) -> Vec<Sentence> {
    let mut sentences = Vec::new();
    for relation in relations.iter().filter(|relation| relation.refuses) {
        let meant = world.providers(relation.name).iter();
        let mut meant = meant.filter(|p| forced.contains(&p.by) && world.is_meant(relation, p));
        if let Some(provider) = meant.next() {
            let info = world.info(provider.by);
            let text =
                format!("{relation} rules out {} {}, which is needed", info.name, info.version);
            sentences.push(Sentence::plain(text));
        }
    }
    sentences
}
