//! kill -9 at any moment: more than a hundred builds die, of guests like Debian's, Alpine's and Azure
//! Linux', and each next one succeeds.
//!
//! After each kill: the output is absent or complete, nothing is left beside it, and the next
//! build, with whatever the dead one left in the cache, gives the same bytes as an undisturbed one.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use osbuilder::digest::Digest;

use crate::small::Small;
use crate::{Outcome, say};

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
    kill_and_build(&Small::make(&debian)?)?;
    fs_err::create_dir_all(&alpine)?;
    kill_and_build(&Small::make_alpine(&alpine)?)?;
    kill_and_build(&Small::make_azure(&azure)?)
}

fn kill_and_build(small: &Small) -> Outcome {
    let folder = small.folder.as_path();
    let output = folder.join("out/guest.img");
    fs_err::create_dir_all(folder.join("out"))?;
    let began = Instant::now();
    build(small)?;
    let undisturbed = began.elapsed();
    let expected = digest(&output)?;
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    for round in 1..=KILLS {
        if round % 2 == 0 {
            fs_err::remove_dir_all(folder.join("cache"))?; // every second build starts from nothing
        }
        fs_err::remove_file(&output)?;
        let moment = Duration::from_secs_f64(undisturbed.as_secs_f64() * next(&mut state) * 1.1);
        kill_after(small, moment)?;
        check_folder(folder, &output, expected)?;
        build(small).map_err(|e| format!("kill {round} after {moment:?}: next build: {e}"))?;
        if digest(&output)? != expected {
            return Err(format!("kill {round} after {moment:?}: other bytes").into());
        }
    }
    say(&format!("kill: {KILLS} builds killed, each next one gave the same bytes"));
    Ok(())
}

fn build(small: &Small) -> Outcome {
    let output = small.osbuilder("image", "cache", "out/guest.img").output()?;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(words.into()) }
}

fn kill_after(small: &Small, moment: Duration) -> Outcome {
    let mut command = small.osbuilder("image", "cache", "out/guest.img");
    let null = std::process::Stdio::null;
    let mut child = command.stdout(null()).stderr(null()).spawn()?;
    thread::sleep(moment);
    child.kill()?;
    child.wait()?;
    Ok(())
}

/// After a kill there is no output or a complete one. (A nameless or reapable rest may stay until
/// the next build; that it goes then is checked by what lies there at the end of each round.)
fn check_folder(folder: &Path, output: &Path, expected: Digest) -> Outcome {
    if output.exists() && digest(output)? != expected {
        return Err("a killed build left a damaged output under its name".into());
    }
    let left: Vec<_> = fs_err::read_dir(folder.join("out"))?.collect::<Result<_, _>>()?;
    if left.len() > 4 {
        return Err(format!("killed builds leave files behind: {left:?}").into());
    }
    Ok(())
}

fn digest(path: &Path) -> Result<Digest, Box<dyn std::error::Error>> {
    Ok(Digest::of_reader(fs_err::File::open(path)?)?.0)
}

/// A fraction from 0 to 1, by xorshift: moments need to be spread, not unpredictable.
fn next(state: &mut u64) -> f64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 11) as f64 / (1_u64 << 53) as f64
}
