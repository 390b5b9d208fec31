//! Debian's trees made by the built-in handlers against those that packages' own programs make in the
//! sandbox: same packages, same release, this processor and others, whose programs Debian's static
//! emulators run.
//!
//! `tests/parity/handlers.toml` lists what may differ and why; any other difference fails the task.

use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use crate::needs::{self, Need};
use crate::parity::{self, CASES, Case, Known};
use crate::peer::{self, Mirrors};
use crate::{Outcome, say};

/// Processors, and what runs their programs on another one.
const EMULATORS: [(&str, Need); 4] = [
    ("x86_64", Need::Tool("qemu-x86_64-static", "qemu-user-static")),
    ("aarch64", Need::Tool("qemu-aarch64-static", "qemu-user-static")),
    ("ppc64le", Need::Tool("qemu-ppc64le-static", "qemu-user-static")),
    ("s390x", Need::Tool("qemu-s390x-static", "qemu-user-static")),
];

/// The cases that the word `emulated` means, of which the first one is taken that the mirror serves whole:
/// emulators are slow, and these have the fewest packages.
const EMULATED: [&str; 2] = ["trixie-agent", "bookworm-agent"];

/// How many comparisons go on at once: scripts run one after the other.
const AT_ONCE: usize = 2;

/// Packages for other processors come from the release alone: a mirror in front of an archive, as CI may
/// have it, need not have its other suites for all of them.
const FOREIGN_LINES: &str = "sources.release-only = true\n";

/// A comparison: its name, what is built, and for which processor, if for another one.
struct Comparison {
    name: String,
    case: &'static Case,
    foreign: Option<(&'static str, Need)>,
}

/// Runs the named cases; `emulated`, which is one for each other processor; `all`; or, if none is named,
/// those of this processor.
pub(crate) fn run(words: &[&str]) -> Outcome {
    let known = parity::known("handlers.toml")?;
    let mirrors = peer::host_mirrors()?;
    let work = std::env::temp_dir().join(format!("osbuilder-handlers-{}", std::process::id()));
    fs_err::create_dir_all(&work)?;
    let comparisons = wanted(words, |one| is_served(one, &mirrors, &work))?;
    let failed = Mutex::new(Vec::new());
    let rest = Mutex::new(comparisons.iter());
    let next = || rest.lock().expect("nobody panics with it").next();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(comparison) = next() {
                    let outcome = comparison.run((&mirrors, &known), &work);
                    if let Err(error) = outcome {
                        say(&format!("handlers {}: {error}", comparison.name));
                        let line = format!("{}: {error}", comparison.name);
                        failed.lock().expect("nobody panics with it").push(line);
                    }
                }
            });
        }
    });
    fs_err::remove_dir_all(&work)?;
    let failed = failed.into_inner().expect("nobody panics with it");
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n").into()) }
}

impl Comparison {
    /// Builds both trees in a folder of their own, below `work`.
    fn run(&self, (mirrors, known): (&Mirrors, &[Known]), work: &Path) -> Outcome {
        let (cache, work) = (&work.join("cache"), &work.join(&self.name));
        fs_err::create_dir_all(work)?;
        let Self { name, case, foreign } = self;
        let lines = if foreign.is_some() { FOREIGN_LINES } else { "" };
        let tree = |who| {
            let mut options = vec!["--scripts", who];
            options.extend(foreign.iter().flat_map(|(processor, _)| ["--arch", processor]));
            parity::our_tree(case, mirrors, (work, cache), (lines, &options))
        };
        let handlers = tree("built-in")?;
        let began = Instant::now();
        let programs = tree("programs")?;
        let took = began.elapsed().as_secs();
        let unexplained = parity::compare(name, (&handlers, &programs), known);
        let count = unexplained.len();
        say(&format!("handlers {name}: {count} unexplained differences; programs took {took} s"));
        unexplained.iter().for_each(|line| say(&format!("  {line}")));
        fs_err::remove_dir_all(work)?;
        if count == 0 { Ok(()) } else { Err("the trees differ".into()) }
    }
}

/// What the words mean; each has to mean something, and what it needs has to be here.
fn wanted(
    words: &[&str],
    is_served: impl Fn(&Comparison) -> Result<bool, Box<dyn std::error::Error>>,
) -> Result<Vec<Comparison>, Box<dyn std::error::Error>> {
    let mut all = comparisons();
    let is_known = |word: &str| ["all", "emulated"].contains(&word) || names(&all).contains(&word);
    if let Some(unknown) = words.iter().find(|word| !is_known(word)) {
        let names = names(&all).join(", ");
        return Err(format!("no case {unknown}; there are all, emulated, {names}").into());
    }
    let emulated =
        if words.contains(&"emulated") { emulated(&all, is_served)? } else { Vec::new() };
    all.retain(|Comparison { name, foreign, .. }| {
        words.is_empty() && foreign.is_none()
            || words.contains(&"all")
            || words.contains(&name.as_str())
            || emulated.contains(name)
    });
    let needs: Vec<Need> = all.iter().filter_map(|one| one.foreign.map(|(_, need)| need)).collect();
    let missing = needs::missing(&needs);
    if missing.is_empty() { Ok(all) } else { Err(missing.join("; ").into()) }
}

/// The names of one comparison for each other processor.
fn emulated(
    all: &[Comparison],
    is_served: impl Fn(&Comparison) -> Result<bool, Box<dyn std::error::Error>>,
) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let others = EMULATORS.iter().filter(|(name, _)| *name != std::env::consts::ARCH);
    let first = |(processor, _): &(&str, Need)| {
        for name in EMULATED.map(|case| format!("{case}-{processor}")) {
            let one = all.iter().find(|one| one.name == name).expect("there is one for each case");
            if is_served(one)? {
                return Ok(name);
            }
        }
        Err(format!("the host's mirror serves neither of {EMULATED:?} for {processor}").into())
    };
    others.map(first).collect()
}

/// Whether the mirror has the lists that the signed release file names. One that is behind with the
/// processors that few ask for has others.
fn is_served(
    one: &Comparison,
    mirrors: &Mirrors,
    work: &Path,
) -> Result<bool, Box<dyn std::error::Error>> {
    let (processor, _) = one.foreign.expect("only those are looked up");
    let recipe = work.join("release-only.toml");
    fs_err::write(&recipe, FOREIGN_LINES)?;
    let mut command = peer::start(peer::osbuilder());
    command.args([
        "lock",
        "debian",
        "--version",
        one.case.codename,
        "--arch",
        processor,
        "--mirror",
    ]);
    command.arg(&mirrors.archive).arg("--recipe").arg(&recipe);
    command.arg("--cache").arg(work.join("cache")).arg("--lock").arg(work.join("scratch.lock"));
    let output = command.output()?;
    let words = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() && !words.contains("no mirror serves") {
        return Err(format!("{}: {words}", one.name).into());
    }
    if !output.status.success() {
        say(&format!("handlers {}: not compared, the mirror is behind: {words}", one.name));
    }
    Ok(output.status.success())
}

fn names(comparisons: &[Comparison]) -> Vec<&str> {
    comparisons.iter().map(|comparison| comparison.name.as_str()).collect()
}

fn comparisons() -> Vec<Comparison> {
    let own = |case: &'static Case| Comparison { name: case.name.to_owned(), case, foreign: None };
    let mut all: Vec<Comparison> = CASES.iter().map(own).collect();
    for emulator in EMULATORS.into_iter().filter(|(name, _)| *name != std::env::consts::ARCH) {
        all.extend(CASES.iter().map(|case| Comparison {
            name: format!("{}-{}", case.name, emulator.0),
            case,
            foreign: Some(emulator),
        }));
    }
    all
}
