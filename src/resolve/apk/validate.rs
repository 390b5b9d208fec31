//! A second opinion on a choice of packages.
//!
//! Packages and what was asked for come in; the first rule that they break goes out. Shares nothing
//! with the search but the reading of relations: it does not know candidates, preferences or
//! variables, and goes by apk-world(5) and apk-package(5) alone.

use std::collections::BTreeMap;

use crate::package::apk::info::Info;
use crate::package::apk::relation::Relation;
use crate::package::apk::version::Version;

/// Checks that `chosen` can be installed together, need nothing else, and do what was `asked`.
///
/// # Errors
/// The first [`Flaw`] in the order of the packages.
pub fn check(asked: &[Relation<'_>], chosen: &[&Info<'_>]) -> Result<(), Flaw> {
    let system = System::new(chosen)?;
    for relation in asked {
        if system.holds(relation, None) == relation.refuses {
            return Err(Flaw::NotThere { relation: relation.to_string() });
        }
    }
    chosen.iter().try_for_each(|info| system.check_package(info))
}

struct System<'p> {
    /// By name: who goes by it, and in which version.
    names: BTreeMap<&'p str, Vec<(&'p Info<'p>, Option<Version<'p>>)>>,
}

impl<'p> System<'p> {
    fn new(chosen: &[&'p Info<'p>]) -> Result<Self, Flaw> {
        let mut names: BTreeMap<&str, Vec<(&Info<'_>, Option<Version<'_>>)>> = BTreeMap::new();
        for info in chosen {
            if info.unsupported {
                return Err(Flaw::Unsupported { package: named(info) });
            }
            names.entry(info.name).or_default().push((info, Some(info.version)));
            for provided in &info.provides {
                names.entry(provided.name).or_default().push((info, provided.version()));
            }
        }
        for (name, holders) in &names {
            let ([(first, _), rest @ ..], true) =
                (holders.as_slice(), holders.iter().any(|(_, version)| version.is_some()))
            else {
                continue;
            };
            if let Some((second, _)) = rest.first() {
                let (first, second, name) = (named(first), named(second), (*name).to_owned());
                return Err(Flaw::Rivals { name, first, second });
            }
        }
        Ok(Self { names })
    }

    fn check_package(&self, info: &Info<'_>) -> Result<(), Flaw> {
        for relation in &info.depends {
            let (package, relation_text) = (named(info), relation.to_string());
            match (relation.refuses, self.holds(relation, Some(info.name))) {
                (false, false) => return Err(Flaw::Unmet { package, need: relation_text }),
                (true, true) => return Err(Flaw::Clash { package, relation: relation_text }),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether somebody in the system is meant by a relation. What a package refuses is never itself.
    fn holds(&self, relation: &Relation<'_>, owner: Option<&str>) -> bool {
        let mut holders = self.names.get(relation.name).into_iter().flatten();
        holders.any(|(info, version)| {
            let itself = relation.refuses && owner == Some(info.name);
            !itself && relation.allows(*version, Some(info.identity))
        })
    }
}

fn named(info: &Info<'_>) -> String {
    format!("{} {}", info.name, info.version)
}

/// Why a choice of packages does not work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Something that was asked for is missing, or refused and there.
    #[error("{relation} was asked for and is not so")]
    NotThere {
        /// What was asked for.
        relation: String,
    },
    /// A package uses what is not known.
    #[error("package {package} is not supported")]
    Unsupported {
        /// Name and version.
        package: String,
    },
    /// Two packages, or two versions of one, go by one name that has a version.
    #[error("packages {first} and {second} both go by the name {name}")]
    Rivals {
        /// The name.
        name: String,
        /// Name and version of one.
        first: String,
        /// Name and version of another.
        second: String,
    },
    /// A dependency leads to no package.
    #[error("package {package} needs {need}")]
    Unmet {
        /// Name and version.
        package: String,
        /// What it needs.
        need: String,
    },
    /// A package refuses what is there.
    #[error("package {package} refuses {relation}, which is there")]
    Clash {
        /// Name and version.
        package: String,
        /// What it refuses.
        relation: String,
    },
}
