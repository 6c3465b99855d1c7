"""``crirm explain``: why a container got what it got."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.table import Table

from crirm.cli.control import DEFAULT_CONTROL_SOCKET, ask
from crirm.cli.printing import console, harmless, local_time, say
from crirm.errors import CrirmError


@click.command()
@click.argument("what", metavar="POD[/CONTAINER]")
@click.option("--why-not", metavar="POOL", help="Only why this pool was not chosen.")
@click.option("--control-socket", default=DEFAULT_CONTROL_SOCKET, show_default=True, help="Of the daemon to ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(*, what: str, why_not: str | None, control_socket: str, as_json: bool) -> None:
    """Tell which pools were considered for a container, why each lost, and which other containers moved.

    The container is named as pod, pod/container or namespace/pod/container. Of one that was refused, and not placed
    since, it tells why.
    """
    answer = ask(control_socket, {"ask": "explain", "what": what})
    if as_json:
        click.echo(json.dumps([*answer["explained"], *answer.get("refused", [])], indent=2))
        return
    for entry in harmless(answer["explained"]):
        if why_not is None:
            _tell(entry)
        else:
            say(why_not_sentence(entry, why_not))
    for refusal in harmless(answer.get("refused", [])):
        say(refusal_text(refusal))


def refusal_text(refusal: dict[str, Any]) -> str:
    """Return why a container has not been placed."""
    times = "once" if refusal["times"] == 1 else f"{refusal['times']} times, the last"
    return f"{refusal['name']}, refused {times} at {local_time(refusal['at_s'])}\n  because    {refusal['refused']}\n"


def _tell(entry: dict[str, Any]) -> None:
    trail = entry["trail"]
    say(f"{entry['name']}, placed by policy {trail['policy']} at {local_time(entry['at_s'])}")
    say(f"  asked for  {trail['asked']}")
    where = f", in {trail['chosen']}" if trail["chosen"] else ""
    say(f"  got        {trail['granted']}{where}")
    for note in trail["notes"]:
        say(f"  note       {note}")
    if trail["verdicts"]:
        say("")
        console().print(_verdicts(trail["verdicts"]))
    if trail["moves"]:
        say("\n  others that were touched:")
    for move in trail["moves"]:
        say(f"    {move['name']}: {move['what']} {move['before']} -> {move['after']}, {move['why']}")
    if entry["since"]:
        say("\n  since then:")
    for move in entry["since"]:
        what = f"{move['what']} {move['before']} -> {move['after']}, {move['why']}"
        say(f"    {local_time(move['at_s'])}: {what}")
    say("")


def _verdicts(verdicts: list[dict[str, Any]]) -> Table:
    table = Table("pool", "has", "outcome", box=None, pad_edge=False, padding=(0, 2))
    for verdict in verdicts:
        has = ", ".join(f"{name} {value}" for name, value in verdict["facts"])
        table.add_row(verdict["pool"], has, _outcome(verdict))
    return table


def _outcome(verdict: dict[str, Any]) -> str:
    if not verdict["rule"]:
        return "chosen"
    if not verdict["lost_to"]:
        return str(verdict["rule"])
    return f"lost to {verdict['lost_to']}: {verdict['rule']} ({verdict['own']} against {verdict['other']})"


def why_not_sentence(entry: dict[str, Any], pool: str) -> str:
    """Return why *pool* was not chosen for the container of *entry*.

    Raises:
        CrirmError: there is no such pool.
    """
    verdicts = {verdict["pool"]: verdict for verdict in entry["trail"]["verdicts"]}
    verdict = verdicts.get(pool)
    if verdict is None:
        raise CrirmError(f"{pool}: no such pool was considered; there were {', '.join(verdicts) or 'none'}")
    if verdict["pool"] == entry["trail"]["chosen"]:
        return f"{entry['name']}: {pool} was chosen"
    return f"{entry['name']}: {pool} {_outcome(verdict)}"
