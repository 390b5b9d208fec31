//! Why a request cannot be met: a search for reasons, apart from the search for a solution.
//!
//! The packages that must be there come in, known to be impossible together; sentences go out.
//! First the request is reduced to packages that are impossible already, then what follows from
//! them is derived step by step, as a person would: this must be there, so that cannot be, so
//! nothing is left that meets this need. Where only trying shows that each alternative fails, each
//! is tried once; beyond that, the packages are named without a reason.

use std::collections::{BTreeMap, BTreeSet};

use super::world::{Id, World};
use crate::package::deb::relation::{Alternatives, Relation};
use crate::resolve::conflict::{Conflict, Sentence};
use crate::resolve::solver::{self, Answer};

/// Why a package must be there, where no other package needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The recipe names it.
    Asked,
    /// The release calls it essential.
    Essential,
    /// The release gives it the priority `required`.
    Required,
}

impl Origin {
    const fn words(self) -> &'static str {
        match self {
            Self::Asked => "is asked for",
            Self::Essential => "is essential",
            Self::Required => "has the priority required",
        }
    }
}

/// Explains why `roots` are impossible together.
pub(super) fn explain(world: &World<'_>, roots: &BTreeMap<Id, Origin>) -> Conflict {
    let roots = reduce(world, roots);
    let sentences = Facts::new(world, &roots).and_then(Facts::contradiction);
    Conflict { sentences: sentences.unwrap_or_else(|| name_only(world, &roots)) }
}

fn name_only(world: &World<'_>, roots: &BTreeMap<Id, Origin>) -> Vec<Sentence> {
    let asked = |(id, origin): (&Id, &Origin)| {
        Sentence::plain(format!("{} {}", full(world, *id), origin.words()))
    };
    let mut sentences: Vec<_> = roots.iter().take(20).map(asked).collect();
    sentences.push(Sentence::plain("each choice among what they need leads to a contradiction"));
    sentences
}

/// Leaves out whatever is not needed for the contradiction: first all that nobody asked for, then
/// one after the other.
fn reduce(world: &World<'_>, roots: &BTreeMap<Id, Origin>) -> BTreeMap<Id, Origin> {
    let impossible = |roots: &BTreeMap<Id, Origin>| {
        let required: Vec<Id> = roots.keys().copied().collect();
        solver::solve(world, &required, &[]) == Answer::Impossible
    };
    let mut kept = roots.clone();
    kept.retain(|_, origin| *origin == Origin::Asked);
    if !impossible(&kept) {
        kept.clone_from(roots);
    }
    for id in kept.keys().copied().collect::<Vec<_>>() {
        let mut fewer = kept.clone();
        fewer.remove(&id);
        if impossible(&fewer) {
            kept = fewer;
        }
    }
    kept
}

/// Name and version: `bash 5.2-1`.
fn full(world: &World<'_>, id: Id) -> String {
    let package = world.package(id);
    format!("{} {}", package.name, package.version)
}

fn shown(alternatives: &Alternatives<'_>) -> String {
    alternatives.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
}

/// Why a package must be there.
#[derive(Debug, Clone, Copy)]
enum Cause {
    Root(Origin),
    NeededBy(Id),
}

/// Why a package cannot be there.
#[derive(Debug, Clone)]
enum Bar {
    /// One that must be there refuses it, or it refuses that one: who refuses, what, and whom.
    Refused { by: Id, relation: String, whom: Id },
    /// This one of its needs, by number, is met by nothing.
    Unmet(usize),
    /// Its relations cannot be understood.
    Unreadable(String),
}

/// One need of a package: its alternatives, and who would satisfy it.
#[derive(Debug)]
struct Need<'a> {
    alternatives: Alternatives<'a>,
    satisfied_by: Vec<Id>,
}

/// The relations of a package.
#[derive(Debug, Default)]
struct Relations<'a> {
    needs: Vec<Need<'a>>,
    refuses: Vec<(Relation<'a>, Vec<Id>)>,
    unreadable: Option<String>,
}

/// A contradiction.
enum Contradiction {
    /// A package that must be there cannot be there.
    Barred(Id),
    /// A need, by number, of a package that must be there is met by nothing.
    Unmet(Id, usize),
}

/// What follows from the packages that must be there.
struct Facts<'w, 'a> {
    world: &'w World<'a>,
    relations: BTreeMap<Id, Relations<'a>>,
    must: BTreeMap<Id, Cause>,
    cannot: BTreeMap<Id, Bar>,
}

/// Relations beyond which no reason is looked for.
const MAX_RELATIONS: usize = 1_000_000;
/// How deep reasons of reasons are told, and how many of one kind.
const MAX_DEPTH: usize = 8;
const MAX_WIDTH: usize = 6;

impl<'w, 'a> Facts<'w, 'a> {
    /// Collects all that can be reached from the roots. None, if that is too much.
    fn new(world: &'w World<'a>, roots: &BTreeMap<Id, Origin>) -> Option<Self> {
        let mut relations = BTreeMap::new();
        let mut waiting: Vec<Id> = roots.keys().copied().collect();
        let mut count = 0_usize;
        while let Some(id) = waiting.pop() {
            if relations.contains_key(&id) {
                continue;
            }
            let read = read_relations(world, id);
            let reached = read.needs.iter().flat_map(|need| need.satisfied_by.iter().copied());
            waiting.extend(reached);
            let lists = read.refuses.iter().map(|(_, list)| list.len());
            let sizes = lists.chain(read.needs.iter().map(|need| need.satisfied_by.len()));
            count = count.saturating_add(sizes.sum::<usize>());
            if count > MAX_RELATIONS {
                return None;
            }
            relations.insert(id, read);
        }
        let must = roots.iter().map(|(id, origin)| (*id, Cause::Root(*origin))).collect();
        Some(Self { world, relations, must, cannot: BTreeMap::new() })
    }

    /// Derives facts until they contradict each other, and tells how. None, if they do not.
    fn contradiction(mut self) -> Option<Vec<Sentence>> {
        if let Some(found) = self.derive() {
            return Some(self.tell(&found, 0));
        }
        let open: Vec<(Id, usize)> = self.open_needs().take(100).collect();
        open.into_iter().find_map(|(id, number)| self.try_each(id, number))
    }

    /// The needs that are met by nothing yet, and in more than one way.
    fn open_needs(&self) -> impl Iterator<Item = (Id, usize)> {
        self.must.keys().flat_map(|id| {
            let needs = self.relations.get(id).map(|r| r.needs.as_slice()).unwrap_or_default();
            let is_open = |need: &Need<'_>| {
                !need.satisfied_by.iter().any(|other| self.must.contains_key(other))
            };
            let open = needs.iter().enumerate().filter(move |(_, need)| is_open(need));
            open.map(|(number, _)| (*id, number))
        })
    }

    /// Tries all ways to meet a need. If each leads to a contradiction, tells them.
    fn try_each(&mut self, id: Id, number: usize) -> Option<Vec<Sentence>> {
        let need = self.relations.get(&id)?.needs.get(number)?;
        let (words, ways) = (shown(&need.alternatives), need.satisfied_by.clone());
        let mut because = Vec::new();
        for way in ways {
            if self.cannot.contains_key(&way) {
                because.push(self.why_not(way, 1));
                continue;
            }
            let before = (self.must.clone(), self.cannot.clone());
            self.must.insert(way, Cause::NeededBy(id));
            let contradiction = self.derive().map(|found| self.tell(&found, 2));
            (self.must, self.cannot) = before;
            let text = format!("{} is no way out", full(self.world, way));
            because.push(Sentence { text, because: contradiction? });
        }
        let mut sentences = self.why(id);
        sentences
            .push(Sentence { text: format!("{} needs {words}", full(self.world, id)), because });
        Some(sentences)
    }

    /// Adds what follows, until nothing new does or a contradiction is found.
    fn derive(&mut self) -> Option<Contradiction> {
        loop {
            let before = (self.must.len(), self.cannot.len());
            let bars: Vec<(Id, Bar)> = self
                .relations
                .keys()
                .filter(|id| !self.cannot.contains_key(id))
                .filter_map(|id| Some((*id, self.bar(*id)?)))
                .collect();
            self.cannot.extend(bars);
            if let Some(id) = self.must.keys().find(|id| self.cannot.contains_key(id)) {
                return Some(match self.cannot.get(id) {
                    Some(Bar::Unmet(number)) => Contradiction::Unmet(*id, *number),
                    _ => Contradiction::Barred(*id),
                });
            }
            let only: Vec<(Id, Id)> = self
                .open_needs()
                .filter_map(|(id, number)| Some((self.only_way(id, number)?, id)))
                .collect();
            for (way, by) in only {
                self.must.entry(way).or_insert(Cause::NeededBy(by));
            }
            if before == (self.must.len(), self.cannot.len()) {
                return None;
            }
        }
    }

    /// Returns why this package cannot be there, as far as the facts say.
    fn bar(&self, id: Id) -> Option<Bar> {
        let relations = self.relations.get(&id)?;
        if let Some(entry) = &relations.unreadable {
            return Some(Bar::Unreadable(entry.clone()));
        }
        let barred = |other: &Id| self.cannot.contains_key(other);
        let unmet = |need: &Need<'_>| need.satisfied_by.iter().all(barred);
        if let Some(number) = relations.needs.iter().position(unmet) {
            return Some(Bar::Unmet(number));
        }
        let refused = |by: Id, relation: &Relation<'_>, whom: Id| Bar::Refused {
            by,
            relation: relation.to_string(),
            whom,
        };
        for (relation, whom) in &relations.refuses {
            if let Some(whom) = whom.iter().find(|whom| self.must.contains_key(whom)) {
                return Some(refused(id, relation, *whom));
            }
        }
        self.must.keys().find_map(|by| {
            let refuses = &self.relations.get(by)?.refuses;
            let (relation, _) = refuses.iter().find(|(_, whom)| whom.contains(&id))?;
            Some(refused(*by, relation, id))
        })
    }

    /// Returns the only package that can meet a need, if there is just one.
    fn only_way(&self, id: Id, number: usize) -> Option<Id> {
        let need = self.relations.get(&id)?.needs.get(number)?;
        let possible = |other: &&Id| !self.cannot.contains_key(other);
        let ways: BTreeSet<Id> = need.satisfied_by.iter().filter(possible).copied().collect();
        if ways.len() == 1 { ways.first().copied() } else { None }
    }

    fn tell(&self, contradiction: &Contradiction, depth: usize) -> Vec<Sentence> {
        match *contradiction {
            Contradiction::Barred(id) => {
                let mut sentences = self.why(id);
                sentences.push(self.why_not(id, depth));
                sentences
            }
            Contradiction::Unmet(id, number) => {
                let mut sentences = self.why(id);
                sentences.push(self.unmet(id, number, depth));
                sentences
            }
        }
    }

    /// Tells why a package must be there: who asked, and the chain of needs from there.
    fn why(&self, id: Id) -> Vec<Sentence> {
        let (mut chain, mut at) = (Vec::new(), id);
        while let Some(cause) = self.must.get(&at) {
            match *cause {
                Cause::Root(origin) => {
                    let text = format!("{} {}", full(self.world, at), origin.words());
                    chain.push(Sentence::plain(text));
                    break;
                }
                Cause::NeededBy(by) => {
                    let text = format!("{} needs {}", full(self.world, by), self.need_for(by, at));
                    chain.push(Sentence::plain(text));
                    at = by;
                }
            }
        }
        chain.reverse();
        chain
    }

    /// Which need of `by` it is that `id` meets.
    fn need_for(&self, by: Id, id: Id) -> String {
        let needs = self.relations.get(&by).map(|r| r.needs.as_slice()).unwrap_or_default();
        let need = needs.iter().find(|need| need.satisfied_by.contains(&id));
        need.map(|need| shown(&need.alternatives)).unwrap_or_default()
    }

    fn why_not(&self, id: Id, depth: usize) -> Sentence {
        let name = full(self.world, id);
        match self.cannot.get(&id) {
            Some(Bar::Refused { by, relation, whom }) => {
                let other = if *by == id { *whom } else { *by };
                let text = if *by == id {
                    format!("{name} refuses {relation}, which {} is", full(self.world, *whom))
                } else {
                    format!("{} refuses {relation}, which {name} is", full(self.world, *by))
                };
                let told = depth >= MAX_DEPTH;
                Sentence { text, because: if told { Vec::new() } else { self.why(other) } }
            }
            Some(Bar::Unmet(number)) => self.unmet(id, *number, depth),
            Some(Bar::Unreadable(entry)) => {
                Sentence::plain(format!("{name} has a relation without a meaning: {entry}"))
            }
            None => Sentence::plain(format!("{name} cannot be there")),
        }
    }

    /// Tells which need is not met, and why each way to meet it is closed.
    fn unmet(&self, id: Id, number: usize, depth: usize) -> Sentence {
        let need = self.relations.get(&id).and_then(|relations| relations.needs.get(number));
        let Some(need) = need else { return Sentence::plain("a need is not met") };
        let text = format!("{} needs {}", full(self.world, id), shown(&need.alternatives));
        if depth >= MAX_DEPTH {
            return Sentence::plain(text);
        }
        let mut because = Vec::new();
        for relation in &need.alternatives {
            let ways = self.world.satisfying(relation);
            because.extend(ways.iter().map(|way| self.why_not(*way, depth.saturating_add(1))));
            if ways.is_empty() {
                because.push(self.nobody(relation));
            }
        }
        if because.len() > MAX_WIDTH {
            let more = because.len().saturating_sub(MAX_WIDTH);
            because.truncate(MAX_WIDTH);
            because.push(Sentence::plain(format!("and {more} more that cannot be there")));
        }
        Sentence { text, because }
    }

    /// Tells why no candidate satisfies a relation.
    fn nobody(&self, relation: &Relation<'_>) -> Sentence {
        let name = relation.name;
        if let Some(id) = self.world.named(name) {
            let package = self.world.package(id);
            let (version, origin) = (package.version, self.world.origin(id));
            return Sentence::plain(if relation.allows(version) {
                format!("{name} {version} does not serve other architectures, as {relation} asks")
            } else {
                format!("{name} is {version} in {origin}")
            });
        }
        let by: Vec<String> =
            self.world.providers(name).take(MAX_WIDTH).map(|id| full(self.world, id)).collect();
        Sentence::plain(if by.is_empty() {
            format!("no repository has {name}")
        } else {
            format!("{name} is provided by {}, but not in such a version", by.join(", "))
        })
    }
}

fn read_relations<'a>(world: &World<'a>, id: Id) -> Relations<'a> {
    let (needs, refuses) = match (world.needs(id), world.refuses(id)) {
        (Ok(needs), Ok(refuses)) => (needs, refuses),
        (Err(error), _) | (_, Err(error)) => {
            return Relations { unreadable: Some(error.to_string()), ..Relations::default() };
        }
    };
    let need = |alternatives: Alternatives<'a>| Need {
        satisfied_by: alternatives.iter().flat_map(|r| world.satisfying(r)).collect(),
        alternatives,
    };
    let refuses = refuses.into_iter().map(|r| (r, world.ruled_out(id, &r))).collect();
    Relations { needs: needs.into_iter().map(need).collect(), refuses, unreadable: None }
}
