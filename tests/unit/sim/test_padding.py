from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crirm.cri.proto.runtime.v1 import VersionResponse
from crirm.sim.padding import GARBAGE, with_size, with_unknown_fields

MESSAGE = bytes(VersionResponse(version="1"))


@given(st.integers(0, 300_000))
def test_size(size: int) -> None:
    padded = with_size(MESSAGE, size)
    assert VersionResponse().parse(padded).version == "1"
    if size > len(MESSAGE) + 4:
        assert size <= len(padded) + 1
        assert len(padded) <= size + 3
    elif size <= len(MESSAGE):
        assert padded == MESSAGE


def test_unknown_fields_are_kept_by_whoever_keeps_them() -> None:
    odd = with_unknown_fields(MESSAGE)
    parsed = VersionResponse().parse(odd)
    assert (parsed.version, bytes(parsed)) == ("1", odd)


def test_garbage_is_no_message() -> None:
    with pytest.raises(ValueError, match=r".*"):
        VersionResponse().parse(GARBAGE)
