"""CPUs that somebody else asks for: told once, and a finding while it lasts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from crirm.cri.proto.runtime import v1
from tests.unit.daemon.nodes import FakeNode, create_request, good, with_pod

if TYPE_CHECKING:
    import trio

    from crirm.system.store import Entry

ASKED = "ignoring CPUs requested by another party; the assignment stays"


def create(node: FakeNode, name: str, cpus: str = "", mems: str = "") -> None:
    request = create_request(name, cpus=1)
    linux = request.config.linux.resources
    linux.cpuset_cpus, linux.cpuset_mems = cpus, mems
    node.call("CreateContainer", request, good(v1.CreateContainerResponse(container_id=f"id-{name}")))


def update(node: FakeNode, name: str, cpus: str = "", mems: str = "") -> None:
    linux = v1.LinuxContainerResources(cpuset_cpus=cpus, cpuset_mems=mems)
    request = v1.UpdateContainerResourcesRequest(container_id=f"id-{name}", linux=linux)
    held, _ = node.call("UpdateContainerResources", request, good(v1.UpdateContainerResourcesResponse()))
    assert held.forwarded is not None


def remove(node: FakeNode, name: str) -> None:
    node.call(
        "RemoveContainer", v1.RemoveContainerRequest(container_id=f"id-{name}"), good(v1.RemoveContainerResponse())
    )


async def test_cpus_asked_for_by_hand_are_told_once(nursery: trio.Nursery) -> None:
    node = with_pod(nursery)
    journal: list[Entry] = []
    node.intake.cpusets.record = journal.append
    create(node, "c")
    with capture_logs() as logs:
        for _ in range(3):
            update(node, "c", cpus="7")
    (told,) = [record for record in logs if record["event"] == ASKED]
    assert (told["container"], told["asked"], told["log_level"]) == ("shop/web/c", "CPUs 7", "warning")
    (entry,) = journal
    assert (entry.kind, entry.pod, entry.container) == ("CPU request ignored", "shop/web", "c")
    assert entry.outcome == "CPUs 7, by another party; the assignment stays"
    (finding,) = node.intake.cpusets.findings()
    assert finding == (
        "another party requested CPUs or memory nodes: shop/web/c should get CPUs 7, but keeps its assignment"
    )
    remove(node, "c")
    assert node.intake.cpusets.findings() == ()


@pytest.mark.parametrize("way", ["creates with CPUs", "updates several"])
async def test_a_kubelet_that_sends_cpusets_is_another_cpu_manager_while_it_lasts(
    nursery: trio.Nursery, way: str
) -> None:
    node = with_pod(nursery)
    names = ["c"] if way == "creates with CPUs" else ["c", "d"]
    for name in names:
        if way == "creates with CPUs":
            create(node, name, cpus="6")
        else:
            create(node, name)
            update(node, name, cpus="6")
    (finding,) = node.intake.cpusets.findings()
    assert finding.startswith("another CPU manager is active: the kubelet requests CPUs or memory nodes for ")
    assert "cpuManagerPolicy" in finding
    for name in names:
        remove(node, name)
    assert node.intake.cpusets.findings() == ()


@pytest.mark.parametrize(
    ("cpus", "mems"),
    [
        pytest.param("", "", id="nothing is asked for"),
        pytest.param("0", "", id="what was decided anyway"),
        pytest.param("", "1", id="what nobody has decided about, and so is in force"),
    ],
)
async def test_nothing_is_said_where_the_caller_has_what_it_asked_for(
    nursery: trio.Nursery, cpus: str, mems: str
) -> None:
    node = with_pod(nursery)
    create(node, "c", cpus, mems)
    update(node, "c", cpus, mems)
    assert node.intake.cpusets.findings() == ()
