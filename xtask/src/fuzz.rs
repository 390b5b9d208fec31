//! Every fuzz target for some seconds, one after the other: no panic, no hang, little memory.
//!
//! libFuzzer is built from the sources that its crate brings, and the code is instrumented by
//! options that every Rust toolchain has; a C++ compiler is all that it takes besides. There is no
//! address sanitizer in this, which would need a nightly toolchain: what is looked for are panics
//! (overflows among them), hangs and memory without end. What a run has learnt stays in `fuzz/corpus`
//! of the target folder, for the next one; what makes a target fail lies beside it, and is named.

use std::path::{Path, PathBuf};

use osbuilder::package::compression::{Compression, Decompressor, Limits};
use osbuilder::package::rpm::archive::Head;
use osbuilder::package::rpm::database::{Format, Installed, Transaction, database};

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
    Need::Tool("openssl", "openssl"),
    Need::Sandbox,
];

/// Seeds are no larger: a fuzzer gets nowhere with large ones.
const LARGEST_SEED: u64 = 48 << 10;

/// Lists of a repository of rpm packages with all that a reader knows.
const LISTS: &[(&str, &str)] = &[
    (
        "primary.xml",
        "<?xml version='1.0'?><metadata xmlns='c' xmlns:rpm='r' packages='1'><package type='rpm'>\
         <name>a</name><arch>x86_64</arch><version epoch='0' ver='1' rel='1'/><checksum type='sha256' \
         pkgid='YES'>130494033cb9bffa40828ebc814d016920d9ce5d60041467af283ffcf38adef0</checksum>\
         <time file='1' build='1'/><size package='10' installed='20' archive='30'/>\
         <location href='a.rpm'/><format><rpm:provides><rpm:entry name='a' flags='EQ' epoch='0' ver='1' \
         rel='1'/></rpm:provides><rpm:requires><rpm:entry name='(b &gt;= 2 if c else d)'/>\
         </rpm:requires><rpm:conflicts/><rpm:obsoletes><rpm:entry name='e' flags='LT' ver='2'/>\
         </rpm:obsoletes><rpm:recommends/><rpm:supplements/><file>/usr/bin/b</file></format></package>\
         </metadata>",
    ),
    (
        "filelists.xml",
        "<filelists packages='1'><package pkgid='130494033cb9bffa40828ebc814d016920d9ce5d60041467af283ffcf\
         38adef0' name='a' arch='x86_64'><version epoch='0' ver='1' rel='1'/><file>/usr/share/c</file>\
         <file type='dir'>/usr/bin/b</file></package></filelists>",
    ),
    (
        "modules.yaml",
        "---\ndocument: modulemd\nversion: 2\ndata:\n  name: m\n  stream: \"1\"\n  artifacts:\n    rpms:\n    \
         - a-0:1-1.x86_64\n...\n---\ndocument: modulemd-defaults\nversion: 1\ndata: {module: m, stream: \"1\"}\n",
    ),
    (
        "metalink.xml",
        "<metalink version='3.0'><files><file name='repomd.xml'><mm0:timestamp>1</mm0:timestamp><size>9</size>\
         <verification><hash type='sha256'>130494033cb9bffa40828ebc814d016920d9ce5d60041467af283ffcf38adef0\
         </hash></verification><resources><url protocol='https' preference='9'>https://m/repodata/repomd.xml\
         </url></resources></file></files></metalink>",
    ),
];

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
    sign(folder)?;
    // Changes to an image are of ten bytes each.
    let changes: Vec<u8> = (0..200).collect();
    fs_err::write(folder.join("some.changes"), changes)?;
    fs_err::write(folder.join("small.contexts"), CONTEXTS)?;
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
    let of_packages = folder.join("rpm");
    fs_err::create_dir_all(&of_packages)?;
    let packages: Vec<PathBuf> =
        seeds.iter().filter(|seed| seed.extension().is_some_and(|e| e == "rpm")).cloned().collect();
    for (number, package) in packages.iter().enumerate() {
        seeds.extend(parts(package, &of_packages.join(number.to_string()))?);
    }
    for (name, text) in LISTS {
        fs_err::write(of_packages.join(name), text)?;
        seeds.push(of_packages.join(name));
    }
    Ok(seeds)
}

/// The header, a database of it alone and the plain payload of a package, as far as they can be read.
fn parts(package: &Path, to: &Path) -> Result<Vec<PathBuf>, Box<dyn std::error::Error>> {
    let mut reader = std::io::BufReader::new(fs_err::File::open(package)?);
    let Ok(head) = Head::read(&mut reader) else { return Ok(Vec::new()) };
    let (header, payload) = (to.with_extension("header"), to.with_extension("payload"));
    fs_err::write(&header, head.header.as_bytes())?;
    let installed = Installed { signature: &head.signature, header: &head.header, states: &[] };
    let transaction = Transaction { time: 1, color: 3 };
    let database = database(&[installed], transaction, Format::Ndb)?.swap_remove(0).1;
    let installed = to.with_extension("rpmdb");
    fs_err::write(&installed, database)?;
    let format = Compression::of_start(std::io::BufRead::fill_buf(&mut reader)?);
    let mut plain = Decompressor::new(reader, format, Limits::up_to(LARGEST_SEED))?;
    let mut bytes = Vec::new();
    if std::io::Read::read_to_end(&mut plain, &mut bytes).is_err() {
        return Ok(vec![header, installed]);
    }
    fs_err::write(&payload, bytes)?;
    Ok(vec![header, installed, payload])
}

/// File contexts with every kind of entry, and substitutions.
const CONTEXTS: &str = "# all\n/.* u:r:default_t:s0\n/usr/s?bin/[^/]*(tool|getty)\\.x -- u:r:bin_t:s0\n\
    /dev/null -c u:r:null_t:s0\n/tmp/.* <<none>>\n\0/lib64 /usr/lib\n\0/usr/lib64 /usr/lib\n";

/// A certificate, and behind a zero byte a signature of its key.
fn sign(folder: &Path) -> Outcome {
    let script = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=seed -keyout key -out crt 2>&1 \
                  && printf hash > hash && openssl smime -sign -nocerts -noattr -binary -outform der \
                  -in hash -inkey key -signer crt -out p7s && { cat crt; printf '\\0'; cat p7s; } > \
                  some.signed";
    peer::run(peer::start("sh").args(["-c", script]).current_dir(folder))
}

/// Whether a target begins with a file, by how its name ends.
fn is_seed_of(target: &str, seed: &Path) -> bool {
    let ends: &[&str] = match target {
        "deb" => &[".deb"],
        "apk" => &[".apk", "APKINDEX.tar.gz"],
        "rpm" | "signature" => &[".rpm"],
        "header" => &[".header"],
        "rpmdb" => &[".rpmdb"],
        "payload" => &[".payload", ".cpio"],
        "primary" => &["primary.xml", "filelists.xml", "modules.yaml"],
        "repomd" => &["repomd.xml", "metalink.xml"],
        "compression" => &[".deb", ".apk", ".gz", ".xz", ".zst", ".bz2"],
        "words" => &["Packages", ".list", ".triggers", ".conffiles"],
        "release" => &["Release", "InRelease", ".asc", "APKINDEX.tar.gz"],
        "notes" => &[".toml", ".lock"],
        "ext4" | "erofs" | "xfs" | "disk" => &[".changes"],
        "root_hash" => &[".signed"],
        "contexts" => &["file_contexts", ".contexts"],
        "script" => &[".postinst", ".prerm", ".preinst", ".postrm"],
        "tar" => &[".tar"],
        "initrd" => &[".initrd", ".cpio"],
        _ => &[],
    };
    let name = seed.file_name().map(|name| name.to_string_lossy().into_owned());
    name.is_some_and(|name| ends.iter().any(|end| name.ends_with(end)))
}

type Make = fn(&Path) -> Result<Small, Box<dyn std::error::Error>>;
