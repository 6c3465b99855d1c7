"""The listening side as the daemon uses it: the gate, and the way out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest
import trio
import trio.testing
from grpclib.const import Status

from crirm.rpc.calls import Answer, Refusal
from crirm.rpc.grpc_wire import find, frame
from crirm.rpc.server import MOST_CALLS, Route
from crirm.rpc.spliced_streams import Kept
from tests.unit.rpc.rig import OK, REPLY, VERSION, Peer, Transport, in_guest_mode, open_rig
from tests.unit.rpc.test_held import Part

if TYPE_CHECKING:
    from collections.abc import Callable

    from crirm.rpc.tap import Outcome
    from tests.unit.rpc.rig import Rig

EVENTS = b"/runtime.v1.RuntimeService/GetContainerEvents"
STOPPING = Refusal(Status.UNAVAILABLE, "stopping")


def status_of(peer: Peer, stream_id: int) -> bytes | None:
    headers = peer.streams[stream_id].headers
    return find(headers[-1], b"grpc-status") if headers else None


@pytest.mark.parametrize("replied", [pytest.param(False, id="before a reply"), pytest.param(True, id="in the reply")])
@in_guest_mode
async def test_a_shut_gate_refuses_new_calls_ends_endless_ones_and_lets_others_finish(*, replied: bool) -> None:
    async with open_rig() as rig:
        begun, endless = await rig.call(), await rig.call(path=EVENTS)
        if replied:
            rig.beyond.h2.send_headers(endless, REPLY)
            await rig.settle()
        rig.server.shut_gate(STOPPING, lambda path: path == EVENTS)
        late = await rig.call()
        assert [status_of(rig.kubelet, call) for call in (begun, endless, late)] == [None, b"14", b"14"]
        assert rig.beyond.streams[endless].reset == 8
        assert rig.server.calls == [VERSION]
        await rig.answer(begun)
        assert status_of(rig.kubelet, begun) == b"0"
        assert rig.idle


@in_guest_mode
async def test_what_was_on_its_way_for_a_call_that_was_cut_stays_here_and_its_window_goes_back() -> None:
    async with open_rig() as rig:
        await rig.answer(await rig.call())  # what ends calls is in the runtime's table from now on
        endless, other = await rig.call(path=EVENTS), await rig.call()
        rig.beyond.h2.send_headers(endless, REPLY)
        await rig.settle()
        before_bytes = rig.beyond.h2.outbound_flow_control_window
        rig.server.shut_gate(STOPPING, lambda path: path == EVENTS)
        rig.kubelet.exchange(1 << 16)
        for _ in range(3):
            rig.beyond.h2.send_data(endless, frame(b"event"))
        rig.beyond.h2.send_headers(endless, OK, end_stream=True)
        rig.downstream.flush()
        rig.beyond.other.data_received(rig.beyond.h2.data_to_send())
        await rig.settle()
        assert rig.kubelet.streams[endless].body == b""
        assert rig.beyond.h2.outbound_flow_control_window == before_bytes
        await rig.answer(other)
        assert rig.kubelet.streams[other].headers == [REPLY, OK]
        assert rig.idle


@pytest.mark.parametrize("held", [pytest.param(False, id="relayed"), pytest.param(True, id="held")])
@in_guest_mode
async def test_the_last_call_ends_the_wait(*, held: bool) -> None:
    async with open_rig() as rig:
        if held:
            rig.handler = Part()
        call = await rig.call()
        rig.server.shut_gate(STOPPING, lambda _path: False)
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(rig.server.wait_idle)
                await trio.testing.wait_all_tasks_blocked()
                assert nursery.child_tasks
                await rig.answer(1 if held else call, peer=rig.pool_runtime if held else rig.beyond)


@in_guest_mode
async def test_a_held_call_whose_caller_has_left_is_waited_for() -> None:
    async with open_rig() as rig:
        rig.handler = Part()
        await rig.call()
        rig.kubelet.vanish()
        rig.server.shut_gate(STOPPING, lambda _path: False)
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(rig.server.wait_idle)
                await rig.settle()
                assert nursery.child_tasks
                await rig.answer(1, peer=rig.pool_runtime)


@pytest.mark.parametrize("calls", [pytest.param(0, id="an idle caller"), pytest.param(1, id="a call in flight")])
@in_guest_mode
async def test_hanging_up_waits_until_everything_was_sent(calls: int) -> None:
    async with open_rig() as rig:
        streams = [await rig.call() for _ in range(calls)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.server.hang_up, "stopped")
            await trio.testing.wait_all_tasks_blocked()
            assert rig.kubelet.transport.closed, "asyncio sends what it still has, and then tells"
            assert nursery.child_tasks
            await rig.settle()
            assert [status_of(rig.kubelet, stream) for stream in streams] == [b"14"] * calls
            assert rig.kubelet.goodbye is not None
            rig.downstream.connection_lost(None)


@in_guest_mode
async def test_a_connection_that_was_given_up_before_it_was_made_is_closed() -> None:
    async with open_rig() as rig:
        connection = rig.server.new_connection()
        rig.server.close("stopped")
        transport = Transport()
        connection.connection_made(transport)
        assert transport.closed
        assert not transport.written


@in_guest_mode
async def test_nothing_is_written_to_a_socket_that_asyncio_has_found_broken() -> None:
    async with open_rig() as rig:
        stream = await rig.call()
        rig.kubelet.transport.closed = True  # and connection_lost follows in a later turn of the loop
        rig.beyond.h2.send_headers(stream, REPLY)
        rig.beyond.exchange(1 << 16)
        assert not rig.kubelet.transport.written


@in_guest_mode
async def test_closing_ends_forwarded_calls_too() -> None:
    """Who is cut off at the end of the grace is not waited for: their handlers are told that the outcome is open."""
    part = Part()
    async with open_rig() as rig:
        rig.handler = part
        stream = await rig.call()
        rig.server.close("crirm has stopped")
        await rig.settle()
        assert [answer.certain for answer in part.seen if isinstance(answer, Answer)] == [False]
        assert status_of(rig.kubelet, stream) == b"14"
        assert rig.pool_runtime.streams[1].reset == 8
        assert rig.idle


@in_guest_mode
async def test_a_caller_with_too_many_calls_leaves_no_observer_open() -> None:
    observer = Observer()
    async with open_rig() as rig:
        rig.route = observer.opening(rig)
        rig.downstream.splice.streams.update({-n: Kept(-n, VERSION, None) for n in range(MOST_CALLS)})
        stream = await rig.call()
        assert status_of(rig.kubelet, stream) == b"8"
        assert observer.opened == observer.closed


@in_guest_mode
async def test_a_caller_that_is_served_alone_leaves_no_observer_open() -> None:
    observer = Observer()
    async with open_rig() as rig:
        rig.away, rig.route = True, observer.opening(rig)
        caller = await rig.another_kubelet()
        assert status_of(caller, await rig.call(peer=caller)) == b"14"
        assert observer.opened == observer.closed


@attrs.define
class Observer:
    """Counts how often it was opened and closed."""

    opened: int = 0
    closed: int = 0

    def opening(self, rig: Rig) -> Callable[[bytes], Route]:
        def route(path: bytes) -> Route:
            self.opened += 1
            return Route(rig.pool, path, None, self)

        return route

    def request(self, message: bytes) -> None:
        """Nothing is looked at."""

    def reply(self, message: bytes) -> None:
        """Likewise."""

    def close(self, outcome: Outcome) -> None:
        assert outcome.status
        self.closed += 1
