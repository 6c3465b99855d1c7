"""Packages, dies, clusters, cores, caches and settings of CPUs, from ``devices/system/cpu``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from crirm.model.cpuset import NO_CPUS, CPUSet
from crirm.model.quantity import Bytes
from crirm.model.topology import CacheGroup, Cluster, Die, EnergyPreference, FrequencyBin, Package
from crirm.system.sysfs_files import CPU_DIR, Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crirm.system.sysfs_files import SysFiles

# Kernels before 5.3 know only the second name of each.
_PACKAGE_LISTS = ("package_cpus_list", "core_siblings_list")
_CORE_LISTS = ("core_cpus_list", "thread_siblings_list")

_NO_ID = 65535
"""What a cluster number of -1 ("none") looks like in sysfs, where it is printed as 16 bits."""

_CACHE_LEVELS = (2, 3)
_CACHE_SIZE = re.compile(r"(\d+)K", re.ASCII)
_EFFICIENCY_PMUS = ("cpu_atom", "cpu_lowpower")

_Cores = tuple[tuple[Package, ...], tuple[Die, ...], tuple[Cluster, ...], tuple[CPUSet, ...]]


def read_cores(files: SysFiles, online: CPUSet) -> _Cores:
    """Return the packages, dies, clusters and cores of the online CPUs."""
    packages = [Package(number, cpus) for number, cpus in sorted(_packages(files, online).items())]
    dies = [Die(one.id, number, cpus) for one in packages for number, cpus in sorted(_dies(files, one.cpus).items())]
    cores = [core for die in dies for core in _groups(files, die.cpus, _CORE_LISTS)]
    clusters = [cluster for die in dies for cluster in _clusters(files, die)]
    return (
        tuple(packages),
        tuple(dies),
        tuple(sorted(clusters, key=lambda cluster: (cluster.package, cluster.die, cluster.id))),
        tuple(sorted(cores, key=lambda core: core.lowest)),
    )


def _packages(files: SysFiles, online: CPUSet) -> dict[int, CPUSet]:
    found, unnumbered = _by_number(files, _groups(files, online, _PACKAGE_LISTS), "physical_package_id")
    if unnumbered:
        files.note(Fault.NO_PACKAGE, unnumbered)
        found[next(number for number in range(len(found) + 1) if number not in found)] = unnumbered
    return found


def _dies(files: SysFiles, package: CPUSet) -> dict[int, CPUSet]:
    if files.text(f"{CPU_DIR}/cpu{package.lowest}/topology/die_cpus_list") is None:
        files.note(Fault.NO_DIE, package)
        return {0: package}
    found, unnumbered = _by_number(files, _groups(files, package, ("die_cpus_list",)), "die_id")
    if unnumbered:
        files.note(Fault.NO_DIE, unnumbered)
        found[0] = found.get(0, NO_CPUS) | unnumbered
    return found


def _clusters(files: SysFiles, die: Die) -> Iterator[Cluster]:
    if files.text(f"{CPU_DIR}/cpu{die.cpus.lowest}/topology/cluster_cpus_list") is None:
        return
    groups = (group for group in _groups(files, die.cpus, ("cluster_cpus_list",)) if len(group) > 1)
    found, _ = _by_number(files, groups, "cluster_id")
    for number, cpus in found.items():
        core = files.cpus(f"{CPU_DIR}/cpu{cpus.lowest}/topology/core_cpus_list") or NO_CPUS
        if number != _NO_ID and not cpus <= core:
            yield Cluster(die.package, die.id, number, cpus)


def _by_number(files: SysFiles, groups: Iterator[CPUSet], name: str) -> tuple[dict[int, CPUSet], CPUSet]:
    """Return the groups by the number in the file *name* of their lowest CPU, and all that have none."""
    found: dict[int, CPUSet] = {}
    unnumbered = NO_CPUS
    for group in groups:
        number = files.number(f"{CPU_DIR}/cpu{group.lowest}/topology/{name}")
        if number is None or number < 0:
            unnumbered |= group
            continue
        if number in found:  # two lists, one number: the number is taken at its word
            files.note(Fault.BAD_GROUP, found[number] | group)
        found[number] = found.get(number, NO_CPUS) | group
    return found, unnumbered


def _groups(files: SysFiles, cpus: CPUSet, names: tuple[str, ...]) -> Iterator[CPUSet]:
    """Cut *cpus* into the groups that the first existing file of *names* tells, reading it once per group."""
    left = cpus
    while left:
        first = left.lowest
        told = _first_list(files, f"{CPU_DIR}/cpu{first}/topology", names)
        group = told & left if told is not None and first in told else CPUSet.of(first)
        if told is not None and told != group:
            files.note(Fault.BAD_GROUP, told | group)
        yield group
        left -= group


def _first_list(files: SysFiles, directory: str, names: tuple[str, ...]) -> CPUSet | None:
    for name in names:
        told = files.cpus(f"{directory}/{name}")
        if told is not None:
            return told
    return None


def read_caches(files: SysFiles, online: CPUSet) -> tuple[CacheGroup, ...]:
    """Return the L2 and L3 groups of the online CPUs."""
    layout = _cache_layout(files, online.lowest)
    caches: list[CacheGroup] = []
    missing = online
    for level in _CACHE_LEVELS:
        for cache in _caches_of_level(files, online, level, layout.get(level, level)):
            caches.append(cache)
            missing -= cache.cpus
    if missing:
        files.note(Fault.NO_CACHE, missing)
    return tuple(caches)


def _cache_layout(files: SysFiles, cpu: int) -> dict[int, int]:
    """Return which index directory describes the data or unified cache of each level."""
    directory = f"{CPU_DIR}/cpu{cpu}/cache"
    layout: dict[int, int] = {}
    for index in files.numbered(directory, "index"):
        level = files.number(f"{directory}/index{index}/level")
        if level is not None and files.text(f"{directory}/index{index}/type") != "Instruction":
            layout.setdefault(level, index)
    return layout


def _caches_of_level(files: SysFiles, online: CPUSet, level: int, usual_index: int) -> Iterator[CacheGroup]:
    left = online
    while left:
        cpu = left.lowest
        index = usual_index
        told_level = files.number(f"{CPU_DIR}/cpu{cpu}/cache/index{index}/level")
        if told_level not in {level, None}:
            index = _cache_layout(files, cpu).get(level, -1)
        directory = f"{CPU_DIR}/cpu{cpu}/cache/index{index}"
        told = None if told_level is None or index < 0 else files.cpus(f"{directory}/shared_cpu_list")
        if told is None:
            left -= CPUSet.of(cpu)
            continue
        group = told & left if cpu in told else CPUSet.of(cpu)
        if told & online != group:
            files.note(Fault.BAD_GROUP, told | group)
        yield CacheGroup(level, files.number(f"{directory}/id"), _cache_size(files, f"{directory}/size"), group)
        left -= group


def _cache_size(files: SysFiles, path: str) -> Bytes:
    text = files.text(path)
    found = _CACHE_SIZE.fullmatch(text or "")
    if text and not found:
        files.malformed(path)
    return Bytes(int(found[1]) * 1024 if found else 0)


def read_efficiency(files: SysFiles, online: CPUSet) -> CPUSet:
    """Return the efficiency cores of a hybrid machine, else no CPUs.

    x86 kernels have a performance monitoring unit for each kind of core. Elsewhere ``cpu_capacity`` ranks CPUs; one
    with less than three quarters of the best counts as efficient (small differences are binning within one kind).
    """
    told = CPUSet.union(files.cpus(f"sys/devices/{name}/cpus") or NO_CPUS for name in _EFFICIENCY_PMUS) & online
    if not told and files.number(f"{CPU_DIR}/cpu{online.lowest}/cpu_capacity") is not None:
        capacities = {cpu: files.number(f"{CPU_DIR}/cpu{cpu}/cpu_capacity") for cpu in online}
        best = max(capacity or 0 for capacity in capacities.values())
        told = CPUSet(cpu for cpu, capacity in capacities.items() if capacity is not None and capacity * 4 < best * 3)
    return NO_CPUS if told == online else told


def read_settings(files: SysFiles, online: CPUSet) -> tuple[tuple[FrequencyBin, ...], tuple[EnergyPreference, ...]]:
    """Return the online CPUs by base frequency and by energy-performance preference, where there are such files."""
    bins: dict[int, int] = {}
    preferences: dict[str, int] = {}
    for cpu in online:
        directory = f"{CPU_DIR}/cpu{cpu}/cpufreq"
        base_khz = files.number(f"{directory}/base_frequency")
        if base_khz is not None:
            bins[base_khz] = bins.get(base_khz, 0) | 1 << cpu
        preference = files.text(f"{directory}/energy_performance_preference")
        if preference:
            preferences[preference] = preferences.get(preference, 0) | 1 << cpu
    return (
        tuple(FrequencyBin(base_khz, CPUSet.from_mask(mask)) for base_khz, mask in sorted(bins.items())),
        tuple(EnergyPreference(name, CPUSet.from_mask(mask)) for name, mask in sorted(preferences.items())),
    )
