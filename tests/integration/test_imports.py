"""What ``crirm serve`` imports until it has answered its first call: no module that this call does not need."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import pytest

from bench.client import Client
from bench.processes import REPOSITORY, running
from tests.daemons import running_daemon

if TYPE_CHECKING:
    from pathlib import Path

ALWAYS_LATER = {
    "rich.console": "screens of other commands",
    "pygments": "tracebacks of structlog's console renderer",
    "yaml": "configuration files and annotations",
    "tomli": "configuration files",
    "cattrs": "configuration files, and records that are written or read",
    "crirm.cri.proto.runtime.v1": "the whole API: messages that are dumped, the embedded runtime, tests",
    "crirm.kube.proto.v1": "the node agent",
    "crirm.replay.trace": "traces that are recorded or replayed",
    "crirm.sim": "the embedded runtime",
    "crirm.launcher": "a private containerd",
    "crirm.hosts": "synthetic hosts",
}
WITHOUT_POLICY = {
    "betterproto": "requests that are decided about",
    "dateutil": "what betterproto imports",
    "crirm.policy.topology_aware.policy": "the policy; its options are read by all",
    "crirm.daemon.placement.node": "decisions",
    "crirm.daemon.enforcer.enforcer": "decisions in the kernel",
    "importlib.metadata": "the version in saved state",
    "email": "what reads the version",
}


@pytest.mark.parametrize(
    ("options", "heavy"),
    [
        pytest.param((), ALWAYS_LATER | WITHOUT_POLICY, id="a daemon that only relays"),
        pytest.param(("--policy", "topology-aware", "--reserved-cpus", "750m"), ALWAYS_LATER, id="one that places"),
    ],
)
def test_heavy_modules_are_imported_when_they_are_needed(
    options: tuple[str, ...], heavy: dict[str, str], short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    runtime, relay, log = short_path / "runtime.sock", short_path / "relay.sock", short_path / "log"
    sockets = ("--relay-socket", relay, "--runtime-socket", runtime, "--state-dir", short_path / "state")
    with (
        running([sys.executable, "-m", "bench.runtime", str(runtime)], runtime, str(REPOSITORY)),
        running_daemon("serve", *sockets, *options, socket_path=relay, log_path=log),
    ):
        client = Client(relay)
        client.call("Version")
        client.close()
        imported = set(re.findall(r"^import time:.*\| +(\S+)$", log.read_text(), re.MULTILINE))
    assert {"trio", "crirm.daemon.app"} <= imported
    assert {name: why for name, why in heavy.items() if name in imported} == {}
