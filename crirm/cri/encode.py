"""Assignments as bytes: written into the kubelet's requests, and as requests of our own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from crirm.cri import numbers
from crirm.cri.message import edited

if TYPE_CHECKING:
    from crirm.model.decision import Adjustment
    from crirm.model.resources import LinuxResources
    from crirm.model.workload import ContainerId, PodId

_CPU_PERIOD: Final = numbers.LinuxContainerResources.cpu_period
_CPU_QUOTA: Final = numbers.LinuxContainerResources.cpu_quota
_CPU_SHARES: Final = numbers.LinuxContainerResources.cpu_shares
_MEMORY_LIMIT: Final = numbers.LinuxContainerResources.memory_limit_in_bytes
_OOM_SCORE_ADJ: Final = numbers.LinuxContainerResources.oom_score_adj
_CPUSET_CPUS: Final = numbers.LinuxContainerResources.cpuset_cpus
_CPUSET_MEMS: Final = numbers.LinuxContainerResources.cpuset_mems

_RESOURCES_IN_CREATE: Final = (
    numbers.CreateContainerRequest.config,
    numbers.ContainerConfig.linux,
    numbers.LinuxContainerConfig.resources,
)
_RESOURCES_IN_UPDATE: Final = (numbers.UpdateContainerResourcesRequest.linux,)
_RESOURCES_IN_STATUS: Final = (
    numbers.ContainerStatusResponse.status,
    numbers.ContainerStatus.resources,
    numbers.ContainerResources.linux,
)
_UPDATED: Final = numbers.UpdateContainerResourcesRequest.container_id
_ASKED_POD: Final = numbers.PodSandboxStatusRequest.pod_sandbox_id
_ASKED_CONTAINER: Final = numbers.ContainerStatusRequest.container_id
_VERBOSE_POD: Final = numbers.PodSandboxStatusRequest.verbose
_VERBOSE_CONTAINER: Final = numbers.ContainerStatusRequest.verbose
_MODULUS: Final = 1 << 64


def adjusted_create(request: bytes, adjustment: Adjustment) -> bytes:
    """Return a CreateContainerRequest with the assigned resources, all other bytes unchanged."""
    return edited(request, _RESOURCES_IN_CREATE, _fields(adjustment))


def adjusted_update(request: bytes, adjustment: Adjustment) -> bytes:
    """Return an UpdateContainerResourcesRequest with the assigned resources, all other bytes unchanged."""
    return edited(request, _RESOURCES_IN_UPDATE, _fields(adjustment))


def update_request(container: ContainerId, asked: LinuxResources, adjustment: Adjustment) -> bytes:
    """Return an UpdateContainerResourcesRequest that gives a container its assignment.

    Args:
        container: the runtime's id.
        asked: the kubelet's values; sent again, since CRI-O treats missing ones as 0.
        adjustment: the assigned values.
    """
    request = edited(b"", (), {_UPDATED: container})
    return edited(request, _RESOURCES_IN_UPDATE, _asked(asked) | _fields(adjustment))


def pod_question(pod: PodId) -> bytes:
    """Return a verbose PodSandboxStatusRequest."""
    return edited(b"", (), {_ASKED_POD: pod, _VERBOSE_POD: True})


def container_question(container: ContainerId) -> bytes:
    """Return a verbose ContainerStatusRequest."""
    return edited(b"", (), {_ASKED_CONTAINER: container, _VERBOSE_CONTAINER: True})


def status_as_asked(answer: bytes, asked: LinuxResources, adjustment: Adjustment) -> bytes:
    """Return a ContainerStatusResponse that shows the kubelet's own values where crirm has set others.

    The kubelet compares CPU shares, quota, period and memory limit with its own values, and keeps resizing until they
    are equal. Source: kubernetes pkg/kubelet/kuberuntime, toKubeContainerResources.
    """
    fields: dict[int, int | str] = {}
    if adjustment.cpu_shares is not None and asked.cpu_shares:
        fields[_CPU_SHARES] = asked.cpu_shares
    if adjustment.cpu_quota_us is not None and asked.cpu_quota_us:
        fields[_CPU_QUOTA] = asked.cpu_quota_us % _MODULUS
    return edited(answer, _RESOURCES_IN_STATUS, fields) if fields else answer


def _fields(adjustment: Adjustment) -> dict[int, int | str]:
    fields: dict[int, int | str] = {}
    if adjustment.cpu_shares is not None:
        fields[_CPU_SHARES] = adjustment.cpu_shares
    if adjustment.cpu_quota_us is not None:
        fields[_CPU_QUOTA] = adjustment.cpu_quota_us % _MODULUS
    if adjustment.cpus is not None:
        fields[_CPUSET_CPUS] = str(adjustment.cpus)
    if adjustment.mems is not None:
        fields[_CPUSET_MEMS] = str(adjustment.mems)
    return fields


def _asked(asked: LinuxResources) -> dict[int, int | str]:
    values = {
        _CPU_PERIOD: asked.cpu_period_us,
        _CPU_QUOTA: asked.cpu_quota_us,
        _CPU_SHARES: asked.cpu_shares,
        _MEMORY_LIMIT: asked.memory_limit_bytes,
        _OOM_SCORE_ADJ: asked.oom_score_adj,
    }
    return {number: value % _MODULUS for number, value in values.items() if value}
