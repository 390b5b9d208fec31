//! What could be installed: of every name one candidate, and who provides what.
//!
//! The repositories' indexes and the native architecture come in. Of each name only the candidate
//! takes part, as with apt: the highest pin wins, then the highest version, then the repository
//! that comes first. So a conflict is not avoided by installing something older than the archive
//! offers, and the size of the problem does not grow with the number of versions.
//!
//! Rules: apt_preferences(5), deb-control(5) for `Provides` and `Multi-Arch`, and apt's order among
//! several providers, which prefers essential and important ones.

use std::collections::BTreeMap;

use crate::package::deb::index::{Index, MultiArch, Package, Priority};
use crate::package::deb::relation::{self, Alternatives, BadRelation, Qualifier, Relation};
use crate::resolve::solver::{Consequences, Meter, Universe};

pub use crate::resolve::solver::Id;

/// One repository and how its packages are weighed.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// What people call it: its suite.
    pub name: &'a str,
    /// Its packages.
    pub index: &'a Index<'a>,
    /// apt's priority: 500, or 100 and 1 for what is not automatic.
    pub pin: u16,
    /// Whether it says which packages are essential or required: the release pocket.
    pub base: bool,
}

/// A package that could be installed.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The package.
    pub package: &'a Package<'a>,
    /// Which of the offers it is from.
    pub offer: usize,
    /// Whether the release pocket calls a package of this name essential.
    pub essential: bool,
    /// Whether the release pocket gives a package of this name the priority `required`.
    pub required: bool,
}

/// All candidates of one architecture, sorted by name.
#[derive(Debug)]
pub struct World<'a> {
    native: &'a str,
    names: Vec<&'a str>,
    candidates: Vec<Candidate<'a>>,
    provides: BTreeMap<&'a str, Vec<Provision<'a>>>,
}

#[derive(Debug, Clone, Copy)]
struct Provision<'a> {
    by: Id,
    relation: Relation<'a>,
}

impl<'a> World<'a> {
    /// Chooses the candidates for `native` (`amd64`) among the offers, the most preferred first.
    pub fn new(native: &'a str, offers: &[Offer<'a>]) -> Self {
        let mut all: Vec<Candidate<'a>> = Vec::new();
        for (number, offer) in offers.iter().enumerate() {
            let fits = |p: &&Package<'_>| p.architecture == native || p.architecture == "all";
            all.extend(offer.index.packages().iter().filter(fits).map(|package| Candidate {
                package,
                offer: number,
                essential: offer.base && package.essential,
                required: offer.base && package.priority == Priority::Required,
            }));
        }
        let pin = |c: &Candidate<'_>| offers.get(c.offer).map_or(0, |offer| offer.pin);
        // Stable, so that of equals the one from the first repository stays first.
        all.sort_by(|a, b| {
            let better = || (pin(b), b.package.version).cmp(&(pin(a), a.package.version));
            a.package.name.cmp(b.package.name).then_with(better)
        });
        all.dedup_by(|worse, best| {
            let same = worse.package.name == best.package.name;
            best.essential |= same && worse.essential;
            best.required |= same && worse.required;
            same
        });
        let names = offers.iter().map(|offer| offer.name).collect();
        let mut world = Self { native, names, candidates: all, provides: BTreeMap::new() };
        world.collect_provides();
        world
    }

    /// A broken `Provides` provides nothing; who needs it learns that nobody has it.
    fn collect_provides(&mut self) {
        let mut provides: BTreeMap<&'a str, Vec<Provision<'a>>> = BTreeMap::new();
        for id in self.ids() {
            let package = self.package(id);
            for relation in relation::parse_provides(package.provides).unwrap_or_default() {
                let provision = Provision { by: id, relation };
                provides.entry(relation.name).or_default().push(provision);
            }
        }
        for list in provides.values_mut() {
            list.sort_by_key(|provision| {
                let candidate = self.candidate(provision.by);
                (!candidate.essential, candidate.package.priority, std::cmp::Reverse(provision.by))
            });
        }
        self.provides = provides;
    }

    /// Returns all candidates, by name.
    pub fn ids(&self) -> impl Iterator<Item = Id> + use<> {
        (0..u32::try_from(self.candidates.len()).unwrap_or(u32::MAX)).map(Id)
    }

    /// Returns a candidate.
    pub fn candidate(&self, id: Id) -> &Candidate<'a> {
        let at = usize::try_from(id.0).ok().and_then(|at| self.candidates.get(at));
        at.expect("an id is made by the world that it is given to")
    }

    /// Returns a candidate's package.
    pub fn package(&self, id: Id) -> &'a Package<'a> {
        self.candidate(id).package
    }

    /// Returns the candidate of this name.
    pub fn named(&self, name: &str) -> Option<Id> {
        let at = self.candidates.binary_search_by(|c| c.package.name.cmp(name)).ok()?;
        u32::try_from(at).ok().map(Id)
    }

    /// Returns who provides this name, the most preferred first, whatever the version.
    pub fn providers(&self, name: &str) -> impl Iterator<Item = Id> {
        self.provides.get(name).into_iter().flatten().map(|provision| provision.by)
    }

    /// Returns who satisfies a dependency: the package of that name, then providers.
    pub fn satisfying(&self, relation: &Relation<'_>) -> Vec<Id> {
        let is_meant = |id: &Id| self.is_meant(*id, relation.qualifier);
        let mut found: Vec<Id> = self
            .named(relation.name)
            .filter(|id| relation.allows(self.package(*id).version))
            .into_iter()
            .chain(self.providing(relation))
            .filter(is_meant)
            .collect();
        let mut seen = std::collections::BTreeSet::new();
        found.retain(|id| seen.insert(*id));
        found
    }

    /// Returns whom a conflict or break of `owner` rules out: all of that name, provided or real,
    /// but never itself.
    pub fn ruled_out(&self, owner: Id, relation: &Relation<'_>) -> Vec<Id> {
        if let Some(Qualifier::Architecture(name)) = relation.qualifier
            && name != self.native
        {
            return Vec::new();
        }
        let real = self.named(relation.name);
        let real = real.filter(|id| relation.allows(self.package(*id).version));
        let mut found: Vec<Id> = real.into_iter().chain(self.providing(relation)).collect();
        found.retain(|id| *id != owner);
        found.sort_unstable();
        found.dedup();
        found
    }

    fn providing<'w>(&'w self, relation: &Relation<'w>) -> impl Iterator<Item = Id> + use<'w, 'a> {
        let asked = *relation;
        self.provides.get(asked.name).into_iter().flatten().filter_map(move |provision| {
            let provided = provision.relation.versions.map(|(_, version)| version);
            let allowed = match provided {
                Some(version) => asked.allows(version),
                None => asked.versions.is_none(),
            };
            allowed.then_some(provision.by)
        })
    }

    /// Whether a candidate is of an architecture that the qualifier asks for.
    fn is_meant(&self, id: Id, qualifier: Option<Qualifier<'_>>) -> bool {
        match qualifier {
            None | Some(Qualifier::Native) => true,
            Some(Qualifier::Any) => self.package(id).multi_arch == MultiArch::Allowed,
            Some(Qualifier::Architecture(name)) => name == self.native,
        }
    }

    /// Returns what a candidate needs: `Pre-Depends`, then `Depends`.
    ///
    /// # Errors
    /// A relation that cannot be understood.
    pub fn needs(&self, id: Id) -> Result<Vec<Alternatives<'a>>, BadRelation> {
        let package = self.package(id);
        let mut needs = relation::parse(package.pre_depends)?;
        needs.extend(relation::parse(package.depends)?);
        Ok(needs)
    }

    /// Returns what a candidate recommends.
    ///
    /// # Errors
    /// A relation that cannot be understood.
    pub fn recommends(&self, id: Id) -> Result<Vec<Alternatives<'a>>, BadRelation> {
        relation::parse(self.package(id).recommends)
    }

    /// Returns what must not be there beside a candidate: `Conflicts`, then `Breaks`.
    ///
    /// # Errors
    /// A relation that cannot be understood.
    pub fn refuses(&self, id: Id) -> Result<Vec<Relation<'a>>, BadRelation> {
        let package = self.package(id);
        let mut refuses = relation::parse_plain(package.conflicts)?;
        refuses.extend(relation::parse_plain(package.breaks)?);
        Ok(refuses)
    }

    /// Returns what people call the repository that a candidate is from.
    pub fn origin(&self, id: Id) -> &'a str {
        self.names.get(self.candidate(id).offer).copied().unwrap_or_default()
    }
}

impl Universe for World<'_> {
    fn consequences(&self, id: Id, meter: &Meter) -> Option<Consequences> {
        let mut consequences = Consequences::default();
        for alternatives in self.needs(id).ok()? {
            let found: Vec<Id> = alternatives.iter().flat_map(|r| self.satisfying(r)).collect();
            meter.count(found.len().saturating_mul(found.len()));
            if found.is_empty() || meter.is_exhausted() {
                return None;
            }
            consequences.needs.push(found);
        }
        for relation in self.refuses(id).ok()? {
            let ruled_out = self.ruled_out(id, &relation);
            meter.count(ruled_out.len());
            consequences.refuses.extend(ruled_out);
        }
        Some(consequences)
    }

    fn name(&self, id: Id) -> &str {
        self.package(id).name
    }
}
