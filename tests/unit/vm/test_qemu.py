from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crirm.hosts.synthetic import HostSpec, parse_spec
from tests.vm.qemu import Boot, Disk, command_line, kernel_words, machine
from tests.vm.servers import SERVERS


def values(words: list[str], option: str) -> list[str]:
    return [value for name, value in itertools.pairwise(words) if name == option]


def boot(line: str, **changes: object) -> Boot:
    usual = {
        "spec": parse_spec(line),
        "kernel": Path("/k"),
        "initrd": Path("/i"),
        "disks": (Disk(Path("/root.img")), Disk(Path("/results.img"), kept=True)),
        "init": "/init",
        "console": Path("/console,1"),
    }
    return Boot(**{**usual, **changes})  # type: ignore[arg-type]  # a table of what the class takes


@pytest.mark.parametrize(
    ("line", "smp"),
    [
        pytest.param("1p.4c.2t", "8,maxcpus=8,sockets=1,dies=1,cores=4,threads=2", id="one package"),
        pytest.param("2p.2n.2c.2t", "16,maxcpus=16,sockets=2,dies=1,cores=4,threads=2", id="cores count per die"),
        pytest.param("2p.2d.2n.2c.2t", "32,maxcpus=32,sockets=2,dies=2,cores=4,threads=2", id="dies"),
        pytest.param(
            "4p.1c pmem=4x1Gi", "4,maxcpus=8,sockets=8,dies=1,cores=1,threads=1", id="an empty socket for each NVDIMM"
        ),
        pytest.param("2p.0n.2c", "4,maxcpus=4,sockets=2,dies=1,cores=2,threads=1", id="NUMA switched off"),
    ],
)
def test_shape(line: str, smp: str) -> None:
    assert values(machine(parse_spec(line)), "-smp") == [smp]


def test_every_core_is_told_its_numa_node() -> None:
    numa = values(machine(parse_spec("2p.2d.2n.1c mem=1Gi")), "-numa")
    assert [word for word in numa if word.startswith("cpu,")] == [
        f"cpu,node-id={node},socket-id={node // 4},die-id={node // 2 % 2},core-id={node % 2}" for node in range(8)
    ]


def test_each_node_has_its_memory_and_the_total_is_their_sum() -> None:
    words = machine(parse_spec("2p.1c mem=1Gi,2Gi"))
    assert values(words, "-m") == ["3072M"]
    assert values(words, "-object") == [
        "memory-backend-ram,id=ram0,size=1024M",
        "memory-backend-ram,id=ram1,size=2048M",
    ]


def test_persistent_memory_is_an_nvdimm_one_block_larger() -> None:
    words = machine(parse_spec("1p.1c mem=1Gi pmem=1Gi"))
    assert "memory-backend-ram,id=nv1,size=1152M" in values(words, "-object")
    assert values(words, "-device") == ["nvdimm,id=nvdimm1,memdev=nv1,node=1"]
    assert values(words, "-machine") == ["q35,nvdimm=on"]
    assert values(words, "-m") == ["1024M,slots=1,maxmem=3200M"]


def test_memory_without_cpus_that_is_not_persistent_is_there_from_the_start() -> None:
    words = machine(parse_spec("1p.1c mem=1Gi hbm=512Mi"))
    assert "node,nodeid=1,memdev=ram1" in values(words, "-numa")
    assert values(words, "-m") == ["1536M"]


@given(st.integers(1, 3), st.integers(1, 2), st.integers(1, 3), st.integers(0, 2))
def test_all_distances_are_given(packages: int, dies: int, nodes: int, modules: int) -> None:
    extra = f" pmem={modules}x1Gi" if modules else ""
    spec: HostSpec = parse_spec(f"{packages}p.{dies}d.{nodes}n.1c mem=128Mi{extra}")
    count = len(spec.all_node_ids)
    distances = [word for word in values(machine(spec), "-numa") if word.startswith("dist,")]
    assert len(distances) == len(set(distances)) == count * count
    placed = [word.split(",")[1] for word in values(machine(spec), "-numa") if word.startswith("cpu,")]
    assert set(placed) == {f"node-id={node}" for node in range(count)}


@pytest.mark.parametrize(
    ("line", "word"),
    [
        pytest.param("1p.4c isolated=2-3", "isolcpus=2-3", id="isolated CPUs"),
        pytest.param("1p.4c nohz_full=1,3", "nohz_full=1,3", id="CPUs without a tick"),
        pytest.param("1p.0n.4c", "numa=off", id="NUMA switched off"),
        pytest.param("1p.4c pmem=1Gi", "possible_cpus=4", id="nothing will ever be in the empty sockets"),
        pytest.param("1p.4c", "init=/init", id="the program to go on with"),
    ],
)
def test_the_kernel_is_told(line: str, word: str) -> None:
    assert word in kernel_words(boot(line)).split()


def test_only_what_is_to_be_kept_is_written_to_disks() -> None:
    drives = values(command_line(boot("1p.1c")), "-drive")
    assert ["snapshot=on" in drive for drive in drives] == [True, False]


def test_a_comma_in_a_path_does_not_end_it() -> None:
    assert "file,id=console,path=/console,,1" in values(command_line(boot("1p.1c")), "-chardev")


@pytest.mark.parametrize("name", SERVERS)
def test_every_server_with_a_name_can_be_made(name: str) -> None:
    assert machine(SERVERS[name].spec)
