"""Header blocks: decoded in linear time, and encoded without a table.

hpack's decoder follows the peer's dynamic table (RFC 7541 section 2.3.2). A block that was seen before means the same
as long as that table has not changed, so most blocks of a node's calls are looked up. Blocks of any length come in, an
error message of a runtime travels in one; a long one is decoded field by field, with pauses, and a long value in
Huffman code is passed on encoded: decoding a megabyte of it takes a third of a second.

crirm writes plain literals without indexing (section 6.2.2), which use no table. So its blocks can be mixed with those
of another encoder, and a block that is not sent does not affect the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hpack import Decoder, Encoder
from hpack.exceptions import HPACKDecodingError
from hpack.huffman_table import HUFFMAN_EMIT_SYMBOL, HUFFMAN_FAIL, HUFFMAN_TABLE
from hpack.struct import HeaderTuple, NeverIndexedHeaderTuple

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from hpack.table import HeaderTable

Headers = list[tuple[bytes, bytes]]

MAX_HEADER_LIST_BYTES: Final = 16 << 20  # as grpc-go; an error message of a runtime travels in one header
MAX_HEADERS: Final = 10_000  # in a list; the kubelet's have ten, and each costs some microseconds
NO_TABLE: Final = b"\x20"  # a table size update to 0, which an encoder of literals sends once, RFC 7541 6.3
_SHORT_BYTES: Final = 4 << 10  # of a block that hpack decodes at once
_STEP_BYTES: Final = 16 << 10  # of a long block, decoded without a pause: 3 ms of Huffman code
_FIELD_COST_BYTES: Final = 32  # what a field costs beside its bytes; also how RFC 9113 section 6.5.2 counts it
_MOST_REMEMBERED: Final = 256
USUAL_TABLE_BYTES: Final = 4096
_CODED, _INDEXED, _INDEXING, _RESIZE, _NEVER_INDEXED = 0x80, 0x80, 0x40, 0x20, 0x10
_MOST_INTEGER_OCTETS: Final = 5  # 32 bits; the length of a block is less
_LONG_CODED_BYTES: Final = 16 << 10  # a value this long is no entry of a table: it has 4 KiB or more when decoded


class Coded(bytes):
    """A header value that is still Huffman-encoded."""

    __slots__ = ()

    def beginning(self, size_bytes: int) -> bytes:
        """Return the first *size_bytes* of the value, decoded; fewer if it is shorter or invalid."""
        decoded, state = bytearray(), 0
        for octet in self:
            for nibble in (octet >> 4, octet & 0xF):
                state, flags, symbol = HUFFMAN_TABLE[state * 16 + nibble]
                if flags & HUFFMAN_FAIL:
                    return bytes(decoded)
                if flags & HUFFMAN_EMIT_SYMBOL:
                    decoded.append(symbol)
            if len(decoded) >= size_bytes:
                break
        return bytes(decoded[:size_bytes])


class TooLong(list[tuple[bytes, bytes]]):
    """Stands for a header list that exceeds the limit; empty."""


class BlockDecoder:
    """Decodes the header blocks of one peer, in order."""

    def __init__(self) -> None:
        self._hpack = Decoder()
        self._hpack.max_header_list_size = 2 * MAX_HEADER_LIST_BYTES  # counted here
        self._known: dict[bytes, Headers] = {}

    def allow_table(self, size_bytes: int) -> None:
        """Let the peer use a table of *size_bytes*, as announced to it."""
        self._hpack.max_allowed_table_size = max(self._hpack.max_allowed_table_size, size_bytes)

    def decode(self, block: bytes) -> Headers:
        """Return the headers of a short *block*; the list is shared and not to be changed.

        Raises:
            HPACKError: the block is broken, and so is the table from now on.
        """
        headers = self._known.get(block)
        if headers is None:
            table = self._hpack.header_table
            front, count, size_bytes = _front(table), len(table.dynamic_entries), table.maxsize
            headers = self._decode(block)
            if _front(table) is not front or len(table.dynamic_entries) != count or table.maxsize != size_bytes:
                self._known.clear()  # equal blocks have another meaning from now on
            elif len(self._known) < _MOST_REMEMBERED:
                self._known[block] = headers
        return headers

    def changes(self, block: bytes) -> bool:
        """Decode a short *block* only for the table; returns whether the table changed."""
        self.decode(block)
        return block not in self._known

    @staticmethod
    def is_short(block: bytes) -> bool:
        """Whether *block* is short enough for `decode`."""
        return len(block) <= _SHORT_BYTES

    def decoding(self, block: bytes) -> Generator[None, None, Headers]:
        """Decode a *block* of any length, with pauses, and return its headers.

        Raises:
            HPACKError: as above.
        """
        self._known.clear()
        headers: Headers = []
        at = work_bytes = size_bytes = count = 0
        while at < len(block):
            end, long_value = _field_end(block, at)
            if block[at] & 0xE0 == _RESIZE:
                if count:
                    raise HPACKDecodingError("table size update after the start of the block")
                self._decode(block[at:end])
                at = end
                continue
            count += 1
            header = self._field(block, at, end, long_value)
            size_bytes += len(header[0]) + len(header[1]) + _FIELD_COST_BYTES
            if size_bytes > MAX_HEADER_LIST_BYTES or count > MAX_HEADERS:
                headers = TooLong()
            if type(headers) is not TooLong:
                headers.append(header)
            work_bytes += _FIELD_COST_BYTES + (0 if long_value else end - at)
            at = end
            if work_bytes > _STEP_BYTES:
                work_bytes = 0
                yield
        return headers

    def _field(self, block: bytes, at: int, end: int, long_value: int) -> tuple[bytes, bytes]:
        if not long_value:
            return self._decode(block[at:end])[0]
        length, begin = _integer(block, long_value, 7)
        value = block[begin : begin + length]
        coded = block[long_value] & _CODED
        if block[at] & _INDEXING and (length // 4 if coded else length) < self._hpack.header_table_size:
            return self._decode(block[at:end])[0]
        name = self._decode(_without_table(block, at, long_value))[0][0]
        if block[at] & _INDEXING:
            self._empty_table()
        kind = NeverIndexedHeaderTuple if block[at] & 0xF0 == _NEVER_INDEXED else HeaderTuple
        header: Any = kind(name, Coded(value) if coded else value)
        pair: tuple[bytes, bytes] = header
        return pair

    def _decode(self, block: bytes) -> Headers:
        headers: list[Any] = list(self._hpack.decode(block, raw=True))  # pairs of bytes, as asked
        return headers

    def _empty_table(self) -> None:
        """Clear the table, as an entry larger than the table does (RFC 7541 section 4.4)."""
        size_bytes = self._hpack.header_table_size
        self._decode(NO_TABLE + table_size(size_bytes))


def table_size(size_bytes: int) -> bytes:
    """Return the prefix that sets the encoder's table to *size_bytes* (RFC 7541 section 6.3)."""
    return bytes(_integer_octets(size_bytes, 5, _RESIZE))


def _front(table: HeaderTable) -> object:
    """Return the latest entry of *table*; as long as it is referenced, no later one has its identity."""
    entries = table.dynamic_entries
    return entries[0] if entries else None


TOO_LONG: Final = (b"", b"")  # the only header of a list that exceeds the limit; no peer can send it


class LinearDecoder(Decoder):
    """A `BlockDecoder` in place of hpack's, for an h2 connection, which converts the result to a list."""

    def __init__(self) -> None:
        self._blocks = BlockDecoder()
        super().__init__()

    @property
    def max_allowed_table_size(self) -> int:
        """How large a table the peer may use, in bytes."""
        return USUAL_TABLE_BYTES

    @max_allowed_table_size.setter
    def max_allowed_table_size(self, value: int) -> None:
        self._blocks.allow_table(value)

    def decode(self, data: bytes, raw: bool = False) -> Any:  # noqa: ARG002 - always bytes
        """Return the headers of the block *data*."""
        if BlockDecoder.is_short(data):
            return self._blocks.decode(data)
        steps = self._blocks.decoding(data)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return [TOO_LONG] if type(end.value) is TooLong else end.value


class LiteralEncoder(Encoder):
    """Writes plain literals, for an h2 connection."""

    def encode(self, headers: Iterable[Any], huffman: bool = True) -> bytes:  # noqa: ARG002 - never
        """Return the block of *headers*, pairs of bytes."""
        return literals(headers)


def literals(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the block of *headers*, without use of a table."""
    return b"".join(map(literal, headers))


_names: dict[bytes, bytes] = {}  # of headers, as they begin; few and short


def literal(header: tuple[bytes, bytes]) -> bytes:
    """Return one header as a literal without indexing, or never indexed where it came so."""
    name, value = header
    if type(header) is NeverIndexedHeaderTuple:
        beginning = bytes((_NEVER_INDEXED,)) + _length(len(name), 0) + name
    elif (beginning := _names.get(name, b"")) == b"":
        beginning = b"\x00" + _length(len(name), 0) + name
        if len(_names) < _MOST_REMEMBERED:
            _names[bytes(name)] = beginning
    size = len(value)
    if size < 0x7F and type(value) is not Coded:
        return beginning + bytes((size,)) + value
    return beginning + _length(size, _CODED if type(value) is Coded else 0) + value


def _field_end(block: bytes, at: int) -> tuple[int, int]:
    """Return where the field at *at* ends, and where its value begins if that is long, else 0."""
    kind = block[at]
    if kind & _INDEXED:
        return _integer(block, at, 7)[1], 0
    if kind & 0xE0 == _RESIZE:
        return _integer(block, at, 5)[1], 0
    index, at = _integer(block, at, 6 if kind & _INDEXING else 4)
    if not index:
        length, at = _string_length(block, at)
        if length > _LONG_CODED_BYTES:
            raise HPACKDecodingError("header name is too long")
        at += length
    value_at = at
    length, at = _string_length(block, at)
    if at + length > len(block):
        raise HPACKDecodingError("truncated header block")
    return at + length, value_at if length >= _LONG_CODED_BYTES else 0


def _without_table(block: bytes, at: int, value_at: int) -> bytes:
    """Return the literal field at *at* as one without indexing and without value."""
    index, name_at = _integer(block, at, 6 if block[at] & _INDEXING else 4)
    return bytes(_integer_octets(index, 4, 0)) + block[name_at:value_at] + b"\x00"


def _string_length(block: bytes, at: int) -> tuple[int, int]:
    if at >= len(block):
        raise HPACKDecodingError("truncated header block")
    return _integer(block, at, 7)


def _integer(block: bytes, at: int, prefix_bits: int) -> tuple[int, int]:
    """Read an integer (RFC 7541 section 5.1) and return it with where it ends."""
    most = (1 << prefix_bits) - 1
    value = block[at] & most
    if value < most:
        return value, at + 1
    for place, octet in enumerate(block[at + 1 : at + _MOST_INTEGER_OCTETS]):
        value += (octet & 0x7F) << (7 * place)
        if octet < 0x80:
            return value, at + place + 2
    raise HPACKDecodingError("truncated or oversized integer")


def _integer_octets(value: int, prefix_bits: int, high_bits: int) -> bytearray:
    most = (1 << prefix_bits) - 1
    if value < most:
        return bytearray((high_bits | value,))
    octets, value = bytearray((high_bits | most,)), value - most
    while value >= 0x80:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return octets


def _length(size_bytes: int, coded: int) -> bytes:
    return bytes(_integer_octets(size_bytes, 7, coded))
