"""Remedies: changes of a refused request with which it would fit, in the state in which it was refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from crirm.model.qos import QoSClass
from crirm.model.quantity import Bytes, MilliCPU, format_millicpu
from crirm.model.resources import NO_CPU, NO_MEMORY, Requirements
from crirm.model.workload import Container, Pod

_MIB: Final = 1 << 20


@attrs.frozen
class Remedy:
    """One change, or two together; the text continues the sentence "it would fit".

    Args:
        text: for people, such as ``with 2 CPUs fewer``.
        cpu: thousandths of a CPU that are requested less.
        memory: bytes that are requested less.
        annotations: of the pod, that change: the new value, or None for one that is removed.
    """

    text: str
    cpu: MilliCPU = NO_CPU
    memory: Bytes = NO_MEMORY
    annotations: Mapping[str, str | None] = attrs.field(factory=dict, hash=False)


def less(cpu: MilliCPU, memory: Bytes) -> Remedy:
    """Return the remedy of requesting that much less."""
    return Remedy(f"with {' and '.join(filter(None, (_cpu_text(cpu), _memory_text(memory))))}", cpu, memory)


def remedied(remedy: Remedy, container: Container, pod: Pod) -> tuple[Container, Pod]:
    """Return *container* and its *pod* as they are with the change."""
    if remedy.annotations:
        kept = {key: value for key, value in pod.annotations.items() if key not in remedy.annotations}
        new = {key: value for key, value in remedy.annotations.items() if value is not None}
        pod = attrs.evolve(pod, annotations={**kept, **new})
    fewer = _fewer(container.requirements, remedy, guaranteed=pod.qos is QoSClass.GUARANTEED)
    return attrs.evolve(container, requirements=fewer), pod


def _fewer(asked: Requirements, remedy: Remedy, *, guaranteed: bool) -> Requirements:
    """Return *asked* with smaller requests; the limits of a Guaranteed pod are its requests."""
    cpu, memory = MilliCPU(asked.cpu_request - remedy.cpu), Bytes(max(asked.memory_request - remedy.memory, 0))
    if not guaranteed:
        return attrs.evolve(asked, cpu_request=cpu, memory_request=memory)
    limit = None if asked.memory_limit is None else Bytes(asked.memory_limit - remedy.memory)
    cpu_limit = None if asked.cpu_limit is None else cpu
    return attrs.evolve(asked, cpu_request=cpu, cpu_limit=cpu_limit, memory_request=memory, memory_limit=limit)


def _cpu_text(cpu: MilliCPU) -> str:
    if not cpu:
        return ""
    if cpu % 1000:
        return f"{format_millicpu(cpu)} less CPU"
    return f"{format_millicpu(cpu)} CPU{'' if cpu == 1000 else 's'} fewer"


def _memory_text(memory: Bytes) -> str:
    if not memory:
        return ""
    mebibytes = -(-memory // _MIB)
    return f"{mebibytes}Mi less memory" if mebibytes % 1024 else f"{mebibytes // 1024}Gi less memory"
