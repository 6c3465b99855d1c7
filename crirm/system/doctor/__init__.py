"""Checks of a host on which crirm is to run; each reads files below a root and reports its findings.

``check_host`` runs them all. Nothing here changes anything. The one check that needs the event loop, whether the
runtime answers, belongs to the command line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crirm.system.doctor import cpus, kata, kubelet, machine, sockets, units
from crirm.system.doctor.finding import Finding, Verdict
from crirm.system.doctor.host import Host

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Finding", "Host", "Verdict", "check_host"]


def check_host(host: Host, *, relay_socket: str, runtime_socket: str) -> Iterator[Finding]:
    """Yield the findings of all checks, in the order in which problems should be fixed.

    Args:
        host: where the host's files are.
        relay_socket: path that the kubelet is to use.
        runtime_socket: path that the runtime serves.
    """
    yield from _guarded("python", machine.check_python())
    yield from _guarded("kernel", machine.check_kernel(host))
    yield from _guarded("cgroup", machine.check_cgroups(host))
    yield from _guarded("cpus", cpus.check_cpus(host))
    yield from _guarded("relay socket", sockets.check_relay_socket(host, relay_socket, runtime_socket))
    yield from _guarded("kubelet", kubelet.check_kubelet(host, relay_socket))
    yield from _guarded("kata", kata.check_kata(host))
    yield from _guarded("systemd", units.check_units(host, runtime_socket))


def _guarded(check: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """If a file cannot be read, only its check is skipped."""
    try:
        yield from findings
    except OSError as error:
        yield Finding(
            check,
            Verdict.SKIPPED,
            f"cannot be read: {error.strerror or error}",
            where=str(error.filename or ""),
            fix="run crirm doctor as root",
        )
