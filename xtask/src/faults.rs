//! The Nth system call of each kind fails, once and from then on, for all N, for each family and form.
//!
//! strace injects the errors. It counts for each thread and each call by itself, so "the Nth" is that of
//! every thread that gets so far; N rises until no thread does, two builds in a row. What is built
//! is the least (`least.rs`), in a file system of memory, so that a build takes some hundredths of a
//! second and all N of all kinds can be tried. The script's own process makes none of these calls:
//! whatever fails is a failure of osbuilder's.
//!
//! Whatever fails: the build ends by itself, without a signal, without a panic, and says so by its
//! status; or it succeeds with the right bytes. Nothing is written but cache, output and lock. Then a
//! build without faults, with what the disturbed one left, succeeds with the right bytes; that is left
//! out where exactly the same was left before, names and contents, from where it succeeded. A call that
//! is only interrupted fails nothing at all.
//!
//! `close` is not among them. Linux lets go of the descriptor whatever it answers (close(2)), while
//! strace answers in its place and the descriptor stays open: a state that no kernel makes, in which
//! whoever reads a pipe waits for an end that never comes. Nor would an error be heard: nothing here
//! asks what `close` says. What it could say of lost writes is asked of `fsync` before an output gets
//! its name, and of digests whenever the cache is read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use osbuilder::digest::{Digest, Hasher};

use crate::small::{FORMS, Form, Small};
use crate::{Outcome, least, peer, say};

/// A kind of call, how it fails, and how often.
struct Fault {
    calls: &'static str,
    error: &'static str,
    times: &'static [Times],
}

/// How often a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Times {
    Once,
    FromThenOn,
    /// The one, and every third after it: a loop that goes on must come to its end. Three N are all.
    EveryThird,
}

const fn fails(calls: &'static str, error: &'static str) -> Fault {
    Fault { calls, error, times: &[Times::Once, Times::FromThenOn] }
}

const fn once(calls: &'static str, error: &'static str) -> Fault {
    Fault { calls, error, times: &[Times::Once] }
}

const fn harmless(calls: &'static str, error: &'static str) -> Fault {
    Fault { calls, error, times: &[Times::EveryThird, Times::Once] }
}

/// What fails.
const FAULTS: &[Fault] = &[
    fails("write", "ENOSPC"),
    fails("pwrite64", "EIO"),
    fails("read", "EIO"),
    fails("pread64", "EIO"),
    fails("openat,openat2", "EMFILE"),
    once("openat,openat2", "ESTALE"),
    fails("fsync,fdatasync,syncfs", "EIO"),
    fails("ftruncate", "EFBIG"),
    fails("linkat,symlinkat,mknodat", "EIO"),
    fails("renameat,renameat2,rename", "EIO"),
    fails("mkdirat,mkdir", "ENOSPC"),
    fails("fstat,newfstatat,statx", "ESTALE"),
    fails("getdents64", "EIO"),
    fails("unlinkat", "EIO"),
    fails("copy_file_range,sendfile", "EIO"),
    fails("fchmod,fchmodat,fchownat,utimensat", "EIO"),
    fails("pipe2,socketpair,sendmsg,recvmsg", "ENOBUFS"),
    fails("clone,clone3", "EAGAIN"),
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

/// How many seconds a build of some hundredths may take under strace before it counts as hanging.
const PATIENCE: &str = "40";

/// How many builds are disturbed at a time. Each has a folder of its own.
const LANES: usize = 2;

/// Builds in a row in which nothing failed, after which N is beyond all calls: how threads share
/// their work is not always the same.
const BEYOND: u32 = 2;

/// Everything that a lane's folder holds that is not the archive: what a build may change.
const OURS: [&str; 3] = ["cache", "out", "trace"];

/// What makes an archive of a family.
type Make = fn(&Path) -> Result<Small, Box<dyn std::error::Error>>;

/// The families.
const FAMILIES: [(&str, Make); 3] =
    [("debian", least::debian), ("alpine", least::alpine), ("azurelinux", least::azure)];

/// Runs the task for some families, or all.
pub(crate) fn run(families: &[&str]) -> Outcome {
    let memory = PathBuf::from("/dev/shm");
    let place = if memory.is_dir() { memory } else { std::env::temp_dir() };
    let folder = place.join(format!("osbuilder-faults-{}", std::process::id()));
    let wanted = |(name, _): &&(&str, Make)| families.is_empty() || families.contains(name);
    let outcome = FAMILIES
        .iter()
        .filter(wanted)
        .try_for_each(|(name, make)| inject_all(name, *make, &folder.join(name)));
    fs_err::remove_dir_all(&folder)?;
    outcome
}

/// All N of one kind of failure in the builds of one form.
#[derive(Clone, Copy)]
struct Series {
    form: usize,
    calls: &'static str,
    error: &'static str,
    times: Times,
}

impl Series {
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for &Fault { calls, error, times } in FAULTS.iter().chain(HARMLESS) {
            for &times in times {
                all.extend((0..FORMS.len()).map(|form| Self { form, calls, error, times }));
            }
        }
        all
    }

    fn at(self, nth: u32) -> Trial {
        Trial { series: self, nth }
    }
}

/// One disturbed build to come.
#[derive(Clone, Copy)]
struct Trial {
    series: Series,
    nth: u32,
}

impl Trial {
    /// Whether the build must succeed all the same.
    fn is_harmless(&self) -> bool {
        let Series { calls, error, .. } = self.series;
        HARMLESS.iter().any(|fault| (fault.calls, fault.error) == (calls, error))
    }
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { series: Series { calls, error, times, .. }, nth } = self;
        let more = match times {
            Times::Once => "",
            Times::FromThenOn => "+",
            Times::EveryThird => "+3",
        };
        write!(f, "inject={calls}:error={error}:when={nth}{more}")
    }
}

fn inject_all(family: &str, make: Make, folder: &Path) -> Outcome {
    let began = Instant::now();
    let mut lanes: Vec<Lane> = (0..LANES)
        .map(|n| Lane::make(make, &folder.join(n.to_string())))
        .collect::<Result<_, _>>()?;
    let reached = inject_side_by_side(&mut lanes, &Series::all())
        .map_err(|problem| format!("{family}: {problem}"))?;
    for (kind, Reached { most, took }) in reached {
        let forms: Vec<String> =
            FORMS.iter().zip(most).map(|(form, most)| format!("{} {most}", form.verb())).collect();
        let (forms, seconds) = (forms.join(", "), took.as_secs());
        say(&format!("faults: {family}: {kind}: every N up to {forms}; {seconds} s of a lane"));
    }
    let (disturbed, after) =
        lanes.iter().fold((0, 0), |sum, lane| (sum.0 + lane.disturbed, sum.1 + lane.after));
    let seconds = began.elapsed().as_secs();
    say(&format!(
        "faults: {family}: {disturbed} builds were disturbed, none left damage; they left {after} \
         different states for the next one, {seconds} s"
    ));
    Ok(())
}

/// How far a kind of failure went.
#[derive(Default)]
struct Reached {
    /// The highest N that was met, for each form.
    most: [u32; FORMS.len()],
    took: Duration,
}

/// Tries all, in as many lanes as there are.
fn inject_side_by_side(
    lanes: &mut [Lane],
    all: &[Series],
) -> Result<BTreeMap<String, Reached>, Box<dyn std::error::Error>> {
    let next = AtomicUsize::new(0);
    let (reached, failure) = (Mutex::new(BTreeMap::new()), Mutex::new(None));
    let work = |lane: &mut Lane| {
        while let Some(series) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            let began = Instant::now();
            match inject_series(lane, *series) {
                Ok(most) => {
                    let kind = format!("{} {}", series.calls, series.error);
                    let mut reached = reached.lock().expect("no lane panics with the lock");
                    let known: &mut Reached = reached.entry(kind).or_default();
                    known.most[series.form] = most.max(known.most[series.form]);
                    known.took += began.elapsed();
                }
                Err(problem) => {
                    next.store(all.len(), Ordering::Relaxed);
                    let text = problem.to_string();
                    failure.lock().expect("no lane panics with the lock").get_or_insert(text);
                }
            }
        }
    };
    let work = &work;
    thread::scope(|scope| {
        for lane in lanes {
            scope.spawn(move || work(lane));
        }
    });
    match failure.into_inner()? {
        Some(text) => Err(text.into()),
        None => Ok(reached.into_inner()?),
    }
}

/// Lets every N fail. Returns the highest that was met.
fn inject_series(lane: &mut Lane, series: Series) -> Result<u32, Box<dyn std::error::Error>> {
    let (mut most, mut nth) = (0, 1);
    while nth <= most + BEYOND && (series.times != Times::EveryThird || nth <= 3) {
        let trial = series.at(nth);
        let verb = FORMS[series.form].verb();
        let was_met =
            inject(lane, trial).map_err(|problem| format!("{verb}: {trial}: {problem}"))?;
        if was_met {
            most = nth;
        }
        nth += 1;
    }
    Ok(most)
}

/// An archive, and what an undisturbed build makes of it.
struct Lane {
    small: Small,
    /// Of each form.
    expected: Vec<Digest>,
    /// Everything in the folder but what builds may change.
    archive: Digest,
    /// The lock that follows from it.
    lock: Vec<u8>,
    /// What disturbed builds of each form have left, and the next one succeeded.
    overcome: BTreeSet<(usize, Digest)>,
    disturbed: u32,
    after: u32,
}

impl Lane {
    fn make(make: Make, folder: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        fs_err::create_dir_all(folder.join("out"))?;
        fs_err::create_dir_all(folder.join("elsewhere"))?;
        let small = make(folder)?;
        for form in &FORMS {
            require_success(&alone(&small, form).output()?)?;
        }
        let expected = FORMS.iter().map(|form| form.digest(&small)).collect::<Result<_, _>>()?;
        let lock = fs_err::read(folder.join("out/osbuilder.lock"))?;
        let (archive, overcome) = (archive(folder)?, BTreeSet::new());
        Ok(Self { small, expected, archive, lock, overcome, disturbed: 0, after: 0 })
    }

    /// Removes what earlier builds have left, but for the lock where one is to be followed.
    fn start_anew(&self, form: &Form) -> Outcome {
        for ours in ["cache", "out"] {
            let path = self.small.folder.join(ours);
            if path.exists() {
                fs_err::remove_dir_all(path)?;
            }
        }
        fs_err::create_dir(self.small.folder.join("out"))?;
        if form.is_locked() {
            fs_err::write(self.small.folder.join("out/osbuilder.lock"), &self.lock)?;
        }
        Ok(())
    }
}

/// Builds with a fault and then without. Returns whether the fault was met.
fn inject(lane: &mut Lane, trial: Trial) -> Result<bool, Box<dyn std::error::Error>> {
    let number = trial.series.form;
    let (form, expected) = (&FORMS[number], lane.expected[number]);
    lane.start_anew(form)?;
    let small = &lane.small;
    let disturbed = traced((small, form), trial).output()?;
    lane.disturbed += 1;
    let trace = fs_err::read_to_string(small.folder.join("trace"))?;
    check_end(&disturbed)?;
    if trial.is_harmless() && !has_hit_loader(&disturbed) {
        require_success(&disturbed)?;
    }
    let output = form.output(small);
    if output.exists() && form.digest(small)? != expected {
        return Err(format!("the output is damaged: {}", words(&disturbed)).into());
    }
    if disturbed.status.success() && !output.exists() {
        return Err("success without an output".into());
    }
    if archive(&small.folder)? != lane.archive {
        return Err("something was written beside output and cache".into());
    }
    let left =
        Digest::of(&["cache", "out"].map(|ours| contents(&small.folder.join(ours))).concat());
    if !lane.overcome.contains(&(number, left)) {
        require_success(&alone(small, form).output()?)?;
        if form.digest(small)? != expected {
            return Err("the next build gives other bytes".into());
        }
        lane.after += 1;
        lane.overcome.insert((number, left));
    }
    Ok(trace.contains("(INJECTED)"))
}

/// Everything in a lane's folder that no build may change.
fn archive(folder: &Path) -> Result<Digest, Box<dyn std::error::Error>> {
    let mut hasher = Hasher::default();
    for entry in fs_err::read_dir(folder)? {
        let name = entry?.file_name();
        if !OURS.iter().any(|ours| name == *ours) {
            hasher.update(&contents(&folder.join(name)));
        }
    }
    Ok(hasher.finish())
}

/// Names, modes and contents below a path as one text, but no times. What cannot be read is named.
fn contents(path: &Path) -> Vec<u8> {
    use std::os::unix::fs::PermissionsExt;
    let Ok(meta) = fs_err::symlink_metadata(path) else { return Vec::new() };
    let what = if meta.is_dir() {
        let mut names: Vec<_> = fs_err::read_dir(path).into_iter().flatten().flatten().collect();
        names.sort_by_key(fs_err::DirEntry::file_name);
        names.iter().flat_map(|entry| contents(&entry.path())).collect()
    } else if meta.is_symlink() {
        format!("{:?}", fs_err::read_link(path)).into_bytes()
    } else if !meta.is_file() {
        format!("{:?}", meta.file_type()).into_bytes() // reading a device or a pipe may wait for ever
    } else {
        let read = fs_err::File::open(path).and_then(Digest::of_reader);
        format!("{:?}", read.map_err(|error| error.kind())).into_bytes()
    };
    let head = format!("{:?} {:o} {}\n", path.file_name(), meta.permissions().mode(), what.len());
    [head.into_bytes(), what].concat()
}

/// A build with next to no environment, and no network.
fn alone(small: &Small, form: &Form) -> Command {
    let mut command = form.command(small);
    strip(&mut command, small);
    command
}

fn strip(command: &mut Command, small: &Small) {
    let elsewhere = small.folder.join("elsewhere");
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("HOME", &elsewhere).env("TMPDIR", &elsewhere).current_dir(&elsewhere);
    // Nobody is asked for keys: without descriptors for its own files, the C library waits seconds for a
    // name server.
    command.env("https_proxy", "http://127.0.0.1:1");
}

/// A build under strace, which stops it at these calls only.
fn traced((small, form): (&Small, &Form), trial: Trial) -> Command {
    let build = form.command(small);
    let mut command = peer::start("timeout");
    command.args(["--signal=KILL", PATIENCE, "strace", "--follow-forks", "--quiet=all"]);
    command.args(["--seccomp-bpf", "-e", &format!("trace={}", trial.series.calls)]);
    command.args(["-e", &trial.to_string()]);
    command.arg("-o").arg(small.folder.join("trace")).arg("--");
    command.arg(build.get_program()).args(build.get_args());
    strip(&mut command, small);
    command
}

/// A build may fail, but only by its own decision.
fn check_end(output: &Output) -> Outcome {
    let words = words(output);
    match output.status.code() {
        _ if has_hit_loader(output) => Ok(()),
        Some(0..=4) if !words.contains("panicked") => Ok(()),
        _ => Err(format!("ended with {}: {words}", output.status).into()),
    }
}

/// Whether the fault has hit the dynamic loader, before the program began.
fn has_hit_loader(output: &Output) -> bool {
    output.status.code() == Some(127)
        && words(output).contains("error while loading shared libraries")
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn require_success(output: &Output) -> Outcome {
    if output.status.success() { Ok(()) } else { Err(words(output).into()) }
}
