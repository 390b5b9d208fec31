//! A real apk: the one in a tree that we built from genuine packages, run in that tree, which is a
//! folder here. Like mmdebstrap for Debian it needs root.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Outcome, medium, peer, say};

/// A tree with apk in it, and packages.
pub(crate) struct Apk {
    home: PathBuf,
}

/// What apk is to install.
pub(crate) struct Wanted<'a> {
    /// The folder with a repository for each architecture.
    pub(crate) medium: &'a Path,
    pub(crate) architecture: &'a str,
    /// Whose signature is on it, if not Alpine's.
    pub(crate) key: Option<&'a Path>,
    pub(crate) packages: &'a [&'a str],
}

impl Apk {
    /// Builds the tree below `work`.
    pub(crate) fn make(data: &Path, work: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let (home, recipe) = (work.join("apk"), work.join("apk.toml"));
        fs_err::write(&recipe, medium::recipe(data))?;
        let mut command = peer::start(peer::osbuilder());
        command
            .args(["rootfs", "--rootfs-only", "--keep-database", "--recipe"])
            .arg(&recipe)
            .args([OsStr::new("--cache"), work.join("cache").as_os_str()])
            .args([OsStr::new("--lock"), work.join("apk.lock").as_os_str()])
            .args([OsStr::new("--output"), home.as_os_str()]);
        peer::run(&mut command)?;
        Ok(Self { home })
    }

    /// apk, to be given arguments; it sees nothing but the tree.
    pub(crate) fn command(&self) -> Command {
        let mut command = peer::start("chroot");
        command.arg(&self.home).arg("/sbin/apk");
        command
    }

    /// Where `name` in the tree lies.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    /// Brings what [`Apk::add`] reads into the tree.
    pub(crate) fn bring(&self, wanted: &Wanted<'_>) -> Outcome {
        let (medium, keys) = (self.path("medium"), self.path("trusted"));
        for folder in [&medium, &keys] {
            if folder.exists() {
                fs_err::remove_dir_all(folder)?;
            }
            fs_err::create_dir(folder)?;
        }
        let own = self.path("etc/apk/keys/.");
        let (from, architecture) = (wanted.medium.join(wanted.architecture), wanted.architecture);
        copy(&from, &medium.join(architecture))?;
        copy(wanted.key.unwrap_or(&own), &keys)
    }

    /// The command that installs packages into an empty root, named from the tree's own root.
    pub(crate) fn add(&self, wanted: &Wanted<'_>, root: &str) -> Command {
        let mut command = match wanted.architecture == std::env::consts::ARCH {
            true => self.command(),
            false => self.emulated(wanted.architecture),
        };
        command.args(["--arch", wanted.architecture, "--root", root, "--initdb"]);
        command.args(["--keys-dir", "/trusted", "--repository", "/medium", "--no-network", "add"]);
        command.args(wanted.packages);
        command
    }

    /// As [`Apk::add`], and then waits until all of it is on the disk. The root has no slash.
    pub(crate) fn add_and_sync(&self, wanted: &Wanted<'_>, root: &str) -> Command {
        let add = self.add(wanted, &format!("/{root}"));
        let mut command = peer::start("sh");
        command.args(["-c", "root=$1; shift; \"$@\" && sync -f \"$root\"", "sh"]);
        command.arg(self.path(root)).arg(add.get_program()).args(add.get_args());
        command
    }

    /// apk of version 3, if the environment's `APK3` names one, in a tree without any. No Debian
    /// package has it; apk-tools' sources say how it is built.
    #[expect(clippy::disallowed_methods, reason = "where the judge is comes from the environment")]
    pub(crate) fn third() -> Result<Option<PathBuf>, Box<dyn std::error::Error>> {
        let Some(program) = std::env::var_os("APK3").map(PathBuf::from) else {
            let hint = "set APK3 to a program built from the sources of apk-tools 3";
            say(&format!("SKIPPED: no apk of version 3 to judge by; {hint}"));
            return Ok(None);
        };
        let told = peer::start(&program).arg("--version").output()?;
        let version = String::from_utf8_lossy(&told.stdout).into_owned();
        match version.starts_with("apk-tools 3") {
            true => Ok(Some(program)),
            false => Err(format!("APK3 is {version:?}, not apk-tools 3").into()),
        }
    }

    /// apk, where programs of another processor run by a static emulator of the host, registered in a
    /// user namespace of its own (Linux 6.7 or later). Only for 64-bit POWER in little-endian order.
    fn emulated(&self, architecture: &str) -> Command {
        let emulator = format!(":peer:M::{MAGIC}:{MASK}:/usr/bin/qemu-{architecture}-static:F");
        let mut command = peer::start("sh");
        command.args(["-c", ENTER, REGISTER, &emulator]).arg(&self.home).arg("/sbin/apk");
        command
    }
}

/// How its programs begin, and which bits of that count.
const MAGIC: &str = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x15\x00";
const MASK: &str =
    r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\x00";

/// Runs the script `$0` in namespaces in which everybody is who he is outside. Root may write the maps
/// whatever subordinate numbers it was given.
const ENTER: &str = r#"set -e
unshare --user --mount sh -c 'until grep -q . /proc/self/uid_map; do sleep 0.01; done
exec sh -c "$0" sh "$@"' "$0" "$@" &
inside=/proc/$!
until [ "$(readlink $inside/ns/user)" != "$(readlink /proc/self/ns/user)" ]; do sleep 0.01; done
echo 0 0 65536 > $inside/uid_map
echo 0 0 65536 > $inside/gid_map
wait $!"#;

/// Registers the first argument and changes the root to the second.
const REGISTER: &str = r#"set -e
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
printf %s "$1" > /proc/sys/fs/binfmt_misc/register
shift
exec chroot "$@""#;

fn copy(from: &Path, to: &Path) -> Outcome {
    peer::run(peer::start("cp").arg("-a").arg(from).arg(to))
}
