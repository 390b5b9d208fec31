//! Whole-process measurements: wall time, processor time and peak memory of a command.

use std::process::Command;

use crate::peer;

/// What one run of a command took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// Seconds from start to end.
    pub(crate) wall: f64,
    /// Seconds of processor time, user and system, with all child processes.
    pub(crate) processor: f64,
    /// Peak resident memory of the largest process, in KiB.
    pub(crate) memory: u64,
}

/// Runs `command` under GNU time, with its output thrown away, and returns what it took.
///
/// # Errors
/// When it cannot be started or fails, or GNU time is missing.
pub(crate) fn cost(command: &Command) -> Result<Cost, Box<dyn std::error::Error>> {
    // What was written before must not be charged to this one.
    rustix::fs::sync();
    let report = std::env::temp_dir().join(format!("osbuilder-time-{}", std::process::id()));
    let mut timed = peer::start("/usr/bin/time");
    timed.args(["--format", "%e %U %S %M", "--output"]).arg(&report);
    timed.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        timed.env(name, value.unwrap_or_default());
    }
    if let Some(folder) = command.get_current_dir() {
        timed.current_dir(folder);
    }
    let output = timed.output()?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{command:?} failed: {words}").into());
    }
    let text = fs_err::read_to_string(&report)?;
    fs_err::remove_file(&report)?;
    parse(&text).ok_or_else(|| format!("GNU time said {text:?}").into())
}

/// What some stages of a build of ours took, by its own words. Of its memory nothing is known.
///
/// # Errors
/// When it fails, or does not name these stages.
pub(crate) fn stages(
    build: &mut Command,
    names: &[&str],
) -> Result<Cost, Box<dyn std::error::Error>> {
    rustix::fs::sync();
    let output = build.arg("--json").output()?;
    let words = String::from_utf8(output.stdout)?;
    let built: serde_json::Value = serde_json::from_str(words.lines().last().unwrap_or_default())?;
    let mut sum = Cost { wall: 0.0, processor: 0.0, memory: 0 };
    for name in names {
        let stages = built["stages"].as_array().ok_or("a build tells its stages")?;
        let stage = stages.iter().find(|stage| stage["stage"] == *name);
        let seconds = |key| stage.and_then(|stage| stage[key].as_f64());
        let missing = || format!("a build tells the stage {name}");
        sum.wall += seconds("seconds").ok_or_else(missing)?;
        sum.processor += seconds("processor_seconds").ok_or_else(missing)?;
    }
    Ok(sum)
}

fn parse(text: &str) -> Option<Cost> {
    let mut fields = text.lines().last()?.split(' ');
    let mut next = || fields.next()?.parse::<f64>().ok();
    let (wall, user, system) = (next()?, next()?, next()?);
    let memory = fields.next()?.parse().ok()?;
    Some(Cost { wall, processor: user + system, memory })
}

/// The median by wall time of several costs.
pub(crate) fn median(mut costs: Vec<Cost>) -> Cost {
    costs.sort_by(|a, b| a.wall.total_cmp(&b.wall));
    costs[costs.len() / 2]
}
