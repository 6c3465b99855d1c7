"""What a hostile caller does to crirm; a table."""

from __future__ import annotations

import gzip
import time
from functools import cache
from itertools import count
from typing import TYPE_CHECKING

from tests.abuse import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

VERSION = "/runtime.v1.RuntimeService/Version"
CREATE = "/runtime.v1.RuntimeService/CreateContainer"
STATUS = "/runtime.v1.RuntimeService/Status"
_MIB = 1 << 20
_BATCH = 200  # frames said at once


def rapid_reset() -> Iterator[bytes]:
    """Calls that are cancelled as soon as they begin."""
    for first in count(1, 2 * _BATCH):
        yield b"".join(
            wire.request(stream, VERSION) + wire.frame(wire.RST_STREAM, 0, stream, wire.number(8))
            for stream in range(first, first + 2 * _BATCH, 2)
        )


def _over_and_over(words: bytes) -> Callable[[], Iterator[bytes]]:
    def flood() -> Iterator[bytes]:
        while True:
            yield words * _BATCH

    return flood


def empty_data() -> Iterator[bytes]:
    yield wire.request(1, VERSION)
    while True:
        yield wire.frame(wire.DATA, 0, 1) * _BATCH


def _header_block(piece: bytes) -> Callable[[], Iterator[bytes]]:
    def flood() -> Iterator[bytes]:
        yield wire.frame(wire.HEADERS, 0, 1, wire.block([(b":path", b"/x")]))
        while True:
            yield wire.frame(wire.CONTINUATION, 0, 1, piece) * 20

    return flood


def open_calls() -> Iterator[bytes]:
    """Requests that never end."""
    for stream in count(1, 2):
        yield wire.request(stream, CREATE)


def unfinished_creates() -> Iterator[bytes]:
    """300 requests of a megabyte each, each without its last byte."""
    for stream in range(1, 601, 2):
        body = b"\0" + wire.number(_MIB - 4) + b"x" * (_MIB - 6)  # as much as the stream's window
        pieces = [wire.frame(wire.DATA, 0, stream, body[at : at + (1 << 14)]) for at in range(0, len(body), 1 << 14)]
        yield wire.request(stream, CREATE) + b"".join(pieces)


@cache
def _bomb() -> bytes:
    """Packed to a thousandth: two megabytes of gzip hold two gigabytes."""
    packed = gzip.compress(bytes(900 * _MIB), 9)
    return b"\1" + wire.number(len(packed)) + packed


def gzip_bombs() -> Iterator[bytes]:
    for stream in range(1, 17, 2):
        body = _bomb()
        pieces = [body[at : at + (1 << 14)] for at in range(0, len(body), 1 << 14)]
        said = [wire.frame(wire.DATA, 0, stream, piece) for piece in pieces]
        said.append(wire.frame(wire.DATA, wire.END_STREAM, stream))
        yield wire.request(stream, CREATE, (b"grpc-encoding", b"gzip")) + b"".join(said)


def long_metadata() -> Iterator[bytes]:
    """Calls with eight megabytes of metadata each."""
    for stream in range(1, 41, 2):
        yield wire.request(stream, VERSION, *((b"x", b"y" * 8000) for _ in range(1000)), end=True)


def very_many_headers() -> Iterator[bytes]:
    for stream in range(1, 21, 2):
        yield wire.request(stream, VERSION, *[(b"x", b"")] * 100_000, end=True)


def different_headers() -> Iterator[bytes]:
    """What is remembered of header blocks must not grow with them."""
    for stream in range(1, 20_001, 2):
        body = wire.frame(wire.DATA, wire.END_STREAM, stream, b"\0\0\0\0\0")
        yield wire.request(stream, VERSION, (b"x-%d" % stream, b"y" * 4000)) + body


def windows_of_one_byte() -> Iterator[bytes]:
    yield b"".join(
        wire.request(stream, STATUS) + wire.frame(wire.DATA, wire.END_STREAM, stream, b"\0\0\0\0\0")
        for stream in range(1, 401, 2)
    )
    while True:
        yield wire.frame(wire.WINDOW_UPDATE, 0, 0, wire.number(1)) * _BATCH


PING = wire.frame(wire.PING, payload=b"01234567")

FLOODS: Mapping[str, Callable[[], Iterator[bytes]]] = {
    "rapid reset": rapid_reset,
    "pings": _over_and_over(PING),
    "settings": _over_and_over(wire.settings((wire.INITIAL_WINDOW_SIZE, 70_000))),
    "empty settings": _over_and_over(wire.settings()),
    "empty data": empty_data,
    "priorities": _over_and_over(wire.frame(wire.PRIORITY, 0, 3, wire.number(1) + b"\1")),
    "unknown frames": _over_and_over(wire.frame(0x77, 0, 1)),
    "resets of nothing": _over_and_over(wire.frame(wire.RST_STREAM, 0, 1, wire.number(8))),
    "continuations of nothing": _header_block(b""),
    "continuations without end": _header_block(b"\x00\x01x\x7f" + b"y" * 8000),
    "open calls": open_calls,
    "unfinished creates": unfinished_creates,
    "gzip bombs": gzip_bombs,
    "long metadata": long_metadata,
    "very many headers": very_many_headers,
    "different headers": different_headers,
    "windows of one byte": windows_of_one_byte,
}


def play(flood: Callable[[], Iterator[bytes]], caller: wire.Rude, for_s: float, *, hear: bool) -> None:
    """Let *caller* flood until it is hung up on, has nothing left to say, or the time is over."""
    until_s = time.monotonic() + for_s
    caller.say(wire.PREFACE + wire.settings() + wire.frame(wire.SETTINGS, wire.ACK) * 2, until_s=until_s, hear=hear)
    for words in flood():
        if not caller.say(words, until_s=until_s, hear=hear):
            return
