"""A synthetic host as files: the parts of ``/sys`` and ``/proc`` that describe hardware, laid out as Linux 6 does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crirm.hosts.spec import chosen, slots, usual_distances
from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.quantity import Bytes
from crirm.model.topology import CacheGroup, MemoryKind

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable
    from pathlib import Path

    from crirm.hosts.spec import HostSpec, Slot

_NO_CLUSTER = 65535
_DRAM_TIER = 4
_TIERS = {MemoryKind.DRAM: _DRAM_TIER, MemoryKind.HBM: 2, MemoryKind.CXL: 8, MemoryKind.PMEM: 22}
_L1_SIZE = Bytes(32 << 10)

_DEVICES = {
    MemoryKind.PMEM: "devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0012:00/ndbus0/region{n}/dax{n}.0/dax{n}.0",
    MemoryKind.CXL: "devices/platform/ACPI0017:00/root0/decoder0.0/region{n}/dax_region{n}/dax{n}.0",
}


def write_tree(spec: HostSpec, root: Path) -> None:
    """Write the host *spec* below *root*, which then serves as a ``--host-root``; blocking.

    Args:
        spec: the host.
        root: an existing directory without a ``sys`` in it.
    """
    tree = _Tree(root)
    places = slots(spec)
    up = [slot for slot in places if slot.cpu not in spec.offline]
    _write_cpu_lists(tree, spec, places, up)
    _write_cpus(tree, spec, up)
    _write_settings(tree, spec, up)
    if spec.nodes:
        _write_nodes(tree, spec, places, up)
        _write_memory_devices(tree, spec)
    total = sum(spec.memory_of(position) for position in range(len(spec.all_node_ids)))
    tree.put("proc/meminfo", f"MemTotal:       {total // 1024} kB")


class _Tree:
    """Writes files below a root, making directories as needed."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._made: set[str] = set()

    def put(self, path: str, text: object) -> None:
        """Write a file as sysfs shows one, with a newline at the end."""
        self._parent(path)
        self._root.joinpath(path).write_text(f"{text}\n", encoding="ascii")

    def link(self, path: str, target: str) -> None:
        """Make a symbolic link."""
        self._parent(path)
        self._root.joinpath(path).symlink_to(target)

    def _parent(self, path: str) -> None:
        directory = path.rpartition("/")[0]
        if directory not in self._made:
            self._root.joinpath(directory).mkdir(parents=True, exist_ok=True)
            self._made.add(directory)


def _write_cpu_lists(tree: _Tree, spec: HostSpec, places: list[Slot], up: list[Slot]) -> None:
    present, online = CPUSet(slot.cpu for slot in places), CPUSet(slot.cpu for slot in up)
    lists = {
        "present": present,
        "possible": present,
        "online": online,
        "offline": spec.offline,
        "isolated": spec.isolated,
        "nohz_full": spec.nohz_full,
    }
    for name, cpus in lists.items():
        tree.put(f"sys/devices/system/cpu/{name}", cpus)
    for slot in places:
        if slot.cpu:  # the first CPU cannot be switched off and has no such file
            tree.put(f"sys/devices/system/cpu/cpu{slot.cpu}/online", int(slot.cpu in online))
    efficiency = CPUSet(slot.cpu for slot in places if slot.efficient)
    if efficiency and efficiency != present:
        tree.put("sys/devices/cpu_core/cpus", online - efficiency)
        tree.put("sys/devices/cpu_atom/cpus", online & efficiency)


def _write_cpus(tree: _Tree, spec: HostSpec, up: list[Slot]) -> None:
    packages = _groups((slot.package, slot.cpu) for slot in up)
    dies = _groups(((slot.package, slot.die), slot.cpu) for slot in up)
    cores = _groups((slot.core, slot.cpu) for slot in up)
    clusters = _groups((slot.cluster, slot.cpu) for slot in up)
    l2s = _groups((slot.l2, slot.cpu) for slot in up)
    l3s = _groups((slot.l3, slot.cpu) for slot in up)
    for slot in up:
        core = cores[slot.core]
        _write_topology(
            tree,
            slot,
            package_cpus_list=packages[slot.package],
            core_siblings_list=packages[slot.package],
            die_cpus_list=dies[slot.package, slot.die],
            cluster_cpus_list=CPUSet.of(slot.cpu) if slot.cluster is None else clusters[slot.cluster],
            core_cpus_list=core,
            thread_siblings_list=core,
        )
        directory = f"sys/devices/system/cpu/cpu{slot.cpu}/cache"
        l1 = CacheGroup(1, slot.core, _L1_SIZE, core)
        _write_cache(tree, f"{directory}/index0", "Data", l1)
        _write_cache(tree, f"{directory}/index1", "Instruction", l1)
        _write_cache(tree, f"{directory}/index2", "Unified", CacheGroup(2, slot.l2, spec.l2_size, l2s[slot.l2]))
        _write_cache(tree, f"{directory}/index3", "Unified", CacheGroup(3, slot.l3, spec.l3_size, l3s[slot.l3]))


def _groups(members: Iterable[tuple[Hashable, int]]) -> dict[Hashable, CPUSet]:
    """Return the CPUs of every group, from pairs of group and CPU."""
    masks: dict[Hashable, int] = {}
    for group, cpu in members:
        masks[group] = masks.get(group, 0) | 1 << cpu
    return {group: CPUSet.from_mask(mask) for group, mask in masks.items()}


def _write_topology(tree: _Tree, slot: Slot, **groups: CPUSet) -> None:
    numbers = {
        "physical_package_id": slot.package,
        "die_id": slot.die,
        "cluster_id": _NO_CLUSTER if slot.cluster is None else slot.cluster,
        "core_id": slot.core,
    }
    for name, value in (*numbers.items(), *groups.items()):
        tree.put(f"sys/devices/system/cpu/cpu{slot.cpu}/topology/{name}", value)


def _write_cache(tree: _Tree, directory: str, kind: str, cache: CacheGroup) -> None:
    tree.put(f"{directory}/level", cache.level)
    tree.put(f"{directory}/type", kind)
    tree.put(f"{directory}/id", cache.id)
    tree.put(f"{directory}/size", f"{cache.size // 1024}K")
    tree.put(f"{directory}/shared_cpu_list", cache.cpus)


def _write_settings(tree: _Tree, spec: HostSpec, up: list[Slot]) -> None:
    """Write a frequency policy for every CPU that has a base frequency or an energy preference."""
    for cpu in (slot.cpu for slot in up):
        base, preference = chosen(spec.base_khz, cpu), chosen(spec.preferences, cpu)
        if base is None and preference is None:
            continue
        policy = f"sys/devices/system/cpu/cpufreq/policy{cpu}"
        tree.put(f"{policy}/affected_cpus", cpu)
        if base is not None:
            tree.put(f"{policy}/base_frequency", base)
        if preference is not None:
            tree.put(f"{policy}/energy_performance_preference", preference)
        tree.link(f"sys/devices/system/cpu/cpu{cpu}/cpufreq", f"../cpufreq/policy{cpu}")


def _write_nodes(tree: _Tree, spec: HostSpec, places: list[Slot], up: list[Slot]) -> None:
    online = _groups((slot.node, slot.cpu) for slot in up)
    numbers, distances = spec.all_node_ids, usual_distances(spec)
    for position, number in enumerate(numbers):
        directory = f"sys/devices/system/node/node{number}"
        size_kib = spec.memory_of(position) // 1024
        tree.put(f"{directory}/cpulist", online.get(position, ""))
        tree.put(f"{directory}/distance", " ".join(map(str, distances[position])))
        tree.put(f"{directory}/meminfo", f"Node {number} MemTotal:    {size_kib:>10} kB")
    for slot in places:
        number = numbers[slot.node]
        tree.link(f"sys/devices/system/node/node{number}/cpu{slot.cpu}", f"../../cpu/cpu{slot.cpu}")
        tree.link(f"sys/devices/system/cpu/cpu{slot.cpu}/node{number}", f"../../node/node{number}")
    holders = NodeSet(number for position, number in enumerate(numbers) if spec.memory_of(position))
    lists = {
        "online": NodeSet(numbers),
        "possible": NodeSet(numbers),
        "has_cpu": NodeSet(numbers[slot.node] for slot in up),
        "has_memory": holders,
        "has_normal_memory": holders - spec.movable,
    }
    for name, nodes in lists.items():
        tree.put(f"sys/devices/system/node/{name}", nodes)


def _write_memory_devices(tree: _Tree, spec: HostSpec) -> None:
    """Write the memory tiers, and the DAX devices that persistent memory and CXL memory come from."""
    numbers = spec.all_node_ids
    kinds = [MemoryKind.DRAM] * spec.cpu_nodes + [extra.kind for extra in spec.memory_only]
    for kind, tier in _TIERS.items():
        held = (number for at, number in enumerate(numbers) if kinds[at] is kind and spec.memory_of(at))
        if nodes := NodeSet(held):
            tree.put(f"sys/devices/virtual/memory_tiering/memory_tier{tier}/nodelist", nodes)
    for position, kind in enumerate(kinds):
        if kind in _DEVICES:
            place = _DEVICES[kind].format(n=position)
            tree.put(f"sys/{place}/target_node", numbers[position])
            tree.link(f"sys/bus/dax/devices/dax{position}.0", f"../../../{place}")
