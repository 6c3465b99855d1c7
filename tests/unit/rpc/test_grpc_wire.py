"""Timeouts, statuses and message frames."""

from __future__ import annotations

import zlib

import pytest
from grpclib.const import Status
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hypothesis import example, given
from hypothesis import strategies as st

from crirm.errors import QUOTED_CHARS
from crirm.rpc.grpc_wire import Deframer, find, format_timeout, frame, parse_timeout_s, status_of, status_trailers
from crirm.rpc.header_blocks import Coded


@pytest.mark.parametrize(
    ("value", "timeout_s"),
    [
        pytest.param(b"2S", 2.0, id="seconds"),
        pytest.param(b"250m", 0.25, id="milliseconds"),
        pytest.param(b"1H", 3600.0, id="hours"),
        pytest.param(b"99999999n", 0.099999999, id="eight digits"),
        pytest.param(b"100000000n", None, id="nine digits are too many"),
        pytest.param(b"5s", None, id="units are case-sensitive"),
        pytest.param(b"-5S", None, id="never negative"),
        pytest.param(b"", None, id="empty"),
    ],
)
def test_timeouts_are_read_as_the_protocol_says(value: bytes, timeout_s: float | None) -> None:
    assert parse_timeout_s(value) == pytest.approx(timeout_s)


@given(st.floats(min_value=0, max_value=1e9))
@example(0.0)
@example(1e-9)
@example(99999999.5)
def test_a_written_timeout_is_never_longer_and_hardly_shorter(timeout_s: float) -> None:
    written = format_timeout(timeout_s)
    assert len(written) <= 9
    read = parse_timeout_s(written)
    assert read is not None
    assert timeout_s - max(1e-6, timeout_s * 0.01) <= read <= timeout_s * (1 + 1e-9)


@given(st.text())
@example("%")
@example("%4")
@example("\n%zz\u20ac")
@example("x" * 5000)
def test_a_status_message_survives_the_wire(message: str) -> None:
    try:
        message.encode()
    except UnicodeEncodeError:
        return
    trailers = status_trailers(Status.INTERNAL, message, alone=False)
    code, quoted = status_of(trailers)
    assert code == 13
    assert quoted == message or (quoted.startswith(message[:QUOTED_CHARS]) and len(message) > QUOTED_CHARS)
    assert all(0x20 <= octet < 0x7F for octet in find(trailers, b"grpc-message") or b"")


@pytest.mark.parametrize(
    "trailers",
    [
        pytest.param([], id="no status"),
        pytest.param([(b"grpc-status", b"abc")], id="no number"),
        pytest.param([(b"grpc-status", b"")], id="nothing"),
        pytest.param([(b"grpc-status", b"1" * 5000)], id="more digits than a number has"),
    ],
)
def test_a_missing_status_is_unknown(trailers: list[tuple[bytes, bytes]]) -> None:
    assert status_of(trailers)[0] == Status.UNKNOWN.value


@given(st.lists(st.binary(max_size=300), max_size=8), st.integers(min_value=1, max_value=50))
def test_messages_come_out_as_they_went_in_however_they_are_cut(messages: list[bytes], piece_bytes: int) -> None:
    seen: list[bytes] = []
    deframer = Deframer(seen.append, None)
    wire = b"".join(frame(message) for message in messages)
    for start in range(0, len(wire), piece_bytes):
        deframer.feed(wire[start : start + piece_bytes])
    assert messages == seen


@pytest.mark.parametrize(
    ("encoding", "packed", "message"),
    [
        pytest.param(b"deflate", zlib.compress(b"abc"), b"abc", id="deflate is undone"),
        pytest.param(b"gzip", b"not gzip", b"not gzip", id="broken gzip is shown as it is"),
        pytest.param(b"snappy", b"xyz", b"xyz", id="an unknown encoding is shown as it is"),
    ],
)
def test_compressed_messages(encoding: bytes, packed: bytes, message: bytes) -> None:
    seen: list[bytes] = []
    Deframer(seen.append, encoding).feed(b"\1" + len(packed).to_bytes(4, "big") + packed)
    assert [message] == seen


@pytest.mark.parametrize(
    "message", [pytest.param(b"x" * 1_000_000, id="plain"), pytest.param(b"%C3%A4" * 100_000, id="with escapes")]
)
def test_of_a_long_status_message_the_beginning_is_quoted(message: bytes) -> None:
    text = status_of([(b"grpc-status", b"2"), (b"grpc-message", message)])[1]
    assert text.startswith(("x" * 200 + "...", "ä" * 200 + "..."))
    assert text.endswith(f"({len(message)} bytes)")


def test_of_a_long_coded_status_message_likewise() -> None:
    coded = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(b"no such profile: " + b"x" * 9000)
    text = status_of([(b"grpc-status", b"2"), (b"grpc-message", Coded(coded))])[1]
    assert text.startswith("no such profile: xxx")
    assert len(text) < 250
