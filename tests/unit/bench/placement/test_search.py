from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.placement.search import Size, UndecidedError, fewest_left_out, packed

SIZES = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 4)), max_size=6)
ROOMS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 6)), min_size=1, max_size=3)


def is_packing(homes: list[int], sizes: list[Size], rooms: list[Size]) -> bool:
    held = [[size for size, home in zip(sizes, homes, strict=True) if home == node] for node in range(len(rooms))]
    return all(
        sum(cpu for cpu, _ in some) <= room[0] and sum(memory for _, memory in some) <= room[1]
        for some, room in zip(held, rooms, strict=True)
    )


def fewest_by_trying_all(sizes: list[Size], rooms: list[Size]) -> int:
    ways = product(range(-1, len(rooms)), repeat=len(sizes))
    return min(sum(home < 0 for home in homes) for homes in ways if is_packing(list(homes), sizes, rooms))


@given(SIZES, ROOMS)
def test_the_fewest_left_out_are_those_that_trying_all_ways_finds(sizes: list[Size], rooms: list[Size]) -> None:
    assert fewest_left_out(sizes, rooms, len(sizes)) == fewest_by_trying_all(sizes, rooms)


@given(SIZES, ROOMS, st.integers(0, 2))
def test_what_is_found_is_a_packing_with_no_more_left_out(sizes: list[Size], rooms: list[Size], most: int) -> None:
    homes = packed(sizes, rooms, most)
    if homes is None:
        assert fewest_by_trying_all(sizes, rooms) > most
    else:
        assert is_packing(homes, sizes, rooms)
        assert homes.count(-1) <= most


def test_beyond_its_limit_the_search_says_that_it_has_not_decided() -> None:
    sizes = [(size, 0) for size in (8, 7, 7, 6, 6, 5, 5, 5, 4, 4)]
    with pytest.raises(UndecidedError):
        packed(sizes, [(19, 0), (19, 0), (19, 0)], limit=5)
