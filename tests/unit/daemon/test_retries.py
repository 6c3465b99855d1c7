"""Creations that the kubelet asks for again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from grpclib.const import Status

from crirm.cri.proto.runtime import v1
from crirm.model.events import ContainerStarted
from crirm.model.workload import ContainerState
from crirm.rpc.calls import Answer
from tests.unit.daemon.nodes import (
    CREATED,
    ID,
    FakeCall,
    FakeNode,
    create_request,
    granted,
    states,
    with_container,
    with_pod,
)

if TYPE_CHECKING:
    import trio


def question(name: str = "c", cpus: int = 2, attempt: int = 0) -> v1.CreateContainerRequest:
    request = create_request(name, cpus)
    assert request.config.metadata is not None
    request.config.metadata.attempt = attempt
    return request


def asking(node: FakeNode, name: str = "c", cpus: int = 2) -> FakeCall:
    return node.call("CreateContainer", question(name, cpus))[0]


TAKEN = Answer(Status.UNKNOWN.value, None)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(CREATED, CREATED, id="both with the same id"),
        pytest.param(TAKEN, CREATED, id="the second"),
        pytest.param(CREATED, TAKEN, id="the first"),
        pytest.param(Answer(4, None), CREATED, id="the second, with what the first has made too late"),
    ],
)
async def test_a_create_that_is_tried_again_keeps_its_grant_whichever_succeeds(
    nursery: trio.Nursery, first: Answer, second: Answer
) -> None:
    node = with_pod(nursery)
    keeper, create = asking(node, "k", 3), asking(node)
    keeper.answer(TAKEN)  # CPUs 0-2 are free again
    again = asking(node)
    assert create.forwarded is not None
    assert create.forwarded == again.forwarded, "with the same CPUs"
    create.answer(first)
    other = asking(node, "o", 3)
    again.answer(second)
    assert (["3-4", "0-2"], states(node)) == (granted(node), [ContainerState.CREATED, ContainerState.CREATING])
    other.answer(TAKEN)
    (container,) = node.engine.state.workload.containers.values()
    assert container.id == ID


async def test_a_create_that_is_given_up_while_another_is_in_flight_takes_nothing_from_it(
    nursery: trio.Nursery,
) -> None:
    node = with_pod(nursery)
    create = await node.begin("CreateContainer", question())
    node.keeps = []
    again = await node.begin("CreateContainer", question())
    await again.leave()
    await create.reply(CREATED)
    assert (granted(node), states(node)) == (["0-1"], [ContainerState.CREATED])


@pytest.mark.parametrize(
    ("ended", "grants"),
    [
        pytest.param(True, ["0-1"], id="whose place is free then"),
        pytest.param(False, ["0-1", "2-3"], id="that runs on"),
    ],
)
async def test_the_runtime_is_asked_about_an_earlier_attempt(
    nursery: trio.Nursery, ended: bool, grants: list[str]
) -> None:
    node = with_container(nursery)
    (key,) = node.engine.state.workload.containers
    node.engine.apply(ContainerStarted(key))
    listed = v1.Container(id=ID, pod_sandbox_id="p1", state=v1.ContainerState(2))
    node.runtime.answers["ListContainers"] = v1.ListContainersResponse(containers=[listed] if ended else [])
    await node.begin("CreateContainer", question(attempt=1))
    assert (["ListContainers"], grants) == ([method for method, _ in node.runtime.calls], granted(node))
