"""Synthetic hosts: machines for tests, simulation and ``crirm topology --synthetic``.

A host is described by a `HostSpec`, or by a line such as ``2p.2d.2n.8c.2t mem=64Gi isolated=2-3`` (`parse_spec`).
From it follow its `Topology` directly (`topology_of`) and a sysfs tree for everything that reads files
(`write_tree`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from crirm.hosts.spec import HostSpec, HostSpecError, MemoryOnlyNode, chosen, slots, usual_distances
from crirm.hosts.syntax import parse_spec
from crirm.hosts.tree import write_tree
from crirm.model.cpuset import NO_CPUS, CPUSet
from crirm.model.topology import (
    CacheGroup,
    Cluster,
    Die,
    EnergyPreference,
    FrequencyBin,
    MemoryKind,
    NumaNode,
    Package,
    Topology,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from crirm.hosts.spec import Slot

__all__ = ["HostSpec", "HostSpecError", "MemoryOnlyNode", "parse_spec", "topology_of", "write_tree"]

_Key = TypeVar("_Key", int, str, tuple[int, int], tuple[int, int, int])


def topology_of(spec: HostSpec) -> Topology:
    """Return the machine that *spec* describes, without touching a file."""
    up = [slot for slot in slots(spec) if slot.cpu not in spec.offline]
    online = CPUSet(slot.cpu for slot in up)
    efficiency = CPUSet(slot.cpu for slot in up if slot.efficient)
    nodes = _nodes(spec, up)
    kept = [position for position, node in enumerate(nodes) if node.cpus or node.memory]
    distances = usual_distances(spec)
    cores = (cpus for _, cpus in _groups(up, lambda slot: slot.core))
    bases = _groups(up, lambda slot: chosen(spec.base_khz, slot.cpu))
    preferences = _groups(up, lambda slot: chosen(spec.preferences, slot.cpu))
    return Topology(
        online=online,
        packages=tuple(Package(key, cpus) for key, cpus in _groups(up, lambda slot: slot.package)),
        dies=tuple(Die(*key, cpus) for key, cpus in _groups(up, lambda slot: (slot.package, slot.die))),
        cores=tuple(sorted(cores, key=lambda core: core.lowest)),
        nodes=tuple(nodes[position] for position in kept),
        distances=tuple(tuple(distances[one][other] for other in kept) for one in kept),
        clusters=_clusters(up),
        caches=_caches(spec, up),
        offline=spec.offline,
        isolated=spec.isolated & online,
        nohz_full=spec.nohz_full & online,
        efficiency=NO_CPUS if efficiency == online else efficiency,
        base_frequencies=tuple(FrequencyBin(khz, cpus) for khz, cpus in bases),
        energy_preferences=tuple(EnergyPreference(name, cpus) for name, cpus in preferences),
    )


def _groups(up: list[Slot], key: Callable[[Slot], _Key | None]) -> list[tuple[_Key, CPUSet]]:
    """Return the CPUs by *key*, in ascending order of keys; those whose key is None are left out."""
    masks: dict[_Key, int] = {}
    for slot in up:
        group = key(slot)
        if group is not None:
            masks[group] = masks.get(group, 0) | 1 << slot.cpu
    return [(group, CPUSet.from_mask(masks[group])) for group in sorted(masks)]


def _clusters(up: list[Slot]) -> tuple[Cluster, ...]:
    cores_of: dict[int | None, set[int]] = {}
    for slot in up:
        cores_of.setdefault(slot.cluster, set()).add(slot.core)
    larger = [slot for slot in up if slot.cluster is not None and len(cores_of[slot.cluster]) > 1]
    groups = _groups(larger, lambda slot: (slot.package, slot.die, slot.cluster or 0))
    return tuple(Cluster(*key, cpus) for key, cpus in groups)


def _caches(spec: HostSpec, up: list[Slot]) -> tuple[CacheGroup, ...]:
    l2s = [CacheGroup(2, key, spec.l2_size, cpus) for key, cpus in _groups(up, lambda slot: slot.l2)]
    l3s = [CacheGroup(3, key, spec.l3_size, cpus) for key, cpus in _groups(up, lambda slot: slot.l3)]
    return tuple(sorted(l2s + l3s, key=lambda cache: (cache.level, cache.cpus.lowest)))


def _nodes(spec: HostSpec, up: list[Slot]) -> list[NumaNode]:
    """Return all NUMA nodes by position, even those that have neither CPUs nor memory left."""
    cpus = dict(_groups(up, lambda slot: slot.node))
    kinds = [MemoryKind.DRAM] * spec.cpu_nodes + [extra.kind for extra in spec.memory_only]
    nodes = []
    for position, (number, kind) in enumerate(zip(spec.all_node_ids, kinds, strict=True)):
        memory = spec.memory_of(position)
        normal = bool(memory) and number not in spec.movable
        nodes.append(NumaNode(number, cpus.get(position, NO_CPUS), memory, kind if memory else None, normal))
    return nodes
