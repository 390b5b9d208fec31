//! What could be installed: every package of the repositories that fits, and who goes by which name.
//!
//! The repositories' indexes, the architecture and what is asked for come in. apk's rules are these:
//! of all who go by a name only one can be installed, unless none of them gives it a version; who
//! gives a name no version is chosen for it only if it has a priority, or is asked for by its own
//! name; and of several the one with the higher version, the higher priority, or from the earlier
//! repository is taken. Repositories with a tag are for those alone who are asked for with the tag,
//! and for what these need. Specification: apk-world(5), apk-package(5).

use std::collections::{BTreeMap, BTreeSet};

use crate::package::apk::index::Index;
use crate::package::apk::info::Info;
use crate::package::apk::order;
use crate::package::apk::relation::Relation;
use crate::package::apk::version::Version;
use crate::resolve::solver::{Consequences, Id, Meter, Universe};

/// One repository.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// What people call it: its folder.
    pub name: &'a str,
    /// The tag that must be asked for to use it.
    pub tag: Option<&'a str>,
    /// Its packages.
    pub index: &'a Index<'a>,
}

/// A package that could be installed.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The package.
    pub info: &'a Info<'a>,
    /// Which of the offers it is from: the first one that has it.
    pub offer: usize,
    /// The tag of the repositories that have it; none, if one without a tag does.
    pub tag: Option<&'a str>,
}

/// All candidates, sorted by name, later versions first.
#[derive(Debug)]
pub struct World<'a> {
    names: Vec<&'a str>,
    candidates: Vec<Candidate<'a>>,
    providers: BTreeMap<&'a str, Vec<Provider<'a>>>,
    asked: &'a [Relation<'a>],
    /// Who must not be chosen for a name, since nothing else speaks for it.
    banned: BTreeSet<(&'a str, Id)>,
}

/// A package that goes by a name.
#[derive(Debug, Clone, Copy)]
pub struct Provider<'a> {
    /// The package.
    pub by: Id,
    /// In which version.
    pub version: Option<Version<'a>>,
}

impl<'a> World<'a> {
    /// Collects the candidates for `architecture`.
    pub fn new(architecture: &str, offers: &[Offer<'a>], asked: &'a [Relation<'a>]) -> Self {
        let fits = |info: &&Info<'_>| {
            let known = [architecture, "noarch", ""].contains(&info.architecture);
            known && !info.unsupported && !is_its_own_rival(info)
        };
        let mut candidates: Vec<Candidate<'a>> = Vec::new();
        for (offer, Offer { tag, index, .. }) in offers.iter().enumerate() {
            let infos = index.packages().iter().filter(fits);
            candidates.extend(infos.map(|info| Candidate { info, offer, tag: *tag }));
        }
        candidates.sort_by(|a, b| {
            let key = |c: &Candidate<'a>| (c.info.version, c.tag.is_none());
            a.info.name.cmp(b.info.name).then_with(|| key(b).cmp(&key(a)))
        });
        candidates.dedup_by(|second, first| {
            second.info.name == first.info.name && second.info.identity == first.info.identity
        });
        let names = offers.iter().map(|offer| offer.name).collect();
        let (providers, banned) = (BTreeMap::new(), BTreeSet::new());
        let mut world = Self { names, candidates, providers, asked, banned };
        world.forbid_tagged();
        world.collect_providers();
        world
    }

    /// Drops packages of tagged repositories that no tag leads to: those that are asked for with the
    /// tag, what these need, and what comes along with them.
    fn forbid_tagged(&mut self) {
        if self.candidates.iter().all(|candidate| candidate.tag.is_none()) {
            return;
        }
        self.collect_providers();
        let tagged = self.asked.iter().filter_map(|asked| Some((asked.tag?, asked)));
        let mut allowed: BTreeSet<(u32, &str)> = BTreeSet::new();
        let mut pending: Vec<(&str, &str)> = tagged.map(|(tag, asked)| (tag, asked.name)).collect();
        while !pending.is_empty() {
            while let Some((tag, name)) = pending.pop() {
                for provider in self.providers.get(name).into_iter().flatten() {
                    if allowed.insert((provider.by.0, tag)) {
                        let info = self.info(provider.by);
                        pending.extend(info.depends.iter().map(|relation| (tag, relation.name)));
                    }
                }
            }
            pending.extend(self.coming_along_with(&allowed));
        }
        let mut number = 0_u32;
        self.candidates.retain(|candidate| {
            let kept = candidate.tag.is_none_or(|tag| allowed.contains(&(number, tag)));
            number = number.saturating_add(1);
            kept
        });
    }

    /// The tags and names of those of tagged repositories that could come along with somebody who is
    /// allowed for the tag, and are not allowed themselves yet.
    fn coming_along_with(&self, allowed: &BTreeSet<(u32, &str)>) -> Vec<(&'a str, &'a str)> {
        let leads = |tag: &'a str, relation: &Relation<'_>| {
            let mut providers = self.providers.get(relation.name).into_iter().flatten();
            providers.any(|provider| allowed.contains(&(provider.by.0, tag)))
        };
        let comes = |id: Id| {
            let Candidate { info, tag, .. } = *self.candidate(id);
            let tag = tag.filter(|tag| !allowed.contains(&(id.0, tag)))?;
            let mut waits_for = info.install_if.iter().filter(|relation| !relation.refuses);
            waits_for.any(|relation| leads(tag, relation)).then_some((tag, info.name))
        };
        self.ids().filter_map(comes).collect()
    }

    fn collect_providers(&mut self) {
        let mut providers: BTreeMap<&'a str, Vec<Provider<'a>>> = BTreeMap::new();
        for by in self.ids() {
            let info: &'a Info<'a> = self.info(by);
            for (name, version) in order::names(info) {
                let list = providers.entry(name).or_default();
                if list.last().is_none_or(|known: &Provider<'_>| known.by != by) {
                    list.push(Provider { by, version });
                }
            }
        }
        for (name, list) in &mut providers {
            list.sort_by(|a, b| self.preference(name, a).cmp(&self.preference(name, b)).reverse());
        }
        self.providers = providers;
    }

    /// How much somebody is preferred among those that go by a name.
    fn preference(&self, name: &str, provider: &Provider<'a>) -> Preference<'a> {
        let candidate = self.candidate(provider.by);
        let wanted = self.asked.iter().find(|asked| asked.name == name).and_then(|asked| asked.tag);
        Preference {
            tag: candidate.tag == wanted || (candidate.tag.is_none() && wanted.is_none()),
            version: provider.version,
            priority: candidate.info.provider_priority,
            name: std::cmp::Reverse(candidate.info.name),
            own_version: candidate.info.version,
            offer: std::cmp::Reverse(candidate.offer),
        }
    }

    /// Every candidate.
    pub fn ids(&self) -> impl Iterator<Item = Id> + use<> {
        (0..u32::try_from(self.candidates.len()).unwrap_or(u32::MAX)).map(Id)
    }

    /// The candidate that stands for all that is asked for.
    pub fn root(&self) -> Id {
        Id(u32::try_from(self.candidates.len()).unwrap_or(u32::MAX))
    }

    /// A candidate.
    pub fn candidate(&self, id: Id) -> &Candidate<'a> {
        let index = usize::try_from(id.0).unwrap_or(usize::MAX);
        self.candidates.get(index).expect("an id is that of a candidate")
    }

    /// What is known of a candidate.
    pub fn info(&self, id: Id) -> &'a Info<'a> {
        self.candidate(id).info
    }

    /// What people call the repository that a candidate is from.
    pub fn origin(&self, id: Id) -> &'a str {
        self.names.get(self.candidate(id).offer).copied().unwrap_or_default()
    }

    /// What is asked for.
    pub const fn asked(&self) -> &'a [Relation<'a>] {
        self.asked
    }

    /// Who goes by a name, the most preferred first.
    pub fn providers(&self, name: &str) -> &[Provider<'a>] {
        self.providers.get(name).map_or(&[], Vec::as_slice)
    }

    /// What a candidate needs and refuses: the root's is what was asked for.
    pub fn relations(&self, id: Id) -> &'a [Relation<'a>] {
        if id == self.root() { self.asked } else { &self.info(id).depends }
    }

    /// Whether somebody is meant by a relation.
    pub fn is_meant(&self, relation: &Relation<'_>, provider: &Provider<'a>) -> bool {
        relation.allows(provider.version, Some(self.info(provider.by).identity))
    }

    /// Who may be chosen to meet a relation.
    pub fn satisfying(&self, relation: &Relation<'a>) -> Vec<Id> {
        let providers = self.providers(relation.name).iter();
        let chosen = providers.filter(|provider| self.is_meant(relation, provider));
        chosen.map(|p| p.by).filter(|by| !self.banned.contains(&(relation.name, *by))).collect()
    }

    /// Whether being meant by a name is enough to be chosen for it.
    pub fn speaks_for_itself(&self, name: &str, provider: &Provider<'a>) -> bool {
        let info = self.info(provider.by);
        provider.version.is_some() || info.provider_priority > 0 || info.name == name
    }

    /// From now on, does not choose a candidate for a name.
    pub fn ban(&mut self, name: &'a str, id: Id) {
        self.banned.insert((name, id));
    }

    /// Whether all that a candidate waits for is among `chosen`, so that it comes along.
    pub fn comes_along(&self, id: Id, chosen: &BTreeSet<Id>) -> bool {
        let conditions = &self.info(id).install_if;
        let met = |relation: &Relation<'_>| {
            let mut providers = self.providers(relation.name).iter();
            let there = providers.any(|p| chosen.contains(&p.by) && self.is_meant(relation, p));
            there != relation.refuses
        };
        !conditions.is_empty() && conditions.iter().all(met)
    }

    /// Whom a candidate rules out, without what it refuses by name: those that go by one of its names,
    /// unless neither gives that name a version.
    fn rivals(&self, id: Id) -> impl Iterator<Item = Id> + '_ {
        order::names(self.info(id)).flat_map(move |(name, version)| {
            let others = self.providers(name).iter().filter(move |other| other.by != id);
            let clashing = others.filter(move |other| version.is_some() || other.version.is_some());
            clashing.map(|other| other.by)
        })
    }
}

/// Whether a package goes by one name twice, and gives it a version: not even it can be installed.
fn is_its_own_rival(info: &Info<'_>) -> bool {
    let mut versioned: BTreeMap<&str, bool> = BTreeMap::new();
    order::names(info).any(|(name, version)| {
        let before = versioned.insert(name, version.is_some());
        before.is_some_and(|before| before || version.is_some())
    })
}

/// How much somebody is preferred; the fields from the most important one.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Preference<'a> {
    tag: bool,
    version: Option<Version<'a>>,
    priority: u64,
    name: std::cmp::Reverse<&'a str>,
    own_version: Version<'a>,
    offer: std::cmp::Reverse<usize>,
}

impl Universe for World<'_> {
    fn consequences(&self, id: Id, meter: &Meter) -> Option<Consequences> {
        let mut consequences = Consequences::default();
        for relation in self.relations(id) {
            if relation.refuses {
                let meant = self.providers(relation.name).iter();
                let meant = meant.filter(|provider| self.is_meant(relation, provider));
                consequences.refuses.extend(meant.map(|p| p.by).filter(|other| *other != id));
                continue;
            }
            let found = self.satisfying(relation);
            meter.count(found.len().saturating_mul(found.len()));
            if found.is_empty() || meter.is_exhausted() {
                return None;
            }
            consequences.needs.push(found);
        }
        if id != self.root() {
            consequences.refuses.extend(self.rivals(id));
        }
        meter.count(consequences.refuses.len());
        consequences.refuses.sort_unstable();
        consequences.refuses.dedup();
        Some(consequences)
    }

    fn name(&self, id: Id) -> &str {
        if id == self.root() { "what is asked for" } else { self.info(id).name }
    }
}
