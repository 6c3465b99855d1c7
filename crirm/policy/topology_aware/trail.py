"""How a decision was made, as a `crirm.model.trail.Trail`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from crirm.model.cpuset import NO_CPUS, NodeSet
from crirm.model.refusal import RefusalCode, RefusedError
from crirm.model.trail import Move, Trail, Verdict
from crirm.policy.topology_aware.choice import Comparison, Considered, Lack
from crirm.policy.topology_aware.effects import Adjuster
from crirm.policy.topology_aware.hints import next_to_all
from crirm.policy.topology_aware.homes import own_nodes
from crirm.policy.topology_aware.nearness import rings
from crirm.policy.topology_aware.pools import Pool
from crirm.policy.topology_aware.ranking import difference
from crirm.policy.topology_aware.request import CPUClass, CPURequest, Request
from crirm.policy.topology_aware.state import Grant
from crirm.policy.topology_aware.wording import (
    asked_text,
    cpu_text,
    kinds_text,
    lack_text,
    lost_text,
    millicpu_text,
    size_text,
)


def make_trail(
    policy: str, request: Request, after: Adjuster, verdicts: Iterable[Verdict], moves: Iterable[Move], *notes: str
) -> Trail:
    """Return the record of the decision that led to the state of *after*, about the container of *request*."""
    grant = after.state.granted(request.key)
    return Trail(
        key=request.key,
        policy=policy,
        asked=asked_text(request),
        chosen=after.machine.pools[grant.pool].name,
        granted=_granted(grant, after),
        verdicts=tuple(verdicts),
        moves=tuple(moves),
        notes=(*request.notes, *notes, *_near_notes(request, grant, after), *_lift_notes(grant, after)),
    )


def verdicts(choice: Comparison) -> list[Verdict]:
    """Return the outcome for every pool of a choice, the chosen one first."""
    best, *others = choice.considered
    return [Verdict(best.pool.name, facts(choice, best.pool)), *(_verdict(choice, best, other) for other in others)]


def facts(choice: Comparison, pool: Pool) -> tuple[tuple[str, int], ...]:
    """Return what a pool had to offer, by names that end in the unit."""
    offers = []
    if choice.request.cpu.cls is CPUClass.RESERVED:
        offers.append(("reserved_milli", choice.reserved))
    else:
        offers.append(("shared_milli", choice.supply.allocatable[pool.id]))
        offers.append(("exclusive_cpus", choice.supply.sliceable(pool.id)))
        if choice.machine.root.isolated:
            offers.append(("isolated_cpus", len(choice.supply.isolated[pool.id])))
    offers.append(("memory_bytes", choice.memory(pool.id)))
    offers.append(("containers", len(choice.state.grants[pool.id])))
    return tuple(offers)


def refusal(choice: Comparison) -> RefusedError:
    """Return the refusal of a request that fits no pool."""
    pools = [one.pool for one in choice.considered if one.lack is not Lack.HINTS]
    wants = f"{choice.request.name} wants {cpu_text(choice.request.cpu)}"
    if not pools:
        where = ", ".join(sorted(hint.provider for hint in choice.request.hints))
        what = f"{wants} next to its devices and disks (topologyhints: strict), but no pool is next to all of them"
        return RefusedError(RefusalCode.NOT_NEAR_DEVICES, f"{what}: {where}")
    return _refusal(choice, wants, {one.pool.id: one.lack for one in choice.considered if one.lack in _ORDER})


_ORDER = (Lack.MEMORY, Lack.EXCLUSIVE, Lack.ISOLATED, Lack.SHARED, Lack.KINDS)
"""What is told first: where memory is missing, the CPUs suffice; where exclusive CPUs are, the shared ones do."""


def _refusal(choice: Comparison, wants: str, lacks: Mapping[int, Lack | None]) -> RefusedError:
    """Return the refusal by pools that are near enough: by what the one lacks to which least is missing."""
    lack = next(lack for lack in _ORDER if lack in lacks.values())
    pools = [choice.machine.pools[pool] for pool, its in lacks.items() if its is lack]
    best = min(pools, key=lambda pool: (choice.missing(pool.id, lack), -pool.depth, pool.id))
    where = " next to its devices and disks (topologyhints: strict)" if choice.request.strict else ""
    match lack:
        case Lack.MEMORY:
            memory = choice.request.memory
            wants = f"{choice.request.name} wants {size_text(memory.need)} of {kinds_text(memory.kinds)} memory"
            has, code = f"has {size_text(choice.promisable(best.id))} left", RefusalCode.TOO_LITTLE_MEMORY
        case Lack.KINDS:
            kinds = kinds_text(choice.request.memory.first_kinds)
            what = f"{choice.request.name} wants {kinds} memory{where}, but no pool there has any"
            return RefusedError(RefusalCode.TOO_LITTLE_MEMORY, what)
        case Lack.SHARED if not any(choice.supply.shared[pool.id] for pool in pools):
            return RefusedError(RefusalCode.TOO_LITTLE_SHARED_CPU, f"{wants}{where}, but no pool has shared CPUs left")
        case Lack.SHARED:
            left = millicpu_text(choice.supply.allocatable[best.id])
            of = " of shared CPUs" if choice.request.cpu.full else ""
            has, code = f"has {left}{of} left", RefusalCode.TOO_LITTLE_SHARED_CPU
        case _:
            has, code = f"has {choice.exclusive(best.id)} to spare", _code(choice.request.cpu)
    short = _short(choice, lack, choice.missing(best.id, lack))
    return RefusedError(code, f"{wants}{where}, but no pool has enough: {best.name}, the best one, {has}{short}")


def _code(cpu: CPURequest) -> RefusalCode:
    if not cpu.full:
        return RefusalCode.TOO_LITTLE_SHARED_CPU
    if cpu.require:
        return RefusalCode.TOO_FEW_ISOLATED_CPUS
    return RefusalCode.TOO_FEW_EXCLUSIVE_CPUS if cpu.threads == 1 else RefusalCode.TOO_FEW_CORES


def _short(choice: Comparison, lack: Lack, missing: int) -> str:
    """Return by how much a resize does not fit; what the container has already counts as free."""
    if choice.old_pool is None or missing <= 0:
        return ""
    of = {Lack.SHARED: millicpu_text, Lack.MEMORY: size_text}.get(lack, str)
    return f" with what the container has, {of(missing)} too few for this resize"


def _verdict(choice: Comparison, best: Considered, other: Considered) -> Verdict:
    offers, winner = facts(choice, other.pool), best.pool.name
    if other.lack is None:
        rule, better, worse = difference(best.rank, other.rank)
        return Verdict(
            other.pool.name, offers, winner, rule.value, worse, better, lost_text(rule, worse, better, winner)
        )
    own, chosen = (_measure(choice, other.lack, pool) for pool in (other.pool, best.pool))
    why = lack_text(other.lack, own, chosen, winner)
    return Verdict(other.pool.name, offers, winner, other.lack.value, own, chosen, why)


def _measure(choice: Comparison, lack: Lack, pool: Pool) -> int:
    match lack:
        case Lack.HINTS:
            return next_to_all(choice.request.hints, pool, choice.machine.topology)
        case Lack.KINDS:
            return bool(choice.machine.sets.chain(pool.id, choice.request.memory.first_kinds))
        case Lack.EXCLUSIVE | Lack.ISOLATED:
            return choice.exclusive(pool.id)
        case Lack.SHARED:
            return choice.supply.allocatable[pool.id]
        case Lack.MEMORY:
            return choice.promisable(pool.id)


def _granted(grant: Grant, after: Adjuster) -> str:
    parts = []
    if grant.exclusive:
        parts.append(f"exclusive CPUs {_own_text(grant, after)}")
    if grant.dra:
        parts.append(f"CPUs {after.cpus(grant)} of its DRA claims")
    if grant.on_shared:
        parts.append(f"shared CPUs {after.shared(grant.pool)}")
    if grant.cpu.cls is CPUClass.RESERVED:
        parts.append(f"reserved CPUs {after.cpus(grant)}")
    return f"{' and '.join(parts)}; memory of NUMA nodes {after.mems(grant)}"


def _own_text(grant: Grant, after: Adjuster) -> str:
    used = after.machine.used(grant.exclusive) if grant.cpu.threads > 1 else grant.exclusive
    idle = grant.exclusive - used
    return f"{used} ({idle} of the same cores stay idle)" if idle else f"{used}"


def _near_notes(request: Request, grant: Grant, after: Adjuster) -> tuple[str, ...]:
    """Say how many exclusive CPUs are next to the devices and disks in use, where the pool has others too."""
    near = rings(after.machine.topology, request.hints, after.machine.pools[grant.pool].cpus) if request.hints else ()
    if len(near) < 2 or not grant.exclusive:
        return ()
    used = after.machine.used(grant.exclusive) if grant.cpu.threads > 1 else grant.exclusive
    next_to = used & near[0].cpus if not near[0].distance else NO_CPUS
    return (f"{len(next_to)} of its {len(used)} exclusive CPUs are next to all its devices and disks",)


def _lift_notes(grant: Grant, after: Adjuster) -> tuple[str, ...]:
    """Say where a container has more memory nodes than it belongs to, for want of room."""
    own, nodes = NodeSet.from_mask(own_nodes(after.machine, grant)), after.mems(grant)
    if not grant.memory.use or nodes == own:
        return ()
    where = "its pool has" if grant.on_shared or not grant.exclusive else f"NUMA nodes {own} of its CPUs have"
    return (f"{where} too little memory to guarantee its limit, so it may use NUMA nodes {nodes}",)
