"""External adjustments, sent as the node agent sends them, to a daemon in front of the embedded runtime."""

from __future__ import annotations

import json
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from crirm.cri.proto.runtime import v1
from crirm.model.cpuset import CPUSet
from tests.conformance.cri import V1, Cri, wait_until
from tests.daemons import CRIRM
from tests.integration.deciding import crirm, make_node

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.integration.deciding import Node
    from tests.integration.support import Stage

pytestmark = pytest.mark.long


@pytest.fixture
def node(stage: Stage, request: pytest.FixtureRequest) -> Node:
    return make_node(stage, getattr(request, "param", "static"))


def adjust(node: Node, specs: Mapping[str, Any]) -> dict[str, str]:
    """Send *specs* by hand, and return what is wrong with them."""
    argv = [
        CRIRM,
        "agent",
        "set-adjustments",
        "-",
        "--node",
        "n1",
        "--config-socket",
        node.stage.place / "r-config.sock",
    ]
    done = subprocess.run(list(map(str, argv)), input=json.dumps(specs), capture_output=True, text=True, check=False)
    if done.returncode == 0:
        assert done.stdout == "accepted\n"
        return {}
    assert (done.returncode, done.stderr) == (1, "")
    return dict(line.split(": ", 1) for line in done.stdout.splitlines())


def spec(pod: str, cpu: object, **more: object) -> dict[str, Any]:
    expression = {"key": "pod/name", "operator": "Equals", "values": [pod]}
    return {"scope": [{"containers": [expression]}], "resources": {"limits": {"cpu": cpu, **more}}}


def runtime_has(node: Node) -> dict[str, str]:
    """The CPUs that the runtime has for each container."""
    cri = Cri(node.stage.client(socket=node.stage.runtime_socket), V1)
    found = {}
    for each in cri.call("ListContainers", v1.ListContainersRequest(), v1.ListContainersResponse).containers:
        status = cri.call(
            "ContainerStatus", v1.ContainerStatusRequest(container_id=each.id), v1.ContainerStatusResponse
        )
        found[each.id] = status.status.resources.linux.cpuset_cpus
    return found


@pytest.mark.parametrize("node", ["static", "topology-aware"], indirect=True)
def test_a_running_container_grows_and_shrinks_and_the_others_make_room(node: Node) -> None:
    node.start()
    grows, sharing = node.run("grows", 1), [node.run(f"shares{number}", 0.1) for number in range(2)]
    before = runtime_has(node)
    assert adjust(node, {"more": spec("grows", 2)}) == {}
    after = runtime_has(node)
    assert after == node.told()
    assert node.ask("status")["configuration"]["overrides"] == {"more": ["default/grows/main"]}
    assert len(CPUSet.parse(after[grows])) == 2
    assert any(after[each] != before[each] for each in sharing)
    assert not any(CPUSet.parse(after[grows]) & CPUSet.parse(after[each]) for each in sharing)
    assert adjust(node, {}) == {}
    assert runtime_has(node) == before


def test_a_restart_keeps_them_without_the_agent(node: Node) -> None:
    relay = node.start()
    node.run("grows", 1)
    assert adjust(node, {"more": spec("grows", 2), "later": spec("late", 3)}) == {}
    before = node.told()
    relay.kill()
    relay = node.start()
    assert before == node.told()
    late = node.run("late", 1)
    assert len(CPUSet.parse(node.told()[late])) == 3
    status = crirm("status", "--control-socket", str(node.stage.place / "r-control.sock"))
    assert "override later: default/late/main\noverride more: default/grows/main\n" in status
    assert adjust(node, {}) == {}
    assert [len(CPUSet.parse(cpus)) for cpus in node.told().values()] == [1, 1]


def test_what_is_wrong_is_told_by_name_or_container_and_nothing_changes(node: Node) -> None:
    node.start()
    first, second = node.run("first", 1), node.run("second", 1)
    before = node.told()
    good = spec("first", 2)
    assert adjust(node, {"good": good, "cut": spec("second", "x")}).keys() == {"cut"}
    assert adjust(node, {"good": good, "classes": {"classes": {"rdt": "gold"}}}).keys() == {"classes"}
    assert adjust(node, {"good": good, "twin": {}}) == {
        first: "default/first/main: several overrides are for it: good, twin; narrow the scope of all but one"
    }
    assert adjust(node, {"good": good, "huge": spec("second", 100)}).keys() == {second}
    assert (before, before) == (node.told(), runtime_has(node))


def test_what_the_runtime_refuses_is_undone(stage: Stage) -> None:
    node = make_node(stage, "static", "--fault", "UpdateContainerResources:code=INTERNAL,message=no,times=1")
    node.start()
    container = node.run("grows", 1)
    before = node.told()
    assert adjust(node, {"more": spec("grows", 2)}) == {
        container: "default/grows/main: runtime refused the update: INTERNAL: no"
    }
    assert (before, before) == (node.told(), runtime_has(node))
    assert adjust(node, {"more": spec("grows", 2)}) == {}


def test_the_interface_can_be_switched_off(node: Node) -> None:
    node.start("--config-socket", "disabled")
    assert not (node.stage.place / "r-config.sock").exists()


def test_adjustments_change_while_containers_come_and_go(node: Node) -> None:
    """Whatever a container was begun under, in the end it has what the last adjustments say."""
    node.start()
    stays = {name: node.run(name, 1) for name in ("grows", "alone")}
    over = threading.Event()

    def come_and_go() -> int:
        count = 0
        while not over.is_set():
            count += 1
            node.end(node.run(f"comes{count}", 1))
        return count

    with ThreadPoolExecutor() as pool:
        comer = pool.submit(come_and_go)
        try:
            for cpu in (2, 3, 1, 3, 2):
                assert adjust(node, {"more": spec("grows", cpu), "others": spec("comes1", 2)}) == {}
        finally:
            over.set()
        assert comer.result() > 0
    wait_until(lambda: node.told() == runtime_has(node))
    assert {name: len(CPUSet.parse(node.told()[each])) for name, each in stays.items()} == {"grows": 2, "alone": 1}
    assert adjust(node, {}) == {}
    assert {len(CPUSet.parse(cpus)) for cpus in node.told().values()} == {1}
