from __future__ import annotations

import pytest

from crirm.model.qos import QoSClass
from crirm.model.resources import Requirements
from crirm.model.workload import Container, ContainerId, ContainerKey, ContainerState, Pod, PodId
from crirm.policy.expressions import ExpressionError, decode_expression, parse_key

POD = Pod(
    PodId("pod-id"),
    "pod-uid",
    "web-0",
    "shop",
    QoSClass.BURSTABLE,
    labels={"app": "web", "app.kubernetes.io/name": "shop-web", "io.kubernetes.pod.name": "web-0"},
)
CONTAINER = Container(
    ContainerKey("k"),
    POD.id,
    "server",
    ContainerState.RUNNING,
    Requirements(),
    id=ContainerId("container-id"),
    labels={"role": "front", "example.com/tier/x": "gold", "io.kubernetes.container.name": "server"},
    tags={"AVX512": "true"},
)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param("name", "server", id="name"),
        pytest.param("namespace", "shop", id="namespace"),
        pytest.param("qosclass", "Burstable", id="QoS class"),
        pytest.param("id", "container-id", id="id"),
        pytest.param("labels/role", "front", id="a label"),
        pytest.param("labels/none", None, id="a label that it has not"),
        pytest.param("labels/example.com/tier/x", "gold", id="a label with slashes"),
        pytest.param("example.com/tier/x", "gold", id="a first part with a dot is a label"),
        pytest.param("io.kubernetes.container.name", "server", id="a label with dots only"),
        pytest.param("tags/AVX512", "true", id="a tag"),
        pytest.param("tags/none", None, id="a tag that it has not"),
        pytest.param("pod/name", "web-0", id="pod name"),
        pytest.param("pod/namespace", "shop", id="pod namespace"),
        pytest.param("pod/qosclass", "Burstable", id="pod QoS class"),
        pytest.param("pod/id", "pod-id", id="pod id"),
        pytest.param("pod/uid", "pod-uid", id="pod UID"),
        pytest.param("pod/labels/app", "web", id="a label of the pod"),
        pytest.param("pod/labels/app.kubernetes.io/name", "shop-web", id="a label of the pod with a slash"),
        pytest.param("/pod//labels/./app/", "web", id="the path is cleaned"),
        pytest.param("Pod/QoSClass", "Burstable", id="words in any case"),
        pytest.param(":pod/name:name", "web-0:server", id="joint keys"),
        pytest.param(":,-pod/namespace,pod/name,name", "shop-web-0-server", id="joint keys with separators"),
        pytest.param(":,-pod/name,labels/none", "web-0-", id="joint keys of which one resolves"),
        pytest.param(":labels/none:tags/none", None, id="joint keys of which none resolves"),
        pytest.param(":+=name", "server", id="one joint key"),
    ],
)
def test_keys(key: str, value: str | None) -> None:
    assert value == parse_key(key).value(CONTAINER, POD)


def test_a_container_without_an_id_has_none() -> None:
    unborn = Container(ContainerKey("k"), POD.id, "c", ContainerState.CREATING, Requirements())
    assert parse_key("id").value(unborn, POD) is None


@pytest.mark.parametrize(
    ("operator", "values", "key", "expected"),
    [
        pytest.param("Equals", ["server"], "name", True, id="Equals"),
        pytest.param("Equals", ["other"], "name", False, id="Equals another"),
        pytest.param("Equals", ["*"], "name", True, id="Equals anything"),
        pytest.param("Equals", ["*"], "labels/none", False, id="Equals anything, unresolved"),
        pytest.param("NotEqual", ["other"], "name", True, id="NotEqual"),
        pytest.param("NotEqual", ["server"], "name", False, id="NotEqual to itself"),
        pytest.param("NotEqual", ["server"], "labels/none", True, id="NotEqual, unresolved"),
        pytest.param("In", ["other", "server"], "name", True, id="In"),
        pytest.param("In", ["other", "*"], "name", True, id="In anything"),
        pytest.param("In", ["other"], "name", False, id="In others"),
        pytest.param("In", ["*"], "labels/none", False, id="In anything, unresolved"),
        pytest.param("NotIn", ["other"], "name", True, id="NotIn"),
        pytest.param("NotIn", ["other", "server"], "name", False, id="NotIn with itself"),
        pytest.param("NotIn", ["*"], "name", False, id="NotIn anything"),
        pytest.param("NotIn", ["*"], "labels/none", True, id="NotIn, unresolved"),
        pytest.param("Exists", [], "labels/role", True, id="Exists"),
        pytest.param("Exists", [], "labels/none", False, id="Exists, unresolved"),
        pytest.param("NotExist", [], "labels/role", False, id="NotExist"),
        pytest.param("NotExist", [], "labels/none", True, id="NotExist, unresolved"),
        pytest.param("NotExists", [], "labels/none", True, id="NotExists is NotExist"),
        pytest.param("AlwaysTrue", [], "labels/none", True, id="AlwaysTrue"),
        pytest.param("Matches", ["ser*"], "name", True, id="Matches"),
        pytest.param("Matches", ["ser"], "name", False, id="Matches a part"),
        pytest.param("Matches", ["*"], "labels/none", False, id="Matches, unresolved"),
        pytest.param("MatchesNot", ["ser*"], "name", False, id="MatchesNot"),
        pytest.param("MatchesNot", ["web*"], "name", True, id="MatchesNot another"),
        pytest.param("MatchesNot", ["*"], "labels/none", True, id="MatchesNot, unresolved"),
        pytest.param("MatchesAny", ["web*", "s?rver"], "name", True, id="MatchesAny"),
        pytest.param("MatchesAny", ["web*", "ser"], "name", False, id="MatchesAny without one"),
        pytest.param("MatchesNone", ["web*", "ser"], "name", True, id="MatchesNone"),
        pytest.param("MatchesNone", ["web*", "s*"], "name", False, id="MatchesNone with one"),
        pytest.param("MatchesNone", ["*"], "labels/none", True, id="MatchesNone, unresolved"),
    ],
)
def test_operators(operator: str, values: list[str], key: str, expected: bool) -> None:
    document = {"key": key, "operator": operator, **({"values": values} if values else {})}
    assert expected is decode_expression(document).holds(CONTAINER, POD)


def test_always_true_needs_no_key() -> None:
    assert decode_expression({"operator": "AlwaysTrue"}).holds(CONTAINER, POD)


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        pytest.param("name", "$: is not a mapping; write the fields operator, key, values", id="a text"),
        pytest.param({"key": "name", "operator": "In", "value": "a"}, "$.value: unknown field", id="a wrong field"),
        pytest.param({"key": "name"}, "$.operator: is missing", id="no operator"),
        pytest.param({"operator": "Exists"}, "$.key: is missing", id="no key"),
        pytest.param(
            {"key": "name", "operator": "Equal", "values": ["a"]},
            "$.operator: 'Equal' is not an operator; write one of Equals, NotEqual, In,",
            id="a wrong operator",
        ),
        pytest.param({"key": "name", "operator": ["In"]}, "$.operator: is not a string", id="a list as operator"),
        pytest.param({"key": ["a"], "operator": "Exists"}, "$.key: is not a string", id="a list as key"),
        pytest.param(
            {"key": "name", "operator": "In", "values": "a"}, "$.values: is not a list", id="a text as values"
        ),
        pytest.param(
            {"key": "name", "operator": "In", "values": ["a", []]},
            "$.values[1]: is not a string",
            id="a list as value",
        ),
        pytest.param(
            {"key": "name", "operator": "Equals", "values": ["a", "b"]},
            "$.values: Equals takes exactly one value, not 2",
            id="two values for Equals",
        ),
        pytest.param(
            {"key": "name", "operator": "MatchesNot"},
            "$.values: MatchesNot takes exactly one value, not 0",
            id="none for MatchesNot",
        ),
        pytest.param({"key": "name", "operator": "In"}, "$.values: In takes at least one", id="no values for In"),
        pytest.param(
            {"key": "name", "operator": "Exists", "values": ["a"]},
            "$.values: Exists takes no values; remove them",
            id="a value for Exists",
        ),
        pytest.param(
            {"key": "name", "operator": "MatchesAny", "values": ["a", "[b"]},
            "$.values[1]: '[b' is not a glob pattern: ",
            id="a wrong pattern",
        ),
        pytest.param(
            {"key": "nmae", "operator": "Exists"},
            "$.key: 'nmae' is not a key; write one of name, namespace,",
            id="a key that names nothing",
        ),
        pytest.param({"key": "", "operator": "Exists"}, "$.key: '' is not a key", id="an empty key"),
        pytest.param(
            {"key": "labels", "operator": "Exists"}, "$.key: 'labels' is not a key", id="labels without a label"
        ),
        pytest.param({"key": "pod", "operator": "Exists"}, "$.key: 'pod' is not a key", id="a pod as a whole"),
        pytest.param(
            {"key": "pod/tags/x", "operator": "Exists"}, "$.key: 'pod/tags/x' is not a key", id="pods have no tags"
        ),
        pytest.param(
            {"key": "pod/labels", "operator": "Exists"},
            "$.key: 'pod/labels' is not a key",
            id="pod labels without a label",
        ),
        pytest.param({"key": "name/x", "operator": "Exists"}, "$.key: 'name/x' is not a key", id="below a name"),
        pytest.param(
            {"key": ":ab", "operator": "Exists"}, "$.key: ':ab' is too short for a joint key", id="a short joint key"
        ),
        pytest.param(
            {"key": ":name:nmae", "operator": "Exists"},
            "$.key: 'nmae' is not a key",
            id="a joint key of which one is wrong",
        ),
    ],
)
def test_faults(document: object, fault: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        decode_expression(document)
    assert str(caught.value).startswith(fault)
