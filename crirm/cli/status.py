"""``crirm status``: what each container has been given."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from crirm.cli.control import DEFAULT_CONTROL_SOCKET, ask
from crirm.cli.printing import console, harmless, local_time, say

if TYPE_CHECKING:
    from collections.abc import Iterator

_COLUMNS = ("container", "state", "QoS", "pool", "CPUs", "memory nodes", "shares", "drift")


@click.command()
@click.option("--control-socket", default=DEFAULT_CONTROL_SOCKET, show_default=True, help="Of the daemon to ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(*, control_socket: str, as_json: bool) -> None:
    """Show the containers of this node with their pool, CPUs, memory nodes and drift."""
    status = ask(control_socket, {"ask": "status"})
    if as_json:
        click.echo(json.dumps(status, indent=2))
        return
    rejected = status["configuration"]["rejected"]
    status = harmless(status)
    say(f"policy {status['policy']}, {len(status['containers'])} containers; {_origin(status['configuration'])}")
    if rejected is not None:
        say(rejected_text(rejected))
    if status["state_failure"]:
        say(f"what is decided cannot be kept: {status['state_failure']}")
    for finding in status.get("findings", []):
        say(f"finding: {finding}")
    for line in _machine(status["machine"]):
        say(line)
    if status["containers"]:
        console().print(_table(status["containers"]))
    for each in status["containers"]:
        if each["degraded"]:
            say(f"degraded: {each['name']} goes on as it is, since {each['degraded']}")
    for name, containers in status["configuration"]["adjustments"].items():
        say(f"adjusted by {name}: {', '.join(sorted(containers)) or 'none'}")


def _origin(configuration: dict[str, Any]) -> str:
    """Return where the configuration comes from."""
    name = configuration["name"]
    return f"configuration: {configuration['source']}{f' {name}' if name else ''}"


def rejected_text(rejected: dict[str, Any]) -> str:
    """Return what has become of the latest configuration that is not in force: a line for each of its faults."""
    first, *others = rejected["reason"].split("\n")
    source = harmless(f"{rejected['source']} {rejected['name']}")
    head = f"rejected at {local_time(rejected['at_s'])}, from {source}: {first}"
    return "\n".join([head, *(f"  {line}" for line in others)])


def _machine(machine: dict[str, Any]) -> Iterator[str]:
    """Yield what is to be said of the machine: nothing where all of it is there, and always was."""
    if not machine:
        return
    if machine["changed_at_s"] is not None:
        yield f"machine: changed at {local_time(machine['changed_at_s'])}: {machine['change']}"
    yield from (f"machine: {note}" for note in machine["notes"])
    if machine["problem"]:
        yield (
            f"machine: does not fit the configuration any more, so only what is still there is given away: "
            f"{machine['problem']}"
        )


def _table(containers: list[dict[str, Any]]) -> Table:
    table = Table(*_COLUMNS, box=None, pad_edge=False)
    for each in containers:
        values = [each[name] for name in ("name", "state", "qos", "pool", "cpus", "mems", "cpu_shares", "drift")]
        table.add_row(*("-" if value in (None, "") else str(value) for value in values))
    return table
