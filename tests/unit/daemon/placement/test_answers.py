"""Answers that cannot be read, and crirm's own faults: neither leaves a grant behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crirm.cri.proto.runtime import v1
from crirm.model.events import ContainerCreated, Event
from crirm.model.workload import ContainerState
from crirm.rpc.calls import Answer
from tests.unit.daemon.listeners import hear_events
from tests.unit.daemon.nodes import (
    CREATED,
    ID,
    FakeNode,
    create_request,
    granted,
    pod_request,
    states,
    update,
    with_container,
    with_pod,
)

if TYPE_CHECKING:
    import betterproto
    import trio

GARBAGE = b"\x0a\xff"
UNREADABLE = [
    pytest.param(Answer(0, GARBAGE), id="garbage"),
    pytest.param(Answer(0, b""), id="nothing in it"),
    pytest.param(Answer(0, None, certain=False), id="wrong frames"),
]


@pytest.mark.parametrize(
    "answer", [*UNREADABLE, pytest.param(Answer(4, None), id="a runtime that goes on all the same")]
)
async def test_a_creation_whose_answer_cannot_be_read_gives_the_grant_back_and_is_looked_into(
    nursery: trio.Nursery, answer: Answer
) -> None:
    node = with_pod(nursery)
    for number in range(6):  # of two CPUs each, on eight
        held, shown = node.call("CreateContainer", create_request(f"c{number}"), answer)
        assert (held.refused, shown) == (None, None)
    assert (granted(node), node.engine.state.workload.containers, node.doubts) == ([], {}, 6)


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        pytest.param("RunPodSandbox", pod_request(uid="u2"), id="a pod may be there"),
        pytest.param("StartContainer", v1.StartContainerRequest(container_id=ID), id="a container may have started"),
        pytest.param("StopContainer", v1.StopContainerRequest(container_id=ID), id="a container may have stopped"),
        pytest.param("UpdateContainerResources", update(4), id="a container may have been resized"),
    ],
)
async def test_after_an_answer_that_cannot_be_read_all_is_as_before_and_the_runtime_is_asked(
    nursery: trio.Nursery, method: str, request_: betterproto.Message
) -> None:
    node = with_container(nursery)
    before = node.engine.state
    _, shown = node.call(method, request_, Answer(0, None, certain=False))
    assert shown is None
    assert (1, before.policy, before.adjustments) == (
        node.doubts,
        node.engine.state.policy,
        node.engine.state.adjustments,
    )
    assert not node.engine.state.resizing
    assert before.workload == node.engine.state.workload


async def test_a_pod_whose_id_cannot_be_read_is_looked_into(nursery: trio.Nursery) -> None:
    node = FakeNode(nursery)
    for answer in (Answer(0, GARBAGE), Answer(0, b"")):
        node.call("RunPodSandbox", pod_request(), answer)
    assert (node.doubts, node.engine.state.workload.pods) == (2, {})


async def test_a_fault_while_an_answer_is_taken_note_of_has_the_runtime_asked(nursery: trio.Nursery) -> None:
    node = with_pod(nursery)
    call, _ = node.call("CreateContainer", create_request())

    def broken(event: Event) -> None:
        if isinstance(event, ContainerCreated):
            raise ZeroDivisionError

    hear_events(node.engine, broken)
    call.answer(CREATED)
    assert call.shown is None
    assert (granted(node), states(node), node.doubts) == (["0-1"], [ContainerState.CREATED], 1)


async def test_a_fault_after_the_decision_leaves_no_grant_behind(nursery: trio.Nursery) -> None:
    node = with_pod(nursery)

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    node.kept = broken  # type: ignore[assignment,method-assign] # a bug
    with pytest.raises(ZeroDivisionError):
        node.call("CreateContainer", create_request())
    assert granted(node) == []
