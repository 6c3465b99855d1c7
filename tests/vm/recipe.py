"""What the disks of an emulated server are made from; a recipe's digest names what it makes. Pure."""

from __future__ import annotations

import hashlib

import attrs

PACKAGES = (
    "linux-image-cloud-amd64",
    "python3",
    "containerd",
    "runc",
    "crun",
    "busybox-static",
    "libstdc++6",  # grpcio brings all else
    "systemd-sysv",  # only for servers that boot systemd
)
DRIVERS = ("virtio_pci", "virtio_blk", "virtio_rng")
"""Kernel modules without which the disks are not there, and a source of random numbers, without which Python waits."""

_DIGEST_LENGTH = 16


@attrs.frozen
class Recipe:
    """Everything that decides what comes out, apart from the day: packages are those of the day it was made.

    Args:
        suite: release of Debian.
        packages: of Debian.
        first: the first program, in the initial file system.
        making: the sources of the code that makes the disks.
    """

    suite: str
    packages: tuple[str, ...]
    first: str
    making: str

    @property
    def digest(self) -> str:
        """A name for what comes out: equal recipes have equal ones."""
        return digest(self.suite, *self.packages, self.first, self.making)


def digest(*parts: str) -> str:
    """Return a short digest of *parts*, which differs when the same text is divided differently."""
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]


def load_order(modules_dep: str, names: tuple[str, ...]) -> list[str]:
    """Return the files of the kernel modules *names* and of those that they need, each after what it needs.

    Args:
        modules_dep: the text of ``modules.dep``, which lists after each file those that it needs, the deepest last.
        names: of modules, with ``_`` for ``-``.

    Raises:
        KeyError: the kernel has no such module.
    """
    needs = {file: needed.split() for file, _, needed in (line.partition(":") for line in modules_dep.splitlines())}
    files = {file.rpartition("/")[2].partition(".")[0].replace("-", "_"): file for file in needs}
    order: list[str] = []
    for name in names:
        order += [file for file in (*reversed(needs[files[name]]), files[name]) if file not in order]
    return order
