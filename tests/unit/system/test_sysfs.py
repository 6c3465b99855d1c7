from __future__ import annotations

import os
import random
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.topology import Die, EnergyPreference, FrequencyBin, MemoryKind, Package
from crirm.sim.hosts import parse_spec, topology_of, write_tree
from crirm.system.sysfs import Discovery, DiscoveryError, discover
from crirm.system.sysfs_files import Fault, SysFiles

if TYPE_CHECKING:
    from collections.abc import Callable

CPU = "sys/devices/system/cpu"
NODE = "sys/devices/system/node"

Change = tuple[str, str | None]


def found_after(root: Path, text: str, *changes: Change) -> Discovery:
    """Discover a synthetic host after some of its files were changed, or removed where the new content is None.

    A path may have ``*`` for many files.
    """
    write_tree(parse_spec(text), root)
    for pattern, content in changes:
        paths = list(root.glob(pattern)) if "*" in pattern else [root / pattern]
        assert paths, f"{pattern} is not there"
        for path in paths:
            if content is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content)
            elif path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    return discover(root)


def warned(found: Discovery) -> list[tuple[Fault, str]]:
    return [(oddity.fault, oddity.what) for oddity in found.warnings]


HOST = "2p.2d.1n.1c.2t"  # CPUs 0-3 are the first threads, 4-7 the second ones


@pytest.mark.parametrize(
    ("changes", "warnings"),
    [
        pytest.param([(f"{CPU}/present", None)], [], id="without the list of present CPUs their directories count"),
        pytest.param([(f"{CPU}/online", None)], [(Fault.NO_ONLINE_LIST, "CPUs 0-7")], id="no list of online CPUs"),
        pytest.param(
            [(f"{CPU}/online", "garbage")],
            [(Fault.MALFORMED, "{root}/" + f"{CPU}/online"), (Fault.NO_ONLINE_LIST, "CPUs 0-7")],
            id="no readable list of online CPUs",
        ),
        pytest.param([(f"{CPU}/isolated", "(null)\n")], [], id="an empty mask, as some kernels print it"),
        pytest.param([(f"{CPU}/nohz_full", None)], [], id="a kernel without nohz_full"),
        pytest.param(
            [
                (f"{CPU}/cpu*/topology/package_cpus_list", None),
                (f"{CPU}/cpu*/topology/core_cpus_list", None),
                (f"{CPU}/cpu*/topology/cluster_*", None),
            ],
            [],
            id="the names of older kernels",
        ),
        pytest.param([("sys/devices/virtual/memory_tiering", None)], [], id="a kernel without memory tiers"),
        pytest.param([(f"{NODE}/online", None)], [], id="without the list of nodes their directories count"),
        pytest.param(
            [(f"{NODE}/has_normal_memory", None)], [(Fault.NO_NORMAL_LIST, "NUMA nodes 0-3")], id="no list of normal memory"
        ),
        pytest.param([(f"{NODE}/has_memory", None)], [], id="without the list of nodes with memory their sizes count"),
        pytest.param(
            [(f"{CPU}/cpu[26]/cache/index3/shared_cpu_list", "2-3,6-7")] * 0
            + [(f"{CPU}/cpu0/topology/core_cpus_list", "0,4,9")],
            [(Fault.BAD_GROUP, "CPUs 0,4,9")],
            id="a core with a thread that is not there",
        ),
        pytest.param(
            [(f"{CPU}/cpu3/topology/package_cpus_list", "9")], [], id="a group is asked of its first CPU only"
        ),
        pytest.param([(f"{NODE}/node1/distance", "")], [(Fault.NO_DISTANCE, "NUMA node 1")], id="the other side tells it"),
        pytest.param(
            [(f"{NODE}/node0/distance", "10 12 21"), (f"{NODE}/node3/distance", "what")],
            [
                (Fault.MALFORMED, "{root}/" + f"{NODE}/node3/distance"),
                (Fault.NO_DISTANCE, "NUMA nodes 0,3"),
            ],
            id="distances cut short",
        )
        if False
        else pytest.param(
            [(f"{NODE}/node0/distance", "10 12 21")], [(Fault.NO_DISTANCE, "NUMA node 0")], id="distances cut short"
        ),
    ],
)
def test_the_same_machine_is_found(tmp_path: Path, changes: list[Change], warnings: list[tuple[Fault, str]]) -> None:
    found = found_after(tmp_path, HOST, *changes)
    assert found.topology == topology_of(parse_spec(HOST))
    assert warned(found) == [(fault, what.format(root=tmp_path)) for fault, what in warnings]
