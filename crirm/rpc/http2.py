"""HTTP/2 connections to the runtime for crirm's own calls and for held ones: grpclib's protocol over h2.

A stream's frames are passed on synchronously, in the loop callback that read them (``leg``), and everything written
in response to one read is sent with one system call. Header blocks are those of ``header_blocks``. Each
stream may hold `STREAM_WINDOW_BYTES` unread; the window of the connection is as large as HTTP/2 allows, so a stream
that nobody reads never stops the others.

Every function here is asyncio-flavoured: it runs in callbacks of the event loop and never waits.
"""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any

import h2.events as h2e
from grpclib.config import Configuration
from grpclib.protocol import AbstractHandler, Connection, H2Protocol
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes

from crirm.rpc import bridge
from crirm.rpc.floods import Allowances, Kind
from crirm.rpc.frames import FrameError, whole_frames
from crirm.rpc.header_blocks import MAX_HEADERS, TOO_LONG, Headers, LinearDecoder, LiteralEncoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import hyperframe.frame
    from grpclib.protocol import Stream

    from crirm.rpc.leg import Leg

STREAM_WINDOW_BYTES = 1 << 20  # unread, per stream; 1 MiB keeps a 64 MiB message moving and memory bounded
CONNECTION_WINDOW_BYTES = (1 << 31) - 1  # the largest of RFC 9113 section 6.9.1
MAX_HEADER_LIST_BYTES = 1 << 20  # h2 accepts 64 CONTINUATION frames; a longer block ends its call
LEGS_PER_TURN = 100  # ended per turn when a connection is lost; about 5 ms
LINGER_S = 5.0  # for a peer to read the last data


def h2_config(*, client_side: bool) -> H2Configuration:
    """Return h2's configuration: headers as bytes, without validation, since they may be non-ASCII."""
    return H2Configuration(
        client_side=client_side,
        header_encoding=None,
        validate_inbound_headers=False,
        validate_outbound_headers=False,
        normalize_inbound_headers=False,
        normalize_outbound_headers=False,
    )


_CONFIG = Configuration(
    http2_connection_window_size=CONNECTION_WINDOW_BYTES, http2_stream_window_size=STREAM_WINDOW_BYTES
).__for_client__()


class _H2Connection(H2Connection):
    """Stays open after the peer's GOAWAY: a server that stops gracefully still serves the calls that it has."""

    def _receive_goaway_frame(self, frame: hyperframe.frame.GoAwayFrame) -> tuple[list[hyperframe.frame.Frame], Any]:
        event = h2e.ConnectionTerminated()
        event.error_code, event.last_stream_id = frame.error_code, frame.last_stream_id
        return [], [event]


class Http2Connection(H2Protocol):
    """One HTTP/2 connection to the runtime and the legs of calls that run over it."""

    def __init__(self) -> None:
        config = h2_config(client_side=True)
        super().__init__(_Unused(), _CONFIG, config)
        self.h2 = _H2Connection(config)
        self.h2.decoder, self.h2.encoder = LinearDecoder(), LiteralEncoder()
        self.legs: dict[int, Leg] = {}
        self._sending = False  # what was written goes out at the end of this batch, or turn of the loop
        self.lost = False
        self.writable = True
        self.goodbye = ""  # why the peer accepts no new streams
        self._window_opened = self._settings_changed = False  # in this batch
        self._allowances = Allowances()
        self._unread = bytearray()  # half a frame
        self.arrived_s = 0.0  # monotonic time of the current batch

    @property
    def half_a_frame(self) -> int:
        """Size of an incomplete frame."""
        return len(self._unread)

    # --- called by asyncio ---------------------------------------------------------------------------------------

    def connection_made(self, transport: bridge.BaseTransport) -> None:
        """Send the preface and our settings."""
        if self.lost:  # closed since it was connected
            bridge.as_transport(transport).close()
            return
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(CONNECTION_WINDOW_BYTES - self.h2.inbound_flow_control_window)
        self.h2.update_settings(
            {
                SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
                SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEADER_LIST_BYTES,
            }
        )
        self._transport = bridge.as_transport(transport)
        self.connection = Connection(self.h2, self._transport, config=_CONFIG)
        self.connection.flush()

    def data_received(self, data: bytes) -> None:
        """Handle one batch of frames and send the results."""
        if self.lost:
            return
        self.arrived_s = monotonic()
        self._sending = True
        self._unread += data
        try:
            whole_bytes = whole_frames(self._unread)
            frames = bytes(self._unread[:whole_bytes])
            del self._unread[:whole_bytes]
            for event in self.h2.receive_data(frames):
                if not self.lost:
                    self._handle(event)
            self._conclude()
        except (ProtocolError, FrameError) as error:
            self.fail(f"HTTP/2 protocol error by the peer ({error})")
        except Exception:
            self.fail("internal error, a bug in crirm")
            raise
        finally:
            self._send()

    def _handle(self, event: h2e.Event) -> None:
        handle = _HANDLERS.get(type(event))
        if handle is not None:
            handle(self, event)
        elif (kind := _COUNTED.get(type(event))) is not None:
            self._count(kind)

    def _count(self, kind: Kind) -> None:
        """Count a frame that did not advance a call."""
        if not self._allowances.spend(kind, self.arrived_s) and not self.lost:
            self.h2.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
            self.fail(f"peer sends too many {kind.called}")

    def _conclude(self) -> None:
        """Do once per batch what visits every stream."""
        opened, changed = self._window_opened, self._settings_changed
        self._window_opened = self._settings_changed = False
        if opened or changed:
            self._pump_all()
        if changed and not self.lost:
            self.on_settings()

    def pause_writing(self) -> None:
        """Stop: the peer does not read its socket."""
        self.writable = False

    def resume_writing(self) -> None:
        """Resume after ``pause_writing``."""
        self.writable = True
        for leg in list(self.legs.values()):
            leg.pump()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell every leg that its connection is gone."""
        self.fail(f"connection closed{f' ({exc})' if exc else ''}")

    # --- called by legs and owners -------------------------------------------------------------------------------

    def send_soon(self) -> None:
        """Send what was written, with all else that comes of the present batch."""
        if not self._sending:
            self._sending = True
            bridge.loop().call_soon(self._send)

    def _send(self) -> None:
        self._sending = False
        if not self.lost and not self.connection.is_closing():  # asyncio logs writes to a broken pipe
            self.connection.flush()

    def fail(self, reason: str) -> None:
        """Close the connection and end all its legs; *reason* is for the operator."""
        if self.lost:
            return
        self.lost = True
        if hasattr(self, "connection"):
            self.connection.flush()  # a GOAWAY that h2 has prepared
            self.connection.close()
            if not self.writable:  # a peer that does not read would keep the socket for ever
                bridge.loop().call_later(LINGER_S, self._transport.abort)
        legs, self.legs = deque(self.legs.values()), {}
        self._lose(legs, reason)
        self.on_lost(reason)

    def _lose(self, legs: deque[Leg], reason: str) -> None:
        """End *legs* because the connection is gone; many legs in several turns of the loop."""
        for _ in range(min(len(legs), LEGS_PER_TURN)):
            legs.popleft().lost(reason)
        if legs:
            bridge.loop().call_soon(self._lose, legs, reason)

    def credit(self, stream_id: int, size_bytes: int) -> None:
        """Return *size_bytes* of flow-control window to the peer: they were passed on."""
        if size_bytes and not self.lost:
            self.h2.acknowledge_received_data(size_bytes, stream_id)
            self.send_soon()

    def on_lost(self, reason: str) -> None:
        """Called once, when the connection is gone; some of very many legs may end later."""

    def on_settings(self) -> None:
        """Called when the peer has changed its settings."""

    def on_goodbye(self, reason: str) -> None:
        """Called when the peer accepts no new streams; existing ones may run to their end."""

    def on_room(self) -> None:
        """Called when a stream has ended, so that another may begin."""
        self._leave_when_idle()

    # --- frames --------------------------------------------------------------------------------------------------

    def _headers(self, event: h2e.ResponseReceived | h2e.TrailersReceived) -> None:
        leg = self.legs.get(event.stream_id)
        if leg is None:
            return
        if event.headers and event.headers[0] is TOO_LONG:
            leg.on_too_long(f"more than {MAX_HEADER_LIST_BYTES} bytes or {MAX_HEADERS} headers")
        else:
            end = isinstance(event, h2e.TrailersReceived) or event.stream_ended is not None
            leg.on_headers(_as_headers(event.headers), end=end)

    def _data(self, event: h2e.DataReceived) -> None:
        if leg := self.legs.get(event.stream_id):
            leg.on_data(event.data, event.flow_controlled_length, end=event.stream_ended is not None)
            if not event.data and event.stream_ended is None:
                self._count(Kind.IDLE)
        else:
            self.credit(event.stream_id, event.flow_controlled_length)
            self._count(Kind.IDLE)

    def _reset(self, event: h2e.StreamReset) -> None:
        if leg := self.legs.pop(event.stream_id, None):
            leg.on_reset(int(event.error_code or 0))
            self.on_room()
        self._count(Kind.RESET)

    def _window(self, event: h2e.WindowUpdated) -> None:
        if not event.stream_id:
            self._window_opened = True
        elif leg := self.legs.get(event.stream_id):
            leg.pump()
        else:
            self._count(Kind.IDLE)

    def _settings(self, _event: h2e.RemoteSettingsChanged) -> None:
        self._settings_changed = True
        self._count(Kind.SETTINGS)

    def _begun(self, _event: h2e.RequestReceived | h2e.PushedStreamReceived) -> None:
        self.fail("peer opened a stream, which only a client may do")

    def _terminated(self, event: h2e.ConnectionTerminated) -> None:
        reason = f"peer sent GOAWAY (error {event.error_code})"
        if event.error_code:
            self.fail(reason)
            return
        self.goodbye = reason
        self.on_goodbye(reason)
        for leg in [leg for leg in self.legs.values() if leg.stream_id > (event.last_stream_id or 0)]:
            leg.lost(reason)
        self._leave_when_idle()

    def _leave_when_idle(self) -> None:
        if self.goodbye and not self.legs:
            self.fail(self.goodbye)

    def _pump_all(self) -> None:
        for leg in list(self.legs.values()):
            if not self.writable or self.h2.outbound_flow_control_window <= 0:
                return
            leg.pump()


_HANDLERS: dict[type[h2e.Event], Callable[[Http2Connection, h2e.Event], None]] = {
    h2e.ResponseReceived: Http2Connection._headers,  # type: ignore[dict-item] # keyed by this very type
    h2e.TrailersReceived: Http2Connection._headers,  # type: ignore[dict-item] # and so below
    h2e.DataReceived: Http2Connection._data,  # type: ignore[dict-item]
    h2e.StreamReset: Http2Connection._reset,  # type: ignore[dict-item]
    h2e.WindowUpdated: Http2Connection._window,  # type: ignore[dict-item]
    h2e.RemoteSettingsChanged: Http2Connection._settings,  # type: ignore[dict-item]
    h2e.RequestReceived: Http2Connection._begun,  # type: ignore[dict-item]
    h2e.PushedStreamReceived: Http2Connection._begun,  # type: ignore[dict-item]
    h2e.ConnectionTerminated: Http2Connection._terminated,  # type: ignore[dict-item]
}


_COUNTED: dict[type[h2e.Event], Kind] = {
    h2e.PingReceived: Kind.PING,
    h2e.PingAckReceived: Kind.IDLE,
    h2e.PriorityUpdated: Kind.IDLE,
    h2e.UnknownFrameReceived: Kind.IDLE,
    h2e.InformationalResponseReceived: Kind.IDLE,
    h2e.AlternativeServiceAvailable: Kind.IDLE,
    h2e.SettingsAcknowledged: Kind.SETTINGS,
}


def _as_headers(headers: Iterable[tuple[bytes, bytes]] | None) -> Headers:
    return headers if isinstance(headers, list) else list(headers or ())


class _Unused(AbstractHandler):
    """The handler that H2Protocol requires for its own streams, which are not used here."""

    def accept(self, stream: Stream, headers: object, release_stream: Callable[[], None]) -> None:
        raise NotImplementedError

    def cancel(self, stream: Stream) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError
