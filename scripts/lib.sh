# What Kata's three entry points share: messages, and finding the program that does the work.
# Sourced by bash. Messages are worded as Kata's: INFO and WARNING on standard output, OK and ERROR
# on standard error.

# As ever: a trace of the shell for whoever looks for a fault.
[[ -z "${DEBUG:-}" ]] || set -x

info() { echo "INFO: $*"; }
warning() { echo "WARNING: $*"; }
ok() { echo "[OK] $*" >&2; }

die() {
    echo "ERROR: $*" >&2
    exit 1
}

# Prints the path of osbuilder: $OSBUILDER, an installed copy, what make built, or one in $PATH.
find_osbuilder() {
    local here="$1/.." candidate
    for candidate in "${OSBUILDER:-}" "${here}/osbuilder" \
        "${CARGO_TARGET_DIR:-${here}/target}/release/osbuilder"; do
        if [[ -f "${candidate}" && -x "${candidate}" ]]; then
            echo "${candidate}"
            return
        fi
    done
    command -v osbuilder || die "the program osbuilder is not built; run 'make program' in ${here}"
}
