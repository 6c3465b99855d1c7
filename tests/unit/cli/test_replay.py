from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from crirm.cli.replay import command
from crirm.errors import CrirmError
from crirm.hosts.synthetic import parse_spec, write_tree
from tests.unit.replay.scenes import Scene, web

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    file = tmp_path / "node.trace"
    file.write_text(web().text)
    return file


def printed(*args: object) -> str:
    result = CliRunner().invoke(command, [str(arg) for arg in args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*args: object) -> str:
    with pytest.raises(CrirmError) as caught:
        CliRunner().invoke(command, [str(arg) for arg in args], catch_exceptions=False, standalone_mode=False)
    return str(caught.value)


def test_what_was_decided_is_shown_again(trace: Path) -> None:
    lines = printed(trace).splitlines()
    assert lines[1:4] == [
        "machine     2 packages, 2 NUMA nodes, 8 CPUs (as recorded)",
        "policy      topology-aware, reserved 1000m of CPU (as recorded)",
        "decisions   all as recorded",
    ]
    assert "containers  5: 4 running, 0 ended, 1 never placed" in lines
    assert "default/p/a    Guaranteed     2   1 GiB  socket #1  4-5   4-5        1      -          -  runs" in lines
    assert any("create  default/p/big wants 4 exclusive CPUs" in line for line in lines)
    assert "  4 containers; free CPU: 2200m, in one node 1500m (fragmentation 32 %); " in "\n".join(lines)


def test_a_trace_without_events_is_shown_too(tmp_path: Path) -> None:
    (tmp_path / "t").write_text(Scene().record().text)
    assert "containers  0: 0 running, 0 ended, 0 never placed" in printed(tmp_path / "t")


def test_another_machine_may_be_made_up_or_a_directory(trace: Path, tmp_path: Path) -> None:
    host = tmp_path / "host"
    host.mkdir()
    write_tree(parse_spec("2p.8c.1t mem=8Gi"), host)
    made_up, tree = (json.loads(printed(trace, "--host", what, "--json")) for what in ("2p.8c.1t mem=8Gi", host))
    assert made_up == tree
    assert not made_up["same_machine"]
    assert made_up["not_as_made"] is None
    assert made_up["refusals"] == []


def test_another_policy_keeps_the_bounds_of_the_trace_unless_told_otherwise(trace: Path) -> None:
    assert json.loads(printed(trace, "--policy", "static", "--json"))["policy"] == "static, reserved 1000m of CPU"
    words = (trace, "--policy", "static", "--reserved-cpus", "cpuset:0-1", "--available-cpus", "6", "--json")
    assert json.loads(printed(*words))["policy"] == "static, available 6000m of CPU, reserved CPUs 0-1"
    assert json.loads(printed(trace, "--reserved-cpus", "2", "--json"))["policy"].startswith(
        "topology-aware, reserved 2"
    )


def test_another_configuration_is_a_file(trace: Path, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("policy:\n  Active: static\n  ReservedResources:\n    CPU: 1\n")
    assert json.loads(printed(trace, "--config", config, "--json"))["policy"] == "static, reserved 1000m of CPU"
    config.write_text("policy:\n  Active: static\n  ReservedResources:\n    CPU: cgroup:/kubelet\n")
    assert "cgroup" in refused(trace, "--config", config)


def test_what_differs_is_shown_against_the_recording_and_against_a_report(trace: Path, tmp_path: Path) -> None:
    report = tmp_path / "old.json"
    report.write_text(printed(trace, "--policy", "static", "--json"))
    text = printed(trace, "--policy", "static", "--diff", "recorded")
    assert "5 containers differ, 0 do not" not in text
    assert "socket #1, exclusive CPUs 4-5, memory 1  " in text
    assert "0 containers differ, 5 do not" in printed(trace, "--policy", "static", "--diff", report)
    assert "0 containers differ, 5 do not" in printed(trace, "--diff", "recorded")
    document = json.loads(printed(trace, "--diff", report, "--json"))
    assert len(document["containers"]) + document["same"] == 5
    assert "refused in B only" in printed(trace, "--host", "1p.3c.1t mem=8Gi", "--diff", "recorded")


def test_decisions_are_equal_to_the_byte_in_every_process(trace: Path, tmp_path: Path) -> None:
    files = []
    for seed, host in (("0", []), ("1", []), ("2", ["--host", "2p.2d.3c.2t"]), ("3", ["--host", "2p.2d.3c.2t"])):
        file = tmp_path / f"{seed}.jsonl"
        words = [
            sys.executable,
            "-c",
            "from crirm.cli.main import main; main()",
            "replay",
            str(trace),
            "--decisions",
            str(file),
            *host,
        ]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run(words, check=True, capture_output=True, env=environment)
        files.append(file.read_bytes())
    assert files[0] == files[1]
    assert files[2] == files[3]
    assert files[0] != files[2]
    assert files[0].count(b"\n") == len(web().lines) + 1, "the start, every event, the state at the end"


def test_decisions_alone_go_to_the_output(trace: Path) -> None:
    lines = [json.loads(line) for line in printed(trace, "--decisions", "-").splitlines()]
    assert [line.get("event") for line in lines[:3]] == ["Start", "PodAdded", "ContainerRequested"]
    assert lines[2]["adjustment"]["cpus"] == "4-5"
    assert set(lines[-1]) == {"state"}


def test_what_cannot_be_used_is_said_in_a_sentence(trace: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("hello\n")
    assert refused(tmp_path / "gone") == f"{tmp_path}/gone: cannot be read: No such file or directory"
    assert refused(other).startswith(f"{other}: line 1: not a trace of crirm")
    assert refused(tmp_path).startswith(f"{tmp_path}: cannot be read")
    assert refused(trace, "--host", "/nowhere/at/all").startswith("--host /nowhere/at/all: no such directory")
    assert "is not a level" in refused(trace, "--host", "big")
    assert refused(trace, "--diff", other).startswith(f"{other}: not JSON")
    assert refused(trace, "--diff", tmp_path / "gone").startswith(f"{tmp_path}/gone: cannot be read")
    assert "no such policy" in refused(trace, "--policy", "magic")
    assert "leave out --policy" in refused(trace, "--policy", "static", "--config", other)
    assert refused(trace, "--decisions", tmp_path).startswith(f"{tmp_path}: cannot be written")
    assert "this machine has no CPUs 40" in refused(trace, "--reserved-cpus", "cpuset:40")
