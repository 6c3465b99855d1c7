"""What ``crirm defrag`` shows, and what it asks the daemon."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from crirm.cli import defrag, printing

MOVE = {
    "name": "default/x/c",
    "before": {"cpus": "3,7", "mems": "0-1"},
    "after": {"cpus": "1-2", "mems": "0"},
    "why": "all of it fits NUMA node #0 now that a move was requested",
    "others": 2,
    "most_bytes": 1 << 30,
    "measured_bytes": 1 << 20,
    "estimated_s": 0.001,
}
PLAN = {"moves": [MOVE], "spread": ["default/x/c", "default/y/c"], "stay": [{"name": "default/y/c", "why": "it keeps"}]}


def shown(
    monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any], *words: str
) -> tuple[str, int, list[dict[str, Any]]]:
    asked: list[dict[str, Any]] = []

    def ask(_socket: str, question: dict[str, Any], **_: object) -> dict[str, Any]:
        asked.append(question)
        return answer

    monkeypatch.setattr(printing, "screen_width", lambda **_: 110)
    monkeypatch.setattr(defrag, "ask", ask)
    result = CliRunner().invoke(defrag.command, list(words))
    return result.output, result.exit_code, asked


def test_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    output, code, asked = shown(monkeypatch, PLAN)
    assert (code, asked) == (0, [{"ask": "defrag", "moves": 100, "bytes": 64 << 30}])
    for part in ("default/x/c", "3,7 -> 1-2", "0-1 -> 0", "1Mi", "0.001 s"):
        assert part in output
    assert "1 container to move; 2 containers spread now" in output
    assert "  stays spread: default/y/c: it keeps" in output
    assert output.endswith("to move them: crirm defrag --apply\n")


def test_what_the_kernel_does_not_tell_is_an_upper_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    output, _, _ = shown(monkeypatch, {**PLAN, "moves": [{**MOVE, "measured_bytes": None}]})
    assert "up to 1Gi" in output


@pytest.mark.parametrize(
    ("ended", "code"),
    [
        pytest.param("no more can be gained", 0, id="done"),
        pytest.param("stopped on request", 0, id="stopped"),
        pytest.param("the runtime refused an update, which crirm retries: x: busy", 1, id="refused"),
        pytest.param("the runtime does not answer; what is decided is sent when it does", 1, id="away"),
    ],
)
def test_moves_that_were_made(monkeypatch: pytest.MonkeyPatch, ended: str, code: int) -> None:
    answer = {"moves": [MOVE], "spread": [], "ended": ended}
    output, exited, asked = shown(monkeypatch, answer, "--apply", "--budget", "3", "--budget-bytes", "1Gi")
    assert (exited, asked) == (code, [{"ask": "defrag-apply", "moves": 3, "bytes": 1 << 30}])
    assert "1 container moved; 0 containers spread still" in output
    assert f"ended: {ended}" in output


def test_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    output, _, asked = shown(monkeypatch, {"running": True}, "--stop")
    assert (output, asked) == ("stopping after the move in progress\n", [{"ask": "defrag-stop"}])


def test_ctrl_c_stops_the_daemon_too(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def ask(_socket: str, question: dict[str, Any], **_: object) -> dict[str, Any]:
        asked.append(question["ask"])
        if question["ask"] == "defrag-apply":
            raise KeyboardInterrupt
        return {"running": True}

    monkeypatch.setattr(defrag, "ask", ask)
    assert CliRunner().invoke(defrag.command, ["--apply"]).exit_code != 0
    assert asked == ["defrag-apply", "defrag-stop"]


def test_json(monkeypatch: pytest.MonkeyPatch) -> None:
    output, _, _ = shown(monkeypatch, PLAN, "--json")
    assert json.loads(output) == PLAN


def test_a_size_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    output, code, asked = shown(monkeypatch, PLAN, "--budget-bytes", "much")
    assert (code, asked) == (2, [])
    assert "--budget-bytes" in output
