"""Which CPUs containers may use, and for what, according to the configuration."""

from __future__ import annotations

from itertools import chain, islice

import attrs

from crirm.errors import CrirmError
from crirm.model.cpuset import NO_CPUS, CPUSet
from crirm.model.quantity import MilliCPU, format_millicpu
from crirm.model.topology import Topology
from crirm.policy.api import Constraints, CPUConstraint
from crirm.policy.cpu_allocator import CPUAllocator
from crirm.policy.priorities import Priority, priorities_of


class PartitionError(CrirmError, ValueError):
    """Available and reserved CPUs do not fit the machine, or each other."""


@attrs.frozen
class Partition:
    """The CPUs of the machine by what they may be used for; the sets are disjoint."""

    sharable: CPUSet
    isolated: CPUSet
    reserved: CPUSet


def partition(topology: Topology, constraints: Constraints, allocator: CPUAllocator) -> Partition:
    """Split the machine's CPUs as *constraints* say.

    CPUs that are switched off are left out, wherever they are named. An amount of CPUs is rounded up to whole ones and
    leaves kernel-isolated CPUs alone as long as there are others. An amount of reserved CPUs is exactly that many: of
    the normal priority class first, then of the low and the high one; there from the lowest core on, all its threads.

    Raises:
        PartitionError: the constraints name CPUs that are not there, contradict each other, or leave nothing.
    """
    named = _named(topology, constraints.reserved, "ReservedResources")
    available = _available(topology, constraints.available, named, allocator)
    isolated = topology.isolated & available
    reserved = named
    if constraints.reserved.millicpu is not None:
        count = -(-constraints.reserved.millicpu // 1000)
        reserved = _first(topology, available - isolated, count)
    elif constraints.reserved.excluded is not None:
        reserved = available - isolated - _there(topology, constraints.reserved.excluded, "ReservedResources")
    _check_reserved(reserved, available, isolated)
    sharable = available - isolated - reserved
    if not sharable:
        msg = f"ReservedResources.CPU ({reserved}) leaves no CPU for other containers; reserve fewer"
        raise PartitionError(msg)
    return Partition(sharable, isolated, reserved)


def _check_reserved(reserved: CPUSet, available: CPUSet, isolated: CPUSet) -> None:
    if not reserved:
        msg = "ReservedResources.CPU reserves no online CPU; name at least one, or an amount such as 1"
        raise PartitionError(msg)
    if outside := reserved - available:
        msg = f"ReservedResources.CPU: CPUs {outside} are outside AvailableResources.CPU ({available}); add them"
        raise PartitionError(msg)
    if both := reserved & isolated:
        msg = f"ReservedResources.CPU: CPUs {both} are isolated by the kernel (isolcpus); reserve others"
        raise PartitionError(msg)


def _available(topology: Topology, constraint: CPUConstraint, reserved: CPUSet, allocator: CPUAllocator) -> CPUSet:
    if constraint.millicpu is not None:
        available = _available_amount(topology, constraint.millicpu, reserved, allocator)
    elif constraint.excluded is not None:
        available = topology.online - _there(topology, constraint.excluded, "AvailableResources")
    else:
        available = topology.online if constraint.cpus is None else _named(topology, constraint, "AvailableResources")
    if not available:
        msg = "AvailableResources.CPU names no online CPU; name at least one, or leave it out to use all"
        raise PartitionError(msg)
    return available


def _available_amount(topology: Topology, wanted: MilliCPU, reserved: CPUSet, allocator: CPUAllocator) -> CPUSet:
    """Return the reserved CPUs, then ordinary ones, and isolated ones only where those do not suffice."""
    rest = -(-wanted // 1000) - len(reserved)
    if rest < 0:
        amount = format_millicpu(wanted)
        msg = f"AvailableResources.CPU: {amount} is fewer than the reserved CPUs ({reserved}); raise it"
        raise PartitionError(msg)
    ordinary = topology.online - topology.isolated - reserved
    chosen = _take(ordinary, min(rest, len(ordinary)), "AvailableResources", allocator)
    isolated = _take(topology.isolated - reserved, rest - len(chosen), "AvailableResources", allocator)
    return reserved | chosen | isolated


def _named(topology: Topology, constraint: CPUConstraint, option: str) -> CPUSet:
    return _there(topology, constraint.cpus or NO_CPUS, option)


def _there(topology: Topology, cpus: CPUSet, option: str) -> CPUSet:
    """Return those of *cpus* that are online."""
    if beyond := cpus - topology.online - topology.offline:
        msg = f"{option}.CPU: this machine has no CPUs {beyond}; it has {topology.online | topology.offline}"
        raise PartitionError(msg)
    return cpus & topology.online


def _first(topology: Topology, cpus: CPUSet, count: int) -> CPUSet:
    """Return the *count* reserved ones of *cpus*."""
    _check_count(cpus, count, "ReservedResources")
    classes = priorities_of(topology)
    order = [classes.of(priority) & cpus for priority in (Priority.NORMAL, Priority.LOW, Priority.HIGH)]
    ranked = (sorted(members, key=lambda cpu: (topology.core_of(cpu).lowest, cpu)) for members in order)
    return CPUSet(islice(chain.from_iterable(ranked), count))


def _check_count(cpus: CPUSet, count: int, option: str) -> None:
    if count > len(cpus):
        msg = (
            f"{option}.CPU: needs {count} CPUs, but {f'only {cpus}' if cpus else 'none'} can be used; lower the amount"
        )
        raise PartitionError(msg)


def _take(cpus: CPUSet, count: int, option: str, allocator: CPUAllocator) -> CPUSet:
    _check_count(cpus, count, option)
    return allocator.take(cpus, count, Priority.NORMAL)
