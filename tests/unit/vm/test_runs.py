from __future__ import annotations

import subprocess

import pytest

from tests.vm.job import Job
from tests.vm.runs import script_for_shell, script_for_tests
from tests.vm.servers import Server


@pytest.mark.parametrize(
    ("args", "paths"),
    [
        pytest.param([], "tests/vm/inside", id="by default the tests that are made for servers"),
        pytest.param(["-k", "spread out"], "tests/vm/inside -k 'spread out'", id="options for pytest come after"),
        pytest.param(["tests/unit/vm::test_x"], "tests/unit/vm::test_x", id="other tests instead"),
    ],
)
def test_which_tests_run(args: list[str], paths: str) -> None:
    assert script_for_tests(args, keep=False).strip().endswith(f"junit.xml {paths}")


def test_a_kept_server_ends_with_the_tests_own_exit_code() -> None:
    script = script_for_tests([], keep=True).replace("python -m pytest", "(exit 3) #").replace("bash\n", "true\n")
    assert subprocess.run(["sh", "-c", script], check=False).returncode == 3


def test_options_of_the_daemon_reach_it_word_by_word() -> None:
    assert script_for_shell("--policy static --reserved-cpus 'cpuset:0 '").endswith(
        "shell --policy static --reserved-cpus 'cpuset:0 '\n"
    )


def test_what_the_guests_scripts_need_is_quoted_for_them() -> None:
    job = Job(Server("s", "2p.2c mem=1Gi pmem=2x1Gi movable=2-3 offline=3"), "true", {"TERM": "it's"})
    shown = subprocess.run(
        ["sh", "-c", f'{job.settings()}echo "$MOVABLE|$OFFLINE|$TERM"'], capture_output=True, text=True, check=True
    )
    assert shown.stdout == "2 3|3|it's\n"
