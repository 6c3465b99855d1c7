#!/bin/sh
# Install what emulated servers need, and run the tests inside them; takes the arguments of `nox -s vm --`.
. "$(dirname "$0")/prepare.sh"
install_packages qemu-system-x86 mmdebstrap e2fsprogs debian-archive-keyring git python3-venv ca-certificates
prepare nox
exec .venv/bin/nox -s vm -- "$@"
