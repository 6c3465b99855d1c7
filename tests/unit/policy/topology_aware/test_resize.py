from __future__ import annotations

import json

import pytest

from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.qos import QoSClass
from crirm.model.refusal import RefusalCode, RefusalReason, RefusedError
from crirm.model.workload import Container, ContainerKey, ContainerState, TopologyHint, Workload
from crirm.policy.topology_aware.options import TopologyAwareOptions
from tests.unit.policy.topology_aware.support import NS, Node, make_policy, requirements, trail_of

N4C16 = "2p.2n.2c.2t threads=adjacent mem=2Gi"
BURSTABLE = QoSClass.BURSTABLE


@pytest.mark.parametrize(
    ("before", "after", "old", "new"),
    [
        pytest.param(2000, 3000, "4-5", "4-6", id="growing keeps the old CPUs"),
        pytest.param(3000, 1000, "4-6", "6", id="shrinking stays on some and gives whole cores back"),
        pytest.param(2000, 2000, "4-5", "4-5", id="nothing changes"),
        pytest.param(2000, 500, "4-5", "4-7", id="from exclusive to shared CPUs"),
        pytest.param(500, 2000, "4-7", "4-5", id="from shared to exclusive ones"),
        pytest.param(1000, 1500, "4", "4-7", id="a part of a CPU more"),
        pytest.param(2000, 5000, "4-5", "1,4-7", id="a larger pool where its own is too small, with the old CPUs"),
        pytest.param(5000, 2000, "8-12", "8-9", id="no smaller pool without need"),
    ],
)
def test_resize(before: int, after: int, old: str, new: str) -> None:
    node = Node(make_policy(N4C16, "cpuset:0"))
    node.add("c", before)
    assert old == node.cpus("c")
    node.resize("c", after)
    assert new == node.cpus("c")


def test_the_first_cpus_are_the_last_to_be_given_back() -> None:
    node = Node(make_policy("1p.2n.4c.2t", "cpuset:0"))
    node.add("c", 2000)
    first = node.cpus("c")
    node.resize("c", 6000)
    assert CPUSet.parse(first) < CPUSet.parse(node.cpus("c"))
    node.resize("c", 3000)
    assert CPUSet.parse(first) < CPUSet.parse(node.cpus("c"))
    node.resize("c", 2000)
    assert node.cpus("c") == first
    node.resize("c", 1000)
    assert CPUSet.parse(node.cpus("c")) < CPUSet.parse(first)


def test_who_grows_in_a_large_pool_stays_beside_its_cpus() -> None:
    """All of another package is free, but so is room in its own node."""
    node = Node(make_policy("2p.2n.4c.1t", "cpuset:0"))
    node.add("c", 5000)
    node.add("d", 4000)
    before = CPUSet.parse(node.cpus("c"))
    assert node.pool("c") == "socket #1"
    node.remove("d")
    node.resize("c", 7000)
    assert before < CPUSet.parse(node.cpus("c")) <= CPUSet.parse("8-15")


def test_a_saved_grant_without_first_cpus_has_those_it_has_now() -> None:
    node = Node(make_policy(N4C16, "cpuset:0"))
    node.add("c", 2000)
    node.resize("c", 3000)
    saved = json.loads(json.dumps(node.policy.save(node.state)))
    assert saved["c"][1]["first"] == "4-5"
    assert node.policy.restore(saved, node.workload).state == node.state
    del saved["c"][1]["first"]
    old = node.policy.restore(saved, node.workload).state
    assert str(old.granted(ContainerKey("c")).first) == "4-6"


@pytest.mark.parametrize(
    ("qos", "cpu", "said"),
    [
        (QoSClass.GUARANTEED, 16000, "has 15 to spare with what the container has, 1 too few for this resize"),
        (BURSTABLE, 15500, "has 15 left with what the container has, 500m too few for this resize"),
    ],
)
def test_a_refused_resize_says_by_how_much_it_does_not_fit(qos: QoSClass, cpu: int, said: str) -> None:
    node = Node(make_policy(N4C16, "cpuset:0"))
    node.add("c", 2000, qos=qos)
    with pytest.raises(RefusedError, match=said):
        node.resize("c", cpu)


def test_a_full_pool_is_left_for_one_with_room() -> None:
    node = Node(make_policy(N4C16, "cpuset:0"))
    node.add("c", 2000)
    for number, cpu in enumerate((2900, 1900)):
        near = TopologyHint("/sys/x", nodes=NodeSet.of(number))
        node.add(f"beside{number}", cpu, qos=BURSTABLE, hints=(near,))
    assert (node.cpus("c"), node.cpus("beside0"), node.cpus("beside1")) == ("4-5", "1-3", "6-7")
    placement = node.resize("c", 3000)
    assert (node.cpus("c"), node.cpus("beside1")) == ("8-10", "4-7")
    trail = trail_of(placement)
    assert trail.notes == ("moved out of NUMA node #1, which is too small for the new size",)
    assert trail.verdicts[0].pool == trail.chosen == "NUMA node #2"


def test_staying_is_told() -> None:
    node = Node(make_policy(N4C16, "cpuset:0"))
    node.add("c", 2000)
    trail = trail_of(node.resize("c", 3000))
    assert (trail.chosen, trail.notes) == ("NUMA node #1", ("stays in its pool",))
    assert trail.granted == "exclusive CPUs 4-6; memory of NUMA nodes 1"


def test_isolated_cpus_stay_isolated_as_far_as_they_go() -> None:
    node = Node(make_policy("1p.8c isolated=4-5", "cpuset:0"))
    annotations = {f"prefer-isolated-cpus.{NS}": "true"}
    node.add("c", 1000, annotations=annotations)
    assert node.cpus("c") == "4"
    node.resize("c", 2000)
    assert node.cpus("c") == "4-5"
    node.resize("c", 3000)
    assert node.cpus("c") == "1-3"
    node.resize("c", 2000)
    assert node.cpus("c") == "1-2"


def test_a_neighbour_follows() -> None:
    node = Node(make_policy("1p.8c", "cpuset:0"))
    node.add("shared", 100, qos=BURSTABLE)
    node.add("c", 2000)
    placement = node.resize("c", 3000)
    assert set(placement.changed) == {"c", "shared"}
    assert (node.cpus("c"), node.cpus("shared")) == ("1-3", "4-7")
    assert [(move.before, move.after, move.why) for move in trail_of(placement).moves] == [
        ("3-7", "4-7", "default/pod-c/c took exclusive CPUs 3")
    ]


def test_more_memory_needs_no_other_cpus() -> None:
    node = Node(make_policy(N4C16, "cpuset:0"))
    node.add("c", 500, 1)
    trail = trail_of(node.resize("c", 500, 3))
    assert (node.pool("c"), node.mems("c")) == ("NUMA node #1", "0-1")
    assert trail.notes[-1] == "its pool has too little memory to guarantee its limit, so it may use NUMA nodes 0-1"
    node.resize("c", 500, 1)
    assert node.mems("c") == "1"


@pytest.mark.parametrize(("cpu", "memory"), [pytest.param(16000, 0, id="CPUs"), pytest.param(500, 9, id="memory")])
def test_a_refused_resize_changes_nothing(cpu: int, memory: float) -> None:
    node = Node(make_policy(N4C16, "cpuset:0"))
    node.add("c", 2000, 1)
    before = node.state
    with pytest.raises(RefusedError) as refused:
        node.resize("c", cpu, memory)
    assert refused.value.reason is RefusalReason.NO_ROOM
    assert node.state is before


def test_only_what_was_granted_can_be_resized() -> None:
    node = Node(make_policy(N4C16, "cpuset:0"))
    wanted = requirements(QoSClass.GUARANTEED, 1000)
    stranger = Container(ContainerKey("x"), next(iter(node.workload.pods), "p"), "x", ContainerState.RUNNING, wanted)  # type: ignore[arg-type]
    with pytest.raises(RefusedError, match="has no grant") as refused:
        node.policy.resize(node.state, Workload(), stranger)
    assert refused.value.code is RefusalCode.NOT_PLACED


def test_reserved_containers_grow_in_the_reserved_cpus_and_beyond() -> None:
    node = Node(make_policy(N4C16, "cpuset:0-1"))
    node.add("c", 500, qos=BURSTABLE, namespace="kube-system")
    node.resize("c", 2000)
    assert node.cpus("c") == "0-1"
    node.resize("c", 2500)
    assert node.cpus("c") == "2-15"
    node.resize("c", 1000)
    assert node.cpus("c") == "0-1"


def test_a_namespace_that_has_become_a_reserved_one_counts_from_the_next_resize() -> None:
    node = Node(make_policy(N4C16, "cpuset:0-1"))
    node.add("c", 500, qos=BURSTABLE, namespace="infra")
    assert node.pool("c") == "NUMA node #1"
    node.policy = make_policy(N4C16, "cpuset:0-1", TopologyAwareOptions(reserved_pool_namespaces=("infra",)))
    assert trail_of(node.resize("c", 600)).chosen == "root"
    assert node.cpus("c") == "0-1"
