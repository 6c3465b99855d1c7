"""``crirm serve``: the daemon."""

from __future__ import annotations

import os
from typing import Any, Final

import attrs
import click

from crirm.cli.configured import choice_from_options
from crirm.cli.start import start
from crirm.daemon.settings import Mode, Settings
from crirm.logs import settings_from

LOG_OPTIONS: Final = {"debug": "debug", "log_format": "format", "log_file": "log_file"}
"""Parameter to its name in crirm.logs."""


def _default(field: str) -> Any:
    return attrs.fields_dict(Settings)[field].default


@click.command()
@click.option(
    "--relay-socket",
    metavar="PATH",
    default=_default("relay_socket"),
    show_default=True,
    help="Serve the kubelet here.",
)
@click.option(
    "--runtime-socket",
    metavar="PATH",
    default=_default("runtime_socket"),
    show_default=True,
    help="The container runtime serves here.",
)
@click.option(
    "--image-socket",
    metavar="PATH",
    default=_default("image_socket"),
    show_default=True,
    help="Image calls go here; `default` is the runtime socket, `-` serves none.",
)
@click.option("--allow-untested-runtimes", is_flag=True, help="Use a runtime other than containerd and CRI-O.")
@click.option(
    "--grace",
    "grace_s",
    metavar="SECONDS",
    type=float,
    default=_default("grace_s"),
    show_default=True,
    help="How long calls in flight may take after SIGTERM.",
)
@click.option(
    "--config",
    "forced_config",
    metavar="FILE",
    default="",
    help="Policy, dump and log settings, which win over options; read again when it changes, and on SIGHUP.",
)
@click.option(
    "--fallback-config",
    metavar="FILE",
    default="",
    help="The same until the node agent has sent a configuration that was accepted.",
)
@click.option(
    "--config-socket",
    metavar="PATH",
    default="",
    help="The node agent sends configurations here, unless there is a --config; by default beside the relay's, "
    "`disabled`: nowhere.",
)
@click.option(
    "--agent-socket",
    metavar="PATH",
    default="",
    help="The node agent serves here; by default beside the relay's, `disabled`: it is not asked.",
)
@click.option(
    "--disable-policy-switch",
    is_flag=True,
    help="Refuse another policy than the one whose decisions are kept.",
)
@click.option(
    "--policy",
    default="none",
    show_default=True,
    metavar="NAME",
    help="Which policy places containers, without a file.",
)
@click.option("--available-cpus", metavar="CPUS", help="What containers may use: a list such as 2-63, or a number.")
@click.option("--reserved-cpus", metavar="CPUS", help="What kube-system uses: a list such as 0-1, or an amount (750m).")
@click.option(
    "--enforce",
    type=click.Choice([mode.value for mode in Mode]),
    default=_default("enforce").value,
    show_default=True,
    help="Where the kernel has something else than was decided.",
)
@click.option("--host-root", default=_default("host_root"), show_default=True, help="Where the host's /sys is seen.")
@click.option(
    "--state-dir",
    metavar="PATH",
    default=_default("state_dir"),
    show_default=True,
    help="Keep decisions and journal here; empty: keep nothing.",
)
@click.option(
    "--record",
    metavar="PATH",
    default=_default("record"),
    help="Write a trace of events and decisions to this file, for crirm replay; see docs/replay.md.",
)
@click.option("--state-fail-closed", is_flag=True, help="Create and resize nothing while the state cannot be kept.")
@click.option("--control-socket", metavar="PATH", default="", help="For crirm status; by default beside the relay's.")
@click.option("--pid-file", metavar="PATH", help="Keep the process number in this file.")
@click.option(
    "--dump",
    "dump_rules",
    metavar="RULES",
    default=_default("dump_rules"),
    show_default=True,
    help="Messages to dump, a comma list of [off|count|name|full:]METHOD; METHOD may be * or a regular expression.",
)
@click.option(
    "--dump-file", metavar="PATH", default=_default("dump_file"), help="Write dumped messages to this file too."
)
@click.option(
    "--dump-secrets", is_flag=True, help="Show environment values and registry credentials in dumped messages."
)
@click.option(
    "--dump-count-period",
    "dump_count_period_s",
    metavar="SECONDS",
    type=float,
    default=_default("dump_count_period_s"),
    show_default=True,
    help="Time between two sums of calls that are only counted.",
)
@click.option(
    "--debug", metavar="SOURCES", help="Log sources whose debug records are wanted, such as relay,runtime; * for all."
)
@click.option(
    "--log-format", type=click.Choice(["auto", "human", "journal", "json"]), help="What log records look like."
)
@click.option("--log-file", metavar="PATH", help="Write log records to this file too.")
def command(**options: Any) -> None:
    """Relay CRI calls between the kubelet and the container runtime.

    Sockets are paths, with unix:// before them or not. Environment variables LOGGER_* set what the log options set; the
    options win. SIGTERM ends the daemon once calls in flight are done, SIGUSR1 switches full debug on and off.
    """
    given = {name: options.pop(option) for option, name in LOG_OPTIONS.items()}
    log_options = {name: value for name, value in given.items() if value is not None}
    log = settings_from(os.environ, log_options)
    policy, available, reserved = (options.pop(name) for name in ("policy", "available_cpus", "reserved_cpus"))
    choice = choice_from_options(policy, available, reserved, options["host_root"])
    enforce = Mode(options.pop("enforce"))
    start(Settings(log=log, log_options=log_options, policy=choice, enforce=enforce, **options))
