//! Configures packages: runs their scripts over the unpacked tree, by handlers of ours in memory or
//! as programs in the sandbox.
//!
//! In: packages as `unpack` laid them out; out: the tree as the distribution's own tool leaves it.
//! Unless it is said who runs scripts, handlers try first, where a family has them: what they make
//! counts if they have understood every script, and else programs run them all. Which it is hangs on
//! the packages alone, not on the host.
//! Order, states and triggers are their family's business (`deb/`); laying the tree out for the
//! sandbox, running a script and reading the tree back are the same for all. The result is kept in
//! the store under the digest of all that went in: the same packages run no script twice.
//!
//! Deliberately not done: starting services, keeping logs, anything that depends on this host.

mod apk;
mod arrival;
mod attempt;
mod deb;
mod disk;
mod foreign;
mod lay_out;
mod lines;
mod names;
mod not_run;
mod read_back;
mod rpm;
mod shell;
mod went_on;

#[cfg(test)]
mod tests;

use crate::digest::Digest;
use crate::distro::{Architecture, Family};
use crate::epoch::Epoch;
use crate::event::{Event, Listener};
use crate::package::PackageName;
use crate::package::deb::relation;
use crate::recipe::{Recipe, Scripts};
use crate::sandbox::{self, Walls};
use crate::store::{self, PackWriter, Store, TemporaryFolder};
use crate::tree::{self, BadPath, Content, Kind, ListingError, Tree, TreePath};
use crate::unpack::{self, Installed, Unpacked};
use foreign::Runner;
use went_on::WentOn;

/// Changes whenever the same input would be configured differently: then old results do not count.
const VERSION: u32 = 3;
/// The kind of record that holds a configured tree.
const RECORD: &str = "configured";
/// What the key of a result of handlers begins with. They are code of ours: when that changes, so
/// may what they do.
const BY_HANDLERS: &str = concat!("built-in ", env!("OSBUILDER_INSTALLING_CODE"), "\n");

/// What a script printed, below a sentence.
fn below(output: &str) -> String {
    if output.is_empty() { String::new() } else { format!("\n  {output}") }
}

/// Why packages cannot be configured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host offers no sandbox, or it broke.
    #[error("cannot run scripts in a sandbox")]
    Sandbox(#[from] sandbox::Error),
    /// A script reported failure.
    #[error("the {script} script of {package} failed with {status}{}", below(output))]
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
    #[error("cannot run the {script} script of {package}{}", below(output))]
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
    /// A script has places that rpm would fill in, by what it alone knows.
    #[error(
        "the {script} script of {package} (-e or -q) holds macros or formats that only rpm fills in"
    )]
    Template {
        /// Whose script.
        package: PackageName,
        /// Which one.
        script: &'static str,
    },
    /// The scripts are for another architecture, and nobody can run them.
    #[error("{why}; the scripts of these packages have to run: {scripts}")]
    Foreign {
        /// Why nobody can.
        why: String,
        /// The packages, separated by commas.
        scripts: String,
    },
    /// Handlers of ours came to something that they do not understand, where they must not go on.
    #[error("osbuilder's own handlers cannot run the {script} script of {package}: {reason}")]
    NotUnderstood {
        /// Whose script.
        package: PackageName,
        /// Which one.
        script: &'static str,
        /// What it came to.
        reason: String,
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
    /// The cache did not give what was to be read.
    #[error("cannot read {what} from the cache")]
    Content {
        /// What: a path, or whose script reads it.
        what: String,
        /// Why.
        source: std::io::Error,
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

    /// Whether handlers of ours can stand in for the programs that scripts call.
    fn has_handlers(&self) -> bool;

    /// Runs every script, in a sandbox or by handlers; returns the tree that they leave.
    fn run(&self, tree: Tree, bench: &Bench<'_>) -> Result<Tree, Error>;
}

/// What running scripts takes besides packages.
struct Bench<'a> {
    store: &'a Store,
    /// Where changed contents go.
    pack: &'a PackWriter,
    /// What stands between scripts and the host.
    walls: Walls<'a>,
    /// Who runs the guest's programs, or handlers instead.
    runner: &'a Runner,
    /// Whether handlers must understand every script.
    whole: bool,
    /// Where it is noted that a script failed and that the build goes on.
    went_on: &'a WentOn,
    epoch: Epoch,
    listener: Listener<'a>,
}

/// A configured tree, and where the cache has it.
#[derive(Debug, Clone)]
pub struct Configured {
    /// The files. Their contents are in the store.
    pub tree: Tree,
    /// By what the cache knows it.
    pub key: Key,
}

/// What a configured tree is known by. Its text is the digest, and a word where handlers ran scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The digest of all that went in.
    digest: Digest,
    /// Whether there are scripts, and osbuilder's own handlers ran them.
    pub by_handlers: bool,
}

/// What the text of a [`Key`] ends with where handlers ran scripts.
const WORD: &str = " by-handlers";

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { digest, by_handlers } = self;
        write!(f, "{digest}{}", if *by_handlers { WORD } else { "" })
    }
}

impl std::str::FromStr for Key {
    type Err = <Digest as std::str::FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digest = text.strip_suffix(WORD);
        Ok(Self { digest: digest.unwrap_or(text).parse()?, by_handlers: digest.is_some() })
    }
}

/// Configures all packages, or finds that this was done before. `epoch` is the latest moment that a
/// file may show; of the recipe the architecture counts, and who runs scripts where.
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
    configure_in(Place::of(recipe), unpacked, epoch, store, listener)
}

/// Whether the scripts of a recipe's packages are run by handlers of ours even if they do not
/// understand all of them: because that was asked for, or as nobody runs programs on this host.
///
/// # Errors
/// [`Error::Sandbox`].
pub fn is_built_in(recipe: &Recipe) -> Result<bool, Error> {
    Ok(match recipe.scripts {
        Scripts::BuiltIn => true,
        Scripts::Programs => false,
        Scripts::Any if recipe.distro.family != Family::Deb => false, // nobody else has handlers
        Scripts::Any => matches!(Place::of(recipe).runner()?, Runner::BuiltIn(_)),
    })
}

/// Whether bytes can be read as a script by the shell that runs scripts where no program can: they
/// can or they cannot, nothing else happens.
pub fn is_script(bytes: &[u8]) -> bool {
    shell::can_be_read(bytes)
}

/// For which processor scripts are, who shall run them, and whether in a plain chroot.
#[derive(Debug, Clone, Copy)]
struct Place {
    architecture: Architecture,
    scripts: Scripts,
    plain_chroot: bool,
}

impl Place {
    fn of(recipe: &Recipe) -> Self {
        let Recipe { architecture, scripts, plain_chroot, .. } = *recipe;
        Self { architecture, scripts, plain_chroot }
    }

    fn runner(self) -> Result<Runner, Error> {
        match self.scripts {
            Scripts::BuiltIn => Ok(Runner::BuiltIn("built-in handlers were asked for".to_owned())),
            Scripts::Any | Scripts::Programs => foreign::runner(self.architecture),
        }
    }
}

fn configure_in(
    place: Place,
    unpacked: Unpacked,
    epoch: Epoch,
    store: &Store,
    listener: Listener<'_>,
) -> Result<Configured, Error> {
    let Place { scripts, plain_chroot, .. } = place;
    let Unpacked { tree, packages } = unpacked;
    let configuration: Box<dyn Configuration> = match packages {
        Installed::Deb(packages) => Box::new(deb::Debs::new(packages)?),
        Installed::Apk(packages) => Box::new(apk::Apks(packages)),
        Installed::Rpm(packages) => Box::new(rpm::Rpms(packages)),
    };
    // A plain chroot was asked for by name: programs run in it.
    if scripts == Scripts::Any && !plain_chroot && configuration.has_handlers() {
        let made = attempt::by_handlers(&tree, configuration.as_ref(), epoch, store, listener)?;
        if let Some(configured) = made {
            return Ok(configured);
        }
    }
    let runner = place.runner()?;
    let how = match &runner {
        Runner::BuiltIn(_) => BY_HANDLERS,
        _ if plain_chroot => "plain chroot\n",
        _ => "",
    };
    let key = key(&tree, configuration.as_ref(), epoch, how);
    if let Some(found) = find(store, &key, listener)? {
        return Ok(found);
    }
    if let Runner::BuiltIn(why) = &runner {
        let scripted = configuration.scripted();
        let handled = scripts == Scripts::BuiltIn && configuration.has_handlers();
        if !handled && !scripted.is_empty() {
            let scripts = scripted.join(", ");
            return Err(Error::Foreign { why: why.clone(), scripts });
        }
        if handled {
            listener(Event::note(format!("{why}: scripts are run by osbuilder's own handlers")));
        }
    }
    let plain = plain_chroot && !matches!(runner, Runner::BuiltIn(_));
    let folder = if plain { Some(chroot_folder(store, listener)?) } else { None };
    let walls = folder.as_ref().map_or(Walls::Namespaces, |folder| Walls::Chroot(folder.path()));
    let pack = store.new_pack()?;
    let (runner, went_on) = (&runner, &WentOn::default());
    let bench = Bench { store, pack: &pack, walls, runner, whole: false, went_on, epoch, listener };
    let tree = configuration.run(tree, &bench)?;
    keep(tree, key, (store, pack), went_on)
}

/// Keeps the contents of a configured tree in the cache; if it lasts, also for later builds to find.
fn keep(
    mut tree: Tree,
    key: Key,
    (store, pack): (&Store, PackWriter),
    went_on: &WentOn,
) -> Result<Configured, Error> {
    keep_inline(&mut tree, &pack)?;
    let listing = tree.to_listing();
    let lasts = went_on.lasts(store, &key.digest, &listing)?;
    let text = went_on.lines() + &listing;
    let name = if lasts { key.digest } else { Digest::of(text.as_bytes()) };
    pack.finish(&name)?;
    store.load_pack(&name)?;
    if lasts {
        store.put_record(RECORD, &key.digest, text.as_bytes())?;
    }
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
/// and the database being among them, the order, the epoch, who ran scripts, and where.
fn key(tree: &Tree, configuration: &dyn Configuration, epoch: Epoch, how: &str) -> Key {
    let mut text = format!("configured tree {VERSION}\nepoch {}\n{how}", epoch.seconds());
    for name in configuration.sequence() {
        text.push_str(name);
        text.push('\n');
    }
    text.push_str(&tree.to_listing());
    let by_handlers = how == BY_HANDLERS && !configuration.scripted().is_empty();
    Key { digest: Digest::of(text.as_bytes()), by_handlers }
}

/// Finds an earlier result. One that cannot be read whole does not count.
///
/// Files that no script has changed are in the packs of the packages, which the caller has loaded.
///
/// # Errors
/// [`Error::Store`], [`Error::Listing`].
pub fn find(store: &Store, key: &Key, listener: Listener<'_>) -> Result<Option<Configured>, Error> {
    let Some((configured, said)) = recall(store, key)? else { return Ok(None) };
    listener(Event::note("the scripts of these packages ran before; their result is used"));
    went_on::tell(said, listener);
    not_run::tell(&configured.tree, store, listener);
    Ok(Some(configured))
}

/// An earlier result, and what was said when it was made.
fn recall(store: &Store, key: &Key) -> Result<Option<(Configured, Vec<String>)>, Error> {
    let Some(text) = store.record(RECORD, &key.digest)? else { return Ok(None) };
    if !store.load_pack(&key.digest)? {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&text);
    let (said, listing) = went_on::split(&text);
    Ok(Some((Configured { tree: Tree::from_listing(listing)?, key: *key }, said)))
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
