"""Containers whose limits are those of their pod (pod-level resources, Kubernetes 1.32 and later, stable in 1.37).

What the kubelet sends for a container in a pod with ``spec.resources``:

==================  ==================================================================================================
of the container    value
==================  ==================================================================================================
CPU weight          of its own request; without one, of its own CPU limit; without either, of the **pod's** CPU limit
CFS quota           of its own CPU limit, else of the **pod's**
memory limit        its own, else the **pod's**
OOM score           Burstable: of its own memory request and an equal part of what the pod's leaves over
QoS class           decided at the pod's level (its cgroup parent), so containers without requests may be Guaranteed
==================  ==================================================================================================

The sandbox's ``linux.resources`` are the pod's own requests and limits, or else the sum of its containers' (the largest
init container if that is more), without overhead. So two containers without limits of their own in a Guaranteed pod of
16 CPUs both look as if they requested 16. Nothing in CRI says that they do not, and a single one is indistinguishable
from an ordinary container that is alone in its pod. Hence:

* the first such container gets what the pod has, like one that is alone in its pod;
* together, the containers of a pod are never promised more than the pod: one whose limits are the pod's requests what
  the others of its pod leave over. That may be exclusive CPUs (beside a sidecar with limits of its own), a share, or
  nothing; without a whole CPU it runs on shared CPUs, with the weight that the kubelet sent. So one pod may have both;
* of a container with DRA claims, the CPUs of these count, and nothing else.

Kubernetes does the same where its resource managers know pods (enhancement 5526, scope container): exclusive CPUs for
containers with limits of their own, the node's shared CPUs for the others.

That is decided when a container is first created. Runtimes before containerd 2.1 and CRI-O 1.33 do not tell a pod's new
sum when a container is resized, so afterwards an ordinary container may seem to have the limits of its pod. So resizes
and later attempts follow what was decided first.

An init container that has ended requests nothing; until crirm has learned of its end, the main container seems to have
the limits of the pod, so it is *cramped*, and crirm looks for containers that have ended.

Source: kubernetes pkg/kubelet/kuberuntime/kuberuntime_container_linux.go (getCPULimit, getMemoryLimit,
generateLinuxContainerResources, calculateLinuxResources), kuberuntime_sandbox_linux.go (calculateSandboxResources),
pkg/kubelet/qos/policy.go, pkg/kubelet/cm/cpumanager/policy_static.go (guaranteedCPUs); enhancements 2837 and 5526.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from crirm.model.claims import all_cpus
from crirm.model.quantity import Bytes, MilliCPU, format_millicpu
from crirm.model.resources import (
    LinuxResources,
    Requirements,
    millicpu_to_shares,
    quota_to_millicpu,
    shares_to_millicpu,
)
from crirm.model.workload import Container, ContainerState, Workload
from crirm.policy.api import Placement

_ENDED = ContainerState.EXITED


def within_pod(workload: Workload, container: Container) -> Container:
    """Return *container* with no more requested than its pod has left, if its limits are those of its pod.

    Args:
        workload: all pods and containers.
        container: as the kubelet asks for it; one whose requests are known otherwise (annotation, override) stays.
    """
    pod = workload.pods.get(container.pod)
    if pod is None or pod.resources is None or container.claims:
        return container
    cpu, memory = _has_cpu_of(pod.resources, container), _has_memory_of(pod.resources, container)
    if not cpu and not memory:
        return container
    fellows = [one for one in workload.containers.values() if one.pod == container.pod and one.key != container.key]
    before = [one for one in fellows if one.name == container.name]
    if before and not any(map(is_narrowed, before)):
        return container
    others = [one for one in fellows if one.name != container.name and one.state is not _ENDED]
    wanted = container.requirements
    if cpu:
        wanted = _with_cpu(wanted, pod.resources, others)
    if memory:
        wanted = _with_memory(wanted, pod.resources, others)
    return container if wanted == container.requirements else attrs.evolve(container, requirements=wanted)


def is_narrowed(container: Container) -> bool:
    """Return whether less is requested for a container than the kubelet's values say, since its pod had no more."""
    wanted, limit = container.requirements, container.resources.memory_limit_bytes
    return wanted.unpromised_cpu > 0 or (wanted.memory_limit is not None and 0 < limit != wanted.memory_limit)


def resized_within_pod(workload: Workload, old: Container, new: Container) -> Container:
    """Return the container *new*, that *old* is resized to, likewise; one that has had limits of its own keeps them."""
    return within_pod(workload, new) if is_narrowed(old) else new


def narrowed(placement: Placement, asked: Container, container: Container) -> Placement:
    """Return the *placement* of a container for which less was requested than *asked*, with a note that says so."""
    if container is asked:
        return placement
    told = ["its limits are those of its pod, which others of the pod use too"]
    if container.requirements.cpu_request != asked.requirements.cpu_request:
        told.append(f"CPU request left for it: {format_millicpu(container.requirements.cpu_request)}")
    if container.requirements.memory_limit != asked.requirements.memory_limit:
        told.append(f"memory left for it: {container.requirements.memory_limit or 0} bytes")
    trail = placement.trail and attrs.evolve(placement.trail, notes=(*placement.trail.notes, "; ".join(told)))
    return attrs.evolve(placement, trail=trail, cramped=True)


def _has_cpu_of(pod: LinuxResources, container: Container) -> bool:
    """Return whether a container's CPU weight may be that of its pod's limit, and is all that tells its request."""
    own, limit = container.resources, quota_to_millicpu(pod.cpu_quota_us, pod.cpu_period_us)
    shares = pod.cpu_shares if limit is None else millicpu_to_shares(limit)
    known = container.requirements.cpu_request == shares_to_millicpu(own.cpu_shares) > 0
    alike = own.cpu_quota_us <= 0 or pod.cpu_quota_us <= 0 or own.cpu_quota_us == pod.cpu_quota_us
    return known and alike and own.cpu_shares == shares


def _has_memory_of(pod: LinuxResources, container: Container) -> bool:
    limit = container.requirements.memory_limit
    return limit is not None and limit > 0 and limit == pod.memory_limit_bytes == container.resources.memory_limit_bytes


def _with_cpu(wanted: Requirements, pod: LinuxResources, others: Iterable[Container]) -> Requirements:
    taken = sum(1000 * len(all_cpus(one.claims)) or one.requirements.cpu_request for one in others)
    request = MilliCPU(max(min(wanted.cpu_request, shares_to_millicpu(pod.cpu_shares) - taken), 0))
    if not taken or request == wanted.cpu_request:
        return wanted
    unpromised = MilliCPU(wanted.unpromised_cpu + wanted.cpu_request - request)
    limit = wanted.cpu_limit and request
    return attrs.evolve(wanted, cpu_request=request, cpu_limit=limit or None, unpromised_cpu=unpromised)


def _with_memory(wanted: Requirements, pod: LinuxResources, others: Iterable[Container]) -> Requirements:
    taken = sum(max(one.requirements.memory_limit or 0, one.requirements.memory_request) for one in others)
    left = Bytes(max(pod.memory_limit_bytes - taken, 0))
    if not taken:
        return wanted
    return attrs.evolve(wanted, memory_request=min(wanted.memory_request, left), memory_limit=left)
