"""Which memory is of which kind."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from crirm.hosts.synthetic import parse_spec, write_tree
from crirm.model.cpuset import CPUSet
from crirm.model.topology import MemoryKind
from crirm.system.sysfs import discover
from crirm.system.sysfs_files import Fault
from tests.unit.system.changed_hosts import NODE, Change, found_after, warned

if TYPE_CHECKING:
    from pathlib import Path

KINDS = "2p mem=4Gi pmem=8Gi hbm=2Gi cxl=2Gi"  # NUMA nodes 2, 3 and 4


@pytest.mark.parametrize(
    ("changes", "kinds", "guessed"),
    [
        pytest.param([], "PMEM HBM CXL", "", id="devices and tiers tell"),
        pytest.param([("sys/bus", None)], "CXL HBM CXL", "", id="tiers alone tell what is faster and what is slower"),
        pytest.param([("sys/devices/virtual", None)], "PMEM HBM CXL", "3", id="devices alone do not know HBM"),
        pytest.param([("sys/devices/virtual", None), ("sys/bus", None)], "PMEM HBM HBM", "2-4", id="sizes are a guess"),
        pytest.param([("sys/bus/dax/devices/*/target_node", "-1")], "CXL HBM CXL", "", id="devices of no node"),
        pytest.param([("sys/bus/dax/devices/*/target_node", None)], "CXL HBM CXL", "", id="devices that tell no node"),
        pytest.param(
            [("sys/bus", None), ("sys/devices/virtual/memory_tiering/memory_tier4/nodelist", "0-4")],
            "CXL HBM CXL",
            "",
            id="the other tiers still name the nodes",
        ),
    ],
)
def test_memory_kinds(tmp_path: Path, changes: list[Change], kinds: str, guessed: str) -> None:
    found = found_after(tmp_path, KINDS, *changes)
    nodes = found.topology.nodes
    assert [node.kind for node in nodes] == [MemoryKind[kind] for kind in f"DRAM DRAM {kinds}".split()]
    assert [what.split()[-1] for fault, what in warned(found) if fault is Fault.GUESSED_KIND] == guessed.split()


GPU = "2p mem=4Gi hbm=8Gi"  # NUMA node 2, larger than the others
NO_TIERS: Change = ("sys/devices/virtual", None)


@pytest.mark.parametrize(
    ("changes", "kind", "guessed"),
    [
        pytest.param([NO_TIERS], "PMEM", "2", id="nothing tells: its size is a guess"),
        pytest.param(
            [NO_TIERS, (f"{NODE}/has_normal_memory", "0-1")], "HBM", "", id="movable memory of no device is no PMEM"
        ),
        pytest.param(
            [NO_TIERS, (f"{NODE}/has_normal_memory", None)], "PMEM", "2", id="a kernel that tells no such list"
        ),
        pytest.param(
            [
                ("sys/devices/virtual/memory_tiering/memory_tier4/nodelist", "0-2"),
                (f"{NODE}/has_normal_memory", "0-1"),
            ],
            "HBM",
            "",
            id="movable memory in the tier of DRAM",
        ),
        pytest.param(
            [
                ("sys/devices/virtual/memory_tiering/memory_tier2", None),
                ("sys/devices/virtual/memory_tiering/memory_tier8/nodelist", "2"),
                (f"{NODE}/has_normal_memory", "0-1"),
            ],
            "CXL",
            "",
            id="movable memory that the kernel ranks as slower",
        ),
        pytest.param(
            [
                ("sys/devices/virtual/memory_tiering/memory_tier2", None),
                ("sys/devices/virtual/memory_tiering/memory_tier8/nodelist", "2"),
                *((f"{NODE}/node{node}/access0/initiators/read_bandwidth", "400000") for node in (0, 1)),
                (f"{NODE}/node2/access0/initiators/read_bandwidth", "4000000"),
            ],
            "HBM",
            "",
            id="slow for CPUs, and faster than DRAM for its GPU",
        ),
        pytest.param(
            [NO_TIERS, *((f"{NODE}/node{n}/access0/initiators/read_bandwidth", str(9 - n)) for n in (0, 1, 2))],
            "PMEM",
            "2",
            id="no faster than DRAM: its size is a guess",
        ),
    ],
)
def test_memory_of_gpus_is_not_persistent(tmp_path: Path, changes: list[Change], kind: str, guessed: str) -> None:
    write_tree(parse_spec(GPU), tmp_path)
    for path, content in changes:
        place = tmp_path / path
        if content is None:
            shutil.rmtree(place) if place.is_dir() else place.unlink()
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(content)
    found = discover(tmp_path)
    assert found.topology.node(2).kind is MemoryKind[kind]
    assert [what.split()[-1] for fault, what in warned(found) if fault is Fault.GUESSED_KIND] == guessed.split()


def test_memory_of_a_node_whose_cpus_are_off_stays_dram(tmp_path: Path) -> None:
    found = found_after(tmp_path, "2p.1c offline=1")
    assert [node.kind for node in found.topology.nodes] == [MemoryKind.DRAM, MemoryKind.DRAM]
    assert found.topology.offline == CPUSet.of(1)
