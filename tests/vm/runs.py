"""What can be done with servers: run the tests inside them, or give a person a shell on one."""

from __future__ import annotations

import os
import resource
import shlex
import shutil
import sys
from typing import TYPE_CHECKING, Final

import attrs

from crirm.errors import UsageError
from tests.vm.base_disk import base
from tests.vm.boot import EmulationHungError, Limits, Outcome, ServerFailedError, boot
from tests.vm.disks import CACHE, CHECKOUT
from tests.vm.job import Job
from tests.vm.python_disk import python_disk

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.vm.servers import Server

RUNS: Final = CACHE / "runs"
_INSIDE: Final = "tests/vm/inside"
_NO_TESTS: Final = 5  # what pytest says when its arguments leave no test on this server


@attrs.frozen
class Plan:
    """How it is to be done.

    Args:
        keep: give a shell once the tests are over.
        systemd: boot systemd, whatever the server's description says.
        suite: release of Debian; None for this machine's own.
        limit_s: how long a server may take.
        serve: options of ``crirm serve``, for a shell.
    """

    keep: bool = False
    systemd: bool = False
    suite: str | None = None
    limit_s: float = 1200.0
    serve: str = ""


def run_tests(plan: Plan, servers: Sequence[Server], pytest_args: Sequence[str]) -> bool:
    """Run the tests inside *servers*, one after the other; whether all that there were have passed."""
    if plan.keep:
        _check_terminal("--keep")
    script = script_for_tests(pytest_args, keep=plan.keep)
    verdicts = {server.name: _tests_on(plan, server, script) for server in servers}
    sys.stdout.write("\n" + "".join(f"{name:24} {verdict}\n" for name, (_, verdict) in verdicts.items()))
    codes = {code for code, _ in verdicts.values()}
    return codes <= {0, _NO_TESTS} and 0 in codes


def open_shell(plan: Plan, server: Server) -> None:
    """Give a shell on *server*, in this terminal, until the person leaves it."""
    _check_terminal("--shell")
    _boot(plan, Job(server, script_for_shell(plan.serve), _terminal()), watched=False)


def script_for_tests(pytest_args: Sequence[str], *, keep: bool) -> str:
    """Return what a server does to run the tests.

    Args:
        pytest_args: for pytest; without a path among them, the tests that are made for servers.
        keep: whether a shell follows.
    """
    named = any((CHECKOUT / word.partition("::")[0]).exists() for word in pytest_args if not word.startswith("-"))
    words = [*pytest_args] if named else [_INSIDE, *pytest_args]
    pytest = f"python -m pytest -p no:cacheprovider --junit-xml=/results/junit.xml {shlex.join(words)}"
    return f"{pytest}\ncode=$?\nbash\nexit $code\n" if keep else f"exec {pytest}\n"


def script_for_shell(serve: str) -> str:
    """Return what a server does to give a shell; *serve* are options of ``crirm serve``."""
    return f"exec python -m tests.vm.inside.shell {shlex.join(shlex.split(serve))}\n"


def _tests_on(plan: Plan, server: Server, script: str) -> tuple[int, str]:
    """Return an exit code and what to say of it."""
    sys.stdout.write(f"\n--- {server.name}: {server.line}{' with systemd' if server.systemd else ''}\n")
    sys.stdout.flush()
    job = Job(server, script, _terminal() if plan.keep else {})
    before_s = _processor_s()
    try:
        try:
            outcome = _boot(plan, job, watched=not plan.keep)
        except EmulationHungError as fault:
            sys.stdout.write(f"{fault}\n--- {server.name}: processors got stuck, which is QEMU's fault; once more\n")
            outcome = _boot(plan, job, watched=not plan.keep)
    except ServerFailedError as fault:
        sys.stdout.write(f"{fault}\n")
        return 1, "the server failed; its console is above"
    said = {0: "passed", _NO_TESTS: "has none of these tests"}.get(outcome.exit_code, "failed")
    times = f"{outcome.took_s:.0f} s ({_processor_s() - before_s:.0f} s of processor time)"
    return outcome.exit_code, f"{said} in {times}, results in {outcome.results}"


def _processor_s() -> float:
    """Return what finished children have used; of two runs on a busy machine this can be compared."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _boot(plan: Plan, job: Job, *, watched: bool) -> Outcome:
    if plan.systemd:
        job = attrs.evolve(job, server=attrs.evolve(job.server, systemd=True))
    root = base(plan.suite)
    folder = _fresh(RUNS / "".join(c if c.isalnum() or c in "-." else "_" for c in job.server.name))
    return boot(job, root, python_disk(root.python), folder, Limits(job_s=plan.limit_s) if watched else None)


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _terminal() -> dict[str, str]:
    """Return what a shell on the other side of a serial line cannot find out."""
    size = os.get_terminal_size()
    return {
        "TERMINAL": "yes",
        "TERM": os.environ.get("TERM", "linux"),
        "LINES": str(size.lines),
        "COLUMNS": str(size.columns),
    }


def _check_terminal(option: str) -> None:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(f"{option} gives a shell, which needs a terminal; run it in one")
