"""Whether the server is the one that was asked for, and whether containers run on it."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import attrs
import pytest

from crirm.hosts.synthetic import topology_of
from crirm.model.quantity import Bytes
from crirm.model.topology import CacheGroup, NumaNode, Topology
from crirm.model.topology_json import from_json
from tests.daemons import CRIRM
from tests.vm.inside.kernel import allowed_cpus, cgroup_of, effective_cpus

if TYPE_CHECKING:
    from tests.vm.inside.node import Node
    from tests.vm.servers import Server

CONFIG = """
policy:
  Active: topology-aware
  ReservedResources:
    CPU: cpuset:0
"""

_KERNEL_TAKES = 0.15  # of a NUMA node's memory, for itself, at most


def crirm(*words: str) -> str:
    return subprocess.run([str(CRIRM), *words], check=True, capture_output=True, text=True).stdout


def test_the_machine_is_the_one_that_was_asked_for(server: Server) -> None:
    found = json.loads(crirm("topology", "--json"))
    wanted, got = topology_of(server.spec), from_json(found["topology"])
    assert comparable(wanted) == comparable(got)
    for asked, there in zip(wanted.nodes, got.nodes, strict=True):
        assert asked.memory * (1 - _KERNEL_TAKES) <= there.memory <= asked.memory
    guesses = {"GUESSED_KIND"} if server.spec.memory_only else set()
    assert {each["fault"] for each in found["warnings"]} <= guesses


def comparable(topology: Topology) -> Topology:
    """Without what emulation decides for itself: cache sizes and numbers; the kernel's share of the memory."""
    return attrs.evolve(
        topology,
        caches=tuple(CacheGroup(cache.level, None, Bytes(0), cache.cpus) for cache in topology.caches),
        nodes=tuple(NumaNode(node.id, node.cpus, Bytes(1), node.kind, node.normal) for node in topology.nodes),
    )


def test_a_container_gets_a_cpuset_that_the_kernel_enforces(server: Server, node: Node) -> None:
    (container,) = node.kubelet.burstable("pod0", "100m")
    wanted = topology_of(server.spec)
    assert container.cpus
    assert container.cpus < wanted.online
    assert 0 not in container.cpus
    assert container.cpus == allowed_cpus(container.pid) == effective_cpus(container.pid)
    layout = str(cgroup_of(container.pid))
    assert ("/kubepods.slice/" in layout) is server.systemd
    assert layout.endswith(".scope") is server.systemd


@pytest.mark.thorough
@pytest.mark.servers("one-socket", "systemd")
def test_the_doctor_finds_nothing_in_the_way(node: Node) -> None:
    sockets = ("--relay-socket", str(node.folder / "other.sock"), "--runtime-socket", str(node.containerd.socket))
    findings = {each["check"]: each["verdict"] for each in json.loads(crirm("doctor", *sockets, "--json"))}
    assert findings["cgroup"] == findings["runtime"] == findings["kernel"] == findings["python"] == "ok"


@pytest.mark.thorough
@pytest.mark.servers("one-socket", "systemd")
def test_the_demo_plays() -> None:
    shown = crirm("demo", "--once")
    assert "hello from inside" in shown
    assert "RemovePodSandbox" in shown
