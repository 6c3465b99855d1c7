#!/bin/sh
# Install what crirm needs into .venv and show a container's life passing through it.
. "$(dirname "$0")/prepare.sh"
prepare
exec .venv/bin/crirm demo "$@"
