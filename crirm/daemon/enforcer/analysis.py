"""What the kernel has of a container beside what was decided, and where the two differ, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from crirm.daemon.placement.kernel import kernel_has
from crirm.model.cpuset import NodeSet
from crirm.model.decision import UNADJUSTED, Adjustment
from crirm.system.cgroup_analysis import Analysis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from crirm.model.decision import State
    from crirm.model.topology import Topology
    from crirm.model.workload import ContainerKey

READS: Final = 3  # of a container that is moved all the time
PRESSED_PERCENT: Final = 10.0
_MIB: Final = 1 << 20


async def analysed(
    state: Callable[[], State], key: ContainerKey, topology: Topology, host_root: Path
) -> dict[str, Any]:
    """Return as JSON what the kernel has of a container, and where it differs from what is decided.

    It is read again where something else was decided meanwhile: the two would be of different times.

    Args:
        state: returns that of now.
        key: of the container.
        topology: the machine.
        host_root: where the host's file systems are.
    """
    found, decided = Analysis(""), UNADJUSTED
    for _ in range(READS):
        before = state()
        found, decided = await kernel_has(host_root, before, key), _decided(state(), key)
        if decided == _decided(before, key):
            break
    return record(found, decided, topology)


def _decided(state: State, key: ContainerKey) -> Adjustment:
    return state.adjustments.get(key, UNADJUSTED)


def record(found: Analysis, decided: Adjustment, topology: Topology) -> dict[str, Any]:
    """Return *found* as JSON, with what differs from the decision."""
    from crirm.replay.moments import far  # noqa: PLC0415 - asked seldom

    memory = found.memory or {}
    there = NodeSet(node for node, amount in memory.items() if amount)
    cpus = found.cpus if found.cpus is not None else decided.cpus
    remote = far(topology, cpus, there) if there else NodeSet()
    remote_bytes = sum(memory[node] for node in remote)
    return {
        "cgroup": found.cgroup,
        "version": found.version,
        "cpus": _text(found.cpus),
        "mems": _text(found.mems),
        "memory_bytes": {str(node): amount for node, amount in memory.items()},
        "memory_source": found.memory_source,
        "remote_nodes": str(remote),
        "remote_bytes": remote_bytes,
        "pressure_percent": found.pressure and attrs.asdict(found.pressure),
        "throttling": found.throttling and attrs.asdict(found.throttling),
        "missing": list(found.missing),
        "findings": list(findings(found, decided, remote)),
    }


def findings(found: Analysis, decided: Adjustment, remote: NodeSet) -> Iterator[str]:
    """Yield where the kernel and the decision differ, and what slows the container, a sentence each.

    Args:
        found: in the kernel.
        decided: by crirm.
        remote: NUMA nodes with memory of the container that are not near its CPUs.
    """
    for what, assigned, effective in (
        ("CPUs", decided.cpus, found.cpus),
        ("memory nodes", decided.mems, found.mems),
    ):
        if assigned is not None and effective is not None and str(assigned) != str(effective):
            yield f"the kernel lets it use {what} {effective}, not {assigned} as assigned"
    memory = found.memory or {}
    total = sum(memory.values())
    outside = [node for node in memory if decided.mems is not None and memory[node] and node not in decided.mems]
    if left := sum(memory[node] for node in outside):
        yield f"{share(left, total)} is on NUMA node {NodeSet(outside)}, where it may not allocate now: not migrated"
    if distant := sum(memory[node] for node in remote):
        yield f"{share(distant, total)} is remote: on NUMA node {remote}, not near its CPUs"
    if found.pressure is not None and found.pressure.avg60 >= PRESSED_PERCENT:
        yield f"it waited for a CPU {found.pressure.avg60:g} % of the last minute"
    if found.throttling is not None and found.throttling.throttled:
        times = found.throttling
        share_text = f"{times.throttled} of {times.periods} periods, {times.throttled_us / 1e6:.3g} s in all"
        yield f"its CPU limit stopped it in {share_text}"


def share(part: int, whole: int) -> str:
    """Return an amount of memory, and its share of the whole."""
    return f"{part / _MIB:.3g} MiB of its memory ({100 * part / whole:.0f} %)"


def _text(ids: object) -> str | None:
    return None if ids is None else str(ids)
