"""One runtime with crirm in front of it, and a caller with a connection to each."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager, closing, contextmanager
from typing import TYPE_CHECKING

import attrs

from bench.client import Client
from bench.pods import Pods
from bench.processes import CRIRM, BenchError, running
from bench.turns import TurnRecord
from crirm.launcher.containerd import find_installed, open_containerd
from crirm.launcher.oci_image import BUSYBOX_IMAGE, find_busybox
from crirm.sim.seed import IMAGE as EMBEDDED_IMAGE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@attrs.frozen
class Runtime:
    """A runtime that serves.

    Args:
        name: for people.
        socket: where it serves CRI.
        pods: what it can run.
    """

    name: str
    socket: Path
    pods: Pods


@attrs.frozen
class Rig:
    """Everything that a measurement needs.

    Args:
        runtime: what is called.
        direct: calls it.
        relayed: calls crirm, which calls it.
        crirm_pid: process id of crirm.
        turns: what crirm's event loop notes.
    """

    runtime: Runtime
    direct: Client
    relayed: Client
    crirm_pid: int
    turns: TurnRecord


@contextmanager
def open_embedded(folder: Path) -> Iterator[Runtime]:
    """Run the embedded runtime in a process of its own."""
    socket = folder / "sim.sock"
    with running([CRIRM, "sim", "--socket", str(socket)], socket):
        yield Runtime("embedded", socket, Pods(EMBEDDED_IMAGE, cgroup_parent=""))


@asynccontextmanager
async def open_private_containerd(folder: Path) -> AsyncIterator[Runtime]:
    """Run a containerd of our own.

    Raises:
        BenchError: it is not installed.
    """
    installation = find_installed()
    if installation is None or find_busybox() is None:
        raise BenchError("containerd, runc or a static busybox is not installed; --runtime embedded does without")
    async with open_containerd(installation, folder / "containerd") as instance:
        yield Runtime(installation.name, instance.socket, Pods(BUSYBOX_IMAGE, instance.cgroup_parent))


@contextmanager
def open_rig(runtime: Runtime, folder: Path, *options: str) -> Iterator[Rig]:
    """Start crirm, with *options* besides its sockets, in front of *runtime* and connect to both."""
    socket = folder / f"{runtime.name.replace(' ', '-')}-relay.sock"
    record_path = socket.with_suffix(".turns")
    record = TurnRecord.create(record_path)
    argv = [sys.executable, "-m", "bench.turns", str(record_path), *serve_arguments(runtime, socket), *options]
    with running(argv, socket) as pid, closing(Client(runtime.socket)) as direct, closing(Client(socket)) as relayed:
        yield Rig(runtime, direct, relayed, pid, record)


def serve_arguments(runtime: Runtime, socket: Path) -> list[str]:
    """Return the arguments of ``crirm`` for serving *socket* in front of *runtime*."""
    return [
        "serve",
        "--relay-socket",
        str(socket),
        "--runtime-socket",
        str(runtime.socket),
        "--allow-untested-runtimes",
    ]
