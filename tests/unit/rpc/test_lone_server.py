"""Callers that come while the runtime is away."""

from __future__ import annotations

import pytest
from grpclib.const import Status

from crirm.rpc.calls import Refusal
from crirm.rpc.grpc_wire import find, frame
from tests.unit.rpc.rig import Transport, in_guest_mode, open_rig


@pytest.mark.parametrize("body", [pytest.param(frame(b"hi"), id="whole"), pytest.param(None, id="still coming")])
@in_guest_mode
async def test_calls_are_refused_at_once_whether_their_request_is_whole_or_not(body: bytes | None) -> None:
    async with open_rig() as rig:
        rig.away = True
        caller = await rig.another_kubelet()
        calls = [await rig.call(peer=caller, body=body) for _ in range(3)]
        assert [find(caller.streams[call].headers[-1], b"grpc-status") for call in calls] == [b"14"] * 3
        assert all(caller.streams[call].ended for call in calls)


@in_guest_mode
async def test_the_reason_is_that_of_the_route() -> None:
    async with open_rig() as rig:
        rig.away, rig.refusal = True, Refusal(Status.UNAVAILABLE, "stopping")
        caller = await rig.another_kubelet()
        call = await rig.call(peer=caller)
        assert find(caller.streams[call].headers[-1], b"grpc-message") == b"stopping"


@in_guest_mode
async def test_a_caller_that_does_not_read_is_not_read_either() -> None:
    """What it is answered would pile up."""
    async with open_rig() as rig:
        rig.away = True
        caller = await rig.another_kubelet()
        caller.other.pause_writing()
        assert not caller.transport.reading
        caller.other.resume_writing()
        assert caller.transport.reading


@in_guest_mode
async def test_a_caller_that_speaks_no_http2_is_left() -> None:
    async with open_rig() as rig:
        rig.away = True
        connection, transport = rig.server.new_connection(), Transport()
        connection.connection_made(transport)
        connection.data_received(b"GET / HTTP/1.1\r\n\r\n")
        assert transport.closed
