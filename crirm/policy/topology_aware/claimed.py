"""Containers on CPUs that a DRA driver has given out; see `policy.dra`.

Such a container belongs to the smallest pool around its CPUs, so that its memory is next to them. Containers that share
the CPUs of a pool shrink to the rest of it. Where too little is left for what they were promised, some of them go to
the pool above, those with the smallest request first: the driver has given the CPUs away already, so they cannot stay.
What containers keep (see `keeping`) stays as it is, or the container with claims is refused.
"""

from __future__ import annotations

import attrs

from crirm.model.claims import all_cpus
from crirm.model.cpuset import CPUSet
from crirm.model.refusal import RefusalCode, RefusedError
from crirm.model.workload import ContainerKey, Workload
from crirm.policy.annotations import Keep
from crirm.policy.dra import Owned
from crirm.policy.topology_aware.homes import housed, settled
from crirm.policy.topology_aware.keeping import disturbed, keeper_of, with_kept
from crirm.policy.topology_aware.machine import Machine
from crirm.policy.topology_aware.pools import Pool
from crirm.policy.topology_aware.request import Request
from crirm.policy.topology_aware.state import Grant, PolicyState
from crirm.policy.topology_aware.supply import Supply


@attrs.frozen
class OnClaims:
    """What becomes of a container with claims.

    Args:
        state: in which it has them.
        lifted: containers that had to go to a pool above.
    """

    state: PolicyState
    lifted: tuple[ContainerKey, ...] = ()


def on_claims(
    machine: Machine, state: PolicyState, request: Request, workload: Workload, old: Grant | None = None
) -> OnClaims:
    """Return the state in which a container, which has nothing in *state*, has the CPUs of its claims.

    Args:
        machine: as pools.
        state: of the others.
        request: of the container.
        workload: pods and containers.
        old: what the container had, if it is resized.

    Raises:
        RefusedError: somebody else owns or keeps one of them, or others cannot do without.
    """
    root, cpus = machine.root, all_cpus(request.dra)
    exclusive = {key: grant.exclusive for filed in state.grants for key, grant in filed.items() if grant.exclusive}
    owned = Owned(machine.topology.online, root.reserved, state.dra, exclusive, workload.full_name)
    owned.check(request.name, request.dra)
    _check_kept(state, request, workload)
    made, lifted = _with_room(machine, state, cpus - state.taken)
    if made is None:
        what = f"{request.name}: its DRA claims give it CPUs {cpus}, but containers that share them"
        raise RefusedError(RefusalCode.DRA_CPUS_SHARED, f"{what} would be left with fewer CPUs than they request")
    pool = _around(machine, request, cpus)
    warm = request.memory.cold is None
    bare = Grant(pool.id, request.cpu, CPUSet(), request.memory, warm=warm, dra=request.dra, keep=request.keep)
    after = settled(machine, made.with_grant(machine.pools, request.key, housed(machine, bare)))
    if request.keep is not Keep.NOTHING:
        after = settled(machine, with_kept(machine, after, request.key, old))
    if (key := disturbed(machine, settled(machine, state), after) if state.keeping else None) is not None:
        what = f"{workload.full_name(key)} keeps memory that both might need (annotation keep)"
        raise RefusedError(
            RefusalCode.OTHERS_KEEP_MEMORY, f"{request.name}: its DRA claims give it CPUs {cpus}, but {what}"
        )
    return OnClaims(after, lifted)


def _check_kept(state: PolicyState, request: Request, workload: Workload) -> None:
    """Check that nobody keeps CPUs of the claims.

    Raises:
        RefusedError: somebody does.
    """
    cpus = all_cpus(request.dra)
    if (key := keeper_of(state, cpus)) is None:
        return
    kept = state.keeping[key].kept
    what = f"{workload.full_name(key)} keeps the shared CPUs {kept} that it runs on (annotation keep)"
    raise RefusedError(RefusalCode.OTHERS_KEEP_CPUS, f"{request.name}: its DRA claims give it CPUs {cpus}, but {what}")


def _around(machine: Machine, request: Request, cpus: CPUSet) -> Pool:
    """Return the smallest pool with *cpus* and memory of the kinds that are wanted."""
    kinds, known = request.memory.first_kinds, machine.topology.memory_nodes
    fit = [p for p in machine.pools if cpus <= p.cpus and (not known or machine.sets.chain(p.id, kinds))]
    return max(fit, key=lambda pool: pool.depth, default=machine.root)


def _with_room(
    machine: Machine, state: PolicyState, cpus: CPUSet
) -> tuple[PolicyState | None, tuple[ContainerKey, ...]]:
    """Return the state in which nobody needs *cpus*, and who goes to a pool above for it; None if that cannot be."""
    lifted: list[ContainerKey] = []
    for pool in machine.pools:  # those below come first, and who goes up counts in the next one
        for key in _smallest_first(state, pool):
            if pool.parent is None or Supply(machine.pools, state).can_lose(pool.id, cpus):
                break
            grant = _raised(machine, state.granted(key), pool.parent)
            state = state.without_grant(machine.pools, key).with_grant(machine.pools, key, grant)
            lifted.append(key)
        if not Supply(machine.pools, state).can_lose(pool.id, cpus):
            return None, ()
    return state, tuple(dict.fromkeys(lifted))


def _raised(machine: Machine, grant: Grant, pool: int) -> Grant:
    """Return *grant* in another pool, with the memory of that unless it keeps its own."""
    raised = attrs.evolve(grant, pool=pool)
    return raised if grant.keeps_nodes else housed(machine, raised)


def _smallest_first(state: PolicyState, pool: Pool) -> list[ContainerKey]:
    """Return the containers of *pool* that have nothing but its shared CPUs, and do not keep these."""
    movable = {
        key: grant
        for key, grant in state.grants[pool.id].items()
        if grant.on_shared and not grant.exclusive and not grant.keep.cpus
    }
    return sorted(movable, key=lambda key: (movable[key].cpu.part, key))
