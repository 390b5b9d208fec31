//! Configures packages: runs their scripts over the unpacked tree, in the sandbox.
//!
//! In: packages laid out as `dpkg --unpack` leaves them; out: the tree as `dpkg --configure` of all
//! of them leaves it, every package `install ok installed`. This room does dpkg's part (order,
//! states, triggers) and calls the packages' own scripts; diversions, alternatives, units and
//! answers of debconf are made by the tree's own tools, which those scripts call. The result is
//! kept in the store under the digest of all that went in: the same packages run no script twice.
//!
//! Deliberately not done: starting services, keeping logs, anything that depends on this host.

mod disk;
mod late;
mod lay_out;
mod order;
mod passing;
mod read_back;
mod script;
mod triggers;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::digest::Digest;
use crate::distro::Architecture;
use crate::epoch::Epoch;
use crate::event::{Event, Listener, Stage, Unit};
use crate::package::PackageName;
use crate::package::deb::database::{State, Status};
use crate::package::deb::relation;
use crate::package::deb::scripts::ScriptKind;
use crate::recipe::Recipe;
use crate::sandbox::{self, Limits, Prepared, Sandbox};
use crate::store::{self, PackWriter, Store};
use crate::tree::{self, BadPath, Content, Kind, ListingError, Tree, TreePath};
use crate::unpack::{Package, Unpacked};
use disk::Disk;
use lay_out::{Baseline, Layout};
use order::Order;
use script::Setting;
use triggers::Pending;

/// Changes whenever the same input would be configured differently: then old results do not count.
const VERSION: u32 = 1;
/// The kind of record that holds a configured tree.
const RECORD: &str = "configured";

/// Why packages cannot be configured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host offers no sandbox, or it broke.
    #[error("cannot run scripts in a sandbox")]
    Sandbox(#[from] sandbox::Error),
    /// A script reported failure.
    #[error("the {script} script of {package} failed with {status}\n  {output}")]
    ScriptFailed {
        /// Whose script.
        package: PackageName,
        /// Which one.
        script: &'static str,
        /// How it ended.
        status: sandbox::Status,
        /// Its last lines, escaped.
        output: String,
    },
    /// A script could not be run to its end.
    #[error("cannot run the {script} script of {package}\n  {output}")]
    ScriptNotRun {
        /// Whose script.
        package: PackageName,
        /// Which one.
        script: &'static str,
        /// Its last lines, escaped.
        output: String,
        /// Why.
        source: sandbox::Error,
    },
    /// The scripts are for another architecture, and the host has no emulator.
    #[error(
        "this host cannot run programs for {architecture}: install an emulator that the kernel \
         knows with the flag F (Debian: qemu-user-binfmt); these scripts have to run: {scripts}"
    )]
    Foreign {
        /// The architecture.
        architecture: Architecture,
        /// The scripts, separated by commas.
        scripts: String,
    },
    /// A package's dependencies cannot be read.
    #[error("the dependencies of {package} cannot be read")]
    Relation {
        /// Whose.
        package: PackageName,
        /// Why.
        source: relation::BadRelation,
    },
    /// Triggers activate each other without end.
    #[error("the triggers of {package} are activated again and again")]
    EndlessTriggers {
        /// Whose triggers.
        package: PackageName,
    },
    /// The private file system failed.
    #[error("cannot {doing} {path} in the sandbox")]
    Disk {
        /// What was tried, as a verb.
        doing: &'static str,
        /// Which file.
        path: TreePath,
        /// Why.
        source: std::io::Error,
    },
    /// A script left something that no image can hold.
    #[error("{path} is of a kind that no image can hold")]
    UnknownKind {
        /// Which file.
        path: TreePath,
    },
    /// A script left a path that no tree can hold.
    #[error("the scripts left a path that is too long")]
    BadPath(#[from] BadPath),
    /// The tree's own rules were broken.
    #[error("the tree cannot be put together")]
    Tree(#[from] tree::Error),
    /// The cache failed.
    #[error("cannot keep the configured tree in the cache")]
    Store(#[from] store::Error),
    /// A configured tree in the cache cannot be read.
    #[error("a configured tree in the cache is broken")]
    Listing(#[from] ListingError),
}

impl Error {
    fn relation(package: &Package) -> impl FnOnce(relation::BadRelation) -> Self + use<> {
        let package = package.name.clone();
        move |source| Self::Relation { package, source }
    }
}

/// Configures all packages, or finds that this was done before. `epoch` is the latest moment that a
/// file may show; of the recipe only the architecture counts.
///
/// # Errors
/// Each of [`Error`].
pub fn configure(
    unpacked: Unpacked,
    recipe: &Recipe,
    epoch: Epoch,
    store: &Store,
    listener: Listener<'_>,
) -> Result<Tree, Error> {
    configure_for(recipe.architecture, unpacked, epoch, store, listener)
}

fn configure_for(
    architecture: Architecture,
    unpacked: Unpacked,
    epoch: Epoch,
    store: &Store,
    listener: Listener<'_>,
) -> Result<Tree, Error> {
    let order = order::order(&unpacked.packages)?;
    let key = key(&unpacked, &order, epoch);
    if let Some(tree) = find(store, &key)? {
        listener(Event::note("the scripts of these packages ran before; their result is used"));
        return Ok(tree);
    }
    check_architecture(&unpacked.packages, architecture)?;
    let Unpacked { tree, packages } = unpacked;
    let pack = store.new_pack()?;
    let mut tree = run_all(tree, (&packages, &order), store, &pack, (epoch, listener))?;
    keep_inline(&mut tree, &pack)?;
    pack.finish(&key)?;
    store.load_pack(&key)?;
    store.put_record(RECORD, &key, tree.to_listing().as_bytes())?;
    Ok(tree)
}

/// The digest of all that decides the result: every file with its content's digest, the scripts
/// and the database being among them, the order, the epoch.
fn key(unpacked: &Unpacked, order: &Order, epoch: Epoch) -> Digest {
    let mut text = format!("configured tree {VERSION}\nepoch {}\n", epoch.seconds());
    for package in order.sequence.iter().filter_map(|&index| unpacked.packages.get(index)) {
        text.push_str(&format!("{}\n", package.database_name));
    }
    text.push_str(&unpacked.tree.to_listing());
    Digest::of(text.as_bytes())
}

/// Finds an earlier result. One that cannot be read whole does not count.
fn find(store: &Store, key: &Digest) -> Result<Option<Tree>, Error> {
    let Some(listing) = store.record(RECORD, key)? else { return Ok(None) };
    if !store.load_pack(key)? {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&listing);
    Ok(Some(Tree::from_listing(&text)?))
}

/// Moves contents that the tree itself holds into the pack: a listing names digests only.
fn keep_inline(tree: &mut Tree, pack: &PackWriter) -> Result<(), Error> {
    let ids: Vec<_> = tree.walk().map(|(_, id, _)| id).collect();
    for id in ids {
        if let Kind::Regular(content @ Content::Inline(_)) = &mut tree.inode_mut(id).kind
            && let Content::Inline(bytes) = &*content
        {
            let (digest, size) = pack.add_bytes(bytes)?;
            *content = Content::Stored { digest, size };
        }
    }
    Ok(())
}

/// Refuses, before anything is laid out, what this host cannot run.
fn check_architecture(packages: &[Package], architecture: Architecture) -> Result<(), Error> {
    if architecture.kernel_name() == native() || emulates(architecture) {
        return Ok(());
    }
    let scripts = packages.iter().filter(|package| !package.scripts.is_empty());
    let scripts: Vec<_> = scripts.map(|package| package.database_name.as_str()).collect();
    Err(Error::Foreign { architecture, scripts: scripts.join(", ") })
}

/// The kernel's name of the architecture that this program was built for.
const fn native() -> &'static str {
    if cfg!(target_arch = "powerpc64") { "ppc64le" } else { std::env::consts::ARCH }
}

/// Whether the kernel runs an architecture's programs by an emulator that it holds open: only with
/// the flag `F` does that work where the emulator's file cannot be seen; see the kernel's
/// `admin-guide/binfmt-misc`.
fn emulates(architecture: Architecture) -> bool {
    let path = format!("/proc/sys/fs/binfmt_misc/qemu-{}", architecture.kernel_name());
    let Ok(text) = fs_err::read_to_string(path) else { return false };
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    text.starts_with("enabled") && flags.is_some_and(|flags| flags.contains('F'))
}

/// Lays the tree out, runs every script, reads the tree back.
fn run_all(
    mut tree: Tree,
    (packages, order): (&[Package], &Order),
    store: &Store,
    pack: &PackWriter,
    (epoch, listener): (Epoch, Listener<'_>),
) -> Result<Tree, Error> {
    passing::put_in(&mut tree, packages, epoch)?;
    let late = late::paths(&tree, packages, order)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let layout = Layout { tree: &tree, contents: store, threads };
    let mut baseline = Baseline::default();
    let mut prepared = Prepared::new(Limits::default())?;
    let disk = Disk::open(&prepared.directory())?;
    let mark: lay_out::Mark<'_> = &mut |path, marks| prepared.mark(path, marks);
    layout.write(&disk, &|path| !late.contains(path), &mut baseline, mark)?;
    let mut run = Run {
        sandbox: prepared.enter()?,
        setting: Setting { listener, epoch, dpkg_version: dpkg_version(packages) },
        packages,
        order,
        unpacked: order.sequence.iter().copied().take(order.first_phase).collect(),
        configured: BTreeSet::new(),
        pending: Pending::declared(packages, order),
        scripts: 0,
    };
    let (first, second) = order.sequence.split_at(order.first_phase);
    run.phase(first)?;
    let mark: lay_out::Mark<'_> = &mut |path, marks| run.sandbox.mark(path, marks);
    layout.write(&disk, &|path| late.contains(path), &mut baseline, mark)?;
    run.unpacked.extend(second);
    run.phase(second)?;
    run.triggers()?;
    run.write_status()?;
    let left = run.sandbox.finish();
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

/// A run of all scripts.
struct Run<'a> {
    sandbox: Sandbox,
    setting: Setting<'a>,
    packages: &'a [Package],
    order: &'a Order,
    unpacked: BTreeSet<usize>,
    configured: BTreeSet<usize>,
    pending: Pending,
    scripts: u64,
}

impl<'a> Run<'a> {
    /// Runs every `preinst` of a phase, then every `postinst`.
    fn phase(&mut self, phase: &[usize]) -> Result<(), Error> {
        for &index in phase {
            self.script(index, ScriptKind::Preinst, &["install"])?;
        }
        for &index in phase {
            self.script(index, ScriptKind::Postinst, &["configure", ""])?;
            self.configured.insert(index);
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

    /// Runs a script if the package has it, and notes which triggers it activates.
    fn script(&mut self, index: usize, kind: ScriptKind, arguments: &[&str]) -> Result<(), Error> {
        let package = self.package(index);
        if !package.scripts.contains_key(&kind) {
            return Ok(());
        }
        self.write_status()?;
        let (waiting, current) = (passing::unpacking_aside(package)?, passing::unpacking()?);
        if kind == ScriptKind::Preinst {
            self.sandbox.rename(&waiting, &current)?;
        }
        self.setting.run(&mut self.sandbox, package, kind, arguments)?;
        if kind == ScriptKind::Preinst {
            self.sandbox.rename(&current, &waiting)?;
        }
        self.scripts += 1;
        let (stage, unit) = (Stage::Configure, Unit::Scripts);
        (self.setting.listener)(Event::Progress { stage, done: self.scripts, total: None, unit });
        let asked = database("triggers/Unincorp")?;
        let text = self.sandbox.read_file(&asked)?;
        if !text.is_empty() {
            let text = String::from_utf8_lossy(&text).into_owned();
            self.pending.asked(&text, self.packages, &self.configured);
            self.sandbox.replace_file(&asked, b"")?;
        }
        Ok(())
    }

    /// Writes dpkg's list of packages, so that scripts which ask it are told what is so.
    fn write_status(&self) -> Result<(), Error> {
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
        Ok(self.sandbox.replace_file(&database("status")?, text.as_bytes())?)
    }

    fn package(&self, index: usize) -> &'a Package {
        self.packages.get(index).expect("the order is one of these packages")
    }
}

fn database(name: &str) -> Result<TreePath, BadPath> {
    TreePath::parse(format!("var/lib/dpkg/{name}"))
}
