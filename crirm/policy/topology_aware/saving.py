"""Grants as JSON and back, for the saved state.

What is saved is the grant itself; all sums follow from it. Restoring takes over every grant whose CPUs this machine can
still hold. Where there is less memory than was promised, those who came last are promised none any more: who runs has
it already, so that to take its CPUs away too would help nobody.
What configuration says today about who gets what counts for a container when it is next placed or resized.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

import attrs

from crirm.errors import CrirmError
from crirm.model.claims import CPUClaim, all_cpus
from crirm.model.cpuset import CPUSet, ListFormatError
from crirm.model.workload import ContainerKey
from crirm.policy.api import Json
from crirm.policy.dra import cpus_of
from crirm.policy.topology_aware.homes import full_chain, held, housed, own_nodes, settled
from crirm.policy.topology_aware.machine import Machine
from crirm.policy.topology_aware.pools import Pool
from crirm.policy.topology_aware.protection import shortage
from crirm.policy.topology_aware.request import CPUClass, CPURequest, MemoryRequest
from crirm.policy.topology_aware.state import Grant, PolicyState, empty
from crirm.policy.topology_aware.wording import size_text

if TYPE_CHECKING:
    import cattrs


class MisfitError(CrirmError):
    """A saved grant is damaged, or this machine cannot hold it."""


def save(pools: tuple[Pool, ...], state: PolicyState) -> dict[ContainerKey, Json]:
    """Return all grants of *state*, each as the name of its pool (numbers change with the machine) and the rest."""
    return {key: [pools[grant.pool].name, grant.saved] for filed in state.grants for key, grant in filed.items()}


@attrs.frozen
class Found:
    """What has become of the grants.

    Args:
        state: of those that fit.
        dropped: why the others do not.
        weakened: those that are promised less now, and why.
    """

    state: PolicyState
    dropped: Mapping[ContainerKey, str]
    weakened: Mapping[ContainerKey, str]


def restore(machine: Machine, saved: Mapping[ContainerKey, Json]) -> Found:
    """Return what becomes of the grants *saved*, of which older ones come first."""
    state, dropped, weakened = empty(machine.pools), {}, {}
    for key, document in sorted(saved.items()):
        try:
            grant = _free(state, _grant(machine, document))
            after = _fitting(machine, state.with_grant(machine.pools, key, grant))
        except MisfitError as misfit:
            dropped[key] = str(misfit)
            continue
        missing = shortage(machine.sets, after.claims)
        if missing > 0 and grant.memory.need:
            less = attrs.evolve(grant, memory=attrs.evolve(grant.memory, need=0))
            after = state.with_grant(machine.pools, key, less)
            weakened[key] = f"its memory is no longer guaranteed: the machine is short by {size_text(missing)}"
        state = after
    return Found(settled(machine, state), dropped, weakened)


_UNKNOWN = -1
"""What older versions saved has no such field: there, memory belonged to the pool."""


@attrs.frozen
class _Rest:
    """What `Grant.saved` tells."""

    cpu: CPURequest
    exclusive: str
    memory: MemoryRequest
    warm: bool
    dra: list[tuple[str, str]] = attrs.field(factory=list)
    first: str = ""
    """Empty for those that are its exclusive CPUs; so in older versions."""
    held: int | None = _UNKNOWN
    """At which step of the chain of its NUMA nodes; None if its memory is where it naturally belongs."""


def _grant(machine: Machine, document: Json) -> Grant:
    """Read one grant, and check it against the machine."""
    import cattrs  # noqa: PLC0415  # as below

    try:
        name, rest = document
        saved = _converter().structure(rest, _Rest)
        exclusive = CPUSet.parse(saved.exclusive)
        first = CPUSet.parse(saved.first) & exclusive or exclusive
        dra = tuple(CPUClaim(uid, CPUSet.parse(cpus)) for uid, cpus in saved.dra)
    except (cattrs.BaseValidationError, ListFormatError, ValueError, TypeError) as error:
        raise MisfitError("saved grant is unreadable") from error
    pool = next((pool for pool in machine.pools if pool.name == name), None)
    if pool is None:
        raise MisfitError(f"pool {name} no longer exists")
    grant = housed(machine, Grant(pool.id, saved.cpu, exclusive, saved.memory, saved.warm, dra=dra, first=first))
    _check_cpus(machine, grant, pool)
    _check_claims(machine, grant)
    _check_memory(machine, grant)
    if saved.held is None or not machine.sets.all_kinds:
        return grant
    return _held(machine, grant, saved.held)


def _held(machine: Machine, grant: Grant, step: int) -> Grant:
    """Return a grant whose memory is held at a step; one of an older version is held at its pool's own nodes."""
    kinds = grant.home[1]
    pool = machine.sets.chain(grant.pool, kinds)
    if step == _UNKNOWN:
        alike = not pool or not grant.memory.use or own_nodes(machine, grant) == pool[0]
        return grant if alike else held(machine, grant, pool[0])
    chain = full_chain(machine, grant)
    if step < 0 or not chain:
        raise MisfitError("saved grant is inconsistent")
    return held(machine, grant, chain[min(step, len(chain) - 1)])


def _check_cpus(machine: Machine, grant: Grant, pool: Pool) -> None:
    cpu, own = grant.cpu, grant.exclusive
    if cpu.threads < 1 or len(own) != cpu.taken or cpu.part < 0 or (cpu.cls is CPUClass.RESERVED and cpu.full):
        raise MisfitError("saved grant is inconsistent")
    if not (own <= pool.isolated or own <= pool.sharable):
        raise MisfitError(f"CPUs {own} can no longer be exclusive in {pool.name}")
    if cpu.threads > 1 and (cpu.threads != machine.topology.threads or own != machine.cores_of(own)):
        raise MisfitError(f"CPUs {own} are no longer whole cores of {cpu.threads} threads")
    if cpu.cls is CPUClass.RESERVED and not pool.reserved:
        raise MisfitError(f"{pool.name} no longer has reserved CPUs")


def _check_claims(machine: Machine, grant: Grant) -> None:
    if grant.dra and (grant.exclusive or grant.cpu.cls is CPUClass.RESERVED or grant.cpu.part):
        raise MisfitError("saved grant is inconsistent")
    if not (cpus := all_cpus(grant.dra)) <= machine.topology.online - machine.root.reserved:
        raise MisfitError(f"CPUs {cpus} of its DRA claims are not online, or reserved")


def _check_memory(machine: Machine, grant: Grant) -> None:
    memory = grant.memory
    if memory.need < 0 or memory.use < 0:
        raise MisfitError("saved grant is inconsistent")
    for kinds in (memory.kinds, memory.first_kinds):
        if memory.use and not machine.sets.chain(grant.pool, kinds):
            raise MisfitError("this machine no longer has memory of the requested kind")


def _free(state: PolicyState, grant: Grant) -> Grant:
    if not grant.exclusive.isdisjoint(state.taken):
        raise MisfitError(f"CPUs {grant.exclusive & state.taken} already belong to another container")
    others = [claim for claim in state.dra if claim not in grant.dra]
    foreign = state.taken - cpus_of(state.dra) | all_cpus(others)
    if both := all_cpus(grant.dra) & foreign:
        raise MisfitError(f"CPUs {both} of its DRA claims belong to another container")
    return grant


def _fitting(machine: Machine, state: PolicyState) -> PolicyState:
    """Return *state* if every pool has the CPUs that were promised from it."""
    for pool in machine.pools:
        left = len(pool.sharable - state.taken)
        if 1000 * left < state.shared[pool.id] or (state.users[pool.id] and not left):
            raise MisfitError(f"{pool.name} has too few shared CPUs")
    if state.reserved > 1000 * len(machine.root.reserved):
        raise MisfitError("too few reserved CPUs")
    return state


def _exact(value: object, kind: type[object]) -> object:
    """Take a number, text or truth value only as what it is."""
    if type(value) is not kind:
        msg = f"expected {kind.__name__}, not {value!r:.40}"
        raise TypeError(msg)
    return value


@cache
def _converter() -> cattrs.Converter:
    import cattrs  # noqa: PLC0415  # 25 ms; only what was saved before is read

    converter = cattrs.Converter()
    for plain in (int, str, bool):  # a number of seconds may be either kind of number
        converter.register_structure_hook(plain, _exact)
    return converter
