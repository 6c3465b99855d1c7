"""Boot a server, watch it, and bring out what it leaves; never leaves one running."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING, BinaryIO

import attrs

from crirm.errors import CrirmError
from tests.vm import qemu
from tests.vm.disks import ImageError, run
from tests.vm.job import make_job_disk
from tests.vm.qemu import Boot, Disk

if TYPE_CHECKING:
    from pathlib import Path

    from tests.vm.base_disk import Base
    from tests.vm.job import Job

_RESULTS_BYTES = 256 << 20
_CONSOLE_LINES = 40
_POLL_S = 0.1
_STALLED = "detected stalls"  # what the kernel says of processors that get nowhere; it then panics
_SCRIPTS = "/srv/crirm/tests/vm/scripts"
_SYSTEMD_WORDS = ("systemd.unit=emulated-server.service", "systemd.show_status=0")


class ServerFailedError(CrirmError):
    """A server did not come up, hung, or ended without a result."""


class EmulationHungError(ServerFailedError):
    """Emulated processors got stuck in the kernel, or it never got to the job, which is the emulator's fault."""


@attrs.frozen
class Limits:
    """How long a server may take, in seconds.

    Args:
        boot_s: until the job says its first word.
        silent_s: between one word and the next.
        job_s: until it has switched itself off.
    """

    boot_s: float = 120.0
    silent_s: float = 600.0
    job_s: float = 3600.0


@attrs.frozen
class Outcome:
    """What came of a job.

    Args:
        exit_code: of its script.
        results: folder with what it left in ``/results``.
        took_s: from the start of QEMU to its end.
    """

    exit_code: int
    results: Path
    took_s: float


def boot(
    job: Job, base: Base, python: Path, folder: Path, limits: Limits | None = None, out: BinaryIO | None = None
) -> Outcome:
    """Boot a server for *job* and wait for its end.

    Args:
        job: what it does.
        base: its root file system and kernel.
        python: the disk with the Python packages.
        folder: an empty one, which keeps the console, the output and the results.
        limits: how long it may take; None for a person at its terminal, who takes as long as it takes.
        out: where to pass on what it prints, as it comes; None for this process's own output.

    Raises:
        ServerFailedError: it did not get to the end; the message has the end of its console.
    """
    disk = folder / "results.img"
    with disk.open("wb") as file:
        file.truncate(_RESULTS_BYTES)
    disks = (Disk(base.root), Disk(python), Disk(make_job_disk(job, base.python, folder)), Disk(disk, kept=True))
    started = Boot(
        spec=job.server.spec,
        kernel=base.kernel,
        initrd=base.initrd,
        disks=disks,
        init=f"{_SCRIPTS}/{'init-systemd' if job.server.systemd else 'init'}",
        console=folder / "console.log",
        words=_SYSTEMD_WORDS if job.server.systemd else (),
    )
    begin = time.monotonic()
    try:
        _run(qemu.command_line(started), folder, limits, out or sys.stdout.buffer)
        took_s = time.monotonic() - begin
        return Outcome(_unpack(disk, folder / "results"), folder / "results", took_s)
    except ServerFailedError as fault:
        said = started.console.read_text(errors="replace") if started.console.exists() else ""
        hung = isinstance(fault, EmulationHungError) or _STALLED in said
        kind = EmulationHungError if hung else ServerFailedError
        raise kind(f"{fault}\n{_end_of(said, started.console)}") from None
    finally:
        for image in (disk, folder / "srv.img"):
            image.unlink(missing_ok=True)


def _run(argv: list[str], folder: Path, limits: Limits | None, out: BinaryIO) -> None:
    # Should this process be killed, the kernel takes QEMU with it.
    argv = ["setpriv", "--pdeathsig", "KILL", *argv]
    complaints = folder / "qemu.log"  # there are many, about features of the processor that software does not have
    with complaints.open("wb") as stderr:
        if limits is None:
            exit_code = subprocess.run(argv, stderr=stderr, check=False).returncode
        else:
            exit_code = run_watched(argv, folder / "output.log", stderr, limits, out)
    if exit_code:
        last = complaints.read_text().splitlines()[-1:]
        raise ServerFailedError(f"{qemu.PROGRAM} ended with exit code {exit_code}: {' '.join(last)}")


def run_watched(argv: list[str], log: Path, stderr: BinaryIO, limits: Limits, out: BinaryIO) -> int:
    """Run a program, pass on what it prints to *out*, keep that in *log* too, and return its exit code.

    Raises:
        ServerFailedError: it has taken longer than it may, and is gone.
    """
    with log.open("wb") as written, log.open("rb") as output:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=written, stderr=stderr)
        try:
            _watch(process, output, limits, out)
        finally:
            process.kill()
            process.wait()
        return process.returncode


def _watch(process: subprocess.Popen[bytes], output: BinaryIO, limits: Limits, out: BinaryIO) -> None:
    """Pass the output on until the process ends."""
    begin = spoke = time.monotonic()
    patience_s, failed = limits.boot_s, "come up"
    ended = False
    while not ended:
        ended = process.poll() is not None
        said, now = output.read(), time.monotonic()
        if said:
            spoke, patience_s, failed = now, limits.silent_s, "say anything more"
        out.write(said)
        out.flush()
        if now - spoke > patience_s:
            kind = EmulationHungError if failed == "come up" else ServerFailedError
            raise kind(f"the server did not {failed} within {patience_s:.0f} s and was killed")
        if now - begin > limits.job_s:
            raise ServerFailedError(f"the server was not done within {limits.job_s:.0f} s and was killed")
        if not said and not ended:
            time.sleep(_POLL_S)


def _unpack(disk: Path, target: Path) -> int:
    target.mkdir()
    try:
        run("tar", "--extract", "--no-same-owner", f"--file={disk}", f"--directory={target}")
        return int((target / "exit-code").read_text())
    except (ImageError, FileNotFoundError):
        raise ServerFailedError("the server ended without a result") from None


def _end_of(console: str, path: Path) -> str:
    shown = "\n".join(f"  {line}" for line in console.splitlines()[-_CONSOLE_LINES:])
    return f"the end of its console, {path}:\n{shown}"
