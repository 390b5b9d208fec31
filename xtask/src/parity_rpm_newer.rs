//! Our trees of rpm packages against those of an rpm that can more than the host's: Debian 13's, with its
//! dnf, in a root file system that we make ourselves. It keeps databases as SUSE does.
//!
//! The packages are those that the host's rpmbuild makes for the other comparisons. Everything lies below
//! `/srv` of that root, and the tools run in it by chroot.

use std::path::{Path, PathBuf};
use std::process::Command;

use osbuilder::tree::Tree;

use crate::parity::read_and_remove;
use crate::{Outcome, parity_rpm, peer};

/// One comparison: what is installed, as which distribution, whose rpm is asked what of the result.
struct Case {
    name: &'static str,
    distribution: &'static str,
    release: &'static str,
    /// What this distribution's rpm is told of its database.
    macros: &'static str,
    packages: &'static [&'static str],
    questions: &'static [&'static str],
}

const CASES: &[Case] = &[NDB, USERS];

const NDB: Case = Case {
    name: "rpm-ndb",
    distribution: "opensuse",
    release: "tumbleweed",
    macros: "%_db_backend ndb\n%_dbpath /usr/lib/sysimage/rpm\n",
    packages: &["parity-share", "parity-lua"],
    questions: &[
        "rpm --root /srv/TREE -qa --qf '%{NEVRA}\\n'",
        "rpm --root /srv/TREE -Va --nomtime",
        "rpm --root /srv/TREE -q parity-share nosuch",
        "rpm --root /srv/TREE -qf /usr/bin/note /bin/sh /nosuch",
        "rpm --root /srv/TREE -q --whatprovides /bin/sh parity-lua",
        "rpm --root /srv/TREE -q --whatrequires parity-base",
        "rpmdb --root /srv/TREE --verifydb && echo sound",
        "cd /srv/TREE && ls -A usr/lib/sysimage/rpm",
    ],
};

/// Users and groups that rpm makes since 4.19, by systemd's program as Fedora's rpm does.
const USERS: Case = Case {
    name: "rpm-users",
    distribution: "fedora",
    release: "45",
    macros: "%__systemd_sysusers /usr/bin/systemd-sysusers\n%_dbpath /usr/lib/sysimage/rpm\n",
    packages: &["parity-users"],
    questions: &[
        "rpm --root /srv/TREE -qa --qf '%{NEVRA}\\n'",
        "rpm --root /srv/TREE -Va --nomtime",
        "rpm --root /srv/TREE -q --qf '[%{SYSUSERS}\\n]' parity-users",
        "cd /srv/TREE && cat etc/passwd etc/group etc/shadow etc/gshadow",
    ],
};

/// What the root of the tools is made of.
const TOOLS: &[&str] = &["dnf", "rpm", "systemd-standalone-sysusers"];

/// Runs the wanted cases; each pair of trees, ours first, is given to `judge`.
pub(crate) fn run(
    wanted: &dyn Fn(&str) -> bool,
    work: &Path,
    judge: &mut dyn FnMut(&'static str, &Tree, &Tree),
) -> Outcome {
    let mut cases = CASES.iter().filter(|case| wanted(case.name)).peekable();
    if cases.peek().is_none() {
        return Ok(());
    }
    let place = Place::make(&work.join("newer"))?;
    for case in cases {
        fs_err::write(place.path("root/root/.rpmmacros"), case.macros)?;
        for tree in ["ours", "theirs"] {
            let _absent = fs_err::remove_dir_all(place.path("root/srv").join(tree));
        }
        place.ours(case)?;
        place.theirs(case)?;
        let ask = |tree: &str, question: &str| place.ask(tree, question);
        parity_rpm::says_the_same(case.name, case.questions, ("ours", "theirs"), ask)?;
        let [ours, theirs] = ["root/srv/ours", "root/srv/theirs"].map(|tree| place.path(tree));
        judge(case.name, &read_and_remove(&ours)?, &read_and_remove(&theirs)?);
    }
    Ok(())
}

/// The folder with the root of the tools and what we need besides.
struct Place {
    folder: PathBuf,
}

impl Place {
    /// Makes the root of the tools and the packages.
    fn make(folder: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let place = Self { folder: folder.to_owned() };
        fs_err::create_dir_all(folder)?;
        let mirror = peer::host_mirrors()?.archive;
        place.build(("debian", "trixie"), TOOLS, &mirror, "root")?;
        let made = parity_rpm::Place::make(&place.path("made"))?.path("repository");
        fs_err::rename(made, place.path("root/srv/repository"))?;
        Ok(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A line of shell in the root of the tools.
    fn inside(&self, line: &str) -> Command {
        let mut command = peer::start("chroot");
        command.arg(self.path("root")).args(["sh", "-c", line]).env("HOME", "/root");
        command
    }

    /// A tree of packages from a mirror, made by us. Whose the packages are does not matter here: some
    /// are not signed.
    fn build(
        &self,
        (distribution, release): (&str, &str),
        packages: &[&str],
        mirror: &str,
        target: &str,
    ) -> Outcome {
        let (recipe, lock) = (self.path("recipe.toml"), self.path("some.lock"));
        let packages: Vec<String> = packages.iter().map(|name| format!("{name:?}")).collect();
        let insecure = if distribution == "debian" { "" } else { "sources.insecure = true\n" };
        fs_err::write(&recipe, format!("packages = [{}]\n{insecure}", packages.join(", ")))?;
        let mut command = peer::start(peer::osbuilder());
        command
            .args(["rootfs", distribution, "--version", release, "--rootfs-only"])
            .args(["--keep-database", "--mirror", mirror, "--recipe"])
            .arg(&recipe)
            .arg("--cache")
            .arg(self.path("cache"))
            .arg("--lock")
            .arg(&lock)
            .arg("--output")
            .arg(self.path(target));
        peer::run(&mut command)?;
        Ok(fs_err::remove_file(lock)?)
    }

    fn ours(&self, case: &Case) -> Outcome {
        let repository = format!("file://{}", self.path("root/srv/repository").display());
        self.build((case.distribution, case.release), case.packages, &repository, "root/srv/ours")
    }

    fn theirs(&self, case: &Case) -> Outcome {
        peer::run(&mut self.inside(&format!(
            "dnf --quiet --assumeyes --nogpgcheck --releasever=1 --setopt=install_weak_deps=0 \
             --setopt=plugins=0 --setopt=reposdir=/nonexistent \
             --repofrompath=parity,file:///srv/repository --installroot=/srv/theirs install {}",
            case.packages.join(" ")
        )))
    }

    /// What a tool says of a tree, its lines in their order, and what it warns of.
    fn ask(&self, tree: &str, question: &str) -> Result<String, Box<dyn std::error::Error>> {
        let line = format!("{{ {}; }} 2>&1 | LC_ALL=C sort", question.replace("TREE", tree));
        // It reports failure when something has changed, which is part of the answer.
        let output = self.inside(&line).output()?;
        Ok(String::from_utf8(output.stdout)?.replace(tree, "TREE"))
    }
}
