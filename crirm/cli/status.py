"""``crirm status``: what each container has been assigned."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import click

from crirm.cli.control import DEFAULT_CONTROL_SOCKET, ask
from crirm.cli.printing import harmless, local_time, say, say_table
from crirm.cli.tables import Column

if TYPE_CHECKING:
    from collections.abc import Iterator

_COLUMNS: Final = (
    Column("container"),
    Column("state", optional=2),
    Column("QoS", optional=3),
    Column("pool"),
    Column("CPUs"),
    Column("memory"),
    Column("shares", optional=4, right=True),
    Column("drift", optional=1, text=True),
)


@click.command()
@click.option(
    "--control-socket", default=DEFAULT_CONTROL_SOCKET, show_default=True, help="Control socket of the daemon."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(*, control_socket: str, as_json: bool) -> None:
    """Show the containers of this node with their pools, CPUs, NUMA nodes for memory, and drift."""
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
        say(f"state is not saved: {status['state_failure']}")
    for finding in status.get("findings", []):
        say(f"finding: {finding}")
    for line in _machine(status["machine"]):
        say(line)
    if status["containers"]:
        say_table(_COLUMNS, [_row(each) for each in status["containers"]])
    for line in _without_place(status):
        say(line)
    for name, containers in status["configuration"]["overrides"].items():
        say(f"override {name}: {', '.join(sorted(containers)) or 'no containers'}")


def _without_place(status: dict[str, Any]) -> Iterator[str]:
    """Yield which containers run without their place, and which ones do not run because they were refused."""
    for each in status["containers"]:
        if each["degraded"]:
            yield f"degraded: {each['name']} keeps running unplaced: {each['degraded']}"
    for each in status.get("refused", []):
        yield f"refused: {each['name']}: {each['refused']}"


def _origin(configuration: dict[str, Any]) -> str:
    """Return where the configuration comes from."""
    name = configuration["name"]
    return f"configuration: {configuration['source']}{f' {name}' if name else ''}"


def rejected_text(rejected: dict[str, Any]) -> str:
    """Return why the latest configuration was rejected: a line for each of its faults."""
    first, *others = rejected["reason"].split("\n")
    source = harmless(f"{rejected['source']} {rejected['name']}")
    head = f"rejected at {local_time(rejected['at_s'])}, from {source}: {first}"
    return "\n".join([head, *(f"  {line}" for line in others)])


def _machine(machine: dict[str, Any]) -> Iterator[str]:
    """Yield what is unusual about the machine; nothing for a machine that is complete and has not changed."""
    if not machine:
        return
    if machine["changed_at_s"] is not None:
        yield f"machine: changed at {local_time(machine['changed_at_s'])}: {machine['change']}"
    yield from (f"machine: {note}" for note in machine["notes"])
    if machine["problem"]:
        yield (
            f"machine: no longer fits the configuration; containers only get resources that still exist: "
            f"{machine['problem']}"
        )


def _row(container: dict[str, Any]) -> list[str]:
    values = [container[name] for name in ("name", "state", "qos", "pool", "cpus", "mems", "cpu_shares", "drift")]
    return ["-" if value in (None, "") else str(value) for value in values]
