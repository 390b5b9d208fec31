//! What a recipe means: exact packages, chosen from verified indexes.
//!
//! A recipe and the indexes of its repositories come in, a choice goes out that needs only the
//! digests of some files to be a lock, or a [`Conflict`] that a person can act on. The same packages
//! in the same repositories give the same choice, in whatever order the indexes list them. Nothing is
//! fetched here, and no clock limits the search.

pub mod apk;
mod conflict;
pub mod deb;
pub mod rpm;
mod solver;

use serde::Serialize;

pub use self::conflict::{Conflict, Sentence};
use crate::digest::Digest;
use crate::distro::Family;
use crate::fetch::Indexes;
use crate::lock::{Choice, FORMAT, Lock, LockedRepository, Runner};
use crate::package::{BadName, PackageName};
use crate::recipe::{Recipe, Scripts, Variant};

/// One repository as the search sees it.
#[derive(Debug, Clone, Copy)]
pub struct Repository<'a> {
    /// What the lock records of it.
    pub locked: &'a LockedRepository,
    /// Its package indexes.
    pub texts: &'a [Vec<u8>],
    /// apt's priority of its packages.
    pub pin: u16,
    /// The tag that must be asked for to use it, as apk knows it.
    pub tag: Option<&'a str>,
}

/// Chooses the packages of a recipe from verified indexes.
///
/// # Errors
/// [`Error`] for a request that cannot be met, or an index that cannot be trusted.
pub fn resolve(recipe: &Recipe, indexes: &Indexes) -> Result<Choice, Error> {
    resolve_from(recipe, &plain(indexes))
}

/// The files that packages require and that nobody is known to have by these indexes: with them, what
/// cannot be chosen may be.
///
/// # Errors
/// [`Error::Index`]
pub fn files_wanted(recipe: &Recipe, indexes: &Indexes) -> Result<Vec<String>, Error> {
    match recipe.distro.family {
        Family::Deb | Family::Apk => Ok(Vec::new()),
        Family::Rpm => rpm::question::files_wanted(recipe, &plain(indexes)),
    }
}

fn plain(indexes: &Indexes) -> Vec<Repository<'_>> {
    let repositories = indexes.repositories().iter();
    repositories
        .map(|r| Repository { locked: r.locked(), texts: r.texts(), pin: r.pin(), tag: r.tag() })
        .collect()
}

/// As [`resolve`], from plain values, the most preferred repository first.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_from(recipe: &Recipe, repositories: &[Repository<'_>]) -> Result<Choice, Error> {
    let packages = match recipe.distro.family {
        Family::Deb => deb::question::ask(recipe, repositories)?,
        Family::Apk => apk::question::ask(recipe, repositories)?,
        Family::Rpm => rpm::question::ask(recipe, repositories)?,
    };
    let head = Lock {
        format: FORMAT,
        distribution: recipe.distro.name.clone(),
        release: recipe.release.codename.clone(),
        architecture: recipe.architecture.kernel_name().to_owned(),
        request: request_digest(recipe),
        plain_chroot: recipe.plain_chroot,
        scripts: match recipe.scripts {
            Scripts::Any => Runner::Either,
            Scripts::Programs => Runner::Programs,
            Scripts::BuiltIn => Runner::BuiltIn,
        },
        epoch: repositories.iter().map(|r| r.locked.date).max().unwrap_or_default(),
        repositories: repositories.iter().map(|r| r.locked.clone()).collect(),
        packages: Vec::new(),
    };
    Ok(Choice { head, packages })
}

fn asked(recipe: &Recipe) -> Vec<&str> {
    recipe.packages.asked()
}

/// Whether a package is never to be installed.
fn is_excluded(recipe: &Recipe, name: &str) -> bool {
    recipe.packages.exclude.iter().any(|excluded| excluded.as_str() == name)
}

/// Returns the digest of all in a recipe that bears on the choice of packages and on how far the
/// result can be trusted.
///
/// Mirrors are not part of it: whatever serves them, the packages are the same.
pub fn request_digest(recipe: &Recipe) -> Digest {
    /// Serialized as JSON, in which no value can be taken for another.
    #[derive(Serialize)]
    struct Asked<'a> {
        format: u32,
        distribution: &'a str,
        release: &'a str,
        suites: Vec<&'a str>,
        architecture: &'a str,
        packages: Vec<&'a str>,
        variant: &'a str,
        recommends: bool,
        components: &'a [String],
        repositories: &'a [String],
        insecure: bool,
        /// Left out where nothing is excluded.
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        exclude: &'a [PackageName],
        /// Left out where it is not asked for.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        plain_chroot: bool,
    }
    let sources = &recipe.sources;
    let pockets = if sources.release_only { 1 } else { usize::MAX };
    let own = recipe.release.suites.iter().take(pockets).map(|suite| suite.name.as_str());
    let asked = Asked {
        format: 1,
        distribution: &recipe.distro.name,
        release: &recipe.release.codename,
        suites: own.chain(sources.extra_suites.iter().map(String::as_str)).collect(),
        architecture: recipe.architecture.kernel_name(),
        packages: asked(recipe),
        variant: match recipe.packages.variant {
            Variant::Essential => "essential",
            Variant::Required => "required",
        },
        recommends: recipe.packages.recommends,
        components: match sources.components.as_slice() {
            [] => &recipe.distro.components,
            components => components,
        },
        repositories: &sources.repositories,
        insecure: sources.insecure,
        exclude: &recipe.packages.exclude,
        plain_chroot: recipe.plain_chroot,
    };
    Digest::of(&serde_json::to_vec(&asked).expect("strings, numbers and lists are valid JSON"))
}

/// Checks that a lock answers a recipe: the same question, so that its answer can be used.
///
/// # Errors
/// [`Error::OtherRecipe`] with the first thing that differs.
pub fn check_lock(lock: &Lock, recipe: &Recipe) -> Result<(), Error> {
    let differs = |what, locked: &str, asked: &str| {
        let (locked, asked) = (locked.to_owned(), asked.to_owned());
        if locked == asked { Ok(()) } else { Err(Error::OtherRecipe { what, locked, asked }) }
    };
    differs("distribution", &lock.distribution, &recipe.distro.name)?;
    differs("release", &lock.release, &recipe.release.codename)?;
    differs("architecture", &lock.architecture, recipe.architecture.kernel_name())?;
    let walls = |plain: bool| if plain { "a plain chroot" } else { "a sandbox" };
    differs("place of scripts", walls(lock.plain_chroot), walls(recipe.plain_chroot))?;
    let runner = |scripts| match scripts {
        Scripts::Any => "any",
        Scripts::Programs => "programs",
        Scripts::BuiltIn => "built-in",
    };
    differs("runner of scripts", runner(as_locked(lock)), runner(as_asked(recipe, lock)))?;
    differs("request", &lock.request.to_string(), &request_digest(recipe).to_string())
}

/// Who runs the scripts of a lock's packages.
pub const fn as_locked(lock: &Lock) -> Scripts {
    match lock.scripts {
        Runner::Either => Scripts::Any,
        Runner::Programs => Scripts::Programs,
        Runner::BuiltIn => Scripts::BuiltIn,
    }
}

/// Who shall run them: a recipe that leaves it open takes what the lock says.
const fn as_asked(recipe: &Recipe, lock: &Lock) -> Scripts {
    match recipe.scripts {
        Scripts::Any => as_locked(lock),
        asked => asked,
    }
}

/// Checks that the packages of a lock do what the recipe asks and hold each other up: each
/// dependency leads to one of them, and no two exclude each other. For this their `control` files
/// are needed, in the lock's order.
///
/// # Errors
/// [`Error::Control`] for a file that is not that of its package, [`Error::Incomplete`] for the
/// first dependency or conflict that fails.
pub fn check_complete(lock: &Lock, recipe: &Recipe, controls: &[&[u8]]) -> Result<(), Error> {
    if let Some(extra) = lock.packages.get(controls.len()) {
        return Err(Error::Control { package: extra.name.clone() });
    }
    if let Some(locked) =
        lock.packages.iter().find(|locked| is_excluded(recipe, locked.name.as_str()))
    {
        return Err(Error::Excluded { package: locked.name.clone() });
    }
    match recipe.distro.family {
        Family::Deb => deb::question::check(lock, recipe, controls),
        Family::Apk => apk::question::check(lock, recipe, controls),
        Family::Rpm => rpm::question::check(lock, recipe, controls),
    }
}

/// A family's own words for what is wrong.
pub type Reason = Box<dyn std::error::Error + Send + Sync>;

/// Why a family chose nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure<Flaw> {
    /// The request cannot be met.
    Conflict(Conflict),
    /// Neither an answer nor a contradiction was found within the limit of work.
    TooHard,
    /// The answer breaks a rule: a mistake of this program.
    Unsound(Flaw),
}

impl<Flaw: Into<Reason>> From<Failure<Flaw>> for Error {
    fn from(failure: Failure<Flaw>) -> Self {
        match failure {
            Failure::Conflict(conflict) => Self::Conflict(conflict),
            Failure::TooHard => Self::TooHard,
            Failure::Unsound(flaw) => Self::Unsound(flaw.into()),
        }
    }
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No choice of packages does what was asked.
    #[error("{0}")]
    Conflict(Conflict),
    /// An index says what cannot be trusted or understood.
    #[error("the repository {suite} cannot be used")]
    Index {
        /// The repository's suite.
        suite: String,
        /// What is wrong.
        source: Reason,
    },
    /// The search was given up.
    #[error("neither a choice of packages nor a contradiction was found within the limit of work")]
    TooHard,
    /// The answer breaks a rule.
    #[error("the packages that were chosen do not fit together, which is a mistake of osbuilder")]
    Unsound(#[source] Reason),
    /// What is asked for is no name of a package with a condition on its version.
    #[error("what is asked for cannot be understood")]
    Asked(#[source] Reason),
    /// A package is asked for from repositories with a tag that none has.
    #[error(
        "{asked} is asked for, and no repository has the tag {tag}: a repository \"@{tag} URL\" would"
    )]
    NoTag {
        /// What is asked for.
        asked: String,
        /// The tag.
        tag: String,
    },
    /// A package has a name that no package can have.
    #[error("a chosen package cannot be named")]
    Name(#[from] BadName),
    /// A control file is not that of the locked package.
    #[error("the package {package} is not what the lock says it is")]
    Control {
        /// The package.
        package: PackageName,
    },
    /// A package of a lock is one that the recipe excludes.
    #[error("the lock has the package {package}, which the recipe excludes")]
    Excluded {
        /// The package.
        package: PackageName,
    },
    /// The packages of a lock do not hold each other up.
    #[error("the packages of the lock do not fit together")]
    Incomplete(#[source] Reason),
    /// The lock answers another question.
    #[error("the lock is for another recipe: its {what} is {locked}, the recipe's is {asked}")]
    OtherRecipe {
        /// What differs.
        what: &'static str,
        /// In the lock.
        locked: String,
        /// In the recipe.
        asked: String,
    },
}

impl Error {
    fn index(repository: &Repository<'_>, source: impl Into<Reason>) -> Self {
        Self::Index { suite: repository.locked.suite.clone(), source: source.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epoch::Epoch;
    use crate::lock::{Identity, LockedPackage};
    use crate::recipe::{self, Options, RecipeFile, Surroundings};

    const A: &str = "Package: a\nVersion: 1\nArchitecture: amd64\nDepends: b\n";
    const B: &str = "Package: b\nVersion: 2\nArchitecture: all\nEssential: yes\n";

    fn recipe(text: &str) -> Recipe {
        let text = format!("distribution = \"debian\"\narchitecture = \"x86_64\"\n{text}");
        let file = RecipeFile { path: "test.toml".as_ref(), text: &text };
        let surroundings = Surroundings { without_agent: true, ..Surroundings::default() };
        let request = recipe::Request {
            file: Some(file),
            environment: &std::collections::BTreeMap::new(),
            options: &Options::default(),
            surroundings: &surroundings,
        };
        recipe::read(request).unwrap().recipe
    }

    fn snapshot(suite: &str, date: u64) -> LockedRepository {
        LockedRepository {
            url: "http://ftp.debian.org/debian".to_owned(),
            suite: suite.to_owned(),
            components: vec!["main".to_owned()],
            digest: Digest::of(suite.as_bytes()),
            date: Epoch::new(date).unwrap(),
            signed_by: Vec::new(),
        }
    }

    fn text(controls: &[&str]) -> Vec<Vec<u8>> {
        let file = |control: &&str| {
            let digest = Digest::of(control.as_bytes());
            format!("{control}Filename: pool/{digest}\nSize: 1\nSHA256: {digest}\n\n")
        };
        vec![controls.iter().map(file).collect::<String>().into_bytes()]
    }

    fn resolved(texts: &[Vec<u8>]) -> Result<Lock, Error> {
        let (main, security) = (snapshot("trixie", 7), snapshot("trixie-security", 9));
        let repositories = [
            Repository { locked: &main, texts, pin: 500, tag: None },
            Repository { locked: &security, texts: &[], pin: 500, tag: None },
        ];
        let choice = resolve_from(&recipe("packages = [\"a\"]"), &repositories)?;
        choice.complete(|chosen| match chosen.identity {
            Identity::File(digest) => Ok(digest),
            Identity::Part(_) => panic!("an index of Debian's kind vouches for whole files"),
        })
    }

    #[test]
    fn a_lock_says_what_was_chosen_from_where_and_when() {
        let lock = resolved(&text(&[A, B])).unwrap();
        let shown = |p: &LockedPackage| format!("{} {} {}", p.name, p.version, p.architecture);
        assert_eq!(lock.packages.iter().map(shown).collect::<Vec<_>>(), ["a 1 amd64", "b 2 all"]);
        assert_eq!((lock.epoch.seconds(), lock.repositories.len()), (9, 2));
        assert_eq!((lock.distribution.as_str(), lock.release.as_str()), ("debian", "trixie"));
        assert_eq!(Lock::parse(&lock.to_string()).unwrap(), lock);
        assert_eq!(resolved(&text(&[B, A])).unwrap(), lock);
    }

    #[test]
    fn what_cannot_be_is_an_error_that_names_the_suite_or_the_packages() {
        let error = resolved(&text(&[A])).unwrap_err().to_string();
        assert!(error.contains("a 1 needs b\n    no repository has b"), "{error}");
        let error = resolved(&[b"Package: a\n".to_vec()]).unwrap_err().to_string();
        assert_eq!(error, "the repository trixie cannot be used");
    }

    #[test]
    fn all_that_bears_on_the_choice_changes_the_request_and_nothing_else_does() {
        let plain = request_digest(&recipe("packages = [\"a\", \"b\"]"));
        for same in
            ["packages = [\"b\", \"a\", \"a\"]", "packages = [\"a\"]\nextra-packages = [\"b\"]"]
        {
            assert_eq!(request_digest(&recipe(same)), plain, "{same}");
        }
        let mut mirrored = recipe("packages = [\"a\", \"b\"]");
        mirrored.sources.mirrors = vec!["http://example.org/debian".to_owned()];
        assert_eq!(request_digest(&mirrored), plain);
        let mut other = recipe("packages = [\"a\", \"b\"]");
        let changes: [fn(&mut Recipe); 9] = [
            |r| r.packages.exclude = vec!["c".parse().unwrap()],
            |r| r.packages.recommends = true,
            |r| r.packages.variant = Variant::Essential,
            |r| r.sources.components = vec!["contrib".to_owned()],
            |r| r.sources.extra_suites = vec!["trixie-backports".to_owned()],
            |r| r.sources.release_only = true,
            |r| r.sources.insecure = true,
            |r| r.plain_chroot = true,
            |r| drop(r.packages.base.pop()),
        ];
        let mut seen = vec![plain];
        for change in changes {
            change(&mut other);
            let digest = request_digest(&other);
            assert!(!seen.contains(&digest));
            seen.push(digest);
        }
    }

    #[test]
    fn what_is_excluded_is_neither_asked_for_nor_taken_nor_accepted() {
        let texts = text(&[A, B]);
        let main = snapshot("trixie", 7);
        let repositories = [Repository { locked: &main, texts: &texts, pin: 500, tag: None }];
        let names = |choice: Choice| -> Vec<String> {
            choice.packages.iter().map(|chosen| chosen.name.to_string()).collect()
        };
        let asked = |text: &str| resolve_from(&recipe(text), &repositories).map(names);
        assert_eq!(asked("packages = [\"a\"]").unwrap(), ["a", "b"]);
        assert_eq!(asked("packages = [\"a\"]\nexclude = [\"a\"]").unwrap(), ["b"]);
        let error = asked("packages = [\"a\"]\nexclude = [\"b\"]").unwrap_err().to_string();
        assert!(error.contains("a 1 needs b"), "{error}");
        let lock = resolved(&texts).unwrap();
        let controls = [A.as_bytes(), B.as_bytes()];
        let excluding = recipe("packages = [\"a\"]\nexclude = [\"b\"]");
        let refused = check_complete(&lock, &excluding, &controls);
        assert!(matches!(refused, Err(Error::Excluded { package }) if package.as_str() == "b"));
    }

    #[test]
    fn a_lock_says_who_runs_scripts_unless_the_recipe_does() {
        let lock = resolved(&text(&[A, B])).unwrap();
        let mut recipe = recipe("packages = [\"a\"]");
        for (scripts, locked) in [
            (Runner::Either, Scripts::Any),
            (Runner::Programs, Scripts::Programs),
            (Runner::BuiltIn, Scripts::BuiltIn),
        ] {
            let lock = Lock { scripts, ..lock.clone() };
            assert_eq!(as_locked(&lock), locked);
            for asked in [Scripts::Any, Scripts::Programs, Scripts::BuiltIn] {
                recipe.scripts = asked;
                let fits = asked == Scripts::Any || asked == locked;
                assert_eq!(check_lock(&lock, &recipe).is_ok(), fits, "{asked:?} {locked:?}");
            }
        }
    }

    #[test]
    fn a_lock_for_another_recipe_is_refused() {
        let lock = resolved(&text(&[A, B])).unwrap();
        assert!(check_lock(&lock, &recipe("packages = [\"a\"]")).is_ok());
        let other = recipe("packages = [\"b\"]");
        let error = check_lock(&lock, &other).unwrap_err().to_string();
        assert!(error.starts_with("the lock is for another recipe: its request is"), "{error}");
        let older = recipe("packages = [\"a\"]\nversion = \"bookworm\"");
        let error = check_lock(&lock, &older).unwrap_err().to_string();
        assert!(error.ends_with("its release is trixie, the recipe's is bookworm"), "{error}");
    }

    #[test]
    fn a_lock_whose_dependencies_lead_elsewhere_is_refused() {
        let lock = resolved(&text(&[A, B])).unwrap();
        let recipe = recipe("packages = [\"a\"]");
        let check = |lock: &Lock, controls: &[&str]| {
            let controls: Vec<_> = controls.iter().map(|c| c.as_bytes()).collect();
            check_complete(lock, &recipe, &controls)
        };
        assert!(check(&lock, &[A, B]).is_ok());
        assert!(matches!(check(&lock, &[B, A]), Err(Error::Control { .. })));
        assert!(matches!(check(&lock, &[A]), Err(Error::Control { .. })));
        let mut shorter = lock.clone();
        shorter.packages.pop();
        assert!(matches!(check(&shorter, &[A]), Err(Error::Incomplete(_))));
        shorter.packages = vec![lock.packages[1].clone()];
        let Err(Error::Incomplete(flaw)) = check(&shorter, &[B]) else { panic!("a is missing") };
        assert_eq!(flaw.to_string(), "package a is missing");
        let newer = A.replace("Version: 1", "Version: 1.1");
        assert!(matches!(check(&lock, &[&newer, B]), Err(Error::Control { .. })));
    }
}
