//! Our trees of rpm packages against those of a real dnf or zypper with a real rpm, from the same
//! repository: one that is made on the spot of the spec files in `tests/parity/rpm`, and real packages of
//! two distributions, of which one is for another processor. What the real rpm says of both trees, which
//! packages there are and what of them has changed, must be the same, too.

use std::path::{Path, PathBuf};
use std::process::Command;

use osbuilder::tree::Tree;

use crate::parity::read_and_remove;
use crate::{Outcome, emulated, medium, peer, say};

/// One comparison: what is installed from a repository, with all that it needs.
struct Case {
    name: &'static str,
    source: &'static Source,
    packages: &'static [&'static str],
    peer: Peer,
}

/// Who makes the other tree.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Peer {
    Dnf,
    Zypper,
}

impl Peer {
    const fn name(self) -> &'static str {
        match self {
            Self::Dnf => "dnf",
            Self::Zypper => "zypper",
        }
    }
}

/// Where packages come from.
struct Source {
    /// The folder of the collected data, or none for what is made on the spot.
    folder: Option<&'static str>,
    distribution: &'static str,
    release: &'static str,
    /// None for this machine's.
    processor: Option<&'static str>,
}

const MADE: Source =
    Source { folder: None, distribution: "azurelinux", release: "2.0", processor: None };
const MARINER: Source =
    Source { folder: Some("mariner2-x86_64"), processor: Some("x86_64"), ..MADE };
const ALMA: Source = Source {
    folder: Some("el9-aarch64"),
    distribution: "alma",
    release: "9",
    processor: Some("aarch64"),
};

/// What AlmaLinux' guests are made of where only the smallest of it is at hand.
pub(crate) const ALMA_PACKAGES: &[&str] =
    &["almalinux-release", "bash", "basesystem", "coreutils-single", "glibc-minimal-langpack"];

/// Packages that are made on the spot.
const fn made(name: &'static str, packages: &'static [&'static str], peer: Peer) -> Case {
    Case { name, source: &MADE, packages, peer }
}

const CASES: &[Case] = &[
    made("rpm-files", &["parity-share"], Peer::Dnf),
    made("rpm-order", &["parity-order"], Peer::Dnf),
    made("rpm-triggers", &["parity-triggers"], Peer::Dnf),
    made("rpm-lua", &["parity-lua"], Peer::Dnf),
    made("rpm-template", &["parity-template"], Peer::Dnf),
    made("rpm-colors", &["parity-wide"], Peer::Dnf),
    made("zypper-files", &["parity-share"], Peer::Zypper),
    made("zypper-order", &["parity-order"], Peer::Zypper),
    made("zypper-triggers", &["parity-triggers"], Peer::Zypper),
    made("zypper-lua", &["parity-lua"], Peer::Zypper),
    made("zypper-colors", &["parity-wide"], Peer::Zypper),
    Case {
        name: "rpm-mariner",
        source: &MARINER,
        packages: &["core-packages-container", "e2fsprogs"],
        peer: Peer::Dnf,
    },
    Case { name: "rpm-alma", source: &ALMA, packages: ALMA_PACKAGES, peer: Peer::Dnf },
];

/// Packages of which neither a peer nor we make a tree.
const REFUSED: &[Case] = &[
    made("rpm-content-differs", &["parity-quarrel"], Peer::Dnf),
    made("rpm-mode-differs", &["parity-quarrel-mode"], Peer::Dnf),
    made("rpm-owner-differs", &["parity-quarrel-owner"], Peer::Dnf),
    made("rpm-kind-differs", &["parity-quarrel-kind"], Peer::Dnf),
];

/// What keeps rpmbuild from doing more than a spec says.
const PLAIN: &[&str] =
    &["_build_id_links none", "debug_package %{nil}", "__os_install_post %{nil}"];

/// Runs the wanted cases; each pair of trees, ours first, is given to `judge`.
pub(crate) fn run(
    wanted: &dyn Fn(&str) -> bool,
    work: &Path,
    judge: &mut dyn FnMut(&'static str, &Tree, &Tree),
) -> Outcome {
    let mut cases = CASES.iter().filter(|case| wanted(case.name)).peekable();
    let mut refused = REFUSED.iter().filter(|case| wanted(case.name)).peekable();
    if cases.peek().is_none() && refused.peek().is_none() {
        return Ok(());
    }
    let place = Place::make(&work.join("rpm"))?;
    for case in refused {
        let repository = format!("file://{}", place.path("repository").display());
        for (who, outcome) in [
            ("we", place.ours(case, &repository)),
            (case.peer.name(), place.theirs(case, &repository)),
        ] {
            if outcome.is_ok() {
                return Err(format!("{}: {who} made a tree of it", case.name).into());
            }
        }
        if place.path("theirs").exists() {
            fs_err::remove_dir_all(place.path("theirs"))?;
        }
        say(&format!("parity {}: refused by both", case.name));
    }
    let data = medium::data("rpm")?;
    for case in cases {
        let repository = match (case.source.folder, &data) {
            (None, _) => place.path("repository"),
            (Some(folder), Some(data)) => data.join(folder),
            (Some(_), None) => continue,
        };
        let repository = format!("file://{}", repository.display());
        let (ours, theirs) = (place.ours(case, &repository)?, place.theirs(case, &repository)?);
        let ask = |tree: &Path, question: &str| place.ask(tree, question);
        says_the_same(case.name, QUESTIONS, (ours.as_path(), theirs.as_path()), ask)?;
        judge(case.name, &read_and_remove(&ours)?, &read_and_remove(&theirs)?);
    }
    Ok(())
}

/// What the real rpm is asked of both trees.
const QUESTIONS: &[&str] = &["-qa --qf '%{NEVRA}\\n'", "-Va --nomtime"];

/// Asks the real rpm each question of our tree and of theirs.
///
/// # Errors
/// When it cannot be asked, or the answers differ.
pub(crate) fn says_the_same<T: ?Sized>(
    name: &str,
    questions: &[&str],
    (ours, theirs): (&T, &T),
    ask: impl Fn(&T, &str) -> Result<String, Box<dyn std::error::Error>>,
) -> Outcome {
    for question in questions {
        let (our, their) = (ask(ours, question)?, ask(theirs, question)?);
        if our != their {
            return Err(format!("{name}: rpm: {question}: {our}\n  not: {their}").into());
        }
    }
    say(&format!("parity {name}: rpm says the same of both trees"));
    Ok(())
}

/// Where the repository is, and what the tools need.
pub(crate) struct Place {
    folder: PathBuf,
}

impl Place {
    /// Makes the repository.
    ///
    /// # Errors
    /// When a tool is missing or fails.
    pub(crate) fn make(folder: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let place = Self { folder: folder.to_owned() };
        fs_err::create_dir_all(place.path("home"))?;
        // Debian's rpm has its database in the home of whoever calls it.
        fs_err::write(place.path("home/.rpmmacros"), "%_dbpath /var/lib/rpm\n")?;
        let mut specs: Vec<PathBuf> = fs_err::read_dir(peer::checkout().join("tests/parity/rpm"))?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        specs.sort();
        for spec in &specs {
            let mut command = place.tool("rpmbuild");
            command.args(["-bb", "--quiet"]).arg("--define");
            command.arg(format!("_topdir {}", place.path("build").display())).arg("--define");
            command.arg(format!("_rpmdir {}", place.path("repository").display()));
            command.args(PLAIN.iter().flat_map(|definition| ["--define", *definition]));
            peer::run(command.arg(spec))?;
        }
        peer::run(place.tool("createrepo_c").arg("--quiet").arg(place.path("repository")))?;
        Ok(place)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn tool(&self, name: &str) -> Command {
        let mut command = peer::start(name);
        command.env("HOME", self.path("home"));
        command
    }

    fn theirs(&self, case: &Case, repository: &str) -> Result<PathBuf, Box<dyn std::error::Error>> {
        let target = self.path("theirs");
        let mut command = match case.peer {
            Peer::Dnf => self.dnf(case, repository, &target),
            Peer::Zypper => self.zypper(case, repository, &target)?,
        };
        match case.source.processor.is_none_or(|name| name == std::env::consts::ARCH) {
            true if case.peer == Peer::Zypper => run_zypper(&mut command)?,
            true => peer::run(&mut command)?,
            false => emulated::run(&command)?,
        }
        Ok(target)
    }

    fn dnf(&self, Case { source, packages, .. }: &Case, from: &str, target: &Path) -> Command {
        let mut command = self.tool("dnf");
        command
            .args(["--quiet", "--assumeyes", "--nogpgcheck"])
            .arg(format!("--releasever={}", source.release))
            .args(source.processor.map(|name| format!("--forcearch={name}")))
            .args(["--setopt=install_weak_deps=0", "--setopt=plugins=0"])
            .arg("--setopt=reposdir=/nonexistent")
            .arg(format!("--repofrompath=parity,{from}"))
            .arg(format!("--installroot={}", target.display()))
            .arg("install")
            .args(*packages);
        command
    }

    fn zypper(
        &self,
        case: &Case,
        from: &str,
        target: &Path,
    ) -> Result<Command, Box<dyn std::error::Error>> {
        fs_err::create_dir_all(target)?;
        let mut command = self.tool("zypper");
        command.arg("--root").arg(target);
        command.args(["--quiet", "--non-interactive", "--no-gpg-checks", "--plus-repo", from]);
        command.args(["install", "--no-recommends"]).args(case.packages);
        command.env("LC_ALL", "C");
        Ok(command)
    }

    /// Whose the packages are does not matter here: some are not signed.
    fn ours(
        &self,
        Case { source, packages, .. }: &Case,
        repository: &str,
    ) -> Result<PathBuf, Box<dyn std::error::Error>> {
        let (recipe, lock, target) =
            (self.path("recipe.toml"), self.path("ours.lock"), self.path("ours"));
        let packages: Vec<String> = packages.iter().map(|name| format!("{name:?}")).collect();
        let packages = packages.join(", ");
        fs_err::write(&recipe, format!("packages = [{packages}]\nsources.insecure = true\n"))?;
        let mut command = peer::start(peer::osbuilder());
        command
            .args(["rootfs", source.distribution, "--version", source.release, "--arch"])
            .arg(source.processor.unwrap_or(std::env::consts::ARCH))
            .args(["--rootfs-only", "--keep-database", "--mirror", repository])
            .arg("--recipe")
            .arg(&recipe)
            .arg("--cache")
            .arg(self.path("cache"))
            .arg("--lock")
            .arg(&lock)
            .arg("--output")
            .arg(&target);
        peer::run(&mut command)?;
        fs_err::remove_file(lock)?;
        Ok(target)
    }

    /// What the real rpm says of a tree, its lines in their order.
    fn ask(&self, tree: &Path, question: &str) -> Result<String, Box<dyn std::error::Error>> {
        let script = format!("rpm --root \"$0\" {question} | LC_ALL=C sort");
        let output = self.tool("sh").args(["-c", &script]).arg(tree).output()?;
        // It reports failure when something has changed, which is part of the answer.
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// Runs zypper. That some script failed it tells by a number of its own, and goes on, as dnf does.
fn run_zypper(command: &mut Command) -> Outcome {
    const SOME_SCRIPT_FAILED: i32 = 107;
    match command.status()?.code() {
        Some(0 | SOME_SCRIPT_FAILED) => Ok(()),
        other => Err(format!("{command:?} ended with {other:?}").into()),
    }
}
