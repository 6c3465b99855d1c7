"""What the policy ``static`` remembers, and how it changes."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from crirm.model.cpuset import CPUSet
from crirm.model.workload import ContainerKey
from crirm.policy.partition import Partition


@attrs.frozen
class StaticState:
    """The CPUs of all containers.

    Args:
        free: the ordinary CPUs that are not exclusive, without the reserved ones.
        isolated: the free kernel-isolated CPUs.
        exclusive: the exclusive CPUs of containers.
        sharing: containers on shared CPUs.
    """

    free: CPUSet
    isolated: CPUSet
    exclusive: Mapping[ContainerKey, CPUSet] = attrs.field(factory=dict)
    sharing: frozenset[ContainerKey] = frozenset()

    def plus_exclusive(self, key: ContainerKey, cpus: CPUSet) -> StaticState:
        """Return the state in which *key*, which had nothing, has *cpus* to itself."""
        exclusive = {**self.exclusive, key: cpus}
        return attrs.evolve(self, free=self.free - cpus, isolated=self.isolated - cpus, exclusive=exclusive)

    def plus_sharing(self, key: ContainerKey) -> StaticState:
        """Return the state in which *key* runs on the shared CPUs."""
        return attrs.evolve(self, sharing=self.sharing | {key})

    def without(self, key: ContainerKey, partition: Partition) -> StaticState:
        """Return the state in which *key* has nothing."""
        own = self.exclusive.get(key)
        if own is None:
            return attrs.evolve(self, sharing=self.sharing - {key}) if key in self.sharing else self
        return StaticState(
            free=self.free | own & partition.sharable,
            isolated=self.isolated | own & partition.isolated,
            exclusive={other: cpus for other, cpus in self.exclusive.items() if other != key},
            sharing=self.sharing,
        )
