"""HPACK with memory means what HPACK without memory means."""

from __future__ import annotations

from typing import Any

import pytest
from crirm.rpc.header_cache import MAX_HEADERS, CachingDecoder, CachingEncoder, Coded, TooLong
from hpack.exceptions import HPACKError
from hpack.hpack import Decoder, Encoder
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.struct import HeaderTuple, NeverIndexedHeaderTuple
from hypothesis import given
from hypothesis import strategies as st

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


@given(_TRAFFIC)
def test_a_plain_decoder_reads_what_a_caching_encoder_writes(traffic: list[list[HeaderTuple] | int]) -> None:
    encoder, decoder = CachingEncoder(), Decoder()
    for item in traffic:
        if isinstance(item, int):
            resize(encoder, item)
            continue
        decoded = [tuple(header) for header in decoder.decode(encoder.encode(item), raw=True)]
        order = sorted(item, key=lambda header: type(header) is NeverIndexedHeaderTuple)  # these go to the end
        assert [tuple(header) for header in order] == decoded


@given(_TRAFFIC)
def test_a_caching_decoder_reads_what_a_plain_encoder_writes(traffic: list[list[HeaderTuple] | int]) -> None:
    encoder, decoder = Encoder(), CachingDecoder()
    for item in traffic:
        if isinstance(item, int):
            resize(encoder, item)
            continue
        decoded = decoder.decode(encoder.encode(item), raw=True)
        assert [tuple(header) for header in item] == [tuple(header) for header in decoded]


def test_a_repeated_list_is_not_encoded_again() -> None:
    encoder = CachingEncoder()
    headers = [HeaderTuple(b"name", b"value")]
    first, second, third = (encoder.encode(headers) for _ in range(3))
    assert len(second) < len(first), "the first puts it into the table"
    assert second is third


LONG = b"profile localhost/" + b"x" * 20_000


def test_a_long_value_is_written_as_it_is_and_throws_nothing_out_of_the_table() -> None:
    """hpack's Huffman encoder takes a second for 120 kB, during which nobody else is served."""
    encoder = CachingEncoder()
    short = [HeaderTuple(b"name", b"value")]
    encoder.encode(short)
    indexed = encoder.encode(short)
    assert LONG in encoder.encode([HeaderTuple(b"grpc-status", b"2"), HeaderTuple(b"grpc-message", LONG)])
    assert len(encoder.encode(short)) == len(indexed) == 1, "an entry of the table"


@given(st.lists(st.tuples(_TOKENS, st.sampled_from([b"", b"1", b"a" * 1100, LONG])), max_size=90))
def test_long_lists_mean_what_they_meant(headers: list[tuple[bytes, bytes]]) -> None:
    encoder, decoder = CachingEncoder(), Decoder(1 << 24)
    for _ in range(2):
        assert headers == [tuple(header) for header in decoder.decode(encoder.encode(headers), raw=True)]


@pytest.mark.parametrize(
    ("value", "never_indexed"),
    [
        pytest.param(LONG, False, id="too long for the table"),
        pytest.param(b"a" * 2000, True, id="not for the table"),
    ],
)
def test_a_long_coded_value_is_handed_on_as_it_came(value: bytes, *, never_indexed: bool) -> None:
    kind = NeverIndexedHeaderTuple if never_indexed else HeaderTuple
    came = Encoder().encode([HeaderTuple(b":status", b"200"), kind(b"grpc-message", value)])
    decoded = CachingDecoder().decode(came)
    assert isinstance(decoded[1][1], Coded)
    assert value[:300] == decoded[1][1].beginning(300)
    sent = CachingEncoder().encode(decoded)
    assert [(b":status", b"200"), (b"grpc-message", value)] == [
        tuple(header) for header in Decoder().decode(sent, raw=True)
    ]


def test_of_what_is_no_huffman_code_the_beginning_is_what_can_be_read() -> None:
    assert (
        Coded(HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(b"good") + b"\xff" * 8).beginning(50)
        == b"good"
    )


def test_a_list_that_is_too_long_leaves_the_table_in_step() -> None:
    encoder, decoder = Encoder(), CachingDecoder()
    decoder.max_header_list_size = 10_000
    first = encoder.encode(
        [HeaderTuple(b"before", b"1"), HeaderTuple(b"big", b"x" * 20_000), HeaderTuple(b"after", b"2")]
    )
    assert type(decoder.decode(first)) is TooLong
    again = [HeaderTuple(b"after", b"2")]
    block = encoder.encode(again)
    assert len(block) == 1, "an entry of the table"
    assert decoder.decode(block) == again


def test_a_list_of_too_many_headers_is_too_long() -> None:
    block = b"\x82" * (MAX_HEADERS + 1)  # ":method: GET", each time
    assert type(CachingDecoder().decode(block)) is TooLong
    assert len(CachingDecoder().decode(block[:100])) == 100


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
        CachingDecoder().decode(block)


@given(st.binary(max_size=60))
def test_noise_is_read_as_hpack_reads_it(block: bytes) -> None:
    def read(decoder: Decoder) -> object:
        try:
            return [tuple(header) for header in decoder.decode(block, raw=True)]
        except HPACKError:
            return None

    assert read(CachingDecoder()) == read(Decoder())


def test_a_long_block_is_taken_apart_with_pauses() -> None:
    block = b"\x00\x01a\x01b" * 5000
    decoder = CachingDecoder()
    decoder.max_header_list_size = 1 << 20
    pauses = sum(1 for _ in decoder.decode_ahead(block))
    assert pauses >= 5
    assert decoder.decode(block) == [(b"a", b"b")] * 5000


def test_blocks_are_remembered_within_bounds() -> None:
    """256 blocks of up to 1 MiB were, for each connection."""
    encoder, decoder = CachingEncoder(), CachingDecoder()
    for number in range(2000):
        headers = [NeverIndexedHeaderTuple(b"n", b"%d" % number), HeaderTuple(b":path", b"/")]
        decoder.decode(Encoder().encode([*headers, NeverIndexedHeaderTuple(b"m", b"x" * (number % 6000))]))
        encoder.encode([(b"x-%d" % (number % 50), b"y" * (number % 6000))])
    assert 0 < decoder.remembered_bytes <= 256 << 10
    assert encoder.remembered_bytes <= 256 << 10


def test_a_table_that_the_peer_offers_larger_stays_as_it_is() -> None:
    encoder = CachingEncoder()
    encoder.header_table_size = 1 << 30
    for number in range(1000):
        encoder.encode([(b"name-%d" % number, b"value")])
    assert len(encoder.header_table.dynamic_entries) < 130


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
    decoder = CachingDecoder()
    decoder.max_header_list_size = 1 << 24
    assert len(decoder.decode(block)) == 5000
    assert block.copied_bytes <= 2 * len(block)
