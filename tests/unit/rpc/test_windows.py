"""Calls whose reader is slower than their sender: flow control, end to end."""

from __future__ import annotations

import pytest
from h2.settings import SettingCodes

from crirm.rpc.grpc_wire import find, frame
from tests.unit.rpc.rig import OK, REPLY, VERSION, in_guest_mode, open_rig


@in_guest_mode
async def test_a_slow_reader_stops_the_sender_at_its_own_window_and_nobody_elses_calls() -> None:
    async with open_rig(kubelet_acknowledges=False) as rig:
        stream = await rig.call()
        window = rig.kubelet.h2.remote_flow_control_window(stream)
        rig.beyond.h2.send_headers(stream, REPLY)
        body = bytes(range(256)) * 1024
        await rig.send(rig.beyond, stream, body[:window])
        await rig.settle()
        assert rig.beyond.h2.local_flow_control_window(stream) == 0, "the runtime waits, and crirm holds nothing"
        assert rig.kubelet.streams[stream].body == body[:window]
        other = await rig.call()
        assert find(rig.beyond.streams[other].headers[0], b":path") == VERSION, "calls still reach the runtime"
        rig.beyond.h2.send_headers(other, [*REPLY, *OK], end_stream=True)
        await rig.settle()
        assert rig.kubelet.streams[other].ended
        rig.kubelet.h2.acknowledge_received_data(window, stream)
        await rig.settle()
        await rig.send(rig.beyond, stream, body[window : window + 1000])
        await rig.settle()
        assert rig.kubelet.streams[stream].body == body[: window + 1000]


@in_guest_mode
async def test_trailers_of_a_held_call_wait_for_the_bytes_before_them() -> None:
    async def handler(call: object) -> bytes:
        await call.forward(b"")  # type: ignore[attr-defined] # a HeldCall
        return b"x" * 100_000

    async with open_rig(kubelet_acknowledges=False) as rig:
        rig.handler = handler
        stream = await rig.call()
        window = rig.kubelet.h2.remote_flow_control_window(stream)
        await rig.answer(1, peer=rig.pool_runtime)
        seen = rig.kubelet.streams[stream]
        assert (len(seen.body), seen.ended) == (window, False)
        assert not rig.outcomes, "the caller may still leave before its end"
        rig.kubelet.h2.acknowledge_received_data(window, stream)
        await rig.settle()
        assert (seen.body, seen.ended) == (frame(b"x" * 100_000), True)
        assert [outcome.status for _, outcome in rig.outcomes] == [0]
        assert rig.idle


@pytest.mark.parametrize("vanishes", [pytest.param(False, id="resets the stream"), pytest.param(True, id="vanishes")])
@in_guest_mode
async def test_a_whole_reply_reaches_a_slow_caller_whatever_the_runtime_does_next(*, vanishes: bool) -> None:
    """It waits behind that of a held call, of which the runtime does not know."""

    async def handler(call: object) -> bytes:
        await call.forward(b"")  # type: ignore[attr-defined] # a HeldCall
        return b"x" * 40_000

    async with open_rig(kubelet_acknowledges=False) as rig:
        rig.handler = handler
        held = await rig.call()
        await rig.answer(1, peer=rig.pool_runtime)
        rig.handler = None
        stream = await rig.call(body=None)
        await rig.answer(stream, body=b"y" * 40_000)
        seen = rig.kubelet.streams[stream]
        assert not seen.ended
        if vanishes:
            rig.beyond.vanish()
        else:
            rig.beyond.h2.reset_stream(stream, 0)
        await rig.settle()
        rig.kubelet.h2.acknowledge_received_data(40_000, held)
        await rig.settle()
        assert (seen.body, seen.headers[-1], seen.ended) == (b"y" * 40_000, OK, True)
        assert rig.idle


@pytest.mark.parametrize("big", ["request", "reply"])
@pytest.mark.parametrize("held", [pytest.param(False, id="relayed"), pytest.param(True, id="held")])
@in_guest_mode
async def test_what_is_larger_than_a_window_passes_to_its_end(big: str, *, held: bool) -> None:
    """Window is given back for what was sent on; without that, the sender stops after the first."""

    async def handler(call: object) -> None:
        await call.forward(call.message)  # type: ignore[attr-defined] # a HeldCall

    async with open_rig() as rig:
        rig.handler = handler if held else None
        body = frame(bytes(range(256)) * (3 << 12))
        stream = await rig.call(body=body if big == "request" else frame(b"ask"))
        peer, number = (rig.pool_runtime, 1) if held else (rig.beyond, stream)
        await rig.answer(number, body=body if big == "reply" else frame(b"told"), peer=peer)
        seen = peer.streams[number].body if big == "request" else rig.kubelet.streams[stream].body
        assert body == seen
        assert rig.idle


@in_guest_mode
async def test_messages_of_64_mib_pass_both_ways() -> None:
    async with open_rig() as rig:
        for peer in (rig.kubelet, rig.beyond):
            peer.h2.increment_flow_control_window(1 << 30)
            peer.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1 << 30})
        await rig.settle()
        body = frame(bytes(64 << 20))
        stream = await rig.call(body=body)
        assert len(rig.beyond.streams[stream].body) == len(body)
        await rig.answer(stream, body=body)
        assert len(rig.kubelet.streams[stream].body) == len(body)
        assert rig.kubelet.streams[stream].headers == [REPLY, OK]
        assert rig.idle


@in_guest_mode
async def test_a_held_reply_that_waits_for_its_caller_is_held_once() -> None:
    async def handler(call: object) -> None:
        await call.forward(b"")  # type: ignore[attr-defined] # a HeldCall

    async with open_rig(kubelet_acknowledges=False) as rig:
        rig.limit(most_bytes=130_000, most_of_one_bytes=130_000)
        rig.handler = handler
        stream = await rig.call()
        rig.pool_runtime.h2.send_headers(1, REPLY)
        body = frame(bytes(100_000))
        await rig.send(rig.pool_runtime, 1, body)
        rig.pool_runtime.h2.send_headers(1, OK, end_stream=True)
        await rig.settle()
        seen = rig.kubelet.streams[stream]
        assert (len(seen.body), seen.reset) == (65535, None)
        rig.kubelet.h2.acknowledge_received_data(65535, stream)
        await rig.settle()
        assert (seen.body, seen.ended) == (body, True)
        assert rig.idle
