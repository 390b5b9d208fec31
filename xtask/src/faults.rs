//! The Nth system call of each kind fails, once and from then on, for all N.
//!
//! strace injects the errors. Whatever fails: the build ends by itself, without a signal, without a
//! panic, and says so by its status; or it succeeds with the right bytes. Then a build without
//! faults, with what the disturbed one left in the cache, succeeds with the right bytes.

use std::path::Path;
use std::process::{Command, Output};

use osbuilder::digest::Digest;

use crate::peer;
use crate::small::Small;
use crate::{Outcome, say};

/// The kinds of call that fail, and how.
const FAULTS: &[(&str, &str)] = &[
    ("write", "ENOSPC"),
    ("pwrite64", "EIO"),
    ("read", "EIO"),
    ("pread64", "EIO"),
    ("openat", "EMFILE"),
    ("fsync", "EIO"),
    ("ftruncate", "EFBIG"),
    ("linkat", "EIO"),
    ("renameat,renameat2,rename", "EIO"),
    ("mkdirat,mkdir", "ENOSPC"),
    ("fstat,newfstatat,statx", "EIO"),
    ("getdents64", "EIO"),
    ("unlinkat", "EIO"),
    ("copy_file_range,sendfile", "EIO"),
    ("fchmod,fchmodat,utimensat", "EIO"),
    ("close", "EIO"),
    ("clone,clone3", "EAGAIN"),
];

/// No kind of call is tried further than this; a small build has fewer of each.
const FURTHEST: u32 = 400;

/// Runs the task. `thorough` tries every N; else N grows as the Fibonacci numbers do, since loops
/// repeat themselves.
pub(crate) fn run(thorough: bool) -> Outcome {
    let folder = std::env::temp_dir().join(format!("osbuilder-faults-{}", std::process::id()));
    let outcome = in_folder(&folder, thorough);
    fs_err::remove_dir_all(&folder)?;
    outcome
}

fn in_folder(folder: &Path, thorough: bool) -> Outcome {
    let (debian, alpine) = (folder.join("debian"), folder.join("alpine"));
    for folder in [&debian, &alpine] {
        fs_err::create_dir_all(folder.join("out"))?;
    }
    inject_all(&Small::make(&debian)?, thorough)?;
    inject_all(&Small::make_alpine(&alpine)?, thorough)
}

fn inject_all(small: &Small, thorough: bool) -> Outcome {
    let folder = small.folder.as_path();
    require_success(&small.osbuilder("image", "cache", "out/guest.img").output()?)?;
    let expected = digest(&folder.join("out/guest.img"))?;
    let mut runs = 0;
    for (calls, error) in FAULTS {
        // An injected error keeps `close` from closing, which no real one does (close(2)): from
        // then on, nobody who waits for the end of a pipe would ever see it.
        let whens: &[&str] = if *calls == "close" { &[""] } else { &["", "+"] };
        for when in whens {
            let (mut before, mut nth) = (1, 1);
            while nth <= FURTHEST {
                let fault = format!("inject={calls}:error={error}:when={nth}{when}");
                let reached = inject(small, &fault, expected)
                    .map_err(|problem| format!("{fault}: {problem}"))?;
                runs += 1;
                if !reached {
                    break;
                }
                (before, nth) = (nth, if thorough { nth + 1 } else { before + nth });
            }
        }
    }
    say(&format!("faults: {runs} builds with injected errors, none left damage"));
    Ok(())
}

/// Builds with a fault and then without. Returns whether the fault was reached.
fn inject(
    small: &Small,
    fault: &str,
    expected: Digest,
) -> Result<bool, Box<dyn std::error::Error>> {
    let output = small.folder.join("out/guest.img");
    let trace = small.folder.join("trace");
    for path in [&output, &small.folder.join("out/osbuilder.lock")] {
        if path.exists() {
            fs_err::remove_file(path)?;
        }
    }
    if small.folder.join("cache").exists() {
        fs_err::remove_dir_all(small.folder.join("cache"))?;
    }
    let disturbed = traced(small, fault, &trace).output()?;
    check_end(&disturbed)?;
    if output.exists() && digest(&output)? != expected {
        return Err("the output is damaged".into());
    }
    if disturbed.status.success() && !output.exists() {
        return Err("success without an output".into());
    }
    let again = small.osbuilder("image", "cache", "out/guest.img").output()?;
    require_success(&again)?;
    if digest(&output)? != expected {
        return Err("the next build gives other bytes".into());
    }
    Ok(fs_err::read_to_string(&trace)?.contains("(INJECTED)"))
}

fn traced(small: &Small, fault: &str, trace: &Path) -> Command {
    let build = small.osbuilder("image", "cache", "out/guest.img");
    let mut command = peer::start("timeout");
    command.args(["--signal=KILL", "60", "strace", "--follow-forks", "--quiet=all"]);
    command.args(["--seccomp-bpf", "-e", fault, "-o"]).arg(trace).arg("--");
    command.arg(build.get_program()).args(build.get_args());
    command
}

/// A build may fail, but only by its own decision.
fn check_end(output: &Output) -> Outcome {
    let words = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        // The fault has hit the dynamic loader, before the program began.
        Some(127) if words.contains("error while loading shared libraries") => Ok(()),
        Some(0..=4) if !words.contains("panicked") => Ok(()),
        _ => Err(format!("ended with {}: {words}", output.status).into()),
    }
}

fn require_success(output: &Output) -> Outcome {
    let words = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("undisturbed: {words}").into()) }
}

fn digest(path: &Path) -> Result<Digest, Box<dyn std::error::Error>> {
    Ok(Digest::of_reader(fs_err::File::open(path)?)?.0)
}
