#!/bin/sh
# Install what the tests need and run all of them: lint, generated code, unit, integration, and end-to-end against real containerd.
. "$(dirname "$0")/prepare.sh"
[ "$(id -u)" = 0 ] || fail "needs root to start containerd and create cgroups"
install_packages containerd runc busybox-static systemd python3-venv ca-certificates
prepare nox

here=$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
.venv/bin/nox -s lint
.venv/bin/nox -s protos -- --check
exec .venv/bin/nox -s "tests-$here" e2e
