"""How a decision came about, as `crirm.model.trail` tells it."""

from __future__ import annotations

from collections.abc import Iterable

from crirm.model.decision import RefusalReason, RefusedError
from crirm.model.trail import Move, Trail, Verdict
from crirm.policy.topology_aware.choice import Comparison, Considered, Lack
from crirm.policy.topology_aware.effects import Adjuster
from crirm.policy.topology_aware.hints import next_to_all
from crirm.policy.topology_aware.pools import Pool
from crirm.policy.topology_aware.ranking import difference
from crirm.policy.topology_aware.request import CPUClass, Request
from crirm.policy.topology_aware.state import Grant
from crirm.policy.topology_aware.wording import asked_text, cpu_text, kinds_text, millicpu_text, size_text


def make_trail(
    policy: str, request: Request, after: Adjuster, verdicts: Iterable[Verdict], moves: Iterable[Move], *notes: str
) -> Trail:
    """Return the record of a decision that gave the container of *request* a grant in the state of *after*."""
    grant = after.state.granted(request.key)
    return Trail(
        key=request.key,
        policy=policy,
        asked=asked_text(request),
        chosen=after.machine.pools[grant.pool].name,
        granted=_granted(grant, after),
        verdicts=tuple(verdicts),
        moves=tuple(moves),
        notes=(*request.notes, *notes, *_lift_notes(grant, after)),
    )


def verdicts(choice: Comparison) -> list[Verdict]:
    """Return what became of every pool of a choice that was made, the chosen one first."""
    best, *others = choice.considered
    return [Verdict(best.pool.name, facts(choice, best.pool)), *(_verdict(choice, best, other) for other in others)]


def facts(choice: Comparison, pool: Pool) -> tuple[tuple[str, str], ...]:
    """Return what a pool had to offer."""
    offers = []
    if choice.request.cpu.cls is CPUClass.RESERVED:
        offers.append(("reserved", millicpu_text(choice.reserved)))
    else:
        offers.append(("shared", millicpu_text(choice.supply.allocatable[pool.id])))
        offers.append(("exclusive", str(choice.supply.sliceable(pool.id))))
        if choice.machine.root.isolated:
            offers.append(("isolated", str(len(choice.supply.isolated[pool.id]))))
    offers.append(("memory", size_text(choice.memory(pool.id))))
    offers.append(("containers", str(len(choice.state.grants[pool.id]))))
    return tuple(offers)


def refusal(choice: Comparison) -> RefusedError:
    """Return the refusal of a request that no pool can hold."""
    cpu = choice.request.cpu
    pools = [one.pool for one in choice.considered if one.lack is not Lack.HINTS]
    wants = f"{choice.request.name} wants {cpu_text(cpu)}"
    if not pools:
        where = ", ".join(sorted(hint.provider for hint in choice.request.hints))
        what = f"{wants} next to its devices and disks (topologyhints: strict), but no part of the machine is next to"
        return RefusedError(RefusalReason.NO_ROOM, f"{what} all of them: {where}")
    if choice.request.strict:
        wants += ", next to its devices and disks (topologyhints: strict)"
    if cpu.full:
        best = max(pools, key=lambda pool: (choice.exclusive(pool.id), pool.depth, -pool.id))
        has = f"can give {choice.exclusive(best.id)} (what runs on shared CPUs keeps at least one)"
    else:
        best = max(pools, key=lambda pool: (choice.supply.allocatable[pool.id], pool.depth, -pool.id))
        left = choice.supply.allocatable[best.id]
        has = f"has {millicpu_text(left)} left" if choice.supply.shared[best.id] else "has none"
    return RefusedError(RefusalReason.NO_ROOM, f"{wants}, but no pool has room: the best one, {best.name}, {has}")


def _verdict(choice: Comparison, best: Considered, other: Considered) -> Verdict:
    offers = facts(choice, other.pool)
    if other.lack is None:
        rule, better, worse = difference(best.rank, other.rank)
        return Verdict(other.pool.name, offers, best.pool.name, rule.value, worse, better)
    own, chosen = (_measure(choice, other.lack, pool) for pool in (other.pool, best.pool))
    return Verdict(other.pool.name, offers, best.pool.name, other.lack.value, own, chosen)


def _measure(choice: Comparison, lack: Lack, pool: Pool) -> str:
    match lack:
        case Lack.HINTS:
            return "yes" if next_to_all(choice.request.hints, pool, choice.machine.topology) else "no"
        case Lack.KINDS:
            return kinds_text(choice.machine.sets.kinds_of(pool.id))
        case Lack.EXCLUSIVE:
            return str(choice.exclusive(pool.id))
        case Lack.SHARED:
            return millicpu_text(choice.supply.allocatable[pool.id])
        case Lack.MEMORY:
            return size_text(choice.promisable(pool.id))


def _granted(grant: Grant, after: Adjuster) -> str:
    parts = []
    if grant.exclusive:
        parts.append(f"CPUs {grant.exclusive} to itself")
    if grant.on_shared:
        parts.append(f"CPUs {after.shared(grant.pool)} with others")
    if grant.cpu.cls is CPUClass.RESERVED:
        parts.append(f"the reserved CPUs {after.cpus(grant)}")
    return f"{' and '.join(parts)}; memory of NUMA nodes {after.mems(grant)}"


def _lift_notes(grant: Grant, after: Adjuster) -> tuple[str, ...]:
    if not grant.memory.use or grant.home not in after.state.lifted:
        return ()
    return (f"its pool's own memory cannot be kept free for it, so it may use that of NUMA nodes {after.mems(grant)}",)
