"""Header blocks mean what hpack says they mean, whatever their length and whatever is remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hpack.exceptions import HPACKError
from hpack.hpack import Decoder, Encoder
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.struct import HeaderTuple, NeverIndexedHeaderTuple
from hypothesis import given
from hypothesis import strategies as st

from crirm.rpc.header_blocks import (
    MAX_HEADER_LIST_BYTES,
    MAX_HEADERS,
    TOO_LONG,
    BlockDecoder,
    Coded,
    Headers,
    LinearDecoder,
    LiteralEncoder,
    TooLong,
    literals,
    table_size,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

_TOKENS = st.sampled_from([b":path", b"grpc-timeout", b"x", b"traceparent", b"a" * 60])
_VALUES = st.one_of(st.sampled_from([b"", b"1", b"/runtime.v1/Version"]), st.binary(max_size=80))
_HEADERS = st.builds(
    lambda never, name, value: (NeverIndexedHeaderTuple if never else HeaderTuple)(name, value),
    st.booleans(),
    _TOKENS,
    _VALUES,
)
_LISTS = st.lists(_HEADERS, max_size=6)
# Few different lists, repeated, with table sizes that make entries fall out: what a memory could get wrong.
_TRAFFIC = st.lists(_LISTS, min_size=1, max_size=4).flatmap(
    lambda lists: st.lists(
        st.one_of(st.sampled_from(lists), _LISTS, st.sampled_from([0, 70, 150, 4096])), min_size=1, max_size=30
    )
)


def resize(encoder: Encoder, size_bytes: int) -> None:
    """hpack forgets to tell of a new size when it is set again to what it is already; that is not at issue here."""
    if encoder.header_table_size != size_bytes:
        encoder.header_table_size = size_bytes


def whole(decoder: BlockDecoder, block: bytes) -> Headers:
    """Decode *block* in one go."""
    return decoder.decode(block) if BlockDecoder.is_short(block) else next_to_end(decoder.decoding(block))


@given(_TRAFFIC)
def test_literals_mean_what_they_say_and_leave_the_readers_table_alone(traffic: list[list[HeaderTuple] | int]) -> None:
    other, decoder = Encoder(), Decoder()
    for item in traffic:
        if isinstance(item, int):
            resize(other, item)
            continue
        for block in (other.encode(item), literals(item), LiteralEncoder().encode(item)):
            assert [tuple(header) for header in item] == [tuple(header) for header in decoder.decode(block, raw=True)]


@given(_TRAFFIC, st.booleans())
def test_a_decoder_that_remembers_reads_what_a_plain_encoder_writes(
    traffic: list[list[HeaderTuple] | int],
    slowly: bool,
) -> None:
    encoder, decoder = Encoder(), BlockDecoder()
    for item in traffic:
        if isinstance(item, int):
            resize(encoder, item)
            continue
        block = encoder.encode(item)
        if slowly:
            steps = decoder.decoding(block)
            decoded = next_to_end(steps)
        else:
            decoded = decoder.decode(block)
        assert [tuple(header) for header in item] == [tuple(header) for header in decoded]


def next_to_end(steps: Generator[None, None, Headers]) -> Headers:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            headers: Headers = end.value
            return headers


def test_a_repeated_block_is_looked_up_as_long_as_the_table_stays_as_it_is() -> None:
    encoder, decoder = Encoder(), BlockDecoder()
    headers = [HeaderTuple(b"name", b"value")]
    decoder.decode(encoder.encode(headers))
    block = encoder.encode(headers)
    assert decoder.decode(block) is decoder.decode(block)
    decoder.decode(encoder.encode([HeaderTuple(b"other", b"value")]))
    assert decoder.decode(block) == [(b"other", b"value")], "the latest entry is another one"


def test_whether_a_block_changes_the_table_is_told() -> None:
    encoder, decoder = Encoder(), BlockDecoder()
    block = encoder.encode([HeaderTuple(b"name", b"value")])
    assert decoder.changes(block)
    assert not decoder.changes(encoder.encode([HeaderTuple(b"name", b"value")]))


def test_a_table_size_is_written_as_hpack_writes_it() -> None:
    for size_bytes in (0, 30, 31, 100, 4095):
        encoder = Encoder()
        encoder.header_table_size = size_bytes
        assert encoder.encode([]) == table_size(size_bytes)


LONG = b"profile localhost/" + b"x" * 20_000


def test_a_long_value_is_written_as_it_is() -> None:
    """hpack's Huffman encoder takes a second for 120 kB, during which nobody else is served."""
    assert LONG in literals([(b"grpc-status", b"2"), (b"grpc-message", LONG)])


@given(st.lists(st.tuples(_TOKENS, st.sampled_from([b"", b"1", b"a" * 1100, LONG])), max_size=90))
def test_long_lists_mean_what_they_meant(headers: list[tuple[bytes, bytes]]) -> None:
    decoder, plain = BlockDecoder(), Decoder(1 << 24)
    encoder = Encoder()
    for _ in range(2):
        assert headers == [tuple(header) for header in plain.decode(literals(headers), raw=True)]
        assert headers == whole(decoder, encoder.encode(headers, huffman=False))


@pytest.mark.parametrize(
    ("value", "never_indexed"),
    [
        pytest.param(LONG, False, id="too long for the table"),
        pytest.param(LONG, True, id="not for the table"),
    ],
)
def test_a_long_coded_value_is_handed_on_as_it_came(value: bytes, *, never_indexed: bool) -> None:
    kind = NeverIndexedHeaderTuple if never_indexed else HeaderTuple
    came = Encoder().encode([HeaderTuple(b":status", b"200"), kind(b"grpc-message", value)])
    decoded = whole(BlockDecoder(), came)
    assert isinstance(decoded[1][1], Coded)
    assert value[:300] == decoded[1][1].beginning(300)
    sent = literals(decoded)
    assert [(b":status", b"200"), (b"grpc-message", value)] == [
        tuple(header) for header in Decoder(1 << 24).decode(sent, raw=True)
    ]


def test_of_what_is_no_huffman_code_the_beginning_is_what_can_be_read() -> None:
    assert (
        Coded(HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(b"good") + b"\xff" * 8).beginning(50)
        == b"good"
    )


def test_a_list_that_is_too_long_leaves_the_table_in_step() -> None:
    encoder, decoder = Encoder(), BlockDecoder()
    big = HeaderTuple(b"big", b"x" * (MAX_HEADER_LIST_BYTES + 1))
    first = encoder.encode([HeaderTuple(b"before", b"1"), big, HeaderTuple(b"after", b"2")], huffman=False)
    assert type(whole(decoder, first)) is TooLong
    again = [HeaderTuple(b"after", b"2")]
    block = encoder.encode(again)
    assert len(block) == 1, "an entry of the table"
    assert decoder.decode(block) == again


def test_a_list_of_too_many_headers_is_too_long() -> None:
    block = b"\x82" * (MAX_HEADERS + 1)  # ":method: GET", each time
    assert type(whole(BlockDecoder(), block)) is TooLong
    assert LinearDecoder().decode(block) == [TOO_LONG]
    assert len(whole(BlockDecoder(), block[:100])) == 100


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(b"\x82\x20", id="a new table size after a header"),
        pytest.param(b"\x3f\xe1\xff\x03", id="a table larger than may be"),
        pytest.param(b"\xfe", id="no such entry"),
        pytest.param(b"\x40\x03ab", id="a name that ends too early"),
        pytest.param(b"\x40\x01a", id="no value"),
        pytest.param(b"\x40\x01a\x05ab", id="a value that ends too early"),
        pytest.param(b"\xff\xff\xff\xff\xff\xff\xff\xff", id="a number that does not end"),
        pytest.param(b"\x40\x81\xff\x01b", id="no Huffman code"),
    ],
)
def test_broken_blocks_are_refused(block: bytes) -> None:
    with pytest.raises(HPACKError):
        Decoder().decode(block)
    with pytest.raises(HPACKError):
        BlockDecoder().decode(block)
    with pytest.raises(HPACKError):
        next_to_end(BlockDecoder().decoding(block))


@given(st.binary(max_size=60))
def test_noise_is_read_as_hpack_reads_it(block: bytes) -> None:
    def read(decode: Callable[[bytes], Any]) -> object:
        try:
            return [tuple(header) for header in decode(block)]
        except HPACKError:
            return None

    expected = read(lambda block: Decoder().decode(block, raw=True))
    assert read(BlockDecoder().decode) == expected
    assert read(lambda block: next_to_end(BlockDecoder().decoding(block))) == expected


def test_a_long_block_is_taken_apart_with_pauses() -> None:
    block = b"\x00\x01a\x01b" * 5000
    assert sum(1 for _ in BlockDecoder().decoding(block)) >= 5
    assert next_to_end(BlockDecoder().decoding(block)) == [(b"a", b"b")] * 5000


def test_blocks_are_remembered_within_bounds() -> None:
    decoder = BlockDecoder()
    for number in range(2000):
        whole(decoder, literals([(b"n", b"%d" % number), (b"m", b"x" * (number % 6000))]))
    assert 0 < len(decoder._known) <= 256


class Counting(bytes):
    """Counts what is copied out of it."""

    copied_bytes = 0

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        if isinstance(found, bytes):
            self.copied_bytes += len(found)
        return found


def test_a_block_is_not_copied_for_each_of_its_headers() -> None:
    """hpack copies what is left of it: ten times as many headers take a hundred times as long."""
    block = Counting((b"\x00\x01a\x40" + b"b" * 64) * 5000)
    assert len(next_to_end(BlockDecoder().decoding(block))) == 5000
    assert block.copied_bytes <= 2 * len(block)
