#!/bin/sh
# Install crirm into .venv and run a container's life cycle through it.
. "$(dirname "$0")/prepare.sh"
prepare
exec .venv/bin/crirm demo "$@"
