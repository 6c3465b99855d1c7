"""What ``crirm shadow`` shows, on a narrow screen and of a shadow in any condition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from crirm.cli import printing, shadow

if TYPE_CHECKING:
    from pathlib import Path

NAME = "kube-system/a-rather-long-name-7d9c9b8f6d-x2x4z/main"
REPORT = {
    "status": "running",
    "reason": "",
    "since_s": 1_700_000_000.0,
    "until_s": None,
    "events": 7,
    "waiting": 0,
    "source": "new.yaml",
    "policy": "static, reserved CPUs 0-3",
    "in_force": "topology-aware",
    "changes_at_start": 2,
    "unfit_at_start": [{"name": "default/a/main", "reason": "no room"}],
    "figures": [
        {"what": "requests refused", "in_force": 0, "shadow": 1, "unit": ""},
        {"what": "free CPU in one NUMA node", "in_force": 2500, "shadow": 3000, "unit": "m"},
        {"what": "memory requested by these", "in_force": 1 << 30, "shadow": 0, "unit": "bytes"},
    ],
    "not_placed": [{"name": NAME, "at_s": 1.0, "reason": "wants more CPUs than there are " * 3, "code": "x", "id": ""}],
    "differences": [
        {"name": NAME, "there": "CPUs 4-6, memory 1", "here": "not placed", "alike": False, "reason": "no room"},
        {"name": "default/b/main", "there": "CPUs 1", "here": "CPUs 2", "alike": True, "reason": ""},
    ],
    "same": 5,
}
BEHIND = {**REPORT, "waiting": 9, "differences": [], "same": 0}


def shown(monkeypatch: pytest.MonkeyPatch, report: dict[str, Any], *words: str) -> str:
    monkeypatch.setattr(printing, "screen_width", lambda **_: 80)
    monkeypatch.setattr(shadow, "ask", lambda _socket, question, **_: {**report, "asked": question})
    result = CliRunner().invoke(shadow.command, list(words))
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(
    ("report", "words", "lines"),
    [
        pytest.param(REPORT, [], ["free CPU in one NUMA node     2500m       3"], id="amounts have units"),
        pytest.param(REPORT, [], ["memory requested by these     1 GiB       0"], id="sizes have units"),
        pytest.param(
            REPORT, [], ["at start  a switch would have changed 2 containers, 1 of them without room:"], id="unfit"
        ),
        pytest.param(
            REPORT,
            [],
            [
                "2 containers differ, 1 only in the numbers of their CPUs and nodes; 5 do not",
                NAME,
                "  shadow    not placed",
            ],
            id="those that differ in kind",
        ),
        pytest.param(REPORT, ["--all"], ["default/b/main", "  shadow    CPUs 2"], id="all of them"),
        pytest.param(
            {**REPORT, "status": "broken", "until_s": 1_700_000_100.0, "reason": "bug in the policy: KeyError: 'x'"},
            [],
            ["bug in the policy: KeyError: 'x'"],
            id="broken",
        ),
        pytest.param(
            {
                **REPORT,
                "status": "ended",
                "until_s": 1_700_000_100.0,
                "reason": "the configuration in force has changed",
            },
            [],
            ["the configuration in force has changed"],
            id="ended",
        ),
        pytest.param(BEHIND, [], ["9 events behind"], id="behind"),
    ],
)
def test_what_is_shown(
    report: dict[str, Any], words: list[str], lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = shown(monkeypatch, report, *words)
    assert max(map(len, told.splitlines())) <= 80
    flat = " ".join(told.split())
    assert all(" ".join(line.split()) in flat for line in lines), told


def test_who_differs_only_in_numbers_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "default/b/main" not in shown(monkeypatch, REPORT)


@pytest.mark.parametrize("words", [(), ("--policy", "static", "FILE")], ids=["neither", "both"])
def test_a_file_or_a_policy(words: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "FILE"
    file.write_text("policy: {Active: static}\n")
    given = [str(file) if word == "FILE" else word for word in words]
    result = CliRunner().invoke(shadow.command, ["start", *given])
    assert result.exception is not None
    assert "either" in str(result.exception)
