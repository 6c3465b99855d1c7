"""Policy topology-aware: pods come and go at random, and nobody ever runs on what is somebody else's alone."""

from __future__ import annotations

import itertools
import os
import random
import signal
from typing import TYPE_CHECKING

import attrs
import pytest

from crirm.model.cpuset import CPUSet
from crirm.model.qos import QoSClass
from tests.conformance.cri import OK
from tests.vm.inside.expect import wait_for
from tests.vm.inside.kubelet import Ask

if TYPE_CHECKING:
    from crirm.model.topology import Topology
    from tests.vm.inside.kubelet import Container, Pod
    from tests.vm.inside.node import Node

pytestmark = [pytest.mark.servers("two-sockets", "dies"), pytest.mark.thorough]

CONFIG = """
policy:
  Active: topology-aware
  ReservedResources:
    CPU: cpuset:0
"""

STEPS = 16
RESERVED = CPUSet.of(0)
WHOLE = {"1": 1, "2": 2, "3": 3, "4": 4}
PARTS = ("300m", "1500m")


@attrs.frozen
class Placed:
    """A pod with one container; *alone* is how many CPUs it must have to itself, 0 where that is not a whole number."""

    pod: Pod
    container: Container
    alone: int


def come(node: Node, dice: random.Random, name: str) -> Placed | None:
    """Run a pod; None where there is no room for it any more."""
    qos = dice.choice((QoSClass.GUARANTEED, QoSClass.GUARANTEED, QoSClass.BURSTABLE))
    cpu = dice.choice((*WHOLE, *PARTS))
    pod = node.kubelet.pod(name, qos)
    reply = pod.create("c0", Ask(cpu, "16Mi"))
    if reply.code != OK:
        assert "CPU" in reply.text
        pod.remove()
        return None
    container = pod.start(reply)
    return Placed(pod, container, WHOLE.get(cpu, 0) if qos is QoSClass.GUARANTEED else 0)


def at_peace(placed: list[Placed], machine: Topology) -> bool:
    """Whether all have what they must have, and none has what another has to itself."""
    sets = [(each.container.cpus, each.alone) for each in placed]
    return all(cpus and cpus <= machine.online - RESERVED for cpus, _ in sets) and all(
        one.isdisjoint(other) for (one, a), (other, b) in itertools.combinations(sets, 2) if a or b
    )


def check(placed: list[Placed], machine: Topology) -> None:
    wait_for(lambda: at_peace(placed, machine))
    exclusive = [each for each in placed if each.alone]
    assert [len(each.container.cpus) for each in exclusive] == [each.alone for each in exclusive]


@pytest.mark.parametrize("seed", range(2))
def test_whatever_the_order(node: Node, machine: Topology, seed: int) -> None:
    dice = random.Random(seed)
    placed: list[Placed] = []
    for step in range(STEPS):
        match dice.choice(("come", "come", "go", "die")):
            case "go" if placed:
                placed.pop(dice.randrange(len(placed))).pod.remove()
            case "die" if placed:
                os.kill(placed.pop(dice.randrange(len(placed))).container.pid, signal.SIGKILL)
            case _:
                placed += filter(None, [come(node, dice, f"pod{step}")])
        check(placed, machine)
    node.kubelet.remove_all()
    (large,) = node.kubelet.guaranteed("last", str(len(machine.online) - 2))  # one is reserved, one stays shared
    assert len(large.cpus) == len(machine.online) - 2
