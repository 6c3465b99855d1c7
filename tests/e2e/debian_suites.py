"""Other releases of containerd: packages of Debian's suites, unpacked beside the machine's own and never installed.

apt fetches them with configuration, lists and cache of its own, from the mirror that the machine itself uses, and
checks them against Debian's keyring. Whatever version a suite holds today is the one that is tested. All of them run
with the machine's own runc.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from crirm.launcher.containerd import Installation, find_installed, inspect_installation

CACHE = Path(__file__).parents[2] / ".cache" / "debian-suites"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

# What each suite stands for; the conformance suite holds the answers of the runtime against it.
SUITES = {
    "bullseye": "containerd 1.4, v1alpha2 only",
    "bookworm": "containerd 1.6, both API versions",
    "trixie": "containerd 1.7, both API versions, container events",
    "sid": "containerd 2.1 or newer, v1 only",
}


class MissingError(Exception):
    """A release of containerd cannot be had here; str() says why."""


def fetch(suite: str, cache: Path = CACHE) -> Installation:
    """The containerd of one Debian suite, unpacked below *cache*; the machine's own if it is of that suite.

    Raises:
        MissingError: the machine is not Debian, has no containerd and runc of its own, or the mirror does not answer.
    """
    own = find_installed()
    if own is None:
        raise MissingError("containerd and runc are not installed: apt-get install containerd runc")
    if suite == _suite_of(own):
        return own
    unpacked = cache / platform.machine() / suite
    if not unpacked.exists():
        _fetch_and_unpack(suite, unpacked)
    return inspect_installation(unpacked / "usr/bin", own.runc)


def _suite_of(own: Installation) -> str:
    """The suite that the machine's own containerd is of; on Debian's relatives, the suite with a like release."""
    system = platform.freedesktop_os_release()
    if system["ID"] == "debian":
        return system.get("VERSION_CODENAME", "sid")
    last_before = {"bullseye": (1, 5), "bookworm": (1, 7), "trixie": (2, 0)}
    return next((suite for suite, release in last_before.items() if own.release < release), "sid")


def _fetch_and_unpack(suite: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f"{suite}.", dir=target.parent))
    try:
        _unpack(_download(suite, work), work / "unpacked")
        with suppress(OSError):  # another session may have been quicker
            (work / "unpacked").rename(target)
    finally:
        shutil.rmtree(work)


def _download(suite: str, work: Path) -> Path:
    (work / "sources.list").write_text(f"deb [signed-by={KEYRING}] {_mirror()} {suite} main\n")
    for folder in ("lists/partial", "cache/archives/partial"):
        (work / folder).mkdir(parents=True)
    _apt(work, "update")
    _apt(work, "download", "containerd")
    return next(work.glob("containerd_*.deb"))


def _apt(work: Path, *command: str) -> None:
    """Run apt-get away from the machine's own state; three tries, since mirrors have bad moments."""
    options = {
        "Dir::Etc::sourcelist": work / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::State::lists": work / "lists",
        "Dir::State::status": "/dev/null",  # else apt hides packages older than the installed one
        "Dir::Cache": work / "cache",
        "Acquire::Languages": "none",
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
        "Acquire::Retries": 3,
        "APT::Sandbox::User": "root",
        "APT::Update::Error-Mode": "any",
    }
    argv = ["apt-get", "-q", *(f"-o{key}={value}" for key, value in options.items()), *command]
    for pause_s in (2, 10, None):
        done = subprocess.run(argv, cwd=work, capture_output=True, text=True, check=False, timeout=300)
        if done.returncode == 0:
            return
        if pause_s is not None:
            time.sleep(pause_s)
    raise MissingError(f"apt-get {' '.join(command)} failed: {done.stderr.strip()}")


def _mirror() -> str:
    """The URI from which this machine gets its own release."""
    if shutil.which("apt-get") is None:
        raise MissingError("this machine has no apt-get, so no packages of Debian can be fetched")
    argv = ["apt-get", "indextargets", "--format", "$(CREATED_BY) $(ORIGIN) $(RELEASE) $(REPO_URI)"]
    listed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    own_suite = platform.freedesktop_os_release().get("VERSION_CODENAME", "sid")
    for line in listed.splitlines():
        match line.split():
            case ["Packages", "Debian", release, uri] if release == own_suite:
                return uri
    raise MissingError(f"apt knows no mirror of Debian's {own_suite}; on Debian, run apt-get update first")


def _unpack(package: Path, target: Path) -> None:
    target.mkdir()
    subprocess.run(["dpkg-deb", "--extract", str(package), str(target)], check=True)
