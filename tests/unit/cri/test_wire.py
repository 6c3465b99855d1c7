from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crirm.cri.proto.runtime import v1
from crirm.cri.wire import Field, Malformed, WireType, packed, walk


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        pytest.param(b"", [], id="nothing is an empty message"),
        pytest.param(b"\x08\x05", [Field(1, WireType.VARINT, 5, 1)], id="a small number"),
        pytest.param(b"\x08\xac\x02", [Field(1, WireType.VARINT, 300, 1)], id="a number of two bytes"),
        pytest.param(b"\x08" + b"\xff" * 9 + b"\x01", [Field(1, 0, (1 << 64) - 1, 1)], id="the largest number"),
        pytest.param(b"\x12\x03abc", [Field(2, WireType.BYTES, b"abc", 2)], id="text"),
        pytest.param(b"\x12\x00", [Field(2, WireType.BYTES, b"", 2)], id="no text"),
        pytest.param(b"\x1d\x01\x00\x00\x00", [Field(3, WireType.FIXED32, 1, 1)], id="32 bits"),
        pytest.param(b"\x19" + struct.pack("<d", 1.0), [Field(3, WireType.FIXED64, 0x3FF << 52, 1)], id="64 bits"),
        pytest.param(b"\x0b\x10\x07\x0c", [Field(1, 3, 0, 1), Field(2, 0, 7, 2), Field(1, 4, 0, 4)], id="a group"),
        pytest.param(b"\xa0\x06\x05", [Field(100, WireType.VARINT, 5, 2)], id="a high field number"),
    ],
)
def test_fields_come_with_number_type_value_and_offset(data: bytes, fields: list[Field]) -> None:
    assert list(walk(data)) == fields
    assert [part.offset for part in walk(data, 10)] == [field.offset + 10 for field in fields]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        pytest.param(b"\x08", "truncated varint", id="no value"),
        pytest.param(b"\x08\x80", "truncated varint", id="half a value"),
        pytest.param(b"\x08" + b"\xff" * 10, "varint has more than 64 bits", id="an endless number"),
        pytest.param(b"\x12\x05ab", "field 2 declares 5 bytes, but 2 are left", id="text longer than the message"),
        pytest.param(b"\x1d\x01\x00", "truncated fixed-size number", id="half of 32 bits"),
        pytest.param(b"\x00\x01", "field number 0", id="field number 0"),
        pytest.param(b"\x0e\x01", "unknown wire type 6", id="wire type 6"),
    ],
)
def test_what_came_before_the_nonsense_is_kept(bad: bytes, reason: str) -> None:
    assert list(walk(b"\x08\x05" + bad, 100)) == [Field(1, 0, 5, 101), Malformed(102, reason, bad)]


def test_packed_numbers() -> None:
    assert list(packed(b"\x01\xac\x02\x80", WireType.VARINT, 7)) == [
        Field(0, 0, 1, 7),
        Field(0, 0, 300, 8),
        Malformed(10, "truncated varint", b"\x80"),
    ]


@settings(deadline=None)  # busy machines run tests too
@given(st.binary())
def test_any_bytes_are_walked_and_none_is_lost(data: bytes) -> None:
    parts = list(walk(data))
    assert all(isinstance(part, Field) for part in parts[:-1])
    end = 0
    for part in parts:
        match part:
            case Malformed(offset, _, rest):
                assert data[offset:] == rest
                end = len(data)
            case Field(_, WireType.BYTES, bytes() as value, offset):
                assert data[offset : offset + len(value)] == value
                end = offset + len(value)
            case Field(_, wire_type, _, offset):
                end = offset + {WireType.FIXED64: 8, WireType.FIXED32: 4}.get(WireType(wire_type), 0)
    assert end <= len(data)


@settings(deadline=None)  # busy machines run tests too
@given(st.binary(max_size=40), st.integers(-(1 << 63), (1 << 63) - 1), st.text(max_size=20))
def test_what_betterproto_writes_is_read(stderr: bytes, timeout: int, container: str) -> None:
    message = bytes(v1.StopContainerRequest(container_id=container, timeout=timeout)) + bytes(
        v1.ExecSyncResponse(stderr=stderr)
    )
    everything: list[tuple[int, int | bytes]] = [(1, container.encode()), (2, timeout % (1 << 64)), (2, stderr)]
    expected = [(number, value) for number, value in everything if value]
    assert [(part.number, part.value) for part in walk(message) if isinstance(part, Field)] == expected
