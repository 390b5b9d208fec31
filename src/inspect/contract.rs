//! What a guest must hold so that Kata can use it, measured by taking one thing away at a time.
//!
//! In: a tree, and what it is meant to be. Out: what it lacks. Without what is [`Severity::Fatal`]
//! the agent never answers; what is [`Severity::Later`] is missed by the first container that needs
//! it. Names are resolved as the guest would. As for Kata's own check, an init that is NVIDIA's
//! NVRC needs nothing of systemd's.

use serde::Serialize;

use crate::recipe::Init;
use crate::tree::{Inode, Kind, Tree, TreePath};

/// How bad a lack is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The guest does not come up.
    Fatal,
    /// The guest comes up; some containers will not.
    Later,
}

/// Something that a guest lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lack {
    /// How bad that is.
    pub severity: Severity,
    /// What, as a sentence without a full stop.
    pub what: String,
}

/// What a tree is meant to be.
#[derive(Debug, Clone, Copy)]
pub struct Guest<'a> {
    /// The first process.
    pub init: Init,
    /// The file name of the agent, if it is known: where it is not the init itself, that program must
    /// be in `/usr/bin`.
    pub agent_name: Option<&'a str>,
    /// Whether the agent was built to start with a policy.
    pub has_policy: bool,
}

/// A condition on what stands at one of several paths.
struct Condition {
    severity: Severity,
    any_of: &'static [&'static str],
    wanted: Wanted,
}

#[derive(Clone, Copy)]
enum Wanted {
    /// A directory, which something is mounted on.
    Directory,
    /// A regular file that can be executed.
    Program,
    /// A regular file, perhaps through links.
    File,
    /// A regular file and no link.
    PlainFile,
}

const fn fatal(any_of: &'static [&'static str], wanted: Wanted) -> Condition {
    Condition { severity: Severity::Fatal, any_of, wanted }
}

const fn later(any_of: &'static [&'static str], wanted: Wanted) -> Condition {
    Condition { severity: Severity::Later, any_of, wanted }
}

/// In every guest.
const ALWAYS: &[Condition] = &[
    fatal(&["dev"], Wanted::Directory),
    fatal(&["proc"], Wanted::Directory),
    fatal(&["sys"], Wanted::Directory),
    fatal(&["run"], Wanted::Directory),
    fatal(&["tmp"], Wanted::Directory),
    fatal(&["sbin/init"], Wanted::Program),
    later(&["etc/resolv.conf"], Wanted::PlainFile),
    later(&["usr/sbin/iptables", "sbin/iptables"], Wanted::Program),
    later(&["usr/sbin/modprobe", "sbin/modprobe"], Wanted::Program),
    later(&["usr/sbin/mkfs.ext4", "sbin/mkfs.ext4"], Wanted::Program),
];

/// Where systemd is the init. The agent itself may have any name below `/usr/bin`.
const SYSTEMD: &[Condition] = &[
    fatal(&["usr/lib/systemd/systemd", "lib/systemd/systemd"], Wanted::Program),
    fatal(&["usr/lib/systemd/system/tmp.mount", "etc/systemd/system/tmp.mount"], Wanted::File),
    fatal(
        &["usr/lib/systemd/system/kata-agent.service", "etc/systemd/system/kata-agent.service"],
        Wanted::File,
    ),
    fatal(
        &[
            "usr/lib/systemd/system/kata-containers.target",
            "etc/systemd/system/kata-containers.target",
        ],
        Wanted::File,
    ),
];

/// Where OpenRC is what starts services.
const OPENRC: &[Condition] = &[
    fatal(&["sbin/openrc"], Wanted::Program),
    fatal(&["etc/inittab"], Wanted::File),
    fatal(&["etc/runlevels/default/kata-agent"], Wanted::Program),
];

/// With a policy; an agent that knows policies does not start without.
const POLICY: &[Condition] = &[fatal(&["etc/kata-opa/default-policy.rego"], Wanted::File)];

/// Returns what `tree` lacks to be this guest, the worst first.
pub fn contract(tree: &Tree, guest: Guest<'_>) -> Vec<Lack> {
    let found = init_of(tree);
    let services = match guest.init {
        // Kata's variable says only that it is not the agent.
        Init::Systemd if found == Some(Init::OpenRc) => OPENRC,
        Init::Systemd if !is_nvrc(tree) => SYSTEMD,
        Init::OpenRc => OPENRC,
        Init::Systemd | Init::Agent | Init::None => &[],
    };
    let policy = if guest.has_policy { POLICY } else { &[] };
    let all = ALWAYS.iter().chain(services).chain(policy);
    let mut lacks: Vec<Lack> =
        all.filter(|condition| !condition.holds(tree)).map(Condition::lack).collect();
    let mut fatal = |what| lacks.push(Lack { severity: Severity::Fatal, what });
    let agent =
        guest.agent_name.filter(|_| !services.is_empty()).map(|name| format!("usr/bin/{name}"));
    if let Some(path) = agent.filter(|path| !Wanted::Program.is_at(tree, path)) {
        fatal(format!("there is no program /{path}"));
    }
    match found {
        Some(Init::Systemd) if guest.init == Init::Agent => {
            fatal("the agent is to be the init, but /sbin/init is systemd".to_owned());
        }
        Some(Init::OpenRc) if guest.init == Init::Agent => {
            fatal("the agent is to be the init, but /sbin/init is busybox".to_owned());
        }
        _ => {}
    }
    lacks.sort_by_key(|lack| lack.severity);
    lacks
}

/// Which program `/sbin/init` is: systemd, by name or by content; busybox, which starts OpenRC; or
/// something that is taken for the agent.
pub(super) fn init_of(tree: &Tree) -> Option<Init> {
    let init = found(tree, "sbin/init")?;
    let is_systemd = init.0.name() == Some(b"systemd")
        || ["usr/lib/systemd/systemd", "lib/systemd/systemd"]
            .into_iter()
            .any(|path| found(tree, path).is_some_and(|systemd| same_content(init.1, systemd.1)));
    let is_openrc = init.0.name() == Some(b"busybox") && found(tree, "sbin/openrc").is_some();
    Some(match (is_systemd, is_openrc) {
        (true, _) => Init::Systemd,
        (false, true) => Init::OpenRc,
        (false, false) => Init::Agent,
    })
}

/// Whether `/sbin/init` leads to NVIDIA's init, which starts the agent by itself.
fn is_nvrc(tree: &Tree) -> bool {
    let path = TreePath::parse("sbin/init").expect("the path is clean");
    let place = tree.resolve_parent(&path).ok();
    let init = place.and_then(|place| tree.get(&place)).map(|inode| &inode.kind);
    matches!(init, Some(Kind::Symlink(target)) if target.windows(4).any(|part| part == b"NVRC"))
}

/// What a path leads to.
fn found<'t>(tree: &'t Tree, path: &str) -> Option<(TreePath, &'t Inode)> {
    let place = tree.resolve(&TreePath::parse(path).ok()?).ok()?;
    let inode = tree.get(&place)?;
    Some((place, inode))
}

fn same_content(one: &Inode, other: &Inode) -> bool {
    match (&one.kind, &other.kind) {
        (Kind::Regular(one), Kind::Regular(other)) => one.size() > 0 && one == other,
        _ => false,
    }
}

impl Condition {
    fn holds(&self, tree: &Tree) -> bool {
        self.any_of.iter().any(|path| self.wanted.is_at(tree, path))
    }

    fn lack(&self) -> Lack {
        let what = match self.wanted {
            Wanted::Directory => "directory",
            Wanted::Program => "program",
            Wanted::File => "file",
            Wanted::PlainFile => "regular file",
        };
        let first = self.any_of.first().copied().unwrap_or_default();
        Lack { severity: self.severity, what: format!("there is no {what} /{first}") }
    }
}

impl Wanted {
    fn is_at(self, tree: &Tree, path: &str) -> bool {
        let Ok(path) = TreePath::parse(path) else { return false };
        let place = match self {
            Self::PlainFile => tree.resolve_parent(&path),
            _ => tree.resolve(&path),
        };
        let Some(inode) = place.ok().and_then(|place| tree.get(&place)) else { return false };
        match (self, &inode.kind) {
            (Self::Directory, Kind::Directory(_)) => true,
            (Self::Program, Kind::Regular(content)) => {
                inode.meta.mode & 0o111 != 0 && content.size() > 0
            }
            (Self::File | Self::PlainFile, Kind::Regular(_)) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Content, Inode, Meta};

    fn put(tree: &mut Tree, path: &str, mode: u16) {
        let content = Content::Inline(path.as_bytes().into());
        let path = TreePath::parse(path).unwrap();
        tree.make_directories(&path.parent().unwrap(), &Meta::root(0o755)).unwrap();
        let kind = Kind::Regular(content);
        tree.insert(&path, Inode { meta: Meta::root(mode), kind }).unwrap();
    }

    fn conditions(init: Init) -> impl Iterator<Item = &'static Condition> {
        let further = match init {
            Init::Systemd => SYSTEMD,
            Init::OpenRc => OPENRC,
            Init::Agent | Init::None => &[],
        };
        ALWAYS.iter().chain(further).chain(POLICY)
    }

    const fn guest(init: Init) -> Guest<'static> {
        Guest { init, agent_name: None, has_policy: true }
    }

    fn link(tree: &mut Tree, path: &str, target: &str) {
        let kind = Kind::Symlink(target.as_bytes().into());
        tree.insert(&TreePath::parse(path).unwrap(), Inode { meta: Meta::root(0o777), kind })
            .unwrap();
    }

    fn lacks(tree: &Tree, guest: Guest<'_>) -> Vec<String> {
        contract(tree, guest).into_iter().map(|lack| lack.what).collect()
    }

    fn good(init: Init) -> Tree {
        let mut tree = Tree::default();
        for condition in conditions(init) {
            match condition.wanted {
                Wanted::Directory => {
                    let path = TreePath::parse(condition.any_of[0]).unwrap();
                    tree.make_directories(&path, &Meta::root(0o755)).unwrap();
                }
                _ => put(&mut tree, condition.any_of[0], 0o755),
            }
        }
        tree
    }

    #[test]
    fn each_thing_that_is_taken_away_is_named() {
        for init in [Init::Systemd, Init::OpenRc, Init::Agent, Init::None] {
            assert_eq!(contract(&good(init), guest(init)), []);
            for condition in conditions(init) {
                let mut tree = good(init);
                tree.remove(&TreePath::parse(condition.any_of[0]).unwrap());
                let lacks = contract(&tree, guest(init));
                assert_eq!(lacks.len(), 1);
                assert!(lacks[0].what.ends_with(condition.any_of[0]), "{lacks:?}");
                assert_eq!(lacks[0].severity, condition.severity);
            }
        }
    }

    #[test]
    fn a_dangling_init_a_linked_resolver_and_an_empty_program_are_not_enough() {
        let mut tree = good(Init::Agent);
        link(&mut tree, "sbin/init", "/nowhere");
        link(&mut tree, "etc/resolv.conf", "../dev/x");
        put(&mut tree, "usr/sbin/iptables", 0o644);
        let expected =
            ["program /sbin/init", "regular file /etc/resolv.conf", "program /usr/sbin/iptables"];
        let expected = expected.map(|thing| format!("there is no {thing}"));
        assert_eq!(lacks(&tree, guest(Init::Agent)), expected);
    }

    #[test]
    fn programs_are_found_through_links_inside_the_guest() {
        let mut tree = good(Init::Agent);
        link(&mut tree, "sbin/init", "/usr/sbin/iptables");
        assert_eq!(contract(&tree, guest(Init::Agent)), []);
    }

    #[test]
    fn openrc_is_known_by_its_program_and_busybox_and_is_no_agent() {
        let mut tree = good(Init::OpenRc);
        put(&mut tree, "bin/busybox", 0o755);
        link(&mut tree, "sbin/init", "/bin/busybox");
        assert_eq!(init_of(&tree), Some(Init::OpenRc));
        for init in [Init::OpenRc, Init::Systemd] {
            assert_eq!(contract(&tree, guest(init)), []);
        }
        let named = Guest { agent_name: Some("my-agent"), ..guest(Init::OpenRc) };
        assert_eq!(lacks(&tree, named), ["there is no program /usr/bin/my-agent"]);
        let wrong = ["the agent is to be the init, but /sbin/init is busybox"];
        assert_eq!(lacks(&tree, guest(Init::Agent)), wrong);
        tree.remove(&TreePath::parse("sbin/openrc").unwrap());
        assert_eq!(init_of(&tree), Some(Init::Agent));
    }

    #[test]
    fn the_agent_of_systemd_must_be_there_by_its_name() {
        let mut tree = good(Init::Systemd);
        let named = Guest { agent_name: Some("my-agent"), ..guest(Init::Systemd) };
        assert_eq!(lacks(&tree, named), ["there is no program /usr/bin/my-agent"]);
        put(&mut tree, "usr/bin/my-agent", 0o755);
        assert_eq!(contract(&tree, named), []);
    }

    #[test]
    fn a_policy_is_needed_only_where_there_is_to_be_one() {
        let mut tree = good(Init::Agent);
        tree.remove(&TreePath::parse("etc/kata-opa/default-policy.rego").unwrap());
        let without = Guest { has_policy: false, ..guest(Init::Agent) };
        assert_eq!(contract(&tree, without), []);
        assert_eq!(contract(&tree, guest(Init::Agent)).len(), 1);
    }

    #[test]
    fn the_agent_as_init_is_not_systemd_under_whatever_name() {
        let mut tree = good(Init::Agent);
        put(&mut tree, "usr/lib/systemd/systemd", 0o755);
        assert_eq!(contract(&tree, guest(Init::Agent)), []);
        let wrong = ["the agent is to be the init, but /sbin/init is systemd"];
        let mut linked = tree.clone();
        link(&mut linked, "sbin/init", "../usr/lib/systemd/systemd");
        assert_eq!(lacks(&linked, guest(Init::Agent)), wrong);
        let systemd = TreePath::parse("usr/lib/systemd/systemd").unwrap();
        let copy = tree.get(&systemd).unwrap().clone();
        tree.insert(&TreePath::parse("sbin/init").unwrap(), copy).unwrap();
        assert_eq!(lacks(&tree, guest(Init::Agent)), wrong);
    }

    #[test]
    fn nvidia_s_init_needs_nothing_of_systemd() {
        let mut tree = good(Init::Agent);
        put(&mut tree, "bin/NVRC-x86_64-unknown-linux-musl", 0o755);
        link(&mut tree, "sbin/init", "/bin/NVRC-x86_64-unknown-linux-musl");
        let named = Guest { agent_name: Some("kata-agent"), ..guest(Init::Systemd) };
        assert_eq!(contract(&tree, named), []);
    }
}
