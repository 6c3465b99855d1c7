"""The listening side as the daemon uses it: the gate, and the way out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from grpclib.const import Status

from crirm.rpc import bridge
from crirm.rpc.calls import Refusal
from crirm.rpc.grpc_wire import find
from tests.unit.rpc.rig import REPLY, Peer, Rig, Transport, on_loop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

EVENTS = b"/runtime.v1.RuntimeService/GetContainerEvents"
STOPPING = Refusal(Status.UNAVAILABLE, "stopping")


def status_of(peer: Peer, stream_id: int) -> bytes | None:
    headers = peer.streams[stream_id].headers
    return find(headers[-1], b"grpc-status") if headers else None


@on_loop
async def test_a_shut_gate_refuses_new_calls_ends_endless_ones_and_lets_others_finish() -> None:
    rig = Rig()
    begun, endless = rig.call(), rig.call(path=EVENTS)
    rig.server.shut_gate(STOPPING, lambda path: path == EVENTS)
    late = rig.call()
    rig.settle()
    assert [status_of(rig.kubelet, call) for call in (begun, endless, late)] == [None, b"14", b"14"]
    assert rig.runtime.streams[3].reset == 8
    rig.answer(1)
    assert status_of(rig.kubelet, begun) == b"0"
    assert not rig.server.calls


def in_guest(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Run *test* as the daemon runs: Trio on asyncio."""

    def run() -> None:
        bridge.run(test)

    run.__name__ = test.__name__
    return run


@in_guest
async def test_the_last_call_ends_the_wait() -> None:
    rig = Rig()
    rig.call()
    rig.server.shut_gate(STOPPING, lambda _path: False)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.server.wait_idle)
            await trio.testing.wait_all_tasks_blocked()
            assert nursery.child_tasks
            rig.answer(1)


@pytest.mark.parametrize("calls", [pytest.param(0, id="an idle caller"), pytest.param(1, id="a call in flight")])
def test_hanging_up_waits_until_everything_was_sent(calls: int) -> None:
    async def hang_up() -> None:
        rig = Rig()
        streams = [rig.call() for _ in range(calls)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.server.hang_up, "stopped")
            await trio.testing.wait_all_tasks_blocked()
            assert rig.kubelet.transport.closed, "asyncio sends what it still has, and then tells"
            assert nursery.child_tasks
            rig.settle()
            assert [status_of(rig.kubelet, stream) for stream in streams] == [b"14"] * calls
            rig.downstream.connection_lost(None)

    bridge.run(hang_up)


@on_loop
async def test_a_connection_that_was_given_up_before_it_was_made_is_closed() -> None:
    rig = Rig()
    connection = rig.server.new_connection()
    rig.server.close("stopped")
    transport = Transport()
    connection.connection_made(transport)
    assert transport.closed
    assert not transport.written


@on_loop
async def test_nothing_is_written_to_a_socket_that_asyncio_has_found_broken() -> None:
    rig = Rig()
    rig.call()
    rig.kubelet.transport.closed = True  # and connection_lost follows in a later turn of the loop
    rig.runtime.h2.send_headers(1, REPLY)
    rig.runtime.exchange(1 << 16)
    assert not rig.kubelet.transport.written
