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
    help="Socket for the kubelet.",
)
@click.option(
    "--runtime-socket",
    metavar="PATH",
    default=_default("runtime_socket"),
    show_default=True,
    help="Socket of the container runtime.",
)
@click.option(
    "--image-socket",
    metavar="PATH",
    default=_default("image_socket"),
    show_default=True,
    help="Socket for image calls; `default`: the runtime socket, `-`: none.",
)
@click.option("--allow-untested-runtimes", is_flag=True, help="Use a runtime other than containerd and CRI-O.")
@click.option(
    "--grace",
    "grace_s",
    metavar="SECONDS",
    type=float,
    default=_default("grace_s"),
    show_default=True,
    help="Time for calls in flight after SIGTERM.",
)
@click.option(
    "--config",
    "forced_config",
    metavar="FILE",
    default="",
    help="Configuration file, which overrides options; reloaded when it changes and on SIGHUP.",
)
@click.option(
    "--fallback-config",
    metavar="FILE",
    default="",
    help="Configuration file until the node agent has sent one that was accepted.",
)
@click.option(
    "--config-socket",
    metavar="PATH",
    default="",
    help="Socket for configurations of the node agent, unused with --config; by default beside the relay socket, "
    "`disabled`: none.",
)
@click.option(
    "--agent-socket",
    metavar="PATH",
    default="",
    help="Socket of the node agent; by default beside the relay socket, `disabled`: none.",
)
@click.option(
    "--pod-resources-socket",
    metavar="PATH",
    default="disabled",
    show_default=True,
    help="Socket where the kubelet tells the NUMA nodes of containers' devices (PodResources); `auto`: "
    "/var/lib/kubelet/pod-resources/kubelet.sock.",
)
@click.option(
    "--disable-policy-switch",
    is_flag=True,
    help="Reject a policy other than that of the saved state.",
)
@click.option(
    "--policy",
    default="none",
    show_default=True,
    metavar="NAME",
    help="Policy that places containers, if there is no --config.",
)
@click.option(
    "--available-cpus",
    metavar="CPUS",
    help="CPUs for containers: a list such as 2-63 or exclude-cpuset:0-1, or a number.",
)
@click.option("--reserved-cpus", metavar="CPUS", help="CPUs for kube-system: a list such as 0-1, or an amount (750m).")
@click.option(
    "--enforce",
    type=click.Choice([mode.value for mode in Mode]),
    default=_default("enforce").value,
    show_default=True,
    help="What to do where cgroups differ from the decision.",
)
@click.option(
    "--host-root", default=_default("host_root"), show_default=True, help="Directory where the host's / is mounted."
)
@click.option(
    "--state-dir",
    metavar="PATH",
    default=_default("state_dir"),
    show_default=True,
    help="Directory for saved state and journal; empty: save nothing.",
)
@click.option(
    "--record",
    metavar="PATH",
    default=_default("record"),
    help="Record events and decisions to this file, for crirm replay; see docs/replay.md.",
)
@click.option(
    "--state-fail-closed", is_flag=True, help="Refuse to create and resize containers while state cannot be saved."
)
@click.option(
    "--control-socket", metavar="PATH", default="", help="Socket for crirm status; by default beside the relay socket."
)
@click.option("--pid-file", metavar="PATH", help="PID file.")
@click.option(
    "--dump",
    "dump_rules",
    metavar="RULES",
    default=_default("dump_rules"),
    show_default=True,
    help="Messages to dump: a comma-separated list of [off|count|name|full:]METHOD; METHOD may be * or a regex.",
)
@click.option(
    "--dump-file", metavar="PATH", default=_default("dump_file"), help="Also write dumped messages to this file."
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
    help="Interval of the summaries of counted calls.",
)
@click.option("--debug", metavar="SOURCES", help="Log sources with debug messages, such as relay,runtime; * for all.")
@click.option("--log-format", type=click.Choice(["auto", "human", "journal", "json"]), help="Format of log messages.")
@click.option("--log-file", metavar="PATH", help="Also write log messages to this file.")
def command(**options: Any) -> None:
    """Relay CRI calls between the kubelet and the container runtime.

    Sockets are paths, with or without unix://. Environment variables LOGGER_* are defaults for the log options.
    SIGTERM stops the daemon once calls in flight are done, SIGUSR1 toggles full debug logging.
    """
    given = {name: options.pop(option) for option, name in LOG_OPTIONS.items()}
    log_options = {name: value for name, value in given.items() if value is not None}
    log = settings_from(os.environ, log_options)
    policy, available, reserved = (options.pop(name) for name in ("policy", "available_cpus", "reserved_cpus"))
    choice = choice_from_options(policy, available, reserved, options["host_root"])
    enforce = Mode(options.pop("enforce"))
    start(Settings(log=log, log_options=log_options, policy=choice, enforce=enforce, **options))
