"""``crirm explain``: why a container was placed where it is."""

from __future__ import annotations

import json
from typing import Any, Final

import click

from crirm.cli.analysis_text import tell_kernel
from crirm.cli.control import DEFAULT_CONTROL_SOCKET, ask
from crirm.cli.explain_text import tell, tell_refusal, why_not
from crirm.cli.printing import harmless, say
from crirm.errors import CrirmError

ANALYSED_WITHIN_S: Final = 120.0  # for several containers with much memory


@click.command()
@click.argument("what", metavar="POD[/CONTAINER]")
@click.option("--why-not", "why_not_pool", metavar="POOL", help="Only say why this pool was not chosen.")
@click.option(
    "--control-socket", default=DEFAULT_CONTROL_SOCKET, show_default=True, help="Control socket of the daemon."
)
@click.option(
    "--analyze", is_flag=True, help="Add what the kernel has: CPUs, memory by NUMA node, CPU pressure, throttling."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(*, what: str, why_not_pool: str | None, control_socket: str, analyze: bool, as_json: bool) -> None:
    """Show which pools were considered for a container, why each one lost, and which other containers changed.

    Name the container as pod, pod/container or namespace/pod/container. For a container that was refused and has not
    been placed since, the reason is shown.
    """
    question = {"ask": "explain", "what": what}
    if analyze:
        answer = ask(control_socket, {**question, "analyze": True}, within_s=ANALYSED_WITHIN_S)
    else:
        answer = ask(control_socket, question)
    if as_json:
        click.echo(json.dumps([*map(_document, answer["explained"]), *answer.get("refused", [])], indent=2))
        return
    for number, entry in enumerate(harmless(answer["explained"])):
        if why_not_pool is not None:
            say(why_not_sentence(entry, why_not_pool))
            continue
        if number:
            say("")
        tell(entry)
        if "kernel" in entry:
            tell_kernel(entry)
    for refusal in harmless(answer.get("refused", [])):
        tell_refusal(refusal)


def _document(entry: dict[str, Any]) -> dict[str, Any]:
    """Return *entry* for programs: the facts of a pool are an object of numbers, with units in their names."""
    verdicts = [{**verdict, "facts": dict(verdict["facts"])} for verdict in entry["trail"]["verdicts"]]
    return {**entry, "trail": {**entry["trail"], "verdicts": verdicts}}


def why_not_sentence(entry: dict[str, Any], pool: str) -> str:
    """Return why *pool* was not chosen for the container of *entry*.

    Raises:
        CrirmError: the pool was not considered.
    """
    known = [verdict["pool"] for verdict in entry["trail"]["verdicts"]]
    if pool not in known:
        raise CrirmError(f"{pool}: not among the pools considered, which were {', '.join(known) or 'none'}")
    return why_not(entry, pool)
