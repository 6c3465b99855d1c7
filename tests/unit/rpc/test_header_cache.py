"""HPACK with memory means what HPACK without memory means."""

from __future__ import annotations

from hpack.hpack import Decoder, Encoder
from hpack.struct import HeaderTuple, NeverIndexedHeaderTuple
from hypothesis import given
from hypothesis import strategies as st

from crirm.rpc.header_cache import CachingDecoder, CachingEncoder

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
