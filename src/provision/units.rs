//! The files that start an agent under systemd, and mount guest extensions before it.
//!
//! Kata's tarballs bring these along; a ready binary does not, and a guest without them boots into
//! nothing. What is there already stays. Names and behaviour are those of Kata 4's agent.

use super::Error;
use super::editor::Editor;

/// Puts in what is missing.
pub(super) fn install(editor: &mut Editor<'_>, agent_name: &str) -> Result<(), Error> {
    let service = SERVICE.replace("AGENT", agent_name);
    let files: [(&str, u16, &str); 6] = [
        ("usr/lib/systemd/system/kata-agent.service", 0o644, &service),
        ("usr/lib/systemd/system/kata-containers.target", 0o644, TARGET),
        ("usr/lib/systemd/system/kata-extension-mount@.service", 0o644, EXTENSION_SERVICE),
        ("usr/lib/systemd/system-generators/kata-extension-mount-generator", 0o755, GENERATOR),
        ("usr/libexec/kata-extension-mount.sh", 0o755, EXTENSION_MOUNT),
        ("usr/libexec/kata-extension-umount.sh", 0o755, EXTENSION_UMOUNT),
    ];
    for (path, mode, text) in files {
        if !editor.exists(path) {
            editor.file(path, mode, text)?;
        }
    }
    Ok(())
}

/// The machine has no purpose without its agent: it powers off when the agent fails. Output goes to
/// the console, where the runtime collects it.
const SERVICE: &str = "\
[Unit]
Description=Kata Containers agent
Documentation=https://github.com/kata-containers/kata-containers
Wants=kata-containers.target

[Service]
Type=simple
ExecStart=/usr/bin/AGENT
ExecStop=/bin/sync ; /usr/bin/systemctl --force poweroff
FailureAction=poweroff
LimitNOFILE=infinity
StandardOutput=tty
";

/// The runtime boots into this target (`systemd.unit=kata-containers.target`).
const TARGET: &str = "\
[Unit]
Description=Kata Containers guest
Requires=basic.target tmp.mount kata-agent.service
Wants=chronyd.service
After=basic.target rescue.service rescue.target
Conflicts=rescue.service rescue.target
AllowIsolate=yes
";

const EXTENSION_SERVICE: &str = "\
[Unit]
Description=Kata guest extension %i
DefaultDependencies=no
ConditionKernelCommandLine=kata.extension.%i.verity_params
After=local-fs-pre.target
Before=kata-agent.service
OnFailure=poweroff.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/libexec/kata-extension-mount.sh %i
ExecStop=/usr/libexec/kata-extension-umount.sh %i
StandardOutput=journal+console
StandardError=journal+console

[Install]
WantedBy=kata-containers.target
";

/// systemd.generator(7): an instance for each extension that the kernel's command line names.
const GENERATOR: &str = r#"#!/bin/sh
# Starts kata-extension-mount@NAME for every kata.extension.NAME.verity_params[=...] on the kernel's
# command line.
set -eu
wants="$1/kata-containers.target.wants"
read -r words < /proc/cmdline || exit 0
set -f
for word in $words; do
    key="${word%%=*}"
    case "$key" in
        kata.extension.*.verity_params) ;;
        *) continue ;;
    esac
    name="${key#kata.extension.}"
    name="${name%.verity_params}"
    case "$name" in
        '' | *[!A-Za-z0-9_-]*) continue ;;
    esac
    mkdir -p "$wants"
    ln -sf /usr/lib/systemd/system/kata-extension-mount@.service \
        "$wants/kata-extension-mount@$name.service"
done
"#;

/// An extension with a hash partition is only ever mounted verified: an image without parameters,
/// or parameters without an image to verify, is refused, and the unit's failure powers off.
const EXTENSION_MOUNT: &str = r#"#!/bin/sh
# Mounts the guest extension NAME, read-only, at /run/kata-extensions/NAME. Its disk is the one with
# the serial number extension-NAME: partition 1 is an erofs, partition 2 its dm-verity hash tree.
set -euf
name="$1"

refuse() {
    echo "extension $name: $1" >&2
    exit 1
}

disk=
set +f
for serial in /sys/block/*/serial; do
    [ -f "$serial" ] || continue
    [ "$(cat "$serial")" = "extension-$name" ] || continue
    disk="${serial%/serial}"
    disk="/dev/${disk##*/}"
done
set -f
[ -n "$disk" ] || refuse "there is no disk with this serial number"
case "$disk" in
    *[0-9]) part="${disk}p" ;;
    *) part="$disk" ;;
esac

parameters=
read -r words < /proc/cmdline
for word in $words; do
    case "$word" in
        "kata.extension.$name.verity_params="*) parameters="${word#*=}" ;;
    esac
done

root_hash= salt= data_blocks= data_block_size=4096 hash_block_size=4096
old_ifs="$IFS"
IFS=,
for pair in $parameters; do
    value="${pair#*=}"
    case "${pair%%=*}" in
        root_hash) root_hash="$value" ;;
        salt) salt="$value" ;;
        data_blocks) data_blocks="$value" ;;
        data_block_size) data_block_size="$value" ;;
        hash_block_size) hash_block_size="$value" ;;
        *) refuse "unknown verity parameter $pair" ;;
    esac
done
IFS="$old_ifs"

if [ -b "${part}2" ]; then
    [ -n "$root_hash" ] || refuse "it has a hash tree, but no root hash was given"
    veritysetup open --no-superblock --salt="$salt" --data-blocks="$data_blocks" \
        --data-block-size="$data_block_size" --hash-block-size="$hash_block_size" \
        "${part}1" "extension-$name" "${part}2" "$root_hash"
    device="/dev/mapper/extension-$name"
else
    [ -z "$parameters" ] || refuse "verity parameters were given, but it has no hash tree"
    device="$disk"
    [ ! -b "${part}1" ] || device="${part}1"
fi

mkdir -p "/run/kata-extensions/$name"
mount -t erofs -o ro "$device" "/run/kata-extensions/$name"
"#;

const EXTENSION_UMOUNT: &str = r#"#!/bin/sh
# Undoes kata-extension-mount.sh.
set -eu
name="$1"
umount "/run/kata-extensions/$name"
[ ! -e "/dev/mapper/extension-$name" ] || veritysetup close "extension-$name"
"#;
