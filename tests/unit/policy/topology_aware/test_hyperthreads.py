"""``hide-hyperthreads`` and ``require-isolated-cpus``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import attrs
import pytest

from crirm.model.cpuset import CPUSet
from crirm.model.qos import QoSClass
from crirm.model.quantity import MilliCPU
from crirm.model.refusal import RefusalCode, RefusedError
from crirm.model.resources import Requirements
from crirm.model.workload import ContainerKey
from tests.unit.policy.topology_aware.support import NS, Node, make_policy, trail_of

if TYPE_CHECKING:
    from crirm.policy.api import Placement

HIDE = {f"hide-hyperthreads.{NS}": "true"}
REQUIRE = {f"require-isolated-cpus.{NS}": "true"}
HOST = "1p.2n.4c.2t"
"""Core N has CPUs N and N+8; node 0 has cores 0-3; tests reserve CPU 0."""


def cpus(placement: Placement, name: str) -> str:
    return str(placement.changed[ContainerKey(name)].cpus)


def test_every_cpu_is_on_a_core_of_its_own_and_the_siblings_are_nobodys() -> None:
    node = Node(make_policy(HOST, "cpuset:0"))
    placement = node.add("a", 2000, annotations=HIDE)
    assert cpus(placement, "a") == "4-5"
    assert node.policy.exclusive(node.state) == {"a": CPUSet.parse("4-5,12-13")}
    assert cpus(node.add("b", 100, qos=QoSClass.BURSTABLE, pod="b"), "b") == "1-3,8-11"
    node.add("c", 100, qos=QoSClass.BURSTABLE, pod="c")
    assert all(CPUSet.parse("12-13").isdisjoint(one.cpus or CPUSet()) for one in node.has.values())


def test_the_trail_tells_who_stays_idle() -> None:
    trail = trail_of(Node(make_policy(HOST, "cpuset:0")).add("a", 2000, annotations=HIDE))
    assert trail.asked == "2 exclusive CPUs on cores of their own"
    assert trail.granted.startswith("exclusive CPUs 4-5 (12-13 of the same cores stay idle)")


@pytest.mark.parametrize(
    ("host", "annotations", "expected"),
    [
        pytest.param("1p.8c", HIDE, "1-2", id="no hyperthreads"),
        pytest.param(HOST, {f"hide-hyperthreads.{NS}": "false"}, "4,12", id="switched off"),
        pytest.param(HOST, {f"hide-hyperthreads.{NS}/container.a": "true"}, "4-5", id="for one container"),
        pytest.param(f"{HOST} isolated=4-5,12-13", HIDE | REQUIRE, "4-5", id="isolated cores"),
        pytest.param(f"{HOST} isolated=6,14", REQUIRE, "6,14", id="isolated CPUs"),
        pytest.param("1p.4c.2t offline=5", HIDE, "2-3", id="a core of which a thread is offline is none"),
    ],
)
def test_exclusive_cpus(host: str, annotations: dict[str, str], expected: str) -> None:
    placement = Node(make_policy(host, "cpuset:0")).add("a", 2000, annotations=annotations)
    assert cpus(placement, "a") == expected


@pytest.mark.parametrize(
    ("host", "cpu", "annotations", "code", "message"),
    [
        pytest.param(
            HOST,
            8000,
            HIDE,
            RefusalCode.TOO_FEW_CORES,
            "wants 8 exclusive CPUs on cores of their own, but no pool has enough: socket #0, the best one, "
            "has 7 to spare",
            id="too few cores",
        ),
        pytest.param(
            f"{HOST} isolated=6,14",
            3000,
            REQUIRE,
            RefusalCode.TOO_FEW_ISOLATED_CPUS,
            "wants 3 exclusive CPUs (isolated), but no pool has enough: NUMA node #1, the best one, has 2 to spare",
            id="too few isolated CPUs",
        ),
        pytest.param(
            HOST, 1000, REQUIRE, RefusalCode.TOO_FEW_ISOLATED_CPUS, "has 0 to spare", id="no isolated CPUs at all"
        ),
        pytest.param(
            HOST, 500, REQUIRE, RefusalCode.BAD_ANNOTATION, "container a gets no exclusive CPUs", id="no exclusive CPUs"
        ),
    ],
)
def test_refusals(host: str, cpu: int, annotations: dict[str, str], code: RefusalCode, message: str) -> None:
    with pytest.raises(RefusedError) as caught:
        Node(make_policy(host, "cpuset:0")).add("a", cpu, annotations=annotations)
    assert caught.value.code is code
    assert message in caught.value.message


def test_isolated_cpus_that_are_required_rule_out_shared_ones_in_an_overflow() -> None:
    node = Node(make_policy(f"{HOST} isolated=6", "cpuset:0"))
    node.add("a", 1000, annotations=REQUIRE)
    container = node.workload.containers[ContainerKey("a")]
    modest = attrs.evolve(container, key=ContainerKey("b"), requirements=Requirements(unpromised_cpu=MilliCPU(1000)))
    with pytest.raises(RefusedError, match="rules out shared CPUs") as caught:
        node.policy.allocate(node.state, node.workload, modest)
    assert caught.value.code is RefusalCode.TOO_FEW_ISOLATED_CPUS


def test_a_resize_keeps_whole_cores() -> None:
    node = Node(make_policy(HOST, "cpuset:0"))
    node.add("a", 2000, annotations=HIDE)
    assert cpus(node.resize("a", 3000), "a") == "4-6"
    assert cpus(node.resize("a", 1000), "a") == "4"
    assert node.state.taken == CPUSet.parse("4,12")


def test_pools_keep_what_they_promised_in_whole_cores() -> None:
    """The first choice would empty a node on which others run."""
    node = Node(make_policy("1p.2n.2c.2t", "cpuset:0"))
    for number in range(3):
        node.add(f"s{number}", 900, qos=QoSClass.BURSTABLE)
    node.add("a", 2000, annotations=HIDE)
    assert len(node.state.taken) == 4


def test_a_grant_is_restored_and_a_damaged_one_is_not() -> None:
    node = Node(make_policy(HOST, "cpuset:0"))
    node.add("a", 2000, annotations=HIDE)
    saved = json.loads(json.dumps(node.policy.save(node.state)))
    restored = node.policy.restore(saved, node.workload)
    assert restored.state == node.state
    assert str(restored.adjustments[ContainerKey("a")].cpus) == "4-5"
    saved["a"][1]["exclusive"] = "4-6,12"
    assert node.policy.restore(saved, node.workload).dropped == {
        "a": "CPUs 4-6,12 are no longer whole cores of 2 threads"
    }


def test_a_running_container_is_found_on_its_threads() -> None:
    node = Node(make_policy(HOST, "cpuset:0"))
    node.add("a", 2000, annotations=HIDE)
    container = attrs.evolve(node.workload.containers[ContainerKey("a")], found_on=CPUSet.parse("2-3"))
    placement = node.policy.allocate(node.policy.initial(), node.workload, container)
    assert cpus(placement, "a") == "2-3"
    assert placement.state.taken == CPUSet.parse("2-3,10-11")
