//! Configures rpm packages as rpm does while it installs them.
//!
//! In: packages in the order of installing; out: the tree as `dnf install` leaves it. rpm runs all
//! `%pretrans`; then for each package its `%pre`, lays its files out, runs its `%post`; and all
//! `%posttrans` in the end. So the files of a package get onto the disk only after the scripts of those
//! before it, and owners that it knows by name get the numbers that those scripts have given out; a
//! name that nobody has is root's, as under rpm.
//!
//! A `%pretrans` or `%pre` that fails stops the build, since rpm would not install the package. After
//! any other that fails rpm goes on, and so does this, with a warning. Scripts in rpm's own Lua, and
//! triggers, do not run: each is named in a warning. Specification: rpm-scriptlets(7).

use super::disk::Disk;
use super::lay_out::{Baseline, Layout, Mark};
use super::lines;
use super::names::Names;
use super::{Bench, Configuration, Error, arrival, read_back};
use crate::epoch::Epoch;
use crate::event::{Event, Stage, Unit};
use crate::package::rpm::scripts::{Moment, Script};
use crate::sandbox::Error::NotStarted;
use crate::sandbox::{Command, Limits, Prepared, Sandbox};
use crate::tree::{Content, Inode, Kind, Meta, Tree, TreePath};
use crate::unpack::rpm::{Entry, Package, Packages};

/// Where scripts are put to run them; no package has it, and it is gone afterwards.
const SCRIPTS: &str = ".rpm-scripts";
/// Directories that scripts find mounted, so that they are there before all packages.
const MOUNT_POINTS: [&str; 2] = ["dev", "proc"];
/// Where rpm's scripts look for programs.
const PATH: &str = "PATH=/sbin:/bin:/usr/sbin:/usr/bin:/usr/X11R6/bin";

/// rpm packages.
pub(super) struct Rpms(pub(super) Packages);

impl Configuration for Rpms {
    fn sequence(&self) -> Vec<&str> {
        self.0.as_slice().iter().map(|package| package.name.as_str()).collect()
    }

    fn has_handlers(&self) -> bool {
        false
    }

    fn scripted(&self) -> Vec<&str> {
        let runs = |package: &&Package| package.scripts.iter().any(|script| !script.is_lua());
        let scripted = self.0.as_slice().iter().filter(runs);
        scripted.map(|package| package.name.as_str()).collect()
    }

    fn run(&self, tree: Tree, bench: &Bench<'_>) -> Result<Tree, Error> {
        run_all(tree, self.0.as_slice(), bench)
    }
}

/// Packages whose files are laid out together, because no script stands between them.
struct Step {
    packages: std::ops::Range<usize>,
}

/// Divides the sequence where scripts stand, and after packages that bring the list of users.
fn steps(packages: &[Package]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut open = false;
    for (index, package) in packages.iter().enumerate() {
        let has = |moment| package.scripts.iter().any(|script| script.moment == moment);
        let end = index.saturating_add(1);
        match steps.last_mut() {
            Some(step) if open && !has(Moment::Before) => step.packages.end = end,
            _ => steps.push(Step { packages: index..end }),
        }
        let brings_users = package.entries.iter().any(|entry| is_user_list(&entry.place));
        open = !has(Moment::After) && !brings_users;
    }
    steps
}

fn is_user_list(path: &TreePath) -> bool {
    matches!(path.as_bytes(), b"etc/passwd" | b"etc/group")
}

/// Lays the tree out step by step, runs every script, reads the tree back.
fn run_all(mut tree: Tree, packages: &[Package], bench: &Bench<'_>) -> Result<Tree, Error> {
    let Bench { pack, walls, runner, epoch, .. } = *bench;
    put_scripts(&mut tree, packages, bench)?;
    let steps = steps(packages);
    make_mount_points(&mut tree, epoch)?;
    let mut place = arrival::steps(&tree, brought(packages, &steps));
    for path in MOUNT_POINTS {
        place.remove(&TreePath::parse(path)?);
    }
    let mut baseline = Baseline::default();
    let mut prepared = Prepared::new(Limits::default(), walls, runner.emulator())?;
    let disk = Disk::open(&prepared.directory())?;
    let ground = |path: &TreePath| !place.contains_key(path);
    let mark: Mark<'_> = &mut |path, marks| prepared.mark(path, marks);
    layout(&tree, bench).write(&disk, &ground, &mut baseline, mark)?;
    let mut run = Run { sandbox: prepared.enter()?, bench, scripts: 0 };
    run.scripts(packages, Moment::BeforeAll)?;
    for (number, step) in steps.iter().enumerate() {
        let of_step = packages.get(step.packages.clone()).unwrap_or_default();
        run.scripts(of_step.get(..1).unwrap_or_default(), Moment::Before)?;
        let names = run.names()?;
        let here = |path: &TreePath| place.get(path) == Some(&number);
        for entry in of_step.iter().flat_map(|package| &package.entries) {
            give_owner(&mut tree, entry, &names);
        }
        let mark: Mark<'_> = &mut |path, marks| run.sandbox.mark(path, marks);
        layout(&tree, bench).write(&disk, &here, &mut baseline, mark)?;
        run.scripts(of_step, Moment::After)?;
    }
    run.scripts(packages, Moment::AfterAll)?;
    for package in packages.iter().filter(|package| package.has_triggers) {
        let text = format!("the triggers of {} did not run", package.name);
        (bench.listener)(Event::warning(text));
    }
    let left = run.sandbox.finish()?;
    let reader = read_back::Reader { left: &left, baseline: &baseline, before: &tree, epoch, pack };
    let mut tree = reader.read()?;
    tree.remove(&TreePath::parse(SCRIPTS)?);
    Ok(tree)
}

fn layout<'a>(tree: &'a Tree, bench: &'a Bench<'_>) -> Layout<'a> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    Layout { tree, contents: bench.store, threads }
}

/// Makes the mount points that no package brings.
fn make_mount_points(tree: &mut Tree, epoch: Epoch) -> Result<(), Error> {
    let meta = Meta { mtime: epoch.clamp(i64::MAX), ..Meta::root(0o755) };
    for path in MOUNT_POINTS {
        tree.make_directories(&TreePath::parse(path)?, &meta)?;
    }
    Ok(())
}

/// Puts scripts where they are run from.
fn put_scripts(tree: &mut Tree, packages: &[Package], bench: &Bench<'_>) -> Result<(), Error> {
    let mtime = bench.epoch.clamp(i64::MAX);
    let meta = |mode| Meta { mtime, ..Meta::root(mode) };
    let directory = TreePath::parse(SCRIPTS)?;
    tree.make_directories(&directory, &meta(0o700))?;
    for package in packages {
        for script in &package.scripts {
            let Some(text) = &script.text else { continue };
            let kind = Kind::Regular(Content::Inline(text.as_slice().into()));
            let path = directory.join(file_name(package, script.moment))?;
            tree.insert(&path, Inode { meta: meta(0o755), kind })?;
        }
    }
    Ok(())
}

fn file_name(package: &Package, moment: Moment) -> String {
    format!("{}{}", package.name, moment.name())
}

/// The paths that each step brings for the first time.
fn brought<'a>(
    packages: &'a [Package],
    steps: &'a [Step],
) -> impl Iterator<Item = (usize, &'a TreePath)> {
    steps.iter().enumerate().flat_map(|(number, step)| {
        let packages = packages.get(step.packages.clone()).unwrap_or_default();
        let entries = packages.iter().flat_map(|package| &package.entries);
        entries.filter(|entry| entry.is_new).map(move |entry| (number, &entry.place))
    })
}

/// Gives a file to whom its package names. Who is not known is root, and then nobody runs a program
/// as that user or group.
fn give_owner(tree: &mut Tree, entry: &Entry, names: &Names) {
    const SET_UID: u16 = 0o4000;
    const SET_GID: u16 = 0o2000;
    const UNKNOWN: u32 = u32::MAX;
    let Some(Inode { meta, .. }) = tree.get_mut(&entry.place) else { return };
    let (uid, gid) = (names.user(&entry.user, UNKNOWN), names.group(&entry.group, UNKNOWN));
    let is_root = |name: &[u8]| name == b"root";
    meta.uid = if uid == UNKNOWN { 0 } else { uid };
    meta.gid = if gid == UNKNOWN { 0 } else { gid };
    if uid == UNKNOWN && !is_root(&entry.user) {
        meta.mode &= !SET_UID;
    }
    if gid == UNKNOWN && !is_root(&entry.group) {
        meta.mode &= !SET_GID;
    }
}

/// A run of all scripts.
struct Run<'a> {
    sandbox: Sandbox,
    bench: &'a Bench<'a>,
    scripts: u64,
}

impl Run<'_> {
    /// Runs the scripts of packages for one moment, in their order.
    fn scripts(&mut self, packages: &[Package], moment: Moment) -> Result<(), Error> {
        for package in packages {
            for script in package.scripts.iter().filter(|script| script.moment == moment) {
                self.script(package, script)?;
            }
        }
        Ok(())
    }

    fn script(&mut self, package: &Package, script: &Script) -> Result<(), Error> {
        let listener = self.bench.listener;
        if script.is_lua() {
            let (name, moment) = (&package.name, script.moment.name());
            let text =
                format!("the {moment} script of {name} is for rpm's own Lua and did not run");
            listener(Event::warning(text));
            return Ok(());
        }
        let path = format!("/{SCRIPTS}/{}", file_name(package, script.moment));
        let mut arguments: Vec<&[u8]> = script.program.iter().map(Vec::as_slice).collect();
        if script.text.is_some() {
            // How many instances of the package there are then.
            arguments.extend([path.as_bytes(), b"1"]);
        }
        let epoch = format!("SOURCE_DATE_EPOCH={}", self.bench.epoch.seconds());
        let command = Command { arguments, environment: vec![PATH.as_bytes(), epoch.as_bytes()] };
        let line = lines::Script { package: &package.name, name: script.moment.name() };
        match line.run(&mut self.sandbox, &command, listener) {
            Err(error) if !script.moment.is_critical() && is_the_script_s(&error) => {
                listener(Event::warning(format!("{error}; rpm goes on after this, too")));
            }
            outcome => outcome?,
        }
        self.scripts = self.scripts.saturating_add(1);
        let (stage, unit, done) = (Stage::Configure, Unit::Scripts, self.scripts);
        listener(Event::Progress { stage, done, total: None, unit });
        Ok(())
    }

    /// Who has which number now.
    fn names(&self) -> Result<Names, Error> {
        let read = |name: &str| -> Result<Vec<u8>, Error> {
            Ok(self.sandbox.read_file(&TreePath::parse(name)?)?)
        };
        Ok(Names::read(&read("etc/passwd")?, &read("etc/group")?))
    }
}

/// Whether a failure is the script's own: it ended badly, or its program is not there.
const fn is_the_script_s(error: &Error) -> bool {
    let not_started = matches!(error, Error::ScriptNotRun { source: NotStarted { .. }, .. });
    not_started || matches!(error, Error::ScriptFailed { .. })
}
