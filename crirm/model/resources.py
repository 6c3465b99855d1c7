"""Requests and limits of a container, derived from CRI messages.

The kubelet converts requests and limits to kernel values and sends only those, so this module inverts its arithmetic.
If the pod has the annotation ``intel.com/resources`` (see `resources_annotation`), its exact values replace what
cannot be inverted.
"""

from __future__ import annotations

import attrs

from crirm.model.qos import QoSClass
from crirm.model.quantity import Bytes, MilliCPU

MIN_SHARES = 2
MAX_SHARES = 262144
DEFAULT_PERIOD_US = 100_000
MIN_QUOTA_US = 1000

NO_CPU = MilliCPU(0)
NO_MEMORY = Bytes(0)


@attrs.frozen
class LinuxResources:
    """The part of CRI's ``LinuxContainerResources`` for requests and limits; 0 means "not set" everywhere."""

    cpu_shares: int = 0
    cpu_quota_us: int = 0
    """CPU time per period; negative for "no limit"."""
    cpu_period_us: int = 0
    memory_limit_bytes: int = 0
    oom_score_adj: int = 0


@attrs.frozen
class Requirements:
    """Requests and limits of one container."""

    cpu_request: MilliCPU = NO_CPU
    """0 for none, or for one too small to be told from none."""
    cpu_limit: MilliCPU | None = None
    """None for no limit."""
    memory_request: Bytes = NO_MEMORY
    """0 for none or unknown."""
    memory_limit: Bytes | None = None
    """None for no limit."""
    extended: tuple[tuple[str, int], ...] = ()
    """Extended resources such as ``cmk.intel.com/exclusive-cores`` with their amounts, sorted by name."""
    unpromised_cpu: MilliCPU = NO_CPU
    """Requested by a container that overflows: nothing is reserved for it, but its weight counts."""


def shares_to_millicpu(shares: int) -> MilliCPU:
    """Return the CPU request behind a ``cpu.shares`` value.

    The kubelet rounds down, so rounding up is the exact inverse: every request from 3 m to 256 CPUs comes back as it
    was.

    Args:
        shares: 2..262144, 1024 per CPU; 2 stands for every request from 0 to 2 m and counts as none, and so does
            anything below. 262144 stands for every request from 256 CPUs up and counts as that many.

    Source: kubernetes pkg/kubelet/cm/helpers_linux.go, MilliCPUToShares.
    """
    return MilliCPU(0 if shares <= MIN_SHARES else -(-shares * 1000 // 1024))


def millicpu_to_shares(request: MilliCPU) -> int:
    """Return the ``cpu.shares`` that the kubelet sends for a CPU request.

    Source: kubernetes pkg/kubelet/cm/helpers_linux.go, MilliCPUToShares.
    """
    return min(max(request * 1024 // 1000, MIN_SHARES), MAX_SHARES)


def quota_to_millicpu(quota_us: int, period_us: int) -> MilliCPU | None:
    """Return the CPU limit behind a CFS quota, or None where there is no limit.

    Args:
        quota_us: microseconds of CPU time per period; 0 or less means no limit. 1000 is the kubelet's minimum, so at
            the default period every limit up to 10 m reads as 10 m.
        period_us: microseconds; 0 means the default of 100000.

    Source: kubernetes pkg/kubelet/cm/helpers_linux.go, MilliCPUToQuota.
    """
    if quota_us <= 0:
        return None
    return MilliCPU(-(-quota_us * 1000 // (period_us or DEFAULT_PERIOD_US)))


def millicpu_to_quota(limit: MilliCPU, period_us: int) -> int:
    """Return the CFS quota in microseconds that the kubelet sends for a CPU limit; 0 (none) for a limit of 0.

    Source: kubernetes pkg/kubelet/cm/helpers_linux.go, MilliCPUToQuota.
    """
    return max(limit * (period_us or DEFAULT_PERIOD_US) // 1000, MIN_QUOTA_US) if limit else 0


def oom_score_adj_to_memory_request(oom_score_adj: int, memory_capacity: Bytes) -> Bytes:
    """Return the smallest memory request for which the kubelet gives a Burstable container this ``oom_score_adj``.

    The kubelet keeps one part in a thousand of the machine's memory, so the real request is up to that much larger.
    The lower bound is taken because the scheduler admitted the pod: an estimate must not make crirm refuse what fits.

    Args:
        oom_score_adj: 3..999 for Burstable containers; 999 stands for next to nothing and counts as 0, as does any
            other value.
        memory_capacity: the machine's whole memory.

    Source: kubernetes pkg/kubelet/qos/policy.go, GetContainerOOMScoreAdjust.
    """
    if not 3 <= oom_score_adj < 999:
        return NO_MEMORY
    return Bytes(-(-(1000 - oom_score_adj) * memory_capacity // 1000))


def estimate(resources: LinuxResources, qos: QoSClass, memory_capacity: Bytes) -> Requirements:
    """Return the requests and limits of a container as far as *resources* show them."""
    cpu_request = shares_to_millicpu(resources.cpu_shares)
    cpu_limit = quota_to_millicpu(resources.cpu_quota_us, resources.cpu_period_us)
    if qos is QoSClass.GUARANTEED and resources.cpu_shares >= MAX_SHARES:
        cpu_request = max(cpu_request, cpu_limit or NO_CPU)  # these shares say "256 CPUs or more"
    memory_limit = Bytes(resources.memory_limit_bytes) if resources.memory_limit_bytes > 0 else None
    match qos:
        case QoSClass.GUARANTEED:
            # The kubelet drops the quota of containers with exclusive CPUs; their limit is their request all the same.
            cpu_limit = cpu_request or cpu_limit
            memory_request = memory_limit or NO_MEMORY
        case QoSClass.BURSTABLE:
            memory_request = oom_score_adj_to_memory_request(resources.oom_score_adj, memory_capacity)
        case QoSClass.BEST_EFFORT:
            memory_request = NO_MEMORY
    return Requirements(cpu_request, cpu_limit, _at_most(memory_request, memory_limit), memory_limit)


def with_bound(resources: LinuxResources, cpus: int) -> LinuxResources:
    """Return *resources* of a running container pinned to this many *cpus*, with the quota that these replaced.

    Shares end at 256 CPUs, and containers with exclusive CPUs have no quota: beyond that only the pinning tells.
    """
    if resources.cpu_shares < MAX_SHARES or resources.cpu_quota_us > 0:
        return resources
    period_us = resources.cpu_period_us or DEFAULT_PERIOD_US
    return attrs.evolve(resources, cpu_quota_us=cpus * period_us, cpu_period_us=period_us)


def requirements(
    resources: LinuxResources, qos: QoSClass, memory_capacity: Bytes, annotated: Requirements | None = None
) -> Requirements:
    """Return a container's requests and limits from CRI, refined by its pod's annotation.

    An annotated CPU value counts where it is one that leads to the kernel value sent, or where none was sent.
    Elsewhere the annotation is out of date (the pod was resized) or made up, and what the kubelet says stands. The
    same holds for the memory limit, which CRI carries exactly. The memory request is only in the annotation.

    Args:
        resources: what the kubelet sent, or what the runtime tells of a container that already runs.
        qos: the pod's class.
        memory_capacity: the machine's whole memory.
        annotated: this container's entry in the annotation ``intel.com/resources``.
    """
    told = estimate(resources, qos, memory_capacity)
    if annotated is None:
        return told
    memory_limit = annotated.memory_limit if told.memory_limit is None else told.memory_limit
    return Requirements(
        cpu_request=annotated.cpu_request if _explains_shares(annotated, resources) else told.cpu_request,
        cpu_limit=annotated.cpu_limit if _explains_quota(annotated, resources) else told.cpu_limit,
        memory_request=_at_most(annotated.memory_request or told.memory_request, memory_limit),
        memory_limit=memory_limit,
        extended=annotated.extended,
    )


def _explains_shares(annotated: Requirements, resources: LinuxResources) -> bool:
    return not resources.cpu_shares or millicpu_to_shares(annotated.cpu_request) == resources.cpu_shares


def _explains_quota(annotated: Requirements, resources: LinuxResources) -> bool:
    if annotated.cpu_limit is None:
        return False
    return (
        resources.cpu_quota_us <= 0
        or millicpu_to_quota(annotated.cpu_limit, resources.cpu_period_us) == resources.cpu_quota_us
    )


def _at_most(request: Bytes, limit: Bytes | None) -> Bytes:
    return request if limit is None else min(request, limit)
