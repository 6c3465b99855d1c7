"""Who would be refused, or spread, waits for what the runtime says has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest
import trio
import trio.testing
from grpclib.const import Status

from crirm.cri.proto.runtime import v1
from crirm.daemon.observation.observing import Observing
from tests.unit.daemon.nodes import ID, FakeNode, create_request, good, granted, update, with_pod

if TYPE_CHECKING:
    from crirm.model.decision import Decision
    from crirm.model.events import Event

OTHER = "d" * 64
EXITED = v1.ListContainersResponse([v1.Container(id=ID, state=v1.ContainerState(2))])
NONE = v1.ListContainersResponse()


def running(nursery: trio.Nursery, answer: v1.ListContainersResponse | Status, cpus: int = 5) -> FakeNode:
    """A node of 8 CPUs, one of which must stay, with a container of *cpus*; the runtime lists *answer*."""
    node = with_pod(nursery)
    node.call("CreateContainer", create_request(cpus=cpus), good(v1.CreateContainerResponse(container_id=ID)))
    node.call("StartContainer", v1.StartContainerRequest(container_id=ID), good(v1.StartContainerResponse()))
    node.runtime.answers["ListContainers"] = answer
    return node


@pytest.mark.parametrize(
    ("answer", "fits"),
    [
        pytest.param(EXITED, True, id="its CPUs are there if something has ended"),
        pytest.param(NONE, False, id="nothing has ended"),
        pytest.param(Status.UNAVAILABLE, False, id="the runtime does not tell"),
    ],
)
async def test_nobody_is_refused_before_the_runtime_was_asked(
    nursery: trio.Nursery, answer: v1.ListContainersResponse | Status, fits: bool
) -> None:
    node = running(nursery, answer)
    held = await node.begin("CreateContainer", create_request("d", cpus=4))
    await held.decided.wait()
    assert (held.forwarded is not None, held.refused is None) == (fits, fits)
    assert [method for method, _ in node.runtime.calls] == ["ListContainers"]


async def test_a_resize_waits_as_well(nursery: trio.Nursery) -> None:
    node = running(nursery, EXITED)
    node.call("CreateContainer", create_request("d", cpus=1), good(v1.CreateContainerResponse(container_id=OTHER)))
    request = update(6)
    request.container_id = OTHER
    held = await node.begin("UpdateContainerResources", request)
    await held.decided.wait()
    assert held.refused is None
    assert held.forwarded is not None


async def test_who_gets_a_poorer_place_waits_as_well(nursery: trio.Nursery) -> None:
    node = running(nursery, EXITED)
    plain = node.engine.decide

    def spread(event: Event) -> Decision:
        decision = plain(event)
        return attrs.evolve(decision, cramped=bool(granted(node)))

    node.engine.decide = spread  # type: ignore[method-assign]
    held = await node.begin("CreateContainer", create_request("d", cpus=2))
    await held.decided.wait()
    assert (len(node.runtime.calls), granted(node)) == (1, ["0-1"])


async def test_a_place_that_stays_poor_is_taken(nursery: trio.Nursery) -> None:
    node = running(nursery, NONE)
    plain = node.engine.decide
    node.engine.decide = lambda event: attrs.evolve(plain(event), cramped=True)  # type: ignore[method-assign]
    held = await node.begin("CreateContainer", create_request("d", cpus=2))
    await held.decided.wait()
    assert held.forwarded is not None
    assert len(node.runtime.calls) == 1


async def test_nobody_is_asked_where_nothing_can_have_ended(nursery: trio.Nursery) -> None:
    node = with_pod(nursery)
    held, _ = node.call("CreateContainer", create_request(cpus=9))
    assert held.refused is not None
    assert node.runtime.calls == []


async def test_nobody_is_asked_while_all_fits(nursery: trio.Nursery) -> None:
    node = running(nursery, NONE)
    held, _ = node.call("CreateContainer", create_request("d", cpus=2))
    assert held.forwarded is not None
    assert node.runtime.calls == []


async def test_who_comes_while_the_runtime_is_asked_shares_the_next_question(nursery: trio.Nursery) -> None:
    node = running(nursery, NONE)
    node.runtime.answering = trio.Event()
    names = ("d", "e0", "e1", "e2", "e3")
    helds = [await node.begin("CreateContainer", create_request(name, cpus=4)) for name in names]
    node.runtime.answers["ListContainers"] = EXITED  # what has ended since the first question is in the second answer
    node.runtime.answering.set()
    for held in helds:
        await held.decided.wait()
    assert len(node.runtime.calls) == 2
    assert sum(held.forwarded is not None for held in helds) == 1


@pytest.mark.parametrize(
    "kind", [pytest.param("CreateContainer", id="a creation"), pytest.param("UpdateContainerResources", id="a resize")]
)
async def test_a_caller_that_leaves_meanwhile_gets_nothing(nursery: trio.Nursery, kind: str) -> None:
    node = running(nursery, EXITED)
    node.call("CreateContainer", create_request("d", cpus=1), good(v1.CreateContainerResponse(container_id=OTHER)))
    node.runtime.answering = trio.Event()
    request = update(6)
    request.container_id = OTHER
    asked = create_request("e", cpus=4) if kind == "CreateContainer" else request
    held = await node.begin(kind, asked)
    await held.leave()
    node.runtime.answering.set()
    await trio.testing.wait_all_tasks_blocked()
    assert (held.forwarded, held.refused) == (None, None)
    assert granted(node) == ["5"]


async def test_a_pod_that_goes_meanwhile_is_the_runtimes_business(nursery: trio.Nursery) -> None:
    node = running(nursery, NONE)
    node.runtime.answering = trio.Event()
    request = create_request("d", cpus=4)
    held = await node.begin("CreateContainer", request)
    await trio.testing.wait_all_tasks_blocked()
    node.call("RemovePodSandbox", v1.RemovePodSandboxRequest(pod_sandbox_id="p1"), good(v1.RemovePodSandboxResponse()))
    node.runtime.answering.set()
    await held.decided.wait()
    assert held.forwarded == bytes(request)
    assert granted(node) == []


async def test_a_container_that_goes_meanwhile_is_not_resized(nursery: trio.Nursery) -> None:
    node = running(nursery, NONE)
    node.runtime.answering = trio.Event()
    held = await node.begin("UpdateContainerResources", update(9))
    await trio.testing.wait_all_tasks_blocked()
    node.call("RemovePodSandbox", v1.RemovePodSandboxRequest(pod_sandbox_id="p1"), good(v1.RemovePodSandboxResponse()))
    node.runtime.answering.set()
    await held.decided.wait()
    assert held.forwarded == bytes(update(9))


async def test_a_fault_in_the_answer_costs_nobody_a_decision(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = running(nursery, EXITED)

    async def read(_self: Observing, _method: str, _answer: bytes) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Observing, "read", read)
    held = await node.begin("CreateContainer", create_request("d", cpus=4))
    await held.decided.wait()
    assert held.refused is not None
    assert held.refused[0] is Status.RESOURCE_EXHAUSTED
