"""``crirm shadow``: another policy or configuration that decides beside the one in force, with no effect."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import click

from crirm.cli.control import DEFAULT_CONTROL_SOCKET, ask
from crirm.cli.printing import harmless, local_time, say, say_table
from crirm.cli.replay_text import cpu, size
from crirm.cli.tables import Column
from crirm.config.faults import ConfigFaults, Fault
from crirm.config.text import decoded
from crirm.daemon.configuration.meaning import read
from crirm.errors import UsageError

WITHIN_S: Final = 120.0  # a plan waits for changes of the configuration
_FIGURES: Final = (Column(""), Column("in force", right=True), Column("shadow", right=True))
_REFUSED: Final = (Column("container"), Column("refused by the shadow", text=True))

_control_socket = click.option(
    "--control-socket", default=DEFAULT_CONTROL_SOCKET, show_default=True, help="Control socket of the daemon."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("shadow", invoke_without_command=True)
@_control_socket
@_json
@click.option("--all", "everything", is_flag=True, help="List containers too whose CPUs differ only in their numbers.")
@click.pass_context
def command(ctx: click.Context, *, control_socket: str, as_json: bool, everything: bool) -> None:
    """Show what another policy or configuration would have done so far: figures of both, and containers that differ.

    It gets the same events as the policy in force and changes nothing. It ends when the daemon stops, and when the
    configuration in force or the machine changes.
    """
    if ctx.invoked_subcommand is not None:
        return
    report = ask(control_socket, {"ask": "shadow"})
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        _tell(harmless(report), everything=everything)


@command.command("start", short_help="Start another policy beside the one in force.")
@click.argument("file", required=False, type=click.Path(path_type=Path, allow_dash=True))
@click.option("--policy", metavar="NAME", default="", help="Instead of FILE: this policy, on the CPUs now in force.")
@_control_socket
@_json
def start(file: Path | None, policy: str, control_socket: str, *, as_json: bool) -> None:
    """Let the configuration in FILE (- is standard input) decide beside the one in force, with no effect."""
    if (file is None) == (not policy):
        raise UsageError("name either a configuration FILE or --policy NAME; see crirm shadow start --help")
    question = {"policy": policy} if file is None else {"name": str(file), "config": _text(file)}
    begun = ask(control_socket, {"ask": "shadow", "do": "start", **question}, within_s=WITHIN_S)
    if as_json:
        click.echo(json.dumps(begun))
        return
    say(f"shadow policy started: {begun['policy']}")
    say(f"a switch now would change {begun['changes']} containers; {begun['unfit']} would not fit")
    say("see `crirm shadow`; end it with `crirm shadow stop`")


@command.command("stop")
@_control_socket
def stop(control_socket: str) -> None:
    """End the shadow policy, and forget its figures."""
    ask(control_socket, {"ask": "shadow", "do": "stop"})
    say("shadow policy stopped")


def _text(file: Path) -> str:
    faults: list[Fault] = []
    text = decoded(read(file), faults)
    if text is None:
        raise ConfigFaults(str(file), faults)
    return text


def _tell(report: dict[str, Any], *, everything: bool) -> None:
    say(f"shadow    {report['policy']} ({report['source']})")
    say(f"in force  {report['in_force']}")
    say(f"since     {local_time(report['since_s'])}, {report['events']} events{_state(report)}")
    say(f"at start  a switch would have changed {report['changes_at_start']} containers{_unfit(report)}")
    for one in report["unfit_at_start"]:
        say(f"          {one['name']}: {one['reason']}")
    say("")
    say_table(_FIGURES, [_figure(figure) for figure in report["figures"]])
    if report["not_placed"]:
        say("")
        say_table(_REFUSED, [[one["name"], one["reason"]] for one in report["not_placed"]])
    _tell_differences(report, everything=everything)


def _state(report: dict[str, Any]) -> str:
    match report["status"]:
        case "running" if report["waiting"]:
            return f"; {report['waiting']} events behind, so containers are not compared; ask again"
        case "running":
            return ""
        case "broken":
            return f"\nbroken    since {local_time(report['until_s'])}: {report['reason']}"
        case _:
            return f"\nended     {local_time(report['until_s'])}: {report['reason']}"


def _unfit(report: dict[str, Any]) -> str:
    unfit = len(report["unfit_at_start"])
    return f", {unfit} of them without room:" if unfit else ""


def _figure(figure: dict[str, Any]) -> list[str]:
    values = (figure["in_force"], figure["shadow"])
    match figure["unit"]:
        case "m":
            return [figure["what"], *map(cpu, values)]
        case "bytes":
            return [figure["what"], *map(size, values)]
        case _:
            return [figure["what"], *map(str, values)]


def _tell_differences(report: dict[str, Any], *, everything: bool) -> None:
    differing = [one for one in report["differences"] if everything or not one["alike"]]
    alike = sum(one["alike"] for one in report["differences"])
    say("")
    if report["status"] == "broken" or report["waiting"]:
        return
    numbers = f", {alike} only in the numbers of their CPUs and nodes" if alike else ""
    say(f"{len(report['differences'])} containers differ{numbers}; {report['same']} do not")
    for one in differing:
        say(one["name"])
        say(f"  in force  {one['there']}")
        say(f"  shadow    {one['here']}")
