//! Configures Debian packages as `dpkg --configure` of all of them does.
//!
//! In: packages laid out as `dpkg --unpack` leaves them; out: every package `install ok installed`.
//! This does dpkg's part (order, states, triggers) and calls the packages' own scripts; diversions,
//! alternatives, units and answers of debconf are made by the tree's own tools, which those scripts
//! call.

mod late;
mod on_tree;
mod order;
mod passing;
mod script;
#[cfg(test)]
mod tests;
mod tools;
mod triggers;

use std::collections::BTreeSet;

use super::disk::Disk;
use super::foreign::Runner;
use super::lay_out::{self, Baseline, Layout};
use super::{Bench, Configuration, Error, arrival, read_back};
use crate::event::{Event, Stage, Unit};
use crate::package::deb::database::{State, Status};
use crate::package::deb::relation;
use crate::package::deb::scripts::ScriptKind;
use crate::sandbox::{Limits, Prepared, Sandbox};
use crate::tree::{BadPath, Tree, TreePath};
use crate::unpack::deb::Package;
use order::Order;
use script::Setting;
use triggers::Pending;

/// Debian packages, and the order of configuring them.
pub(super) struct Debs {
    packages: Vec<Package>,
    order: Order,
}

impl Debs {
    /// Finds the order.
    pub(super) fn new(packages: Vec<Package>) -> Result<Self, Error> {
        let order = order::order(&packages)?;
        Ok(Self { packages, order })
    }
}

impl Configuration for Debs {
    fn sequence(&self) -> Vec<&str> {
        let packages = self.order.sequence.iter().filter_map(|&index| self.packages.get(index));
        packages.map(|package| package.database_name.as_str()).collect()
    }

    fn has_handlers(&self) -> bool {
        true
    }

    fn scripted(&self) -> Vec<&str> {
        let scripted = self.packages.iter().filter(|package| !package.scripts.is_empty());
        scripted.map(|package| package.database_name.as_str()).collect()
    }

    fn run(&self, tree: Tree, bench: &Bench<'_>) -> Result<Tree, Error> {
        match bench.runner {
            Runner::BuiltIn(_) => on_tree::run_all(tree, self, bench),
            Runner::Kernel | Runner::Emulator(_) => run_all(tree, self, bench),
        }
    }
}

impl Error {
    fn relation(package: &Package) -> impl FnOnce(relation::BadRelation) -> Self + use<> {
        let package = package.name.clone();
        move |source| Self::Relation { package, source }
    }
}

/// Lays the tree out, runs every script, reads the tree back.
fn run_all(
    mut tree: Tree,
    Debs { packages, order }: &Debs,
    bench: &Bench<'_>,
) -> Result<Tree, Error> {
    let Bench { store, pack, walls, runner, epoch, listener, .. } = *bench;
    passing::put_in(&mut tree, packages, epoch)?;
    let late = late::paths(&tree, packages, order)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let layout = Layout { tree: &tree, contents: store, threads };
    let mut baseline = Baseline::default();
    let mut prepared = Prepared::new(Limits::default(), walls, runner.emulator())?;
    let disk = Disk::open(&prepared.directory())?;
    let mark: lay_out::Mark<'_> = &mut |path, marks| prepared.mark(path, marks);
    let ground = arrival::ground(&tree, |path| late.contains(path));
    layout.write(&disk, ground, &mut baseline, mark)?;
    let setting = Setting { listener, epoch, dpkg_version: dpkg_version(packages) };
    let mut run = Run::new(prepared.enter()?, setting, packages, order);
    let (first, second) = order.sequence.split_at(order.first_phase);
    run.phase(first)?;
    let mark: lay_out::Mark<'_> = &mut |path, marks| run.ground.mark(path, marks);
    layout.write(&disk, late.into_iter(), &mut baseline, mark)?;
    run.unpacked.extend(second);
    run.phase(second)?;
    run.triggers()?;
    run.write_status()?;
    let left = run.ground.finish()?;
    let reader = read_back::Reader { left: &left, baseline: &baseline, before: &tree, epoch, pack };
    let mut tree = reader.read()?;
    passing::take_out(&mut tree, packages, epoch)?;
    Ok(tree)
}

/// The version of dpkg that scripts may ask for: its upstream part.
fn dpkg_version(packages: &[Package]) -> String {
    let dpkg = packages.iter().find(|package| package.name.as_str() == "dpkg");
    dpkg.map_or_else(|| "1.22.0".to_owned(), |package| package.version.clone())
}

/// What scripts run on.
trait Ground {
    fn rename(&mut self, from: &TreePath, to: &TreePath) -> Result<(), Error>;

    fn read_file(&mut self, path: &TreePath) -> Result<Vec<u8>, Error>;

    fn replace_file(&mut self, path: &TreePath, bytes: &[u8]) -> Result<(), Error>;

    /// Runs a script that the package has; returns whether it ran. A failure is an error.
    fn run(
        &mut self,
        setting: &Setting<'_>,
        package: &Package,
        kind: ScriptKind,
        arguments: &[&str],
    ) -> Result<bool, Error>;
}

impl Ground for Sandbox {
    fn rename(&mut self, from: &TreePath, to: &TreePath) -> Result<(), Error> {
        Ok(Self::rename(self, from, to)?)
    }

    fn read_file(&mut self, path: &TreePath) -> Result<Vec<u8>, Error> {
        Ok(Self::read_file(self, path)?)
    }

    fn replace_file(&mut self, path: &TreePath, bytes: &[u8]) -> Result<(), Error> {
        Ok(Self::replace_file(self, path, bytes)?)
    }

    fn run(
        &mut self,
        setting: &Setting<'_>,
        package: &Package,
        kind: ScriptKind,
        arguments: &[&str],
    ) -> Result<bool, Error> {
        setting.run(self, package, kind, arguments).map(|()| true)
    }
}

/// A run of all scripts.
struct Run<'a, G> {
    ground: G,
    setting: Setting<'a>,
    packages: &'a [Package],
    order: &'a Order,
    unpacked: BTreeSet<usize>,
    configured: BTreeSet<usize>,
    pending: Pending,
    scripts: u64,
}

impl<'a, G: Ground> Run<'a, G> {
    fn new(ground: G, setting: Setting<'a>, packages: &'a [Package], order: &'a Order) -> Self {
        Self {
            ground,
            setting,
            packages,
            order,
            unpacked: order.sequence.iter().copied().take(order.first_phase).collect(),
            configured: BTreeSet::new(),
            pending: Pending::declared(packages, order),
            scripts: 0,
        }
    }

    /// Runs every `preinst` of a phase, then every `postinst`.
    fn phase(&mut self, phase: &[usize]) -> Result<(), Error> {
        for &index in phase {
            self.script(index, ScriptKind::Preinst, &["install"])?;
        }
        for &index in phase {
            if self.script(index, ScriptKind::Postinst, &["configure", ""])? {
                self.configured.insert(index);
            }
        }
        Ok(())
    }

    /// Runs what triggers ask for, until none is pending.
    fn triggers(&mut self) -> Result<(), Error> {
        let mut rounds = self.packages.len().saturating_mul(3);
        while let Some((index, names)) = self.pending.take(&self.order.sequence) {
            if rounds == 0 {
                let package = self.package(index).name.clone();
                return Err(Error::EndlessTriggers { package });
            }
            rounds -= 1;
            self.script(index, ScriptKind::Postinst, &["triggered", &names.join(" ")])?;
        }
        Ok(())
    }

    /// Runs a script if the package has it, and notes which triggers it activates. Returns whether
    /// nothing is left to be done.
    fn script(
        &mut self,
        index: usize,
        kind: ScriptKind,
        arguments: &[&str],
    ) -> Result<bool, Error> {
        let package = self.package(index);
        if !package.scripts.contains_key(&kind) {
            return Ok(true);
        }
        self.write_status()?;
        let (waiting, current) = (passing::unpacking_aside(package)?, passing::unpacking()?);
        if kind == ScriptKind::Preinst {
            self.ground.rename(&waiting, &current)?;
        }
        let ran = self.ground.run(&self.setting, package, kind, arguments)?;
        if kind == ScriptKind::Preinst {
            self.ground.rename(&current, &waiting)?;
        }
        self.scripts += 1;
        let (stage, unit) = (Stage::Configure, Unit::Scripts);
        (self.setting.listener)(Event::Progress { stage, done: self.scripts, total: None, unit });
        let asked = database("triggers/Unincorp")?;
        let text = self.ground.read_file(&asked)?;
        if !text.is_empty() {
            let text = String::from_utf8_lossy(&text).into_owned();
            self.pending.asked(&text, self.packages, &self.configured);
            self.ground.replace_file(&asked, b"")?;
        }
        Ok(ran)
    }

    /// Writes dpkg's list of packages, so that scripts which ask it are told what is so.
    fn write_status(&mut self) -> Result<(), Error> {
        let mut sorted: Vec<_> = self.packages.iter().enumerate().collect();
        sorted.retain(|(index, _)| self.unpacked.contains(index));
        sorted.sort_by_key(|(_, package)| (&package.name, &package.architecture));
        let text = |(index, package): (usize, &Package)| {
            let configured = self.configured.contains(&index);
            let state = if configured { State::Installed } else { State::Unpacked };
            let conffiles = &package.conffile_digests;
            Status { control: &package.control, state, conffiles }.to_text()
        };
        let text: String = sorted.into_iter().map(text).collect();
        self.ground.replace_file(&database("status")?, text.as_bytes())
    }

    fn package(&self, index: usize) -> &'a Package {
        self.packages.get(index).expect("the order is one of these packages")
    }
}

fn database(name: &str) -> Result<TreePath, BadPath> {
    TreePath::parse(format!("var/lib/dpkg/{name}"))
}
