//! Our Alpine trees against those of a real apk, from the same packages: those of the collected test
//! data. What the real apk says of a tree that we made is asked too.

use std::ffi::OsStr;
use std::path::Path;

use osbuilder::tree::Tree;

use crate::apk::{Apk, Wanted};
use crate::parity::read_and_remove;
use crate::{Outcome, medium, peer, say};

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
    let Some(data) = medium::alpine()? else { return Ok(()) };
    let apk = Apk::make(&data, work)?;
    complain(&apk)?;
    for case in cases {
        let key = case.key.map(|key| data.join(key));
        let wanted = Wanted {
            medium: &data.join(case.medium),
            architecture: case.architecture,
            key: key.as_deref(),
            packages: case.packages,
        };
        let ours = our_tree(case, &wanted, work)?;
        apk.bring(&wanted)?;
        peer::run(&mut apk.add(&wanted, "/theirs"))?;
        judge(case.name, &ours, &read_and_remove(&apk.path("theirs"))?);
    }
    Ok(())
}

fn our_tree(
    case: &Case,
    wanted: &Wanted<'_>,
    work: &Path,
) -> Result<Tree, Box<dyn std::error::Error>> {
    let (recipe, lock, target) =
        (work.join("alpine.toml"), work.join("alpine.lock"), work.join("ours"));
    let packages: Vec<String> = case.packages.iter().map(|name| format!("{name:?}")).collect();
    fs_err::write(&recipe, format!("packages = [{}]\n", packages.join(", ")))?;
    let mirror = format!("file://{}", wanted.medium.display());
    let mut command = peer::start(peer::osbuilder());
    command
        .args(["rootfs", "alpine", "--version", case.version, "--arch", case.architecture])
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

/// What a real apk says of a tree that we made: it has nothing to complain about.
fn complain(apk: &Apk) -> Outcome {
    for (arguments, expected) in [
        (&["audit", "--system"][..], None),
        (&["fix", "--simulate", "--no-network"], Some("OK:")),
        (&["info", "--installed", "busybox"], Some("busybox")),
    ] {
        let output = apk.command().args(arguments).output()?;
        let told = String::from_utf8([output.stdout, output.stderr].concat())?;
        let is_good = expected.map_or(told.is_empty(), |expected| told.contains(expected));
        if !output.status.success() || !is_good {
            return Err(format!("apk {} says: {told}", arguments.join(" ")).into());
        }
        say(&format!("parity: apk {} has nothing to complain about", arguments.join(" ")));
    }
    Ok(())
}
