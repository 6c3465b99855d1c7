"""What a pod's annotations say about the placement of one of its containers."""

from __future__ import annotations

import attrs

from crirm.model.workload import Pod
from crirm.policy import annotations
from crirm.policy.topology_aware.memory_sets import Kinds


@attrs.frozen
class Preferences:
    """What a pod prefers for one container; None where it does not say.

    Args:
        isolated: kernel-isolated CPUs for exclusive use.
        shared: shared CPUs rather than exclusive ones.
        reserved: the CPUs of reserved namespaces.
        kinds: kinds of memory.
        cold_s: seconds to run on slow memory after the start; 0 for no cold start.
        hints: whether the container is to be near the devices and disks that it uses.
    """

    isolated: bool | None = None
    shared: bool | None = None
    reserved: bool | None = None
    kinds: Kinds = None
    cold_s: float = 0
    hints: bool = True


def preferences(pod: Pod, container: str) -> Preferences:
    """Return what *pod* prefers for the container with this name.

    Raises:
        RefusedError: an annotation makes no sense.
    """
    return Preferences(
        isolated=annotations.boolean(pod, container, annotations.PREFER_ISOLATED_CPUS),
        shared=annotations.boolean(pod, container, annotations.PREFER_SHARED_CPUS),
        reserved=annotations.boolean(pod, container, annotations.PREFER_RESERVED_CPUS),
        kinds=annotations.memory_kinds(pod, container),
        cold_s=annotations.cold_start_s(pod, container) or 0,
        hints=annotations.boolean(pod, container, annotations.TOPOLOGY_HINTS) is not False,
    )
