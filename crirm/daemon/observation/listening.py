"""crirm's own subscription to the runtime's events, where that does not take them from others.

Elsewhere crirm observes the events that it relays, and polls lists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import trio
from grpclib.const import Status

from crirm.daemon.observation.event_habits import tells_everybody
from crirm.logs import get_logger
from crirm.rpc.grpc_wire import RpcError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from crirm.daemon.relay.runtime_info import RuntimeInfo

log = get_logger("runtime")

AGAIN_S = 5.0
EVENTS = "GetContainerEvents"


class Streams(Protocol):
    """The runtime, as far as subscriptions need it."""

    info: RuntimeInfo | None
    """What it said of itself when it was last there."""
    identified: trio.Event
    """Set once there is that."""

    def stream(self, method: str, message: bytes) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Make a server-streaming call of the RuntimeService."""


async def listen(runtime: Streams, take: Callable[[bytes], None]) -> None:
    """Pass every event to *take* until cancelled, on runtimes that send events to all subscribers."""
    await runtime.identified.wait()
    silent: RuntimeInfo | None = None
    while True:
        info = runtime.info
        if info is not silent:  # again whenever the link comes up: a restart may have enabled events
            silent = info if await _silent(runtime, take) else None
        await trio.sleep(AGAIN_S)


async def _silent(runtime: Streams, take: Callable[[bytes], None]) -> bool:
    """Subscribe once; True if this runtime has no events, or would take them from others."""
    name, version = (runtime.info.name, runtime.info.version) if runtime.info is not None else (None, None)
    if not tells_everybody(name, version):
        log.info("runtime sends each event to one subscriber only; observing other streams", runtime=name)
        return True
    try:
        async with runtime.stream(EVENTS, b"") as events:
            async for message in events:
                take(message)
    except RpcError as error:
        if error.status is Status.UNIMPLEMENTED:
            log.debug("runtime does not support container events; polling its lists instead")
            return True
    return False
