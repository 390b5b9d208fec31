//! Builds guest images for Kata Containers: no root, no container, the same bytes everywhere.
//!
//! This page is the pipeline. Each stage is a function from one value to the next; the rooms below
//! hold one stage each. [`Workshop`] carries what is the same for all stages.

pub mod boot;
mod buffer;
pub mod checksum;
pub mod configure;
mod crew;
pub mod digest;
pub mod distro;
mod document;
pub mod epoch;
pub mod event;
pub mod fetch;
pub mod image;
pub mod inspect;
mod installed;
pub mod lock;
pub mod lua;
mod meant;
pub mod output;
pub mod package;
pub mod provision;
pub mod recipe;
mod relay;
pub mod resolve;
pub mod sandbox;
pub mod sbom;
pub mod selinux;
pub mod store;
pub mod sysusers;
#[cfg(test)]
mod testing;
pub mod tree;
pub mod unpack;
mod workshop;

pub use output::{check_guest, write_image, write_initrd, write_rootfs};
pub use workshop::{Error, Guest, HostFiles, Workshop};

use event::{Event, Stage};
use lock::Lock;
use recipe::Recipe;

/// Chooses packages: downloads and verifies the repositories' indexes, and solves. Where an index does
/// not name every byte of a package, the packages are brought too.
///
/// # Errors
/// [`Error::Indexes`], [`Error::Resolve`], [`Error::Packages`], [`Error::Configure`].
pub fn resolve(recipe: &Recipe, workshop: &Workshop<'_>) -> Result<Lock, Error> {
    let indexes = workshop.stage(Stage::Indexes, || {
        fetch::indexes(recipe, &workshop.fetching()).map_err(Error::Indexes)
    })?;
    let choice = choose(recipe, indexes, workshop)?;
    let lock = fetch::pin(choice, recipe, &workshop.fetching()).map_err(Error::Packages)?;
    // What a host cannot do must not show in the bytes without being written down.
    let is_built_in = configure::is_built_in(recipe).map_err(Error::Configure)?;
    let scripts = if is_built_in { lock::Runner::BuiltIn } else { lock.scripts };
    Ok(Lock { scripts, ..lock })
}

/// Solves. What fails for want of a file of which indexes do not say who has it is tried once more with
/// lists of all files, which are long.
fn choose(
    recipe: &Recipe,
    indexes: fetch::Indexes,
    workshop: &Workshop<'_>,
) -> Result<lock::Choice, Error> {
    let resolving = |error| Error::Resolve(Box::new(error));
    let solve = |indexes: &fetch::Indexes| {
        workshop.stage(Stage::Resolve, || resolve::resolve(recipe, indexes).map_err(resolving))
    };
    match solve(&indexes) {
        Err(Error::Resolve(error)) if matches!(*error, resolve::Error::Conflict(_)) => {
            let files = resolve::files_wanted(recipe, &indexes).map_err(resolving)?;
            if files.is_empty() {
                return Err(Error::Resolve(error));
            }
            let indexes = fetch::with_files(indexes, &files, recipe, &workshop.fetching());
            solve(&indexes.map_err(Error::Indexes)?)
        }
        choice => choice,
    }
}

/// Installs the packages of a lock: their tree, configured, as their distribution would have it.
/// Before anything is laid out, what the packages say of themselves must bear the lock out.
///
/// # Errors
/// [`Error::Packages`], [`Error::Unpack`], [`Error::Lock`], [`Error::Configure`].
pub fn install(recipe: &Recipe, lock: &Lock, workshop: &Workshop<'_>) -> Result<Guest, Error> {
    let recipe = &Recipe { scripts: resolve::as_locked(lock), ..recipe.clone() };
    let epoch = recipe.epoch.unwrap_or(lock.epoch);
    tell_of_missing_policy(recipe, lock, workshop);
    let (store, key) = (workshop.store, installed::key(lock, recipe, epoch));
    let known = installed::find(lock, &key, store, workshop.listener);
    if let Some(configured) = known.map_err(Error::Configure)? {
        return Ok(Guest::new(configured, epoch));
    }
    let unpacked = match fetch_and_unpack(recipe, lock, workshop) {
        Err(Error::Unpack(error)) if lacks_archives(lock, workshop)? => {
            let text = format!("{error}; what was damaged in the cache is fetched once more");
            (workshop.listener)(Event::warning(text));
            fetch_and_unpack(recipe, lock, workshop)?
        }
        outcome => outcome?,
    };
    let configured = workshop.stage(Stage::Configure, || {
        configure::configure(unpacked, recipe, epoch, store, workshop.listener)
            .and_then(|configured| installed::remember(store, &key, configured))
            .map_err(Error::Configure)
    });
    Ok(Guest::new(configured?, epoch))
}

/// Whether the policy that files shall be labelled by will be there shows when all is installed: it may
/// be made by a script. That no package is called like one is said before any work.
fn tell_of_missing_policy(recipe: &Recipe, lock: &Lock, workshop: &Workshop<'_>) {
    let is_policy = |name: &str| name.contains("selinux-policy") || name.contains("refpolicy");
    if recipe.image.selinux && !lock.packages.iter().any(|found| is_policy(found.name.as_str())) {
        let text = "files shall have SELinux labels, and no package is called selinux-policy: \
                    unless another one brings a policy, no image will be made";
        (workshop.listener)(Event::warning(text.to_owned()));
    }
}

fn fetch_and_unpack(
    recipe: &Recipe,
    lock: &Lock,
    workshop: &Workshop<'_>,
) -> Result<unpack::Unpacked, Error> {
    let packages = workshop.stage(Stage::Fetch, || {
        let ahead = unpack::Ahead::new(recipe, workshop.store);
        let arrived: fetch::Arrived<'_> = &|package, archive| ahead.open(package, archive);
        fetch::packages(lock, recipe, &workshop.fetching(), arrived).map_err(Error::Packages)
    })?;
    workshop.stage(Stage::Unpack, || {
        let opened = unpack::open(&packages, recipe, workshop.store, workshop.listener);
        let opened = opened.map_err(Error::Unpack)?;
        resolve::check_complete(lock, recipe, &opened.controls())
            .map_err(|error| Error::Lock(Box::new(error)))?;
        let epoch = recipe.epoch.unwrap_or(lock.epoch);
        unpack::unpack(opened, recipe, epoch).map_err(Error::Unpack)
    })
}

/// Whether the cache lacks archives that it had. All are read: damage seldom comes alone, and what
/// is damaged is put aside.
fn lacks_archives(lock: &Lock, workshop: &Workshop<'_>) -> Result<bool, Error> {
    let mut lacks = false;
    for package in &lock.packages {
        lacks |= workshop.store.object(&package.digest).map_err(Error::Store)?.is_none();
    }
    Ok(lacks)
}

/// Chooses packages and installs them: [`resolve()`], then [`install`]. An archive that has moved on
/// between its index and its packages is asked for its index once more; no package is left out.
///
/// # Errors
/// As [`resolve()`] and [`install`].
pub fn choose_and_install(
    recipe: &Recipe,
    workshop: &Workshop<'_>,
) -> Result<(Lock, Guest), Error> {
    let lock = resolve(recipe, workshop)?;
    match install(recipe, &lock, workshop) {
        Err(Error::Packages(error)) if error.is_out_of_step() => {
            (workshop.listener)(Event::note(format!("{error}; asking for the index once more")));
            let lock = resolve(recipe, workshop)?;
            install(recipe, &lock, workshop).map(|guest| (lock, guest))
        }
        outcome => outcome.map(|guest| (lock, guest)),
    }
}

/// Brings the files of the host that a recipe names into the store. Done first, it says before any
/// other work what cannot be used.
///
/// # Errors
/// [`Error::Input`], [`Error::Tarball`], [`Error::Unnamed`], [`Error::NoProbe`], [`Error::Store`].
pub fn host_files(recipe: &Recipe, workshop: &Workshop<'_>) -> Result<HostFiles, Error> {
    workshop.stage(Stage::Read, || workshop.host_files(recipe))
}

/// Makes installed packages a Kata guest.
///
/// # Errors
/// [`Error::Provision`].
pub fn provision(
    guest: Guest,
    files: &HostFiles,
    recipe: &Recipe,
    workshop: &Workshop<'_>,
) -> Result<Guest, Error> {
    workshop.stage(Stage::Provision, || files.provision(guest, recipe))
}

/// Installs Kata's parts into a tree that was not made from packages here.
///
/// # Errors
/// As [`provision()`].
pub fn provision_only(
    guest: Guest,
    contents: &dyn tree::Contents,
    files: &HostFiles,
    (recipe, workshop): (&Recipe, &Workshop<'_>),
) -> Result<Guest, Error> {
    workshop.stage(Stage::Provision, || files.provision_bare(guest, contents, recipe))
}

/// The files of a kernel package: of all that a recipe's packages bring, those whose names begin
/// with `linux-image-`. No script is run.
///
/// # Errors
/// [`Error::Indexes`], [`Error::Resolve`], [`Error::Packages`], [`Error::Unpack`].
pub fn kernel(recipe: &Recipe, workshop: &Workshop<'_>) -> Result<tree::Tree, Error> {
    let mut lock = resolve(recipe, workshop)?;
    lock.packages.retain(|package| package.name.as_str().starts_with("linux-image-"));
    let packages = workshop.stage(Stage::Fetch, || {
        fetch::packages(&lock, recipe, &workshop.fetching(), &|_, _| ()).map_err(Error::Packages)
    })?;
    let opened = unpack::open(&packages, recipe, workshop.store, workshop.listener);
    let unpacked = opened.and_then(|opened| unpack::unpack(opened, recipe, lock.epoch));
    Ok(unpacked.map_err(Error::Unpack)?.tree)
}
