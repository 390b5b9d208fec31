//! Which triggers run when, as rpm has it: values, before anything runs.
//!
//! In: packages in the order of installing; out: for a package what runs before it is there, what runs
//! right after, what runs after its `%post`; and what runs after the last script. A trigger is in force
//! once its own package is in the database. Specification: rpm's documentation of triggers and file
//! triggers, and for the order `lib/psm.c` and `lib/rpmtriggers.c` of rpm 4.18:
//!
//! - triggers that a package sets off run before those of its own that others set off;
//! - file triggers run by priority, then in the order of installing; of a package's own those that its
//!   own files set off run with those of others, and then once more those that files of others do;
//! - what a file trigger reads are the paths that begin as it says, prefix by prefix; where it looks
//!   through the database, of those packages only that have a directory which begins so;
//! - of one pair of packages at most one trigger runs, the first that fits.

use crate::package::rpm::scripts::{Condition, TriggerScript, Triggers, Watched};
use crate::unpack::rpm::Package;

/// File triggers of this priority or a higher one run before `%post`.
const BEFORE_SCRIPT: u32 = 10_000;

/// One run of a trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Firing {
    /// Whose trigger it is: the package's number.
    pub(super) owner: usize,
    pub(super) watched: Watched,
    /// The number of the script among those.
    pub(super) script: usize,
    /// Whether it runs before the package that sets it off.
    pub(super) is_before: bool,
    /// Numbers of installed packages.
    pub(super) arguments: Vec<usize>,
    /// What it reads, a path a line.
    pub(super) input: Vec<u8>,
}

/// What the installing of one package sets off.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Fired {
    pub(super) before: Vec<Firing>,
    pub(super) before_script: Vec<Firing>,
    pub(super) after_script: Vec<Firing>,
}

/// What each package sets off.
pub(super) fn fired(packages: &[Package]) -> Vec<Fired> {
    let all = (0..packages.len()).map(|number| {
        let transaction = Installing { packages, number };
        let mut after_script = transaction.by_packages(false);
        after_script.extend(transaction.by_files(|priority| priority < BEFORE_SCRIPT));
        Fired {
            before: transaction.by_packages(true),
            before_script: transaction.by_files(|priority| priority >= BEFORE_SCRIPT),
            after_script,
        }
    });
    all.collect()
}

/// What runs after the last script of all packages.
pub(super) fn fired_by_all(packages: &[Package]) -> Vec<Firing> {
    let mut firings = Vec::new();
    for (owner, package) in packages.iter().enumerate() {
        for (script, _) in by_priority([(owner, package)], Watched::AllFiles) {
            let watch = FileWatch { owner, watched: Watched::AllFiles, script };
            firings.extend(watch.firing(packages, |watch, prefix| watch.all(packages, prefix)));
        }
    }
    firings
}

/// The scripts of packages' file triggers with their owners, those of the highest priority first.
fn by_priority<'a>(
    packages: impl IntoIterator<Item = (usize, &'a Package)>,
    watched: Watched,
) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (owner, package) in packages {
        let scripts = package.triggers(watched).scripts.iter().enumerate();
        let with_priority =
            scripts.filter_map(|(at, script)| script.as_ref().map(|s| (s.priority, at)));
        found.extend(with_priority.map(|(priority, at)| (priority, owner, at)));
    }
    found.sort_by_key(|(priority, owner, at)| (std::cmp::Reverse(*priority), *owner, *at));
    found.into_iter().map(|(_, owner, at)| (at, owner)).collect()
}

/// A package that is being installed.
struct Installing<'a> {
    packages: &'a [Package],
    number: usize,
}

impl<'a> Installing<'a> {
    fn package(&self) -> &'a Package {
        self.packages.get(self.number).expect("numbers are those of packages")
    }

    /// The packages in the database: the one that is being installed is there once its files are.
    fn installed(&self, is_before: bool) -> &'a [Package] {
        let end = self.number.saturating_add(usize::from(!is_before));
        self.packages.get(..end).unwrap_or_default()
    }

    fn count(&self, is_before: bool, name: &str) -> usize {
        let named = |package: &&Package| package.name.as_str() == name;
        self.installed(is_before).iter().filter(named).count()
    }

    /// Triggers of packages, before or after the files are there.
    fn by_packages(&self, is_before: bool) -> Vec<Firing> {
        let mut firings = Vec::new();
        let (package, installed) = (self.package(), self.installed(is_before));
        let own_count = self.count(is_before, package.name.as_str());
        for (owner, other) in installed.iter().enumerate() {
            if let Some(condition) =
                first_met(other.triggers(Watched::Packages), package, is_before)
            {
                let count = self.count(is_before, other.name.as_str());
                let arguments = vec![count, own_count];
                firings.extend(firing(other, (owner, condition.script), is_before, arguments));
            }
        }
        let own = package.triggers(Watched::Packages);
        let mut done: Vec<usize> = Vec::new();
        for condition in &own.conditions {
            if done.contains(&condition.script) {
                continue;
            }
            let named = |other: &&Package| other.name.as_str() == condition.name;
            for other in installed.iter().filter(named) {
                let Some(met) = first_met(own, other, is_before) else { continue };
                if !done.contains(&met.script) {
                    done.push(met.script);
                    let arguments = vec![own_count, self.count(is_before, &condition.name)];
                    let place = (self.number, met.script);
                    firings.extend(firing(package, place, is_before, arguments));
                }
            }
        }
        firings
    }

    /// File triggers of those priorities: of all packages for this one's files, then its own for files
    /// of others.
    fn by_files(&self, priority: impl Fn(u32) -> bool) -> Vec<Firing> {
        let (package, installed) = (self.package(), self.installed(false));
        let is_meant = |owner: usize, script: usize| {
            let package = self.packages.get(owner);
            let script = package.and_then(|package| script_of(package, Watched::Files, script));
            script.is_some_and(|script| priority(script.priority))
        };
        let mut firings = Vec::new();
        for (script, owner) in by_priority(installed.iter().enumerate(), Watched::Files) {
            let watch = FileWatch { owner, watched: Watched::Files, script };
            if is_meant(owner, script) {
                let own = |_: &FileWatch, prefix: &str| paths(package, prefix);
                firings.extend(watch.firing(self.packages, own));
            }
        }
        let others = self.installed(true);
        for (script, owner) in by_priority([(self.number, package)], Watched::Files) {
            let watch = FileWatch { owner, watched: Watched::Files, script };
            if is_meant(owner, script) {
                let found = |watch: &FileWatch, prefix: &str| watch.all(others, prefix);
                firings.extend(watch.firing(self.packages, found));
            }
        }
        firings
    }
}

fn script_of(package: &Package, watched: Watched, script: usize) -> Option<&TriggerScript> {
    package.triggers(watched).scripts.get(script)?.as_ref()
}

/// The first of the conditions that a package meets.
fn first_met<'a>(
    triggers: &'a Triggers,
    package: &Package,
    is_before: bool,
) -> Option<&'a Condition> {
    let is_now = |condition: &&Condition| {
        if is_before { condition.is_before() } else { condition.is_after() }
    };
    let named = |condition: &&Condition| condition.name == package.name.as_str();
    let mut conditions = triggers.conditions.iter().filter(is_now).filter(named);
    conditions.find(|condition| package.meets(condition))
}

fn firing(
    package: &Package,
    (owner, script): (usize, usize),
    is_before: bool,
    arguments: Vec<usize>,
) -> Option<Firing> {
    let watched = Watched::Packages;
    script_of(package, watched, script)?;
    Some(Firing { owner, watched, script, is_before, arguments, input: Vec::new() })
}

/// A file trigger.
struct FileWatch {
    owner: usize,
    watched: Watched,
    script: usize,
}

impl FileWatch {
    /// Its run, if any path that `found` returns for its prefixes is there.
    fn firing(
        self,
        packages: &[Package],
        found: impl Fn(&Self, &str) -> Vec<u8>,
    ) -> Option<Firing> {
        let triggers = packages.get(self.owner)?.triggers(self.watched);
        let own = |condition: &&Condition| condition.script == self.script;
        let mut conditions = triggers.conditions.iter().filter(own).peekable();
        if !conditions.peek()?.is_after() {
            return None;
        }
        let input: Vec<u8> = conditions.flat_map(|prefix| found(&self, &prefix.name)).collect();
        let Self { owner, watched, script } = self;
        let arguments = vec![0];
        (!input.is_empty()).then_some(Firing {
            owner,
            watched,
            script,
            is_before: false,
            arguments,
            input,
        })
    }

    /// The paths of packages that begin so, where a directory of the package does.
    fn all(&self, packages: &[Package], prefix: &str) -> Vec<u8> {
        let begins = |package: &&Package| {
            package.listed.iter().any(|listed| listed.folder().starts_with(prefix.as_bytes()))
        };
        packages.iter().filter(begins).flat_map(|package| paths(package, prefix)).collect()
    }
}

/// The paths of a package that begin so, each as a line.
fn paths(package: &Package, prefix: &str) -> Vec<u8> {
    let listed = package.listed.iter().filter(|listed| listed.is_there);
    let begins = listed.filter(|listed| listed.path.starts_with(prefix.as_bytes()));
    begins.flat_map(|listed| [&listed.path[..], b"\n"].concat()).collect()
}

#[cfg(test)]
mod tests;
