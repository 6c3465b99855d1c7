"""Whatever arrives, the lean connection says and answers what h2's own does."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import h2.events as h2e
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import DenialOfServiceError, FrameTooLargeError, ProtocolError
from hpack.hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import given
from hypothesis import strategies as st

from crirm.rpc.lean_h2 import MAX_BLOCK_BYTES, MAX_HEADER_LIST_BYTES, LeanH2Connection, Nothing
from tests.unit.rpc.rig import OK, REPLY, request

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
BLOCK = Encoder().encode(request(), huffman=False)
STREAMS = (1, 3, 5)


def config(*, client_side: bool) -> H2Configuration:
    return H2Configuration(
        client_side=client_side,
        header_encoding=None,
        validate_inbound_headers=False,
        validate_outbound_headers=False,
        normalize_inbound_headers=False,
        normalize_outbound_headers=False,
    )


def pair(*, client_side: bool = False) -> tuple[H2Connection, LeanH2Connection]:
    both = H2Connection(config(client_side=client_side)), LeanH2Connection(config(client_side=client_side))
    both[1].encoder = Encoder()  # type: ignore[assignment] # crirm's own writes other blocks of the same meaning
    for connection in both:
        connection.initiate_connection()
    return both


def said(connection: H2Connection, pieces: Iterable[bytes]) -> list[Any]:
    """Everything that comes of *pieces*: events, then the error that ended it, then what is sent."""
    events: list[Any] = []
    try:
        for piece in pieces:
            received = connection.receive if isinstance(connection, LeanH2Connection) else connection.receive_data
            events += received(piece)
    except ProtocolError as error:
        events = [type(error), error.error_code]  # h2's own keeps the events of a batch that ends in an error
    return [*(facts(event) for event in events if not isinstance(event, Nothing)), connection.data_to_send()]


def facts(value: Any) -> Any:
    if isinstance(value, h2e.Event):
        return type(value), {name: facts(part) for name, part in vars(value).items()}
    if isinstance(value, Frame):
        return type(value), value.serialize()
    return repr([tuple(header) for header in value] if isinstance(value, list) else value)


def frame(kind: type[Frame], stream_id: int, flags: Sequence[str] = (), **fields: Any) -> bytes:
    made = kind(stream_id)
    for flag in flags:
        made.flags.add(flag)
    for name, value in fields.items():
        setattr(made, name, value)
    return made.serialize()


END = st.sampled_from([[], ["END_STREAM"]])
STREAM = st.sampled_from(STREAMS)
BODY = st.binary(max_size=40)
FRAMES = st.one_of(
    st.builds(lambda s, end: frame(HeadersFrame, s, ["END_HEADERS", *end], data=BLOCK), STREAM, END),
    st.builds(lambda s, end, body: frame(DataFrame, s, end, data=body), STREAM, END, BODY),
    st.builds(lambda s, end, body: frame(DataFrame, s, ["PADDED", *end], data=body, pad_length=7), STREAM, END, BODY),
    st.builds(lambda s: frame(HeadersFrame, s, ["END_HEADERS", "PRIORITY"], data=BLOCK, depends_on=9), STREAM),
    st.builds(
        lambda s, cut: (
            frame(HeadersFrame, s, data=BLOCK[:cut]) + frame(ContinuationFrame, s, ["END_HEADERS"], data=BLOCK[cut:])
        ),
        STREAM,
        st.integers(0, len(BLOCK)),
    ),
    st.builds(
        lambda s, by: frame(WindowUpdateFrame, s, window_increment=by),
        st.sampled_from((0, 1, 3)),
        st.integers(1, 2**31 - 1),
    ),
    st.builds(lambda s: frame(HeadersFrame, s, data=BLOCK), STREAM),  # and never the rest of it
    st.builds(lambda s: frame(RstStreamFrame, s, error_code=8), STREAM),
    st.builds(lambda s: frame(PriorityFrame, s, depends_on=9), STREAM),
    st.just(frame(PingFrame, 0, opaque_data=b"01234567")),
    st.just(frame(SettingsFrame, 0, settings={4: 1000})),
    st.just(frame(GoAwayFrame, 0)),
    st.builds(lambda s: b"\0\0\3\x4d\3" + s.to_bytes(4, "big") + b"odd", STREAM),
    st.sampled_from(
        [
            b"\0\0\4\x08\0\0\0\0\1\0\0\0\0",  # a WINDOW_UPDATE by nothing
            b"\0\0\3\x08\0\0\0\0\1\0\0\1",  # a short WINDOW_UPDATE
            b"\0\0\1\0\0\0\0\0\0x",  # DATA of no stream
            b"\0\0\1\0\x08\0\0\0\1\x09",  # more padding than data
        ]
    ),
)


@given(st.lists(FRAMES, max_size=12), st.integers(1, 200))
def test_a_server_understands_the_same(frames: list[bytes], piece_bytes: int) -> None:
    sent = PREFACE + frame(SettingsFrame, 0) + b"".join(frames)
    plain, lean = pair()
    expected = said(plain, [sent[at : at + piece_bytes] for at in range(0, len(sent), piece_bytes)])
    assert said(lean, [sent[at : at + piece_bytes] for at in range(0, len(sent), piece_bytes)]) == expected


@given(st.integers(1, 3000), st.binary(max_size=60), st.integers(1, 400))
def test_a_reply_is_understood_the_same(value_bytes: int, body: bytes, piece_bytes: int) -> None:
    """Interim response, headers over several frames, body, trailers."""
    encoder = Encoder()
    head = encoder.encode([*REPLY, (b"big", b"x" * value_bytes)])
    pieces = [head[at : at + 500] for at in range(0, len(head), 500)]
    sent = b"".join(
        [
            frame(SettingsFrame, 0),
            frame(HeadersFrame, 1, ["END_HEADERS"], data=Encoder().encode([(b":status", b"100")])),
            frame(HeadersFrame, 1, ["END_HEADERS"] if len(pieces) == 1 else [], data=pieces[0]),
            *(frame(ContinuationFrame, 1, data=piece) for piece in pieces[1:-1]),
            *(frame(ContinuationFrame, 1, ["END_HEADERS"], data=piece) for piece in pieces[1:][-1:]),
            frame(DataFrame, 1, data=body),
            frame(HeadersFrame, 1, ["END_HEADERS", "END_STREAM"], data=encoder.encode(OK)),
        ]
    )
    plain, lean = pair(client_side=True)
    for connection in (plain, lean):
        connection.send_headers(1, request(), end_stream=True)
    chopped = [sent[at : at + piece_bytes] for at in range(0, len(sent), piece_bytes)]
    assert said(lean, chopped) == said(plain, chopped)


@pytest.mark.parametrize("value_bytes", [pytest.param(10, id="one frame"), pytest.param(40_000, id="continuations")])
@pytest.mark.parametrize("end", [True, False])
def test_what_is_sent_is_the_same(value_bytes: int, *, end: bool) -> None:
    both = pair(client_side=True)
    for connection in both:
        connection.send_headers(1, [*request(), (b"big", b"x" * value_bytes)], end_stream=end)
        if not end:
            connection.send_data(1, b"one")
            connection.send_data(1, b"two", end_stream=True)
    plain, lean = both
    assert lean.data_to_send() == plain.data_to_send()
    assert lean.streams[1].outbound_flow_control_window == plain.streams[1].outbound_flow_control_window


def test_a_frame_beyond_the_largest_is_refused() -> None:
    plain, lean = pair()
    head = frame(HeadersFrame, 1, ["END_HEADERS"], data=BLOCK)
    sent = PREFACE + frame(SettingsFrame, 0) + head + frame(DataFrame, 1, data=bytes((1 << 14) + 1))
    assert said(lean, [sent]) == said(plain, [sent])


def test_trailers_that_do_not_end_the_stream_are_refused() -> None:
    plain, lean = pair(client_side=True)
    encoder = Encoder()
    sent = frame(SettingsFrame, 0) + b"".join(
        frame(HeadersFrame, 1, ["END_HEADERS"], data=encoder.encode(headers)) for headers in (REPLY, OK)
    )
    for connection in (plain, lean):
        connection.send_headers(1, request(), end_stream=True)
    assert said(lean, [sent]) == said(plain, [sent])


def test_events_come_frame_by_frame() -> None:
    """The second frame is broken, and the first was handled before anybody found out."""
    _, lean = pair()
    first = frame(HeadersFrame, 1, ["END_HEADERS", "END_STREAM"], data=BLOCK)
    broken = b"\0\0\1\0\0\0\0\0\0x"  # DATA of no stream
    received = lean.receive(PREFACE + frame(SettingsFrame, 0) + first + broken)
    kinds: list[type] = []
    with pytest.raises(ProtocolError):
        kinds.extend(map(type, received))
    assert h2e.RequestReceived in kinds


def test_a_declared_length_is_for_the_receiver_to_check() -> None:
    _, lean = pair()
    block = Encoder().encode([*request(), (b"content-length", b"1")])
    sent = frame(HeadersFrame, 1, ["END_HEADERS"], data=block) + frame(DataFrame, 1, ["END_STREAM"], data=b"four")
    events = list(lean.receive(PREFACE + frame(SettingsFrame, 0) + sent))
    assert [type(event) for event in events][-2:] == [h2e.DataReceived, h2e.StreamEnded]


@pytest.mark.parametrize("client_side", [True, False])
def test_a_frame_beyond_the_largest_is_refused_by_its_head(*, client_side: bool) -> None:
    """Noise reads as a frame of megabytes; to wait for the rest of it is to wait for ever."""
    _, lean = pair(client_side=client_side)
    with pytest.raises(FrameTooLargeError):
        list(lean.receive((b"" if client_side else PREFACE) + b"HTTP/1.1 400 Bad Request\r\n\r\n"))


def test_a_header_list_of_megabytes_arrives() -> None:
    _, lean = pair(client_side=True)
    lean.decoder.max_header_list_size = MAX_HEADER_LIST_BYTES
    lean.send_headers(1, request(), end_stream=True)
    value = b"x" * (5 << 20)
    block = b"\x00\x03big\x7f" + _varint(len(value) - 127) + value
    pieces = [block[at : at + (1 << 14)] for at in range(0, len(block), 1 << 14)]
    sent = frame(HeadersFrame, 1, ["END_STREAM"], data=pieces[0])
    sent += b"".join(frame(ContinuationFrame, 1, data=piece) for piece in pieces[1:-1])
    sent += frame(ContinuationFrame, 1, ["END_HEADERS"], data=pieces[-1])
    events = [
        event for event in lean.receive(frame(SettingsFrame, 0) + sent) if isinstance(event, h2e.ResponseReceived)
    ]
    assert [(b"big", value)] == events[0].headers


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 128:
        encoded.append(value % 128 + 128)
        value //= 128
    return bytes([*encoded, value])


@pytest.mark.parametrize(
    "piece",
    [
        pytest.param(b"", id="of nothing"),
        pytest.param(b"x", id="of one byte"),
        pytest.param(b"x" * (1 << 14), id="without end"),
    ],
)
def test_continuations_are_bounded(piece: bytes) -> None:
    _, lean = pair()
    list(lean.receive(PREFACE + frame(SettingsFrame, 0) + frame(HeadersFrame, 1, data=BLOCK)))
    one = frame(ContinuationFrame, 1, data=piece)
    pieces = (lean.receive(one) for _ in range(2 + MAX_BLOCK_BYTES // (1 << 14)))
    with pytest.raises(DenialOfServiceError):
        list(chain.from_iterable(pieces))
    assert b"\0\0\0\x0b" in lean.data_to_send(), "ENHANCE_YOUR_CALM"


def test_nothing_is_pushed() -> None:
    _, lean = pair(client_side=True)
    lean.send_headers(1, request(), end_stream=True)
    pushed = frame(PushPromiseFrame, 1, ["END_HEADERS"], promised_stream_id=2, data=BLOCK)
    with pytest.raises(ProtocolError, match="pushed"):
        list(lean.receive(frame(SettingsFrame, 0) + pushed))


def test_settings_that_nobody_knows_are_not_kept() -> None:
    _, lean = pair()
    settings = b"".join(key.to_bytes(2, "big") + b"\0\0\0\1" for key in range(100, 2000))
    sent = len(settings).to_bytes(3, "big") + b"\4\0\0\0\0\0" + settings
    list(lean.receive(PREFACE + frame(SettingsFrame, 0) + sent))
    assert len(lean.remote_settings) < 20


def test_streams_that_have_closed_are_forgotten() -> None:
    _, lean = pair()
    encoder = Encoder()
    list(lean.receive(PREFACE + frame(SettingsFrame, 0)))
    for stream_id in range(1, 40_001, 2):
        head = frame(HeadersFrame, stream_id, ["END_HEADERS", "END_STREAM"], data=encoder.encode(request()))
        list(lean.receive(head + frame(RstStreamFrame, stream_id, error_code=8)))
    assert len(lean.streams) < 100
    assert len(lean._closed_streams) < 10_000
