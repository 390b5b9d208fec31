//! Configures rpm packages as rpm does while it installs them.
//!
//! In: packages in the order of installing; out: the tree as `dnf install` leaves it. rpm runs all
//! `%pretrans`; then for each package makes the users and groups that it declares (`crate::sysusers`), runs
//! its `%pre`, lays its files out, runs its `%post`; and all
//! `%posttrans` in the end. Around them run the triggers that the package sets off (`triggers.rs`),
//! after them those that wait for files of the whole transaction. So the files of a package get onto
//! the disk only after the scripts of those before it, and owners that it knows by name get the numbers
//! that those scripts have given out; a name that nobody has is root's, as under rpm.
//!
//! A `%pretrans` or `%pre` that fails stops the build, since rpm would not install the package. After
//! any other that fails rpm goes on, and so does this, with a warning. Scripts for rpm's own Lua are
//! run by this program itself, inside the sandbox. Specification: rpm-scriptlets(7).

mod run;
mod triggers;

use super::disk::Disk;
use super::lay_out::{Baseline, Layout, Mark};
use super::names::Names;
use super::{Bench, Configuration, Error, arrival, read_back};
use crate::epoch::Epoch;
use crate::package::rpm::scripts::{Body, Moment, Watched};
use crate::sandbox::{Limits, Prepared};
use crate::tree::{Content, Inode, Kind, Meta, Tree, TreePath};
use crate::unpack::rpm::{Entry, Listed, Package, Packages};
use run::Run;
use triggers::Fired;

/// Where scripts are put to run them; no package has it, and it is gone afterwards.
const SCRIPTS: &str = ".rpm-scripts";
/// Directories that scripts find mounted, so that they are there before all packages.
const MOUNT_POINTS: [&str; 2] = ["dev", "proc"];

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
        let scripted = self.0.as_slice().iter().filter(|package| package.has_scripts());
        scripted.map(|package| package.name.as_str()).collect()
    }

    fn run(&self, tree: Tree, bench: &Bench<'_>) -> Result<Tree, Error> {
        run_all(tree, self.0.as_slice(), bench)
    }
}

/// Packages whose files are laid out together, because no script stands between them.
#[derive(Debug, Default)]
struct Step {
    packages: std::ops::Range<usize>,
}

/// Divides the sequence where scripts stand, and after packages that bring the list of users.
fn steps(packages: &[Package], fired: &[Fired]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut open = false;
    for (index, (package, fired)) in packages.iter().zip(fired).enumerate() {
        let has = |moment| package.scripts.iter().any(|script| script.moment == moment);
        let end = index.saturating_add(1);
        match steps.last_mut() {
            Some(step)
                if open
                    && package.users.is_empty()
                    && !has(Moment::Before)
                    && fired.before.is_empty() =>
            {
                step.packages.end = end;
            }
            _ => steps.push(Step { packages: index..end }),
        }
        let brings_users = package.entries.iter().any(|entry| is_user_list(&entry.place));
        let fires = !fired.before_script.is_empty() || !fired.after_script.is_empty();
        open = !has(Moment::After) && !brings_users && !fires;
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
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let fired = triggers::fired(packages);
    let steps = steps(packages, &fired);
    make_mount_points(&mut tree, packages, epoch)?;
    let mut place = arrival::steps(&tree, brought(packages, &steps));
    for path in MOUNT_POINTS {
        place.remove(&TreePath::parse(path)?);
    }
    let mut baseline = Baseline::default();
    let mut prepared = Prepared::new(Limits::default(), walls, runner.emulator())?;
    let disk = Disk::open(&prepared.directory())?;
    let ground = arrival::ground(&tree, |path| place.contains_key(path));
    let mark: Mark<'_> = &mut |path, marks| prepared.mark(path, marks);
    layout(&tree, bench, threads).write(&disk, ground, &mut baseline, mark)?;
    let mut run = Run::new(prepared.enter()?, bench, packages);
    run.scripts(0..packages.len(), Moment::BeforeAll)?;
    let paths = arrival::by_step(&place, steps.len());
    for (step, here) in steps.iter().zip(paths) {
        let first = fired.get(step.packages.start);
        packages.get(step.packages.start).map_or(Ok(()), |package| run.users(package))?;
        run.triggers(first.map_or(&[][..], |fired| &fired.before))?;
        run.scripts(step.packages.start..step.packages.start.saturating_add(1), Moment::Before)?;
        let names = run.names()?;
        let of_step = packages.get(step.packages.clone()).unwrap_or_default();
        for entry in of_step.iter().flat_map(|package| &package.entries) {
            give_owner(&mut tree, entry, &names);
        }
        let standing = standing(of_step, &disk);
        let mark: Mark<'_> = &mut |path, marks| run.sandbox().mark(path, marks);
        layout(&tree, bench, threads).write(&disk, here.into_iter(), &mut baseline, mark)?;
        layout(&tree, bench, threads).take_over(&disk, &standing, &mut baseline, mark)?;
        let last = step.packages.end.saturating_sub(1);
        let last_fired = fired.get(last);
        run.triggers(last_fired.map_or(&[][..], |fired| &fired.before_script))?;
        run.scripts(last..step.packages.end, Moment::After)?;
        run.triggers(last_fired.map_or(&[][..], |fired| &fired.after_script))?;
    }
    run.scripts(0..packages.len(), Moment::AfterAll)?;
    run.triggers(&triggers::fired_by_all(packages))?;
    let left = run.finish()?;
    let reader = read_back::Reader { left: &left, baseline: &baseline, before: &tree, epoch, pack };
    let mut tree = reader.read()?;
    tree.remove(&TreePath::parse(SCRIPTS)?);
    Ok(tree)
}

const fn layout<'a>(tree: &'a Tree, bench: &'a Bench<'_>, threads: usize) -> Layout<'a> {
    Layout { tree, contents: bench.store, threads }
}

/// The directories that packages bring and that are there already: scripts have made them, or files of
/// packages that do not own them. In the order of paths.
fn standing(packages: &[Package], disk: &Disk) -> Vec<TreePath> {
    let entries = packages.iter().flat_map(|package| &package.entries);
    let brought = entries.filter(|entry| entry.is_directory && entry.is_new);
    let mut standing: Vec<TreePath> = brought.map(|entry| entry.place.clone()).collect();
    standing.retain(|path| disk.has_directory(path));
    standing.sort();
    standing
}

/// Makes the mount points that no package brings, with the permissions of one that lists them as ghosts:
/// its own script cannot give them, since it sees what is mounted there.
fn make_mount_points(tree: &mut Tree, packages: &[Package], epoch: Epoch) -> Result<(), Error> {
    let listed = || packages.iter().flat_map(|package| &package.listed);
    for name in MOUNT_POINTS {
        let is_it = |listed: &&Listed| listed.path.strip_prefix(b"/") == Some(name.as_bytes());
        let mode = listed().find(is_it).map_or(0o755, |listed| listed.mode);
        let meta = Meta { mtime: epoch.clamp(i64::MAX), ..Meta::root(mode) };
        tree.make_directories(&TreePath::parse(name)?, &meta)?;
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
        for (name, body) in bodies(package) {
            let Some(text) = &body.text else { continue };
            let kind = Kind::Regular(Content::Inline(text.as_slice().into()));
            tree.insert(&directory.join(name)?, Inode { meta: meta(0o755), kind })?;
        }
    }
    Ok(())
}

/// Everything that a package has to run, by the name of its file.
fn bodies(package: &Package) -> Vec<(String, &Body)> {
    let scripts = package.scripts.iter();
    let mut bodies: Vec<_> =
        scripts.map(|script| (script_file(package, script.moment), &script.body)).collect();
    for watched in [Watched::Packages, Watched::Files, Watched::AllFiles] {
        for (number, script) in package.triggers(watched).scripts.iter().enumerate() {
            let body = script.as_ref().map(|script| &script.body);
            bodies.extend(body.map(|body| (trigger_file(package, watched, number), body)));
        }
    }
    bodies
}

fn script_file(package: &Package, moment: Moment) -> String {
    format!("{}{}", package.name, moment.name())
}

fn trigger_file(package: &Package, watched: Watched, number: usize) -> String {
    let kind = match watched {
        Watched::Packages => "trigger",
        Watched::Files => "filetrigger",
        Watched::AllFiles => "transfiletrigger",
    };
    format!("{}%{kind}-{number}", package.name)
}

/// The paths that each step brings for the first time. A directory that no package brings is there as
/// soon as something in it is.
fn brought<'a>(
    packages: &'a [Package],
    steps: &'a [Step],
) -> impl Iterator<Item = (usize, TreePath)> {
    steps.iter().enumerate().flat_map(|(number, step)| {
        let packages = packages.get(step.packages.clone()).unwrap_or_default();
        let entries = packages.iter().flat_map(|package| &package.entries);
        let mut above: Option<TreePath> = None;
        let paths = entries.filter(|entry| entry.is_new).flat_map(move |entry| {
            let parent = entry.place.parent();
            // Its directories were named already with the file before it.
            let parents = if parent == above { None } else { parent.clone() };
            above = parent;
            let parents = std::iter::successors(parents, TreePath::parent);
            std::iter::once(entry.place.clone()).chain(parents)
        });
        paths.filter(|path| !path.is_root()).map(move |path| (number, path))
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
