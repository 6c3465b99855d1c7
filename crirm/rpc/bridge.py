"""The one crossing between Trio and asyncio.

crirm is a Trio program; grpclib, which speaks HTTP/2 for it, is asyncio-only. So one asyncio loop hosts the
Trio run in *guest mode*: both run in the same thread and take turns, nothing is monkey-patched, and each side
may call the other's synchronous functions directly (``trio.Event.set`` from a loop callback, ``loop.call_later``
from a Trio task). What has to *wait* for the other side crosses here, and only here.

A crossing costs two thread hand-overs, about 0.4 ms on the machines this was measured on; a relayed call therefore stays on
the asyncio side from its first byte to its last (see ``rpc/call.py``).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

import outcome
import trio

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Coroutine

    from grpclib.protocol import H2Protocol

T = TypeVar("T")

Loop = asyncio.AbstractEventLoop
TimerHandle = asyncio.TimerHandle
Transport = asyncio.Transport


def run(main: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Run the Trio-flavoured *main* with an asyncio loop underneath, and return what it returns.

    Args:
        main: asynchronous function; everything it opens lives inside its nurseries.
        args: passed on to *main*.

    Raises:
        whatever *main* raises, exception groups included.
    """
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(_host(main, *args))
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _host(main: Callable[..., Awaitable[T]], *args: Any) -> T:
    """asyncio-flavoured: start the guest and wait until it is over."""
    loop = asyncio.get_running_loop()
    finished: asyncio.Future[outcome.Outcome[T]] = loop.create_future()
    trio.lowlevel.start_guest_run(
        main,
        *args,
        run_sync_soon_threadsafe=loop.call_soon_threadsafe,
        run_sync_soon_not_threadsafe=loop.call_soon,
        done_callback=finished.set_result,
    )
    return (await finished).unwrap()


async def call_asyncio(fn: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
    """Trio-flavoured: run the asyncio-flavoured ``fn(*args)`` as an asyncio task and wait for its result.

    Cancelling the Trio task cancels the asyncio task and waits until it is really over.
    """
    waiter = trio.lowlevel.current_task()
    task = loop().create_task(fn(*args))
    raise_cancel: Callable[[], Any] | None = None

    def finish(done: asyncio.Task[T]) -> None:
        if done.cancelled() and raise_cancel is not None:
            trio.lowlevel.reschedule(waiter, outcome.capture(raise_cancel))
        else:
            trio.lowlevel.reschedule(waiter, outcome.capture(done.result))

    def abort(raise_cancelled: Callable[[], Any]) -> trio.lowlevel.Abort:
        nonlocal raise_cancel
        raise_cancel = raise_cancelled
        task.cancel()
        return trio.lowlevel.Abort.FAILED

    task.add_done_callback(finish)
    result: T = await trio.lowlevel.wait_task_rescheduled(abort)
    return result


def loop() -> Loop:
    """Return the asyncio loop that hosts this run; callable from both sides."""
    return asyncio.get_running_loop()


async def listen_unix(factory: Callable[[], H2Protocol], sock: socket.socket) -> asyncio.Server:
    """asyncio-flavoured: accept HTTP/2 connections on *sock*, already bound, with a protocol from *factory* each."""
    return await loop().create_unix_server(factory, sock=sock, cleanup_socket=False) if _CLEANS_UP else (
        await loop().create_unix_server(factory, sock=sock)
    )


_CLEANS_UP = "cleanup_socket" in asyncio.AbstractEventLoop.create_unix_server.__code__.co_varnames
