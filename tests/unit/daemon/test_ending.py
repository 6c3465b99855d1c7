"""Containers that are asked about before somebody takes their place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from grpclib.const import Status

from crirm.cri.proto.runtime import v1
from crirm.daemon.ending import learn_end
from tests.unit.daemon.nodes import FakeRuntime, granted, in_nursery, with_container

if TYPE_CHECKING:
    import trio


def told(state: int) -> v1.ContainerStatusResponse:
    return v1.ContainerStatusResponse(status=v1.ContainerStatus(state=v1.ContainerState(state)))


@pytest.mark.parametrize(
    ("answer", "grants"),
    [
        pytest.param(told(v1.ContainerState.CONTAINER_RUNNING), ["0-1"], id="it runs"),
        pytest.param(told(v1.ContainerState.CONTAINER_EXITED), [], id="it has ended"),
        pytest.param(told(v1.ContainerState.CONTAINER_UNKNOWN), ["0-1"], id="the runtime does not know"),
        pytest.param(Status.NOT_FOUND, [], id="it is gone"),
        pytest.param(Status.UNAVAILABLE, ["0-1"], id="nobody answers"),
    ],
)
@in_nursery
async def test_only_the_runtimes_word_ends_a_container(
    nursery: trio.Nursery, answer: v1.ContainerStatusResponse | Status, grants: list[str]
) -> None:
    node = with_container(nursery)
    (key,) = node.engine.state.workload.containers
    await learn_end(FakeRuntime({"ContainerStatus": answer}), node.engine, key)
    assert grants == granted(node)
    await learn_end(FakeRuntime({"ContainerStatus": answer}), node.engine, key)
    assert grants == granted(node)
