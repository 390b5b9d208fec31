//! kill -9 at any moment: more than a hundred builds die, of guests like Debian's, Alpine's and Azure
//! Linux': images, initrds and directories in turn. Each next one succeeds, half of them without a network
//! from what is in the cache, and those of initrds and directories by the lock of the images.
//!
//! After each kill: the output is absent or complete, nothing is left beside it, and the next
//! build, with whatever the dead one left in the cache, gives the same bytes as an undisturbed one.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use osbuilder::digest::Digest;

use crate::small::{FORMS, Form, Small};
use crate::{Outcome, crowd, say};

/// How many builds of each family are killed.
const KILLS: u32 = 50;

/// Runs the task.
pub(crate) fn run() -> Outcome {
    let folder = std::env::temp_dir().join(format!("osbuilder-kill-{}", std::process::id()));
    fs_err::create_dir_all(&folder)?;
    let outcome = in_folder(&folder);
    fs_err::remove_dir_all(&folder)?;
    outcome
}

fn in_folder(folder: &Path) -> Outcome {
    let (debian, alpine, azure) =
        (folder.join("debian"), folder.join("alpine"), folder.join("azure"));
    fs_err::create_dir_all(&debian)?;
    let small = Small::make(&debian)?;
    kill_and_build(&small)?;
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    crowd::run(&small, FORMS[0].digest(&small)?, &mut || next(&mut state))?;
    fs_err::create_dir_all(&alpine)?;
    kill_and_build(&Small::make_alpine(&alpine)?)?;
    kill_and_build(&Small::make_azure(&azure)?)
}

fn kill_and_build(small: &Small) -> Outcome {
    let folder = small.folder.as_path();
    fs_err::create_dir_all(folder.join("out"))?;
    let began = Instant::now();
    build(small, &FORMS[0], false)?;
    let undisturbed = began.elapsed();
    FORMS.iter().skip(1).try_for_each(|form| build(small, form, false))?;
    let expected = FORMS.iter().map(|form| form.digest(small)).collect::<Result<Vec<_>, _>>()?;
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    for round in 1..=KILLS {
        let offline = round % 2 == 1;
        if !offline {
            fs_err::remove_dir_all(folder.join("cache"))?; // every second build starts from nothing
        }
        let (form, expected) = in_turn(round, &expected);
        form.remove(small)?;
        let moment = Duration::from_secs_f64(undisturbed.as_secs_f64() * next(&mut state) * 1.1);
        kill_after(small, form, offline, moment)?;
        check_folder(small, form, expected)?;
        build(small, form, offline)
            .map_err(|e| format!("kill {round} after {moment:?}: next build: {e}"))?;
        if form.digest(small)? != expected {
            return Err(format!("kill {round} after {moment:?}: other bytes").into());
        }
    }
    say(&format!("kill: {KILLS} builds killed, each next one gave the same bytes"));
    Ok(())
}

/// The form of a round, and what an undisturbed build makes of it.
fn in_turn(round: u32, expected: &[Digest]) -> (&'static Form, Digest) {
    let number = usize::try_from(round).expect("some hundred rounds") % FORMS.len();
    (&FORMS[number], expected[number])
}

fn command(small: &Small, form: &Form, offline: bool) -> Command {
    let mut command = form.command(small);
    command.args(offline.then_some("--offline"));
    command
}

fn build(small: &Small, form: &Form, offline: bool) -> Outcome {
    let output = command(small, form, offline).output()?;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(words.into()) }
}

fn kill_after(small: &Small, form: &Form, offline: bool, moment: Duration) -> Outcome {
    let mut command = command(small, form, offline);
    let null = std::process::Stdio::null;
    let mut child = command.stdout(null()).stderr(null()).spawn()?;
    thread::sleep(moment);
    child.kill()?;
    child.wait()?;
    Ok(())
}

/// After a kill there is no output or a complete one. (A nameless or reapable rest may stay until
/// the next build; that it goes then is checked by what lies there at the end of each round.)
fn check_folder(small: &Small, form: &Form, expected: Digest) -> Outcome {
    if form.output(small).exists() && form.digest(small)? != expected {
        return Err("a killed build left a damaged output under its name".into());
    }
    let left: Vec<_> = fs_err::read_dir(small.folder.join("out"))?.collect::<Result<_, _>>()?;
    // The lock, three outputs, the listing of the directory, and what the next build reaps.
    if left.len() > 7 {
        return Err(format!("killed builds leave files behind: {left:?}").into());
    }
    Ok(())
}

/// A fraction from 0 to 1, by xorshift: moments need to be spread, not unpredictable.
fn next(state: &mut u64) -> f64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 11) as f64 / (1_u64 << 53) as f64
}
