"""The QoS class of a pod whose cgroup parent does not show it, derived from the resources of its containers.

A kubelet with ``cgroupsPerQOS: false`` puts pods anywhere, and so do other CRI clients. The OOM score adjustment
still shows the class, since the kubelet derives it from the class:

==============  ==========================================================================================
score           class
==============  ==========================================================================================
1000            BestEffort
2…999           Burstable
-997 and below  Guaranteed; or any class, in a pod that the node cannot do without: requests and limits tell
others          nobody has set it: requests and limits tell
==============  ==========================================================================================

Source: kubernetes pkg/kubelet/qos/policy.go, GetContainerOOMScoreAdjust; pkg/apis/core/v1/helper/qos, ComputePodQOS.
"""

from __future__ import annotations

from typing import Final

import attrs

from crirm.model.qos import QoSClass
from crirm.model.resources import MIN_SHARES, LinuxResources, millicpu_to_shares, quota_to_millicpu
from crirm.model.workload import Pod

BEST_EFFORT_SCORE: Final = 1000
GUARANTEED_SCORE: Final = -997


def classed(pod: Pod, resources: LinuxResources) -> Pod:
    """Return *pod* with its class; where nothing else tells it, it follows from the *resources* of a container."""
    return pod if pod.qos_told else attrs.evolve(pod, qos=class_by(resources))


def class_by(resources: LinuxResources) -> QoSClass:
    """Return the class of a pod with a container that is to have *resources*."""
    score = resources.oom_score_adj
    if score == BEST_EFFORT_SCORE:
        return QoSClass.BEST_EFFORT
    if 1 < score < BEST_EFFORT_SCORE:
        return QoSClass.BURSTABLE
    if _limits_are_requests(resources, score):
        return QoSClass.GUARANTEED
    asks = resources.cpu_shares > MIN_SHARES or resources.cpu_quota_us > 0 or resources.memory_limit_bytes > 0
    return QoSClass.BURSTABLE if asks else QoSClass.BEST_EFFORT


def _limits_are_requests(resources: LinuxResources, score: int) -> bool:
    """Return whether limits equal requests; without quotas the score of the kubelet still shows it."""
    if resources.cpu_shares <= MIN_SHARES or resources.memory_limit_bytes <= 0:
        return False
    limit = quota_to_millicpu(resources.cpu_quota_us, resources.cpu_period_us)
    if limit is None:
        return score <= GUARANTEED_SCORE
    return millicpu_to_shares(limit) == resources.cpu_shares
