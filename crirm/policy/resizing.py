"""Which exclusive CPUs a container has after a resize.

The CPUs that it was created with, its *first* ones, are the last that it gives back: it may have pinned its threads to
them. One that shrinks keeps as many of these as it may, and of the others those that make up whole cores with what it
keeps. One that grows keeps all, and gets CPUs of the innermost surroundings that have room: of its own cores, caches,
NUMA nodes, dies and packages, in this order.

Source: Kubernetes enhancement 5554 (in-place resize with the static CPU manager). It refuses to go below the first
CPUs; crirm does not, since the kubelet has admitted the resize already.
"""

from __future__ import annotations

from collections.abc import Callable

from crirm.model.cpuset import CPUSet
from crirm.policy.cpu_allocator import CPUAllocator
from crirm.policy.priorities import Priority

Take = Callable[[CPUSet, int, CPUSet], CPUSet]
"""Takes so many CPUs out of a set, near others."""


def kept_of(take: Take, own: CPUSet, first: CPUSet, count: int) -> CPUSet:
    """Return the CPUs that a container goes on using when it is to have *count*.

    Args:
        take: chooses among CPUs.
        own: what it has.
        first: what it was created with; whatever of these it has no more does not count.
        count: how many it is to have, more or fewer.
    """
    first &= own
    if count >= len(own):
        return own
    if count <= len(first):
        return take(first, count, CPUSet())
    return first | take(own - first, count - len(first), first)


def grown(
    allocator: CPUAllocator, free: CPUSet, count: int, own: CPUSet, may: Callable[[CPUSet], bool] | None = None
) -> CPUSet | None:
    """Return *count* CPUs out of *free* for a container that has *own*, of surroundings as small as possible.

    Args:
        allocator: of the machine.
        free: CPUs to choose from.
        count: how many.
        own: exclusive CPUs of the container.
        may: whether these CPUs can be spared; None: all can.

    Returns:
        None if no surroundings have so many that can be spared.
    """
    for around in allocator.surroundings(own):
        near = free & around
        if len(near) >= count:
            cpus = allocator.take(near, count, Priority.HIGH, own)
            if may is None or may(cpus):
                return cpus
    return None


def first_after(first: CPUSet, now: CPUSet) -> CPUSet:
    """Return what counts as the first CPUs of a container that has *now*: all of these if it has none of the old."""
    return first & now or now
