"""The state of the policy: grants, and sums over them, so that no decision has to iterate over all of them.

Everything here follows from the grants: the sums are kept only because they are needed for every pool at every
decision. Containers are filed by pool, since what touches one of a pool touches all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import attrs

from crirm.model.claims import CPUClaim, all_cpus
from crirm.model.cpuset import NO_CPUS, CPUSet, NodeSet
from crirm.model.workload import ContainerKey
from crirm.policy.annotations import Keep
from crirm.policy.dra import ClaimCounts, cpus_of, with_claims, without_claims
from crirm.policy.topology_aware.memory_sets import KEPT, Kinds, Place
from crirm.policy.topology_aware.pools import Pool
from crirm.policy.topology_aware.protection import Claim, Home
from crirm.policy.topology_aware.request import CPUClass, CPURequest, MemoryRequest


@attrs.frozen
class Grant:
    """What one container has.

    Args:
        pool: number of the pool it was put in.
        cpu: the CPUs it asked for, of the class that it got.
        exclusive: CPUs of its own.
        memory: the memory it asked for.
        warm: whether it may use all its kinds of memory; not while it starts cold.
        place: where its memory belongs; see `homes`.
        held: whether that is higher than where it naturally belongs.
        dra: the claims of a DRA driver that it runs on; then it has no other CPUs.
        first: the exclusive CPUs that it was created with, of those that it has; see `resizing`.
        keep: what of it stays as it is; see `keeping`.
        kept: the shared CPUs that it stays on, if it keeps its CPUs and runs on shared ones.
    """

    pool: int
    cpu: CPURequest
    exclusive: CPUSet
    memory: MemoryRequest
    warm: bool = True
    place: Place = attrs.field(default=attrs.Factory(lambda self: self.pool, takes_self=True))
    held: bool = False
    dra: tuple[CPUClaim, ...] = ()
    first: CPUSet = attrs.field(default=attrs.Factory(lambda self: self.exclusive, takes_self=True))
    keep: Keep = Keep.NOTHING
    kept: CPUSet = NO_CPUS

    @cached_property
    def own(self) -> CPUSet:
        """The CPUs on which nobody else runs, but for containers with the same claim."""
        return self.exclusive | all_cpus(self.dra) if self.dra else self.exclusive

    @cached_property
    def on_shared(self) -> bool:
        """Whether it runs on its pool's shared CPUs."""
        return self.cpu.cls is CPUClass.NORMAL and self.cpu.shared and not self.dra

    @cached_property
    def home(self) -> Home:
        """Where its memory belongs."""
        return self.place, self.memory.kinds if self.warm else self.memory.cold

    @property
    def keeps_nodes(self) -> bool:
        """Whether its memory stays on the nodes that it has, whatever happens."""
        return not isinstance(self.place, int) and self.place[1] == KEPT

    @cached_property
    def saved(self) -> Mapping[str, object]:
        """The grant as JSON without its pool, for `saving`; made once, since all grants are asked for it each time."""
        memory = self.memory
        rest: dict[str, object] = {"first": str(self.first)} if self.first != self.exclusive else {}
        if self.dra:
            rest["dra"] = [[claim.uid, str(claim.cpus)] for claim in self.dra]
        return {
            "cpu": {**attrs.asdict(self.cpu), "cls": self.cpu.cls.value},
            "exclusive": str(self.exclusive),
            "memory": {**attrs.asdict(memory), "kinds": _values(memory.kinds), "cold": _values(memory.cold)},
            "warm": self.warm,
            **rest,
            "held": self.place[1] if self.held and not isinstance(self.place, int) else None,
            "keep": self.keep.value,
            "kept": str(self.kept),
            "mems": ""
            if isinstance(self.place, int) or not self.keeps_nodes
            else str(NodeSet.from_mask(self.place[0])),
        }


@attrs.frozen
class PolicyState:
    """All grants, and sums over them.

    Args:
        pool_of: the pool of each container.
        grants: of every pool.
        taken: all exclusive CPUs, and those of DRA claims.
        shared: thousandths of a CPU promised from the shared CPUs of each pool and those below it.
        users: containers on the shared CPUs of each pool and those below it.
        reserved: thousandths of a CPU promised from the reserved CPUs.
        reserved_users: containers on the reserved CPUs.
        claims: on memory, by home.
        lifted: see `protection`.
        dra: the DRA claims that containers run on, and how many.
        held: containers whose memory is held; see `homes`.
        keeping: containers that keep CPUs or memory.
    """

    pool_of: Mapping[ContainerKey, int]
    grants: tuple[Mapping[ContainerKey, Grant], ...]
    taken: CPUSet
    shared: tuple[int, ...]
    users: tuple[int, ...]
    reserved: int = 0
    reserved_users: int = 0
    claims: Mapping[Home, Claim] = attrs.field(factory=dict)
    lifted: Mapping[Home, int] = attrs.field(factory=dict)
    dra: ClaimCounts = attrs.field(factory=dict)
    held: frozenset[ContainerKey] = frozenset()
    keeping: Mapping[ContainerKey, Grant] = attrs.field(factory=dict)

    @cached_property
    def kept(self) -> CPUSet:
        """The shared CPUs that nobody can have exclusively, since containers on them keep them."""
        return CPUSet.union(grant.kept for grant in self.keeping.values())

    def grant(self, key: ContainerKey) -> Grant | None:
        """Return what a container has, if it has anything."""
        pool = self.pool_of.get(key)
        return None if pool is None else self.grants[pool][key]

    def granted(self, key: ContainerKey) -> Grant:
        """Return what a container has, which has something."""
        return self.grants[self.pool_of[key]][key]

    def with_grant(self, pools: tuple[Pool, ...], key: ContainerKey, grant: Grant) -> PolicyState:
        """Return the state in which *key*, which has nothing, has *grant*; who was lifted is not settled again."""
        filed = {**self.grants[grant.pool], key: grant}
        after = self._counted(pools, grant, 1, {**self.pool_of, key: grant.pool}, filed)
        if grant.keep is not Keep.NOTHING:
            after = attrs.evolve(after, keeping={**self.keeping, key: grant})
        return attrs.evolve(after, held=self.held | {key}) if grant.held else after

    def without_grant(self, pools: tuple[Pool, ...], key: ContainerKey) -> PolicyState:
        """Return the state in which *key*, which has something, has nothing; likewise."""
        pool_of = dict(self.pool_of)
        filed = dict(self.grants[pool_of.pop(key)])
        after = self._counted(pools, filed.pop(key), -1, pool_of, filed)
        if key in self.keeping:
            after = attrs.evolve(after, keeping={k: grant for k, grant in self.keeping.items() if k != key})
        return attrs.evolve(after, held=self.held - {key}) if key in self.held else after

    def _counted(
        self,
        pools: tuple[Pool, ...],
        grant: Grant,
        sign: int,
        pool_of: Mapping[ContainerKey, int],
        filed: Mapping[ContainerKey, Grant],
    ) -> PolicyState:
        dra = (with_claims if sign > 0 else without_claims)(self.dra, grant.dra) if grant.dra else self.dra
        shared, users = list(self.shared), list(self.users)
        reserved = sign if grant.cpu.cls is CPUClass.RESERVED else 0
        if grant.on_shared:
            for pool in pools[grant.pool].ancestors:
                shared[pool] += sign * grant.cpu.part
                users[pool] += sign
        return PolicyState(
            pool_of=pool_of,
            grants=(*self.grants[: grant.pool], filed, *self.grants[grant.pool + 1 :]),
            taken=self.taken ^ grant.exclusive ^ cpus_of(self.dra) ^ cpus_of(dra)
            if grant.dra
            else self.taken ^ grant.exclusive,
            shared=tuple(shared),
            users=tuple(users),
            reserved=self.reserved + reserved * grant.cpu.part,
            reserved_users=self.reserved_users + reserved,
            claims=self._claims_with(grant, sign),
            lifted=self.lifted,
            dra=dra,
            held=self.held,
            keeping=self.keeping,
        )

    def _claims_with(self, grant: Grant, sign: int) -> Mapping[Home, Claim]:
        if not grant.memory.use:
            return self.claims
        claim = self.claims.get(grant.home, Claim()).plus(sign * grant.memory.need, sign * grant.memory.use, sign)
        if claim.count:
            return {**self.claims, grant.home: claim}
        return {home: other for home, other in self.claims.items() if home != grant.home}


def empty(pools: tuple[Pool, ...]) -> PolicyState:
    """Return the state of a machine on which nothing runs."""
    zeros = (0,) * len(pools)
    return PolicyState({}, tuple({} for _ in pools), NO_CPUS, zeros, zeros)


def _values(kinds: Kinds) -> list[str] | None:
    return None if kinds is None else sorted(kind.value for kind in kinds)
