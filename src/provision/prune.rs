//! Units that a guest's systemd can do without (`-d`): journal, udev, coredumps, time, generators.

use super::editor::Editor;
use crate::tree::Kind;

/// Removed with `.service` and `.socket` at the end.
const UNITS: [&str; 12] = [
    "systemd-coredump@",
    "systemd-journal-flush",
    "systemd-journald",
    "systemd-journald-dev-log",
    "systemd-random-seed",
    "systemd-timesyncd",
    "systemd-tmpfiles-setup",
    "systemd-udev-trigger",
    "systemd-udevd",
    "systemd-udevd-control",
    "systemd-udevd-kernel",
    "systemd-update-utmp",
];

/// Mounts what `/etc/fstab` says: a confidential guest sizes `/run` with it.
const FSTAB_GENERATOR: &str = "systemd-fstab-generator";

/// Removed by exactly this name.
const FILES: [&str; 5] = [
    "systemd-bless-boot-generator",
    FSTAB_GENERATOR,
    "systemd-getty-generator",
    "systemd-gpt-auto-generator",
    "systemd-tmpfiles-cleanup.timer",
];

/// Removes the files and links of these names, wherever they are. Directories stay.
pub(super) fn prune(editor: &mut Editor<'_>, keep_fstab_generator: bool) {
    let doomed: Vec<_> = (editor.tree.walk())
        .filter(|(_, _, inode)| !matches!(inode.kind, Kind::Directory(_)))
        .filter(|(path, ..)| path.name().is_some_and(is_pruned))
        .filter(|(path, ..)| !(keep_fstab_generator && is_named(path.name(), FSTAB_GENERATOR)))
        .map(|(path, ..)| path)
        .collect();
    for path in doomed {
        editor.tree.remove(&path);
    }
}

pub(super) fn is_pruned(name: &[u8]) -> bool {
    let stem = name.strip_suffix(b".service").or_else(|| name.strip_suffix(b".socket"));
    stem.is_some_and(|stem| UNITS.iter().any(|unit| unit.as_bytes() == stem))
        || FILES.iter().any(|file| file.as_bytes() == name)
}

fn is_named(name: Option<&[u8]>, wanted: &str) -> bool {
    name == Some(wanted.as_bytes())
}
