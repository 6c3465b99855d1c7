"""Many callers, endless streams and slow readers; and what is left of them in crirm afterwards."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from crirm.cri.proto.runtime import v1
from tests.conformance.client import unary
from tests.integration.load import Load
from tests.integration.raw_caller import RawCaller
from tests.integration.support import (
    CANCELLED,
    CLIENTS,
    DEADLINE_EXCEEDED,
    ECHO,
    ECHO_STREAM,
    EVENTS,
    MIB,
    OK,
    SLACK_BYTES,
    VERSION,
    Stage,
)

if TYPE_CHECKING:
    from tests.integration.support import Program

CALLERS = 64
STATUS = "/runtime.v1.RuntimeService/Status"
RUN_SANDBOX = "/runtime.v1.RuntimeService/RunPodSandbox"
MESSAGE_BYTES = 64 << 10
STREAM_MESSAGES = 1024
STREAM = (("x-count", str(STREAM_MESSAGES)), ("x-size", str(MESSAGE_BYTES)))
ROOM_PER_STREAM_BYTES = 4 * MIB  # a window, and what asyncio and the kernel hold; a stream offers 64 MiB


def _expect_nothing_left(stage: Stage, relay: Program, open_files: int) -> None:
    stage.wait_open_files(relay, open_files)
    assert relay.stop() == 0
    assert relay.records("stopping")[0]["calls_in_flight"] == 0
    assert relay.sentences() == []


def test_64_callers_get_their_own_answers_and_leave_nothing_behind(stage: Stage) -> None:
    _, relay = stage.both()
    open_files = relay.open_files
    with Load(stage.relay_socket, CALLERS) as load:
        load.wait_more(OK, 10 * CALLERS)
        resident_bytes = relay.resident_bytes
        load.wait_more(OK, 40 * CALLERS)
    assert set(load.ended) == {OK}
    assert load.mixed_up == []
    assert relay.resident_bytes - resident_bytes < SLACK_BYTES
    _expect_nothing_left(stage, relay, open_files)


def test_every_subscriber_gets_the_events(stage: Stage) -> None:
    stage.both()
    subscriptions = [stage.client(kind).start(EVENTS, b"") for kind in (*CLIENTS, *CLIENTS)]
    stage.watch().wait("in_flight", EVENTS, len(subscriptions))
    metadata = v1.PodSandboxMetadata(name="pod", uid="uid", namespace="default")
    request = v1.RunPodSandboxRequest(config=v1.PodSandboxConfig(metadata=metadata))
    reply = unary(stage.client(), RUN_SANDBOX, bytes(request))
    pod = v1.RunPodSandboxResponse().parse(reply.message).pod_sandbox_id
    events = [v1.ContainerEventResponse().parse(next(iter(subscription))) for subscription in subscriptions]
    assert [event.container_id for event in events] == [pod] * len(subscriptions)
    for subscription in subscriptions:
        subscription.cancel()


def test_slow_readers_neither_fill_crirm_nor_stop_other_calls(stage: Stage) -> None:
    _, relay = stage.both()
    client = stage.client()
    assert unary(client, VERSION, b"").code == OK
    resident_bytes = relay.resident_bytes
    with RawCaller(stage.relay_socket) as unread, RawCaller(stage.relay_socket) as unread_too:
        for caller in (unread, unread_too):  # their sockets are full
            caller.call(ECHO_STREAM, *STREAM)
        streams = [client.start(ECHO_STREAM, b"", metadata=STREAM) for _ in range(2)]  # their windows are
        assert [len(next(iter(stream))) for stream in streams] == [MESSAGE_BYTES] * 2
        relay.wait_quiet()
        assert relay.resident_bytes - resident_bytes < 4 * ROOM_PER_STREAM_BYTES + SLACK_BYTES
        for other in (client, stage.client("grpclib")):
            assert unary(other, ECHO, b"hello").message == b"hello"
        assert unread.receive_trailers()[b"grpc-status"] == b"0"
        assert unread.received_bytes == STREAM_MESSAGES * (MESSAGE_BYTES + 5)
        assert streams[0].finish().code == OK
        streams[1].cancel()


def test_a_runtime_that_does_not_read_does_not_fill_crirm(stage: Stage) -> None:
    runtime, relay = stage.both()
    client = stage.client()
    assert unary(client, VERSION, b"").code == OK
    resident_bytes = relay.resident_bytes
    runtime.send(signal.SIGSTOP)
    calls = [client.start(ECHO, bytes(32 * MIB), metadata=(("x-size", "1"),), timeout_s=120.0) for _ in range(3)]
    relay.wait_quiet()
    assert relay.resident_bytes - resident_bytes < 3 * ROOM_PER_STREAM_BYTES + SLACK_BYTES
    runtime.send(signal.SIGCONT)
    assert [call.finish().code for call in calls] == [OK, OK, OK]
    assert relay.peak_bytes - resident_bytes < 3 * ROOM_PER_STREAM_BYTES + SLACK_BYTES


def test_calls_that_end_badly_leave_nothing_behind(stage: Stage) -> None:
    runtime, relay = stage.both(runtime_args=["--fault", "Status:hang"])
    open_files = relay.open_files
    client, watch = stage.client(), stage.watch()
    for _ in range(10):
        late = client.start(STATUS, b"", timeout_s=0.05)
        given_up = client.start(STATUS, b"")
        streamed = client.start(ECHO_STREAM, b"", metadata=STREAM)
        with RawCaller(stage.relay_socket) as caller:
            caller.call(STATUS)
            caller.call(ECHO_STREAM, *STREAM)
            caller.receive_at_least(MESSAGE_BYTES)
        next(iter(streamed))
        streamed.cancel()
        given_up.cancel()
        assert late.finish().code == DEADLINE_EXCEEDED
        assert given_up.finish().code == CANCELLED
    watch.wait("in_flight", STATUS, 0)
    watch.wait("in_flight", ECHO_STREAM, 0)
    runtime.kill()
    relay.wait_log("runtime is gone")
    stage.runtime()
    relay.wait_log("runtime is back")
    assert unary(client, VERSION, b"").code == OK
    client.close()
    _expect_nothing_left(stage, relay, open_files)
