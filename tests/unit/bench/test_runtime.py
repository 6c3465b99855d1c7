"""The lean runtime and its caller, whose bytes are read by libraries here."""

from __future__ import annotations

import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

import h2.config
import h2.connection
import h2.events
import pytest

from bench.client import CallError, Client
from bench.http2 import Connection, message
from bench.pods import Kind, Pods
from bench.processes import REPOSITORY, BenchError, pid_behind, running
from bench.runtime import Runtime
from bench.ways import build_in
from crirm.cri.proto.runtime import v1

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PODS = Pods("busybox", ((Kind.SMALL, "/kubepods/burstable/pod{}"), (Kind.EXCLUSIVE, "/kubepods/pod{}")))


@pytest.fixture
def lean(short_path: Path) -> Iterator[Path]:
    path = short_path / "lean.sock"
    with running([sys.executable, "-m", "bench.runtime", str(path)], path, str(REPOSITORY)):
        yield path


def test_pods_come_go_and_are_listed_as_the_api_says(lean: Path) -> None:
    client = Client(lean)
    PODS.stay(client, range(2))
    PODS.fill(client, range(2, 5))
    assert PODS.live(client, 9, Kind.EXCLUSIVE) > 0
    listed = v1.ListContainersResponse().parse(client.call("ListContainers")).containers
    assert [(one.metadata.name, one.image.image, one.state.name) for one in listed] == [
        (f"bench-{number:08}", "busybox", "CONTAINER_RUNNING" if number < 2 else "CONTAINER_CREATED")
        for number in range(5)
    ]
    assert listed[0].labels["io.kubernetes.pod.name"] == "bench-00000000"
    assert listed[0].annotations["io.kubernetes.container.restartCount"] == "0"
    running_only = v1.ContainerFilter(state=v1.ContainerStateValue(v1.ContainerState(1)))
    request = bytes(v1.ListContainersRequest(filter=running_only))
    assert len(v1.ListContainersResponse().parse(client.call("ListContainers", request)).containers) == 2
    pods = v1.ListPodSandboxResponse().parse(client.call("ListPodSandbox")).items
    assert [(pod.metadata.uid, pod.state.name) for pod in pods[:1]] == [("uid-bench-00000000", "SANDBOX_READY")]
    client.close()


def test_a_status_shows_what_an_update_has_changed() -> None:
    runtime = Runtime()

    def call(method: str, request: Any) -> bytes:
        answer = runtime.answer(method, bytes(request))
        assert answer is not None
        return answer

    pod = v1.RunPodSandboxResponse().parse(call("RunPodSandbox", v1.RunPodSandboxRequest())).pod_sandbox_id
    asked = v1.LinuxContainerResources(cpu_shares=51, cpu_quota=50_000)
    config = v1.ContainerConfig(linux=v1.LinuxContainerConfig(resources=asked))
    created = call("CreateContainer", v1.CreateContainerRequest(pod, config))
    container = v1.CreateContainerResponse().parse(created).container_id
    more = v1.LinuxContainerResources(cpu_shares=102, cpuset_cpus="0-3")
    call("UpdateContainerResources", v1.UpdateContainerResourcesRequest(container, linux=more))
    status = v1.ContainerStatusResponse().parse(call("ContainerStatus", v1.ContainerStatusRequest(container))).status
    assert status.resources.linux == v1.LinuxContainerResources(cpu_shares=102, cpu_quota=50_000, cpuset_cpus="0-3")
    shown = v1.PodSandboxStatusResponse().parse(call("PodSandboxStatus", v1.PodSandboxStatusRequest(pod))).status
    assert (shown.id, shown.state.name) == (pod, "SANDBOX_READY")


def test_calls_in_flight_are_all_answered_and_unknown_ones_refused(lean: Path) -> None:
    client = Client(lean)
    assert client.burst("Version", [b""] * 200, 64).calls == 200
    with pytest.raises(CallError, match="unknown method"):
        client.call("Attach")
    client.close()


def test_the_process_behind_a_socket_is_found(lean: Path, tmp_path: Path) -> None:
    assert f"{pid_behind(lean)}".isdigit()
    with pytest.raises(BenchError, match="nothing serves"):
        pid_behind(tmp_path / "x.sock")


def test_a_small_window_holds_a_large_message_back_until_more_is_given() -> None:
    ours = Connection(client=True)
    ours.send(1, ((":method", "POST"), (":path", "/x"), (":scheme", "http"), (":authority", "a")), b"x" * 200_000)
    theirs = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    theirs.initiate_connection()
    got = 0
    while ours.out:
        events = theirs.receive_data(bytes(ours.out))
        ours.out.clear()
        for event in events:
            if isinstance(event, h2.events.DataReceived):
                got += len(event.data)
                theirs.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        assert list(ours.feed(theirs.data_to_send())) == []
    assert got == 200_000
    assert theirs.streams[1].closed or isinstance(events[-1], h2.events.StreamEnded | h2.events.DataReceived)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_frames_are_found_wherever_reads_end(size: int) -> None:
    theirs, ours = Connection(client=True), Connection(client=False)
    theirs.send(1, ((":path", "/a"),), message(b"hello"))
    theirs.send(3, ((":path", "/a"),), message(b"world"))
    data = bytes(theirs.out)
    events = [event for at in range(0, len(data), size) for event in ours.feed(data[at : at + size])]
    assert [(stream, end, ours.headers.decode(payload)) for kind, end, stream, payload in events if kind == 1] == [
        (1, False, {":path": "/a"}),
        (3, False, {":path": "/a"}),
    ]
    assert [payload for kind, _, _, payload in events if kind == 0] == [message(b"hello"), message(b"world")]


def test_a_caller_comes_again_after_goaway(short_path: Path) -> None:
    path = short_path / "s"
    accepted: list[socket.socket] = []

    def serve(listener: socket.socket) -> None:
        for number in range(2):
            peer = listener.accept()[0]
            accepted.append(peer)
            ours = Connection(client=False)
            while not any(end for _, end, *_ in ours.feed(peer.recv(1 << 16))):
                pass
            ours.send(1, ((":status", "200"),), message(b"%d" % number), (("grpc-status", "0"),))
            peer.sendall(bytes(ours.out) + b"\0\0\x08\x07" + bytes(13))

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        client = Client(path)
        assert [client.call("Version"), client.call("Version")] == [b"0", b"1"]
        thread.join()
    client.close()
    for peer in accepted:
        peer.close()


def test_an_older_crirm_is_found_in_a_checkout_and_in_an_environment(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    with pytest.raises(BenchError, match="neither a checkout of crirm nor a virtual environment"):
        build_in(tmp_path)
    (tmp_path / "bin/python").touch()
    assert build_in(tmp_path).python == str(tmp_path / "bin/python")
    found = build_in(REPOSITORY)
    assert (found.name, found.path) == ("before", str(REPOSITORY))
