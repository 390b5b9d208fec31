//! What is in the tree only while scripts run, and what they leave that no guest should have.
//!
//! Services must not start, so `policy-rc.d` says no and `start-stop-daemon` does nothing, as
//! under every installer that works in a directory (Debian's BuildingWithoutRoot and mmdebstrap(1),
//! whose list of things to clean this follows). dpkg runs a `preinst` from a directory of its own,
//! by which debconf knows whose it is; each package with a `preinst` gets one that waits aside.
//! What stays is what every installer makes besides packages: device nodes and a first `fstab`.
//! Pure functions on trees.

use crate::configure::Error;
use crate::epoch::Epoch;
use crate::package::deb::scripts::ScriptKind;
use crate::tree::{BadPath, Content, Device, Inode, Kind, Meta, Tree, TreePath};
use crate::unpack::deb::Package;

/// Asked by `invoke-rc.d` whether a service may be started; 101 means no.
const POLICY: (&str, &str) = ("usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n");
/// Stands in for the program that starts daemons.
const STARTER: (&str, &str) = ("sbin/start-stop-daemon", "#!/bin/sh\nexit 0\n");
/// Where the real one waits.
const STARTER_ASIDE: &str = "sbin/start-stop-daemon.REAL";

/// Files that tell of the build, not of the system: logs, caches, identities.
const LEFTOVERS: [&str; 7] = [
    "var/log/dpkg.log",
    "var/log/apt/history.log",
    "var/log/apt/term.log",
    "var/log/alternatives.log",
    "var/log/apt/eipp.log.xz",
    "var/cache/ldconfig/aux-cache",
    "var/lib/dbus/machine-id",
];

/// Character devices that every installer makes: name, major and minor number.
const DEVICES: [(&str, u32, u32); 8] = [
    ("console", 5, 1),
    ("full", 1, 7),
    ("null", 1, 3),
    ("ptmx", 5, 2),
    ("random", 1, 8),
    ("tty", 5, 0),
    ("urandom", 1, 9),
    ("zero", 1, 5),
];
/// Links in `/dev`.
const DEVICE_LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stderr", "/proc/self/fd/2"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
];
/// The first `fstab`, as debootstrap writes it.
const FSTAB: &str = "# UNCONFIGURED FSTAB FOR BASE SYSTEM\n";

/// Where dpkg has the control files of the package that it unpacks.
pub(super) fn unpacking() -> Result<TreePath, BadPath> {
    TreePath::parse("var/lib/dpkg/tmp.ci")
}

/// Where that directory of a package waits.
pub(super) fn unpacking_aside(package: &Package) -> Result<TreePath, BadPath> {
    TreePath::parse(format!("var/lib/dpkg/tmp.ci.{}", package.database_name))
}

/// Puts in what keeps services from starting, and what `preinst` scripts look for.
pub(super) fn put_in(tree: &mut Tree, packages: &[Package], epoch: Epoch) -> Result<(), Error> {
    for package in packages {
        if package.scripts.contains_key(&ScriptKind::Preinst) {
            put_control_files(tree, package, epoch)?;
        }
    }
    let script = |text: &str| Inode {
        meta: Meta { mtime: epoch.clamp(i64::MAX), ..Meta::root(0o755) },
        kind: Kind::Regular(Content::Inline(text.as_bytes().into())),
    };
    let (policy, starter, aside) = places(tree)?;
    if tree.get(&policy).is_none() && parent_is_there(tree, &policy) {
        tree.insert(&policy, script(POLICY.1))?;
    }
    if tree.get(&starter).is_some() {
        tree.rename(&starter, &aside)?;
        tree.insert(&starter, script(STARTER.1))?;
    }
    Ok(())
}

/// The control files of a package, as dpkg lays them out while it unpacks.
fn put_control_files(tree: &mut Tree, package: &Package, epoch: Epoch) -> Result<(), Error> {
    let mtime = epoch.clamp(i64::MAX);
    let directory = unpacking_aside(package)?;
    tree.make_directories(&directory, &Meta { mtime, ..Meta::root(0o755) })?;
    let mut put = |name: &str, meta: Meta, content: Content| -> Result<(), Error> {
        let path = tree.resolve(&directory.join(name)?)?;
        tree.insert(&path, Inode { meta, kind: Kind::Regular(content) })?;
        Ok(())
    };
    let fields = package.control.iter().map(|(name, value)| format!("{name}: {value}\n"));
    let control: String = fields.collect();
    let plain = Meta { mtime, ..Meta::root(0o644) };
    put("control", plain.clone(), Content::Inline(control.into_bytes().into()))?;
    for (kind, bytes) in &package.scripts {
        let meta = Meta { mtime, ..Meta::root(0o755) };
        put(kind.name(), meta, Content::Inline(bytes.clone()))?;
    }
    let info = TreePath::parse("var/lib/dpkg/info")?;
    let templates = info.join(format!("{}.templates", package.database_name))?;
    let templates = tree.get(&tree.resolve(&templates)?).cloned();
    if let Some(inode) = templates {
        let path = tree.resolve(&directory.join("templates")?)?;
        tree.insert(&path, inode)?;
    }
    Ok(())
}

/// Makes what is no package's but every system has, unless it is there.
fn complete(tree: &mut Tree, epoch: Epoch) -> Result<(), Error> {
    let mtime = epoch.clamp(i64::MAX);
    let meta = |mode| Meta { mtime, ..Meta::root(mode) };
    let dev = tree.resolve(&TreePath::parse("dev")?)?;
    tree.make_directories(&dev, &meta(0o755))?;
    let mut all = Vec::new();
    for (name, major, minor) in DEVICES {
        let kind = Kind::CharacterDevice(Device { major, minor });
        all.push((dev.join(name)?, Inode { meta: meta(0o666), kind }));
    }
    for (name, target) in DEVICE_LINKS {
        let kind = Kind::Symlink(target.as_bytes().into());
        all.push((dev.join(name)?, Inode { meta: meta(0o777), kind }));
    }
    for name in ["pts", "shm"] {
        tree.make_directories(&dev.join(name)?, &meta(0o755))?;
    }
    let etc = tree.resolve(&TreePath::parse("etc")?)?;
    tree.make_directories(&etc, &meta(0o755))?;
    let fstab = Kind::Regular(Content::Inline(FSTAB.as_bytes().into()));
    all.push((etc.join("fstab")?, Inode { meta: meta(0o644), kind: fstab }));
    for (path, inode) in all {
        if tree.get(&path).is_none() {
            tree.insert(&path, inode)?;
        }
    }
    Ok(())
}

/// Takes it out again, cleans up, and makes what every system has.
pub(super) fn take_out(tree: &mut Tree, packages: &[Package], epoch: Epoch) -> Result<(), Error> {
    for package in packages {
        tree.remove(&unpacking_aside(package)?);
    }
    complete(tree, epoch)?;
    let (policy, starter, aside) = places(tree)?;
    let ours = |content: &Content| content.size() == POLICY.1.len() as u64;
    if matches!(tree.get(&policy), Some(Inode { kind: Kind::Regular(content), .. }) if ours(content))
    {
        tree.remove(&policy);
    }
    if tree.get(&aside).is_some() {
        tree.rename(&aside, &starter)?;
    }
    for leftover in LEFTOVERS {
        tree.remove(&TreePath::parse(leftover)?);
    }
    let machine = TreePath::parse("etc/machine-id")?;
    if tree.get(&machine).is_some() {
        let meta = Meta { mtime: epoch.clamp(i64::MAX), ..Meta::root(0o644) };
        tree.insert(&machine, Inode { meta, kind: Kind::Regular(Content::empty()) })?;
    }
    empty(tree, "tmp", &[])?;
    // `/var/lock` leads to `/run/lock`.
    empty(tree, "run", &[b"lock"])
}

fn places(tree: &Tree) -> Result<(TreePath, TreePath, TreePath), Error> {
    let place =
        |path| -> Result<TreePath, Error> { Ok(tree.resolve_parent(&TreePath::parse(path)?)?) };
    Ok((place(POLICY.0)?, place(STARTER.0)?, place(STARTER_ASIDE)?))
}

fn parent_is_there(tree: &Tree, path: &TreePath) -> bool {
    path.parent().is_some_and(|parent| tree.get(&parent).is_some())
}

/// Removes what is in a directory, but for some names.
fn empty(tree: &mut Tree, directory: &str, kept: &[&[u8]]) -> Result<(), Error> {
    let directory = TreePath::parse(directory)?;
    let names: Vec<_> = match tree.get(&directory) {
        Some(Inode { kind: Kind::Directory(entries), .. }) => entries.keys().cloned().collect(),
        _ => Vec::new(),
    };
    for name in names.iter().filter(|name| !kept.contains(&&name[..])) {
        tree.remove(&directory.join(name)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::parse(text).unwrap()
    }

    fn sample() -> Tree {
        let mut tree = Tree::default();
        for directory in ["usr/sbin", "tmp", "run/lock", "etc", "var/log", "var/lib/dpkg"] {
            tree.make_directories(&path(directory), &Meta::root(0o755)).unwrap();
        }
        let link = Kind::Symlink((*b"usr/sbin").into());
        tree.insert(&path("sbin"), Inode { meta: Meta::root(0o777), kind: link }).unwrap();
        let file = Inode { meta: Meta::root(0o755), kind: Kind::Regular(Content::empty()) };
        tree.insert(&path("usr/sbin/start-stop-daemon"), file).unwrap();
        tree
    }

    #[test]
    fn what_is_put_in_is_taken_out_without_a_trace() {
        let mut before = sample();
        complete(&mut before, Epoch::default()).unwrap();
        let mut package = crate::configure::deb::tests::package("libc6", "");
        package.scripts.insert(ScriptKind::Preinst, (*b"#!/bin/sh\n").into());
        let mut tree = sample();
        put_in(&mut tree, std::slice::from_ref(&package), Epoch::default()).unwrap();
        let preinst = unpacking_aside(&package).unwrap().join("preinst").unwrap();
        assert!(tree.get(&preinst).is_some());
        assert!(tree.get(&path("usr/sbin/policy-rc.d")).is_some());
        assert_ne!(tree, before);
        take_out(&mut tree, &[package], Epoch::default()).unwrap();
        assert_eq!(tree, before);
    }

    #[test]
    fn k5_identities_logs_and_temporary_files_do_not_stay() {
        let mut tree = sample();
        for leftover in ["etc/machine-id", "var/log/dpkg.log", "tmp/x", "run/y", "run/lock/z"] {
            let kind = Kind::Regular(Content::Inline((*b"secret").into()));
            tree.insert(&path(leftover), Inode { meta: Meta::root(0o444), kind }).unwrap();
        }
        take_out(&mut tree, &[], Epoch::default()).unwrap();
        for gone in ["var/log/dpkg.log", "tmp/x", "run/y"] {
            assert!(tree.get(&path(gone)).is_none(), "{gone}");
        }
        assert!(tree.get(&path("run/lock/z")).is_some());
        let machine = &tree.get(&path("etc/machine-id")).unwrap().kind;
        assert_eq!(machine, &Kind::Regular(Content::empty()));
    }
}
