"""A peer that speaks HTTP/2 as far as gRPC needs it, and tells of everything that HTTP/2 forbids.

Written over crirm's own frames and header blocks, so that it costs little; windows are as large as can be.

Source: RFC 9113.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from hpack.exceptions import HPACKError

from crirm.rpc import bridge
from crirm.rpc import frames as h2
from crirm.rpc.header_blocks import BlockDecoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from crirm.rpc.header_blocks import Headers
    from tests.simulation.wires import Socket

WINDOWS = {h2.INITIAL_WINDOW_SIZE: h2.LARGEST_WINDOW_BYTES}
WIDE_OPEN = h2.window_update(0, h2.LARGEST_WINDOW_BYTES - h2.USUAL_WINDOW_BYTES)
_LONG = 0x7F  # a length of more than one octet, or of Huffman code
SETTINGS_ACK = h2.frame(h2.SETTINGS, h2.ACK, 0)


class Peer(ABC, bridge.Protocol):
    """One end of a connection.

    Args:
        forbidden: told what the other end must not have sent.
    """

    def __init__(self, forbidden: Callable[[str], None]) -> None:
        self.lost = False
        self.greeted = False  # the other end has sent its settings, with which it begins
        self.acknowledged = False
        self._forbidden = forbidden
        self._late = b""  # half a frame, or half of the preface
        self._block: tuple[int, int, bytes] | None = None  # stream, flags and the pieces of a block that goes on
        self._decoder = BlockDecoder()
        self._transport: Socket | None = None

    def connection_made(self, transport: Any) -> None:
        """Greet."""
        self._transport = transport
        self.send(self.greeting())

    def send(self, data: bytes) -> None:
        """Send frames."""
        if self._transport is not None and not self.lost:
            self._transport.write(data)

    def close(self, *, reset: bool = False) -> None:
        """End the connection; *reset*: throw away what is on its way."""
        if self._transport is not None:
            (self._transport.reset if reset else self._transport.close)()
        self.connection_lost(None)

    def connection_lost(self, exc: BaseException | None) -> None:  # noqa: ARG002 - why does not matter
        """Take note that the connection is gone."""
        if not self.lost:
            self.lost = True
            self.on_lost()

    # --- frames --------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take frames."""
        if self.lost:
            return
        if self._late:
            data = self._late + data
        at, size = 0, len(data)
        try:
            while size - at >= h2.HEAD_BYTES:
                high, low, kind, flags, stream_id = h2.HEAD.unpack_from(data, at)
                end = at + h2.HEAD_BYTES + (high << 8 | low)
                if high << 8 | low > h2.USUAL_FRAME_BYTES:
                    self._forbid(f"a frame of {high << 8 | low} bytes")
                if end > size:
                    break
                self._take(kind, flags, stream_id, data[at + h2.HEAD_BYTES : end])
                at = end
        except (h2.FrameError, HPACKError) as error:
            self._forbid(f"{type(error).__name__}: {error}")
        self._late = data[at:]

    def _take(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if kind == h2.DATA and self._block is None:
            self.on_data(stream_id, payload, end=bool(flags & h2.END_STREAM))
        elif kind == h2.HEADERS and flags & h2.END_HEADERS and self._block is None and self.greeted:
            self.on_headers(stream_id, self._decoded(payload), end=bool(flags & h2.END_STREAM))
        elif kind in {h2.HEADERS, h2.CONTINUATION} and self.greeted:
            self._take_piece(kind, flags, stream_id, payload)
        elif self._block is not None:
            self._forbid(f"a frame of type {kind} within a header block")
        elif kind == h2.SETTINGS:
            self._take_settings(flags, payload)
        elif not self.greeted:
            self._forbid(f"a frame of type {kind} before the settings")
        else:
            self._take_small(kind, flags, stream_id, payload)

    def _take_piece(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """Take a piece of a header block that has several."""
        if (kind == h2.HEADERS) is not (self._block is None) or (self._block and self._block[0] != stream_id):
            self._forbid("a header block that something interrupts")
            return
        _, begun_flags, begun = self._block or (stream_id, flags, b"")
        self._block = stream_id, begun_flags, begun + payload
        if flags & h2.END_HEADERS:
            self._block = None
            self.on_headers(stream_id, self._decoded(begun + payload), end=bool(begun_flags & h2.END_STREAM))

    def _decoded(self, block: bytes) -> Headers:
        headers = literals_in(block)
        return self._decoder.decode(block) if headers is None else headers

    def _take_settings(self, flags: int, payload: bytes) -> None:
        if flags & h2.ACK:
            if self.acknowledged:
                self._forbid("settings acknowledged twice")
            self.acknowledged = True
            return
        self.send(SETTINGS_ACK)
        self.greeted = True
        self.on_settings(dict(h2.settings_in(payload)))

    def _take_small(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        match kind:
            case h2.RST_STREAM:
                self.on_reset(stream_id, h2.number_in(payload))
            case h2.WINDOW_UPDATE:
                self.on_window(stream_id, h2.number_in(payload))
            case h2.PING if not flags & h2.ACK:
                self.send(h2.frame(h2.PING, h2.ACK, 0, payload))
            case h2.GOAWAY:
                self.on_goaway(h2.number_in(payload[:4]), h2.number_in(payload[4:8]))
            case _:
                self._forbid(f"a frame of type {kind} with flags {flags} of stream {stream_id}")

    def _forbid(self, what: str) -> None:
        self._forbidden(f"{type(self).__name__} gets {what}")

    # --- told ----------------------------------------------------------------------------------------------------

    @abstractmethod
    def greeting(self) -> bytes:
        """Return what this end begins with."""

    @abstractmethod
    def on_headers(self, stream_id: int, headers: Headers, *, end: bool) -> None:
        """Take a header block."""

    @abstractmethod
    def on_data(self, stream_id: int, data: bytes, *, end: bool) -> None:
        """Take bytes."""

    @abstractmethod
    def on_reset(self, stream_id: int, code: int) -> None:
        """Take the end of a stream."""

    @abstractmethod
    def on_window(self, stream_id: int, size_bytes: int) -> None:
        """Take note that more may be sent."""

    @abstractmethod
    def on_goaway(self, last_stream_id: int, code: int) -> None:
        """Take note that the other end takes no new streams."""

    @abstractmethod
    def on_lost(self) -> None:
        """Take note that the connection is gone."""

    def on_settings(self, settings: dict[int, int]) -> None:
        """Take the settings of the other end."""


def data_frames(stream_id: int, data: bytes, *, end: bool) -> bytes:
    """Return *data* in as many DATA frames as it takes; *end* ends the stream."""
    if len(data) <= h2.USUAL_FRAME_BYTES:
        return h2.frame(h2.DATA, h2.END_STREAM if end else 0, stream_id, data)
    first, rest = data[: h2.USUAL_FRAME_BYTES], data[h2.USUAL_FRAME_BYTES :]
    return h2.frame(h2.DATA, 0, stream_id, first) + data_frames(stream_id, rest, end=end)


def literals_in(block: bytes) -> Headers | None:
    """Return the headers of a block of short literals, which no table takes part in; None where it is another one.

    hpack takes ten times as long for what crirm mostly writes.
    """
    headers, at, size = [], 0, len(block)
    while at < size:
        if block[at] or (name_bytes := block[at + 1]) >= _LONG:
            return None
        value_at = at + 2 + name_bytes
        if (value_bytes := block[value_at]) >= _LONG:
            return None
        headers.append((block[at + 2 : value_at], block[value_at + 1 : value_at + 1 + value_bytes]))
        at = value_at + 1 + value_bytes
    return headers
