"""Requests on their way through the steps of their admission."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import attrs
import pytest

from crirm.admission.admission import Admission, Facts, admitted
from crirm.admission.creation import CREATION, hinting_places
from crirm.admission.resize import RESIZE
from crirm.cri import slice as cri
from crirm.model.cpuset import CPUSet
from crirm.model.events import ContainerCreated, PodAdded
from crirm.model.quantity import Bytes, MilliCPU
from crirm.model.refusal import RefusalCode, RefusalReason, RefusedError
from crirm.model.workload import Container, ContainerId, ContainerKey, Pod, TopologyHint
from crirm.policy import pipeline
from tests.unit.policy.counting import Counting
from tests.unit.policy.test_pipeline import pod

if TYPE_CHECKING:
    from crirm.admission.admission import Step
    from crirm.model.decision import State
    from crirm.model.events import Event

POLICY = Counting(8)
KEY = ContainerKey("k")
HINT = TopologyHint("/sys/devices/x", cpus=CPUSet.of(1))


def told(*events: Event) -> State:
    state = pipeline.initial(POLICY)
    for event in events:
        state = pipeline.step(POLICY, state, event, 0.0).state
    return state


def asked(
    state: State, request: cri.CreateContainerRequest | cri.UpdateContainerResourcesRequest, **more: object
) -> Admission:
    decide = partial(pipeline.step, POLICY, state, now_s=0.0)
    return Admission(request, state, attrs.evolve(Facts(KEY, Bytes(64 << 30), decide), **more))  # type: ignore[arg-type]


def creation(cpus: int = 2, mounts: int = 0) -> cri.CreateContainerRequest:
    resources = cri.LinuxContainerResources(cpu_shares=cpus * 1024, memory_limit_in_bytes=1 << 30)
    return cri.CreateContainerRequest(
        "p1",
        cri.ContainerConfig(
            metadata=cri.ContainerMetadata("c"),
            mounts=[cri.Mount("/in", "/out")] * mounts,
            linux=cri.LinuxContainerConfig(resources),
        ),
    )


def with_annotations(annotations: dict[str, str]) -> Pod:
    return attrs.evolve(pod("p1"), annotations=annotations)


def test_a_creation_gets_a_place_and_carries_it() -> None:
    found = admitted(asked(told(PodAdded(pod("p1"))), creation()), CREATION)
    assert found.container is not None
    assert (found.container.key, found.container.requirements.cpu_request) == (KEY, 2000)
    assert found.adjustment is not None
    assert found.adjustment.cpus == CPUSet.parse("0-1")


def test_the_state_is_as_before_until_the_decision_is_taken() -> None:
    state = told(PodAdded(pod("p1")))
    found = admitted(asked(state, creation()), CREATION)
    assert found.state is state
    assert found.decision is not None
    assert found.decision.state.workload.containers.keys() == {KEY}
    assert not state.workload.containers


def test_a_creation_without_room_carries_nothing() -> None:
    found = admitted(asked(told(PodAdded(pod("p1"))), creation(cpus=9)), CREATION)
    assert found.adjustment is None
    assert found.decision is not None
    assert found.decision.refusal is not None
    assert found.decision.refusal.reason is RefusalReason.NO_ROOM


def test_a_creation_that_is_asked_for_again_is_about_the_same_instance() -> None:
    first = admitted(asked(told(PodAdded(pod("p1"))), creation()), CREATION)
    assert first.decision is not None
    again = admitted(asked(first.decision.state, creation(), key=ContainerKey("other")), CREATION)
    assert again.container is not None
    assert again.container.key == KEY


@pytest.mark.parametrize(
    ("annotation", "hints", "refused"),
    [
        pytest.param("true", (HINT,), False, id="hints that are known"),
        pytest.param("true", None, False, id="hints that nobody knows"),
        pytest.param("strict", (HINT,), False, id="a place near them, and they are known"),
        pytest.param("strict", None, True, id="a place near them, and nobody knows them"),
    ],
)
def test_who_wants(annotation: str, hints: tuple[TopologyHint, ...] | None, refused: bool) -> None:
    wishes = with_annotations({"topologyhints.cri-resource-manager.intel.com": annotation})
    request = asked(told(PodAdded(wishes)), creation(mounts=1), hints=hints)
    if refused:
        with pytest.raises(RefusedError, match="strict") as caught:
            admitted(request, CREATION)
        assert caught.value.code is RefusalCode.UNKNOWN_DEVICE_LOCATION
        return
    found = admitted(request, CREATION)
    assert found.container is not None
    assert found.container.hints == (hints or ())


@pytest.mark.parametrize(("annotation", "places"), [("true", 1), ("strict", 1), ("false", 0)])
def test_nobody_looks_for_places_that_are_not_heeded(annotation: str, places: int) -> None:
    wishes = with_annotations({"topologyhints.cri-resource-manager.intel.com": annotation})
    assert len(hinting_places(asked(told(PodAdded(wishes)), creation(mounts=1)))[1]) == places


def test_nobody_looks_for_places_of_who_is_refused_anyway() -> None:
    with pytest.raises(RefusedError, match="annotation") as caught:
        hinting_places(asked(told(PodAdded(with_annotations({"intel.com/resources": "{"}))), creation(mounts=1)))
    assert caught.value.code is RefusalCode.BAD_ANNOTATION


def test_what_is_assigned_from_outside_counts() -> None:
    def override(container: Container, _pod: Pod) -> Container:
        return attrs.evolve(container, requirements=attrs.evolve(container.requirements, cpu_request=MilliCPU(3000)))

    found = admitted(asked(told(PodAdded(pod("p1"))), creation(), override=override), CREATION)
    assert found.adjustment is not None
    assert found.adjustment.cpus == CPUSet.parse("0-2")


def running() -> State:
    found = admitted(asked(told(PodAdded(pod("p1"))), creation()), CREATION)
    assert found.decision is not None
    return pipeline.step(POLICY, found.decision.state, ContainerCreated(KEY, ContainerId("c")), 0.0).state


def test_a_resize_keeps_what_it_leaves_out() -> None:
    request = cri.UpdateContainerResourcesRequest("c", cri.LinuxContainerResources(cpu_shares=4096))
    found = admitted(asked(running(), request), RESIZE)
    assert found.container is not None
    assert found.container.resources.memory_limit_bytes == 1 << 30
    assert found.adjustment is not None
    assert found.adjustment.cpus == CPUSet.parse("0-3")


@pytest.mark.parametrize(
    ("steps", "request_"),
    [
        pytest.param(CREATION, cri.UpdateContainerResourcesRequest("c"), id="a resize among creations"),
        pytest.param(RESIZE, creation(), id="a creation among resizes"),
        pytest.param(CREATION[1:], creation(), id="nobody has found the container"),
    ],
)
def test_a_wrong_order_is_a_bug(
    steps: tuple[Step, ...], request_: cri.CreateContainerRequest | cri.UpdateContainerResourcesRequest
) -> None:
    with pytest.raises(TypeError):
        admitted(asked(running(), request_), steps)


def heavier(asked: Admission) -> Admission:
    """A new concern: whoever has CPUs of its own gets the greatest weight as well."""
    if asked.adjustment is None:
        return asked
    adjustment = attrs.evolve(asked.adjustment, cpu_shares=262_144)
    return attrs.evolve(asked, adjustment=adjustment, notes=(*asked.notes, "the greatest weight"))


def test_a_new_concern_is_one_more_step() -> None:
    found = admitted(asked(told(PodAdded(pod("p1"))), creation()), (*CREATION, heavier))
    assert found.adjustment is not None
    assert (str(found.adjustment.cpus), found.adjustment.cpu_shares) == ("0-1", 262_144)
    assert found.notes == ("the greatest weight",)
