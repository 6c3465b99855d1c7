"""The checks from outside find what is wrong: policies that are bad on purpose are blamed for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest

from bench.placement.modes import UnknownOptionError, Way
from bench.placement.play import Outcome, play, with_cpus
from bench.placement.shapes import HOSTS
from bench.placement.traces import GIB, Item, Step
from crirm.model.cpuset import NO_CPUS, CPUSet, NodeSet
from crirm.model.decision import Adjustment
from crirm.model.refusal import RefusalCode, RefusedError
from crirm.policy.api import Constraints, Placement, Policy, Restored

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crirm.model.topology import Topology
    from crirm.model.workload import Container, ContainerKey, Workload

HOST = with_cpus(HOSTS[2])


def item(name: str, cpus: int, memory: int = 1) -> Item:
    return Item(name, 1000 * cpus, memory * GIB, memory * GIB)


@attrs.frozen
class Puppet(Policy):
    """Gives each container what the test says: CPUs and memory nodes by name, or nothing."""

    script: Mapping[str, tuple[str, str] | RefusedError]
    name: str = "puppet"

    def initial(self) -> dict[ContainerKey, CPUSet]:
        return {}

    def allocate(self, state: dict[ContainerKey, CPUSet], workload: Workload, container: Container) -> Placement:  # noqa: ARG002 - the interface
        said = self.script[container.key]
        if isinstance(said, RefusedError):
            raise said
        given = Adjustment(CPUSet.parse(said[0]), NodeSet.parse(said[1]))
        return Placement({**state, container.key: given.cpus or NO_CPUS}, {container.key: given})

    def release(self, state: dict[ContainerKey, CPUSet], workload: Workload, key: ContainerKey) -> Placement:  # noqa: ARG002 - likewise
        return Placement({other: cpus for other, cpus in state.items() if other != key})

    def resize(self, state: dict[ContainerKey, CPUSet], workload: Workload, container: Container) -> Placement:
        raise NotImplementedError

    def save(self, state: dict[ContainerKey, CPUSet]) -> Mapping[ContainerKey, str]:
        raise NotImplementedError

    def restore(self, saved: Mapping[ContainerKey, object], workload: Workload) -> Restored:
        raise NotImplementedError

    def exclusive(self, state: dict[ContainerKey, CPUSet]) -> Mapping[ContainerKey, CPUSet]:
        return state


@attrs.frozen
class PuppetWay(Way):
    script: Mapping[str, tuple[str, str] | RefusedError] = attrs.field(factory=dict)

    def make(self, topology: Topology, constraints: Constraints) -> Policy:  # noqa: ARG002 - likewise
        return Puppet(self.script)


def played(script: Mapping[str, tuple[str, str] | RefusedError], *items: Item) -> Outcome:
    return play(PuppetWay("puppet", "puppet", script=script), HOST, tuple(Step(one) for one in items))


NO = RefusedError(RefusalCode.TOO_FEW_EXCLUSIVE_CPUS, "no")


@pytest.mark.parametrize(
    ("cpus", "mems", "expected"),
    [
        pytest.param("16-19", "1", (0, 0, 0), id="CPUs and memory of one node"),
        pytest.param("14-17", "0-1", (1, 1, 0), id="spread, and memory no wider"),
        pytest.param("16-19", "0-1", (0, 1, 1), id="memory of two nodes without need"),
    ],
)
def test_what_is_spread_is_counted(cpus: str, mems: str, expected: tuple[int, int, int]) -> None:
    out = played({"a": (cpus, mems)}, item("a", 4))
    assert (out.crossing, out.wide, out.wide_though_fits) == expected


def test_memory_is_wide_with_need_where_another_may_use_the_node() -> None:
    script = {"a": ("16-19", "1"), "b": ("20-23", "0-1")}
    assert played(script, item("a", 4, 100), item("b", 4, 60)).wide_though_fits == 0
    assert played(script, item("a", 4, 60), item("b", 4, 60)).wide_though_fits == 1


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        pytest.param(item("b", 26), True, id="node 1 has as many CPUs"),
        pytest.param(item("b", 27), False, id="no node has so many"),
        pytest.param(item("b", 4, 29), True, id="node 0 has as much memory"),
        pytest.param(item("b", 4, 30), False, id="no node has so much"),
        pytest.param(item("b", 26, 29), False, id="node 1 has the CPUs, node 0 the memory"),
    ],
)
def test_a_refusal_is_without_need_where_a_node_has_cpus_and_memory(wanted: Item, fits: bool) -> None:
    script: dict[str, tuple[str, str] | RefusedError] = {"a": ("16-21", "1"), "c": ("1-8,33", "0"), "b": NO}
    out = played(script, item("a", 6, 100), item("c", 9, 99), wanted)
    assert (out.placed, out.refused, out.refused_though_fits) == (2, 1, int(fits))


def test_a_way_that_this_crirm_does_not_have_is_told() -> None:
    with pytest.raises(UnknownOptionError, match="no option cleverness"):
        play(Way("x", "static", {"cleverness": 1}), HOST, ())
