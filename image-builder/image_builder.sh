#!/usr/bin/env bash
# Kata's image_builder.sh: the same options, variables and exit statuses. osbuilder reads the
# variables itself; this translates the options.
set -euo pipefail

script_name="${0##*/}"
script_dir="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=scripts/lib.sh
source "${script_dir}/../scripts/lib.sh"

usage() {
    cat <<EOT
Usage: ${script_name} [options] ROOTFS_DIR

Makes a disk image of a root file system.

  -h       show this help
  -o FILE  where the image goes [default: kata-containers.img]
  -r MB    free space to add
  -f FS    file system: ext4, erofs or xfs

Kata's environment variables are read as ever: IMAGE, FS_TYPE, BLOCK_SIZE, ROOT_FREE_SPACE,
IMAGE_SIZE_ALIGNMENT_MB, SKIP_DAX_HEADER, SKIP_ROOTFS_CHECK, MEASURED_ROOTFS, BUILD_VARIANT,
AGENT_BIN, AGENT_INIT, SELINUX. A measured image's root hash goes to root_hash_<BUILD_VARIANT>.txt beside it.
No container, no loop device and no root is needed. More: osbuilder image --help
EOT
}

options=()
image="${IMAGE:-kata-containers.img}"
while getopts ho:r:f: option; do
    case "${option}" in
        h)
            usage
            exit 0
            ;;
        o) image="${OPTARG}" ;;
        r) options+=(--free-space "${OPTARG}") ;;
        f) options+=(--file-system "${OPTARG}") ;;
        # As ever, an unknown option ends the options; the next word is the directory.
        *) break ;;
    esac
done
shift $((OPTIND - 1))

[[ $# -gt 0 ]] || {
    usage >&2
    exit 1
}
rootfs="$1"
[[ -d "${rootfs}" ]] || die "${rootfs} is not a directory; Invalid rootfs"

osbuilder="$(find_osbuilder "${script_dir}")"
"${osbuilder}" image --rootfs "${rootfs}" --output "${image}" "${options[@]}"
ok "image is at ${image}"
