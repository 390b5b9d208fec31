//! Every fuzz target for some seconds, one after the other: no panic, no hang, little memory.
//!
//! libFuzzer is built from the sources that its crate brings, and the code is instrumented by
//! options that every Rust toolchain has; a C++ compiler is all that it takes besides. There is no
//! address sanitizer in this, which would need a nightly toolchain: what is looked for are panics
//! (overflows among them), hangs and memory without end. What a run has learnt stays in `fuzz/corpus`
//! of the target folder, for the next one; what makes a target fail lies beside it, and is named.

use std::path::{Path, PathBuf};

use crate::needs::{self, Need};
use crate::peer;
use crate::small::Small;
use crate::{Outcome, say};

/// How long each target runs unless something else is said.
const SECONDS: &str = "60";

/// What instruments the code: what clang does for `-fsanitize=fuzzer-no-link` (SanitizerCoverage's
/// documentation), and checks of arithmetic in it.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cdebug-assertions -Ccodegen-units=4 \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Cllvm-args=-simplifycfg-branch-fold-threshold=0";

const NEEDS: &[Need] = &[
    Need::Tool("g++", "g++"),
    Need::Tool("dpkg-deb", "dpkg"),
    Need::Tool("dpkg-scanpackages", "dpkg-dev"),
    Need::Tool("/bin/busybox", "busybox-static"),
    Need::Sandbox,
];

/// Seeds are no larger: a fuzzer gets nowhere with large ones.
const LARGEST_SEED: u64 = 48 << 10;

/// The host's target, which has to be named: else build scripts would be instrumented too.
fn triple() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

/// Builds all targets and runs those that are named, or all.
pub(crate) fn run(words: &[&str]) -> Outcome {
    let (seconds, only) = match words {
        [] => (SECONDS, &[][..]),
        [seconds, only @ ..] => (*seconds, only),
    };
    let missing = needs::missing(NEEDS);
    if !missing.is_empty() {
        return Err(format!("fuzz needs: {}", missing.join("; ")).into());
    }
    let folder = peer::target().join("fuzz");
    let project = peer::checkout().join("fuzz");
    let names = names(&project.join("fuzz_targets"))?;
    if let Some(unknown) = only.iter().find(|only| !names.iter().any(|name| name == *only)) {
        return Err(format!("no target {unknown}; there are {}", names.join(", ")).into());
    }
    let mut build = peer::start("cargo");
    build.args(["build", "--quiet", "--release", "--locked", "--target", &triple()]);
    build.arg("--manifest-path").arg(project.join("Cargo.toml")).arg("--target-dir").arg(&folder);
    peer::run(build.env("RUSTFLAGS", FLAGS).env_remove("CARGO_ENCODED_RUSTFLAGS"))?;
    let seeds = seeds(&folder.join("seeds"))?;
    for name in names.iter().filter(|name| only.is_empty() || only.contains(&name.as_str())) {
        fuzz(name, seconds, &folder, &seeds)?;
    }
    Ok(())
}

fn names(folder: &Path) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let mut names = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

/// Runs a target, which goes on where its last run ended.
fn fuzz(name: &str, seconds: &str, folder: &Path, seeds: &[PathBuf]) -> Outcome {
    let corpus = folder.join("corpus").join(name);
    fs_err::create_dir_all(&corpus)?;
    let wanted = seeds.iter().filter(|seed| is_seed_of(name, seed));
    for (number, seed) in wanted.enumerate() {
        fs_err::copy(seed, corpus.join(format!("seed-{number}")))?;
    }
    let mut command = peer::start(folder.join(triple()).join("release").join(name));
    command.arg(format!("-max_total_time={seconds}"));
    command.args(["-timeout=25", "-rss_limit_mb=2048", "-print_final_stats=1"]);
    command.arg(format!("-artifact_prefix={}/{name}-", folder.display())).arg(&corpus);
    let output = command.output()?;
    let words = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let last: Vec<&str> = words.lines().rev().take(40).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        return Err(format!("fuzz {name}: {}\n{}", output.status, last.join("\n")).into());
    }
    let stat = |name: &str| {
        let line = words.lines().find_map(|line| line.strip_prefix(&format!("stat::{name}:")));
        line.map_or("?", str::trim).to_owned()
    };
    let (runs, memory) = (stat("number_of_executed_units"), stat("peak_rss_mb"));
    say(&format!("fuzz {name}: {runs} runs in {seconds} s, {memory} MiB at most, nothing found"));
    Ok(())
}

/// What mutations begin with: a tiny guest's packages, indexes, lock and initrd; recipes; the small
/// files of the collected test data; the scripts of the host's own packages.
fn seeds(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn std::error::Error>> {
    if folder.exists() {
        fs_err::remove_dir_all(folder)?;
    }
    for (family, make) in [("debian", Small::make as Make), ("alpine", Small::make_alpine)] {
        let place = folder.join(family);
        fs_err::create_dir_all(place.join("out"))?;
        let small = make(&place)?;
        let mut command = small.osbuilder("initrd", "cache", "out/small.initrd");
        peer::run(command.args(["--compression", "none"]))?;
    }
    let data = peer::checkout().join("../shared/data");
    let mut seeds = Vec::new();
    let mut folders = vec![folder.to_owned(), peer::checkout().join("recipes"), data];
    folders.push("/var/lib/dpkg/info".into());
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs_err::read_dir(&folder) else { continue };
        for entry in entries {
            let entry = entry?;
            let meta = entry.metadata()?;
            if meta.is_dir() {
                folders.push(entry.path());
            } else if meta.is_file() && meta.len() <= LARGEST_SEED {
                seeds.push(entry.path());
            }
        }
    }
    seeds.sort();
    Ok(seeds)
}

/// Whether a target begins with a file, by how its name ends.
fn is_seed_of(target: &str, seed: &Path) -> bool {
    let ends: &[&str] = match target {
        "deb" => &[".deb"],
        "apk" => &[".apk", "APKINDEX.tar.gz"],
        "rpm" => &[".rpm"],
        "repomd" => &["repomd.xml", "primary.xml", "metalink"],
        "compression" => &[".deb", ".apk", ".gz", ".xz", ".zst", ".bz2"],
        "words" => &["Packages", ".list", ".triggers", ".conffiles"],
        "release" => &["Release", "InRelease", ".asc", "APKINDEX.tar.gz"],
        "notes" => &[".toml", ".lock"],
        "script" => &[".postinst", ".prerm", ".preinst", ".postrm"],
        "tar" => &[".tar"],
        "initrd" => &[".initrd", ".cpio"],
        _ => &[],
    };
    let name = seed.file_name().map(|name| name.to_string_lossy().into_owned());
    name.is_some_and(|name| ends.iter().any(|end| name.ends_with(end)))
}

type Make = fn(&Path) -> Result<Small, Box<dyn std::error::Error>>;
