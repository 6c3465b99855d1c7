"""The end of ``crirm serve``: what happens to calls in flight, to new ones, and to those that never end."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING

import pytest

from tests.conformance.client import unary
from tests.integration.deciding import make_node
from tests.integration.raw_caller import RawCaller
from tests.integration.support import (
    CLIENTS,
    ECHO,
    ECHO_REQUESTS,
    EVENTS,
    OK,
    UNAVAILABLE,
    VERSION,
    HeldCall,
    Stage,
)

if TYPE_CHECKING:
    from tests.integration.support import Program

STATUS = "/runtime.v1.RuntimeService/Status"
HANG = ["--fault", "Status:hang"]
LONG_GRACE = ["--grace", "3600"]  # a test that needed it would fail by its own time limits


def _ask_to_stop(relay: Program) -> None:
    relay.send(signal.SIGTERM)
    relay.wait_log('"stopping"')


def test_a_call_in_flight_finishes_and_new_ones_are_refused(stage: Stage) -> None:
    _, relay = stage.both(*LONG_GRACE)
    held = HeldCall(stage)
    stage.watch().wait("in_flight", ECHO_REQUESTS)
    connected = stage.client()
    assert unary(connected, VERSION, b"").code == OK
    _ask_to_stop(relay)
    for client in (connected, stage.client("grpclib"), stage.client()):
        refused = unary(client, VERSION, b"")
        assert (refused.code, refused.text) == (UNAVAILABLE, "crirm is stopping and accepts no new calls")
    assert relay.records("stopping")[0]["calls_in_flight"] == 1
    assert not held.is_over
    assert held.finish() == b"held and finished"
    assert relay.wait_exit() == 0
    assert not stage.relay_socket.exists()


def test_calls_that_outlast_the_grace_are_cut_off(stage: Stage) -> None:
    _, relay = stage.both("--grace", "0.2", runtime_args=HANG)
    calls = [stage.client(kind).start(STATUS, b"") for kind in CLIENTS]
    watch = stage.watch()
    watch.wait("in_flight", STATUS, 2)
    relay.send(signal.SIGTERM)
    assert [call.finish().code for call in calls] == [UNAVAILABLE, UNAVAILABLE]
    assert relay.wait_exit() == 0
    assert relay.records("cut off calls in flight")[0]["calls"] == [STATUS, STATUS]
    watch.wait("cancelled", STATUS, 2)


def test_a_second_signal_ends_the_grace(stage: Stage) -> None:
    _, relay = stage.both(*LONG_GRACE, runtime_args=HANG)
    call = stage.client().start(STATUS, b"")
    stage.watch().wait("in_flight", STATUS)
    _ask_to_stop(relay)
    relay.send(signal.SIGTERM)
    assert relay.wait_exit() == 0
    assert call.finish().code == UNAVAILABLE


def test_held_calls_that_outlast_the_grace_are_cut_off_too(stage: Stage) -> None:
    """The handler of a call that was forwarded is shielded, but not for as long as the caller would wait."""
    status = "/runtime.v1.RuntimeService/ContainerStatus"
    node = make_node(stage, "static", "--fault", "ContainerStatus:hang")
    relay = node.start("--grace", "0.2")
    call = stage.client().start(status, b"", timeout_s=300.0)
    watch = stage.watch()
    watch.wait("in_flight", status)
    relay.send(signal.SIGTERM)
    assert call.finish().code == UNAVAILABLE
    assert relay.wait_exit() == 0
    watch.wait("cancelled", status)


def test_endless_streams_end_at_once_and_keep_nothing_waiting(stage: Stage) -> None:
    _, relay = stage.both(*LONG_GRACE)
    subscribers = [stage.client(kind).start(EVENTS, b"", timeout_s=60.0) for kind in (*CLIENTS, "grpcio")]
    held = HeldCall(stage)
    watch = stage.watch()
    watch.wait("in_flight", EVENTS, 3)
    watch.wait("in_flight", ECHO_REQUESTS)
    _ask_to_stop(relay)
    assert [subscriber.finish().code for subscriber in subscribers] == [UNAVAILABLE] * 3
    watch.wait("cancelled", EVENTS, 3)
    assert not held.is_over
    assert held.finish() == b"held and finished"
    assert relay.wait_exit() == 0


def test_idle_connections_do_not_delay_the_end(stage: Stage) -> None:
    _, relay = stage.both(*LONG_GRACE)
    clients = [stage.client(kind) for kind in CLIENTS]
    assert [unary(client, VERSION, b"").code for client in clients] == [OK, OK]
    with RawCaller(stage.relay_socket) as caller:
        assert relay.stop() == 0
        caller.wait_closed()


@pytest.mark.parametrize(
    "more_bytes",
    [
        pytest.param(32 << 10, id="what is left waits in crirm's socket"),
        pytest.param(8 << 20, id="what is left waits in the runtime"),
    ],
)
def test_the_last_answer_arrives_whole_however_late_it_is_read(stage: Stage, more_bytes: int) -> None:
    size_bytes = _socket_room_bytes() + more_bytes
    _, relay = stage.both(*LONG_GRACE)
    with RawCaller(stage.relay_socket) as caller:
        caller.call(ECHO, ("x-size", str(size_bytes)))
        caller.receive_headers()
        if more_bytes < 1 << 20:
            stage.watch().wait("answered", ECHO)
        _ask_to_stop(relay)
        assert unary(stage.client(), VERSION, b"").code == UNAVAILABLE
        assert caller.receive_trailers()[b"grpc-status"] == b"0"
        assert caller.received_bytes == size_bytes + 5
    assert relay.wait_exit() == 0


def _socket_room_bytes() -> int:
    """How much a Unix socket takes that nobody reads."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0)
        return ours.send(bytes(1 << 24))


def test_the_runtime_may_go_while_calls_are_waited_for(stage: Stage) -> None:
    runtime, relay = stage.both(*LONG_GRACE, runtime_args=HANG)
    call = stage.client().start(STATUS, b"")
    stage.watch().wait("in_flight", STATUS)
    _ask_to_stop(relay)
    runtime.kill()
    assert call.finish().code == UNAVAILABLE
    assert relay.wait_exit() == 0
