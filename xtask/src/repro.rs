//! The same recipe, lock and epoch, built twice under conditions as different as possible.
//!
//! The second build has another time, folder, cache, umask, locale, time zone, user (an ordinary
//! one without subordinate ids), number of processors, host name, resolver and environment (K5: what
//! of them came into a guest would differ); where a directory is packed, its entries are in another
//! order. Rootfs listing, image and initrd must not differ in one byte.

use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use osbuilder::store::directory;

use crate::small::Small;
use crate::{Outcome, medium, peer, say};

const PROGRAM: &str = "osbuilder";
const PROBE: &str = "guest-probe";
/// The user `nobody`.
const ORDINARY_USER: &str = "65534";

const DEBIAN: &str = r#"
distribution = "debian"
version = "bookworm"
"#;

/// Another machine: a name, a resolver and hosts that no other one has, for what follows.
const ELSEWHERE: &str = r#"
hostname canary-host
echo "nameserver 192.0.2.53 # canary" > "$0/resolv.conf"
echo "192.0.2.80 canary-host" > "$0/hosts"
for file in resolv.conf hosts; do
  test ! -e "/etc/$file" || mount --bind "$0/$file" "$(realpath "/etc/$file")"
done
umask 077
exec "$@"
"#;

/// Verb, name, further options.
type Form = (&'static str, &'static str, &'static [&'static str]);

/// What is made of a directory.
const PACKED: &[Form] = &[
    ("image", "packed.img", &[]),
    ("image", "packed.erofs", &["--file-system", "erofs"]),
    ("image", "packed.xfs", &["--file-system", "xfs"]),
    ("image", "measured.ext4", &["--measured", "--variant", "ext4"]),
    ("image", "measured.erofs", &["--file-system", "erofs", "--measured", "--variant", "erofs"]),
    ("initrd", "packed.initrd", &[]),
];

/// What is made of small directories besides: some forms take long.
const PACKED_SMALL: &[Form] = &[
    ("image", "gpt.img", &["--partition-table", "gpt"]),
    ("image", "lz4hc.erofs", &["--file-system", "erofs", "--compression", "lz4hc"]),
    ("image", "plain.erofs", &["--file-system", "erofs", "--compression", "none"]),
    (
        "image",
        "superblock.xfs",
        &["--file-system", "xfs", "--measured", "--variant", "xfs", "--verity-superblock"],
    ),
    ("initrd", "packed.zstd", &["--compression", "zstd"]),
    ("initrd", "packed.lz4", &["--compression", "lz4"]),
    ("initrd", "packed.xz", &["--compression", "xz"]),
    ("initrd", "packed.cpio", &["--compression", "none"]),
];

/// One of the two builds.
struct Side {
    /// Where the program and the probe lie.
    programs: PathBuf,
    folder: PathBuf,
    cache: PathBuf,
    different: bool,
}

/// Builds everything twice and compares. Needs root, to become somebody else.
pub(crate) fn run() -> Outcome {
    let work = std::env::temp_dir().join(format!("osbuilder-repro-{}", std::process::id()));
    fs_err::create_dir_all(&work)?;
    fs_err::set_permissions(&work, PermissionsExt::from_mode(0o755))?;
    // Where the ordinary user can reach them, whoever owns the checkout.
    fs_err::copy(peer::osbuilder(), work.join(PROGRAM))?;
    fs_err::copy(peer::probe(), work.join(PROBE))?;
    let outcome = of_all_families(&work);
    remove(&work)?;
    outcome
}

fn of_all_families(work: &Path) -> Outcome {
    build_and_compare(DEBIAN, PACKED, &work.join("debian"), work)?;
    let all = [PACKED, PACKED_SMALL].concat();
    let small = Small::make_azure(&work.join("small"))?;
    build_and_compare(&small.recipe()?, &all, &work.join("azure"), work)?;
    let Some(data) = medium::alpine()? else { return Ok(()) };
    build_and_compare(&medium::recipe(&data), &all, &work.join("alpine"), work)
}

/// Removes a folder of which parts belong to somebody else.
fn remove(folder: &Path) -> Outcome {
    peer::run(peer::start("rm").arg("-rf").arg(folder))
}

fn build_and_compare(recipe: &str, forms: &[Form], work: &Path, programs: &Path) -> Outcome {
    say(&format!("repro in {}", work.display()));
    let plain = Side::new(recipe, (work, programs), ("one", false))?;
    plain.build_all()?;
    plain.pack(&plain, forms)?;
    let other = Side::new(recipe, (work, programs), ("two/deeper down", true))?;
    other.inherit(&plain)?;
    other.build_all()?;
    other.pack(&plain, forms)?;
    let mut differing = Vec::new();
    let built = ["guest.img", "guest.initrd"];
    let packed = forms.iter().map(|(_, output, _)| *output);
    for name in built.into_iter().chain(packed).chain(["root_hash_ext4.txt", "root_hash_erofs.txt"])
    {
        let (one, two) = (plain.folder.join(name), other.folder.join(name));
        let same = fs_err::read(&one)? == fs_err::read(&two)?;
        say(&format!("repro {name}: {}", if same { "same bytes" } else { "DIFFERENT" }));
        if !same {
            differing.push(name);
        }
    }
    let listing = |side: &Side| {
        directory::read(&side.folder.join("rootfs"), NonZeroUsize::MIN)
            .map(|(tree, _)| tree.to_listing())
    };
    if listing(&plain)? != listing(&other)? {
        differing.push("rootfs");
    }
    match differing.as_slice() {
        [] => remove(work),
        names => Err(format!("two builds differ: {}", names.join(", ")).into()),
    }
}

impl Side {
    fn new(
        recipe: &str,
        (work, programs): (&Path, &Path),
        (name, different): (&str, bool),
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let folder = work.join(name);
        let cache = folder.join("cache");
        fs_err::create_dir_all(&cache)?;
        fs_err::write(folder.join("recipe.toml"), recipe)?;
        Ok(Self { programs: programs.to_owned(), folder, cache, different })
    }

    /// Takes over lock and downloaded packages, but neither unpacked contents nor finished trees.
    fn inherit(&self, other: &Self) -> Outcome {
        fs_err::copy(other.folder.join("osbuilder.lock"), self.folder.join("osbuilder.lock"))?;
        peer::run(peer::start("cp").arg("-aT").arg(&other.cache).arg(&self.cache))?;
        let forget = "rm -rf -- packs/* records/*";
        peer::run(peer::start("sh").args(["-c", forget]).current_dir(&self.cache))?;
        peer::run(peer::start("chown").args(["-R", ORDINARY_USER]).arg(&self.folder))
    }

    fn build_all(&self) -> Outcome {
        let probe = self.programs.join(PROBE).display().to_string();
        for (verb, output) in
            [("rootfs", "rootfs"), ("image", "guest.img"), ("initrd", "guest.initrd")]
        {
            let mut command = self.osbuilder(ORDINARY_USER);
            command.arg(verb).arg("--recipe").arg(self.folder.join("recipe.toml"));
            command.arg("--cache").arg(&self.cache).args(["--agent", &probe]);
            if self.different {
                command.args(["--locked", "--offline"]);
            }
            peer::run(command.arg("--output").arg(self.folder.join(output)))?;
        }
        Ok(())
    }

    /// Packs the directory that `first` built. As root on both sides: owners come from the disk.
    fn pack(&self, first: &Self, forms: &[Form]) -> Outcome {
        let source = self.copy_of(&first.folder.join("rootfs"))?;
        for (verb, output, more) in forms {
            let mut command = self.osbuilder("0");
            // Whatever starts the guest: nobody is told by a directory.
            command.env("SKIP_ROOTFS_CHECK", "yes");
            command.arg(verb).arg("--rootfs").arg(&source).args(["--epoch", "1700000000"]);
            command.args(*more);
            peer::run(command.arg("--output").arg(self.folder.join(output)))?;
        }
        Ok(())
    }

    /// A copy of a directory; on the different side its files are created in reverse order.
    fn copy_of(&self, source: &Path) -> Result<PathBuf, Box<dyn std::error::Error>> {
        let target = self.folder.join("packed");
        let order = if self.different { "-r" } else { "-u" };
        let script = "mkdir \"$1\" && cd \"$0\" && find . -print0 | sort -z $2 \
            | tar --create --null --no-recursion --files-from - | tar --extract -C \"$1\" \
            && find . -depth -type d -exec touch --reference={} \"$1\"/{} \\;";
        let mut command = peer::start("sh");
        command.args(["-c", script]).arg(source).arg(&target).arg(order);
        peer::run(&mut command)?;
        Ok(target)
    }

    /// The program, on the different side as somebody else, elsewhere, at another time.
    fn osbuilder(&self, user: &str) -> Command {
        let program = self.programs.join(PROGRAM);
        if !self.different {
            let mut command = peer::start(program);
            command.current_dir(&self.folder);
            return command;
        }
        let mut command = peer::start("unshare");
        command.args(["--uts", "--mount", "sh", "-ec", ELSEWHERE]).arg(&self.folder);
        command.args(["setpriv", "--reuid", user, "--regid", user, "--clear-groups"]);
        command.args(["taskset", "1", "faketime", "2031-03-04 05:06:07"]).arg(program);
        command.env("TZ", "Pacific/Kiritimati").env("LC_ALL", "tr_TR.UTF-8");
        for name in ["USER", "LOGNAME", "HOSTNAME", "EMAIL", "DEBEMAIL", "CANARY"] {
            command.env(name, "canary");
        }
        command.env("HOME", &self.folder).current_dir(&self.folder);
        command
    }
}
