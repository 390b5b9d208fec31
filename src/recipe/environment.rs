//! Kata's environment variables as a layer.
//!
//! A function of a map: nothing here asks the process for its environment. Every variable that
//! Kata's `rootfs.sh`, `image_builder.sh` and `initrd_builder.sh` (releases 1.x to 4.x) read is
//! known here: most are values of the layer, some are refused because what they ask for cannot be
//! done yet, the rest are named in a warning because they have no effect. An empty variable counts
//! as unset, as in Kata's scripts.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::layer::{
    AgentAsked, AgentLayer, GuestLayer, ImageLayer, Layer, Maybe, PackageLayer, SourceLayer,
};
use super::mistake::{Given, Mistakes, Origin};
use crate::event::Event;

/// Where Kata's variables want the outputs; options win over them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Destinations {
    /// The rootfs directory (`ROOTFS_DIR`).
    pub rootfs: Option<PathBuf>,
    /// The image (`IMAGE`).
    pub image: Option<PathBuf>,
    /// The initrd (`INITRD_IMAGE`).
    pub initrd: Option<PathBuf>,
}

/// What the environment says.
#[derive(Debug, Clone, Default)]
pub(super) struct Environment {
    pub(super) layer: Layer,
    pub(super) destinations: Destinations,
    pub(super) remarks: Vec<Event>,
}

/// Variables whose values this room uses.
const READ: [&str; 38] = [
    "AGENT_BIN",
    "AGENT_INIT",
    "AGENT_POLICY",
    "AGENT_POLICY_FILE",
    "AGENT_SOURCE_BIN",
    "AGENT_TARBALL",
    "AGENT_VERSION",
    "ARCH",
    "BLOCK_SIZE",
    "BUILD_VARIANT",
    "COCO_GUEST_COMPONENTS_TARBALL",
    "CONFIDENTIAL_GUEST",
    "EXTRA_PKGS",
    "FS_TYPE",
    "GUEST_HOOKS_TARBALL",
    "IMAGE",
    "IMAGE_SIZE_ALIGNMENT_MB",
    "INITRD_IMAGE",
    "KATA_REPO",
    "KERNEL_MODULES_DIR",
    "MEASURED_ROOTFS",
    "NVIDIA_GPU_STACK",
    "OSBUILDER_PLAIN_CHROOT",
    "OSBUILDER_VERSION",
    "OS_NAME",
    "OS_VERSION",
    "PAUSE_IMAGE_TARBALL",
    "REPO_COMPONENTS",
    "REPO_URL",
    "REPO_URL_X86_64",
    "ROOTFS_DIR",
    "ROOTFS_ONLY",
    "ROOT_FREE_SPACE",
    "SECCOMP",
    "SELINUX",
    "SKIP_DAX_HEADER",
    "SKIP_ROOTFS_CHECK",
    "SOURCE_DATE_EPOCH",
];

/// Variables that are somebody else's business, or make's, or that only say what is so anyway.
const ELSEWHERE: [&str; 18] = [
    "AGENT",
    "BUILD_METHOD",
    "DEBUG",
    "DISTRO",
    "GOPATH",
    "GROUP",
    "IMAGES_BUILD_DEST",
    "INSTALL_IN_GOPATH",
    "OSBUILDER_DIR",
    "OSBUILDER_USE_CHRONIC",
    "ROOTFS_BUILD_DEST",
    "ROOTFS_MARKER_SUFFIX",
    "TARGET_IMAGE",
    "TARGET_INITRD",
    "TARGET_ROOTFS",
    "TARGET_ROOTFS_MARKER",
    "USE_DOCKER",
    "USE_PODMAN",
];

/// Variables of today's Kata that have no effect here, and why.
const WITHOUT_EFFECT: [(&str, &str); 18] = [
    ("AGENT_PATH", "it is for dracut, which is not used; AGENT_SOURCE_BIN names a ready agent"),
    ("DISTRO_REPO", "it is for RPM distributions"),
    ("DNF_CONF", "it is for RPM distributions"),
    ("DOCKER_RUNTIME", "no container is needed"),
    ("DRACUT_CONF_DIR", NO_DRACUT),
    ("DRACUT_DIR", NO_DRACUT),
    ("DRACUT_KMODULES", NO_DRACUT),
    ("DRACUT_KVERSION", NO_DRACUT),
    ("DRACUT_OPTIONS", NO_DRACUT),
    ("DRACUT_OVERLAY_DIR", NO_DRACUT),
    ("GRACEFUL_EXIT", "no distribution here may fail"),
    ("IMAGE_REGISTRY", "no container is needed"),
    ("INSIDE_CONTAINER", "no container is needed"),
    ("KBUILD_SIGN_PIN", "no kernel module is built here"),
    ("LIBC", "the agent is not built here"),
    ("NSDAX_BIN", "the NVDIMM header is written without a tool"),
    ("NVIDIA_GPU_EXTENSION_CONTAINER", "no container is needed"),
    ("PKG_MANAGER", "no package manager of the host is used"),
];

const NO_DRACUT: &str = "dracut is not used";

/// Variables that Kata 1.x read.
const OBSOLETE: [&str; 14] = [
    "CMAKE_VERSION",
    "GO_AGENT_PKG",
    "GO_VERSION",
    "KATA_BRANCH",
    "LOG_FILE",
    "MUSL_VERSION",
    "OS_DISTRO",
    "PACKAGE_MANAGER",
    "REPO_DOMAIN",
    "REPO_TRANSPORT",
    "RUST_AGENT",
    "RUST_AGENT_PKG",
    "RUST_VERSION",
    "branch",
];

/// Reads the environment.
pub(super) fn read(variables: &BTreeMap<String, String>, mistakes: &mut Mistakes) -> Environment {
    let mut reader = Reader { variables, mistakes };
    reader.refuse_unsupported();
    Environment {
        layer: reader.layer(),
        destinations: reader.destinations(),
        remarks: reader.remarks(),
    }
}

struct Reader<'a> {
    variables: &'a BTreeMap<String, String>,
    mistakes: &'a mut Mistakes,
}

impl Reader<'_> {
    fn layer(&mut self) -> Layer {
        Layer {
            version: self.text("OS_VERSION"),
            architecture: self.text("ARCH"),
            init: self.yes_or_no("AGENT_INIT").map(|given| {
                let init = if given.value { "agent" } else { "systemd" };
                Given::new(init.to_owned(), given.origin)
            }),
            epoch: self.text("SOURCE_DATE_EPOCH"),
            packages: PackageLayer { extra: self.words("EXTRA_PKGS"), ..PackageLayer::default() },
            sources: SourceLayer {
                mirrors: self.words("REPO_URL"),
                mirrors_x86_64: self.words("REPO_URL_X86_64"),
                components: self.words("REPO_COMPONENTS"),
                ..SourceLayer::default()
            },
            plain_chroot: self.yes_or_no("OSBUILDER_PLAIN_CHROOT"),
            agent: self.agent(),
            guest: self.guest(),
            image: self.image(),
            ..Layer::default()
        }
    }

    fn agent(&mut self) -> AgentLayer {
        AgentLayer {
            from: self.agent_from(),
            name: self.text("AGENT_BIN"),
            version: self.text("AGENT_VERSION"),
            seccomp: self.yes_or_no("SECCOMP"),
            policy: self.yes_or_no("AGENT_POLICY"),
            policy_file: self.path("AGENT_POLICY_FILE"),
        }
    }

    fn agent_from(&mut self) -> Maybe<AgentAsked> {
        let nothing = self.yes_or_no("ROOTFS_ONLY").filter(|given| given.value);
        let binary = self.path("AGENT_SOURCE_BIN");
        let tarball = self.path("AGENT_TARBALL");
        match (nothing, binary, tarball) {
            (Some(only), ..) => Some(Given::new(AgentAsked::None, only.origin)),
            (None, Some(_), Some(tarball)) => {
                let message = "AGENT_SOURCE_BIN is set as well; only one agent can be installed";
                self.mistakes.add(&tarball.origin, message);
                None
            }
            (None, Some(binary), None) => {
                Some(Given::new(AgentAsked::Binary(binary.value), binary.origin))
            }
            (None, None, Some(tarball)) => {
                Some(Given::new(AgentAsked::Tarball(tarball.value), tarball.origin))
            }
            (None, None, None) => None,
        }
    }

    fn guest(&mut self) -> GuestLayer {
        GuestLayer {
            confidential: self.yes_or_no("CONFIDENTIAL_GUEST"),
            check_init: self.yes_or_no("SKIP_ROOTFS_CHECK").map(inverted),
            kernel_modules: self.path("KERNEL_MODULES_DIR"),
            hooks_tarball: self.path("GUEST_HOOKS_TARBALL"),
            pause_tarball: self.path("PAUSE_IMAGE_TARBALL"),
            confidential_tarball: self.path("COCO_GUEST_COMPONENTS_TARBALL"),
            osbuilder_version: self.text("OSBUILDER_VERSION"),
            kata_repository: self.text("KATA_REPO"),
            distro_name: self.text("OS_NAME"),
            ..GuestLayer::default()
        }
    }

    fn image(&mut self) -> ImageLayer {
        ImageLayer {
            file_system: self.text("FS_TYPE"),
            block_size: self.number("BLOCK_SIZE"),
            free_space_mib: self.number("ROOT_FREE_SPACE"),
            alignment_mib: self.number("IMAGE_SIZE_ALIGNMENT_MB"),
            dax_header: self.yes_or_no("SKIP_DAX_HEADER").map(inverted),
            measured: self.yes_or_no("MEASURED_ROOTFS"),
            variant: self.text("BUILD_VARIANT"),
            selinux: self.yes_or_no("SELINUX"),
            ..ImageLayer::default()
        }
    }

    fn destinations(&self) -> Destinations {
        let path = |name| self.get(name).map(PathBuf::from);
        Destinations {
            rootfs: path("ROOTFS_DIR"),
            image: path("IMAGE"),
            initrd: path("INITRD_IMAGE"),
        }
    }

    /// What was asked for but cannot be done is an error: a guest that silently lacks its driver is
    /// worse than none.
    fn refuse_unsupported(&mut self) {
        if self.get("NVIDIA_GPU_STACK").is_some() {
            let message = "NVIDIA guests are not supported yet";
            self.mistakes.add(&variable("NVIDIA_GPU_STACK"), message);
        }
        let variant = self.get("BUILD_VARIANT").unwrap_or_default();
        if variant == "nvidia" || variant.starts_with("nvidia-") {
            let message = format!("the variant {variant:?} is not supported yet");
            self.mistakes.add(&variable("BUILD_VARIANT"), message);
        }
    }

    fn remarks(&self) -> Vec<Event> {
        let mut remarks = Vec::new();
        for name in ["USE_DOCKER", "USE_PODMAN"] {
            let off = |value: &str| matches!(value, "no" | "false" | "0");
            if self.get(name).is_some_and(|value| !off(value)) {
                remarks.push(Event::note(format!("{name}: no container is needed, none is used")));
            }
        }
        for (name, reason) in WITHOUT_EFFECT {
            if self.get(name).is_some() {
                remarks.push(Event::warning(format!("{name} has no effect: {reason}")));
            }
        }
        let set = |name: &&str| self.get(name).is_some();
        let obsolete: Vec<&str> = OBSOLETE.into_iter().filter(set).collect();
        if !obsolete.is_empty() {
            let names = obsolete.join(", ");
            remarks.push(Event::warning(format!("variables of Kata 1 without effect: {names}")));
        }
        let unknown = self.variables.keys().filter_map(|name| Some((name, slip_of(name)?)));
        remarks.extend(unknown.map(|(name, known)| {
            Event::warning(format!("{name} is unknown and has no effect (did you mean {known}?)"))
        }));
        remarks
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn text(&self, name: &'static str) -> Maybe<String> {
        Some(Given::new(self.get(name)?.to_owned(), variable(name)))
    }

    fn path(&self, name: &'static str) -> Maybe<PathBuf> {
        Some(Given::new(self.get(name)?.into(), variable(name)))
    }

    fn words(&self, name: &'static str) -> Vec<Given<String>> {
        let words = self.get(name).unwrap_or_default().split_whitespace();
        words.map(|word| Given::new(word.to_owned(), variable(name))).collect()
    }

    fn yes_or_no(&mut self, name: &'static str) -> Maybe<bool> {
        let value = match self.get(name)? {
            "yes" => true,
            "no" => false,
            other => {
                let message = format!("is {other:?}; accepted are \"yes\" and \"no\"");
                self.mistakes.add(&variable(name), message);
                return None;
            }
        };
        Some(Given::new(value, variable(name)))
    }

    fn number(&mut self, name: &'static str) -> Maybe<u64> {
        let text = self.get(name)?;
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let message = format!("is {text:?}, not a whole number");
        let value = text.parse().ok().filter(|_| digits).ok_or(message);
        let value = self.mistakes.check(&variable(name), value)?;
        Some(Given::new(value, variable(name)))
    }
}

fn variable(name: &str) -> Origin {
    Origin::Variable(name.to_owned())
}

fn inverted(given: Given<bool>) -> Given<bool> {
    Given::new(!given.value, given.origin)
}

/// The variable that `name` is a slip of the finger for: one letter off, two in long names.
/// Only names with an underscore are guessed at: the environment is full of short words.
fn slip_of(name: &str) -> Option<&'static str> {
    let without_effect = WITHOUT_EFFECT.iter().map(|(known, _)| *known);
    let known: Vec<&str> =
        READ.into_iter().chain(ELSEWHERE).chain(OBSOLETE).chain(without_effect).collect();
    if known.contains(&name) {
        return None;
    }
    let near = |known: &&str| {
        let allowed = if known.len() < 9 { 1 } else { 2 };
        known.contains('_')
            && name.len().abs_diff(known.len()) <= allowed
            && strsim::damerau_levenshtein(name, known) <= allowed
    };
    known.into_iter().find(near)
}

#[cfg(test)]
mod tests {
    use super::super::tests::request;
    use super::super::{Agent, Init, Options, Policy, Reading};
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Result<Reading, String> {
        let options = Options { agent: Some("probe".to_owned()), ..Options::default() };
        request(None, variables, &options)
    }

    fn remarks(variables: &[(&str, &str)]) -> Vec<String> {
        let words = |event| match event {
            Event::Note { text } => format!("note: {text}"),
            Event::Warning { text } => text,
            other => panic!("{other:?}"),
        };
        with(variables).unwrap().remarks.into_iter().map(words).collect()
    }

    #[test]
    fn every_variable_of_kata_s_scripts_reaches_the_recipe() {
        let reading = request(
            None,
            &[
                ("AGENT_BIN", "agent"),
                ("AGENT_INIT", "yes"),
                ("AGENT_POLICY", "yes"),
                ("AGENT_POLICY_FILE", "/p.rego"),
                ("AGENT_SOURCE_BIN", "/agent"),
                ("AGENT_VERSION", "4.1"),
                ("ARCH", "aarch64"),
                ("BLOCK_SIZE", "1024"),
                ("EXTRA_PKGS", " bash  coreutils "),
                ("FS_TYPE", "ext4"),
                ("GUEST_HOOKS_TARBALL", "/hooks"),
                ("IMAGE", "/out/x.img"),
                ("IMAGE_SIZE_ALIGNMENT_MB", "2"),
                ("INITRD_IMAGE", "/out/x.initrd"),
                ("KATA_REPO", "example.org/kata"),
                ("KERNEL_MODULES_DIR", "/lib/modules/6"),
                ("MEASURED_ROOTFS", "yes"),
                ("BUILD_VARIANT", "base"),
                ("OSBUILDER_VERSION", "1.2-abc"),
                ("OS_NAME", "mine"),
                ("OS_VERSION", "noble"),
                ("PAUSE_IMAGE_TARBALL", "/pause"),
                ("ROOTFS_DIR", "/out/rootfs"),
                ("ROOT_FREE_SPACE", "100"),
                ("SECCOMP", "no"),
                ("SKIP_DAX_HEADER", "yes"),
                ("SKIP_ROOTFS_CHECK", "yes"),
                ("SOURCE_DATE_EPOCH", "1700000000"),
            ],
            &Options { distro: Some("ubuntu".to_owned()), ..Options::default() },
        );
        let Reading { recipe, destinations, remarks } = reading.unwrap();
        assert!(remarks.is_empty(), "{remarks:?}");
        assert_eq!((recipe.init, recipe.agent), (Init::Agent, Agent::Binary("/agent".into())));
        assert_eq!(recipe.release.version, "24.04");
        assert_eq!(recipe.architecture.kernel_name(), "aarch64");
        assert_eq!(recipe.packages.extra.len(), 2);
        assert!(recipe.packages.base.iter().all(|name| name.as_str() != "libseccomp2"));
        assert_eq!(recipe.epoch.unwrap().seconds(), 1_700_000_000);
        let (guest, image) = (recipe.guest, recipe.image);
        assert_eq!((guest.agent_name.as_str(), guest.seccomp), ("agent", false));
        assert_eq!(guest.policy, Some(Policy::File("/p.rego".into())));
        assert_eq!(guest.kernel_modules, Some("/lib/modules/6".into()));
        assert_eq!(guest.hooks_tarball, Some("/hooks".into()));
        assert_eq!(guest.pause_tarball, Some("/pause".into()));
        assert_eq!(guest.osbuilder_version.as_deref(), Some("1.2-abc"));
        assert_eq!(guest.agent_version.as_deref(), Some("4.1"));
        assert_eq!(guest.kata_repository, "example.org/kata");
        assert_eq!((guest.distro_name.as_deref(), guest.check_init), (Some("mine"), false));
        assert_eq!((image.block_size, image.free_space_mib, image.alignment_mib), (1024, 100, 2));
        assert!(!image.dax_header);
        let variant = image.verity.map(|verity| verity.variant);
        assert_eq!(variant.as_deref(), Some("base"));
        let expected = Destinations {
            rootfs: Some("/out/rootfs".into()),
            image: Some("/out/x.img".into()),
            initrd: Some("/out/x.initrd".into()),
        };
        assert_eq!(destinations, expected);
    }

    /// The variables of Kata's `rootfs.sh`, `lib.sh`, `image_builder.sh`, `initrd_builder.sh` and
    /// Makefile, of 4.x and 1.x.
    const KATA: &str = "AGENT_BIN AGENT_INIT AGENT_PATH AGENT_POLICY AGENT_POLICY_FILE \
        AGENT_SOURCE_BIN AGENT_TARBALL AGENT_VERSION ARCH BLOCK_SIZE BUILD_METHOD BUILD_VARIANT \
        CMAKE_VERSION COCO_GUEST_COMPONENTS_TARBALL CONFIDENTIAL_GUEST DEBUG DISTRO DISTRO_REPO \
        DNF_CONF DOCKER_RUNTIME DRACUT_CONF_DIR DRACUT_DIR DRACUT_KMODULES DRACUT_KVERSION \
        DRACUT_OPTIONS DRACUT_OVERLAY_DIR EXTRA_PKGS FS_TYPE GOPATH GO_AGENT_PKG GO_VERSION \
        GRACEFUL_EXIT GROUP GUEST_HOOKS_TARBALL IMAGE IMAGES_BUILD_DEST IMAGE_REGISTRY \
        IMAGE_SIZE_ALIGNMENT_MB INITRD_IMAGE INSIDE_CONTAINER INSTALL_IN_GOPATH KATA_BRANCH \
        KATA_REPO KBUILD_SIGN_PIN KERNEL_MODULES_DIR LIBC LOG_FILE MEASURED_ROOTFS MUSL_VERSION \
        NSDAX_BIN NVIDIA_GPU_EXTENSION_CONTAINER NVIDIA_GPU_STACK OSBUILDER_DIR \
        OSBUILDER_USE_CHRONIC OSBUILDER_VERSION OS_DISTRO OS_NAME OS_VERSION PACKAGE_MANAGER \
        PAUSE_IMAGE_TARBALL PKG_MANAGER REPO_COMPONENTS REPO_DOMAIN REPO_TRANSPORT REPO_URL \
        REPO_URL_X86_64 ROOTFS_BUILD_DEST ROOTFS_DIR ROOTFS_MARKER_SUFFIX ROOTFS_ONLY \
        ROOT_FREE_SPACE RUST_AGENT RUST_AGENT_PKG RUST_VERSION SECCOMP SELINUX SKIP_DAX_HEADER \
        SKIP_ROOTFS_CHECK SOURCE_DATE_EPOCH TARGET_IMAGE TARGET_INITRD TARGET_ROOTFS \
        TARGET_ROOTFS_MARKER USE_DOCKER USE_PODMAN branch";

    #[test]
    fn no_variable_of_kata_s_is_unknown_and_each_is_in_one_list() {
        let without_effect = WITHOUT_EFFECT.iter().map(|(name, _)| *name);
        let mut known: Vec<&str> =
            READ.into_iter().chain(ELSEWHERE).chain(OBSOLETE).chain(without_effect).collect();
        known.sort_unstable();
        assert!(known.windows(2).all(|pair| pair[0] != pair[1]), "{known:?}");
        for name in KATA.split_whitespace() {
            assert!(known.contains(&name), "{name} is not known");
        }
        let own = ["AGENT", "OSBUILDER_PLAIN_CHROOT"];
        let kata: Vec<&str> = KATA.split_whitespace().collect();
        for name in known.into_iter().filter(|name| !own.contains(name)) {
            assert!(kata.contains(&name), "{name} is not Kata's");
        }
    }

    #[test]
    fn the_plain_chroot_has_a_variable_of_its_own() {
        let asked = |value| with(&[("OSBUILDER_PLAIN_CHROOT", value)]).unwrap();
        assert!(asked("yes").recipe.plain_chroot && !asked("no").recipe.plain_chroot);
        assert!(with(&[("OSBUILDER_PLAIN_CHROOT", "1")]).is_err());
    }

    #[test]
    fn mirrors_are_chosen_by_the_guest_s_processor() {
        let both = [("REPO_URL", "http://ports"), ("REPO_URL_X86_64", "http://x86")];
        let mirrors = |variables: &[_]| with(variables).unwrap().recipe.sources.mirrors;
        assert_eq!(mirrors(&both), ["http://x86"]);
        assert_eq!(mirrors(&[both[0], both[1], ("ARCH", "s390x")]), ["http://ports"]);
        assert_eq!(mirrors(&both[..1]), ["http://ports"]);
        let components = with(&[("REPO_COMPONENTS", "main universe")]).unwrap().recipe.sources;
        assert_eq!(components.components, ["main", "universe"]);
    }

    #[test]
    fn only_yes_and_no_are_accepted_and_empty_is_unset() {
        for name in ["AGENT_INIT", "AGENT_POLICY", "SECCOMP", "CONFIDENTIAL_GUEST", "SELINUX"] {
            let message = with(&[(name, "true")]).unwrap_err();
            assert_eq!(message, format!("{name}: is \"true\"; accepted are \"yes\" and \"no\""));
            assert!(with(&[(name, "no")]).is_ok() && with(&[(name, "")]).is_ok());
        }
    }

    #[test]
    fn what_cannot_be_done_yet_is_refused_by_name_and_its_off_position_is_not() {
        let cases = [
            (
                "BUILD_VARIANT",
                "nvidia-gpu",
                "BUILD_VARIANT: the variant \"nvidia-gpu\" is not supported yet",
            ),
            (
                "NVIDIA_GPU_STACK",
                "compute",
                "NVIDIA_GPU_STACK: NVIDIA guests are not supported yet",
            ),
        ];
        for (name, value, message) in cases {
            assert_eq!(with(&[(name, value)]).unwrap_err(), message);
        }
        assert!(remarks(&[("MEASURED_ROOTFS", "no"), ("BUILD_VARIANT", "base")]).is_empty());
    }

    #[test]
    fn docker_is_not_needed_and_its_off_position_is_off() {
        let note = "note: USE_DOCKER: no container is needed, none is used";
        for on in ["1", "true", "yes"] {
            assert_eq!(remarks(&[("USE_DOCKER", on)]), [note]);
        }
        for off in ["", "no", "false", "0"] {
            assert!(remarks(&[("USE_DOCKER", off)]).is_empty());
        }
    }

    #[test]
    fn variables_without_effect_are_named_in_a_warning() {
        assert_eq!(
            remarks(&[("DNF_CONF", "x"), ("RUST_AGENT", "yes"), ("OS_DISTRO", "x")]),
            [
                "DNF_CONF has no effect: it is for RPM distributions",
                "variables of Kata 1 without effect: OS_DISTRO, RUST_AGENT"
            ]
        );
        let secret = remarks(&[("KBUILD_SIGN_PIN", "hunter2")]);
        assert!(!secret[0].contains("hunter2"));
        assert_eq!(
            remarks(&[("AGENT_SORCE_BIN", "x")]),
            ["AGENT_SORCE_BIN is unknown and has no effect (did you mean AGENT_SOURCE_BIN?)"]
        );
        assert!(remarks(&[("PATH", "/bin"), ("HOME", "/"), ("XDG_RUNTIME_DIR", "/")]).is_empty());
        let unused = remarks(&[("AGENT_POLICY_FILE", "/p.rego")]);
        assert_eq!(unused, ["AGENT_POLICY_FILE: no policy is wanted, so this file is not used"]);
    }

    #[test]
    fn numbers_are_plain_and_bounded() {
        for value in ["-1", "1.5", "1M", "99999999999999999999"] {
            assert!(with(&[("ROOT_FREE_SPACE", value)]).is_err(), "{value}");
        }
        assert!(with(&[("IMAGE_SIZE_ALIGNMENT_MB", "0")]).is_err());
        assert!(with(&[("ROOT_FREE_SPACE", "1048577")]).is_err());
    }
}
