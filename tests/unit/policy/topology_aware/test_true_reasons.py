"""What is told is true: with so much less asked for as is said to be missing, a pool that was too small is not."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crirm.model.cpuset import CPUSet
from crirm.model.qos import QoSClass
from crirm.model.refusal import RefusalCode, RefusedError
from crirm.model.workload import ContainerKey, TopologyHint
from crirm.policy.topology_aware.choice import Comparison, Lack
from crirm.policy.topology_aware.modes import Mode
from crirm.policy.topology_aware.pools import is_place
from crirm.policy.topology_aware.ranking import Rule, difference
from crirm.policy.topology_aware.request import CPUClass, CPURequest, MemoryRequest, Request
from crirm.policy.topology_aware.trail import refusal, verdicts
from tests.unit.policy.topology_aware.support import GIB, NS, PATIENT, Node, make_policy

if TYPE_CHECKING:
    from crirm.policy.topology_aware.choice import Considered
    from crirm.policy.topology_aware.memory_sets import Kinds
    from crirm.policy.topology_aware.pools import Pool

HOSTS = ("2p.2n.2c.2t threads=adjacent mem=2Gi", "2p.4c mem=4Gi isolated=6-7", "1p.2n.3c mem=4Gi pmem=2Gi@0")


@st.composite
def nodes(draw: st.DrawFn) -> Node:
    """Draw a node on which a few containers run."""
    node = Node(make_policy(draw(st.sampled_from(HOSTS)), "cpuset:0"))
    sizes = st.sampled_from((0, 100, 500, 1000, 1500, 2000, 3000))
    asked = st.tuples(sizes, st.sampled_from((0, 0.5, 1, 2)), st.sampled_from(QoSClass), st.sampled_from(Mode))
    for number, (cpu, memory, qos, mode) in enumerate(draw(st.lists(asked, max_size=8))):
        with suppress(RefusedError):
            node.add(f"c{number}", cpu, memory, qos=qos, annotations={f"placement.{NS}": mode.value})
    return node


@st.composite
def requests(draw: st.DrawFn) -> Request:
    full = draw(st.integers(0, 9))
    part = draw(st.sampled_from((0, 0, 300, 1000, 2500)))
    cpu = CPURequest(CPUClass.NORMAL, full, part, isolate=full > 0 and draw(st.booleans()), shares=2)
    need = draw(st.integers(0, 5)) * GIB
    kinds: Kinds = None
    hints = draw(st.sampled_from(((), (TopologyHint("/sys/x", cpus=CPUSet.parse("4-5")),))))
    return Request(
        ContainerKey("it"),
        "it",
        cpu,
        MemoryRequest(kinds, need, need),
        hints=hints,
        strict=bool(hints) and draw(st.booleans()),
        mode=draw(st.sampled_from(Mode)),
    )


def with_less(request: Request, lack: Lack, less: int) -> Request:
    match lack:
        case Lack.EXCLUSIVE | Lack.ISOLATED:
            cpu = attrs.evolve(request.cpu, full=request.cpu.full - less)
            return attrs.evolve(request, cpu=cpu)
        case Lack.SHARED:
            return attrs.evolve(request, cpu=attrs.evolve(request.cpu, part=request.cpu.part - less))
        case _:
            amount = request.memory.need - less
            return attrs.evolve(request, memory=attrs.evolve(request.memory, need=amount, use=amount))


def lack_of(node: Node, request: Request, pool: int) -> Lack | None:
    found = Comparison(node.policy.machine, node.state, request).considered
    return next(one.lack for one in found if one.pool.id == pool)


AMOUNTS = (Lack.EXCLUSIVE, Lack.SHARED, Lack.MEMORY)


@PATIENT
@given(node=nodes(), request=requests())
def test_exactly_what_is_missing_is_told(node: Node, request: Request) -> None:
    choice = Comparison(node.policy.machine, node.state, request)
    for one in choice.considered:
        if one.lack not in AMOUNTS:
            continue
        missing = choice.missing(one.pool.id, one.lack)
        assert missing > 0
        if one.lack is Lack.SHARED and not choice.supply.shared[one.pool.id]:
            continue  # there is nothing to ask less of
        assert lack_of(node, with_less(request, one.lack, missing - 1), one.pool.id) is one.lack
        if one.lack is Lack.EXCLUSIVE and missing == request.cpu.full and not request.cpu.part:
            continue  # without exclusive CPUs it would want shared ones
        assert lack_of(node, with_less(request, one.lack, missing), one.pool.id) is not one.lack


def most(choice: Comparison, place: Pool) -> int:
    """Return how many exclusive CPUs a place can give, as far as what it and those above it have promised goes."""
    part, found = choice.request.cpu.part, []
    for pool in (choice.machine.pools[number] for number in place.ancestors):
        inside = [g for n in range(pool.first, pool.id + 1) for g in choice.state.grants[n].values() if g.on_shared]
        promised, free = sum(g.cpu.part for g in inside), len(pool.sharable - choice.state.taken)
        found += [free - max(-(-promised // 1000), bool(inside)), (1000 * free - promised - part) // 1000]
    return max(min(found), 0)


def stated(choice: Comparison, one: Considered, rule: Rule) -> float | None:  # noqa: PLR0911 - one case per rule
    """Return what the state says of a pool under a rule, worked out anew; None where it is not a matter of counting."""
    supply, cpu, pool = choice.supply, choice.request.cpu, one.pool
    isolated = cpu.isolate and len(supply.isolated[pool.id]) >= cpu.full
    sliced = 0 if isolated else cpu.full
    own = choice.planned(pool.id) & pool.sharable if cpu.full else CPUSet()
    inside = [g for n in range(pool.first, pool.id + 1) for g in choice.state.grants[n].values() if g.on_shared]
    promised, users = sum(g.cpu.part for g in inside), len(inside)
    free = len(pool.sharable - choice.state.taken)

    def spare(after: bool) -> int:
        much = promised + cpu.part * after
        return free - sliced * after - max(-(-much // 1000), (users + cpu.shared * after) > 0)

    match rule:
        case Rule.DEPTH:
            return pool.depth
        case Rule.WHOLE:
            places = [p for p in choice.machine.pools[pool.first : pool.id + 1] if is_place(choice.machine.pools, p.id)]
            return pool in places or any(most(choice, p) >= cpu.full for p in places)
        case Rule.COLOCATED:
            return len(choice.state.grants[pool.id])
        case Rule.FULLER | Rule.EMPTIER:
            return spare(after=True)
        case Rule.SPARE_TAKEN:
            return spare(after=False) - spare(after=True) - sliced
        case Rule.ISOLATED_LEFT | Rule.ISOLATED_FULLER:
            return max(len(pool.isolated - choice.state.taken) - cpu.full, 0)
        case Rule.CORES:
            return sum(not core.isdisjoint(choice.planned(pool.id)) for core in choice.machine.topology.cores)
        case Rule.LARGEST if cpu.full and not isolated:
            grown = attrs.evolve(choice.state, taken=choice.state.taken | own)
            after = Comparison(choice.machine, grown, choice.request).supply
            places = [p for p in choice.machine.pools if not p.children]
            return max(after.sliceable(p.id) for p in places) if not cpu.part else None
        case _:
            return None


@PATIENT
@given(node=nodes(), request=requests())
def test_the_values_of_a_rule_are_those_of_the_state(node: Node, request: Request) -> None:
    choice = Comparison(node.policy.machine, node.state, request)
    best, *others = choice.considered
    for other in others if best.lack is None else ():
        if other.lack is None:
            rule, better, worse = difference(best.rank, other.rank)
            assert stated(choice, best, rule) in {None, better}
            assert stated(choice, other, rule) in {None, worse}
    if best.lack is None:
        assert [verdict.pool for verdict in verdicts(choice)] == [one.pool.name for one in choice.considered]


def test_where_one_place_has_the_cpus_is_told_as_counted() -> None:
    """Node 2 has three CPUs but 1 GiB; the nodes of the other socket have two CPUs each."""
    node = Node(make_policy("2p.2n.4c mem=8Gi", "cpuset:0"))
    topology = node.policy.machine.topology
    for number, (cpus, memory) in enumerate(((1, 0.5), (2, 0.5), (1, 7), (2, 0.5))):
        near = topology.node(number).cpus
        node.add(f"u{number}", 1000 * cpus, memory, hints=(TopologyHint("/sys/x", cpus=near),))
    cpu = CPURequest(CPUClass.NORMAL, 3, 0, isolate=False, shares=2)
    asked = Request(ContainerKey("it"), "it", cpu, MemoryRequest(None, 4 * GIB, 4 * GIB), mode=Mode.PACK)
    choice = Comparison(node.policy.machine, node.state, asked)
    one, other = choice.considered[:2]
    assert difference(one.rank, other.rank) == (Rule.WHOLE, True, False)
    assert [stated(choice, each, Rule.WHOLE) for each in (one, other)] == [True, False]


HAS = re.compile(r"but no pool has enough: (?P<pool>.*), the best one, has (?P<left>[0-9]+)(?P<unit>m|) ?(?P<what>.*)")


@PATIENT
@given(node=nodes(), request=requests())
def test_what_a_refusal_says_the_best_pool_has_can_be_had(node: Node, request: Request) -> None:
    choice = Comparison(node.policy.machine, node.state, request)
    if choice.best is not None:
        return
    refused = refusal(choice, node.workload)
    found = HAS.search(refused.message)
    if found is None:
        told = ("no pool has shared CPUs left", "no pool is next to all of them")
        assert any(text in refused.message for text in told)
        return
    left = int(found["left"]) * (1 if found["unit"] else 1000)
    match refused.code:
        case RefusalCode.TOO_FEW_EXCLUSIVE_CPUS if left:
            lack, modest = Lack.EXCLUSIVE, attrs.evolve(request.cpu, full=left // 1000)
        case RefusalCode.TOO_LITTLE_SHARED_CPU if left:
            lack, modest = Lack.SHARED, attrs.evolve(request.cpu, part=left)
        case _:
            return
    able = Comparison(choice.machine, choice.state, attrs.evolve(request, cpu=modest)).considered
    assert lack is not next(one.lack for one in able if one.pool.name == found["pool"])


def test_a_shared_part_that_is_missing_is_told_as_such() -> None:
    node = Node(make_policy("1p.4c mem=4Gi", "cpuset:0"))
    node.add("owner", 2000)
    node.add("shared", 800, qos=QoSClass.BURSTABLE)
    with pytest.raises(RefusedError) as refused:
        node.add("it", 1500)
    assert refused.value.code is RefusalCode.TOO_LITTLE_SHARED_CPU
    assert refused.value.message == (
        "default/pod-it/it wants 1 exclusive CPU (isolated if possible) and 500m of shared CPUs, "
        "but no pool has enough: socket #0, the best one, has 200m of shared CPUs left"
    )


def test_missing_memory_next_to_devices_is_told_as_such() -> None:
    node = Node(make_policy("2p.4c mem=4Gi", "cpuset:0"))
    near = (TopologyHint("/sys/x", packages=frozenset({1})),)
    node.add("first", 1000, 3, hints=near)
    with pytest.raises(RefusedError) as refused:
        node.add("it", 1000, 2, hints=near, annotations={f"topologyhints.{NS}": "strict"})
    assert refused.value.code is RefusalCode.TOO_LITTLE_MEMORY
    assert refused.value.message == (
        "default/pod-it/it wants 2Gi of any memory next to its devices and disks (topologyhints: strict), "
        "but no pool has enough: socket #1, the best one, has 1Gi left"
    )
