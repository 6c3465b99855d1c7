"""A subscription of crirm's own, in virtual time."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import attrs
import pytest
import trio
from grpclib.const import Status

from crirm.daemon.observation.listening import AGAIN_S, listen
from crirm.daemon.relay.runtime_info import RuntimeInfo
from crirm.rpc.grpc_wire import RpcError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

LOST = RpcError(Status.UNAVAILABLE, "lost")
NO_EVENTS = RpcError(Status.UNIMPLEMENTED, "no events")


def called(name: str, version: str = "v2.1.4") -> RuntimeInfo:
    return RuntimeInfo(name, version, ("v1",))


@attrs.define
class FakeStreams:
    """A runtime with one event for each subscription, which then ends as told."""

    info: RuntimeInfo | None
    end: RpcError | None = None
    identified: trio.Event = attrs.field(factory=trio.Event)
    asked_at_s: list[float] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.identified.set()

    @asynccontextmanager
    async def stream(self, method: str, message: bytes) -> AsyncIterator[AsyncIterator[bytes]]:
        assert (method, message) == ("GetContainerEvents", b"")
        self.asked_at_s.append(trio.current_time())
        yield self._events()

    async def _events(self) -> AsyncIterator[bytes]:
        yield b"event"
        if self.end is not None:
            raise self.end


async def listened(runtime: FakeStreams, within_s: float) -> list[bytes]:
    """What is heard of *runtime* within so many seconds."""
    heard = list[bytes]()
    with trio.move_on_after(within_s):
        await listen(runtime, heard.append)
    return heard


@pytest.mark.parametrize(
    ("info", "end", "times"),
    [
        pytest.param(called("containerd"), None, 3, id="again when the stream has ended"),
        pytest.param(called("containerd"), LOST, 3, id="again when it was lost"),
        pytest.param(called("containerd"), NO_EVENTS, 1, id="no more where there are no events"),
        pytest.param(called("containerd", "v1.7.20"), None, 0, id="never where that takes events from others"),
    ],
)
async def test_events_are_asked_for(
    info: RuntimeInfo, end: RpcError | None, times: int, autojump_clock: MockClock
) -> None:
    runtime = FakeStreams(info, end)
    assert len(await listened(runtime, 2.5 * AGAIN_S)) == times
    assert len(runtime.asked_at_s) == times


async def test_another_runtime_is_listened_to_after_one_that_tells_nothing(autojump_clock: MockClock) -> None:
    runtime = FakeStreams(called("containerd", "v1.7.20"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen, runtime, lambda _: None)
        await trio.sleep(2.5 * AGAIN_S)
        assert runtime.asked_at_s == []
        runtime.info = called("containerd")
        await trio.sleep(AGAIN_S)
        assert len(runtime.asked_at_s) == 1
        nursery.cancel_scope.cancel()


async def test_a_runtime_without_events_is_asked_again_when_it_was_away(autojump_clock: MockClock) -> None:
    runtime = FakeStreams(called("cri-o", "1.34.0"), NO_EVENTS)  # enable_pod_events = false
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen, runtime, lambda _: None)
        await trio.sleep(2.5 * AGAIN_S)
        assert len(runtime.asked_at_s) == 1
        runtime.info = called("cri-o", "1.34.0")
        await trio.sleep(2.5 * AGAIN_S)
        assert len(runtime.asked_at_s) == 2
        nursery.cancel_scope.cancel()


async def test_a_runtime_is_listened_to_as_soon_as_it_is_known(autojump_clock: MockClock) -> None:
    runtime = FakeStreams(None)
    runtime.identified = trio.Event()
    began_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen, runtime, lambda _: None)
        await trio.sleep(1)
        runtime.info = called("containerd")
        runtime.identified.set()
        await trio.sleep(1)
        assert runtime.asked_at_s == [began_s + 1]
        nursery.cancel_scope.cancel()
