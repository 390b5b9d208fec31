//! The developers' tasks, one file each: `cargo xtask TASK`.
//!
//! What takes more than two lines of shell is here, in Rust, where it is checked.

mod apk;
mod bench;
mod bench_rpm;
mod boot;
mod boot_alma;
mod check;
mod crowd;
mod emulated;
mod faults;
mod forms;
mod fuzz;
mod handlers;
mod kata_list;
mod kill;
mod least;
mod measure;
mod medium;
mod needs;
mod parity;
mod parity_alpine;
mod parity_rpm;
mod parity_rpm_newer;
mod peer;
mod processors;
mod repro;
mod respin;
mod small;
mod solver;

use std::process::ExitCode;

/// What a task returns: nothing, or why it failed.
type Outcome = Result<(), Box<dyn std::error::Error>>;

const USAGE: &str = "\
usage: cargo xtask TASK

  test               every check
  boot [ARCH | alma] build guests for both inits and start them, perhaps of another processor
  parity [CASE …]    compare our trees path by path with mmdebstrap's, apk's, dnf's, zypper's (needs root)
  handlers [CASE …]  compare trees made by built-in handlers with those of the sandbox; `emulated` are
                     cases of other processors, `all` takes an hour
  solver [NUMBER]    compare our choice of rpm packages with dnf's and zypper's (needs root)
  processors         build Alpine's guests for every processor, scripts by emulators
  repro              build twice under different conditions and compare bytes (needs root)
  kill               kill many builds at any moment; each next one gives the same bytes
  faults [FAMILY …]  let every system call fail, one at a time; never a damaged output
  fuzz [SECONDS [TARGET …]]  any bytes for the readers of foreign bytes, a minute each
  bench [rpm]        osbuilder and its peers in turn: ratios of what they take (needs root)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Outcome {
    match words {
        ["test"] => check::run(),
        ["boot", architecture] if *architecture != "alma" => boot::run_foreign(architecture),
        [task, words @ ..] => with_program(task, words),
        [] => Err(USAGE.into()),
    }
}

/// Runs a task that tries the program, which is built as it stands now.
fn with_program(task: &str, words: &[&str]) -> Outcome {
    let task: Box<dyn Fn() -> Outcome> = match (task, words) {
        ("boot", []) => Box::new(boot::run),
        ("boot", ["alma"]) => Box::new(boot::run_alma),
        ("parity", cases) => Box::new(|| parity::run(cases)),
        ("handlers", cases) => Box::new(|| handlers::run(cases)),
        ("solver", words) => Box::new(|| solver::run(words)),
        ("repro", []) => Box::new(repro::run),
        ("processors", []) => Box::new(processors::run),
        ("kill", []) => Box::new(kill::run),
        ("faults", families) => Box::new(|| faults::run(families)),
        ("fuzz", words) => Box::new(|| fuzz::run(words)),
        ("bench", []) => Box::new(bench::run),
        ("bench", ["rpm"]) => Box::new(bench::run_rpm),
        _ => return Err(USAGE.into()),
    };
    peer::build_program(&[])?;
    task()
}

/// Writes a line to standard output.
#[expect(clippy::print_stdout, reason = "tasks talk to the developer who started them")]
fn say(line: &str) {
    println!("{line}");
}
