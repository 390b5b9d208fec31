//! osbuilder and its peers in turn, in one run, on the same input: the ratios of what they take.
//!
//! Nothing here passes or fails: machines are noisy. Read the ratios of one run, not seconds of
//! different ones. Nothing is removed before the end: ext4 gives numbers of inodes that were just
//! freed only after some seconds, and searches long for others meanwhile, which would be charged to
//! whoever comes next.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::apk::{Apk, Wanted};
use crate::forms::MeasuredErofs;
use crate::measure::{Cost, cost, median, stages};
use crate::peer::{self, Mirrors};
use crate::{Outcome, bench_rpm, forms, medium, say, small};

/// How often each pair is run.
const ROUNDS: usize = 3;

const CODENAME: &str = "bookworm";
const HEADING: &str = "task                                 ours: wall, cpu, MiB     peer: wall, cpu      ratio wall, cpu";

/// Folders and inputs of one run.
struct Bench {
    work: PathBuf,
    cache: PathBuf,
    recipe: PathBuf,
    mirrors: Mirrors,
}

/// What root file systems cost.
struct Rootfs {
    /// Ours from packages as their archive has them.
    downloaded: Cost,
    /// Ours from packages that an earlier build has unpacked into the cache.
    unpacked: Cost,
    /// As that, with scripts run as programs in the sandbox.
    sandboxed: Cost,
    /// The peer's.
    theirs: Cost,
}

/// What an ext4 of a directory costs.
struct Ext4 {
    /// Ours until all is written: reading the directory, and the image. Mke2fs does no more.
    written: Cost,
    /// Ours until it has its name.
    whole: Cost,
    /// The peer's.
    mke2fs: Cost,
    /// The peer's, checked, hashed and brought to the disk, too.
    checked: Cost,
}

/// Runs all comparisons and prints a table.
pub(crate) fn run() -> Outcome {
    with(Bench::run)
}

/// Runs the comparisons of rpm packages alone.
pub(crate) fn run_rpm() -> Outcome {
    with(|bench| {
        bench.prepare()?;
        say(HEADING);
        bench.rpm()
    })
}

/// Makes the folders, and removes them afterwards.
fn with(work: impl FnOnce(&Bench) -> Outcome) -> Outcome {
    let folder = std::env::temp_dir().join(format!("osbuilder-bench-{}", std::process::id()));
    fs_err::create_dir_all(&folder)?;
    let bench = Bench {
        cache: folder.join("cache"),
        recipe: folder.join("recipe.toml"),
        mirrors: peer::host_mirrors()?,
        work: folder.clone(),
    };
    let outcome = work(&bench);
    fs_err::remove_dir_all(&folder)?;
    outcome
}

impl Bench {
    fn run(&self) -> Outcome {
        self.prepare()?;
        say(HEADING);
        let Rootfs { downloaded, unpacked, sandboxed, theirs: their_rootfs } = self.rootfs()?;
        row("rootfs, packages as downloaded", downloaded, their_rootfs);
        row("rootfs, packages in the cache", unpacked, their_rootfs);
        row("rootfs, scripts run as programs", sandboxed, their_rootfs);
        let Ext4 { written, whole: our_image, mke2fs, checked } = self.ext4()?;
        row("ext4 of a directory, written", written, mke2fs);
        row("  read back, hashed, on the disk", our_image, mke2fs);
        row("  with e2fsck, sync, sha256sum", our_image, checked);
        let MeasuredErofs { ours, tools, kata } =
            forms::measured_erofs(&self.work, &self.work.join("tree"), ROUNDS)?;
        row("measured erofs of a directory", ours, kata);
        row("  mkfs.erofs, cp, veritysetup alone", ours, tools);
        forms::verity(&self.work)?;
        let (our_initrd, cpio) = self.initrd("tree")?;
        row("initrd of a directory", our_initrd, cpio);
        let (second, ext4) = self.second_image()?;
        row("ext4 within a build, written", ext4, mke2fs);
        // Ours is read back, hashed and on the disk; so is theirs.
        let whole = Cost {
            wall: their_rootfs.wall + checked.wall,
            processor: their_rootfs.processor + checked.processor,
            memory: their_rootfs.memory,
        };
        row("second image, only the agent new", second, whole);
        self.alpine()?;
        self.rpm()
    }

    fn rpm(&self) -> Outcome {
        bench_rpm::run(&self.work, &self.work.join("tree"), row)
    }

    /// Alpine's root file system against apk's, and the initrd of it.
    fn alpine(&self) -> Outcome {
        let Some(data) = medium::alpine()? else { return Ok(()) };
        let apk = Apk::make(&data, &self.work)?;
        let wanted = Wanted {
            medium: &data.join("genuine-3.19.1"),
            architecture: "x86_64",
            key: None,
            packages: medium::PACKAGES,
        };
        apk.bring(&wanted)?;
        let (mut ours, mut theirs, mut synced) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let epoch = (1_700_000_000 + round).to_string();
            let mut our = peer::start(peer::osbuilder());
            our.args(["rootfs", "--rootfs-only", "--keep-database", "--offline"]);
            our.args(["--epoch", &epoch, "--recipe"]).arg(self.work.join("apk.toml"));
            our.arg("--lock").arg(self.work.join("apk.lock")).arg("--cache").arg(&self.cache);
            our.arg("--output").arg(self.work.join(format!("alpine-{round}")));
            ours.push(cost(&our)?);
            theirs.push(cost(&apk.add(&wanted, &format!("/theirs-{round}")))?);
            let root = format!("synced-{round}");
            synced.push(cost(&apk.add_and_sync(&wanted, &root))?);
        }
        // apk leaves what it wrote to the kernel; ours is on the disk before it has its name.
        row("rootfs of Alpine, in the cache", median(ours.clone()), median(theirs));
        row("the same, apk's synced, too", median(ours), median(synced));
        let (our_initrd, cpio) = self.initrd("alpine-0")?;
        row("initrd of Alpine's directory", our_initrd, cpio);
        Ok(())
    }

    /// Fills the cache with packages, makes a local repository of them for the peer, and a
    /// directory for both to pack.
    fn prepare(&self) -> Outcome {
        let list: Vec<String> = peer::SYSTEMD.iter().map(|name| format!("{name:?}")).collect();
        let text = format!(
            "distribution = \"debian\"\nversion = \"{CODENAME}\"\npackages = [{}]\n",
            list.join(", ")
        );
        fs_err::write(&self.recipe, text)?;
        peer::run(&mut self.ours("rootfs", "tree", &["--rootfs-only", "--keep-database"]))?;
        // Offline a lock is followed: what is known of the archive is forgotten in between.
        peer::run(&mut self.ours("lock", "programs.lock", &["--scripts", "programs"]))?;
        let archive = self.work.join("archive");
        fs_err::create_dir_all(archive.join("pool"))?;
        self.fill(&archive.join("pool"))?;
        small::write_index(&archive)
    }

    /// Copies every package of the lock from the cache into the archive.
    fn fill(&self, pool: &Path) -> Outcome {
        let lock = fs_err::read_to_string(self.work.join("osbuilder.lock"))?;
        let lock = osbuilder::lock::Lock::parse(&lock)?;
        let store = osbuilder::store::Store::open(&self.cache)?;
        for package in &lock.packages {
            let name = Path::new(&package.path).file_name().ok_or("a package without a name")?;
            fs_err::copy(store.object_path(&package.digest), pool.join(name))?;
        }
        Ok(())
    }

    /// Our program with the prepared cache, packages only from it.
    fn ours(&self, verb: &str, output: &str, more: &[&str]) -> Command {
        let mut command = peer::start(peer::osbuilder());
        command.arg(verb).arg("--recipe").arg(&self.recipe).arg("--cache").arg(&self.cache);
        command.args(["--mirror", &self.mirrors.archive]).args(more);
        command.arg("--output").arg(self.work.join(output));
        command
    }

    fn rootfs(&self) -> Result<Rootfs, Box<dyn std::error::Error>> {
        let [mut downloaded, mut unpacked, mut sandboxed, mut theirs] =
            [(); 4].map(|()| Vec::new());
        for round in 0..ROUNDS {
            self.forget_trees(round)?;
            downloaded.push(cost(&self.rootfs_anew(3 * round))?);
            unpacked.push(cost(&self.rootfs_anew(3 * round + 1))?);
            let mut in_sandbox = self.rootfs_anew(3 * round + 2);
            in_sandbox
                .args(["--scripts", "programs", "--lock"])
                .arg(self.work.join("programs.lock"));
            sandboxed.push(cost(&in_sandbox)?);
            theirs.push(cost(&self.mmdebstrap(round))?);
        }
        let [downloaded, unpacked, sandboxed, theirs] =
            [downloaded, unpacked, sandboxed, theirs].map(median);
        Ok(Rootfs { downloaded, unpacked, sandboxed, theirs })
    }

    /// A rootfs with an epoch of its own, so that no configured tree can be found.
    fn rootfs_anew(&self, number: usize) -> Command {
        let epoch = (1_700_000_000 + number).to_string();
        let options = ["--rootfs-only", "--keep-database", "--offline", "--epoch", &epoch];
        self.ours("rootfs", &format!("tree-{number}"), &options)
    }

    /// Leaves only the packages in the cache: neither unpacked contents nor configured trees.
    fn forget_trees(&self, round: usize) -> Outcome {
        for folder in ["packs", "records"] {
            let (path, aside) = (self.cache.join(folder), format!("{folder}-{round}"));
            fs_err::rename(&path, self.work.join(aside))?;
            fs_err::create_dir(path)?;
        }
        Ok(())
    }

    fn mmdebstrap(&self, round: usize) -> Command {
        let mut command = peer::start("mmdebstrap");
        let source = format!(
            "deb [trusted=yes] copy:{} {CODENAME} main",
            self.work.join("archive").display()
        );
        command.env("SOURCE_DATE_EPOCH", "1700000000");
        command.args(["--mode=root", "--quiet", "--variant=required", "--format=directory"]);
        command.arg(format!("--include={}", peer::SYSTEMD.join(",")));
        command.args([CODENAME]).arg(self.work.join(format!("theirs-{round}"))).arg(source);
        command
    }

    /// Ours, which is read back, hashed and on the disk in the end; what `mke2fs -d` writes; and that
    /// with the tools that do the same for it.
    fn ext4(&self) -> Result<Ext4, Box<dyn std::error::Error>> {
        let tree = self.work.join("tree");
        let [mut written, mut ours, mut theirs, mut checked] = [(); 4].map(|()| Vec::new());
        for _ in 0..ROUNDS {
            let mut our = peer::start(peer::osbuilder());
            our.env("SKIP_ROOTFS_CHECK", "yes").args(["image", "--rootfs"]).arg(&tree);
            our.arg("--output").arg(self.work.join("ours.img"));
            ours.push(cost(&our)?);
            written.push(stages(&mut our, &["read", "image"])?);
            let script = "mke2fs -q -F -t ext4 -d \"$1\" \"$0\" 384M";
            let more = "&& e2fsck -fn \"$0\" && sync \"$0\" && sha256sum \"$0\"";
            for (costs, script) in
                [(&mut theirs, script.to_owned()), (&mut checked, format!("{script} {more}"))]
            {
                let mut their = peer::start("sh");
                their.args(["-c", &script]).arg(self.work.join("theirs.img")).arg(&tree);
                costs.push(cost(&their)?);
                fs_err::remove_file(self.work.join("theirs.img"))?;
            }
        }
        Ok(Ext4 {
            written: median(written),
            whole: median(ours),
            mke2fs: median(theirs),
            checked: median(checked),
        })
    }

    fn initrd(&self, tree: &str) -> Result<(Cost, Cost), Box<dyn std::error::Error>> {
        let tree = self.work.join(tree);
        let (our_file, their_file) =
            (self.work.join("ours.initrd"), self.work.join("theirs.initrd"));
        let mut our = peer::start(peer::osbuilder());
        our.env("SKIP_ROOTFS_CHECK", "yes").args(["initrd", "--rootfs"]).arg(&tree);
        our.arg("--output").arg(&our_file);
        let ours = cost(&our)?;
        let script = "find . | cpio --quiet -H newc -o | gzip -9 > \"$0\"";
        let mut their = peer::start("sh");
        their.args(["-c", script]).arg(&their_file).current_dir(&tree);
        let theirs = cost(&their)?;
        let (our_size, their_size) =
            (fs_err::metadata(&our_file)?.len(), fs_err::metadata(&their_file)?.len());
        let percent = our_size as f64 / their_size as f64 * 100.0 - 100.0;
        say(&format!(
            "  initrd: ours {our_size} bytes, gzip -9 {their_size} bytes ({percent:+.2} %)"
        ));
        Ok((ours, theirs))
    }

    /// A second image, and what of it was writing the ext4: a build has no directory to read.
    fn second_image(&self) -> Result<(Cost, Cost), Box<dyn std::error::Error>> {
        let (mut costs, mut written) = (Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let agent = self.work.join(format!("agent-{round}"));
            let mut bytes = fs_err::read(peer::probe())?;
            bytes.extend_from_slice(format!("{round}").as_bytes());
            fs_err::write(&agent, bytes)?;
            let path = agent.display().to_string();
            let options = ["--offline", "--agent", &path];
            let took = cost(&self.ours("image", "second.img", &options))?;
            if round > 0 {
                costs.push(took); // the first one still runs the scripts
                let mut again = self.ours("image", "second.img", &options);
                written.push(stages(&mut again, &["image"])?);
            }
        }
        Ok((median(costs), median(written)))
    }
}

fn row(task: &str, ours: Cost, theirs: Cost) {
    say(&format!(
        "{task:36} {:7.2} s {:7.2} s {:5}    {:7.2} s {:7.2} s   {:6.1} x {:6.1} x",
        ours.wall,
        ours.processor,
        ours.memory / 1024,
        theirs.wall,
        theirs.processor,
        theirs.wall / ours.wall,
        theirs.processor / ours.processor,
    ));
}
