"""Questions to the running daemon, over the embedded runtime: what another policy would do, and why this one did it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance.cri import OK, RESOURCE_EXHAUSTED
from tests.daemons import CRIRM
from tests.integration.deciding import Node, crirm, make_node

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.support import Stage

pytestmark = pytest.mark.long

MORE_RESERVED = "policy:\n  Active: static\n  ReservedResources: {CPU: 'cpuset:0-3'}\n"


@pytest.fixture
def node(stage: Stage, request: pytest.FixtureRequest) -> Node:
    return make_node(stage, getattr(request, "param", "static"))


def socket_of(node: Node) -> str:
    return str(node.stage.place / "r-control.sock")


def figures(node: Node) -> dict[str, tuple[int, int]]:
    return {one["what"].strip(): (one["in_force"], one["shadow"]) for one in node.ask("shadow")["figures"]}


def config(node: Node, text: str) -> Path:
    file: Path = node.stage.place / "shadow.yaml"
    file.write_text(text)
    return file


def screen(*words: str, columns: int = 80) -> str:
    """Run a command on a dumb terminal, and return what it shows."""
    ours, its = pty.openpty()
    environment = {**os.environ, "TERM": "dumb", "COLUMNS": str(columns)}
    with subprocess.Popen([str(CRIRM), *words], stdout=its, stderr=its, stdin=its, env=environment) as process:
        os.close(its)
        shown = b""
        while True:
            try:
                part = os.read(ours, 1 << 16)
            except OSError:  # it has ended
                break
            if not part:
                break
            shown += part
    os.close(ours)
    assert process.returncode == 0, shown
    return shown.decode().replace("\r\n", "\n")


def error(*words: str) -> str:
    done = subprocess.run([str(CRIRM), *words], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    return done.stderr


def test_a_shadow_refuses_and_nobody_notices(node: Node) -> None:
    node.start()
    node.run("a", 1)
    begun = json.loads(
        crirm("shadow", "start", str(config(node, MORE_RESERVED)), "--control-socket", socket_of(node), "--json")
    )
    assert (begun["policy"], begun["unfit"]) == ("static, reserved CPUs 0-3", 0)
    before = node.told()
    node.run("b", 4)
    assert node.create("c", 6).code == RESOURCE_EXHAUSTED
    found = figures(node)
    assert found["requests refused"] == (1, 2)
    assert found["refused by one of them only"] == (0, 1)
    assert found["not placed now"] == (0, 1)
    assert found["exclusive CPUs"] == (5, 1)
    assert before.items() <= node.told().items()
    shown = screen("shadow", "--control-socket", socket_of(node))
    assert max(map(len, shown.splitlines())) <= 80
    assert "default/b/main" in shown
    assert "not placed" in shown
    crirm("shadow", "stop", "--control-socket", socket_of(node))
    assert "no shadow policy is running" in error("shadow", "--control-socket", socket_of(node))


@pytest.mark.parametrize(
    ("node", "named"),
    [("static", "topology-aware"), ("topology-aware", "static"), ("topology-aware", "none")],
    indirect=["node"],
)
def test_a_shadow_by_its_name(node: Node, named: str) -> None:
    node.start()
    containers = [node.run(f"u{number}", cpus) for number, cpus in enumerate((1, 2, 0.5))]
    crirm("shadow", "start", "--policy", named, "--control-socket", socket_of(node))
    node.end(containers[0])
    node.run("u9", 1)
    report = node.ask("shadow")
    assert (report["status"], report["policy"].split(",")[0]) == ("running", named)
    assert figures(node)["containers placed now"] == (3, 3)
    assert max(map(len, screen("shadow", "--all", "--control-socket", socket_of(node)).splitlines())) <= 80


def test_a_restart_ends_it(node: Node) -> None:
    relay = node.start()
    crirm("shadow", "start", "--policy", "topology-aware", "--control-socket", socket_of(node))
    assert relay.stop() == 0
    node.start()
    assert node.create("a", 1).code == OK
    assert "no shadow policy is running" in error("shadow", "--control-socket", socket_of(node))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(("--policy", "statik"), "policy 'statik': there is none of this name", id="unknown policy"),
        pytest.param(("/nowhere.yaml",), "/nowhere.yaml", id="no such file"),
    ],
)
def test_what_cannot_be_a_shadow_is_said(node: Node, words: tuple[str, ...], said: str) -> None:
    node.start()
    assert said in error("shadow", "start", *words, "--control-socket", socket_of(node))


def test_policy_none_has_no_events_for_a_shadow(stage: Stage) -> None:
    node: Any = make_node(stage, "none")
    stage.relay("--host-root", stage.place / "host", "--state-dir", node.state)
    said = error("shadow", "start", "--policy", "static", "--control-socket", socket_of(node))
    assert "policy none decides nothing" in said


# --- explain ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("node", ["static", "topology-aware"], indirect=True)
@pytest.mark.parametrize("words", [(), ("--analyze",)], ids=["", "analyze"])
def test_explain_fits_a_dumb_terminal(node: Node, words: tuple[str, ...]) -> None:
    node.start()
    for number, cpus in enumerate((1, 2, 0.5)):
        node.run(f"a-rather-long-name-of-a-deployment-7d9c9b8f6d-x2x4{number}", cpus)
    assert node.create("huge", 7).code == RESOURCE_EXHAUSTED
    for what in ("main", "huge"):
        shown = screen("explain", what, *words, "--control-socket", socket_of(node))
        assert max(map(len, shown.splitlines())) <= 80
        assert shown.startswith("default/")


def test_without_cgroups_the_analysis_says_so(node: Node) -> None:
    """The embedded runtime runs nothing."""
    node.start()
    node.run("a", 1)
    (explained,) = node.ask("explain", "a", "--analyze")
    (missing,) = explained["kernel"]["missing"]
    assert "no cpuset or cpu controller" in missing
