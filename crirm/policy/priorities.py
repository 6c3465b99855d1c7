"""The priority class of every CPU.

Within a package, what tells CPUs apart counts in this order, the first that does so deciding for the whole package:

1. Intel Speed Select, for those who have asked the hardware;
2. the energy-performance preference (EPP): the most saving one is low, all others are high;
3. the guaranteed base frequency: the lowest one is low, all others are high;
4. nothing: all are normal.

The efficiency cores of a hybrid machine are low whatever else is said of them.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import assert_never

import attrs

from crirm.model.cpuset import NO_CPUS, CPUSet
from crirm.model.topology import Package, Topology


class Priority(enum.Enum):
    """Which CPUs are preferred."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"
    NONE = "none"
    """No preference; no CPU has this one."""


@attrs.frozen
class Priorities:
    """The CPUs of each priority class; none is in two."""

    high: CPUSet = NO_CPUS
    normal: CPUSet = NO_CPUS
    low: CPUSet = NO_CPUS

    def of(self, priority: Priority) -> CPUSet:
        """Return the CPUs of one class."""
        match priority:
            case Priority.HIGH:
                return self.high
            case Priority.NORMAL:
                return self.normal
            case Priority.LOW:
                return self.low
            case Priority.NONE:
                return NO_CPUS
            case _:
                assert_never(priority)


_SAVING = {"performance": 0, "balance_performance": 128, "balance_power": 192, "power": 255}


def priorities_of(topology: Topology, speed_select: Priorities | None = None) -> Priorities:
    """Return the class of every online CPU of *topology*.

    Args:
        topology: the machine.
        speed_select: the classes that Intel Speed Select gives; it decides for every package of which it names a CPU.

    Source: Linux Documentation/admin-guide/pm/intel_pstate.rst, for the order of energy-performance preferences.
    """
    known = speed_select or Priorities()
    named = known.high | known.normal | known.low
    high, low = known.high, known.low | topology.efficiency
    for package in topology.packages:
        if package.cpus.isdisjoint(named):
            worst, others = _energy_classes(topology, package) or _frequency_classes(topology, package)
            high, low = high | others, low | worst
    high, low = (high - topology.efficiency) & topology.online, low & topology.online
    return Priorities(high, topology.online - high - low, low)


def _energy_classes(topology: Topology, package: Package) -> tuple[CPUSet, CPUSet] | None:
    preferences = ((_saving(one.preference), one.cpus & package.cpus) for one in topology.energy_preferences)
    ranked = [(-saving, cpus) for saving, cpus in preferences if saving is not None]
    worst, others = _lowest_and_others(ranked)
    return (worst, others) if others else None


def _frequency_classes(topology: Topology, package: Package) -> tuple[CPUSet, CPUSet]:
    return _lowest_and_others((one.base_khz, one.cpus & package.cpus) for one in topology.base_frequencies)


def _lowest_and_others(ranked: Iterable[tuple[int, CPUSet]]) -> tuple[CPUSet, CPUSet]:
    """Return the CPUs of the lowest rank and those of all others; nothing where there are not two ranks."""
    filled = [(rank, cpus) for rank, cpus in ranked if cpus]
    lowest = min((rank for rank, _ in filled), default=0)
    others = CPUSet.union(cpus for rank, cpus in filled if rank != lowest)
    return (CPUSet.union(cpus for rank, cpus in filled if rank == lowest) if others else NO_CPUS), others


def _saving(preference: str) -> int | None:
    """Return how saving a preference is, 0..255; None where that cannot be told, as of ``default``."""
    if preference.isascii() and preference.isdecimal():
        return int(preference)
    return _SAVING.get(preference)
