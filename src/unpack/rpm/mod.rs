//! Lays rpm packages out as rpm's installing of all of them does in an empty root, without scripts.
//!
//! In: verified archives; out: the tree with rpm's database, and what configuring takes, in the order
//! of installing. Packages know owners by name; who has which number is known only while scripts run,
//! so until then root has everything.

mod fate;
mod load;
mod merge;
#[cfg(test)]
mod tests;

use std::io::{self, Read};

use super::{Error, Installed, Unpacked, load_all};
use crate::distro::DatabaseFormat;
use crate::epoch::Epoch;
use crate::event::{Event, Listener};
use crate::lock::LockedPackage;
use crate::package::PackageName;
use crate::package::rpm::database::{self, Format, Transaction};
use crate::package::rpm::files::File;
use crate::package::rpm::info::{self, Info};
use crate::package::rpm::order::order;
use crate::package::rpm::scripts::{self, Condition, Script, Triggers, Watched};
use crate::package::rpm::users::{self, Declarations};
use crate::recipe::Recipe;
use crate::store::Store;
use crate::tree::{Content, Inode, Kind, Meta, Tree, TreePath};
use fate::Fate;
use load::Rpm;

/// Packages in the order of installing them.
#[derive(Debug, Clone)]
pub struct Packages(Vec<Package>);

/// What configuring a package takes.
#[derive(Debug, Clone)]
pub struct Package {
    /// Its name.
    pub name: PackageName,
    /// Its scripts that run when it is installed.
    pub scripts: Vec<Script>,
    /// The users and groups that it declares, which are made before it is laid out.
    pub users: Vec<Declarations>,
    /// Its triggers: those that wait for packages, for a package's files, for a transaction's.
    pub triggers: [Triggers; 3],
    /// What its header lists, in that order.
    pub listed: Vec<Listed>,
    /// What its header says of it, as [`info::parse`] reads it.
    pub record: String,
    /// What it brings, in the order of its header.
    pub entries: Vec<Entry>,
}

/// A path that a package's header lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// As the header has it, with a leading slash.
    pub path: Box<[u8]>,
    /// Whether it counts as installed.
    pub is_there: bool,
    /// Permission bits.
    pub mode: u16,
}

impl Listed {
    /// The directory that it is in, with a final slash.
    pub fn folder(&self) -> &[u8] {
        let end = self.path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
        self.path.get(..end).unwrap_or_default()
    }
}

impl Package {
    /// Its triggers of one kind.
    pub const fn triggers(&self, watched: Watched) -> &Triggers {
        let [packages, files, all_files] = &self.triggers;
        match watched {
            Watched::Packages => packages,
            Watched::Files => files,
            Watched::AllFiles => all_files,
        }
    }

    /// Whether anything of it runs.
    pub fn has_scripts(&self) -> bool {
        let has_any = !self.scripts.is_empty() || !self.users.is_empty();
        has_any || self.triggers.iter().any(|all| !all.scripts.is_empty())
    }

    /// Whether it is what a trigger waits for, by what it provides.
    pub fn meets(&self, condition: &Condition) -> bool {
        let infos = info::parse(&self.record).unwrap_or_default();
        infos.first().is_some_and(|info| condition.is_met_by(&info.provides))
    }
}

/// A file or directory of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it is in the tree.
    pub place: TreePath,
    /// Whether it is a directory, which others may own too.
    pub is_directory: bool,
    /// Whether nobody brought it before.
    pub is_new: bool,
    /// The owner's name.
    pub user: Box<[u8]>,
    /// The group's name.
    pub group: Box<[u8]>,
    /// Permission bits.
    pub mode: u16,
}

impl Packages {
    /// The packages.
    pub fn as_slice(&self) -> &[Package] {
        &self.0
    }
}

/// rpm packages whose archives were read, in the order of the lock.
#[derive(Debug)]
pub struct Opened {
    rpms: Vec<(PackageName, Rpm)>,
}

impl Opened {
    /// Reads archives, each given with a way to open it.
    pub(super) fn open<R: Read>(
        archives: &[(&LockedPackage, impl Fn() -> io::Result<R> + Sync)],
        store: &Store,
        listener: Listener<'_>,
    ) -> Result<Self, Error> {
        let load = |locked: &LockedPackage, open: &_| {
            Ok((locked.name.clone(), load::load(locked, open, store)?))
        };
        Ok(Self { rpms: load_all(archives, load, listener)? })
    }

    /// The header of each package.
    pub(super) fn headers(&self) -> Vec<&[u8]> {
        self.rpms.iter().map(|(_, rpm)| rpm.head.header.as_bytes()).collect()
    }
}

/// Reads one archive into the store, where [`Opened::open`] will find it, or find the same error.
pub(super) fn open_ahead<R: Read>(
    package: &LockedPackage,
    archive: impl FnOnce() -> io::Result<R>,
    store: &Store,
) {
    drop(load::load(package, archive, store));
}

/// Says what will not be as with the distribution's own rpm.
pub(super) fn tell_of_database(recipe: &Recipe, listener: Listener<'_>) {
    if recipe.guest.keep_database && recipe.release.database_format == DatabaseFormat::Bdb {
        let text = "the packages' database is kept in SQLite: this distribution's own rpm has \
                    Berkeley DB, which is not written, and sees no package";
        listener(Event::warning(text));
    }
}

/// Lays packages out: see [`super::unpack`].
pub(super) fn unpack(opened: Opened, recipe: &Recipe, epoch: Epoch) -> Result<Unpacked, Error> {
    let Opened { rpms } = opened;
    let failed = |package: &PackageName, source: info::Error| Error::Package {
        package: package.clone(),
        source: source.into(),
    };
    let record = |(name, rpm): &(PackageName, Rpm)| {
        info::of_header(&rpm.head.header).map_err(|error| failed(name, error))
    };
    let records = rpms.iter().map(record).collect::<Result<Vec<_>, _>>()?;
    let mut infos: Vec<Info<'_>> = Vec::new();
    for ((name, _), record) in rpms.iter().zip(&records) {
        infos.extend(info::parse(record).map_err(|error| failed(name, error))?);
    }
    let all: Vec<_> = rpms.iter().map(|(_, rpm)| &rpm.head.header).zip(&infos).collect();
    let sequence = order(&all, COLOR);
    let rpms: Vec<&(PackageName, Rpm)> =
        sequence.iter().filter_map(|number| rpms.get(*number)).collect();
    let mtime = epoch.clamp(i64::MAX);
    let merged = merge::merge(&rpms, mtime)?;
    let (mut tree, entries, fates) = (merged.tree, merged.entries, merged.fates);
    write_database(&mut tree, &rpms, &fates, (recipe, epoch))?;
    let records = sequence.iter().filter_map(|number| records.get(*number));
    let packages = rpms.iter().zip(entries.into_iter().zip(&fates)).zip(records);
    let packages = packages.map(|(((name, rpm), (entries, fates)), record)| Package {
        name: name.clone(),
        scripts: scripts::scripts(&rpm.head.header),
        users: users::declarations(&rpm.head.header),
        triggers: [Watched::Packages, Watched::Files, Watched::AllFiles]
            .map(|watched| scripts::triggers(&rpm.head.header, watched)),
        listed: listed(rpm, fates),
        record: record.clone(),
        entries,
    });
    Ok(Unpacked { packages: Installed::Rpm(Packages(packages.collect())), tree })
}

/// What the header of a package lists.
fn listed(rpm: &Rpm, fates: &[Fate]) -> Vec<Listed> {
    let listed = |(file, fate): (&File, &Fate)| Listed {
        path: [b"/", file.path.as_bytes()].concat().into(),
        is_there: *fate != Fate::OtherColor,
        mode: file.mode,
    };
    rpm.files.iter().zip(fates).map(listed).collect()
}

/// Puts rpm's database into the tree.
fn write_database(
    tree: &mut Tree,
    rpms: &[&(PackageName, Rpm)],
    fates: &[Vec<Fate>],
    (recipe, epoch): (&Recipe, Epoch),
) -> Result<(), Error> {
    let states: Vec<Vec<u8>> =
        fates.iter().map(|fates| fates.iter().map(|fate| fate.state()).collect()).collect();
    let installed = rpms.iter().zip(&states).map(|((_, rpm), states)| database::Installed {
        signature: &rpm.head.signature,
        header: &rpm.head.header,
        states,
    });
    let time = u32::try_from(epoch.seconds()).unwrap_or(u32::MAX);
    let transaction = Transaction { time, color: COLOR };
    let installed: Vec<_> = installed.collect();
    let files = database::database(&installed, transaction, format(recipe));
    let mut files = files.map_err(|source| Error::Database(Box::new(source)))?;
    files.push((".rpm.lock", Vec::new()));
    let meta = |mode| Meta { mtime: epoch.clamp(i64::MAX), ..Meta::root(mode) };
    let folder = TreePath::parse(recipe.release.database.as_deref().unwrap_or(DATABASE))?;
    tree.make_directories(&folder, &meta(0o755))?;
    let folder = tree.resolve(&folder)?;
    for (name, bytes) in files {
        let kind = Kind::Regular(Content::Inline(bytes.into()));
        tree.insert(&folder.join(name)?, Inode { meta: meta(0o644), kind })?;
    }
    Ok(())
}

/// How the database is kept.
fn format(recipe: &Recipe) -> Format {
    match recipe.release.database_format {
        DatabaseFormat::Ndb => Format::Ndb,
        DatabaseFormat::Sqlite | DatabaseFormat::Bdb => Format::Sqlite,
    }
}

/// Where rpm has its database unless a distribution says otherwise.
const DATABASE: &str = "var/lib/rpm";

/// Which colours of files rpm takes: programs of 32 bits and of 64, on each of the processors that there
/// are guests for (`_transaction_color` in rpm's `installplatform`).
const COLOR: u32 = 3;
