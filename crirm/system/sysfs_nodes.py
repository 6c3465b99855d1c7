"""NUMA nodes, their memory and distances, from ``devices/system/node``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from crirm.model.cpuset import NO_CPUS, CPUSet, NodeSet
from crirm.model.quantity import Bytes
from crirm.model.topology import MemoryKind, NumaNode
from crirm.system.sysfs_files import NODE_DIR, Fault
from crirm.system.sysfs_memory import memory_kinds

if TYPE_CHECKING:
    from crirm.model.topology import Package
    from crirm.system.sysfs_files import SysFiles

_LOCAL = 10
_REMOTE = 20
_TOTAL = re.compile(r"MemTotal:\s+(\d+) kB")

_Rows = tuple[tuple[int, ...], ...]


def read_nodes(files: SysFiles, online: CPUSet, packages: tuple[Package, ...]) -> tuple[tuple[NumaNode, ...], _Rows]:
    """Return the NUMA nodes that have CPUs or memory, and their distances."""
    listed = files.nodes(f"{NODE_DIR}/online") or NodeSet(files.numbered(NODE_DIR, "node"))
    if not listed:
        files.note(Fault.NUMA_OFF, online)
        total = _memory_size(files, "proc/meminfo")
        return (NumaNode(0, online, total, MemoryKind.DRAM if total else None, bool(total)),), ((_LOCAL,),)
    memory = _read_memory(files, listed)
    cpus = _place_rest(files, _read_cpus(files, listed, online), packages)
    if empty := NodeSet(node for node in listed if not cpus[node] and not memory[node]):
        files.note(Fault.EMPTY_NODE, empty)
    kept = listed - empty
    normal = _read_normal(files, NodeSet(node for node in kept if memory[node]))
    kinds = memory_kinds(files, {node: memory[node] for node in kept if memory[node]}, cpus, normal)
    nodes = tuple(NumaNode(node, cpus[node], memory[node], kinds.get(node), node in normal) for node in kept)
    return nodes, _read_distances(files, listed, kept)


def _read_memory(files: SysFiles, listed: NodeSet) -> dict[int, Bytes]:
    told = files.nodes(f"{NODE_DIR}/has_memory")
    holders = listed if told is None else told & listed
    sizes = {node: _memory_size(files, f"{NODE_DIR}/node{node}/meminfo") for node in holders}
    if told is not None and (silent := NodeSet(node for node, size in sizes.items() if not size)):
        files.note(Fault.NO_MEMORY_SIZE, silent)
    return {node: sizes.get(node, Bytes(0)) for node in listed}


def _memory_size(files: SysFiles, path: str) -> Bytes:
    found = _TOTAL.search(files.text(path) or "")
    return Bytes(int(found[1]) * 1024 if found else 0)


def _read_cpus(files: SysFiles, listed: NodeSet, online: CPUSet) -> dict[int, CPUSet]:
    """Return each node's online CPUs; one that several nodes claim goes to the first."""
    found: dict[int, CPUSet] = {}
    left = online
    for node in listed:
        told = (files.cpus(f"{NODE_DIR}/node{node}/cpulist") or NO_CPUS) & online
        if twice := told - left:
            files.note(Fault.TWO_NODES, twice)
        found[node] = told & left
        left -= told
    return found


def _place_rest(files: SysFiles, cpus: dict[int, CPUSet], packages: tuple[Package, ...]) -> dict[int, CPUSet]:
    """Give the CPUs that no node claims to the first node of their package, or to the first node of all."""
    result = dict(cpus)
    for package in packages:
        rest = package.cpus - CPUSet.union(cpus.values())
        if not rest:
            continue
        files.note(Fault.NO_NODE, rest)
        home = next((node for node in cpus if not cpus[node].isdisjoint(package.cpus)), min(cpus))
        result[home] |= rest
    return result


def _read_normal(files: SysFiles, holders: NodeSet) -> NodeSet:
    told = files.nodes(f"{NODE_DIR}/has_normal_memory")
    if told is None:
        files.note(Fault.NO_NORMAL_LIST, holders)
        return holders
    return told & holders


def _read_distances(files: SysFiles, listed: NodeSet, kept: NodeSet) -> _Rows:
    """Return the distances of the *kept* nodes; the kernel prints a column for each *listed* one."""
    told = {node: _read_row(files, node, listed) for node in kept}
    used = {node: {other: _distance(told, node, other) for other in kept} for node in kept}
    files.note(Fault.NO_DISTANCE, NodeSet(node for node in kept if not used[node].keys() <= told[node].keys()))
    wrong = (node for node in kept if any(told[node].get(other, far) != far for other, far in used[node].items()))
    files.note(Fault.BAD_DISTANCE, NodeSet(wrong))
    return tuple(tuple(used[node].values()) for node in kept)


def _distance(told: dict[int, dict[int, int]], node: int, other: int) -> int:
    if node == other:
        return _LOCAL
    there, back = told[node].get(other), told[other].get(node)
    if there is None and back is None:
        return _REMOTE
    return max(there or 0, back or 0, _LOCAL + 1)


def _read_row(files: SysFiles, node: int, listed: NodeSet) -> dict[int, int]:
    path = f"{NODE_DIR}/node{node}/distance"
    words = (files.text(path) or "").split()
    if not all(word.isascii() and word.isdecimal() for word in words):
        files.malformed(path)
        return {}
    return dict(zip(listed, (int(word) for word in words), strict=False))
