//! `osbuilder rootfs`, `image`, `initrd`, `build` and `lock`: from a recipe to an output.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use osbuilder::digest::Digest;
use osbuilder::epoch::Epoch;
use osbuilder::event::{Event, Stage};
use osbuilder::image::verity::Signer;
use osbuilder::output::{Source, Written};
use osbuilder::recipe::{Reading, Recipe};
use osbuilder::store::directory::{self, DirectoryContents};
use osbuilder::tree::{Contents, Layered};
use osbuilder::{Guest, Workshop};

use super::arguments::{
    BuildArguments, Form, ImageArguments, ImageLook, InitrdArguments, RecipeArguments,
    RootfsArguments,
};
use super::request::{self, Extra};
use super::sbom::{Bills, Wanted};
use super::site::Site;
use super::{Failure, Kind, Session, locking, place, report};

/// The names that Kata's make targets give to outputs.
const IMAGE: &str = "kata-containers.img";
const INITRD: &str = "kata-containers-initrd.img";

/// `osbuilder rootfs`.
pub(super) fn rootfs(arguments: &RootfsArguments, session: &Session) -> Result<ExitCode, Failure> {
    match (arguments.provision_only, &arguments.build.output) {
        (true, Some(directory)) => provision(directory, &arguments.build, session),
        _ => run(Form::Rootfs, &arguments.build, &Extra::default(), session),
    }
}

/// Puts Kata's parts into a directory that is there already.
fn provision(
    directory: &Path,
    arguments: &BuildArguments,
    session: &Session,
) -> Result<ExitCode, Failure> {
    let site = Site::open(request::read(arguments, &Extra::default(), session)?, session)?;
    let workshop = site.workshop(true);
    let target = Target { form: Form::Rootfs, path: directory.to_owned(), signer: None };
    target.check(&arguments.sbom, None)?;
    let files = osbuilder::host_files(site.recipe(), &workshop).map_err(Failure::from)?;
    let (guest, contents) = directory_as_guest(directory, site.recipe(), &workshop)?;
    let bills = Bills::look(&arguments.sbom, &guest, &contents, None)?;
    let contents = Layered(&[&contents, &site.store]);
    let what = (site.recipe(), &workshop);
    let guest = osbuilder::provision_only(guest, &contents, &files, what).map_err(Failure::from)?;
    let written = write((&target, bills), &guest, &contents, (&site, &workshop))?;
    report::built(&written, None, site.took(), session);
    Ok(ExitCode::SUCCESS)
}

/// Reads a directory. Its newest file is its epoch, unless the recipe names one.
fn directory_as_guest(
    directory: &Path,
    recipe: &Recipe,
    workshop: &Workshop<'_>,
) -> Result<(Guest, DirectoryContents), Failure> {
    let (tree, contents) = workshop
        .stage(Stage::Read, || directory::read(directory, workshop.threads))
        .map_err(|error| Failure::new(Kind::Request, error))?;
    let newest = tree.walk().map(|(_, _, inode)| inode.meta.mtime).max().unwrap_or_default();
    let newest = u64::try_from(newest).ok().and_then(Epoch::new);
    let epoch = recipe.epoch.or(newest).unwrap_or_default();
    Ok((Guest { tree, epoch, by_handlers: false }, contents))
}

/// `osbuilder image`.
pub(super) fn image(arguments: &ImageArguments, session: &Session) -> Result<ExitCode, Failure> {
    let extra = Extra {
        image: with_salt(arguments.look.clone())?,
        kernel: arguments.kernel_config.clone().map(|path| (path, Form::Image)),
        without_agent: arguments.rootfs.is_some(),
        ..Extra::default()
    };
    match &arguments.rootfs {
        Some(rootfs) => pack(Form::Image, rootfs, &arguments.build, &extra, session),
        None => run(Form::Image, &arguments.build, &extra, session),
    }
}

/// Makes the salt that `random` asks for: below the command line nothing is random.
fn with_salt(mut look: ImageLook) -> Result<ImageLook, Failure> {
    if look.salt.as_deref() == Some("random") {
        let mut bytes = [0_u8; 32];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
            .map_err(|error| Failure::new(Kind::Host, std::io::Error::from(error)))?;
        look.salt = Some(Digest::from_bytes(bytes).to_string());
    }
    Ok(look)
}

/// `osbuilder initrd`.
pub(super) fn initrd(arguments: &InitrdArguments, session: &Session) -> Result<ExitCode, Failure> {
    let extra = Extra {
        initrd_compression: arguments.compression.clone(),
        kernel: arguments.kernel_config.clone().map(|path| (path, Form::Initrd)),
        without_agent: arguments.rootfs.is_some(),
        ..Extra::default()
    };
    match &arguments.rootfs {
        Some(rootfs) => pack(Form::Initrd, rootfs, &arguments.build, &extra, session),
        None => run(Form::Initrd, &arguments.build, &extra, session),
    }
}

/// `osbuilder build`.
pub(super) fn recipe(arguments: &RecipeArguments, session: &Session) -> Result<ExitCode, Failure> {
    let build = BuildArguments {
        recipe: Some(arguments.recipe.clone()),
        lock: arguments.lock.clone(),
        locked: arguments.locked,
        offline: arguments.offline,
        output: arguments.output.clone(),
        sbom: arguments.sbom.clone(),
        ..BuildArguments::default()
    };
    run(arguments.form, &build, &Extra::default(), session)
}

/// `osbuilder lock`.
pub(super) fn lock(arguments: &BuildArguments, session: &Session) -> Result<ExitCode, Failure> {
    let extra = Extra { without_agent: true, ..Extra::default() };
    let site = Site::open(request::read(arguments, &extra, session)?, session)?;
    let path = (arguments.lock.clone().or_else(|| arguments.output.clone()))
        .unwrap_or_else(|| PathBuf::from(locking::FILE_NAME));
    let workshop = site.workshop(arguments.offline);
    let lock = osbuilder::resolve(site.recipe(), &workshop).map_err(Failure::from)?;
    locking::write(&lock, &path, session)?;
    report::locked(&lock, &path, session);
    Ok(ExitCode::SUCCESS)
}

/// Builds a guest from packages and writes it in one form.
fn run(
    form: Form,
    arguments: &BuildArguments,
    extra: &Extra,
    session: &Session,
) -> Result<ExitCode, Failure> {
    let site = Site::open(request::read(arguments, extra, session)?, session)?;
    let target = Target::choose(form, arguments, &site.reading)?;
    let mut workshop = site.workshop(arguments.offline);
    let lock_path = arguments.lock.clone().unwrap_or_else(|| locking::beside(&target.path));
    target.check(&arguments.sbom, Some(&lock_path))?;
    let followed = locking::read(&lock_path, arguments, site.recipe(), session)?;
    workshop.followed = followed.as_ref();
    if followed.is_none() {
        place::check(&lock_path)?;
    }
    let files = osbuilder::host_files(site.recipe(), &workshop).map_err(Failure::from)?;
    let installed = match &followed {
        Some(lock) => {
            osbuilder::install(site.recipe(), lock, &workshop).map(|guest| (lock.clone(), guest))
        }
        None => osbuilder::choose_and_install(site.recipe(), &workshop),
    };
    let (lock, guest) = installed.map_err(Failure::from)?;
    let bills = Bills::look(&arguments.sbom, &guest, &site.store, Some(&lock))?;
    let guest =
        osbuilder::provision(guest, &files, site.recipe(), &workshop).map_err(Failure::from)?;
    let written = write((&target, bills), &guest, &site.store, (&site, &workshop))?;
    if followed.is_none() {
        locking::write(&lock, &lock_path, session)?;
    }
    report::built(&written, Some((&lock, &lock_path)), site.took(), session);
    Ok(ExitCode::SUCCESS)
}

/// Packs a directory that is there already.
fn pack(
    form: Form,
    rootfs: &Path,
    arguments: &BuildArguments,
    extra: &Extra,
    session: &Session,
) -> Result<ExitCode, Failure> {
    let site = Site::open(request::read(arguments, extra, session)?, session)?;
    let target = Target::choose(form, arguments, &site.reading)?;
    target.check(&arguments.sbom, None)?;
    let workshop = site.workshop(true);
    let (guest, contents) = directory_as_guest(rootfs, site.recipe(), &workshop)?;
    let bills = Bills::look(&arguments.sbom, &guest, &contents, None)?;
    let written = write((&target, bills), &guest, &contents, (&site, &workshop))?;
    report::built(&written, None, site.took(), session);
    Ok(ExitCode::SUCCESS)
}

fn write(
    (target, bills): (&Target, Bills<'_>),
    guest: &Guest,
    contents: &dyn Contents,
    (site, workshop): (&Site<'_>, &Workshop<'_>),
) -> Result<Written, Failure> {
    let recipe = site.recipe();
    let source = Source { tree: &guest.tree, contents, epoch: guest.epoch };
    let path = &target.path;
    if target.form == Form::Initrd && recipe.image.verity.is_some() {
        let text = "an initrd has no hash tree: MEASURED_ROOTFS has no effect on it";
        (workshop.listener)(Event::warning(text.to_owned()));
    }
    if target.form == Form::Initrd && recipe.image.selinux {
        let text = "an initrd cannot hold SELinux labels: the guest's init would have to give them";
        (workshop.listener)(Event::warning(text.to_owned()));
    }
    if target.form != Form::Rootfs {
        osbuilder::check_guest(source, recipe, workshop).map_err(Failure::from)?;
    }
    let written = match target.form {
        Form::Rootfs => osbuilder::write_rootfs(source, path, workshop),
        Form::Image => {
            let options = osbuilder::output::image_options(source.tree, recipe);
            let how = (options.as_ref(), target.signer.as_ref());
            osbuilder::write_image(source, how, path, workshop)
        }
        Form::Initrd => {
            let how = (recipe.init, recipe.initrd_compression);
            osbuilder::write_initrd(source, how, path, workshop)
        }
    };
    let written = written.map_err(|error| osbuilder::output::with_room(error, source, path))?;
    bills.write((&written, target.form), guest, recipe, site.session)?;
    Ok(written)
}

/// What is written, and where.
struct Target {
    form: Form,
    path: PathBuf,
    /// What the root hash is signed with.
    signer: Option<Signer>,
}

impl Target {
    /// The option wins over Kata's variables, and those over the names of Kata's make targets.
    /// Keys are read at once: what cannot sign is said before any work.
    fn choose(form: Form, arguments: &BuildArguments, reading: &Reading) -> Result<Self, Failure> {
        let (named, usual) = match form {
            Form::Rootfs => {
                (&reading.destinations.rootfs, format!("{}_rootfs", reading.recipe.distro.name))
            }
            Form::Image => (&reading.destinations.image, IMAGE.to_owned()),
            Form::Initrd => (&reading.destinations.initrd, INITRD.to_owned()),
        };
        let path = arguments.output.clone().or_else(|| named.clone());
        let signer = match form {
            Form::Image => osbuilder::output::signer(&reading.recipe.image),
            Form::Rootfs | Form::Initrd => Ok(None),
        };
        let signer = signer.map_err(Failure::from)?;
        Ok(Self { form, path: path.unwrap_or_else(|| usual.into()), signer })
    }

    /// Refuses places where nothing can be written, and one place for two outputs, before any work.
    fn check(&self, bills: &[Wanted], lock: Option<&Path>) -> Result<(), Failure> {
        match self.form {
            Form::Rootfs => place::check_directory(&self.path)?,
            Form::Image | Form::Initrd => place::check(&self.path)?,
        }
        bills.iter().try_for_each(|wanted| place::check(wanted.path()))?;
        let bills = bills.iter().map(Wanted::path);
        place::check_apart([self.path.as_path()].into_iter().chain(lock).chain(bills))
    }
}
