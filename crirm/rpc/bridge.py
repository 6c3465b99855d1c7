"""The one crossing between Trio and asyncio.

crirm is a Trio program; grpclib, which speaks HTTP/2 for it, is asyncio-only. So one asyncio loop hosts the
Trio run in *guest mode*: both run in the same thread alternately, nothing is monkey-patched, and each side
may call the other's synchronous functions directly (``trio.Event.set`` from a loop callback, ``loop.call_later``
from a Trio task). What has to *wait* for the other side crosses here, and only here.

A crossing costs two thread hand-overs, about 0.4 ms where it was measured; a relayed call therefore stays on the
asyncio side from its first byte to its last (see ``rpc/connection.py``).
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast

import outcome
import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

T = TypeVar("T")

Loop = asyncio.AbstractEventLoop
TimerHandle = asyncio.TimerHandle
BaseTransport = asyncio.BaseTransport
Transport = asyncio.Transport
Protocol = asyncio.Protocol

_BACKLOG = 1024  # connections waiting to be accepted
_spawned: set[asyncio.Task[None]] = set()  # asyncio itself keeps only weak references to tasks


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


def now(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run an asyncio-flavoured *coroutine* that never waits, and return its result; callable from both sides.

    Raises:
        RuntimeError: it does wait.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError(f"{coroutine!r} has to wait for something")


def loop() -> Loop:
    """Return the asyncio loop that hosts this run; callable from both sides."""
    return asyncio.get_running_loop()


async def listen_unix(factory: Callable[[], asyncio.BaseProtocol], sock: socket.socket) -> asyncio.Server:
    """asyncio-flavoured: accept connections on *sock*, already bound, with a protocol from *factory* each.

    The socket file stays when the server closes: its creator removes it.
    """
    if sys.version_info >= (3, 13):
        return await loop().create_unix_server(factory, sock=sock, backlog=_BACKLOG, cleanup_socket=False)
    return await loop().create_unix_server(factory, sock=sock, backlog=_BACKLOG)


async def connect_unix(protocol: asyncio.BaseProtocol, path: str) -> None:
    """asyncio-flavoured: connect *protocol* to the Unix socket at *path*."""
    await loop().create_unix_connection(lambda: protocol, path)


def spawn(fn: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
    """Start the asyncio-flavoured ``fn(*args)`` in the background; it must handle its own errors."""
    task = loop().create_task(fn(*args))
    _spawned.add(task)
    task.add_done_callback(_spawned.discard)


def set_reading(transport: asyncio.Transport, wanted: bool) -> None:
    """Resume or pause reading of *transport*; no effect if it is already so, or closed."""
    if wanted != transport.is_reading() and not transport.is_closing():
        (transport.resume_reading if wanted else transport.pause_reading)()


def pause_again(transport: asyncio.Transport) -> None:
    """Have *transport* read no more though it was paused in ``connection_made``, which Python 3.11.2 does not heed.

    There asyncio begins to read after ``connection_made`` all the same, and takes a second pause for done.
    """
    transport.resume_reading()
    transport.pause_reading()


def rest_of(transport: asyncio.BaseTransport) -> bytes:
    """Return unread data of a broken Unix connection, which asyncio would discard."""
    rest = bytearray()
    with suppress(OSError), socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as sock:
        sock.settimeout(0)
        while piece := sock.recv(1 << 16):
            rest += piece
    return bytes(rest)


def as_transport(transport: asyncio.BaseTransport) -> asyncio.Transport:
    """Return *transport* as the bidirectional one that a stream protocol gets."""
    return cast("asyncio.Transport", transport)


AsyncioEvent = asyncio.Event
"""For asyncio-flavoured functions that wait for each other; ``set`` may be called from both sides."""
