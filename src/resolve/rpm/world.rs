//! What could be installed: every package of the repositories that fits, and who provides what.
//!
//! The repositories' packages, the architecture and what is asked for come in. rpm's rules are these:
//! of packages with one name only one is installed; what a package obsoletes cannot be installed with
//! it; a file is provided by whoever has it. Which of several is preferred see `preference.rs`.
//! Specification: rpm-dependencies(7).

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::clause::{self, Extra};
use super::preference::{self, Liked};
use crate::package::rpm::info::Info;
use crate::package::rpm::relation::{Dependency, Relation};
use crate::resolve::solver::{Consequences, Id, Meter, Universe};

/// One repository.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// What people call it: its folder.
    pub name: &'a str,
    /// Its packages.
    pub packages: &'a [Info<'a>],
}

/// A package that could be installed.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The package.
    pub info: &'a Info<'a>,
    /// Which of the offers it is from: the first one that has it.
    pub offer: usize,
}

/// All candidates, sorted by name, later versions first.
#[derive(Debug)]
pub struct World<'a> {
    names: Vec<&'a str>,
    candidates: Vec<Candidate<'a>>,
    /// By name and by file: who provides it, in which version.
    providers: BTreeMap<&'a str, Vec<(Id, Relation<'a>)>>,
    asked: &'a [&'a str],
    liked: Liked,
    /// Groups, sorted, of which another than the most preferred one comes first.
    exchanged: BTreeMap<Vec<Id>, Id>,
    /// What stands for parts of rich dependencies.
    extras: RefCell<Vec<Extra>>,
}

impl<'a> World<'a> {
    /// Collects the candidates for `architecture`.
    pub fn new(architecture: &str, offers: &[Offer<'a>], asked: &'a [&'a str]) -> Self {
        let fits = |info: &&Info<'_>| {
            [architecture, "noarch"].contains(&info.architecture) && !info.unsupported
        };
        let mut candidates: Vec<Candidate<'a>> = Vec::new();
        for (offer, Offer { packages, .. }) in offers.iter().enumerate() {
            candidates.extend(packages.iter().filter(fits).map(|info| Candidate { info, offer }));
        }
        candidates.sort_by(|a, b| {
            let (one, other) = (a.info, b.info);
            let by_version = other.version.cmp(&one.version);
            let by_name = one.name.cmp(other.name).then(by_version);
            by_name.then_with(|| (one.architecture, a.offer).cmp(&(other.architecture, b.offer)))
        });
        candidates.dedup_by(|second, first| {
            let (one, other) = (first.info, second.info);
            (one.name, one.version, one.architecture)
                == (other.name, other.version, other.architecture)
        });
        let names = offers.iter().map(|offer| offer.name).collect();
        let (providers, extras) = (BTreeMap::new(), RefCell::new(Vec::new()));
        let (liked, exchanged) = (Liked::default(), BTreeMap::new());
        let mut world = Self { names, candidates, providers, asked, liked, exchanged, extras };
        world.collect_providers();
        world
    }

    fn collect_providers(&mut self) {
        let mut providers: BTreeMap<&'a str, Vec<(Id, Relation<'a>)>> = BTreeMap::new();
        for (id, candidate) in (0..).map(Id).zip(&self.candidates) {
            for provided in &candidate.info.provides {
                providers.entry(provided.name).or_default().push((id, *provided));
            }
            for name in &candidate.info.files {
                let relation = Relation { name, condition: None };
                providers.entry(name).or_default().push((id, relation));
            }
        }
        self.providers = providers;
    }

    /// The candidate that stands for all that is asked for.
    pub fn root(&self) -> Id {
        Id(u32::try_from(self.candidates.len()).unwrap_or(u32::MAX))
    }

    /// A candidate; none, if the id stands for the request or for a part of a rich dependency.
    pub fn candidate(&self, id: Id) -> Option<Candidate<'a>> {
        self.candidates.get(usize::try_from(id.0).unwrap_or(usize::MAX)).copied()
    }

    /// What people call the repository that a candidate is from.
    pub fn origin(&self, id: Id) -> &'a str {
        let offer = self.candidate(id).and_then(|candidate| self.names.get(candidate.offer));
        offer.copied().unwrap_or_default()
    }

    /// What is asked for.
    pub const fn asked(&self) -> &'a [&'a str] {
        self.asked
    }

    /// Who provides a name, in which version, in no order.
    pub fn providers(&self, name: &str) -> &[(Id, Relation<'a>)] {
        self.providers.get(name).map_or(&[], Vec::as_slice)
    }

    /// The candidates of a name, later versions first.
    pub fn named(&self, name: &str) -> Vec<Id> {
        let from = self.candidates.partition_point(|candidate| candidate.info.name < name);
        let ids = (0..).map(Id).zip(&self.candidates).skip(from);
        ids.take_while(|(_, candidate)| candidate.info.name == name).map(|(id, _)| id).collect()
    }

    /// Who meets a relation, by name, later versions first.
    pub fn meeting(&self, relation: &Relation<'_>) -> Vec<Id> {
        let providers = self.providers(relation.name).iter();
        let meant = providers.filter(|(_, provided)| relation.overlaps(provided));
        let mut ids: Vec<Id> = meant.map(|(id, _)| *id).collect();
        // A package may provide one thing more than once.
        ids.dedup();
        ids
    }

    /// Who can be installed when a name is asked for, the most preferred first: its packages and what
    /// obsoletes them, or else whoever provides it.
    pub fn asked_for(&self, name: &str) -> Vec<Id> {
        let named = self.named(name);
        let Some(latest) = named.first() else {
            let mut found = self.meeting(&Relation { name, condition: None });
            self.sort(&mut found);
            return found;
        };
        let mut found = named.clone();
        named.iter().for_each(|id| found.extend(self.successors(*id)));
        self.sort(&mut found);
        // What obsoletes earlier versions alone does not take the place of the latest.
        let successors = self.successors(*latest);
        found.sort_by_key(|id| id != latest && !successors.contains(id));
        found
    }

    /// Who obsoletes a package.
    fn successors(&self, id: Id) -> Vec<Id> {
        let Some(Candidate { info, .. }) = self.candidate(id) else { return Vec::new() };
        let is_meant =
            |relation: &Relation<'a>| relation.name == info.name && relation.allows(&info.version);
        let others =
            (0..).map(Id).zip(&self.candidates).filter(|(_, one)| one.info.name != info.name);
        let successors = others.filter(|(_, one)| one.info.obsoletes.iter().any(is_meant));
        successors.map(|(id, _)| id).collect()
    }

    /// Sorts packages that do equally well, the most preferred first.
    pub(super) fn sort(&self, group: &mut Vec<Id>) {
        preference::sort(self, &self.liked, group);
    }

    /// From now on, of packages that do equally well those are preferred that these like, besides those
    /// that others liked before. Tells whether that is anything new.
    pub(super) fn like_as(&mut self, chosen: &BTreeSet<Id>) -> bool {
        let liked = Liked::by(self, chosen);
        self.liked.extend(liked)
    }

    /// From now on, of the first group of which one was taken that needs another of them itself, that
    /// one comes first: it does alone. Tells whether there is such a group, and none that was seen before.
    pub(super) fn exchange(&mut self, decisions: &[(Vec<Id>, Id)], needed: &BTreeSet<Id>) -> bool {
        let enough = decisions.iter().find_map(|(group, taken)| {
            let other = group.iter().find(|id| *id != taken && needed.contains(id))?;
            Some((sorted(group), *other))
        });
        enough.is_some_and(|(group, other)| self.exchanged.insert(group, other) != Some(other))
    }

    fn put_exchanged_first(&self, group: &mut [Id]) {
        let first = self.exchanged.get(&sorted(group));
        if let Some(at) = first.and_then(|id| group.iter().position(|other| other == id)) {
            group.get_mut(..=at).unwrap_or_default().rotate_right(1);
        }
    }

    /// Whether there is a later version of a package.
    pub(super) fn is_outdated(&self, id: Id) -> bool {
        let Some(Candidate { info, .. }) = self.candidate(id) else { return false };
        let others = self.named(info.name).into_iter().filter_map(|other| self.candidate(other));
        others
            .map(|other| other.info)
            .any(|other| other.architecture == info.architecture && other.version > info.version)
    }

    /// The name of a package; that of the request and of parts of rich dependencies is empty.
    pub(super) fn package_name(&self, id: Id) -> &'a str {
        self.candidate(id).map_or("", |candidate| candidate.info.name)
    }

    /// What a candidate recommends and the chosen ones do not meet: groups of which one is wanted.
    pub fn recommended(&self, id: Id, chosen: &BTreeSet<Id>) -> Vec<Vec<Id>> {
        let candidate = self.candidate(id);
        let recommends = candidate.iter().flat_map(|candidate| &candidate.info.recommends);
        let missing = recommends.filter(|dependency| !self.holds(dependency, chosen));
        let groups = missing.flat_map(|dependency| clause::needs(self, dependency));
        let packages = groups.map(|group| {
            group.into_iter().filter(|id| self.candidate(*id).is_some()).collect::<Vec<_>>()
        });
        packages.filter(|group| !group.iter().any(|id| chosen.contains(id))).collect()
    }

    /// Who asks to go with what is chosen, later versions first; also who is chosen.
    pub(super) fn going_with(&self, chosen: &BTreeSet<Id>) -> Vec<Id> {
        let all = (0..).map(Id).zip(&self.candidates);
        let asking = all.filter(|(_, candidate)| {
            let mut supplements = candidate.info.supplements.iter();
            supplements.any(|dependency| self.holds(dependency, chosen))
        });
        asking.map(|(id, _)| id).collect()
    }

    /// Who asks to be installed with what is chosen, later versions first.
    pub fn supplementing(&self, chosen: &BTreeSet<Id>) -> Vec<Id> {
        let mut asking = self.going_with(chosen);
        asking.retain(|id| !chosen.contains(id));
        asking
    }

    /// Whether the chosen ones meet a dependency.
    pub(super) fn holds(&self, dependency: &Dependency<'_>, chosen: &BTreeSet<Id>) -> bool {
        let holds = |one: &Dependency<'_>| self.holds(one, chosen);
        match dependency {
            Dependency::Plain(relation) => {
                self.meeting(relation).iter().any(|id| chosen.contains(id))
            }
            Dependency::And(all) => all.iter().all(holds),
            Dependency::Or(all) => all.iter().any(holds),
            Dependency::With(..) | Dependency::Without(..) => {
                clause::packages(self, dependency).iter().any(|id| chosen.contains(id))
            }
            Dependency::If(then, condition, otherwise) => match holds(condition) {
                true => holds(then),
                false => otherwise.as_ref().is_none_or(|otherwise| holds(otherwise)),
            },
            Dependency::Unless(then, condition, otherwise) => match holds(condition) {
                true => otherwise.as_ref().is_some_and(|otherwise| holds(otherwise)),
                false => holds(then),
            },
        }
    }

    /// The id that stands for a part of a rich dependency: whoever chooses it takes its consequences.
    pub(super) fn extra(&self, extra: Extra) -> Id {
        let mut extras = self.extras.borrow_mut();
        let number = extras.iter().position(|known| *known == extra).unwrap_or_else(|| {
            extras.push(extra);
            extras.len().saturating_sub(1)
        });
        let first = self.root().0.saturating_add(1);
        Id(first.saturating_add(u32::try_from(number).unwrap_or(u32::MAX)))
    }

    fn extra_of(&self, id: Id) -> Option<Extra> {
        let number = id.0.checked_sub(self.root().0.saturating_add(1))?;
        self.extras.borrow().get(usize::try_from(number).ok()?).cloned()
    }

    /// What it costs to compare the packages of a group, in units of work.
    fn weight(&self, group: &[Id]) -> usize {
        let packages = group.iter().filter_map(|id| self.candidate(*id));
        let provides: usize = packages.map(|candidate| candidate.info.provides.len()).sum();
        if group.len() > 1 { provides / 4 } else { 0 }
    }

    /// Whom a candidate rules out by its name and by what it obsoletes.
    fn rivals(&self, id: Id, info: &Info<'_>) -> Vec<Id> {
        let mut rivals = self.named(info.name);
        for obsoleted in &info.obsoletes {
            let meant = self.named(obsoleted.name).into_iter().filter(|other| {
                let candidate = self.candidate(*other);
                candidate.is_some_and(|other| obsoleted.allows(&other.info.version))
            });
            rivals.extend(meant);
        }
        rivals.retain(|other| *other != id);
        rivals
    }
}

fn sorted(group: &[Id]) -> Vec<Id> {
    let mut group = group.to_vec();
    group.sort_unstable();
    group
}

impl Universe for World<'_> {
    fn consequences(&self, id: Id, meter: &Meter) -> Option<Consequences> {
        let mut consequences = Consequences::default();
        if let Some(extra) = self.extra_of(id) {
            consequences = Consequences { needs: extra.needs, refuses: extra.refuses };
        } else if let Some(Candidate { info, .. }) = self.candidate(id) {
            for requirement in &info.requires {
                consequences.needs.extend(clause::needs(self, requirement));
            }
            for conflict in &info.conflicts {
                clause::refuse(self, conflict, id, &mut consequences);
            }
            consequences.refuses.extend(self.rivals(id, info));
        } else {
            consequences.needs.extend(self.asked.iter().map(|name| self.asked_for(name)));
        }
        for group in &mut consequences.needs {
            if !self.exchanged.is_empty() {
                self.put_exchanged_first(group);
            }
            meter.count(group.len().saturating_mul(group.len()));
            meter.count(self.weight(group));
            if group.is_empty() || meter.is_exhausted() {
                return None;
            }
        }
        meter.count(consequences.refuses.len());
        consequences.refuses.sort_unstable();
        consequences.refuses.dedup();
        Some(consequences)
    }

    fn name(&self, id: Id) -> &str {
        self.candidate(id).map_or("a part of a request", |candidate| candidate.info.name)
    }
}
