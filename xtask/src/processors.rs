//! Guests of Alpine for each processor that its data file names, with scripts: by an emulator, where the
//! processor is another one. The packages are made on the spot around a static busybox from the host's
//! Debian mirror; the trees must be the same but for that program.

use std::num::NonZeroUsize;
use std::path::Path;

use osbuilder::distro::{Architecture, Catalogue};
use osbuilder::store::directory;
use osbuilder::tree::Tree;

use crate::kata_list::{self, Medium};
use crate::needs::{self, Need};
use crate::{Outcome, peer, say};

/// What differs between processors: the only program, and what names the processor.
const OWN: [&str; 4] = ["/bin/busybox\t", "/etc/apk/arch\t", "/lib/apk/db/", "/var/lib/osbuilder/"];

const NEEDS: &[Need] = &[
    Need::Tool("apt-get", "apt"),
    Need::Tool("dpkg-deb", "dpkg"),
    Need::Tool("/bin/busybox", "busybox-static"),
    Need::Tool("qemu-aarch64-static", "qemu-user-static"),
    Need::Sandbox,
    Need::Room(1000),
];

/// Builds for all processors and compares.
pub(crate) fn run() -> Outcome {
    let missing = needs::missing(NEEDS);
    if !missing.is_empty() {
        return Err(missing.join("; ").into());
    }
    let work = std::env::temp_dir().join(format!("osbuilder-processors-{}", std::process::id()));
    fs_err::create_dir_all(&work)?;
    let outcome = all(&work);
    fs_err::remove_dir_all(&work)?;
    outcome
}

fn all(work: &Path) -> Outcome {
    let catalogue = Catalogue::default();
    let alpine = catalogue.find("alpine")?;
    let release = alpine.release(&alpine.default_release)?;
    let mut first: Option<Vec<String>> = None;
    for architecture in release.architectures.iter().copied() {
        let folder = work.join(architecture.alpine_name());
        fs_err::create_dir_all(&folder)?;
        let busybox = busybox(architecture, &folder)?;
        let medium = kata_list::make(&folder, false, (architecture.alpine_name(), &busybox))?;
        let tree = build(architecture, &medium, &folder)?;
        let described = describe(&tree);
        let differing: Vec<&String> = match &first {
            None => Vec::new(),
            Some(first) => described.iter().filter(|line| !first.contains(line)).collect(),
        };
        if !differing.is_empty() || first.as_ref().is_some_and(|f| f.len() != described.len()) {
            return Err(format!("{architecture}: the tree differs: {differing:?}").into());
        }
        say(&format!(
            "processors: {architecture}: directory, initrd and image, {} paths, the same tree",
            described.len()
        ));
        first.get_or_insert(described);
    }
    Ok(())
}

/// A directory, an initrd and an image; the directory's tree comes back.
fn build(
    architecture: Architecture,
    medium: &Medium,
    folder: &Path,
) -> Result<Tree, Box<dyn std::error::Error>> {
    for form in ["rootfs", "initrd", "image"] {
        let mut command = peer::start(peer::osbuilder());
        command.args([form, "alpine", "--arch", architecture.alpine_name(), "--keep-database"]);
        command.arg(format!("--mirror=file://{}", medium.folder.display()));
        command.arg("--key").arg(&medium.key).args(["--epoch", "1700000000"]);
        command.args(["--scripts", "programs", "--init", "agent"]);
        // Nothing of the agent is run: any file will do.
        command.arg("--agent").arg(&medium.key).arg("--cache").arg(folder.join("cache"));
        command.arg("--lock").arg(folder.join("lock")).arg("--output").arg(folder.join(form));
        peer::run(&mut command)?;
    }
    let (tree, _contents) = directory::read(&folder.join("rootfs"), NonZeroUsize::MIN)?;
    for made in ["etc/shells", "etc/watched-sbin"] {
        if tree.get(&made.parse()?).is_none() {
            return Err(format!("{architecture}: no script has made {made}").into());
        }
    }
    Ok(tree)
}

fn describe(tree: &Tree) -> Vec<String> {
    tree.to_listing()
        .lines()
        .filter(|line| !OWN.iter().any(|own| line.starts_with(own)))
        .map(str::to_owned)
        .collect()
}

/// A static busybox of a processor.
fn busybox(
    architecture: Architecture,
    folder: &Path,
) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    if Some(architecture) == Architecture::host() {
        return Ok(fs_err::read("/bin/busybox")?);
    }
    let place = folder.join("apt");
    for name in ["lists/partial", "cache/archives/partial", "download"] {
        fs_err::create_dir_all(place.join(name))?;
    }
    let debian = architecture.debian_name();
    let apt = || {
        let mut command = peer::start("apt-get");
        command.arg("-qq").args(["-o", &format!("APT::Architecture={debian}")]);
        command.args(["-o", &format!("APT::Architectures::={debian}")]);
        command.args(["-o", "Acquire::Languages=none", "-o", "Dir::State::status=/dev/null"]);
        command.args(["-o", &format!("Dir::State::Lists={}", place.join("lists").display())]);
        command.args(["-o", &format!("Dir::Cache={}", place.join("cache").display())]);
        command.args(["-o", "APT::Sandbox::User=root"]);
        command
    };
    // A mirror may be changing one index of several just now: whether the package comes is what counts.
    peer::run(apt().arg("update")).unwrap_or_else(|error| say(&error.to_string()));
    peer::run(apt().args(["download", "busybox-static"]).current_dir(place.join("download")))?;
    let archive = fs_err::read_dir(place.join("download"))?.next().ok_or("nothing came")??;
    peer::run(peer::start("dpkg-deb").arg("-x").arg(archive.path()).arg(place.join("out")))?;
    Ok(fs_err::read(place.join("out/bin/busybox"))?)
}
