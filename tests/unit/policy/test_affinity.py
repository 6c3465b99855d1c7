from __future__ import annotations

from contextlib import suppress

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crirm.model.qos import QoSClass
from crirm.model.refusal import RefusalReason, RefusedError
from crirm.model.resources import Requirements
from crirm.model.workload import Container, ContainerKey, ContainerState, Pod, PodId, Workload
from crirm.policy.affinity import affinities, weights

AFFINITY = "cri-resource-manager.intel.com/affinity"
ANTI_AFFINITY = "cri-resource-manager.intel.com/anti-affinity"


@attrs.frozen
class Options:
    colocate_pods: bool = False
    colocate_namespaces: bool = False


def pod(name: str, annotations: dict[str, str] | None = None, namespace: str = "default", **labels: str) -> Pod:
    return Pod(PodId(name), f"uid-{name}", name, namespace, QoSClass.BURSTABLE, "", labels, annotations or {})


def container(
    one: Pod, name: str, state: ContainerState = ContainerState.RUNNING, tags: dict[str, str] | None = None
) -> Container:
    key = ContainerKey(f"{one.name}/{name}")
    return Container(key, one.id, name, state, Requirements(), tags=tags or {})


def weights_in(
    annotations: dict[str, str], options: Options = Options(), avx512: frozenset[str] = frozenset()
) -> dict[str, int]:
    """Return the weights for container ``c0`` of pod ``p`` beside some others, by key."""
    mine = pod("p", annotations)
    sibling = pod("q", app="web")
    stranger = pod("r", namespace="other", app="db")
    names = [(mine, "c0"), (mine, "c1"), (mine, "c2"), (sibling, "c1"), (stranger, "c2")]
    made = [container(one, name) for one, name in names]
    made = [attrs.evolve(one, tags={"AVX512": "1"} if one.key in avx512 else {}) for one in made]
    gone = container(mine, "gone", ContainerState.EXITED)
    workload = Workload({one.id: one for one in (mine, sibling, stranger)}, {one.key: one for one in (*made, gone)})
    return {str(key): weight for key, weight in weights(made[0], workload, options).items()}


@pytest.mark.parametrize(
    ("affinity", "expected"),
    [
        pytest.param("{}", {}, id="none"),
        pytest.param("c0: [c1]", {"p/c1": 1}, id="simple: another container of the pod"),
        pytest.param("c0: [c1, c2]", {"p/c1": 1, "p/c2": 1}, id="simple: several"),
        pytest.param("c1: [c0]", {"p/c1": 1}, id="simple: the other one says it"),
        pytest.param("c0: [c1]\nc1: [c0]", {"p/c1": 1}, id="simple: both say it, it counts once"),
        pytest.param("c0: [c0, gone]", {}, id="simple: itself and exited containers do not count"),
        pytest.param("c1: [c2]", {}, id="simple: others among themselves"),
        pytest.param(
            "c0: [{match: {key: name, operator: Equals, values: [c1]}}]", {"p/c1": 1}, id="full: its pod by default"
        ),
        pytest.param(
            "c0: [{scope: {operator: AlwaysTrue}, match: {key: name, operator: Equals, values: [c1]}}]",
            {"p/c1": 1, "q/c1": 1},
            id="full: a larger scope",
        ),
        pytest.param(
            "c0: [{scope: {key: namespace, operator: NotEqual, values: [default]},"
            " match: {operator: AlwaysTrue}, weight: 7}]",
            {"r/c2": 7},
            id="full: a weight",
        ),
        pytest.param(
            "c0: [{scope: {operator: AlwaysTrue}, match: {key: pod/labels/app, operator: Exists}},"
            " {scope: {operator: AlwaysTrue}, match: {key: pod/labels/app, operator: In, values: [db]}, weight: 4}]",
            {"q/c1": 1, "r/c2": 5},
            id="full: weights add up",
        ),
        pytest.param(
            "c0: [{match: {key: name, operator: Equals, values: [c1]}, weight: 99999}]",
            {"p/c1": 1000},
            id="full: the largest weight",
        ),
        pytest.param(
            "c0: [{match: {key: name, operator: Equals, values: [c1]}, weight: -99999}]",
            {"p/c1": -1000},
            id="full: the smallest weight",
        ),
        pytest.param("c0: [{match: {operator: AlwaysTrue}, weight: 0}]", {}, id="full: no weight"),
        pytest.param("c1: [{match: {operator: AlwaysTrue}}]", {}, id="full: works one way only"),
        pytest.param(
            "c0: [c1, {match: {operator: AlwaysTrue}, weight: 2}]", {"p/c1": 3, "p/c2": 2}, id="both in one list"
        ),
    ],
)
def test_affinity(affinity: str, expected: dict[str, int]) -> None:
    assert expected == weights_in({AFFINITY: affinity})
    assert {key: -weight for key, weight in expected.items()} == weights_in({ANTI_AFFINITY: affinity})


def test_affinity_and_anti_affinity_add_up() -> None:
    both = {
        AFFINITY: "c0: [c1, c2]",
        ANTI_AFFINITY: "c0: [{match: {key: name, operator: In, values: [c1]}, weight: 3}]",
    }
    assert weights_in(both) == {"p/c1": -2, "p/c2": 1}


@pytest.mark.parametrize(
    ("options", "annotations", "expected"),
    [
        pytest.param(Options(), {}, {}, id="nothing by default"),
        pytest.param(Options(colocate_pods=True), {}, {"p/c1": 10, "p/c2": 10}, id="pods"),
        pytest.param(Options(colocate_namespaces=True), {}, {"p/c1": 10, "p/c2": 10, "q/c1": 10}, id="namespaces"),
        pytest.param(Options(True, True), {}, {"p/c1": 20, "p/c2": 20, "q/c1": 10}, id="both"),  # noqa: FBT003 - both
        pytest.param(Options(True, True), {AFFINITY: "c0: [c1]"}, {"p/c1": 1}, id="not besides an affinity"),  # noqa: FBT003
        pytest.param(
            Options(colocate_pods=True), {ANTI_AFFINITY: "c1: [c2]"}, {"p/c1": 10, "p/c2": 10}, id="besides another's"
        ),
    ],
)
def test_colocation(options: Options, annotations: dict[str, str], expected: dict[str, int]) -> None:
    assert expected == weights_in(annotations, options)


@pytest.mark.parametrize(
    ("avx512", "expected"),
    [
        pytest.param({"p/c1", "r/c2"}, {"p/c1": -5, "r/c2": -5}, id="containers without AVX512 avoid those with it"),
        pytest.param({"p/c0", "p/c1", "r/c2"}, {"p/c1": 5, "r/c2": 5}, id="containers with AVX512 attract each other"),
        pytest.param({"p/c0"}, {}, id="the only one with AVX512"),
    ],
)
def test_avx512(avx512: set[str], expected: dict[str, int]) -> None:
    assert expected == weights_in({}, avx512=frozenset(avx512))


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        pytest.param("c0: [c1", "is not valid YAML: ", id="no YAML"),
        pytest.param("[c0]", "$: is not a mapping of container names to lists of affinities", id="a list"),
        pytest.param("", "$: is not a mapping", id="nothing"),
        pytest.param("c0: c1", "$.c0: is not a list of affinities", id="no list"),
        pytest.param(
            "c0: [c1, [c2]]", "$.c0[1]: is not a mapping; write the fields match, scope, weight", id="a list in it"
        ),
        pytest.param("c0: [{scope: {operator: AlwaysTrue}}]", "$.c0[0].match: is missing", id="no match"),
        pytest.param(
            "c1: [{match: {operator: AlwaysTrue}, wieght: 1}]",
            "$.c1[0].wieght: unknown field",
            id="a wrong field, though of another container",
        ),
        pytest.param(
            "c0: [{match: {operator: AlwaysTrue}, weight: 1.5}]",
            "$.c0[0].weight: is not a whole number",
            id="a wrong weight",
        ),
        pytest.param(
            "c0: [{match: {operator: AlwaysTrue}, weight: [1]}]",
            "$.c0[0].weight: is not a whole number",
            id="a list as weight",
        ),
        pytest.param(
            "c0: [{match: {key: name, operator: Is}}]",
            "$.c0[0].match.operator: 'Is' is not an operator",
            id="a wrong match",
        ),
        pytest.param(
            "c0: [{scope: name, match: {operator: AlwaysTrue}}]", "$.c0[0].scope: is not a mapping", id="a wrong scope"
        ),
        pytest.param(
            "c0:\n" + "- match: {operator: AlwaysTrue}\n" * 11, "$.c0: has more than 10 expressions", id="very many"
        ),
        pytest.param("c0: [" + "c1," * 500 + "]", "has too many parts (503 brackets", id="too many names"),
    ],
)
@pytest.mark.parametrize("key", [AFFINITY, ANTI_AFFINITY])
def test_refusals(key: str, value: str, fault: str) -> None:
    with pytest.raises(RefusedError) as caught:
        weights_in({key: value})
    assert str(caught.value).startswith(f"annotation {key}: {fault}")
    assert caught.value.reason is RefusalReason.BAD_REQUEST


@given(st.text("c0:[]{},mathweig- \n", max_size=40))
def test_any_text_is_read_or_refused(value: str) -> None:
    with suppress(RefusedError):
        affinities(pod("p", {AFFINITY: value}), "c0")
