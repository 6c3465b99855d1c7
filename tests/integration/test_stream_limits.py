"""A runtime that takes few streams at once: every call has its turn, crirm's own too."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from crirm.cri.proto.runtime import v1
from crirm.hosts.synthetic import write_tree
from tests.conformance.cri import V1, Cri, wait_until
from tests.integration.deciding import HOST, Node
from tests.integration.support import EVENTS, NOT_FOUND

if TYPE_CHECKING:
    from tests.integration.support import Stage

_LIMITED = """
import sys
import h2.connection
from h2.settings import SettingCodes
import crirm.sim.server
from crirm.cli.main import main

streams = crirm.sim.server.MAX_STREAMS = int(sys.argv.pop(1))
begin = h2.connection.H2Connection.initiate_connection

def initiate_connection(self):  # says so from the first, as runtimes do
    self.local_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = streams
    self.local_settings.acknowledge()
    begin(self)

h2.connection.H2Connection.initiate_connection = initiate_connection
main()
"""


def _node(stage: Stage, streams: int) -> Node:
    """A machine whose runtime ends a connection that has more streams than it said."""
    host = stage.place / "host"
    host.mkdir()
    write_tree(HOST, host)
    runtime = stage.run([sys.executable, "-c", _LIMITED, streams, "sim", "--socket", stage.runtime_socket])
    runtime.wait_log("embedded runtime is serving")
    image = v1.PullImageRequest(image=v1.ImageSpec(image="busybox"))
    Cri(stage.client(socket=stage.runtime_socket), V1).call("PullImage", image, v1.PullImageResponse)
    return Node(stage, "static", stage.place / "state")


@pytest.mark.parametrize("streams", [1, 4])
def test_updates_reach_a_runtime_that_takes_few_streams(stage: Stage, streams: int) -> None:
    node = _node(stage, streams)
    relay = node.start()
    events = [stage.client().start(EVENTS, b"") for _ in range(3)]
    shared = node.run("shared", 0.5)
    for number in range(2):
        node.run(f"exclusive{number}", 2)
    expected = node.told()[shared]
    assert expected

    node.past_crirm()
    status = v1.ContainerStatusRequest(container_id=shared)

    def at_the_runtime() -> str:
        answer = node.cri.call("ContainerStatus", status, v1.ContainerStatusResponse)
        return answer.status.resources.linux.cpuset_cpus if answer.status and answer.status.resources else ""

    wait_until(lambda: at_the_runtime() == expected, 30.0)
    assert not relay.records("runtime is gone; calls fail until it is back")
    for call in events:
        call.cancel()


@pytest.mark.parametrize("streams", [1, 4])
def test_many_held_calls_at_once_all_end_well(stage: Stage, streams: int) -> None:
    """They share crirm's connections to the runtime; calls that pass have the runtime's limit as without crirm."""
    node = _node(stage, streams)
    relay = node.start()
    clients = [stage.client() for _ in range(3)]
    path, request = "/runtime.v1.RuntimeService/ContainerStatus", bytes(v1.ContainerStatusRequest(container_id="none"))
    calls = [client.start(path, request) for client in clients for _ in range(30)]
    assert {reply.code for reply in (call.finish() for call in calls)} == {NOT_FOUND}
    assert not relay.records("runtime is gone; calls fail until it is back")
