from __future__ import annotations

import copy
import operator
import pickle
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crirm.model.cpuset import MAX_ID, NO_CPUS, CPUSet, ListFormatError, NodeSet

if TYPE_CHECKING:
    from collections.abc import Callable

members = st.frozensets(st.integers(0, 2047) | st.integers(0, 70), max_size=80)
ranges = st.builds(lambda first, size: frozenset(range(first, first + size)), st.integers(0, 1200), st.integers(0, 900))
sets = members | ranges


@given(sets, sets)
def test_algebra_is_that_of_frozenset(one: frozenset[int], other: frozenset[int]) -> None:
    a, b = CPUSet(one), CPUSet(other)
    assert set(a | b) == one | other
    assert set(a & b) == one & other
    assert set(a - b) == one - other
    assert set(a ^ b) == one ^ other
    assert a.isdisjoint(b) == one.isdisjoint(other)


@given(sets, sets)
@pytest.mark.parametrize("compare", [operator.le, operator.lt, operator.ge, operator.gt, operator.eq, operator.ne])
def test_comparisons_are_those_of_frozenset(
    compare: Callable[[object, object], bool], one: frozenset[int], other: frozenset[int]
) -> None:
    assert compare(CPUSet(one), CPUSet(other)) == compare(one, other)
    assert compare(CPUSet(one), CPUSet(one)) == compare(one, one)


@given(sets)
def test_members_come_in_ascending_order(numbers: frozenset[int]) -> None:
    cpus = CPUSet(numbers)
    assert list(cpus) == sorted(numbers)
    assert len(cpus) == len(numbers)
    assert bool(cpus) == bool(numbers)
    assert all(number in cpus for number in numbers)
    if numbers:
        assert (cpus.lowest, cpus.highest) == (min(numbers), max(numbers))


@given(sets)
def test_list_format_and_mask_come_back_as_they_were(numbers: frozenset[int]) -> None:
    cpus = CPUSet(numbers)
    assert CPUSet.parse(str(cpus)) == cpus
    assert CPUSet.from_mask(cpus.mask) == cpus
    assert hash(CPUSet.parse(str(cpus))) == hash(cpus)


@given(st.lists(sets, max_size=4))
def test_union_is_everything(groups: list[frozenset[int]]) -> None:
    assert set(CPUSet.union(map(CPUSet, groups))) == frozenset().union(*groups)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        pytest.param("", [], id="nothing"),
        pytest.param("\n", [], id="a line feed, as sysfs shows an empty set"),
        pytest.param("0-3,8\n", [0, 1, 2, 3, 8], id="ranges and numbers"),
        pytest.param("5,1,1-2", [1, 2, 5], id="any order, any overlap"),
        pytest.param(" 1 , 3-4 ", [1, 3, 4], id="blanks around items"),
        pytest.param("0-10:2/4", [0, 1, 4, 5, 8, 9], id="the first two of every four"),
        pytest.param("1-7:1/2", [1, 3, 5, 7], id="every second"),
        pytest.param("0-9:3/4", [0, 1, 2, 4, 5, 6, 8, 9], id="the last group is cut at the end of the range"),
        pytest.param("0-4:5/5", [0, 1, 2, 3, 4], id="all of every group"),
        pytest.param("1023", [1023], id="a large number"),
    ],
)
def test_parse(text: str, numbers: list[int]) -> None:
    assert list(CPUSet.parse(text)) == numbers


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        pytest.param("0-3,x", "'x' at character 5", "is not a CPU number or range", id="a word"),
        pytest.param("1,,2", "character 3", "is empty", id="an empty item"),
        pytest.param("0-3,", "character 5", "is empty", id="a comma at the end"),
        pytest.param("7-3", "'7-3' at character 1", "write 3-7", id="a range that runs backwards"),
        pytest.param("0 1", "character 1", "is not a CPU number", id="blanks instead of commas"),
        pytest.param("-1", "character 1", "is not a CPU number", id="a negative number"),
        pytest.param("²", "character 1", "is not a CPU number", id="digits that are not ASCII"),
        pytest.param("5:1/2", "character 1", "is not a CPU number", id="a stride without a range"),
        pytest.param("0-9:3/2", "character 1", "USED/GROUP", id="more than the group"),
        pytest.param("0-9:0/2", "character 1", "USED/GROUP", id="none of the group"),
        pytest.param("0-9:1/0", "character 1", "USED/GROUP", id="groups of nothing"),
        pytest.param("0-99999999999", "character 1", f"above {MAX_ID}", id="a number that would fill the memory"),
        pytest.param("all", "character 1", "is not a CPU number", id="the kernel's word for all"),
    ],
)
def test_parse_refuses(text: str, place: str, reason: str) -> None:
    with pytest.raises(ListFormatError) as caught:
        CPUSet.parse(text)
    assert place in str(caught.value)
    assert reason in str(caught.value)
    assert str(caught.value).startswith("CPU list ")


def test_node_lists_are_called_so() -> None:
    with pytest.raises(ListFormatError, match="NUMA node list 'x'"):
        NodeSet.parse("x")


def test_text_forms() -> None:
    cpus = CPUSet.of(8, 0, 1, 2, 3, 10)
    assert str(cpus) == "0-3,8,10"
    assert repr(cpus) == "CPUSet.parse('0-3,8,10')"
    assert str(NO_CPUS) == ""


def test_cpus_and_nodes_never_mix() -> None:
    cpus, nodes = CPUSet.of(0), NodeSet.of(0)
    assert cpus != nodes
    with pytest.raises(TypeError):
        cpus | nodes  # type: ignore[operator]  # mypy refuses it too: that is what the two types are for
    with pytest.raises(TypeError):
        cpus & nodes  # type: ignore[operator]
    with pytest.raises(TypeError):
        cpus - nodes  # type: ignore[operator]
    with pytest.raises(TypeError):
        cpus ^ nodes  # type: ignore[operator]
    for compare in (operator.le, operator.lt, operator.ge, operator.gt):
        with pytest.raises(TypeError):
            compare(cpus, nodes)
    with pytest.raises(TypeError, match="cannot be compared"):
        cpus.isdisjoint(nodes)  # type: ignore[arg-type]


def test_a_set_cannot_be_changed() -> None:
    cpus = CPUSet.of(1)
    with pytest.raises(AttributeError):
        cpus.mask = 3  # type: ignore[misc]
    with pytest.raises(AttributeError):
        cpus.name = "x"  # type: ignore[attr-defined]


def test_copies_are_equal() -> None:
    cpus = CPUSet.of(1, 700)
    assert pickle.loads(pickle.dumps(cpus)) == cpus
    assert copy.deepcopy(cpus) == cpus


def test_an_empty_set_has_no_ends() -> None:
    with pytest.raises(ValueError, match="lowest"):
        _ = NO_CPUS.lowest
    with pytest.raises(ValueError, match="highest"):
        _ = NO_CPUS.highest


@pytest.mark.parametrize("number", [-1, -5])
def test_negative_numbers_are_no_members(number: int) -> None:
    assert number not in CPUSet.of(0, 1)
    with pytest.raises(ValueError, match="negative"):
        CPUSet.of(number)
    with pytest.raises(ValueError, match="negative"):
        CPUSet.from_mask(number)


_NUMBER = st.integers(0, 99)


@st.composite
def items(draw: st.DrawFn) -> tuple[str, set[int]]:
    """Draw an item of a list, and the numbers that it stands for."""
    first, last = sorted((draw(_NUMBER), draw(_NUMBER)))
    if draw(st.booleans()):
        return f"{first}-{last}", set(range(first, last + 1))
    used, group = sorted((draw(st.integers(1, 12)), draw(st.integers(1, 12))))
    numbers = {one for one in range(first, last + 1) if (one - first) % group < used}
    return f"{first}-{last}:{used}/{group}", numbers


@given(st.lists(items(), max_size=8))
def test_a_list_stands_for_all_that_its_items_stand_for(drawn: list[tuple[str, set[int]]]) -> None:
    assert set(CPUSet.parse(",".join(item for item, _ in drawn))) == set().union(*(numbers for _, numbers in drawn))


@pytest.mark.parametrize(
    ("text", "size"),
    [
        pytest.param("0-65535:1/1," * 20_000 + "0", 65536, id="the same part of groups again and again"),
        pytest.param("0-65535," * 30_000 + "0", 65536, id="the same range again and again"),
        pytest.param(",".join(map(str, range(0, 65536, 2))), 32768, id="the longest list that says something"),
        pytest.param(  # of the 6542 primes up to 65536, 55 are not above 257
            ",".join(f"0-65535:1/{group}" for group in range(2, 258)), 65535 - (6542 - 55), id="all but 1 and primes"
        ),
        pytest.param("0-3:99999999999999999999/99999999999999999999", 4, id="groups larger than any machine"),
        pytest.param("0-3:99999999999999999998/99999999999999999999", 4, id="parts larger than any machine"),
    ],
)
def test_a_list_that_is_meant_to_take_long_does_not(text: str, size: int) -> None:
    assert len(CPUSet.parse(text)) == size


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("0," * 200_000 + "0", "has 400001 characters, the limit is 262144", id="too long"),
        pytest.param(",".join(f"0-9:1/{group}" for group in range(2, 300)), "exceeds the limit of", id="groups"),
        pytest.param("9" * 5000, f"has a number above {MAX_ID}", id="a number that would take long to read"),
    ],
)
def test_a_list_beyond_all_bounds_is_refused_in_a_short_sentence(text: str, reason: str) -> None:
    with pytest.raises(ListFormatError, match=reason) as refused:
        CPUSet.parse(text)
    assert len(str(refused.value)) < 600
