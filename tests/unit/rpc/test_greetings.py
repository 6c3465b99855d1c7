"""What a caller gets first are settings, even if the runtime has not sent its own: RFC 9113 section 3.4."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from grpclib.const import Status

from crirm.rpc import frames as h2
from crirm.rpc.calls import Refusal
from tests.unit.rpc.rig import Peer, Rig, Transport, in_guest_mode, open_rig, request

if TYPE_CHECKING:
    from crirm.rpc.runtime_half import RuntimeHalf

OURS = h2.settings({})


async def call_silent_runtime(rig: Rig, *, calls: bool = True) -> tuple[Peer, RuntimeHalf, Transport]:
    """Return a caller with a call, crirm's half of its connection to a silent runtime, and the socket of that."""
    silent: list[RuntimeHalf] = []
    transport = Transport()

    async def connect(half: Any, _path: str) -> None:
        half.connection_made(transport)
        silent.append(half)

    rig.server._served = attrs.evolve(rig.server._served, connect=connect)
    caller = await rig.another_kubelet()
    rig.others.remove(caller)
    if calls:
        caller.h2.send_headers(1, request(), end_stream=True)
    caller.other.data_received(caller.h2.data_to_send())
    return caller, silent[0], transport


@in_guest_mode
async def test_a_runtime_that_goes_before_it_has_said_anything_leaves_settings_a_status_and_goodbye() -> None:
    async with open_rig() as rig:
        caller, runtime, _ = await call_silent_runtime(rig)
        runtime.connection_lost(None)
        said = caller.transport.take()
        assert said.startswith(OURS)
        assert b"grpc-status\x0214" in said
        assert caller.other.lost


@in_guest_mode
async def test_a_runtime_that_goes_before_there_is_a_call_leaves_nothing_as_without_crirm() -> None:
    """grpcio waits for settings before it calls, and may wait for ever after settings with a goodbye behind them."""
    async with open_rig() as rig:
        caller, runtime, _ = await call_silent_runtime(rig, calls=False)
        runtime.connection_lost(None)
        assert caller.transport.closed
        assert caller.transport.take() == b""


@in_guest_mode
async def test_a_refusal_comes_behind_settings_whose_acknowledgement_the_runtime_does_not_see() -> None:
    async with open_rig() as rig:
        rig.refusal = Refusal(Status.UNAVAILABLE, "stopping")
        caller, runtime, beyond = await call_silent_runtime(rig)
        assert caller.transport.take().startswith(OURS)
        beyond.take()
        acknowledgement = h2.frame(h2.SETTINGS, h2.ACK, 0)
        caller.other.data_received(acknowledgement)
        assert beyond.take() == b""
        runtime.data_received(OURS)
        assert caller.transport.take() == OURS
        caller.other.data_received(acknowledgement)
        assert beyond.take() == acknowledgement
