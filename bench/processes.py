"""The programs under test as subprocesses, and what the kernel says of them."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator

_STARTS_WITHIN_S: Final = 20.0
_STOPS_WITHIN_S: Final = 20.0
_LOOKS_EVERY_S: Final = 0.002
_CPU_CLOCK_OF_PROCESS: Final = 2
_MIB: Final = 1 << 20
REPOSITORY: Final = Path(__file__).parent.parent


class BenchError(Exception):
    """The benchmark cannot be run."""


@attrs.frozen
class Memory:
    """Resident memory of a process, in MiB: now, and at its largest."""

    resident_mib: float
    peak_mib: float


@contextmanager
def running(argv: list[str], socket_path: Path, python_path: str = "") -> Iterator[int]:
    """Run *argv* from the moment that it accepts on *socket_path*; yields its process id.

    Args:
        argv: program and arguments.
        socket_path: where it will serve.
        python_path: where Python looks for modules first.

    Raises:
        BenchError: it ends, or does not accept within 20 s.
    """
    log_path = socket_path.with_suffix(".log")
    with log_path.open("ab") as log_file:
        process = subprocess.Popen(
            argv,
            cwd=socket_path.parent,
            env=_environment(socket_path.parent, python_path),
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_accepting(process, socket_path, log_path)
        yield process.pid
        process.terminate()
        process.wait(_STOPS_WITHIN_S)
    finally:
        process.kill()
        process.wait()


def _environment(folder: Path, python_path: str) -> dict[str, str]:
    """Return the environment of a program: compiled code is kept between starts, as in an installed package."""
    ours = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**ours, "PYTHONPATH": python_path, "PYTHONPYCACHEPREFIX": str(folder / "compiled")}


def _wait_accepting(process: subprocess.Popen[bytes], path: Path, log_path: Path) -> None:
    until = time.monotonic() + _STARTS_WITHIN_S
    while not _accepts(path):
        if process.poll() is not None or time.monotonic() > until:
            raise BenchError(f"{process.args!r} does not serve {path}; it said: {log_path.read_text()}")
        time.sleep(_LOOKS_EVERY_S)


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def pid_behind(path: Path) -> int:
    """Return the process that serves the Unix socket *path*.

    Source: unix(7), SO_PEERCRED.

    Raises:
        BenchError: none does.
    """
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError as fault:
            raise BenchError(f"nothing serves {path}: {fault.strerror}") from fault
        pid: int = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    return pid


def cpu_s(pid: int) -> float:
    """Return the CPU time of process *pid*, user and system, all threads, in seconds.

    Source: clock_getcpuclockid(3), with the clock id that the kernel's CPUCLOCK_SCHED defines. The same sum as utime
    and stime in /proc/PID/stat, in nanoseconds where that has hundredths of a second.
    """
    return time.clock_gettime(~pid << 3 | _CPU_CLOCK_OF_PROCESS)


def memory_of(pid: int) -> Memory:
    """Return the resident memory of process *pid*.

    Source: proc(5), VmRSS and VmHWM in /proc/PID/status, given in KiB.
    """
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return Memory(*(int(fields[name].split()[0]) * 1024 / _MIB for name in ("VmRSS", "VmHWM")))
