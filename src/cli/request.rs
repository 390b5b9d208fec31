//! From what was typed, the recipe file and the environment to a `Recipe`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use osbuilder::distro::Architecture;
use osbuilder::recipe::{
    self, KernelConfiguration, Options, Reading, RecipeFile, Request, Surroundings,
};

use super::arguments::{BuildArguments, Form, ImageLook, InitName, ScriptsName};
use super::{Failure, Kind, Session};

/// What a verb adds to the options that all forms share.
#[derive(Debug, Default)]
pub(super) struct Extra {
    /// Options of images.
    pub(super) image: ImageLook,
    /// How an initrd is to be compressed.
    pub(super) initrd_compression: Option<String>,
    /// The configuration of the kernel that is to read this form.
    pub(super) kernel: Option<(PathBuf, Form)>,
    /// The verb makes no guest, so that it needs no agent.
    pub(super) without_agent: bool,
}

/// Reads a recipe from options alone: Kata's variables describe the guest, not this.
pub(super) fn read_plain(
    arguments: &BuildArguments,
    session: &Session,
) -> Result<Reading, Failure> {
    let extra = Extra { without_agent: true, ..Extra::default() };
    from(arguments, &extra, None, &BTreeMap::new(), session)
}

/// Reads the recipe, tells what is worth telling, and returns it.
pub(super) fn read(
    arguments: &BuildArguments,
    extra: &Extra,
    session: &Session,
) -> Result<Reading, Failure> {
    let text = match &arguments.recipe {
        None => None,
        Some(path) => {
            let text = fs_err::read_to_string(path);
            Some(text.map_err(|error| Failure::new(Kind::Request, error))?)
        }
    };
    let path = arguments.recipe.as_deref().unwrap_or(Path::new(""));
    let file = text.as_deref().map(|text| RecipeFile { path, text });
    from(arguments, extra, file, session.environment.variables(), session)
}

fn from(
    arguments: &BuildArguments,
    extra: &Extra,
    file: Option<RecipeFile<'_>>,
    environment: &BTreeMap<String, String>,
    session: &Session,
) -> Result<Reading, Failure> {
    let source = Path::new("../../src/agent");
    let surroundings = Surroundings {
        distros: session.catalogue()?,
        host: Architecture::host(),
        agent_source: source.is_dir().then(|| source.to_owned()),
        without_agent: extra.without_agent,
    };
    let options = &options(arguments, extra);
    let request = Request { file, environment, options, surroundings: &surroundings };
    let reading =
        recipe::read(request).map_err(|mistakes| Failure::new(Kind::Request, mistakes))?;
    reading.remarks.iter().for_each(|remark| session.show.hear(remark));
    match &extra.kernel {
        Some((path, form)) => check_kernel(path, *form, &reading).map(|()| reading),
        None => Ok(reading),
    }
}

/// Refuses what a kernel with this configuration could not read.
fn check_kernel(path: &Path, form: Form, reading: &Reading) -> Result<(), Failure> {
    let text = fs_err::read_to_string(path).map_err(|error| Failure::new(Kind::Request, error))?;
    let Some(kernel) = KernelConfiguration::parse(&text) else {
        let message = format!("{} is no configuration of a kernel", path.display());
        return Err(Failure::new(Kind::Request, message));
    };
    let refused = match form {
        Form::Rootfs => Vec::new(),
        Form::Image => kernel.refuses_image(&reading.recipe.image),
        Form::Initrd => kernel.refuses_initrd(reading.recipe.initrd_compression),
    };
    match refused.as_slice() {
        [] => Ok(()),
        refused => Err(Failure::new(Kind::Request, refused.join("\n"))),
    }
}

fn options(arguments: &BuildArguments, extra: &Extra) -> Options {
    let init = arguments.init.map(|init| match init {
        InitName::Systemd => "systemd".to_owned(),
        InitName::Openrc => "openrc".to_owned(),
        InitName::Agent => "agent".to_owned(),
        InitName::None => "none".to_owned(),
    });
    let scripts = arguments.scripts.map(|scripts| match scripts {
        ScriptsName::Any => "any".to_owned(),
        ScriptsName::Programs => "programs".to_owned(),
        ScriptsName::BuiltIn => "built-in".to_owned(),
    });
    Options {
        distro: arguments.distro.clone(),
        version: arguments.version.clone(),
        architecture: arguments.arch.clone(),
        packages: arguments.package.clone(),
        exclude: arguments.exclude.clone(),
        extra_files: arguments.extra_file.clone(),
        mirrors: arguments.mirror.clone(),
        repositories: arguments.repository.clone(),
        keys: arguments.key.clone(),
        suites: arguments.suite.clone(),
        components: arguments.component.clone(),
        insecure: arguments.insecure.then_some(true),
        plain_chroot: arguments.plain_chroot.then_some(true),
        agent: arguments.agent.clone(),
        agent_version: arguments.agent_version.clone(),
        init,
        scripts,
        epoch: arguments.epoch.clone(),
        rootfs_only: arguments.rootfs_only,
        check_init: arguments.any_tree.then_some(false),
        prune: arguments.prune.then_some(true),
        keep_database: arguments.keep_database.then_some(true),
        osbuilder_version: arguments.osbuilder_version.clone(),
        initrd_compression: extra.initrd_compression.clone(),
        file_system: extra.image.file_system.clone(),
        free_space_mib: extra.image.free_space,
        compression: extra.image.compression.clone(),
        measured: extra.image.measured.then_some(true),
        variant: extra.image.variant.clone(),
        salt: extra.image.salt.clone(),
        verity_superblock: extra.image.verity_superblock.then_some(true),
        partition_table: extra.image.partition_table.clone(),
        selinux: extra.image.selinux.then_some(true),
        root_hash_key: extra.image.root_hash_key.clone(),
        root_hash_certificate: extra.image.root_hash_certificate.clone(),
    }
}
