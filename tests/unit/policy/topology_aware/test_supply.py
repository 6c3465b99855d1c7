from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crirm.model.cpuset import NO_CPUS, CPUSet
from crirm.model.qos import QoSClass
from crirm.model.refusal import RefusedError
from crirm.model.workload import TopologyHint
from crirm.policy.topology_aware.supply import Supply
from tests.unit.policy.topology_aware.support import NS, PATIENT, Node, make_policy

HOST = "2p.2n.1c.2t threads=adjacent"  # pools of two CPUs, four, and eight


@st.composite
def nodes(draw: st.DrawFn) -> Node:
    """Draw a node on which a few containers run."""
    node = Node(make_policy(HOST, "cpuset:0"))
    sizes = st.sampled_from((0, 100, 500, 1000, 1500, 2000))
    for number, (cpu, qos) in enumerate(draw(st.lists(st.tuples(sizes, st.sampled_from(QoSClass)), max_size=6))):
        try:
            node.add(f"c{number}", cpu, qos=qos)
        except RefusedError:
            break
    return node


def lawful(node: Node, supply: Supply, pool: int, taken: CPUSet, part: int) -> bool:
    """Tell whether *taken* may leave the shared CPUs of a pool, and *part* still be promised from what remains."""
    for other in node.policy.machine.pools:
        left = supply.shared[other.id] - taken
        promised = node.state.shared[other.id] + (part if other.id in node.policy.machine.pools[pool].ancestors else 0)
        if 1000 * len(left) < promised or (node.state.users[other.id] and not left):
            return False
    return True


@PATIENT
@given(node=nodes(), part=st.sampled_from((0, 0, 300, 1000)))
def test_exactly_as_many_can_be_sliced_off_as_there_are_to_spare(node: Node, part: int) -> None:
    machine = node.policy.machine
    supply = Supply(machine.pools, node.state)
    for pool in machine.pools:
        cpus = list(supply.shared[pool.id])
        possible = (
            count
            for count in range(len(cpus), 0, -1)
            if any(lawful(node, supply, pool.id, CPUSet(some), part) for some in itertools.combinations(cpus, count))
        )
        count = next(possible, 0)
        assert count == supply.sliceable(pool.id, part)
        for number in range(1, count + 1):
            taken = supply.slice_off(machine.allocator, pool.id, number, NO_CPUS)
            assert len(taken) == number
            assert taken <= supply.shared[pool.id]
            assert lawful(node, supply, pool.id, taken, part)


@PATIENT
@given(node=nodes())
def test_what_is_allocatable_can_be_promised_and_no_more(node: Node) -> None:
    machine = node.policy.machine
    supply = Supply(machine.pools, node.state)
    for pool in machine.pools:
        left = [1000 * len(supply.shared[above]) - node.state.shared[above] for above in pool.ancestors]
        assert min(left) == supply.allocatable[pool.id]


def test_slicing_prefers_whole_cores_but_leaves_users_a_cpu() -> None:
    node = Node(make_policy(HOST, "cpuset:0"))
    node.add("user", qos=QoSClass.BEST_EFFORT)
    assert (node.pool("user"), node.cpus("user")) == ("NUMA node #1", "2-3")
    node.add("owner", 5000)
    assert (node.cpus("owner"), node.cpus("user")) == ("1,4-7", "2-3")
    node.resize("owner", 6000)
    assert (node.cpus("owner"), node.cpus("user")) == ("1-2,4-7", "3")


@pytest.mark.parametrize(
    ("shared", "refused"),
    [pytest.param(False, False, id="nobody shares"), pytest.param(True, True, id="somebody shares the last one")],
)
def test_the_machine_is_emptied_only_if_nobody_shares(shared: bool, refused: bool) -> None:
    node = Node(make_policy(HOST, "cpuset:0"))
    if shared:
        node.add("user", qos=QoSClass.BEST_EFFORT)
    if refused:
        with pytest.raises(RefusedError, match="root, the best one, has 6 to spare"):
            node.add("owner", 7000)
    else:
        assert node.add("owner", 7000).trail


@pytest.mark.parametrize("cpu", [1000, 2000])
def test_two_cpus_can_be_exclusive_where_nobody_shares_them(cpu: int) -> None:
    node = Node(make_policy("1p.2c", "cpuset:0") if cpu == 1000 else make_policy("1p.3c", "cpuset:0"))
    assert node.add("owner", cpu).trail
    assert len(node.grant("owner").exclusive) * 1000 == cpu


@pytest.mark.parametrize(
    ("cpu", "qos"),
    [
        pytest.param(0, QoSClass.BEST_EFFORT, id="BestEffort"),
        pytest.param(100, QoSClass.BURSTABLE, id="Burstable"),
        pytest.param(500, QoSClass.GUARANTEED, id="Guaranteed, less than a CPU"),
    ],
)
def test_who_comes_later_shares_elsewhere_or_is_refused_for_want_of_shared_cpus(cpu: int, qos: QoSClass) -> None:
    node = Node(make_policy(HOST, "cpuset:0"))
    node.add("first", 4000, hints=(TopologyHint("/sys/x", packages=frozenset({1})),))
    node.add("elsewhere", cpu, qos=qos)
    assert node.cpus("elsewhere") == "2-3"
    node.remove("elsewhere")
    node.add("second", 3000)
    with pytest.raises(RefusedError, match=r"but no pool has shared CPUs left \[too-little-shared-cpu"):
        node.add("late", cpu, qos=qos)


def test_a_user_high_in_the_tree_keeps_a_cpu_from_those_below() -> None:
    node = Node(make_policy(HOST, "cpuset:0"))
    agents = {"namespace": "kube-system", "annotations": {f"prefer-reserved-cpus.{NS}": "false"}}
    node.add("agent", qos=QoSClass.BEST_EFFORT, **agents)  # type: ignore[arg-type]  # in the root
    for number, cpus in enumerate((2000, 2000, 2000)):
        node.add(f"owner{number}", cpus)
    with pytest.raises(RefusedError, match="has 0 to spare"):
        node.add("last", 1000)
    assert node.cpus("agent") == "1"
