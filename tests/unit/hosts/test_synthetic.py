from __future__ import annotations

import tempfile
from pathlib import Path

import attrs
import pytest
from hypothesis import assume, given, settings

from crirm.hosts.synthetic import HostSpec, HostSpecError, MemoryOnlyNode, parse_spec, topology_of, write_tree
from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.quantity import Bytes
from crirm.model.topology import MemoryKind
from crirm.system.sysfs import discover
from tests.unit.hosts.host_specs import host_specs

GIB = 1 << 30


@given(host_specs())
@settings(max_examples=15, deadline=None)
def test_discovery_of_the_tree_finds_the_host(spec: HostSpec) -> None:
    assume(any(spec.memory))  # on a machine without DRAM, sizes do not tell of what kind other memory is
    with tempfile.TemporaryDirectory() as root:
        write_tree(spec, Path(root))
        assert discover(Path(root)).topology == topology_of(spec)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("2p.2n.2c.2t", id="the original's test machine n4c16"),
        pytest.param("2p.2d.2n.2c.2t", id="the original's test machine n4c32"),
        pytest.param("4p.1c mem=2Gi pmem=4x4Gi", id="the original's test machine c4pmem4"),
        pytest.param("1p.4k.2c ecores=8", id="clusters, and efficiency cores in clusters of four"),
        pytest.param(
            "2p.2c mem=1Gi offline=0-1", id="a package that is switched off leaves its memory, which stays DRAM"
        ),
        pytest.param("1p.3n.2c nodes=1,4,9 mem=1Gi,0,1Gi holes=0-2", id="nothing is numbered from 0"),
        pytest.param("1p.2n.1c dist=10,42/42,10 movable=1", id="own distances"),
    ],
)
def test_discovery_has_nothing_to_complain_of(text: str, tmp_path: Path) -> None:
    spec = parse_spec(text)
    write_tree(spec, tmp_path)
    found = discover(tmp_path)
    assert found.topology == topology_of(spec)
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        pytest.param("1p", HostSpec(), id="one of everything"),
        pytest.param(
            "2p.3d.4n.5l.6k.7c.1t", HostSpec(packages=2, dies=3, nodes=4, l3s=5, clusters=6, cores=7), id="every level"
        ),
        pytest.param("8c.2t", HostSpec(cores=8, threads=2), id="outer levels may be left out"),
        pytest.param("  8c   mem=1Gi ", HostSpec(cores=8, memory=(Bytes(GIB),)), id="any blanks"),
        pytest.param("2p mem=1Gi,0", HostSpec(packages=2, memory=(Bytes(GIB), Bytes(0))), id="memory of each node"),
        pytest.param(
            "2p.2c pmem=3x1Gi",
            HostSpec(
                packages=2,
                cores=2,
                memory_only=tuple(MemoryOnlyNode(MemoryKind.PMEM, Bytes(GIB), near) for near in (0, 1, 0)),
            ),
            id="memory-only nodes are dealt to the nodes with CPUs",
        ),
        pytest.param(
            "2p hbm=1Gi@1 cxl=2Gi@0",
            HostSpec(
                packages=2,
                memory_only=(
                    MemoryOnlyNode(MemoryKind.HBM, Bytes(GIB), 1),
                    MemoryOnlyNode(MemoryKind.CXL, Bytes(2 * GIB), 0),
                ),
            ),
            id="memory-only nodes in the order of the words",
        ),
        pytest.param(
            "2p.4c ecores=4 isolated=1-2 nohz_full=2 offline=3 holes=9 movable=0 nodes=0,7 "
            "threads=adjacent l2=1Mi l3=8Mi",
            HostSpec(
                packages=2,
                cores=4,
                ecores=4,
                isolated=CPUSet.parse("1-2"),
                nohz_full=CPUSet.of(2),
                offline=CPUSet.of(3),
                holes=CPUSet.of(9),
                movable=NodeSet.of(0),
                node_ids=(0, 7),
                adjacent_threads=True,
                l2_size=Bytes(1 << 20),
                l3_size=Bytes(8 << 20),
            ),
            id="sets, numbers and sizes",
        ),
        pytest.param(
            "4c base=2.3GHz base=2800MHz@0-1 epp=power@3",
            HostSpec(
                cores=4,
                base_khz=((2_300_000, CPUSet()), (2_800_000, CPUSet.parse("0-1"))),
                preferences=(("power", CPUSet.of(3)),),
            ),
            id="settings for all CPUs or some",
        ),
        pytest.param("2p dist=10,15/15,10", HostSpec(packages=2, distances=((10, 15), (15, 10))), id="distances"),
    ],
)
def test_parse(text: str, spec: HostSpec) -> None:
    assert parse_spec(text) == spec


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        pytest.param(" ", "is empty; write its shape, such as 2p.8c.2t", id="nothing"),
        pytest.param(
            "2p.3x", "'2p.3x' at character 1: '3x' is not a level; write a count and one of p (packages)", id="level"
        ),
        pytest.param("2c.2p", "'2p' is out of order; write levels from the outside in, p.d.n.l.k.c.t", id="inside out"),
        pytest.param("2p.2p", "'2p' is out of order", id="a level twice"),
        pytest.param("2p size=1", "'size=1' at character 4: no such setting; write NAME=VALUE", id="an unknown word"),
        pytest.param("2p mem", "'mem' at character 4: no such setting", id="a word without a value"),
        pytest.param("2p mem=1Gi mem=2Gi", "'mem=2Gi' at character 12: mem is given twice", id="a word twice"),
        pytest.param("2p mem=x", "'mem=x' at character 4: 'x' is not a quantity", id="a wrong size"),
        pytest.param(
            "2p mem=1G", "a size of 1000000000 bytes; the kernel counts in KiB, so write 1Gi, not 1G", id="decimal"
        ),
        pytest.param("2p mem=1Gi,1Gi,1Gi", "3 memory sizes for 2 NUMA nodes with CPUs", id="too many sizes"),
        pytest.param(
            "2p pmem=1Gi@2", "attached to NUMA node 2, but those with CPUs are 0 to 1", id="attached to nothing"
        ),
        pytest.param("2p pmem=0", "needs memory", id="memory-only without memory"),
        pytest.param("2p pmem=@1", "'@1' is not COUNTxSIZE@NODES", id="no size"),
        pytest.param("2p.2c isolated=4", "isolated names CPUs 4, but its CPUs are 0-3", id="a CPU that is not there"),
        pytest.param("2p.2c isolated=1-", "CPU list '1-': '1-' at character 1", id="a wrong CPU list"),
        pytest.param("2c offline=0-1", "all CPUs are offline", id="nothing online"),
        pytest.param("2p dist=10,21", "expected 2 rows of 2 distances", id="too few distances"),
        pytest.param("2p dist=10,21/20,10", "the distances are not symmetric", id="asymmetric"),
        pytest.param("2p dist=10,9/9,10", "10 to the node itself and more than 10 to others", id="nearer than itself"),
        pytest.param("2p dist=10;21", "is not rows of numbers such as 10,21/21,10", id="wrong separators"),
        pytest.param("2p nodes=1", "1 node numbers for 2 NUMA nodes", id="too few node numbers"),
        pytest.param("2p movable=2", "movable NUMA nodes 2 do not exist", id="movable memory of no node"),
        pytest.param(
            "0n pmem=1Gi", "memory-only nodes, node numbers and distances need NUMA", id="NUMA off, but several nodes"
        ),
        pytest.param("0p", "packages is 0; must be 1 or more", id="no package"),
        pytest.param("999p.99c", "98901 CPUs; the limit is 8192", id="too many CPUs"),
        pytest.param("2c base=3", "'3' is not a frequency such as 2.3GHz", id="a frequency without a unit"),
        pytest.param("2c epp=a-b", "'a-b' is not a word such as balance_power", id="a preference that is no word"),
        pytest.param("2c threads=x", "'x' is not adjacent or split", id="a numbering that is none"),
        pytest.param("2c ecores=x", "'x' is not a whole number", id="a count that is none"),
    ],
)
def test_parse_refuses(text: str, fault: str) -> None:
    with pytest.raises(HostSpecError) as caught:
        parse_spec(text)
    assert fault in str(caught.value)
    assert caught.value.exit_code == 2


def test_counts_are_not_negative() -> None:
    with pytest.raises(HostSpecError, match="ecores is -1; must be 0 or more"):
        attrs.evolve(HostSpec(), ecores=-1)


def test_usual_numbering_and_distances() -> None:
    topology = topology_of(parse_spec("2p.2d.2n.1c.2t pmem=1Gi@0"))
    assert [str(core) for core in topology.cores] == [f"{cpu},{cpu + 8}" for cpu in range(8)]
    assert topology.distances[0] == (10, 11, 12, 12, 21, 21, 21, 21, 17)
    assert topology.distances[8] == (17, 18, 19, 19, 28, 28, 28, 28, 10)


def test_adjacent_threads() -> None:
    topology = topology_of(parse_spec("2c.2t threads=adjacent"))
    assert [str(core) for core in topology.cores] == ["0-1", "2-3"]
