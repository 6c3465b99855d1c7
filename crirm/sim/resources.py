"""Linux resources of containers: merging an update."""

from __future__ import annotations

from crirm.cri.proto.runtime.v1 import LinuxContainerResources

_PLAIN_FIELDS = (
    "cpu_period",
    "cpu_quota",
    "cpu_shares",
    "memory_limit_in_bytes",
    "oom_score_adj",
    "cpuset_cpus",
    "cpuset_mems",
    "memory_swap_limit_in_bytes",
)


def merge_resources(old: LinuxContainerResources, update: LinuxContainerResources) -> LinuxContainerResources:
    """Return *old* with every field that *update* sets; a zero or an empty string sets nothing.

    Neither argument is changed. Unknown fields of *old* survive; those of *update* replace nothing and are dropped.
    """
    merged = LinuxContainerResources().parse(bytes(old))
    for name in _PLAIN_FIELDS:
        if value := getattr(update, name):
            setattr(merged, name, value)
    if update.hugepage_limits:
        merged.hugepage_limits = list(update.hugepage_limits)
    merged.unified = {**merged.unified, **update.unified}
    if update.memory_limit_in_bytes and not update.memory_swap_limit_in_bytes:
        merged.memory_swap_limit_in_bytes = update.memory_limit_in_bytes  # no swap beside the memory, as in containerd
    return merged
