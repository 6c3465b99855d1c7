"""Connections without a kernel: what one end writes, the other reads a moment later, whole or in pieces.

They end as Unix sockets do. Whoever closes one leaves what it has written to be read; its peer then finds the end, or a
reset where something of it was not read. A write to a closed connection breaks it, and what had come before is thrown
away by asyncio, for ``bridge.rest_of`` to pick up.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from crirm.rpc import bridge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.simulation.loop import VirtualLoop

    Split = Callable[[bytes], Iterable[tuple[float, bytes]]]

LATENCY_S = 1e-4


class Socket(bridge.Transport):
    """One end of a connection; made by `pair`.

    Args:
        protocol: reads here.
        loop: keeps the time.
        split: returns the pieces in which something is written, and the seconds that pass before each.
    """

    other: Socket

    def __init__(self, protocol: Any, loop: VirtualLoop, split: Split) -> None:
        super().__init__()
        self.protocol = protocol
        self.cut = False  # one of both ends is dead, and does nothing more
        self.rest = b""  # see `bridge.rest_of`
        self._loop = loop
        self._split = split
        self._closing = self._paused = False
        self._sent: deque[bytes | BaseException | None] = deque()  # to here, and not read; None: the end
        self._come = 0  # how many of these are here already
        self._free_s = 0.0  # when the last of these is here: they stay in their order

    # --- writing -------------------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Let the other end have *data* in a moment."""
        if self._closing or self.cut:
            return
        if self.other._closing:
            self._break(BrokenPipeError("nobody reads it any more"))
            return
        for after_s, piece in self._split(bytes(data)):
            self.other._expect(piece, after_s)

    def close(self) -> None:
        """Let the other end know in a moment that nothing more will come."""
        if self._closing or self.cut:
            return
        self._closing = True
        unread = any(isinstance(one, bytes) for one in self._sent)
        self.other._expect(ConnectionResetError("peer left without reading") if unread else None, 0.0)
        self._loop.call_soon(self._lost, None)

    def abort(self) -> None:
        """See `close`: nothing waits to be written."""
        self.close()

    def reset(self) -> None:
        """Break the connection for the other end, as the kernel does when a process is killed in the middle of it."""
        if not self._closing and not self.cut:
            self._closing = True
            self.other._expect(ConnectionResetError("connection reset by peer"), 0.0)
            self._loop.call_soon(self._lost, None)

    def is_closing(self) -> bool:
        """Tell whether it is over."""
        return self._closing

    # --- reading -------------------------------------------------------------------------------------------------

    def pause_reading(self) -> None:
        """Let what comes wait."""
        self._paused = True

    def resume_reading(self) -> None:
        """Read what waits, and go on."""
        if self._paused:
            self._paused = False
            self._loop.call_soon(self._read)

    def is_reading(self) -> bool:
        """Tell whether it does."""
        return not self._paused and not self._closing

    def _expect(self, what: bytes | BaseException | None, after_s: float) -> None:
        self._sent.append(what)
        self._free_s = max(self._free_s, self._loop.now_s() + LATENCY_S) + after_s
        self._loop.call_at(self._free_s, self._arrived)

    def _arrived(self) -> None:
        self._come += 1
        if not self._paused:
            self._read()

    def _read(self) -> None:
        """Read what is here, at once: asyncio takes up to 256 KiB."""
        if not self._come or self._paused or self._closing or self.cut:
            return
        data = b""
        while self._come and isinstance(piece := self._sent[0], bytes):
            data = data + piece if data else piece
            self._sent.popleft()
            self._come -= 1
        if data:
            self.protocol.data_received(data)
        if self._come and not self._paused and not self._closing:
            self._ended(self._sent[0])

    def _ended(self, why: Any) -> None:
        if why is not None:
            self._break(why)
        elif not self.protocol.eof_received():
            self.close()

    def _break(self, why: BaseException) -> None:
        self._closing = True
        self.rest = b"".join(one for one in self._sent if isinstance(one, bytes))
        self._sent.clear()
        self._come = 0
        self.other._expect(why, 0.0)
        self._loop.call_soon(self._lost, why)

    def _lost(self, why: BaseException | None) -> None:
        if not self.cut:
            self.protocol.connection_lost(why)


def pair(one: Any, other: Any, loop: VirtualLoop, split: Split) -> tuple[Socket, Socket]:
    """Return the ends of a new connection between two protocols, which have still to be told of it."""
    ends = Socket(one, loop, split), Socket(other, loop, split)
    ends[0].other, ends[1].other = ends[1], ends[0]
    return ends


def whole(data: bytes) -> Iterable[tuple[float, bytes]]:
    """Split nothing; see `Socket`."""
    return ((0.0, data),)
