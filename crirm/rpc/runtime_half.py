"""The connection to the runtime that belongs to one caller. asyncio-flavoured: nothing waits."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Protocol

from crirm.rpc import bridge
from crirm.rpc.rest_of_frames import RestOfFrames

if TYPE_CHECKING:
    from crirm.rpc.splice import Splice


class Caller(Protocol):
    """The connection of the caller, as far as this one needs it."""

    splice: Splice

    def joined(self, runtime: RuntimeHalf) -> None:
        """Note that the runtime is connected."""

    def work(self) -> None:
        """Handle what was read."""

    def set_reading(self) -> None:
        """Read both sides, or do not."""

    def runtime_lost(self, reason: str) -> None:
        """Note that the runtime is gone."""


class RuntimeHalf(bridge.Protocol):
    """The connection to the runtime that belongs to one caller.

    Args:
        caller: its owner.
    """

    def __init__(self, caller: Caller) -> None:
        self.writable = True
        self.lost = False
        self._caller = caller
        self._rest = RestOfFrames(self)

    def connection_made(self, transport: bridge.BaseTransport) -> None:
        """Begin."""
        self._transport = bridge.as_transport(transport)
        self._caller.joined(self)

    def data_received(self, data: bytes) -> None:
        """Handle data of the runtime."""
        splice = self._caller.splice
        splice.now_s = monotonic()
        splice.runtime.reader.add(data)
        self._caller.work()
        self._rest.received(len(data))

    @property
    def half_a_frame(self) -> int:
        """See `rest_of_frames.Connection`."""
        return self._caller.splice.runtime.reader.half_bytes

    def pause_writing(self) -> None:
        """Stop reading the caller: the runtime does not read its socket."""
        self.writable = False
        self._caller.set_reading()

    def resume_writing(self) -> None:
        """Resume after `pause_writing`."""
        self.writable = True
        self._caller.set_reading()

    def connection_lost(self, exc: BaseException | None) -> None:
        """End its calls, after the data that it still sent."""
        if self.lost:
            return
        if exc is not None and (rest := bridge.rest_of(self._transport)):
            self._caller.splice.runtime.reader.add(rest)
        while not self.lost and self._caller.splice.runtime.reader.unread:
            self._caller.work()
        self.fail(f"connection closed{f' ({exc})' if exc else ''}")

    def write(self, data: bytes) -> None:
        """Send *data*."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def set_reading(self, *, wanted: bool) -> None:
        """Read, or do not."""
        self._rest.reads(wanted=wanted)
        bridge.set_reading(self._transport, wanted)

    def fail(self, reason: str) -> None:
        """Close it because it is no longer usable."""
        if not self.lost:
            self.close()
            self._caller.runtime_lost(reason)

    def close(self) -> None:
        """Close it."""
        self.lost = True
        self._transport.close()
