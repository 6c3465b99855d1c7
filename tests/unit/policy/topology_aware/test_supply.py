from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crirm.model.cpuset import NO_CPUS, CPUSet
from crirm.model.qos import QoSClass
from crirm.model.refusal import RefusedError
from crirm.policy.topology_aware.supply import Supply
from tests.unit.policy.topology_aware.support import PATIENT, Node, make_policy

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
    if taken == supply.shared[pool]:
        return False
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
    ("cpu", "refused"),
    [pytest.param(6000, False, id="all but one CPU"), pytest.param(7000, True, id="the last one stays shared")],
)
def test_the_machine_is_never_emptied(cpu: int, refused: bool) -> None:
    node = Node(make_policy(HOST, "cpuset:0"))
    if refused:
        with pytest.raises(RefusedError, match="root, the best one, has 6 to spare"):
            node.add("owner", cpu)
    else:
        assert node.add("owner", cpu).trail
