"""Requests, grants and refusals in words."""

from __future__ import annotations

from crirm.model.quantity import MilliCPU, format_millicpu
from crirm.policy.topology_aware.memory_sets import Kinds
from crirm.policy.topology_aware.request import CPUClass, CPURequest, Request

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
    """Return the CPUs that are wanted."""
    if cpu.cls is CPUClass.RESERVED:
        return f"{millicpu_text(cpu.part)} of the reserved CPUs" if cpu.part else "a place on the reserved CPUs"
    if not cpu.full:
        return f"{millicpu_text(cpu.part)} of shared CPUs" if cpu.part else "a place on shared CPUs"
    exclusive = (
        f"{cpu.full} exclusive CPU{'s' if cpu.full > 1 else ''}{', isolated if possible' if cpu.isolate else ''}"
    )
    return f"{exclusive}, and {millicpu_text(cpu.part)} of shared CPUs" if cpu.part else exclusive


def asked_text(request: Request) -> str:
    """Return what a container asks for."""
    memory = request.memory
    parts = [cpu_text(request.cpu)]
    if memory.use or memory.kinds is not None:
        amount = f"up to {size_text(memory.use)} of {kinds_text(memory.kinds)} memory"
        parts.append(amount if memory.use else f"{kinds_text(memory.kinds)} memory")
    if memory.cold is not None:
        parts.append(f"a cold start of {memory.cold_s:g} s on {kinds_text(memory.cold)}")
    return "; ".join(parts)
