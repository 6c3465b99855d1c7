"""HPACK with memory: header blocks that were seen before are not worked out again.

A node's calls repeat the same few header lists all day. What a block means depends on its bytes and on the dynamic
table (RFC 7541 section 2.3.2), and that changes by new entries at its front and by a new size. While neither happens,
the same block means the same headers, and the same headers make the same block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpack.hpack import Decoder, Encoder
from hpack.struct import NeverIndexedHeaderTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hpack.struct import HeaderTuple
    from hpack.table import HeaderTable

_MOST_BLOCKS = 256  # remembered at a time; the methods and metadata of a kubelet make a few dozen


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


class CachingEncoder(Encoder):
    """An encoder that remembers blocks; headers that are never indexed are written anew each time, at the end."""

    def __init__(self) -> None:
        super().__init__()
        self._blocks: dict[tuple[HeaderTuple, ...], bytes] = {}
        self._moment = _Moment(self.header_table)

    def encode(self, headers: Iterable[Any], huffman: bool = True) -> bytes:
        """Return the block of *headers*, (name, value) pairs of bytes."""
        fixed: list[HeaderTuple] = []
        volatile: list[HeaderTuple] = []
        for header in headers:
            (volatile if type(header) is NeverIndexedHeaderTuple else fixed).append(header)
        key = tuple(fixed)
        resized = self.header_table.resized  # the next block has to tell the peer
        if resized or not self._moment.lasts(self.header_table):
            self._blocks.clear()
            self._moment = _Moment(self.header_table)
        block = self._blocks.get(key)
        if block is None:
            block = super().encode(fixed, huffman)
            if not resized and self._moment.lasts(self.header_table) and len(self._blocks) < _MOST_BLOCKS:
                self._blocks[key] = block
        return block + super().encode(volatile, huffman=False) if volatile else block


class CachingDecoder(Decoder):
    """A decoder that remembers blocks."""

    def __init__(self) -> None:
        super().__init__()
        self._lists: dict[bytes, list[HeaderTuple]] = {}
        self._moment = _Moment(self.header_table)

    def decode(self, data: bytes, raw: bool = False) -> list[HeaderTuple]:
        """Return the headers of the block *data*; the list is shared, it must not be changed."""
        if not self._moment.lasts(self.header_table):
            self._lists.clear()
            self._moment = _Moment(self.header_table)
        headers = self._lists.get(data)
        if headers is None:
            headers = list(super().decode(data, raw))
            if self._moment.lasts(self.header_table) and len(self._lists) < _MOST_BLOCKS:
                self._lists[data] = headers
        return headers
