"""Containers that end by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from crirm.cri.listed import seen_containers
from crirm.cri.proto.runtime import v1
from crirm.daemon.observation import polling as watch
from crirm.daemon.observation.polling import compare, misjudged, relist, strangers, take_event
from crirm.model.events import ContainerExited, Event
from crirm.model.workload import ContainerId
from tests.unit.daemon.listeners import hear_events
from tests.unit.daemon.nodes import FakeNode, FakeRuntime, create_request, good, pod_request

if TYPE_CHECKING:
    from collections.abc import Callable

ID = "c" * 64


def running(nursery: trio.Nursery) -> FakeNode:
    node = FakeNode(nursery)
    node.call("RunPodSandbox", pod_request(), good(v1.RunPodSandboxResponse(pod_sandbox_id="p1")))
    node.call("CreateContainer", create_request(), good(v1.CreateContainerResponse(container_id=ID)))
    node.call("StartContainer", v1.StartContainerRequest(container_id=ID), good(v1.StartContainerResponse()))
    return node


def items(*states: tuple[str, int]) -> bytes:
    return bytes(
        v1.ListContainersResponse(
            containers=[
                v1.Container(id=id_, pod_sandbox_id="p1", state=v1.ContainerState(state)) for id_, state in states
            ]
        )
    )


@pytest.mark.parametrize(
    ("listed", "asked_about", "granted", "known"),
    [
        pytest.param(items((ID, 1)), {ID}, 1, 1, id="still running"),
        pytest.param(items((ID, 2)), {ID}, 0, 1, id="exited"),
        pytest.param(items(), {ID}, 0, 0, id="gone"),
        pytest.param(items(), set(), 1, 1, id="created after the list was asked for"),
        pytest.param(items((ID, 1), ("f" * 64, 1)), {ID}, 1, 1, id="strangers are for the next synchronisation"),
    ],
)
async def test_lists_tell_what_has_ended(
    nursery: trio.Nursery, listed: bytes, asked_about: set[str], granted: int, known: int
) -> None:
    node = running(nursery)
    compare(seen_containers(listed), node.engine, node.intake, {ContainerId(each) for each in asked_about})
    state = node.engine.state
    assert (granted, known) == (len(state.policy), len(state.workload.containers))


@pytest.mark.parametrize(
    ("kind", "granted", "known"),
    [
        pytest.param(v1.ContainerEventType.CONTAINER_STARTED_EVENT, 1, 1, id="started"),
        pytest.param(v1.ContainerEventType.CONTAINER_STOPPED_EVENT, 0, 1, id="stopped"),
        pytest.param(v1.ContainerEventType.CONTAINER_DELETED_EVENT, 0, 0, id="deleted"),
    ],
)
async def test_events_tell_what_has_ended(nursery: trio.Nursery, kind: int, granted: int, known: int) -> None:
    node = running(nursery)
    event = v1.ContainerEventResponse(container_id=ID, container_event_type=v1.ContainerEventType(kind))
    take_event(bytes(event), node.engine, node.intake)
    assert (granted, known) == (len(node.engine.state.policy), len(node.engine.state.workload.containers))


async def test_one_that_has_ended_is_told_of_once(nursery: trio.Nursery) -> None:
    node, told = running(nursery), list[Event]()
    hear_events(node.engine, told.append)
    stopped = v1.ContainerEventResponse(ID, v1.ContainerEventType(v1.ContainerEventType.CONTAINER_STOPPED_EVENT))
    for _ in range(3):
        compare(seen_containers(items((ID, 2))), node.engine, node.intake, {ContainerId(ID)})
        take_event(bytes(stopped), node.engine, node.intake)
    assert [type(event) for event in told] == [ContainerExited]


async def test_events_of_strangers_and_sandboxes_mean_nothing(nursery: trio.Nursery) -> None:
    node = running(nursery)
    before = node.engine.state
    take_event(bytes(v1.ContainerEventResponse(container_id="f" * 64)), node.engine, node.intake)
    assert before is node.engine.state


async def test_a_list_that_is_older_than_a_start_or_a_creation_removes_nothing(nursery: trio.Nursery) -> None:
    """The list is asked for while one container is created but not started, and another not even asked for."""
    node = FakeNode(nursery)
    node.call("RunPodSandbox", pod_request(), good(v1.RunPodSandboxResponse(pod_sandbox_id="p1")))
    node.call("CreateContainer", create_request(), good(v1.CreateContainerResponse(container_id=ID)))
    with node.engine.since_asked() as since:
        asked_about = {one.id for one in node.engine.state.workload.containers.values()}
        node.call("StartContainer", v1.StartContainerRequest(container_id=ID), good(v1.StartContainerResponse()))
        node.call("CreateContainer", create_request("d"), good(v1.CreateContainerResponse(container_id="d" * 64)))
    compare([], node.engine, node.intake, asked_about - since.touched)
    assert len(node.engine.state.policy) == 2


@pytest.mark.parametrize(
    ("listed", "strange"),
    [
        pytest.param(items((ID, 1)), 0, id="the known"),
        pytest.param(items(("f" * 64, 0)), 1, id="somebody else's"),
        pytest.param(items(("f" * 64, 2)), 0, id="what has ended"),
    ],
)
async def test_strangers_that_live_are_found(nursery: trio.Nursery, listed: bytes, strange: int) -> None:
    node = running(nursery)
    assert strange == len(strangers(seen_containers(listed), node.engine, node.intake))


async def test_a_container_in_the_middle_of_its_creation_is_no_stranger(nursery: trio.Nursery) -> None:
    node = FakeNode(nursery)
    node.call("RunPodSandbox", pod_request(), good(v1.RunPodSandboxResponse(pod_sandbox_id="p1")))
    node.call("CreateContainer", create_request())
    (one,) = node.engine.state.workload.containers.values()
    listed = v1.Container(ID, pod_sandbox_id="p1", metadata=v1.ContainerMetadata(name=one.name))
    there = seen_containers(bytes(v1.ListContainersResponse(containers=[listed])))
    assert not strangers(there, node.engine, node.intake)


@pytest.mark.parametrize(
    ("end", "listed", "misjudged_ones"),
    [
        pytest.param(True, items((ID, 1)), {ID}, id="crirm takes it for ended, and it runs"),
        pytest.param(True, items((ID, 0)), set(), id="who does not run needs no place"),
        pytest.param(True, items((ID, 2)), set(), id="it has ended"),
        pytest.param(False, items((ID, 1)), set(), id="it runs as crirm says"),
        pytest.param(False, items(("f" * 64, 1)), set(), id="strangers are another matter"),
    ],
)
async def test_who_runs_although_crirm_does_not_think_so_is_seen(
    nursery: trio.Nursery, end: bool, listed: bytes, misjudged_ones: set[str]
) -> None:
    node = running(nursery)
    (key,) = node.engine.state.workload.containers
    if end:
        node.engine.apply(ContainerExited(key))
    assert misjudged(seen_containers(listed), node.engine, node.intake) == misjudged_ones


async def test_who_runs_without_a_place_has_the_runtime_asked_for_all_once(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "RELIST_S", 0.001)
    node = running(nursery)
    (key,) = node.engine.state.workload.containers
    node.engine.apply(ContainerExited(key))
    runtime = FakeRuntime({"ListContainers": v1.ListContainersResponse().parse(items((ID, 1)))})
    nursery.start_soon(relist, runtime, node.engine, node.intake)
    await wait_for(lambda: len(runtime.calls) >= 4)
    assert node.doubts == 1


async def test_a_stranger_has_the_runtime_asked_for_all_once(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "RELIST_S", 0.001)
    node = running(nursery)
    runtime = FakeRuntime({"ListContainers": v1.ListContainersResponse().parse(items((ID, 1), ("f" * 64, 1)))})
    nursery.start_soon(relist, runtime, node.engine, node.intake)
    await wait_for(lambda: len(runtime.calls) >= 4)
    assert node.doubts == 1


async def wait_for(happened: Callable[[], bool]) -> None:
    while not happened():
        await trio.lowlevel.checkpoint()
