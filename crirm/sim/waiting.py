"""Waiting in handlers, which run on the asyncio side, without Trio."""

from __future__ import annotations

from crirm.rpc import bridge


async def wait(event: bridge.AsyncioEvent, timeout_s: float) -> None:
    """asyncio-flavoured: wait until *event* is set, at most *timeout_s*, after which it is set, too."""
    if timeout_s == float("inf"):
        await event.wait()
        return
    timer = bridge.loop().call_later(timeout_s, event.set)
    try:
        await event.wait()
    finally:
        timer.cancel()


async def sleep(seconds: float) -> None:
    """asyncio-flavoured: do nothing for *seconds*; infinity is allowed."""
    await wait(bridge.AsyncioEvent(), seconds)
