//! From a layer to a recipe: names are checked, the distribution is found, defaults filled in.
//!
//! Each step notes its mistakes and goes on, so that one run finds all of them. What an image shall be
//! like and where packages come from have files of their own.

mod image;
mod sources;

use std::path::{Path, PathBuf};

use super::layer::{AgentAsked, AgentLayer, FileAsked, GuestLayer, Layer, Maybe, PackageLayer};
use super::mistake::{Given, Mistakes, Origin};
use super::{
    Agent, ExtraFile, Guest, Init, PackageSet, Policy, Recipe, Scripts, Surroundings, Variant,
};
use crate::distro::{Architecture, Distro, Family, FirstProcess, Release, Traits};
use crate::epoch::Epoch;
use crate::event::Event;
use crate::meant::{did_you_mean, nearest};
use crate::package::{Asked, BadName, PackageName};
use crate::tree::TreePath;

/// Has every architecture of Kata's matrix, updates and a security archive.
const DEFAULT_DISTRO: &str = "debian";

const DEFAULT_AGENT_NAME: &str = "kata-agent";

const DEFAULT_REPOSITORY: &str = "github.com/kata-containers/kata-containers";

const WAYS: &str = "give a ready binary (--agent PATH, or AGENT_SOURCE_BIN), a tarball \
     (--agent FILE.tar.zst, or AGENT_TARBALL), or --agent probe (AGENT=probe for make): the bundled \
     stand-in, which boots and answers health checks but runs no containers";

/// Completes a layer, or returns `None` after noting why not.
pub(super) fn complete(
    layer: Layer,
    surroundings: &Surroundings,
    mistakes: &mut Mistakes,
    remarks: &mut Vec<Event>,
) -> Option<Recipe> {
    let mut completer = Completer { mistakes, remarks };
    let place = completer.place(&layer, surroundings);
    let init = completer.init(layer.init, place.as_ref().map(|(distro, ..)| *distro));
    let scripts = completer.scripts(layer.scripts);
    let epoch = layer.epoch.and_then(|given| completer.parsed::<Epoch>(&given));
    let agent = completer.agent(layer.agent.from.as_ref(), surroundings);
    let guest = completer.guest(layer.guest, layer.agent);
    let initrd_compression = completer.initrd_compression(layer.initrd_compression);
    let extra_files =
        layer.extra_files.into_iter().filter_map(|f| completer.extra_file(f)).collect();
    let architecture = place.as_ref().map(|(_, _, architecture)| *architecture);
    let dax_header_asked = layer.image.dax_header.as_ref().is_some_and(|given| given.value);
    let image = completer.image(layer.image, architecture);
    let here = place.as_ref().map(|(distro, _, architecture)| (*distro, *architecture));
    let sources = completer.sources(layer.sources, here);
    let family = place.as_ref().map(|(distro, ..)| distro.family);
    let packages = completer.packages(layer.packages, family);
    let plain_chroot = layer.plain_chroot.is_some_and(|given| given.value);
    let ((distro, release, architecture), guest, mut packages) = (place?, guest?, packages?);
    if packages.base.is_empty() {
        let selinux = image.as_ref().is_some_and(|image| image.selinux);
        let (systemd, seccomp) = (init == Init::Systemd, guest.seccomp);
        let traits = Traits { systemd, seccomp, selinux };
        packages.base = default_packages(distro, architecture, traits);
    }
    Some(Recipe {
        distro: distro.clone(),
        release: release.clone(),
        architecture,
        init,
        scripts,
        packages,
        sources,
        plain_chroot,
        extra_files,
        agent: agent?,
        guest,
        image: image?,
        dax_header_asked,
        initrd_compression: initrd_compression?,
        epoch,
    })
}

struct Completer<'a> {
    mistakes: &'a mut Mistakes,
    remarks: &'a mut Vec<Event>,
}

type Place<'s> = (&'s Distro, &'s Release, Architecture);

impl Completer<'_> {
    /// Which distribution, release and architecture, if they exist together.
    fn place<'s>(&mut self, layer: &Layer, surroundings: &'s Surroundings) -> Option<Place<'s>> {
        let architecture = match &layer.architecture {
            Some(given) => self.parsed::<Architecture>(given),
            None => surroundings.host.or_else(|| {
                let message = "this machine's processor is no guest's; name one of x86_64, \
                               aarch64, ppc64le, s390x with --arch";
                self.mistakes.add(&Origin::Nowhere, message);
                None
            }),
        };
        let (name, origin) = worded(&layer.distro, DEFAULT_DISTRO);
        let distro = self.mistakes.check(origin, surroundings.distros.find(name))?;
        let (version, origin) = worded(&layer.version, &distro.default_release);
        let release = self.mistakes.check(origin, distro.release(version))?;
        let architecture = architecture?;
        if !release.architectures.contains(&architecture) {
            let origin = layer.architecture.as_ref().map_or(&Origin::Nowhere, |g| &g.origin);
            let (title, codename) = (&distro.title, &release.codename);
            self.mistakes.add(origin, format!("{title} {codename} has no {architecture} archive"));
            return None;
        }
        Some((distro, release, architecture))
    }

    /// What the recipe says, else what the distribution's guests usually start with.
    fn init(&mut self, given: Maybe<String>, distro: Option<&Distro>) -> Init {
        let choices = [
            ("systemd", Init::Systemd),
            ("openrc", Init::OpenRc),
            ("agent", Init::Agent),
            ("none", Init::None),
        ];
        let usual = match distro.map(|distro| distro.init) {
            Some(FirstProcess::Agent) => Init::Agent,
            Some(FirstProcess::Systemd) | None => Init::Systemd,
        };
        let Some(given) = given else { return usual };
        let init = self.one_of(&given, &choices).unwrap_or(usual);
        let Some(distro) = distro else { return init };
        let services = match distro.family {
            Family::Apk => Init::OpenRc,
            Family::Deb | Family::Rpm => Init::Systemd,
        };
        match (init, services) {
            // Kata's variable says only that it is not the agent.
            (Init::Systemd, Init::OpenRc) if matches!(given.origin, Origin::Variable(_)) => {
                services
            }
            (Init::Systemd, Init::OpenRc) => {
                let message =
                    format!("{} has no systemd; openrc or agent can be its init", distro.title);
                self.mistakes.add(&given.origin, message);
                init
            }
            (Init::OpenRc, Init::Systemd) => {
                let message =
                    format!("{} has no openrc; systemd or agent can be its init", distro.title);
                self.mistakes.add(&given.origin, message);
                init
            }
            _ => init,
        }
    }

    fn scripts(&mut self, given: Maybe<String>) -> Scripts {
        let choices = [
            ("any", Scripts::Any),
            ("programs", Scripts::Programs),
            ("built-in", Scripts::BuiltIn),
        ];
        given.and_then(|given| self.one_of(&given, &choices)).unwrap_or(Scripts::Any)
    }

    fn packages(&mut self, layer: PackageLayer, family: Option<Family>) -> Option<PackageSet> {
        let choices = [("required", Variant::Required), ("essential", Variant::Essential)];
        let variant = layer.variant.map(|given| self.one_of(&given, &choices));
        let extra = self.asked(&layer.extra, family);
        for given in &layer.exclude {
            if extra.iter().any(|asked| asked.name() == given.value) {
                let message = format!("{} is asked for and excluded", given.value);
                self.mistakes.add(&given.origin, message);
            }
        }
        Some(PackageSet {
            base: self.asked(&layer.base, family),
            extra,
            exclude: self.names(&layer.exclude),
            recommends: layer.recommends.is_some_and(|given| given.value),
            variant: variant.unwrap_or(Some(Variant::default()))?,
        })
    }

    /// What is asked for, sorted, each once. apk alone takes more than names; where the distribution
    /// is unknown, that is mistake enough.
    fn asked(&mut self, given: &[Given<String>], family: Option<Family>) -> Vec<Asked> {
        let mut all = Vec::new();
        for Given { value, origin } in given {
            let asked = value.parse().map_err(|error: BadName| error.to_string());
            let asked = asked.or_else(|message| match family {
                Some(Family::Deb | Family::Rpm) => Err(message),
                Some(Family::Apk) => Asked::in_world(value).map_err(|error| error.to_string()),
                None => Asked::in_world(value).map_err(|_| message),
            });
            match asked {
                Ok(asked) => all.push(asked),
                Err(message) => self.mistakes.add(origin, message),
            }
        }
        all.sort();
        all.dedup();
        all
    }

    /// The names, sorted, each once.
    fn names(&mut self, given: &[Given<String>]) -> Vec<PackageName> {
        let mut names: Vec<_> = given.iter().filter_map(|given| self.parsed(given)).collect();
        names.sort();
        names.dedup();
        names
    }

    fn agent(&mut self, from: Option<&Given<AgentAsked>>, around: &Surroundings) -> Option<Agent> {
        let not_built = |folder: &Path| {
            let folder = folder.display();
            format!(
                "building the agent from its source folder {folder} is not supported yet; {WAYS}"
            )
        };
        let (origin, message) = match (from.map(|given| &given.value), &around.agent_source) {
            (Some(AgentAsked::Binary(path)), _) => return Some(Agent::Binary(path.clone())),
            (Some(AgentAsked::Tarball(path)), _) => return Some(Agent::Tarball(path.clone())),
            (Some(AgentAsked::Probe), _) => return Some(Agent::Probe),
            (Some(AgentAsked::None), _) => return Some(Agent::None),
            (None, _) if around.without_agent => return Some(Agent::None),
            (Some(AgentAsked::Source(folder)), _) => (from.map(|g| &g.origin), not_built(folder)),
            (None, Some(folder)) => (None, not_built(folder)),
            (None, None) => (None, format!("no agent is given; {WAYS}")),
        };
        self.mistakes.add(origin.unwrap_or(&Origin::Nowhere), message);
        None
    }

    fn guest(&mut self, layer: GuestLayer, agent: AgentLayer) -> Option<Guest> {
        let name = agent.name.unwrap_or_else(|| nowhere(DEFAULT_AGENT_NAME.to_owned()));
        let clean = TreePath::parse(&name.value).is_ok_and(|path| path.names().count() == 1)
            && !name.value.contains('/');
        if !clean {
            self.mistakes.add(&name.origin, format!("{:?} is not a file name", name.value));
            return None;
        }
        Some(Guest {
            agent_name: name.value,
            seccomp: agent.seccomp.is_none_or(|given| given.value),
            policy: self.policy(agent.policy, agent.policy_file)?,
            confidential: self
                .confidential(layer.confidential, layer.confidential_tarball.as_ref()),
            prune: layer.prune.is_some_and(|given| given.value),
            keep_database: layer.keep_database.is_some_and(|given| given.value),
            kernel_modules: layer.kernel_modules.map(|given| given.value),
            hooks_tarball: layer.hooks_tarball.map(|given| given.value),
            pause_tarball: layer.pause_tarball.map(|given| given.value),
            confidential_tarball: layer.confidential_tarball.map(|given| given.value),
            osbuilder_version: layer.osbuilder_version.map(|given| given.value),
            agent_version: agent.version.map(|given| given.value),
            kata_repository: layer
                .kata_repository
                .map_or_else(|| DEFAULT_REPOSITORY.to_owned(), |given| given.value),
            distro_name: layer.distro_name.map(|given| given.value),
            check_init: layer.check_init.is_none_or(|given| given.value),
        })
    }

    fn policy(&mut self, wanted: Maybe<bool>, file: Maybe<PathBuf>) -> Option<Option<Policy>> {
        match (wanted.is_some_and(|given| given.value), file) {
            (false, Some(file)) => {
                let text = format!("{}no policy is wanted, so this file is not used", file.origin);
                self.remarks.push(Event::warning(text));
                Some(None)
            }
            (false, None) => Some(None),
            (true, None) => Some(Some(Policy::AllowAll)),
            (true, Some(file)) if file.value.file_name().is_none() => {
                let message = format!("{} is not a file", file.value.display());
                self.mistakes.add(&file.origin, message);
                None
            }
            (true, Some(file)) => Some(Some(Policy::File(file.value))),
        }
    }

    fn confidential(&mut self, wanted: Maybe<bool>, tarball: Option<&Given<PathBuf>>) -> bool {
        let wanted = wanted.is_some_and(|given| given.value);
        if let Some(tarball) = tarball
            && !wanted
        {
            let text =
                format!("{}the guest is confidential, because of this tarball", tarball.origin);
            self.remarks.push(Event::note(text));
        }
        wanted || tarball.is_some()
    }

    fn extra_file(&mut self, given: Given<FileAsked>) -> Option<ExtraFile> {
        let path = TreePath::parse(&given.value.destination);
        let mut destination = self.mistakes.check(&given.origin, path)?;
        if given.value.destination.ends_with('/')
            && let Some(name) = given.value.source.file_name()
        {
            let below = destination.join(name.as_encoded_bytes());
            destination = self.mistakes.check(&given.origin, below)?;
        }
        Some(ExtraFile { source: given.value.source, destination })
    }

    fn parsed<T: std::str::FromStr>(&mut self, given: &Given<String>) -> Option<T>
    where
        T::Err: std::fmt::Display,
    {
        self.mistakes.check(&given.origin, given.value.parse())
    }

    fn one_of<T: Copy>(&mut self, given: &Given<String>, choices: &[(&str, T)]) -> Option<T> {
        let found = choices.iter().find(|(name, _)| *name == given.value);
        found.map(|(_, value)| *value).or_else(|| {
            let names = || choices.iter().map(|(name, _)| *name);
            let meant = did_you_mean(nearest(&given.value, names()));
            let names: Vec<_> = names().collect();
            let message = format!("{:?} is not {}{meant}", given.value, names.join(" or "));
            self.mistakes.add(&given.origin, message);
            None
        })
    }
}

fn default_packages(distro: &Distro, architecture: Architecture, traits: Traits) -> Vec<Asked> {
    let names = distro.packages.names(architecture, traits);
    names.iter().map(|name| name.parse().expect("a test reads every data file")).collect()
}

fn nowhere<T>(value: T) -> Given<T> {
    Given::new(value, Origin::Nowhere)
}

fn worded<'a>(given: &'a Maybe<String>, default: &'a str) -> (&'a str, &'a Origin) {
    given.as_ref().map_or((default, &Origin::Nowhere), |given| (&given.value, &given.origin))
}
