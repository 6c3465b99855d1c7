"""``crirm doctor``: check a host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
import click
import trio

from crirm.cli.control import ask
from crirm.cli.exit_codes import ExitCode
from crirm.cli.printing import screen_width
from crirm.cli.tables import wrapped
from crirm.daemon.places import control_socket_beside
from crirm.daemon.settings import Settings
from crirm.errors import CrirmError, visible
from crirm.system.doctor import Finding, Host, Verdict, check_host

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from crirm.daemon.relay.runtime_info import RuntimeInfo

    Probe = Callable[[str], Awaitable[RuntimeInfo]]

VERDICT_WIDTH: Final = 8
PROBE_LIMIT_S: Final = 5.0  # a healthy runtime answers in milliseconds
COLOURS: Final = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.FAIL: "red", Verdict.SKIPPED: "bright_black"}


@click.command()
@click.option(
    "--relay-socket",
    metavar="PATH",
    default=attrs.fields(Settings).relay_socket.default,
    show_default=True,
    help="Socket that the kubelet uses.",
)
@click.option(
    "--runtime-socket",
    metavar="PATH",
    default=attrs.fields(Settings).runtime_socket.default,
    show_default=True,
    help="Socket of the container runtime.",
)
@click.option(
    "--host-root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default="/",
    show_default=True,
    help="Directory where the host's / is mounted.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def command(relay_socket: str, runtime_socket: str, host_root: Path, *, as_json: bool) -> int:
    """Check whether this host is ready for crirm, and how to fix what is not.

    Nothing is changed. The exit code is 0 if no check failed, 1 otherwise.
    """
    from crirm.daemon.relay.link import TESTED_RUNTIMES, probe  # noqa: PLC0415  # grpclib takes its time, --help needs none

    settings = Settings(relay_socket=relay_socket, runtime_socket=runtime_socket)
    findings = tuple(examine(Host(host_root.absolute()), settings, probe, TESTED_RUNTIMES))
    click.echo(_as_json(findings) if as_json else "\n".join(_as_text(one, screen_width()) for one in findings))
    failed = any(finding.verdict is Verdict.FAIL for finding in findings)
    return ExitCode.FAILED if failed else ExitCode.OK


def examine(host: Host, settings: Settings, probe: Probe, tested: Sequence[str]) -> Iterator[Finding]:
    """Yield all findings about *host*.

    Args:
        host: where its files are.
        settings: the sockets.
        probe: asks the runtime on a socket what it is.
        tested: beginnings of the names of runtimes that crirm is tested with.
    """
    from crirm.rpc import bridge  # noqa: PLC0415

    yield from check_host(host, relay_socket=settings.relay_socket, runtime_socket=settings.runtime_socket)
    yield from check_daemon(host, settings.relay_socket)
    yield bridge.run(check_runtime, host, settings.runtime_socket, probe, tested)


def check_daemon(host: Host, relay_socket: str) -> Iterator[Finding]:
    """Yield the findings of the running daemon; nothing if none runs or its socket is not accessible."""
    path = host.path(control_socket_beside(relay_socket))
    try:
        status = ask(str(path), {"ask": "status"}, within_s=PROBE_LIMIT_S)
    except CrirmError:
        return
    for found in status.get("findings", []):
        yield Finding("crirm", Verdict.WARNING, found, str(path), "crirm status shows it as long as it lasts")
    if problem := status.get("machine", {}).get("problem"):
        fix = "bring the missing CPUs online, or change ReservedResources and AvailableResources"
        yield Finding("crirm", Verdict.FAIL, _one_line(problem), str(path), fix)


async def check_runtime(host: Host, runtime_socket: str, probe: Probe, tested: Sequence[str]) -> Finding:
    """Check the name, version and API of the runtime."""
    try:
        with trio.fail_after(PROBE_LIMIT_S):
            info = await probe(str(host.path(runtime_socket)))
    except (trio.TooSlowError, OSError, ValueError, CrirmError) as error:
        return _no_answer(error, runtime_socket)
    found = f"{info.name} {info.version} answers, with CRI {', '.join(info.api_versions)}"
    if info.name is not None and not info.name.startswith(tuple(tested)):
        fix = "start crirm with --allow-untested-runtimes to use it anyway"
        return Finding("runtime", Verdict.FAIL, f"{found}; crirm is not tested with it", runtime_socket, fix)
    return Finding("runtime", Verdict.OK, found, runtime_socket)


def _no_answer(error: Exception, where: str) -> Finding:
    start = "start the runtime (`systemctl start containerd`), or set its socket with --runtime-socket"
    match error:
        case trio.TooSlowError():
            return Finding("runtime", Verdict.FAIL, f"no answer within {PROBE_LIMIT_S:.0f} s", where, start)
        case PermissionError():
            return Finding("runtime", Verdict.SKIPPED, "permission denied", where, "run crirm doctor as root")
        case FileNotFoundError():
            return Finding("runtime", Verdict.FAIL, "socket not found", where, start)
        case OSError():
            return Finding("runtime", Verdict.FAIL, _one_line(str(error)), where, start)
        case _:  # something answers, but not with CRI
            fix = "enable CRI (containerd: remove cri from disabled_plugins), or set another --runtime-socket"
            return Finding("runtime", Verdict.FAIL, _one_line(str(error)), where, fix)


def _as_text(finding: Finding, width: int) -> str:
    where = f"  [{finding.where}]" if finding.where else ""
    head = f"{finding.verdict.value:8} {finding.check:13} "
    lines = wrapped(visible(f"{head}{finding.found}{where}"), width, hang=len(head))
    if finding.fix:
        lines += wrapped(visible(f"{'':{len(head)}}fix: {finding.fix}"), width)
    verdict = click.style(lines[0][:VERDICT_WIDTH], fg=COLOURS[finding.verdict])
    return "\n".join((verdict + lines[0][VERDICT_WIDTH:], *lines[1:]))


def _as_json(findings: Sequence[Finding]) -> str:
    return json.dumps([attrs.asdict(one) | {"verdict": one.verdict.value} for one in findings], indent=2)


def _one_line(text: str) -> str:
    return " ".join(text.split())
