//! The rows of the bench about rpm packages: a root file system against `dnf --installroot` on the same
//! local repository, and the choice from the metadata of sixty thousand packages.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use osbuilder::digest::Digest;
use osbuilder_testkit::key::{BORN, Key, Signing};

use crate::measure::{Cost, cost, median};
use crate::{Outcome, medium, peer, respin, say};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// How often each pair is run.
const ROUNDS: usize = 3;
/// As many as the largest distributions have.
const PACKAGES: u64 = 60_000;
/// What is asked of them; a few hundred come along.
const ASKED: [&str; 4] = ["package-59999", "package-40000", "package-20000", "package-500"];

/// What a root file system costs.
struct Costs {
    /// Packages are in the cache, and their scripts run.
    anew: Cost,
    /// The cache has the configured tree.
    again: Cost,
    theirs: Cost,
}

/// What both are measured on.
struct Place {
    work: PathBuf,
    repository: PathBuf,
    recipe: PathBuf,
    asked: Vec<String>,
}

/// Measures all rows, each of which `row` prints: a task, our cost and the peer's. `tree` is one of
/// Debian's, with dpkg's database.
pub(crate) fn run(work: &Path, tree: &Path, row: fn(&str, Cost, Cost)) -> Outcome {
    respun(&work.join("respun"), tree, row)?;
    mariner(&work.join("mariner"), row)?;
    choice(&work.join("many"), row)
}

/// Packages with real contents, without scripts.
fn respun(work: &Path, tree: &Path, row: fn(&str, Cost, Cost)) -> Outcome {
    let repository = work.join("repository");
    let names = respin::repository(tree, work, &repository)?;
    let place = Place::new(work, repository, names, "insecure = true")?;
    let Costs { anew, again, theirs } = place.rootfs()?;
    row("rootfs of Debian's files as rpms", anew, theirs);
    row("the same, configured before", again, theirs);
    Ok(())
}

/// The 129 packages of CBL-Mariner, whose headers and scripts are real, and whose files are next to empty.
fn mariner(work: &Path, row: fn(&str, Cost, Cost)) -> Outcome {
    let Some(data) = medium::data("rpm")? else { return Ok(()) };
    let repository = work.join("repository");
    fs_err::create_dir_all(repository.join("repodata"))?;
    for below in [".", "repodata"] {
        for entry in fs_err::read_dir(data.join("mariner2-x86_64").join(below))? {
            let path = entry?.path();
            let name = path.file_name().ok_or("a file without a name")?;
            if path.is_file() {
                fs_err::os::unix::fs::symlink(&path, repository.join(below).join(name))?;
            }
        }
    }
    let key = Key::default();
    let repomd = fs_err::read(repository.join("repodata/repomd.xml"))?;
    let signature = key.detached(&repomd, Signing::binary(BORN));
    fs_err::write(repository.join("repodata/repomd.xml.asc"), signature)?;
    let packager = fs_err::read_to_string(data.join("keys/rpm-test.pub.asc"))?;
    let keys = work.join("keys.asc");
    fs_err::write(&keys, format!("{}{packager}", key.armored_certificate()))?;
    let asked = ["core-packages-container", "e2fsprogs"].map(str::to_owned).to_vec();
    let place = Place::new(work, repository, asked, &format!("keys = [\"{}\"]", keys.display()))?;
    let Costs { anew, again, theirs } = place.rootfs()?;
    row("rootfs of Mariner, scripts mostly", anew, theirs);
    row("the same, scripts ran before", again, theirs);
    Ok(())
}

/// Metadata that nobody has read before, and metadata that is known.
fn choice(work: &Path, row: fn(&str, Cost, Cost)) -> Outcome {
    let repository = work.join("repository");
    fs_err::create_dir_all(repository.join("repodata"))?;
    let sizes = many(&repository)?;
    say(&format!("  {PACKAGES} packages: {} bytes, {} unpacked", sizes.0, sizes.1));
    let place = Place::new(work, repository, ASKED.map(str::to_owned).to_vec(), "insecure = true")?;
    let [mut ours, mut known, mut theirs, mut theirs_known] = [(); 4].map(|()| Vec::new());
    for round in 0..ROUNDS {
        let cache = work.join(format!("cache-{round}"));
        for costs in [&mut ours, &mut known] {
            let mut lock = place.ours("lock");
            costs.push(cost(lock.arg("--cache").arg(&cache))?);
        }
        for costs in [&mut theirs, &mut theirs_known] {
            // It reports failure when nobody says yes.
            let mut dnf = place.dnf(&work.join(format!("dnf-{round}")));
            dnf.arg("--assumeno").arg(format!("--installroot={}/empty", work.display()));
            dnf.arg("install").args(&place.asked);
            let mut shell = peer::start("sh");
            shell.args(["-c", "\"$@\" || true", "sh"]).arg(dnf.get_program()).args(dnf.get_args());
            costs.push(cost(&shell)?);
        }
    }
    row("choice from 60,000 rpm packages", median(ours), median(theirs));
    row("the same, metadata in the cache", median(known), median(theirs_known));
    Ok(())
}

impl Place {
    fn new(work: &Path, repository: PathBuf, asked: Vec<String>, sources: &str) -> Result<Self> {
        let recipe = work.join("recipe.toml");
        let text = format!(
            "distribution = \"azurelinux\"\nversion = \"2.0\"\narchitecture = \"x86_64\"\npackages = {asked:?}\n\
             [sources]\nmirrors = [\"file://{}\"]\n{sources}\n",
            repository.display()
        );
        fs_err::write(&recipe, text)?;
        Ok(Self { work: work.to_owned(), repository, recipe, asked })
    }

    /// A root file system of all that is asked for, from a warm cache.
    fn rootfs(&self) -> Result<Costs> {
        let work = &self.work;
        // Whoever has not seen an epoch before runs the scripts.
        let rootfs = |name: String, epoch: usize| {
            let mut command = self.ours("rootfs");
            let epoch = (1_700_000_000 + epoch).to_string();
            command.args(["--rootfs-only", "--keep-database", "--epoch", &epoch]);
            command.arg("--output").arg(work.join(name));
            command
        };
        // What a script that failed has left is taken over once it was made twice.
        for time in ["first", "second"] {
            peer::run(&mut rootfs(format!("ours-{time}"), 0))?;
        }
        let [mut anew, mut again, mut theirs] = [(); 3].map(|()| Vec::new());
        for round in 1..=ROUNDS {
            anew.push(cost(rootfs(format!("ours-{round}"), round).arg("--offline"))?);
            again.push(cost(rootfs(format!("again-{round}"), 0).arg("--offline"))?);
            let mut dnf = self.dnf(&work.join("dnf-cache"));
            dnf.arg("--assumeyes").arg(format!("--installroot={}/theirs-{round}", work.display()));
            theirs.push(cost(dnf.arg("install").args(&self.asked))?);
        }
        Ok(Costs { anew: median(anew), again: median(again), theirs: median(theirs) })
    }

    fn ours(&self, verb: &str) -> Command {
        let mut command = peer::start(peer::osbuilder());
        command.arg(verb).arg("--recipe").arg(&self.recipe);
        command.arg("--lock").arg(self.work.join("ours.lock"));
        if verb != "lock" {
            command.arg("--cache").arg(self.work.join("cache"));
        }
        command
    }

    fn dnf(&self, cache: &Path) -> Command {
        let mut command = peer::start("dnf");
        command.args(["--quiet", "--nogpgcheck", "--releasever=2.0", "--forcearch=x86_64"]);
        command.args(["--setopt=install_weak_deps=0", "--setopt=plugins=0"]);
        command.arg("--setopt=reposdir=/nonexistent");
        command.arg(format!("--setopt=cachedir={}", cache.display()));
        command.arg(format!("--repofrompath=bench,file://{}", self.repository.display()));
        command
    }
}

/// Numbers that are the same in every run (Marsaglia's xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % limit.max(1)
    }
}

/// Writes the metadata of many packages, as large as real ones: some two kilobytes of XML each, whose
/// requirements lead mostly to few. Returns the bytes of the list of packages, packed and not.
fn many(repository: &Path) -> Result<(u64, u64)> {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let root = |name: &str, space: &str| {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{name} xmlns=\"http://linux.duke.edu/metadata/{space}\" \
             xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\" packages=\"{PACKAGES}\">\n"
        )
    };
    let (mut primary, mut filelists) = (root("metadata", "common"), root("filelists", "filelists"));
    for number in 0..PACKAGES {
        let digest = Digest::of(&number.to_le_bytes());
        package(&mut primary, number, (&digest, &mut dice))?;
        writeln!(
            filelists,
            "<package pkgid=\"{digest}\" name=\"package-{number}\" arch=\"x86_64\">\
             <version epoch=\"0\" ver=\"1.{number}\" rel=\"1.el9\"/><file>/usr/bin/program-{number}</file>\
             </package>"
        )?;
    }
    primary.push_str("</metadata>\n");
    filelists.push_str("</filelists>\n");
    let mut entries = String::new();
    let mut sizes = (0, 0);
    for (kind, text) in [("filelists", filelists), ("primary", primary)] {
        let plain = repository.join(format!("repodata/{kind}.xml"));
        fs_err::write(&plain, &text)?;
        peer::run(peer::start("zstd").args(["-q", "-10", "--rm"]).arg(&plain))?;
        let packed = fs_err::read(plain.with_extension("xml.zst"))?;
        let (digest, open) = (Digest::of(&packed), Digest::of(text.as_bytes()));
        write!(
            entries,
            "<data type=\"{kind}\"><checksum type=\"sha256\">{digest}</checksum>\
             <open-checksum type=\"sha256\">{open}</open-checksum>\
             <location href=\"repodata/{kind}.xml.zst\"/><timestamp>1600000000</timestamp>\
             <size>{}</size><open-size>{}</open-size></data>",
            packed.len(),
            text.len()
        )?;
        sizes = (packed.len() as u64, text.len() as u64);
    }
    let repomd = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<repomd xmlns=\"http://linux.duke.edu/metadata/repo\" \
         xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\"><revision>1600000000</revision>{entries}</repomd>\n"
    );
    fs_err::write(repository.join("repodata/repomd.xml"), repomd)?;
    Ok(sizes)
}

/// Words of which descriptions are made.
const WORDS: [&str; 16] = [
    "library", "for", "the", "tools", "that", "reads", "and", "writes", "files", "of", "many",
    "formats", "with", "small", "fast", "programs",
];

fn package(text: &mut String, number: u64, (digest, dice): (&Digest, &mut Dice)) -> Outcome {
    let description: Vec<&str> = (0..50).map(|_| WORDS[dice.below(16) as usize]).collect();
    writeln!(
        text,
        "<package type=\"rpm\">\n  <name>package-{number}</name>\n  <arch>x86_64</arch>\n  \
         <version epoch=\"0\" ver=\"1.{number}\" rel=\"1.el9\"/>\n  \
         <checksum type=\"sha256\" pkgid=\"YES\">{digest}</checksum>\n  \
         <summary>A package that is one of many, by its number {number}</summary>\n  \
         <description>{}</description>\n  <packager>Somebody &lt;somebody@example.org&gt;</packager>\n  \
         <url>https://example.org/package-{number}</url>\n  <time file=\"1600000000\" build=\"1600000000\"/>\n  \
         <size package=\"{1}\" installed=\"{1}\" archive=\"{1}\"/>\n  \
         <location href=\"Packages/p/package-{number}-1.{number}-1.el9.x86_64.rpm\"/>\n  <format>\n    \
         <rpm:license>Apache-2.0</rpm:license>\n    <rpm:vendor>Nobody</rpm:vendor>\n    \
         <rpm:group>Unspecified</rpm:group>\n    <rpm:buildhost>builder.example.org</rpm:buildhost>\n    \
         <rpm:sourcerpm>package-{number}-1.{number}-1.el9.src.rpm</rpm:sourcerpm>\n    \
         <rpm:header-range start=\"4504\" end=\"{1}\"/>\n    <rpm:provides>",
        description.join(" "),
        1000 + dice.below(1_000_000)
    )?;
    let own = format!("flags=\"EQ\" epoch=\"0\" ver=\"1.{number}\" rel=\"1.el9\"/>\n");
    write!(text, "      <rpm:entry name=\"package-{number}\" {own}")?;
    write!(text, "      <rpm:entry name=\"package-{number}(x86-64)\" {own}")?;
    writeln!(text, "      <rpm:entry name=\"libpackage-{number}.so.1()(64bit)\"/>")?;
    writeln!(text, "      <rpm:entry name=\"libpackage-{number}.so.1(VERS_1.0)(64bit)\"/>")?;
    text.push_str("    </rpm:provides>\n    <rpm:requires>\n");
    let mut needed: Vec<u64> = (0..2 + dice.below(6)).map(|_| lower(number, dice)).collect();
    needed.sort_unstable();
    needed.dedup();
    for needed in needed.into_iter().filter(|needed| *needed < number) {
        writeln!(text, "      <rpm:entry name=\"libpackage-{needed}.so.1()(64bit)\"/>")?;
        writeln!(text, "      <rpm:entry name=\"libpackage-{needed}.so.1(VERS_1.0)(64bit)\"/>")?;
    }
    if number > 0 {
        text.push_str("      <rpm:entry name=\"/usr/bin/program-0\" pre=\"1\"/>\n");
        text.push_str(
            "      <rpm:entry name=\"package-0\" flags=\"GE\" epoch=\"0\" ver=\"1.0\"/>\n",
        );
    }
    writeln!(
        text,
        "    </rpm:requires>\n    <file>/etc/package-{number}.conf</file>\n    \
         <file>/usr/bin/program-{number}</file>\n  </format>\n</package>"
    )?;
    Ok(())
}

/// The number of a package that one of a higher number requires: mostly a low one.
fn lower(number: u64, dice: &mut Dice) -> u64 {
    (0..4).fold(number, |limit, _| dice.below(limit))
}
