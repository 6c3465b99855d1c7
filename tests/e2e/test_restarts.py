"""containerd and crirm restart while calls go on: containers live, no call hangs, and service resumes by itself."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import attrs
import pytest

from crirm.cri.proto.runtime import v1
from crirm.launcher.containerd import Containerd, Installation, open_containerd
from tests.conformance.cri import V1, Cri, Pod, World, wait_until
from tests.conformance.normal import Masks
from tests.integration.load import Load, Question
from tests.integration.support import DEADLINE_EXCEEDED, OK, UNAVAILABLE, Stage

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conformance.client import Client
    from tests.integration.support import Program
    from tests.trio_thread import TrioThread

pytestmark = pytest.mark.containerd

CALLERS = 8
LIST_CONTAINERS = "/runtime.v1.RuntimeService/ListContainers"
EXEC_SYNC = "/runtime.v1.RuntimeService/ExecSync"
# Waits until the test makes a file, which the container sees below /gate.
WAIT_AT_THE_GATE = ("/bin/sh", "-c", "touch /gate/reached; until [ -e /gate/open ]; do sleep 0.05; done; echo through")
RESTARTED_WITHIN_S = 60.0

ends = pytest.mark.parametrize("end", [pytest.param(True, id="SIGTERM"), pytest.param(False, id="SIGKILL")])


@attrs.frozen
class Node:
    """A containerd with a container in it, which is to outlive everything, and a crirm in front."""

    stage: Stage
    thread: TrioThread
    containerd: Containerd
    relay: Program
    pod: Pod
    container: str
    gate: Path

    def ask(self, _noise: random.Random) -> Question:
        """A question whose answer names the container."""
        return Question(LIST_CONTAINERS, b"", lambda answer: self.container.encode() in answer)

    def start_relay(self) -> Program:
        return self.stage.relay("--runtime-socket", self.containerd.socket, "--grace", "3600")

    def exec_sync(self, *command: str) -> v1.ExecSyncRequest:
        return v1.ExecSyncRequest(container_id=self.container, cmd=list(command), timeout=120)

    def expect_all_well(self, since_ns: int) -> None:
        """The container has run on, obeys, and others can be made."""
        cri, status = self.pod.world.cri, self.status()
        assert (status.state, status.started_at) == (v1.ContainerState.CONTAINER_RUNNING, since_ns)
        assert cri.call("ExecSync", self.exec_sync("/bin/true"), v1.ExecSyncResponse).exit_code == 0
        with self.pod.world.pod("another") as pod:
            assert pod.run("main")

    def status(self) -> v1.ContainerStatus:
        request = v1.ContainerStatusRequest(container_id=self.container)
        return self.pod.world.cri.call("ContainerStatus", request, v1.ContainerStatusResponse).status


@pytest.fixture
def node(short_path: Path, tmp_path: Path, installation: Installation, trio_thread: TrioThread) -> Iterator[Node]:
    containerd = trio_thread.open(open_containerd(installation, short_path / "c"))
    gate = tmp_path / "gate"
    gate.mkdir()
    stage = Stage(short_path)
    try:
        relay = stage.relay("--runtime-socket", containerd.socket, "--grace", "3600")
        world = _world(containerd, tmp_path, stage.client())
        with world.pod("kept") as pod:
            mounts = [v1.Mount(container_path="/gate", host_path=str(gate))]
            container = pod.run("kept", mounts=mounts)
            yield Node(stage, trio_thread, containerd, relay, pod, container, gate)
    finally:
        stage.close()


def _world(containerd: Containerd, logs: Path, client: Client) -> World:
    return World(
        cri=Cri(client, V1),
        cgroup_parent=containerd.cgroup_parent,
        logs=logs,
        runtime="containerd",
        has_events=False,
        has_processes=True,
        masks=Masks(),
        import_image=lambda *_: None,
    )


@ends
def test_containerd_restarts_under_load(node: Node, end: bool) -> None:
    since_ns = node.status().started_at
    with Load(node.stage.relay_socket, CALLERS, node.ask) as load:
        load.wait_more(OK, 50)
        node.thread.run(node.containerd.stop if end else node.containerd.kill)
        load.wait_more(UNAVAILABLE, CALLERS)
        node.relay.wait_log("runtime is gone")
        node.thread.run(node.containerd.start)
        load.wait_more(OK, 50)
    assert DEADLINE_EXCEEDED not in load.ended
    assert load.mixed_up == []
    node.expect_all_well(since_ns)


@ends
def test_crirm_restarts_under_load(node: Node, end: bool) -> None:
    since_ns = node.status().started_at
    with Load(node.stage.relay_socket, CALLERS, node.ask) as load:
        load.wait_more(OK, 50)
        if end:
            assert node.relay.stop() == 0
        else:
            node.relay.kill()
        load.wait_more(UNAVAILABLE)
        node.start_relay()
        load.wait_more(OK, 50)
    assert set(load.ended) == {OK, UNAVAILABLE}
    assert load.mixed_up == []
    node.expect_all_well(since_ns)


def test_a_command_that_runs_in_a_container_is_waited_for(node: Node) -> None:
    client = node.stage.client()
    call = client.start(EXEC_SYNC, bytes(node.exec_sync(*WAIT_AT_THE_GATE)), timeout_s=120.0)
    wait_until((node.gate / "reached").exists, 30.0)
    node.relay.send(signal.SIGTERM)
    node.relay.wait_log('"stopping"')
    assert client.start(LIST_CONTAINERS, b"").finish().code == UNAVAILABLE
    (node.gate / "open").touch()
    reply = call.finish()
    assert v1.ExecSyncResponse().parse(reply.message).stdout == b"through\n"
    assert node.relay.wait_exit() == 0
    node.start_relay()


def test_a_command_in_a_container_ends_for_its_caller_with_crirm(node: Node) -> None:
    since_ns = node.status().started_at
    call = node.stage.client().start(EXEC_SYNC, bytes(node.exec_sync(*WAIT_AT_THE_GATE)), timeout_s=120.0)
    wait_until((node.gate / "reached").exists, 30.0)
    node.relay.kill()
    assert call.finish().code == UNAVAILABLE
    (node.gate / "open").touch()
    node.start_relay()
    wait_until(lambda: node.pod.world.cri.reply("Version", v1.VersionRequest()).code == OK, RESTARTED_WITHIN_S)
    node.expect_all_well(since_ns)
