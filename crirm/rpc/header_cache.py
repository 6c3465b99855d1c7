"""HPACK with memory, in linear time: header blocks that were seen before are not worked out again.

A node's calls repeat the same few header lists all day. What a block means depends on its bytes and on the dynamic
table (RFC 7541 section 2.3.2), and that changes by new entries at its front and by a new size. While neither happens,
the same block means the same headers, and the same headers make the same block.

An error message of a runtime travels in a header, and may have megabytes. So nothing here takes hpack's ways that are
quadratic (its Huffman encoder in the length of a value, its decoder in the length of a block), values are sent without
Huffman coding, and a long value that has come with it is handed on as it came (``Coded``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from hpack.exceptions import HPACKDecodingError, HPACKError, InvalidTableSizeError
from hpack.hpack import Decoder, Encoder, encode_integer
from hpack.huffman_table import HUFFMAN_EMIT_SYMBOL, HUFFMAN_FAIL, HUFFMAN_TABLE, decode_huffman
from hpack.struct import HeaderTuple, NeverIndexedHeaderTuple
from hpack.table import HeaderTable, table_entry_size

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

K = TypeVar("K")
V = TypeVar("V")

MAX_HEADERS = 10_000  # in a list; the kubelet's have ten, and each costs some microseconds to take apart and to send
_MOST_BLOCKS = 256  # remembered at a time; the methods and metadata of a kubelet make a few dozen
_REMEMBERED_BYTES = 128 << 10  # of blocks and lists, per direction of a connection
_LONGEST_REMEMBERED_BYTES = 4 << 10  # one list; what is longer is an error message and will not come again
_MOST_INDEXED = 64  # headers of one list that may go into the table; to look there for each of very many takes long
_LONGEST_INDEXED_BYTES = 1 << 10  # a longer value would throw everything else out of a table of 4096 bytes
# Coded symbols have up to 30 bits (RFC 7541 appendix B), so a value this long is larger than the table when decoded.
_LONG_CODED_BYTES = 30 * HeaderTable.DEFAULT_SIZE // 8 + 1
_STEP_BYTES = 16 << 10  # decoded without a pause: about 3 ms of Huffman code
_HEADER_COST_BYTES = 32  # what the rest of a header takes, in time, as Huffman code
_CODED, _INDEXED, _LITERAL_INDEXED, _NEW_SIZE, _NEVER_INDEXED = 0x80, 0x80, 0x40, 0x20, 0x10
_MOST_INTEGER_OCTETS = 5  # 32 bits; the length of a block is less


class Coded(bytes):
    """A header value as it came, in Huffman code."""

    __slots__ = ()

    def beginning(self, size_bytes: int) -> bytes:
        """Return the first *size_bytes* of the value, decoded; fewer where it is shorter or not as it should be."""
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


class TooLong(list[HeaderTuple]):
    """In the place of a header list that is longer than may be; empty."""


class _Moment:
    """A state of a dynamic table; holds its front entry, so that no later entry can be mistaken for that one."""

    def __init__(self, table: HeaderTable) -> None:
        entries = table.dynamic_entries
        self._front = entries[0] if entries else None
        self._maxsize = table.maxsize

    def lasts(self, table: HeaderTable) -> bool:
        """Tell whether *table* is still as it was."""
        entries = table.dynamic_entries
        return self._front is (entries[0] if entries else None) and self._maxsize == table.maxsize


class _Memory(Generic[K, V]):
    """What was worked out while a dynamic table stays as it is, bounded in number and bytes."""

    def __init__(self, table: HeaderTable) -> None:
        self._table = table
        self._moment = _Moment(table)
        self._known: dict[K, V] = {}
        self.size_bytes = 0

    def get(self, key: K) -> V | None:
        """Return what belongs to *key*, if that is known."""
        if not self._moment.lasts(self._table):
            self._forget()
            self._moment = _Moment(self._table)
        return self._known.get(key)

    def keep(self, key: K, value: V, size_bytes: int) -> None:
        """Remember *value*, unless the table has changed on the way."""
        if size_bytes > _LONGEST_REMEMBERED_BYTES or not self._moment.lasts(self._table):
            return
        if len(self._known) >= _MOST_BLOCKS or self.size_bytes + size_bytes > _REMEMBERED_BYTES:
            self._forget()
        self._known[key] = value
        self.size_bytes += size_bytes

    def _forget(self) -> None:
        self._known.clear()
        self.size_bytes = 0


class CachingEncoder(Encoder):
    """An encoder that remembers blocks; headers that are never indexed are written anew each time, at the end."""

    def __init__(self) -> None:
        super().__init__()
        self._memory: _Memory[tuple[HeaderTuple, ...], bytes] = _Memory(self.header_table)

    @property
    def remembered_bytes(self) -> int:
        """How much is remembered."""
        return self._memory.size_bytes

    @property
    def header_table_size(self) -> int:
        """The size of the dynamic table, in bytes."""
        return self.header_table.maxsize

    @header_table_size.setter
    def header_table_size(self, value: int) -> None:
        size_bytes = min(value, HeaderTable.DEFAULT_SIZE)  # a peer that offers more does not get more of our memory
        if size_bytes != self.header_table.maxsize:
            self.header_table.maxsize = size_bytes
            self.table_size_changes.append(size_bytes)

    def encode(self, headers: Iterable[Any], huffman: bool = False) -> bytes:  # noqa: ARG002 - it is quadratic
        """Return the block of *headers*, (name, value) pairs of bytes."""
        fixed: list[HeaderTuple] = []
        volatile: list[HeaderTuple] = []
        size_bytes = longest_bytes = 0
        for header in headers:
            (volatile if type(header) is NeverIndexedHeaderTuple else fixed).append(header)
            header_bytes = len(header[0]) + len(header[1])
            size_bytes += header_bytes + _HEADER_COST_BYTES
            longest_bytes = max(longest_bytes, header_bytes)
        long = longest_bytes > _LONGEST_INDEXED_BYTES or size_bytes > _LONGEST_REMEMBERED_BYTES
        if long or self.header_table.resized:
            return self._long_block(fixed + volatile)
        key = tuple(fixed)
        block = self._memory.get(key)
        if block is None:
            block = super().encode(fixed, huffman=False)
            self._memory.keep(key, block, size_bytes)
        return block + super().encode(volatile, huffman=False) if volatile else block

    def _long_block(self, headers: Sequence[HeaderTuple]) -> bytes:
        pieces = [super().encode((), huffman=False)]  # tells the peer of a new size of the table
        for place, header in enumerate(headers):
            name, value = header
            if place >= _MOST_INDEXED or len(name) + len(value) > _LONGEST_INDEXED_BYTES or type(value) is Coded:
                pieces.append(_literal(header))
            else:
                pieces.append(self.add((name, value), type(header) is NeverIndexedHeaderTuple, huffman=False))
        return b"".join(pieces)


def _literal(header: HeaderTuple) -> bytes:
    """Return *header* as a field that no table takes part in (RFC 7541 section 6.2)."""
    name, value = header
    kind = _NEVER_INDEXED if type(header) is NeverIndexedHeaderTuple else 0
    coded = _CODED if type(value) is Coded else 0
    return b"".join((bytes((kind,)), _length(len(name), 0), name, _length(len(value), coded), value))


def _length(size_bytes: int, coded: int) -> bytes:
    octets = encode_integer(size_bytes, 7)
    octets[0] |= coded
    return bytes(octets)


class CachingDecoder(Decoder):
    """A decoder that remembers blocks; a list that is too long still changes the table as it should."""

    def __init__(self) -> None:
        super().__init__()
        self._memory: _Memory[bytes, list[HeaderTuple]] = _Memory(self.header_table)
        self._ahead: tuple[bytes, list[HeaderTuple] | HPACKError] | None = None

    @property
    def remembered_bytes(self) -> int:
        """How much is remembered."""
        return self._memory.size_bytes

    def decode(self, data: bytes, raw: bool = False) -> list[HeaderTuple]:  # noqa: ARG002 - always bytes
        """Return the headers of the block *data*; the list is shared, it must not be changed.

        Raises:
            HPACKError: the block is broken, and so is the dynamic table from now on.
        """
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] is data:
            if isinstance(ahead[1], HPACKError):
                raise ahead[1]
            return ahead[1]
        headers = self._memory.get(data)
        if headers is None:
            headers, size_bytes = _finished(self._fields(data))
            if type(headers) is not TooLong:
                self._memory.keep(data, headers, len(data) + size_bytes)
        return headers

    def decode_ahead(self, data: bytes) -> Generator[None, None, None]:
        """Take the block *data* apart, with pauses, so that ``decode`` of it has nothing left to do."""
        if len(data) <= _STEP_BYTES:
            return
        try:
            headers, _ = yield from self._fields(data)
        except HPACKError as error:
            self._ahead = (data, error)
        else:
            self._ahead = (data, headers)

    def _fields(self, data: bytes) -> Generator[None, None, tuple[list[HeaderTuple], int]]:
        headers: list[HeaderTuple] = []
        at = work_bytes = size_bytes = count = 0
        while at < len(data):
            before = at
            if data[at] & (_INDEXED | _LITERAL_INDEXED) == 0 and data[at] & _NEW_SIZE:
                if count:
                    raise HPACKDecodingError("a table size update is not at the start of the block")
                at = self._resize(data, at)
                continue
            count += 1
            if type(headers) is TooLong and not data[at] & (_INDEXED | _LITERAL_INDEXED):
                at = _after_literal(data, at)  # which changes nothing
                work_bytes += _HEADER_COST_BYTES // 8
            else:
                header, at = self._field(data, at)
                size_bytes += table_entry_size(*header)
                work_bytes += _HEADER_COST_BYTES + (0 if type(header[1]) is Coded else at - before)
                if size_bytes > self.max_header_list_size or count > MAX_HEADERS:
                    headers = TooLong()
                else:
                    headers.append(header)
            if work_bytes > _STEP_BYTES:
                work_bytes = 0
                yield
        self._assert_valid_table_size()
        return headers, size_bytes

    def _resize(self, data: bytes, at: int) -> int:
        size_bytes, at = _integer(data, at, 5)
        if size_bytes > self.max_allowed_table_size:
            raise InvalidTableSizeError("the table is to be larger than may be")
        self.header_table_size = size_bytes
        return at

    def _field(self, data: bytes, at: int) -> tuple[HeaderTuple, int]:
        kind = data[at]
        if kind & _INDEXED:
            index, at = _integer(data, at, 7)
            return HeaderTuple(*self.header_table.get_by_index(index)), at
        index, at = _integer(data, at, 6 if kind & _LITERAL_INDEXED else 4)
        if index:
            name = self.header_table.get_by_index(index)[0]
        else:
            name, at = _string(data, at, most_coded_bytes=_LONG_CODED_BYTES)
            if type(name) is Coded:
                raise HPACKDecodingError("the name of a header is too long")
        may_be_indexed = kind & _LITERAL_INDEXED or name[:1] == b":"
        value, at = _string(data, at, most_coded_bytes=_LONG_CODED_BYTES if may_be_indexed else _LONGEST_INDEXED_BYTES)
        if kind & _LITERAL_INDEXED:
            self.header_table.add(name, value)
        return (NeverIndexedHeaderTuple if kind & _NEVER_INDEXED and not kind & 0x60 else HeaderTuple)(name, value), at


def _finished(steps: Generator[None, None, tuple[list[HeaderTuple], int]]) -> tuple[list[HeaderTuple], int]:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: tuple[list[HeaderTuple], int] = end.value
            return result


def _after_literal(data: bytes, at: int) -> int:
    """Return where the literal field at *at* ends, one that no table takes part in."""
    index, at = _integer(data, at, 4)
    for _ in range(1 if index else 2):
        if at >= len(data):
            raise HPACKDecodingError("the block ends within a header")
        length, at = _integer(data, at, 7)
        at += length
    if at > len(data):
        raise HPACKDecodingError("the block ends within a header")
    return at


def _string(data: bytes, at: int, *, most_coded_bytes: int) -> tuple[bytes, int]:
    """Read a string; one with more than *most_coded_bytes* of Huffman code stays as it is."""
    if at >= len(data):
        raise HPACKDecodingError("the block ends within a header")
    coded = data[at] & _CODED
    length, at = _integer(data, at, 7)
    end = at + length
    if end > len(data):
        raise HPACKDecodingError("the block ends within a header")
    text = data[at:end]
    if not coded:
        return text, end
    return (decode_huffman(text) if length <= most_coded_bytes else Coded(text)), end


def _integer(data: bytes, at: int, prefix_bits: int) -> tuple[int, int]:
    """Read an integer (RFC 7541 section 5.1) and return it with where it ends."""
    most = (1 << prefix_bits) - 1
    value = data[at] & most
    if value < most:
        return value, at + 1
    for place, octet in enumerate(data[at + 1 : at + _MOST_INTEGER_OCTETS]):
        value += (octet & 0x7F) << (7 * place)
        if octet < 0x80:
            return value, at + place + 2
    raise HPACKDecodingError("a number is too long, or the block ends within it")
