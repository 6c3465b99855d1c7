"""What a move is: one container that is placed again, and over how much of the machine it extends."""

from __future__ import annotations

import attrs

from crirm.model.workload import ContainerKey
from crirm.policy.topology_aware.choice import Comparison
from crirm.policy.topology_aware.state import PolicyState


@attrs.frozen(order=True)
class Extent:
    """Over how many NUMA nodes a container extends."""

    cpus: int
    memory: int

    def within(self, other: Extent) -> bool:
        """Whether neither is more than in *other*."""
        return self.cpus <= other.cpus and self.memory <= other.memory


@attrs.frozen
class Relocation:
    """One container that is placed again.

    Args:
        key: which.
        choice: among the pools, without the container.
        after: the state in which it has its new place.
        bytes: memory that may have to move.
        new: the request of the new container for which it made room, and the choice of that one's place.
    """

    key: ContainerKey
    choice: Comparison
    after: PolicyState
    bytes: int
    new: Comparison | None = None
