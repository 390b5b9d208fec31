//! Our trees of rpm packages against those of a real dnf with a real rpm, from the same repository: one
//! that is made on the spot of the spec files in `tests/parity/rpm`. What the real rpm says of both
//! trees, which packages there are and what of them has changed, must be the same, too.

use std::path::{Path, PathBuf};
use std::process::Command;

use osbuilder::tree::Tree;

use crate::parity::read_and_remove;
use crate::{Outcome, peer, say};

/// One comparison: what is installed from the repository, with all that it needs.
struct Case {
    name: &'static str,
    packages: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case { name: "rpm-files", packages: &["parity-share"] },
    Case { name: "rpm-order", packages: &["parity-order"] },
    Case { name: "rpm-triggers", packages: &["parity-triggers"] },
    Case { name: "rpm-lua", packages: &["parity-lua"] },
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
    if cases.peek().is_none() {
        return Ok(());
    }
    let place = Place::make(&work.join("rpm"))?;
    for case in cases {
        let (ours, theirs) = (place.ours(case)?, place.theirs(case)?);
        for question in ["-qa --qf '%{NEVRA}\\n'", "-Va --nomtime"] {
            let (our, their) = (place.ask(&ours, question)?, place.ask(&theirs, question)?);
            if our != their {
                return Err(format!("{}: rpm {question}: {our}\n  not: {their}", case.name).into());
            }
        }
        say(&format!("parity {}: rpm says the same of both trees", case.name));
        judge(case.name, &read_and_remove(&ours)?, &read_and_remove(&theirs)?);
    }
    Ok(())
}

/// Where the repository is, and what the tools need.
struct Place {
    folder: PathBuf,
}

impl Place {
    /// Makes the repository.
    fn make(folder: &Path) -> Result<Self, Box<dyn std::error::Error>> {
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

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn tool(&self, name: &str) -> Command {
        let mut command = peer::start(name);
        command.env("HOME", self.path("home"));
        command
    }

    fn repository(&self) -> String {
        format!("file://{}", self.path("repository").display())
    }

    fn theirs(&self, case: &Case) -> Result<PathBuf, Box<dyn std::error::Error>> {
        let target = self.path("theirs");
        let mut command = self.tool("dnf");
        command
            .args(["--quiet", "--assumeyes", "--nogpgcheck", "--releasever=2.0"])
            .args(["--setopt=install_weak_deps=0", "--setopt=plugins=0"])
            .arg("--setopt=reposdir=/nonexistent")
            .arg(format!("--repofrompath=parity,{}", self.repository()))
            .arg(format!("--installroot={}", target.display()))
            .arg("install")
            .args(case.packages);
        peer::run(&mut command)?;
        Ok(target)
    }

    /// Whose the packages are does not matter here: they are not signed.
    fn ours(&self, case: &Case) -> Result<PathBuf, Box<dyn std::error::Error>> {
        let (recipe, lock, target) =
            (self.path("recipe.toml"), self.path("ours.lock"), self.path("ours"));
        let packages: Vec<String> = case.packages.iter().map(|name| format!("{name:?}")).collect();
        let packages = packages.join(", ");
        fs_err::write(&recipe, format!("packages = [{packages}]\nsources.insecure = true\n"))?;
        let mut command = peer::start(peer::osbuilder());
        command
            .args(["rootfs", "azurelinux", "--version", "2.0", "--arch", std::env::consts::ARCH])
            .args(["--rootfs-only", "--keep-database", "--mirror", &self.repository()])
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
