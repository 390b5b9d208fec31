//! What is taken out of a distribution's tree, and the few directories that must be in it.

use super::Error;
use super::editor::Editor;
use crate::tree::{Content, Device, Kind};

/// Below `/usr/share`: for people who read, and there are none in a guest. Time zones stay.
const DOCUMENTATION: [&str; 12] = [
    "bash-completion",
    "bug",
    "doc",
    "info",
    "lintian",
    "locale",
    "man",
    "menu",
    "misc",
    "pixmaps",
    "terminfo",
    "zsh",
];

/// What the kernel, systemd or the agent mounts something on. The root is read-only, so what is
/// missing cannot be made in the guest: without any of the first four an agent that is the init
/// dies within seconds, without the last systemd does not come up.
const MOUNT_POINTS: [(&str, u16); 5] =
    [("dev", 0o755), ("proc", 0o555), ("run", 0o755), ("sys", 0o555), ("tmp", 0o1777)];

/// The groups `tty` and `dialout` have these numbers on every Debian system (Debian policy 9.2.2).
const TTY: u32 = 5;
const DIALOUT: u32 = 20;

/// What Kata does to a Debian or Ubuntu tree right after its packages are installed.
pub(super) fn remove_documentation(editor: &mut Editor<'_>) -> Result<(), Error> {
    for name in DOCUMENTATION {
        editor.remove(&format!("usr/share/{name}"))?;
    }
    editor.directory("var", 0o755)?;
    editor.replace_with_link("var/run", "/run")?;
    let bundle = "etc/ssl/certs/ca-certificates.crt";
    if editor.exists(bundle)
        && editor.exists("usr/lib/ssl")
        && !editor.exists("usr/lib/ssl/cert.pem")
    {
        editor.symlink("usr/lib/ssl/cert.pem", &format!("../../../{bundle}"))?;
    }
    make_devices(editor)
}

/// The kernel opens `/dev/console` for the first process before anything is mounted on `/dev`.
/// Numbers: Linux, `Documentation/admin-guide/devices.txt`.
fn make_devices(editor: &mut Editor<'_>) -> Result<(), Error> {
    editor.directory("dev", 0o755)?;
    let mut node = |path: &str, mode, group, major, minor| -> Result<(), Error> {
        editor.device(path, mode, Device { major, minor })?;
        let place = editor.place(path)?;
        let inode = editor.tree.get_mut(&place).expect("it was just made or there before");
        inode.meta.gid = group;
        Ok(())
    };
    node("dev/console", 0o600, TTY, 5, 1)?;
    node("dev/null", 0o666, 0, 1, 3)?;
    node("dev/tty", 0o666, TTY, 5, 0)?;
    node("dev/zero", 0o666, 0, 1, 5)?;
    for line in 0..4 {
        node(&format!("dev/ttyS{line}"), 0o660, DIALOUT, 4, 64 + line)?;
    }
    if editor.get("dev/fd")?.is_none() {
        editor.symlink("dev/fd", "/proc/self/fd")?;
    }
    Ok(())
}

/// What would make all guests of an image one and the same machine, or tell where it was built.
pub(super) fn remove_identity(editor: &mut Editor<'_>) -> Result<(), Error> {
    if editor.exists("etc") {
        // Empty, not absent: systemd then makes one in memory, also on a read-only root.
        editor.remove("etc/machine-id")?;
        editor.put("etc/machine-id", 0o444, Kind::Regular(Content::empty()))?;
    }
    for path in [
        "etc/hostname",
        "var/lib/dbus/machine-id",
        "var/lib/systemd/random-seed",
        "var/lib/urandom",
    ] {
        editor.remove(path)?;
    }
    for name in editor.names("etc/ssh")? {
        if name.starts_with(b"ssh_host_") {
            let place = editor.place("etc/ssh")?;
            let place =
                editor.tree.resolve(&place)?.join(&name).map_err(crate::tree::Error::from)?;
            editor.tree.remove(&place);
        }
    }
    Ok(())
}

/// Makes what the kernel and the agent mount on.
pub(super) fn make_mount_points(editor: &mut Editor<'_>) -> Result<(), Error> {
    MOUNT_POINTS.iter().try_for_each(|(path, mode)| editor.directory(path, *mode))
}

/// Removes what packages left in `/var`. With the package database go the traces that scanners
/// read: `keep` is for those. Logs, and a cache that knows the build's inode numbers, go anyway.
pub(super) fn empty_var(editor: &mut Editor<'_>, keep: bool) -> Result<(), Error> {
    editor.directory("var", 0o755)?;
    if keep {
        editor.remove("var/cache/ldconfig/aux-cache")?;
        remove_files_below(editor, "var/log")?;
    } else {
        for path in ["var/cache", "var/lib", "var/log"] {
            editor.remove(path)?;
        }
    }
    editor.replace_with_link("var/tmp", "../tmp")
}

/// Empties directories; the directories stay, for services that expect theirs.
fn remove_files_below(editor: &mut Editor<'_>, path: &str) -> Result<(), Error> {
    let top = editor.place(path)?;
    let files: Vec<_> = (editor.tree.walk())
        .filter(|(path, _, inode)| {
            path.starts_with(&top) && !matches!(inode.kind, Kind::Directory(_))
        })
        .map(|(path, ..)| path)
        .collect();
    for file in files {
        editor.tree.remove(&file);
    }
    Ok(())
}

/// What a tree that was made by hand gets before it is provisioned.
pub(super) fn complete_bare_tree(editor: &mut Editor<'_>) -> Result<(), Error> {
    for path in ["etc", "lib/systemd", "sbin", "var"] {
        editor.directory(path, 0o755)?;
    }
    if editor.get("sbin/init")?.is_none() {
        editor.symlink("init", "./usr/lib/systemd/systemd")?;
        editor.symlink("sbin/init", "/init")?;
    }
    Ok(())
}

/// The agent mounts the pod's resolver over `/etc/resolv.conf`: it has to be a regular file. What a
/// package or the build left there is not the pod's.
pub(super) fn ensure_resolver(editor: &mut Editor<'_>) -> Result<(), Error> {
    let path = "etc/resolv.conf";
    if !matches!(editor.get(path)?.map(|inode| &inode.kind), Some(Kind::Regular(_))) {
        editor.remove(path)?;
        editor.put(path, 0o644, Kind::Regular(Content::empty()))?;
    }
    Ok(())
}
