"""The embedded runtime as a whole: `open_runtime` serves one as long as its body runs."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from crirm.rpc import bridge
from crirm.sim.calls import Calls
from crirm.sim.console import LogFiles
from crirm.sim.echo import Echo
from crirm.sim.faults import Faults
from crirm.sim.image_calls import ImageService
from crirm.sim.listening import bound_socket
from crirm.sim.methods import Mapping, Methods, methods_of
from crirm.sim.model import Model
from crirm.sim.node_calls import RuntimeService
from crirm.sim.seed import seed
from crirm.sim.server import SimServer, start_server
from crirm.sim.settings import SimSettings
from crirm.sim.streaming import serve_streams
from crirm.sim.tokens import Tokens

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator


class Runtime:
    """A runtime that is served.

    Attributes:
        socket_path: of the Unix socket.
        model: pods, containers and images; may be read and changed from Trio tasks, too.
        faults: to inject.
        calls: counters of calls and outcomes.
    """

    def __init__(self, socket_path: str, settings: SimSettings, model: Model) -> None:
        self.socket_path = socket_path
        self.settings = settings
        self.model = model
        self.faults = Faults()
        self.calls = Calls()
        self.tokens = Tokens(model.clock)
        self._server: SimServer | None = None
        self._woken = trio.Event()
        model.on_wakeup = self._wake
        model.events.one_channel = settings.one_event_channel

    @property
    def connection_count(self) -> int:
        """How many clients are connected."""
        return self._server.connection_count if self._server else 0

    def drop_connections(self) -> None:
        """Close every connection at once; new ones are welcome."""
        if self._server:
            self._server.drop_connections()

    def mapping(self) -> Mapping:
        """Return the handlers of all services, by path."""
        methods = Methods(self.model, self.faults, self.calls)
        mapping = Mapping(Echo(self.calls).__mapping__())
        for package in self.settings.api.packages:
            services = (
                RuntimeService(self.model, self.settings, self.tokens, package),
                ImageService(self.model, self.settings),
            )
            for service in services:
                mapping.update((method.path, methods.handler(method)) for method in methods_of(service, package))
        return mapping

    def _wake(self) -> None:
        self._woken.set()

    async def keep_time(self) -> None:
        """Trio-flavoured: continue processes when they are due; never ends."""
        while True:
            self._woken = trio.Event()
            due_ns = self.model.next_wakeup_ns()
            delay_s = float("inf") if due_ns is None else max(0.0, (due_ns - self.model.clock()) / 10**9)
            with trio.move_on_after(delay_s):
                await self._woken.wait()
            self.model.tick()

    @asynccontextmanager
    async def serving(self, sock: socket.socket) -> AsyncIterator[None]:
        """Trio-flavoured: serve on *sock*, which is bound, while the body runs."""
        self._server = await bridge.call_asyncio(start_server, self.mapping(), sock)
        try:
            yield
        finally:
            with trio.CancelScope(shield=True):
                await bridge.call_asyncio(self._server.stop)
            self._server = None


@asynccontextmanager
async def open_runtime(
    socket_path: str, settings: SimSettings | None = None, model: Model | None = None
) -> AsyncIterator[Runtime]:
    """Trio-flavoured: serve an embedded runtime while the body runs.

    Args:
        socket_path: of the Unix socket to make; a stale one is replaced.
        settings: None for the defaults.
        model: of a runtime that was served before and is now "restarted"; None for a new one, filled as *settings* say.

    Raises:
        SocketError: the socket cannot be made.
    """
    settings = settings or SimSettings()
    if model is None:
        model = Model(time.time_ns, console=LogFiles())
        seed(model, settings)
    runtime = Runtime(socket_path, settings, model)
    with bound_socket(socket_path) as sock:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runtime.keep_time)
            runtime.tokens.base_url = await nursery.start(serve_streams, runtime.tokens)
            try:
                async with runtime.serving(sock):
                    yield runtime
            finally:
                nursery.cancel_scope.cancel()
                model.console.close_all()
