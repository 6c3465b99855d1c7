"""HTTP/2 connections: frames in, stream callbacks out, writes gathered into one per batch.

grpclib brings the asyncio protocol and h2 the frames. What is done differently here, and why:

* A stream's frames are handed on synchronously, in the loop callback that read them. A task per call and an event per
  frame, as grpclib's own streams have, cost half as much again as everything else that happens to a relayed call.
* h2 is used with less work per frame (``lean_h2``).
* What is written in answer to one read is sent with one system call per connection (``Flusher``).
* A read that holds very many frames is handled in several turns of the loop, so that one caller with many calls at once
  neither holds up the others nor waits for its last call before its first goes out.
* Each stream may hold ``STREAM_WINDOW_BYTES`` unread; the connection's own window is as large as HTTP/2 allows, so one
  stream that nobody reads never stops the others.

Every function here is asyncio-flavoured: it runs in callbacks of the event loop and never waits.
"""

from __future__ import annotations

import logging
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any

import h2.events as h2e
import hyperframe.frame
from grpclib.config import Configuration
from grpclib.protocol import AbstractHandler, Connection, H2Protocol
from h2.config import H2Configuration
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes

from crirm.rpc import bridge
from crirm.rpc.floods import Allowances, Kind
from crirm.rpc.header_cache import MAX_HEADERS, TooLong
from crirm.rpc.lean_h2 import MAX_HEADER_LIST_BYTES, PAUSE, LeanH2Connection, Nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from grpclib.protocol import Stream

    from crirm.rpc.budget import Account
    from crirm.rpc.flusher import Flusher
    from crirm.rpc.leg import Leg

Headers = list[tuple[bytes, bytes]]

STREAM_WINDOW_BYTES = 1 << 20  # what a stream may hold unread; 1 MiB keeps a 64 MiB message moving and memory bounded
CONNECTION_WINDOW_BYTES = (1 << 31) - 1  # the largest of RFC 9113 section 6.9.1
MAX_STREAMS = (1 << 31) - 1  # no limit of our own: the kubelet must not meet one that the runtime does not have
LEGS_PER_TURN = 100  # that are ended with their connection; about 5 ms
LINGER_S = 5.0  # for a peer to read the last of what it was sent
EVENTS_PER_TURN = 32  # 1 to 2 ms of small calls; more than one read of data frames holds

_CONFIG = Configuration(
    http2_connection_window_size=CONNECTION_WINDOW_BYTES, http2_stream_window_size=STREAM_WINDOW_BYTES
).__for_client__()  # the client's defaults on both sides: no keep-alive pings on a Unix socket

# h2 and hpack describe every frame and header to loggers that are off; the describing alone is a tenth of a call.
hyperframe.frame.Frame.__repr__ = object.__repr__  # type: ignore[method-assign]
for _name in ("hpack.hpack", "hpack.table"):
    logging.getLogger(_name).debug = lambda *_args, **_kwargs: None  # type: ignore[method-assign]


class _H2Connection(LeanH2Connection):
    """Goes on when the peer says goodbye: a server that stops in good order still serves the calls that it has."""

    def _receive_goaway_frame(self, frame: hyperframe.frame.GoAwayFrame) -> tuple[list[hyperframe.frame.Frame], Any]:
        event = h2e.ConnectionTerminated()
        event.error_code, event.last_stream_id = frame.error_code, frame.last_stream_id
        return [], [event]


class Http2Connection(H2Protocol):
    """One HTTP/2 connection and the legs of calls that run over it."""

    def __init__(self, flusher: Flusher, *, client_side: bool) -> None:
        config = H2Configuration(
            client_side=client_side,
            header_encoding=None,  # bytes: what is not ASCII is not ours to judge
            validate_inbound_headers=False,
            validate_outbound_headers=False,
            normalize_inbound_headers=False,
            normalize_outbound_headers=False,
        )
        super().__init__(_Unused(), _CONFIG, config)
        self.h2 = _H2Connection(config)
        self.h2.decoder.max_header_list_size = MAX_HEADER_LIST_BYTES
        self.flusher = flusher
        self.legs: dict[int, Leg] = {}
        self.account: Account | None = None  # what the calls of the peer hold in memory, where it is a caller
        self.dirty = False
        self.lost = False
        self.behind = False  # events of the last read wait for a later turn of the loop
        self.writable = True
        self.goodbye = ""  # why the peer takes no new streams
        self._events: Iterator[h2e.Event] = iter(())
        self._window_opened = self._settings_changed = False  # in this turn
        self._allowances = Allowances()
        self.arrived_s = 0.0  # monotonic time of the batch that is being handled

    # --- called by asyncio ---------------------------------------------------------------------------------------

    def connection_made(self, transport: bridge.BaseTransport) -> None:
        """Send the preface and our settings."""
        if self.lost:  # given up between the accepting and now
            bridge.as_transport(transport).close()
            return
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(CONNECTION_WINDOW_BYTES - self.h2.inbound_flow_control_window)
        self.h2.update_settings(
            {
                SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
                SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
                SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEADER_LIST_BYTES,
            }
        )
        self._transport = bridge.as_transport(transport)
        self.connection = Connection(self.h2, self._transport, config=_CONFIG)
        self.connection.flush()

    def data_received(self, data: bytes) -> None:
        """Handle one batch of frames and send what comes of it."""
        self.arrived_s = monotonic()
        self._events = self.h2.receive(data)
        self.handle_some()

    def handle_some(self) -> None:
        """Handle as much of the batch as fits in one turn of the loop; what is left waits for the next."""
        if self.lost:
            return
        self.flusher.hold()
        self.flusher.add(self)
        try:
            behind = self._handle(EVENTS_PER_TURN)
            self._conclude_turn()
        except ProtocolError as error:
            self.fail(f"the peer does not speak HTTP/2 as it should ({error})")
        except Exception:
            self.fail("a fault in crirm")
            raise
        finally:
            self.flusher.flush()
        if not self.lost:
            self._set_behind(behind)

    def _set_behind(self, behind: bool) -> None:
        if behind:
            bridge.loop().call_soon(self.handle_some)
        if behind != self.behind:
            self.behind = behind
            (self._transport.pause_reading if behind else self._transport.resume_reading)()

    def _handle(self, most: int) -> bool:
        """Handle the next *most* events; True when that was not all."""
        for event in self._events:
            if event is PAUSE:
                return True
            handle = _HANDLERS.get(type(event))
            if handle is not None:
                handle(self, event)
            elif (kind := _COUNTED.get(type(event))) is not None:
                self._count(kind)
            most -= 1
            if self.lost or not most:
                return not self.lost
        return False

    def _count(self, kind: Kind) -> None:
        """Take note of a frame that brought no call forward."""
        within = self._allowances.spend(kind, self.arrived_s)
        if not self.writable:  # what answers there are would pile up here
            within = self._allowances.spend(Kind.UNREAD, self.arrived_s) and within
        if not within and not self.lost:
            self.h2.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
            self.fail(f"the peer sends too many {kind.called}")

    def _conclude_turn(self) -> None:
        """Do once what may have become possible many times over: it takes a look at every stream."""
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
        """Go on where ``pause_writing`` stopped."""
        self.writable = True
        for leg in list(self.legs.values()):
            leg.pump()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell every leg that its connection is gone."""
        self.fail(f"the connection was closed{f' ({exc})' if exc else ''}")

    # --- called by legs and owners -------------------------------------------------------------------------------

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
        """Tell *legs* that the connection is gone, some in each turn of the loop where they are very many."""
        for _ in range(min(len(legs), LEGS_PER_TURN)):
            legs.popleft().lost(reason)
        if legs:
            bridge.loop().call_soon(self._lose, legs, reason)

    def credit(self, stream_id: int, size_bytes: int) -> None:
        """Give *size_bytes* of flow-control window back to the peer: that much was handed on."""
        if size_bytes and not self.lost:
            self.h2.acknowledge_received_data(size_bytes, stream_id)
            self.flusher.add(self)

    def on_request(self, event: h2e.RequestReceived) -> None:
        """Handle the first frame of a call; only servers get one."""
        raise ProtocolError(f"a server begins a call, on stream {event.stream_id}")

    def on_lost(self, reason: str) -> None:
        """Called once, when the connection is gone; where it had very many legs, some of them hear of it later."""

    def on_settings(self) -> None:
        """Called when the peer has changed its settings."""

    def on_goodbye(self, reason: str) -> None:
        """Called when the peer takes no new streams; those that it has may go on to their end."""

    def on_room(self) -> None:
        """Called when a stream has ended, so that another may begin."""
        self._leave_when_idle()

    # --- frames --------------------------------------------------------------------------------------------------

    def _request(self, event: h2e.RequestReceived) -> None:
        if not self.writable:
            self._count(Kind.UNREAD)
        if not self.lost:
            self.on_request(event)

    def _response(self, event: h2e.ResponseReceived) -> None:
        if type(event.headers) is TooLong:
            self._too_long(event.stream_id)
        elif leg := self.legs.get(event.stream_id):
            leg.on_headers(_as_headers(event.headers), end=event.stream_ended is not None)

    def _trailers(self, event: h2e.TrailersReceived) -> None:
        if type(event.headers) is TooLong:
            self._too_long(event.stream_id)
        elif leg := self.legs.get(event.stream_id):
            leg.on_headers(_as_headers(event.headers), end=True)

    def _too_long(self, stream_id: int) -> None:
        """End the one call whose headers are longer than may be."""
        if leg := self.legs.get(stream_id):
            leg.on_too_long(f"more than {MAX_HEADER_LIST_BYTES} bytes or {MAX_HEADERS} of headers")

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

    def _terminated(self, event: h2e.ConnectionTerminated) -> None:
        reason = f"peer sent GOAWAY (error {event.error_code})"
        if event.error_code:
            self.fail(reason)
            return
        self.goodbye = reason
        self.on_goodbye(reason)
        for leg in [leg for leg in self.legs.values() if self._is_unheard(leg.stream_id, event.last_stream_id or 0)]:
            leg.lost(reason)
        self._leave_when_idle()

    def _is_unheard(self, stream_id: int, last_stream_id: int) -> bool:
        """Tell whether the peer said that it will not look at a stream; it says so of streams that we opened only."""
        return stream_id > last_stream_id and self.h2.config.client_side

    def _leave_when_idle(self) -> None:
        if self.goodbye and not self.legs:
            self.fail(self.goodbye)

    def _pump_all(self) -> None:
        for leg in list(self.legs.values()):
            if not self.writable or self.h2.outbound_flow_control_window <= 0:
                return
            leg.pump()


_HANDLERS: dict[type[h2e.Event], Callable[[Http2Connection, h2e.Event], None]] = {
    h2e.RequestReceived: Http2Connection._request,  # type: ignore[dict-item] # keyed by this very type
    h2e.ResponseReceived: Http2Connection._response,  # type: ignore[dict-item] # and so below
    h2e.TrailersReceived: Http2Connection._trailers,  # type: ignore[dict-item]
    h2e.DataReceived: Http2Connection._data,  # type: ignore[dict-item]
    h2e.StreamReset: Http2Connection._reset,  # type: ignore[dict-item]
    h2e.WindowUpdated: Http2Connection._window,  # type: ignore[dict-item]
    h2e.RemoteSettingsChanged: Http2Connection._settings,  # type: ignore[dict-item]
    h2e.ConnectionTerminated: Http2Connection._terminated,  # type: ignore[dict-item]
}


_COUNTED: dict[type[h2e.Event], Kind] = {
    h2e.PingReceived: Kind.PING,
    h2e.PingAckReceived: Kind.IDLE,
    h2e.PriorityUpdated: Kind.IDLE,
    h2e.UnknownFrameReceived: Kind.IDLE,
    Nothing: Kind.IDLE,
    h2e.InformationalResponseReceived: Kind.IDLE,
    h2e.AlternativeServiceAvailable: Kind.IDLE,
    h2e.SettingsAcknowledged: Kind.SETTINGS,
}


def _as_headers(headers: Iterable[tuple[bytes, bytes]] | None) -> Headers:
    return headers if isinstance(headers, list) else list(headers or ())


class _Unused(AbstractHandler):
    """What H2Protocol wants for its own streams, of which there are none here."""

    def accept(self, stream: Stream, headers: object, release_stream: Callable[[], None]) -> None:
        raise NotImplementedError

    def cancel(self, stream: Stream) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError
