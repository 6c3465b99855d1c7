from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crirm.model.qos import QoSClass
from crirm.model.quantity import Bytes, MilliCPU
from crirm.model.resources import Requirements
from crirm.model.workload import Container, ContainerKey, ContainerState, Pod, PodId
from crirm.policy.overrides import (
    Amounts,
    ConflictError,
    Override,
    OverrideError,
    decode_override,
    decode_overrides,
    overridden,
    override_of,
)

POD = Pod(PodId("p"), "u", "db-0", "shop", QoSClass.BURSTABLE, labels={"app": "db"})
CONTAINER = Container(ContainerKey("k"), POD.id, "server", ContainerState.RUNNING, Requirements())
BIG = {"resources": {"limits": {"cpu": "4"}}}
GI = 1 << 30


def scope(*, nodes: list[str] | None = None, key: str = "", value: str = "") -> dict[str, Any]:
    expressions = [{"key": key, "operator": "Equals", "values": [value]}] if key else None
    return {name: part for name, part in {"nodes": nodes, "containers": expressions}.items() if part is not None}


# --- reading -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resources", "cpu", "memory"),
    [
        pytest.param({"limits": {"cpu": "2"}}, Amounts(2000, 2000), None, id="a missing request equals the limit"),
        pytest.param({"requests": {"cpu": "500m"}}, Amounts(500, None), None, id="a missing limit is no limit"),
        pytest.param(
            {"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"cpu": 1.5, "memory": 2 * GI}},
            Amounts(1000, 1500),
            Amounts(GI, 2 * GI),
            id="numbers as well as texts",
        ),
        pytest.param({"requests": None, "limits": {"cpu": None}}, None, None, id="null is as good as nothing"),
        pytest.param(None, None, None, id="no resources at all"),
        pytest.param(
            {"requests": {"cpu": "0"}, "limits": {"cpu": "0"}}, Amounts(0, 0), None, id="nothing of a resource"
        ),
    ],
)
def test_resources(resources: object, cpu: object, memory: object) -> None:
    found = decode_override("a", {"resources": resources})
    assert Override("a", (), cpu, memory) == found  # type: ignore[arg-type] # plain numbers compare


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        pytest.param([], "$: is not a mapping; write the fields scope, resources, classes, toptierLimit", id="a list"),
        pytest.param(
            {"resource": {}},
            "$.resource: unknown field; write one of scope, resources, classes, toptierLimit",
            id="typo",
        ),
        pytest.param({"scope": {}}, "$.scope: is not a list", id="a scope that is no list"),
        pytest.param({"scope": ["x"]}, "$.scope[0]: is not a mapping; write the fields nodes, containers", id="text"),
        pytest.param(
            {"scope": [{}, {"nodes": [""]}]},
            "$.scope[1].nodes[0]: is not a node name; write for example worker-1 or worker-*",
            id="a node without a name",
        ),
        pytest.param(
            {"scope": [{"nodes": ["w*r"]}]},
            "$.scope[0].nodes[0]: 'w*r' has a star before its end; write for example worker-*",
            id="a star inside",
        ),
        pytest.param(
            {
                "scope": [
                    {"containers": [{"key": "name", "operator": "Exists", "values": None}, {"operator": "Exists"}]}
                ]
            },
            "$.scope[0].containers[1].key: is missing",
            id="an expression without a key",
        ),
        pytest.param(
            {"scope": [{"containers": [7]}]}, "$.scope[0].containers[0]: is not a mapping", id="no expression"
        ),
        pytest.param(
            {"resources": {"limits": {"gpu": 1}}},
            "$.resources.limits.gpu: unknown field; write one of cpu, memory",
            id="another resource",
        ),
        pytest.param(
            {"resources": {"claims": [{}]}},
            "$.resources.claims: unknown field; write one of requests, limits",
            id="claims",
        ),
        pytest.param(
            {"resources": {"requests": {"cpu": 2}, "limits": {"cpu": "1900m"}}},
            "$.resources.limits.cpu: 1900m is less than the request, 2",
            id="a limit below the request",
        ),
        pytest.param(
            {"resources": {"limits": {"cpu": "-1"}}}, "$.resources.limits.cpu: '-1' is negative", id="less than 0"
        ),
        pytest.param(
            {"resources": {"limits": {"memory": "1 GB"}}},
            "$.resources.limits.memory: '1 GB' is not a quantity",
            id="no quantity",
        ),
        pytest.param(
            {"resources": {"limits": {"memory": True}}},
            '$.resources.limits.memory: is not a quantity; write for example "500m", 2 or "64Mi"',
            id="a truth value",
        ),
        pytest.param({"toptierLimit": "-5"}, "$.toptierLimit: '-5' is negative", id="a negative top tier limit"),
        pytest.param({"classes": {"rdt": 1}}, "$.classes.rdt: is not a class name", id="no class name"),
        pytest.param(
            {"classes": {"cpu": "x"}},
            "$.classes.cpu: unknown field; write one of rdt, blockio",
            id="another kind of class",
        ),
    ],
)
def test_faults_are_told_with_their_place(spec: object, problem: str) -> None:
    with pytest.raises(OverrideError) as caught:
        decode_override("a", spec)
    assert str(caught.value).startswith(problem)


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"classes": {"rdt": "gold"}}, id="RDT class"),
        pytest.param({"classes": {"blockio": "slow", "rdt": ""}}, id="block I/O class"),
        pytest.param({"toptierLimit": "2Gi"}, id="top tier limit"),
    ],
)
def test_what_this_version_cannot_do_is_refused_and_says_so(spec: object) -> None:
    with pytest.raises(OverrideError, match=r"not supported yet; remove this field"):
        decode_override("a", spec)


def test_classes_without_names_ask_for_nothing() -> None:
    assert Override("a") == decode_override("a", {"classes": {"rdt": "", "blockio": None}})


def test_faults_go_by_name_and_the_others_are_read() -> None:
    found, errors = decode_overrides({"z": {}, "b": 5, "a": BIG})
    assert ([one.name for one in found], list(errors)) == (["a", "z"], ["b"])


_KEYS = [
    "scope", "nodes", "containers", "key", "operator", "values", "resources", "requests", "limits", "cpu", "memory",
    "classes", "rdt", "blockio", "toptierLimit",
]  # fmt: skip
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["2", "1Gi", "*"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS) | st.text(max_size=3), inner),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=5), _JSON, max_size=3))
def test_whatever_is_sent_is_read_or_refused_by_name(document: dict[str, Any]) -> None:
    found, errors = decode_overrides(document)
    assert document.keys() == {one.name for one in found} | errors.keys()
    assert all(error.startswith("$") for error in errors.values())


# --- who they are for --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scopes", "node", "applies"),
    [
        pytest.param(None, "any", True, id="no scope is everywhere"),
        pytest.param([], "any", True, id="an empty scope too"),
        pytest.param([scope()], "any", True, id="a scope that says nothing as well"),
        pytest.param([scope(nodes=["worker-1"])], "worker-1", True, id="this node"),
        pytest.param([scope(nodes=["worker-1"])], "worker-10", False, id="a name is a whole name"),
        pytest.param([scope(nodes=["other", "work*"])], "worker-1", True, id="a prefix"),
        pytest.param([scope(nodes=["*"])], "worker-1", True, id="a star alone"),
        pytest.param([scope(key="pod/labels/app", value="db")], "n", True, id="an expression that holds"),
        pytest.param([scope(key="pod/labels/app", value="web")], "n", False, id="one that does not"),
        pytest.param(
            [scope(nodes=["x"]), scope(nodes=["n"], key="name", value="other")],
            "n",
            False,
            id="node and container, both",
        ),
        pytest.param(
            [scope(nodes=["n"], key="name", value="other"), scope(nodes=["n"])], "n", True, id="one scope suffices"
        ),
    ],
)
def test_scope(scopes: object, node: str, *, applies: bool) -> None:
    here = decode_override("a", {**BIG, "scope": scopes}).on(node)
    assert applies == (here is not None and override_of([here], CONTAINER, POD) is here)


def test_two_for_one_container_are_a_conflict_that_names_them() -> None:
    both = [decode_override(name, BIG) for name in ("second", "first")]
    with pytest.raises(ConflictError, match="several overrides are for it: first, second"):
        override_of(both, CONTAINER, POD)


def test_a_best_effort_container_is_given_no_resources() -> None:
    modest = attrs.evolve(POD, qos=QoSClass.BEST_EFFORT)
    with pytest.raises(ConflictError, match="override a sets resources, and its pod is BestEffort"):
        override_of([decode_override("a", BIG)], CONTAINER, modest)
    nothing = decode_override("a", {})
    assert override_of([nothing], CONTAINER, modest) is nothing


# --- what they do ------------------------------------------------------------------------------------------------


def test_a_resource_that_is_named_is_replaced_and_the_other_stays() -> None:
    own = Requirements(MilliCPU(100), MilliCPU(200), Bytes(GI), Bytes(2 * GI), extended=(("example.com/x", 1),))
    assert attrs.evolve(own, cpu_request=MilliCPU(4000), cpu_limit=MilliCPU(4000)) == overridden(
        own, decode_override("a", BIG)
    )
    more_memory = decode_override("a", {"resources": {"requests": {"memory": "3Gi"}}})
    assert attrs.evolve(own, memory_request=Bytes(3 * GI), memory_limit=None) == overridden(own, more_memory)


def test_a_spec_read_from_the_json_of_go_is_the_same() -> None:
    text = """{"scope": [{"nodes": null, "containers": [{"key": "name", "operator": "Equals", "values": ["server"]}]}],
        "resources": {"limits": {"cpu": "4"}}, "classes": null}"""
    assert override_of([decode_override("a", json.loads(text))], CONTAINER, POD) is not None
