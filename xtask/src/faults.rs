//! The Nth system call of each kind fails, once and from then on, for all N.
//!
//! strace injects the errors, and counts for each thread by itself. Whatever fails: the build ends
//! by itself, without a signal, without a panic, and says so by its status; or it succeeds with the
//! right bytes. Then a build without faults, with what the disturbed one left in the cache,
//! succeeds with the right bytes. A call that is only interrupted fails nothing at all.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use osbuilder::digest::Digest;

use crate::peer;
use crate::small::{FORMS, Form, Small};
use crate::{Outcome, say};

/// A kind of call, how it fails, and which N are tried.
struct Fault {
    calls: &'static str,
    error: &'static str,
    reach: Reach,
    /// Whether the Nth call fails alone, or also every one after it.
    times: &'static [Times],
}

/// How often a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Times {
    Once,
    FromThenOn,
    /// Every third call from then on: a loop that goes on must come to its end.
    EveryThird,
}

/// Which N are tried of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Every one.
    All,
    /// Every one up to [`DENSE`], then as `Spaced`.
    Dense,
    /// Those of the Fibonacci numbers, since loops repeat themselves.
    Spaced,
}

/// Up to which N every one is tried where the order of bytes on the disk is decided.
const DENSE: u32 = 32;

const BOTH: &[Times] = &[Times::Once, Times::FromThenOn];

const fn dense(calls: &'static str, error: &'static str) -> Fault {
    Fault { calls, error, reach: Reach::Dense, times: BOTH }
}

const fn spaced(calls: &'static str, error: &'static str) -> Fault {
    Fault { calls, error, reach: Reach::Spaced, times: BOTH }
}

const fn harmless(calls: &'static str, error: &'static str) -> Fault {
    Fault { calls, error, reach: Reach::Spaced, times: &[Times::EveryThird] }
}

/// What fails. Where the order of bytes on the disk is decided, every call does.
const FAULTS: &[Fault] = &[
    dense("write", "ENOSPC"),
    dense("pwrite64", "EIO"),
    spaced("read", "EIO"),
    spaced("pread64", "EIO"),
    spaced("openat", "EMFILE"),
    spaced("openat", "ESTALE"),
    dense("fsync,syncfs", "EIO"),
    dense("ftruncate", "EFBIG"),
    dense("linkat", "EIO"),
    dense("renameat,renameat2,rename", "EIO"),
    spaced("mkdirat,mkdir", "ENOSPC"),
    spaced("fstat,newfstatat,statx", "ESTALE"),
    spaced("getdents64", "EIO"),
    dense("unlinkat", "EIO"),
    dense("copy_file_range,sendfile", "EIO"),
    spaced("fchmod,fchmodat,utimensat", "EIO"),
    // An injected error keeps `close` from closing, which no real one does (close(2)): from then on,
    // nobody who waits for the end of a pipe would ever see it.
    Fault { calls: "close", error: "EIO", reach: Reach::Spaced, times: &[Times::Once] },
    dense("clone,clone3", "EAGAIN"),
];

/// Calls that signals interrupt, or that a file system may not know: nothing fails then.
const HARMLESS: &[Fault] = &[
    harmless("read", "EINTR"),
    harmless("write", "EINTR"),
    harmless("pread64", "EINTR"),
    harmless("pwrite64", "EINTR"),
    harmless("copy_file_range,sendfile", "EXDEV"),
    harmless("copy_file_range,sendfile", "ENOSYS"),
];

/// How long a build of a tenth of a second may take under strace before it counts as hanging.
const PATIENCE: &str = "300";

/// How many builds are disturbed at a time. Each has a folder of its own.
const LANES: usize = 2;

/// Runs the task. `thorough` tries every N of every kind.
pub(crate) fn run(thorough: bool) -> Outcome {
    let folder = std::env::temp_dir().join(format!("osbuilder-faults-{}", std::process::id()));
    let every = thorough.then_some(Reach::All);
    // What comes after configuring is the same code for every family.
    let families: [(&str, Make, Option<Reach>); 2] = [
        ("debian", Small::make, every),
        ("alpine", Small::make_alpine, every.or(Some(Reach::Spaced))),
    ];
    let outcome = families
        .into_iter()
        .try_for_each(|(name, make, reach)| inject_all(name, make, &folder.join(name), reach));
    fs_err::remove_dir_all(&folder)?;
    outcome
}

/// What makes an archive of a family.
type Make = fn(&Path) -> Result<Small, Box<dyn std::error::Error>>;

/// One disturbed build to come.
#[derive(Debug)]
struct Trial {
    calls: &'static str,
    error: &'static str,
    nth: u32,
    times: Times,
}

impl Trial {
    /// Whether the build must succeed all the same.
    fn is_harmless(&self) -> bool {
        self.times == Times::EveryThird
    }
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, error, nth, times } = self;
        let more = match times {
            Times::Once => "",
            Times::FromThenOn => "+",
            Times::EveryThird => "+3",
        };
        write!(f, "inject={calls}:error={error}:when={nth}{more}")
    }
}

fn inject_all(family: &str, make: Make, folder: &Path, reach: Option<Reach>) -> Outcome {
    let lanes: Vec<Lane> = (0..LANES)
        .map(|n| Lane::make(make, &folder.join(n.to_string())))
        .collect::<Result<_, _>>()?;
    for fault in FAULTS.iter().chain(HARMLESS) {
        let began = Instant::now();
        let trials = trials(&lanes.first().ok_or("there is a lane")?.small, fault, reach)?;
        let reached = inject_side_by_side(&lanes, &trials)?;
        let Fault { calls, error, .. } = fault;
        let (count, seconds) = (trials.len(), began.elapsed().as_secs());
        say(&format!(
            "faults: {family}: {calls} {error}: {reached} of {count} builds met it, {seconds} s"
        ));
    }
    say(&format!("faults: {family}: none left damage"));
    Ok(())
}

/// Tries all. Returns how many builds met their error: a thread that made many calls in the build
/// that was counted may make fewer in the next.
fn inject_side_by_side(
    lanes: &[Lane],
    trials: &[Trial],
) -> Result<u32, Box<dyn std::error::Error>> {
    let (next, reached) = (AtomicUsize::new(0), AtomicU32::new(0));
    let failure = Mutex::new(None);
    let work = |lane: &Lane| {
        while let Some(trial) = trials.get(next.fetch_add(1, Ordering::Relaxed)) {
            match inject(lane, trial) {
                Ok(was_reached) => {
                    reached.fetch_add(u32::from(was_reached), Ordering::Relaxed);
                }
                Err(problem) => {
                    next.store(trials.len(), Ordering::Relaxed);
                    let text = format!("{trial}: {problem}");
                    failure.lock().expect("no lane panics with the lock").get_or_insert(text);
                }
            }
        }
    };
    thread::scope(|scope| {
        for lane in lanes {
            scope.spawn(|| work(lane));
        }
    });
    match failure.into_inner()? {
        Some(text) => Err(text.into()),
        None => Ok(reached.into_inner()),
    }
}

/// An archive, and what an undisturbed build makes of it.
struct Lane {
    small: Small,
    /// Of each form.
    expected: Vec<Digest>,
}

impl Lane {
    fn make(make: Make, folder: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        fs_err::create_dir_all(folder.join("out"))?;
        let small = make(folder)?;
        for form in &FORMS {
            require_success(&form.command(&small).output()?)?;
        }
        let expected = FORMS.iter().map(|form| form.digest(&small)).collect::<Result<_, _>>()?;
        Ok(Self { small, expected })
    }
}

fn trials(
    small: &Small,
    fault: &Fault,
    instead: Option<Reach>,
) -> Result<Vec<Trial>, Box<dyn std::error::Error>> {
    let Fault { calls, error, reach, times } = *fault;
    let reach = instead.unwrap_or(reach);
    let numbers = numbers(reach, most_calls(small, calls)?);
    let trials = times
        .iter()
        .flat_map(|&times| numbers.iter().map(move |&nth| Trial { calls, error, nth, times }));
    Ok(trials.collect())
}

fn numbers(reach: Reach, most: u32) -> Vec<u32> {
    let next = |&(before, nth): &(u32, u32)| Some((nth, before + nth));
    let fibonacci = std::iter::successors(Some((1, 1)), next).map(|(_, nth)| nth);
    let dense = match reach {
        Reach::All => most,
        Reach::Dense => DENSE.min(most),
        Reach::Spaced => 0,
    };
    let further = fibonacci.take_while(|&nth| nth <= most).filter(|&nth| nth > dense);
    (1..=dense).chain(further).collect()
}

/// How many such calls the busiest thread of an undisturbed build makes.
fn most_calls(small: &Small, calls: &str) -> Result<u32, Box<dyn std::error::Error>> {
    let trace = small.folder.join("trace");
    start_anew(small, &FORMS[0])?;
    require_success(&traced((small, &FORMS[0]), calls, None).output()?)
        .map_err(|problem| format!("counting {calls}: {problem}"))?;
    let mut counts = BTreeMap::new();
    for line in fs_err::read_to_string(&trace)?.lines().filter(|line| !line.contains("resumed>")) {
        let thread = line.split(' ').next().unwrap_or_default().to_owned();
        *counts.entry(thread).or_insert(0) += 1;
    }
    Ok(counts.into_values().max().unwrap_or(0))
}

/// Removes what earlier builds have left, but for a lock that is to be followed.
fn start_anew(small: &Small, form: &Form) -> Outcome {
    form.remove(small)?;
    let lock = small.folder.join("out/osbuilder.lock");
    if lock.exists() && !form.is_locked() {
        fs_err::remove_file(lock)?;
    }
    if small.folder.join("cache").exists() {
        fs_err::remove_dir_all(small.folder.join("cache"))?;
    }
    Ok(())
}

/// Builds with a fault and then without. Returns whether the fault was reached.
fn inject(lane: &Lane, trial: &Trial) -> Result<bool, Box<dyn std::error::Error>> {
    let small = &lane.small;
    // The forms in turn: an image first, for which the lock is made.
    let number = usize::try_from(trial.nth.saturating_sub(1))? % FORMS.len();
    let (form, expected) = (&FORMS[number], lane.expected[number]);
    let output = form.output(small);
    let trace = small.folder.join("trace");
    start_anew(small, form)?;
    let disturbed = traced((small, form), trial.calls, Some(trial)).output()?;
    check_end(&disturbed)?;
    if trial.is_harmless() && !has_hit_loader(&disturbed) {
        require_success(&disturbed)?;
    }
    if output.exists() && form.digest(small)? != expected {
        return Err("the output is damaged".into());
    }
    if disturbed.status.success() && !output.exists() {
        return Err("success without an output".into());
    }
    require_success(&form.command(small).output()?)?;
    if form.digest(small)? != expected {
        return Err("the next build gives other bytes".into());
    }
    Ok(fs_err::read_to_string(&trace)?.contains("(INJECTED)"))
}

/// A build under strace, which stops it at these calls only.
fn traced((small, form): (&Small, &Form), calls: &str, trial: Option<&Trial>) -> Command {
    let build = form.command(small);
    let mut command = peer::start("timeout");
    command.args(["--signal=KILL", PATIENCE, "strace", "--follow-forks", "--quiet=all"]);
    command.args(["--seccomp-bpf", "-e", &format!("trace={calls}")]);
    if let Some(trial) = trial {
        command.args(["-e", &trial.to_string()]);
    }
    command.arg("-o").arg(small.folder.join("trace")).arg("--");
    command.arg(build.get_program()).args(build.get_args());
    command
}

/// A build may fail, but only by its own decision.
fn check_end(output: &Output) -> Outcome {
    let words = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        _ if has_hit_loader(output) => Ok(()),
        Some(0..=4) if !words.contains("panicked") => Ok(()),
        _ => Err(format!("ended with {}: {words}", output.status).into()),
    }
}

/// Whether the fault has hit the dynamic loader, before the program began.
fn has_hit_loader(output: &Output) -> bool {
    let words = String::from_utf8_lossy(&output.stderr);
    output.status.code() == Some(127) && words.contains("error while loading shared libraries")
}

fn require_success(output: &Output) -> Outcome {
    let words = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("undisturbed: {words}").into()) }
}
