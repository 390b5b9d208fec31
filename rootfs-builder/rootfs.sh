#!/usr/bin/env bash
# Kata's rootfs.sh: the same options, variables and exit statuses. osbuilder reads the variables
# itself; this translates the options.
set -euo pipefail

script_name="${0##*/}"
script_dir="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=scripts/lib.sh
source "${script_dir}/../scripts/lib.sh"

usage() {
    cat <<EOT
Usage: ${script_name} [options] [DISTRO]

Makes a root file system for a Kata guest from the packages of DISTRO. Without DISTRO, an existing
directory (-r, or ROOTFS_DIR) gets Kata's parts only.

  -a VERSION  version of the agent, for the summary file
  -d          remove systemd units and files that a guest does not need
  -h          show this help
  -l          list the distributions
  -o VERSION  version of osbuilder, for the summary file
  -r DIR      where the root file system goes [default: rootfs-DISTRO beside this script]
  -t DISTRO   show how a distribution starts and which processors it does not serve

Kata's environment variables are read as ever: AGENT_SOURCE_BIN, AGENT_TARBALL, AGENT_INIT,
AGENT_POLICY, SECCOMP, EXTRA_PKGS, OS_VERSION, ROOTFS_DIR and the others; AGENT=probe takes the
bundled stand-in for the agent. No container and no root is needed. More: osbuilder rootfs --help
EOT
}

# The agent is a service of systemd by default, but in Alpine, where it is the first process.
show_distro() {
    local init=systemd
    "${osbuilder}" distros --names | grep -qxF -- "$1" || die "unknown distribution: $1"
    [[ "$1" != alpine ]] || init=kata-agent
    printf 'INIT_PROCESS:\t\t%s\nARCH_EXCLUDE_LIST:\t\t\n' "${init}"
}

[[ $# -gt 0 || -n "${ROOTFS_DIR:-}" ]] || {
    usage
    exit 0
}

options=()
list=no
shown=
directory="${ROOTFS_DIR:-}"
while getopts a:dhlo:r:t: option; do
    case "${option}" in
        a) options+=(--agent-version "${OPTARG}") ;;
        d) options+=(--prune) ;;
        h)
            usage
            exit 0
            ;;
        l) list=yes ;;
        o) options+=(--osbuilder-version "${OPTARG}") ;;
        r) directory="${OPTARG}" ;;
        t) shown="${OPTARG}" ;;
        *) die "found an invalid option; -h lists the valid ones" ;;
    esac
done
shift $((OPTIND - 1))
[[ $# -le 1 ]] || die "more than one distribution: $*"

osbuilder="$(find_osbuilder "${script_dir}")"
if [[ "${list}" = yes ]]; then
    exec "${osbuilder}" distros --names
fi
if [[ -n "${shown}" ]]; then
    show_distro "${shown}"
    exit 0
fi
[[ -z "${AGENT:-}" ]] || options+=(--agent "${AGENT}")

if [[ $# -eq 1 ]]; then
    plugin="${script_dir}/$1/config.sh"
    if [[ -f "${plugin}" ]]; then
        "${osbuilder}" distros --names | grep -qxF -- "$1" ||
            die "${plugin} is not read: a distribution of your own is a recipe (recipes/README.md)"
        warning "${plugin} is not read: osbuilder knows $1 by itself"
    fi
    directory="${directory:-${script_dir}/rootfs-${OS_NAME:-$1}}"
    options+=("$1")
else
    [[ -n "${directory}" ]] || die "neither a distribution nor a directory is given"
    info "no distribution is named: ${directory} gets Kata's parts only"
    options+=(--provision-only)
fi
"${osbuilder}" rootfs --output "${directory}" "${options[@]}"
ok "rootfs is at ${directory}"
