"""What the policy ``static`` remembers, and how it changes."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from crirm.model.claims import CPUClaim, all_cpus
from crirm.model.cpuset import NO_CPUS, CPUSet
from crirm.model.workload import ContainerKey
from crirm.policy.dra import ClaimCounts, with_claims
from crirm.policy.partition import Partition
from crirm.policy.resizing import first_after


@attrs.frozen
class StaticState:
    """The CPUs of all containers.

    Args:
        free: the ordinary CPUs that are not exclusive, without the reserved ones.
        isolated: the free kernel-isolated CPUs.
        exclusive: the exclusive CPUs of containers.
        sharing: containers on shared CPUs.
        dra: the claims of a DRA driver that containers run on.
        first: the exclusive CPUs that resized containers were created with; see `resizing`.
    """

    free: CPUSet
    isolated: CPUSet
    exclusive: Mapping[ContainerKey, CPUSet] = attrs.field(factory=dict)
    sharing: frozenset[ContainerKey] = frozenset()
    dra: Mapping[ContainerKey, tuple[CPUClaim, ...]] = attrs.field(factory=dict)
    first: Mapping[ContainerKey, CPUSet] = attrs.field(factory=dict)

    @property
    def own(self) -> Mapping[ContainerKey, CPUSet]:
        """What containers have to themselves, those with one claim together."""
        return {**self.exclusive, **{key: all_cpus(claims) for key, claims in self.dra.items()}}

    @property
    def claim_counts(self) -> ClaimCounts:
        """How many containers run on each claim."""
        counts: ClaimCounts = {}
        for claims in self.dra.values():
            counts = with_claims(counts, claims)
        return counts

    def plus_claims(self, key: ContainerKey, claims: tuple[CPUClaim, ...]) -> StaticState:
        """Return the state in which *key*, which had nothing, runs on *claims*."""
        cpus, dra = all_cpus(claims), {**self.dra, key: claims}
        return attrs.evolve(self, free=self.free - cpus, isolated=self.isolated - cpus, dra=dra)

    def plus_exclusive(self, key: ContainerKey, cpus: CPUSet, first: CPUSet = NO_CPUS) -> StaticState:
        """Return the state in which *key*, which had nothing, has *cpus* to itself, and was created with *first*."""
        exclusive, began = {**self.exclusive, key: cpus}, first_after(first, cpus)
        made = attrs.evolve(self, free=self.free - cpus, isolated=self.isolated - cpus, exclusive=exclusive)
        return made if began == cpus else attrs.evolve(made, first={**self.first, key: began})

    def plus_sharing(self, key: ContainerKey) -> StaticState:
        """Return the state in which *key* runs on the shared CPUs."""
        return attrs.evolve(self, sharing=self.sharing | {key})

    def without(self, key: ContainerKey, partition: Partition) -> StaticState:
        """Return the state in which *key* has nothing."""
        if key in self.dra:
            return self._without_claims(key, partition)
        own = self.exclusive.get(key)
        if own is None:
            return attrs.evolve(self, sharing=self.sharing - {key}) if key in self.sharing else self
        return StaticState(
            free=self.free | own & partition.sharable,
            isolated=self.isolated | own & partition.isolated,
            exclusive={other: cpus for other, cpus in self.exclusive.items() if other != key},
            sharing=self.sharing,
            dra=self.dra,
            first={other: cpus for other, cpus in self.first.items() if other != key},
        )

    def _without_claims(self, key: ContainerKey, partition: Partition) -> StaticState:
        dra = {other: claims for other, claims in self.dra.items() if other != key}
        gone = all_cpus(self.dra[key]) - CPUSet.union(all_cpus(claims) for claims in dra.values())
        free, isolated = self.free | gone & partition.sharable, self.isolated | gone & partition.isolated
        return attrs.evolve(self, free=free, isolated=isolated, dra=dra)
