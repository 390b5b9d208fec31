//! What makes systemd start the agent: links, the `/tmp` mount, the size of `/run`.
//!
//! Syntax: systemd.unit(5), systemd.mount(5), fstab(5).

use super::Error;
use super::editor::Editor;
use crate::tree::Kind;

const UNITS: &str = "/usr/lib/systemd/system";
const TARGET: &str = "kata-containers.target";

/// A writable `/tmp` on a read-only root; without this unit the agent's target cannot be reached.
const TMP_MOUNT: &str = "\
[Unit]
Description=Temporary files in memory
ConditionPathIsSymbolicLink=!/tmp
DefaultDependencies=no
Conflicts=umount.target
Before=local-fs.target umount.target
After=swap.target

[Mount]
What=tmpfs
Where=/tmp
Type=tmpfs
Options=mode=1777,strictatime,nosuid,nodev
";

/// Makes sure that there is a unit which mounts `/tmp`: the distribution's own, also where it lies
/// aside in `/usr/share`, else ours.
pub(super) fn ensure_tmp_mount(editor: &mut Editor<'_>) -> Result<(), Error> {
    let unit = "etc/systemd/system/tmp.mount";
    if editor.get(unit)?.is_some() || editor.exists("usr/lib/systemd/system/tmp.mount") {
        return Ok(());
    }
    let aside = editor.get("usr/share/systemd/tmp.mount")?.map(|inode| inode.kind.clone());
    match aside {
        Some(kind @ Kind::Regular(_)) => editor.put(unit, 0o644, kind),
        _ => editor.file(unit, 0o644, TMP_MOUNT),
    }
}

/// Makes the agent's target part of every boot and D-Bus part of the target, if it is installed;
/// and lets everybody read the root directory.
pub(super) fn enable(editor: &mut Editor<'_>) -> Result<(), Error> {
    let wants = |target: &str, unit: &str| format!("etc/systemd/system/{target}.wants/{unit}");
    editor.symlink(&wants("basic.target", TARGET), &format!("{UNITS}/{TARGET}"))?;
    if editor.exists(&format!("{UNITS}/dbus.socket")) {
        editor.symlink(&wants(TARGET, "dbus.socket"), &format!("{UNITS}/dbus.socket"))?;
    }
    let root = editor.tree.root();
    editor.tree.inode_mut(root).meta.mode |= 0o051;
    Ok(())
}

/// Gives `/run` half of the memory in place of systemd's fifth: confidential guests unpack
/// container images there.
pub(super) fn size_run(editor: &mut Editor<'_>) -> Result<(), Error> {
    const LINE: &str = "tmpfs /run tmpfs nodev,nosuid,size=50% 0 0\n";
    let old = editor.text("etc/fstab")?;
    let kept = old.as_deref().unwrap_or_default().lines().filter(|line| !line.contains("/run"));
    let new: String = kept.flat_map(|line| [line, "\n"]).chain([LINE]).collect();
    match old {
        Some(_) => editor.edit("etc/fstab", |_| new)?,
        None => editor.file("etc/fstab", 0o644, &new)?,
    }
    editor.edit(&format!("{UNITS}/{TARGET}"), require_remount)
}

/// The line in fstab takes effect when systemd remounts `/run`.
fn require_remount(unit: &str) -> String {
    const SERVICE: &str = "systemd-remount-fs.service";
    let required = |line: &str| {
        line.strip_prefix("Requires=").is_some_and(|units| units.split(' ').any(|u| u == SERVICE))
    };
    if unit.lines().any(required) {
        return unit.to_owned();
    }
    unit.replacen("[Unit]\n", &format!("[Unit]\nRequires={SERVICE}\n"), 1)
}
