#!/bin/sh
# Run the unit and integration tests on the Python of a newer Debian, in a root directory below .cache/trixie.
. "$(dirname "$0")/prepare.sh"
SUITE=trixie
ROOT=$PWD/.cache/$SUITE

[ "$(id -u)" = 0 ] || fail "needs root to create a root directory of another Debian release"
install_packages mmdebstrap debian-archive-keyring git
mirror=$(apt-get indextargets --format '$(SITE)' 'Origin: Debian' | head -n 1)
[ -n "$mirror" ] || fail "no Debian mirror in this machine's package sources to get $SUITE from"

if [ ! -x "$ROOT/usr/bin/python3" ]; then
    rm -rf "$ROOT"
    mkdir -p .cache
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    mmdebstrap --quiet --variant=essential --include=python3,python3-venv,libstdc++6 $SUITE "$ROOT" "deb [signed-by=$keyring] $mirror $SUITE main"
fi
version=$(chroot "$ROOT" python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')

# Download the wheels out here, with this machine's network settings; in there is no network.
prepare
wheels=$ROOT/srv/wheels
.venv/bin/python -m pip download -q --disable-pip-version-check -d "$wheels" -c constraints.txt --only-binary :all: \
    --python-version "$version" setuptools wheel $(.venv/bin/python contrib/requirements.py test)

rm -rf "$ROOT/srv/crirm"
git ls-files -z | tar --null -T - -c | (mkdir -p "$ROOT/srv/crirm" && tar -x -C "$ROOT/srv/crirm")
for each in proc dev sys; do mkdir -p "$ROOT/$each"; done
# In a mount namespace of its own, so that all mounts go away with it.
exec env -i PATH="$PATH" HOME=/root CI="${CI:-}" unshare --mount sh -c '
    set -eu
    mount -t proc proc "$0/proc"
    mount --rbind /dev "$0/dev"
    mount --rbind /sys "$0/sys"
    mount -t tmpfs tmpfs "$0/tmp"
    exec chroot "$0" sh -c "
        set -eu
        cd /srv/crirm
        [ -x /srv/venv/bin/python ] || python3 -m venv /srv/venv
        /srv/venv/bin/pip install -q --no-index --find-links /srv/wheels -c constraints.txt setuptools wheel
        /srv/venv/bin/pip install -q --no-index --find-links /srv/wheels -c constraints.txt --no-build-isolation -e . \$(/srv/venv/bin/python contrib/requirements.py test)
        exec /srv/venv/bin/python -m pytest tests/unit tests/integration -q -m \"not long\"
    "
' "$ROOT"
