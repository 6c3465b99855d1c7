"""How well the machine is used at one moment.

*Near* the CPUs of a container are the NUMA nodes that they belong to, and nodes without CPUs that have one of those for
their nearest. Memory is counted as the kernel takes it: from the near ones among the nodes that a container may use,
from each as much as it is larger, and only from others where no near one is allowed.

*Fragmentation* compares the largest amount that is free in one NUMA node with the largest that could be if all that is
free were gathered: 0 where nothing is lost, 100 where no node has anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

import attrs

from crirm.errors import CrirmError
from crirm.model.cpuset import NO_CPUS, CPUSet, NodeSet
from crirm.model.decision import UNADJUSTED, State
from crirm.model.topology import Topology
from crirm.model.workload import Container, ContainerKey
from crirm.policy.api import Choice, Policy
from crirm.policy.cpu_allocator import CPUAllocator
from crirm.policy.partition import partition
from crirm.policy.pipeline import HOLDING
from crirm.policy.priorities import priorities_of


@attrs.frozen
class NodeUse:
    """One NUMA node.

    Args:
        node: its number.
        cpus: that containers may use, without the reserved ones.
        exclusive: its exclusive CPUs.
        promised_millicpu: requested from the others, in thousandths of a CPU.
        free_millicpu: what is left, in thousandths of a CPU.
        memory_bytes: all.
        promised_bytes: requested by containers.
        free_bytes: what is left; negative if more is requested than there is.
    """

    node: int
    cpus: str
    exclusive: str
    promised_millicpu: int
    free_millicpu: int
    memory_bytes: int
    promised_bytes: int
    free_bytes: int


@attrs.frozen
class Free:
    """The free part of a resource.

    Args:
        total: of all nodes.
        largest: of the node with the most.
        fragmentation_percent: see the module.
    """

    total: int
    largest: int
    fragmentation_percent: int


@attrs.frozen
class Moment:
    """The machine at one moment.

    Args:
        at_s: seconds of wall-clock time.
        containers: how many hold a grant.
        nodes: NUMA nodes.
        cpu: free CPUs, in thousandths.
        memory: free memory, in bytes.
        remote: names of containers that may use memory that is not near their CPUs.
        remote_bytes: requested by those.
        spread: names of containers whose CPUs belong to several NUMA nodes.
    """

    at_s: float
    containers: int
    nodes: tuple[NodeUse, ...]
    cpu: Free
    memory: Free
    remote: tuple[str, ...]
    remote_bytes: int
    spread: tuple[str, ...]


@attrs.define
class _Sums:
    promised: dict[int, Fraction]
    memory: dict[int, Fraction]
    remote: list[ContainerKey] = attrs.field(factory=list)
    remote_bytes: int = 0
    spread: list[ContainerKey] = attrs.field(factory=list)


def promised_bytes(container: Container) -> int:
    """Return the memory that a container requests, or its limit if no request is known."""
    return container.requirements.memory_request or container.requirements.memory_limit or 0


def far(topology: Topology, cpus: CPUSet | None, mems: NodeSet | None) -> NodeSet:
    """Return the memory nodes among *mems* that are not near *cpus*; None stands for all of them."""
    return (topology.memory_nodes if mems is None else mems) - _near(topology, cpus)


def _near(topology: Topology, cpus: CPUSet | None) -> NodeSet:
    if cpus is None or not topology.cpu_nodes:
        return topology.node_ids
    own = topology.nodes_of(cpus)
    without = topology.node_ids - topology.cpu_nodes
    return own | NodeSet(node for node in without if not own.isdisjoint(_hosts(topology, node)))


def _hosts(topology: Topology, node: int) -> NodeSet:
    """Return the nodes with CPUs that are nearest to *node*."""
    rings = (ring & topology.cpu_nodes for ring in topology.neighbours(node))
    return next(ring for ring in rings if ring)


def moment(topology: Topology, choice: Choice, policy: Policy, state: State, at_s: float) -> Moment:
    """Return how well the machine is used in *state*."""
    sums = _Sums(dict.fromkeys(topology.node_ids, Fraction(0)), dict.fromkeys(topology.node_ids, Fraction(0)))
    usable, exclusive = _usable(topology, choice), policy.exclusive(state.policy)
    holding = [one for one in state.workload.containers.values() if one.state in HOLDING]
    for container in holding:
        _count(topology, state, container, exclusive.get(container.key, NO_CPUS), usable, sums)
    taken = CPUSet.union(exclusive.values())
    nodes = tuple(_node_use(topology, number, usable, taken, sums) for number in topology.node_ids)
    name = state.workload.full_name
    return Moment(
        at_s=at_s,
        containers=len(holding),
        nodes=nodes,
        cpu=_free((use.free_millicpu for use in nodes), (1000 * len(CPUSet.parse(use.cpus)) for use in nodes)),
        memory=_free((use.free_bytes for use in nodes), (use.memory_bytes for use in nodes)),
        remote=tuple(name(key) for key in sums.remote),
        remote_bytes=sums.remote_bytes,
        spread=tuple(name(key) for key in sums.spread),
    )


def _usable(topology: Topology, choice: Choice) -> CPUSet:
    """Return the CPUs that the policy can give to ordinary containers."""
    try:
        parts = partition(topology, choice.constraints, CPUAllocator(topology, priorities_of(topology)))
    except CrirmError:  # a policy without reserved CPUs
        return topology.online
    return parts.sharable | parts.isolated


def _count(topology: Topology, state: State, container: Container, own: CPUSet, usable: CPUSet, sums: _Sums) -> None:
    adjustment = state.adjustments.get(container.key, UNADJUSTED)
    cpus = topology.online if adjustment.cpus is None else adjustment.cpus
    shared, part = cpus - own, container.requirements.cpu_request - 1000 * len(own)
    if shared and part > 0:
        for number in topology.nodes_of(shared & usable):
            here = len(shared & usable & topology.node(number).cpus)
            sums.promised[number] += Fraction(part * here, len(shared))
    if len(topology.nodes_of(cpus)) > 1:
        sums.spread.append(container.key)
    promised, distant = promised_bytes(container), far(topology, adjustment.cpus, adjustment.mems)
    if distant:
        sums.remote.append(container.key)
        sums.remote_bytes += promised
    allowed = topology.memory_nodes if adjustment.mems is None else adjustment.mems & topology.memory_nodes
    _take_memory(topology, allowed - distant or allowed, promised, sums.memory)


def _take_memory(topology: Topology, nodes: NodeSet, amount: int, taken: dict[int, Fraction]) -> None:
    size = topology.memory_of(nodes)
    for number in nodes if size else ():
        taken[number] += Fraction(amount * topology.node(number).memory, size)


def _node_use(topology: Topology, number: int, usable: CPUSet, taken: CPUSet, sums: _Sums) -> NodeUse:
    node = topology.node(number)
    cpus = node.cpus & usable
    promised, memory = round(sums.promised[number]), round(sums.memory[number])
    return NodeUse(
        node=number,
        cpus=str(cpus),
        exclusive=str(cpus & taken),
        promised_millicpu=promised,
        free_millicpu=1000 * len(cpus - taken) - promised,
        memory_bytes=node.memory,
        promised_bytes=memory,
        free_bytes=node.memory - memory,
    )


def _free(parts: Iterable[int], sizes: Iterable[int]) -> Free:
    left = [max(part, 0) for part in parts]
    largest, best = max(left), min(sum(left), max(sizes))
    return Free(sum(left), largest, (200 * (best - largest) + best) // (2 * best) if best else 0)
