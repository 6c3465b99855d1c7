from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from rich.console import Console

from crirm.cli.topology import command
from crirm.cli.topology_text import human_size, render
from crirm.errors import CrirmError, UsageError
from crirm.hosts.synthetic import parse_spec, topology_of, write_tree
from crirm.model.topology_json import from_json

if TYPE_CHECKING:
    from pathlib import Path


def printed(*args: str) -> str:
    result = CliRunner().invoke(command, args, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_tree_of_a_server() -> None:
    text = "2p.2d.1n.2l.1c.2t mem=8Gi pmem=64Gi@2 movable=4 isolated=1 offline=15 base=2.3GHz epp=performance@0-3"
    assert printed("--synthetic", text).splitlines() == [
        "machine     2 packages, 4 dies, 5 NUMA nodes, 8 cores, 15 CPUs",
        "online      CPUs 0-14",
        "offline     CPU 15",
        "isolated    CPU 1",
        "memory      32 GiB DRAM on NUMA nodes 0-3, 64 GiB PMEM on NUMA node 4",
        "L2 caches   1 x 2 MiB (1 CPU each); 7 x 2 MiB (2 CPUs each)",
        "base clock  2.3 GHz on CPUs 0-14",
        "energy      performance on CPUs 0-3",
        "",
        "package 0  CPUs 0-3,8-11 (isolated 1)",
        "├── die 0  CPUs 0-1,8-9 (isolated 1)",
        "│   └── NUMA node 0  CPUs 0-1,8-9 (isolated 1), 8 GiB DRAM",
        "│       ├── L3 32 MiB  CPUs 0,8, cores 0+8",
        "│       └── L3 32 MiB  CPUs 1,9 (isolated 1), cores 1+9",
        "└── die 1  CPUs 2-3,10-11",
        "    └── NUMA node 1  CPUs 2-3,10-11, 8 GiB DRAM",
        "        ├── L3 32 MiB  CPUs 2,10, cores 2+10",
        "        └── L3 32 MiB  CPUs 3,11, cores 3+11",
        "package 1  CPUs 4-7,12-14",
        "├── die 0  CPUs 4-5,12-13",
        "│   └── NUMA node 2  CPUs 4-5,12-13, 8 GiB DRAM",
        "│       ├── L3 32 MiB  CPUs 4,12, cores 4+12",
        "│       └── L3 32 MiB  CPUs 5,13, cores 5+13",
        "└── die 1  CPUs 6-7,14",
        "    └── NUMA node 3  CPUs 6-7,14, 8 GiB DRAM",
        "        ├── L3 32 MiB  CPUs 6,14, cores 6+14",
        "        └── L3 32 MiB  CPU 7",
        "memory without CPUs",
        "└── NUMA node 4  64 GiB PMEM (movable only), nearest to NUMA node 2 (distance 17)",
        "",
        "distances    0  1  2  3  4",
        "NUMA node 0 10 12 21 21 28",
        "NUMA node 1 12 10 21 21 28",
        "NUMA node 2 21 21 10 12 17",
        "NUMA node 3 21 21 12 10 19",
        "NUMA node 4 28 28 17 19 10",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param(
            "2n.8c.2t", "package 0  CPUs 0-31, L3 32 MiB", id="a cache that nodes share is named beside the package"
        ),
        pytest.param(
            "2n.8c.2t", "├── NUMA node 0  CPUs 0-7,16-23, 16 GiB DRAM, cores 0+16 1+17 .. 7+23", id="a series is cut"
        ),
        pytest.param(
            "6c.2t threads=adjacent",
            "└── NUMA node 0  CPUs 0-11, 16 GiB DRAM, L3 32 MiB, cores 0+1 2+3 .. 10+11",
            id="pairs",
        ),
        pytest.param(
            "5c.2t holes=2",
            "└── NUMA node 0  CPUs 0-1,3-10, 16 GiB DRAM, L3 32 MiB, cores 0+6 1+7 3+8 4+9 5+10",
            id="a series that the reader could not continue is not cut",
        ),
        pytest.param(
            "2c.2t ecores=8",
            "└── NUMA node 0  CPUs 0-11, 16 GiB DRAM, L3 32 MiB, cores 0+10 1+11, E-cores 2-9, clusters 2-5 6-9",
            id="efficiency cores and clusters",
        ),
        pytest.param(
            "2p.0n.2c", "└── NUMA node 0  CPUs 2-3 of 0-3, 16 GiB DRAM, L3 32 MiB", id="a node across packages"
        ),
        pytest.param("2n.1c mem=0,1Gi", "├── NUMA node 0  CPU 0, no memory", id="a node without memory"),
        pytest.param("1c mem=0", "memory     none reported by the kernel", id="no memory at all"),
        pytest.param("2c nohz_full=1", "package 0  CPUs 0-1 (nohz_full 1)", id="CPUs without a tick"),
        pytest.param("17n.1c", "NUMA node 0   11 to 1-16", id="many nodes have their distances in lines"),
        pytest.param(
            "1c l3=0", "└── NUMA node 0  CPU 0, 16 GiB DRAM, L3 of unknown size", id="a size that is not told"
        ),
    ],
)
def test_lines(text: str, line: str) -> None:
    assert line in printed("--synthetic", text).splitlines()


def test_a_machine_of_1024_cpus_fits_on_a_few_screens_and_nothing_is_cut_off() -> None:
    lines = printed("--synthetic", "2p.4d.8n.8c.2t").splitlines()
    assert len(lines) < 160
    assert "│   ├── NUMA node 1  CPUs 8-15,520-527, 16 GiB DRAM, cores 8+520 9+521 .. 15+527" in lines
    assert "NUMA node 63  11 to 56-62; 12 to 32-55; 21 to 0-31" in lines
    assert all(line == line.rstrip() for line in lines)


def test_output_into_a_pipe_has_no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    output = printed("--synthetic", "2p.2n.8c.2t")
    assert "\x1b" not in output
    assert "2 packages, 2 dies, 4 NUMA nodes, 32 cores, 64 CPUs" in output


def test_a_narrow_terminal_wraps_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")  # a dumb one is taken to be 80 columns wide
    console = Console(width=40, force_terminal=True, color_system=None, highlight=False)
    with console.capture() as capture:
        for part in render(topology_of(parse_spec("2n.8c.2t")), ["everything is odd"]):
            console.print(part)
    lines = capture.get().splitlines()
    assert all(len(line) <= 40 for line in lines)
    for fact in ("0-7,16-23", "0+16", "7+23", "everything"):
        assert any(fact in line for line in lines)


def test_host_root_and_warnings(tmp_path: Path) -> None:
    write_tree(parse_spec("1p.2c"), tmp_path)
    for die in tmp_path.glob("sys/devices/system/cpu/cpu*/topology/die_*"):
        die.unlink()
    lines = printed("--host-root", str(tmp_path)).splitlines()
    assert lines[-2:] == ["warnings", "  CPUs 0-1 have no die number; treated as one die per package"]
    document = json.loads(printed("--host-root", str(tmp_path), "--json"))
    assert document["warnings"] == [
        {"fault": "NO_DIE", "text": "CPUs 0-1 have no die number; treated as one die per package"}
    ]


def test_json_is_the_machine() -> None:
    document = json.loads(printed("--synthetic", "2p.2c pmem=1Gi", "--json"))
    assert from_json(document["topology"]) == topology_of(parse_spec("2p.2c pmem=1Gi"))
    assert len(document["digest"]) == 64
    assert document["warnings"] == []


def test_this_machine() -> None:
    assert printed().startswith("machine ")


@pytest.mark.parametrize(
    ("args", "kind", "fault"),
    [
        pytest.param(["--host-root", "/", "--synthetic", "2p"], UsageError, "use one of them", id="two machines"),
        pytest.param(["--synthetic", "2x"], UsageError, "'2x' is not a level", id="a wrong host"),
        pytest.param(["--host-root", "/nonexistent"], CrirmError, "no CPU found in /nonexistent/sys", id="no machine"),
    ],
)
def test_faults_are_sentences(args: list[str], kind: type[CrirmError], fault: str) -> None:
    with pytest.raises(kind) as caught:
        CliRunner().invoke(command, args, catch_exceptions=False)
    assert fault in str(caught.value)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "of unknown size"),
        (1000, "1000 B"),
        (1536, "1.5 KiB"),
        (260 << 20, "260 MiB"),
        (4523773952, "4.2 GiB"),
        (3 << 40, "3 TiB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert human_size(size) == text
