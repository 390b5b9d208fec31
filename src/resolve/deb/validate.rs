//! A second opinion on a choice of packages.
//!
//! Packages and the names that were asked for come in; the first rule that they break goes out.
//! Shares nothing with the search but the reading of relations: it does not know candidates,
//! preferences or variables, and goes by deb-control(5) and Debian Policy 7 alone.

use std::collections::BTreeMap;

use crate::package::deb::index::{MultiArch, Package};
use crate::package::deb::relation::{self, BadRelation, Qualifier, Relation};

/// Checks that `chosen` can be installed together on a system of the architecture `native`, need
/// nothing else, and hold all of `required`.
///
/// # Errors
/// The first [`Flaw`] in the order of the packages.
pub fn check(native: &str, required: &[&str], chosen: &[&Package<'_>]) -> Result<(), Flaw> {
    let system = System::new(native, chosen)?;
    for name in required {
        if !system.real.contains_key(name) {
            return Err(Flaw::NotThere { name: (*name).to_owned() });
        }
    }
    chosen.iter().try_for_each(|package| system.check_package(package))
}

/// Checks that each name of `asked` is among `chosen`, or is something that one of them provides.
///
/// # Errors
/// [`Flaw::NotThere`], and what keeps `chosen` from being a system.
pub fn check_asked(native: &str, asked: &[&str], chosen: &[&Package<'_>]) -> Result<(), Flaw> {
    let system = System::new(native, chosen)?;
    let is_there =
        |name: &&&str| system.real.contains_key(**name) || system.provided.contains_key(**name);
    match asked.iter().find(|name| !is_there(name)) {
        Some(name) => Err(Flaw::NotThere { name: (*name).to_owned() }),
        None => Ok(()),
    }
}

struct System<'p> {
    native: &'p str,
    real: BTreeMap<&'p str, &'p Package<'p>>,
    /// By provided name: who provides it, and how.
    provided: BTreeMap<&'p str, Vec<(&'p Package<'p>, Relation<'p>)>>,
}

impl<'p> System<'p> {
    fn new(native: &'p str, chosen: &[&'p Package<'p>]) -> Result<Self, Flaw> {
        let (mut real, mut provided) = (BTreeMap::new(), BTreeMap::<_, Vec<_>>::new());
        for package in chosen {
            if package.architecture != native && package.architecture != "all" {
                return Err(Flaw::Architecture { package: named(package) });
            }
            if real.insert(package.name, *package).is_some() {
                return Err(Flaw::Twice { name: package.name.to_owned() });
            }
            for relation in relation::parse_provides(package.provides).unwrap_or_default() {
                provided.entry(relation.name).or_default().push((*package, relation));
            }
        }
        Ok(Self { native, real, provided })
    }

    fn check_package(&self, package: &Package<'p>) -> Result<(), Flaw> {
        let unreadable = |source| Flaw::Unreadable { package: named(package), source };
        for field in [package.pre_depends, package.depends] {
            for group in relation::parse(field).map_err(unreadable)? {
                if !group.iter().any(|relation| self.holds(relation)) {
                    let group: Vec<_> = group.iter().map(ToString::to_string).collect();
                    return Err(Flaw::Unmet { package: named(package), need: group.join(" | ") });
                }
            }
        }
        for field in [package.conflicts, package.breaks] {
            for relation in relation::parse_plain(field).map_err(unreadable)? {
                if let Some(other) = self.meets(package, &relation) {
                    let relation = relation.to_string();
                    return Err(Flaw::Clash { package: named(package), relation, other });
                }
            }
        }
        Ok(())
    }

    /// Whether something in the system satisfies a dependency.
    fn holds(&self, relation: &Relation<'_>) -> bool {
        let fits = |package: &Package<'_>| match relation.qualifier {
            Some(Qualifier::Any) => package.multi_arch == MultiArch::Allowed,
            Some(Qualifier::Architecture(name)) => name == self.native,
            Some(Qualifier::Native) | None => true,
        };
        let real = self.real.get(relation.name);
        if real.is_some_and(|p| fits(p) && relation.allows(p.version)) {
            return true;
        }
        let providers = self.provided.get(relation.name).into_iter().flatten();
        let mut fitting = providers.filter(|(package, _)| fits(package));
        fitting.any(|(_, provided)| match (relation.versions, provided.versions) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(_), Some((_, version))) => relation.allows(version),
        })
    }

    /// Returns another package in the system that a conflict or break of `owner` is about.
    fn meets(&self, owner: &Package<'_>, relation: &Relation<'_>) -> Option<String> {
        if matches!(relation.qualifier, Some(Qualifier::Architecture(name)) if name != self.native)
        {
            return None;
        }
        let real = self.real.get(relation.name).filter(|p| relation.allows(p.version));
        let providers = self.provided.get(relation.name).into_iter().flatten();
        let fitting =
            providers.filter(|(_, provided)| match (relation.versions, provided.versions) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(_), Some((_, version))) => relation.allows(version),
            });
        let mut all = real.into_iter().chain(fitting.map(|(package, _)| package));
        all.find(|package| package.name != owner.name).map(|package| named(package))
    }
}

fn named(package: &Package<'_>) -> String {
    format!("{} {}", package.name, package.version)
}

/// Why a choice of packages does not work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// A package that was asked for is missing.
    #[error("package {name} is missing")]
    NotThere {
        /// Its name.
        name: String,
    },
    /// Two packages have one name.
    #[error("package {name} is there twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// A package is for other systems.
    #[error("package {package} is for another architecture")]
    Architecture {
        /// Name and version.
        package: String,
    },
    /// A relation cannot be understood.
    #[error("a relation of package {package} cannot be understood")]
    Unreadable {
        /// Name and version.
        package: String,
        /// The entry and the rule that it breaks.
        source: BadRelation,
    },
    /// A dependency leads to no package.
    #[error("package {package} needs {need}")]
    Unmet {
        /// Name and version.
        package: String,
        /// The alternatives.
        need: String,
    },
    /// A conflict or break is about another package.
    #[error("package {package} refuses {relation}, which {other} is")]
    Clash {
        /// Name and version.
        package: String,
        /// What it refuses.
        relation: String,
        /// Name and version of what is there.
        other: String,
    },
}
