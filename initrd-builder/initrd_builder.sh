#!/usr/bin/env bash
# Kata's initrd_builder.sh: the same options, variables and exit statuses. osbuilder reads the
# variables itself; this translates the options.
set -euo pipefail

script_name="${0##*/}"
script_dir="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=scripts/lib.sh
source "${script_dir}/../scripts/lib.sh"

usage() {
    cat <<EOT
Usage: ${script_name} [options] ROOTFS_DIR

Makes an initrd of a root file system.

  -h       show this help
  -o FILE  where the initrd goes [default: kata-containers-initrd.img]

Kata's environment variables are read as ever: INITRD_IMAGE, AGENT_BIN, AGENT_INIT. More:
osbuilder initrd --help
EOT
}

initrd="${INITRD_IMAGE:-kata-containers-initrd.img}"
while getopts ho: option; do
    case "${option}" in
        h)
            usage
            exit 0
            ;;
        o) initrd="${OPTARG}" ;;
        *)
            usage >&2
            exit 1
            ;;
    esac
done
shift $((OPTIND - 1))

[[ $# -gt 0 ]] || {
    usage
    exit 0
}
rootfs="$1"
[[ -d "${rootfs}" ]] || die "${rootfs} is not a directory"

osbuilder="$(find_osbuilder "${script_dir}")"
"${osbuilder}" initrd --rootfs "${rootfs}" --output "${initrd}"
ok "initrd is at ${initrd}"
