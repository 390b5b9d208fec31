//! Sixteen builders share one cache that is emptied again and again, and are killed at any moment: each
//! that comes to its end has made the same bytes, and the cache is whole.

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use osbuilder::digest::Digest;

use crate::peer;
use crate::small::Small;
use crate::{Outcome, say};

const BUILDERS: usize = 16;
/// The one cache, below the folder.
const CACHE: &str = "crowded-cache";
/// How many builders are killed in between.
const KILLED: usize = 100;
/// All are killed at once every so many kills, and the cache is emptied while new ones start.
const EMPTIED: usize = 15;

/// Runs builders until enough of them were killed.
pub(crate) fn run(small: &Small, expected: Digest, random: &mut impl FnMut() -> f64) -> Outcome {
    let mut builders: Vec<Builder<'_>> =
        (0..BUILDERS).map(|number| Builder::start(small, number)).collect::<Result<_, _>>()?;
    let (mut finished, mut emptied) = (0, 0);
    for round in 0..KILLED {
        thread::sleep(Duration::from_secs_f64(random() * 0.06));
        for builder in &mut builders {
            finished += builder.restart_if_finished(expected)?;
        }
        let victim = (random() * BUILDERS as f64) as usize;
        builders[victim].kill(expected)?;
        if round % EMPTIED == 0 {
            builders.iter_mut().try_for_each(|builder| builder.kill(expected))?;
            emptied += usize::from(empty(small, &mut builders)?);
        }
        builders.iter_mut().try_for_each(Builder::start_again)?;
    }
    for mut builder in builders {
        builder.child.wait()?;
        finished += builder.judge(expected)?;
    }
    if finished == 0 || emptied == 0 {
        return Err(format!("crowd: {finished} builds ended, {emptied} times emptied").into());
    }
    check(small)?;
    say(&format!(
        "crowd: of {BUILDERS} builders on one cache {KILLED} were killed, {finished} made the same bytes; it \
         was emptied {emptied} times"
    ));
    Ok(())
}

/// Empties the cache while one builder starts. Whether it was the first to have the cache.
fn empty(small: &Small, builders: &mut [Builder<'_>]) -> Result<bool, Box<dyn std::error::Error>> {
    let mut command = peer::start(peer::osbuilder());
    command.args(["cache", "shrink", "--days", "0", "--cache"]).arg(small.folder.join(CACHE));
    let emptier = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    builders[0].start_again()?;
    let output = emptier.wait_with_output()?;
    let told = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() && !told.contains("is in use") {
        return Err(format!("cache shrink: {told}").into());
    }
    Ok(output.status.success())
}

/// Reads the whole cache.
fn check(small: &Small) -> Outcome {
    let mut command = peer::start(peer::osbuilder());
    peer::run(command.args(["cache", "check", "--cache"]).arg(small.folder.join(CACHE)))
}

/// One of those who build.
struct Builder<'a> {
    small: &'a Small,
    output: PathBuf,
    child: Child,
}

impl<'a> Builder<'a> {
    fn start(small: &'a Small, number: usize) -> Result<Self, Box<dyn std::error::Error>> {
        let folder = small.folder.join(format!("crowd/{number}"));
        fs_err::create_dir_all(&folder)?;
        let output = folder.join("guest.img");
        let child = build(small, &output)?;
        Ok(Self { small, output, child })
    }

    /// One that has ended by itself is judged and starts anew; how many have.
    fn restart_if_finished(&mut self, expected: Digest) -> Result<u32, Box<dyn std::error::Error>> {
        if self.child.try_wait()?.is_none() {
            return Ok(0);
        }
        let finished = self.judge(expected)?;
        self.start_again()?;
        Ok(finished)
    }

    /// Starts anew, unless it runs.
    fn start_again(&mut self) -> Outcome {
        if self.child.try_wait()?.is_some() {
            self.child = build(self.small, &self.output)?;
        }
        Ok(())
    }

    /// Ends it. What has the output's name is complete.
    fn kill(&mut self, expected: Digest) -> Outcome {
        self.child.kill()?;
        self.child.wait()?;
        if self.output.exists() && digest(&self.output)? != expected {
            return Err("a killed build left a damaged output under its name".into());
        }
        Ok(())
    }

    /// One that was not killed has succeeded, with the same bytes.
    fn judge(&mut self, expected: Digest) -> Result<u32, Box<dyn std::error::Error>> {
        let status = self.child.wait()?;
        if std::os::unix::process::ExitStatusExt::signal(&status) == Some(9) {
            return Ok(0);
        }
        if !status.success() {
            let told = fs_err::read_to_string(told(&self.output))?;
            return Err(format!("a builder in a crowd ended with {status}: {told}").into());
        }
        if digest(&self.output)? != expected {
            return Err("a builder in a crowd made other bytes".into());
        }
        fs_err::remove_file(&self.output)?;
        Ok(1)
    }
}

/// Starts a build, whose words go into a file beside its output.
fn build(small: &Small, output: &std::path::Path) -> Result<Child, Box<dyn std::error::Error>> {
    let relative = output.strip_prefix(&small.folder)?.display().to_string();
    let mut command = small.osbuilder("image", CACHE, &relative);
    let told = fs_err::File::create(told(output))?.into_parts().0;
    Ok(command.stdout(Stdio::null()).stderr(told).spawn()?)
}

fn told(output: &std::path::Path) -> PathBuf {
    output.with_extension("told")
}

fn digest(output: &std::path::Path) -> Result<Digest, Box<dyn std::error::Error>> {
    Ok(Digest::of_reader(fs_err::File::open(output)?)?.0)
}
