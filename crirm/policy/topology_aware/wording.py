"""Requests and comparisons in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, assert_never

from crirm.model.claims import all_cpus
from crirm.model.quantity import MilliCPU, format_millicpu
from crirm.policy.topology_aware.choice import Lack
from crirm.policy.topology_aware.memory_sets import Kinds
from crirm.policy.topology_aware.ranking import Rule
from crirm.policy.topology_aware.request import CPUClass, CPURequest, Request

_LOST: Final[Mapping[Rule, str]] = {
    Rule.MEMORY: "too little memory for all that the container may use; {winner} has enough",
    Rule.RESERVED_SUFFICE: "too few reserved CPUs; {winner} has enough",
    Rule.ISOLATED_SUFFICE: "too few isolated CPUs; {winner} has enough",
    Rule.SHARED_SUFFICE: "no shared CPUs to spare; {winner} has some",
    Rule.POD_MEMBERS: "holds {own} of the pod's containers; {winner} holds {other}",
    Rule.POD_FITS: "has no room for the whole pod; {winner} has",
    Rule.AFFINITY: "affinity to other containers is {own}; {winner} has {other}",
    Rule.KINDS: "lacks a requested kind of memory; {winner} has all",
    Rule.HINTS: "nearness to all devices and disks is {own}; {winner} has {other}",
    Rule.SOME_HINTS: "nearness to some devices and disks is {own}; {winner} has {other}",
    Rule.DEPTH: "higher in the pool tree than {winner} (depth {own}, not {other})",
    Rule.STAYING: "does not contain the container's current pool; {winner} does",
    Rule.RESERVED_EACH: "would leave {own} per container; {winner} leaves {other}",
    Rule.ISOLATED_LEFT: "would leave {own}; {winner} leaves {other}",
    Rule.ISOLATED_FULLER: "would leave {own}; {winner} leaves {other}",
    Rule.SHARED_LEFT: "would leave {own}; {winner} leaves {other}",
    Rule.SPARE_TAKEN: "would keep {own} more from exclusive use; {winner} keeps {other}",
    Rule.WHOLE: "its CPUs would be of several NUMA nodes; {winner} has one with so many",
    Rule.FULLER: "would leave {own} that nobody needs; {winner} leaves {other}",
    Rule.CACHES: "its CPUs would be of {own}; those of {winner} are of {other}",
    Rule.CORES: "its CPUs would be of {own}; those of {winner} are of {other}",
    Rule.LARGEST: "would leave at most {own} to be had in one place; {winner} leaves {other}",
    Rule.EMPTIER: "would leave {own} that nobody needs; {winner} leaves {other}",
    Rule.COLOCATED: "already holds {own}; {winner} holds {other}",
    Rule.NUMBER: "tie with {winner}, which comes first",
}
"""Why a pool lost under each rule."""

_UNITS = ("Ki", "Mi", "Gi", "Ti")


def millicpu_text(amount: int) -> str:
    """Return an amount of CPU as Kubernetes writes it."""
    return format_millicpu(MilliCPU(amount))


def size_text(amount: int) -> str:
    """Return an amount of memory with three digits or so, such as ``1.5Gi``."""
    size, unit = float(amount), ""
    for larger in _UNITS:
        if abs(size) < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.3g}{unit}" if size < 1000 else f"{size:.0f}{unit}"


def kinds_text(kinds: Kinds) -> str:
    """Return kinds of memory for people."""
    return "any" if kinds is None else " and ".join(sorted(kind.value for kind in kinds))


def cpu_text(cpu: CPURequest) -> str:
    """Return the requested CPUs."""
    if cpu.cls is CPUClass.RESERVED:
        return f"{millicpu_text(cpu.part)} of the reserved CPUs" if cpu.part else "reserved CPUs"
    if not cpu.full:
        return f"{millicpu_text(cpu.part)} of shared CPUs" if cpu.part else "shared CPUs"
    isolated = " (isolated if possible)" if cpu.isolate else ""
    exclusive = f"{cpu.full} exclusive CPU{'s' if cpu.full > 1 else ''}{' (isolated)' if cpu.require else isolated}"
    if cpu.threads > 1:
        exclusive += f" on {'cores of their' if cpu.full > 1 else 'a core of its'} own"
    return f"{exclusive} and {millicpu_text(cpu.part)} of shared CPUs" if cpu.part else exclusive


def asked_text(request: Request) -> str:
    """Return what a container requests."""
    memory = request.memory
    parts = [f"the CPUs of its DRA claims ({all_cpus(request.dra)})" if request.dra else cpu_text(request.cpu)]
    if memory.use or memory.kinds is not None:
        amount = f"up to {size_text(memory.use)} of {kinds_text(memory.kinds)} memory"
        parts.append(amount if memory.use else f"{kinds_text(memory.kinds)} memory")
    if memory.cold is not None:
        parts.append(f"a cold start of {memory.cold_s:g} s on {kinds_text(memory.cold)}")
    return "; ".join(parts)


def lost_text(rule: Rule, own: float, other: float, winner: str) -> str:
    """Return why a pool with the value *own* under *rule* lost to *winner*, which has *other*."""
    mine, its = _AMOUNTS.get(rule, _number), _SHORT_AMOUNTS.get(rule, _number)
    return _LOST[rule].format(own=mine(own), other=its(other), winner=winner)


def lack_text(lack: Lack, own: int, other: int, winner: str) -> str:
    """Return why a pool with the value *own* cannot hold a container, while *winner*, which has *other*, can."""
    match lack:
        case Lack.HINTS:
            return "not next to all devices and disks"
        case Lack.KINDS:
            return f"has no memory of the requested kinds; {winner} has"
        case Lack.EXCLUSIVE:
            return f"too few exclusive CPUs: {own}; {winner} has {other}"
        case Lack.ISOLATED:
            return f"too few isolated CPUs: {own}; {winner} has {other}"
        case Lack.SHARED:
            return f"too few shared CPUs: {millicpu_text(own)}; {winner} has {millicpu_text(other)}"
        case Lack.MEMORY:
            return f"too little memory: {size_text(own)}; {winner} has {size_text(other)}"
        case never:
            assert_never(never)


def _cpus(millicpu: float, kind: str) -> str:
    """Return for example ``5 shared CPUs``, or ``1500m of shared CPUs`` where they are not whole ones."""
    if millicpu % 1000:
        return f"{_amount(millicpu)} of {kind} CPUs"
    return f"{_amount(millicpu)} {kind} CPU{'' if millicpu == 1000 else 's'}"


def _count(value: float, what: str) -> str:
    return f"{value:g} {what}{'' if value == 1 else 's'}"


def _amount(millicpu: float) -> str:
    return millicpu_text(int(millicpu))


def _number(value: float) -> str:
    return f"{value:.3g}"


_AMOUNTS: Final[Mapping[Rule, Callable[[float], str]]] = {
    Rule.RESERVED_EACH: lambda value: _cpus(value, "reserved"),
    Rule.ISOLATED_LEFT: lambda value: _cpus(1000 * value, "isolated"),
    Rule.ISOLATED_FULLER: lambda value: _cpus(1000 * value, "isolated"),
    Rule.SHARED_LEFT: lambda value: _cpus(value, "shared"),
    Rule.SPARE_TAKEN: lambda value: _count(value, "CPU"),
    Rule.FULLER: lambda value: _cpus(1000 * value, "shared"),
    Rule.CACHES: lambda value: _count(value, "level 3 cache"),
    Rule.CORES: lambda value: _count(value, "core"),
    Rule.LARGEST: lambda value: _cpus(1000 * value, "exclusive"),
    Rule.EMPTIER: lambda value: _cpus(1000 * value, "shared"),
    Rule.COLOCATED: lambda value: _count(value, "container"),
}
_SHORT_AMOUNTS: Final[Mapping[Rule, Callable[[float], str]]] = {Rule.RESERVED_EACH: _amount, Rule.SHARED_LEFT: _amount}
