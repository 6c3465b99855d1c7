"""The command ``cri-resmgr``: crirm under the name, and with the flags, of the original.

Every flag of the original is accepted; those without effect are named in one warning.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from crirm.cli.configured import choice_from_options
from crirm.cli.cri_resmgr_flags import FLAGS, Use
from crirm.cli.cri_resmgr_reports import config_help, flag_help, list_loggers, list_policies, print_config
from crirm.cli.errors import leave, run_command
from crirm.cli.exit_codes import ExitCode
from crirm.cli.goflags import FlagError, Kind, Parsed, check_value, duration_s, parse
from crirm.cli.start import start
from crirm.cli.version import version_line
from crirm.cri.dump_rules import cumulate
from crirm.daemon.settings import DISABLED, Settings
from crirm.errors import CrirmError
from crirm.logs import settings_from
from crirm.system.config_cache import forget_accepted, path_in
from crirm.system.store import forget
from crirm.system.store_file import held
from crirm.system.unix_socket import SocketState, state_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from crirm.policy.api import Choice

RELOAD_SIGNALS: Final = ("SIGHUP", "SIGUSR2", "SIGWINCH", "SIGALRM")  # those that ask for nothing else
PROGRAM: Final = "cri-resmgr"
ROOT_PID_FILE: Final = "/var/run/cri-resmgr.pid"  # Source: CRI Resource Manager, -pid-file

DUMP_RULES_2019: Final = "full:.*,off:Version,.*List.*,.*Status.*,.*Info.*,.*Log.*,.*Reopen.*"
"""The rules that ``-dump`` adds to. Source: CRI Resource Manager 0.1, the only version with this flag."""

REPORTS: Final[Mapping[str, Callable[[], str]]] = {
    "h": flag_help,
    "help": flag_help,
    "version": lambda: version_line(PROGRAM),
    "print-config": print_config,
    "list-policies": list_policies,
    "list-loggers": list_loggers,
}


class StillRunningError(CrirmError):
    """Stored state cannot be reset while the daemon runs."""


def main() -> None:
    """Run ``cri-resmgr`` with the arguments of this process."""
    code = run_command(PROGRAM, lambda: command(sys.argv[1:], os.environ))
    leave(code)


def command(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the command in *argv* and return the exit code."""
    given = with_file(parse(argv, FLAGS))
    for name, report in REPORTS.items():
        if given.is_on(name):
            click.echo(report())
            return ExitCode.OK
    if given.positional:
        click.echo(config_help(_help_topics(given.positional)))
        return ExitCode.OK
    settings = settings_of(given, environ)
    if given.is_on("reset-config") or given.is_on("reset-policy"):
        return _reset(settings, config=given.is_on("reset-config"), policy=given.is_on("reset-policy"))
    start(settings, later=without_effect(given, Use.LATER), meaningless=without_effect(given, Use.NONE))
    return ExitCode.OK


def _help_topics(words: Sequence[str]) -> Sequence[str]:
    if words[0] in {"config-help", "help"}:
        return words[1:]
    raise FlagError(
        f"{words[0]}: not a flag, and the only arguments without a dash are config-help and help; "
        "a boolean takes its value with an equals sign, as in -disable-ui=true"
    )


def with_file(given: Parsed) -> Parsed:
    """Add the flags in the file given by ``-config``; flags on the command line win.

    Raises:
        FlagError: the file, or a line in it, cannot be read.
    """
    path = given.last("config")
    if not path:
        return given
    try:
        lines = Path(path).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FlagError(f"-config {path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    values: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(map(str.strip, lines), start=1):
        if line and not line.startswith("#"):
            name, equals, value = (part.strip() for part in line.partition("="))
            if name not in FLAGS or name == "config":
                raise FlagError(f"{path}, line {number}: {PROGRAM} has no flag {name!r}")
            flag = FLAGS[name]
            value = "true" if not equals and flag.kind is Kind.BOOL else value
            values[name] = (*values.get(name, ()), check_value(f"{path}, line {number}: {name}", flag, value))
    return Parsed({**values, **given.values}, given.positional)


def settings_of(given: Parsed, environ: Mapping[str, str]) -> Settings:
    """Turn flags and environment into the daemon's settings.

    Raises:
        UsageError: flags that exclude each other, or an invalid value.
    """
    options: dict[str, Any] = {
        name.replace("-", "_"): given.last(name)
        for name in ("relay-socket", "runtime-socket", "image-socket", "dump-file", "host-root")
        if given.last(name) is not None
    }
    if "dump" in given.values:
        options["dump_rules"] = cumulate(DUMP_RULES_2019, *given.values["dump"])
    for flag in ("config-socket", "agent-socket"):
        if given.last(flag) is not None:
            options[flag.replace("-", "_")] = (
                given.last(flag) or DISABLED
            )  # as in the original, an empty one disables it
    directory = given.last("relay-dir")
    if directory is not None:
        options["state_dir"] = directory
    period = given.last("count-period")
    if period is not None:
        options["dump_count_period_s"] = duration_s(period)
    log_options = _log_options(given)
    return Settings(
        forced_config=given.last("force-config") or "",
        fallback_config=given.last("fallback-config") or "",
        disable_policy_switch=given.is_on("disable-policy-switch"),
        reload_signal=_reload_signal(given.last("force-config-signal")),
        allow_untested_runtimes=given.is_on("allow-untested-runtimes"),
        pid_file=_pid_file(given),
        policy=_choice(given),
        log_options=log_options,
        log=settings_from(environ, log_options),
        **options,
    )


def _reload_signal(name: str | None) -> signal.Signals | None:
    """Read the flag as the original does: empty, and anything that begins with "disable", mean no signal."""
    if name is None:
        return signal.SIGHUP
    if not name or name.lower().startswith("disable"):
        return None
    full = name.upper() if name.upper().startswith("SIG") else f"SIG{name.upper()}"
    if full not in RELOAD_SIGNALS:
        raise FlagError(f"-force-config-signal {name}: invalid; use one of {', '.join(RELOAD_SIGNALS)}, or disabled")
    return signal.Signals[full]


def _choice(given: Parsed) -> Choice:
    name = given.last("policy") or "none"
    available, reserved = (_cpu(given.last(f"{which}-resources")) for which in ("available", "reserved"))
    return choice_from_options("none" if name == "null" else name, available, reserved, given.last("host-root") or "/")


def _cpu(text: str | None) -> str | None:
    """Of the original's list of resources, only CPUs were ever implemented."""
    return None if text is None else text.removeprefix("cpu=").removeprefix("CPU=")


def _pid_file(given: Parsed) -> str | None:
    """The original's default needs root; other users got a file in /tmp, which anybody could create first."""
    path = given.last("pid-file")
    if path is None:
        return ROOT_PID_FILE if os.geteuid() == 0 else None
    return path or None


def _log_options(given: Parsed) -> dict[str, str]:
    options = {name: values[-1] for name, values in given.values.items() if FLAGS[name].use is Use.LOGGING}
    debug = given.last("logger-debug")
    return options if debug is None else {**options, "debug": debug}


def without_effect(given: Parsed, use: Use) -> list[str]:
    """Return the given flags of *use*, except those that ask for what crirm does anyway."""
    return sorted(
        f"-{name}"
        for name, values in given.values.items()
        if FLAGS[name].use is use and values[-1] not in FLAGS[name].harmless
    )


def _reset(settings: Settings, *, config: bool, policy: bool) -> int:
    if state_of(settings.relay_socket) is SocketState.LIVE:
        raise StillRunningError(
            f"{settings.relay_socket}: crirm is running; stop it before a reset (systemctl stop cri-resource-manager)"
        )
    kept = settings.state_dir
    if config:
        with held(kept) if kept else nullcontext():
            gone = bool(kept) and forget_accepted(kept)
        click.echo(
            f"{path_in(kept)}: saved configuration removed" if gone else "Nothing to reset: no configuration is saved."
        )
    if policy:
        gone = bool(kept) and forget(kept, "policy reset")
        click.echo(
            f"{kept}: saved decisions removed; the next start places every container again"
            if gone
            else "Nothing to reset: no decisions are saved."
        )
    return ExitCode.OK
