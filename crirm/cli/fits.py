"""``crirm fits``: whether a pod would fit, where, and at whose cost."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import click

from crirm.cli.control import DEFAULT_CONTROL_SOCKET, ask
from crirm.cli.exit_codes import ExitCode
from crirm.cli.printing import harmless, say, say_table
from crirm.cli.tables import Column
from crirm.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

WITHIN_S: Final = 60.0
OTHERS_SHOWN: Final = 8
_COLUMNS: Final = (
    Column("copy", optional=1, right=True),
    Column("pool"),
    Column("CPUs"),
    Column("memory"),
    Column("note", optional=2, text=True),
)


@click.command()
@click.option("--cpu", metavar="AMOUNT", help="CPU request, such as 4 or 500m; for a Guaranteed pod the limit too.")
@click.option("--memory", metavar="AMOUNT", help="Memory request, such as 8Gi; for a Guaranteed pod the limit too.")
@click.option("--cpu-limit", metavar="AMOUNT", help="CPU limit of a Burstable pod.")
@click.option("--memory-limit", metavar="AMOUNT", help="Memory limit of a Burstable pod.")
@click.option(
    "--qos",
    type=click.Choice(["guaranteed", "burstable", "besteffort"], case_sensitive=False),
    default="guaranteed",
    show_default=True,
    help="QoS class of the pod.",
)
@click.option("--annotation", "annotations", metavar="K=V", multiple=True, help="An annotation of the pod; repeatable.")
@click.option("--namespace", metavar="NS", default="default", show_default=True, help="Namespace of the pod.")
@click.option("--count", metavar="N", type=click.IntRange(1), default=1, show_default=True, help="So many such pods.")
@click.option(
    "--control-socket", default=DEFAULT_CONTROL_SOCKET, show_default=True, help="Control socket of the daemon."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(*, annotations: tuple[str, ...], control_socket: str, as_json: bool, **asked: Any) -> int:
    """Ask the running daemon whether a pod with one container would fit now, where, and which others would change.

    Nothing is changed or reserved. The exit status is 0 if all copies fit, and 1 if not: then the reason, its code and
    the smallest changes that would fit are shown. Names of annotations may be short: prefer-shared-cpus=true. Devices
    and disks are unknown, so topology hints do not count.
    """
    question = {"ask": "fits", **asked, "annotations": dict(map(_pair, annotations))}
    answer = ask(control_socket, question, within_s=WITHIN_S)
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        tell(harmless(answer))
    return ExitCode.OK if answer["fits"] else ExitCode.FAILED


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--annotation {text}: write NAME=VALUE")
    return key, value


def tell(answer: dict[str, Any]) -> None:
    """Print an answer for people."""
    say(_head(answer))
    copies = answer["copies"]
    if copies:
        say("")
        say_table(_COLUMNS, [_row(each) for each in copies])
    others = list(_others(copies))
    if others:
        say("\nother containers that would change:")
    for line in others[:OTHERS_SHOWN]:
        say(f"  {line}")
    if len(others) > OTHERS_SHOWN:
        say(f"  and {len(others) - OTHERS_SHOWN} more kinds of changes; --json has all")
    if answer["refused"]:
        say("")
        _tell_refusal(answer["refused"])
        if answer["overflow"]:
            say("AllowOverflow is set: it would be admitted to shared CPUs, with nothing reserved for it")


def _head(answer: dict[str, Any]) -> str:
    count, fitting, policy = answer["count"], answer["fitting"], answer["policy"]
    if count == 1:
        return f"{'fits' if answer['fits'] else 'does not fit'}, says policy {policy}"
    if answer["fits"]:
        return f"all {count} fit, says policy {policy}"
    return f"{fitting or 'none'} of {count} would fit, says policy {policy}"


def _row(copy: dict[str, Any]) -> list[str]:
    notes = ["wider than on an empty machine"] if copy["cramped"] else []
    values = [copy["copy"], copy["pool"], copy["cpus"], copy["mems"], "; ".join([*notes, *copy["notes"]])]
    return ["-" if value in (None, "") else str(value) for value in values]


def _others(copies: Iterable[dict[str, Any]]) -> Iterable[str]:
    """Yield the changes of other containers: one by name, and of several alike how many there are."""
    moves = [move for copy in copies for move in copy["moves"]]
    alike = Counter((move["what"], move["before"], move["after"], move["why"]) for move in moves)
    named = {(move["what"], move["before"], move["after"], move["why"]): move["name"] for move in moves}
    for (what, before, after, why), number in alike.items():
        who = named[what, before, after, why] if number == 1 else f"{number} containers"
        yield f"{who}: {what} {before} -> {after}, because {why}"


def _tell_refusal(refused: dict[str, Any]) -> None:
    say(f"reason     {refused['reason']}")
    say(f"code       {refused['code']} (docs/refusals.md)")
    for way in refused["fits"]:
        say(f"would fit  {way}")
