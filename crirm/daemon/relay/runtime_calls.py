"""crirm's own calls to the runtime, under the version of CRI that it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import trio

from crirm.cri.methods import RUNTIME_SERVICE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from crirm.daemon.relay.runtime_info import RuntimeInfo
    from crirm.rpc.client import Pool


@attrs.define
class RuntimeCalls:
    """Calls of the RuntimeService, in a CRI version that the runtime supports."""

    pool: Pool
    version: str = "v1"
    info: RuntimeInfo | None = None
    """What it said of itself when it was last there."""
    identified: trio.Event = attrs.field(factory=trio.Event)

    async def call(self, method: str, message: bytes, *, timeout_s: float) -> bytes:
        """See ``asking.Runtime``."""
        return await self.pool.unary(self.path(method), message, timeout_s=timeout_s)

    @property
    def connected(self) -> bool:
        """See ``asking.Runtime``."""
        return self.pool.connected

    def stream(self, method: str, message: bytes) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """See ``listening.Streams``."""
        return self.pool.open_stream(self.path(method), message)

    def is_there(self, info: RuntimeInfo) -> None:
        """Store the runtime's answer to Version."""
        self.info, self.version = info, info.api_versions[0]
        self.identified.set()

    def path(self, method: str) -> str:
        """Return the full name of *method*."""
        return f"/runtime.{self.version}.{RUNTIME_SERVICE}/{method}"
