"""A node is recorded while it works, and decides the same again; elsewhere it decides otherwise."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance.cri import OK, RESOURCE_EXHAUSTED, wait_until
from tests.daemons import CRIRM
from tests.integration.deciding import Node, crirm, make_node
from tests.integration.test_state import scattered

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.support import Stage

pytestmark = pytest.mark.long


@pytest.fixture
def node(stage: Stage, request: pytest.FixtureRequest) -> Node:
    return make_node(stage, getattr(request, "param", "topology-aware"))


def replay(trace: Path, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(crirm("replay", str(trace), "--json", *words))
    return found


def own_cpus(report: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["cpus"] for one in report["outcomes"] if one["state"] == "runs"}


def told(node: Node) -> dict[str, str]:
    return {each["name"]: each["cpus"] for each in node.ask("status")["containers"]}


@pytest.mark.parametrize("node", ["static", "topology-aware"], indirect=True)
def test_a_recorded_node_decides_the_same_again(node: Node) -> None:
    trace = node.stage.place / "node.trace"
    relay = node.start("--record", trace)
    scattered(node)
    assert node.create("big", 7).code == RESOURCE_EXHAUSTED
    before = told(node)
    assert relay.stop() == 0
    report = replay(trace)
    assert report["not_as_made"] == 0
    assert own_cpus(report) == before
    assert [refusal["name"] for refusal in report["refusals"]] == ["default/big/main"]
    assert any("the trace is complete: crirm stopped" in note for note in report["notes"])
    elsewhere = replay(trace, "--host", "2p.16c.1t mem=16Gi")
    assert elsewhere["refusals"] == []
    assert "default/big/main" in own_cpus(elsewhere)
    words = ("replay", str(trace), "--decisions", "-", "--host", "4p.2n.2c.2t")
    assert crirm(*words) == crirm(*words)


def test_kill_9_leaves_a_trace_that_can_be_replayed(node: Node) -> None:
    trace = node.stage.place / "node.trace"
    relay = node.start("--record", trace)
    node.run("u1", 1)
    wait_until(lambda: trace.stat().st_size > 0)
    relay.kill()
    assert replay(trace)["not_as_made"] == 0
    node.start("--record", trace)
    assert trace.with_name("node.trace.before").exists(), "a restart keeps the trace of before"


def test_the_trace_of_a_restart_begins_with_what_was_kept(node: Node) -> None:
    trace = node.stage.place / "node.trace"
    relay = node.start()
    before = scattered(node)
    relay.kill()
    relay = node.start("--record", trace)
    node.run("late", 1)
    now = told(node)
    assert relay.stop() == 0
    report = replay(trace)
    assert report["not_as_made"] == 0
    assert own_cpus(report) == now
    assert len(now) == len(before) + 1


def test_recording_begins_and_ends_while_crirm_runs(node: Node) -> None:
    trace = node.stage.place / "node.trace"
    control = ["--control-socket", str(node.stage.place / "r-control.sock")]
    node.start()
    node.run("u1", 1)
    assert "recording to" in crirm("record", "start", str(trace), *control)
    refused = subprocess.run(
        [str(CRIRM), "record", "start", str(trace), *control], check=False, capture_output=True, text=True
    )
    assert refused.returncode == 1
    assert "already recording to this file" in refused.stderr
    node.run("u2", 2)
    assert str(trace) in crirm("record", "stop", *control)
    node.run("u3", 1)
    report = replay(trace)
    assert report["not_as_made"] == 0
    assert sorted(own_cpus(report)) == ["default/u1/main", "default/u2/main"]


def test_a_node_that_places_nothing_can_be_recorded_for_one_that_does(node: Node) -> None:
    trace = node.stage.place / "node.trace"
    node.policy = "none"
    relay = node.start("--record", trace)
    for name, cpus in (("u1", 2), ("u2", 0.5), ("u3", 3)):
        assert node.create(name, cpus).code == OK
    assert relay.stop() == 0
    report = replay(trace)
    assert own_cpus(report) == dict.fromkeys(("default/u1/main", "default/u2/main", "default/u3/main"))
    assert replay(trace, "--policy", "topology-aware")["policy"] == "topology-aware, reserved CPUs 0"
    placed = own_cpus(replay(trace, "--policy", "topology-aware"))
    assert placed == {"default/u1/main": "4-5", "default/u2/main": "3", "default/u3/main": "1-2,6"}


def test_a_trace_that_cannot_be_made_keeps_nobody_from_serving(node: Node) -> None:
    relay = node.start("--record", node.stage.place / "no" / "such" / "directory.trace")
    node.run("u1", 1)
    (record,) = relay.records("cannot record; crirm runs without a trace")
    assert "cannot create a trace: No such file or directory" in record["reason"]


def test_another_configuration_is_recorded_and_replayed(node: Node) -> None:
    trace, config = node.stage.place / "node.trace", node.stage.place / "static.yaml"
    config.write_text("policy:\n  Active: static\n  ReservedResources: {CPU: 'cpuset:0'}\n")
    relay = node.start("--record", trace)
    scattered(node)
    crirm("config", "diff", str(config), "--activate", "--control-socket", str(node.stage.place / "r-control.sock"))
    node.run("late", 1)
    now = told(node)
    assert relay.stop() == 0
    report = replay(trace)
    assert (report["policy"], report["not_as_made"]) == ("static, reserved CPUs 0", 0)
    assert own_cpus(report) == now
    kept = replay(trace, "--policy", "topology-aware")
    assert any("configuration changes in the trace were ignored" in note for note in kept["notes"])
