"""The hardware of the host, the part that pods may use, and descriptions of changes."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.quantity import Bytes
from crirm.model.topology import Topology
from crirm.model.topology_part import part_of

MEMORY_STEP = Bytes(64 << 20)
"""Smaller differences in memory are ignored: balloon drivers cause them, and hotplug works in larger blocks."""


@attrs.frozen
class Limit:
    """A cgroup above pods that has less than the whole machine.

    Args:
        cgroup: its path from the root of the hierarchy.
        file: with its CPUs, where they can be extended.
        cpus: available inside it.
        mems: NUMA nodes whose memory is available inside it.
        forgets: whether it loses CPUs that go offline even when they are back, as with cgroup v1.
    """

    cgroup: str
    file: str
    cpus: CPUSet
    mems: NodeSet
    forgets: bool = False


@attrs.frozen
class Sight:
    """The result of a quick check: enough to notice a change.

    Args:
        facts: contents of small kernel files; equal ones mean that nothing has changed.
        memory: of the whole machine.
        limits: cgroups above pods.
    """

    facts: tuple[str, ...]
    memory: Bytes
    limits: tuple[Limit, ...] = ()

    def shows_change(self, other: Sight) -> bool:
        """Return whether *other*, from another moment, shows a changed machine."""
        same = (self.facts, self.limits) == (other.facts, other.limits)
        return not same or abs(self.memory - other.memory) >= MEMORY_STEP


@attrs.frozen
class Hardware:
    """The machine at one moment.

    Args:
        whole: all of its hardware.
        usable: the part that pods may use, for which policies are made.
        limits: the cgroups that reduce it.
        sight: the quick check just before.
    """

    whole: Topology
    usable: Topology
    limits: tuple[Limit, ...] = ()
    sight: Sight = Sight((), Bytes(0))

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks about this machine, one sentence each."""
        offline = (f"{cpus_are(self.whole.offline)} offline",) if self.whole.offline else ()
        return (*offline, *(limit_text(limit, self.whole) for limit in self.limits))


def hardware_of(whole: Topology, sight: Sight) -> Hardware:
    """Return the machine *whole* with the part that the cgroups in *sight* leave to pods.

    Raises:
        TopologyError: they leave nothing.
    """
    narrow, cpus, mems = [], whole.online, whole.memory_nodes
    for limit in sight.limits:  # a cgroup that has no less than its parent adds nothing
        if not (cpus <= limit.cpus and mems <= limit.mems):
            narrow.append(limit)
            cpus, mems = cpus & limit.cpus, mems & limit.mems
    return Hardware(whole, part_of(whole, cpus, mems), tuple(narrow), sight)


def limit_text(limit: Limit, whole: Topology) -> str:
    """Return a sentence about what a cgroup withholds from pods."""
    cpus, mems = whole.online - limit.cpus, whole.memory_nodes - limit.mems
    missing = [_cpus(cpus)] if cpus else []
    missing += [f"the memory of {_nodes(mems)}"] if mems else []
    return f"{' and '.join(missing)} cannot be used by pods: cgroup {limit.cgroup} has only {_has(limit)}"


def _has(limit: Limit) -> str:
    return f"{_cpus(limit.cpus)} and the memory of {_nodes(limit.mems)}"


def changes_text(before: Topology, after: Topology) -> str:
    """Return the difference between *before* and *after*, the parts that pods may use, as a sentence."""
    told = [*_cpu_changes(before, after), *_memory_changes(before, after)]
    return "; ".join(told) or "its description changed"


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
        yield f"the memory of {_nodes(other)} changed its size"


def cpus_are(cpus: CPUSet) -> str:
    """Return *cpus* as the beginning of a sentence."""
    return f"{_cpus(cpus)} {'is' if len(cpus) == 1 else 'are'}"


def _cpus(cpus: CPUSet) -> str:
    return f"CPU {cpus}" if len(cpus) == 1 else f"CPUs {cpus}"


def _nodes(nodes: NodeSet) -> str:
    return f"NUMA node {nodes}" if len(nodes) == 1 else f"NUMA nodes {nodes}"
