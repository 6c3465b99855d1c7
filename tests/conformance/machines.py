"""The runtimes of the conformance suite, each with crirm in front of it, started when first asked for."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import attrs
import pytest

from crirm.cri.proto.runtime import v1
from crirm.launcher import oci_image
from crirm.launcher.containerd import Containerd, Installation, open_containerd
from tests.conformance import client as grpc_client
from tests.conformance.cri import V1, V1ALPHA2, Cri
from tests.daemons import running_daemon
from tests.e2e import debian_suites
from tests.trio_thread import TrioThread, open_trio_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

BOTH = (V1, V1ALPHA2)
# The packages that each runtime serves by itself. A suite that moves on to another containerd shows up here.
PACKAGES = {
    "sim": BOTH,
    "sim-v1": (V1,),
    "sim-v1alpha2": (V1ALPHA2,),
    "bullseye": (V1ALPHA2,),
    "bookworm": BOTH,
    "trixie": BOTH,
    "sid": (V1,),
}
SIMS = tuple(name for name in PACKAGES if name.startswith("sim"))
CONTAINERDS = tuple(debian_suites.SUITES)


@attrs.frozen
class Machine:
    """One runtime."""

    name: str
    socket: Path
    cgroup_parent: str
    events_in: tuple[str, ...]  # the packages that have GetContainerEvents
    has_processes: bool
    import_image: Callable[..., None]


@attrs.frozen(eq=False)
class Machines:
    """All that were started so far."""

    _folder: Path
    _stack: ExitStack
    _trio: TrioThread
    _started: dict[str, Machine | BaseException] = attrs.field(factory=dict)
    _relays: dict[str, Path | BaseException] = attrs.field(factory=dict)

    def get(self, name: str) -> Machine:
        """The machine *name*; skips where this computer cannot have it, except in CI, where that is an error."""
        return self._once(self._started, name, self._start)

    def relay_socket(self, name: str) -> Path:
        """The socket of crirm in front of the machine *name*."""
        return self._once(self._relays, name, self._start_relay)

    def _once(self, known: dict[str, T | BaseException], name: str, start: Callable[[str], T]) -> T:
        """What *start* came to, for each name once: a second try at what failed would only hide the reason."""
        if name not in known:
            try:
                known[name] = start(name)
            except BaseException as fault:  # noqa: BLE001 - skips are no Exception
                known[name] = fault
        result = known[name]
        if isinstance(result, BaseException):
            raise result
        return result

    def _start(self, name: str) -> Machine:
        folder = self._folder / name
        folder.mkdir()
        return self._start_sim(name, folder) if name in SIMS else self._start_containerd(name, folder)

    def _start_relay(self, name: str) -> Path:
        folder = self._folder / name
        socket = folder / "relay.sock"
        self._daemon(folder, "relay", "serve", "--relay-socket", socket, "--runtime-socket", self.get(name).socket)
        return socket

    def _start_sim(self, name: str, folder: Path) -> Machine:
        api = {V1: "v1", V1ALPHA2: "v1alpha2"}[PACKAGES[name][0]] if len(PACKAGES[name]) == 1 else "both"
        self._daemon(folder, "sim", "sim", "--api", api, "--socket", folder / "sim.sock")
        socket = folder / "sim.sock"
        _pull(socket, PACKAGES[name][0], *(image.name for image in oci_image.STANDARD_IMAGES))
        return Machine(
            name, socket, "/crirm-sim",
            events_in=BOTH, has_processes=False,
            import_image=lambda *names: _pull(socket, PACKAGES[name][0], *names),
        )  # fmt: skip

    def _start_containerd(self, suite: str, folder: Path) -> Machine:
        containerd = self._trio.open(open_containerd(_installation(suite), folder))
        return Machine(
            suite, containerd.socket, containerd.cgroup_parent,
            events_in=(V1,) if containerd.installation.release >= (1, 7) else (), has_processes=True,
            import_image=lambda *names: self._import(containerd, names),
        )  # fmt: skip

    def _daemon(self, folder: Path, what: str, *args: object) -> None:
        socket_path = folder / f"{what}.sock"
        self._stack.enter_context(running_daemon(*args, socket_path=socket_path, log_path=folder / f"{what}.log"))

    def _import(self, containerd: Containerd, names: tuple[str, ...]) -> None:
        archive = containerd.root / "imported.tar"
        oci_image.write_archive(archive, tuple(oci_image.Image(name, ("/bin/true",)) for name in names))
        self._trio.run(containerd.import_images, archive, *names)


@contextmanager
def open_machines() -> Iterator[Machines]:
    """Nothing at first; everything that was started is taken down at the end."""
    with (
        tempfile.TemporaryDirectory(prefix="crirm-") as folder,
        open_trio_thread() as trio_thread,
        ExitStack() as stack,
    ):
        yield Machines(Path(folder), stack, trio_thread)


def _installation(suite: str) -> Installation:
    try:
        return debian_suites.fetch(suite)
    except debian_suites.MissingError as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(missing))


def _pull(socket: Path, package: str, *images: str) -> None:
    """The embedded runtime makes up any image that it is asked to pull."""
    client = grpc_client.GrpcioClient(socket)
    try:
        for image in images:
            request = v1.PullImageRequest(image=v1.ImageSpec(image=image))
            Cri(client, package).call("PullImage", request, v1.PullImageResponse)
    finally:
        client.close()
