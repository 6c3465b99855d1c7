"""What holds in every state, worked out from the grants alone and with other means than the policy's own."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING

from crirm.model.cpuset import CPUSet, NodeSet
from crirm.policy.topology_aware.effects import Adjuster
from crirm.policy.topology_aware.protection import Claim, Home
from crirm.policy.topology_aware.request import CPUClass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crirm.model.workload import ContainerKey
    from crirm.policy.topology_aware.policy import TopologyAware
    from crirm.policy.topology_aware.state import Grant, PolicyState


def grants_of(state: PolicyState) -> dict[ContainerKey, Grant]:
    return {key: grant for filed in state.grants for key, grant in filed.items()}


def check(policy: TopologyAware, state: PolicyState) -> None:
    _check_sums(policy, state)
    _check_exclusive(policy, state)
    _check_capacity(policy, state)
    _check_memory(policy, state)


def _check_sums(policy: TopologyAware, state: PolicyState) -> None:
    grants = grants_of(state)
    assert state.pool_of == {key: grant.pool for key, grant in grants.items()}
    assert all(grant.pool == number for number, filed in enumerate(state.grants) for grant in filed.values())
    reserved = [grant for grant in grants.values() if grant.cpu.cls is CPUClass.RESERVED]
    assert (state.reserved, state.reserved_users) == (sum(grant.cpu.part for grant in reserved), len(reserved))
    claims: dict[Home, Claim] = {}
    for grant in grants.values():
        if grant.memory.use:
            old = claims.get(grant.home, Claim())
            claims[grant.home] = old.plus(grant.memory.need, grant.memory.use)
    assert state.claims == claims
    for pool in policy.machine.pools:
        inside = [g for g in grants.values() if g.on_shared and pool.first <= g.pool <= pool.id]
        assert state.users[pool.id] == len(inside)
        assert state.shared[pool.id] == sum(grant.cpu.part for grant in inside)


def _check_exclusive(policy: TopologyAware, state: PolicyState) -> None:
    """No CPU has two owners, and nobody else runs on an owned or a reserved one."""
    grants, root = grants_of(state), policy.machine.root
    adjuster = Adjuster(policy.machine, policy.reader.options, state)
    owned = CPUSet()
    claims = {claim.uid: claim.cpus for grant in grants.values() for claim in grant.dra}
    for cpus in claims.values():
        assert owned.isdisjoint(cpus), "a CPU of two claims"
        owned |= cpus
    counts = [claim for grant in grants.values() for claim in grant.dra]
    assert state.dra == {claim: counts.count(claim) for claim in counts}
    for grant in grants.values():
        assert owned.isdisjoint(grant.exclusive)
        assert grant.first <= grant.exclusive
        assert bool(grant.first) is bool(grant.exclusive)
        assert len(grant.exclusive) == grant.cpu.full * grant.cpu.threads
        assert not grant.cpu.require or grant.exclusive <= root.isolated
        pool = policy.machine.pools[grant.pool]
        assert grant.exclusive <= pool.isolated or grant.exclusive <= pool.sharable
        owned |= grant.exclusive
    assert state.taken == owned
    for grant in grants.values():
        cpus = adjuster.cpus(grant)
        assert cpus, "somebody has no CPU"
        if grant.cpu.threads > 1:
            cores = {policy.machine.topology.core_of(cpu) for cpu in grant.exclusive}
            assert CPUSet.union(cores) == grant.exclusive, "a core that is split"
            assert all(len(core & cpus) == 1 for core in cores), "a sibling that is not idle"
        else:
            assert grant.exclusive <= cpus
        if grant.cpu.cls is CPUClass.RESERVED:
            assert cpus == root.reserved
        else:
            assert cpus.isdisjoint(root.reserved)
            assert not grant.dra or cpus == CPUSet.union(claim.cpus for claim in grant.dra)
            assert (cpus - grant.own).isdisjoint(owned | root.isolated)


def _check_capacity(policy: TopologyAware, state: PolicyState) -> None:
    """What is promised in a pool and below it, and what is owned, is there."""
    grants = grants_of(state)
    for pool in policy.machine.pools:
        inside = [g for g in grants.values() if pool.first <= g.pool <= pool.id]
        free = pool.sharable - state.taken
        promised = sum(grant.cpu.part for grant in inside if grant.on_shared)
        assert 1000 * len(free) >= promised, f"{pool.name} is overcommitted"
        assert free or not any(grant.on_shared for grant in inside), f"{pool.name} was emptied"
        assert len(free) + len(pool.sharable & state.taken) == len(pool.sharable)
    reserved = sum(grant.cpu.part for grant in grants.values() if grant.cpu.cls is CPUClass.RESERVED)
    assert reserved <= 1000 * len(policy.machine.root.reserved)


def _check_memory(policy: TopologyAware, state: PolicyState) -> None:
    if policy.machine.topology.memory_nodes:
        check_safety(policy, state)
        assert not state.held
        uses = _uses(policy, state)
        for grant in grants_of(state).values():
            _check_nearness(policy, state, grant, uses)


def check_safety(policy: TopologyAware, state: PolicyState) -> None:
    """Everybody can have what was promised, at once; and who is confined can have what they may use, come what may."""
    topology, sets = policy.machine.topology, policy.machine.sets
    adjuster = Adjuster(policy.machine, policy.reader.options, state)
    needs: dict[NodeSet, int] = {}
    for grant in grants_of(state).values():
        nodes = adjuster.mems(grant)
        assert nodes
        assert nodes <= topology.memory_nodes
        assert not topology.normal_nodes or nodes & topology.normal_nodes
        needs[nodes] = needs.get(nodes, 0) + grant.memory.need
    capacity = {node.id: node.memory for node in topology.nodes if node.memory}
    assert largest_flow(needs, capacity) == sum(needs.values()), "not everybody can have the memory that was promised"
    uses = _uses(policy, state)
    for grant in grants_of(state).values():
        nodes = adjuster.mems(grant)
        if grant.memory.use and nodes.mask != sets.chain(*grant.home)[-1]:
            assert _landing(nodes, uses) <= topology.memory_of(nodes), "somebody who is confined is not safe"


def _uses(policy: TopologyAware, state: PolicyState) -> dict[NodeSet, int]:
    adjuster = Adjuster(policy.machine, policy.reader.options, state)
    uses: dict[NodeSet, int] = {}
    for grant in grants_of(state).values():
        if grant.memory.use:
            nodes = adjuster.mems(grant)
            uses[nodes] = uses.get(nodes, 0) + grant.memory.use
    return uses


def _landing(nodes: NodeSet, uses: dict[NodeSet, int]) -> int:
    return sum(use for other, use in uses.items() if not other.isdisjoint(nodes))


def _check_nearness(policy: TopologyAware, state: PolicyState, grant: Grant, uses: dict[NodeSet, int]) -> None:
    """A container with CPUs of its own has no more memory nodes than these CPUs, unless they lack the room."""
    topology, sets, kinds = policy.machine.topology, policy.machine.sets, grant.home[1]
    if grant.on_shared or not grant.exclusive:
        return
    nodes = Adjuster(policy.machine, policy.reader.options, state).mems(grant)
    homes = NodeSet(node.id for node in topology.nodes if not node.cpus.isdisjoint(grant.exclusive))
    pool = sets.chain(grant.pool, kinds)
    wanted = (kinds or frozenset()) & {topology.node(node).kind for node in NodeSet.from_mask(pool[0] if pool else 0)}
    for some in map(NodeSet.from_mask, sets.chain((homes.mask, 0), kinds)):
        if some < nodes and wanted <= {topology.node(node).kind for node in some}:
            assert grant.memory.use, "who may use nothing is on more nodes than needed"
            assert _landing(some, uses) > topology.memory_of(some), "somebody's memory is on more nodes than needed"


def largest_flow(demands: dict[NodeSet, int], capacity: Mapping[int, int]) -> int:
    """Return how much of *demands*, each to be met from its own nodes, can be met at once (Edmonds-Karp)."""
    source, sink = "source", "sink"
    left: dict[object, dict[object, int]] = {source: {}, sink: {}}

    def edge(one: object, other: object, size: int) -> None:
        left.setdefault(one, {})[other] = size
        left.setdefault(other, {}).setdefault(one, 0)

    for nodes, amount in demands.items():
        edge(source, nodes, amount)
        for node in nodes:
            edge(nodes, node, amount)
    for number, size in capacity.items():
        edge(number, sink, size)
    total = 0
    while path := _path(left, source, sink):
        steps = list(pairwise(path))
        amount = min(left[one][other] for one, other in steps)
        for one, other in steps:
            left[one][other] -= amount
            left[other][one] += amount
        total += amount
    return total


def _path(left: dict[object, dict[object, int]], source: object, sink: object) -> list[object]:
    came: dict[object, object] = {source: source}
    queue = deque([source])
    while queue:
        at = queue.popleft()
        for other, size in left[at].items():
            if size > 0 and other not in came:
                came[other] = at
                queue.append(other)
    if sink not in came:
        return []
    path = [sink]
    while path[-1] != source:
        path.append(came[path[-1]])
    return path[::-1]
