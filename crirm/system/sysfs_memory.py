"""What kind of memory each NUMA node has.

The kernel has no file that says so. Memory beside CPUs is DRAM. For a node without CPUs this looks, in turn,

1. at the device that the memory came from: persistent memory and CXL regions come as DAX devices;
2. at its speed for whoever is nearest (HMAT): memory that is faster than all DRAM is high-bandwidth memory, such as
   that of a GPU, which to CPUs may look slow;
3. at the tier in which the kernel ranks the node;
4. at whether all of it is movable: what a driver has plugged without a DAX device is memory of a GPU or another
   accelerator, never persistent, and counts as high-bandwidth memory, which only those get who ask for it;
5. at its size, as the original CRI Resource Manager does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crirm.model.cpuset import NO_NODES, NodeSet
from crirm.model.topology import MemoryKind
from crirm.system.sysfs_files import NODE_DIR, Fault

if TYPE_CHECKING:
    from crirm.model.cpuset import CPUSet
    from crirm.model.quantity import Bytes
    from crirm.system.sysfs_files import SysFiles

_DAX_DIR = "sys/bus/dax/devices"
_TIER_DIR = "sys/devices/virtual/memory_tiering"


def memory_kinds(
    files: SysFiles, memory: dict[int, Bytes], cpus: dict[int, CPUSet], normal: NodeSet
) -> dict[int, MemoryKind]:
    """Return the kind of memory of every node in *memory*.

    Args:
        files: the host's files.
        memory: the nodes that have memory, and how much.
        cpus: the online CPUs of all nodes.
        normal: the nodes with memory that is not only movable.
    """
    dram = NodeSet(node for node in memory if cpus[node] or files.numbered(f"{NODE_DIR}/node{node}", "cpu"))
    kinds = dict.fromkeys(dram, MemoryKind.DRAM)
    others = NodeSet(memory) - dram
    if not others:
        return kinds
    devices, speeds, tiers = _kinds_by_device(files), _kinds_by_speed(files, others, dram), _kinds_by_tier(files, dram)
    plugged = dict.fromkeys(others - normal, MemoryKind.HBM)
    for node in others:
        if kind := devices.get(node) or speeds.get(node) or tiers.get(node) or plugged.get(node):
            kinds[node] = kind
    if unknown := others - NodeSet(kinds):
        files.note(Fault.GUESSED_KIND, unknown)
        average = sum(memory[node] for node in dram) / max(len(dram), 1)
        kinds |= {node: MemoryKind.HBM if memory[node] < average else MemoryKind.PMEM for node in unknown}
    return kinds


def _kinds_by_device(files: SysFiles) -> dict[int, MemoryKind]:
    """Return the kinds of the nodes whose memory came from a DAX device of a known bus."""
    kinds: dict[int, MemoryKind] = {}
    for name in files.names(_DAX_DIR):
        place = files.link(f"{_DAX_DIR}/{name}")
        node = files.number(f"{_DAX_DIR}/{name}/target_node")
        if node is None:
            continue
        if "/ndbus" in place:
            kinds[node] = MemoryKind.PMEM
        elif "/dax_region" in place:
            kinds[node] = MemoryKind.CXL
    return kinds


def _kinds_by_speed(files: SysFiles, others: NodeSet, dram: NodeSet) -> dict[int, MemoryKind]:
    """Return the kinds of the nodes that have more bandwidth for their nearest user than all DRAM has.

    Source: Linux Documentation/admin-guide/mm/numaperf.rst; class 0 counts accelerators among the users.
    """
    ours = max((_bandwidth(files, node) for node in dram), default=0)
    faster = (node for node in others if ours and _bandwidth(files, node) > ours)
    return dict.fromkeys(faster, MemoryKind.HBM)


def _bandwidth(files: SysFiles, node: int) -> int:
    """Return the read bandwidth of a node in MB/s; 0 where nobody tells."""
    return files.number(f"{NODE_DIR}/node{node}/access0/initiators/read_bandwidth") or 0


def _kinds_by_tier(files: SysFiles, dram: NodeSet) -> dict[int, MemoryKind]:
    """Return the kinds of the nodes that the kernel ranks above or below all DRAM; a lower tier number is faster.

    Source: Linux Documentation/ABI/testing/sysfs-kernel-mm-memory-tiers.
    """
    tiers = {
        number: files.nodes(f"{_TIER_DIR}/memory_tier{number}/nodelist") or NO_NODES
        for number in files.numbered(_TIER_DIR, "memory_tier")
    }
    ours = [number for number, nodes in tiers.items() if not nodes.isdisjoint(dram)]
    if not ours:
        return {}
    faster = {node: MemoryKind.HBM for number, nodes in tiers.items() if number < min(ours) for node in nodes}
    slower = {node: MemoryKind.CXL for number, nodes in tiers.items() if number > max(ours) for node in nodes}
    return faster | slower
