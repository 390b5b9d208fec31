//! What a guest must hold so that Kata can use it, measured by taking one thing away at a time.
//!
//! Without what is [`Severity::Fatal`] the agent never answers; what is [`Severity::Later`] is
//! missed by the first container that needs it. Names are resolved as the guest would.

use serde::Serialize;

use crate::recipe::Init;
use crate::tree::{Kind, Tree, TreePath};

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

/// Returns what `tree` lacks as a guest with this init, the worst first. Where systemd is the init
/// and the agent's name is known, that program must be in `/usr/bin`.
pub fn contract(tree: &Tree, init: Init, agent_name: Option<&str>) -> Vec<Lack> {
    let further = if init == Init::Systemd { SYSTEMD } else { &[] };
    let broken = ALWAYS.iter().chain(further).filter(|condition| !condition.holds(tree));
    let mut lacks: Vec<Lack> = broken.map(Condition::lack).collect();
    let agent = agent_name.filter(|_| init == Init::Systemd).map(|name| format!("usr/bin/{name}"));
    if let Some(path) = agent.filter(|path| !Wanted::Program.is_at(tree, path)) {
        let what = format!("there is no program /{path}");
        lacks.push(Lack { severity: Severity::Fatal, what });
    }
    lacks.sort_by_key(|lack| lack.severity);
    lacks
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
        let path = TreePath::parse(path).unwrap();
        tree.make_directories(&path.parent().unwrap(), &Meta::root(0o755)).unwrap();
        let kind = Kind::Regular(Content::Inline(b"x".as_slice().into()));
        tree.insert(&path, Inode { meta: Meta::root(mode), kind }).unwrap();
    }

    fn good(init: Init) -> Tree {
        let mut tree = Tree::default();
        let further = if init == Init::Systemd { SYSTEMD } else { &[] };
        for condition in ALWAYS.iter().chain(further) {
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
        for init in [Init::Systemd, Init::Agent] {
            assert_eq!(contract(&good(init), init, None), []);
            let further = if init == Init::Systemd { SYSTEMD } else { &[] };
            for condition in ALWAYS.iter().chain(further) {
                let mut tree = good(init);
                tree.remove(&TreePath::parse(condition.any_of[0]).unwrap());
                let lacks = contract(&tree, init, None);
                assert_eq!(lacks.len(), 1);
                assert!(lacks[0].what.ends_with(condition.any_of[0]), "{lacks:?}");
                assert_eq!(lacks[0].severity, condition.severity);
            }
        }
    }

    #[test]
    fn a_dangling_init_a_linked_resolver_and_an_empty_program_are_not_enough() {
        let link = |target: &str| Inode {
            meta: Meta::root(0o777),
            kind: Kind::Symlink(target.as_bytes().into()),
        };
        let mut tree = good(Init::Agent);
        for (path, target) in [("sbin/init", "/nowhere"), ("etc/resolv.conf", "../dev/x")] {
            tree.insert(&TreePath::parse(path).unwrap(), link(target)).unwrap();
        }
        put(&mut tree, "usr/sbin/iptables", 0o644);
        let what: Vec<_> =
            contract(&tree, Init::Agent, None).into_iter().map(|lack| lack.what).collect();
        let expected =
            ["program /sbin/init", "regular file /etc/resolv.conf", "program /usr/sbin/iptables"];
        assert_eq!(what, expected.map(|thing| format!("there is no {thing}")));
    }

    #[test]
    fn programs_are_found_through_links_inside_the_guest() {
        let mut tree = good(Init::Agent);
        let kind = Kind::Symlink(b"/usr/sbin/iptables".as_slice().into());
        let init = TreePath::parse("sbin/init").unwrap();
        tree.insert(&init, Inode { meta: Meta::root(0o777), kind }).unwrap();
        assert_eq!(contract(&tree, Init::Agent, None), []);
    }

    #[test]
    fn the_agent_of_systemd_must_be_there_by_its_name() {
        let mut tree = good(Init::Systemd);
        let lacks = contract(&tree, Init::Systemd, Some("my-agent"));
        assert_eq!(lacks[0].what, "there is no program /usr/bin/my-agent");
        put(&mut tree, "usr/bin/my-agent", 0o755);
        assert_eq!(contract(&tree, Init::Systemd, Some("my-agent")), []);
    }
}
