//! Configures Alpine packages as apk does while it installs them.
//!
//! In: packages in the order of installing; out: the tree as `apk add` leaves it. apk runs a package's
//! `pre-install`, lays its files out, runs its `post-install`, and goes on to the next; triggers run at
//! the end, each with the directories that it watches. So the files of a package get onto the disk only
//! after all scripts of those before it, and owners that it knows by name get the numbers that those
//! scripts have given out. Specification: apk-package(5).

mod finish;

use std::collections::BTreeSet;
use std::io::Read as _;

use super::disk::Disk;
use super::lay_out::{Baseline, Layout, Mark};
use super::lines::Script;
use super::names::Names;
use super::{Bench, Configuration, Error, arrival, read_back};
use crate::event::{Event, Stage, Unit};
use crate::package::apk::scripts::{self, ScriptKind};
use crate::sandbox::{Command, Limits, Prepared, Sandbox};
use crate::tree::{Content, Inode, Kind, Meta, Tree, TreePath};
use crate::unpack::apk::{Package, Packages};

/// Where apk puts scripts to run them.
const SCRIPTS: &str = "lib/apk/exec";

/// Alpine packages.
pub(super) struct Apks(pub(super) Packages);

impl Configuration for Apks {
    fn sequence(&self) -> Vec<&str> {
        self.0.as_slice().iter().map(|package| package.name.as_str()).collect()
    }

    fn has_handlers(&self) -> bool {
        false
    }

    fn scripted(&self) -> Vec<&str> {
        let has_script =
            |package: &&Package| package.scripts.iter().any(|(kind, _)| RUN.contains(kind));
        let scripted = self.0.as_slice().iter().filter(has_script);
        scripted.map(|package| package.name.as_str()).collect()
    }

    fn run(&self, tree: Tree, bench: &Bench<'_>) -> Result<Tree, Error> {
        run_all(tree, self.0.clone(), bench)
    }
}

/// The scripts that installing runs.
const RUN: [ScriptKind; 3] = [ScriptKind::PreInstall, ScriptKind::PostInstall, ScriptKind::Trigger];

/// Packages whose files are laid out together, because no script stands between them.
struct Step {
    packages: std::ops::Range<usize>,
    /// The script that runs before, of the first package.
    before: bool,
    /// The script that runs after, of the last package.
    after: bool,
}

/// Divides the sequence where scripts stand, and after packages that bring the list of users.
fn steps(packages: &[Package]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let has = |package: &Package, kind| package.scripts.iter().any(|(known, _)| *known == kind);
    let mut open = false;
    for (index, package) in packages.iter().enumerate() {
        let before = has(package, ScriptKind::PreInstall);
        let after = has(package, ScriptKind::PostInstall);
        let end = index.saturating_add(1);
        match steps.last_mut() {
            Some(step) if open && !before => {
                step.packages.end = end;
                step.after = after;
            }
            _ => steps.push(Step { packages: index..end, before, after }),
        }
        let brings_users = package.entries.iter().any(|entry| is_user_list(&entry.place));
        open = !after && !brings_users;
    }
    steps
}

fn is_user_list(path: &TreePath) -> bool {
    matches!(path.as_bytes(), b"etc/passwd" | b"etc/group")
}

/// Lays the tree out step by step, runs every script, reads the tree back.
fn run_all(mut tree: Tree, mut packages: Packages, bench: &Bench<'_>) -> Result<Tree, Error> {
    let Bench { pack, walls, runner, epoch, .. } = *bench;
    let shadow = text_of(&tree, "etc/shadow", bench)?;
    put_scripts(&mut tree, packages.as_slice(), bench)?;
    let steps = steps(packages.as_slice());
    let place = arrival::steps(&tree, brought(packages.as_slice(), &steps));
    let mut baseline = Baseline::default();
    let mut prepared = Prepared::new(Limits::default(), walls, runner.emulator())?;
    let disk = Disk::open(&prepared.directory())?;
    let ground = arrival::ground(&tree, |path| place.contains_key(path));
    let mark: Mark<'_> = &mut |path, marks| prepared.mark(path, marks);
    layout(&tree, bench).write(&disk, ground, &mut baseline, mark)?;
    let mut run = Run { sandbox: prepared.enter()?, bench, scripts: 0 };
    let mut made = BTreeSet::new();
    let paths = arrival::by_step(&place, steps.len());
    for (step, mut here) in steps.iter().zip(paths) {
        let first = packages.as_slice().get(step.packages.start).filter(|_| step.before).cloned();
        run.script(first.as_ref(), ScriptKind::PreInstall, &[])?;
        let names = run.names()?;
        for package in packages.as_mut_slice().get_mut(step.packages.clone()).unwrap_or_default() {
            look_up(package, &names);
            give_owners(&mut tree, package, &here);
        }
        let of_step = packages.as_slice().get(step.packages.clone()).unwrap_or_default();
        let new = of_step.iter().flat_map(|package| &package.entries);
        let new = new.filter(|entry| entry.is_directory && entry.is_new);
        made.extend(new.map(|e| e.place.clone()).filter(|path| disk.stat(path).is_err()));
        let Kept { kept, aside } = run.keep_changed(&mut tree, of_step, &disk)?;
        here.retain(|path| !kept.contains(path));
        here.extend(aside);
        let mark: Mark<'_> = &mut |path, marks| run.sandbox.mark(path, marks);
        layout(&tree, bench).write(&disk, here.into_iter(), &mut baseline, mark)?;
        let last = of_step.last().filter(|_| step.after).cloned();
        run.script(last.as_ref(), ScriptKind::PostInstall, &[])?;
    }
    run.triggers(packages.as_slice())?;
    let days = run.days(&shadow)?;
    let left = run.sandbox.finish()?;
    let reader = read_back::Reader { left: &left, baseline: &baseline, before: &tree, epoch, pack };
    let mut tree = reader.read()?;
    finish::directories(&mut tree, &packages, &made);
    finish::database(&mut tree, &packages, epoch)?;
    finish::temporary_files(&mut tree)?;
    for (path, text) in days {
        if let Some(Inode { kind: kind @ Kind::Regular(_), .. }) = tree.get_mut(&path) {
            *kind = Kind::Regular(Content::Inline(text.into()));
        }
    }
    Ok(tree)
}

fn layout<'a>(tree: &'a Tree, bench: &'a Bench<'_>) -> Layout<'a> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    Layout { tree, contents: bench.store, threads }
}

/// The text of a file of the tree; empty, if it is not there.
fn text_of(tree: &Tree, path: &str, bench: &Bench<'_>) -> Result<Vec<u8>, Error> {
    let path = tree.resolve(&TreePath::parse(path)?)?;
    let mut text = Vec::new();
    if let Some(Inode { kind: Kind::Regular(content), .. }) = tree.get(&path) {
        let opened = content.open(bench.store);
        opened
            .and_then(|mut reader| reader.read_to_end(&mut text))
            .map_err(|source| Error::Disk { doing: "read", path, source })?;
    }
    Ok(text)
}

/// Puts scripts where they are run from.
fn put_scripts(tree: &mut Tree, packages: &[Package], bench: &Bench<'_>) -> Result<(), Error> {
    let mtime = bench.epoch.clamp(i64::MAX);
    let directory = tree.resolve(&TreePath::parse(SCRIPTS)?)?;
    for package in packages {
        for (kind, bytes) in package.scripts.iter().filter(|(kind, _)| RUN.contains(kind)) {
            let meta = Meta { mtime, ..Meta::root(0o755) };
            let kind_of_file = Kind::Regular(Content::Inline(bytes.clone()));
            let path = directory.join(script_name(package, *kind))?;
            tree.insert(&path, Inode { meta, kind: kind_of_file })?;
        }
    }
    Ok(())
}

fn script_name(package: &Package, kind: ScriptKind) -> String {
    format!("{}-{}.{kind}", package.name, package.version)
}

/// The paths that each step brings for the first time.
fn brought<'a>(
    packages: &'a [Package],
    steps: &'a [Step],
) -> impl Iterator<Item = (usize, TreePath)> {
    steps.iter().enumerate().flat_map(|(number, step)| {
        let packages = packages.get(step.packages.clone()).unwrap_or_default();
        let entries = packages.iter().flat_map(|package| &package.entries);
        entries.filter(|entry| entry.is_new).map(move |entry| (number, entry.place.clone()))
    })
}

/// Gives the entries of a package the numbers that the names have now.
fn look_up(package: &mut Package, names: &Names) {
    for entry in &mut package.entries {
        entry.meta.uid = names.user(&entry.user, entry.meta.uid);
        entry.meta.gid = names.group(&entry.group, entry.meta.gid);
    }
}

/// Takes the owners of entries over into the tree.
fn give_owners(tree: &mut Tree, package: &Package, here: &BTreeSet<TreePath>) {
    for entry in package.entries.iter().filter(|entry| here.contains(&entry.place)) {
        if let Some(inode) = tree.get_mut(&entry.place) {
            (inode.meta.uid, inode.meta.gid) = (entry.meta.uid, entry.meta.gid);
        }
    }
}

/// Files below `/etc` that a script has made before the package that brings them.
#[derive(Default)]
struct Kept {
    /// Those that stay as they are.
    kept: BTreeSet<TreePath>,
    /// The package's own, where they differ, under other names.
    aside: BTreeSet<TreePath>,
}

/// A run of all scripts.
struct Run<'a> {
    sandbox: Sandbox,
    bench: &'a Bench<'a>,
    scripts: u64,
}

impl Run<'_> {
    /// Runs a script of a package, if there is the package and it has that one. Its first argument is
    /// the version, unless others are given.
    fn script(
        &mut self,
        package: Option<&Package>,
        kind: ScriptKind,
        arguments: &[Vec<u8>],
    ) -> Result<(), Error> {
        let Some(package) = package else { return Ok(()) };
        if !package.scripts.iter().any(|(known, _)| *known == kind) {
            return Ok(());
        }
        let path = format!("/{SCRIPTS}/{}", script_name(package, kind));
        let mut all = vec![path.as_bytes()];
        match arguments {
            [] => all.push(package.version.as_bytes()),
            given => all.extend(given.iter().map(Vec::as_slice)),
        }
        let environment = [
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            format!("SOURCE_DATE_EPOCH={}", self.bench.epoch.seconds()),
            format!("APK_PACKAGE={}", package.name),
            format!("APK_SCRIPT={kind}"),
        ];
        let environment = environment.iter().map(|variable| variable.as_bytes()).collect();
        let command = Command { arguments: all, environment, input: None };
        let script = Script { package: &package.name, name: kind.name() };
        script.run(&mut self.sandbox, &command, self.bench.listener)?;
        self.scripts = self.scripts.saturating_add(1);
        let (stage, unit, done) = (Stage::Configure, Unit::Scripts, self.scripts);
        (self.bench.listener)(Event::Progress { stage, done, total: None, unit });
        Ok(())
    }

    /// Who has which number now.
    fn names(&self) -> Result<Names, Error> {
        let read = |name: &str| -> Result<Vec<u8>, Error> {
            Ok(self.sandbox.read_file(&TreePath::parse(name)?)?)
        };
        Ok(Names::read(&read("etc/passwd")?, &read("etc/group")?))
    }

    /// What a script has put below `/etc` stays, as under apk: a package's own file goes beside it, or
    /// nowhere if it is the same.
    fn keep_changed(
        &self,
        tree: &mut Tree,
        packages: &[Package],
        disk: &Disk,
    ) -> Result<Kept, Error> {
        let etc = TreePath::parse("etc")?;
        let mut all = Kept::default();
        let entries = packages.iter().flat_map(|package| &package.entries);
        for entry in entries.filter(|entry| !entry.is_directory && entry.place.starts_with(&etc)) {
            if disk.stat(&entry.place).is_err() {
                continue;
            }
            let found = self.sandbox.read_file(&entry.place).ok();
            let sum = entry.checksum.as_ref();
            if !found.is_some_and(|found| sum.is_some_and(|sum| sum.is_of(&found))) {
                let mut aside = entry.place.as_bytes().to_vec();
                aside.extend(b".apk-new");
                let aside = TreePath::parse(aside)?;
                tree.rename(&entry.place, &aside)?;
                all.aside.insert(aside);
            }
            all.kept.insert(entry.place.clone());
        }
        Ok(all)
    }

    /// Runs the triggers of all packages, each with the directories that it watches.
    fn triggers(&mut self, packages: &[Package]) -> Result<(), Error> {
        let mut directories: BTreeSet<Vec<u8>> = BTreeSet::new();
        for entry in packages.iter().flat_map(|package| &package.entries) {
            let mut path = match entry.is_directory {
                true => Some(entry.path.clone()),
                false => entry.path.parent(),
            };
            while let Some(directory) = path {
                if !directories.insert([b"/", directory.as_bytes()].concat()) {
                    break;
                }
                path = directory.parent();
            }
        }
        for package in packages {
            let watches = |directory: &&Vec<u8>| {
                package.triggers.iter().any(|pattern| scripts::covers(pattern, directory))
            };
            let watched: Vec<Vec<u8>> = directories.iter().filter(watches).cloned().collect();
            if !watched.is_empty() {
                self.script(Some(package), ScriptKind::Trigger, &watched)?;
            }
        }
        Ok(())
    }

    /// The lists of passwords without the day on which this runs, where that stands in them.
    fn days(&self, shadow: &[u8]) -> Result<Vec<(TreePath, Vec<u8>)>, Error> {
        let mut changed = Vec::new();
        for name in ["etc/shadow", "etc/shadow-"] {
            let path = TreePath::parse(name)?;
            let text = self.sandbox.read_file(&path)?;
            let new = finish::without_today(shadow, &text, self.bench.epoch);
            if new != text {
                changed.push((path, new));
            }
        }
        Ok(changed)
    }
}
