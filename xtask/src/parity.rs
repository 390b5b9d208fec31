//! Our trees against those of the distribution's own tool: Debian's against mmdebstrap's, with the
//! same mirror, suite, variant and package list; Alpine's see `parity_alpine.rs`, those of rpm packages
//! `parity_rpm.rs` and `parity_rpm_newer.rs`.
//!
//! Both trees are read the same way and compared path by path: type, mode, owner, size, content,
//! target, device, attributes; not times. `tests/parity/differences.toml` lists what may differ
//! and why; any other difference fails the task.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use osbuilder::store::directory;
use osbuilder::tree::{Inode, Kind, Tree, escape};
use serde::Deserialize;

use crate::peer::{self, Mirrors};
use crate::{Outcome, say};
use crate::{parity_alpine, parity_rpm, parity_rpm_newer};

/// One comparison.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) codename: &'static str,
    packages: &'static [&'static str],
}

const AGENT: &[&str] =
    &["chrony", "coreutils", "cryptsetup-bin", "e2fsprogs", "iptables", "kmod", "libseccomp2"];

pub(crate) const CASES: &[Case] = &[
    Case { name: "bookworm-systemd", codename: "bookworm", packages: peer::SYSTEMD },
    Case { name: "bookworm-agent", codename: "bookworm", packages: AGENT },
    Case { name: "trixie-systemd", codename: "trixie", packages: peer::SYSTEMD },
    Case { name: "trixie-agent", codename: "trixie", packages: AGENT },
];

/// Time stamps are not compared, but programs that write them into files are calmed by this.
const EPOCH: &str = "1700000000";

/// A difference that is known and explained.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Known {
    /// A path, or a path with a final `*`.
    path: String,
    /// Where it occurs, each a case or the beginning of some with a final `*`; everywhere, if empty.
    #[serde(default)]
    cases: Vec<String>,
    /// Why it is no fault. For people; the comparison does not use it.
    #[serde(rename = "reason")]
    _reason: String,
}

#[derive(Debug, Deserialize)]
struct KnownDifferences {
    #[serde(default)]
    difference: Vec<Known>,
}

/// Reads what may differ from one of the lists in `tests/parity`.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn known(file: &str) -> Result<Vec<Known>, Box<dyn std::error::Error>> {
    let text = fs_err::read_to_string(peer::checkout().join("tests/parity").join(file))?;
    let known: KnownDifferences = toml::from_str(&text)?;
    Ok(known.difference)
}

/// Runs the named cases, or all.
pub(crate) fn run(names: &[&str]) -> Outcome {
    let known = known("differences.toml")?;
    let work = std::env::temp_dir().join(format!("osbuilder-parity-{}", std::process::id()));
    fs_err::create_dir_all(&work)?;
    let wanted = |name: &str| names.is_empty() || names.contains(&name);
    let mut failed = Vec::new();
    let mut judge = |name: &'static str, ours: &Tree, theirs: &Tree| {
        let unexplained = compare(name, (ours, theirs), &known);
        say(&format!("parity {name}: {} unexplained differences", unexplained.len()));
        unexplained.iter().for_each(|line| say(&format!("  {line}")));
        if !unexplained.is_empty() {
            failed.push(name);
        }
    };
    for case in CASES.iter().filter(|case| wanted(case.name)) {
        let mirrors = peer::host_mirrors()?;
        let theirs = peer_tree(case, &mirrors, &work)?;
        let ours = our_rootfs(case, &mirrors, (&work, &work.join("cache")), ("", &[]))?;
        audit(&ours)?;
        judge(case.name, &read_and_remove(&ours)?, &theirs);
    }
    parity_alpine::run(&wanted, &work, &mut judge)?;
    parity_rpm::run(&wanted, &work, &mut judge)?;
    parity_rpm_newer::run(&wanted, &work, &mut judge)?;
    fs_err::remove_dir_all(&work)?;
    if failed.is_empty() { Ok(()) } else { Err(format!("no parity: {}", failed.join(", ")).into()) }
}

/// The differences that nothing explains, a text for each.
pub(crate) fn compare(name: &str, (ours, theirs): (&Tree, &Tree), known: &[Known]) -> Vec<String> {
    let (ours, theirs) = (describe(ours), describe(theirs));
    let mut paths: Vec<&String> = ours.keys().chain(theirs.keys()).collect();
    paths.sort();
    paths.dedup();
    let fits = |pattern: &str, text: &str| match pattern.strip_suffix('*') {
        Some(start) => text.starts_with(start),
        None => text == pattern,
    };
    let applies = |known: &Known, path: &str| {
        let here = known.cases.is_empty() || known.cases.iter().any(|case| fits(case, name));
        here && fits(&known.path, path)
    };
    let mut unexplained = Vec::new();
    for path in paths.into_iter().filter(|path| ours.get(*path) != theirs.get(*path)) {
        if !known.iter().any(|known| applies(known, path)) {
            let absent = "absent".to_owned();
            let (our, their) = (ours.get(path).unwrap_or(&absent), theirs.get(path));
            unexplained
                .push(format!("{path}\n    ours   {our}\n    theirs {}", their.unwrap_or(&absent)));
        }
    }
    unexplained
}

fn peer_tree(
    case: &Case,
    mirrors: &Mirrors,
    work: &Path,
) -> Result<Tree, Box<dyn std::error::Error>> {
    let target = work.join("theirs");
    let mut command = peer::start("mmdebstrap");
    command
        .env("SOURCE_DATE_EPOCH", EPOCH)
        .args(["--mode=root", "--quiet", "--variant=required", "--format=directory"])
        .arg(format!("--include={}", case.packages.join(",")))
        .arg(case.codename)
        .arg(&target)
        .args(mirrors.sources(case.codename));
    peer::run(&mut command)?;
    read_and_remove(&target)
}

/// dpkg finds nothing to be done in a tree, and no file that is not as its package has it.
fn audit(root: &Path) -> Outcome {
    for question in ["--audit", "--verify"] {
        let mut dpkg = peer::start("dpkg");
        let answer = dpkg.arg(format!("--root={}", root.display())).arg(question).output()?;
        if !answer.status.success() || !answer.stdout.is_empty() {
            let told = String::from_utf8_lossy(&answer.stdout).into_owned();
            return Err(format!("dpkg {question}: {}\n{told}", answer.status).into());
        }
    }
    Ok(())
}

/// The tree that we make of a case's packages, with further lines of the recipe, and options.
///
/// # Errors
/// When the build fails.
pub(crate) fn our_tree(
    case: &Case,
    mirrors: &Mirrors,
    (work, cache): (&Path, &Path),
    (lines, options): (&str, &[&str]),
) -> Result<Tree, Box<dyn std::error::Error>> {
    read_and_remove(&our_rootfs(case, mirrors, (work, cache), (lines, options))?)
}

fn our_rootfs(
    case: &Case,
    mirrors: &Mirrors,
    (work, cache): (&Path, &Path),
    (lines, options): (&str, &[&str]),
) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let target = work.join("ours");
    let recipe = work.join("recipe.toml");
    let packages: Vec<String> = case.packages.iter().map(|name| format!("{name:?}")).collect();
    fs_err::write(&recipe, format!("packages = [{}]\n{lines}", packages.join(", ")))?;
    let mut command = peer::start(peer::osbuilder());
    command
        .args(["rootfs", "debian", "--version", case.codename, "--rootfs-only"])
        .args(["--keep-database", "--epoch", EPOCH, "--mirror", &mirrors.archive])
        .args(options)
        .arg("--recipe")
        .arg(&recipe)
        .arg("--cache")
        .arg(cache)
        .arg("--output")
        .arg(&target)
        .arg("--lock")
        .arg(work.join("ours.lock"));
    peer::run(&mut command)?;
    fs_err::remove_file(work.join("ours.lock"))?;
    Ok(target)
}

/// Reads a tree from the disk, where it is no longer needed then.
pub(crate) fn read_and_remove(target: &Path) -> Result<Tree, Box<dyn std::error::Error>> {
    let (tree, _contents) = directory::read(target, NonZeroUsize::MIN)?;
    fs_err::remove_dir_all(target)?;
    Ok(tree)
}

/// What is compared, as one line for each path.
fn describe(tree: &Tree) -> BTreeMap<String, String> {
    let links = tree.hard_links();
    let names = |id| links.get(&id).copied().unwrap_or(1);
    tree.walk().map(|(path, id, inode)| (path.to_string(), one_line(inode, names(id)))).collect()
}

/// An inode that has so many names.
fn one_line(inode: &Inode, names: u32) -> String {
    let what = match &inode.kind {
        Kind::Directory(_) => "directory".to_owned(),
        Kind::Regular(content) => format!("file {} bytes {}", content.size(), content.digest()),
        Kind::Symlink(target) => format!("link to {}", escape(target)),
        Kind::CharacterDevice(device) => format!("character {}:{}", device.major, device.minor),
        Kind::BlockDevice(device) => format!("block {}:{}", device.major, device.minor),
        Kind::Fifo => "fifo".to_owned(),
        Kind::Socket => "socket".to_owned(),
    };
    let meta = &inode.meta;
    // The mode of a symbolic link means nothing to Linux.
    let mode = if matches!(inode.kind, Kind::Symlink(_)) { 0o777 } else { meta.mode };
    let attribute =
        |(name, value): (&Vec<u8>, &Vec<u8>)| format!("{}={}", escape(name), escape(value));
    let xattrs: Vec<String> = meta.xattrs.iter().map(attribute).collect();
    format!("{what} {mode:04o} {}:{} names {names} {}", meta.uid, meta.gid, xattrs.join(","))
}
