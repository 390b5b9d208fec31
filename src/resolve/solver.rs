//! The question put to the SAT solver, and its answer: the same for all families.
//!
//! Every candidate is one variable. `resolvo` knows names, versions and sets of versions; here each
//! candidate is a name of its own, so that there are two sets for each: the candidate ("it") and
//! nothing ("not it"). A dependency is a union of such sets in the order of preference, a conflict is
//! a "not it" for each package that it rules out. Conditions and several versions of one name, where
//! `resolvo` 0.12 has been seen to go wrong, do not occur.
//!
//! Work is counted, not timed, so that a hostile index is refused everywhere alike.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::rc::Rc;

use resolvo::{
    Candidates, Condition, ConditionId, Dependencies, DependencyProvider, Interner,
    KnownDependencies, NameId, Problem, Requirement, SolvableId, Solver, SolverCache, StringId,
    UnsolvableOrCancelled, VersionSetId, VersionSetUnionId,
};

/// A candidate: an index into a family's list of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id(pub u32);

/// The candidates of a family, and what choosing one means.
pub(super) trait Universe {
    /// What the choice of a candidate means for others. None: it cannot be chosen, because it needs
    /// what nobody has, or because its relations cannot be understood.
    fn consequences(&self, id: Id, meter: &Meter) -> Option<Consequences>;

    /// The name of a candidate, for people who debug the solver.
    fn name(&self, id: Id) -> &str;
}

/// What the choice of a candidate means for others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Consequences {
    /// Groups of candidates of which one is needed, in the order of preference.
    pub(super) needs: Vec<Vec<Id>>,
    /// Candidates that must not be chosen as well.
    pub(super) refuses: Vec<Id>,
}

/// Counts work.
#[derive(Debug, Default)]
pub(super) struct Meter(Cell<u64>);

impl Meter {
    /// Counts so many units.
    pub(super) fn count(&self, units: usize) {
        let units = u64::try_from(units).unwrap_or(u64::MAX);
        self.0.set(self.0.get().saturating_add(units));
    }

    fn take_back(&self, units: u64) {
        self.0.set(self.0.get().saturating_sub(units));
    }

    /// Whether the limit is reached.
    pub(super) fn is_exhausted(&self) -> bool {
        self.0.get() > LIMIT
    }
}

/// What the solver found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// These packages, which hold all that was required.
    Chosen(BTreeSet<Id>),
    /// No set of packages holds all that was required.
    Impossible,
    /// Neither was found within the limit of work.
    TooHard,
}

/// Units of work, about as many as pass in a second: a package that a relation leads to, a pair of
/// alternatives of one dependency (the solver compares each with each), and [`ROUND`] of them for a
/// round of the solver. A request for a guest takes less than a hundredth of this.
const LIMIT: u64 = 2_000_000;
/// What a round of the solver costs.
const ROUND: usize = 200;

/// Looks for packages that hold all of `required`, and as many of `wanted` as go with them.
pub(super) fn solve(world: &dyn Universe, required: &[Id], wanted: &[Id]) -> Answer {
    let problem = Problem::new()
        .requirements(required.iter().map(|id| Requirement::Single(it(*id)).into()).collect())
        .soft_requirements(wanted.iter().map(|id| SolvableId::from_raw(id.0)));
    let provider = Provider { world, unions: RefCell::new(Vec::new()), meter: Meter::default() };
    let mut solver = Solver::new(provider);
    let answer = solver.solve(problem);
    match answer {
        _ if solver.provider().meter.is_exhausted() => Answer::TooHard,
        Ok(chosen) => Answer::Chosen(chosen.into_iter().map(|id| Id(id.into_raw())).collect()),
        Err(UnsolvableOrCancelled::Unsolvable(_)) => Answer::Impossible,
        Err(UnsolvableOrCancelled::Cancelled(_)) => Answer::TooHard,
    }
}

/// The set that holds the candidate.
const fn it(id: Id) -> VersionSetId {
    VersionSetId(id.0 << 1)
}

/// The set that holds nothing.
const fn not_it(id: Id) -> VersionSetId {
    VersionSetId(id.0 << 1 | 1)
}

/// The name and the candidate of a set have the same number.
const fn number(set: VersionSetId) -> u32 {
    set.0 >> 1
}

const fn is_it(set: VersionSetId) -> bool {
    set.0 & 1 == 0
}

struct Provider<'w> {
    world: &'w dyn Universe,
    unions: RefCell<Vec<Rc<[VersionSetId]>>>,
    meter: Meter,
}

impl Provider<'_> {
    /// The solver asks whether to go on before each of its rounds, and also before it asks for a
    /// package: that was no round.
    fn count_package(&self) {
        self.meter.take_back(u64::try_from(ROUND.saturating_sub(1)).unwrap_or(0));
    }

    fn union(&self, candidates: &[Id]) -> Requirement {
        if let [only] = candidates {
            return Requirement::Single(it(*only));
        }
        let mut unions = self.unions.borrow_mut();
        unions.push(candidates.iter().map(|id| it(*id)).collect());
        let number = unions.len().saturating_sub(1);
        Requirement::Union(VersionSetUnionId(u32::try_from(number).unwrap_or(u32::MAX)))
    }

    /// A candidate's consequences as the solver wants them.
    fn known(&self, id: Id) -> Option<KnownDependencies> {
        let Consequences { needs, refuses } = self.world.consequences(id, &self.meter)?;
        // A package that satisfies its own dependency needs nobody for it.
        let needs = needs.iter().filter(|group| !group.contains(&id));
        Some(KnownDependencies {
            requirements: needs.map(|group| self.union(group).into()).collect(),
            constrains: refuses.into_iter().map(not_it).collect(),
        })
    }
}

impl DependencyProvider for Provider<'_> {
    async fn filter_candidates(
        &self,
        candidates: &[SolvableId],
        version_set: VersionSetId,
        inverse: bool,
    ) -> Vec<SolvableId> {
        if is_it(version_set) == inverse { Vec::new() } else { candidates.to_vec() }
    }

    async fn get_candidates(&self, name: NameId) -> Option<Candidates> {
        self.count_package();
        let only = SolvableId::from_raw(name.into_raw());
        Some(Candidates { candidates: vec![only], ..Candidates::default() })
    }

    async fn sort_candidates(&self, _: &SolverCache<Self>, _: &mut [SolvableId]) {}

    async fn get_dependencies(&self, solvable: SolvableId) -> Dependencies {
        self.count_package();
        self.known(Id(solvable.into_raw()))
            .map_or(Dependencies::Unknown(StringId(0)), Dependencies::Known)
    }

    fn should_cancel_with_value(&self) -> Option<Box<dyn Any>> {
        self.meter.count(ROUND);
        self.meter.is_exhausted().then(|| Box::new(()) as Box<dyn Any>)
    }
}

impl Interner for Provider<'_> {
    type NameId = NameId;
    type SolvableId = SolvableId;

    fn display_solvable(&self, solvable: SolvableId) -> impl Display + '_ {
        self.world.name(Id(solvable.into_raw()))
    }

    fn display_name(&self, name: NameId) -> impl Display + '_ {
        self.world.name(Id(name.into_raw()))
    }

    fn display_version_set(&self, version_set: VersionSetId) -> impl Display + '_ {
        if is_it(version_set) { "*" } else { "none" }
    }

    fn display_string(&self, _: StringId) -> impl Display + '_ {
        "it needs what nobody has"
    }

    fn version_set_name(&self, version_set: VersionSetId) -> NameId {
        NameId::from_raw(number(version_set))
    }

    fn solvable_name(&self, solvable: SolvableId) -> NameId {
        NameId::from_raw(solvable.into_raw())
    }

    fn version_sets_in_union(
        &self,
        union: VersionSetUnionId,
    ) -> impl Iterator<Item = VersionSetId> {
        let at = usize::try_from(union.0).unwrap_or(usize::MAX);
        let sets = self.unions.borrow().get(at).map(Rc::clone).unwrap_or_default();
        (0..sets.len()).filter_map(move |at| sets.get(at).copied())
    }

    fn resolve_condition(&self, _: ConditionId) -> Condition {
        unreachable!("no requirement is made with a condition")
    }
}
