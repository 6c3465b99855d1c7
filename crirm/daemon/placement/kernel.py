"""What the kernel has of a container: read in a thread, and given up where the kernel does not answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from crirm.system.cgroup_analysis import Analysis, analyse
from crirm.system.cgroup_find import Place

if TYPE_CHECKING:
    from pathlib import Path

    from crirm.model.decision import State
    from crirm.model.workload import ContainerKey

WITHIN_S: Final = 5.0  # numa_maps of a process that has hundreds of GiB takes seconds
READERS: Final = trio.CapacityLimiter(2)  # others need threads too


async def kernel_has(host_root: Path, state: State, key: ContainerKey) -> Analysis:
    """Return what the kernel has of a container; what it does not tell is named.

    Args:
        host_root: where the host's file systems are.
        state: that knows where the container is.
        key: of the container.
    """
    container = state.workload.containers.get(key)
    if container is None or not container.id:
        return Analysis("", missing=("the container does not exist any more, or not yet",))
    place = Place(state.workload.pod_of(container).cgroup_parent, container.id)
    with trio.move_on_after(WITHIN_S):
        return await trio.to_thread.run_sync(analyse, host_root, place, abandon_on_cancel=True, limiter=READERS)
    return Analysis("", missing=(f"the kernel did not answer within {WITHIN_S:g} s",))
