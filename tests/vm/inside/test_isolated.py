"""Policy topology-aware where the kernel keeps a core (CPUs 8 and 9) out of its scheduling."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crirm.model.cpuset import CPUSet
from tests.vm.inside.expect import annotation

if TYPE_CHECKING:
    from tests.vm.inside.node import Node

pytestmark = pytest.mark.servers("isolated")

CONFIG = """
policy:
  Active: topology-aware
  ReservedResources:
    CPU: cpuset:0
"""

ISOLATED = CPUSet.of(8, 9)
OPT_IN = annotation("prefer-isolated-cpus", "true")
OPT_OUT = annotation("prefer-isolated-cpus", "false")


@pytest.mark.parametrize(
    ("cpu", "words", "isolated", "others"),
    [
        pytest.param("1", {}, 1, 0, id="one CPU is an isolated one"),
        pytest.param("1", OPT_OUT, 0, 1, marks=pytest.mark.thorough, id="one CPU, opted out"),
        pytest.param("2", {}, 0, 2, marks=pytest.mark.thorough, id="two are ordinary ones"),
        pytest.param("2", OPT_IN, 2, 0, id="two, opted in, are the isolated core"),
        pytest.param(
            "3", OPT_IN, 0, 3, marks=pytest.mark.thorough, id="three are more than there are, opted in or not"
        ),
    ],
)
def test_whole_cpus(node: Node, cpu: str, words: dict[str, str], isolated: int, others: int) -> None:
    (container,) = node.kubelet.guaranteed("pod0", cpu, annotations=words)
    assert isolated == len(container.cpus & ISOLATED)
    assert others == len(container.cpus - ISOLATED)


def test_one_and_a_half_are_an_isolated_one_and_a_share(node: Node) -> None:
    (container,) = node.kubelet.guaranteed("pod0", "1500m")
    assert len(container.cpus & ISOLATED) == 1
    assert container.cpus - ISOLATED


@pytest.mark.thorough
def test_who_comes_too_late_gets_an_ordinary_cpu(node: Node) -> None:
    first, second, third = node.kubelet.guaranteed("pod0", "1", "1", "1")
    assert first.cpus | second.cpus == ISOLATED
    assert len(third.cpus) == 1
    assert third.cpus.isdisjoint(ISOLATED)


@pytest.mark.thorough
def test_shared_containers_never_run_on_isolated_cpus(node: Node) -> None:
    for container in (*node.kubelet.burstable("pod0", "200m", "2500m"), node.kubelet.best_effort("pod1")):
        assert container.cpus.isdisjoint(ISOLATED)
