"""crirm in front of containerd, as it runs on a server, and a kubelet that uses it."""

from __future__ import annotations

import json
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from crirm.launcher import containerd as private_containerd
from crirm.launcher.containerd import Containerd, Installation, open_containerd
from tests import daemons
from tests.conformance.client import GrpcioClient
from tests.conformance.cri import V1, Cri
from tests.vm.inside.kubelet import Kubelet

if TYPE_CHECKING:
    from tests.trio_thread import TrioThread
    from tests.vm.servers import Server

FOLDER = Path("/run/crirm")
_CONTAINERD = Path("/var/containerd")
_PATIENCE_S = 180.0  # emulation is slow, and the machine that emulates may be busy


@attrs.define(eq=False)
class Node:
    """A containerd with crirm in front of it.

    Args:
        containerd: the runtime.
        systemd: whether systemd makes the cgroups.
        folder: for sockets, logs and the configuration.
    """

    containerd: Containerd
    systemd: bool
    folder: Path
    _stack: ExitStack = attrs.field(factory=ExitStack)
    _process: subprocess.Popen[bytes] | None = None
    _kubelet: Kubelet | None = None
    _options: tuple[str, ...] = ()

    @property
    def relay(self) -> Path:
        """The socket on which crirm serves."""
        return self.folder / "relay.sock"

    @property
    def kubelet(self) -> Kubelet:
        """The one that talks to crirm."""
        assert self._kubelet is not None, "crirm was not started"
        return self._kubelet

    def start(self, *options: str) -> None:
        """Start crirm with *options* of ``crirm serve``; without any, those of the last time."""
        options = self._options = options or self._options
        sockets = ("--relay-socket", self.relay, "--runtime-socket", self.containerd.socket)
        daemon = daemons.running_daemon(
            "serve", *sockets, *options, socket_path=self.relay, log_path=self.folder / "crirm.log"
        )
        self._process = self._stack.enter_context(daemon)
        client = GrpcioClient(self.relay)
        self._stack.callback(client.close)
        self._kubelet = Kubelet(Cri(client, V1), systemd=self.systemd)

    def stop(self) -> None:
        """Stop crirm as systemd would; pods go on."""
        self._stack.close()

    def kill(self) -> None:
        """End crirm at once."""
        assert self._process is not None, "crirm was not started"
        self._process.kill()
        self._process.wait()
        self.stop()

    def ask(self, *words: str) -> Any:
        """Return what one of crirm's own commands answers."""
        argv = [str(daemons.CRIRM), *words, "--control-socket", str(self.folder / "relay-control.sock"), "--json"]
        return json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)

    def told(self) -> dict[str, str]:
        """Return the CPUs by container id, as crirm has decided."""
        return {each["id"]: each["cpus"] for each in self.ask("status")["containers"]}


@attrs.define(eq=False)
class Nodes:
    """The one node that a server is at a time; starting crirm takes long, so it goes on while its configuration does.

    Args:
        containerd: the runtime.
        server: that this is.
    """

    containerd: Containerd
    server: Server
    _current: Node | None = None
    _config: str = ""

    def get(self, config: str) -> Node:
        """Return the node whose crirm has this configuration."""
        if self._current is None or config != self._config:
            self.stop()
            file = FOLDER / "config.yaml"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(config)
            self._current, self._config = Node(self.containerd, self.server.systemd, FOLDER), config
            self._current.start("--config", str(file))
        return self._current

    def stop(self) -> None:
        """Stop crirm, if it runs."""
        if self._current is not None:
            self._current.stop()
            self._current = None


def start_containerd(trio_thread: TrioThread, installation: Installation, server: Server) -> Containerd:
    """Start the server's containerd, with the cgroup driver that fits."""
    _be_patient()
    containerd = trio_thread.open(open_containerd(installation, _CONTAINERD))
    if server.systemd:
        file = containerd.root / "containerd.toml"
        file.write_text(file.read_text().replace("SystemdCgroup = false", "SystemdCgroup = true"))
        trio_thread.run(containerd.restart)
    return containerd


def _be_patient() -> None:
    """Give programs the time that they take when a processor is emulated."""
    for module in (daemons, private_containerd):
        for name in ("_STARTS_WITHIN_S", "_STOPS_WITHIN_S", "_READY_WITHIN_S", "_STOP_WITHIN_S"):
            if hasattr(module, name):
                setattr(module, name, _PATIENCE_S)
