"""``crirm explain``: why a container was placed where it is."""

from __future__ import annotations

import json
from typing import Any, Final

import click

from crirm.cli.control import DEFAULT_CONTROL_SOCKET, ask
from crirm.cli.printing import harmless, local_time, say, say_table
from crirm.cli.tables import Column
from crirm.errors import CrirmError
from crirm.model.quantity import MilliCPU, format_millicpu
from crirm.policy.topology_aware.wording import size_text

_UNITS: Final = ("_milli", "_bytes", "_cpus")


@click.command()
@click.argument("what", metavar="POD[/CONTAINER]")
@click.option("--why-not", metavar="POOL", help="Only say why this pool was not chosen.")
@click.option(
    "--control-socket", default=DEFAULT_CONTROL_SOCKET, show_default=True, help="Control socket of the daemon."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(*, what: str, why_not: str | None, control_socket: str, as_json: bool) -> None:
    """Show which pools were considered for a container, why each one lost, and which other containers changed.

    Name the container as pod, pod/container or namespace/pod/container. For a container that was refused and has not
    been placed since, the reason is shown.
    """
    answer = ask(control_socket, {"ask": "explain", "what": what})
    if as_json:
        click.echo(json.dumps([*map(_document, answer["explained"]), *answer.get("refused", [])], indent=2))
        return
    for entry in harmless(answer["explained"]):
        if why_not is None:
            _tell(entry)
        else:
            say(why_not_sentence(entry, why_not))
    for refusal in harmless(answer.get("refused", [])):
        say(refusal_text(refusal))


def _document(entry: dict[str, Any]) -> dict[str, Any]:
    """Return *entry* for programs: the facts of a pool are an object of numbers, with units in their names."""
    verdicts = [{**verdict, "facts": dict(verdict["facts"])} for verdict in entry["trail"]["verdicts"]]
    return {**entry, "trail": {**entry["trail"], "verdicts": verdicts}}


def refusal_text(refusal: dict[str, Any]) -> str:
    """Return why a container was refused."""
    times = "once," if refusal["times"] == 1 else f"{refusal['times']} times, last"
    lines = [
        f"{refusal['name']}, refused {times} at {local_time(refusal['at_s'])}",
        f"  reason     {refusal['refused']}",
    ]
    return "\n".join([*lines, *(f"  would fit  {way}" for way in refusal.get("fits", ())), ""])


def _tell(entry: dict[str, Any]) -> None:
    trail = entry["trail"]
    say(f"{entry['name']}, placed by policy {trail['policy']} at {local_time(entry['at_s'])}")
    say(f"  requested  {trail['asked']}")
    if trail["chosen"]:
        say(f"  pool       {trail['chosen']}")
    say(f"  assigned   {trail['granted']}")
    for note in trail["notes"]:
        say(f"  note       {note}")
    if trail["verdicts"]:
        say("")
        _say_verdicts(trail["verdicts"])
    if trail["moves"]:
        say("\n  other containers that changed:")
    for move in trail["moves"]:
        say(f"    {move['name']}: {_change(move)}")
    if entry["since"]:
        say("\n  changes since then:")
    for move in entry["since"]:
        say(f"    {local_time(move['at_s'])}: {_change(move)}")
    say("")


def _change(move: dict[str, Any]) -> str:
    return f"{move['what']} {move['before']} -> {move['after']}, because {move['why']}"


def _say_verdicts(verdicts: list[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(name for verdict in verdicts for name, _ in verdict["facts"]))
    heads = [name.rpartition("_")[0] if name.endswith(_UNITS) else name for name in names]
    columns = [Column("pool"), *(Column(head, right=True) for head in heads), Column("outcome", text=True)]
    rows = []
    for verdict in verdicts:
        facts = dict(verdict["facts"])
        shown = [_shown(name, facts[name]) if name in facts else "-" for name in names]
        rows.append([verdict["pool"], *shown, verdict["why"] or "chosen"])
    say_table(columns, rows)


def _shown(name: str, value: Any) -> str:
    """Return a fact for people; one from a trail of an older crirm is a text already."""
    if not isinstance(value, int):
        return str(value)
    if name.endswith("_milli"):
        return format_millicpu(MilliCPU(value))
    return size_text(value) if name.endswith("_bytes") else str(value)


def why_not_sentence(entry: dict[str, Any], pool: str) -> str:
    """Return why *pool* was not chosen for the container of *entry*.

    Raises:
        CrirmError: the pool was not considered.
    """
    verdicts = {verdict["pool"]: verdict for verdict in entry["trail"]["verdicts"]}
    verdict = verdicts.get(pool)
    if verdict is None:
        raise CrirmError(f"{pool}: not among the pools considered, which were {', '.join(verdicts) or 'none'}")
    if verdict["pool"] == entry["trail"]["chosen"]:
        return f"{entry['name']}: {pool} was chosen"
    return f"{entry['name']}: {pool} was not chosen: {verdict['why']}"
