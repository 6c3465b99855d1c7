from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crirm.hosts.synthetic import HostSpec, parse_spec, topology_of
from crirm.model.cpuset import CPUSet
from crirm.policy.cpu_allocator import CPUAllocator
from crirm.policy.priorities import Priority, priorities_of
from tests.unit.hosts.host_specs import host_specs

if TYPE_CHECKING:
    import random

SERVER = "2p.2n.2c.2t"
"""CPUs 0-7 are the first threads, 8-15 the second; NUMA nodes hold cores 0-1, 2-3 | 4-5, 6-7."""

COMPLEXES = "1p.2l.4c.2t"
"""CPUs 0-7 are the first threads, 8-15 the second; cores 0-3 share one L3 cache, 4-7 the other."""

HYBRID = "1p.2c.2t ecores=4 threads=adjacent"
"""CPUs 0-3 are the threads of two performance cores, 4-7 efficiency cores."""

BINNED = "2p.2c.2t base=2GHz base=3GHz@1,5,3,7"
"""Cores 0 and 2 are low, 1 and 3 high; core N has CPUs N and N+4; cores 0-1 and 2-3 are packages."""


def allocator(host: str) -> CPUAllocator:
    topology = topology_of(parse_spec(host))
    return CPUAllocator(topology, priorities_of(topology))


@pytest.mark.parametrize(
    ("host", "free", "count", "taken"),
    [
        pytest.param(SERVER, "0-15", 0, "", id="none when none is asked for"),
        pytest.param(SERVER, "1,9,12", 3, "1,9,12", id="all when all are asked for"),
        pytest.param(SERVER, "0-15", 8, "0-3,8-11", id="an idle package"),
        pytest.param(SERVER, "1-15", 8, "4-7,12-15", id="the one package that is idle"),
        pytest.param(SERVER, "0-15", 10, "0-4,8-12", id="an idle package, then an idle core"),
        pytest.param(SERVER, "0-15", 4, "0-1,8-9", id="a NUMA node"),
        pytest.param(SERVER, "0,2-15", 4, "2-3,10-11", id="a NUMA node in the package with less room"),
        pytest.param(SERVER, "0-15", 2, "0,8", id="both threads of a core"),
        pytest.param(SERVER, "0-4,6-15", 2, "4,12", id="the core with least room around it"),
        pytest.param(SERVER, "0-7,8", 2, "0,8", id="the only idle core"),
        pytest.param(SERVER, "0-7,14-15", 3, "6-7,14", id="an idle core, and another thread near it"),
        pytest.param(SERVER, "0-12,14-15", 1, "5", id="the rest of a core that is in use already"),
        pytest.param(SERVER, "0-7", 2, "0-1", id="without idle cores, threads of one NUMA node"),
        pytest.param(SERVER, "1-7", 3, "1-3", id="without idle cores, threads of one package"),
        pytest.param(SERVER, "0,4,8,12", 4, "0,4,8,12", id="cores of two packages where neither has enough"),
        pytest.param(SERVER, "0-1,4-6,8-9,12-14", 6, "4-6,12-14", id="cores of one package where it has enough"),
        pytest.param(COMPLEXES, "0-15", 4, "0-1,8-9", id="cores that share an L3 cache"),
        pytest.param(COMPLEXES, "0-2,4-7,8-10,12-15", 4, "0-1,8-9", id="the L3 cache with fewer cores to spare"),
        pytest.param(COMPLEXES, "3-7,11-15", 4, "4-5,12-13", id="an L3 cache that holds all, not the fullest one"),
        pytest.param(COMPLEXES, "1-7,9-15", 10, "1,4-7,9,12-15", id="a whole L3 group, and the least of another"),
        pytest.param(COMPLEXES, "0-15", 3, "0-1,8", id="an odd thread under the same L3 cache"),
        pytest.param("1p.16c", "0-15", 3, "0-2", id="a machine that has no levels but cores"),
        pytest.param("1p.2k.4c", "2-7", 2, "2-3", id="the cluster with less room"),
        pytest.param("1p.2d.4c", "2-7", 3, "4-6", id="cores of one die"),
        pytest.param("1p.4c offline=1,3", "0-3", 2, "0,2", id="offline CPUs are not taken"),
    ],
)
def test_locality(host: str, free: str, count: int, taken: str) -> None:
    assert CPUSet.parse(taken) == allocator(host).take(CPUSet.parse(free), count, Priority.NORMAL)


@pytest.mark.parametrize(
    ("host", "free", "count", "prefer", "taken"),
    [
        pytest.param(BINNED, "0-7", 2, Priority.HIGH, "1,5", id="a core of the preferred class"),
        pytest.param(BINNED, "0-7", 2, Priority.LOW, "0,4", id="a core of the lowest class"),
        pytest.param(BINNED, "0-7", 2, Priority.NORMAL, "0,4", id="a lower core rather than one that is too good"),
        pytest.param(BINNED, "0-7", 2, Priority.NONE, "0,4", id="no preference: the lowest number"),
        pytest.param(
            BINNED,
            "0-3,5-7",
            3,
            Priority.HIGH,
            "0-1,5",
            id="a thread beside the core rather than of the class elsewhere",
        ),
        pytest.param(BINNED, "0,2-4,6-7", 1, Priority.HIGH, "3", id="a package that has the class"),
        pytest.param(BINNED, "0-3,5,7", 1, Priority.LOW, "0", id="of the class, the tightest package"),
        pytest.param(BINNED, "0,2-4,6-7", 4, Priority.HIGH, "2-3,6-7", id="an idle package before the class"),
        pytest.param(BINNED, "1-3,6", 2, Priority.HIGH, "2,6", id="an idle core before the class"),
        pytest.param(HYBRID, "0-7", 1, Priority.HIGH, "0", id="hybrid: a thread of a performance core"),
        pytest.param(HYBRID, "0-7", 2, Priority.NORMAL, "0-1", id="hybrid: a performance core"),
        pytest.param(HYBRID, "0-7", 2, Priority.LOW, "4-5", id="hybrid: efficiency cores"),
        pytest.param(HYBRID, "0-7", 5, Priority.HIGH, "0-4", id="hybrid: efficiency cores when the others are gone"),
        pytest.param(HYBRID, "2-7", 3, Priority.HIGH, "2-4", id="hybrid: a whole smaller core rather than a split one"),
        pytest.param("1p.4c.2t", "0-3,6", 1, Priority.HIGH, "0", id="no high CPUs in the machine: as for normal"),
        pytest.param(
            "2p.2c", "0-2", 1, Priority.HIGH, "2", id="no high CPUs in the machine: the tightest package all the same"
        ),
    ],
)
def test_priority(host: str, free: str, count: int, prefer: Priority, taken: str) -> None:
    assert CPUSet.parse(taken) == allocator(host).take(CPUSet.parse(free), count, prefer)


@pytest.mark.parametrize(
    ("free", "near", "count", "taken"),
    [
        pytest.param("0-4,6-15", "5", 1, "13", id="the other thread of the own core first"),
        pytest.param("0-4,6-15", "5", 3, "4,12-13", id="then a core of the same NUMA node"),
        pytest.param("0-3,6-11,14-15", "5,13", 2, "6,14", id="a core of the same package"),
        pytest.param("0-3,8-11", "5,13", 2, "0,8", id="a core elsewhere when there is none near"),
        pytest.param("0-3,6,8-11", "5,13", 1, "6", id="a thread near"),
        pytest.param("0-3,6,8-11", "99", 1, "6", id="near a CPU that the machine has not any more"),
    ],
)
def test_more_is_taken_near_what_is_there(free: str, near: str, count: int, taken: str) -> None:
    found = allocator(SERVER).take(CPUSet.parse(free), count, Priority.NORMAL, near=CPUSet.parse(near))
    assert CPUSet.parse(taken) == found


@pytest.mark.parametrize(
    ("free", "count"),
    [
        pytest.param("0-2", 4, id="more than are free"),
        pytest.param("0-2,16-31", 4, id="CPUs that the machine has not do not count"),
        pytest.param("0-2", -1, id="fewer than none"),
    ],
)
def test_what_cannot_be_taken_is_refused(free: str, count: int) -> None:
    with pytest.raises(ValueError, match=f"^{count} CPUs cannot be taken out of 3$"):
        allocator(SERVER).take(CPUSet.parse(free), count, Priority.HIGH)


HOSTS = (
    SERVER,
    COMPLEXES,
    HYBRID,
    BINNED,
    "1p.4c",
    "2p.2d.2k.2c.2t threads=adjacent",
    "1p.3c.4t",
    "2p.2l.3c.2t epp=power epp=performance@0,3,9",
    "2p.2c.2t offline=1,6",
    "4p.1c.2t base=2GHz base=3GHz@2,3 base=4GHz@7",
)
TOPOLOGIES = {host: topology_of(parse_spec(host)) for host in HOSTS}
ALLOCATORS = {host: CPUAllocator(topology, priorities_of(topology)) for host, topology in TOPOLOGIES.items()}


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, CPUSet, int, Priority]:
    """Draw a host, its free CPUs, how many to take, and which ones first."""
    host = draw(st.sampled_from(HOSTS))
    online = TOPOLOGIES[host].online
    free = online & CPUSet.from_mask(draw(st.integers(0, online.mask)) | draw(st.integers(0, online.mask)))
    return host, free, draw(st.integers(0, len(free))), draw(st.sampled_from(Priority))


@given(requests(), st.booleans())
def test_as_many_as_asked_for_of_the_free_ones(request: tuple[str, CPUSet, int, Priority], growing: bool) -> None:
    host, free, count, prefer = request
    near = TOPOLOGIES[host].online - free if growing else CPUSet()
    taken = ALLOCATORS[host].take(free, count, prefer, near)
    assert count == len(taken)
    assert taken <= free
    assert taken == allocator(host).take(free, count, prefer, near), "same input, same output"


@given(requests())
def test_cores_are_split_only_for_what_no_idle_core_can_hold(request: tuple[str, CPUSet, int, Priority]) -> None:
    host, free, count, prefer = request
    taken = ALLOCATORS[host].take(free, count, prefer)
    cores = TOPOLOGIES[host].cores
    idle = [core for core in cores if core <= free]
    whole = [core for core in cores if core <= taken]
    singles = count - sum(map(len, whole))
    assert all(singles < len(core) for core in idle if core.isdisjoint(taken) and len(core) == max(map(len, cores)))
    if len({len(core) for core in cores}) == 1:
        assert len(whole) == min(len(idle), count // len(cores[0]))


@settings(max_examples=25)
@given(host_specs(), st.randoms(use_true_random=False))
def test_any_host(spec: HostSpec, choice: random.Random) -> None:
    topology = topology_of(spec)
    cpus = CPUAllocator(topology, priorities_of(topology))
    free = CPUSet(choice.sample(list(topology.online), choice.randint(0, len(topology.online))))
    for count in range(len(free) + 1):
        taken = cpus.take(free, count, choice.choice(list(Priority)))
        assert count == len(taken)
        assert taken <= free
