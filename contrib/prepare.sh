# Sourced by the other scripts: makes an environment in .venv with the dependencies in pyproject.toml.
# Works on Debian 12 and newer and on Ubuntu 24.04 and newer, with python3 only; installing packages needs root.

set -eu
cd "$(dirname "$0")/.."

fail() {
    echo "$0: $1" >&2
    exit 1
}

# install_packages NAME...: install missing Debian packages.
install_packages() {
    missing=""
    for name in "$@"; do
        dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q '^install ok' || missing="$missing $name"
    done
    [ -n "$missing" ] || return 0
    [ "$(id -u)" = 0 ] || fail "missing packages:$missing; run this as root, or install them first"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q || fail "apt-get update failed; see above"
    # shellcheck disable=SC2086 # one word per package
    apt-get install -q -y --no-install-recommends $missing || fail "could not install$missing; see above"
}

# prepare EXTRA...: make .venv with crirm and the Python packages EXTRA.
prepare() {
    command -v python3 >/dev/null || fail "needs python3"
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "needs Python 3.11 or newer, found $(python3 -V)"
    python3 -c 'import ensurepip' 2>/dev/null || install_packages python3-venv
    [ -x .venv/bin/python ] || python3 -m venv .venv
    .venv/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt -e . "$@"
}
