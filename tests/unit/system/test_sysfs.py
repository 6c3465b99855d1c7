from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crirm.hosts.synthetic import parse_spec, topology_of, write_tree
from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.topology import Die, EnergyPreference, FrequencyBin, MemoryKind, Package
from crirm.system.sysfs import DiscoveryError, discover
from crirm.system.sysfs_files import Fault
from tests.unit.system.changed_hosts import CPU, NODE, Change, found_after, warned

HOST = "2p.2d.1n.1c.2t"  # CPUs 0-3 are the first threads, 4-7 the second ones; each die is a NUMA node


@pytest.mark.parametrize(
    ("changes", "warnings"),
    [
        pytest.param([(f"{CPU}/present", None)], [], id="no list of present CPUs: their directories count"),
        pytest.param([(f"{CPU}/online", None)], [(Fault.NO_ONLINE_LIST, "CPUs 0-7")], id="no list of online CPUs"),
        pytest.param([(f"{CPU}/isolated", "(null)\n")], [], id="an empty mask as some kernels print it"),
        pytest.param([(f"{CPU}/nohz_full", None)], [], id="a kernel without nohz_full"),
        pytest.param(
            [(f"{CPU}/cpu*/topology/{name}", None) for name in ("package_cpus_list", "core_cpus_list", "cluster_*")],
            [],
            id="a kernel that has only the older names",
        ),
        pytest.param([(f"{CPU}/cpu*/topology/cluster_id", "-1")], [], id="a kernel that prints no cluster as -1"),
        pytest.param([("sys/devices/virtual/memory_tiering", None)], [], id="a kernel without memory tiers"),
        pytest.param([(f"{NODE}/online", None)], [], id="no list of NUMA nodes: their directories count"),
        pytest.param([(f"{NODE}/has_memory", None)], [], id="no list of nodes with memory: their sizes count"),
        pytest.param(
            [(f"{NODE}/has_normal_memory", None)],
            [(Fault.NO_NORMAL_LIST, "NUMA nodes 0-3")],
            id="no list of nodes with normal memory",
        ),
        pytest.param(
            [(f"{CPU}/cpu0/topology/core_cpus_list", "0,4,9")],
            [(Fault.BAD_GROUP, "CPUs 0,4,9")],
            id="a core with a thread that is not there",
        ),
        pytest.param(
            [(f"{CPU}/cpu1/cache/index2/shared_cpu_list", "0-1,5")],
            [(Fault.BAD_GROUP, "CPUs 0-1,5")],
            id="a cache that claims the CPU of another",
        ),
        pytest.param(
            [(f"{NODE}/node1/distance", "")],
            [(Fault.NO_DISTANCE, "NUMA node 1")],
            id="the other nodes tell its distances",
        ),
        pytest.param(
            [(f"{NODE}/node0/distance", "10 12 21")], [(Fault.NO_DISTANCE, "NUMA node 0")], id="distances cut short"
        ),
        pytest.param(
            [(f"{NODE}/node0/distance", "10 11 20 20")],
            [(Fault.BAD_DISTANCE, "NUMA node 0")],
            id="asymmetric distances: the larger counts",
        ),
        pytest.param(
            [(f"{NODE}/node2/distance", "21 21 0 12")], [(Fault.BAD_DISTANCE, "NUMA node 2")], id="not 10 to itself"
        ),
        pytest.param(
            [(f"{NODE}/node1/cpulist", "0-1,5")], [(Fault.TWO_NODES, "CPU 0")], id="a CPU in two nodes is in the first"
        ),
        pytest.param([("sys/devices/cpu_atom/cpus", "0-7")], [], id="a machine of efficiency cores only is not hybrid"),
        pytest.param([(f"{CPU}/cpu0/cpu_capacity", "1024")], [], id="a capacity that other CPUs do not tell"),
    ],
)
def test_repairs_that_lose_nothing(tmp_path: Path, changes: list[Change], warnings: list[tuple[Fault, str]]) -> None:
    found = found_after(tmp_path, HOST, *changes)
    assert found.topology == topology_of(parse_spec(HOST))
    assert warned(found) == warnings


def test_unreadable_and_malformed_files_are_named(tmp_path: Path) -> None:
    write_tree(parse_spec(HOST), tmp_path)
    (tmp_path / f"{CPU}/isolated").write_text("many")
    (tmp_path / f"{NODE}/has_cpu").unlink()
    (tmp_path / f"{NODE}/node0/meminfo").unlink()
    (tmp_path / f"{NODE}/node0/meminfo").mkdir()
    found = discover(tmp_path)
    assert warned(found) == [
        (Fault.UNREADABLE, f"{tmp_path}/{NODE}/node0/meminfo"),
        (Fault.MALFORMED, f"{tmp_path}/{CPU}/isolated"),
        (Fault.NO_MEMORY_SIZE, "NUMA node 0"),
    ]
    assert str(found.warnings[1]) == f"{tmp_path}/{CPU}/isolated has unexpected content; treated as missing"


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    write_tree(parse_spec("1c"), tmp_path)
    for loop in (f"{CPU}/isolated", "sys/bus"):  # the permissions that stop others do not stop root
        (tmp_path / loop).unlink(missing_ok=True)
        (tmp_path / loop).symlink_to(tmp_path / loop)
    (oddity,) = discover(tmp_path).warnings
    assert (oddity.fault, oddity.what) == (Fault.UNREADABLE, f"{tmp_path}/{CPU}/isolated")


def test_directories_that_cannot_be_listed_are_named(tmp_path: Path) -> None:
    write_tree(parse_spec("1c pmem=1Gi"), tmp_path)
    shutil.rmtree(tmp_path / "sys/bus/dax")
    (tmp_path / "sys/bus/dax").symlink_to(tmp_path / "sys/bus/dax")
    (oddity,) = discover(tmp_path).warnings
    assert (oddity.fault, oddity.what) == (Fault.UNREADABLE, f"{tmp_path}/sys/bus/dax/devices")


def test_a_list_longer_than_a_page_is_read_whole(tmp_path: Path) -> None:
    write_tree(parse_spec("1c"), tmp_path)
    every_second = CPUSet(range(0, 4000, 2))
    assert len(str(every_second)) > 2 * 4096
    (tmp_path / f"{CPU}/present").write_text(f"{every_second}\n")
    assert discover(tmp_path).topology.offline == every_second - CPUSet.of(0)


def test_many_bad_files_are_one_warning(tmp_path: Path) -> None:
    found = found_after(
        tmp_path, HOST, (f"{CPU}/cpu*/cache/index3/size", "big"), (f"{CPU}/cpu*/cache/index2/size", "2M")
    )
    (oddity,) = found.warnings
    assert oddity.fault is Fault.MALFORMED
    assert oddity.what.endswith("index2/size and 5 more files")
    assert [cache.size for cache in found.topology.caches] == [0] * 8


@pytest.mark.parametrize("missing", ["-1", "", None])
def test_without_package_numbers_there_is_one_package(tmp_path: Path, missing: str | None) -> None:
    changes = [(f"{CPU}/cpu*/topology/{name}", missing) for name in ("physical_package_id", "package_cpus_list")]
    changes.append((f"{CPU}/cpu*/topology/core_siblings_list", missing))
    found = found_after(tmp_path, HOST, *changes)
    assert found.topology.packages == (Package(0, CPUSet.parse("0-7")),)
    assert found.topology.dies == (Die(0, 0, CPUSet.parse("0,2,4,6")), Die(0, 1, CPUSet.parse("1,3,5,7")))
    assert (Fault.NO_PACKAGE, "CPUs 0-7") in warned(found)


def test_packages_without_a_number_get_a_free_one(tmp_path: Path) -> None:
    found = found_after(tmp_path, "2p.2c", (f"{CPU}/cpu2/topology/physical_package_id", "-1"))
    assert found.topology == topology_of(parse_spec("2p.2c"))
    assert warned(found) == [(Fault.NO_PACKAGE, "CPUs 2-3")]


def test_package_lists_of_one_number_are_one_package(tmp_path: Path) -> None:
    found = found_after(tmp_path, "2p.2c", (f"{CPU}/cpu*/topology/physical_package_id", "7"))
    assert found.topology.packages == (Package(7, CPUSet.parse("0-3")),)
    assert (Fault.BAD_GROUP, "CPUs 0-3") in warned(found)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param([("die_id", None), ("die_cpus_list", None)], id="a kernel that knows no dies"),
        pytest.param([("die_id", "-1")], id="a number that means none"),
    ],
)
def test_without_die_numbers_a_package_is_one_die(tmp_path: Path, changes: list[Change]) -> None:
    found = found_after(tmp_path, HOST, *((f"{CPU}/cpu*/topology/{name}", content) for name, content in changes))
    assert found.topology.dies == (Die(0, 0, CPUSet.parse("0-1,4-5")), Die(1, 0, CPUSet.parse("2-3,6-7")))
    assert warned(found) == [(Fault.NO_DIE, "CPUs 0-7")]


@pytest.mark.parametrize("first", [0, 1])
def test_dies_are_counted_per_package_or_per_machine(tmp_path: Path, first: int) -> None:
    changes = [(f"{CPU}/cpu{cpu}/topology/die_id", str(cpu % 2 + 2 * first * (cpu % 4 // 2))) for cpu in range(8)]
    dies = found_after(tmp_path, HOST, *changes).topology.dies
    assert [(die.package, str(die.cpus)) for die in dies] == [(0, "0,4"), (0, "1,5"), (1, "2,6"), (1, "3,7")]


def test_a_core_never_spans_dies(tmp_path: Path) -> None:
    found = found_after(tmp_path, "1p.2d.1c", (f"{CPU}/cpu0/topology/core_cpus_list", "0-1"))
    assert found.topology.cores == (CPUSet.of(0), CPUSet.of(1))
    assert warned(found) == [(Fault.BAD_GROUP, "CPUs 0-1")]


def test_without_any_topology_every_cpu_is_a_core(tmp_path: Path) -> None:
    found = found_after(tmp_path, "1p.2c.2t", (f"{CPU}/cpu*/topology", None))
    assert found.topology.cores == tuple(CPUSet.of(cpu) for cpu in range(4))
    assert {oddity.fault for oddity in found.warnings} == {Fault.NO_PACKAGE, Fault.NO_DIE}


@pytest.mark.parametrize("part", ["", "/index*/level", "/index*/shared_cpu_list"])
def test_missing_caches(tmp_path: Path, part: str) -> None:
    found = found_after(tmp_path, HOST, (f"{CPU}/cpu*/cache{part}", None))
    assert found.topology.caches == ()
    assert warned(found) == [(Fault.NO_CACHE, "CPUs 0-7")]


def test_caches_of_one_cpu_missing(tmp_path: Path) -> None:
    found = found_after(tmp_path, "4c", (f"{CPU}/cpu2/cache", None))
    assert [str(cache.cpus) for cache in found.topology.caches] == ["0", "1", "3", "0-3"]
    assert found.warnings == ()  # the L3 group still names it


def test_caches_are_found_by_their_level_not_their_place(tmp_path: Path) -> None:
    write_tree(parse_spec("2c"), tmp_path)
    for cpu, order in ((0, (0, 1, 3, 2)), (1, (2, 0, 1, 3))):
        cache = tmp_path / f"{CPU}/cpu{cpu}/cache"
        for index in range(4):
            (cache / f"index{index}").rename(cache / f"moved{order[index]}")
        for index in range(4):
            (cache / f"moved{index}").rename(cache / f"index{index}")
    assert discover(tmp_path).topology == topology_of(parse_spec("2c"))


def test_numa_off(tmp_path: Path) -> None:
    found = found_after(tmp_path, "2p.2c mem=1Gi", (NODE, None))
    (node,) = found.topology.nodes
    assert (node.cpus, node.memory, node.kind, node.normal) == (CPUSet.parse("0-3"), 2 << 30, MemoryKind.DRAM, True)
    assert found.topology.distances == ((10,),)
    assert warned(found) == [(Fault.NUMA_OFF, "CPUs 0-3")]


def test_numa_off_and_no_memory_size_either(tmp_path: Path) -> None:
    found = found_after(tmp_path, "2c", (NODE, None), ("proc/meminfo", None))
    assert found.topology.nodes[0].kind is None


def test_no_distances_at_all(tmp_path: Path) -> None:
    found = found_after(tmp_path, "3p", (f"{NODE}/node*/distance", "\n"))
    assert found.topology.distances == ((10, 20, 20), (20, 10, 20), (20, 20, 10))
    assert warned(found) == [(Fault.NO_DISTANCE, "NUMA nodes 0-2")]


def test_distances_that_are_no_numbers(tmp_path: Path) -> None:
    found = found_after(tmp_path, "2p", (f"{NODE}/node0/distance", "10 -1"))
    assert found.topology.distances == ((10, 21), (21, 10))
    assert [fault for fault, _ in warned(found)] == [Fault.MALFORMED, Fault.NO_DISTANCE]


def test_a_node_is_never_as_near_as_itself(tmp_path: Path) -> None:
    found = found_after(tmp_path, "2p", (f"{NODE}/node*/distance", "10 10"))
    assert found.topology.distances == ((10, 11), (11, 10))
    assert warned(found) == [(Fault.BAD_DISTANCE, "NUMA nodes 0-1")]


def test_a_node_with_nothing_is_left_out_but_keeps_its_column(tmp_path: Path) -> None:
    found = found_after(
        tmp_path, "3p.1c mem=1Gi,0,1Gi dist=10,15,30/15,10,40/30,40,10", (f"{NODE}/node1/cpulist", "\n")
    )
    assert found.topology.node_ids == NodeSet.of(0, 2)
    assert found.topology.distances == ((10, 30), (30, 10))
    assert warned(found) == [(Fault.NO_NODE, "CPU 1"), (Fault.EMPTY_NODE, "NUMA node 1")]
    assert found.topology.node_of(1).id == 0


def test_cpus_of_no_node_join_one_of_their_package(tmp_path: Path) -> None:
    found = found_after(tmp_path, "2p.2n.2c", (f"{NODE}/node3/cpulist", "7"))
    assert found.topology.node_of(6).id == 2
    assert warned(found) == [(Fault.NO_NODE, "CPU 6")]


def test_efficiency_cores_by_capacity(tmp_path: Path) -> None:
    capacities = [1024, 1024, 900, 446, 446, 300]
    changes: list[Change] = [(f"{CPU}/cpu{cpu}/cpu_capacity", str(size)) for cpu, size in enumerate(capacities)]
    assert found_after(tmp_path, "6c", *changes).topology.efficiency == CPUSet.parse("3-5")


def test_frequencies_and_preferences(tmp_path: Path) -> None:
    topology = found_after(tmp_path, "4c base=2GHz base=3GHz@1 epp=power@0,2").topology
    assert topology.base_frequencies == (
        FrequencyBin(2_000_000, CPUSet.of(0, 2, 3)),
        FrequencyBin(3_000_000, CPUSet.of(1)),
    )
    assert topology.energy_preferences == (EnergyPreference("power", CPUSet.of(0, 2)),)


@pytest.mark.parametrize("content", [None, "", "garbage"])
def test_a_root_without_cpus_is_an_error(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / CPU).mkdir(parents=True)
        (tmp_path / CPU / "online").write_text(content)
    with pytest.raises(DiscoveryError, match="mount the host's /sys there, or correct --host-root"):
        discover(tmp_path)


def test_this_machine() -> None:
    topology = discover(Path("/")).topology
    assert str(topology.online) == Path(f"/{CPU}/online").read_text().strip()


NONSENSE = (
    "",
    "\n",
    "-1",
    "65535",
    "abc",
    "0-",
    "5-2",
    "0-3",
    "1",
    "0-1023",
    "(null)",
    "10 20",
    "9" * 30,
    "\0",
    "MemTotal: x kB",
)


@given(st.integers(0, 2**32), st.sampled_from(["2p.2n.2c.2t pmem=1Gi", "1p.2k.2c ecores=2 cxl=1Gi hbm=1Gi base=2GHz"]))
@settings(max_examples=8, deadline=None)
def test_whatever_the_firmware_says_there_is_a_machine(seed: int, text: str) -> None:
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        write_tree(parse_spec(text), root)
        files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
        for _ in range(6):
            for path in chance.sample(files, chance.choice((1, 3, 20))):
                path.write_text(chance.choice(NONSENSE))
            try:
                found = discover(root)  # its rules are checked as it is made
            except DiscoveryError:
                return
            assert all(str(oddity) for oddity in found.warnings)
