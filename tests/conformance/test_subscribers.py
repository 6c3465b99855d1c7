"""Who gets an event where several listen: crirm may listen too only where that takes nothing from the kubelet."""

from __future__ import annotations

import threading
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import attrs
import pytest

from crirm.cri.proto.runtime import v1
from crirm.daemon.observation.event_habits import tells_everybody
from tests.conformance.client import GrpcioClient
from tests.conformance.cri import HOST, OK, V1, Cri, wait_until
from tests.daemons import running_daemon

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conformance.client import Call
    from tests.conformance.machines import Machines

PODS = 6
PROBES = 4  # containerd 1.7 tells one event to each listener that has left before it notices
KINDS = 4  # created, started, stopped, deleted
ONE_CHANNEL = "sim-one-channel"
RUNTIMES = [
    pytest.param("sim", True, id="the embedded runtime"),
    pytest.param(ONE_CHANNEL, False, id="the embedded runtime with one channel"),
    pytest.param("trixie", False, id="containerd 1.7", marks=pytest.mark.containerd),
    pytest.param("sid", True, id="containerd 2", marks=pytest.mark.containerd),
]


class Listener:
    """Takes every event of a stream until it is closed."""

    def __init__(self, cri: Cri) -> None:
        self.heard: list[tuple[str, int]] = []
        self._call: Call = cri.start("GetContainerEvents", v1.GetEventsRequest(), timeout_s=60)
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        for message in self._call:
            event = v1.ContainerEventResponse().parse(message)
            self.heard.append((event.container_id, int(event.container_event_type)))

    def of(self, pods: list[str]) -> list[tuple[str, int]]:
        """What was heard of *pods*."""
        return [each for each in self.heard if each[0] in pods]

    def close(self) -> None:
        self._call.cancel()
        self._thread.join(timeout=10)


@attrs.frozen
class Runtime:
    """A runtime that has events."""

    name: str
    socket: Path
    cgroup_parent: str

    def run_pods(self, cri: Cri, count: int, name: str) -> list[str]:
        """Have *count* pods come and go; return their ids."""
        ids = []
        for number in range(count):
            uid = f"{name}-{number}"
            config = v1.PodSandboxConfig(
                metadata=v1.PodSandboxMetadata(name=uid, uid=uid, namespace="events"),
                linux=v1.LinuxPodSandboxConfig(
                    cgroup_parent=f"{self.cgroup_parent}/pod{uid}",
                    security_context=v1.LinuxSandboxSecurityContext(namespace_options=v1.NamespaceOption(network=HOST)),
                ),
            )
            run = v1.RunPodSandboxRequest(config=config)
            ids.append(cri.call("RunPodSandbox", run, v1.RunPodSandboxResponse).pod_sandbox_id)
            for method, request in (
                ("StopPodSandbox", v1.StopPodSandboxRequest(pod_sandbox_id=ids[-1])),
                ("RemovePodSandbox", v1.RemovePodSandboxRequest(pod_sandbox_id=ids[-1])),
            ):
                assert cri.reply(method, request).code == OK
        return ids


@pytest.fixture
def runtime(request: pytest.FixtureRequest, machines: Machines, tmp_path: Path) -> Iterator[Runtime]:
    name = request.param
    if name != ONE_CHANNEL:
        machine = machines.get(name)
        yield Runtime(name, machine.socket, machine.cgroup_parent)
        return
    socket = tmp_path / "sim.sock"
    words = ("sim", "--one-event-channel", "--socket", socket)
    with running_daemon(*words, socket_path=socket, log_path=tmp_path / "sim.log"):
        yield Runtime(name, socket, "/crirm-sim")


@pytest.mark.parametrize(("runtime", "everybody"), RUNTIMES, indirect=["runtime"])
def test_the_table_of_habits_is_right(runtime: Runtime, everybody: bool) -> None:
    with ExitStack() as stack:
        cri = Cri(stack.enter_context(closing(GrpcioClient(runtime.socket))), V1)
        said = cri.call("Version", v1.VersionRequest(), v1.VersionResponse)
        one, two = (stack.enter_context(closing(Listener(cri))) for _ in range(2))
        runtime.run_pods(cri, PROBES, "probe")
        pods = runtime.run_pods(cri, PODS, "counted")
        wait_until(lambda: len({*one.of(pods), *two.of(pods)}) == PODS * KINDS)
        if everybody:  # one may be slower to hear than the other
            wait_until(lambda: len(one.of(pods)) == len(two.of(pods)) == PODS * KINDS)
        both_heard_all = len(one.of(pods)) == len(two.of(pods)) == PODS * KINDS
        assert both_heard_all or not set(one.of(pods)) & set(two.of(pods))
    assert both_heard_all is everybody
    assert tells_everybody(said.runtime_name, said.runtime_version) is everybody, said


@pytest.mark.parametrize("runtime", [pytest.param(each.values[0], id=each.id, marks=each.marks) for each in RUNTIMES],
                         indirect=True)  # fmt: skip
def test_nobody_loses_events_to_crirm(runtime: Runtime, tmp_path: Path) -> None:
    socket = tmp_path / "relay.sock"
    words = ("serve", "--relay-socket", socket, "--runtime-socket", runtime.socket, "--policy", "static",
             "--reserved-cpus", "1", "--state-dir", tmp_path / "state")  # fmt: skip
    with running_daemon(*words, socket_path=socket, log_path=tmp_path / "crirm.log"), ExitStack() as stack:
        cri = Cri(stack.enter_context(closing(GrpcioClient(socket))), V1)
        kubelet = stack.enter_context(closing(Listener(cri)))
        runtime.run_pods(cri, PROBES, "probe")
        pods = runtime.run_pods(cri, PODS, "counted")
        wait_until(lambda: len(kubelet.of(pods)) == PODS * KINDS)
