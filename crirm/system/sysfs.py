"""Hardware discovery from sysfs, as a `Topology`.

Firmware and hypervisors give the kernel wrong information, which it passes on. What can be repaired is
repaired, in the way least likely to hurt placement, and every repair is reported as an `Oddity` with the CPUs or NUMA
nodes it concerns; only a host root without any CPU is an error.

The kernel answers most questions for a whole group at once (``core_cpus_list``, ``shared_cpu_list`` ...), so each group
costs one or a few small reads, whatever the number of its CPUs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from crirm.errors import CrirmError
from crirm.model.cpuset import NO_CPUS, CPUSet
from crirm.model.topology import Topology
from crirm.system.sysfs_cpus import read_caches, read_cores, read_efficiency, read_settings
from crirm.system.sysfs_files import CPU_DIR, Fault, Oddity, SysFiles
from crirm.system.sysfs_nodes import read_nodes

if TYPE_CHECKING:
    from pathlib import Path


class DiscoveryError(CrirmError):
    """The host's sysfs does not describe a machine."""


@attrs.frozen
class Discovery:
    """A machine, and the oddities in its description."""

    topology: Topology
    warnings: tuple[Oddity, ...]


def discover(host_root: Path) -> Discovery:
    """Read the machine whose root file system is at *host_root*; blocking, for a thread where the event loop runs.

    Args:
        host_root: ``/`` for this machine; elsewhere the place where a host's ``/sys`` and ``/proc`` are mounted or
            copied.

    Raises:
        DiscoveryError: there is no CPU to be found.

    Source: Linux Documentation/ABI, stable/sysfs-devices-system-cpu, stable/sysfs-devices-node and
        testing/sysfs-devices-system-cpu; admin-guide/cputopology.rst.
    """
    files = SysFiles(host_root)
    online, offline = _read_cpus(files)
    packages, dies, clusters, cores = read_cores(files, online)
    nodes, distances = read_nodes(files, online, packages)
    base_frequencies, energy_preferences = read_settings(files, online)
    topology = Topology(
        online=online,
        packages=packages,
        dies=dies,
        cores=cores,
        nodes=nodes,
        distances=distances,
        clusters=clusters,
        caches=read_caches(files, online),
        offline=offline,
        isolated=_read_flagged(files, "isolated", online),
        nohz_full=_read_flagged(files, "nohz_full", online),
        efficiency=read_efficiency(files, online),
        base_frequencies=base_frequencies,
        energy_preferences=energy_preferences,
    )
    return Discovery(topology, files.oddities())


def _read_cpus(files: SysFiles) -> tuple[CPUSet, CPUSet]:
    """Return the online CPUs and those that are present but offline."""
    present = files.cpus(f"{CPU_DIR}/present") or CPUSet(files.numbered(CPU_DIR, "cpu"))
    online = files.cpus(f"{CPU_DIR}/online")
    if not online:
        online = CPUSet(cpu for cpu in present if files.text(f"{CPU_DIR}/cpu{cpu}/online") != "0")
        files.note(Fault.NO_ONLINE_LIST, online)
    if not online:
        msg = f"no CPU found in {files.shown(CPU_DIR)}; mount the host's /sys there, or correct --host-root"
        raise DiscoveryError(msg)
    return online, present - online


def _read_flagged(files: SysFiles, name: str, online: CPUSet) -> CPUSet:
    told = files.text(f"{CPU_DIR}/{name}")
    # Kernels that print an empty mask by its address write "(null)" for it.
    if told in {None, "", "(null)"}:
        return NO_CPUS
    return (files.cpus(f"{CPU_DIR}/{name}") or NO_CPUS) & online
