"""The ways from a caller to one runtime: directly, through crirm, through an older crirm, through another proxy."""

from __future__ import annotations

import sys
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from typing import TYPE_CHECKING, Final

import attrs

from bench.client import Client
from bench.pods import Kind, Pods
from bench.processes import REPOSITORY, BenchError, pid_behind, running
from bench.turns import TurnRecord
from crirm.hosts.syntax import parse_spec
from crirm.hosts.tree import write_tree
from crirm.launcher.containerd import find_installed, open_containerd
from crirm.launcher.oci_image import BUSYBOX_IMAGE, find_busybox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

DIRECT: Final = "direct"
CRIRM: Final = "crirm"
BEFORE: Final = "before"
HOST: Final = "2p.1d.2n.32c.2t"  # what policies place on in front of the lean runtime: 256 CPUs, 4 NUMA nodes
_LEAN_PARENTS: Final = ((Kind.SMALL, "/kubepods/burstable/pod{}"), (Kind.EXCLUSIVE, "/kubepods/pod{}"))
_START: Final = "from crirm.cli.main import main; main()"


@attrs.frozen
class Runtime:
    """A runtime that serves.

    Args:
        name: for people.
        is_real: it runs containers.
        socket: where it serves CRI.
        pods: what it can run.
        placing: options with which crirm places containers on it.
    """

    name: str
    is_real: bool
    socket: Path
    pods: Pods
    placing: tuple[str, ...]


@attrs.frozen
class Build:
    """One crirm that can be started.

    Args:
        name: for people.
        python: the interpreter that has its libraries.
        path: where that one finds crirm itself; empty: as it is installed.
    """

    name: str
    python: str
    path: str = ""

    def serve(
        self, runtime: Runtime, to: Path, *options: str, turns: Path | None = None
    ) -> tuple[list[str], Path, str]:
        """Return what `running` takes: serve *to* in front of *runtime*; how the loop turns goes to *turns*."""
        begin = ["-c", _START] if turns is None else [str(REPOSITORY / "bench/turns.py"), str(turns)]
        sockets = ["--relay-socket", str(to), "--runtime-socket", str(runtime.socket), "--allow-untested-runtimes"]
        return [self.python, "-P", *begin, "serve", *sockets, *options], to, self.path


def build_in(directory: Path) -> Build:
    """Return the older crirm of *directory*: a virtual environment, or a checkout with or without one.

    Raises:
        BenchError: there is none.
    """
    directory = directory.resolve()
    pythons = [path for path in (directory / ".venv/bin/python", directory / "bin/python") if path.exists()]
    is_checkout = (directory / "crirm/cli/main.py").exists()
    if not pythons and not is_checkout:
        raise BenchError(f"{directory} is neither a checkout of crirm nor a virtual environment")
    return Build(BEFORE, str(pythons[0] if pythons else sys.executable), str(directory) if is_checkout else "")


@attrs.frozen
class Other:
    """Another proxy that is already running in front of the same runtime."""

    name: str
    socket: Path


@attrs.frozen
class Way:
    """One connection of the caller.

    Args:
        name: where it leads through.
        client: it.
        pid: the process in between; None: nothing is.
        turns: what that one's event loop notes, of crirm.
    """

    name: str
    client: Client
    pid: int | None = None
    turns: TurnRecord | None = None


@attrs.frozen
class Rig:
    """Everything that a measurement needs."""

    runtime: Runtime
    builds: tuple[Build, ...]
    other: Other | None
    folder: Path

    @contextmanager
    def open_ways(self, *, placing: bool) -> Iterator[list[Way]]:
        """Open all of them, the direct one first; each crirm is started, with a policy that places or with none."""
        with ExitStack() as stack:

            def client(socket: Path) -> Client:
                return stack.enter_context(closing(Client(socket)))

            ways = [Way(DIRECT, client(self.runtime.socket))]
            if self.other:
                ways.append(Way(self.other.name, client(self.other.socket), pid_behind(self.other.socket)))
            for build in self.builds:
                socket = self.new_path(build, ".sock")
                record = TurnRecord.create(socket.with_suffix(".turns"))
                options = self.options(build, placing=placing)
                argv = build.serve(self.runtime, socket, *options, turns=socket.with_suffix(".turns"))
                pid = stack.enter_context(running(*argv))
                ways.append(Way(build.name, client(socket), pid, record))
            yield ways

    def options(self, build: Build, *, placing: bool) -> list[str]:
        """Return the options of ``crirm serve`` besides its sockets; what it keeps goes to a new directory."""
        return [*(self.runtime.placing if placing else ()), "--state-dir", str(self.new_path(build, ".state"))]

    def new_path(self, build: Build, suffix: str) -> Path:
        """Return a path that is not taken."""
        number = len(list(self.folder.glob(f"{build.name}-*{suffix}")))
        path = self.folder / f"{build.name}-{number}{suffix}"
        if suffix == ".state":
            path.mkdir()
        return path


@contextmanager
def open_lean(folder: Path, already_at: Path | None) -> Iterator[Runtime]:
    """Run the runtime that costs next to nothing, or take the one that serves *already_at*."""
    host = folder / "host"
    write_tree(parse_spec(HOST), host)
    placing = ("--policy", "topology-aware", "--reserved-cpus", "0-1", "--host-root", str(host))
    pods = Pods("docker.io/library/busybox:1.36", _LEAN_PARENTS)
    socket = already_at or folder / "lean.sock"
    with ExitStack() as stack:
        if already_at is None:
            argv = [sys.executable, "-m", "bench.runtime", str(socket)]
            stack.enter_context(running(argv, socket, str(REPOSITORY)))
        yield Runtime("lean", is_real=False, socket=socket, pods=pods, placing=placing)


@asynccontextmanager
async def open_private_containerd(folder: Path) -> AsyncIterator[Runtime]:
    """Run a containerd of our own; policies place on the CPUs that this machine has.

    Raises:
        BenchError: it is not installed.
    """
    installation = find_installed()
    if installation is None or find_busybox() is None:
        raise BenchError("containerd, runc or a static busybox is not installed; --runtime lean does without")
    async with open_containerd(installation, folder / "containerd") as instance:
        pods = Pods(BUSYBOX_IMAGE, tuple((kind, instance.cgroup_parent) for kind in Kind))
        placing = ("--policy", "topology-aware", "--reserved-cpus", "750m")
        yield Runtime(installation.name, is_real=True, socket=instance.socket, pods=pods, placing=placing)
