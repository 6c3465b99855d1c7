"""``crirm defrag``: bring containers together that were spread over NUMA nodes for want of room."""

from __future__ import annotations

import json
from typing import Any, Final

import click

from crirm.cli.control import DEFAULT_CONTROL_SOCKET, ask
from crirm.cli.exit_codes import ExitCode
from crirm.cli.printing import harmless, say, say_table
from crirm.cli.tables import Column
from crirm.model.quantity import QuantityError, parse_bytes
from crirm.policy.topology_aware.wording import size_text

MOST_MOVES: Final = 100
MOST_BYTES: Final = "64Gi"
_PLAN_S: Final = 120.0
_APPLY_S: Final = 3600.0
_COLUMNS: Final = (
    Column("container"),
    Column("CPUs"),
    Column("memory"),
    Column("to migrate", right=True),
    Column("time", right=True),
    Column("why", text=True),
)


def _bytes(ctx: click.Context, param: click.Parameter, value: str) -> int:
    """Read an amount of memory, as Kubernetes writes it."""
    try:
        return parse_bytes(value)
    except QuantityError as error:
        raise click.BadParameter(str(error), ctx, param) from None


@click.command()
@click.option(
    "--budget", metavar="N", type=click.IntRange(1), default=MOST_MOVES, show_default=True, help="Containers at most."
)
@click.option(
    "--budget-bytes", metavar="SIZE", callback=_bytes, default=MOST_BYTES, show_default=True,
    help="Memory at most, by the limits of containers that leave memory nodes.",
)  # fmt: skip
@click.option("--apply", is_flag=True, help="Move them, one after the other.")
@click.option("--stop", is_flag=True, help="Stop another crirm defrag --apply after the move in progress.")
@click.option(
    "--control-socket", default=DEFAULT_CONTROL_SOCKET, show_default=True, help="Control socket of the daemon."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(*, budget: int, budget_bytes: int, apply: bool, stop: bool, control_socket: str, as_json: bool) -> None:
    """Show which moves would bring spread containers together, what they cost, and what they gain.

    Nothing is moved without --apply. Each move is complete by itself, so Ctrl-C or --stop leaves every container with
    what is decided for it.
    """
    if stop:
        running = ask(control_socket, {"ask": "defrag-stop"})["running"]
        say("stopping after the move in progress" if running else "nothing is being moved")
        return
    question = {"ask": "defrag-apply" if apply else "defrag", "moves": budget, "bytes": budget_bytes}
    answer = _applied(control_socket, question) if apply else ask(control_socket, question, within_s=_PLAN_S)
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        _tell(harmless(answer), applied=apply)
    if apply and answer["ended"].startswith("the runtime "):
        raise click.exceptions.Exit(ExitCode.FAILED)


def _applied(control_socket: str, question: dict[str, Any]) -> dict[str, Any]:
    """Have moves made; Ctrl-C stops them, and is an end like any."""
    try:
        return ask(control_socket, question, within_s=_APPLY_S)
    except KeyboardInterrupt:
        ask(control_socket, {"ask": "defrag-stop"})
        raise


def _tell(answer: dict[str, Any], *, applied: bool) -> None:
    moves, spread = answer["moves"], answer["spread"]
    if moves:
        say_table(_COLUMNS, [_row(move) for move in moves])
        say("")
    verb = "moved" if applied else "to move"
    say(f"{_containers(len(moves))} {verb}; {_containers(len(spread))} spread {'still' if applied else 'now'}")
    for one in answer.get("stay", []):
        say(f"  stays spread: {one['name']}: {one['why']}")
    if applied:
        say(f"ended: {answer['ended']}")
    elif moves:
        say("to move them: crirm defrag --apply")


def _row(move: dict[str, Any]) -> list[str]:
    measured, most = move["measured_bytes"], move["most_bytes"]
    cost = f"up to {size_text(most)}" if measured is None else size_text(measured)
    sets = [_change(move["before"][what], move["after"][what]) for what in ("cpus", "mems")]
    others = f"; {_containers(move['others'])} on shared CPUs or memory change with it" if move["others"] else ""
    return [move["name"], *sets, cost, f"{move['estimated_s']:.2g} s", f"{move['why']}{others}"]


def _change(before: str | None, after: str | None) -> str:
    return f"{before}" if before == after else f"{before} -> {after}"


def _containers(count: int) -> str:
    return f"{count} container{'' if count == 1 else 's'}"
