"""What the host has and what of it pods may use, as values, with the words for what has changed."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.quantity import Bytes
from crirm.model.topology import Topology
from crirm.model.topology_part import part_of

MEMORY_STEP = Bytes(64 << 20)
"""By less, a machine's memory has not changed: a balloon breathes, and memory comes and goes in larger blocks."""


@attrs.frozen
class Limit:
    """A cgroup above pods that has not all that the machine has.

    Args:
        cgroup: its path from the root of the hierarchy.
        file: of its CPUs, where one can widen them.
        cpus: that are left to what is inside it.
        mems: NUMA nodes whose memory is left to what is inside it.
        forgets: whether a CPU that goes offline is lost to it even when it is back, as with cgroup v1.
    """

    cgroup: str
    file: str
    cpus: CPUSet
    mems: NodeSet
    forgets: bool = False


@attrs.frozen
class Sight:
    """What a quick look shows: enough to tell that something has changed.

    Args:
        facts: short texts of the kernel; equal ones mean that nothing has changed.
        memory: of the whole machine.
        limits: cgroups above pods.
    """

    facts: tuple[str, ...]
    memory: Bytes
    limits: tuple[Limit, ...] = ()

    def shows_change(self, other: Sight) -> bool:
        """Tell whether *other*, of another moment, shows another machine."""
        same = (self.facts, self.limits) == (other.facts, other.limits)
        return not same or abs(self.memory - other.memory) >= MEMORY_STEP


@attrs.frozen
class Hardware:
    """The machine at one moment.

    Args:
        whole: all of it.
        usable: what pods may use: policies are made for this.
        limits: the cgroups that make the difference.
        sight: what a quick look showed just before.
    """

    whole: Topology
    usable: Topology
    limits: tuple[Limit, ...] = ()
    sight: Sight = Sight((), Bytes(0))

    @property
    def notes(self) -> tuple[str, ...]:
        """What one should know of this machine, one sentence each."""
        offline = (f"{cpus_are(self.whole.offline)} offline",) if self.whole.offline else ()
        return (*offline, *(limit_text(limit, self.whole) for limit in self.limits))


def hardware_of(whole: Topology, sight: Sight) -> Hardware:
    """Return the machine *whole* with what the cgroups in *sight* leave of it.

    Raises:
        TopologyError: they leave nothing.
    """
    narrow, cpus, mems = [], whole.online, whole.memory_nodes
    for limit in sight.limits:  # those that leave no less than the ones above them say nothing new
        if not (cpus <= limit.cpus and mems <= limit.mems):
            narrow.append(limit)
            cpus, mems = cpus & limit.cpus, mems & limit.mems
    return Hardware(whole, part_of(whole, cpus, mems), tuple(narrow), sight)


def limit_text(limit: Limit, whole: Topology) -> str:
    """Return for people what a cgroup keeps from pods."""
    cpus, mems = whole.online - limit.cpus, whole.memory_nodes - limit.mems
    missing = [_cpus(cpus)] if cpus else []
    missing += [f"the memory of {_nodes(mems)}"] if mems else []
    return f"{' and '.join(missing)} cannot be used by pods, since the cgroup {limit.cgroup} has only {_has(limit)}"


def _has(limit: Limit) -> str:
    return f"{_cpus(limit.cpus)} and the memory of {_nodes(limit.mems)}"


def changes_text(before: Topology, after: Topology) -> str:
    """Return for people in what *after* differs from *before*; both are what pods may use."""
    told = [*_cpu_changes(before, after), *_memory_changes(before, after)]
    return "; ".join(told) or "its description has changed"


def _cpu_changes(before: Topology, after: Topology) -> Iterator[str]:
    if gone := before.online - after.online:
        yield f"{cpus_are(gone)} gone"
    if new := after.online - before.online:
        yield f"{cpus_are(new)} available now"


def _memory_changes(before: Topology, after: Topology) -> Iterator[str]:
    if gone := before.memory_nodes - after.memory_nodes:
        yield f"the memory of {_nodes(gone)} is gone"
    if new := after.memory_nodes - before.memory_nodes:
        yield f"the memory of {_nodes(new)} is available now"
    both = before.memory_nodes & after.memory_nodes
    if other := NodeSet(one for one in both if before.node(one).memory != after.node(one).memory):
        yield f"the memory of {_nodes(other)} is of another size"


def cpus_are(cpus: CPUSet) -> str:
    """Return *cpus* as the beginning of a sentence."""
    return f"{_cpus(cpus)} {'is' if len(cpus) == 1 else 'are'}"


def _cpus(cpus: CPUSet) -> str:
    return f"CPU {cpus}" if len(cpus) == 1 else f"CPUs {cpus}"


def _nodes(nodes: NodeSet) -> str:
    return f"NUMA node {nodes}" if len(nodes) == 1 else f"NUMA nodes {nodes}"
