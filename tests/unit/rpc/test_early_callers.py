"""Callers whose first bytes come while crirm still looks for the runtime.

asyncio of Python 3.11.2, Debian 12's, reads a connection that was paused in ``connection_made``.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from crirm.rpc.grpc_wire import find
from tests.unit.rpc.rig import OK, REPLY, Peer, Rig, in_guest_mode, open_rig, request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

PIECES = [pytest.param(10, id="half a preface first"), pytest.param(1 << 16, id="all at once")]


async def call_early(rig: Rig, piece_bytes: int, then: Callable[[Any, str], Awaitable[None]]) -> Peer:
    """Have a caller make a call while crirm looks for the runtime, which ends with *then*."""
    found = asyncio.Event()

    async def connect(half: Any, path: str) -> None:
        await found.wait()
        await then(half, path)

    rig.server._served = attrs.evolve(rig.server._served, connect=connect)
    caller = Peer(rig.server.new_connection(), client_side=True)
    caller.h2.send_headers(1, request(), end_stream=True)
    data = caller.h2.data_to_send()
    for at in range(0, len(data), piece_bytes):
        caller.other.data_received(data[at : at + piece_bytes])
        assert not caller.transport.reading, "it may not send without end"
    rig.others.append(caller)
    await rig.settle()
    found.set()
    await rig.settle()
    return caller


@pytest.mark.parametrize("piece_bytes", PIECES)
@in_guest_mode
async def test_a_call_that_comes_before_the_runtime_is_found_reaches_it(piece_bytes: int) -> None:
    async with open_rig() as rig:
        caller = await call_early(rig, piece_bytes, rig._connect)
        runtime = rig.others[-1]
        assert runtime.order == [1]
        runtime.h2.send_headers(1, [*REPLY, *OK], end_stream=True)
        await rig.settle()
        assert caller.streams[1].ended


@pytest.mark.parametrize("piece_bytes", PIECES)
@in_guest_mode
async def test_a_call_that_comes_before_the_runtime_is_known_to_be_away_is_refused(piece_bytes: int) -> None:
    async def refuse(_half: object, _path: str) -> None:
        raise ConnectionRefusedError

    async with open_rig() as rig:
        caller = await call_early(rig, piece_bytes, refuse)
        assert find(caller.streams[1].headers[-1], b"grpc-status") == b"14"


@pytest.mark.parametrize("piece_bytes", PIECES)
@in_guest_mode
async def test_an_early_caller_without_a_runtime_is_read_again_once_it_reads(piece_bytes: int) -> None:
    """What it has sent is grpclib's alone then: the splice would answer the same calls once more."""

    async def refuse(_half: object, _path: str) -> None:
        raise ConnectionRefusedError

    async with open_rig() as rig:
        caller = await call_early(rig, piece_bytes, refuse)
        refusals = len(caller.streams[1].headers)
        half: Any = caller.other
        half.pause_writing()
        assert not caller.transport.reading
        half.resume_writing()
        await rig.settle()
        assert caller.transport.reading
        assert (len(caller.streams[1].headers), half.splice.streams) == (refusals, {})
