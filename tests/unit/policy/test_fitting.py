"""Whether pods would fit: what is asked is what would happen, and the state stays as it is."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from crirm.errors import CrirmError
from crirm.hosts.synthetic import parse_spec, topology_of
from crirm.model.decision import Spent
from crirm.model.events import ContainerRequested, PodAdded
from crirm.model.qos import QoSClass
from crirm.model.quantity import Bytes, MilliCPU
from crirm.model.resources import Requirements
from crirm.model.workload import Container, ContainerKey, ContainerState, Pod, PodId
from crirm.policy import annotations as asked
from crirm.policy import pipeline
from crirm.policy.annotations import KEYS, full_key, short_key
from crirm.policy.api import Constraints, CPUConstraint, Policy
from crirm.policy.fitting import MOST_COPIES, Wish, copies, record, wish_of
from crirm.policy.registry import POLICIES
from crirm.policy.topology_aware.options import TopologyAwareOptions
from tests.unit.policy.nodes import node

NS = "cri-resource-manager.intel.com"
GIB = Bytes(1 << 30)
HOST = "2p.4c mem=4Gi,4Gi"


def policy(name: str = "topology-aware") -> Policy:
    kind = POLICIES[name]
    reserved = Constraints(reserved=CPUConstraint(millicpu=MilliCPU(1000)))
    return kind.make(topology_of(parse_spec(HOST)), reserved, kind.options())


def answer(node: Policy, question: dict[str, Any], state: Any = None) -> dict[str, Any]:
    wish = wish_of(question)
    found = record(node, wish, list(copies(node, state or pipeline.initial(node), wish, 0.0)))
    assert found == json.loads(json.dumps(found)), "it goes over a socket"
    return found


@pytest.mark.parametrize(
    ("question", "requirements", "qos"),
    [
        pytest.param(
            {"cpu": "4", "memory": "8Gi"},
            Requirements(MilliCPU(4000), MilliCPU(4000), Bytes(8 << 30), Bytes(8 << 30)),
            QoSClass.GUARANTEED,
            id="Guaranteed, the default: requests are limits",
        ),
        pytest.param(
            {"cpu": "500m", "memory": "1Gi", "cpu_limit": "2", "memory_limit": "2Gi", "qos": "burstable"},
            Requirements(MilliCPU(500), MilliCPU(2000), GIB, Bytes(2 << 30)),
            QoSClass.BURSTABLE,
            id="Burstable",
        ),
        pytest.param(
            {"memory_limit": "1Gi", "qos": "Burstable"},
            Requirements(MilliCPU(0), None, GIB, GIB),
            QoSClass.BURSTABLE,
            id="with only a limit as much is requested",
        ),
        pytest.param({"qos": "besteffort", "cpu": None}, Requirements(), QoSClass.BEST_EFFORT, id="BestEffort"),
    ],
)
def test_a_question_is_read_as_the_api_server_reads_a_pod(
    question: dict[str, Any], requirements: Requirements, qos: QoSClass
) -> None:
    assert wish_of(question) == Wish(qos, requirements)


@pytest.mark.parametrize(
    ("question", "complaint"),
    [
        ({"qos": "gold"}, "write guaranteed, burstable or besteffort"),
        ({"cpu": "1"}, "needs cpu and memory"),
        ({"cpu": "1", "memory": "1Gi", "cpu_limit": "2"}, "give both and no limits"),
        ({"cpu": "0", "memory": "1Gi"}, "more than 0"),
        ({"qos": "besteffort", "cpu": "1"}, "leave out cpu"),
        ({"qos": "burstable"}, "ask for besteffort"),
        ({"qos": "burstable", "cpu": "2", "cpu_limit": "1"}, "a limit is at least the request"),
        ({"qos": "burstable", "memory": "2", "memory_limit": "1"}, "a limit is at least the request"),
        ({"cpu": "x", "memory": "1Gi"}, "cpu: 'x' is not a quantity"),
        ({"cpu": "1", "memory": "-1Gi"}, "memory: .* is negative"),
        ({"cpu": "1", "memory": "1Gi", "count": 0}, f"write 1 to {MOST_COPIES}"),
        ({"cpu": "1", "memory": "1Gi", "count": "2"}, f"write 1 to {MOST_COPIES}"),
        ({"cpu": "1", "memory": "1Gi", "annotations": {"prefer-shared": "true"}}, "no such annotation"),
        ({"cpu": "1", "memory": "1Gi", "annotations": ["a"]}, "names and values"),
    ],
)
def test_what_cannot_be_a_pod_is_said_to_be_so(question: dict[str, Any], complaint: str) -> None:
    with pytest.raises(CrirmError, match=complaint):
        wish_of(question)


def test_each_copy_meets_the_node_as_the_others_left_it_and_the_state_stays() -> None:
    node = policy()
    state = pipeline.initial(node)
    found = answer(node, {"cpu": "3", "memory": "1Gi", "count": 4}, state)
    assert (found["fits"], found["fitting"], found["count"]) == (False, 2, 4)
    assert [len(copy["cpus"]) > 0 for copy in found["copies"]] == [True, True]
    assert found["copies"][0]["cpus"] != found["copies"][1]["cpus"]
    assert (found["refused"]["copy"], found["refused"]["code"]) == (3, "too-few-exclusive-cpus")
    assert found["refused"]["fits"][0] == "with 2 CPUs fewer"
    assert state == pipeline.initial(node)


@pytest.mark.parametrize("name", ["static", "topology-aware"])
def test_it_is_what_a_real_pod_then_gets(name: str) -> None:
    node = policy(name)
    found = answer(node, {"cpu": "2", "memory": "1Gi"})
    pod = Pod(PodId("p"), "p", "p", "default", QoSClass.GUARANTEED)
    asked = Requirements(MilliCPU(2000), MilliCPU(2000), GIB, GIB)
    container = Container(ContainerKey("k"), pod.id, "main", ContainerState.CREATING, asked)
    state = pipeline.step(node, pipeline.initial(node), PodAdded(pod), 0.0).state
    decision = pipeline.step(node, state, ContainerRequested(container), 0.0)
    assert decision.adjustment is not None
    assert found["copies"][0]["cpus"] == str(decision.adjustment.cpus)


def test_what_others_lose_is_named() -> None:
    node = policy()
    pod = Pod(PodId("p"), "p", "web", "shop", QoSClass.BURSTABLE)
    container = Container(ContainerKey("k"), pod.id, "c", ContainerState.CREATING, Requirements(MilliCPU(100)))
    state = pipeline.step(node, pipeline.initial(node), PodAdded(pod), 0.0).state
    state = pipeline.step(node, state, ContainerRequested(container), 0.0).state
    (move, *_) = answer(node, {"cpu": "6", "memory": "1Gi"}, state)["copies"][0]["moves"]
    assert (move["name"], move["what"]) == ("shop/web/c", "CPUs")
    assert move["why"].startswith("default/fits-1/main took")


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("prefer-shared-cpus", f"prefer-shared-cpus.{NS}"),
        ("prefer-shared-cpus/pod", f"prefer-shared-cpus.{NS}/pod"),
        (f"memory-type.{NS}/container.main", f"memory-type.{NS}/container.main"),
        ("affinity", f"{NS}/affinity"),
        (f"{NS}/memory-type", f"{NS}/memory-type"),
        (f"nothing.{NS}", None),
        ("prefer-shared-cpu", None),
    ],
)
def test_names_of_annotations_may_be_short(name: str, full: str | None) -> None:
    assert full_key(name) == full


def test_all_annotations_have_a_short_name() -> None:
    texts = {value for value in vars(asked).values() if isinstance(value, str)}
    named = {text for text in texts if text.endswith(f".{NS}") or text.startswith(f"{NS}/")}
    assert named == set(KEYS)
    assert len({short_key(key) for key in KEYS}) == len(KEYS)


def test_what_was_moved_long_ago_bounds_nothing() -> None:
    one = node(
        "2p.2n.4c mem=8Gi", options=attrs.evolve(TopologyAwareOptions(moves_per_arrival="1"), moves_per_minute="1")
    )
    for name in ("a", "b", "c", "d"):
        one.run(name, 2000, 1)
    state = attrs.evolve(one.state, moved=(Spent(one.now_s - 61, 1),))
    wish = wish_of({"cpu": "4", "memory": "1Gi"})
    (found,) = copies(one.policy, state, wish, one.now_s)
    assert {move.why for move in found.moves} == {
        "default/fits-1/main fits one NUMA node now, which it would not otherwise"
    }
