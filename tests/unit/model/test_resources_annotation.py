from __future__ import annotations

import json

import pytest

from crirm.model.quantity import Bytes, MilliCPU
from crirm.model.resources import Requirements
from crirm.model.resources_annotation import ResourcesAnnotationError, parse_annotation


def containers(**entries: object) -> str:
    return json.dumps({"containers": entries})


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        pytest.param({}, Requirements(), id="nothing asked for"),
        pytest.param(None, Requirements(), id="null"),
        pytest.param(
            {"requests": {"cpu": "1500m", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "2Gi"}},
            Requirements(MilliCPU(1500), MilliCPU(2000), Bytes(1 << 30), Bytes(2 << 30)),
            id="requests and limits",
        ),
        pytest.param(
            {"limits": {"cpu": "2"}},
            Requirements(MilliCPU(2000), MilliCPU(2000)),
            id="a missing request is the limit, as in Kubernetes",
        ),
        pytest.param({"requests": {"cpu": 2}}, Requirements(MilliCPU(2000)), id="a number that is not quoted"),
        pytest.param({"requests": {"cpu": 0.5}}, Requirements(MilliCPU(500)), id="a fraction that is not quoted"),
        pytest.param(
            {"limits": {"b.com/x": "2", "a.com/y": "1"}, "claims": [{"name": "x"}]},
            Requirements(extended=(("a.com/y", 1), ("b.com/x", 2))),
            id="extended resources, sorted; claims are not ours",
        ),
    ],
)
def test_entry(entry: object, expected: Requirements) -> None:
    assert parse_annotation(containers(c=entry), "c") == expected


def test_init_containers_win() -> None:
    text = json.dumps(
        {
            "containers": {"a": {"requests": {"cpu": "1"}}, "b": {"requests": {"cpu": "2"}}},
            "initContainers": {"a": {"requests": {"cpu": "3"}}},
        }
    )
    assert parse_annotation(text, "a") == Requirements(MilliCPU(3000))
    assert parse_annotation(text, "b") == Requirements(MilliCPU(2000))


def test_a_fault_concerns_the_container_that_it_is_about() -> None:
    text = containers(a={"requests": {"cpu": "1"}}, b="nonsense")
    assert parse_annotation(text, "a") == Requirements(MilliCPU(1000))


@pytest.mark.parametrize("text", ["{}", "null", '{"containers": null}', '{"other": 1}'])
def test_no_containers(text: str) -> None:
    assert parse_annotation(text, "c") is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        pytest.param("", "$ is not JSON", id="empty"),
        pytest.param("{", "$ is not JSON", id="cut off"),
        pytest.param("[" * 100_000, "$ is not JSON", id="nested without end"),
        pytest.param("[]", "$ is a JSON list; write an object", id="a list"),
        pytest.param('{"containers": 1}', "$.containers is a JSON int", id="containers of the wrong type"),
        pytest.param(containers(c="x"), "$.containers.c is a JSON str", id="an entry of the wrong type"),
        pytest.param(
            containers(c={"limits": []}), "$.containers.c.limits is a JSON list", id="limits of the wrong type"
        ),
        pytest.param(
            containers(c={"limits": {"cpu": True}}),
            "$.containers.c.limits.cpu is a JSON bool",
            id="an amount that is none",
        ),
        pytest.param(
            containers(c={"limits": {"cpu": "many"}}),
            "$.containers.c has an invalid quantity: 'many' is not a quantity",
            id="a word for an amount",
        ),
        pytest.param(
            containers(c={"requests": {"memory": "-1"}}),
            "$.containers.c has an invalid quantity: '-1' is negative",
            id="negative",
        ),
        pytest.param(
            containers(c={"limits": {f"example.com/{n}": "1" for n in range(101)}}),
            "$.containers.c.limits has 101 quantities; the limit is 100",
            id="very many",
        ),
        pytest.param('{"containers": {"c": {"limits": {"cpu": NaN}}}}', "'nan' is not a quantity", id="not a number"),
    ],
)
def test_refused(text: str, fault: str) -> None:
    with pytest.raises(ResourcesAnnotationError) as caught:
        parse_annotation(text, "c")
    assert str(caught.value).startswith("annotation intel.com/resources: ")
    assert fault in str(caught.value)
