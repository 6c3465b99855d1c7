"""What passes from a caller to the runtime and back: bytes, deadlines, cancellation, and the caller's end."""

from __future__ import annotations

import os

import pytest

from crirm.rpc.grpc_wire import parse_timeout_s
from tests.conformance.client import Metadata, unary
from tests.integration.raw_caller import RawCaller
from tests.integration.support import (
    CANCELLED,
    CLIENTS,
    DEADLINE_EXCEEDED,
    ECHO,
    ECHO_STREAM,
    EVENTS,
    OK,
    SLACK_BYTES,
    VERSION,
    Stage,
)

HANG = ["--fault", "Status:hang"]
STATUS = "/runtime.v1.RuntimeService/Status"
ENDLESS: Metadata = (("x-count", "1000000000"), ("x-size", "16384"))

NEVER_S = 3600.0  # longer than the tests wait for what must happen without a deadline
NONSENSE = (
    b"GET / HTTP/1.1\r\n\r\n",
    bytes(range(256)) * 64,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(64),  # frames that make no sense
)


@pytest.mark.parametrize(("kind", "size_mib"), [("grpcio", 64), ("grpclib", 16)])
def test_large_messages_pass_both_ways_without_being_kept(stage: Stage, kind: str, size_mib: int) -> None:
    _, relay = stage.both()
    resident_bytes = relay.resident_bytes
    request = os.urandom(size_mib << 20)
    reply = unary(stage.client(kind), ECHO, request, timeout_s=120.0)
    assert reply.code == OK
    assert reply.message == request
    assert relay.peak_bytes - resident_bytes < SLACK_BYTES


def test_the_runtime_sees_a_deadline_that_has_shrunk(stage: Stage) -> None:
    stage.both()
    for kind in CLIENTS:
        reply = unary(stage.client(kind), ECHO, b"", timeout_s=20.0)
        (timeout,) = [value for key, value in reply.initial if key == "echo-timeout"]
        assert isinstance(timeout, str)
        left_s = parse_timeout_s(timeout.encode())
        assert left_s is not None
        assert 0 < left_s < 20


def test_a_deadline_ends_the_call_at_both_ends(stage: Stage) -> None:
    stage.both(runtime_args=HANG)
    for kind in CLIENTS:
        assert unary(stage.client(kind), STATUS, b"", timeout_s=0.3).code == DEADLINE_EXCEEDED
    stage.watch().wait("in_flight", STATUS, 0)


@pytest.mark.parametrize("kind", list(CLIENTS))
def test_cancelled_calls_are_cancelled_in_the_runtime(stage: Stage, kind: str) -> None:
    stage.both(runtime_args=HANG)
    client, watch = stage.client(kind), stage.watch()
    call = client.start(STATUS, b"", timeout_s=NEVER_S)
    stream = client.start(ECHO_STREAM, b"", metadata=ENDLESS, timeout_s=NEVER_S)
    assert len(next(iter(stream))) == 16384
    watch.wait("in_flight", STATUS)
    stream.cancel()
    stream.finish()
    call.cancel()
    assert call.finish().code == CANCELLED
    watch.wait("cancelled", ECHO_STREAM)
    watch.wait("cancelled", STATUS)


def test_a_caller_that_vanishes_takes_its_calls_along_and_no_others(stage: Stage) -> None:
    _, relay = stage.both(runtime_args=HANG)
    watch, other = stage.watch(), stage.client()
    bystander = other.start(EVENTS, b"")
    watch.wait("in_flight", EVENTS)
    before = relay.open_files
    with RawCaller(stage.relay_socket) as caller:
        caller.call(STATUS)
        caller.call(EVENTS)
        caller.call(ECHO_STREAM, ("x-count", "1000000000"), ("x-size", "16384"))
        watch.wait("in_flight", STATUS)
        watch.wait("in_flight", EVENTS, 2)
        caller.receive_at_least(1 << 20)
    for path in (STATUS, EVENTS, ECHO_STREAM):
        watch.wait("cancelled", path)
    assert watch.count("in_flight", EVENTS) == 1
    assert unary(other, VERSION, b"").code == OK
    assert relay.open_files == before
    bystander.cancel()


def test_callers_that_talk_nonsense_hurt_nobody(stage: Stage) -> None:
    _, relay = stage.both()
    client = stage.client()
    assert unary(client, VERSION, b"").code == OK
    open_files = relay.open_files
    for words in NONSENSE:
        with RawCaller(stage.relay_socket, preface=False) as caller:
            caller.say(words)
            caller.wait_closed()
    with RawCaller(stage.relay_socket, preface=False):  # says nothing at all
        assert unary(client, VERSION, b"").code == OK
    stage.wait_open_files(relay, open_files)
    assert relay.stop() == 0
    assert relay.sentences() == []
