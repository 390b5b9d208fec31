//! Our Alpine trees against those of a real apk, from the same packages: those of the collected test
//! data. What the real apk says of a tree that we made is asked too.

use std::ffi::OsStr;
use std::path::Path;

use osbuilder::tree::Tree;

use crate::apk::{Apk, Wanted};
use crate::parity::read_and_remove;
use crate::{Outcome, kata_list, medium, peer, say};

/// One comparison.
struct Case {
    name: &'static str,
    version: &'static str,
    /// Below the folder of Alpine's test data.
    medium: &'static str,
    architecture: &'static str,
    /// Whose signature is on it, if not Alpine's: below the same folder.
    key: Option<&'static str>,
    packages: &'static [&'static str],
}

const SMALL: &[&str] = &["alpine-baselayout", "apk-tools", "busybox", "musl-utils"];
const TEST_KEY: Option<&str> = Some("keys/osb-test@example.org-00000001.rsa.pub");

const CASES: &[Case] = &[
    Case {
        name: "alpine-3.19.1",
        version: "3.19",
        medium: "genuine-3.19.1",
        architecture: "x86_64",
        key: None,
        packages: medium::PACKAGES,
    },
    Case {
        name: "alpine-3.20.3",
        version: "3.20",
        medium: "rebuilt-3.20.3",
        architecture: "x86_64",
        key: TEST_KEY,
        packages: SMALL,
    },
    Case {
        name: "alpine-3.20.3-ppc64le",
        version: "3.20",
        medium: "rebuilt-3.20.3",
        architecture: "ppc64le",
        key: TEST_KEY,
        packages: SMALL,
    },
];

/// Kata's own list, of packages made on the spot; in the formats of version 2, then of version 3.
const LISTS: [(&str, bool); 2] = [("alpine-kata-list", false), ("alpine-kata-list-3", true)];

/// Runs the wanted cases; each pair of trees, ours first, is given to `judge`.
pub(crate) fn run(
    wanted: &dyn Fn(&str) -> bool,
    work: &Path,
    judge: &mut dyn FnMut(&'static str, &Tree, &Tree),
) -> Outcome {
    let lists = LISTS.iter().filter(|(name, _)| wanted(name)).collect::<Vec<_>>();
    let cases = CASES.iter().filter(|case| wanted(case.name)).collect::<Vec<_>>();
    if lists.is_empty() && cases.is_empty() {
        return Ok(());
    }
    let Some(data) = medium::alpine()? else { return Ok(()) };
    let apk = Apk::make(&data, work)?;
    for (name, third) in lists {
        list(name, *third, (&apk, work), judge)?;
    }
    if cases.is_empty() {
        return Ok(());
    }
    complain(&apk, &data)?;
    for case in cases {
        let key = case.key.map(|key| data.join(key));
        let wanted = Wanted {
            medium: &data.join(case.medium),
            architecture: case.architecture,
            key: key.as_deref(),
            packages: case.packages,
        };
        let ours = our_tree(case.version, &wanted, work)?;
        apk.bring(&wanted)?;
        peer::run(&mut apk.add(&wanted, "/theirs"))?;
        if case.packages == medium::PACKAGES {
            audit(&apk)?;
        }
        judge(case.name, &ours, &read_and_remove(&apk.path("theirs"))?);
    }
    Ok(())
}

/// Compares trees of Kata's own list.
fn list(
    name: &'static str,
    third: bool,
    (apk, work): (&Apk, &Path),
    judge: &mut dyn FnMut(&'static str, &Tree, &Tree),
) -> Outcome {
    let program = if third { Apk::third()? } else { None };
    if third && program.is_none() {
        return Ok(());
    }
    let busybox = fs_err::read("/bin/busybox")?;
    let medium = kata_list::make(work, third, (std::env::consts::ARCH, &busybox))?;
    let wanted = Wanted {
        medium: &medium.folder,
        architecture: std::env::consts::ARCH,
        key: Some(&medium.key),
        packages: kata_list::NAMES,
    };
    let ours = our_tree("3.24", &wanted, work)?;
    apk.bring(&wanted)?;
    let theirs = apk.path("theirs");
    match program {
        None => peer::run(&mut apk.add(&wanted, "/theirs"))?,
        Some(program) => {
            let index = apk.path("medium/x86_64/Packages.adb");
            let mut command = peer::start(program);
            command.args(["--arch", wanted.architecture, "--root"]).arg(&theirs).arg("--initdb");
            command.arg("--keys-dir").arg(apk.path("trusted"));
            command.arg("--repository").arg(index).args(["--no-network", "add"]);
            peer::run(command.args(wanted.packages))?;
        }
    }
    judge(name, &ours, &read_and_remove(&theirs)?);
    Ok(())
}

fn our_tree(
    version: &str,
    wanted: &Wanted<'_>,
    work: &Path,
) -> Result<Tree, Box<dyn std::error::Error>> {
    let (recipe, lock, target) =
        (work.join("alpine.toml"), work.join("alpine.lock"), work.join("ours"));
    let packages: Vec<String> = wanted.packages.iter().map(|name| format!("{name:?}")).collect();
    fs_err::write(&recipe, format!("packages = [{}]\n", packages.join(", ")))?;
    let mirror = format!("file://{}", wanted.medium.display());
    let mut command = peer::start(peer::osbuilder());
    command
        .args(["rootfs", "alpine", "--version", version, "--arch", wanted.architecture])
        .args(["--rootfs-only", "--keep-database", "--mirror", &mirror])
        .args(wanted.key.iter().flat_map(|key| [OsStr::new("--key"), key.as_os_str()]))
        .args([OsStr::new("--recipe"), recipe.as_os_str()])
        .args([OsStr::new("--cache"), work.join("cache").as_os_str()])
        .args([OsStr::new("--lock"), lock.as_os_str()])
        .args([OsStr::new("--output"), target.as_os_str()]);
    peer::run(&mut command)?;
    fs_err::remove_file(lock)?;
    read_and_remove(&target)
}

/// What a real apk says in a tree that we made: it has nothing to complain about.
fn complain(apk: &Apk, data: &Path) -> Outcome {
    let ask = |arguments: &[&str]| -> Result<String, Box<dyn std::error::Error>> {
        let output = apk.command().args(arguments).output()?;
        let told = String::from_utf8(output.stdout)?;
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.success() && !words.contains("ERROR") {
            true => Ok(told),
            false => Err(format!("apk {} says: {told}{words}", arguments.join(" ")).into()),
        }
    };
    let wanted = Wanted {
        medium: &data.join("genuine-3.19.1"),
        architecture: "x86_64",
        key: None,
        packages: medium::PACKAGES,
    };
    apk.bring(&wanted)?;
    let archives = archives(&apk.path("medium/x86_64"))?;
    let archives: Vec<&str> = archives.iter().map(String::as_str).collect();
    let verify = [&["verify"][..], &archives].concat();
    let lock = fs_err::read_to_string(apk.path("../apk.lock"))?;
    let installed = osbuilder::lock::Lock::parse(&lock)?.packages.len();
    for (arguments, is_good) in [
        (&["audit", "--system"][..], &(|told: &str| told.is_empty()) as &dyn Fn(&str) -> bool),
        (&["fix", "--simulate", "--no-network"], &|told| told.starts_with("OK:")),
        (&["info"], &|told| told.lines().count() == installed),
        (&["info", "--installed", "busybox"], &|told| told.trim() == "busybox"),
        (&verify, &|told| {
            told.lines().count() == archives.len() && told.lines().all(|l| l.ends_with("- OK"))
        }),
    ] {
        let told = ask(arguments)?;
        let name = format!("apk {}", arguments.get(..2).unwrap_or(arguments).join(" "));
        if !is_good(&told) {
            return Err(format!("{name} says: {told}").into());
        }
        say(&format!("parity: {name} has nothing to complain about"));
    }
    Ok(())
}

/// The packages of a folder in the tree, as the tree's own programs name them.
fn archives(folder: &Path) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let mut names = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".apk") {
            names.push(format!("/medium/x86_64/{name}"));
        }
    }
    names.sort();
    Ok(names)
}

/// `apk audit` lists what scripts have changed and added below `/etc`: in our tree the same as in apk's
/// own, but for the list of repositories, which apk does not make.
fn audit(apk: &Apk) -> Outcome {
    let audit = |root: &Path| -> Result<Vec<String>, Box<dyn std::error::Error>> {
        let output = peer::start("chroot").arg(root).args(["/sbin/apk", "audit"]).output()?;
        let text = String::from_utf8(output.stdout)?;
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.retain(|line| line != "A etc/apk/repositories");
        lines.sort();
        Ok(lines)
    };
    let (ours, theirs) = (audit(&apk.path(""))?, audit(&apk.path("theirs"))?);
    if ours != theirs {
        return Err(
            format!("apk audit lists {ours:?} in our tree and {theirs:?} in its own").into()
        );
    }
    say(&format!("parity: apk audit lists the same {} changes in both trees", ours.len()));
    Ok(())
}
