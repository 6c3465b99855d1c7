"""Ends that passing answers tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from crirm.cri.proto.runtime import v1
from crirm.daemon.observation import observing
from crirm.daemon.placement.observers import CALLS_WATCHED, observer
from crirm.model.events import ContainerExited, Event
from crirm.model.workload import ContainerState
from crirm.rpc.tap import Latency, Outcome
from tests.unit.daemon.listeners import hear_events
from tests.unit.daemon.nodes import ID, FakeNode, create_request, good, granted, states, with_pod

if TYPE_CHECKING:
    import betterproto


OTHER = "f" * 64
DONE = Outcome(0, "", Latency(0, 0, 0))
LIST = "/runtime.v1.RuntimeService/ListContainers"


def running(nursery: trio.Nursery, *ids: str) -> FakeNode:
    node = with_pod(nursery, cpus=4000)
    for id_ in ids or (ID,):
        node.call("CreateContainer", create_request(id_), good(v1.CreateContainerResponse(container_id=id_)))
        node.call("StartContainer", v1.StartContainerRequest(container_id=id_), good(v1.StartContainerResponse()))
    return node


def status(id_: str, state: int = 2) -> v1.ContainerStatus:
    return v1.ContainerStatus(id=id_, state=v1.ContainerState(state))


def listing(*ids: str, state: int = 2) -> v1.ListContainersResponse:
    return v1.ListContainersResponse([v1.Container(id=id_, state=v1.ContainerState(state)) for id_ in ids])


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        pytest.param("ListContainers", listing(OTHER, ID), id="a list"),
        pytest.param("StreamContainers", v1.StreamContainersResponse(listing(ID).containers), id="a part of a list"),
        pytest.param("PodSandboxStatus", v1.PodSandboxStatusResponse(containers_statuses=[status(ID)]), id="a pod"),
        pytest.param(
            "GetContainerEvents", v1.ContainerEventResponse(ID, v1.ContainerEventType(2)), id="the event itself"
        ),
        pytest.param(
            "GetContainerEvents",
            v1.ContainerEventResponse(OTHER, v1.ContainerEventType(0), containers_statuses=[status(ID)]),
            id="an event of another container of the pod",
        ),
    ],
)
async def test_a_passing_answer_tells_the_end(nursery: trio.Nursery, method: str, answer: betterproto.Message) -> None:
    node = running(nursery)
    node.observed(method, bytes(answer))
    assert (states(node), granted(node)) == ([ContainerState.EXITED], [])


async def test_a_status_tells_the_end_before_the_kubelet_has_it(nursery: trio.Nursery) -> None:
    node = running(nursery)
    request = v1.ContainerStatusRequest(container_id=ID[:12])
    _, shown = node.call("ContainerStatus", request, good(v1.ContainerStatusResponse(status=status(ID))))
    assert (shown, states(node), granted(node)) == (None, [ContainerState.EXITED], [])


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        pytest.param("ListContainers", bytes(listing()), id="absence: the list may be filtered, or older"),
        pytest.param("ListContainers", bytes(listing(ID, state=1)), id="another state: it may be older"),
        pytest.param("ListContainers", bytes(listing(OTHER, ID[:12])), id="ids that are not whole"),
        pytest.param("ListContainers", b"\xff\xff", id="no message"),
        pytest.param("GetContainerEvents", b"\xff\xff", id="no event"),
        pytest.param("ListImages", bytes(listing(ID)), id="another method"),
    ],
)
async def test_only_an_end_is_taken_from_it(nursery: trio.Nursery, method: str, answer: bytes) -> None:
    node = running(nursery)
    before = node.engine.state
    node.observed(method, answer)
    assert node.engine.state is before


async def test_an_end_is_told_once(nursery: trio.Nursery) -> None:
    node, told = running(nursery), list[Event]()
    hear_events(node.engine, told.append)
    for _ in range(3):
        node.observed("ListContainers", bytes(listing(ID)))
    assert [type(event) for event in told] == [ContainerExited]


async def test_a_long_list_is_read_in_parts(nursery: trio.Nursery) -> None:
    ids = [f"{number:064x}" for number in range(2 * observing.AT_A_TIME)]
    last = ids[-1]
    node = running(nursery, ids[0], last)
    strangers = [v1.Container(id=id_, state=v1.ContainerState(2)) for id_ in ids]
    node.observed("ListContainers", bytes(v1.ListContainersResponse(strangers)))
    assert states(node) == [ContainerState.EXITED, ContainerState.RUNNING]
    nursery.start_soon(node.observing.run)
    await trio.testing.wait_all_tasks_blocked()
    assert states(node) == [ContainerState.EXITED, ContainerState.EXITED]


async def test_many_ends_are_told_a_few_at_a_time(nursery: trio.Nursery) -> None:
    ids = [f"{number:064x}" for number in range(2 * observing.ENDS_AT_A_TIME + 1)]
    node = running(nursery, *ids)
    node.observed("ListContainers", bytes(listing(*ids)))
    assert states(node).count(ContainerState.EXITED) == observing.ENDS_AT_A_TIME
    nursery.start_soon(node.observing.run)
    await trio.testing.wait_all_tasks_blocked()
    assert set(states(node)) == {ContainerState.EXITED}
    assert granted(node) == []


async def test_an_end_that_is_seen_before_the_start_is_answered_stays_one(nursery: trio.Nursery) -> None:
    node = with_pod(nursery)
    node.call("CreateContainer", create_request(), good(v1.CreateContainerResponse(container_id=ID)))
    start, _ = node.call("StartContainer", v1.StartContainerRequest(container_id=ID))
    node.observed("ListContainers", bytes(listing(ID)))
    start.answer(good(v1.StartContainerResponse()))
    assert (states(node), granted(node)) == ([ContainerState.EXITED], [])


async def test_lists_that_come_faster_than_they_are_read_do_not_pile_up(nursery: trio.Nursery) -> None:
    node = running(nursery)
    long = bytes(listing(*[OTHER] * 1000))
    for _ in range(100):
        node.observed("ListContainers", long)
    assert len(node.observing._unread) == observing.UNREAD


async def test_an_observed_list_tells_of_an_end(nursery: trio.Nursery) -> None:
    node = running(nursery)
    call = observer(node, "ListContainers")
    assert call is not None
    call.request(b"?")
    call.reply(bytes(listing(ID)))
    call.close(DONE)
    assert granted(node) == []


async def test_calls_that_tell_nothing_are_left_alone(nursery: trio.Nursery) -> None:
    node = running(nursery)
    assert [observer(node, method) for method in ("ContainerStatus", "Version", "ListImages")] == [None] * 3


async def test_so_many_calls_are_watched_at_once_and_no_more(nursery: trio.Nursery) -> None:
    node = running(nursery)
    calls = [observer(node, "ListContainers") for _ in range(CALLS_WATCHED + 2)]
    assert calls[CALLS_WATCHED:] == [None, None]
    assert observer(node, "GetContainerEvents") is not None
    first = calls[0]
    assert first is not None
    first.close(DONE)
    assert observer(node, "ListContainers") is not None
