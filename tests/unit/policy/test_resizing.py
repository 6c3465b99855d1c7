"""Which CPUs a resized container has, held against all that it could have on small machines."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crirm.hosts.synthetic import parse_spec, topology_of
from crirm.model.cpuset import NO_CPUS, CPUSet
from crirm.policy.cpu_allocator import CPUAllocator
from crirm.policy.priorities import Priority, priorities_of
from crirm.policy.resizing import first_after, grown, kept_of
from tests.unit.policy.topology_aware.support import PATIENT

if TYPE_CHECKING:
    from crirm.model.topology import Topology

HOSTS = ("1p.8c.1t", "1p.4c.2t threads=adjacent", "1p.2n.2c.2t", "2p.1n.2l.2c.1t", "1p.2l.2c.2t threads=adjacent")


def allocator_of(topology: Topology) -> CPUAllocator:
    return CPUAllocator(topology, priorities_of(topology))


def take_with(allocator: CPUAllocator) -> object:
    return lambda free, count, near: allocator.take(free, count, Priority.HIGH, near)


def whole(topology: Topology, cpus: CPUSet) -> int:
    """Return how many whole cores are in *cpus*."""
    return sum(core <= cpus for core in topology.cores)


@st.composite
def owners(draw: st.DrawFn) -> tuple[Topology, CPUSet, CPUSet]:
    """Draw a machine, the CPUs of a container, and those of them that it was created with."""
    topology = topology_of(parse_spec(draw(st.sampled_from(HOSTS))))
    own = draw(st.sets(st.sampled_from(sorted(topology.online)), min_size=1))
    first = draw(st.sets(st.sampled_from(sorted(own))))
    return topology, CPUSet(own), CPUSet(first)


@PATIENT
@given(drawn=owners(), data=st.data())
def test_who_shrinks_keeps_the_first_cpus_and_of_these_choices_most_whole_cores(
    drawn: tuple[Topology, CPUSet, CPUSet], data: st.DataObject
) -> None:
    topology, own, first = drawn
    count = data.draw(st.integers(0, len(own)))
    kept = kept_of(take_with(allocator_of(topology)), own, first, count)  # type: ignore[arg-type]
    assert kept <= own
    assert len(kept) == count
    assert len(kept & first) == min(count, len(first))
    choices = [CPUSet(some) for some in combinations(sorted(own), count)]
    lawful = [some for some in choices if len(some & first) == min(count, len(first))]
    assert whole(topology, kept) == max(whole(topology, some) for some in lawful)


@PATIENT
@given(drawn=owners(), data=st.data())
def test_who_grows_stays_where_there_is_room(drawn: tuple[Topology, CPUSet, CPUSet], data: st.DataObject) -> None:
    topology, own, _ = drawn
    rest = sorted(topology.online - own)
    free = CPUSet(data.draw(st.sets(st.sampled_from(rest)))) if rest else NO_CPUS
    count = data.draw(st.integers(0, len(free)))
    more = grown(allocator_of(topology), free, count, own)
    assert more is not None
    assert more <= free
    assert len(more) == count
    groups = [[node.cpus for node in topology.nodes], [cache.cpus for cache in topology.caches if cache.level == 3]]
    for level in groups:
        around = CPUSet.union(group for group in level if not group.isdisjoint(own))
        if len(free & around) >= count:
            assert more <= around, "there was room beside its own CPUs"


@pytest.mark.parametrize(
    ("own", "first", "count", "kept"),
    [
        pytest.param("0-3", "2-3", 2, "2-3", id="back to what it was created with"),
        pytest.param("0-5", "0,2", 4, "0-3", id="the other threads of its first cores"),
        pytest.param("0-3", "0-3", 2, "0-1", id="a whole core of the first ones"),
        pytest.param("0-3", "0-3", 1, "0", id="one thread"),
        pytest.param("0-3", "6-7", 3, "0-2", id="first CPUs that it has lost do not count"),
        pytest.param("0-3", "0", 4, "0-3", id="all"),
        pytest.param("0-3", "0", 9, "0-3", id="all, and more to come"),
        pytest.param("0-3", "0", 0, "", id="none"),
    ],
)
def test_kept(own: str, first: str, count: int, kept: str) -> None:
    allocator = allocator_of(topology_of(parse_spec("1p.4c.2t threads=adjacent")))
    found = kept_of(take_with(allocator), CPUSet.parse(own), CPUSet.parse(first), count)  # type: ignore[arg-type]
    assert str(found) == kept


def test_who_may_not_have_the_nearest_cpus_gets_the_next_ones() -> None:
    allocator = allocator_of(topology_of(parse_spec("1p.2l.2c.1t")))
    own, free = CPUSet.of(0), CPUSet.parse("1-3")
    assert grown(allocator, free, 1, own) == CPUSet.of(1)
    assert grown(allocator, free, 1, own, lambda cpus: 1 not in cpus) is None
    assert grown(allocator, free - CPUSet.of(1), 1, own) == CPUSet.of(2)


@pytest.mark.parametrize(
    ("first", "now", "after"),
    [("0-1", "0-3", "0-1"), ("0-3", "0-1", "0-1"), ("0-1", "4-5", "4-5"), ("", "4-5", "4-5")],
)
def test_first_cpus_are_those_that_are_left_of_them(first: str, now: str, after: str) -> None:
    assert first_after(CPUSet.parse(first), CPUSet.parse(now)) == CPUSet.parse(after)
