from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crirm.sim.shell import Say, Sleep, Step, run_argv, run_script, trapped_code


def play(script: str) -> tuple[bytes, bytes, float, int]:
    """Standard output, standard error, seconds slept and exit code."""
    return _play(run_script(script))


def _play(steps: object) -> tuple[bytes, bytes, float, int]:
    said = {False: b"", True: b""}
    slept = 0.0
    while True:
        try:
            step: Step = next(steps)  # type: ignore[call-overload]
        except StopIteration as end:
            return said[False], said[True], slept, end.value
        if isinstance(step, Say):
            said[step.is_error] += step.data
        else:
            slept += step.seconds


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        pytest.param("true", (b"", b"", 0, 0), id="true"),
        pytest.param("false", (b"", b"", 0, 1), id="false"),
        pytest.param("exit 3; echo no", (b"", b"", 0, 3), id="exit ends the script"),
        pytest.param("echo 'a  b' c", (b"a  b c\n", b"", 0, 0), id="quotes keep blanks"),
        pytest.param("echo -n a", (b"a", b"", 0, 0), id="no newline on request"),
        pytest.param("echo -e 'a\\tb\\0101\\\\'", (b"a\tbA\\\n", b"", 0, 0), id="escapes on request"),
        pytest.param("echo -ne '\\0377\\0000'", (b"\xff\x00", b"", 0, 0), id="any bytes"),
        pytest.param("echo a#b", (b"a#b\n", b"", 0, 0), id="no comment inside a word"),
        pytest.param("echo bad >&2; exit 2", (b"", b"bad\n", 0, 2), id="redirection to standard error"),
        pytest.param("true && echo yes || echo no", (b"yes\n", b"", 0, 0), id="and, then or"),
        pytest.param("false && echo yes || echo no", (b"no\n", b"", 0, 0), id="or after a failure"),
        pytest.param("echo 1\necho 2", (b"1\n2\n", b"", 0, 0), id="a newline separates"),
        pytest.param("sleep 1.5; sleep 2", (b"", b"", 3.5, 0), id="sleeps add up"),
        pytest.param("sleep 5 & wait", (b"", b"", 5, 0), id="waiting for the background"),
        pytest.param("cat", (b"", b"", 0, 0), id="nothing on standard input"),
        pytest.param(
            "cat /x", (b"", b"cat: can't open '/x': No such file or directory\n", 0, 1), id="there are no files"
        ),
        pytest.param("head -c 3 /dev/zero", (b"\0\0\0", b"", 0, 0), id="output of a wanted size"),
        pytest.param("nope", (b"", b"sh: nope: not found\n", 0, 127), id="an unknown command"),
        pytest.param("until true; do echo no; done; echo end", (b"end\n", b"", 0, 0), id="a loop that does not turn"),
        pytest.param("echo 'open", (b"", b"sh: No closing quotation\n", 0, 2), id="an open quote is a usage error"),
        pytest.param("exit abc", (b"", b"sh: invalid literal for int() with base 10: 'abc'\n", 0, 2), id="bad number"),
        pytest.param("while true; do echo", (b"", b"sh: syntax error: unterminated loop\n", 0, 2), id="an open loop"),
        pytest.param("", (b"", b"", 0, 0), id="an empty script"),
    ],
)
def test_script(script: str, outcome: tuple[bytes, bytes, float, int]) -> None:
    assert play(script) == outcome


@pytest.mark.parametrize(
    ("script", "steps"),
    [
        pytest.param("while true; do echo t; sleep 1; done", [Say(b"t\n"), Sleep(1)] * 2, id="turns for ever"),
        pytest.param("while :; do true; done", [Sleep(0.1)] * 4, id="never spins"),
        pytest.param("while true; do while true; do sleep 2; done; done", [Sleep(2)] * 4, id="loops in loops"),
    ],
)
def test_endless_loop(script: str, steps: list[Step]) -> None:
    assert list(itertools.islice(run_script(script), 4)) == steps


@pytest.mark.parametrize(
    ("script", "code"),
    [
        pytest.param("trap 'exit 3' TERM; sleep 9", 3, id="a handler's code"),
        pytest.param("trap exit 15; sleep 9", 0, id="a handler without a code"),
        pytest.param("trap '' TERM; sleep 9", None, id="an ignored signal"),
        pytest.param("trap 'exit 3' INT; sleep 9", None, id="another signal"),
        pytest.param("sleep 9", None, id="no handler"),
        pytest.param("echo 'open", None, id="a script that cannot be read"),
    ],
)
def test_trapped_code(script: str, code: int | None) -> None:
    assert trapped_code(script) == code


def test_argv_is_not_split_again() -> None:
    assert _play(run_argv(["echo", "a; b"])) == (b"a; b\n", b"", 0, 0)


@given(st.text(alphabet=" ;&|<>'\"\\ndowhiletruexc0123456789", max_size=40))
def test_any_text_ends_or_sleeps(script: str) -> None:
    for step in itertools.islice(run_script(script), 50):
        assert isinstance(step, Say | Sleep)
