"""Words for what tests expect of a placement."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

from crirm.model.cpuset import CPUSet, NodeSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from crirm.model.topology import Topology
    from tests.vm.inside.kubelet import Container

_SETTLES_WITHIN_S = 90.0
_POLL_S = 0.2  # asking takes time that the server has little of

NAMESPACE = "cri-resource-manager.intel.com"


def annotation(key: str, value: str) -> dict[str, str]:
    """Return an annotation that holds for all containers of its pod."""
    return {f"{key}.{NAMESPACE}/pod": value}


def homes(machine: Topology, cpus: CPUSet) -> NodeSet:
    """Return the NUMA nodes that *cpus* lie on."""
    return NodeSet(node.id for node in machine.nodes if not node.cpus.isdisjoint(cpus))


def packages(machine: Topology, cpus: CPUSet) -> int:
    """Return how many packages *cpus* lie on."""
    return sum(not package.cpus.isdisjoint(cpus) for package in machine.packages)


def dies(machine: Topology, cpus: CPUSet) -> int:
    """Return how many dies *cpus* lie on."""
    return sum(not die.cpus.isdisjoint(cpus) for die in machine.dies)


def apart(sets: Iterable[CPUSet] | Iterable[NodeSet]) -> bool:
    """Whether no two of *sets* have anything in common."""
    return all(one.isdisjoint(other) for one, other in itertools.combinations(sets, 2))


def wait_for_cpus(container: Container, holds: Callable[[CPUSet], bool]) -> CPUSet:
    """Wait until the kernel lets a container run where it should, and return these CPUs."""
    wait_for(lambda: holds(container.cpus))
    return container.cpus


def wait_for(holds: Callable[[], bool]) -> None:
    """Wait for something that comes about in its own time."""
    until = time.monotonic() + _SETTLES_WITHIN_S
    while not holds():
        assert time.monotonic() < until, "what was waited for did not come about"
        time.sleep(_POLL_S)
