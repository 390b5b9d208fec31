//! osbuilder, dnf and zypper, each asked for its choice in an empty root.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use osbuilder::lock::Lock;

use super::world::World;
use crate::peer;

/// What somebody answers to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// These packages: name, version, architecture.
    Chosen(BTreeSet<String>),
    /// It cannot be done.
    Refused,
}

/// Who answers besides us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    Dnf,
    Zypper,
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Our choice: the lock that the program writes.
pub(super) fn osbuilder(world: &World, repositories: &[PathBuf], work: &Path) -> Result<Answer> {
    let (recipe, lock) = (work.join("recipe.toml"), work.join("ours.lock"));
    let mirrors: Vec<String> =
        repositories.iter().map(|path| format!("file://{}", path.display())).collect();
    // The agent as first process: nothing is added to what is asked for.
    let text = format!(
        "packages = {:?}\nexclude = {:?}\nrecommends = {}\n[sources]\ninsecure = true\nmirrors = {mirrors:?}\n",
        world.asked, world.exclude, world.recommends
    );
    fs_err::write(&recipe, text)?;
    let mut command = peer::start(peer::osbuilder());
    command.args(["lock", "azurelinux", "--version", "2.0", "--arch", "x86_64", "--recipe"]);
    command.arg(&recipe).arg("--cache").arg(work.join("cache")).arg("--lock").arg(&lock);
    command.env("XDG_CACHE_HOME", work.join("home"));
    let output = command.output()?;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        let refused =
            ["cannot be installed", "no repository has"].iter().any(|w| words.contains(w));
        return if refused { Ok(Answer::Refused) } else { Err(words.into()) };
    }
    let text = fs_err::read_to_string(&lock)?;
    fs_err::remove_file(lock)?;
    let lock = Lock::parse(&text)?;
    let named = |package: &osbuilder::lock::LockedPackage| {
        format!("{}-{}.{}", package.name, package.version, package.architecture)
    };
    Ok(Answer::Chosen(lock.packages.iter().map(named).collect()))
}

impl Peer {
    /// What it is called in the list of differences.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Dnf => "dnf",
            Self::Zypper => "zypper",
        }
    }

    /// Its choice, where ours is known.
    pub(super) fn answer(
        self,
        (world, ours): (&World, &Answer),
        repositories: &[PathBuf],
        work: &Path,
    ) -> Result<Answer> {
        match self {
            Self::Dnf => dnf(world, repositories, work),
            Self::Zypper => zypper(world, ours, repositories, work),
        }
    }
}

fn dnf(world: &World, repositories: &[PathBuf], work: &Path) -> Result<Answer> {
    let mut command = peer::start("dnf");
    command
        .args(["--assumeno", "--nogpgcheck", "--releasever=9", "--forcearch=x86_64"])
        .args([
            "--setopt=plugins=0",
            "--setopt=reposdir=/nonexistent",
            "--setopt=metadata_expire=0",
        ])
        .args(["--setopt=module_platform_id=platform:el9", "--setopt=strict=1", "--setopt=best=0"])
        .arg(format!("--setopt=cachedir={}", work.join("dnf-cache").display()))
        .arg(format!("--setopt=install_weak_deps={}", u8::from(world.recommends)))
        .arg(format!("--installroot={}", work.join("dnf").display()));
    for (number, path) in repositories.iter().enumerate() {
        command.arg(format!("--repofrompath=r{number},file://{}", path.display()));
    }
    command.args(world.exclude.iter().map(|name| format!("--exclude={name}")));
    command.arg("install").args(&world.asked);
    let output = command.env("LC_ALL", "C").env("HOME", work).output()?;
    let (text, words) = (text(&output.stdout), text(&output.stderr));
    if text.contains("Transaction Summary") {
        return Ok(Answer::Chosen(of_dnf(&text)));
    }
    let refused =
        ["Problem", "No match for argument", "Unable to find a match", "excluded", "filtered"];
    match refused.iter().any(|word| words.contains(word) || text.contains(word)) {
        true => Ok(Answer::Refused),
        false => Err(format!("dnf says of {}: {text}{words}", world.name).into()),
    }
}

/// The packages in dnf's table: name, architecture, version, repository, size and unit. Where one is too
/// wide for a line, what follows it stands on the next. Later versions that it does not take are listed
/// below the others.
fn of_dnf(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut row: Vec<&str> = Vec::new();
    for line in text.lines().take_while(|line| !line.starts_with("Skipping packages")) {
        match line.strip_prefix(' ').filter(|rest| !rest.starts_with(' ') || !row.is_empty()) {
            Some(rest) => row.extend(rest.split_ascii_whitespace()),
            None => row.clear(),
        }
        let is_size = |size: &str| size.starts_with(|c: char| c.is_ascii_digit());
        if let [name, architecture, version, _, size, unit] = row.as_slice()
            && is_size(size)
            && unit.len() == 1
        {
            found.insert(format!("{name}-{version}.{architecture}"));
        }
        if row.len() >= 6 {
            row.clear();
        }
    }
    found
}

/// zypper insists on the latest version of what is asked for. Where that cannot be had, it is asked for
/// the version that we take, so that the rest of both choices can be compared.
fn zypper(world: &World, ours: &Answer, repositories: &[PathBuf], work: &Path) -> Result<Answer> {
    let first = ask_zypper(world, &world.asked, repositories, work)?;
    let (Answer::Refused, Answer::Chosen(ours)) = (&first, ours) else { return Ok(first) };
    let exact = |name: &String| {
        let with = format!("{name}-");
        let mut versions = ours.iter().filter_map(|package| package.strip_prefix(&with));
        let version = versions.next().and_then(|rest| rest.rsplit_once('.'));
        version.map_or_else(|| name.clone(), |(version, _)| format!("{name}={version}"))
    };
    let asked: Vec<String> = world.asked.iter().map(exact).collect();
    ask_zypper(world, &asked, repositories, work)
}

fn ask_zypper(
    world: &World,
    asked: &[String],
    repositories: &[PathBuf],
    work: &Path,
) -> Result<Answer> {
    let root = work.join("zypper");
    // What an earlier world had would be a repository of this one.
    if root.exists() {
        fs_err::remove_dir_all(&root)?;
    }
    // Locks are kept there, by whoever finds the folder.
    fs_err::create_dir_all(root.join("etc/zypp"))?;
    let start = || -> Command {
        let mut command = peer::start("zypper");
        command.env("LC_ALL", "C").env("HOME", work);
        command.args(["--root"]).arg(&root);
        command.args(["--non-interactive", "--no-gpg-checks", "--xmlout"]);
        command
    };
    for name in &world.exclude {
        let output = start().arg("addlock").arg(name).output()?;
        if !output.status.success() {
            return Err(format!("zypper locks nothing: {}", text(&output.stdout)).into());
        }
    }
    let mut command = start();
    for path in repositories {
        command.arg("--plus-repo").arg(format!("file://{}", path.display()));
    }
    command.args(["install", "--dry-run"]);
    command.arg(if world.recommends { "--recommends" } else { "--no-recommends" });
    let output = command.args(asked).output()?;
    let text = text(&output.stdout);
    let refused = ["not found", "Problem", "No provider of", "nothing provides"];
    match output.status.code() {
        Some(0) if text.contains("<install-summary") => {
            Ok(Answer::Chosen(text.lines().filter_map(of_zypper).collect()))
        }
        _ if refused.iter().any(|word| text.contains(word)) => Ok(Answer::Refused),
        _ => Err(format!("zypper says of {}: {text}", world.name).into()),
    }
}

/// A package in zypper's summary.
fn of_zypper(line: &str) -> Option<String> {
    let line = line.trim().strip_prefix("<solvable ")?;
    let value = |name: &str| {
        let (_, rest) = line.split_once(&format!("{name}=\""))?;
        rest.split_once('"').map(|(value, _)| value)
    };
    (value("type")? == "package").then_some(())?;
    Some(format!("{}-{}.{}", value("name")?, value("edition")?, value("arch")?))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
