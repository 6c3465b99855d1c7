from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import pytest

from tests.vm.boot import EmulationHungError, Limits, ServerFailedError, run_watched

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("script", "limits", "said", "booted_again"),
    [
        pytest.param("exec sleep 1000", Limits(boot_s=0.1), "did not come up", True, id="it says nothing"),
        pytest.param(
            "echo up; exec sleep 1000", Limits(silent_s=0.1), "did not say anything more", False, id="it falls silent"
        ),
        pytest.param("echo up; exec sleep 1000", Limits(job_s=0.1), "was not done", False, id="it never ends"),
    ],
)
def test_a_server_that_hangs_is_killed(
    tmp_path: Path, script: str, limits: Limits, said: str, booted_again: bool
) -> None:
    with (tmp_path / "err").open("wb") as stderr, pytest.raises(ServerFailedError, match=said) as failed:
        run_watched(["sh", "-c", script], tmp_path / "log", stderr, limits, io.BytesIO())
    assert isinstance(failed.value, EmulationHungError) is booted_again
    with pytest.raises(ChildProcessError):  # nothing is left to wait for
        os.waitpid(-1, os.WNOHANG)


def test_what_a_server_prints_is_passed_on_and_kept(tmp_path: Path) -> None:
    out = io.BytesIO()
    with (tmp_path / "err").open("wb") as stderr:
        code = run_watched(["sh", "-c", "echo one; echo two; exit 3"], tmp_path / "log", stderr, Limits(), out)
    assert code == 3
    assert out.getvalue() == (tmp_path / "log").read_bytes() == b"one\ntwo\n"
