"""A Trio run in a thread, for fixtures that live longer than one test."""

from __future__ import annotations

import threading
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from contextlib import AbstractAsyncContextManager

T = TypeVar("T")


@attrs.frozen(eq=False)
class TrioThread:
    """Runs Trio-flavoured functions for callers that are synchronous."""

    _token: trio.lowlevel.TrioToken
    _stack: AsyncExitStack

    def run(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        return trio.from_thread.run(fn, *args, trio_token=self._token)

    def open(self, manager: AbstractAsyncContextManager[T]) -> T:
        """Enter *manager*; it is left when the thread is."""
        value: T = self.run(self._stack.enter_async_context, manager)
        return value


@contextmanager
def open_trio_thread() -> Iterator[TrioThread]:
    """A Trio run that lasts as long as the block.

    What is entered with `TrioThread.open` is left in another task than it was entered in, so it must not hold a nursery
    or a cancel scope open.
    """
    started = threading.Event()
    stop = trio.Event()
    token: list[trio.lowlevel.TrioToken] = []

    async def main() -> None:
        token.append(trio.lowlevel.current_trio_token())
        started.set()
        await stop.wait()

    thread = threading.Thread(target=trio.run, args=(main,), name="trio")
    thread.start()
    started.wait()
    stack = AsyncExitStack()
    try:
        yield TrioThread(token[0], stack)
    finally:
        trio.from_thread.run(stack.aclose, trio_token=token[0])
        token[0].run_sync_soon(stop.set)
        thread.join()
