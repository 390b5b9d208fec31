//! A second opinion on a choice of packages.
//!
//! Packages and what was asked for come in; the first rule that they break goes out. Shares nothing
//! with the search but the reading of relations: it does not know candidates, preferences or
//! variables, and goes by rpm-dependencies(7) alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::package::rpm::info::Info;
use crate::package::rpm::relation::{Dependency, Relation};

/// Checks that `chosen` can be installed together, need nothing else, and do what was `asked`.
///
/// # Errors
/// The first [`Flaw`] in the order of the packages.
pub fn check(asked: &[&str], chosen: &[&Info<'_>]) -> Result<(), Flaw> {
    let system = System::new(chosen)?;
    for name in asked {
        let there = chosen.iter().any(|info| answers(info, name));
        if !there && !system.names.contains_key(name) {
            return Err(Flaw::NotThere { name: (*name).to_owned() });
        }
    }
    (0..).zip(chosen).try_for_each(|(number, info)| system.check_package(number, info))
}

/// Checks that each of `chosen` is there because it was `asked` for, or because another one requires it;
/// or recommends it, where `weak` dependencies are wanted. Who serves an index can name more dependencies
/// than a package has; what comes along for those alone is found here.
///
/// # Errors
/// [`Flaw::Extraneous`] for the first package that nothing needs.
pub fn check_needed(asked: &[&str], chosen: &[&Info<'_>], weak: bool) -> Result<(), Flaw> {
    let system = System::new(chosen)?;
    let mut needed = BTreeSet::new();
    let mut open: Vec<usize> = Vec::new();
    for name in asked {
        let named = (0..).zip(chosen).filter(|(_, info)| answers(info, name));
        open.extend(named.map(|(number, _): (usize, _)| number));
        open.extend(system.meeting(&Relation { name, condition: None }, None));
    }
    loop {
        while let Some(number) = open.pop() {
            let Some(info) = chosen.get(number).filter(|_| needed.insert(number)) else { continue };
            let weak = if weak { &info.recommends[..] } else { &[] };
            for dependency in info.requires.iter().chain(weak) {
                dependency.each(&mut |relation| open.extend(system.meeting(relation, None)));
            }
        }
        if weak {
            open.extend(system.supplementing(&needed));
        }
        if open.is_empty() {
            break;
        }
    }
    match (0..).zip(chosen).find(|(number, _)| !needed.contains(number)) {
        Some((_, info)) => Err(Flaw::Extraneous { package: named(info) }),
        None => Ok(()),
    }
}

struct System<'p> {
    /// By name and by file: who provides it, and in which version.
    names: BTreeMap<&'p str, Vec<(usize, Option<Relation<'p>>)>>,
    infos: &'p [&'p Info<'p>],
}

impl<'p> System<'p> {
    fn new(chosen: &'p [&'p Info<'p>]) -> Result<Self, Flaw> {
        let mut names: BTreeMap<&str, Vec<(usize, Option<Relation<'_>>)>> = BTreeMap::new();
        let mut seen: BTreeMap<&str, &Info<'_>> = BTreeMap::new();
        for (number, info) in chosen.iter().enumerate() {
            if info.unsupported {
                return Err(Flaw::Unsupported { package: named(info) });
            }
            if let Some(first) = seen.insert(info.name, info) {
                return Err(Flaw::Rivals { first: named(first), second: named(info) });
            }
            for provided in &info.provides {
                names.entry(provided.name).or_default().push((number, Some(*provided)));
            }
            for file in &info.files {
                names.entry(file).or_default().push((number, None));
            }
        }
        Ok(Self { names, infos: chosen })
    }

    fn check_package(&self, number: usize, info: &Info<'_>) -> Result<(), Flaw> {
        for requirement in &info.requires {
            if !self.holds(requirement, None) {
                let (package, need) = (named(info), requirement.to_string());
                return Err(Flaw::Unmet { package, need });
            }
        }
        for conflict in &info.conflicts {
            if self.holds(conflict, Some(number)) {
                let (package, relation) = (named(info), conflict.to_string());
                return Err(Flaw::Clash { package, relation });
            }
        }
        for obsoleted in &info.obsoletes {
            let mut others = self.infos.iter().filter(|other| other.name != info.name);
            let gone = others
                .find(|other| other.name == obsoleted.name && obsoleted.allows(&other.version));
            if let Some(other) = gone {
                return Err(Flaw::Obsolete { package: named(info), other: named(other) });
            }
        }
        Ok(())
    }

    /// Who asks to go with one of those that are needed, and is not yet.
    fn supplementing(&self, needed: &BTreeSet<usize>) -> Vec<usize> {
        let goes = |info: &&Info<'_>| {
            let mut goes = false;
            for dependency in &info.supplements {
                dependency.each(&mut |relation| {
                    goes |= self.meeting(relation, None).iter().any(|id| needed.contains(id));
                });
            }
            goes
        };
        let all = self.infos.iter().enumerate().filter(|(number, _)| !needed.contains(number));
        all.filter(|(_, info)| goes(info)).map(|(number, _)| number).collect()
    }

    /// Who meets a relation, but for one.
    fn meeting(&self, relation: &Relation<'_>, but: Option<usize>) -> Vec<usize> {
        let known = self.names.get(relation.name).map_or(&[][..], Vec::as_slice);
        let meant = known.iter().filter(|(number, provided)| {
            Some(*number) != but
                && provided.as_ref().is_none_or(|provided| relation.is_met_by(provided))
        });
        meant.map(|(number, _)| *number).collect()
    }

    /// Who meets a dependency alone.
    fn alone(&self, dependency: &Dependency<'_>, but: Option<usize>) -> Vec<usize> {
        match dependency {
            Dependency::Plain(relation) => self.meeting(relation, but),
            Dependency::Or(all) => all.iter().flat_map(|one| self.alone(one, but)).collect(),
            Dependency::With(one, other) => {
                let others = self.alone(other, but);
                self.alone(one, but).into_iter().filter(|id| others.contains(id)).collect()
            }
            Dependency::Without(one, other) => {
                let others = self.alone(other, but);
                self.alone(one, but).into_iter().filter(|id| !others.contains(id)).collect()
            }
            Dependency::And(_) | Dependency::If(..) | Dependency::Unless(..) => Vec::new(),
        }
    }

    /// Whether a dependency is met by the packages, but for one.
    fn holds(&self, dependency: &Dependency<'_>, but: Option<usize>) -> bool {
        let holds = |one: &Dependency<'_>| self.holds(one, but);
        match dependency {
            Dependency::Plain(relation) => !self.meeting(relation, but).is_empty(),
            Dependency::And(all) => all.iter().all(holds),
            Dependency::Or(all) => all.iter().any(holds),
            Dependency::With(..) | Dependency::Without(..) => {
                !self.alone(dependency, but).is_empty()
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
}

/// Whether a package is one that is asked for by this name, or takes its place.
fn answers(info: &Info<'_>, name: &str) -> bool {
    info.name == name || info.obsoletes.iter().any(|obsoleted| obsoleted.name == name)
}

fn named(info: &Info<'_>) -> String {
    format!("{} {}", info.name, info.version)
}

/// Why a choice of packages does not work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Something that was asked for is missing.
    #[error("package {name} is missing")]
    NotThere {
        /// What was asked for.
        name: String,
    },
    /// A package has relations that are not understood.
    #[error("package {package} is not supported")]
    Unsupported {
        /// Name and version.
        package: String,
    },
    /// Two packages have one name.
    #[error("packages {first} and {second} have one name")]
    Rivals {
        /// Name and version of one.
        first: String,
        /// Name and version of the other.
        second: String,
    },
    /// A requirement is not met.
    #[error("package {package} needs {need}")]
    Unmet {
        /// Name and version.
        package: String,
        /// What it needs.
        need: String,
    },
    /// A package is in conflict with what is there.
    #[error("package {package} conflicts with {relation}, which is there")]
    Clash {
        /// Name and version.
        package: String,
        /// With what.
        relation: String,
    },
    /// A package is there that nothing needs.
    #[error("package {package} is needed by nothing that was asked for")]
    Extraneous {
        /// Name and version.
        package: String,
    },
    /// A package obsoletes one that is there.
    #[error("package {package} obsoletes {other}, which is there")]
    Obsolete {
        /// Name and version.
        package: String,
        /// The other one's.
        other: String,
    },
}
