//! Configures packages: runs their scripts over the unpacked tree, in the sandbox.
//!
//! In: packages as `unpack` laid them out; out: the tree as the distribution's own tool leaves it.
//! Order, states and triggers are their family's business (`deb/`); laying the tree out for the
//! sandbox, running a script and reading the tree back are the same for all. The result is kept in
//! the store under the digest of all that went in: the same packages run no script twice.
//!
//! Deliberately not done: starting services, keeping logs, anything that depends on this host.

mod apk;
mod deb;
mod disk;
mod foreign;
mod lay_out;
mod lines;
mod names;
mod read_back;
mod rpm;

use crate::digest::Digest;
use crate::distro::Architecture;
use crate::epoch::Epoch;
use crate::event::{Event, Listener};
use crate::package::PackageName;
use crate::package::deb::relation;
use crate::recipe::Recipe;
use crate::sandbox::{self, Emulator, Walls};
use crate::store::{self, PackWriter, Store, TemporaryFolder};
use crate::tree::{self, BadPath, Content, Kind, ListingError, Tree, TreePath};
use crate::unpack::{self, Installed, Unpacked};
use foreign::Runner;

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
    /// The scripts are for another architecture, and nobody can run them.
    #[error("{why}; the scripts of these packages have to run: {scripts}")]
    Foreign {
        /// Why nobody can.
        why: String,
        /// The packages, separated by commas.
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
    /// The package manager's database cannot be written.
    #[error("cannot write the database of the packages")]
    Database(#[source] Box<unpack::Error>),
    /// The cache failed.
    #[error("cannot keep the configured tree in the cache")]
    Store(#[from] store::Error),
    /// A configured tree in the cache cannot be read.
    #[error("a configured tree in the cache is broken")]
    Listing(#[from] ListingError),
}

/// What a family does with its packages.
trait Configuration {
    /// The packages' names in the order of configuring, which is part of what decides the result.
    fn sequence(&self) -> Vec<&str>;

    /// The names of packages with scripts.
    fn scripted(&self) -> Vec<&str>;

    /// Lays the tree out in a sandbox, runs every script, and reads the tree back.
    fn run(&self, tree: Tree, bench: &Bench<'_>) -> Result<Tree, Error>;
}

/// What running scripts takes besides packages.
struct Bench<'a> {
    store: &'a Store,
    /// Where changed contents go.
    pack: &'a PackWriter,
    /// What stands between scripts and the host.
    walls: Walls<'a>,
    /// What runs programs of another processor.
    emulator: Option<&'a Emulator>,
    epoch: Epoch,
    listener: Listener<'a>,
}

/// A configured tree, and where the cache has it.
#[derive(Debug, Clone)]
pub struct Configured {
    /// The files. Their contents are in the store.
    pub tree: Tree,
    /// The digest of all that went in.
    pub key: Digest,
}

/// Configures all packages, or finds that this was done before. `epoch` is the latest moment that a
/// file may show; of the recipe the architecture counts, and whether scripts run in a plain chroot.
///
/// # Errors
/// Each of [`Error`].
pub fn configure(
    unpacked: Unpacked,
    recipe: &Recipe,
    epoch: Epoch,
    store: &Store,
    listener: Listener<'_>,
) -> Result<Configured, Error> {
    let place = Place { architecture: recipe.architecture, plain_chroot: recipe.plain_chroot };
    configure_in(place, unpacked, epoch, store, listener)
}

/// For which processor scripts are, and whether they run in a plain chroot.
#[derive(Debug, Clone, Copy)]
struct Place {
    architecture: Architecture,
    plain_chroot: bool,
}

fn configure_in(
    place: Place,
    unpacked: Unpacked,
    epoch: Epoch,
    store: &Store,
    listener: Listener<'_>,
) -> Result<Configured, Error> {
    let Place { architecture, plain_chroot } = place;
    let Unpacked { tree, packages } = unpacked;
    let configuration: Box<dyn Configuration> = match packages {
        Installed::Deb(packages) => Box::new(deb::Debs::new(packages)?),
        Installed::Apk(packages) => Box::new(apk::Apks(packages)),
        Installed::Rpm(packages) => Box::new(rpm::Rpms(packages)),
    };
    let key = key(&tree, configuration.as_ref(), epoch, plain_chroot);
    if let Some(found) = find(store, &key, listener)? {
        return Ok(found);
    }
    let folder = if plain_chroot { Some(chroot_folder(store, listener)?) } else { None };
    let walls = folder.as_ref().map_or(Walls::Namespaces, |folder| Walls::Chroot(folder.path()));
    let runner = foreign::runner(architecture)?;
    if let Runner::Nobody(why) = runner {
        return Err(Error::Foreign { why, scripts: configuration.scripted().join(", ") });
    }
    let pack = store.new_pack()?;
    let emulator = runner.emulator();
    let bench = Bench { store, pack: &pack, walls, emulator, epoch, listener };
    let mut tree = configuration.run(tree, &bench)?;
    keep_inline(&mut tree, &pack)?;
    pack.finish(&key)?;
    store.load_pack(&key)?;
    store.put_record(RECORD, &key, tree.to_listing().as_bytes())?;
    Ok(Configured { tree, key })
}

/// Where the tree of a plain chroot lies, and the warning that one is used.
fn chroot_folder(store: &Store, listener: Listener<'_>) -> Result<TemporaryFolder, Error> {
    listener(Event::warning(
        "scripts run in a plain chroot, as was asked: they see the processes and the network of \
         this machine, and no /proc",
    ));
    Ok(store.temporary_folder("chroot-")?)
}

/// The digest of all that decides the result: every file with its content's digest, the scripts
/// and the database being among them, the order, the epoch, whether there was a `/proc`.
fn key(tree: &Tree, configuration: &dyn Configuration, epoch: Epoch, plain: bool) -> Digest {
    let walls = if plain { "plain chroot\n" } else { "" };
    let mut text = format!("configured tree {VERSION}\nepoch {}\n{walls}", epoch.seconds());
    for name in configuration.sequence() {
        text.push_str(name);
        text.push('\n');
    }
    text.push_str(&tree.to_listing());
    Digest::of(text.as_bytes())
}

/// Finds an earlier result. One that cannot be read whole does not count.
///
/// Files that no script has changed are in the packs of the packages, which the caller has loaded.
///
/// # Errors
/// [`Error::Store`], [`Error::Listing`].
pub fn find(
    store: &Store,
    key: &Digest,
    listener: Listener<'_>,
) -> Result<Option<Configured>, Error> {
    let Some(listing) = store.record(RECORD, key)? else { return Ok(None) };
    if !store.load_pack(key)? {
        return Ok(None);
    }
    let tree = Tree::from_listing(&String::from_utf8_lossy(&listing))?;
    listener(Event::note("the scripts of these packages ran before; their result is used"));
    Ok(Some(Configured { tree, key: *key }))
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
