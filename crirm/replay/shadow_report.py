"""The policy in force and the one beside it, in figures and container by container."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from crirm.model.cpuset import NO_CPUS, CPUSet
from crirm.model.decision import UNADJUSTED, State
from crirm.model.topology import Topology, fewest
from crirm.model.workload import ContainerKey
from crirm.policy.api import Choice, Policy
from crirm.policy.pipeline import HOLDING
from crirm.replay.diff import Figure
from crirm.replay.moments import Moment, far, moment
from crirm.replay.shadow import Shadow, pruned

ABSENT = "not placed"


@attrs.frozen
class View:
    """A policy and its state at one moment.

    Args:
        policy: that decides.
        choice: it is made of.
        state: its own.
    """

    policy: Policy
    choice: Choice
    state: State


@attrs.frozen
class Difference:
    """A container that the two place differently.

    Args:
        name: ``namespace/pod/container``.
        there: its place under the policy in force.
        here: that under the policy beside it.
        alike: whether only the numbers of CPUs and NUMA nodes differ: as many CPUs, no more NUMA nodes, and memory no
            farther.
        reason: why it was refused here; empty if it was not.
    """

    name: str
    there: str
    here: str
    alike: bool
    reason: str = ""


@attrs.frozen
class Comparison:
    """Both at one moment.

    Args:
        figures: the policy in force first.
        differences: containers that are placed differently, those that are not alike first.
        same: number of the others.
    """

    figures: tuple[Figure, ...]
    differences: tuple[Difference, ...]
    same: int


@attrs.frozen
class _Place:
    """What a container has.

    Args:
        cpus: on which it runs.
        own: its exclusive CPUs.
        mems: NUMA nodes of its memory.
        far: those of them that are not near its CPUs.
        cpu_nodes: number of NUMA nodes that its CPUs belong to.
        degraded: whether nothing is kept for it.
    """

    cpus: str
    own: str
    mems: str
    far: str
    cpu_nodes: int
    own_count: int
    degraded: bool

    @property
    def kind(self) -> tuple[object, ...]:
        """What makes a place better or worse; the numbers of its CPUs do not."""
        return self.own_count, self.cpu_nodes, bool(self.far), self.degraded

    def __str__(self) -> str:
        cpus = f"CPUs {self.cpus}"
        if self.own:
            cpus = f"exclusive {cpus}" if self.own == self.cpus else f"{cpus} (exclusive: {self.own})"
        remote = f" (remote: {self.far})" if self.far else ""
        return f"{cpus}, memory {self.mems}{remote}{', degraded' if self.degraded else ''}"


def compare_counts(shadow: Shadow) -> tuple[Figure, ...]:
    """Return the figures since the shadow began."""
    there, here = shadow.there, shadow.here
    only_here = here.refusals - (there.refusals - shadow.admitted)
    return (
        Figure("requests refused", there.refusals, here.refusals),
        Figure("  refused by one of them only", shadow.admitted, only_here),
        Figure("moves", there.moves, here.moves),
        Figure("  with memory", there.memory_moves, here.memory_moves),
        Figure("updates of running containers", there.updates, here.updates),
    )


def compare(there: View, shadow: Shadow, now_s: float) -> Comparison:
    """Return both at this moment; *there* is the policy in force, at the same event as *shadow*."""
    shadow = pruned(shadow, there.state.workload)
    here = View(shadow.policy, shadow.choice, shadow.state)
    views, topology = (there, here), shadow.topology
    moments = [moment(topology, view.choice, view.policy, view.state, now_s) for view in views]
    figures = (*compare_counts(shadow), *_figures(topology, views, moments, shadow))
    differences, same = _differences(topology, there, here, shadow)
    return Comparison(figures, differences, same)


def _figures(topology: Topology, views: tuple[View, View], moments: list[Moment], shadow: Shadow) -> Iterator[Figure]:
    one, other = moments
    own, others = (_exclusive(view) for view in views)
    yield Figure("containers placed now", one.containers, other.containers)
    yield Figure("not placed now", 0, len(shadow.missing))
    yield Figure("degraded now", len(views[0].state.degraded), len(views[1].state.degraded))
    yield Figure("containers with exclusive CPUs", len(own), len(others))
    yield Figure("exclusive CPUs", sum(map(len, own.values())), sum(map(len, others.values())))
    spread, also = _spread(topology, own), _spread(topology, others)
    yield Figure("exclusive CPUs of more NUMA nodes than needed", spread, also)
    yield Figure("CPUs of several NUMA nodes", len(one.spread), len(other.spread))
    yield Figure("may use remote memory", len(one.remote), len(other.remote))
    yield Figure("memory requested by these", one.remote_bytes, other.remote_bytes, "bytes")
    yield Figure("free CPU in one NUMA node", one.cpu.largest, other.cpu.largest, "m")
    yield Figure("free memory in one NUMA node", one.memory.largest, other.memory.largest, "bytes")


def _exclusive(view: View) -> dict[ContainerKey, CPUSet]:
    return {key: cpus for key, cpus in view.policy.exclusive(view.state.policy).items() if cpus}


def _spread(topology: Topology, own: dict[ContainerKey, CPUSet]) -> int:
    return sum(len(topology.nodes_of(cpus)) > needed_nodes(topology, len(cpus)) for cpus in own.values())


def needed_nodes(topology: Topology, cpus: int) -> int:
    """Return the smallest number of NUMA nodes of an empty machine that have so many *cpus*."""
    return fewest((len(topology.node(node).cpus) for node in topology.cpu_nodes), cpus)


def _differences(topology: Topology, there: View, here: View, shadow: Shadow) -> tuple[tuple[Difference, ...], int]:
    first, second = _places(topology, there), _places(topology, here)
    keys, found = sorted(first.keys() | second.keys()), []
    name = there.state.workload.full_name
    for key in keys:
        one, other = first.get(key), second.get(key)
        if one == other:
            continue
        missing = shadow.missing.get(key)
        alike = one is not None and other is not None and one.kind == other.kind
        texts = ABSENT if one is None else str(one), ABSENT if other is None else str(other)
        known = name(key) if one is not None else here.state.workload.full_name(key)
        found.append(Difference(known, *texts, alike, missing.reason if missing else ""))
    return tuple(sorted(found, key=lambda each: (each.alike, each.name))), len(keys) - len(found)


def _places(topology: Topology, view: View) -> dict[ContainerKey, _Place]:
    exclusive = view.policy.exclusive(view.state.policy)
    holding = [one.key for one in view.state.workload.containers.values() if one.state in HOLDING]
    return {key: _place(topology, view.state, key, exclusive.get(key, NO_CPUS)) for key in holding}


def _place(topology: Topology, state: State, key: ContainerKey, own: CPUSet) -> _Place:
    given = state.adjustments.get(key, UNADJUSTED)
    cpus = topology.online if given.cpus is None else given.cpus
    return _Place(
        cpus="any" if given.cpus is None else str(given.cpus),
        own=str(own),
        mems="any" if given.mems is None else str(given.mems),
        far=str(far(topology, given.cpus, given.mems)),
        cpu_nodes=len(topology.nodes_of(cpus)),
        own_count=len(own),
        degraded=key in state.degraded,
    )
