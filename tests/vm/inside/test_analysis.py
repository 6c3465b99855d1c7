"""What ``crirm explain --analyze`` tells is what the kernel's files say, on cgroup v2 and several NUMA nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.vm.inside.expect import homes, wait_for
from tests.vm.inside.kernel import cgroup_of, memory_by_node
from tests.vm.inside.kubelet import Ask

if TYPE_CHECKING:
    from crirm.model.topology import Topology
    from tests.vm.inside.kubelet import Container
    from tests.vm.inside.node import Node

pytestmark = pytest.mark.servers("two-sockets")

CONFIG = """
# with drift that is left alone, see below
policy:
  Active: static
  ReservedResources:
    CPU: cpuset:0
"""

TOUCHED = 8 << 20
TOUCH = ("sh", "-c", f"dd if=/dev/zero bs={TOUCHED} | sleep 1000000")  # dd fills its buffer and cannot get rid of it


def analysed(node: Node, container: Container) -> dict[str, Any]:
    (explained,) = node.ask("explain", "far", "--analyze")
    kernel: dict[str, Any] = explained["kernel"]
    assert kernel["cpus"] == str(container.cpus)
    assert kernel["version"] == "v2"
    return kernel


def in_the_file(container: Container) -> dict[str, int]:
    """Bytes by NUMA node of what its processes have."""
    lines = cgroup_of(container.pid).joinpath("memory.numa_stat").read_text().splitlines()
    rows = [dict(word.split("=") for word in line.split()[1:]) for line in lines if line.split()[0] in {"anon", "file"}]
    return {name[1:]: sum(int(row[name]) for row in rows) for name in rows[0]}


def test_memory_left_behind_is_remote(node: Node, machine: Topology) -> None:
    node.stop()
    node.start(*node._options, "--enforce", "off")
    container = node.kubelet.pod("far").run("c0", Ask("1", "64Mi", TOUCH))
    wait_for(lambda: sum(memory_by_node(container.pid).values()) >= TOUCHED)
    before, (home,) = analysed(node, container), homes(machine, container.cpus)
    assert before["memory_bytes"] == in_the_file(container)
    assert before["memory_bytes"][str(home)] >= TOUCHED
    assert before["remote_bytes"] < TOUCHED
    away = next(each for each in machine.nodes if each.id != home)
    cgroup_of(container.pid).joinpath("cpuset.cpus").write_text(str(away.cpus))
    wait_for(lambda: container.cpus == away.cpus)
    after = analysed(node, container)
    assert after["remote_bytes"] >= TOUCHED
    assert str(home) in after["remote_nodes"]
    findings = " ".join(after["findings"])
    assert f"the kernel lets it use CPUs {away.cpus}, not " in findings
    assert "is remote: on NUMA node" in findings
    pressure = cgroup_of(container.pid) / "cpu.pressure"
    assert (after["pressure_percent"] is not None) == pressure.exists()
