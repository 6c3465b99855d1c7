"""Containers that end by themselves, on a runtime that tells nobody: whoever may have seen the end may use the CPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crirm.cri.proto.runtime import v1
from tests.conformance.cri import OK, V1, Cri, wait_until
from tests.integration.deciding import Node, make_node

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.support import Stage

NO_EVENTS = ("--fault", "GetContainerEvents:code=UNIMPLEMENTED")
EXITED = v1.ContainerState(2)


def state_of(cri: Cri, container: str) -> v1.ContainerState:
    request = v1.ContainerStatusRequest(container_id=container)
    status = cri.call("ContainerStatus", request, v1.ContainerStatusResponse).status
    assert status is not None
    return status.state


def listed(cri: Cri, container: str) -> v1.ContainerState:
    answer = cri.call("ListContainers", v1.ListContainersRequest(), v1.ListContainersResponse)
    return next(item.state for item in answer.containers if item.id == container)


def run_main(node: Node, name: str, cpus: int) -> str:
    reply = node.create(name, cpus)
    assert reply.code == OK, reply
    return v1.CreateContainerResponse().parse(reply.message).container_id


@pytest.mark.parametrize("see", [pytest.param(state_of, id="its status"), pytest.param(listed, id="a list of all")])
def test_the_cpus_of_a_container_are_free_once_its_end_was_seen(
    stage: Stage, see: Callable[[Cri, str], v1.ContainerState]
) -> None:
    node = make_node(stage, "static", *NO_EVENTS)
    node.start()
    for number in range(3):
        job = node.run(f"job-{number}", 5, command=("true",))
        wait_until(lambda job=job: see(node.cri, job) == EXITED)  # type: ignore[misc]
        main = run_main(node, f"main-{number}", 6)
        for container in (job, main):
            node.end(container)
    refusals = [entry for entry in node.journal() if "refused" in entry["outcome"]]
    assert refusals == []


@pytest.mark.parametrize(
    ("policy", "cpus", "has"),
    [
        pytest.param("static", 6, "1-2,4-7", id="who would be refused"),
        pytest.param("topology-aware", 3, "4-6", id="who would be spread over two NUMA nodes"),
    ],
)
def test_the_runtime_is_asked_before_somebody_fares_worse_than_need_be(
    stage: Stage, policy: str, cpus: int, has: str
) -> None:
    node = make_node(stage, policy, *NO_EVENTS)
    node.start()
    runtime = Cri(stage.client(socket=stage.runtime_socket), V1)
    ended = [node.run(f"job-{number}", each, command=("true",)) for number, each in enumerate((3, 2))]
    wait_until(lambda: all(state_of(runtime, job) == EXITED for job in ended))  # nobody has seen it through crirm
    main = run_main(node, "main", cpus)
    assert node.told()[main] == has
