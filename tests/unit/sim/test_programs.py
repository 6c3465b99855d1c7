from __future__ import annotations

import pytest

from crirm.sim.programs import Program, find_program, missing_program, run_for_ever
from crirm.sim.shell import Sleep


@pytest.mark.parametrize(
    ("argv", "code", "code_as_init"),
    [
        pytest.param(["sleep", "9"], 143, None, id="without a handler: dies, but not as process 1"),
        pytest.param(["/bin/sleep", "9"], 143, None, id="found by its path"),
        pytest.param(["/bin/sh", "-c", "trap 'exit 3' TERM; sleep 9"], 3, 3, id="with a handler: its code"),
        pytest.param(["top"], 143, None, id="a program that runs for ever"),
    ],
)
def test_stop_signal(argv: list[str], code: int, code_as_init: int | None) -> None:
    program = find_program(argv)
    assert isinstance(program, Program)
    assert program.code_when_asked(is_init=False) == code
    assert program.code_when_asked(is_init=True) == code_as_init


@pytest.mark.parametrize("argv", [["cat"], ["/bin/sh"]])
def test_who_reads_standard_input_waits_for_it(argv: list[str]) -> None:
    waiting, ending = find_program(argv, has_stdin=True), find_program(argv)
    assert isinstance(waiting, Program)
    assert isinstance(ending, Program)
    assert (next(waiting.steps), next(ending.steps, None)) == (Sleep(float("inf")), None)


@pytest.mark.parametrize("argv", [[], ["nginx"], ["/opt/bin/sleep"]])
def test_unknown(argv: list[str]) -> None:
    assert find_program(argv) is None


def test_server_runs_until_asked() -> None:
    server = run_for_ever()
    assert next(server.steps) == Sleep(float("inf"))
    assert server.code_when_asked(is_init=True) == 0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("nope", 'exec: "nope": executable file not found in $PATH', id="a name"),
        pytest.param("/x/y", 'exec: "/x/y": stat /x/y: no such file or directory', id="a path"),
    ],
)
def test_missing_program(name: str, text: str) -> None:
    assert missing_program(name) == text
