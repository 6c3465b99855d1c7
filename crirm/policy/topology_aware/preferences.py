"""What a pod's annotations say about the placement of one of its containers."""

from __future__ import annotations

import attrs

from crirm.model.decision import RefusalReason, RefusedError
from crirm.model.topology import MemoryKind
from crirm.model.workload import Pod
from crirm.policy import annotations
from crirm.policy.topology_aware.memory_sets import Kinds

_NAMESPACE = "cri-resource-manager.intel.com"


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

    def wanted(name: str) -> bool | None:
        return annotations.boolean(pod, container, f"{name}.{_NAMESPACE}")

    return Preferences(
        isolated=wanted("prefer-isolated-cpus"),
        shared=wanted("prefer-shared-cpus"),
        reserved=wanted("prefer-reserved-cpus"),
        kinds=_kinds(pod, container),
        cold_s=0,
        hints=wanted("topologyhints") is not False,
    )


def _kinds(pod: Pod, container: str) -> Kinds:
    key = f"memory-type.{_NAMESPACE}"
    value = annotations.lookup(pod, container, key)
    if value is None:
        return None
    return parse_kinds(value, key)


def parse_kinds(value: str, key: str) -> Kinds:
    """Return the kinds of memory in a list such as ``dram,pmem``; ``mixed`` stands for all.

    Raises:
        RefusedError: it names something else.
    """
    kinds: set[MemoryKind] = set()
    for word in value.split(","):
        name = word.strip().upper()
        if name == "MIXED":
            kinds.update(MemoryKind)
        elif name in MemoryKind.__members__:
            kinds.add(MemoryKind[name])
        else:
            known = ", ".join(kind.lower() for kind in MemoryKind.__members__)
            msg = f"annotation {key}: {word.strip()!r} is no kind of memory; write a list of {known}, or mixed"
            raise RefusedError(RefusalReason.BAD_REQUEST, msg)
    return frozenset(kinds)
