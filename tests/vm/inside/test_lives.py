"""Policy topology-aware: what becomes of CPUs when containers die, come back, grow, or something else meddles."""

from __future__ import annotations

import math
import os
import signal
from typing import TYPE_CHECKING

import pytest

from crirm.model.cpuset import CPUSet
from tests.conformance.cri import OK
from tests.vm.inside.expect import wait_for
from tests.vm.inside.kernel import cgroup_of, cpu_limit
from tests.vm.inside.kubelet import Ask

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crirm.model.topology import Topology
    from tests.vm.inside.kubelet import Container
    from tests.vm.inside.node import Node

pytestmark = pytest.mark.servers("two-sockets")

CONFIG = """
policy:
  Active: topology-aware
  ReservedResources:
    CPU: cpuset:0
"""

TWO = Ask("2", "32Mi")


def all_cpus(containers: Iterable[Container]) -> CPUSet:
    return CPUSet.union(each.cpus for each in containers)


def die(container: Container) -> None:
    os.kill(container.pid, signal.SIGKILL)


@pytest.mark.thorough
def test_a_container_that_dies_gives_its_cpus_back_and_gets_some_when_it_is_back(node: Node) -> None:
    shared = node.kubelet.burstable("pod0", "100m", "100m", "100m", "100m")
    had = all_cpus(shared)
    pod = node.kubelet.pod("pod1")
    first = pod.run("c0", TWO)
    wait_for(lambda: all_cpus(shared) == had - first.cpus)
    die(first)
    wait_for(lambda: all_cpus(shared) == had)
    second = pod.run("c0", TWO, attempt=1)
    assert len(second.cpus) == 2
    wait_for(lambda: all_cpus(shared) == had - second.cpus)


@pytest.mark.thorough
def test_what_is_left_of_an_earlier_attempt_goes_without_the_later_ones_cpus(node: Node) -> None:
    """The kubelet removes a dead container long after it has started the next attempt; two sets of CPUs do not fit."""
    pod = node.kubelet.pod("pod0")
    first = pod.run("c0", TWO)
    die(first)
    second = pod.run("c0", TWO, attempt=1)
    own = second.cpus
    first.remove()
    (large,) = node.kubelet.guaranteed("pod1", "12")
    assert own == second.cpus
    assert own.isdisjoint(large.cpus)


@pytest.mark.thorough
def test_a_container_that_is_resized_keeps_what_it_can(node: Node) -> None:
    pod = node.kubelet.pod("pod0")
    container = pod.run("c0", Ask("1", "32Mi"))
    had = CPUSet()
    for cpus in (3, 9, 2):
        had = container.cpus
        assert pod.resize(container, Ask(str(cpus), "32Mi")).code == OK
        assert len(container.cpus) == cpus
        assert container.cpus <= had or had <= container.cpus
        assert cpu_limit(container.pid) == math.inf, "its CPUs are its limit"
    had = container.cpus
    assert pod.resize(container, Ask("16", "32Mi")).code != OK
    assert had == container.cpus


@pytest.mark.thorough
@pytest.mark.servers("two-sockets", "systemd")
def test_what_others_write_into_a_cgroup_is_put_right(node: Node, machine: Topology) -> None:
    (container,) = node.kubelet.guaranteed("pod0", "2")
    had = container.cpus
    cgroup_of(container.pid).joinpath("cpuset.cpus").write_text(str(machine.online))
    assert container.cpus == machine.online
    wait_for(lambda: container.cpus == had)
