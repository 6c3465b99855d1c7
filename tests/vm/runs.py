"""What can be done with servers: run the tests inside them, or give a person a shell on one."""

from __future__ import annotations

import io
import os
import resource
import shlex
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path  # noqa: TC003 - attrs resolves field types at run time
from typing import TYPE_CHECKING, BinaryIO, Final

import attrs

from crirm.errors import UsageError
from tests.vm.base_disk import Base, base
from tests.vm.boot import EmulationHungError, Limits, Outcome, ServerFailedError, boot
from tests.vm.disks import CACHE, CHECKOUT
from tests.vm.job import Job
from tests.vm.python_disk import python_disk

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        at_once: how many servers run at the same time; each keeps little more than one processor busy.
    """

    keep: bool = False
    systemd: bool = False
    suite: str | None = None
    limit_s: float = 3600.0
    serve: str = ""
    at_once: int = 1


def run_tests(plan: Plan, servers: Sequence[Server], pytest_args: Sequence[str]) -> bool:
    """Run the tests inside *servers*; whether all that there were have passed."""
    if plan.keep:
        _check_terminal("--keep")
        plan = attrs.evolve(plan, at_once=1)  # there is one terminal
    script = script_for_tests(pytest_args, keep=plan.keep)
    disks = _disks(plan)
    begin = time.monotonic()
    with ThreadPoolExecutor(plan.at_once) as threads:
        verdicts = list(threads.map(lambda server: _tests_on(plan, disks, server, script), servers))
    lines = [f"{server.name:24} {verdict}\n" for server, (_, verdict) in zip(servers, verdicts, strict=True)]
    took_s = f"{time.monotonic() - begin:.0f} s ({_processor_s():.0f} s of processor time)"
    sys.stdout.write(f"\n{''.join(lines)}{'all':24} in {took_s}\n")
    codes = {code for code, _ in verdicts}
    return codes <= {0, _NO_TESTS} and 0 in codes


def open_shell(plan: Plan, server: Server) -> None:
    """Give a shell on *server*, in this terminal, until the person leaves it."""
    _check_terminal("--shell")
    _boot(plan, _disks(plan), Job(server, script_for_shell(plan.serve), _terminal()))


@attrs.frozen
class _Disks:
    """What all servers share."""

    base: Base
    python: Path


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


def _tests_on(plan: Plan, disks: _Disks, server: Server, script: str) -> tuple[int, str]:
    """Return an exit code and what to say of it."""
    _say(f"\n--- {server.name}: {server.line}{' with systemd' if server.systemd else ''}\n")
    job = Job(server, script, _terminal() if plan.keep else {})
    out = io.BytesIO() if plan.at_once > 1 else None  # the output of several at once would be unreadable
    try:
        try:
            outcome = _boot(plan, disks, job, out)
        except EmulationHungError as fault:
            _say(f"{fault}\n--- {server.name}: it got stuck before any test, which is QEMU's fault; once more\n")
            outcome = _boot(plan, disks, job, out)
    except ServerFailedError as fault:
        _say(f"{fault}\n")
        return 1, "the server failed; its console is above"
    finally:
        if out:
            _say(f"\n--- {server.name} has said:\n{out.getvalue().decode(errors='replace')}")
    said = {0: "passed", _NO_TESTS: "has none of these tests"}.get(outcome.exit_code, "failed")
    return outcome.exit_code, f"{said} in {outcome.took_s:.0f} s, results in {outcome.results}"


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _processor_s() -> float:
    """Return what finished children have used; of two runs on a busy machine this can be compared."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _disks(plan: Plan) -> _Disks:
    root = base(plan.suite)
    return _Disks(root, python_disk(root.python))


def _boot(plan: Plan, disks: _Disks, job: Job, out: BinaryIO | None = None) -> Outcome:
    if plan.systemd:
        job = attrs.evolve(job, server=attrs.evolve(job.server, systemd=True))
    folder = _fresh(RUNS / "".join(c if c.isalnum() or c in "-." else "_" for c in job.server.name))
    limits = None if "TERMINAL" in job.environment else Limits(job_s=plan.limit_s)
    return boot(job, disks.base, disks.python, folder, limits, out)


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
