"""Pods as a whole: the first container chooses a pool for all, the others follow it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest

from crirm.model.qos import QoSClass
from crirm.model.quantity import MilliCPU
from crirm.model.refusal import RefusalCode, RefusedError
from crirm.model.resources import LinuxResources, millicpu_to_quota, millicpu_to_shares
from crirm.model.workload import Pod, PodId
from crirm.policy.topology_aware.options import TopologyAwareOptions
from crirm.policy.topology_aware.scopes import Scope, ScopeError, scope_of
from tests.unit.policy.topology_aware.support import NS, Node, make_policy, trail_of

if TYPE_CHECKING:
    from collections.abc import Mapping

HOST = "2p.2n.4c.1t mem=4Gi"  # four NUMA nodes of 4 CPUs, CPU 0 reserved
POD_SCOPE = TopologyAwareOptions(placement_scope="pod")
GIB = 1 << 30


def pod(
    cpu: int | None,
    memory: float = 0,
    qos: QoSClass = QoSClass.GUARANTEED,
    annotations: Mapping[str, str] | None = None,
) -> Pod:
    """Return a pod whose sandbox tells a sum of requests; None: it tells nothing."""
    told = None
    if cpu is not None:
        shares, quota = millicpu_to_shares(MilliCPU(cpu)), millicpu_to_quota(MilliCPU(cpu), 0)
        told = LinuxResources(shares, quota, 100_000, round(memory * GIB))
    return Pod(PodId("p"), "u", "p", "default", qos, annotations=annotations or {}, resources=told)


def node_with(made: Pod, options: TopologyAwareOptions = POD_SCOPE) -> Node:
    """Return a node on which every NUMA node but #2 has less than 3 CPUs left."""
    node = Node(make_policy(HOST, "cpuset:0", options))
    for number in range(4):
        node.add(f"big{number}", 3000)
    taken = {node.pool(f"big{number}"): f"big{number}" for number in range(4)}
    node.remove(taken["NUMA node #2"])
    node.workload = attrs.evolve(node.workload, pods={**node.workload.pods, made.id: made})
    return node


def test_the_first_container_goes_where_the_whole_pod_has_room() -> None:
    """Even a small one, which another node would suit as well."""
    node = node_with(pod(4000))
    trail = trail_of(node.add("init", 500, pod="p"))
    assert node.pool("init") == "NUMA node #2"
    why = {verdict.pool: verdict.why for verdict in trail.verdicts[1:]}
    assert why["NUMA node #1"] == "has no room for the whole pod; NUMA node #2 has"


def test_later_containers_follow_it_while_it_can_hold_them() -> None:
    node = node_with(pod(4000))
    node.add("sidecar", 500, pod="p")
    node.add("main", 3000, pod="p")
    assert node.pool("main") == node.pool("sidecar") == "NUMA node #2"
    elsewhere = trail_of(node.add("late", 900, pod="p"))
    assert elsewhere.chosen != "NUMA node #2"
    assert node.pool("sidecar") == "NUMA node #2", "who has a place stays there"


def test_a_pool_with_more_of_the_pod_wins_with_a_sentence() -> None:
    node = Node(make_policy(HOST, "cpuset:0", POD_SCOPE))
    made = pod(2000)
    node.workload = attrs.evolve(node.workload, pods={made.id: made})
    node.add("a", 500, pod="p")
    trail = trail_of(node.add("b", 500, pod="p"))
    assert trail.chosen == node.pool("a")
    assert trail.verdicts[1].why == f"holds 0 of the pod's containers; {node.pool('a')} holds 1"


def test_without_a_sum_the_first_goes_anywhere_and_the_others_follow() -> None:
    node = node_with(pod(None))
    node.add("a", 500, pod="p")
    assert trail_of(node.add("b", 100, pod="p")).chosen == node.pool("a")


@pytest.mark.parametrize(
    ("made", "options", "follows"),
    [
        pytest.param(pod(4000), TopologyAwareOptions(), False, id="not by default"),
        pytest.param(
            pod(4000, annotations={f"placement-scope.{NS}": "pod"}), TopologyAwareOptions(), True, id="by annotation"
        ),
        pytest.param(
            pod(4000, annotations={f"placement-scope.{NS}/pod": "container"}), POD_SCOPE, False, id="against the option"
        ),
        pytest.param(pod(4000), POD_SCOPE, True, id="by option"),
    ],
)
def test_the_whole_pod_counts(made: Pod, options: TopologyAwareOptions, follows: bool) -> None:
    node = Node(make_policy("1p.2n.8c.1t", "cpuset:0", options))
    node.workload = attrs.evolve(node.workload, pods={made.id: made})
    node.add("a", 1000, pod="p")
    node.add("b", 1000, pod="p")
    assert (node.pool("a") == node.pool("b")) is follows


def test_the_memory_of_the_whole_pod_counts_too() -> None:
    node = Node(make_policy("1p.2n.8c.1t mem=4Gi", "cpuset:0", POD_SCOPE))
    node.add("other", 1000, 2)
    made = pod(2000, 3)
    node.workload = attrs.evolve(node.workload, pods={**node.workload.pods, made.id: made})
    node.add("a", 500, 1, pod="p")
    assert node.pool("a") != node.pool("other")
    node.add("b", 500, 2, pod="p")
    assert node.pool("b") == node.pool("a")


def test_shares_of_burstable_pods_count_as_shares() -> None:
    node = node_with(pod(3500, qos=QoSClass.BURSTABLE))
    node.add("a", 100, qos=QoSClass.BURSTABLE, pod="p")
    assert node.pool("a") == "NUMA node #2"


def test_a_scope_that_is_none_is_refused_with_what_would_be_right() -> None:
    node = node_with(pod(1000, annotations={f"placement-scope.{NS}": "node"}))
    with pytest.raises(RefusedError, match="'node' is not a placement scope; write container or pod") as refused:
        node.add("a", 500, pod="p")
    assert refused.value.code is RefusalCode.BAD_ANNOTATION
    with pytest.raises(ScopeError):
        scope_of("Pod")
    assert scope_of(" pod ") is Scope.POD
