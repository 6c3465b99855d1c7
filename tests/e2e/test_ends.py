"""Containers that end by themselves on releases of containerd that do not tell crirm of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from crirm.cri.proto.runtime import v1
from tests.conformance.client import GrpcioClient
from tests.conformance.cri import OK, V1, Cri, wait_until
from tests.e2e import debian_suites
from tests.e2e.test_placement import REST, containerd, crirm

if TYPE_CHECKING:
    from pathlib import Path

    from crirm.launcher.containerd import Containerd, Installation

pytestmark = pytest.mark.containerd

__all__ = ["containerd"]  # a fixture

SUITES = [pytest.param("bookworm", id="containerd 1.6: no events"), pytest.param("trixie", id="1.7: one channel")]


@pytest.fixture
def installation(request: pytest.FixtureRequest) -> Installation:
    try:
        return debian_suites.fetch(request.param)
    except debian_suites.MissingError as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(missing))


def ended(cri: Cri, container: str) -> bool:
    request = v1.ContainerStatusRequest(container_id=container)
    status = cri.call("ContainerStatus", request, v1.ContainerStatusResponse).status
    return status is not None and status.state == v1.ContainerState(2)


@pytest.mark.parametrize("seen", [pytest.param(True, id="seen"), pytest.param(False, id="unseen")])
@pytest.mark.parametrize("installation", SUITES, indirect=True)
def test_the_cpus_of_what_has_ended_are_there_at_the_first_try(
    containerd: Containerd,
    short_path: Path,
    seen: bool,
) -> None:
    direct = GrpcioClient(containerd.socket)
    with crirm(containerd, short_path, "static") as node:
        witness = node.cri if seen else Cri(direct, V1)
        for number in range(3):
            job = node.run(f"job{number}", cpus=len(REST), command=("true",))
            wait_until(lambda job=job: ended(witness, job))  # type: ignore[misc]
            uid = f"main{number}"
            reply = node.create(node.pod(uid), uid, cpus=len(REST))
            assert reply.code == OK, reply
            node.end(v1.CreateContainerResponse().parse(reply.message).container_id)
    direct.close()
